//! The authorization box's own policy: `resources/*.toml` and `[delegation]` of `domain.toml`.

mod details;

use std::collections::{BTreeMap, BTreeSet};

use jose::KeySet;
use oauth::authorization_details::Schema;
use oauth::{Resource, Scope, ScopeSet, SubjectText};
use serde::{Deserialize, Serialize};
use time::Span;
use url::Url;

use crate::profile::{Demand, Profile, demands};

pub use details::{AbsentMeans, DetailMember, DetailType, MemberShape};

/// The most resource servers of one resource, and the most that ask for decisions about it.
const INTROSPECT_MAX: usize = 64;
/// The most types of `authorization_details` of one resource.
const DETAIL_TYPES_MAX: usize = 64;
/// The most actions of one resource.
pub const ACTIONS_MAX: usize = 512;

/// `[delegation]`: how far rights travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delegation {
    /// The most actors in a chain.
    pub depth_max: usize,
    /// Who may appear as somebody else altogether (RFC 8693 §1.1, "impersonation"): without a rule
    /// by name, nobody.
    pub impersonation: Vec<Impersonation>,
    /// What else than access tokens may be exchanged: refresh tokens and ID tokens of ours, for
    /// what their grants permit.
    pub subject_tokens: BTreeSet<SubjectToken>,
    /// Clients that may ask for a token which another holds the key of (`requested_cnf`).
    pub requested_cnf: BTreeSet<String>,
    /// Whose assertions are taken for grants.
    #[serde(rename = "issuer")]
    pub issuers: Vec<TrustedIssuer>,
}

/// A token that stands for a grant, where policy lets it be exchanged (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectToken {
    /// One that is not rotated: a use of it here would be its end there.
    RefreshToken,
    /// One that was given to the client which brings it.
    IdToken,
}

/// One rule of `[[delegation.issuer]]`: whose assertions are taken (RFC 7523).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// Its name: records say by which rule it was.
    pub name: String,
    /// `iss`.
    pub issuer: String,
    /// Its keys: a JWK set.
    pub jwks: KeySet,
    /// What `aud` must be.
    #[serde(default)]
    pub audience: AssertionAudience,
    /// The clients that may bring one; any, where none is listed.
    #[serde(default)]
    pub clients: BTreeSet<String>,
    /// Claims that it must have.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// Its subjects, and who they are here; `*` stands for each, by the value's `{sub}`.
    pub subjects: BTreeMap<String, String>,
    /// The widest scope that it gives.
    pub scope: ScopeSet,
    /// How long one may live, in seconds.
    #[serde(default = "assertion_life")]
    pub life_seconds_max: u64,
    /// Whether one without `jti` is taken: it can then be used again until it ends.
    #[serde(default)]
    pub reusable: bool,
}

/// What the `aud` of an assertion must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// Our issuer identifier.
    #[default]
    Issuer,
    /// The URL of the token endpoint: workload identity federation of MCP says so.
    TokenEndpoint,
}

const fn assertion_life() -> u64 {
    300
}

/// The most issuers whose assertions are taken.
pub const ISSUERS_MAX: usize = 64;
/// The longest life of an assertion that policy may allow, in seconds.
pub const ASSERTION_SECONDS_MAX: u64 = 86_400;

impl TrustedIssuer {
    /// Who a subject of it is here.
    pub fn subject(&self, sub: &str) -> Option<String> {
        let named = self.subjects.get(sub).filter(|_| sub != "*");
        let named = named.cloned().or_else(|| {
            let each = self.subjects.get("*")?;
            Some(each.replace("{sub}", sub))
        })?;
        // RFC 9700 §4.15: nobody may make up a subject that is one of our own.
        let made_up = !self.subjects.contains_key(sub);
        let ours = ["user:", "client-", "spiffe://", "wimse://"];
        let is_ours = ours.iter().any(|prefix| named.starts_with(prefix));
        // Records and people name it as it is: one that nobody can read is nobody.
        let is_readable = letters::name(sub).is_ok() && SubjectText::parse(&named).is_ok();
        let fits = is_readable && (!made_up || !is_ours);
        fits.then_some(named)
    }
}

