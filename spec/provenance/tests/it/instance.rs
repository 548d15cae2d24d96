//! A Sigstore instance of our own, for what published bundles do not have: certificates that must
//! not count, entries that are about something else.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provenance::sigstore::{Bundle, Identity, TrustedRoot};
use provenance::{IN_TOTO, pae, sha256, to_hex};
use serde_json::{Value, json};
use time::{Span, UnixTime};
use tlog::{Checkpoint, hash_leaf};
use x509::{
    Certificate, CertificateDer, Extension, KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm,
    Template,
};

const NOW: UnixTime = UnixTime::from_seconds(1_780_000_000);
const MINUTES: Span = Span::from_seconds(600);
const YEARS: Span = Span::from_seconds(3 * 365 * 86_400);
const PAYLOAD: &[u8] = b"{}";

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn spki(&self) -> Vec<u8> {
        self.0.public_key().as_der().unwrap().as_ref().to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

fn issue(template: &Template, issuer: &Key) -> Certificate {
    let to_be_signed = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = issuer.sign(to_be_signed.bytes());
    to_be_signed.attach(&signature).parse().unwrap()
}

/// The DER of a `UTF8String`.
fn utf8(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    let header = if length < 0x80 { vec![0x0c, length] } else { vec![0x0c, 0x81, length] };
    [header.as_slice(), text.as_bytes()].concat()
}

fn extension(oid: &str, der: &[u8]) -> Extension {
    Extension { oid: Oid::parse(oid).unwrap(), critical: false, der: der.to_vec() }
}

/// What a case changes.
struct Case {
    leaf: Template,
    /// Signed into the log in place of the bundle's.
    logged_signature: Option<Vec<u8>>,
    logged_certificate: bool,
    logged_payload: &'static [u8],
    /// Stamped by our own authority for time stamps, instead of promised by the log.
    stamp: Option<Stamp>,
    kind: &'static str,
    version: &'static str,
    body_kind: &'static str,
}

/// The certificate of whoever signs.
fn leaf(authority: &Name, signer: &Key) -> Template {
    Template {
        serial: Serial::from_random([7; 16]),
        issuer: authority.clone(),
        subject: Name::empty(),
        not_before: NOW.minus(MINUTES),
        not_after: NOW.plus(MINUTES),
        spki_der: signer.spki(),
        kind: Kind::Leaf,
        uri_names: vec!["https://ci.example/build".to_owned()],
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::CODE_SIGNING],
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: vec![
            extension("1.3.6.1.4.1.57264.1.1", b"https://idp.example"),
            extension("1.3.6.1.4.1.57264.1.8", &utf8("https://idp.example")),
        ],
    }
}

/// A bundle of a fresh instance, and its trusted root.
fn bundle(edit: impl FnOnce(&mut Case)) -> (Bundle, TrustedRoot) {
    let (authority, log, signer) = (Key::new(), Key::new(), Key::new());
    let name = Name::new(Some("instance"), Some("root")).unwrap();
    let leaf = leaf(&name, &signer);
    let root = Template {
        subject: name,
        not_before: NOW.minus(YEARS),
        not_after: NOW.plus(YEARS),
        spki_der: authority.spki(),
        kind: Kind::Authority { path_len: Some(0) },
        uri_names: Vec::new(),
        key_usage: KeyUsage::KEY_CERT_SIGN,
        extended_key_usages: Vec::new(),
        extra: Vec::new(),
        ..leaf.clone()
    };
    let root = issue(&root, &authority);
    let mut case = Case {
        leaf,
        logged_signature: None,
        logged_certificate: true,
        logged_payload: PAYLOAD,
        stamp: None,
        kind: "dsse",
        version: "0.0.1",
        body_kind: "dsse",
    };
    edit(&mut case);
    let leaf = issue(&case.leaf, &authority);
    let signature = signer.sign(&pae(IN_TOTO, PAYLOAD));
    let logged = if case.logged_certificate { &leaf } else { &root };
    let body = body(&case, logged, case.logged_signature.as_ref().unwrap_or(&signature));
    let entry = entry(&case, body.to_string().as_bytes(), &log);
    let (stamper, stamps) = match &case.stamp {
        None => (None, json!([])),
        Some(stamp) => {
            let (certificate, token) = stamp.make(&root, &authority, &signature);
            let token = json!({ "signedTimestamp": STANDARD.encode(token) });
            (Some(certificate), json!([token]))
        }
    };
    let mut entry = entry;
    if case.stamp.is_some() {
        entry.as_object_mut().unwrap().remove("inclusionPromise");
    }
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": { "rawBytes": STANDARD.encode(leaf.der()) },
            "tlogEntries": [entry],
            "timestampVerificationData": { "rfc3161Timestamps": stamps },
        },
        "dsseEnvelope": {
            "payload": STANDARD.encode(PAYLOAD), "payloadType": IN_TOTO,
            "signatures": [{ "sig": STANDARD.encode(&signature) }],
        },
    });
    let root = trusted_root(&root, stamper.as_ref(), &log);
    (Bundle::parse(bundle.to_string().as_bytes()).unwrap(), root)
}

