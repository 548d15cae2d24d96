//! Asking for what was denied: the shapes of the [Access Request and Approval
//! Profile](https://github.com/openid/authzen/tree/main/profiles/authzen-access-request-approval)
//! (draft of 2026-06-03). Its sections have no numbers: they are cited by name.

use serde::Serialize;
use serde_json::{Map, Value};
use time::UnixTime;

use crate::actor::{self, ACT, Actor, text};
use crate::evaluation::{Malformed, Properties, Request, object, question};

/// Members of a decision's context, and of a question's.
pub const CONTEXT_APPROVAL: &str = "approval";
/// Longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Longest reason or comment of who takes a request back, in bytes.
pub const COMMENT_BYTES_MAX: usize = 1_024;

/// What a denial says that can be asked for (Requestable Denial Context).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hint {
    pub endpoint: String,
    /// "REQUIRED. String containing an RFC 3339 timestamp."
    pub expires_at: String,
    pub display: Display,
}

/// What is shown to people of a hint or a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Display {
    pub title: String,
    pub description: String,
}

/// What to do after a denial that came although an approval was shown (Completion Semantics).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NextAction {
    /// "submit a new Access Request."
    Request,
    /// "do not retry or re-request; the denial is terminal for this approval."
    None,
}

/// The id in `context.approval` of a question, where there is one.
pub fn approval_id(context: &Properties) -> Result<Option<String>, Malformed> {
    let Some(approval) = context.get(CONTEXT_APPROVAL) else { return Ok(None) };
    let approval = approval.as_object().ok_or(Malformed::Kind { member: "context.approval" })?;
    // "`id`: REQUIRED. String. Stable, opaque, and unguessable identifier of the approval."
    let id = text(approval.get("id"), "context.approval.id")?;
    id.map(Some).ok_or(Malformed::Missing { member: "context.approval.id" })
}

/// A submission (Access Request Submission).
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The question that was denied, and what was added to its context.
    pub request: Request,
    /// `denial.evaluation_id`.
    pub evaluation_id: Option<String>,
    /// `denial.expires_at`, as it was told.
    pub expires_at: UnixTime,
    /// Whether there is a `denial.binding_token`.
    pub has_binding_token: bool,
    /// `requested_access.requested_until`.
    pub requested_until: Option<UnixTime>,
    /// `context.business_justification`: what whoever asks says about it.
    pub justification: Option<String>,
}

impl Submission {
    /// Reads the body of a submission.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let body = question(bytes)?;
        if body.contains_key("items") {
            return Err(Malformed::Items);
        }
        if body.contains_key("callback") {
            return Err(Malformed::Callback);
        }
        let mut request = Request::read_whole(&body)?;
        keep_actor(&mut request, body.get("client"))?;
        let denial = body.get("denial").ok_or(Malformed::Missing { member: "denial" })?;
        let denial = denial.as_object().ok_or(Malformed::Kind { member: "denial" })?;
        let expires_at = instant(denial.get("expires_at"), "denial.expires_at")?;
        let wanted = match body.get("requested_access") {
            None => None,
            Some(Value::Object(wanted)) => wanted.get("requested_until"),
            Some(_) => return Err(Malformed::Kind { member: "requested_access" }),
        };
        let until = "requested_access.requested_until";
        let said = request.context.get("business_justification");
        Ok(Self {
            evaluation_id: text(denial.get("evaluation_id"), "denial.evaluation_id")?,
            // "`expires_at`: REQUIRED."
            expires_at: expires_at.ok_or(Malformed::Missing { member: "denial.expires_at" })?,
            has_binding_token: denial.contains_key("binding_token"),
            requested_until: instant(wanted, until)?,
            justification: said.and_then(Value::as_str).map(str::to_owned),
            request,
        })
    }
}

/// PEP Processing Rules: "the PEP MAY preserve the actor in the submission's `subject` or normalize
/// it to `client.actor`; the actor identity itself MUST NOT be dropped." Here it is put back.
fn keep_actor(request: &mut Request, client: Option<&Value>) -> Result<(), Malformed> {
    let client = match client {
        None => return Ok(()),
        Some(Value::Object(client)) => client,
        Some(_) => return Err(Malformed::Kind { member: "client" }),
    };
    let Some(claimed) = client.get("actor") else { return Ok(()) };
    let claimed = actor::of_client(claimed)?;
    let properties = &mut request.subject.properties;
    if properties.contains_key(ACT) {
        // "The Access Request Service MUST reject submissions whose claimed chain cannot be
        // verified against the caller's credential or against trusted issuers".
        return if request.subject.actors()? == claimed { Ok(()) } else { Err(Malformed::Actors) };
    }
    let mut act = None;
    for Actor { id, issuer } in claimed.into_iter().rev() {
        let mut link = Map::from_iter([("sub".to_owned(), Value::from(id))]);
        link.extend(issuer.map(|issuer| ("iss".to_owned(), issuer.into())));
        link.extend(act.map(|act| (ACT.to_owned(), act)));
        act = Some(Value::Object(link));
    }
    properties.extend(act.map(|act| (ACT.to_owned(), act)));
    Ok(())
}

