//! Hosts that join by what they are: each once, as itself, and refused by the step that failed.

use std::sync::{Arc, Mutex};

use attestation::mechanism::{Facts, Mechanism, Question, Role};
use attestation::oidc::audience;
use attestation::policy::NodeRule;
use attestation::sshpop::signed;
use attestation::{Appraisal, Refusal as Evidence, Selector, Selectors};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use env::{Asking, Platforms, Unavailable, World};
use flow::join::{
    Attempt, Challenge, End, Joined, Refusal, challenge, challenge_by, join, join_by,
};
use jose::{Algorithm, KeyId, KeySet, PrivateKey, SigningInput};
use monitoring::Component;
use oauth::id_token::IdToken;
use serde_json::json;
use testkit::fixture::{Domain, attempt, certificate_request, files_but, story};
use testkit::{Sim, SimWorld};

fn vector(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(vector(name)).unwrap()
}

/// A domain whose policy has these tables besides.
async fn with(sim: &Sim, tables: &str) -> Domain {
    let rest = "[class.standard]\ndemands = []\nissues = [\"x509\"]\n";
    let attestation = format!("[node.join_token]\n{tables}\n{rest}");
    Domain::start_with(sim, files_but(&[("attestation.toml", &attestation)])).await
}

/// The end of an attempt: what is decided is recorded, and of strangers nothing is.
async fn ended<W: World>(
    world: &W,
    domain: &Domain,
    attempt: &Attempt,
    answer: Option<(&Challenge, &[u8])>,
) -> Result<Joined, Refusal> {
    let before = domain.server.journal().len();
    let end = join(world, attempt, answer).await.unwrap();
    let told = domain.server.journal().after(before);
    match end {
        End::Stranger(refusal) => {
            assert!(refusal.is_strangers() && told.is_empty(), "{refusal}");
            Err(refusal)
        }
        End::Decided(recorded) => {
            if let Err(refusal) = recorded.value() {
                assert_eq!(told[0].why.as_ref().unwrap().check, refusal.check());
            }
            recorded.into_value()
        }
    }
}

/// What the host of the vector answers.
fn ssh_answer(nonce: &[u8; 32]) -> Vec<u8> {
    let file = ssh::PrivateKeyFile::parse(&text("ssh/host_ed25519.private")).unwrap();
    let key = Ed25519KeyPair::from_seed_unchecked(file.secret.as_slice()).unwrap();
    let blob = STANDARD.encode(key.sign(&signed(nonce, &[2; 32])).as_ref());
    let signature = json!({ "Format": "ssh-ed25519", "Blob": blob });
    json!({ "Nonce": STANDARD.encode([2; 32]), "Signature": signature }).to_string().into_bytes()
}

/// req: ATT-02 (part), ATT-08 (part), ID-04 (part)
#[test]
fn s7_a_host_with_an_ssh_certificate_is_the_same_host_each_time() {
    story(|sim| async move {
        let authority = text("ssh/ca_ed25519.pub");
        let table = format!("[node.sshpop]\ncert_authorities = [\"{}\"]", authority.trim());
        let domain = with(&sim, &table).await;
        let server = domain.server.world();
        let certificate = ssh::Certificate::parse_line(&text("ssh/host_ed25519-cert.pub")).unwrap();
        let evidence = json!({ "Certificate": STANDARD.encode(certificate.as_bytes()) });
        let evidence = evidence.to_string().into_bytes();
        let by = || attempt("sshpop", Role::Node, &evidence);
        let once = by();
        let sent = challenge(&*server, &once).await.unwrap().unwrap().unwrap();
        let answer = ssh_answer(&sent.nonce);
        let first = ended(&*server, &domain, &once, Some((&sent, &answer))).await.unwrap();
        assert!(first.id.as_str().starts_with("spiffe://demo.example/aims/node/sshpop/"));
        let told = domain.server.journal().last().unwrap().attestation;
        assert!(told.contains_key("sshpop:principal:host-1.example"), "{told:?}");
        // The old answer is none to a new challenge; with a new one it is the same host.
        let again = by();
        let next = challenge(&*server, &again).await.unwrap().unwrap().unwrap();
        let replayed = ended(&*server, &domain, &again, Some((&next, &answer))).await;
        assert_eq!(replayed.unwrap_err().check(), "attestation::Signature");
        let answer = ssh_answer(&next.nonce);
        let second = ended(&*server, &domain, &again, Some((&next, &answer))).await.unwrap();
        assert_eq!(second.id, first.id);
        // A certificate of nobody's: no challenge, and no record for a stranger.
        let user = ssh::Certificate::parse_line(&text("ssh/host_rsa-cert.pub")).unwrap();
        let evidence = json!({ "Certificate": STANDARD.encode(user.as_bytes()) }).to_string();
        let stranger = attempt("sshpop", Role::Node, evidence.as_bytes());
        let refused = challenge(&*server, &stranger).await.unwrap().unwrap_err();
        assert_eq!((refused.check(), refused.is_strangers()), ("attestation::Chain", true));
    });
}

