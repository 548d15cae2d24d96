//! Docker's daemon on a real socket: what it says counts only for the process that is where its
//! container is. `tests/peers/docker.sh` asks a daemon that is not ours.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use attestors::docker::{Daemons, DockerError};
use attestors::{AskError, Attestors, MeasureError, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::child::{Meeting, Started};
use crate::incgroup::InCgroup;

/// A daemon that answers the n-th question by `answer`, and how many it was asked.
fn daemon(
    socket: &Path,
    answer: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(socket).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let path = "GET /containers/".len();
            assert!(request.starts_with(b"GET /containers/") && request.len() > path + 64);
            let answer = answer(count.fetch_add(1, Ordering::SeqCst));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    asked
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn told(id: &str, pid: i32, started: &str) -> String {
    ok(&format!(
        r#"{{"Id":"{id}","Image":"sha256:{id}","State":{{"Running":true,"Pid":{pid},
           "StartedAt":"{started}"}},"Config":{{"Image":"tiny:1","Env":["STAGE=prod"],
           "Labels":{{"team":"research"}}}}}}"#
    ))
}

/// A process in a container's cgroup, and who is asked about it.
struct Scene {
    met: Meeting,
    started: Started,
    peer: Peer,
    cgroup: InCgroup,
    id: String,
    attestors: Attestors,
}

impl Scene {
    fn new(digit: &str) -> Option<Self> {
        let id = digit.repeat(64);
        let cgroup = InCgroup::new(&format!("aims-test-docker/{id}"))?;
        let met = Meeting::new();
        let program = met.program("agent");
        let started = Started::new(&program, &["connect", &met.socket()]).ready();
        let peer = Peer::of(met.accept()).unwrap();
        cgroup.take(started.pid());
        let docker = Some(met.path("docker"));
        let daemons = Daemons { docker, podman: None };
        let attestors = Attestors { docker: Some(daemons), ..Attestors::default() };
        Some(Self { met, started, peer, cgroup, id, attestors })
    }

