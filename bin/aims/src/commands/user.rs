//! `aims user`: people, and how they come in.

use std::collections::BTreeSet;

use api::admin::messages::{AskCode, GiveOrder, GivenShown, NewUser, UserChange, UserShown};
use api::client::Told;
use clap::{Args, Subcommand};
use people::standing::UserAct;
use time::Span;

use crate::commands::Context;
use crate::exit::Failure;
use crate::output::{Table, pairs, when};
use crate::{asked, span};

/// Records of one page.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a user, and print the link by which they add their first passkey
    #[command(after_help = "Examples:\n  aims user add ada --display-name \"Ada Lovelace\"\n  \
        aims user add root --role operator\n\n\
        A name stays with its user for good. The link is shown this once, serves once, and lives\n\
        a day.")]
    Add(AddArgs),
    /// List the users
    #[command(after_help = "Example:\n  aims user list")]
    List,
    /// Show one user: how they stand, and what they sign in with
    #[command(after_help = "Example:\n  aims user show ada")]
    Show {
        /// The name
        name: String,
    },
    /// Change what is said of a user; it counts at their next request
    #[command(
        after_help = "Examples:\n  aims user change ada --role operator --reason \"on call\"\n  \
        aims user change ada --not-role operator --reason \"off call\"\n  \
        aims user change ada --email \"\" --reason \"moved\""
    )]
    Change(ChangeArgs),
    /// Let a user in no longer: sessions, grants and tokens end at once
    #[command(after_help = "Example:\n  aims user disable ada --reason \"left\"")]
    Disable(Moved),
    /// Let a disabled user in again; what ended stays ended
    #[command(after_help = "Example:\n  aims user enable ada --reason \"back\"")]
    Enable(Moved),
    /// Remove a user for good: all that is theirs ends, and only the name is kept
    #[command(after_help = "Example:\n  aims user remove ada --reason \"left\"")]
    Remove(Moved),
    /// Print a link by which a user adds a passkey, after all were lost
    #[command(after_help = "Example:\n  aims user link ada --expires 1h\n\n\
        It serves once; links of before serve no longer.")]
    Link {
        /// The name
        name: String,
        /// How long it can be used: at most 7 days
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = span::up_to_days(7))]
        expires: Span,
    },
    /// Print a code that lets a user in, typed beside their name
    #[command(after_help = "Examples:\n  aims user code ada\n  \
        aims user code ada --uses 3 --expires 1h\n\n\
        `codes = false` under `[sign_in]` of domain.toml switches codes off.")]
    Code {
        /// The name
        name: String,
        /// How often it can be used
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it can be used: at most a day
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span::up_to_days(1))]
        expires: Span,
    },
    /// Print a code that clients must say to get this user asked (CIBA `user_code`)
    #[command(after_help = "Examples:\n  aims user ask-code ada\n  \
        aims user ask-code ada --off\n\n\
        The code is shown once. The user says it to clients that may get them asked; one that they \
        gave before counts no more.")]
    AskCode {
        /// The name
        name: String,
        /// Take the code away: they are asked without one
        #[arg(long)]
        off: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The name: a to z, 0 to 9, and inside also `.`, `-` and `_`
    name: String,
    /// What pages call them
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Where they are written to
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// A role; `operator` opens the operators' pages
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The name
    name: String,
    /// What pages call them
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Where they are written to; empty: nowhere
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// A role that they get; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A role that they lose; may be given several times
    #[arg(long = "not-role", value_name = "ROLE")]
    not_roles: Vec<String>,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Moved {
    /// The name
    name: String,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let server = context.server();
    match command {
        Command::Add(args) => add(context, args).await,
        Command::List => list(context).await,
        Command::Show { name } => {
            let user = server.user(&name).await?;
            context.output.show(&user, || one(&user))
        }
        Command::Change(args) => {
            let ChangeArgs { name, display_name, email, roles, not_roles, reason } = args;
            let (roles, not_roles) = (roles.into_iter().collect(), not_roles.into_iter().collect());
            let strange = asked::unknown_roles(&roles);
            let order = UserChange { display_name, email, roles, not_roles, reason };
            let told = server.change_user(&name, &order).await?;
            context.told(&told, || one(&told.value))?;
            strange.iter().for_each(|text| context.output.note(text));
            Ok(())
        }
        Command::Disable(moved) => act(context, &moved, UserAct::Disable).await,
        Command::Enable(moved) => act(context, &moved, UserAct::Enable).await,
        Command::Remove(moved) => act(context, &moved, UserAct::Remove).await,
        Command::Link { name, expires } => {
            let order = GiveOrder { uses: None, life_seconds: Some(expires.seconds()) };
            let told = server.user_link(&name, &order).await?;
            given(context, &told, "link")
        }
        Command::Code { name, uses, expires } => {
            let order = GiveOrder { uses: Some(uses), life_seconds: Some(expires.seconds()) };
            let told = server.user_code(&name, &order).await?;
            given(context, &told, "code")
        }
        Command::AskCode { name, off } => ask_code(context, &name, off).await,
    }
}

async fn add(context: &Context, args: AddArgs) -> Result<(), Failure> {
    let AddArgs { name, display_name, email, roles } = args;
    let roles: BTreeSet<_> = roles.into_iter().collect();
    let strange = asked::unknown_roles(&roles);
    let order = NewUser { name, display_name, email, roles };
    let told = context.server().add_user(&order).await?;
    context.told(&told, || format!("{}\n", told.value.link.text))?;
    let (name, until) = (&told.value.user.name, when(told.value.link.until));
    context.output.note(&format!("a link for `{name}`, once, until {until}"));
    strange.iter().for_each(|text| context.output.note(text));
    Ok(())
}

async fn ask_code(context: &Context, name: &str, off: bool) -> Result<(), Failure> {
    let told = context.server().user_ask_code(name, &AskCode { off }).await?;
    let text = told.value.text.clone();
    context.told(&told, || text.map(|text| format!("{text}\n")).unwrap_or_default())?;
    let what = if off { "is asked without a code" } else { "is asked with this code alone" };
    context.output.note(&format!("`{name}` {what}"));
    Ok(())
}

/// The secret alone on stdout, for a pipe; what it is beside it.
fn given(context: &Context, told: &Told<GivenShown>, what: &str) -> Result<(), Failure> {
    let GivenShown { user, text, uses, until } = &told.value;
    context.told(told, || format!("{text}\n"))?;
    let often = if *uses == 1 { "once".to_owned() } else { format!("{uses} times") };
    context.output.note(&format!("a {what} for `{user}`, {often}, until {}", when(*until)));
    Ok(())
}

async fn act(context: &Context, moved: &Moved, act: UserAct) -> Result<(), Failure> {
    let told = context.server().move_user(&moved.name, act, &moved.reason).await?;
    context.told(&told, || {
        let (user, ended) = (&told.value.user, &told.value);
        let consequence = match act {
            UserAct::Enable => "; what ended before stays ended".to_owned(),
            UserAct::Disable | UserAct::Remove => format!(
                "; {} sessions and {} grants ended, and every token of theirs with them",
                ended.sessions_ended, ended.grants_ended
            ),
        };
        format!("{} is {}{consequence}\n", user.name, user.state)
    })
}

/// All pages: whoever lists wants to see who there is.
async fn list(context: &Context) -> Result<(), Failure> {
    let server = context.server();
    let (mut after, mut users) = (None, Vec::new());
    loop {
        let page = server.users(after.as_deref(), Some(PAGE)).await?;
        users.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    context.output.show(&users, || {
        if users.is_empty() {
            return "no user; `aims user add` makes one\n".to_owned();
        }
        let mut table = Table::new(&["NAME", "STATE", "CALLED", "ROLES", "PASSKEYS"]);
        for user in &users {
            table.row([
                user.name.clone(),
                user.state.clone(),
                user.display_name.clone(),
                joined(&user.roles),
                user.passkeys.len().to_string(),
            ]);
        }
        table.render(context.output)
    })
}

fn joined(roles: &BTreeSet<String>) -> String {
    if roles.is_empty() {
        return "-".to_owned();
    }
    roles.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn one(user: &UserShown) -> String {
    let lines = |all: Vec<String>| if all.is_empty() { "-".to_owned() } else { all.join("\n") };
    let passkeys = user.passkeys.iter().map(|passkey| {
        let used = passkey
            .used
            .map_or_else(|| "never used".to_owned(), |at| format!("last used {}", when(at)));
        format!("{}, since {}, {used}", passkey.name, when(passkey.added))
    });
    let accounts = user.accounts.iter().map(|one| format!("{} at {}", one.subject, one.issuer));
    pairs([
        ("name", user.name.clone()),
        ("called", user.display_name.clone()),
        ("email", user.email.clone().unwrap_or_else(|| "-".to_owned())),
        ("roles", joined(&user.roles)),
        ("state", format!("{} since {}: {}", user.state, when(user.since), user.reason)),
        ("added", when(user.registered)),
        ("passkeys", lines(passkeys.collect())),
        ("accounts", lines(accounts.collect())),
    ])
}
