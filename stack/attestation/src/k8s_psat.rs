//! `k8s_psat`: a pod shows the projected token of its service account (as SPIRE's plugin of that
//! name: payload `{cluster, token}`; ATT-02).
//!
//! Policy: `[node.k8s_psat.clusters.NAME]` with `issuer`, `keys` (the cluster's JWK set, as its
//! `/openid/v1/jwks` gives it, or where it is), `service_accounts` (`NAMESPACE:NAME`), and perhaps
//! `audience`, `age_max`, and `review` where the cluster itself is to be asked as well: `server`
//! (the URL of its API server), `ca` (PEM), and `addresses` where that is not public. The token to
//! ask with is a file at the server, not policy.

use std::collections::BTreeMap;

use jose::Verified;
use oauth::id_token::{Claims, IdToken};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::Span;

use crate::issuer_keys::{self, Keys};
use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, Question, Step, Use};
use crate::oidc::{self, Issuer};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};

const NAME: &str = "k8s_psat";

/// What the host sends.
#[derive(Serialize, Deserialize)]
pub struct Evidence {
    /// The name of the cluster in policy.
    pub cluster: String,
    /// The token.
    pub token: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    clusters: BTreeMap<String, Cluster>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    issuer: String,
    keys: Keys,
    service_accounts: Vec<String>,
    #[serde(default)]
    audience: Option<String>,
    #[serde(default = "age_max")]
    age_max: Span,
    #[serde(default)]
    review: Option<Review>,
}

/// Whom to ask.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    server: String,
    ca: String,
    #[serde(default)]
    addresses: Vec<String>,
}

impl Review {
    fn fault(&self) -> Option<String> {
        issuer_keys::url_fault(&self.server)
            .or_else(|| issuer_keys::authorities_fault(&self.ca))
            .or_else(|| issuer_keys::addresses_fault(&self.addresses))
    }
}

/// The kubelet replaces a token when four fifths of its life are over, and an hour is the default.
const fn age_max() -> Span {
    Span::from_seconds(3_600)
}

/// The mechanism `k8s_psat`.
#[derive(Debug)]
pub struct Mechanism;

/// A token that its cluster signed, for us.
struct Proved<'a> {
    evidence: Evidence,
    cluster: &'a Cluster,
    audience: String,
    token: Verified<IdToken>,
    once: Use,
}

fn settings(facts: &Facts<'_>) -> Result<Settings, mechanism::Refusal> {
    facts.rule.settings_of(NAME)
}

/// What is shown, and the cluster that it names.
fn shown<'a>(
    evidence: &[u8],
    settings: &'a Settings,
) -> Result<(Evidence, &'a Cluster), mechanism::Refusal> {
    let malformed =
        |error: serde_json::Error| mechanism::Refusal::Malformed { why: error.to_string() };
    let evidence: Evidence = serde_json::from_slice(evidence).map_err(malformed)?;
    let Some(cluster) = settings.clusters.get(&evidence.cluster) else {
        let cluster = evidence.cluster.chars().take(64).collect();
        return Err(Refusal::UnknownCluster { cluster }.into());
    };
    Ok((evidence, cluster))
}

/// Steps 1 to 5 of the order: the token alone.
fn proved<'a>(
    evidence: &[u8],
    settings: &'a Settings,
    facts: &Facts<'_>,
) -> Result<Proved<'a>, mechanism::Refusal> {
    mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
    let (evidence, cluster) = shown(evidence, settings)?;
    let audience = oidc::expected(cluster.audience.as_ref(), false, facts);
    let issuer = Issuer {
        mechanism: NAME,
        issuer: &cluster.issuer,
        keys: cluster.keys.text(NAME, facts)?,
        audience: audience.clone(),
        age_max: cluster.age_max,
    };
    let (token, once) = issuer.verify(evidence.token.as_bytes(), facts.now)?;
    Ok(Proved { evidence, cluster, audience, token, once })
}

