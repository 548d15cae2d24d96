//! Client authentication with an X.509-SVID, or another workload identity certificate, over mutual
//! TLS (oauth-spiffe-client-auth §3.2; wimse-mutual-tls §3; S1 §9.1; AUTHN-01). TLS proved that the
//! peer has the leaf's key; whose it is, is decided here.

use oauth::ClientId;
use time::UnixTime;
use wimse::{Bundles, VerifiedWic, Wic, WicError, WorkloadId};
use x509::{Certificate, Malformed, Purpose};

use crate::caller::{Caller, Method, Who};

/// The identity of a channel: the chain that the peer showed, checked to the bundle of exactly the
/// origin that its leaf names: the trust domain, under the scheme.
pub fn channel(
    chain: &[Vec<u8>],
    bundles: &Bundles,
    purpose: Purpose,
    now: UnixTime,
) -> Result<VerifiedWic, Refusal> {
    let chain = chain.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
    Wic::verify(&chain, bundles, purpose, now).map_err(Refusal::Certificate)
}

/// Authenticates the client by its channel. oauth-spiffe-client-auth §3.2: the authorization server
/// does not use the system trust store for SVIDs, and `client_id` is in the body.
pub fn authenticate(
    chain: &[Vec<u8>],
    client_id: Option<&ClientId>,
    bundles: &Bundles,
    now: UnixTime,
) -> Result<Caller, Refusal> {
    let client_id = client_id.ok_or(Refusal::NoClientId)?;
    let caller = of_channel(chain, bundles, now)?;
    match caller.who() {
        Who::Workload(id) if client_id.as_str() != id.as_str() => {
            let client_id = client_id.as_str().to_owned();
            Err(Refusal::OtherClient { client_id, id: id.clone() })
        }
        _ => Ok(caller),
    }
}

/// The client of the channel, where nothing else has to name it.
pub fn of_channel(chain: &[Vec<u8>], bundles: &Bundles, now: UnixTime) -> Result<Caller, Refusal> {
    let wic = channel(chain, bundles, Purpose::Client, now)?;
    let id = wic.workload_id().clone();
    let caller = Caller::new(Who::Workload(id.clone()), Method::SpiffeX509, wic.not_after());
    let caller = match jose::PublicKey::from_spki_der(wic.spki_der()) {
        Ok(key) => caller.with_key(key.thumbprint()),
        Err(_) => caller,
    };
    Ok(caller.with_epoch(wic.epoch()).on_channel_of(Some(id)))
}

/// Why a channel authenticates nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A certificate does not read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The chain is that of no workload of an origin we know.
    #[error(transparent)]
    Certificate(WicError),
    /// The parameter is missing.
    #[error("`client_id` is missing; with `spiffe_x509` it is required")]
    NoClientId,
    /// The parameter names another client.
    #[error("`client_id` is `{client_id}`, the certificate is that of `{id}`")]
    OtherClient {
        /// The parameter.
        client_id: String,
        /// The identity in the certificate.
        id: WorkloadId,
    },
}
