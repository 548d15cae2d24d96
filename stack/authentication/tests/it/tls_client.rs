//! RFC 8705 §2: certificates of registered names, and registered certificates.

use authentication::tls_client::{Refusal, by_name, self_signed};
use authentication::{Caller, Method};
use jose::KeySet;
use time::UnixTime;

use crate::parties::{HOUR, NOW, SECOND, anchor, authority, client, named, stranger, workload};

const ID: &str = "client-1";

fn leaf() -> Vec<u8> {
    let issuer = anchor(&authority()).subject().clone();
    named(issuer, "App", "app.example", &authority(), NOW.plus(HOUR))
}

fn present(der: Vec<u8>, name: (&'static str, &str), now: UnixTime) -> Result<Caller, Refusal> {
    by_name(&[der], &client(ID), name, &[anchor(&authority())], now)
}

/// req: AUTHN-01 (part)
#[test]
fn rfc8705_2_1_the_one_registered_name_counts() {
    for (kind, expected) in [
        ("tls_client_auth_san_dns", "app.example"),
        ("tls_client_auth_san_uri", "https://app.example/id"),
        ("tls_client_auth_subject_dn", "CN=App,O=Example"),
    ] {
        let caller = present(leaf(), (kind, expected), NOW).unwrap();
        assert_eq!((caller.client_id(), caller.method()), (ID, Method::TlsClientAuth));
        assert_eq!(caller.key(), Some(&workload().public().thumbprint()));
        assert_eq!(caller.expires(), NOW.plus(HOUR));
    }
    for (kind, expected) in [
        ("tls_client_auth_san_dns", "app.example.evil.example"),
        ("tls_client_auth_san_dns", "*.example"),
        ("tls_client_auth_san_dns", "https://app.example/id"),
        ("tls_client_auth_san_uri", "app.example"),
        ("tls_client_auth_san_uri", "https://app.example/id/"),
        ("tls_client_auth_subject_dn", "CN=App"),
        ("tls_client_auth_subject_dn", "O=Example,CN=App"),
        ("tls_client_auth_san_email", "app.example"),
        ("tls_client_auth_san_ip", "127.0.0.1"),
        ("another", "app.example"),
    ] {
        let refused = present(leaf(), (kind, expected), NOW).unwrap_err();
        assert_eq!(refused, Refusal::OtherName { kind, expected: expected.to_owned() });
    }
}

/// docs/past-defects.md 14.
/// req: AUTHN-01 (part)
#[test]
fn rfc8705_2_1_a_certificate_that_nobody_vouches_for_now_is_refused() {
    let name = ("tls_client_auth_san_dns", "app.example");
    let issuer = || anchor(&authority()).subject().clone();
    let forged = named(issuer(), "App", "app.example", &stranger(), NOW.plus(HOUR));
    let own = named(issuer(), "App", "app.example", &workload(), NOW.plus(HOUR));
    for (why, der, now) in [
        ("another signer", forged, NOW),
        ("its own signature", own, NOW),
        ("over", leaf(), NOW.plus(HOUR).plus(SECOND)),
        ("not yet", leaf(), NOW.minus(SECOND)),
    ] {
        let refused = present(der, name, now);
        assert!(matches!(refused, Err(Refusal::Chain(_))), "{why}: {refused:?}");
    }
    let none = by_name(&[leaf()], &client(ID), name, &[], NOW);
    assert!(matches!(none, Err(Refusal::Chain(_))), "no authority");
    let empty = by_name(&[], &client(ID), name, &[anchor(&authority())], NOW);
    assert_eq!(empty.err(), Some(Refusal::NoCertificate));
    let torn = present(b"0".to_vec(), name, NOW);
    assert!(matches!(torn, Err(Refusal::Malformed(_))));
}

/// req: AUTHN-01 (part)
#[test]
fn rfc8705_2_2_a_registered_certificate_counts_and_no_other() {
    let issuer = x509::Name::new(Some("Example"), Some("App")).unwrap();
    let made = named(issuer, "App", "app.example", &workload(), NOW.plus(HOUR));
    let own = || made.clone();
    let jwk = || workload().public().to_jwk();
    let by_key = KeySet::new(vec![jwk()]).unwrap();
    let by_certificate = KeySet::new(vec![jwk().with_x5c(vec![own()]).unwrap()]).unwrap();
    let others = KeySet::new(vec![stranger().public().to_jwk()]).unwrap();
    let ask = |keys: &KeySet, now| self_signed(&[own()], &client(ID), keys, now);
    for keys in [&by_key, &by_certificate] {
        let caller = ask(keys, NOW).unwrap();
        assert_eq!((caller.client_id(), caller.method()), (ID, Method::SelfSignedTlsClientAuth));
        for now in [NOW.minus(SECOND), NOW.plus(HOUR).plus(SECOND)] {
            let refused = ask(keys, now).unwrap_err();
            assert!(matches!(refused, Refusal::OutOfTime { .. }), "{refused}");
        }
    }
    assert_eq!(ask(&others, NOW).err(), Some(Refusal::OtherKey));
    // The key is the same, the registered certificate is not.
    let issuer = x509::Name::new(Some("Example"), Some("App")).unwrap();
    let renewed = named(issuer, "App", "b.example", &workload(), NOW.plus(HOUR));
    let refused = self_signed(&[renewed], &client(ID), &by_certificate, NOW);
    assert_eq!(refused.err(), Some(Refusal::OtherKey));
    let empty = self_signed(&[], &client(ID), &by_key, NOW);
    assert_eq!(empty.err(), Some(Refusal::NoCertificate));
}
