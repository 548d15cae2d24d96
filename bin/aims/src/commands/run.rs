//! `aims run`: starts a program behind the node's agent proxy, in place of this process, so that
//! the process id stays the one that the node knows.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use identifier::AgentName;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::commands::Context;
use crate::exit::Failure;
use crate::http1::exchange;

/// What the program finds its tools at.
const URL_VARIABLE: &str = "AIMS_URL";
/// Which agent it is.
const AGENT_VARIABLE: &str = "AIMS_AGENT";
/// What all variables of ours begin with; those of the operator are not handed on.
const PREFIX: &str = "AIMS_";

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aims run --agent researcher -- ./my-agent --verbose\n\n\
    The program finds its base URL in AIMS_URL (the MCP server `files` is at $AIMS_URL/files) and\n\
    its identifier in AIMS_AGENT. It holds no key and no token.")]
pub(crate) struct Arguments {
    /// The agent that the program is
    #[arg(long, value_name = "NAME", value_parser = AgentName::parse)]
    agent: AgentName,
    /// The node's socket, if it is not DIR/run.sock
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    program: Vec<OsString>,
}

/// Returns only if the program was not started.
pub(crate) async fn run(context: &Context, args: Arguments) -> Result<(), Failure> {
    let Some((program, rest)) = args.program.split_first() else {
        return Err(Failure::misused("no program to run"));
    };
    let socket = args.socket.unwrap_or_else(|| context.place.run_socket());
    let started = ask(&socket, &args.agent).await?;
    let mut command = Command::new(program);
    command.args(rest);
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        command.env_remove(name);
    }
    command.env(URL_VARIABLE, &started.base_url).env(AGENT_VARIABLE, &started.agent);
    let error = command.exec();
    let program = program.to_string_lossy();
    Err(Failure::misused(format!("`{program}` cannot be run: {error}"))
        .hint("name the program by its path, or see that it is in PATH and executable"))
}

/// What the node answers.
#[derive(Debug, Deserialize)]
struct Started {
    base_url: String,
    agent: String,
}

/// What it answers when it refuses.
#[derive(Debug, Deserialize)]
struct Refused {
    error: String,
    message: String,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    audit_id: Option<String>,
}

async fn ask(socket: &Path, agent: &AgentName) -> Result<Started, Failure> {
    let unreachable = |why: &dyn std::fmt::Display| Failure::unreachable("node", socket, why);
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(&error))?;
    let order = serde_json::json!({ "agent": agent }).to_string();
    let request = Request::post("/v1/run")
        .header(HOST, "node")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(order)))
        .map_err(Failure::misused)?;
    let answer = exchange(stream, request).await.map_err(|error| unreachable(&error))?;
    if answer.status == StatusCode::OK {
        return serde_json::from_slice(&answer.body).map_err(|error| unreachable(&error));
    }
    let refused = serde_json::from_slice::<Refused>(&answer.body);
    let refused = refused.map_err(|_| unreachable(&format!("it answered {}", answer.status)))?;
    let failure = match (refused.error.as_str(), answer.status) {
        ("unavailable", _) => Failure::unavailable(&refused.message),
        (_, StatusCode::BAD_REQUEST) => Failure::misused(&refused.message),
        (check, _) => Failure::refused(check, &refused.message),
    };
    let failure = failure.recorded(refused.audit_id);
    Err(if refused.hint.is_empty() { failure } else { failure.hint(refused.hint) })
}
