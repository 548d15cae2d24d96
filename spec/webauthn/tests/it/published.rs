//! §16: the specification's own examples. Ceremonies here want a verified user and no frames, which
//! not all of the examples have: each is refused at exactly that step, and its signature is verified
//! besides.

use serde_json::{Value, json};
use webauthn::{
    Attestation, AttestationError, AttestationObject, AttestationPolicy, AttestationRefused,
    Authentication, AuthenticationResponse, AuthenticatorDataError, Challenge, ClientData,
    CredentialKey, KeyError, Origin, Reason, Registration, RelyingParty, RpId, UserHandle,
};

use crate::{refused, registration_response};

struct Example {
    name: String,
    registration: Value,
    authentication: Value,
}

fn examples() -> Vec<Example> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/webauthn/level3.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = file["vectors"].as_array().unwrap();
    let one = |value: &Value| Example {
        name: value["name"].as_str().unwrap().to_owned(),
        registration: value["registration"].clone(),
        authentication: value["authentication"].clone(),
    };
    list.iter().map(one).collect()
}

fn example(name: &str) -> Example {
    examples().into_iter().find(|example| example.name == name).unwrap()
}

fn octets(of: &Value, name: &str) -> Vec<u8> {
    let text = of[name].as_str().unwrap();
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn challenge(of: &Value) -> Challenge {
    // One example has 128 bytes, which is no challenge of ours: its beginning is none of its.
    let mut bytes = octets(of, "challenge");
    bytes.truncate(Challenge::LENGTH);
    Challenge::of(bytes.try_into().unwrap())
}

fn relying_party() -> RelyingParty {
    let (id, origin) = (RpId::parse("example.org"), Origin::parse("https://example.org"));
    RelyingParty::new(id.unwrap(), "example", origin.unwrap()).unwrap()
}

fn base64url(bytes: &[u8]) -> String {
    // Longer than a credential id may be: written here.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let bits: Vec<u8> = bits.collect();
    let sextet = |bits: &[u8]| (0..6).fold(0, |n, at| n * 2 + bits.get(at).copied().unwrap_or(0));
    bits.chunks(6).map(|bits| char::from(alphabet[usize::from(sextet(bits))])).collect()
}

/// The registration, with attestation by others taken as a name.
fn register(of: &Value) -> Result<webauthn::Registered, webauthn::Refusal> {
    let id = base64url(&octets(of, "credential_id"));
    let response = registration_response(&json!({
        "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
        "response": {
            "clientDataJSON": base64url(&octets(of, "clientDataJSON")),
            "attestationObject": base64url(&octets(of, "attestationObject")),
            "transports": [],
        },
    }));
    let registration = Registration {
        relying_party: &relying_party(),
        challenge: &challenge(of),
        user: &UserHandle::of(&[1]).unwrap(),
        algorithms: &webauthn::Algorithm::ALL,
        attestation: AttestationPolicy::AnyUnbelieved,
    };
    registration.verify(&response, |_| false)
}

fn sign_in(example: &Example) -> Result<webauthn::Authenticated, webauthn::Refusal> {
    let record = register(&example.registration).unwrap().into_record();
    let of = &example.authentication;
    let response = json!({
        "id": record.id.to_base64url(), "rawId": record.id.to_base64url(),
        "type": "public-key", "clientExtensionResults": {},
        "response": {
            "clientDataJSON": base64url(&octets(of, "clientDataJSON")),
            "authenticatorData": base64url(&octets(of, "authenticatorData")),
            "signature": base64url(&octets(of, "signature")),
        },
    });
    let authentication = Authentication {
        relying_party: &relying_party(),
        challenge: &challenge(of),
        allowed: &[],
        user: Some(&record.user),
    };
    let response = AuthenticationResponse::parse(response.to_string().as_bytes()).unwrap();
    authentication.verify(&response, &record)
}

/// req: AUTHN-11 (part)
#[test]
fn s16_registrations_hold_or_are_refused_at_the_step_that_they_show() {
    let key = |name, number| {
        let error = AuthenticatorDataError::Key(KeyError::Algorithm { name, number });
        Err((13, Reason::AttestationObject(AttestationError::Data(error))))
    };
    let unbelieved = |format: &str| Ok(Attestation::Unbelieved { format: format.to_owned() });
    let expect = [
        ("none-es256", Err((16, Reason::UserNotVerified))),
        ("packed-self-es256", Ok(Attestation::SelfSigned)),
        ("none-es256-crossOrigin", Err((10, Reason::CrossOrigin))),
        ("none-es256-topOrigin", Err((10, Reason::CrossOrigin))),
        ("none-es256-long-credential-id", Err((16, Reason::UserNotVerified))),
        ("packed-es256", unbelieved("packed")),
        ("packed-es384", key("ES384", -35)),
        ("packed-es512", Err((8, Reason::Challenge))),
        ("packed-rs256", unbelieved("packed")),
        ("packed-eddsa", Err((16, Reason::UserNotVerified))),
        ("packed-ed448", key("Ed448", -53)),
        ("tpm-es256", unbelieved("tpm")),
        ("android-key-es256", unbelieved("android-key")),
        ("apple-es256", Err((16, Reason::UserNotVerified))),
        ("fido-u2f-es256", Err((16, Reason::UserNotVerified))),
    ];
    let all = examples();
    assert_eq!(all.len(), expect.len());
    for (example, (name, expect)) in all.iter().zip(expect) {
        assert_eq!(example.name, name);
        let found = register(&example.registration);
        match expect {
            Ok(attestation) => assert_eq!(found.unwrap().record().attestation, attestation),
            Err(expect) => assert_eq!(refused(found), expect, "{name}"),
        }
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s16_self_attestation_holds_for_what_was_signed_alone() {
    let of = example("packed-self-es256").registration;
    let object = octets(&of, "attestationObject");
    let client = ClientData::parse(&octets(&of, "clientDataJSON")).unwrap();
    let verify = |object: &AttestationObject, hash: &[u8; 32]| {
        let attested = object.authenticator_data().attested().unwrap().clone();
        object.verify(AttestationPolicy::NoneOrSelf, &attested, hash)
    };
    let read = AttestationObject::parse(&object).unwrap();
    assert_eq!(verify(&read, client.hash()), Ok(Attestation::SelfSigned));
    let mut hash = *client.hash();
    hash[0] ^= 1;
    assert_eq!(verify(&read, &hash), Err(AttestationRefused::Signature));
    // Each bit of the object: it reads no longer, or nobody signed it.
    for at in 0..object.len() {
        for bit in 0..8 {
            let mut twin = object.clone();
            twin[at] ^= 1 << bit;
            let Ok(read) = AttestationObject::parse(&twin) else { continue };
            let Some(_) = read.authenticator_data().attested() else { continue };
            let found = verify(&read, client.hash());
            assert!(found.is_err(), "bit {bit} of byte {at}: {found:?}");
        }
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s16_assertions_hold_or_are_refused_at_the_step_that_they_show() {
    for (name, expect) in [
        ("packed-self-es256", Some(17)),
        ("packed-es256", None),
        ("packed-rs256", Some(17)),
        ("tpm-es256", None),
        ("android-key-es256", Some(17)),
    ] {
        let found = sign_in(&example(name));
        match expect {
            None => assert!(found.is_ok(), "{name}: {found:?}"),
            Some(step) => assert_eq!(refused(found), (step, Reason::UserNotVerified), "{name}"),
        }
    }
    let mut twin = example("packed-es256");
    let signature = twin.authentication["signature"].as_str().unwrap();
    let flipped = if signature.ends_with('0') { "1" } else { "0" };
    let signature = format!("{}{flipped}", &signature[..signature.len() - 1]);
    twin.authentication["signature"] = json!(signature);
    assert_eq!(refused(sign_in(&twin)), (21, Reason::Signature));
}

/// req: AUTHN-11 (part)
#[test]
fn s16_signatures_of_each_algorithm_verify_and_their_twins_do_not() {
    let mut verified = 0;
    for example in examples() {
        let object = octets(&example.registration, "attestationObject");
        // Keys of other algorithms are refused above.
        let Ok(object) = AttestationObject::parse(&object) else { continue };
        let key = &object.authenticator_data().attested().unwrap().key;
        assert_eq!(CredentialKey::parse(key.as_bytes()).as_ref(), Ok(key));
        let of = &example.authentication;
        let client = ClientData::parse(&octets(of, "clientDataJSON")).unwrap();
        let message = [octets(of, "authenticatorData").as_slice(), client.hash()].concat();
        let signature = octets(of, "signature");
        assert_eq!(key.verify(&message, &signature), Ok(()), "{}", example.name);
        for at in [0, 32, 36, message.len() - 1] {
            let mut twin = message.clone();
            twin[at] ^= 1;
            assert!(key.verify(&twin, &signature).is_err(), "{} {at}", example.name);
        }
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut twin = signature.clone();
            twin[at] ^= 1;
            assert!(key.verify(&message, &twin).is_err(), "{} {at}", example.name);
        }
        verified += 1;
    }
    assert_eq!(verified, 12);
}
