//! The server as a node or gateway reaches it: in this process, over a link that delays, loses and
//! repeats, and that knows its caller by the X.509-SVID that it shows, as the real one does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use authentication::spiffe_x509;
use credential::TokenText;
use env::rows::TrustRow;
use env::{
    AssignedCredential, Clock, Delegation, IssueOrder, PeerFault, Peers, RenewOrder, Renewed,
    Unavailable, World,
};
use flow::feed::Message;
use flow::token::{Call, End};
use jose::Jwk;
use oauth::client_assertion::PresentedClient;
use oauth::client_attestation_pop::{ATTESTATION_FIELD, POP_FIELD};
use oauth::form::Form;
use oauth::token_request::TokenRequest;
use provisioning::renewal::Trouble;
use time::{Span, UnixTime};
use wimse::WorkloadId;

use crate::faults::LinkRates;
use crate::rng::Rng;
use crate::sim::Sim;
use crate::world::SimWorld;

/// The certificates that a component shows the server, leaf first.
#[derive(Clone, Debug, Default)]
pub struct Shown(pub Vec<Vec<u8>>);

/// The way from one component to the server. A clone is the same.
#[derive(Clone)]
pub struct SimLink {
    sim: Sim,
    rng: Rng,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    server: Option<Arc<SimWorld>>,
    shown: Shown,
    proved: Option<Proved>,
    rates: LinkRates,
    is_cut: bool,
}

/// Whom the certificates that are shown were found to prove, by bundles of this version.
#[derive(Clone)]
struct Proved {
    id: WorkloadId,
    epoch: Option<u64>,
    until: UnixTime,
    trust_version: u64,
}

impl SimLink {
    /// A link to nowhere.
    pub fn new(sim: &Sim) -> Self {
        Self { sim: sim.clone(), rng: sim.rng().fork(), inner: Arc::default() }
    }

    /// Now it goes there: a server that started, or none.
    pub fn connect(&self, server: Option<Arc<SimWorld>>) {
        self.lock().server = server;
    }

    /// The component shows this from now on.
    pub fn show(&self, shown: Shown) {
        let mut inner = self.lock();
        (inner.shown, inner.proved) = (shown, None);
    }

    /// What it shows.
    pub fn shown(&self) -> Shown {
        self.lock().shown.clone()
    }

    /// From now on it fails so often.
    pub fn set_rates(&self, rates: LinkRates) {
        self.lock().rates = rates;
    }

