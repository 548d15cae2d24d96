//! Nodes of their own, as processes: each joins by what its host has, or is refused.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attestation::oidc::audience;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jose::{Algorithm, KeyId, KeySet, PrivateKey, SigningInput};
use oauth::id_token::IdToken;
use serde_json::json;
use wiring::world::SystemClock;

use crate::Ended;
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

/// A policy that allows four ways.
fn policy() -> String {
    let key = PrivateKey::from_jwk_private_text(CLUSTER_KEY).unwrap();
    let jwk = key.public().to_jwk().with_kid(KeyId::parse("k1").unwrap());
    let keys = serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap();
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

fn pod_token() -> String {
    let key = PrivateKey::from_jwk_private_text(CLUSTER_KEY).unwrap();
    let now = SystemClock::read().seconds();
    let claims = json!({
        "iss": "https://cluster.example", "sub": "system:serviceaccount:aims:node",
        "aud": [audience(DOMAIN)], "iat": now - 1, "exp": now + 600,
        "kubernetes.io": {
            "namespace": "aims", "serviceaccount": { "name": "node", "uid": "sa-1" },
            "pod": { "name": "node-x7", "uid": "pod-1" },
            "node": { "name": "worker-1", "uid": "node-1" }
        }
    });
    let claims = serde_json::from_value(claims).unwrap();
    let kid = KeyId::parse("k1").unwrap();
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

    // The server has no client for it: refused, and the host learns no more than that.
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
