//! `POST /register`: who may, with what, and how often.

use env::World;
use register::Refusal;
use register::endpoint::{self, OF_SOURCE, OVER_ALL, Request, UNUSED_LIFE};
use registry::client::Origin;
use serde_json::json;
use testkit::boxed;
use testkit::fixture::story;

use crate::desk::{Desk, app, app_with, done, refused, stranger};

/// req: AUTHZ-22 (part)
#[test]
fn rfc7591_3_policy_says_who_may_register() {
    story(|sim| async move {
        let off = Desk::open(&sim, "").await;
        assert_eq!(stranger(off.register(&app(), None).await), Refusal::Off);
        let open = Desk::open(&sim, "dynamic = \"open\"").await;
        let told = done(open.register(&app(), None).await);
        let id = told.registered.client_id.as_str();
        assert!(id.starts_with("client-"), "{id}");
        let stored = open.stored(id).unwrap();
        assert_eq!((stored.origin, stored.public), (Origin::Open, true));
        assert!(stored.until.is_some(), "nothing of strangers is kept for ever");
        assert_eq!(open.last(), ("client.register".to_owned(), None));
        // RFC 7592 §3: the way to manage it.
        let uri = told.registered.registration_client_uri.unwrap();
        assert_eq!(uri, format!("{}/register/{id}", open.world().site().issuer));
        let token = told.registered.registration_access_token.unwrap();
        assert!(stored.is_managed_by(&token));
        assert!(!format!("{stored:?}").contains(&token));
        let token = Desk::open(&sim, "dynamic = \"token\"").await;
        assert_eq!(stranger(token.register(&app(), None).await), Refusal::NoToken);
        let wrong = token.register(&app(), Some("aims_iat_wrong")).await;
        assert_eq!(stranger(wrong), Refusal::UnknownToken);
    });
}

#[test]
fn rfc7591_3_an_initial_access_token_serves_as_often_as_it_says() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"token\"").await;
        let token = desk.invite(2, 60).await;
        // What is refused uses nothing up, and is recorded: who asks is known.
        let bad = app_with("redirect_uris", json!(["javascript:alert(1)"]));
        assert!(matches!(refused(desk.register(&bad, Some(&token)).await), Refusal::Metadata(_)));
        assert_eq!(desk.last().1.as_deref(), Some("registration::Metadata"));
        for _ in 0..2 {
            let told = done(desk.register(&app(), Some(&token)).await);
            let stored = desk.stored(told.registered.client_id.as_str()).unwrap();
            assert_eq!((stored.origin, stored.until), (Origin::Invited, None));
        }
        assert_eq!(refused(desk.register(&app(), Some(&token)).await), Refusal::UsedUp);
        let late = desk.invite(2, 60).await;
        desk.forth(61);
        let refusal = refused(desk.register(&app(), Some(&late)).await);
        assert!(matches!(refusal, Refusal::Expired(_)), "{refusal}");
    });
}

#[test]
fn rfc7591_3_of_a_hundred_that_race_for_one_use_one_registers() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"token\"").await;
        let token = desk.invite(1, 60).await;
        let metadata = app();
        let race = (0..100).map(|_| boxed(desk.register(&metadata, Some(&token)))).collect();
        let ends = sim.all(race).await;
        let won = ends.into_iter().filter_map(register::endpoint::decided);
        let won = won.filter(|end| end.value().is_ok()).count();
        assert_eq!(won, 1);
    });
}

/// req: CRED-10 (part)
#[test]
fn rfc7591_5_what_no_client_may_be_is_refused() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"\nscope_max = \"read\"").await;
        for (member, value, check) in [
            ("token_endpoint_auth_method", json!("client_secret_basic"), "registration::Secret"),
            ("token_endpoint_auth_method", json!("client_secret_jwt"), "registration::Method"),
            ("token_endpoint_auth_method", json!("tls_client_auth"), "registration::Metadata"),
            ("redirect_uris", json!(["http://books.example/"]), "registration::Metadata"),
            ("redirect_uris", json!(["com.example.app:/"]), "registration::NotNative"),
            ("redirect_uris", json!([]), "registration::Metadata"),
            ("response_types", json!(["token"]), "registration::Metadata"),
            ("scope", json!("write"), "registration::Scope"),
            ("jwks_uri", json!("http://books.example/keys"), "registration::Metadata"),
            ("software_statement", json!("e30.e30."), "registration::StatementMalformed"),
        ] {
            let metadata = app_with(member, value.clone());
            let refusal = stranger(desk.register(&metadata, None).await);
            assert_eq!(refusal.check(), check, "{member} {value}: {refusal}");
        }
    });
}