fn body(case: &Case, logged: &Certificate, signature: &[u8]) -> Value {
    let pem = CertificateDer::from_der(logged.der().to_vec()).unwrap().to_pem();
    match case.version {
        "0.0.1" => json!({
            "apiVersion": "0.0.1", "kind": case.body_kind,
            "spec": {
                "envelopeHash": { "algorithm": "sha256", "value": to_hex(&[0; 32]) },
                "payloadHash": { "algorithm": "sha256", "value": to_hex(&sha256(case.logged_payload)) },
                "signatures": [{
                    "signature": STANDARD.encode(signature), "verifier": STANDARD.encode(pem),
                }],
            },
        }),
        _ => json!({
            "apiVersion": "0.0.2", "kind": case.body_kind,
            "spec": { "dsseV002": {
                "payloadHash": {
                    "algorithm": "SHA2_256", "digest": STANDARD.encode(sha256(case.logged_payload)),
                },
                "signatures": [{
                    "content": STANDARD.encode(signature),
                    "verifier": { "x509Certificate": { "rawBytes": STANDARD.encode(logged.der()) } },
                }],
            } },
        }),
    }
}

/// An entry alone in its log.
fn entry(case: &Case, body: &[u8], log: &Key) -> Value {
    let id = sha256(&log.spki());
    let leaf = hash_leaf(body);
    let text = Checkpoint::new("log.example - 7", 1, leaf).unwrap().text().unwrap();
    let mut line = id[..4].to_vec();
    line.extend(log.sign(text.as_bytes()));
    let checkpoint = format!("{text}\n\u{2014} log.example {}\n", STANDARD.encode(line));
    let promised = format!(
        r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":0}}"#,
        STANDARD.encode(body),
        NOW.seconds(),
        to_hex(&id)
    );
    json!({
        "logIndex": "0", "logId": { "keyId": STANDARD.encode(id) },
        "kindVersion": { "kind": case.kind, "version": case.version },
        "integratedTime": NOW.seconds().to_string(),
        "inclusionPromise": { "signedEntryTimestamp": STANDARD.encode(log.sign(promised.as_bytes())) },
        "inclusionProof": {
            "treeSize": "1", "rootHash": leaf.to_string(), "hashes": [],
            "checkpoint": { "envelope": checkpoint },
        },
        "canonicalizedBody": STANDARD.encode(body),
    })
}

fn trusted_root(root: &Certificate, stamper: Option<&Certificate>, log: &Key) -> TrustedRoot {
    let stampers: Vec<Value> = stamper
        .map(|stamper| {
            let chain =
                [stamper, root].map(|one| json!({ "rawBytes": STANDARD.encode(one.der()) }));
            json!({ "certChain": { "certificates": chain } })
        })
        .into_iter()
        .collect();
    let text = json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [{
            "baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(log.spki()), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            },
            "logId": { "keyId": STANDARD.encode(sha256(&log.spki())) },
        }],
        "certificateAuthorities": [{
            "certChain": { "certificates": [{ "rawBytes": STANDARD.encode(root.der()) }] },
        }],
        "timestampAuthorities": stampers,
    });
    TrustedRoot::parse(text.to_string().as_bytes()).unwrap()
}

/// What an authority for time stamps does wrong, if anything.
struct Stamp {
    status: u8,
    names_itself: bool,
    usages: &'static [&'static [u8]],
    is_critical: bool,
    not_after: UnixTime,
}

