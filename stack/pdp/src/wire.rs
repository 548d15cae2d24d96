//! Questions and answers as AuthZEN writes them (AUTHZ-24).
//!
//! In scope: what a request asks about, by its names, and the question that this becomes with the
//! record of its principal; how an answer is written. Not here: the records, and who may ask
//! (`flow/decide`). What a request says of a principal or a resource that has a record is not
//! taken: the record says it.

use std::collections::BTreeSet;
use std::sync::Arc;

use authorization::policy::Protocol;
use authorization::{Action, ResourcePolicy};
use serde_json::{Map, Value, json};
use time::UnixTime;

use crate::decision::{Decision, Denial};
use crate::question::{Circumstances, Fact, Principal, PrincipalKind, Question, Resource};
use crate::rule::Obligation;

/// The members of a question's context that a decision may turn on. An approval is bound to them
/// and to no other. Access Request and Approval Profile, Terminology: "a PDP MUST make it
/// explicit".
pub const RELEVANT: &[&str] =
    &["subject", "actors", "granted", "proof", "transport", "acr", ARGUMENTS];
/// The member of what an approval is bound to that says who acts.
pub const ACTS: &str = "acts";
/// The member of a question's context that says with what something is done.
pub const ARGUMENTS: &str = "arguments";
/// How a token may have been proved.
const PROOFS: &[&str] = &["", "wit", "dpop", "mtls", "bearer"];

/// Why an AuthZEN request cannot be asked here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// No such kind of principal.
    #[error("there is no type of subject `{found}`")]
    SubjectType { found: String },
    /// No such kind of resource.
    #[error("there is no type of resource `{found}`: `tool`, `path` or `audience`")]
    ResourceType { found: String },
    /// No resource of policy.
    #[error("there is no resource `{audience}`")]
    NoResource { audience: String },
    /// The resource is not said.
    #[error("`resource.id` is `<audience>#<name>`, or `resource.properties.audience` names it")]
    NoAudience,
    /// It is said twice, and not alike.
    #[error("`resource.properties.audience` is not the audience of `resource.id`")]
    OtherAudience,
    /// An action of something else.
    #[error("`{action}` is no action of a `{kind}` of `{resource}`")]
    Action { action: String, kind: &'static str, resource: String },
    /// Policy lists no such action.
    #[error("{what} is not among the actions of `{resource}`")]
    NoAction { what: String, resource: String },
    /// A value of another kind.
    #[error("`{member}` is not what it must be")]
    Value { member: &'static str },
    /// No request has one: it stays with whoever makes it.
    #[error("`resource.id` has a second `#`: a request has no fragment")]
    Fragment,
    /// Who acts.
    #[error(transparent)]
    Actors(#[from] authzen::Malformed),
    /// Somebody of elsewhere.
    #[error("the actor `{id}` is of `{issuer}`, and nobody of there is known here")]
    ForeignActor { id: String, issuer: String },
    /// The chain is said twice, and not alike.
    #[error("`context` names another chain than the subject does")]
    OtherChain,
}

impl Misfit {
    /// Whether the request is wrong, whatever policy says: AuthZEN §10.1.2, 400.
    pub const fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::NoAudience
                | Self::OtherAudience
                | Self::Value { .. }
                | Self::Fragment
                | Self::Actors(_)
                | Self::OtherChain
        )
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A tool is called.
    Tool { name: String },
    /// Tools are listed: what a session needs.
    Session,
    /// A request of plain HTTP; the query as it came, without the question mark.
    Request { method: String, path: String, query: Option<String> },
}

/// What a request asks about.
#[derive(Debug, Clone)]
pub struct Asked<'r> {
    /// The protected resource, as policy has it.
    pub resource: &'r ResourcePolicy,
    /// Its identifier in tokens.
    pub audience: String,
    /// What is done with it.
    pub what: What,
    /// What policy lists it as.
    pub listed: Option<&'r Action>,
    /// Who wants to act.
    pub principal: String,
    /// As what that is known to whoever asks; `None` where it is an actor.
    pub kind: Option<PrincipalKind>,
    /// On whose behalf; empty where the principal acts for itself.
    pub subject: String,
    /// As what that is known to whoever asks, where they say it.
    pub subject_kind: Option<PrincipalKind>,
    /// Everyone in the chain of delegation, the nearest first.
    pub actors: Vec<String>,
    /// The scope of the token that whoever asks was shown, where it says so.
    pub granted: Option<BTreeSet<String>>,
    /// How that token was proved, or empty.
    pub proof: String,
    /// Identity that the transport proved, or empty.
    pub transport: String,
    /// How strongly the user authenticated, where the token says so.
    pub acr: Option<String>,
    context: Arc<authzen::Properties>,
}

