//! Users who are asked out of band (CIBA Core 1.0).

use approve::{Refusal, list};
use authorization::granted::NotYet;
use authorization::grants;
use env::World;
use flow::token;
use oauth::error::ErrorCode;
use oauth::token_request::GrantType;
use openid::ciba::SignedRequest;
use people::end::Check;
use people::sessions;
use people::standing::UserAct;
use registry::ClientRecord;
use serde_json::{Value, json};
use testkit::fixture::{GATEWAY, ISSUER, story};

use crate::house::{House, no, yes};

/// req: AUTHZ-17 (part), AUTHZ-32 (part)
#[test]
fn ciba_7_a_user_is_asked_where_they_are_signed_in() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        for hint in ["ada", "user:ada", "ada@example.org"] {
            let more = format!("&login_hint={hint}&binding_message=Order+7+of+10+EUR");
            let asked = house.ciba(&more).await.unwrap();
            assert_eq!((asked.expires_in, asked.interval), (300, Some(5)));
            let cookie = house.sign_in("ada").await;
            let signed = sessions::of_cookie(&*house.world(), &cookie).await.unwrap().unwrap();
            let theirs = list::of_person(&*house.world(), &signed).await.unwrap();
            let [shown] = theirs.waiting.as_slice() else { panic!("{theirs:?}") };
            let lines = shown.lines();
            let message = ("message".to_owned(), "Order 7 of 10 EUR".to_owned());
            assert!(lines.contains(&message), "{lines:?}");
            let bob = house.sign_in("bob").await;
            let refused = house.say(&bob, yes(shown, None)).await.unwrap_err();
            assert_eq!(refused.check(), "approval::NotAsked");
            house.say(&cookie, yes(shown, None)).await.unwrap();
            house.poll_ciba(&asked.auth_req_id).await.unwrap();
        }
    });
}

#[test]
fn ciba_13_what_cannot_be_asked_says_why() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let check = async |more: &str, expect: ErrorCode| {
            let refused = house.ciba(more).await.unwrap_err();
            assert_eq!(refused.code(), expect, "{more}: {refused}");
        };
        check("", ErrorCode::InvalidRequest).await;
        check("&login_hint=ada&id_token_hint=a.b.c", ErrorCode::InvalidRequest).await;
        check("&login_hint=nobody", ErrorCode::UnknownUserId).await;
        check("&login_hint=nobody@example.org", ErrorCode::UnknownUserId).await;
        check("&login_hint_token=a.b.c", ErrorCode::UnknownUserId).await;
        check("&id_token_hint=a.b.c", ErrorCode::UnknownUserId).await;
        check("&login_hint=ada&binding_message=a%0Ab", ErrorCode::InvalidBindingMessage).await;
        let unmet = ErrorCode::UnmetAuthenticationRequirements;
        check("&login_hint=ada&acr_values=urn:none", unmet).await;
        check("&login_hint=ada&user_code=1", ErrorCode::InvalidRequest).await;
        check("&login_hint=ada&requested_expiry=0", ErrorCode::InvalidRequest).await;
        check("&login_hint=ada&request=a.b.c", ErrorCode::InvalidRequest).await;
        let asked = house.ciba("&login_hint=ada&requested_expiry=60").await.unwrap();
        assert_eq!(asked.expires_in, 60);
    });
}

/// Defect: backchannel requests skipped what locks somebody out (docs/past-defects.md 9).
#[test]
fn defect_9_who_is_disabled_is_not_asked() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.act("ada", UserAct::Disable).await;
        let refused = house.ciba("&login_hint=ada").await.unwrap_err();
        // The client is told no more than of somebody who is not there.
        assert_eq!(refused.code(), ErrorCode::UnknownUserId);
        assert!(house.approvals().is_empty());
    });
}

/// Many questions teach people to click.
#[test]
fn ciba_14_nobody_is_asked_more_than_they_can_read() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        for _ in 0..32 {
            house.ciba("&login_hint=ada").await.unwrap();
        }
        let refused = house.ciba("&login_hint=ada").await.unwrap_err();
        assert!(matches!(refused, Refusal::TooManyWait { found: 32, .. }), "{refused}");
        house.ciba("&login_hint=bob").await.unwrap();
    });
}

