//! What serves once at the token endpoint, over the real stores: a hundred tasks, and one is served.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use approval::{Approval, State};
use approve::answer::{self, Said};
use approve::shares::Shares;
use approve::{ciba, device, notify};
use authorization::granted::{GrantRecord, refresh};
use env::{Change, Clock, Entity, Entropy, Expect, Index, Journal, Key, Store, World, Write};
use flow::token::{self, Refusal};
use oauth::TokenText;
use oauth::form::Form;
use oauth::token_request::{Ciba, DeviceCode, GrantType, TokenRequest};
use oauth::token_response::TokenResponse;
use people::browser::Browser;
use people::end::Check;
use people::orders::{self, NewUser};
use people::sign_in;
use people::throttle::Throttle;
use policy::Files;
use registry::{ClientRecord, Metadata, UserName};
use store::{Memory, Sqlite};
use testkit::fixture::{
    ADA, Client, GATEWAY, client_row, code_request, code_row, files, grant_row, refresh_request,
};
use testkit::{Seed, SimEntropy};
use tokio::task::JoinSet;

use crate::journal::Tape;
use crate::people::Server;
use crate::suite::record;

pub(crate) const MANY: usize = 100;
const GRANTS: [GrantType; 6] = [
    GrantType::AuthorizationCode,
    GrantType::RefreshToken,
    GrantType::DeviceCode,
    GrantType::Ciba,
    GrantType::ClientCredentials,
    GrantType::Deferred,
];

/// A server with a person who is signed in, a client with a key, and a public one.
pub(crate) struct House<S> {
    pub(crate) server: Arc<Server<S>>,
    pub(crate) keyed: Arc<Client>,
    pub(crate) public: Arc<Client>,
    pub(crate) cookie: String,
}

impl<S: Store> House<S> {
    pub(crate) async fn open(store: S, seed: Seed) -> Self {
        Self::with(store, seed, files()).await
    }

    /// Under this policy.
    pub(crate) async fn with(store: S, seed: Seed, files: Files) -> Self {
        let server = Arc::new(Server::new(store, seed));
        let ready = flow::boot::ready(&*server, files, &["localhost".to_owned()]).await;
        ready.unwrap().unwrap();
        let entropy: &SimEntropy = server.entropy();
        let mut clients = Vec::new();
        for (id, public) in [("client-keyed", false), ("client-public", true)] {
            let (mut client, mut row) = client_row(&GRANTS, public, entropy, server.clock().now());
            // Under the same id in each life of a store.
            (client.id, row.client_id) = (id.to_owned(), id.to_owned());
            put(&server, vec![Write::put(&row, Expect::Any)]).await;
            clients.push(Arc::new(client));
        }
        let [keyed, public] = <[_; 2]>::try_from(clients).ok().unwrap();
        let cookie = sign_in(&server).await;
        Self { server, keyed, public, cookie }
    }

    /// What Ada granted the client under this id, and a code that leads there.
    pub(crate) async fn code(&self, id: &str, client: &Client) -> String {
        let (now, secret) = (self.server.clock().now(), self.server.entropy().secret());
        let of = (id, client.id.as_str(), ADA);
        let grant = grant_row(of, &format!("{GATEWAY}/notices"), "notices.read", "openid", now);
        let (text, code) = code_row(&grant, &secret, now);
        let writes = vec![Write::put(&grant, Expect::Absent), Write::put(&code, Expect::Absent)];
        put(&self.server, writes).await;
        text
    }

    pub(crate) async fn ask(
        &self,
        client: &Client,
        request: TokenRequest,
    ) -> Result<TokenResponse, Refusal> {
        ask(&self.server, client, request).await
    }

    /// A request of the client with a key that gets somebody asked.
    fn call(&self, body: &str) -> approve::caller::Call {
        let request = device_request("none");
        let proved = self.keyed.asks(request, self.server.clock().now());
        approve::caller::Call {
            form: Form::parse(body.as_bytes()).unwrap(),
            client: proved.client,
            attestation: None,
            dpop: Vec::new(),
            path: "/bc-authorize".to_owned(),
            certificates: Vec::new(),
            source: "192.0.2.7".to_owned(),
        }
    }

    /// A device code that Ada allowed.
    pub(crate) async fn device(&self) -> String {
        let body = format!("scope=notices.read&resource={GATEWAY}/notices");
        let asked =
            device::authorize(&*self.server, &Shares::default(), &self.call(&body)).await.unwrap();
        let asked = asked.into_result().unwrap();
        let throttle = Throttle::default();
        let found = device::find(&*self.server, &throttle, &browser(None), &asked.user_code).await;
        let shown = found.unwrap().unwrap();
        let allowed = say(&self.server, &self.cookie, &shown, true, Some(&asked.user_code)).await;
        assert_eq!(allowed, Ok(State::Allowed));
        asked.device_code
    }

