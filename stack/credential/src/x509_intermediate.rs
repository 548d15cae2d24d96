//! An authority of ours that stands below another one: the certificate that the one above signs,
//! and what is believed of its answer. Chains of SVIDs hold the intermediates, bundles the roots
//! (X509-SVID §5.1; S1 §6).

use serde::{Deserialize, Serialize};
use spiffe::{Attributes, AuthorityError, check_authority};
use time::{Span, UnixTime};
use wimse::{Origin, Wic, WicError, WorkloadId};
use x509::{
    CHAIN_CERTIFICATES_MAX, Certificate, CertificateDer, ChainError, KeyUsage, Kind, Malformed,
    Name, NameError, Purpose, Serial, SignatureAlgorithm, Template, TemplateError, ToBeSigned,
    verify_chain,
};

use crate::checked::Checked;
use crate::x509_authority::{COMMON_NAME_CHARS_MAX, Fault};
use crate::x509_svid;

/// The most roots that an authority above ours has at a time.
pub const ROOTS_MAX: usize = 8;
/// The shortest time that an intermediate must still have: less than that is no use to anybody.
pub const LIFE_MIN: Span = Span::from_seconds(60);
/// How far back validity begins, so that a peer whose clock is behind accepts it at once.
const BACKDATE: Span = Span::from_seconds(60);

/// What stands above an authority of ours, beside its own certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Above {
    /// The certificates between ours and a root, in DER, the nearest first.
    pub issuers: Vec<Vec<u8>>,
    /// The roots, in DER: what bundles hold.
    pub roots: Vec<Vec<u8>>,
}

/// What an authority above is asked to sign.
#[derive(Debug)]
pub struct Order<'a> {
    /// The trust domain, under its scheme.
    pub origin: &'a Origin,
    /// The key, as SubjectPublicKeyInfo in DER.
    pub spki_der: &'a [u8],
    /// The certificate of the authority that signs.
    pub issuer: &'a Certificate,
    /// Sixteen random bytes for the serial number.
    pub random: [u8; 16],
    /// Now.
    pub now: UnixTime,
    /// Until when it is wanted.
    pub until: UnixTime,
    /// How many levels of authorities may stand below it: none, and it signs leaves alone.
    pub below: u8,
}

