//! A trust domain, a workload of it, and a stranger, each with a key that was published.

use credential::{wit, x509_authority, x509_svid};
use jose::{Algorithm, KeyId, Kind, PrivateKey, SigningInput};
use oauth::{ClientId, Issuer, TokenId};
use spiffe::{Bundle, BundleKey, SpiffeId};
use time::{Span, UnixTime};
use wimse::{Bundles, Origin, TrustAnchors, WorkloadId};
use x509::{SignatureAlgorithm, ToBeSigned, ecdsa_der_from_fixed};

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
pub(crate) const SKEW: Span = Span::from_seconds(5);
pub(crate) const HOUR: Span = Span::from_seconds(3_600);
pub(crate) const SECOND: Span = Span::from_seconds(1);
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AGENT: &str = "spiffe://demo.example/agent/a";

/// RFC 7515 §A.3.
const AUTHORITY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// RFC 7517 §A.2.
const WORKLOAD: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
/// RFC 6979 §A.2.5.
const STRANGER: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y",
    "y":"eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk",
    "d":"ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE"}"#;

pub(crate) fn authority() -> PrivateKey {
    PrivateKey::from_jwk_private_text(AUTHORITY).unwrap()
}

pub(crate) fn workload() -> PrivateKey {
    PrivateKey::from_jwk_private_text(WORKLOAD).unwrap()
}

pub(crate) fn stranger() -> PrivateKey {
    PrivateKey::from_jwk_private_text(STRANGER).unwrap()
}

pub(crate) fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

pub(crate) fn agent() -> SpiffeId {
    SpiffeId::parse(AGENT).unwrap()
}

pub(crate) fn agent_id() -> WorkloadId {
    WorkloadId::Spiffe(agent())
}

pub(crate) fn client(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

pub(crate) fn jti(text: &str) -> TokenId {
    TokenId::parse(text).unwrap()
}

pub(crate) fn kid(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

/// A token of these claims, signed with `key`, whose id is `key-1` where it has one.
pub(crate) fn sign<K: Kind>(claims: &K::Claims, key: &PrivateKey, named: bool) -> String {
    let kid = kid("key-1");
    sealed(SigningInput::<K>::new(Algorithm::Es256, named.then_some(&kid), claims).unwrap(), key)
}

pub(crate) fn sealed<K: Kind>(input: SigningInput<K>, key: &PrivateKey) -> String {
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

fn certificate(unsigned: ToBeSigned, key: &PrivateKey) -> Vec<u8> {
    let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
    unsigned.attach(&signature).into_bytes()
}

fn root(origin: &Origin, key: &PrivateKey) -> x509::Certificate {
    let (role, spki) =
        (x509_authority::Role::TrustDomain { origin, below: 0 }, key.public().spki_der());
    let until = NOW.plus(Span::from_seconds(86_400));
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let made = x509_authority::build(&role, spki, [1; 16], NOW, until, algorithm).unwrap();
    x509::Certificate::parse(&certificate(made.into_inner(), key)).unwrap()
}

/// What we trust: `spiffe://demo.example` with the key of the authority, and with the stranger's
/// `spiffe://other.example` and, of the first name, `wimse://demo.example`.
pub(crate) fn bundles() -> Bundles {
    let mut set = Bundles::new();
    for (origin, key) in [
        ("spiffe://demo.example", authority()),
        ("spiffe://other.example", stranger()),
        ("wimse://demo.example", stranger()),
    ] {
        let domain = Origin::parse(origin).unwrap();
        let entry = |id| vec![BundleKey { kid: kid(id), key: key.public().clone() }];
        let roots = vec![root(&domain, &key)];
        let bundle = Bundle::new(1, HOUR, roots, entry("key-1"), entry("wit-1")).unwrap();
        set.insert(domain, bundle);
    }
    set
}

pub(crate) fn anchors() -> TrustAnchors {
    TrustAnchors::from(&bundles())
}

/// The chain of a certificate for the workload's key, signed by `signer` in the name of
/// `demo.example`.
pub(crate) fn svid(id: &str, signer: &PrivateKey) -> Vec<Vec<u8>> {
    let domain = Origin::parse("spiffe://demo.example").unwrap();
    let (id, key, authority) = (WorkloadId::parse(id).unwrap(), workload(), root(&domain, signer));
    let order = x509_svid::Order {
        id: &id,
        spki_der: key.public().spki_der(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        authority: &authority,
        random: [7; 16],
        now: NOW,
        life: HOUR,
        epoch: 7,
        attributes: &spiffe::Attributes::default(),
    };
    let made = x509_svid::build(&order, SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    vec![certificate(made.into_inner(), signer)]
}

/// The root of `demo.example` with the key of `signer`.
pub(crate) fn anchor(signer: &PrivateKey) -> x509::Certificate {
    root(&Origin::parse("spiffe://demo.example").unwrap(), signer)
}

/// A certificate of these names for the workload's key, of `authority`, signed by `signer`.
pub(crate) fn named(
    issuer: x509::Name,
    subject: &str,
    dns: &str,
    signer: &PrivateKey,
    until: UnixTime,
) -> Vec<u8> {
    let subject = x509::Name::new(Some("Example"), Some(subject)).unwrap();
    let template = x509::Template {
        serial: x509::Serial::from_random([9; 16]),
        issuer,
        subject,
        not_before: NOW,
        not_after: until,
        spki_der: workload().public().spki_der().to_vec(),
        kind: x509::Kind::Leaf,
        uri_names: vec!["https://app.example/id".to_owned()],
        dns_names: vec![dns.to_owned()],
        ip_names: Vec::new(),
        key_usage: x509::KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![x509::Oid::CLIENT_AUTH],
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    };
    certificate(template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap(), signer)
}

/// The agent's WIT for the workload's key, signed by `signer`.
pub(crate) fn wit(signer: &PrivateKey) -> String {
    let (id, key) = (agent_id(), workload());
    let order = wit::Order {
        id: &id,
        key: key.public(),
        jti: "wit-1".to_owned(),
        now: NOW,
        life: HOUR,
        epoch: 7,
        attributes: &spiffe::Attributes::default(),
    };
    let input = wit::build(&order, Algorithm::Es256, &kid("wit-1")).unwrap().into_inner();
    sealed(input, signer)
}
