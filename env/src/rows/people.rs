//! People, their sessions, and what they granted, as they are stored.

use std::collections::BTreeSet;

use approval::{Approval, Queue, State, Ticket, Whom};
use authentication::notice::Notice;
use authentication::session::{Session, SignInCode};
use authorization::granted::{Code, Ended, GrantRecord, code};
use registry::UserRecord;
use time::Span;

use crate::store::{Index, Table};

/// How long the row of an ended session stays, for its owner to see.
const SESSION_KEPT: Span = Span::from_seconds(86_400);
/// How long a code's row outlives it, so that a late second use is told for what it is.
const CODE_KEPT: Span = Span::from_seconds(86_400);

entity!(UserRecord, Table::Users, one => one.id(), account_terms(one), None);
entity!(
    Session, Table::Sessions, one => one.hash.clone(),
    session_terms(one),
    Some(one.ends().plus(SESSION_KEPT))
);
entity!(
    SignInCode, Table::SignInCodes, one => one.hash.clone(),
    vec![(Index::User, one.user.clone())],
    Some(one.until.plus(CODE_KEPT))
);
entity!(
    GrantRecord, Table::Grants, one => one.id.clone(),
    vec![(Index::User, one.subject.clone()), (Index::Client, one.client_id.clone())],
    Some(one.kept_until())
);
entity!(
    Code, Table::Codes, one => one.hash.clone(),
    Vec::new(),
    Some(one.until.plus(code::KEPT))
);
entity!(
    Notice, Table::Notices, one => one.row(),
    vec![(Index::User, one.user.clone())],
    Some(one.until)
);
entity!(
    Approval, Table::Approvals, one => one.id.clone(),
    approval_terms(one),
    Some(one.kept_until())
);
entity!(
    Ticket, Table::Tickets, one => one.hash.clone(),
    ticket_terms(one),
    Some(one.kept_until())
);
entity!(Queue, Table::Queues, one => one.who.clone(), Vec::new(), Some(one.until));
entity!(Ended, Table::Ended, one => one.id.clone(), Vec::new(), Some(one.until));

/// A session is found by its public id, and by the one that it has at another provider.
fn session_terms(session: &Session) -> Vec<(Index, String)> {
    let upstream = session.upstream.iter().filter_map(|(issuer, sid)| {
        Some((Index::Handle, upstream_handle(issuer, sid.as_deref()?)))
    });
    let own = [(Index::User, session.user.clone()), (Index::Handle, session.id.clone())];
    own.into_iter().chain(upstream).collect()
}

/// A person is found by their account at another provider, by their passkeys, and by their address
/// if that is more than another provider's word.
fn account_terms(user: &UserRecord) -> Vec<(Index, String)> {
    let accounts = user.accounts.iter().map(|one| account_handle(&one.issuer, &one.subject));
    let passkeys = user.passkeys.iter().map(|one| passkey_handle(&one.id));
    let email = user.known_email().into_iter().map(email_handle);
    accounts.chain(passkeys).chain(email).map(|handle| (Index::Handle, handle)).collect()
}

/// What [`Index::Handle`] finds a person by: issuer and `sub`, which have no line break.
pub fn account_handle(issuer: &str, subject: &str) -> String {
    format!("{issuer}\n{subject}")
}

/// What [`Index::Handle`] finds a person by: the id of a passkey, base64url.
pub fn passkey_handle(id: &str) -> String {
    format!("passkey\n{id}")
}

/// What [`Index::Handle`] finds people by: their address, whatever its case.
pub fn email_handle(email: &str) -> String {
    format!("email\n{}", email.to_lowercase())
}

/// What [`Index::Handle`] finds sessions by: the issuer of another provider, and its `sid`.
pub fn upstream_handle(issuer: &str, sid: &str) -> String {
    format!("{issuer}\n{sid}")
}

/// Whoever has a role is asked under this, in [`Index::User`]: no identifier of a person begins so.
pub fn role_handle(role: &str) -> String {
    format!("role:{role}")
}

/// Where the questions are found that wait for somebody: a person, or a role.
pub fn waits_handle(handle: &str) -> String {
    format!("waits {handle}")
}

/// An approval is found by who is asked, in whose name it is, who asks, and how it stands.
fn approval_terms(one: &Approval) -> Vec<(Index, String)> {
    let mut terms = vec![
        (Index::Client, one.asks.client_id.clone()),
        (Index::State, one.state.name().to_owned()),
    ];
    let mut users: BTreeSet<String> = match &one.whom {
        Whom::User(user) => BTreeSet::from([user.clone()]),
        Whom::Role(role) => BTreeSet::from([role_handle(role)]),
        Whom::Typed => BTreeSet::new(),
    };
    if one.state == State::Pending {
        terms.extend(users.iter().map(|handle| (Index::Handle, waits_handle(handle))));
    }
    users.extend(one.answered.as_ref().map(|answered| answered.by.clone()));
    users.extend(Some(one.asks.subject.clone()).filter(|subject| !subject.is_empty()));
    terms.extend(users.into_iter().map(|user| (Index::User, user)));
    terms
}

/// A ticket is found by the question that it waits for, and by what a person types.
fn ticket_terms(one: &Ticket) -> Vec<(Index, String)> {
    let mut terms =
        vec![(Index::Client, one.client_id.clone()), (Index::Handle, one.approval.clone())];
    terms.extend(one.user_code.iter().map(|code| (Index::Handle, code.clone())));
    terms.extend(one.is_to_tell().then(|| (Index::State, TO_NOTIFY.to_owned())));
    terms
}

/// Under which state those tickets are found whose client is yet to be told.
pub const TO_NOTIFY: &str = "to_notify";
