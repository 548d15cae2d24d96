//! Who signed a report: ARK, ASK and VCEK, or ARK, ASVK and VLEK (57230).

use time::UnixTime;
use x509::{
    BadSignature, Certificate, KeyKind, KeyUsage, RevocationList, RevocationListError,
    ecdsa_der_from_fixed,
};

use super::CERTIFICATES_MAX;
use super::certificate::{Endorsement, EndorsementError};
use super::report::{Report, SIGNED_BYTES, SigningKey};
use super::tcb::Tcb;
use crate::malformed::Malformed;

/// Whether a current revocation list of AMD's must have been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Without one there is no proof.
    Required,
    /// One that is given counts; none need be.
    Unchecked,
}

/// What a verification is given besides the report.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The signing key's certificate and its issuer's, in any order, and perhaps others.
    pub certificates: &'a [Certificate],
    /// The roots that are trusted: ARKs.
    pub roots: &'a [Certificate],
    /// Revocation lists of the roots.
    pub lists: &'a [RevocationList],
    /// Whether one must be there.
    pub revocation: Revocation,
}

/// A report that a chip of AMD's signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    report: Report,
    endorsement: Endorsement,
}

impl Verified {
    /// What it says.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// What AMD says of the key that signed.
    pub const fn endorsement(&self) -> &Endorsement {
        &self.endorsement
    }
}

/// Whether a chip whose root is trusted signed the report, at `now`.
///
/// Order: form, signature, chain, revocation, and what the key's certificate says of the chip
/// against what the report says.
pub fn verify(report: &[u8], given: &Given<'_>, now: UnixTime) -> Result<Verified, Refusal> {
    let read = Report::parse(report).map_err(Refusal::Report)?;
    if given.certificates.len() > CERTIFICATES_MAX {
        return Err(Refusal::TooManyCertificates { count: given.certificates.len() });
    }
    let (leaf, endorsement) = signer(&read, given.certificates)?;
    signature(&read, report, leaf)?;
    let (issuer, root) = chain(leaf, given, now)?;
    unrevoked(&[leaf, issuer], root, given, now)?;
    agrees(&read, &endorsement)?;
    Ok(Verified { report: read, endorsement })
}

/// The one certificate of a key of the kind that signed: a host may send those of both kinds.
fn signer<'a>(
    report: &Report,
    certificates: &'a [Certificate],
) -> Result<(&'a Certificate, Endorsement), Refusal> {
    let mut found: Option<(&Certificate, Endorsement)> = None;
    let mut without = Refusal::NoSigner;
    for leaf in certificates.iter().filter(|one| !one.is_ca()) {
        let endorsement = match Endorsement::read(leaf) {
            Ok(endorsement) => endorsement,
            Err(why) => {
                without = Refusal::Endorsement(why);
                continue;
            }
        };
        if endorsement.key != report.signing_key {
            without = Refusal::OtherKeyKind;
        } else if found.as_ref().is_some_and(|(other, _)| *other != leaf) {
            return Err(Refusal::SeveralSigners);
        } else {
            found = Some((leaf, endorsement));
        }
    }
    found.ok_or(without)
}

fn signature(report: &Report, bytes: &[u8], leaf: &Certificate) -> Result<(), Refusal> {
    // 57230: the VCEK is an ECDSA key on the curve P-384.
    if KeyKind::of_spki(leaf.spki_der()) != Ok(KeyKind::P384) {
        return Err(Refusal::SignerKey);
    }
    let signed = bytes.get(..SIGNED_BYTES).ok_or(Refusal::Report(Malformed::Short))?;
    let signature = ecdsa_der_from_fixed(&report.signature).map_err(|_| Refusal::Signature)?;
    leaf.verify_signature(signed, &signature).map_err(|_| Refusal::Signature)
}

