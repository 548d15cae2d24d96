//! Agents that a client wants to hand a user's rights to (S4 §10.3.3): each is looked at before the
//! user is asked.

use authorization::asked::Asked;
use env::{Key, Store, Unavailable, World};
use identifier::Kind;
use oauth::authorization_request::RequestRefused;
use oauth::error::ErrorCode;
use oauth::parameter::Refused;
use registry::AgentRecord;

/// RFC 8707 §2: "invalid_target: The requested resource is invalid, missing, unknown, or
/// malformed."
const RULE: &str = "RFC 8707 §2";

/// Refuses a target that is an agent which is not there, not in force or not to be called; and, for
/// a client that is no workload, every agent: such tokens come with a WIT.
pub async fn fit<W: World>(
    world: &W,
    asked: &Asked,
    is_workload: bool,
) -> Result<Result<(), RequestRefused>, Unavailable> {
    let agents = asked.targets.iter().filter(|target| target.is_agent);
    let ids: Vec<_> = agents.map(|target| target.audience.as_str()).collect();
    let rows = match ids.as_slice() {
        [] => return Ok(Ok(())),
        ids => {
            let keys: Vec<_> = ids.iter().map(|id| Key::of::<AgentRecord>(*id)).collect();
            world.store().snapshot(&keys).await?
        }
    };
    for id in ids {
        let found = rows.get::<AgentRecord>(id)?;
        let callable = found.is_some_and(|agent| {
            let called = agent.entry.client.callable || agent.entry.kind == Kind::Service;
            called && agent.lifecycle.is_active().is_ok()
        });
        let why = match (callable, is_workload) {
            (true, true) => continue,
            (true, false) => {
                let what = format!("`{id}`, which takes tokens of agents and services alone");
                Refused::form("resource", RULE, what)
            }
            (false, _) => Refused::value("resource", RULE, id),
        };
        return Ok(Err(RequestRefused { error: ErrorCode::InvalidTarget, why }));
    }
    Ok(Ok(()))
}
