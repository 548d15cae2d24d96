//! Files into one set, or into all that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use authorization::asked::Place;
use authorization::profile::{Demand, demands};
use authorization::{Audience, ResourcePolicy};
use credential::federation::Terms;
use oauth::{Scope, ScopeSet};
use pdp::{Access, Pdp, PolicyVersion};
use registry::Registration;
use serde::de::DeserializeOwned;
use wimse::Origin;

use crate::domain::Domain;
use crate::fault::Fault;
use crate::files::Files;

/// A policy set that every component can run.
#[derive(Debug)]
pub struct PolicySet {
    version: PolicyVersion,
    files: Files,
    domain: Domain,
    origin: Origin,
    attestation: attestation::policy::Policy,
    resources: Vec<ResourcePolicy>,
    agents: Vec<Registration>,
    federation: Vec<Terms>,
    pdp: Pdp,
}

impl PolicySet {
    /// Compiles the files. Everything that is wrong is told at once, in the order of the files.
    pub fn compile(files: Files) -> Result<Self, Vec<Fault>> {
        let mut faults = unknown_files(&files);
        let domain = one::<Domain>(&files, "domain.toml", &mut faults);
        let attestation =
            one::<attestation::policy::Policy>(&files, "attestation.toml", &mut faults);
        let resources = many::<ResourcePolicy>(&files, "resources", &mut faults);
        let agents = many::<Registration>(&files, "agents", &mut faults);
        let federation = many::<Terms>(&files, "federation", &mut faults);
        if let Some(domain) = &domain {
            values("domain.toml", &files, domain.faults(), &mut faults);
            // Without an origin the fault is told above.
            let origin = domain.origin().ok();
            let pairs = origin.iter().flat_map(|own| federation.iter().map(move |one| (own, one)));
            for (own, (file, terms)) in pairs {
                let found = terms.check(own).err();
                let found = found.map(|fault| (fault.key(), fault.to_string()));
                values(file, &files, found.into_iter().collect(), &mut faults);
            }
        }
        if let Some(attestation) = &attestation {
            values("attestation.toml", &files, attestation.faults(), &mut faults);
        }
        for (file, resource) in &resources {
            values(file, &files, resource.faults(), &mut faults);
        }
        doubled(&resources, |one| Some(one.name.clone()), "resource", &mut faults);
        // A token for the one would be good for the other.
        doubled(&resources, |one| one.audience.clone(), "audience", &mut faults);
        doubled(&agents, |one| Some(one.name.to_string()), "agent", &mut faults);
        doubled(&federation, |one| Some(one.trust_domain.to_string()), "relation", &mut faults);
        for (file, agent) in &agents {
            let found = agent_faults(agent, attestation.as_ref());
            values(file, &files, found, &mut faults);
        }
        let texts: Vec<_> = files.below("access", ".cedar").collect();
        let access =
            Access::compile(&texts).map_err(|found| faults.extend(found.into_iter().map(of_cedar)));
        let origin = domain.as_ref().and_then(|domain| domain.origin().ok());
        let (Some(domain), Some(origin), Some(attestation), Ok(access), true) =
            (domain, origin, attestation, access, faults.is_empty())
        else {
            faults.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
            return Err(faults);
        };
        let version = files.version();
        let pdp = Pdp::new(access, version.clone());
        let resources = resources.into_iter().map(|(_, resource)| resource).collect();
        let agents = agents.into_iter().map(|(_, agent)| agent).collect();
        let federation = federation.into_iter().map(|(_, terms)| terms).collect();
        Ok(Self { version, files, domain, origin, attestation, resources, agents, federation, pdp })
    }

    /// Its version: the hash of its files.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// The files it was made of.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What holds for the domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// What every identifier that it issues belongs to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Which evidence leads to what.
    pub fn attestation(&self) -> &attestation::policy::Policy {
        &self.attestation
    }

    /// The protected resources.
    pub fn resources(&self) -> &[ResourcePolicy] {
        &self.resources
    }

    /// What may be asked of a user.
    pub fn place<'a>(&'a self, gateway: &'a str) -> Place<'a> {
        Place { resources: &self.resources, gateway, origin: &self.origin }
    }

    /// The agents that policy registers.
    pub fn agents(&self) -> &[Registration] {
        &self.agents
    }

    /// The relations to other trust domains that policy keeps.
    pub fn federation(&self) -> &[Terms] {
        &self.federation
    }

    /// The decisions.
    pub fn pdp(&self) -> &Pdp {
        &self.pdp
    }

    /// The resource that has this identifier in tokens.
    pub fn resource(&self, audience: &str, gateway: &str) -> Option<&ResourcePolicy> {
        self.resources.iter().find(|resource| resource.audience(gateway) == audience)
    }

