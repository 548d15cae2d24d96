//! The client of a request that gets somebody asked: authenticated as at the token endpoint, in
//! force, and recorded.

use std::collections::BTreeSet;

use access::documents;
use access::token::client::{self as proof, ClientRefusal};
use authentication::{Caller, Method, Once};
use authorization::profile::{self, Demand, demands};
use env::{Change, CommitFault, Key, Recorded, Store, Unavailable, World};
use identifier::Kind;
use jose::{Algorithm, KeySet};
use monitoring::{Event, Outcome, Record};
use oauth::client_assertion::PresentedClient;
use oauth::form::Form;
use oauth::registration::DeliveryMode;
use oauth::token_request::GrantType;
use oauth::{Issuer, ScopeSet, TokenText};
use pdp::{Principal, PrincipalKind};
use people::end::{Check, End};
use provisioning::Epoch;
use registry::{AgentRecord, ClientRecord};
use time::UnixTime;

use crate::Refusal;
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, refused, single_use};
use crate::turns::{overtaken, settled};

/// A request that reads; nothing in it is believed yet.
#[derive(Clone, Debug)]
pub struct Call {
    /// The parameters.
    pub form: Form,
    /// `client_id` and `client_assertion`.
    pub client: PresentedClient,
    /// `OAuth-Client-Attestation` and its proof, where that is not one of DPoP.
    pub attestation: Option<(TokenText, Option<TokenText>)>,
    /// The values of the `DPoP` field.
    pub dpop: Vec<Vec<u8>>,
    /// The endpoint, below the issuer.
    pub path: String,
    /// The certificates of the channel, in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Where it comes from, for counting strangers.
    pub source: String,
}

/// Who asks, and the facts of the moment.
pub(crate) struct Known {
    pub(crate) caller: Caller,
    pub(crate) once: Option<Once>,
    pub(crate) facts: Basis,
    pub(crate) issuer: Issuer,
    pub(crate) now: UnixTime,
}

/// The client, as its record has it.
pub(crate) struct Asker {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) principal: Principal,
    /// The widest scope that it may ever ask for.
    pub(crate) widest: Option<ScopeSet>,
    /// What it signs requests with.
    pub(crate) keys: Option<KeySet>,
    /// What its profiles want of its requests.
    pub(crate) demands: BTreeSet<Demand>,
    /// What a resource cannot demand of it: it registered otherwise.
    pub(crate) lacks: BTreeSet<Demand>,
    /// How it wants to be told of an answer that it did not wait for.
    pub(crate) told: Told,
    /// The grants that it registered; `None` for agents, whose policy decides.
    grants: Option<Vec<GrantType>>,
}

/// What a client registered of CIBA (CIBA Core 1.0 §4). Agents poll.
pub(crate) struct Told {
    pub(crate) mode: DeliveryMode,
    /// `backchannel_client_notification_endpoint`.
    pub(crate) endpoint: Option<String>,
    pub(crate) user_code: bool,
    /// What it signs each of its requests with.
    pub(crate) algorithm: Option<Algorithm>,
    /// Whether its tokens must be bound to a key, which nobody shows where they are pushed.
    pub(crate) bound: bool,
}

/// Who asks. `keys`: rows that the request needs besides.
pub(crate) async fn known<W: World>(
    world: &W,
    call: &Call,
    keys: Vec<Key>,
) -> Result<Result<Known, ClientRefusal>, Unavailable> {
    let shown = proof::Shown {
        client: &call.client,
        attestation: call.attestation.as_ref(),
        certificates: &call.certificates,
        dpop: &call.dpop,
        path: &call.path,
        source: &call.source,
    };
    let mut all = match proof::keys(world, shown).await? {
        Ok(all) => all,
        Err(refusal) => return Ok(Err(refusal)),
    };
    all.extend(keys);
    let facts = basis(world, all).await?;
    let now = issuing::now(world, &facts)?;
    let issuer =
        Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))?;
    let proved = proof::authenticate(world, shown, &facts, &issuer, now).await?;
    Ok(proved.map(|proved| {
        let (caller, once) = (proved.caller, proved.once);
        Known { caller, once, facts, issuer, now }
    }))
}

