//! `aims session`: who is signed in, and in which browser.

use authentication::user_agent::browser_name;
use clap::{Args, Subcommand};

use crate::commands::Context;
use crate::exit::Failure;
use crate::output::{Table, when};

/// Records of one page.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the live sessions: of everybody, or of one user
    #[command(after_help = "Examples:\n  aims session list\n  aims session list --user ada")]
    List {
        /// Of this user alone
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// End one session, or all of a user; their clients are told
    #[command(after_help = "Examples:\n  \
        aims session end f3Zk0aQ2bX7cP9dL1mN4sw --reason \"lost laptop\"\n  \
        aims session end --user ada --reason \"lost laptop\"")]
    End(EndArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// Its id, as `aims session list` shows it
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    id: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { user } => list(context, user.as_deref()).await,
        Command::End(EndArgs { id, user, reason }) => {
            let server = context.server();
            let told = match (id, user) {
                (Some(id), None) => server.end_session(&id, &reason).await?,
                (None, Some(user)) => server.end_sessions(&user, &reason).await?,
                _ => return Err(Failure::misused("neither the id of a session nor `--user`")),
            };
            context.told(&told, || {
                let ended = &told.value;
                format!(
                    "{} sessions and {} grants ended\n",
                    ended.sessions_ended, ended.grants_ended
                )
            })
        }
    }
}

async fn list(context: &Context, user: Option<&str>) -> Result<(), Failure> {
    let server = context.server();
    let (mut after, mut sessions) = (None, Vec::new());
    loop {
        let page = server.sessions(user, after.as_deref(), Some(PAGE)).await?;
        sessions.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    context.output.show(&sessions, || {
        if sessions.is_empty() {
            return "nobody is signed in\n".to_owned();
        }
        let mut table = Table::new(&["ID", "USER", "BY", "SEEN", "ENDS", "BROWSER"]);
        for session in &sessions {
            table.row([
                session.id.clone(),
                session.user.clone(),
                session.acr.clone(),
                when(session.seen),
                when(session.ends),
                browser_name(&session.browser),
            ]);
        }
        table.render(context.output)
    })
}
