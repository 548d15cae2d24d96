//! Every path of both listeners, in one table each: the routers are built from them, and the
//! OpenAPI document is compared with them.

use crate::verify;

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Route<E> {
    /// The method.
    pub(crate) method: &'static str,
    /// The path; `{name}` is one segment, `{*name}` all that follow.
    pub(crate) path: &'static str,
    /// What answers.
    pub(crate) endpoint: E,
    /// Whether pages of any origin may call it, always without credentials.
    pub(crate) cors: bool,
    /// Whether it is ours alone, and so in the OpenAPI document: what a specification describes is
    /// not described again.
    pub(crate) own: bool,
}

/// What the HTTPS origins answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Public {
    Token,
    Push,
    Challenge,
    Introspect,
    Revoke,
    Userinfo,
    RegisterClient,
    ManageClient,
    Device,
    Backchannel,
    Transaction,
    EnrolSession,
    Enrol,
    EnrolRenew,
    VerifierOpen,
    VerifierSubmit,
    VerifierShow,
    VerifierDelete,
    VerifierDiscovery,
    VerifierKeys,
    UpstreamLogout,
    Metadata,
    Jwks,
    TxnTokenKeys,
    StatusList,
    OidcDiscovery,
    OidcKeys,
    Identifier,
    Bundle,
    Tile,
    Ready,
    Metrics,
}

const fn public(
    method: &'static str,
    path: &'static str,
    endpoint: Public,
    (cors, own): (bool, bool),
) -> Route<Public> {
    Route { method, path, endpoint, cors, own }
}

/// Open to pages of any origin, and its opposite.
const CORS: bool = true;
const NO_CORS: bool = false;
/// Ours alone, and its opposite.
const OWN: bool = true;
const STANDARD: bool = false;

/// The HTTPS origins. OAuth 2.1 -16 §3.2: browser-based clients need CORS at the token endpoint and
/// at what they discover; nobody needs it with credentials.
pub(crate) const PUBLIC: &[Route<Public>] = &[
    public("POST", "/token", Public::Token, (CORS, STANDARD)),
    // RFC 9126: clients in browsers push, too.
    public("POST", "/par", Public::Push, (CORS, STANDARD)),
    // draft-ietf-oauth-attestation-based-client-auth §6.1.
    public("POST", "/challenge", Public::Challenge, (CORS, STANDARD)),
    // RFC 7662: for resource servers, which are no pages.
    public("POST", "/introspect", Public::Introspect, (NO_CORS, STANDARD)),
    public("POST", "/revoke", Public::Revoke, (CORS, STANDARD)),
    // OpenID Connect Core 1.0 §5.3: "The UserInfo Endpoint SHOULD support the use of Cross-Origin
    // Resource Sharing".
    public("GET", "/userinfo", Public::Userinfo, (CORS, STANDARD)),
    public("POST", "/userinfo", Public::Userinfo, (NO_CORS, STANDARD)),
    public("POST", "/register", Public::RegisterClient, (CORS, STANDARD)),
    public("GET", "/register/{id}", Public::ManageClient, (NO_CORS, STANDARD)),
    public("PUT", "/register/{id}", Public::ManageClient, (NO_CORS, STANDARD)),
    public("DELETE", "/register/{id}", Public::ManageClient, (NO_CORS, STANDARD)),
    // RFC 8628 §3.1, CIBA Core 1.0 §7, draft-rosomakho-oauth-txn-challenge §5.1.
    public("POST", "/device_authorization", Public::Device, (CORS, STANDARD)),
    public("POST", "/bc-authorize", Public::Backchannel, (NO_CORS, STANDARD)),
    public("POST", "/transaction-authorization", Public::Transaction, (CORS, STANDARD)),
    public("POST", "/enrol/session", Public::EnrolSession, (NO_CORS, OWN)),
    public("POST", "/enrol", Public::Enrol, (NO_CORS, OWN)),
    public("POST", ::enrol::renew::PATH, Public::EnrolRenew, (NO_CORS, OWN)),
    // Veraison's challenge-response API, which is described elsewhere.
    public("POST", verify::NEW_SESSION, Public::VerifierOpen, (NO_CORS, STANDARD)),
    public("POST", VERIFIER_SESSION, Public::VerifierSubmit, (NO_CORS, STANDARD)),
    public("GET", VERIFIER_SESSION, Public::VerifierShow, (NO_CORS, STANDARD)),
    public("DELETE", VERIFIER_SESSION, Public::VerifierDelete, (NO_CORS, STANDARD)),
    public("GET", VERIFIER_DOCUMENT, Public::VerifierDiscovery, (CORS, STANDARD)),
    public("GET", verify::KEYS, Public::VerifierKeys, (CORS, STANDARD)),
    // OpenID Connect Back-Channel Logout 1.0 §2.2: `backchannel_logout_uri`, ours at a provider.
    public("POST", "/sign-in/upstream/{name}/logout", Public::UpstreamLogout, (NO_CORS, STANDARD)),
    public("GET", "/.well-known/oauth-authorization-server", Public::Metadata, (CORS, STANDARD)),
    public("GET", "/jwks", Public::Jwks, (CORS, STANDARD)),
    public("GET", "/txn-token/jwks", Public::TxnTokenKeys, (CORS, OWN)),
    // draft-ietf-oauth-status-list-20 §8.1.
    public("GET", "/status/{list}", Public::StatusList, (CORS, STANDARD)),
    // OpenID Connect Discovery 1.0 §4.1, also below the path of an issuer, and where RFC 8414 §5
    // has it; its `jwks_uri` is ours to choose.
    public("GET", "/.well-known/openid-configuration", Public::OidcDiscovery, (CORS, STANDARD)),
    public("GET", OPENID_BELOW, Public::OidcDiscovery, (CORS, STANDARD)),
    public("GET", OPENID_INSERTED, Public::OidcDiscovery, (CORS, STANDARD)),
    public("GET", "/keys", Public::OidcKeys, (CORS, OWN)),
    public("GET", "/{below}/keys", Public::OidcKeys, (CORS, STANDARD)),
    public("GET", "/identifier", Public::Identifier, (NO_CORS, OWN)),
    public("GET", "/bundle", Public::Bundle, (CORS, OWN)),
    public("GET", "/log/{log}/checkpoint", Public::Tile, (CORS, OWN)),
    public("GET", "/log/{log}/tile/{*path}", Public::Tile, (CORS, OWN)),
    public("GET", "/ready", Public::Ready, (NO_CORS, OWN)),
    public("GET", "/metrics", Public::Metrics, (NO_CORS, OWN)),
];

