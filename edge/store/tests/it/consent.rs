//! Answers to what clients ask over the real stores: a hundred tasks, and one is served.

use std::collections::BTreeSet;
use std::sync::Arc;

use approve::shares::Shares;
use authorization::granted::{Code, GrantRecord};
use authorization::interaction::{Over, Pushed};
use consent::{Answer, Begun, Settled, Shown};
use env::{Change, Entity, Expect, Index, Journal, Store, World, Write};
use oauth::pushed::RequestUri;
use people::browser::Browser;
use people::orders::{self, NewUser};
use people::sign_in;
use people::throttle::Throttle;
use registry::{ClientRecord, Metadata, UserName};
use store::{Memory, Sqlite};
use testkit::fixture::GATEWAY;
use time::Span;
use tokio::task::JoinSet;

use crate::journal::Tape;
use crate::people::{Server, server};
use crate::suite::{T0, record};

const MANY: usize = 100;
const CLIENT: &str = "client-books";
const BACK: &str = "https://books.example/back";

/// req: AUTHZ-06 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rfc6749_4_1_2_of_many_answers_one_is_served_from_memory() {
    let tape = Arc::new(Tape::default());
    one_is_served(Memory::open(tape as Arc<dyn Journal>)).await;
}

/// req: AUTHZ-06 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rfc6749_4_1_2_of_many_answers_one_is_served_from_sqlite() {
    let tape = Arc::new(Tape::default());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    one_is_served(Sqlite::open(&path, tape as Arc<dyn Journal>).unwrap()).await;
}

/// A client, a user who is signed in, and a request that was pushed. The cookie, and its reference.
async fn begun<S: Store>(server: &Server<S>) -> (String, RequestUri) {
    let metadata = r#"{"token_endpoint_auth_method":"spiffe_wit",
        "grant_types":["authorization_code"],"spiffe_id":"spiffe://demo.example/books"}"#;
    let mut members: serde_json::Map<_, _> = serde_json::from_str(metadata).unwrap();
    members.insert("redirect_uris".to_owned(), vec![BACK].into());
    let client = ClientRecord::new(CLIENT.to_owned(), Metadata::new(&members).unwrap(), T0);
    let uri = RequestUri::of_random(&[9; 32]);
    let pushed = Pushed {
        hash: jose::TokenHash::of(uri.as_str()).to_base64url(),
        client_id: CLIENT.to_owned(),
        parameters: format!(
            "client_id={CLIENT}&response_type=code&redirect_uri={BACK}&code_challenge_method=S256\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
             &resource={GATEWAY}/invoices&scope=invoices.read"
        ),
        signed: false,
        until: T0.plus(Span::from_seconds(90)),
        begun: None,
        used: None,
        refused: false,
    };
    let writes = vec![Write::put(&client, Expect::Absent), Write::put(&pushed, Expect::Absent)];
    let change = Change { writes, uses: Vec::new(), records: vec![record("client")] };
    server.store().commit(change).await.unwrap();
    let operator = basis::turns::Operator("uid:1000".to_owned());
    let name = UserName::parse("ada").unwrap();
    let new =
        NewUser { name: name.clone(), display_name: None, email: None, roles: BTreeSet::new() };
    orders::add(server, &operator, &new).await.unwrap().into_value().unwrap();
    let code = orders::code(server, &operator, &name, 1, orders::CODE_LIFE).await.unwrap();
    let code = code.into_value().unwrap().text.expose().to_owned();
    let throttle = Throttle::default();
    let done = sign_in::by_code(server, &throttle, &browser(None), "ada", &code).await.unwrap();
    (done.into_result().unwrap().cookie.expose().to_owned(), uri)
}

const fn browser(session: Option<&str>) -> Browser<'_> {
    Browser { name: "b", session, source: "192.0.2.1", agent: "b" }
}

async fn rows<E: Entity, S: Store>(server: &Server<S>) -> usize {
    let page = server.store().scan(E::TABLE, Index::All, "", None, 2 * MANY).await.unwrap();
    page.rows.len()
}

/// The same interaction in half of the tasks, others of the same pushed request in the rest.
async fn one_is_served<S: Store>(store: S) {
    let server = server(store).await;
    let (cookie, uri) = begun(&server).await;
    let query = format!("client_id={CLIENT}&request_uri={}", uri.as_str());
    let mut names = Vec::new();
    for _ in 0..=MANY / 2 {
        let here = browser(Some(&cookie));
        match consent::begin(&*server, &Shares::default(), &here, query.as_bytes()).await.unwrap() {
            Begun::Interaction(name) => names.push(name),
            other => panic!("{other:?}"),
        }
    }
    let first = names[0].clone();
    let shown = consent::show(&*server, &browser(Some(&cookie)), &first).await.unwrap();
    let Shown::Ask(asking, _) = shown else { panic!("{shown:?}") };
    let mut tasks = JoinSet::new();
    for at in 0..MANY {
        let name = names.get(at).unwrap_or(&first).clone();
        let (server, cookie) = (Arc::clone(&server), cookie.clone());
        let said = Answer { allow: Some(asking.whole()), seen: asking.seen() };
        tasks.spawn(async move {
            let here = browser(Some(&cookie));
            consent::answer(&*server, &here, &name, &said).await.unwrap()
        });
    }
    let settled = tasks.join_all().await;
    let replies = settled.iter().filter(|one| matches!(one, Settled::Reply(_))).count();
    let over = settled.iter().filter(|one| matches!(one, Settled::Over(Over::Answered { .. })));
    assert_eq!((replies, over.count()), (1, MANY - 1));
    let kept = (rows::<GrantRecord, S>(&server).await, rows::<Code, S>(&server).await);
    assert_eq!(kept, (1, 1));
}
