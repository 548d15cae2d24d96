//! The checks, one function each, and the table that says which grant runs which, in order.

use authentication::Who;
use oauth::ScopeSet;
use oauth::confirmation::Confirmation;
use oauth::pkce::{self, CodeChallenge, PkceRefused};
use oauth::token_request::GrantType;

use super::Grant::{
    AuthorizationCode as A, Challenge as H, Ciba as B, ClientCredentials as C, Deferred as F,
    DeviceCode as D, Exchange as E, JwtBearer as J, RefreshToken as R, Transaction as T,
};
use super::jwt_bearer::NotAccepted;
use super::refresh_token::{granted, stored};
use super::{Context, Grant, Refusal, Standing};
use crate::granted::Binding;
use crate::policy::Proof;

/// The most tokens above one: what comes of one that has so many is refused.
pub const ABOVE_MAX: usize = 16;

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
    (check("caller_is_in_force", caller_is_in_force), &[C, E, T, A, R, J, D, B, F, H]),
    (check("grant_is_allowed", grant_is_allowed), &[C, E, T, A, R, J, D, B, F]),
    (check("subject_is_given", subject_is_given), &[E, T]),
    (check("subject_is_for_the_caller", subject_is_for_the_caller), &[E, T]),
    (check("grant_is_held", grant_is_held), &[A, R, D, B, F, H]),
    (check("grant_is_the_callers", grant_is_the_callers), &[A, R, D, B, F, H]),
    (check("code_is_fresh", code_is_fresh), &[A]),
    (check("redirect_uri_is_the_same", redirect_uri_is_the_same), &[A]),
    (check("verifier_answers", verifier_answers), &[A]),
    (check("key_is_the_same", key_is_the_same), &[A, R, D, B, F, H]),
    (check("somebody_answered", somebody_answered), &[D, B, F, H]),
    (check("refresh_token_is_current", refresh_token_is_current), &[R]),
    (check("grant_is_live", grant_is_live), &[A, R, D, B, F, H]),
    (check("assertion_is_accepted", assertion_is_accepted), &[J]),
    (check("asserted_key_is_the_same", asserted_key_is_the_same), &[J]),
    (check("nothing_above_ended", nothing_above_ended), &[E, T, A, R, D, B, F, H]),
    (check("subject_is_in_force", subject_is_in_force), &[E, T, A, R, J, D, B, F, H]),
    (check("caller_may_act", caller_may_act), &[E, T]),
    (check("actor_is_the_caller", actor_is_the_caller), &[E, T]),
    (check("target_is_known", target_is_known), &[C, E, T, A, R, J, D, B, F, H]),
    (check("target_is_in_force", target_is_in_force), &[C, E, T, A, R, J, D, B, F, H]),
    (check("target_is_granted", target_is_granted), &[A, R, D, B, F, H]),
    (check("purpose_is_given", purpose_is_given), &[T]),
    (check("scope_is_known", scope_is_known), &[C, E, A, R, J, D, B, F, H]),
    (check("scope_is_within_client", scope_is_within_client), &[C, E, T, A, R, J, D, B, F, H]),
    (check("scope_is_within_subject", scope_is_within_subject), &[E, T, J]),
    (check("scope_is_within_grant", scope_is_within_grant), &[A, R, D, B, F, H]),
    (check("details_are_known", details_are_known), &[C, E, T, A, R, J, D, B, F, H]),
    (check("details_are_within", details_are_within), &[C, E, T, A, R, J, D, B, F, H]),
    (check("chain_is_short_enough", chain_is_short_enough), &[E, F, H]),
    (check("lineage_is_short_enough", lineage_is_short_enough), &[E, T]),
    (check("requested_cnf_fits", requested_cnf_fits), &[E, T]),
    (check("proof_is_possible", proof_is_possible), &[C, E, A, R, J, D, B, F, H]),
];

