//! What servers tell each other: keys that are published, roots that are mistrusted, and nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use credential::Purpose;
use env::{SuperiorKey, World};
use flow::authorities::{self, Act};
use flow::nested::{self, Asker, KEYS_OF_ONE_MAX};
use monitoring::Outcome;
use provisioning::Act as Move;
use testkit::fixture::story;
use time::Span;

use super::{Above, HOUR, KEY, LIFE, Server, away, jwt_key, operator, two};

/// req: CRED-03 (part), CRED-12 (part), PROV-06 (part)
#[test]
fn s6_keys_of_tokens_are_known_above_until_their_server_is_none() {
    story(|sim| async move {
        let (upper, lower) = two(&sim).await;
        lower.step().await;
        let kid = lower.signer(Purpose::JwtSvid).kid.as_str().to_owned();
        for purpose in [Purpose::JwtSvid, Purpose::Wit] {
            assert_eq!(upper.kids(purpose).len(), 2, "{purpose:?}");
            assert_eq!(upper.kids(purpose), lower.kids(purpose));
        }
        assert!(upper.kids(Purpose::JwtSvid).contains(&kid));
        // The keys of others are never ours to sign with.
        assert!(upper.signer(Purpose::JwtSvid).holder.is_none());
        // Told again and again, it is recorded once.
        let before = upper._host.journal().len();
        for _ in 0..5 {
            lower.step().await;
        }
        assert_eq!(upper._host.journal().len(), before);
        for act in [Move::Suspend, Move::Resume, Move::Revoke] {
            upper.moved("below", act).await;
            let has = upper.kids(Purpose::JwtSvid).contains(&kid);
            assert!(!has, "{act:?}");
            assert_eq!(upper.kids(Purpose::Wit).len(), 1, "{act:?}");
        }
        assert_eq!(upper.told("nested.withdraw"), (Outcome::Permitted, None));
    });
}

/// req: CRED-05 (part), CRED-12 (part)
#[test]
fn s6_a_key_above_goes_with_its_end_and_with_its_revocation_below() {
    story(|sim| async move {
        let (upper, lower) = two(&sim).await;
        let old = lower.signer(Purpose::JwtSvid);
        // Revoked below: that it is known above does not bring it back.
        let (lead, reason) = (Some(Span::from_seconds(1)), "a story".to_owned());
        let purpose = Purpose::JwtSvid;
        let made = authorities::rotate(&*lower, &operator(), purpose, lead, reason).await;
        made.unwrap().into_value().unwrap();
        sim.sleep(Span::from_seconds(2)).await;
        lower.act(&old.kid, Act::Taint { urgent: false }).await;
        lower.act(&old.kid, Act::Revoke).await;
        lower.step().await;
        lower.step().await;
        assert!(upper.kids(purpose).contains(&old.kid.as_str().to_owned()));
        assert!(!lower.kids(purpose).contains(&old.kid.as_str().to_owned()));
        assert!(upper.kids(purpose).contains(&lower.signer(purpose).kid.as_str().to_owned()));
        // Above it goes with its end, or when an operator there says so.
        sim.sleep(old.kept_until.since(upper.now())).await;
        upper.step().await;
        assert!(!upper.kids(purpose).contains(&old.kid.as_str().to_owned()));
        lower.step().await;
        let held = lower.signer(purpose).kid;
        upper.act(&held, Act::Revoke).await;
        assert!(!upper.kids(purpose).contains(&held.as_str().to_owned()));
    });
}

