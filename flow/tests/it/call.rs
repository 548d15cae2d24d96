//! Calls at the gateway: every way to be refused, each by its own check, and what is released.

use authentication::ProofRefusal;
use env::{Keys, World};
use flow::call::{End, Live, cut};
use gateway::{Call, MapRefusal, Refusal};
use jose::TokenHash;
use monitoring::{Event, Outcome};
use provisioning::Act;
use testkit::Sim;
use testkit::fixture::{
    Domain, GATEWAY, Party, by_certificate, by_wit, credentials, files_but, http_call, issued,
    registration, story, tool_call,
};
use time::Span;
use wimse::{HeaderError, Proof, WptError};

const CLERK: &str = "spiffe://demo.example/agent/clerk";
const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const REPORTS: &str = "https://gateway.demo.example:8446/reports";

/// An agent that may do everything, another one, and the agent's token for the tools.
struct Counter {
    domain: Domain,
    clerk: Party,
    other: Party,
    token: String,
}

impl Counter {
    async fn open(sim: &Sim) -> Self {
        let domain = Domain::start(sim).await;
        domain.register(registration("clerk", &["invoices", "payments"])).await;
        domain.register(registration("other", &["invoices"])).await;
        let (clerk, other) = (domain.party("/opt/clerk").await, domain.party("/opt/other").await);
        let asked = credentials(TOOLS, "invoices.read invoices.pay");
        let token = domain.token(by_wit(&clerk, asked, domain.now())).await;
        Self { domain, clerk, other, token }
    }

    fn call(&self, tool: &str) -> Call {
        tool_call(&self.clerk, &self.token, "invoices", tool, self.domain.now())
    }

    /// The refusal: of who showed no token of ours it is not recorded, of others under its name.
    async fn refused(&self, call: Call) -> Refusal {
        let (journal, sent) =
            (self.domain.gateway.journal(), self.domain.upstream.forwards().len());
        let before = journal.len();
        let refusal = self.domain.refusal_of(call).await.expect("a refusal");
        let told = journal.after(before);
        if told.is_empty() {
            assert!(refusal.is_strangers(), "{refusal}");
        } else {
            assert!(told[0].agent.is_some() || !refusal.is_strangers(), "{refusal}");
            let why = told[0].why.clone().unwrap();
            assert_eq!((told.len(), why.check.as_str()), (1, refusal.check()));
            assert_eq!((told[0].event, why.message), (Event::CallDecided, refusal.to_string()));
        }
        if refusal != Refusal::Replayed {
            assert_eq!(self.domain.upstream.forwards().len(), sent, "{refusal}");
        }
        refusal
    }
}

fn without(mut call: Call, name: &str) -> Call {
    call.headers.retain(|(field, _)| field != name);
    call
}

fn with(mut call: Call, name: &str, value: &[u8]) -> Call {
    call.headers.push((name.to_owned(), value.to_vec()));
    call
}

fn target(mut call: Call, path: &str, query: Option<&str>) -> Call {
    call.target = gateway::Target::parse(path, query).unwrap();
    call
}

const WIT: &str = "workload-identity-token";
const WPT: &str = "workload-proof-token";

/// RFC 6750 §2: one token, in one place.
/// req: GW-01 (part), AUTHZ-25 (part)
#[test]
fn s5_1_a_call_without_a_readable_token_is_a_strangers() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let call = || counter.call("list_invoices");
        let bare = without(call(), "authorization");
        let nowhere = counter.refused(target(bare.clone(), "/nothing", None)).await;
        assert_eq!(nowhere, Refusal::NoResource { name: "nothing".to_owned() });
        assert_eq!(counter.refused(bare.clone()).await, Refusal::NoToken);
        let twice = with(call(), "authorization", b"Bearer b");
        let query = target(call(), "/invoices", Some("access_token=a"));
        let odd = with(bare, "authorization", b"Bearer a b");
        for call in [twice, query, odd] {
            assert_eq!(counter.refused(call).await.check(), "gateway::BadRequest");
        }
    });
}

