//! §7.1, step by step.

use testkit::passkeys::{AT, BE, BS, ED, Made, Signs, Statement, UP, UV};
use webauthn::{
    Algorithm, Attestation, AttestationError, AttestationPolicy, AttestationRefused,
    AuthenticatorDataError, ClientDataError, CredentialId, KeyError, Malformed, NotACredentialId,
    Origin, Reason,
};

use crate::{ORIGIN, Site, refused, registration_response};

/// What is refused after one thing was changed.
fn change(change: impl FnOnce(&mut Made)) -> (u8, Reason) {
    let site = Site::new();
    let (passkey, mut made) = site.make(Signs::Es256);
    change(&mut made);
    refused(site.register(&passkey, &made))
}

/// req: AUTHN-11 (part)
#[test]
fn s7_1_a_passkey_of_each_algorithm_is_registered() {
    let site = Site::new();
    let kinds = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
    for (signs, algorithm) in Signs::ALL.into_iter().zip(kinds) {
        for (statement, attestation) in [
            (Statement::None, Attestation::None),
            (Statement::PackedSelf(signs.cose()), Attestation::SelfSigned),
        ] {
            let (passkey, mut made) = site.make(signs);
            made.statement = statement;
            let registered = site.register(&passkey, &made).unwrap();
            let record = registered.record();
            assert_eq!(record.key.algorithm(), algorithm);
            assert_eq!(record.attestation, attestation);
            assert_eq!(record.id.as_bytes(), passkey.id());
            assert_eq!(&record.user, site.user.handle());
            assert_eq!((record.sign_count, record.is_backup_eligible), (0, true));
            assert!(record.is_backed_up);
            assert_eq!(record.transports, ["hybrid", "internal"]);
            assert_eq!(record.aaguid.to_string(), "74657374-6b69-7420-7061-73736b65792e");
        }
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s7_1_each_step_on_client_data_refuses() {
    let origin = Origin::parse(ORIGIN).unwrap();
    for (from, to, step, reason) in [
        ("webauthn.create", "webauthn.get", 7, Reason::Kind { found: "webauthn.get".to_owned() }),
        ("\"BwcH", "\"CwcH", 8, Reason::Challenge),
        ("BwcHBwc\"", "BwcHBwc=\"", 8, Reason::Challenge),
        ("\"crossOrigin\":false", "\"crossOrigin\":true", 10, Reason::CrossOrigin),
        (
            "\"crossOrigin\":false",
            "\"topOrigin\":\"https://example.com\"",
            11,
            Reason::TopOrigin { found: "https://example.com".to_owned() },
        ),
        (
            "\"type\":\"webauthn.create\",",
            "",
            6,
            Reason::ClientData(ClientDataError::Absent { name: "type" }),
        ),
        (
            "\"crossOrigin\":false",
            "\"crossOrigin\":\"false\"",
            6,
            Reason::ClientData(ClientDataError::Member { name: "crossOrigin" }),
        ),
    ] {
        let found = change(|made| {
            assert!(made.client_data.contains(from), "{}", made.client_data);
            made.client_data = made.client_data.replace(from, to);
        });
        assert_eq!(found, (step, reason), "{from}");
    }
    // Another scheme, host, port; a sibling, a parent; the same with a path.
    for other in [
        "http://login.example.org:8443",
        "https://other.example.org:8443",
        "https://example.org:8443",
        "https://login.example.org",
        "https://login.example.org:8444",
        "https://login.example.org:8443/",
        "https://LOGIN.example.org:8443",
        "https://login.example.org.evil.example:8443",
        "null",
    ] {
        let found = change(|made| made.client_data = made.client_data.replace(ORIGIN, other));
        let reason = Reason::Origin { found: other.to_owned(), expected: origin.clone() };
        assert_eq!(found, (9, reason));
    }
}

#[test]
fn s7_1_6_client_data_with_a_name_twice_is_refused() {
    for twice in ["\"origin\"", "\"\\u006frigin\""] {
        let (step, reason) = change(|made| {
            let more = format!("{{{twice}:\"https://evil.example\",");
            made.client_data = made.client_data.replacen('{', &more, 1);
        });
        assert_eq!(step, 6);
        let text = reason.to_string();
        assert_eq!(text, "client data: member `origin` appears twice in one object");
    }
}

#[test]
fn s7_1_5_a_byte_order_mark_and_unknown_members_are_passed_over() {
    let site = Site::new();
    let (passkey, mut made) = site.make(Signs::Es256);
    made.statement = Statement::PackedSelf(-7);
    made.client_data = made.client_data.replacen('{', "\u{feff}{\"later\":{\"a\":[1]},", 1);
    assert!(site.register(&passkey, &made).is_ok());
}

/// req: AUTHN-11 (part)
#[test]
fn s7_1_each_step_on_authenticator_data_refuses() {
    let all = UP | UV | BE | BS | AT;
    for (flags, step, reason) in [
        (all & !UP, 15, Reason::UserNotPresent),
        (all & !UV, 16, Reason::UserNotVerified),
        (all & !BE, 17, Reason::BackupState),
        (all & !AT, 13, Reason::NoCredential),
    ] {
        assert_eq!(change(|made| made.flags = flags), (step, reason), "{flags:08b}");
    }
    assert_eq!(change(|made| made.rp_id_hash[31] ^= 1), (14, Reason::RpIdHash));
    let object = |error| (13, Reason::AttestationObject(AttestationError::Data(error)));
    let reserved = object(AuthenticatorDataError::Reserved);
    for bit in [1 << 1, 1 << 5] {
        assert_eq!(change(|made| made.flags |= bit), reserved);
    }
    let cut = AuthenticatorDataError::Malformed(Malformed::Cut);
    assert_eq!(change(|made| made.flags |= ED), object(cut));
    let more = AuthenticatorDataError::Malformed(Malformed::LeftOver { bytes: 1 });
    assert_eq!(change(|made| made.extensions = vec![0xa0]), object(more));
    let no_map = || vec![0x80];
    let found = change(|made| (made.flags, made.extensions) = (all | ED, no_map()));
    assert_eq!(found, object(AuthenticatorDataError::Extensions));
    for bytes in [0, 1_024] {
        let found = change(|made| made.id = vec![9; bytes]);
        let error = AuthenticatorDataError::CredentialId(NotACredentialId { bytes });
        assert_eq!(found, object(error));
    }
}

#[test]
fn s7_1_18_a_single_device_credential_and_its_extensions_are_taken() {
    let site = Site::new();
    let (passkey, mut made) = site.make(Signs::EdDsa);
    // {"credProtect": 3}
    made.flags = UP | UV | AT | ED;
    made.extensions = [&[0xa1, 0x6b], &b"credProtect"[..], &[3]].concat();
    let record = site.register(&passkey, &made).unwrap().into_record();
    assert!(!record.is_backup_eligible);
    assert!(!record.is_backed_up);
}

/// req: AUTHN-11 (part)
#[test]
fn s7_1_20_only_what_was_offered_is_registered() {
    let site = Site::new();
    let (passkey, made) = site.make(Signs::Rs256);
    let mut registration = site.registration();
    registration.algorithms = &[Algorithm::Es256, Algorithm::EdDsa];
    let response = registration_response(&made.response(&passkey));
    let found = refused(registration.verify(&response, |_| false));
    assert_eq!(found, (20, Reason::Algorithm { found: Algorithm::Rs256 }));
    // ES384, by its name.
    let (step, reason) = change(|made| {
        let at = made.key.windows(2).position(|pair| pair == [3, 0x26]).unwrap();
        made.key.splice(at + 1..at + 2, [0x38, 34]);
    });
    let error = KeyError::Algorithm { name: "ES384", number: -35 };
    let error = AttestationError::Data(AuthenticatorDataError::Key(error));
    assert_eq!((step, reason), (13, Reason::AttestationObject(error)));
}

/// req: AUTHN-11 (part)
#[test]
fn s8_2_self_attestation_is_by_the_credential_over_this_ceremony() {
    let site = Site::new();
    for signs in Signs::ALL {
        let (passkey, mut made) = site.make(signs);
        made.statement = Statement::PackedSelf(signs.cose());
        let (other, _) = site.make(signs);
        let found = refused(site.register(&other, &made));
        assert_eq!(found, (22, Reason::Attestation(AttestationRefused::Signature)), "{signs:?}");
        let wrong = if signs == Signs::Es256 { -8 } else { -7 };
        made.statement = Statement::PackedSelf(wrong);
        let expected = signs.cose();
        let error = AttestationRefused::Algorithm { found: wrong, expected };
        let found = refused(site.register(&passkey, &made));
        assert_eq!(found, (22, Reason::Attestation(error)), "{signs:?}");
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s7_1_24_what_others_attest_is_refused_or_a_name() {
    let site = Site::new();
    // {"alg": -7, "sig": h'00', "x5c": [h'00']}
    let head = [&[0xa3, 0x63], &b"alg"[..], &[0x26, 0x63], b"sig", &[0x41, 0]].concat();
    let certified = [&head, &[0x63][..], b"x5c", &[0x81, 0x41, 0]].concat();
    for (format, statement) in [("packed", certified), ("tpm", vec![0xa0]), ("new", vec![0xa0])] {
        let (passkey, mut made) = site.make(Signs::Es256);
        made.statement = Statement::Other(format, statement);
        let response = registration_response(&made.response(&passkey));
        let mut registration = site.registration();
        let error = AttestationRefused::Format { format: format.to_owned() };
        let found = refused(registration.verify(&response, |_| false));
        assert_eq!(found, (24, Reason::Attestation(error)));
        registration.attestation = AttestationPolicy::AnyUnbelieved;
        let registered = registration.verify(&response, |_| false).unwrap();
        let unbelieved = Attestation::Unbelieved { format: format.to_owned() };
        assert_eq!(registered.record().attestation, unbelieved);
    }
    for (format, statement, error) in [
        ("none", vec![0xa1, 0x01, 0x01], AttestationError::Statement { format: "none" }),
        ("packed", vec![0xa0], AttestationError::Statement { format: "packed" }),
        ("packed", head_of_two_and_text(), AttestationError::Statement { format: "packed" }),
        ("a b", vec![0xa0], AttestationError::Format),
        ("none", vec![0x80], AttestationError::Members),
    ] {
        let found = change(|made| made.statement = Statement::Other(format, statement));
        assert_eq!(found, (13, Reason::AttestationObject(error)), "{format}");
    }
}

/// `{"alg": -7, "sig": "a"}`
fn head_of_two_and_text() -> Vec<u8> {
    [&[0xa2, 0x63], &b"alg"[..], &[0x26, 0x63], b"sig", &[0x61, b'a']].concat()
}

/// req: AUTHN-11 (part)
#[test]
fn s7_1_26_a_credential_is_registered_once() {
    let site = Site::new();
    let (passkey, made) = site.make(Signs::Es256);
    let response = registration_response(&made.response(&passkey));
    let id = CredentialId::of(passkey.id()).unwrap();
    let found = refused(site.registration().verify(&response, |asked| *asked == id));
    assert_eq!(found, (26, Reason::AlreadyRegistered { id: id.clone() }));
    let named = CredentialId::of(b"another").unwrap();
    let found = change(|made| made.named = b"another".to_vec());
    assert_eq!(found.0, 27);
    assert!(matches!(found.1, Reason::CredentialIdsDiffer { named: n, .. } if n == named));
}