impl mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        NAME
    }

    fn faults(&self, rule: &NodeRule) -> Vec<(String, String)> {
        let settings = match rule.settings::<Settings>() {
            Ok(settings) => settings,
            Err(why) => return vec![(String::new(), why)],
        };
        let mut faults = Vec::new();
        for (name, cluster) in &settings.clusters {
            let mut report = |key: &str, why: String| {
                let key = if key.is_empty() { String::new() } else { format!(".{key}") };
                faults.push((format!("clusters.{name}{key}"), why));
            };
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                report("", "the name of a cluster is letters, digits, `-`, `_` and `.`".to_owned());
            }
            if let Some(why) = cluster.keys.fault(&cluster.issuer) {
                report("keys", why);
            }
            if let Some(why) = cluster.review.as_ref().and_then(Review::fault) {
                report("review", why);
            }
            let is_account =
                |text: &String| text.split(':').filter(|part| !part.is_empty()).count() == 2;
            if cluster.service_accounts.is_empty()
                || !cluster.service_accounts.iter().all(is_account)
            {
                report("service_accounts", "name some, as `NAMESPACE:NAME`".to_owned());
            }
        }
        faults
    }

    fn challenge(&self, _: &[u8], _: &Facts<'_>) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        Ok(None)
    }

    fn keys(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Question>, mechanism::Refusal> {
        mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
        let settings = settings(facts)?;
        let (evidence, cluster) = shown(evidence, &settings)?;
        cluster.keys.question(NAME, &cluster.issuer, evidence.token.as_bytes())
    }

    fn question(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Question>, mechanism::Refusal> {
        let settings = settings(facts)?;
        let proved = proved(evidence, &settings, facts)?;
        let Some(whom) = &proved.cluster.review else { return Ok(None) };
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": proved.evidence.token, "audiences": [proved.audience] },
        });
        let cluster = proved.evidence.cluster;
        let (server, ca, addresses) =
            (whom.server.clone(), whom.ca.clone(), whom.addresses.clone());
        let review = review.to_string();
        Ok(Some(Question::TokenReview { cluster, server, ca, addresses, review }))
    }

    fn appraise(
        &self,
        evidence: &[u8],
        _: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        let settings = settings(facts)?;
        let proved = proved(evidence, &settings, facts)?;
        let claims = proved.token.claims();
        if proved.cluster.review.is_some() {
            let told = facts.told.ok_or(Refusal::NotReviewed)?;
            reviewed(told, claims, &proved.audience)?;
        }
        let text = |pointer: &str| claims.text(&format!("/kubernetes.io{pointer}"));
        let needed = |pointer: &'static str| text(pointer).ok_or(Refusal::Missing { pointer });
        let (namespace, account) = (needed("/namespace")?, needed("/serviceaccount/name")?);
        let subject = format!("system:serviceaccount:{namespace}:{account}");
        if claims.sub != subject {
            let found = claims.sub.clone();
            return Err(Refusal::Subject { found, expected: subject }.into());
        }
        let account_id = format!("{namespace}:{account}");
        if !proved.cluster.service_accounts.contains(&account_id) {
            return Err(Refusal::NotAllowed { account: account_id }.into());
        }
        let pod = needed("/pod/uid")?;
        let cluster = &proved.evidence.cluster;
        // The path is SPIRE's: by the node where the token names one, else by the pod.
        let name = match text("/node/uid") {
            Some(node) => format!("{cluster}/{node}"),
            None => format!("{cluster}/pod/{pod}"),
        };
        let facts = [
            ("cluster", Some(cluster.clone())),
            ("agent_ns", Some(namespace)),
            ("agent_sa", Some(account)),
            ("agent_pod_uid", Some(pod)),
            ("agent_pod_name", text("/pod/name")),
            ("agent_node_name", text("/node/name")),
            ("agent_node_uid", text("/node/uid")),
        ];
        let mut selectors = Vec::new();
        for (what, value) in facts {
            let selector = value.map(|value| Selector::parse(&format!("{NAME}:{what}:{value}")));
            selectors.extend(selector.transpose()?);
        }
        let found = Appraisal::new(NAME, name, Selectors::new(selectors)?);
        Ok(Appraisal { uses: vec![proved.once], ..found })
    }
}

/// What the cluster says of the token: it knows it, as this account's, for us.
fn reviewed(told: &[u8], claims: &Claims, audience: &str) -> Result<(), Refusal> {
    let told: Value = serde_json::from_slice(told).map_err(|_| Refusal::NotReviewed)?;
    let status = told.get("status").ok_or(Refusal::NotReviewed)?;
    if status.get("authenticated") != Some(&Value::Bool(true)) {
        return Err(Refusal::NotAuthenticated);
    }
    let user = status.pointer("/user/username").and_then(Value::as_str).unwrap_or_default();
    if user != claims.sub {
        return Err(Refusal::Subject { found: user.to_owned(), expected: claims.sub.clone() });
    }
    // Kubernetes: "A client of the TokenReview API that sets the spec.audiences field should
    // validate that a compatible audience identifier is returned in the status.audiences field".
    let audiences = status.get("audiences").and_then(Value::as_array);
    let is_ours = |all: &Vec<Value>| all.iter().any(|one| one.as_str() == Some(audience));
    if audiences.is_some_and(is_ours) { Ok(()) } else { Err(Refusal::NotAuthenticated) }
}

/// Why a token that its cluster signed is not enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy names others.
    #[error("policy knows no cluster `{cluster}`")]
    UnknownCluster {
        /// Its name.
        cluster: String,
    },
    /// It does not say what it must.
    #[error("the token has no `kubernetes.io{pointer}`")]
    Missing {
        /// Where it would stand.
        pointer: &'static str,
    },
    /// What it says and whom it is about differ.
    #[error("the token is about `{found}`, not about `{expected}`")]
    Subject {
        /// Whom it is about.
        found: String,
        /// Whom it says.
        expected: String,
    },
    /// Policy names other accounts.
    #[error("policy does not let the service account `{account}` join")]
    NotAllowed {
        /// `NAMESPACE:NAME`.
        account: String,
    },
    /// The cluster was not asked, or its answer does not read.
    #[error("the cluster did not review the token")]
    NotReviewed,
    /// The cluster does not know the token, or not for us.
    #[error("the cluster does not vouch for the token")]
    NotAuthenticated,
}

impl From<Refusal> for mechanism::Refusal {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::UnknownCluster { .. } => Step::Chain,
            Refusal::NotReviewed | Refusal::NotAuthenticated => Step::Binding,
            Refusal::Missing { .. } | Refusal::Subject { .. } => Step::Content,
            Refusal::NotAllowed { .. } => Step::Policy,
        };
        Self::Failed { mechanism: NAME, step, why: refusal.to_string() }
    }
}