/// Whoever shows a token of ours is no stranger: what they try is recorded by their name, also
/// where nothing of that name is.
/// req: OBS-05 (part)
#[test]
fn s11_who_asks_for_a_resource_that_is_not_there_is_in_the_log_by_name() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let journal = counter.domain.gateway.journal();
        let astray = target(counter.call("list_invoices"), "/secret-admin", None);
        let forged =
            with(without(astray.clone(), "authorization"), "authorization", b"Bearer a.b.c");
        let before = journal.len();
        let End::Stranger(_) = counter.domain.call(forged).await.unwrap() else {
            panic!("a stranger")
        };
        assert_eq!(journal.len(), before, "who shows nothing of ours is counted");
        let End::Refused(refused) = counter.domain.call(astray).await.unwrap() else {
            panic!("recorded")
        };
        let name = "secret-admin".to_owned();
        assert_eq!(refused.value().refusal, Refusal::NoResource { name });
        let record = journal.find(refused.audit_id().unwrap()).unwrap();
        assert_eq!((record.event, record.outcome), (Event::CallDecided, Outcome::Refused));
        assert_eq!(
            (record.agent.as_deref(), record.subject.as_deref()),
            (Some(CLERK), Some(CLERK))
        );
        assert_eq!(record.why.unwrap().message, "no resource `secret-admin` here");
        assert!(record.policy.is_some() && record.policy == refused.value().policy);
    });
}

/// req: GW-01 (part), AUTHZ-03 (part)
#[test]
fn s5_1_a_token_is_ours_alive_and_for_this_resource() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let bare = without(counter.call("list_invoices"), "authorization");
        let garbled = with(bare.clone(), "authorization", b"Bearer a.b.c");
        assert_eq!(counter.refused(garbled).await.check(), "gateway::ForeignToken");
        // A WIT is signed by us, too, and is no access token.
        let wit = format!("Bearer {}", counter.clerk.wit.expose());
        let other_kind = with(bare.clone(), "authorization", wit.as_bytes());
        assert_eq!(counter.refused(other_kind).await.check(), "gateway::ForeignToken");
        // So does what anybody can make of one: it is counted, and fills no log.
        let (signed, _) = counter.token.rsplit_once('.').unwrap();
        let forged = format!("Bearer {signed}.{}", "A".repeat(86));
        let forged = with(bare, "authorization", forged.as_bytes());
        assert_eq!(counter.refused(forged).await.check(), "gateway::ForeignToken");
        assert_eq!(counter.domain.refusal_of(counter.call("list_invoices")).await, None);
        sim.sleep(Span::from_seconds(306)).await;
        counter.domain.sync().await;
        let late = counter.refused(counter.call("list_invoices")).await;
        assert_eq!(late.check(), "gateway::Token", "also when its signature was verified before");
    });
}

/// The proof that the resource demands: there once, of this WIT, for this target and this token.
/// req: AUTHN-02
#[test]
fn s9_2_1_each_defect_of_a_proof_is_told() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let call = || counter.call("list_invoices");
        let (clerk, token, now) = (&counter.clerk, &counter.token, counter.domain.now());
        let wit = TokenHash::of(clerk.wit.expose());
        let good = Proof {
            audience: TOOLS,
            expires: now.plus(Span::from_seconds(30)),
            jti: "one",
            wit,
            access_token: Some(token),
            txn_token: None,
            other: &[],
        };
        let proved = |proof: &Proof<'_>| {
            let proof = clerk.proof_of(proof);
            with(without(call(), WPT), WPT, proof.expose().as_bytes())
        };
        let elsewhere = format!("{GATEWAY}/notices");
        let far = now.plus(Span::from_seconds(3_600));
        for (call, expect) in [
            (without(call(), WIT), ProofRefusal::WitHeader(HeaderError::Absent)),
            (with(call(), WIT, b"a.b.c"), ProofRefusal::WitHeader(HeaderError::Repeated)),
            (without(call(), WPT), ProofRefusal::WptHeader(HeaderError::Absent)),
            (with(call(), WPT, b"a.b.c"), ProofRefusal::WptHeader(HeaderError::Repeated)),
            (
                with(without(call(), WIT), WIT, &[0xff]),
                ProofRefusal::NotText { field: "Workload-Identity-Token" },
            ),
            (
                proved(&Proof { audience: &elsewhere, ..good }),
                ProofRefusal::Wpt(WptError::Audience {
                    found: jose::Audience::one(elsewhere.as_str()),
                }),
            ),
            (
                proved(&Proof { access_token: Some("a.b.c"), ..good }),
                ProofRefusal::Wpt(WptError::AccessToken { claimed: true }),
            ),
            (
                proved(&Proof { access_token: None, ..good }),
                ProofRefusal::Wpt(WptError::AccessToken { claimed: false }),
            ),
            (
                proved(&Proof { wit: TokenHash::of("another"), ..good }),
                ProofRefusal::Wpt(WptError::OtherWit),
            ),
            (
                proved(&Proof { expires: far, ..good }),
                ProofRefusal::Wpt(WptError::TooFarAhead { exp: far, now }),
            ),
        ] {
            assert_eq!(counter.refused(call).await, Refusal::Proof(expect));
        }
        let stolen = with(without(call(), WIT), WIT, counter.other.wit.expose().as_bytes());
        assert_eq!(counter.refused(stolen).await.check(), "gateway::Proof");
        let garbled = with(without(call(), WIT), WIT, b"a.b.c");
        assert!(matches!(counter.refused(garbled).await, Refusal::Proof(ProofRefusal::Wit(_))));
        assert_eq!(counter.domain.refusal_of(proved(&good)).await, None, "the proof of the table");
    });
}

