//! ID tokens as we issue them (OpenID Connect Core 1.0 §2): the template, and the check that must
//! pass before one is signed.

use credential::Checked;
use jose::{Algorithm, KeyId, NumericDate, SigningInput, Unsignable};
use oauth::{ClientId, Issuer, NotAnIdentifier, SubjectText};
use openid::half_hash;
use openid::id_token::{IdToken, IdTokenClaims};
use time::{Span, UnixTime};

use crate::granted::GrantRecord;

/// What an ID token is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// The issuer.
    pub issuer: &'a Issuer,
    /// What the user allowed the client.
    pub held: &'a GrantRecord,
    /// Whom the client is told that the user is.
    pub subject: &'a str,
    /// `nonce` of the authorization request, where it leads directly here.
    pub nonce: Option<&'a str>,
    /// The access token that it goes beside.
    pub access_token: &'a str,
    /// What it binds together where the tokens are pushed to the client.
    pub pushed: Option<Pushed<'a>>,
    /// Now.
    pub now: UnixTime,
    /// How long it lives.
    pub life: Span,
    /// The signing key's id.
    pub kid: &'a KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
}

/// What is pushed beside it. CIBA Core 1.0 §10.3.1: "the OP MUST include the hash value of the
/// Access Token and the auth_req_id within the ID Token [...] In case a Refresh Token is sent to
/// the Client, the hash value of it MUST also be added to the ID token".
#[derive(Clone, Copy, Debug)]
pub struct Pushed<'a> {
    /// `auth_req_id`.
    pub auth_req_id: &'a str,
    /// The refresh token, where there is one.
    pub refresh_token: Option<&'a str>,
}

/// The claim that names its grant, as in our other tokens.
pub const ROOT: &str = "aims_root";

/// Whether the user was signed in for the client: it asked for `openid`.
pub fn is_wanted(held: &GrantRecord) -> bool {
    held.authenticated.is_some() && held.openid.iter().any(|scope| scope.as_str() == "openid")
}

/// The claims, checked.
pub fn build(order: &Order<'_>) -> Result<Checked<SigningInput<IdToken>>, Fault> {
    let claims = template(order)?;
    check(&claims, order)?;
    let input = SigningInput::new(order.algorithm, Some(order.kid), &claims)?;
    Ok(Checked::assertion(input))
}

fn template(order: &Order<'_>) -> Result<IdTokenClaims, Fault> {
    let authenticated = order.held.authenticated.as_ref().ok_or(Fault::NotAuthenticated)?;
    let (issuer, sub) = (order.issuer.clone(), SubjectText::parse(order.subject)?);
    let client = ClientId::parse(&order.held.client_id)?;
    let new = IdTokenClaims::new(issuer, sub, &client, order.now, order.life);
    Ok(IdTokenClaims {
        // §2: "auth_time: Time when the End-User authentication occurred."
        auth_time: Some(NumericDate::from_time(authenticated.at)),
        acr: Some(authenticated.acr.as_str().to_owned()),
        amr: Some(authenticated.amr.iter().cloned().collect()),
        nonce: order.nonce.map(str::to_owned),
        sid: order.held.session.clone(),
        auth_req_id: order.pushed.map(|pushed| pushed.auth_req_id.to_owned()),
        rt_hash: order
            .pushed
            .and_then(|pushed| pushed.refresh_token)
            .map(|text| half_hash(order.algorithm, text)),
        more: [(ROOT.to_owned(), order.held.id.clone().into())].into_iter().collect(),
        ..new.beside(order.algorithm, order.access_token, None)
    })
}

fn check(claims: &IdTokenClaims, order: &Order<'_>) -> Result<(), Fault> {
    if !is_wanted(order.held) {
        return Err(Fault::NotAuthenticated);
    }
    // §3.1.3.7: the client takes a token whose `aud` is its own id.
    if claims.aud.sole() != Some(order.held.client_id.as_str()) {
        return Err(Fault::OtherClient);
    }
    if claims.exp.time() <= order.now {
        return Err(Fault::NoLife);
    }
    Ok(())
}

/// Why it is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody signed in, or the client did not ask who did.
    #[error("no user signed in for this client")]
    NotAuthenticated,
    /// An id is too long for a token.
    #[error(transparent)]
    Identifier(#[from] NotAnIdentifier),
    /// It is for another client.
    #[error("the ID token is for another client")]
    OtherClient,
    /// It would be born dead.
    #[error("the ID token would end as it begins")]
    NoLife,
    /// It cannot be encoded.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}
