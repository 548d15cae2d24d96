//! Reports of Milan machines: one signed by a chip's own key, one by a cloud's.

use proptest::prelude::*;
use tee::Malformed;
use tee::snp::{
    Endorsement, Given, REPORT_BYTES, Refusal, Report, Revocation, SigningKey, Tcb, TcbLayout,
    verify,
};
use time::UnixTime;
use x509::{BadSignature, Certificate};

use crate::{certificates, flipped, vector};

/// 2024-12-15: the certificates of both keys are valid.
const NOW: UnixTime = UnixTime::from_seconds(1_734_220_800);

/// A report and what belongs to it.
struct Sample {
    report: Vec<u8>,
    leaf: Vec<u8>,
    /// The issuer, and the root.
    chain: Vec<Certificate>,
}

fn vcek() -> Sample {
    Sample {
        report: vector("tee/snp-vcek-report.bin"),
        leaf: vector("tee/snp-vcek.der"),
        chain: certificates("rats/sev-snp-milan-chain.pem"),
    }
}

/// Of a guest that may be debugged.
fn debug() -> Sample {
    Sample {
        report: vector("rats/sev-snp-report.bin"),
        leaf: vector("rats/sev-snp-vcek.der"),
        chain: certificates("rats/sev-snp-milan-chain.pem"),
    }
}

fn vlek() -> Sample {
    Sample {
        report: vector("tee/snp-vlek-report.bin"),
        leaf: vector("tee/snp-vlek.der"),
        chain: certificates("tee/snp-milan-vlek-chain.pem"),
    }
}

impl Sample {
    fn verify(&self, revocation: Revocation, now: UnixTime) -> Result<tee::snp::Verified, Refusal> {
        let leaf = Certificate::parse(&self.leaf).unwrap();
        let issuer = self.chain[0].clone();
        let certificates = [issuer, leaf];
        let roots = &self.chain[1..];
        let given = Given { certificates: &certificates, roots, lists: &[], revocation };
        verify(&self.report, &given, now)
    }

    fn refused(&self) -> Refusal {
        self.verify(Revocation::Unchecked, NOW).unwrap_err()
    }
}

/// req: ATT-03 (part)
#[test]
fn abi_7_3_published_reports_verify_at_their_time() {
    let found = vcek().verify(Revocation::Unchecked, NOW).unwrap();
    let report = found.report();
    assert_eq!((report.version, report.vmpl, report.signing_key), (2, 0, SigningKey::Vcek));
    let tcb = Tcb { fmc: 0, boot_loader: 3, tee: 0, snp: 8, microcode: 115 };
    assert_eq!((report.reported_tcb, found.endorsement().tcb), (tcb, tcb));
    assert_eq!(found.endorsement().product, "Milan-B0");
    assert_eq!(found.endorsement().chip_id.as_deref(), Some(&report.chip_id[..]));
    assert!(!report.policy.allows_debug() && !report.policy.allows_migration_agent());

    let found = debug().verify(Revocation::Unchecked, NOW).unwrap();
    assert!(found.report().policy.allows_debug());

    let found = vlek().verify(Revocation::Unchecked, NOW).unwrap();
    let report = found.report();
    assert_eq!((report.version, report.vmpl, report.signing_key), (3, 1, SigningKey::Vlek));
    assert_eq!(report.layout, TcbLayout::Classic);
    assert_eq!(report.chip_id, [0; 64]);
    let cloud = found.endorsement().cloud.as_deref();
    assert_eq!(cloud, Some("CN=cc-us-east-2.amazonaws.com"));
}