impl Known {
    /// The client's record, if it may ask for anything (docs/past-defects.md 8 and 9: who is
    /// disabled gets nobody asked either).
    pub(crate) async fn asker<W: World>(
        &self,
        world: &W,
        grant: Option<GrantType>,
    ) -> Result<Result<Asker, Refusal>, Unavailable> {
        let id = self.caller.client_id();
        let asker =
            match Asker::load(world, &self.facts, id, self.caller.issued(), self.now).await? {
                Ok(asker) => asker,
                Err(refusal) => return Ok(Err(refusal)),
            };
        Ok(match grant {
            Some(grant) => asker.may(grant).map(|()| asker),
            None => Ok(asker),
        })
    }

    /// Whether the client proved nothing but its name.
    pub(crate) fn is_unproved(&self) -> bool {
        self.caller.method() == Method::None
    }

    /// The beginning of the record.
    pub(crate) fn record<W: World>(&self, world: &W, action: &str) -> Record {
        let mut record = begin(world, Event::ApprovalAsked);
        record.action = action.to_owned();
        record.agent = Some(self.caller.client_id().to_owned());
        record.proof = Some(self.caller.method().name().to_owned());
        record.transport = self.caller.transport().map(ToString::to_string);
        record.policy = Some(self.facts.version());
        record.epoch = Some(self.facts.epoch.0);
        record
    }

    /// Commits what was decided. `replayed`: what it is refused with where something of `change`
    /// was used before that is not the client's proof.
    pub(crate) async fn finish<W: World, T>(
        self,
        world: &W,
        change: Change,
        record: Record,
        decided: Result<T, Refusal>,
        replayed: Refusal,
    ) -> Result<End<T, Refusal>, Unavailable> {
        let end = self.try_finish(world, change, record, decided, replayed).await?;
        end.ok_or_else(overtaken)
    }

    /// The same; `None` where another commit came first.
    pub(crate) async fn try_finish<W: World, T>(
        self,
        world: &W,
        mut change: Change,
        mut record: Record,
        decided: Result<T, Refusal>,
        replayed: Refusal,
    ) -> Result<Option<End<T, Refusal>>, Unavailable> {
        // docs/design.md §2, idea 3: refusals of callers that proved nothing are counted.
        let decided = match decided {
            Err(refusal) if self.is_unproved() => return Ok(Some(End::Stranger(refusal))),
            decided => decided,
        };
        let mut proof = None;
        if let Some(once) = &self.once {
            let (use_, used) = single_use(&once.space, &once.value, once.until);
            proof = Some(use_.hash);
            change.uses.push(use_);
            record.used.push(used);
        }
        match &decided {
            Ok(_) => record.outcome = Outcome::Done,
            Err(refusal) => refused(&mut record, refusal.check(), &refusal.evidence(), None),
        }
        let (action, resource) = (record.action.clone(), record.resource.clone());
        change.records.push(record);
        match world.store().commit(change).await {
            Ok(receipt) => Ok(Some(End::Decided(Recorded::new(decided, &receipt)))),
            Err(CommitFault::Conflict(_)) => Ok(None),
            Err(CommitFault::Unavailable(why)) => Err(why),
            Err(CommitFault::Used(used)) => {
                let refusal = if proof == Some(used.hash) { Refusal::Replayed } else { replayed };
                let mut record = self.record(world, &action);
                record.resource = resource;
                refused(&mut record, refusal.check(), &refusal, None);
                let commit = world.store().commit(Change::record(record)).await;
                let receipt = settled(commit)?.ok_or_else(overtaken)?;
                Ok(Some(End::Decided(Recorded::new(Err(refusal), &receipt))))
            }
        }
    }
}

impl Asker {
    /// Whether it is an agent or service of ours, which can prove itself to another.
    pub(crate) fn is_workload(&self) -> bool {
        matches!(self.principal.kind, PrincipalKind::Agent | PrincipalKind::Service)
    }

