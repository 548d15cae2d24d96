//! X.509-SVIDs, and workload identity certificates of the scheme `wimse` (SPIFFE X509-SVID;
//! workload-creds §6.1; S1 §6; CRED-02): built here, checked as encoded, then signed.

use std::net::IpAddr;

use spiffe::Attributes;
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::{
    Certificate, KeyUsage, Kind, Malformed, Name, Oid, Serial, SignatureAlgorithm, Template,
    TemplateError, ToBeSigned, attributes_extension, epoch_extension,
};

use crate::checked::Checked;

/// How far back validity begins, so that a peer whose clock is behind accepts it at once.
const BACKDATE: Span = Span::from_seconds(10);

/// What a certificate is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// Whose it is.
    pub id: &'a WorkloadId,
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
    /// What it says about the agent.
    pub attributes: &'a Attributes,
}

/// What the certificate will say.
pub fn template(order: &Order<'_>) -> Result<Template, Fault> {
    let ends = order.now.plus(order.life);
    let mut extra = vec![epoch_extension(order.epoch)];
    if !order.attributes.is_empty() {
        extra.push(attributes_extension(&order.attributes.to_text()));
    }
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
        extra,
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
    // X509-SVID §2: "An X.509 SVID MUST contain exactly one URI SAN"; workload-creds §6.1 has the
    // same for every workload identity certificate.
    let [name] = read.uri_names() else {
        return Err(Fault::Names { count: read.uri_names().len() });
    };
    let id = WorkloadId::parse(name).map_err(|_| Fault::OtherName { name: name.clone() })?;
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
    let said = read.attributes().map(Attributes::from_text);
    if said.unwrap_or_else(|| Some(Attributes::default())).as_ref() != Some(order.attributes) {
        return Err(Fault::Attributes);
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
    #[error("the identifier of a leaf has a path")]
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
    /// Other attributes than the order's.
    #[error("the certificate says other attributes")]
    Attributes,
}

#[cfg(test)]
mod tests {
    use jose::PrivateKey;
    use wimse::Origin;
    use x509::ecdsa_der_from_fixed;

    use super::*;
    use crate::x509_authority::{self, Role};

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
    const HOUR: Span = Span::from_seconds(3_600);
    const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
    /// RFC 7515 §A.3.
    const KEY: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    /// RFC 7517 §A.2.
    const OTHER_KEY: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

    fn key(text: &str) -> PrivateKey {
        PrivateKey::from_jwk_private_text(text).unwrap()
    }

    fn authority(until: UnixTime) -> Certificate {
        let (key, origin) = (key(KEY), Origin::parse("spiffe://demo.example").unwrap());
        let (role, spki) =
            (Role::TrustDomain { origin: &origin, below: 0 }, key.public().spki_der());
        let made = x509_authority::build(&role, spki, [1; 16], NOW.minus(HOUR), until, ALGORITHM);
        let unsigned = made.unwrap().into_inner();
        let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
        unsigned.attach(&signature).parse().unwrap()
    }

    /// What the orders of these tests borrow from.
    struct Parts {
        id: WorkloadId,
        key: PrivateKey,
        authority: Certificate,
        attributes: Attributes,
    }

    impl Parts {
        fn new() -> Self {
            let authority = authority(NOW.plus(Span::from_seconds(86_400)));
            let attributes = Attributes { owner: Some("team-a".into()), ..Attributes::default() };
            Self { id: id("/agent/a"), key: key(OTHER_KEY), authority, attributes }
        }

        fn order(&self) -> Order<'_> {
            Order {
                id: &self.id,
                spki_der: self.key.public().spki_der(),
                dns_names: Vec::new(),
                ip_names: Vec::new(),
                authority: &self.authority,
                random: [7; 16],
                now: NOW,
                life: HOUR,
                epoch: 7,
                attributes: &self.attributes,
            }
        }
    }

    fn id(path: &str) -> WorkloadId {
        WorkloadId::parse(&format!("spiffe://demo.example{path}")).unwrap()
    }

    /// req: CRED-02 (part), CRED-05 (part)
    #[test]
    fn s6_a_certificate_says_what_was_ordered() {
        let parts = Parts::new();
        let unsigned = build(&parts.order(), ALGORITHM).unwrap().into_inner();
        let made = unsigned.attach(&[]).parse().unwrap();
        assert_eq!(made.uri_names(), ["spiffe://demo.example/agent/a"]);
        assert_eq!((made.not_before(), made.not_after()), (NOW.minus(BACKDATE), NOW.plus(HOUR)));
        assert_eq!((made.epoch(), made.is_ca()), (Some(7), false));
        assert_eq!(made.key_usage(), KeyUsage::DIGITAL_SIGNATURE);
        assert_eq!(made.issuer(), parts.authority.subject());
        assert_eq!(made.spki_der(), parts.key.public().spki_der());
    }

    /// What the builder would have to do wrong for each of the checker's words.
    /// req: CRED-02 (part)
    #[test]
    fn s6_what_breaks_the_profile_is_not_signed() {
        let parts = Parts::new();
        let check = |edit: &dyn Fn(&mut Template), expect: Fault| {
            let mut wrong = template(&parts.order()).unwrap();
            edit(&mut wrong);
            let unsigned = wrong.to_be_signed(ALGORITHM).unwrap();
            assert_eq!(super::check(&unsigned, &parts.order()), Err(expect));
        };
        let life = |seconds| Fault::Life { life: Span::from_seconds(seconds), allowed: HOUR };
        let second = "spiffe://demo.example/agent/b".to_owned();
        check(&|wrong| wrong.uri_names.push(second.clone()), Fault::Names { count: 2 });
        check(
            &|wrong| {
                wrong.uri_names.clear();
                wrong.dns_names = vec!["a.example".to_owned()];
            },
            Fault::Names { count: 0 },
        );
        for name in ["spiffe://demo.example/agent/b", "spiffe://other/agent/a", "https://a/agent/a"]
        {
            let name = name.to_owned();
            let other = Fault::OtherName { name: name.clone() };
            check(&|wrong| wrong.uri_names = vec![name.clone()], other);
        }
        for usage in [
            KeyUsage::DIGITAL_SIGNATURE.with(KeyUsage::KEY_CERT_SIGN),
            KeyUsage::DIGITAL_SIGNATURE.with(KeyUsage::CRL_SIGN),
            KeyUsage::KEY_AGREEMENT,
        ] {
            check(&|wrong| wrong.key_usage = usage, Fault::NotALeaf);
        }
        check(&|wrong| wrong.kind = Kind::Authority { path_len: None }, Fault::NotALeaf);
        let own = key(KEY).public().spki_der().to_vec();
        check(&|wrong| wrong.spki_der.clone_from(&own), Fault::OtherKey);
        check(&|wrong| wrong.not_after = NOW.plus(Span::from_seconds(3_601)), life(3_601));
        check(&|wrong| wrong.not_after = NOW, life(0));
        check(&|wrong| wrong.extra = Vec::new(), Fault::Epoch);
        check(&|wrong| wrong.extra = vec![epoch_extension(8)], Fault::Epoch);
    }

    #[test]
    fn s6_what_cannot_be_ordered_is_refused() {
        let parts = Parts::new();
        let check = |order: &Order<'_>, expect| {
            assert_eq!(build(order, ALGORITHM).map(|_| ()), Err(expect));
        };
        let root = id("");
        check(&Order { id: &root, ..parts.order() }, Fault::NoPath);
        let dead = authority(NOW.minus(Span::from_seconds(60)));
        let (not_before, not_after) = (NOW.minus(BACKDATE), dead.not_after());
        let ended = TemplateError::EndsBeforeItBegins { not_before, not_after };
        check(&Order { authority: &dead, ..parts.order() }, Fault::Template(ended));
        let no_life = Fault::Life { life: Span::ZERO, allowed: Span::ZERO };
        check(&Order { life: Span::ZERO, ..parts.order() }, no_life);
        let no_key = build(&Order { spki_der: &[0x30, 0], ..parts.order() }, ALGORITHM);
        assert!(matches!(no_key, Err(Fault::Template(TemplateError::Key(_)))), "{no_key:?}");
    }

    /// req: CRED-05 (part)
    #[test]
    fn s6_no_certificate_outlives_its_authority() {
        let (parts, ends) = (Parts::new(), NOW.plus(Span::from_seconds(600)));
        let authority = authority(ends);
        let order = Order { authority: &authority, ..parts.order() };
        let unsigned = build(&order, ALGORITHM).unwrap().into_inner();
        assert_eq!(unsigned.attach(&[]).parse().unwrap().not_after(), ends);
    }
}