/// req: ATT-03 (part)
#[test]
fn abi_7_3_one_bit_anywhere_in_a_report_refuses() {
    for sample in [vcek(), debug(), vlek()] {
        // Policy (the debug bit among it), report data, measurement, chip, signature.
        for at in [4, 8, 0x50, 0x90, 0x1a0, 0x2a0, 0x2a0 + 72] {
            let report = flipped(&sample.report, at);
            let twin = Sample { report, ..self::sample_of(&sample) };
            assert_eq!(twin.refused(), Refusal::Signature, "{at:#x}");
        }
        let mut report = sample.report.clone();
        let is_debug = |bytes: &[u8]| Report::parse(bytes).unwrap().policy.allows_debug();
        report[10] ^= 0b1000;
        assert_ne!(is_debug(&report), is_debug(&sample.report));
        let twin = Sample { report, ..self::sample_of(&sample) };
        assert_eq!(twin.refused(), Refusal::Signature);
        // What no signature covers cannot be changed either.
        for at in [0x2a0 + 48, 0x2a0 + 72 + 71, 0x2a0 + 144, REPORT_BYTES - 1] {
            let report = flipped(&sample.report, at);
            let twin = Sample { report, ..self::sample_of(&sample) };
            let reserved = Malformed::Reserved { what: "the signature" };
            assert_eq!(twin.refused(), Refusal::Report(reserved), "{at:#x}");
        }
    }
}

fn sample_of(sample: &Sample) -> Sample {
    Sample { report: sample.report.clone(), leaf: sample.leaf.clone(), chain: sample.chain.clone() }
}

/// req: ATT-03 (part)
#[test]
fn abi_7_3_what_is_no_report_is_named() {
    let report = vcek().report;
    let kind = |what, found| Err(Malformed::Kind { what, found });
    let with = |at: usize, value: u8| {
        let mut report = report.clone();
        report[at] = value;
        Report::parse(&report).map(|_| ())
    };
    assert_eq!(with(0, 1), kind("the version", 1));
    assert_eq!(with(0, 6), kind("the version", 6));
    assert_eq!(with(0, 5), Ok(()));
    assert_eq!(with(52, 2), kind("the signature algorithm", 2));
    assert_eq!(with(72, 7 << 2), kind("the signing key", 7));
    assert_eq!(Report::parse(&report[..REPORT_BYTES - 1]).unwrap_err(), Malformed::Short);
    let long = [&report[..], &[0]].concat();
    assert_eq!(Report::parse(&long).unwrap_err(), Malformed::Trailing { bytes: 1 });
}

/// req: ATT-03 (part)
#[test]
fn kds_a_chain_of_other_keys_is_refused() {
    let sample = vcek();
    // The signature of the leaf's certificate, and of the issuer's.
    let leaf = flipped(&sample.leaf, sample.leaf.len() - 1);
    let who = |refusal| match refusal {
        Refusal::ChainSignature { who, why: BadSignature::Wrong } => who,
        other => panic!("{other:?}"),
    };
    assert_eq!(who(Sample { leaf, ..sample_of(&sample) }.refused()), "signing key");
    for (at, expect) in [(0, "issuer"), (1, "root")] {
        let mut twin = sample_of(&sample);
        let der = twin.chain[at].der();
        twin.chain[at] = Certificate::parse(&flipped(der, der.len() - 1)).unwrap();
        assert_eq!(who(twin.refused()), expect);
    }
    // The other kind of key, with its own chain and with this one's.
    let mut twin = sample_of(&sample);
    twin.chain = vlek().chain;
    assert_eq!(twin.refused(), Refusal::UnknownIssuer);
    twin.leaf = vlek().leaf;
    assert_eq!(twin.refused(), Refusal::OtherKeyKind);
    // The same kind of key, of another chip.
    let twin = Sample { leaf: debug().leaf, ..vcek() };
    assert_eq!(twin.refused(), Refusal::Signature);
    // No root at all; and only the root.
    let leaf = Certificate::parse(&sample.leaf).unwrap();
    let check = |certificates: &[Certificate], roots: &[Certificate]| {
        let revocation = Revocation::Unchecked;
        let given = Given { certificates, roots, lists: &[], revocation };
        verify(&sample.report, &given, NOW).unwrap_err()
    };
    let (issuer, root) = (sample.chain[0].clone(), sample.chain[1].clone());
    assert_eq!(check(&[leaf.clone(), issuer.clone()], &[]), Refusal::UnknownIssuer);
    let sent = [leaf.clone(), issuer.clone(), root.clone()];
    assert_eq!(check(&sent, &[]), Refusal::UnknownIssuer, "a root that is sent is none");
    let only = std::slice::from_ref::<Certificate>;
    assert_eq!(check(&[leaf.clone(), root.clone()], only(&root)), Refusal::UnknownIssuer);
    assert_eq!(check(only(&issuer), only(&root)), Refusal::NoSigner);
    let other = Certificate::parse(&debug().leaf).unwrap();
    let both = [leaf.clone(), other, issuer.clone()];
    assert_eq!(check(&both, only(&root)), Refusal::SeveralSigners);
    let many = vec![leaf.clone(); 17];
    assert_eq!(check(&many, &[]), Refusal::TooManyCertificates { count: 17 });
    // A host may send the certificates of both kinds of keys.
    let both = [Certificate::parse(&vlek().leaf).unwrap(), leaf, issuer];
    let revocation = Revocation::Unchecked;
    let given = Given { certificates: &both, roots: &[root], lists: &[], revocation };
    assert!(verify(&sample.report, &given, NOW).is_ok());
}

