//! Questions and answers as AuthZEN writes them (AUTHZ-24).
//!
//! In scope: the translation. Not here: whether the asker's word about a principal may be taken:
//! `flow` replaces attributes by those of the record, where there is one.

use serde_json::{Map, Value, json};

use crate::decision::Decision;
use crate::question::{Fact, Facts, Principal, PrincipalKind, Question, Resource, ResourceKind};
use crate::rule::Obligation;

/// Why an AuthZEN request cannot be asked here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("there is no type of subject `{found}`")]
    SubjectType { found: String },
    #[error("there is no type of resource `{found}`")]
    ResourceType { found: String },
    #[error(
        "`{member}` is neither a boolean, an integer, a string, a list of strings nor an object"
    )]
    Value { member: String },
    #[error("`{member}` is in `action.properties` and in `context`")]
    Twice { member: String },
    #[error("`resource.properties.audience` is missing or not a string")]
    Audience,
}

impl Question {
    // Draft §10.1.3 (January 2026): "If the AI Agent delegates its access control logic to a Policy
    // decision point, it MUST follow [OpenIDConnect.AuthZEN] specification for requesting and
    // receiving a decision for the access."

    /// The question that an AuthZEN request asks.
    ///
    /// Types are the names of our kinds (`Agent`, `Tool`). The audience of a tool or path is
    /// `resource.properties.audience`. Properties of the action count as context.
    pub fn from_authzen(request: &authzen::Request) -> Result<Self, Misfit> {
        let mut kinds = PrincipalKind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.name() == request.subject.kind);
        let kind =
            kind.ok_or_else(|| Misfit::SubjectType { found: request.subject.kind.clone() })?;
        let attributes = facts(&request.subject.properties)?;
        let principal = Principal { kind, id: request.subject.id.clone(), attributes };
        let mut context = facts(&request.context)?;
        for (member, fact) in facts(&request.action.properties)? {
            if context.contains_key(&member) {
                return Err(Misfit::Twice { member });
            }
            context.insert(member, fact);
        }
        let resource = resource(&request.resource)?;
        Ok(Self { principal, action: request.action.name.clone(), resource, context })
    }
}

impl Decision {
    /// The answer to an AuthZEN request.
    pub fn to_authzen(&self) -> authzen::Response {
        let (decision, context) = match self {
            Self::Permit(permit) => {
                let context = json!({ "policy": permit.version(), "rules": permit.rules() });
                (true, (context, permit.obligations()))
            }
            Self::Deny(denial) => {
                let context = json!({
                    "policy": denial.version,
                    "rules": denial.rules,
                    "needs": denial.needs,
                    "reason": denial.to_string(),
                });
                (false, (context, [].as_slice()))
            }
        };
        let (context, obligations) = context;
        let mut context = match context {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        if !obligations.is_empty() {
            // AuthZEN obligations draft, The Obligation Object: "Obligations are carried as a JSON
            // array under the obligations key of the AuthZEN response context object"
            let written = obligations.iter().enumerate().map(|(index, duty)| written(index, duty));
            context.insert("obligations".to_owned(), written.collect());
        }
        authzen::Response { decision, context }
    }
}

fn resource(resource: &authzen::Resource) -> Result<Resource, Misfit> {
    let kind = ResourceKind::ALL.into_iter().find(|kind| kind.name() == resource.kind);
    let kind = kind.ok_or_else(|| Misfit::ResourceType { found: resource.kind.clone() })?;
    let mut attributes = facts(&resource.properties)?;
    let parent = match kind {
        ResourceKind::Audience => None,
        ResourceKind::Tool | ResourceKind::Path => match attributes.remove("audience") {
            Some(Fact::Text(audience)) => Some(Box::new(Resource::audience(audience))),
            _ => return Err(Misfit::Audience),
        },
    };
    Ok(Resource { kind, id: resource.id.clone(), attributes, parent })
}

fn facts(properties: &authzen::Properties) -> Result<Facts, Misfit> {
    let read = |(name, value): (&String, &Value)| match fact(value)? {
        Some(fact) => Ok((name.clone(), fact)),
        None => Err(Misfit::Value { member: name.clone() }),
    };
    properties.iter().map(read).collect()
}

/// A value as a fact, or `None` where there is no such kind of fact: nothing is rounded or guessed.
fn fact(value: &Value) -> Result<Option<Fact>, Misfit> {
    Ok(match value {
        Value::Bool(value) => Some(Fact::Bool(*value)),
        Value::Number(number) => number.as_i64().map(Fact::Long),
        Value::String(text) => Some(Fact::Text(text.clone())),
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Fact::Set)
        }
        Value::Object(members) => Some(Fact::Record(facts(members)?)),
        Value::Null => None,
    })
}

