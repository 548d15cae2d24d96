//! What the decision point says of itself (AuthZEN §9).

use authzen::{ACCESS_REQUEST, EVALUATION_PATH, EVALUATIONS_PATH, Metadata};
use env::World;

/// Where access is asked for that was denied, below the issuer.
pub const REQUESTS_PATH: &str = "/access/v1/requests";

/// The document. The identifier of the decision point is the issuer.
pub fn metadata<W: World>(world: &W) -> Metadata {
    let issuer = &world.site().issuer;
    let at = |path: &str| format!("{issuer}{path}");
    Metadata {
        policy_decision_point: issuer.clone(),
        access_evaluation_endpoint: at(EVALUATION_PATH),
        access_evaluations_endpoint: Some(at(EVALUATIONS_PATH)),
        access_request_endpoint: Some(at(REQUESTS_PATH)),
        capabilities: vec![ACCESS_REQUEST.to_owned()],
    }
}
