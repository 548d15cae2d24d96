//! AUTHZ-11: a token that is exchanged for the next one.

use std::time::Duration;

use serde_json::json;

use super::Stage;
use super::tokens::{OTHER, resource};
use crate::actor::{SCOPE, claims, taken};
use crate::running::Answer;

/// How long tokens live here, in seconds.
const LIFE: u64 = 4;

impl Stage {
    /// Exchanges a token for the next one, with these parameters beside.
    async fn next(&self, subject: &str, kind: &str, more: &[(&str, &str)]) -> Answer {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let pairs = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject),
            ("subject_token_type", kind.as_str()),
        ];
        self.actor.ask(&[&pairs, more].concat()).await
    }
}

/// Delegation with its chain, impersonation where policy names it; narrower, in another form, with
/// more said, for longer, and for the key of another: each as policy says, and no further.
///
/// req: AUTHZ-11
#[tokio::test(flavor = "multi_thread")]
async fn s10_2_2_a_token_is_exchanged_as_policy_says() {
    let desk = "spiffe://running.example/service/desk";
    let site_policy = |gateway: &str| {
        format!(
            "[lifetimes]\naccess_token = {LIFE}\n[bounds]\nclock_skew = 1\n\
             [delegation]\nsubject_tokens = [\"refresh_token\"]\nrequested_cnf = [\"{desk}\"]\n\
             [[delegation.impersonation]]\nname = \"mail-room\"\nclient = \"{desk}\"\n\
             audiences = [\"{gateway}/vault\"]\n"
        )
    };
    let stage = Stage::laid("", |site| {
        let told = "proof = \"bearer\"\nattestation = true\n";
        resource(site, "vault", told);
        resource(site, "safe", "proof = \"bearer\"\ntoken = \"opaque\"\n");
        let domain = "trust_domain = \"running.example\"\n".to_owned() + &site_policy(&site.url(3));
        site.policy("domain.toml", &domain);
    })
    .await;
    let mut ada = stage.person("ada", None).await;
    let resources = ["notes", "ledger", "vault", "safe"];
    let given = stage.given(&mut ada, &resources).await;
    let (first, refresh) = (taken(&given), given.json()["refresh_token"].clone());
    let refresh = refresh.as_str().unwrap();
    let at = |name: &str| format!("{}/{name}", stage.actor.gateway);
    let [notes, ledger, vault, safe] = resources.map(at);
    let exchanged = async |more: &[(&str, &str)]| stage.next(refresh, "refresh_token", more).await;

    // Delegation: for ada, by desk, and both stand in it.
    let answer = exchanged(&[("resource", &ledger), ("scope", SCOPE)]).await;
    assert_eq!(answer.json()["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let said = claims(&taken(&answer));
    assert_eq!((&said["sub"], &said["act"]["sub"]), (&json!("user:ada"), &json!(desk)));
    assert_eq!((&said["aud"], &said["scope"]), (&json!(ledger), &json!(SCOPE)));
    assert_eq!(said["aims_root"], claims(&first)["aims_root"]);

    // Impersonation: where policy names it there is no actor to be seen, but in the log.
    let answer = exchanged(&[("resource", &vault), ("scope", SCOPE)]).await;
    let said = claims(&taken(&answer));
    assert_eq!((&said["sub"], &said["act"]), (&json!("user:ada"), &json!(null)), "{said}");
    let records = stage.records();
    let of = records.iter().rfind(|one| one["jti"] == said["jti"]).unwrap();
    let rules = of["rules"].to_string();
    assert!(rules.contains("impersonation:mail-room") && of["agent"] == json!(desk), "{of}");
    // Enriched: this resource is told how its agent was attested; the others are not.
    assert!(said["aims_attestation"].is_object(), "{said}");
    assert!(claims(&first)["aims_attestation"].is_null());

    // Translated: to a form that says nothing, with the same meaning for whom it is for.
    let opaque = taken(&exchanged(&[("resource", &safe), ("scope", SCOPE)]).await);
    assert!(!opaque.contains('.'), "{opaque}");
    assert_eq!(stage.reads("safe", ("Bearer", &opaque), &[]).await, 200);

    // Narrowed, and never widened: not in scope, not in place.
    let wider = exchanged(&[("resource", &ledger), ("scope", "ledger:read ledger:write")]).await;
    assert_eq!(wider.json()["error"], "invalid_scope", "{}", wider.json());
    let other = exchanged(&[("resource", &at("elsewhere"))]).await;
    assert_eq!(other.json()["error"], "invalid_target", "{}", other.json());
    // Nobody brings the token of another along.
    let foreign = stage.next("aims_rt_nothing", "refresh_token", &[("resource", &ledger)]).await;
    assert_eq!(foreign.status, 400, "{}", foreign.json());

    // For the key of whoever will use it.
    let key = jose::PrivateKey::from_jwk_private_text(OTHER).unwrap();
    let jkt = key.public().thumbprint().to_base64url();
    let cnf = json!({ "jkt": jkt }).to_string();
    let pairs = [("resource", notes.as_str()), ("scope", SCOPE), ("requested_cnf", &cnf)];
    let answer = exchanged(&pairs).await;
    let bound = taken(&answer);
    assert_eq!(claims(&bound)["cnf"]["jkt"], json!(jkt));
    assert_eq!(stage.reads("notes", ("Bearer", &bound), &[]).await, 401, "not as a bearer");

    // For longer: what ada allowed outlives each token, and is exchanged for later ones.
    tokio::time::sleep(Duration::from_secs(LIFE + 2)).await;
    assert_eq!(stage.reads("notes", ("Bearer", &first), &[]).await, 401, "it ended");
    let later = taken(&exchanged(&[("resource", &notes), ("scope", SCOPE)]).await);
    assert!(claims(&later)["exp"].as_u64() > claims(&first)["exp"].as_u64());
    assert_eq!(stage.reads("notes", ("Bearer", &later), &[]).await, 200);
}
