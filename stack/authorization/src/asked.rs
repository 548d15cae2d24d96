//! What a request asks a user for, resource by resource, with the words of policy (RFC 6749 §3.3,
//! RFC 8707, RFC 9396; AUTHZ-06, AUTHZ-10).
//!
//! In scope: which resource each scope and each object of `authorization_details` belongs to, and
//! what they mean; what an agent is to be handed. Not here: whether policy permits it (`pdp`),
//! whether the user does, whether the agent is there.

use std::collections::{BTreeMap, BTreeSet};

use identifier::Kind;
use oauth::authorization_details::{AuthorizationDetails, Detail, NAME};
use oauth::authorization_request::{AuthorizationRequest, RequestRefused};
use oauth::error::ErrorCode;
use oauth::parameter::Refused;
use oauth::{Resource, Scope, ScopeSet};
use serde::Serialize;
use serde_json::Value;
use wimse::{Origin, WorkloadId};

use crate::audience::Audience;
use crate::granted::Granted;
use crate::policy::{Action, ResourcePolicy};

/// Scopes of OpenID Connect that are served (Core 1.0 §3.1.2.1, §5.4, §11), each with what it
/// means in words.
pub const OPENID: &[(&str, &str)] = &[
    ("openid", "know that it is you who signed in"),
    ("profile", "see your name"),
    ("email", "see your e-mail address"),
    ("offline_access", "go on while you are signed out"),
];
/// The scope without which there is no sign-in for the client.
pub const SIGN_IN: &str = "openid";
/// The scope that outlasts the session.
pub const OFFLINE: &str = "offline_access";
/// Lines that one object of `authorization_details` is told in.
const LINES_MAX: usize = 64;
/// How deep it is looked into.
const DEPTH_MAX: usize = 8;
/// Characters of one value, and of the path of its member.
const VALUE_CHARS_MAX: usize = 400;
/// Characters of a member's path that a refusal repeats.
const MEMBER_CHARS_MAX: usize = 64;
const SCOPE: &str = "RFC 6749 §3.3";
const RESOURCE: &str = "RFC 8707 §2";
const DETAILS: &str = "RFC 9396 §5";

/// All that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// By the audience of the token.
    pub targets: Vec<Target>,
    /// Scopes of OpenID Connect.
    pub openid: ScopeSet,
}

/// What is asked for at one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its identifier in tokens.
    pub audience: String,
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The scopes.
    pub scopes: Vec<AskedScope>,
    /// The objects of `authorization_details`.
    pub details: Vec<AskedDetail>,
    /// Whether it is an agent, which is handed rights for others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_agent: bool,
}

/// One scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AskedScope {
    /// Its value.
    pub scope: Scope,
    /// What it means, in the words of policy.
    pub words: String,
    /// What may be done with it.
    pub actions: Vec<AskedAction>,
}

/// One thing that a scope lets somebody do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AskedAction {
    /// A tool's name, or method and path.
    pub name: String,
    /// Whether it changes nothing.
    pub read_only: bool,
}

/// One object of `authorization_details`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AskedDetail {
    /// As it was asked.
    pub value: Value,
    /// `type`.
    pub type_: String,
    /// Its members, each on a line: name and value.
    pub lines: Vec<(String, String)>,
}

/// What may be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The resources of policy.
    pub resources: &'a [ResourcePolicy],
    /// The gateway's URL, below which they are.
    pub gateway: &'a str,
    /// What our agents belong to.
    pub origin: &'a Origin,
}

/// What people call an agent that is named as a target (S4 §10.3.3): its kind and name; `None` for
/// what is no agent or service of ours.
pub fn agent_title(audience: &str, origin: &Origin) -> Option<String> {
    let id = WorkloadId::parse(audience).ok().filter(|id| id.is_member_of(origin))?;
    let kinds = [Kind::Agent, Kind::Service].map(Kind::segment);
    let segments: Vec<_> = id.segments().collect();
    match segments.as_slice() {
        [kind, name] if kinds.contains(kind) => Some(format!("{kind} {name}")),
        _ => None,
    }
}

