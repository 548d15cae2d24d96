//! The Workload API of a node: flows answer, the kernel says who asks, the store says when to look
//! again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use attestors::{Attestors, MeasureError, Peer};
use env::{Clock, Peers, Unavailable, World};
use flow::facts::basis;
use flow::workload::{self as flows, Asker, Attested, Broker, Look, Refusal, Unmeasured};
use spiffe::{BundleSet, SpiffeId, verify_jwt_svid};
use time::{Span, UnixTime};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use workload::{
    Attest, Bundles, Denied, JwtAnswer, SecretBytes, SecretText, Validated, WitAnswer, WitSvid,
    Workloads, X509Answer, X509Bundles, X509Svid,
};

/// Answers that wait in one stream: a new one is made only when the one before was taken.
const WAITING_MAX: usize = 1;
/// The longest time between two looks at a stream, whatever happens: so long a lost feed may go
/// unnoticed by it.
const LOOK_AGAIN: Span = Span::from_seconds(5);
/// How long a process without a record waits for one that may be on its way to this node: its
/// refusal would be final for most clients. Where the server has nothing that was not told, nobody
/// waits.
pub(crate) const RECORD_ON_ITS_WAY: Duration = Duration::from_secs(2);
/// How long the server may take to say whether it has.
const PENDING_TIME_MAX: Duration = Duration::from_millis(500);

/// Tells processes by their pidfd.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByPidfd;

impl Attest for ByPidfd {
    type Peer = Peer;

    fn identify(&self, stream: &UnixStream) -> Result<Peer, String> {
        Peer::of(stream).map_err(|error| error.to_string())
    }

    fn process(&self, peer: &Peer) -> i32 {
        peer.pid()
    }

    fn exited(&self, peer: &Peer) -> impl Future<Output = ()> + Send + 'static {
        let exited = peer.exited();
        async move {
            // An error means that it can no longer be found out, which ends the stream as well.
            let _ = exited.await;
        }
    }
}

/// Whether the server has something that was not told after `seq`. One that does not answer sends
/// nothing either.
pub(crate) async fn is_pending<W: World>(world: &W, seq: u64) -> bool {
    let asked = tokio::time::timeout(PENDING_TIME_MAX, world.peers().pending(seq)).await;
    matches!(asked, Ok(Ok(true)))
}

/// What could not be measured, and where that is recorded.
#[derive(Debug)]
pub struct NotMeasured {
    /// Why.
    pub error: MeasureError,
    /// The record.
    pub id: Option<monitoring::RecordId>,
}

/// Measures a process; that it cannot be measured is recorded.
pub async fn measure<W: World>(
    world: &W,
    peer: &Peer,
    attestors: &Attestors,
) -> Result<Result<attestation::unix::Process, NotMeasured>, Unavailable> {
    let error = match attestors.measure(peer).await {
        Ok(process) => return Ok(Ok(process)),
        Err(error) => error,
    };
    tracing::warn!(%error, pid = peer.pid(), "a process was not measured");
    let (pid, uid, check, why) = (peer.pid(), peer.uid(), error.check(), error.to_string());
    let recorded = flows::unmeasured(world, Unmeasured { pid, uid, check, why }).await?;
    Ok(Err(NotMeasured { error, id: recorded.audit_id() }))
}

/// What processes on this node get, or a broker for them.
pub struct Identities<W> {
    world: Arc<W>,
    attestors: Arc<Attestors>,
    broker: Option<Arc<Broker>>,
}

impl<W> Clone for Identities<W> {
    fn clone(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            attestors: Arc::clone(&self.attestors),
            broker: self.broker.clone(),
        }
    }
}

impl<W: World> Identities<W> {
    /// The identities of this world's agents.
    pub fn new(world: Arc<W>, attestors: Arc<Attestors>) -> Self {
        Self { world, attestors, broker: None }
    }

    /// The same, asked for by a broker.
    pub fn for_broker(world: Arc<W>, attestors: Arc<Attestors>, broker: Broker) -> Self {
        Self { world, attestors, broker: Some(Arc::new(broker)) }
    }

