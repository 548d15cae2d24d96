//! By code and by link: once, in time, for people in force, and a new session each time.

use authentication::session::{Acr, Session};
use env::World;
use monitoring::{Event, Outcome};
use people::browser::Browser;
use people::orders;
use people::sessions::{self, NotSigned};
use people::sign_in::{self, Refusal};
use people::standing::{NotAdmitted, UserAct};
use people::throttle::Throttle;
use testkit::boxed;
use testkit::fixture::story;
use time::Span;

use crate::house::{House, browser, counted, name, refused};

/// req: AUTHN-11 (part)
#[test]
fn s9_a_code_lets_its_person_in_as_often_as_it_says() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.add("ada").await;
        house.add("bob").await;
        let code = house.code("ada", 2).await;
        let entered = |name: &'static str| {
            let (house, code) = (&house, &code);
            async move { house.enter(&browser("a", None), name, code).await }
        };
        let signed = entered(" Ada ").await.unwrap().into_result().unwrap();
        assert_eq!(signed.session.user, "user:ada");
        assert_eq!(signed.session.authenticated.acr, Acr::Code);
        assert_eq!(signed.session.browser, "Browser/1.0");
        // Of somebody else, of nobody, and of what is no name.
        for other in ["bob", "eve", "../ada", ""] {
            assert_eq!(counted(entered(other).await), Refusal::Code, "{other}");
        }
        entered("ada").await.unwrap().into_result().unwrap();
        assert_eq!(refused(entered("ada").await), Refusal::Used { what: "code" });
        let told = house.domain.server.journal().of(Event::SignedIn);
        let told: Vec<_> =
            told.iter().map(|record| (record.action.as_str(), record.outcome)).collect();
        assert_eq!(
            told,
            [
                ("sign_in.code", Outcome::Permitted),
                ("sign_in.code", Outcome::Permitted),
                ("sign_in.code", Outcome::Refused),
            ]
        );
    });
}

/// req: AUTHN-11 (part)
#[test]
fn s9_of_many_uses_of_one_code_one_lets_in() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (_, link) = house.add("ada").await;
        let code = house.code("ada", 1).await;
        let browser = browser("a", None);
        let tries = (0..100).map(|_| boxed(house.enter(&browser, "ada", &code)));
        let ends = sim.all(tries.collect()).await;
        let (mut entered, mut used) = (0, 0);
        for end in ends {
            match end.unwrap().into_result() {
                Ok(_) => entered += 1,
                Err(Refusal::Used { .. }) => used += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((entered, used), (1, 99));
        let tries = (0..100).map(|_| boxed(house.follow(&browser, &link)));
        let ends = sim.all(tries.collect()).await;
        let entered = ends.into_iter().filter(|end| {
            matches!(end, Ok(people::end::End::Decided(recorded)) if recorded.value().is_ok())
        });
        assert_eq!(entered.count(), 1);
        assert_eq!(house.world().store().every::<Session>().len(), 2);
    });
}

#[test]
fn s9_a_code_or_link_that_is_late_leads_nowhere() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (_, link) = house.add("ada").await;
        let code = house.code("ada", 1).await;
        house.domain.server.clock().forth(Span::from_seconds(600));
        let late = refused(house.enter(&browser("a", None), "ada", &code).await);
        assert!(matches!(late, Refusal::Expired { what: "code", .. }), "{late}");
        house.domain.server.clock().forth(orders::LINK_LIFE);
        let late = refused(house.follow(&browser("a", None), &link).await);
        assert!(matches!(late, Refusal::Expired { what: "link", .. }), "{late}");
    });
}

/// A page that only asks uses nothing up: programs follow links, too.
#[test]
fn s9_looking_at_a_link_does_not_use_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (_, link) = house.add("ada").await;
        let (_, secret) = link.text.expose().split_once("secret=").unwrap();
        for _ in 0..3 {
            let seen = sign_in::link_of(&*house.world(), secret).await.unwrap();
            assert_eq!(seen.unwrap().name, name("ada"));
        }
        let signed = house.follow(&browser("a", None), &link).await.unwrap().into_result();
        assert!(signed.unwrap().session.authenticated.amr.contains(sign_in::AMR_LINK));
        let seen = sign_in::link_of(&*house.world(), secret).await.unwrap();
        assert_eq!(seen.err(), Some(Refusal::Used { what: "link" }));
        assert_eq!(
            sign_in::link_of(&*house.world(), "x").await.unwrap().err(),
            Some(Refusal::Link)
        );
    });
}

