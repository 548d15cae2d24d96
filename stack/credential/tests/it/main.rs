//! What is issued here is accepted by those who verify it: built, checked, signed, and read by the
//! verifiers of the formats.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests among it")]

use credential::{jwt_svid, wit, x509_authority, x509_svid};
use jose::{Algorithm, KeyId, Kind, PrivateKey, SigningInput};
use spiffe::{
    Attributes, Bundle, BundleKey, BundleSet, JwtSvidError, SpiffeId, SvidError, TrustDomain,
    X509Svid, verify_jwt_svid,
};
use time::{Span, UnixTime};
use wimse::{
    Bundles, Origin, TrustAnchors, WIT_SVID_ALGORITHMS, Wic, WicError, WitError, WitPolicy,
    WorkloadId, verify_wit,
};
use x509::{
    Certificate, ChainError, Purpose, SignatureAlgorithm, ToBeSigned, ecdsa_der_from_fixed,
};

const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
const HOUR: Span = Span::from_seconds(3_600);
const SECOND: Span = Span::from_seconds(1);
const X509: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
/// RFC 7515 §A.3.
const AUTHORITY_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// RFC 7517 §A.2.
const WORKLOAD_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

fn key(text: &str) -> PrivateKey {
    PrivateKey::from_jwk_private_text(text).unwrap()
}

fn domain() -> TrustDomain {
    TrustDomain::parse("demo.example").unwrap()
}

fn agent() -> SpiffeId {
    SpiffeId::parse("spiffe://demo.example/agent/a").unwrap()
}

fn kid() -> KeyId {
    KeyId::parse("key-1").unwrap()
}

fn certificate(unsigned: ToBeSigned) -> Certificate {
    let signature = key(AUTHORITY_KEY).sign(unsigned.bytes());
    unsigned.attach(&ecdsa_der_from_fixed(signature.as_bytes()).unwrap()).parse().unwrap()
}

fn token<K: Kind>(input: SigningInput<K>) -> String {
    let signature = key(AUTHORITY_KEY).sign(input.bytes());
    input.attach(signature).into_string()
}

fn authority() -> Certificate {
    let (role, key) = (Origin::from(domain()), key(AUTHORITY_KEY));
    let role = x509_authority::Role::TrustDomain { origin: &role, below: 0 };
    let (spki, until) = (key.public().spki_der(), NOW.plus(Span::from_seconds(86_400)));
    let made = x509_authority::build(&role, spki, [1; 16], NOW, until, X509);
    certificate(made.unwrap().into_inner())
}

fn bundles() -> BundleSet {
    let jwt = vec![BundleKey { kid: kid(), key: key(AUTHORITY_KEY).public().clone() }];
    let bundle = Bundle::new(1, HOUR, vec![authority()], jwt, Vec::new()).unwrap();
    let mut set = BundleSet::new();
    set.insert(domain(), bundle);
    set
}

/// CRED-07: what every kind says beside who it is.
fn attributes() -> Attributes {
    Attributes {
        owner: Some("team-a".to_owned()),
        capabilities: Some("hash".to_owned()),
        locator: Some("https://a.example".to_owned()),
        result: Some("digest".to_owned()),
        methods: vec!["mtls".to_owned()],
    }
}

