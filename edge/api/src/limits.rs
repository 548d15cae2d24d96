//! The bounds of a listener: each is a named constant here, and a field so that an operator (or a
//! test) can choose another.

use std::time::Duration;

/// Bytes of a body at the HTTPS origin: forms alone are sent there.
pub const FORM_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a body at the operators' socket: a policy set of full size, as JSON.
pub const ORDER_BYTES_MAX: usize = 2 * policy_bytes();
/// Bytes of a request's head. Tokens stand in header fields: a WIT and its proof of full size
/// (draft-ietf-oauth-attestation-based-client-auth §9.5).
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields of a request.
pub const HEADERS_MAX: usize = 100;
/// Open connections.
const CONNECTIONS_MAX: usize = 4_096;
/// Open connections from one address: a node calls for all agents of its host.
const CONNECTIONS_PER_SOURCE_MAX: usize = 1_024;
/// Requests that are being decided at once.
const REQUESTS_MAX: usize = 4_096;
/// The same from one address.
const REQUESTS_PER_SOURCE_MAX: usize = 1_024;
/// Requests of enrolment at once: their bodies are ten times as large as others.
const ENROLMENTS_MAX: usize = 64;
/// The same from one address.
const ENROLMENTS_PER_SOURCE_MAX: usize = 16;
/// Concurrent streams of an HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// Time for the TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Time from the last answer, or the handshake, to the end of the next head.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Time from the end of a head to the end of its body.
const BODY_MAX: Duration = Duration::from_secs(10);
/// Time without a sign of life after which an HTTP/2 client is asked for one.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Age at which a connection is asked to end: none holds its place for ever.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Time for what is under way when the listener stops.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// The bounds of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections_max: usize,
    /// Open connections from one address.
    pub connections_per_source_max: usize,
    /// Requests that are being decided at once.
    pub requests_max: usize,
    /// The same from one address.
    pub requests_per_source_max: usize,
    /// Requests of enrolment that are being read at once.
    pub enrolments_max: usize,
    /// The same from one address.
    pub enrolments_per_source_max: usize,
    /// Concurrent streams of an HTTP/2 connection.
    pub streams_max: u32,
    /// Time for the TLS handshake.
    pub handshake_max: Duration,
    /// Time from the last answer, or the handshake, to the end of the next head.
    pub head_max: Duration,
    /// Time from the end of a head to the end of its body.
    pub body_max: Duration,
    /// Time without a sign of life after which an HTTP/2 client is asked for one.
    pub ping_after: Duration,
    /// Age at which a connection is asked to end.
    pub connection_age_max: Duration,
    /// Time for what is under way when the listener stops.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_source_max: CONNECTIONS_PER_SOURCE_MAX,
            requests_max: REQUESTS_MAX,
            requests_per_source_max: REQUESTS_PER_SOURCE_MAX,
            enrolments_max: ENROLMENTS_MAX,
            enrolments_per_source_max: ENROLMENTS_PER_SOURCE_MAX,
            streams_max: STREAMS_MAX,
            handshake_max: HANDSHAKE_MAX,
            head_max: HEAD_MAX,
            body_max: BODY_MAX,
            ping_after: PING_AFTER,
            connection_age_max: CONNECTION_AGE_MAX,
            drain_max: DRAIN_MAX,
        }
    }
}

/// `policy::Files` holds at most 8 MiB of texts.
const fn policy_bytes() -> usize {
    8 * 1024 * 1024
}