    fn asker(&self) -> Asker<'_> {
        match &self.broker {
            None => Asker::Itself { wants_keys: true },
            Some(broker) => Asker::Broker(broker),
        }
    }

    async fn measured(&self, peer: &Peer) -> Result<attestation::unix::Process, Denied> {
        let measured = measure(self.world.as_ref(), peer, &self.attestors).await;
        measured.map_err(unavailable)?.map_err(|not| unmeasured(&not))
    }

    /// Measures and attests, for a process that wants keys.
    async fn attested(&self, peer: &Peer) -> Result<Attested, Denied> {
        let process = self.measured(peer).await?;
        let world = self.world.as_ref();
        let until = tokio::time::Instant::now() + RECORD_ON_ITS_WAY;
        let end = loop {
            // Read before the look: what is told meanwhile is news.
            let told = flow::feed::told(world).await.map_err(unavailable)?;
            let heard = flow::feed::heard(world).await.map_err(unavailable)?;
            let known = flows::attest_if_known(world, &process, self.asker()).await;
            if let Some(end) = known.map_err(unavailable)? {
                break end;
            }
            let news = flow::feed::news(world, told);
            if !is_pending(world, heard.map_or(0, |feed| feed.seq)).await
                || tokio::time::timeout_at(until, news).await.is_err()
            {
                break flows::attest_for(world, process, self.asker())
                    .await
                    .map_err(unavailable)?;
            }
        };
        let id = end.audit_id();
        end.into_value().map_err(|refusal| denied(&refusal, id))
    }

    /// The same, for a stream that goes on: `last` is what it was known as so far.
    async fn still(&self, peer: &Peer, last: &Attested) -> Result<Attested, Denied> {
        let process = self.measured(peer).await?;
        let look = flows::look_again(self.world.as_ref(), process, self.asker(), last).await;
        match look.map_err(unavailable)? {
            Look::Same(attested) => Ok(attested),
            Look::New(end) => {
                let id = end.audit_id();
                end.into_value().map_err(|refusal| denied(&refusal, id))
            }
        }
    }

    /// A stream of answers to a process: made anew when the feed tells something or `renew` comes,
    /// sent when they differ, ended when identity is withdrawn.
    fn follow<T, F>(
        &self,
        peer: Peer,
        make: impl Fn(Self, Attested) -> F + Send + Sync + 'static,
    ) -> impl Stream<Item = Result<T, Denied>> + Send + 'static
    where
        T: Send + 'static,
        F: Future<Output = Result<(T, Vec<u8>, UnixTime), Denied>> + Send,
    {
        let (send, answers) = mpsc::channel(WAITING_MAX);
        let (this, reader) = (self.clone(), send.clone());
        let looking = async move {
            let (mut known, mut sent) = (None::<Attested>, None::<Vec<u8>>);
            loop {
                let told = flow::feed::told(this.world.as_ref()).await;
                let attested = match &known {
                    None => this.attested(&peer).await,
                    Some(last) => this.still(&peer, last).await,
                };
                let made = match attested {
                    Ok(attested) => {
                        known = Some(attested.clone());
                        make(this.clone(), attested).await
                    }
                    Err(denied) => Err(denied),
                };
                match made {
                    Ok((answer, mark, renew)) => {
                        if sent.as_ref() != Some(&mark) {
                            sent = Some(mark);
                            if send.send(Ok(answer)).await.is_err() {
                                return;
                            }
                        }
                        this.wait(told, renew).await;
                    }
                    Err(denied) => {
                        let _ = send.send(Err(denied)).await;
                        return;
                    }
                }
            }
        };
        tokio::spawn(while_read(reader, looking));
        ReceiverStream::new(answers)
    }

    async fn wait(&self, told: Result<u64, Unavailable>, renew: UnixTime) {
        let now = self.world.clock().now();
        let span = renew.since(now).min(LOOK_AGAIN).max(Span::from_millis(50));
        let news = async {
            match told {
                Ok(told) if flow::feed::news(self.world.as_ref(), told).await.is_ok() => {}
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = news => {}
            () = self.world.clock().sleep(span) => {}
        }
    }
}

