//! One attempt to join: the keys are loaded once, evidence and answer are made with the same ones.

use attestation::tpm_devid::{Bytes, Challenge, Evidence, QuoteAnswer, QuoteQuestion, Response};
use chip::{Address, ENDORSEMENT, Handle, OWNER, Tpm, TpmError};
use tpm::{Hash, Key, PCRS_MAX, PcrSelection, Public};

use super::devid::{self, Devid, DevidError};
use super::template;

/// The longest challenge that is read, in bytes.
const CHALLENGE_BYTES_MAX: usize = 16 * 1024;
/// The length of each nonce, in bytes: nothing longer or shorter is signed.
const NONCE_BYTES: usize = 32;
/// Where manufacturers put the certificate of the endorsement key (Provisioning Guidance §7.8).
const RSA_CERTIFICATE: Handle = 0x01c0_0002;
const P256_CERTIFICATE: Handle = 0x01c0_000a;

/// A TPM with a DevID key, an attestation key and its endorsement key loaded. They are flushed when
/// it is dropped.
pub struct Attester {
    tpm: Tpm,
    devid: Devid,
    loaded: Vec<Handle>,
    devid_handle: Handle,
    attestation: Handle,
    attestation_public: Vec<u8>,
    endorsement: Handle,
    endorsement_public: Vec<u8>,
    endorsement_certificate: Vec<u8>,
}

impl Attester {
    /// Opens the TPM and loads the keys. Takes seconds with hardware; blocks.
    pub fn open(address: &Address, devid: Devid) -> Result<Self, AttestError> {
        let mut this = Self {
            tpm: Tpm::open(address)?,
            devid,
            loaded: Vec::new(),
            devid_handle: 0,
            attestation: 0,
            attestation_public: Vec::new(),
            endorsement: 0,
            endorsement_public: Vec::new(),
            endorsement_certificate: Vec::new(),
        };
        this.load_children()?;
        this.load_endorsement()?;
        Ok(this)
    }

    /// The DevID key and a new attestation key, below the storage key, which is flushed: a TPM
    /// without a resource manager has place for three.
    fn load_children(&mut self) -> Result<(), AttestError> {
        let template = template::storage(&self.devid.key);
        let (storage, _) = self.tpm.create_primary(OWNER, &self.devid.owner_auth, &template)?;
        self.loaded.push(storage);
        self.devid_handle = self.tpm.load(storage, &self.devid.blobs)?;
        self.loaded.push(self.devid_handle);
        let made = self.tpm.create(storage, &template::attestation())?;
        self.attestation = self.tpm.load(storage, &made)?;
        self.loaded.push(self.attestation);
        self.attestation_public = made.public;
        self.tpm.flush(storage)?;
        self.loaded.retain(|handle| *handle != storage);
        Ok(())
    }

    fn load_endorsement(&mut self) -> Result<(), AttestError> {
        let (certificate, template) = match self.tpm.nv(RSA_CERTIFICATE) {
            Ok(certificate) => (certificate, template::endorsement_rsa()),
            Err(_) => match self.tpm.nv(P256_CERTIFICATE) {
                Ok(certificate) => (certificate, template::endorsement_p256()),
                Err(_) => return Err(AttestError::NoEndorsementCertificate),
            },
        };
        self.endorsement_certificate = der_only(&certificate).to_vec();
        let auth = &self.devid.endorsement_auth;
        let (handle, public) = self.tpm.create_primary(ENDORSEMENT, auth, &template)?;
        self.loaded.push(handle);
        (self.endorsement, self.endorsement_public) = (handle, public);
        Ok(())
    }

    /// What the host sends first.
    pub fn evidence(&mut self) -> Result<Vec<u8>, AttestError> {
        let devid = (self.devid_handle, self.devid.auth.as_slice());
        let (certified, signature) = self.tpm.certify(devid, self.attestation)?;
        let chain = self.devid.chain.iter();
        let evidence = Evidence {
            devid_certificates: chain.map(|der| Bytes(der.as_bytes().to_vec())).collect(),
            devid_public: Bytes(self.devid.blobs.public.clone()),
            endorsement_certificate: Bytes(self.endorsement_certificate.clone()),
            endorsement_public: Bytes(self.endorsement_public.clone()),
            attestation_public: Bytes(self.attestation_public.clone()),
            certified: Bytes(certified),
            certification_signature: Bytes(signature),
        };
        serde_json::to_vec(&evidence).map_err(AttestError::unwritable)
    }

