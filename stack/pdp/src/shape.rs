//! Which facts the schema asks for, and whether a question has them.
//!
//! Cedar can check this itself, at a quarter of the cost of a decision. This check is read out of
//! the same schema, names each fault, and agrees with Cedar's (a test compares them).

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use cedar_policy::{EntityUid, Schema, SchemaFragment};
use serde::{Deserialize, Serialize};

use crate::decision::Fault;
use crate::question::{Fact, Facts, PrincipalKind, Question, ResourceKind};

/// The common type that is every action's context.
const CONTEXT: &str = "Request";

/// The kinds of facts that the schema speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    Bool,
    Long,
    Text,
    Set,
}

impl fmt::Display for FactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a boolean",
            Self::Long => "an integer",
            Self::Text => "a string",
            Self::Set => "a set of strings",
        })
    }
}

/// Shapes of everything in a question.
#[derive(Debug, Clone)]
pub(crate) struct Shapes {
    entities: BTreeMap<String, Shape>,
    context: Shape,
}

impl Shapes {
    /// Reads the shapes out of a schema; an error is a defect of that schema.
    pub(crate) fn read(schema: &str) -> Result<Self, String> {
        let (fragment, _) =
            SchemaFragment::from_cedarschema_str(schema).map_err(|error| error.to_string())?;
        let written = fragment.to_json_value().map_err(|error| error.to_string())?;
        let Written { aims } =
            serde_json::from_value(written).map_err(|error| error.to_string())?;
        let mut shapes = Self { entities: BTreeMap::new(), context: Shape::default() };
        for (name, entity) in aims.entities {
            shapes.entities.insert(name, Shape::read(&entity.shape)?);
        }
        let context = aims.commons.get(CONTEXT).ok_or("no type `Request`")?;
        shapes.context = Shape::read(context)?;
        Ok(shapes)
    }

    /// Whether a question has the facts that the schema asks for, and no others.
    pub(crate) fn check(&self, question: &Question) -> Result<(), Fault> {
        let principal = question.principal.kind.name();
        self.entity(principal)?.check(principal, &question.principal.attributes)?;
        let mut next = Some(&question.resource);
        while let Some(resource) = next {
            let kind = resource.kind.name();
            self.entity(kind)?.check(kind, &resource.attributes)?;
            next = resource.parent.as_deref();
        }
        self.context.check("context", &question.context)
    }

    fn entity(&self, kind: &str) -> Result<&Shape, Fault> {
        self.entities.get(kind).ok_or_else(|| Fault::Facts { reason: format!("no kind `{kind}`") })
    }
}

/// What an action may be asked of.
#[derive(Debug, Clone)]
pub(crate) struct Applies {
    principals: HashSet<PrincipalKind>,
    resources: HashSet<ResourceKind>,
}

impl Applies {
    /// Reads it out of the schema.
    pub(crate) fn read(schema: &Schema, action: &EntityUid) -> Self {
        let names = |types: Vec<&str>| types.into_iter().map(str::to_owned).collect::<HashSet<_>>();
        let principals = schema.principals_for_action(action);
        let principals =
            names(principals.map_or_else(Vec::new, |kinds| kinds.map(|k| k.basename()).collect()));
        let resources = schema.resources_for_action(action);
        let resources =
            names(resources.map_or_else(Vec::new, |kinds| kinds.map(|k| k.basename()).collect()));
        let principal = |kind: &PrincipalKind| principals.contains(kind.name());
        let resource = |kind: &ResourceKind| resources.contains(kind.name());
        Self {
            principals: PrincipalKind::ALL.into_iter().filter(principal).collect(),
            resources: ResourceKind::ALL.into_iter().filter(resource).collect(),
        }
    }

    /// Whether the action of a question is one of its principal on its resource.
    pub(crate) fn check(&self, question: &Question) -> Result<(), Fault> {
        let (principal, resource) = (question.principal.kind, question.resource.kind);
        if self.principals.contains(&principal) && self.resources.contains(&resource) {
            return Ok(());
        }
        let action = question.action.clone();
        Err(Fault::NotApplicable { action, principal, resource })
    }
}

/// Names, kinds and whether they must be there.
#[derive(Debug, Clone, Default)]
struct Shape(BTreeMap<String, (FactKind, bool)>);

impl Shape {
    fn read(written: &WrittenShape) -> Result<Self, String> {
        let attributes = written.attributes.iter().map(|(name, attribute)| {
            let kind = attribute.kind.read().ok_or_else(|| format!("`{name}` is of no kind"))?;
            Ok((name.clone(), (kind, attribute.required)))
        });
        attributes.collect::<Result<_, _>>().map(Self)
    }

    fn check(&self, of: &'static str, facts: &Facts) -> Result<(), Fault> {
        for (name, (_, required)) in &self.0 {
            if *required && !facts.contains_key(name) {
                return Err(Fault::MissingFact { of, name: name.clone() });
            }
        }
        for (name, fact) in facts {
            let Some((expected, _)) = self.0.get(name) else {
                return Err(Fault::UnknownFact { of, name: name.clone() });
            };
            if kind(fact) != Some(*expected) {
                return Err(Fault::FactKind { of, name: name.clone(), expected: *expected });
            }
        }
        Ok(())
    }
}

fn kind(fact: &Fact) -> Option<FactKind> {
    match fact {
        Fact::Bool(_) => Some(FactKind::Bool),
        Fact::Long(_) => Some(FactKind::Long),
        Fact::Text(_) => Some(FactKind::Text),
        Fact::Set(_) => Some(FactKind::Set),
        Fact::Record(_) => None,
    }
}

/// A schema in Cedar's JSON notation, as much of it as is read here.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "Aims")]
    aims: WrittenNamespace,
}

#[derive(Deserialize)]
struct WrittenNamespace {
    #[serde(rename = "commonTypes")]
    commons: BTreeMap<String, WrittenShape>,
    #[serde(rename = "entityTypes")]
    entities: BTreeMap<String, WrittenEntity>,
}

#[derive(Deserialize)]
struct WrittenEntity {
    shape: WrittenShape,
}

#[derive(Deserialize)]
struct WrittenShape {
    attributes: BTreeMap<String, WrittenAttribute>,
}

#[derive(Deserialize)]
struct WrittenAttribute {
    #[serde(flatten)]
    kind: WrittenKind,
    /// Cedar, JSON schema format: an attribute is required unless it says otherwise.
    #[serde(default = "required")]
    required: bool,
}

#[derive(Deserialize)]
struct WrittenKind {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    element: Option<Box<WrittenKind>>,
}

impl WrittenKind {
    fn read(&self) -> Option<FactKind> {
        match (self.kind.as_str(), self.name.as_deref(), self.element.as_deref()) {
            ("EntityOrCommon", Some("String"), None) => Some(FactKind::Text),
            ("EntityOrCommon", Some("Bool"), None) => Some(FactKind::Bool),
            ("EntityOrCommon", Some("Long"), None) => Some(FactKind::Long),
            ("Set", None, Some(element)) if element.read() == Some(FactKind::Text) => {
                Some(FactKind::Set)
            }
            _ => None,
        }
    }
}

fn required() -> bool {
    true
}
