//! An installation below another, as processes: it gets its authority by the SVID that the node of
//! the upper one gives it, and their workloads believe each other.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use workload::{SecretText, X509Svid};

use crate::actor::{Actor, soon};
use crate::running::{DOMAIN, Running, Site, free_ports};

const AUDIENCE: &str = "https://tool.example";

/// Two installations, one below the other.
struct Tower {
    upper: Site,
    lower: Site,
}

impl Tower {
    fn new() -> Self {
        let (upper, lower) = (Site::new(), Site::new());
        let spire = free_ports();
        let domain = |nested: &str| format!("trust_domain = \"{DOMAIN}\"\n{nested}");
        upper.policy("domain.toml", &domain("[nested]\nlevels = 1\n"));
        lower.policy("domain.toml", &domain(""));
        let settings = |site: &Site, more: &str| {
            let head = format!("trust_domain = \"{DOMAIN}\"\nport_base = {}\n", site.port);
            std::fs::write(site.data.join("aims.toml"), format!("{head}{more}")).unwrap();
        };
        settings(&upper, &format!("spire_port = {spire}\n"));
        let socket = upper.data.join("workload.sock").display().to_string();
        let above =
            format!("kind = \"aims\"\nserver = \"localhost:{spire}\"\nsocket = \"{socket}\"");
        settings(&lower, &format!("[upstream_authority]\n{above}\n"));
        Self { upper, lower }
    }

    /// A record in the upper one for the program that the lower one is.
    fn register(&self, name: &str, more: &[&str]) {
        register(&self.upper, name, env!("CARGO_BIN_EXE_aims"), more);
    }
}

/// A service that runs this program.
fn register(site: &Site, name: &str, program: &str, more: &[&str]) {
    let path = std::fs::canonicalize(program).unwrap();
    let path = format!("unix:path:{}", path.display());
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let named = ["agent", "register", "--name", name, "--kind", "service", "--owner", "tests"];
    let rule = ["--class", "path", "--selector", &uid, "--selector", &path];
    let told = site.aims(&[&named[..], &rule, more].concat());
    assert_eq!(told.code, 0, "{}", told.err);
}

/// This process as a workload of an installation, reached as `localhost`.
async fn workload(site: &Site, name: &str) -> Actor {
    let own = std::env::current_exe().unwrap().display().to_string();
    register(site, name, &own, &["--dns", "localhost"]);
    let actor = Actor::of(site).await;
    assert_eq!(actor.id, format!("spiffe://{DOMAIN}/service/{name}"));
    actor
}

fn certificates(concatenated: &[u8]) -> Vec<CertificateDer<'static>> {
    let split = workload::pem::split(concatenated).unwrap();
    split.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect()
}

/// What a workload has, as any TLS library takes it.
fn parts(
    svid: &X509Svid,
) -> (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>, Arc<RootCertStore>) {
    let mut roots = RootCertStore::empty();
    for root in certificates(&svid.bundle) {
        roots.add(root).unwrap();
    }
    let key = PrivatePkcs8KeyDer::from(svid.key.expose().to_vec());
    (certificates(&svid.chain), key, Arc::new(roots))
}

/// A connection between two workloads, each with nothing but what its own node gave it.
async fn mutual(server: &Actor, client: &Actor) -> std::io::Result<Vec<u8>> {
    let (chain, key, roots) = parts(&server.x509().await);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key.into())
        .unwrap();
    let (chain, key, roots) = parts(&client.x509().await);
    let asked = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key.into())
        .unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = async {
        let mut tls = TlsAcceptor::from(Arc::new(config)).accept(far).await?;
        let shown = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
        tls.write_all(&shown).await?;
        tls.shutdown().await
    };
    let asking = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = TlsConnector::from(Arc::new(asked)).connect(name, near).await?;
        let mut seen = Vec::new();
        tls.read_to_end(&mut seen).await?;
        Ok::<_, std::io::Error>(seen)
    };
    let (served, seen) = tokio::join!(serving, asking);
    served?;
    seen
}

