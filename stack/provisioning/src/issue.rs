//! Whether a credential is issued, which kind and for how long: evidence decides
//! (S1 §7 "Agent Attestation", §8; ATT-01, PROV-03).

use attestation::class::{Grade, Shortfall};
use attestation::policy::RiskClass;
use attestation::verifier::Summary;
use attestation::{Rule, Selectors};
use credential::policy::Lifetimes;
use serde::{Deserialize, Serialize};
use time::Span;
use wimse::WorkloadId;

use crate::lifecycle::{Lifecycle, NotInForce};

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// X.509-SVID.
    X509,
    /// Workload identity token.
    Wit,
    /// JWT-SVID: bearer.
    Jwt,
}

impl CredentialKind {
    /// The name in policy, records and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Wit => "wit",
            Self::Jwt => "jwt",
        }
    }

    /// How whoever shows one may prove that it is its own (CRED-07).
    pub const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::X509 => &["mtls"],
            Self::Wit => &["wpt"],
            Self::Jwt => &["bearer"],
        }
    }

    /// The longest life that the domain gives it.
    pub const fn longest(self, lifetimes: &Lifetimes) -> Span {
        match self {
            Self::X509 => lifetimes.x509_svid,
            Self::Wit => lifetimes.wit,
            Self::Jwt => lifetimes.jwt_svid,
        }
    }
}

/// What is asked, and the facts it is decided by.
#[derive(Debug)]
pub struct Demand<'a> {
    /// The kind asked for.
    pub kind: CredentialKind,
    /// The node that measured; `None`: the agent runs on none, and proved what it is itself.
    pub node: Option<&'a WorkloadId>,
    /// What was measured or proved.
    pub found: &'a Selectors,
    /// The rule of the agent's record.
    pub rule: &'a Rule,
    /// The agent's standing.
    pub lifecycle: &'a Lifecycle,
    /// What policy says of the agent's risk class.
    pub class: &'a RiskClass,
    /// The domain's lifetimes.
    pub lifetimes: &'a Lifetimes,
}

impl Demand<'_> {
    /// Whether the process is the agent at all, and may be here: only then is it worth an
    /// appraisal.
    pub fn fits(&self) -> Result<(), IssueRefusal> {
        self.lifecycle.is_active()?;
        match self.node {
            Some(node) if !self.rule.allows_node(node) => {
                return Err(IssueRefusal::Node { node: node.clone() });
            }
            // A record that names its nodes does not mean an agent elsewhere.
            None if !self.rule.nodes.is_empty() => return Err(IssueRefusal::NoNode),
            _ => {}
        }
        // Asked of the rule as the node asks it: a rule that demands nothing is nobody's.
        if !self.rule.matches(self.found) {
            let missing = self.rule.missing_from(self.found).map(ToString::to_string).collect();
            return Err(IssueRefusal::Evidence { missing });
        }
        if let Some(name) = self.class.undemanded(&self.rule.selectors) {
            return Err(IssueRefusal::RuleTooWeak { name });
        }
        Ok(())
    }

    /// The life that the credential gets, or why there is none. `result` is what the verifier found
    /// out about the agent, its process and its host.
    pub fn decide(&self, result: &Summary) -> Result<Span, IssueRefusal> {
        self.fits()?;
        self.life(self.class.grade(result)?)
    }

    /// The life that it gets at most, whatever is found out about the agent.
    pub fn at_most(&self) -> Result<Span, IssueRefusal> {
        self.fits()?;
        self.life(Grade::Full)
    }

    fn life(&self, grade: Grade) -> Result<Span, IssueRefusal> {
        let Some(bound) = self.class.issues(self.kind.name(), grade) else {
            return Err(IssueRefusal::Kind { kind: self.kind.name() });
        };
        let longest = self.kind.longest(self.lifetimes);
        Ok(bound.map_or(longest, |bound| bound.min(longest)))
    }
}

