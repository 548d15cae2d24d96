//! Users who are asked out of band (CIBA Core 1.0).

use std::sync::Arc;

use approve::{Refusal, ciba, list};
use authorization::granted::NotYet;
use authorization::grants;
use env::{Published, World};
use flow::token;
use jose::{Algorithm, SigningInput};
use oauth::error::ErrorCode;
use openid::ciba::{SignedRequest, SignedRequestClaims};
use people::end::Check;
use people::sessions;
use people::standing::UserAct;
use registry::profile::{Demand, Unmet, demands};
use registry::{ClientRecord, ClientState, Metadata, Profile};
use testkit::fixture::{GATEWAY, ISSUER, story};
use testkit::web::Web;

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

/// A request, with or without what a row wants.
#[derive(Clone, Copy)]
struct Asks {
    signed: bool,
    message: bool,
    bound: bool,
    seconds: u64,
}

const ALL: Asks = Asks { signed: true, message: true, bound: true, seconds: 3_600 };

impl Asks {
    fn body(self, house: &House) -> String {
        let target = if self.bound { "reports" } else { "notices" };
        let mut claims = serde_json::json!({
            "scope": format!("openid {target}.read"),
            "resource": format!("{GATEWAY}/{target}"),
            "login_hint": "ada",
        });
        if self.message {
            claims["binding_message"] = "Order 7".into();
        }
        if !self.signed {
            let pair = |(name, value): (&String, &serde_json::Value)| {
                format!("{name}={}", value.as_str().unwrap().replace(' ', "+"))
            };
            let pairs: Vec<_> = claims.as_object().unwrap().iter().map(pair).collect();
            return pairs.join("&");
        }
        let now = house.domain.now().seconds();
        for (name, value) in [
            ("iss", serde_json::json!(house.client.id)),
            ("aud", serde_json::json!(ISSUER)),
            ("iat", now.into()),
            ("nbf", now.into()),
            ("exp", (now + self.seconds).into()),
            ("jti", "request-1".into()),
        ] {
            claims[name] = value;
        }
        let claims: SignedRequestClaims = serde_json::from_value(claims).unwrap();
        let input = SigningInput::<SignedRequest>::new(Algorithm::Es256, None, &claims).unwrap();
        let signature = house.client.key().unwrap().sign(input.bytes());
        format!("request={}", input.attach(signature).into_string())
    }

    /// The check that refuses.
    async fn refusal(self, house: &House) -> Option<&'static str> {
        let call = house.call_of(&house.client, &self.body(house));
        let end = ciba::authorize(&*house.world(), &call).await.unwrap();
        end.into_result().err().map(|refusal| refusal.check())
    }
}

/// Each row, and a request that lacks what it wants and nothing else.
const ROWS: &[(Demand, Asks)] = &[
    (Demand::SignedBackchannel, Asks { signed: false, ..ALL }),
    (Demand::BindingMessage, Asks { message: false, ..ALL }),
    (Demand::BoundTokens, Asks { bound: false, ..ALL }),
];

/// What meets all is taken under every profile; what lacks one thing is refused by its row, and
/// only where the profile has that row.
///
/// req: AUTHZ-17 (part)
#[test]
fn fapi_ciba_5_2_2_each_row_refuses_alone() {
    story(|sim| async move {
        for profile in Profile::ALL {
            let house = House::open(&sim).await;
            let found = house.world().store().single::<ClientRecord>(&house.client.id).unwrap();
            house.world().store().put(&found.with_profiles([profile].into()));
            let wants = demands(&[profile]);
            assert_eq!(ALL.refusal(&house).await, None, "{profile}");
            for (row, asks) in ROWS {
                let expect = wants.contains(row).then(|| Unmet(*row).check());
                assert_eq!(asks.refusal(&house).await, expect, "{profile}");
            }
            // "[...] nbf and exp claims that limit the lifetime of the request to no more than 60
            // minutes".
            let long = Asks { seconds: 3_601, ..ALL };
            let signed = wants.contains(&Demand::SignedBackchannel);
            assert_eq!(long.refusal(&house).await, signed.then_some("approve::Signed"));
        }
    });
}

/// FAPI-CIBA §5.2.2, where policy says that it holds for a client that registered without.
#[test]
fn fapi_ciba_5_2_2_policy_may_say_that_it_holds() {
    story(|sim| async move {
        let mut house = House::with_policy(&sim, "[approvals]\nfapi = [\"client-fapi\"]").await;
        house.ciba("&login_hint=ada").await.unwrap();
        let found = house.world().store().single::<ClientRecord>(&house.client.id).unwrap();
        let fapi = ClientRecord { client_id: "client-fapi".to_owned(), ..(*found).clone() };
        house.world().store().put(&fapi);
        house.client.id = "client-fapi".to_owned();
        for (row, asks) in ROWS {
            assert_eq!(asks.refusal(&house).await, Some(Unmet(*row).check()));
        }
        assert_eq!(ALL.refusal(&house).await, None);
    });
}

/// CIBA Core 1.0 §4: a client signs by what it registered, and by keys that it publishes as well as
/// by those that it brought.
#[test]
fn ciba_4_signed_requests_are_verified_by_what_the_client_registered() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let found = house.world().store().single::<ClientRecord>(&house.client.id).unwrap();
        let edit = |name: &str, value: serde_json::Value| {
            let mut members = found.metadata.members().clone();
            members.insert(name.to_owned(), value);
            if name == "jwks_uri" {
                members.remove("jwks");
            }
            house.world().store().put(&found.with_metadata(Metadata::new(&members).unwrap()));
        };
        let name = "backchannel_authentication_request_signing_alg";
        edit(name, "PS256".into());
        assert_eq!(ALL.refusal(&house).await, Some("approve::Signed"));
        edit(name, "ES256".into());
        assert_eq!(ALL.refusal(&house).await, None);
        let web = Arc::new(Web::default());
        house.world().publish(Arc::clone(&web) as Arc<dyn Published>);
        let keys = found.metadata.members().get("jwks").unwrap();
        web.put("https://app.example/keys", keys, Some(600));
        edit("jwks_uri", "https://app.example/keys".into());
        assert_eq!(ALL.refusal(&house).await, None);
    });
}

/// docs/past-defects.md 8: whoever is disabled gets nobody asked, by whatever front.
#[test]
fn past_defect_08_a_disabled_client_gets_nobody_asked() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let found = house.world().store().single::<ClientRecord>(&house.client.id).unwrap();
        let state = ClientState::Disabled;
        house.world().store().put(&ClientRecord { state, ..(*found).clone() });
        let refused = house.ciba("&login_hint=ada").await.unwrap_err();
        assert_eq!(refused.check(), "approve::Unfit", "{refused}");
        let refused = house.device("").await.unwrap_err();
        assert_eq!(refused.check(), "approve::Unfit", "{refused}");
        assert!(house.approvals().is_empty());
    });
}
