//! The workload identity token (workload-creds §5.1) and its SPIFFE profile (WIT-SVID §2, §3).

use std::collections::BTreeMap;

use jose::{
    Algorithm, Jwk, JwkError, KeyId, KeySource, Kind, Malformed, NoKey, NumericDate, PublicKey,
    Refused, TokenHash, Unverified, Verified, Window, named,
};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use spiffe::{Attributes, BundleKey, JWT_SVID_ALGORITHMS, SpiffeId};
use time::{Span, UnixTime};

use crate::bundles::Bundles;
use crate::header::{HeaderError, check_token_syntax};
use crate::workload_id::{Origin, WorkloadId};

// WIT-SVID §2.3: "this parameter MUST be present and set to one of the following supported values",
// those of JWT-SVID §2.1; §3.2 has the same list for `cnf.jwk.alg`. No EdDSA.
/// Algorithms of a WIT-SVID: of its signature, and of the proof that goes with it.
pub const WIT_SVID_ALGORITHMS: &[Algorithm] = JWT_SVID_ALGORITHMS;

/// The kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wit;

impl Kind for Wit {
    // workload-creds §5.1: "the WIT is explicitly typed, as recommended in Section 3.11 of RFC8725,
    // using the `wit+jwt` media type."
    const TYPES: &'static [&'static str] = &["wit+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    // WIT-SVID §2.4: "Validators SHOULD ignore unknown header parameters except where those header
    // parameters are specified by the `crit` header parameter".
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    // workload-creds §5.1: "A WIT MUST contain the following content": `exp` among it.
    const EXP_REQUIRED: bool = true;
    type Claims = WitClaims;
    type Hint = Origin;

    /// workload-creds §3: the key comes "from the trust anchors configured for the trust domain in
    /// the `sub` claim", never from `iss`.
    fn hint(claims: &WitClaims) -> Origin {
        claims.sub.origin()
    }

    fn window(claims: &WitClaims) -> Window {
        // WIT-SVID §3.6: `iat` "MUST NOT be used for limiting the earliest validity of a WIT-SVID,
        // this is the purpose of the `nbf` claim."
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: None }
    }
}

/// What a WIT says; other claims are ignored. It shares claims with a JWT-SVID, not their rules:
/// its subject may have another scheme, it has no audience, and `iat` bounds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitClaims {
    // workload-creds §4: "For a Workload Identity Token, that identifier is the value of the `sub`
    // claim."
    pub sub: WorkloadId,
    pub exp: NumericDate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// For audit; keys are never found by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    pub cnf: Confirmation,
    /// The revocation epoch under which it was issued, if we issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aims_epoch: Option<u64>,
    /// What it says about the workload beside who it is: no second identity (workload-creds §4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aims_attributes: Option<Attributes>,
    /// Whether there is an `aud`, whatever it says; never written.
    #[serde(rename = "aud", default, deserialize_with = "is_there", skip_serializing)]
    pub has_audience: bool,
}

/// `cnf`: the public key of the workload (RFC 7800 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confirmation {
    jwk: Jwk,
    /// `alg` of the JWK as it stands there.
    #[serde(skip)]
    algorithm_text: Option<String>,
}

impl Confirmation {
    /// Binds a key that has one algorithm; `None` for an RSA key without.
    pub fn new(key: &PublicKey) -> Option<Self> {
        let jwk = key.to_jwk();
        let algorithm_text = Some(jwk.alg()?.as_str().to_owned());
        Some(Self { jwk, algorithm_text })
    }

    /// The key as a JWK.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// `alg` of the JWK, character by character.
    pub(crate) fn algorithm_text(&self) -> Option<&str> {
        self.algorithm_text.as_deref()
    }
}

impl<'de> Deserialize<'de> for Confirmation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // workload-creds §5.1: "Within the `cnf` claim, a `jwk` key MUST be present that contains
        // the public key of the workload".
        let members = Map::<String, Value>::deserialize(deserializer)?;
        let value = members.get("jwk").ok_or_else(|| D::Error::missing_field("jwk"))?;
        // Private members and symmetric keys are refused there, and an `alg` that does not fit.
        let jwk = Jwk::from_value(value).map_err(D::Error::custom)?;
        let algorithm_text = value.get("alg").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { jwk, algorithm_text })
    }
}

