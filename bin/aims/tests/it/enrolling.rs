//! Agents without a host of ours, over the real listener: enrolled, at work, renewed, refused.

use std::os::unix::fs::PermissionsExt as _;

use attestation::evidence::to_text;
use attestation::oidc::bound_audience;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use jose::{Algorithm, Audience, KeyId, KeySet, NumericDate, PrivateKey, SigningInput, TokenHash};
use oauth::TokenId;
use oauth::client_attestation_pop::{ClientAttestationPop, ClientAttestationPopClaims};
use oauth::id_token::IdToken;
use serde_json::{Value, json};
use time::{Span, UnixTime};
use wimse::Proof;
use wiring::world::SystemClock;
use x509::{KeyUsage, Name, RequestTemplate, Serial, SignatureAlgorithm, Template};

use crate::actor::Upstream;
use crate::running::{Answer, DOMAIN, Site};

fn new_key() -> PrivateKey {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap()
}

fn der_signature(key: &PrivateKey, message: &[u8]) -> Vec<u8> {
    x509::ecdsa_der_from_fixed(key.sign(message).as_bytes()).unwrap()
}

/// A certificate by `maker`, of its own key or of an agent's.
fn certificate(maker: &PrivateKey, key: &PrivateKey, kind: x509::Kind) -> x509::CertificateDer {
    let (now, is_own) = (SystemClock::read(), kind != x509::Kind::Leaf);
    let template = Template {
        serial: Serial::from_random([7; 16]),
        issuer: Name::new(None, Some("maker")).unwrap(),
        subject: Name::new(None, Some(if is_own { "maker" } else { "bot" })).unwrap(),
        not_before: now.minus(Span::from_seconds(60)),
        not_after: now.plus(Span::from_seconds(3_600)),
        spki_der: key.public().spki_der().to_vec(),
        kind,
        uri_names: Vec::new(),
        dns_names: vec!["bot.partner.example".to_owned()],
        ip_names: Vec::new(),
        key_usage: if is_own { KeyUsage::KEY_CERT_SIGN } else { KeyUsage::DIGITAL_SIGNATURE },
        extended_key_usages: Vec::new(),
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    };
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = der_signature(maker, unsigned.bytes());
    unsigned.attach(&signature)
}

fn request(key: &PrivateKey) -> String {
    request_by(key, key)
}

/// A request for the one key, signed with the other.
fn request_by(key: &PrivateKey, signer: &PrivateKey) -> String {
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: key.public().spki_der().to_vec(),
        uri_names: Vec::new(),
        dns_names: Vec::new(),
    };
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = der_signature(signer, unsigned.bytes());
    to_text(&unsigned.attach(&signature))
}

/// A platform's token for whoever has `key`.
fn job_token(platform: &PrivateKey, key: &PrivateKey) -> Vec<u8> {
    let now = SystemClock::read().seconds();
    let claims = json!({
        "iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/bot",
        "aud": bound_audience(DOMAIN, key.public().spki_der()), "iat": now - 1, "exp": now + 300,
        "repository": "acme/bot", "repository_id": "7", "run_id": "1", "run_attempt": "1",
    });
    let claims = serde_json::from_value(claims).unwrap();
    let kid = KeyId::parse("k1").unwrap();
    let input = SigningInput::<IdToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let signature = platform.sign(input.bytes());
    input.attach(signature).into_string().into_bytes()
}

async fn post(site: &Site, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
    let fields = [&[("content-type", "application/json")], fields].concat();
    let url = format!("{}{path}", site.url(0));
    site.https().send(Method::POST, &url, &fields, &body.to_string()).await.unwrap()
}

/// Nonce and challenge.
async fn session(
    site: &Site,
    mechanism: &str,
    key: &PrivateKey,
    evidence: Option<&[u8]>,
) -> (String, Option<Vec<u8>>) {
    let key = to_text(key.public().spki_der());
    let body = json!({ "mechanism": mechanism, "key": key, "evidence": evidence.map(to_text) });
    let opened = post(site, "/enrol/session", &[], &body).await;
    assert_eq!(opened.status, 201, "{}", opened.json());
    let opened = opened.json();
    let challenge = opened["challenge"].as_str().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
    (opened["nonce"].as_str().unwrap().to_owned(), challenge)
}