/// RFC 8705 §3: the certificate of the channel is the one that the token is bound to.
/// req: AUTHZ-10 (part), AUTHN-13 (part)
#[test]
fn s10_1_1_a_certificate_bound_token_comes_with_its_certificate() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let domain = &counter.domain;
        sim.sleep(Span::from_seconds(3_500)).await;
        domain.renew(&domain.gateway).await.unwrap();
        domain.renew(&domain.node).await.unwrap();
        domain.sync().await;
        let bound = by_certificate(&counter.clerk, credentials(REPORTS, "reports.read"));
        let token = domain.token(bound).await;
        let call = |chain: &[Vec<u8>]| Call {
            certificates: chain.to_vec(),
            ..http_call("GET", "/reports/2026", &token)
        };
        let refusal = counter.refused(call(&[])).await;
        assert_eq!(refusal, Refusal::Proof(ProofRefusal::NoCertificate));
        let refusal = counter.refused(call(&counter.other.chain)).await;
        assert_eq!(refusal, Refusal::Proof(ProofRefusal::OtherCertificate));
        assert_eq!(counter.refused(call(&[vec![1, 2, 3]])).await.check(), "gateway::BadRequest");
        assert_eq!(domain.refusal_of(call(&counter.clerk.chain)).await, None);
        let decided = domain.gateway.journal().of(Event::CallDecided).pop().unwrap();
        assert_eq!(
            (decided.proof.as_deref(), decided.transport.as_deref()),
            (Some("mtls"), Some(CLERK))
        );
        let url = domain.upstream.forwards().pop().unwrap().url;
        assert_eq!(url, "http://127.0.0.1:9002/v1/2026");
        sim.sleep(Span::from_seconds(110)).await;
        domain.sync().await;
        let late = counter.refused(call(&counter.clerk.chain)).await;
        assert!(matches!(late, Refusal::Proof(ProofRefusal::Certificate(_))), "{late}");
    });
}

/// A bearer token is for outside clients that can do no better, by name.
/// req: AUTHZ-25 (part)
#[test]
fn s10_1_2_a_bearer_token_works_where_policy_says_so() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let domain = &counter.domain;
        let asked = credentials(&format!("{GATEWAY}/notices"), "notices.read");
        let token = domain.token(by_wit(&counter.clerk, asked, domain.now())).await;
        let call = http_call("GET", "/notices/7", &token);
        assert_eq!(domain.refusal_of(call.clone()).await, None);
        assert_eq!(domain.refusal_of(call).await, None, "it may be shown again");
        let bare = http_call("POST", "/invoices", &counter.token);
        let refusal = counter.refused(bare).await;
        let absent = ProofRefusal::WitHeader(HeaderError::Absent);
        assert_eq!(refusal, Refusal::Proof(absent), "not where a proof is demanded");
    });
}

