//! What an operator changes about somebody who is there: what pages call them, where they are
//! written to, and what policy may ask of them. It counts at their next request: nothing that is
//! kept says it a second time.

use std::collections::BTreeSet;

use env::{Change, Expect, Key, World, Write};
use monitoring::Event;
use registry::{UserName, UserRecord};

use crate::end::commit;
use crate::facts::basis;
use crate::orders::{Done, Refusal, fits_whole, ordered};
use crate::standing::active;
use crate::turns::{Operator, TRIES_MAX, overtaken, pause};

/// What is to change; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What pages call them.
    pub display_name: Option<String>,
    /// Where they are written to; empty: nowhere.
    pub email: Option<String>,
    /// Roles that they get.
    pub roles: BTreeSet<String>,
    /// Roles that they lose.
    pub not_roles: BTreeSet<String>,
}

impl Changes {
    fn of(&self, user: &UserRecord) -> Result<UserRecord, Refusal> {
        if *self == Self::default() {
            let why = "nothing is named that is to change".to_owned();
            return Err(Refusal::Unfit { what: "change", why });
        }
        if let Some(role) = self.roles.intersection(&self.not_roles).next() {
            let why = format!("`{role}` is to be given and to be taken away");
            return Err(Refusal::Unfit { what: "roles", why });
        }
        // Whoever takes a role away that is not there has somebody or something else in mind.
        if let Some(role) = self.not_roles.iter().find(|role| !user.roles.contains(*role)) {
            let why = format!("`{}` has no role `{role}`", user.name);
            return Err(Refusal::Unfit { what: "roles", why });
        }
        let roles = user.roles.union(&self.roles).filter(|role| !self.not_roles.contains(*role));
        // What an operator says of it is more than what another provider said.
        let (email, email_said_by) = match &self.email {
            Some(email) => (Some(email.clone()).filter(|email| !email.is_empty()), None),
            None => (user.email.clone(), user.email_said_by.clone()),
        };
        let changed = UserRecord {
            display_name: self.display_name.clone().unwrap_or_else(|| user.display_name.clone()),
            email,
            email_said_by,
            roles: roles.cloned().collect(),
            ..user.clone()
        };
        fits_whole(&changed.display_name, changed.email.as_deref(), &changed.roles)?;
        Ok(changed)
    }
}

/// Changes somebody.
pub async fn change<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    changes: &Changes,
    reason: &str,
) -> Done<UserRecord> {
    for turn in 0..TRIES_MAX {
        let facts = basis(world, vec![Key::of::<UserRecord>(name.id())]).await?;
        let found = facts.rows.get::<UserRecord>(&name.id())?;
        let mut record = ordered(world, Event::UserChanged, "user.change", operator, &facts);
        record.subject = Some(name.id());
        let decided = match &found {
            None => Err(Refusal::Unknown { name: name.clone() }),
            Some(user) => match active(user) {
                Err(why) => Err(why.into()),
                Ok(()) => changes.of(user),
            },
        };
        let mut change = Change::default();
        record.facts = serde_json::json!({ "reason": reason });
        if let (Ok(next), Some(user)) = (&decided, &found) {
            change.writes.push(Write::put(next, Expect::Version(user.version)));
            record.facts = serde_json::json!({
                "reason": reason, "roles": next.roles, "roles_before": user.roles,
                "display_name": next.display_name, "email_changed": next.email != user.email,
            });
        }
        if let Some(recorded) = commit(world, change, record, decided).await? {
            return Ok(recorded);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}
