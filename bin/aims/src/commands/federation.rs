//! `aims federation`: the other trust domains whose bundles are believed.

use std::path::PathBuf;

use api::admin::messages::RelationShown;
use clap::{Args, Subcommand};
use credential::federation::{Keeper, Terms};
use spiffe::federation::{EndpointUrl, GivenBundle, Profile};
use spiffe::{SpiffeId, TrustDomain};

use crate::commands::Context;
use crate::exit::Failure;
use crate::files;
use crate::output::{Table, pairs, when};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin to believe what another trust domain's bundle endpoint says
    #[command(after_help = "Examples:\n  \
        aims federation add other.example --profile https_web \\\n      \
        --url https://bundles.other.example/bundle\n  \
        aims federation add other.example --profile https_spiffe \\\n      \
        --url https://aims.other.example:8447/bundle \\\n      \
        --endpoint-id spiffe://other.example/aims/server --bundle other.json\n\n\
        Nothing is inferred: ask the other side for each of these, over a way that you trust.\n\
        An endpoint that serves its own trust domain by https_spiffe needs a first bundle.\n\
        Private addresses are reached only where `fetch_addresses` in aims.toml lists them.")]
    Add(AddArgs),
    /// List the relations, and how they stand
    #[command(after_help = "Example:\n  aims federation list")]
    List,
    /// Show one relation
    #[command(after_help = "Example:\n  aims federation show other.example")]
    Show {
        /// The trust domain
        #[arg(value_parser = TrustDomain::parse)]
        domain: TrustDomain,
    },
    /// Ask an endpoint now, and not when its bundle says
    #[command(after_help = "Example:\n  aims federation refresh other.example")]
    Refresh {
        /// The trust domain
        #[arg(value_parser = TrustDomain::parse)]
        domain: TrustDomain,
    },
    /// End a relation: what the other trust domain issued is believed no longer
    #[command(after_help = "Example:\n  aims federation remove other.example")]
    Remove {
        /// The trust domain
        #[arg(value_parser = TrustDomain::parse)]
        domain: TrustDomain,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The trust domain whose bundle it is
    #[arg(value_parser = TrustDomain::parse)]
    domain: TrustDomain,
    /// How its endpoint proves itself: `https_web` or `https_spiffe`
    #[arg(long, value_name = "PROFILE", value_parser = profile)]
    profile: Profile,
    /// Where its bundle is
    #[arg(long, value_name = "URL", value_parser = EndpointUrl::parse)]
    url: EndpointUrl,
    /// With `https_spiffe`: who answers there
    #[arg(long, value_name = "SPIFFE-ID", value_parser = SpiffeId::parse)]
    endpoint_id: Option<SpiffeId>,
    /// With `https_spiffe`: a first bundle as JSON; `-` is stdin
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Do not believe its WITs
    #[arg(long)]
    without_wit: bool,
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| "the profiles are `https_web` and `https_spiffe`".to_owned())
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let server = context.server();
    match command {
        Command::Add(args) => {
            let told = server.add_relation(&terms(args)?).await?;
            let domain = told.value.trust_domain.clone();
            context.told(&told, || {
                format!("`{domain}` is asked now: see `aims federation show {domain}`\n")
            })
        }
        Command::List => {
            let all = server.relations().await?;
            context.output.show(&all, || list(context, &all))
        }
        Command::Show { domain } => {
            let relation = server.relation(domain.as_str()).await?;
            context.output.show(&relation, || one(&relation))
        }
        Command::Refresh { domain } => {
            let told = server.refresh_relation(domain.as_str()).await?;
            context.told(&told, || {
                format!("`{domain}` is asked now: see `aims federation show {domain}`\n")
            })
        }
        Command::Remove { domain } => {
            let told = server.remove_relation(domain.as_str()).await?;
            context.told(&told, || format!("what `{domain}` issued is believed no longer\n"))
        }
    }
}

fn terms(args: AddArgs) -> Result<Terms, Failure> {
    let AddArgs { domain, profile, url, endpoint_id, bundle, without_wit } = args;
    let bundle = bundle.map(|file| {
        let text = files::read(&file)?;
        GivenBundle::try_from(text).map_err(|error| Failure::file(&file, error))
    });
    let (trust_domain, bundle) = (domain, bundle.transpose()?);
    Ok(Terms { trust_domain, profile, url, endpoint_id, bundle, wit: !without_wit })
}

fn list(context: &Context, all: &[RelationShown]) -> String {
    if all.is_empty() {
        return "no relation; `aims federation add --help` shows how one begins\n".to_owned();
    }
    let mut table = Table::new(&["TRUST DOMAIN", "PROFILE", "STANDING", "FETCHED", "KEPT BY"]);
    for one in all {
        table.row([
            one.trust_domain.to_string(),
            one.profile.to_string(),
            one.standing.name().to_owned(),
            one.fetched.as_ref().map_or_else(|| "never".to_owned(), |last| when(last.at)),
            keeper(one.keeper).to_owned(),
        ]);
    }
    table.render(context.output)
}

fn one(relation: &RelationShown) -> String {
    let sequence = relation.fetched.as_ref().and_then(|last| last.sequence);
    let none = || "-".to_owned();
    let keys = relation.keys.map(|keys| {
        format!("{} X.509 authorities, {} of JWT-SVIDs, {} of WITs", keys.x509, keys.jwt, keys.wit)
    });
    let fault = relation.fault.as_ref();
    pairs([
        ("trust domain", relation.trust_domain.to_string()),
        ("profile", relation.profile.to_string()),
        ("url", relation.url.to_string()),
        ("endpoint", relation.endpoint_id.as_ref().map_or_else(none, ToString::to_string)),
        ("kept by", format!("{} since {}", keeper(relation.keeper), when(relation.since))),
        ("standing", relation.standing.name().to_owned()),
        ("fetched", relation.fetched.as_ref().map_or_else(none, |last| when(last.at))),
        ("sequence", sequence.map_or_else(none, |sequence| sequence.to_string())),
        ("believed", keys.unwrap_or_else(|| "nothing".to_owned())),
        ("wits", if relation.wit { "believed" } else { "not believed" }.to_owned()),
        (
            "last fault",
            fault.map_or_else(none, |last| format!("{} ({})", last.message, last.check)),
        ),
        ("asked next", when(relation.next)),
    ])
}

const fn keeper(keeper: Keeper) -> &'static str {
    match keeper {
        Keeper::Operator => "operator",
        Keeper::Policy => "policy",
    }
}
