//! From arguments, or a file, to a registration.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use api::client::Client;
use attestation::rule::CLASS_DEFAULT;
use attestation::{Rule, Selector, Selectors};
use authorization::client::Facet;
use aws_lc_rs::digest;
use clap::{Args, ValueEnum};
use identifier::{AgentName, Kind};
use oauth::{Scope, ScopeSet};
use policy::PolicySet;
use provisioning::KeyHolding;
use registry::Registration;
use wimse::WorkloadId;
use x509::DnsName;

use crate::exit::Failure;
use crate::files;

/// Bytes of an executable that are hashed at once.
const CHUNK: usize = 64 * 1024;

/// What the help ends with.
pub const EXAMPLES: &str = "Examples:
  aims agent register --name researcher --kind agent --owner alice \\
    --capability search --exec ./researcher --scope files:read
  aims agent register --name nightly --kind service --owner platform-team \\
    --selector unix:uid:1001 --selector unix:path:/opt/nightly --class path
  aims agent register --name mine --kind agent --owner alice \\
    --exec \"$(command -v node)\" --script ./mine.mjs
  aims agent register --file researcher.toml

--exec PATH stands for three selectors: the path, the SHA-256 of the file, and the uid of the
caller unless a `unix:uid` is given; --script PATH for the script that an interpreter runs. A
process must have every selector to be the agent. One that matches several records is none of
them: a rule that contains another's, or is contained in it, is refused.

A record as a file (TOML or JSON):
  name = \"researcher\"
  kind = \"agent\"
  owner = \"alice\"
  capabilities = [\"search\"]
  keys = \"kept\"
  [rule]
  selectors = [\"unix:uid:1000\", \"unix:path:/opt/researcher\"]
  class = \"path\"
  [client]
  scope_max = \"files:read\"
  callable = true";

#[derive(Debug, Args)]
pub struct Arguments {
    /// A record as TOML or JSON; `-` is stdin
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "name", "kind", "owner", "capabilities", "selectors", "exec", "script", "nodes",
            "class", "keys", "locator", "dns_names", "scopes", "callable", "downstream",
        ]
    )]
    file: Option<PathBuf>,
    /// Its name: the identifier is made of it, and it is never given again
    #[arg(long, value_parser = AgentName::parse, required_unless_present = "file")]
    name: Option<AgentName>,
    /// `agent`, with a language model; or `service`, without one
    #[arg(long, value_enum, hide_possible_values = true, required_unless_present = "file")]
    kind: Option<KindName>,
    /// Who answers for it: a person, a team
    #[arg(long, required_unless_present = "file")]
    owner: Option<String>,
    /// What it is able to do; may be given several times
    #[arg(long = "capability", value_name = "WORD")]
    capabilities: Vec<String>,
    /// What its process must be, such as `unix:uid:1000`; may be given several times
    #[arg(long = "selector", value_name = "KIND:VALUE", value_parser = Selector::parse)]
    selectors: Vec<Selector>,
    /// Its executable: adds the selectors of path, SHA-256 and uid
    #[arg(long, value_name = "PATH")]
    exec: Option<PathBuf>,
    /// The script that the executable, an interpreter, runs: adds the selector of its path, which
    /// tells agents of one user apart by the word of the process
    #[arg(long, value_name = "PATH")]
    script: Option<PathBuf>,
    /// A node that it may run on, by identifier; may be given several times [default: every node]
    #[arg(long = "node", value_name = "ID", value_parser = WorkloadId::parse)]
    nodes: Vec<WorkloadId>,
    /// Its risk class in policy/attestation.toml
    #[arg(long, value_name = "NAME", default_value = CLASS_DEFAULT)]
    class: String,
    /// `kept` by the node, which signs for the process; or `handed` to it through the Workload API
    /// [default: kept for an agent, handed for a service]
    #[arg(long, value_enum, hide_possible_values = true)]
    keys: Option<KeysName>,
    /// The URL that it is called at
    #[arg(long, value_name = "URL")]
    locator: Option<String>,
    /// A name of a host in its X.509-SVIDs, for clients that connect by name; may be given several
    /// times
    #[arg(long = "dns", value_name = "NAME", value_parser = DnsName::parse)]
    dns_names: Vec<DnsName>,
    /// The widest scope it may ask for; may be given several times [default: as policy says]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = Scope::parse)]
    scopes: Vec<Scope>,
    /// Others may get tokens to call it
    #[arg(long)]
    callable: bool,
    /// It is a server, whose authority may stand below this one's
    #[arg(long)]
    downstream: bool,
}

