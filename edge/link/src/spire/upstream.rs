//! A server above ours, as its client: AIMS at its `spire_port`, or a SPIRE server (SPIRE 1.15,
//! `upstreamauthority/spire`; CRED-12).
//!
//! We are a workload of its trust domain, and show the X.509-SVID that its node or agent gives us.
//! A connection serves one order: the SVID may be another at the next.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use env::{
    Answering, Purpose, Superior, SuperiorAnswer, SuperiorFault, SuperiorKey, SuperiorOrder,
    SuperiorTrust, Unavailable,
};
use http::Uri;
use rustls::sign::CertifiedKey;
use spiffe::{BundleSet, SpiffeId};
use time::UnixTime;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::convert;
use super::wire::bundle::bundle_client::BundleClient;
use super::wire::bundle::{
    GetBundleRequest, PublishJwtAuthorityRequest, PublishWitAuthorityRequest,
};
use super::wire::svid::NewDownstreamX509caRequest;
use super::wire::svid::svid_client::SvidClient;
use super::wire::types;
use crate::client::Address;
use crate::connector::{ORIGIN, Sender, dial};
use crate::tls::ExpectedServer;

/// How long an order may take, the way to our own SVID included.
const ORDER_TIME_MAX: Duration = Duration::from_secs(20);
/// The largest answer, in bytes: a bundle.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What is away.
const PART: &str = "upstream authority";

/// What we are to the server above: our SVID with its key, and whom to believe.
#[derive(Clone, Debug)]
pub struct ShownAbove {
    /// The SVID and its key.
    pub own: Arc<CertifiedKey>,
    /// Whose it is.
    pub id: SpiffeId,
    /// The bundle of the trust domain that came with it.
    pub trust: BundleSet,
}

/// Tells our SVID of now, or why there is none.
pub type Source =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<ShownAbove, String>> + Send>> + Send + Sync>;

/// The server above.
pub struct Upstream {
    address: Address,
    server: SpiffeId,
    name: String,
    source: Source,
    clock: fn() -> UnixTime,
    /// It does not publish keys of WITs: older than they are.
    has_no_wits: AtomicBool,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.address)
    }
}

impl Upstream {
    /// The server at `address`, which must show exactly the identity `server`.
    pub fn new(
        address: Address,
        server: SpiffeId,
        source: Source,
        clock: fn() -> UnixTime,
    ) -> Self {
        let name = format!("the server at {address}");
        Self { address, server, name, source, clock, has_no_wits: AtomicBool::new(false) }
    }

    async fn dial(&self) -> Result<Sender, SuperiorFault> {
        let away = |why: String| Unavailable::of(PART, why);
        let shown = (self.source)().await.map_err(away)?;
        if shown.id.trust_domain() != self.server.trust_domain() {
            let (id, domain) = (shown.id, self.server.trust_domain());
            return Err(SuperiorFault::Refused(format!("our svid `{id}` is not of `{domain}`")));
        }
        let trust = Arc::new(wimse::Bundles::from(shown.trust));
        let id = wimse::WorkloadId::Spiffe(self.server.clone());
        let peer = ExpectedServer { id, trust, now: (self.clock)() };
        Ok(dial(&self.address, Some(shown.own), &peer).await.map_err(away)?.sender())
    }

    async fn svids(&self) -> Result<SvidClient<Sender>, SuperiorFault> {
        let client = SvidClient::with_origin(self.dial().await?, Uri::from_static(ORIGIN));
        Ok(client.max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    async fn bundles(&self) -> Result<BundleClient<Sender>, SuperiorFault> {
        let client = BundleClient::with_origin(self.dial().await?, Uri::from_static(ORIGIN));
        Ok(client.max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// One order, within its time.
    fn ordered<'a, T: 'a>(
        order: impl Future<Output = Result<T, SuperiorFault>> + Send + 'a,
    ) -> Answering<'a, T> {
        Box::pin(async move {
            let late = |_| Unavailable::of(PART, "it took too long");
            timeout(ORDER_TIME_MAX, order).await.map_err(late)?
        })
    }
}

/// What the server said no by: what may change by itself is an outage.
fn fault(status: &Status) -> SuperiorFault {
    let message = status.message();
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
            Unavailable::of(PART, message).into()
        }
        code => SuperiorFault::Refused(format!("{}: {message}", code.description())),
    }
}

fn trust(bundle: types::Bundle) -> SuperiorTrust {
    let mut trust = SuperiorTrust::default();
    for root in bundle.x509_authorities {
        if root.tainted {
            trust.tainted.push(root.asn1.clone());
        }
        trust.roots.push(root.asn1);
    }
    let jwt = bundle.jwt_authorities.into_iter();
    trust.keys.extend(
        jwt.map(|key| convert::key(Purpose::JwtSvid, (key.key_id, key.public_key, key.expires_at))),
    );
    let wit = bundle.wit_authorities.into_iter();
    trust.keys.extend(
        wit.map(|key| convert::key(Purpose::Wit, (key.key_id, key.public_key, key.expires_at))),
    );
    trust
}

impl Superior for Upstream {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_server(&self) -> bool {
        true
    }

    fn certify(&self, order: SuperiorOrder) -> Answering<'_, SuperiorAnswer> {
        Self::ordered(async move {
            let wanted = order.until.since(order.now).seconds();
            let asked = NewDownstreamX509caRequest {
                csr: order.request,
                preferred_ttl: i32::try_from(wanted).unwrap_or(i32::MAX),
            };
            let answer = self.svids().await?.new_downstream_x509ca(asked).await;
            let answer = answer.map_err(|status| fault(&status))?.into_inner();
            Ok(SuperiorAnswer { chain: answer.ca_cert_chain, roots: answer.x509_authorities })
        })
    }

    fn trust(&self) -> Answering<'_, SuperiorTrust> {
        Self::ordered(async move {
            let answer = self.bundles().await?.get_bundle(GetBundleRequest::default()).await;
            let bundle = answer.map_err(|status| fault(&status))?.into_inner();
            let domain = self.server.trust_domain();
            if bundle.trust_domain.trim_start_matches("spiffe://") != domain.as_str() {
                let found = bundle.trust_domain;
                let why = format!("its bundle is of `{found}`, not of `{domain}`");
                return Err(SuperiorFault::Refused(why));
            }
            Ok(trust(bundle))
        })
    }

    fn announce(&self, key: SuperiorKey) -> Answering<'_, ()> {
        Self::ordered(async move {
            let expires_at = key.until.map_or(0, convert::seconds);
            let (public_key, key_id, tainted) = (key.spki_der, key.kid, false);
            let told = if key.purpose == Purpose::Wit {
                if self.has_no_wits.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let wit = types::WitKey { public_key, key_id, expires_at, tainted };
                let asked = PublishWitAuthorityRequest { wit_authority: Some(wit) };
                self.bundles().await?.publish_wit_authority(asked).await.map(|_| ())
            } else {
                let jwt = types::JwtKey { public_key, key_id, expires_at, tainted };
                let asked = PublishJwtAuthorityRequest { jwt_authority: Some(jwt) };
                self.bundles().await?.publish_jwt_authority(asked).await.map(|_| ())
            };
            match told {
                Err(status)
                    if status.code() == Code::Unimplemented && key.purpose == Purpose::Wit =>
                {
                    self.has_no_wits.store(true, Ordering::Relaxed);
                    Ok(())
                }
                told => told.map_err(|status| fault(&status)),
            }
        })
    }
}