    /// Refuses a grant that the client did not register.
    pub(crate) fn may(&self, grant: GrantType) -> Result<(), Refusal> {
        match &self.grants {
            Some(all) if !all.contains(&grant) => Err(Refusal::GrantNotAllowed(grant)),
            _ => Ok(()),
        }
    }

    /// The client of that id, if it is in force. `issued`: under which epoch its credential was.
    pub(crate) async fn load<W: World>(
        world: &W,
        facts: &Basis,
        id: &str,
        issued: Option<Epoch>,
        now: UnixTime,
    ) -> Result<Result<Self, Refusal>, Unavailable> {
        let keys = [Key::of::<AgentRecord>(id), Key::of::<ClientRecord>(id)];
        let rows = world.store().snapshot(&keys).await?;
        let agent = rows.get::<AgentRecord>(id)?;
        let client = rows.get::<ClientRecord>(id)?;
        let unfit = |why: String| Ok(Err(Refusal::Unfit(why)));
        match (&agent, &client) {
            (Some(agent), _) => match agent.lifecycle.admits(issued) {
                Ok(()) => Ok(Ok(Self::of_agent(agent))),
                Err(why) => unfit(why.to_string()),
            },
            (None, Some(client)) => {
                if let Err(why) = client.is_enabled() {
                    return unfit(why.to_string());
                }
                // What it began before it was disabled does not come back with it.
                if let Some(why) = issued.and_then(|issued| client.admits(issued).err()) {
                    return unfit(why.to_string());
                }
                let keys = documents::keys_of(client, &facts.rows, now)?;
                Ok(Ok(Self::of_client(client, keys)))
            }
            (None, None) => unfit("it is not in the registry".to_owned()),
        }
    }

    fn of_agent(agent: &AgentRecord) -> Self {
        let entry = &agent.entry;
        let kind = match entry.kind {
            Kind::Agent => PrincipalKind::Agent,
            Kind::Service => PrincipalKind::Service,
        };
        let (id, name, owner) = (agent.id.to_string(), entry.name.to_string(), entry.owner.clone());
        let capabilities = entry.capabilities.iter().cloned();
        let principal = Principal::new(kind, &id, &name, &owner, capabilities);
        let widest = entry.client.scope_max.clone();
        let told = Told {
            mode: DeliveryMode::Poll,
            endpoint: None,
            user_code: false,
            algorithm: None,
            bound: false,
        };
        Self {
            id,
            name,
            owner,
            principal,
            widest,
            keys: None,
            demands: BTreeSet::new(),
            lacks: profile::unmet_by_agent(&entry.client),
            told,
            grants: None,
        }
    }

    fn of_client(client: &ClientRecord, keys: Option<KeySet>) -> Self {
        let (id, metadata) = (client.client_id.clone(), &client.metadata);
        let name = metadata.client_name.clone().unwrap_or_default();
        let principal = Principal::new(PrincipalKind::Client, &id, &name, "", Vec::new());
        Self {
            id,
            name,
            owner: String::new(),
            principal,
            widest: Some(metadata.scope.clone()).filter(|scope| !scope.is_empty()),
            keys,
            demands: demands(&client.profiles),
            lacks: profile::unmet_by(metadata),
            told: Told::of(client),
            grants: Some(metadata.grant_types.clone()),
        }
    }
}

impl Told {
    fn of(client: &ClientRecord) -> Self {
        let read = &client.metadata;
        let wants = demands(&client.profiles);
        Self {
            mode: read.backchannel_token_delivery_mode.unwrap_or(DeliveryMode::Poll),
            endpoint: read
                .backchannel_client_notification_endpoint
                .as_ref()
                .map(|uri| uri.as_str().to_owned()),
            user_code: read.backchannel_user_code_parameter,
            algorithm: read.backchannel_authentication_request_signing_alg,
            bound: read.dpop_bound_access_tokens
                || read.tls_client_certificate_bound_access_tokens
                || wants.contains(&Demand::BoundTokens)
                || wants.contains(&Demand::NoPush),
        }
    }
}
