//! What a confidential guest's processor signs, by the kernel's configfs-tsm: a folder made below
//! `/sys/kernel/config/tsm/report` is a request, and its files are what is asked and answered
//! (Documentation/ABI/testing/configfs-tsm-report of Linux, from 6.7 on; the pure halves are
//! `attestation::{snp, tdx}`). No device is opened, and nothing but files is used.
//!
//! Trusting it means to trust this guest's kernel: whoever may make folders there (root) can have
//! anything signed, and so join as this guest.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use attestation::confidential::report_data;
use attestation::tpm_devid::Bytes;
use attestation::{snp, tdx};
use x509::{Certificate, CertificateDer, RevocationList};

use crate::bounded_file;

/// Where Linux has it.
pub const USUAL: &str = "/sys/kernel/config/tsm/report";
/// The name of our requests. One that is there already was left by a process that was killed.
const ENTRY: &str = "aims";
/// The longest attribute that is a number or a name, in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// The longest answer, in bytes: a quote has some 5,000.
const OUTBLOB_BYTES_MAX: usize = 16 * 1024;
/// The longest table of certificates, in bytes.
const AUXBLOB_BYTES_MAX: usize = 64 * 1024;
/// The longest file of certificates, lists or collateral, in bytes.
const COLLATERAL_BYTES_MAX: usize = 64 * 1024;
/// How often a request is made that another process spoiled.
const TRIES_MAX: usize = 3;

/// What signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// AMD SEV-SNP.
    SevGuest,
    /// Intel TDX.
    TdxGuest,
}

impl Provider {
    /// As the kernel calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SevGuest => "sev_guest",
            Self::TdxGuest => "tdx_guest",
        }
    }

    /// The mechanism to join by.
    pub const fn mechanism(self) -> &'static str {
        match self {
            Self::SevGuest => "snp",
            Self::TdxGuest => "tdx",
        }
    }

    /// The device that is there with it.
    pub const fn device(self) -> &'static str {
        match self {
            Self::SevGuest => "/dev/sev-guest",
            Self::TdxGuest => "/dev/tdx_guest",
        }
    }
}

/// A guest that can prove what it is.
#[derive(Clone, Debug)]
pub struct Guest {
    folder: PathBuf,
    provider: Provider,
    collateral: Option<PathBuf>,
}

impl Guest {
    /// A guest whose processor is asked through `folder`; `collateral` is what its maker says, as
    /// far as the host of the guest does not give it: for SEV-SNP certificates and revocation lists
    /// in PEM, for TDX a JSON object.
    pub fn new(
        folder: &Path,
        provider: Provider,
        collateral: Option<PathBuf>,
    ) -> Result<Self, TsmError> {
        if !folder.is_dir() {
            return Err(TsmError::NoTsm { folder: folder.display().to_string() });
        }
        let guest = Self { folder: folder.to_owned(), provider, collateral };
        // What is wrong with the file is told before anything is started.
        guest.evidence()?;
        Ok(guest)
    }

    /// The mechanism to join by.
    pub const fn mechanism(&self) -> &'static str {
        self.provider.mechanism()
    }

    /// What is sent first. The file is read again each time: lists and collateral grow old.
    pub fn evidence(&self) -> Result<Vec<u8>, TsmError> {
        let written = match (self.provider, &self.collateral) {
            (_, None) => Ok(b"{}".to_vec()),
            (Provider::SevGuest, Some(path)) => serde_json::to_vec(&certificates_and_lists(path)?),
            (Provider::TdxGuest, Some(path)) => {
                let bytes = bounded_file::bytes(path, COLLATERAL_BYTES_MAX)
                    .map_err(|why| TsmError::of(path, why))?;
                tee::tdx::Collateral::parse(&bytes).map_err(|why| TsmError::of(path, why))?;
                serde_json::to_vec(&tdx::Evidence { collateral: Some(Bytes(bytes)) })
            }
        };
        written.map_err(|error| TsmError::of(&self.folder, error))
    }

    /// The answer to a challenge, for a host that asks to certify `key`
    /// (`SubjectPublicKeyInfo`). It may take seconds.
    pub fn answer(&self, challenge: &[u8], key: &[u8]) -> Result<Vec<u8>, TsmError> {
        let (outblob, auxblob) = self.signed(&report_data(challenge, key))?;
        let written = match self.provider {
            Provider::SevGuest => {
                let certificates = sent_along(&auxblob);
                serde_json::to_vec(&snp::Response { report: Bytes(outblob), certificates })
            }
            Provider::TdxGuest => serde_json::to_vec(&tdx::Response { quote: Bytes(outblob) }),
        };
        written.map_err(|error| TsmError::of(&self.folder, error))
    }

    /// What the processor signs over `data`, and what its host sends along.
    fn signed(&self, data: &[u8]) -> Result<(Vec<u8>, Vec<u8>), TsmError> {
        for _ in 0..TRIES_MAX {
            let entry = Entry::open(&self.folder)?;
            let found = entry.text("provider")?;
            if found != self.provider.name() {
                let mechanism = self.provider.mechanism();
                return Err(TsmError::OtherProvider { found, mechanism });
            }
            let before = entry.generation()?;
            let writes = entry.ask(data)?;
            let outblob = entry.bytes("outblob", OUTBLOB_BYTES_MAX)?;
            // A provider without certificates has no such file, or an empty one.
            let auxblob = entry.bytes("auxblob", AUXBLOB_BYTES_MAX).unwrap_or_default();
            // configfs-tsm-report, `generation`: "The value in this attribute increments each time
            // @inblob or any option is written. Userspace can detect conflicts by checking
            // generation before writing to any attribute and making sure the number of writes
            // matches expectations after reading @outblob".
            if entry.generation()? == before.wrapping_add(writes) {
                return Ok((outblob, auxblob));
            }
        }
        Err(TsmError::Disturbed { tries: TRIES_MAX })
    }
}

