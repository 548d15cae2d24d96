//! What else serves once, over the real stores: assertions and proofs by their `jti`, deferral
//! codes, the places of status lists, and a call that a human approved. A hundred tasks each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use approval::{Act, call_detail};
use approve::deferred;
use basis::facts::basis;
use basis::sign;
use credential::{KeyRing, Purpose};
use env::rows::{Feed, StatusEntry};
use env::{Clock, Entity, Expect, Index, Key, Keys, Store, World, Write};
use flow::call::{self, Answer, Delegate, End, Verdicts};
use flow::token::{self, Refusal};
use gateway::Call;
use jose::{Algorithm, KeySet, SigningInput, Unverified};
use oauth::TokenText;
use oauth::access_token::AccessToken;
use oauth::token_request::{Deferred, TokenRequest};
use oauth::token_response::TokenResponse;
use policy::Files;
use serde_json::json;
use testkit::fixture::{
    Domain, DpopKey, GATEWAY, ISSUER, code_request, credentials, files, files_but, http_call,
    with_dpop,
};
use testkit::{Seed, Sim};
use time::Span;

use crate::people::Server;
use crate::redeemed::{House, MANY, memory, put, race, say, sqlite};

/// Runs a story over the memory store, and over SQLite.
macro_rules! by_every_store {
    ($story:ident, $files:expr) => {
        $story(House::with(memory(), Seed(7), $files).await).await;
        let dir = tempfile::tempdir().unwrap();
        $story(House::with(sqlite(dir.path()), Seed(7), $files).await).await;
    };
}

fn notices() -> String {
    format!("{GATEWAY}/notices")
}

/// What these requests came to: what was given, and how often each check refused.
async fn ask_all<S: Store>(
    house: &House<S>,
    calls: Vec<token::Call>,
) -> (Vec<TokenResponse>, BTreeMap<&'static str, usize>) {
    let calls = Arc::new(calls);
    let ends = race(|at| {
        let (server, calls) = (Arc::clone(&house.server), Arc::clone(&calls));
        async move {
            match token::answer(&*server, calls[at].clone()).await.unwrap() {
                token::End::Stranger(refusal) => Err(Refusal::from(refusal)),
                token::End::Unproved(refusal) => Err(refusal),
                token::End::Decided(recorded) => recorded.into_value(),
            }
        }
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

/// docs/past-defects.md 17.
/// req: AUTHZ-23 (part), AUTHN-05 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn past_defect_17_of_many_uses_of_one_assertion_one_is_served_by_every_store() {
    by_every_store!(of_one_assertion, files());
}

async fn of_one_assertion<S: Store>(house: House<S>) {
    let request = credentials(&notices(), "notices.read");
    let call = house.keyed.asks(request, house.server.clock().now());
    let (given, refused) = ask_all(&house, vec![call; MANY]).await;
    assert_eq!(given.len(), 1);
    assert_eq!(refused, BTreeMap::from([("token::Replayed", MANY - 1)]));
}

/// docs/past-defects.md 19. Each request has an assertion of its own, and all the same proof.
/// req: AUTHZ-02 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rfc9449_11_1_of_many_uses_of_one_proof_one_is_served_by_every_store() {
    by_every_store!(of_one_proof, files());
}

async fn of_one_proof<S: Store>(house: House<S>) {
    let (now, at) = (house.server.clock().now(), format!("{ISSUER}/token"));
    let key = DpopKey::with(house.server.entropy());
    let proof = key.proof(("POST", &at), None, None, now);
    let request = || credentials(&notices(), "notices.read");
    let call = |_| with_dpop(house.keyed.asks(request(), now), proof.clone());
    let (given, refused) = ask_all(&house, (0..MANY).map(call).collect()).await;
    assert_eq!(given.len(), 1);
    assert_eq!(refused, BTreeMap::from([("token::DpopReplayed", MANY - 1)]));
}

/// req: AUTHZ-17 (part), AUTHZ-31 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s10_6_of_many_uses_of_one_deferral_code_one_is_served_by_every_store() {
    by_every_store!(of_one_deferral, deferring());
}

fn deferring() -> Files {
    let domain = files().get("domain.toml").unwrap().to_owned();
    let domain = format!("{domain}\n[approvals]\nask = \"role:finance\"\ndeferred = true");
    let access = r#"
        @id("duty") @obligations("approval")
        permit(principal, action == Aims::Action::"token.issue", resource);
    "#;
    files_but(&[("domain.toml", &domain), ("access/main.cedar", access)])
}

async fn of_one_deferral<S: Store>(house: House<S>) {
    let request = credentials(&notices(), "notices.read");
    let wanting = match house.ask(&house.keyed, request).await {
        Err(Refusal::Unapproved(wanting)) => *wanting,
        other => panic!("{other:?}"),
    };
    let deferral = deferred::defer(&*house.server, wanting).await.unwrap().into_value().unwrap();
    let shown = house.pending().await;
    say(&house.server, &house.cookie, &shown, true, None).await.unwrap();
    let deferral_code = TokenText::parse(&deferral.deferral_code).unwrap();
    let now = house.server.clock().now();
    let call = |_| {
        let deferral_code = deferral_code.clone();
        house.keyed.asks(TokenRequest::Deferred(Deferred { deferral_code }), now)
    };
    let (given, refused) = ask_all(&house, (0..MANY).map(call).collect()).await;
    assert_eq!(given.len(), 1);
    assert_eq!(refused, BTreeMap::from([("grants::WaitUsed", MANY - 1)]));
}