/// Reads what `request` asks for. `widest` is what the client may ever ask for, where that is
/// bounded.
pub fn asked(
    request: &AuthorizationRequest,
    place: Place<'_>,
    widest: Option<&ScopeSet>,
) -> Result<Asked, RequestRefused> {
    let wanted = Wanted {
        scope: request.scope.as_ref(),
        resources: &request.resources,
        details: request.authorization_details.as_ref(),
    };
    wanted.read(place, widest)
}

/// What any request for a user asks for, in a browser or without one (RFC 8628 §3.1, CIBA Core 1.0
/// §7.1).
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `scope`.
    pub scope: Option<&'a ScopeSet>,
    /// `resource`.
    pub resources: &'a [Resource],
    /// `authorization_details`.
    pub details: Option<&'a AuthorizationDetails>,
}

impl Wanted<'_> {
    /// Reads it, as [`asked`] does.
    pub fn read(
        &self,
        place: Place<'_>,
        widest: Option<&ScopeSet>,
    ) -> Result<Asked, RequestRefused> {
        read(self, place, widest)
    }
}

fn read(
    wanted: &Wanted<'_>,
    place: Place<'_>,
    widest: Option<&ScopeSet>,
) -> Result<Asked, RequestRefused> {
    let (openid, scopes) = split(wanted.scope);
    if let Some(widest) = widest
        && let Some(scope) = scopes.iter().find(|scope| !widest.contains(scope))
    {
        let what = format!("`{scope}`, which is not among those the client registered");
        return Err(refused(ErrorCode::InvalidScope, Refused::form("scope", SCOPE, what)));
    }
    let mut found = Found { place, targets: BTreeMap::new() };
    for resource in wanted.resources {
        found.name(resource.as_str())?;
    }
    let named = !found.targets.is_empty();
    for scope in scopes.iter() {
        found.scope(scope, named)?;
    }
    for detail in wanted.details.into_iter().flat_map(AuthorizationDetails::iter) {
        found.detail(detail, named)?;
    }
    let mut targets: Vec<Target> = found.targets.into_values().collect();
    // RFC 6749 §3.3: "If the client omits the scope parameter when requesting authorization, the
    // authorization server MUST either process the request using a pre-defined default value or
    // fail the request". The default is all of a resource that was named: policy and user take
    // from it.
    for target in targets.iter_mut().filter(|target| target.is_bare()) {
        // An agent has no scopes of its own: what it is handed is said.
        if target.is_agent {
            return Err(refused(ErrorCode::InvalidScope, Refused::missing("scope", SCOPE)));
        }
        let policy = place.resources.iter().find(|one| one.name == target.name);
        let all = policy
            .into_iter()
            .flat_map(|policy| policy.scopes.keys().map(move |scope| scope_of(policy, scope)));
        target.scopes =
            all.filter(|one| widest.is_none_or(|most| most.contains(&one.scope))).collect();
    }
    if targets.is_empty() && openid.is_empty() {
        return Err(refused(ErrorCode::InvalidScope, Refused::missing("scope", SCOPE)));
    }
    Ok(Asked { targets, openid })
}

/// The scopes of OpenID Connect, and the others.
fn split(scope: Option<&ScopeSet>) -> (ScopeSet, ScopeSet) {
    let is_openid = |scope: &&Scope| OPENID.iter().any(|(name, _)| *name == scope.as_str());
    let (openid, others): (Vec<&Scope>, Vec<&Scope>) =
        scope.into_iter().flat_map(ScopeSet::iter).partition(is_openid);
    let set = |scopes: Vec<&Scope>| scopes.into_iter().cloned().collect();
    (set(openid), set(others))
}

struct Found<'a> {
    place: Place<'a>,
    targets: BTreeMap<String, Target>,
}

impl<'a> Found<'a> {
    fn name(&mut self, audience: &str) -> Result<(), RequestRefused> {
        let Place { resources, gateway, origin } = self.place;
        if let Some(title) = agent_title(audience, origin) {
            let name = title.rsplit(' ').next().unwrap_or_default().to_owned();
            let target = Target { is_agent: true, ..Target::of(audience.to_owned(), name, title) };
            self.targets.entry(audience.to_owned()).or_insert(target);
            return Ok(());
        }
        let known = resources.iter().find(|one| one.audience(gateway) == audience);
        // RFC 8707 §2: "invalid_target: The requested resource is invalid, missing, unknown, or
        // malformed."
        let unknown = || {
            let why = Refused::value("resource", RESOURCE, audience);
            refused(ErrorCode::InvalidTarget, why)
        };
        self.target(known.ok_or_else(unknown)?);
        Ok(())
    }