/// One rule of `[[delegation.impersonation]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impersonation {
    /// Its name: records say by which rule it was.
    pub name: String,
    /// The client that may.
    pub client: String,
    /// For which audiences.
    pub audiences: BTreeSet<String>,
}

/// The most rules of impersonation.
pub const IMPERSONATIONS_MAX: usize = 64;

/// `[openid]`: what clients are told of users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenId {
    /// The clients that are told another `sub` than everybody else (OpenID Connect Core 1.0 §8.1).
    pub pairwise: BTreeSet<String>,
}

/// `[decisions]`: decisions that others ask for (AuthZEN).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    /// What a token to ask with must come with.
    pub proof: Proof,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { proof: Proof::Bearer }
    }
}

/// `[consent]`: what is asked of clients that bring users, and how long what these allow lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consent {
    /// How long a grant lasts at the most, in seconds.
    pub grant_life: Span,
    /// Whether every request must be pushed before (RFC 9126 §5,
    /// `require_pushed_authorization_requests`).
    pub require_pushed: bool,
    /// Whether every request must be a signed object (RFC 9101 §10.5,
    /// `require_signed_request_object`).
    pub require_signed: bool,
}

/// The longest life of a grant, in seconds.
pub const GRANT_SECONDS_MAX: u64 = 366 * 86_400;

impl Default for Consent {
    fn default() -> Self {
        let grant_life = Span::from_seconds(30 * 86_400);
        Self { grant_life, require_pushed: false, require_signed: false }
    }
}

impl Consent {
    /// What is wrong with the settings.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let seconds = self.grant_life.seconds();
        if (1..=GRANT_SECONDS_MAX).contains(&seconds) {
            return Vec::new();
        }
        let allowed = format!("allowed are 1 to {GRANT_SECONDS_MAX}");
        vec![("consent.grant_life", format!("`grant_life` is {seconds} seconds; {allowed}"))]
    }
}

/// The deepest chain that policy may allow: what a token can hold.
pub const DEPTH_MAX: usize = oauth::act::MAX_ACTORS;

impl Default for Delegation {
    fn default() -> Self {
        Self {
            depth_max: 4,
            impersonation: Vec::new(),
            subject_tokens: BTreeSet::new(),
            requested_cnf: BTreeSet::new(),
            issuers: Vec::new(),
        }
    }
}

impl Delegation {
    /// What is wrong with the settings.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(1..=DEPTH_MAX).contains(&self.depth_max) {
            let depth = self.depth_max;
            faults.push((
                "depth_max",
                format!("`depth_max` is {depth}; allowed are 1 to {DEPTH_MAX}"),
            ));
        }
        if self.impersonation.len() > IMPERSONATIONS_MAX {
            faults.push(("impersonation", format!("more than {IMPERSONATIONS_MAX} rules")));
        }
        if self.impersonation.iter().any(|rule| rule.name.is_empty() || rule.audiences.is_empty()) {
            let message = "a rule has a `name`, and `audiences` that it is for".to_owned();
            faults.push(("impersonation", message));
        }
        if self.issuers.len() > ISSUERS_MAX {
            faults.push(("issuer", format!("more than {ISSUERS_MAX} issuers")));
        }
        for issuer in &self.issuers {
            let life = issuer.life_seconds_max;
            if issuer.name.is_empty() || issuer.issuer.is_empty() || issuer.subjects.is_empty() {
                let message = "an issuer has `name`, `issuer` and `subjects`".to_owned();
                faults.push(("issuer", message));
            }
            if !(1..=ASSERTION_SECONDS_MAX).contains(&life) {
                let allowed = format!("allowed are 1 to {ASSERTION_SECONDS_MAX}");
                faults.push(("issuer", format!("`life_seconds_max` is {life}; {allowed}")));
            }
        }
        faults
    }

    /// The rule by which `client` may appear as another at `audience`.
    pub fn impersonates(&self, client: &str, audience: &str) -> Option<&str> {
        let fits =
            |rule: &&Impersonation| rule.client == client && rule.audiences.contains(audience);
        self.impersonation.iter().find(fits).map(|rule| rule.name.as_str())
    }
}