impl<W: World> Workloads<Peer> for Identities<W> {
    fn x509(&self, peer: Peer) -> impl Stream<Item = Result<X509Answer, Denied>> + Send + 'static {
        self.follow(peer, |this, attested| async move {
            let made = flows::x509(this.world.as_ref(), &attested).await.map_err(unavailable)?;
            let made = made.map_err(|refusal| denied(&refusal, None))?;
            let (set, own) = (made.trust.bundles.spiffe(), made.id.trust_domain());
            let (bundle, federated) = (authorities(set, own), others(set, own));
            let mark = [made.chain.concat(), bundle.clone()].concat();
            let renew = made.renew;
            let key = made.key.to_pkcs8();
            let key = key.map_err(|error| Denied::Unavailable(error.to_string()))?;
            let svid = X509Svid {
                spiffe_id: made.id,
                chain: made.chain.concat(),
                key: SecretBytes::new(key.to_vec()),
                bundle,
                hint: None,
            };
            let answer = X509Answer { svids: vec![svid], crl: Vec::new(), federated };
            Ok((answer, mark, renew))
        })
    }

    fn x509_bundles(
        &self,
        peer: Peer,
    ) -> impl Stream<Item = Result<X509Bundles, Denied>> + Send + 'static {
        self.follow(peer, |this, _| async move {
            let facts = basis(this.world.as_ref(), Vec::new()).await.map_err(unavailable)?;
            let set = facts.trust.bundles.spiffe();
            let domains = set.iter().map(|(domain, _)| domain);
            let bundles: std::collections::BTreeMap<_, _> =
                domains.map(|domain| (domain.clone(), authorities(set, domain))).collect();
            let mark = bundles.values().flatten().copied().collect();
            Ok((X509Bundles { crl: Vec::new(), bundles }, mark, far(&this)))
        })
    }

    async fn jwt(
        &self,
        peer: Peer,
        audiences: Vec<String>,
        spiffe_id: Option<SpiffeId>,
    ) -> Result<Vec<JwtAnswer>, Denied> {
        let attested = self.attested(&peer).await?;
        its_own(&attested, spiffe_id.as_ref())?;
        let made = flows::jwt(self.world.as_ref(), &attested, audiences).await;
        let made = made.map_err(unavailable)?.map_err(|refusal| denied(&refusal, None))?;
        let token = SecretText::new(made.1.expose().to_owned());
        Ok(vec![JwtAnswer { spiffe_id: made.0, token, hint: None }])
    }

    fn jwt_bundles(
        &self,
        peer: Peer,
    ) -> impl Stream<Item = Result<Bundles, Denied>> + Send + 'static {
        self.follow(
            peer,
            |this, _| async move { key_sets(&this, spiffe::Bundle::to_jwt_key_set).await },
        )
    }

    async fn validate_jwt(
        &self,
        peer: Peer,
        audience: String,
        token: SecretText,
    ) -> Result<Validated, Denied> {
        self.attested(&peer).await?;
        let facts = basis(self.world.as_ref(), Vec::new()).await.map_err(unavailable)?;
        let now = self.world.clock().now();
        let skew = facts.set().domain().bounds.clock_skew;
        let bundles = facts.trust.bundles.spiffe();
        let svid = verify_jwt_svid(token.expose(), bundles, &[&audience], now, skew)
            .map_err(|error| Denied::Invalid(error.to_string()))?;
        let claims = serde_json::to_value(svid.claims()).ok();
        let claims = claims.and_then(|value| value.as_object().cloned()).unwrap_or_default();
        Ok(Validated { spiffe_id: svid.spiffe_id().clone(), claims })
    }

    fn wit(
        &self,
        peer: Peer,
        spiffe_id: Option<SpiffeId>,
    ) -> impl Stream<Item = Result<WitAnswer, Denied>> + Send + 'static {
        self.follow(peer, move |this, attested| {
            let spiffe_id = spiffe_id.clone();
            async move {
                its_own(&attested, spiffe_id.as_ref())?;
                let made = flows::wit(this.world.as_ref(), &attested).await.map_err(unavailable)?;
                let made = made.map_err(|refusal| denied(&refusal, None))?;
                let key = made.key.to_jwk_private_text();
                let key = key.map_err(|error| Denied::Unavailable(error.to_string()))?;
                let (mark, renew) = (made.token.expose().as_bytes().to_vec(), made.renew);
                let svid = WitSvid {
                    spiffe_id: made.id,
                    token: SecretText::new(made.token.expose().to_owned()),
                    key: SecretText::new(key.expose().to_owned()),
                    hint: None,
                };
                Ok((WitAnswer { svids: vec![svid] }, mark, renew))
            }
        })
    }

    fn wit_bundles(
        &self,
        peer: Peer,
    ) -> impl Stream<Item = Result<Bundles, Denied>> + Send + 'static {
        self.follow(
            peer,
            |this, _| async move { key_sets(&this, spiffe::Bundle::to_wit_key_set).await },
        )
    }
}