/// req: ATT-03 (part)
#[test]
fn kds_certificates_hold_for_their_time_and_lists_are_asked_for() {
    let sample = vcek();
    let at = |year: u64| UnixTime::from_seconds((year - 1970) * 31_556_952);
    for (year, expect) in [(2019, "root"), (2022, "signing key"), (2031, "signing key")] {
        let refused = sample.verify(Revocation::Unchecked, at(year)).unwrap_err();
        let Refusal::NotValid { who, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(who, expect, "{year}");
    }
    let refused = sample.verify(Revocation::Required, NOW).unwrap_err();
    assert_eq!(refused, Refusal::NoRevocationList);
}

/// req: ATT-03 (part)
#[test]
fn kds_the_certificate_says_which_chip_and_firmware() {
    let leaf = Certificate::parse(&vcek().leaf).unwrap();
    assert_eq!(Endorsement::read(&leaf).unwrap().key, SigningKey::Vcek);
    let issuer = &vcek().chain[0];
    let refused = Endorsement::read(issuer).unwrap_err().to_string();
    assert!(refused.contains("1.3.6.1.4.1.3704.1.4"), "{refused}");
}

/// req: ATT-03 (part)
#[test]
fn abi_2_2_versions_are_read_where_the_chip_has_them() {
    let tcb = Tcb { fmc: 1, boot_loader: 2, tee: 3, snp: 4, microcode: 5 };
    for (layout, bytes) in [
        (TcbLayout::Turin, [1, 2, 3, 4, 0, 0, 0, 5]),
        (TcbLayout::Classic, [2, 3, 0, 0, 0, 0, 4, 5]),
    ] {
        let expect = Tcb { fmc: if layout == TcbLayout::Turin { 1 } else { 0 }, ..tcb };
        assert_eq!(Tcb::from_bytes(bytes, layout), expect);
        assert_eq!(expect.to_bytes(layout), bytes);
    }
    assert_eq!(tcb.to_string(), "1.2.3.4.5");
    assert!(tcb.reaches(tcb) && tcb.reaches(Tcb::default()));
    for less in [
        Tcb { fmc: 0, ..tcb },
        Tcb { boot_loader: 1, ..tcb },
        Tcb { tee: 2, ..tcb },
        Tcb { snp: 3, ..tcb },
        Tcb { microcode: 4, ..tcb },
    ] {
        assert!(!less.reaches(tcb), "{less}");
    }
}

proptest! {
    #[test]
    fn abi_7_3_reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let _ = Report::parse(&bytes);
    }
}
