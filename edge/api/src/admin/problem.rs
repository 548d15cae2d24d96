//! The one table from what keeps an order from being done to its status and [`Problem`].

use ::people::end::Check as _;
use ::people::{orders, sessions};
use env::{Recorded, Unavailable};
use flow::{agents, apply_policy, authorities, clients, evidence, federate, nodes};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use monitoring::RecordId;
use oauth::client_metadata::ClientMetadataError;
use oauth::error::ErrorCode;

use crate::admin::messages::{Ending, FaultShown, Problem};
use crate::answer::{self, Answer, RETRY_AFTER_SECONDS};
use crate::audit::AuditFault;
use crate::refused::Unread;

/// An order that was not done, with the status that says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undone {
    pub(crate) status: StatusCode,
    pub(crate) problem: Box<Problem>,
}

/// The end of an order, as flows say it.
pub(crate) type Done<T, R> = Result<Recorded<Result<T, R>>, Unavailable>;

/// What an order did, and its record; or why it was refused, with the same.
pub(crate) fn decided<T, R>(done: Done<T, R>) -> Result<(T, Option<RecordId>), Undone>
where
    for<'a> Undone: From<&'a R>,
{
    let done = done.map_err(|why| <Undone as From<&Unavailable>>::from(&why))?;
    let id = done.audit_id();
    let value = done.into_value().map_err(|refusal| Undone::from(&refusal).recorded(id))?;
    Ok((value, id))
}

impl Undone {
    fn new(status: StatusCode, outcome: Ending, error: &str, message: impl ToString) -> Self {
        let (error, message) = (error.to_owned(), message.to_string());
        let problem =
            Problem { outcome, error, message, hint: None, audit_id: None, faults: Vec::new() };
        Self { status, problem: Box::new(problem) }
    }

    fn hint<'a>(mut self, hint: impl Into<Option<&'a str>>) -> Self {
        self.problem.hint = hint.into().map(str::to_owned);
        self
    }

    /// With the record of the decision.
    pub(crate) fn recorded(mut self, id: Option<RecordId>) -> Self {
        self.problem.audit_id = id.map(|id| id.to_string());
        self
    }

    /// Something that does not exist; nothing was decided.
    pub(crate) fn not_found(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, Ending::Refused, "not_found", message)
    }

    /// An order that makes no sense as it was given.
    pub(crate) fn misused(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Ending::Misused, "misused", message)
    }

    /// The answer.
    pub(crate) fn into_answer(self) -> Answer {
        let mut answer = answer::json(self.status, &self.problem);
        let headers = answer.headers_mut();
        if answer::may_come_again(self.status) {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        let id = self.problem.audit_id.and_then(|id| HeaderValue::try_from(id).ok());
        if let Some(id) = id {
            headers.insert(answer::AUDIT_ID, id);
        }
        answer
    }
}

impl From<&agents::Refusal> for Undone {
    fn from(refusal: &agents::Refusal) -> Self {
        use agents::Refusal as R;
        let (status, hint) = match refusal {
            R::Registration(_) | R::KeyStore(_) => (StatusCode::UNPROCESSABLE_ENTITY, None),
            R::Overlap(_) => (
                StatusCode::CONFLICT,
                Some(
                    "tell them apart by a script (`--script FILE`), a user or a node; or suspend \
                     or retire one first",
                ),
            ),
            R::Assign(_) => (
                StatusCode::CONFLICT,
                Some("choose another name; a name stays with its agent, even a retired one"),
            ),
            R::Class { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                Some("name one of them, or add the class to policy/attestation.toml"),
            ),
            R::Weak { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                Some("add such a selector to the rule, or choose a lower risk class"),
            ),
            R::Unknown { .. } => {
                (StatusCode::NOT_FOUND, Some("`aims agent list` shows those there are"))
            }
            R::Transition(_) => (StatusCode::CONFLICT, None),
        };
        Self::new(status, Ending::Refused, refusal.check(), refusal).hint(hint)
    }
}

