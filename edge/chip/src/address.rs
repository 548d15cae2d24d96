//! Where the TPM is, and the way there.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use tpm::STRUCTURE_BYTES_MAX;

/// How long a TPM may take for a command. Making an RSA key takes some of them half a minute.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(90);
/// The length of the header of a response, in bytes: tag, size, code.
const HEADER_BYTES: usize = 10;

/// Where a TPM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A character device: `/dev/tpmrm0`, the kernel's resource manager.
    Device(PathBuf),
    /// A TCP port of this machine, where an emulator takes raw commands.
    Tcp(SocketAddr),
    /// A unix socket, where an emulator takes raw commands.
    Unix(PathBuf),
}

impl Address {
    /// `/dev/tpmrm0`, `tcp:127.0.0.1:2321` or `unix:/run/swtpm.sock`.
    pub fn parse(text: &str) -> Result<Self, NotATpm> {
        let wrong = || NotATpm(text.chars().take(256).collect());
        if let Some(address) = text.strip_prefix("tcp:") {
            let address: SocketAddr = address.parse().map_err(|_| wrong())?;
            // Commands carry authorizations in the clear.
            return if address.ip().is_loopback() { Ok(Self::Tcp(address)) } else { Err(wrong()) };
        }
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            None if text.starts_with('/') => Ok(Self::Device(PathBuf::from(text))),
            _ => Err(wrong()),
        }
    }

    pub(crate) fn open(&self) -> io::Result<Transport> {
        match self {
            Self::Device(path) => {
                OpenOptions::new().read(true).write(true).open(path).map(Transport::Device)
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, COMMAND_TIME_MAX)?;
                stream.set_read_timeout(Some(COMMAND_TIME_MAX))?;
                stream.set_nodelay(true)?;
                Ok(Transport::Stream(Box::new(stream)))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(COMMAND_TIME_MAX))?;
                Ok(Transport::Stream(Box::new(stream)))
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// No place where a TPM is looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no place of a tpm: write `/dev/tpmrm0`, or `tcp:127.0.0.1:PORT` or `unix:/PATH` for \
     an emulator on this machine"
)]
pub struct NotATpm(String);

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// An open way to a TPM.
pub(crate) enum Transport {
    Device(File),
    Stream(Box<dyn Stream>),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    /// One command, one response, both whole.
    pub(crate) fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut response = vec![0; STRUCTURE_BYTES_MAX];
        let length = match self {
            // The device takes a command in one write and gives its response in one read.
            Self::Device(file) => {
                let written = file.write(command)?;
                if written != command.len() {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                file.read(&mut response)?
            }
            Self::Stream(stream) => {
                stream.write_all(command)?;
                stream.flush()?;
                read_framed(stream.as_mut(), &mut response)?
            }
        };
        response.truncate(length);
        Ok(response)
    }
}

/// A response as long as its header says.
fn read_framed(stream: &mut dyn Stream, response: &mut [u8]) -> io::Result<usize> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let (header, rest) = response.split_at_mut_checked(HEADER_BYTES).ok_or_else(invalid)?;
    stream.read_exact(header)?;
    let size = header.get(2..6).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
    let size = size.and_then(|size| usize::try_from(size).ok()).ok_or_else(invalid)?;
    let body = size.checked_sub(HEADER_BYTES).and_then(|body| rest.get_mut(..body));
    stream.read_exact(body.ok_or_else(invalid)?)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tpm_is_on_this_machine() {
        for good in ["/dev/tpmrm0", "tcp:127.0.0.1:2321", "tcp:[::1]:2321", "unix:/run/swtpm.sock"]
        {
            assert_eq!(Address::parse(good).map(|it| it.to_string()), Ok(good.to_owned()));
        }
        for bad in
            ["", "tpmrm0", "tcp:192.0.2.1:2321", "tcp:localhost:1", "tcp:127.0.0.1", "unix:a"]
        {
            assert_eq!(Address::parse(bad), Err(NotATpm(bad.to_owned())));
        }
    }

    #[test]
    fn a_response_has_the_length_that_it_says() {
        let check = |sent: &[u8], expect: Option<usize>| {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(sent).unwrap();
            drop(theirs);
            let found = read_framed(&mut ours, &mut [0; STRUCTURE_BYTES_MAX]);
            assert_eq!(found.ok(), expect);
        };
        check(&[0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 7], Some(12));
        check(&[0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7], None);
        check(&[0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0], None);
        check(&[0x80, 1, 0, 0, 0x10, 1, 0, 0, 0, 0, 7], None);
        check(&[0x80, 1, 0], None);
    }
}
