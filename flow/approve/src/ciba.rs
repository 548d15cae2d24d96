//! Backchannel authentication (CIBA Core 1.0 §7): a client names a user, who is asked where they
//! are signed in (AUTHZ-17). The client polls for the answer.

use access::documents;
use access::token::client::ClientRefusal;
use approval::{Approval, Asks, Front, Kind, Whom};
use authentication::private_key_jwt;
use authentication::session::Acr;
use authorization::asked::Wanted;
use authorization::policy::Proof;
use credential::{KeyRing, Purpose};
use env::{Change, Key, Store, Unavailable, World};
use jose::{Algorithm, KeySet, Unverified};
use oauth::form::Form;
use oauth::registration::DeliveryMode;
use oauth::token_request::GrantType;
use oauth::{ClientId, TokenText};
use openid::ciba::{
    self, BackchannelRequest, BackchannelResponse, Hint, Registered, SignedRequest,
};
use openid::id_token::IdToken;
use people::end::End;
use registry::profile::{self, Demand, Profile, Unmet};
use registry::{ClientRecord, UserRecord};
use time::Span;

use crate::Refusal;
use crate::ask::{self, Posed};
use crate::caller::{Asker, Call, Known, known};
use crate::whom;

/// What signed requests may be signed with. FAPI-CIBA §7.10 leaves ES256 and PS256.
pub const ALGORITHMS: &[Algorithm] = access::publish::CIBA_ALGORITHMS;
/// How old an ID token may be that is a hint: it is no proof of anything.
const HINT_AGE_MAX: Span = Span::from_seconds(30 * 86_400);
/// Parameters that prove who asks, and ask for nothing.
const PROOFS: &[&str] = &["client_assertion", "client_assertion_type", "client_secret"];

/// Answers one request.
pub async fn authorize<W: World>(
    world: &W,
    call: &Call,
) -> Result<End<BackchannelResponse, Refusal>, Unavailable> {
    let keys = vec![Key::of::<KeyRing>(Purpose::IdToken.name())];
    let known = match known(world, call, keys).await? {
        Ok(known) => known,
        Err(refusal) => return Ok(End::Stranger(refusal.into())),
    };
    let mut record = known.record(world, "ciba.ask");
    let mut change = Change::default();
    let decided = pose(world, &known, call).await?.map(|approval| {
        let waits = ask::ticket(world, Kind::Ciba, &approval, None);
        ask::put(&approval, &waits.ticket, &mut change, &mut record);
        BackchannelResponse {
            auth_req_id: waits.text,
            expires_in: approval.until.since(known.now).seconds(),
            interval: Some(waits.ticket.interval.seconds()),
        }
    });
    known.finish(world, change, record, decided, Refusal::Replayed).await
}

async fn pose<W: World>(
    world: &W,
    known: &Known,
    call: &Call,
) -> Result<Result<Approval, Refusal>, Unavailable> {
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
    let request = match read(known, &asker, &call.form) {
        Ok(request) => request,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let user = match hinted(world, known, &request.hint).await? {
        Ok(user) => user,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let posed = question(world, known, asker, &request, &user);
    match posed {
        Ok(posed) => ask::approval(world, known, posed).await,
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
    match documents::ready(world, &asker.id, Some(&kid)).await? {
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

/// What is asked, in either form.
fn read(known: &Known, asker: &Asker, outside: &Form) -> Result<BackchannelRequest, Refusal> {
    let outside = outside.without(PROOFS);
    let signed = ciba::signed(&outside)?;
    let form = match &signed {
        Some(text) => inside(known, asker, text)?,
        None => outside,
    };
    let registered = Registered { mode: DeliveryMode::Poll, user_code_parameter: false };
    let request = BackchannelRequest::parse(&form, registered)?;
    let context = ciba::has_context(&request);
    profile::of_backchannel(&asker.demands, signed.is_some(), context)?;
    Ok(request)
}

/// The parameters of a signed request.
fn inside(known: &Known, asker: &Asker, text: &TokenText) -> Result<Form, Refusal> {
    let fapi = asker.demands.contains(&Demand::SignedBackchannel);
    let keys = asker.keys.as_ref().ok_or_else(|| {
        Refusal::Signed("the client registered no keys to verify it with".to_owned())
    })?;
    // CIBA Core 1.0 §4, `backchannel_authentication_request_signing_alg`: "The JWS algorithm alg
    // value that the Client will use for signing authentication request".
    let algorithms = match asker.algorithm.as_slice() {
        [] => ALGORITHMS,
        registered => registered,
    };
    let skew = known.facts.set().domain().bounds.clock_skew;
    let signed = |error: &dyn std::fmt::Display| Refusal::Signed(error.to_string());
    let token =
        Unverified::<SignedRequest>::parse(text.as_str()).map_err(|error| signed(&error))?;
    let verified =
        token.verify(keys, algorithms, known.now, skew).map_err(|error| signed(&error))?;
    let id = ClientId::parse(&asker.id).map_err(|error| signed(&error))?;
    Ok(ciba::check_signed(&verified, &id, &known.issuer, fapi)?)
}

/// Whom the request means.
async fn hinted<W: World>(
    world: &W,
    known: &Known,
    hint: &Hint,
) -> Result<Result<UserRecord, Refusal>, Unavailable> {
    let unknown = |why: &str| Ok(Err(Refusal::UnknownUser(why.to_owned())));
    match hint {
        Hint::Login(hint) => whom::hinted(world, hint).await,
        Hint::IdToken(text) => match subject(known, text)? {
            Some(subject) => whom::person(world, &subject).await,
            None => unknown("it is no ID token of ours"),
        },
        // CIBA Core 1.0 §7.1: what is in it is agreed between both; nothing is here.
        Hint::LoginToken(_) => unknown("`login_hint_token` is not taken here"),
    }
}

/// Whom an ID token of ours is about.
fn subject(known: &Known, text: &TokenText) -> Result<Option<String>, Unavailable> {
    let Some(ring) = known.facts.rows.get::<KeyRing>(Purpose::IdToken.name())? else {
        return Ok(None);
    };
    let keys: Vec<_> = ring.published(known.now).map(|key| key.public.clone()).collect();
    let Ok(keys) = KeySet::new(keys) else { return Ok(None) };
    let algorithms = [basis::sign::ALGORITHM];
    let token = Unverified::<IdToken>::parse(text.as_str()).ok();
    let verified =
        token.and_then(|token| token.verify(&keys, &algorithms, known.now, HINT_AGE_MAX).ok());
    Ok(verified.map(|token| token.claims().sub.as_str().to_owned()))
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
    let wanted = Wanted {
        scope: Some(&request.scope),
        resources: &request.resources,
        details: request.authorization_details.as_ref(),
    };
    let asked = wanted.read(set.resources(), &world.site().gateway, asker.widest.as_ref())?;
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
    let wait = request.requested_expiry.map(Span::from_seconds);
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
        wait: wait.map_or(longest, |wait| wait.min(longest)),
        grant_until: Some(known.now.plus(approvals.grant)),
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
