//! Hosts with something to show, one kind for each mechanism that needs nobody else: what policy
//! says of them, their evidence, and what they answer to a challenge.
#![expect(clippy::expect_used, reason = "a fixture that cannot be made fails the test")]

use std::fmt::Write as _;
use std::sync::Arc;

use attestation::confidential::report_data;
use attestation::tpm_devid::Bytes;
use attestation::{oidc, sshpop};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jose::{Algorithm, KeyId, KeySet, Kind, SigningInput};
use oauth::id_token::{Claims, IdToken};
use rats::{Ear, EarToken};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::UnixTime;
use x509::{Serial, ecdsa_der_from_fixed};

use crate::silicon::{
    AUTHORITY_KEY, Chip, HOST_KEY, PCR, Platform, SnpReport, TdQuote, TpmHost, authority, issue,
    key, leaf,
};

const FIXTURE: &str = "a fixture";
const VERIFIER: &str = "https://verifier.example";
/// The nonce that hosts add to ours.
const THEIRS: [u8; 32] = [2; 32];
/// What a token says of a time before now, in seconds.
const AGO: u64 = 5;

/// What a host answers to a challenge, for the key that it asks a certificate for.
type Answer = Arc<dyn Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync>;

/// A host.
#[derive(Clone)]
pub struct Shows {
    /// Its evidence.
    pub evidence: Vec<u8>,
    /// What it answers; `None` where the evidence stands alone.
    pub answer: Option<Answer>,
}

/// Hosts of a kind, each another one.
pub trait Hosts {
    /// The mechanism by which they join.
    fn mechanism(&self) -> &'static str;

    /// What policy says: the table of the mechanism, TOML.
    fn table(&self) -> String;

    /// The one of this number, with the key that it asks for.
    fn host(&self, number: u32, spki: &[u8]) -> Shows;
}

/// All of them, as they are around `now` in the domain of this name.
pub fn all(domain: &str, now: UnixTime) -> Vec<Box<dyn Hosts>> {
    let domain = domain.to_owned();
    vec![
        Box::new(Certified { now }),
        Box::new(SshHosts { authority: ed25519(1), host: Arc::new(ed25519(2)) }),
        Box::new(Devices { host: Arc::new(TpmHost::new(now).measured(PCR)), now }),
        Box::new(Jobs { domain: domain.clone(), now }),
        Box::new(Pods { domain, now }),
        Box::new(SnpGuests { chip: Arc::new(Chip::new()) }),
        Box::new(TdxGuests { platform: Arc::new(Platform::new()) }),
        Box::new(Judged { now }),
    ]
}

/// Hosts with an X.509 certificate.
struct Certified {
    now: UnixTime,
}

impl Hosts for Certified {
    fn mechanism(&self) -> &'static str {
        "x509pop"
    }

    fn table(&self) -> String {
        let vendor = authority("vendor", &key(AUTHORITY_KEY), self.now);
        format!("[node.x509pop]\nanchors = '''{}'''\n", vendor.to_pem())
    }

    fn host(&self, number: u32, _: &[u8]) -> Shows {
        let mut template = leaf(self.now);
        template.serial = serial(number);
        let certificate = issue(&template, &key(AUTHORITY_KEY)).into_bytes();
        let evidence = json!({ "certificates": [STANDARD.encode(certificate)] });
        let answer = |challenge: &[u8], _: &[u8]| {
            let ours = sent(challenge);
            let signed = key(HOST_KEY).sign(&[&ours[..], &THEIRS].concat());
            let signature = ecdsa_der_from_fixed(signed.as_bytes()).expect(FIXTURE);
            bytes(&json!({
                "nonce": STANDARD.encode(THEIRS), "signature": STANDARD.encode(signature)
            }))
        };
        Shows { evidence: bytes(&evidence), answer: Some(Arc::new(answer)) }
    }
}

/// Hosts with an SSH certificate, Ed25519 throughout.
struct SshHosts {
    authority: Ed25519KeyPair,
    host: Arc<Ed25519KeyPair>,
}

