//! The checks, one function each, and the table that says which grant runs which, in order.

use authentication::Who;
use oauth::ScopeSet;
use oauth::token_request::GrantType;

use super::Grant::{ClientCredentials as C, Exchange as E, Transaction as T};
use super::{Context, Grant, Refusal, Standing};
use crate::policy::Proof;

/// A check with its name in the table.
pub struct Check {
    /// The name.
    pub name: &'static str,
    /// The check.
    pub run: fn(&Context<'_>) -> Result<(), Refusal>,
}

const fn check(name: &'static str, run: fn(&Context<'_>) -> Result<(), Refusal>) -> Check {
    Check { name, run }
}

/// Rows are checks, columns are grants; the order is that of the run.
pub const CHECKS: &[(Check, &[Grant])] = &[
    (check("caller_is_in_force", caller_is_in_force), &[C, E, T]),
    (check("grant_is_allowed", grant_is_allowed), &[C, E, T]),
    (check("subject_is_given", subject_is_given), &[E, T]),
    (check("subject_is_for_the_caller", subject_is_for_the_caller), &[E, T]),
    (check("subject_is_in_force", subject_is_in_force), &[E, T]),
    (check("caller_may_act", caller_may_act), &[E, T]),
    (check("actor_is_the_caller", actor_is_the_caller), &[E, T]),
    (check("target_is_known", target_is_known), &[C, E, T]),
    (check("target_is_in_force", target_is_in_force), &[C, E, T]),
    (check("purpose_is_given", purpose_is_given), &[T]),
    (check("scope_is_known", scope_is_known), &[C, E]),
    (check("scope_is_within_client", scope_is_within_client), &[C, E, T]),
    (check("scope_is_within_subject", scope_is_within_subject), &[E, T]),
    (check("chain_is_short_enough", chain_is_short_enough), &[E]),
    (check("proof_is_possible", proof_is_possible), &[C, E]),
];

fn caller_is_in_force(context: &Context<'_>) -> Result<(), Refusal> {
    match &context.standing {
        Standing::Agent(lifecycle) => {
            lifecycle.admits(context.caller.issued()).map_err(Refusal::CallerNotInForce)
        }
        Standing::Client(enabled) => enabled.clone().map_err(Refusal::CallerDisabled),
        Standing::Foreign | Standing::Unknown => {
            Err(Refusal::CallerUnknown(context.caller.client_id().to_owned()))
        }
    }
}

/// RFC 6749 §5.2: "The authenticated client is not authorized to use this authorization grant
/// type."
fn grant_is_allowed(context: &Context<'_>) -> Result<(), Refusal> {
    let wanted = match context.grant {
        C => GrantType::ClientCredentials,
        E | T => GrantType::TokenExchange,
    };
    match context.allowed {
        Some(allowed) if !allowed.contains(&wanted) => {
            Err(Refusal::GrantNotAllowed { grant: wanted, allowed: allowed.to_vec() })
        }
        _ => Ok(()),
    }
}

fn subject_is_given(context: &Context<'_>) -> Result<(), Refusal> {
    context.subject.map(|_| ()).ok_or(Refusal::NoSubject)
}

/// S4 §10.3.3: an agent that is a protected resource validates `aud`, and exchanges what it
/// received. Whoever else holds the token may not.
fn subject_is_for_the_caller(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(subject) = context.subject else { return Ok(()) };
    if subject.audience() == context.caller.client_id() || subject.was_shown_to(context.caller) {
        return Ok(());
    }
    let (audience, client) = (subject.audience().to_owned(), context.caller.client_id().to_owned());
    Err(Refusal::SubjectForOther { audience, client })
}

fn subject_is_in_force(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(subject) = context.subject else { return Ok(()) };
    for (who, standing) in &context.concerned {
        let refuse = |why: String| Err(Refusal::SubjectNotInForce { who: who.clone(), why });
        match standing {
            Standing::Agent(lifecycle) => {
                if let Err(why) = lifecycle.admits(Some(subject.epoch())) {
                    return refuse(why.to_string());
                }
            }
            Standing::Client(Err(why)) => return refuse(why.clone()),
            Standing::Client(Ok(())) | Standing::Foreign => {}
            Standing::Unknown => return refuse("it is not in the registry".to_owned()),
        }
    }
    Ok(())
}

