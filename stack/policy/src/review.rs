//! What reads and compiles, and yet does nothing: rules about whom or what cannot be, agents that
//! no process can be, scopes that no resource declares.
//!
//! In scope: what is looked at before a set comes into force. Not here: what keeps a set from being
//! run ([`PolicySet::compile`]): one that is in force already is not looked at again.

use identifier::AgentName;
use pdp::{Effect, Named};
use registry::{Overlap, Registration, UserName};
use wimse::WorkloadId;

use crate::compile::{PolicySet, line_of, many};
use crate::fault::Fault;

/// How many letters of a name may be wrong for it to be meant.
const LETTERS_WRONG_MAX: usize = 3;
/// The longest name that is compared with others, in characters.
const COMPARED_CHARS_MAX: usize = 256;

/// Where an installation is reached: the audiences of its resources begin so.
#[derive(Clone, Copy, Debug)]
pub struct Reached<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// The gateway.
    pub gateway: &'a str,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// What would be believed to protect or to run, and does not.
    pub faults: Vec<Fault>,
    /// What is likely a mistake.
    pub warnings: Vec<Fault>,
}

/// Looks at a set; `at` where it is known which installation it is for.
pub fn review(set: &PolicySet, at: Option<Reached<'_>>) -> Review {
    let mut review = Review::default();
    agents(set, &mut review);
    rules(set, at, &mut review);
    let place = |one: &Fault| (one.file.clone(), one.line, one.column);
    review.faults.sort_by_key(place);
    review.warnings.sort_by_key(place);
    review
}

fn agents(set: &PolicySet, review: &mut Review) {
    let all = many::<Registration>(set.files(), "agents", &mut Vec::new());
    let at = |file: &str, key: &str, message: String| {
        let line = set.files().get(file).and_then(|text| line_of(text, key));
        let fault = Fault::of_file(file, message);
        line.map_or(fault.clone(), |line| Fault { line, column: 1, ..fault })
    };
    for (file, entry) in &all {
        let class = set.attestation().class.get(&entry.rule.class);
        if let Err(refusal) = entry.check_new(class) {
            review.faults.push(at(file, "selectors", refusal.to_string()));
        }
        for scope in entry.client.scope_max.iter().flat_map(|asked| set.undeclared(asked)) {
            let message = format!("no resource declares the scope `{scope}`");
            review.warnings.push(at(file, "scope_max", message));
        }
    }
    let entry_of = |name: &AgentName| all.iter().find(|(_, entry)| entry.name == *name);
    for overlap in Overlap::among(all.iter().map(|(_, entry)| entry)) {
        let pair = entry_of(&overlap.narrow).zip(entry_of(&overlap.broad));
        let Some(((file, one), (_, other))) = pair else { continue };
        if !set.gives_all(one, other) {
            let message = format!(
                "each process of `{}` is one of `{}`, too, and one that several records match \
                 gets no identity",
                one.name, other.name
            );
            let fix = "give each a selector that tells it apart: docs/workloads.md";
            review.faults.push(at(file, "selectors", message).fix(fix));
        }
    }
}

fn rules(set: &PolicySet, at: Option<Reached<'_>>, review: &mut Review) {
    let names = Names::of(set, at);
    for found in set.pdp().access().unmatched(|named| names.why_not(named).is_some()) {
        let text = set.files().get(found.rule.file).unwrap_or_default();
        for named in &found.named {
            let Some(why) = names.why_not(named) else { continue };
            let Named { kind, id } = named;
            let rule = found.rule.id;
            let so = if found.is_dead { "never matches" } else { "says nothing by it" };
            let message = format!("`Aims::{kind}::\"{id}\"` {}; rule `{rule}` {so}", why.what);
            let (line, column) = place(text, found.rule.line, id);
            let fault = Fault { line, column, ..Fault::of_file(found.rule.file, message) };
            let fault = match &why.meant {
                Some(meant) => fault.fix(format!("did you mean `{meant}`?")),
                None => fault,
            };
            // What would forbid, and cannot, protects nothing. Of what is not ours, a set that
            // several installations share may speak.
            if found.is_dead && found.rule.effect == Effect::Forbid && why.is_ours {
                review.faults.push(fault);
            } else {
                review.warnings.push(fault);
            }
        }
    }
}

/// Line and column, from 1, of `id` in the rule that begins at `first`.
fn place(text: &str, first: usize, id: &str) -> (usize, usize) {
    let quoted = format!("\"{id}\"");
    let lines = text.lines().enumerate().skip(first.saturating_sub(1));
    let mut found = lines.filter_map(|(at, line)| Some((at, line, line.find(&quoted)?)));
    found.next().map_or((first, 1), |(at, line, byte)| {
        (at + 1, line.get(..byte).unwrap_or_default().chars().count() + 1)
    })
}

/// Why nobody and nothing is called so.
struct WhyNot {
    what: String,
    meant: Option<String>,
    /// Whether the name, were it anyone's, were of this installation.
    is_ours: bool,
}

impl WhyNot {
    fn ours(what: impl Into<String>, meant: Option<String>) -> Self {
        Self { what: what.into(), meant, is_ours: true }
    }
}

/// What there can be, as far as the set and its place say.
struct Names<'a> {
    set: &'a PolicySet,
    at: Option<Reached<'a>>,
    audiences: Vec<String>,
}

impl<'a> Names<'a> {
    fn of(set: &'a PolicySet, at: Option<Reached<'a>>) -> Self {
        let gateway = at.map(|at| at.gateway);
        let audience = |one: &authorization::ResourcePolicy| {
            one.audience.clone().or_else(|| gateway.map(|gateway| one.audience(gateway)))
        };
        Self { set, at, audiences: set.resources().iter().filter_map(audience).collect() }
    }

