//! A person is asked, and answers: from the list, and by the code of a device.

use approval::{Answered, Approval, State};
use approve::caller::Call;
use approve::shares::Shares;
use approve::{ciba, device};
use authentication::session::Acr;
use env::World;
use http::StatusCode;
use oauth::TokenText;
use oauth::form::Form;
use oauth::token_request::{DeviceCode, GrantType, TokenRequest};
use people::throttle::Throttle;
use registry::client::Origin;
use testkit::fixture::{Client, GATEWAY, story};

use crate::tab::House;

pub(crate) fn call(house: &House, client: &Client, more: &str) -> Call {
    let body = format!("scope=openid+notices.read&resource={GATEWAY}/notices{more}");
    let device_code = TokenText::parse("none").unwrap();
    let request = TokenRequest::DeviceCode(DeviceCode { device_code, resources: Vec::new() });
    Call {
        form: Form::parse(body.as_bytes()).unwrap(),
        client: client.asks(request, house.domain.now()).client,
        attestation: None,
        dpop: Vec::new(),
        path: "/par".to_owned(),
        certificates: Vec::new(),
        source: "192.0.2.7".to_owned(),
    }
}

fn state(house: &House) -> State {
    house.world().store().every::<Approval>()[0].state
}

/// req: AUTHZ-17 (part), AUTHZ-18 (part), AUTHZ-31 (part)
#[test]
fn s10_6_a_person_sees_exactly_what_is_asked_and_answers_once() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let client = house.domain.client(&[GrantType::Ciba], false);
        let mut ada = house.signed("ada").await;
        let none = ada.get("/console/approvals").await;
        assert!(none.page().id("none-waiting").is_some());
        // It looks again by itself, without a script: soon, while there is nothing to be read.
        assert_eq!(none.headers["refresh"], "5");
        let more = "&login_hint=ada&binding_message=Order+7";
        let asked =
            ciba::authorize(&*house.world(), &Throttle::default(), &call(&house, &client, more))
                .await
                .unwrap();
        asked.into_result().unwrap();
        let found = (*house.world().store().every::<Approval>()[0]).clone();
        let list = ada.get("/console/approvals").await;
        assert_eq!(list.headers["refresh"], "15");
        let place = format!("/console/approvals/{}", found.id);
        assert!(list.body.contains(&place), "{}", list.body);
        let question = ada.get(&place).await;
        let page = question.page();
        assert_eq!(page.text("number"), found.number.to_string());
        assert!(page.text("shown").contains("Order 7"), "{}", page.text("shown"));
        // First in the words of policy, for people do not read scopes.
        assert!(page.text("wants").contains("read notices"), "{}", page.text("wants"));
        // Before the button, whatever the client says and in whose name it is.
        for told in ["Order 7", "your name"] {
            assert!(page.text("wants").contains(told), "{}", page.text("wants"));
        }
        assert!(!page.text("wants").contains("user:ada"), "{}", page.text("wants"));
        assert!(page.text("shown").contains("user:ada"), "{}", page.text("shown"));
        assert_eq!(page.text("client-id"), found.asks.client_id);
        assert!(page.text("asker-kind").starts_with("A registered application"));
        assert!(page.text("lasts").starts_with("until 2"), "{}", page.text("lasts"));
        // It is hers alone, whoever runs the system.
        let mut root = house.signed("root").await;
        assert_eq!(root.get(&place).await.status, StatusCode::NOT_FOUND);
        let answer = ada.send(&question, "answer", &[("answer", "allow")]).await;
        assert_eq!(answer.status, StatusCode::OK);
        // What she allowed lasts, and the page says so.
        let told = answer.page().text("notice");
        assert!(told.contains("until") && !told.contains("once"), "{told}");
        assert_eq!(state(&house), State::Allowed);
        // From there back to what else waits.
        let list = answer.page().id("back").unwrap().attributes["href"].clone();
        assert_eq!(list, "/console/approvals");
        // What came of it, and what it was about, in words.
        let over = ada.get(&list).await.page().text(&format!("over-{}", found.id));
        for told in ["notices", "read notices", "allowed", "by you, 2", "lasts until 2"] {
            assert!(over.contains(told), "{told}: {over}");
        }
        // The back button: it is as it was, and that is no alarm.
        let again = ada.send(&question, "answer", &[("answer", "deny")]).await;
        assert_eq!(again.status, StatusCode::CONFLICT);
        let page = again.page();
        assert!(page.text("notice").contains("It is allowed"), "{}", page.text("notice"));
        assert_eq!(page.id("notice").unwrap().attributes["role"], "status");
        assert!(page.named("h1").all(|one| one.text == "This was answered already"));
        assert!(page.id("back").is_some());
        assert_eq!(state(&house), State::Allowed);
        assert!(ada.get(&place).await.page().id("answer").is_none());
    });
}

