//! What operators order about clients: registering, enabling, disabling, inviting.

use std::collections::BTreeSet;

use authorization::Profile;
use env::rows::DomainEpoch;
use env::{Clock, Entropy, Expect, Key, Recorded, Store, Unavailable, World, Write};
use monitoring::Event;
use registry::client::{AssertionAudience, Invitation, Origin};
use registry::{ClientRecord, ClientState};
use time::Span;

use crate::ends::{self, Ending};
use crate::facts::basis;
use crate::record::{begin, public_id};
use crate::refusal::{Refusal, settle};
use crate::secrets::{INVITATION, Secret};
use crate::taking::{Answer, answer, members, read, signable, under_its_profiles, with_secret};
use crate::turns::{Operator, TRIES_MAX, overtaken, pause};

/// How long an initial access token lives unless an operator says otherwise, and at most.
pub const INVITATION_LIFE: Span = Span::from_seconds(86_400);
/// The longest that one may live.
pub const INVITATION_LIFE_MAX: Span = Span::from_seconds(30 * 86_400);
/// How often one may be used at most.
pub const USES_MAX: u32 = 10_000;

/// What an operator says of a client beside its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What it must obey.
    pub profiles: BTreeSet<Profile>,
    /// What its assertions may be for.
    pub audience: AssertionAudience,
}

/// An order's end: what was done, or why not; recorded either way.
pub type Done<T> = Result<Recorded<Result<T, Refusal>>, Unavailable>;

/// Registers a client.
pub async fn register<W: World>(
    world: &W,
    operator: &Operator,
    metadata: &str,
    terms: &Terms,
) -> Done<(ClientRecord, Answer)> {
    for turn in 0..TRIES_MAX {
        let facts = basis(world, Vec::new()).await?;
        let now = world.clock().now();
        let mut record = begin(world, Event::ClientRegistered);
        record.action = "client.register".to_owned();
        record.operator = Some(operator.0.clone());
        record.policy = Some(facts.version());
        let made = members(metadata).and_then(|members| {
            let metadata = read(&facts, members, Origin::Operator, now)?;
            let client = ClientRecord::new(format!("client-{}", public_id(world)), metadata, now);
            let client = ClientRecord { audience: terms.audience, ..client }
                .with_profiles(terms.profiles.clone());
            under_its_profiles(&client)?;
            let (client, secret) = with_secret(world, client);
            let told = answer(world, &client, None, secret)?;
            Ok((client, told))
        });
        let decided = signable(world, made).await?.map(|(client, told)| {
            record.subject = Some(client.client_id.clone());
            let writes = vec![Write::put(&client, Expect::Absent)];
            ((client, told), writes)
        });
        if let Some(done) = settle(world, record, decided).await? {
            return Ok(done);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Enables or disables a client. A disabled one gets nothing through any endpoint, and what it was
/// granted ends.
pub async fn set_state<W: World>(
    world: &W,
    operator: &Operator,
    client_id: &str,
    state: ClientState,
) -> Done<ClientRecord> {
    set_state_for(world, operator, client_id, state, None).await
}

/// The same for a reason, which is recorded.
pub async fn set_state_for<W: World>(
    world: &W,
    operator: &Operator,
    client_id: &str,
    state: ClientState,
    why: Option<&str>,
) -> Done<ClientRecord> {
    for turn in 0..TRIES_MAX {
        let mut record = begin(world, Event::ClientRegistered);
        record.operator = Some(operator.0.clone());
        record.subject = Some(client_id.to_owned());
        record.action = match state {
            ClientState::Enabled => "client.enable",
            ClientState::Disabled => "client.disable",
        }
        .to_owned();
        if let Some(why) = why {
            record.facts = serde_json::json!({ "reason": why });
        }
        let keys = [Key::of::<ClientRecord>(client_id), Key::of::<DomainEpoch>(DomainEpoch::ID)];
        let rows = world.store().snapshot(&keys).await?;
        let found = rows.get::<ClientRecord>(client_id)?;
        let epoch = rows.get::<DomainEpoch>(DomainEpoch::ID)?.ok_or_else(overtaken)?;
        let disables = state == ClientState::Disabled;
        let next = if disables { epoch.epoch.next() } else { epoch.epoch };
        record.epoch = Some(next.0);
        let decided = found.map_or_else(
            || Err(Refusal::Unknown(client_id.to_owned())),
            |found| {
                let since = world.clock().now();
                // That it was disabled is never swept.
                let until = match (state, found.origin) {
                    (ClientState::Enabled, Origin::Open | Origin::Document) => {
                        Some(since.plus(INVITATION_LIFE_MAX))
                    }
                    _ => None,
                };
                let dead_before = if disables { next } else { found.dead_before };
                let new =
                    ClientRecord { state, since, until, dead_before, ..(*found.value).clone() };
                let mut writes = vec![Write::put(&new, Expect::Version(found.version))];
                if disables {
                    let raised = DomainEpoch { epoch: next };
                    writes.push(Write::put(&raised, Expect::Version(epoch.version)));
                }
                Ok((new, writes))
            },
        );
        if let Some(done) = settle(world, record, decided).await? {
            if state == ClientState::Disabled {
                let ending = Ending::by_operator(&operator.0, "its client was disabled");
                ends::end_client(world, client_id, ending).await?;
            }
            return Ok(done);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Makes an initial access token.
pub async fn invite<W: World>(
    world: &W,
    operator: &Operator,
    uses: u32,
    life: Span,
) -> Done<(Invitation, Secret)> {
    let now = world.clock().now();
    let secret = Secret::made(INVITATION, &world.entropy().secret());
    let invitation = Invitation {
        hash: secret.hash(),
        id: public_id(world),
        uses,
        until: now.plus(life),
        by: operator.0.clone(),
    };
    let mut record = begin(world, Event::ClientRegistered);
    record.action = "client.invite".to_owned();
    record.operator = Some(operator.0.clone());
    record.subject = Some(format!("invitation:{}", invitation.id));
    record.facts = serde_json::json!({ "uses": uses, "until": invitation.until });
    let decided = if !(1..=USES_MAX).contains(&uses) {
        Err(Refusal::Bound(format!("`uses` must be 1 to {USES_MAX}")))
    } else if life == Span::ZERO || life > INVITATION_LIFE_MAX {
        let max = INVITATION_LIFE_MAX.seconds();
        Err(Refusal::Bound(format!("a token lives 1 to {max} seconds")))
    } else {
        let writes = vec![Write::put(&invitation, Expect::Absent)];
        Ok(((invitation, secret), writes))
    };
    settle(world, record, decided).await?.ok_or_else(overtaken)
}
