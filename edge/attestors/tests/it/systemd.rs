//! A bus on a real socket with systemd's manager behind it, as far as it is asked.
//! `tests/peers/systemd.sh` has a bus and a manager that are not ours.

use std::path::Path;

use attestors::systemd::{Bus, SystemdError};
use attestors::{Attestors, MeasureError, Peer};
use dbus::{BodyText, HEAD_BYTES, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::child::{Meeting, Started};
use crate::incgroup::InCgroup;

const MANAGER: &str = ":1.1";

/// Answers the method of a call, in the name of the connection that it gives.
type Answers = fn(&Message) -> (&'static str, BodyText<'static>);

/// A bus whose peers answer so.
fn bus(socket: &Path, answers: Answers) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(talk(stream, answers));
        }
    });
}

async fn talk(mut stream: UnixStream, answers: Answers) {
    for (expect, answer) in [("\0AUTH EXTERNAL ", "OK 1234\r\n"), ("BEGIN", "")] {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        assert!(line.starts_with(expect.as_bytes()));
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    let mut head = [0; HEAD_BYTES];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut bytes = head.to_vec();
        bytes.resize(dbus::length_of(&head).unwrap(), 0);
        stream.read_exact(&mut bytes[HEAD_BYTES..]).await.unwrap();
        let call = Message::parse(&bytes).unwrap();
        let (sender, body) = answers(&call);
        // Somebody else answers first, and is not heard.
        for (sender, body) in [(":1.9", BodyText::Variant("forged.service")), (sender, body)] {
            let answer = dbus::reply(7, call.serial, ":1.2", body);
            stream.write_all(&sent_by(&answer, sender)).await.unwrap();
        }
    }
}

/// The message as a bus passes it on: with the field that tells who sent it.
fn sent_by(message: &[u8], sender: &str) -> Vec<u8> {
    let fields = u32::from_le_bytes(message[12..16].try_into().unwrap()) as usize;
    let mut all = message[..16 + fields].to_vec();
    all.resize(all.len().next_multiple_of(8), 0);
    all.extend([7, 1, b's', 0]);
    all.extend(u32::try_from(sender.len()).unwrap().to_le_bytes());
    all.extend(sender.as_bytes());
    all.push(0);
    let length = u32::try_from(all.len() - 16).unwrap();
    all[12..16].copy_from_slice(&length.to_le_bytes());
    all.resize(all.len().next_multiple_of(8), 0);
    all.extend(&message[(16 + fields).next_multiple_of(8)..]);
    all
}

fn usual(call: &Message) -> (&'static str, BodyText<'static>) {
    match call.member.as_deref().unwrap() {
        "Hello" => ("org.freedesktop.DBus", BodyText::Text(":1.2")),
        "GetNameOwner" => ("org.freedesktop.DBus", BodyText::Text(MANAGER)),
        "GetUnitByPID" => {
            assert!(call.number().is_some());
            (MANAGER, BodyText::Object("/org/freedesktop/systemd1/unit/aims_test"))
        }
        "Get" => match call.path.as_deref() {
            Some("/org/freedesktop/systemd1/unit/aims_test") => property(call),
            path => panic!("{path:?}"),
        },
        other => panic!("{other}"),
    }
}

/// The second text of the arguments names it.
fn property(call: &Message) -> (&'static str, BodyText<'static>) {
    let is_id = format!("{call:?}").contains(&format!("{:?}", b"Id\0").replace(['[', ']'], ""));
    let path = "/etc/systemd/system/aims-test.service";
    (MANAGER, BodyText::Variant(if is_id { "aims-test.service" } else { path }))
}

struct Scene {
    met: Meeting,
    started: Started,
    peer: Peer,
    attestors: Attestors,
}

impl Scene {
    fn new() -> Self {
        let met = Meeting::new();
        let started = Started::new(&met.program("agent"), &["connect", &met.socket()]).ready();
        let peer = Peer::of(met.accept()).unwrap();
        let systemd = Some(Bus(met.path("bus")));
        let attestors = Attestors { systemd, ..Attestors::default() };
        Self { met, started, peer, attestors }
    }

    async fn refused(&self) -> MeasureError {
        self.attestors.measure(&self.peer).await.unwrap_err()
    }
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_process_is_told_by_its_unit() {
    let scene = Scene::new();
    bus(&scene.met.path("bus"), usual);
    let pid = scene.started.pid();
    let unit = "aims-test.service".to_owned();
    let elsewhere = MeasureError::Systemd(SystemdError::Elsewhere { unit, pid });
    assert_eq!(scene.refused().await, elsewhere, "its cgroup is not the unit's");
    let Some(cgroup) = InCgroup::new("aims-test.slice/aims-test.service") else { return };
    cgroup.take(pid);
    let measured = scene.attestors.measure(&scene.peer).await.unwrap();
    let found: Vec<_> = measured.platform.iter().map(ToString::to_string).collect();
    let expect = [
        "systemd:fragment_path:/etc/systemd/system/aims-test.service",
        "systemd:id:aims-test.service",
    ];
    assert_eq!(found, expect);
    drop(scene);
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_process_of_no_unit_has_none_and_another_error_refuses() {
    let scene = Scene::new();
    bus(&scene.met.path("bus"), |call| match call.member.as_deref() {
        Some("GetUnitByPID") => (MANAGER, BodyText::Error("org.freedesktop.systemd1.NoUnitForPID")),
        _ => usual(call),
    });
    assert!(scene.attestors.measure(&scene.peer).await.unwrap().platform.is_empty());

    let scene = Scene::new();
    bus(&scene.met.path("bus"), |call| match call.member.as_deref() {
        Some("GetNameOwner") => {
            let name = "org.freedesktop.DBus.Error.NameHasNoOwner";
            ("org.freedesktop.DBus", BodyText::Error(name))
        }
        _ => usual(call),
    });
    let name = "org.freedesktop.DBus.Error.NameHasNoOwner".to_owned();
    assert_eq!(scene.refused().await, MeasureError::Systemd(SystemdError::Refused { name }));
}

#[tokio::test]
async fn s7_a_bus_that_is_away_refuses_the_process() {
    let scene = Scene::new();
    let refused = scene.refused().await;
    assert!(refused.is_temporary() && refused.check() == "measure::Systemd", "{refused}");
}
