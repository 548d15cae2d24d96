//! Platforms' tokens: each check, over tokens that a key of a platform signed.

use attestation::mechanism::{Facts, Mechanism, Question, Role, Step};
use attestation::oidc::{audience, bound_audience};
use attestation::platform_token::{GCP_IIT, GITHUB_ACTIONS, GITLAB_CI, Platform};
use attestation::policy::NodeRule;
use attestation::{Appraisal, Refusal, k8s_psat};
use jose::{Algorithm, KeyId, KeySet, PrivateKey, SigningInput};
use oauth::id_token::IdToken;
use serde_json::{Value, json};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const IAT: u64 = 1_799_999_990;
const DOMAIN: &str = "demo.example";
const KEY: &[u8] = b"the key that asks";
/// RFC 7515 §A.3, RFC 7517 §A.2.
const PLATFORM_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
pub(crate) const OTHER_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

pub(crate) fn sign(claims: &Value, key: &str) -> String {
    let key = PrivateKey::from_jwk_private_text(key).unwrap();
    let claims = serde_json::from_value(claims.clone()).unwrap();
    let kid = KeyId::parse("k1").unwrap();
    let input = SigningInput::<IdToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

fn keys() -> String {
    let key = PrivateKey::from_jwk_private_text(PLATFORM_KEY).unwrap();
    let jwk = key.public().to_jwk().with_kid(KeyId::parse("k1").unwrap());
    serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap()
}

fn rule(own: &Value) -> NodeRule {
    NodeRule { own: own.as_object().unwrap().clone(), ..NodeRule::default() }
}

fn facts(rule: &NodeRule, now: UnixTime) -> Facts<'_> {
    Facts { domain: DOMAIN, key: KEY, ..Facts::new(Role::Node, rule, &[0; 32], now) }
}

/// `value` with the member at `pointer` set, or taken out for null.
fn with(value: &Value, pointer: &str, new: Value) -> Value {
    let mut value = value.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if new.is_null() {
        parent.remove(name)
    } else {
        parent.insert(name.to_owned(), new)
    };
    value
}

/// A platform, its policy, and a token's claims that it lets in.
fn platforms() -> Vec<(&'static Platform, Value, Value)> {
    let base = |issuer: &str, aud: String| {
        json!({
            "iss": issuer, "sub": "s", "aud": aud, "exp": IAT + 300, "iat": IAT, "jti": "token-1"
        })
    };
    let bound = bound_audience(DOMAIN, KEY);
    let mut github = base("https://token.actions.githubusercontent.com", bound.clone());
    let own = json!({
        "repository": "acme/agents", "repository_id": "77", "run_id": "9", "run_attempt": "1",
        "ref": "refs/heads/main"
    });
    github.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let mut gitlab = base("https://gitlab.com", audience(DOMAIN));
    let own = json!({ "project_path": "acme/agents", "project_id": "77", "job_id": "9" });
    gitlab.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let mut google = base("https://accounts.google.com", bound);
    google["google"] = json!({ "compute_engine": {
        "project_id": "acme", "instance_id": "42", "zone": "europe-west1-b", "instance_name": "vm"
    } });
    vec![
        (&GITHUB_ACTIONS, json!({ "repository": ["acme/*"] }), github),
        (&GITLAB_CI, json!({ "project_path": ["acme/agents"] }), gitlab),
        (&GCP_IIT, json!({ "project-id": ["acme"] }), google),
    ]
    .into_iter()
    .map(|(platform, claims, token)| (platform, json!({ "keys": keys(), "claims": claims }), token))
    .collect()
}

fn step(found: Result<Appraisal, Refusal>) -> Step {
    match found {
        Err(Refusal::Failed { step, .. }) => step,
        other => panic!("{other:?}"),
    }
}

