//! Nodes of their own, as processes: each joins by what its host has, or is refused.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use attestation::oidc::audience;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jose::{Algorithm, KeyId, KeySet, PrivateKey, SigningInput};
use oauth::id_token::IdToken;
use serde_json::json;
use wiring::world::SystemClock;

use crate::Ended;
use crate::platform::{Act, Platform, routes};
use crate::running::{DOMAIN, Running, Site, ended};

/// RFC 7515 §A.3: the key of a cluster.
const CLUSTER_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

fn vector(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(vector(name)).unwrap()
}

/// The cluster's key under this name.
fn key_set(kid: &str) -> String {
    let key = PrivateKey::from_jwk_private_text(CLUSTER_KEY).unwrap();
    let jwk = key.public().to_jwk().with_kid(KeyId::parse(kid).unwrap());
    serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap()
}

/// A policy that allows four ways.
fn policy() -> String {
    let keys = key_set("k1");
    format!(
        "[node.join_token]\n\n[node.sshpop]\ncert_authorities = [\"{}\"]\n\n\
         [node.k8s_psat.clusters.prod]\nissuer = \"https://cluster.example\"\nkeys = '{keys}'\n\
         service_accounts = [\"aims:node\"]\n\n\
         [node.aws_iid]\naccounts = [\"123456789012\"]\n[node.aws_iid.regions]\n\
         region-1 = '''\n{}'''\n\n[node.http_challenge]\nhosts = [\"host.example\"]\nports = [80]\n\n\
         [class.standard]\ndemands = [\"unix:uid\", \"unix:path\"]\nissues = [\"x509\", \"wit\"]\n",
        text("ssh/ca_ed25519.pub").trim(),
        text("cms/region-1.pem"),
    )
}

/// A node's folder, and how it is started.
pub(crate) struct Node {
    pub(crate) folder: PathBuf,
    config: PathBuf,
}