fn wpt(site: &Site, wit: &str, key: &PrivateKey, jti: &str) -> String {
    let now: UnixTime = SystemClock::read();
    let proof = Proof {
        audience: &format!("{}/enrol/renew", site.url(0)),
        expires: now.plus(Span::from_seconds(30)),
        jti,
        wit: TokenHash::of(wit),
        access_token: None,
        txn_token: None,
        other: &[],
    };
    let input = proof.signing_input(Algorithm::Es256).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

fn possession(site: &Site, key: &PrivateKey) -> String {
    let claims = ClientAttestationPopClaims {
        aud: Audience::one(site.url(0)),
        jti: TokenId::parse("pop-1").unwrap(),
        iat: NumericDate::from_time(SystemClock::read()),
        challenge: None,
        exp: None,
        nbf: None,
    };
    let input = SigningInput::<ClientAttestationPop>::new(Algorithm::Es256, None, &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

fn lay_policy(site: &Site, platform: &PrivateKey, maker: &PrivateKey, origin: &str, port: u16) {
    let jwk = platform.public().to_jwk().with_kid(KeyId::parse("k1").unwrap());
    let keys = serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap();
    let own = certificate(maker, maker, x509::Kind::Authority { path_len: None });
    let text = format!(
        "[node.join_token]\n\n[enrol.github_actions]\nkeys = '{keys}'\n\
         claims.repository = [\"acme/*\"]\n\n[enrol.x509pop]\nanchors = '''\n{}'''\n\n\
         [class.standard]\ndemands = [\"unix:uid\", \"unix:path\"]\nissues = [\"x509\", \"wit\"]\n\
         [class.outside]\ndemands = []\nissues = [\"x509\", \"wit\"]\n\
         [[class.outside.attested]]\nof = [\"platform\"]\n",
        own.to_pem()
    );
    site.policy("attestation.toml", &text);
    site.policy(
        "resources/files.toml",
        &format!(
            "name = \"files\"\nupstream = \"http://127.0.0.1:{port}\"\nprotocol = \"http\"\n\
         [scopes]\n\"files:read\" = \"Read files\"\n\
         [[action]]\nmethod = \"GET\"\npath = \"/*\"\nscope = \"files:read\"\n"
        ),
    );
    let (bot, files) = (format!("{origin}/agent/bot"), files(site));
    site.policy(
        "access/main.cedar",
        &format!(
            r#"@id("the-bot-may-reach-the-files")
permit(principal == Aims::Agent::"{bot}", action == Aims::Action::"token.issue",
       resource == Aims::Audience::"{files}");
@id("the-bot-may-read-the-files")
permit(principal == Aims::Agent::"{bot}", action, resource)
when {{ context.scope.contains("files:read") }};
"#
        ),
    );
}

/// The audience of a resource behind the gateway.
fn files(site: &Site) -> String {
    format!("{}/files", site.url(3))
}

fn register(site: &Site, name: &str, selector: &str) {
    let fixed = "agent register --kind agent --owner team-a --class outside --capability search";
    let fixed: Vec<_> = fixed.split(' ').collect();
    let done = site.aims(&[&fixed[..], &["--name", name, "--selector", selector]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
}

/// req: PROV-01 (part), PROV-05 (part), PROV-07 (part), ATT-01 (part), ATT-04 (part), REG-01 (part)
#[tokio::test]
async fn s3_1_an_agent_without_a_host_enrols_works_and_renews_over_https() {
    let (site, platform, maker) = (Site::new(), new_key(), new_key());
    lay_policy(&site, &platform, &maker, "spiffe://running.example", 1);
    let running = site.up();
    register(&site, "bot", "github_actions:repository:acme/bot");
    register(&site, "partner", "x509pop:san:dns:bot.partner.example");

    // By a token of a platform that names its key.
    let key = new_key();
    let (nonce, challenge) = session(&site, "github_actions", &key, None).await;
    assert_eq!(challenge, None);
    let evidence = to_text(&job_token(&platform, &key));
    let body = json!({
        "nonce": nonce, "agent": "bot", "mechanism": "github_actions", "request": request(&key),
        "evidence": ["application/vnd.aims.evidence.github_actions", evidence],
        "kinds": ["x509", "wit"],
    });
    let enrolled = post(&site, "/enrol", &[], &body).await;
    assert_eq!(enrolled.status, 201, "{}", enrolled.json());
    assert_eq!(enrolled.headers["cache-control"], "no-store");
    let record = site.aims(&["audit", "show", &enrolled.audit_id().unwrap(), "--output", "json"]);
    assert_eq!(record.code, 0, "{}", record.err);
    assert!(record.out.contains("credential.enrol"), "{}", record.out);
    let enrolled = enrolled.json();
    let bot = format!("spiffe://{DOMAIN}/agent/bot");
    assert_eq!(enrolled["agent"], bot);
    let leaf = enrolled["x509"]["chain"][0].as_str().unwrap();
    let leaf = x509::Certificate::parse(&URL_SAFE_NO_PAD.decode(leaf).unwrap()).unwrap();
    assert_eq!((leaf.uri_names(), leaf.spki_der()), (&[bot.clone()][..], key.public().spki_der()));
    let again = post(&site, "/enrol", &[], &body).await;
    assert_eq!((again.status, again.json()["error"].as_str()), (400, Some("invalid_nonce")));

    // It is a client of the token endpoint, as any agent is.
    let wit = enrolled["wit"].as_str().unwrap().to_owned();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "client_credentials"),
            ("client_id", bot.as_str()),
            ("resource", files(&site).as_str()),
            ("scope", "files:read"),
        ])
        .finish();
    let pop = possession(&site, &key);
    let fields = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("oauth-client-attestation", wit.as_str()),
        ("oauth-client-attestation-pop", pop.as_str()),
    ];
    let url = format!("{}/token", site.url(0));
    let asked = site.https().send(Method::POST, &url, &fields, &form).await.unwrap();
    assert_eq!(asked.status, 200, "{}", asked.json());
    assert!(asked.json()["access_token"].is_string());

    // Renewed by its own credential, with a new key; the handle alone is nothing.
    let next = new_key();
    let body = json!({
        "handle": enrolled["handle"], "request": request(&next), "kinds": ["x509", "wit"],
    });
    let bare = post(&site, "/enrol/renew", &[], &body).await;
    assert_eq!((bare.status, bare.json()["error"].as_str()), (400, Some("invalid_client")));
    let proof = wpt(&site, &wit, &key, "r1");
    let fields =
        [("workload-identity-token", wit.as_str()), ("workload-proof-token", proof.as_str())];
    let renewed = post(&site, "/enrol/renew", &fields, &body).await;
    assert_eq!(renewed.status, 201, "{}", renewed.json());
    assert_eq!(renewed.json()["agent"], bot);

    by_certificate(&site, &maker).await;
    assert_eq!(running.stop(), 0);
}

/// By a certificate and an answer to our challenge; and what is refused before anything is proved.
async fn by_certificate(site: &Site, maker: &PrivateKey) {
    let (owner, key) = (new_key(), new_key());
    let chain = STANDARD.encode(certificate(maker, &owner, x509::Kind::Leaf).as_bytes());
    let evidence = json!({ "certificates": [chain] }).to_string().into_bytes();
    let (nonce, challenge) = session(site, "x509pop", &key, Some(&evidence)).await;
    let challenge: Value = serde_json::from_slice(&challenge.unwrap()).unwrap();
    let theirs = STANDARD.decode(challenge["nonce"].as_str().unwrap()).unwrap();
    let signature = der_signature(&owner, &[&theirs[..], &[9; 32]].concat());
    let response = json!({
        "nonce": STANDARD.encode([9; 32]), "signature": STANDARD.encode(signature)
    });
    let body = json!({
        "nonce": nonce, "agent": "partner", "mechanism": "x509pop", "request": request(&key),
        "response": to_text(response.to_string().as_bytes()), "kinds": ["wit"],
        "evidence": { "platform": ["application/vnd.aims.evidence.x509pop", to_text(&evidence)] },
    });
    let enrolled = post(site, "/enrol", &[], &body).await;
    assert_eq!(enrolled.status, 201, "{}", enrolled.json());

    // What does not read, and what is not there.
    let broken = post(site, "/enrol", &[], &json!({ "nonce": "" })).await;
    assert_eq!((broken.status, broken.json()["error"].as_str()), (400, Some("invalid_request")));
    let key = to_text(new_key().public().spki_der());
    let closed = json!({ "mechanism": "sshpop", "key": key });
    let closed = post(site, "/enrol/session", &[], &closed).await;
    assert_eq!((closed.status, closed.json()["error"].as_str()), (403, Some("access_denied")));
}

/// An installation whose identifiers are those of `wimse`, from the settings to a call: server,
/// node and agent belong to `wimse://running.example`, and `spiffe://running.example` is somebody else.
/// What it is given says who it is in two kinds at once, each used in its place, and what policy lets
/// it say besides; and nothing is given to whoever does not prove the key.
/// req: CRED-02, CRED-07, PROV-05, PROV-07, CRED-04 (part), ID-02 (part), AUTHN-01 (part)
#[tokio::test]
async fn wimse_identifier_4_4_a_domain_of_that_scheme_works_from_registration_to_call() {
    let (site, platform, maker) = (Site::of("wimse://running.example"), new_key(), new_key());
    let (upstream, port) = Upstream::start().await;
    lay_policy(&site, &platform, &maker, "wimse://running.example", port);
    let running = site.up();
    register(&site, "bot", "github_actions:repository:acme/bot");
    let nodes = site.aims(&["node", "list", "--output", "json"]);
    assert!(
        nodes.out.contains("wimse://running.example/aims/node/join_token/local"),
        "{}",
        nodes.out
    );

    let (key, bot) = (new_key(), "wimse://running.example/agent/bot");
    let (wit, chain) = admitted(&site, &platform, &key, bot).await;

    // Mutual TLS with that certificate: the client of the token endpoint is that identifier, and no
    // other of its name.
    let ask = async |client: &str| {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "client_credentials"),
                ("client_id", client),
                ("resource", files(&site).as_str()),
                ("scope", "files:read"),
            ])
            .finish();
        let https = site.https().showing_chain(&chain, &key);
        let fields = [("content-type", "application/x-www-form-urlencoded")];
        let url = format!("{}/token", site.url(1));
        https.send(Method::POST, &url, &fields, &form).await.unwrap()
    };
    let other = ask("spiffe://running.example/agent/bot").await;
    assert_eq!((other.status, other.json()["error"].as_str()), (400, Some("invalid_client")));
    let asked = ask(bot).await;
    assert_eq!(asked.status, 200, "{}", asked.json());
    let token = asked.json()["access_token"].as_str().unwrap().to_owned();

    // The gateway takes the token with the WIT and a proof by its key, and not with another's.
    let call = async |signer: &PrivateKey| {
        let url = format!("{}/a", files(&site));
        let proof = Proof {
            audience: &url,
            expires: SystemClock::read().plus(Span::from_seconds(30)),
            jti: &format!("call-{}", to_text(signer.public().spki_der())),
            wit: TokenHash::of(&wit),
            access_token: Some(&token),
            txn_token: None,
            other: &[],
        };
        let input = proof.signing_input(Algorithm::Es256).unwrap();
        let signature = signer.sign(input.bytes());
        let (proof, bearer) = (input.attach(signature).into_string(), format!("Bearer {token}"));
        let fields = [
            ("authorization", bearer.as_str()),
            ("workload-identity-token", wit.as_str()),
            ("workload-proof-token", proof.as_str()),
        ];
        site.https().send(Method::GET, &url, &fields, "").await.unwrap().status
    };
    assert_eq!(call(&new_key()).await, 400);
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(call(&key).await, 200);
    assert_eq!(upstream.seen().len(), 1);

    other_scheme_is_refused(&site);
    assert_eq!(running.stop(), 0);
    // Nor do settings that only peers of SPIFFE understand.
    let mut command = site.command();
    command.args(["--spire-port", "1"]);
    let ended = crate::running::ended(command);
    assert_eq!(ended.code, 2, "{}", ended.err);
}