    /// What those of these targets demand that are resources with profiles.
    pub fn demands<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a str>,
        gateway: &str,
    ) -> BTreeSet<Demand> {
        let found = targets.into_iter().filter_map(|target| self.resource(target, gateway));
        demands(found.flat_map(|resource| &resource.profiles))
    }

    /// The resource of this name, which is the first segment of its path at the gateway.
    pub fn resource_named(&self, name: &str) -> Option<&ResourcePolicy> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// The target that has this identifier in tokens, if it is a resource.
    pub fn audience(&self, id: &str, gateway: &str) -> Option<Audience> {
        self.resource(id, gateway).map(|resource| Audience::of_resource(resource, gateway))
    }

    /// Whether whoever measures these agents gives a process all records that match it: SPIRE's
    /// agents do, and their classes say so. Then two rules may contain each other.
    pub fn gives_all(&self, one: &Registration, other: &Registration) -> bool {
        let of_spire = |entry: &Registration| {
            self.attestation.class.get(&entry.rule.class).is_some_and(|class| class.spire_agents)
        };
        of_spire(one) && of_spire(other)
    }

    /// Those of `asked` that no resource declares and that say nothing of users: whoever asks for
    /// one gets none.
    pub fn undeclared<'a>(&self, asked: &'a ScopeSet) -> Vec<&'a Scope> {
        let (known, of_users) = (self.scopes(), Audience::userinfo("").scopes);
        asked.iter().filter(|one| !known.contains(one) && !of_users.contains(one)).collect()
    }

    /// Every scope that some resource declares.
    pub fn scopes(&self) -> ScopeSet {
        self.resources.iter().flat_map(|resource| resource.scopes.keys().cloned()).collect()
    }
}

/// The files that nothing reads: a misspelt folder would otherwise be a policy that is missing.
fn unknown_files(files: &Files) -> Vec<Fault> {
    let known = |name: &str| {
        let (folder, ending) = (name.split('/').next(), name.rsplit('.').next());
        matches!(name, "domain.toml" | "attestation.toml")
            || matches!(
                (folder, ending),
                (Some("resources" | "agents" | "federation"), Some("toml"))
                    | (Some("access"), Some("cedar"))
            )
            || name.ends_with(".md")
    };
    files
        .iter()
        .filter(|(name, _)| !known(name))
        .map(|(name, _)| {
            Fault::of_file(name, "no part of the system reads this file").fix(
                "policy is domain.toml, attestation.toml, resources/*.toml, agents/*.toml, \
                 federation/*.toml and access/*.cedar; move or rename the file, or end its name \
                 in .md",
            )
        })
        .collect()
}

/// A file that must be there.
fn one<T: DeserializeOwned>(files: &Files, name: &str, faults: &mut Vec<Fault>) -> Option<T> {
    let Some(text) = files.get(name) else {
        faults.push(Fault::of_file(name, "the file is missing"));
        return None;
    };
    read(name, text, faults)
}

/// The files of a folder.
pub(crate) fn many<T: DeserializeOwned>(
    files: &Files,
    folder: &str,
    faults: &mut Vec<Fault>,
) -> Vec<(String, T)> {
    files
        .below(folder, ".toml")
        .filter_map(|(name, text)| Some((name.to_owned(), read(name, text, faults)?)))
        .collect()
}

fn read<T: DeserializeOwned>(name: &str, text: &str, faults: &mut Vec<Fault>) -> Option<T> {
    match toml::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let byte = error.span().map_or(0, |span| span.start);
            faults.push(Fault::at(name, text, byte, error.message()));
            None
        }
    }
}

/// What keeps a record from being registered: its own faults, and what policy demands of its class.
fn agent_faults(
    agent: &Registration,
    attestation: Option<&attestation::policy::Policy>,
) -> Vec<(&'static str, String)> {
    if let Err(refusal) = agent.check() {
        return vec![("rule", refusal.to_string())];
    }
    let Some(attestation) = attestation else { return Vec::new() };
    let class = &agent.rule.class;
    match attestation.class.get(class).map(|demanded| demanded.undemanded(&agent.rule.selectors)) {
        None => vec![("class", format!("`attestation.toml` has no class `{class}`"))],
        Some(Some(name)) => {
            vec![("selectors", format!("the class `{class}` demands a `{name}` selector"))]
        }
        Some(None) => Vec::new(),
    }
}

/// Values that read but may not stand, by the key of each, with its table where several have it:
/// shown at the first line that sets the key.
fn values<K: AsRef<str>>(
    name: &str,
    files: &Files,
    found: Vec<(K, String)>,
    faults: &mut Vec<Fault>,
) {
    let text = files.get(name).unwrap_or_default();
    for (key, message) in found {
        let fault = Fault::of_file(name, message);
        faults.push(match line_of(text, key.as_ref()) {
            Some(line) => Fault { line, column: 1, ..fault },
            None => fault,
        });
    }
}

/// The line, from 1, that sets `key` or opens the table of that name.
pub(crate) fn line_of(text: &str, key: &str) -> Option<usize> {
    let bare = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let mut table = String::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let name = if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_start_matches('[').split(']').next().unwrap_or_default();
            table = header.split('.').map(bare).collect::<Vec<_>>().join(".");
            table.clone()
        } else {
            let Some((name, _)) = line.split_once('=') else { continue };
            if key.contains('.') { format!("{table}.{}", bare(name)) } else { bare(name) }
        };
        if name == key {
            return Some(at + 1);
        }
    }
    None
}

/// Two files that name the same thing.
fn doubled<T>(
    all: &[(String, T)],
    name: impl Fn(&T) -> Option<String>,
    what: &str,
    faults: &mut Vec<Fault>,
) {
    let mut seen = BTreeMap::new();
    for (file, one) in all {
        let Some(name) = name(one) else { continue };
        if let Some(first) = seen.insert(name.clone(), file) {
            let message = format!("the {what} `{name}` is in `{first}` already");
            faults.push(Fault::of_file(file, message));
        }
    }
}

fn of_cedar(found: pdp::PolicyFault) -> Fault {
    let (file, message, fix) = (found.file, found.message, found.fix);
    Fault { file, line: found.line, column: found.column, message, fix: Some(fix) }
}
