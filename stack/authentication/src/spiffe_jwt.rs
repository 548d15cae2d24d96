//! Client authentication with a JWT-SVID (oauth-spiffe-client-auth §3.1): a bearer credential, so
//! it lives minutes and names us alone.

use oauth::{ClientId, Issuer};
use spiffe::{BundleSet, JwtSvidError, verify_jwt_svid};
use time::{Span, UnixTime};
use wimse::WorkloadId;

use crate::caller::{Caller, Method, Who};

/// Authenticates the client of a `client_assertion` of the type `jwt-spiffe`.
pub fn authenticate(
    assertion: &str,
    client_id: Option<&ClientId>,
    issuer: &Issuer,
    bundles: &BundleSet,
    now: UnixTime,
    skew: Span,
) -> Result<Caller, Refusal> {
    let client_id = client_id.ok_or(Refusal::NoClientId)?;
    let svid = verify_jwt_svid(assertion, bundles, &[issuer.as_str()], now, skew)?;
    // oauth-spiffe-client-auth §3.1: "aud" has the issuer identifier as its sole value: a token for
    // several audiences could be passed on by one of them.
    if svid.claims().aud.sole() != Some(issuer.as_str()) {
        return Err(Refusal::SeveralAudiences);
    }
    let id = WorkloadId::Spiffe(svid.spiffe_id().clone());
    if client_id.as_str() != id.as_str() {
        let client_id = client_id.as_str().to_owned();
        return Err(Refusal::OtherClient { client_id, id });
    }
    let caller = Caller::new(Who::Workload(id), Method::SpiffeJwt, svid.expires());
    Ok(caller.with_epoch(svid.epoch()))
}

/// Why the assertion authenticates nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token.
    #[error(transparent)]
    Svid(#[from] JwtSvidError),
    /// More audiences than us.
    #[error("a jwt-svid for client authentication has the issuer as its sole `aud`")]
    SeveralAudiences,
    /// The parameter is missing.
    #[error("`client_id` is missing; with `spiffe_jwt` it is required")]
    NoClientId,
    /// The parameter names another client.
    #[error("`client_id` is `{client_id}`, the token is that of `{id}`")]
    OtherClient {
        /// The parameter.
        client_id: String,
        /// The identity in the token.
        id: WorkloadId,
    },
}
