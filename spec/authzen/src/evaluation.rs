//! One question and its answer (§5, §6).

use std::sync::Arc;

use json::{OddNumber, Unreadable};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::BOUNDS;
use crate::{EVALUATIONS_MAX, EXPANDED_BYTES_MAX, ID_BYTES_MAX, NAME_BYTES_MAX};

/// Attributes of an entity or of the environment, by name.
pub type Properties = Map<String, Value>;

/// The Access Evaluation request: may this subject do this to this resource?
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    pub subject: Subject,
    pub action: Action,
    pub resource: Resource,
    /// One for all questions of a message that say nothing of their own.
    #[serde(skip_serializing_if = "is_empty", serialize_with = "write")]
    pub context: Arc<Properties>,
}

/// What is said once for several questions.
pub(crate) struct Defaults<'a> {
    object: &'a Properties,
    context: Arc<Properties>,
}

impl<'a> Defaults<'a> {
    pub(crate) fn of(object: &'a Properties) -> Result<Self, Malformed> {
        Ok(Self { object, context: Arc::new(properties(object.get("context"), "context")?) })
    }
}

impl Request {
    /// Reads the body of an Access Evaluation request.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read_whole(&question(bytes)?)
    }

    /// Reads one request that stands by itself.
    pub(crate) fn read_whole(object: &Properties) -> Result<Self, Malformed> {
        Self::read(object, &Defaults { object: &Map::new(), context: Arc::default() })
    }

    /// Reads one request, with `defaults` for what it leaves out.
    pub(crate) fn read(object: &Properties, defaults: &Defaults<'_>) -> Result<Self, Malformed> {
        // §7.1.1: "Any of these keys specified within an individual evaluation object overrides
        // the corresponding top-level default."
        let member = |name: &'static str| object.get(name).or_else(|| defaults.object.get(name));
        // §10.1.1: "If a required attribute in the information model is omitted, the server MUST
        // return a 'Bad Request' error". "receivers MUST ignore unknown fields present in request
        // or response bodies."
        let entity = |name: &'static str| {
            let value = member(name).ok_or(Malformed::Missing { member: name })?;
            value.as_object().ok_or(Malformed::Kind { member: name })
        };
        let subject = entity("subject")?;
        let action = entity("action")?;
        let resource = entity("resource")?;
        Ok(Self {
            subject: Subject {
                kind: text(subject, "type", "subject.type", NAME_BYTES_MAX)?,
                id: text(subject, "id", "subject.id", ID_BYTES_MAX)?,
                properties: properties(subject.get("properties"), "subject.properties")?,
            },
            action: Action {
                name: text(action, "name", "action.name", NAME_BYTES_MAX)?,
                properties: properties(action.get("properties"), "action.properties")?,
            },
            resource: Resource {
                kind: text(resource, "type", "resource.type", NAME_BYTES_MAX)?,
                id: text(resource, "id", "resource.id", ID_BYTES_MAX)?,
                properties: properties(resource.get("properties"), "resource.properties")?,
            },
            context: match object.get("context") {
                Some(own) => Arc::new(properties(Some(own), "context")?),
                None => Arc::clone(&defaults.context),
            },
        })
    }
}

/// Who asks to act (§5.1).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subject {
    #[serde(rename = "type")]
    pub kind: String,
    /// Unique within its `type`.
    pub id: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Properties,
}

/// What is acted upon (§5.2).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resource {
    #[serde(rename = "type")]
    pub kind: String,
    /// Unique within its `type`.
    pub id: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Properties,
}

/// The kind of access (§5.3).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    pub name: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Properties,
}

/// The answer (§5.5).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Response {
    pub decision: bool,
    /// What helps to enforce or to explain the decision.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub context: Properties,
}

impl Response {
    /// Reads the answer of another decision point.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let object = object(bytes)?;
        // §5.5: "Decision is an object that contains a REQUIRED decision key with a boolean value,
        // and an OPTIONAL context key with an object value."
        let decision = object.get("decision").ok_or(Malformed::Missing { member: "decision" })?;
        let decision = decision.as_bool().ok_or(Malformed::Kind { member: "decision" })?;
        Ok(Self { decision, context: properties(object.get("context"), "context")? })
    }
}

/// The object that a body is.
pub(crate) fn object(bytes: &[u8]) -> Result<Properties, Unreadable> {
    // §11.5: "JSON text is encoded as UTF-8, and strings do not contain invalid Unicode sequences
    // such as unpaired surrogates"; "Member names within a JSON object are unique after processing
    // escape characters".
    // §10.1.1: "The top-level element of all request and response bodies MUST be a JSON object"
    json::object(bytes, BOUNDS)
}

