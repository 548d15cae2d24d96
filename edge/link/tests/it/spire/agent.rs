//! An agent of SPIRE: what it has, and what it asks.

use std::sync::Arc;

use attestation::mechanism::Role;
use attestation::{Selector, Selectors};
use env::Handle;
use monitoring::{Event, Record};
use provisioning::{Act, Epoch, KeyHolding};
use registry::{AgentRecord, NodeRecord, Registration};
use rustls::sign::CertifiedKey;
use spiffe::BundleSet;
use tonic::Status;
use x509::Certificate;

use super::frames::{Frames, Message, bytes};
use crate::domain::{Domain, request, request_for, row};
use crate::world::TestKeys;

pub(super) const ATTEST: &str = "spire.api.server.agent.v1.Agent/AttestAgent";
pub(super) const RENEW: &str = "spire.api.server.agent.v1.Agent/RenewAgent";
pub(super) const POST_STATUS: &str = "spire.api.server.agent.v1.Agent/PostStatus";
pub(super) const GET_ENTRIES: &str = "spire.api.server.entry.v1.Entry/GetAuthorizedEntries";
pub(super) const SYNC_ENTRIES: &str = "spire.api.server.entry.v1.Entry/SyncAuthorizedEntries";
pub(super) const NEW_X509: &str = "spire.api.server.svid.v1.SVID/BatchNewX509SVID";
pub(super) const NEW_JWT: &str = "spire.api.server.svid.v1.SVID/NewJWTSVID";
pub(super) const GET_BUNDLE: &str = "spire.api.server.bundle.v1.Bundle/GetBundle";
pub(super) const GET_FEDERATED: &str = "spire.api.server.bundle.v1.Bundle/GetFederatedBundle";

/// A trust domain with SPIRE's API, and one agent's keys.
pub(super) struct Site {
    pub(super) domain: Domain,
    pub(super) address: String,
    pub(super) keys: Arc<TestKeys>,
}

impl Site {
    pub(super) async fn start() -> Self {
        let domain = Domain::start().await;
        let address = domain.serve_spire().await;
        Self { domain, address, keys: Arc::default() }
    }

    pub(super) async fn stranger(&self) -> Frames {
        Frames::open(&self.address, None).await
    }

    /// `AttestAgent` with evidence that has no challenge.
    pub(super) async fn attest(&self, kind: &str, payload: &[u8]) -> Result<Joined, Status> {
        let (handle, csr) = request(&self.keys).await;
        let mut call = self.stranger().await.begin(ATTEST).await;
        call.say(&attempt(kind, payload, &csr));
        let answer = call.next().await?.unwrap();
        Ok(self.joined(&answer, handle))
    }

    /// The result of an attempt.
    pub(super) fn joined(&self, answer: &Message, handle: Handle) -> Joined {
        let result = answer.message(1);
        let svid = result.message(1);
        let chain = svid.all(1);
        let id = svid.message(2);
        let id = format!("spiffe://{}{}", id.text(1), id.text(2));
        let leaf = Certificate::parse(&chain[0]).unwrap();
        assert_eq!(leaf.uri_names(), std::slice::from_ref(&id));
        assert_eq!(svid.number(3), leaf.not_after().seconds());
        let certified = self.keys.certified(chain, &handle);
        Joined { id, reattestable: result.number(2) == 1, certified, handle }
    }

    /// An agent that joined by a token.
    pub(super) async fn agent(&self, name: &str) -> (Joined, Frames) {
        let token = self.domain.token(Role::SpireAgent, name).await;
        let joined = self.attest("join_token", token.as_bytes()).await.unwrap();
        let frames = Frames::open(&self.address, Some(joined.certified.clone())).await;
        (joined, frames)
    }

