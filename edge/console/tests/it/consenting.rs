//! A client sends a user here, and the user answers.

use authorization::granted::{Code, GrantRecord};
use env::World;
use http::StatusCode;
use http::header::SET_COOKIE;
use testkit::fixture::story;

use crate::tab::{BACK, House, ask, origin};

/// From the client to the client: sign-in, the question, less than was asked.
///
/// req: AUTHZ-06 (part), AUTHN-11 (part)
#[test]
fn rfc6749_4_1_from_the_client_and_back_to_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.tab();
        let sign_in = tab.open(&ask("invoices.read+invoices.pay+openid", "&login_hint=ada")).await;
        assert_eq!(sign_in.status, StatusCode::OK);
        assert_eq!(sign_in.page().id("user-name").unwrap().attributes["value"], "ada");
        // The redirect that answers this form may end at the client, and go on from there.
        assert!(!sign_in.policy().contains("form-action"), "{}", sign_in.policy());
        let code = house.code("ada").await;
        let before = tab.cookies.clone();
        let answer = tab.send(&sign_in, "by-code", &[("code", &code)]).await;
        let to = answer.location().to_owned();
        assert!(to.starts_with("/interaction/"), "{to}");
        // docs/past-defects.md 15: a session that is new, whatever was there.
        assert!(!before.contains_key("__Host-aims-session"));
        let question = tab.get(&to).await;
        let page = question.page();
        // What the client calls itself is text.
        assert_eq!(page.text("asker"), "Books & Co <b>");
        assert!(page.named("h1").all(|one| one.text == "Books & Co <b> asks for access"));
        assert_eq!(page.text("asker-kind"), "A registered application");
        assert_eq!(page.text("back-to"), "books.example");
        let target = page.text("target-0");
        for words in ["invoices", "read invoices", "list_invoices (changes nothing)", "pay_invoice"]
        {
            assert!(target.contains(words), "{target}");
        }
        // Nobody grants longest by not looking.
        let chosen: Vec<_> =
            page.named("option").filter(|one| one.attributes.contains_key("selected")).collect();
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].attributes["value"], "86400");
        assert!(!question.policy().contains("form-action"), "{}", question.policy());
        let less = [("take", "scope.0.invoices.read"), ("answer", "allow"), ("life", "3600")];
        let answer = tab.send(&question, "consent", &less).await;
        let back = answer.location();
        assert!(back.starts_with(&format!("{BACK}?code=aims_ac_")), "{back}");
        let grants = house.world().store().every::<GrantRecord>();
        let granted = grants[0].targets.values().next().unwrap();
        assert_eq!(granted.scope.to_string(), "invoices.read");
        assert_eq!(house.world().store().every::<Code>().len(), 1);
        // The back button, and the form again: a page that explains.
        let again = tab.get(&to).await;
        assert_eq!(again.status, StatusCode::CONFLICT);
        let page = again.page();
        assert!(page.text("notice").contains("under “Acting for me”"));
        // Nothing is wrong with it.
        assert_eq!(page.id("notice").unwrap().attributes["role"], "status");
        let again = tab.send(&question, "consent", &less).await;
        assert_eq!(again.status, StatusCode::CONFLICT);
        assert_eq!(house.world().store().every::<GrantRecord>().len(), 1);
    });
}

/// What goes on without somebody stands beside how long, and is no knowledge about them.
#[test]
fn oidc_11_offline_access_stands_beside_the_time() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let question = tab.open(&ask("invoices.read+profile+openid+offline_access", "")).await;
        let page = question.page();
        let (about, offline) = (page.text("about-you"), page.text("offline"));
        assert!(about.contains("see your name") && !about.contains("signed out"), "{about}");
        assert_eq!(offline.trim(), "go on while you are signed out");
        let (life, box_) = (page.id("life").unwrap(), page.id("openid.offline_access").unwrap());
        assert!(life.span.1 < box_.span.0, "below the time that it lasts");
        tab.send(&question, "consent", &[("answer", "allow")]).await.location();
        let grant = house.world().store().every::<GrantRecord>()[0].clone();
        assert!(grant.openid.iter().any(|scope| scope.as_str() == "offline_access"));
        let card = tab.get("/console").await.page().text(&format!("grant-{}", grant.id));
        assert!(card.contains("Without yougo on while you are signed out"), "{card}");
    });
}

#[test]
fn rfc6749_4_1_2_1_refusing_and_ticking_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let question = tab.open(&ask("invoices.read", "")).await;
        let answer = tab.send(&question, "consent", &[("take", ""), ("answer", "allow")]).await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        assert!(answer.page().id("nothing").is_some());
        // What was unticked stays so: the next press allows nothing by mistake either.
        assert!(answer.page().fields("consent").iter().all(|(name, _)| name != "take"));
        let answer = tab.send(&question, "consent", &[("answer", "deny")]).await;
        assert!(answer.location().contains("error=access_denied"), "{}", answer.location());
        assert!(house.world().store().every::<GrantRecord>().is_empty());
    });
}

