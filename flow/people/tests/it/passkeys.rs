//! Passkeys: added by whoever may, used once a ceremony, in the browser that began it.

use authentication::session::{Acr, Session};
use env::World;
use monitoring::{Event, Outcome};
use people::browser::Browser;
use people::passkeys::{self, Asked, Refusal, Warned};
use people::sessions::{self, Signed};
use people::sign_in::{self, Ended, SignedIn, passkey};
use people::standing::NotAdmitted;
use people::strength::TooWeak;
use registry::UserRecord;
use testkit::fixture::{ISSUER, story};
use testkit::passkeys::{BE, BS, Passkey, Signs, UV};
use testkit::{Sim, boxed};
use time::Span;
use webauthn::Reason;

use crate::house::{House, browser, counted, name, refused};

/// Somebody with a link, and soon with passkeys.
struct Desk {
    house: House,
}

impl Desk {
    async fn open(sim: &Sim) -> Self {
        Self { house: House::open(sim).await }
    }

    async fn signed(&self, signed: &SignedIn) -> Signed {
        let found = sessions::of_cookie(&*self.house.world(), signed.cookie.expose()).await;
        found.unwrap().unwrap()
    }

    /// By a link, as an operator gives it.
    async fn recovered(&self, who: &str, browser: &Browser<'_>) -> Signed {
        let operator = self.house.domain.operator();
        let life = people::orders::LINK_LIFE;
        let given = people::orders::link(&*self.house.world(), &operator, &name(who), life).await;
        let given = given.unwrap().into_value().unwrap();
        let signed = self.house.follow(browser, &given).await.unwrap().into_result().unwrap();
        self.signed(&signed).await
    }

    async fn begin(&self, browser: &Browser<'_>, signed: &Signed) -> Result<Asked, Refusal> {
        let world = self.house.world();
        passkeys::begin(&*world, &self.house.ceremonies, browser, signed).await.unwrap()
    }

    async fn remove(
        &self,
        browser: &Browser<'_>,
        signed: &Signed,
        id: &str,
    ) -> Result<UserRecord, Refusal> {
        let (world, warned) = (self.house.world(), Warned::OfTheLast);
        let done = passkeys::remove(&*world, browser, signed, id, warned).await;
        done.unwrap().into_value()
    }

    async fn add(
        &self,
        browser: &Browser<'_>,
        signed: &Signed,
        called: &str,
    ) -> Result<Passkey, Refusal> {
        let asked = self.begin(browser, signed).await?;
        let (key, made) = Passkey::create(&asked.options, ISSUER_ORIGIN, Signs::Es256);
        let answer = serde_json::to_vec(&made.response(&key)).unwrap();
        let brought = (asked.ceremony.as_str(), answer.as_slice());
        let (world, ceremonies) = (self.house.world(), &self.house.ceremonies);
        let done = passkeys::add(&*world, ceremonies, browser, signed, brought, called).await;
        done.unwrap().into_value().map(|_| key)
    }

    /// A person with a passkey, and the session that they added it in.
    async fn with_passkey(&self, who: &str) -> Passkey {
        self.house.add(who).await;
        let browser = browser("first", None);
        let signed = self.recovered(who, &browser).await;
        self.add(&browser, &signed, "laptop").await.unwrap()
    }

    fn ask(&self, browser: &Browser<'_>) -> Asked {
        passkey::begin(&*self.house.world(), &self.house.ceremonies, browser, None).unwrap()
    }

    async fn finish(&self, browser: &Browser<'_>, ceremony: &str, answer: &[u8]) -> Ended {
        let (world, House { throttle, ceremonies, .. }) = (self.house.world(), &self.house);
        passkey::finish(&*world, throttle, ceremonies, browser, (ceremony, answer)).await
    }

    async fn sign_in(&self, browser: &Browser<'_>, key: &mut Passkey) -> Ended {
        let asked = self.ask(browser);
        let used = key.sign_in(&asked.options, ISSUER_ORIGIN);
        let answer = serde_json::to_vec(&used.response(key)).unwrap();
        self.finish(browser, &asked.ceremony, &answer).await
    }

