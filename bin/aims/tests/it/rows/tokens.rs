//! AUTHZ: which tokens there are, what they say, and what each must come with.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::Method;
use jose::{PrivateKey, TokenHash};
use serde_json::{Value, json};
use wiring::world::SystemClock;

use super::Stage;
use super::credentials::FOREIGN;
use super::people::answers;
use crate::actor::{SCOPE, claims, taken};
use crate::load::number;
use crate::running::{Https, Site};

/// RFC 7515 Appendix A.3: another key that is nobody's here.
pub(super) const OTHER: &str = r#"{"kty":"EC","crv":"P-256",
 "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
 "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
 "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A resource of the same upstream, that wants this of its tokens.
pub(super) fn resource(site: &Site, name: &str, more: &str) {
    let notes = std::fs::read_to_string(site.data.join("policy/resources/notes.toml")).unwrap();
    let (head, tail) = notes.split_once("proof = \"bearer\"\n").unwrap();
    let head = head.replace("name = \"notes\"", &format!("name = \"{name}\""));
    let (keys, tables) = more
        .split_once("[[")
        .map_or((more, String::new()), |(keys, tables)| (keys, format!("[[{tables}")));
    let all = format!("{head}{keys}\n{tail}\n{tables}");
    std::fs::write(site.data.join(format!("policy/resources/{name}.toml")), all).unwrap();
}

/// A key of a client, and its proofs (RFC 9449 §4.2).
pub(super) struct Dpop(PrivateKey);

impl Dpop {
    pub(super) fn of(jwk: &str) -> Self {
        Self(PrivateKey::from_jwk_private_text(jwk).unwrap())
    }

    pub(super) fn proof(&self, method: &str, url: &str, token: Option<&str>) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let jwk = self.0.public().to_jwk().to_value();
        let head = encode(&json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }));
        let mut claims = json!({
            "jti": format!("proof-{}", number()), "htm": method, "htu": url,
            "iat": SystemClock::read().seconds(),
        });
        if let Some(token) = token {
            claims["ath"] = TokenHash::of(token).to_base64url().into();
        }
        let signed = format!("{head}.{}", encode(&claims));
        let signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_bytes()))
    }
}

impl Stage {
    /// A token for a resource, got on its own behalf with these fields beside.
    pub(super) async fn own(&self, name: &str, fields: &[(&str, &str)]) -> crate::running::Answer {
        let (https, actor) = (&self.actor.https, &self.actor);
        let resource = format!("{}/{name}", actor.gateway);
        let svid = actor.jwt(&actor.issuer).await;
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
        let form = crate::load::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &actor.id),
            ("resource", &resource),
            ("scope", SCOPE),
            ("client_assertion_type", kind),
            ("client_assertion", &svid),
        ]);
        let url = format!("{}/token", actor.issuer);
        https.send(Method::POST, &url, &[&[FORM], fields].concat(), &form).await.unwrap()
    }

    /// A client with this process's certificate, and a token that is bound to it.
    pub(super) async fn certified(&self, resource: &str) -> (Https, String) {
        let https = self.actor.https.presenting(&self.actor.x509().await);
        let form = crate::load::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &self.actor.id),
            ("resource", &format!("{}/{resource}", self.actor.gateway)),
            ("scope", SCOPE),
        ]);
        let url = format!("https://localhost:{}/token", self.site.port + 1);
        let answer = https.send(Method::POST, &url, &[FORM], &form).await.unwrap();
        (https, taken(&answer))
    }

    /// Calls a resource with a token under this scheme, and fields beside.
    pub(super) async fn reads(
        &self,
        name: &str,
        with: (&str, &str),
        fields: &[(&str, &str)],
    ) -> u16 {
        let shown = format!("{} {}", with.0, with.1);
        let fields = [&[("authorization", shown.as_str())], fields].concat();
        let answer = self.actor.call_with(Method::GET, &format!("{name}/a"), None, &fields).await;
        answer.status
    }
}