fn caller_is_in_force(context: &Context<'_>) -> Result<(), Refusal> {
    match &context.standing {
        Standing::Agent(lifecycle) => {
            lifecycle.admits(context.caller.issued()).map_err(Refusal::CallerNotInForce)
        }
        Standing::Client(enabled) => enabled.clone().map(|_| ()).map_err(Refusal::CallerDisabled),
        Standing::User(_) | Standing::Foreign | Standing::Unknown => {
            Err(Refusal::CallerUnknown(context.caller.client_id().to_owned()))
        }
    }
}

/// RFC 6749 §5.2: "The authenticated client is not authorized to use this authorization grant
/// type."
fn grant_is_allowed(context: &Context<'_>) -> Result<(), Refusal> {
    let wanted = GrantType::from(context.grant);
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

/// RFC 6749 §5.2: "The provided authorization grant (e.g., authorization code, resource owner
/// credentials) or refresh token is invalid, expired, revoked".
fn grant_is_held(context: &Context<'_>) -> Result<(), Refusal> {
    // The grant is not there before the answer is.
    if context.grant.waits() {
        return context.waited.map(|_| ()).ok_or(Refusal::NotHeld);
    }
    let whole = context.held.is_some()
        && match context.grant {
            A => context.code.is_some(),
            _ => context.refresh.is_some(),
        };
    if whole { Ok(()) } else { Err(Refusal::NotHeld) }
}

/// RFC 6749 §4.1.3: "ensure that the authorization code was issued to the authenticated
/// confidential client, or if the client is public, ensure that the code was issued to
/// "client_id" in the request".
fn grant_is_the_callers(context: &Context<'_>) -> Result<(), Refusal> {
    let client = context.caller.client_id();
    let of_code = context.code.is_none_or(|one| one.code.client_id == client);
    let of_grant = context.held.is_none_or(|held| held.client_id == client);
    let of_wait = context.waited.is_none_or(|waited| waited.client_id == client);
    if of_code && of_grant && of_wait { Ok(()) } else { Err(Refusal::GrantOfOther) }
}

/// RFC 8628 §3.5, CIBA Core 1.0 §11: no token before the answer, and none after its time.
fn somebody_answered(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(waited) = context.waited else { return Ok(()) };
    waited.polled.map_err(Refusal::Wait)?;
    context.held.map(|_| ()).ok_or(Refusal::NotHeld)
}

fn code_is_fresh(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(redeemed) = context.code else { return Ok(()) };
    redeemed.code.is_fresh(context.now).map_err(Refusal::Code)
}

/// RFC 6749 §4.1.3: "ensure that the "redirect_uri" parameter is present if the "redirect_uri"
/// parameter was included in the initial authorization request as described in Section 4.1.1, and
/// if included ensure that their values are identical."
fn redirect_uri_is_the_same(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(redeemed) = context.code else { return Ok(()) };
    match (redeemed.code.redirect_uri.as_deref(), redeemed.redirect_uri) {
        (None, None) => Ok(()),
        (Some(of_request), Some(now)) if of_request == now => Ok(()),
        _ => Err(Refusal::OtherRedirectUri),
    }
}

/// Each code has a challenge: RFC 9700 §2.1.1 lets nobody go without.
fn verifier_answers(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(redeemed) = context.code else { return Ok(()) };
    let challenge =
        CodeChallenge::parse(&redeemed.code.challenge).map_err(|_| PkceRefused::Mismatch)?;
    pkce::verify(Some(&challenge), redeemed.verifier).map_err(Refusal::Verifier)
}

/// RFC 9449 §10: "the authorization server computes the JWK thumbprint of the proof-of-possession
/// public key in the DPoP proof and verifies that it matches the `dpop_jkt` parameter value in the
/// authorization request. If they do not match, it MUST reject the request." §5: "the refresh token
/// MUST be bound to the respective public key. The binding MUST be validated when the refresh token
/// is later presented to get new access tokens."
fn key_is_the_same(context: &Context<'_>) -> Result<(), Refusal> {
    let of_code = context.code.and_then(|one| one.code.dpop_jkt.as_deref());
    if of_code.is_some() && of_code != context.key.map(|key| key.to_base64url()).as_deref() {
        return Err(Refusal::OtherKey);
    }
    // A binding is there from the first refresh token on.
    let of_wait = context.waited.and_then(|waited| waited.binding.as_ref());
    let of_grant = context.held.and_then(|held| held.binding.as_ref());
    let Some(binding) = of_grant.or(of_wait) else { return Ok(()) };
    let shown = match binding {
        Binding::Dpop(_) => context.key.map(|key| key.to_base64url()),
        Binding::Certificate(_) => context.certificate.map(|one| one.to_string()),
        Binding::Instance(_) => context.caller.key().map(|key| key.to_base64url()),
    };
    let (Binding::Dpop(bound) | Binding::Certificate(bound) | Binding::Instance(bound)) = binding;
    if shown.as_deref() == Some(bound.as_str()) { Ok(()) } else { Err(Refusal::OtherKey) }
}

fn refresh_token_is_current(context: &Context<'_>) -> Result<(), Refusal> {
    match context.refresh {
        Some(Err(refusal)) => Err(Refusal::Refresh(refusal.clone())),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn grant_is_live(context: &Context<'_>) -> Result<(), Refusal> {
    context.held.map_or(Ok(()), |held| held.is_live(context.now).map_err(Refusal::Over))
}

fn assertion_is_accepted(context: &Context<'_>) -> Result<(), Refusal> {
    context.assertion.map(|_| ()).ok_or(Refusal::Assertion(NotAccepted::Absent))
}

/// Who brings an assertion about one key and shows another is not whom it is about.
fn asserted_key_is_the_same(context: &Context<'_>) -> Result<(), Refusal> {
    match (context.assertion.and_then(|asserted| asserted.cnf.as_ref()), context.key) {
        (Some(Confirmation::Key(asserted)), Some(shown)) if *asserted != shown => {
            Err(Refusal::OtherKey)
        }
        (Some(Confirmation::Certificate(_)), Some(_)) => Err(Refusal::OtherKey),
        _ => Ok(()),
    }
}

/// docs/design.md §2, idea 5: "Ending anything ends everything below it."
fn nothing_above_ended(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(ended) = context.ended else { return Ok(()) };
    Err(Refusal::Ended { id: ended.id.clone(), why: ended.why.clone() })
}

fn subject_is_in_force(context: &Context<'_>) -> Result<(), Refusal> {
    // What the subject token, or the grant, was given under; an assertion is of now.
    let given = match (context.subject, context.held) {
        (Some(subject), _) => Some(subject.epoch()),
        (None, Some(held)) => Some(held.epoch),
        (None, None) => None,
    };
    for (who, standing) in &context.concerned {
        let refuse = |why: String| Err(Refusal::SubjectNotInForce { who: who.clone(), why });
        match standing {
            Standing::Agent(lifecycle) | Standing::User(lifecycle) => {
                let admitted = match given {
                    Some(epoch) => lifecycle.admits(Some(epoch)),
                    None => lifecycle.is_active(),
                };
                if let Err(why) = admitted {
                    return refuse(why.to_string());
                }
            }
            Standing::Client(Err(why)) => return refuse(why.clone()),
            Standing::Client(Ok(dead_before)) => {
                if given.is_some_and(|issued| issued < *dead_before) {
                    return refuse("it was disabled since".to_owned());
                }
            }
            Standing::Foreign => {}
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
        Standing::Unknown | Standing::User(_) => Err(Refusal::UnknownTarget),
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
    let held = match (context.subject, context.assertion) {
        (Some(subject), _) => subject.scope(),
        (None, Some(asserted)) => &asserted.scope,
        (None, None) => return Ok(()),
    };
    let Some(asked) = context.scope else { return Ok(()) };
    within(asked, held, |asked, held| Refusal::ScopeOfSubject { asked, held })
}

/// The rights of the grant are those of its targets: a token for another one gets none of them.
fn target_is_granted(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(held), Some(target)) = (context.held, context.target) else { return Ok(()) };
    granted(held, target).map(|_| ())
}

/// RFC 6749 §6: "The requested scope MUST NOT include any scope not originally granted by the
/// resource owner".
fn scope_is_within_grant(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(asked), Some(held), Some(target)) = (context.scope, context.held, context.target)
    else {
        return Ok(());
    };
    let Ok(granted) = granted(held, target) else { return Ok(()) };
    within(asked, &granted.scope, |asked, granted| Refusal::ScopeOfGrant { asked, granted })
}

/// RFC 9396 §5: "The AS MUST refuse to process any unknown authorization details type".
fn details_are_known(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(asked), Some(target)) = (context.authorization_details, context.target) else {
        return Ok(());
    };
    asked.check(&target.schemas).map_err(|refused| Refusal::DetailsUnknown(refused.to_string()))
}

/// What is asked of the token endpoint narrows what was granted (RFC 9396 §6). Where nothing was
/// granted, by nobody, nothing of this kind can be asked for.
fn details_are_within(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(asked), Some(target)) = (context.authorization_details, context.target) else {
        return Ok(());
    };
    if asked.check(&target.schemas).is_err() {
        return Ok(());
    }
    let held = match (context.subject, context.held) {
        (Some(subject), _) => subject.authorization_details().cloned(),
        (None, Some(held)) => granted(held, target).ok().and_then(|one| stored(&one.details)),
        (None, None) => None,
    };
    let within = held.is_some_and(|held| asked.is_within(&held, &target.schemas));
    if within { Ok(()) } else { Err(Refusal::DetailsTooWide) }
}

fn chain_is_short_enough(context: &Context<'_>) -> Result<(), Refusal> {
    let branch = context.waited.and_then(|waited| waited.branch.as_ref());
    let acted = branch.map_or(0, |branch| branch.actors.len().saturating_sub(1));
    let depth = context.subject.map_or(acted, |subject| subject.depth()) + 1;
    let allowed = context.delegation.depth_max;
    if depth > allowed { Err(Refusal::TooDeep { depth, allowed }) } else { Ok(()) }
}

fn lineage_is_short_enough(context: &Context<'_>) -> Result<(), Refusal> {
    let depth = context.subject.map_or(0, |subject| subject.above().len()) + 1;
    if depth > ABOVE_MAX { Err(Refusal::TooDeep { depth, allowed: ABOVE_MAX }) } else { Ok(()) }
}

/// draft-ietf-oauth-identity-chaining appendix B.3: who asks conveys the key of whoever will use
/// the token. That hands a right on, so policy says who may.
fn requested_cnf_fits(context: &Context<'_>) -> Result<(), Refusal> {
    let (Some(asked), Some(target)) = (context.requested_cnf, context.target) else {
        return Ok(());
    };
    let client = context.caller.client_id();
    if !context.delegation.requested_cnf.contains(client) {
        return Err(Refusal::CnfNotAllowed(client.to_owned()));
    }
    let fits = match (target.proof, asked) {
        (Proof::Dpop | Proof::Bearer, Confirmation::Key(_))
        | (Proof::Mtls, Confirmation::Certificate(_)) => context.grant == E,
        _ => false,
    };
    if !fits {
        return Err(Refusal::CnfUnfit(target.proof.name()));
    }
    // RFC 9449 §5: a proof binds the token to its own key.
    match (context.key, asked) {
        (Some(shown), Confirmation::Key(key)) if shown != *key => Err(Refusal::CnfIsOther),
        _ => Ok(()),
    }
}

fn proof_is_possible(context: &Context<'_>) -> Result<(), Refusal> {
    let Some(target) = context.target else { return Ok(()) };
    match (target.proof, context.caller.who()) {
        (Proof::Mtls, _) if context.shown_certificate().is_none() => Err(Refusal::NoCertificate),
        (Proof::Dpop, _) if context.shown_key().is_none() => Err(Refusal::NoDpopProof),
        // To ignore the proof would give a token that is bound to something else than was shown.
        (Proof::Wit | Proof::Mtls, _) if context.shown_key().is_some() => {
            Err(Refusal::BoundOtherwise(target.proof.name()))
        }
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