/// req: ATT-02 (part), ATT-08 (part)
#[test]
fn s7_a_host_joins_by_the_token_of_its_platform() {
    let names = ["77/9/1", "77/9", "acme/42"];
    for ((platform, policy, token), name) in platforms().into_iter().zip(names) {
        let rule = rule(&policy);
        assert_eq!(platform.faults(&rule), []);
        let facts = facts(&rule, NOW);
        let text = sign(&token, PLATFORM_KEY);
        assert_eq!(platform.challenge(text.as_bytes(), &facts), Ok(None));
        let found = platform.appraise(text.as_bytes(), None, &facts).unwrap();
        assert_eq!(found.name, name);
        assert_eq!(found.once, platform.name() == "gcp_iit");
        assert_eq!(found.uses.len(), 1);
        assert!(found.uses[0].value.ends_with("\0token-1"));
        assert_eq!(found.uses[0].until, UnixTime::from_seconds(IAT + 330));
        let prefix = format!("{}:", platform.name());
        assert!(found.selectors.iter().all(|one| one.as_str().starts_with(&prefix)));
        assert!(found.selectors.iter().count() >= 2);
    }
}

/// req: ATT-02 (part), ATT-01 (part)
#[test]
fn s7_each_check_of_a_platforms_token_refuses() {
    for (platform, policy, token) in platforms() {
        let rule = rule(&policy);
        let at = |token: &Value, key: &str, now: u64| {
            let text = sign(token, key);
            let facts = facts(&rule, UnixTime::from_seconds(now));
            platform.appraise(text.as_bytes(), None, &facts)
        };
        let check = |pointer: &str, new: Value| {
            step(at(&with(&token, pointer, new), PLATFORM_KEY, NOW.seconds()))
        };
        assert_eq!(step(at(&token, OTHER_KEY, NOW.seconds())), Step::Signature);
        assert_eq!(check("/iss", json!("https://other.example")), Step::Chain);
        // For another server, for two, for a key that is not the one that asks.
        for other in [
            json!("spiffe://other.example/aims/server"),
            json!([token["aud"].clone(), "https://other.example"]),
            json!(bound_audience(DOMAIN, b"another key")),
        ] {
            assert_eq!(check("/aud", other), Step::Binding);
        }
        assert_eq!(check("/exp", json!(NOW.seconds() - 30)), Step::Binding);
        assert_eq!(check("/nbf", json!(NOW.seconds() + 31)), Step::Binding);
        assert_eq!(check("/iat", json!(NOW.seconds() + 31)), Step::Binding);
        let long = with(&token, "/exp", json!(IAT + 9_000));
        assert!(at(&long, PLATFORM_KEY, IAT + 599).is_ok());
        assert_eq!(step(at(&long, PLATFORM_KEY, IAT + 600)), Step::Binding);
        // Without an id it is the token that serves once.
        let found = at(&with(&token, "/jti", Value::Null), PLATFORM_KEY, NOW.seconds()).unwrap();
        assert!(!found.uses[0].value.ends_with("token-1"));
        for noise in [&b""[..], b"a.b.c", b"\xff", b"a.b"] {
            let facts = facts(&rule, NOW);
            assert_eq!(step(platform.appraise(noise, None, &facts)), Step::Form);
        }
    }
}

/// req: ATT-01 (part)
#[test]
fn s7_a_platforms_token_says_what_policy_wants() {
    let all = platforms();
    let (platform, policy, token) = &all[0];
    let check = |policy: &Value, token: &Value| {
        let rule = rule(policy);
        platform.appraise(sign(token, PLATFORM_KEY).as_bytes(), None, &facts(&rule, NOW))
    };
    for other in ["acme-evil/agents", "acme/", "Acme/agents", "evil/acme/agents"] {
        let token = with(token, "/repository", json!(other));
        assert_eq!(step(check(policy, &token)), Step::Policy, "{other}");
    }
    assert_eq!(step(check(policy, &with(token, "/repository", Value::Null))), Step::Content);
    assert_eq!(step(check(policy, &with(token, "/run_id", Value::Null))), Step::Content);
    assert_eq!(step(check(policy, &with(token, "/run_id", json!("9/1")))), Step::Content);
    let main = with(policy, "/claims/ref", json!(["refs/heads/main"]));
    assert!(check(&main, token).is_ok());
    let branch = with(token, "/ref", json!("refs/heads/other"));
    assert_eq!(step(check(&main, &branch)), Step::Policy);
    // An audience that does not name the key counts where policy names it, and then alone.
    let fixed = with(policy, "/audience", json!("https://aims.example"));
    assert_eq!(step(check(&fixed, token)), Step::Binding);
    assert!(check(&fixed, &with(token, "/aud", json!("https://aims.example"))).is_ok());
    // Policy lets instances attest again.
    let (google, policy, token) = &all[2];
    let rule = rule(&with(policy, "/reattest", json!(true)));
    let text = sign(token, PLATFORM_KEY);
    assert!(!google.appraise(text.as_bytes(), None, &facts(&rule, NOW)).unwrap().once);
}

