//! Quotes of version 4 and 5 with what Intel said of their platforms at the time.

use proptest::prelude::*;
use serde_json::Value;
use tee::Malformed;
use tee::tdx::{Collateral, CollateralError, Part, Quote, Refusal, Status, Verified, verify};
use time::UnixTime;

use crate::{certificates, flipped, vector};

/// A quote, what belongs to it, and when.
#[derive(Clone)]
struct Sample {
    quote: Vec<u8>,
    collateral: Value,
    now: UnixTime,
}

/// 2025-06-25.
fn current() -> Sample {
    sample("tdx-quote-v4", 1_750_809_600)
}

/// 2026-02-25.
fn outdated() -> Sample {
    sample("tdx-quote-v5-outdated", 1_771_977_600)
}

fn sample(name: &str, now: u64) -> Sample {
    Sample {
        quote: vector(&format!("tee/{name}.bin")),
        collateral: serde_json::from_slice(&vector(&format!("tee/{name}-collateral.json")))
            .unwrap(),
        now: UnixTime::from_seconds(now),
    }
}

impl Sample {
    fn verify(&self) -> Result<Verified, Refusal> {
        let collateral = Collateral::parse(self.collateral.to_string().as_bytes()).unwrap();
        verify(&self.quote, &collateral, &certificates("tee/tdx-intel-root.pem"), self.now)
    }

    fn refused(&self) -> Refusal {
        self.verify().unwrap_err()
    }

    fn with_quote(&self, quote: Vec<u8>) -> Self {
        Self { quote, ..self.clone() }
    }

    /// One character of a text of the collateral changed.
    fn with_text(&self, name: &str, from: &str, to: &str) -> Self {
        let mut twin = self.clone();
        let text = twin.collateral[name].as_str().unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        twin.collateral[name] = Value::from(text.replacen(from, to, 1));
        twin
    }

    /// The last bit of a value in hexadecimal digits turned.
    fn with_last_bit(&self, name: &str) -> Self {
        let mut twin = self.clone();
        let mut text = twin.collateral[name].as_str().unwrap().to_owned();
        let last = text.pop().unwrap().to_digit(16).unwrap();
        text.push(char::from_digit(last ^ 1, 16).unwrap());
        twin.collateral[name] = Value::from(text);
        twin
    }
}

/// req: ATT-03 (part)
#[test]
fn quote_a_3_published_quotes_verify_at_their_time() {
    let found = current().verify().unwrap();
    assert_eq!(found.tcb().status, Status::UpToDate);
    assert_eq!((found.tcb().evaluation, found.tcb().advisories.len()), (17, 0));
    assert_eq!(found.platform().fmspc, [0xb0, 0xc0, 0x6f, 0, 0, 0]);
    assert!(!found.report().is_debug());
    assert_eq!(found.report().mr_service_td, None);

    // Of tdx 1.5; all signatures hold, and the loader of the module is older than Intel names any.
    let below = Refusal::BelowAllLevels { of: "the platform" };
    assert_eq!(outdated().refused(), below);
}

/// req: ATT-03 (part)
#[test]
fn quote_a_4_quotes_of_both_versions_are_read() {
    for (name, version) in [
        ("rats/tdx-quote-v5.bin", 5),
        ("tee/tdx-quote-v4.bin", 4),
        ("tee/tdx-quote-v5-outdated.bin", 5),
    ] {
        let quote = Quote::parse(&vector(name)).unwrap();
        assert_eq!(quote.version, version, "{name}");
        assert_eq!(quote.report.mr_signer_seam, [0; 48], "{name}");
        assert_eq!(quote.report.mr_service_td.is_some(), version == 5, "tdx 1.5: {name}");
    }
    // This one has a text behind its end, where padding is zero.
    let quote = vector("rats/tdx-quote-v4.bin");
    let padding = Malformed::Reserved { what: "the padding" };
    assert_eq!(Quote::parse(&quote).unwrap_err(), padding);
    assert_eq!(Quote::parse(&quote[..quote.len() - 39]).unwrap().version, 4);
}

