//! The bounds of a listener: each is a named constant here, and a field so that an operator (or a
//! test) can choose another.

use std::time::Duration;

/// Open connections.
const CONNECTIONS_MAX: usize = 4_096;
/// Open connections from one address: a node's agent proxy calls for all agents of its host.
const CONNECTIONS_PER_SOURCE_MAX: usize = 1_024;
/// Requests that are being decided or sent at once; streams of answers are not counted.
const REQUESTS_MAX: usize = 8_192;
/// Bytes of a request's head (HTTP/1.1) or of its decoded header list (HTTP/2).
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 100;
/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of all bodies that are held at once.
const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Concurrent streams of an HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// Time for the TLS handshake, or for the admission of a local connection.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Time from the first byte of a head to its last.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Time from the end of a head to the end of its body.
const BODY_MAX: Duration = Duration::from_secs(30);
/// Time without any request, after which a connection is closed.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// Time for which a client may take nothing of what is being written to it.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Time for what is under way when the listener shuts down.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// The bounds of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections_max: usize,
    /// Open connections from one address.
    pub connections_per_source_max: usize,
    /// Requests that are being decided or sent at once.
    pub requests_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes of all bodies that are held at once.
    pub bodies_bytes_max: usize,
    /// Concurrent streams of an HTTP/2 connection.
    pub streams_max: u32,
    /// Time for the TLS handshake, or for the admission of a local connection.
    pub handshake_max: Duration,
    /// Time from the first byte of a head to its last.
    pub head_max: Duration,
    /// Time from the end of a head to the end of its body.
    pub body_max: Duration,
    /// Time without any request, after which a connection is closed.
    pub idle_max: Duration,
    /// Time for which a client may take nothing of what is being written to it.
    pub stall_max: Duration,
    /// Time for what is under way when the listener shuts down.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_source_max: CONNECTIONS_PER_SOURCE_MAX,
            requests_max: REQUESTS_MAX,
            head_bytes_max: HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
            body_bytes_max: BODY_BYTES_MAX,
            bodies_bytes_max: BODIES_BYTES_MAX,
            streams_max: STREAMS_MAX,
            handshake_max: HANDSHAKE_MAX,
            head_max: HEAD_MAX,
            body_max: BODY_MAX,
            idle_max: IDLE_MAX,
            stall_max: STALL_MAX,
            drain_max: DRAIN_MAX,
        }
    }
}