impl From<&orders::Refusal> for Undone {
    fn from(refusal: &orders::Refusal) -> Self {
        use orders::Refusal as R;
        let (status, hint) = match refusal {
            R::Taken { .. } => (
                StatusCode::CONFLICT,
                "choose another name; a name stays with its user, even one who was removed",
            ),
            R::Unknown { .. } => (StatusCode::NOT_FOUND, "`aims user list` shows those there are"),
            R::Unfit { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "see `aims user add --help`"),
            R::Transition { .. } => (StatusCode::CONFLICT, "`aims user show` says how they stand"),
            R::Standing(_) => (StatusCode::CONFLICT, "`aims user enable` lets them in again"),
            R::CodesOff => (
                StatusCode::CONFLICT,
                "`aims user link` gives a link; `codes = true` under `[sign_in]` lets codes in",
            ),
            R::Bound { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "give a smaller number"),
        };
        Self::new(status, Ending::Refused, refusal.check(), refusal).hint(hint)
    }
}

impl From<&sessions::Refusal> for Undone {
    fn from(refusal: &sessions::Refusal) -> Self {
        Self::new(StatusCode::NOT_FOUND, Ending::Refused, refusal.check(), refusal)
            .hint("`aims session list` shows those there are")
    }
}

impl From<&approve::Refusal> for Undone {
    fn from(refusal: &approve::Refusal) -> Self {
        use approve::Refusal as R;
        let (status, error) = match refusal {
            R::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            R::NotAllowed(approval::NotAllowed::Unmoved(_)) => {
                (StatusCode::CONFLICT, refusal.check())
            }
            _ => (StatusCode::FORBIDDEN, refusal.check()),
        };
        let undone = Self::new(status, Ending::Refused, error, refusal);
        match refusal {
            R::NotAllowed(approval::NotAllowed::NotAsked { .. }) => {
                undone.hint("operators answer where policy says that a role does: [approvals] ask")
            }
            _ => undone,
        }
    }
}

impl From<&evidence::Refusal> for Undone {
    fn from(refusal: &evidence::Refusal) -> Self {
        use evidence::Refusal as R;
        let (status, hint) = match refusal {
            R::Unknown { .. } => (StatusCode::NOT_FOUND, "`aims agent list` shows those there are"),
            R::NoDocument { .. } => {
                (StatusCode::NOT_FOUND, "`aims agent evidence list` shows those there are")
            }
            R::Kind { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "name one of them"),
            R::NoRule { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "add the table to policy/attestation.toml: it says whom to believe",
            ),
            R::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "bring a smaller one"),
        };
        Self::new(status, Ending::Refused, refusal.check(), refusal).hint(hint)
    }
}

impl From<&nodes::Refusal> for Undone {
    fn from(refusal: &nodes::Refusal) -> Self {
        use nodes::Refusal as R;
        let undone = |status| Self::new(status, Ending::Refused, refusal.check(), refusal);
        match refusal {
            R::Unknown(_) => {
                undone(StatusCode::NOT_FOUND).hint("`aims node list` shows those there are")
            }
            R::Transition(_) => undone(StatusCode::CONFLICT),
        }
    }
}

impl From<&federate::Refusal> for Undone {
    fn from(refusal: &federate::Refusal) -> Self {
        use federate::Refusal as R;
        let (status, hint) = match refusal {
            R::Terms(_) => (StatusCode::UNPROCESSABLE_ENTITY, "see `aims federation add --help`"),
            R::Exists { .. } => (
                StatusCode::CONFLICT,
                "`aims federation remove` ends it; then it can begin with other terms",
            ),
            R::Unknown { .. } => {
                (StatusCode::NOT_FOUND, "`aims federation list` shows those there are")
            }
            R::Kept { .. } => (
                StatusCode::CONFLICT,
                "take its file out of `federation/` of the policy and apply that",
            ),
            R::TooMany { .. } => (StatusCode::CONFLICT, "end one that is not needed"),
        };
        Self::new(status, Ending::Refused, refusal.check(), refusal).hint(hint)
    }
}