/// The issuer of the leaf and the root above it. The hierarchy has three levels, always.
fn chain<'a>(
    leaf: &'a Certificate,
    given: &Given<'a>,
    now: UnixTime,
) -> Result<(&'a Certificate, &'a Certificate), Refusal> {
    let issuers = given.certificates.iter().filter(|one| one.is_ca());
    let mut failed = Refusal::UnknownIssuer;
    // RFC 5280 §6.1: "for all x in {1, ..., n-1}, the subject of certificate x is the issuer of
    // certificate x+1".
    for issuer in issuers.filter(|issuer| issuer.subject() == leaf.issuer()) {
        let above = |root: &&Certificate| root.subject() == issuer.issuer() && *root != issuer;
        let roots = given.roots.iter().filter(above);
        for root in roots {
            match path(leaf, issuer, root, now) {
                Ok(()) => return Ok((issuer, root)),
                Err(refusal) => failed = refusal,
            }
        }
    }
    Err(failed)
}

fn path(
    leaf: &Certificate,
    issuer: &Certificate,
    root: &Certificate,
    now: UnixTime,
) -> Result<(), Refusal> {
    for (certificate, by) in [(root, root), (issuer, root), (leaf, issuer)] {
        let who = role(certificate, leaf, root);
        let signed = certificate.verify_signed_by(by);
        signed.map_err(|why| Refusal::ChainSignature { who, why })?;
        // RFC 5280 §4.1.2.5: "The validity period for a certificate is the period of time from
        // notBefore through notAfter, inclusive."
        let (from, until) = (certificate.not_before(), certificate.not_after());
        if now.seconds() < from.seconds() || now.seconds() > until.seconds() {
            return Err(Refusal::NotValid { who, from, until, now });
        }
        // RFC 5280 §4.2: "A certificate-using system MUST reject the certificate if it encounters
        // a critical extension it does not recognize".
        let known = [x509::Oid::BASIC_CONSTRAINTS, x509::Oid::KEY_USAGE];
        let mut criticals = certificate.extensions().iter().filter(|one| one.critical);
        if let Some(unknown) = criticals.find(|one| !known.contains(&one.oid)) {
            return Err(Refusal::CriticalExtension { who, oid: unknown.oid.to_string() });
        }
        // RFC 5280 §6.1.4 (n): "If a key usage extension is present, verify that the keyCertSign
        // bit is set."
        let usage = certificate.key_usage();
        if certificate.is_ca() && !usage.is_empty() && !usage.contains(KeyUsage::KEY_CERT_SIGN) {
            return Err(Refusal::NotForSigning { who });
        }
    }
    if root.is_ca() { Ok(()) } else { Err(Refusal::NotForSigning { who: "root" }) }
}

/// How a refusal calls a certificate of the chain.
fn role(certificate: &Certificate, leaf: &Certificate, root: &Certificate) -> &'static str {
    if certificate == root {
        "root"
    } else if certificate == leaf {
        "signing key"
    } else {
        "issuer"
    }
}

/// The root's lists name neither certificate.
fn unrevoked(
    below: &[&Certificate],
    root: &Certificate,
    given: &Given<'_>,
    now: UnixTime,
) -> Result<(), Refusal> {
    let mut of_root = given.lists.iter().filter(|list| list.issuer() == root.subject()).peekable();
    if of_root.peek().is_none() && given.revocation == Revocation::Required {
        return Err(Refusal::NoRevocationList);
    }
    for list in of_root {
        list.verify_signed_by(root).map_err(Refusal::RevocationList)?;
        // RFC 5280 §5.1.2.5: "This field indicates the date by which the next CRL will be issued."
        if !list.is_current(now) {
            let (from, until) = (list.this_update(), list.next_update());
            return Err(Refusal::StaleRevocationList { from, until, now });
        }
        // RFC 5280 §4.1.2.2: "the issuer name and serial number identify a unique certificate": a
        // serial number of another issuer's is another.
        let by_root = below.iter().filter(|one| one.issuer() == root.subject());
        if by_root.into_iter().any(|one| list.names(one)) {
            return Err(Refusal::Revoked);
        }
    }
    Ok(())
}

