//! The device grant (RFC 8628): a device that has no browser shows a code, and its user types it
//! into theirs (AUTHZ-19).
//!
//! What draft-ietf-oauth-cross-device-security §6.1 asks for stands here and on the page: a code
//! lives for minutes, guesses are few, the user confirms always, also where the code came with the
//! link, and sees who asks, from where, and for what.

use access::handed;
use approval::approval::NotAllowed;
use approval::{Approval, Asks, Front, Kind, State, Ticket, Whom, ticket};
use authorization::asked::Wanted;
use authorization::profile::{Demand, Unmet};
use basis::shares::Shares;
use env::{Change, Clock, Entity, Entropy, Index, Key, Store, Stored, Unavailable, World};
use oauth::device::{DeviceRequest, DeviceResponse, UserCode};
use oauth::token_request::GrantType;
use people::browser::Browser;
use people::end::End;
use people::sessions::Signed;
use people::throttle::Throttle;

use crate::Refusal;
use crate::ask::{self, For, Placed, Posed};
use crate::caller::{Asker, Call, Known, known};
use crate::facts::basis;

/// Where users type codes, below the issuer.
pub const PAGE: &str = "/device";
/// How often another code is drawn where one is taken.
const DRAWS_MAX: usize = 8;

/// Answers one request (RFC 8628 §3.1). `shares` counts what clients leave here that prove nothing.
pub async fn authorize<W: World>(
    world: &W,
    shares: &Shares,
    call: &Call,
) -> Result<End<DeviceResponse, Refusal>, Unavailable> {
    let known = match known(world, call, Vec::new()).await? {
        Ok(known) => known,
        Err(refusal) => return Ok(End::Stranger(refusal.into())),
    };
    let mut record = known.record(world, "device.ask");
    let mut change = Change::default();
    let posed = pose(world, &known, call).await?.and_then(|placed| {
        // Anybody can say the name of a client that proves nothing: its questions cost nothing.
        let (client, now) = (known.caller.client_id(), known.now);
        let taken = match known.is_unproved() {
            true => shares.ask(&call.source, client, now),
            false => Ok(()),
        };
        taken.map(|()| placed).map_err(|many| Refusal::TooManyAsk { wait: many.wait(now) })
    });
    let decided = match posed {
        Err(refusal) => Err(refusal),
        Ok(placed) => {
            let until = placed.approval.until;
            let waits = ask::ticket(world, Kind::Device, &placed.approval, None);
            let code = draw(world).await?;
            let user_code = Some(ticket::user_code_hash(code.as_letters()));
            let ticket = Ticket { user_code, ..waits.ticket };
            ask::put(placed, &ticket, &mut change, &mut record);
            ask::tell(&mut record, "source", &call.source);
            let page = format!("{}{PAGE}", world.site().issuer);
            let complete = format!("{page}?user_code={}", code.expose());
            Ok(DeviceResponse {
                device_code: waits.text,
                user_code: code.expose(),
                verification_uri: page,
                verification_uri_complete: Some(complete),
                expires_in: until.since(known.now).seconds(),
                interval: Some(ticket.interval.seconds()),
            })
        }
    };
    known.finish(world, change, record, decided, Refusal::Replayed).await
}

