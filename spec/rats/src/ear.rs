//! Attestation results (EAR): what a verifier found out about each part of an attester, signed.
//!
//! Written under the profile of draft -04; that of -03 and the older names of Veraison and Trustee
//! are read. The tier is that of the vector, whatever the claims say.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::UnixTime;

use crate::vector::{Tier, Vector, VectorError, read_tier};

/// The most submodules of one result.
pub const SUBMODS_MAX: usize = 64;
/// Characters of the text form of a nonce (RFC 9711 §4.1).
const NONCE_CHARS: std::ops::RangeInclusive<usize> = 8..=88;
/// Longest attested key, in characters.
const KEY_CHARS: usize = 2_048;
/// Most policy identifiers of one appraisal.
const POLICIES_MAX: usize = 16;
/// Longest label, identifier or name of a verifier, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Which names the claims have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// draft-ietf-rats-ear-04: what we write.
    Ear04,
    /// draft-ietf-rats-ear-03: the same names.
    Ear03,
    /// What Veraison writes since 2023: names with a dot.
    Veraison,
    /// What Trustee writes since 2024: names with a dot.
    Trustee,
}

impl Profile {
    const ALL: [Self; 4] = [Self::Ear04, Self::Ear03, Self::Veraison, Self::Trustee];

    /// The value of `eat_profile`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Ear04 => "tag:ietf.org,2026:rats/ear#04",
            Self::Ear03 => "tag:ietf.org,2026:rats/ear#03",
            Self::Veraison => "tag:github.com,2023:veraison/ear",
            Self::Trustee => "tag:github.com,2024:confidential-containers/Trustee",
        }
    }

    const fn names(self) -> &'static Names {
        match self {
            Self::Ear04 | Self::Ear03 => &NEW,
            Self::Veraison | Self::Trustee => &OLD,
        }
    }
}

/// The names that differ between profiles.
struct Names {
    status: &'static str,
    vector: &'static str,
    verifier: &'static str,
    policies: &'static str,
    evidence: &'static str,
    key: &'static str,
}

const NEW: Names = Names {
    status: "ear_status",
    vector: "ear_trustworthiness_vector",
    verifier: "ear_verifier_id",
    policies: "ear_appraisal_policy_ids",
    evidence: "ear_raw_evidence",
    key: "ear_veraison_key_attestation",
};
const OLD: Names = Names {
    status: "ear.status",
    vector: "ear.trustworthiness-vector",
    verifier: "ear.verifier-id",
    policies: "ear.appraisal-policy-id",
    evidence: "ear.raw-evidence",
    key: "ear.veraison.key-attestation",
};

impl Names {
    const fn all(&self) -> [&'static str; 6] {
        [self.status, self.vector, self.verifier, self.policies, self.evidence, self.key]
    }
}

/// Which software appraised (AR4SI §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifierId {
    /// Who made it.
    pub developer: String,
    /// Which build of it.
    pub build: String,
}

/// What was found out about one part of the attester.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appraisal {
    /// The vector; `None` where the verifier left it out.
    pub vector: Option<Vector>,
    /// The tier that the verifier wrote, never better than that of the vector.
    status: Tier,
    /// The policies it was appraised under, in their order.
    pub policies: Vec<String>,
    /// The nonce that the evidence bore, as it was written.
    pub nonce: Option<String>,
    /// The key that the verifier found attested, as `SubjectPublicKeyInfo`.
    pub key: Option<Vec<u8>>,
    /// What the attester claims, as far as the verifier passes it on (`ear_attester_claims`).
    pub attester_claims: Map<String, Value>,
}

impl Appraisal {
    /// What a vector says.
    pub fn new(vector: Vector, policy: impl Into<String>) -> Self {
        Self {
            vector: Some(vector),
            status: vector.tier(),
            policies: vec![policy.into()],
            ..Self::default()
        }
    }

    /// How far this part may be trusted: what its vector says, and nothing where there is none.
    pub fn tier(&self) -> Tier {
        let counted = self.vector.map(|vector| vector.tier()).unwrap_or_default();
        let nothing_shown = counted == Tier::None && self.status == Tier::Affirming;
        if nothing_shown { Tier::None } else { counted.max(self.status) }
    }
}

