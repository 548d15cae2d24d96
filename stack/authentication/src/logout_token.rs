//! What a client is told when a session ends (OpenID Connect Back-Channel Logout 1.0 §2.4): the
//! template and its check.

use credential::Checked;
use jose::{Algorithm, KeyId, SigningInput, Unsignable};
use oauth::{ClientId, Issuer, TokenId};
use openid::logout::{self, Ends, LogoutToken};
use time::{Span, UnixTime};

/// §4: "preferably at most two minutes in the future, to prevent captured Logout Tokens from
/// being replayable."
pub const LIFE: Span = Span::from_seconds(120);

/// What one is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// Us.
    pub issuer: &'a Issuer,
    /// Whom it is for.
    pub client_id: &'a ClientId,
    /// Which session: by its public id, as ID tokens have it. No `sub`: a client may know the user
    /// by a name of its own.
    pub sid: &'a str,
    /// Fresh.
    pub jti: TokenId,
    /// Now.
    pub now: UnixTime,
    /// The key.
    pub kid: &'a KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
}

/// The token, to be signed.
pub fn build(order: &Order<'_>) -> Result<Checked<SigningInput<LogoutToken>>, Unsignable> {
    let ends = Ends::Session(order.sid.to_owned());
    let (issuer, jti) = (order.issuer.clone(), order.jti.clone());
    let claims = logout::claims(issuer, order.client_id, ends, jti, order.now, LIFE);
    let input = SigningInput::new(order.algorithm, Some(order.kid), &claims)?;
    Ok(Checked::assertion(input))
}