async fn pose<W: World>(
    world: &W,
    known: &Known,
    call: &Call,
) -> Result<Result<Placed, Refusal>, Unavailable> {
    let asker = match known.asker(world, Some(GrantType::DeviceCode)).await? {
        Ok(asker) => asker,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let request = match DeviceRequest::parse(&call.form) {
        Ok(request) => request,
        Err(refused) => return Ok(Err(refused.into())),
    };
    let wanted = Wanted {
        scope: request.scope.as_ref(),
        resources: &request.resources,
        details: request.authorization_details.as_ref(),
    };
    let set = known.facts.set();
    let read = wanted.read(set.place(&world.site().gateway), asker.widest.as_ref());
    // Who answers is not known yet: policy is asked about nobody now, and about them when they
    // answer.
    let read = match read {
        Ok(asked) => handed::fit(world, &asked, asker.is_workload()).await?.map(|()| asked),
        Err(refused) => Err(refused),
    };
    let permitted = read.map_err(Refusal::from);
    let permitted = permitted.and_then(|asked| {
        let wants = ask::demanded(world, known, &asker, &asked)?;
        if wants.contains(&Demand::NamesResource) && request.resources.is_empty() {
            return Err(Unmet(Demand::NamesResource).into());
        }
        ask::permit(known, &asker, "", &asked)
    });
    let (sought, acr) = match permitted {
        Ok(permitted) => permitted,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let approvals = &set.domain().approvals;
    let posed = Posed {
        whom: Whom::Typed,
        by_subject: true,
        acr: acr.max(approvals.acr),
        asks: Asks { client_id: asker.id, name: asker.name, owner: asker.owner, ..Asks::default() },
        sought,
        front: Front::Device,
        root: None,
        parent: None,
        above: Vec::new(),
        wait: approvals.wait,
        grant_until: Some(known.now.plus(approvals.grant)),
        bound: None,
    };
    ask::approval(world, (&known.facts, known.now), posed).await
}

/// A code that no device shows.
async fn draw<W: World>(world: &W) -> Result<UserCode, Unavailable> {
    for _ in 0..DRAWS_MAX {
        let Some(code) = UserCode::of_random(&world.entropy().secret()) else { continue };
        let hash = ticket::user_code_hash(code.as_letters());
        let found = world.store().scan(Ticket::TABLE, Index::Handle, &hash, None, 1).await?;
        if found.rows.is_empty() {
            return Ok(code);
        }
    }
    Err(Unavailable::of("store", "no free user code was drawn"))
}

/// What the device with that code asks for. Guesses are few: of one source, and over all.
pub async fn find<W: World>(
    world: &W,
    throttle: &Throttle,
    browser: &Browser<'_>,
    typed: &str,
) -> Result<Result<Approval, Refusal>, Unavailable> {
    let now = world.clock().now();
    // RFC 8628 §5.1: "It is RECOMMENDED that the authorization server rate-limits user code
    // attempts."
    if let Err(many) = throttle.check(browser.source, GUESSED, now) {
        return Ok(Err(many.into()));
    }
    let found = match UserCode::parse(typed) {
        Ok(code) => of_code(world, &code).await?,
        Err(_) => None,
    };
    let found = found.filter(|approval| approval.state_at(now) == State::Pending);
    if found.is_none() {
        throttle.failed(browser.source, GUESSED, now);
    }
    Ok(found.map(|approval| (*approval.value).clone()).ok_or(Refusal::NoSuchCode))
}

/// Under whom guesses are counted: no identifier of a person is so.
const GUESSED: &str = "device";

/// The question of the device that shows this code.
pub(crate) async fn of_code<W: World>(
    world: &W,
    code: &UserCode,
) -> Result<Option<Stored<Approval>>, Unavailable> {
    let hash = ticket::user_code_hash(code.as_letters());
    let found = world.store().scan(Ticket::TABLE, Index::Handle, &hash, None, 2).await?;
    let now = world.clock().now();
    for row in &found.rows {
        let read = row.value::<Ticket>().map_err(|error| Unavailable::of("store", error))?;
        let Some(ticket) = read.filter(|one| one.user_code.as_ref() == Some(&hash)) else {
            continue;
        };
        if ticket.used.is_some() || now >= ticket.until {
            continue;
        }
        let key = Key::of::<Approval>(&ticket.approval);
        return world.store().snapshot(&[key]).await?.get::<Approval>(&ticket.approval);
    }
    Ok(None)
}

/// Asks policy whether this user may allow what the device asks for, before they do: who is told no
/// at the token endpoint only has allowed something in vain.
pub(crate) async fn may_allow<W: World>(
    world: &W,
    approval: &Approval,
    signed: &Signed,
) -> Result<Result<(), Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let (id, now) = (&approval.asks.client_id, world.clock().now());
    let asker = match Asker::load(world, &facts, id, Some(approval.epoch), now).await? {
        Ok(asker) => asker,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let user = signed.user.id();
    let by =
        For { facts: &facts, principal: &asker.principal, client_id: &asker.id, user: &user, now };
    let targets = &approval.sought.targets;
    for (audience, wanted) in targets {
        let known = facts.set().audience(audience, &world.site().gateway);
        let name = known.map(|one| one.name).unwrap_or_default();
        let (granted, acr) = match ask::of_target(&by, audience, &name, wanted, targets.len() == 1)
        {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let found = signed.session.authenticated.acr;
        if let Some(wanted) = acr.filter(|wanted| !found.satisfies(*wanted)) {
            return Ok(Err(NotAllowed::TooWeak { found, wanted }.into()));
        }
        if granted.scope != wanted.scope {
            return Ok(Err(Refusal::Less(name)));
        }
    }
    Ok(Ok(()))
}
