//! How somebody signs in, changed by themselves: accounts at other providers.

use std::sync::Arc;

use authentication::session::{Acr, Session};
use env::{Clock, Outbound, Outside, Replying, Unavailable, World};
use http::StatusCode;
use monitoring::Event;
use people::passkeys::{FRESH, account_id};
use registry::UserRecord;
use registry::user::Account;
use testkit::fixture::{files, files_but, story};
use time::Span;

use crate::tab::{House, ask};

const METHODS: &str = "/console/sign-in-methods";
const COMPANY: &str = "https://login.company.example";

/// Policy names the company, and Ada has an account there.
async fn linked(house: &House) -> Account {
    let (world, operator) = (house.world(), house.domain.operator());
    let domain = files().get("domain.toml").unwrap().to_owned();
    let domain = format!(
        "{domain}\n[[sign_in.upstream]]\nname = \"company\"\ntitle = \"Example & Co\"\n\
         issuer = \"{COMPANY}\"\nclient_id = \"aims\""
    );
    let set = files_but(&[("domain.toml", &domain)]);
    let done = flow::apply_policy::apply(&*world, &operator, set, "a story".to_owned(), None).await;
    assert!(done.unwrap().into_value().is_ok());
    let mut ada = (*world.store().single::<UserRecord>("user:ada").unwrap()).clone();
    let since = world.clock().now();
    let account = Account { issuer: COMPANY.to_owned(), subject: "s-1".to_owned(), since };
    ada.accounts.push(account.clone());
    world.store().put(&ada);
    account
}

fn accounts(house: &House) -> usize {
    house.world().store().single::<UserRecord>("user:ada").unwrap().accounts.len()
}

/// As if Ada had signed in at the company.
fn by_the_company(house: &House) {
    let world = house.world();
    for session in world.store().every::<Session>() {
        let mut session = (*session).clone();
        session.authenticated.acr = Acr::Federated;
        world.store().put(&session);
    }
}

/// The last way in of her own goes after a page that warns of it, and by its form alone.
/// req: AUTHN-11 (part)
#[test]
fn s9_the_last_account_goes_after_a_warning() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let id = account_id(&linked(&house).await);
        let mut ada = house.signed("ada").await;
        // A code is weaker than the account: it takes nothing away.
        let shown = ada.get(METHODS).await;
        let weak = ada.send(&shown, &format!("drop-{id}"), &[]).await;
        assert_eq!((weak.status, accounts(&house)), (StatusCode::FORBIDDEN, 1));
        assert!(weak.page().text("failed").contains("a link of an operator"), "{}", weak.body);
        assert!(weak.page().id("not-now").is_some());
        let add = ada.send(&shown, "add-company", &[]).await;
        assert_eq!(add.location(), format!("/sign-in?then={METHODS}&why=weak"));
        by_the_company(&house);
        let shown = ada.get(METHODS).await;
        let text = shown.page().text(&format!("account-{id}"));
        assert!(text.contains("Example & Co") && text.contains(COMPANY), "{text}");
        let warned = ada.send(&shown, &format!("drop-{id}"), &[]).await;
        assert_eq!(warned.status, StatusCode::CONFLICT);
        assert!(warned.page().text("warning").contains("an operator"), "{}", warned.body);
        assert_eq!(accounts(&house), 1);
        // Whoever signs in as somebody else has no such account.
        let mut root = house.signed("root").await;
        let none = root.send(&warned, "last", &[]).await;
        assert_eq!((none.status, accounts(&house)), (StatusCode::FORBIDDEN, 1));
        let done = ada.send(&warned, "last", &[]).await;
        assert_eq!(done.location(), format!("{METHODS}?done=account"));
        assert_eq!(accounts(&house), 0);
        let told = house.domain.server.journal().of(Event::UserChanged);
        assert!(told.iter().any(|one| one.action == "account.remove"));
        let again = ada.send(&warned, "last", &[]).await;
        assert_eq!(again.status, StatusCode::FORBIDDEN);
        assert!(again.page().id("failed").is_some() && again.page().id("no-accounts").is_some());
    });
}

