//! Joining: tokens and certificates, each refusal by its name.

use attestation::Refusal as Evidence;
use attestation::mechanism::Role;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flow::join::{Attempt, End, Joined, Refusal, challenge, join};
use identifier::AgentName;
use jose::PrivateKey;
use testkit::Sim;
use testkit::fixture::{Domain, attempt, certificate_request, files_but, story};
use time::{Span, UnixTime};
use x509::{CertificateDer, KeyUsage, Name, Serial, SignatureAlgorithm, Template};

const EVIDENCE_MAX: usize = attestation::mechanism::EVIDENCE_BYTES_MAX;

async fn token(domain: &Domain, role: Role, name: Option<&str>) -> Vec<u8> {
    let (server, operator) = (domain.server.world(), domain.operator());
    let (name, life) = (name.map(|name| AgentName::parse(name).unwrap()), Span::from_seconds(60));
    let shown = flow::join_token::create(&*server, &operator, role, name, life).await.unwrap();
    assert!(!format!("{:?}", shown.value()).contains(shown.value().expose()));
    shown.into_value().expose().as_bytes().to_vec()
}

/// The end; what is decided is recorded under its name, of strangers nothing is.
async fn tried(domain: &Domain, attempt: &Attempt) -> Result<Joined, Refusal> {
    let before = domain.server.journal().len();
    let end = join(&*domain.server.world(), attempt, None).await.unwrap();
    let told = domain.server.journal().after(before);
    match end {
        End::Stranger(refusal) => {
            assert!(refusal.is_strangers() && told.is_empty(), "{refusal}");
            Err(refusal)
        }
        End::Decided(recorded) => {
            if let Err(refusal) = recorded.value() {
                let why = told[0].why.as_ref().unwrap();
                assert_eq!((told.len(), why.check.as_str()), (1, refusal.check()));
            }
            recorded.into_value()
        }
    }
}

/// req: ATT-02 (part), PROV-07 (part)
#[test]
fn s7_a_join_token_is_known_unused_in_time_and_for_the_role() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let evidence = token(&domain, Role::Node, Some("host-9")).await;
        let by = |role, evidence: &[u8]| attempt("join_token", role, evidence);
        let unknown = tried(&domain, &by(Role::Node, b"guess")).await;
        assert_eq!(unknown.unwrap_err(), Evidence::TokenUnknown.into());
        let role = tried(&domain, &by(Role::Gateway, &evidence)).await;
        assert_eq!(role.unwrap_err(), Evidence::TokenRole { role: "node" }.into());
        let mut unproved = by(Role::Node, &evidence);
        unproved.request.truncate(40);
        assert_eq!(tried(&domain, &unproved).await.unwrap_err().check(), "join::Request");
        let joined = tried(&domain, &by(Role::Node, &evidence)).await.unwrap();
        let id = "spiffe://demo.example/aims/node/join_token/host-9";
        assert_eq!(joined.id.as_str(), id);
        let leaf = x509::Certificate::parse(&joined.chain[0]).unwrap();
        assert_eq!(leaf.uri_names(), [id]);
        let at = domain.now();
        let used = tried(&domain, &by(Role::Node, &evidence)).await;
        assert_eq!(used.unwrap_err(), Evidence::TokenUsed { at, by: id.to_owned() }.into());
        let late = token(&domain, Role::Node, None).await;
        sim.sleep(Span::from_seconds(60)).await;
        let expired = tried(&domain, &by(Role::Node, &late)).await;
        assert_eq!(expired.unwrap_err().check(), "attestation::TokenExpired");
    });
}

/// A host that comes again is the same host, with a new key (CRED-11), unless it was stopped.
/// req: ID-04 (part), CRED-11 (part)
#[test]
fn s8_a_host_that_joins_again_keeps_its_identifier_and_not_its_key() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let request = certificate_request();
        let again = async |request: &[u8]| {
            let evidence = token(&domain, Role::Node, Some("host-9")).await;
            let fresh = attempt("join_token", Role::Node, &evidence);
            tried(&domain, &Attempt { request: request.to_vec(), ..fresh }).await
        };
        let first = again(&request).await.unwrap().id;
        assert_eq!(again(&request).await.unwrap_err(), Refusal::SameKey);
        assert_eq!(again(&certificate_request()).await.unwrap().id, first);
        crate::issue::suspend_node(&domain, &first);
        let refusal = again(&certificate_request()).await.unwrap_err();
        let Refusal::NotInForce { id, .. } = refusal else { panic!("{refusal}") };
        assert_eq!(id, first.to_string());
    });
}

/// A certificate of a manufacturer or an operator's own authority.
struct Maker {
    key: PrivateKey,
    name: Name,
    now: UnixTime,
}

impl Maker {
    fn new(now: UnixTime) -> Self {
        Self { key: new_key(), name: Name::new(None, Some("maker")).unwrap(), now }
    }

    fn certify(&self, key: &PrivateKey, kind: x509::Kind, usage: KeyUsage) -> CertificateDer {
        let is_own = kind != x509::Kind::Leaf;
        let template = Template {
            serial: Serial::from_random([7; 16]),
            issuer: self.name.clone(),
            subject: if is_own {
                self.name.clone()
            } else {
                Name::new(None, Some("host")).unwrap()
            },
            not_before: self.now.minus(Span::from_seconds(60)),
            not_after: self.now.plus(Span::from_seconds(3_600)),
            spki_der: key.public().spki_der().to_vec(),
            kind,
            uri_names: Vec::new(),
            dns_names: vec!["host-1.example".to_owned()],
            ip_names: Vec::new(),
            key_usage: usage,
            extended_key_usages: Vec::new(),
            authority_key_id: None,
            permitted_dns_names: Vec::new(),
            extra: Vec::new(),
        };
        let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let signature = self.key.sign(unsigned.bytes());
        let der = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
        unsigned.attach(&der)
    }

