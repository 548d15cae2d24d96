//! A call that policy wants approved: challenged at the gateway, shown to a human, let through once.

use approve::answer::{self, Said};
use approve::caller::Call;
use approve::{Refusal, challenge};
use authorization::granted::NotYet;
use authorization::grants;
use env::World;
use flow::call::End;
use flow::token::{self, Endpoint};
use gateway::Refusal as Shut;
use monitoring::Event;
use oauth::TokenText;
use oauth::form::Form;
use oauth::token_request::{Deferred, TokenRequest};
use oauth::txn_challenge::TxnResponse;
use people::end::Check;
use testkit::fixture::{
    Domain, Party, by_wit, credentials, files, files_but, registration, story, tool_call,
};
use testkit::{Sim, boxed};

use crate::house::browser;

const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const ACCESS: &str = r#"
    @id("all") permit(principal, action, resource);
    @id("ask") @obligations("approval")
    permit(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "pay_invoice" };
"#;
const MANY: usize = 100;

struct Counter {
    domain: Domain,
    clerk: Party,
    other: Party,
    token: String,
    /// What is called.
    tool: &'static str,
}

impl Counter {
    async fn open(sim: &Sim, approvals: &str) -> Self {
        Self::for_tool(sim, approvals, "pay_invoice").await
    }

    /// Where this tool wants approvals.
    async fn for_tool(sim: &Sim, approvals: &str, tool: &'static str) -> Self {
        let access = ACCESS.replace("pay_invoice", tool);
        let domain = files().get("domain.toml").unwrap().to_owned();
        let domain = format!("{domain}\n[approvals]\n{approvals}");
        let files = files_but(&[("domain.toml", &domain), ("access/main.cedar", &access)]);
        let domain = Domain::start_with(sim, files).await;
        domain.register(registration("clerk", &["invoices"])).await;
        domain.register(registration("other", &["invoices"])).await;
        let (clerk, other) = (domain.party("/opt/clerk").await, domain.party("/opt/other").await);
        let asked = credentials(TOOLS, "invoices.read invoices.pay");
        let token = domain.token(by_wit(&clerk, asked, domain.now())).await;
        Self { domain, clerk, other, token, tool }
    }

    /// A call with these arguments, that takes challenges or not.
    fn call(&self, token: &str, arguments: &str, takes: bool) -> gateway::Call {
        let now = self.domain.now();
        let mut call = tool_call(&self.clerk, token, "invoices", self.tool, now);
        let body = String::from_utf8(call.body.clone()).unwrap();
        call.body = body.replace("{}", arguments).into_bytes();
        if takes {
            call.headers.push(("accept-txn-challenge".to_owned(), b"?1".to_vec()));
        }
        call
    }

    /// The challenge of a call that is not approved.
    async fn challenged(&self, arguments: &str) -> String {
        let end = self.domain.call(self.call(&self.token, arguments, true)).await.unwrap();
        let End::Refused(refused) = end else { panic!("{end:?}") };
        let refused = refused.into_value();
        assert!(matches!(refused.refusal, Shut::Approval { .. }), "{}", refused.refusal);
        refused.transaction.unwrap().into()
    }

    async fn hand_in(&self, party: &Party, text: &str) -> Result<TxnResponse, Refusal> {
        let body = format!("transaction_challenge={text}");
        let proved = by_wit(party, wait_request("none"), self.domain.now());
        let call = Call {
            form: Form::parse(body.as_bytes()).unwrap(),
            client: proved.client,
            attestation: proved.attestation,
            dpop: Vec::new(),
            path: "/transaction-authorization".to_owned(),
            certificates: Vec::new(),
            source: "192.0.2.7".to_owned(),
        };
        let world = self.domain.server.world();
        challenge::authorize(&*world, &call).await.unwrap().into_result()
    }