/// What a resource demands is what its tokens are bound by, and they serve nobody without it.
///
/// req: AUTHZ-10 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s10_1_1_tokens_are_bound_as_their_resource_says() {
    let stage = Stage::laid("", |site| {
        resource(site, "vault", "proof = \"dpop\"");
    })
    .await;
    let actor = &stage.actor;
    // RFC 9449: the key is proved at both places, and the proof is of this token and this URL.
    let (key, other) = (Dpop::of(FOREIGN), Dpop::of(OTHER));
    let url = format!("{}/token", actor.issuer);
    assert_eq!(stage.own("vault", &[]).await.json()["error"], "invalid_dpop_proof");
    let proof = key.proof("POST", &url, None);
    let answer = stage.own("vault", &[("dpop", &proof)]).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{}", answer.json());
    let token = taken(&answer);
    let bound = &claims(&token)["cnf"]["jkt"];
    assert_eq!(bound, &json!(key.0.public().thumbprint().to_base64url()));
    let again = stage.own("vault", &[("dpop", &proof)]).await;
    assert_eq!(again.json()["error"], "invalid_dpop_proof", "a proof serves once");
    let at = format!("{}/vault/a", actor.gateway);
    let good = key.proof("GET", &at, Some(&token));
    for (what, scheme, proof, status) in [
        ("as a bearer", "Bearer", None, 401),
        ("without a proof", "DPoP", None, 401),
        ("by another key", "DPoP", Some(other.proof("GET", &at, Some(&token))), 401),
        ("of another method", "DPoP", Some(key.proof("POST", &at, Some(&token))), 401),
        ("of another place", "DPoP", Some(key.proof("GET", &url, Some(&token))), 401),
        ("of another token", "DPoP", Some(key.proof("GET", &at, Some("x"))), 401),
        ("good", "DPoP", Some(good.clone()), 200),
        ("twice", "DPoP", Some(good), 401),
    ] {
        let proof = proof.as_deref().map(|proof| ("dpop", proof));
        let fields: Vec<_> = proof.into_iter().collect();
        assert_eq!(stage.reads("vault", (scheme, &token), &fields).await, status, "{what}");
    }
}

/// RFC 8705: tokens for the certificate of the connection. It is how an SVID authenticates, too;
/// whichever credential of a workload proves it, the client is the same.
///
/// req: AUTHZ-10 (part)
/// req: AUTHZ-23
#[tokio::test(flavor = "multi_thread")]
async fn rfc8705_3_tokens_are_bound_to_the_certificate_of_their_client() {
    let stage = Stage::laid("", |site| resource(site, "mine", "proof = \"mtls\"")).await;
    let actor = &stage.actor;
    let (https, token) = stage.certified("mine").await;
    let said = claims(&token);
    assert!(said["cnf"]["x5t#S256"].is_string(), "{said}");
    assert_eq!(said["client_id"], json!(actor.id));
    assert_eq!(stage.reads("mine", ("Bearer", &token), &[]).await, 401, "without it");
    let bearer = format!("Bearer {token}");
    let at = format!("{}/mine/a", actor.gateway);
    let fields = [("authorization", bearer.as_str())];
    let read = https.send(Method::GET, &at, &fields, "").await.unwrap();
    assert_eq!(read.status, 200, "{}", read.json());

    // The identifier is the client's, whichever of its credentials proves it, and no other's.
    let by_wit = claims(&actor.token("notes").await);
    let by_jwt = claims(&taken(&stage.own("notes", &[]).await));
    for claims in [&by_wit, &by_jwt, &said] {
        assert_eq!((&claims["client_id"], &claims["sub"]), (&json!(actor.id), &json!(actor.id)));
    }
    let form = crate::load::form(&[
        ("grant_type", "client_credentials"),
        ("client_id", "spiffe://running.example/service/other"),
        ("resource", &actor.id),
    ]);
    let url = format!("https://localhost:{}/token", stage.site.port + 1);
    let other = https.send(Method::POST, &url, &[FORM], &form).await.unwrap();
    assert_eq!(other.json()["error"], "invalid_client", "{}", other.json());
}