    /// What the host answers to a challenge.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, AttestError> {
        if challenge.len() > CHALLENGE_BYTES_MAX {
            return Err(AttestError::TooLong { bytes: challenge.len() });
        }
        let challenge: Challenge =
            serde_json::from_slice(challenge).map_err(|_| AttestError::Malformed)?;
        nonce(&challenge.devid.0)?;
        let devid = self.signed(&challenge.devid.0)?;
        let session = self.tpm.endorsement_session(&self.devid.endorsement_auth)?;
        let wrapped = (&*challenge.activation.credential.0, &*challenge.activation.secret.0);
        let opened = self.tpm.activate(self.attestation, self.endorsement, session, wrapped)?;
        let quote = challenge.quote.as_ref().map(|asked| self.quoted(asked)).transpose()?;
        let response = Response { devid: Bytes(devid), activation: Bytes(opened.to_vec()), quote };
        serde_json::to_vec(&response).map_err(AttestError::unwritable)
    }

    /// A signature as certificates have it: a number, or two in DER.
    fn signed(&mut self, message: &[u8]) -> Result<Vec<u8>, AttestError> {
        let scheme = devid::scheme(&self.devid.key)?;
        let asked = self.devid.key.scheme.is_none().then_some(scheme);
        let devid = (self.devid_handle, self.devid.auth.as_slice());
        let signature = self.tpm.sign(devid, scheme.hash, asked, message)?;
        match (&self.devid.key.key, &signature) {
            (Key::Rsa { .. }, tpm::Signature::Rsa { value, .. }) => Ok(value.clone()),
            (Key::Ecc { curve, .. }, _) => signature
                .fixed(*curve)
                .and_then(|fixed| x509::ecdsa_der_from_fixed(&fixed).ok())
                .ok_or(AttestError::Signature),
            _ => Err(AttestError::Signature),
        }
    }

    fn quoted(&mut self, asked: &QuoteQuestion) -> Result<QuoteAnswer, AttestError> {
        nonce(&asked.nonce.0)?;
        if asked.pcrs.is_empty() || asked.pcrs.iter().any(|index| *index >= PCRS_MAX) {
            return Err(AttestError::Malformed);
        }
        let selection = PcrSelection::new(Hash::Sha256, asked.pcrs.iter().copied());
        let (attested, signature) = self.tpm.quote(self.attestation, &asked.nonce.0, &selection)?;
        let values = self.tpm.pcrs(&asked.pcrs)?;
        let pcrs = values.into_iter().map(|(index, value)| (index, Bytes(value))).collect();
        Ok(QuoteAnswer { attested: Bytes(attested), signature: Bytes(signature), pcrs })
    }

    /// The endorsement key, by which operators tell machines apart.
    pub fn endorsement_public(&self) -> Option<Public> {
        Public::parse(&self.endorsement_public).ok()
    }
}

impl Drop for Attester {
    fn drop(&mut self) {
        for handle in std::mem::take(&mut self.loaded) {
            let _ = self.tpm.flush(handle);
        }
    }
}

impl std::fmt::Debug for Attester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attester").field("devid", &self.devid).finish_non_exhaustive()
    }
}

/// Why a host does not attest.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The DevID's key.
    #[error(transparent)]
    Devid(#[from] DevidError),
    /// The manufacturer left none.
    #[error(
        "the tpm holds no certificate of its endorsement key, neither at 0x01c00002 (rsa-2048) nor \
         at 0x01c0000a (p-256)"
    )]
    NoEndorsementCertificate,
    /// The challenge is longer than any.
    #[error("a challenge of {bytes} bytes, at most {CHALLENGE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The challenge does not read.
    #[error("the challenge does not read")]
    Malformed,
    /// A nonce has another length.
    #[error("a nonce of {bytes} bytes instead of {NONCE_BYTES}")]
    Nonce {
        /// Its length.
        bytes: usize,
    },
    /// The TPM signed in another way than its key says.
    #[error("the tpm's signature is not of its key")]
    Signature,
    /// It cannot be written as JSON.
    #[error("the answer cannot be written: {why}")]
    Unwritable {
        /// What is wrong.
        why: String,
    },
}

impl AttestError {
    #[expect(clippy::needless_pass_by_value, reason = "a conversion, for `map_err`")]
    fn unwritable(error: serde_json::Error) -> Self {
        Self::Unwritable { why: error.to_string() }
    }
}

fn nonce(bytes: &[u8]) -> Result<(), AttestError> {
    if bytes.len() == NONCE_BYTES { Ok(()) } else { Err(AttestError::Nonce { bytes: bytes.len() }) }
}

/// The certificate without what stands behind it: an index may be longer than its certificate.
fn der_only(bytes: &[u8]) -> &[u8] {
    // X.690 §8.1.3.5: a SEQUENCE whose length stands in two bytes.
    let length = match bytes {
        [0x30, 0x82, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])) + 4,
        _ => bytes.len(),
    };
    bytes.get(..length).unwrap_or(bytes)
}
