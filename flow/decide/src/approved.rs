//! An approval that comes with a question: whether it answers this one (Access Request and Approval
//! Profile, Completion Semantics).

use access::call::standing;
use approval::{Approval, Front, State};
use authzen::access_request::NextAction;
use env::{Key, Snapshot, Store, Stored, Unavailable, World};
use pdp::Asked;
use time::UnixTime;

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Brought {
    /// None came.
    Nothing,
    /// It answers this question, and was not used.
    Good(Box<Stored<Approval>>),
    /// It answers nothing here.
    Bad(Bad),
}

/// Why not, in the words of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) reason: &'static str,
    pub(crate) next: NextAction,
    pub(crate) message: &'static str,
}

const UNVERIFIABLE: Bad = Bad {
    reason: "approval_unverifiable",
    next: NextAction::None,
    message: "there is no such approval for this client",
};
const OUT_OF_SCOPE: Bad = Bad {
    reason: "out_of_scope",
    next: NextAction::Request,
    message: "the approval is of another question",
};

/// It was used, by a question before this one.
pub(crate) const USED: Bad = expired("the approval was used");

const fn expired(message: &'static str) -> Bad {
    Bad { reason: "approval_expired", next: NextAction::Request, message }
}

/// Who shows an approval, for what.
pub(crate) struct Shows<'a> {
    pub(crate) pep: &'a str,
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) hash: Option<&'a str>,
    pub(crate) now: UnixTime,
}

/// "The PDP MUST verify that the approval reference presented in `context.approval` is applicable
/// to the authenticated caller or requester, current Subject, Resource, Action, relevant Context,
/// approval scope, and approval expiry."
pub(crate) async fn of<W: World>(
    world: &W,
    rows: &Snapshot,
    id: Option<&str>,
    shows: &Shows<'_>,
) -> Result<Brought, Unavailable> {
    let Some(id) = id else { return Ok(Brought::Nothing) };
    let Some(found) = rows.get::<Approval>(id)? else { return Ok(Brought::Bad(UNVERIFIABLE)) };
    if let Err(bad) = answers(&found, shows) {
        return Ok(Brought::Bad(bad));
    }
    // "The PDP MUST check current approval status during re-evaluation, including whether the
    // approval has been revoked": by the end of whoever answered, or of whom it concerns since.
    let mut concerned = shows.asked.concerned();
    concerned.extend(found.answered.iter().map(|answered| answered.by.clone()));
    let lineage = [found.root.clone(), found.id.clone()];
    let rows = world.store().snapshot(&standing::keys(&concerned, &lineage)).await?;
    Ok(match standing::check(&rows, &concerned, &lineage, |_| found.epoch)? {
        Ok(()) => Brought::Good(Box::new(found)),
        Err(_) => Brought::Bad(expired("the approval was ended, or who gave it was")),
    })
}

/// The row that is asked for.
pub(crate) fn key(id: &str) -> Key {
    Key::of::<Approval>(id)
}

fn answers(found: &Approval, shows: &Shows<'_>) -> Result<(), Bad> {
    let bound = found.bound.as_ref().filter(|_| found.front == Front::AccessRequest);
    let bound = bound.filter(|bound| bound.pep == shows.pep).ok_or(UNVERIFIABLE)?;
    match found.state {
        State::Allowed => {}
        State::Used => return Err(USED),
        State::Pending | State::Denied | State::Expired | State::Cancelled => {
            return Err(UNVERIFIABLE);
        }
    }
    if shows.hash != Some(bound.hash.as_str()) {
        return Err(OUT_OF_SCOPE);
    }
    if shows.now >= found.until {
        return Err(expired("the approval has ended"));
    }
    Ok(())
}
