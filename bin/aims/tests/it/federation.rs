//! Two installations that federate with each other, and relying parties that are none of ours.

use std::path::Path;
use std::process::Command;

use http::Method;
use jose::{Algorithm, KeyId, KeySet};
use serde_json::Value;
use spiffe::TrustDomain;
use workload::SecretText;

use crate::actor::{Actor, claims, first, soon};
use crate::running::{Running, Site, free_ports};

const WEST: &str = "west.example";
const EAST: &str = "east.example";

/// An installation that may fetch from this machine.
struct Party {
    site: Site,
    federation: u16,
}

impl Party {
    /// With the roots of another, where it is to believe that one's web authority.
    fn new(domain: &'static str, roots: Option<&Party>) -> Self {
        let (site, federation) = (Site::of(domain), free_ports());
        let roots = roots.map_or_else(String::new, |other| {
            format!("web_roots = \"{}\"\n", other.site.data.join("ca.pem").display())
        });
        site.policy(
            "domain.toml",
            &format!(
                "trust_domain = \"{domain}\"\n[jwt_svid]\nissuer = \"https://oidc.{domain}\"\n"
            ),
        );
        let settings = format!(
            "trust_domain = \"{domain}\"\nport_base = {}\nfederation_port = {federation}\n\
             fetch_addresses = [\"127.0.0.0/8\"]\n{roots}",
            site.port
        );
        std::fs::write(site.data.join("aims.toml"), settings).unwrap();
        Self { site, federation }
    }

    fn up(&self) -> Running {
        self.site.up()
    }

    /// A command that succeeds, as scripts read it.
    fn told(&self, arguments: &[&str]) -> Value {
        let ended = self.site.aims(&[arguments, &["--output", "json"]].concat());
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
        serde_json::from_str(&ended.out).unwrap()
    }

    /// Puts another `domain.toml` into force.
    fn apply(&self, domain: &str) {
        self.site.policy("domain.toml", domain);
        let policy = self.site.data.join("policy").display().to_string();
        self.told(&["policy", "apply", &policy, "--reason", "a test"]);
    }

    /// How a relation stands.
    fn standing(&self, domain: &str) -> Value {
        self.told(&["federation", "show", domain])
    }

    /// Waits until a relation stands so.
    async fn stands(&self, domain: &str, standing: &str) -> Value {
        soon(async || {
            Some(self.standing(domain)).filter(|relation| relation["standing"] == standing)
        })
        .await
    }