    async fn user(&self, who: &str) -> UserRecord {
        people::orders::show(&*self.house.world(), &name(who)).await.unwrap().unwrap()
    }
}

const ISSUER_ORIGIN: &str = ISSUER;

/// req: AUTHN-11
#[test]
fn webauthn_7_a_passkey_is_added_by_a_link_and_lets_its_owner_in() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        desk.house.add("bob").await;
        let signed = desk.sign_in(&browser("b", None), &mut key).await.unwrap();
        let signed = signed.into_result().unwrap();
        assert_eq!(signed.session.user, "user:ada");
        assert_eq!(signed.session.authenticated.acr, Acr::Passkey);
        let kept = desk.user("ada").await;
        assert_eq!((kept.passkeys[0].counter, kept.passkeys[0].used.is_some()), (1, true));
        assert_eq!(kept.passkeys[0].name, "laptop");
        let told = desk.house.domain.server.journal().of(Event::UserChanged);
        assert!(told.iter().any(|record| record.action == "passkey.add"));
    });
}

/// req: AUTHN-11 (part)
#[test]
fn webauthn_7_2_of_many_answers_to_one_ceremony_one_lets_in() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        let browser = browser("b", None);
        let asked = desk.ask(&browser);
        // Without a counter nothing but the ceremony tells one answer from its copy.
        key.counts = false;
        let used = key.sign_in(&asked.options, ISSUER_ORIGIN);
        let answer = serde_json::to_vec(&used.response(&key)).unwrap();
        let tries = (0..100).map(|_| boxed(desk.finish(&browser, &asked.ceremony, &answer)));
        let (mut entered, mut spent) = (0, 0);
        for end in sim.all(tries.collect()).await {
            match end.unwrap().into_result() {
                Ok(_) => entered += 1,
                Err(sign_in::Refusal::Used { what: "ceremony" }) => spent += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((entered, spent), (1, 99));
        let sessions = desk.house.world().store().every::<Session>();
        assert_eq!(sessions.len(), 2, "the link's and the passkey's");
    });
}

/// What one browser began, no other ends; and nothing late, planted or of another server.
/// req: AUTHN-11 (part)
#[test]
fn webauthn_13_4_3_an_answer_counts_where_and_while_it_was_asked_for() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        let (here, there) = (browser("here", None), browser("there", None));
        let asked = desk.ask(&here);
        let mut answer = |options| {
            let used = key.sign_in(options, ISSUER_ORIGIN);
            serde_json::to_vec(&used.response(&key)).unwrap()
        };
        let mine = answer(&asked.options);
        let other = counted(desk.finish(&there, &asked.ceremony, &mine).await);
        assert!(matches!(other, sign_in::Refusal::NotOurs(_)), "{other}");
        // The answer to another ceremony of the same browser.
        let second = desk.ask(&here);
        let mixed = counted(desk.finish(&here, &second.ceremony, &mine).await);
        assert!(matches!(mixed, sign_in::Refusal::Ceremony(_)), "{mixed}");
        // A ceremony that adds a passkey is none that signs in.
        let signed = desk.recovered("ada", &here).await;
        let adding = desk.begin(&here, &signed).await.unwrap();
        let wrong = counted(desk.finish(&here, &adding.ceremony, &mine).await);
        assert!(matches!(wrong, sign_in::Refusal::NotOurs(_)), "{wrong}");
        desk.house.domain.server.clock().forth(Span::from_seconds(600));
        let late = counted(desk.finish(&here, &asked.ceremony, &mine).await);
        assert!(late.to_string().contains("too long ago"), "{late}");
    });
}

