//! Guests of SEV-SNP: each check, over reports that a chip of the test's signed.

use attestation::confidential::report_data;
use attestation::mechanism::{Facts, Mechanism as _, RESPONSE_BYTES_MAX, Role, Step};
use attestation::policy::NodeRule;
use attestation::{Appraisal, Refusal, snp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rats::{Claim, Tier};
use serde_json::{Value, json};
use testkit::silicon::{Chip, SnpReport};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const NONCE: [u8; 32] = [1; 32];
const KEY: &[u8] = b"the key that asks";

/// What a host says, and what policy says of it.
struct Case {
    chip: Chip,
    report: SnpReport,
    own: Value,
    lists: Vec<Vec<u8>>,
}

impl Case {
    fn good() -> Self {
        Self::of(Chip::new())
    }

    fn of(chip: Chip) -> Self {
        let own = json!({
            "measurements": ["4d".repeat(48)],
            "tcb_least": { "boot_loader": 3, "tee": 0, "snp": 8, "microcode": 100 },
        });
        let lists = vec![chip.list(false)];
        Self { chip, report: SnpReport::of(report_data(&NONCE, KEY)), own, lists }
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
        NodeRule { anchors: self.chip.root(), own, ..NodeRule::default() }
    }

    fn evidence(&self) -> Vec<u8> {
        let lists: Vec<_> = self.lists.iter().map(|der| STANDARD.encode(der)).collect();
        json!({ "crls": lists }).to_string().into_bytes()
    }

    fn response(&self) -> Value {
        let certificates = self.chip.certificates().map(|der| STANDARD.encode(der));
        let report = STANDARD.encode(self.chip.sign(&self.report));
        json!({ "report": report, "certificates": certificates })
    }

    fn appraise(&self) -> Result<Appraisal, Refusal> {
        appraise(&self.rule(), &self.evidence(), &self.response())
    }
}

fn appraise(rule: &NodeRule, evidence: &[u8], response: &Value) -> Result<Appraisal, Refusal> {
    assert_eq!(snp::Mechanism.faults(rule), []);
    let facts = Facts { key: KEY, ..Facts::new(Role::Node, rule, &NONCE, NOW) };
    assert_eq!(snp::Mechanism.challenge(evidence, &facts).unwrap(), Some(NONCE.to_vec()));
    let response = response.to_string();
    assert!(response.len() <= RESPONSE_BYTES_MAX, "{} bytes", response.len());
    snp::Mechanism.appraise(evidence, Some(response.as_bytes()), &facts)
}

fn why(found: Result<Appraisal, Refusal>) -> (Step, String) {
    match found {
        Err(Refusal::Failed { mechanism: "snp", step, why }) => (step, why),
        other => panic!("{other:?}"),
    }
}

/// req: ATT-03 (part), ATT-08 (part), ATT-12 (part)
#[test]
fn s7_a_guest_joins_by_what_its_chip_signs() {
    let case = Case::good();
    let found = case.appraise().unwrap();
    let shown: Vec<_> = found.selectors.iter().map(|one| one.as_str().to_owned()).collect();
    assert_eq!(
        shown,
        [
            format!("snp:chip_id:{}", "c1".repeat(64)),
            "snp:debug:false".to_owned(),
            "snp:guest_svn:0".to_owned(),
            format!("snp:measurement:{}", "4d".repeat(48)),
            "snp:product:Test-A0".to_owned(),
            "snp:tcb:0.3.0.8.115".to_owned(),
            "snp:vmpl:0".to_owned(),
        ]
    );
    assert_eq!((found.name.len(), found.once), (64, false));
    let claims = [Claim::Hardware, Claim::RuntimeOpaque, Claim::Configuration];
    assert_eq!(claims.map(|claim| found.vector.value(claim)), [2, 2, 0]);
    // Again, it is the same guest; with other host data, another.
    assert_eq!(case.appraise().unwrap().name, found.name);
    let other = case.with(|case| case.report.host_data = [9; 32]).appraise().unwrap();
    assert_ne!(other.name, found.name);
    assert!(other.selectors.iter().any(|one| one.as_str().starts_with("snp:host_data:0909")));
}

/// req: ATT-03 (part)
#[test]
fn s7_each_check_of_a_guest_refuses() {
    let check = |case: Case, step: Step, told: &str| {
        let found = why(case.appraise());
        assert!(found.0 == step && found.1.contains(told), "{found:?}, not {step:?} {told}");
    };
    let good = Case::good;
    let data = |nonce: [u8; 32], key: &[u8]| {
        let data = report_data(&nonce, key);
        good().with(|case| case.report.report_data = data)
    };
    // A report of another session, of another key, and one that is bound to the bare nonce.
    check(data([2; 32], KEY), Step::Binding, "another challenge or of another key");
    check(data(NONCE, b"another key"), Step::Binding, "another challenge or of another key");
    let bare = good().with(|case| case.report.report_data[..32].copy_from_slice(&NONCE));
    check(bare, Step::Binding, "another challenge or of another key");
    let behind = good().with(|case| case.report.report_data[63] = 1);
    check(behind, Step::Binding, "another challenge or of another key");
    // What the guest is.
    let debug = || good().with(|case| case.report.policy |= 1 << 19);
    check(debug(), Step::Content, "its host can read its memory");
    let moved = || good().with(|case| case.report.policy |= 1 << 18);
    check(moved(), Step::Content, "migration agent");
    check(good().with(|case| case.report.vmpl = 2), Step::Policy, "reports of vmpl 2");
    // What policy names.
    let other = good().with(|case| case.report.measurement = [0x4e; 48]);
    check(other, Step::Policy, "the measurement `4e4e");
    for (at, told) in [(0, "0.2.0.8.115"), (2, "0.3.0.7.115"), (3, "0.3.0.8.99")] {
        let old = good().with(|case| case.chip.tcb[at] = [2, 0, 7, 99][at]);
        check(old, Step::Policy, &format!("the tcb `{told}` is below `0.3.0.8.100`"));
    }
    check(good().set("guest_svn_least", json!(1)), Step::Policy, "version 0 is below 1");
    for (key, bytes, told) in [
        ("host_data", 32, "host data"),
        ("id_key_digests", 48, "identity key"),
        ("author_key_digests", 48, "author key"),
        ("chip_ids", 64, "chip"),
    ] {
        check(good().set(key, json!(["ff".repeat(bytes)])), Step::Policy, told);
    }
    // A digest of zeros is named by nobody's key.
    let zeros = good().set("author_key_digests", json!(["00".repeat(48)]));
    check(zeros, Step::Policy, "author key");
}

/// req: ATT-03 (part)
#[test]
fn s7_a_report_that_no_trusted_chip_signed_is_refused() {
    let case = Case::good();
    let (rule, evidence, good) = (case.rule(), case.evidence(), case.response());
    let check = |response: &Value, step: Step, told: &str| {
        let found = why(appraise(&rule, &evidence, response));
        assert!(found.0 == step && found.1.contains(told), "{found:?}, not {step:?} {told}");
    };
    let with = |key: &str, value: Value| {
        let mut twin = good.clone();
        twin[key] = value;
        twin
    };
    let other = Case::of(Chip::of_another_maker());
    check(&other.response(), Step::Chain, "the certificate of the issuer");
    let others = other.response()["certificates"].clone();
    check(&with("certificates", others), Step::Signature, "the signature of the report");
    check(&with("certificates", json!([])), Step::Form, "no certificate of the key");
    let leaf = json!([good["certificates"][1]]);
    check(&with("certificates", leaf), Step::Chain, "no trusted root");
    let many = json!(vec![good["certificates"][0].clone(); 15]);
    let small =
        why(appraise(&rule, &json!({ "certificates": many }).to_string().into_bytes(), &good));
    assert!(small.1.contains("17 certificates"), "{small:?}");
    // The bit for debug turned off after the fact.
    let debug = case.with(|case| case.report.policy |= 1 << 19);
    let mut report = debug.chip.sign(&debug.report);
    report[10] ^= 8;
    check(&with("report", json!(STANDARD.encode(&report))), Step::Signature, "the signature");
    check(&with("report", json!("AAAA")), Step::Form, "the report does not read");
    // The certificate is of other firmware than the report, then of another chip.
    let mut twin = debug.with(|case| case.report.policy = 0x3_0000);
    let old = twin.response();
    twin.chip.tcb[3] = 116;
    let mut mixed = twin.response();
    mixed["certificates"] = old["certificates"].clone();
    check(&mixed, Step::Chain, "the signing key of `0.3.0.8.115`");
    twin.chip.tcb[3] = 115;
    twin.chip.chip_id[0] = 0;
    let mut mixed = twin.response();
    mixed["certificates"] = old["certificates"].clone();
    check(&mixed, Step::Chain, "another chip");
}

/// req: ATT-03 (part)
#[test]
fn s7_a_revocation_list_is_looked_at_unless_policy_says_not_to() {
    let without = || Case::good().with(|case| case.lists.clear());
    let found = why(without().appraise());
    assert_eq!(found, (Step::Chain, "there is no revocation list of the root".to_owned()));
    without().set("revocation", json!("unchecked")).appraise().unwrap();
    for unchecked in [false, true] {
        let case = |list: fn(&Chip) -> Vec<u8>| {
            let case = Case::good().with(|case| case.lists = vec![list(&case.chip)]);
            if unchecked { case.set("revocation", json!("unchecked")) } else { case }
        };
        let revoked = why(case(|chip| chip.list(true)).appraise());
        assert_eq!(revoked.1, "the issuer of the signing key is revoked");
        let stale = why(case(Chip::stale_list).appraise());
        assert!(stale.1.contains("the revocation list is of 2020"), "{stale:?}");
    }
    // A list of somebody else of the same name.
    let other = Case::good().with(|case| case.lists = vec![Chip::of_another_maker().list(false)]);
    let found = why(other.appraise());
    assert!(found.1.contains("the revocation list is not the root's"), "{found:?}");
}

/// A cloud's key signs for chips that hide themselves: it counts if policy names the cloud, and the
/// launch alone tells guests apart.
/// req: ATT-03 (part)
#[test]
fn s7_a_clouds_key_counts_where_policy_names_the_cloud() {
    let case = || Case::good().with(|case| case.chip.cloud = Some("CN=a.example"));
    let found = why(case().appraise());
    assert!(found.0 == Step::Policy && found.1.contains("the cloud `CN=a.example`"), "{found:?}");
    let named = || case().set("clouds", json!(["CN=a.example"]));
    let found = named().appraise().unwrap();
    let shown: Vec<_> = found.selectors.iter().map(|one| one.as_str()).collect();
    assert!(shown.contains(&"snp:cloud:CN=a.example"), "{shown:?}");
    assert!(!shown.iter().any(|one| one.starts_with("snp:chip_id:")), "{shown:?}");
    let other = named().with(|case| case.report.report_id = [2; 32]).appraise().unwrap();
    assert_ne!(other.name, found.name);
    // The report says that the other kind of key signed it.
    let mixed = |cloud, chip: Option<&'static str>| {
        let mut case = case();
        case.chip.cloud = cloud;
        let report = case.response()["report"].clone();
        case.chip.cloud = chip;
        let mut response = case.response();
        response["report"] = report;
        why(appraise(&case.rule(), &case.evidence(), &response))
    };
    let told = "the report names another kind of signing key than its certificate".to_owned();
    assert_eq!(mixed(None, Some("CN=a.example")), (Step::Form, told.clone()));
    assert_eq!(mixed(Some("CN=a.example"), None), (Step::Form, told));
    // A chip's own key: the launch does not make it another guest.
    let first = Case::good().appraise().unwrap().name;
    let again = Case::good().with(|case| case.report.report_id = [2; 32]);
    assert_eq!(again.appraise().unwrap().name, first);
}

