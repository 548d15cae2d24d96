//! `aims enrol`: for agents on no host of ours, and for a CI.

use std::path::{Path, PathBuf};

use attestors::x509pop::Credential;
use clap::{ArgGroup, Args};
use jose::PrivateKey;
use reach::enrol::{self, Enrolled, Evidence, Order};
use serde_json::{Value, json};
use wiring::world::SystemClock;

use crate::commands::Context;
use crate::commands::svid::write_all;
use crate::exit::Failure;
use crate::files::{self, PUBLIC, SECRET};
use crate::https::Https;
use crate::output::pairs;

/// What is kept of an enrolment, to renew it by.
const KEPT: &str = "enrolment.json";
const WIT: &str = "wit.jwt";
const KEY: &str = "wit_key.jwk";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    aims enrol --server https://aims.example:8443 --ca ca.pem --agent release-bot \\\n    \
    --mechanism github_actions --evidence-command ./id-token --into ./identity\n  \
    aims enrol --server https://aims.example:8443 --ca ca.pem --agent partner \\\n    \
    --mechanism x509pop --certificates own.pem --certificate-key own.key --into ./identity\n  \
    aims enrol --renew --ca ca.pem --into ./identity\n\n\
    The command finds AIMS_KEY_HASH and AIMS_CHALLENGE in its environment: a token names\n\
    spiffe://DOMAIN/aims/server/$AIMS_KEY_HASH as its audience. --into leaves svid.pem, key.pem,\n\
    wit.jwt, wit_key.jwk, jwt_svid.token as asked for, and enrolment.json to renew by.")]
#[command(group(ArgGroup::new("what").args(["renew", "agent"]).required(true)))]
#[command(group(ArgGroup::new("shown").args(["evidence", "evidence_command", "certificates"])))]
pub(crate) struct Arguments {
    /// Renew what is in the folder, with a new key
    #[arg(long, conflicts_with_all = ["server", "mechanism", "shown"])]
    renew: bool,
    /// The agent's name
    #[arg(long, value_name = "NAME", requires_all = ["server", "mechanism", "shown"])]
    agent: Option<String>,
    /// The server's HTTPS origin
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// What its certificate is trusted by [default: DIR/ca.pem]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// By which mechanism
    #[arg(long, value_name = "NAME")]
    mechanism: Option<String>,
    /// The evidence; `-` is stdin
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// What prints the evidence once the key is made
    #[arg(long, value_name = "CMD")]
    evidence_command: Option<String>,
    /// The certificate to enrol by, PEM, leaf first
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificates: Option<PathBuf>,
    /// Its key: PKCS #8 in PEM, in a file that nobody else reads
    #[arg(long, value_name = "FILE")]
    certificate_key: Option<PathBuf>,
    /// A document about the agent; may be given several times
    #[arg(long = "document", value_name = "KIND=FILE")]
    documents: Vec<String>,
    /// What is wanted; may be given several times [default: x509 and wit]
    #[arg(long = "kind", value_name = "KIND", value_parser = attestation::class::KINDS)]
    kinds: Vec<String>,
    /// For whom a `jwt` is; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// The folder for the files
    #[arg(long, value_name = "FOLDER")]
    into: PathBuf,
}

/// Does it.
pub(crate) async fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let ca = arguments.ca.clone().unwrap_or_else(|| context.place.ca());
    let https = Https::trusting(&ca)?;
    let (server, kinds, audiences, enrolled) = match &arguments.agent {
        Some(agent) => {
            let server = arguments.server.clone().unwrap_or_default();
            let server = server.trim_end_matches('/').to_owned();
            let order = order(arguments, agent)?;
            let enrolled = enrol::enrol(&https, &server, &order).await?;
            (server, order.kinds, order.audiences, enrolled)
        }
        None => renewed(&https, &arguments.into).await?,
    };
    let kept = json!({
        "server": server, "handle": enrolled.answer.get("handle"), "kinds": kinds,
        "audiences": audiences,
    });
    let written = write(&arguments.into, &enrolled, &kept)?;
    let text = |name: &str| {
        enrolled.answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let shown = json!({
        "spiffe_id": text("agent"), "expires": text("expires"), "renew_after": text("renew_after"),
        "until": text("until"), "written": written, "audit_id": enrolled.audit_id,
    });
    context.output.show(&shown, || {
        let files: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
        pairs([
            ("identity", text("agent")),
            ("valid until", text("expires")),
            ("renew after", text("renew_after")),
            ("enrol again by", text("until")),
            ("written", files.join("\n")),
        ])
    })?;
    context.recorded(enrolled.audit_id.as_deref());
    Ok(())
}

