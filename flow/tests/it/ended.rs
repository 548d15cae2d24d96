//! What people granted ends: at the server and at the gateway, once and for all.

use authorization::granted::Ended;
use env::World;
use flow::clients as orders;
use flow::ends::{self, Ending};
use oauth::token_request::GrantType;
use registry::{ClientRecord, ClientState, Metadata};
use testkit::boxed;
use testkit::fixture::{
    ADA, Domain, DpopKey, by_wit, code_request, credentials, exchange, http_call, registration,
    story, with_dpop,
};
use time::Span;

use crate::grants::House;

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const TOKEN: &str = "https://aims.demo.example:8443/token";
const MANY: usize = 100;

/// To end anything ends everything below it, at the server and at the gateway.
/// req: OBS-10 (part)
#[test]
fn s11_an_end_reaches_all_that_came_of_it_and_nothing_else() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.person(ADA);
        for name in ["clerk", "helper"] {
            domain.register(registration(name, &["invoices"])).await;
        }
        let clerk = domain.party("/opt/clerk").await;
        let helper = domain.party("/opt/helper").await;
        let grant = domain.grant(("grant-1", &clerk.id, ADA), &helper.id, "notices.read", "");
        let world = domain.server.world();
        let ending = Ending::by(ADA, "enough");
        let code = domain.code(&grant, |_| ());
        let root = domain.token(by_wit(&clerk, code_request(&code), domain.now())).await;
        let below = async |token: &str, target: &str| {
            let request = exchange(token, target, "notices.read");
            domain.ask(by_wit(&helper, request, domain.now())).await
        };
        // Two children of one token, and a child of the first of them.
        let first = below(&root, &helper.id).await.unwrap().access_token;
        let second = below(&root, NOTICES).await.unwrap().access_token;
        let third = below(&first, NOTICES).await.unwrap().access_token;
        let lineage = domain.read(&third).unwrap().lineage();
        assert_eq!(lineage.len(), 4, "the grant, two tokens above, and itself");
        domain.sync().await;
        let calls = async |token: &str| {
            domain.sync().await;
            let call = http_call("GET", "/notices/today", token);
            domain.refusal_of(call).await.map(|refusal| refusal.check())
        };
        assert_eq!((calls(&second).await, calls(&third).await), (None, None));
        // The first ends: what came of it does, and its sister does not.
        let token = domain.read(&first).unwrap();
        ends::end_token(&*world, &token, ending).await.unwrap();
        assert_eq!(calls(&second).await, None);
        assert_eq!(calls(&third).await, Some("gateway::Ended"));
        let refused = below(&first, NOTICES).await.unwrap_err();
        assert_eq!(refused.check(), "grants::Ended");
        // The grant ends, and everything.
        assert!(ends::end_grant(&*world, "grant-1", ending).await.unwrap().is_some());
        assert!(ends::end_grant(&*world, "grant-2", ending).await.unwrap().is_none());
        assert_eq!(calls(&second).await, Some("gateway::Ended"));
        assert_eq!(below(&root, NOTICES).await.unwrap_err().check(), "grants::Ended");
        let why = domain.server.journal().last().unwrap();
        assert_eq!(why.root.as_deref(), Some("grant-1"));
    });
}

/// A client that ends takes all that was granted to it, however many grants these are.
/// req: OBS-10 (part)
#[test]
fn s11_a_client_ends_with_every_grant() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let answer = house.redeem().await;
        for n in 2..=150 {
            let id = format!("grant-{n}");
            house.domain.grant((&id, &house.client.id, ADA), NOTICES, "notices.read", "");
        }
        let world = house.domain.server.world();
        let before = house.domain.server.journal().len();
        let ending = Ending::by(&house.client.id, "enough");
        assert_eq!(ends::end_client(&*world, &house.client.id, ending).await.unwrap(), 150);
        assert_eq!(ends::end_client(&*world, &house.client.id, ending).await.unwrap(), 0);
        assert_eq!(world.store().every::<Ended>().len(), 150);
        let told = house.domain.server.journal().after(before);
        assert_eq!(told.len(), 150);
        // Who ended it stands there, and nobody is called an operator who is none.
        assert!(told.iter().all(|one| one.operator.is_none()));
        assert_eq!(told[0].facts["by"], house.client.id.as_str());
        let refused = house.call(&answer.access_token).await.unwrap();
        assert_eq!(refused.check(), "gateway::Ended");
    });
}