/// req: ATT-03 (part)
#[test]
fn quote_a_3_one_bit_anywhere_in_a_quote_refuses() {
    for (sample, body) in [(current(), 48), (outdated(), 54)] {
        let length = if body == 48 { 584 } else { 648 };
        let data = body + length + 4;
        let enclave = data + 128 + 6;
        let authentication = enclave + 384 + 64 + 2;
        let wrong = |of| Refusal::Signature { of };
        let other_key = Refusal::OtherAttestationKey;
        for (at, expect) in [
            // The user data of the header; MRTD; the attribute for debug; report data.
            (30, wrong(Part::Quote)),
            (body + 136, wrong(Part::Quote)),
            (body + 120, wrong(Part::Quote)),
            (body + 520, wrong(Part::Quote)),
            // The signature, and the key.
            (data + 5, wrong(Part::Quote)),
            (data + 70, wrong(Part::Quote)),
            // The report of the quoting enclave: its version, its report data, its signature.
            (enclave + 258, wrong(Part::QuotingEnclave)),
            (enclave + 320, other_key.clone()),
            (enclave + 384 + 5, wrong(Part::QuotingEnclave)),
            (authentication, other_key.clone()),
        ] {
            let twin = sample.with_quote(flipped(&sample.quote, at));
            assert_eq!(twin.refused(), expect, "{at}");
        }
    }
}

/// req: ATT-03 (part)
#[test]
fn quote_a_3_what_is_no_quote_is_named() {
    let quote = current().quote;
    let kind = |what, found| Malformed::Kind { what, found };
    for (at, value, expect) in [
        (0, 3, kind("the version", 3)),
        (2, 3, kind("the type of the attestation key", 3)),
        (4, 0, kind("the type of the tee", 0)),
        (12, 0, kind("the vendor of the quoting enclave", 0x009a_7233)),
        (632 + 4 + 128, 5, kind("the certification data", 5)),
        (quote.len() - 1, 1, Malformed::Reserved { what: "the padding" }),
    ] {
        let mut twin = quote.clone();
        twin[at] = value;
        assert_eq!(Quote::parse(&twin).unwrap_err(), expect, "{at}");
    }
    assert_eq!(Quote::parse(&quote[..4000]).unwrap_err(), Malformed::Short);
    let long = vec![0; 16 * 1024 + 1];
    let expect = Malformed::TooLong { bytes: long.len(), max: 16 * 1024 };
    assert_eq!(Quote::parse(&long).unwrap_err(), expect);
    let mut five = outdated().quote;
    five[48] = 2;
    assert_eq!(Quote::parse(&five).unwrap_err(), kind("the body", 2));
}

/// req: ATT-03 (part)
#[test]
fn pcs_4_changed_collateral_is_refused() {
    let sample = current();
    let wrong = |of| Refusal::Signature { of };
    for (twin, expect) in [
        (sample.with_text("tcb_info", "UpToDate", "OutOfDate"), wrong(Part::TcbInfo)),
        (sample.with_last_bit("tcb_info_signature"), wrong(Part::TcbInfo)),
        (sample.with_text("qe_identity", "\"isvsvn\":", "\"isvsvn\": "), wrong(Part::QeIdentity)),
        (sample.with_last_bit("qe_identity_signature"), wrong(Part::QeIdentity)),
    ] {
        assert_eq!(twin.refused(), expect);
    }
    for name in ["root_ca_crl", "pck_crl"] {
        let refused = sample.with_last_bit(name).refused();
        assert!(matches!(refused, Refusal::List { name: of, .. } if of == name), "{refused:?}");
    }
    // What Intel says of other platforms, though it is of the same time.
    let other = outdated();
    let mut twin = other.clone();
    twin.quote = sample.quote.clone();
    let refused = twin.refused();
    assert!(matches!(refused, Refusal::OtherPlatform | Refusal::List { .. }), "{refused:?}");
    // The texts change places: both are Intel's, neither is what it must be.
    let mut twin = sample.clone();
    for part in ["", "_signature"] {
        let (tcb, qe) = (format!("tcb_info{part}"), format!("qe_identity{part}"));
        twin.collateral[&tcb] = sample.collateral[&qe].clone();
    }
    assert!(matches!(twin.refused(), Refusal::Text { of: Part::TcbInfo, .. }));
}