/// [`object`], of a message whose members are compared with those of others, or shown to somebody:
/// its numbers are read alike by everyone.
pub(crate) fn question(bytes: &[u8]) -> Result<Properties, Malformed> {
    let object = object(bytes)?;
    // RFC 7493 §2.2: "I-JSON messages SHOULD NOT include numbers that express greater magnitude or
    // precision than an IEEE 754 double precision number provides".
    std::str::from_utf8(bytes).map_or(Ok(()), json::keeps_numbers)?;
    Ok(object)
}

fn is_empty(context: &Arc<Properties>) -> bool {
    Map::is_empty(context)
}

fn write<S: Serializer>(context: &Arc<Properties>, serializer: S) -> Result<S::Ok, S::Error> {
    context.as_ref().serialize(serializer)
}

/// Why a message is not a question or an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error(transparent)]
    Number(#[from] OddNumber),
    #[error("`{member}` is missing")]
    Missing { member: &'static str },
    #[error("`{member}` is of the wrong kind")]
    Kind { member: &'static str },
    #[error("`{member}` of {bytes} bytes is longer than {max}")]
    TooLong { member: &'static str, bytes: usize, max: usize },
    #[error("{count} evaluations are more than {max}", max = EVALUATIONS_MAX)]
    TooMany { count: usize },
    #[error(
        "the evaluations are {bytes} bytes, each with the defaults that it takes, more than {max}",
        max = EXPANDED_BYTES_MAX
    )]
    TooMuch { bytes: usize },
    #[error("`evaluations_semantic` is not a known one")]
    Semantic,
    #[error("`{member}` is no instant of RFC 3339")]
    Instant { member: &'static str },
    #[error("a chain of more than {max} actors")]
    Chain { max: usize },
    #[error("`client.actor` is not the actor of `subject.properties.act`")]
    Actors,
    #[error("`items` are not taken: ask for one at a time")]
    Items,
    #[error("a `callback` is not served: ask for the status of the task")]
    Callback,
}

/// A required string, by its name in the entity and by its full name.
fn text(
    entity: &Properties,
    name: &str,
    member: &'static str,
    max: usize,
) -> Result<String, Malformed> {
    let value = entity.get(name).ok_or(Malformed::Missing { member })?;
    let value = value.as_str().ok_or(Malformed::Kind { member })?;
    if value.len() > max {
        return Err(Malformed::TooLong { member, bytes: value.len(), max });
    }
    Ok(value.to_owned())
}

/// An optional object.
fn properties(value: Option<&Value>, member: &'static str) -> Result<Properties, Malformed> {
    match value {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(Malformed::Kind { member }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The request of §6.1.1.
    fn example() -> Value {
        json!({
            "subject": {"type": "user", "id": "alice@example.com"},
            "resource": {"type": "account", "id": "123"},
            "action": {"name": "can_read", "properties": {"method": "GET"}},
            "context": {"time": "1985-10-26T01:22-07:00"}
        })
    }

    fn parse(value: &Value) -> Result<Request, Malformed> {
        Request::parse(value.to_string().as_bytes())
    }

    /// `example` with the value at `pointer` replaced, or taken out.
    fn changed(pointer: &str, value: Option<Value>) -> Value {
        let mut changed = example();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name.into(), value),
            None => parent.remove(name),
        };
        changed
    }

    #[test]
    fn authzen_6_1_example_is_read_and_written_again() {
        let request = parse(&example()).unwrap();
        assert_eq!((request.subject.kind.as_str(), request.resource.id.as_str()), ("user", "123"));
        assert_eq!(request.action.properties.get("method"), Some(&json!("GET")));
        assert_eq!(serde_json::to_value(&request).unwrap(), example());
    }

    #[test]
    fn authzen_10_1_1_unknown_members_are_ignored() {
        let mut expect = parse(&example()).unwrap();
        assert_eq!(parse(&changed("/more", Some(json!({"a": [1]})))), Ok(expect.clone()));
        assert_eq!(parse(&changed("/subject/more", Some(json!(1)))), Ok(expect.clone()));
        expect.context = Arc::default();
        assert_eq!(parse(&changed("/context", None)), Ok(expect));
    }

    #[test]
    fn authzen_10_1_1_a_missing_member_is_named() {
        for (pointer, member) in [
            ("/subject", "subject"),
            ("/action", "action"),
            ("/resource", "resource"),
            ("/subject/type", "subject.type"),
            ("/subject/id", "subject.id"),
            ("/action/name", "action.name"),
            ("/resource/type", "resource.type"),
            ("/resource/id", "resource.id"),
        ] {
            assert_eq!(parse(&changed(pointer, None)), Err(Malformed::Missing { member }));
            for wrong in [json!(null), json!(7), json!(["x"])] {
                let wrong = changed(pointer, Some(wrong));
                assert_eq!(parse(&wrong), Err(Malformed::Kind { member }), "{wrong}");
            }
        }
        for (pointer, member) in [
            ("/context", "context"),
            ("/subject/properties", "subject.properties"),
            ("/action/properties", "action.properties"),
            ("/resource/properties", "resource.properties"),
        ] {
            for wrong in [json!(null), json!([]), json!("x")] {
                let wrong = changed(pointer, Some(wrong));
                assert_eq!(parse(&wrong), Err(Malformed::Kind { member }), "{wrong}");
            }
        }
    }

    #[test]
    fn names_and_ids_are_bounded() {
        for (pointer, member, max) in [
            ("/subject/type", "subject.type", NAME_BYTES_MAX),
            ("/subject/id", "subject.id", ID_BYTES_MAX),
            ("/action/name", "action.name", NAME_BYTES_MAX),
            ("/resource/type", "resource.type", NAME_BYTES_MAX),
            ("/resource/id", "resource.id", ID_BYTES_MAX),
        ] {
            assert!(parse(&changed(pointer, Some(json!("x".repeat(max))))).is_ok());
            let expect = Malformed::TooLong { member, bytes: max + 1, max };
            assert_eq!(parse(&changed(pointer, Some(json!("x".repeat(max + 1))))), Err(expect));
        }
    }

    #[test]
    fn authzen_5_5_a_decision_is_a_boolean_and_nothing_else() {
        let parse = |text: &str| Response::parse(text.as_bytes());
        let answer = |decision| Ok(Response { decision, context: Map::new() });
        assert_eq!(parse(r#"{"decision":true}"#), answer(true));
        assert_eq!(parse(r#"{"decision":false,"x":1}"#), answer(false));
        assert_eq!(parse("{}"), Err(Malformed::Missing { member: "decision" }));
        for wrong in [r#""true""#, "1", "null", "[true]"] {
            let text = format!(r#"{{"decision":{wrong}}}"#);
            assert_eq!(parse(&text), Err(Malformed::Kind { member: "decision" }), "{wrong}");
        }
        let twice = Unreadable::Duplicate { name: "decision".into() };
        assert_eq!(parse(r#"{"decision":false,"decision":true}"#), Err(Malformed::Json(twice)));
        let written = serde_json::to_string(&answer(true).unwrap()).unwrap();
        assert_eq!(written, r#"{"decision":true}"#);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[{}\[\]:,"a-z0-9\\ ]{0,200}"#) {
            let _ = Request::parse(text.as_bytes());
            let _ = Response::parse(text.as_bytes());
        }
    }

    #[test]
    fn authzen_11_5_each_doubtful_text_has_its_refusal() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(crate::MESSAGE_BYTES_MAX));
        for (input, expect) in [
            (r#"{"a":1,"a":1}"#, Unreadable::Duplicate { name: "a".into() }),
            (r#"{"b":[{"a":1,"\u0061":1}]}"#, Unreadable::Duplicate { name: "a".into() }),
            (
                r#"{"$serde_json::private::RawValue":"{}"}"#,
                Unreadable::Reserved { name: "$serde_json::private::RawValue".into() },
            ),
            (&nested(crate::DEPTH_MAX + 1), Unreadable::TooDeep { max: crate::DEPTH_MAX }),
            (&long, Unreadable::TooLong { bytes: long.len(), max: crate::MESSAGE_BYTES_MAX }),
            ("[]", Unreadable::NotAnObject),
            ("\"a\"", Unreadable::NotAnObject),
        ] {
            assert_eq!(object(input.as_bytes()), Err(expect));
        }
        assert!(object(nested(crate::DEPTH_MAX).as_bytes()).is_ok());
        for wrong in [b"{".as_slice(), b"", b"{}x", br#"{"a":"\ud800"}"#] {
            assert!(matches!(object(wrong), Err(Unreadable::NotJson { .. })), "{wrong:?}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Unreadable::NotUtf8 { at: 6 }));
    }
}
