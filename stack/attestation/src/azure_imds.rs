//! `azure_imds`: a virtual machine has Azure sign a document with our nonce in it (as SPIRE's
//! plugin
//! of that name: a challenge that is the nonce as text, and the response `{document, metadata}`;
//! ATT-02, ATT-08).
//!
//! Any process of the machine can have one signed, so the first to join is believed, unless policy
//! lets machines attest again. What only Azure's management API knows (names, tags, networks) gives
//! no selectors here.
//!
//! Policy: `[node.azure_imds]` with `anchors` (the authorities of Azure's certificates, those that
//! issue them too), perhaps `signers` and `reattest = true`, and
//! `[node.azure_imds.tenants."DOMAIN"]` with `tenant_id` and `subscriptions`.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::UnixTime;
use x509::{Certificate, CertificateDer, CmsError, Purpose, SignedData};

use crate::mechanism::{self, ANSWER_BYTES_MAX, Appraisal, Facts, Step};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};

const NAME: &str = "azure_imds";

/// What the machine answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// As the metadata service gave it.
    pub document: Attested,
    /// What the machine says of itself.
    pub metadata: Metadata,
}

/// A signed document.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attested {
    /// `pkcs7`.
    pub encoding: String,
    /// In base64.
    pub signature: String,
}

/// What the machine says of itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The domain of its tenant, as policy calls it.
    pub agent_domain: String,
    /// Its scale set, unproven and unused.
    #[serde(default)]
    pub vmss_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    nonce: String,
    subscription_id: String,
    vm_id: String,
    time_stamp: TimeStamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TimeStamp {
    created_on: String,
    expires_on: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    tenants: BTreeMap<String, Tenant>,
    #[serde(default = "signers")]
    signers: Vec<String>,
    #[serde(default)]
    reattest: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tenant {
    tenant_id: String,
    subscriptions: Vec<String>,
}

fn signers() -> Vec<String> {
    vec!["metadata.azure.com".to_owned()]
}

/// The nonce of this session and of this key, in the ten digits that the metadata service takes.
pub fn nonce(nonce: &[u8; 32], key: &[u8]) -> String {
    let key = digest::digest(&digest::SHA256, key);
    let bound = [b"aims-att-v1".as_slice(), nonce, key.as_ref()].concat();
    let bound = digest::digest(&digest::SHA256, &bound);
    let number = bound.as_ref().iter().take(8).fold(0_u64, |n, b| (n << 8) | u64::from(*b));
    format!("{:010}", number % 10_000_000_000)
}

/// The mechanism `azure_imds`.
#[derive(Debug)]
pub struct Mechanism;

fn settings(facts: &Facts<'_>) -> Result<Settings, mechanism::Refusal> {
    facts.rule.settings_of(NAME)
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
        if let Err(error) = CertificateDer::from_pem_many(&rule.anchors) {
            faults.push(("anchors".to_owned(), error.to_string()));
        }
        for (domain, tenant) in &settings.tenants {
            if tenant.subscriptions.is_empty() {
                let why = "name the subscriptions whose machines may join".to_owned();
                faults.push((format!("tenants.{domain}.subscriptions"), why));
            }
        }
        faults
    }

    fn challenge(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        settings(facts)?;
        if evidence.is_empty() {
            return Err(mechanism::Refusal::Malformed { why: "nothing came".to_owned() });
        }
        Ok(Some(nonce(facts.nonce, facts.key).into_bytes()))
    }

    fn appraise(
        &self,
        _: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        let response = response.ok_or(mechanism::Refusal::NoResponse)?;
        mechanism::bounded(response, ANSWER_BYTES_MAX)?;
        let malformed = |why: String| mechanism::Refusal::Malformed { why };
        let settings = settings(facts)?;
        let response: Response =
            serde_json::from_slice(response).map_err(|error| malformed(error.to_string()))?;
        if response.document.encoding != "pkcs7" {
            return Err(malformed("a document that is not pkcs7".to_owned()));
        }
        let bytes = STANDARD.decode(&response.document.signature);
        let bytes = bytes.map_err(|error| malformed(error.to_string()))?;
        let signed = SignedData::parse(&bytes).map_err(Refusal::Message)?;
        let content = verified(&signed, &settings, facts)?;
        let document: Document =
            serde_json::from_slice(content).map_err(|error| Refusal::Content(error.to_string()))?;
        if document.nonce != nonce(facts.nonce, facts.key) {
            return Err(Refusal::Nonce.into());
        }
        document.time_stamp.holds_at(facts.now)?;
        let domain = &response.metadata.agent_domain;
        let unknown = || Refusal::UnknownTenant { domain: domain.chars().take(253).collect() };
        let tenant = settings.tenants.get(domain).ok_or_else(unknown)?;
        if !tenant.subscriptions.contains(&document.subscription_id) {
            let subscription = document.subscription_id;
            return Err(Refusal::NotAllowed { subscription }.into());
        }
        let name = format!("{}/{}/{}", tenant.tenant_id, document.subscription_id, document.vm_id);
        let selector = format!("{NAME}:subscription-id:{}", document.subscription_id);
        let found = Appraisal::new(NAME, name, Selectors::new([Selector::parse(&selector)?])?);
        Ok(Appraisal { once: !settings.reattest, ..found })
    }
}