fn new_key() -> PrivateKey {
    let made = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &aws_lc_rs::rand::SystemRandom::new(),
    );
    PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap()
}

fn job_token(key: &PrivateKey, now: u64, job: &str) -> Vec<u8> {
    let claims = json!({
        "iss": "https://gitlab.com", "sub": "project_path:acme/agents", "iat": now,
        "exp": now + 300, "aud": audience("demo.example"), "jti": format!("jti-{job}"),
        "project_path": "acme/agents", "project_id": "77", "job_id": job
    });
    let claims = serde_json::from_value(claims).unwrap();
    let kid = KeyId::parse("k1").unwrap();
    let input = SigningInput::<IdToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string().into_bytes()
}

/// req: ATT-02 (part), ATT-08 (part)
#[test]
fn s7_a_jobs_token_lets_one_host_join_once() {
    story(|sim| async move {
        let key = new_key();
        let jwk = key.public().to_jwk().with_kid(KeyId::parse("k1").unwrap());
        let keys = serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap();
        let table = format!(
            "[node.gitlab_ci]\nkeys = '{keys}'\n[node.gitlab_ci.claims]\nproject_path = [\"acme/*\"]"
        );
        let domain = with(&sim, &table).await;
        let server = domain.server.world();
        let now = domain.now().seconds();
        let token = job_token(&key, now, "9");
        let by = |token: &[u8]| attempt("gitlab_ci", Role::Node, token);
        let joined = ended(&*server, &domain, &by(&token), None).await.unwrap();
        assert_eq!(joined.id.as_str(), "spiffe://demo.example/aims/node/gitlab_ci/77/9");
        // Whoever took it from the job's log comes too late, and it is on record.
        let thief = ended(&*server, &domain, &by(&token), None).await;
        assert_eq!(thief.unwrap_err(), Refusal::Replayed);
        let other = ended(&*server, &domain, &by(&job_token(&key, now, "10")), None).await;
        assert_ne!(other.unwrap().id, joined.id);
        let forged = ended(&*server, &domain, &by(&job_token(&new_key(), now, "11")), None).await;
        assert_eq!(forged.unwrap_err().check(), "attestation::Signature");
        let old = ended(&*server, &domain, &by(&job_token(&key, now - 601, "12")), None).await;
        assert_eq!(old.unwrap_err().check(), "attestation::Binding");
    });
}

/// Trust on first use: of a machine that any process can speak for, the first is believed.
/// req: ATT-02 (part), ATT-08, ID-04 (part)
#[test]
fn s7_an_instance_joins_once_unless_policy_lets_it_attest_again() {
    for again in [false, true] {
        story(move |sim| async move {
            let pem = text("cms/region-1.pem");
            let table = format!(
                "[node.aws_iid]\naccounts = [\"123456789012\"]\nreattest = {again}\n\
                 [node.aws_iid.regions]\nregion-1 = '''\n{pem}'''"
            );
            let domain = with(&sim, &table).await;
            let server = domain.server.world();
            let rsa2048 = STANDARD.encode(vector("cms/aws-region-1.ber"));
            let evidence = json!({ "rsa2048": rsa2048 }).to_string().into_bytes();
            let by = || attempt("aws_iid", Role::Node, &evidence);
            let first = ended(&*server, &domain, &by(), None).await.unwrap();
            let id = "123456789012/region-1/i-0123456789abcdef0";
            assert_eq!(first.id.as_str(), format!("spiffe://demo.example/aims/node/aws_iid/{id}"));
            match ended(&*server, &domain, &by(), None).await {
                Ok(second) => assert!(again && second.id == first.id),
                Err(refusal) => assert!(!again && refusal.check() == "join::Known", "{refusal}"),
            }
        });
    }
}

/// A server that can ask, and what it is told.
struct Informed {
    world: Arc<SimWorld>,
    told: Mutex<Result<Vec<u8>, Unavailable>>,
    asked: Mutex<Vec<Question>>,
}

impl Platforms for Informed {
    fn ask<'a>(&'a self, question: &'a Question) -> Asking<'a> {
        self.asked.lock().unwrap().push(question.clone());
        let told = self.told.lock().unwrap().clone();
        Box::pin(async move { told })
    }
}

impl World for Informed {
    type Store = <SimWorld as World>::Store;
    type Keys = <SimWorld as World>::Keys;
    type Clock = <SimWorld as World>::Clock;
    type Entropy = <SimWorld as World>::Entropy;
    type Peers = <SimWorld as World>::Peers;

    fn store(&self) -> &Self::Store {
        self.world.store()
    }

    fn keys(&self) -> &Self::Keys {
        self.world.keys()
    }

    fn clock(&self) -> &Self::Clock {
        self.world.clock()
    }

    fn entropy(&self) -> &Self::Entropy {
        self.world.entropy()
    }

    fn peers(&self) -> &Self::Peers {
        self.world.peers()
    }

    fn platforms(&self) -> Option<&dyn Platforms> {
        Some(self)
    }

    fn component(&self) -> &Component {
        self.world.component()
    }

    fn site(&self) -> &env::Site {
        self.world.site()
    }
}

