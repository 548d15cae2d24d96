//! The workload proof token (wpt §2): whoever sends the WIT has its key, and means this message.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{
    Audience, Kind, Malformed, NumericDate, Refused, SigningInput, TokenHash, Unsignable,
    Unverified, Window, named,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::header::{HeaderError, check_token_syntax};
use crate::wit::VerifiedWit;

/// Longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 256;
/// Most other tokens in one message.
const OTHER_TOKENS_MAX: usize = 16;

/// The kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wpt;

impl Kind for Wpt {
    // wpt §2: "the WPT is explicitly typed, [...] using the `application/wpt+jwt` media type."
    const TYPES: &'static [&'static str] = &["wpt+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    // wpt §2: "The `exp` claim is present and conveys a time that has not passed."
    const EXP_REQUIRED: bool = true;
    type Claims = WptClaims;
    type Hint = ();

    fn hint(_: &WptClaims) {}

    fn window(claims: &WptClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: None }
    }
}

/// What a WPT says; other claims are ignored, as wpt §2.3 demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WptClaims {
    /// The target URI of the request, or a value that was agreed.
    pub aud: Audience,
    pub exp: NumericDate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    /// Never used before.
    pub jti: String,
    /// Hash of the WIT.
    pub wth: TokenHash,
    /// Hash of the access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ath: Option<TokenHash>,
    /// Hash of the transaction token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tth: Option<TokenHash>,
    /// Hashes of other tokens, by header field name in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oth: Option<BTreeMap<String, TokenHash>>,
}

/// What a sender proves: the other side of [`Expected`].
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// The target URI without query and fragment.
    pub audience: &'a str,
    pub expires: UnixTime,
    /// 128 random bits or more, as text.
    pub jti: &'a str,
    /// Hash of the WIT that is sent along.
    pub wit: TokenHash,
    /// The OAuth access token of the request, without its scheme.
    pub access_token: Option<&'a str>,
    /// The transaction token of the request.
    pub txn_token: Option<&'a str>,
    /// Header fields with other tokens: name and value.
    pub other: &'a [(&'a str, &'a str)],
}

impl Proof<'_> {
    /// The token to sign, with the key of the WIT and that key's `algorithm`.
    pub fn signing_input(
        &self,
        algorithm: jose::Algorithm,
    ) -> Result<SigningInput<Wpt>, Unsignable> {
        let oth: BTreeMap<String, TokenHash> =
            self.other.iter().map(|(name, value)| other_token(name, value)).collect();
        let claims = WptClaims {
            aud: Audience::one(self.audience),
            exp: NumericDate::from_time(self.expires),
            nbf: None,
            jti: self.jti.to_owned(),
            wth: self.wit,
            ath: self.access_token.map(TokenHash::of),
            tth: self.txn_token.map(TokenHash::of),
            // wpt §2: "the `ath`, `tth` and `oth` claims are each mandatory if the respective
            // tokens are included in the request."
            oth: (!oth.is_empty()).then_some(oth),
        };
        SigningInput::new(algorithm, None, &claims)
    }
}

/// What the verifier knows of the message that the WPT came with.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The target URI of the request and its accepted aliases, without query and fragment, made
    /// from configured authorities.
    ///
    /// wpt §3.1: "Validators MUST NOT use untrusted information obtained from the request to
    /// determine if the hostname belongs to an authorized authority." `Host` is such information.
    pub audiences: &'a [&'a str],
    /// The OAuth access token of the request, without its scheme.
    pub access_token: Option<&'a str>,
    /// The transaction token of the request.
    pub txn_token: Option<&'a str>,
    /// Header fields with other tokens that will be used for authorization: name and value.
    pub other: &'a [(&'a str, &'a str)],
    pub now: UnixTime,
    /// How far clocks may differ.
    pub skew: Span,
    /// How far ahead `exp` may lie.
    pub lifetime_max: Span,
}

/// A proof that its sender has the key of the WIT and meant this message. Good for one message:
/// [`VerifiedWpt::replay_key`] must be consumed before anything is done. Made by [`verify_wpt`]
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedWpt {
    replay_key: TokenHash,
    expires: UnixTime,
    remember_until: UnixTime,
}

impl VerifiedWpt {
    /// What must not have been seen before: a hash of the key that signed and of `jti`, so that
    /// nobody can use up the `jti` of another.
    pub fn replay_key(&self) -> TokenHash {
        self.replay_key
    }

    /// When the proof ends.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// How long it could be presented again: the end, and what clocks may differ.
    pub fn remember_until(&self) -> UnixTime {
        self.remember_until
    }
}