    /// Nothing goes through, until it is mended.
    pub fn cut(&self, is_cut: bool) {
        self.lock().is_cut = is_cut;
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    /// The next message of the feed after `since`, or that it did not come.
    pub async fn feed(&self, since: u64) -> Result<Message, PeerFault> {
        self.way().await;
        let (server, caller, proved) = self.arrive(false).await?;
        let found = flow::feed::next(&*server, &caller, proved, env::Seq(since)).await?;
        let message = found.map_err(|why| refused("feed", &why))?;
        self.way().await;
        self.leave()?;
        Ok(message)
    }

    /// Whoever is at the other end, and who it takes us for. A question that gets lost does not
    /// come so far.
    async fn arrive(
        &self,
        may_get_lost: bool,
    ) -> Result<(Arc<SimWorld>, WorkloadId, Option<u64>), PeerFault> {
        let (server, shown, lost) = {
            let inner = self.lock();
            let lost = may_get_lost && self.rng.chance(inner.rates.lost_asking);
            (inner.server.clone(), inner.shown.clone(), lost || inner.is_cut)
        };
        let server = server.filter(|_| !lost).ok_or_else(no_answer)?;
        let trust = flow::facts::one::<_, TrustRow>(&*server, TrustRow::ID).await?;
        let trust = trust.ok_or_else(no_answer)?;
        let now = server.clock().now();
        let known = self.lock().proved.clone();
        let known = known.filter(|one| one.trust_version == trust.version && now < one.until);
        let proved = match known {
            Some(proved) => proved,
            None => {
                let purpose = x509::Purpose::Client;
                let svid = spiffe_x509::channel(&shown.0, &trust.bundles, purpose, now)
                    .map_err(|why| Unavailable::of("server", why))?;
                let id = svid.workload_id().clone();
                let (epoch, until) = (svid.epoch(), svid.not_after());
                let proved = Proved { id, epoch, until, trust_version: trust.version };
                self.lock().proved = Some(proved.clone());
                proved
            }
        };
        Ok((server, proved.id, proved.epoch))
    }

    fn leave(&self) -> Result<(), PeerFault> {
        let inner = self.lock();
        let lost = inner.is_cut || self.rng.chance(inner.rates.lost_answering);
        if lost { Err(no_answer()) } else { Ok(()) }
    }

    fn repeats(&self) -> bool {
        let repeated = self.lock().rates.repeated;
        self.rng.chance(repeated)
    }

    async fn way(&self) {
        let longest = self.lock().rates.delay_max.millis();
        if longest > 0 {
            self.sim.sleep(Span::from_millis(self.rng.below(longest))).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_answer() -> PeerFault {
    Unavailable::of("server", "no answer came").into()
}

fn refused(check: &str, why: &impl ToString) -> PeerFault {
    PeerFault::Refused { check: check.to_owned(), message: why.to_string() }
}

/// The door of a component to the server. That of the server itself leads nowhere.
#[derive(Clone)]
pub struct SimPeers(pub SimLink);

impl Peers for SimPeers {
    async fn issue(&self, order: IssueOrder) -> Result<AssignedCredential, PeerFault> {
        self.0.way().await;
        let (server, caller, proved) = self.0.arrive(true).await?;
        let issue = |order| flow::issue::issue(&*server, &caller, proved, order);
        let first = issue(order.clone()).await;
        if self.0.repeats() {
            issue(order).await.map(drop).unwrap_or_default();
        }
        self.0.way().await;
        self.0.leave()?;
        first?.into_value().map_err(|why| refused(why.check(), &why))
    }

    async fn renew(&self, order: RenewOrder) -> Result<Renewed, PeerFault> {
        self.0.way().await;
        let (server, caller, proved) = self.0.arrive(true).await?;
        let end = flow::renew::renew(&*server, &caller, proved, order).await;
        self.0.way().await;
        self.0.leave()?;
        end?.into_value().map_err(|why| refused(why.check(), &why))
    }

    async fn delegate(&self, public: Jwk) -> Result<Delegation, PeerFault> {
        self.0.way().await;
        let (server, caller, proved) = self.0.arrive(true).await?;
        let end = flow::delegate::delegate(&*server, &caller, proved, public).await;
        self.0.way().await;
        self.0.leave()?;
        end?.into_value().map_err(|why| refused(why.check(), &why))
    }

    async fn pending(&self, since: u64) -> Result<bool, PeerFault> {
        self.0.way().await;
        let (server, caller, proved) = self.0.arrive(true).await?;
        let end = flow::feed::pending(&*server, &caller, proved, env::Seq(since)).await;
        self.0.way().await;
        self.0.leave()?;
        end?.map_err(|why| refused("feed::NotInForce", &why))
    }

    async fn report(&self, _: Vec<Trouble>) -> Result<(), PeerFault> {
        self.0.way().await;
        self.0.arrive(true).await?;
        self.0.leave()
    }

    async fn token(
        &self,
        form: Vec<(String, String)>,
        headers: Vec<(&'static str, TokenText)>,
    ) -> Result<(u16, Vec<u8>), PeerFault> {
        self.0.way().await;
        let (server, caller, _) = self.0.arrive(true).await?;
        let call = call_of(&form, &headers, caller.to_string())
            .map_err(|why| PeerFault::Unavailable(Unavailable::of("server", why)))?;
        let first = flow::token::answer(&*server, call.clone()).await;
        if self.0.repeats() {
            flow::token::answer(&*server, call).await.map(drop).unwrap_or_default();
        }
        self.0.way().await;
        self.0.leave()?;
        Ok(wire_of(first?))
    }
}

/// A request to the token endpoint, read as the server's edge reads it.
fn call_of(
    form: &[(String, String)],
    headers: &[(&'static str, TokenText)],
    source: String,
) -> Result<Call, String> {
    let pairs = form.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    let body = pairs.collect::<Vec<_>>().join("&");
    let form = Form::parse(body.as_bytes()).map_err(|why| why.to_string())?;
    let field = |name: &str| {
        let found = headers.iter().filter(|(key, _)| *key == name);
        oauth::TokenText::of_field(found.map(|(_, value)| value.expose().as_bytes()))
    };
    Ok(Call {
        request: TokenRequest::parse(&form).map_err(|why| why.to_string())?,
        client: PresentedClient::parse(&form).map_err(|why| why.to_string())?,
        attestation: field(ATTESTATION_FIELD).ok().zip(field(POP_FIELD).ok().map(Some)),
        dpop: headers
            .iter()
            .filter(|(name, _)| *name == oauth::dpop::FIELD)
            .map(|(_, value)| value.expose().as_bytes().to_vec())
            .collect(),
        certificates: Vec::new(),
        source,
    })
}

/// Each byte as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The answer as it goes back: status and JSON. The error code is the name of the check.
fn wire_of(end: End) -> (u16, Vec<u8>) {
    let body = |value: serde_json::Value| value.to_string().into_bytes();
    let told = |check: &str, why: String| {
        body(serde_json::json!({ "error": check, "error_description": why }))
    };
    match end {
        End::Stranger(why) => (401, told(why.check(), why.to_string())),
        End::Unproved(why) => (400, told(why.check(), why.to_string())),
        End::Decided(recorded) => match recorded.into_value() {
            Ok(response) => (200, serde_json::to_vec(&response).unwrap_or_default()),
            Err(why) => (400, told(why.check(), why.to_string())),
        },
    }
}
