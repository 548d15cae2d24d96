//! What a token to ask with must come with.

use decide::Refusal;
use decide::pep::{End, Shown};
use gateway::Refusal as Caller;
use monitoring::Event;
use provisioning::Act;
use serde_json::json;
use testkit::fixture::{DpopKey, ISSUER, by_wit, credentials, exchange, story, with_dpop};

use crate::house::{ACCESS, House, TOOLS, tool};

const PATH: &str = "/access/v1/evaluation";

async fn refusal(house: &House, shown: &Shown) -> Option<Refusal> {
    house.ask_with(shown, &tool("list_invoices")).await.into_result().err()
}

/// What is no token of ours is counted; one of ours that is not for this is recorded.
/// req: AUTHZ-24 (part), AUTHN-02 (part)
#[test]
fn s10_1_3_who_asks_must_be_a_client_in_force() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let domain = &house.domain;
        let records = || domain.server.journal().of(Event::AccessDecided).len();
        let foreign = House::shown("eyJhbGciOiJub25lIn0.e30.");
        let end = house.ask_with(&foreign, &tool("list_invoices")).await;
        assert!(matches!(end, End::Stranger(Caller::ForeignToken { .. })));
        assert_eq!(records(), 0);
        let tools = credentials(TOOLS, "invoices.read");
        let tools = domain.token(by_wit(&house.pep, tools, domain.now())).await;
        let other = refusal(&house, &House::shown(&tools)).await.unwrap();
        assert!(matches!(other, Refusal::Caller(Caller::Token { .. })), "{other}");
        assert_eq!(records(), 1);
        // A client that no resource lists has its token, and is told nothing.
        let stranger = house.token_of("stranger").await;
        let not_listed = refusal(&house, &House::shown(&stranger)).await.unwrap();
        assert_eq!(not_listed.check(), "decide::NotListed");
        // It is asked for in one's own name alone.
        let to_pep = credentials(&house.pep.id, "");
        let clerk = domain.party("/opt/clerk").await;
        let to_pep = domain.token(by_wit(&clerk, to_pep, domain.now())).await;
        let exchanged = domain.ask(by_wit(&house.pep, exchange(&to_pep, ACCESS, ""), domain.now()));
        assert!(exchanged.await.is_err());
        let own = house.token_of("pep").await;
        assert_eq!(refusal(&house, &House::shown(&own)).await, None);
        domain.act("pep", Act::Suspend).await;
        let ended = refusal(&house, &House::shown(&own)).await.unwrap();
        assert!(matches!(ended, Refusal::Caller(Caller::NotInForce { .. })), "{ended}");
        domain.act("pep", Act::Resume).await;
        let ended = refusal(&house, &House::shown(&own)).await.unwrap();
        assert!(matches!(ended, Refusal::Caller(Caller::NotInForce { .. })), "{ended}");
    });
}

/// RFC 9449 §7: a token that is bound to a key comes with a proof, which serves once.
/// req: AUTHZ-05 (part)
#[test]
fn rfc9449_7_a_bound_token_comes_with_its_proof() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let domain = &house.domain;
        let key = DpopKey::new(domain);
        let now = domain.now();
        let proof = key.proof(("POST", &format!("{ISSUER}/token")), None, None, now);
        let clerk = domain.client(&[oauth::token_request::GrantType::ClientCredentials], false);
        let call = with_dpop(clerk.asks(credentials(ACCESS, ""), now), proof);
        let token = domain.token(call).await;
        let url = format!("{ISSUER}{PATH}");
        let with = |proofs: Vec<Vec<u8>>, is_dpop| {
            let shown = House::shown(&token);
            Shown { is_dpop, dpop: proofs, ..shown }
        };
        let good = key.proof(("POST", &url), Some(&token), None, now);
        let bare = refusal(&house, &with(Vec::new(), false)).await.unwrap();
        assert!(matches!(bare, Refusal::Caller(Caller::Scheme { .. })), "{bare}");
        let elsewhere = key.proof(("POST", &format!("{ISSUER}/userinfo")), Some(&token), None, now);
        let other = refusal(&house, &with(vec![elsewhere], true)).await.unwrap();
        assert!(matches!(other, Refusal::Caller(Caller::Dpop(_))), "{other}");
        // The proof is good; the client is listed by no resource.
        let listed = refusal(&house, &with(vec![good.clone()], true)).await.unwrap();
        assert_eq!(listed.check(), "decide::NotListed");
        let again = refusal(&house, &with(vec![good], true)).await.unwrap();
        assert_eq!(again, Refusal::Caller(Caller::Replayed));
    });
}

/// `proof = "wit"` of `[decisions]`: no token without the identity that it is of.
/// req: AUTHN-05 (part)
#[test]
fn wpt_2_policy_may_want_the_identity_proved() {
    story(|sim| async move {
        let tables = "[decisions]\nproof = \"wit\"\n[approvals]\nask = \"owner\"";
        let house = House::with(&sim, tables, crate::house::RULES).await;
        let token = house.token_of("pep").await;
        let bare = refusal(&house, &House::shown(&token)).await.unwrap();
        assert!(matches!(bare, Refusal::Caller(Caller::Proof(_))), "{bare}");
        let now = house.domain.now();
        let proved = |path: &str| {
            let proof = house.pep.proof(&format!("{ISSUER}{path}"), &token, now);
            let bytes = |text: &credential::TokenText| vec![text.expose().as_bytes().to_vec()];
            Shown { wit: bytes(&house.pep.wit), wpt: bytes(&proof), ..House::shown(&token) }
        };
        let good = proved(PATH);
        assert_eq!(refusal(&house, &good).await, None);
        assert_eq!(refusal(&house, &good).await, Some(Refusal::Caller(Caller::Replayed)));
        let elsewhere = refusal(&house, &proved("/token")).await.unwrap();
        assert!(matches!(elsewhere, Refusal::Caller(Caller::Proof(_))), "{elsewhere}");
        let record = house.domain.server.journal().of(Event::AccessDecided);
        assert!(record.iter().any(|one| one.proof.as_deref() == Some("wit+wpt")));
        assert_eq!(json!(record.len()), json!(4));
    });
}
