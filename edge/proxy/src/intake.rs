//! What a request must look like to be judged at all. The order of the checks is a table; each is
//! a few lines, and has a refusal of its own.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::Limits;
use crate::path;
use crate::refused::Refused;

/// Bytes of a body that one permit of the [`Budget`] stands for.
const UNIT_BYTES: usize = 1_024;

/// Fields that may stand once: two of them are two requests, depending on who reads.
const SINGLE: &[&str] = &[
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "dpop",
    "host",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "traceparent",
    "txn-token",
    "workload-identity-token",
    "workload-proof-token",
];

/// Under which names we are called, and from which web pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doors {
    /// `host` or `host:port`, as clients write them.
    pub authorities: Vec<String>,
    /// Origins (RFC 6454 §6.1) of web pages that may call; usually none.
    pub origins: Vec<String>,
}

/// A check of a head.
type Check = fn(&Parts, &Doors) -> Result<(), Refused>;

/// All of them, in order: first what makes a request ambiguous, then whether it is ours.
const CHECKS: &[Check] = &[single_fields, method, target_form, target_path, authority, origin];

/// Checks a head; the host that it means, in lower case.
pub(crate) fn check(parts: &Parts, doors: &Doors) -> Result<String, Refused> {
    for check in CHECKS {
        check(parts, doors)?;
    }
    named_authority(parts).map(str::to_ascii_lowercase)
}

/// Memory for bodies: so much and no more, over all connections.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

/// What a body took of it; given back when dropped.
#[derive(Debug)]
pub(crate) struct Spent {
    _held: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let units = limits.bodies_bytes_max.div_ceil(UNIT_BYTES);
        Self(Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(units).ok()
    }
}

/// Reads a body whole, within the bounds of size, time and memory. Trailers are dropped: nobody
/// judges them, so nobody gets them.
pub(crate) async fn read_body(
    body: Incoming,
    limits: &Limits,
    budget: &Budget,
) -> Result<(Bytes, Spent), Refused> {
    if body.size_hint().lower() > limits.body_bytes_max as u64 {
        return Err(Refused::BodyTooLarge);
    }
    let patience: Duration = limits.body_max;
    timeout(patience, collect(body, limits.body_bytes_max, budget))
        .await
        .unwrap_or(Err(Refused::SlowBody))
}

async fn collect(
    mut body: Incoming,
    bytes_max: usize,
    budget: &Budget,
) -> Result<(Bytes, Spent), Refused> {
    let mut spent: Option<OwnedSemaphorePermit> = None;
    let (mut first, mut rest) = (Bytes::new(), Vec::new());
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refused::carried_by(&error).unwrap_or(Refused::BrokenBody))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > bytes_max {
            return Err(Refused::BodyTooLarge);
        }
        let permit = budget.take(data.len()).ok_or(Refused::Busy)?;
        match &mut spent {
            Some(spent) => spent.merge(permit),
            None => spent = Some(permit),
        }
        // Most bodies are one piece, which is not copied.
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    let whole = if rest.is_empty() { first } else { Bytes::from(rest) };
    Ok((whole, Spent { _held: spent }))
}

fn single_fields(parts: &Parts, _: &Doors) -> Result<(), Refused> {
    for name in SINGLE {
        // RFC 9110 §5.3: "a sender MUST NOT generate multiple field lines with the same name in a
        // message [...] unless that field's definition allows multiple field line values to be
        // recombined as a comma-separated list".
        if parts.headers.get_all(*name).iter().nth(1).is_some() {
            return Err(Refused::Repeated { name });
        }
    }
    Ok(())
}

fn method(parts: &Parts, _: &Doors) -> Result<(), Refused> {
    // RFC 9110 §9.3.8: TRACE has the server "reflect the message received [...] back to the
    // client", credentials and all; CONNECT asks for a tunnel that nobody could look into.
    let is_refused = parts.method == Method::CONNECT || parts.method == Method::TRACE;
    if is_refused { Err(Refused::Method) } else { Ok(()) }
}

fn target_form(parts: &Parts, _: &Doors) -> Result<(), Refused> {
    // RFC 9112 §3.2.2 has a server take the absolute form, which then overrules `Host`. Clients
    // send it to proxies alone, and two names for one host are what smuggling lives on.
    let is_absolute = parts.version < Version::HTTP_2 && parts.uri.scheme().is_some();
    if is_absolute { Err(Refused::TargetForm) } else { Ok(()) }
}

fn target_path(parts: &Parts, _: &Doors) -> Result<(), Refused> {
    Ok(path::check(parts.uri.path())?)
}

fn authority(parts: &Parts, doors: &Doors) -> Result<(), Refused> {
    let named = named_authority(parts)?;
    let is_ours = doors.authorities.iter().any(|ours| ours.eq_ignore_ascii_case(named));
    if is_ours { Ok(()) } else { Err(Refused::Authority) }
}

