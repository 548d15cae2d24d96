//! The certificates of our own X.509 authorities: that of the trust domain, and that of the HTTPS
//! listeners, which are kept apart so that trusting the one does not trust the other.

use spiffe::TrustDomain;
use time::{Span, UnixTime};
use x509::{
    CertificateDer, KeyUsage, Kind, Malformed, Name, NameError, Serial, SignatureAlgorithm,
    Template, TemplateError, ToBeSigned,
};

use crate::checked::Checked;

/// What an authority's certificate is for.
#[derive(Debug)]
pub enum Role<'a> {
    /// X509-SVID §3.2, §4: signing certificate of a trust domain.
    TrustDomain(&'a TrustDomain),
    /// The HTTPS listeners' own names, and no others.
    Web(&'a [String]),
}

/// A self-signed certificate for the key `spki_der`, valid from `now` until `until`.
pub fn build(
    role: &Role<'_>,
    spki_der: &[u8],
    random: [u8; 16],
    now: UnixTime,
    until: UnixTime,
    algorithm: SignatureAlgorithm,
) -> Result<Checked<ToBeSigned>, Fault> {
    let (name, uri_names, permitted) = match role {
        Role::TrustDomain(domain) => {
            (format!("AIMS {domain}"), vec![format!("spiffe://{domain}")], Vec::new())
        }
        Role::Web(names) => ("AIMS HTTPS listeners".to_owned(), Vec::new(), names.to_vec()),
    };
    let subject = Name::new(Some("AIMS"), Some(&name))?;
    let template = Template {
        serial: Serial::from_random(random),
        issuer: subject.clone(),
        subject,
        not_before: now.minus(Span::from_seconds(60)),
        not_after: until,
        spki_der: spki_der.to_vec(),
        // No authority stands below it.
        kind: Kind::Authority { path_len: Some(0) },
        uri_names,
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        // X509-SVID §4.3: keyCertSign MUST be set on a signing certificate, cRLSign MAY be.
        key_usage: KeyUsage::KEY_CERT_SIGN.with(KeyUsage::CRL_SIGN),
        extended_key_usages: Vec::new(),
        authority_key_id: None,
        permitted_dns_names: permitted,
        extra: Vec::new(),
    };
    let unsigned = template.to_be_signed(algorithm)?;
    let read = unsigned.clone().attach(&[]).parse()?;
    if !read.is_ca() || !read.key_usage().contains(KeyUsage::KEY_CERT_SIGN) {
        return Err(Fault::NotAnAuthority);
    }
    Ok(Checked::assertion(unsigned))
}

/// A certificate for an HTTPS listener of ours.
pub fn listener(
    authority: &CertificateDer,
    names: &[String],
    addresses: &[std::net::IpAddr],
    spki_der: &[u8],
    random: [u8; 16],
    now: UnixTime,
    algorithm: SignatureAlgorithm,
) -> Result<Checked<ToBeSigned>, Fault> {
    let authority = authority.parse()?;
    let template = Template {
        serial: Serial::from_random(random),
        issuer: authority.subject().clone(),
        subject: Name::empty(),
        not_before: now.minus(Span::from_seconds(60)),
        not_after: authority.not_after(),
        spki_der: spki_der.to_vec(),
        kind: Kind::Leaf,
        uri_names: Vec::new(),
        dns_names: names.to_vec(),
        ip_names: addresses.to_vec(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![x509::Oid::SERVER_AUTH],
        authority_key_id: authority.subject_key_id().map(<[u8]>::to_vec),
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    };
    let unsigned = template.to_be_signed(algorithm)?;
    let read = unsigned.clone().attach(&[]).parse()?;
    if read.is_ca() || read.dns_names() != names {
        return Err(Fault::NotAListener);
    }
    Ok(Checked::assertion(unsigned))
}

/// Why it is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The template cannot be encoded.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The name cannot be encoded.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What was encoded does not read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It could not sign certificates.
    #[error("the certificate is not that of an authority")]
    NotAnAuthority,
    /// It is an authority, or has other names.
    #[error("the certificate is not that of a listener")]
    NotAListener,
}
