//! Accounts at other providers: taken away by their owner, and not the last way in unwarned.

use authentication::session::Acr;
use env::World;
use monitoring::{Event, Outcome};
use people::browser::Place;
use people::passkeys::{self, FRESH, Refusal, Warned};
use people::sessions::{self, Signed};
use people::sign_in::SignedIn;
use people::strength::TooWeak;
use people::upstream::{self, Refusal::NoAccount};
use registry::UserRecord;
use registry::user::Passkey;
use testkit::fixture::story;
use testkit::{Sim, boxed};
use time::{Span, UnixTime};

use crate::house::browser;
use crate::upstream::{Branch, known_as};

/// Somebody whom the company brought, and who has nothing but that account.
struct Brought {
    branch: Branch,
    signed: Signed,
}

impl Brought {
    async fn open(sim: &Sim, codes: bool) -> Self {
        let more = format!("create = true\n[sign_in]\ncodes = {codes}");
        let branch = Branch::open(sim, &more).await;
        let came = branch.sign_in(&browser("a", None), "s-1", known_as("ada")).await.unwrap();
        let signed = Self::of(&branch, &came).await;
        Self { branch, signed }
    }

    async fn of(branch: &Branch, came: &SignedIn) -> Signed {
        let found = sessions::of_cookie(&*branch.house.world(), came.cookie.expose()).await;
        found.unwrap().unwrap()
    }

    async fn remove(&self, id: &str, warned: Warned) -> Result<UserRecord, Refusal> {
        let (world, here) = (self.branch.house.world(), browser("a", None));
        let done = passkeys::remove_account(&*world, &here, &self.signed, id, warned).await;
        done.unwrap().into_value()
    }

