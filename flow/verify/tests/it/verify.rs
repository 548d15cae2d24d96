//! Background check, and the result of one carried on as a passport.

use ::verify::{End, Refusal, Verified, keys, open, submit};
use attestation::evidence::to_text;
use attestation::mechanism::Role;
use attestation::{Selector, Selectors};
use enrolment::{EnrolRequest, SessionRequest};
use env::World;
use flow::rotate;
use jose::{Algorithm, KeySet, PrivateKey, Refused, Unverified};
use monitoring::{Event, Record};
use rats::{Ear, EarToken, Tier};
use registry::NodeRecord;
use serde_json::{Value, json};
use testkit::Sim;
use testkit::fixture::{Domain, attempt, files_but, registration, story};
use time::Span;
use verification::{Session, Sessions};
use x509::KeyUsage;

use crate::maker::{Maker, answer, csr, evidence, new_key};

const VERIFIER: &str = "spiffe://demo.example/aims/verifier";
const SOURCE: &str = "192.0.2.9";

struct Desk {
    domain: Domain,
    maker: Maker,
    sessions: Sessions,
    tables: String,
}

impl Desk {
    async fn open(sim: &Sim) -> Self {
        let maker = Maker::new(env::Clock::now(&testkit::SimClock::new(sim)));
        let tables = format!(
            "[node.join_token]\n[verify.x509pop]\nanchors = '''\n{}'''\n\
             [class.standard]\ndemands = []\nissues = [\"x509\"]\n\
             [class.quiet]\ndemands = []\nissues = [\"x509\"]\n",
            maker.own().to_pem()
        );
        let files = files_but(&[("attestation.toml", tables.as_str())]);
        let domain = Domain::start_with(sim, files).await;
        Self { domain, maker, sessions: Sessions::new(&[9; 32]), tables }
    }

    async fn apply(&self, more: &str) {
        let text = format!("{}{more}", self.tables);
        let files = files_but(&[("attestation.toml", text.as_str())]);
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let done = flow::apply_policy::apply(&*server, &operator, files, String::new(), None).await;
        done.unwrap().into_value().unwrap();
    }

    async fn session(&self, nonce: Option<&str>) -> Result<(Session, Vec<String>), Refusal> {
        open(&*self.domain.server.world(), &self.sessions, nonce, None).await.unwrap()
    }

    /// The evidence of a host with `owner`'s certificate, bound to this session and key.
    fn evidence(&self, owner: &PrivateKey, session: &Session, key: &PrivateKey) -> Value {
        let leaf = self.maker.certify(owner, x509::Kind::Leaf, KeyUsage::DIGITAL_SIGNATURE);
        let challenge = session.nonce.challenge(Some(key.public().spki_der()));
        json!({
            "evidence": ["application/vnd.aims.evidence.x509pop", to_text(&evidence(&[&leaf]))],
            "answer": ["application/vnd.aims.response.x509pop", to_text(&answer(owner, &challenge))],
            "key": ["application/pkcs10", to_text(&csr(key))],
        })
    }

    async fn submit(&self, id: &str, wrapper: &Value) -> Result<(Verified, Record), Refusal> {
        let body = wrapper.to_string();
        self.send(id, ("application/cmw+json", body.as_bytes())).await
    }

    /// What is decided is recorded; of strangers nothing is.
    async fn send(&self, id: &str, body: (&str, &[u8])) -> Result<(Verified, Record), Refusal> {
        let server = self.domain.server.world();
        let before = self.domain.server.journal().len();
        let end = submit(&*server, &self.sessions, id, body, SOURCE).await.unwrap();
        let told = self.domain.server.journal().after(before);
        match end {
            End::Stranger(refusal) => {
                assert!(told.is_empty(), "{refusal}");
                Err(refusal)
            }
            End::Decided(recorded) => {
                assert_eq!(told.len(), 1);
                assert_eq!(recorded.audit_id(), Some(told[0].id));
                Ok((recorded.into_value(), told[0].clone()))
            }
        }
    }