/// req: CRED-12 (part)
#[test]
fn s6_a_key_is_published_only_if_it_is_bounded_and_nobody_elses() {
    story(|sim| async move {
        let upper = Server::start(&sim, 1, None).await.unwrap();
        let (one, other) = (upper.admit("one", true).await, upper.admit("other", true).await);
        let (now, ours) = (upper.now(), upper.signer(Purpose::JwtSvid).kid);
        let wits = upper.signer(Purpose::Wit).kid;
        let soon = now.plus(HOUR);
        let publish = |above: &Above, key: SuperiorKey| {
            let (upper, id, epoch) = (Arc::clone(&upper), above.id.clone(), above.asker().epoch);
            async move {
                let asker = Asker { id: &id, epoch };
                let done = nested::publish(&*upper, asker, key).await.unwrap();
                done.into_value().map_err(|why| why.check())
            }
        };
        let key = |kid: &str| jwt_key(kid, KEY, soon);
        let no_key = SuperiorKey { spki_der: b"no key".to_vec(), ..key("b") };
        let no_end = SuperiorKey { until: None, ..key("b") };
        let far = now.plus(nested::KEY_LIFE_MAX).plus(Span::from_seconds(1));
        let wit = SuperiorKey { purpose: Purpose::Wit, ..key("a") };
        assert_eq!(publish(&one, key("a")).await, Ok(()));
        assert_eq!(publish(&one, key("a")).await, Ok(()), "the same again");
        for (asked, expect) in [
            (key(ours.as_str()), "nested::Taken"),
            (key(wits.as_str()), "nested::Taken"),
            (wit, "nested::Taken"),
            (jwt_key("b", KEY, now), "nested::Ends"),
            (jwt_key("b", KEY, far), "nested::Ends"),
            (no_end, "nested::Ends"),
            (no_key, "nested::Key"),
            (key(""), "nested::KeyId"),
        ] {
            assert_eq!(publish(&one, asked.clone()).await, Err(expect), "{asked:?}");
        }
        assert_eq!(publish(&other, key("a")).await, Err("nested::Taken"), "of another server");
        for count in 1..KEYS_OF_ONE_MAX {
            assert_eq!(publish(&one, key(&format!("a-{count}"))).await, Ok(()));
        }
        assert_eq!(publish(&one, key("b")).await, Err("nested::TooMany"));
        assert_eq!(publish(&other, key("b")).await, Ok(()), "others have room");
        assert!(upper.signer(Purpose::JwtSvid).holder.is_none());
    });
}

/// An hour without the server above costs nothing that is valid, and is told once.
/// req: CRED-12 (part), PROV-09 (part)
#[test]
fn s8_a_server_above_that_is_away_costs_nothing_that_is_valid() {
    story(|sim| async move {
        let (upper, lower) = two(&sim).await;
        // When the next intermediate is due.
        sim.sleep(Span::from_seconds(LIFE.seconds() / 2)).await;
        away(&lower, true);
        let before = lower._host.journal().len();
        let first = lower.signer(Purpose::X509Authority).kid;
        let kids = lower.kids(Purpose::JwtSvid);
        for _ in 0..60 {
            lower.step().await;
            lower.believed(&upper).await.unwrap();
            upper.believed(&lower).await.unwrap();
            assert_eq!(lower.kids(Purpose::JwtSvid), kids);
            sim.sleep(Span::from_seconds(60)).await;
        }
        assert!(lower.row().failing.clone().unwrap().why.contains("no route"));
        let told = lower._host.journal().after(before);
        let told = told.iter().filter(|record| record.action == "superior.ask").count();
        assert_eq!(told, 1, "each try is not told");
        away(&lower, false);
        sim.sleep(Span::from_seconds(600)).await;
        lower.step().await;
        lower.step().await;
        assert_eq!(lower.row().failing, None);
        assert_eq!(lower.ring(Purpose::X509Authority).keys.len(), 2);
        assert_eq!(lower.signer(Purpose::X509Authority).kid, first, "handed over in order");
    });
}

