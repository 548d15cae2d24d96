//! Client authentication with a registered key (RFC 7523 §3, draft-ietf-oauth-rfc7523bis §4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, KeyId, KeySet, Malformed, Refused, Unverified};
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

/// The key that an assertion says it is signed with: to know whether a client's keys have to be
/// read again, and nothing else.
pub fn named_key(assertion: &str) -> Option<KeyId> {
    KeyId::parse(header(assertion)?.get("kid")?.as_str()?).ok()
}

/// What an assertion says it is signed with. It is so where the assertion was verified.
pub fn algorithm(assertion: &str) -> Option<Algorithm> {
    Algorithm::parse(header(assertion)?.get("alg")?.as_str()?)
}

fn header(assertion: &str) -> Option<serde_json::Value> {
    let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next()?).ok()?;
    serde_json::from_slice(&header).ok()
}

/// What is asked of the assertions of one client.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What they may be signed with.
    pub algorithms: &'a [Algorithm],
    /// What `aud` may name beside our issuer identifier; then it may also name others.
    pub also: &'a [String],
}

impl Terms<'_> {
    /// What is asked of everyone who has no other terms.
    pub const STRICT: Self = Self { algorithms: ALGORITHMS, also: &[] };
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
    on_terms(assertion, client_id, issuer, (keys, Terms::STRICT), (now, skew))
}

/// The same on other terms.
pub fn on_terms(
    assertion: &str,
    client_id: Option<&ClientId>,
    issuer: &Issuer,
    (keys, terms): (&KeySet, Terms<'_>),
    (now, skew): (UnixTime, Span),
) -> Result<Proved, Refusal> {
    let token = Unverified::<ClientAssertion>::parse(assertion)?;
    let verified = token.verify(keys, terms.algorithms, now, skew)?;
    let also = terms.also;
    let client = client_assertion::check_also_for(&verified, client_id, issuer, also, now)?;
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
