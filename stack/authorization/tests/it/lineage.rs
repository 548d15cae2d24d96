//! Tokens that come of tokens: whatever is revoked above ends what is below.

use authorization::grants::Grant;
use authorization::presented::Presented;
use authorization::txn_token::{ForCall, at_gateway};
use serde_json::json;
use time::Span;

use crate::facts::{
    AGENT, BATCH, DOMAIN, Facts, LEDGER, NEXT, NOW, access, access_claims, at, chain, issued,
    issued_txn, scope, txn, txn_claims,
};

/// req: AUTHZ-02 (part), AUTHZ-03 (part), OBS-10 (part)
#[test]
fn s10_2_a_token_says_what_was_permitted() {
    let given = Facts::of(Grant::ClientCredentials).ask(Grant::ClientCredentials).unwrap();
    let token = issued(given, 9);
    assert_eq!((token.client_id(), token.subject(), token.audience()), (AGENT, AGENT, LEDGER));
    assert_eq!((token.scope(), token.act(), token.depth()), (&scope("read"), None, 0));
    assert_eq!((token.jti(), token.root(), token.parent()), ("new-token", "new-root", None));
    assert_eq!((token.epoch().0, token.txn(), token.certificate()), (9, None, None));
    assert_eq!(token.expires(), NOW.plus(Span::from_seconds(300)));
}

/// Defect: an exchange that outlives a revocation.
/// req: OBS-10 (part), OBS-04 (part)
#[test]
fn s11_a_child_is_never_younger_than_its_parent() {
    let exchanged = |parent: u64, now: u64| {
        let mut claims = access_claims();
        claims.aims_epoch = parent;
        let mut facts = Facts::of(Grant::Exchange);
        facts.subject = Some(access(&claims));
        let token = issued(facts.ask(Grant::Exchange).unwrap(), now);
        assert_eq!((token.root(), token.parent()), ("root-1", Some("token-1")));
        token.epoch().0
    };
    assert_eq!(exchanged(4, 4), 4);
    assert_eq!(exchanged(4, 9), 4, "issued after a revocation, it dies with what it came from");
    assert_eq!(exchanged(9, 4), 4, "a server that is behind does not make it younger");
    let mut facts = Facts::of(Grant::Transaction);
    facts.subject = Some(txn(&txn_claims()));
    let token = issued_txn(facts.ask(Grant::Transaction).unwrap(), 9);
    assert_eq!(token.epoch().0, 4);
}

/// req: AUTHZ-20 (part), AUTHZ-12 (part), GW-04 (part)
#[test]
fn s10_7_a_gateway_swaps_the_token_for_one_of_this_call() {
    let mut claims = access_claims();
    (claims.act, claims.aud) = (chain(&[AGENT]), jose::Audience::one(LEDGER));
    claims.client_id = oauth::ClientId::parse(AGENT).unwrap();
    let swap = |presented: &Presented, until: u64| {
        let call = ForCall {
            presented,
            trust_domain: DOMAIN,
            purpose: scope("read"),
            details: serde_json::from_value(json!({ "tool": "read_invoice" })).unwrap(),
            context: serde_json::Map::new(),
            until: at(until).time(),
        };
        issued_txn(at_gateway(call), 9)
    };
    let token = swap(&access(&claims), 60);
    assert_eq!((token.client_id(), token.subject(), token.audience()), (AGENT, BATCH, DOMAIN));
    assert_eq!((token.depth(), token.scope()), (1, &scope("read")));
    assert_eq!((token.root(), token.parent()), ("root-1", Some("token-1")));
    assert_eq!((token.txn(), token.epoch().0), (Some("new-txn"), 4));
    assert_eq!(token.details().unwrap()["tool"], "read_invoice");
    assert_eq!(token.expires(), at(60).time());
    // Never longer than the token that came with the call.
    assert_eq!(swap(&access(&claims), 900).expires(), at(200).time());
    // A call within a transaction stays in it.
    assert_eq!(swap(&txn(&txn_claims()), 60).txn(), Some("txn-1"));
}

/// Whose suspension ends a token: all of these, and none else.
/// req: OBS-10 (part)
#[test]
fn s11_a_token_concerns_client_subject_actors_and_an_agent_that_it_is_for() {
    let mut claims = access_claims();
    claims.act = chain(&[AGENT, NEXT]);
    claims.aud = jose::Audience::one("spiffe://demo.example/agent/c");
    let concerned = access(&claims).concerned();
    assert_eq!(concerned, [AGENT, NEXT, "spiffe://demo.example/agent/c", BATCH]);
}
