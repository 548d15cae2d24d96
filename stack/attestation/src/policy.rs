//! The attestation box's own policy: `attestation.toml`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::Span;
use wimse::WorkloadId;

use crate::mechanism::{ALL, by_name};
use crate::selector::Selectors;
use crate::tpm_devid::{self, PcrValues};

/// Which evidence, for whom, and what it may lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How hosts and gateways may join, by mechanism name.
    pub node: BTreeMap<String, NodeRule>,
    /// The risk classes of agents, by name.
    pub class: BTreeMap<String, RiskClass>,
    /// The brokers, by identifier: workloads that may ask for others (SPIFFE Broker API).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broker: BTreeMap<WorkloadId, Broker>,
}

/// Whom a broker may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// The risk classes of those workloads.
    pub classes: Vec<String>,
}

/// What a host may join by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeRule {
    /// PEM certificates of the authorities that vouch, for mechanisms that need some.
    pub anchors: String,
    /// For `tpm_devid`: PEM certificates of the authorities that vouch for TPMs.
    pub endorsement_anchors: String,
    /// Whether SPIRE agents may join by it, through SPIRE's own API.
    #[serde(skip_serializing_if = "is_off")]
    pub spire_agents: bool,
    /// For `tpm_devid`: the values that PCRs of the SHA-256 bank may have.
    pub pcrs: PcrValues,
    /// The mechanism's own settings, as they were written; it refuses what it does not know
    /// ([`crate::Mechanism::faults`]).
    #[serde(flatten)]
    pub own: Map<String, Value>,
}

impl NodeRule {
    /// The mechanism's own settings.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, String> {
        T::deserialize(Value::Object(self.own.clone())).map_err(|error| error.to_string())
    }
}

/// What policy demands of agents of a class, and gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskClass {
    /// Selector names that a rule of this class must have: `unix:path`, `unix:sha256`.
    pub demands: Vec<String>,
    /// The credential kinds that it gets: `x509`, `wit`, `jwt`.
    pub issues: Vec<String>,
    /// An upper bound on their life, in seconds, below that of the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_max: Option<Span>,
    /// Whether a SPIRE agent may measure them: the server has its word alone for what they are.
    #[serde(default, skip_serializing_if = "is_off")]
    pub spire_agents: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
const fn is_off(switch: &bool) -> bool {
    !*switch
}

/// The credential kinds that a class may name.
pub const KINDS: [&str; 3] = ["x509", "wit", "jwt"];

impl RiskClass {
    /// The first selector name that is demanded and that the rule's selectors lack.
    pub fn undemanded(&self, rule: &Selectors) -> Option<String> {
        let has = |name: &String| rule.iter().any(|selector| selector.name() == name);
        self.demands.iter().find(|name| !has(name)).cloned()
    }

    /// `None` when the kind is not issued; else the bound on its life, if there is one.
    pub fn issues(&self, kind: &str) -> Option<Option<Span>> {
        self.issues.iter().any(|one| one == kind).then_some(self.lifetime_max)
    }
}