/// A request, which ends with the value.
struct Entry(PathBuf);

impl Entry {
    fn open(folder: &Path) -> Result<Self, TsmError> {
        let path = folder.join(ENTRY);
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self(path)),
            Err(error) => Err(TsmError::of(&path, error.kind())),
        }
    }

    fn bytes(&self, name: &str, max: usize) -> Result<Vec<u8>, TsmError> {
        let path = self.0.join(name);
        bounded_file::bytes(&path, max).map_err(|why| TsmError::of(&path, why))
    }

    fn text(&self, name: &str) -> Result<String, TsmError> {
        let bytes = self.bytes(name, TEXT_BYTES_MAX)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    fn generation(&self) -> Result<u64, TsmError> {
        let text = self.text("generation")?;
        let why = |_| TsmError::of(&self.0.join("generation"), "it holds no number");
        text.parse().map_err(why)
    }

    /// Asks for a report over `data`; how many attributes were written.
    fn ask(&self, data: &[u8]) -> Result<u64, TsmError> {
        // Linux has the floor where a guest does not run at the highest level itself.
        let floor = self.text("privlevel_floor").unwrap_or_default();
        let lowered = !floor.is_empty() && floor != "0";
        if lowered {
            self.write("privlevel", floor.as_bytes())?;
        }
        self.write("inblob", data)?;
        Ok(1 + u64::from(lowered))
    }

    /// The attributes are there; nothing is made.
    fn write(&self, name: &str, value: &[u8]) -> Result<(), TsmError> {
        let path = self.0.join(name);
        let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| {
            // One write: the kernel takes each as the whole value.
            file.write_all(value)?;
            file.flush()
        });
        written.map_err(|error| TsmError::of(&path, error.kind()))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // The kernel takes the attributes with the folder. What stays is taken over.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The certificates of a table below the root: the server has that, or does not trust it. What does
/// not read is passed over: the host may put anything there.
fn sent_along(auxblob: &[u8]) -> Vec<Bytes> {
    let table = tee::snp::certificate_table(auxblob).unwrap_or_default();
    let below_root = |der: &&[u8]| {
        Certificate::parse(der)
            .is_ok_and(|certificate| certificate.subject() != certificate.issuer())
    };
    table.into_iter().filter(below_root).map(|der| Bytes(der.to_vec())).collect()
}

/// The certificates and lists of a PEM file.
fn certificates_and_lists(path: &Path) -> Result<snp::Evidence, TsmError> {
    let wrong = |why: &dyn std::fmt::Display| TsmError::of(path, why);
    let text = bounded_file::read(path, COLLATERAL_BYTES_MAX).map_err(|why| wrong(&why))?;
    let lists = RevocationList::from_pem_many(&text).map_err(|why| wrong(&why))?;
    let certificates = match CertificateDer::from_pem_many(&text) {
        Ok(found) => found,
        Err(x509::PemError::None) if !lists.is_empty() => Vec::new(),
        Err(why) => return Err(wrong(&why)),
    };
    let certificates = certificates.into_iter().map(|der| Bytes(der.into_bytes())).collect();
    let crls = lists.iter().map(|list| Bytes(list.der().to_vec())).collect();
    Ok(snp::Evidence { certificates, crls })
}

/// Why a guest shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsmError {
    /// This is no confidential guest, or its kernel is too old.
    #[error("no `{folder}`: not a confidential guest, or configfs is not mounted")]
    NoTsm {
        /// Where it would be.
        folder: String,
    },
    /// The processor is of another kind.
    #[error("the kernel's provider is `{found}`, which is not that of `{mechanism}`")]
    OtherProvider {
        /// What the kernel calls it.
        found: String,
        /// The mechanism that was asked for.
        mechanism: &'static str,
    },
    /// Another process writes to the same request.
    #[error("another process disturbed the request {tries} times")]
    Disturbed {
        /// How often it was made.
        tries: usize,
    },
    /// A file.
    #[error("cannot use `{path}`: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
}

impl TsmError {
    fn of(path: &Path, why: impl std::fmt::Display) -> Self {
        Self::File { path: path.display().to_string(), why: why.to_string() }
    }
}
