//! Operators' orders: each with its record, names given once, ends that reach everything.

use std::collections::{BTreeMap, BTreeSet};

use authentication::session::SignInCode;
use authorization::granted::{Ended, GrantRecord, Over, Way};
use env::rows::DomainEpoch;
use env::{Clock, World};
use monitoring::{Event, Outcome};
use oauth::ScopeSet;
use people::change::Changes;
use people::end::Check;
use people::orders::{self, NewUser, Refusal};
use people::sessions;
use people::standing::UserAct;
use provisioning::{Epoch, State};
use registry::{UserName, UserRecord};
use testkit::boxed;
use testkit::fixture::story;
use time::{Span, UnixTime};

use crate::house::{House, browser, counted, name, refused};

fn new(text: &str) -> NewUser {
    NewUser { name: name(text), display_name: None, email: None, roles: BTreeSet::new() }
}

/// OpenID Connect Core 1.0 §2: `sub` is "never reassigned".
/// req: AUTHN-11 (part)
#[test]
fn openid_2_a_name_is_given_once() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, operator) = (house.world(), house.domain.operator());
        house.add("ada").await;
        for act in [None, Some(UserAct::Disable), Some(UserAct::Remove)] {
            if let Some(act) = act {
                house.act("ada", act).await;
            }
            let again = orders::add(&*world, &operator, &new("ada")).await.unwrap();
            let Err(Refusal::Taken { name, .. }) = again.into_value() else { panic!("{act:?}") };
            assert_eq!(name.as_str(), "ada");
        }
        let kept = orders::show(&*world, &name("ada")).await.unwrap().unwrap();
        assert_eq!(kept.lifecycle.state, State::Retired);
        let refused = house.domain.server.journal().of(Event::UserRegistered);
        let refused = refused.iter().filter(|record| record.outcome == Outcome::Refused);
        assert_eq!(refused.count(), 3);
    });
}

#[test]
fn of_many_orders_for_one_name_one_is_done() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, operator) = (house.world(), house.domain.operator());
        let entry = new("ada");
        let adds = (0..100).map(|_| boxed(orders::add(&*world, &operator, &entry)));
        let ends = sim.all(adds.collect()).await;
        assert_eq!(ends.iter().filter(|end| end.as_ref().unwrap().value().is_ok()).count(), 1);
        assert_eq!(world.store().every::<UserRecord>().len(), 1);
        assert_eq!(world.store().every::<SignInCode>().len(), 1);
    });
}

#[test]
fn what_cannot_be_a_user_is_refused_by_member() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, operator) = (house.world(), house.domain.operator());
        let text = |text: &str| Some(text.to_owned());
        for (wrong, member) in [
            (NewUser { display_name: text("a\nb"), ..new("ada") }, "display_name"),
            (NewUser { display_name: text(" "), ..new("ada") }, "display_name"),
            (NewUser { display_name: text("\u{2800}"), ..new("ada") }, "display_name"),
            (NewUser { display_name: text("Ada\u{202e}"), ..new("ada") }, "display_name"),
            (NewUser { display_name: text("Ada\u{e0041}"), ..new("ada") }, "display_name"),
            (NewUser { email: text("ada"), ..new("ada") }, "email"),
            (NewUser { roles: [String::new()].into(), ..new("ada") }, "roles"),
        ] {
            let done = orders::add(&*world, &operator, &wrong).await.unwrap();
            let Err(Refusal::Unfit { what, .. }) = done.into_value() else { panic!("{member}") };
            assert_eq!(what, member);
        }
        assert!(world.store().every::<UserRecord>().is_empty());
    });
}

fn grant(id: &str, user: &UserName, session: Option<&str>, openid: &str) -> GrantRecord {
    let at = UnixTime::from_seconds(4_000_000_000);
    GrantRecord {
        id: id.to_owned(),
        client_id: "client-1".to_owned(),
        subject: user.id(),
        way: Way::Code,
        targets: BTreeMap::new(),
        openid: ScopeSet::parse(openid).unwrap(),
        authenticated: None,
        session: session.map(str::to_owned),
        binding: None,
        epoch: Epoch(1),
        created: UnixTime::from_seconds(0),
        until: at,
        ended: None,
        used: None,
        refresh: None,
    }
}