/// The document, signed by the one certificate that the message names, which is Azure's.
fn verified<'a>(
    signed: &'a SignedData,
    settings: &Settings,
    facts: &Facts<'_>,
) -> Result<&'a [u8], mechanism::Refusal> {
    // SPIRE 1.15.1: the first certificate of the bag was checked, and another one had signed.
    let signer = signed.certificates().iter().find(|one| signed.names(one));
    let signer = signer.ok_or(Refusal::NoSigner)?;
    let content = signed.verify(signer).map_err(Refusal::Signature)?;
    let unset = |why: String| mechanism::Refusal::Settings { mechanism: NAME, why };
    let anchors = CertificateDer::from_pem_many(&facts.rule.anchors)
        .map_err(|error| unset(error.to_string()))?
        .iter()
        .map(|der| der.parse().map_err(|error| unset(error.to_string())))
        .collect::<Result<Vec<Certificate>, _>>()?;
    let above = signed.certificates().iter().filter(|one| one.is_ca() && *one != signer);
    let chain: Vec<_> = std::iter::once(signer).chain(above).cloned().collect();
    x509::verify_chain(&chain, &anchors, Purpose::Server, facts.now)
        .map_err(|error| Refusal::Chain(error.to_string()))?;
    if !signer.dns_names().iter().any(|name| settings.signers.contains(name)) {
        let names = signer.dns_names().join(", ");
        return Err(Refusal::OtherSigner { names }.into());
    }
    Ok(content)
}

impl TimeStamp {
    fn holds_at(&self, now: UnixTime) -> Result<(), Refusal> {
        let read = |text: &str| seconds(text).ok_or(Refusal::Content(format!("time `{text}`")));
        let (from, until) = (read(&self.created_on)?, read(&self.expires_on)?);
        // Azure's clock may be a little ahead of ours.
        if from > now.seconds().saturating_add(30) || until <= now.seconds() {
            let (from, until) = (self.created_on.clone(), self.expires_on.clone());
            return Err(Refusal::NotValid { from, until, now });
        }
        Ok(())
    }
}

/// `11/28/18 00:16:17 -0000` in seconds since the epoch.
fn seconds(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(' ')?;
    let time = rest.strip_suffix(" -0000").or_else(|| rest.strip_suffix(" +0000"))?;
    let three = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text
            .split(by)
            .map(|part| part.parse().ok().filter(|_| part.len() == 2))
            .collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let ([month, day, year], [hour, minute, second]) = (three(date, '/')?, three(time, ':')?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 {
        return None;
    }
    if minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-01-01: years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (2000 + year, month - 3) } else { (1999 + year, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Why a machine's document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not read.
    #[error("the signed document does not read: {0}")]
    Message(CmsError),
    /// The signer's certificate is not there.
    #[error("the message has no certificate of its signer")]
    NoSigner,
    /// The signature is wrong.
    #[error("the document is not signed: {0}")]
    Signature(CmsError),
    /// No anchor of policy vouches for the signer.
    #[error("the signer is not trusted: {0}")]
    Chain(String),
    /// It is signed by somebody else whom the same authority knows.
    #[error("signed by `{names}`, which is not Azure's metadata service")]
    OtherSigner {
        /// Its names.
        names: String,
    },
    /// It was made for another session, or for another key.
    #[error("the document has another nonce")]
    Nonce,
    /// It holds at another time.
    #[error("the document is valid from {from} to {until}, it is {now}")]
    NotValid {
        /// As it says.
        from: String,
        /// As it says.
        until: String,
        /// The time of the check.
        now: UnixTime,
    },
    /// The document does not read.
    #[error("the document does not read: {0}")]
    Content(String),
    /// Policy names other tenants.
    #[error("policy knows no tenant of the domain `{domain}`")]
    UnknownTenant {
        /// The domain.
        domain: String,
    },
    /// Policy names other subscriptions.
    #[error("policy does not let machines of the subscription `{subscription}` join")]
    NotAllowed {
        /// The subscription.
        subscription: String,
    },
}

impl From<Refusal> for mechanism::Refusal {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::Message(_) => Step::Form,
            Refusal::Signature(_) => Step::Signature,
            Refusal::NoSigner | Refusal::Chain(_) | Refusal::OtherSigner { .. } => Step::Chain,
            Refusal::Nonce | Refusal::NotValid { .. } => Step::Binding,
            Refusal::Content(_) => Step::Content,
            Refusal::UnknownTenant { .. } | Refusal::NotAllowed { .. } => Step::Policy,
        };
        Self::Failed { mechanism: NAME, step, why: refusal.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_writes_times_as_month_day_year() {
        for (text, expect) in [
            ("11/28/18 00:16:17 -0000", Some(1_543_364_177)),
            ("02/29/24 23:59:59 -0000", Some(1_709_251_199)),
            ("01/01/00 00:00:00 +0000", Some(946_684_800)),
            ("13/01/20 00:00:00 -0000", None),
            ("01/00/20 00:00:00 -0000", None),
            ("01/01/20 24:00:00 -0000", None),
            ("01/01/20 00:00:00 -0100", None),
            ("01/01/2020 00:00:00 -0000", None),
            ("01/01/20", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expect, "{text}");
        }
    }
}
