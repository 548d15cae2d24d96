//! Tokens that are put off until somebody approved them (Deferred Token Response, a draft).

use approval::State;
use approve::deferred::{self, Deferral};
use approve::list;
use authorization::granted::NotYet;
use authorization::grants;
use env::World;
use flow::token;
use flow::token::asker::{Asker, End};
use oauth::TokenText;
use oauth::revocation::RevocationRequest;
use oauth::token_request::{Deferred, GrantType, TokenRequest};
use people::sessions;
use registry::UserRecord;
use serde_json::json;
use testkit::boxed;
use testkit::fixture::{Client, GATEWAY, credentials, files, story};

use crate::duties::DUTY;
use crate::house::{House, no, yes};

const MANY: usize = 100;

async fn open(sim: &testkit::Sim, approvals: &str) -> House {
    let domain = files().get("domain.toml").unwrap().to_owned();
    let domain = format!("{domain}\n[approvals]\nask = \"role:finance\"\n{approvals}");
    let house =
        House::with_files(sim, &[("domain.toml", &domain), ("access/main.cedar", DUTY)]).await;
    let grants = [GrantType::ClientCredentials, GrantType::Deferred].map(GrantType::as_str);
    house.registers(&json!({ "grant_types": grants }));
    let bob = house.world().store().single::<UserRecord>("user:bob").unwrap();
    let roles = ["finance".to_owned()].into();
    house.world().store().put(&UserRecord { roles, ..(*bob).clone() });
    house
}

/// What is wanting for a token of the client for itself.
async fn wanting(house: &House) -> token::Wanting {
    let notices = format!("{GATEWAY}/notices");
    let call = house.client.asks(credentials(&notices, "notices.read"), house.domain.now());
    match house.domain.ask(call).await {
        Err(token::Refusal::Unapproved(wanting)) => *wanting,
        other => panic!("{other:?}"),
    }
}

async fn defer(house: &House) -> Deferral {
    let done = deferred::defer(&*house.world(), wanting(house).await).await;
    done.unwrap().into_value().unwrap()
}

fn poll(deferral: &Deferral) -> TokenRequest {
    let deferral_code = TokenText::parse(&deferral.deferral_code).unwrap();
    TokenRequest::Deferred(Deferred { deferral_code })
}

fn wait(why: NotYet) -> token::Refusal {
    token::Refusal::Grant(grants::Refusal::Wait(why))
}

/// req: AUTHZ-17 (part), AUTHZ-31 (part), AUTHZ-32 (part)
#[test]
fn s10_6_a_token_is_put_off_until_whom_policy_names_approves_it() {
    story(|sim| async move {
        let house = open(&sim, "deferred = true").await;
        let deferral = defer(&house).await;
        assert!(deferral.deferral_code.starts_with("aims_df_"));
        assert_eq!((deferral.expires_in, deferral.interval), (300, 5));
        let pending = house.poll_as(&house.client, poll(&deferral)).await.unwrap_err();
        assert_eq!(pending, wait(NotYet::Pending));
        let shown = (*house.approvals()[0]).clone();
        // Not she, who has not that role.
        let ada = house.sign_in("ada").await;
        house.say(&ada, yes(&shown, None)).await.unwrap_err();
        let bob = house.sign_in("bob").await;
        house.say(&bob, yes(&shown, None)).await.unwrap();
        // Another client that got hold of the code gets nothing.
        let other = house.domain.client(&[GrantType::Deferred], false);
        let refused = house.poll_as(&other, poll(&deferral)).await.unwrap_err();
        assert_eq!(refused.check(), "grants::GrantOfOther");
        house.forth(10);
        let token = house.poll_as(&house.client, poll(&deferral)).await.unwrap();
        let read = house.domain.read(&token).unwrap();
        assert_eq!((read.subject(), read.client_id()), (&*house.client.id, &*house.client.id));
        assert_eq!(read.scope().to_string(), "notices.read");
        let again = house.poll_as(&house.client, poll(&deferral)).await.unwrap_err();
        assert!(matches!(again, token::Refusal::Grant(grants::Refusal::Wait(NotYet::Used { .. }))));
        // The next token wants the next approval.
        wanting(&house).await;
        let deferral = defer(&house).await;
        let all = house.approvals();
        let shown = all.iter().find(|one| one.state == State::Pending).unwrap();
        house.say(&bob, no(shown, None)).await.unwrap();
        let denied = house.poll_as(&house.client, poll(&deferral)).await.unwrap_err();
        assert_eq!(denied, wait(NotYet::Denied));
    });
}

