//! Guests of TDX: each check, over quotes that a platform of the test's signed.

use attestation::confidential::report_data;
use attestation::mechanism::{Facts, Mechanism as _, RESPONSE_BYTES_MAX, Role, Step};
use attestation::policy::NodeRule;
use attestation::{Appraisal, Refusal, tdx};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rats::Claim;
use serde_json::{Value, json};
use testkit::silicon::{Platform, TdQuote};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const NONCE: [u8; 32] = [1; 32];
const KEY: &[u8] = b"the key that asks";

/// What a host says, and what policy says of it.
struct Case {
    platform: Platform,
    quote: TdQuote,
    own: Value,
    collateral: Option<Value>,
}

impl Case {
    fn good() -> Self {
        Self::of(Platform::new())
    }

    fn of(platform: Platform) -> Self {
        let own = json!({ "guests": [{
            "mrtd": "7d".repeat(48), "rtmr0": "a0".repeat(48), "rtmr2": "a2".repeat(48),
        }] });
        let collateral = Some(platform.collateral());
        Self { platform, quote: TdQuote::of(report_data(&NONCE, KEY)), own, collateral }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn set(self, key: &str, value: Value) -> Self {
        self.with(|case| case.own[key] = value)
    }

    fn rule(&self) -> NodeRule {
        let own = self.own.as_object().unwrap().clone();
        NodeRule { anchors: self.platform.root(), own, ..NodeRule::default() }
    }

    fn appraise(&self) -> Result<Appraisal, Refusal> {
        self.appraise_quote(&self.platform.sign(&self.quote))
    }

    fn appraise_quote(&self, quote: &[u8]) -> Result<Appraisal, Refusal> {
        let rule = self.rule();
        assert_eq!(tdx::Mechanism.faults(&rule), []);
        let facts = Facts { key: KEY, ..Facts::new(Role::Node, &rule, &NONCE, NOW) };
        let evidence = match &self.collateral {
            Some(collateral) => json!({ "collateral": STANDARD.encode(collateral.to_string()) }),
            None => json!({}),
        };
        let evidence = evidence.to_string().into_bytes();
        let asked = tdx::Mechanism.challenge(&evidence, &facts).unwrap();
        assert_eq!(asked, Some(NONCE.to_vec()));
        let response = json!({ "quote": STANDARD.encode(quote) }).to_string();
        assert!(response.len() <= RESPONSE_BYTES_MAX, "{} bytes", response.len());
        tdx::Mechanism.appraise(&evidence, Some(response.as_bytes()), &facts)
    }
}

fn platform(change: impl FnOnce(&mut Platform)) -> Platform {
    let mut platform = Platform::new();
    change(&mut platform);
    platform
}

fn why(found: Result<Appraisal, Refusal>) -> (Step, String) {
    match found {
        Err(Refusal::Failed { mechanism: "tdx", step, why }) => (step, why),
        other => panic!("{other:?}"),
    }
}

/// req: ATT-03 (part), ATT-08 (part), ATT-12 (part)
#[test]
fn s7_a_guest_joins_by_what_its_platform_signs() {
    let case = Case::good();
    let found = case.appraise().unwrap();
    let shown: Vec<_> = found.selectors.iter().map(|one| one.as_str().to_owned()).collect();
    for expect in [
        "tdx:attributes:0000001000000000".to_owned(),
        "tdx:debug:false".to_owned(),
        "tdx:fmspc:b0c06f000000".to_owned(),
        format!("tdx:mrtd:{}", "7d".repeat(48)),
        format!("tdx:rtmr0:{}", "a0".repeat(48)),
        format!("tdx:rtmr3:{}", "a3".repeat(48)),
        "tdx:tcb:UpToDate".to_owned(),
    ] {
        assert!(shown.contains(&expect), "{expect} in {shown:?}");
    }
    assert_eq!((found.name.len(), found.once), (64, false));
    let claims = [Claim::Hardware, Claim::RuntimeOpaque, Claim::Configuration];
    assert_eq!(claims.map(|claim| found.vector.value(claim)), [2, 2, 0]);
    // What it measured since does not make it another guest.
    let other = case.with(|case| case.quote.rtmr[3] = [1; 48]).appraise().unwrap();
    assert_eq!(other.name, found.name);
}

/// req: ATT-03 (part)
#[test]
fn s7_each_check_of_a_guest_of_tdx_refuses() {
    let check = |case: Case, step: Step, told: &str| {
        let found = why(case.appraise());
        assert!(found.0 == step && found.1.contains(told), "{found:?}, not {step:?} {told}");
    };
    let good = Case::good;
    let data = |nonce: [u8; 32], key: &[u8]| {
        let data = report_data(&nonce, key);
        good().with(|case| case.quote.report_data = data)
    };
    check(data([2; 32], KEY), Step::Binding, "another challenge or of another key");
    check(data(NONCE, b"another key"), Step::Binding, "another challenge or of another key");
    check(good().with(|case| case.quote.attributes[0] = 1), Step::Content, "under debug");
    check(good().with(|case| case.quote.attributes[3] |= 1 << 5), Step::Content, "moved");
    check(good().with(|case| case.quote.mr_td[0] = 0), Step::Policy, "of the mrtd `007d");
    check(good().with(|case| case.quote.rtmr[2][0] = 0), Step::Policy, "with these rtmrs");
    check(good().set("evaluation_least", json!(18)), Step::Policy, "evaluation 17");
    for key in ["mrconfigids", "mrowners", "mrownerconfigs"] {
        check(good().set(key, json!(["ff".repeat(48)])), Step::Policy, "the guest's");
    }
    check(good().with(|case| case.collateral = None), Step::Form, "no collateral");
    let other = Platform::new().collateral();
    check(good().with(|case| case.collateral = Some(other)), Step::Chain, "root_ca_crl");
}

/// req: ATT-03 (part), ATT-04 (part)
#[test]
fn pcs_4_how_well_a_platform_is_kept_counts() {
    let kept = |status| Case::of(platform(|platform| platform.status = status));
    let all = ["UpToDate", "SWHardeningNeeded", "OutOfDate", "Revoked"];
    for status in all {
        let found = kept(status).appraise();
        if status == "UpToDate" {
            assert_eq!(found.unwrap().vector.value(Claim::Hardware), 2);
            continue;
        }
        let (step, told) = why(found);
        assert!(step == Step::Policy && told.contains(&format!("`{status}`")), "{told}");
    }
    let allowed = json!(["UpToDate", "SWHardeningNeeded", "OutOfDate"]);
    for status in &all[1..3] {
        let found = kept(status).set("tcb_statuses", allowed.clone()).appraise().unwrap();
        assert_eq!(found.vector.value(Claim::Hardware), 32, "{status}");
        let tcb = format!("tdx:tcb:{status}");
        assert!(found.selectors.iter().any(|one| one.as_str() == tcb), "{status}");
    }
    // A platform that Intel names no level for proved itself, and is recorded.
    let found = why(Case::of(platform(|platform| platform.component = 1)).appraise());
    assert_eq!(found, (Step::Content, "the platform is below every level that intel names".into()));
    let next_update = "2026-12-31T23:59:59Z";
    let found = why(Case::of(platform(|platform| platform.next_update = next_update)).appraise());
    assert_eq!(found.0, Step::Chain);
    assert!(found.1.contains("the tcb info ended at 2026-12-31T23:59:59"), "{found:?}");
    let found = why(Case::of(platform(|platform| platform.revoked = true)).appraise());
    assert_eq!(found, (Step::Chain, "the certificate of the platform is revoked".to_owned()));
}

/// req: ATT-03 (part)
#[test]
fn s7_a_quote_that_no_trusted_platform_signed_is_refused() {
    let (case, other) = (Case::good(), Case::good());
    let found = why(case.appraise_quote(&other.platform.sign(&other.quote)));
    assert!(found.0 == Step::Chain && found.1.contains("is not trusted"), "{found:?}");
    let good = case.platform.sign(&case.quote);
    // The attributes, report data, the signature, the report of the quoting enclave.
    for (at, told) in [
        (48 + 120, "the signature of the quote"),
        (48 + 520, "the signature of the quote"),
        (636, "the signature of the quote"),
        (636 + 134 + 258, "the signature of the report of the quoting enclave"),
        (636 + 134 + 320, "vouches for another attestation key"),
    ] {
        let mut quote = good.clone();
        quote[at] ^= 1;
        let found = why(case.appraise_quote(&quote));
        assert!(found.0 == Step::Signature && found.1.contains(told), "{found:?} {told}");
    }
    let found = why(case.appraise_quote(&good[..600]));
    assert_eq!(found, (Step::Form, "the quote does not read: it is cut".to_owned()));
}

/// req: ATT-03 (part)
#[test]
fn pcs_4_policy_may_have_the_collateral() {
    let case = Case::good();
    let own = case.platform.collateral().to_string();
    let others = Platform::new().collateral().to_string();
    let mut case = case.set("collateral", json!([others, own]));
    case.collateral = None;
    case.appraise().unwrap();
    // Debug is accepted by its name, and told.
    let case = case.set("dangerously_accepts", json!(["debug", "migratable"]));
    let found = case.with(|case| case.quote.attributes = [1, 0, 0, 0x30, 0, 0, 0, 0]);
    let found = found.appraise().unwrap();
    assert_eq!(found.vector.value(Claim::Configuration), 96);
    assert!(found.selectors.iter().any(|one| one.as_str() == "tdx:debug:true"));
}

#[test]
fn s7_policy_of_tdx_names_guests_and_roots() {
    let check = |case: Case, expect: &[&str]| {
        let faults = tdx::Mechanism.faults(&case.rule());
        let keys: Vec<_> = faults.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, expect, "{faults:?}");
    };
    check(Case::good(), &[]);
    check(Case::good().set("guests", json!([])), &["guests"]);
    check(Case::good().set("guests", json!([{ "rtmr0": "00".repeat(48) }])), &[""]);
    check(Case::good().set("collateral", json!(["{}"])), &["collateral"]);
    let revoked = json!(["UpToDate", "Revoked"]);
    check(Case::good().set("tcb_statuses", revoked), &["tcb_statuses"]);
    check(Case::good().set("tcb_statuses", json!(["Fine"])), &[""]);
    let faults = tdx::Mechanism.faults(&NodeRule { anchors: String::new(), ..Case::good().rule() });
    assert_eq!(faults[0].0, "anchors");
}
