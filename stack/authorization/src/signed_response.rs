//! Signed answers of the authorization endpoint (JARM §2.1): the template, and the check that must
//! pass before one is signed.

use credential::Checked;
use jose::{Algorithm, KeyId, NumericDate, SigningInput, Unsignable};
use oauth::ClientId;
use oauth::authorization_response::{AuthorizationResponse, ResponseClaims, SignedResponse};
use time::{Span, UnixTime};

/// How long a signed answer lives. JARM §2.1: "A maximum JWT lifetime of 10 minutes is
/// RECOMMENDED."
pub const LIFE: Span = Span::from_seconds(60);

/// The answer to `client`, checked, to be signed by the key `kid`.
pub fn build(
    answer: &AuthorizationResponse,
    client: &ClientId,
    algorithm: Algorithm,
    kid: &KeyId,
    now: UnixTime,
) -> Result<Checked<SigningInput<SignedResponse>>, Fault> {
    let claims = answer.claims(client, NumericDate::from_time(now.plus(LIFE)));
    check(&claims, client)?;
    Ok(Checked::assertion(SigningInput::new(algorithm, Some(kid), &claims)?))
}

fn check(claims: &ResponseClaims, client: &ClientId) -> Result<(), Fault> {
    // JARM §2.1: "aud - the client_id of the client the response is intended for".
    if claims.aud.sole() != Some(client.as_str()) {
        return Err(Fault::OtherClient);
    }
    let has = |name: &str| claims.parameters.contains_key(name);
    if has("code") == has("error") {
        return Err(Fault::NotOne);
    }
    Ok(())
}

/// Why it is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is for another client.
    #[error("the answer is for another client")]
    OtherClient,
    /// It says neither yes nor no.
    #[error("an answer with not exactly one of `code` and `error`")]
    NotOne,
    /// It cannot be encoded.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}
