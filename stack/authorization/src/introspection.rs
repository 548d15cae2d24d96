//! What a resource server is told of a token (RFC 7662 §2.2): the same as a JWT says, so that it
//! means the same whichever form a resource chose (AUTHZ-04).

use credential::Checked;
use jose::{Algorithm, Audience, KeyId, NumericDate, SigningInput, Unsignable};
use oauth::confirmation::Confirmation;
use oauth::introspection::{Introspection, SignedIntrospection, SignedIntrospectionClaims};
use oauth::token_response::TokenUse;
use oauth::{Issuer, SubjectText};
use time::UnixTime;

use crate::pairwise;
use crate::presented::Presented;

/// What is said of a token that counts; `pairwise` is the secret where its audience is told another
/// `sub` than everybody else.
pub fn of(token: &Presented, pairwise: Option<&[u8; 32]>) -> Option<Introspection> {
    let claims = token.access_claims()?;
    let sub = match pairwise {
        Some(secret) => {
            SubjectText::parse(&pairwise::subject(secret, token.audience(), token.subject()))
                .ok()?
        }
        None => claims.sub.clone(),
    };
    let token_type = match &claims.cnf {
        Some(Confirmation::Key(_)) => TokenUse::Dpop,
        _ => TokenUse::Bearer,
    };
    Some(Introspection {
        active: true,
        scope: Some(claims.scope.clone()).filter(|scope| !scope.is_empty()),
        client_id: Some(claims.client_id.clone()),
        username: None,
        token_type: Some(token_type),
        exp: Some(claims.exp),
        iat: Some(claims.iat),
        nbf: claims.nbf,
        sub: Some(sub),
        aud: Some(claims.aud.clone()),
        iss: Some(claims.iss.clone()),
        jti: Some(claims.jti.clone()),
        cnf: claims.cnf.clone(),
        // docs/past-defects.md 34: lost at introspection.
        act: claims.act.clone(),
        may_act: claims.may_act.clone(),
        authorization_details: claims.authorization_details.clone(),
        acr: claims.acr.clone(),
        auth_time: claims.auth_time,
        txn: claims.txn.clone(),
    })
}

/// The same as a JWT for the one that asked (RFC 9701 §5).
pub fn signed(
    issuer: Issuer,
    audience: &str,
    told: Introspection,
    now: UnixTime,
    kid: &KeyId,
    algorithm: Algorithm,
) -> Result<Checked<SigningInput<SignedIntrospection>>, Unsignable> {
    let claims = SignedIntrospectionClaims {
        iss: issuer,
        aud: Audience::one(audience),
        iat: NumericDate::from_time(now),
        token_introspection: told,
    };
    SigningInput::new(algorithm, Some(kid), &claims).map(Checked::assertion)
}