/// What a token for a resource must come with (docs/design.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A WIT and a WPT: the token is bound to the identity.
    Wit,
    /// Mutual TLS with the identity's X.509-SVID: the token is bound to the certificate.
    Mtls,
    /// A DPoP proof (RFC 9449): the token is bound to its key.
    Dpop,
    /// Nothing: for outside clients that can do no better.
    Bearer,
}

impl Proof {
    /// The name in policy and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wit => "wit",
            Self::Mtls => "mtls",
            Self::Dpop => "dpop",
            Self::Bearer => "bearer",
        }
    }
}

/// What access tokens for a resource look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `at+jwt` (RFC 9068): whoever has our keys reads it.
    #[default]
    Jwt,
    /// A text that says nothing: it is asked about (RFC 7662; AUTHZ-04, AUTHZ-21).
    Opaque,
}

/// Whom a token for a resource, or for a client, names (OpenID Connect Core 1.0 §8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The same `sub` everywhere.
    #[default]
    Public,
    /// Another one for each: two of them cannot tell that it is the same person.
    Pairwise,
}

/// What a resource speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// MCP over streamable HTTP.
    Mcp,
    /// Plain HTTP.
    Http,
}

/// One protected resource: a file of `resources/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourcePolicy {
    /// Its name, also the first segment of its path at the gateway.
    pub name: String,
    /// What people call it.
    #[serde(default)]
    pub title: Option<String>,
    /// Its identifier in tokens (RFC 8707); by default the gateway's URL and `/<name>`.
    #[serde(default)]
    pub audience: Option<String>,
    /// Where calls are forwarded to.
    pub upstream: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// What a token for it must come with.
    #[serde(default = "wit")]
    pub proof: Proof,
    /// What access tokens for it look like.
    #[serde(default)]
    pub token: Format,
    /// Whom its tokens name, where they act for a user: `pairwise` is for opaque tokens.
    #[serde(default)]
    pub subject: SubjectKind,
    /// The clients that may ask about tokens for it (RFC 7662 §2.1): its resource servers.
    #[serde(default)]
    pub introspect: BTreeSet<String>,
    /// The clients that may ask for decisions about it (AuthZEN): its policy enforcement points.
    #[serde(default)]
    pub decide: BTreeSet<String>,
    /// Whether its tokens say what the attestation of the agent came to (S4 §10.2).
    #[serde(default)]
    pub attestation: bool,
    /// Whether its tokens, where they are signed, say where one can read whether they still count
    /// (draft-ietf-oauth-status-list).
    #[serde(default)]
    pub status: bool,
    /// What whoever wants a token for it must obey, at every endpoint.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub profiles: BTreeSet<Profile>,
    /// The types of `authorization_details` that it knows (RFC 9396 §2.1).
    #[serde(default, rename = "authorization_details")]
    pub details: Vec<DetailType>,
    /// Its scopes, each with what it means in words.
    #[serde(default)]
    pub scopes: BTreeMap<Scope, String>,
    /// What may be done with it. What is not listed is refused.
    #[serde(default, rename = "action")]
    pub actions: Vec<Action>,
}

const fn wit() -> Proof {
    Proof::Wit
}

/// One thing that may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// MCP: the tool's name, or `*` for every tool that no other entry names.
    #[serde(default)]
    pub tool: Option<String>,
    /// HTTP: the method.
    #[serde(default)]
    pub method: Option<String>,
    /// HTTP: the path below the resource; a trailing `/*` stands for whole further segments.
    #[serde(default)]
    pub path: Option<String>,
    /// The scope that a token needs for it.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// True when it changes nothing: the call may then be forwarded while its record is written.
    #[serde(default)]
    pub read_only: bool,
}

