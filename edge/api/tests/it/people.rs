//! Orders about users, over the operators' socket.

use ::people::standing::UserAct;
use api::admin::messages::{GiveOrder, NewUser};
use api::client::Fault;
use monitoring::{Event, Outcome};

use crate::browser::Served;
use crate::orders::{Office, problem};

fn ada() -> NewUser {
    NewUser {
        name: "ada".to_owned(),
        display_name: Some("Ada Lovelace".to_owned()),
        email: None,
        roles: ["operator".to_owned()].into(),
    }
}

fn refused<T>(answer: Result<T, Fault>) -> (u8, String) {
    let Err(fault) = answer else { panic!("it was done") };
    (fault.exit_code(), problem(fault).error)
}

/// req: AUTHN-11 (part)
#[tokio::test]
async fn s9_a_user_is_added_shown_stopped_and_removed() {
    let office = Office::open().await;
    let told = office.client.add_user(&ada()).await.unwrap();
    assert_eq!(told.audit_id, Some(office.recorded(Event::UserRegistered, Outcome::Done)));
    let link = &told.value.link.text;
    assert!(link.starts_with("https://localhost:8443/sign-in/link?secret=aims_link_"), "{link}");
    assert!(!format!("{:?}", told.value).contains("aims_link_"));
    let shown = office.client.user("ada").await.unwrap();
    assert_eq!(shown, told.value.user);
    assert_eq!((shown.state.as_str(), shown.display_name.as_str()), ("active", "Ada Lovelace"));
    assert_eq!(office.client.users(None, None).await.unwrap().items, [shown]);
    for (act, state) in
        [(UserAct::Disable, "disabled"), (UserAct::Enable, "active"), (UserAct::Remove, "removed")]
    {
        let told = office.client.move_user("ada", act, "a drill").await.unwrap();
        assert_eq!(told.value.user.state, state);
        assert_eq!(told.audit_id, Some(office.recorded(Event::UserLifecycle, Outcome::Done)));
    }
    assert_eq!(refused(office.client.add_user(&ada()).await), (1, "registry::UserTaken".into()));
    let unknown = refused(office.client.user("eve").await);
    assert_eq!(unknown, (1, "registry::UserUnknown".into()));
    let wrong = NewUser { name: "Ada".to_owned(), ..ada() };
    assert_eq!(refused(office.client.add_user(&wrong).await).0, 2);
}

#[tokio::test]
async fn s9_codes_and_links_are_shown_once_and_kept_as_hashes() {
    let office = Office::open().await;
    office.client.add_user(&ada()).await.unwrap();
    let order = GiveOrder { uses: Some(3), life_seconds: Some(60) };
    let code = office.client.user_code("ada", &order).await.unwrap().value;
    assert_eq!((code.text.len(), code.uses), (14, 3));
    let link = office.client.user_link("ada", &GiveOrder::default()).await.unwrap().value;
    assert_eq!((link.user.as_str(), link.uses), ("ada", 1));
    for record in office.world.records() {
        let text = serde_json::to_string(&record).unwrap();
        assert!(!text.contains(&code.text) && !text.contains("aims_link_"), "{text}");
    }
    let long = GiveOrder { uses: None, life_seconds: Some(86_401) };
    let bound = refused(office.client.user_code("ada", &long).await);
    assert_eq!(bound, (1, "sign_in::Bound".into()));
    let twice = GiveOrder { uses: Some(2), life_seconds: None };
    assert_eq!(refused(office.client.user_link("ada", &twice).await).0, 2);
}

#[tokio::test]
async fn s9_sessions_are_listed_and_ended() {
    let office = Office::open().await;
    office.client.add_user(&ada()).await.unwrap();
    assert_eq!(office.client.sessions(None, None, None).await.unwrap().items, []);
    let code = office.client.user_code("ada", &GiveOrder::default()).await.unwrap().value.text;
    let throttle = ::people::throttle::Throttle::default();
    let browser = ::people::browser::Browser {
        name: "b",
        session: None,
        source: "192.0.2.1",
        agent: "Browser/1.0",
    };
    let entered =
        ::people::sign_in::by_code(&*office.world, &throttle, &browser, "ada", &code).await;
    let signed = entered.unwrap().into_result().unwrap();
    let found = office.client.sessions(Some("ada"), None, None).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id.as_str(), found[0].user.as_str()), (&*signed.session.id, "ada"));
    assert_eq!(office.client.sessions(None, None, None).await.unwrap().items, found);
    let told = office.client.end_session(&found[0].id, "a drill").await.unwrap();
    assert_eq!(told.value.sessions_ended, 1);
    assert_eq!(told.audit_id, Some(office.recorded(Event::SessionEnded, Outcome::Done)));
    let again = refused(office.client.end_session(&found[0].id, "a drill").await);
    assert_eq!(again, (1, "authentication::NoSession".into()));
    let none = office.client.end_sessions("ada", "a drill").await.unwrap();
    assert_eq!(none.value.sessions_ended, 0);
    assert_eq!(refused(office.client.end_sessions("eve", "a drill").await).0, 1);
}

/// What proves nothing is told so, and counted (§2.8).
#[tokio::test]
async fn backchannel_2_8_a_logout_that_proves_nothing_is_refused() {
    let served = Served::start().await;
    let post = |path: &str, kind: &str, body: &str| {
        let request = http::Request::post(path).header("content-type", kind);
        request.body(body.as_bytes().to_vec()).unwrap()
    };
    let form = "application/x-www-form-urlencoded";
    for (path, kind, body, told) in [
        ("/sign-in/upstream/company/logout", form, "logout_token=x", "no identity provider"),
        ("/sign-in/upstream/company/logout", form, "", "no identity provider"),
        (
            "/sign-in/upstream/company/logout",
            "text/plain",
            "logout_token=x",
            "content type must be",
        ),
        ("/sign-in/upstream/company/logout", form, "a=1&a=2", "more than once"),
    ] {
        let reply = served.send(post(path, kind, body)).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let message = reply.json()["error_description"].to_string();
        assert!(message.contains(told), "{told}: {message}");
    }
}
