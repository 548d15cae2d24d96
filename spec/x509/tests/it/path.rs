use std::slice::from_ref;

use time::{Span, UnixTime};
use x509::{
    ANCHORS_MAX, CHAIN_CERTIFICATES_MAX, Certificate, ChainError, Extension, KeyUsage, Kind, Name,
    Oid, Purpose, Template, verify_chain,
};

use crate::fixture::{DAY, Key, NOW, Party, authority, issue, leaf, tlv};

/// Root, intermediate and leaf, each with its edit, judged at `now` for clients.
fn judge(
    root: impl FnOnce(&mut Template),
    middle: impl FnOnce(&mut Template),
    leaf: impl FnOnce(&mut Template),
    now: UnixTime,
) -> Result<(), ChainError> {
    let root = Party::root("root", root);
    let middle = root.authority("middle", middle);
    let leaf = middle.leaf(leaf);
    let chain = [leaf.certificate, middle.certificate];
    verify_chain(&chain, &[root.certificate], Purpose::Client, now)
}

fn as_is(_: &mut Template) {}

#[test]
fn rfc5280_6_1_a_chain_to_an_anchor_is_accepted() {
    assert_eq!(judge(as_is, as_is, as_is, NOW), Ok(()));
    let root = Party::root("root", as_is);
    let leaf = root.leaf(as_is).certificate;
    let anchors = [Party::root("other", as_is).certificate, root.certificate];
    for purpose in [Purpose::Client, Purpose::Server] {
        assert_eq!(verify_chain(from_ref(&leaf), &anchors, purpose, NOW), Ok(()));
    }
}

#[test]
fn rfc5280_6_1_every_key_kind_can_issue() {
    for key in [Key::p256(), Key::p384(), Key::ed25519(), Key::rsa()] {
        let name = Name::new(Some("Example"), None).unwrap();
        let mut template = authority(name.clone(), &key);
        template.issuer = name.clone();
        let root = issue(&template, &key);
        let below = issue(&Template { issuer: name, ..leaf(&Key::p256()) }, &key);
        assert_eq!(verify_chain(&[below], &[root], Purpose::Client, NOW), Ok(()));
    }
}

#[test]
fn rfc5280_4_1_2_5_validity_bounds_are_inclusive() {
    let (begin, end) = (NOW.minus(DAY), NOW.plus(DAY));
    let second = Span::from_seconds(1);
    assert_eq!(judge(as_is, as_is, as_is, begin), Ok(()));
    assert_eq!(judge(as_is, as_is, as_is, end), Ok(()));
    let late = end.plus(second);
    assert_eq!(
        judge(|root| root.not_after = late.plus(DAY), as_is, as_is, late),
        Err(ChainError::Expired { not_after: end, now: late })
    );
    let early = begin.minus(second);
    assert_eq!(
        judge(|root| root.not_before = early.minus(DAY), as_is, as_is, early),
        Err(ChainError::NotYetValid { not_before: begin, now: early })
    );
}

#[test]
fn rfc5280_6_1_3_an_expired_issuer_ends_the_chain() {
    let end = NOW.minus(Span::from_seconds(1));
    assert_eq!(
        judge(as_is, |middle| middle.not_after = end, as_is, NOW),
        Err(ChainError::Expired { not_after: end, now: NOW })
    );
    assert_eq!(
        judge(|root| root.not_after = end, as_is, as_is, NOW),
        Err(ChainError::AnchorNotValid { not_before: NOW.minus(DAY), not_after: end, now: NOW })
    );
}

#[test]
fn rfc5280_6_1_chains_to_others_are_refused() {
    let root = Party::root("root", as_is);
    let chain = [root.leaf(as_is).certificate];
    let stranger = Party::root("stranger", as_is).certificate;
    let namesake = Party::root("root", as_is).certificate;
    for (anchors, expect) in [
        (vec![], ChainError::UnknownIssuer),
        (vec![stranger], ChainError::UnknownIssuer),
        (vec![namesake], ChainError::BadSignature),
        // An anchor that is no authority is none, even for itself.
        (vec![chain[0].clone()], ChainError::UnknownIssuer),
    ] {
        assert_eq!(verify_chain(&chain, &anchors, Purpose::Client, NOW), Err(expect));
    }
}

#[test]
fn rfc5280_6_1_a_self_signed_leaf_does_not_vouch_for_itself() {
    let key = Key::p256();
    let name = Name::new(None, Some("me")).unwrap();
    let own = Template { issuer: name.clone(), subject: name, ..leaf(&key) };
    let own = issue(&own, &key);
    let judged = verify_chain(from_ref(&own), from_ref(&own), Purpose::Client, NOW);
    assert_eq!(judged, Err(ChainError::UnknownIssuer));
}