const OPENID_BELOW: &str = "/{below}/.well-known/openid-configuration";
const OPENID_INSERTED: &str = "/.well-known/openid-configuration/{below}";
const VERIFIER_SESSION: &str = "/challenge-response/v1/session/{id}";
const VERIFIER_DOCUMENT: &str = "/.well-known/veraison/verification";

/// What the operators' socket answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    CreateJoinToken,
    RegisterAgent,
    ListAgents,
    ShowAgent,
    MoveAgent,
    ShowEvidence,
    ChangeEvidence,
    RegisterClient,
    ListClients,
    ShowClient,
    DisableClient,
    EnableClient,
    InviteClient,
    AddUser,
    ListUsers,
    ShowUser,
    MoveUser,
    ChangeUser,
    GiveLink,
    GiveCode,
    AskCode,
    EndSessions,
    ListSessions,
    EndSession,
    ListApprovals,
    ShowApproval,
    AnswerApproval,
    AddRelation,
    ListRelations,
    ShowRelation,
    MoveRelation,
    PlanPolicy,
    ApplyPolicy,
    PolicyHistory,
    CurrentPolicy,
    ListNodes,
    ShowNode,
    MoveNode,
    ListKeys,
    RotateKey,
    ActOnKey,
    TailAudit,
    ShowRecord,
    FindRecords,
    Trace,
    Prove,
    ExportAudit,
    Status,
}

const fn order(method: &'static str, path: &'static str, endpoint: Order) -> Route<Order> {
    Route { method, path, endpoint, cors: NO_CORS, own: OWN }
}