impl From<&apply_policy::Refusal> for Undone {
    fn from(refusal: &apply_policy::Refusal) -> Self {
        use apply_policy::Refusal as R;
        let told = apply_policy::describe(refusal);
        match refusal {
            R::Faults(faults) => {
                let count = faults.len();
                let message = format!("the policy set has {count} faults");
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let mut undone = Self::new(status, Ending::Refused, "policy::Faults", message);
                undone.problem.faults = faults.iter().map(FaultShown::from).collect();
                undone
            }
            R::OtherDomain { .. } => {
                Self::new(StatusCode::CONFLICT, Ending::Refused, "policy::OtherDomain", told)
            }
            R::Moved { .. } => {
                Self::new(StatusCode::CONFLICT, Ending::Refused, "policy::Moved", told)
                    .hint("run `aims policy plan` again, and apply what it shows")
            }
            R::Agent(_) => Self::new(StatusCode::CONFLICT, Ending::Refused, "policy::Agent", told)
                .hint("take its file out of `agents/`, or change its name or rule"),
            R::Federation(_) => {
                Self::new(StatusCode::CONFLICT, Ending::Refused, "policy::Federation", told)
                    .hint("`aims federation list` shows the relations there are")
            }
        }
    }
}

impl From<&authorities::Refusal> for Undone {
    fn from(refusal: &authorities::Refusal) -> Self {
        use credential::authority::RingRefusal as R;
        let hint = match refusal {
            authorities::Refusal::Ring(R::Unknown { .. }) => {
                "`aims authority list` shows those there are"
            }
            authorities::Refusal::Ring(R::NoOther { .. }) => {
                "make one with `aims authority rotate` first, or say `--urgent`"
            }
            authorities::Refusal::Ring(R::NotTainted { .. }) => {
                "`aims authority taint` it, wait until nodes have moved, then revoke it"
            }
            authorities::Refusal::Ring(R::Tainted { .. } | R::Delegated { .. }) => {
                "`aims authority revoke` ends it"
            }
            authorities::Refusal::NotRotated => "`aims authority list` shows those that are",
            authorities::Refusal::TooFar { .. } => {
                "give a shorter time, or raise `publish_ahead` in policy"
            }
        };
        Self::new(StatusCode::CONFLICT, Ending::Refused, refusal.check(), refusal).hint(hint)
    }
}

/// RFC 7591 §3.2.2: "invalid_client_metadata: The value of one of the client metadata fields is
/// invalid and the server has rejected this request."
impl From<&ClientMetadataError> for Undone {
    fn from(error: &ClientMetadataError) -> Self {
        let code = ErrorCode::InvalidClientMetadata.as_str();
        Self::new(StatusCode::BAD_REQUEST, Ending::Misused, code, error)
    }
}

impl From<&clients::Refusal> for Undone {
    fn from(refusal: &clients::Refusal) -> Self {
        use clients::Refusal as R;
        match refusal {
            R::Metadata(error) => Self::from(error),
            R::Unknown(_) => Self::not_found(refusal),
            R::Bound(_) => Self::misused(refusal),
            R::Unadmitted(registry::admission::Unadmitted::Secret) => {
                let code = ErrorCode::InvalidClientMetadata.as_str();
                Self::new(StatusCode::BAD_REQUEST, Ending::Misused, code, refusal)
                    .hint("bring a public key in `jwks`, and `private_key_jwt`")
            }
            _ => {
                let code = ErrorCode::InvalidClientMetadata.as_str();
                Self::new(StatusCode::BAD_REQUEST, Ending::Misused, code, refusal)
            }
        }
    }
}

