//! Whom policy names as signers of documents, and whether one of them signed this one.

use ::provenance::sigstore::{Bundle, BundleError, Identity, Refused, TrustedRoot};
use ::provenance::{Envelope, EnvelopeError, IN_TOTO, Opened, Statement, StatementError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jose::jws::{Jws, JwsError};
use jose::{Algorithm, KeyId, KeySet, KeySource, Kind, NoKey, PublicKey};
use serde::Deserialize;
use time::UnixTime;

use crate::evidence::{AgentFacts, Failure, SELECTORS_MAX};
use crate::mechanism::Step;
use crate::oidc;
use crate::selector::{Selector, Selectors};

/// Most signers in one table.
const SIGNERS_MAX: usize = 64;
/// Most keys of one signer.
const KEYS_MAX: usize = 16;
/// Longest name of a signer, in bytes.
const NAME_BYTES_MAX: usize = 128;
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// A signer as policy writes it: by keys, or by who identified the holder of a Sigstore certificate
/// and the one name in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signer {
    pub(crate) name: String,
    #[serde(default)]
    keys: Option<String>,
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    subject: Option<String>,
}

/// All signers of one kind of document.
pub(crate) struct Signers {
    named: Vec<Named>,
    root: Option<TrustedRoot>,
}

struct Named {
    name: String,
    by: By,
}

enum By {
    Keys(Vec<PublicKey>),
    Certificate(Identity),
}

/// A payload, who signed it, and when, where somebody who is trusted says so.
pub(crate) struct Signed<'a> {
    pub(crate) signer: &'a str,
    pub(crate) opened: Opened,
    pub(crate) at: Option<UnixTime>,
}

/// What is wrong in policy: the key below the table, and why.
pub(crate) type Fault = (String, String);

impl Signers {
    pub(crate) fn read(all: &[Signer], trusted_root: Option<&str>) -> Result<Self, Fault> {
        let fault = |key: &str, why: String| (key.to_owned(), why);
        if all.is_empty() || all.len() > SIGNERS_MAX {
            let why = format!("{} signers, 1 to {SIGNERS_MAX} are read", all.len());
            return Err(fault("signers", why));
        }
        let mut named: Vec<Named> = Vec::with_capacity(all.len());
        for signer in all {
            if named.iter().any(|known| known.name == signer.name) {
                return Err(fault("signers", format!("two signers `{}`", signer.name)));
            }
            let by =
                signer.by().map_err(|why| fault("signers", format!("`{}`: {why}", signer.name)))?;
            named.push(Named { name: signer.name.clone(), by });
        }
        let root = trusted_root.map(|text| TrustedRoot::parse(text.as_bytes())).transpose();
        let root = root.map_err(|error| fault("trusted_root", error.to_string()))?;
        let needs_root = |one: &Named| matches!(one.by, By::Certificate(_));
        if root.is_none() && named.iter().any(needs_root) {
            let why = "signers that are named by `issuer` need a `trusted_root`";
            return Err(fault("trusted_root", why.to_owned()));
        }
        Ok(Self { named, root })
    }

    /// Opens an envelope, or a Sigstore bundle with one in it, that one of them signed.
    pub(crate) fn open(&self, document: &[u8]) -> Result<Signed<'_>, Refusal> {
        if Bundle::is_one(document) {
            return self.open_bundle(document);
        }
        let envelope = Envelope::parse(document).map_err(Refusal::Form)?;
        for Named { name, by } in &self.named {
            let By::Keys(keys) = by else { continue };
            match envelope.verify(&[IN_TOTO], keys, 1) {
                Ok(opened) => return Ok(Signed { signer: name, opened, at: None }),
                Err(EnvelopeError::Signature { .. }) => {}
                Err(error) => return Err(Refusal::Form(error)),
            }
        }
        Err(Refusal::NoSigner)
    }

    fn open_bundle(&self, document: &[u8]) -> Result<Signed<'_>, Refusal> {
        let root = self.root.as_ref().ok_or(Refusal::NoTrustedRoot)?;
        let bundle = Bundle::parse(document)?;
        let verified = bundle.verify(&[IN_TOTO], root)?;
        let is_named = |one: &&Named| match &one.by {
            By::Certificate(identity) => identity == verified.identity(),
            By::Keys(_) => false,
        };
        let Some(Named { name, .. }) = self.named.iter().find(is_named) else {
            let Identity { issuer, subject } = verified.identity().clone();
            return Err(Refusal::UnknownIdentity { issuer, subject });
        };
        let (opened, at) = (verified.opened().clone(), Some(verified.signed_at()));
        Ok(Signed { signer: name, opened, at })
    }

    /// Who of them made a signature over these bytes.
    pub(crate) fn of_jws(&self, jws: &Jws, payload: &[u8]) -> Result<&str, Refusal> {
        let made = |one: &&Named| match &one.by {
            By::Keys(keys) => keys.iter().any(|key| jws.verify(payload, key).is_ok()),
            By::Certificate(_) => false,
        };
        self.named.iter().find(made).map(|one| one.name.as_str()).ok_or(Refusal::NoSigner)
    }

    /// Whether one of them is called so.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.named.iter().any(|one| one.name == name)
    }
}

