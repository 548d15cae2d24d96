//! What a decision point says of itself (§9).

use serde::Serialize;

/// The name that is inserted between host and path of its identifier (§9.2).
pub const WELL_KNOWN: &str = "/.well-known/authzen-configuration";
/// Where questions go, below its identifier (§10.1, "API Endpoint Overview").
pub const EVALUATION_PATH: &str = "/access/v1/evaluation";
/// Where several of them go.
pub const EVALUATIONS_PATH: &str = "/access/v1/evaluations";
/// Access Request and Approval Profile, Discovery: "A PDP supporting this profile SHOULD include
/// the following capability URN in the `capabilities` array".
pub const ACCESS_REQUEST: &str = "urn:openid:authzen:capability:access-request";

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// §9.1.1: "a URL that uses the "https" scheme and has no query or fragment components".
    pub policy_decision_point: String,
    pub access_evaluation_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_evaluations_endpoint: Option<String>,
    /// Of the Access Request and Approval Profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_request_endpoint: Option<String>,
    // §9.2.2: "Parameters that have no values MUST be omitted from the response."
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// Where the document of the decision point `identifier` is, as a path on its host.
pub fn well_known(identifier: &str) -> String {
    // §9.2: "formed by inserting a well-known URI string between the host component and the path
    // and/or query components, if any".
    format!("{WELL_KNOWN}{}", path_of(identifier))
}

/// The path of an URL without query and fragment; empty where it has none.
pub fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default();
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-24 (part)
    #[test]
    fn authzen_9_2_the_name_is_inserted_before_the_path() {
        for (identifier, expect) in [
            ("https://pdp.example.com", "/.well-known/authzen-configuration"),
            ("https://pdp.example.com/", "/.well-known/authzen-configuration"),
            ("https://pdp.example.com:8443", "/.well-known/authzen-configuration"),
            ("https://pdp.example.com/tenant1", "/.well-known/authzen-configuration/tenant1"),
            ("https://pdp.example.com/a/b", "/.well-known/authzen-configuration/a/b"),
        ] {
            assert_eq!(well_known(identifier), expect);
        }
    }
}
