//! The transaction authorization endpoint (draft-rosomakho-oauth-txn-challenge §5): a client hands
//! in what a resource wants approved, and waits (AUTHZ-31, AUTHZ-32).

use approval::{Asks, Front, Kind, Sought, call_detail};
use authentication::Once;
use authorization::granted::{Ended, Granted};
use credential::{KeyRing, Purpose};
use env::{Change, Key, Store, Unavailable, World};
use jose::{Algorithm, KeySet, Unverified};
use oauth::parameter::Refused;
use oauth::txn_challenge::{self, TxnChallenge, TxnChallengeClaims, TxnResponse};
use people::end::End;

use crate::Refusal;
use crate::ask::{self, Placed, Posed};
use crate::caller::{Call, Known, known};
use crate::record::single_use;
use crate::turns::{TRIES_MAX, overtaken, pause};
use crate::whom;

/// What challenges are signed with: as the gateways' other tokens.
const ALGORITHMS: &[Algorithm] = &[basis::sign::ALGORITHM];
/// Bytes of a challenge.
const CHALLENGE_BYTES_MAX: usize = 16_384;
/// Where the approving person finds what waits for them, below the issuer.
pub const PAGE: &str = "/console/approvals";

/// Answers the first request of §5.1; for those that wait see the token endpoint.
pub async fn authorize<W: World>(
    world: &W,
    call: &Call,
) -> Result<End<TxnResponse, Refusal>, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(end) = attempt(world, call).await? {
            return Ok(end);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// One try; `None` where the same people were asked something else first.
async fn attempt<W: World>(
    world: &W,
    call: &Call,
) -> Result<Option<End<TxnResponse, Refusal>>, Unavailable> {
    let keys = vec![Key::of::<KeyRing>(Purpose::TxnToken.name())];
    let known = match known(world, call, keys).await? {
        Ok(known) => known,
        Err(refusal) => return Ok(Some(End::Stranger(refusal.into()))),
    };
    let mut record = known.record(world, "transaction.ask");
    let mut change = Change::default();
    let decided = match pose(world, &known, call).await? {
        Ok((placed, once)) => {
            let (use_, used) = single_use(&once.space, &once.value, once.until);
            change.uses.push(use_);
            record.used.push(used);
            let (id, until) = (placed.approval.id.clone(), placed.approval.until);
            let waits = ask::ticket(world, Kind::Challenge, &placed.approval, None);
            ask::put(placed, &waits.ticket, &mut change, &mut record);
            Ok(TxnResponse {
                transaction_authorization_id: waits.text,
                expires_in: until.since(known.now).seconds(),
                interval: Some(waits.ticket.interval.seconds()),
                authorization_uri: Some(format!("{}{PAGE}/{}", world.site().issuer, id)),
            })
        }
        Err(refusal) => Err(refusal),
    };
    known.try_finish(world, change, record, decided, Refusal::ChallengeUsed).await
}

type Read = Result<(Placed, Once), Refusal>;

async fn pose<W: World>(world: &W, known: &Known, call: &Call) -> Result<Read, Unavailable> {
    let asker = match known.asker(world, None).await? {
        Ok(asker) => asker,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let claims = match verified(known, call)? {
        Ok(claims) => claims,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let refuse = |why: &str| Ok(Err(Refusal::Challenge(why.to_owned())));
    // §4.6: "the client is permitted to request transaction authorization for the challenged
    // operation": whoever made the call, and nobody who saw the challenge pass.
    if claims.client_id.as_str() != asker.id {
        return refuse("it is of another client's call");
    }
    let Some(resource) = known.facts.set().audience(&claims.iss, &world.site().gateway) else {
        return refuse("its resource is not known here");
    };
    let [detail] = claims.authorization_details.as_slice() else {
        return refuse("it is not about one call");
    };
    let act = match call_detail::of_value(detail, &claims.iss) {
        Ok(act) => act,
        Err(why) => return Ok(Err(why.into())),
    };
    let ids = [claims.aims_root.as_str(), claims.aims_parent.as_str()];
    if ended(world, ids).await? {
        return refuse("the token of that call was ended");
    }
    let actors: Vec<String> =
        claims.act.iter().flat_map(|act| act.iter()).map(str::to_owned).collect();
    let rule = known.facts.set().domain().approvals.at(Some(&resource.name));
    let subject = claims.sub.as_str().to_owned();
    let whom = match whom::of_policy(world, &rule.ask, &subject, &asker.owner).await? {
        Ok(whom) => whom,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let scope = scope_of(known, &resource.name, &act);
    let details = vec![call_detail::to_value(&act, &claims.iss, false)];
    let posed = Posed {
        whom,
        by_subject: rule.by_subject,
        acr: rule.acr,
        asks: Asks { client_id: asker.id, name: asker.name, owner: asker.owner, subject, actors },
        sought: Sought {
            targets: [(claims.iss.clone(), Granted { scope, details })].into_iter().collect(),
            act: Some(act),
            message: Some(claims.reason.clone()),
            txn: Some(claims.txn.as_str().to_owned()),
            ..Sought::default()
        },
        front: Front::Challenge,
        root: Some(claims.aims_root.as_str().to_owned()),
        parent: Some(claims.aims_parent.as_str().to_owned()),
        above: Vec::new(),
        wait: known.facts.set().domain().approvals.wait,
        grant_until: None,
        bound: None,
    };
    let once = Once {
        space: format!("{} challenge of {}", known.issuer.as_str(), claims.iss),
        value: claims.jti.as_str().to_owned(),
        until: claims.exp.time().plus(known.facts.set().domain().bounds.clock_skew),
    };
    Ok(ask::approval(world, (&known.facts, known.now), posed).await?.map(|placed| (placed, once)))
}

/// The scope that the one call needs.
fn scope_of(known: &Known, resource: &str, act: &approval::Act) -> oauth::ScopeSet {
    let Some(policy) = known.facts.set().resource_named(resource) else {
        return oauth::ScopeSet::default();
    };
    let action = match act.what.split_once(' ') {
        Some((method, path)) if act.action == "http.request" => policy.request(method, path),
        _ => policy.tool(&act.what),
    };
    action.and_then(|action| action.scope.clone()).into_iter().collect()
}

/// The claims of the challenge, verified. §4.6: "the challenge signature is valid", "the challenge
/// was issued by a protected resource recognized by the authorization server", "the challenge has
/// not expired", "the aud claim identifies the authorization server".
fn verified(
    known: &Known,
    call: &Call,
) -> Result<Result<TxnChallengeClaims, Refusal>, Unavailable> {
    const NAME: &str = "transaction_challenge";
    const RULE: &str = "draft-rosomakho-oauth-txn-challenge §5.1";
    let Some(text) = call.form.get(NAME) else {
        return Ok(Err(Refused::missing(NAME, RULE).into()));
    };
    if text.len() > CHALLENGE_BYTES_MAX {
        let what = format!("more than {CHALLENGE_BYTES_MAX} bytes");
        return Ok(Err(Refused::form(NAME, RULE, what).into()));
    }
    let Some(ring) = known.facts.rows.get::<KeyRing>(Purpose::TxnToken.name())? else {
        return Err(Unavailable::of("store", "no txn-token keys yet"));
    };
    // Gateways sign, by keys that were delegated to them; our own key signs none.
    let keys = ring.published(known.now).filter(|key| key.holder.is_some());
    let keys: Vec<_> = keys.map(|key| key.public.clone()).collect();
    let challenge = |error: &dyn std::fmt::Display| Refusal::Challenge(error.to_string());
    let Ok(keys) = KeySet::new(keys) else {
        return Ok(Err(Refusal::Challenge("no gateway may sign one".to_owned())));
    };
    let skew = known.facts.set().domain().bounds.clock_skew;
    let token = match Unverified::<TxnChallenge>::parse(text) {
        Ok(token) => token,
        Err(error) => return Ok(Err(challenge(&error))),
    };
    Ok(match token.verify(&keys, ALGORITHMS, known.now, skew) {
        Ok(verified) => {
            let claims = verified.claims().clone();
            txn_challenge::check(&claims, &known.issuer)
                .map(|()| claims)
                .map_err(|error| challenge(&error))
        }
        Err(error) => Err(challenge(&error)),
    })
}

/// Whether one of these ended before its time.
async fn ended<W: World>(world: &W, ids: [&str; 2]) -> Result<bool, Unavailable> {
    let keys = ids.map(Key::of::<Ended>);
    let rows = world.store().snapshot(&keys).await?;
    for id in ids {
        if rows.get::<Ended>(id)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
