//! Bills of materials: CycloneDX 1.6 and 1.7 in JSON, as far as an appraisal looks at them.

use std::collections::{BTreeMap, BTreeSet};

use json::{Bounds, Unreadable};
use serde::Deserialize;
use serde_json::Value;

use crate::purl::{Purl, PurlError};

/// The predicate type of a bill of materials in an in-toto statement.
pub const PREDICATE: &str = "https://cyclonedx.org/bom";
/// Longest bill that is read, in bytes.
pub const BOM_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most components, services and subject together.
pub const COMPONENTS_MAX: usize = 4_096;
/// Most dependencies between them.
pub const EDGES_MAX: usize = 65_536;
/// Most vulnerabilities that it speaks of.
const VULNERABILITIES_MAX: usize = 4_096;
/// Most hashes of one component.
const HASHES_MAX: usize = 16;
/// Levels of JSON; components nest.
const DEPTH_MAX: usize = 48;
/// Longest name, version or reference, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
const VERSIONS: [&str; 2] = ["1.6", "1.7"];
/// Hashes that stand for a content. MD5 and SHA-1 are read over.
const STRONG: [(&str, usize); 9] = [
    ("SHA-256", 64),
    ("SHA-384", 96),
    ("SHA-512", 128),
    ("SHA3-256", 64),
    ("SHA3-384", 96),
    ("SHA3-512", 128),
    ("BLAKE2b-256", 64),
    ("BLAKE2b-512", 128),
    ("BLAKE3", 64),
];

/// A bill of materials whose graph is whole.
#[derive(Clone, Debug)]
pub struct Bom {
    subject: Component,
    components: Vec<Component>,
    edges: BTreeMap<String, Vec<String>>,
    judged: Vec<Judged>,
}

/// Something that the subject is made of.
#[derive(Clone, Debug)]
pub struct Component {
    reference: Option<String>,
    kind: String,
    name: String,
    version: Option<String>,
    supplier: Option<String>,
    purl: Option<Purl>,
    hashes: Hashes,
    has_model_card: bool,
    data_sets: Vec<DataSet>,
}

/// Strong hashes of a content, lower case hexadecimal, by algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashes(BTreeMap<String, String>);

impl Hashes {
    /// Whether the content is fixed by any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one by SHA-256.
    pub fn sha256(&self) -> Option<&str> {
        self.0.get("SHA-256").map(String::as_str)
    }
}

/// What a model was trained on.
#[derive(Clone, Debug)]
enum DataSet {
    /// Told in the model card itself, where there is no place for a hash.
    Inline,
    /// A component of the bill.
    Component(String),
}

/// What the maker of the bill says of a vulnerability in components of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its id.
    pub id: String,
    /// What its maker found.
    pub state: State,
    /// The components it is about, by reference.
    pub affects: BTreeSet<String>,
}