impl Hosts for SshHosts {
    fn mechanism(&self) -> &'static str {
        "sshpop"
    }

    fn table(&self) -> String {
        let line = STANDARD.encode(ssh_key(&self.authority));
        format!("[node.sshpop]\ncert_authorities = [\"ssh-ed25519 {line}\"]\n")
    }

    fn host(&self, number: u32, _: &[u8]) -> Shows {
        // PROTOCOL.certkeys: the fields in their order.
        let mut signed = Vec::new();
        ssh::put_string(&mut signed, b"ssh-ed25519-cert-v01@openssh.com");
        ssh::put_string(&mut signed, &[7; 32]);
        ssh::put_string(&mut signed, self.host.public_key().as_ref());
        signed.extend(u64::from(number).to_be_bytes());
        signed.extend(2_u32.to_be_bytes());
        ssh::put_string(&mut signed, b"host");
        let mut principals = Vec::new();
        ssh::put_string(&mut principals, format!("host-{number}.example").as_bytes());
        ssh::put_string(&mut signed, &principals);
        signed.extend(0_u64.to_be_bytes());
        signed.extend(u64::MAX.to_be_bytes());
        for _ in ["critical options", "extensions", "reserved"] {
            ssh::put_string(&mut signed, b"");
        }
        ssh::put_string(&mut signed, &ssh_key(&self.authority));
        let mut signature = Vec::new();
        ssh::put_string(&mut signature, b"ssh-ed25519");
        ssh::put_string(&mut signature, self.authority.sign(&signed).as_ref());
        ssh::put_string(&mut signed, &signature);
        let evidence = json!({ "Certificate": STANDARD.encode(signed) });
        let host = Arc::clone(&self.host);
        let answer = move |challenge: &[u8], _: &[u8]| {
            let ours = sent(challenge);
            let blob = STANDARD.encode(host.sign(&sshpop::signed(&ours, &THEIRS)).as_ref());
            let signature = json!({ "Format": "ssh-ed25519", "Blob": blob, "Rest": null });
            bytes(&json!({ "Nonce": STANDARD.encode(THEIRS), "Signature": signature }))
        };
        Shows { evidence: bytes(&evidence), answer: Some(Arc::new(answer)) }
    }
}

/// Hosts with a DevID in a TPM, whose PCRs policy names.
struct Devices {
    host: Arc<TpmHost>,
    now: UnixTime,
}

impl Hosts for Devices {
    fn mechanism(&self) -> &'static str {
        "tpm_devid"
    }

    fn table(&self) -> String {
        let value = hex(&PCR);
        format!(
            "[node.tpm_devid]\nanchors = '''{}'''\nendorsement_anchors = '''{}'''\n\
             [node.tpm_devid.pcrs]\n0 = [\"{value}\"]\n7 = [\"{value}\"]\n",
            self.host.rule.anchors, self.host.rule.endorsement_anchors
        )
    }

    fn host(&self, number: u32, _: &[u8]) -> Shows {
        let mut host = TpmHost::new(self.now).measured(PCR);
        host.devid_template.serial = serial(number);
        let evidence = serde_json::to_vec(&host.evidence()).expect(FIXTURE);
        let answer = move |challenge: &[u8], _: &[u8]| {
            let challenge = serde_json::from_slice(challenge).expect(FIXTURE);
            serde_json::to_vec(&host.response(&challenge)).expect(FIXTURE)
        };
        Shows { evidence, answer: Some(Arc::new(answer)) }
    }
}

/// Jobs of GitHub Actions.
struct Jobs {
    domain: String,
    now: UnixTime,
}

impl Hosts for Jobs {
    fn mechanism(&self) -> &'static str {
        "github_actions"
    }

    fn table(&self) -> String {
        format!(
            "[node.github_actions]\nkeys = '''{}'''\n\
             [node.github_actions.claims]\nrepository = [\"acme/*\"]\n",
            keys()
        )
    }

    fn host(&self, number: u32, spki: &[u8]) -> Shows {
        let (now, run) = (self.now.seconds(), number.to_string());
        let token = signed::<IdToken, Claims>(json!({
            "iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/agents",
            "aud": oidc::bound_audience(&self.domain, spki), "jti": run, "iat": now - AGO,
            "exp": now + 300, "repository": "acme/agents", "repository_id": "77", "run_id": run,
            "run_attempt": "1", "ref": "refs/heads/main"
        }));
        Shows { evidence: token.into_bytes(), answer: None }
    }
}