/// A token says no more than whoever takes it must know, serves there alone, and is written down
/// nowhere: not in the log, not in the store, not in what the server prints.
///
/// req: AUTHZ-21
/// req: AUTHZ-03 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s10_8_tokens_tell_little_and_are_written_nowhere() {
    let desk = "spiffe://running.example/service/desk";
    let stage = Stage::laid("[openid]\npairwise = [\"nobody\"]\n", |site| {
        let opaque = "proof = \"bearer\"\ntoken = \"opaque\"\nsubject = \"pairwise\"\n";
        resource(site, "vault", &format!("{opaque}introspect = [\"{desk}\"]"));
        resource(site, "safe", "proof = \"bearer\"\ntoken = \"opaque\"\n");
    })
    .await;
    let actor = &stage.actor;
    let mut ada = stage.person("ada", None).await;
    let asked = stage.asks_at("vault", SCOPE, "Opaque").await;
    answers(&mut ada, "allow").await;
    let given = stage.polls(&asked).await.json();
    let opaque = given["access_token"].as_str().unwrap().to_owned();
    assert_eq!(opaque.split('.').count(), 1, "nothing can be read from it");
    let asks = async |token: &str| actor.ask_at("introspect", &[("token", token)]).await.json();
    let told = asks(&opaque).await;
    assert_eq!(told["active"], true, "{told}");
    let pairwise = told["sub"].as_str().unwrap();
    assert!(!pairwise.contains("ada"), "{told}");
    for unrelated in ["email", "name", "username", "amr"] {
        assert!(told[unrelated].is_null(), "{unrelated}: {told}");
    }
    // Who has nothing to do with a token is told nothing of it.
    let safe = taken(&stage.own("safe", &[]).await);
    assert_eq!(asks(&safe).await, json!({ "active": false }));
    assert_eq!(asks("nothing").await, json!({ "active": false }));
    // One audience, and it serves nowhere else.
    assert_eq!(stage.reads("vault", ("Bearer", &opaque), &[]).await, 200);
    assert_eq!(stage.reads("notes", ("Bearer", &opaque), &[]).await, 401);
    let signed = actor.token("notes").await;
    let said = claims(&signed);
    assert_eq!(said["aud"], json!(format!("{}/notes", actor.gateway)));
    assert_eq!(stage.reads("safe", ("Bearer", &signed), &[]).await, 401);
    assert_eq!(stage.reads("notes", ("Bearer", &signed), &[]).await, 200);
    // What goes on behind the gateway is none of them.
    for fields in stage.upstream.seen() {
        let all = format!("{fields:?}");
        assert!(!all.contains(&opaque) && !all.contains(&signed), "{all}");
    }
    let ledger = actor.token("ledger").await;
    let proof = actor.proof(&ledger);
    let shows = actor.shows(&proof);
    let read = actor.call_with(Method::GET, crate::actor::ENTRIES, Some(&ledger), &shows).await;
    assert_eq!(read.status, 200);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let refresh = given["refresh_token"].as_str();
    let id_token = given["id_token"].as_str();
    let secrets = [Some(opaque.as_str()), Some(&safe), Some(&signed), Some(&ledger), Some(&proof)];
    let secrets = secrets.into_iter().chain([refresh, id_token, Some(actor.wit.token.expose())]);
    let mut files = 0;
    let secrets: Vec<_> = secrets.flatten().collect();
    looked_through(&stage.site.data, &mut |path, bytes| {
        files += 1;
        for secret in &secrets {
            // Of a signed token the signature is what makes it one.
            let mark = secret.rsplit('.').next().unwrap().as_bytes();
            let found = bytes.windows(mark.len()).any(|window| window == mark);
            assert!(!found, "{} is written in {}", secret, path.display());
        }
    });
    assert!(files > 10, "{files}");
    assert!(!stage.site.said().contains(&opaque) && !stage.site.said().contains(&signed));
}