    fn daemon(&self, answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Arc<AtomicUsize> {
        daemon(&self.met.path("docker"), answer)
    }

    async fn refused(&self) -> DockerError {
        match self.attestors.measure(&self.peer).await {
            Err(MeasureError::Docker(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_process_in_a_container_is_told_by_what_the_daemon_says() {
    let Some(scene) = Scene::new("1") else { return };
    let (id, pid) = (scene.id.clone(), scene.started.pid());
    let asked = scene.daemon(move |_| told(&id, pid, "a"));
    let measured = scene.attestors.measure(&scene.peer).await.unwrap();
    let found: Vec<_> = measured.platform.iter().map(ToString::to_string).collect();
    let digest = format!("docker:image_config_digest:sha256:{}", scene.id);
    let expect =
        ["docker:env:STAGE=prod", &digest, "docker:image_id:tiny:1", "docker:label:team:research"];
    assert_eq!(found, expect);
    assert_eq!(asked.load(Ordering::SeqCst), 2, "before and after its first process was looked at");
}

#[tokio::test]
async fn s7_a_process_in_no_container_has_no_facts_of_one() {
    let met = Meeting::new();
    let asked = daemon(&met.path("docker"), |_| ok("{}"));
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let docker = Some(met.path("docker"));
    let daemons = Daemons { docker, podman: None };
    let attestors = Attestors { docker: Some(daemons), ..Attestors::default() };
    let measured = attestors.measure(&Peer::of(&socket).unwrap()).await.unwrap();
    assert!(measured.platform.is_empty());
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

/// A cgroup of the container's name is not yet the container.
/// req: ATT-02 (part), SEC-04 (part)
#[tokio::test]
async fn s7_a_cgroup_that_only_has_the_name_of_a_container_is_refused() {
    let Some(scene) = Scene::new("2") else { return };
    let own = i32::try_from(std::process::id()).unwrap();
    let id = scene.id.clone();
    let _daemon = scene.daemon(move |_| told(&id, own, "a"));
    let expect = DockerError::Elsewhere { id: scene.id.clone(), pid: own };
    assert_eq!(scene.refused().await, expect);
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_container_that_was_started_again_meanwhile_is_refused() {
    let Some(scene) = Scene::new("3") else { return };
    let (id, pid) = (scene.id.clone(), scene.started.pid());
    let _daemon = scene.daemon(move |turn| told(&id, pid, ["a", "b"][turn]));
    assert_eq!(scene.refused().await, DockerError::Changed { id: scene.id.clone() });
}

/// An attestor that is switched on and does not answer refuses: with fewer facts the process could
/// be taken for another agent.
/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_daemon_that_does_not_tell_refuses_the_process() {
    let Some(scene) = Scene::new("4") else { return };
    let refused = scene.attestors.measure(&scene.peer).await.unwrap_err();
    assert!(refused.is_temporary(), "{refused}");
    let away = scene.refused().await;
    let socket = scene.met.path("docker").display().to_string();
    assert!(matches!(
        &away,
        DockerError::Daemon { socket: at, why: AskError::Unreachable { .. } } if *at == socket
    ));
    let id = scene.id.clone();
    let _daemon = scene.daemon(move |turn| match turn {
        0 => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        1 => "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        2 => ok("{}"),
        3 => told(&"9".repeat(64), 1, "a"),
        _ => told(&id, i32::MAX, "a"),
    });
    assert_eq!(scene.refused().await, DockerError::Unknown { id: scene.id.clone() });
    let why = AskError::Status { status: 500 };
    assert_eq!(scene.refused().await, DockerError::Daemon { socket, why });
    assert!(matches!(scene.refused().await, DockerError::Answer(_)));
    assert!(matches!(scene.refused().await, DockerError::Answer(_)));
    assert_eq!(scene.refused().await, DockerError::Changed { id: scene.id.clone() });
}

/// PID reuse: what was read of an id that was given up counts for nobody.
/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_process_that_exits_while_the_daemon_is_asked_is_refused() {
    let Some(scene) = Scene::new("5") else { return };
    let (id, pid) = (scene.id.clone(), scene.started.pid());
    let _daemon = scene.daemon(move |_| {
        let process = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        told(&id, pid, "a")
    });
    let refused = scene.attestors.measure(&scene.peer).await;
    assert_eq!(refused.err(), Some(MeasureError::Exited { pid }));
}

#[tokio::test]
async fn s7_a_process_that_moves_while_it_is_measured_is_refused() {
    let Some(scene) = Scene::new("6") else { return };
    let (id, pid, root) = (scene.id.clone(), scene.started.pid(), scene.cgroup.root());
    let _daemon = scene.daemon(move |turn| {
        if turn == 1 {
            std::fs::write(root.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        told(&id, pid, "a")
    });
    let refused = scene.attestors.measure(&scene.peer).await;
    assert_eq!(refused.err(), Some(MeasureError::Moved));
}

/// In a PID namespace of its own it has another id there; here it has ours.
/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_process_in_a_pid_namespace_below_ours_is_told_by_its_id_here() {
    let id = "7".repeat(64);
    let Some(cgroup) = InCgroup::new(&format!("aims-test-docker/{id}")) else { return };
    let met = Meeting::new();
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).arg(met.program("agent"));
    let _started = Started::by(command.args(["connect", &met.socket()])).ready();
    let peer = Peer::of(met.accept()).unwrap();
    let pid = peer.pid();
    assert_ne!(pid, 1);
    cgroup.take(pid);
    let own = id.clone();
    let _daemon = daemon(&met.path("docker"), move |_| told(&own, pid, "a"));
    let daemons = Daemons { docker: Some(met.path("docker")), podman: None };
    let attestors = Attestors { docker: Some(daemons), ..Attestors::default() };
    assert_eq!(attestors.measure(&peer).await.unwrap().platform.len(), 4);
}