/// Why no credential is issued: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueRefusal {
    /// The agent is suspended, revoked or retired.
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
    /// Another node than the record allows.
    #[error("the record does not allow the node `{node}`")]
    Node {
        /// The node that asked.
        node: WorkloadId,
    },
    /// No node at all, where the record names some.
    #[error("the record allows the agent on nodes that it names, and on no other place")]
    NoNode,
    /// The process lacks facts that the record's rule demands.
    #[error("the process lacks `{}`", .missing.join("`, `"))]
    Evidence {
        /// The selectors of the rule that were not found.
        missing: Vec<String>,
    },
    /// The record's rule is weaker than policy demands of its risk class.
    #[error("the record's rule has no `{name}` selector, which policy demands of its risk class")]
    RuleTooWeak {
        /// The selector name that policy demands.
        name: String,
    },
    /// What was found out is not enough for the risk class.
    #[error(transparent)]
    Attestation(#[from] Shortfall),
    /// Policy gives the risk class no such credential.
    #[error("policy issues no `{kind}` credential to this risk class")]
    Kind {
        /// The kind asked for.
        kind: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use attestation::Selector;
    use time::UnixTime;

    use super::*;
    use crate::lifecycle::{Act, Epoch, State};

    const SINCE: UnixTime = UnixTime::from_seconds(9);

    /// What the demands of these tests borrow from: a process that may have everything.
    struct Facts {
        node: WorkloadId,
        found: Selectors,
        rule: Rule,
        lifecycle: Lifecycle,
        class: RiskClass,
        result: Summary,
        lifetimes: Lifetimes,
    }

    impl Facts {
        fn new() -> Self {
            let demanded = ["unix:path:/opt/a", "unix:uid:1000"];
            let class = RiskClass::new(&["unix:path"], &["x509", "wit", "jwt"]);
            Self {
                node: node("a"),
                found: selectors(&["unix:gid:5", demanded[0], demanded[1]]),
                rule: Rule {
                    selectors: selectors(&demanded),
                    nodes: vec![node("a")],
                    class: "standard".to_owned(),
                },
                lifecycle: Lifecycle::begin(Epoch(1), UnixTime::EPOCH),
                class,
                result: Summary::default(),
                lifetimes: Lifetimes::default(),
            }
        }

        fn ask(&self, kind: CredentialKind) -> Result<Span, IssueRefusal> {
            let Self { node, found, rule, lifecycle, class, result, lifetimes } = self;
            let node = Some(node);
            Demand { kind, node, found, rule, lifecycle, class, lifetimes }.decide(result)
        }
    }

    fn node(name: &str) -> WorkloadId {
        WorkloadId::parse(&format!("spiffe://demo.example/aims/node/join_token/{name}")).unwrap()
    }

    fn selectors(all: &[&str]) -> Selectors {
        Selectors::new(all.iter().map(|text| Selector::parse(text).unwrap())).unwrap()
    }

    const KINDS: [CredentialKind; 3] =
        [CredentialKind::X509, CredentialKind::Wit, CredentialKind::Jwt];

    /// req: ATT-01 (part), PROV-11 (part), CRED-06 (part)
    #[test]
    fn s8_evidence_and_policy_decide_which_credential_and_how_long() {
        let mut facts = Facts::new();
        let lives = |facts: &Facts| KINDS.map(|kind| facts.ask(kind).unwrap().seconds());
        assert_eq!(lives(&facts), [3_600, 3_600, 300]);
        // A class may shorten a life, and never lengthens it.
        facts.class.lifetime_max = Some(Span::from_seconds(600));
        assert_eq!(lives(&facts), [600, 600, 300]);
        facts.class.lifetime_max = Some(Span::from_seconds(100_000));
        assert_eq!(lives(&facts), [3_600, 3_600, 300]);
        facts.rule.nodes = Vec::new();
        facts.node = node("b");
        assert_eq!(lives(&facts), [3_600, 3_600, 300], "no node named: every node");
    }

    /// Each check alone stops the issue, whatever the kind.
    /// req: ATT-01 (part), PROV-03 (part)
    #[test]
    fn s8_each_check_refuses_by_its_own_name() {
        let check = |edit: &dyn Fn(&mut Facts), expect: IssueRefusal| {
            let mut facts = Facts::new();
            edit(&mut facts);
            for kind in KINDS {
                assert_eq!(facts.ask(kind).as_ref(), Err(&expect));
            }
        };
        for (act, state) in [
            (Act::Suspend, State::Suspended),
            (Act::Revoke, State::Revoked),
            (Act::Retire, State::Retired),
        ] {
            let refusal = IssueRefusal::NotInForce(NotInForce::State { state, since: SINCE });
            let moved = |facts: &mut Facts| {
                let after = facts.lifecycle.after(act, Epoch(2), String::new(), SINCE);
                facts.lifecycle = after.unwrap();
            };
            check(&moved, refusal);
        }
        check(&|facts| facts.node = node("b"), IssueRefusal::Node { node: node("b") });
        let missing = vec!["unix:path:/opt/a".to_owned()];
        check(
            &|facts| facts.found = selectors(&["unix:path:/opt/b", "unix:uid:1000"]),
            IssueRefusal::Evidence { missing },
        );
        let missing = vec!["unix:path:/opt/a".to_owned(), "unix:uid:1000".to_owned()];
        check(&|facts| facts.found = selectors(&[]), IssueRefusal::Evidence { missing });
        check(
            &|facts| facts.class.demands.push("unix:sha256".to_owned()),
            IssueRefusal::RuleTooWeak { name: "unix:sha256".to_owned() },
        );
    }

    /// req: PROV-05 (part)
    #[test]
    fn s8_a_kind_that_the_class_does_not_name_is_refused() {
        for kind in KINDS {
            let mut facts = Facts::new();
            facts.class.issues.retain(|name| name != kind.name());
            for asked in KINDS {
                let refused = Err(IssueRefusal::Kind { kind: asked.name() });
                let found = facts.ask(asked);
                assert_eq!(found.is_err(), asked == kind);
                assert!(found.is_ok() || found == refused);
            }
        }
    }

    /// A record without a single selector would be every process.
    /// req: ATT-01 (part)
    #[test]
    fn s8_a_rule_that_demands_nothing_gets_nothing() {
        let mut facts = Facts::new();
        facts.rule.selectors = selectors(&[]);
        facts.class.demands = Vec::new();
        let refused = IssueRefusal::Evidence { missing: Vec::new() };
        assert_eq!(facts.ask(CredentialKind::X509), Err(refused));
    }

    #[test]
    fn s8_a_refusal_says_what_was_missing() {
        let missing = vec!["unix:path:/opt/a".to_owned(), "unix:uid:1000".to_owned()];
        let text = IssueRefusal::Evidence { missing }.to_string();
        assert_eq!(text, "the process lacks `unix:path:/opt/a`, `unix:uid:1000`");
    }
}