/// An attestation result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Ear {
    /// Which names it was read by; it is written under [`Profile::Ear04`].
    pub profile: Profile,
    /// When it was made.
    pub issued: UnixTime,
    /// When it ends.
    pub expires: Option<UnixTime>,
    /// What appraised.
    pub verifier: VerifierId,
    /// Who signs, where it says so.
    pub issuer: Option<String>,
    /// Whom it is about, where it says so.
    pub subject: Option<String>,
    /// What the relying party wanted echoed, as it was written.
    pub nonce: Option<String>,
    /// Each part of the attester.
    pub submods: BTreeMap<String, Appraisal>,
}

impl Ear {
    /// How far the whole may be trusted: as far as the part trusted least.
    pub fn tier(&self) -> Tier {
        // EAR §3: "The value of this claim MUST be set to a tier of no higher trust than the tier
        // corresponding to the worst status claim across all EAR appraisal submods."
        self.submods.values().map(Appraisal::tier).max().unwrap_or_default()
    }
}

/// The kind of token that carries a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarToken;

impl Kind for EarToken {
    // EAR §8.2 registers no media type of its own: "application/eat+jwt" with a profile; verifiers
    // in use write `JWT`. The profile claim, which must be there, tells it from other tokens.
    const TYPES: &'static [&'static str] = &["eat+jwt", "JWT"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    // EAR §3: "`exp` (optional)"
    const EXP_REQUIRED: bool = false;
    type Claims = Ear;
    /// Who says that it signed.
    type Hint = Option<String>;

    fn hint(claims: &Ear) -> Option<String> {
        claims.issuer.clone()
    }

    fn window(claims: &Ear) -> Window {
        let date = NumericDate::from_time;
        Window { exp: claims.expires.map(date), nbf: None, iat: Some(date(claims.issued)) }
    }
}

/// Why a claims set is no attestation result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EarError {
    /// No profile, or one that is not read.
    #[error("`eat_profile` is not one that is read: `{found}`")]
    Profile {
        /// What stood there.
        found: String,
    },
    /// Something that must be there is not.
    #[error("no `{name}`")]
    Absent {
        /// Which.
        name: &'static str,
    },
    /// Something is of another form.
    #[error("`{name}` is not {form}")]
    Form {
        /// Which.
        name: &'static str,
        /// What it must be.
        form: &'static str,
    },
    /// Names of another profile.
    #[error("`{name}` is a name of another profile than `{profile}`")]
    Mixed {
        /// Which.
        name: &'static str,
        /// That of the result.
        profile: &'static str,
    },
    /// It says that it is trusted more than its vector, or its parts, allow.
    #[error("{place} says `{said}`, its worst claim is `{worst}`")]
    Better {
        /// Where.
        place: String,
        /// What it says.
        said: Tier,
        /// What it may say at most.
        worst: Tier,
    },
    /// A vector or tier that does not read.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// Over a bound.
    #[error("{count} {what}, at most {max} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
}

impl TryFrom<Map<String, Value>> for Ear {
    type Error = EarError;

    fn try_from(members: Map<String, Value>) -> Result<Self, EarError> {
        let said = members.get("eat_profile").and_then(Value::as_str).unwrap_or_default();
        let profile = Profile::ALL.into_iter().find(|profile| profile.uri() == said);
        let profile = profile.ok_or_else(|| EarError::Profile {
            found: said.chars().take(TEXT_BYTES_MAX).collect(),
        })?;
        unmixed(&members, profile)?;
        let names = profile.names();
        let verifier = members.get(names.verifier).ok_or(absent(names.verifier))?;
        let verifier = VerifierId::deserialize(verifier)
            .map_err(|_| form(names.verifier, "an object with `developer` and `build`"))?;
        let ear = Self {
            profile,
            issued: date(&members, "iat")?.ok_or(absent("iat"))?,
            expires: date(&members, "exp")?,
            verifier,
            issuer: text(&members, "iss")?,
            subject: text(&members, "sub")?,
            nonce: nonce(&members)?,
            submods: submods(&members, profile)?,
        };
        if let Some(status) = members.get(names.status) {
            no_better("the result", read_tier(status)?, ear.tier())?;
        }
        Ok(ear)
    }
}