    async fn bundle(&self, query: &str) -> Value {
        let url = format!("{}/bundle{query}", self.site.url(0));
        let answer = self.site.https().send(Method::GET, &url, &[], "").await.unwrap();
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["cache-control"], "no-cache");
        answer.json()
    }

    /// Its bundle as a file.
    async fn bundle_file(&self) -> String {
        let path = self.site.folder.path().join("bundle.json");
        std::fs::write(&path, self.bundle("").await.to_string()).unwrap();
        path.display().to_string()
    }

    fn spiffe_url(&self) -> String {
        format!("https://localhost:{}/bundle", self.federation)
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// req: CRED-12
#[tokio::test(flavor = "multi_thread")]
async fn two_trust_domains_federate_both_ways_and_part() {
    let west = Party::new(WEST, None);
    let west_up = west.up();
    let east = Party::new(EAST, Some(&west));
    let mut east_up = east.up();
    begin(&west, &east).await;

    // Workloads get the bundle of the other, apart from their own, and it verifies.
    let (here, there) = (Actor::enrol(&west.site).await, Actor::enrol(&east.site).await);
    gets_both(&here, EAST).await;
    gets_both(&there, WEST).await;
    assert_eq!(validated(&here, &there).await, Some(there.id.clone()));
    assert_eq!(validated(&there, &here).await, Some(here.id.clone()));

    // East changes its keys, and west learns of it; also across restarts of both.
    let before = west.standing(EAST)["fetched"]["sequence"].as_u64().unwrap();
    east_up.stop();
    let backup = east.site.folder.path().join("backup");
    copy(&east.site.data, &backup);
    east_up = east.up();
    let lifetimes = "[lifetimes]\nsigning_key = 604800\npublish_ahead = 86400\n";
    east.apply(&format!("trust_domain = \"{EAST}\"\n{lifetimes}"));
    east_up.stop();
    east_up = east.up();
    // Ring by ring: the document is whole when each has its next key.
    let after = soon(async || {
        let bundle = east.bundle("").await;
        let keys = bundle["keys"].as_array().unwrap();
        let uses = |name: &str| keys.iter().filter(|key| key["use"] == name).count();
        (uses("jwt-svid") == 2 && uses("wit-svid") == 2)
            .then(|| bundle["spiffe_sequence"].as_u64().unwrap())
    });
    let after = after.await;
    assert!(after > before, "{after} {before}");
    west_up.stop();
    let west_up = west.up();
    assert_eq!(west.standing(EAST)["fetched"]["sequence"], before, "it is remembered");
    west.told(&["federation", "refresh", EAST]);
    let keys = soon(async || {
        let told = west.standing(EAST);
        (told["fetched"]["sequence"] == after).then(|| told["keys"].clone())
    })
    .await;
    assert_eq!(keys["jwt"], 2, "{keys}");

    // East as it was before: its bundle is older, and west keeps what it has.
    east_up.stop();
    std::fs::remove_dir_all(&east.site.data).unwrap();
    copy(&backup, &east.site.data);
    let east_up = east.up();
    assert_eq!(east.bundle("").await["spiffe_sequence"], before);
    west.told(&["federation", "refresh", EAST]);
    let failing = west.stands(EAST, "failing").await;
    assert_eq!(failing["fault"]["check"], "federation::Older", "{failing}");
    assert_eq!((&failing["fetched"]["sequence"], &failing["keys"]), (&after.into(), &keys));
    let doctor = west.site.aims(&["doctor"]);
    let expect = format!("the bundle of {EAST} cannot be fetched: the sequence {before} is older");
    assert!(doctor.out.contains(&expect), "{}", doctor.out);
    part(&west, &east).await;
    drop((west_up, east_up));
}

/// East believes west by the Web PKI, west believes east by its SPIFFE ID.
async fn begin(west: &Party, east: &Party) {
    let url = format!("{}/bundle", west.site.url(0));
    let added = east.told(&["federation", "add", WEST, "--profile", "https_web", "--url", &url]);
    assert!(added["audit_id"].is_string(), "{added}");
    let (file, url) = (east.bundle_file().await, east.spiffe_url());
    let id = format!("spiffe://{EAST}/aims/server");
    let spiffe = ["federation", "add", EAST, "--profile", "https_spiffe", "--url", &url];
    let first_bundle = ["--bundle", file.as_str()];
    west.told(&[&spiffe[..], &["--endpoint-id", &id], &first_bundle].concat());
    let told = east.stands(WEST, "good").await;
    assert_eq!(told["keys"], serde_json::json!({ "x509": 1, "jwt": 1, "wit": 1 }));
    west.stands(EAST, "good").await;
}

/// What ends, ends for the workloads too.
async fn part(west: &Party, east: &Party) {
    let (here, mut there) = (Actor::of(&west.site).await, Actor::of(&east.site).await);
    assert_eq!(validated(&here, &there).await, Some(there.id.clone()));
    // To be known for who one is gives no right: only what is registered gets tokens.
    (there.issuer, there.https) = (here.issuer.clone(), here.https.clone());
    let own = [("grant_type", "client_credentials"), ("resource", here.id.as_str())];
    let refused = there.ask(&own).await;
    assert_eq!(refused.json()["error"], "invalid_client", "{}", refused.json());
    west.told(&["federation", "remove", EAST]);
    soon(async || validated(&here, &there).await.is_none().then_some(())).await;
    assert_eq!(west.told(&["federation", "list"]), serde_json::json!([]));
    let refused = west.site.aims(&["federation", "remove", EAST]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("hint: `aims federation list`"), "{}", refused.err);
}

/// The Workload API hands out the bundles of both trust domains, of each kind.
async fn gets_both(actor: &Actor, other: &str) {
    let other = TrustDomain::parse(other).unwrap();
    soon(async || {
        let answer = first(actor.workloads().x509().await.ok()?).await?;
        answer.federated.contains_key(&other).then_some(())
    })
    .await;
    for bundles in [
        first(actor.workloads().jwt_bundles().await.unwrap()).await.unwrap(),
        first(actor.workloads().wit_bundles().await.unwrap()).await.unwrap(),
    ] {
        assert_eq!(bundles.len(), 2, "{bundles:?}");
        let keys: Value = serde_json::from_str(&bundles[&other]).unwrap();
        assert_eq!(keys["keys"][0]["kty"], "EC");
    }
}

/// Whom the Workload API of one takes the JWT-SVID of another for.
async fn validated(by: &Actor, of: &Actor) -> Option<String> {
    let token = SecretText::new(of.jwt("https://tool.example").await);
    let validated = by.workloads().validate_jwt("https://tool.example", &token).await;
    validated.ok().map(|validated| validated.spiffe_id.to_string())
}

/// req: CRED-12 (part)
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_the_one_agreed_on_is_not_believed() {
    let (west, east) = (Party::new(WEST, None), Party::new(EAST, None));
    let _west_up = west.up();
    let _east_up = east.up();
    let (file, url) = (east.bundle_file().await, east.spiffe_url());
    let foreign = west.bundle_file().await;
    let id = |path: &str| format!("spiffe://{EAST}/{path}");
    let web = format!("{}/bundle", east.site.url(0));
    let (server, other) = (id("aims/server"), id("aims/other"));
    let spiffe = |url: &str, id: &str, bundle: &str| {
        ["--profile", "https_spiffe", "--url", url, "--endpoint-id", id, "--bundle", bundle]
            .map(str::to_owned)
            .to_vec()
    };
    let of_web = |url: &str| ["--profile", "https_web", "--url", url].map(str::to_owned).to_vec();
    for (name, terms, check) in [
        ("another id", spiffe(&url, &other, &file), "fetch::Peer"),
        ("another bundle", spiffe(&url, &server, &foreign), "fetch::Peer"),
        ("its web listener", spiffe(&web, &server, &file), "fetch::Peer"),
        ("no public authority", of_web(&web), "fetch::Peer"),
        ("an svid on the web", of_web(&url), "fetch::Peer"),
        ("no bundle there", spiffe(&format!("{url}s"), &server, &file), "fetch::Status"),
        ("not listed", of_web("https://10.9.8.7/bundle"), "fetch::Private"),
    ] {
        let terms: Vec<_> = terms.iter().map(String::as_str).collect();
        west.told(&[&["federation", "add", EAST], &terms[..]].concat());
        let told = west.stands(EAST, "failing").await;
        assert_eq!(told["fault"]["check"], check, "{name}: {told}");
        assert!(told["keys"].is_null() && told["fetched"].is_null(), "{name}: {told}");
        west.told(&["federation", "remove", EAST]);
    }
    // Nor are we our own neighbour.
    let own = west.site.aims(&["federation", "add", WEST, "--profile", "https_web", "--url", &web]);
    assert_eq!(own.code, 1);
    assert!(own.err.contains("is our own trust domain"), "{}", own.err);
}

/// What an endpoint serves, by both profiles, and what it leaves out on request.
///
/// req: CRED-12 (part)
#[tokio::test(flavor = "multi_thread")]
async fn the_bundle_has_all_three_uses_unless_asked_for_less() {
    let party = Party::new(WEST, None);
    let _up = party.up();
    let uses = |bundle: &Value| {
        let keys = bundle["keys"].as_array().unwrap().iter();
        keys.map(|key| key["use"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let whole = party.bundle("").await;
    assert_eq!(uses(&whole), ["x509-svid", "jwt-svid", "wit-svid"]);
    assert_eq!(whole["spiffe_refresh_hint"], 300);
    assert!(whole["spiffe_sequence"].as_u64().unwrap() > 0);
    assert_eq!(party.bundle("?wit-svid=on").await, whole);
    let less = party.bundle("?wit-svid=off").await;
    assert_eq!(uses(&less), ["x509-svid", "jwt-svid"]);
    assert_eq!(less["spiffe_sequence"], whole["spiffe_sequence"]);
    let url = format!("{}/bundle?wit-svid=perhaps", party.site.url(0));
    let answer = party.site.https().send(Method::GET, &url, &[], "").await.unwrap();
    assert_eq!(answer.status, 400);
}

/// OpenID Connect Discovery 1.0 §4, as SPIRE's provider serves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_relying_party_of_openid_connect_verifies_a_jwt_svid() {
    let party = Party::new(WEST, None);
    let _up = party.up();
    let actor = Actor::enrol(&party.site).await;
    let https = party.site.https();
    let get = async |path: &str| {
        let url = format!("{}{path}", party.site.url(0));
        https.send(Method::GET, &url, &[("host", "oidc.west.example")], "").await.unwrap()
    };
    let token = actor.jwt("https://rp.example").await;
    let said = claims(&token);
    let document = get("/.well-known/openid-configuration").await.json();
    assert_eq!(document["issuer"], said["iss"]);
    assert_eq!(document["issuer"], "https://oidc.west.example");
    assert_eq!(document["jwks_uri"], "https://oidc.west.example/keys");
    assert_eq!(document["id_token_signing_alg_values_supported"], serde_json::json!(["ES256"]));
    let keys = get("/keys").await;
    let set = KeySet::parse(std::str::from_utf8(&keys.body).unwrap()).unwrap();
    assert!(set.keys().iter().all(|key| key.to_value()["use"] == "sig"));
    let (input, signature) = token.rsplit_once('.').unwrap();
    let header = decoded(token.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header).unwrap();
    let kid = KeyId::parse(header["kid"].as_str().unwrap()).unwrap();
    let key = set.keys().iter().find(|key| key.kid() == Some(&kid)).unwrap();
    let key = key.verification_key().unwrap();
    key.verify(Algorithm::Es256, input.as_bytes(), &decoded(signature)).unwrap();
    // The keys of access tokens are others: none of these speaks for the authorization server.
    let other = get("/jwks").await.json();
    let kids = other["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone());
    assert!(kids.into_iter().all(|other| other != kid.as_str()));

    // Without an issuer in policy there is neither document nor claim.
    party.apply(&format!("trust_domain = \"{WEST}\"\n"));
    let document = get("/.well-known/openid-configuration").await.json();
    assert_eq!(document["issuer"], party.site.url(0), "the provider that signs users in");
    assert_eq!(get("/keys").await.status, 404);
    assert!(claims(&actor.jwt("https://another.example").await)["iss"].is_null());
}

fn decoded(text: &str) -> Vec<u8> {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}
