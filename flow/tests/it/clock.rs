//! A clock that jumps back (docs/design.md §10).

use attestation::mechanism::Role;
use env::{Peers, RenewOrder, World};
use flow::{boot, join_token, rotate, token};
use provisioning::Act;
use testkit::fixture::{
    Domain, by_wit, certificate_request, credentials, files, registration, story, tool_call,
};
use time::Span;

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