    async fn refused(&self, id: &str, wrapper: &Value) -> &'static str {
        self.submit(id, wrapper).await.map(|_| ()).unwrap_err().check()
    }

    async fn keys(&self) -> KeySet {
        keys(&*self.domain.server.world()).await.unwrap()
    }

    /// What a relying party finds in a result.
    async fn read(&self, token: &str) -> Result<Ear, Refused> {
        let token = Unverified::<EarToken>::parse(token).unwrap();
        let (keys, now) = (self.keys().await, self.domain.now());
        let read = token.verify(&keys, &[Algorithm::Es256], now, Span::ZERO);
        read.map(|verified| verified.claims().clone())
    }
}

/// req: ATT-04 (part)
#[test]
fn rfc9334_5_2_a_relying_party_has_evidence_appraised() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let (owner, key) = (new_key(), new_key());
        let nonce = to_text(&[5; 40]);
        let (session, accept) = desk.session(Some(&nonce)).await.unwrap();
        assert_eq!((session.nonce.to_text(), session.until), (nonce.clone(), later(&desk, 150)));
        assert!(accept.contains(&"application/vnd.aims.evidence.x509pop".to_owned()));
        let good = desk.evidence(&owner, &session, &key);
        let (verified, record) = desk.submit(&session.id, &good).await.unwrap();
        let ear = desk.read(verified.result.expose()).await.unwrap();
        assert_eq!((ear.issuer.as_deref(), ear.nonce.as_deref()), (Some(VERIFIER), Some(&*nonce)));
        assert_eq!(ear.expires, Some(later(&desk, 300)));
        assert!(ear.subject.unwrap().starts_with("x509pop/"));
        let part = &ear.submods["platform"];
        assert_eq!(part.tier(), Tier::Affirming);
        assert_eq!(part.key.as_deref(), Some(key.public().spki_der()));
        assert_eq!(part.attester_claims["mechanism"], "x509pop");
        // Recorded, under the hash of the result.
        assert_eq!(
            (record.event, record.action.as_str()),
            (Event::EvidenceAppraised, "evidence.verify")
        );
        assert_eq!(record.jti, Some(verified.result.hash().to_base64url()));
        assert_eq!(record.attestation["source"], SOURCE);
        // The session takes no more, whoever asks.
        assert_eq!(desk.refused(&session.id, &good).await, "verify::Replayed");
        // The same in CBOR, to a session of its own.
        let (session, _) = desk.session(None).await.unwrap();
        let again = desk.evidence(&owner, &session, &key);
        let cbor = rats::Cmw::read(&again).unwrap().to_cbor();
        let (verified, _) = desk.send(&session.id, ("application/cmw+cbor", &cbor)).await.unwrap();
        assert_eq!(desk.read(verified.result.expose()).await.unwrap().tier(), Tier::Affirming);
    });
}

fn later(desk: &Desk, seconds: u64) -> time::UnixTime {
    desk.domain.now().plus(Span::from_seconds(seconds))
}

/// req: ATT-04 (part)
#[test]
fn rfc9334_5_2_what_proves_nothing_gets_no_result() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let (owner, key, other) = (new_key(), new_key(), new_key());
        let (session, _) = desk.session(None).await.unwrap();
        let good = desk.evidence(&owner, &session, &key);
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            changed
        };
        let (elsewhere, _) = desk.session(None).await.unwrap();
        let check = async |wrapper: Value, expect: &str| {
            assert_eq!(desk.refused(&session.id, &wrapper).await, expect, "{wrapper}");
        };
        // A request that does not prove its key, one of another key, an answer to another session.
        check(with("key", json!(["application/pkcs10", "AAAA"])), "join::Request").await;
        let signature = "attestation::Signature";
        check(with("key", json!(["application/pkcs10", to_text(&csr(&other))])), signature).await;
        let theirs = desk.evidence(&owner, &elsewhere, &key);
        check(with("answer", theirs["answer"].clone()), signature).await;
        check(json!({ "evidence": good["evidence"] }), "attestation::Evidence").await;
        check(json!({ "key": good["key"] }), "verify::Unfit").await;
        let token = json!(["application/vnd.aims.evidence.ear", "AAAA"]);
        check(json!({ "evidence": token }), "verify::Unfit").await;
        // A certificate of somebody else's authority.
        let stranger = Maker::new(desk.domain.now());
        let leaf = stranger.certify(&owner, x509::Kind::Leaf, KeyUsage::DIGITAL_SIGNATURE);
        let foreign =
            ["application/vnd.aims.evidence.x509pop".into(), to_text(&evidence(&[&leaf]))];
        check(with("evidence", json!(foreign)), "attestation::Chain").await;
        // None of that used the session up; its time does.
        desk.submit(&session.id, &good).await.unwrap();
        let (late, _) = desk.session(None).await.unwrap();
        let wrapper = desk.evidence(&owner, &late, &key);
        sim.sleep(Span::from_seconds(150)).await;
        assert_eq!(desk.refused(&late.id, &wrapper).await, "verify::Session");
        assert_eq!(desk.refused("AAAA", &wrapper).await, "verify::Session");
        // Off, unless policy says so.
        let off = Domain::start(&sim).await;
        let refused = open(&*off.server.world(), &desk.sessions, None, None).await.unwrap();
        assert_eq!(refused.map(|_| ()).unwrap_err(), Refusal::Off);
    });
}