/// A list of what is over says when, and what came of it.
///
/// req: AUTHZ-18 (part)
#[test]
fn s10_6_what_is_over_says_when_and_what_came_of_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let client = house.domain.client(&[GrantType::Ciba], false);
        let mut ada = house.signed("ada").await;
        let asked = call(&house, &client, "&login_hint=ada");
        let asked = ciba::authorize(&*house.world(), &Throttle::default(), &asked).await.unwrap();
        asked.into_result().unwrap();
        let world = house.world();
        let found = (*world.store().every::<Approval>()[0]).clone();
        let (at, by) = (found.created, "user:grace".to_owned());
        let answered = Some(Answered { at, by, session: None, acr: None });
        let one = |state, answered, used, grant_until| Approval {
            state,
            answered,
            used,
            grant_until,
            ..found.clone()
        };
        for (one, told) in [
            (one(State::Denied, answered.clone(), None, None), "denied by user:grace, 2"),
            (one(State::Used, answered.clone(), Some(at), None), "allowed, done by user:grace, 2"),
            (one(State::Used, answered.clone(), Some(at), None), "; done 2"),
            (one(State::Allowed, answered.clone(), None, None), "; not used yet"),
            (one(State::Expired, None, None, None), "expired nobody answered before 2"),
            (one(State::Cancelled, None, None, None), "cancelled whoever asked took it back"),
        ] {
            world.store().put(&one);
            let over = ada.get("/console/approvals").await.page();
            let over = over.text(&format!("over-{}", found.id));
            assert!(over.contains(told), "{told}: {over}");
        }
    });
}

/// Whoever signed in too weakly for an answer is led to where they sign in, and back to the question.
/// req: AUTHZ-18 (part)
#[test]
fn rfc9470_4_an_answer_that_needs_a_stronger_sign_in_leads_to_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let grants = [GrantType::Ciba, GrantType::DeviceCode];
        let client = house.domain.client(&grants, false);
        let mut ada = house.signed("ada").await;
        let world = house.world();
        let asking = call(&house, &client, "&login_hint=ada&binding_message=Order+7");
        let asked = ciba::authorize(&*world, &Throttle::default(), &asking).await.unwrap();
        asked.into_result().unwrap();
        let mut found = (*world.store().every::<Approval>()[0]).clone();
        found.acr = Some(Acr::Passkey);
        let found = found.sealed();
        world.store().put(&found);
        let place = format!("/console/approvals/{}", found.id);
        let question = ada.get(&place).await;
        let weak = ada.send(&question, "answer", &[("answer", "allow")]).await;
        let sign_in = weak.location().to_owned();
        assert_eq!(sign_in, format!("/sign-in?then={}&why=answer", place.replace('/', "%2F")));
        assert_eq!(state(&house), State::Pending);
        let page = ada.get(&sign_in).await.page();
        assert!(page.text("why").starts_with("Nothing was done"), "{}", page.text("why"));
        assert!(page.fields("by-code").contains(&("then".to_owned(), place.clone())));
        // Whoever says no needs no more than they have.
        let denied = ada.send(&question, "answer", &[("answer", "deny")]).await;
        assert_eq!((denied.status, state(&house)), (StatusCode::OK, State::Denied));
        // By the code of a device: back to that code.
        let asked = device::authorize(&*world, &Shares::default(), &call(&house, &client, ""))
            .await
            .unwrap();
        let code = asked.into_result().unwrap().user_code;
        let all = world.store().every::<Approval>();
        let mut found = (**all.iter().find(|one| one.id != found.id).unwrap()).clone();
        found.acr = Some(Acr::Passkey);
        world.store().put(&found.sealed());
        let typed = ada.get("/device").await;
        let question = ada.send(&typed, "device", &[("user_code", &code)]).await;
        let weak = ada.send(&question, "answer", &[("answer", "allow")]).await;
        let to = format!("/sign-in?then=%2Fdevice%3Fuser_code%3D{code}&why=answer");
        assert_eq!(weak.location(), to);
    });
}

