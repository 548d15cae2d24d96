//! Revocation (RFC 7009): a client gives back what it holds. A refresh token ends its grant with
//! everything that came of it, an access token itself and what came of it.

use authorization::granted::GrantRecord;
use authorization::granted::refresh::{self, Text};
use env::{Change, Key, Unavailable, World};
use monitoring::Event;
use oauth::revocation::RevocationRequest;

use crate::ends::{self, Ending};
use crate::shown;
use crate::token::asker::{Asker, Asking, End, Refusal};
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
    let mut asking = match Asking::begin(world, &order.asker, keys).await? {
        Ok(asking) => asking,
        Err(stranger) => return Ok(Some(End::Stranger(stranger))),
    };
    asking.record.event = Event::GrantEnded;
    asking.record.action = "token.revoke".to_owned();
    let mut change = Change::default();
    let done = match asking.in_force(world).await? {
        Err(refusal) => Err(refusal),
        Ok(()) => match refresh {
            Some(token) => end_grant(world, &mut asking, &token, &mut change)?,
            None => end_token(world, &mut asking, text, &mut change)?,
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
