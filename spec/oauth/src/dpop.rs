//! Proofs of possession at the application layer (RFC 9449): a client shows with each request that
//! it has the key which its token is bound to.
//!
//! In scope: the proof from both sides, its checks in the order of §4.3, the nonce that a server
//! gives without remembering it, and what must be remembered of a proof. Not here: whether the
//! proof was seen before, and which requests need one.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{
    Algorithm, Jwk, JwkError, Kind, Malformed, NumericDate, PublicKey, Signature, Thumbprint,
    TokenHash, Unverified, Window, json,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Span, UnixTime};
use url::Url;

use crate::identifier::TokenId;
use crate::parameter::evidence;
use crate::token_text::{NotATokenText, TokenText};

/// `typ` of a proof (RFC 9449 §4.2).
const TYPE: &str = "dpop+jwt";
/// The header field of the proof.
pub const FIELD: &str = "dpop";
/// The header field that gives a nonce.
pub const NONCE_FIELD: &str = "dpop-nonce";
/// Bytes of a header: a key of RSA and room.
const MAX_HEADER_BYTES: usize = 4_096;
/// Bytes of a nonce that a proof repeats.
const MAX_NONCE_BYTES: usize = 256;
/// Bytes of the time in a nonce of ours.
const NONCE_TIME: usize = 8;
/// Bytes of the code in a nonce of ours.
const NONCE_CODE: usize = 16;
/// What codes of nonces are made over, so that the key may not be used for something else.
const NONCE_LABEL: &[u8] = b"aims dpop nonce 1";

/// The kind `dpop+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct DpopProof;

/// RFC 9449 §4.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DpopClaims {
    pub jti: TokenId,
    pub htm: String,
    pub htu: String,
    pub iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ath: Option<TokenHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Not defined for the proof; obeyed where a client sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
}

impl Kind for DpopProof {
    // RFC 9449 §4.3: "the typ JOSE header parameter has the value dpop+jwt".
    const TYPES: &'static [&'static str] = &[TYPE];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = DpopClaims;
    type Hint = ();

    fn hint(_: &DpopClaims) {}

    /// `iat` is judged by [`check`](Proof::verify): a nonce of ours may tell the time in its place.
    fn window(claims: &DpopClaims) -> Window {
        Window { exp: claims.exp, nbf: claims.nbf, iat: None }
    }
}

/// A proof whose parts can be read and whose signature nobody has checked.
#[derive(Debug)]
pub struct Proof {
    token: Unverified<DpopProof>,
    key: PublicKey,
}

/// The request that a proof must be of.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub method: &'a str,
    /// The URI of the request, as [`target`] writes it.
    pub uri: &'a str,
    /// How fresh proofs are told.
    pub freshness: Freshness<'a>,
    /// The access token beside the proof, and the key that it is bound to.
    pub access_token: Option<(&'a TokenText, &'a Thumbprint)>,
}

/// How a server tells that a proof was made lately.
#[derive(Clone, Copy, Debug)]
pub enum Freshness<'a> {
    /// By the clock of the client: `iat` is at most so old, and at most `skew` ahead.
    Clock { max_age: Span, skew: Span },
    /// By a nonce of ours, at most so old (RFC 9449 §8).
    Nonce { key: &'a NonceKey, max_age: Span },
}

/// A proof of this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    thumbprint: Thumbprint,
    jti: TokenId,
    remember_until: UnixTime,
}

impl Proven {
    /// The key, as `cnf.jkt` and `dpop_jkt` name it.
    pub const fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// To be consumed once, for this key: two keys may use one `jti`.
    pub const fn jti(&self) -> &TokenId {
        &self.jti
    }

    /// Until when it must be remembered.
    pub const fn remember_until(&self) -> UnixTime {
        self.remember_until
    }
}