/// What an analysis came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `not_affected`, with a justification.
    NotAffected,
    /// Anything else.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    bom_format: String,
    spec_version: String,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    components: Vec<WireComponent>,
    #[serde(default)]
    services: Vec<WireService>,
    #[serde(default)]
    dependencies: Vec<WireDependency>,
    #[serde(default)]
    vulnerabilities: Vec<WireVulnerability>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    component: Option<WireComponent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireComponent {
    #[serde(default, rename = "bom-ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    supplier: Option<Named>,
    #[serde(default)]
    manufacturer: Option<Named>,
    #[serde(default)]
    publisher: Option<String>,
    #[serde(default)]
    purl: Option<String>,
    #[serde(default)]
    hashes: Vec<WireHash>,
    #[serde(default)]
    model_card: Option<Value>,
    #[serde(default)]
    components: Vec<WireComponent>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct WireHash {
    alg: String,
    content: String,
}

#[derive(Deserialize)]
struct WireService {
    #[serde(default, rename = "bom-ref")]
    reference: Option<String>,
    #[serde(default)]
    services: Vec<WireService>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    depends_on: Vec<String>,
    #[serde(default)]
    provides: Vec<String>,
}

#[derive(Deserialize)]
struct WireVulnerability {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    analysis: Option<Analysis>,
    #[serde(default)]
    affects: Vec<Affects>,
}

#[derive(Deserialize)]
struct Analysis {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    justification: Option<String>,
}

#[derive(Deserialize)]
struct Affects {
    #[serde(rename = "ref")]
    reference: String,
}

impl Bom {
    /// Reads a bill, and checks that its graph is whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, BomError> {
        let bounds = Bounds { bytes_max: BOM_BYTES_MAX, depth_max: DEPTH_MAX };
        let wire: Wire = serde_json::from_str(json::text(bytes, bounds)?)
            .map_err(|error| BomError::Form { why: error.to_string() })?;
        // CycloneDX 1.7, bomFormat: "Specifies the format of the BOM. [...] This value must be
        // "CycloneDX"."
        if wire.bom_format != "CycloneDX" {
            return Err(BomError::Format { found: wire.bom_format });
        }
        if !VERSIONS.contains(&wire.spec_version.as_str()) {
            return Err(BomError::Version { found: wire.spec_version });
        }
        let subject = wire.metadata.and_then(|metadata| metadata.component);
        let mut components = Vec::new();
        let subject = Component::read(subject.ok_or(BomError::NoSubject)?, &mut components)?;
        for one in wire.components {
            let component = Component::read(one, &mut components)?;
            components.push(component);
        }
        let mut references = BTreeSet::new();
        for component in std::iter::once(&subject).chain(&components) {
            note(component.reference.as_deref(), &mut references)?;
        }
        note_services(&wire.services, &mut references)?;
        let edges = read_edges(wire.dependencies, &references)?;
        let judged = read_judged(wire.vulnerabilities)?;
        let bom = Self { subject, components, edges, judged };
        bom.check_graph(&references)?;
        Ok(bom)
    }

    /// What the bill is about.
    pub fn subject(&self) -> &Component {
        &self.subject
    }

    /// Every component, nested ones too, but not the subject.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The components that the subject depends on, directly or not; those nested in one of them
    /// come with it only if the graph says so.
    pub fn reached(&self) -> Vec<&Component> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = self.subject.reference.as_deref().into_iter().collect();
        while let Some(reference) = open.pop() {
            if seen.insert(reference) {
                open.extend(self.edges.get(reference).into_iter().flatten().map(String::as_str));
            }
        }
        let is_seen = |one: &&Component| {
            one.reference.as_deref().is_some_and(|reference| seen.contains(reference))
        };
        self.components.iter().filter(is_seen).collect()
    }

    /// Whether what a model was trained on is fixed by a hash; a bill whose models name no data
    /// set says nothing of it.
    pub fn has_unattested_data(&self) -> bool {
        let has_hash = |reference: &String| {
            let mut found = self.components.iter();
            let found = found.find(|one| one.reference.as_ref() == Some(reference));
            found.is_some_and(|one| !one.hashes.is_empty())
        };
        let all = std::iter::once(&self.subject).chain(&self.components);
        let mut sets = all.clone().flat_map(|one| &one.data_sets);
        let unfixed = sets.any(|set| match set {
            DataSet::Inline => true,
            DataSet::Component(reference) => !has_hash(reference),
        });
        let mut data = self.components.iter().filter(|one| one.kind == "data");
        unfixed || data.any(|one| one.hashes.is_empty())
    }

    /// What the maker says of vulnerabilities.
    pub fn judged(&self) -> &[Judged] {
        &self.judged
    }

    /// Whether the maker says that a component is not affected by a vulnerability of one of these
    /// ids.
    pub fn is_cleared(&self, component: &Component, is_called: impl Fn(&str) -> bool) -> bool {
        let Some(reference) = &component.reference else { return false };
        // Who says both, of the same component, has not made up their mind.
        let mut about = self
            .judged
            .iter()
            .filter(|one| is_called(&one.id) && one.affects.contains(reference))
            .peekable();
        about.peek().is_some() && about.all(|one| one.state == State::NotAffected)
    }

    fn check_graph(&self, references: &BTreeSet<String>) -> Result<(), BomError> {
        let subject = self.subject.reference.as_ref().ok_or(BomError::NoSubjectReference)?;
        // CycloneDX 1.7, dependencies: "Components or services that do not have their own
        // dependencies must be declared as empty elements within the graph. Components or services
        // that are not represented in the dependency graph may have unknown dependencies."
        if !self.edges.contains_key(subject) {
            return Err(BomError::NotInGraph { reference: subject.clone() });
        }
        let missing = self.edges.values().flatten().find(|one| !self.edges.contains_key(*one));
        if let Some(reference) = missing {
            return Err(BomError::NotInGraph { reference: reference.clone() });
        }
        for set in
            std::iter::once(&self.subject).chain(&self.components).flat_map(|it| &it.data_sets)
        {
            if let DataSet::Component(reference) = set
                && !references.contains(reference)
            {
                return Err(BomError::Dangling { reference: reference.clone() });
            }
        }
        Ok(())
    }
}

