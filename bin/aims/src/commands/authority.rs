//! `aims authority`: our signing keys: what there is, a new one, one that goes.

use api::admin::messages::{KeyShown, RingShown};
use clap::Subcommand;

use crate::commands::Context;
use crate::exit::Failure;
use crate::output::{Table, when};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the signing keys, by what they sign
    #[command(after_help = "Example:\n  aims authority list")]
    List,
    /// Make a new key ahead of its time; the one before hands over to it
    #[command(after_help = "Examples:\n  aims authority rotate wit --reason \"yearly drill\"\n  \
        aims authority rotate x509-authority --in 30s --reason \"before a taint\"\n\n\
        The new key is published at once and signs after `--in`: as long as whoever verifies, and\n\
        does not follow this server, caches keys. Nobody has to do anything, save of\n\
        web-authority: whoever has a copy of `ca.pem` takes the new one.")]
    Rotate {
        /// What it signs: x509-authority, jwt-svid, wit, access-token, txn-token, id-token,
        /// id-token-rs256, id-token-ps256, id-token-eddsa, client-assertion, web-authority
        purpose: String,
        /// When it begins to sign [default: as policy publishes keys ahead]
        #[arg(long = "in", value_name = "TIME", value_parser = crate::span::parse)]
        lead: Option<time::Span>,
        /// Why; it stands in the audit log
        #[arg(long)]
        reason: String,
    },
    /// Let a key sign no longer; every node replaces at once what it signed
    #[command(
        after_help = "Examples:\n  aims authority taint KID --reason \"its host was lost\"\n  \
        aims authority taint KID --urgent --reason \"it leaked\"\n\n\
        What it signed is believed on until it ends or the key is revoked. Another key must\n\
        sign already (`aims authority rotate`), unless this is urgent: then one begins at once,\n\
        and what it signs may be refused for a moment where it is not known yet."
    )]
    Taint {
        /// Its id
        // A thumbprint is base64url: one in 64 begins with a dash.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Although no other key is ready
        #[arg(long)]
        urgent: bool,
        /// Why; it stands in the audit log
        #[arg(long)]
        reason: String,
    },
    /// Trust a tainted key no longer: what it signed is dead
    #[command(after_help = "Example:\n  aims authority revoke KID --reason \"all have moved\"\n\n\
        Wait until every node has replaced what it signed: a few seconds where all are connected.\n\
        An agent that was cut off meanwhile has nothing until its node is back.")]
    Revoke {
        /// Its id
        // A thumbprint is base64url: one in 64 begins with a dash.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Why; it stands in the audit log
        #[arg(long)]
        reason: String,
    },
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let server = context.server();
    match command {
        Command::List => {
            let rings = server.keys().await?;
            context.output.show(&rings, || {
                rings.iter().map(|ring| table(context, ring)).collect::<Vec<_>>().join("\n")
            })
        }
        Command::Rotate { purpose, lead, reason } => {
            let told = server.rotate_key(&purpose, lead, &reason).await?;
            context.told(&told, || table(context, &told.value))
        }
        Command::Taint { kid, urgent, reason } => {
            let told = server.taint_key(&kid, urgent, &reason).await?;
            context.told(&told, || table(context, &told.value))
        }
        Command::Revoke { kid, reason } => {
            let told = server.revoke_key(&kid, &reason).await?;
            context.told(&told, || table(context, &told.value))
        }
    }
}

fn table(context: &Context, ring: &RingShown) -> String {
    let mut table =
        Table::new(&["KEY", "STATE", "SIGNS FROM", "UNTIL", "TRUSTED UNTIL", "HELD BY"]);
    let now = wiring::world::SystemClock::read();
    for key in &ring.keys {
        table.row([
            key.kid.clone(),
            state(key, now).to_owned(),
            when(key.signs_from),
            when(key.signs_until),
            when(key.kept_until),
            key.holder.clone().unwrap_or_default(),
        ]);
    }
    format!("{}\n{}", ring.purpose, table.render(context.output))
}

fn state(key: &KeyShown, now: time::UnixTime) -> &'static str {
    if key.tainted.is_some() {
        "tainted"
    } else if now < key.signs_from {
        "prepared"
    } else if now < key.signs_until {
        "signs"
    } else {
        "signed"
    }
}