/// The keys that may sign WITs, by origin.
///
/// workload-creds §3: "Consumers MUST bind each trust domain to an authorized issuer (or set of
/// issuers) and to the corresponding trust anchors." Scheme and authority together are the key: an
/// issuer of `spiffe://x` says nothing about `wimse://x`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustAnchors(BTreeMap<Origin, Vec<BundleKey>>);

impl TrustAnchors {
    /// Anchors that trust nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the keys of an origin, all of them: what it had before is gone.
    pub fn insert(&mut self, origin: Origin, keys: Vec<BundleKey>) {
        self.0.insert(origin, keys);
    }

    /// Ends the trust in an origin.
    pub fn remove(&mut self, origin: &Origin) {
        self.0.remove(origin);
    }
}

/// The WIT keys of every bundle, each for its own origin.
impl From<&Bundles> for TrustAnchors {
    fn from(bundles: &Bundles) -> Self {
        let keys = bundles.iter().map(|(origin, bundle)| (origin, bundle.wit_keys().to_vec()));
        Self(keys.collect())
    }
}

impl KeySource<Wit> for TrustAnchors {
    fn key(&self, origin: &Origin, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        BundleKey::only(self.0.get(origin).ok_or(NoKey::UnknownIssuer)?, kid)
    }
}

/// What policy decides about WITs.
#[derive(Debug, Clone, Copy)]
pub struct WitPolicy<'a> {
    /// Algorithms of the signature.
    pub algorithms: &'a [Algorithm],
    /// Algorithms of the key that a WIT binds.
    pub confirmation_algorithms: &'a [Algorithm],
    /// If given, `iss` must be there and be one of these.
    pub issuers: Option<&'a [&'a str]>,
    /// How far clocks may differ: "seconds to at most a couple of minutes" (WIT-SVID §3.4).
    pub skew: Span,
}

/// A WIT that the origin of its subject vouches for. It says who may prove possession of its key;
/// until that is proved (see [`crate::verify_wpt`]) nobody is authenticated. Made by [`verify_wit`]
/// alone.
#[derive(Debug, Clone)]
pub struct VerifiedWit {
    token: Verified<Wit>,
    key: PublicKey,
    algorithm: Algorithm,
}

impl VerifiedWit {
    /// Whose key it is.
    pub fn workload_id(&self) -> &WorkloadId {
        &self.token.claims().sub
    }

    /// Everything it says.
    pub fn claims(&self) -> &WitClaims {
        self.token.claims()
    }

    /// The SPIFFE ID, if the WIT is a WIT-SVID: those with a SPIFFE ID always are, having been held
    /// to that profile.
    pub fn as_wit_svid(&self) -> Option<&SpiffeId> {
        self.workload_id().as_spiffe()
    }

    /// The key that must sign the proof.
    pub fn confirmation_key(&self) -> &PublicKey {
        &self.key
    }

    /// With which algorithm it must.
    pub fn confirmation_algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The revocation epoch under which it was issued, if we issued it.
    pub fn epoch(&self) -> Option<u64> {
        self.claims().aims_epoch
    }

    /// When it ends.
    pub fn expires(&self) -> UnixTime {
        self.claims().exp.time()
    }

    /// SHA-256 of its text: what a proof carries as `wth`, and what records call it by.
    pub fn token_hash(&self) -> TokenHash {
        self.token.token_hash()
    }
}

