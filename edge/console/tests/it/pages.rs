//! Every page: what is on it, who sees it, and where it may lead.

use authentication::notice::Notice;
use authentication::session::Session;
use authorization::granted::Ended;
use authorization::granted::GrantRecord;
use axum::body::Body;
use env::{Clock, World};
use http::{Method, Request, StatusCode};
use monitoring::Event;
use people::orders;
use people::standing::UserAct;
use registry::client::Origin;
use registry::{ClientLogout, ClientRecord, UserName};
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

/// All that one client was given stands together, and ends together after a question.
///
/// req: AUTHZ-18 (part)
#[test]
fn s10_6_all_of_one_client_ends_at_once() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let mut root = house.signed("root").await;
        let place = format!("/console/clients/end?client={}", crate::tab::CLIENT);
        let id = format!("end-all-{}", crate::tab::CLIENT);
        for (who, scope) in [(0, "invoices.read"), (0, "invoices.pay"), (1, "invoices.read")] {
            let tab = if who == 0 { &mut tab } else { &mut root };
            // One ends by its own button.
            assert!(tab.get("/console").await.page().id(&id).is_none());
            let question = tab.open(&ask(scope, "&prompt=consent")).await;
            tab.send(&question, "consent", &[("answer", "allow")]).await.location();
        }
        let list = tab.get("/console").await.page();
        let group = list.text(&format!("of-{}", crate::tab::CLIENT));
        assert!(group.contains("Books & Co <b> has 2 of these"), "{group}");
        let link = list.id(&format!("end-all-{}", crate::tab::CLIENT)).unwrap();
        assert_eq!(link.attributes["href"], place);
        let question = tab.get(&place).await;
        let all = question.page().text("all");
        assert!(all.contains("read invoices") && all.contains("pay invoices"), "{all}");
        let world = house.world();
        let live = |user: &str| {
            let (all, now) = (world.store().every::<GrantRecord>(), world.clock().now());
            all.iter().filter(|one| one.subject == user && one.is_live(now).is_ok()).count()
        };
        // To look ends nothing; no form of another page or person does.
        assert_eq!((live("user:ada"), live("user:root")), (2, 1));
        let fields = question.page().fields("end-all");
        let foreign = root.post("/console/clients/end", &fields, Some(crate::tab::origin())).await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN);
        let other = tab.send(&question, "end-all", &[("client", "client-none")]).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND);
        assert_eq!((live("user:ada"), live("user:root")), (2, 1));
        let done = tab.send(&question, "end-all", &[]).await;
        assert_eq!(done.location(), "/console?done=client");
        assert_eq!((live("user:ada"), live("user:root")), (0, 1));
        let records = house.domain.server.journal().of(Event::GrantEnded);
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|one| one.facts["by"] == "user:ada" && one.operator.is_none()));
        // The page that was left open.
        assert_eq!(tab.get(&place).await.status, StatusCode::NOT_FOUND);
        let again = tab.send(&question, "end-all", &[]).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
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
        for list in ["grants", "approvals", "sessions", "agents", "clients", "users", "trace"] {
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

/// A person gets a page wherever they are, a program what every other endpoint answers.
#[test]
fn rfc9110_12_5_1_people_get_pages_and_programs_json() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
        let ask = |method: Method, path: &str, accept: &str| {
            let request = Request::builder().method(method).uri(path);
            request.header("accept", accept).body(Body::empty()).unwrap()
        };
        let (mut nobody, mut ada) = (house.tab(), house.signed("ada").await);
        for path in ["/", "/console/"] {
            let root = nobody.request(ask(Method::GET, path, BROWSER)).await;
            assert_eq!(root.location(), "/console");
            assert_eq!(root.headers["vary"], "accept");
        }
        for path in ["/console/xx", "/console/operate/users/1/2", "/console/grants/x"] {
            let page = ada.request(ask(Method::GET, path, BROWSER)).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(page.page().text("user"), "ada", "{path}");
            let page = nobody.request(ask(Method::GET, path, "Text/HTML;level=1")).await;
            assert!(page.page().id("notice").is_some(), "{path}");
        }
        for (method, path) in
            [(Method::GET, "/"), (Method::GET, "/console/xx"), (Method::POST, "/console/xx")]
        {
            for accept in ["*/*", "application/json", "text/*", ""] {
                let answer = nobody.request(ask(method.clone(), path, accept)).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path} {accept}");
                assert!(answer.body.contains(r#""error":"not_found""#), "{}", answer.body);
            }
        }
        let icon = nobody.request(ask(Method::GET, "/favicon.ico", "image/avif,*/*")).await;
        assert_eq!(
            (icon.status, &icon.headers["content-type"]),
            (StatusCode::OK, &"image/svg+xml".parse().unwrap())
        );
    });
}