    /// A service that SPIRE agents may measure, after `edit`.
    pub(super) async fn service(
        &self,
        name: &str,
        edit: impl FnOnce(&mut Registration),
    ) -> AgentRecord {
        let rule = ["unix:path:/opt/service", "unix:uid:1000"];
        let rule = rule.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let spire = |entry: &mut Registration| {
            entry.rule.class = "spire".to_owned();
            entry.keys = Some(KeyHolding::Handed);
            edit(entry);
            // Beside those of other classes it would match the same processes.
            if entry.rule.class == "standard" {
                let path = Selector::parse("unix:path:/opt/standard").unwrap();
                entry.rule.selectors = Selectors::new([path]).unwrap();
            }
        };
        self.domain.register_as(name, rule, spire).await
    }

    /// Moves the agent's record, as an operator would.
    pub(super) async fn act(&self, joined: &Joined, act: Act, epoch: u64) {
        let node = row::<_, NodeRecord>(&*self.domain.world, &joined.id).await.unwrap();
        let mut node = (*node.value).clone();
        let now = env::Clock::now(&self.domain.world.clock);
        let why = "test".to_owned();
        node.lifecycle = node.lifecycle.after(act, Epoch(epoch), why, now).unwrap();
        self.domain.write(&node).await;
    }

    pub(super) async fn trust(&self) -> BundleSet {
        self.domain.trust().await.spiffe().clone()
    }

    pub(super) fn records(&self, event: Event) -> Vec<Record> {
        let records = self.domain.world.store.records();
        records.into_iter().filter(|record| record.event == event).collect()
    }
}

/// What an agent has once it joined.
pub(super) struct Joined {
    pub(super) id: String,
    pub(super) reattestable: bool,
    pub(super) certified: CertifiedKey,
    pub(super) handle: Handle,
}

/// `AttestAgentRequest` with `params`.
pub(super) fn attempt(kind: &str, payload: &[u8], csr: &[u8]) -> Vec<u8> {
    let data = [bytes(1, kind), bytes(2, payload)].concat();
    let params = [bytes(1, data), bytes(2, bytes(1, csr))].concat();
    bytes(1, params)
}

/// `RenewAgentRequest`.
pub(super) fn renewal(csr: &[u8]) -> Vec<u8> {
    bytes(1, bytes(1, csr))
}

/// One of `BatchNewX509SVIDRequest`'s params.
pub(super) fn wanted(entry: &str, csr: &[u8]) -> Vec<u8> {
    bytes(1, [bytes(1, entry), bytes(2, csr)].concat())
}

/// `NewJWTSVIDRequest`.
pub(super) fn jwt(entry: &str, audiences: &[&str]) -> Vec<u8> {
    let audiences = audiences.iter().map(|audience| bytes(2, audience));
    [bytes(1, entry)].into_iter().chain(audiences).collect::<Vec<_>>().concat()
}

/// The request of a workload's key, as SPIRE makes it: with the identifier that it wants.
pub(super) async fn csr_for(id: &str) -> Vec<u8> {
    request_for(&TestKeys::default(), &[id]).await.1
}

/// Code and message of the only result of a batch, and its SVID.
pub(super) async fn one_x509(
    agent: &Frames,
    entry: &str,
    csr: &[u8],
) -> Result<(u64, String, Message), Status> {
    let results = agent.call(NEW_X509, wanted(entry, csr)).await?.messages(1);
    let [result] = results.as_slice() else { panic!("{results:?}") };
    let status = result.message(1);
    Ok((status.number(1), status.text(2), result.message(2)))
}

/// A `SPIFFEID` as its text.
pub(super) fn id(id: &Message) -> String {
    format!("spiffe://{}{}", id.text(1), id.text(2))
}

/// Why the status says that an agent is denied; 0 without details.
pub(super) fn reason(status: &Status) -> u64 {
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status:?}");
    if status.details().is_empty() {
        return 0;
    }
    let inner = Message::read(status.details());
    assert_eq!((inner.number(1), inner.text(2)), (7, status.message().to_owned()));
    let details = inner.message(3);
    let name = "type.googleapis.com/spire.api.types.PermissionDeniedDetails";
    assert_eq!(details.text(1), name);
    details.message(2).number(1)
}
