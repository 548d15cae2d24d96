//! Client authentication with a registered key (RFC 7523 §3, draft-ietf-oauth-rfc7523bis §4).

use jose::{Algorithm, KeySet, Malformed, Refused, Unverified};
use oauth::client_assertion::{self, AssertionRefused, ClientAssertion};
use oauth::{ClientId, Issuer};
use time::{Span, UnixTime};

use crate::caller::{Caller, Method, Who};
use crate::once::Once;
use crate::proof::Proved;

/// What client assertions may be signed with. No HMAC: there are no shared secrets (CRED-10).
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Rs256,
];

/// Whom an assertion says it is from: to find the client's keys, and nothing else.
pub fn claimed(assertion: &str) -> Result<ClientId, Refusal> {
    Ok(Unverified::<ClientAssertion>::parse(assertion)?.hint())
}

/// Authenticates the client of a `client_assertion`; `keys` are those that this client registered.
pub fn authenticate(
    assertion: &str,
    client_id: Option<&ClientId>,
    issuer: &Issuer,
    keys: &KeySet,
    now: UnixTime,
    skew: Span,
) -> Result<Proved, Refusal> {
    let token = Unverified::<ClientAssertion>::parse(assertion)?;
    let verified = token.verify(keys, ALGORITHMS, now, skew)?;
    let client = client_assertion::check(&verified, client_id, issuer, now)?;
    let id = client.client_id().as_str().to_owned();
    let once = Once {
        space: format!("{} client assertion", issuer.as_str()),
        value: format!("{id}.{}", client.jti().as_str()),
        until: client.expires().plus(skew),
    };
    let caller = Caller::new(Who::Client(id), Method::PrivateKeyJwt, client.expires());
    Ok(Proved { caller, once: Some(once) })
}

/// Why the assertion authenticates nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It does not hold: signature, key, lifetime.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its claims are not those of a client assertion for us.
    #[error(transparent)]
    Assertion(#[from] AssertionRefused),
}
