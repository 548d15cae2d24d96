use std::slice::from_ref;

use spiffe::form::FormError;
use spiffe::{
    AuthorityError, Bundle, BundleSet, SpiffeId, SpiffeIdError, SvidError, X509Svid,
    check_authority,
};
use time::{Span, UnixTime};
use x509::{Certificate, ChainError, Extension, KeyUsage, Kind, Name, Oid, Purpose, Template};

use crate::fixture::{DAY, Domain, NOW, bundles, domain, vector_chain};

fn as_is(_: &mut Template) {}

/// req: CRED-02 (part)
#[test]
fn x509_svid_5_a_svid_is_verified_by_its_own_bundle() {
    let (ours, theirs) = (Domain::new("ours.example"), Domain::new("theirs.example"));
    let bundles = bundles(&[&ours, &theirs]);
    for (domain, purpose) in [(&ours, Purpose::Client), (&theirs, Purpose::Server)] {
        let leaf = domain.leaf(as_is);
        let svid = X509Svid::verify(from_ref(&leaf), &bundles, purpose, NOW).unwrap();
        assert_eq!(svid.spiffe_id().to_string(), format!("spiffe://{}/agent", domain.name));
        assert_eq!((svid.epoch(), svid.not_after()), (Some(5), NOW.plus(DAY)));
        assert_eq!((svid.spki_der(), svid.serial()), (leaf.spki_der(), leaf.serial()));
        assert_eq!(svid.leaf(), &leaf);
    }
    let early = NOW.plus(Span::from_seconds(60));
    let chain = ours.chain(|middle| middle.not_after = early);
    let svid = X509Svid::verify(&chain, &bundles, Purpose::Client, NOW).unwrap();
    assert_eq!(svid.not_after(), early, "the chain ends with its first certificate to end");
}

/// req: CRED-12 (part)
#[test]
fn spiffe_bundle_3_no_other_domain_vouches_for_a_leaf() {
    let (ours, theirs) = (Domain::new("ours.example"), Domain::new("theirs.example"));
    let both = bundles(&[&ours, &theirs]);
    // Their authority issues an identifier of ours.
    let forged = theirs.leaf(|leaf| leaf.uri_names = vec!["spiffe://ours.example/a".to_owned()]);
    let judge = |leaf: &Certificate, bundles: &BundleSet| {
        X509Svid::verify(from_ref(leaf), bundles, Purpose::Client, NOW).err()
    };
    assert_eq!(judge(&forged, &both), Some(SvidError::Chain(ChainError::UnknownIssuer)));
    let leaf = theirs.leaf(as_is);
    let unknown = SvidError::UnknownTrustDomain(theirs.name.clone());
    assert_eq!(judge(&leaf, &bundles(&[&ours])), Some(unknown.clone()));
    let mut ended = both.clone();
    ended.remove(&theirs.name);
    assert_eq!(judge(&leaf, &ended), Some(unknown));
    // SPIFFE Bundle §4.1.3: no keys, and every SVID of the domain is invalid.
    let mut revoked = both.clone();
    revoked.insert(theirs.name.clone(), Bundle::default());
    assert_eq!(judge(&leaf, &revoked), Some(SvidError::Chain(ChainError::UnknownIssuer)));
}

/// req: CRED-05 (part)
#[test]
fn x509_svid_5_1_an_expired_svid_is_refused() {
    let ours = Domain::new("ours.example");
    let not_after = NOW.minus(Span::from_seconds(1));
    let leaf = ours.leaf(|leaf| leaf.not_after = not_after);
    let judged = X509Svid::verify(&[leaf], &bundles(&[&ours]), Purpose::Client, NOW);
    let expired = ChainError::Expired { not_after, now: NOW };
    assert_eq!(judged, Err(SvidError::Chain(expired)));
}