#[test]
fn rfc6749_2_3_1_a_secret_is_given_once_and_only_where_policy_says_so() {
    story(|sim| async move {
        let metadata = app_with("token_endpoint_auth_method", json!("client_secret_post"));
        let strict = Desk::open(&sim, "").await;
        assert_eq!(strict.order(&metadata).await.unwrap_err().check(), "registration::Secret");
        let desk = Desk::open(&sim, "client_secrets_that_can_be_stolen = true").await;
        let (client, told) = desk.order(&metadata).await.unwrap();
        let secret = told.secret.unwrap();
        assert_eq!(told.registered.metadata["client_secret_expires_at"], 0);
        assert_ne!(client.secret.as_deref(), Some(secret.expose()));
        assert!(registry::client::matches_hash(client.secret.as_deref(), secret.expose()));
        assert!(!registry::client::matches_hash(client.secret.as_deref(), "aims_cs_other"));
        let log = serde_json::to_string(&desk.domain.server.journal().last()).unwrap();
        assert!(!log.contains(secret.expose()));
    });
}

#[test]
fn an_identifier_is_none_of_an_agent_and_no_url() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"").await;
        let told =
            done(desk.register(&app_with("client_id", json!("https://a.example/")), None).await);
        let id = told.registered.client_id;
        assert!(oauth::metadata_document::may_be_issued(id.as_str()));
        assert!(!id.as_str().contains(':'), "{id:?}");
    });
}

/// Of one source, and over all of them; who was invited is counted by the invitation alone.
///
/// req: AUTHZ-22 (part)
#[test]
fn rfc7591_5_registrations_without_a_token_are_bounded() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"").await;
        let token = desk.invite(100, 3_600).await;
        let (world, throttle) = (desk.world(), endpoint::throttle());
        let register = async |source: &str, token: Option<&str>| {
            let request = Request::new(app().to_string(), token, source.to_owned());
            match endpoint::register(&*world, &throttle, &request).await.unwrap() {
                register::End::Stranger(refusal) => Err(refusal),
                register::End::Decided(recorded) => recorded.into_value().map(|_| ()),
            }
        };
        for _ in 0..OF_SOURCE.burst {
            register("192.0.2.1", None).await.unwrap();
        }
        let wait = OF_SOURCE.every / 1_000;
        let many = register("192.0.2.1", None).await.unwrap_err();
        assert_eq!(many, Refusal::TooMany { wait });
        register("192.0.2.1", Some(&token)).await.unwrap();
        register("192.0.2.2", None).await.unwrap();
        desk.forth(wait);
        register("192.0.2.1", None).await.unwrap();
        assert!(register("192.0.2.1", None).await.is_err());
        // What is refused for what it says was a try, too; what policy refuses anyway is not.
        let mut took = 0;
        while register(&format!("198.51.100.{}", took / 10), None).await.is_ok() {
            took += 1;
            assert!(took <= OVER_ALL.burst, "no bound over all");
        }
        assert!(took > OVER_ALL.burst / 2, "{took}");
        register("192.0.2.1", Some(&token)).await.unwrap();
    });
}

/// One that nobody ever used is swept after a day, however often it is written.
#[test]
fn rfc7591_5_what_was_never_used_goes_soon() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"").await;
        let told = done(desk.register(&app(), None).await).registered;
        let id = told.client_id.as_str().to_owned();
        let soon = desk.stored(&id).unwrap().registered.plus(UNUSED_LIFE);
        assert_eq!(desk.stored(&id).unwrap().until, Some(soon));
        desk.forth(3_600);
        let mut text = app();
        text["client_id"] = json!(id);
        let token = told.registration_access_token.unwrap();
        let act = register::manage::Act::Replace(text.to_string());
        done(desk.manage(&id, &token, act).await);
        assert_eq!(desk.stored(&id).unwrap().until, Some(soon));
    });
}