/// req: OBS-04 (part), AUTHN-12 (part)
#[test]
fn s11_whoever_a_token_concerns_must_be_in_force() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let domain = &counter.domain;
        // The gateway does not know an agent that it has not been told of.
        let entry = registration("new", &["invoices"]);
        let (server, operator) = (domain.server.world(), domain.operator());
        flow::agents::register(&*server, &operator, entry).await.unwrap();
        domain.feed(&domain.node).await.unwrap();
        let new = domain.party("/opt/new").await;
        let now = domain.now();
        let token = domain.token(by_wit(&new, credentials(TOOLS, "invoices.read"), now)).await;
        let call = tool_call(&new, &token, "invoices", "list_invoices", now);
        let unknown = Refusal::NotRegistered { who: new.id.clone() };
        assert_eq!(counter.refused(call).await, unknown);
        domain.sync().await;
        let call = tool_call(&new, &token, "invoices", "list_invoices", now);
        assert_eq!(domain.refusal_of(call).await, None);
        for act in [Act::Suspend, Act::Retire] {
            domain.act("clerk", act).await;
            let refusal = counter.refused(counter.call("list_invoices")).await;
            let Refusal::NotInForce { who, .. } = refusal else { panic!("{refusal}") };
            assert_eq!(who, CLERK);
        }
    });
}

/// req: GW-01 (part), GW-02 (part)
#[test]
fn s5_1_what_is_asked_must_be_known_within_scope_and_permitted() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let call = || counter.call("list_invoices");
        let no_action = MapRefusal::NoAction {
            what: "the tool `fly`".to_owned(),
            resource: "invoices".to_owned(),
        };
        assert_eq!(counter.refused(counter.call("fly")).await, Refusal::Map(no_action));
        let patch = Call { method: "PATCH".to_owned(), ..call() };
        let method = MapRefusal::HttpMethod { method: "PATCH".to_owned() };
        assert_eq!(counter.refused(patch).await, Refusal::Map(method));
        let body = |text: &str| Call { body: text.as_bytes().to_vec(), ..call() };
        let prompts = body(r#"{"jsonrpc":"2.0","id":7,"method":"prompts/list"}"#);
        let refusal = counter.refused(prompts).await;
        let Refusal::Map(MapRefusal::RpcMethod { method, rpc }) = refusal else { panic!("no") };
        assert_eq!((method.as_str(), rpc.is_some()), ("prompts/list", true));
        assert_eq!(counter.refused(body("[]")).await.check(), "gateway::Map");
        let asked = credentials(TOOLS, "invoices.read");
        let now = counter.domain.now();
        let narrow = counter.domain.token(by_wit(&counter.clerk, asked, now)).await;
        let call = tool_call(&counter.clerk, &narrow, "invoices", "pay_invoice", now);
        let scope = oauth::Scope::parse("invoices.pay").unwrap();
        assert_eq!(counter.refused(call).await, Refusal::Scope { scope });
        let forbidden = counter.refused(counter.call("delete_invoice")).await;
        assert_eq!(forbidden.check(), "gateway::Denied");
        assert_eq!(counter.domain.refusal_of(counter.call("pay_invoice")).await, None);
    });
}

/// A permit that comes with a duty is no permit for who cannot do it.
/// req: AUTHZ-24 (part)
#[test]
fn s5_1_a_permit_with_an_obligation_lets_nothing_through() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let access = r#"
            @id("all") permit(principal, action, resource);
            @id("ask") @obligations("approval")
            permit(principal, action == Aims::Action::"tool.call", resource);
        "#;
        let (server, operator) = (counter.domain.server.world(), counter.domain.operator());
        let files = files_but(&[("access/main.cedar", access)]);
        let reason = "approvals".to_owned();
        let applied = flow::apply_policy::apply(&*server, &operator, files, reason, None).await;
        applied.unwrap().into_value().unwrap();
        counter.domain.sync().await;
        let refusal = counter.refused(counter.call("pay_invoice")).await;
        assert!(matches!(refusal, Refusal::Approval { .. }), "{refusal}");
    });
}

/// docs/design.md §2, idea 6.
/// req: OBS-04 (part)
#[test]
fn s11_a_gateway_that_lost_the_feed_refuses() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let (domain, clock) = (&counter.domain, counter.domain.gateway.clock());
        sim.sleep(Span::from_seconds(9)).await;
        assert_eq!(domain.refusal_of(counter.call("list_invoices")).await, None);
        sim.sleep(Span::from_seconds(2)).await;
        let lost = counter.refused(counter.call("list_invoices")).await;
        assert_eq!(lost.check(), "gateway::FeedLost");
        domain.sync().await;
        assert_eq!(domain.refusal_of(counter.call("list_invoices")).await, None);
        // A clock that goes back does not make what was heard any newer.
        clock.back(Span::from_seconds(600));
        let lost = counter.refused(counter.call("list_invoices")).await;
        assert_eq!(lost.check(), "gateway::FeedLost");
        clock.set_right();
        assert_eq!(domain.refusal_of(counter.call("list_invoices")).await, None);
    });
}

