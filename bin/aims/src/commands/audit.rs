//! `aims audit`: what was decided and done, as the server's logs have it; and the proof that nobody
//! changed it, which needs no server.

mod line;
mod read;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use monitoring::record::Term;
use monitoring::trace::{self, Style, Trace};
use monitoring::{Record, RecordId};
use time::Span;

use crate::asked;
use crate::commands::Context;
use crate::exit::Failure;
use crate::files::{self, PUBLIC};

/// Lines that `tail` begins with.
const LAST: u64 = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the last records; with `-f` follow what comes
    #[command(after_help = "Examples:\n  aims audit tail -f\n  \
        aims audit tail --last 100 --log gateway\n  \
        aims audit tail --where agent=spiffe://demo.example/agent/researcher")]
    Tail(Tail),
    /// Show one record, whole
    #[command(after_help = "Example:\n  aims audit show 0193a2f0-…")]
    Show {
        /// Its audit id
        #[arg(value_parser = record_id, value_name = "AUDIT_ID")]
        id: RecordId,
    },
    /// Show everything that belongs to a task, as a tree
    #[command(after_help = "Example:\n  aims audit trace root-4f…\n\n\
        ID is the id of the task (`aims_root` of its tokens), of a transaction (`txn`), of any\n\
        token (`jti`), or the audit id of a record of it. What operators did meanwhile to its\n\
        subjects stands in it, too.")]
    Trace {
        /// Id of the task, of a transaction, of a token, or of a record
        id: String,
        /// Show identifiers in full
        #[arg(long)]
        whole: bool,
    },
    /// Get a proof that a record is in the log, for other people's tools
    #[command(after_help = "Example:\n  aims audit prove 0193a2f0-… --write proof.txt\n\n\
        The file is a c2sp.org/tlog-proof@v1: tools of transparency logs can check it.")]
    Prove {
        /// The record's audit id
        #[arg(value_parser = record_id, value_name = "AUDIT_ID")]
        id: RecordId,
        /// Write the proof there instead of to stdout
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Prove a log whole, from its folder alone; no server is needed
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Arguments),
    /// Write the records out, one JSON document a line
    #[command(
        after_help = "Examples:\n  aims audit export --format ocsf --since 1h > events.jsonl\n  \
        aims audit export --log gateway"
    )]
    Export {
        /// `ocsf` for other tools, `json` for the records as they are
        #[arg(long, value_enum, hide_possible_values = true, default_value = "json")]
        format: ExportFormat,
        /// Only what is younger
        #[arg(long, value_name = "TIME", value_parser = crate::span::parse)]
        since: Option<Span>,
        /// Which log: server, gateway, … [default: all of them]
        #[arg(long, value_name = "NAME")]
        log: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Stay, and show what comes
    #[arg(short, long)]
    follow: bool,
    /// How many records to begin with
    #[arg(long, value_name = "N", default_value_t = LAST)]
    last: u64,
    /// Which log: server, gateway, … [default: all of them]
    #[arg(long, value_name = "NAME")]
    log: Option<String>,
    /// Only records with this value, such as `agent=spiffe://…`: event, outcome, agent, subject,
    /// resource, operator, root, txn, jti, trace
    #[arg(
        long = "where",
        value_name = "TERM=VALUE",
        value_parser = condition,
        conflicts_with = "follow"
    )]
    condition: Option<(Term, String)>,
}

/// What is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Events of the Open Cybersecurity Schema Framework
    Ocsf,
    /// The records as they are
    Json,
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Tail(args) => read::tail(context, &args).await,
        Command::Show { id } => show(context, id).await,
        Command::Trace { id, whole } => trace(context, &id, whole).await,
        Command::Prove { id, write } => {
            let server = context.server();
            let line = server.record(&id.to_string()).await?;
            let proof = server.prove(&line.log, line.index).await?;
            match write {
                None => context.output.text(&proof),
                Some(path) => {
                    files::write(&path, proof.as_bytes(), PUBLIC)?;
                    context.output.note(&format!("written to {}", path.display()));
                    Ok(())
                }
            }
        }
        Command::Verify(args) => verify::run(context, &args),
        Command::Export { format, since, log } => read::export(context, format, since, log).await,
    }
}

async fn show(context: &Context, id: RecordId) -> Result<(), Failure> {
    let line = context.server().record(&id.to_string()).await?;
    let read = Record::decode(line.record.get().as_bytes());
    context.output.show(&line, || match &read {
        Ok(record) => line::whole(record, &line.log, line.index),
        Err(_) => format!("{}\n", line.record.get()),
    })
}

async fn trace(context: &Context, id: &str, whole: bool) -> Result<(), Failure> {
    let told = asked::story(&context.server(), id).await?;
    let read = told.records.iter().map(|line| Record::decode(line.record.get().as_bytes()));
    let records = read.collect::<Result<Vec<_>, _>>().map_err(|error| {
        Failure::unavailable(format!("a record of this task: {error}"))
            .hint("the server may be of another version than the command")
    })?;
    let tree = Trace::of(&told.root, &records);
    let style = if whole { Style::Whole } else { Style::Short };
    context.output.show(&tree, || trace::render(&tree, style))?;
    if told.cut {
        context.output.note("the server knows more records of this task than it sent");
    }
    Ok(())
}

fn record_id(text: &str) -> Result<RecordId, String> {
    RecordId::parse(text).ok_or_else(|| "not an audit id: those are UUIDs".to_owned())
}

fn condition(text: &str) -> Result<(Term, String), String> {
    let known = || Term::ALL.map(Term::name).join(", ");
    let (name, value) = text.split_once('=').ok_or("write it as `agent=spiffe://…`")?;
    let term =
        Term::parse(name).ok_or_else(|| format!("no term `{name}`; there are {}", known()))?;
    asked::fits(term, value)?;
    Ok((term, value.to_owned()))
}