impl<'r> Asked<'r> {
    // Draft §10.1.3 (January 2026): "If the AI Agent delegates its access control logic to a Policy
    // decision point, it MUST follow [OpenIDConnect.AuthZEN] specification for requesting and
    // receiving a decision for the access."

    /// What `request` asks about. `issuer`: whose identifiers those of actors are; `find`: the
    /// resource of an audience.
    pub fn read(
        request: &authzen::Request,
        issuer: &str,
        find: impl Fn(&str) -> Option<&'r ResourcePolicy>,
    ) -> Result<Self, Misfit> {
        let named = named(&request.resource)?;
        let Named { audience, name, kind } = named;
        let found = find(&audience);
        let resource = found.ok_or_else(|| Misfit::NoResource { audience: audience.clone() })?;
        let what = what(request, kind, name, resource)?;
        let listed = listed(&what, resource)?;
        let chain = Chain::read(request, issuer)?;
        let context = &request.context;
        let proof = text(context.get("proof"), "context.proof")?.unwrap_or_default();
        if !PROOFS.contains(&proof.as_str()) {
            return Err(Misfit::Value { member: "context.proof" });
        }
        if context.get(ARGUMENTS).is_some_and(|arguments| !arguments.is_object()) {
            return Err(Misfit::Value { member: "context.arguments" });
        }
        let granted = texts(context.get("granted"), "context.granted")?;
        Ok(Self {
            resource,
            audience,
            what,
            listed,
            principal: chain.principal,
            kind: chain.kind,
            subject: chain.subject,
            subject_kind: chain.subject_kind,
            actors: chain.actors,
            granted: granted.map(|all| all.into_iter().collect()),
            proof,
            transport: text(context.get("transport"), "context.transport")?.unwrap_or_default(),
            acr: text(context.get("acr"), "context.acr")?,
            context: Arc::clone(context),
        })
    }

    /// The arguments of what is done.
    pub fn arguments(&self) -> Value {
        self.context.get(ARGUMENTS).cloned().unwrap_or_else(|| json!({}))
    }

    /// The name of the action, as the gateway asks about it.
    pub const fn action(&self) -> &'static str {
        match self.what {
            What::Tool { .. } => "tool.call",
            What::Session => "tool.list",
            What::Request { .. } => "http.request",
        }
    }

    /// What is acted upon, in words, below its audience.
    pub fn below(&self) -> String {
        match &self.what {
            What::Tool { name } => name.clone(),
            What::Session => "session".to_owned(),
            What::Request { method, path, query: None } => format!("{method} {path}"),
            What::Request { method, path, query: Some(query) } => {
                format!("{method} {path}?{query}")
            }
        }
    }

    /// Everybody whom it concerns, without order.
    pub fn concerned(&self) -> Vec<String> {
        let all = [&self.principal, &self.subject].into_iter().chain(&self.actors);
        let all: BTreeSet<_> = all.filter(|id| !id.is_empty()).cloned().collect();
        all.into_iter().collect()
    }

    /// The question, with what the record says of the principal.
    pub fn question(&self, principal: Principal, approved: bool, now: UnixTime) -> Question {
        let read_only = self.listed.is_some_and(|action| action.read_only);
        let (mut resource, method, path) = match &self.what {
            What::Tool { name } => (Resource::tool(&self.audience, name, read_only), None, None),
            What::Session => (Resource::audience(&self.audience), None, None),
            What::Request { method, path, .. } => {
                let (method, below) = (Some(method.clone()), Some(path.clone()));
                (Resource::path(&self.audience, path), method, below)
            }
        };
        let name = Fact::Text(self.resource.name.clone());
        let whole = resource.parent.as_deref_mut().map(|parent| &mut parent.attributes);
        whole.unwrap_or(&mut resource.attributes).insert("name".to_owned(), name);
        let scope = self.listed.and_then(|action| action.scope.as_ref());
        let circumstances = Circumstances {
            scope: scope.iter().map(ToString::to_string).collect(),
            granted: self.granted.clone().unwrap_or_default(),
            subject: self.subject.clone(),
            actors: self.actors.clone(),
            proof: self.proof.clone(),
            transport: self.transport.clone(),
            autonomous: self.subject.is_empty() && principal.kind != PrincipalKind::User,
            now,
            method,
            path,
            approved,
            acr: self.acr.clone(),
        };
        let (action, context) = (self.action().to_owned(), circumstances.into());
        Question { principal, action, resource, context }
    }

    /// What an approval of `request` is bound to, member by member: Access Request and Approval
    /// Profile, Completion Semantics: "the original denied Subject, Resource, Action, and
    /// authorization-relevant Context"; and who acts, wherever that stands in the request.
    pub fn bound(&self, request: &authzen::Request) -> Value {
        let mut subject = request.subject.clone();
        // "except that `subject.properties.act` is excluded because the PEP MAY normalize the actor
        // to `client.actor`".
        subject.properties.remove(authzen::ACT);
        let context = request.context.iter().filter(|(name, _)| RELEVANT.contains(&name.as_str()));
        let context: Map<_, _> =
            context.map(|(name, value)| (name.clone(), value.clone())).collect();
        json!({
            "subject": subject, "resource": request.resource, "action": request.action,
            "context": context, ACTS: [self.principal, self.actors],
        })
    }
}

