//! What happens in the town, drawn from the seed.

mod calls;
mod tokens;

use std::sync::Arc;

use attestation::mechanism::Role;
use env::{Clock, IssueKind, IssueOrder, PeerFault, Peers, World};
use flow::{agents, apply_policy, join, join_token, rotate};
use identifier::AgentName;
use testkit::fixture::{
    DOMAIN, attempt, by_jwt_svid, by_wit, certificate_request, credentials, exchange, files,
    files_but, process, registration,
};
use testkit::{LinkRates, Rng, StoreRates, boxed};
use time::Span;
use wimse::WorkloadId;

use crate::model::{Claims, Held, Token, keep};
use crate::town::{AGENTS, BATCH, Town, Which};

const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const REPORTS: &str = "https://gateway.demo.example:8446/reports";
const NOTICES: &str = "https://gateway.demo.example:8446/notices";
/// The most that a clock is set, in milliseconds.
const CLOCK_SET_MAX: u64 = 600_000;
/// The rule that freezes payments.
const FREEZE: &str = r#"
    @id("freeze") forbid(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "pay_invoice" };
"#;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Register,
    Identity,
    Issue,
    TokenByWit,
    TokenByJwtSvid,
    TokenByCertificate,
    Task,
    Exchange,
    Transaction,
    Story,
    Chain,
    Call,
    CallElsewhere,
    CallReplayed,
    CallByProxy,
    Suspend,
    Resume,
    Revoke,
    Policy,
    Join,
    Rotate,
    SetClock,
    SetClockRight,
    TakeClocks,
    RestartNode,
    RestartGateway,
    RestartServer,
    Faults,
    Link,
    Mend,
}

/// How often each act is drawn, by weight.
const WEIGHTS: [(Act, u64); 30] = [
    (Act::Register, 4),
    (Act::Identity, 16),
    (Act::Issue, 5),
    (Act::TokenByWit, 14),
    (Act::TokenByJwtSvid, 6),
    (Act::TokenByCertificate, 5),
    (Act::Task, 8),
    (Act::Exchange, 12),
    (Act::Transaction, 5),
    (Act::Story, 14),
    (Act::Chain, 14),
    (Act::Call, 30),
    (Act::SetClockRight, 8),
    (Act::CallElsewhere, 4),
    (Act::CallReplayed, 10),
    (Act::CallByProxy, 8),
    (Act::Suspend, 7),
    (Act::Resume, 9),
    (Act::Revoke, 1),
    (Act::Policy, 3),
    (Act::Join, 3),
    (Act::Rotate, 2),
    (Act::SetClock, 4),
    (Act::TakeClocks, 6),
    (Act::RestartNode, 2),
    (Act::RestartGateway, 3),
    (Act::RestartServer, 2),
    (Act::Faults, 3),
    (Act::Link, 4),
    (Act::Mend, 8),
];

impl Act {
    pub(crate) fn draw(rng: &Rng) -> Self {
        let mut left = rng.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        let found = WEIGHTS.iter().find(|(_, weight)| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        found.unwrap().0
    }

    /// A process that ends does not go on with what it had begun: restarts stand alone, and so
    /// does what is said at a start.
    pub(crate) fn is_alone(self) -> bool {
        use Act::{RestartGateway, RestartNode, RestartServer, TakeClocks};
        matches!(self, RestartNode | RestartGateway | RestartServer | TakeClocks)
    }
}

impl Town {
    /// Does it; says in a few words what came of it.
    pub(crate) async fn act(self: &Arc<Self>, act: Act) -> String {
        let told = match act {
            Act::Register => self.register().await,
            Act::Identity => self.identity().await,
            Act::Issue => self.issue().await,
            Act::TokenByWit => self.token_by_wit().await,
            Act::TokenByJwtSvid => self.token_by_jwt_svid().await,
            Act::TokenByCertificate => self.token_by_certificate().await,
            Act::Task => self.task().await,
            Act::Exchange => self.exchange().await,
            Act::Transaction => self.transaction().await,
            Act::Story => self.story().await,
            Act::Chain => self.chain().await,
            Act::Call => self.some_call().await,
            Act::CallElsewhere => self.call_elsewhere().await,
            Act::CallReplayed => self.call_replayed().await,
            Act::CallByProxy => self.call_by_proxy().await,
            Act::Suspend => self.lifecycle(provisioning::Act::Suspend).await,
            Act::Resume => self.lifecycle(provisioning::Act::Resume).await,
            Act::Revoke => self.lifecycle(provisioning::Act::Revoke).await,
            Act::Policy => self.policy().await,
            Act::Join => self.join_at_once().await,
            Act::Rotate => self.rotate().await,
            Act::SetClock => self.set_clock(),
            Act::SetClockRight => self.set_clock_right(),
            Act::TakeClocks => self.take_clocks().await,
            Act::RestartNode | Act::RestartGateway | Act::RestartServer => self.restart(act).await,
            Act::Faults => self.fail(),
            Act::Link => self.worsen_link(),
            Act::Mend => self.mend(),
        };
        format!("{act:?} {told}")
    }

