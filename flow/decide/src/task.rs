//! The task that a request for access became: how it stands, and that it is taken back (Access
//! Request and Approval Profile, Task Status Endpoint, Cancellation).

use approval::bound::TASK_KEPT;
use approval::{Approval, Kind, State, Ticket};
use approve::ask::{describe, tell};
use authzen::access_request::{
    Answer, Approved, Cancellation, Completed, Display, Links, Status, Task,
};
use env::{Change, Expect, Key, Store, Stored, Unavailable, World, Write};
use monitoring::{Event, Outcome, Record};
use time::UnixTime;

use crate::Refusal;
use crate::evaluate::approval;
use crate::metadata::REQUESTS_PATH;
use crate::pep::{End, Pep, Shown, refuse};
use crate::turns::{TRIES_MAX, overtaken, pause};

/// What follows the path of a task to take it back.
pub const CANCEL: &str = "cancel";

/// How the task of this handle stands.
pub async fn status<W: World>(
    world: &W,
    shown: &Shown,
    handle: &str,
) -> Result<End<Answer>, Unavailable> {
    let pep = match Pep::of(world, shown).await? {
        Ok(pep) => pep,
        Err(stranger) => return Ok(End::Stranger(stranger)),
    };
    let mut record = pep.record(world, Event::AccessDecided, "access_request.read");
    let decided = match found(world, &pep, handle).await? {
        Ok(found) => {
            describe_task(&mut record, &found.approval);
            record.outcome = Outcome::Done;
            Ok(told(world, handle, &found.ticket, &found.approval, pep.now))
        }
        Err(refusal) => {
            refuse(&mut record, &refusal);
            Err(refusal)
        }
    };
    pep.commit(world, Change::record(record), decided).await?.ok_or_else(overtaken)
}

/// Takes the question back, where nobody answered yet.
pub async fn cancel<W: World>(
    world: &W,
    shown: &Shown,
    handle: &str,
    why: &Cancellation,
) -> Result<End<Answer>, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(end) = try_cancel(world, shown, handle, why).await? {
            return Ok(end);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn try_cancel<W: World>(
    world: &W,
    shown: &Shown,
    handle: &str,
    why: &Cancellation,
) -> Result<Option<End<Answer>>, Unavailable> {
    let pep = match Pep::of(world, shown).await? {
        Ok(pep) => pep,
        Err(stranger) => return Ok(Some(End::Stranger(stranger))),
    };
    let mut record = pep.record(world, Event::ApprovalEnded, "approval.cancel");
    let mut change = Change::default();
    let decided = match found(world, &pep, handle).await? {
        Err(refusal) => Err(refusal),
        Ok(found) => {
            describe_task(&mut record, &found.approval);
            // "Cancellation of a task that has already reached a terminal status returns `409
            // Conflict`".
            found.approval.cancel(pep.now).map_err(|why| Refusal::TaskState(why.to_string())).map(
                |cancelled| {
                    tell(&mut record, "state", cancelled.state.name());
                    let said = [("reason", &why.reason), ("comment", &why.comment)];
                    for (name, text) in said {
                        text.iter().for_each(|text| tell(&mut record, name, text));
                    }
                    let expect = Expect::Version(found.approval.version);
                    change.writes.push(Write::put(&cancelled, expect));
                    told(world, handle, &found.ticket, &cancelled, pep.now)
                },
            )
        }
    };
    match &decided {
        Ok(_) => record.outcome = Outcome::Done,
        Err(refusal) => refuse(&mut record, refusal),
    }
    change.records.push(record);
    pep.commit(world, change, decided).await
}

/// A task of this client.
struct Found {
    ticket: Stored<Ticket>,
    approval: Stored<Approval>,
}

/// "A leaked task handle MUST NOT be sufficient to retrieve task status without caller
/// authorization": it is there for the client that handed it in, while it may ask about the
/// resource.
async fn found<W: World>(
    world: &W,
    pep: &Pep,
    handle: &str,
) -> Result<Result<Found, Refusal>, Unavailable> {
    if let Err(refusal) = pep.may_ask() {
        return Ok(Err(refusal));
    }
    let Some(hash) = Kind::AccessRequest.hash_of(handle) else {
        return Ok(Err(Refusal::UnknownTask));
    };
    let rows = world.store().snapshot(&[Key::of::<Ticket>(&hash)]).await?;
    let ticket = rows.get::<Ticket>(&hash)?.filter(|one| one.kind == Kind::AccessRequest);
    let Some(ticket) = ticket.filter(|one| one.client_id == pep.client_id()) else {
        return Ok(Err(Refusal::UnknownTask));
    };
    let set = pep.facts.set();
    let gateway = &world.site().gateway;
    let listed = ticket.resources.iter().all(|audience| {
        let resource = set.resource(audience, gateway);
        resource.is_some_and(|one| one.decide.contains(pep.client_id()))
    });
    if !listed {
        return Ok(Err(Refusal::UnknownTask));
    }
    let until = ticket.until.plus(TASK_KEPT);
    if pep.now >= until {
        return Ok(Err(Refusal::TaskExpired { until }));
    }
    let approval = approval(world, &ticket.approval).await?;
    Ok(approval.map(|approval| Found { ticket, approval }).ok_or(Refusal::UnknownTask))
}

/// What its client is told.
pub(crate) fn told<W: World>(
    world: &W,
    handle: &str,
    ticket: &Ticket,
    approval: &Approval,
    now: UnixTime,
) -> Answer {
    let issuer = &world.site().issuer;
    let status = match approval.state_at(now) {
        State::Pending => Status::Pending,
        State::Allowed | State::Used => Status::Approved,
        State::Denied => Status::Denied,
        State::Expired => Status::Expired,
        State::Cancelled => Status::Cancelled,
    };
    let status_endpoint = format!("{issuer}{REQUESTS_PATH}/{handle}");
    let cancel = (status == Status::Pending).then(|| format!("{status_endpoint}/{CANCEL}"));
    let result = (status == Status::Approved).then(|| {
        Completed::reevaluate(Approved {
            id: approval.id.clone(),
            approved_at: approval.answered.as_ref().map(|answered| answered.at.to_string()),
            approved_until: approval.until.to_string(),
        })
    });
    let task = Task {
        id: handle.to_owned(),
        status,
        status_endpoint,
        expires_at: ticket.until.plus(TASK_KEPT).to_string(),
        display: Display {
            title: "Approval asked for".to_owned(),
            description: format!("Compare the number {}", approval.number),
        },
        links: Links {
            review: format!("{issuer}{}/{}", approve::challenge::PAGE, approval.id),
            cancel,
        },
    };
    Answer { task, result }
}

/// What records say of a task: as of any approval, and who asked.
pub(crate) fn describe_task(record: &mut Record, approval: &Approval) {
    describe(record, approval);
}