    fn id(&self) -> String {
        passkeys::account_id(&self.signed.user.accounts[0])
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s9_an_account_is_removed_by_its_owner_and_signs_nobody_in_afterwards() {
    story(|sim| async move {
        let ada = Brought::open(&sim, true).await;
        let id = ada.id();
        let unknown = ada.remove("x", Warned::OfTheLast).await.unwrap_err();
        assert_eq!(unknown, Refusal::NoAccount("x".to_owned()));
        // It is all she has: she is told so first, and nothing is done.
        assert_eq!(ada.remove(&id, Warned::Not).await, Err(Refusal::LastOwn));
        assert_eq!(ada.branch.user("ada").await.accounts.len(), 1);
        let journal = ada.branch.house.domain.server.journal();
        let told = journal.last().unwrap();
        assert_eq!((told.action.as_str(), told.outcome), ("account.remove", Outcome::Refused));
        // Of many at once one takes it away.
        let all = (0..100).map(|_| boxed(ada.remove(&id, Warned::OfTheLast)));
        let ends = sim.all(all.collect()).await;
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
        assert!(ada.branch.user("ada").await.accounts.is_empty());
        let records = journal.of(Event::UserChanged);
        let done = records.iter().find(|one| one.outcome == Outcome::Done).unwrap();
        assert_eq!(done.subject.as_deref(), Some("user:ada"));
        assert_eq!(done.facts["issuer"], "https://login.company.example");
        // Whoever has it there is somebody new here: not Ada.
        let came = ada.branch.sign_in(&browser("b", None), "s-1", known_as("ada")).await.unwrap();
        assert_ne!(came.session.user, "user:ada");
    });
}

/// Nor does an address lead it back to her, though policy takes the company's word for addresses:
/// whoever has it there is nobody here, or somebody new, and the address stays hers.
/// req: AUTHN-11 (part)
#[test]
fn s9_an_account_that_was_removed_does_not_come_back_by_an_address() {
    story(|sim| async move {
        for create in [true, false] {
            let branch =
                Branch::open(&sim, &format!("create = {create}\nlink_by_email = true")).await;
            let (mut user, _) = branch.house.add("ada").await;
            user.email = Some("ada@company.example".to_owned());
            branch.house.world().store().put(&user);
            let here = browser("a", None);
            let come = async |subject: &str| branch.sign_in(&here, subject, known_as("x")).await;
            let came = come("s-1").await.unwrap();
            assert_eq!(came.session.user, "user:ada");
            let signed = Brought::of(&branch, &came).await;
            let ada = Brought { branch, signed };
            ada.remove(&ada.id(), Warned::OfTheLast).await.unwrap();
            let branch = &ada.branch;
            let come = async |subject: &str| branch.sign_in(&here, subject, known_as("x")).await;
            match come("s-1").await {
                Ok(came) => assert!(create && came.session.user == "user:x"),
                Err(refusal) => assert!(!create && matches!(refusal, NoAccount { .. })),
            }
            assert!(branch.user("ada").await.accounts.is_empty());
            // Another account with her address is another account.
            assert_eq!(come("s-2").await.unwrap().session.user, "user:ada");
            if create {
                continue;
            }
            // She adds it again herself: it signs her in, as at first.
            let came = come("s-2").await.unwrap();
            let signed = Brought::of(branch, &came).await;
            let there = browser("a", Some(came.cookie.expose()));
            let query = branch.sent(&there, "s-1", known_as("x"), Some(&signed)).await;
            branch.back(&there, &query).await.unwrap().into_result().unwrap();
            assert_eq!(come("s-1").await.unwrap().session.user, "user:ada");
            assert!(branch.user("ada").await.left.is_empty());
        }
    });
}

/// A code takes no account away and adds none beside it, nor does a company that calls its method as
/// we call a link; an account at a provider that is used no more anybody clears.
/// req: AUTHN-11 (part)
#[test]
fn s9_a_code_changes_no_account_and_an_account_no_passkey() {
    story(|sim| async move {
        let mut ada = Brought::open(&sim, true).await;
        let (house, id, here) = (&ada.branch.house, ada.id(), browser("a", None));
        let world = house.world();
        let coded = Brought::of(&ada.branch, &house.signed(&here, "ada").await).await;
        let weak = Refusal::TooWeak(TooWeak(Acr::Federated));
        let place = Place::parse("/console").unwrap();
        let added = upstream::begin(
            &*world,
            &house.ceremonies,
            &here,
            "company",
            (&place, None),
            Some(&coded),
        );
        let federated = upstream::Refusal::TooWeak(TooWeak(Acr::Federated));
        assert_eq!(added.await.unwrap().err(), Some(federated));
        let passkey = passkeys::begin(&*world, &house.ceremonies, &here, &coded).await.unwrap();
        assert_eq!(passkey.err(), Some(weak.clone()));
        // Nor is one added that was begun by what was stronger.
        let account = browser("a", None);
        let came = ada.branch.sign_in(&account, "s-1", known_as("ada")).await.unwrap();
        let strong = Brought::of(&ada.branch, &came).await;
        let there = browser("a", Some(came.cookie.expose()));
        let query = ada.branch.sent(&there, "s-2", known_as("x"), Some(&strong)).await;
        let code = house.code("ada", 1).await;
        let again = house.enter(&there, "ada", &code).await.unwrap().into_result().unwrap();
        assert_eq!(again.session.id, came.session.id);
        let there = browser("a", Some(again.cookie.expose()));
        let linked = ada.branch.back(&there, &query).await.unwrap().into_result();
        assert_eq!(linked.err(), Some(upstream::Refusal::TooWeak(TooWeak(Acr::Federated))));
        // What the company says of methods makes no link of its word.
        let mut user = ada.branch.user("ada").await;
        user.passkeys.push(passkey_of_one_device());
        world.store().put(&user);
        ada.branch.edit(|claims| claims.amr = Some(vec!["link".to_owned()]));
        let came = ada.branch.sign_in(&here, "s-1", known_as("ada")).await.unwrap();
        assert!(came.session.authenticated.amr.contains("link"));
        let came = Brought::of(&ada.branch, &came).await;
        let stronger = Some(Refusal::TooWeak(TooWeak(Acr::HardwarePasskey)));
        let passkey = passkeys::begin(&*world, &house.ceremonies, &here, &came).await.unwrap();
        assert_eq!(passkey.err(), stronger);
        let gone = passkeys::remove(&*world, &here, &came, "of-one-device", Warned::Not).await;
        assert_eq!(gone.unwrap().into_value().err(), stronger);
        ada.signed = coded;
        assert_eq!(ada.remove(&id, Warned::OfTheLast).await, Err(weak));
    });
}

fn passkey_of_one_device() -> Passkey {
    Passkey {
        id: "of-one-device".to_owned(),
        key: String::new(),
        counter: 0,
        backup_eligible: false,
        backed_up: false,
        name: "key".to_owned(),
        transports: Vec::new(),
        added: UnixTime::from_seconds(1),
        used: None,
    }
}

/// Where no operator gives codes, the last way in stays, whatever was warned of.
#[test]
fn s9_the_last_account_stays_where_there_are_no_codes() {
    story(|sim| async move {
        let ada = Brought::open(&sim, false).await;
        for warned in [Warned::Not, Warned::OfTheLast] {
            assert_eq!(ada.remove(&ada.id(), warned).await, Err(Refusal::Last));
        }
    });
}

/// A second account is another way in, unless policy does not know its provider any more; and one
/// that lets nobody in is nobody's last way.
#[test]
fn s9_what_lets_nobody_in_is_no_way_in() {
    story(|sim| async move {
        let ada = Brought::open(&sim, true).await;
        let world = ada.branch.house.world();
        let mut user = ada.branch.user("ada").await;
        let mut other = user.accounts[0].clone();
        other.issuer = "https://login.former.example".to_owned();
        user.accounts.push(other.clone());
        world.store().put(&user);
        let (known, former) = (ada.id(), passkeys::account_id(&other));
        assert_eq!(ada.remove(&known, Warned::Not).await, Err(Refusal::LastOwn));
        assert_eq!(ada.remove(&former, Warned::Not).await.unwrap().accounts.len(), 1);
        user.accounts[1].issuer = user.accounts[0].issuer.clone();
        user.accounts[1].subject = "s-2".to_owned();
        world.store().put(&user);
        assert_eq!(ada.remove(&known, Warned::Not).await.unwrap().accounts.len(), 1);
        // Not by whoever sits at a browser that was left open.
        ada.branch.house.domain.server.clock().forth(Span::from_seconds(FRESH.seconds() + 1));
        let late = ada.remove(&passkeys::account_id(&user.accounts[1]), Warned::OfTheLast).await;
        assert_eq!(late, Err(Refusal::NotFresh));
        assert!(upstream::offered(&*world).await.unwrap()[0].issuer.ends_with("company.example"));
    });
}
