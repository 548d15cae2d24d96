//! Evidence appraised for relying parties, and enrolment's strangers, over real sockets.

use api::Limits;
use attestation::evidence::{from_text, to_text};
use http::{Method, Request, StatusCode};
use jose::{Algorithm, KeyId, KeySet, PrivateKey, SigningInput, Unverified};
use monitoring::Event;
use rats::{EarToken, Tier};
use serde_json::{Value, json};
use time::Span;

use crate::browser::{Reply, Served};
use crate::world::{NOW, TestWorld, files, new_key};

const NEW: &str = "/challenge-response/v1/newSession";
const SESSION_TYPE: &str = "application/vnd.veraison.challenge-response-session+json";

/// A server whose policy has results of another verifier appraised.
struct Desk {
    served: Served,
    other: PrivateKey,
}

impl Desk {
    async fn open(limits: Limits) -> Self {
        let other = PrivateKey::from_pkcs8(&new_key()).unwrap();
        let jwk = other.public().to_jwk().with_kid(KeyId::parse("k1").unwrap());
        let keys = json!(KeySet::new(vec![jwk]).unwrap()).to_string();
        let text = format!(
            "[node.join_token]\n[verify.ear]\nissuer = \"https://verifier.example\"\n\
             keys = '''{keys}'''\nparts = [\"cpu\"]\n\
             [class.standard]\ndemands = []\nissues = [\"x509\"]\n"
        );
        let world = TestWorld::start().await;
        let (operator, set) = (TestWorld::operator(), files(&[("attestation.toml", &text)]));
        let done = flow::apply_policy::apply(&*world, &operator, set, String::new(), None).await;
        done.unwrap().into_value().unwrap();
        Self { served: Served::with(world, limits).await, other }
    }

    async fn ask(&self, method: Method, path: &str, typed: Option<&str>, body: &[u8]) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(typed) = typed {
            request = request.header("content-type", typed);
        }
        self.served.send(request.body(body.to_vec()).unwrap()).await
    }

    async fn session(&self, query: &str) -> (Value, String) {
        let opened = self.ask(Method::POST, &format!("{NEW}{query}"), None, b"").await;
        assert_eq!(opened.status, StatusCode::CREATED, "{}", opened.shown());
        assert_eq!(opened.header("content-type"), Some(SESSION_TYPE));
        let place = opened.header("location").unwrap();
        let path = place.strip_prefix("https://localhost:8443").unwrap().to_owned();
        (opened.json(), path)
    }

    /// A result of the other verifier for this session, about no key.
    fn evidence(&self, session: &Value) -> Vec<u8> {
        let nonce = session["nonce"].as_str().unwrap();
        let nonce = verification::Nonce::asked(Some(nonce), None, &[0; 64]).unwrap();
        let challenge = to_text(&nonce.challenge(None));
        let claims = json!({
            "eat_profile": "tag:ietf.org,2026:rats/ear#04", "iss": "https://verifier.example",
            "iat": NOW.seconds(), "exp": NOW.seconds() + 60, "eat_nonce": challenge,
            "ear_verifier_id": { "developer": "https://verifier.example", "build": "1" },
            "submods": { "cpu": {
                "ear_status": "affirming", "ear_trustworthiness_vector": { "hardware": 2 },
                "ear_veraison_key_attestation": { "akpub": "" }
            } }
        });
        let claims = serde_json::from_value(claims).unwrap();
        let kid = KeyId::parse("k1").unwrap();
        let input = SigningInput::<EarToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
        let signature = self.other.sign(input.bytes());
        input.attach(signature).into_string().into_bytes()
    }
}

/// Path, media type and body; status, and the check that is counted.
type Case<'a> = (&'a str, Option<&'a str>, &'a [u8], u16, &'a str);

const EAT: Option<&str> = Some("application/eat+jwt");