/// Who was removed is told so, as `aims user list` does, and not as who may come back.
#[test]
fn a_removed_user_is_no_disabled_one() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (operator, name) = (house.domain.operator(), UserName::parse("ada").unwrap());
        let mut root = house.signed("root").await;
        for (act, told) in [
            (UserAct::Disable, "disabled"),
            (UserAct::Enable, "active"),
            (UserAct::Remove, "removed"),
        ] {
            let done = orders::act(&*house.world(), &operator, &name, act, "a story").await;
            done.unwrap().into_value().unwrap();
            let row = root.get("/console/operate/users").await.page().text("row-user:ada");
            assert!(row.contains(told), "{told}: {row}");
        }
    });
}

/// RFC 9700 §4.11.2: an application that let itself in is sent nobody who does not show that they
/// are a user here; one that somebody here let in is.
///
/// req: AUTHZ-09 (part)
#[test]
fn rfc9700_4_11_2_who_registers_itself_is_sent_no_strangers() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let wrong = ask("invoices.read", "").replace("response_type=code", "response_type=foo");
        let silent = ask("invoices.read", "&prompt=none");
        let there = crate::tab::BACK;
        for path in [&wrong, &silent] {
            assert!(house.tab().get(path).await.location().starts_with(there));
        }
        let (world, id) = (house.world(), crate::tab::CLIENT);
        let mut client = (*world.store().single::<ClientRecord>(id).unwrap()).clone();
        for origin in [Origin::Open, Origin::Document] {
            client.origin = origin;
            world.store().put(&client);
            for path in [&wrong, &silent] {
                let answer = house.tab().get(path).await;
                assert_eq!(
                    (answer.status, answer.headers.get("location")),
                    (StatusCode::BAD_REQUEST, None)
                );
                assert!(answer.page().text("what").contains("registered itself"));
            }
            assert!(house.counted.lock().unwrap().contains(&"authorize::Stranger"));
            let mut ada = house.signed("ada").await;
            assert!(ada.get(&wrong).await.location().starts_with(there));
        }
    });
}

/// An operator ends somebody's session, and reads what came of a grant.
///
/// req: AUTHZ-18 (part), OBS-09 (part)
#[test]
fn s10_6_an_operator_ends_sessions_and_reads_stories() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.signed("ada").await;
        let mut root = house.signed("root").await;
        let consent = ada.open(&ask("invoices.read", "")).await;
        ada.send(&consent, "consent", &[("answer", "allow")]).await.location();
        let grant = house.world().store().every::<GrantRecord>()[0].id.clone();
        let list = root.get("/console/operate/grants").await.page();
        // Two of one name can be told apart, by whoever ends one of them.
        for text in [
            list.text(&format!("row-{grant}")),
            ada.get("/console").await.page().text(&format!("grant-{grant}")),
        ] {
            assert!(text.contains(crate::tab::CLIENT), "{text}");
        }
        let to = list.id(&format!("story-{grant}")).unwrap().attributes["href"].clone();
        let told = root.get(&to).await.page();
        assert_eq!(told.text("root"), grant);
        let text = told.text("story");
        assert!(text.contains("user:ada") && text.contains(crate::tab::CLIENT), "{text}");
        // Names beside them: of the client, and of the person, who is not called as their id is.
        for told in ["Books & Co <b> client-books", "for ada user:ada"] {
            assert!(text.contains(told), "{told}: {text}");
        }
        let unknown = root.get("/console/operate/trace?id=none").await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        assert!(unknown.page().id("missing").is_some());
        // Not for those who run nothing.
        assert_eq!(ada.get(&to).await.status, StatusCode::FORBIDDEN);
        let id = house.world().store().every::<Session>();
        let id = id.iter().find(|one| one.user == "user:ada").unwrap().id.clone();
        let sessions = root.get("/console/operate/sessions").await;
        assert!(sessions.page().text(&format!("row-{id}")).contains("user:ada"));
        let action = format!("/console/operate/sessions/{id}/end");
        let page = sessions.page();
        let form = page.named("form").find(|one| one.attributes["action"] == action).unwrap();
        let form = page
            .named("input")
            .find(|one| one.span.0 > form.span.0 && one.attributes["name"] == "form")
            .unwrap();
        let fields = [("form".to_owned(), form.attributes["value"].clone())];
        // Her own form for the same action is no operator's.
        let refused = ada.post(&action, &fields, Some(crate::tab::origin())).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let ended = root.post(&action, &fields, Some(crate::tab::origin())).await;
        assert_eq!(ended.location(), "/console/operate/sessions?done=session");
        assert!(ada.get("/console").await.location().starts_with("/sign-in"));
        let record = house.domain.server.journal().of(Event::SessionEnded).pop().unwrap();
        assert_eq!(record.operator.as_deref(), Some("user:root"));
        let again = root.post(&action, &fields, Some(crate::tab::origin())).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
    });
}

