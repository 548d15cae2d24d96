//! Clients that are told that somebody answered, or what (CIBA Core 1.0 §10.2, §10.3, §12).
//!
//! What is to be told is committed with the answer, so that a restart forgets nobody; it is sent
//! after that, again with longer pauses where a client is not reached, and not for ever.

use access::token;
use approval::{Approval, Front, State, Ticket};
use env::rows::TO_NOTIFY;
use env::{
    Asks, Change, Clock, Entity, Expect, Index, Key, Outbound, Reach, Store, Stored, Unavailable,
    World, Write,
};
use monitoring::record::Why;
use monitoring::{Event, Outcome};
use oauth::error::ErrorCode;
use openid::ciba::{Ping, Push, PushError};
use serde::Serialize;
use time::UnixTime;

use crate::ask::describe;
use crate::record::begin;
use crate::turns::{TRIES_MAX, overtaken, pause, settled};

/// Clients that are told in one round.
const ROUND_MAX: usize = 256;
/// Tickets that wait for one answer: there is one.
const TICKETS_MAX: usize = 4;

/// What an answer changes of the ticket whose client is to be told of it.
pub(crate) async fn of_answer<W: World>(
    world: &W,
    approval: &Approval,
    now: UnixTime,
) -> Result<Vec<Write>, Unavailable> {
    if approval.front != Front::Ciba {
        return Ok(Vec::new());
    }
    let (table, index) = (Ticket::TABLE, Index::Handle);
    let page = world.store().scan(table, index, &approval.id, None, TICKETS_MAX).await?;
    let mut writes = Vec::new();
    for row in &page.rows {
        let read = row.value::<Ticket>().map_err(|error| Unavailable::of("store", error))?;
        // §10.2: "A Ping callback does not need to be sent for an expired "auth_req_id" because the
        // Client is already aware of the transaction lifetime".
        let wanted = |one: &Ticket| {
            let push = one.notify.as_ref().is_some_and(|notify| notify.push);
            push || approval.state != State::Expired
        };
        let after = read.filter(|one| wanted(one)).and_then(|one| one.after_answer(now));
        writes.extend(after.map(|one| Write::put(&one, Expect::Version(row.version))));
    }
    Ok(writes)
}

/// What is to be told to clients.
pub type Agenda = basis::agenda::Agenda<Stored<Ticket>>;

/// What is due. It needs no lease: to be pinged twice does a client no harm, and what is pushed is
/// made by the server whose commit comes first.
pub async fn agenda<W: World>(world: &W) -> Result<Agenda, Unavailable> {
    let now = world.clock().now();
    let (table, index) = (Ticket::TABLE, Index::State);
    let mut page = world.store().scan(table, index, TO_NOTIFY, None, ROUND_MAX).await?;
    let seq = page.seq;
    let (mut due, mut next): (Vec<Stored<Ticket>>, Option<UnixTime>) = (Vec::new(), None);
    loop {
        for row in &page.rows {
            let read = row.value::<Ticket>().map_err(|error| Unavailable::of("store", error))?;
            let Some(value) = read else { continue };
            let Some(at) = value.notify.as_ref().and_then(|notify| notify.next) else { continue };
            if at <= now {
                due.push(Stored { value, version: row.version });
            } else {
                next = Some(next.map_or(at, |other| other.min(at)));
            }
        }
        let Some(after) = page.next.take().filter(|_| due.len() < ROUND_MAX) else { break };
        page = world.store().scan(table, index, TO_NOTIFY, Some(&after), ROUND_MAX).await?;
    }
    due.truncate(ROUND_MAX);
    Ok(Agenda { due, next, seq })
}

/// What came of telling a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It knows.
    Done,
    /// It is told again later.
    Again,
    /// It does not answer, and is told no more.
    GivenUp,
    /// There is nothing to tell it, or another server does.
    Nothing,
}

