//! What each grant gives.

use authorization::client::Facet;
use authorization::grants::{Grant, Refusal};
use authorization::policy::{DEPTH_MAX, Delegation};
use authorization::{Audience, Lineage, Proof, TokenKind};
use oauth::ScopeSet;
use oauth::confirmation::{CertificateThumbprint, Confirmation};
use oauth::may_act::MayAct;
use time::Span;

use crate::facts::{
    AGENT, BATCH, DOMAIN, Facts, LEDGER, NEXT, NOW, access, access_claims, at, chain, known,
    ledger, scope, sub, txn, txn_claims, workload,
};

fn delegation(depth_max: usize) -> Delegation {
    Delegation { depth_max, ..Delegation::default() }
}

fn actors(act: Option<&oauth::act::Act>) -> Vec<&str> {
    act.into_iter().flat_map(oauth::act::Act::iter).collect()
}

/// req: AUTHZ-07 (part), AUTHZ-02 (part), AUTHZ-23 (part)
#[test]
fn s10_3_2_an_agent_on_its_own_behalf_is_client_and_subject() {
    let given = Facts::of(Grant::ClientCredentials).ask(Grant::ClientCredentials).unwrap();
    assert_eq!((given.client_id(), given.subject()), (AGENT, AGENT));
    assert_eq!((given.kind(), given.action()), (TokenKind::Access, "token.issue"));
    assert_eq!((given.audience(), given.audience_name()), (LEDGER, "ledger"));
    assert_eq!((given.proof(), given.scope()), (Proof::Wit, &scope("read")));
    assert_eq!(given.expires(), NOW.plus(Span::from_seconds(300)));
    assert_eq!((given.lineage(), given.act()), (&Lineage::Root, None));
}

/// req: AUTHZ-08 (part), AUTHZ-11 (part), AUTHZ-02 (part)
#[test]
fn s10_3_3_an_exchange_names_who_acts_for_whom() {
    let mut facts = Facts::of(Grant::Exchange);
    let given = facts.ask(Grant::Exchange).unwrap();
    assert_eq!((given.client_id(), given.subject()), (AGENT, BATCH));
    assert_eq!((given.kind(), given.action()), (TokenKind::Access, "token.exchange"));
    assert_eq!(actors(given.act()), [AGENT]);
    // The next one in the chain: RFC 8693 §4.1, the current actor is the outermost.
    let mut claims = access_claims();
    (claims.act, claims.aud) = (chain(&[AGENT]), jose::Audience::one(NEXT));
    facts.subject = Some(access(&claims));
    facts.caller = workload(NEXT, 4);
    let given = facts.ask(Grant::Exchange).unwrap();
    assert_eq!((given.client_id(), given.subject()), (NEXT, BATCH));
    assert_eq!(actors(given.act()), [NEXT, AGENT]);
    let concerned: Vec<_> = given.concerned().collect();
    assert_eq!(concerned, [NEXT, BATCH, NEXT, AGENT], "whoever of these ends, it ends");
}

/// req: AUTHZ-11 (part)
#[test]
fn s10_2_2_whom_the_subject_lets_act_may_act() {
    let mut claims = access_claims();
    claims.may_act = Some(MayAct { sub: sub(AGENT), iss: None });
    let mut facts = Facts::of(Grant::Exchange);
    facts.subject = Some(access(&claims));
    assert!(facts.ask(Grant::Exchange).is_ok());
    claims.may_act = Some(MayAct { sub: sub(AGENT), iss: Some(crate::facts::issuer()) });
    facts.subject = Some(access(&claims));
    assert!(facts.ask(Grant::Exchange).is_ok());
}

/// draft-ietf-oauth-identity-chaining appendix B.3: the token is bound to the key of whoever will
/// use it, where policy lets the client ask for that.
/// req: AUTHZ-11 (part), AUTHZ-10 (part)
#[test]
fn chaining_b_3_a_token_may_be_for_the_key_of_another() {
    let key = jose::Thumbprint::from_bytes([7; 32]);
    let mut facts = Facts::of(Grant::Exchange);
    facts.delegation.requested_cnf.insert(AGENT.to_owned());
    facts.target = Some(ledger(Proof::Dpop));
    facts.requested_cnf = Some(Confirmation::Key(key));
    let given = facts.ask(Grant::Exchange).unwrap();
    assert_eq!(given.binding(), Some(&Confirmation::Key(key)));
    assert_eq!(actors(given.act())[0], AGENT);
}