impl From<Ear> for Map<String, Value> {
    fn from(ear: Ear) -> Self {
        let submods: Self =
            ear.submods.iter().map(|(label, one)| (label.clone(), written(one))).collect();
        let mut members = Self::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("eat_profile", json!(Profile::Ear04.uri()));
        put("iat", json!(ear.issued.seconds()));
        ear.expires.map(|at| put("exp", json!(at.seconds())));
        ear.issuer.as_ref().map(|issuer| put("iss", json!(issuer)));
        ear.subject.as_ref().map(|subject| put("sub", json!(subject)));
        ear.nonce.as_ref().map(|nonce| put("eat_nonce", json!(nonce)));
        put(NEW.verifier, json!(ear.verifier));
        put(NEW.status, json!(ear.tier()));
        put("submods", Value::Object(submods));
        members
    }
}

fn written(appraisal: &Appraisal) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put(NEW.status, json!(appraisal.tier()));
    // EAR §3.1: "This claim MUST be present unless the party requesting Evidence appraisal
    // explicitly asks for it to be dropped"
    appraisal.vector.map(|vector| put(NEW.vector, json!(vector)));
    if !appraisal.policies.is_empty() {
        put(NEW.policies, json!(appraisal.policies));
    }
    appraisal.nonce.as_ref().map(|nonce| put("eat_nonce", json!(nonce)));
    if let Some(key) = &appraisal.key {
        put(NEW.key, json!({ "akpub": URL_SAFE_NO_PAD.encode(key) }));
    }
    if !appraisal.attester_claims.is_empty() {
        put("ear_attester_claims", json!(appraisal.attester_claims));
    }
    Value::Object(members)
}

/// Names of the other generation stand nowhere: what they say would be overlooked.
fn unmixed(members: &Map<String, Value>, profile: Profile) -> Result<(), EarError> {
    let others = if profile.names().status == NEW.status { &OLD } else { &NEW };
    let found = others.all().into_iter().find(|name| members.contains_key(*name));
    found.map_or(Ok(()), |name| Err(EarError::Mixed { name, profile: profile.uri() }))
}

fn submods(
    members: &Map<String, Value>,
    profile: Profile,
) -> Result<BTreeMap<String, Appraisal>, EarError> {
    let Some(Value::Object(all)) = members.get("submods") else { return Err(absent("submods")) };
    // EAR §3: "The map MUST contain at least one entry."
    if all.is_empty() {
        return Err(form("submods", "an object with at least one submodule"));
    }
    if all.len() > SUBMODS_MAX {
        let (what, count) = ("submodules", all.len());
        return Err(EarError::TooMany { what, count, max: SUBMODS_MAX });
    }
    let mut read = BTreeMap::new();
    for (label, value) in all {
        let Value::Object(one) = value else { return Err(form("submods", "a map of objects")) };
        if label.is_empty() || label.len() > TEXT_BYTES_MAX {
            return Err(form("submods", "a map with labels of 1 to 512 bytes"));
        }
        read.insert(label.clone(), submod(label, one, profile)?);
    }
    Ok(read)
}

fn submod(
    label: &str,
    members: &Map<String, Value>,
    profile: Profile,
) -> Result<Appraisal, EarError> {
    unmixed(members, profile)?;
    let names = profile.names();
    let status = read_tier(members.get(names.status).ok_or(absent(names.status))?)?;
    let vector = match members.get(names.vector) {
        None => None,
        Some(Value::Object(vector)) => Some(Vector::read(vector)?),
        Some(_) => return Err(form(names.vector, "an object")),
    };
    // EAR §3.1: "The value of this claim MUST be set to a tier of no higher trust than the tier
    // corresponding to the worst trustworthiness claim across the entire trustworthiness vector."
    if let Some(vector) = vector {
        no_better(&format!("submodule `{label}`"), status, vector.tier())?;
    }
    let attester_claims = match members.get("ear_attester_claims") {
        None => Map::new(),
        Some(Value::Object(claims)) => claims.clone(),
        Some(_) => return Err(form("ear_attester_claims", "an object")),
    };
    let policies = policies(members.get(names.policies), names.policies)?;
    let key = attested_key(members.get(names.key), names.key)?;
    Ok(Appraisal { vector, status, policies, nonce: nonce(members)?, key, attester_claims })
}

