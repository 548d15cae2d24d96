//! `aims policy`: the policy set as files: checked here, planned and applied by the server.

use std::path::{Path, PathBuf};

use api::admin::messages::{FaultShown, PolicyChange, PolicyFiles, PolicyOrder, PolicyPlan};
use clap::Subcommand;
use policy::{Files, PolicySet, Reached, Review};
use wimse::Origin;

use crate::commands::Context;
use crate::exit::{Failure, fault_text};
use crate::output::{Table, plain};
use wiring::layout::{TRUST_DOMAIN, policy_files};
use wiring::{starter, up};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a policy directory; no server is needed
    #[command(after_help = "Example:\n  aims policy check ./aims-data/policy\n\n\
        Each fault is shown as FILE:LINE:COLUMN, with what to do. Exit code 1: there are faults.\n\
        Warnings, of rules that name what cannot be, leave it at 0.")]
    Check {
        /// The policy directory
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Show what applying a policy directory would change
    #[command(after_help = "Example:\n  aims policy plan ./aims-data/policy")]
    Plan {
        /// The policy directory
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Put a policy directory into force, everywhere
    #[command(after_help = "Examples:\n  \
        aims policy apply ./aims-data/policy --reason \"files for research\"\n  \
        aims policy apply ./policy --expected sha256:77… --reason \"as planned\"")]
    Apply {
        /// The policy directory
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Why: it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Only if this version is in force: the one that the plan was made against
        #[arg(long, value_name = "VERSION")]
        expected: Option<String>,
    },
    /// List the policy sets that were in force
    #[command(after_help = "Example:\n  aims policy history")]
    History,
    /// Write a starter set: it lets nothing happen, and shows where to say what may
    #[command(after_help = "Example:\n  aims policy init ./policy --trust-domain demo.example")]
    Init {
        /// The directory; it must be empty, or not there yet
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// The trust domain; `wimse://NAME` for identifiers of that scheme
        #[arg(long, value_name = "NAME", value_parser = origin,
              default_value = TRUST_DOMAIN)]
        trust_domain: Origin,
    },
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { folder } => check(context, &folder),
        Command::Plan { folder } => plan(context, &folder).await,
        Command::Apply { folder, reason, expected } => {
            let order = PolicyOrder { files: read(&folder)?, reason, expected };
            let told = context.server().apply_policy(&order).await?;
            warn(context, &told.value.warnings);
            context.told(&told, || applied(&told.value))
        }
        Command::History => history(context).await,
        Command::Init { folder, trust_domain } => init(context, &folder, &trust_domain),
    }
}

/// The files of the directory, which need not compile.
fn read(folder: &Path) -> Result<Files, Failure> {
    policy_files(folder).map_err(|error| {
        Failure::misused(error).hint("name a policy directory: `aims policy init` writes one")
    })
}

fn check(context: &Context, folder: &Path) -> Result<(), Failure> {
    let failed = |faults: Vec<policy::Fault>| {
        let count = faults.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        let message = format!("{count} {noun} in `{}`", folder.display());
        Failure::refused("policy::Faults", message).faults(&faults)
    };
    let set = PolicySet::compile(read(folder)?).map_err(failed)?;
    let site = context.place.site();
    let at = site.as_ref();
    let at = at.map(|at| Reached { issuer: &at.issuer, gateway: &at.gateway });
    let Review { faults, warnings } = policy::review(&set, at);
    if !faults.is_empty() {
        return Err(failed(faults));
    }
    let warnings: Vec<_> = warnings.iter().map(FaultShown::from).collect();
    warn(context, &warnings);
    let (version, rules) = (set.version().as_str(), set.pdp().access().rules().len());
    let (resources, agents) = (set.resources().len(), set.agents().len());
    let domain = set.domain().trust_domain.to_string();
    let shown = serde_json::json!({
        "version": version, "trust_domain": domain, "rules": rules, "resources": resources,
        "agents": agents, "warnings": warnings,
    });
    context.output.show(&shown, || {
        format!(
            "ok: {version}\n  trust domain {domain}; rules: {rules}, resources: {resources}, \
             agents: {agents}\n"
        )
    })
}

/// Says what is likely a mistake, beside the result.
fn warn(context: &Context, warnings: &[FaultShown]) {
    for warning in warnings {
        let told = fault_text(warning);
        told.lines().enumerate().for_each(|(at, line)| {
            context.output.note(&if at == 0 {
                format!("warning: {line}")
            } else {
                line.to_owned()
            });
        });
    }
}

async fn plan(context: &Context, folder: &Path) -> Result<(), Failure> {
    let order = PolicyFiles { files: read(folder)? };
    let plan = context.server().plan_policy(&order).await?;
    warn(context, &plan.warnings);
    context.output.show(&plan, || {
        if plan.changes.is_empty() && plan.agents.is_empty() {
            return format!("nothing would change; {} is in force\n", plan.to);
        }
        let from = plan.from.as_deref().unwrap_or("nothing");
        let (to, changes) = (&plan.to, changes(&plan));
        let expected = plan.from.as_ref().map(|from| format!(" --expected {from}"));
        let (folder, expected) = (folder.display(), expected.unwrap_or_default());
        format!(
            "from {from}\nto   {to}\n\n{changes}\n\
             apply it with: aims policy apply {folder}{expected} --reason …\n"
        )
    })
}

fn applied(plan: &PolicyPlan) -> String {
    format!("{}in force: {}\n", changes(plan), plan.to)
}

/// A line a change: `+ rule a`, `- rule b`, `~ resource c`.
fn changes(plan: &PolicyPlan) -> String {
    let line = |change: &PolicyChange| match change {
        PolicyChange::Added { what } => format!("+ {}\n", plain(what)),
        PolicyChange::Removed { what } => format!("- {}\n", plain(what)),
        PolicyChange::Changed { what } => format!("~ {}\n", plain(what)),
    };
    let steps = plan.agents.iter().map(|step| format!("  {}\n", plain(&step.told)));
    plan.changes.iter().map(line).chain(steps).collect()
}

async fn history(context: &Context) -> Result<(), Failure> {
    let sets = context.server().policy_history().await?;
    context.output.show(&sets, || {
        let mut table = Table::new(&["APPLIED", "BY", "VERSION", "IN FORCE", "REASON"]);
        for set in &sets {
            table.row([
                set.applied.clone(),
                set.by.clone(),
                set.version.clone(),
                if set.in_force { "yes" } else { "" }.to_owned(),
                set.reason.clone(),
            ]);
        }
        table.render(context.output)
    })
}

/// A trust domain: the name of one of SPIFFE, or `wimse://` and a name.
fn origin(text: &str) -> Result<Origin, String> {
    let (scheme, name) = up::named(text);
    let text = format!("{scheme}://{name}");
    Origin::parse(&text).map_err(|error| error.to_string())
}

fn init(context: &Context, folder: &Path, origin: &Origin) -> Result<(), Failure> {
    let holds_something = std::fs::read_dir(folder).is_ok_and(|mut all| all.next().is_some());
    if holds_something {
        return Err(Failure::misused(format!("`{}` is not empty", folder.display()))
            .hint("name another folder: nothing is overwritten"));
    }
    let files = starter::files(origin.as_str());
    up::write_policy(folder, &files).map_err(Failure::misused)?;
    let names: Vec<_> = files.keys().cloned().collect();
    let shown = serde_json::json!({ "folder": folder, "files": names });
    context.output.show(&shown, || {
        let folder = folder.display();
        let written: String = names.iter().map(|name| format!("{folder}/{name}\n")).collect();
        format!("{written}check it with: aims policy check {folder}\n")
    })
}
