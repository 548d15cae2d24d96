//! Tokens by which a platform says what runs on it: ID tokens after OpenID Connect Core 1.0 §2, in
//! the order of all mechanisms. Whose keys count stands in policy (`crate::issuer_keys`); nothing
//! is fetched here.
//!
//! A token is a bearer credential. Three things keep it from being one for long: it is for this
//! server alone, or for the one key that asks where the platform lets the asker choose the
//! audience; it is young; and it serves once.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, KeySet, Malformed, Refused, Unverified, Verified};
use oauth::id_token::IdToken;
use time::{Span, UnixTime};

use crate::mechanism::{self, Facts, Step, Use};

/// How far a platform's clock may be from ours.
const SKEW: Span = Span::from_seconds(30);
/// What platforms sign with.
const ALGORITHMS: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Es256, Algorithm::Ps256];

/// Whom policy believes.
#[derive(Clone, Debug)]
pub struct Issuer<'a> {
    /// The mechanism that asks.
    pub mechanism: &'static str,
    /// `iss`, character by character.
    pub issuer: &'a str,
    /// Its public keys: the text of a JWK set.
    pub keys: &'a str,
    /// The one audience.
    pub audience: String,
    /// How old a token may be.
    pub age_max: Span,
}

/// The audience that names this server, for tokens whose asker cannot choose it.
pub fn audience(domain: &str) -> String {
    format!("spiffe://{domain}/aims/server")
}

/// The audience that names this server and the key that asks (`SubjectPublicKeyInfo`): such a token
/// is worth nothing to whoever steals it.
pub fn bound_audience(domain: &str, key: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, key);
    format!("{}/{}", audience(domain), URL_SAFE_NO_PAD.encode(hash.as_ref()))
}

impl Issuer<'_> {
    /// The token, verified; and what of it is used up.
    pub fn verify(
        &self,
        text: &[u8],
        now: UnixTime,
    ) -> Result<(Verified<IdToken>, Use), mechanism::Refusal> {
        self.check(text, now).map_err(|refusal| refusal.of(self.mechanism))
    }

    fn check(&self, text: &[u8], now: UnixTime) -> Result<(Verified<IdToken>, Use), Refusal> {
        let text = std::str::from_utf8(text).map_err(|_| Refusal::NoText)?.trim();
        let token = Unverified::<IdToken>::parse(text).map_err(Refusal::Malformed)?;
        let keys = KeySet::parse(self.keys).map_err(|error| Refusal::Keys(error.to_string()))?;
        let token = token.verify(&keys, ALGORITHMS, now, SKEW).map_err(Refusal::Token)?;
        let claims = token.claims();
        // OpenID Connect Core 1.0 §3.1.3.7: "The Issuer Identifier for the OpenID Provider [...]
        // MUST exactly match the value of the iss (issuer) Claim."
        if claims.iss != self.issuer {
            let (found, expected) = (claims.iss.clone(), self.issuer.to_owned());
            return Err(Refusal::Issuer { found, expected });
        }
        // One audience: with two, the other could show it here.
        if claims.aud.sole() != Some(&self.audience) {
            let found = claims.aud.iter().collect::<Vec<_>>().join(", ");
            return Err(Refusal::Audience { found, expected: self.audience.clone() });
        }
        let iat = claims.iat.time();
        if iat.plus(self.age_max) <= now {
            return Err(Refusal::TooOld { iat, now, max: self.age_max });
        }
        let id = claims.jti.clone().unwrap_or_else(|| token.token_hash().to_base64url());
        let value = format!("{}\0{id}", claims.iss);
        let until = claims.exp.time().plus(SKEW);
        Ok((token, Use { value, until }))
    }
}

/// The audience that is expected: the one that policy names, else ours.
pub fn expected(named: Option<&String>, bound: bool, facts: &Facts<'_>) -> String {
    match named {
        Some(named) => named.clone(),
        None if bound => bound_audience(facts.domain, facts.key),
        None => audience(facts.domain),
    }
}

/// Why a platform's token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no text.
    #[error("the token is no text")]
    NoText,
    /// It does not read.
    #[error("the token does not read: {0}")]
    Malformed(Malformed),
    /// The keys in policy do not read.
    #[error("the keys in policy do not read: {0}")]
    Keys(String),
    /// Key, signature or time.
    #[error("the token is refused: {0}")]
    Token(Refused),
    /// It is another issuer's.
    #[error("the issuer is `{found}`, not `{expected}`")]
    Issuer {
        /// `iss`.
        found: String,
        /// What policy says.
        expected: String,
    },
    /// It is for somebody else, or for several.
    #[error("the token is for `{found}`, not for `{expected}` alone")]
    Audience {
        /// `aud`.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// It is older than policy allows.
    #[error("the token is of {iat}, it is {now}: older than {} seconds", max.seconds())]
    TooOld {
        /// `iat`.
        iat: UnixTime,
        /// The time of the check.
        now: UnixTime,
        /// The bound.
        max: Span,
    },
}

impl Refusal {
    /// The same, as the seam has it.
    pub fn of(self, mechanism: &'static str) -> mechanism::Refusal {
        let step = match &self {
            Self::NoText | Self::Malformed(_) => Step::Form,
            Self::Keys(_) | Self::Issuer { .. } => Step::Chain,
            Self::Token(
                Refused::Expired { .. }
                | Refused::NotYetValid { .. }
                | Refused::IssuedInFuture { .. },
            ) => Step::Binding,
            Self::Token(_) => Step::Signature,
            Self::Audience { .. } | Self::TooOld { .. } => Step::Binding,
        };
        mechanism::Refusal::Failed { mechanism, step, why: self.to_string() }
    }
}
