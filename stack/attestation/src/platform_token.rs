//! Hosts of platforms that give out ID tokens: `github_actions`, `gitlab_ci` and `gcp_iit` (the
//! last as SPIRE's plugin of that name). The evidence is the token; what a platform is, is a table
//! (ATT-02, ATT-08).
//!
//! Policy: `[node.github_actions]` with `keys` (the platform's JWK set, or where it is), `claims`
//! (what the token must say), and perhaps `issuer`, `audience`, `age_max` and `reattest`.

use std::collections::BTreeMap;

use oauth::id_token::Claims;
use serde::Deserialize;
use time::Span;

use crate::issuer_keys::Keys;
use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, Mechanism, Question, Step};
use crate::oidc::{self, Issuer};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};

/// A platform: what its tokens say, and what of that counts.
#[derive(Debug)]
pub struct Platform {
    name: &'static str,
    issuer: &'static str,
    /// Whether who asks for a token chooses its audience as it asks; then it names the key.
    asker_chooses: bool,
    /// Whether any process of the host may ask: then the first to join is believed.
    first_use: bool,
    /// What policy and selectors call a claim, and where it stands.
    claims: &'static [(&'static str, &'static str)],
    /// One of these must be in policy: without it strangers' hosts would join.
    owner: &'static [&'static str],
    /// The claims that name the host among those of the platform; those in brackets may be missing.
    identity: &'static [(&'static str, bool)],
}

/// A job of GitHub Actions.
pub const GITHUB_ACTIONS: Platform = Platform {
    name: "github_actions",
    issuer: "https://token.actions.githubusercontent.com",
    asker_chooses: true,
    first_use: false,
    claims: &[
        ("repository", "/repository"),
        ("repository_id", "/repository_id"),
        ("repository_owner", "/repository_owner"),
        ("repository_owner_id", "/repository_owner_id"),
        ("ref", "/ref"),
        ("environment", "/environment"),
        ("event_name", "/event_name"),
        ("workflow_ref", "/workflow_ref"),
        ("job_workflow_ref", "/job_workflow_ref"),
        ("runner_environment", "/runner_environment"),
        ("run_id", "/run_id"),
    ],
    owner: &["repository", "repository_id", "repository_owner", "repository_owner_id"],
    identity: &[
        ("/repository_id", true),
        ("/run_id", true),
        ("/run_attempt", true),
        ("/check_run_id", false),
    ],
};

/// A job of GitLab CI.
pub const GITLAB_CI: Platform = Platform {
    name: "gitlab_ci",
    issuer: "https://gitlab.com",
    asker_chooses: false,
    first_use: false,
    claims: &[
        ("project_path", "/project_path"),
        ("project_id", "/project_id"),
        ("namespace_path", "/namespace_path"),
        ("namespace_id", "/namespace_id"),
        ("ref", "/ref"),
        ("ref_type", "/ref_type"),
        ("ref_protected", "/ref_protected"),
        ("environment", "/environment"),
        ("environment_protected", "/environment_protected"),
        ("pipeline_source", "/pipeline_source"),
        ("runner_id", "/runner_id"),
        ("runner_environment", "/runner_environment"),
        ("job_id", "/job_id"),
    ],
    owner: &["project_path", "project_id", "namespace_path", "namespace_id"],
    identity: &[("/project_id", true), ("/job_id", true)],
};

/// An instance of Google Compute Engine.
pub const GCP_IIT: Platform = Platform {
    name: "gcp_iit",
    issuer: "https://accounts.google.com",
    asker_chooses: true,
    first_use: true,
    claims: &[
        ("project-id", "/google/compute_engine/project_id"),
        ("zone", "/google/compute_engine/zone"),
        ("instance-name", "/google/compute_engine/instance_name"),
        ("sa", "/email"),
    ],
    owner: &["project-id"],
    identity: &[
        ("/google/compute_engine/project_id", true),
        ("/google/compute_engine/instance_id", true),
    ],
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    keys: Keys,
    claims: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    audience: Option<String>,
    #[serde(default = "age_max")]
    age_max: Span,
    #[serde(default)]
    reattest: bool,
}

const fn age_max() -> Span {
    Span::from_seconds(600)
}