/// Whoever guessed too often is told once, and how long to wait.
#[test]
fn s9_too_many_attempts_are_told_with_the_time_to_wait() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.tab();
        let page = tab.get("/sign-in").await;
        let mut told = String::new();
        for _ in 0..6 {
            let wrong = [("user", "ada"), ("code", "0000-0000-0000")];
            told = tab.send(&page, "by-code", &wrong).await.page().text("failed");
        }
        assert_eq!(told, "Too many attempts failed. Try again in 30 s.");
    });
}

/// One button ends every session of hers, this one too, and nobody else's.
#[test]
fn s9_somebody_signs_out_everywhere() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (mut here, mut there) = (house.signed("ada").await, house.signed("ada").await);
        let mut root = house.signed("root").await;
        let shown = here.get("/console").await;
        // The form counts in the browser that it was shown in.
        let theirs = there.send(&shown, "everywhere", &[]).await;
        assert_eq!(theirs.status, StatusCode::FORBIDDEN);
        assert_eq!(there.get("/console").await.status, StatusCode::OK);
        let out = here.send(&shown, "everywhere", &[]).await;
        assert_eq!(out.status, StatusCode::OK, "{}", out.body);
        assert!(out.body.contains("signed out in every browser"), "{}", out.body);
        for tab in [&mut here, &mut there] {
            assert!(tab.get("/console").await.location().starts_with("/sign-in"));
        }
        assert_eq!(root.get("/console").await.status, StatusCode::OK);
        let ended = house.domain.server.journal().of(Event::SessionEnded);
        assert_eq!(ended.len(), 2);
        assert!(ended.iter().all(|one| one.facts["why"] == "signed out everywhere"));
        // From a page of before nothing more is done.
        let again = here.send(&shown, "everywhere", &[]).await;
        assert_eq!(again.status, StatusCode::OK);
        assert_eq!(house.domain.server.journal().of(Event::SessionEnded).len(), 2);
    });
}

/// The company, as far as a browser is sent there.
struct Company;

impl Outside for Company {
    fn ask<'a>(&'a self, question: &'a Outbound) -> Replying<'a> {
        let document = serde_json::json!({
            "issuer": COMPANY, "authorization_endpoint": format!("{COMPANY}/authorize"),
            "token_endpoint": format!("{COMPANY}/token"), "jwks_uri": format!("{COMPANY}/jwks"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        let known = question.url == format!("{COMPANY}/.well-known/openid-configuration");
        let answer = if known { Ok(document.to_string()) } else { Err(&question.url) };
        let answer = answer.map_err(|url| Unavailable::of("provider", format!("nothing at {url}")));
        Box::pin(async move { answer })
    }
}

/// What a page or a client asks of the age of a sign-in, the company is asked.
#[test]
fn openid_3_1_2_1_a_provider_is_asked_how_old_a_sign_in_may_be() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        linked(&house).await;
        house.world().reach(Arc::new(Company) as _);
        let mut tab = house.tab();
        let mut asked = async |path: &str| {
            let shown = tab.open(path).await;
            let onward = tab.send(&shown, "provider-company", &[]).await;
            assert_eq!(onward.status, StatusCode::OK, "{}", onward.body);
            let rest = onward.body.split_once("max_age=").unwrap().1.to_owned();
            rest.chars().take_while(char::is_ascii_digit).collect::<String>()
        };
        assert_eq!(asked(METHODS).await, FRESH.seconds().to_string());
        assert_eq!(asked(&ask("invoices.read", "&prompt=login")).await, "0");
        assert_eq!(asked(&ask("invoices.read", "&max_age=60")).await, "60");
        assert_eq!(asked(&ask("invoices.read", "")).await, (366 * 86_400).to_string());
    });
}

/// Whoever sits at a browser that was left open adds no account of theirs: they are asked who they
/// are.
#[test]
fn s9_an_account_is_added_after_a_sign_in_of_late() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        linked(&house).await;
        let mut ada = house.signed("ada").await;
        let shown = ada.get(METHODS).await;
        house.domain.server.clock().forth(Span::from_seconds(FRESH.seconds() + 1));
        let late = ada.send(&shown, "add-company", &[]).await;
        assert_eq!(late.location(), format!("/sign-in?then={METHODS}&why=fresh"));
    });
}
