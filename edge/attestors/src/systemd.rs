//! The unit of a process, from systemd's manager over the system bus
//! (<https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html>; the
//! pure half is `attestation::systemd`).
//!
//! Trusting it means to trust the bus: it says which connection is systemd's, and only that one's
//! answers count.

use std::path::{Path, PathBuf};

use attestation::cgroup::Cgroups;
use attestation::selector::{SelectorError, Selectors};
use attestation::systemd::Unit;
use dbus::{Argument, Call, HEAD_BYTES, Kind, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::ask::{AskError, in_time};

/// Where the system bus listens.
pub const USUAL_BUS: &str = "/run/dbus/system_bus_socket";

/// Messages that may come before an answer: signals that nobody asked for.
const MESSAGES_MAX: usize = 64;
const BUS: &str = "org.freedesktop.DBus";
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// The error of a process that is in no unit.
const NO_UNIT: &str = "org.freedesktop.systemd1.NoUnitForPID";

/// The system bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus(pub PathBuf);

impl Bus {
    /// The selectors of a process's unit; none where it is in none. That the process lives
    /// afterwards is the caller's to ask: only then was the id its own all the while.
    pub(crate) async fn selectors(
        &self,
        pid: i32,
        cgroups: &Cgroups,
    ) -> Result<Selectors, SystemdError> {
        let fault = |why| SystemdError::Bus { socket: self.0.display().to_string(), why };
        let unit = in_time(async {
            let mut talk = Talk::begin(&self.0).await?;
            Ok(unit(&mut talk, pid).await)
        });
        let Some(unit) = unit.await.map_err(fault)?? else { return Ok(Selectors::default()) };
        // The manager of another PID namespace, or of another machine, knows other processes by
        // this id.
        if !cgroups.names(&unit.id) {
            return Err(SystemdError::Elsewhere { unit: unit.id, pid });
        }
        Ok(unit.selectors()?)
    }
}

async fn unit(talk: &mut Talk, pid: i32) -> Result<Option<Unit>, SystemdError> {
    let number = u32::try_from(pid).map_err(|_| SystemdError::Answer)?;
    let bus = Call {
        destination: BUS,
        path: "/org/freedesktop/DBus",
        interface: BUS,
        member: "GetNameOwner",
        arguments: &[Argument::Text(SYSTEMD)],
    };
    let manager = talk.call(&bus, BUS).await?.text_of()?;
    let asked = Call {
        destination: &manager,
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "GetUnitByPID",
        arguments: &[Argument::Number(number)],
    };
    let answer = talk.call(&asked, &manager).await?;
    if answer.0.error.as_deref() == Some(NO_UNIT) {
        return Ok(None);
    }
    let path = answer.text_of()?;
    let mut property = async |name: &str| {
        let arguments = [Argument::Text("org.freedesktop.systemd1.Unit"), Argument::Text(name)];
        let asked = Call {
            destination: &manager,
            path: &path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &arguments,
        };
        talk.call(&asked, &manager).await?.text_of()
    };
    Ok(Some(Unit { id: property("Id").await?, fragment_path: property("FragmentPath").await? }))
}

/// A connection to a bus, authenticated and greeted.
struct Talk {
    stream: UnixStream,
    serial: u32,
}

/// The answer to a call.
struct Answer(Message);

impl Answer {
    fn text_of(&self) -> Result<String, SystemdError> {
        match (&self.0.error, self.0.kind, self.0.text()) {
            (Some(name), Kind::Error, _) => Err(SystemdError::Refused { name: name.clone() }),
            (_, Kind::Return, Some(text)) if !text.contains('\n') => Ok(text.to_owned()),
            _ => Err(SystemdError::Answer),
        }
    }
}

impl Talk {
    async fn begin(socket: &Path) -> Result<Self, AskError> {
        let unreachable = |error: std::io::Error| AskError::unreachable(&error);
        let mut stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        let uid = nix::unistd::geteuid().as_raw();
        stream.write_all(&dbus::external(uid)).await.map_err(unreachable)?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() >= dbus::LINE_BYTES_MAX {
                return Err(AskError::TooLong { max: dbus::LINE_BYTES_MAX });
            }
            line.push(stream.read_u8().await.map_err(unreachable)?);
        }
        if !line.starts_with(dbus::ACCEPTED.as_bytes()) {
            return Err(AskError::unreachable(&"it does not believe that we are who we are"));
        }
        stream.write_all(dbus::BEGIN).await.map_err(unreachable)?;
        let mut talk = Self { stream, serial: 0 };
        let hello = Call {
            destination: BUS,
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member: "Hello",
            arguments: &[],
        };
        let greeted = talk.call(&hello, BUS).await;
        greeted.map_err(|error| AskError::unreachable(&error)).map(|_| talk)
    }

    /// Calls, and waits for the answer of `from`; what others say meanwhile is not heard.
    async fn call(&mut self, call: &Call<'_>, from: &str) -> Result<Answer, SystemdError> {
        let broken = |error: std::io::Error| SystemdError::Broken { kind: error.kind() };
        self.serial = self.serial.saturating_add(1);
        self.stream.write_all(&call.to_bytes(self.serial)).await.map_err(broken)?;
        for _ in 0..MESSAGES_MAX {
            let mut head = [0; HEAD_BYTES];
            self.stream.read_exact(&mut head).await.map_err(broken)?;
            let length = dbus::length_of(&head).map_err(|_| SystemdError::Answer)?;
            let mut bytes = head.to_vec();
            bytes.resize(length, 0);
            let rest = bytes.get_mut(HEAD_BYTES..).unwrap_or_default();
            self.stream.read_exact(rest).await.map_err(broken)?;
            let message = Message::parse(&bytes).map_err(|_| SystemdError::Answer)?;
            let is_answer = matches!(message.kind, Kind::Return | Kind::Error)
                && message.answers == Some(self.serial);
            // An error may come from the bus itself: that nobody is there any more.
            let sender = message.sender.as_deref();
            let may_answer =
                sender == Some(from) || (sender == Some(BUS) && message.kind == Kind::Error);
            if is_answer && may_answer {
                return Ok(Answer(message));
            }
        }
        Err(SystemdError::Answer)
    }
}

/// Why the unit of a process cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SystemdError {
    /// The bus did not answer.
    #[error("the system bus at `{socket}` {why}")]
    Bus {
        /// Its socket.
        socket: String,
        /// What happened.
        why: AskError,
    },
    /// The connection broke.
    #[error("the system bus broke off: {kind}")]
    Broken {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// systemd, or the bus, said no.
    #[error("systemd says `{name}`")]
    Refused {
        /// The error's name.
        name: String,
    },
    /// What came back is no answer to what was asked.
    #[error("systemd's answer makes no sense")]
    Answer,
    /// The process's cgroup is not the unit's.
    #[error("systemd says that process {pid} is of `{unit}`, and its cgroup does not")]
    Elsewhere {
        /// The unit.
        unit: String,
        /// The process.
        pid: i32,
    },
    /// It has a name that cannot stand in a selector.
    #[error(transparent)]
    Selectors(#[from] SelectorError),
}

impl SystemdError {
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Bus { why, .. } => why.is_temporary(),
            Self::Broken { .. } | Self::Refused { .. } => true,
            _ => false,
        }
    }
}
