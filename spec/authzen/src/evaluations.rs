//! Several questions in one message (§7).

use serde::Serialize;
use serde_json::Value;

use crate::evaluation::{self, Defaults, Malformed, Properties, Request, Response};
use crate::{EVALUATIONS_MAX, EXPANDED_BYTES_MAX};

/// The Access Evaluations request.
#[derive(Debug, Clone, PartialEq)]
pub enum Evaluations {
    /// Without `evaluations`: answered by a single [`Response`].
    Single(Box<Request>),
    /// At least one, answered in their order by [`Responses`]; one that does not read is answered
    /// by a denial of its own.
    Many { requests: Vec<Result<Request, Malformed>>, semantic: Semantic },
}

impl Evaluations {
    /// Reads the body of an Access Evaluations request.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let object = evaluation::question(bytes)?;
        let items = match object.get("evaluations") {
            None => &[],
            Some(Value::Array(items)) => items.as_slice(),
            Some(_) => return Err(Malformed::Kind { member: "evaluations" }),
        };
        // §7.1: "If an evaluations array is NOT present or is empty, the Access Evaluations Request
        // behaves in a backwards-compatible manner with the (single) Access Evaluation API
        // Request".
        if items.is_empty() {
            let request = Request::read_whole(&object)?;
            return Ok(Self::Single(Box::new(request)));
        }
        if items.len() > EVALUATIONS_MAX {
            return Err(Malformed::TooMany { count: items.len() });
        }
        let semantic = Semantic::read(object.get("options"))?;
        for member in DEFAULTS {
            if object.get(member).is_some_and(|value| !value.is_object()) {
                return Err(Malformed::Kind { member });
            }
        }
        let bytes = expanded(bytes.len(), &object, items);
        if bytes > EXPANDED_BYTES_MAX {
            return Err(Malformed::TooMuch { bytes });
        }
        let defaults = Defaults::of(&object)?;
        // §7.1.1: "The top-level subject, action, resource, and context keys provide default
        // values for each object in the evaluations array."
        // §7.2.1: "Errors in individual evaluations" are "handled at the payload level".
        let read = |item: &Value| match item.as_object() {
            Some(item) => Request::read(item, &defaults),
            None => Err(Malformed::Kind { member: "evaluations" }),
        };
        let requests = items.iter().map(read).collect();
        Ok(Self::Many { requests, semantic })
    }
}

/// The members that are said once for several questions (§7.1.1).
const DEFAULTS: [&str; 4] = ["subject", "action", "resource", "context"];

/// The bytes of a message whose questions each repeated the defaults that they take.
fn expanded(bytes: usize, object: &Properties, items: &[Value]) -> usize {
    let taken = |member: &str| items.iter().filter(|item| item.get(member).is_none()).count();
    let repeated = DEFAULTS.map(|member| {
        let length = object.get(member).map_or(0, |value| value.to_string().len());
        length.saturating_mul(taken(member))
    });
    repeated.into_iter().fold(bytes, usize::saturating_add)
}

/// When the answering of several questions stops (§7.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Semantic {
    /// §7.1.2.1: "execute_all is the default semantic".
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    /// Whether nothing after this answer is answered.
    pub fn ends_with(self, response: &Response) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !response.decision,
            Self::PermitOnFirstPermit => response.decision,
        }
    }

    fn read(options: Option<&Value>) -> Result<Self, Malformed> {
        let Some(options) = options else { return Ok(Self::default()) };
        let options = options.as_object().ok_or(Malformed::Kind { member: "options" })?;
        match options.get("evaluations_semantic").map(Value::as_str) {
            None => Ok(Self::default()),
            Some(Some("execute_all")) => Ok(Self::ExecuteAll),
            Some(Some("deny_on_first_deny")) => Ok(Self::DenyOnFirstDeny),
            Some(Some("permit_on_first_permit")) => Ok(Self::PermitOnFirstPermit),
            Some(_) => Err(Malformed::Semantic),
        }
    }
}