impl ResourcePolicy {
    /// The types of `authorization_details` that it knows.
    pub fn schemas(&self) -> Vec<Schema> {
        self.details.iter().map(DetailType::schema).collect()
    }

    /// Its identifier in tokens.
    pub fn audience(&self, gateway: &str) -> String {
        self.audience.clone().unwrap_or_else(|| format!("{gateway}/{}", self.name))
    }

    /// All its scopes.
    pub fn scope_set(&self) -> ScopeSet {
        self.scopes.keys().cloned().collect()
    }

    /// The entry for an MCP tool: by name, else the `*` entry.
    pub fn tool(&self, name: &str) -> Option<&Action> {
        let named = |wanted: &str| {
            self.actions.iter().find(move |action| action.tool.as_deref() == Some(wanted))
        };
        named(name).or_else(|| named("*"))
    }

    /// The entry for an HTTP request: the first whose method and path fit. `path` is below the
    /// resource and begins with `/`.
    pub fn request(&self, method: &str, path: &str) -> Option<&Action> {
        self.actions.iter().find(|action| {
            action.method.as_deref().is_none_or(|wanted| wanted == method)
                && action.path.as_deref().is_some_and(|pattern| path_fits(pattern, path))
        })
    }

    /// What is wrong, as the key concerned and what to do.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: String| faults.push((key.to_owned(), message));
        let fit =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if self.name.is_empty() || self.name.len() > 63 || !self.name.chars().all(fit) {
            fault("name", "`name` must be 1 to 63 of a to z, 0 to 9 and `-`".to_owned());
        }
        if let Err(why) = self.audience.as_deref().map_or(Ok(()), audience_fits) {
            fault("audience", why);
        }
        if let Err(why) = upstream_fits(&self.upstream) {
            fault("upstream", why);
        }
        if self.actions.len() > ACTIONS_MAX {
            fault("action", format!("more than {ACTIONS_MAX} actions"));
        }
        if self.subject == SubjectKind::Pairwise && self.token == Format::Jwt {
            let message = "`pairwise` is for opaque tokens: one that is read says who it is about";
            fault("subject", message.to_owned());
        }
        if self.decide.len() > INTROSPECT_MAX {
            fault("decide", format!("more than {INTROSPECT_MAX} clients"));
        }
        if let Err(message) = self.profiles_fit() {
            fault("profiles", message);
        }
        if self.introspect.len() > INTROSPECT_MAX || self.details.len() > DETAIL_TYPES_MAX {
            let most = format!("{INTROSPECT_MAX} clients and {DETAIL_TYPES_MAX} types");
            fault("introspect", format!("more than {most} of one resource"));
        }
        for action in &self.actions {
            let named = action.tool.clone().or_else(|| action.path.clone()).unwrap_or_default();
            let fits = match self.protocol {
                Protocol::Mcp => action.tool.is_some() && action.path.is_none(),
                Protocol::Http => action.path.is_some() && action.tool.is_none(),
            };
            if !fits {
                let wanted = if self.protocol == Protocol::Mcp { "tool" } else { "path" };
                fault("action", format!("an action of this protocol has a `{wanted}`: `{named}`"));
            }
            if let Some(scope) = action.scope.as_ref().filter(|one| !self.scopes.contains_key(*one))
            {
                fault("scope", format!("scope `{scope}` of `{named}` is not under `[scopes]`"));
            }
        }
        faults
    }
}

impl ResourcePolicy {
    /// Refuses profiles under which nobody could get a token.
    fn profiles_fit(&self) -> Result<(), String> {
        // FAPI 2.0 SP §5.3.2.1: "shall support sender-constrained access tokens" by mutual TLS or
        // DPoP: what binds tokens to an identity otherwise is none of them.
        let bound = matches!(self.proof, Proof::Dpop | Proof::Mtls);
        let wants = |one: &&Profile| demands([*one]).contains(&Demand::BoundTokens);
        match self.profiles.iter().find(wants) {
            Some(profile) if !bound => Err(format!(
                "the profile `{profile}` wants `proof` to be `dpop` or `mtls`, and it is `{}`",
                self.proof.name()
            )),
            _ => Ok(()),
        }
    }
}