/// Disabled people get nothing by any way in (docs/past-defects.md 8).
/// req: AUTHN-11 (part)
#[test]
fn s9_who_is_disabled_comes_in_by_no_way() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let world = house.world();
        let (mut user, link) = house.add("ada").await;
        let code = house.code("ada", 1).await;
        // The rows are there still, as they would be where a commit was lost.
        user.lifecycle.state = provisioning::State::Suspended;
        world.store().put(&user);
        for ended in [
            house.enter(&browser("a", None), "ada", &code).await,
            house.follow(&browser("a", None), &link).await,
        ] {
            let refusal = refused(ended);
            assert!(matches!(refusal, Refusal::Standing(NotAdmitted::State { .. })), "{refusal}");
        }
        assert!(world.store().every::<Session>().is_empty());
    });
}

/// Keycloak CVE-2026-7507 (docs/past-defects.md 15): a cookie that was planted is worth nothing.
#[test]
fn s9_each_sign_in_has_a_session_secret_of_its_own() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let world = house.world();
        house.add("ada").await;
        house.add("bob").await;
        let first = house.signed(&browser("a", None), "ada").await;
        let planted = first.cookie.expose();
        // The same person again: the session goes on, under another secret.
        let second = house.signed(&browser("a", Some(planted)), "ada").await;
        assert_eq!(second.session.id, first.session.id);
        assert_ne!(second.session.hash, first.session.hash);
        let old = sessions::of_cookie(&*world, planted).await.unwrap();
        assert_eq!(old.err(), Some(NotSigned::Nobody));
        // Somebody else in that browser: another session, and the one before ends.
        let other = house.signed(&browser("a", Some(second.cookie.expose())), "bob").await;
        assert_ne!(other.session.id, second.session.id);
        let old = sessions::of_cookie(&*world, second.cookie.expose()).await.unwrap();
        assert!(matches!(old.err(), Some(NotSigned::Ended(_))));
        let told = house.domain.server.journal().of(Event::SessionEnded);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].subject.as_deref(), Some("user:ada"));
        // A cookie that is none of ours.
        for wrong in ["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let browser = browser("a", Some(wrong));
            let signed = house.signed(&browser, "ada").await;
            assert_ne!(signed.cookie.expose(), wrong);
        }
    });
}

#[test]
fn s9_policy_can_switch_codes_off() {
    story(|sim| async move {
        let house = House::with_policy(&sim, "[sign_in]\ncodes = false").await;
        let (_, link) = house.add("ada").await;
        let (world, operator) = (house.world(), house.domain.operator());
        let life = orders::CODE_LIFE;
        let refused = orders::code(&*world, &operator, &name("ada"), 1, life).await.unwrap();
        assert_eq!(refused.into_value().err(), Some(orders::Refusal::CodesOff));
        // Links are how somebody adds a passkey: they are no codes.
        house.follow(&browser("a", None), &link).await.unwrap().into_result().unwrap();
    });
}

/// What is not told apart cannot be asked: whether somebody exists.
#[test]
fn s9_a_guesser_waits_and_learns_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.add("ada").await;
        let code = house.code("ada", 1).await;
        let wrong = "0000-0000-0000";
        let mut said = Vec::new();
        for who in ["ada", "eve"] {
            for _ in 0..5 {
                said.push(counted(house.enter(&browser("a", None), who, wrong).await).to_string());
            }
        }
        assert!(said.iter().all(|one| one == "no such user name with this code"), "{said:?}");
        let many = counted(house.enter(&browser("a", None), "ada", &code).await);
        assert!(matches!(many, Refusal::TooMany(_)), "{many}");
        // From elsewhere the person comes in, and nothing of the guesses is in the log.
        let elsewhere = Browser { source: "198.51.100.7", ..browser("b", None) };
        house.enter(&elsewhere, "ada", &code).await.unwrap().into_result().unwrap();
        let told = house.domain.server.journal().of(Event::SignedIn);
        assert_eq!(told.len(), 1);
        house.domain.server.clock().forth(Span::from_seconds(60));
        let late = counted(house.enter(&browser("a", None), "ada", wrong).await);
        assert_eq!(late, Refusal::Code);
        assert!(Throttle::default().check("192.0.2.1", "ada", house.domain.now()).is_ok());
    });
}

/// A store that fails lets nobody in, and one that wrote all the same nobody whom it did not tell.
#[test]
fn s7_without_a_record_nobody_comes_in() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.add("ada").await;
        let code = house.code("ada", 1).await;
        house.domain.server.faults().next(testkit::Fault::Lost);
        assert!(house.enter(&browser("a", None), "ada", &code).await.is_err());
        assert!(house.world().store().every::<Session>().is_empty());
        house.enter(&browser("a", None), "ada", &code).await.unwrap().into_result().unwrap();
        house.act("ada", UserAct::Disable).await;
    });
}