    /// A name of the town, mostly of an agent of the beginning.
    fn name(&self) -> String {
        let rng = self.sim.rng();
        match rng.below(10) {
            0 => format!("agent-{}", rng.below(8)),
            1 => BATCH.to_owned(),
            _ => rng.pick(&AGENTS).unwrap().0.to_owned(),
        }
    }

    /// Somebody who is not in force.
    fn dead_name(&self) -> Option<String> {
        let model = self.model();
        let dead: Vec<_> = model.dead.keys().collect();
        let id = self.sim.rng().pick(&dead)?;
        id.rsplit('/').next().map(str::to_owned)
    }

    async fn register(&self) -> String {
        let name = format!("agent-{}", self.sim.rng().below(8));
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let entry = registration(&name, &["invoices"]);
        match agents::register(&*server, &operator, entry).await {
            Err(_) => format!("{name}: unavailable"),
            Ok(done) => {
                self.check_recorded(&self.domain.server, done.audit_id());
                match done.into_value() {
                    Ok(_) => {
                        let is_first = self.model().registered.insert(name.clone());
                        assert!(is_first, "{name} was registered twice");
                        format!("{name}: done")
                    }
                    Err(refusal) => format!("{name}: {}", refusal.check()),
                }
            }
        }
    }

    /// The node asks for a credential that it does not hold, whatever its own replica says.
    async fn issue(&self) -> String {
        let (name, asked) = (self.sim.rng().pick(&AGENTS).unwrap().0, self.now());
        let id = format!("spiffe://{DOMAIN}/agent/{name}");
        let order = IssueOrder {
            agent: WorkloadId::parse(&id).unwrap(),
            process: process(&format!("/opt/{name}")),
            kind: IssueKind::X509 { request: certificate_request() },
        };
        match self.domain.node.world().peers().issue(order).await {
            Err(PeerFault::Unavailable(why)) => format!("{name}: unavailable: {}", why.part),
            Err(PeerFault::Refused { check, .. }) => format!("{name}: {check}"),
            Ok(_) => {
                let dead = self.model().dead.get(&id).is_some_and(|since| *since < asked);
                assert!(!dead, "a credential for {id}, which is not in force");
                format!("{name}: issued")
            }
        }
    }

    async fn identity(&self) -> String {
        let name = self.name();
        match self.identity_of(&name).await {
            Ok(_) => format!("{name}: given"),
            Err(told) => format!("{name}: {told}"),
        }
    }

    async fn identity_of(&self, name: &str) -> Result<Held, String> {
        let asked = self.now();
        match self.domain.try_party(&format!("/opt/{name}")).await {
            Err(why) => Err(format!("unavailable: {}", why.part)),
            Ok(Err(refusal)) => Err(refusal.check().to_owned()),
            Ok(Ok(party)) => {
                self.check_in_force_at(Which::Node, &party.id, asked);
                self.check_given(&party, asked);
                let (held, at) = (Held { party, asked }, self.sim.rng().index(1_000));
                keep(&mut self.model().held, held.clone(), at);
                Ok(held)
            }
        }
    }

    /// An agent gets its identity, a token for the tools, and calls one.
    async fn story(&self) -> String {
        let name = self.name();
        let told = async {
            let held = self.identity_of(&name).await?;
            let asked = credentials(TOOLS, "invoices.read invoices.pay");
            let call = by_wit(&held.party, asked, self.node_time());
            let token = self.obtain(call, Some(&held), None).await?;
            Ok::<_, String>(self.call_tool(held, token).await)
        };
        format!("{name}: {}", told.await.unwrap_or_else(|told| told))
    }