/// Pods of a Kubernetes cluster.
struct Pods {
    domain: String,
    now: UnixTime,
}

impl Hosts for Pods {
    fn mechanism(&self) -> &'static str {
        "k8s_psat"
    }

    fn table(&self) -> String {
        format!(
            "[node.k8s_psat.clusters.prod]\nissuer = \"https://cluster.example\"\n\
             service_accounts = [\"aims:node\"]\nkeys = '''{}'''\n",
            keys()
        )
    }

    fn host(&self, number: u32, _: &[u8]) -> Shows {
        let now = self.now.seconds();
        let token = signed::<IdToken, Claims>(json!({
            "iss": "https://cluster.example", "sub": "system:serviceaccount:aims:node",
            "aud": [oidc::audience(&self.domain)], "exp": now + 3_600, "iat": now - AGO,
            "jti": number.to_string(),
            "kubernetes.io": {
                "namespace": "aims",
                "serviceaccount": { "name": "node", "uid": "sa-1" },
                "pod": { "name": "node", "uid": format!("pod-{number}") },
                "node": { "name": "worker", "uid": format!("node-{number}") }
            }
        }));
        let evidence = json!({ "cluster": "prod", "token": token });
        Shows { evidence: bytes(&evidence), answer: None }
    }
}

/// Guests of AMD SEV-SNP.
struct SnpGuests {
    chip: Arc<Chip>,
}

impl Hosts for SnpGuests {
    fn mechanism(&self) -> &'static str {
        "snp"
    }

    fn table(&self) -> String {
        format!(
            "[node.snp]\nanchors = '''{}'''\nmeasurements = [\"{}\"]\n\
             tcb_least = {{ boot_loader = 3, tee = 0, snp = 8, microcode = 115 }}\n",
            self.chip.root(),
            hex(&[0x4d; 48])
        )
    }

    fn host(&self, number: u32, _: &[u8]) -> Shows {
        let chip = Arc::clone(&self.chip);
        let certificates = chip.certificates().map(|der| STANDARD.encode(der));
        let lists = [STANDARD.encode(chip.list(false))];
        let evidence = json!({ "crls": lists });
        let answer = move |challenge: &[u8], spki: &[u8]| {
            let mut report = SnpReport::of(report_data(challenge, spki));
            report.host_data = padded(number);
            let report = STANDARD.encode(chip.sign(&report));
            bytes(&json!({ "report": report, "certificates": certificates }))
        };
        Shows { evidence: bytes(&evidence), answer: Some(Arc::new(answer)) }
    }
}

/// Guests of Intel TDX.
struct TdxGuests {
    platform: Arc<Platform>,
}

impl Hosts for TdxGuests {
    fn mechanism(&self) -> &'static str {
        "tdx"
    }

    fn table(&self) -> String {
        format!(
            "[node.tdx]\nanchors = '''{}'''\n[[node.tdx.guests]]\nmrtd = \"{}\"\n",
            self.platform.root(),
            hex(&[0x7d; 48])
        )
    }

    fn host(&self, number: u32, _: &[u8]) -> Shows {
        let platform = Arc::clone(&self.platform);
        let collateral = STANDARD.encode(platform.collateral().to_string());
        let evidence = json!({ "collateral": collateral });
        let answer = move |challenge: &[u8], spki: &[u8]| {
            let mut quote = TdQuote::of(report_data(challenge, spki));
            quote.mr_owner = padded(number);
            bytes(&json!({ "quote": STANDARD.encode(platform.sign(&quote)) }))
        };
        Shows { evidence: bytes(&evidence), answer: Some(Arc::new(answer)) }
    }
}

/// Hosts that another verifier judged.
struct Judged {
    now: UnixTime,
}

