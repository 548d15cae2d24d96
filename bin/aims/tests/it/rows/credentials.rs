//! CRED: bound to a key, short-lived, never a static secret.

use std::collections::BTreeSet;

use http::Method;
use jose::{Algorithm, PrivateKey};
use serde_json::{Value, json};

use super::Stage;
use crate::actor::{ENTRIES, claims};
use crate::running::Answer;

/// RFC 7517 Appendix A.2: a key that is nobody's here.
pub(super) const FOREIGN: &str = r#"{"kty":"EC","crv":"P-256",
 "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
 "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
 "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

/// What is shown, token and fields of it, and the status.
type Case<'a> = (&'a str, Option<&'a str>, Vec<(&'a str, &'a str)>, u16);

/// An identifier alone is never accepted, nor a token without the proof of the key behind it.
///
/// req: CRED-01
/// req: CRED-04
/// req: AUTHN-02 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s6_nobody_is_believed_without_the_key() {
    let stage = Stage::open("").await;
    let actor = &stage.actor;
    let token = actor.token("ledger").await;
    let (proof, other) = (actor.proof(&token), actor.token("ledger").await);
    let foreign = PrivateKey::from_jwk_private_text(FOREIGN).unwrap();
    assert_eq!(foreign.algorithm(), Algorithm::Es256);
    let forged = actor.proof_by(&foreign, &token, ENTRIES);
    let wit = (wimse::WORKLOAD_IDENTITY_TOKEN, actor.wit.token.expose());
    let [proof, forged] =
        [&proof, &forged].map(|text| (wimse::WORKLOAD_PROOF_TOKEN, text.as_str()));
    // draft-ietf-wimse-workload-creds, "Error Conditions": for what is wrong with WIT or proof "status code 401 is
    // NOT RECOMMENDED"; a missing token is challenged for.
    let cases: [Case<'_>; 7] = [
        ("an identifier", None, vec![("x-agent-id", &actor.id)], 401),
        ("no token", None, vec![wit, proof], 401),
        ("a token alone", Some(&token), vec![], 400),
        ("a WIT without proof", Some(&token), vec![wit], 400),
        ("a proof without WIT", Some(&token), vec![proof], 400),
        ("a proof by another key", Some(&token), vec![wit, forged], 400),
        ("the proof of another token", Some(&other), vec![wit, proof], 400),
    ];
    for (what, token, fields, status) in cases {
        let answer = actor.call_with(Method::GET, ENTRIES, token, &fields).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.json());
        let challenge = answer.headers.get("www-authenticate").map(|text| text.to_str().unwrap());
        assert_eq!(challenge.is_some_and(|text| text.starts_with("Bearer ")), status == 401);
        if status == 400 {
            assert_eq!(answer.json()["error"], "gateway::Proof", "{what}");
            let record = stage.record(&answer.audit_id().unwrap());
            assert_eq!(record["outcome"], "refused", "{what}");
        }
    }
    assert_eq!(stage.upstream.seen().len(), 0, "nothing was forwarded");
    assert_eq!(actor.call(&token).await.status, 200);
}

