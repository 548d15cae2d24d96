//! Workload identity certificates: the profile, the origin that vouches, and how each rule is
//! broken.

use jose::PrivateKey;
use spiffe::{Bundle, SvidError};
use time::{Span, UnixTime};
use wimse::{Bundles, Origin, Wic, WicError, WimseIdError, WorkloadIdError};
use x509::{
    Certificate, ChainError, KeyUsage, Kind, Name, Oid, Purpose, Serial, SignatureAlgorithm,
    Template, ecdsa_der_from_fixed,
};

const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
const DAY: Span = Span::from_seconds(86_400);
const HOUR: Span = Span::from_seconds(3_600);
const ID: &str = "wimse://demo.example/agent/a";

fn key() -> PrivateKey {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    PrivateKey::from_pkcs8(key.to_pkcs8v1().unwrap().as_ref()).unwrap()
}

/// An authority without an identifier: an origin of `wimse` has none.
struct Authority {
    key: PrivateKey,
    root: Certificate,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = key();
        let subject = Name::new(Some(name), None).unwrap();
        let template = Template {
            serial: Serial::from_random([1; 16]),
            issuer: subject.clone(),
            subject,
            not_before: NOW.minus(DAY),
            not_after: NOW.plus(DAY),
            spki_der: key.public().spki_der().to_vec(),
            kind: Kind::Authority { path_len: Some(0) },
            uri_names: Vec::new(),
            dns_names: Vec::new(),
            ip_names: Vec::new(),
            key_usage: KeyUsage::KEY_CERT_SIGN.with(KeyUsage::CRL_SIGN),
            extended_key_usages: Vec::new(),
            authority_key_id: None,
            permitted_dns_names: Vec::new(),
            extra: Vec::new(),
        };
        let root = signed(&template, &key);
        Self { key, root }
    }

    fn bundle(&self) -> Bundle {
        Bundle::new(1, HOUR, vec![self.root.clone()], Vec::new(), Vec::new()).unwrap()
    }

    /// A leaf for [`ID`] with a host name, after `edit`.
    fn leaf(&self, edit: impl FnOnce(&mut Template)) -> Certificate {
        let mut template = Template {
            serial: Serial::from_random([2; 16]),
            issuer: self.root.subject().clone(),
            subject: Name::empty(),
            not_before: NOW,
            not_after: NOW.plus(HOUR),
            spki_der: key().public().spki_der().to_vec(),
            kind: Kind::Leaf,
            uri_names: vec![ID.to_owned()],
            dns_names: vec!["a.demo.example".to_owned()],
            ip_names: Vec::new(),
            key_usage: KeyUsage::DIGITAL_SIGNATURE,
            extended_key_usages: vec![Oid::SERVER_AUTH, Oid::CLIENT_AUTH],
            authority_key_id: None,
            permitted_dns_names: Vec::new(),
            extra: Vec::new(),
        };
        edit(&mut template);
        signed(&template, &self.key)
    }
}

fn signed(template: &Template, key: &PrivateKey) -> Certificate {
    let unsigned = template.clone().to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
    unsigned.attach(&signature).parse().unwrap()
}

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

fn trust(of: &[(&str, &Authority)]) -> Bundles {
    let mut bundles = Bundles::new();
    for (text, authority) in of {
        bundles.insert(origin(text), authority.bundle());
    }
    bundles
}

/// req: CRED-02 (part)
#[test]
fn workload_creds_6_1_a_certificate_proves_its_one_identifier() {
    let authority = Authority::new("demo");
    let bundles = trust(&[("wimse://demo.example", &authority)]);
    let leaf = authority.leaf(|_| {});
    for purpose in [Purpose::Client, Purpose::Server] {
        let wic = Wic::verify(std::slice::from_ref(&leaf), &bundles, purpose, NOW).unwrap();
        assert_eq!((wic.workload_id().as_str(), wic.not_after()), (ID, NOW.plus(HOUR)));
        assert_eq!(wic.spki_der(), leaf.spki_der());
        // wimse-mutual-tls §3.2.1: the name of the host stands beside it, and is not it.
        assert_eq!(wic.leaf().dns_names(), ["a.demo.example"]);
    }
}

/// Each rule broken once, in a certificate that the right authority signed.
/// req: CRED-02 (part)
#[test]
fn workload_creds_6_1_a_certificate_that_breaks_the_profile_is_refused() {
    let authority = Authority::new("demo");
    let bundles = trust(&[("wimse://demo.example", &authority)]);
    let check = |edit: &dyn Fn(&mut Template), expect: WicError| {
        let leaf = authority.leaf(edit);
        assert_eq!(Wic::verify(&[leaf], &bundles, Purpose::Client, NOW), Err(expect));
    };
    for second in [ID, "wimse://demo.example/agent/b", "spiffe://demo.example/agent/a", "urn:x:y"] {
        let two = |edit: &mut Template| edit.uri_names.push(second.to_owned());
        check(&two, WicError::UriNames { count: 2 });
        let before = |edit: &mut Template| edit.uri_names.insert(0, second.to_owned());
        check(&before, WicError::UriNames { count: 2 });
    }
    let authority_usage = KeyUsage::DIGITAL_SIGNATURE.with(KeyUsage::KEY_CERT_SIGN);
    check(&|edit| edit.key_usage = authority_usage, WicError::Authority);
    check(&|edit| edit.key_usage = KeyUsage::KEY_AGREEMENT, WicError::NoDigitalSignature);
    let kind = Kind::Authority { path_len: None };
    check(&|edit| edit.kind = kind, WicError::Authority);
    check(&|edit| edit.uri_names.clear(), SvidError::UriNames { count: 0 }.into());
    let late = NOW.minus(Span::from_seconds(1));
    let expired = ChainError::Expired { not_after: late, now: NOW };
    let over = |edit: &mut Template| {
        edit.not_before = NOW.minus(HOUR);
        edit.not_after = late;
    };
    check(&over, expired.into());
    let server = |edit: &mut Template| edit.extended_key_usages = vec![Oid::SERVER_AUTH];
    check(&server, ChainError::NotForPurpose.into());
    assert_eq!(Wic::check(&[]), Err(SvidError::NoCertificate.into()));
}