impl Proof {
    /// Reads the values of the header field: RFC 9449 §4.3, checks 1 to 5 and 7.
    pub fn of_field<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
        accepted: &[Algorithm],
    ) -> Result<Self, ProofRefused> {
        // RFC 9449 §4.3: "there is not more than one DPoP HTTP request header field".
        let text = TokenText::of_field(values)?;
        let token = Unverified::<DpopProof>::parse(text.as_str())?;
        // RFC 9449 §4.3: "is supported by the application, and is acceptable per local policy".
        let algorithm = token.header().algorithm();
        if !accepted.contains(&algorithm) {
            return Err(ProofRefused::Algorithm { algorithm });
        }
        let key = header_key(text.as_str())?;
        Ok(Self { token, key })
    }

    /// The key that the header names, which is nobody's yet.
    pub fn thumbprint(&self) -> Thumbprint {
        self.key.thumbprint()
    }

    /// The rest of the checks of RFC 9449 §4.3: signature, method, URI, nonce, time, token.
    pub fn verify(self, expected: &Expected<'_>, now: UnixTime) -> Result<Proven, ProofRefused> {
        // RFC 9449 §4.3: "the JWT signature verifies with the public key contained in the jwk JOSE
        // header parameter".
        let accepted = [self.token.header().algorithm()];
        let token = self.token.verify(&self.key, &accepted, now, Span::ZERO)?;
        let claims = token.claims();
        // RFC 9449 §4.3: "the htm claim matches the HTTP method of the current request".
        if claims.htm != expected.method {
            let (found, expected) = (evidence(&claims.htm), expected.method.to_owned());
            return Err(ProofRefused::Method { found, expected });
        }
        // RFC 9449 §4.3: "the htu claim matches the HTTP URI value for the HTTP request in which
        // the JWT was received, ignoring any query and fragment parts".
        if target(&claims.htu).as_deref() != Some(expected.uri) {
            let (found, expected) = (evidence(&claims.htu), expected.uri.to_owned());
            return Err(ProofRefused::Uri { found, expected });
        }
        let remember_until = fresh(claims, &expected.freshness, now)?;
        let thumbprint = self.key.thumbprint();
        if let Some((access_token, bound)) = expected.access_token {
            // RFC 9449 §4.3: "ensure that the value of the ath claim equals the hash of that access
            // token".
            let ath = claims.ath.as_ref().ok_or(ProofRefused::NoTokenHash)?;
            if *ath != TokenHash::of(access_token.as_str()) {
                return Err(ProofRefused::TokenHash);
            }
            // RFC 9449 §4.3: "confirm that the public key to which the access token is bound
            // matches the public key from the DPoP proof."
            if thumbprint != *bound {
                return Err(ProofRefused::Key { found: thumbprint, expected: *bound });
            }
        }
        Ok(Proven { thumbprint, jti: claims.jti.clone(), remember_until })
    }
}

/// Compares the key of a proof with `dpop_jkt`, where there are both (RFC 9449 §10, §10.1).
pub fn same_key(proven: &Proven, dpop_jkt: &Thumbprint) -> Result<(), ProofRefused> {
    // RFC 9449 §10: "verifies that it matches the dpop_jkt parameter value in the authorization
    // request. If they do not match, it MUST reject the request."
    if proven.thumbprint == *dpop_jkt {
        return Ok(());
    }
    Err(ProofRefused::Key { found: proven.thumbprint, expected: *dpop_jkt })
}

/// The one spelling of a request's URI without query and fragment; `None` for what is no `http`
/// URI.
pub fn target(uri: &str) -> Option<String> {
    // RFC 9449 §4.3: "servers SHOULD employ Syntax-Based Normalization [...] and Scheme-Based
    // Normalization [...] before comparing the htu claim."
    let raw = uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let mut url = Url::parse(uri).ok().filter(|_| raw)?;
    let http = matches!(url.scheme(), "http" | "https") && uri.contains("://");
    if !http || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    let (before, path) = url.as_str().split_at(url.as_str().len() - url.path().len());
    Some(format!("{before}{}", percent_normalized(path)?))
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2: hexadecimal digits in upper case, and no unreserved character in
/// percent-encoding.
fn percent_normalized(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        let digits = after.get(1..3)?;
        let octet = u8::from_str_radix(digits, 16).ok()?;
        out.push_str(before);
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push('%');
            out.push_str(&digits.to_ascii_uppercase());
        }
        rest = after.get(3..)?;
    }
    out.push_str(rest);
    Some(out)
}

/// A secret of the server that nonces are made with.
pub struct NonceKey(hmac::Key);

impl NonceKey {
    /// The key of these secret octets, the same on each server that must take the nonces.
    pub fn of(octets: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, octets))
    }

    /// A nonce that tells when it was given, so that nobody has to remember it.
    pub fn nonce(&self, now: UnixTime) -> String {
        // RFC 9449 §11.1: "server-provided nonce values containing the time at the server".
        let time = now.seconds().to_be_bytes();
        let code = self.code(&time);
        URL_SAFE_NO_PAD.encode([&time[..], &code].concat())
    }

    /// Until when a nonce of ours counts, if it does now.
    pub fn is_fresh(
        &self,
        nonce: &str,
        max_age: Span,
        now: UnixTime,
    ) -> Result<UnixTime, ProofRefused> {
        if nonce.len() > MAX_NONCE_BYTES {
            return Err(ProofRefused::Nonce);
        }
        let given = self.given(nonce).ok_or(ProofRefused::Nonce)?;
        let until = given.plus(max_age);
        if until < now || given > now.plus(max_age) {
            return Err(ProofRefused::OldNonce { given, now });
        }
        Ok(until)
    }

    /// When a nonce of ours was given.
    fn given(&self, nonce: &str) -> Option<UnixTime> {
        let octets = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let (time, code) = octets.split_at_checked(NONCE_TIME)?;
        verify_slices_are_equal(code, &self.code(time)).ok()?;
        Some(UnixTime::from_seconds(u64::from_be_bytes(time.try_into().ok()?)))
    }

    fn code(&self, time: &[u8]) -> Vec<u8> {
        let tag = hmac::sign(&self.0, &[NONCE_LABEL, time].concat());
        tag.as_ref().iter().copied().take(NONCE_CODE).collect()
    }
}