impl Component {
    /// Reads a component; those nested in it go to `nested`.
    fn read(wire: WireComponent, nested: &mut Vec<Self>) -> Result<Self, BomError> {
        if nested.len() >= COMPONENTS_MAX {
            return Err(BomError::TooMany { what: "components", max: COMPONENTS_MAX });
        }
        for inner in wire.components {
            let component = Self::read(inner, nested)?;
            nested.push(component);
        }
        let name = match wire.group.filter(|group| !group.is_empty()) {
            Some(group) => format!("{group}/{}", wire.name),
            None => wire.name,
        };
        let version = wire.version.filter(|version| !version.is_empty());
        let supplier = wire.supplier.and_then(|one| one.name);
        let supplier = supplier.or_else(|| wire.manufacturer.and_then(|one| one.name));
        let supplier = supplier.or(wire.publisher).filter(|name| !name.is_empty());
        for text in [Some(&name), version.as_ref(), supplier.as_ref(), wire.reference.as_ref()] {
            if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
                return Err(BomError::LongText);
            }
        }
        let purl = wire.purl.as_deref().map(Purl::parse).transpose();
        let purl = purl.map_err(|why| BomError::Purl { name: name.clone(), why })?;
        let hashes = read_hashes(&wire.hashes, &name)?;
        let data_sets = wire.model_card.as_ref().map(data_sets).unwrap_or_default();
        let (kind, reference) = (wire.kind, wire.reference);
        let has_model_card = wire.model_card.is_some();
        Ok(Self {
            reference,
            kind,
            name,
            version,
            supplier,
            purl,
            hashes,
            has_model_card,
            data_sets,
        })
    }

    /// How the bill calls it inside.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// `application`, `library`, `machine-learning-model`, `data` and others.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its name, with its group and a slash before it if it has one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Who supplied it, or else made or published it.
    pub fn supplier(&self) -> Option<&str> {
        self.supplier.as_deref()
    }

    /// Its package URL.
    pub fn purl(&self) -> Option<&Purl> {
        self.purl.as_ref()
    }

    /// Its strong hashes.
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Whether it says what it is as a model.
    pub fn has_model_card(&self) -> bool {
        self.has_model_card
    }
}

fn read_hashes(all: &[WireHash], name: &str) -> Result<Hashes, BomError> {
    if all.len() > HASHES_MAX {
        return Err(BomError::TooMany { what: "hashes of a component", max: HASHES_MAX });
    }
    let mut hashes = BTreeMap::new();
    for WireHash { alg, content } in all {
        let Some((_, length)) = STRONG.iter().find(|(known, _)| known == alg) else { continue };
        // CycloneDX 1.7, hash-content: "^([a-fA-F0-9]{32}|[...]|[a-fA-F0-9]{128})$"
        if content.len() != *length || !content.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BomError::Hash { name: name.to_owned(), algorithm: alg.clone() });
        }
        let content = content.to_ascii_lowercase();
        let before = hashes.insert(alg.clone(), content.clone());
        if before.is_some_and(|before| before != content) {
            return Err(BomError::Hash { name: name.to_owned(), algorithm: alg.clone() });
        }
    }
    Ok(Hashes(hashes))
}

