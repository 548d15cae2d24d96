//! `aims svid`: what the Workload API gives the caller of itself. Any Workload API will do, ours or
//! that of another SPIFFE implementation.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use spiffe::SpiffeId;

use crate::commands::Context;
use crate::exit::Failure;
use crate::files::{self, PUBLIC, SECRET};
use crate::identity::{self, Identity};
use crate::output::{pairs, when};
use crate::span;
use wiring::world::SystemClock;

mod bundle;
mod watch;

/// The environment variable that names the Workload API.
// Workload Endpoint §4: clients find the address in `SPIFFE_ENDPOINT_SOCKET`.
const SOCKET_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The X.509-SVID: show it, or write it with its key and bundle
    #[command(after_help = "Examples:\n  aims svid x509\n  aims svid x509 --write ./identity\n\n\
        --write leaves svid.pem, key.pem (mode 0600) and bundle.pem, each replaced as a whole.")]
    X509 {
        #[command(flatten)]
        source: Source,
        /// Write svid.pem, key.pem and bundle.pem there
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
    },
    /// A JWT-SVID for an audience, on stdout
    #[command(after_help = "Example:\n  aims svid jwt --audience https://partner.example\n\n\
        It is a bearer token: whoever has it is you, for that audience, for minutes.")]
    Jwt {
        #[command(flatten)]
        source: Source,
        /// Whom it is for; may be given several times
        #[arg(long = "audience", required = true, value_name = "AUDIENCE")]
        audiences: Vec<String>,
        /// Write jwt_svid.token there instead
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
    },
    /// The workload identity token: show it, or write it with its key
    #[command(after_help = "Examples:\n  aims svid wit\n  aims svid wit --write ./identity\n\n\
        --write leaves wit.jwt and wit_key.jwk (both of mode 0600), each replaced as a whole.")]
    Wit {
        #[command(flatten)]
        source: Source,
        /// Write wit.jwt and wit_key.jwk there
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
    },
    /// The keys to trust others by, of every trust domain
    #[command(after_help = "Examples:\n  aims svid bundle\n  aims svid bundle --write ./trust\n  \
        aims svid bundle --published > bundle.json\n\n\
        --write leaves a NAME.pem and a NAME.json (a SPIFFE bundle) for each trust domain.\n\
        --published needs no identity: it is what the issuer of this installation shows anybody.")]
    Bundle {
        #[command(flatten)]
        socket: Socket,
        /// The SPIFFE bundle of this trust domain alone, as the issuer publishes it
        #[arg(long, conflicts_with_all = ["socket", "write"])]
        published: bool,
        /// Write the files there
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
    },
    /// Keep the X.509-SVID, its key and its bundle in files, and tell those who read them
    Watch(watch::Arguments),
}

/// Where the Workload API is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Socket {
    /// The Workload API, as path or `unix:///…` [default: DIR/workload.sock]
    #[arg(long, value_name = "ADDRESS", env = SOCKET_VARIABLE, hide_env_values = true)]
    pub(crate) socket: Option<String>,
}

/// Whose credential.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    #[command(flatten)]
    pub(crate) socket: Socket,
    /// Which of several identities [default: the first]
    #[arg(long, value_name = "SPIFFE_ID", value_parser = SpiffeId::parse)]
    pub(crate) id: Option<SpiffeId>,
}

impl Socket {
    /// Connects.
    pub(crate) async fn connect(&self, context: &Context) -> Result<Identity, Failure> {
        Identity::at(context.place.workload_api(self.socket.as_deref())?).await
    }
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::X509 { source, write } => x509(context, &source, write.as_deref()).await,
        Command::Jwt { source, audiences, write } => {
            jwt(context, &source, &audiences, write.as_deref()).await
        }
        Command::Wit { source, write } => wit(context, &source, write.as_deref()).await,
        Command::Watch(arguments) => watch::run(context, arguments).await,
        Command::Bundle { published: true, .. } => {
            let bundle = reach::published::bundle(&context.place).await?;
            context.output.show(&bundle, || format!("{}\n", crate::output::json(&bundle)))
        }
        Command::Bundle { socket, write, .. } => {
            bundle::run(context, &socket, write.as_deref()).await
        }
    }
}

/// What is shown of an X.509-SVID.
#[derive(Serialize)]
struct X509Shown {
    spiffe_id: String,
    hint: Option<String>,
    serial: String,
    not_before: String,
    not_after: String,
    certificates: usize,
    authorities: usize,
    sha256: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    written: Vec<PathBuf>,
}