    /// An `auth_req_id`, and what Ada is asked by it.
    async fn backchannel(&self) -> (String, Approval) {
        self.backchannel_with("").await
    }

    async fn backchannel_with(&self, more: &str) -> (String, Approval) {
        let asked = "scope=openid+notices.read&login_hint=ada";
        let body = format!("{asked}&resource={GATEWAY}/notices{more}");
        let asked =
            ciba::authorize(&*self.server, &Throttle::default(), &self.call(&body)).await.unwrap();
        let asked = asked.into_result().unwrap().auth_req_id;
        (asked, self.pending().await)
    }

    /// The one approval that waits for an answer.
    pub(crate) async fn pending(&self) -> Approval {
        let (table, all) = (Approval::TABLE, Index::All);
        let page = self.server.store().scan(table, all, "", None, MANY).await.unwrap();
        let approvals = page.rows.iter().map(|row| row.value::<Approval>().unwrap().unwrap());
        let waits: Vec<_> = approvals.filter(|one| one.state == State::Pending).collect();
        let [one] = waits.as_slice() else { panic!("{waits:?}") };
        (**one).clone()
    }

    /// An `auth_req_id` that she allowed.
    pub(crate) async fn allowed(&self) -> String {
        let (id, shown) = self.backchannel().await;
        let allowed = say(&self.server, &self.cookie, &shown, true, None).await;
        assert_eq!(allowed, Ok(State::Allowed));
        id
    }

    pub(crate) async fn grant(&self, id: &str) -> GrantRecord {
        let rows = self.server.store().snapshot(&[Key::of::<GrantRecord>(id)]).await.unwrap();
        (*rows.get::<GrantRecord>(id).unwrap().unwrap().value).clone()
    }

    async fn count<E: Entity>(&self) -> usize {
        let page = self.server.store().scan(E::TABLE, Index::All, "", None, MANY).await.unwrap();
        page.rows.len()
    }
}

pub(crate) async fn put<S: Store>(server: &Server<S>, writes: Vec<Write>) {
    let change = Change { writes, uses: Vec::new(), records: vec![record("put")] };
    server.store().commit(change).await.unwrap();
}

const fn browser(session: Option<&str>) -> Browser<'_> {
    Browser { name: "b", session, source: "192.0.2.1", agent: "b" }
}

/// The cookie of a session of Ada, who is added if nobody did before.
pub(crate) async fn sign_in<S: Store>(server: &Server<S>) -> String {
    let operator = basis::turns::Operator("uid:1000".to_owned());
    let name = UserName::parse("ada").unwrap();
    let roles = BTreeSet::from(["finance".to_owned()]);
    let new = NewUser { name: name.clone(), display_name: None, email: None, roles };
    // Refused where an earlier life of the store has her.
    orders::add(server, &operator, &new).await.unwrap().into_value().ok();
    let code = orders::code(server, &operator, &name, 1, orders::CODE_LIFE).await.unwrap();
    let code = code.into_value().unwrap().text.expose().to_owned();
    let throttle = Throttle::default();
    let done = sign_in::by_code(server, &throttle, &browser(None), "ada", &code).await.unwrap();
    done.into_result().unwrap().cookie.expose().to_owned()
}

pub(crate) async fn say<S: Store>(
    server: &Server<S>,
    cookie: &str,
    shown: &Approval,
    allow: bool,
    user_code: Option<&str>,
) -> Result<State, &'static str> {
    let said = Said { id: &shown.id, allow, shown: &shown.hash, user_code };
    let ended = answer::answer(server, &browser(Some(cookie)), said).await.unwrap();
    ended.into_result().map(|one| one.state).map_err(|refusal| refusal.check())
}

pub(crate) async fn ask<S: Store>(
    server: &Server<S>,
    client: &Client,
    request: TokenRequest,
) -> Result<TokenResponse, Refusal> {
    match token::answer(server, client.asks(request, server.clock().now())).await.unwrap() {
        token::End::Stranger(refusal) => Err(refusal.into()),
        token::End::Unproved(refusal) => Err(refusal),
        token::End::Decided(recorded) => recorded.into_value(),
    }
}

pub(crate) fn device_request(code: &str) -> TokenRequest {
    let device_code = TokenText::parse(code).unwrap();
    TokenRequest::DeviceCode(DeviceCode { device_code, resources: Vec::new() })
}

pub(crate) fn ciba_request(id: &str) -> TokenRequest {
    let auth_req_id = TokenText::parse(id).unwrap();
    TokenRequest::Ciba(Ciba { auth_req_id, resources: Vec::new() })
}

pub(crate) fn refreshing(token: &str) -> TokenRequest {
    refresh_request(token, &format!("{GATEWAY}/notices"), "")
}

