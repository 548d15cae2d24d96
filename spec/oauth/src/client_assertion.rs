//! Client authentication by assertion (RFC 7521 §4.2, RFC 7523 §3, draft-ietf-oauth-rfc7523bis §4):
//! a client proves a key that it registered.
//!
//! In scope: the parameters, the claims, and the checks of the server. Not here: which client has
//! which keys, and whether the `jti` was seen before ([`AssertedClient::jti`] is to be consumed
//! once until [`AssertedClient::expires`]).

use jose::{Audience, Kind, NumericDate, TokenHash, Verified, Window};
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::form::Form;
use crate::identifier::{ClientId, NotAnIdentifier, TokenId};
use crate::issuer::Issuer;
use crate::token_text::{NotATokenText, TokenText};

/// The longest that an assertion may live from now: as long as its `jti` is remembered. The
/// example of draft-ietf-oauth-rfc7523bis §4.1 lives so long.
pub const MAX_LIFETIME: Span = Span::from_seconds(3_600);
/// Bytes of what an error repeats.
const MAX_EVIDENCE_BYTES: usize = 64;

/// What a request says about its client, before anything is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedClient {
    /// `client_id`.
    pub client_id: Option<ClientId>,
    /// `client_assertion` and its type.
    pub assertion: Option<(AssertionType, TokenText)>,
    /// `client_secret`, or that of HTTP Basic authentication.
    pub secret: Option<(SecretWay, TokenText)>,
}

/// How a shared secret came (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretWay {
    Basic,
    Post,
}

/// `client_assertion_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionType {
    /// RFC 7523 §2.2: a [`ClientAssertion`].
    Jwt,
    /// draft-ietf-oauth-spiffe-client-auth: a JWT-SVID.
    SpiffeJwt,
}

impl AssertionType {
    /// The value of the parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            Self::SpiffeJwt => "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        }
    }

    fn parse(value: &str) -> Option<Self> {
        [Self::Jwt, Self::SpiffeJwt].into_iter().find(|known| known.as_str() == value)
    }
}

impl PresentedClient {
    /// Reads the parameters.
    pub fn parse(form: &Form) -> Result<Self, PresentedClientError> {
        let secret = form.get("client_secret").map(TokenText::parse).transpose();
        let secret = secret.map_err(|_| PresentedClientError::Secret)?;
        let secret = secret.map(|text| (SecretWay::Post, text));
        let client_id = form.get("client_id").map(ClientId::parse).transpose()?;
        // RFC 7521 §4.2: both "REQUIRED" where an assertion authenticates the client.
        let assertion = match (form.get("client_assertion_type"), form.get("client_assertion")) {
            (None, None) => None,
            (Some(kind), Some(text)) => {
                let known = AssertionType::parse(kind);
                let found = kind.chars().take(MAX_EVIDENCE_BYTES).collect();
                let kind = known.ok_or(PresentedClientError::UnknownAssertionType { found })?;
                Some((kind, TokenText::parse(text)?))
            }
            (Some(_), None) => return Err(PresentedClientError::HalfAnAssertion),
            (None, Some(_)) => return Err(PresentedClientError::HalfAnAssertion),
        };
        Ok(Self { client_id, assertion, secret })
    }
}

/// Why the parameters of a client are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresentedClientError {
    #[error("a client secret that is not of the form that secrets have here")]
    Secret,
    #[error("`client_assertion` and `client_assertion_type` must come together")]
    HalfAnAssertion,
    #[error("client assertion type `{found}` is not known")]
    UnknownAssertionType { found: String },
    #[error(transparent)]
    ClientId(#[from] NotAnIdentifier),
    #[error(transparent)]
    Assertion(#[from] NotATokenText),
}

/// The kind `client-authentication+jwt`, which older clients leave untyped.
#[derive(Clone, Copy, Debug)]
pub struct ClientAssertion;

/// RFC 7523 §3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAssertionClaims {
    pub iss: ClientId,
    pub sub: ClientId,
    pub aud: Audience,
    pub exp: NumericDate,
    /// Optional in RFC 7523, required here: without it an assertion could be used again.
    pub jti: TokenId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
}

