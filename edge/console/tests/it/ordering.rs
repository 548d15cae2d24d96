//! Operators look at one record, and order what commands order.

use authentication::session::Session;
use authorization::granted::GrantRecord;
use env::{Clock, World};
use http::StatusCode;
use monitoring::{Event, Outcome, Record};
use provisioning::State;
use registry::{AgentRecord, ClientRecord, ClientState, UserRecord};
use testkit::fixture::{registration, story};

use crate::tab::{Answer, CLIENT, House, Tab, ask, origin};

fn place(list: &str, id: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("id", id).finish();
    format!("/console/operate/{list}/one?{query}")
}

/// Presses a button of a record's page.
async fn order(tab: &mut Tab, list: &str, id: &str, act: &str, reason: &str) -> Answer {
    let shown = tab.get(&place(list, id)).await;
    assert!(shown.page().id(act).is_some(), "{list}: no button {act}");
    tab.send(&shown, "order", &[("act", act), ("reason", reason)]).await
}

fn last(house: &House, event: Event) -> Record {
    house.domain.server.journal().of(event).pop().unwrap()
}

/// req: AUTHZ-18 (part)
#[test]
fn s10_6_an_operator_suspends_and_resumes_an_agent() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let agent = house.domain.register(registration("researcher", &["invoices"])).await;
        let id = agent.id.to_string();
        let mut root = house.signed("root").await;
        let list = root.get("/console/operate/agents").await.page();
        let to = list.id(&format!("open-{id}")).unwrap().attributes["href"].clone();
        assert_eq!(to, place("agents", &id));
        let shown = root.get(&to).await;
        let record = shown.page().text("record");
        for told in ["active since 2", "invoices", "unix:path", "standard", "every node", &id] {
            assert!(record.contains(told), "{told}: {record}");
        }
        assert!(shown.page().text("for-good").contains("aims agent revoke researcher"));
        let state = || {
            let found = house.world().store().single::<AgentRecord>(&id).unwrap();
            found.lifecycle.clone()
        };
        // Nobody else looks or orders, and no other page's form does.
        let mut ada = house.signed("ada").await;
        assert_eq!(ada.get(&to).await.status, StatusCode::FORBIDDEN);
        let fields = |form: &str| {
            let text = [("form", form), ("id", &id), ("act", "suspend"), ("reason", "no")];
            text.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
        };
        let form = |page: &str| {
            let fields = crate::html::Page::read(page).fields("order");
            fields.into_iter().find(|(name, _)| name == "form").unwrap().1
        };
        let action = "/console/operate/agents/act";
        let own = form(&shown.body);
        assert_eq!(
            ada.post(action, &fields(&own), Some(origin())).await.status,
            StatusCode::FORBIDDEN
        );
        let users = root.get(&place("users", "user:ada")).await;
        for form in [form(&users.body), String::new()] {
            let refused = root.post(action, &fields(&form), Some(origin())).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN);
        }
        let foreign = root.post(action, &fields(&own), Some("https://evil.example")).await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN);
        // An order has a reason that can be recorded.
        for reason in ["", "  ", "a\u{7}b"] {
            let refused = order(&mut root, "agents", &id, "suspend", reason).await;
            assert!(refused.page().text("failed").starts_with("Nothing was done: "), "{reason:?}");
        }
        assert_eq!(state().state, State::Active);
        assert!(house.domain.server.journal().of(Event::AgentLifecycle).is_empty());
        let done = order(&mut root, "agents", &id, "suspend", " it <b> calls at night ").await;
        assert_eq!(done.location(), format!("{to}&done=suspend"));
        assert_eq!((state().state, &*state().reason), (State::Suspended, "it <b> calls at night"));
        // As `aims agent suspend` records it, by whom is signed in.
        let record = last(&house, Event::AgentLifecycle);
        assert_eq!((&*record.action, record.outcome), ("agent.suspend", Outcome::Done));
        assert_eq!(record.operator.as_deref(), Some("user:root"));
        assert_eq!(record.agent.as_deref(), Some(&*id));
        assert_eq!(record.facts["reason"], "it <b> calls at night");
        let page = root.get(done.location()).await.page();
        assert!(page.text("told").starts_with("Suspended"), "{}", page.text("told"));
        assert!(page.text("record").contains("it <b> calls at night"));
        assert!(page.id("suspend").is_none());
        // The page that was left open: refused as the command is, and what was typed is kept.
        let late = root.send(&shown, "order", &[("act", "suspend"), ("reason", "again")]).await;
        assert_eq!(late.status, StatusCode::CONFLICT);
        assert_eq!(late.page().id("reason").unwrap().attributes["value"], "again");
        assert_eq!(last(&house, Event::AgentLifecycle).outcome, Outcome::Refused);
        order(&mut root, "agents", &id, "resume", "mended").await.location();
        assert_eq!(state().state, State::Active);
        let none = order(&mut root, "agents", &id, "end-grants", "tidy").await;
        assert!(none.page().text("failed").contains("no grant"), "{}", none.body);
    });
}

