//! From an unverified token to a verified one: key, signature, time.

use std::fmt;
use std::marker::PhantomData;

use time::{Span, UnixTime};

use crate::algorithm::{Algorithm, KeyType};
use crate::hash::{TokenHash, redacted};
use crate::header::KeyId;
use crate::key::PublicKey;
use crate::token::{Kind, Unverified};

/// Where keys come from: a trust bundle, a set that was fetched, the key that a proof must be of.
/// The caller vouches that the keys belong to what the hint says.
pub trait KeySource<K: Kind> {
    /// The one key that may have signed a token of this hint and key id.
    fn key(&self, hint: &K::Hint, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey>;
}

/// One known key: whatever `kid` says, this key must have signed.
impl<K: Kind> KeySource<K> for PublicKey {
    fn key(&self, _: &K::Hint, _: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        Ok(self)
    }
}

/// Why there is no key for a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    #[error("the issuer is not trusted")]
    UnknownIssuer,
    #[error("no key id, and more than one key")]
    KeyIdRequired,
    #[error("no key with the id `{kid}`")]
    UnknownKeyId { kid: KeyId },
    #[error("several keys with the id `{kid}`")]
    AmbiguousKeyId { kid: KeyId },
    #[error("there are no keys")]
    NoKeys,
}

/// A token that holds now: its signature, kind and lifetime are checked. Whom it is for and
/// whether its claims are enough is for the crate of its kind to say.
pub struct Verified<K: Kind> {
    claims: K::Claims,
    kid: Option<KeyId>,
    algorithm: Algorithm,
    token_hash: TokenHash,
    expires: Option<UnixTime>,
    kind: PhantomData<K>,
}

impl<K: Kind> Verified<K> {
    /// What the issuer says.
    pub const fn claims(&self) -> &K::Claims {
        &self.claims
    }

    /// The claims alone.
    pub fn into_claims(self) -> K::Claims {
        self.claims
    }

    /// Which key signed, as the token calls it.
    pub const fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
    }

    /// The algorithm that it was verified with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SHA-256 of the text.
    pub const fn token_hash(&self) -> TokenHash {
        self.token_hash
    }

    /// `exp`; `None` only for kinds that need none.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }
}

impl<K: Kind> Clone for Verified<K>
where
    K::Claims: Clone,
{
    fn clone(&self) -> Self {
        Self { claims: self.claims.clone(), kid: self.kid.clone(), ..*self }
    }
}

impl<K: Kind> fmt::Debug for Verified<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "Verified", K::TYPES, self.token_hash)
    }
}

impl<K: Kind> Unverified<K> {
    /// Checks signature and lifetime. `accepted` are the algorithms that the caller allows for
    /// this issuer; `skew` is how far clocks may differ.
    pub fn verify<S: KeySource<K> + ?Sized>(
        self,
        keys: &S,
        accepted: &[Algorithm],
        now: UnixTime,
        skew: Span,
    ) -> Result<Verified<K>, Refused> {
        let algorithm = self.header().algorithm();
        // draft-ietf-oauth-rfc8725bis §3.1: "Libraries [...] MUST NOT employ any algorithms
        // outside this configured set when performing cryptographic operations."
        if !accepted.contains(&algorithm) {
            return Err(Refused::AlgorithmNotAccepted { algorithm });
        }
        let key = keys.key(&self.hint(), self.header().kid())?;
        check_signature(key, algorithm, self.signing_input(), self.signature())?;
        let expires = check_window::<K>(&self, now, skew)?;
        let token_hash = self.token_hash();
        let (header, claims) = self.into_parts();
        Ok(Verified {
            claims,
            kid: header.into_kid(),
            algorithm,
            token_hash,
            expires,
            kind: PhantomData,
        })
    }
}

/// Why a well-formed token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("algorithm `{algorithm}` is not accepted here")]
    AlgorithmNotAccepted { algorithm: Algorithm },
    #[error(transparent)]
    NoKey(#[from] NoKey),
    #[error("algorithm `{algorithm}` with a key that is for another ({key_type})")]
    WrongKey { algorithm: Algorithm, key_type: KeyType },
    #[error("signature of {length} octets, not {expected}")]
    SignatureLength { length: usize, expected: usize },
    #[error("the signature does not verify")]
    Signature,
    #[error("no `exp`")]
    ExpiryAbsent,
    #[error("expired at {exp}, now {now}")]
    Expired { exp: UnixTime, now: UnixTime },
    #[error("not before {nbf}, now {now}")]
    NotYetValid { nbf: UnixTime, now: UnixTime },
    #[error("issued at {iat}, now {now}")]
    IssuedInFuture { iat: UnixTime, now: UnixTime },
}

fn check_signature(
    key: &PublicKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Refused> {
    // draft-ietf-oauth-rfc8725bis §3.1: "The library MUST verify that the algorithm specified in
    // the "alg" or "enc" header parameter is consistent with the algorithm associated with the
    // key identified by the corresponding identifier"
    if !key.may_verify(algorithm) {
        return Err(Refused::WrongKey { algorithm, key_type: key.key_type() });
    }
    // RFC 7518 §3.4: "If it is not a 64-octet sequence, the validation has failed."
    if let Some(expected) = algorithm.signature_length()
        && signature.len() != expected
    {
        return Err(Refused::SignatureLength { length: signature.len(), expected });
    }
    key.verify(algorithm, message, signature).map_err(|_| Refused::Signature)
}

/// The expiry, if the token holds now.
fn check_window<K: Kind>(
    token: &Unverified<K>,
    now: UnixTime,
    skew: Span,
) -> Result<Option<UnixTime>, Refused> {
    let window = token.window();
    let latest = now.plus(skew);
    if K::EXP_REQUIRED && window.exp.is_none() {
        return Err(Refused::ExpiryAbsent);
    }
    // RFC 7519 §4.1.4: "the expiration time on or after which the JWT MUST NOT be accepted for
    // processing"; "some small leeway [...] to account for clock skew"
    let exp = window.exp.map(|exp| exp.time());
    if let Some(exp) = exp.filter(|exp| exp.plus(skew) <= now) {
        return Err(Refused::Expired { exp, now });
    }
    // RFC 7519 §4.1.5: "the current date/time MUST be after or equal to the not-before date/time"
    let nbf = window.nbf.map(|nbf| nbf.time());
    if let Some(nbf) = nbf.filter(|nbf| *nbf > latest) {
        return Err(Refused::NotYetValid { nbf, now });
    }
    let iat = window.iat.map(|iat| iat.time());
    if let Some(iat) = iat.filter(|iat| *iat > latest) {
        return Err(Refused::IssuedInFuture { iat, now });
    }
    Ok(exp)
}