/// req: CRED-02 (part), CRED-05 (part), CRED-01 (part)
#[test]
fn s6_an_x509_svid_is_accepted_until_it_ends() {
    let (id, workload, authority) = (agent(), key(WORKLOAD_KEY), authority());
    let order = x509_svid::Order {
        id: &id.clone().into(),
        spki_der: workload.public().spki_der(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        authority: &authority,
        random: [7; 16],
        now: NOW,
        life: HOUR,
        epoch: 7,
        attributes: &attributes(),
    };
    let leaf = certificate(x509_svid::build(&order, X509).unwrap().into_inner());
    for purpose in [Purpose::Client, Purpose::Server] {
        let svid = X509Svid::verify(std::slice::from_ref(&leaf), &bundles(), purpose, NOW).unwrap();
        assert_eq!((svid.spiffe_id(), svid.epoch()), (&id, Some(7)));
        assert_eq!(svid.spki_der(), workload.public().spki_der());
    }
    assert_eq!(leaf.attributes().and_then(Attributes::from_text), Some(attributes()));
    let late = NOW.plus(HOUR).plus(SECOND);
    let refused = X509Svid::verify(&[leaf], &bundles(), Purpose::Client, late).err();
    let expired = ChainError::Expired { not_after: NOW.plus(HOUR), now: late };
    assert_eq!(refused, Some(SvidError::Chain(expired)));
}

/// What is issued in an origin of `wimse`: a certificate of the one identifier, with the host names
/// beside it, that its own origin vouches for and the SPIFFE one of its name does not; and a WIT.
/// req: CRED-02 (part), CRED-04 (part), CRED-07 (part)
#[test]
fn workload_creds_6_1_credentials_of_a_wimse_origin_are_accepted_by_it_alone() {
    let (origin, workload) = (Origin::parse("wimse://demo.example").unwrap(), key(WORKLOAD_KEY));
    let role = x509_authority::Role::TrustDomain { origin: &origin, below: 0 };
    let own = key(AUTHORITY_KEY);
    let (spki, until) = (own.public().spki_der(), NOW.plus(Span::from_seconds(86_400)));
    let root = x509_authority::build(&role, spki, [1; 16], NOW, until, X509).unwrap();
    let root = certificate(root.into_inner());
    // wimse-identifier §4.4: without a path there is no identifier, so the authority has none.
    assert!(root.uri_names().is_empty());
    let id = origin.workload("/agent/a").unwrap();
    let order = x509_svid::Order {
        id: &id,
        spki_der: workload.public().spki_der(),
        dns_names: vec!["a.demo.example".to_owned()],
        ip_names: Vec::new(),
        authority: &root,
        random: [7; 16],
        now: NOW,
        life: HOUR,
        epoch: 7,
        attributes: &attributes(),
    };
    let leaf = certificate(x509_svid::build(&order, X509).unwrap().into_inner());
    assert_eq!((leaf.uri_names(), leaf.dns_names()), (&[id.to_string()][..], &order.dns_names[..]));
    let wit_key = BundleKey { kid: kid(), key: own.public().clone() };
    let bundle = Bundle::new(1, HOUR, vec![root.clone()], Vec::new(), vec![wit_key]).unwrap();
    let mut bundles = Bundles::new();
    bundles.insert(origin.clone(), bundle.clone());
    for purpose in [Purpose::Client, Purpose::Server] {
        let wic = Wic::verify(std::slice::from_ref(&leaf), &bundles, purpose, NOW).unwrap();
        assert_eq!((wic.workload_id(), wic.epoch()), (&id, Some(7)));
    }
    assert_eq!(leaf.attributes().and_then(Attributes::from_text), Some(attributes()));
    let order = wit::Order {
        id: &id,
        key: workload.public(),
        jti: "wit-1".to_owned(),
        now: NOW,
        life: HOUR,
        epoch: 7,
        attributes: &attributes(),
    };
    let text = token(wit::build(&order, Algorithm::Es256, &kid()).unwrap().into_inner());
    let policy = WitPolicy {
        algorithms: WIT_SVID_ALGORITHMS,
        confirmation_algorithms: WIT_SVID_ALGORITHMS,
        issuers: None,
        skew: Span::ZERO,
    };
    let wit = verify_wit(&text, &TrustAnchors::from(&bundles), policy, NOW).unwrap();
    assert_eq!((wit.workload_id(), wit.as_wit_svid()), (&id, None));
    assert_eq!(wit.claims().aims_attributes, Some(attributes()));
    // The same keys, trusted for the SPIFFE trust domain of that name: nothing of it holds.
    let mut others = Bundles::new();
    others.insert(domain(), bundle);
    let refused = Wic::verify(&[leaf], &others, Purpose::Client, NOW).err();
    assert_eq!(refused, Some(WicError::UnknownOrigin(origin)));
    let refused = verify_wit(&text, &TrustAnchors::from(&others), policy, NOW).err();
    let unknown = jose::Refused::NoKey(jose::NoKey::UnknownIssuer);
    assert_eq!(refused, Some(WitError::Refused(unknown)));
}

/// req: CRED-04 (part), CRED-05 (part), CRED-07 (part)
#[test]
fn s6_a_wit_binds_the_key_until_it_ends() {
    let (id, workload) = (agent(), key(WORKLOAD_KEY));
    let order = wit::Order {
        id: &id.clone().into(),
        key: workload.public(),
        jti: "wit-1".to_owned(),
        now: NOW,
        life: HOUR,
        epoch: 7,
        attributes: &attributes(),
    };
    let text = token(wit::build(&order, Algorithm::Es256, &kid()).unwrap().into_inner());
    let mut anchors = TrustAnchors::new();
    let wit_key = BundleKey { kid: kid(), key: key(AUTHORITY_KEY).public().clone() };
    anchors.insert(Origin::parse("spiffe://demo.example").unwrap(), vec![wit_key]);
    let policy = WitPolicy {
        algorithms: WIT_SVID_ALGORITHMS,
        confirmation_algorithms: WIT_SVID_ALGORITHMS,
        issuers: None,
        skew: Span::ZERO,
    };
    let wit = verify_wit(&text, &anchors, policy, NOW).unwrap();
    assert_eq!(wit.workload_id(), &WorkloadId::Spiffe(id.clone()));
    assert_eq!(wit.as_wit_svid(), Some(&id));
    assert_eq!(wit.confirmation_key().thumbprint(), workload.public().thumbprint());
    assert_eq!((wit.epoch(), wit.expires()), (Some(7), NOW.plus(HOUR)));
    assert_eq!(wit.claims().aims_attributes, Some(attributes()));
    let refused = verify_wit(&text, &anchors, policy, NOW.plus(HOUR)).err();
    let (exp, now) = (NOW.plus(HOUR), NOW.plus(HOUR));
    assert_eq!(refused, Some(WitError::Refused(jose::Refused::Expired { exp, now })));
}

/// req: CRED-03 (part), CRED-05 (part)
#[test]
fn s6_a_jwt_svid_is_for_its_audiences_until_it_ends() {
    let id = agent();
    let check = |audiences: &[&str]| {
        let audiences: Vec<_> = audiences.iter().map(|&one| one.to_owned()).collect();
        let order = jwt_svid::Order {
            id: &id,
            audiences: &audiences,
            jti: "jwt-1".to_owned(),
            now: NOW,
            life: Span::from_seconds(300),
            issuer: None,
            epoch: 7,
            attributes: &attributes(),
        };
        let text = token(jwt_svid::build(&order, Algorithm::Es256, &kid()).unwrap().into_inner());
        for audience in &audiences {
            let svid = verify_jwt_svid(&text, &bundles(), &[audience], NOW, Span::ZERO).unwrap();
            assert_eq!((svid.spiffe_id(), svid.epoch()), (&id, Some(7)));
            let end = NOW.plus(Span::from_seconds(300));
            assert_eq!(svid.expires(), end);
            let late = verify_jwt_svid(&text, &bundles(), &[audience], end, Span::ZERO).err();
            let expired = jose::Refused::Expired { exp: end, now: end };
            assert_eq!(late, Some(JwtSvidError::Refused(expired)));
        }
        let other = verify_jwt_svid(&text, &bundles(), &["https://c"], NOW, Span::ZERO).err();
        assert!(matches!(other, Some(JwtSvidError::Audience { .. })), "{other:?}");
    };
    check(&["https://a"]);
    check(&["https://a", "https://b"]);
}