/// docs/design.md §9: "cascade over 100 descendants under 50 ms". To end a root is one commit, and
/// each descendant is refused by what it names: nothing is searched for.
/// req: OBS-10 (part)
#[test]
fn s11_a_cascade_over_a_hundred_descendants_is_one_commit() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.person(ADA);
        for name in ["clerk", "helper"] {
            domain.register(registration(name, &["invoices"])).await;
        }
        let clerk = domain.party("/opt/clerk").await;
        let helper = domain.party("/opt/helper").await;
        let grant = domain.grant(("grant-1", &clerk.id, ADA), &helper.id, "notices.read", "");
        let code = domain.code(&grant, |_| ());
        let root = domain.token(by_wit(&clerk, code_request(&code), domain.now())).await;
        let mut tokens = Vec::new();
        for _ in 0..MANY {
            let request = exchange(&root, NOTICES, "notices.read");
            tokens.push(domain.token(by_wit(&helper, request, domain.now())).await);
        }
        let (world, gateway) = (domain.server.world(), domain.gateway.world());
        domain.sync().await;
        let before = domain.server.journal().len();
        let began = std::time::Instant::now();
        let ending = Ending::by(ADA, "enough");
        ends::end_grant(&*world, "grant-1", ending).await.unwrap().unwrap();
        while domain.feed(&domain.gateway).await.unwrap() {}
        for token in &tokens {
            let token = domain.read(token).unwrap();
            for world in [&world, &gateway] {
                let ended = ends::of_token(&**world, &token).await.unwrap().unwrap();
                assert_eq!(ended.id, "grant-1");
            }
        }
        let took = began.elapsed();
        assert_eq!(domain.server.journal().after(before).len(), 1, "one record, one commit");
        // Bounded widely: a machine under load is no slower system.
        assert!(took.as_millis() < 2_000, "{took:?}");
        eprintln!("a cascade over {MANY} descendants, the feed among it, took {took:?}");
    });
}

/// An answer that flows is cut as soon as the gateway hears of the end.
/// req: AUTHN-12 (part), OBS-10 (part)
#[test]
fn s11_a_stream_is_cut_when_its_grant_ends() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let token = house.redeem().await.access_token;
        house.domain.sync().await;
        let call = http_call("GET", "/notices/today", &token);
        let end = house.domain.call(call).await.unwrap();
        let flow::call::End::Forwarded(_, live) = end else { panic!("{end:?}") };
        let (server, gateway) = (house.domain.server.world(), house.domain.gateway.world());
        let ending = Ending::by(ADA, "enough");
        let ends = async {
            sim.sleep(Span::from_seconds(1)).await;
            ends::end_grant(&*server, "grant-1", ending).await.unwrap();
            house.domain.sync().await;
            None
        };
        let cut = async { Some(flow::call::cut(&*gateway, &live).await.unwrap()) };
        let cut = sim.all(vec![boxed(ends), boxed(cut)]).await.pop().unwrap().unwrap();
        assert_eq!(cut.check(), "gateway::Ended");
    });
}

/// Enabling a client brings back the client, not what it was given before (docs/design.md §2).
/// req: OBS-10 (part)
#[test]
fn s11_what_a_client_was_given_is_dead_when_it_is_enabled_again() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let client = domain.client(&[GrantType::ClientCredentials], false);
        let world = domain.server.world();
        let gets = async || {
            let request = credentials(NOTICES, "notices.read");
            domain.ask(client.asks(request, domain.now())).await
        };
        let calls = async |token: &str| {
            domain.sync().await;
            let call = http_call("GET", "/notices/today", token);
            domain.refusal_of(call).await.map(|refusal| refusal.check())
        };
        let first = gets().await.unwrap().access_token;
        assert_eq!(calls(&first).await, None);
        for (state, expect) in [
            (ClientState::Disabled, Some("gateway::Disabled")),
            (ClientState::Enabled, Some("gateway::NotInForce")),
        ] {
            let moved = orders::set_state(&*world, &domain.operator(), &client.id, state).await;
            moved.unwrap().into_value().unwrap();
            assert_eq!(calls(&first).await, expect, "{state:?}");
        }
        let second = gets().await.unwrap().access_token;
        assert_eq!(calls(&second).await, None);
        assert_eq!(calls(&first).await, Some("gateway::NotInForce"), "still");
    });
}

/// RFC 9449 §5.2, OpenID Connect Registration 1.0 §2: what a client registered that it does, it does.
/// req: AUTHZ-10 (part)
#[test]
fn rfc9449_5_2_a_client_is_held_to_what_it_registered() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let world = domain.server.world();
        let registers = |name: &str, value: serde_json::Value| {
            let client = domain.client(&[GrantType::ClientCredentials], false);
            let all = world.store().every::<ClientRecord>();
            let found = all.iter().find(|one| one.client_id == client.id).unwrap();
            let mut members = found.metadata.members().clone();
            members.insert(name.to_owned(), value);
            world.store().put(&found.with_metadata(Metadata::new(&members).unwrap()));
            client
        };
        let request = || credentials(NOTICES, "notices.read");
        let bound = registers("dpop_bound_access_tokens", true.into());
        let refused = domain.ask(bound.asks(request(), domain.now())).await.unwrap_err();
        assert_eq!(refused.check(), "grants::NoDpopProof");
        let key = DpopKey::new(&domain);
        let proof = key.proof(("POST", TOKEN), None, None, domain.now());
        let shown = with_dpop(bound.asks(request(), domain.now()), proof);
        domain.ask(shown).await.unwrap();
        // It signs by ES256, and registered another algorithm.
        let other = registers("token_endpoint_auth_signing_alg", "PS256".into());
        let refused = domain.ask(other.asks(request(), domain.now())).await.unwrap_err();
        assert!(refused.check().starts_with("client::"), "{refused}");
        let same = registers("token_endpoint_auth_signing_alg", "ES256".into());
        domain.ask(same.asks(request(), domain.now())).await.unwrap();
    });
}
