//! Trust bundles: the keys of one trust domain, as a JWK Set (SPIFFE Bundle §4, X509-SVID §6,
//! JWT-SVID §6, WIT-SVID §6). Read leniently, as the texts say; written strictly.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jose::json::NotStrict;
use jose::{Jwk, JwkError, KeyError, KeyId, NoKey, PublicKey};
use serde_json::{Map, Value, json};
use time::Span;
use x509::{Certificate, Malformed};

use crate::x509_svid::{AuthorityError, check_authority};

/// Most entries of one bundle.
const ENTRIES_MAX: usize = 128;
/// Longest bundle that is read, in bytes.
const BUNDLE_BYTES_MAX: usize = 1024 * 1024;
// SPIFFE Bundle §6.1: "Clients should default to a relatively low (e.g. five minutes) refresh
// interval"
/// How long to wait for the next look where the bundle does not say.
const REFRESH_DEFAULT: Span = Span::from_seconds(300);

/// Values of `use`.
const USE_X509: &str = "x509-svid";
const USE_JWT: &str = "jwt-svid";
const USE_WIT: &str = "wit-svid";

/// The keys of one trust domain. Which one is not part of it: see [`crate::BundleSet`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    sequence: Option<u64>,
    refresh_hint: Option<Span>,
    x509: Vec<Certificate>,
    jwt: Vec<BundleKey>,
    wit: Vec<BundleKey>,
    ignored: Vec<IgnoredEntry>,
}

/// A key that signs tokens, with the name that they call it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleKey {
    pub kid: KeyId,
    pub key: PublicKey,
}

impl BundleKey {
    /// The key of that id; without one, the only key there is.
    pub fn only<'a>(keys: &'a [Self], kid: Option<&KeyId>) -> Result<&'a PublicKey, NoKey> {
        let mut found = keys.iter().filter(|entry| kid.is_none_or(|kid| entry.kid == *kid));
        match (found.next(), found.next(), kid) {
            (Some(entry), None, _) => Ok(&entry.key),
            (None, _, None) => Err(NoKey::NoKeys),
            (None, _, Some(kid)) => Err(NoKey::UnknownKeyId { kid: kid.clone() }),
            (Some(_), Some(_), None) => Err(NoKey::KeyIdRequired),
            (Some(_), Some(_), Some(kid)) => Err(NoKey::AmbiguousKeyId { kid: kid.clone() }),
        }
    }
}

/// An entry of a bundle that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredEntry {
    /// Its place in the bundle, from 0.
    pub index: usize,
    pub reason: Skipped,
}

impl Bundle {
    /// A bundle of our own, held to every rule for publishers. `sequence` must be another with
    /// each change of the contents.
    pub fn new(
        sequence: u64,
        refresh_hint: Span,
        x509: Vec<Certificate>,
        jwt: Vec<BundleKey>,
        wit: Vec<BundleKey>,
    ) -> Result<Self, BundleError> {
        let count = x509.len() + jwt.len() + wit.len();
        if count > ENTRIES_MAX {
            return Err(BundleError::TooManyEntries { count });
        }
        for authority in &x509 {
            check_authority(authority)?;
            PublicKey::from_spki_der(authority.spki_der())?;
        }
        // WIT-SVID §6.1: "No other JWK, whether for JWT-SVID or WIT-SVID, may have the same value."
        let mut kids: Vec<&KeyId> = jwt.iter().chain(&wit).map(|entry| &entry.kid).collect();
        kids.sort_unstable();
        if let Some(kid) = kids.windows(2).find_map(|pair| match pair {
            [first, second] if first == second => Some((*first).clone()),
            _ => None,
        }) {
            return Err(BundleError::DuplicateKeyId(kid));
        }
        let (sequence, refresh_hint) = (Some(sequence), Some(refresh_hint));
        Ok(Self { sequence, refresh_hint, x509, jwt, wit, ignored: Vec::new() })
    }