/// An intermediate, below which leaves stand, and as many levels of authorities as the order says.
pub fn build(
    order: &Order<'_>,
    algorithm: SignatureAlgorithm,
) -> Result<Checked<ToBeSigned>, BuildFault> {
    let Order { origin, issuer, now, .. } = *order;
    check_authority(issuer).map_err(BuildFault::Issuer)?;
    // RFC 5280 §4.2.1.9: a pathLenConstraint of zero "indicates that no non-self-issued
    // intermediate CA certificates may follow in a valid certification path."
    if room_below(issuer).is_some_and(|room| order.below > room) || issuer.path_len() == Some(0) {
        return Err(BuildFault::PathLength);
    }
    let until = order.until.min(issuer.not_after());
    if until < now.plus(LIFE_MIN) {
        return Err(BuildFault::Ended { not_after: issuer.not_after() });
    }
    let name: String =
        format!("AIMS {}", origin.name()).chars().take(COMMON_NAME_CHARS_MAX).collect();
    let template = Template {
        serial: Serial::from_random(order.random),
        issuer: issuer.subject().clone(),
        subject: Name::new(Some("AIMS"), Some(&name))?,
        not_before: now.minus(BACKDATE).max(issuer.not_before()),
        not_after: until,
        spki_der: order.spki_der.to_vec(),
        kind: Kind::Authority { path_len: Some(order.below) },
        // X509-SVID §3.2: "A signing certificate SHOULD itself be an SVID."
        uri_names: origin.is_spiffe().then(|| origin.to_string()).into_iter().collect(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        key_usage: KeyUsage::KEY_CERT_SIGN.with(KeyUsage::CRL_SIGN),
        extended_key_usages: Vec::new(),
        authority_key_id: issuer.subject_key_id().map(<[u8]>::to_vec),
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    };
    let unsigned = template.to_be_signed(algorithm)?;
    let read = unsigned.clone().attach(&[]).parse()?;
    if !read.is_ca() || read.path_len() != Some(order.below) || read.spki_der() != order.spki_der {
        return Err(Fault::NotAnAuthority.into());
    }
    Ok(Checked::assertion(unsigned))
}

/// How many levels of authorities may stand below one that `issuer` signs; `None` without a bound.
pub fn room_below(issuer: &Certificate) -> Option<u8> {
    issuer.path_len().map(|length| length.saturating_sub(1))
}

/// Why an intermediate is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildFault {
    /// Who should sign it is no authority.
    #[error("the certificate of the authority above: {0}")]
    Issuer(AuthorityError),
    /// It has no room below it.
    #[error("the authority above lets no other stand below it, or fewer levels (its path length)")]
    PathLength,
    /// It ends too soon, or has ended.
    #[error("the certificate of the authority above is valid until {not_after}")]
    Ended {
        /// When.
        not_after: UnixTime,
    },
    /// It cannot be made.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<TemplateError> for BuildFault {
    fn from(error: TemplateError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<NameError> for BuildFault {
    fn from(error: NameError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<Malformed> for BuildFault {
    fn from(error: Malformed) -> Self {
        Self::Fault(error.into())
    }
}

/// An answer whose certificates obey their profile. That they are believed is proved by a leaf.
#[derive(Debug)]
pub struct Answered {
    ours: Certificate,
    issuers: Vec<Certificate>,
    roots: Vec<Certificate>,
}

/// Reads what an authority above answered for our key `spki_der`: `chain` with our certificate
/// first, and the roots.
pub fn read(
    (chain, roots): (&[Vec<u8>], &[Vec<u8>]),
    origin: &Origin,
    spki_der: &[u8],
) -> Result<Answered, Refusal> {
    let roots = read_roots(roots)?;
    // A chain ends below the root; some send it, too.
    let is_root = |one: &Certificate| roots.iter().any(|root| root.der() == one.der());
    let mut read = Vec::new();
    // With a leaf and a root it must still be a chain that is read.
    if chain.len() >= CHAIN_CERTIFICATES_MAX {
        return Err(Refusal::TooLong { certificates: chain.len() });
    }
    for (index, der) in chain.iter().enumerate() {
        let one = Certificate::parse(der).map_err(|why| Refusal::Malformed { index, why })?;
        if !is_root(&one) {
            check_authority(&one).map_err(|why| Refusal::Authority { index, why })?;
            read.push(one);
        }
    }
    let mut read = read.into_iter();
    let ours = read.next().ok_or(Refusal::Empty)?;
    if ours.spki_der() != spki_der {
        return Err(Refusal::OtherKey);
    }
    // X509-SVID §4.1 lets a signing certificate be an SVID: then it is one of our trust domain.
    if let Some(name) = ours.uri_names().iter().find(|name| **name != origin.as_str()) {
        return Err(Refusal::OtherDomain { name: name.clone() });
    }
    Ok(Answered { ours, issuers: read.collect(), roots })
}

/// Roots that a bundle may hold.
pub fn read_roots(roots: &[Vec<u8>]) -> Result<Vec<Certificate>, Refusal> {
    if roots.is_empty() || roots.len() > ROOTS_MAX {
        return Err(Refusal::Roots { count: roots.len() });
    }
    let read = roots.iter().enumerate().map(|(index, der)| {
        let root = Certificate::parse(der).map_err(|why| Refusal::RootMalformed { index, why })?;
        check_authority(&root).map_err(|why| Refusal::RootAuthority { index, why })?;
        Ok(root)
    });
    read.collect()
}

impl Answered {
    /// The certificate of our key.
    pub fn ours(&self) -> &Certificate {
        &self.ours
    }

    /// Until when all of it is valid: no leaf may outlive that.
    pub fn until(&self) -> UnixTime {
        let above = self.issuers.iter().map(Certificate::not_after);
        let roots = self.roots.iter().map(Certificate::not_after).max();
        above.chain(roots).fold(self.ours.not_after(), UnixTime::min)
    }

    /// A leaf that is thrown away, to see whether anybody would believe the authority: path
    /// lengths, name constraints and usages of those above show at a leaf alone.
    pub fn probe(&self, order: &Probe<'_>) -> Result<Checked<ToBeSigned>, x509_svid::Fault> {
        let order = x509_svid::Order {
            id: order.id,
            spki_der: self.ours.spki_der(),
            dns_names: order.dns_names.to_vec(),
            ip_names: Vec::new(),
            authority: &self.ours,
            random: order.random,
            now: order.now,
            life: LIFE_MIN,
            epoch: 0,
            attributes: &Attributes::default(),
        };
        x509_svid::build(&order, SignatureAlgorithm::EcdsaP256Sha256)
    }

    /// Verifies the leaf as everybody will, and gives what may stand in a ring.
    pub fn prove(self, leaf: &CertificateDer, now: UnixTime) -> Result<Proven, Refusal> {
        let leaf = leaf.parse().map_err(|why| Refusal::Malformed { index: 0, why })?;
        let mut chain = vec![leaf, self.ours.clone()];
        chain.extend(self.issuers.iter().cloned());
        Wic::check(&chain)?;
        for purpose in [Purpose::Server, Purpose::Client] {
            verify_chain(&chain, &self.roots, purpose, now)?;
        }
        let until = self.until();
        if until < now.plus(LIFE_MIN) {
            return Err(Refusal::EndsSoon { until });
        }
        let ders = |all: &[Certificate]| all.iter().map(|one| one.der().to_vec()).collect();
        let above = Above { issuers: ders(&self.issuers), roots: ders(&self.roots) };
        Ok(Proven { certificate: self.ours.der().to_vec(), above, until })
    }
}

/// Whose leaf it is that is thrown away.
#[derive(Debug)]
pub struct Probe<'a> {
    /// An identifier of ours.
    pub id: &'a WorkloadId,
    /// The names that our listeners will have.
    pub dns_names: &'a [String],
    /// Sixteen random bytes for the serial number.
    pub random: [u8; 16],
    /// Now.
    pub now: UnixTime,
}

/// An intermediate that everybody who has the roots believes.
#[derive(Debug)]
pub struct Proven {
    certificate: Vec<u8>,
    above: Above,
    until: UnixTime,
}

impl Proven {
    /// Our certificate, what stands above it, and until when all of it is valid.
    pub fn into_parts(self) -> (Vec<u8>, Above, UnixTime) {
        (self.certificate, self.above, self.until)
    }
}

/// Why the answer of an authority above is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no certificate of ours.
    #[error("no certificate")]
    Empty,
    /// With a leaf it would be longer than anybody reads.
    #[error("{certificates} certificates; with a leaf at most {CHAIN_CERTIFICATES_MAX} are read")]
    TooLong {
        /// How many.
        certificates: usize,
    },
    /// A certificate does not read. Ours is 0.
    #[error("certificate {index} does not read: {why}")]
    Malformed {
        /// Which.
        index: usize,
        /// What is wrong.
        why: Malformed,
    },
    /// A certificate is not that of an authority. Ours is 0.
    #[error("certificate {index}: {why}")]
    Authority {
        /// Which.
        index: usize,
        /// What is wrong.
        why: AuthorityError,
    },
    /// It is of another key than was asked for.
    #[error("the certificate is not of our key")]
    OtherKey,
    /// It is of another trust domain.
    #[error("the certificate names `{name}`")]
    OtherDomain {
        /// The name.
        name: String,
    },
    /// None, or too many.
    #[error("{count} roots; there are 1 to {ROOTS_MAX}")]
    Roots {
        /// How many.
        count: usize,
    },
    /// A root does not read.
    #[error("root {index} does not read: {why}")]
    RootMalformed {
        /// Which.
        index: usize,
        /// What is wrong.
        why: Malformed,
    },
    /// A root is not that of an authority.
    #[error("root {index}: {why}")]
    RootAuthority {
        /// Which.
        index: usize,
        /// What is wrong.
        why: AuthorityError,
    },
    /// It is valid, and of no use.
    #[error("it ends at {until}")]
    EndsSoon {
        /// When.
        until: UnixTime,
    },
    /// A leaf below it would not be believed.
    #[error("a leaf below it is not believed: {0}")]
    Svid(#[from] WicError),
    /// The same, for its chain.
    #[error("a leaf below it is not believed: {0}")]
    Chain(#[from] ChainError),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Empty => "superior::Empty",
            Self::TooLong { .. } => "superior::TooLong",
            Self::Malformed { .. } => "superior::Malformed",
            Self::Authority { .. } => "superior::Authority",
            Self::OtherKey => "superior::OtherKey",
            Self::OtherDomain { .. } => "superior::OtherDomain",
            Self::Roots { .. } => "superior::Roots",
            Self::RootMalformed { .. } => "superior::RootMalformed",
            Self::RootAuthority { .. } => "superior::RootAuthority",
            Self::EndsSoon { .. } => "superior::EndsSoon",
            Self::Svid(_) => "superior::Svid",
            Self::Chain(_) => "superior::Chain",
        }
    }
}

#[cfg(test)]
mod tests {
    use jose::PrivateKey;
    use x509::ecdsa_der_from_fixed;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
    const DAY: Span = Span::from_seconds(86_400);
    const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
    /// RFC 7515 §A.3.
    const KEY: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    fn key() -> PrivateKey {
        PrivateKey::from_jwk_private_text(KEY).unwrap()
    }

    fn issuer(kind: Kind, not_after: UnixTime) -> Certificate {
        let (key, name) = (key(), Name::new(Some("Company"), Some("root")).unwrap());
        let template = Template {
            serial: Serial::from_random([1; 16]),
            issuer: name.clone(),
            subject: name,
            not_before: NOW.minus(DAY),
            not_after,
            spki_der: key.public().spki_der().to_vec(),
            kind,
            uri_names: Vec::new(),
            dns_names: Vec::new(),
            ip_names: Vec::new(),
            key_usage: KeyUsage::KEY_CERT_SIGN,
            extended_key_usages: Vec::new(),
            authority_key_id: None,
            permitted_dns_names: Vec::new(),
            extra: Vec::new(),
        };
        let unsigned = template.to_be_signed(ALGORITHM).unwrap();
        let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
        unsigned.attach(&signature).parse().unwrap()
    }

    fn built(issuer: &Certificate) -> Result<Certificate, BuildFault> {
        built_above(issuer, 0)
    }

    fn built_above(issuer: &Certificate, below: u8) -> Result<Certificate, BuildFault> {
        let (key, domain) = (key(), Origin::parse("spiffe://demo.example").unwrap());
        let order = Order {
            origin: &domain,
            spki_der: key.public().spki_der(),
            issuer,
            random: [2; 16],
            now: NOW,
            until: NOW.plus(DAY),
            below,
        };
        let unsigned = build(&order, ALGORITHM)?.into_inner();
        Ok(unsigned.attach(&[]).parse().unwrap())
    }

    /// req: CRED-02 (part), CRED-05 (part)
    #[test]
    fn s6_an_intermediate_obeys_the_profile_and_ends_with_its_issuer() {
        let any = Kind::Authority { path_len: None };
        for (ends, expect) in [(NOW.plus(DAY).plus(DAY), DAY), (NOW.plus(LIFE_MIN), LIFE_MIN)] {
            let made = built(&issuer(any, ends)).unwrap();
            assert_eq!(check_authority(&made), Ok(()));
            assert_eq!((made.path_len(), made.not_after()), (Some(0), NOW.plus(expect)));
            assert_eq!(made.uri_names(), ["spiffe://demo.example"]);
        }
    }

    /// RFC 5280 §4.2.1.9: each level has one less below it than the one above.
    /// req: CRED-02 (part)
    #[test]
    fn rfc5280_4_2_1_9_levels_below_are_counted() {
        let far = NOW.plus(DAY);
        for (path_len, below, expect) in [
            (None, 3, Ok(Some(3))),
            (Some(3), 2, Ok(Some(2))),
            (Some(2), 2, Err(BuildFault::PathLength)),
            (Some(1), 0, Ok(Some(0))),
            (Some(1), 1, Err(BuildFault::PathLength)),
            (Some(0), 0, Err(BuildFault::PathLength)),
        ] {
            let above = issuer(Kind::Authority { path_len }, far);
            let made = built_above(&above, below).map(|made| made.path_len());
            assert_eq!(made, expect, "{path_len:?} {below}");
        }
    }

    #[test]
    fn s6_who_may_have_none_below_signs_none() {
        let (any, far) = (Kind::Authority { path_len: None }, NOW.plus(DAY));
        let full = built(&issuer(Kind::Authority { path_len: Some(0) }, far)).err();
        assert_eq!(full, Some(BuildFault::PathLength));
        let leaf = built(&issuer(Kind::Leaf, far)).err();
        assert_eq!(leaf, Some(BuildFault::Issuer(AuthorityError::NotAuthority)));
        let ended = NOW.plus(LIFE_MIN).minus(Span::from_seconds(1));
        let late = built(&issuer(any, ended)).err();
        assert_eq!(late, Some(BuildFault::Ended { not_after: ended }));
    }
}