/// The ends of a hundred tasks that run at once.
pub(crate) async fn race<T: Send + 'static, F>(each: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for at in 0..MANY {
        tasks.spawn(each(at));
    }
    tasks.join_all().await
}

/// The same request of the same client, a hundred times at once: what was given, and how often
/// each check refused.
async fn ask_at_once<S: Store>(
    house: &House<S>,
    client: &Arc<Client>,
    request: &TokenRequest,
) -> (Vec<TokenResponse>, BTreeMap<&'static str, usize>) {
    let ends = race(|_| {
        let (server, client) = (Arc::clone(&house.server), Arc::clone(client));
        let request = request.clone();
        async move { ask(&server, &client, request).await }
    });
    let (mut given, mut refused) = (Vec::new(), BTreeMap::new());
    for end in ends.await {
        match end {
            Ok(response) => given.push(response),
            Err(refusal) => *refused.entry(refusal.check()).or_default() += 1,
        }
    }
    (given, refused)
}

pub(crate) fn memory() -> Memory {
    Memory::open(Arc::new(Tape::default()) as Arc<dyn Journal>)
}

pub(crate) fn sqlite(dir: &Path) -> Sqlite {
    Sqlite::open(&dir.join("state.db"), Arc::new(Tape::default()) as Arc<dyn Journal>).unwrap()
}

/// req: AUTHZ-06 (part), AUTHZ-09 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rfc6749_4_1_2_of_many_uses_of_one_code_one_is_served_by_every_store() {
    of_one_code(House::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_code(House::open(sqlite(dir.path()), Seed(7)).await).await;
}

/// Keycloak's race of refresh tokens (docs/past-defects.md 5).
/// req: AUTHZ-09 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn past_defect_05_of_many_uses_of_one_refresh_token_one_successor_is_made_by_every_store() {
    of_one_refresh_token(House::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_refresh_token(House::open(sqlite(dir.path()), Seed(7)).await).await;
}

/// req: AUTHZ-19 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rfc8628_3_4_of_many_uses_of_one_device_code_one_is_served_by_every_store() {
    of_one_device_code(House::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_device_code(House::open(sqlite(dir.path()), Seed(7)).await).await;
}

/// req: AUTHZ-17 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ciba_10_1_of_many_uses_of_one_auth_req_id_one_is_served_by_every_store() {
    of_one_auth_req_id(House::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_auth_req_id(House::open(sqlite(dir.path()), Seed(7)).await).await;
}

/// req: AUTHZ-31 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s10_6_of_many_answers_to_one_approval_one_counts_in_every_store() {
    of_one_approval(House::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_approval(House::open(sqlite(dir.path()), Seed(7)).await).await;
}

async fn of_one_code<S: Store>(house: House<S>) {
    let code = house.code("grant-1", &house.keyed).await;
    let (given, refused) = ask_at_once(&house, &house.keyed, &code_request(&code)).await;
    assert_eq!((given.len(), refused.values().sum::<usize>()), (1, MANY - 1));
    // Of one that read the code before the others used it, and the grant after they ended it.
    let others = refused.keys().all(|check| ["grants::CodeUsed", "grants::Over"].contains(check));
    assert!(others, "{refused:?}");
    // RFC 6749 §4.1.2: "the authorization server [...] SHOULD revoke (when possible) all tokens
    // previously issued based on that authorization code."
    assert!(house.grant("grant-1").await.ended.is_some());
}

async fn of_one_refresh_token<S: Store>(house: House<S>) {
    let code = house.code("grant-1", &house.public).await;
    let first = house.ask(&house.public, code_request(&code)).await.unwrap();
    let old = first.refresh_token.unwrap();
    let (given, refused) = ask_at_once(&house, &house.public, &refreshing(&old)).await;
    assert_eq!((given.len(), refused.len()), (MANY, 0), "{refused:?}");
    let successors: BTreeSet<_> = given.into_iter().map(|one| one.refresh_token.unwrap()).collect();
    assert_eq!(successors.len(), 1);
    assert_eq!(house.grant("grant-1").await.refresh.unwrap().generation, 2);
    // The same client gets that one again, for ten seconds, and ends the family after them.
    let seconds = refresh::RETRY.seconds();
    house.server.clock().forth(seconds - 1);
    let again = house.ask(&house.public, refreshing(&old)).await.unwrap();
    assert_eq!(again.refresh_token.as_ref(), successors.first());
    house.server.clock().forth(2);
    let (given, refused) = ask_at_once(&house, &house.public, &refreshing(&old)).await;
    assert!(given.is_empty());
    assert!(refused.contains_key("grants::RefreshReused"), "{refused:?}");
    assert!(house.grant("grant-1").await.ended.is_some());
    for token in successors {
        assert!(house.ask(&house.public, refreshing(&token)).await.is_err(), "the family is over");
    }
}

