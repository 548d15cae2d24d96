//! §7.2, step by step.

use serde_json::Value;
use testkit::passkeys::{AT, BE, BS, Passkey, Signs, UP, UV, Used};
use webauthn::{
    Authenticated, Authentication, AuthenticationResponse, AuthenticatorDataError, BackupChange,
    ClientDataError, CredentialId, CredentialRecord, Malformed, Origin, Reason, Refusal,
    RequestOptions, UserHandle,
};

use crate::{ORIGIN, Site, refused};

fn request_options(site: &Site) -> Value {
    let options = RequestOptions {
        relying_party: &site.relying_party,
        challenge: &site.challenge,
        allow: &[],
        hints: &[],
    };
    options.to_json()
}

fn authentication(site: &Site) -> Authentication<'_> {
    Authentication {
        relying_party: &site.relying_party,
        challenge: &site.challenge,
        allowed: &[],
        user: None,
    }
}

fn parsed(used: &Used, signer: &Passkey) -> AuthenticationResponse {
    AuthenticationResponse::parse(used.response(signer).to_string().as_bytes()).unwrap()
}

fn verify(
    site: &Site,
    record: &CredentialRecord,
    used: &Used,
    signer: &Passkey,
) -> Result<Authenticated, Refusal> {
    authentication(site).verify(&parsed(used, signer), record)
}

/// What is refused after one thing was changed, although the authenticator signed it so.
fn change(change: impl FnOnce(&mut Used)) -> (u8, Reason) {
    let site = Site::new();
    let (mut passkey, record) = site.registered(Signs::Es256);
    let mut used = passkey.sign_in(&request_options(&site), ORIGIN);
    change(&mut used);
    refused(verify(&site, &record, &used, &passkey))
}

