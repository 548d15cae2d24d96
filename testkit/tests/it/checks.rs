//! What must hold, whatever happens.

use std::sync::Arc;

use env::World;
use env::rows::DomainEpoch;
use flow::call::Forward;
use identifier::Assignment;
use monitoring::{Event, Outcome, RecordId};
use registry::AgentRecord;
use testkit::fixture::Party;
use testkit::{Host, SimJournal};
use time::{Span, UnixTime};

use crate::model::{Claims, Heard, Held, Token, Used};
use crate::town::{Town, Which};

/// A revocation is in force everywhere after so long, while the feed is heard.
const BOUND_MILLIS: u64 = 1_000;
/// A component that did not hear the server for so long refuses: what policy says, and a second.
const LOST_MILLIS: u64 = 11_000;
/// How far clocks may differ: what policy says.
const CLOCK_SKEW: Span = Span::from_seconds(5);

/// No token is of a time before what was recorded when it was asked for, but for the clock skew of
/// policy.
pub(crate) fn check_time(claims: &Claims, newest: UnixTime) {
    // Tokens are stamped in whole seconds.
    let latest = UnixTime::from_seconds(claims.iat + 1).plus(CLOCK_SKEW);
    assert!(latest >= newest, "issued at {}, after a record of {newest}", claims.iat);
}

impl Town {
    /// Nothing is released unrecorded.
    pub(crate) fn check_recorded(&self, host: &Host, id: Option<RecordId>) {
        let id = id.unwrap_or_else(|| panic!("released without a record"));
        assert!(host.journal().find(id).is_some(), "released, and {id} is not in the log");
    }

    /// What is issued concerns nobody who is not in force, was asked for by nobody with credentials
    /// of before, and has no more rights than what it came from.
    pub(crate) fn check_issued(
        &self,
        token: &Token,
        held: Option<&Held>,
        subject: Option<&Token>,
        proof: Option<&str>,
    ) {
        let mut model = self.model();
        let (asked, claims) = (token.asked, &token.claims);
        for who in claims.concerned() {
            let dead = model.dead.get(&who).is_some_and(|since| *since < asked);
            assert!(!dead, "a token that concerns {who}, which is not in force");
        }
        if let Some(held) = held {
            let id = &held.party.id;
            let killed = model.was_killed(id, held.asked, asked);
            assert!(!killed, "a token for {id} by credentials from before its suspension");
        }
        if let Some(subject) = subject {
            for who in subject.claims.concerned() {
                let killed = model.was_killed(&who, subject.asked, asked);
                assert!(!killed, "an exchange of a token that concerns {who}, from before");
            }
        }
        if let Some(parent) = claims.aims_parent.as_ref() {
            check_lineage(claims, &model.issued[parent]);
        }
        assert!(model.issued.insert(claims.jti.clone(), claims.clone()).is_none(), "jti twice");
        if let Some(proof) = proof {
            let times = model.accepted.entry(format!("server {proof}")).or_default();
            *times += 1;
            assert_eq!(*times, 1, "a proof was accepted twice at the token endpoint");
        }
    }

    /// What is let through is in force as far as the gateway can know, and its proof is new.
    pub(crate) fn check_let_through(&self, used: &Used, began: u64) {
        let mut concerned = used.token.claims.concerned();
        concerned.insert(used.token.claims.client_id.clone());
        let is_bearer = used.call.certificates.is_empty() && proof_of(used).is_none();
        for who in &concerned {
            self.check_alive(Which::Gateway, who, used.token.asked, began);
        }
        if !is_bearer {
            let id = &used.held.party.id;
            assert_eq!(*id, used.token.claims.client_id, "the token of another agent");
            self.check_alive(Which::Gateway, id, used.held.asked, began);
        }
        let mut model = self.model();
        let Heard { asked, applied, .. } = model.gateway;
        let frozen = model.frozen.is_some_and(|since| since < asked && applied < began);
        let pays = String::from_utf8_lossy(&used.call.body).contains("pay_invoice");
        assert!(!(frozen && pays), "a payment under a policy that freezes payments");
        if let Some(proof) = proof_of(used) {
            let times = model.accepted.entry(format!("gateway {proof}")).or_default();
            *times += 1;
            assert_eq!(*times, 1, "a proof was accepted twice at the gateway");
        }
    }

    /// What a node gives is not of before a suspension that it was told of.
    pub(crate) fn check_given(&self, party: &Party, asked: u64) {
        let first = *self.model().given.entry(party.wit.expose().to_owned()).or_insert(asked);
        self.check_alive(Which::Node, &party.id, first, asked);
    }

    /// Somebody who was given or let through something that is not of before any suspension.
    pub(crate) fn check_in_force_at(&self, which: Which, who: &str, began: u64) {
        let since = self.model().dead.get(who).copied();
        if let Some(since) = since {
            self.check_alive(which, who, since.saturating_sub(1), began);
        }
    }

    /// What was given to `who` at `given` may still be used at `began`, as far as the component can
    /// know.
    fn check_alive(&self, which: Which, who: &str, given: u64, began: u64) {
        let model = self.model();
        let heard = match which {
            Which::Node => model.node,
            Which::Gateway => model.gateway,
        };
        let told = |at: u64| at < heard.asked && heard.applied < began;
        let is_steady = heard.steady_since + BOUND_MILLIS < began;
        let killed = model.kills.iter().filter(|(id, at)| id == who && given < *at);
        for (_, at) in killed {
            assert!(!told(*at), "{which:?} was told of the end of {who} at {at} and lets it on");
            let late = is_steady && at + BOUND_MILLIS < began;
            assert!(!late, "{which:?} lets {who} on, more than a second after its end at {at}");
        }
        let silent = began.saturating_sub(heard.applied);
        let most = LOST_MILLIS + heard.set_back;
        assert!(silent <= most, "{which:?} decides after {silent} ms without the server");
    }

