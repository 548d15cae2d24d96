//! Sessions: bounds, ends, and what ends with them.

use std::collections::{BTreeMap, BTreeSet};

use authentication::notice::Notice;
use authentication::session::{Acr, Session};
use authorization::granted::{GrantRecord, Way};
use env::{Clock, World};
use monitoring::Event;
use oauth::ScopeSet;
use people::sessions::{self, By, NotSigned, Refusal};
use provisioning::Epoch;
use testkit::fixture::story;
use time::{Span, UnixTime};

use crate::house::{House, browser};

const BOUNDS: &str = "[sessions]\nidle = 800\nabsolute = 2000";

/// req: AUTHN-11 (part)
#[test]
fn s9_a_session_ends_when_it_is_idle_and_in_any_case() {
    story(|sim| async move {
        let house = House::with_policy(&sim, BOUNDS).await;
        let (world, clock) = (house.world(), house.domain.server.clock().clone());
        house.add("ada").await;
        let signed = house.signed(&browser("a", None), "ada").await;
        let cookie = signed.cookie.expose();
        let forth = |seconds| clock.forth(Span::from_seconds(seconds));
        // In use every 300 s: seen is written, and the session lives on.
        for _ in 0..6 {
            forth(300);
            let found = sessions::of_cookie(&*world, cookie).await.unwrap().unwrap();
            sessions::seen(&*world, &found).await.unwrap();
        }
        forth(300);
        let ended = sessions::of_cookie(&*world, cookie).await.unwrap().unwrap_err();
        assert!(matches!(ended, NotSigned::Ended(_)), "{ended}");
        let signed = house.signed(&browser("a", None), "ada").await;
        forth(801);
        let ended = sessions::of_cookie(&*world, signed.cookie.expose()).await.unwrap();
        assert!(matches!(ended.err(), Some(NotSigned::Ended(_))));
    });
}

#[test]
fn s9_a_busy_page_writes_nothing() {
    story(|sim| async move {
        let house = House::with_policy(&sim, BOUNDS).await;
        let (world, clock) = (house.world(), house.domain.server.clock().clone());
        house.add("ada").await;
        let signed = house.signed(&browser("a", None), "ada").await;
        let before = house.domain.server.journal().len();
        for _ in 0..10 {
            clock.forth(Span::from_seconds(9));
            let found = sessions::of_cookie(&*world, signed.cookie.expose()).await.unwrap();
            sessions::seen(&*world, &found.unwrap()).await.unwrap();
        }
        assert_eq!(house.domain.server.journal().len(), before);
        clock.forth(Span::from_seconds(60));
        let found = sessions::of_cookie(&*world, signed.cookie.expose()).await.unwrap().unwrap();
        sessions::seen(&*world, &found).await.unwrap();
        assert_eq!(house.domain.server.journal().len(), before + 1);
    });
}

/// RFC 9470 §4: "stronger or more recent user authentication".
/// req: AUTHZ-18 (part)
#[test]
fn rfc9470_4_a_session_says_how_strongly_and_when() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, clock) = (house.world(), house.domain.server.clock().clone());
        house.add("ada").await;
        let first = house.signed(&browser("a", None), "ada").await;
        clock.forth(Span::from_seconds(100));
        let found = sessions::of_cookie(&*world, first.cookie.expose()).await.unwrap().unwrap();
        let now = world.clock().now();
        let seconds = |seconds| Some(Span::from_seconds(seconds));
        assert!(found.satisfies(Some(Acr::Code), seconds(100), now));
        assert!(!found.satisfies(Some(Acr::Passkey), None, now));
        assert!(!found.satisfies(None, seconds(99), now));
        // Again, and it is the same session with a newer time.
        let again = house.signed(&browser("a", Some(first.cookie.expose())), "ada").await;
        let found = sessions::of_cookie(&*world, again.cookie.expose()).await.unwrap().unwrap();
        assert!(found.satisfies(None, seconds(0), now));
        assert_eq!(
            (&found.session.id, found.session.began),
            (&first.session.id, first.session.began)
        );
    });
}