impl Node {
    pub(crate) async fn new(site: &Site, name: &str, settings: &str) -> Self {
        let folder = site.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let (https, url) = (site.https(), format!("{}/bundle", site.url(0)));
        let bundle = https.send(Method::GET, &url, &[], "").await.unwrap().body;
        std::fs::write(folder.join("bundle.json"), bundle).unwrap();
        std::fs::copy(site.data.join("ca.pem"), folder.join("ca.pem")).unwrap();
        let config = folder.join("aims.toml");
        let text = format!(
            "trust_domain = \"{DOMAIN}\"\nserver = \"127.0.0.1:{}\"\nname = \"{name}\"\n\
             bundle = \"bundle.json\"\n{settings}\n",
            site.port + 2
        );
        std::fs::write(&config, text).unwrap();
        Self { folder, config }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aims"));
        command.args(["node", "--config"]).arg(&self.config).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    pub(crate) fn joins(&self) {
        assert_eq!(Running::ready(self.command(), Path::new("")).stop(), 0);
    }

    pub(crate) fn is_refused(&self) -> Ended {
        ended(self.command())
    }
}

pub(crate) async fn ids(site: &Site) -> Vec<String> {
    let page = site.desk().nodes(None, None).await.unwrap();
    let prefix = format!("spiffe://{DOMAIN}/aims/node/");
    let ids = page.items.iter().map(|node| node.id.to_string());
    ids.filter_map(|id| id.strip_prefix(&prefix).map(str::to_owned)).collect()
}

/// A cloud's metadata service: IMDSv2 of Amazon.
fn amazon() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let body = match path.rsplit('/').next().unwrap_or_default() {
                "rsa2048" => STANDARD.encode(vector("cms/aws-region-1.ber")),
                "token" => "session".to_owned(),
                _ => String::new(),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// A number that nobody had.
fn next() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

fn pod_token() -> String {
    pod_token_of("https://cluster.example", "k1")
}

fn pod_token_of(issuer: &str, kid: &str) -> String {
    let key = PrivateKey::from_jwk_private_text(CLUSTER_KEY).unwrap();
    let now = SystemClock::read().seconds();
    let claims = json!({
        "iss": issuer, "sub": "system:serviceaccount:aims:node",
        "aud": [audience(DOMAIN)], "iat": now - 1, "exp": now + 600,
        "jti": format!("token-{}", next()),
        "kubernetes.io": {
            "namespace": "aims", "serviceaccount": { "name": "node", "uid": "sa-1" },
            "pod": { "name": "node-x7", "uid": "pod-1" },
            "node": { "name": "worker-1", "uid": "node-1" }
        }
    });
    let claims = serde_json::from_value(claims).unwrap();
    let kid = KeyId::parse(kid).unwrap();
    let input = SigningInput::<IdToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

/// The issue's words: a fresh host joins by whichever it has.
/// req: ATT-02 (part), ATT-08 (part), ID-04 (part)
#[tokio::test]
async fn s7_a_fresh_host_joins_by_what_it_has() {
    let site = Site::new();
    site.policy("attestation.toml", &policy());
    let running = site.up();

    let node =
        Node::new(&site, "ssh", "attest = \"sshpop\"\njoin_certificates = \"c\"\njoin_key = \"k\"");
    let node = node.await;
    std::fs::write(node.folder.join("c"), vector("ssh/host_ed25519-cert.pub")).unwrap();
    let key = node.folder.join("k");
    std::fs::write(&key, vector("ssh/host_ed25519.private")).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    node.joins();
    node.joins();
    let found = ids(&site).await;
    assert_eq!(found.iter().filter(|id| id.starts_with("sshpop/")).count(), 1, "{found:?}");
    let doctor = crate::aims(&node.folder, &["doctor", "--dir", "."]);
    assert!(doctor.out.contains("this host can join by `sshpop`"), "{}", doctor.out);

    let pod = "attest = \"k8s_psat\"\nattest_cluster = \"prod\"\nattest_token = \"token\"";
    let node = Node::new(&site, "pod", pod).await;
    std::fs::write(node.folder.join("token"), pod_token()).unwrap();
    node.joins();
    assert!(ids(&site).await.contains(&"k8s_psat/prod/node-1".to_owned()));
    let again = node.is_refused();
    assert_eq!(again.code, 3, "{}", again.err);
    assert!(again.err.contains("the evidence was used before"), "{}", again.err);

    let settings = format!("attest = \"aws_iid\"\nattest_metadata = \"{}\"", amazon());
    let node = Node::new(&site, "aws", &settings).await;
    node.joins();
    let instance = "aws_iid/123456789012/region-1/i-0123456789abcdef0".to_owned();
    assert!(ids(&site).await.contains(&instance));
    let again = node.is_refused();
    assert!(again.err.contains("joined at") && again.err.contains("already"), "{}", again.err);

    // Its name leads nowhere: refused, and the host learns no more than that.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = format!(
        "attest = \"http_challenge\"\nattest_host = \"host.example\"\nattest_port = {port}"
    );
    let refused = Node::new(&site, "name", &settings).await.is_refused();
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("ask the operator"), "{}", refused.err);

    let unknown = Node::new(&site, "unknown", "attest = \"magic\"").await.is_refused();
    assert_eq!(unknown.code, 2, "{}", unknown.err);
    assert!(unknown.err.contains("hint: known are join_token, "), "{}", unknown.err);
    assert_eq!(running.stop(), 0);
}

/// What a node lacks is told before its token is shown, and a token that served says what to do.
/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_token_is_spent_by_a_host_that_is_in_order_alone() {
    let site = Site::new();
    let running = site.up();
    let node = Node::new(&site, "host-1", "join_token = \"token\"").await;
    let token = node.folder.join("token");
    let path = token.display().to_string();
    let made = site.aims(&["join-token", "create", "--name", "host-1", "--write", &path]);
    assert_eq!((made.code, made.out.as_str()), (0, ""), "{}", made.err);
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let (ca, away) = (node.folder.join("ca.pem"), node.folder.join("away.pem"));
    std::fs::rename(&ca, &away).unwrap();
    let refused = node.is_refused();
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("ca.pem` cannot be read"), "{}", refused.err);
    std::fs::rename(&away, &ca).unwrap();
    // Nor where its socket cannot be had.
    let socket = node.folder.join("run.sock");
    std::fs::write(&socket, "something else").unwrap();
    assert_eq!(node.is_refused().code, 3);
    std::fs::remove_file(&socket).unwrap();
    node.joins();
    assert!(ids(&site).await.contains(&"join_token/host-1".to_owned()));
    let again = node.is_refused();
    assert!(again.err.contains("hint: a join token serves once"), "{}", again.err);
    assert_eq!(running.stop(), 0);
}

/// Three clusters in policy at one address: `prod` as it is, `false` by an authority that it is not
/// known by, and `inside` without leave to reach an address inside.
async fn lay_clusters(site: &Site, cluster: &Platform) {
    let (issuer, ca) = (cluster.url(""), &cluster.ca);
    let place = format!("ca = '''\n{ca}'''\naddresses = [\"127.0.0.0/8\", \"::1\"]\n");
    let table = |name: &str, place: &str| {
        format!(
            "[node.k8s_psat.clusters.{name}]\nissuer = \"{issuer}\"\n\
             service_accounts = [\"aims:node\"]\n\
             [node.k8s_psat.clusters.{name}.keys]\ndiscovery = true\n{place}\
             [node.k8s_psat.clusters.{name}.review]\nserver = \"{issuer}\"\n{place}\n"
        )
    };
    let other = Platform::start().await.ca;
    let policy = format!(
        "[node.join_token]\n\n{}{}{}[class.standard]\ndemands = [\"unix:uid\"]\nissues = []\n",
        table("prod", &place),
        table("false", &place.replace(ca.trim(), other.trim())),
        table("inside", &format!("ca = '''\n{ca}'''\n")),
    );
    site.policy("attestation.toml", &policy);
    let tokens = site.data.join("cluster-tokens");
    std::fs::create_dir(&tokens).unwrap();
    for name in ["prod", "false", "inside"] {
        std::fs::write(tokens.join(name), "the-servers-own-token\n").unwrap();
    }
}

