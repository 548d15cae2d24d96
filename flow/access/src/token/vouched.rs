//! Transaction tokens that a gateway signed, brought to be exchanged. Within its own calls a
//! gateway says who acts for whom; at the token endpoint more than that would come of its word. So
//! it counts as far as this server knows of the same: a person is in it by a grant of that person
//! that holds, with no more than its rights, and an agent by its own record alone.

use authorization::granted::GrantRecord;
use authorization::presented::{self, Presented};
use env::{Key, Store, Unavailable, World};
use oauth::ScopeSet;
use registry::AgentRecord;
use time::UnixTime;

/// Refuses a token of a gateway that could come of nothing this server knows.
pub(super) async fn check<W: World>(
    world: &W,
    token: &Presented,
    now: UnixTime,
) -> Result<Result<(), presented::Refusal>, Unavailable> {
    if !token.is_of_delegate() {
        return Ok(Ok(()));
    }
    let keys = [Key::of::<GrantRecord>(token.root()), Key::of::<AgentRecord>(token.subject())];
    let rows = world.store().snapshot(&keys).await?;
    let no = |why: &str| Ok(Err(presented::Refusal::Unvouched(why.to_owned())));
    let Some(grant) = rows.get::<GrantRecord>(token.root())? else {
        // What begins with an agent itself: its tokens are not kept, its record is.
        return match rows.get::<AgentRecord>(token.subject())? {
            Some(_) => Ok(Ok(())),
            None => no("its subject is no agent of ours, and nothing was granted"),
        };
    };
    if grant.subject != token.subject() {
        return no("its grant is of somebody else");
    }
    if let Err(over) = grant.is_live(now) {
        return no(&over.to_string());
    }
    let granted: ScopeSet =
        grant.targets.values().flat_map(|target| target.scope.iter().cloned()).collect();
    if !token.scope().is_within(&granted) {
        return no("it has more rights than were granted");
    }
    Ok(Ok(()))
}