fn grant(id: &str, session: &str, openid: &str) -> GrantRecord {
    GrantRecord {
        id: id.to_owned(),
        client_id: "client-1".to_owned(),
        subject: "user:ada".to_owned(),
        way: Way::Code,
        targets: BTreeMap::new(),
        openid: ScopeSet::parse(openid).unwrap(),
        authenticated: None,
        session: Some(session.to_owned()),
        binding: None,
        epoch: Epoch(1),
        created: UnixTime::from_seconds(0),
        until: UnixTime::from_seconds(4_000_000_000),
        ended: None,
        used: None,
        refresh: None,
    }
}

/// OpenID Connect Back-Channel Logout 1.0 §2.7: what came of the session ends, save offline access.
#[test]
fn backchannel_2_7_what_lasts_no_longer_than_its_session_ends_with_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let world = house.world();
        house.add("ada").await;
        let signed = house.signed(&browser("a", None), "ada").await;
        let session = Session {
            clients: BTreeSet::from(["client-1".to_owned(), "client-2".to_owned()]),
            ..signed.session.clone()
        };
        world.store().put(&session);
        world.store().put(&grant("online", &session.id, "openid"));
        world.store().put(&grant("offline", &session.id, "openid offline_access"));
        world.store().put(&grant("other", "another", "openid"));
        let ended = sessions::end(&*world, By::Owner("user:ada"), &session.id, "signed out").await;
        let count = ended.unwrap().into_value().unwrap();
        assert_eq!((count.sessions, count.grants), (1, 1));
        let now = world.clock().now();
        let live: Vec<_> = world.store().every::<GrantRecord>();
        let live: Vec<_> =
            live.iter().filter(|one| one.is_live(now).is_ok()).map(|one| &*one.id).collect();
        assert_eq!(live, ["offline", "other"]);
        let notices: Vec<_> = world.store().every::<Notice>();
        let told: Vec<_> =
            notices.iter().map(|one| (one.sid.as_str(), one.client_id.as_str())).collect();
        assert_eq!(told, [(&*session.id, "client-1"), (&*session.id, "client-2")]);
        assert!(sessions::of_cookie(&*world, signed.cookie.expose()).await.unwrap().is_err());
    });
}

#[test]
fn s9_nobody_ends_the_session_of_another() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, operator) = (house.world(), house.domain.operator());
        house.add("ada").await;
        house.add("bob").await;
        let ada = house.signed(&browser("a", None), "ada").await;
        let id = ada.session.id.as_str();
        let refused = sessions::end(&*world, By::Owner("user:bob"), id, "x").await.unwrap();
        assert_eq!(refused.into_value(), Err(Refusal::Unknown { id: id.to_owned() }));
        assert!(sessions::of_cookie(&*world, ada.cookie.expose()).await.unwrap().is_ok());
        let ended = sessions::end(&*world, By::Operator(&operator), id, "x").await.unwrap();
        assert!(ended.into_value().is_ok());
        let twice = sessions::end(&*world, By::Operator(&operator), id, "x").await.unwrap();
        assert!(twice.into_value().is_err());
        let told = house.domain.server.journal().of(Event::SessionEnded);
        assert_eq!(told.len(), 3);
    });
}

#[test]
fn s9_somebody_ends_all_their_sessions_but_this_one() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let world = house.world();
        house.add("ada").await;
        let here = house.signed(&browser("a", None), "ada").await;
        for name in ["b", "c", "d"] {
            house.signed(&browser(name, None), "ada").await;
        }
        assert_eq!(sessions::list(&*world, "user:ada").await.unwrap().len(), 4);
        let by = By::Owner("user:ada");
        let count = sessions::end_all(&*world, by, "user:ada", Some(&here.session.id), "all").await;
        assert_eq!(count.unwrap().sessions, 3);
        let left = sessions::list(&*world, "user:ada").await.unwrap();
        assert_eq!(left.iter().map(|one| &one.id).collect::<Vec<_>>(), [&here.session.id]);
    });
}