    /// Reads the text of a bundle. What is not understood is ignored and listed.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        if text.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLong { bytes: text.len() });
        }
        Self::read(&jose::json::parse(text)?)
    }

    /// Reads a bundle that is part of a document which was read strictly.
    pub(crate) fn from_value(value: &Value) -> Result<Self, BundleError> {
        value.as_object().ok_or(BundleError::NoKeys).and_then(Self::read)
    }

    /// `spiffe_sequence`.
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How long to wait for the next look at it.
    pub fn refresh_hint(&self) -> Span {
        self.refresh_hint.unwrap_or(REFRESH_DEFAULT)
    }

    /// The authorities that vouch for X.509-SVIDs.
    pub fn x509_authorities(&self) -> &[Certificate] {
        &self.x509
    }

    /// The keys that sign JWT-SVIDs.
    pub fn jwt_keys(&self) -> &[BundleKey] {
        &self.jwt
    }

    /// The keys that sign WITs.
    pub fn wit_keys(&self) -> &[BundleKey] {
        &self.wit
    }

    /// The entries that are not used, and why.
    pub fn ignored(&self) -> &[IgnoredEntry] {
        &self.ignored
    }

    /// Whether no key can be used: every SVID of the trust domain is invalid.
    pub fn is_empty(&self) -> bool {
        self.x509.is_empty() && self.jwt.is_empty() && self.wit.is_empty()
    }

    /// The one key that a JWT-SVID with this `kid` may be signed by.
    pub fn jwt_key(&self, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        BundleKey::only(&self.jwt, kid)
    }

    /// The one key that a WIT with this `kid` may be signed by.
    pub fn wit_key(&self, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        BundleKey::only(&self.wit, kid)
    }

    /// The same without the keys of WITs, for peers that reject a bundle with a use they do not
    /// know.
    #[must_use]
    pub fn without_wit(&self) -> Self {
        Self { wit: Vec::new(), ..self.clone() }
    }

    /// The bundle as JSON.
    pub fn to_value(&self) -> Value {
        let mut members = self.members();
        if let Some(hint) = self.refresh_hint {
            members.insert("spiffe_refresh_hint".to_owned(), json!(hint.seconds()));
        }
        Value::Object(members)
    }

    /// The bundle as JSON in a bundle map: without its refresh hint.
    pub(crate) fn to_map_value(&self) -> Value {
        Value::Object(self.members())
    }

    /// The keys of JWT-SVIDs as a plain JWK Set, for workloads (Workload API §6.2.2).
    pub fn to_jwt_key_set(&self) -> Value {
        json!({ "keys": self.jwt.iter().map(|entry| jwk(entry).to_value()).collect::<Value>() })
    }

    /// The keys of WITs as a plain JWK Set, for workloads (Workload API §7).
    pub fn to_wit_key_set(&self) -> Value {
        json!({ "keys": self.wit.iter().map(|entry| jwk(entry).to_value()).collect::<Value>() })
    }

    fn members(&self) -> Map<String, Value> {
        let mut keys: Vec<Value> = self.x509.iter().filter_map(x509_entry).collect();
        for (entries, use_) in [(&self.jwt, USE_JWT), (&self.wit, USE_WIT)] {
            keys.extend(entries.iter().map(|entry| jwk(entry).with_use(use_).to_value()));
        }
        let mut members = Map::new();
        members.insert("keys".to_owned(), Value::Array(keys));
        if let Some(sequence) = self.sequence {
            members.insert("spiffe_sequence".to_owned(), json!(sequence));
        }
        members
    }

    fn read(members: &Map<String, Value>) -> Result<Self, BundleError> {
        let number = |name: &'static str| match members.get(name) {
            None => Ok(None),
            // SPIFFE Bundle §4.1.1: "Care should be taken to ensure that the resulting type has at
            // least 64 bits of precision"
            Some(value) => value.as_u64().map(Some).ok_or(BundleError::NotANumber(name)),
        };
        // SPIFFE Bundle §4.1.3: "The parameter `keys` MUST be present."
        let Some(Value::Array(keys)) = members.get("keys") else {
            return Err(BundleError::NoKeys);
        };
        if keys.len() > ENTRIES_MAX {
            return Err(BundleError::TooManyEntries { count: keys.len() });
        }
        let mut bundle = Self {
            sequence: number("spiffe_sequence")?,
            refresh_hint: number("spiffe_refresh_hint")?.map(Span::from_seconds),
            ..Self::default()
        };
        for (index, entry) in keys.iter().enumerate() {
            if let Err(reason) = bundle.take(entry) {
                bundle.ignored.push(IgnoredEntry { index, reason });
            }
        }
        Ok(bundle)
    }

    /// Takes one entry of a bundle that is read.
    fn take(&mut self, entry: &Value) -> Result<(), Skipped> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        // SPIFFE Bundle §4.2.1: "The `kty` parameter MUST be set [...] Clients encountering an
        // unknown key type MUST ignore the entire JWK element."
        let kty = text("kty").ok_or(Skipped::NoKeyType)?;
        if !["EC", "RSA", "OKP"].contains(&kty) {
            return Err(Skipped::UnknownKeyType);
        }
        // SPIFFE Bundle §4.2.2: "Clients encountering either a missing `use` parameter or an
        // unknown `use` value MUST ignore the entire JWK element." "The values are case sensitive."
        match text("use") {
            None => Err(Skipped::NoUse),
            Some(USE_X509) => read_x509(entry).map(|authority| self.x509.push(authority)),
            Some(USE_JWT) => read_key(entry).map(|key| self.jwt.push(key)),
            Some(USE_WIT) => read_key(entry).map(|key| self.wit.push(key)),
            Some(_) => Err(Skipped::UnknownUse),
        }
    }
}

