//! `ear`: somebody else appraised the evidence (RFC 9334 §5.1, passport model). The evidence is the
//! attestation result of a verifier that policy names (draft-ietf-rats-ear-04), made for our nonce
//! and about the key that asks (ATT-04, ATT-12).
//!
//! Policy: `[enrol.ear]` or `[node.ear]` with `issuer`, `keys` (the verifier's JWK set), `parts`
//! (submodules that must be affirming, whose attested key counts), and perhaps `age_max`. A host
//! answers our challenge with the result; an agent that enrols has it as its evidence.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, KeySet, Malformed, Refused, Unverified};
use rats::{Claim, Ear, EarToken, Tier, Vector};
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::chain::hex;
use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, Step};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};

/// The name of the mechanism.
const NAME: &str = "ear";
/// How far a verifier's clock may be from ours.
const SKEW: Span = Span::from_seconds(30);
/// What verifiers sign with.
const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ps256];

/// What the server sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// What `eat_nonce` must be, character by character.
    pub nonce: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    issuer: String,
    keys: String,
    parts: Vec<String>,
    #[serde(default = "age_max")]
    age_max: Span,
}

const fn age_max() -> Span {
    Span::from_seconds(300)
}

/// The mechanism `ear`.
#[derive(Debug)]
pub struct Mechanism;

impl crate::mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        NAME
    }

    // EAR §8.2: "application/eat+jwt" with a profile.
    fn media_types(&self) -> &'static [&'static str] {
        &["application/eat+jwt"]
    }

    fn challenge(
        &self,
        _: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        let challenge = Challenge { nonce: nonce(facts) };
        serde_json::to_vec(&challenge)
            .map(Some)
            .map_err(|error| mechanism::Refusal::Malformed { why: error.to_string() })
    }

    fn faults(&self, rule: &NodeRule) -> Vec<(String, String)> {
        let settings = match rule.settings::<Settings>() {
            Ok(settings) => settings,
            Err(why) => return vec![(String::new(), why)],
        };
        let mut faults = Vec::new();
        match KeySet::parse(&settings.keys) {
            Err(error) => faults.push(("keys".to_owned(), error.to_string())),
            Ok(set) if set.keys().is_empty() => {
                let why = "no key in it verifies signatures";
                faults.push(("keys".to_owned(), why.to_owned()));
            }
            Ok(_) => {}
        }
        if settings.parts.is_empty() {
            let why = "name the submodules that must be affirming, one at least";
            faults.push(("parts".to_owned(), why.to_owned()));
        }
        faults
    }

    fn takes_known_nonce(&self) -> bool {
        true
    }

    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        let settings: Settings = facts.rule.settings_of(NAME)?;
        let result = response.unwrap_or(evidence);
        mechanism::bounded(result, EVIDENCE_BYTES_MAX)?;
        let ear = verified(result, &settings, facts).map_err(Refusal::of)?;
        appraisal(&ear, facts)
    }
}

/// The nonce of this session as `eat_nonce` has it.
fn nonce(facts: &Facts<'_>) -> String {
    URL_SAFE_NO_PAD.encode(facts.nonce)
}

fn verified(text: &[u8], settings: &Settings, facts: &Facts<'_>) -> Result<Ear, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::NoText)?.trim();
    let token = Unverified::<EarToken>::parse(text).map_err(Refusal::Malformed)?;
    let keys = KeySet::parse(&settings.keys).map_err(|error| Refusal::Keys(error.to_string()))?;
    let token = token.verify(&keys, ALGORITHMS, facts.now, SKEW).map_err(Refusal::Token)?;
    let ear = token.claims().clone();
    if ear.issuer.as_deref() != Some(settings.issuer.as_str()) {
        let (found, expected) = (ear.issuer.unwrap_or_default(), settings.issuer.clone());
        return Err(Refusal::Issuer { found, expected });
    }
    // EAR §3, `eat_nonce`: "A user supplied nonce echoed by the verifier to provide freshness."
    if ear.nonce.as_deref() != Some(nonce(facts).as_str()) {
        return Err(Refusal::Nonce);
    }
    if ear.issued.plus(settings.age_max) <= facts.now {
        let (iat, now, max) = (ear.issued, facts.now, settings.age_max);
        return Err(Refusal::TooOld { iat, now, max });
    }
    let named = |label: &String| ear.submods.get(label);
    // EAR, `ear_veraison_key_attestation`: "contains the public key part of a successfully
    // verified attested key. The key is a DER encoded ASN.1 SubjectPublicKeyInfo structure".
    let keys = settings.parts.iter().filter_map(named).filter_map(|part| part.key.as_deref());
    if !keys.into_iter().any(|key| key == facts.key) {
        return Err(Refusal::Key);
    }
    for label in &settings.parts {
        let tier = named(label).map(rats::Appraisal::tier);
        if tier != Some(Tier::Affirming) {
            return Err(Refusal::Part { label: label.clone(), tier: tier.unwrap_or_default() });
        }
    }
    for (label, part) in &ear.submods {
        // What is not demanded may be less, but not hide how much.
        if part.vector.is_none() || part.tier() == Tier::Contraindicated {
            return Err(Refusal::Part { label: label.clone(), tier: part.tier() });
        }
    }
    Ok(ear)
}

