//! A company's authority above ours: its certificates in files, its key in a file or in a token.
//! The files are read each time they are needed, so that what is put there counts at once.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use credential::x509_intermediate::{self, BuildFault, Order, room_below};
use cryptoki::mechanism::Mechanism;
use env::{
    Answering, Superior, SuperiorAnswer, SuperiorFault, SuperiorOrder, SuperiorTrust, Unavailable,
};
use jose::{Algorithm, KeyType, PublicKey};
use x509::{
    CHAIN_CERTIFICATES_MAX, Certificate, CertificateDer, Malformed, PemError, Request,
    RequestError, SignatureAlgorithm, ToBeSigned, ecdsa_der_from_fixed,
};

use crate::device::Devices;
use crate::file::{self, FileError, NOT_OWNER_NOR_READING_GROUP};
use crate::form::{self, TEXT_BYTES_MAX};
use crate::pkcs11::{Session, Token, TokenError};
use crate::store::DeviceError;
use crate::workers::Workers;

/// The longest file of certificates, in bytes.
const CERTIFICATES_BYTES_MAX: usize = 256 * 1024;

/// Where a company's authority is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompanyFiles {
    /// PEM: the certificate that signs ours, then those above it up to a root.
    pub certificates: PathBuf,
    /// PEM: the roots, where the first file does not end in the one there is.
    pub roots: Option<PathBuf>,
    /// Its private key.
    pub key: CompanyKey,
}

/// Where its private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompanyKey {
    /// In a file: PKCS #8 in PEM.
    File(PathBuf),
    /// In a token, by the label of its object.
    Token {
        /// The token.
        token: Token,
        /// CKA_LABEL of the private key.
        label: String,
    },
}

/// A company's authority.
pub struct Company {
    files: CompanyFiles,
    name: String,
    token: Option<Arc<Workers<Session>>>,
}

/// Why it signs nothing.
#[derive(Debug, thiserror::Error)]
pub enum CompanyError {
    /// A file of certificates cannot be read.
    #[error("`{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is longer than any such file.
    #[error("`{}` is longer than {CERTIFICATES_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It holds no certificates.
    #[error("`{}`: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: PemError,
    },
    /// It holds too many.
    #[error("`{}` holds {count} certificates, more than {CHAIN_CERTIFICATES_MAX}", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// One does not read.
    #[error("a certificate in `{}` does not read: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: Malformed,
    },
    /// The certificates end below the root, and no file has that.
    #[error("`{}` does not end in a root, and no `roots` are named", path.display())]
    NoRoot {
        /// The file.
        path: PathBuf,
    },
    /// The file of the key is not used.
    #[error(transparent)]
    KeyFile(#[from] FileError),
    /// The file holds no key.
    #[error("`{}` holds no private key (PKCS #8 in PEM)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is another one.
    #[error("the key is not that of the first certificate in `{}`", path.display())]
    OtherKey {
        /// The file of certificates.
        path: PathBuf,
    },
    /// Keys of this kind sign no certificates here.
    #[error("keys of the kind `{}` sign no certificates here", named(*.0))]
    Kind(KeyType),
    /// The device did not do it.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The token did not do it.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The thread of the token did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The request is not one.
    #[error("the request does not read: {0}")]
    Request(#[from] RequestError),
    /// No certificate can be made.
    #[error(transparent)]
    Build(#[from] BuildFault),
}

impl CompanyError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::KeyFile(error) => return error.hint(),
            Self::Device(error) => return error.hint(),
            Self::Token(error) => return error.hint(),
            Self::NoKey { .. } => {
                "`openssl pkcs8 -topk8 -nocrypt` makes one of other forms of the same key"
            }
            Self::NoRoot { .. } => "append the root, or name its file as `roots`",
            Self::Build(BuildFault::PathLength) => {
                "ask for an authority with a path length of 1 or more, or none"
            }
            Self::Build(BuildFault::Ended { .. }) => "put a new certificate there",
            Self::Unavailable(_) => "see what the device's own tools and log say",
            _ => "check the files that `[upstream_authority]` names",
        }
        .to_owned()
    }
}

