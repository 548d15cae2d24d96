//! Bundles of sigstore/sigstore-conformance, and twins of them that are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provenance::sigstore::{Bundle, BundleError, Refused, TrustedRoot, TrustedRootError, Verified};
use provenance::{IN_TOTO, Provenance, Statement};
use serde_json::{Value, json};

use crate::{vector, with};

const REKOR1: &str = "sigstore/happy-path-intoto-in-dsse-v3.json";
const REKOR2: &str = "sigstore/rekor2-dsse-happy-path.json";
const ENTRY: &str = "/verificationMaterial/tlogEntries/0";
const STAMP: &str =
    "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
const A_TXT: &str = "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";

fn root_of(bundle: &str) -> Value {
    let instance = if bundle == REKOR2 { "staging" } else { "public-good" };
    vector(&format!("sigstore/{instance}-trusted-root.json"))
}

fn verify(bundle: &Value, root: &Value) -> Result<Verified, String> {
    let root = TrustedRoot::parse(root.to_string().as_bytes()).unwrap();
    let bundle = Bundle::parse(bundle.to_string().as_bytes()).map_err(|it| it.to_string())?;
    bundle.verify(&[IN_TOTO], &root).map_err(|error| error.to_string())
}

/// `value` with a bit of the base64 at `pointer` changed.
fn flipped(value: &Value, pointer: &str, at: usize) -> Value {
    let mut bytes = STANDARD.decode(value.pointer(pointer).unwrap().as_str().unwrap()).unwrap();
    bytes[at] ^= 1;
    with(value, pointer, json!(STANDARD.encode(bytes)))
}

/// req: ATT-05 (part)
#[test]
fn sigstore_published_bundles_verify_offline() {
    for (name, time, builder) in [
        (
            REKOR1,
            1_734_374_576,
            "https://github.com/loosebazooka/aa-test/.github/workflows/provenance.yaml@refs/heads/main",
        ),
        (
            REKOR2,
            1_778_700_213,
            "https://github.com/sigstore-conformance/rekor2-dsse-hashedrekord-regen",
        ),
    ] {
        let verified = verify(&vector(name), &root_of(name)).unwrap();
        let identity = verified.identity();
        assert_eq!(identity.issuer, "https://token.actions.githubusercontent.com", "{name}");
        assert_eq!(
            identity.subject,
            "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/\
             .github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main",
        );
        assert_eq!(verified.signed_at().seconds(), time, "{name}");
        let statement = Statement::read(verified.opened()).unwrap();
        assert_eq!(statement.subject_of("sha256", A_TXT).unwrap().name.as_deref(), Some("a.txt"));
        assert_eq!(Provenance::read(&statement).unwrap().builder, builder);
    }
}

/// Bundles of the same suite that must not verify, or that are of a kind that is not taken.
#[test]
fn sigstore_published_bundles_that_must_fail() {
    let public_good = root_of(REKOR1);
    for (name, expect) in [
        ("dsse-invalid-sig_fail", "0 of the trusted keys signed the payload, 1 are needed"),
        (
            "intoto-log-entry-mismatch_fail",
            "a bundle of type `application/vnd.dev.sigstore.bundle+json;version=0.2`, not \
             `application/vnd.dev.sigstore.bundle.v0.3+json`",
        ),
        (
            "rekor2-happy-path",
            "a bundle without an envelope: it signs a file, and says nothing about it",
        ),
    ] {
        let refused = verify(&vector(&format!("sigstore/{name}.json")), &public_good);
        assert_eq!(refused.err().as_deref(), Some(expect), "{name}");
    }
}

/// RFC 6962 §3.3: the promise in the certificate is of a log of certificates that the root names.
/// req: ATT-05 (part)
#[test]
fn rfc6962_3_3_a_certificate_is_promised_to_be_published() {
    let (good, root) = (vector(REKOR2), root_of(REKOR2));
    let check = |root: Value, expect: &str| {
        let refused = verify(&good, &root).map(|_| ()).unwrap_err();
        assert!(refused.contains(expect), "`{refused}` instead of `{expect}`");
    };
    verify(&good, &root).unwrap();
    let logs = root["ctlogs"].as_array().unwrap();
    // Which of them promised: without it nobody did.
    let promised = (0..logs.len())
        .filter(|at| {
            let mut others = logs.clone();
            others.remove(*at);
            verify(&good, &with(&root, "/ctlogs", json!(others))).is_err()
        })
        .collect::<Vec<_>>();
    let [at] = promised.as_slice() else { panic!("{promised:?}") };
    let one = |edit: &dyn Fn(&mut Value)| {
        let mut log = logs[*at].clone();
        edit(&mut log);
        with(&root, "/ctlogs", json!([log]))
    };
    verify(&good, &one(&|_| {})).unwrap();
    let other = logs.iter().enumerate().find(|(other, log)| {
        other != at && log["publicKey"]["keyDetails"] == "PKIX_ECDSA_P256_SHA_256"
    });
    let other = other.unwrap().1;
    check(with(&root, "/ctlogs", json!([other])), "by no log that is trusted");
    let key = &other["publicKey"]["rawBytes"];
    check(one(&|log| log["publicKey"]["rawBytes"] = key.clone()), "not of its log");
    let early = json!({ "start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z" });
    check(one(&|log| log["publicKey"]["validFor"] = early.clone()), "is not to be believed");
    let rsa = |log: &mut Value| log["publicKey"]["keyDetails"] = json!("PKCS1_RSA_PKCS1V5");
    check(one(&rsa), "by no log that is trusted");
    // A root that names none asks for none.
    verify(&good, &with(&root, "/ctlogs", json!([]))).unwrap();
}

