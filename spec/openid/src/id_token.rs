//! ID tokens (OpenID Connect Core 1.0 §2): made for our clients, and read of a provider that we are
//! the client of.
//!
//! In scope: claims, hashes of what goes beside, and the validation of §3.1.3.7 in its order. Not
//! here: which users there are, and which provider is trusted.

use jose::{Algorithm, Audience, Kind, NumericDate, Verified, Window, named};
use oauth::parameter::evidence;
use oauth::{ClientId, Issuer, SubjectText};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::half_hash::half_hash;

/// The kind of an ID token.
#[derive(Clone, Copy, Debug)]
pub struct IdToken;

/// Core 1.0 §2, §3.3.2.11, Back-Channel Logout 1.0 §2.1, CIBA Core 1.0 §10.3.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdTokenClaims {
    pub iss: Issuer,
    pub sub: SubjectText,
    pub aud: Audience,
    pub exp: NumericDate,
    pub iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amr: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azp: Option<ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c_hash: Option<String>,
    /// Of `state`: FAPI 1.0 Part 2 §5.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s_hash: Option<String>,
    #[serde(
        rename = "urn:openid:params:jwt:claim:auth_req_id",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub auth_req_id: Option<String>,
    #[serde(
        rename = "urn:openid:params:jwt:claim:rt_hash",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub rt_hash: Option<String>,
    /// Claims about the user (Core 1.0 §5.1).
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl IdTokenClaims {
    /// The least that a token says; the rest is filled in by its fields.
    pub fn new(
        iss: Issuer,
        sub: SubjectText,
        client: &ClientId,
        now: UnixTime,
        life: Span,
    ) -> Self {
        Self {
            iss,
            sub,
            aud: Audience::one(client.as_str()),
            exp: NumericDate::from_time(now.plus(life)),
            iat: NumericDate::from_time(now),
            nbf: None,
            auth_time: None,
            nonce: None,
            acr: None,
            amr: None,
            azp: None,
            sid: None,
            at_hash: None,
            c_hash: None,
            s_hash: None,
            auth_req_id: None,
            rt_hash: None,
            more: Map::new(),
        }
    }

    /// The same with the hashes of what goes beside it, signed by `algorithm`.
    #[must_use]
    pub fn beside(self, algorithm: Algorithm, access_token: &str, code: Option<&str>) -> Self {
        let at_hash = Some(half_hash(algorithm, access_token));
        Self { at_hash, c_hash: code.map(|code| half_hash(algorithm, code)), ..self }
    }
}

impl Kind for IdToken {
    // Core 1.0 §2 is older than explicit typing, and names no `typ`.
    const TYPES: &'static [&'static str] = &["JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = IdTokenClaims;
    type Hint = Issuer;

    fn hint(claims: &IdTokenClaims) -> Issuer {
        claims.iss.clone()
    }

    fn window(claims: &IdTokenClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: Some(claims.iat) }
    }
}

/// What the client knows of its own request.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The provider whose keys verified the token.
    pub issuer: &'a Issuer,
    pub client_id: &'a ClientId,
    /// As it was sent; none only where none was sent.
    pub nonce: Option<&'a str>,
    /// How old a token may be.
    pub max_token_age: Span,
    /// One of these, if they are told.
    pub acr_values: &'a [String],
    /// How long ago the user may have signed in, if it matters.
    pub max_age: Option<Span>,
    /// How far clocks may differ.
    pub skew: Span,
    /// What came beside the token.
    pub access_token: Option<&'a str>,
}

/// A token of our provider, for us, of this request.
#[derive(Clone, Debug)]
pub struct CheckedIdToken(Verified<IdToken>);

impl CheckedIdToken {
    /// What the provider says.
    pub const fn claims(&self) -> &IdTokenClaims {
        self.0.claims()
    }
}

