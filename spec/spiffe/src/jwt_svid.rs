//! JWT-SVIDs: bearer tokens of a workload for one audience (JWT-SVID §2 to §4).

use jose::{
    Algorithm, Audience, KeyId, Kind, Malformed, NoKey, NumericDate, PublicKey, Refused, TokenHash,
    Unverified, Verified, Window,
};
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::attributes::Attributes;
use crate::bundle_set::BundleSet;
use crate::id::{SpiffeId, TrustDomain};

// JWT-SVID §2.1: "The supported `alg` values are:" this table. No EdDSA, no HMAC, no `none`.
/// Signature algorithms of a JWT-SVID.
pub const JWT_SVID_ALGORITHMS: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// The kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JwtSvid;

impl Kind for JwtSvid {
    // JWT-SVID §2.3: "The `typ` header is optional. If set, its value MUST be either `JWT` or
    // `JOSE`."
    const TYPES: &'static [&'static str] = &["JWT", "JOSE"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    // JWT-SVID §2: "Any header not described here, registered or private, MUST NOT be included in
    // the JWT-SVID JOSE Header."
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = Some(&["alg", "kid", "typ"]);
    // JWT-SVID §3.3: "The `exp` claim MUST be set, and validators MUST reject tokens without this
    // claim."
    const EXP_REQUIRED: bool = true;
    type Claims = JwtSvidClaims;
    type Hint = TrustDomain;

    fn hint(claims: &JwtSvidClaims) -> TrustDomain {
        claims.sub.trust_domain().clone()
    }

    fn window(claims: &JwtSvidClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: claims.iat }
    }
}

/// What a JWT-SVID says; other claims are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtSvidClaims {
    // JWT-SVID §3.1: "The `sub` claim MUST be set to the SPIFFE ID of the workload to which it is
    // issued."
    pub sub: SpiffeId,
    // JWT-SVID §3.2: "The `aud` claim MUST be present, containing one or more values."
    pub aud: Audience,
    pub exp: NumericDate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    // JWT-SVID §3: "Registered claims not described in this document [...] MAY be used as
    // implementers see fit": for relying parties that find keys by issuer. Nothing here verifies by
    // it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The revocation epoch under which it was issued, if we issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aims_epoch: Option<u64>,
    /// What it says about the workload beside who it is, if we issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aims_attributes: Option<Attributes>,
}

/// A JWT-SVID that the trust domain of its subject vouches for, for the audience that was
/// expected. Made by [`verify_jwt_svid`] alone.
#[derive(Debug, Clone)]
pub struct VerifiedJwtSvid(Verified<JwtSvid>);

impl VerifiedJwtSvid {
    /// Who presents it, if nobody has stolen it.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.0.claims().sub
    }

    /// Everything it says.
    pub fn claims(&self) -> &JwtSvidClaims {
        self.0.claims()
    }

    /// The revocation epoch under which it was issued, if we issued it.
    pub fn epoch(&self) -> Option<u64> {
        self.0.claims().aims_epoch
    }

    /// When it ends.
    pub fn expires(&self) -> UnixTime {
        self.0.claims().exp.time()
    }

    /// What records call it by.
    pub fn token_hash(&self) -> TokenHash {
        self.0.token_hash()
    }
}

/// Validates a compact JWT-SVID, in the order of JWT-SVID §4: form and algorithm, key by the trust
/// domain of the subject, signature, lifetime, audience. `audiences` are the values that the
/// validator identifies with: one of them must be among those of the token.
pub fn verify_jwt_svid(
    text: &str,
    bundles: &BundleSet,
    audiences: &[&str],
    now: UnixTime,
    skew: Span,
) -> Result<VerifiedJwtSvid, JwtSvidError> {
    let token = Unverified::<JwtSvid>::parse(text)?;
    let verified = token.verify(bundles, JWT_SVID_ALGORITHMS, now, skew)?;
    let claims = verified.claims();
    // SPIFFE-ID §3.1: an ID without path is that of "the signing authority", not of a workload.
    if claims.sub.path().is_empty() {
        return Err(JwtSvidError::NoPath(claims.sub.clone()));
    }
    // JWT-SVID §3.2: "Validators MUST reject tokens without an `aud` claim set, or if the value
    // that the validator identifies with is not present as an `aud` element."
    if !audiences.iter().any(|audience| claims.aud.contains(audience)) {
        return Err(JwtSvidError::Audience { found: claims.aud.clone() });
    }
    Ok(VerifiedJwtSvid(verified))
}

/// Why a token is no valid JWT-SVID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtSvidError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("`{0}` names a trust domain, not a workload")]
    NoPath(SpiffeId),
    #[error("the token is for another audience")]
    Audience { found: Audience },
}

/// The JWT keys of the trust domain of the subject, and of no other.
impl jose::KeySource<JwtSvid> for BundleSet {
    fn key(&self, domain: &TrustDomain, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        let bundle = self.get(domain).ok_or(NoKey::UnknownIssuer)?;
        bundle.jwt_key(kid)
    }
}
