//! Backchannel authentication (CIBA Core 1.0 §7): a client names a user, who is asked where they
//! are signed in (AUTHZ-17). The client polls for the answer, is told that there is one, or is sent
//! it, as it registered (§5).

use access::token::client::ClientRefusal;
use access::{documents, handed as handed_to};
use approval::{Asks, Front, Kind, Notify, Whom};
use authentication::session::Acr;
use authentication::{Once, private_key_jwt};
use authorization::asked::{Asked, Wanted};
use authorization::policy::Proof;
use authorization::profile::{self, Demand, Profile, Unmet};
use credential::{KeyRing, Purpose};
use env::{Change, Key, Store, Unavailable, World};
use jose::{Algorithm, Unverified};
use oauth::form::Form;
use oauth::registration::DeliveryMode;
use oauth::token_request::GrantType;
use oauth::{ClientId, TokenText};
use openid::ciba::{
    self, BackchannelRequest, BackchannelResponse, Registered, SignedRequest, UserSecret,
};
use people::end::End;
use people::secrets;
use people::throttle::Throttle;
use registry::{ClientRecord, UserRecord};
use time::{Span, UnixTime};

use crate::Refusal;
use crate::ask::{self, Placed, Posed};
use crate::caller::{Asker, Call, Known, known};
use crate::hint;
use crate::record::single_use;
use crate::turns::{TRIES_MAX, overtaken, pause};

/// The shortest time that a question waits, whatever is asked for: nobody answers sooner.
const WAIT_MIN: Span = Span::from_seconds(30);
/// What signed requests may be signed with. FAPI-CIBA §7.10 leaves ES256 and PS256.
pub const ALGORITHMS: &[Algorithm] = access::publish::CIBA_ALGORITHMS;
/// Parameters that prove who asks, and ask for nothing.
const PROOFS: &[&str] = &["client_assertion", "client_assertion_type", "client_secret"];

