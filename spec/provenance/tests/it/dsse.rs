//! The vectors of secure-systems-lab/dsse, and what they do not have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jose::PublicKey;
use provenance::{Envelope, EnvelopeError, from_hex, pae};
use serde_json::{Value, json};

use crate::{vector, with};

/// RFC 8410 §4: what stands before an Ed25519 key.
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

fn key(vectors: &Value, name: &str) -> PublicKey {
    let public = vectors["keys"][name]["public"].as_str().unwrap();
    let spki = [&ED25519, from_hex(public).unwrap().as_slice()].concat();
    PublicKey::from_spki_der(&spki).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// req: ATT-05 (part)
#[test]
fn dsse_protocol_published_vectors() {
    let vectors = vector("dsse/vectors.json");
    for one in vectors["vectors"].as_array().unwrap() {
        let id = one["id"].as_str().unwrap();
        let envelope = Envelope::parse(one["envelope"].to_string().as_bytes()).unwrap();
        let names = texts(&one["trustedKeys"]);
        let keys: Vec<PublicKey> = names.iter().map(|name| key(&vectors, name)).collect();
        let threshold = usize::try_from(one["threshold"].as_u64().unwrap()).unwrap();
        let types = texts(&one["supportedPayloadTypes"]);
        let opened = envelope.verify(&types, &keys, threshold);
        let expect = match id {
            "payload-type-swapped" => Some(EnvelopeError::Signature { found: 0, needed: 1 }),
            "empty-payload-type" => Some(EnvelopeError::Type { found: String::new() }),
            "threshold-two-one-key-twice" => Some(EnvelopeError::Signature { found: 1, needed: 2 }),
            _ => None,
        };
        assert_eq!(one["expect"] == "accept", expect.is_none(), "{id}");
        assert_eq!(opened.as_ref().err(), expect.as_ref(), "{id}");
        let Ok(opened) = opened else { continue };
        let expect = from_hex(one["pae"].as_str().unwrap()).unwrap();
        assert_eq!(pae(opened.payload_type(), opened.payload()), expect, "{id}");
        assert_eq!(opened.signers(), keys, "{id}");
        twin(&one["envelope"], id, &types, &keys, threshold);
    }
}

/// The same with another payload.
fn twin(envelope: &Value, id: &str, types: &[&str], keys: &[PublicKey], threshold: usize) {
    let other = with(envelope, "/payload", json!(STANDARD.encode("another payload")));
    let other = Envelope::parse(other.to_string().as_bytes()).unwrap();
    let refused = EnvelopeError::Signature { found: 0, needed: threshold };
    assert_eq!(other.verify(types, keys, threshold), Err(refused), "{id}");
}

#[test]
fn dsse_envelope_what_is_malformed_is_refused() {
    let good = json!({ "payload": "YQ==", "payloadType": "t", "signatures": [{ "sig": "AA==" }] });
    let check = |pointer: &str, new: Value, expect: &str| {
        let refused = Envelope::parse(with(&good, pointer, new).to_string().as_bytes());
        let refused = refused.map_err(|error| error.to_string());
        assert!(refused.clone().is_err_and(|why| why.contains(expect)), "{pointer}: {refused:?}");
    };
    Envelope::parse(good.to_string().as_bytes()).unwrap();
    check("/payload", json!("YQ"), "the payload is not base64");
    check("/payload", Value::Null, "missing field `payload`");
    check("/payloadType", json!("t".repeat(257)), "a payload type of 257 bytes");
    check("/signatures", json!([]), "0 signatures");
    check("/signatures", json!(vec![json!({ "sig": "AA==" }); 17]), "17 signatures");
    check("/signatures/0", json!({ "sig": "A" }), "the signature is not base64");
    check("/signatures/0", json!({ "sig": STANDARD.encode([0; 1_025]) }), "or too long");
    let twice = br#"{"payload":"","payload":"YQ==","payloadType":"t","signatures":[{"sig":""}]}"#;
    let refused = Envelope::parse(twice).unwrap_err().to_string();
    assert_eq!(refused, "member `payload` appears twice in one object");
}

/// A key that policy names twice counts once.
#[test]
fn dsse_protocol_a_key_counts_once_however_often_it_is_named() {
    let vectors = vector("dsse/vectors.json");
    let one = &vectors["vectors"][0];
    let envelope = Envelope::parse(one["envelope"].to_string().as_bytes()).unwrap();
    let key = key(&vectors, "A");
    let types = texts(&one["supportedPayloadTypes"]);
    let refused = EnvelopeError::Signature { found: 1, needed: 2 };
    assert_eq!(envelope.verify(&types, &[key.clone(), key], 2), Err(refused));
}

/// Without a key nothing is believed, whatever the threshold says.
#[test]
fn dsse_protocol_at_least_one_signature_is_needed() {
    let good = json!({ "payload": "YQ==", "payloadType": "t", "signatures": [{ "sig": "AA==" }] });
    let envelope = Envelope::parse(good.to_string().as_bytes()).unwrap();
    let refused = EnvelopeError::Signature { found: 0, needed: 1 };
    assert_eq!(envelope.verify(&["t"], &[], 0), Err(refused));
}
