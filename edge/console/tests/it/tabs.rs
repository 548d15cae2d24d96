//! Tabs beside each other, pages that were left open, the back button: what counts is what was
//! shown, to whom it was shown, and as things are when it is sent.

use approval::{Approval, State};
use approve::caller::Call;
use approve::ciba;
use authorization::granted::GrantRecord;
use authorization::interaction::Interaction;
use basis::shares::BEGUN_OF_SOURCE;
use env::World;
use http::{Request, StatusCode};
use oauth::TokenText;
use oauth::form::Form;
use oauth::token_request::{DeviceCode, GrantType, TokenRequest};
use people::orders;
use people::standing::UserAct;
use people::throttle::Throttle;
use registry::{ClientRecord, ClientState, Metadata, UserName};
use testkit::fixture::{GATEWAY, files, files_but, story};
use time::Span;

use crate::tab::{Answer, BACK, CLIENT, House, Tab, ask};

const READ: &str = "invoices.read";
const BOTH: &str = "invoices.read+invoices.pay";

/// Longer than a question may wait.
const LATE: Span = Span::from_seconds(1_801);

impl House {
    /// The scopes of the one grant that there is.
    fn granted(&self) -> Vec<String> {
        let grants = self.world().store().every::<GrantRecord>();
        grants.iter().map(|one| one.targets.values().next().unwrap().scope.to_string()).collect()
    }

    fn forth(&self, span: Span) {
        self.domain.server.clock().forth(span);
    }

    async fn apply(&self, rule: &str) {
        let rules = format!("{}\n{rule}", files().get("access/main.cedar").unwrap());
        let (world, operator) = (self.world(), self.domain.operator());
        let set = files_but(&[("access/main.cedar", &rules)]);
        let why = "a story".to_owned();
        let applied = flow::apply_policy::apply(&*world, &operator, set, why, None).await.unwrap();
        assert!(applied.into_value().is_ok());
    }

    fn edit_client(&self, edit: impl FnOnce(&mut ClientRecord)) {
        let found = self.world().store().single::<ClientRecord>(CLIENT).unwrap();
        let mut client = (*found).clone();
        edit(&mut client);
        self.world().store().put(&client);
    }
}

async fn allow(tab: &mut Tab, question: &Answer) -> Answer {
    tab.send(question, "consent", &[("answer", "allow")]).await
}

/// Two questions in two tabs: each form answers its own, in either order, once.
/// req: AUTHZ-18 (part)
#[test]
fn two_tabs_are_two_questions() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.signed("ada").await;
        let one = ada.open(&ask(READ, "")).await;
        let two = ada.open(&ask(BOTH, "")).await;
        assert!(allow(&mut ada, &two).await.location().starts_with(BACK));
        assert_eq!(house.granted(), ["invoices.pay invoices.read"]);
        assert!(allow(&mut ada, &one).await.location().starts_with(BACK));
        for shown in [&one, &two] {
            assert_eq!(allow(&mut ada, shown).await.status, StatusCode::CONFLICT);
        }
        assert_eq!(house.granted().len(), 2);
    });
}

/// Two tabs that both wait for sign-in: who signed in in one is asked in both, and the form of the
/// other still works.
#[test]
fn a_sign_in_page_that_was_left_open_leads_to_its_own_question() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.tab();
        let one = ada.open(&ask(READ, "&login_hint=ada")).await;
        let two = ada.open(&ask(BOTH, "&login_hint=ada")).await;
        let code = house.code("ada").await;
        let to_one = ada.send(&one, "by-code", &[("code", &code)]).await.location().to_owned();
        let question = ada.get(&to_one).await;
        assert!(question.page().id("consent").is_some());
        let first = ada.cookies["__Host-aims-session"].clone();
        // The same code is used up, and the session of the first tab is as it was.
        let again = ada.send(&two, "by-code", &[("code", &code)]).await;
        assert_ne!(again.status, StatusCode::SEE_OTHER);
        assert_eq!(ada.cookies["__Host-aims-session"], first);
        let code = house.code("ada").await;
        let to_two = ada.send(&two, "by-code", &[("code", &code)]).await.location().to_owned();
        assert_ne!(to_one, to_two);
        assert_ne!(ada.cookies["__Host-aims-session"], first, "new at each sign-in");
        assert!(ada.get(&to_two).await.page().text("target-0").contains("pay invoices"));
        // What the first tab shows is of the same person, and counts.
        assert!(allow(&mut ada, &question).await.location().starts_with(BACK));
        assert_eq!(house.granted(), [READ]);
    });
}