/// RP-Initiated Logout 1.0 §2: whom a client sends without showing that it means this session is
/// asked first, and goes on only where the client registered.
///
/// req: AUTHN-11 (part)
#[test]
fn rp_initiated_2_a_client_sends_somebody_to_sign_out() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let bye = "https://books.example/bye?x=1".to_owned();
        let (world, id) = (house.world(), crate::tab::CLIENT);
        let mut client = (*world.store().single::<ClientRecord>(id).unwrap()).clone();
        client.logout =
            ClientLogout { backchannel: Some(format!("{bye}&back")), redirect_uris: vec![bye] };
        world.store().put(&client);
        let there = "post_logout_redirect_uri=https%3A%2F%2Fbooks.example%2Fbye%3Fx%3D1";
        let asked = format!("/end-session?client_id={id}&{there}&state=s%201");
        // Nobody is signed in and nothing shows that the client means it: nobody is sent on.
        let on = "https://books.example/bye?x=1&state=s%201";
        let nobody = house.tab().get(&asked).await;
        assert_eq!((nobody.status, nobody.headers.get("location")), (StatusCode::OK, None));
        let mut ada = house.signed("ada").await;
        // The client took part in her session, and will be told.
        let consent = ada.open(&ask("invoices.read+openid", "")).await;
        ada.send(&consent, "consent", &[("answer", "allow")]).await.location();
        let question = ada.get(&asked).await;
        assert_eq!(question.page().text("leave-user"), "ada");
        assert!(!question.policy().contains("form-action"), "{}", question.policy());
        let stay = ada.send(&question, "leave", &[("leave", "no")]).await;
        assert_eq!(stay.location(), "/console");
        assert_eq!(ada.get("/console").await.status, StatusCode::OK);
        // What a page kept is checked again; a place of somebody else is never gone to.
        let wrong = format!("client_id={id}&post_logout_redirect_uri=https%3A%2F%2Fevil.example");
        let forged = ada.send(&question, "leave", &[("leave", "yes"), ("query", &wrong)]).await;
        assert_eq!(forged.status, StatusCode::BAD_REQUEST);
        assert!(!forged.headers.contains_key("location"));
        for query in [wrong.as_str(), "id_token_hint=a.b.c", there] {
            let answer = ada.get(&format!("/end-session?{query}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
            assert!(answer.page().text("notice").contains("asked wrongly"), "{query}");
        }
        assert_eq!(ada.get("/console").await.status, StatusCode::OK);
        // A form of the client's own page becomes a question, and ends nothing by itself.
        let fields = [("client_id".to_owned(), id.to_owned())];
        let posted = ada.post("/end-session", &fields, Some("https://books.example")).await;
        assert_eq!(posted.location(), format!("/end-session?client_id={id}"));
        let answer = ada.send(&question, "leave", &[("leave", "yes")]).await;
        assert_eq!(answer.location(), on);
        assert!(!ada.cookies.contains_key("__Host-aims-session"));
        let told: Vec<_> = world.store().every::<Notice>();
        assert_eq!(told.iter().map(|one| one.client_id.as_str()).collect::<Vec<_>>(), [id]);
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