/// RFC 9470: who allows something has authenticated as policy wants.
/// req: AUTHZ-18 (part)
#[test]
fn s10_6_an_answer_takes_the_sign_in_that_policy_wants() {
    story(|sim| async move {
        let house = House::with_policy(&sim, "[approvals]\nacr = \"phr\"").await;
        let asked = house.ciba("&login_hint=ada").await.unwrap();
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        let refused = house.say(&cookie, yes(&shown, None)).await.unwrap_err();
        assert_eq!(refused.check(), "approval::TooWeak");
        house.say(&cookie, no(&shown, None)).await.unwrap();
        let refused = house.poll_ciba(&asked.auth_req_id).await.unwrap_err();
        let denied = token::Refusal::Grant(grants::Refusal::Wait(NotYet::Denied));
        assert_eq!(refused, denied);
    });
}

/// FAPI-CIBA §5.2.2, where policy says that it holds.
#[test]
fn fapi_ciba_5_2_2_requests_are_signed() {
    story(|sim| async move {
        let mut house = House::with_policy(&sim, "[approvals]\nfapi = [\"client-fapi\"]").await;
        house.ciba("&login_hint=ada").await.unwrap();
        let all = house.world().store().every::<ClientRecord>();
        let found = all.iter().find(|one| one.client_id == house.client.id).unwrap();
        let fapi = ClientRecord { client_id: "client-fapi".to_owned(), ..(**found).clone() };
        house.world().store().put(&fapi);
        house.client.id = "client-fapi".to_owned();
        let refused = house.ciba("&login_hint=ada").await.unwrap_err();
        assert_eq!(refused, Refusal::Fapi("the request must be signed"));
    });
}

/// A signed request of the client of this house, edited.
fn signed(house: &House, edit: &dyn Fn(&mut Value)) -> String {
    let now = house.domain.now().seconds();
    let mut claims = json!({
        "iss": house.client.id, "aud": ISSUER, "jti": "request-1", "iat": now, "nbf": now,
        "exp": now + 300, "scope": "openid notices.read", "login_hint": "ada",
        "resource": format!("{GATEWAY}/notices"), "binding_message": "Order 7",
    });
    edit(&mut claims);
    house.client.signs::<SignedRequest>(&serde_json::from_value(claims).unwrap())
}

/// req: AUTHZ-17 (part)
#[test]
fn ciba_7_1_1_a_signed_request_counts_once_as_it_was_signed() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let send = async |text: &str| {
            let call = house.call_of(&house.client, &format!("request={text}"));
            approve::ciba::authorize(&*house.world(), &call).await.unwrap().into_result()
        };
        let good = signed(&house, &|_| {});
        send(&good).await.unwrap();
        assert_eq!(house.approvals()[0].sought.message.as_deref(), Some("Order 7"));
        // docs/past-defects.md, family 1: what serves once is used up by one commit.
        let refused = send(&good).await.unwrap_err();
        assert_eq!(refused, Refusal::Signed("it was sent before".to_owned()));
        let check = async |edit: &dyn Fn(&mut Value), expect: &str| {
            let edit = |claims: &mut Value| {
                claims["jti"] = json!("request-2");
                edit(claims);
            };
            let refused = send(&signed(&house, &edit)).await.unwrap_err();
            assert_eq!(refused.check(), "approve::Signed", "{expect}: {refused}");
            assert!(refused.to_string().contains(expect), "{refused}");
        };
        check(&|claims| claims["iss"] = json!("client-other"), "request of").await;
        check(&|claims| claims["aud"] = json!("https://other.example"), "request for").await;
        check(&|claims| claims["exp"] = json!(1), "expired").await;
        let other = house.domain.client(&[GrantType::Ciba], false);
        let own = json!({ "iss": house.client.id });
        let stolen = signed(&House { client: other, ..House::open(&sim).await }, &|claims| {
            claims["iss"] = own["iss"].clone();
        });
        assert_eq!(send(&stolen).await.unwrap_err().check(), "approve::Signed");
    });
}

/// CIBA Core 1.0 §4.
#[test]
fn ciba_4_who_registered_to_sign_its_requests_does() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let member = "backchannel_authentication_request_signing_alg";
        house.registers(&json!({ member: "ES256" }));
        assert_eq!(house.ciba("&login_hint=ada").await.unwrap_err().check(), "approve::Signed");
        let text = signed(&house, &|_| {});
        let send = async |text: &str| {
            let call = house.call_of(&house.client, &format!("request={text}"));
            approve::ciba::authorize(&*house.world(), &call).await.unwrap().into_result()
        };
        house.registers(&json!({ member: "PS256" }));
        assert_eq!(send(&text).await.unwrap_err().check(), "approve::Signed");
        house.registers(&json!({ member: "ES256" }));
        send(&text).await.unwrap();
    });
}
