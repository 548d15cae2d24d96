//! A person behind a chain of agents: what they handed to the first reaches the tool through the
//! second, and they are asked when policy wants them to be.

use approve::answer::Said;
use approve::caller::Call;
use approve::{Refusal, challenge, ciba};
use flow::call::End;
use flow::token::{self, Endpoint};
use gateway::Refusal as Shut;
use oauth::TokenText;
use oauth::error::ErrorCode;
use oauth::form::Form;
use oauth::token_request::{Deferred, TokenRequest};
use people::end::Check;
use provisioning::Act;
use testkit::fixture::{Party, by_wit, exchange, files_but, registration, story, tool_call};

use crate::house::{House, ciba_request};

const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const ACCESS: &str = r#"
    @id("all") permit(principal, action, resource);
    @id("ask") @obligations("approval")
    permit(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "pay_invoice" };
"#;

/// A form of this agent.
fn call(house: &House, party: &Party, body: &str, path: &str) -> Call {
    let request = TokenRequest::Deferred(Deferred { deferral_code: text("none") });
    let proved = by_wit(party, request, house.domain.now());
    Call {
        form: Form::parse(body.as_bytes()).unwrap(),
        client: proved.client,
        attestation: proved.attestation,
        dpop: Vec::new(),
        path: path.to_owned(),
        certificates: Vec::new(),
        source: "192.0.2.7".to_owned(),
    }
}

fn text(text: &str) -> TokenText {
    TokenText::parse(text).unwrap()
}

/// What `clerk` is told when it asks ada for rights in the hands of `other`.
async fn asks(house: &House, clerk: &Party, body: &str) -> Result<String, Refusal> {
    let call = call(house, clerk, &format!("login_hint=ada&{body}"), "/bc-authorize");
    let asked = ciba::authorize(&*house.world(), &house.throttle, &call).await.unwrap();
    asked.into_result().map(|asked| asked.auth_req_id)
}

/// S4 §10.3.3, §10.6: user, agent, agent, tool.
///
/// req: AUTHZ-31, AUTHZ-11 (part)
#[test]
fn s10_6_the_person_behind_a_chain_of_agents_is_asked() {
    story(|sim| async move {
        let house = House::with(&sim, files_but(&[("access/main.cedar", ACCESS)])).await;
        let domain = &house.domain;
        domain.register(registration("clerk", &["invoices"])).await;
        domain.register(registration("other", &["invoices"])).await;
        let (clerk, other) = (domain.party("/opt/clerk").await, domain.party("/opt/other").await);
        let scope = "scope=invoices.read+invoices.pay";
        let asked = asks(&house, &clerk, &format!("{scope}&resource={}", other.id)).await.unwrap();
        // She sees who will have it, and what for.
        let shown = house.approvals()[0].clone();
        let lines = shown.lines();
        for (what, value) in
            [("asked by", clerk.id.as_str()), ("at", other.id.as_str()), ("scope", "invoices.pay")]
        {
            assert!(lines.contains(&(what.to_owned(), value.to_owned())), "{what}: {lines:?}");
        }
        let ada = house.sign_in("ada").await;
        house
            .say(&ada, Said { id: &shown.id, allow: true, shown: &shown.hash, user_code: None })
            .await
            .unwrap();
        let first = domain.token(by_wit(&clerk, ciba_request(&asked), domain.now())).await;
        // It is for the other agent alone, which exchanges it for the tool.
        let own = domain.ask(by_wit(&clerk, exchange(&first, TOOLS, ""), domain.now())).await;
        assert_eq!(own.unwrap_err().check(), "grants::SubjectForOther");
        let last = domain.token(by_wit(&other, exchange(&first, TOOLS, ""), domain.now())).await;
        let read = tool_call(&other, &last, "invoices", "list_invoices", domain.now());
        assert_eq!(domain.refusal_of(read).await, None);
        let mut pay = tool_call(&other, &last, "invoices", "pay_invoice", domain.now());
        pay.headers.push(("accept-txn-challenge".to_owned(), b"?1".to_vec()));
        let End::Refused(refused) = domain.call(pay).await.unwrap() else { panic!("it went on") };
        let refused = refused.into_value();
        assert!(matches!(refused.refusal, Shut::Approval { .. }), "{}", refused.refusal);

        // The second agent hands the challenge in; whom it concerns is asked, and sees the chain.
        let body = format!("transaction_challenge={}", refused.transaction.unwrap());
        let handed = call(&house, &other, &body, "/transaction-authorization");
        let waits = challenge::authorize(&*house.world(), &handed).await.unwrap();
        let waits = waits.into_result().unwrap();
        let found = house.approvals();
        let shown = found.iter().find(|one| one.state == approval::State::Pending).unwrap();
        assert_eq!(shown.asks.subject, "user:ada");
        assert_eq!(shown.asks.actors, [other.id.clone(), clerk.id.clone()]);
        let bob = house.sign_in("bob").await;
        let yes = || Said { id: &shown.id, allow: true, shown: &shown.hash, user_code: None };
        assert_eq!(house.say(&bob, yes()).await.unwrap_err().check(), "approval::NotAsked");
        house.say(&ada, yes()).await.unwrap();
        let id = text(&waits.transaction_authorization_id);
        let request = TokenRequest::Deferred(Deferred { deferral_code: id });
        let polled = by_wit(&other, request, domain.now());
        let end = token::answer_at(&*house.world(), Endpoint::Transaction, polled).await.unwrap();
        let token::End::Decided(recorded) = end else { panic!("a stranger") };
        let once = recorded.into_value().unwrap().access_token;
        let pay = || tool_call(&other, &once, "invoices", "pay_invoice", domain.now());
        assert_eq!(domain.refusal_of(pay()).await, None);
        assert_eq!(domain.refusal_of(pay()).await, Some(Shut::Spent));

        // No agent is handed anything that is not there or not in force, and nothing unsaid.
        domain.act("other", Act::Suspend).await;
        for (body, expect) in [
            (format!("{scope}&resource={}", other.id), ErrorCode::InvalidTarget),
            (format!("{scope}&resource={}x", other.id), ErrorCode::InvalidTarget),
            (format!("{scope}&resource=spiffe://else.example/agent/a"), ErrorCode::InvalidTarget),
            (format!("scope=openid&resource={}", clerk.id), ErrorCode::InvalidScope),
        ] {
            assert_eq!(asks(&house, &clerk, &body).await.unwrap_err().code(), expect, "{body}");
        }
    });
}
