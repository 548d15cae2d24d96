//! From the table of routes to what answers.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use env::World;

use crate::admin::problem::Undone;
use crate::admin::{
    Shared, agents, approvals, authorities, clients, evidence, federation, nodes, people, policy,
    records, state,
};
use crate::answer::Answer;
use crate::refused::Unread;
use crate::routes::{ORDERS, Order, Route};

pub(crate) fn router<W: World>(shared: &Arc<Shared<W>>) -> Router {
    let mut router = Router::new();
    for route in ORDERS {
        router = router.route(route.path, method_router::<W>(route));
    }
    router
        .method_not_allowed_fallback(async || Undone::from(&Unread::Method).into_answer())
        .fallback(async || Undone::from(&Unread::NotFound).into_answer())
        .with_state(Arc::clone(shared))
}

fn method_router<W: World>(route: &Route<Order>) -> MethodRouter<Arc<Shared<W>>> {
    match route.endpoint {
        Order::CreateJoinToken => of(route, state::create_join_token::<W>),
        Order::RegisterAgent => of(route, agents::register::<W>),
        Order::ListAgents => of(route, agents::list::<W>),
        Order::ShowAgent => of(route, agents::show::<W>),
        Order::MoveAgent => of(route, agents::act::<W>),
        Order::ShowEvidence => of(route, evidence::show::<W>),
        Order::ChangeEvidence => of(route, evidence::change::<W>),
        Order::RegisterClient => of(route, clients::register::<W>),
        Order::ListClients => of(route, clients::list::<W>),
        Order::ShowClient => of(route, clients::show::<W>),
        Order::DisableClient => of(route, clients::disable::<W>),
        Order::EnableClient => of(route, clients::enable::<W>),
        Order::InviteClient => of(route, clients::invite::<W>),
        Order::AddUser => of(route, people::add::<W>),
        Order::ListUsers => of(route, people::list::<W>),
        Order::ShowUser => of(route, people::show::<W>),
        Order::MoveUser => of(route, people::act::<W>),
        Order::ChangeUser => of(route, people::change::<W>),
        Order::GiveLink => of(route, people::link::<W>),
        Order::GiveCode => of(route, people::code::<W>),
        Order::AskCode => of(route, people::ask_code::<W>),
        Order::EndSessions => of(route, people::end_all::<W>),
        Order::ListSessions => of(route, people::sessions::<W>),
        Order::EndSession => of(route, people::end::<W>),
        Order::ListApprovals => of(route, approvals::list::<W>),
        Order::ShowApproval => of(route, approvals::show::<W>),
        Order::AnswerApproval => of(route, approvals::answer::<W>),
        Order::AddRelation => of(route, federation::add::<W>),
        Order::ListRelations => of(route, federation::list::<W>),
        Order::ShowRelation => of(route, federation::show::<W>),
        Order::MoveRelation => of(route, federation::act::<W>),
        Order::PlanPolicy => of(route, policy::plan::<W>),
        Order::ApplyPolicy => of(route, policy::apply::<W>),
        Order::PolicyHistory => of(route, policy::history::<W>),
        Order::CurrentPolicy => of(route, policy::current::<W>),
        Order::ListNodes => of(route, state::nodes::<W>),
        Order::ShowNode => of(route, nodes::show::<W>),
        Order::MoveNode => of(route, nodes::act::<W>),
        Order::ListKeys => of(route, state::keys::<W>),
        Order::RotateKey => of(route, authorities::rotate::<W>),
        Order::ActOnKey => of(route, authorities::act::<W>),
        Order::TailAudit => of(route, records::tail::<W>),
        Order::ShowRecord => of(route, records::show::<W>),
        Order::FindRecords => of(route, records::find::<W>),
        Order::Trace => of(route, records::trace::<W>),
        Order::Prove => of(route, records::prove::<W>),
        Order::ExportAudit => of(route, records::export::<W>),
        Order::Status => of(route, state::status::<W>),
    }
}

fn of<W, H, T>(route: &Route<Order>, handler: H) -> MethodRouter<Arc<Shared<W>>>
where
    W: World,
    H: Handler<T, Arc<Shared<W>>>,
    T: 'static,
{
    let filter = if route.method == "POST" { MethodFilter::POST } else { MethodFilter::GET };
    on(filter, handler)
}

/// What an order ends with.
pub(crate) type Ended = Result<Answer, Undone>;

impl axum::response::IntoResponse for Undone {
    fn into_response(self) -> Answer {
        self.into_answer()
    }
}