fn order(arguments: &Arguments, agent: &str) -> Result<Order, Failure> {
    let evidence = match arguments {
        Arguments { evidence: Some(file), .. } => {
            Evidence::Bytes(files::read(file)?.trim().as_bytes().to_vec())
        }
        Arguments { evidence_command: Some(command), .. } => Evidence::Command(command.clone()),
        Arguments { certificates: Some(chain), certificate_key: Some(key), .. } => {
            let own = Credential::read(chain, key);
            Evidence::Certificate(own.map_err(|error| Failure::file(chain, error))?)
        }
        _ => return Err(Failure::misused("no evidence")),
    };
    let document = |text: &String| {
        let parts = text.split_once('=');
        let (kind, file) =
            parts.ok_or_else(|| Failure::misused(format!("`{text}` is not KIND=FILE")))?;
        Ok((kind.to_owned(), files::read(Path::new(file))?.into_bytes()))
    };
    let documents: Result<_, Failure> = arguments.documents.iter().map(document).collect();
    let mut kinds = arguments.kinds.clone();
    if kinds.is_empty() {
        kinds = vec!["x509".to_owned(), "wit".to_owned()];
    }
    Ok(Order {
        agent: agent.to_owned(),
        mechanism: arguments.mechanism.clone().unwrap_or_default(),
        evidence,
        documents: documents?,
        kinds,
        audiences: arguments.audiences.clone(),
    })
}

type Done = (String, Vec<String>, Vec<String>, Enrolled);

async fn renewed(https: &Https, folder: &Path) -> Result<Done, Failure> {
    let file = folder.join(KEPT);
    let kept: Value =
        serde_json::from_str(&files::read(&file)?).map_err(|error| Failure::file(&file, error))?;
    let texts = |name: &str| -> Vec<String> {
        let all = kept.get(name).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let server = kept.get("server").and_then(Value::as_str).unwrap_or_default().to_owned();
    let hint = "a renewal is proved with the WIT: enrol again with `--kind wit` among the kinds";
    let wit = files::read(&folder.join(WIT)).map_err(|failure| failure.hint(hint))?;
    let key = PrivateKey::from_jwk_private_text(&files::read(&folder.join(KEY))?);
    let key = key.map_err(|error| Failure::file(&folder.join(KEY), error))?;
    let (kinds, audiences) = (texts("kinds"), texts("audiences"));
    let wanted = json!({ "handle": kept.get("handle"), "kinds": kinds, "audiences": audiences });
    let now = SystemClock::read();
    let enrolled = enrol::renew(https, &server, &wanted, (wit.trim(), &key), now).await?;
    Ok((server, kinds, audiences, enrolled))
}

/// Keys first, and what binds them after: who waits for a credential finds its key there.
fn write(folder: &Path, enrolled: &Enrolled, kept: &Value) -> Result<Vec<PathBuf>, Failure> {
    let unmade = |error: &dyn std::fmt::Display| Failure::misused(format!("the key: {error}"));
    let pkcs8 = enrolled.key.to_pkcs8().map_err(|error| unmade(&error))?;
    let pem = workload::pem::private_key(&workload::SecretBytes::new(pkcs8.to_vec()));
    let jwk = enrolled.key.to_jwk_private_text().map_err(|error| unmade(&error))?;
    let text = |name: &str| enrolled.answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let chain = enrolled.answer.get("x509").map(chain_pem).transpose()?;
    let kept = kept.to_string();
    let mut all: Vec<(&str, &[u8], u32)> = vec![(KEPT, kept.as_bytes(), SECRET)];
    if let Some(chain) = &chain {
        all.push(("key.pem", pem.expose().as_bytes(), SECRET));
        all.push(("svid.pem", chain.as_bytes(), PUBLIC));
    }
    let (wit, jwt) = (text("wit"), text("jwt"));
    if let Some(wit) = &wit {
        all.push((KEY, jwk.expose().as_bytes(), SECRET));
        all.push((WIT, wit.as_bytes(), SECRET));
    }
    if let Some(jwt) = &jwt {
        all.push(("jwt_svid.token", jwt.as_bytes(), SECRET));
    }
    write_all(folder, &all)
}

fn chain_pem(x509: &Value) -> Result<String, Failure> {
    let unread = || Failure::refused("enrol::Answer", "the chain in the answer does not read");
    let chain = x509.get("chain").and_then(Value::as_array).ok_or_else(unread)?;
    let mut pem = String::new();
    for one in chain {
        let der = one.as_str().and_then(attestation::evidence::from_text).ok_or_else(unread)?;
        pem.push_str(&workload::pem::certificates(&der).map_err(|_| unread())?);
    }
    Ok(pem)
}
