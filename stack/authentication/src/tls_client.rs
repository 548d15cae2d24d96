//! Client authentication by mutual TLS with a certificate of one's own (RFC 8705 §2). TLS proved
//! that the peer has the leaf's key; whose it is, is decided here (docs/past-defects.md 14).

use jose::{KeySet, PublicKey};
use oauth::ClientId;
use time::UnixTime;
use x509::{Certificate, ChainError, Malformed, Purpose, verify_chain};

use crate::caller::{Caller, Method, Who};

/// Authenticates the client by a name in a certificate that one of `authorities` vouches for.
/// RFC 8705 §2.1: "The PKI [...] method of mutual-TLS OAuth client authentication adheres to the
/// way in which X.509 certificates are traditionally used for authentication."
pub fn by_name(
    chain: &[Vec<u8>],
    client_id: &ClientId,
    (kind, expected): (&'static str, &str),
    authorities: &[Certificate],
    now: UnixTime,
) -> Result<Caller, Refusal> {
    let chain = chain.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
    let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
    verify_chain(&chain, authorities, Purpose::Client, now)?;
    // RFC 8705 §2.1.2: "the authorization server [...] MUST [...] match" the one name that was
    // registered; other names in the certificate say nothing.
    let matches = match kind {
        "tls_client_auth_subject_dn" => leaf.subject().matches_rfc4514(expected),
        "tls_client_auth_san_dns" => {
            leaf.dns_names().iter().any(|name| name.eq_ignore_ascii_case(expected))
        }
        "tls_client_auth_san_uri" => leaf.uri_names().iter().any(|name| name == expected),
        "tls_client_auth_san_ip" => {
            let expected = expected.parse();
            expected.is_ok_and(|expected| leaf.ip_names().contains(&expected))
        }
        "tls_client_auth_san_email" => leaf.mail_names().iter().any(|name| name == expected),
        _ => false,
    };
    if !matches {
        return Err(Refusal::OtherName { kind, expected: expected.to_owned() });
    }
    Ok(caller(leaf, client_id, Method::TlsClientAuth))
}

/// Authenticates the client by a certificate that it registered itself. RFC 8705 §2.2: "the client
/// is successfully authenticated if the certificate that it presented during the handshake matches
/// one of the certificates configured or registered for that particular client."
pub fn self_signed(
    chain: &[Vec<u8>],
    client_id: &ClientId,
    keys: &KeySet,
    now: UnixTime,
) -> Result<Caller, Refusal> {
    let der = chain.first().ok_or(Refusal::NoCertificate)?;
    let leaf = Certificate::parse(der)?;
    let registered = |key: &jose::Jwk| match key.x5c().first() {
        Some(certificate) => certificate == der,
        // Without a certificate the key is what was registered.
        None => {
            let shown = PublicKey::from_spki_der(leaf.spki_der());
            shown.is_ok_and(|shown| shown.thumbprint() == key.thumbprint())
        }
    };
    if !keys.keys().iter().any(registered) {
        return Err(Refusal::OtherKey);
    }
    // Nobody vouches for its dates but itself; what says that it is over, is (CVE-2024-7318).
    if now < leaf.not_before() || now > leaf.not_after() {
        let (from, until) = (leaf.not_before(), leaf.not_after());
        return Err(Refusal::OutOfTime { from, until, now });
    }
    Ok(caller(&leaf, client_id, Method::SelfSignedTlsClientAuth))
}

fn caller(leaf: &Certificate, client_id: &ClientId, method: Method) -> Caller {
    let who = Who::Client(client_id.as_str().to_owned());
    let caller = Caller::new(who, method, leaf.not_after());
    match PublicKey::from_spki_der(leaf.spki_der()) {
        Ok(key) => caller.with_key(key.thumbprint()),
        Err(_) => caller,
    }
}

/// Why a certificate authenticates nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The channel shows none.
    #[error("the connection shows no certificate")]
    NoCertificate,
    /// It does not read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No authority of policy vouches for it, now.
    #[error("the certificate: {0}")]
    Chain(#[from] ChainError),
    /// It is not of the registered name.
    #[error("the certificate does not have the `{kind}` `{expected}`")]
    OtherName {
        /// Which name was registered.
        kind: &'static str,
        /// Its value.
        expected: String,
    },
    /// It is none that was registered.
    #[error("the certificate is none that the client registered")]
    OtherKey,
    /// Its time has not come, or is over.
    #[error("the certificate is valid from {from} until {until}, and it is {now}")]
    OutOfTime {
        /// From.
        from: UnixTime,
        /// Until.
        until: UnixTime,
        /// Now.
        now: UnixTime,
    },
}