/// req: ATT-03 (part), ATT-04 (part)
#[test]
fn ar4si_2_3_4_what_is_dangerous_is_accepted_by_name_and_told() {
    let dangerous = json!(["debug", "migration_agent"]);
    let case = Case::good().set("dangerously_accepts", dangerous.clone());
    let case = case.with(|case| case.report.policy |= 3 << 18);
    let found = case.appraise().unwrap();
    assert_eq!(found.vector.value(Claim::Configuration), 96);
    assert_eq!(found.vector.value(Claim::RuntimeOpaque), 96);
    assert_eq!(found.vector.tier(), Tier::Contraindicated);
    assert!(found.selectors.iter().any(|one| one.as_str() == "snp:debug:true"));
    // One danger is not the other.
    let case = Case::good().set("dangerously_accepts", json!(["debug"]));
    let found = why(case.with(|case| case.report.policy |= 3 << 18).appraise());
    assert!(found.1.contains("migration agent"), "{found:?}");
    let current = json!({ "boot_loader": 3, "tee": 0, "snp": 9, "microcode": 115 });
    let found = Case::good().set("tcb_current", current).appraise().unwrap();
    assert_eq!((found.vector.value(Claim::Hardware), found.vector.tier()), (32, Tier::Warning));
}

#[test]
fn s7_policy_of_snp_names_measurements_and_roots() {
    let check = |case: Case, expect: &[&str]| {
        let faults = snp::Mechanism.faults(&case.rule());
        let keys: Vec<_> = faults.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, expect, "{faults:?}");
    };
    check(Case::good(), &[]);
    check(Case::good().set("measurements", json!([])), &["measurements"]);
    check(Case::good().set("measurements", json!(["4d"])), &[""]);
    check(Case::good().set("crls", json!("-----BEGIN X509 CRL-----")), &["crls"]);
    let current = json!({ "boot_loader": 2, "tee": 0, "snp": 9, "microcode": 115 });
    check(Case::good().set("tcb_current", current), &["tcb_current"]);
    check(Case::good().set("allow_debug", json!(true)), &[""]);
    check(Case::good().set("dangerously_accepts", json!(["everything"])), &[""]);
    let faults = snp::Mechanism.faults(&NodeRule { anchors: String::new(), ..Case::good().rule() });
    assert_eq!(faults[0].0, "anchors");
}
