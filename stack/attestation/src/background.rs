//! The result for a relying party that has evidence appraised (RFC 9334 §5.2, background check): of
//! one part, the platform, and of the key that it was bound to.

use rats::{Appraisal as Submodule, Ear, Profile};
use serde_json::json;
use time::{Span, UnixTime};

use crate::evidence::Failure;
use crate::mechanism::{Appraisal, Step};
use crate::verifier::{PLATFORM, Part, ourselves};

/// How long a result counts at the most: it is made for one question.
pub const LIFE: Span = Span::from_seconds(300);

/// Who asked what.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whom the result names as its issuer.
    pub issuer: &'a str,
    /// By which mechanism.
    pub mechanism: &'a str,
    /// The nonce of the session, as the relying party knows it.
    pub nonce: &'a str,
    /// The key that the evidence must be bound to, as `SubjectPublicKeyInfo`.
    pub key: Option<&'a [u8]>,
    /// The version of policy.
    pub policy: &'a str,
    /// Now.
    pub now: UnixTime,
}

/// The result. Of evidence that was refused after it proved whose it is, the step is told at which.
pub fn result(question: &Question<'_>, found: Result<&Appraisal, Step>) -> Ear {
    let mut until = question.now.plus(LIFE);
    let (part, subject) = match found {
        Ok(found) => {
            until = found.until.map_or(until, |end| until.min(end));
            let shown: Vec<_> = found.selectors.iter().map(ToString::to_string).collect();
            let part = Part { vector: found.vector, ..Part::default() };
            let subject = format!("{}/{}", found.mechanism, found.name);
            (part.about("selectors", json!(shown)), Some(subject))
        }
        // What exactly is wrong is for the verifier's own log.
        Err(step) => (Part::failed(Failure::new(step, "the evidence was not accepted")), None),
    };
    let part = part.about("mechanism", json!(question.mechanism));
    let mut one = Submodule::new(part.vector, question.policy);
    one.attester_claims = part.claims;
    if let Some(failure) = &part.failure {
        one.attester_claims.insert("failed".to_owned(), json!(failure.to_string()));
    }
    // EAR, `ear_veraison_key_attestation`: "contains the public key part of a successfully verified
    // attested key."
    one.key = question.key.filter(|_| found.is_ok()).map(<[u8]>::to_vec);
    Ear {
        profile: Profile::Ear04,
        issued: question.now,
        expires: Some(until),
        verifier: ourselves(),
        issuer: Some(question.issuer.to_owned()),
        subject,
        // EAR §3, `eat_nonce`: "A user supplied nonce echoed by the verifier to provide freshness."
        nonce: Some(question.nonce.to_owned()),
        submods: [(PLATFORM.to_owned(), one)].into(),
    }
}