impl From<CompanyError> for SuperiorFault {
    fn from(error: CompanyError) -> Self {
        let told = format!("{error}; {}", error.hint());
        match error {
            CompanyError::Device(_) | CompanyError::Token(_) | CompanyError::Unavailable(_) => {
                Self::Unavailable(Unavailable::of("upstream authority", told))
            }
            _ => Self::Refused(told),
        }
    }
}

/// What the files hold.
struct Certificates {
    issuer: Certificate,
    /// The issuer and what is above it, without roots.
    chain: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
}

impl Company {
    /// The authority of these files. A token is opened; the files are read when they are needed.
    pub async fn open(files: CompanyFiles, devices: &Devices) -> Result<Self, CompanyError> {
        let (name, token) = match &files.key {
            CompanyKey::File(path) => (format!("the key in `{}`", path.display()), None),
            CompanyKey::Token { token, label } => {
                let name = format!("the key `{label}` in the pkcs#11 token `{}`", token.label);
                (name, Some(devices.token(token).await?))
            }
        };
        Ok(Self { files, name, token })
    }

    async fn signed(&self, order: SuperiorOrder) -> Result<SuperiorAnswer, CompanyError> {
        let files = self.files.clone();
        let read = blocking(move || read(&files)).await??;
        let request = Request::verify(&order.request)?;
        let public = PublicKey::from_spki_der(read.issuer.spki_der());
        let public = public.map_err(|_| self.other_key())?;
        let (algorithm, kind) = algorithm_of(&public)?;
        let unsigned = x509_intermediate::build(
            &Order {
                origin: &order.origin,
                spki_der: request.spki_der(),
                issuer: &read.issuer,
                random: order.random,
                now: order.now,
                until: order.until,
                // What it has no room for is not given.
                below: room_below(&read.issuer).map_or(order.below, |room| order.below.min(room)),
            },
            kind,
        )?;
        let unsigned = unsigned.into_inner();
        let signature = self.sign(&unsigned, &public, algorithm).await?;
        // What the token or the file signed with shows here.
        if read.issuer.verify_signature(unsigned.bytes(), &signature).is_err() {
            return Err(self.other_key());
        }
        let ours = unsigned.attach(&signature).into_bytes();
        let chain = std::iter::once(ours).chain(read.chain).collect();
        Ok(SuperiorAnswer { chain, roots: read.roots })
    }

    fn other_key(&self) -> CompanyError {
        CompanyError::OtherKey { path: self.files.certificates.clone() }
    }

    /// As certificates have it.
    async fn sign(
        &self,
        unsigned: &ToBeSigned,
        public: &PublicKey,
        algorithm: Algorithm,
    ) -> Result<Vec<u8>, CompanyError> {
        let message = unsigned.bytes().to_vec();
        let signature = match (&self.files.key, &self.token) {
            (CompanyKey::Token { label, .. }, Some(workers)) => {
                let (label, kind) = (label.clone(), public.key_type());
                let asked = workers.ask(move |session, _| {
                    let (mechanism, data) = mechanism(kind, &message);
                    session.sign_as(&label, &mechanism, &data)
                });
                asked.await??
            }
            (CompanyKey::Token { .. }, None) => return Err(self.other_key()),
            (CompanyKey::File(path), _) => {
                let (path, spki) = (path.clone(), public.spki_der().to_vec());
                let certificates = self.files.certificates.clone();
                blocking(move || {
                    let text = file::read(&path, NOT_OWNER_NOR_READING_GROUP, TEXT_BYTES_MAX)?;
                    let key = form::read(&text).ok_or(CompanyError::NoKey { path })?;
                    if key.public().spki_der() != spki {
                        return Err(CompanyError::OtherKey { path: certificates });
                    }
                    let kind = key.public().key_type();
                    let key = key.for_algorithm(algorithm).map_err(|_| CompanyError::Kind(kind))?;
                    Ok(key.sign(&message).as_bytes().to_vec())
                })
                .await??
            }
        };
        match public.key_type() {
            KeyType::P256 | KeyType::P384 => {
                ecdsa_der_from_fixed(&signature).map_err(|_| self.other_key())
            }
            _ => Ok(signature),
        }
    }
}

impl Superior for Company {
    fn name(&self) -> &str {
        &self.name
    }

