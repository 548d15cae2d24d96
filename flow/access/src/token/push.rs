//! Tokens that are sent to a client which asked for somebody (CIBA Core 1.0 §10.3.1): made by the
//! same checks as where a client asks for them, by the same policy, and recorded alike.
//!
//! Not here: the sending, and what is sent where there are none (`approve`).

use approval::Ticket;
use authentication::Caller;
use authorization::granted::NotYet;
use authorization::grants;
use credential::{KeyRing, Purpose};
use env::{Key, Recorded, Stored, Unavailable, World};
use monitoring::Event;
use oauth::client_assertion::PresentedClient;
use oauth::token_request::{Ciba, TokenRequest};
use oauth::token_response::TokenResponse;
use oauth::{Issuer, Resource, TokenText};
use registry::ClientRecord;

use super::describe::describe_caller;
use super::{Asked, Call, End, Endpoint, Refusal, Spent, decide, finish};
use crate::facts::basis;
use crate::issuing;
use crate::record::begin;

/// Makes the tokens of a ticket whose client is pushed them; `None` where another server does, or
/// where there is nothing to push.
pub async fn push<W: World>(
    world: &W,
    ticket: &Stored<Ticket>,
) -> Result<Option<Recorded<Result<TokenResponse, Refusal>>>, Unavailable> {
    let Some(notify) = ticket.notify.as_ref().filter(|notify| notify.push) else {
        return Ok(None);
    };
    let Ok(auth_req_id) = TokenText::parse(&notify.auth_req_id) else { return Ok(None) };
    let client_id = &ticket.client_id;
    let mut keys = vec![Key::of::<ClientRecord>(client_id)];
    let rings = [Purpose::AccessToken, Purpose::TxnToken, Purpose::IdToken];
    keys.extend(rings.map(|purpose| Key::of::<KeyRing>(purpose.name())));
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let issuer =
        Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))?;
    let resources = ticket.resources.iter().filter_map(|one| Resource::parse(one).ok()).collect();
    let call = Call {
        request: TokenRequest::Ciba(Ciba { auth_req_id, resources }),
        client: PresentedClient { client_id: None, assertion: None, secret: None },
        attestation: None,
        dpop: Vec::new(),
        certificates: Vec::new(),
        source: String::new(),
    };
    let caller = Caller::assertion(client_id.clone(), notify.method, now);
    let mut record = begin(world, Event::TokenIssued);
    describe_caller(&mut record, &caller, &facts);
    let asked = Asked {
        call: &call,
        caller: &caller,
        issuer: &issuer,
        key: None,
        endpoint: Endpoint::Push,
        arrived: now,
        now,
    };
    let verdict = decide(world, &facts, &asked, &mut record).await?;
    // Another server's commit came first.
    let theirs = grants::Refusal::Wait(NotYet::Pushed);
    if matches!(&verdict.0, Err(no) if no.refusal == Refusal::Grant(theirs)) {
        return Ok(None);
    }
    let end = finish(world, &facts, &asked, verdict, (record, Spent::default())).await?;
    Ok(match end {
        Some(End::Decided(recorded)) => Some(recorded),
        Some(End::Stranger(_) | End::Unproved(_)) | None => None,
    })
}