/// One thing changed, and the check that notices.
#[test]
fn sigstore_twins_of_published_bundles_are_refused() {
    let at = |member: &str| format!("{ENTRY}/{member}");
    let check = |name: &str, twin: Value, expect: &str| {
        let refused = verify(&twin, &root_of(name)).map(|_| ()).unwrap_err();
        assert!(refused.contains(expect), "{name}: `{refused}` instead of `{expect}`");
    };
    for name in [REKOR1, REKOR2] {
        let good = vector(name);
        let set = |pointer: &str, new: Value| with(&good, pointer, new);
        check(name, flipped(&good, "/dsseEnvelope/payload", 9), "0 of the trusted keys");
        check(name, set("/dsseEnvelope/payloadType", json!("text/plain")), "of type `text/plain`");
        check(name, set(&at("inclusionProof"), Value::Null), "no proof that the entry is in");
        check(name, flipped(&good, &at("inclusionProof/hashes/3"), 0), "the proof gives root");
        check(name, flipped(&good, &at("inclusionProof/rootHash"), 0), "for another tree");
        check(name, set(&at("inclusionProof/treeSize"), json!("9")), "for another tree");
        check(name, set(&at("inclusionProof/logIndex"), json!("1")), "the proof");
        check(name, flipped(&good, &at("logId/keyId"), 0), "of a log that is not trusted");
        check(name, set(&at("kindVersion/kind"), json!("rekord")), "of kind `rekord`");
        check(name, flipped(&good, &at("canonicalizedBody"), 2), "does not read");
        let checkpoint = good.pointer(&at("inclusionProof/checkpoint/envelope")).unwrap();
        let checkpoint = checkpoint.as_str().unwrap();
        let other = checkpoint.replacen("\n4", "\n5", 1).replacen("\n3", "\n5", 1);
        check(name, set(&at("inclusionProof/checkpoint/envelope"), json!(other)), "not verify");
        let other = checkpoint.replacen("rekor.sig", "rekor.sag", 2);
        let expect =
            if name == REKOR2 { "a checkpoint of `log2025-alpha3.rekor.sag" } else { "not verify" };
        check(name, set(&at("inclusionProof/checkpoint/envelope"), json!(other)), expect);
    }
    let good = vector(REKOR1);
    let promise = at("inclusionPromise/signedEntryTimestamp");
    check(REKOR1, flipped(&good, &promise, 20), "did not promise");
    check(REKOR1, with(&good, &at("integratedTime"), json!("1734374577")), "did not promise");
    check(REKOR1, with(&good, &at("integratedTime"), Value::Null), "did not promise");
    check(REKOR1, with(&good, &at("logIndex"), json!("155690851")), "did not promise");
    check(REKOR1, with(&good, &at("inclusionPromise"), Value::Null), "nobody who is trusted");
    let good = vector(REKOR2);
    let stamps = "/verificationMaterial/timestampVerificationData";
    check(REKOR2, with(&good, stamps, Value::Null), "nobody who is trusted");
    let other = vector("sigstore/rekor2-happy-path.json").pointer(STAMP).unwrap().clone();
    check(REKOR2, with(&good, STAMP, other), "the time stamp is of another signature");
    let length = STANDARD.decode(good.pointer(STAMP).unwrap().as_str().unwrap()).unwrap().len();
    check(REKOR2, flipped(&good, STAMP, length - 4), "the time stamp: the signature");
    // The time inside, at 20:23 instead of 19:23.
    let mut stamp = STANDARD.decode(good.pointer(STAMP).unwrap().as_str().unwrap()).unwrap();
    let time = stamp.windows(15).position(|window| window == b"20260513192333Z").unwrap();
    stamp[time + 9] = b'8';
    check(
        REKOR2,
        with(&good, STAMP, json!(STANDARD.encode(&stamp))),
        "the time stamp: the document is not the one that was signed",
    );
}

