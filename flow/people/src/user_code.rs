//! The code without which no client gets a user asked (CIBA Core 1.0 §7.1, `user_code`): given by
//! an operator, shown once, kept by its hash, and taken back.

use env::{Change, Entropy, Expect, Key, Unavailable, World, Write};
use monitoring::Event;
use registry::{UserName, UserRecord};

use crate::end::commit;
use crate::facts::basis;
use crate::orders::{Done, Refusal, ordered};
use crate::secrets::{self, Secret};
use crate::standing::active;
use crate::turns::{Operator, TRIES_MAX, overtaken, pause};

/// Gives a user a new code, in the place of the one before, or takes it away.
pub async fn set<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    on: bool,
) -> Done<Option<Secret>> {
    for turn in 0..TRIES_MAX {
        let facts = basis(world, vec![Key::of::<UserRecord>(name.id())]).await?;
        let found = facts.rows.get::<UserRecord>(&name.id())?;
        let mut record = ordered(world, Event::UserChanged, "user.ask_code", operator, &facts);
        record.subject = Some(name.id());
        record.facts = serde_json::json!({ "on": on });
        let mut change = Change::default();
        let decided = match &found {
            None => Err(Refusal::Unknown { name: name.clone() }),
            Some(user) => match active(user) {
                Err(why) => Err(why.into()),
                Ok(()) => {
                    let (code, stored) = new(world, on)?;
                    let next = UserRecord { user_code: stored, ..(*user.value).clone() };
                    change.writes.push(Write::put(&next, Expect::Version(user.version)));
                    Ok(code)
                }
            },
        };
        if let Some(recorded) = commit(world, change, record, decided).await? {
            return Ok(recorded);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn new<W: World>(world: &W, on: bool) -> Result<(Option<Secret>, Option<String>), Unavailable> {
    if !on {
        return Ok((None, None));
    }
    let code = secrets::code(world.entropy().secret());
    let stored = secrets::user_code_hash(&code, &world.entropy().public());
    let stored = stored.ok_or_else(|| Unavailable::of("entropy", "no code came of it"))?;
    Ok((Some(code), Some(stored)))
}