    fn target(&mut self, policy: &ResourcePolicy) -> &mut Target {
        let audience = policy.audience(self.place.gateway);
        self.targets.entry(audience.clone()).or_insert_with(|| {
            let title = policy.title.clone().unwrap_or_else(|| policy.name.clone());
            Target::of(audience, policy.name.clone(), title)
        })
    }

    /// The resources that know something: of those that were named, or the one of all.
    fn which(
        &self,
        named: bool,
        knows: impl Fn(&ResourcePolicy) -> bool,
    ) -> Vec<&'a ResourcePolicy> {
        let asked = |one: &&ResourcePolicy| {
            !named || self.targets.contains_key(&one.audience(self.place.gateway))
        };
        self.place.resources.iter().filter(asked).filter(|one| knows(one)).collect()
    }

    fn scope(&mut self, scope: &Scope, named: bool) -> Result<(), RequestRefused> {
        let knowing = self.which(named, |one| one.scopes.contains_key(scope));
        // An agent may be handed what some resource knows: it uses it there, by exchange.
        let handed = agents_scope(self.place.resources, scope);
        let mut agents = self.targets.values_mut().filter(|target| target.is_agent).peekable();
        let is_handed = agents.peek().is_some() && handed.is_some();
        for agent in agents {
            agent.scopes.extend(handed.clone());
        }
        if knowing.is_empty() && !is_handed {
            // RFC 6749 §4.1.2.1: "invalid_scope: The requested scope is invalid, unknown, or
            // malformed."
            let why = Refused::value("scope", SCOPE, scope.as_str());
            return Err(refused(ErrorCode::InvalidScope, why));
        }
        if !named && knowing.len() > 1 {
            return Err(several("scope", scope.as_str()));
        }
        for policy in knowing {
            self.target(policy).scopes.push(scope_of(policy, scope));
        }
        Ok(())
    }

    fn detail(&mut self, detail: &Detail, named: bool) -> Result<(), RequestRefused> {
        let error = ErrorCode::InvalidAuthorizationDetails;
        let gateway = self.place.gateway;
        let knowing = self.which(named, |one| {
            let here = one.audience(gateway);
            // RFC 9396 §2.2: "locations: An array of strings representing the location of the
            // resource or RS."
            let located = detail.locations.as_ref().is_none_or(|all| all.contains(&here));
            located && one.details.iter().any(|known| known.type_ == detail.type_)
        });
        let [policy] = knowing.as_slice() else {
            return Err(match knowing.is_empty() {
                true => refused(error, Refused::value("type", DETAILS, &detail.type_)),
                false => several("authorization_details", &detail.type_),
            });
        };
        let value = detail.to_value();
        let alone = AuthorizationDetails::of_value(&Value::Array(vec![value.clone()]));
        let checked = alone.and_then(|alone| alone.check(&policy.schemas()));
        checked.map_err(|why| refused(error, why))?;
        let lines = lines_to_ask(&value).map_err(|why| refused(error, why))?;
        let told = AskedDetail { type_: detail.type_.clone(), lines, value };
        self.target(policy).details.push(told);
        Ok(())
    }
}

fn several(name: &'static str, found: &str) -> RequestRefused {
    let what = format!("`{found}`, which several resources know; name one by `resource`");
    refused(ErrorCode::InvalidTarget, Refused::form(name, RESOURCE, what))
}

const fn refused(error: ErrorCode, why: Refused) -> RequestRefused {
    RequestRefused { error, why }
}

fn scope_of(policy: &ResourcePolicy, scope: &Scope) -> AskedScope {
    let words = policy.scopes.get(scope).cloned().unwrap_or_default();
    let of_it = policy.actions.iter().filter(|action| action.scope.as_ref() == Some(scope));
    let actions =
        of_it.map(|action| AskedAction { name: action_name(action), read_only: action.read_only });
    AskedScope { scope: scope.clone(), words, actions: actions.collect() }
}