/// Goes on as long as somebody reads: whoever hangs up is not measured any longer, also not where a
/// platform takes its time.
async fn while_read<T>(reader: mpsc::Sender<T>, looking: impl Future<Output = ()>) {
    tokio::select! {
        () = looking => {}
        () = reader.closed() => {}
    }
}

async fn key_sets<W: World>(
    this: &Identities<W>,
    set: fn(&spiffe::Bundle) -> serde_json::Value,
) -> Result<(Bundles, Vec<u8>, UnixTime), Denied> {
    let facts = basis(this.world.as_ref(), Vec::new()).await.map_err(unavailable)?;
    let bundles: Bundles = facts
        .trust
        .bundles
        .spiffe()
        .iter()
        .map(|(domain, bundle)| (domain.clone(), set(bundle).to_string()))
        .collect();
    let mark = bundles.values().flat_map(|text| text.bytes()).collect();
    Ok((bundles, mark, far(this)))
}

/// Nothing is to be renewed: the store alone says when to look again.
fn far<W: World>(this: &Identities<W>) -> UnixTime {
    this.world.clock().now().plus(LOOK_AGAIN)
}

/// The CA certificates of a trust domain, concatenated DER.
fn authorities(set: &BundleSet, domain: &spiffe::TrustDomain) -> Vec<u8> {
    let bundle = set.get(domain);
    let certificates = bundle.map(spiffe::Bundle::x509_authorities).unwrap_or_default();
    certificates.iter().flat_map(|one| one.der().to_vec()).collect()
}

fn others(
    set: &BundleSet,
    own: &spiffe::TrustDomain,
) -> std::collections::BTreeMap<spiffe::TrustDomain, Vec<u8>> {
    let foreign = set.iter().map(|(domain, _)| domain).filter(|domain| *domain != own);
    foreign.map(|domain| (domain.clone(), authorities(set, domain))).collect()
}

/// Workload API §6.2: a process asks for its own identities alone.
fn its_own(attested: &Attested, asked: Option<&SpiffeId>) -> Result<(), Denied> {
    match asked {
        Some(asked) if attested.agent.id.as_spiffe() != Some(asked) => {
            Err(denied(&Refusal::NotItsOwn, None))
        }
        _ => Ok(()),
    }
}

/// Whoever asks learns that it has no identity, and by which audit id to ask the operator; which
/// agents there are, and why it is none of them, is the operator's to see.
fn denied(refusal: &Refusal, id: Option<monitoring::RecordId>) -> Denied {
    let told = match refusal {
        Refusal::Server(_)
        | Refusal::Evidence(_)
        | Refusal::Several(_)
        | Refusal::Broker { .. }
        | Refusal::Downstream { .. }
        | Refusal::BrokerGone { .. } => "no identity for this process".to_owned(),
        Refusal::FeedLost { .. } => return Denied::Unavailable(refusal.to_string()),
        other => other.to_string(),
    };
    match id {
        Some(id) => Denied::NoIdentity(format!("{told} (audit {id})")),
        None => Denied::NoIdentity(told),
    }
}

/// A client is told to come back where that may help. What the platform said is the operator's.
fn unmeasured(not: &NotMeasured) -> Denied {
    let audit = not.id.map(|id| format!(" (audit {id})")).unwrap_or_default();
    if not.error.is_temporary() {
        let told = format!("this process cannot be measured just now{audit}");
        return Denied::Unavailable(told);
    }
    Denied::NoIdentity(format!("this process cannot be measured{audit}"))
}

fn unavailable(why: Unavailable) -> Denied {
    tracing::warn!(%why, "workload api");
    Denied::Unavailable("the node cannot answer just now; try again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says when it is dropped.
    struct Measuring(Option<tokio::sync::oneshot::Sender<()>>);

    impl Drop for Measuring {
        fn drop(&mut self) {
            let _ = self.0.take().map(|ended| ended.send(()));
        }
    }

    #[tokio::test]
    async fn workload_endpoint_5_whoever_hangs_up_is_measured_no_longer() {
        let (send, answers) = mpsc::channel::<()>(WAITING_MAX);
        let (ends, mut ended) = tokio::sync::oneshot::channel();
        let measuring = Measuring(Some(ends));
        let reader = send.clone();
        tokio::spawn(while_read(reader, async move {
            let (_send, _measuring) = (send, measuring);
            std::future::pending().await
        }));
        tokio::task::yield_now().await;
        assert!(ended.try_recv().is_err(), "it is read still");
        drop(answers);
        let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
        ended.unwrap().unwrap();
    }
}
