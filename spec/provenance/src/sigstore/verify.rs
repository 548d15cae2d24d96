//! Whether a bundle is to be believed, and of whom it is.

use jose::PublicKey;
use time::UnixTime;
use tlog::{CheckpointRefused, ProofError};
use x509::{Certificate, ChainError, Oid, Purpose, Timestamp, TimestampError, verify_chain};

use super::bundle::Bundle;
use super::entry;
use super::sct;
use super::trusted_root::{Authority, TrustedRoot};
use crate::dsse::{EnvelopeError, Opened};

/// The issuer of the identity token, as text (Fulcio, OID information).
const ISSUER_V1: &str = "1.3.6.1.4.1.57264.1.1";
/// The same, as DER `UTF8String`.
const ISSUER_V2: &str = "1.3.6.1.4.1.57264.1.8";
const UTF8_STRING: u8 = 0x0c;

/// Who held the key when it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who says so: the issuer of an OpenID Connect token.
    pub issuer: String,
    /// The one subject alternative name: an URI, or a mail address.
    pub subject: String,
}

/// A bundle that was verified. Made only by [`Bundle::verify`].
#[derive(Clone, Debug)]
pub struct Verified {
    opened: Opened,
    identity: Identity,
    signed_at: UnixTime,
}

impl Verified {
    /// What was signed.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Who signed it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When, by the latest of those who say so.
    pub fn signed_at(&self) -> UnixTime {
        self.signed_at
    }
}

impl Bundle {
    /// Checks signature, certificate, log and time, and says who signed what. Whether that one may
    /// is for the caller to say.
    pub fn verify(&self, types: &[&str], root: &TrustedRoot) -> Result<Verified, Refused> {
        let key = PublicKey::from_spki_der(self.certificate.spki_der())
            .map_err(|error| Refused::Key { why: error.to_string() })?;
        let opened = self.envelope.verify(types, &[key], 1)?;
        let mut logged = Vec::with_capacity(self.entries.len());
        for one in &self.entries {
            logged.push(entry::check(one, self, root)?);
        }
        let mut times: Vec<UnixTime> = logged.iter().filter_map(|one| one.time).collect();
        for stamp in &self.timestamps {
            times.push(self.check_stamp(stamp, root)?);
        }
        // Sigstore Bundle Format, Verification Material: "bundles must include at least one
        // transparency log's signed entry timestamp or an RFC3161 timestamp to provide proof that
        // signing occurred during the certificates validity window."
        let signed_at = times.iter().copied().max().ok_or(Refused::NoTime)?;
        for time in &times {
            if !logged.iter().all(|one| one.log.valid.contains(*time)) {
                return Err(Refused::LogNotValid { time: *time });
            }
            self.check_certificate(root, *time)?;
        }
        let identity = identity(&self.certificate)?;
        Ok(Verified { opened, identity, signed_at })
    }

    /// Whether an authority vouches for the certificate at a time.
    fn check_certificate(&self, root: &TrustedRoot, time: UnixTime) -> Result<(), Refused> {
        let mut last = Refused::NoAuthority { time };
        for authority in root.authorities.iter().filter(|one| one.valid.contains(time)) {
            let leaf = std::slice::from_ref(&self.certificate);
            let chain = [leaf, authority.below.as_slice()].concat();
            match verify_chain(&chain, &authority.anchors, Purpose::CodeSigning, time) {
                Ok(()) => return self.check_published(root, authority),
                // Another authority's error says less than that of the one that is named.
                Err(ChainError::UnknownIssuer) => {}
                Err(error) => last = Refused::Chain(error),
            }
        }
        Err(last)
    }

    /// Whether a log promised to publish the certificate, where the trusted root names such logs.
    fn check_published(&self, root: &TrustedRoot, authority: &Authority) -> Result<(), Refused> {
        let Some(logs) = &root.ct_logs else { return Ok(()) };
        let name = self.certificate.issuer().der();
        let mut issuers = authority.below.iter().chain(&authority.anchors);
        let issuer = issuers.find(|one| one.subject().der() == name).ok_or(Refused::NoSct)?;
        sct::check(&self.certificate, issuer, logs)
    }