/// Agent or service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindName {
    /// It acts with a language model
    Agent,
    /// It has none
    Service,
}

/// Who keeps the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeysName {
    /// The process gets them through the Workload API
    Handed,
    /// The node keeps them, and signs for the process
    Kept,
}

impl Arguments {
    /// The registration that they stand for.
    pub fn read(self) -> Result<Registration, Failure> {
        if let Some(file) = &self.file {
            return of_file(file);
        }
        let (Some(name), Some(kind), Some(owner)) = (self.name, self.kind, self.owner) else {
            return Err(Failure::misused("`--name`, `--kind` and `--owner` are needed"));
        };
        let mut selectors = self.selectors;
        if let Some(path) = &self.exec {
            selectors.extend(of_executable(path, &selectors)?);
        }
        if let Some(path) = &self.script {
            selectors.push(of_script(path)?);
        }
        let selectors = Selectors::new(selectors).map_err(Failure::misused)?;
        let rule = Rule { selectors, nodes: self.nodes, class: self.class };
        rule.faults().map_err(|error| {
            Failure::misused(error).hint("`--exec PATH` makes the usual ones of an executable")
        })?;
        let scope_max: ScopeSet = self.scopes.into_iter().collect();
        let scope_max = Some(scope_max).filter(|scopes| !scopes.is_empty());
        Ok(Registration {
            name,
            kind: match kind {
                KindName::Agent => Kind::Agent,
                KindName::Service => Kind::Service,
            },
            owner,
            capabilities: self.capabilities.into_iter().collect(),
            locator: self.locator,
            dns_names: self.dns_names.into_iter().collect(),
            rule,
            keys: self.keys.map(|keys| match keys {
                KeysName::Handed => KeyHolding::Handed,
                KeysName::Kept => KeyHolding::Kept,
            }),
            client: Facet { scope_max, callable: self.callable, ..Facet::default() },
            downstream: self.downstream,
        })
    }
}

/// What is worth a warning of the scope of an agent or a client: nobody is refused for it, for the
/// resource may come later.
pub async fn undeclared(server: &Client, asked: &ScopeSet) -> Option<String> {
    if asked.is_empty() {
        return None;
    }
    let files = server.current_policy().await.ok()?.files;
    told_undeclared(&PolicySet::compile(files).ok()?, asked)
}