/// Which resource.
struct Named {
    audience: String,
    name: Option<String>,
    kind: &'static str,
}

/// The names of our kinds are taken with a small first letter, too.
fn is_kind(name: &str, found: &str) -> bool {
    name == found
        || (found.starts_with(|c: char| c.is_ascii_lowercase()) && name.eq_ignore_ascii_case(found))
}

fn named(resource: &authzen::Resource) -> Result<Named, Misfit> {
    let beside = text(resource.properties.get("audience"), "resource.properties.audience")?;
    let fits = |audience: &str| beside.as_deref().is_none_or(|beside| beside == audience);
    if is_kind("Audience", &resource.kind) {
        let audience = resource.id.clone();
        let named = Named { audience, name: None, kind: "audience" };
        return if fits(&resource.id) { Ok(named) } else { Err(Misfit::OtherAudience) };
    }
    let kind = match resource.kind.as_str() {
        found if is_kind("Tool", found) => "tool",
        found if is_kind("Path", found) => "path",
        found => return Err(Misfit::ResourceType { found: found.to_owned() }),
    };
    // RFC 8707 §2: "The URI MUST NOT include a fragment component." So the first `#` of an id ends
    // its audience.
    match (resource.id.split_once('#'), &beside) {
        (Some((audience, name)), _) if fits(audience) => {
            Ok(Named { audience: audience.to_owned(), name: Some(name.to_owned()), kind })
        }
        (None, Some(audience)) => {
            Ok(Named { audience: audience.clone(), name: Some(resource.id.clone()), kind })
        }
        (Some(_), _) => Err(Misfit::OtherAudience),
        (None, None) => Err(Misfit::NoAudience),
    }
}

fn what(
    request: &authzen::Request,
    kind: &'static str,
    name: Option<String>,
    resource: &ResourcePolicy,
) -> Result<What, Misfit> {
    let action = request.action.name.as_str();
    match (action, resource.protocol, kind, name) {
        ("tool.call", Protocol::Mcp, "tool", Some(name)) => Ok(What::Tool { name }),
        ("tool.list", Protocol::Mcp, "audience", None) => Ok(What::Session),
        ("http.request", Protocol::Http, "path", Some(target)) => {
            let (path, query) = path_and_query(&target)?;
            let member = "action.properties.method";
            let method = text(request.action.properties.get("method"), member)?;
            Ok(What::Request { method: method.ok_or(Misfit::Value { member })?, path, query })
        }
        _ => {
            Err(Misfit::Action { action: action.to_owned(), kind, resource: resource.name.clone() })
        }
    }
}

/// The path, which rules speak of, and the query, as the gateway takes a target apart.
fn path_and_query(target: &str) -> Result<(String, Option<String>), Misfit> {
    // RFC 9112 §3.2.1: "origin-form = absolute-path [ "?" query ]". RFC 3986 §3.4: the query begins
    // at "the first question mark ("?") character".
    if target.contains('#') {
        return Err(Misfit::Fragment);
    }
    Ok(match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    })
}