impl std::fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NonceKey(…)")
    }
}

/// A proof that is made, before its signature.
#[derive(Clone, Debug)]
pub struct ProofInput(String);

impl ProofInput {
    /// What the holder of `key` says with it.
    pub fn new(
        key: &PublicKey,
        algorithm: Algorithm,
        claims: &DpopClaims,
    ) -> Result<Self, serde_json::Error> {
        // RFC 9449 §4.2: `typ`, `alg`, and `jwk`, "representing the public key chosen by the
        // client".
        let header = serde_json::json!({
            "typ": TYPE, "alg": algorithm.as_str(), "jwk": key.to_jwk().to_value(),
        });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_string(claims)?);
        Ok(Self(format!("{header}.{claims}")))
    }

    /// What is signed.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The proof, signed by that key.
    pub fn attach(self, signature: &Signature) -> String {
        format!("{}.{}", self.0, URL_SAFE_NO_PAD.encode(signature.as_bytes()))
    }
}

/// Until when the proof must be remembered, if it is fresh.
fn fresh(
    claims: &DpopClaims,
    freshness: &Freshness<'_>,
    now: UnixTime,
) -> Result<UnixTime, ProofRefused> {
    match *freshness {
        Freshness::Clock { max_age, skew } => {
            // RFC 9449 §11.1: "servers MUST only accept DPoP proofs for a limited time after their
            // creation"; "the server MAY accept DPoP proofs that carry an iat time in the
            // reasonably near future".
            let iat = claims.iat.time();
            let until = iat.plus(max_age);
            if until < now || iat > now.plus(skew) {
                return Err(ProofRefused::NotFresh { iat, now });
            }
            Ok(until)
        }
        Freshness::Nonce { key, max_age } => {
            // RFC 9449 §11.3: "A server MUST NOT accept any DPoP proofs without the nonce claim
            // when a DPoP nonce has been provided to the client."
            let nonce = claims.nonce.as_deref().ok_or(ProofRefused::NoNonce)?;
            key.is_fresh(nonce, max_age, now)
        }
    }
}

/// `jwk` of the header. Whoever makes a proof chooses it: it means only that this key signed.
fn header_key(text: &str) -> Result<PublicKey, ProofRefused> {
    let header = text.split('.').next().unwrap_or_default();
    if header.len() > MAX_HEADER_BYTES {
        return Err(ProofRefused::LongHeader { length: header.len(), max: MAX_HEADER_BYTES });
    }
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| ProofRefused::NoKey)?;
    let members: Map<String, Value> =
        json::parse_bytes(&header).map_err(|_| ProofRefused::NoKey)?;
    let jwk = Jwk::from_value(members.get("jwk").ok_or(ProofRefused::NoKey)?);
    // RFC 9449 §4.3: "the jwk JOSE header parameter does not contain a private key".
    let jwk = jwk.map_err(ProofRefused::BadKey)?;
    jwk.verification_key().cloned().map_err(ProofRefused::BadKey)
}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofRefused {
    #[error("the field `DPoP`: {0} (RFC 9449 §4.3)")]
    Field(#[from] NotATokenText),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("proof with the algorithm `{algorithm}`, which is not accepted (RFC 9449 §4.3)")]
    Algorithm { algorithm: Algorithm },
    #[error("proof with a header of {length} bytes, more than {max}")]
    LongHeader { length: usize, max: usize },
    #[error("proof without `jwk` in its header (RFC 9449 §4.2)")]
    NoKey,
    #[error("`jwk` of a proof: {0} (RFC 9449 §4.2)")]
    BadKey(JwkError),
    #[error(transparent)]
    Refused(#[from] jose::Refused),
    #[error("proof of the method `{found}`, not `{expected}` (RFC 9449 §4.3)")]
    Method { found: String, expected: String },
    #[error("proof for `{found}`, not `{expected}` (RFC 9449 §4.3)")]
    Uri { found: String, expected: String },
    #[error("proof made at {iat}, now {now} (RFC 9449 §4.3)")]
    NotFresh { iat: UnixTime, now: UnixTime },
    #[error("proof without `nonce` (RFC 9449 §8)")]
    NoNonce,
    #[error("proof with a `nonce` that was not given here (RFC 9449 §8)")]
    Nonce,
    #[error("proof with a `nonce` of {given}, now {now} (RFC 9449 §8)")]
    OldNonce { given: UnixTime, now: UnixTime },
    #[error("proof without `ath` beside an access token (RFC 9449 §7)")]
    NoTokenHash,
    #[error("proof for another access token (RFC 9449 §4.3)")]
    TokenHash,
    #[error("proof of the key `{found}`, not `{expected}` (RFC 9449 §4.3)")]
    Key { found: Thumbprint, expected: Thumbprint },
}

impl ProofRefused {
    /// Whether another nonce would do: `use_dpop_nonce`, with a new one beside it (RFC 9449 §8).
    pub const fn asks_for_nonce(&self) -> bool {
        matches!(self, Self::NoNonce | Self::Nonce | Self::OldNonce { .. })
    }
}