/// What the trusted root says counts: who, and from when to when.
#[test]
fn sigstore_only_those_of_the_trusted_root_count_and_only_then() {
    let check = |name: &str, edit: &dyn Fn(Value) -> Value, expect: &str| {
        let refused = verify(&vector(name), &edit(root_of(name))).map(|_| ()).unwrap_err();
        assert!(refused.contains(expect), "{name}: `{refused}` instead of `{expect}`");
    };
    let early = json!({ "start": "2020-01-01T00:00:00Z", "end": "2020-02-01T00:00:00Z" });
    let late = json!({ "start": "2026-11-01T00:00:00Z" });
    for window in [early, late] {
        let on = |pointer: &'static str| {
            let window = window.clone();
            move |root: Value| with(&root, pointer, window.clone())
        };
        check(REKOR2, &on("/certificateAuthorities/0/validFor"), "no trusted authority issued");
        check(REKOR2, &on("/tlogs/3/publicKey/validFor"), "the log is not to be believed at");
        check(REKOR2, &on("/timestampAuthorities/0/validFor"), "for time stamps is not to be");
        check(REKOR1, &on("/certificateAuthorities/1/validFor"), "no trusted authority issued");
        check(REKOR1, &on("/tlogs/0/publicKey/validFor"), "the log is not to be believed at");
    }
    let none = |root: Value| with(&root, "/timestampAuthorities", json!([]));
    check(REKOR2, &none, "of an authority that is not trusted");
    let other = |root: Value| {
        with(&root, "/certificateAuthorities", root_of(REKOR1)["certificateAuthorities"].clone())
    };
    // The two instances' authorities have the same names, and other keys.
    check(REKOR2, &other, "not trusted: a signature in the chain is wrong");
    // The key of another log under the name of this one.
    let key = |root: Value| {
        let other = root["tlogs"][1]["publicKey"]["rawBytes"].clone();
        with(&root, "/tlogs/3/publicKey/rawBytes", other)
    };
    check(REKOR2, &key, "no key that is known here signed the note");
}

#[test]
fn sigstore_bundles_that_do_not_read() {
    let good = vector(REKOR2);
    let check = |pointer: &str, new: Value, expect: &str| {
        let refused = Bundle::parse(with(&good, pointer, new).to_string().as_bytes());
        let refused = refused.map(|_| ()).map_err(|error: BundleError| error.to_string());
        assert!(refused.clone().is_err_and(|why| why.contains(expect)), "{pointer}: {refused:?}");
    };
    let material = "/verificationMaterial";
    check("/mediaType", json!("application/json"), "a bundle of type `application/json`");
    check("/dsseEnvelope", Value::Null, "a bundle without an envelope");
    check(&format!("{material}/certificate"), Value::Null, "a bundle without a certificate");
    check(&format!("{material}/certificate/rawBytes"), json!("AAAA"), "the certificate does not");
    check(&format!("{material}/tlogEntries"), json!([]), "0 log entries");
    let entry = good.pointer(ENTRY).unwrap().clone();
    check(&format!("{material}/tlogEntries"), json!(vec![entry; 5]), "5 log entries");
    let stamp = json!({ "signedTimestamp": "AAAA" });
    let many = json!({ "rfc3161Timestamps": vec![stamp; 5] });
    check(&format!("{material}/timestampVerificationData"), many, "5 time stamps");
    check(&format!("{ENTRY}/logIndex"), json!("-1"), "not a decimal number");
    check(&format!("{ENTRY}/logIndex"), json!("01"), "not a decimal number");
    check(&format!("{ENTRY}/inclusionProof/hashes"), json!(vec!["AA=="; 64]), "of 64 hashes");
    check(&format!("{ENTRY}/inclusionProof/hashes/0"), json!("AA=="), "not base64 of 32 bytes");
    let long = STANDARD.encode(vec![0; 65_537]);
    check(&format!("{ENTRY}/canonicalizedBody"), json!(long), "a log entry of 65537 bytes");
    let sig = json!({ "sig": "AAAA" });
    check("/dsseEnvelope/signatures", json!([sig, sig]), "2 signatures in the envelope");
}

#[test]
fn sigstore_trusted_roots_that_do_not_read() {
    let good = root_of(REKOR2);
    let check = |pointer: &str, new: Value, expect: &str| {
        let refused = TrustedRoot::parse(with(&good, pointer, new).to_string().as_bytes());
        let refused = refused.map(|_| ()).map_err(|error: TrustedRootError| error.to_string());
        assert!(refused.clone().is_err_and(|why| why.contains(expect)), "{pointer}: {refused:?}");
    };
    check("/mediaType", json!("application/json"), "a trusted root of type");
    check("/tlogs", json!([]), "no certificate authority, or no log");
    check("/certificateAuthorities", json!([]), "no certificate authority, or no log");
    check("/tlogs", json!(vec![good["tlogs"][0].clone(); 33]), "more than 32 of one kind");
    check("/tlogs/0/publicKey/validFor/start", json!("today"), "`today` is no instant");
    let bytes = "/certificateAuthorities/0/certChain/certificates/0/rawBytes";
    check(bytes, json!("AAAA"), "a certificate does not read");
    // A log whose key is of another kind is passed over, and vouches for nothing.
    let twin = with(&good, "/tlogs/3/publicKey/keyDetails", json!("PKIX_ED25519_PH"));
    let refused = verify(&vector(REKOR2), &twin).map(|_| ()).unwrap_err();
    assert_eq!(refused, Refused::UnknownLog.to_string());
}
