//! Users who are asked out of band (CIBA Core 1.0).

use std::sync::Arc;

use approval::Approval;
use approve::{Refusal, ciba, expire, list};
use authorization::Profile;
use authorization::granted::NotYet;
use authorization::grants;
use authorization::profile::{Demand, Unmet, demands};
use env::{Clock, Published, World};
use flow::token;
use jose::{Algorithm, SigningInput};
use oauth::error::ErrorCode;
use oauth::token_request::GrantType;
use openid::ciba::{LoginHint, SignedRequest, SignedRequestClaims};
use people::end::Check;
use people::sessions;
use people::standing::UserAct;
use people::user_code;
use registry::{ClientRecord, ClientState, Metadata};
use serde_json::{Value, json};
use testkit::boxed;
use testkit::fixture::{Client, GATEWAY, ISSUER, files, story};
use testkit::web::Web;
use time::Span;

use crate::house::{House, ciba_request, name, no, yes};

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

/// Many questions teach people to click; and no client takes from the others that they are heard.
#[test]
fn ciba_14_nobody_is_asked_more_than_they_can_read() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let ask = async |client: &Client, who: &str| {
            let body =
                format!("scope=openid+notices.read&resource={GATEWAY}/notices&login_hint={who}");
            let call = house.call_of(client, &body);
            ciba::authorize(&*house.world(), &house.throttle, &call).await.unwrap().into_result()
        };
        let clients: Vec<_> =
            (0..5).map(|_| house.domain.client(&[GrantType::Ciba], false)).collect();
        for client in clients.iter().take(4) {
            for _ in 0..8 {
                ask(client, "ada").await.unwrap();
            }
            let refused = ask(client, "ada").await.unwrap_err();
            assert!(matches!(refused, Refusal::TooManyWait { .. }), "{refused}");
            assert_eq!(refused.code(), ErrorCode::AccessDenied);
        }
        let refused = ask(&clients[4], "ada").await.unwrap_err();
        assert!(matches!(refused, Refusal::TooManyWait { found: 32, .. }), "{refused}");
        ask(&clients[0], "bob").await.unwrap();
        // However much is over, whoever asks now is heard, and it is seen.
        house.forth(301);
        expire::expire(&*house.world()).await.unwrap();
        let over = (*house.approvals()[0]).clone();
        for n in 0..1_100 {
            let id = format!("0-{n:04}");
            house.world().store().put(&Approval { id, ..over.clone() });
        }
        ask(&clients[4], "ada").await.unwrap();
        let cookie = house.sign_in("ada").await;
        let world = house.world();
        let signed = sessions::of_cookie(&*world, &cookie).await.unwrap().unwrap();
        assert_eq!(list::of_person(&*world, &signed).await.unwrap().waiting.len(), 1);
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
            ("jti", format!("request-{}", house.approvals().len()).into()),
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
        let end = ciba::authorize(&*house.world(), &house.throttle, &call).await.unwrap();
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

