//! Which client asks: the one method it used, verified.

use authentication::{Proved, private_key_jwt, public, spiffe_jwt, spiffe_wit, spiffe_x509};
use credential::{KeyRing, Purpose};
use env::{Key, Unavailable};
use oauth::Issuer;
use oauth::client_assertion::{AssertionType, PresentedClient};
use oauth::confirmation::CertificateThumbprint;
use registry::ClientRecord;
use time::UnixTime;
use wimse::TrustAnchors;

use crate::facts::Basis;

/// Why nobody is authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// No method was used.
    #[error(
        "no client authentication: use a client assertion, a client attestation, or mutual tls"
    )]
    None,
    /// Two were. RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in
    /// each request."
    #[error("more than one method of client authentication")]
    Several,
    /// No such client.
    #[error("the client is not known")]
    Unknown,
    /// By JWT-SVID.
    #[error(transparent)]
    SpiffeJwt(#[from] spiffe_jwt::Refusal),
    /// By certificate.
    #[error(transparent)]
    SpiffeX509(#[from] spiffe_x509::Refusal),
    /// By WIT.
    #[error(transparent)]
    SpiffeWit(#[from] spiffe_wit::Refusal),
    /// By registered key.
    #[error(transparent)]
    PrivateKeyJwt(#[from] private_key_jwt::Refusal),
}

impl ClientRefusal {
    /// The variant's name: what records and counters call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::None => "client::None",
            Self::Several => "client::Several",
            Self::Unknown => "client::Unknown",
            Self::SpiffeJwt(_) => "client::SpiffeJwt",
            Self::SpiffeX509(_) => "client::SpiffeX509",
            Self::SpiffeWit(_) => "client::SpiffeWit",
            Self::PrivateKeyJwt(_) => "client::PrivateKeyJwt",
        }
    }
}

/// What a request shows of its client.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) client: &'a PresentedClient,
    pub(crate) attestation: Option<&'a (oauth::TokenText, oauth::TokenText)>,
    pub(crate) certificates: &'a [Vec<u8>],
}

/// The rows that authentication may need.
pub(crate) fn keys(call: Shown<'_>) -> Vec<Key> {
    let mut keys = vec![
        Key::of::<KeyRing>(Purpose::AccessToken.name()),
        Key::of::<KeyRing>(Purpose::TxnToken.name()),
        Key::of::<KeyRing>(Purpose::IdToken.name()),
    ];
    keys.extend(call.client.client_id.iter().map(|id| Key::of::<ClientRecord>(id.as_str())));
    if let Some(id) = claimed(call) {
        keys.push(Key::of::<ClientRecord>(id));
    }
    keys
}

/// Whom an assertion claims to be from.
fn claimed(call: Shown<'_>) -> Option<String> {
    match &call.client.assertion {
        Some((AssertionType::Jwt, text)) => {
            private_key_jwt::claimed(text.as_str()).ok().map(|client| client.as_str().to_owned())
        }
        _ => None,
    }
}

/// Verifies the one method that was used. A certificate beside an assertion or attestation is not a
/// method: it is what a token may be bound to.
pub(crate) fn authenticate(
    call: Shown<'_>,
    facts: &Basis,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<Result<Proved, ClientRefusal>, Unavailable> {
    let skew = facts.set().domain().bounds.clock_skew;
    let client_id = call.client.client_id.as_ref();
    let bundles = &facts.trust.bundles;
    let plain = |caller| Proved { caller, once: None };
    Ok(match (&call.client.assertion, call.attestation) {
        (Some(_), Some(_)) => Err(ClientRefusal::Several),
        (Some((AssertionType::SpiffeJwt, text)), None) => {
            spiffe_jwt::authenticate(text.as_str(), client_id, issuer, bundles.spiffe(), now, skew)
                .map(plain)
                .map_err(ClientRefusal::from)
        }
        (Some((AssertionType::Jwt, text)), None) => {
            let client = match claimed(call) {
                Some(id) => facts.rows.get::<ClientRecord>(&id)?,
                None => None,
            };
            let Some(client) = client else { return Ok(Err(unknown(text.as_str()))) };
            let keys = client.metadata.jwks.as_ref().ok_or(ClientRefusal::Unknown);
            keys.and_then(|keys| {
                private_key_jwt::authenticate(text.as_str(), client_id, issuer, keys, now, skew)
                    .map_err(ClientRefusal::from)
            })
        }
        (None, Some((wit, pop))) => {
            let anchors = TrustAnchors::from(bundles);
            let max_age = facts.set().domain().bounds.proof_lifetime;
            let known = spiffe_wit::Facts { anchors: &anchors, issuer, now, skew, max_age };
            spiffe_wit::authenticate(wit.as_str(), pop.as_str(), client_id, &known)
                .map_err(ClientRefusal::from)
        }
        (None, None) if call.certificates.is_empty() => {
            let Some(id) = client_id else { return Ok(Err(ClientRefusal::None)) };
            match facts.rows.get::<ClientRecord>(id.as_str())? {
                Some(client) if client.public => {
                    let until = now.plus(facts.set().domain().lifetimes.access_token);
                    Ok(plain(public::identify(id, until)))
                }
                _ => Err(ClientRefusal::None),
            }
        }
        (None, None) => spiffe_x509::authenticate(call.certificates, client_id, bundles, now)
            .map(plain)
            .map_err(ClientRefusal::from),
    })
}

/// An assertion that does not even read says so; one of a client that is not there does not tell
/// which of both is wrong.
fn unknown(assertion: &str) -> ClientRefusal {
    match private_key_jwt::claimed(assertion) {
        Ok(_) => ClientRefusal::Unknown,
        Err(refusal) => refusal.into(),
    }
}

/// RFC 8705 §3.1: the thumbprint of the leaf that the channel showed.
pub(super) fn certificate(chain: &[Vec<u8>]) -> Option<CertificateThumbprint> {
    let leaf = x509::Certificate::parse(chain.first()?).ok()?;
    Some(CertificateThumbprint::from_bytes(leaf.fingerprint_sha256()))
}