fn told_undeclared(set: &PolicySet, asked: &ScopeSet) -> Option<String> {
    let unknown: Vec<_> = set.undeclared(asked).iter().map(|one| format!("`{one}`")).collect();
    let known: Vec<_> = set.scopes().iter().map(|one| format!("`{one}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let unknown = Some(unknown.join(", ")).filter(|unknown| !unknown.is_empty())?;
    Some(format!("warning: no resource declares the scope {unknown}; declared: {known}"))
}

/// A record in a file: JSON where it begins like JSON, else TOML.
fn of_file(path: &Path) -> Result<Registration, Failure> {
    let text = files::read(path)?;
    let hint = "`aims agent register --help` shows a record";
    if text.trim_start().starts_with('{') {
        let read = serde_json::from_str(&text);
        return read.map_err(|error| Failure::file(path, error).hint(hint));
    }
    toml::from_str(&text).map_err(|error| Failure::file(path, error).hint(hint))
}

/// What the kernel and the file say of the process that this executable will be.
fn of_executable(path: &Path, given: &[Selector]) -> Result<Vec<Selector>, Failure> {
    let fault = |error: &dyn std::fmt::Display| {
        Failure::file(path, error).hint("name the file that the agent's process runs")
    };
    // The kernel tells the path without links.
    let real = path.canonicalize().map_err(|error| fault(&error))?;
    let text = real.to_str().ok_or_else(|| fault(&"not UTF-8"))?;
    let hash = sha256(&real).map_err(|error| fault(&error))?;
    let mut texts = vec![format!("unix:path:{text}"), format!("unix:sha256:{hash}")];
    if given.iter().all(|selector| selector.name() != "unix:uid") {
        texts.push(format!("unix:uid:{}", rustix::process::geteuid().as_raw()));
    }
    texts.iter().map(|text| Selector::parse(text).map_err(|error| fault(&error))).collect()
}

/// What nodes tell of a process whose arguments name this script: the path without links.
fn of_script(path: &Path) -> Result<Selector, Failure> {
    let fault = |error: &dyn std::fmt::Display| {
        Failure::file(path, error).hint("name the script that the agent's process runs")
    };
    let real = path.canonicalize().map_err(|error| fault(&error))?;
    let text = real.to_str().ok_or_else(|| fault(&"not UTF-8"))?;
    Selector::parse(&format!("unix:argv_script:path:{text}")).map_err(|error| fault(&error))
}

/// Lower case hex of the file's SHA-256.
fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file.read(&mut chunk)?;
        match chunk.get(..length) {
            Some([]) | None => break,
            Some(bytes) => context.update(bytes),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(arguments: &[&str]) -> Registration {
        let whole = ["register"].iter().chain(arguments);
        Line::try_parse_from(whole)
            .map_err(|error| error.to_string())
            .unwrap()
            .arguments
            .read()
            .unwrap()
    }

    #[test]
    fn an_executable_stands_for_its_selectors() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("agent"), folder.path().join("link"));
        std::fs::write(&file, "abc").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let base = ["--name", "a", "--kind", "agent", "--owner", "o", "--exec"];
        let selectors = |more: &[&str]| -> Vec<String> {
            let arguments = [&base[..], &[link.to_str().unwrap()], more].concat();
            let entry = read(&arguments);
            entry.rule.selectors.iter().map(ToString::to_string).collect()
        };
        let real = file.canonicalize().unwrap();
        let path = format!("unix:path:{}", real.display());
        // FIPS 180-2 Appendix B.1: the hash of `abc`.
        let hash = "unix:sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
        assert_eq!(selectors(&[]), [path.as_str(), hash, &uid]);
        assert_eq!(selectors(&["--selector", "unix:uid:7"]), [path.as_str(), hash, "unix:uid:7"]);
        let script = format!("unix:argv_script:path:{}", real.display());
        let with = selectors(&["--script", link.to_str().unwrap()]);
        assert_eq!(with, [script.as_str(), path.as_str(), hash, &uid]);
    }

    #[test]
    fn arguments_and_files_give_the_same_record() {
        let given = read(&[
            "--name",
            "researcher",
            "--kind",
            "agent",
            "--owner",
            "alice",
            "--capability",
            "search",
            "--selector",
            "unix:uid:1000",
            "--selector",
            "unix:path:/opt/researcher",
            "--class",
            "path",
            "--keys",
            "kept",
            "--scope",
            "files:read",
            "--callable",
        ]);
        let (_, toml) = EXAMPLES.split_once("(TOML or JSON):\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("a.toml", toml.to_owned()), ("a.json", serde_json::to_string(&given).unwrap())]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&["--file", path.to_str().unwrap()]), given, "{name}");
        }
    }

    #[test]
    fn a_scope_that_no_resource_declares_is_told() {
        let mut files = wiring::starter::files("spiffe://demo.example");
        let resource = "name = \"tools\"\nupstream = \"http://127.0.0.1:1\"\nprotocol = \"mcp\"\n\
                        [scopes]\n\"tools:use\" = \"Use the tools\"\n";
        files.insert("resources/tools.toml".to_owned(), resource.to_owned());
        let set = PolicySet::compile(policy::Files::new(files).unwrap()).unwrap();
        let told = |asked: &str| told_undeclared(&set, &ScopeSet::parse(asked).unwrap());
        assert_eq!(told("tools:use openid offline_access"), None);
        let expect = "warning: no resource declares the scope `tool:use`; declared: `tools:use`";
        assert_eq!(told("tool:use tools:use").as_deref(), Some(expect));
    }

    #[test]
    fn a_record_without_selectors_is_refused_here() {
        let line = ["r", "--name", "a", "--kind", "agent", "--owner", "o"];
        let refused = Line::try_parse_from(line).ok().unwrap().arguments.read().unwrap_err();
        assert!(refused.problem().hint.as_ref().unwrap().contains("--exec"));
    }
}