/// What is true, and not what policy wants, gets a result that says so.
/// req: ATT-04 (part)
#[test]
fn rfc9334_5_2_what_is_true_and_not_good_enough_is_told_so() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let other = new_key();
        let jwk = other.public().to_jwk().with_kid(jose::KeyId::parse("k1").unwrap());
        let keys = json!(KeySet::new(vec![jwk]).unwrap()).to_string();
        let by_other = format!(
            "[verify.ear]\nissuer = \"https://verifier.example\"\nkeys = '''{keys}'''\n\
             parts = [\"cpu\"]\n"
        );
        desk.apply(&by_other).await;
        let key = new_key();
        let check = async |status: &str, value: i8| {
            let (session, _) = desk.session(None).await.unwrap();
            let spki = key.public().spki_der();
            let now = desk.domain.now().seconds();
            let claims = json!({
                "eat_profile": "tag:ietf.org,2026:rats/ear#04", "iss": "https://verifier.example",
                "iat": now, "exp": now + 60,
                "eat_nonce": to_text(&session.nonce.challenge(Some(spki))),
                "ear_verifier_id": { "developer": "https://verifier.example", "build": "1" },
                "submods": { "cpu": {
                    "ear_status": status, "ear_trustworthiness_vector": { "hardware": value },
                    "ear_veraison_key_attestation": { "akpub": to_text(spki) }
                } }
            });
            let claims = serde_json::from_value(claims).unwrap();
            let kid = jose::KeyId::parse("k1").unwrap();
            let input = jose::SigningInput::<EarToken>::new(Algorithm::Es256, Some(&kid), &claims);
            let input = input.unwrap();
            let signature = other.sign(input.bytes());
            let token = input.attach(signature).into_string();
            let wrapper = json!({
                "a": ["application/eat+jwt", to_text(token.as_bytes())],
                "b": ["application/pkcs10", to_text(&csr(&key))],
            });
            let (verified, record) = desk.submit(&session.id, &wrapper).await.unwrap();
            (desk.read(verified.result.expose()).await.unwrap(), record)
        };
        let (good, _) = check("affirming", 2).await;
        let part = &good.submods["platform"];
        assert_eq!((part.tier(), part.key.is_some()), (Tier::Affirming, true));
        // The result ends with the evidence.
        assert_eq!(good.expires, Some(later(&desk, 60)));
        let (bad, record) = check("contraindicated", 97).await;
        let part = &bad.submods["platform"];
        // It counts for nothing, attests no key, and says of its reasons only the step.
        assert_eq!((part.tier(), part.key.as_ref(), bad.subject), (Tier::None, None, None));
        let told = "policy: the evidence was not accepted";
        assert_eq!(part.attester_claims["failed"], told);
        assert!(record.attestation["refused"].contains("the part `cpu` is `contraindicated`"));
    });
}

