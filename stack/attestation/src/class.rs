//! A risk class of agents: what their evidence must show together, and what they get for it
//! (ATT-07, PROV-11).

use std::collections::BTreeSet;

use rats::Tier;
use serde::{Deserialize, Serialize};
use time::Span;

use crate::evidence;
use crate::mechanism;
use crate::selector::{Selector, Selectors};
use crate::verifier::{HOST, PLATFORM, PROCESS, Summary};

/// The credential kinds that a class may name.
pub const KINDS: [&str; 3] = ["x509", "wit", "jwt"];
/// How long a result counts, unless policy says otherwise, in seconds.
pub const REASSESS_SECONDS: u64 = 3_600;
/// How long at least: below that, each renewal would be an appraisal of its own.
pub const REASSESS_SECONDS_MIN: u64 = 30;
/// How long at most.
pub const REASSESS_SECONDS_MAX: u64 = credential::policy::RESULT_LIFE_MAX.seconds();

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
    /// What must be attested beside the process, all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attested: Vec<Attested>,
    /// What an agent gets whose result is `warning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned: Option<Warned>,
    /// How long a result counts before everything is appraised again.
    #[serde(default = "reassess")]
    pub reassess: Span,
    /// What becomes of the credentials that an agent holds when its result gets worse.
    #[serde(default)]
    pub fall: Fall,
    /// Whether a SPIRE agent may measure them: the server has its word alone for what they are.
    #[serde(default, skip_serializing_if = "is_off")]
    pub spire_agents: bool,
    /// What its credentials say beside who it is.
    #[serde(default = "every_attribute")]
    pub attributes: BTreeSet<Attribute>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
pub(crate) const fn is_off(switch: &bool) -> bool {
    !*switch
}

const fn reassess() -> Span {
    Span::from_seconds(REASSESS_SECONDS)
}

fn every_attribute() -> BTreeSet<Attribute> {
    Attribute::ALL.into_iter().collect()
}

/// Some of these parts of a result: all of them, or so many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    /// Submodules: `process`, `host`, a mechanism that the host joined by as `host.tpm_devid`,
    /// `platform` or `platform.x509pop` of an agent that enrolled, or a kind of document about the
    /// agent, as `aibom`.
    pub of: Vec<String>,
    /// How many of them; all, if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<usize>,
    /// The worst tier that counts: `affirming`, or `warning`.
    #[serde(default = "affirming")]
    pub tier: Tier,
    /// Facts that the documents must have given, all of them: `provenance:builder:…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Selector>,
}

const fn affirming() -> Tier {
    Tier::Affirming
}

impl Attested {
    fn least(&self) -> usize {
        self.least.unwrap_or(self.of.len())
    }
}

/// What remains of a class for an agent that something is to be said against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warned {
    /// The credential kinds that it gets; none: it gets nothing.
    pub issues: Vec<String>,
    /// An upper bound on their life, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_max: Option<Span>,
}

/// What becomes of what an agent holds when its result gets worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fall {
    /// It ends by itself; the next one is decided by the new result.
    Keep,
    /// It is dead at once; the next one is decided by the new result.
    #[default]
    End,
    /// It is dead at once, and the agent is suspended until an operator resumes it.
    Suspend,
}

impl Fall {
    /// The name in policy and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::End => "end",
            Self::Suspend => "suspend",
        }
    }
}

/// What a credential may say about its agent (CRED-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Who answers for it.
    Owner,
    /// The hash of what it is able to do.
    Capabilities,
    /// Where it is called.
    Locator,
    /// The hash of its attestation result.
    Result,
    /// How a caller may prove that a credential is its own.
    Methods,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Owner, Self::Capabilities, Self::Locator, Self::Result, Self::Methods];
}

/// How much of its class an agent gets; a greater one is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// What is left for it after a warning.
    Warned,
    /// All.
    Full,
}

impl Grade {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warned => "warned",
            Self::Full => "full",
        }
    }
}