/// What AMD says of the key, against what the report says.
fn agrees(report: &Report, endorsement: &Endorsement) -> Result<(), Refusal> {
    // 57230: the key is derived for these versions. Compare with the reported ones: a host
    // may have a key derived for older firmware than it runs.
    if report.reported_tcb != endorsement.tcb {
        let (report, certificate) = (report.reported_tcb, endorsement.tcb);
        return Err(Refusal::OtherTcb { report, certificate });
    }
    match &endorsement.chip_id {
        // A chip that hides itself reports zeros, and does not sign with its VCEK.
        Some(chip) if !same_chip(&report.chip_id, chip) => Err(Refusal::OtherChip),
        None if report.signing_key == SigningKey::Vcek => Err(Refusal::OtherChip),
        _ => Ok(()),
    }
}

/// The certificate of a Turin has the eight bytes that are not zero.
fn same_chip(report: &[u8; 64], certificate: &[u8]) -> bool {
    let (named, rest) = report.split_at(certificate.len().min(report.len()));
    named == certificate && rest.iter().all(|byte| *byte == 0)
}

/// Why a report proves nothing: one variant a check, in the order of the checks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The report does not read.
    #[error("the report does not read: {0}")]
    Report(Malformed),
    /// Over the bound.
    #[error("{count} certificates, at most {CERTIFICATES_MAX} are read")]
    TooManyCertificates {
        /// How many.
        count: usize,
    },
    /// None of the certificates is of a signing key.
    #[error("there is no certificate of the key that signed")]
    NoSigner,
    /// Those there are of another kind of key than the report names.
    #[error("the report names another kind of signing key than its certificate")]
    OtherKeyKind,
    /// More than one is of the kind that signed.
    #[error("there are certificates of several signing keys")]
    SeveralSigners,
    /// It does not say what AMD's say.
    #[error("the certificate of the signing key: {0}")]
    Endorsement(EndorsementError),
    /// It has another kind of key.
    #[error("the signing key is not on the curve p-384")]
    SignerKey,
    /// The report is not signed by that key.
    #[error("the signature of the report is wrong")]
    Signature,
    /// No root that is trusted stands above it.
    #[error("no trusted root has issued the certificate of the signing key")]
    UnknownIssuer,
    /// A certificate is not signed by the one above it.
    #[error("the certificate of the {who}: {why}")]
    ChainSignature {
        /// Which.
        who: &'static str,
        /// Why.
        why: BadSignature,
    },
    /// A certificate is not valid.
    #[error("the certificate of the {who} is valid from {from} to {until}, it is {now}")]
    NotValid {
        /// Which.
        who: &'static str,
        /// Its first instant.
        from: UnixTime,
        /// Its last.
        until: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// A certificate has a critical extension that is not understood.
    #[error("the certificate of the {who} has the unknown critical extension `{oid}`")]
    CriticalExtension {
        /// Which.
        who: &'static str,
        /// The extension.
        oid: String,
    },
    /// A certificate of an issuer may not issue.
    #[error("the certificate of the {who} may not sign certificates")]
    NotForSigning {
        /// Which.
        who: &'static str,
    },
    /// No revocation list, where one must be.
    #[error("there is no revocation list of the root")]
    NoRevocationList,
    /// A revocation list is not the root's.
    #[error("the revocation list is not the root's: {0}")]
    RevocationList(RevocationListError),
    /// A revocation list is not current.
    #[error("the revocation list is of {from} to {until}, it is {now}")]
    StaleRevocationList {
        /// When it was made.
        from: UnixTime,
        /// When the next one is due.
        until: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The root has revoked the issuer.
    #[error("the issuer of the signing key is revoked")]
    Revoked,
    /// The key is that of other firmware.
    #[error("the report is of the tcb `{report}`, the signing key of `{certificate}`")]
    OtherTcb {
        /// What the report says.
        report: Tcb,
        /// What the certificate says.
        certificate: Tcb,
    },
    /// The key is that of another chip.
    #[error("the report is of another chip than the signing key")]
    OtherChip,
}