/// A root that is tainted above: what hangs on it is replaced below at once, and once; one that is
/// revoked above is believed below no longer.
/// req: CRED-12 (part), PROV-06 (part), CRED-11 (part)
#[test]
fn s8_a_root_that_is_mistrusted_above_is_followed_below() {
    story(|sim| async move {
        let (upper, lower) = two(&sim).await;
        let (root, mine) =
            (upper.signer(Purpose::X509Authority), lower.signer(Purpose::X509Authority));
        let (lead, reason) = (Some(Span::from_seconds(5)), "a story".to_owned());
        let purpose = Purpose::X509Authority;
        let made = authorities::rotate(&*upper, &operator(), purpose, lead, reason).await;
        made.unwrap().into_value().unwrap();
        lower.step().await;
        assert_eq!(lower.roots().len(), 2, "known before anything hangs on it");
        sim.sleep(Span::from_seconds(10)).await;
        upper.act(&root.kid, Act::Taint { urgent: false }).await;
        assert_eq!(lower.signer(purpose).kid, mine.kid);
        lower.step().await;
        let next = lower.signer(purpose);
        assert_ne!(next.kid, mine.kid);
        let taints =
            lower.world.store().single::<env::rows::Taints>(env::rows::Taints::ID).unwrap();
        assert_eq!(taints.keys.len(), 1, "nodes replace what it signed");
        for _ in 0..5 {
            lower.step().await;
        }
        assert_eq!(lower.signer(purpose).kid, next.kid, "once");
        lower.believed(&upper).await.unwrap();
        upper.act(&root.kid, Act::Revoke).await;
        lower.step().await;
        assert_eq!(lower.roots(), upper.roots());
        assert_eq!(lower.roots().len(), 1);
        lower.believed(&upper).await.unwrap();
        // Revoked without a taint that was seen here: the same.
        let old = upper.signer(purpose);
        let (lead, reason) = (Some(Span::ZERO), "a story".to_owned());
        let made = authorities::rotate(&*upper, &operator(), purpose, lead, reason).await;
        made.unwrap().into_value().unwrap();
        sim.sleep(Span::from_seconds(1)).await;
        upper.act(&old.kid, Act::Taint { urgent: false }).await;
        upper.act(&old.kid, Act::Revoke).await;
        lower.step().await;
        assert_eq!(lower.roots(), upper.roots());
        lower.believed(&upper).await.unwrap();
    });
}

/// Of three servers the lowest follows, too; and one that is refused another authority goes on with
/// what it has.
/// req: CRED-12 (part), PROV-09 (part)
#[test]
fn s8_a_tainted_root_is_told_on_and_never_leaves_a_server_without_an_authority() {
    story(|sim| async move {
        let top = Server::start(&sim, 2, None).await.unwrap();
        let above = top.admit("middle", true).await;
        let middle = Server::start(&sim, 2, Some(above)).await.unwrap();
        let above = middle.admit("bottom", true).await;
        let bottom = Server::start(&sim, 0, Some(above)).await.unwrap();
        let purpose = Purpose::X509Authority;
        let root = top.signer(purpose);
        let (lead, reason) = (Some(Span::ZERO), "a story".to_owned());
        let made = authorities::rotate(&*top, &operator(), purpose, lead, reason).await;
        made.unwrap().into_value().unwrap();
        sim.sleep(Span::from_seconds(1)).await;
        top.act(&root.kid, Act::Taint { urgent: false }).await;
        let first = (middle.signer(purpose).kid, bottom.signer(purpose).kid);
        // Refused for now: nothing is lost by it.
        top.moved("middle", Move::Suspend).await;
        middle.step().await;
        assert_eq!(middle.signer(purpose).kid, first.0);
        assert!(middle.row().failing.clone().unwrap().why.contains("suspended"));
        middle.believed(&top).await.unwrap();
        bottom.step().await;
        assert_eq!(bottom.signer(purpose).kid, first.1);
        // As its node gives it a new SVID after that.
        top.moved("middle", Move::Resume).await;
        middle.above.as_ref().unwrap().epoch.store(99, Ordering::SeqCst);
        sim.sleep(HOUR).await;
        middle.step().await;
        let second = middle.signer(purpose).kid;
        assert_ne!(second, first.0);
        bottom.step().await;
        assert_ne!(bottom.signer(purpose).kid, first.1);
        top.act(&root.kid, Act::Revoke).await;
        middle.step().await;
        bottom.step().await;
        assert_eq!((bottom.roots(), bottom.roots().len()), (top.roots(), 1));
        assert_eq!(bottom.believed(&top).await.unwrap().len(), 3);
    });
}