#[test]
fn s7_policy_of_a_platform_says_whose_hosts_may_join() {
    let faults = |own: Value| {
        GITHUB_ACTIONS.faults(&rule(&own)).into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let keys = keys();
    assert_eq!(faults(json!({ "keys": keys, "claims": { "repository_id": ["7"] } })), [""; 0]);
    assert_eq!(faults(json!({ "keys": keys })), [""]);
    assert_eq!(faults(json!({ "keys": keys, "claims": {}, "any": true })), [""]);
    assert_eq!(faults(json!({ "keys": "{}", "claims": { "ref": ["a"] } })), ["keys", "claims"]);
    assert_eq!(faults(json!({ "keys": keys, "claims": { "repository": [] } })), ["claims"]);
    let unknown = json!({ "keys": keys, "claims": { "repository": ["a/b"], "actor": ["a"] } });
    assert_eq!(faults(unknown), ["claims.actor"]);
}

fn cluster() -> (Value, Value) {
    let policy = json!({ "clusters": { "prod": {
        "issuer": "https://cluster.example", "keys": keys(), "service_accounts": ["aims:node"]
    } } });
    let token = json!({
        "iss": "https://cluster.example", "sub": "system:serviceaccount:aims:node",
        "aud": [audience(DOMAIN)], "exp": IAT + 3_600, "iat": IAT,
        "kubernetes.io": {
            "namespace": "aims",
            "serviceaccount": { "name": "node", "uid": "sa-1" },
            "pod": { "name": "node-x7", "uid": "pod-1" },
            "node": { "name": "worker-1", "uid": "node-1" }
        }
    });
    (policy, token)
}

fn psat(token: &Value) -> Vec<u8> {
    json!({ "cluster": "prod", "token": sign(token, PLATFORM_KEY) }).to_string().into_bytes()
}

/// req: ATT-02 (part)
#[test]
fn s7_a_pod_joins_by_the_token_of_its_service_account() {
    let (policy, token) = cluster();
    let rule = rule(&policy);
    assert_eq!(k8s_psat::Mechanism.faults(&rule), []);
    let facts = facts(&rule, NOW);
    let check = |token: &Value| k8s_psat::Mechanism.appraise(&psat(token), None, &facts);
    let found = check(&token).unwrap();
    assert_eq!((found.name.as_str(), found.once, found.uses.len()), ("prod/node-1", false, 1));
    let shown: Vec<_> = found.selectors.iter().map(|one| one.as_str().to_owned()).collect();
    assert_eq!(
        shown,
        [
            "k8s_psat:agent_node_name:worker-1",
            "k8s_psat:agent_node_uid:node-1",
            "k8s_psat:agent_ns:aims",
            "k8s_psat:agent_pod_name:node-x7",
            "k8s_psat:agent_pod_uid:pod-1",
            "k8s_psat:agent_sa:node",
            "k8s_psat:cluster:prod",
        ]
    );
    let podded = with(&token, "/kubernetes.io/node", Value::Null);
    assert_eq!(check(&podded).unwrap().name, "prod/pod/pod-1");
    for (pointer, new, expect) in [
        ("/iss", json!("https://other.example"), Step::Chain),
        ("/aud", json!(["https://kubernetes.default.svc"]), Step::Binding),
        ("/iat", json!(NOW.seconds() - 3_600), Step::Binding),
        ("/sub", json!("system:serviceaccount:aims:other"), Step::Content),
        ("/kubernetes.io/pod", Value::Null, Step::Content),
        ("/kubernetes.io/namespace", json!("other"), Step::Content),
        ("/kubernetes.io/serviceaccount/name", Value::Null, Step::Content),
    ] {
        assert_eq!(step(check(&with(&token, pointer, new))), expect, "{pointer}");
    }
    let other = with(&token, "/sub", json!("system:serviceaccount:aims:other"));
    let other = with(&other, "/kubernetes.io/serviceaccount/name", json!("other"));
    assert_eq!(step(check(&other)), Step::Policy);
    let unknown = json!({ "cluster": "test", "token": "" }).to_string();
    let unknown = k8s_psat::Mechanism.appraise(unknown.as_bytes(), None, &facts);
    assert_eq!(step(unknown), Step::Chain);
}

/// A token that was revoked is still signed: where policy wants it, the cluster itself is asked.
/// req: ATT-02 (part)
#[test]
fn s7_a_cluster_that_reviews_has_the_last_word() {
    let (policy, token) = cluster();
    let ca = include_str!("../../../../vectors/cms/region-1.pem");
    let whom = json!({
        "server": "https://10.0.0.1:6443", "ca": ca, "addresses": ["10.0.0.0/8"]
    });
    let rule = rule(&with(&policy, "/clusters/prod/review", whom));
    assert_eq!(k8s_psat::Mechanism.faults(&rule), []);
    let evidence = psat(&token);
    let asked = k8s_psat::Mechanism.question(&evidence, &facts(&rule, NOW)).unwrap();
    let Some(Question::TokenReview { cluster, server, addresses, review, .. }) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!(
        (server.as_str(), addresses.as_slice()),
        ("https://10.0.0.1:6443", &["10.0.0.0/8".to_owned()][..])
    );
    let review: Value = serde_json::from_str(&review).unwrap();
    assert_eq!(cluster, "prod");
    assert_eq!(review["spec"]["audiences"], json!([audience(DOMAIN)]));
    let told = |told: Option<&Value>| {
        let told = told.map(ToString::to_string);
        let told = told.as_deref().map(str::as_bytes);
        let facts = Facts { told, ..facts(&rule, NOW) };
        k8s_psat::Mechanism.appraise(&evidence, None, &facts)
    };
    let good = json!({ "status": {
        "authenticated": true, "user": { "username": "system:serviceaccount:aims:node" },
        "audiences": [audience(DOMAIN)]
    } });
    assert!(told(Some(&good)).is_ok());
    assert_eq!(step(told(None)), Step::Binding);
    assert_eq!(step(told(Some(&json!({})))), Step::Binding);
    let no = with(&good, "/status/authenticated", json!(false));
    assert_eq!(step(told(Some(&no))), Step::Binding);
    let no = with(&good, "/status/audiences", json!(["other"]));
    assert_eq!(step(told(Some(&no))), Step::Binding);
    let no = with(&good, "/status/user/username", json!("system:anonymous"));
    assert_eq!(step(told(Some(&no))), Step::Content);
    // Nobody is asked about a token that its cluster did not sign.
    let forged = json!({ "cluster": "prod", "token": sign(&token, OTHER_KEY) }).to_string();
    assert!(k8s_psat::Mechanism.question(forged.as_bytes(), &facts(&rule, NOW)).is_err());
}

#[test]
fn s7_policy_of_a_cluster_is_whole() {
    let (policy, _) = cluster();
    let faults = |pointer: &str, new: Value| {
        let found = k8s_psat::Mechanism.faults(&rule(&with(&policy, pointer, new)));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let at = "/clusters/prod";
    assert_eq!(faults(&format!("{at}/keys"), json!("")), ["clusters.prod.keys"]);
    let accounts = format!("{at}/service_accounts");
    for wrong in [json!([]), json!(["node"]), json!(["a:b:c"])] {
        assert_eq!(faults(&accounts, wrong), ["clusters.prod.service_accounts"]);
    }
    assert_eq!(faults(&format!("{at}/other"), json!(1)), [""]);
    assert_eq!(faults(&format!("{at}/issuer"), Value::Null), [""]);
}
