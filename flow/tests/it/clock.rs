//! A clock that jumps back (docs/design.md §10).

use attestation::mechanism::Role;
use credential::authority::Step;
use env::{Peers, Purpose, RenewOrder, World};
use flow::{boot, join_token, rotate, token};
use provisioning::Act;
use testkit::fixture::{
    Domain, by_wit, certificate_request, credentials, files, registration, story, tool_call,
};
use time::{Span, UnixTime};

const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const AHEAD: Span = Span::from_seconds(60);
/// What policy lets clocks differ by.
const SKEW: Span = Span::from_seconds(5);

/// Which door is shut.
fn part<T>(end: Result<T, env::Unavailable>) -> Option<&'static str> {
    end.err().map(|why| why.part)
}

#[test]
fn s8_nothing_is_issued_under_a_clock_that_jumped_back() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &["invoices"])).await;
        let clerk = domain.party("/opt/clerk").await;
        domain.server.clock().forth(AHEAD);
        domain.register(registration("other", &[])).await;
        domain.server.clock().set_right();

        let (server, operator) = (domain.server.world(), domain.operator());
        let ask = async || {
            let call = by_wit(&clerk, credentials(TOOLS, "invoices.read"), domain.now());
            token::answer(&*server, call).await
        };
        let invite =
            async || join_token::create(&*server, &operator, Role::Node, None, AHEAD).await;
        let renew = async || {
            let order = RenewOrder { request: certificate_request() };
            domain.node.world().peers().renew(order).await
        };
        let web = ["localhost".to_owned()];
        assert_eq!(part(ask().await), Some("issuing"));
        assert_eq!(part(invite().await), Some("issuing"));
        assert!(renew().await.is_err());
        assert_eq!(part(rotate::step(&*server, &web).await), Some("issuing"));
        assert_eq!(part(boot::ready(&*server, files(), &web).await), Some("issuing"));
        // What ends rights is done all the same.
        domain.act("other", Act::Suspend).await;
        // That was recorded at the earlier time; the jump is as far as before.
        assert_eq!(part(ask().await), Some("issuing"));

        // When the time has come again it goes on by itself.
        sim.sleep(Span::from_millis(AHEAD.millis() - SKEW.millis() - 1_000)).await;
        assert_eq!(part(ask().await), Some("issuing"));
        sim.sleep(Span::from_seconds(1)).await;
        assert_eq!(part(ask().await), None);
        assert_eq!(part(invite().await), None);
        assert!(renew().await.is_ok());
    });
}

#[test]
fn s8_an_operator_who_takes_the_clock_is_recorded_and_it_goes_on() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.server.clock().forth(AHEAD);
        domain.register(registration("other", &[])).await;
        domain.server.clock().set_right();
        let (server, operator) = (domain.server.world(), domain.operator());
        let invite =
            async || join_token::create(&*server, &operator, Role::Node, None, AHEAD).await;
        assert_eq!(part(invite().await), Some("issuing"));
        domain.server.take_clock().await.unwrap();
        let record = domain.server.journal().last().unwrap();
        assert!(flow::issuing::is_taken(&record));
        assert_eq!(part(invite().await), None);
        assert_eq!(part(domain.restart_server().await), None);
    });
}

/// A gateway signs transaction tokens, so its own clock counts as well.
#[test]
fn s8_a_gateway_whose_clock_jumped_back_signs_nothing() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &["invoices"])).await;
        let clerk = domain.party("/opt/clerk").await;
        let token =
            domain.token(by_wit(&clerk, credentials(TOOLS, "invoices.read"), domain.now())).await;
        let call = |tool| {
            let now = env::Clock::now(domain.gateway.clock());
            tool_call(&clerk, &token, "invoices", tool, now)
        };
        domain.gateway.clock().forth(SKEW);
        assert_eq!(domain.refusal_of(call("list_invoices")).await, None);
        domain.gateway.clock().set_right();
        assert_eq!(domain.refusal_of(call("list_invoices")).await, None, "within the skew");
        domain.gateway.clock().forth(Span::from_seconds(20));
        // What was heard must not seem old, nor of the future.
        domain.sync().await;
        assert_eq!(domain.refusal_of(call("list_invoices")).await, None);
        domain.gateway.clock().set_right();
        domain.sync().await;
        let end = domain.call(call("list_invoices")).await;
        assert_eq!(part(end), Some("issuing"));
    });
}