#[test]
fn s10_6_nothing_is_put_off_unless_policy_says_so() {
    story(|sim| async move {
        let house = open(&sim, "").await;
        let done = deferred::defer(&*house.world(), wanting(&house).await).await;
        let refused = done.unwrap().into_value().unwrap_err();
        assert!(matches!(refused, approve::Refusal::Denied(_)), "{refused}");
        assert!(house.approvals().is_empty());
        // Nor for a client that could not fetch it.
        let house = open(&sim, "deferred = true").await;
        house.registers(&json!({ "grant_types": ["client_credentials"] }));
        let done = deferred::defer(&*house.world(), wanting(&house).await).await;
        let refused = done.unwrap().into_value().unwrap_err();
        assert_eq!(refused, approve::Refusal::GrantNotAllowed(GrantType::Deferred));
    });
}

/// The client takes its question back: nobody is asked any more, and nothing comes of a yes.
///
/// req: AUTHZ-31 (part), AUTHZ-32 (part)
#[test]
fn authzen_oauth_a_deferral_that_its_client_revokes_is_over() {
    story(|sim| async move {
        let house = open(&sim, "deferred = true").await;
        let revoke = async |client: &Client, text: &str| {
            let body = format!(
                "token={text}&token_type_hint=urn:ietf:params:oauth:token-type:deferral-code"
            );
            let call = house.call_of(client, &body);
            let asker = Asker {
                client: call.client,
                attestation: None,
                dpop: Vec::new(),
                path: "/revoke".to_owned(),
                certificates: Vec::new(),
                source: call.source,
            };
            let request = RevocationRequest::parse(&call.form).unwrap();
            let order = flow::revoke::Order { asker, request };
            match flow::revoke::answer(&*house.world(), order).await.unwrap() {
                End::Decided(recorded) => recorded.into_value().map_err(|why| why.check()),
                End::Stranger(why) => panic!("{why}"),
            }
        };
        let bob = house.sign_in("bob").await;
        let deferral = defer(&house).await;
        // Another client takes nothing back.
        let other = house.domain.client(&[GrantType::Deferred], false);
        let end = revoke(&other, &deferral.deferral_code).await;
        assert_eq!(end, Err("asker::OtherClient"));
        assert_eq!(house.approvals()[0].state, State::Pending);
        assert_eq!(revoke(&house.client, &deferral.deferral_code).await, Ok(()));
        let shown = (*house.approvals()[0]).clone();
        assert_eq!(shown.state, State::Cancelled);
        let signed = sessions::of_cookie(&*house.world(), &bob).await.unwrap().unwrap();
        let theirs = list::of_person(&*house.world(), &signed).await.unwrap();
        assert!(theirs.waiting.is_empty(), "{theirs:?}");
        house.say(&bob, yes(&shown, None)).await.unwrap_err();
        let refused = house.poll_as(&house.client, poll(&deferral)).await.unwrap_err();
        assert_eq!(refused, wait(NotYet::Denied));
        let records = house.domain.server.journal().records();
        assert!(records.iter().any(|one| one.action == "approval.cancel"));
        // RFC 7009 §2.2: what is over, or was never there, is no error.
        assert_eq!(revoke(&house.client, &deferral.deferral_code).await, Ok(()));
        assert_eq!(revoke(&house.client, "aims_df_none").await, Ok(()));
        // One that was allowed, and not used yet, serves nothing more.
        let deferral = defer(&house).await;
        let all = house.approvals();
        let shown = all.iter().find(|one| one.state == State::Pending).unwrap();
        house.say(&bob, yes(shown, None)).await.unwrap();
        assert_eq!(revoke(&house.client, &deferral.deferral_code).await, Ok(()));
        let refused = house.poll_as(&house.client, poll(&deferral)).await.unwrap_err();
        let used = grants::Refusal::Wait(NotYet::Used { at: house.domain.now() });
        assert_eq!(refused, token::Refusal::Grant(used));
    });
}

/// req: AUTHZ-31 (part)
#[test]
fn s10_6_of_many_redemptions_of_a_deferral_one_is_served() {
    story(|sim| async move {
        let house = open(&sim, "deferred = true").await;
        let deferral = defer(&house).await;
        let shown = (*house.approvals()[0]).clone();
        let bob = house.sign_in("bob").await;
        house.say(&bob, yes(&shown, None)).await.unwrap();
        let polls = (0..MANY).map(|_| boxed(house.poll_as(&house.client, poll(&deferral))));
        let ends = sim.all(polls.collect()).await;
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
    });
}