/// Past defect 28: two URI names among others.
///
/// req: CRED-02 (part)
#[test]
fn x509_svid_2_to_5_each_rule_for_leaves() {
    let ours = Domain::new("ours.example");
    let uris = |uris: &[&str]| uris.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>();
    let id = "spiffe://ours.example/a";
    let not_critical = Extension { oid: Oid::KEY_USAGE, critical: false, der: vec![3, 2, 7, 0x80] };
    let sign = KeyUsage::DIGITAL_SIGNATURE;
    type Edit = Box<dyn Fn(&mut Template)>;
    let cases: Vec<(Edit, SvidError)> = vec![
        (
            Box::new(move |it| {
                it.uri_names = vec![];
                it.dns_names = vec!["a.example".to_owned()];
            }),
            SvidError::UriNames { count: 0 },
        ),
        (
            Box::new(move |it| it.uri_names = uris(&[id, "spiffe://ours.example/b"])),
            SvidError::UriNames { count: 2 },
        ),
        (
            Box::new(move |it| it.uri_names = uris(&[id, "https://ours.example/"])),
            SvidError::UriNames { count: 2 },
        ),
        (
            Box::new(move |it| it.uri_names = uris(&["https://ours.example/a"])),
            SvidError::NotSpiffeId(SpiffeIdError::Scheme),
        ),
        (
            Box::new(move |it| it.uri_names = uris(&["spiffe://ours.example/a/"])),
            SvidError::NotSpiffeId(FormError::TrailingSlash.into()),
        ),
        (
            Box::new(move |it| it.uri_names = uris(&["spiffe://ours.example"])),
            SvidError::NoPath(SpiffeId::parse("spiffe://ours.example").unwrap()),
        ),
        (Box::new(|it| it.kind = Kind::Authority { path_len: None }), SvidError::Authority),
        (Box::new(|it| it.key_usage = KeyUsage::default()), SvidError::NoKeyUsage),
        (
            Box::new(move |it| {
                it.key_usage = KeyUsage::default();
                it.extra = vec![not_critical.clone()];
            }),
            SvidError::KeyUsageNotCritical,
        ),
        (Box::new(|it| it.key_usage = KeyUsage::KEY_ENCIPHERMENT), SvidError::NoDigitalSignature),
        (
            Box::new(move |it| it.key_usage = sign.with(KeyUsage::KEY_CERT_SIGN)),
            SvidError::SignsCertificates,
        ),
        (
            Box::new(move |it| it.key_usage = sign.with(KeyUsage::CRL_SIGN)),
            SvidError::SignsRevocationLists,
        ),
        (
            Box::new(|it| it.extended_key_usages = vec![Oid::SERVER_AUTH]),
            SvidError::ExtendedKeyUsage,
        ),
    ];
    let bundles = bundles(&[&ours]);
    for (edit, expect) in cases {
        let chain = [ours.leaf(edit)];
        assert_eq!(X509Svid::check(&chain).err(), Some(expect.clone()));
        let judged = X509Svid::verify(&chain, &bundles, Purpose::Client, NOW);
        assert_eq!(judged, Err(expect));
    }
    assert_eq!(X509Svid::check(&[]).err(), Some(SvidError::NoCertificate));
}

#[test]
fn x509_svid_4_what_a_leaf_may_have() {
    let ours = Domain::new("ours.example");
    let encipher = KeyUsage::KEY_ENCIPHERMENT.with(KeyUsage::KEY_AGREEMENT);
    let leaf = ours.leaf(|leaf| {
        leaf.key_usage = KeyUsage::DIGITAL_SIGNATURE.with(encipher);
        leaf.dns_names = vec!["a.example".to_owned(), "b.example".to_owned()];
        leaf.extended_key_usages = vec![];
        leaf.subject = Name::new(None, Some("agent")).unwrap();
    });
    let checked = X509Svid::check(&[leaf]).unwrap();
    assert_eq!(checked.spiffe_id().as_str(), "spiffe://ours.example/agent");
}

#[test]
fn x509_svid_3_1_names_beside_an_empty_subject_are_critical() {
    let leaf = Domain::new("ours.example").leaf(as_is);
    // The flag of the alternative names, set to false in the finished certificate.
    let san = [6, 3, 0x55, 0x1d, 17, 1, 1, 0xff];
    let at = leaf.der().windows(san.len()).position(|window| window == san).unwrap();
    let mut der = leaf.der().to_vec();
    der[at + 7] = 0;
    let leaf = Certificate::parse(&der).unwrap();
    assert_eq!(X509Svid::check(&[leaf]).err(), Some(SvidError::NamesNotCritical));
}