/// OAuth 2.0 Form Post Response Mode §2: the one page that runs a script in itself, known by hash.
#[test]
fn a_form_post_page_runs_its_own_script_and_leads_to_the_client_alone() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let question = tab.open(&ask("invoices.read", "&response_mode=form_post")).await;
        let answer = tab.send(&question, "consent", &[("answer", "allow")]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body.contains(&format!("action=\"{BACK}\"")), "{}", answer.body);
        assert!(answer.body.contains("name=\"code\" value=\"aims_ac_"));
        // SHA-256 of `document.forms[0].submit()`, computed apart from this program.
        let script = "script-src 'self' 'sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE='";
        assert!(answer.policy().contains(script), "{}", answer.policy());
        assert!(!answer.policy().contains("form-action"), "{}", answer.policy());
    });
}

/// The user is told which parameter and which rule, and the browser is sent nowhere
/// (docs/past-defects.md 10).
#[test]
fn rfc6749_4_1_2_1_a_mistake_of_the_client_is_a_page() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.tab();
        for (path, error, says) in [
            ("/authorize".to_owned(), "invalid_request", "`client_id` is absent (RFC 6749 §4.1.1)"),
            (
                ask("invoices.read", "").replace(BACK, "https://evil.example/back"),
                "invalid_request",
                "`https://evil.example/back` is none that the client registered",
            ),
            (
                ask("x", "").replace("client-books", "client-none"),
                "invalid_client",
                "no client `client-none` is known here",
            ),
        ] {
            let answer = tab.get(&path).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert!(!answer.headers.contains_key("location"));
            let page = answer.page();
            assert_eq!(page.text("error"), error);
            assert!(page.text("what").contains(says), "{}", page.text("what"));
            assert!(!answer.policy().contains("evil.example"));
        }
        assert_eq!(house.counted.lock().unwrap().len(), 3);
    });
}

/// OpenID Connect Core 1.0 §3.1.2.1: GET and POST. A form of another site does nothing by itself.
#[test]
fn oidc_3_1_2_1_a_request_may_come_as_a_form() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.tab();
        let query = ask("invoices.read", "");
        let (_, query) = query.split_once('?').unwrap();
        let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let answer = tab.post("/authorize", &fields, Some("https://books.example")).await;
        assert!(answer.headers.get(SET_COOKIE).is_none(), "a cookie would replace the browser's");
        let to = answer.location().to_owned();
        assert!(to.starts_with("/authorize?response_type=code&"), "{to}");
        assert_eq!(tab.open(&to).await.page().text("use-code"), "Sign in");
        let long = vec![("state".to_owned(), "a".repeat(9_000))];
        let answer = tab.post("/authorize", &long, Some("https://books.example")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    });
}

/// A form counts in the browser that it was shown in, from our own origin, for its own action.
#[test]
fn rfc6749_10_12_forms_of_others_do_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let question = tab.open(&ask("invoices.read", "")).await;
        let page = question.page();
        let action = page.id("consent").unwrap().attributes["action"].clone();
        let mut fields = page.fields("consent");
        fields.push(("answer".to_owned(), "allow".to_owned()));
        for from in [None, Some("https://evil.example"), Some("null")] {
            let answer = tab.post(&action, &fields, from).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{from:?}");
        }
        let mut bare = fields.clone();
        bare.retain(|(name, _)| name != "form");
        assert_eq!(tab.post(&action, &bare, Some(origin())).await.status, StatusCode::FORBIDDEN);
        // Of another form of the same browser.
        let acting = tab.get("/console").await.page();
        let sign_out = acting.named("form").next().unwrap().clone();
        assert_eq!(sign_out.attributes["action"], "/sign-out");
        let other = acting.named("input").next().unwrap().attributes["value"].clone();
        bare.push(("form".to_owned(), other));
        assert_eq!(tab.post(&action, &bare, Some(origin())).await.status, StatusCode::FORBIDDEN);
        // In another browser of the same user.
        let mut there = house.signed("ada").await;
        assert_eq!(
            there.post(&action, &fields, Some(origin())).await.status,
            StatusCode::FORBIDDEN
        );
        let shown = there.get(&action).await;
        assert_eq!(shown.status, StatusCode::FORBIDDEN);
        assert!(shown.page().text("notice").contains("do not go on"));
        assert!(house.world().store().every::<GrantRecord>().is_empty());
        assert!(tab.post(&action, &fields, Some(origin())).await.location().starts_with(BACK));
    });
}
