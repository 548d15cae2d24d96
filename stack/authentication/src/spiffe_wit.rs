//! Client authentication with a WIT-SVID and a proof of its key (oauth-spiffe-client-auth §3.3,
//! with the header fields of draft-ietf-oauth-attestation-based-client-auth).

use jose::{Malformed, Refused, Unverified};
use oauth::client_attestation_pop::{self, Challenge, ClientAttestationPop, Expected, PopRefused};
use oauth::{ClientId, Issuer};
use time::{Span, UnixTime};
use wimse::{TrustAnchors, WIT_SVID_ALGORITHMS, WitError, WitPolicy, WorkloadId, verify_wit};

use crate::caller::{Caller, Method, Who};
use crate::once::Once;
use crate::proof::Proved;

/// What the token endpoint knows when it looks at the two fields.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The keys that sign WITs.
    pub anchors: &'a TrustAnchors,
    /// The issuer: what the proof must be for.
    pub issuer: &'a Issuer,
    /// Now.
    pub now: UnixTime,
    /// How far clocks may differ.
    pub skew: Span,
    /// How old a proof may be.
    pub max_age: Span,
}

/// Authenticates the client of `OAuth-Client-Attestation` and `OAuth-Client-Attestation-PoP`.
pub fn authenticate(
    wit: &str,
    pop: &str,
    client_id: Option<&ClientId>,
    facts: &Facts<'_>,
) -> Result<Proved, Refusal> {
    let client_id = client_id.ok_or(Refusal::NoClientId)?;
    let policy = WitPolicy {
        algorithms: WIT_SVID_ALGORITHMS,
        confirmation_algorithms: WIT_SVID_ALGORITHMS,
        issuers: None,
        skew: facts.skew,
    };
    let wit = verify_wit(wit, facts.anchors, policy, facts.now)?;
    let pop = Unverified::<ClientAttestationPop>::parse(pop)?;
    let algorithms = [wit.confirmation_algorithm()];
    let pop = pop.verify(wit.confirmation_key(), &algorithms, facts.now, facts.skew)?;
    let expected = Expected {
        audience: facts.issuer.as_str(),
        challenge: Challenge::None,
        max_age: facts.max_age,
    };
    let pop = client_attestation_pop::check(&pop, &expected, facts.now)?;
    let id = wit.workload_id().clone();
    if client_id.as_str() != id.as_str() {
        let client_id = client_id.as_str().to_owned();
        return Err(Refusal::OtherClient { client_id, id });
    }
    let key = wit.confirmation_key().thumbprint();
    let once = Once {
        space: format!("{} attestation pop", facts.issuer.as_str()),
        // Under the key: nobody uses up the jti of another.
        value: format!("{key}.{}", pop.jti().as_str()),
        until: pop.remember_until().plus(facts.skew),
    };
    let caller = Caller::new(Who::Workload(id), Method::SpiffeWit, wit.expires())
        .with_key(key)
        .with_epoch(wit.epoch());
    Ok(Proved { caller, once: Some(once) })
}

/// Why the two fields authenticate nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The WIT.
    #[error(transparent)]
    Wit(#[from] WitError),
    /// The proof does not read.
    #[error("the proof of possession: {0}")]
    PopMalformed(#[from] Malformed),
    /// The proof is not of the WIT's key, or not of now.
    #[error("the proof of possession: {0}")]
    PopRefused(#[from] Refused),
    /// The proof is for another server, or old.
    #[error("the proof of possession: {0}")]
    Pop(#[from] PopRefused),
    /// The parameter is missing.
    #[error("`client_id` is missing; with `spiffe_wit` it is required")]
    NoClientId,
    /// The parameter names another client.
    #[error("`client_id` is `{client_id}`, the workload identity token is that of `{id}`")]
    OtherClient {
        /// The parameter.
        client_id: String,
        /// The identity in the WIT.
        id: WorkloadId,
    },
}