/// req: AUTHZ-18 (part)
#[test]
fn s10_6_an_operator_stops_clients_and_people() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (mut ada, mut root) = (house.signed("ada").await, house.signed("root").await);
        let world = house.world();
        let live = || {
            let (all, now) = (world.store().every::<GrantRecord>(), world.clock().now());
            all.iter().filter(|one| one.is_live(now).is_ok()).count()
        };
        for (list, id) in [("clients", CLIENT), ("users", "user:ada")] {
            let question = ada.open(&ask("invoices.read", "&prompt=consent")).await;
            ada.send(&question, "consent", &[("answer", "allow")]).await.location();
            assert_eq!(live(), 1);
            let done = order(&mut root, list, id, "end-grants", "tidy").await;
            assert_eq!(done.location(), format!("{}&done=end-grants", place(list, id)));
            assert_eq!(live(), 0);
            let record = last(&house, Event::GrantEnded);
            assert_eq!(record.operator.as_deref(), Some("user:root"));
            assert_eq!(record.facts["why"], "tidy");
        }
        let question = ada.open(&ask("invoices.read", "&prompt=consent")).await;
        ada.send(&question, "consent", &[("answer", "allow")]).await.location();
        order(&mut root, "clients", CLIENT, "disable", "leaks").await.location();
        let client = || world.store().single::<ClientRecord>(CLIENT).unwrap().state;
        assert_eq!((client(), live()), (ClientState::Disabled, 0));
        let record = last(&house, Event::ClientRegistered);
        assert_eq!(record.action, "client.disable");
        assert_eq!(record.operator.as_deref(), Some("user:root"));
        assert_eq!(record.facts["reason"], "leaks");
        order(&mut root, "clients", CLIENT, "enable", "mended").await.location();
        assert_eq!(client(), ClientState::Enabled);
        let shown = root.get(&place("clients", CLIENT)).await.page();
        let record = shown.text("record");
        for told in ["enabled since 2", "spiffe_wit", "authorization_code", crate::tab::BACK] {
            assert!(record.contains(told), "{told}: {record}");
        }
        assert!(shown.named("h1").all(|one| one.text == "Books & Co <b>"));
        // Nobody locks themselves out by a slip; whom they disable is out at once.
        let own = order(&mut root, "users", "user:root", "disable", "slip").await;
        assert!(own.page().text("failed").contains("that is you"), "{}", own.body);
        order(&mut root, "users", "user:ada", "disable", "left").await.location();
        assert!(ada.get("/console").await.location().starts_with("/sign-in"));
        let now = world.clock().now();
        let sessions = world.store().every::<Session>();
        assert!(sessions.iter().all(|one| one.user != "user:ada" || one.is_live(now).is_err()));
        let record = last(&house, Event::UserLifecycle);
        assert_eq!(
            (&*record.action, record.operator.as_deref()),
            ("user.disable", Some("user:root"))
        );
        assert_eq!(record.facts["reason"], "left");
        order(&mut root, "users", "user:ada", "enable", "back").await.location();
        let state = world.store().single::<UserRecord>("user:ada").unwrap().lifecycle.state;
        assert_eq!(state, State::Active);
        for to in ["users/one?id=user:none", "users/one", "grants/one?id=x", "none/one?id=user:ada"]
        {
            let answer = root.get(&format!("/console/operate/{to}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{to}");
        }
    });
}
