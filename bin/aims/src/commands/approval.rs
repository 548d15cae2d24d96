//! `aims approval`: what people are asked, and answering where policy says that a role does.

use api::admin::messages::ApprovalShown;
use clap::{Args, Subcommand};

use crate::commands::Context;
use crate::exit::Failure;
use crate::output::{Table, when};

/// Records of one page.
const PAGE: usize = 100;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List approvals, the pending ones unless another state is named
    #[command(after_help = "Examples:\n  aims approval list\n  aims approval list --state denied")]
    List {
        /// In this state: pending, allowed, denied, expired, cancelled, used
        #[arg(long, value_name = "STATE", default_value = "pending")]
        state: String,
    },
    /// Show one: who asks, exactly what for, and what was answered
    #[command(after_help = "Example:\n  aims approval show f3Zk0aQ2bX7cP9dL1mN4sw")]
    Show {
        /// Its id
        id: String,
    },
    /// Allow one, where policy says that a role answers
    #[command(after_help = "Examples:\n  aims approval approve f3Zk0aQ2bX7cP9dL1mN4sw --number 42")]
    Approve(Answer),
    /// Deny one, where policy says that a role answers
    #[command(after_help = "Examples:\n  aims approval deny f3Zk0aQ2bX7cP9dL1mN4sw --number 42")]
    Deny(Answer),
}

#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// Its id
    id: String,
    /// The number that is shown with it
    #[arg(long, value_name = "NN")]
    number: u8,
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { state } => list(context, &state).await,
        Command::Show { id } => {
            let found = context.server().approval(&id).await?;
            context.output.show(&found, || shown(&found))
        }
        Command::Approve(answer) => self::answer(context, &answer, true).await,
        Command::Deny(answer) => self::answer(context, &answer, false).await,
    }
}

/// Who answers has looked: the number is that of what is shown now, and its hash goes with it.
async fn answer(context: &Context, answer: &Answer, allow: bool) -> Result<(), Failure> {
    let server = context.server();
    let found = server.approval(&answer.id).await?.approval;
    if found.number != answer.number {
        return Err(Failure::misused("the number is not that of this approval: look again"));
    }
    let told = server.answer_approval(&answer.id, allow, &found.hash).await?;
    context.told(&told, || {
        let approval = &told.value.approval;
        format!("approval {} is {}\n", approval.id, approval.state.name())
    })
}

fn shown(found: &ApprovalShown) -> String {
    let mut text = format!("state: {}\n", found.approval.state.name());
    for (name, value) in &found.lines {
        // As a JSON string: no value can look like another line.
        let value = serde_json::Value::String(value.clone());
        text.push_str(&format!("{name}: {value}\n"));
    }
    if let Some(answered) = &found.approval.answered {
        text.push_str(&format!("answered by: {} at {}\n", answered.by, answered.at));
    }
    text
}

async fn list(context: &Context, state: &str) -> Result<(), Failure> {
    let server = context.server();
    let (mut after, mut approvals) = (None, Vec::new());
    loop {
        let page = server.approvals(Some(state), after.as_deref(), Some(PAGE)).await?;
        approvals.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    context.output.show(&approvals, || {
        if approvals.is_empty() {
            return format!("no approval is {state}\n");
        }
        let mut table = Table::new(&["ID", "NUMBER", "BY", "WAY", "WHAT", "UNTIL"]);
        for ApprovalShown { approval, .. } in &approvals {
            let act = approval.sought.act.as_ref().map(|act| act.what.clone());
            let what = act.or_else(|| approval.sought.audience().map(str::to_owned));
            table.row([
                approval.id.clone(),
                approval.number.to_string(),
                approval.asks.client_id.clone(),
                approval.front.name().to_owned(),
                what.unwrap_or_default(),
                when(approval.until),
            ]);
        }
        table.render(context.output)
    })
}
