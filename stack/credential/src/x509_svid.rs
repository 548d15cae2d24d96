//! X.509-SVIDs (SPIFFE X509-SVID; S1 §6; CRED-02): built here, checked as encoded, then signed.

use std::net::IpAddr;

use spiffe::SpiffeId;
use time::{Span, UnixTime};
use x509::{
    Certificate, KeyUsage, Kind, Malformed, Name, Oid, Serial, SignatureAlgorithm, Template,
    TemplateError, ToBeSigned, epoch_extension,
};

use crate::checked::Checked;

/// How far back validity begins, so that a peer whose clock is behind accepts it at once.
const BACKDATE: Span = Span::from_seconds(10);

/// What a certificate is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// Whose it is.
    pub id: &'a SpiffeId,
    /// The key it binds, as SubjectPublicKeyInfo in DER.
    pub spki_der: &'a [u8],
    /// DNS names beside it: only components' listeners have some.
    pub dns_names: Vec<String>,
    /// Addresses beside it: likewise.
    pub ip_names: Vec<IpAddr>,
    /// The certificate of the authority that signs.
    pub authority: &'a Certificate,
    /// Sixteen random bytes for the serial number.
    pub random: [u8; 16],
    /// Now.
    pub now: UnixTime,
    /// How long it lives.
    pub life: Span,
    /// The revocation epoch that it is issued under.
    pub epoch: u64,
}

/// What the certificate will say.
pub fn template(order: &Order<'_>) -> Result<Template, Fault> {
    let ends = order.now.plus(order.life);
    Ok(Template {
        serial: Serial::from_random(order.random),
        issuer: order.authority.subject().clone(),
        // X509-SVID §3.1: the subject is not needed; the SPIFFE ID in the URI SAN is the identity.
        subject: Name::empty(),
        not_before: order.now.minus(BACKDATE),
        // Never beyond the authority itself: path validation would refuse it all the same.
        not_after: ends.min(order.authority.not_after()),
        spki_der: order.spki_der.to_vec(),
        kind: Kind::Leaf,
        uri_names: vec![order.id.to_string()],
        dns_names: order.dns_names.clone(),
        ip_names: order.ip_names.clone(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::SERVER_AUTH, Oid::CLIENT_AUTH],
        authority_key_id: order.authority.subject_key_id().map(<[u8]>::to_vec),
        permitted_dns_names: Vec::new(),
        extra: vec![epoch_extension(order.epoch)],
    })
}

/// Builds the bytes, then reads them again as a peer would and checks each rule of the profile.
pub fn build(
    order: &Order<'_>,
    algorithm: SignatureAlgorithm,
) -> Result<Checked<ToBeSigned>, Fault> {
    let unsigned = template(order)?.to_be_signed(algorithm)?;
    check(&unsigned, order)?;
    Ok(Checked::assertion(unsigned))
}

/// The checks of the profile, over what is really encoded.
fn check(unsigned: &ToBeSigned, order: &Order<'_>) -> Result<(), Fault> {
    let read = Certificate::parse(unsigned.clone().attach(&[]).as_bytes())?;
    // X509-SVID §2: "An X.509 SVID MUST contain exactly one URI SAN".
    let [name] = read.uri_names() else {
        return Err(Fault::Names { count: read.uri_names().len() });
    };
    let id = SpiffeId::parse(name).map_err(|_| Fault::OtherName { name: name.clone() })?;
    if &id != order.id {
        return Err(Fault::OtherName { name: name.clone() });
    }
    // X509-SVID §5.2: a leaf's SPIFFE ID MUST have a non-root path.
    if id.path().is_empty() {
        return Err(Fault::NoPath);
    }
    let usage = read.key_usage();
    let signs = usage.contains(KeyUsage::KEY_CERT_SIGN) || usage.contains(KeyUsage::CRL_SIGN);
    if read.is_ca() || signs || !usage.contains(KeyUsage::DIGITAL_SIGNATURE) {
        return Err(Fault::NotALeaf);
    }
    // X509-SVID §3.1: with an empty subject the SAN extension MUST be critical (RFC 5280 §4.1.2.6).
    if read.subject_is_empty() && !read.san_is_critical() {
        return Err(Fault::SanNotCritical);
    }
    if read.spki_der() != order.spki_der {
        return Err(Fault::OtherKey);
    }
    let life = read.not_after().since(order.now);
    if life > order.life || life == Span::ZERO {
        return Err(Fault::Life { life, allowed: order.life });
    }
    if read.epoch() != Some(order.epoch) {
        return Err(Fault::Epoch);
    }
    Ok(())
}

/// Why it is not signed: a fault of ours, found before anyone else could.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The template cannot be encoded.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// What was encoded does not read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Not exactly one URI SAN.
    #[error("{count} uri names, a svid has exactly one")]
    Names {
        /// How many.
        count: usize,
    },
    /// Another name than the order's.
    #[error("the certificate names `{name}`")]
    OtherName {
        /// The name it has.
        name: String,
    },
    /// A leaf without a path.
    #[error("the spiffe id of a leaf has a path")]
    NoPath,
    /// It could sign certificates, or could not sign at all.
    #[error("the certificate is not that of a leaf")]
    NotALeaf,
    /// RFC 5280 §4.1.2.6.
    #[error("the alternative names are not critical beside an empty subject")]
    SanNotCritical,
    /// Another key than the order's.
    #[error("the certificate binds another key")]
    OtherKey,
    /// It lives too long, or not at all.
    #[error("a life of {} seconds, {} are allowed", .life.seconds(), .allowed.seconds())]
    Life {
        /// What it would be.
        life: Span,
        /// What policy allows.
        allowed: Span,
    },
    /// The epoch is missing or another.
    #[error("the certificate carries another epoch")]
    Epoch,
}