    /// The batch job gives an agent a task; the agent exchanges, perhaps hands on, and calls a
    /// tool.
    async fn chain(&self) -> String {
        let rng = self.sim.rng();
        let handed = |one: &&(&'static str, _, _)| one.0 != "kept";
        let names: Vec<_> = AGENTS.iter().filter(handed).map(|one| one.0).collect();
        let (first, second) = (*rng.pick(&names).unwrap(), *rng.pick(&names).unwrap());
        let agent = |name: &str| format!("spiffe://{DOMAIN}/agent/{name}");
        let told = async {
            let svid = self.jwt_svid(BATCH).await.ok_or("none")?;
            let asked = credentials(&agent(first), "invoices.read invoices.pay");
            let mut token = self.obtain(by_jwt_svid(&svid.0, &svid.1, asked), None, None).await?;
            let mut held = self.identity_of(first).await?;
            if first != second {
                let next = exchange(&token.text, &agent(second), "");
                let call = by_wit(&held.party, next, self.node_time());
                token = self.obtain(call, Some(&held), Some(&token)).await?;
                held = self.identity_of(second).await?;
            }
            let call = by_wit(&held.party, exchange(&token.text, TOOLS, ""), self.node_time());
            token = self.obtain(call, Some(&held), Some(&token)).await?;
            Ok::<_, String>(self.call_tool(held, token).await)
        };
        format!("{first}, {second}: {}", told.await.unwrap_or_else(|told| told))
    }

    /// Credentials that somebody holds, perhaps for long.
    fn some_held(&self) -> Option<Held> {
        let model = self.model();
        self.sim.rng().pick(&model.held).cloned()
    }

    fn some_token(&self, fits: impl Fn(&Claims) -> bool) -> Option<Token> {
        let model = self.model();
        let fit: Vec<_> = model.tokens.iter().filter(|token| fits(&token.claims)).collect();
        let from = if self.sim.rng().chance(300) { 0 } else { fit.len().saturating_sub(6) };
        self.sim.rng().pick(&fit[from..]).map(|token| (*token).clone())
    }

    fn some_scope(&self) -> &'static str {
        self.sim.rng().pick(&["invoices.read", "invoices.read invoices.pay", ""]).unwrap()
    }

    /// Mostly credentials that fit, else any.
    fn held_that(&self, fits: impl Fn(&Held) -> bool) -> Option<Held> {
        if self.sim.rng().chance(150) {
            return self.some_held();
        }
        let model = self.model();
        let fit: Vec<_> = model.held.iter().filter(|held| fits(held)).collect();
        let from = if self.sim.rng().chance(300) { 0 } else { fit.len().saturating_sub(3) };
        self.sim.rng().pick(&fit[from..]).map(|held| (*held).clone())
    }

    /// Proofs are made on the node, by its clock.
    fn node_time(&self) -> time::UnixTime {
        self.domain.node.clock().now()
    }

    async fn lifecycle(&self, act: provisioning::Act) -> String {
        let name = match act {
            // Those of the beginning go on to the end.
            provisioning::Act::Revoke => format!("agent-{}", self.sim.rng().below(8)),
            provisioning::Act::Resume => self.dead_name().unwrap_or_else(|| self.name()),
            _ => self.name(),
        };
        let kind = if name == BATCH { "service" } else { "agent" };
        let id = format!("spiffe://{DOMAIN}/{kind}/{name}");
        let parsed = AgentName::parse(&name).unwrap();
        let is_resume = act == provisioning::Act::Resume;
        if is_resume {
            // From here on it may be back, whatever the answer.
            self.model().resume_begins(&id);
        }
        let before = self.model().resumes_of(&id);
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let end = agents::act(&*server, &operator, &parsed, act, "town".to_owned()).await;
        if is_resume {
            self.model().resume_ends(&id);
        }
        let Ok(done) = end else { return format!("{name}: unavailable") };
        self.check_recorded(&self.domain.server, done.audit_id());
        match done.into_value() {
            Err(refusal) => format!("{name}: {}", refusal.check()),
            Ok(_) => {
                let at = self.now();
                if !is_resume {
                    self.model().killed(&id, at, before);
                }
                format!("{name}: done")
            }
        }
    }

    async fn policy(&self) -> String {
        let freeze = self.sim.rng().chance(500);
        let set = if freeze { files_but(&[("access/freeze.cedar", FREEZE)]) } else { files() };
        if !freeze {
            self.model().frozen = None;
        }
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        match apply_policy::apply(&*server, &operator, set, "town".to_owned(), None).await {
            Err(_) => format!("freeze {freeze}: unavailable"),
            Ok(done) => {
                self.check_recorded(&self.domain.server, done.audit_id());
                done.into_value().unwrap();
                let at = self.now();
                self.model().frozen = freeze.then_some(at);
                format!("freeze {freeze}: done")
            }
        }
    }