impl From<&env::Unavailable> for Undone {
    /// Operators read what the door said: it is their system.
    fn from(unavailable: &env::Unavailable) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, Ending::Unavailable, "unavailable", unavailable)
            .hint("`aims doctor` says what is wrong")
    }
}

impl From<&AuditFault> for Undone {
    fn from(fault: &AuditFault) -> Self {
        match fault {
            AuditFault::NoLog { .. } | AuditFault::NoEntry { .. } => Self::not_found(fault),
            AuditFault::Cut { .. } => {
                Self::new(StatusCode::GONE, Ending::Refused, "audit::Cut", fault)
                    .hint("`aims audit verify` says when, and under which policy")
            }
            AuditFault::NotYet { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, Ending::Unavailable, "audit::NotYet", fault)
            }
            AuditFault::Unreadable { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, Ending::Unavailable, "audit::Unreadable", fault)
                    .hint("`aims audit verify` finds what is damaged")
            }
        }
    }
}

impl From<&Unread> for Undone {
    fn from(unread: &Unread) -> Self {
        let refused = |status, error: &str| Self::new(status, Ending::Refused, error, unread);
        match unread {
            Unread::NotFound => refused(StatusCode::NOT_FOUND, "not_found")
                .hint("the server may be of another version than the command"),
            Unread::NotAnOperator { .. } => refused(StatusCode::FORBIDDEN, "not_an_operator")
                .hint("orders are taken from root and from the user that the server runs as"),
            Unread::Requests { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, Ending::Unavailable, unread.check(), unread)
            }
            Unread::Method => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Self::new(status, Ending::Misused, unread.check(), unread)
            }
            Unread::TooLong { .. } => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Self::new(status, Ending::Misused, unread.check(), unread)
            }
            Unread::SlowBody => {
                let status = StatusCode::REQUEST_TIMEOUT;
                Self::new(status, Ending::Misused, unread.check(), unread)
            }
            other => Self::misused(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of `flow` are triggered over the socket; here is what needs a broken log or a flood.
    #[test]
    fn every_reason_has_its_status_and_exit_code() {
        let text = str::to_owned;
        let faults = [
            AuditFault::NoLog { log: text("a"), known: text("server") },
            AuditFault::NoEntry { index: 7, size: 5 },
            AuditFault::Cut { index: 7, minimum: 512 },
            AuditFault::NotYet { index: 4 },
            AuditFault::Unreadable { why: text("entry 4: not JSON") },
        ];
        let unread = [
            Unread::NotFound,
            Unread::NotAnOperator { uid: 7 },
            Unread::Requests { max: 64 },
            Unread::Method,
            Unread::TooLong { max: 10 },
            Unread::SlowBody,
            Unread::BrokenBody,
        ];
        let faults = faults.iter().map(Undone::from);
        let table: String = faults
            .chain(unread.iter().map(Undone::from))
            .map(|Undone { status, problem }| {
                let (status, exit) = (status.as_u16(), problem.outcome.exit_code());
                let hint = problem.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{status} {exit} {}: {}{hint}\n", problem.error, problem.message)
            })
            .collect();
        insta::assert_snapshot!(table, @r#"
        404 1 not_found: no log `a`; there are server
        404 1 not_found: entry 7 is not in a log of 5 entries
        410 1 audit::Cut: entry 7 was cut off: the log begins with entry 512 (`aims audit verify` says when, and under which policy)
        503 3 audit::NotYet: no checkpoint covers entry 4 yet
        503 3 audit::Unreadable: the log does not read: entry 4: not JSON (`aims audit verify` finds what is damaged)
        404 1 not_found: nothing is at this path (the server may be of another version than the command)
        403 1 not_an_operator: uid 7 may give no orders here (orders are taken from root and from the user that the server runs as)
        503 3 requests: 64 requests are being decided already
        405 2 method: the path does not have this method
        413 2 too_long: a body of more than 10 bytes
        408 2 slow_body: the body took too long
        400 2 misused: the body broke off
        "#);
    }
}