/// RFC 8693 §4.4: the may_act claim names "the party that is asserted as being eligible to act for
/// the subject". (docs/past-defects.md 34: present but not enforced.)
fn caller_may_act(context: &Context<'_>) -> Result<(), Refusal> {
    let barred = context.subject.and_then(|subject| subject.bars(context.caller.client_id()));
    barred.map_or(Ok(()), |allowed| Err(Refusal::MayNotAct { allowed }))
}

fn actor_is_the_caller(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(actor) = context.actor else { return Ok(()) };
    let client = context.caller.client_id();
    if actor.client_id() == client && actor.subject() == client {
        return Ok(());
    }
    let actor = actor.subject().to_owned();
    Err(Refusal::ActorIsOther { actor, client: client.to_owned() })
}

/// RFC 8707 §2: an unknown or malformed resource is refused as `invalid_target`. One token has one
/// audience (RFC 9700 §2.3).
fn target_is_known(context: &Context<'_>) -> Result<(), Refusal> {
    context.target.map(|_| ()).ok_or(Refusal::UnknownTarget)
}

fn target_is_in_force(context: &Context<'_>) -> Result<(), Refusal> {
    match &context.target_standing {
        Standing::Agent(lifecycle) => lifecycle.is_active().map_err(Refusal::TargetNotInForce),
        Standing::Unknown => Err(Refusal::UnknownTarget),
        Standing::Client(_) | Standing::Foreign => Ok(()),
    }
}

/// Transaction tokens §9.1: scope is REQUIRED; it says the purpose.
fn purpose_is_given(context: &Context<'_>) -> Result<(), Refusal> {
    match context.scope {
        Some(scope) if !scope.is_empty() => Ok(()),
        _ => Err(Refusal::NoScope),
    }
}

fn scope_is_known(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(asked), Some(target)) = (context.scope, context.target) else { return Ok(()) };
    within(asked, &target.scopes, |asked, known| Refusal::ScopeUnknown { asked, known })
}

fn scope_is_within_client(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(asked), Some(allowed)) = (context.scope, &context.facet.scope_max) else {
        return Ok(());
    };
    within(asked, allowed, |asked, allowed| Refusal::ScopeOfClient { asked, allowed })
}

/// docs/design.md §2, idea 5: rights only shrink along a lineage.
fn scope_is_within_subject(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(asked), Some(subject)) = (context.scope, context.subject) else { return Ok(()) };
    within(asked, subject.scope(), |asked, held| Refusal::ScopeOfSubject { asked, held })
}

fn chain_is_short_enough(context: &Context<'_>) -> Result<(), Refusal> {
    let depth = context.subject.map_or(0, |subject| subject.depth()) + 1;
    let allowed = context.delegation.depth_max;
    if depth > allowed { Err(Refusal::TooDeep { depth, allowed }) } else { Ok(()) }
}

fn proof_is_possible(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(target) = context.target else { return Ok(()) };
    match (target.proof, context.caller.who()) {
        (Proof::Mtls, _) if context.certificate.is_none() => Err(Refusal::NoCertificate),
        (Proof::Wit, Who::Client(_)) => Err(Refusal::NoWorkload),
        _ => Ok(()),
    }
}

fn within(
    asked: &ScopeSet,
    allowed: &ScopeSet,
    refuse: impl FnOnce(ScopeSet, ScopeSet) -> Refusal,
) -> Result<(), Refusal> {
    if asked.is_within(allowed) { Ok(()) } else { Err(refuse(asked.clone(), allowed.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as people read it. A check that a grant loses, or a grant that lacks a row, shows
    /// here.
    /// req: AUTHZ-09 (part)
    #[test]
    fn s10_3_4_the_checks_of_every_grant() {
        let mut table = format!("{:27}", "");
        table.extend(Grant::ALL.iter().map(|grant| format!("| {:18} ", grant.name())));
        for (check, grants) in CHECKS {
            table.push_str(&format!("\n{:27}", check.name));
            for grant in Grant::ALL {
                let mark = if grants.contains(&grant) { "x" } else { "" };
                table.push_str(&format!("| {mark:18} "));
            }
        }
        let table: Vec<_> = table.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(table.join("\n"));
    }
}