/// An actor token that is the caller's own says nothing new, and is taken.
#[test]
fn rfc8693_2_1_the_actor_may_prove_itself_twice() {
    let mut own = access_claims();
    own.client_id = oauth::ClientId::parse(AGENT).unwrap();
    own.sub = sub(AGENT);
    let mut facts = Facts::of(Grant::Exchange);
    facts.actor = Some(access(&own));
    assert_eq!(actors(facts.ask(Grant::Exchange).unwrap().act()), [AGENT]);
}

/// Rights only shrink along a lineage, in every grant and whatever is asked.
/// req: AUTHZ-11 (part), AUTHZ-12 (part)
#[test]
fn s10_3_3_rights_only_shrink() {
    let held = scope("read write");
    let bounds = ["", "read", "pay", "read pay", "read write pay drill"];
    let asked = ["read", "write", "pay", "read write", "read pay", "drill"];
    let mut given_count = 0;
    for grant in [Grant::Exchange, Grant::Transaction] {
        for bound in bounds.map(scope).map(Some).into_iter().chain([None]) {
            for scope in asked.map(scope).map(Some).into_iter().chain([None]) {
                let mut facts = Facts::of(grant);
                facts.facet = Facet { scope_max: bound.clone(), ..Facet::default() };
                facts.scope.clone_from(&scope);
                let Ok(given) = facts.ask(grant) else { continue };
                given_count += 1;
                let within = |wider: &ScopeSet| given.scope().is_within(wider);
                assert!(within(&held) && within(&known()));
                assert!(bound.as_ref().is_none_or(within), "{bound:?}");
                assert!(scope.as_ref().is_none_or(|asked| given.scope() == asked));
            }
        }
    }
    assert!(given_count > 20, "{given_count} were given");
}

/// req: AUTHZ-07 (part), AUTHZ-11 (part)
#[test]
fn rfc6749_3_3_without_a_scope_the_default_is_what_all_bounds_share() {
    let check = |grant: Grant, bound: Option<&str>, expect: &str| {
        let mut facts = Facts::of(grant);
        facts.scope = None;
        facts.facet = Facet { scope_max: bound.map(scope), ..Facet::default() };
        assert_eq!(facts.ask(grant).unwrap().scope(), &scope(expect), "{}", grant.name());
    };
    check(Grant::ClientCredentials, None, "");
    check(Grant::ClientCredentials, Some("read drill"), "read");
    check(Grant::Exchange, None, "read write");
    check(Grant::Exchange, Some("read drill"), "read");
    check(Grant::Exchange, Some("pay"), "");
}

/// req: AUTHZ-11 (part), AUTHZ-12 (part)
#[test]
fn s10_3_3_nothing_outlives_what_it_came_from() {
    let check = |grant: Grant, subject_ends: u64, expect: u64| {
        let mut claims = access_claims();
        claims.exp = at(subject_ends);
        let mut facts = Facts::of(grant);
        facts.subject = Some(access(&claims));
        let ends = facts.ask(grant).unwrap().expires();
        assert_eq!(ends, NOW.plus(Span::from_seconds(expect)), "{}", grant.name());
    };
    check(Grant::Exchange, 200, 200);
    check(Grant::Exchange, 900, 300);
    check(Grant::Transaction, 30, 30);
    check(Grant::Transaction, 900, 60);
}