/// Steps of §7.2, each by what the authenticator or the browser said.
#[test]
fn webauthn_7_2_an_answer_that_fails_a_step_lets_nobody_in() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        let (_, bob) = desk.house.add("bob").await;
        let here = browser("here", None);
        for (origin, flags, user, reason) in [
            ("https://evil.example", None, None, "origin"),
            (ISSUER_ORIGIN, Some(!UV), None, "verified"),
            (ISSUER_ORIGIN, Some(!(BE | BS)), None, "backup"),
            (ISSUER_ORIGIN, None, Some(b"somebody".to_vec()), "user"),
        ] {
            let asked = desk.ask(&here);
            let mut used = key.sign_in(&asked.options, origin);
            used.flags &= flags.unwrap_or(u8::MAX);
            if let Some(user) = user {
                used.user = Some(user);
            }
            let answer = serde_json::to_vec(&used.response(&key)).unwrap();
            let refusal = counted(desk.finish(&here, &asked.ceremony, &answer).await);
            assert!(matches!(refusal, sign_in::Refusal::Ceremony(_)), "{reason}: {refusal}");
            assert!(refusal.to_string().contains(reason), "{reason}: {refusal}");
        }
        let asked = desk.ask(&here);
        let broken = counted(desk.finish(&here, &asked.ceremony, b"{}").await);
        assert!(matches!(broken, sign_in::Refusal::Response(_)), "{broken}");
        drop(bob);
    });
}

/// §7.2 step 22: a counter that goes back means a copy; who it is, is known, so it is recorded.
#[test]
fn webauthn_7_2_22_a_copied_passkey_is_refused_and_recorded() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        let here = browser("here", None);
        desk.sign_in(&here, &mut key).await.unwrap().into_result().unwrap();
        key.sign_count = 0;
        let refusal = refused(desk.sign_in(&here, &mut key).await);
        let sign_in::Refusal::Ceremony(why) = refusal else { panic!("{refusal}") };
        assert_eq!(why.reason, Reason::Cloned { stored: 1, found: 1 });
        let told = desk.house.domain.server.journal().last().unwrap();
        assert_eq!((told.event, told.outcome), (Event::SignedIn, Outcome::Refused));
        assert_eq!(told.subject.as_deref(), Some("user:ada"));
    });
}

/// docs/past-defects.md 8.
#[test]
fn s9_who_is_disabled_is_not_let_in_by_a_passkey() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        desk.house.act("ada", people::standing::UserAct::Disable).await;
        let refusal = refused(desk.sign_in(&browser("b", None), &mut key).await);
        let standing = matches!(refusal, sign_in::Refusal::Standing(NotAdmitted::State { .. }));
        assert!(standing, "{refusal}");
        desk.house.act("ada", people::standing::UserAct::Remove).await;
        assert_eq!(
            counted(desk.sign_in(&browser("b", None), &mut key).await),
            sign_in::Refusal::Passkey
        );
    });
}

/// RFC 9470: stronger, and newer; with the passkeys of the one who is signed in.
/// req: AUTHZ-18 (part)
#[test]
fn rfc9470_4_a_passkey_raises_the_class_of_a_session() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        let mut others = desk.with_passkey("bob").await;
        let weak = desk.house.signed(&browser("b", None), "ada").await;
        let here = browser("b", Some(weak.cookie.expose()));
        let signed = desk.signed(&weak).await;
        assert!(!signed.satisfies(Some(Acr::Passkey), None, desk.house.domain.now()));
        let begin = || {
            let world = desk.house.world();
            passkey::begin(&*world, &desk.house.ceremonies, &here, Some(&signed)).unwrap()
        };
        // Somebody else's passkey raises nothing.
        let asked = begin();
        assert_eq!(asked.options["allowCredentials"].as_array().unwrap().len(), 1);
        let used = others.sign_in(&asked.options, ISSUER_ORIGIN);
        let answer = serde_json::to_vec(&used.response(&others)).unwrap();
        let refusal = counted(desk.finish(&here, &asked.ceremony, &answer).await);
        assert_eq!(refusal, sign_in::Refusal::Passkey);
        let asked = begin();
        let used = key.sign_in(&asked.options, ISSUER_ORIGIN);
        let answer = serde_json::to_vec(&used.response(&key)).unwrap();
        let strong = desk.finish(&here, &asked.ceremony, &answer).await.unwrap();
        let strong = strong.into_result().unwrap();
        assert_eq!(strong.session.id, weak.session.id);
        assert_ne!(strong.session.hash, weak.session.hash);
        let signed = desk.signed(&strong).await;
        assert!(signed.satisfies(Some(Acr::Passkey), None, desk.house.domain.now()));
    });
}

