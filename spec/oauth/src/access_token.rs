//! JWT access tokens (RFC 9068), as this system issues them.
//!
//! In scope: the claims, and the checks of a resource that a token is from its issuer and for it.
//! Not here: proof of the key it is bound to, revocation, rights.

use jose::{Audience, Kind, NumericDate, Verified, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::act::Act;
use crate::authorization_details::AuthorizationDetails;
use crate::confirmation::Confirmation;
use crate::identifier::{ClientId, LineageId, SubjectText, TokenId, TransactionId};
use crate::issuer::Issuer;
use crate::may_act::MayAct;
use crate::scope::ScopeSet;
use crate::status::Status;

/// The kind `at+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct AccessToken;

/// RFC 9068 §2.2, RFC 8693 §4, RFC 7800 §3.1, and the lineage that each token of this system has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    pub iss: Issuer,
    pub exp: NumericDate,
    pub aud: Audience,
    /// On whose behalf: a user, a system, or the agent itself.
    pub sub: SubjectText,
    /// Who asked: for our agents their identifier.
    pub client_id: ClientId,
    pub iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    pub jti: TokenId,
    #[serde(default, skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act: Option<MayAct>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<TransactionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amr: Option<Vec<String>>,
    /// RFC 9396 §9.1: "The AS MUST [...] make the authorization details available to the RS".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<AuthorizationDetails>,
    /// What the attestation of the agent came to, for resources whose policy asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aims_attestation: Option<Map<String, Value>>,
    /// Where one can read whether it still counts, for resources whose policy asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What this token, and all that came of it, began with.
    pub aims_root: LineageId,
    /// `jti` of the token that it came from; absent at the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aims_parent: Option<TokenId>,
    /// The tokens between the root and that one, the oldest first: to end any of them ends this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aims_above: Vec<TokenId>,
    /// The epoch that it was issued under: dead once a later one concerns it.
    pub aims_epoch: u64,
}

impl Kind for AccessToken {
    // RFC 9068 §4: "The resource server MUST verify that the "typ" header value is "at+jwt" or
    // "application/at+jwt" and reject tokens carrying any other value."
    const TYPES: &'static [&'static str] = &["at+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = AccessTokenClaims;
    type Hint = Issuer;

    fn hint(claims: &AccessTokenClaims) -> Issuer {
        claims.iss.clone()
    }

    fn window(claims: &AccessTokenClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: Some(claims.iat) }
    }
}

/// A token that is from the expected issuer and for the resource that asked.
#[derive(Clone, Debug)]
pub struct ForResource(Verified<AccessToken>);

impl ForResource {
    /// What the issuer says.
    pub const fn claims(&self) -> &AccessTokenClaims {
        self.0.claims()
    }

    /// The token behind it.
    pub const fn token(&self) -> &Verified<AccessToken> {
        &self.0
    }
}

/// Checks that a token is from `issuer` and for `audience` alone.
pub fn for_resource(
    token: Verified<AccessToken>,
    issuer: &Issuer,
    audience: &str,
) -> Result<ForResource, NotForResource> {
    // RFC 9068 §4: "The issuer identifier for the authorization server [...] MUST exactly match
    // the value of the "iss" claim."
    let claims = token.claims();
    if claims.iss != *issuer {
        let (found, expected) = (claims.iss.clone(), issuer.clone());
        return Err(NotForResource::WrongIssuer { found, expected });
    }
    // RFC 9068 §4: "The JWT access token MUST be rejected if "aud" does not contain a resource
    // indicator of the current resource server as a valid audience." Ours have one audience: a
    // token for several could be passed on from one to the next.
    if claims.aud.sole() != Some(audience) {
        let (found, expected) = (claims.aud.clone(), audience.to_owned());
        return Err(NotForResource::WrongAudience { found, expected });
    }
    Ok(ForResource(token))
}

/// Why a token is refused by a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForResource {
    #[error("token of `{found}`, expected `{expected}`")]
    WrongIssuer { found: Issuer, expected: Issuer },
    #[error("token for {found}, expected `{expected}` alone")]
    WrongAudience { found: Audience, expected: String },
}
