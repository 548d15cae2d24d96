//! Agents without a host of ours: enrolled by what they prove, each refusal by its name.

use ::enrol::renew::{self, Renewal, renew};
use ::enrol::{Attempt, End, Enrolled, Opened, Refusal, enrol, open};
use attestation::evidence::to_text;
use attestation::oidc::bound_audience;
use attestation::{Selector, Selectors};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use enrolment::session::Sessions;
use enrolment::{EnrolRequest, RenewRequest, SessionRequest};
use env::rows::Enrolment;
use env::{AssignedCredential, World};
use jose::{Algorithm, KeyId, KeySet, PrivateKey, SigningInput, TokenHash};
use monitoring::{Event, Outcome};
use oauth::id_token::IdToken;
use provisioning::Act;
use rats::EarToken;
use registry::Registration;
use serde_json::{Value, json};
use testkit::Sim;
use testkit::fixture::{DOMAIN, Domain, ISSUER, files_but, registration, story};
use time::Span;
use wimse::{Proof, WorkloadId};
use x509::KeyUsage;

use crate::maker::{Maker, answer, csr, evidence, new_key};

pub(crate) const BOT: &str = "spiffe://demo.example/agent/bot";
pub(crate) const GITHUB: &str = "github_actions";
const HALF_HOUR: Span = Span::from_seconds(1_800);

/// A domain that lets agents enrol by a token of a platform and by a certificate.
pub(crate) struct Bureau {
    pub(crate) domain: Domain,
    maker: Maker,
    platform: PrivateKey,
    sessions: Sessions,
    pub(crate) attestation: String,
}

/// What an agent without a host asks with.
#[derive(Clone)]
pub(crate) struct Asking<'a> {
    pub(crate) agent: &'a str,
    pub(crate) mechanism: &'a str,
    pub(crate) kinds: &'a [&'a str],
    pub(crate) key: &'a PrivateKey,
    pub(crate) evidence: Vec<u8>,
    pub(crate) response: Option<Vec<u8>>,
}

impl Bureau {
    pub(crate) async fn open(sim: &Sim) -> Self {
        Self::with(sim, "").await
    }

    /// The same with these tables of policy besides.
    pub(crate) async fn with(sim: &Sim, tables: &str) -> Self {
        let now = env::Clock::now(&testkit::SimClock::new(sim));
        let (maker, platform) = (Maker::new(now), new_key());
        let jwk = platform.public().to_jwk().with_kid(KeyId::parse("k1").unwrap());
        let keys = serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap();
        let attestation = format!(
            "[node.join_token]\n\
             [enrol.x509pop]\nanchors = '''\n{}'''\n\
             [enrol.{GITHUB}]\nkeys = '{keys}'\nclaims.repository = [\"acme/*\"]\n\
             [enrol.ear]\nissuer = \"https://verifier.example\"\nkeys = '{keys}'\nparts = [\"cpu\"]\n\
             [class.standard]\ndemands = []\nissues = [\"x509\", \"wit\", \"jwt\"]\n\
             [class.quiet]\ndemands = []\nissues = [\"x509\"]\n\
             [class.strict]\ndemands = [\"{GITHUB}:repository\"]\nissues = [\"x509\"]\n\
             [[class.strict.attested]]\nof = [\"platform.x509pop\"]\n{tables}",
            maker.own().to_pem()
        );
        let domain =
            Domain::start_with(sim, files_but(&[("attestation.toml", &attestation)])).await;
        for (name, selector) in [
            ("bot", "github_actions:repository:acme/bot"),
            ("pop", "x509pop:san:dns:host-1.example"),
            ("other", "github_actions:repository:acme/other"),
            ("guest", "ear:part:cpu:affirming"),
        ] {
            domain.register(of(name, selector)).await;
        }
        let sessions = Sessions::new(&[5; 32]);
        Self { domain, maker, platform, sessions, attestation }
    }