    fn certify(&self, order: SuperiorOrder) -> Answering<'_, SuperiorAnswer> {
        Box::pin(async move { Ok(self.signed(order).await?) })
    }

    fn trust(&self) -> Answering<'_, SuperiorTrust> {
        let files = self.files.clone();
        Box::pin(async move {
            let read = blocking(move || read(&files)).await.map_err(SuperiorFault::from)?;
            Ok(SuperiorTrust { roots: read?.roots, ..SuperiorTrust::default() })
        })
    }
}

impl std::fmt::Debug for Company {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Company").field("files", &self.files).finish_non_exhaustive()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unavailable> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Unavailable::of("upstream authority", error))
}

fn algorithm_of(public: &PublicKey) -> Result<(Algorithm, SignatureAlgorithm), CompanyError> {
    Ok(match public.key_type() {
        KeyType::P256 => (Algorithm::Es256, SignatureAlgorithm::EcdsaP256Sha256),
        KeyType::P384 => (Algorithm::Es384, SignatureAlgorithm::EcdsaP384Sha384),
        KeyType::Rsa => (Algorithm::Rs256, SignatureAlgorithm::RsaPkcs1Sha256),
        KeyType::Ed25519 => (Algorithm::EdDsa, SignatureAlgorithm::Ed25519),
        kind @ KeyType::P521 => return Err(CompanyError::Kind(kind)),
    })
}

/// How a token signs the same.
fn mechanism(kind: KeyType, message: &[u8]) -> (Mechanism<'static>, Vec<u8>) {
    use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
    let hashed = |algorithm| digest::digest(algorithm, message).as_ref().to_vec();
    match kind {
        KeyType::P256 => (Mechanism::Ecdsa, hashed(&digest::SHA256)),
        KeyType::P384 | KeyType::P521 => (Mechanism::Ecdsa, hashed(&digest::SHA384)),
        KeyType::Rsa => (Mechanism::Sha256RsaPkcs, message.to_vec()),
        KeyType::Ed25519 => {
            let params = EddsaParams::new(EddsaSignatureScheme::Ed25519);
            (Mechanism::Eddsa(params), message.to_vec())
        }
    }
}

fn read(files: &CompanyFiles) -> Result<Certificates, CompanyError> {
    let path = &files.certificates;
    let mut chain = certificates(path)?;
    let issuer =
        chain.first().cloned().ok_or_else(|| CompanyError::NoRoot { path: path.clone() })?;
    // A root signs itself, by its name: whether it really did so is nobody's question.
    let is_root = |one: &Certificate| one.subject() == one.issuer();
    let roots = match &files.roots {
        Some(roots) => certificates(roots)?,
        None => chain.iter().filter(|one| is_root(one)).cloned().collect(),
    };
    if roots.is_empty() {
        return Err(CompanyError::NoRoot { path: path.clone() });
    }
    chain.retain(|one| !is_root(one));
    let ders = |all: Vec<Certificate>| all.into_iter().map(|one| one.der().to_vec()).collect();
    Ok(Certificates { issuer, chain: ders(chain), roots: ders(roots) })
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, CompanyError> {
    let unreadable = |error| CompanyError::Unreadable { path: path.to_owned(), error };
    let mut text = String::new();
    let bound = u64::try_from(CERTIFICATES_BYTES_MAX).unwrap_or(u64::MAX);
    let file = File::open(path).map_err(unreadable)?;
    file.take(bound.saturating_add(1)).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() > CERTIFICATES_BYTES_MAX {
        return Err(CompanyError::TooLong { path: path.to_owned() });
    }
    let found = CertificateDer::from_pem_many(&text);
    let found = found.map_err(|why| CompanyError::Pem { path: path.to_owned(), why })?;
    if found.len() > CHAIN_CERTIFICATES_MAX {
        return Err(CompanyError::TooMany { path: path.to_owned(), count: found.len() });
    }
    let malformed = |why| CompanyError::Malformed { path: path.to_owned(), why };
    found.iter().map(|one| one.parse().map_err(malformed)).collect()
}
/// What people call such keys.
const fn named(kind: KeyType) -> &'static str {
    match kind {
        KeyType::P256 => "P-256",
        KeyType::P384 => "P-384",
        KeyType::P521 => "P-521",
        KeyType::Ed25519 => "Ed25519",
        KeyType::Rsa => "RSA",
    }
}
