//! A question to the decision point: who wants to do what to which resource, and how things stand.
//!
//! In scope: the facts and their bounds. Not here: whether they are true; whoever fills in a
//! question answers for that.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::decision::Fault;
use crate::{FACTS_MAX, TEXT_BYTES_MAX};

/// Facts by name.
pub type Facts = BTreeMap<String, Fact>;

/// One value that a rule can speak of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    Bool(bool),
    Long(i64),
    Text(String),
    Set(BTreeSet<String>),
    Record(Facts),
}

/// What is asked. It is all a decision reads, so that it can be recorded and asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub principal: Principal,
    /// The name of an action of the schema, as `tool.call`.
    pub action: String,
    pub resource: Resource,
    pub context: Facts,
}

impl Question {
    /// Whether everything is within its bound and stands where it says.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        bounded("action", &self.action)?;
        bounded("principal", &self.principal.id)?;
        let mut left = FACTS_MAX;
        spend(&self.principal.attributes, &mut left)?;
        spend(&self.context, &mut left)?;
        let mut next = Some(&self.resource);
        while let Some(resource) = next {
            bounded("resource", &resource.id)?;
            spend(&resource.attributes, &mut left)?;
            resource.check_place()?;
            next = resource.parent.as_deref();
        }
        Ok(())
    }
}

/// Who wants to act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// The one identifier, as `spiffe://example.org/agent/a`.
    pub id: String,
    pub attributes: Facts,
}

impl Principal {
    /// A principal with the attributes that the schema asks for.
    pub fn new(
        kind: PrincipalKind,
        id: impl Into<String>,
        name: impl Into<String>,
        owner: impl Into<String>,
        capabilities: impl IntoIterator<Item = String>,
    ) -> Self {
        let attributes = Facts::from([
            ("name".to_owned(), Fact::Text(name.into())),
            ("owner".to_owned(), Fact::Text(owner.into())),
            ("capabilities".to_owned(), Fact::Set(capabilities.into_iter().collect())),
        ]);
        Self { kind, id: id.into(), attributes }
    }
}

/// Kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalKind {
    Agent,
    Service,
    User,
    Node,
    Client,
}

impl PrincipalKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Agent, Self::Service, Self::User, Self::Node, Self::Client];

    /// Its name in the schema, without the namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Service => "Service",
            Self::User => "User",
            Self::Node => "Node",
            Self::Client => "Client",
        }
    }
}

/// What is acted upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub kind: ResourceKind,
    /// Of an audience its `aud`; of what is in one `<audience>#<name>`.
    pub id: String,
    pub attributes: Facts,
    /// The audience that a tool or a path is in.
    pub parent: Option<Box<Resource>>,
}

impl Resource {
    /// A protected resource as a whole, by the `aud` of its tokens.
    pub fn audience(id: impl Into<String>) -> Self {
        let attributes = Facts::new();
        Self { kind: ResourceKind::Audience, id: id.into(), attributes, parent: None }
    }

    /// A tool of the audience with id `audience`.
    pub fn tool(audience: &str, name: &str, read_only: bool) -> Self {
        let mut tool = Self::part(ResourceKind::Tool, audience, name);
        tool.attributes.insert("read_only".to_owned(), Fact::Bool(read_only));
        tool
    }

    /// A path of the audience with id `audience`; `path` is in the form the server will see.
    pub fn path(audience: &str, path: &str) -> Self {
        Self::part(ResourceKind::Path, audience, path)
    }

    fn part(kind: ResourceKind, audience: &str, name: &str) -> Self {
        Self {
            kind,
            id: format!("{audience}#{name}"),
            attributes: Facts::from([("name".to_owned(), Fact::Text(name.to_owned()))]),
            parent: Some(Box::new(Self::audience(audience))),
        }
    }

    /// Whether id, name and parent tell the same story: two audiences may each have a `delete`.
    fn check_place(&self) -> Result<(), Fault> {
        let misplaced = || Fault::Misplaced { resource: self.id.clone() };
        match (self.kind, &self.parent) {
            // RFC 8707 §2: "The URI MUST NOT include a fragment component." So the first `#` of
            // an id ends its audience.
            (ResourceKind::Audience, None) if !self.id.contains('#') => Ok(()),
            (ResourceKind::Tool | ResourceKind::Path, Some(parent))
                if parent.kind == ResourceKind::Audience =>
            {
                let rest = self.id.strip_prefix(parent.id.as_str());
                let name = rest.and_then(|rest| rest.strip_prefix('#')).ok_or_else(misplaced)?;
                match self.attributes.get("name") {
                    Some(Fact::Text(text)) if text == name => Ok(()),
                    _ => Err(misplaced()),
                }
            }
            _ => Err(misplaced()),
        }
    }
}

/// Kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    Audience,
    Tool,
    Path,
}

impl ResourceKind {
    pub(crate) const ALL: [Self; 3] = [Self::Audience, Self::Tool, Self::Path];

    /// Its name in the schema, without the namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audience => "Audience",
            Self::Tool => "Tool",
            Self::Path => "Path",
        }
    }
}

/// How things stand at a request: the context that the schema asks for, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// Scope values asked for.
    pub scope: BTreeSet<String>,
    /// Scope values that the presented token or grant gives already.
    pub granted: BTreeSet<String>,
    /// On whose behalf; empty when the principal acts for itself.
    pub subject: String,
    /// Everyone in the chain of delegation, the nearest first.
    pub actors: Vec<String>,
    /// How the token was proved: `wit`, `dpop`, `mtls`, `bearer`; empty without a token.
    pub proof: String,
    /// Identity that the transport proved, or empty.
    pub transport: String,
    /// Whether no human stands behind this action.
    pub autonomous: bool,
    pub now: UnixTime,
    pub method: Option<String>,
    pub path: Option<String>,
    /// Whether a human approved exactly this, and it was not done yet.
    pub approved: bool,
    /// How strongly the user authenticated, where that is known.
    pub acr: Option<String>,
}

impl Circumstances {
    /// Nothing but an instant: nobody's behalf, no token, autonomous.
    pub fn at(now: UnixTime) -> Self {
        Self {
            scope: BTreeSet::new(),
            granted: BTreeSet::new(),
            subject: String::new(),
            actors: Vec::new(),
            proof: String::new(),
            transport: String::new(),
            autonomous: true,
            now,
            method: None,
            path: None,
            approved: false,
            acr: None,
        }
    }
}

impl From<Circumstances> for Facts {
    fn from(from: Circumstances) -> Self {
        let long = |number: u64| Fact::Long(i64::try_from(number).unwrap_or(i64::MAX));
        let depth = long(u64::try_from(from.actors.len()).unwrap_or(u64::MAX));
        let mut facts = Self::from([
            ("scope".to_owned(), Fact::Set(from.scope)),
            ("granted".to_owned(), Fact::Set(from.granted)),
            ("subject".to_owned(), Fact::Text(from.subject)),
            ("actors".to_owned(), Fact::Set(from.actors.into_iter().collect())),
            ("depth".to_owned(), depth),
            ("proof".to_owned(), Fact::Text(from.proof)),
            ("transport".to_owned(), Fact::Text(from.transport)),
            ("autonomous".to_owned(), Fact::Bool(from.autonomous)),
            ("now".to_owned(), long(from.now.seconds())),
        ]);
        facts.extend(from.method.map(|method| ("method".to_owned(), Fact::Text(method))));
        facts.extend(from.path.map(|path| ("path".to_owned(), Fact::Text(path))));
        facts.extend(from.approved.then_some(("approved".to_owned(), Fact::Bool(true))));
        facts.extend(from.acr.map(|acr| ("acr".to_owned(), Fact::Text(acr))));
        facts
    }
}

/// Takes `facts` from what is `left` of the bound on all of them.
fn spend(facts: &Facts, left: &mut usize) -> Result<(), Fault> {
    for (name, fact) in facts {
        take(1, left)?;
        bounded(name, name)?;
        match fact {
            Fact::Bool(_) | Fact::Long(_) => {}
            Fact::Text(text) => bounded(name, text)?,
            Fact::Set(values) => {
                take(values.len(), left)?;
                values.iter().try_for_each(|value| bounded(name, value))?;
            }
            Fact::Record(inner) => spend(inner, left)?,
        }
    }
    Ok(())
}

fn take(count: usize, left: &mut usize) -> Result<(), Fault> {
    *left = left.checked_sub(count).ok_or(Fault::TooManyFacts { max: FACTS_MAX })?;
    Ok(())
}

fn bounded(name: &str, text: &str) -> Result<(), Fault> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let name = name.chars().take(64).collect();
    Err(Fault::TooLong { name, bytes: text.len(), max: TEXT_BYTES_MAX })
}