/// What the agent of `wimse` is given, which says who it is in both kinds: the WIT, and the chain.
async fn admitted(
    site: &Site,
    platform: &PrivateKey,
    key: &PrivateKey,
    bot: &str,
) -> (String, Vec<Vec<u8>>) {
    let (nonce, _) = session(site, "github_actions", key, None).await;
    let evidence = to_text(&job_token(platform, key));
    let order = |request: String| {
        json!({
            "nonce": nonce, "agent": "bot", "mechanism": "github_actions", "request": request,
            "evidence": ["application/vnd.aims.evidence.github_actions", evidence],
            "kinds": ["x509", "wit"],
        })
    };
    // PROV-07: the key is the one that the evidence names, and the request is another's.
    let forged = post(site, "/enrol", &[], &order(request_by(key, &new_key()))).await;
    assert_eq!((forged.status, forged.json()["error"].as_str()), (400, Some("invalid_request")));
    let enrolled = post(site, "/enrol", &[], &order(request(key))).await;
    assert_eq!(enrolled.status, 201, "{}", enrolled.json());
    let enrolled = enrolled.json();
    assert_eq!(enrolled["agent"], bot);
    let wit = enrolled["wit"].as_str().unwrap().to_owned();
    let said: Value = {
        let claims = wit.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    };
    assert_eq!(said["sub"], bot);
    let chain = &enrolled["x509"]["chain"];
    let chain: Vec<_> = chain.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let chain: Vec<_> = chain.iter().map(|one| URL_SAFE_NO_PAD.decode(one).unwrap()).collect();
    let leaf = x509::Certificate::parse(&chain[0]).unwrap();
    assert_eq!(leaf.uri_names(), [bot]);
    // CRED-07: owner, capabilities, attestation result and methods, alike in both kinds.
    let beside = leaf.attributes().and_then(spiffe::Attributes::from_text).unwrap();
    let capabilities = TokenHash::of("[\"search\"]").to_base64url();
    assert_eq!(beside.owner.as_deref(), Some("team-a"));
    assert_eq!(beside.capabilities.as_deref(), Some(capabilities.as_str()));
    assert_eq!(
        (beside.result.as_ref().map(String::len), &beside.methods[..]),
        (Some(43), &["mtls".to_owned()][..])
    );
    let attributes = &said["aims_attributes"];
    assert_eq!(
        (&attributes["owner"], &attributes["capabilities"]),
        (&json!("team-a"), &json!(capabilities))
    );
    assert_eq!(attributes["result"], json!(beside.result));
    (wit, chain)
}