/// req: AUTHN-11 (part)
#[test]
fn s7_2_a_passkey_of_each_algorithm_signs_in() {
    let site = Site::new();
    for signs in Signs::ALL {
        let (mut passkey, mut record) = site.registered(signs);
        for count in 1..=3 {
            let used = passkey.sign_in(&request_options(&site), ORIGIN);
            let signed_in = verify(&site, &record, &used, &passkey).unwrap();
            assert_eq!(signed_in.user(), site.user.handle(), "{signs:?}");
            assert_eq!(signed_in.backup(), BackupChange::None);
            assert_eq!(signed_in.record().sign_count, count);
            record = signed_in.record().clone();
        }
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s7_2_each_step_on_client_data_refuses() {
    for (from, to, step, reason) in [
        ("webauthn.get", "webauthn.create", 10, Reason::Kind { found: "webauthn.create".into() }),
        ("\"BwcH", "\"CwcH", 11, Reason::Challenge),
        (
            "https://login",
            "https://evil",
            12,
            Reason::Origin {
                found: ORIGIN.replace("login", "evil"),
                expected: Origin::parse(ORIGIN).unwrap(),
            },
        ),
        (":false", ":true", 13, Reason::CrossOrigin),
        (
            "\"crossOrigin\":false",
            "\"topOrigin\":\"https://a.example\"",
            14,
            Reason::TopOrigin { found: "https://a.example".to_owned() },
        ),
        (
            "\"origin\":",
            "\"other\":",
            9,
            Reason::ClientData(ClientDataError::Absent { name: "origin" }),
        ),
    ] {
        let found = change(|used| {
            assert!(used.client_data.contains(from), "{}", used.client_data);
            used.client_data = used.client_data.replace(from, to);
        });
        assert_eq!(found, (step, reason), "{from}");
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s7_2_each_step_on_authenticator_data_refuses() {
    let all = UP | UV | BE | BS;
    for (flags, step, reason) in [
        (all & !UP, 16, Reason::UserNotPresent),
        (all & !UV, 17, Reason::UserNotVerified),
        (all & !BE, 18, Reason::BackupState),
        (UP | UV, 19, Reason::BackupEligibility { was: true }),
    ] {
        assert_eq!(change(|used| used.flags = flags), (step, reason), "{flags:08b}");
    }
    assert_eq!(change(|used| used.rp_id_hash[0] ^= 1), (15, Reason::RpIdHash));
    let data = |error| (15, Reason::AuthenticatorData(AuthenticatorDataError::Malformed(error)));
    assert_eq!(change(|used| used.rest = vec![0]), data(Malformed::LeftOver { bytes: 1 }));
    assert_eq!(change(|used| used.flags |= AT), data(Malformed::Cut));
    let site = Site::new();
    let (_, made) = site.make(Signs::EdDsa);
    let found = change(|used| {
        used.flags |= AT;
        used.rest = made.data().split_off(37);
    });
    assert_eq!(found, (15, Reason::CredentialInAssertion));
}

/// req: AUTHN-11 (part)
#[test]
fn s7_2_21_only_the_key_of_the_record_signs_and_only_this_ceremony() {
    let site = Site::new();
    for signs in Signs::ALL {
        let (mut passkey, record) = site.registered(signs);
        let (other, _) = site.registered(signs);
        let used = passkey.sign_in(&request_options(&site), ORIGIN);
        let found = refused(verify(&site, &record, &used, &other));
        assert_eq!(found, (21, Reason::Signature), "{signs:?}");
        // Changed after it was signed: the counter, the client data, the signature.
        let signed = used.response(&passkey);
        let mut later = used.clone();
        later.sign_count += 1;
        let mut spaced = used.clone();
        spaced.client_data = spaced.client_data.replace("{", "{ ");
        for (changed, member) in [(later, "authenticatorData"), (spaced, "clientDataJSON")] {
            let mut mixed = signed.clone();
            mixed["response"][member] = changed.response(&passkey)["response"][member].clone();
            let mixed = AuthenticationResponse::parse(mixed.to_string().as_bytes()).unwrap();
            let found = refused(authentication(&site).verify(&mixed, &record));
            assert_eq!(found, (21, Reason::Signature), "{signs:?} {member}");
        }
        let mut empty = signed.clone();
        empty["response"]["signature"] = "".into();
        let empty = AuthenticationResponse::parse(empty.to_string().as_bytes()).unwrap();
        assert_eq!(refused(authentication(&site).verify(&empty, &record)).0, 21);
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s7_2_22_a_counter_that_goes_back_says_cloned() {
    let site = Site::new();
    let (mut passkey, record) = site.registered(Signs::EdDsa);
    passkey.sign_count = 9;
    let used = passkey.sign_in(&request_options(&site), ORIGIN);
    let record = verify(&site, &record, &used, &passkey).unwrap().record().clone();
    for found in [0, 9, 10] {
        let again = Used { sign_count: found, ..used.clone() };
        let reason = refused(verify(&site, &record, &again, &passkey));
        assert_eq!(reason, (22, Reason::Cloned { stored: 10, found }));
    }
    let next = Used { sign_count: 11, ..used };
    assert!(verify(&site, &record, &next, &passkey).is_ok());
}

#[test]
fn s6_1_1_a_passkey_without_a_counter_signs_in_again_and_again() {
    let site = Site::new();
    let (mut passkey, mut record) = site.registered(Signs::Es256);
    passkey.counts = false;
    for _ in 0..2 {
        let used = passkey.sign_in(&request_options(&site), ORIGIN);
        record = verify(&site, &record, &used, &passkey).unwrap().record().clone();
        assert_eq!(record.sign_count, 0);
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s6_1_3_a_change_of_backup_is_reported_and_kept() {
    let site = Site::new();
    let (mut passkey, record) = site.registered(Signs::Es256);
    let mut used = passkey.sign_in(&request_options(&site), ORIGIN);
    used.flags = UP | UV | BE;
    let ended = verify(&site, &record, &used, &passkey).unwrap();
    assert_eq!((ended.backup(), ended.record().is_backed_up), (BackupChange::Ended, false));
    let used = passkey.sign_in(&request_options(&site), ORIGIN);
    let began = verify(&site, ended.record(), &used, &passkey).unwrap();
    assert_eq!((began.backup(), began.record().is_backed_up), (BackupChange::Began, true));
    let mut fixed = record;
    fixed.is_backup_eligible = false;
    fixed.is_backed_up = false;
    let refusal = refused(verify(&site, &fixed, &used, &passkey));
    assert_eq!(refusal, (19, Reason::BackupEligibility { was: false }));
}

/// req: AUTHN-11 (part)
#[test]
fn s7_2_6_the_user_is_the_one_of_the_record() {
    let site = Site::new();
    let (mut passkey, record) = site.registered(Signs::EdDsa);
    let used = passkey.sign_in(&request_options(&site), ORIGIN);
    let other = UserHandle::of(b"user 2").unwrap();
    let silent = Used { user: None, ..used.clone() };
    let lying = Used { user: Some(b"user 2".to_vec()), ..used.clone() };
    let of = |user| Authentication { user, ..authentication(&site) };
    let us = Some(site.user.handle());
    for (user, used, expect) in [
        (None, &used, Ok(())),
        (us, &used, Ok(())),
        (us, &silent, Ok(())),
        (None, &silent, Err((6, Reason::NoUserHandle))),
        (None, &lying, Err((6, Reason::OtherUser))),
        (us, &lying, Err((6, Reason::OtherUser))),
        (Some(&other), &used, Err((6, Reason::OtherUser))),
        (Some(&other), &lying, Err((6, Reason::OtherUser))),
        (Some(&other), &silent, Err((6, Reason::OtherUser))),
    ] {
        let found = of(user).verify(&parsed(used, &passkey), &record);
        match expect {
            Ok(()) => assert!(found.is_ok(), "{user:?} {found:?}"),
            Err(expect) => assert_eq!(refused(found), expect, "{user:?}"),
        }
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s7_2_5_the_credential_is_one_that_was_asked_for() {
    let site = Site::new();
    let (mut passkey, record) = site.registered(Signs::EdDsa);
    let (_, other) = site.registered(Signs::EdDsa);
    let used = passkey.sign_in(&request_options(&site), ORIGIN);
    let response = parsed(&used, &passkey);
    let found = CredentialId::of(passkey.id()).unwrap();
    let asked = [other.id.clone()];
    let narrow = Authentication { allowed: &asked, ..authentication(&site) };
    let refusal = refused(narrow.verify(&response, &record));
    assert_eq!(refusal, (5, Reason::NotAllowed { found: found.clone() }));
    let both = [other.id.clone(), found.clone()];
    let wide = Authentication { allowed: &both, ..authentication(&site) };
    assert!(wide.verify(&response, &record).is_ok());
    let refusal = refused(wide.verify(&response, &other));
    assert_eq!(refusal, (6, Reason::OtherCredential { found }));
}