/// req: AUTHZ-11 (part)
#[test]
fn s10_3_3_a_chain_ends_where_policy_says_and_where_a_token_can_hold_no_more() {
    let check = |prior: usize, depth_max: usize, expect: Result<usize, (usize, usize)>| {
        let names: Vec<_> =
            (0..prior).map(|n| format!("spiffe://demo.example/agent/n{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut claims = access_claims();
        claims.act = chain(&names);
        let mut facts = Facts::of(Grant::Exchange);
        facts.subject = Some(access(&claims));
        facts.delegation = delegation(depth_max);
        let found = facts.ask(Grant::Exchange).map(|given| given.act().unwrap().depth());
        let expect = expect.map_err(|(depth, allowed)| Refusal::TooDeep { depth, allowed });
        assert_eq!(found, expect);
    };
    check(0, 1, Ok(1));
    check(1, 1, Err((2, 1)));
    check(3, 4, Ok(4));
    check(4, 4, Err((5, 4)));
    check(DEPTH_MAX - 1, DEPTH_MAX, Ok(DEPTH_MAX));
    check(DEPTH_MAX, DEPTH_MAX, Err((DEPTH_MAX + 1, DEPTH_MAX)));
    // A setting that could not come from policy still makes no token that cannot be read.
    check(DEPTH_MAX, DEPTH_MAX + 9, Err((DEPTH_MAX + 1, DEPTH_MAX)));
    assert_eq!(delegation(DEPTH_MAX).faults(), []);
    for depth_max in [0, DEPTH_MAX + 1] {
        assert_eq!(delegation(depth_max).faults().len(), 1);
    }
}

/// req: AUTHZ-12 (part)
#[test]
fn s10_4_a_transaction_token_keeps_what_the_transaction_is() {
    let mut facts = Facts::of(Grant::Transaction);
    facts.subject = Some(txn(&txn_claims()));
    facts.caller = workload(NEXT, 4);
    let given = facts.ask(Grant::Transaction).unwrap();
    assert_eq!((given.kind(), given.action()), (TokenKind::Transaction, "token.exchange"));
    assert_eq!((given.client_id(), given.subject()), (NEXT, BATCH));
    assert_eq!((given.audience(), given.scope()), (DOMAIN, &scope("read")));
    assert_eq!(actors(given.act()), [AGENT]);
    let Lineage::Child { root, parent, txn, epoch, .. } = given.lineage() else { panic!("a root") };
    assert_eq!((root.as_str(), parent.as_str()), ("root-1", "token-3"));
    assert_eq!((txn.as_deref(), *epoch), (Some("txn-1"), 4));
    let replaced = crate::facts::issued_txn(given, 9);
    assert_eq!(replaced.txn(), Some("txn-1"));
    // Transaction tokens §9.2: "tctx: … values that remain immutable throughout the Call Chain."
    assert_eq!(replaced.details(), txn_claims().tctx.as_ref());
    assert_eq!(replaced.circumstances(), txn_claims().rctx.as_ref());
}

/// Transaction tokens §13.15: a token that replaces another "MUST maintain the Call Chain of
/// workloads that requested the Txn-Token being replaced".
///
/// req: AUTHZ-12 (part), AUTHZ-13 (part)
#[test]
fn s10_4_whoever_asked_for_a_transaction_token_stays_in_the_chain() {
    let mut facts = Facts::of(Grant::Transaction);
    facts.subject = Some(txn(&txn_claims()));
    facts.caller = workload(NEXT, 4);
    let first = crate::facts::issued_txn(facts.ask(Grant::Transaction).unwrap(), 4);
    assert_eq!((first.client_id(), actors(first.act())), (NEXT, vec![AGENT]));

    let mut facts = Facts::of(Grant::Transaction);
    facts.subject = Some(first.clone());
    let again = facts.ask(Grant::Transaction).unwrap();
    assert_eq!((again.client_id(), actors(again.act())), (AGENT, vec![NEXT, AGENT]));

    // And where it is exchanged for another service, in the same transaction.
    let mut facts = Facts::of(Grant::Exchange);
    facts.subject = Some(first.clone());
    facts.delegation = delegation(3);
    let access = facts.ask(Grant::Exchange).unwrap();
    assert_eq!(actors(access.act()), [AGENT, NEXT, AGENT]);
    let Lineage::Child { txn, .. } = access.lineage() else { panic!("a root") };
    assert_eq!(txn.as_deref(), Some("txn-1"));
    assert_eq!(crate::facts::issued(access, 4).txn(), Some("txn-1"));
    // Who asked counts in the bound on the chain.
    facts.subject = Some(first);
    facts.delegation = delegation(2);
    let refused = facts.ask(Grant::Exchange).unwrap_err();
    assert_eq!(refused, Refusal::TooDeep { depth: 3, allowed: 2 });
}

/// req: AUTHZ-10 (part)
#[test]
fn s10_2_what_a_resource_demands_is_what_its_tokens_come_with() {
    for grant in [Grant::ClientCredentials, Grant::Exchange] {
        let mut facts = Facts::of(grant);
        facts.target = Some(ledger(Proof::Mtls));
        facts.certificate = Some(CertificateThumbprint::from_bytes([7; 32]));
        assert_eq!(facts.ask(grant).unwrap().proof(), Proof::Mtls);
        facts.target = Some(ledger(Proof::Bearer));
        assert_eq!(facts.ask(grant).unwrap().proof(), Proof::Bearer);
    }
    // An agent that is called demands the proof that the token's holder is who it says.
    let agent = Audience::of_agent(NEXT.to_owned(), "b".to_owned(), known());
    assert_eq!(agent.proof, Proof::Wit);
}