    /// What arrives upstream was decided and recorded before, and carries no more than that.
    pub(crate) fn watch_upstream(self: &Arc<Self>) {
        let (journal, town) = (self.domain.gateway.journal().clone(), Arc::downgrade(self));
        self.domain.upstream.watch(move |forward| {
            let Some(town) = town.upgrade() else { return };
            let claims = Claims::parse_insecure(&txn_token(forward));
            let model = town.model();
            let parent = claims.aims_parent.as_ref().unwrap();
            if let Some(parent) = model.issued.get(parent) {
                check_lineage(&claims, parent);
            }
            if !is_read_only(forward) {
                check_decided(&journal, &claims);
            }
        });
    }

    /// After each step: identifiers, epochs, logs.
    pub(crate) fn check(&self) {
        self.check_names();
        self.check_epoch();
        for (name, host) in [
            ("server", &self.domain.server),
            ("node", &self.domain.node),
            ("gateway", &self.domain.gateway),
        ] {
            self.check_log(name, host.journal());
        }
    }

    /// One identifier an agent, one agent an identifier, for ever.
    fn check_names(&self) {
        let world = self.domain.server.world();
        let (agents, names) =
            (world.store().every::<AgentRecord>(), world.store().every::<Assignment>());
        assert_eq!(agents.len(), names.len());
        let mut model = self.model();
        for (agent, assigned) in agents.iter().zip(agents.iter().map(|agent| {
            names.iter().find(|one| one.name == agent.entry.name).map(|one| one.id.clone())
        })) {
            assert_eq!(assigned.as_ref(), Some(&agent.id));
            let (name, id) = (agent.entry.name.to_string(), agent.id.to_string());
            let known = model.names.entry(name.clone()).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "{name} changed its identifier");
            let others = model.names.values().filter(|other| **other == id).count();
            assert_eq!(others, 1, "{id} is that of two agents");
        }
        assert!(model.names.len() == agents.len(), "an agent is gone from the registry");
    }

    fn check_epoch(&self) {
        let world = self.domain.server.world();
        let epoch = world.store().single::<DomainEpoch>(DomainEpoch::ID).unwrap().epoch.0;
        let mut model = self.model();
        assert!(epoch >= model.epoch, "the epoch went back from {} to {epoch}", model.epoch);
        model.epoch = epoch;
    }

    /// Each record once; what follows stands after what it follows; revocations in their order.
    fn check_log(&self, name: &'static str, journal: &SimJournal) {
        let mut model = self.model();
        let from = model.looked_at.get(name).copied().unwrap_or_default();
        let fresh = journal.after(from);
        model.looked_at.insert(name, from + fresh.len());
        let mut killed_under = model.killed_under;
        let seen = model.seen.entry(name).or_default();
        let mut kills = Vec::new();
        for record in fresh {
            assert!(seen.insert(record.id), "{} stands twice in the log of {name}", record.id);
            if let Some(after) = record.after {
                assert!(seen.contains(&after), "{} follows what is not there", record.id);
            }
            if record.event == Event::CallFinished {
                assert!(record.after.is_some(), "the end of no call");
            }
            let done = record.event == Event::AgentLifecycle && record.outcome == Outcome::Done;
            if done && record.action != "agent.resume" {
                let epoch = record.epoch.unwrap();
                assert!(epoch > killed_under, "epoch {epoch} after {killed_under}");
                killed_under = epoch;
                kills.extend(record.agent);
            }
        }
        model.killed_under = killed_under;
        assert!(name == "server" || kills.is_empty());
    }
}

/// Rights only shrink along a lineage, and a child is never younger than what it came from.
fn check_lineage(child: &Claims, parent: &Claims) {
    assert_eq!(child.aims_root, parent.aims_root);
    assert_eq!(child.sub, parent.sub, "an exchange changed the subject");
    assert!(child.aims_epoch <= parent.aims_epoch, "a child under a higher epoch");
    assert!(child.exp <= parent.exp, "a child outlives what it came from");
    let wider: Vec<_> = child.scopes().difference(&parent.scopes()).copied().collect();
    assert!(wider.is_empty(), "a child has the scopes {wider:?} that its parent lacks");
}

fn check_decided(journal: &SimJournal, claims: &Claims) {
    let decided = journal.of(Event::CallDecided);
    let is_it = |record: &&monitoring::Record| record.txn == claims.txn;
    let outcomes: Vec<_> = decided.iter().filter(is_it).map(|record| record.outcome).collect();
    assert_eq!(outcomes, [Outcome::Permitted], "forwarded before its decision was recorded");
}

fn txn_token(forward: &Forward) -> String {
    let mut fields = forward.headers.iter().filter(|(name, _)| name == "txn-token");
    let (Some((_, value)), None) = (fields.next(), fields.next()) else {
        panic!("not one transaction token")
    };
    assert!(forward.headers.iter().all(|(name, _)| name != "authorization"));
    String::from_utf8(value.clone()).unwrap()
}

/// What policy marks so: it may be on its way while its record is written.
fn is_read_only(forward: &Forward) -> bool {
    let body = String::from_utf8_lossy(&forward.body);
    body.contains("list_invoices") || forward.url.starts_with("http://127.0.0.1:9003")
}

fn proof_of(used: &Used) -> Option<String> {
    let proof = used.call.values("workload-proof-token").next()?;
    Some(String::from_utf8(proof.to_vec()).unwrap())
}