    fn why_not(&self, named: &Named) -> Option<WhyNot> {
        let id = named.id.as_str();
        match named.kind.as_str() {
            "Agent" => self.workload("agent", id),
            "Service" => self.workload("service", id),
            "User" => user(id),
            "Client" => self.client(id),
            "Audience" if id.contains('#') => {
                Some(WhyNot::ours("is no audience: they have no `#`", None))
            }
            "Audience" => self.audience("Audience", id, ""),
            "Tool" => self.part("Tool", id),
            "Path" => self.part("Path", id),
            _ => None,
        }
    }

    /// An agent or a service: `spiffe://DOMAIN/agent/NAME`.
    fn workload(&self, kind: &str, id: &str) -> Option<WhyNot> {
        let origin = self.set.origin();
        let named = |segment: &str, name: &str| {
            let kind = if segment == "agent" { "Agent" } else { "Service" };
            format!("Aims::{kind}::\"{origin}/{segment}/{name}\"")
        };
        let Ok(read) = WorkloadId::parse(id) else {
            let meant = AgentName::parse(id).ok().map(|name| named(kind, &name.to_string()));
            return Some(WhyNot::ours("is no identifier", meant));
        };
        let segments: Vec<_> = read.segments().collect();
        let of_kind = |kind: &str| match segments.as_slice() {
            [first, name] if *first == kind => AgentName::parse(name).ok(),
            _ => None,
        };
        if !read.is_member_of(origin) {
            let is_near = is_near(read.origin().as_str(), origin.as_str());
            let meant = of_kind(kind).filter(|_| is_near);
            let meant = meant.map(|name| named(kind, &name.to_string()));
            let what = format!("is not of `{origin}`, and nobody of elsewhere acts here");
            return Some(WhyNot { what, meant, is_ours: false });
        }
        if of_kind(kind).is_some() {
            return None;
        }
        let other = if kind == "agent" { "service" } else { "agent" };
        let meant = of_kind(other).map(|name| named(other, &name.to_string()));
        Some(WhyNot::ours(format!("cannot be: its path is `/{kind}/NAME`"), meant))
    }

    /// A client that is no agent has an id of its own.
    fn client(&self, id: &str) -> Option<WhyNot> {
        let read = WorkloadId::parse(id).ok().filter(|id| id.is_member_of(self.set.origin()))?;
        let kind = match read.segments().next() {
            Some("agent") => "Agent",
            Some("service") => "Service",
            _ => return None,
        };
        let meant = format!("Aims::{kind}::\"{id}\"");
        Some(WhyNot::ours(format!("is no client: it is the {kind} of that name"), Some(meant)))
    }

    /// A tool or a path: its audience, `#`, and its name.
    fn part(&self, kind: &str, id: &str) -> Option<WhyNot> {
        let Some((audience, name)) = id.split_once('#') else {
            let what = "cannot be: it is written as audience, `#` and name";
            return Some(WhyNot::ours(what, None));
        };
        if kind == "Path" && !name.starts_with('/') {
            let meant = format!("Aims::Path::\"{audience}#/{name}\"");
            return Some(WhyNot::ours("is no path: it begins with `/`", Some(meant)));
        }
        let of_audience = self.audience(kind, audience, &format!("#{name}"));
        let gateway = self.at.map_or("", |at| at.gateway);
        let resource = self.set.resource(audience, gateway);
        let is_unlisted = resource.is_some_and(|one| kind == "Tool" && one.tool(name).is_none());
        let unlisted = is_unlisted.then(|| WhyNot {
            what: "is not among the actions of its resource".to_owned(),
            meant: None,
            is_ours: false,
        });
        of_audience.or(unlisted)
    }

    /// The `aud` of tokens: a resource's, an agent's, our own.
    fn audience(&self, kind: &str, id: &str, rest: &str) -> Option<WhyNot> {
        if self.audiences.iter().any(|one| one == id) {
            return None;
        }
        if let Ok(read) = WorkloadId::parse(id) {
            let mut segments = read.segments();
            let is_one = matches!(segments.next(), Some("agent" | "service"))
                && segments.next().is_some_and(|name| AgentName::parse(name).is_ok())
                && segments.next().is_none();
            let is_ours = read.is_member_of(self.set.origin());
            let what = "is no audience: it names no agent or service".to_owned();
            return (!is_ours || !is_one).then_some(WhyNot { what, meant: None, is_ours });
        }
        // Which are a resource's own is known where the gateway is.
        let at = self.at?;
        let of_issuer = id.strip_prefix(at.issuer);
        if of_issuer.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        let near = self.audiences.iter().find(|one| is_near(one, id));
        let meant = near.map(|one| format!("Aims::{kind}::\"{one}{rest}\""));
        let is_ours = id.strip_prefix(at.gateway).is_some_and(|rest| rest.starts_with('/'));
        let what = "is an audience that no resource has".to_owned();
        Some(WhyNot { what, meant, is_ours })
    }
}

fn user(id: &str) -> Option<WhyNot> {
    if UserName::of_id(id).is_some() {
        return None;
    }
    let meant = UserName::parse(id).ok().map(|name| format!("Aims::User::\"{}\"", name.id()));
    Some(WhyNot::ours("is no person: they are called `user:NAME`", meant))
}

/// Whether few letters differ.
fn is_near(one: &str, other: &str) -> bool {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    if one.len().max(other.len()) > COMPARED_CHARS_MAX {
        return false;
    }
    // Levenshtein, a row at a time.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut next = vec![at + 1];
        for ((other, above), before) in other.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or(usize::MAX - 1);
            let changed = before + usize::from(letter != other);
            next.push(changed.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().is_some_and(|wrong| *wrong <= LETTERS_WRONG_MAX)
}