/// Why a result is not enough for a class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// A part must not be trusted.
    #[error("the attestation of `{}` is contraindicated", .parts.join("`, `"))]
    Contraindicated {
        /// The parts.
        parts: Vec<String>,
    },
    /// Too few parts of a demand.
    #[error(
        "policy demands {least} of `{}` attested as `{tier}`; {met} of them are",
        .of.join("`, `")
    )]
    Demand {
        /// The parts named.
        of: Vec<String>,
        /// How many are needed.
        least: usize,
        /// How many there are.
        met: usize,
        /// The worst tier that counts.
        tier: Tier,
    },
    /// A fact that no document gave.
    #[error("policy demands `{fact}`, and no document about the agent says so")]
    Fact {
        /// The fact.
        fact: String,
    },
}

impl RiskClass {
    /// A class that demands selectors of these names and issues these kinds, and is otherwise as
    /// policy leaves it.
    pub fn new(demands: &[&str], issues: &[&str]) -> Self {
        let own = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        Self {
            demands: own(demands),
            issues: own(issues),
            lifetime_max: None,
            attested: Vec::new(),
            warned: None,
            reassess: reassess(),
            fall: Fall::default(),
            spire_agents: false,
            attributes: every_attribute(),
        }
    }

    /// The first selector name that is demanded and that the rule's selectors lack.
    pub fn undemanded(&self, rule: &Selectors) -> Option<String> {
        let has = |name: &String| rule.iter().any(|selector| selector.name() == name);
        self.demands.iter().find(|name| !has(name)).cloned()
    }

    /// How much an agent gets whose result is this.
    pub fn grade(&self, result: &Summary) -> Result<Grade, Shortfall> {
        let bad =
            |(name, tier): (&String, &Tier)| (*tier == Tier::Contraindicated).then(|| name.clone());
        let parts: Vec<_> = result.parts.iter().filter_map(bad).collect();
        if !parts.is_empty() {
            return Err(Shortfall::Contraindicated { parts });
        }
        for demand in &self.attested {
            let counts = |name: &&String| result.is_attested(name, demand.tier);
            let (met, least) = (demand.of.iter().filter(counts).count(), demand.least());
            if met < least {
                let (of, tier) = (demand.of.clone(), demand.tier);
                return Err(Shortfall::Demand { of, least, met, tier });
            }
            let unsaid = |fact: &&Selector| !result.facts.contains(fact.as_str());
            if let Some(fact) = demand.facts.iter().find(unsaid) {
                return Err(Shortfall::Fact { fact: fact.to_string() });
            }
        }
        let warned = result.tier() == Tier::Warning && self.warned.is_some();
        Ok(if warned { Grade::Warned } else { Grade::Full })
    }

    /// `None` when the kind is not issued at this grade; else the bound on its life, if there is
    /// one.
    pub fn issues(&self, kind: &str, grade: Grade) -> Option<Option<Span>> {
        let has = |all: &[String]| all.iter().any(|one| one == kind);
        match &self.warned {
            Some(warned) if grade == Grade::Warned => {
                let bound = self.lifetime_max.into_iter().chain(warned.lifetime_max).min();
                has(&warned.issues).then_some(bound)
            }
            _ => has(&self.issues).then_some(self.lifetime_max),
        }
    }

    /// What is wrong, as the key below the class and what to do.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let warned = self.warned.as_ref().map(|warned| ("warned.issues", &warned.issues));
        for (key, kinds) in [("issues", &self.issues)].into_iter().chain(warned) {
            for kind in kinds.iter().filter(|kind| !KINDS.contains(&kind.as_str())) {
                let message = format!("no credential `{kind}`; known are {}", KINDS.join(", "));
                faults.push((key.to_owned(), message));
            }
        }
        for demand in &self.attested {
            faults.extend(demand.faults().into_iter().map(|why| ("attested".to_owned(), why)));
        }
        let seconds = self.reassess.seconds();
        if !(REASSESS_SECONDS_MIN..=REASSESS_SECONDS_MAX).contains(&seconds) {
            let message = format!(
                "`reassess` is {seconds} seconds; allowed are {REASSESS_SECONDS_MIN} to \
                 {REASSESS_SECONDS_MAX}"
            );
            faults.push(("reassess".to_owned(), message));
        }
        faults
    }
}