/// req: ATT-04 (part)
#[tokio::test]
async fn veraison_challenge_response_a_session_from_nonce_to_result() {
    let desk = Desk::open(Limits::default()).await;
    let found = desk.served.get("/.well-known/veraison/verification").await;
    assert_eq!(found.header("content-type"), Some("application/vnd.veraison.discovery+json"));
    let found = found.json();
    let endpoints = json!({ "newChallengeResponseSession": NEW });
    assert_eq!((&found["api-endpoints"], &found["service-state"]), (&endpoints, &json!("READY")));
    assert_eq!(found["ear-verification-keys"], "https://localhost:8443/verifier/jwks");
    let (opened, path) = desk.session("?nonceSize=48").await;
    let nonce = opened["nonce"].as_str().unwrap();
    assert_eq!(from_text(nonce).unwrap().len(), 48);
    let expiry = opened["expiry"].as_str().unwrap();
    // The clock of this world ticks.
    assert_eq!(expiry.get(..19), NOW.plus(Span::from_seconds(150)).to_string().get(..19));
    let accept = ["application/cmw+json", "application/cmw+cbor"];
    let accept = [&accept[..], &["application/vnd.aims.evidence.ear", "application/eat+jwt"]];
    let waiting = json!({
        "nonce": nonce, "expiry": expiry, "accept": accept.concat(), "status": "waiting"
    });
    assert_eq!(opened, waiting);
    assert_eq!(found["media-types"], waiting["accept"]);
    assert_eq!(desk.ask(Method::GET, &path, None, b"").await.json(), waiting);
    let before = desk.served.world.records().len();
    let done = desk.ask(Method::POST, &path, EAT, &desk.evidence(&opened)).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.shown());
    assert_eq!(done.header("cache-control"), Some("no-store"));
    let records = desk.served.world.records();
    assert_eq!((records.len(), records[before].event), (before + 1, Event::EvidenceAppraised));
    assert_eq!(done.header("aims-audit-id"), Some(records[before].id.to_string().as_str()));
    let body = done.json();
    assert_eq!(body["status"], "complete");
    // The relying party verifies it by the keys that the discovery document leads to.
    let keys = desk.served.get("/verifier/jwks").await;
    assert_eq!(keys.header("content-type"), Some("application/jwk-set+json"));
    let keys = KeySet::parse(&keys.json().to_string()).unwrap();
    assert!(keys.keys().len() == 1 && keys.keys()[0].kid().is_some());
    assert_eq!(found["ear-verification-key"]["kid"], json!(keys.keys()[0].kid()));
    let token = Unverified::<EarToken>::parse(body["result"].as_str().unwrap()).unwrap();
    let verified = token.verify(&keys, &[Algorithm::Es256], NOW, Span::ZERO).unwrap();
    assert_eq!(verified.claims().nonce.as_deref(), Some(nonce));
    assert_eq!(verified.claims().tier(), Tier::Affirming);
    // Once; then it can be read again, until it is deleted.
    let again = desk.ask(Method::POST, &path, EAT, &desk.evidence(&opened)).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(desk.ask(Method::GET, &path, None, b"").await.json(), body);
    let gone = desk.ask(Method::DELETE, &path, None, b"").await;
    assert_eq!((gone.status, gone.body.len()), (StatusCode::NO_CONTENT, 0));
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let after = desk.ask(method, &path, EAT, b"a").await;
        assert_eq!(after.status, StatusCode::NOT_FOUND);
    }
}