/// A scope in the hands of an agent: what it means at each resource that knows it.
fn agents_scope(resources: &[ResourcePolicy], scope: &Scope) -> Option<AskedScope> {
    let knowing: Vec<_> = resources.iter().filter(|one| one.scopes.contains_key(scope)).collect();
    let told: Vec<_> = knowing.iter().map(|one| (*one, scope_of(one, scope))).collect();
    let words = told.iter().map(|(policy, one)| {
        let title = policy.title.as_ref().unwrap_or(&policy.name);
        format!("{} ({title})", one.words)
    });
    let words = words.collect::<Vec<_>>().join(", ");
    let actions = told.iter().flat_map(|(_, one)| one.actions.clone()).collect();
    (!knowing.is_empty()).then(|| AskedScope { scope: scope.clone(), words, actions })
}

fn action_name(action: &Action) -> String {
    match (&action.tool, &action.method, &action.path) {
        (Some(tool), _, _) if tool == "*" => "every other tool".to_owned(),
        (Some(tool), _, _) => tool.clone(),
        (None, Some(method), Some(path)) => format!("{method} {path}"),
        (None, None, Some(path)) => path.clone(),
        (None, _, None) => String::new(),
    }
}

/// An object of `authorization_details` as lines of name and value, for people: all of it, letters
/// that steer written out.
pub fn lines(value: &Value) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    walk("", value, 0, &mut lines);
    for text in lines.iter_mut().flat_map(|(name, value)| [name, value]) {
        if letters::plain(text).is_err() {
            *text = letters::written_out(text);
        }
    }
    lines
}

/// The same of an object that somebody is to be asked for. What cannot be shown whole and as it is
/// is refused: nobody allows what they did not see.
///
/// RFC 9396 §3: "Based on the data provided in the authorization_details parameter, the AS will ask
/// the user for consent to the requested access permissions."
fn lines_to_ask(value: &Value) -> Result<Vec<(String, String)>, Refused> {
    let refused = |member: &str, what: &str| {
        let member =
            letters::written_out(member).chars().take(MEMBER_CHARS_MAX).collect::<String>();
        Refused::form(NAME, DETAILS, format!("`{member}` {what}"))
    };
    let mut lines = Vec::new();
    walk("", value, 0, &mut lines);
    if let Some((name, _)) = lines.get(LINES_MAX) {
        let what = format!("and what follows are more than the {LINES_MAX} lines that are shown");
        return Err(refused(name, &what));
    }
    for (name, value) in &lines {
        if let Err(why) = letters::plain(name).and_then(|()| letters::plain(value)) {
            return Err(refused(name, &format!("cannot be shown: {why}")));
        }
        if [name, value].iter().any(|text| text.chars().count() > VALUE_CHARS_MAX) {
            let what = format!("is longer than the {VALUE_CHARS_MAX} characters that are shown");
            return Err(refused(name, &what));
        }
    }
    match too_deep("", value, 0) {
        Some(name) => Err(refused(&name, &format!("is deeper than {DEPTH_MAX} levels"))),
        None => Ok(lines),
    }
}

/// The first member that lies deeper than is looked into.
fn too_deep(name: &str, value: &Value, depth: usize) -> Option<String> {
    match value {
        Value::Object(_) | Value::Array(_) if depth >= DEPTH_MAX => Some(name.to_owned()),
        Value::Object(members) => members
            .iter()
            .find_map(|(key, value)| too_deep(&below(name, &told_key(key)), value, depth + 1)),
        Value::Array(values) => values.iter().enumerate().find_map(|(at, value)| {
            too_deep(&below(name, &(at + 1).to_string()), value, depth + 1)
        }),
        _ => None,
    }
}

fn below(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name} {key}") }
}

/// A key as a step of a path. One that could look like several, or like a place in a list, is
/// quoted.
fn told_key(key: &str) -> String {
    let is_step = !key.is_empty() && !key.contains([' ', '"']);
    match is_step && !key.chars().all(|letter| letter.is_ascii_digit()) {
        true => key.to_owned(),
        false => Value::from(key).to_string(),
    }
}