/// Tells a client. That it is told is in the record of the answer, and tokens have a record of
/// their own, both durable by now; what came of it is recorded here.
pub async fn tell<W: World>(world: &W, ticket: &Stored<Ticket>) -> Result<Told, Unavailable> {
    let key = Key::of::<Approval>(&ticket.approval);
    let found = world.store().snapshot(&[key]).await?.get::<Approval>(&ticket.approval)?;
    let Some(notify) = ticket.notify.as_ref().filter(|_| ticket.is_to_tell()) else {
        return Ok(Told::Nothing);
    };
    let Some(approval) = found else { return Ok(Told::Nothing) };
    let body = match notify.push {
        true => match pushed(world, ticket, &approval).await? {
            Some(body) => body,
            None => return Ok(Told::Nothing),
        },
        false => json(&Ping { auth_req_id: notify.auth_req_id.clone() })?,
    };
    let what = Asks::Told { body, bearer: notify.token.clone() };
    let question = Outbound { url: notify.endpoint.clone(), reach: Reach::default(), what };
    let answer = match world.outside() {
        Some(outside) => outside.ask(&question).await.map(|_| ()),
        None => Err(Unavailable::of("ciba", "there is no client for that here")),
    };
    settle(world, &ticket.hash, &approval, answer.err()).await
}

/// What is pushed: tokens, or why there are none.
async fn pushed<W: World>(
    world: &W,
    ticket: &Stored<Ticket>,
    approval: &Approval,
) -> Result<Option<String>, Unavailable> {
    let auth_req_id = || ticket.notify.as_ref().map(|one| one.auth_req_id.clone());
    let auth_req_id = auth_req_id().unwrap_or_default();
    let none = |error, auth_req_id| json(&PushError { error, auth_req_id }).map(Some);
    // §12.
    match approval.state_at(world.clock().now()) {
        State::Pending => Ok(None),
        State::Denied | State::Cancelled => none(ErrorCode::AccessDenied, auth_req_id),
        State::Expired => none(ErrorCode::ExpiredToken, auth_req_id),
        State::Allowed | State::Used => match token::push::push(world, ticket).await? {
            None => Ok(None),
            Some(recorded) => match recorded.into_value() {
                Ok(tokens) => json(&Push { auth_req_id, tokens }).map(Some),
                // "transaction_failed The OpenID Provider encountered an unexpected condition that
                // prevented it from successfully completing the transaction."
                Err(_) => none(ErrorCode::TransactionFailed, auth_req_id),
            },
        },
    }
}

fn json(value: &impl Serialize) -> Result<String, Unavailable> {
    serde_json::to_string(value).map_err(|error| Unavailable::of("ciba", error))
}

/// Writes down what came of it.
async fn settle<W: World>(
    world: &W,
    hash: &str,
    approval: &Approval,
    fault: Option<Unavailable>,
) -> Result<Told, Unavailable> {
    for turn in 0..TRIES_MAX {
        let found = world.store().snapshot(&[Key::of::<Ticket>(hash)]).await?;
        let Some(ticket) = found.get::<Ticket>(hash)? else { return Ok(Told::Nothing) };
        let Some(notify) = &ticket.notify else { return Ok(Told::Nothing) };
        let now = world.clock().now();
        let later = fault.as_ref().and_then(|_| notify.after_try(now));
        let told = match (&fault, &later) {
            (None, _) => Told::Done,
            (Some(_), Some(_)) => Told::Again,
            (Some(_), None) => Told::GivenUp,
        };
        let mut record = begin(world, Event::ApprovalAnswered);
        record.action = if notify.push { "ciba.push" } else { "ciba.ping" }.to_owned();
        describe(&mut record, approval);
        crate::ask::tell(&mut record, "tries", &notify.tries.saturating_add(1).to_string());
        if let Some(why) = &fault {
            record.outcome = Outcome::Failed;
            let (check, message) = ("approve::Undelivered".to_owned(), why.to_string());
            record.why = Some(Why { check, message, needs: None });
        }
        let notify = Some(later.unwrap_or_else(|| notify.after_end(now)));
        let after = Ticket { notify, ..(*ticket.value).clone() };
        let writes = vec![Write::put(&after, Expect::Version(ticket.version))];
        let change = Change { writes, uses: Vec::new(), records: vec![record] };
        if settled(world.store().commit(change).await)?.is_some() {
            return Ok(told);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}
