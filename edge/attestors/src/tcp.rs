//! Which process holds the client's end of a loopback TCP connection: the agent proxy listens on
//! loopback, where no socket option tells who connected.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::proc::ProcError;
use crate::unix::Peer;

/// The most bytes of a connection table that are read: some 400,000 connections.
pub const TABLE_BYTES_MAX: u64 = 64 << 20;
/// The most open files of a process that are looked at.
pub const FILES_MAX: usize = 65_536;

/// The tables of this network namespace. A client may use an IPv6 socket for an IPv4 address.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// A table is not read in one instant: a row can be missed when others of its bucket go away.
const READINGS: usize = 3;

/// Whether `process` holds the client's end of an accepted loopback connection whose own address
/// is `local` and whose client's address is `peer`. A socket may be held by several processes;
/// this asks of one, and reads only that one's files. It blocks.
pub fn owner_is(process: &Peer, local: SocketAddr, peer: SocketAddr) -> Result<bool, OwnerError> {
    let held = holds_client_end(process, local, peer);
    // INVARIANT: alive now, so the id was its own all the while, and the files read are its.
    if !process.alive() {
        return Err(OwnerError::Exited { pid: process.pid() });
    }
    held
}

/// Why the owner of a connection cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// The process that was asked about is gone.
    #[error("process {pid} has exited")]
    Exited {
        /// The id that it had.
        pid: i32,
    },
    /// The connection comes from elsewhere, or goes there.
    #[error("`{address}` is no loopback address")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// There is no such connection any more: the client closed it.
    #[error("no connection from `{peer}` to `{local}`")]
    NoConnection {
        /// The client's address.
        peer: SocketAddr,
        /// Our own.
        local: SocketAddr,
    },
    /// The table of connections is too long to search.
    #[error("`{table}` is longer than {TABLE_BYTES_MAX} bytes")]
    TableTooLong {
        /// Its path.
        table: &'static str,
    },
    /// The process has too many open files to look at.
    #[error("process {pid} has more than {FILES_MAX} open files")]
    TooManyFiles {
        /// Its id.
        pid: i32,
    },
    /// A file of the kernel could not be used.
    #[error(transparent)]
    Proc(#[from] ProcError),
}

fn holds_client_end(
    process: &Peer,
    local: SocketAddr,
    peer: SocketAddr,
) -> Result<bool, OwnerError> {
    let (local, peer) = (canonical(local), canonical(peer));
    if let Some(address) = [local, peer].into_iter().find(|a| !a.ip().is_loopback()) {
        return Err(OwnerError::NotLoopback { address });
    }
    // The client's own row: seen from there, its address is the local one.
    let inode = inode_of(peer, local)?.ok_or(OwnerError::NoConnection { peer, local })?;
    holds(process.pid(), inode)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The inode of the socket that is bound to `own` and connected to `other`.
fn inode_of(own: SocketAddr, other: SocketAddr) -> Result<Option<u64>, OwnerError> {
    for _ in 0..READINGS {
        for table in TABLES {
            let found = match File::open(table) {
                Ok(file) => search(file.take(TABLE_BYTES_MAX), table, own, other)?,
                // A kernel without IPv6 has no table of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(ProcError::unreadable(table, &error).into()),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

fn search(
    from: io::Take<impl Read>,
    table: &'static str,
    own: SocketAddr,
    other: SocketAddr,
) -> Result<Option<u64>, OwnerError> {
    let mut reader = BufReader::new(from);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) if reader.get_ref().limit() == 0 => {
                return Err(OwnerError::TableTooLong { table });
            }
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(ProcError::unreadable(table, &error).into()),
        }
        match read_row(&line) {
            Some((a, b, inode)) if (a, b) == (own, other) => return Ok(Some(inode)),
            _ => {}
        }
    }
}

/// Local address, remote address and inode of one row of proc_pid_net(5)'s `tcp`; none for the
/// heading, and for sockets that no process holds.
fn read_row(row: &str) -> Option<(SocketAddr, SocketAddr, u64)> {
    let mut fields = row.split_ascii_whitespace().skip(1);
    let (local, remote) = (fields.next()?, fields.next()?);
    let inode: u64 = fields.nth(6)?.parse().ok()?;
    (inode != 0).then_some((read_address(local)?, read_address(remote)?, inode))
}

/// An address as `0100007F:1F90`: words of four bytes in the order of this machine, and the port.
fn read_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes = words.concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// Whether one of the open files of the process is the socket.
fn holds(pid: i32, inode: u64) -> Result<bool, OwnerError> {
    let folder = format!("/proc/{pid}/fd");
    let unreadable = |error: &io::Error| ProcError::unreadable(&folder, error);
    let socket = format!("socket:[{inode}]");
    for (count, file) in fs::read_dir(&folder).map_err(|e| unreadable(&e))?.enumerate() {
        if count >= FILES_MAX {
            return Err(OwnerError::TooManyFiles { pid });
        }
        let file = file.map_err(|error| unreadable(&error))?;
        // A file that was closed meanwhile is no longer held.
        if fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  \
                       1000        0 4242 1 0000000000000000 20 4 30 10 -1\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn s7_a_row_of_the_connection_table_is_read() {
        let row =
            |local: &str, inode: &str| ROW.replace("0100007F:1F90", local).replace("4242", inode);
        let check = |row: &str, expect: Option<(&str, &str, u64)>| {
            let expect =
                expect.map(|(a, b, inode)| (a.parse().unwrap(), b.parse().unwrap(), inode));
            assert_eq!(read_row(row), expect, "{row}");
        };
        check(ROW, Some(("127.0.0.1:8080", "127.0.0.1:50000", 4242)));
        check(
            &row("0000000000000000FFFF00000100007F:1F90", "9"),
            Some(("127.0.0.1:8080", "127.0.0.1:50000", 9)),
        );
        check(
            &row("00000000000000000000000001000000:1F90", "9"),
            Some(("[::1]:8080", "127.0.0.1:50000", 9)),
        );
        check(&row("0100007F:1F90", "0"), None);
        check(&row("0100007F", "1"), None);
        check(&row("0100007F00:1F90", "1"), None);
        check(&row("é100007:1F90", "1"), None);
        check("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt", None);
        check("", None);
    }

    #[test]
    fn s7_a_table_that_was_cut_off_is_refused_and_not_taken_for_empty() {
        let address = |text: &str| text.parse().unwrap();
        let search_in = |bytes: u64| {
            let (own, other) = (address("127.0.0.1:1"), address("127.0.0.1:2"));
            search(ROW.as_bytes().take(bytes), "table", own, other)
        };
        assert_eq!(search_in(1_000), Ok(None));
        let cut = Err(OwnerError::TableTooLong { table: "table" });
        assert_eq!(search_in(ROW.len() as u64), cut);
    }
}