/// Validates the value of the one `Workload-Identity-Token` field of a message: syntax, type and
/// algorithm, keys of the subject's origin, signature, lifetime, the WIT-SVID profile where the
/// subject is a SPIFFE ID, the bound key, the issuer where policy asks for it. What is left to the
/// caller: whether the workload or this WIT was revoked, and the proof of possession.
pub fn verify_wit(
    header_value: &str,
    anchors: &TrustAnchors,
    policy: WitPolicy<'_>,
    now: UnixTime,
) -> Result<VerifiedWit, WitError> {
    check_token_syntax(header_value)?;
    // wimse-identifier §7.1: "Structural and canonical validation MUST complete before issuer
    // selection, trust-anchor lookup, authorization": `sub` is read here or the token is malformed.
    let token = Unverified::<Wit>::parse(header_value)?;
    let is_svid = token.hint().is_spiffe();
    // WIT-SVID §2.1: "For a WIT-SVID, this parameter MUST be present."
    if is_svid && token.header().kid().is_none() {
        return Err(WitSvidError::NoKeyId.into());
    }
    // WIT-SVID §2.3: "Validators MUST reject WIT-SVIDs with an unsupported `alg` parameter value."
    let algorithm = token.header().algorithm();
    if is_svid && !WIT_SVID_ALGORITHMS.contains(&algorithm) {
        return Err(WitSvidError::Algorithm { algorithm }.into());
    }
    let token = token.verify(anchors, policy.algorithms, now, policy.skew)?;
    let claims = token.claims();
    // SPIFFE-ID §3.1: an ID without path is that of "the signing authority", not of a workload.
    if claims.sub.path().is_empty() {
        return Err(WitError::NoPath(claims.sub.clone()));
    }
    // WIT-SVID §3.8: "The audience (`aud`) claim MUST NOT be included within a WIT-SVID."
    if is_svid && claims.has_audience {
        return Err(WitSvidError::Audience.into());
    }
    let (key, algorithm) = confirmation(&claims.cnf, policy, is_svid)?;
    // workload-creds §9.1: "When a deployment uses the `iss` claim for key distribution [...]
    // validators MUST enforce an allowlist of accepted issuers."
    let accepted =
        |issuers: &[&str]| claims.iss.as_deref().is_some_and(|iss| issuers.contains(&iss));
    if !policy.issuers.is_none_or(accepted) {
        return Err(WitError::Issuer { found: claims.iss.clone() });
    }
    Ok(VerifiedWit { token, key, algorithm })
}

/// Why a WIT is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("`{0}` names a trust domain, not a workload")]
    NoPath(WorkloadId),
    #[error(transparent)]
    Svid(#[from] WitSvidError),
    #[error("no `alg` in `cnf.jwk`")]
    NoConfirmationAlgorithm,
    #[error("the key in `cnf.jwk` is for {algorithm}, which is not accepted")]
    ConfirmationAlgorithm { algorithm: Algorithm },
    #[error("the key in `cnf.jwk` makes no signatures: {0}")]
    ConfirmationKey(JwkError),
    #[error("the issuer {} is not accepted", named(found.as_deref()))]
    Issuer { found: Option<String> },
}

/// Why a WIT with a SPIFFE ID is no WIT-SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WitSvidError {
    #[error("a wit-svid without `kid`")]
    NoKeyId,
    #[error("a wit-svid signed with {algorithm}")]
    Algorithm { algorithm: Algorithm },
    #[error("a wit-svid with an audience")]
    Audience,
    #[error("a wit-svid whose key is for {algorithm}")]
    ConfirmationAlgorithm { algorithm: Algorithm },
}

/// The key that a WIT binds, and the algorithm of the proof.
fn confirmation(
    cnf: &Confirmation,
    policy: WitPolicy<'_>,
    is_svid: bool,
) -> Result<(PublicKey, Algorithm), WitError> {
    // workload-creds §5.1: "Within the `jwk` object, an `alg` field MUST be present."
    let algorithm = cnf.jwk.alg().ok_or(WitError::NoConfirmationAlgorithm)?;
    if is_svid && !WIT_SVID_ALGORITHMS.contains(&algorithm) {
        return Err(WitSvidError::ConfirmationAlgorithm { algorithm }.into());
    }
    if !policy.confirmation_algorithms.contains(&algorithm) {
        return Err(WitError::ConfirmationAlgorithm { algorithm });
    }
    let key = PublicKey::from_jwk(&cnf.jwk).map_err(WitError::ConfirmationKey)?;
    Ok((key, algorithm))
}

/// A member that is there, whatever its value.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