/// Why somebody takes a request back (Cancellation).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cancellation {
    pub reason: Option<String>,
    pub comment: Option<String>,
}

impl Cancellation {
    /// Reads it. "The cancellation request body is an OPTIONAL JSON object".
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let body = object(bytes)?;
        let bounded = |member: &'static str| match text(body.get(member), member)? {
            Some(text) if text.len() > COMMENT_BYTES_MAX => {
                Err(Malformed::TooLong { member, bytes: text.len(), max: COMMENT_BYTES_MAX })
            }
            text => Ok(text),
        };
        Ok(Self { reason: bounded("reason")?, comment: bounded("comment")? })
    }
}

fn instant(value: Option<&Value>, member: &'static str) -> Result<Option<UnixTime>, Malformed> {
    let Some(text) = text(value, member)? else { return Ok(None) };
    UnixTime::parse(&text).map(Some).ok_or(Malformed::Instant { member })
}

/// What a request for access is told (Access Request Response).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub task: Task,
    /// "When `task.status` is `approved` […] the response MUST include a top-level `result`
    /// object."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Completed>,
}

/// The handle of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    pub id: String,
    pub status: Status,
    pub status_endpoint: String,
    /// "timestamp after which the task handle is no longer valid."
    pub expires_at: String,
    pub display: Display,
    pub links: Links,
}

/// Where a task is looked at by others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Links {
    /// "URL where an approver or administrator can review or act on the request."
    pub review: String,
    /// "URL where the PEP can cancel the request".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
}

/// How a task stands (Task Status Values).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pending,
    Approved,
    Denied,
    Expired,
    Cancelled,
}

/// What came of a task that was approved (Completion Semantics).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Completed {
    mode: &'static str,
    pub approval: Approved,
}

impl Completed {
    /// "This profile defines a single completion mode, identified by `result.mode`: `reevaluate`."
    pub const fn reevaluate(approval: Approved) -> Self {
        Self { mode: "reevaluate", approval }
    }
}

/// The approval that is shown with the next question, unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approved {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<String>,
    /// "REQUIRED. RFC 3339 timestamp indicating the latest time through which the approval remains
    /// valid."
    pub approved_until: String,
}

/// The problem types of the profile (Error Responses).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemType {
    NotRequestable,
    ExpiredDenial,
    InvalidDenialBinding,
    DuplicateRequest,
    UnknownTask,
    TaskExpired,
    InvalidTaskState,
}