/// Each kind says when it ends, and is refused from then on.
///
/// req: CRED-05
#[tokio::test(flavor = "multi_thread")]
async fn s6_everything_ends_and_says_when() {
    let short = "[lifetimes]\nx509_svid = 6\nwit = 6\njwt_svid = 6\naccess_token = 6\n\
                 [bounds]\nclock_skew = 1\n";
    let stage = Stage::open(short).await;
    let actor = &stage.actor;
    let svid = actor.x509().await;
    let leaf = x509::Certificate::parse(&svid.chain).unwrap();
    let jwt = actor.jwt(&actor.issuer).await;
    let token = actor.token("notes").await;
    let own = actor.own_token().await;
    for (what, text) in [("WIT", actor.wit.token.expose()), ("JWT-SVID", &jwt), ("token", &token)] {
        let claims = claims(text);
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert!((1..=6).contains(&life), "{what}: {life}");
    }
    assert!(leaf.not_after().since(leaf.not_before()).seconds() < 60);
    let https = actor.https.presenting(&svid);
    let by_svid = async |svid: &str| {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
        let own = [
            ("grant_type", "client_credentials"),
            ("client_id", actor.id.as_str()),
            ("resource", actor.id.as_str()),
        ];
        let shown = [("client_assertion_type", kind), ("client_assertion", svid)];
        actor.ask_with(&[&own[..], &shown].concat(), &[]).await
    };
    let by_channel = async || {
        let url = format!("https://localhost:{}/token", stage.site.port + 1);
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let own = [
            ("grant_type", "client_credentials"),
            ("resource", actor.id.as_str()),
            ("client_id", actor.id.as_str()),
        ];
        let answer = https.send(Method::POST, &url, &kind, &crate::load::form(&own)).await;
        answer.map_or(Value::Null, |answer| answer.json())
    };
    let by_bearer = async || actor.call_with(Method::GET, "notes/a", Some(&token), &[]).await;
    assert!(by_channel().await["access_token"].is_string(), "{}", by_channel().await);
    let told = by_svid(&jwt).await.json();
    assert!(told["access_token"].is_string(), "{told}");
    assert_eq!(by_bearer().await.status, 200);
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let late = by_channel().await;
    assert!(late.is_null() || late["error"] == "invalid_client", "{late}");
    assert_eq!(by_svid(&jwt).await.json()["error"], "invalid_client");
    let late = by_bearer().await;
    let challenge = late.headers["www-authenticate"].to_str().unwrap();
    assert!(late.status == 401 && challenge.contains("error=\"invalid_token\""), "{challenge}");
    // The WIT that this process still shows: draft-ietf-oauth-attestation-based-client-auth has a
    // code of its own for it.
    let asked = actor.exchange(&own, "ledger").await;
    assert_eq!(asked.json()["error"], "use_fresh_attestation");
}

/// Short by default; policy may shorten it, and lengthen it up to a bound.
///
/// req: CRED-06
#[tokio::test(flavor = "multi_thread")]
async fn s6_lives_are_short_and_policy_bounds_them() {
    let stage = Stage::open("").await;
    let life = |text: &str| {
        let claims = claims(text);
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap()
    };
    let leaf = |chain: &[u8]| {
        let leaf = x509::Certificate::parse(chain).unwrap();
        leaf.not_after().since(wiring::world::SystemClock::read()).seconds()
    };
    let actor = &stage.actor;
    assert!(leaf(&actor.x509().await.chain) <= 3_600);
    assert_eq!(life(actor.wit.token.expose()), 3_600);
    assert_eq!(life(&actor.jwt("https://partner.example").await), 300);
    assert_eq!(life(&actor.own_token().await), 300);

    let apply = |domain: &str| {
        let trust = crate::running::DOMAIN;
        stage.site.policy("domain.toml", &format!("trust_domain = \"{trust}\"\n{domain}"));
        let folder = stage.site.data.join("policy").display().to_string();
        stage.site.aims(&["policy", "apply", &folder, "--reason", "a test"])
    };
    for (name, seconds) in
        [("x509_svid", 86_401), ("wit", 86_401), ("jwt_svid", 3_601), ("access_token", 3_601)]
    {
        let told = apply(&format!("[lifetimes]\n{name} = {seconds}\n"));
        assert_eq!(told.code, 1, "{}", told.err);
        assert!(told.err.contains(&format!("domain.toml:3:1: `{name}` is")), "{}", told.err);
    }
    let told = apply("[lifetimes]\njwt_svid = 100\naccess_token = 90\n");
    assert_eq!(told.code, 0, "{}", told.err);
    assert_eq!(life(&actor.own_token().await), 90);
    let shorter =
        async || Some(life(&actor.jwt("https://partner.example").await)).filter(|one| *one == 100);
    crate::actor::soon(shorter).await;
}