/// Who is disabled loses sessions, grants and codes with the order, and gets nothing
/// back when they are let in again (docs/past-defects.md 8).
/// req: OBS-10 (part)
#[test]
fn s8_disabling_somebody_ends_all_that_is_theirs() {
    story(|sim| async move {
        for (act, after) in [(UserAct::Disable, "disable"), (UserAct::Remove, "remove")] {
            let house = House::open(&sim).await;
            let world = house.world();
            house.add("ada").await;
            house.add("bob").await;
            let ada = house.signed(&browser("a", None), "ada").await;
            let bob = house.signed(&browser("b", None), "bob").await;
            let left = house.code("ada", 5).await;
            // More than one commit holds.
            let adas: BTreeSet<_> = (100..250).map(|n| format!("g-{n}")).collect();
            for id in &adas {
                world.store().put(&grant(id, &name("ada"), None, "openid"));
            }
            world.store().put(&grant("g-3", &name("bob"), None, "openid"));
            let before = world.store().single::<DomainEpoch>(DomainEpoch::ID).unwrap().epoch;
            house.act("ada", act).await;
            let raised = world.store().single::<DomainEpoch>(DomainEpoch::ID).unwrap().epoch;
            assert_eq!(raised, before.next(), "{after}");
            let of = |cookie: &people::sign_in::SignedIn| cookie.cookie.expose().to_owned();
            assert!(sessions::of_cookie(&*world, &of(&ada)).await.unwrap().is_err());
            assert!(sessions::of_cookie(&*world, &of(&bob)).await.unwrap().is_ok());
            let now = world.clock().now();
            for grant in world.store().every::<GrantRecord>() {
                let is_adas = grant.subject == "user:ada";
                let over = grant.is_live(now);
                assert_eq!(matches!(over, Err(Over::Ended { .. })), is_adas, "{}", grant.id);
            }
            let ended: BTreeSet<_> =
                world.store().every::<Ended>().iter().map(|row| row.id.clone()).collect();
            assert_eq!(ended, adas);
            let told = house.domain.server.journal().of(Event::GrantEnded);
            let roots: BTreeSet<_> = told.iter().filter_map(|record| record.root.clone()).collect();
            assert_eq!(roots, adas);
            if act == UserAct::Disable {
                house.act("ada", UserAct::Enable).await;
                assert!(sessions::of_cookie(&*world, &of(&ada)).await.unwrap().is_err());
                let again = house.enter(&browser("a", None), "ada", &left).await;
                assert_eq!(counted(again).to_string(), "no such user name with this code");
            }
        }
    });
}

/// More than one commit holds.
#[test]
fn s8_however_much_somebody_has_all_of_it_ends() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let world = house.world();
        house.add("ada").await;
        for number in 0..300 {
            let id = format!("g-{number}");
            world.store().put(&grant(&id, &name("ada"), None, "openid"));
        }
        let operator = house.domain.operator();
        let done = orders::act(&*world, &operator, &name("ada"), UserAct::Disable, "r").await;
        let (_, count) = done.unwrap().into_value().unwrap();
        assert_eq!(count.grants, 300);
        let now = world.clock().now();
        assert!(world.store().every::<GrantRecord>().iter().all(|one| one.is_live(now).is_err()));
    });
}

#[test]
fn s8_what_is_left_of_somebody_removed_is_the_name() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, operator) = (house.world(), house.domain.operator());
        let entry = NewUser {
            display_name: Some("Ada Lovelace".to_owned()),
            email: Some("ada@example.org".to_owned()),
            roles: ["operator".to_owned()].into(),
            ..new("ada")
        };
        orders::add(&*world, &operator, &entry).await.unwrap().into_value().unwrap();
        house.act("ada", UserAct::Remove).await;
        let kept = orders::show(&*world, &name("ada")).await.unwrap().unwrap();
        assert_eq!((kept.display_name.as_str(), kept.email), ("ada", None));
        assert!(kept.roles.is_empty() && kept.passkeys.is_empty());
        let enabled =
            orders::act(&*world, &operator, &name("ada"), UserAct::Enable, "r").await.unwrap();
        let message = enabled.into_value().unwrap_err().to_string();
        assert!(
            message.starts_with("`enable` does not fit: the user is removed since"),
            "{message}"
        );
        let other = orders::act(&*world, &operator, &name("eve"), UserAct::Disable, "r").await;
        let unknown = Refusal::Unknown { name: name("eve") };
        assert_eq!(other.unwrap().into_value(), Err(unknown));
    });
}