impl ProblemType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotRequestable,
        Self::ExpiredDenial,
        Self::InvalidDenialBinding,
        Self::DuplicateRequest,
        Self::UnknownTask,
        Self::TaskExpired,
        Self::InvalidTaskState,
    ];

    /// "The problem type URI MUST appear in the `type` member."
    pub const fn uri(self) -> &'static str {
        match self {
            Self::NotRequestable => "urn:openid:authzen:access-request:error:not_requestable",
            Self::ExpiredDenial => "urn:openid:authzen:access-request:error:expired_denial",
            Self::InvalidDenialBinding => {
                "urn:openid:authzen:access-request:error:invalid_denial_binding"
            }
            Self::DuplicateRequest => "urn:openid:authzen:access-request:error:duplicate_request",
            Self::UnknownTask => "urn:openid:authzen:access-request:error:unknown_task",
            Self::TaskExpired => "urn:openid:authzen:access-request:error:task_expired",
            Self::InvalidTaskState => "urn:openid:authzen:access-request:error:invalid_task_state",
        }
    }

    /// The HTTP status that the profile gives it.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotRequestable | Self::InvalidDenialBinding => 400,
            Self::UnknownTask => 404,
            Self::DuplicateRequest | Self::InvalidTaskState => 409,
            Self::ExpiredDenial | Self::TaskExpired => 410,
        }
    }

    /// In words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::NotRequestable => "this denial cannot be asked for",
            Self::ExpiredDenial => "the denial has expired",
            Self::InvalidDenialBinding => "the request is not bound to a denial",
            Self::DuplicateRequest => "the idempotency key was used for another request",
            Self::UnknownTask => "there is no such task",
            Self::TaskExpired => "the task has expired",
            Self::InvalidTaskState => "the task is not in a state for that",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The submission of the profile's End-to-End Manager Approval, with an actor.
    fn example() -> Value {
        json!({
            "subject": {"type": "user", "id": "alice@example.com"},
            "resource": {"type": "document", "id": "q4-plan"},
            "action": {"name": "can_read"},
            "context": {"business_justification": "Needed for customer renewal review"},
            "requested_access": {"requested_until": "2026-05-01T00:15:00Z"},
            "client": {"id": "crm", "actor": {"id": "agent-1", "issuer": "https://a.example",
                "type": "ai_agent", "act": {"sub": "service-2"}}},
            "denial": {
                "evaluation_id": "eval_01HX4Y2P8BQ4Y3F0V0K9D6Z7M1",
                "evaluated_at": "2026-04-30T20:15:00Z",
                "expires_at": "2026-04-30T20:25:00Z",
                "reason": "approval_required",
                "template": "manager_approval"
            }
        })
    }

    fn parse(value: &Value) -> Result<Submission, Malformed> {
        Submission::parse(value.to_string().as_bytes())
    }

    /// req: AUTHZ-32 (part)
    #[test]
    fn arap_submission_is_read_and_its_actor_kept() {
        let read = parse(&example()).unwrap();
        assert_eq!(read.evaluation_id.as_deref(), Some("eval_01HX4Y2P8BQ4Y3F0V0K9D6Z7M1"));
        assert_eq!(read.expires_at.to_string(), "2026-04-30T20:25:00.000Z");
        assert_eq!(read.requested_until.unwrap().to_string(), "2026-05-01T00:15:00.000Z");
        assert_eq!(read.justification.as_deref(), Some("Needed for customer renewal review"));
        let ids: Vec<_> =
            read.request.subject.actors().unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["agent-1", "service-2"]);
        // In both places it is one and the same.
        let mut both = example();
        both["subject"]["properties"] = json!({"act": {"sub": "agent-1",
            "iss": "https://a.example", "act": {"sub": "service-2"}}});
        assert_eq!(parse(&both).unwrap().request, read.request);
        both["client"]["actor"]["id"] = json!("agent-2");
        assert_eq!(parse(&both), Err(Malformed::Actors));
    }

    #[test]
    fn arap_each_wrong_member_is_named() {
        let mut chain = json!({"sub": "a"});
        for _ in 0..actor::ACTORS_MAX {
            chain = json!({"sub": "a", "act": chain});
        }
        let missing = |member| Malformed::Missing { member };
        let kind = |member| Malformed::Kind { member };
        for (pointer, wrong, expect) in [
            ("/items", json!([]), Malformed::Items),
            ("/callback", json!({}), Malformed::Callback),
            ("/denial", json!("x"), kind("denial")),
            ("/denial", json!({}), missing("denial.expires_at")),
            ("/denial/expires_at", json!(7), kind("denial.expires_at")),
            (
                "/denial/expires_at",
                json!("soon"),
                Malformed::Instant { member: "denial.expires_at" },
            ),
            ("/denial/evaluation_id", json!(["x"]), kind("denial.evaluation_id")),
            ("/client", json!("x"), kind("client")),
            ("/client/actor", json!("x"), kind("client.actor")),
            ("/client/actor", json!({}), missing("client.actor.id")),
            ("/client/actor/act", json!({"iss": "x"}), missing("client.actor.act")),
            ("/client/actor/act", chain, Malformed::Chain { max: actor::ACTORS_MAX }),
            ("/requested_access", json!([]), kind("requested_access")),
            ("/subject", json!("x"), kind("subject")),
        ] {
            let mut value = example();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            value.pointer_mut(parent).unwrap()[name] = wrong;
            assert_eq!(parse(&value), Err(expect), "{pointer}");
        }
    }

    #[test]
    fn arap_an_approval_is_named_by_its_id() {
        let read = |value: Value| approval_id(value.as_object().unwrap());
        assert_eq!(read(json!({})), Ok(None));
        let shown = json!({"approval": {"id": "apr_1", "approved_until": "x", "state": {"a": 1}}});
        assert_eq!(read(shown), Ok(Some("apr_1".to_owned())));
        let member = "context.approval.id";
        assert_eq!(read(json!({"approval": {}})), Err(Malformed::Missing { member }));
        assert_eq!(read(json!({"approval": {"id": 1}})), Err(Malformed::Kind { member }));
        let member = "context.approval";
        assert_eq!(read(json!({"approval": "apr_1"})), Err(Malformed::Kind { member }));
    }

    #[test]
    fn arap_a_cancellation_may_be_empty_and_is_bounded() {
        assert_eq!(Cancellation::parse(b""), Ok(Cancellation::default()));
        let read = Cancellation::parse(br#"{"reason":"task_ended","comment":"x","more":1}"#);
        assert_eq!(read.unwrap().reason.as_deref(), Some("task_ended"));
        let long = json!({"comment": "x".repeat(COMMENT_BYTES_MAX + 1)}).to_string();
        assert!(matches!(Cancellation::parse(long.as_bytes()), Err(Malformed::TooLong { .. })));
        assert!(Cancellation::parse(b"[]").is_err());
    }

    #[test]
    fn arap_problem_types_are_urns_with_a_status() {
        for one in ProblemType::ALL {
            assert!(one.uri().starts_with("urn:openid:authzen:access-request:error:"));
            assert!((400..500).contains(&one.status()));
        }
    }
}
