//! A client that asks another endpoint than the token endpoint about tokens: authenticated in the
//! same ways.

use authentication::{Caller, Once};
use authorization::grants::Standing;
use env::{Change, CommitFault, Recorded, Store, Unavailable, World};
use monitoring::{Event, Outcome, Record};
use oauth::Issuer;
use oauth::client_assertion::PresentedClient;
use oauth::dpop::ProofRefused;
use time::UnixTime;

use super::client::{self, ClientRefusal, Shown};
use super::describe::describe_caller;
use super::people::People;
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, refused, single_use};

/// What a request shows of its client.
#[derive(Clone, Debug)]
pub struct Asker {
    /// `client_id` and `client_assertion`.
    pub client: PresentedClient,
    /// `OAuth-Client-Attestation` and its proof, where that is not one of DPoP.
    pub attestation: Option<(oauth::TokenText, Option<oauth::TokenText>)>,
    /// The values of the `DPoP` field.
    pub dpop: Vec<Vec<u8>>,
    /// The endpoint, below the issuer.
    pub path: String,
    /// The certificates of the channel, in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Where it comes from, for counting strangers.
    pub source: String,
}

impl Asker {
    /// What is believed of it by [`client::authenticate`].
    pub fn shown(&self) -> Shown<'_> {
        Shown {
            client: &self.client,
            attestation: self.attestation.as_ref(),
            certificates: &self.certificates,
            dpop: &self.dpop,
            path: &self.path,
            source: &self.source,
        }
    }
}

/// Why a client that asks is told nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is suspended, disabled, or not there.
    #[error("the client is not in force: {0}")]
    NotInForce(String),
    /// A public client proved nothing, and this endpoint is for those that do.
    #[error("a public client may not ask here: authenticate")]
    Public,
    /// What it proved itself with was used before.
    #[error("the client's proof was used before")]
    Replayed,
    /// The token was given to another client.
    #[error("the token was given to another client")]
    OtherClient,
    /// What it is bound to was not shown.
    #[error("the token is bound to a key or certificate that was not shown")]
    OtherKey,
    /// The DPoP proof.
    #[error(transparent)]
    Dpop(#[from] ProofRefused),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NotInForce(_) => "asker::NotInForce",
            Self::Public => "asker::Public",
            Self::Replayed => "asker::Replayed",
            Self::OtherClient => "asker::OtherClient",
            Self::OtherKey => "asker::OtherKey",
            Self::Dpop(_) => "asker::Dpop",
        }
    }
}

/// The end of such a request.
#[derive(Debug)]
pub enum End<T> {
    /// The client is known: decided, and recorded.
    Decided(Recorded<Result<T, Refusal>>),
    /// Nobody proved anything: count it.
    Stranger(ClientRefusal),
}

/// A request whose client is authenticated.
pub(crate) struct Asking {
    pub(crate) facts: Basis,
    pub(crate) issuer: Issuer,
    pub(crate) caller: Caller,
    pub(crate) record: Record,
    pub(crate) now: UnixTime,
    once: Option<Once>,
}

impl Asking {
    /// Authenticates the client; reads `others` beside. The record is of a reading until it is
    /// said to be something else.
    pub(crate) async fn begin<W: World>(
        world: &W,
        asker: &Asker,
        others: Vec<env::Key>,
    ) -> Result<Result<Self, ClientRefusal>, Unavailable> {
        let shown = asker.shown();
        let keys = match client::keys(world, shown).await? {
            Ok(keys) => keys.into_iter().chain(others).collect(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let facts = basis(world, keys).await?;
        let now = issuing::now(world, &facts)?;
        let issuer = Issuer::parse(&world.site().issuer)
            .map_err(|error| Unavailable::of("settings", error))?;
        let proved = match client::authenticate(world, shown, &facts, &issuer, now).await? {
            Ok(proved) => proved,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut record = begin(world, Event::TokenRead);
        describe_caller(&mut record, &proved.caller, &facts);
        let (caller, once) = (proved.caller, proved.once);
        Ok(Ok(Self { facts, issuer, caller, record, now, once }))
    }

    /// Refuses a client that is not in force.
    pub(crate) async fn in_force<W: World>(
        &self,
        world: &W,
    ) -> Result<Result<(), Refusal>, Unavailable> {
        let id = self.caller.client_id();
        let people = People::load(world, &[id.to_owned()].into_iter().collect()).await?;
        Ok(match people.standing(id) {
            Standing::Agent(lifecycle) => lifecycle
                .admits(self.caller.issued())
                .map_err(|why| Refusal::NotInForce(why.to_string())),
            Standing::Client(enabled) => enabled.map(|_| ()).map_err(Refusal::NotInForce),
            Standing::User(_) | Standing::Foreign | Standing::Unknown => {
                Err(Refusal::NotInForce(format!("`{id}` is not in the registry")))
            }
        })
    }

    /// Commits the answer with its record, and with what else it changes; `None` when another
    /// commit came first.
    pub(crate) async fn settle<W: World, T: Send>(
        mut self,
        world: &W,
        answer: Result<T, Refusal>,
        mut change: Change,
    ) -> Result<Option<End<T>>, Unavailable> {
        match &answer {
            Ok(_) => self.record.outcome = Outcome::Permitted,
            Err(refusal) => refused(&mut self.record, refusal.check(), refusal, None),
        }
        if let Some(once) = &self.once {
            let (use_, used) = single_use(&once.space, &once.value, once.until);
            change.uses.push(use_);
            self.record.used.push(used);
        }
        let mut replay = begin(world, self.record.event);
        replay.agent.clone_from(&self.record.agent);
        replay.proof.clone_from(&self.record.proof);
        change.records.push(self.record);
        match world.store().commit(change).await {
            Ok(receipt) => Ok(Some(End::Decided(Recorded::new(answer, &receipt)))),
            Err(CommitFault::Conflict(_)) => Ok(None),
            Err(CommitFault::Unavailable(why)) => Err(why),
            Err(CommitFault::Used(_)) => {
                let refusal = Refusal::Replayed;
                refused(&mut replay, refusal.check(), &refusal, None);
                let commit = world.store().commit(Change::record(replay)).await;
                let receipt = crate::turns::settled(commit)?.ok_or_else(crate::turns::overtaken)?;
                Ok(Some(End::Decided(Recorded::new(Err(refusal), &receipt))))
            }
        }
    }
}