/// Every file below a folder.
fn looked_through(folder: &std::path::Path, look: &mut impl FnMut(&std::path::Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            looked_through(&path, look);
        } else if path.is_file() {
            look(&path, &std::fs::read(&path).unwrap());
        }
    }
}

/// An agent that acts for itself and one that acts for a person are told apart by everybody: in
/// the token, by policy, in the log.
///
/// req: AUTHZ-30
/// req: AUTHZ-01
#[tokio::test(flavor = "multi_thread")]
async fn x_who_acts_for_itself_and_who_for_another_is_told_apart() {
    const RULES: &str = r#"@id("tokens")
permit(principal, action in [Aims::Action::"token.issue", Aims::Action::"token.exchange"], resource);
@id("delegated")
permit(principal, action == Aims::Action::"http.request", resource)
when { !context.autonomous && context.subject == "user:ada" };
@id("own-reading")
permit(principal, action == Aims::Action::"http.request", resource in Aims::Audience::"AUDIENCE")
when { context.autonomous };
"#;
    let stage = Stage::laid("", |site| {
        let rules = RULES.replace("AUDIENCE", &format!("{}/ledger", site.url(3)));
        site.policy("access/main.cedar", &rules);
    })
    .await;
    let actor = &stage.actor;
    let (desk, ada_id) = (json!(actor.id), json!("user:ada"));
    let mut ada = stage.person("ada", None).await;
    // From a user.
    let asked = stage.asks("ledger:read", "For ada").await;
    answers(&mut ada, "allow").await;
    let for_ada = taken(&stage.polls(&asked).await);
    let said = claims(&for_ada);
    assert_eq!((&said["sub"], &said["client_id"]), (&ada_id, &desk), "{said}");
    // On its own behalf.
    let own = taken(&stage.own("notes", &[]).await);
    let said = claims(&own);
    assert_eq!((&said["sub"], &said["client_id"]), (&desk, &desk), "{said}");
    // Policy lets the one do at the notes what the other must not.
    assert_eq!(stage.reads("notes", ("Bearer", &for_ada), &[]).await, 200);
    assert_eq!(stage.reads("notes", ("Bearer", &own), &[]).await, 403);
    let ledger = actor.token("ledger").await;
    assert_eq!(actor.call(&ledger).await.status, 200);
    let records = stage.records();
    let calls = records.iter().filter(|one| one["event"] == "call_decided");
    let told: Vec<_> = calls
        .map(|one| (one["subject"].clone(), one["facts"]["context"]["autonomous"].clone()))
        .collect();
    assert_eq!(
        told,
        [(ada_id, json!(false)), (desk.clone(), json!(true)), (desk, json!(true))],
        "{told:?}"
    );
    // There is no other way to a token than the grants that are named, and none of them takes a
    // password or gives a token to a browser.
    let metadata = format!("{}/.well-known/oauth-authorization-server", actor.issuer);
    let metadata = actor.https.send(Method::GET, &metadata, &[], "").await.unwrap().json();
    assert_eq!(metadata["response_types_supported"], json!(["code"]));
    for grant in ["password", "implicit", "urn:example:anything", ""] {
        let pairs = [("grant_type", grant), ("username", "ada"), ("password", "secret")];
        let answer = actor.ask(&pairs).await;
        assert_eq!(answer.status, 400, "{grant}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        let known = ["unsupported_grant_type", "invalid_request"].contains(&error.as_str());
        assert!(known, "{grant}: {error}");
        let supported = metadata["grant_types_supported"].as_array().unwrap();
        assert!(!supported.contains(&json!(grant)), "{grant}");
    }
    let key = [("x-api-key", "secret")];
    assert_eq!(actor.call_with(Method::GET, "notes/a", None, &key).await.status, 401);
    let basic = [("authorization", "Basic YWRhOnNlY3JldA==")];
    let by_password = actor.call_with(Method::GET, "notes/a", None, &basic).await;
    assert!([400, 401].contains(&by_password.status), "{}", by_password.json());
}