async fn x509(context: &Context, source: &Source, write: Option<&Path>) -> Result<(), Failure> {
    let identity = source.socket.connect(context).await?;
    let svid = identity.x509(source.id.as_ref()).await?;
    let refused = |error: &dyn std::fmt::Display| {
        Failure::refused("workload::X509Svid", format!("what the Workload API sent: {error}"))
    };
    let chain = workload::pem::split(&svid.chain).map_err(|error| refused(&error))?;
    let leaf = chain.first().ok_or_else(|| refused(&"no certificate"))?;
    let leaf = x509::Certificate::parse(leaf).map_err(|error| refused(&error))?;
    let authorities = workload::pem::split(&svid.bundle).map_err(|error| refused(&error))?;
    let written = match write {
        None => Vec::new(),
        Some(folder) => {
            let (chain, bundle) = (identity::pem(&svid.chain)?, identity::pem(&svid.bundle)?);
            let key = workload::pem::private_key(&svid.key);
            // The certificate last: who waits for it finds its key and bundle there.
            write_all(
                folder,
                &[
                    ("bundle.pem", bundle.as_bytes(), PUBLIC),
                    ("key.pem", key.expose().as_bytes(), SECRET),
                    ("svid.pem", chain.as_bytes(), PUBLIC),
                ],
            )?
        }
    };
    let hash = leaf.fingerprint_sha256();
    let shown = X509Shown {
        spiffe_id: svid.spiffe_id.to_string(),
        hint: svid.hint.clone(),
        serial: leaf.serial().to_string(),
        not_before: when(leaf.not_before()),
        not_after: when(leaf.not_after()),
        certificates: chain.len(),
        authorities: authorities.len(),
        sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        written,
    };
    context.output.show(&shown, || {
        let left = leaf.not_after().since(SystemClock::read());
        pairs([
            ("identity", shown.spiffe_id.clone()),
            ("valid", format!("{} to {}", shown.not_before, shown.not_after)),
            ("ends in", span::show(left)),
            ("serial", shown.serial.clone()),
            ("certificates", shown.certificates.to_string()),
            ("authorities", shown.authorities.to_string()),
            ("sha256", shown.sha256.clone()),
            ("hint", shown.hint.clone().unwrap_or_else(|| "-".to_owned())),
            ("written", listed(&shown.written)),
        ])
    })
}

async fn jwt(
    context: &Context,
    source: &Source,
    audiences: &[String],
    write: Option<&Path>,
) -> Result<(), Failure> {
    let identity = source.socket.connect(context).await?;
    let audiences: Vec<_> = audiences.iter().map(String::as_str).collect();
    let svid = identity.jwt(&audiences, source.id.as_ref()).await?;
    let id = svid.spiffe_id.to_string();
    if let Some(folder) = write {
        let token = svid.token.expose().as_bytes();
        let written = write_all(folder, &[("jwt_svid.token", token, SECRET)])?;
        let shown = serde_json::json!({ "spiffe_id": id, "written": written });
        return context
            .output
            .show(&shown, || pairs([("identity", id.clone()), ("written", listed(&written))]));
    }
    let shown = serde_json::json!({
        "spiffe_id": id, "hint": svid.hint, "token": svid.token.expose(),
    });
    context.output.show(&shown, || format!("{}\n", svid.token.expose()))?;
    context.output.note(&format!("a JWT-SVID of {id} for {}", audiences.join(", ")));
    Ok(())
}

async fn wit(context: &Context, source: &Source, write: Option<&Path>) -> Result<(), Failure> {
    let identity = source.socket.connect(context).await?;
    let svid = identity.wit(source.id.as_ref()).await?;
    let id = svid.spiffe_id.to_string();
    let written = match write {
        None => Vec::new(),
        Some(folder) => write_all(
            folder,
            &[
                ("wit_key.jwk", svid.key.expose().as_bytes(), SECRET),
                ("wit.jwt", svid.token.expose().as_bytes(), SECRET),
            ],
        )?,
    };
    let hash = jose::TokenHash::of(svid.token.expose()).to_base64url();
    let shown = serde_json::json!({
        "spiffe_id": id, "hint": svid.hint, "sha256": hash, "written": written,
    });
    context.output.show(&shown, || {
        pairs([
            ("identity", id.clone()),
            ("sha256", hash.clone()),
            ("hint", svid.hint.clone().unwrap_or_else(|| "-".to_owned())),
            ("written", listed(&written)),
        ])
    })
}

/// Writes files into a folder, which is made if it is not there.
pub(crate) fn write_all(
    folder: &Path,
    all: &[(&str, &[u8], u32)],
) -> Result<Vec<PathBuf>, Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, error))?;
    let mut written = Vec::new();
    for (name, contents, mode) in all {
        let path = folder.join(name);
        files::write(&path, contents, *mode)?;
        written.push(path);
    }
    Ok(written)
}

fn listed(written: &[PathBuf]) -> String {
    if written.is_empty() {
        return "nothing; `--write FOLDER` writes files".to_owned();
    }
    written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n")
}
