//! What SLSA says of an artifact: how it was built ([`Provenance`]), or that somebody else has
//! verified that ([`Summary`]).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::UnixTime;

use crate::statement::Statement;

/// The predicate type of build provenance.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// The predicate type of a verification summary.
pub const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// Most dependencies that are looked at.
const DEPENDENCIES_MAX: usize = 1_024;
/// Most levels in a summary.
const LEVELS_MAX: usize = 32;
/// What a level on the build track is called, before its number.
const BUILD_LEVEL: &str = "SLSA_BUILD_LEVEL_";

/// How an artifact was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// How the parameters are to be read.
    pub build_type: String,
    /// Who built: what a level of trust goes by.
    pub builder: String,
    /// Where the source came from, without a revision, and at which revision.
    pub source: Option<Resource>,
    /// When the build was done, where it says so.
    pub finished: Option<UnixTime>,
}

/// Something that was used, by address and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its address, as it is written.
    pub uri: String,
    /// Its digests.
    pub digests: BTreeMap<String, String>,
}

impl Resource {
    /// The address of a repository, less `git+` before it and the reference behind it.
    pub fn repository(&self) -> &str {
        let plain = self.uri.strip_prefix("git+").unwrap_or(&self.uri);
        // SLSA provenance, resolvedDependencies: an SPDX download location, `git+https://host/
        // path@ref`. An `@` before the path belongs to the authority.
        let path = plain.find("://").map_or(0, |at| at + 3);
        let slash =
            plain.get(path..).and_then(|rest| rest.find('/')).map_or(plain.len(), |at| path + at);
        let end =
            plain.get(slash..).and_then(|rest| rest.find('@')).map_or(plain.len(), |at| slash + at);
        plain.get(..end).unwrap_or(plain)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    build_definition: Definition,
    run_details: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    build_type: String,
    #[serde(default)]
    external_parameters: Value,
    #[serde(default)]
    resolved_dependencies: Vec<WireResource>,
}

#[derive(Deserialize)]
struct WireResource {
    #[serde(default)]
    uri: Option<String>,
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Details {
    builder: Builder,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Builder {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    finished_on: Option<String>,
}

impl Provenance {
    /// Reads the predicate of a statement.
    pub fn read(statement: &Statement) -> Result<Self, PredicateError> {
        let wire: Wire = read(statement, PROVENANCE)?;
        let count = wire.build_definition.resolved_dependencies.len();
        if count > DEPENDENCIES_MAX {
            return Err(PredicateError::TooMany { count, max: DEPENDENCIES_MAX });
        }
        let finished = wire.run_details.metadata.and_then(|metadata| metadata.finished_on);
        let finished = finished.map(|text| instant(&text)).transpose()?;
        let source = source(
            wire.build_definition.external_parameters,
            wire.build_definition.resolved_dependencies,
        );
        let (build_type, builder) = (wire.build_definition.build_type, wire.run_details.builder.id);
        // SLSA provenance, builder.id: "URI indicating the transitive closure of the trusted build
        // platform. This is intended to be the sole determiner of the SLSA Build level."
        if builder.is_empty() {
            return Err(PredicateError::NoBuilder);
        }
        Ok(Self { build_type, builder, source, finished })
    }
}

/// The source is what the build was asked to build; a dependency of that address says at which
/// revision. Without such a parameter it is the first dependency.
fn source(parameters: Value, dependencies: Vec<WireResource>) -> Option<Resource> {
    let asked = ["/workflow/repository", "/source/uri", "/source", "/repository"]
        .iter()
        .find_map(|pointer| parameters.pointer(pointer).and_then(Value::as_str))
        .map(|uri| Resource { uri: uri.to_owned(), digests: BTreeMap::new() });
    let mut resolved = dependencies
        .into_iter()
        .filter_map(|one| Some(Resource { uri: one.uri?, digests: one.digest }));
    match asked {
        Some(asked) => {
            let repository = asked.repository().to_owned();
            // SLSA provenance, externalParameters: "The parameters that are under external control
            // [...] MUST be complete", while dependencies are listed on a best effort.
            resolved.find(|one| one.repository() == repository).or(Some(asked))
        }
        None => resolved.next(),
    }
}

/// That somebody verified an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Who verified.
    pub verifier: String,
    /// When.
    pub verified_at: UnixTime,
    /// The artifact, as the verifier calls it.
    pub resource: String,
    /// Whether it passed.
    pub passed: bool,
    /// The highest level on the build track that was verified; 0 where none was.
    pub build_level: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSummary {
    verifier: Builder,
    time_verified: String,
    resource_uri: String,
    verification_result: String,
    #[serde(default)]
    verified_levels: Vec<String>,
}

impl Summary {
    /// Reads the predicate of a statement.
    pub fn read(statement: &Statement) -> Result<Self, PredicateError> {
        let wire: WireSummary = read(statement, SUMMARY)?;
        if wire.verified_levels.len() > LEVELS_MAX {
            let count = wire.verified_levels.len();
            return Err(PredicateError::TooMany { count, max: LEVELS_MAX });
        }
        // SLSA verification summary, verificationResult: "Either "PASSED" or "FAILED" to indicate
        // if the artifact passed or failed the policy verification."
        let passed = match wire.verification_result.as_str() {
            "PASSED" => true,
            "FAILED" => false,
            other => return Err(PredicateError::Verdict { found: other.to_owned() }),
        };
        let levels = wire.verified_levels.iter().filter_map(|level| level_of_summary(level));
        Ok(Self {
            verifier: wire.verifier.id,
            verified_at: instant(&wire.time_verified)?,
            resource: wire.resource_uri,
            passed,
            build_level: levels.max().unwrap_or(0),
        })
    }
}

/// The number of a level on the build track: 3 of `SLSA_BUILD_LEVEL_3`.
pub fn level_of_summary(level: &str) -> Option<u8> {
    match level.strip_prefix(BUILD_LEVEL)?.as_bytes() {
        [digit @ b'0'..=b'3'] => Some(digit - b'0'),
        _ => None,
    }
}

fn read<'a, T: Deserialize<'a>>(
    statement: &'a Statement,
    expected: &'static str,
) -> Result<T, PredicateError> {
    if statement.predicate_type() != expected {
        let found = statement.predicate_type().to_owned();
        return Err(PredicateError::Type { found, expected });
    }
    serde_json::from_str(statement.predicate().get())
        .map_err(|error| PredicateError::Form { why: error.to_string() })
}

fn instant(text: &str) -> Result<UnixTime, PredicateError> {
    UnixTime::parse(text).ok_or_else(|| PredicateError::Time { found: text.to_owned() })
}

/// Why a predicate is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredicateError {
    #[error("a predicate of type `{found}`, not `{expected}`")]
    Type { found: String, expected: &'static str },
    #[error("the predicate does not read: {why}")]
    Form { why: String },
    #[error("{count} entries in one list, at most {max} are read")]
    TooMany { count: usize, max: usize },
    #[error("no builder")]
    NoBuilder,
    #[error("`{found}` is no instant")]
    Time { found: String },
    #[error("a verification result `{found}`, neither `PASSED` nor `FAILED`")]
    Verdict { found: String },
}
