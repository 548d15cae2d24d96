//! Statements: which artifacts something is said about, and what kind of thing (in-toto v1).

use std::collections::BTreeMap;

use json::{Bounds, Unreadable};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dsse::{ENVELOPE_BYTES_MAX, Opened};

/// The payload type of a statement in JSON.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// `_type` of the version that is read.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Most subjects of one statement.
pub const SUBJECTS_MAX: usize = 256;
/// Most digests of one subject.
pub const DIGESTS_MAX: usize = 8;
/// Levels of JSON: predicates nest, bills of materials most.
const DEPTH_MAX: usize = 64;
/// Digests that subjects are matched by, and their lengths in bytes.
const STRONG: [(&str, usize); 3] = [("sha256", 32), ("sha384", 48), ("sha512", 64)];

/// A statement that was signed.
#[derive(Clone, Debug)]
pub struct Statement {
    subjects: Vec<Subject>,
    predicate_type: String,
    predicate: Box<RawValue>,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What the producer calls it: no identity.
    pub name: Option<String>,
    /// Its digests, lower case hexadecimal, by algorithm.
    pub digests: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<WireSubject>,
    predicate_type: String,
    #[serde(default)]
    predicate: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct WireSubject {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

impl Statement {
    /// Reads the payload of an envelope that was verified.
    pub fn read(opened: &Opened) -> Result<Self, StatementError> {
        if opened.payload_type() != IN_TOTO {
            let found = opened.payload_type().to_owned();
            return Err(StatementError::PayloadType { found });
        }
        let bounds = Bounds { bytes_max: ENVELOPE_BYTES_MAX, depth_max: DEPTH_MAX };
        let text = json::text(opened.payload(), bounds)?;
        let wire: Wire = serde_json::from_str(text)
            .map_err(|error| StatementError::Form { why: error.to_string() })?;
        // in-toto, Statement: "Identifier for the schema of the Statement. Always
        // `https://in-toto.io/Statement/v1` for this version of the spec."
        if wire.kind != STATEMENT {
            return Err(StatementError::Version { found: wire.kind });
        }
        let count = wire.subject.len();
        if count == 0 || count > SUBJECTS_MAX {
            return Err(StatementError::Subjects { count });
        }
        let subjects = wire.subject.into_iter().map(Subject::read).collect::<Result<_, _>>()?;
        // in-toto, Statement: "Unset is treated the same as set-but-empty."
        let empty = || RawValue::from_string("{}".to_owned()).ok();
        let predicate = wire.predicate.or_else(empty).ok_or(StatementError::Predicate)?;
        Ok(Self { subjects, predicate_type: wire.predicate_type, predicate })
    }

    /// The subjects, in order.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The subject that has this digest.
    pub fn subject_of(&self, algorithm: &str, hex: &str) -> Option<&Subject> {
        // in-toto, Statement: "Subject artifacts are matched purely by digest, regardless of
        // content type."
        let has =
            |subject: &&Subject| subject.digests.get(algorithm).is_some_and(|digest| digest == hex);
        self.subjects.iter().find(has)
    }

    /// What kind of thing is said.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// What is said, as it is written.
    pub fn predicate(&self) -> &RawValue {
        &self.predicate
    }
}

impl Subject {
    fn read(wire: WireSubject) -> Result<Self, StatementError> {
        // in-toto, Statement: "Each element MUST have `digest` set."
        if wire.digest.is_empty() || wire.digest.len() > DIGESTS_MAX {
            return Err(StatementError::Digests { count: wire.digest.len() });
        }
        for (algorithm, hex) in &wire.digest {
            let length = STRONG.iter().find(|(name, _)| name == algorithm).map(|(_, bytes)| *bytes);
            let bytes = crate::from_hex(hex).map(|bytes| bytes.len());
            // Digests of other algorithms are kept, and nothing is matched by them.
            if length.is_some() && bytes != length {
                return Err(StatementError::Digest { algorithm: algorithm.clone() });
            }
        }
        Ok(Self { name: wire.name, digests: wire.digest })
    }
}

/// Why a payload is no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    #[error("a payload of type `{found}`, not `{IN_TOTO}`")]
    PayloadType { found: String },
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("not a statement: {why}")]
    Form { why: String },
    #[error("a statement of type `{found}`, not `{STATEMENT}`")]
    Version { found: String },
    #[error("{count} subjects, 1 to {SUBJECTS_MAX} are read")]
    Subjects { count: usize },
    #[error("a subject with {count} digests, 1 to {DIGESTS_MAX} are read")]
    Digests { count: usize },
    #[error("a digest `{algorithm}` that is not lower case hexadecimal of its length")]
    Digest { algorithm: String },
    #[error("the predicate does not read")]
    Predicate,
}
