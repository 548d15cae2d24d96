//! The process at the client's end of a loopback TCP connection.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use attestors::Peer;
use attestors::tcp::{OwnerError, owner_is};

use crate::child::{Meeting, Started};

/// A process that is known by its unix socket.
fn known(met: &Meeting, program: &Path) -> (Started, Peer) {
    let started = Started::new(program, &["connect", &met.socket()]).ready();
    let peer = Peer::of(met.accept()).unwrap();
    (started, peer)
}

/// Ourselves.
fn ourselves() -> Peer {
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    Peer::of(&socket).unwrap()
}

fn ends(accepted: &TcpStream) -> (SocketAddr, SocketAddr) {
    (accepted.local_addr().unwrap(), accepted.peer_addr().unwrap())
}

/// req: ATT-02 (part)
#[test]
fn s7_a_loopback_connection_belongs_to_the_process_that_holds_it() {
    let met = Meeting::new();
    let (_other, other) = known(&met, &met.program("other"));
    let check = |listen: &str, connect: &dyn Fn(SocketAddr) -> SocketAddr| {
        let listener = TcpListener::bind(listen).unwrap();
        let address = connect(listener.local_addr().unwrap());
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let (local, peer) = ends(&accepted);
        assert_eq!(owner_is(&ourselves(), local, peer), Ok(true), "{listen}");
        assert_eq!(owner_is(&other, local, peer), Ok(false), "{listen}");
        // Our own end of the connection is not the client's, though this process holds both.
        assert_eq!(owner_is(&other, peer, local), Ok(false), "{listen}");
    };
    check("127.0.0.1:0", &|address| address);
    check("[::1]:0", &|address| address);
    // An IPv6 socket of the server, an IPv4 one of the client, and the other way round.
    check("[::]:0", &|address| (Ipv4Addr::LOCALHOST, address.port()).into());
    check("127.0.0.1:0", &|address| (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), address.port()).into());
}

#[test]
fn s7_another_process_holds_its_own_connection_and_not_ours() {
    let met = Meeting::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let program = met.program("agent");
    let _client = Started::new(&program, &["tcp", &address]).ready();
    let (accepted, _) = listener.accept().unwrap();
    let (local, peer) = ends(&accepted);
    assert_eq!(owner_is(&ourselves(), local, peer), Ok(false));
    let (_same_program, same_program) = known(&met, &program);
    assert_eq!(owner_is(&same_program, local, peer), Ok(false));
}

#[test]
fn s7_a_connection_that_cannot_be_told_is_refused() {
    let met = Meeting::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let (local, peer) = ends(&accepted);

    let outside: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let refused = Err(OwnerError::NotLoopback { address: outside });
    assert_eq!(owner_is(&ourselves(), local, outside), refused);
    assert_eq!(owner_is(&ourselves(), outside, peer), refused);

    let (mut started, gone) = known(&met, &met.program("agent"));
    let pid = started.pid();
    started.end();
    assert_eq!(owner_is(&gone, local, peer), Err(OwnerError::Exited { pid }));

    drop((client, accepted));
    let refused = Err(OwnerError::NoConnection { peer, local });
    // A test beside this one may be starting a program: until that runs, the copy of this process
    // has copies of both ends, and the connection stands, held by somebody else than ourselves.
    let until = Instant::now() + Duration::from_secs(10);
    let mut found = owner_is(&ourselves(), local, peer);
    while found == Ok(false) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
        found = owner_is(&ourselves(), local, peer);
    }
    assert_eq!(found, refused);
}