/// There is no key to be copied: not for a client, not at the token endpoint, not at the gateway.
///
/// req: CRED-10
#[tokio::test(flavor = "multi_thread")]
async fn s6_no_static_secret_is_anybodys_identity() {
    let stage = Stage::open("").await;
    let (actor, site) = (&stage.actor, &stage.site);
    let url = format!("{}/.well-known/oauth-authorization-server", actor.issuer);
    let metadata = actor.https.send(Method::GET, &url, &[], "").await.unwrap().json();
    let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
    let named: BTreeSet<_> = methods.iter().map(|one| one.as_str().unwrap()).collect();
    // `none` is for clients that have users and prove nothing of themselves; it is no secret.
    let spiffe = ["spiffe_x509", "spiffe_jwt", "spiffe_wit"];
    let keys = ["private_key_jwt", "self_signed_tls_client_auth", "none"];
    assert_eq!(named, spiffe.into_iter().chain(keys).collect());
    for method in ["client_secret_basic", "client_secret_post", "client_secret_jwt", "none"] {
        let file = site.folder.path().join("client.json");
        let asked = json!({
            "client_name": "x", "token_endpoint_auth_method": method,
            "grant_types": ["client_credentials"],
        });
        std::fs::write(&file, asked.to_string()).unwrap();
        let told = site.aims(&["client", "register", &file.display().to_string()]);
        assert_eq!(told.code, 2, "{method}: {}", told.err);
        let why = match method {
            "none" => "`client_credentials` is not for public clients",
            _ => "`token_endpoint_auth_method`: ",
        };
        assert!(told.err.contains(why), "{method}: {}", told.err);
    }
    let refused = |answer: &Answer| (answer.status, answer.json()["error"].clone());
    let grant = [("grant_type", "client_credentials"), ("resource", actor.id.as_str())];
    // "desk:secret", RFC 7617.
    let basic = [("authorization", "Basic ZGVzazpzZWNyZXQ=")];
    let by_basic = actor.ask_with(&grant, &basic).await;
    assert_eq!(refused(&by_basic), (401, json!("invalid_client")));
    let challenge = by_basic.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Basic "), "RFC 6749 §5.2: matching the scheme: {challenge}");
    let named = [("client_id", actor.id.as_str()), ("client_secret", "secret")];
    for fields in [&named[..], &named[..1]] {
        let answer = actor.ask_with(&[&grant[..], fields].concat(), &[]).await;
        assert_eq!(answer.json()["error"], "invalid_client", "{fields:?}");
    }
    let cases =
        [("x-api-key", "secret"), ("authorization", "Basic ZGVzazpzZWNyZXQ="), ("api-key", "1")];
    for field in cases {
        let answer = actor.call_with(Method::GET, "notes/a", None, &[field]).await;
        assert_eq!(answer.status, 401, "{field:?}");
    }
    assert_eq!(stage.upstream.seen().len(), 0);
}