/// req: ATT-02 (part)
#[test]
fn s7_a_host_is_asked_under_its_name_where_there_is_a_client_for_it() {
    story(|sim| async move {
        let domain = with(&sim, "[node.http_challenge]\nhosts = [\"*.hosts.example\"]").await;
        let server = domain.server.world();
        let evidence = json!({ "hostname": "a.hosts.example", "agentname": "default", "port": 80 });
        let by = attempt("http_challenge", Role::Node, evidence.to_string().as_bytes());
        let sent = challenge(&*server, &by).await.unwrap().unwrap().unwrap();
        let refused = ended(&*server, &domain, &by, Some((&sent, b"{}"))).await.unwrap_err();
        assert_eq!(refused, Refusal::CannotAsk { whom: "a.hosts.example:80".to_owned() });
        assert!(refused.to_string().contains("nothing here can"));
        let asking = Informed {
            world: Arc::clone(&server),
            told: Mutex::new(Err(Unavailable::of("host", "no route"))),
            asked: Mutex::default(),
        };
        let refused = ended(&asking, &domain, &by, Some((&sent, b"{}"))).await.unwrap_err();
        assert_eq!(refused.check(), "join::NoAnswer");
        *asking.told.lock().unwrap() = Ok(b"another nonce".to_vec());
        let refused = ended(&asking, &domain, &by, Some((&sent, b"{}"))).await.unwrap_err();
        assert_eq!(refused.check(), "attestation::Binding");
        let nonce: serde_json::Value = serde_json::from_slice(&sent.bytes).unwrap();
        let nonce = nonce["nonce"].as_str().unwrap().as_bytes().to_vec();
        *asking.told.lock().unwrap() = Ok(nonce);
        let joined = ended(&asking, &domain, &by, Some((&sent, b"{}"))).await.unwrap();
        let id = "spiffe://demo.example/aims/node/http_challenge/a.hosts.example";
        assert_eq!(joined.id.as_str(), id);
        // Whom policy does not list is not asked, whatever it answers.
        let before = asking.asked.lock().unwrap().len();
        let other = json!({ "hostname": "evil.example", "agentname": "default", "port": 80 });
        let other = attempt("http_challenge", Role::Node, other.to_string().as_bytes());
        let refused = ended(&asking, &domain, &other, Some((&sent, b"{}"))).await.unwrap_err();
        assert!(refused.is_strangers(), "{refused}");
        assert_eq!(asking.asked.lock().unwrap().len(), before);
    });
}

/// A mechanism that nobody has thought of: the holder of a badge.
struct Badge;

impl Mechanism for Badge {
    fn name(&self) -> &'static str {
        "x509pop"
    }

    fn challenge(&self, _: &[u8], facts: &Facts<'_>) -> Result<Option<Vec<u8>>, Evidence> {
        Ok(Some(facts.nonce.to_vec()))
    }

    fn faults(&self, _: &NodeRule) -> Vec<(String, String)> {
        Vec::new()
    }

    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, Evidence> {
        if response != Some(facts.nonce) {
            return Err(Evidence::Signature);
        }
        let name = String::from_utf8_lossy(evidence).into_owned();
        let selector = Selector::parse(&format!("badge:number:{name}"))?;
        Ok(Appraisal::new("badge", name, Selectors::new([selector])?))
    }
}

/// ATT-12: what is added stands at the seam alone; challenge, identifier, record, certificate and
/// refusal come from an issuer that does not know it.
/// req: ATT-12
#[test]
fn s7_a_new_mechanism_is_added_at_the_seam_alone() {
    const ADDED: &[&dyn Mechanism] = &[&Badge];
    story(|sim| async move {
        // Policy names mechanisms; that table is open to whoever is called so.
        let domain = with(&sim, "[node.x509pop]").await;
        let server = domain.server.world();
        let by = attempt("x509pop", Role::Gateway, b"badge-7");
        let sent = challenge_by(&*server, ADDED, &by).await.unwrap().unwrap().unwrap();
        let end = join_by(&*server, ADDED, &by, Some((&sent, b"wrong"))).await.unwrap();
        let End::Stranger(refusal) = end else { panic!("{end:?}") };
        assert_eq!(refusal, Evidence::Signature.into());
        let end = join_by(&*server, ADDED, &by, Some((&sent, &sent.bytes))).await.unwrap();
        let End::Decided(recorded) = end else { panic!("{end:?}") };
        let joined = recorded.into_value().unwrap();
        assert_eq!(joined.id.as_str(), "spiffe://demo.example/aims/gateway/badge/badge-7");
        let leaf = x509::Certificate::parse(&joined.chain[0]).unwrap();
        assert_eq!(leaf.uri_names(), [joined.id.as_str()]);
        let told = domain.server.journal().last().unwrap().attestation;
        assert!(told.contains_key("badge:number:badge-7"), "{told:?}");
        // The mechanisms that the product has are not touched by it.
        let again = Attempt { request: certificate_request(), ..by };
        let refused = challenge(&*server, &again).await.unwrap().unwrap_err();
        assert!(refused.is_strangers(), "{refused}");
    });
}
