//! Every page: what is on it, who sees it, and where it may lead.

use authorization::granted::Ended;
use authorization::granted::GrantRecord;
use env::{Clock, World};
use http::StatusCode;
use testkit::fixture::story;

use crate::tab::{House, ask};

/// Nobody is sent to another site by signing in.
///
/// req: AUTHN-11 (part)
#[test]
fn rfc9700_4_11_no_open_redirect() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        for then in [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "%2F%2Fevil.example",
            "javascript:alert(1)",
            "/a%0d%0aLocation:%20https://evil.example",
        ] {
            let mut tab = house.tab();
            let page = tab.get(&format!("/sign-in?then={then}")).await;
            let code = house.code("ada").await;
            let fields = [("user", "ada"), ("code", code.as_str()), ("then", then)];
            let answer = tab.send(&page, "by-code", &fields).await;
            let ours = url::Url::parse(crate::tab::origin()).unwrap();
            let to = ours.join(answer.location()).unwrap();
            assert_eq!(to.origin(), ours.origin(), "{then}: {}", answer.location());
            assert!(answer.location().starts_with('/'), "{then}");
        }
    });
}

#[test]
fn s9_a_wrong_code_says_no_more_than_that() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.tab();
        let page = tab.get("/sign-in").await;
        let mut told = Vec::new();
        for user in ["ada", "nobody"] {
            let answer = tab.send(&page, "by-code", &[("user", user), ("code", "AAAA-BBBB")]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            told.push(answer.page().text("failed"));
            assert!(!answer.body.contains("AAAA-BBBB"), "what was typed is not shown again");
        }
        assert_eq!(told[0], told[1]);
        assert_eq!(*house.counted.lock().unwrap(), ["sign_in::Code", "sign_in::Code"]);
    });
}

/// req: AUTHZ-18 (part)
#[test]
fn s10_6_somebody_sees_what_acts_for_them_and_ends_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        assert_eq!(tab.get("/console").await.page().text("no-grants"), "Nothing acts for you.");
        let question = tab.open(&ask("invoices.read", "")).await;
        tab.send(&question, "consent", &[("answer", "allow")]).await.location();
        let world = house.world();
        let id = world.store().every::<GrantRecord>()[0].id.clone();
        let shown = tab.get("/console").await;
        let text = shown.page().text(&format!("grant-{id}"));
        for words in ["Books & Co <b>", "read invoices", "Last usednever", "End this"] {
            assert!(text.contains(words), "{text}");
        }
        // Nobody else ends it.
        let action = format!("/console/grants/{id}/end");
        let mut other = house.signed("root").await;
        let page = other.get("/console").await;
        assert!(!page.body.contains(&id));
        // With a form that is right for the action, as the operators' page does not make one.
        let form = shown.page();
        let own = form.named("form").find(|one| one.attributes["action"] == action);
        assert!(own.is_some());
        let ended = tab
            .post(
                &action,
                &form
                    .elements
                    .iter()
                    .filter(|one| one.span.0 > own.unwrap().span.0)
                    .filter(|one| one.attributes.get("name").is_some_and(|name| name == "form"))
                    .map(|one| ("form".to_owned(), one.attributes["value"].clone()))
                    .take(1)
                    .collect::<Vec<_>>(),
                Some(crate::tab::origin()),
            )
            .await;
        assert_eq!(ended.location(), "/console?done=grant");
        let page = tab.get("/console?done=grant").await.page();
        assert_eq!(page.text("told"), "It is ended. Nothing acts for you by it any more.");
        assert!(page.text("over").contains("ended by its user"));
        let now = world.clock().now();
        assert!(world.store().every::<GrantRecord>()[0].is_live(now).is_err());
        // What came of it ends everywhere: its id is told to all who verify.
        assert_eq!(world.store().every::<Ended>()[0].id, id);
    });
}

#[test]
fn every_page_is_as_it_must_be() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut nobody = house.tab();
        for path in ["/console", "/console/sign-in-methods", "/console/operate"] {
            assert!(nobody.get(path).await.location().starts_with("/sign-in?then=%2Fconsole"));
        }
        let mut tab = house.signed("ada").await;
        let mut root = house.signed("root").await;
        let question = tab.open(&ask("invoices.read+invoices.pay+profile", "")).await;
        question.page();
        for (path, ids) in [
            ("/console", "grants-title"),
            ("/console/sign-in-methods", "passkeys-title"),
            ("/interaction/none", "notice"),
            ("/sign-in", "by-code"),
            ("/sign-in?why=stronger", "why"),
            ("/sign-in/link?secret=none", "notice"),
        ] {
            let answer = tab.get(path).await;
            assert!(answer.page().id(ids).is_some(), "{path}: {:?}", answer.page().ids());
        }
        let answer = tab.get("/console/operate").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        answer.page();
        for list in ["grants", "agents", "clients", "users"] {
            let answer = root.get(&format!("/console/operate/{list}")).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.page().id("main").is_some());
        }
        let users = root.get("/console/operate/users").await.page().text("rows");
        assert!(users.contains("user:ada") && users.contains("operator"), "{users}");
        let from = root.get("/console/operate/users?after=user:ada").await.page().text("rows");
        assert!(!from.contains("user:ada"), "{from}");
        assert_eq!(root.get("/console/operate/nothing").await.status, StatusCode::NOT_FOUND);
        // What stands in an address is not shown as ours.
        let answer = tab.get("/console?done=%3Cb%3Eyou%20won").await;
        assert!(!answer.body.contains("you won"));
    });
}

#[test]
fn s9_signing_out_ends_the_session() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let stolen = tab.clone();
        let page = tab.get("/console").await;
        let form = page.page().named("form").next().unwrap().clone();
        assert_eq!(form.attributes["action"], "/sign-out");
        let value = page.page().named("input").next().unwrap().attributes["value"].clone();
        let fields = [("form".to_owned(), value)];
        let answer = tab.post("/sign-out", &fields, Some(crate::tab::origin())).await;
        assert_eq!(
            answer.page().text("notice").split(',').next().unwrap().split('.').next(),
            Some("You are signed out here")
        );
        assert!(!tab.cookies.contains_key("__Host-aims-session"));
        let mut stolen = stolen;
        assert!(stolen.get("/console").await.location().starts_with("/sign-in"));
    });
}
