//! Advisories: which versions of which packages something is known against (OSV schema).

use json::{Bounds, Unreadable};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::UnixTime;

use crate::cvss::Score;
use crate::cyclonedx::Component;
use crate::purl::{Purl, PurlError};
use crate::version::SemVer;

/// Longest list of advisories that is read, in bytes.
pub const OSV_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most advisories in one list.
pub const ADVISORIES_MAX: usize = 4_096;
/// Most packages, ranges, events or versions in one list of an advisory.
const LIST_MAX: usize = 4_096;
/// Levels of JSON.
const DEPTH_MAX: usize = 24;

/// A list of advisories.
#[derive(Clone, Debug, Default)]
pub struct Advisories(Vec<Advisory>);

/// Something that is known against packages.
#[derive(Clone, Debug)]
pub struct Advisory {
    id: String,
    aliases: Vec<String>,
    withdrawn: Option<UnixTime>,
    severity: Option<Score>,
    affected: Vec<Affected>,
}

#[derive(Clone, Debug)]
struct Affected {
    package: Option<Package>,
    severity: Option<Score>,
    ranges: Vec<WireRange>,
    versions: Vec<String>,
    sha256: Vec<String>,
}

#[derive(Clone, Debug)]
struct Package {
    ecosystem: String,
    name: String,
    purl: Option<Purl>,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    severity: Vec<WireSeverity>,
    #[serde(default)]
    affected: Vec<WireAffected>,
}

#[derive(Deserialize)]
struct WireSeverity {
    #[serde(rename = "type")]
    kind: String,
    score: String,
}

#[derive(Deserialize)]
struct WireAffected {
    #[serde(default)]
    package: Option<WirePackage>,
    #[serde(default)]
    severity: Vec<WireSeverity>,
    #[serde(default)]
    ranges: Vec<WireRange>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    database_specific: Map<String, Value>,
}

#[derive(Deserialize)]
struct WirePackage {
    ecosystem: String,
    name: String,
    #[serde(default)]
    purl: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct WireRange {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<Event>,
}

#[derive(Clone, Debug, Deserialize)]
struct Event {
    #[serde(default)]
    introduced: Option<String>,
    #[serde(default)]
    fixed: Option<String>,
    #[serde(default)]
    last_affected: Option<String>,
    #[serde(default)]
    limit: Option<String>,
}

impl Advisories {
    /// Reads a JSON array of advisories.
    pub fn parse(bytes: &[u8]) -> Result<Self, OsvError> {
        let bounds = Bounds { bytes_max: OSV_BYTES_MAX, depth_max: DEPTH_MAX };
        let wire: Vec<Wire> = serde_json::from_str(json::text(bytes, bounds)?)
            .map_err(|error| OsvError::Form { why: error.to_string() })?;
        if wire.len() > ADVISORIES_MAX {
            return Err(OsvError::TooMany { what: "advisories", count: wire.len() });
        }
        wire.into_iter().map(Advisory::read).collect::<Result<_, _>>().map(Self)
    }

