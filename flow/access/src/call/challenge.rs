//! A call that a human must approve first: the challenge that the client takes to the server, and
//! the token that it comes back with (draft-rosomakho-oauth-txn-challenge; AUTHZ-18, AUTHZ-31).

use authorization::Audience;
use authorization::presented::Presented;
use env::{Change, Unavailable, World};
use gateway::approve::{self, Says};
use gateway::{Refusal, Wanted, map};
use monitoring::Record;
use oauth::Issuer;
use oauth::txn_challenge;
use pdp::{Denial, Fact, Obligation, Question};
use time::UnixTime;

use super::{Asked, Delegate, Refused};
use crate::issuing;
use crate::record::{public_id, single_use};
use crate::sign::{self, ALGORITHM};

/// What a record of a call that was approved has among what is known: the transaction.
pub(super) const APPROVED: &str = "approved";

/// The transaction that the token approves, where it is for one approved call: this one.
pub(super) fn approved(
    asked: &Asked<'_>,
    presented: &Presented,
    wanted: &Wanted,
    audience: &Audience,
) -> Result<Option<String>, Refusal> {
    if !approve::is_of_one_call(presented) {
        return Ok(None);
    }
    let act = approve::act(asked.call, wanted)
        .map_err(|why| Refusal::OtherCall { why: why.to_string() })?;
    approve::approved(presented, &act, &audience.id)
}

/// The approval serves once: whoever commits first has it.
pub(super) fn spend(
    record: &mut Record,
    change: &mut Change,
    audience: &Audience,
    txn: &str,
    until: UnixTime,
) {
    let (use_, used) = single_use(&format!("{} approved", audience.id), txn, until);
    change.uses.push(use_);
    record.used.push(used);
    record.txn = Some(txn.to_owned());
    record.attestation.insert(APPROVED.to_owned(), txn.to_owned());
}

/// Tells policy what was approved, and how the user authenticated.
pub(super) fn tell(
    question: &mut Question,
    approved: bool,
    presented: &Presented,
) -> Option<String> {
    let acr = presented.authenticated().map(|one| one.acr.as_str().to_owned());
    let facts = &mut question.context;
    facts.extend(approved.then_some(("approved".to_owned(), Fact::Bool(true))));
    facts.extend(acr.clone().map(|acr| ("acr".to_owned(), Fact::Text(acr))));
    acr
}

/// What the client can do about a denial that is none but for a duty: to have the user authenticate
/// first, then to have the call approved.
pub(super) fn unmet(denial: &Denial) -> Option<Refusal> {
    let policy = denial.version.as_str().to_owned();
    let others =
        denial.unmet.iter().any(|one| !matches!(one, Obligation::Approval | Obligation::StepUp(_)));
    if others {
        return None;
    }
    let stepped = denial.unmet.iter().find_map(|one| match one {
        Obligation::StepUp(acr) => Some(acr.clone()),
        _ => None,
    });
    match (stepped, denial.unmet.is_empty()) {
        (Some(acr), _) => Some(Refusal::StepUp { acr, policy }),
        (None, false) => Some(Refusal::Approval { policy }),
        (None, true) => None,
    }
}

/// The refusal with its challenge, where an approval is all that is missing and the client takes
/// one. §4.1: "A protected resource MUST NOT return a transaction authorization challenge unless
/// the request includes an Accept-Txn-Challenge header field with a true value".
pub(super) async fn with<W: World>(
    world: &W,
    gateway: &Delegate,
    asked: &Asked<'_>,
    refused: Refused,
    record: &mut Record,
) -> Result<Refused, Unavailable> {
    let wants = matches!(refused.refusal, Refusal::Approval { .. });
    let takes = txn_challenge::is_accepted(asked.call.values(txn_challenge::FIELD));
    let (Some(presented), true) = (refused.presented.as_deref(), wants && takes) else {
        return Ok(refused);
    };
    let Some(resource) = asked.facts.set().resource_named(asked.call.target.resource()) else {
        return Ok(refused);
    };
    let audience = Audience::of_resource(resource, &world.site().gateway);
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("gateway", error);
    let wanted = map(asked.call, resource).map_err(|error| fault(&error))?;
    // What has no one text cannot be approved, and stays refused.
    let Ok(act) = approve::act(asked.call, &wanted) else { return Ok(refused) };
    let now = issuing::now(world, asked.facts)?;
    let leave = gateway.leave().filter(|leave| now < leave.until);
    let leave = leave.ok_or_else(|| fault(&"no leave to sign; the server gives it"))?;
    let issuer = Issuer::parse(&world.site().issuer).map_err(|error| fault(&error))?;
    let (jti, txn) = (public_id(world), public_id(world));
    let says = Says {
        issuer: &issuer,
        audience: &audience.id,
        jti: &jti,
        txn: &txn,
        now,
        kid: &leave.kid,
        algorithm: ALGORITHM,
    };
    let input = approve::challenge(presented, &act, &says).map_err(|error| fault(&error))?;
    let token = sign::token(world, &leave.handle, input).await?;
    record.txn = Some(txn);
    Ok(Refused { transaction: Some(token.expose().into()), ..refused })
}