/// req: AUTHN-05
#[test]
fn s9_2_3_a_proof_is_taken_once_also_after_a_restart() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let call = counter.call("pay_invoice");
        assert_eq!(counter.domain.refusal_of(call.clone()).await, None);
        assert_eq!(counter.refused(call.clone()).await, Refusal::Replayed);
        counter.domain.restart_gateway();
        counter.domain.sync().await;
        assert_eq!(counter.refused(call).await, Refusal::Replayed);
        assert_eq!(counter.domain.upstream.forwards().len(), 1);
    });
}

/// req: OBS-01 (part), OBS-05 (part)
#[test]
fn s11_what_came_of_a_call_is_recorded_after_its_decision() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let (domain, journal) = (&counter.domain, counter.domain.gateway.journal().clone());
        let watched = journal.clone();
        domain.upstream.watch(move |_| {
            let last = watched.last().unwrap();
            assert_eq!((last.event, last.outcome), (Event::CallDecided, Outcome::Permitted));
        });
        for is_down in [false, true] {
            domain.upstream.set_down(is_down);
            let end = domain.call(counter.call("pay_invoice")).await.unwrap();
            let End::Forwarded(recorded, _) = end else { panic!("refused") };
            assert_eq!(recorded.value().is_err(), is_down);
            let finished = journal.last().unwrap();
            let outcome = if is_down { Outcome::Failed } else { Outcome::Done };
            assert_eq!((finished.event, finished.outcome), (Event::CallFinished, outcome));
            assert_eq!(finished.after, recorded.audit_id());
        }
    });
}

/// Without leave to sign there is nothing to forward instead of the access token.
/// req: AUTHZ-20 (part)
#[test]
fn s10_7_without_a_transaction_token_nothing_is_forwarded() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        counter.domain.restart_gateway();
        counter.domain.feed(&counter.domain.gateway).await.unwrap();
        let end = counter.domain.call(counter.call("list_invoices")).await;
        assert_eq!(end.unwrap_err().part, "server");
        assert_eq!(counter.domain.upstream.forwards().len(), 0);
        counter.domain.renew_leave().await.unwrap();
        assert_eq!(counter.domain.refusal_of(counter.call("list_invoices")).await, None);
    });
}

/// AUTHN-12: "Expiry and revocation bite inside live connections and streams".
/// req: AUTHN-12 (part)
#[test]
fn s11_a_stream_ends_when_somebody_it_concerns_is_suspended_or_its_token_ends() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let domain = &counter.domain;
        let live = |end| match end {
            End::Forwarded(_, live) => live,
            other => panic!("{other:?}"),
        };
        let first: Live = live(domain.call(counter.call("list_invoices")).await.unwrap());
        let ended = cut(&*domain.gateway.world(), &first).await.unwrap();
        assert_eq!(ended.check(), "gateway::Token");
        assert!(domain.gateway.world().clock().off_millis() == 0 && domain.now() >= first.expires);
        domain.sync().await;
        let now = domain.now();
        let asked = credentials(TOOLS, "invoices.read");
        let (token, _) = issued(&domain.ask(by_wit(&counter.clerk, asked, now)).await.unwrap());
        let call = tool_call(&counter.clerk, &token, "invoices", "list_invoices", now);
        let second = live(domain.call(call).await.unwrap());
        let gateway = domain.gateway.world();
        let watching = testkit::boxed(async { cut(&*gateway, &second).await.unwrap().check() });
        let acting = testkit::boxed(async {
            sim.sleep(Span::from_seconds(2)).await;
            domain.act("clerk", Act::Suspend).await;
            "acted"
        });
        let ends = sim.all(vec![watching, acting]).await;
        assert_eq!(ends, ["gateway::NotInForce", "acted"]);
        assert!(domain.now() < second.expires);
        assert!(!domain.gateway.keys().handles().is_empty());
        assert!(domain.gateway.world().keys().public(&domain.gateway.keys().handles()[0]).is_ok());
    });
}