    /// Several hosts have the same join token.
    async fn join_at_once(&self) -> String {
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let life = Span::from_seconds(60);
        let made = join_token::create(&*server, &operator, Role::Node, None, life).await;
        let Ok(made) = made else { return "unavailable".to_owned() };
        let token = made.into_value().expose().as_bytes().to_vec();
        let attempts: Vec<_> = (0..3).map(|_| attempt("join_token", Role::Node, &token)).collect();
        let joins = attempts.iter().map(|attempt| boxed(join::join(&*server, attempt, None)));
        let ends = self.sim.all(joins.collect()).await;
        let joined = ends.into_iter().filter(|end| match end {
            Ok(join::End::Decided(recorded)) => {
                self.check_recorded(&self.domain.server, recorded.audit_id());
                recorded.value().is_ok()
            }
            _ => false,
        });
        let joined = joined.count();
        assert!(joined <= 1, "{joined} hosts joined by one token");
        format!("{joined} of 3")
    }

    async fn rotate(&self) -> String {
        let web = ["localhost".to_owned()];
        match rotate::step(&*self.domain.server.world(), &web).await {
            Ok(_) => "done".to_owned(),
            Err(why) => format!("unavailable: {}", why.part),
        }
    }

    fn set_clock(&self) -> String {
        let rng = self.sim.rng();
        let host = rng.index(3);
        let clock = [&self.domain.server, &self.domain.node, &self.domain.gateway][host].clock();
        let longest = if rng.chance(300) { 3_000 } else { CLOCK_SET_MAX };
        let (span, before) = (Span::from_millis(rng.below(longest)), clock.off_millis());
        match rng.below(3) {
            0 => clock.forth(span),
            1 => clock.back(span),
            _ => clock.set_right(),
        }
        let back = u64::try_from(before - clock.off_millis()).unwrap_or_default();
        match host {
            1 => self.heard_mut(Which::Node, |heard| heard.is_set_back(back)),
            2 => self.heard_mut(Which::Gateway, |heard| heard.is_set_back(back)),
            _ => {}
        }
        format!("of host {host}: {before} to {} ms", clock.off_millis())
    }

    fn set_clock_right(&self) -> String {
        for (host, which) in [
            (&self.domain.server, None),
            (&self.domain.node, Some(Which::Node)),
            (&self.domain.gateway, Some(Which::Gateway)),
        ] {
            let back = u64::try_from(host.clock().off_millis()).unwrap_or_default();
            host.clock().set_right();
            if let Some(which) = which {
                self.heard_mut(which, |heard| heard.is_set_back(back));
            }
        }
        "all".to_owned()
    }

    /// Operators look at the clocks, find them right, and say so.
    async fn take_clocks(&self) -> String {
        let mut taken = 0;
        for host in [&self.domain.server, &self.domain.node, &self.domain.gateway] {
            taken += usize::from(host.take_clock().await.is_ok());
        }
        format!("{taken} of 3")
    }

    async fn restart(&self, act: Act) -> String {
        match act {
            Act::RestartNode => self.domain.restart_node(),
            Act::RestartGateway => self.domain.restart_gateway(),
            _ => match self.domain.restart_server().await {
                Ok(()) => {}
                Err(why) => return format!("not ready: {}", why.part),
            },
        }
        "done".to_owned()
    }

    fn fail(&self) -> String {
        let rng = self.sim.rng();
        let host = rng.index(3);
        let [server, node, gateway] =
            [&self.domain.server, &self.domain.node, &self.domain.gateway];
        let rates = StoreRates {
            lost: rng.below(60),
            written_anyway: rng.below(60),
            overtaken: rng.below(150),
            unread: rng.below(20),
        };
        self.faults([server, node, gateway][host], rates);
        [server, node, gateway][host].keys().set_unavailable(rng.below(20));
        format!("of host {host}: {rates:?}")
    }

    fn worsen_link(&self) -> String {
        let rng = self.sim.rng();
        let which = *rng.pick(&[Which::Node, Which::Gateway]).unwrap();
        let link = self.host(which).link();
        if rng.chance(300) {
            link.cut(true);
            return format!("of {which:?} cut");
        }
        let rates = LinkRates {
            lost_asking: rng.below(150),
            lost_answering: rng.below(150),
            repeated: rng.below(200),
            delay_max: Span::from_millis(rng.below(150)),
        };
        link.set_rates(rates);
        format!("of {which:?}: {rates:?}")
    }

    fn mend(&self) -> String {
        for host in [&self.domain.server, &self.domain.node, &self.domain.gateway] {
            self.faults(host, StoreRates::default());
            host.keys().set_unavailable(0);
            host.link().set_rates(LinkRates::default());
            host.link().cut(false);
        }
        "all".to_owned()
    }
}
