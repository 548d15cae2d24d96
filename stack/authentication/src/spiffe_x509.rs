//! Client authentication with an X.509-SVID over mutual TLS (oauth-spiffe-client-auth §3.2; S1
//! §9.1; AUTHN-01). TLS proved that the peer has the leaf's key; whose it is, is decided here.

use oauth::ClientId;
use spiffe::{BundleSet, SvidError, VerifiedX509Svid, X509Svid};
use time::UnixTime;
use wimse::WorkloadId;
use x509::{Certificate, Malformed, Purpose};

use crate::caller::{Caller, Method, Who};

/// The identity of a channel: the chain that the peer showed, checked to the bundle of exactly the
/// trust domain that its leaf names.
pub fn channel(
    chain: &[Vec<u8>],
    bundles: &BundleSet,
    purpose: Purpose,
    now: UnixTime,
) -> Result<VerifiedX509Svid, Refusal> {
    let chain = chain.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
    X509Svid::verify(&chain, bundles, purpose, now).map_err(Refusal::Svid)
}

/// Authenticates the client by its channel. oauth-spiffe-client-auth §3.2: the authorization server
/// does not use the system trust store for SVIDs, and `client_id` is in the body.
pub fn authenticate(
    chain: &[Vec<u8>],
    client_id: Option<&ClientId>,
    bundles: &BundleSet,
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
pub fn of_channel(
    chain: &[Vec<u8>],
    bundles: &BundleSet,
    now: UnixTime,
) -> Result<Caller, Refusal> {
    let svid = channel(chain, bundles, Purpose::Client, now)?;
    let id = WorkloadId::Spiffe(svid.spiffe_id().clone());
    let caller = Caller::new(Who::Workload(id.clone()), Method::SpiffeX509, svid.not_after());
    let caller = match jose::PublicKey::from_spki_der(svid.spki_der()) {
        Ok(key) => caller.with_key(key.thumbprint()),
        Err(_) => caller,
    };
    Ok(caller.with_epoch(svid.epoch()).on_channel_of(Some(id)))
}

/// Why a channel authenticates nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A certificate does not read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The chain is no SVID of a trust domain we know.
    #[error(transparent)]
    Svid(SvidError),
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