/// The same rows of a resource that has the profile, for a client without one. That its tokens are
/// bound is policy's to check.
#[test]
fn fapi_ciba_5_2_2_a_resource_demands_each_row_of_every_client() {
    story(|sim| async move {
        for profile in Profile::ALL {
            let all = files();
            let text = all.get("resources/reports.toml").unwrap();
            let set = format!("proof = \"mtls\"\nprofiles = [\"{profile}\"]");
            let text = text.replace("proof = \"mtls\"", &set);
            let house = House::with_files(&sim, &[("resources/reports.toml", &text)]).await;
            let wants = demands(&[profile]);
            assert_eq!(ALL.refusal(&house).await, None, "{profile}");
            for (row, asks) in ROWS.iter().filter(|(row, _)| *row != Demand::BoundTokens) {
                let expect = wants.contains(row).then(|| Unmet(*row).check());
                assert_eq!(asks.refusal(&house).await, expect, "{profile}");
            }
            let long = Asks { seconds: 3_601, ..ALL };
            let signed = wants.contains(&Demand::SignedBackchannel);
            assert_eq!(long.refusal(&house).await, signed.then_some("approve::Signed"));
            // What is for another resource is asked as ever.
            house.ciba("&login_hint=ada").await.unwrap();
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

/// A signed request of the client of this house, edited.
pub(crate) fn signed(house: &House, edit: &dyn Fn(&mut Value)) -> String {
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
            approve::ciba::authorize(&*house.world(), &house.throttle, &call)
                .await
                .unwrap()
                .into_result()
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
            approve::ciba::authorize(&*house.world(), &house.throttle, &call)
                .await
                .unwrap()
                .into_result()
        };
        house.registers(&json!({ member: "PS256" }));
        assert_eq!(send(&text).await.unwrap_err().check(), "approve::Signed");
        house.registers(&json!({ member: "ES256" }));
        send(&text).await.unwrap();
    });
}

/// Defect: guesses were not counted (docs/past-defects.md 9). They are few: of one client, and for
/// one user over all clients and sources; and a client that knows the code is let in meanwhile.
///
/// req: AUTHZ-17 (part)
#[test]
fn defect_9_codes_of_users_are_not_guessed() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.registers(&json!({ "backchannel_user_code_parameter": true }));
        let (world, operator) = (house.world(), house.domain.operator());
        let code = user_code::set(&*world, &operator, &name("ada"), true).await;
        let code = code.unwrap().into_value().unwrap().unwrap().expose().to_owned();
        let ask = async |client: &Client, code: &str, source: &str| {
            let body = format!(
                "scope=openid+notices.read&resource={GATEWAY}/notices&login_hint=ada\
                 &user_code={code}"
            );
            let call =
                approve::caller::Call { source: source.to_owned(), ..house.call_of(client, &body) };
            let end = ciba::authorize(&*world, &house.throttle, &call).await.unwrap();
            end.into_result().map(|_| ()).map_err(|refusal| refusal.check())
        };
        const WRONG: &str = "7KQ2-9MXA-F3TN";
        let ours = &house.client;
        for at in 0..5 {
            let end = ask(ours, WRONG, &format!("192.0.2.{at}")).await;
            assert_eq!(end, Err("approve::WrongUserCode"));
        }
        // Not even the right one, from wherever it comes: a guesser does not learn it.
        assert_eq!(ask(ours, &code, "192.0.2.99").await, Err("approve::TooMany"));
        house.forth(30);
        assert_eq!(ask(ours, &code, "192.0.2.99").await, Ok(()));
        // Many clients at many sources are few altogether; the one that knew the code is let in.
        let mut guesses = 0;
        let stranger = loop {
            let other = house.domain.client(&[GrantType::Ciba], false);
            let mine = world.store().single::<ClientRecord>(&other.id).unwrap();
            let says = mine.metadata.with("backchannel_user_code_parameter", true.into());
            world.store().put(&mine.with_metadata(says.unwrap()));
            match ask(&other, WRONG, &format!("198.51.100.{guesses}")).await {
                Err("approve::WrongUserCode") => guesses += 1,
                Err("approve::TooMany") => break other,
                end => panic!("{end:?}"),
            }
            assert!(guesses <= 200, "no bound over all");
        };
        assert_eq!(ask(&stranger, &code, "203.0.113.1").await, Err("approve::TooMany"));
        assert_eq!(ask(ours, &code, "203.0.113.1").await, Ok(()));
        // Nor is the person locked out elsewhere for long.
        house.forth(1);
        assert_eq!(ask(&stranger, &code, "203.0.113.1").await, Ok(()));
    });
}

const PARTNER: &str = "https://partner.example";

/// req: AUTHZ-17 (part)
#[test]
fn ciba_7_1_a_login_hint_token_is_the_word_of_whom_policy_trusts() {
    story(|sim| async move {
        let partner = House::open(&sim).await.client;
        let jwk = partner.jwk();
        let policy = format!(
            "[[delegation.issuer]]\nname = \"partner\"\nissuer = \"{PARTNER}\"\n\
             jwks = {{ keys = [{jwk}] }}\nscope = \"read\"\n\
             subjects = {{ \"ada@partner\" = \"user:ada\", \"*\" = \"partner:{{sub}}\" }}"
        );
        let house = House::with_policy(&sim, &policy).await;
        let now = house.domain.now().seconds();
        let claims = |edit: &dyn Fn(&mut Value)| {
            let mut claims = json!({
                "iss": PARTNER, "sub": "ada@partner", "aud": ISSUER, "iat": now, "exp": now + 60,
                "jti": "hint-1",
            });
            edit(&mut claims);
            claims
        };
        let hint = |edit: &dyn Fn(&mut Value)| {
            let token = partner.signs::<LoginHint>(&serde_json::from_value(claims(edit)).unwrap());
            format!("&login_hint_token={token}")
        };
        house.ciba(&hint(&|_| {})).await.unwrap();
        assert_eq!(house.approvals()[0].asks.subject, "user:ada");
        let check = async |hint: String, expect: ErrorCode| {
            let refused = house.ciba(&hint).await.unwrap_err();
            assert_eq!(refused.code(), expect, "{refused}");
        };
        let (unknown, expired) = (ErrorCode::UnknownUserId, ErrorCode::ExpiredLoginHintToken);
        check(hint(&|claims| claims["exp"] = json!(now - 60)), expired).await;
        check(hint(&|claims| claims["sub"] = json!("eve@partner")), unknown).await;
        check(hint(&|claims| claims["aud"] = json!("https://other.example")), unknown).await;
        check(hint(&|claims| claims["iss"] = json!("https://other.example")), unknown).await;
        check(format!("{}A", hint(&|_| {})), unknown).await;
        // An assertion of the same issuer is none: whoever may name a user need not be let in as
        // them, and the other way round.
        let assertion = serde_json::from_value(claims(&|_| {})).unwrap();
        let assertion = partner.signs::<oauth::jwt_grant::JwtGrant>(&assertion);
        check(format!("&login_hint_token={assertion}"), unknown).await;
    });
}

