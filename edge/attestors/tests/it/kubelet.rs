//! A kubelet on a real socket, in plain HTTP as its read-only port and in TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestors::kubelet::{Kubelet, KubeletError};
use attestors::{Attestors, MeasureError, Peer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::child::{Meeting, Started};
use crate::incgroup::InCgroup;

const PODS: &str = include_str!("../../../../stack/process/vectors/kubernetes/pods.json");
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

/// A kubelet that gives these answers, the last for ever, and what it was asked.
async fn kubelet(answers: Vec<String>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        for turn in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let request = answer(stream, &answers[turn.min(answers.len() - 1)]).await;
            heard.lock().unwrap().push(request);
        }
    });
    (address, asked)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn at(address: SocketAddr) -> Attestors {
    let none = Path::new("/none");
    let kubelet = Kubelet::new(&format!("http://{address}"), none, None, none).unwrap();
    Attestors { kubernetes: Some(kubelet), ..Attestors::default() }
}

/// A process in the cgroup of a container whose id is this digit.
struct Scene {
    _met: Meeting,
    _started: Started,
    peer: Peer,
    _cgroup: InCgroup,
}

impl Scene {
    fn new(test: &str, digit: &str) -> Option<Self> {
        let id = digit.repeat(64);
        let cgroup = InCgroup::new(&format!("aims-test-{test}/kubepods/pod{UID}/{id}"))?;
        let met = Meeting::new();
        let started = Started::new(&met.program("agent"), &["connect", &met.socket()]).ready();
        let peer = Peer::of(met.accept()).unwrap();
        cgroup.take(started.pid());
        Some(Self { _met: met, _started: started, peer, _cgroup: cgroup })
    }
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_process_in_a_pod_is_told_by_what_the_kubelet_says_once_it_says_it() {
    let Some(scene) = Scene::new("pod", "a") else { return };
    let not_yet = ok(r#"{"items":null}"#);
    // The list of before its container was started again, then the one of now.
    let before = ok(&PODS.replace(&"a".repeat(64), &"d".repeat(64)));
    let (address, asked) = kubelet(vec![not_yet, before, ok(PODS)]).await;
    let attestors = at(address);
    let measured = attestors.measure(&scene.peer).await.unwrap();
    let found: Vec<_> = measured.platform.iter().map(ToString::to_string).collect();
    for expect in ["k8s:ns:research", "k8s:sa:researcher", "k8s:container-name:agent"] {
        assert!(found.contains(&expect.to_owned()), "{found:?}");
    }
    assert_eq!(found.len(), 20);
    let request = "GET /pods HTTP/1.1\r\n";
    assert!(asked.lock().unwrap().iter().all(|one| one.starts_with(request)));
    assert_eq!(asked.lock().unwrap().len(), 3);
    attestors.measure(&scene.peer).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 3, "a fresh list serves for more than one");
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_container_that_the_kubelet_never_shows_is_refused() {
    let Some(scene) = Scene::new("run-before", "d") else { return };
    let (address, _) = kubelet(vec![ok(PODS)]).await;
    let refused = at(address).measure(&scene.peer).await.unwrap_err();
    let id = "d".repeat(64);
    assert_eq!(refused, MeasureError::Kubernetes(KubeletError::Unknown { id }));
    assert!(refused.is_temporary());
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_kubelet_that_does_not_tell_refuses_the_process() {
    let Some(scene) = Scene::new("refused", "a") else { return };
    let unauthorized = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned();
    let (address, _) = kubelet(vec![unauthorized, ok("Unauthorized")]).await;
    let attestors = at(address);
    for expect in ["the kubelet answered with status 401", "the list of pods does not read"] {
        let refused = attestors.measure(&scene.peer).await.unwrap_err();
        assert!(refused.to_string().contains(expect), "{refused}");
        assert!(!refused.is_temporary());
    }
    // Nobody is told by a list of pods who is in none.
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let outside = attestors.measure(&Peer::of(&socket).unwrap()).await.unwrap();
    assert!(outside.platform.is_empty());
}

/// The kubelet proves who it is, and gets the token of now.
/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_kubelet_is_believed_by_its_certificate_and_asked_with_the_token() {
    let Some(scene) = Scene::new("tls", "a") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=kubelet", "-addext", "subjectAltName=DNS:worker-1", "-days", "1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(file("key"))
        .arg("-out")
        .arg(file("ca"))
        .output();
    let Ok(made) = made else { return };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pem = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let acceptor = acceptor(&pem("ca"), &pem("key"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                return answer(stream, &ok(PODS)).await;
            }
        }
    });
    std::fs::write(file("token"), "abc.def\n").unwrap();
    let url = format!("https://{address}");
    let of = |name: &str| {
        let kubelet = Kubelet::new(&url, &file("ca"), Some(name), &file("token")).unwrap();
        Attestors { kubernetes: Some(kubelet), ..Attestors::default() }
    };
    let refused = of("worker-2").measure(&scene.peer).await.unwrap_err();
    assert!(refused.to_string().contains("the kubelet cannot be reached"), "{refused}");
    assert_eq!(of("worker-1").measure(&scene.peer).await.unwrap().platform.len(), 20);
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap().unwrap();
    assert!(asked.contains("authorization: Bearer abc.def\r\n"), "{asked}");
}

fn acceptor(certificate: &str, key: &str) -> tokio_rustls::TlsAcceptor {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config).into()
}