/// The Access Evaluations response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Responses {
    /// In the order of the requests; fewer where the semantic ended them early.
    pub evaluations: Vec<Response>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn parse(value: &Value) -> Result<Evaluations, Malformed> {
        Evaluations::parse(value.to_string().as_bytes())
    }

    fn many(value: &Value) -> (Vec<Request>, Semantic) {
        match parse(value) {
            Ok(Evaluations::Many { requests, semantic }) => {
                (requests.into_iter().map(Result::unwrap).collect(), semantic)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The third example of §7.1.1, with one subject and context and a default action.
    fn example() -> Value {
        json!({
            "subject": {"type": "user", "id": "alice@example.com"},
            "context": {"time": "2024-05-31T15:22-07:00"},
            "action": {"name": "can_read"},
            "evaluations": [
                {"resource": {"type": "document", "id": "boxcarring.md"}},
                {"resource": {"type": "document", "id": "subject-search.md"}},
                {"action": {"name": "can_edit"},
                 "resource": {"type": "document", "id": "resource-search.md"}}
            ]
        })
    }

    #[test]
    fn authzen_7_1_1_defaults_are_overridden_by_each_evaluation() {
        let (requests, semantic) = many(&example());
        let read: Vec<_> =
            requests.iter().map(|r| (r.action.name.as_str(), r.resource.id.as_str())).collect();
        assert_eq!(
            read,
            [
                ("can_read", "boxcarring.md"),
                ("can_read", "subject-search.md"),
                ("can_edit", "resource-search.md")
            ]
        );
        assert!(requests.iter().all(|r| r.subject.id == "alice@example.com"));
        assert!(requests.iter().all(|r| r.context.contains_key("time")));
        assert_eq!(semantic, Semantic::ExecuteAll);
    }

    #[test]
    fn authzen_7_1_without_evaluations_it_is_a_single_request() {
        let mut single = example();
        single["resource"] = json!({"type": "document", "id": "1"});
        single["evaluations"] = json!([]);
        assert!(matches!(parse(&single), Ok(Evaluations::Single(_))));
        single.as_object_mut().unwrap().remove("evaluations");
        assert!(matches!(parse(&single), Ok(Evaluations::Single(_))));
    }

    #[test]
    fn authzen_7_1_what_is_in_neither_place_is_missing() {
        // Certification scenario, Evaluation-level errors: the others are answered.
        let item = |value: &Value| match parse(value) {
            Ok(Evaluations::Many { requests, .. }) => {
                assert!(requests[0].is_ok());
                requests[1].clone()
            }
            other => panic!("{other:?}"),
        };
        let mut wrong = example();
        wrong["evaluations"][1] = json!({});
        assert_eq!(item(&wrong), Err(Malformed::Missing { member: "resource" }));
        wrong["evaluations"][1] = json!(1);
        assert_eq!(item(&wrong), Err(Malformed::Kind { member: "evaluations" }));
        // What is wrong above them all is no fault of one.
        wrong["subject"] = json!("alice");
        assert_eq!(parse(&wrong), Err(Malformed::Kind { member: "subject" }));
        wrong["evaluations"] = json!({});
        assert_eq!(parse(&wrong), Err(Malformed::Kind { member: "evaluations" }));
    }

    #[test]
    fn evaluations_are_bounded() {
        let mut many = example();
        let item = many["evaluations"][0].clone();
        many["evaluations"] = json!(vec![item; EVALUATIONS_MAX + 1]);
        assert_eq!(parse(&many), Err(Malformed::TooMany { count: EVALUATIONS_MAX + 1 }));
    }

    /// A default counts as often as it is taken.
    #[test]
    fn evaluations_are_bounded_with_the_defaults_that_they_take() {
        let of = |items: usize, bytes: usize, own: bool| {
            let mut many = example();
            let mut item = many["evaluations"][0].clone();
            if own {
                item["context"] = json!({});
            }
            many["context"] = json!({"arguments": {"text": "x".repeat(bytes)}});
            many["evaluations"] = json!(vec![item; items]);
            parse(&many)
        };
        let is_many = |read| matches!(read, Ok(Evaluations::Many { .. }));
        assert!(is_many(of(EVALUATIONS_MAX, 7 * 1024, false)));
        assert!(is_many(of(8, 200 * 1024, false)));
        assert!(is_many(of(EVALUATIONS_MAX, 200 * 1024, true)));
        for (items, bytes) in [(EVALUATIONS_MAX, 9 * 1024), (12, 200 * 1024)] {
            let refused = of(items, bytes, false);
            assert!(matches!(refused, Err(Malformed::TooMuch { .. })), "{items} {bytes}");
        }
        // It is one in memory, however many take it.
        let Ok(Evaluations::Many { requests, .. }) = of(2, 10, false) else { panic!("one") };
        let [Ok(one), Ok(other)] = requests.as_slice() else { panic!("{requests:?}") };
        assert!(std::sync::Arc::ptr_eq(&one.context, &other.context));
    }

    /// RFC 7493 §2.2: what is shown and approved is what was written.
    #[test]
    fn authzen_11_5_a_number_that_not_everyone_reads_alike_is_refused() {
        for number in
            ["100000000000000000001", "1e-400", "9007199254740993.0", "0.10000000000000001"]
        {
            for (at, member) in [
                ("context", "context.arguments.sum"),
                ("evaluations", "evaluations[0].context.arguments.sum"),
            ] {
                let context = format!(r#"{{"arguments":{{"sum":{number}}}}}"#);
                let text = match at {
                    "context" => format!(r#"{{"context":{context}}}"#),
                    _ => format!(r#"{{"evaluations":[{{"context":{context}}}]}}"#),
                };
                let odd = json::OddNumber { member: member.into(), number: number.into() };
                let refused = Err(Malformed::Number(odd));
                assert_eq!(Evaluations::parse(text.as_bytes()), refused, "{text}");
                if at == "context" {
                    let one = Request::parse(text.as_bytes()).map(|_| ());
                    assert_eq!(one, refused.clone().map(|_: Evaluations| ()));
                    let asked = crate::access_request::Submission::parse(text.as_bytes());
                    assert_eq!(asked.map(|_| ()), refused.map(|_: Evaluations| ()));
                }
            }
        }
    }

    #[test]
    fn authzen_7_1_2_1_semantics_end_where_they_say() {
        let permit = Response { decision: true, context: Map::new() };
        let deny = Response { decision: false, context: Map::new() };
        for (name, expect, ends) in [
            ("execute_all", Semantic::ExecuteAll, [false, false]),
            ("deny_on_first_deny", Semantic::DenyOnFirstDeny, [false, true]),
            ("permit_on_first_permit", Semantic::PermitOnFirstPermit, [true, false]),
        ] {
            let mut value = example();
            value["options"] = json!({"evaluations_semantic": name, "another_option": "value"});
            assert_eq!(many(&value).1, expect);
            assert_eq!([expect.ends_with(&permit), expect.ends_with(&deny)], ends);
        }
        for wrong in [json!("Execute_all"), json!(null), json!(true)] {
            let mut value = example();
            value["options"] = json!({"evaluations_semantic": wrong});
            assert_eq!(parse(&value), Err(Malformed::Semantic));
        }
        let mut value = example();
        value["options"] = json!([]);
        assert_eq!(parse(&value), Err(Malformed::Kind { member: "options" }));
    }
}