/// A weak way in does not lead to a strong one, and an open browser does not stay in for good.
/// req: AUTHN-11 (part)
#[test]
fn s9_who_may_add_a_passkey() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut key = desk.with_passkey("ada").await;
        let coded = desk.house.signed(&browser("b", None), "ada").await;
        let coded = desk.signed(&coded).await;
        let weak = Some(Refusal::TooWeak(TooWeak(Acr::Passkey)));
        assert_eq!(desk.begin(&browser("b", None), &coded).await.err(), weak);
        // By a passkey, and by the link of an operator: yes.
        let strong = desk.sign_in(&browser("c", None), &mut key).await.unwrap();
        let strong = desk.signed(&strong.into_result().unwrap()).await;
        desk.add(&browser("c", None), &strong, "phone").await.unwrap();
        let linked = desk.recovered("ada", &browser("d", None)).await;
        desk.add(&browser("d", None), &linked, "key").await.unwrap();
        assert_eq!(desk.user("ada").await.passkeys.len(), 3);
        // The first of somebody who has none: by a code, too.
        desk.house.add("bob").await;
        let bob = desk.house.signed(&browser("e", None), "bob").await;
        let bob = desk.signed(&bob).await;
        desk.add(&browser("e", None), &bob, "first").await.unwrap();
        for name in ["", "\n", "\u{2800}", "desk\u{e0041}"] {
            let linked = desk.recovered("ada", &browser("d", None)).await;
            let refusal = desk.add(&browser("d", None), &linked, name).await.err();
            assert_eq!(refusal, Some(Refusal::Name));
        }
        desk.house.domain.server.clock().forth(passkeys::FRESH.plus_second());
        let late = desk.begin(&browser("c", None), &strong).await.err();
        assert_eq!(late, Some(Refusal::NotFresh));
    });
}

/// Nor does it make room for one: what is stronger, it does not take away; a link of an operator
/// does, and so a passkey that was lost is replaced.
/// req: AUTHN-11 (part)
#[test]
fn s9_a_weaker_sign_in_clears_no_stronger_way_in_away() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let mut synced = desk.with_passkey("ada").await;
        // One of hers is in one device alone.
        let here = browser("b", None);
        let linked = desk.recovered("ada", &here).await;
        desk.add(&here, &linked, "key").await.unwrap();
        let mut ada = desk.user("ada").await;
        ada.passkeys[1].backup_eligible = false;
        desk.house.world().store().put(&ada);
        let (phone, key) = (ada.passkeys[0].id.clone(), ada.passkeys[1].id.clone());
        let coded = desk.house.signed(&here, "ada").await;
        let coded = desk.signed(&coded).await;
        let weak = |wanted| Err(Refusal::TooWeak(TooWeak(wanted)));
        for (id, wanted) in [(&phone, Acr::Passkey), (&key, Acr::HardwarePasskey)] {
            assert_eq!(desk.remove(&here, &coded, id).await, weak(wanted));
        }
        let told = desk.house.domain.server.journal().last().unwrap();
        assert_eq!((told.action.as_str(), told.outcome), ("passkey.remove", Outcome::Refused));
        // By the one that is synced: itself, but not the other, and no passkey beside that.
        let signed = desk.sign_in(&here, &mut synced).await.unwrap().into_result().unwrap();
        let signed = desk.signed(&signed).await;
        assert_eq!(desk.remove(&here, &signed, &key).await, weak(Acr::HardwarePasskey));
        let beside = desk.begin(&here, &signed).await.err();
        assert_eq!(beside, Some(Refusal::TooWeak(TooWeak(Acr::HardwarePasskey))));
        assert_eq!(desk.remove(&here, &signed, &phone).await.unwrap().passkeys.len(), 1);
        assert_eq!(desk.remove(&here, &coded, &key).await, weak(Acr::HardwarePasskey));
        // She lost the key. An operator gives her a link, and by that she replaces it.
        let linked = desk.recovered("ada", &here).await;
        desk.add(&here, &linked, "new").await.unwrap();
        let left = desk.remove(&here, &linked, &key).await.unwrap();
        assert_eq!((left.passkeys.len(), left.passkeys[0].name.as_str()), (1, "new"));
    });
}