    /// A token of the platform for whoever has `key`.
    fn token(&self, key: &PrivateKey, repository: &str) -> Vec<u8> {
        let now = self.domain.now().seconds();
        let jti = TokenHash::of(&format!("{:?} {now}", key.public().thumbprint())).to_base64url();
        let claims = json!({
            "iss": "https://token.actions.githubusercontent.com", "sub": "repo", "jti": jti,
            "aud": bound_audience(DOMAIN, key.public().spki_der()),
            "iat": now, "exp": now + 300, "repository": repository, "repository_id": "7",
            "run_id": "1", "run_attempt": "1",
        });
        let claims = serde_json::from_value(claims).unwrap();
        let kid = KeyId::parse("k1").unwrap();
        let input = SigningInput::<IdToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
        let signature = self.platform.sign(input.bytes());
        input.attach(signature).into_string().into_bytes()
    }

    /// What a verifier elsewhere finds out about whoever has `key`, for this session.
    fn result(&self, session: &Opened, key: &PrivateKey) -> Vec<u8> {
        let challenge: Value = serde_json::from_slice(session.challenge.as_ref().unwrap()).unwrap();
        let now = self.domain.now().seconds();
        let claims = json!({
            "eat_profile": "tag:ietf.org,2026:rats/ear#04", "iss": "https://verifier.example",
            "iat": now, "exp": now + 120, "eat_nonce": challenge["nonce"],
            "ear_verifier_id": { "developer": "https://verifier.example", "build": "1" },
            "submods": { "cpu": {
                "ear_status": "affirming", "ear_trustworthiness_vector": { "hardware": 2 },
                "ear_appraisal_policy_ids": ["p"],
                "ear_veraison_key_attestation": { "akpub": to_text(key.public().spki_der()) }
            } }
        });
        let claims = serde_json::from_value(claims).unwrap();
        let kid = KeyId::parse("k1").unwrap();
        let input = SigningInput::<EarToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
        let signature = self.platform.sign(input.bytes());
        input.attach(signature).into_string().into_bytes()
    }