/// Whoever relies on results finds the key that they are signed with before it is first used, and
/// that of those before for as long as one of them counts.
/// req: ATT-04 (part)
#[test]
fn rfc9334_5_2_the_verifiers_keys_overlap() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let server = desk.domain.server.world();
        let signer = async || {
            let key = ::verify::key(&*server).await.unwrap();
            key.kid().cloned().unwrap()
        };
        let (mut last, mut changes) = (signer().await, 0);
        for _ in 0..5_000 {
            let earlier = desk.keys().await;
            sim.sleep(Span::from_seconds(3_600)).await;
            rotate::step(&*server, &["localhost".to_owned()]).await.unwrap();
            let (now, known) = (signer().await, desk.keys().await);
            assert!(earlier.by_kid(&now).is_some(), "a key signs that was not published");
            assert!(known.by_kid(&last).is_some(), "a key is gone whose results may count");
            changes += usize::from(now != last);
            last = now;
            if changes == 2 {
                return;
            }
        }
        panic!("the key was changed {changes} times");
    });
}

/// RFC 9334 §5.1: the result that a verifier made for one nonce and key is shown to whoever chose
/// them, by an agent that enrols and by a host that joins.
/// req: ATT-04, ATT-12 (part)
#[test]
fn rfc9334_5_1_our_own_result_is_a_passport() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let keys = json!(desk.keys().await).to_string();
        let by_us =
            format!("issuer = \"{VERIFIER}\"\nkeys = '''{keys}'''\nparts = [\"platform\"]\n");
        desk.apply(&format!("[enrol.ear]\n{by_us}[node.ear]\n{by_us}")).await;
        let mut guest = registration("guest", &[]);
        let selector = Selector::parse("ear:part:platform:affirming").unwrap();
        guest.rule.selectors = Selectors::new([selector]).unwrap();
        desk.domain.register(guest).await;
        let server = desk.domain.server.world();
        let (owner, key) = (new_key(), new_key());
        // Each asks for what its challenge wants to be answered.
        let passport = async |challenge: &[u8], key: &PrivateKey| {
            let challenge: Value = serde_json::from_slice(challenge).unwrap();
            let (session, _) = desk.session(challenge["nonce"].as_str()).await.unwrap();
            let wrapper = desk.evidence(&owner, &session, key);
            desk.submit(&session.id, &wrapper).await.unwrap().0.result.expose().to_owned()
        };
        let enrolments = enrolment::session::Sessions::new(&[5; 32]);
        let asked = json!({ "mechanism": "ear", "key": to_text(key.public().spki_der()) });
        let asked = SessionRequest::parse(asked.to_string().as_bytes()).unwrap();
        let opened = enrol::open(&*server, &enrolments, &asked).await.unwrap().unwrap();
        let token = passport(opened.challenge.as_deref().unwrap(), &key).await;
        let enrol = async |token: &str, key: &PrivateKey| {
            let body = json!({
                "nonce": opened.nonce, "agent": "guest", "request": to_text(&csr(key)),
                "mechanism": "ear", "kinds": ["x509"],
                "evidence": ["application/eat+jwt", to_text(token.as_bytes())],
            });
            let request = EnrolRequest::parse(body.to_string().as_bytes()).unwrap();
            let attempt = enrol::Attempt { request, source: SOURCE.to_owned() };
            match enrol::enrol(&*server, &enrolments, &attempt).await.unwrap() {
                enrol::End::Stranger(refusal) => Err(refusal),
                enrol::End::Decided(recorded) => recorded.into_value(),
            }
        };
        // One that was made for another nonce is none.
        let other = json!({ "nonce": to_text(&[1; 32]) }).to_string();
        let stale = passport(other.as_bytes(), &key).await;
        assert_eq!(enrol(&stale, &key).await.unwrap_err().check(), "attestation::Binding");
        let enrolled = enrol(&token, &key).await.unwrap();
        assert_eq!(enrolled.id.as_str(), "spiffe://demo.example/agent/guest");
        // A host: its record ends to count with the passport.
        let hosts = new_key();
        let by_key =
            flow::join::Attempt { request: csr(&hosts), ..attempt("ear", Role::Node, b"") };
        let sent = flow::join::challenge(&*server, &by_key).await.unwrap().unwrap().unwrap();
        let token = passport(&sent.bytes, &hosts).await;
        let joined = flow::join::join(&*server, &by_key, Some((&sent, token.as_bytes()))).await;
        let flow::join::End::Decided(joined) = joined.unwrap() else { panic!("a stranger") };
        let joined = joined.into_value().unwrap();
        let host = server.store().single::<NodeRecord>(joined.id.as_str()).unwrap();
        assert_eq!(host.counts, Some(later(&desk, 300)));
    });
}