impl Policy {
    /// What is wrong, as the key concerned and what to do.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for name in self.node.keys().filter(|name| ALL.iter().all(|one| one.name() != *name)) {
            let known: Vec<_> = ALL.iter().map(|one| one.name()).collect();
            let message = format!("no mechanism `{name}`; known are {}", known.join(", "));
            faults.push((format!("node.{name}"), message));
        }
        faults.extend(self.node.iter().filter_map(|(name, rule)| tpm_devid::fault(name, rule)));
        for (name, rule) in &self.node {
            let found = by_name(name).map(|one| one.faults(rule)).unwrap_or_default();
            let below = |key: String| match key.as_str() {
                "" => format!("node.{name}"),
                key => format!("node.{name}.{key}"),
            };
            faults.extend(found.into_iter().map(|(key, message)| (below(key), message)));
        }
        for (name, class) in &self.class {
            for kind in class.issues.iter().filter(|kind| !KINDS.contains(&kind.as_str())) {
                let message = format!("no credential `{kind}`; known are {}", KINDS.join(", "));
                faults.push((format!("class.{name}.issues"), message));
            }
        }
        for (id, broker) in &self.broker {
            for class in broker.classes.iter().filter(|class| !self.class.contains_key(*class)) {
                let message = format!("no risk class `{class}`");
                faults.push((format!("broker.\"{id}\".classes"), message));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Selector;

    fn class(demands: &[&str], issues: &[&str], lifetime_max: Option<u64>) -> RiskClass {
        let own = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        let lifetime_max = lifetime_max.map(Span::from_seconds);
        RiskClass { demands: own(demands), issues: own(issues), lifetime_max, spire_agents: false }
    }

    /// req: ATT-07 (part)
    #[test]
    fn s7_a_risk_class_demands_kinds_of_evidence_together() {
        let check = |demands: &[&str], rule: &[&str], expect: Option<&str>| {
            let rule = Selectors::new(rule.iter().map(|text| Selector::parse(text).unwrap()));
            let lacks = class(demands, &[], None).undemanded(&rule.unwrap());
            assert_eq!(lacks.as_deref(), expect);
        };
        check(&[], &["unix:uid:0"], None);
        check(&["unix:path", "unix:sha256"], &["unix:path:/a", "unix:sha256:00"], None);
        check(&["unix:path", "unix:sha256"], &["unix:path:/a"], Some("unix:sha256"));
        // The value of one selector is not the name of another.
        check(&["unix:sha256"], &["unix:path:/unix:sha256"], Some("unix:sha256"));
        check(&["unix:uid"], &["unix:uid_:0"], Some("unix:uid"));
    }

    /// req: ATT-01 (part), PROV-11 (part)
    #[test]
    fn s7_a_risk_class_says_which_credentials_and_how_long() {
        let short = class(&[], &["x509", "wit"], Some(600));
        assert_eq!(short.issues("wit"), Some(Some(Span::from_seconds(600))));
        assert_eq!(short.issues("jwt"), None);
        assert_eq!(class(&[], &["jwt"], None).issues("jwt"), Some(None));
        assert_eq!(class(&[], &[], None).issues("x509"), None);
    }

    #[test]
    fn s7_what_policy_names_must_exist() {
        let mut policy =
            Policy { node: BTreeMap::new(), class: BTreeMap::new(), broker: BTreeMap::new() };
        policy.node.insert("x509pop".to_owned(), NodeRule::default());
        policy.class.insert("standard".to_owned(), class(&[], &KINDS, None));
        assert_eq!(policy.faults(), []);
        policy.node.insert("tpm".to_owned(), NodeRule::default());
        policy.class.insert("high".to_owned(), class(&[], &["x509", "pgp"], None));
        let known: Vec<_> = ALL.iter().map(|one| one.name()).collect();
        let unknown = format!("no mechanism `tpm`; known are {}", known.join(", "));
        let expect = [
            ("node.tpm", unknown.as_str()),
            ("class.high.issues", "no credential `pgp`; known are x509, wit, jwt"),
        ];
        let expect = expect.map(|(key, message)| (key.to_owned(), message.to_owned()));
        assert_eq!(policy.faults(), expect);
    }

    /// req: PROV-10 (part)
    #[test]
    fn s4_1_a_broker_is_named_with_the_classes_that_there_are() {
        let mut policy =
            Policy { node: BTreeMap::new(), class: BTreeMap::new(), broker: BTreeMap::new() };
        policy.class.insert("mesh".to_owned(), class(&[], &KINDS, None));
        let classes = ["mesh", "none"].map(str::to_owned).to_vec();
        let id = WorkloadId::parse("spiffe://demo.example/service/proxy").unwrap();
        policy.broker.insert(id, Broker { classes });
        let key = r#"broker."spiffe://demo.example/service/proxy".classes"#.to_owned();
        assert_eq!(policy.faults(), [(key, "no risk class `none`".to_owned())]);
        let broker = |text: &str| {
            let text = format!(r#"{{"node":{{}},"class":{{}},"broker":{text}}}"#);
            serde_json::from_str::<Policy>(&text)
        };
        assert!(broker(r#"{"spiffe://demo.example/a":{"classes":["mesh"]}}"#).is_ok());
        for bad in [
            r#"{"proxy":{"classes":["mesh"]}}"#,
            r#"{"spiffe://demo.example/a":{}}"#,
            r#"{"spiffe://demo.example/a":{"classes":[],"all":true}}"#,
        ] {
            assert!(broker(bad).is_err(), "{bad}");
        }
    }

    /// Nobody's word is taken that policy does not name.
    #[test]
    fn s7_no_spire_agent_is_believed_unless_policy_says_so() {
        let node = serde_json::from_str::<NodeRule>;
        let class = serde_json::from_str::<RiskClass>;
        assert!(!node("{}").unwrap().spire_agents);
        assert!(node(r#"{"spire_agents":true}"#).unwrap().spire_agents);
        assert!(!class(r#"{"demands":[],"issues":[]}"#).unwrap().spire_agents);
        let on = r#"{"demands":[],"issues":[],"spire_agents":true}"#;
        assert!(class(on).unwrap().spire_agents);
        assert_eq!(serde_json::to_string(&class(on).unwrap()).unwrap(), on);
        assert!(class(r#"{"demands":[],"issues":[],"spire_agents":"yes"}"#).is_err());
    }
}