#[test]
fn x509_svid_3_2_each_rule_for_signing_certificates() {
    let ours = Domain::new("ours.example");
    let not_critical = Extension { oid: Oid::KEY_USAGE, critical: false, der: vec![3, 2, 2, 4] };
    let two = vec!["spiffe://a".to_owned(), "spiffe://b".to_owned()];
    let path = SpiffeId::parse("spiffe://ours.example/p").unwrap();
    type Edit = Box<dyn Fn(&mut Template)>;
    let cases: Vec<(Edit, Option<AuthorityError>)> = vec![
        (Box::new(as_is), None),
        (Box::new(|it| it.uri_names = vec![]), None),
        (Box::new(|it| it.uri_names = vec!["spiffe://other.example".to_owned()]), None),
        (Box::new(|it| it.kind = Kind::Leaf), Some(AuthorityError::NotAuthority)),
        (Box::new(|it| it.key_usage = KeyUsage::default()), Some(AuthorityError::NoKeyUsage)),
        (
            Box::new(move |it| {
                it.key_usage = KeyUsage::default();
                it.extra = vec![not_critical.clone()];
            }),
            Some(AuthorityError::KeyUsageNotCritical),
        ),
        (
            Box::new(|it| it.key_usage = KeyUsage::CRL_SIGN),
            Some(AuthorityError::SignsNoCertificates),
        ),
        (
            Box::new(move |it| it.uri_names = two.clone()),
            Some(AuthorityError::UriNames { count: 2 }),
        ),
        (
            Box::new(|it| it.uri_names = vec!["https://ours.example".to_owned()]),
            Some(AuthorityError::NotSpiffeId(SpiffeIdError::Scheme)),
        ),
        (
            Box::new(|it| it.uri_names = vec!["spiffe://ours.example/p".to_owned()]),
            Some(AuthorityError::Path(path)),
        ),
    ];
    for (edit, expect) in cases {
        let chain = ours.chain(edit);
        assert_eq!(check_authority(&chain[1]).err(), expect);
        let refused = expect.map(|reason| SvidError::Issuer { index: 1, reason });
        assert_eq!(X509Svid::check(&chain).err(), refused);
    }
}

#[test]
fn x509_svid_published_certificates_are_judged_by_name() {
    let issuer = |reason| SvidError::Issuer { index: 1, reason };
    for (name, expect) in [
        ("good-leaf-only", None),
        ("good-leaf-and-intermediate", None),
        ("wrong-leaf-ca-true", Some(SvidError::Authority)),
        ("wrong-leaf-cert-sign", Some(SvidError::SignsCertificates)),
        ("wrong-leaf-crl-sign", Some(SvidError::SignsRevocationLists)),
        ("wrong-leaf-empty-id", Some(SvidError::UriNames { count: 0 })),
        ("wrong-leaf-no-digital-signature", Some(SvidError::NoDigitalSignature)),
        ("wrong-intermediate-no-ca", Some(issuer(AuthorityError::NotAuthority))),
        ("wrong-intermediate-no-key-cert-sign", Some(issuer(AuthorityError::SignsNoCertificates))),
    ] {
        let chain = vector_chain(&format!("svid-x509svid--{name}.pem"));
        assert_eq!(X509Svid::check(&chain).err(), expect, "{name}");
    }
}

#[test]
fn x509_svid_a_published_svid_verifies_in_its_time() {
    let chain = vector_chain("svid-x509svid--good-leaf-and-intermediate.pem");
    let (leaf, authority) = (&chain[..1], chain[1].clone());
    let mut bundles = BundleSet::new();
    let bundle = Bundle::new(1, DAY, vec![authority], vec![], vec![]).unwrap();
    bundles.insert(domain("example.org"), bundle);
    let now = UnixTime::from_seconds(1_585_060_000); // 24 March 2020, 14:26
    let svid = X509Svid::verify(leaf, &bundles, Purpose::Client, now).unwrap();
    assert_eq!(svid.spiffe_id().as_str(), "spiffe://example.org/workload-1");
    let later = now.plus(DAY);
    let judged = X509Svid::verify(leaf, &bundles, Purpose::Client, later);
    assert!(matches!(judged, Err(SvidError::Chain(_))));
}