/// Both ways, and each sees whom it speaks with.
async fn believe_each_other(one: &Actor, other: &Actor) {
    for (server, client) in [(one, other), (other, one)] {
        let seen = mutual(server, client).await.unwrap();
        let leaf = x509::Certificate::parse(&seen).unwrap();
        assert_eq!(leaf.uri_names(), std::slice::from_ref(&client.id));
    }
}

/// Whose JWT-SVID it is, by the word of the node of `by`.
async fn validated(by: &Actor, of: &Actor) -> Option<String> {
    let token = SecretText::new(of.jwt(AUDIENCE).await);
    let validated = by.workloads().validate_jwt(AUDIENCE, &token).await;
    validated.ok().map(|validated| validated.spiffe_id.to_string())
}

/// req: CRED-12 (part), CRED-02 (part), CRED-03 (part), AUTHN-01 (part)
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_below_another_shares_its_trust_domain() {
    let tower = Tower::new();
    let upper_up = tower.upper.up();
    tower.register("below", &["--downstream"]);
    let lower_up = tower.lower.up();
    let here = workload(&tower.upper, "here").await;
    let there = workload(&tower.lower, "there").await;
    assert_eq!(certificates(&here.x509().await.chain).len(), 1);
    assert_eq!(certificates(&there.x509().await.chain).len(), 2);
    assert_eq!(here.x509().await.bundle, there.x509().await.bundle);
    believe_each_other(&here, &there).await;
    // Keys of JWT-SVIDs go up by an announcement, and down with the next look.
    for (by, of) in [(&here, &there), (&there, &here)] {
        let id = soon(async || validated(by, of).await).await;
        assert_eq!(id, of.id);
    }
    let doctor = tower.lower.aims(&["doctor", "--all"]);
    assert!(doctor.out.contains("upstream authority: the server at localhost:"), "{}", doctor.out);

    // The upper one is away: what there is serves, also after a restart of the lower one.
    assert_eq!(upper_up.stop(), 0);
    let known = there.x509().await;
    assert_eq!(lower_up.stop(), 0);
    let lower_up = tower.lower.up();
    let again = Actor::of(&tower.lower).await;
    assert_eq!(again.x509().await.bundle, known.bundle);
    soon(async || {
        let doctor = tower.lower.aims(&["doctor", "--all"]);
        doctor.out.contains("gives no intermediate since").then_some(())
    })
    .await;
    let upper_up = tower.upper.up();
    let here = Actor::of(&tower.upper).await;
    believe_each_other(&here, &again).await;

    // Its record ends: its keys go, and it gets no other authority.
    let told = tower.upper.aims(&["agent", "revoke", "below", "--reason", "a test"]);
    assert_eq!(told.code, 0, "{}", told.err);
    soon(async || validated(&here, &again).await.is_none().then_some(())).await;
    let rotate = ["authority", "rotate", "x509-authority", "--in", "1s", "--reason", "a test"];
    assert_ne!(tower.lower.aims(&rotate).code, 0);
    drop((upper_up, lower_up));
}

/// Whoever is registered without `--downstream`, or not at all, gets no authority.
/// req: CRED-02 (part)
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_is_not_registered_as_one_below_does_not_start() {
    let tower = Tower::new();
    let _upper: Running = tower.upper.up();
    let ended = tower.lower.refused();
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("our svid of `unix://"), "{}", ended.err);
    tower.register("plain", &[]);
    let ended = tower.lower.refused();
    let why = format!("`spiffe://{DOMAIN}/service/plain` is no downstream server");
    assert!(ended.err.contains(&why), "{}", ended.err);
    let told = tower.upper.aims(&["audit", "tail", "--output", "json"]);
    assert!(told.out.contains("nested::NotDownstream"), "{}", told.out);
    // A model is never an authority.
    let refused = tower.upper.aims(&[
        "agent",
        "register",
        "--name",
        "model",
        "--kind",
        "agent",
        "--owner",
        "tests",
        "--class",
        "path",
        "--selector",
        "unix:uid:1",
        "--selector",
        "unix:path:/opt/model",
        "--downstream",
    ]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("`downstream` is for a service"), "{}", refused.err);
}
