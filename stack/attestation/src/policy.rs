//! The attestation box's own policy: `attestation.toml`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wimse::WorkloadId;

use crate::evidence::{self, EvidenceRule};
use crate::join_token;
use crate::mechanism::{ALL, Refusal, by_name};
use crate::tpm_devid::{self, PcrValues};

pub use crate::class::RiskClass;

/// Which evidence, for whom, and what it may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How hosts and gateways may join, by mechanism name.
    pub node: BTreeMap<String, NodeRule>,
    /// How agents that live on no host of ours may enrol, by mechanism name; none: they may not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub enrol: BTreeMap<String, NodeRule>,
    /// Whose evidence is appraised for relying parties, by mechanism name; none: nobody's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verify: BTreeMap<String, NodeRule>,
    /// The risk classes of agents, by name.
    pub class: BTreeMap<String, RiskClass>,
    /// What documents about agents must be like, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, EvidenceRule>,
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
    #[serde(skip_serializing_if = "crate::class::is_off")]
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

    /// The same, or why that mechanism refuses.
    pub(crate) fn settings_of<T: DeserializeOwned>(
        &self,
        mechanism: &'static str,
    ) -> Result<T, Refusal> {
        self.settings().map_err(|why| Refusal::Settings { mechanism, why })
    }
}

impl Policy {
    /// What is wrong, as the key concerned and what to do.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (table, rules) in
            [("node", &self.node), ("enrol", &self.enrol), ("verify", &self.verify)]
        {
            faults.extend(faults_of(table, rules));
        }
        for (name, rule) in &self.evidence {
            let Some(kind) = evidence::by_name(name) else {
                let known: Vec<_> = evidence::KINDS.iter().map(|kind| kind.name()).collect();
                let message = format!("no evidence `{name}`; known are {}", known.join(", "));
                faults.push((format!("evidence.{name}"), message));
                continue;
            };
            let found = kind.faults(rule).into_iter();
            faults.extend(found.map(|(key, why)| (below("evidence", name, &key), why)));
        }
        for (name, class) in &self.class {
            let found = class.faults().into_iter();
            faults.extend(found.map(|(key, why)| (format!("class.{name}.{key}"), why)));
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

/// The tables of mechanisms: those of hosts, and those of agents without one.
fn faults_of(table: &str, rules: &BTreeMap<String, NodeRule>) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    for name in rules.keys().filter(|name| by_name(name).is_none()) {
        let known: Vec<_> = ALL.iter().map(|one| one.name()).collect();
        let message = format!("no mechanism `{name}`; known are {}", known.join(", "));
        faults.push((below(table, name, ""), message));
    }
    if table == "enrol" && rules.contains_key(join_token::NAME) {
        // A secret that somebody hands over says nothing of who shows it.
        let message = "a join token is for hosts; name a mechanism that proves what the agent is";
        faults.push((below(table, join_token::NAME, ""), message.to_owned()));
    }
    if table == "verify" {
        let others = rules.keys().filter_map(|name| by_name(name));
        for one in others.filter(|one| !one.takes_known_nonce()) {
            let message = "its evidence proves nothing to others: it answers no challenge, or one \
                           that nobody else may know";
            faults.push((below(table, one.name(), ""), message.to_owned()));
        }
    }
    for (name, rule) in rules {
        faults.extend(tpm_devid::fault(table, name, rule));
        let found = by_name(name).map(|one| one.faults(rule)).unwrap_or_default();
        faults.extend(found.into_iter().map(|(key, why)| (below(table, name, &key), why)));
    }
    faults
}

/// The path of a key in `[table.name]`.
fn below(table: &str, name: &str, key: &str) -> String {
    match key {
        "" => format!("{table}.{name}"),
        key => format!("{table}.{name}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::KINDS;

    #[test]
    fn s7_what_policy_names_must_exist() {
        let mut policy = Policy::default();
        let class = RiskClass::new;
        policy.node.insert("x509pop".to_owned(), NodeRule::default());
        policy.class.insert("standard".to_owned(), class(&[], &KINDS));
        policy.enrol.insert("x509pop".to_owned(), NodeRule::default());
        assert_eq!(policy.faults(), []);
        for (name, why) in
            [("join_token", "a join token is for hosts"), ("tpm", "no mechanism `tpm`")]
        {
            let rule = NodeRule::default();
            let enrol = BTreeMap::from([(name.to_owned(), rule)]);
            let faults = Policy { enrol, ..Policy::default() }.faults();
            assert_eq!((faults.len(), faults[0].0.clone()), (1, format!("enrol.{name}")));
            assert!(faults[0].1.starts_with(why), "{faults:?}");
        }
        // A relying party can be shown nothing that others could show as well, or must not know.
        for name in ["tpm_devid", "github_actions", "join_token"] {
            let verify = BTreeMap::from([(name.to_owned(), NodeRule::default())]);
            let faults = Policy { verify, ..Policy::default() }.faults();
            let told = (format!("verify.{name}"), "its evidence proves nothing to others");
            assert!(faults.iter().any(|(key, why)| *key == told.0 && why.starts_with(told.1)));
        }
        policy.node.insert("tpm".to_owned(), NodeRule::default());
        policy.class.insert("high".to_owned(), class(&[], &["x509", "pgp"]));
        let known: Vec<_> = ALL.iter().map(|one| one.name()).collect();
        policy.evidence.insert("horoscope".to_owned(), EvidenceRule::default());
        let unknown = format!("no mechanism `tpm`; known are {}", known.join(", "));
        let kinds: Vec<_> = evidence::KINDS.iter().map(|kind| kind.name()).collect();
        let no_kind = format!("no evidence `horoscope`; known are {}", kinds.join(", "));
        let expect = [
            ("node.tpm", unknown.as_str()),
            ("evidence.horoscope", no_kind.as_str()),
            ("class.high.issues", "no credential `pgp`; known are x509, wit, jwt"),
        ];
        let expect = expect.map(|(key, message)| (key.to_owned(), message.to_owned()));
        assert_eq!(policy.faults(), expect);
    }

    /// req: PROV-10 (part)
    #[test]
    fn s4_1_a_broker_is_named_with_the_classes_that_there_are() {
        let mut policy = Policy::default();
        policy.class.insert("mesh".to_owned(), RiskClass::new(&[], &KINDS));
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
        let class = |text: &str| serde_json::from_str::<RiskClass>(text);
        assert!(!node("{}").unwrap().spire_agents);
        assert!(node(r#"{"spire_agents":true}"#).unwrap().spire_agents);
        assert!(!class(r#"{"demands":[],"issues":[]}"#).unwrap().spire_agents);
        let on = r#"{"demands":[],"issues":[],"spire_agents":true}"#;
        assert!(class(on).unwrap().spire_agents);
        let written = |text: &'static str| serde_json::to_string(&class(text).unwrap()).unwrap();
        assert!(written(on).contains(r#""spire_agents":true"#));
        assert!(!written(r#"{"demands":[],"issues":[]}"#).contains("spire_agents"));
        assert!(class(r#"{"demands":[],"issues":[],"spire_agents":"yes"}"#).is_err());
    }
}