    pub(crate) fn bot<'a>(&self, key: &'a PrivateKey) -> Asking<'a> {
        let evidence = self.token(key, "acme/bot");
        Asking { agent: "bot", mechanism: GITHUB, kinds: &["wit"], key, evidence, response: None }
    }

    pub(crate) async fn session(
        &self,
        asking: &Asking<'_>,
        with_evidence: bool,
    ) -> Result<Opened, Refusal> {
        let evidence = with_evidence.then(|| to_text(&asking.evidence));
        let body = json!({
            "mechanism": asking.mechanism, "evidence": evidence,
            "key": to_text(asking.key.public().spki_der()),
        });
        let asked = SessionRequest::parse(body.to_string().as_bytes()).unwrap();
        open(&*self.domain.server.world(), &self.sessions, &asked).await.unwrap()
    }

    /// The end of an attempt; what is decided is recorded under its name, of strangers nothing is.
    async fn attempt(&self, asking: &Asking<'_>, nonce: &str) -> Result<Enrolled, Refusal> {
        self.send(&self.body(asking, nonce)).await
    }

    pub(crate) fn body(&self, asking: &Asking<'_>, nonce: &str) -> Value {
        let media_type = format!("application/vnd.aims.evidence.{}", asking.mechanism);
        let wants_jwt = asking.kinds.contains(&"jwt");
        let audiences = if wants_jwt { vec!["https://partner.example"] } else { Vec::new() };
        json!({
            "nonce": nonce, "agent": asking.agent, "request": to_text(&csr(asking.key)),
            "mechanism": asking.mechanism, "response": asking.response.as_deref().map(to_text),
            "evidence": { "platform": [media_type, to_text(&asking.evidence)] },
            "kinds": asking.kinds, "audiences": audiences,
        })
    }

    /// The end alone, where others write records meanwhile.
    pub(crate) async fn end(&self, body: &Value) -> Result<Enrolled, Refusal> {
        let request = EnrolRequest::parse(body.to_string().as_bytes()).unwrap();
        let attempt = Attempt { request, source: "192.0.2.7".to_owned() };
        let server = self.domain.server.world();
        match enrol(&*server, &self.sessions, &attempt).await.unwrap() {
            End::Stranger(refusal) => Err(refusal),
            End::Decided(recorded) => recorded.into_value(),
        }
    }

    pub(crate) async fn send(&self, body: &Value) -> Result<Enrolled, Refusal> {
        let request = EnrolRequest::parse(body.to_string().as_bytes()).unwrap();
        let attempt = Attempt { request, source: "192.0.2.7".to_owned() };
        let before = self.domain.server.journal().len();
        let server = self.domain.server.world();
        let end = enrol(&*server, &self.sessions, &attempt).await.unwrap();
        let told = self.domain.server.journal().after(before);
        match end {
            End::Stranger(refusal) => {
                assert!(refusal.is_strangers() && told.is_empty(), "{refusal}");
                Err(refusal)
            }
            End::Decided(recorded) => {
                assert_eq!(recorded.audit_id(), Some(told[0].id));
                if let Err(refusal) = recorded.value() {
                    assert_eq!(told[0].why.as_ref().unwrap().check, refusal.check());
                    assert_eq!(told[0].outcome, Outcome::Refused);
                }
                recorded.into_value()
            }
        }
    }

    pub(crate) async fn enrolled(&self, asking: &Asking<'_>) -> Result<Enrolled, Refusal> {
        let session = self.session(asking, false).await.unwrap();
        self.attempt(asking, &session.nonce).await
    }

    /// The check that refuses.
    async fn refused(&self, asking: &Asking<'_>) -> &'static str {
        self.enrolled(asking).await.map(|_| ()).unwrap_err().check()
    }

    pub(crate) async fn renewed(
        &self,
        held: &Held<'_>,
        by: &Proving<'_>,
    ) -> Result<Enrolled, renew::Refusal> {
        let body = json!({
            "handle": held.handle, "request": to_text(&csr(held.new)), "kinds": ["x509", "wit"],
        });
        let request = RenewRequest::parse(body.to_string().as_bytes()).unwrap();
        let mut renewal = Renewal {
            request,
            wit: Vec::new(),
            wpt: Vec::new(),
            certificates: Vec::new(),
            source: "192.0.2.7".to_owned(),
        };
        match by {
            Proving::Nothing => {}
            Proving::Chain(chain) => renewal.certificates = chain.to_vec(),
            Proving::Wit(wit, key, jti) => {
                let proof = Proof {
                    audience: &format!("{ISSUER}{}", renew::PATH),
                    expires: self.domain.now().plus(Span::from_seconds(30)),
                    jti,
                    wit: TokenHash::of(wit),
                    access_token: None,
                    txn_token: None,
                    other: &[],
                };
                let input = proof.signing_input(Algorithm::Es256).unwrap();
                let signature = key.sign(input.bytes());
                renewal.wit = vec![wit.as_bytes().to_vec()];
                renewal.wpt = vec![input.attach(signature).into_string().into_bytes()];
            }
        }
        let before = self.domain.server.journal().len();
        let end = renew(&*self.domain.server.world(), &renewal).await.unwrap();
        let told = self.domain.server.journal().after(before);
        match end {
            renew::End::Stranger(refusal) => {
                assert!(told.is_empty(), "{refusal}");
                Err(refusal)
            }
            renew::End::Decided(recorded) => {
                if let Err(refusal) = recorded.value() {
                    assert_eq!(told[0].why.as_ref().unwrap().check, refusal.check());
                }
                recorded.into_value()
            }
        }
    }
}

pub(crate) struct Held<'a> {
    pub(crate) handle: &'a str,
    pub(crate) new: &'a PrivateKey,
}

