//! `POST /register` (RFC 7591 §3): a client registers itself.

use env::{Clock, Entropy, Expect, Key, Recorded, Stored, Unavailable, World, Write};
use monitoring::Event;
use registry::ClientRecord;
use registry::admission::Dynamic;
use registry::client::{Invitation, Origin};
use time::{Span, UnixTime};

use crate::facts::{Basis, basis};
use crate::record::{begin, public_id};
use crate::refusal::{End, Refusal, settle};
use crate::secrets::{self, INVITATION, MANAGER, Secret};
use crate::taking::{Answer, answer, members, read, signable, with_secret};
use crate::throttle::{Limit, Limits, Throttle};
use crate::turns::{TRIES_MAX, overtaken, pause};

/// Registrations without a token: of one source.
pub const OF_SOURCE: Limit = Limit { burst: 50, every: 10_000 };
/// The same over all sources: nobody fills the store, however many they are.
pub const OVER_ALL: Limit = Limit { burst: 500, every: 500 };
/// What they are counted under.
const REGISTERED: &str = "registrations";
/// How long a registration without a token stays that was never used for a token. Its first use
/// gives it the life that policy has for it.
pub const UNUSED_LIFE: Span = Span::from_seconds(86_400);

/// The counts of registrations without a token.
pub fn throttle() -> Throttle {
    Throttle::new(Limits { source: OF_SOURCE, pair: OF_SOURCE, user: OVER_ALL })
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The body.
    pub metadata: String,
    /// The initial access token.
    pub token: Option<Secret>,
    /// Where it comes from.
    pub source: String,
}

impl Request {
    /// A request of this body, with this bearer token.
    pub fn new(metadata: String, token: Option<&str>, source: String) -> Self {
        Self { metadata, token: token.map(Secret::shown), source }
    }
}

/// Answers it.
pub async fn register<W: World>(
    world: &W,
    throttle: &Throttle,
    request: &Request,
) -> Result<End<Answer>, Unavailable> {
    for turn in 0..TRIES_MAX {
        match attempt(world, Some(throttle).filter(|_| turn == 0), request).await? {
            Some(end) => return Ok(end),
            None => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

/// One try; `None` when another commit came first.
async fn attempt<W: World>(
    world: &W,
    throttle: Option<&Throttle>,
    request: &Request,
) -> Result<Option<End<Answer>>, Unavailable> {
    let token = request.token.as_ref().filter(|token| secrets::is_of(INVITATION, token.expose()));
    let keys = token.iter().map(|token| Key::of::<Invitation>(token.hash())).collect();
    let facts = basis(world, keys).await?;
    let now = world.clock().now();
    let invitation = match token {
        Some(token) => facts.rows.get::<Invitation>(&token.hash())?,
        None => None,
    };
    let known = invitation.is_some();
    let entered = enter(&facts, request, invitation.as_ref(), now).and_then(|()| match throttle {
        Some(throttle) if !known => throttle
            .take(&request.source, REGISTERED, now)
            .map_err(|many| Refusal::TooMany { wait: many.until.since(now).seconds().max(1) }),
        _ => Ok(()),
    });
    let origin = if known { Origin::Invited } else { Origin::Open };
    let made = entered.and_then(|()| {
        let metadata = read(&facts, members(&request.metadata)?, origin, now)?;
        make(
            world,
            &facts,
            ClientRecord {
                origin,
                ..ClientRecord::new(format!("client-{}", public_id(world)), metadata, now)
            },
        )
    });
    let made = signable(world, made).await?;
    let mut record = begin(world, Event::ClientRegistered);
    record.action = "client.register".to_owned();
    record.policy = Some(facts.version());
    record.operator = invitation.as_ref().map(|one| format!("invitation:{}", one.id));
    let decided = match made {
        Ok((client, told)) => {
            record.subject = Some(client.client_id.clone());
            let mut writes = vec![Write::put(&client, Expect::Absent)];
            writes.extend(invitation.as_ref().map(used));
            Ok((told, writes))
        }
        // Nothing is recorded of who is nobody.
        Err(refusal) if !known => return Ok(Some(End::Stranger(refusal))),
        Err(refusal) => Err(refusal),
    };
    Ok(settle(world, record, decided).await?.map(End::Decided))
}

/// Whether who asks may register at all.
fn enter(
    facts: &Basis,
    request: &Request,
    invitation: Option<&Stored<Invitation>>,
    now: UnixTime,
) -> Result<(), Refusal> {
    let dynamic = facts.set().domain().registration.dynamic;
    match (dynamic, invitation) {
        (Dynamic::Off, _) => Err(Refusal::Off),
        (_, Some(one)) if one.until <= now => Err(Refusal::Expired(one.until)),
        (_, Some(one)) if one.uses == 0 => Err(Refusal::UsedUp),
        (_, Some(_)) => Ok(()),
        // Whoever shows a token means to be known by it.
        (_, None) if request.token.is_some() => Err(Refusal::UnknownToken),
        (Dynamic::Token, None) => Err(Refusal::NoToken),
        (Dynamic::Open, None) => Ok(()),
    }
}

/// The invitation, used once more: in the commit that makes the client.
fn used(one: &Stored<Invitation>) -> Write {
    let left = Invitation { uses: one.uses.saturating_sub(1), ..(*one.value).clone() };
    Write::put(&left, Expect::Version(one.version))
}

/// The client with what it may manage itself by, and what it is told.
fn make<W: World>(
    world: &W,
    facts: &Basis,
    client: ClientRecord,
) -> Result<(ClientRecord, Answer), Refusal> {
    let manager = Secret::made(MANAGER, &world.entropy().secret());
    let strange = client.origin == Origin::Open;
    let life = facts.set().domain().registration.stranger_life.min(UNUSED_LIFE);
    let until = strange.then(|| client.registered.plus(life));
    let client = ClientRecord { manager: Some(manager.hash()), until, ..client };
    let (client, secret) = with_secret(world, client);
    let told = answer(world, &client, Some(&manager), secret)?;
    Ok((client, told))
}

/// What came of it, for tests.
pub fn decided<T>(end: End<T>) -> Option<Recorded<Result<T, Refusal>>> {
    match end {
        End::Decided(recorded) => Some(recorded),
        End::Stranger(_) => None,
    }
}