/// §7.1: "An ID Token previously issued to the Client".
#[test]
fn ciba_7_1_an_id_token_is_a_hint_of_the_client_that_it_was_given_to() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let asked = house.ciba("&login_hint=ada").await.unwrap();
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        let call = house.client.asks(ciba_request(&asked.auth_req_id), house.domain.now());
        let id_token = house.domain.ask(call).await.unwrap().id_token.unwrap();
        let hint = format!("&id_token_hint={id_token}");
        house.ciba(&hint).await.unwrap();
        let other = house.domain.client(&[GrantType::Ciba], false);
        let other = House { client: other, ..house };
        let refused = other.ciba(&hint).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::UnknownUserId);
    });
}

/// §7.1, `user_code`.
/// req: AUTHZ-17 (part)
#[test]
fn ciba_7_1_a_user_with_a_code_is_asked_for_those_who_know_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.registers(&json!({ "backchannel_user_code_parameter": true }));
        let (world, operator) = (house.world(), house.domain.operator());
        let set = async |on| {
            let done = user_code::set(&*world, &operator, &name("ada"), on).await;
            done.unwrap().into_value().unwrap().map(|code| code.expose().to_owned())
        };
        let ask = async |code: &str| house.ciba(&format!("&login_hint=ada{code}")).await;
        ask("").await.unwrap();
        let code = set(true).await.unwrap();
        assert_eq!(ask("").await.unwrap_err().code(), ErrorCode::MissingUserCode);
        let wrong = ask("&user_code=7KQ2-9MXA-F3TN").await.unwrap_err();
        assert_eq!(wrong.code(), ErrorCode::InvalidUserCode);
        ask(&format!("&user_code={code}")).await.unwrap();
        ask(&format!("&user_code={}", code.to_lowercase().replace('-', ""))).await.unwrap();
        // A new code takes the place of the old one.
        let next = set(true).await.unwrap();
        let old = ask(&format!("&user_code={code}")).await.unwrap_err();
        assert_eq!(old.code(), ErrorCode::InvalidUserCode);
        let records = house.domain.server.journal().records();
        assert!(records.iter().all(|one| !format!("{one:?}").contains(&next)));
        assert_eq!(set(false).await, None);
        ask("").await.unwrap();
    });
}

/// CIBA Core 1.0 §10.1.
/// req: AUTHZ-17 (part)
#[test]
fn ciba_10_1_a_request_that_comes_too_early_is_held_open() {
    story(|sim| async move {
        let house = House::with_policy(&sim, "[approvals]\nlong_poll = 20").await;
        let asked = house.ciba("&login_hint=ada").await.unwrap();
        let id = asked.auth_req_id.as_str();
        let began = house.domain.now();
        let pending = token::Refusal::Grant(grants::Refusal::Wait(NotYet::Pending));
        assert_eq!(house.poll_ciba(id).await.unwrap_err(), pending);
        let held = house.domain.now().since(began).seconds();
        assert!((20..=21).contains(&held), "{held}");
        // "If the interval has passed when the response is received, then the client may
        // immediately send out the next request."
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        let began = house.domain.now();
        let answer = async {
            house.world().clock().sleep(Span::from_seconds(7)).await;
            house.say(&cookie, yes(&shown, None)).await.map(|_| String::new()).unwrap();
            Ok(String::new())
        };
        let both = sim.all(vec![boxed(house.poll_ciba(id)), boxed(answer)]).await;
        assert!(both.iter().all(Result::is_ok), "{both:?}");
        let held = house.domain.now().since(began).seconds();
        assert!((7..=8).contains(&held), "{held}");
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