pub(crate) enum Proving<'a> {
    Nothing,
    Chain(&'a [Vec<u8>]),
    Wit(&'a str, &'a PrivateKey, &'a str),
}

pub(crate) fn of(name: &str, selector: &str) -> Registration {
    let mut entry = registration(name, &[]);
    entry.rule.selectors = Selectors::new([Selector::parse(selector).unwrap()]).unwrap();
    entry
}

pub(crate) fn wit_of(enrolled: &Enrolled) -> String {
    let of = |one: &AssignedCredential| match one {
        AssignedCredential::Wit { token } => Some(token.expose().to_owned()),
        _ => None,
    };
    enrolled.credentials.iter().find_map(of).unwrap()
}

pub(crate) fn chain_of(enrolled: &Enrolled) -> Vec<Vec<u8>> {
    let of = |one: &AssignedCredential| match one {
        AssignedCredential::X509 { chain } => Some(chain.clone()),
        _ => None,
    };
    enrolled.credentials.iter().find_map(of).unwrap()
}

/// req: PROV-01 (part), PROV-05 (part), PROV-07 (part), ATT-01 (part), ATT-04 (part), REG-01 (part)
#[test]
fn s3_1_an_agent_without_a_host_enrols_by_a_token_bound_to_its_key() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let key = new_key();
        let asking = Asking { kinds: &["x509", "wit", "jwt"], ..bureau.bot(&key) };
        let session = bureau.session(&asking, false).await.unwrap();
        assert_eq!((session.challenge, session.until), (None, bureau.domain.now().plus(MINUTE)));
        assert!(session.accept.contains(&"application/vnd.aims.evidence.github_actions".into()));
        let before = bureau.domain.server.journal().len();
        let enrolled = bureau.attempt(&asking, &session.nonce).await.unwrap();
        assert_eq!((enrolled.id.as_str(), enrolled.credentials.len()), (BOT, 3));
        let leaf = x509::Certificate::parse(&chain_of(&enrolled)[0]).unwrap();
        assert_eq!(leaf.uri_names(), [BOT]);
        assert_eq!(leaf.spki_der(), key.public().spki_der());
        // One decision, the result it was made on, and a record of each credential.
        let told = bureau.domain.server.journal().after(before);
        let events: Vec<_> = told.iter().map(|one| (one.event, one.action.as_str())).collect();
        let issued = Event::CredentialIssued;
        assert_eq!(
            events,
            [
                (issued, "credential.enrol"),
                (Event::EvidenceAppraised, "evidence_appraised"),
                (issued, "credential.issue.x509"),
                (issued, "credential.issue.wit"),
                (issued, "credential.issue.jwt"),
            ]
        );
        let result = &told[1].facts["submods"]["platform"];
        assert_eq!(result["ear_status"], "affirming");
        assert_eq!(result["ear_attester_claims"]["mechanism"], GITHUB);
        for one in &told {
            assert_eq!(one.agent.as_deref(), Some(BOT));
            assert_eq!(one.attestation["result"], told[0].attestation["result"]);
            assert_eq!(one.proof.as_deref(), Some(GITHUB));
        }
        // Neither the secret of the enrolment nor the token of the platform is in any record.
        let all = format!("{told:?}");
        let evidence = String::from_utf8(asking.evidence.clone()).unwrap();
        assert!(!all.contains(&enrolled.handle) && !all.contains(&evidence));
        // The nonce serves once, the key serves once, the evidence serves once.
        assert_eq!(bureau.attempt(&asking, &session.nonce).await.unwrap_err().check(), REPLAYED);
        assert_eq!(bureau.enrolled(&asking).await.unwrap_err(), Refusal::Replayed("evidence"));
        sim.sleep(Span::from_seconds(2)).await;
        assert_eq!(bureau.refused(&bureau.bot(&key)).await, "enrol::KeyUsed");
        assert_eq!(bureau.enrolled(&bureau.bot(&new_key())).await.unwrap().id.as_str(), BOT);
    });
}

const MINUTE: Span = Span::from_seconds(60);
const REPLAYED: &str = "enrol::Replayed";

/// req: ATT-01 (part), ATT-08 (part), PROV-01 (part)
#[test]
fn s3_1_an_agent_enrols_by_answering_a_challenge_for_its_evidence() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let (owner, key) = (new_key(), new_key());
        let leaf = bureau.maker.certify(&owner, x509::Kind::Leaf, KeyUsage::DIGITAL_SIGNATURE);
        let chain = evidence(&[&leaf]);
        let asking = Asking {
            agent: "pop",
            mechanism: "x509pop",
            kinds: &["x509"],
            key: &key,
            evidence: chain.clone(),
            response: None,
        };
        // Without its certificate there is no challenge.
        assert!(bureau.session(&asking, false).await.unwrap_err().is_strangers());
        let session = bureau.session(&asking, true).await.unwrap();
        let good = Asking { response: Some(answered(&owner, &session)), ..asking.clone() };
        let check = async |asking: &Asking<'_>, session: &Opened| {
            bureau.attempt(asking, &session.nonce).await.map(|_| ()).unwrap_err().check()
        };
        assert_eq!(check(&asking, &session).await, "attestation::Evidence");
        // The challenge is for this certificate and this key alone.
        let session = bureau.session(&asking, true).await.unwrap();
        assert_eq!(check(&good, &session).await, "attestation::Signature");
        let session = bureau.session(&asking, true).await.unwrap();
        let good = Asking { response: Some(answered(&owner, &session)), ..asking.clone() };
        let other = bureau.maker.certify(&new_key(), x509::Kind::Leaf, KeyUsage::DIGITAL_SIGNATURE);
        let swapped = Asking { evidence: evidence(&[&other]), ..good.clone() };
        assert_eq!(check(&swapped, &session).await, "session::OtherEvidence");
        let thief = new_key();
        let stolen = Asking { key: &thief, ..good.clone() };
        assert_eq!(check(&stolen, &session).await, "session::OtherKey");
        let enrolled = bureau.attempt(&good, &session.nonce).await.unwrap();
        assert_eq!(enrolled.id.as_str(), "spiffe://demo.example/agent/pop");
    });
}

