//! `aws_iid`: an EC2 instance shows the document that Amazon signed about it (as SPIRE's plugin of
//! that name: payload `{document, signature, rsa2048}`; ATT-02, ATT-08).
//!
//! Of the signatures only `rsa2048` counts (the other is of a key of 1,024 bits), and the document
//! is
//! the one inside it. Nothing binds it to a key or to now: whatever runs on the instance can show
//! it
//! for ever. So the first to join is believed, and nobody else, unless policy lets instances attest
//! again.
//!
//! Policy: `[node.aws_iid]` with `accounts`, perhaps `reattest = true`, and a table `regions` with
//! Amazon's certificate (PEM) of each.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use x509::{Certificate, CertificateDer, CmsError, SignedData};

use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, Step};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};

const NAME: &str = "aws_iid";

/// What the instance sends, as its metadata service gave it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// The document.
    pub document: String,
    /// A signature that does not count.
    pub signature: String,
    /// The signed document, in base64.
    pub rsa2048: String,
}

/// What of the document counts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    account_id: String,
    availability_zone: String,
    image_id: String,
    instance_id: String,
    region: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    accounts: Vec<String>,
    regions: BTreeMap<String, String>,
    #[serde(default)]
    reattest: bool,
}

/// The mechanism `aws_iid`.
#[derive(Debug)]
pub struct Mechanism;

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
        let is_account = |id: &String| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
        if settings.accounts.is_empty() || !settings.accounts.iter().all(is_account) {
            let why = "name the accounts whose instances may join, of 12 digits each";
            faults.push(("accounts".to_owned(), why.to_owned()));
        }
        if settings.regions.is_empty() {
            faults.push(("regions".to_owned(), "no region has a certificate".to_owned()));
        }
        for (region, pem) in &settings.regions {
            let fault = certificates(pem).err();
            faults.extend(fault.map(|why| (format!("regions.{region}"), why)));
        }
        faults
    }

    fn challenge(&self, _: &[u8], _: &Facts<'_>) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        Ok(None)
    }

    fn appraise(
        &self,
        evidence: &[u8],
        _: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
        let malformed = |why: String| mechanism::Refusal::Malformed { why };
        let unset = |why| mechanism::Refusal::Settings { mechanism: NAME, why };
        let settings: Settings = facts.rule.settings().map_err(unset)?;
        let evidence: Evidence =
            serde_json::from_slice(evidence).map_err(|error| malformed(error.to_string()))?;
        let base64: String = evidence.rsa2048.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(base64).map_err(|error| malformed(error.to_string()))?;
        let signed = SignedData::parse(&bytes).map_err(Refusal::Message)?;
        let (region, content) = verified(&signed, &settings, facts)?;
        // SPIRE 1.14.6: the document beside the signature was believed, not the one that was
        // signed.
        if !evidence.document.is_empty() && evidence.document.as_bytes() != content {
            return Err(Refusal::OtherDocument.into());
        }
        let document: Document = serde_json::from_slice(&content).map_err(Refusal::content)?;
        if document.region != region {
            let found = document.region;
            return Err(Refusal::OtherRegion { found, signed: region }.into());
        }
        if !settings.accounts.contains(&document.account_id) {
            return Err(Refusal::NotAllowed { account: document.account_id }.into());
        }
        let found = document.appraisal()?;
        Ok(Appraisal { once: !settings.reattest, ..found })
    }
}

/// The certificates of a region, one or more: Amazon may replace one.
fn certificates(pem: &str) -> Result<Vec<Certificate>, String> {
    let ders = CertificateDer::from_pem_many(pem).map_err(|error| error.to_string())?;
    ders.iter().map(|der| der.parse().map_err(|error| error.to_string())).collect()
}

/// The region whose certificate of policy verifies the message, and the document in it.
fn verified(
    signed: &SignedData,
    settings: &Settings,
    facts: &Facts<'_>,
) -> Result<(String, Vec<u8>), mechanism::Refusal> {
    let unset = |why| mechanism::Refusal::Settings { mechanism: NAME, why };
    for (region, pem) in &settings.regions {
        for certificate in certificates(pem).map_err(unset)? {
            if !signed.names(&certificate) {
                continue;
            }
            if certificate.not_before() > facts.now || certificate.not_after() <= facts.now {
                return Err(Refusal::CertificateNotValid { region: region.clone() }.into());
            }
            let content = signed.verify(&certificate).map_err(Refusal::Signature)?;
            return Ok((region.clone(), content.to_vec()));
        }
    }
    Err(Refusal::UnknownSigner.into())
}

impl Document {
    /// The path and the selectors are SPIRE's.
    fn appraisal(&self) -> Result<Appraisal, mechanism::Refusal> {
        let name = format!("{}/{}/{}", self.account_id, self.region, self.instance_id);
        let mut selectors = Vec::new();
        for (what, value) in [
            ("account_id", &self.account_id),
            ("az", &self.availability_zone),
            ("region", &self.region),
            ("instance:id", &self.instance_id),
            ("image:id", &self.image_id),
        ] {
            selectors.push(Selector::parse(&format!("{NAME}:{what}:{value}"))?);
        }
        Ok(Appraisal::new(NAME, name, Selectors::new(selectors)?))
    }
}

/// Why an instance's document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not read.
    #[error("the signed document does not read: {0}")]
    Message(CmsError),
    /// No certificate of policy is the signer's.
    #[error("no region of policy has the certificate that signed the document")]
    UnknownSigner,
    /// The certificate of the region holds at another time.
    #[error("the certificate of the region `{region}` is not valid now")]
    CertificateNotValid {
        /// The region.
        region: String,
    },
    /// The signature is wrong.
    #[error("the document is not signed: {0}")]
    Signature(CmsError),
    /// The document beside is another.
    #[error("the document is not the one that was signed")]
    OtherDocument,
    /// The document does not read.
    #[error("the document does not read: {0}")]
    Content(String),
    /// A region signed for another.
    #[error("a document of the region `{found}`, signed by that of `{signed}`")]
    OtherRegion {
        /// What it says.
        found: String,
        /// Whose certificate verified it.
        signed: String,
    },
    /// Policy names other accounts.
    #[error("policy does not let instances of the account `{account}` join")]
    NotAllowed {
        /// The account.
        account: String,
    },
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "a conversion, for `map_err`")]
    fn content(error: serde_json::Error) -> Self {
        Self::Content(error.to_string())
    }
}

impl From<Refusal> for mechanism::Refusal {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::Message(_) => Step::Form,
            Refusal::Signature(_) => Step::Signature,
            Refusal::UnknownSigner | Refusal::CertificateNotValid { .. } => Step::Chain,
            Refusal::OtherDocument => Step::Binding,
            Refusal::Content(_) | Refusal::OtherRegion { .. } => Step::Content,
            Refusal::NotAllowed { .. } => Step::Policy,
        };
        Self::Failed { mechanism: NAME, step, why: refusal.to_string() }
    }
}