/// RFC 8707 §2: "Its value MUST be an absolute URI". One in the form of an agent's identifier would
/// make a token for the resource a token for that agent.
fn audience_fits(text: &str) -> Result<(), String> {
    Resource::parse(text).map_err(|why| format!("`audience` is a {why}: `{text}`"))?;
    let ours = ["spiffe:", "wimse:"].iter().any(|scheme| text.starts_with(scheme));
    if ours {
        return Err(format!("`audience` has the form of an agent's identifier: `{text}`"));
    }
    Ok(())
}

/// Calls go to this place and no other: nothing of it may be said otherwise by a call.
fn upstream_fits(text: &str) -> Result<(), String> {
    let wanted = |why: &str| format!("`upstream` {why}: `{text}`");
    let url = Url::parse(text).map_err(|_| wanted("is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wanted("must be a URL of http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`upstream` has user information; credentials do not belong there".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wanted("has a query or a fragment"));
    }
    Ok(())
}

/// Whole segments are compared: `/a/*` fits `/a/b` and `/a/b/c`, not `/ab` and not `/a`.
fn path_fits(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some(prefix) => {
            path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
        }
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7523 §3: who the subject is must be plain to all who read of it.
    #[test]
    fn rfc7523_3_a_subject_that_nobody_can_read_is_nobody() {
        let rule: TrustedIssuer = serde_json::from_value(serde_json::json!({
            "name": "partner", "issuer": "https://partner.example", "jwks": { "keys": [] },
            "scope": "a", "subjects": { "*": "partner:{sub}", "boss": "user:ada" },
        }))
        .unwrap();
        let check = |sub: &str, expect: Option<&str>| {
            assert_eq!(rule.subject(sub).as_deref(), expect, "{sub:?}");
        };
        check("eve", Some("partner:eve"));
        check("boss", Some("user:ada"));
        for sub in ["", " ", "a\nb", "a\0", "\u{7f}", "a\u{202e}b"] {
            check(sub, None);
        }
        check(&"a".repeat(4_096), None);
    }

    #[test]
    fn s10_7_paths_are_compared_by_whole_segments() {
        for (pattern, path, fits) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/ab", false),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/a", false),
            ("/a/*", "/a/", false),
            ("/a/*", "/ab/c", false),
            ("/*", "/anything", true),
        ] {
            assert_eq!(path_fits(pattern, path), fits, "{pattern} {path}");
        }
    }
    fn action(tool: Option<&str>, method: Option<&str>, path: Option<&str>) -> Action {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let (tool, method, path) = (own(tool), own(method), own(path));
        Action { tool, method, path, scope: None, read_only: false }
    }

    fn resource(protocol: Protocol, actions: Vec<Action>) -> ResourcePolicy {
        ResourcePolicy {
            name: "ledger".to_owned(),
            title: None,
            audience: None,
            upstream: "http://127.0.0.1:9000".to_owned(),
            protocol,
            proof: Proof::Wit,
            token: Format::Jwt,
            subject: SubjectKind::Public,
            introspect: BTreeSet::new(),
            decide: BTreeSet::new(),
            attestation: false,
            status: false,
            profiles: BTreeSet::new(),
            details: Vec::new(),
            scopes: BTreeMap::from([(Scope::parse("read").unwrap(), "read".to_owned())]),
            actions,
        }
    }

    /// What is not listed is refused; a name comes before the star.
    /// req: GW-02 (part)
    #[test]
    fn s5_1_a_tool_is_found_by_its_whole_name() {
        let named = action(Some("read_invoice"), None, None);
        let ledger = resource(Protocol::Mcp, vec![named.clone()]);
        assert_eq!(ledger.tool("read_invoice"), Some(&named));
        for other in ["read_invoices", "Read_invoice", "read", "*", ""] {
            assert_eq!(ledger.tool(other), None, "{other}");
        }
        let star = action(Some("*"), None, None);
        let ledger = resource(Protocol::Mcp, vec![star.clone(), named.clone()]);
        assert_eq!(ledger.tool("read_invoice"), Some(&named));
        assert_eq!(ledger.tool("anything"), Some(&star));
    }

    /// req: GW-02 (part)
    #[test]
    fn s5_1_a_request_is_the_first_action_that_fits() {
        let get = action(None, Some("GET"), Some("/invoices/*"));
        let any = action(None, None, Some("/invoices/7"));
        let crm = resource(Protocol::Http, vec![get.clone(), any.clone()]);
        assert_eq!(crm.request("GET", "/invoices/7"), Some(&get));
        assert_eq!(crm.request("DELETE", "/invoices/7"), Some(&any));
        for (method, path) in [
            ("get", "/invoices/8"),
            ("DELETE", "/invoices/8"),
            ("GET", "/invoices"),
            ("GET", "/other"),
        ] {
            assert_eq!(crm.request(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn s12_a_grant_lasts_a_year_at_the_most() {
        assert_eq!(Consent::default().faults(), []);
        for seconds in [0, GRANT_SECONDS_MAX + 1] {
            let grant_life = Span::from_seconds(seconds);
            let wrong = Consent { grant_life, ..Consent::default() }.faults();
            assert_eq!(wrong.first().map(|(key, _)| *key), Some("consent.grant_life"));
        }
    }

    #[test]
    fn s10_3_a_resource_has_one_identifier_in_tokens() {
        let mut ledger = resource(Protocol::Mcp, Vec::new());
        assert_eq!(ledger.audience("https://gateway.example"), "https://gateway.example/ledger");
        ledger.audience = Some("https://ledger.example".to_owned());
        assert_eq!(ledger.audience("https://gateway.example"), "https://ledger.example");
    }

    #[test]
    fn s12_a_resource_that_cannot_stand_is_told_by_key() {
        let check = |edit: &dyn Fn(&mut ResourcePolicy), expect: &[&str]| {
            let mut wrong = resource(Protocol::Mcp, vec![action(Some("a"), None, None)]);
            edit(&mut wrong);
            let keys: Vec<_> = wrong.faults().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, expect);
        };
        check(&|_| {}, &[]);
        for name in ["", "Ledger", "a/b", "..", &"a".repeat(64)] {
            check(&|wrong| name.clone_into(&mut wrong.name), &["name"]);
        }
        for audience in ["", "ledger", "https://a/#b", "https://u@a/", "spiffe://td/agent/a"] {
            check(&|wrong| wrong.audience = Some(audience.to_owned()), &["audience"]);
        }
        check(&|wrong| wrong.audience = Some("urn:example:ledger".to_owned()), &[]);
        for upstream in
            ["", "/mcp", "127.0.0.1:80", "ftp://a/", "http://u:p@a/", "http://a/?b", "http://a/#b"]
        {
            check(&|wrong| upstream.clone_into(&mut wrong.upstream), &["upstream"]);
        }
        check(&|wrong| wrong.subject = SubjectKind::Pairwise, &["subject"]);
        let opaque = |one: &mut ResourcePolicy| {
            (one.subject, one.token) = (SubjectKind::Pairwise, Format::Opaque);
        };
        check(&opaque, &[]);
        check(&|wrong| wrong.protocol = Protocol::Http, &["action"]);
        check(&|wrong| wrong.actions = vec![action(None, None, Some("/a"))], &["action"]);
        check(
            &|wrong| wrong.actions = vec![action(Some("a"), None, None); ACTIONS_MAX + 1],
            &["action"],
        );
        check(&|wrong| wrong.actions[0].scope = Scope::parse("write").ok(), &["scope"]);
    }
}