/// Validates the value of the one `Workload-Proof-Token` field of a message, in the order of wpt
/// §2.
pub fn verify_wpt(
    text: &str,
    wit: &VerifiedWit,
    expected: Expected<'_>,
) -> Result<VerifiedWpt, WptError> {
    // wpt §2: "The `Workload-Proof-Token` header field value is a single and well-formed JWT."
    check_token_syntax(text)?;
    let token = Unverified::<Wpt>::parse(text)?;
    // wpt §2: "The signature algorithm in the `alg` JOSE header string-equal matches the `alg`
    // attribute of the `jwk` in the `cnf` claim of the WIT."
    let algorithm = header_algorithm(text);
    if algorithm.is_none() || algorithm.as_deref() != wit.claims().cnf.algorithm_text() {
        return Err(WptError::Algorithm { found: algorithm });
    }
    // wpt §2: "The WPT signature is valid using the public key from the confirmation claim of the
    // WIT."
    let algorithms = [wit.confirmation_algorithm()];
    let (now, skew) = (expected.now, expected.skew);
    let token = token.verify(wit.confirmation_key(), &algorithms, now, skew)?;
    let claims = token.claims();
    check_audience(&claims.aud, expected.audiences)?;
    // wpt §2: "WPTs with an expiration time unreasonably far in the future SHOULD be rejected."
    let exp = claims.exp.time();
    if exp > now.plus(skew).plus(expected.lifetime_max) {
        return Err(WptError::TooFarAhead { exp, now });
    }
    // wpt §2: "The `wth` claim is present and matches the hash of the token value conveyed in the
    // `Workload-Identity-Token` header."
    if claims.wth != wit.token_hash() {
        return Err(WptError::OtherWit);
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
        return Err(WptError::Jti { bytes: claims.jti.len() });
    }
    // wpt §2: "If presented in conjunction with an OAuth access token, the value of the `ath` claim
    // matches the hash of that token's value." The same for `tth` and a Txn-Token.
    if claims.ath != expected.access_token.map(TokenHash::of) {
        return Err(WptError::AccessToken { claimed: claims.ath.is_some() });
    }
    if claims.tth != expected.txn_token.map(TokenHash::of) {
        return Err(WptError::TxnToken { claimed: claims.tth.is_some() });
    }
    check_other(claims.oth.as_ref(), expected.other)?;
    let signer = wit.confirmation_key().thumbprint();
    Ok(VerifiedWpt {
        replay_key: TokenHash::of(&format!("{signer}.{}", claims.jti)),
        expires: exp,
        remember_until: exp.plus(skew),
    })
}

/// Why a WPT is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WptError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("`alg` {} is not that of the key in the wit", named(found.as_deref()))]
    Algorithm { found: Option<String> },
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the proof is for another audience")]
    Audience { found: Audience },
    #[error("the proof names several audiences, so that another could use it")]
    SeveralAudiences { found: Audience },
    #[error("the proof ends at {exp}, too far ahead of {now}")]
    TooFarAhead { exp: UnixTime, now: UnixTime },
    #[error("the proof is for another wit")]
    OtherWit,
    #[error("a `jti` of {bytes} bytes, not 1 to {JTI_BYTES_MAX}")]
    Jti { bytes: usize },
    /// `ath` is absent, of another token, or there without an access token.
    #[error("`ath` is not the hash of the access token (claimed: {claimed})")]
    AccessToken { claimed: bool },
    /// `tth` is absent, of another token, or there without a transaction token.
    #[error("`tth` is not the hash of the transaction token (claimed: {claimed})")]
    TxnToken { claimed: bool },
    #[error("more than {OTHER_TOKENS_MAX} other tokens")]
    TooManyOther,
    #[error("several header fields `{name}`")]
    RepeatedOther { name: String },
    #[error("`oth` names `{name}`, which is not understood")]
    UnknownOther { name: String },
    #[error("`oth` has another hash for `{name}`")]
    OtherToken { name: String },
    #[error("`oth` does not cover `{name}`")]
    NotCovered { name: String },
}

/// wpt §2: "The `aud` claim of the WPT matches the target URI, or an acceptable alias or
/// normalization thereof, of the HTTP request in which the WPT was received, ignoring any query and
/// fragment parts."
fn check_audience(found: &Audience, accepted: &[&str]) -> Result<(), WptError> {
    let Some(audience) = found.sole() else {
        return Err(WptError::SeveralAudiences { found: found.clone() });
    };
    let bare = audience.split(['?', '#']).next().unwrap_or_default();
    if accepted.contains(&bare) { Ok(()) } else { Err(WptError::Audience { found: found.clone() }) }
}

/// wpt §2: every entry of `oth` must be understood and fit; "additional tokens not covered by the
/// `oth` claim MUST NOT be used by the recipient to make authorization decisions."
fn check_other(
    claimed: Option<&BTreeMap<String, TokenHash>>,
    present: &[(&str, &str)],
) -> Result<(), WptError> {
    let nothing = BTreeMap::new();
    let claimed = claimed.unwrap_or(&nothing);
    if claimed.len() > OTHER_TOKENS_MAX || present.len() > OTHER_TOKENS_MAX {
        return Err(WptError::TooManyOther);
    }
    let mut hashes = BTreeMap::new();
    for (name, value) in present {
        let (name, hash) = other_token(name, value);
        // wpt §2: "Header fields occurring multiple times in the request are not supported by
        // default."
        if hashes.insert(name.clone(), hash).is_some() {
            return Err(WptError::RepeatedOther { name });
        }
    }
    for (name, hash) in claimed {
        // wpt §2: "If the `oth` claim contains entries that are not understood by the recipient,
        // the WPT MUST be rejected."
        match hashes.get(name) {
            None => return Err(WptError::UnknownOther { name: name.clone() }),
            Some(present) if present != hash => {
                return Err(WptError::OtherToken { name: name.clone() });
            }
            Some(_) => {}
        }
    }
    match hashes.into_keys().find(|name| !claimed.contains_key(name)) {
        Some(name) => Err(WptError::NotCovered { name }),
        None => Ok(()),
    }
}

/// wpt §2: "the base64url encoding of the SHA-256 hash of the ASCII bytes of the header field value
/// with any leading or trailing spaces removed. The header field name MUST be normalized by
/// converting it to all lower case."
fn other_token(name: &str, value: &str) -> (String, TokenHash) {
    (name.to_ascii_lowercase(), TokenHash::of(value.trim_matches(' ')))
}

/// `alg` of a token whose header was read before, character by character.
fn header_algorithm(text: &str) -> Option<String> {
    let header = URL_SAFE_NO_PAD.decode(text.split('.').next()?).ok()?;
    let members: Map<String, Value> = serde_json::from_slice(&header).ok()?;
    members.get("alg")?.as_str().map(str::to_owned)
}