/// The session of the browser is another one than when the page was shown.
/// req: AUTHN-11 (part)
#[test]
fn a_page_that_was_left_open_is_not_answered_by_somebody_else() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let question = tab.open(&ask(READ, "")).await;
        // Signed out in another tab: the answer leads to sign-in, and back to the question.
        let home = tab.get("/console").await;
        let action = home.page().named("form").next().unwrap().attributes["action"].clone();
        assert_eq!(action, "/sign-out");
        let key = home.page().named("input").next().unwrap().attributes["value"].clone();
        let fields = [("form".to_owned(), key)];
        tab.post(&action, &fields, Some(crate::tab::origin())).await;
        assert!(!tab.cookies.contains_key("__Host-aims-session"));
        let answer = allow(&mut tab, &question).await;
        assert!(answer.location().starts_with("/sign-in?then=%2Finteraction%2F"));
        // Somebody else signs in there: what ada was shown is not what they answer.
        let sign_in = tab.open(answer.location()).await;
        let code = house.code("root").await;
        let fields = [("user", "root"), ("code", code.as_str())];
        let to = tab.send(&sign_in, "by-code", &fields).await.location().to_owned();
        assert!(to.starts_with("/interaction/"), "{to}");
        let answer = allow(&mut tab, &question).await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        assert!(answer.page().id("changed").is_some());
        assert!(house.granted().is_empty());
        // They are asked as who they are.
        assert!(allow(&mut tab, &answer).await.location().starts_with(BACK));
        let grants = house.world().store().every::<GrantRecord>();
        assert_eq!(grants[0].subject, "user:root");
    });
}

/// A page that was left open over night.
#[test]
fn an_expired_page_says_so_and_allows_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.signed("ada").await;
        let question = ada.open(&ask(READ, "")).await;
        let action = question.page().id("consent").unwrap().attributes["action"].clone();
        house.forth(LATE);
        // Her session may have ended, too: then she signs in first.
        if allow(&mut ada, &question).await.status == StatusCode::SEE_OTHER {
            ada = again(&house, ada).await;
        }
        for answer in [allow(&mut ada, &question).await, ada.get(&action).await] {
            assert_eq!(answer.status, StatusCode::GONE, "{}", answer.body);
            assert!(answer.page().text("notice").contains("go back to the application"));
        }
        assert!(house.granted().is_empty());
    });
}

/// Ada signs in again in the same browser.
async fn again(house: &House, mut tab: Tab) -> Tab {
    let page = tab.get("/sign-in").await;
    let code = house.code("ada").await;
    tab.send(&page, "by-code", &[("user", "ada"), ("code", &code)]).await;
    tab
}

/// Policy takes something away, or all of it, while the page is open; and gives it back.
/// req: AUTHZ-18 (part)
#[test]
fn a_page_that_was_left_open_while_policy_changed_is_shown_anew() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.signed("ada").await;
        let old = ada.open(&ask(BOTH, "")).await;
        let forbids = |scope: &str| {
            format!(
                "@id(\"no\") @reason(\"nobody does in November\")\n\
                 forbid(principal, action == Aims::Action::\"token.issue\", resource)\n\
                 when {{ context.scope.contains(\"{scope}\") }};"
            )
        };
        house.apply(&forbids("invoices.pay")).await;
        let new = allow(&mut ada, &old).await;
        assert_eq!(new.status, StatusCode::CONFLICT);
        let page = new.page();
        assert!(page.text("changed").contains("Nothing was allowed"));
        assert!(page.text("withheld-0").contains("nobody does in November"));
        assert!(!page.text("target-0").contains("pay invoices"));
        // The old page, by the back button: not even what is left of it.
        assert_eq!(allow(&mut ada, &old).await.status, StatusCode::CONFLICT);
        assert!(house.granted().is_empty());
        // What it took away is back: what was shown without it is not what is asked now.
        house.apply("").await;
        let newer = allow(&mut ada, &new).await;
        assert_eq!(newer.status, StatusCode::CONFLICT);
        assert!(newer.page().text("target-0").contains("pay invoices"));
        assert!(house.granted().is_empty());
        assert!(allow(&mut ada, &newer).await.location().starts_with(BACK));
        assert_eq!(house.granted(), ["invoices.pay invoices.read"]);
        // All of it is taken away: the client is told, and nothing is granted.
        let open = ada.open(&ask(READ, "&prompt=consent")).await;
        house.apply(&forbids(READ)).await;
        let answer = allow(&mut ada, &open).await;
        assert!(answer.location().contains("error=access_denied"), "{}", answer.location());
        assert_eq!(house.granted().len(), 1);
    });
}