/// Answers one request. `throttle` counts wrong codes of users (docs/past-defects.md 9).
pub async fn authorize<W: World>(
    world: &W,
    throttle: &Throttle,
    call: &Call,
) -> Result<End<BackchannelResponse, Refusal>, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(end) = attempt(world, throttle, call).await? {
            return Ok(end);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// One try; `None` where somebody else got the same user asked first.
async fn attempt<W: World>(
    world: &W,
    throttle: &Throttle,
    call: &Call,
) -> Result<Option<End<BackchannelResponse, Refusal>>, Unavailable> {
    let keys = vec![Key::of::<KeyRing>(Purpose::IdToken.name())];
    let known = match known(world, call, keys).await? {
        Ok(known) => known,
        Err(refusal) => return Ok(Some(End::Stranger(refusal.into()))),
    };
    let mut record = known.record(world, "ciba.ask");
    let mut change = Change::default();
    let decided = pose(world, throttle, &known, call).await?.map(|asking| {
        let Asking { placed, told, once } = asking;
        if let Some(once) = once {
            let (use_, used) = single_use(&once.space, &once.value, once.until);
            change.uses.push(use_);
            record.used.push(used);
        }
        let until = placed.approval.until;
        let mut waits = ask::ticket(world, Kind::Ciba, &placed.approval, None);
        let named = |told| Notify { auth_req_id: waits.text.clone(), ..told };
        waits.ticket.notify = told.map(named);
        ask::put(placed, &waits.ticket, &mut change, &mut record);
        // §7.3: "This parameter will only be present if the Client is registered to use the Poll or
        // Ping modes."
        let pushed = waits.ticket.notify.as_ref().is_some_and(|notify| notify.push);
        BackchannelResponse {
            auth_req_id: waits.text,
            expires_in: until.since(known.now).seconds(),
            interval: (!pushed).then(|| waits.ticket.interval.seconds()),
        }
    });
    let again = Refusal::Signed("it was sent before".to_owned());
    known.try_finish(world, change, record, decided, again).await
}

/// What is asked, whom the client is told by, and what the request uses up.
struct Asking {
    placed: Placed,
    told: Option<Notify>,
    once: Option<Once>,
}

async fn pose<W: World>(
    world: &W,
    throttle: &Throttle,
    known: &Known,
    call: &Call,
) -> Result<Result<Asking, Refusal>, Unavailable> {
    let mut asker = match known.asker(world, Some(GrantType::Ciba)).await? {
        Ok(asker) => asker,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // Policy may say so of a client that registered without.
    if known.facts.set().domain().approvals.fapi.contains(&asker.id) {
        asker.demands.extend(profile::demands(&[Profile::FapiCiba]));
    }
    if let Err(refusal) = published(world, known, call, &mut asker).await? {
        return Ok(Err(refusal));
    }
    let (request, once) = match read_for(world, known, &mut asker, &call.form) {
        Ok(read) => read,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = handed(world, known, &asker, &request).await? {
        return Ok(Err(refusal));
    }
    let user = match hint::user(world, known, &asker, &request.hint).await? {
        Ok(user) => user,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let by = (throttle, asker.id.as_str(), call.source.as_str());
    if let Err(refusal) = let_in(by, &user, request.user_code.as_ref(), known.now) {
        return Ok(Err(refusal));
    }
    let told = match notified(known, &asker, &request) {
        Ok(told) => told,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut posed = question(world, known, asker, &request, &user);
    if told.as_ref().is_some_and(|told| told.push) {
        posed = posed.and_then(|posed| pushable(world, known, posed));
    }
    match posed {
        Ok(posed) => {
            let approval = ask::approval(world, (&known.facts, known.now), posed).await?;
            Ok(approval.map(|placed| Asking { placed, told, once }))
        }
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Reads the keys again of a client that publishes them, where it signed the request by one that is
/// not known yet: it may authenticate by another, or by none of them.
async fn published<W: World>(
    world: &W,
    known: &Known,
    call: &Call,
    asker: &mut Asker,
) -> Result<Result<(), Refusal>, Unavailable> {
    let Some(kid) = call.form.get("request").and_then(private_key_jwt::named_key) else {
        return Ok(Ok(()));
    };
    if asker.keys.as_ref().is_some_and(|keys| keys.by_kid(&kid).is_some()) {
        return Ok(Ok(()));
    }
    match documents::ready(world, &asker.id, Some(&kid), &call.source).await? {
        Err(unread) => return Ok(Err(ClientRefusal::from(unread).into())),
        Ok(None) => {}
        Ok(Some(row)) => {
            let rows = world.store().snapshot(&[row, Key::of::<ClientRecord>(&asker.id)]).await?;
            if let Some(client) = rows.get::<ClientRecord>(&asker.id)? {
                asker.keys = documents::keys_of(&client, &rows, known.now)?;
            }
        }
    }
    Ok(Ok(()))
}

/// Where the client is told of the answer, if it does not only poll.
fn notified(
    known: &Known,
    asker: &Asker,
    request: &BackchannelRequest,
) -> Result<Option<Notify>, Refusal> {
    let told = &asker.told;
    let push = match told.mode {
        DeliveryMode::Poll => return Ok(None),
        DeliveryMode::Ping => false,
        DeliveryMode::Push => true,
    };
    // FAPI-CIBA §5.2.2: "shall not support CIBA push mode".
    if push && (told.bound || asker.demands.contains(&Demand::NoPush)) {
        return Err(Refusal::Push("those of this client must be bound to a key"));
    }
    // §10.3.1: what is pushed is bound together by the ID token.
    if push && !request.scope.iter().any(|scope| scope.as_str() == "openid") {
        return Err(Refusal::Push("the scope `openid` must be asked for"));
    }
    let (Some(endpoint), Some(token)) = (&told.endpoint, &request.client_notification_token) else {
        return Err(Refusal::Push("there is no `backchannel_client_notification_endpoint`"));
    };
    Ok(Some(Notify {
        endpoint: endpoint.clone(),
        token: token.as_str().to_owned(),
        auth_req_id: String::new(),
        push,
        method: known.caller.method(),
        tries: 0,
        next: None,
        done: None,
    }))
}

/// A user who set a code is asked for nobody who does not know it (§7.1, `user_code`: "The code is
/// used to authorize sending an authentication request to user's authentication device."). Guesses
/// are few: of one client and of one source, and over all of them for one user. A client that said
/// the right code lately is not kept out by what others guess.
fn let_in(
    (throttle, client_id, source): (&Throttle, &str, &str),
    user: &UserRecord,
    code: Option<&UserSecret>,
    now: UnixTime,
) -> Result<(), Refusal> {
    let Some(stored) = &user.user_code else { return Ok(()) };
    let Some(code) = code else { return Err(Refusal::NoUserCode) };
    let user = user.id();
    throttle.check(client_id, &user, now)?;
    throttle.check(source, "", now)?;
    if secrets::is_user_code(stored, code.expose()) {
        throttle.passed(client_id, &user, now);
        return Ok(());
    }
    throttle.failed(client_id, &user, now);
    throttle.failed(source, "", now);
    Err(Refusal::WrongUserCode)
}

/// The question, if what comes of it can be pushed: a token is for one audience, and nobody says
/// which, nor shows a key, where it is pushed.
fn pushable<W: World>(world: &W, known: &Known, posed: Posed) -> Result<Posed, Refusal> {
    if posed.sought.targets.len() > 1 {
        return Err(Refusal::Push("several resources are asked for, and a token is for one"));
    }
    let (set, gateway) = (known.facts.set(), &world.site().gateway);
    let bound = |audience: &String| {
        let proof = set.audience(audience, gateway).map(|one| one.proof);
        matches!(proof, Some(Proof::Dpop | Proof::Mtls))
    };
    if posed.sought.targets.keys().any(bound) {
        return Err(Refusal::Push("those of the resource must be bound to a key"));
    }
    Ok(posed)
}

/// What is asked, under what the resources demand that it is asked for beside what the client must
/// obey anyway.
fn read_for<W: World>(
    world: &W,
    known: &Known,
    asker: &mut Asker,
    outside: &Form,
) -> Result<(BackchannelRequest, Option<Once>), Refusal> {
    let (request, once) = read(known, asker, outside)?;
    let asked = wanted(world, known, asker, &request)?;
    let wants = ask::demanded(world, known, asker, &asked)?;
    if wants.is_subset(&asker.demands) {
        return Ok((request, once));
    }
    asker.demands.extend(wants);
    read(known, asker, outside)
}

/// Whether the agents may be handed anything that the request names.
async fn handed<W: World>(
    world: &W,
    known: &Known,
    asker: &Asker,
    request: &BackchannelRequest,
) -> Result<Result<(), Refusal>, Unavailable> {
    let asked = match wanted(world, known, asker, request) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(handed_to::fit(world, &asked, asker.is_workload()).await?.map_err(Refusal::from))
}

/// What the request is for.
fn wanted<W: World>(
    world: &W,
    known: &Known,
    asker: &Asker,
    request: &BackchannelRequest,
) -> Result<Asked, Refusal> {
    let wanted = Wanted {
        scope: Some(&request.scope),
        resources: &request.resources,
        details: request.authorization_details.as_ref(),
    };
    let place = known.facts.set().place(&world.site().gateway);
    Ok(wanted.read(place, asker.widest.as_ref())?)
}

/// What is asked, in either form.
fn read(
    known: &Known,
    asker: &Asker,
    outside: &Form,
) -> Result<(BackchannelRequest, Option<Once>), Refusal> {
    let mut once = None;
    let outside = outside.without(PROOFS);
    let signed = ciba::signed(&outside)?;
    let form = match &signed {
        Some(text) => {
            let (form, serves) = inside(known, asker, text)?;
            once = Some(serves);
            form
        }
        // CIBA Core 1.0 §4: "When omitted, the Client will not send signed authentication
        // requests."
        None if asker.told.algorithm.is_some() => {
            let why = "the client registered that it signs its requests, and this one is not";
            return Err(Refusal::Signed(why.to_owned()));
        }
        None => outside,
    };
    let registered =
        Registered { mode: asker.told.mode, user_code_parameter: asker.told.user_code };
    let request = BackchannelRequest::parse(&form, registered)?;
    let context = ciba::has_context(&request);
    profile::of_backchannel(&asker.demands, signed.is_some(), context)?;
    Ok((request, once))
}

/// The parameters of a signed request, and its id, which serves once (§7.1.1: "jti REQUIRED. The
/// unique identifier for this authentication request"): who saw one does not ask it again.
fn inside(known: &Known, asker: &Asker, text: &TokenText) -> Result<(Form, Once), Refusal> {
    let fapi = asker.demands.contains(&Demand::SignedBackchannel);
    let keys = asker.keys.as_ref().ok_or_else(|| {
        Refusal::Signed("the client registered no keys to verify it with".to_owned())
    })?;
    let skew = known.facts.set().domain().bounds.clock_skew;
    let signed = |error: &dyn std::fmt::Display| Refusal::Signed(error.to_string());
    let token =
        Unverified::<SignedRequest>::parse(text.as_str()).map_err(|error| signed(&error))?;
    // §4: "The JWS algorithm "alg" value that the Client will use for signing authentication
    // requests".
    let registered = asker.told.algorithm.filter(|one| ALGORITHMS.contains(one));
    let allowed = registered.as_ref().map_or(ALGORITHMS, std::slice::from_ref);
    let verified = token.verify(keys, allowed, known.now, skew).map_err(|error| signed(&error))?;
    let id = ClientId::parse(&asker.id).map_err(|error| signed(&error))?;
    let form = ciba::check_signed(&verified, &id, &known.issuer, fapi)?;
    let claims = verified.claims();
    let once = Once {
        space: format!("{} backchannel request of {}", known.issuer, asker.id),
        value: claims.jti.as_str().to_owned(),
        until: claims.exp.time().plus(skew),
    };
    Ok((form, once))
}

/// The question, as policy lets it be put to this user.
fn question<W: World>(
    world: &W,
    known: &Known,
    asker: Asker,
    request: &BackchannelRequest,
    user: &UserRecord,
) -> Result<Posed, Refusal> {
    let set = known.facts.set();
    let asked = wanted(world, known, &asker, request)?;
    let approvals = &set.domain().approvals;
    let bearer = |audience: &String| {
        set.audience(audience, &world.site().gateway).is_some_and(|one| one.proof == Proof::Bearer)
    };
    // FAPI-CIBA §5.2.2 by way of FAPI 2.0 SP §5.3.2.1: "shall only issue sender-constrained access
    // tokens": said before anybody is asked.
    if asker.demands.contains(&Demand::BoundTokens)
        && asked.targets.iter().any(|target| bearer(&target.audience))
    {
        return Err(Unmet(Demand::BoundTokens).into());
    }
    let (mut sought, stepped) = ask::permit(known, &asker, &user.id(), &asked)?;
    sought.message.clone_from(&request.binding_message);
    let acr = wanted_acr(&request.acr_values)?;
    let longest = approvals.wait;
    let wait = request.requested_expiry.map(|wanted| Span::from_seconds(wanted).max(WAIT_MIN));
    Ok(Posed {
        whom: Whom::User(user.id()),
        by_subject: true,
        acr: acr.max(stepped).max(approvals.acr),
        asks: Asks {
            client_id: asker.id,
            name: asker.name,
            owner: asker.owner,
            subject: user.id(),
            actors: Vec::new(),
        },
        sought,
        front: Front::Ciba,
        root: None,
        parent: None,
        above: Vec::new(),
        wait: wait.map_or(longest, |wait| wait.min(longest)),
        grant_until: Some(known.now.plus(approvals.grant)),
        bound: None,
    })
}

/// The least of the classes that were asked for.
fn wanted_acr(values: &[String]) -> Result<Option<Acr>, Refusal> {
    if values.is_empty() {
        return Ok(None);
    }
    let known = values.iter().filter_map(|text| Acr::parse(text)).min();
    known.map(Some).ok_or_else(|| Refusal::NoSuchAcr(values.join(" ")))
}