fn walk(name: &str, value: &Value, depth: usize, lines: &mut Vec<(String, String)>) {
    let mut line = |value: &str| lines.push((name.to_owned(), value.to_owned()));
    match value {
        Value::Object(members) if members.is_empty() => line("nothing"),
        Value::Array(values) if values.is_empty() => line("nothing"),
        Value::Object(members) if depth < DEPTH_MAX => {
            // By name: the same whatever order a client, or a map, has them in.
            let members: BTreeMap<_, _> = members.iter().collect();
            let told = members.into_iter().filter(|(key, _)| depth > 0 || *key != "type");
            for (key, value) in told {
                walk(&below(name, &told_key(key)), value, depth + 1, lines);
            }
        }
        Value::Array(values) if depth < DEPTH_MAX => match joined(values) {
            Some(text) => line(&text),
            None => {
                for (at, value) in values.iter().enumerate() {
                    walk(&below(name, &(at + 1).to_string()), value, depth + 1, lines);
                }
            }
        },
        Value::String(text) => line(text),
        Value::Bool(truth) => line(if *truth { "yes" } else { "no" }),
        other => line(&other.to_string()),
    }
}

/// Short texts that stand on one line, where that cannot be read as other texts.
fn joined(values: &[Value]) -> Option<String> {
    let texts: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
    let texts = texts?;
    let is_clear = |text: &&str| !text.trim().is_empty() && !text.contains(',');
    let text = texts.join(", ");
    (texts.iter().all(is_clear) && text.chars().count() <= VALUE_CHARS_MAX).then_some(text)
}

impl Target {
    fn of(audience: String, name: String, title: String) -> Self {
        let (scopes, details) = (Vec::new(), Vec::new());
        Self { audience, name, title, scopes, details, is_agent: false }
    }

    fn is_bare(&self) -> bool {
        self.scopes.is_empty() && self.details.is_empty()
    }

    /// All its scopes.
    pub fn scope_set(&self) -> ScopeSet {
        self.scopes.iter().map(|one| one.scope.clone()).collect()
    }

    /// What it would be as a grant, whole.
    pub fn granted(&self) -> Granted {
        let details = self.details.iter().map(|one| one.value.clone()).collect();
        Granted { scope: self.scope_set(), details }
    }

    /// Whether `held` has all of it.
    pub fn is_within(&self, held: &Granted, audience: &Audience) -> bool {
        let array = |values: Vec<Value>| AuthorizationDetails::of_value(&Value::Array(values));
        let scope = self.scope_set().is_within(&held.scope);
        let asked: Vec<_> = self.details.iter().map(|one| one.value.clone()).collect();
        let details = asked.is_empty()
            || match (array(asked), array(held.details.clone())) {
                (Ok(asked), Ok(held)) => asked.is_within(&held, &audience.schemas),
                _ => false,
            };
        scope && details
    }
}

impl Asked {
    /// The audiences, in order.
    pub fn audiences(&self) -> BTreeSet<&str> {
        self.targets.iter().map(|target| target.audience.as_str()).collect()
    }

    /// Whether the client asks who the user is.
    pub fn signs_in(&self) -> bool {
        self.has(SIGN_IN)
    }

    /// Whether it asks to go on without the user.
    pub fn is_offline(&self) -> bool {
        self.has(OFFLINE)
    }