    /// Those that concern a component now.
    pub fn of<'a>(
        &'a self,
        component: &Component,
        now: UnixTime,
    ) -> impl Iterator<Item = &'a Advisory> {
        self.0.iter().filter(move |one| one.concerns(component, now))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Advisory {
    fn read(wire: Wire) -> Result<Self, OsvError> {
        let too_many = |what, count| OsvError::TooMany { what, count };
        // OSV, id: without one nobody can say which entry it was.
        if wire.id.is_empty() {
            return Err(OsvError::NoId);
        }
        if wire.affected.len() > LIST_MAX {
            return Err(too_many("affected packages", wire.affected.len()));
        }
        let withdrawn = wire.withdrawn.map(|text| {
            UnixTime::parse(&text).ok_or(OsvError::Time { id: wire.id.clone(), found: text })
        });
        let affected = wire.affected.into_iter().map(|one| Affected::read(one, &wire.id));
        Ok(Self {
            withdrawn: withdrawn.transpose()?,
            severity: severest(&wire.severity),
            affected: affected.collect::<Result<_, _>>()?,
            aliases: wire.aliases,
            id: wire.id,
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this is its id, or one of those that other databases have for it.
    pub fn is_called(&self, id: &str) -> bool {
        self.id == id || self.aliases.iter().any(|alias| alias == id)
    }

    /// How severe it is for a component; `None` where no score of CVSS 3 says so.
    pub fn severity_for(&self, component: &Component) -> Option<Score> {
        // OSV, affected[].severity: those of a package, which are there where packages differ.
        let own = self.affected.iter().filter(|one| one.concerns(component));
        own.filter_map(|one| one.severity).max().or(self.severity)
    }

    fn concerns(&self, component: &Component, now: UnixTime) -> bool {
        // OSV, withdrawn: "the time the entry should be considered to have been withdrawn"
        if self.withdrawn.is_some_and(|withdrawn| withdrawn <= now) {
            return false;
        }
        self.affected.iter().any(|one| one.concerns(component))
    }
}

impl Affected {
    fn read(wire: WireAffected, id: &str) -> Result<Self, OsvError> {
        let events = wire.ranges.iter().map(|range| range.events.len()).sum::<usize>();
        for (what, count) in
            [("ranges", wire.ranges.len()), ("events", events), ("versions", wire.versions.len())]
        {
            if count > LIST_MAX {
                return Err(OsvError::TooMany { what, count });
            }
        }
        let package = wire.package.map(|one| Package::read(one, id)).transpose()?;
        let sha256 = wire.database_specific.get("sha256").and_then(Value::as_array);
        let sha256 = sha256.into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            package,
            severity: severest(&wire.severity),
            ranges: wire.ranges,
            versions: wire.versions,
            sha256: sha256.map(str::to_ascii_lowercase).collect(),
        })
    }

    fn concerns(&self, component: &Component) -> bool {
        let sha256 = component.hashes().sha256();
        if sha256.is_some_and(|hash| self.sha256.iter().any(|known| known == hash)) {
            return true;
        }
        let Some(package) = &self.package else { return false };
        let Some(purl) = component.purl() else { return false };
        if !package.is(purl) {
            return false;
        }
        // What has no version may be any.
        let Some(version) = purl.version().or(component.version()) else { return true };
        // OSV, Evaluation: a version is affected that is in `versions`, or in one of the ranges.
        if self.versions.iter().any(|known| known == version) {
            return true;
        }
        let is_listed = !self.versions.is_empty();
        if self.ranges.is_empty() {
            // Nothing but hashes names a file, not a package; nothing at all names all versions.
            return !is_listed && self.sha256.is_empty();
        }
        self.ranges.iter().any(|range| range.includes(version, is_listed))
    }
}

impl Package {
    fn read(wire: WirePackage, id: &str) -> Result<Self, OsvError> {
        let purl = wire.purl.as_deref().map(Purl::parse).transpose();
        let unread =
            |error: PurlError| OsvError::Purl { id: id.to_owned(), why: error.to_string() };
        Ok(Self { ecosystem: wire.ecosystem, name: wire.name, purl: purl.map_err(unread)? })
    }

    fn is(&self, purl: &Purl) -> bool {
        if self.purl.as_ref().is_some_and(|own| own.is_same_package(purl)) {
            return true;
        }
        // OSV, affected[].package.ecosystem: a suffix after a colon names a release of it.
        let ecosystem = self.ecosystem.split(':').next().unwrap_or_default();
        purl.in_osv().is_some_and(|(known, name)| {
            // A name that its ecosystem writes in several ways is compared in one.
            let own = Purl::parse(&format!("pkg:{}/{}", purl.kind(), self.name));
            let own = own.ok().and_then(|own| own.in_osv()).map(|(_, name)| name);
            known == ecosystem && (name == self.name || own.as_ref() == Some(&name))
        })
    }
}

impl WireRange {
    /// Whether a version is in the range. `is_listed`: the versions of the package are listed
    /// besides, and this one is not among them.
    fn includes(&self, version: &str, is_listed: bool) -> bool {
        match self.kind.as_str() {
            "SEMVER" => self.includes_semver(version),
            // OSV, affected[].versions: for a range of type ECOSYSTEM the versions "should" be
            // listed, since nobody knows how all ecosystems sort theirs.
            "ECOSYSTEM" => !is_listed && !self.is_fixed_at(version),
            // A range of commits says nothing of versions.
            "GIT" => false,
            _ => !is_listed,
        }
    }

    fn is_fixed_at(&self, version: &str) -> bool {
        let fixed = |event: &Event| event.fixed.as_deref() == Some(version);
        self.events.iter().any(fixed)
    }

    fn includes_semver(&self, version: &str) -> bool {
        let Some(version) = SemVer::parse(version) else { return true };
        let mut sorted: Vec<(SemVer, Edge)> = Vec::new();
        let mut limits = Vec::new();
        for event in &self.events {
            let edges = [
                (&event.introduced, Edge::Introduced),
                (&event.fixed, Edge::Fixed),
                (&event.last_affected, Edge::LastAffected),
            ];
            for (text, edge) in edges {
                let Some(text) = text else { continue };
                let Some(at) = semver(text) else { return true };
                sorted.push((at, edge));
            }
            limits.extend(event.limit.iter().filter(|limit| *limit != "*"));
        }
        let before_limit = |limit: &&String| SemVer::parse(limit).is_none_or(|it| version < it);
        if !limits.is_empty() && !limits.iter().any(before_limit) {
            return false;
        }
        // OSV, Evaluation: events are sorted by version, and each in turn says whether the version
        // is affected from there on: `introduced` at or below it that it is, `fixed` at or below it
        // and `last_affected` below it that it is not.
        sorted.sort();
        sorted.iter().fold(false, |is_in, (at, edge)| match edge {
            Edge::Introduced => is_in || version >= *at,
            Edge::Fixed => is_in && version < *at,
            Edge::LastAffected => is_in && version <= *at,
        })
    }
}

/// In the order in which they count at one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    LastAffected,
    Fixed,
    Introduced,
}

/// OSV, introduced: "the special value "0" [...] represents a version that sorts before any other
/// version".
fn semver(text: &str) -> Option<SemVer> {
    if text == "0" { SemVer::parse("0.0.0-0") } else { SemVer::parse(text) }
}

/// The highest score that is known; `None` where there is none of CVSS 3.
fn severest(all: &[WireSeverity]) -> Option<Score> {
    let scores = all.iter().filter(|one| one.kind == "CVSS_V3");
    // A vector that does not read may mean anything.
    scores.map(|one| Score::of_vector(&one.score).unwrap_or(Score::MAX)).max()
}

/// Why a text is no list of advisories.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OsvError {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("not a list of advisories: {why}")]
    Form { why: String },
    #[error("an advisory without an id")]
    NoId,
    #[error("{count} {what} in one list, at most {LIST_MAX} are read")]
    TooMany { what: &'static str, count: usize },
    #[error("advisory `{id}`: `{found}` is no instant")]
    Time { id: String, found: String },
    #[error("advisory `{id}`: {why}")]
    Purl { id: String, why: String },
}