    async fn poll(&self, id: &str) -> Result<String, token::Refusal> {
        let call = by_wit(&self.clerk, wait_request(id), self.domain.now());
        let world = self.domain.server.world();
        match token::answer_at(&*world, Endpoint::Transaction, call).await.unwrap() {
            token::End::Stranger(refusal) => Err(refusal.into()),
            token::End::Unproved(refusal) => Err(refusal),
            token::End::Decided(recorded) => recorded.into_value().map(|one| one.access_token),
        }
    }

    async fn allow(&self) {
        let world = self.domain.server.world();
        let found = world.store().every::<approval::Approval>();
        let found = found.iter().find(|one| one.state == approval::State::Pending).unwrap();
        let said = Said { id: &found.id, allow: true, shown: &found.hash, user_code: None };
        let done = answer::by_operator(&*world, &self.domain.operator(), said).await.unwrap();
        done.into_value().unwrap();
    }
}

fn wait_request(id: &str) -> TokenRequest {
    TokenRequest::Deferred(Deferred { deferral_code: TokenText::parse(id).unwrap() })
}

/// req: AUTHZ-31 (part), AUTHZ-32 (part), AUTHZ-18 (part)
#[test]
fn txn_challenge_5_an_approved_call_passes_once_as_it_was_shown() {
    story(|sim| async move {
        let counter = Counter::open(&sim, "ask = \"owner\"").await;
        let pay = r#"{"to":"Bob","sum":5}"#;
        let signed = counter.challenged(pay).await;
        // Only whose call it was may hand it in, and once.
        let stolen = counter.hand_in(&counter.other, &signed).await.unwrap_err();
        assert_eq!(stolen.check(), "approve::Challenge");
        let waits = counter.hand_in(&counter.clerk, &signed).await.unwrap();
        let again = counter.hand_in(&counter.clerk, &signed).await.unwrap_err();
        assert_eq!(again, Refusal::ChallengeUsed);
        let id = waits.transaction_authorization_id;
        let pending = counter.poll(&id).await.unwrap_err();
        let expected = token::Refusal::Grant(grants::Refusal::Wait(NotYet::Pending));
        assert_eq!(pending, expected);
        counter.allow().await;
        let approved = counter.poll(&id).await.unwrap();
        assert_eq!(counter.poll(&id).await.unwrap_err().check(), "grants::WaitUsed");

        // Other arguments, another tool: not with this token.
        let other = counter.call(&approved, r#"{"to":"Eve","sum":5}"#, false);
        let refused = counter.domain.refusal_of(other).await.unwrap();
        assert!(matches!(refused, Shut::OtherCall { .. }), "{refused}");
        let now = counter.domain.now();
        let tool = tool_call(&counter.clerk, &approved, "invoices", "list_invoices", now);
        let refused = counter.domain.refusal_of(tool).await.unwrap();
        assert!(!matches!(refused, Shut::Approval { .. }), "{refused}");
        // The same arguments, written otherwise: once.
        let same = r#"{ "sum":5, "to":"Bob" }"#;
        let calls = (0..MANY).map(|_| {
            let call = counter.call(&approved, same, false);
            boxed(counter.domain.refusal_of(call))
        });
        let ends = sim.all(calls.collect()).await;
        assert_eq!(ends.iter().filter(|refused| refused.is_none()).count(), 1);
        for refused in ends.into_iter().flatten() {
            assert_eq!(refused, Shut::Spent);
        }
        // All of it is one task's.
        let journal = counter.domain.server.journal();
        let asked = journal.of(Event::ApprovalAsked);
        let root = asked.iter().find_map(|one| one.root.clone());
        assert!(root.is_some());
        let answered = journal.of(Event::ApprovalAnswered).last().unwrap().clone();
        assert_eq!(answered.root, root);
        assert!(answered.operator.is_some());
        let let_through = counter.domain.gateway.journal().of(Event::CallFinished);
        assert_eq!(let_through.last().unwrap().root, root);
    });
}

/// Of one challenge, one wait; of that, one token.
/// req: AUTHZ-31 (part)
#[test]
fn txn_challenge_5_of_many_at_once_one_is_served() {
    story(|sim| async move {
        let counter = Counter::open(&sim, "ask = \"owner\"").await;
        let signed = counter.challenged(r#"{"to":"Bob","sum":5}"#).await;
        let hands = (0..MANY).map(|_| boxed(counter.hand_in(&counter.clerk, &signed)));
        let (waits, refused): (Vec<_>, Vec<_>) =
            sim.all(hands.collect()).await.into_iter().partition(Result::is_ok);
        assert!(refused.into_iter().all(|end| end.unwrap_err() == Refusal::ChallengeUsed));
        let [Ok(wait)] = waits.as_slice() else { panic!("{waits:?}") };
        counter.allow().await;
        let id = &wait.transaction_authorization_id;
        let polls = (0..MANY).map(|_| boxed(counter.poll(id)));
        let (given, refused): (Vec<_>, Vec<_>) =
            sim.all(polls.collect()).await.into_iter().partition(Result::is_ok);
        assert_eq!(given.len(), 1);
        let used = |end: Result<_, token::Refusal>| end.unwrap_err().check() == "grants::WaitUsed";
        assert!(refused.into_iter().all(used));
    });
}

/// §4.1: "A protected resource MUST NOT return a transaction authorization challenge unless the
/// request includes an Accept-Txn-Challenge header field with a true value".
#[test]
fn txn_challenge_4_1_who_takes_none_gets_none() {
    story(|sim| async move {
        let counter = Counter::open(&sim, "ask = \"owner\"").await;
        let end = counter.domain.call(counter.call(&counter.token, "{}", false)).await.unwrap();
        let End::Refused(refused) = end else { panic!("{end:?}") };
        let refused = refused.into_value();
        assert!(matches!(refused.refusal, Shut::Approval { .. }));
        assert_eq!(refused.transaction, None);
    });
}

/// What reads only is forwarded while its record is written, but not where it was approved once:
/// then the record comes first, and nothing of a second call is seen behind the gateway.
/// req: AUTHZ-31 (part)
#[test]
fn s10_6_an_approved_reading_is_forwarded_once() {
    story(|sim| async move {
        let counter = Counter::for_tool(&sim, "ask = \"owner\"", "list_invoices").await;
        let signed = counter.challenged("{}").await;
        let waits = counter.hand_in(&counter.clerk, &signed).await.unwrap();
        counter.allow().await;
        let approved = counter.poll(&waits.transaction_authorization_id).await.unwrap();
        let before = counter.domain.upstream.forwards().len();
        let calls = (0..MANY)
            .map(|_| boxed(counter.domain.refusal_of(counter.call(&approved, "{}", false))));
        let ends = sim.all(calls.collect()).await;
        assert_eq!(ends.iter().filter(|refused| refused.is_none()).count(), 1);
        assert_eq!(counter.domain.upstream.forwards().len(), before + 1);
    });
}

/// In a chain without a person nobody is the subject; a person who is not asked answers nothing.
/// req: AUTHZ-31 (part)
#[test]
fn s10_6_the_human_that_policy_names_is_asked() {
    story(|sim| async move {
        let counter = Counter::open(&sim, "").await;
        let signed = counter.challenged("{}").await;
        let refused = counter.hand_in(&counter.clerk, &signed).await.unwrap_err();
        assert_eq!(refused.check(), "approve::NobodyToAsk");
        let world = counter.domain.server.world();
        let said = Said { id: "none", allow: true, shown: "", user_code: None };
        let ended = answer::answer(&*world, &browser("b", None), said).await.unwrap();
        assert_eq!(crate::house::counted(ended).check(), "approve::NotSigned");
        // What a resource did not sign is no challenge.
        let (head, tail) = signed.rsplit_once('.').unwrap();
        let flipped: String = tail.chars().rev().collect();
        let forged = format!("{head}.{flipped}");
        let refused = counter.hand_in(&counter.clerk, &forged).await.unwrap_err();
        assert_eq!(refused.check(), "approve::Challenge");
    });
}