#[test]
fn rfc5280_6_1_4_issuers_must_be_authorities() {
    let root = Party::root("root", as_is);
    let named = |template: &mut Template| template.subject = Name::new(None, Some("x")).unwrap();
    let no_authority = root.leaf(named);
    let below = no_authority.leaf(as_is);
    let judge = |chain: &[Certificate]| {
        verify_chain(chain, from_ref(&root.certificate), Purpose::Client, NOW)
    };
    let chain = [below.certificate, no_authority.certificate];
    assert_eq!(judge(&chain), Err(ChainError::LeafAsAuthority));
    let authority = root.authority("middle", as_is).certificate;
    assert_eq!(judge(&[authority]), Err(ChainError::AuthorityAsLeaf));
}

#[test]
fn rfc5280_6_1_4_n_issuers_must_have_key_cert_sign() {
    let no_sign = |template: &mut Template| template.key_usage = KeyUsage::CRL_SIGN;
    assert_eq!(judge(as_is, no_sign, as_is, NOW), Err(ChainError::NotForSigning));
    assert_eq!(judge(no_sign, as_is, as_is, NOW), Err(ChainError::NotForSigning));
    let unsaid = |template: &mut Template| template.key_usage = KeyUsage::default();
    assert_eq!(judge(unsaid, unsaid, as_is, NOW), Ok(()));
}

#[test]
fn rfc5280_6_1_4_m_path_length_counts_from_the_anchor_on() {
    let length = |length| {
        move |template: &mut Template| template.kind = Kind::Authority { path_len: Some(length) }
    };
    assert_eq!(judge(length(1), length(0), as_is, NOW), Ok(()));
    assert_eq!(judge(length(0), as_is, as_is, NOW), Err(ChainError::PathLength));
    let root = Party::root("root", as_is);
    let first = root.authority("first", length(0));
    let second = first.authority("second", as_is);
    let chain = [second.leaf(as_is).certificate, second.certificate, first.certificate];
    let judged = verify_chain(&chain, &[root.certificate], Purpose::Client, NOW);
    assert_eq!(judged, Err(ChainError::PathLength));
}

#[test]
fn rfc5280_4_2_1_12_extended_key_usage_limits_the_purpose() {
    let root = Party::root("root", as_is);
    // TCG EK Credential Profile 2.5 §3.2.16: tcg-kp-EKCertificate.
    let endorsement = || Oid::parse("2.23.133.8.1").unwrap();
    for (usages, purpose, expect) in [
        (vec![Oid::SERVER_AUTH], Purpose::Server, Ok(())),
        (vec![Oid::SERVER_AUTH], Purpose::Client, Err(ChainError::NotForPurpose)),
        (vec![Oid::CLIENT_AUTH], Purpose::Server, Err(ChainError::NotForPurpose)),
        (vec![], Purpose::Server, Ok(())),
        (vec![Oid::SERVER_AUTH], Purpose::Device, Ok(())),
        (vec![endorsement()], Purpose::EndorsementKey, Ok(())),
        (vec![Oid::CLIENT_AUTH], Purpose::EndorsementKey, Err(ChainError::NotForPurpose)),
        (vec![], Purpose::EndorsementKey, Err(ChainError::NotForPurpose)),
        (vec![endorsement()], Purpose::Client, Err(ChainError::NotForPurpose)),
    ] {
        let leaf = root.leaf(|leaf| leaf.extended_key_usages = usages).certificate;
        let judged = verify_chain(&[leaf], from_ref(&root.certificate), purpose, NOW);
        assert_eq!(judged, expect);
    }
}

#[test]
fn rfc5280_4_2_1_10_dns_name_constraints_hold() {
    let permit = |template: &mut Template| {
        template.permitted_dns_names = vec!["example.org".to_owned()];
    };
    let host = |host: &'static str| {
        move |template: &mut Template| template.dns_names = vec![host.to_owned()]
    };
    for constrained_root in [true, false] {
        let judge = |leaf: &dyn Fn(&mut Template)| {
            if constrained_root {
                judge(permit, as_is, leaf, NOW)
            } else {
                judge(as_is, permit, leaf, NOW)
            }
        };
        assert_eq!(judge(&host("a.example.org")), Ok(()));
        assert_eq!(judge(&host("example.com")), Err(ChainError::NameConstraints));
        // A constraint on DNS names says nothing about URIs.
        assert_eq!(judge(&as_is), Ok(()));
    }
}