    fn own(&self) -> CertificateDer {
        let kind = x509::Kind::Authority { path_len: None };
        self.certify(&self.key, kind, KeyUsage::KEY_CERT_SIGN)
    }
}

fn new_key() -> PrivateKey {
    let made = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &aws_lc_rs::rand::SystemRandom::new(),
    );
    PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap()
}

/// A domain whose policy trusts `maker`.
async fn trusting(sim: &Sim, maker: &Maker) -> Domain {
    let attestation = format!(
        "[node.join_token]\n[node.x509pop]\nanchors = '''\n{}'''\n[class.standard]\ndemands = []\nissues = [\"x509\"]\n",
        maker.own().to_pem()
    );
    Domain::start_with(sim, files_but(&[("attestation.toml", &attestation)])).await
}

fn evidence(certificates: &[&CertificateDer]) -> Vec<u8> {
    let certificates: Vec<_> =
        certificates.iter().map(|one| STANDARD.encode(one.as_bytes())).collect();
    serde_json::json!({ "certificates": certificates }).to_string().into_bytes()
}

/// The answer of the host that has `key`.
fn answer(key: &PrivateKey, nonce: &[u8; 32]) -> Vec<u8> {
    let own = [9_u8; 32];
    let signature = key.sign(&[&nonce[..], &own[..]].concat());
    let der = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
    let (nonce, signature) = (STANDARD.encode(own), STANDARD.encode(der));
    serde_json::json!({ "nonce": nonce, "signature": signature }).to_string().into_bytes()
}

/// req: ATT-08 (part), ATT-12 (part)
#[test]
fn s7_a_host_joins_by_the_certificate_that_it_came_with() {
    story(|sim| async move {
        let start = env::Clock::now(&testkit::SimClock::new(&sim));
        let (maker, key) = (Maker::new(start), new_key());
        let domain = trusting(&sim, &maker).await;
        let server = domain.server.world();
        let leaf = maker.certify(&key, x509::Kind::Leaf, KeyUsage::DIGITAL_SIGNATURE);
        let by = |evidence: &[u8]| attempt("x509pop", Role::Node, evidence);
        let good = by(&evidence(&[&leaf]));
        let sent = challenge(&*server, &good).await.unwrap().unwrap().unwrap();
        let signed = answer(&key, &sent.nonce);
        let end = join(&*server, &good, Some((&sent, &signed))).await.unwrap();
        let End::Decided(recorded) = end else { panic!("{end:?}") };
        let id = recorded.into_value().unwrap().id;
        assert!(id.as_str().starts_with("spiffe://demo.example/aims/node/x509pop/"), "{id}");
        let told = domain.server.journal().last().unwrap().attestation;
        assert!(told.contains_key("x509pop:san:dns:host-1.example"), "{told:?}");
        // The answer to another challenge, and the answer of another key.
        for (key, nonce) in [(&key, [1; 32]), (&new_key(), sent.nonce)] {
            let signed = answer(key, &nonce);
            let end = join(&*server, &by(&evidence(&[&leaf])), Some((&sent, &signed))).await;
            // A certificate is public: who has not its key is a stranger, and fills no log.
            let End::Stranger(refusal) = end.unwrap() else { panic!("recorded") };
            assert_eq!(refusal, Evidence::Signature.into());
        }
        assert_eq!(tried(&domain, &good).await.unwrap_err(), Evidence::NoResponse.into());
        let other = Maker::new(start);
        let forged = other.certify(&key, x509::Kind::Leaf, KeyUsage::DIGITAL_SIGNATURE);
        let mute = maker.certify(&key, x509::Kind::Leaf, KeyUsage::KEY_AGREEMENT);
        for (evidence, check) in [
            (evidence(&[&forged]), "attestation::Chain"),
            (evidence(&[&mute]), "attestation::Evidence"),
            (b"{}".to_vec(), "attestation::Evidence"),
            (vec![b' '; EVIDENCE_MAX + 1], "attestation::Evidence"),
        ] {
            let asked = challenge(&*server, &by(&evidence)).await.unwrap();
            assert_eq!(asked.unwrap_err().check(), check);
            let end = join(&*server, &by(&evidence), Some((&sent, &signed))).await.unwrap();
            let refusal = match end {
                End::Stranger(refusal) => refusal,
                End::Decided(recorded) => recorded.into_value().unwrap_err(),
            };
            assert_eq!(refusal.check(), check);
        }
    });
}

/// ATT-12: the issuer knows the seam alone; what policy does not name is not there.
/// req: ATT-12 (part)
#[test]
fn s7_a_mechanism_is_known_and_allowed() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let unknown = tried(&domain, &attempt("magic", Role::Node, b"")).await;
        let name = "magic".to_owned();
        assert_eq!(unknown.unwrap_err(), Evidence::Unknown { name }.into());
        let closed = tried(&domain, &attempt("x509pop", Role::Node, b"")).await;
        let name = "x509pop".to_owned();
        let refusal = Evidence::NotAllowed { name, role: "node" }.into();
        assert_eq!(closed.unwrap_err(), refusal);
        let server = domain.server.world();
        let none = challenge(&*server, &attempt("join_token", Role::Node, b"")).await.unwrap();
        assert!(none.unwrap().is_none());
    });
}