impl Hosts for Judged {
    fn mechanism(&self) -> &'static str {
        "ear"
    }

    fn table(&self) -> String {
        format!("[node.ear]\nissuer = \"{VERIFIER}\"\nparts = [\"cpu\"]\nkeys = '''{}'''\n", keys())
    }

    fn host(&self, number: u32, _: &[u8]) -> Shows {
        let now = self.now.seconds();
        let answer = move |challenge: &[u8], spki: &[u8]| {
            let challenge: Value = serde_json::from_slice(challenge).expect(FIXTURE);
            let part = json!({
                "ear_status": "affirming",
                "ear_trustworthiness_vector": { "instance-identity": 2, "hardware": 2 },
                "ear_appraisal_policy_ids": ["p"],
                "ear_veraison_key_attestation": { "akpub": attestation::evidence::to_text(spki) }
            });
            let result = signed::<EarToken, Ear>(json!({
                "eat_profile": "tag:ietf.org,2026:rats/ear#04", "iss": VERIFIER,
                "sub": format!("guest-{number}"), "iat": now - AGO, "exp": now + 600,
                "eat_nonce": challenge.get("nonce"),
                "ear_verifier_id": { "developer": VERIFIER, "build": "1" },
                "submods": { "cpu": part }
            }));
            result.into_bytes()
        };
        Shows { evidence: Vec::new(), answer: Some(Arc::new(answer)) }
    }
}

/// A recorded document of Amazon's, as a host shows it.
pub fn aws_evidence(message: &[u8]) -> Vec<u8> {
    bytes(&json!({
        "document": "", "signature": "c2lnbmF0dXJl", "rsa2048": STANDARD.encode(message)
    }))
}

/// A recorded document of Azure's, as a host answers with it.
pub fn azure_answer(message: &[u8], domain: &str) -> Vec<u8> {
    bytes(&json!({
        "document": { "encoding": "pkcs7", "signature": STANDARD.encode(message) },
        "metadata": { "agentDomain": domain }
    }))
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Our nonce, out of a challenge of SPIRE's.
fn sent(challenge: &[u8]) -> Vec<u8> {
    let challenge: Value = serde_json::from_slice(challenge).expect(FIXTURE);
    let nonce = challenge.get("Nonce").or_else(|| challenge.get("nonce")).cloned();
    serde_json::from_value::<Bytes>(nonce.expect(FIXTURE)).expect(FIXTURE).0
}

fn ed25519(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect(FIXTURE)
}

fn ssh_key(key: &Ed25519KeyPair) -> Vec<u8> {
    let mut bytes = Vec::new();
    ssh::put_string(&mut bytes, b"ssh-ed25519");
    ssh::put_string(&mut bytes, key.public_key().as_ref());
    bytes
}

fn kid() -> KeyId {
    KeyId::parse("k1").expect(FIXTURE)
}

/// The key set of platforms and verifiers.
fn keys() -> String {
    let jwk = key(AUTHORITY_KEY).public().to_jwk().with_kid(kid());
    serde_json::to_string(&KeySet::new(vec![jwk]).expect(FIXTURE)).expect(FIXTURE)
}

fn signed<K, C>(claims: Value) -> String
where
    K: Kind<Claims = C>,
    C: Serialize + DeserializeOwned,
{
    let claims: C = serde_json::from_value(claims).expect(FIXTURE);
    let input = SigningInput::<K>::new(Algorithm::Es256, Some(&kid()), &claims).expect(FIXTURE);
    let signature = key(AUTHORITY_KEY).sign(input.bytes());
    input.attach(signature).into_string()
}

fn serial(number: u32) -> Serial {
    let mut random = [7; 16];
    if let Some((first, _)) = random.split_first_chunk_mut() {
        *first = number.to_be_bytes();
    }
    Serial::from_random(random)
}

fn padded<const N: usize>(number: u32) -> [u8; N] {
    let mut value = [0x0d; N];
    if let Some((first, _)) = value.split_first_chunk_mut() {
        *first = number.to_be_bytes();
    }
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