/// Evidence decides whether a credential is issued, which kind, and what it contains; each issuance
/// and each renewal says on what evidence.
///
/// req: ATT-01
/// req: PROV-01, PROV-03
#[tokio::test(flavor = "multi_thread")]
async fn s7_what_a_process_is_decides_what_it_gets() {
    let stage = Stage::open("[lifetimes]\nx509_svid = 6\n").await;
    let (actor, site) = (&stage.actor, &stage.site);
    // CRED-07: what the record and its attestation say stands in both kinds; nobody wrote a
    // credential by hand.
    let said = &claims(actor.wit.token.expose())["aims_attributes"];
    assert_eq!(said["owner"], "tests");
    let digest = said["result"].as_str().unwrap();
    let first = x509::Certificate::parse(&actor.x509().await.chain).unwrap();
    let attributes = spiffe::Attributes::from_text(first.attributes().unwrap()).unwrap();
    assert_eq!(
        (attributes.owner.as_deref(), attributes.result.as_deref()),
        (Some("tests"), Some(digest))
    );
    assert_eq!(attributes.methods, ["mtls"]);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let next = x509::Certificate::parse(&actor.x509().await.chain).unwrap();
    assert_ne!(first.spki_der(), next.spki_der());
    let exe = std::env::current_exe().unwrap().display().to_string();
    let records = stage.records();
    let issued: Vec<_> = records.iter().filter(|one| one["event"] == "credential_issued").collect();
    assert!(issued.len() >= 3, "a WIT and two X.509-SVIDs: {}", issued.len());
    for record in issued {
        assert_eq!(record["attestation"]["path"], json!(exe));
        assert_eq!(record["attestation"]["uid"], json!(nix::unistd::getuid().to_string()));
        assert_eq!(record["attestation"]["sha256"].as_str().unwrap().len(), 64);
        // One result for all: nothing that it was made of changed.
        assert_eq!(record["attestation"]["result"], json!(digest));
        // Its record names a path, not what lies there.
        assert_eq!(record["attestation"]["tier"], "warning");
    }
    let appraised = records.iter().filter(|one| one["event"] == "evidence_appraised");
    let appraised: Vec<_> = appraised.filter(|one| one["jti"] == json!(digest)).collect();
    assert_eq!(appraised.len(), 1);
    assert_eq!(appraised[0]["attestation"]["part.host"], "affirming (instance-identity 2)");
    assert_eq!(appraised[0]["facts"]["eat_profile"], "tag:ietf.org,2026:rats/ear#04");
    let told = stage.done(&["agent", "explain", "desk"]);
    let x509 = told["credentials"].as_array().unwrap().iter().find(|one| one["kind"] == "x509");
    let x509 = x509.unwrap();
    assert_eq!(x509["evidence"]["path"], json!(exe));
    assert_eq!(x509["decided_by"]["class"], "path");
    assert_eq!(x509["decided_by"]["demands"], json!(["unix:uid", "unix:path"]));
    assert!(x509["ends"].is_u64() && x509["assessed_next"].is_u64(), "{x509}");
    assert!(x509["policy"].as_str().unwrap().starts_with("sha256:"), "{x509}");
    // The same program, measured as another: no record matches, and nothing is given.
    let wrong = "00".repeat(32);
    let (path, hash) = (format!("unix:path:{exe}"), format!("unix:sha256:{wrong}"));
    stage.done(&["agent", "retire", "desk", "--reason", "a test"]);
    let register = |name: &str, more: &[&str]| {
        let base = ["agent", "register", "--kind", "service", "--owner", "x", "--name", name];
        let uid = format!("unix:uid:{}", nix::unistd::getuid());
        let told =
            site.aims(&[&base[..], &["--selector", &uid, "--selector", &path], more].concat());
        assert_eq!(told.code, 0, "{}", told.err);
    };
    register("other", &["--selector", &hash]);
    let denied = async |told: &str| {
        let asked = actor.workloads().jwt(&["https://partner.example"], None).await;
        asked.err().filter(|denied| denied.to_string().contains(told)).map(drop)
    };
    crate::actor::soon(async || denied("is retired").await).await;
    // A class that may have X.509-SVIDs alone.
    let quiet = "[node.join_token]\n[class.quiet]\ndemands = [\"unix:path\"]\nissues = [\"x509\"]\n\
                 [class.standard]\ndemands = []\nissues = [\"x509\"]\n";
    site.policy("attestation.toml", quiet);
    let folder = site.data.join("policy").display().to_string();
    stage.done(&["policy", "apply", &folder, "--reason", "a test"]);
    // A rule that contains another one's would stop what that one matches.
    stage.done(&["agent", "retire", "other", "--reason", "a test"]);
    register("quiet", &["--class", "quiet"]);
    let svid = actor.x509().await;
    assert_eq!(svid.spiffe_id.path(), "/service/quiet");
    crate::actor::soon(async || denied("no identity").await).await;
    let why = stage.records().into_iter().rev().find(|one| !one["why"].is_null()).unwrap();
    assert_eq!(why["why"]["check"], "provisioning::Kind", "{why}");
    assert_eq!(why["agent"], json!(svid.spiffe_id.to_string()));
}