/// EAR, Project Veraison Extensions: `"akpub" => eat.binary-data`, in JSON base64url.
fn attested_key(value: Option<&Value>, name: &'static str) -> Result<Option<Vec<u8>>, EarError> {
    let Some(value) = value else { return Ok(None) };
    // An empty one says that no key is attested.
    if value.as_object().is_some_and(Map::is_empty) {
        return Ok(None);
    }
    let text = value.get("akpub").and_then(Value::as_str).filter(|text| text.len() <= KEY_CHARS);
    let key = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    key.map(Some).ok_or(form(name, "an object with `akpub`, base64url"))
}

fn no_better(place: &str, said: Tier, worst: Tier) -> Result<(), EarError> {
    // `none` says less than `affirming`, and nothing better; of what is bad it must not be silent.
    let silent = said == Tier::None && worst == Tier::Affirming;
    if said >= worst || silent {
        return Ok(());
    }
    Err(EarError::Better { place: place.to_owned(), said, worst })
}

/// An array, or under the older names one text.
fn policies(value: Option<&Value>, name: &'static str) -> Result<Vec<String>, EarError> {
    let all = match value {
        None => return Ok(Vec::new()),
        Some(Value::String(one)) if name == OLD.policies => vec![Value::from(one.as_str())],
        Some(Value::Array(all)) if name == NEW.policies => all.clone(),
        Some(_) => return Err(form(name, "a list of texts")),
    };
    // EAR §3.1: "The list MUST NOT be empty."
    if all.is_empty() {
        return Err(form(name, "a list of at least one text"));
    }
    if all.len() > POLICIES_MAX {
        let (what, count) = ("policy identifiers", all.len());
        return Err(EarError::TooMany { what, count, max: POLICIES_MAX });
    }
    let texts = all.iter().map(|one| one.as_str().filter(|text| text.len() <= TEXT_BYTES_MAX));
    let texts: Option<Vec<_>> = texts.map(|text| text.map(str::to_owned)).collect();
    texts.ok_or(form(name, "a list of texts"))
}

/// A whole number of seconds.
fn date(members: &Map<String, Value>, name: &'static str) -> Result<Option<UnixTime>, EarError> {
    // EAR §3: "Any recipient of a token with a floating-point format `exp` claim MUST consider it
    // an error."
    let seconds = members.get(name).map(|value| value.as_u64().filter(|at| *at < (1 << 40)));
    match seconds {
        None => Ok(None),
        Some(Some(seconds)) => Ok(Some(UnixTime::from_seconds(seconds))),
        Some(None) => Err(form(name, "a whole number of seconds")),
    }
}

fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, EarError> {
    let Some(value) = members.get(name) else { return Ok(None) };
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= TEXT_BYTES_MAX);
    text.map(|text| Some(text.to_owned())).ok_or(form(name, "a text of 1 to 512 bytes"))
}

fn nonce(members: &Map<String, Value>) -> Result<Option<String>, EarError> {
    let Some(value) = members.get("eat_nonce") else { return Ok(None) };
    let text = value.as_str().filter(|text| NONCE_CHARS.contains(&text.len()));
    text.map(|text| Some(text.to_owned())).ok_or(form("eat_nonce", "a text of 8 to 88 characters"))
}

const fn absent(name: &'static str) -> EarError {
    EarError::Absent { name }
}

const fn form(name: &'static str, form: &'static str) -> EarError {
    EarError::Form { name, form }
}
