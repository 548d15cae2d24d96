//! `aims agent evidence`: documents about an agent, which are appraised whenever it is measured.

use std::path::PathBuf;

use api::admin::messages::{DocumentShown, EvidenceShown};
use clap::Subcommand;
use identifier::AgentName;

use crate::commands::Context;
use crate::exit::Failure;
use crate::output::{Table, plain, when};

const ADD: &str = "Example:
  aims agent evidence add researcher --kind aibom --file researcher.cdx.dsse.json

A document counts when the agent is measured next, if policy has a table `[evidence.KIND]` for
it and it is about what runs then: `aims agent explain NAME` shows how it was appraised.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep a document; one of the same kind that was there goes
    #[command(after_help = ADD)]
    Add {
        /// The agent's name
        #[arg(value_parser = AgentName::parse)]
        name: AgentName,
        /// Its kind, as policy calls it: aibom, provenance, endorsement, binding, operator
        #[arg(long)]
        kind: String,
        /// The document
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List the documents of an agent
    #[command(after_help = "Example:\n  aims agent evidence list researcher")]
    List {
        /// The agent's name
        #[arg(value_parser = AgentName::parse)]
        name: AgentName,
    },
    /// Take a document away
    #[command(after_help = "Example:\n  aims agent evidence remove researcher --kind aibom")]
    Remove {
        /// The agent's name
        #[arg(value_parser = AgentName::parse)]
        name: AgentName,
        /// Its kind
        #[arg(long)]
        kind: String,
    },
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let server = context.server();
    match command {
        Command::Add { name, kind, file } => {
            let read = tokio::fs::read(&file).await;
            let document = read.map_err(|error| {
                Failure::misused(format!("`{}` cannot be read: {error}", file.display()))
            })?;
            let told = server.change_evidence(&name, &kind, Some(&document)).await?;
            context.told(&told, || {
                let next = "it counts when the agent is measured next";
                format!("{}\n{next}\n", table(context, &told.value))
            })
        }
        Command::Remove { name, kind } => {
            let told = server.change_evidence(&name, &kind, None).await?;
            context.told(&told, || table(context, &told.value))
        }
        Command::List { name } => {
            let EvidenceShown { documents, .. } = server.evidence(&name).await?;
            context.output.show(&documents, || table(context, &documents))
        }
    }
}

fn table(context: &Context, documents: &[DocumentShown]) -> String {
    if documents.is_empty() {
        return "no document; `aims agent evidence add` brings one\n".to_owned();
    }
    let mut table = Table::new(&["KIND", "SINCE", "BY", "SHA-256"]);
    for one in documents {
        let (kind, by, sha256) = (plain(&one.kind), plain(&one.by), one.sha256.clone());
        table.row([kind, when(one.since), by, sha256]);
    }
    table.render(context.output)
}
