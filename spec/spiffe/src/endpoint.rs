//! Where a workload endpoint listens: the value of `SPIFFE_ENDPOINT_SOCKET` (SPIFFE Workload
//! Endpoint §4).

use core::net::{IpAddr, SocketAddr};
use std::fmt;

/// Longest address that is read, in bytes.
const ADDRESS_BYTES_MAX: usize = 4096;

/// Where a workload endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A Unix domain socket, by its absolute path.
    Unix(String),
    /// A TCP socket, by IP address and port.
    Tcp(SocketAddr),
}

impl EndpointAddress {
    /// Reads `unix:///absolute/path` or `tcp://IP:port`.
    pub fn parse(text: &str) -> Result<Self, EndpointAddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(EndpointAddressError::TooLong { bytes: text.len() });
        }
        // SPIFFE Workload Endpoint §4: "no other component may be set."
        if text.contains('?') {
            return Err(EndpointAddressError::Query);
        }
        if text.contains('#') {
            return Err(EndpointAddressError::Fragment);
        }
        // SPIFFE Workload Endpoint §4: "The scheme MUST be set to either `unix` or `tcp`"
        match text.split_once(':') {
            Some(("unix", rest)) => unix(rest),
            Some(("tcp", rest)) => tcp(rest),
            _ => Err(EndpointAddressError::Scheme),
        }
    }
}

/// The form that [`EndpointAddress::parse`] reads.
impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => {
                f.write_str("unix://")?;
                path.bytes().try_for_each(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(f, "{}", char::from(byte)),
                    b'/' | b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(byte)),
                    other => write!(f, "%{other:02X}"),
                })
            }
        }
    }
}

/// Why a text is no address of a workload endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointAddressError {
    #[error("{bytes} bytes; at most {ADDRESS_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("the scheme is neither `unix:` nor `tcp:`")]
    Scheme,
    #[error("a query")]
    Query,
    #[error("a fragment")]
    Fragment,
    #[error("user information")]
    Userinfo,
    /// `unix://host/path`, or `unix://path` that was meant to be relative.
    #[error("a unix address with the authority `{0}`; write `unix:///absolute/path`")]
    UnixAuthority(String),
    #[error("a unix address without an absolute path; write `unix:///absolute/path`")]
    UnixPath,
    #[error("a percent-encoding that is none, or gives no path")]
    PercentEncoding,
    #[error("a tcp address without `//`; write `tcp://IP:port`")]
    TcpOpaque,
    #[error("`{0}` is no ip address")]
    NotAnIp(String),
    #[error("a tcp address without a port")]
    NoPort,
    #[error("`{0}` is no port")]
    Port(String),
    #[error("a tcp address with a path")]
    TcpPath,
}

// SPIFFE Workload Endpoint §4: "If the scheme is set to `unix`, then the authority component MUST
// NOT be set, and the path component MUST be set to the absolute path"
fn unix(rest: &str) -> Result<EndpointAddress, EndpointAddressError> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let authority = rest.split('/').next().unwrap_or_default();
            if authority.contains('@') {
                return Err(EndpointAddressError::Userinfo);
            }
            if !authority.is_empty() {
                return Err(EndpointAddressError::UnixAuthority(authority.to_owned()));
            }
            rest
        }
        None => rest,
    };
    if !path.starts_with('/') || path.len() == 1 {
        return Err(EndpointAddressError::UnixPath);
    }
    percent_decode(path).map(EndpointAddress::Unix).ok_or(EndpointAddressError::PercentEncoding)
}

// SPIFFE Workload Endpoint §4: "If the scheme is set to `tcp`, then the host component of the
// authority MUST be set to an IP address, and the port component of the authority MUST be set"
fn tcp(rest: &str) -> Result<EndpointAddress, EndpointAddressError> {
    let authority = rest.strip_prefix("//").ok_or(EndpointAddressError::TcpOpaque)?;
    if authority.contains('@') {
        return Err(EndpointAddressError::Userinfo);
    }
    // SPIFFE Workload Endpoint §4: "`tcp://127.0.0.1:8000/foo` is not [valid]."
    if authority.contains('/') {
        return Err(EndpointAddressError::TcpPath);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let bare = match host.strip_prefix('[') {
        Some(six) => six.strip_suffix(']').filter(|six| six.contains(':')),
        None => Some(host).filter(|host| !host.contains(':')),
    };
    let ip: Option<IpAddr> = bare.and_then(|host| host.parse().ok());
    let ip = ip.ok_or_else(|| EndpointAddressError::NotAnIp(host.to_owned()))?;
    let port = port.filter(|port| !port.is_empty()).ok_or(EndpointAddressError::NoPort)?;
    let number = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|digits| digits.parse::<u16>().ok()) {
        Some(number) if number != 0 => Ok(EndpointAddress::Tcp(SocketAddr::new(ip, number))),
        _ => Err(EndpointAddressError::Port(port.to_owned())),
    }
}

