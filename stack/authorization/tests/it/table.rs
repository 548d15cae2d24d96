//! The table of checks, row by row: what each refuses, that nothing else refuses it, and that no
//! grant whose column is marked lets it pass.

use std::collections::BTreeSet;

use authorization::Proof;
use authorization::client::Facet;
use authorization::granted::code::Stale;
use authorization::granted::{Binding, Branch, End, Ended, GrantRecord, NotYet, Over, refresh};
use authorization::grants::jwt_bearer::NotAccepted;
use authorization::grants::{CHECKS, Grant, Refusal};
use authorization::policy::Delegation;
use oauth::authorization_details::AuthorizationDetails;
use oauth::confirmation::{CertificateThumbprint, Confirmation};
use oauth::may_act::MayAct;
use oauth::pkce::{CodeVerifier, PkceRefused};
use oauth::token_request::GrantType;
use oauth::{ClientId, Issuer};
use provisioning::{Act, Epoch, Lifecycle, NotInForce, State};
use time::UnixTime;

use crate::edits::{key_of, refused_refresh, set_concerned, set_subject, unknown_details};
use crate::facts::{
    AGENT, BATCH, CALLBACK, DOMAIN, Facts, LEDGER, NEXT, NOW, Stands, access, access_claims, chain,
    known, ledger, registered, scope, sub, workload,
};

const SINCE: UnixTime = UnixTime::from_seconds(9);

/// A way to break a request, the check that must see it, and what it says.
struct Case {
    check: &'static str,
    edit: fn(&mut Facts),
    expect: fn(Grant) -> Refusal,
}

const fn case(check: &'static str, edit: fn(&mut Facts), expect: fn(Grant) -> Refusal) -> Case {
    Case { check, edit, expect }
}

fn moved(act: Act) -> Lifecycle {
    let begun = Lifecycle::begin(Epoch(1), UnixTime::EPOCH);
    begun.after(act, Epoch(5), String::new(), SINCE).unwrap()
}

/// Suspended under epoch 5 and back: what was issued under 4 is dead.
fn came_back() -> Lifecycle {
    moved(Act::Suspend).after(Act::Resume, Epoch(5), String::new(), SINCE).unwrap()
}

const SUSPENDED: NotInForce = NotInForce::State { state: State::Suspended, since: SINCE };
const STALE: NotInForce = NotInForce::Epoch { issued: Epoch(4), dead_before: Epoch(5) };

fn subject_not_in_force(why: impl ToString) -> Refusal {
    Refusal::SubjectNotInForce { who: BATCH.to_owned(), why: why.to_string() }
}

/// The grant as a request names it.
fn wire(grant: Grant) -> GrantType {
    grant.into()
}

/// All but the grant of this request.
fn other_grants(grant: Grant) -> Vec<GrantType> {
    GrantType::ALL.iter().copied().filter(|one| *one != wire(grant)).collect()
}

/// Which grant the facts are of.
const fn grant_of(facts: &Facts) -> Grant {
    facts.grant
}

/// Changes the code, where the grant has one.
fn set_code(facts: &mut Facts, edit: impl FnOnce(&mut crate::facts::Brought)) {
    if let Some(brought) = &mut facts.code {
        edit(brought);
    }
}

/// Changes what was granted, where something was.
fn set_held(facts: &mut Facts, edit: impl FnOnce(&mut GrantRecord)) {
    if let Some(held) = &mut facts.held {
        edit(held);
    }
}

fn details(text: &str) -> Option<AuthorizationDetails> {
    Some(AuthorizationDetails::parse(text).unwrap())
}

/// The scope that is held from elsewhere: by a token, a grant, an assertion.
fn set_scope_held(facts: &mut Facts, text: &str) {
    set_subject(facts, |claims| claims.scope = scope(text));
    set_held(facts, |held| {
        for granted in held.targets.values_mut() {
            granted.scope = scope(text);
        }
    });
    if let Some(asserted) = &mut facts.assertion {
        asserted.scope = scope(text);
    }
}