fn appraisal(ear: &Ear, facts: &Facts<'_>) -> Result<Appraisal, mechanism::Refusal> {
    let issuer = ear.issuer.as_deref().unwrap_or_default();
    let mut selectors = vec![Selector::parse(&format!("ear:verifier:{issuer}"))?];
    if let Some(subject) = &ear.subject {
        selectors.push(Selector::parse(&format!("ear:subject:{subject}"))?);
    }
    for (label, part) in &ear.submods {
        selectors.push(Selector::parse(&format!("ear:part:{label}:{}", part.tier()))?);
    }
    let mut whose = digest::Context::new(&digest::SHA256);
    whose.update(issuer.as_bytes());
    whose.update(&[0]);
    whose.update(ear.subject.as_ref().map_or(facts.key, |subject| subject.as_bytes()));
    let name = hex(whose.finish().as_ref());
    let found = Appraisal::new(NAME, name, Selectors::new(selectors)?);
    Ok(Appraisal { vector: worst(ear), until: ear.expires, ..found })
}

/// Of each claim the value trusted least, among the submodules that make it.
fn worst(ear: &Ear) -> Vector {
    let vectors: Vec<_> = ear.submods.values().filter_map(|part| part.vector).collect();
    Claim::ALL.into_iter().fold(Vector::NONE, |all, claim| {
        let values = vectors.iter().map(|vector| vector.value(claim));
        let said = values.filter(|value| *value != 0);
        said.max_by_key(|value| Tier::of(*value)).map_or(all, |value| all.with(claim, value))
    })
}

/// Why a result counts for nothing: one variant a check, in their order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no text.
    #[error("the result is no text")]
    NoText,
    /// It does not read.
    #[error("the result does not read: {0}")]
    Malformed(Malformed),
    /// The keys in policy do not read.
    #[error("the keys in policy do not read: {0}")]
    Keys(String),
    /// Key, signature or time.
    #[error("the result is refused: {0}")]
    Token(Refused),
    /// It is another verifier's.
    #[error("the verifier is `{found}`, not `{expected}`")]
    Issuer {
        /// `iss`.
        found: String,
        /// What policy says.
        expected: String,
    },
    /// It was not made for this session.
    #[error("`eat_nonce` is not the nonce of this session")]
    Nonce,
    /// It is older than policy allows.
    #[error("the result is of {iat}, it is {now}: older than {} seconds", max.seconds())]
    TooOld {
        /// `iat`.
        iat: UnixTime,
        /// The time of the check.
        now: UnixTime,
        /// The bound.
        max: Span,
    },
    /// It is about another key, or about none.
    #[error("no part that policy demands attests the key of the request")]
    Key,
    /// A part that must be trusted is not, or one that is there must not be.
    #[error("the part `{label}` is `{tier}`")]
    Part {
        /// Its label.
        label: String,
        /// What its vector says; `none` too where it is not there.
        tier: Tier,
    },
}

impl Refusal {
    /// The same, as the seam has it.
    fn of(self) -> mechanism::Refusal {
        let step = match &self {
            Self::NoText | Self::Malformed(_) => Step::Form,
            Self::Keys(_) | Self::Issuer { .. } => Step::Chain,
            Self::Token(
                Refused::Expired { .. }
                | Refused::NotYetValid { .. }
                | Refused::IssuedInFuture { .. },
            )
            | Self::Nonce
            | Self::TooOld { .. }
            | Self::Key => Step::Binding,
            Self::Token(_) => Step::Signature,
            Self::Part { .. } => Step::Policy,
        };
        mechanism::Refusal::Failed { mechanism: NAME, step, why: self.to_string() }
    }
}