/// RFC 3986 §2.1: "A percent-encoded octet is encoded as a character triplet". `None` if it is no
/// UTF-8 or has a NUL, which ends a socket's path.
fn percent_decode(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (char::from(bytes.next()?), char::from(bytes.next()?));
        decoded.push(u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok()?);
    }
    String::from_utf8(decoded).ok().filter(|path| !path.contains('\0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// req: PROV-08 (part)
    #[test]
    fn spiffe_workload_endpoint_4_addresses_are_read() {
        let unix = |path: &str| EndpointAddress::Unix(path.to_owned());
        let tcp = |address: &str| EndpointAddress::Tcp(address.parse().unwrap());
        for (text, expect) in [
            ("unix:///p", unix("/p")),
            ("unix:/p", unix("/p")),
            ("unix:///run/aims/workload.sock", unix("/run/aims/workload.sock")),
            ("unix:///a%20b", unix("/a b")),
            ("tcp://1.2.3.4:5", tcp("1.2.3.4:5")),
            ("tcp://[::1]:8000", tcp("[::1]:8000")),
        ] {
            let address = EndpointAddress::parse(text).unwrap();
            assert_eq!(address, expect);
            assert_eq!(EndpointAddress::parse(&address.to_string()), Ok(expect));
        }
    }

    #[test]
    fn spiffe_workload_endpoint_4_everything_else_is_refused() {
        use EndpointAddressError::*;
        let authority = |text: &str| UnixAuthority(text.to_owned());
        let not_an_ip = |text: &str| NotAnIp(text.to_owned());
        let port = |text: &str| Port(text.to_owned());
        for (text, expect) in [
            ("", Scheme),
            ("blah", Scheme),
            ("/p", Scheme),
            ("http://1.2.3.4:5", Scheme),
            ("UNIX:///p", Scheme),
            ("unix:", UnixPath),
            ("unix:opaque", UnixPath),
            ("unix://", UnixPath),
            ("unix:///", UnixPath),
            ("unix://foo", authority("foo")),
            ("unix://foo/p", authority("foo")),
            ("unix://u:s@foo/p", Userinfo),
            ("unix:///p?q", Query),
            ("unix:///p#f", Fragment),
            ("unix:///p%", PercentEncoding),
            ("unix:///p%zz", PercentEncoding),
            ("unix:///p%00", PercentEncoding),
            ("unix:///p%ff", PercentEncoding),
            ("tcp:opaque", TcpOpaque),
            ("tcp:1.2.3.4:5", TcpOpaque),
            ("tcp://", not_an_ip("")),
            ("tcp://foo", not_an_ip("foo")),
            ("tcp://foo:5", not_an_ip("foo")),
            ("tcp://::1:5", not_an_ip("::1")),
            ("tcp://[1.2.3.4]:5", not_an_ip("[1.2.3.4]")),
            ("tcp://:5", not_an_ip("")),
            ("tcp://1.2.3.4", NoPort),
            ("tcp://1.2.3.4:", NoPort),
            ("tcp://[::1]", NoPort),
            ("tcp://1.2.3.4:0", port("0")),
            ("tcp://1.2.3.4:65536", port("65536")),
            ("tcp://1.2.3.4:+5", port("+5")),
            ("tcp://1.2.3.4:5/path", TcpPath),
            ("tcp://1.2.3.4:5/", TcpPath),
            ("tcp://1.2.3.4:5?q", Query),
            ("tcp://1.2.3.4:5#f", Fragment),
            ("tcp://u:s@1.2.3.4:5", Userinfo),
        ] {
            assert_eq!(EndpointAddress::parse(text), Err(expect), "{text}");
        }
        let long = format!("unix:///{}", "p".repeat(ADDRESS_BYTES_MAX));
        assert_eq!(EndpointAddress::parse(&long), Err(TooLong { bytes: long.len() }));
    }

    proptest! {
        #[test]
        fn spiffe_workload_endpoint_4_reading_never_panics(text in "(unix|tcp)?:?/{0,3}\\PC{0,40}") {
            if let Ok(address) = EndpointAddress::parse(&text) {
                prop_assert_eq!(EndpointAddress::parse(&address.to_string()), Ok(address));
            }
        }
    }
}