impl Signer {
    fn by(&self) -> Result<By, String> {
        let is_text = !self.name.is_empty() && !self.name.chars().any(char::is_control);
        if !is_text || self.name.len() > NAME_BYTES_MAX {
            return Err(format!("a name has 1 to {NAME_BYTES_MAX} bytes, no control characters"));
        }
        match (&self.keys, &self.issuer, &self.subject) {
            (Some(text), None, None) => read_keys(text).map(By::Keys),
            (None, Some(issuer), Some(subject)) => {
                let (issuer, subject) = (issuer.clone(), subject.clone());
                Ok(By::Certificate(Identity { issuer, subject }))
            }
            _ => Err("a signer has either `keys`, or `issuer` and `subject`".to_owned()),
        }
    }
}

/// Whose word counts in tokens: each by its `iss`, with its keys.
pub(crate) struct Holders(Vec<(String, KeySet)>);

/// What tokens about agents may be signed by.
pub(crate) const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];

impl Holders {
    /// Reads name and keys of each.
    pub(crate) fn read<'a>(
        all: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        if all.len() == 0 || all.len() > SIGNERS_MAX {
            return Err(format!("{} entries, 1 to {SIGNERS_MAX} are read", all.len()));
        }
        let mut holders: Vec<(String, KeySet)> = Vec::with_capacity(all.len());
        for (name, text) in all {
            if name.is_empty() || holders.iter().any(|(known, _)| known == name) {
                return Err(format!("`{name}` is empty or stands twice"));
            }
            let wrong = |why: String| format!("keys of `{name}`: {why}");
            let keys = read_keys(text).map_err(wrong)?;
            let set = match KeySet::parse(text) {
                Ok(set) => set,
                Err(_) => KeySet::new(keys.iter().map(PublicKey::to_jwk).collect())
                    .map_err(|error| wrong(error.to_string()))?,
            };
            holders.push((name.to_owned(), set));
        }
        Ok(Self(holders))
    }
}

impl<K: Kind<Hint = String>> KeySource<K> for Holders {
    fn key(&self, issuer: &String, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        let mut holders = self.0.iter();
        let (_, set) = holders.find(|(name, _)| name == issuer).ok_or(NoKey::UnknownIssuer)?;
        // Keys in PEM have no ids.
        let has_ids = set.keys().iter().any(|key| key.kid().is_some());
        set.signer(kid.filter(|_| has_ids))
    }
}

/// Public keys: a JWK set, or PEM.
fn read_keys(text: &str) -> Result<Vec<PublicKey>, String> {
    let keys = if text.trim_start().starts_with('{') {
        let set = KeySet::parse(text).map_err(|error| error.to_string())?;
        if let Some(ignored) = set.ignored().first() {
            return Err(format!("key {} is not usable: {}", ignored.index, ignored.reason));
        }
        let keys = set.keys().iter().map(|key| key.verification_key().cloned());
        keys.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?
    } else {
        read_pem(text)?
    };
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(format!("{} keys, 1 to {KEYS_MAX} are read", keys.len()));
    }
    Ok(keys)
}