/// req: ATT-03 (part)
#[test]
fn pcs_4_nobody_but_intels_signer_speaks_for_intel() {
    let sample = current();
    // The platform's own chain ends at the same root.
    let text = String::from_utf8_lossy(&sample.quote).into_owned();
    let start = text.find("-----BEGIN").unwrap();
    let end = text.rfind("-----END CERTIFICATE-----").unwrap() + 25;
    let mut twin = sample.clone();
    twin.collateral["tcb_info_issuer_chain"] = Value::from(&text[start..end]);
    assert_eq!(twin.refused(), Refusal::OtherSigner { of: Part::TcbInfo });
    // A root of somebody else's.
    let collateral = Collateral::parse(sample.collateral.to_string().as_bytes()).unwrap();
    let roots = certificates("rats/sev-snp-milan-chain.pem");
    let refused = verify(&sample.quote, &collateral, &roots, sample.now).unwrap_err();
    assert!(matches!(refused, Refusal::Chain { of: Part::Platform, .. }), "{refused:?}");
}

/// req: ATT-03 (part)
#[test]
fn pcs_4_collateral_holds_for_its_time() {
    let sample = current();
    let at = |now: u64| Sample { now: UnixTime::from_seconds(now), ..sample.clone() }.refused();
    // 2025-08-01: the list of platforms' certificates ends first. 2025-06-19T09: it is to come.
    let expired = at(1_754_006_400);
    assert!(matches!(expired, Refusal::Expired { of: Part::List("pck_crl"), .. }), "{expired:?}");
    let early = at(1_750_291_200);
    assert!(matches!(early, Refusal::NotYet { of: Part::List("pck_crl"), .. }), "{early:?}");
    // 2035: the certificate of the platform ended.
    let late = at(2_051_222_400);
    assert!(matches!(late, Refusal::Expired { of: Part::Platform, .. }), "{late:?}");
}

/// req: ATT-03 (part)
#[test]
fn pcs_4_what_is_no_collateral_is_named() {
    let parse = |collateral: &Value| Collateral::parse(collateral.to_string().as_bytes());
    let good = current().collateral;
    let with = |name: &str, value: &str| {
        let mut twin = good.clone();
        twin[name] = Value::from(value);
        parse(&twin).unwrap_err()
    };
    assert!(matches!(with("pck_crl", "3000"), CollateralError::List { name: "pck_crl", .. }));
    assert!(matches!(with("root_ca_crl", "0"), CollateralError::Json(_)));
    let short = with("tcb_info_signature", "00");
    assert_eq!(short, CollateralError::Signature { name: "tcb_info" });
    let none = with("qe_identity_issuer_chain", "");
    assert!(matches!(none, CollateralError::Chain { name: "qe_identity", .. }));
    let long = vec![b' '; 64 * 1024 + 1];
    let refused = Collateral::parse(&long).unwrap_err();
    assert_eq!(refused, CollateralError::TooLong { bytes: long.len() });
}

proptest! {
    #[test]
    fn quote_a_3_reading_is_total(
        at in 0_usize..5006,
        value in any::<u8>(),
        length in 0_usize..5006,
    ) {
        let mut quote = outdated().quote;
        quote[at] = value;
        let _ = Quote::parse(&quote[..length]);
        let _ = Quote::parse(&quote);
    }
}