/// What the owner of a certificate answers to the challenge of a session.
fn answered(owner: &PrivateKey, session: &Opened) -> Vec<u8> {
    let challenge: Value = serde_json::from_slice(session.challenge.as_ref().unwrap()).unwrap();
    let nonce = STANDARD.decode(challenge["nonce"].as_str().unwrap()).unwrap();
    answer(owner, &nonce.try_into().unwrap())
}

/// req: ATT-04 (part), ATT-12 (part)
#[test]
fn rfc9334_5_1_an_agent_enrols_by_the_result_of_another_verifier() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let (key, thief) = (new_key(), new_key());
        let asking = Asking { agent: "guest", mechanism: "ear", ..bureau.bot(&key) };
        let session = bureau.session(&asking, false).await.unwrap();
        assert!(session.accept.contains(&"application/eat+jwt".to_owned()));
        let of = |session: &Opened, key: &PrivateKey| Asking {
            evidence: bureau.result(session, key),
            ..asking.clone()
        };
        // A result for another session, and for another key.
        let other = bureau.session(&asking, false).await.unwrap();
        let refused = bureau.attempt(&of(&other, &key), &session.nonce).await.unwrap_err();
        assert_eq!(refused.check(), "attestation::Binding");
        let session = bureau.session(&asking, false).await.unwrap();
        let refused = bureau.attempt(&of(&session, &thief), &session.nonce).await.unwrap_err();
        assert_eq!(refused.check(), "attestation::Binding");
        let session = bureau.session(&asking, false).await.unwrap();
        let enrolled = bureau.attempt(&of(&session, &key), &session.nonce).await.unwrap();
        assert_eq!(enrolled.id.as_str(), "spiffe://demo.example/agent/guest");
        // It counts no longer than the result that it stands on.
        assert_eq!(enrolled.until, bureau.domain.now().plus(Span::from_seconds(120)));
    });
}