/// wimse-identifier §4.1: "Consumers MUST reject identifiers that are not in canonical form", here
/// before any anchor is looked up.
/// req: CRED-02 (part), ID-02 (part)
#[test]
fn wimse_identifier_7_1_a_name_that_is_not_canonical_is_refused_before_trust() {
    let authority = Authority::new("demo");
    for (name, expect) in [
        ("wimse://demo.example", WimseIdError::PathMissing),
        ("wimse://demo.example/%61gent/a", spiffe::form::FormError::PercentEncoding.into()),
        ("wimse://demo.example/agent/../a", spiffe::form::FormError::DotSegment("..").into()),
        ("wimse://demo.example/agent/a/", spiffe::form::FormError::TrailingSlash.into()),
        ("wimse://demo.example/agent/a?x", spiffe::form::FormError::Query.into()),
    ] {
        let leaf = authority.leaf(|edit| edit.uri_names = vec![name.to_owned()]);
        let refused = Wic::verify(&[leaf], &Bundles::new(), Purpose::Client, NOW);
        let expect = WicError::Identifier(WorkloadIdError::Wimse(expect));
        assert_eq!(refused, Err(expect), "{name}");
    }
    // Another case of the scheme is no `wimse` identifier, and no SPIFFE ID either.
    let leaf = authority.leaf(|edit| edit.uri_names = vec![ID.replace("wimse", "WIMSE")]);
    let refused = Wic::verify(&[leaf], &Bundles::new(), Purpose::Client, NOW);
    assert!(matches!(refused, Err(WicError::Svid(SvidError::NotSpiffeId(_)))), "{refused:?}");
}

/// The counterexamples to binding an issuer to its origin: each authority is believed of exactly
/// its scheme and name.
/// req: CRED-02 (part), CRED-12 (part)
#[test]
fn workload_creds_3_an_authority_of_one_origin_vouches_for_no_other() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let refused = |authority: &Authority, name: &str, bundles: &Bundles| {
        let leaf = authority.leaf(|edit| edit.uri_names = vec![name.to_owned()]);
        Wic::verify(&[leaf], bundles, Purpose::Client, NOW).err()
    };
    let unknown = |text: &str| Some(WicError::UnknownOrigin(origin(text)));
    // The same authority, another scheme.
    let spiffe = trust(&[("spiffe://demo.example", &ours)]);
    assert_eq!(refused(&ours, ID, &spiffe), unknown("wimse://demo.example"));
    let wimse = trust(&[("wimse://demo.example", &ours)]);
    let domain = spiffe::TrustDomain::parse("demo.example").unwrap();
    let svid = refused(&ours, "spiffe://demo.example/agent/a", &wimse);
    assert_eq!(svid, Some(SvidError::UnknownTrustDomain(domain).into()));
    // The same scheme, another authority.
    let other = refused(&ours, "wimse://prod.example/agent/a", &wimse);
    assert_eq!(other, unknown("wimse://prod.example"));
    // Both known, each by its own: neither may sign for the other.
    let both = trust(&[("spiffe://demo.example", &theirs), ("wimse://demo.example", &ours)]);
    assert_eq!(refused(&ours, ID, &both), None);
    assert_eq!(refused(&theirs, ID, &both), Some(ChainError::UnknownIssuer.into()));
    let crossed = refused(&ours, "spiffe://demo.example/agent/a", &both);
    assert_eq!(crossed, Some(SvidError::Chain(ChainError::UnknownIssuer).into()));
}

/// What is set and ended for one origin leaves the other of its name alone.
/// req: CRED-12 (part)
#[test]
fn wimse_identifier_4_6_bundles_of_one_name_under_two_schemes_are_two() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let [spiffe, wimse] = ["spiffe://demo.example", "wimse://demo.example"];
    let mut bundles = trust(&[(spiffe, &one), (wimse, &two)]);
    assert_eq!(bundles.get(&origin(spiffe)), Some(&one.bundle()));
    assert_eq!(bundles.get(&origin(wimse)), Some(&two.bundle()));
    let all: Vec<_> = bundles.iter().map(|(origin, _)| origin.to_string()).collect();
    assert_eq!(all, [spiffe, wimse]);
    assert_eq!(bundles.spiffe().iter().count(), 1);
    bundles.remove(&origin(spiffe));
    assert_eq!(bundles.get(&origin(spiffe)), None);
    assert_eq!(bundles.get(&origin(wimse)), Some(&two.bundle()));
    bundles.remove(&origin(wimse));
    assert_eq!(bundles, Bundles::new());
}