#[test]
fn links_and_codes_are_bounded_and_for_people_in_force() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, operator) = (house.world(), house.domain.operator());
        house.add("ada").await;
        let seconds = Span::from_seconds;
        for (uses, life) in [(0, 600), (1_001, 600), (1, 0), (1, 86_401)] {
            let done = orders::code(&*world, &operator, &name("ada"), uses, seconds(life)).await;
            let refusal = done.unwrap().into_value().unwrap_err();
            assert!(matches!(refusal, Refusal::Bound { .. }), "{refusal}");
        }
        for life in [0, 7 * 86_400 + 1] {
            let done = orders::link(&*world, &operator, &name("ada"), seconds(life)).await;
            let refusal = done.unwrap().into_value().unwrap_err();
            assert!(matches!(refusal, Refusal::Bound { .. }), "{refusal}");
        }
        house.act("ada", UserAct::Disable).await;
        let code = orders::code(&*world, &operator, &name("ada"), 1, seconds(60)).await;
        assert!(matches!(code.unwrap().into_value(), Err(Refusal::Standing(_))));
        let link = orders::link(&*world, &operator, &name("ada"), seconds(60)).await;
        assert!(matches!(link.unwrap().into_value(), Err(Refusal::Standing(_))));
        assert!(world.store().every::<SignInCode>().is_empty());
    });
}

/// Recovery: the newest link alone serves.
#[test]
fn a_new_link_takes_the_place_of_the_one_before() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (world, operator) = (house.world(), house.domain.operator());
        let (_, first) = house.add("ada").await;
        let life = orders::LINK_LIFE;
        let second = orders::link(&*world, &operator, &name("ada"), life).await.unwrap();
        let second = second.into_value().unwrap();
        let old = counted(house.follow(&browser("a", None), &first).await);
        assert_eq!(old.to_string(), "no such link");
        house.follow(&browser("a", None), &second).await.unwrap().into_result().unwrap();
        let again = refused(house.follow(&browser("a", None), &second).await);
        assert_eq!(again.to_string(), "the link was used already");
    });
}

/// What an operator changes counts at the next request; what is not named stays.
#[test]
fn s10_6_an_operator_changes_what_is_said_of_somebody() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let world = house.world();
        house.add("ada").await;
        let operator = house.domain.operator();
        let ada = UserName::parse("ada").unwrap();
        let set = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
        let change = async |changes: Changes| {
            let done = people::change::change(&*world, &operator, &ada, &changes, "a test").await;
            done.unwrap().into_value()
        };
        let before = change(Changes { roles: set(&["operator"]), ..Changes::default() }).await;
        let before = before.unwrap();
        assert!(before.is_operator());
        let email = Some("ada@example.org".to_owned());
        let after = change(Changes { email: email.clone(), ..Changes::default() }).await.unwrap();
        assert_eq!((after.email.clone(), &after.roles), (email, &before.roles));
        let after = change(Changes {
            email: Some(String::new()),
            not_roles: set(&["operator"]),
            ..Changes::default()
        });
        let after = after.await.unwrap();
        assert_eq!((after.email.as_deref(), after.is_operator()), (None, false));
        for (changes, why) in [
            (Changes { not_roles: set(&["operator"]), ..Changes::default() }, "no role `operator`"),
            (
                Changes { roles: set(&["x"]), not_roles: set(&["x"]), ..Changes::default() },
                "to be given and to be taken away",
            ),
            (Changes { email: Some("x".to_owned()), ..Changes::default() }, "is no address"),
            (Changes { display_name: Some(" ".to_owned()), ..Changes::default() }, "seen"),
        ] {
            let refused = change(changes).await.unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        house.act("ada", UserAct::Disable).await;
        let late = change(Changes { roles: set(&["operator"]), ..Changes::default() }).await;
        assert_eq!(late.unwrap_err().check(), "provisioning::Standing");
        let told = house.domain.server.journal().of(Event::UserChanged);
        assert_eq!(told.len(), 8, "what was refused, too");
    });
}
