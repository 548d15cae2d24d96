//! How this server proves itself at another: a client assertion (RFC 7523 §3,
//! draft-ietf-oauth-rfc7523bis §4), the template and its check.

use credential::Checked;
use jose::{Algorithm, Audience, KeyId, NumericDate, SigningInput, Unsignable};
use oauth::client_assertion::{ClientAssertion, ClientAssertionClaims};
use oauth::{ClientId, Issuer, TokenId};
use time::{Span, UnixTime};

/// How long one lives: as long as a request may take.
pub const LIFE: Span = Span::from_seconds(60);

/// What one is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// Who we are there.
    pub client_id: &'a ClientId,
    /// Where.
    pub issuer: &'a Issuer,
    /// Fresh.
    pub jti: TokenId,
    /// Now.
    pub now: UnixTime,
    /// The key.
    pub kid: &'a KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
}

/// The assertion, to be signed.
pub fn build(order: &Order<'_>) -> Result<Checked<SigningInput<ClientAssertion>>, Unsignable> {
    let claims = ClientAssertionClaims {
        iss: order.client_id.clone(),
        sub: order.client_id.clone(),
        // draft-ietf-oauth-rfc7523bis §2: "The issuer identifier of the authorization server, as
        // defined in [RFC8414], can be used": alone, for one for several could be passed on.
        aud: Audience::one(order.issuer.as_str()),
        exp: NumericDate::from_time(order.now.plus(LIFE)),
        jti: order.jti.clone(),
        iat: Some(NumericDate::from_time(order.now)),
        nbf: None,
    };
    let input = SigningInput::new(order.algorithm, Some(order.kid), &claims)?;
    Ok(Checked::assertion(input))
}
