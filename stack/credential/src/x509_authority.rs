//! The certificates of our own X.509 authorities: that of the trust domain, and that of the HTTPS
//! listeners, which are kept apart so that trusting the one does not trust the other.

use time::{Span, UnixTime};
use wimse::Origin;
use x509::{
    CertificateDer, KeyUsage, Kind, Malformed, Name, NameError, Serial, SignatureAlgorithm,
    Template, TemplateError, ToBeSigned,
};

use crate::checked::Checked;
use crate::policy::LISTENER_LIFE;

/// The longest common name, in characters (RFC 5280 appendix A.1).
pub(crate) const COMMON_NAME_CHARS_MAX: usize = 64;

/// What an authority's certificate is for.
#[derive(Debug)]
pub enum Role<'a> {
    /// X509-SVID §3.2, §4: signing certificate of a trust domain, under its one scheme.
    TrustDomain {
        /// Which.
        origin: &'a Origin,
        /// How many levels of authorities may stand below it.
        below: u8,
    },
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
    let (name, uri_names, permitted, below) = match role {
        Role::TrustDomain { origin, below } => {
            // RFC 5280 appendix A.1: "ub-common-name INTEGER ::= 64". A trust domain may be longer;
            // the name is for people, the URI is what counts.
            let name = format!("AIMS {}", origin.name());
            let name = name.chars().take(COMMON_NAME_CHARS_MAX).collect();
            // X509-SVID §3.2: "A signing certificate SHOULD itself be an SVID." wimse-identifier
            // §4.4: a `wimse` path "MUST contain at least one non-empty segment", so an authority
            // of that scheme has no identifier.
            let uri = origin.is_spiffe().then(|| origin.to_string());
            (name, uri.into_iter().collect(), Vec::new(), *below)
        }
        // No authority stands below it.
        Role::Web(names) => ("AIMS HTTPS listeners".to_owned(), Vec::new(), names.to_vec(), 0),
    };
    let subject = Name::new(Some("AIMS"), Some(&name))?;
    let template = Template {
        serial: Serial::from_random(random),
        issuer: subject.clone(),
        subject,
        not_before: now.minus(Span::from_seconds(60)),
        not_after: until,
        spki_der: spki_der.to_vec(),
        kind: Kind::Authority { path_len: Some(below) },
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
        not_after: authority.not_after().min(now.plus(LISTENER_LIFE)),
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

#[cfg(test)]
mod tests {
    use jose::PrivateKey;
    use x509::{Certificate, Purpose, ecdsa_der_from_fixed, verify_chain};

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
    const DAY: Span = Span::from_seconds(86_400);
    const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
    /// RFC 7515 §A.3.
    const KEY: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    fn sign(checked: Checked<ToBeSigned>) -> CertificateDer {
        let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
        let unsigned = checked.into_inner();
        let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
        unsigned.attach(&signature)
    }

    fn authority(role: &Role<'_>) -> Result<CertificateDer, Fault> {
        let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
        let spki = key.public().spki_der();
        build(role, spki, [9; 16], NOW, NOW.plus(DAY), ALGORITHM).map(sign)
    }

    /// req: CRED-02 (part)
    #[test]
    fn s6_an_authority_of_a_trust_domain_obeys_the_profile() {
        // A trust domain may have 255 characters, a common name 64.
        for name in ["demo.example", &format!("{}.example", "a".repeat(247))] {
            let origin = Origin::parse(&format!("spiffe://{name}")).unwrap();
            let made = authority(&Role::TrustDomain { origin: &origin, below: 0 });
            let made = made.unwrap().parse().unwrap();
            assert_eq!(spiffe::check_authority(&made), Ok(()));
            assert_eq!(made.uri_names(), [format!("spiffe://{name}")]);
            assert_eq!((made.path_len(), made.not_after()), (Some(0), NOW.plus(DAY)));
            assert_eq!(made.issuer(), made.subject());
        }
    }

    #[test]
    fn s6_a_listener_is_trusted_for_its_own_names_alone() {
        let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
        let ours = ["localhost".to_owned()];
        let web = authority(&Role::Web(&ours)).unwrap();
        let listener = |names: &[String]| -> Certificate {
            let (spki, loopback) =
                (key.public().spki_der(), [std::net::IpAddr::from([127, 0, 0, 1])]);
            let made = super::listener(&web, names, &loopback, spki, [3; 16], NOW, ALGORITHM);
            sign(made.unwrap()).parse().unwrap()
        };
        let check = |leaf: Certificate, now| {
            verify_chain(&[leaf], &[web.parse().unwrap()], Purpose::Server, now)
        };
        let leaf = listener(&ours);
        assert_eq!((leaf.dns_names(), leaf.ip_names().len()), (&ours[..], 1));
        assert_eq!((leaf.is_ca(), leaf.not_after()), (false, NOW.plus(DAY)));
        assert_eq!(check(leaf.clone(), NOW), Ok(()));
        assert!(check(leaf, NOW.plus(DAY).plus(Span::from_seconds(1))).is_err());
        // Whoever steals the authority's key still cannot be another name.
        let foreign = check(listener(&["bank.example".to_owned()]), NOW);
        assert_eq!(foreign, Err(x509::ChainError::NameConstraints));
    }

    #[test]
    fn s6_what_cannot_be_a_certificate_is_not_signed() {
        let bad = ["not a name".to_owned()];
        let refused = authority(&Role::Web(&bad)).err();
        assert_eq!(refused, Some(Fault::Template(TemplateError::Name(bad[0].clone()))));
        let origin = Origin::parse("spiffe://demo.example").unwrap();
        let (role, early) = (Role::TrustDomain { origin: &origin, below: 0 }, NOW.minus(DAY));
        let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
        let spki = key.public().spki_der();
        let ended = build(&role, spki, [9; 16], NOW, early, ALGORITHM).map(|_| ());
        assert!(matches!(ended, Err(Fault::Template(TemplateError::EndsBeforeItBegins { .. }))));
        let no_key = build(&role, &[1, 2], [9; 16], NOW, NOW.plus(DAY), ALGORITHM).map(|_| ());
        assert!(matches!(no_key, Err(Fault::Template(TemplateError::Key(_)))), "{no_key:?}");
        let garbage = CertificateDer::from_der(b"no certificate".to_vec()).unwrap();
        let names = ["localhost".to_owned()];
        let below = listener(&garbage, &names, &[], spki, [3; 16], NOW, ALGORITHM).map(|_| ());
        assert_eq!(below, Err(Fault::Malformed(Malformed::Encoding)));
        let own = authority(&role).unwrap();
        let nameless = listener(&own, &[], &[], spki, [3; 16], NOW, ALGORITHM).map(|_| ());
        assert_eq!(nameless, Err(Fault::Template(TemplateError::Nameless)));
    }
}