/// req: ATT-04 (part)
#[tokio::test]
async fn veraison_challenge_response_each_refusal_has_its_status_and_is_counted() {
    let desk = Desk::open(Limits::default()).await;
    let (opened, path) = desk.session("?nonce=AAECAwQFBgc").await;
    assert_eq!(opened["nonce"], "AAECAwQFBgc");
    let long = vec![0; 600 * 1024];
    let both = format!("{NEW}?nonce=AAECAwQFBgc&nonceSize=8");
    let twice = format!("{NEW}?nonceSize=8&nonceSize=9");
    let (short, cmw) = (format!("{NEW}?nonceSize=7"), Some("application/cmw+json"));
    let psa = Some("application/psa-attestation-token");
    let cases: [Case<'_>; 9] = [
        (&both, None, b"", 400, "verify::Nonce"),
        (&twice, None, b"", 400, "query"),
        (&short, None, b"", 400, "verify::Nonce"),
        (&path, psa, b"a", 415, "verify::Unfit"),
        (&path, None, b"a", 415, "content_type"),
        (&path, cmw, b"{", 400, "verify::Unfit"),
        (&path, EAT, b"a.b.c", 400, "attestation::Form"),
        (&path, cmw, &long, 413, "too_long"),
        ("/challenge-response/v1/session/AAAA", EAT, b"a", 404, "verify::Session"),
    ];
    let records = desk.served.world.records().len();
    for (path, typed, body, status, check) in cases {
        let reply = desk.ask(Method::POST, path, typed, body).await;
        assert_eq!(reply.status.as_u16(), status, "{path} {typed:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(reply.json()["status"], status);
        assert_eq!(desk.served.refusals().last(), Some(&check), "{path} {typed:?}");
    }
    assert_eq!(desk.served.world.records().len(), records, "strangers are not recorded");
    let request = Request::post(NEW).header("accept", "text/html, application/json;q=0.5");
    let reply = desk.served.send(request.body(Vec::new()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE);
    let request = Request::post(NEW).header("accept", "text/html, application/*;q=0.5");
    let reply = desk.served.send(request.body(Vec::new()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::CREATED);
}

#[tokio::test]
async fn veraison_challenge_response_is_not_there_unless_policy_says_so() {
    let served = Served::start().await;
    assert_eq!(served.get("/.well-known/veraison/verification").await.status, 404);
    let reply = served.send(Request::post(NEW).body(Vec::new()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(served.refusals(), ["verify::Off"]);
    // The keys of the verifier are: credentials name results that it signed.
    assert_eq!(served.get("/verifier/jwks").await.status, StatusCode::OK);
}

/// Nothing of who proves nothing reaches the log, and there is a bound on how many ask at once.
/// req: REG-01 (part), OBS-05 (part)
#[tokio::test]
async fn s3_1_strangers_who_ask_to_enrol_are_counted_and_bounded() {
    let served = Served::start().await;
    let records = served.world.records().len();
    let post = async |served: &Served, path: &str, body: &str| {
        let request = Request::post(path).header("content-type", "application/json");
        served.send(request.body(body.as_bytes().to_vec()).unwrap()).await.status.as_u16()
    };
    let session = r#"{"mechanism":"x509pop","key":"AAAA"}"#;
    assert_eq!(post(&served, "/enrol/session", session).await, 403);
    assert_eq!(post(&served, "/enrol/session", "{}").await, 400);
    let enrol = json!({
        "nonce": "n".repeat(160), "agent": "bot", "request": "AAAA", "mechanism": "x509pop",
        "evidence": ["application/vnd.aims.evidence.x509pop", "AAAA"], "kinds": ["x509"],
    });
    assert_eq!(post(&served, "/enrol", &enrol.to_string()).await, 403);
    let renew = r#"{"handle":"a","request":"AAAA","kinds":["x509"]}"#;
    assert_eq!(post(&served, "/enrol/renew", renew).await, 400);
    assert_eq!(served.refusals(), ["enrol::Off", "enrolment", "enrol::Off", "renew::NoProof"]);
    assert_eq!(served.world.records().len(), records);
    for limits in [
        Limits { enrolments_per_source_max: 0, ..Limits::default() },
        Limits { enrolments_max: 0, ..Limits::default() },
    ] {
        let served = Served::with(TestWorld::start().await, limits).await;
        assert_eq!(post(&served, "/enrol", &enrol.to_string()).await, 429);
        assert_eq!(post(&served, NEW, "").await, 429);
        assert_eq!(served.refusals(), ["requests_of_source", "requests_of_source"]);
    }
}