/// RFC 7468 §13: "Public keys are encoded using the "PUBLIC KEY" label." What is none is a mistake.
fn read_pem(text: &str) -> Result<Vec<PublicKey>, String> {
    let mut keys = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let block = rest.strip_prefix(PEM_BEGIN).and_then(|rest| rest.split_once(PEM_END));
        let (base64, after) = block.ok_or("neither a JWK set nor PEM of public keys")?;
        let base64: String = base64.split_whitespace().collect();
        let der = STANDARD.decode(base64).map_err(|_| "a key in PEM that is not base64")?;
        keys.push(PublicKey::from_spki_der(&der).map_err(|error| error.to_string())?);
        rest = after.trim_start();
    }
    Ok(keys)
}

/// The audience that names this server: the one that is over the agent.
pub(crate) fn audience(facts: &AgentFacts<'_>) -> String {
    let origin = facts.agent.origin();
    let domain = origin.as_str().split_once("://").map_or("", |(_, domain)| domain);
    oidc::audience(domain)
}

/// The digest of what runs that a statement is about.
pub(crate) fn measured<'a>(
    statement: &Statement,
    facts: &AgentFacts<'a>,
) -> Result<&'a str, Refusal> {
    // in-toto, Statement: "Subject artifacts are matched purely by digest"
    let found = facts.measured.iter().find(|hex| statement.subject_of("sha256", hex).is_some());
    found.map(String::as_str).ok_or_else(|| {
        let subjects = statement.subjects().iter();
        let told =
            subjects.filter_map(|one| one.digests.get("sha256")).cloned().collect::<Vec<_>>();
        Refusal::not_measured(&told, facts)
    })
}

/// Selectors of `kind:name:value`.
pub(crate) fn selectors(
    all: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<Selectors, Refusal> {
    let mut selectors = Vec::new();
    for (name, value) in all {
        let selector = Selector::parse(&format!("{name}:{value}"));
        selectors.push(selector.map_err(|error| Refusal::Fact { why: error.to_string() })?);
        if selectors.len() > SELECTORS_MAX {
            return Err(Refusal::TooManyFacts);
        }
    }
    Selectors::new(selectors).map_err(|error| Refusal::Fact { why: error.to_string() })
}

/// Why a document is not that of a signer that policy names, about what runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Form(EnvelopeError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Jws(#[from] JwsError),
    #[error("none of the signers that policy names signed it")]
    NoSigner,
    #[error("policy has no `trusted_root` to verify a Sigstore bundle with")]
    NoTrustedRoot,
    #[error(transparent)]
    Sigstore(#[from] Refused),
    #[error("signed by `{subject}` as `{issuer}` has it, whom policy does not name")]
    UnknownIdentity { issuer: String, subject: String },
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error("nothing was measured, so that no document fits")]
    NothingMeasured,
    #[error("about `{told}`, and `{measured}` was measured")]
    NotMeasured { told: String, measured: String },
    #[error("more than {SELECTORS_MAX} facts")]
    TooManyFacts,
    #[error("a fact that is no selector: {why}")]
    Fact { why: String },
}

impl Refusal {
    pub(crate) fn not_measured(told: &[String], facts: &AgentFacts<'_>) -> Self {
        if facts.measured.is_empty() {
            return Self::NothingMeasured;
        }
        let measured = facts.measured.iter().cloned().collect::<Vec<_>>().join(", ");
        Self::NotMeasured { told: told.join(", "), measured }
    }

    fn step(&self) -> Step {
        match self {
            Self::Form(_) | Self::Bundle(_) | Self::Jws(_) => Step::Form,
            Self::NoSigner | Self::Sigstore(Refused::Envelope(_)) => Step::Signature,
            Self::NoTrustedRoot | Self::Sigstore(_) | Self::UnknownIdentity { .. } => Step::Chain,
            Self::NotMeasured { .. } => Step::Binding,
            // Where nothing was measured it is about nothing else either: it counts for nothing.
            Self::NothingMeasured => Step::Content,
            Self::Statement(_) | Self::TooManyFacts | Self::Fact { .. } => Step::Content,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.step(), refusal)
    }
}