impl Kind for ClientAssertion {
    const TYPES: &'static [&'static str] = &["client-authentication+jwt", "JWT"];
    // draft-ietf-oauth-rfc7523bis §4: "it is NOT RECOMMENDED for servers to reject JWTs that do
    // not have explicit types."
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = ClientAssertionClaims;
    type Hint = ClientId;

    /// RFC 7523 §3: "For client authentication, the subject MUST be the "client_id" of the OAuth
    /// client."
    fn hint(claims: &ClientAssertionClaims) -> ClientId {
        claims.sub.clone()
    }

    fn window(claims: &ClientAssertionClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: claims.iat }
    }
}

/// A client that proved its key to this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertedClient {
    client_id: ClientId,
    jti: TokenId,
    expires: UnixTime,
    token_hash: TokenHash,
}

impl AssertedClient {
    /// The client.
    pub const fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// To be consumed once, for this client.
    pub const fn jti(&self) -> &TokenId {
        &self.jti
    }

    /// Until when, and the skew of clocks longer, the `jti` must be remembered.
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// What records name the assertion by.
    pub const fn token_hash(&self) -> TokenHash {
        self.token_hash
    }
}

/// Checks an assertion that was verified with a key of the client that it names. `client_id` is
/// the parameter of the request, `issuer` this server.
pub fn check(
    token: &Verified<ClientAssertion>,
    client_id: Option<&ClientId>,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<AssertedClient, AssertionRefused> {
    check_also_for(token, client_id, issuer, &[], now)
}

/// The same for a client whose assertions may also name one of these, among others: what it shows
/// elsewhere can then be used here.
pub fn check_also_for(
    token: &Verified<ClientAssertion>,
    client_id: Option<&ClientId>,
    issuer: &Issuer,
    also: &[String],
    now: UnixTime,
) -> Result<AssertedClient, AssertionRefused> {
    let claims = token.claims();
    // RFC 7523 §3: "For client authentication, the subject MUST be the "client_id" of the OAuth
    // client"; it is its own issuer, because the key is its own.
    if claims.iss != claims.sub {
        let (iss, sub) = (claims.iss.clone(), claims.sub.clone());
        return Err(AssertionRefused::IssuerIsNotSubject { iss, sub });
    }
    // RFC 7521 §4.2: "If present, the value of the "client_id" parameter MUST identify the same
    // client as is identified by the client assertion."
    if let Some(expected) = client_id.filter(|expected| **expected != claims.sub) {
        let (found, expected) = (claims.sub.clone(), expected.clone());
        return Err(AssertionRefused::WrongClient { found, expected });
    }
    // draft-ietf-oauth-rfc7523bis §4: "The authorization server MUST reject any JWT that does not
    // contain its issuer identifier as its sole audience value."
    let names_us = |name: &str| name == issuer.as_str() || also.iter().any(|one| one == name);
    let loosely = !also.is_empty() && claims.aud.iter().any(names_us);
    if claims.aud.sole() != Some(issuer.as_str()) && !loosely {
        let (found, expected) = (claims.aud.clone(), issuer.clone());
        return Err(AssertionRefused::WrongAudience { found, expected });
    }
    // RFC 7523 §3: "the authorization server may reject JWTs with an "exp" claim value that is
    // unreasonably far in the future."
    let expires = claims.exp.time();
    let latest = now.plus(MAX_LIFETIME);
    if expires > latest {
        return Err(AssertionRefused::LivesTooLong { exp: expires, latest });
    }
    Ok(AssertedClient {
        client_id: claims.sub.clone(),
        jti: claims.jti.clone(),
        expires,
        token_hash: token.token_hash(),
    })
}

/// Why a verified assertion does not authenticate its client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionRefused {
    #[error("assertion of `{iss}` about `{sub}`")]
    IssuerIsNotSubject { iss: ClientId, sub: ClientId },
    #[error("assertion of `{found}` in a request of `{expected}`")]
    WrongClient { found: ClientId, expected: ClientId },
    #[error("assertion for {found}, expected `{expected}` alone")]
    WrongAudience { found: Audience, expected: Issuer },
    #[error("assertion that expires at {exp}, later than {latest}")]
    LivesTooLong { exp: UnixTime, latest: UnixTime },
}