/// All of them on one machine, as `aims up` has them: its clock is right again, the operator says
/// so, and everything starts anew.
async fn start_with_the_clock_right(domain: &Domain) {
    let hosts = [&domain.server, &domain.node, &domain.gateway];
    for host in hosts {
        host.clock().set_right();
    }
    assert_eq!(part(domain.restart_server().await), Some("issuing"), "nobody said so yet");
    for host in hosts {
        host.take_clock().await.unwrap();
    }
    domain.restart_server().await.unwrap();
    start_anew(domain).await;
}

/// Somebody gets credentials, a token, and is let through to a tool.
async fn works(domain: &Domain, name: &str) {
    let server = domain.server.world();
    let (names, addresses) = (["localhost".to_owned()], []);
    boot::web_identity(&*server, &names, &addresses).await.unwrap();
    boot::server_identity(&*server, &names, &addresses).await.unwrap();
    let party = domain.party(&format!("/opt/{name}")).await;
    let call = by_wit(&party, credentials(TOOLS, "invoices.read"), domain.now());
    let token = token::answer(&*server, call).await;
    assert_eq!(part(token), None);
    let token =
        domain.token(by_wit(&party, credentials(TOOLS, "invoices.read"), domain.now())).await;
    let now = env::Clock::now(domain.gateway.clock());
    let call = tool_call(&party, &token, "invoices", "list_invoices", now);
    assert_eq!(domain.refusal_of(call).await, None);
}

/// Each ring signs all the time until then, and a key that begins was published as long before as
/// policy says.
async fn rings_sign_until(domain: &Domain, end: UnixTime) {
    let lifetimes = credential::policy::Lifetimes::default();
    let (server, web) = (domain.server.world(), ["localhost".to_owned()]);
    let rings = Purpose::ROTATED.into_iter().filter(|purpose| !purpose.is_on_demand());
    let rings: Vec<_> = rings.collect();
    // Those of the clock that was ahead are published since before their time has come.
    let of_the_start: Vec<_> =
        rings.iter().flat_map(|purpose| domain.ring(*purpose).keys.clone()).collect();
    while domain.now() < end {
        let next = rotate::step(&*server, &web).await.unwrap();
        for purpose in rings.iter().copied() {
            let (ring, now) = (domain.ring(purpose), domain.now());
            let key = ring.signer(now).unwrap_or_else(|| panic!("no {purpose:?} signs at {now}"));
            let known = key.signs_from.since(key.published);
            let is_known = known >= lifetimes.publish_ahead || of_the_start.contains(key);
            assert!(is_known, "{purpose:?} at {now}");
            let schedule = lifetimes.schedule(purpose);
            assert!(matches!(ring.next(&schedule, now), Step::Wait(until) if until > now));
        }
        domain.sim.sleep(next.since(domain.now()).max(Span::from_seconds(300))).await;
    }
}

#[test]
fn s8_a_first_start_hours_ahead_is_mended_by_taking_the_clock() {
    story(|sim| async move {
        let ahead = Span::from_seconds(3 * 3_600);
        let domain = Domain::start_ahead(&sim, files(), ahead).await;
        domain.register(registration("clerk", &["invoices"])).await;
        let records = domain.server.journal().len();
        start_with_the_clock_right(&domain).await;
        works(&domain, "clerk").await;
        assert!(domain.server.journal().len() > records, "what was recorded stays");
        rings_sign_until(&domain, domain.now().plus(Span::from_seconds(3 * 86_400))).await;
        start_anew(&domain).await;
        works(&domain, "clerk").await;
    });
}

#[test]
fn s8_an_installation_that_ran_days_ahead_is_mended_by_taking_the_clock() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &["invoices"])).await;
        works(&domain, "clerk").await;
        let ahead = Span::from_seconds(8 * 86_400);
        for host in [&domain.server, &domain.node, &domain.gateway] {
            host.clock().forth(ahead);
        }
        domain.restart_server().await.unwrap();
        start_anew(&domain).await;
        works(&domain, "clerk").await;
        start_with_the_clock_right(&domain).await;
        works(&domain, "clerk").await;
        rings_sign_until(&domain, domain.now().plus(Span::from_seconds(20 * 86_400))).await;
        start_anew(&domain).await;
        works(&domain, "clerk").await;
    });
}

/// Nodes and gateways that were away so long join anew.
async fn start_anew(domain: &Domain) {
    domain.restart_node();
    domain.restart_gateway();
    domain.join(&domain.node, Role::Node, "host-1").await.unwrap();
    domain.join(&domain.gateway, Role::Gateway, "edge").await.unwrap();
    domain.sync().await;
}