/// Token Status List §12.5: no two tokens have one place.
/// req: AUTHZ-04 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn status_12_5_many_tokens_at_once_have_places_of_their_own_in_every_store() {
    let notices = files().get("resources/notices.toml").unwrap().to_owned();
    let notices = format!("status = true\n{notices}");
    let files = || files_but(&[("resources/notices.toml", &notices)]);
    by_every_store!(of_many_places, files());
}

async fn of_many_places<S: Store>(house: House<S>) {
    let mut calls = Vec::new();
    for n in 0..MANY {
        let code = house.code(&format!("grant-{n}"), &house.keyed).await;
        calls.push(house.keyed.asks(code_request(&code), house.server.clock().now()));
    }
    let (given, refused) = ask_all(&house, calls).await;
    assert_eq!((given.len(), refused.len()), (MANY, 0), "{refused:?}");
    let (table, all) = (StatusEntry::TABLE, Index::All);
    let page = house.server.store().scan(table, all, "", None, 2 * MANY).await.unwrap();
    let rows = page.rows.iter().map(|row| row.value::<StatusEntry>().unwrap().unwrap());
    let places: BTreeSet<_> = rows.map(|one| (one.list.clone(), one.index)).collect();
    assert_eq!(places.len(), MANY);
}

/// What a gateway does with a token for one approved call, over the store of its own.
/// req: AUTHZ-31 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn txn_challenge_5_of_many_uses_of_one_approved_call_one_is_forwarded_by_every_store() {
    // A call that may have effects: its decision is durable before it is forwarded.
    let notices = files().get("resources/notices.toml").unwrap().replace("read_only = true", "");
    let files = || files_but(&[("resources/notices.toml", &notices)]);
    by_every_store!(of_one_approved_call, files());
}

/// An upstream that answers.
struct Fine;

impl Answer for Fine {
    fn status(&self) -> u16 {
        200
    }
}

async fn of_one_approved_call<S: Store>(mut house: House<S>) {
    // What a gateway asks of its server is leave to sign for what stands behind it.
    let sim = Sim::new(Seed(8));
    let domain = sim.run(Domain::start(&sim));
    Arc::get_mut(&mut house.server).unwrap().peers = domain.gateway.world().peers().clone();
    let delegate = Delegate::default();
    delegate.renew(&*house.server).await.unwrap();
    let code = house.code("grant-1", &house.keyed).await;
    let plain = house.ask(&house.keyed, code_request(&code)).await.unwrap().access_token;
    let call = |token: &str| http_call("GET", "/notices/7", token);
    let approved = for_one_call(&house.server, &plain, &call("none")).await;
    let feed = Feed { heard: house.server.clock().now(), seq: 0 };
    put(&house.server, vec![Write::put(&feed, Expect::Any)]).await;
    let gateway = Arc::new((delegate, Verdicts::default()));
    let forwarded = Arc::new(AtomicUsize::new(0));
    let ends = race(|_| {
        let (server, gateway) = (Arc::clone(&house.server), Arc::clone(&gateway));
        let (call, forwarded) = (call(&approved), Arc::clone(&forwarded));
        async move {
            let send = async |_| {
                forwarded.fetch_add(1, Ordering::SeqCst);
                Ok(Fine)
            };
            match call::call(&*server, &gateway.0, &gateway.1, call, send).await.unwrap() {
                End::Forwarded(..) => Ok(()),
                End::Refused(recorded) => Err(recorded.into_value().refusal),
                End::Stranger(refused) => Err(refused.refusal),
            }
        }
    });
    let ends = ends.await;
    assert_eq!(forwarded.load(Ordering::SeqCst), 1, "{ends:?}");
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
    for refusal in ends.into_iter().filter_map(Result::err) {
        assert_eq!(refusal, gateway::Refusal::Spent);
    }
}

/// The token as it is issued for this one call, once a human approved it.
async fn for_one_call<S: Store>(server: &Server<S>, plain: &str, call: &Call) -> String {
    let purpose = Purpose::AccessToken;
    let facts = basis(server, vec![Key::of::<KeyRing>(purpose.name())]).await.unwrap();
    let resource = facts.set().resource_named("notices").unwrap();
    let wanted = gateway::map(call, resource).unwrap();
    let act: Act = gateway::approve::act(call, &wanted).unwrap();
    let detail = call_detail::to_value(&act, &notices(), false);
    let ring = facts.rows.get::<KeyRing>(purpose.name()).unwrap().unwrap();
    let keys = KeySet::new(ring.keys.iter().map(|key| key.public.clone()).collect()).unwrap();
    let (now, algorithms) = (server.clock().now(), [Algorithm::Es256]);
    let plain = Unverified::<AccessToken>::parse(plain).unwrap();
    let plain = plain.verify(&keys, &algorithms, now, Span::ZERO).unwrap();
    let mut claims = serde_json::to_value(plain.claims()).unwrap();
    claims["authorization_details"] = json!([detail]);
    claims["txn"] = "txn-1".into();
    let claims = serde_json::from_value(claims).unwrap();
    let signer = sign::signer(&ring, now).unwrap();
    let input = SigningInput::<AccessToken>::new(Algorithm::Es256, Some(&signer.kid), &claims);
    let input = input.unwrap();
    let signature = server.keys().sign(&sign::handle(purpose, signer), input.bytes()).await;
    input.attach(signature.unwrap()).into_string()
}