const CASES: &[Case] = &[
    case(
        "caller_is_in_force",
        |facts| facts.standing = Stands::Agent(moved(Act::Suspend)),
        |_| Refusal::CallerNotInForce(SUSPENDED),
    ),
    case(
        "caller_is_in_force",
        |facts| facts.standing = Stands::Agent(came_back()),
        |_| Refusal::CallerNotInForce(STALE),
    ),
    case(
        "caller_is_in_force",
        |facts| facts.standing = Stands::Client(Err("the client is disabled".to_owned())),
        |_| Refusal::CallerDisabled("the client is disabled".to_owned()),
    ),
    case(
        "caller_is_in_force",
        |facts| facts.standing = Stands::Unknown,
        |_| Refusal::CallerUnknown(AGENT.to_owned()),
    ),
    case(
        "caller_is_in_force",
        |facts| facts.standing = Stands::Foreign,
        |_| Refusal::CallerUnknown(AGENT.to_owned()),
    ),
    case(
        "grant_is_allowed",
        |facts| {
            facts.allowed = Some(other_grants(grant_of(facts)));
        },
        |grant| Refusal::GrantNotAllowed { grant: wire(grant), allowed: other_grants(grant) },
    ),
    case(
        "grant_is_allowed",
        |facts| facts.allowed = Some(Vec::new()),
        |grant| Refusal::GrantNotAllowed { grant: wire(grant), allowed: Vec::new() },
    ),
    case("subject_is_given", |facts| facts.subject = None, |_| Refusal::NoSubject),
    case(
        "subject_is_for_the_caller",
        |facts| {
            let aud = jose::Audience::one(NEXT);
            set_subject(facts, |claims| claims.aud = aud);
        },
        |_| Refusal::SubjectForOther { audience: NEXT.to_owned(), client: AGENT.to_owned() },
    ),
    case(
        "subject_is_for_the_caller",
        // The agent's own token for a resource: whoever holds it may not turn it into another.
        |facts| {
            set_subject(facts, |claims| {
                claims.aud = jose::Audience::one("https://gateway.example/ledger");
                claims.client_id = ClientId::parse(AGENT).unwrap();
            });
        },
        |_| Refusal::SubjectForOther {
            audience: "https://gateway.example/ledger".to_owned(),
            client: AGENT.to_owned(),
        },
    ),
    case(
        "subject_is_in_force",
        |facts| set_concerned(facts, Stands::Agent(moved(Act::Suspend))),
        |_| subject_not_in_force(SUSPENDED),
    ),
    case(
        "subject_is_in_force",
        // An assertion is of now: there is nothing that it was given under.
        |facts| {
            let asserted = facts.assertion.is_some();
            let life = if asserted { moved(Act::Suspend) } else { came_back() };
            set_concerned(facts, Stands::Agent(life));
        },
        |grant| subject_not_in_force(if grant == Grant::JwtBearer { SUSPENDED } else { STALE }),
    ),
    case(
        "subject_is_in_force",
        |facts| set_concerned(facts, Stands::User(moved(Act::Suspend))),
        |_| subject_not_in_force(SUSPENDED),
    ),
    case(
        "subject_is_in_force",
        |facts| set_concerned(facts, Stands::Client(Err("it is disabled".to_owned()))),
        |_| subject_not_in_force("it is disabled"),
    ),
    case(
        "subject_is_in_force",
        |facts| set_concerned(facts, Stands::Unknown),
        |_| subject_not_in_force("it is not in the registry"),
    ),
    case(
        "caller_may_act",
        |facts| {
            set_subject(facts, |claims| {
                claims.may_act = Some(MayAct { sub: sub(NEXT), iss: None })
            });
        },
        |_| Refusal::MayNotAct { allowed: NEXT.to_owned() },
    ),
    case(
        "caller_may_act",
        // Another issuer's client that has the name of ours.
        |facts| {
            let iss = Some(Issuer::parse("https://other.example").unwrap());
            set_subject(facts, |claims| claims.may_act = Some(MayAct { sub: sub(AGENT), iss }));
        },
        |_| Refusal::MayNotAct { allowed: format!("{AGENT} of https://other.example") },
    ),
    case(
        "actor_is_the_caller",
        |facts| facts.actor = Some(access(&access_claims())),
        |_| Refusal::ActorIsOther { actor: BATCH.to_owned(), client: AGENT.to_owned() },
    ),
    case(
        "actor_is_the_caller",
        // A token that the caller got, but on somebody else's behalf.
        |facts| {
            let mut claims = access_claims();
            claims.client_id = ClientId::parse(AGENT).unwrap();
            facts.actor = Some(access(&claims));
        },
        |_| Refusal::ActorIsOther { actor: BATCH.to_owned(), client: AGENT.to_owned() },
    ),
    case("grant_is_held", |facts| (facts.held, facts.waited) = (None, None), |_| Refusal::NotHeld),
    case(
        "grant_is_held",
        |facts| (facts.code, facts.refresh, facts.waited) = (None, None, None),
        |_| Refusal::NotHeld,
    ),
    case(
        "somebody_answered",
        |facts| facts.waited.iter_mut().for_each(|one| one.polled = Err(NotYet::Pending)),
        |_| Refusal::Wait(NotYet::Pending),
    ),
    case(
        "grant_is_the_callers",
        |facts| set_held(facts, |held| held.client_id = NEXT.to_owned()),
        |_| Refusal::GrantOfOther,
    ),
    case(
        "code_is_fresh",
        |facts| set_code(facts, |one| one.code.used = Some(SINCE)),
        |_| Refusal::Code(Stale::Used { at: SINCE }),
    ),
    case(
        "code_is_fresh",
        |facts| set_code(facts, |one| one.code.until = NOW),
        |_| Refusal::Code(Stale::Expired { at: NOW }),
    ),
    case(
        "redirect_uri_is_the_same",
        |facts| set_code(facts, |one| one.redirect_uri = None),
        |_| Refusal::OtherRedirectUri,
    ),
    case(
        "redirect_uri_is_the_same",
        |facts| set_code(facts, |one| one.redirect_uri = Some(format!("{CALLBACK}/"))),
        |_| Refusal::OtherRedirectUri,
    ),
    case(
        "redirect_uri_is_the_same",
        |facts| set_code(facts, |one| one.code.redirect_uri = None),
        |_| Refusal::OtherRedirectUri,
    ),
    case(
        "verifier_answers",
        |facts| set_code(facts, |one| one.verifier = None),
        |_| Refusal::Verifier(PkceRefused::VerifierAbsent),
    ),
    case(
        "verifier_answers",
        |facts| set_code(facts, |one| one.verifier = CodeVerifier::parse(&"a".repeat(43)).ok()),
        |_| Refusal::Verifier(PkceRefused::Mismatch),
    ),
    case(
        "key_is_the_same",
        |facts| set_held(facts, |held| held.binding = Some(Binding::Dpop("other".to_owned()))),
        |_| Refusal::OtherKey,
    ),
    case(
        "key_is_the_same",
        |facts| {
            let binding = Some(Binding::Certificate("other".to_owned()));
            set_held(facts, |held| held.binding = binding);
        },
        |_| Refusal::OtherKey,
    ),
    case(
        "key_is_the_same",
        |facts| {
            let binding = Some(Binding::Instance("other".to_owned()));
            set_held(facts, |held| held.binding = binding);
        },
        |_| Refusal::OtherKey,
    ),
    case(
        "refresh_token_is_current",
        |facts| refused_refresh(facts, refresh::Refusal::Reused),
        |_| Refusal::Refresh(refresh::Refusal::Reused),
    ),
    case(
        "refresh_token_is_current",
        |facts| refused_refresh(facts, refresh::Refusal::NotOurs),
        |_| Refusal::Refresh(refresh::Refusal::NotOurs),
    ),
    case(
        "grant_is_live",
        |facts| set_held(facts, |held| held.until = NOW),
        |_| Refusal::Over(Over::Expired { at: NOW }),
    ),
    case(
        "grant_is_live",
        |facts| {
            let end = End { at: SINCE, by: "user:ada".to_owned(), why: "enough".to_owned() };
            set_held(facts, |held| held.ended = Some(end));
        },
        |_| Refusal::Over(Over::Ended { at: SINCE, why: "enough".to_owned() }),
    ),
    case(
        "assertion_is_accepted",
        |facts| facts.assertion = None,
        |_| Refusal::Assertion(NotAccepted::Absent),
    ),
    case(
        "asserted_key_is_the_same",
        |facts| {
            if let Some(asserted) = &mut facts.assertion {
                let key = |octet| jose::Thumbprint::from_bytes([octet; 32]);
                asserted.cnf = Some(Confirmation::Key(key(1)));
                (facts.key, facts.target) = (Some(key(2)), Some(ledger(Proof::Dpop)));
            }
        },
        |_| Refusal::OtherKey,
    ),
    case(
        "nothing_above_ended",
        |facts| {
            let (id, why) = ("token-0".to_owned(), "enough".to_owned());
            facts.ended = Some(Ended { id, until: NOW, why });
        },
        |_| Refusal::Ended { id: "token-0".to_owned(), why: "enough".to_owned() },
    ),
    case(
        "target_is_granted",
        |facts| set_held(facts, |held| held.targets.clear()),
        |_| Refusal::TargetNotGranted { target: LEDGER.to_owned(), granted: Vec::new() },
    ),
    case(
        "scope_is_within_grant",
        |facts| {
            set_held(facts, |_| ());
            if facts.held.is_some() {
                facts.scope = Some(scope("read pay"));
            }
        },
        |_| Refusal::ScopeOfGrant { asked: scope("read pay"), granted: scope("read write") },
    ),
    case(
        "details_are_known",
        |facts| facts.details = details(r#"[{"type":"transfer"}]"#),
        |_| unknown_details(r#"[{"type":"transfer"}]"#),
    ),
    case(
        "details_are_within",
        |facts| {
            facts.details = details(r#"[{"type":"payment","actions":["pay"]}]"#);
            facts.target = Some(ledger(Proof::Wit));
        },
        |_| Refusal::DetailsTooWide,
    ),
    case("target_is_known", |facts| facts.target = None, |_| Refusal::UnknownTarget),
    case(
        "target_is_in_force",
        |facts| facts.target_standing = Stands::Agent(moved(Act::Retire)),
        |_| {
            let state = State::Retired;
            Refusal::TargetNotInForce(NotInForce::State { state, since: SINCE })
        },
    ),
    case(
        "target_is_in_force",
        |facts| facts.target_standing = Stands::Unknown,
        |_| Refusal::UnknownTarget,
    ),
    case("purpose_is_given", |facts| facts.scope = None, |_| Refusal::NoScope),
    case("purpose_is_given", |facts| facts.scope = Some(scope("")), |_| Refusal::NoScope),
    case(
        "scope_is_known",
        |facts| {
            set_scope_held(facts, "read drill");
            facts.scope = Some(scope("read drill"));
        },
        |_| Refusal::ScopeUnknown { asked: scope("read drill"), known: known() },
    ),
    case(
        "scope_is_within_client",
        |facts| {
            let scope_max = Some(scope("write"));
            facts.facet = Facet { scope_max, ..Facet::default() };
        },
        |_| Refusal::ScopeOfClient { asked: scope("read"), allowed: scope("write") },
    ),
    case(
        "scope_is_within_subject",
        |facts| facts.scope = Some(scope("read pay")),
        |_| Refusal::ScopeOfSubject { asked: scope("read pay"), held: scope("read write") },
    ),
    case(
        "chain_is_short_enough",
        |facts| {
            set_subject(facts, |claims| claims.act = chain(&[BATCH, NEXT]));
            let actors = [AGENT, BATCH, NEXT].map(str::to_owned).to_vec();
            let (root, parent, txn) = ("root-1".to_owned(), None, None);
            let branch = Branch { root, parent, above: Vec::new(), txn, actors };
            facts.waited.iter_mut().for_each(|one| one.branch = Some(branch.clone()));
            facts.delegation = Delegation { depth_max: 2, ..Delegation::default() };
        },
        |_| Refusal::TooDeep { depth: 3, allowed: 2 },
    ),
    case(
        "lineage_is_short_enough",
        |facts| {
            let above = (0..16).map(|n| oauth::TokenId::parse(&format!("t{n}")).unwrap());
            set_subject(facts, |claims| claims.aims_above = above.collect());
        },
        |_| Refusal::TooDeep { depth: 17, allowed: 16 },
    ),
    case(
        "requested_cnf_fits",
        |facts| {
            facts.target = Some(ledger(Proof::Dpop));
            facts.requested_cnf = Some(key_of(1));
        },
        |_| Refusal::CnfNotAllowed(AGENT.to_owned()),
    ),
    case(
        "requested_cnf_fits",
        |facts| {
            facts.delegation.requested_cnf.insert(AGENT.to_owned());
            facts.target = Some(ledger(Proof::Dpop));
            facts.key = Some(jose::Thumbprint::from_bytes([2; 32]));
            let certificate = CertificateThumbprint::from_bytes([1; 32]);
            facts.requested_cnf = Some(Confirmation::Certificate(certificate));
        },
        |_| Refusal::CnfUnfit("dpop"),
    ),
    case(
        "requested_cnf_fits",
        |facts| {
            facts.delegation.requested_cnf.insert(AGENT.to_owned());
            facts.target = Some(ledger(Proof::Dpop));
            facts.requested_cnf = Some(key_of(1));
            facts.key = Some(jose::Thumbprint::from_bytes([2; 32]));
        },
        |grant| match grant {
            Grant::Exchange => Refusal::CnfIsOther,
            // A transaction token is bound to nothing.
            _ => Refusal::CnfUnfit("dpop"),
        },
    ),
    case(
        "proof_is_possible",
        |facts| facts.target = Some(ledger(Proof::Dpop)),
        |_| Refusal::NoDpopProof,
    ),
    case(
        "proof_is_possible",
        |facts| {
            facts.key = Some(jose::Thumbprint::from_bytes([7; 32]));
        },
        |_| Refusal::BoundOtherwise("wit"),
    ),
    case(
        "proof_is_possible",
        |facts| facts.target = Some(ledger(Proof::Mtls)),
        |_| Refusal::NoCertificate,
    ),
    case(
        "proof_is_possible",
        |facts| {
            facts.caller = registered("client-1");
            facts.standing = Stands::Client(Ok(Epoch(1)));
            set_subject(facts, |claims| claims.aud = jose::Audience::one("client-1"));
            set_held(facts, |held| held.client_id = "client-1".to_owned());
            set_code(facts, |one| one.code.client_id = "client-1".to_owned());
            facts.waited.iter_mut().for_each(|one| one.client_id = "client-1".to_owned());
        },
        |_| Refusal::NoWorkload,
    ),
];

fn columns(check: &str) -> &'static [Grant] {
    CHECKS.iter().find(|(one, _)| one.name == check).unwrap().1
}

#[test]
fn s10_3_4_what_is_in_order_passes_every_check() {
    for grant in Grant::ALL {
        let facts = Facts::of(grant);
        for (check, grants) in CHECKS.iter().filter(|(_, grants)| grants.contains(&grant)) {
            let passed = (check.run)(&facts.context(grant));
            assert_eq!(
                passed,
                Ok(()),
                "{} of {}, {} grants",
                check.name,
                grant.name(),
                grants.len()
            );
        }
        assert!(facts.ask(grant).is_ok());
    }
}

/// A new check without a case here is a check that nothing proves.
#[test]
fn s10_3_4_every_check_has_a_case() {
    let checks: BTreeSet<_> = CHECKS.iter().map(|(check, _)| check.name).collect();
    let cases: BTreeSet<_> = CASES.iter().map(|case| case.check).collect();
    assert_eq!(checks.len(), CHECKS.len(), "each check is there once");
    assert_eq!(cases, checks);
}

/// Defect: a new grant that skips the checks which the old ones had.
/// req: AUTHZ-09 (part), AUTHZ-01 (part)
#[test]
fn s10_3_4_each_check_refuses_in_every_grant_that_has_it() {
    for case in CASES {
        for grant in Grant::ALL {
            let mut facts = Facts::of(grant);
            (case.edit)(&mut facts);
            let (found, expect) = (facts.ask(grant).map(|_| ()), (case.expect)(grant));
            let name = format!("{} of {}", case.check, grant.name());
            if columns(case.check).contains(&grant) {
                assert_eq!(found, Err(expect), "{name}");
            } else {
                assert_ne!(found, Err(expect), "{name} is not in the table");
            }
        }
    }
}

/// Each way to break a request is seen by one check alone, so none of them hides another.
#[test]
fn s10_3_4_each_fault_is_seen_by_its_own_check() {
    for case in CASES {
        for &grant in columns(case.check) {
            let mut facts = Facts::of(grant);
            (case.edit)(&mut facts);
            let refusing: Vec<_> = CHECKS
                .iter()
                .filter(|(check, grants)| {
                    grants.contains(&grant) && (check.run)(&facts.context(grant)).is_err()
                })
                .map(|(check, _)| check.name)
                .collect();
            assert_eq!(refusing, [case.check], "{}", grant.name());
        }
    }
}

/// Each refusal that a check or a grant can give has a name of its own in the log.
#[test]
fn s11_every_refusal_has_its_own_name() {
    let mut names: Vec<_> =
        CASES.iter().map(|case| (case.expect)(Grant::Exchange)).collect::<Vec<_>>();
    names.push(Refusal::NoActor);
    let kinds: BTreeSet<_> =
        names.iter().map(std::mem::discriminant).map(|d| format!("{d:?}")).collect();
    let named: BTreeSet<_> = names.iter().map(Refusal::check).collect();
    // A code and a refresh token have a name for each way to be refused.
    assert!(named.len() >= kinds.len());
    assert!(named.iter().all(|name| name.starts_with("grants::")));
}

/// req: AUTHZ-08 (part), AUTHZ-13 (part)
#[test]
fn s10_4_a_transaction_token_is_for_every_workload_of_the_domain_and_for_no_client() {
    let with = |caller: authentication::Caller| {
        let mut facts = Facts::of(Grant::Exchange);
        facts.subject = Some(crate::facts::txn(&crate::facts::txn_claims()));
        if matches!(caller.who(), authentication::Who::Client(_)) {
            facts.standing = Stands::Client(Ok(Epoch(1)));
        }
        facts.caller = caller;
        facts.ask(Grant::Exchange).map(|_| ())
    };
    assert_eq!(with(workload(NEXT, 4)), Ok(()));
    let (audience, client) = (DOMAIN.to_owned(), "client-1".to_owned());
    assert_eq!(with(registered("client-1")), Err(Refusal::SubjectForOther { audience, client }));
}