/// `id-kp-timeStamping` and `id-kp-codeSigning`.
const TIME_STAMPING: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];
const CODE_SIGNING: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3];
const SHA256: &[u8] = &[0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const STAMPED: &[u8] = &[6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x10, 1, 4];

/// An element of DER, of less than 65,536 bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let [high, low] = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let header = match (high, low) {
        (0, short @ 0..=0x7f) => vec![tag, short],
        (0, long) => vec![tag, 0x81, long],
        _ => vec![tag, 0x82, high, low],
    };
    [header, contents].concat()
}

impl Stamp {
    const GOOD: Self = Self {
        status: 0,
        names_itself: true,
        usages: &[TIME_STAMPING],
        is_critical: true,
        not_after: NOW.plus(MINUTES),
    };

    /// The authority's certificate, and its answer about a signature.
    fn make(&self, root: &Certificate, issuer: &Key, stamped: &[u8]) -> (Certificate, Vec<u8>) {
        let key = Key::new();
        let usages = Extension {
            oid: Oid::EXTENDED_KEY_USAGE,
            critical: self.is_critical,
            der: tlv(0x30, self.usages),
        };
        let template = Template {
            serial: Serial::from_random([9; 16]),
            issuer: root.subject().clone(),
            subject: Name::new(Some("instance"), Some("stamps")).unwrap(),
            not_before: NOW.minus(MINUTES),
            not_after: self.not_after,
            spki_der: key.spki(),
            kind: Kind::Leaf,
            uri_names: Vec::new(),
            dns_names: Vec::new(),
            ip_names: Vec::new(),
            key_usage: KeyUsage::DIGITAL_SIGNATURE,
            extended_key_usages: Vec::new(),
            authority_key_id: None,
            permitted_dns_names: Vec::new(),
            extra: vec![usages],
        };
        let certificate = issue(&template, issuer);
        let token = self.token(&certificate, &key, stamped);
        let status = tlv(0x30, &[&[2, 1, self.status]]);
        (certificate, tlv(0x30, &[&status, &token]))
    }

    fn token(&self, certificate: &Certificate, key: &Key, stamped: &[u8]) -> Vec<u8> {
        // NOW is 2026-05-28T20:26:40Z.
        let info = tlv(
            0x30,
            &[
                &[2, 1, 1],
                &[6, 2, 0x2a, 3],
                &tlv(0x30, &[SHA256, &tlv(4, &[&sha256(stamped)])]),
                &[2, 1, 7],
                &tlv(0x18, &[b"20260528202640Z"]),
            ],
        );
        let own = if self.names_itself { certificate.fingerprint_sha256() } else { [7; 32] };
        let named = tlv(0x30, &[&tlv(0x30, &[&tlv(0x30, &[&tlv(4, &[&own])])])]);
        let attribute = |oid: &[u8], value: &[u8]| tlv(0x30, &[oid, &tlv(0x31, &[value])]);
        let pkcs9 = |last: &[u8]| {
            let contents = [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9], last].concat();
            tlv(6, &[&contents])
        };
        let attributes = [
            attribute(&pkcs9(&[3]), STAMPED),
            attribute(&pkcs9(&[4]), &tlv(4, &[&sha256(&info)])),
            attribute(&pkcs9(&[0x10, 2, 0x2f]), &named),
        ]
        .concat();
        let signature = key.sign(&tlv(0x31, &[&attributes]));
        let ecdsa = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let serial = tlv(2, &[certificate.serial().as_bytes()]);
        let signer = tlv(
            0x30,
            &[
                &[2, 1, 1],
                &tlv(0x30, &[certificate.issuer().der(), &serial]),
                SHA256,
                &tlv(0xa0, &[&attributes]),
                &ecdsa,
                &tlv(4, &[&signature]),
            ],
        );
        let content = tlv(0x30, &[STAMPED, &tlv(0xa0, &[&tlv(4, &[&info])])]);
        let signed =
            tlv(0x30, &[&[2, 1, 3], &tlv(0x31, &[SHA256]), &content, &tlv(0x31, &[&signer])]);
        let signed_data = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
        tlv(0x30, &[&signed_data, &tlv(0xa0, &[&signed])])
    }
}