impl Attested {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for name in self.of.iter().filter(|name| !is_part(name)) {
            faults.push(format!("no part `{name}`; known are {}", parts().join(", ")));
        }
        let distinct: BTreeSet<_> = self.of.iter().collect();
        if distinct.len() != self.of.len() {
            faults.push("a part counts once: name each once".to_owned());
        }
        if self.least() == 0 || self.least() > self.of.len() {
            let message = "`least` is at least 1, and at most as many as `of` names";
            faults.push(message.to_owned());
        }
        if !matches!(self.tier, Tier::Affirming | Tier::Warning) {
            faults.push("`tier` is `affirming` or `warning`".to_owned());
        }
        faults
    }
}

fn is_part(name: &str) -> bool {
    match name.split_once('.') {
        Some((HOST | PLATFORM, mechanism)) => mechanism::by_name(mechanism).is_some(),
        _ => [HOST, PLATFORM, PROCESS].contains(&name) || evidence::by_name(name).is_some(),
    }
}

/// The names of parts, for messages.
fn parts() -> Vec<String> {
    let by = [HOST, PLATFORM].map(|part| [part.to_owned(), format!("{part}.MECHANISM")]);
    let fixed = [PROCESS.to_owned()].into_iter().chain(by.into_iter().flatten());
    fixed.chain(evidence::KINDS.iter().map(|kind| kind.name().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: ATT-07 (part)
    #[test]
    fn s7_a_risk_class_demands_kinds_of_evidence_together() {
        let check = |demands: &[&str], rule: &[&str], expect: Option<&str>| {
            let rule = Selectors::new(rule.iter().map(|text| Selector::parse(text).unwrap()));
            let lacks = RiskClass::new(demands, &[]).undemanded(&rule.unwrap());
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
        let seconds = Span::from_seconds;
        let short =
            RiskClass { lifetime_max: Some(seconds(600)), ..RiskClass::new(&[], &["x509", "wit"]) };
        assert_eq!(short.issues("wit", Grade::Full), Some(Some(seconds(600))));
        assert_eq!(short.issues("jwt", Grade::Full), None);
        let jwt = RiskClass::new(&[], &["jwt"]);
        assert_eq!(jwt.issues("jwt", Grade::Full), Some(None));
        assert_eq!(RiskClass::new(&[], &[]).issues("x509", Grade::Full), None);
        // After a warning: other kinds, and the shorter of the two bounds.
        let less = Warned { issues: vec!["wit".into()], lifetime_max: Some(seconds(900)) };
        let warned = RiskClass { warned: Some(less), ..short };
        assert_eq!(warned.issues("x509", Grade::Warned), None);
        assert_eq!(warned.issues("wit", Grade::Warned), Some(Some(seconds(600))));
        assert_eq!(warned.issues("x509", Grade::Full), Some(Some(seconds(600))));
    }

    fn summary(parts: &[(&str, Tier)]) -> Summary {
        let parts = parts.iter().map(|(name, tier)| ((*name).to_owned(), *tier)).collect();
        let (host, platform) = (Some("tpm_devid".to_owned()), Some("x509pop".to_owned()));
        Summary { host, platform, parts, ..Summary::default() }
    }

    /// req: ATT-07
    #[test]
    fn s7_attestations_are_demanded_together_by_tier() {
        use Tier::{Affirming, Contraindicated, None, Warning};
        let demand = |of: &[&str], least, tier| Attested {
            of: of.iter().map(|&name| name.to_owned()).collect(),
            least,
            tier,
            facts: Vec::new(),
        };
        let check = |demands: &[Attested], parts: &[(&str, Tier)], expect: Option<usize>| {
            let class = RiskClass { attested: demands.to_vec(), ..RiskClass::new(&[], &[]) };
            let met = match class.grade(&summary(parts)) {
                Ok(grade) => {
                    assert_eq!(grade, Grade::Full);
                    Option::None
                }
                Err(Shortfall::Demand { met, .. }) => Some(met),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(met, expect, "{demands:?} of {parts:?}");
        };
        let all = [demand(&["host", "aibom"], Option::None, Affirming)];
        check(&all, &[("host", Affirming), ("aibom", Affirming)], Option::None);
        check(&all, &[("host", Affirming)], Some(1));
        check(&all, &[("host", Affirming), ("aibom", Warning)], Some(1));
        check(&all, &[("host", Affirming), ("aibom", None)], Some(1));
        let two = [demand(&["aibom", "provenance", "operator"], Some(2), Warning)];
        check(&two, &[("aibom", Warning), ("operator", Affirming)], Option::None);
        check(&two, &[("aibom", Warning), ("process", Affirming)], Some(1));
        let by = |name| [demand(&[name], Option::None, Affirming)];
        check(&by("host.tpm_devid"), &[("host", Affirming)], Option::None);
        check(&by("host.join_token"), &[("host", Affirming)], Some(0));
        check(&by("platform.x509pop"), &[("platform", Affirming)], Option::None);
        check(&by("platform.ear"), &[("platform", Affirming)], Some(0));
        check(&by("platform.x509pop"), &[("host", Affirming)], Some(0));
        // Each demand counts for itself.
        let both = [all[0].clone(), two[0].clone()];
        check(&both, &[("host", Affirming), ("aibom", Affirming)], Some(1));
        // A fact must have been said by a document, whatever their tiers.
        let fact = Selector::parse("provenance:builder:ci").unwrap();
        let said = Attested { facts: vec![fact], ..by("host")[0].clone() };
        let class = RiskClass { attested: vec![said], ..RiskClass::new(&[], &[]) };
        let mut result = summary(&[("host", Affirming)]);
        let fact = "provenance:builder:ci".to_owned();
        assert_eq!(class.grade(&result), Err(Shortfall::Fact { fact: fact.clone() }));
        result.facts.insert(fact);
        assert_eq!(class.grade(&result), Ok(Grade::Full));
        // One part that must not be trusted spoils the rest, demanded or not.
        let class = RiskClass::new(&[], &[]);
        let refused = class.grade(&summary(&[("host", Affirming), ("aibom", Contraindicated)]));
        let parts = vec!["aibom".to_owned()];
        assert_eq!(refused, Err(Shortfall::Contraindicated { parts }));
    }

    /// req: ATT-07 (part), PROV-11 (part)
    #[test]
    fn s7_a_warning_leaves_less_where_policy_says_so() {
        let warned = summary(&[("host", Tier::Affirming), ("process", Tier::Warning)]);
        let class = RiskClass::new(&[], &["x509"]);
        assert_eq!(class.grade(&warned), Ok(Grade::Full));
        let less = Some(Warned { issues: Vec::new(), lifetime_max: None });
        let class = RiskClass { warned: less, ..class };
        assert_eq!(class.grade(&warned), Ok(Grade::Warned));
        assert_eq!(class.grade(&summary(&[("host", Tier::Affirming)])), Ok(Grade::Full));
    }

    #[test]
    fn s7_what_a_class_demands_must_be_possible() {
        let check = |text: &str, expect: &str| {
            let text = format!(r#"{{"demands":[],"issues":["x509"],{text}}}"#);
            let read = serde_json::from_str::<RiskClass>(&text);
            let faults = match &read {
                Ok(class) => class.faults(),
                Err(error) => vec![(String::new(), error.to_string())],
            };
            let told: Vec<_> = faults.iter().map(|(key, why)| format!("{key}: {why}")).collect();
            assert_eq!(told.len(), 1, "{text}: {told:?}");
            assert!(told[0].contains(expect), "{text}: {told:?}");
        };
        check(r#""attested":[{"of":["moon"]}]"#, "attested: no part `moon`");
        check(r#""attested":[{"of":["host.moon"]}]"#, "attested: no part `host.moon`");
        check(r#""attested":[{"of":["host","host"]}]"#, "attested: a part counts once");
        check(r#""attested":[{"of":["host"],"least":2}]"#, "attested: `least` is at least 1");
        check(r#""attested":[{"of":[]}]"#, "attested: `least` is at least 1");
        check(r#""attested":[{"of":["host"],"tier":"none"}]"#, "attested: `tier` is `affirming`");
        check(r#""attested":[{"of":["host"],"tier":"good"}]"#, "no trustworthiness tier `good`");
        check(r#""warned":{"issues":["pgp"]}"#, "warned.issues: no credential `pgp`");
        check(r#""reassess":5"#, "reassess: `reassess` is 5 seconds; allowed are 30 to 86400");
        check(r#""fall":"shrug""#, "unknown variant `shrug`");
        check(r#""attributes":["shoe size"]"#, "unknown variant `shoe size`");
    }
}