/// Why a text is no bundle, or a bundle cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("{bytes} bytes; at most {BUNDLE_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("no array `keys`")]
    NoKeys,
    #[error("{count} entries; at most {ENTRIES_MAX} are allowed")]
    TooManyEntries { count: usize },
    #[error("`{0}` is no whole number")]
    NotANumber(&'static str),
    #[error("the key id `{0}` is there twice")]
    DuplicateKeyId(KeyId),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the key of an authority: {0}")]
    AuthorityKey(#[from] KeyError),
}

/// Why an entry of a bundle is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    #[error("no `kty`")]
    NoKeyType,
    #[error("an unknown `kty`")]
    UnknownKeyType,
    #[error("no `use`")]
    NoUse,
    #[error("an unknown `use`")]
    UnknownUse,
    #[error("no certificate in `x5c`")]
    NoCertificate,
    #[error("`x5c` is not base64")]
    Encoding,
    #[error(transparent)]
    Certificate(#[from] Malformed),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    AuthorityKey(#[from] KeyError),
    #[error("no `kid`")]
    NoKeyId,
    #[error(transparent)]
    Key(#[from] JwkError),
}

/// The certificate of an entry with `use` `x509-svid`.
fn read_x509(entry: &Value) -> Result<Certificate, Skipped> {
    // X509-SVID §6.2: "If `x5c` is not set, or is empty, then the entry MUST be ignored." "If the
    // `x5c` parameter contains multiple values, then all but the first MUST be ignored."
    let first = entry.get("x5c").and_then(Value::as_array).and_then(|chain| chain.first());
    let first = first.and_then(Value::as_str).ok_or(Skipped::NoCertificate)?;
    let der = STANDARD.decode(first).map_err(|_| Skipped::Encoding)?;
    let certificate = Certificate::parse(&der)?;
    check_authority(&certificate)?;
    PublicKey::from_spki_der(certificate.spki_der())?;
    Ok(certificate)
}

/// The key of an entry with another `use`.
fn read_key(entry: &Value) -> Result<BundleKey, Skipped> {
    let jwk = Jwk::from_value(entry)?;
    // JWT-SVID §6.1: "the `kid` parameter of each JWK entry MUST be set."
    let kid = jwk.kid().cloned().ok_or(Skipped::NoKeyId)?;
    Ok(BundleKey { kid, key: PublicKey::from_jwk(&jwk)? })
}

/// The entry of an authority. INVARIANT: its key was read before, in `new` or `take`.
fn x509_entry(certificate: &Certificate) -> Option<Value> {
    let jwk = PublicKey::from_spki_der(certificate.spki_der()).ok()?.to_jwk();
    // X509-SVID §6.1: "The value MUST include exactly one CA certificate". "the `kid` parameter of
    // each JWK entry MUST NOT be set."
    let mut value = jwk.with_use(USE_X509).to_value();
    let members = value.as_object_mut()?;
    // SPIFFE Bundle §4.2: "Implementers SHOULD NOT include parameters which are defined neither
    // here nor in the respective SVID specification."
    members.remove("alg");
    members.insert("x5c".to_owned(), json!([STANDARD.encode(certificate.der())]));
    Some(value)
}

fn jwk(entry: &BundleKey) -> Jwk {
    entry.key.to_jwk().with_kid(entry.kid.clone())
}