/// What is not listed is refused, as at the gateway.
fn listed<'r>(what: &What, resource: &'r ResourcePolicy) -> Result<Option<&'r Action>, Misfit> {
    let none = |what: String| Misfit::NoAction { what, resource: resource.name.clone() };
    match what {
        What::Session => Ok(None),
        What::Tool { name } => {
            resource.tool(name).map(Some).ok_or_else(|| none(format!("the tool `{name}`")))
        }
        What::Request { method, path, .. } => {
            let found = resource.request(method, path);
            found.map(Some).ok_or_else(|| none(format!("`{method} {path}`")))
        }
    }
}

/// Who acts, and for whom.
struct Chain {
    principal: String,
    kind: Option<PrincipalKind>,
    subject: String,
    subject_kind: Option<PrincipalKind>,
    actors: Vec<String>,
}

impl Chain {
    fn read(request: &authzen::Request, issuer: &str) -> Result<Self, Misfit> {
        let mut kinds = PrincipalKind::ALL.into_iter();
        let found = &request.subject.kind;
        let kind = kinds.find(|kind| is_kind(kind.name(), found));
        let kind = kind.ok_or_else(|| Misfit::SubjectType { found: found.clone() })?;
        let id = request.subject.id.clone();
        let said = texts(request.context.get("actors"), "context.actors")?;
        let behalf = text(request.context.get("subject"), "context.subject")?.unwrap_or_default();
        let mut chain = Vec::new();
        for actor in request.subject.actors()? {
            if let Some(other) = actor.issuer.filter(|found| found != issuer) {
                return Err(Misfit::ForeignActor { id: actor.id, issuer: other });
            }
            chain.push(actor.id);
        }
        // Access Request and Approval Profile, Delegation: "The AuthZEN Authorization API `subject`
        // carries the principal on whose behalf the operation is performed."
        if let Some(principal) = chain.first().cloned() {
            let other = said.is_some_and(|said| said != chain);
            if other || !(behalf.is_empty() || behalf == id) {
                return Err(Misfit::OtherChain);
            }
            let subject_kind = Some(kind);
            return Ok(Self { principal, kind: None, subject: id, subject_kind, actors: chain });
        }
        let own = behalf.is_empty() || behalf == id;
        let actors = match (said, own) {
            (None, true) => Vec::new(),
            (None, false) => vec![id.clone()],
            // Who acts is the nearest of the chain.
            (Some(said), _) if said.first().is_none_or(|first| *first == id) => said,
            (Some(_), _) => return Err(Misfit::OtherChain),
        };
        // A person acts for nobody else by themselves.
        if kind == PrincipalKind::User && (!own || !actors.is_empty()) {
            return Err(Misfit::OtherChain);
        }
        let subject = if own { String::new() } else { behalf };
        Ok(Self { principal: id, kind: Some(kind), subject, subject_kind: None, actors })
    }
}

fn text(value: Option<&Value>, member: &'static str) -> Result<Option<String>, Misfit> {
    let read = |value: &Value| value.as_str().map(str::to_owned).ok_or(Misfit::Value { member });
    value.map(read).transpose()
}

fn texts(value: Option<&Value>, member: &'static str) -> Result<Option<Vec<String>>, Misfit> {
    let Some(value) = value else { return Ok(None) };
    let values = value.as_array().ok_or(Misfit::Value { member })?;
    let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().map(Some).ok_or(Misfit::Value { member })
}

impl Decision {
    /// What the context of an AuthZEN answer says of the decision.
    pub fn to_authzen(&self) -> authzen::Response {
        let (decision, context) = match self {
            Self::Permit(permit) => {
                let context = json!({ "policy": permit.version(), "rules": permit.rules() });
                (true, members(context))
            }
            Self::Deny(denial) => (false, denial.told()),
        };
        authzen::Response { decision, context }
    }
}