/// The data sets of a model card.
fn data_sets(card: &Value) -> Vec<DataSet> {
    let sets = card.pointer("/modelParameters/datasets").and_then(Value::as_array);
    let read = |set: &Value| match set.get("ref").and_then(Value::as_str) {
        Some(reference) => DataSet::Component(reference.to_owned()),
        None => DataSet::Inline,
    };
    sets.into_iter().flatten().map(read).collect()
}

/// CycloneDX 1.7, bom-ref: "Every bom-ref must be unique within the BOM."
fn note(reference: Option<&str>, all: &mut BTreeSet<String>) -> Result<(), BomError> {
    let Some(reference) = reference else { return Ok(()) };
    if all.len() >= COMPONENTS_MAX {
        return Err(BomError::TooMany { what: "components", max: COMPONENTS_MAX });
    }
    if !all.insert(reference.to_owned()) {
        return Err(BomError::Twice { reference: reference.to_owned() });
    }
    Ok(())
}

fn note_services(services: &[WireService], all: &mut BTreeSet<String>) -> Result<(), BomError> {
    services.iter().try_for_each(|service| {
        note(service.reference.as_deref(), all)?;
        note_services(&service.services, all)
    })
}

/// Who depends on whom; what is provided counts as well.
fn read_edges(
    dependencies: Vec<WireDependency>,
    references: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<String>>, BomError> {
    let mut count = 0_usize;
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for WireDependency { reference, depends_on, provides } in dependencies {
        let to = [depends_on, provides].concat();
        count = count.saturating_add(to.len()).saturating_add(1);
        if count > EDGES_MAX {
            return Err(BomError::TooMany { what: "dependencies", max: EDGES_MAX });
        }
        if let Some(lost) = to.iter().chain([&reference]).find(|one| !references.contains(*one)) {
            return Err(BomError::Dangling { reference: lost.clone() });
        }
        if edges.insert(reference.clone(), to).is_some() {
            return Err(BomError::Twice { reference });
        }
    }
    Ok(edges)
}

fn read_judged(all: Vec<WireVulnerability>) -> Result<Vec<Judged>, BomError> {
    if all.len() > VULNERABILITIES_MAX {
        return Err(BomError::TooMany { what: "vulnerabilities", max: VULNERABILITIES_MAX });
    }
    let read = |one: WireVulnerability| {
        let id = one.id?;
        let analysis = one.analysis?;
        // CISA, Minimum Requirements for VEX: who says `not_affected` says why.
        let is_clear = analysis.state.as_deref() == Some("not_affected")
            && analysis.justification.is_some_and(|why| !why.is_empty());
        let state = if is_clear { State::NotAffected } else { State::Other };
        let affects = one.affects.into_iter().map(|affects| affects.reference).collect();
        Some(Judged { id, state, affects })
    };
    Ok(all.into_iter().filter_map(read).collect())
}

/// Why a text is no bill of materials that is read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BomError {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("not a bill of materials: {why}")]
    Form { why: String },
    #[error("a bill of materials in the format `{found}`, not `CycloneDX`")]
    Format { found: String },
    #[error("CycloneDX {found}; 1.6 and 1.7 are read")]
    Version { found: String },
    #[error("no `metadata.component`: the bill does not say what it is about")]
    NoSubject,
    #[error("`metadata.component` has no `bom-ref`: nothing is known to belong to it")]
    NoSubjectReference,
    #[error("more than {max} {what}")]
    TooMany { what: &'static str, max: usize },
    #[error("a name, version or reference of more than {TEXT_BYTES_MAX} bytes")]
    LongText,
    #[error("component `{name}`: {why}")]
    Purl { name: String, why: PurlError },
    #[error("component `{name}`: a hash `{algorithm}` that is none, or two of them")]
    Hash { name: String, algorithm: String },
    #[error("the reference `{reference}` stands twice")]
    Twice { reference: String },
    #[error("the reference `{reference}` leads nowhere")]
    Dangling { reference: String },
    #[error("`{reference}` has no entry in `dependencies`: what it depends on is not known")]
    NotInGraph { reference: String },
}