async fn of_one_device_code<S: Store>(house: House<S>) {
    let code = house.device().await;
    let (given, refused) = ask_at_once(&house, &house.keyed, &device_request(&code)).await;
    assert_eq!(given.len(), 1);
    assert_eq!(refused, BTreeMap::from([("grants::WaitUsed", MANY - 1)]));
}

async fn of_one_auth_req_id<S: Store>(house: House<S>) {
    let id = house.allowed().await;
    let (given, refused) = ask_at_once(&house, &house.keyed, &ciba_request(&id)).await;
    assert_eq!(given.len(), 1);
    assert_eq!(refused, BTreeMap::from([("grants::WaitUsed", MANY - 1)]));
}

/// Of many servers that find the same answer, one makes the tokens that are pushed.
/// req: AUTHZ-17 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ciba_10_3_1_of_many_pushes_of_one_answer_one_is_made_by_every_store() {
    of_one_push(House::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_push(House::open(sqlite(dir.path()), Seed(7)).await).await;
}

/// A hundred questions to one person at once: as many are put as may wait, and no more.
/// req: AUTHZ-17 (part), AUTHZ-31 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ciba_14_of_many_questions_at_once_as_many_wait_as_may_in_every_store() {
    of_many_questions(House::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_many_questions(House::open(sqlite(dir.path()), Seed(7)).await).await;
}

/// Of one client, for one person (docs/approvals.md).
const WAIT_MAX: usize = 8;

async fn of_many_questions<S: Store>(house: House<S>) {
    let asked = "scope=openid+notices.read&login_hint=ada";
    let body = format!("{asked}&resource={GATEWAY}/notices");
    let ends = race(|_| {
        let (server, call) = (Arc::clone(&house.server), house.call(&body));
        async move {
            let end = ciba::authorize(&*server, &Throttle::default(), &call).await.unwrap();
            end.into_result().map(|_| ()).map_err(|refusal| refusal.check())
        }
    });
    let ends = ends.await;
    let refused = ends.iter().filter(|end| **end == Err("approve::TooManyWait")).count();
    assert_eq!(
        (ends.iter().filter(|end| end.is_ok()).count(), refused),
        (WAIT_MAX, MANY - WAIT_MAX)
    );
    assert_eq!(house.count::<Approval>().await, WAIT_MAX);
}

async fn of_one_push<S: Store>(house: House<S>) {
    let id = &house.keyed.id;
    let rows = house.server.store().snapshot(&[Key::of::<ClientRecord>(id)]).await.unwrap();
    let client = rows.get::<ClientRecord>(id).unwrap().unwrap().value;
    let mut members = client.metadata.members().clone();
    for (name, value) in [
        ("backchannel_token_delivery_mode", "push"),
        ("backchannel_client_notification_endpoint", "https://client.example/notified"),
    ] {
        members.insert(name.to_owned(), value.into());
    }
    let client = client.with_metadata(Metadata::new(&members).unwrap());
    put(&house.server, vec![Write::put(&client, Expect::Any)]).await;
    let (_, shown) = house.backchannel_with("&client_notification_token=8d67dc78").await;
    let allowed = say(&house.server, &house.cookie, &shown, true, None).await;
    assert_eq!(allowed, Ok(State::Allowed));
    let due = notify::agenda(&*house.server).await.unwrap().due;
    let [ticket] = due.as_slice() else { panic!("{due:?}") };
    let ends = race(|_| {
        let (server, ticket) = (Arc::clone(&house.server), ticket.clone());
        async move { token::push::push(&*server, &ticket).await.unwrap() }
    });
    let made: Vec<_> = ends.await.into_iter().flatten().collect();
    let [one] = made.as_slice() else { panic!("{} were made", made.len()) };
    assert!(one.value().as_ref().is_ok_and(|tokens| tokens.id_token.is_some()), "{one:?}");
}

async fn of_one_approval<S: Store>(house: House<S>) {
    let (_, shown) = house.backchannel().await;
    let ends = race(|at| {
        let (server, cookie) = (Arc::clone(&house.server), house.cookie.clone());
        let shown = shown.clone();
        async move { say(&server, &cookie, &shown, at % 2 == 0, None).await }
    });
    let ends = ends.await;
    let counted: Vec<_> = ends.iter().filter_map(|end| end.as_ref().ok()).collect();
    let [one] = counted.as_slice() else { panic!("{counted:?}") };
    let late = ends.iter().filter(|end| **end == Err("approval::Unmoved"));
    assert_eq!(late.count(), MANY - 1, "{ends:?}");
    assert_eq!(house.count::<GrantRecord>().await, usize::from(**one == State::Allowed));
}
