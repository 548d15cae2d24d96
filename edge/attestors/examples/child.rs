//! The other process of this crate's tests: it connects where it is told to, does one thing that a
//! process may do to look like another, says `ready`, and waits until its standard input closes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use attestors::{HashCache, Peer};

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["connect", socket] => stay(UnixStream::connect(socket)?),
        ["connect-untraceable", socket] => {
            nix::sys::prctl::set_dumpable(false)?;
            stay(UnixStream::connect(socket)?)
        }
        ["connect-as", user, socket] => {
            let connected = UnixStream::connect(socket)?;
            nix::unistd::setuid(user.parse::<u32>()?.into())?;
            stay(connected)
        }
        ["connect-then-run", socket, program] => {
            let connected = UnixStream::connect(socket)?;
            // The program inherits the connection as its standard error.
            Err(Command::new(program).stderr(OwnedFd::from(connected)).exec().into())
        }
        ["connect-and-leave", socket] => {
            let connected = UnixStream::connect(socket)?;
            // It inherits our standard input too, and ends when that closes.
            let heir = Command::new("cat")
                .stderr(OwnedFd::from(connected))
                .stdout(Stdio::null())
                .spawn()?;
            say(&format!("heir {}", heir.id()))
        }
        ["tcp", address] => stay(TcpStream::connect(address.parse::<SocketAddr>()?)?),
        ["measure", socket] => {
            let listener = UnixListener::bind(socket)?;
            say("ready")?;
            let (accepted, _) = listener.accept()?;
            let measured = Peer::of(&accepted).map_err(|error| format!("{error:?}"));
            let measured = measured.and_then(|peer| {
                peer.measure(&HashCache::new()).map_err(|error| format!("{error:?}"))
            });
            say(&format!("{measured:?}"))
        }
        _ => Err(format!("unknown arguments {arguments:?}").into()),
    }
}

fn stay<T>(_held: T) -> Result<(), Fault> {
    say("ready")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(line: &str) -> Result<(), Fault> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