/// Past defect 27: a wildcard that stands for names outside of what is permitted.
#[test]
fn rfc5280_4_2_1_10_a_wildcard_reaches_no_further_than_its_constraint() {
    let permit = |name: &'static str| {
        move |template: &mut Template| template.permitted_dns_names = vec![name.to_owned()]
    };
    let host = |template: &mut Template| template.dns_names = vec!["*.example.org".to_owned()];
    for (permitted, expect) in [
        ("example.org", Ok(())),
        // `b.example.org` is among what the wildcard stands for.
        ("a.example.org", Err(ChainError::NameConstraints)),
        ("example.com", Err(ChainError::NameConstraints)),
    ] {
        assert_eq!(judge(permit(permitted), as_is, host, NOW), expect, "{permitted}");
        assert_eq!(judge(as_is, permit(permitted), host, NOW), expect, "{permitted}");
    }
}

/// Past defect 27: URI constraints that are silently ignored.
#[test]
fn rfc5280_4_2_1_10_uri_name_constraints_are_refused_by_name() {
    for (subtrees, value) in [(0xa0, "example.org"), (0xa1, "elsewhere.example")] {
        let subtree = tlv(0x30, &tlv(0x86, value.as_bytes()));
        let der = tlv(0x30, &tlv(subtrees, &subtree));
        let constrain = |template: &mut Template| {
            template.extra =
                vec![Extension { oid: Oid::NAME_CONSTRAINTS, critical: true, der: der.clone() }];
        };
        assert_eq!(judge(as_is, constrain, as_is, NOW), Err(ChainError::UriNameConstraints));
        assert_eq!(judge(constrain, as_is, as_is, NOW), Err(ChainError::UriNameConstraints));
    }
}

#[test]
fn rfc5280_4_2_unknown_critical_extensions_are_refused() {
    let oid = Oid::parse("1.2.3.4").unwrap();
    let extra = |critical| {
        let extension = Extension { oid: oid.clone(), critical, der: vec![5, 0] };
        move |template: &mut Template| template.extra.push(extension)
    };
    assert_eq!(judge(as_is, extra(false), extra(false), NOW), Ok(()));
    let refused = Err(ChainError::CriticalExtension(oid.clone()));
    assert_eq!(judge(as_is, as_is, extra(true), NOW), refused);
    assert_eq!(judge(as_is, extra(true), as_is, NOW), refused);
}

#[test]
fn rfc5280_6_1_lengths_are_bounded() {
    let root = Party::root("root", as_is);
    let mut authorities = vec![root.authority("0", as_is)];
    for index in 1..CHAIN_CERTIFICATES_MAX {
        let next = authorities[index - 1].authority(&index.to_string(), as_is);
        authorities.push(next);
    }
    let anchors = [root.certificate];
    for issuers in [CHAIN_CERTIFICATES_MAX - 1, CHAIN_CERTIFICATES_MAX] {
        let leaf = authorities[issuers - 1].leaf(as_is).certificate;
        let issuers = authorities[..issuers].iter().rev().map(|it| it.certificate.clone());
        let chain: Vec<_> = std::iter::once(leaf).chain(issuers).collect();
        let expect = if chain.len() <= CHAIN_CERTIFICATES_MAX {
            Ok(())
        } else {
            Err(ChainError::TooLong { certificates: chain.len() })
        };
        assert_eq!(verify_chain(&chain, &anchors, Purpose::Client, NOW), expect);
    }
    assert_eq!(verify_chain(&[], &anchors, Purpose::Client, NOW), Err(ChainError::Empty));
    let many = vec![anchors[0].clone(); ANCHORS_MAX + 1];
    let leaf = [authorities[0].leaf(as_is).certificate];
    assert_eq!(
        verify_chain(&leaf, &many, Purpose::Client, NOW),
        Err(ChainError::TooManyAnchors { anchors: ANCHORS_MAX + 1 })
    );
}

#[test]
fn rfc5280_6_1_3_a_flipped_bit_anywhere_is_refused() {
    let root = Party::root("root", as_is);
    let leaf = root.leaf(as_is).certificate;
    let anchors = [root.certificate];
    for index in 0..leaf.der().len() {
        let mut der = leaf.der().to_vec();
        der[index] ^= 1;
        let Ok(changed) = Certificate::parse(&der) else { continue };
        let judged = verify_chain(&[changed], &anchors, Purpose::Client, NOW);
        assert!(judged.is_err(), "byte {index}");
    }
}