/// draft-ietf-oauth-cross-device-security §6.1: who asks is a stranger with a name of their own
/// choice, and the page says so.
///
/// req: AUTHZ-18 (part)
#[test]
fn s10_6_nobody_vouches_for_the_name_of_who_registered_itself() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let client = house.domain.client(&[GrantType::DeviceCode], false);
        let asked =
            device::authorize(&*house.world(), &Shares::default(), &call(&house, &client, ""))
                .await
                .unwrap();
        let code = asked.into_result().unwrap().user_code;
        let world = house.world();
        let found = (*world.store().every::<Approval>()[0]).clone();
        let id = found.asks.client_id.clone();
        let of_operator = (*world.store().single::<registry::ClientRecord>(&id).unwrap()).clone();
        let document = "https://app.example/client.json";
        let mut ada = house.signed("ada").await;
        for (client_id, origin, public, told) in [
            (&*id, Origin::Operator, false, "A registered application"),
            (&*id, Origin::Operator, true, "A registered application that cannot prove"),
            (&*id, Origin::Open, false, "registered itself and chose its own name: it cannot"),
            (document, Origin::Document, false, "described by app.example, with a name of its own"),
            (document, Origin::Document, true, "it cannot prove who it is"),
        ] {
            let client_id = client_id.to_owned();
            let mut one = found.clone();
            one.asks.client_id.clone_from(&client_id);
            world.store().put(&one);
            let client =
                registry::ClientRecord { client_id, origin, public, ..of_operator.clone() };
            world.store().put(&client);
            let typed = ada.get("/device").await;
            let page = ada.send(&typed, "device", &[("user_code", &code)]).await.page();
            let kind = page.text("asker-kind");
            assert!(kind.contains(told), "{told}: {kind}");
        }
    });
}

/// RFC 8628 §3.3.1: the link does nothing by itself; §5.4: who is phished is told what to look at.
/// req: AUTHZ-19 (part)
#[test]
fn rfc8628_3_3_a_code_is_typed_shown_and_confirmed() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let client = house.domain.client(&[GrantType::DeviceCode], false);
        let asked =
            device::authorize(&*house.world(), &Shares::default(), &call(&house, &client, ""))
                .await
                .unwrap();
        let asked = asked.into_result().unwrap();
        let mut stranger = house.tab();
        let to = format!("/device?user_code={}", asked.user_code);
        assert!(stranger.get(&to).await.location().starts_with("/sign-in?then="));
        let mut ada = house.signed("ada").await;
        let typed = ada.get(&to).await;
        let code = typed.page().id("user_code").unwrap().attributes["value"].clone();
        assert_eq!(code, asked.user_code);
        assert_eq!(state(&house), State::Pending);
        let wrong = ada.send(&typed, "device", &[("user_code", "BBBB-BBBB")]).await;
        assert!(wrong.page().id("told").is_some());
        assert!(house.counted.lock().unwrap().contains(&"approve::NoSuchCode"));
        // However it is typed, the page shows it as the device does: the user compares.
        let careless = asked.user_code.to_lowercase().replace('-', " ");
        let question = ada.send(&typed, "device", &[("user_code", &careless)]).await;
        let page = question.page();
        assert!(page.id("phishing").is_some());
        assert_eq!(page.text("code"), asked.user_code);
        // RFC 8628 §3.3.1: the code is compared; a device has no number to compare.
        assert!(page.id("number").is_none());
        let answer = ada.send(&question, "answer", &[("answer", "allow")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(state(&house), State::Allowed);
        // What she answered stays hers to look at, and nobody else's.
        let place =
            format!("/console/approvals/{}", house.world().store().every::<Approval>()[0].id);
        assert!(ada.get("/console/approvals").await.body.contains(&place));
        assert_eq!(ada.get(&place).await.status, StatusCode::OK);
        let mut root = house.signed("root").await;
        assert_eq!(root.get(&place).await.status, StatusCode::NOT_FOUND);
    });
}

/// Defect: what a device asks, shown to one person, was answered as another who signed in there
/// since.
/// req: AUTHZ-19 (part)
#[test]
fn rfc8628_3_3_what_a_device_asks_is_answered_by_whom_it_was_shown_to() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let client = house.domain.client(&[GrantType::DeviceCode], false);
        let call = call(&house, &client, "");
        let asked = device::authorize(&*house.world(), &Shares::default(), &call).await.unwrap();
        let code = asked.into_result().unwrap().user_code;
        let mut tab = house.signed("ada").await;
        let typed = tab.get("/device").await;
        let shown = tab.send(&typed, "device", &[("user_code", &code)]).await;
        let sign_in = tab.get("/sign-in").await;
        let own = house.code("root").await;
        tab.send(&sign_in, "by-code", &[("user", "root"), ("code", &own)]).await.location();
        let answer = tab.send(&shown, "answer", &[("answer", "allow")]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
        assert!(answer.page().text("notice").contains("whoever is signed in now"));
        assert_eq!(state(&house), State::Pending);
        // As who they are, they see it and answer.
        let typed = tab.get("/device").await;
        let shown = tab.send(&typed, "device", &[("user_code", &code)]).await;
        tab.send(&shown, "answer", &[("answer", "allow")]).await;
        assert_eq!(state(&house), State::Allowed);
    });
}