/// A cluster that has its key under this name, and reviews so.
fn serving(cluster: &Platform, kid: &str, is_known: bool) -> Act {
    let document = json!({ "issuer": cluster.url(""), "jwks_uri": cluster.url("/openid/v1/jwks") });
    let review = json!({ "status": {
        "authenticated": is_known, "audiences": [audience(DOMAIN)],
        "user": { "username": "system:serviceaccount:aims:node" }
    } });
    routes([
        ("/.well-known/openid-configuration", document.to_string()),
        ("/openid/v1/jwks", key_set(kid)),
        ("/apis/authentication.k8s.io/v1/tokenreviews", review.to_string()),
    ])
}

/// A cluster whose keys are found by discovery, and which is asked about each token; and what a
/// platform may do to the server that asks it.
/// req: ATT-02 (part), AUTHN-12 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s7_a_cluster_is_asked_for_its_keys_and_about_tokens() {
    let (site, cluster) = (Site::new(), Platform::start().await);
    lay_clusters(&site, &cluster).await;
    let running = site.up();
    let node = async |name: &str, kid: &str| {
        let settings =
            format!("attest = \"k8s_psat\"\nattest_cluster = \"{name}\"\nattest_token = \"token\"");
        let node = Node::new(&site, &format!("pod-{}", next()), &settings).await;
        std::fs::write(node.folder.join("token"), pod_token_of(&cluster.url(""), kid)).unwrap();
        node
    };
    let refused = async |name: &str, kid: &str| {
        let begun = Instant::now();
        assert_ne!(node(name, kid).await.is_refused().code, 0, "{name}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{name}");
    };
    // Nothing is known of it, and it stalls.
    cluster.does(Act::Stall);
    refused("prod", "k1").await;
    assert_eq!(cluster.asked().len(), 1);
    cluster.does(serving(&cluster, "k1", true));
    for name in ["false", "inside"] {
        refused(name, "k1").await;
        assert_eq!(cluster.asked(), Vec::<String>::new(), "{name}");
    }
    // Back again: discovery, keys, and the review with the server's token.
    tokio::time::sleep(Duration::from_secs(7)).await;
    node("prod", "k1").await.joins();
    let asked = cluster.asked();
    let lines: Vec<_> = asked.iter().map(|one| one.lines().next().unwrap()).collect();
    let expect = [
        "GET /.well-known/openid-configuration HTTP/1.1",
        "GET /openid/v1/jwks HTTP/1.1",
        "POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1",
    ];
    assert_eq!(lines, expect);
    assert!(asked[2].contains("authorization: Bearer the-servers-own-token\r\n"), "{}", asked[2]);
    assert!(asked[2].contains(r#""kind":"TokenReview""#));
    assert!(!asked[0].contains("authorization") && !asked[1].contains("authorization"));
    // From now on the keys are there; the cluster has the last word, and must have one.
    let elsewhere = Act::Redirect(cluster.url("/elsewhere"));
    for act in [serving(&cluster, "k1", false), Act::Flood, elsewhere] {
        cluster.does(act);
        refused("prod", "k1").await;
        assert_eq!(cluster.asked().len(), 1, "a redirect is not followed");
    }
    // A key that nobody knows wakes nobody up just after a look, whoever asks how often.
    cluster.does(serving(&cluster, "k2", true));
    refused("prod", "k2").await;
    refused("prod", "k3").await;
    assert_eq!(cluster.asked(), Vec::<String>::new());
    // What was fetched is still there.
    node("prod", "k1").await.joins();
    assert_eq!(cluster.asked().len(), 1);
    assert_eq!(running.stop(), 0);
}

/// What is wrong in a mechanism's table is told at its line, before it could let anybody in.
#[test]
fn s7_a_mechanisms_table_is_checked_at_load() {
    let site = Site::new();
    site.policy(
        "attestation.toml",
        "[node.join_token]\nanchors = \"\"\ncolour = \"red\"\n\n[node.sshpop]\n\
         cert_authorities = [\"ssh-rsa AAAA\"]\n\n[node.gitlab_ci]\nkeys = \"{}\"\n\
         [node.gitlab_ci.claims]\nref = [\"main\"]\n\n[class.standard]\ndemands = []\nissues = []\n",
    );
    let refused = site.refused();
    assert_eq!(refused.code, 2);
    for told in [
        "attestation.toml:3:1: `join_token` has no `colour`",
        "attestation.toml:6:1: ",
        "attestation.toml:9:1: ",
        "attestation.toml:10:1: name whose hosts may join: one of `project_path`",
    ] {
        assert!(refused.err.contains(told), "{told}: {}", refused.err);
    }
}