/// Nobody is sent to an address that the client gave up while the page was open, nor to a client
/// that was disabled; and no refusal either.
/// req: AUTHZ-06 (part)
#[test]
fn a_page_that_was_left_open_while_the_client_changed_leads_nowhere_old() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.signed("ada").await;
        let question = ada.open(&ask(READ, "")).await;
        let original = (*house.world().store().single::<ClientRecord>(CLIENT).unwrap()).clone();
        let moved = |client: &mut ClientRecord| {
            let mut members = client.metadata.members().clone();
            let elsewhere = vec!["https://books.example/elsewhere"];
            members.insert("redirect_uris".to_owned(), elsewhere.into());
            *client = client.with_metadata(Metadata::new(&members).unwrap());
        };
        let disabled = |client: &mut ClientRecord| client.state = ClientState::Disabled;
        let edits: [&dyn Fn(&mut ClientRecord); 2] = [&moved, &disabled];
        for edit in edits {
            house.world().store().put(&original);
            house.edit_client(edit);
            for said in ["allow", "deny"] {
                let answer = ada.send(&question, "consent", &[("answer", said)]).await;
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{said}: {}", answer.body);
                assert!(!answer.headers.contains_key("location"));
                assert!(answer.page().id("error").is_some());
            }
        }
        assert!(house.granted().is_empty());
        // As it was: the question still stands.
        house.world().store().put(&original);
        assert!(allow(&mut ada, &question).await.location().starts_with(BACK));
    });
}

/// Who is stopped while their page is open is signed out of it.
/// req: AUTHN-11 (part)
#[test]
fn a_page_of_somebody_who_was_disabled_allows_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.signed("ada").await;
        let question = ada.open(&ask(READ, "")).await;
        let name = UserName::parse("ada").unwrap();
        let (world, operator) = (house.world(), house.domain.operator());
        for act in [UserAct::Disable, UserAct::Enable] {
            let done = orders::act(&*world, &operator, &name, act, "gone").await.unwrap();
            done.into_value().unwrap();
            let answer = allow(&mut ada, &question).await;
            assert!(answer.location().starts_with("/sign-in?"), "{act:?}");
        }
        assert!(house.granted().is_empty());
    });
}

/// An approval in two tabs, and one that was left open for too long.
/// req: AUTHZ-31 (part)
#[test]
fn an_approval_is_answered_in_one_tab_and_in_time() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let client = house.domain.client(&[GrantType::Ciba], false);
        let mut ada = house.signed("ada").await;
        let asked = async || {
            let body =
                format!("scope=openid+notices.read&resource={GATEWAY}/notices&login_hint=ada");
            let device_code = TokenText::parse("none").unwrap();
            let none = TokenRequest::DeviceCode(DeviceCode { device_code, resources: Vec::new() });
            let call = Call {
                form: Form::parse(body.as_bytes()).unwrap(),
                client: client.asks(none, house.domain.now()).client,
                attestation: None,
                dpop: Vec::new(),
                path: "/bc-authorize".to_owned(),
                certificates: Vec::new(),
                source: "192.0.2.7".to_owned(),
            };
            ciba::authorize(&*house.world(), &Throttle::default(), &call)
                .await
                .unwrap()
                .into_result()
                .unwrap();
            let all = house.world().store().every::<Approval>();
            all.iter().find(|one| one.state == State::Pending).unwrap().id.clone()
        };
        let place = format!("/console/approvals/{}", asked().await);
        let (one, two) = (ada.get(&place).await, ada.get(&place).await);
        let denied = ada.send(&two, "answer", &[("answer", "deny")]).await;
        assert_eq!(denied.status, StatusCode::OK);
        let late = ada.send(&one, "answer", &[("answer", "allow")]).await;
        assert_eq!(late.status, StatusCode::CONFLICT);
        assert!(late.page().text("notice").contains("Nothing was done"));
        // The form of one question answers no other.
        let other = format!("/console/approvals/{}", asked().await);
        let question = ada.get(&other).await;
        let mut fields = question.page().fields("answer");
        fields.push(("answer".to_owned(), "allow".to_owned()));
        let crossed = ada.post(&place, &fields, Some(crate::tab::origin())).await;
        assert_eq!(crossed.status, StatusCode::FORBIDDEN);
        house.forth(Span::from_seconds(301));
        let late = ada.send(&question, "answer", &[("answer", "allow")]).await;
        assert_eq!(late.status, StatusCode::CONFLICT, "{}", late.body);
        assert!(ada.get(&other).await.page().id("answer").is_none(), "nothing left to answer");
        assert!(house.granted().is_empty());
    });
}

/// Defect: a HEAD began a request, and answered one.
#[test]
fn rfc9110_9_2_1_a_look_begins_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.signed("ada").await;
        let head = |path: &str| {
            let request = Request::builder().method("HEAD").uri(path);
            request.body(axum::body::Body::empty()).unwrap()
        };
        let answer = tab.request(head(&ask("invoices.read", ""))).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers["allow"], "GET, POST");
        assert!(house.world().store().every::<Interaction>().is_empty());
        assert_eq!(tab.request(head("/end-session")).await.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(tab.get("/console").await.status, StatusCode::OK);
    });
}

/// RFC 6585 §4.
#[test]
fn s2_a_browser_that_begins_too_often_is_told_when_to_come_again() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut tab = house.tab();
        let asked = ask("invoices.read", "");
        for _ in 0..BEGUN_OF_SOURCE.burst {
            tab.get(&asked).await.location();
        }
        let answer = tab.get(&asked).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers["retry-after"], "1");
        assert!(answer.page().text("notice").contains("in 1 s"), "{}", answer.body);
    });
}