    fn has(&self, name: &str) -> bool {
        self.openid.iter().any(|scope| scope.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use oauth::form::Form;
    use serde_json::Map;

    use super::*;

    const GATEWAY: &str = "https://gateway.example";
    const AGENT: &str = "resource=spiffe://a.example/agent/b";

    fn resources() -> Vec<ResourcePolicy> {
        let of = |text: &str| serde_json::from_str(text).unwrap();
        vec![
            of(r#"{"name":"ledger","title":"The ledger","upstream":"http://127.0.0.1:1",
                "protocol":"mcp","scopes":{"read":"read invoices","pay":"pay invoices"},
                "action":[{"tool":"list","scope":"read","read_only":true},
                          {"tool":"pay_invoice","scope":"pay"}],
                "authorization_details":[{"type":"payment","member":[
                    {"name":"amount","required":true,"shape":"number"},
                    {"name":"to","shape":"text"}]}]}"#),
            of(r#"{"name":"crm","upstream":"http://127.0.0.1:2","protocol":"http",
                "scopes":{"read":"read customers","note":"write notes"},
                "action":[{"method":"GET","path":"/*","scope":"read","read_only":true}]}"#),
        ]
    }

    fn origin() -> Origin {
        Origin::parse("spiffe://a.example").unwrap()
    }

    fn place<'a>(resources: &'a [ResourcePolicy], origin: &'a Origin) -> Place<'a> {
        Place { resources, gateway: GATEWAY, origin }
    }

    fn ask(query: &str) -> Result<Asked, RequestRefused> {
        let form = format!("response_type=code&client_id=c&{query}");
        let request = AuthorizationRequest::parse(&Form::parse(form.as_bytes()).unwrap()).unwrap();
        asked(&request, place(&resources(), &origin()), None)
    }

    /// Each target with its scopes, and the scopes of OpenID Connect.
    fn told(query: &str) -> String {
        match ask(query) {
            Ok(asked) => {
                let of = |target: &Target| format!("{}[{}]", target.name, target.scope_set());
                let targets: Vec<_> = asked.targets.iter().map(of).collect();
                format!("{} {}", targets.join(" "), asked.openid).trim().to_owned()
            }
            Err(refused) => format!("{}: {}", refused.error, refused.why),
        }
    }

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc8707_2_each_scope_belongs_to_the_resources_that_know_it() {
        let (ledger, crm) =
            (format!("resource={GATEWAY}/ledger"), format!("resource={GATEWAY}/crm"));
        for (query, expect) in [
            (format!("scope=pay&{ledger}"), "ledger[pay]"),
            (format!("scope=read+openid&{ledger}"), "ledger[read] openid"),
            (format!("scope=read+pay&{ledger}&{crm}"), "crm[read] ledger[pay read]"),
            // Named without a scope: all of it is asked for.
            (ledger.clone(), "ledger[pay read]"),
            ("scope=note".to_owned(), "crm[note]"),
            ("scope=openid+profile".to_owned(), "openid profile"),
            // An agent is handed what it is to use elsewhere.
            (format!("scope=read&{AGENT}"), "b[read]"),
            (format!("scope=read+pay&{AGENT}&{crm}"), "crm[read] b[pay read]"),
        ] {
            assert_eq!(told(&query), expect, "{query}");
        }
        for (query, error) in [
            ("scope=read".to_owned(), "invalid_target: `scope`"),
            ("scope=nothing".to_owned(), "invalid_scope: `scope`"),
            (format!("scope=note&{ledger}"), "invalid_scope: `scope`"),
            // It is said what an agent is handed, some resource knows it, and it is one of ours.
            (AGENT.to_owned(), "invalid_scope: `scope`"),
            (format!("scope=nothing&{AGENT}"), "invalid_scope: `scope`"),
            (
                "scope=read&resource=spiffe://b.example/agent/b".to_owned(),
                "invalid_target: `resource`",
            ),
            (
                "scope=read&resource=spiffe://a.example/aims/node/b".to_owned(),
                "invalid_target: `resource`",
            ),
            ("resource=https://other.example".to_owned(), "invalid_target: `resource`"),
            (String::new(), "invalid_scope: `scope` is absent"),
        ] {
            assert!(told(&query).starts_with(error), "{query}: {}", told(&query));
        }
    }

    #[test]
    fn rfc6749_3_3_no_more_than_the_client_registered() {
        let form = Form::parse(b"response_type=code&client_id=c&scope=note").unwrap();
        let request = AuthorizationRequest::parse(&form).unwrap();
        let narrow = ScopeSet::parse("read").unwrap();
        let (resources, origin) = (resources(), origin());
        let refused = asked(&request, place(&resources, &origin), Some(&narrow)).unwrap_err();
        assert_eq!(refused.error, ErrorCode::InvalidScope);
    }

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc9396_5_details_are_of_a_type_that_policy_has() {
        let with = |json: &str| {
            let encoded = json.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
            format!("authorization_details={}", encoded.replace('+', "%2B"))
        };
        let good = ask(&with(r#"[{"type":"payment","amount":45,"to":"ACME"}]"#)).unwrap();
        let detail = &good.targets.first().unwrap().details[0];
        let lines: Vec<_> =
            detail.lines.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            (detail.type_.as_str(), lines.join(" ")),
            ("payment", "amount=45 to=ACME".into())
        );
        for bad in [
            r#"[{"type":"other"}]"#,
            r#"[{"type":"payment"}]"#,
            r#"[{"type":"payment","amount":"45"}]"#,
            r#"[{"type":"payment","amount":45,"more":1}]"#,
            r#"[{"type":"payment","amount":45,"locations":["https://other.example"]}]"#,
        ] {
            let refused = ask(&with(bad)).unwrap_err();
            assert_eq!(refused.error, ErrorCode::InvalidAuthorizationDetails, "{bad}");
        }
    }

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc9396_3_people_see_what_they_allow() {
        let value = serde_json::json!({
            "type": "t", "to": "ACME", "long": "a".repeat(VALUE_CHARS_MAX),
            "deep": { "a": [1, { "b": true }] },
            "one": ["a, b"], "two": ["a", "b"], "none": [], "a b": "c", "list": { "1": "d" },
        });
        let shown = lines_to_ask(&value).unwrap();
        assert_eq!(shown, lines(&value));
        let of = |name: &str| {
            shown.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        for (name, expect) in [
            ("to", "ACME"),
            ("long", &*"a".repeat(VALUE_CHARS_MAX)),
            ("deep a 2 b", "yes"),
            // What is one text is not read as two, nor one name as a path.
            ("one 1", "a, b"),
            ("two", "a, b"),
            ("none", "nothing"),
            ("\"a b\"", "c"),
            ("list \"1\"", "d"),
        ] {
            assert_eq!(of(name).as_deref(), Some(expect), "{name}");
        }
        assert_eq!(of("type"), None);
    }

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc9396_3_what_cannot_be_shown_as_it_is_is_refused_by_member() {
        let nested = |depth: usize| {
            (0..depth).fold(Value::from(1), |inner, _| serde_json::json!({ "in": inner }))
        };
        let many = |count: usize| -> Value {
            (0..count)
                .map(|at| (format!("m{at:03}"), Value::from(at)))
                .collect::<Map<_, _>>()
                .into()
        };
        for good in [nested(DEPTH_MAX), many(LINES_MAX)] {
            assert!(lines_to_ask(&good).is_ok(), "{good}");
        }
        let long = "a".repeat(VALUE_CHARS_MAX + 1);
        for (bad, member, why) in [
            (serde_json::json!({ "to": "ACME\nfee: 0" }), "`to`", "U+000A"),
            (serde_json::json!({ "to": "AC\u{200b}ME" }), "`to`", "U+200B"),
            (serde_json::json!({ "to": "ACME\u{202e}EMCA" }), "`to`", "U+202E"),
            (serde_json::json!({ "to": ["b", "a\u{2066}"] }), "`to`", "U+2066"),
            (serde_json::json!({ "in": { "t\u{200d}o": 1 } }), "`in t\\u{200d}o`", "U+200D"),
            (serde_json::json!({ "to": long }), "`to`", "longer"),
            (serde_json::json!({ "to": ["b", long] }), "`to 2`", "longer"),
            (serde_json::json!({ "in": { long: 1 } }), "`in aaaa", "longer"),
            (many(LINES_MAX + 1), "`m064`", "more than"),
            (nested(DEPTH_MAX + 1), "`in in", "deeper"),
        ] {
            let refused = lines_to_ask(&bad).unwrap_err().to_string();
            assert!(refused.starts_with("`authorization_details` is refused: "), "{refused}");
            assert!(refused.contains(member) && refused.contains(why), "{refused}");
            assert_eq!(letters::plain(&refused), Ok(()), "{refused}");
        }
        // What was granted before is told all the same, and not as something else.
        let told = lines(&serde_json::json!({ "to": "ACME\u{202e}EMCA" }));
        assert_eq!(told, [("to".to_owned(), "ACME\\u{202e}EMCA".to_owned())]);
    }

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc9396_5_a_request_with_a_letter_that_steers_is_refused() {
        let ask_to = |to: &str| {
            let json = format!(r#"[{{"type":"payment","amount":45,"to":"{to}"}}]"#);
            let form: String = form_urlencoded(&json);
            ask(&format!("authorization_details={form}"))
        };
        assert!(ask_to("ACME").is_ok());
        for to in ["ACME\\nfee: 0", "ACME\u{202e}", "AC\u{200b}ME", "\u{2800}"] {
            let refused = ask_to(to).unwrap_err();
            assert_eq!(refused.error, ErrorCode::InvalidAuthorizationDetails, "{to:?}");
            assert!(refused.why.to_string().contains("`to`"), "{}", refused.why);
        }
    }

    fn form_urlencoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }
}