/// Core 1.0 §3.1.3.7: the steps that come beside signature, algorithm and `exp`, which
/// [`jose::Unverified::verify`] has done with the keys of the provider.
pub fn check(
    token: Verified<IdToken>,
    expected: &Expected<'_>,
    now: UnixTime,
) -> Result<CheckedIdToken, IdTokenRefused> {
    let claims = token.claims();
    // §3.1.3.7, 2: "MUST exactly match the value of the "iss" (issuer) Claim."
    if claims.iss != *expected.issuer {
        let (found, expected) = (claims.iss.clone(), expected.issuer.clone());
        return Err(IdTokenRefused::WrongIssuer { found, expected });
    }
    // §3.1.3.7, 3: "The ID Token MUST be rejected if the ID Token does not list the Client as a
    // valid audience, or if it contains additional audiences not trusted by the Client." None is.
    if claims.aud.sole() != Some(expected.client_id.as_str()) {
        let (found, expected) = (claims.aud.clone(), expected.client_id.clone());
        return Err(IdTokenRefused::WrongAudience { found, expected });
    }
    // §3.1.3.7, 5: "when an "azp" (authorized party) Claim is present, the Client SHOULD verify
    // that its "client_id" is the Claim Value."
    if let Some(found) = claims.azp.clone().filter(|azp| azp != expected.client_id) {
        return Err(IdTokenRefused::WrongParty { found });
    }
    // §3.1.3.7, 10: "The "iat" Claim can be used to reject tokens that were issued too far away
    // from the current time".
    let iat = claims.iat.time();
    if iat.plus(expected.max_token_age).plus(expected.skew) < now {
        return Err(IdTokenRefused::TooOld { iat, now });
    }
    // §3.1.3.7, 11: "If a nonce value was sent in the Authentication Request, a "nonce" Claim MUST
    // be present and its value checked".
    if claims.nonce.as_deref() != expected.nonce {
        return Err(IdTokenRefused::WrongNonce { present: claims.nonce.is_some() });
    }
    // §3.1.3.7, 12: "the Client SHOULD check that the asserted Claim Value is appropriate."
    let fits = |acr: &String| expected.acr_values.contains(acr);
    if !expected.acr_values.is_empty() && !claims.acr.as_ref().is_some_and(fits) {
        return Err(IdTokenRefused::Context { found: claims.acr.as_deref().map(evidence) });
    }
    // §3.1.3.7, 13: "the Client SHOULD check the "auth_time" Claim value and request
    // re-authentication if it determines too much time has elapsed".
    if let Some(max) = expected.max_age {
        let auth_time = claims.auth_time.ok_or(IdTokenRefused::NoAuthTime)?.time();
        if auth_time.plus(max).plus(expected.skew) < now {
            return Err(IdTokenRefused::SignedInLongAgo { auth_time, now });
        }
    }
    // §3.1.3.8: "When using the Authorization Code Flow, if the ID Token contains an "at_hash"
    // Claim, the Client MAY use it to validate the Access Token".
    if let (Some(found), Some(beside)) = (&claims.at_hash, expected.access_token)
        && *found != half_hash(token.algorithm(), beside)
    {
        return Err(IdTokenRefused::OtherAccessToken);
    }
    Ok(CheckedIdToken(token))
}

/// Why a verified ID token is not believed; the step of Core 1.0 §3.1.3.7 is beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenRefused {
    #[error("ID token of `{found}`, expected `{expected}` (OpenID Connect Core 1.0 §3.1.3.7, 2)")]
    WrongIssuer { found: Issuer, expected: Issuer },
    #[error("ID token for {found}, expected `{expected}` alone (§3.1.3.7, 3)")]
    WrongAudience { found: Audience, expected: ClientId },
    #[error("ID token whose authorized party is `{found}` (§3.1.3.7, 5)")]
    WrongParty { found: ClientId },
    #[error("ID token issued at {iat}, now {now} (§3.1.3.7, 10)")]
    TooOld { iat: UnixTime, now: UnixTime },
    #[error("ID token with another `nonce`, present: {present} (§3.1.3.7, 11)")]
    WrongNonce { present: bool },
    #[error(
        "ID token of the context {}, which was not asked for (§3.1.3.7, 12)",
        named(found.as_deref())
    )]
    Context { found: Option<String> },
    #[error("ID token without `auth_time` (§3.1.3.7, 13)")]
    NoAuthTime,
    #[error("the user signed in at {auth_time}, now {now} (§3.1.3.7, 13)")]
    SignedInLongAgo { auth_time: UnixTime, now: UnixTime },
    #[error("ID token beside another access token (§3.1.3.8)")]
    OtherAccessToken,
}
