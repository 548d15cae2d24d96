//! What every listener of ours does in TLS ([RFC 8446](https://www.rfc-editor.org/rfc/rfc8446)): 1.3
//! alone, a certificate that can be replaced while connections stand, certificates of clients
//! collected but not judged, nothing resumed.
//!
//! In scope: the settings of a server's side. Not here: sockets and time limits (the listeners of
//! `edge/api`, `edge/link`, `edge/proxy`), whose certificate a client shows (whoever uses it
//! verifies it), what our own clients demand of a server (`edge/link`, `edge/proxy`).
//!
//! Trusting it means: a client that shows a certificate has the key of its leaf. Nothing else is
//! known of it.

mod certificates;
mod clients;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};

pub use certificates::{BadCertificate, Certificates, certified};
pub use clients::UnverifiedClientCertificates;

/// The name of HTTP/2 in TLS.
///
/// RFC 9113 §3.2: "The string "h2" identifies the protocol where HTTP/2 uses Transport Layer
/// Security (TLS)".
pub const HTTP2: &[u8] = b"h2";
/// The protocols of a listener that speaks HTTP, best first.
pub const HTTP: &[&[u8]] = &[HTTP2, b"http/1.1"];

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked for one.
    NotAsked,
    /// They are asked, and may have none.
    Asked,
    /// Without one there is no connection.
    Demanded,
}

/// What a listener does in TLS. `certificate` is asked at each handshake; `protocols` are those
/// that are spoken, best first.
pub fn server_config(
    certificate: Arc<dyn ResolvesServerCert>,
    clients: Clients,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsFault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let judge = |mandatory| Arc::new(UnverifiedClientCertificates::new(&provider, mandatory));
    let (asked, demanded) = (judge(false), judge(true));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsFault { why: error.to_string() })?;
    let builder = match clients {
        Clients::NotAsked => builder.with_no_client_auth(),
        Clients::Asked => builder.with_client_cert_verifier(asked),
        Clients::Demanded => builder.with_client_cert_verifier(demanded),
    };
    let mut config = builder.with_cert_resolver(certificate);
    // A resumed session carries the certificates of its first handshake past every check that was
    // tightened since, so there are none (docs/past-defects.md 24).
    // RFC 8446 §4.6.1: the server "MAY send a NewSessionTicket message", or none.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The TLS library refuses its own defaults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tls cannot be set up: {why}")]
pub struct TlsFault {
    /// What it said.
    pub why: String,
}
