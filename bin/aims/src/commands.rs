//! The commands: one file a group, each with its arguments, what it does, and how it is shown.

pub(crate) mod agent;
pub(crate) mod approval;
pub(crate) mod audit;
pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod enrol;
pub(crate) mod federation;
pub(crate) mod join_token;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod svid;
pub(crate) mod token;
pub(crate) mod user;
mod version;

use api::client::{Client, Told};
use serde::Serialize;
use serde_json::Value;

use crate::cli::Command;
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Place;
use crate::serve;

/// What every command knows.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The installation.
    pub(crate) place: Place,
    /// Where output goes.
    pub(crate) output: Output,
}

impl Context {
    /// The server of the installation, as operators reach it.
    pub(crate) fn server(&self) -> Client {
        Client::new(&self.place.admin_socket())
    }

    /// Shows what an order came to, and where the decision is recorded: for scripts as a member
    /// `audit_id` of the object.
    pub(crate) fn told<T: Serialize>(
        &self,
        told: &Told<T>,
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut shown = serde_json::to_value(&told.value).unwrap_or_default();
        if let (Some(members), Some(id)) = (shown.as_object_mut(), &told.audit_id) {
            members.insert("audit_id".to_owned(), Value::String(id.clone()));
        }
        self.output.show(&shown, human)?;
        self.recorded(told.audit_id.as_deref());
        Ok(())
    }

    /// Says where the decision is recorded, beside the result.
    pub(crate) fn recorded(&self, audit_id: Option<&str>) {
        if let Some(id) = audit_id {
            self.output.note(&format!("audit id: {id}"));
        }
    }
}

/// Does what the command line asks for.
pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => Box::pin(serve::demo(context, args)).await,
        Command::Up(args) => Box::pin(serve::up(context, args)).await,
        Command::Server(args) => Box::pin(serve::server(context, args)).await,
        Command::Node(args) => Box::pin(node::run(context, args)).await,
        Command::Gateway(args) => Box::pin(serve::gateway(context, args)).await,
        Command::Run(args) => Box::pin(run::run(context, args)).await,
        Command::JoinToken(command) => Box::pin(join_token::run(context, command)).await,
        Command::Agent(command) => Box::pin(agent::run(context, command)).await,
        Command::Client(command) => Box::pin(client::run(context, command)).await,
        Command::User(command) => Box::pin(user::run(context, command)).await,
        Command::Approval(command) => Box::pin(approval::run(context, command)).await,
        Command::Session(command) => Box::pin(session::run(context, command)).await,
        Command::Authority(command) => Box::pin(authority::run(context, command)).await,
        Command::Federation(command) => Box::pin(federation::run(context, command)).await,
        Command::Enrol(args) => Box::pin(enrol::run(context, &args)).await,
        Command::Svid(command) => Box::pin(svid::run(context, command)).await,
        Command::Token(command) => Box::pin(token::run(context, command)).await,
        Command::Policy(command) => Box::pin(policy::run(context, command)).await,
        Command::Audit(command) => Box::pin(audit::run(context, command)).await,
        Command::Doctor(args) => Box::pin(doctor::run(context, args)).await,
        Command::Trust(args) => reach::trust::run(context.output, &context.place, &args),
        Command::Completions(args) => completions::run(context, &args),
        Command::Version => version::run(context),
    }
}