/// The operators' socket.
pub(crate) const ORDERS: &[Route<Order>] = &[
    order("POST", "/v1/join-tokens", Order::CreateJoinToken),
    order("POST", "/v1/agents", Order::RegisterAgent),
    order("GET", "/v1/agents", Order::ListAgents),
    order("GET", "/v1/agents/{name}", Order::ShowAgent),
    order("POST", "/v1/agents/{name}/{act}", Order::MoveAgent),
    order("GET", "/v1/evidence/{name}", Order::ShowEvidence),
    order("POST", "/v1/evidence/{name}/{kind}", Order::ChangeEvidence),
    order("POST", "/v1/clients", Order::RegisterClient),
    order("GET", "/v1/clients", Order::ListClients),
    order("GET", "/v1/clients/{id}", Order::ShowClient),
    order("POST", "/v1/clients/{id}/disable", Order::DisableClient),
    order("POST", "/v1/clients/{id}/enable", Order::EnableClient),
    order("POST", "/v1/client-tokens", Order::InviteClient),
    order("POST", "/v1/users", Order::AddUser),
    order("GET", "/v1/users", Order::ListUsers),
    order("GET", "/v1/users/{name}", Order::ShowUser),
    order("POST", "/v1/users/{name}/{act}", Order::MoveUser),
    order("POST", "/v1/users/{name}/change", Order::ChangeUser),
    order("POST", "/v1/users/{name}/link", Order::GiveLink),
    order("POST", "/v1/users/{name}/code", Order::GiveCode),
    order("POST", "/v1/users/{name}/ask-code", Order::AskCode),
    order("POST", "/v1/users/{name}/sign-out", Order::EndSessions),
    order("GET", "/v1/sessions", Order::ListSessions),
    order("POST", "/v1/sessions/{id}/end", Order::EndSession),
    order("GET", "/v1/approvals", Order::ListApprovals),
    order("GET", "/v1/approvals/{id}", Order::ShowApproval),
    order("POST", "/v1/approvals/{id}/{act}", Order::AnswerApproval),
    order("POST", "/v1/federation", Order::AddRelation),
    order("GET", "/v1/federation", Order::ListRelations),
    order("GET", "/v1/federation/{domain}", Order::ShowRelation),
    order("POST", "/v1/federation/{domain}/{act}", Order::MoveRelation),
    order("POST", "/v1/policy/plan", Order::PlanPolicy),
    order("POST", "/v1/policy/apply", Order::ApplyPolicy),
    order("GET", "/v1/policy/history", Order::PolicyHistory),
    order("GET", "/v1/policy/current", Order::CurrentPolicy),
    order("GET", "/v1/nodes", Order::ListNodes),
    order("GET", "/v1/nodes/{id}", Order::ShowNode),
    order("POST", "/v1/nodes/{id}/{act}", Order::MoveNode),
    order("GET", "/v1/keys", Order::ListKeys),
    order("POST", "/v1/authorities/{purpose}/rotate", Order::RotateKey),
    order("POST", "/v1/keys/{kid}/{act}", Order::ActOnKey),
    order("GET", "/v1/audit/tail", Order::TailAudit),
    order("GET", "/v1/audit/records/{id}", Order::ShowRecord),
    order("GET", "/v1/audit/find", Order::FindRecords),
    order("GET", "/v1/audit/trace/{root}", Order::Trace),
    order("GET", "/v1/audit/proof/{log}/{index}", Order::Prove),
    order("GET", "/v1/audit/export", Order::ExportAudit),
    order("GET", "/v1/status", Order::Status),
];

/// A path of a listener, for the reference documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is at the operators' socket; otherwise at the HTTPS origins.
    pub is_operators: bool,
    /// The method.
    pub method: &'static str,
    /// The path; `{name}` is one segment, `{*name}` all that follow.
    pub path: &'static str,
    /// Whether it is ours alone; otherwise a specification describes it.
    pub is_own: bool,
}

/// Every path of every listener.
pub fn endpoints() -> Vec<Endpoint> {
    let public = PUBLIC.iter().map(|route| Endpoint {
        is_operators: false,
        method: route.method,
        path: route.path,
        is_own: route.own,
    });
    let orders = ORDERS.iter().map(|route| Endpoint {
        is_operators: true,
        method: route.method,
        path: route.path,
        is_own: route.own,
    });
    public.chain(orders).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The document is kept by hand; what it says is what there is.
    #[test]
    fn the_openapi_document_has_exactly_our_own_endpoints() {
        let text = include_str!("../../../docs/openapi.json");
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" || method == "servers" {
                    continue;
                }
                assert!(operation["operationId"].is_string(), "{method} {path}");
                assert!(operation["responses"].is_object(), "{method} {path}");
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let own = endpoints().into_iter().filter(|endpoint| endpoint.is_own);
        let declared: BTreeSet<String> =
            own.map(|one| format!("{} {}", one.method, one.path.replace("{*", "{"))).collect();
        assert_eq!(described, declared);
        for (path, item) in document["paths"].as_object().unwrap() {
            for segment in path.split('/').filter_map(|segment| segment.strip_prefix('{')) {
                let name = segment.trim_end_matches('}');
                let parameters = item["parameters"].as_array();
                let has = |one: &serde_json::Value| one["name"] == name && one["in"] == "path";
                assert!(parameters.is_some_and(|all| all.iter().any(has)), "{path}: {name}");
            }
        }
    }
}