impl Platform {
    fn pointer(&self, name: &str) -> Option<&'static str> {
        self.claims.iter().find(|(known, _)| *known == name).map(|(_, pointer)| *pointer)
    }

    /// What policy allows of what the token says.
    fn allowed(&self, settings: &Settings, claims: &Claims) -> Result<(), Refusal> {
        for (name, allowed) in &settings.claims {
            let missing = || Refusal::Missing { claim: name.clone() };
            let found = self.pointer(name).and_then(|at| claims.text(at)).ok_or_else(missing)?;
            if !allowed.iter().any(|pattern| fits(pattern, &found)) {
                return Err(Refusal::NotAllowed { claim: name.clone(), found });
            }
        }
        Ok(())
    }

    fn identity(&self, claims: &Claims) -> Result<String, Refusal> {
        let mut parts = Vec::with_capacity(self.identity.len());
        for (pointer, needed) in self.identity {
            match claims.text(pointer) {
                Some(part) if !part.contains('/') => parts.push(part),
                Some(_) => return Err(Refusal::Missing { claim: (*pointer).to_owned() }),
                None if *needed => return Err(Refusal::Missing { claim: (*pointer).to_owned() }),
                None => {}
            }
        }
        Ok(parts.join("/"))
    }
}

/// Whether `value` is what `pattern` says: the same, or below `folder/*`.
fn fits(pattern: &str, value: &str) -> bool {
    match pattern.strip_suffix('*').filter(|folder| folder.ends_with('/')) {
        Some(folder) => value.strip_prefix(folder).is_some_and(|rest| !rest.is_empty()),
        None => pattern == value,
    }
}

impl Mechanism for Platform {
    fn name(&self) -> &'static str {
        self.name
    }

    fn faults(&self, rule: &NodeRule) -> Vec<(String, String)> {
        let settings = match rule.settings::<Settings>() {
            Ok(settings) => settings,
            Err(why) => return vec![(String::new(), why)],
        };
        let issuer = settings.issuer.as_deref().unwrap_or(self.issuer);
        let keys = settings.keys.fault(issuer).map(|why| ("keys".to_owned(), why));
        let mut faults: Vec<_> = keys.into_iter().collect();
        for name in settings.claims.keys().filter(|name| self.pointer(name).is_none()) {
            let known: Vec<_> = self.claims.iter().map(|(name, _)| *name).collect();
            let message = format!("no claim `{name}`; known are {}", known.join(", "));
            faults.push((format!("claims.{name}"), message));
        }
        let owned = |name: &str| settings.claims.get(name).is_some_and(|any| !any.is_empty());
        if !self.owner.iter().any(|name| owned(name)) {
            let names = self.owner.join("`, `");
            let message = format!("name whose hosts may join: one of `{names}`");
            faults.push(("claims".to_owned(), message));
        }
        faults
    }

    fn is_brief(&self) -> bool {
        !self.first_use
    }

    fn challenge(&self, _: &[u8], _: &Facts<'_>) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        Ok(None)
    }

    fn keys(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Question>, mechanism::Refusal> {
        let mechanism = self.name;
        let settings: Settings = facts.rule.settings_of(mechanism)?;
        let issuer = settings.issuer.as_deref().unwrap_or(self.issuer);
        settings.keys.question(mechanism, issuer, evidence)
    }

    fn appraise(
        &self,
        evidence: &[u8],
        _: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        let mechanism = self.name;
        mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
        let settings: Settings = facts.rule.settings_of(mechanism)?;
        let issuer = Issuer {
            mechanism,
            issuer: settings.issuer.as_deref().unwrap_or(self.issuer),
            keys: settings.keys.text(mechanism, facts)?,
            audience: oidc::expected(settings.audience.as_ref(), self.asker_chooses, facts),
            age_max: settings.age_max,
        };
        let (token, once) = issuer.verify(evidence, facts.now)?;
        let claims = token.claims();
        self.allowed(&settings, claims).map_err(|refusal| refusal.of(mechanism))?;
        let name = self.identity(claims).map_err(|refusal| refusal.of(mechanism))?;
        let mut selectors = Vec::new();
        for (what, pointer) in self.claims {
            if let Some(text) = claims.text(pointer) {
                selectors.push(Selector::parse(&format!("{mechanism}:{what}:{text}"))?);
            }
        }
        let found = Appraisal::new(mechanism, name, Selectors::new(selectors)?);
        Ok(Appraisal { once: self.first_use && !settings.reattest, uses: vec![once], ..found })
    }
}

/// Why a token that its platform signed is not enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not say what it must.
    #[error("the token has no usable claim `{claim}`")]
    Missing {
        /// The claim.
        claim: String,
    },
    /// Policy allows others.
    #[error("policy does not let `{found}` join by `{claim}`")]
    NotAllowed {
        /// The claim.
        claim: String,
        /// What it says.
        found: String,
    },
}

impl Refusal {
    /// The same, as the seam has it.
    pub fn of(self, mechanism: &'static str) -> mechanism::Refusal {
        let step = match &self {
            Self::Missing { .. } => Step::Content,
            Self::NotAllowed { .. } => Step::Policy,
        };
        mechanism::Refusal::Failed { mechanism, step, why: self.to_string() }
    }
}
