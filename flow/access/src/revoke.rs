//! Revocation (RFC 7009): a client gives back what it holds. A refresh token ends its grant with
//! everything that came of it, an access token itself and what came of it, a deferral code the
//! question that it waits for.

use approval::{Approval, Kind, Ticket};
use authentication::Method;
use authorization::granted::refresh::{self, Text};
use authorization::granted::{Binding, GrantRecord};
use env::{Change, Expect, Key, Store, Unavailable, World, Write};
use monitoring::{Event, Outcome};
use oauth::revocation::RevocationRequest;

use crate::ends::{self, Ending};
use crate::record::{begin, single_use};
use crate::shown;
use crate::token::asker::{Asker, Asking, End, Refusal};
use crate::token::client::certificate;
use crate::token::shown_key;
use crate::turns::{TRIES_MAX, overtaken, pause};

/// What the record says of it.
const WHY: &str = "its client revoked it";

/// A token that is to end.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who says so.
    pub asker: Asker,
    /// Which.
    pub request: RevocationRequest,
}

/// Does it. RFC 7009 §2.2: "invalid tokens do not cause an error response since the client cannot
/// handle such an error in a reasonable way."
pub async fn answer<W: World>(world: &W, order: Order) -> Result<End<()>, Unavailable> {
    for turn in 0..TRIES_MAX {
        match attempt(world, &order).await? {
            Some(end) => return Ok(end),
            None => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

async fn attempt<W: World>(world: &W, order: &Order) -> Result<Option<End<()>>, Unavailable> {
    let text = order.request.token.as_str();
    let refresh = Text::parse(text).ok();
    let mut keys = shown::keys(text);
    keys.extend(refresh.as_ref().map(|token| Key::of::<GrantRecord>(token.grant())));
    let deferral = Kind::Deferred.hash_of(text);
    keys.extend(deferral.as_ref().map(Key::of::<Ticket>));
    let mut asking = match Asking::begin(world, &order.asker, keys).await? {
        Ok(asking) => asking,
        Err(stranger) => return Ok(Some(End::Stranger(stranger))),
    };
    asking.record.event = Event::GrantEnded;
    asking.record.action = "token.revoke".to_owned();
    let mut change = Change::default();
    let done = match asking.in_force(world).await? {
        Err(refusal) => Err(refusal),
        Ok(()) => match (refresh, deferral) {
            (Some(token), _) => end_grant(world, &mut asking, &token, &mut change)?,
            (None, Some(hash)) => {
                end_deferral(world, &mut asking, (&order.asker, &hash), &mut change).await?
            }
            (None, None) => end_token(world, &mut asking, text, &mut change)?,
        },
    };
    asking.settle(world, done, change).await
}

/// RFC 7009 §2.1: "If the particular token is a refresh token and the authorization server supports
/// the revocation of access tokens, then the authorization server SHOULD also invalidate all access
/// tokens based on the same authorization grant".
fn end_grant<W: World>(
    world: &W,
    asking: &mut Asking,
    token: &Text,
    change: &mut Change,
) -> Result<Result<(), Refusal>, Unavailable> {
    let Some(grant) = asking.facts.rows.get::<GrantRecord>(token.grant())? else {
        return Ok(Ok(()));
    };
    // Only a token that was once given out shows who may end it: also one that was used up.
    let shown =
        grant.refresh.as_ref().map(|one| one.show(token, &[0; 32], grant.until, asking.now));
    if matches!(shown, None | Some(Err(refresh::Refusal::NotOurs))) {
        return Ok(Ok(()));
    }
    asking.record.root = Some(grant.id.clone());
    asking.record.subject = Some(grant.subject.clone());
    if grant.client_id != asking.caller.client_id() {
        return Ok(Err(Refusal::OtherClient));
    }
    let by = asking.caller.client_id().to_owned();
    let ending = Ending::by(&by, WHY);
    change.writes.extend(ends::of_grant(&grant, ending, asking.now));
    change.records.push(ends::told(world, &grant, ending));
    Ok(Ok(()))
}

fn end_token<W: World>(
    world: &W,
    asking: &mut Asking,
    text: &str,
    change: &mut Change,
) -> Result<Result<(), Refusal>, Unavailable> {
    let Ok(token) = shown::read(&asking.facts, &asking.issuer, text, asking.now)? else {
        return Ok(Ok(()));
    };
    asking.record.root = Some(token.root().to_owned());
    asking.record.jti = Some(token.jti().to_owned());
    asking.record.subject = Some(token.subject().to_owned());
    // RFC 7009 §2.1: "verifies whether the token was issued to the client making the revocation
    // request. If this validation fails, the request is refused".
    if token.client_id() != asking.caller.client_id() {
        return Ok(Err(Refusal::OtherClient));
    }
    let by = asking.caller.client_id().to_owned();
    let ending = Ending::by(&by, WHY);
    change.writes.extend(ends::of_one(&token, ending, asking.now));
    change.records.push(ends::told_of_one(world, &token, ending));
    Ok(Ok(()))
}

/// AuthZEN profile of access requests for OAuth, §"Cancellation", of Deferred Token Response: "The
/// client revokes the `deferral_code` at the revocation endpoint [...] The AS MUST cancel the
/// underlying access request."
async fn end_deferral<W: World>(
    world: &W,
    asking: &mut Asking,
    (asker, hash): (&Asker, &str),
    change: &mut Change,
) -> Result<Result<(), Refusal>, Unavailable> {
    let Some(ticket) = asking.facts.rows.get::<Ticket>(hash)? else { return Ok(Ok(())) };
    if ticket.client_id != asking.caller.client_id() {
        return Ok(Err(Refusal::OtherClient));
    }
    if let Err(refusal) = shows_its_key(world, asking, asker, &ticket, change).await? {
        return Ok(Err(refusal));
    }
    let now = asking.now;
    let rows = world.store().snapshot(&[Key::of::<Approval>(&ticket.approval)]).await?;
    let Some(approval) = rows.get::<Approval>(&ticket.approval)? else { return Ok(Ok(())) };
    asking.record.root = Some(approval.root.clone());
    asking.record.resource = Some(format!("approval {}", approval.id));
    match approval.cancel(now) {
        // Whoever waits is told that it was denied, and nobody is asked any more.
        Ok(cancelled) => {
            let mut record = begin(world, Event::ApprovalEnded);
            record.action = "approval.cancel".to_owned();
            record.agent.clone_from(&asking.record.agent);
            record.resource.clone_from(&asking.record.resource);
            record.root.clone_from(&asking.record.root);
            record.parent.clone_from(&cancelled.parent);
            record.outcome = Outcome::Done;
            record.facts = serde_json::json!({
                "approval": cancelled.id, "front": cancelled.front.name(),
                "shown_sha256": cancelled.hash, "state": cancelled.state.name(),
            });
            change.writes.push(Write::put(&cancelled, Expect::Version(approval.version)));
            change.records.push(record);
        }
        // It was answered, and not used yet: now it will not be.
        Err(_) if ticket.used.is_none() => {
            change.writes.push(Write::put(&ticket.after_use(now), Expect::Version(ticket.version)));
        }
        Err(_) => {}
    }
    Ok(Ok(()))
}

/// "every polling, redemption, and cancellation request MUST carry proof of possession for the same
/// key" (the same profile, §"Sender constraint").
async fn shows_its_key<W: World>(
    world: &W,
    asking: &mut Asking,
    asker: &Asker,
    ticket: &Ticket,
    change: &mut Change,
) -> Result<Result<(), Refusal>, Unavailable> {
    let Some(binding) = &ticket.binding else { return Ok(Ok(())) };
    let of_caller = || asking.caller.key().map(|key| key.to_base64url());
    let shown = match binding {
        Binding::Instance(_) => of_caller(),
        Binding::Certificate(_) => {
            certificate(&asker.certificates).map(|certificate| certificate.to_string())
        }
        Binding::Dpop(_) if asking.caller.method() == Method::AttestationDpop => of_caller(),
        Binding::Dpop(_) => {
            let shown = shown_key(world, &asking.facts, &asker.dpop, &asker.path, asking.now);
            match shown.await? {
                Err(refused) => return Ok(Err(refused.into())),
                Ok(shown) => shown.map(|(key, once)| {
                    let (use_, used) = single_use(&once.space, &once.value, once.until);
                    change.uses.push(use_);
                    asking.record.used.push(used);
                    key.to_base64url()
                }),
            }
        }
    };
    let (Binding::Dpop(bound) | Binding::Certificate(bound) | Binding::Instance(bound)) = binding;
    Ok(if shown.as_deref() == Some(bound) { Ok(()) } else { Err(Refusal::OtherKey) })
}