/// The order of the checks: each refuses by its name, whatever else is right.
/// req: REG-01 (part), PROV-07 (part), ATT-01 (part)
#[test]
fn s3_1_each_check_refuses_by_its_name() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let (key, thief) = (new_key(), new_key());
        let good = bureau.bot(&key);
        // What policy does not name, and what proves nothing.
        let by = |mechanism| Asking { mechanism, ..good.clone() };
        let session = bureau.session(&good, false).await.unwrap();
        for mechanism in ["sshpop", "join_token", "magic"] {
            assert_eq!(bureau.session(&by(mechanism), false).await.unwrap_err().check(), CLOSED);
            let refused = bureau.attempt(&by(mechanism), &session.nonce).await.unwrap_err();
            assert_eq!(refused.check(), CLOSED);
        }
        // A session of another process of ours; one that is too old.
        let theirs = Sessions::new(&[6; 32]);
        let now = bureau.domain.now();
        let thumbprint = key.public().thumbprint();
        let theirs = theirs.open(GITHUB, None, &thumbprint, [1; 16], now).nonce;
        assert_eq!(bureau.attempt(&good, &theirs).await.unwrap_err().check(), "session::NotOurs");
        // The token is for the key of another: it says so under a session of the thief's own.
        let stolen = Asking { key: &thief, ..good.clone() };
        assert_eq!(bureau.refused(&stolen).await, "attestation::Binding");
        let forged = Asking { evidence: b"a.b.c".to_vec(), ..good.clone() };
        assert_eq!(bureau.refused(&forged).await, "attestation::Form");
        let body = json!({
            "nonce": session.nonce, "agent": "bot", "request": "AAAA", "mechanism": GITHUB,
            "evidence": ["application/vnd.aims.evidence.github_actions", to_text(&good.evidence)],
            "kinds": ["wit"],
        });
        assert_eq!(bureau.send(&body).await.unwrap_err().check(), "join::Request");
        let mut two = body;
        two["evidence"] = json!({ "a": two["evidence"].clone(), "b": ["text/plain", "AAAA"] });
        assert_eq!(bureau.send(&two).await.unwrap_err().check(), "enrol::Unfit");
        // True evidence of somebody else, of nobody, and of one that may be on nodes only.
        for agent in ["other", "pop"] {
            assert_eq!(bureau.refused(&fresh(&bureau, agent)).await, "provisioning::Evidence");
        }
        assert_eq!(bureau.refused(&fresh(&bureau, "nobody")).await, "enrol::Unknown");
        let mut hosted = of("hosted", "github_actions:repository:acme/bot");
        let node = "spiffe://demo.example/aims/node/join_token/host-1";
        hosted.rule.nodes = vec![WorkloadId::parse(node).unwrap()];
        bureau.domain.register(hosted).await;
        assert_eq!(bureau.refused(&fresh(&bureau, "hosted")).await, "provisioning::Node");
        // What the class gives, and what it demands.
        for (name, class, check) in
            [("quiet", "quiet", "provisioning::Kind"), ("strict", "strict", "attestation::Demand")]
        {
            let mut entry = of(name, "github_actions:repository:acme/bot");
            entry.rule.class = class.to_owned();
            bureau.domain.register(entry).await;
            assert_eq!(bureau.refused(&fresh(&bureau, name)).await, check);
        }
        bureau.domain.act("bot", Act::Suspend).await;
        assert_eq!(bureau.refused(&fresh(&bureau, "bot")).await, "provisioning::NotInForce");
        bureau.domain.act("bot", Act::Resume).await;
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
        sim.sleep(MINUTE).await;
        let late = bureau.attempt(&good, &session.nonce).await.unwrap_err();
        assert_eq!(late.check(), "session::Expired");
    });
}

const CLOSED: &str = "enrol::NotAllowed";

/// The bot's evidence for a key of its own, shown by whoever says to be `agent`.
pub(crate) fn fresh<'a>(bureau: &Bureau, agent: &'a str) -> Asking<'a> {
    let key = Box::leak(Box::new(new_key()));
    Asking { agent, ..bureau.bot(key) }
}