fn check(edit: impl FnOnce(&mut Case), expect: Result<(), &str>) {
    let (bundle, root) = bundle(edit);
    let verified = bundle.verify(&[IN_TOTO], &root);
    let expected = Identity {
        issuer: "https://idp.example".to_owned(),
        subject: "https://ci.example/build".to_owned(),
    };
    match (&verified, expect) {
        (Ok(verified), Ok(())) => assert_eq!(*verified.identity(), expected),
        (Err(refused), Err(expect)) => {
            assert!(refused.to_string().contains(expect), "`{refused}` instead of `{expect}`");
        }
        (found, expect) => panic!("{found:?} instead of {expect:?}"),
    }
}

/// req: ATT-05 (part)
#[test]
fn sigstore_the_certificate_must_be_for_code_and_valid_when_it_signed() {
    check(|_| {}, Ok(()));
    check(|it| it.leaf.not_after = NOW.minus(Span::from_seconds(1)), Err("expired at"));
    check(|it| it.leaf.not_before = NOW.plus(Span::from_seconds(1)), Err("not valid before"));
    let purpose = Err("may not be used for this purpose");
    check(|it| it.leaf.extended_key_usages = vec![Oid::CLIENT_AUTH], purpose);
    check(|it| it.leaf.extended_key_usages.clear(), purpose);
}

#[test]
fn sigstore_the_certificate_names_one_holder_and_one_issuer() {
    let issuer = Err("does not say by one name who identified");
    check(|it| it.leaf.uri_names.push("https://other.example".to_owned()), Err("2 names in"));
    let nameless = |it: &mut Case| {
        it.leaf.uri_names.clear();
        it.leaf.subject = it.leaf.issuer.clone();
    };
    check(nameless, Err("0 names in"));
    check(|it| it.leaf.extra.clear(), issuer);
    check(|it| it.leaf.extra.truncate(1), Ok(()));
    check(|it| drop(it.leaf.extra.remove(0)), Ok(()));
    check(|it| it.leaf.extra[1].der = utf8("https://other.example"), issuer);
    check(|it| it.leaf.extra[1].der = b"https://idp.example".to_vec(), issuer);
}

#[test]
fn sigstore_the_entry_must_be_about_this_bundle() {
    check(|it| it.logged_signature = Some(vec![1]), Err("another signature than the bundle"));
    check(|it| it.logged_certificate = false, Err("another certificate than the bundle"));
    check(|it| it.logged_payload = b"[]", Err("another hash than the bundle"));
    check(|it| it.body_kind = "intoto", Err("its kind is another inside"));
    let v2 = |it: &mut Case| it.version = "0.0.2";
    check(v2, Ok(()));
    check(
        |it| {
            v2(it);
            it.logged_certificate = false;
        },
        Err("another certificate than the bundle"),
    );
    check(|it| it.kind = "intoto", Err("an entry of kind `intoto` 0.0.1"));
}

/// req: ATT-05 (part)
#[test]
fn rfc3161_a_time_stamp_counts_of_an_authority_for_nothing_else() {
    let with = |stamp: Stamp| move |it: &mut Case| it.stamp = Some(stamp);
    check(with(Stamp::GOOD), Ok(()));
    check(with(Stamp { status: 1, ..Stamp::GOOD }), Ok(()));
    // RFC 3161 §2.4.2: rejection (2).
    check(with(Stamp { status: 2, ..Stamp::GOOD }), Err("granted no time stamp"));
    let unnamed = Stamp { names_itself: false, ..Stamp::GOOD };
    check(with(unnamed), Err("does not name the certificate of its signer"));
    let purpose = Err("may not be used for this purpose");
    check(with(Stamp { is_critical: false, ..Stamp::GOOD }), purpose);
    check(with(Stamp { usages: &[CODE_SIGNING], ..Stamp::GOOD }), purpose);
    check(with(Stamp { usages: &[TIME_STAMPING, CODE_SIGNING], ..Stamp::GOOD }), purpose);
    let ended = NOW.minus(Span::from_seconds(1));
    check(with(Stamp { not_after: ended, ..Stamp::GOOD }), Err("for time stamps: expired at"));
}