/// Policy does not turn a domain into the one of its name under the other scheme.
fn other_scheme_is_refused(site: &Site) {
    let dir = site.data.join("policy");
    let text = std::fs::read_to_string(dir.join("domain.toml")).unwrap();
    assert!(text.contains("scheme = \"wimse\"\n"), "{text}");
    std::fs::write(dir.join("domain.toml"), text.replace("scheme = \"wimse\"\n", "")).unwrap();
    let folder = dir.display().to_string();
    let refused = site.aims(&["policy", "apply", &folder, "--reason", "another scheme"]);
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("wimse://running.example"), "{}", refused.err);
    assert!(refused.err.contains("spiffe://running.example"), "{}", refused.err);
}

/// The command does the whole exchange, and leaves files that it renews by.
/// req: PROV-01 (part), PROV-02 (part), CRED-11 (part)
#[test]
fn s8_the_command_enrols_and_renews_with_files_and_no_node() {
    let (site, platform, maker, owner) = (Site::new(), new_key(), new_key(), new_key());
    lay_policy(&site, &platform, &maker, "spiffe://running.example", 1);
    let running = site.up();
    register(&site, "partner", "x509pop:san:dns:bot.partner.example");
    let own = site.folder.path().join("own.key");
    let pem =
        workload::pem::private_key(&workload::SecretBytes::new(owner.to_pkcs8().unwrap().to_vec()));
    std::fs::write(&own, pem.expose()).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600)).unwrap();
    let chain = certificate(&maker, &owner, x509::Kind::Leaf).to_pem();
    std::fs::write(site.folder.path().join("own.pem"), chain).unwrap();
    let server = site.url(0);
    let enrol = ["enrol", "--server", &server, "--agent", "partner", "--mechanism", "x509pop"];
    let by = ["--certificates", "own.pem", "--certificate-key", "own.key", "--into", "id"];
    let done = site.aims(&[&enrol[..], &by[..]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    let file = |name: &str| std::fs::read_to_string(site.folder.path().join("id").join(name));
    let held = ["svid.pem", "key.pem", "wit.jwt", "wit_key.jwk"].map(|name| file(name).unwrap());
    let mode = |name: &str| {
        let path = site.folder.path().join("id").join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(["key.pem", "wit_key.jwk", "enrolment.json"].map(mode), [0o600; 3]);
    let renewed = site.aims(&["enrol", "--renew", "--into", "id", "--output", "json"]);
    assert_eq!(renewed.code, 0, "{}", renewed.err);
    assert!(renewed.out.contains("/agent/partner"), "{}", renewed.out);
    for (name, before) in ["svid.pem", "key.pem", "wit.jwt", "wit_key.jwk"].iter().zip(&held) {
        assert_ne!(&file(name).unwrap(), before, "{name}");
    }
    // The key of before is none any more.
    let folder = site.folder.path().join("id");
    std::fs::write(folder.join("wit.jwt"), &held[2]).unwrap();
    std::fs::write(folder.join("wit_key.jwk"), &held[3]).unwrap();
    let late = site.aims(&["enrol", "--renew", "--into", "id"]);
    assert_eq!(late.code, 1, "{}", late.err);
    assert!(late.err.contains("the enrolment is not that of the credential"), "{}", late.err);
    let other = ["enrol", "--server", &server, "--agent", "partner", "--mechanism", "magic"];
    let other = site.aims(&[&other[..], &["--evidence-command", "echo", "--into", "x"]].concat());
    assert_eq!(other.code, 1, "{}", other.err);
    assert!(other.err.contains("policy does not let an agent enrol by `magic`"), "{}", other.err);
    assert_eq!(running.stop(), 0);
}