fn written(index: usize, obligation: &Obligation) -> Value {
    // AuthZEN obligations draft, step-up: "acr_value: REQUIRED." custom: "A PEP that does not
    // recognize the specific semantics intended […] MUST treat it as an Obligation it 'cannot
    // comply' with", that is, deny.
    let (kind, properties) = match obligation {
        Obligation::StepUp(acr) => ("step-up", json!({ "acr_value": acr })),
        Obligation::Approval => ("custom", json!({ "aims": "approval" })),
        Obligation::RecordFully => ("custom", json!({ "aims": "record-fully" })),
        Obligation::NarrowScope(scope) => {
            ("custom", json!({ "aims": "narrow-scope", "scope": scope }))
        }
        Obligation::Redact(member) => ("custom", json!({ "aims": "redact", "member": member })),
    };
    json!({ "id": format!("obligation-{}", index + 1), "type": kind, "properties": properties })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::decide::Pdp;
    use crate::rule::PolicyVersion;

    fn request() -> Value {
        json!({
            "subject": {"type": "Agent", "id": "a", "properties":
                {"name": "A", "owner": "team", "capabilities": ["crm"]}},
            "action": {"name": "tool.call", "properties": {"method": "POST"}},
            "resource": {"type": "Tool", "id": "https://crm.example#read", "properties":
                {"name": "read", "read_only": true, "audience": "https://crm.example"}},
            "context": {"scope": ["crm:read"], "granted": [], "subject": "alice", "actors": ["a"],
                "depth": 1, "proof": "wit", "transport": "", "autonomous": false, "now": 1000}
        })
    }

    fn question(request: &Value) -> Result<Question, Misfit> {
        Question::from_authzen(&authzen::Request::parse(request.to_string().as_bytes()).unwrap())
    }

    fn answer(rules: &str, request: &Value) -> Value {
        let access = Access::compile(&[("t.cedar", rules)]).unwrap();
        let pdp = Pdp::new(access, PolicyVersion::of_digest(&[1; 32]));
        serde_json::to_value(pdp.decide(&question(request).unwrap()).to_authzen()).unwrap()
    }

    /// req: AUTHZ-24 (part)
    #[test]
    fn s10_1_3_an_authzen_request_gets_an_authzen_decision() {
        let policy = format!("sha256:{}", "01".repeat(32));
        let rules = r#"@id("crm") @obligations("approval, step-up=urn:loa:2") @needs("POST")
            permit(principal, action == Aims::Action::"tool.call", resource)
            when { context has method && context.method == "POST" };"#;
        assert_eq!(
            answer(rules, &request()),
            json!({"decision": true, "context": {"policy": policy, "rules": ["crm"],
                "obligations": [
                    {"id": "obligation-1", "type": "custom", "properties": {"aims": "approval"}},
                    {"id": "obligation-2", "type": "step-up",
                     "properties": {"acr_value": "urn:loa:2"}}]}})
        );
        let mut denied = request();
        denied["action"]["properties"] = json!({});
        assert_eq!(
            answer(rules, &denied),
            json!({"decision": false, "context": {"policy": policy, "rules": [], "needs": ["POST"],
                "reason": "`tool.call` on `https://crm.example#read` needs POST \
                           (policy sha256:010101010101)"}})
        );
    }

    #[test]
    fn s10_1_3_what_cannot_be_asked_here_is_refused() {
        let value = |member: &str| Misfit::Value { member: member.into() };
        for (pointer, wrong, expect) in [
            ("/subject/type", json!("agent"), Misfit::SubjectType { found: "agent".into() }),
            ("/resource/type", json!("tool"), Misfit::ResourceType { found: "tool".into() }),
            ("/resource/properties/audience", json!(7), Misfit::Audience),
            ("/resource/properties", json!({}), Misfit::Audience),
            ("/context/now", json!(1.5), value("now")),
            ("/context/now", json!(u64::MAX), value("now")),
            ("/context/scope", json!(["a", 1]), value("scope")),
            ("/context/scope", json!([["a"]]), value("scope")),
            ("/context/proof", Value::Null, value("proof")),
            ("/context/proof", json!({"deep": null}), value("deep")),
            (
                "/action/properties",
                json!({"proof": "mtls"}),
                Misfit::Twice { member: "proof".into() },
            ),
        ] {
            let mut request = request();
            *request.pointer_mut(pointer).unwrap() = wrong;
            assert_eq!(question(&request), Err(expect), "{pointer}");
        }
    }
}