/// req: PROV-02 (part), PROV-03 (part), CRED-11 (part)
#[test]
fn s8_an_enrolled_agent_renews_by_its_own_credential_with_a_new_key() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let [first, second, third, fourth] = [new_key(), new_key(), new_key(), new_key()];
        let asking = Asking { kinds: &["x509", "wit"], ..bureau.bot(&first) };
        let enrolled = bureau.enrolled(&asking).await.unwrap();
        let (handle, wit) = (enrolled.handle.as_str(), wit_of(&enrolled));
        let renew = async |handle: &str, new: &PrivateKey, by: Proving<'_>| {
            bureau.renewed(&Held { handle, new }, &by).await
        };
        let check = async |new: &PrivateKey, by| {
            renew(handle, new, by).await.map(|_| ()).unwrap_err().check()
        };
        // The handle alone is nothing; with the credential of another agent, or of another
        // instance of the same, it is not theirs.
        assert_eq!(check(&second, Proving::Nothing).await, "renew::NoProof");
        let twin_key = new_key();
        let twin = bureau.enrolled(&bureau.bot(&twin_key)).await.unwrap();
        let by_twin = |jti| Proving::Wit(Box::leak(wit_of(&twin).into_boxed_str()), &twin_key, jti);
        assert_eq!(check(&second, by_twin("t1")).await, "renew::OtherKey");
        assert_eq!(check(&second, by_twin("t1")).await, REPLAYED);
        let unknown = renew("guess", &second, by_twin("t2")).await.unwrap_err();
        assert_eq!(unknown, renew::Refusal::Unknown);
        bureau.domain.register(registration("clerk", &[])).await;
        let clerk = bureau.domain.party("/opt/clerk").await;
        assert_eq!(check(&second, Proving::Chain(&clerk.chain)).await, "renew::OtherAgent");
        // Its own key again, and a proof that is not of its key.
        assert_eq!(check(&first, Proving::Wit(&wit, &first, "a")).await, "enrol::KeyUsed");
        assert_eq!(check(&second, Proving::Wit(&wit, &second, "b")).await, "renew::Wit");
        sim.sleep(HALF_HOUR).await;
        let again = renew(handle, &second, Proving::Wit(&wit, &first, "c")).await.unwrap();
        assert_eq!((again.id.as_str(), again.until), (BOT, enrolled.until));
        // Nothing outlives the result.
        assert_eq!(again.expires, enrolled.until);
        let leaf = x509::Certificate::parse(&chain_of(&again)[0]).unwrap();
        assert_eq!(leaf.spki_der(), second.public().spki_der());
        // The credential before has not ended, and speaks for the enrolment no more.
        assert_eq!(check(&third, Proving::Wit(&wit, &first, "d")).await, "renew::OtherKey");
        let chain = chain_of(&again);
        let thrice = renew(handle, &third, Proving::Chain(&chain)).await.unwrap();
        let newest = wit_of(&thrice);
        bureau.domain.restart_server().await.unwrap();
        let by = |jti| Proving::Wit(&newest, &third, jti);
        assert_eq!(renew(handle, &fourth, by("c2")).await.unwrap().id.as_str(), BOT);
        // What is kept is a row an instance, and no handle.
        let rows = bureau.domain.server.world().store().every::<Enrolment>();
        assert_eq!(rows.iter().filter(|row| row.agent == BOT).count(), 2);
        assert!(rows.iter().all(|row| row.handle != handle));
    });
}

/// req: PROV-06 (part), PROV-03 (part)
#[test]
fn s8_a_renewal_ends_with_the_agent_the_policy_and_the_result() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let [first, second, third] = [new_key(), new_key(), new_key()];
        let enrolled = bureau.enrolled(&bureau.bot(&first)).await.unwrap();
        let (handle, wit) = (enrolled.handle.as_str(), wit_of(&enrolled));
        let check = async |jti: &str, new: &PrivateKey| {
            let by = Proving::Wit(&wit, &first, jti);
            bureau.renewed(&Held { handle, new }, &by).await.map(|_| ()).unwrap_err().check()
        };
        // Suspended; resumed, what was issued before stays dead.
        bureau.domain.act("bot", Act::Suspend).await;
        assert_eq!(check("a", &second).await, "renew::NotInForce");
        bureau.domain.act("bot", Act::Resume).await;
        assert_eq!(check("b", &second).await, "renew::NotInForce");
        let enrolled = bureau.enrolled(&bureau.bot(&second)).await.unwrap();
        let (handle, wit) = (enrolled.handle.as_str(), wit_of(&enrolled));
        let check = async |jti: &str| {
            let by = Proving::Wit(&wit, &second, jti);
            let held = Held { handle, new: &third };
            bureau.renewed(&held, &by).await.map(|_| ()).unwrap_err().check()
        };
        let left = enrolled.until.since(bureau.domain.now()).seconds();
        sim.sleep(Span::from_seconds(left - 29)).await;
        assert_eq!(check("c").await, "enrol::Ended");
        sim.sleep(Span::from_seconds(60)).await;
        // The WIT ends with the result; whoever holds it has nothing to show.
        assert_eq!(check("d").await, "renew::Wit");
        sim.sleep(MINUTE).await;
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
    });
}

/// req: PROV-01 (part)
#[test]
fn s3_1_enrolment_is_off_unless_policy_says_so() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let key = new_key();
        let body = json!({ "mechanism": GITHUB, "key": to_text(key.public().spki_der()) });
        let asked = SessionRequest::parse(body.to_string().as_bytes()).unwrap();
        let sessions = Sessions::new(&[5; 32]);
        let refused = open(&*domain.server.world(), &sessions, &asked).await.unwrap();
        assert_eq!(refused.map(|_| ()).unwrap_err(), Refusal::Off);
    });
}