impl Denial {
    /// Its reason, as a code.
    pub fn reason(&self) -> &'static str {
        let only = |fits: &dyn Fn(&Obligation) -> bool| {
            !self.unmet.is_empty() && self.unmet.iter().all(fits)
        };
        if !self.rules.is_empty() {
            "forbidden"
        } else if !self.errors.is_empty() {
            "not_decidable"
        } else if only(&|one| matches!(one, Obligation::Approval)) {
            "approval_required"
        } else if only(&|one| matches!(one, Obligation::Approval | Obligation::StepUp(_))) {
            "step_up_required"
        } else if !self.unmet.is_empty() {
            "obligations_unmet"
        } else {
            "not_permitted"
        }
    }

    fn told(&self) -> Map<String, Value> {
        let mut context = members(json!({
            "policy": self.version,
            "rules": self.rules,
            "needs": self.needs,
            "reason": self.reason(),
            "message": self.to_string(),
        }));
        let mut stepped = self.unmet.iter().filter_map(|one| match one {
            Obligation::StepUp(acr) => Some(acr),
            _ => None,
        });
        // AuthZEN §5.5.1: "Instructions for step-up authentication".
        if let Some(acr) = stepped.next() {
            context.insert("acr_values".to_owned(), acr.as_str().into());
        }
        context
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::decide::Pdp;
    use crate::question::Fact;
    use crate::rule::PolicyVersion;

    const CRM: &str = "https://crm.example";
    const NOW: UnixTime = UnixTime::from_seconds(1_000);

    fn resource(protocol: &str, action: Value) -> ResourcePolicy {
        let text = json!({
            "name": "crm", "audience": CRM, "upstream": "http://127.0.0.1:1",
            "protocol": protocol, "scopes": {"crm:read": "read"}, "action": [action],
        });
        serde_json::from_value(text).unwrap()
    }

    fn mcp() -> ResourcePolicy {
        resource("mcp", json!({"tool": "read", "scope": "crm:read", "read_only": true}))
    }

    fn request() -> Value {
        json!({
            "subject": {"type": "agent", "id": "a", "properties": {"capabilities": ["root"]}},
            "action": {"name": "tool.call", "properties": {"more": 1.5}},
            "resource": {"type": "tool", "id": "https://crm.example#read",
                "properties": {"read_only": false, "owner": "me"}},
            "context": {"granted": ["crm:read"], "subject": "user:ada", "actors": ["a", "b"],
                "proof": "wit", "arguments": {"id": 7}, "approved": true, "autonomous": true,
                "now": 5, "scope": ["all"], "time": "today", "depth": 0}
        })
    }

    fn of(request: &Value) -> authzen::Request {
        authzen::Request::parse(request.to_string().as_bytes()).unwrap()
    }

    fn read<'r>(request: &Value, resource: &'r ResourcePolicy) -> Result<Asked<'r>, Misfit> {
        let find = |id: &str| (id == CRM).then_some(resource);
        Asked::read(&of(request), "https://issuer.example", find)
    }

    fn principal(asked: &Asked<'_>) -> Principal {
        let kind = asked.kind.unwrap_or(PrincipalKind::Agent);
        Principal::new(kind, &asked.principal, "A", "team", ["crm".to_owned()])
    }

    fn answer(rules: &str, request: &Value) -> Value {
        let access = Access::compile(&[("t.cedar", rules)]).unwrap();
        let pdp = Pdp::new(access, PolicyVersion::of_digest(&[1; 32]));
        let mcp = mcp();
        let asked = read(request, &mcp).unwrap();
        let decision = pdp.decide(&asked.question(principal(&asked), false, NOW));
        serde_json::to_value(decision.without_obligations().to_authzen()).unwrap()
    }

    /// req: AUTHZ-24 (part)
    #[test]
    fn s10_1_3_what_has_a_record_is_not_taken_from_the_request() {
        let mcp = mcp();
        let asked = read(&request(), &mcp).unwrap();
        let question = asked.question(principal(&asked), false, NOW);
        let fact = |name: &str| question.context.get(name).cloned();
        assert_eq!(question.principal.attributes, principal(&asked).attributes);
        assert_eq!(question.resource.attributes.get("read_only"), Some(&Fact::Bool(true)));
        assert_eq!(question.resource.attributes.get("owner"), None);
        assert_eq!((fact("now"), fact("approved")), (Some(Fact::Long(1_000)), None));
        assert_eq!(fact("scope"), Some(Fact::Set(["crm:read".to_owned()].into())));
        assert_eq!((fact("depth"), fact("time")), (Some(Fact::Long(2)), None));
        assert_eq!(fact("autonomous"), Some(Fact::Bool(false)));
        assert_eq!(fact("subject"), Some(Fact::Text("user:ada".to_owned())));
        assert_eq!(asked.concerned(), ["a", "b", "user:ada"]);
        // The same, as the profile says who acts for a person.
        let mut other = request();
        other["subject"] = json!({"type": "user", "id": "user:ada", "properties":
            {"act": {"sub": "a", "iss": "https://issuer.example", "act": {"sub": "b"}}}});
        for member in ["subject", "actors"] {
            other["context"].as_object_mut().unwrap().remove(member);
        }
        let again = read(&other, &mcp).unwrap();
        assert_eq!(again.question(principal(&asked), false, NOW), question);
    }

    /// req: AUTHZ-24 (part)
    #[test]
    fn s10_1_3_an_authzen_request_gets_an_authzen_decision() {
        let policy = format!("sha256:{}", "01".repeat(32));
        let rules = r#"@id("crm") @needs("a person")
            permit(principal, action == Aims::Action::"tool.call", resource)
            unless { context.autonomous };"#;
        assert_eq!(
            answer(rules, &request()),
            json!({"decision": true, "context": {"policy": policy, "rules": ["crm"]}})
        );
        let mut own = request();
        own["context"] = json!({});
        assert_eq!(
            answer(rules, &own),
            json!({"decision": false, "context": {"policy": policy, "rules": [],
                "needs": ["a person"], "reason": "not_permitted",
                "message": "`tool.call` on `https://crm.example#read` needs a person \
                            (policy sha256:010101010101)"}})
        );
        let forbids = r#"@id("no") forbid(principal, action, resource);"#;
        assert_eq!(answer(forbids, &own)["context"]["reason"], "forbidden");
        for (duties, reason) in [
            ("approval", "approval_required"),
            ("approval, step-up=phr", "step_up_required"),
            ("step-up=phr", "step_up_required"),
            ("approval, redact=ssn", "obligations_unmet"),
        ] {
            let rules = format!(
                "@id(\"a\") @obligations(\"{duties}\") permit(principal, action, resource);"
            );
            let told = answer(&rules, &own);
            assert_eq!(told["decision"], false, "{duties}");
            assert_eq!(told["context"]["reason"], reason, "{duties}");
            let acr = duties.contains("step-up").then(|| json!("phr"));
            assert_eq!(told["context"].get("acr_values"), acr.as_ref(), "{duties}");
        }
    }

    #[test]
    fn s10_1_3_what_cannot_be_asked_here_is_refused() {
        let value = |member| Misfit::Value { member };
        let action = |action: &str, kind| {
            let (action, resource) = (action.to_owned(), "crm".to_owned());
            Misfit::Action { action, kind, resource }
        };
        let mcp = mcp();
        let foreign = Misfit::ForeignActor { id: "a".into(), issuer: "https://o.example".into() };
        for (pointer, wrong, expect) in [
            ("/subject/type", json!("robot"), Misfit::SubjectType { found: "robot".into() }),
            ("/subject/type", json!("AGENT"), Misfit::SubjectType { found: "AGENT".into() }),
            ("/subject/type", json!("user"), Misfit::OtherChain),
            ("/subject/properties/act", json!({"sub": "x"}), Misfit::OtherChain),
            ("/subject/properties/act", json!({"sub": "a", "iss": "https://o.example"}), foreign),
            (
                "/subject/properties/act",
                json!({}),
                authzen::Malformed::Missing { member: "subject.properties.act" }.into(),
            ),
            ("/context/actors", json!(["b", "a"]), Misfit::OtherChain),
            ("/context/actors", json!("a"), value("context.actors")),
            ("/context/subject", json!(["x"]), value("context.subject")),
            ("/context/granted", json!(["a", 1]), value("context.granted")),
            ("/context/proof", json!("magic"), value("context.proof")),
            ("/context/transport", json!(7), value("context.transport")),
            ("/context/acr", json!(7), value("context.acr")),
            ("/context/arguments", json!([]), value("context.arguments")),
            ("/resource/type", json!("file"), Misfit::ResourceType { found: "file".into() }),
            ("/resource/type", json!("path"), action("tool.call", "path")),
            ("/resource/id", json!("read"), Misfit::NoAudience),
            (
                "/resource/id",
                json!("https://o.example#read"),
                Misfit::NoResource { audience: "https://o.example".into() },
            ),
            (
                "/resource/id",
                json!("https://crm.example#reads"),
                Misfit::NoAction { what: "the tool `reads`".into(), resource: "crm".into() },
            ),
            ("/resource/properties/audience", json!("https://o.example"), Misfit::OtherAudience),
            ("/resource/properties/audience", json!(7), value("resource.properties.audience")),
            ("/action/name", json!("token.issue"), action("token.issue", "tool")),
            ("/action/name", json!("tool.list"), action("tool.list", "tool")),
        ] {
            let mut request = request();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            request.pointer_mut(parent).unwrap()[name] = wrong.clone();
            let found = read(&request, &mcp).err();
            assert_eq!(found, Some(expect), "{pointer} {wrong}");
        }
    }

    #[test]
    fn s10_1_3_a_resource_is_named_in_one_of_two_ways() {
        let (mcp, http) = (mcp(), resource("http", json!({"method": "GET", "path": "/v1/*"})));
        let mut beside = request();
        beside["resource"] = json!({"type": "Tool", "id": "read", "properties": {"audience": CRM}});
        assert_eq!(read(&beside, &mcp).unwrap().what, What::Tool { name: "read".to_owned() });
        let mut list = request();
        list["action"]["name"] = json!("tool.list");
        list["resource"] = json!({"type": "audience", "id": CRM});
        assert_eq!(read(&list, &mcp).unwrap().what, What::Session);
        let mut path = request();
        path["action"] = json!({"name": "http.request", "properties": {"method": "GET"}});
        path["resource"] = json!({"type": "path", "id": "https://crm.example#/v1/x"});
        let asked = read(&path, &http).unwrap();
        assert_eq!(asked.below(), "GET /v1/x");
        let question = asked.question(principal(&asked), false, NOW);
        assert_eq!(question.context.get("method"), Some(&Fact::Text("GET".to_owned())));
        // Rules speak of the path; of the query, too, whoever approves is told.
        for (target, expect, below) in [
            ("/v1/x?a=/y?b", Some("a=/y?b"), "GET /v1/x?a=/y?b"),
            ("/v1/x?", Some(""), "GET /v1/x?"),
            ("/v1/x%3Fa", None, "GET /v1/x%3Fa"),
        ] {
            let mut path = path.clone();
            path["resource"]["id"] = json!(format!("{CRM}#{target}"));
            let asked = read(&path, &http).unwrap();
            let What::Request { path, query, .. } = &asked.what else { panic!("{target}") };
            assert_eq!((path.as_str(), query.as_deref()), (&target[..path.len()], expect));
            assert!(!path.contains('?'), "{target}");
            assert_eq!(asked.below(), below);
            let question = asked.question(principal(&asked), false, NOW);
            assert_eq!(question.context.get("path"), Some(&Fact::Text(path.clone())));
        }
        for target in ["/v1/x#", "/v1/x#y", "/v1/x?a#y"] {
            let mut path = path.clone();
            path["resource"]["id"] = json!(format!("{CRM}#{target}"));
            assert_eq!(read(&path, &http).err(), Some(Misfit::Fragment), "{target}");
        }
        path["action"]["properties"] = json!({});
        let member = "action.properties.method";
        assert_eq!(read(&path, &http).err(), Some(Misfit::Value { member }));
        path["action"]["properties"] = json!({"method": "PUT"});
        assert!(matches!(read(&path, &http).err(), Some(Misfit::NoAction { .. })));
    }

    /// req: AUTHZ-31 (part)
    #[test]
    fn arap_an_approval_is_bound_to_who_what_and_the_relevant_context() {
        let mcp = mcp();
        let bound = |request: &Value| read(request, &mcp).unwrap().bound(&of(request));
        let one = bound(&request());
        let mut same = request();
        same["context"]["time"] = json!("tomorrow");
        same["context"]["approval"] = json!({"id": "x"});
        assert_eq!(bound(&same), one);
        for (pointer, other) in [
            ("/subject/id", json!("b")),
            ("/subject/properties/capabilities", json!([])),
            ("/action/properties/more", json!(2)),
            ("/resource/properties/owner", json!("you")),
            ("/context/arguments", json!({"id": 8})),
            ("/context/subject", json!("user:bob")),
            ("/context/granted", json!([])),
            ("/context/proof", json!("bearer")),
            ("/context/acr", json!("phr")),
            ("/context/transport", json!("x")),
        ] {
            let mut request = request();
            if pointer == "/subject/id" {
                request["context"]["actors"] = json!(["b"]);
            }
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            request.pointer_mut(parent).unwrap()[name] = other;
            assert_ne!(bound(&request), one, "{pointer}");
        }
        // Who acts counts, wherever it stands.
        let behalf = |agent: &str| {
            let mut request = request();
            request["subject"] = json!({"type": "user", "id": "user:ada",
                "properties": {"act": {"sub": agent}}});
            request["context"] = json!({});
            bound(&request)
        };
        assert_ne!(behalf("a"), behalf("b"));
    }
}