trait PlusSecond {
    fn plus_second(self) -> Self;
}

impl PlusSecond for Span {
    fn plus_second(self) -> Self {
        Self::from_millis(self.millis() + 1_000)
    }
}

/// The page was open while the session ended, or the ceremony came back twice.
#[test]
fn webauthn_7_1_adding_is_decided_by_what_is_now() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        desk.house.add("ada").await;
        let here = browser("a", None);
        let signed = desk.recovered("ada", &here).await;
        let asked = desk.begin(&here, &signed).await.unwrap();
        let (key, made) = Passkey::create(&asked.options, ISSUER_ORIGIN, Signs::EdDsa);
        let answer = serde_json::to_vec(&made.response(&key)).unwrap();
        let brought = (asked.ceremony.as_str(), answer.as_slice());
        let (world, ceremonies) = (desk.house.world(), &desk.house.ceremonies);
        let add = || async {
            let done = passkeys::add(&*world, ceremonies, &here, &signed, brought, "a").await;
            done.unwrap().into_value()
        };
        let adds = (0..100).map(|_| boxed(add()));
        let ends = sim.all(adds.collect()).await;
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
        assert_eq!(desk.user("ada").await.passkeys.len(), 1);
        let there = browser("x", None);
        let other = passkeys::add(&*world, ceremonies, &there, &signed, brought, "a");
        let refusal = other.await.unwrap().into_value().unwrap_err();
        assert!(matches!(refusal, Refusal::NotOurs(_)), "{refusal}");
        let by = sessions::By::Owner("user:ada");
        sessions::end(&*world, by, &signed.session.id, "over").await.unwrap().into_value().unwrap();
        assert_eq!(add().await, Err(Refusal::NotSigned));
    });
}

#[test]
fn s9_the_last_way_in_is_not_taken_away() {
    story(|sim| async move {
        for (policy, first, warned) in [
            ("", Some(Refusal::LastOwn), None),
            ("[sign_in]\ncodes = false", Some(Refusal::Last), Some(Refusal::Last)),
        ] {
            let desk = Desk { house: House::with_policy(&sim, policy).await };
            let mut key = desk.with_passkey("ada").await;
            let here = browser("b", None);
            let signed = desk.sign_in(&here, &mut key).await.unwrap().into_result().unwrap();
            let signed = desk.signed(&signed).await;
            let world = desk.house.world();
            let id = signed.user.passkeys[0].id.clone();
            let renamed = passkeys::rename(&*world, &here, &signed, &id, "desk").await.unwrap();
            assert_eq!(renamed.into_value().unwrap().passkeys[0].name, "desk");
            let remove = async |id: &str, warned: Warned| {
                let done = passkeys::remove(&*world, &here, &signed, id, warned).await.unwrap();
                done.into_value().err()
            };
            let unknown = Some(Refusal::Unknown("x".to_owned()));
            assert_eq!(remove("x", Warned::OfTheLast).await, unknown);
            assert_eq!(remove(&id, Warned::Not).await, first, "{policy}");
            assert_eq!(remove(&id, Warned::OfTheLast).await, warned, "{policy}");
        }
    });
}