    /// When an authority saw the signature.
    fn check_stamp(&self, stamp: &[u8], root: &TrustedRoot) -> Result<UnixTime, Refused> {
        let stamp = Timestamp::parse(stamp)?;
        let named = |one: &&Authority| one.below.first().is_some_and(|it| stamp.names(it));
        let authority = root.stampers.iter().find(named).ok_or(Refused::UnknownStamper)?;
        let signer = authority.below.first().ok_or(Refused::UnknownStamper)?;
        let stamped = stamp.verify(signer)?;
        if !authority.valid.contains(stamped.time) {
            return Err(Refused::StamperNotValid { time: stamped.time });
        }
        verify_chain(&authority.below, &authority.anchors, Purpose::TimeStamping, stamped.time)
            .map_err(Refused::StamperChain)?;
        // Sigstore bundle, TimestampVerificationData: "Clients MUST verify the hashed message in
        // the message imprint against the signature in the bundle."
        if !self.envelope.signatures().iter().all(|signature| stamped.is_of(signature)) {
            return Err(Refused::StampOther);
        }
        Ok(stamped.time)
    }
}

/// Who the certificate is about.
fn identity(certificate: &Certificate) -> Result<Identity, Refused> {
    let (uris, mails) = (certificate.uri_names(), certificate.mail_names());
    // Fulcio writes one name; with two it would not be known whose the signature is.
    let subject = match (uris, mails) {
        ([one], []) | ([], [one]) => one.clone(),
        _ => return Err(Refused::Subject { count: uris.len() + mails.len() }),
    };
    let value = |oid: &str| Oid::parse(oid).and_then(|oid| certificate.extension(&oid));
    let first = value(ISSUER_V1).map(<[u8]>::to_vec);
    let second = value(ISSUER_V2).map(utf8_string).map(|text| text.ok_or(Refused::Issuer));
    let second = second.transpose()?;
    let issuer = match (first, second) {
        (Some(one), Some(other)) if one != other => return Err(Refused::Issuer),
        (_, Some(issuer)) | (Some(issuer), None) => issuer,
        (None, None) => return Err(Refused::Issuer),
    };
    let issuer = String::from_utf8(issuer).map_err(|_| Refused::Issuer)?;
    Ok(Identity { issuer, subject })
}

/// The contents of a DER `UTF8String`.
fn utf8_string(der: &[u8]) -> Option<Vec<u8>> {
    let (header, contents) = match der {
        [UTF8_STRING, length @ ..=0x7f, contents @ ..] => (usize::from(*length), contents),
        [UTF8_STRING, 0x81, length, contents @ ..] if *length >= 0x80 => {
            (usize::from(*length), contents)
        }
        _ => return None,
    };
    (contents.len() == header).then(|| contents.to_vec())
}

/// Why a bundle is not believed: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the key of the certificate is not taken: {why}")]
    Key { why: String },
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("an entry of kind `{kind}` {version} is not known")]
    EntryKind { kind: String, version: String },
    #[error("the entry of the log does not read: {why}")]
    EntryForm { why: String },
    #[error("the entry of the log has another {part} than the bundle")]
    EntryOther { part: &'static str },
    #[error("the entry is of a log that is not trusted")]
    UnknownLog,
    #[error("no proof that the entry is in the log")]
    NoProof,
    #[error("the checkpoint of the log: {0}")]
    Checkpoint(#[from] CheckpointRefused),
    #[error("a checkpoint of `{found}`, the log is `{expected}`")]
    Origin { found: String, expected: String },
    #[error("the proof is for another tree than the checkpoint")]
    ProofOther,
    #[error("the proof of the log: {0}")]
    Proof(#[from] ProofError),
    #[error("the log did not promise the entry at this time")]
    Promise,
    #[error("the key of the log is not of the kind that it is said to be")]
    LogKey,
    #[error("the log is not to be believed at {time}")]
    LogNotValid { time: UnixTime },
    #[error("nobody who is trusted says when the signature was made")]
    NoTime,
    #[error("the time stamp: {0}")]
    Timestamp(#[from] TimestampError),
    #[error("the time stamp is of an authority that is not trusted")]
    UnknownStamper,
    #[error("the authority for time stamps is not to be believed at {time}")]
    StamperNotValid { time: UnixTime },
    #[error("the certificate of the authority for time stamps: {0}")]
    StamperChain(ChainError),
    #[error("the time stamp is of another signature")]
    StampOther,
    #[error("no trusted authority issued the certificate, at {time}")]
    NoAuthority { time: UnixTime },
    #[error("the certificate is not trusted: {0}")]
    Chain(ChainError),
    #[error("no log of certificates promised to publish the certificate")]
    NoSct,
    #[error("the promises to publish the certificate do not read")]
    SctForm,
    #[error("the certificate was promised to be published by no log that is trusted")]
    UnknownCtLog,
    #[error("the log of certificates is not to be believed at {time}")]
    CtLogNotValid { time: UnixTime },
    #[error("the promise to publish the certificate is not of its log, or of another certificate")]
    Sct,
    #[error("{count} names in the certificate, not one")]
    Subject { count: usize },
    #[error("the certificate does not say by one name who identified its holder")]
    Issuer,
}