fn origin(parts: &Parts, doors: &Doors) -> Result<(), Refused> {
    // MCP 2026-07-28, Security & Endpoint: "Servers MUST validate the `Origin` header on all
    // incoming connections to prevent DNS rebinding attacks."
    let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(()) };
    let is_allowed = doors.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    if is_allowed { Ok(()) } else { Err(Refused::Origin) }
}

/// The host that a request means, however it says so.
fn named_authority(parts: &Parts) -> Result<&str, Refused> {
    let host = text(&parts.headers, HOST)?;
    let pseudo = parts.uri.authority().map(http::uri::Authority::as_str);
    match (pseudo, host) {
        // RFC 9113 §8.3.1: "A server SHOULD treat a request as malformed if it contains a Host
        // header field that identifies an entity that differs from the entity in the ":authority"
        // pseudo-header field."
        (Some(pseudo), Some(host)) if !pseudo.eq_ignore_ascii_case(host) => {
            Err(Refused::NoAuthority)
        }
        (Some(named), _) | (None, Some(named)) => Ok(named),
        (None, None) => Err(Refused::NoAuthority),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refused> {
    headers.get(name).map(|value| value.to_str().map_err(|_| Refused::NoAuthority)).transpose()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check_head(version: Version, uri: &str, fields: &[(&str, &str)]) -> Result<String, Refused> {
        let mut request = Request::builder().method("POST").version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let doors = Doors {
            authorities: vec!["gw.example:8446".to_owned()],
            origins: vec!["https://console.example".to_owned()],
        };
        check(&request.body(()).unwrap().into_parts().0, &doors)
    }

    const HOST_OK: (&str, &str) = ("host", "gw.example:8446");

    #[test]
    fn rfc9112_3_2_the_host_is_said_once_and_is_ours() {
        let one = |fields: &[(&str, &str)]| check_head(Version::HTTP_11, "/mcp", fields);
        assert_eq!(one(&[HOST_OK]).as_deref(), Ok("gw.example:8446"));
        assert_eq!(one(&[("host", "GW.example:8446")]).as_deref(), Ok("gw.example:8446"));
        assert_eq!(one(&[]), Err(Refused::NoAuthority));
        assert_eq!(one(&[HOST_OK, HOST_OK]), Err(Refused::Repeated { name: "host" }));
        for host in ["evil.example", "gw.example", "gw.example:8446.evil.example", ""] {
            assert_eq!(one(&[("host", host)]), Err(Refused::Authority), "{host}");
        }
        let absolute = check_head(Version::HTTP_11, "http://gw.example:8446/mcp", &[HOST_OK]);
        assert_eq!(absolute, Err(Refused::TargetForm));
    }

    #[test]
    fn rfc9113_8_3_1_host_and_authority_must_agree() {
        let two = |uri: &str, fields: &[(&str, &str)]| check_head(Version::HTTP_2, uri, fields);
        let ours = "https://gw.example:8446/mcp";
        assert_eq!(two(ours, &[]).as_deref(), Ok("gw.example:8446"));
        assert_eq!(two(ours, &[HOST_OK]).as_deref(), Ok("gw.example:8446"));
        assert_eq!(two(ours, &[("host", "other.example")]), Err(Refused::NoAuthority));
        assert_eq!(two("https://evil.example/mcp", &[]), Err(Refused::Authority));
        assert_eq!(two("https://a@gw.example:8446/mcp", &[]), Err(Refused::Authority));
    }

    /// req: AUTHZ-26 (part)
    #[test]
    fn dns_rebinding_to_local_mcp_servers_fails_at_the_origin() {
        let of = |origin| check_head(Version::HTTP_11, "/mcp", &[HOST_OK, ("origin", origin)]);
        assert!(of("https://console.example").is_ok());
        for origin in ["https://evil.example", "null", "", "https://console.example.evil"] {
            assert_eq!(of(origin), Err(Refused::Origin), "{origin}");
        }
    }

    #[test]
    fn rfc9110_5_3_fields_that_stand_once_stand_once() {
        for name in SINGLE {
            let fields = [HOST_OK, (*name, "1"), (*name, "1")];
            assert_eq!(
                check_head(Version::HTTP_11, "/", &fields),
                Err(Refused::Repeated { name }),
                "{name}"
            );
        }
        let twice = [HOST_OK, ("accept", "a/b"), ("accept", "c/d")];
        assert!(check_head(Version::HTTP_11, "/", &twice).is_ok());
    }

    #[test]
    fn memory_for_bodies_is_given_back() {
        let limits = Limits { bodies_bytes_max: 4 * UNIT_BYTES, ..Limits::default() };
        let budget = Budget::new(&limits);
        let held = budget.take(3 * UNIT_BYTES);
        assert!(held.is_some() && budget.take(UNIT_BYTES + 1).is_none());
        drop(held);
        assert!(budget.take(4 * UNIT_BYTES).is_some());
    }
}
