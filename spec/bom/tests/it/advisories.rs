//! Which advisories concern a component.

use bom::{Advisories, Bom, Score};
use serde_json::{Value, json};
use time::UnixTime;

use crate::{agent, with};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// GHSA-j8r2-6x86-q33q, in part: CVE-2023-32681 of requests.
fn requests() -> Value {
    json!({
        "id": "GHSA-j8r2-6x86-q33q", "modified": "2024-11-18T16:26:24Z",
        "aliases": ["CVE-2023-32681", "PYSEC-2023-74"],
        "severity": [{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:C/C:H/I:N/A:N" }],
        "affected": [{
            "package": { "name": "requests", "ecosystem": "PyPI", "purl": "pkg:pypi/requests" },
            "ranges": [{
                "type": "ECOSYSTEM", "events": [{ "introduced": "2.3.0" }, { "fixed": "2.31.0" }]
            }],
            "versions": ["2.29.0", "2.30.0"]
        }]
    })
}

fn advisory(affected: Value) -> Value {
    json!({ "id": "X-1", "affected": [affected] })
}

/// The ids that concern the component of that name, in a bill where it has this purl.
fn found(advisory: &Value, purl: &str) -> Vec<String> {
    let bom = with(&agent(), "/components/2/purl", json!(purl));
    let bom = with(&bom, "/components/2/version", Value::Null);
    let bom = Bom::parse(bom.to_string().as_bytes()).unwrap();
    let lib = bom.components().iter().find(|one| one.name() == "requests").unwrap();
    let all = Advisories::parse(json!([advisory]).to_string().as_bytes()).unwrap();
    all.of(lib, NOW).map(|one| one.id().to_owned()).collect()
}

fn concerns(advisory: &Value, purl: &str) -> bool {
    !found(advisory, purl).is_empty()
}

/// req: ATT-09 (part)
#[test]
fn osv_a_published_advisory_concerns_the_versions_it_lists() {
    assert_eq!(found(&requests(), "pkg:pypi/Requests@2.30.0"), ["GHSA-j8r2-6x86-q33q"]);
    for purl in ["pkg:pypi/requests@2.31.0", "pkg:pypi/requests2@2.30.0", "pkg:npm/requests@2.30.0"]
    {
        assert!(!concerns(&requests(), purl), "{purl}");
    }
    let bom = Bom::parse(agent().to_string().as_bytes()).unwrap();
    let all = Advisories::parse(json!([requests()]).to_string().as_bytes()).unwrap();
    let lib = bom.components().iter().find(|one| one.name() == "requests").unwrap();
    let one = all.of(lib, NOW).next().unwrap();
    assert_eq!(one.severity_for(lib), Score::from_tenths(61));
    assert!(one.is_called("CVE-2023-32681") && !one.is_called("CVE-2023-32682"));
}

#[test]
fn osv_semver_ranges() {
    let range = |events: Value| {
        advisory(json!({
            "package": { "name": "left-pad", "ecosystem": "npm" },
            "ranges": [{ "type": "SEMVER", "events": events }]
        }))
    };
    let check = |events: Value, cases: &[(&str, bool)]| {
        for (version, expect) in cases {
            let purl = format!("pkg:npm/left-pad@{version}");
            assert_eq!(concerns(&range(events.clone()), &purl), *expect, "{version} in {events}");
        }
    };
    let fixed = json!([{ "introduced": "1.0.0" }, { "fixed": "1.3.1" }]);
    check(fixed, &[("0.9.9", false), ("1.0.0", true), ("1.3.1-rc.1", true), ("1.3.1", false)]);
    let twice = json!([
        { "introduced": "0" }, { "fixed": "1.0.0" }, { "introduced": "2.0.0" }, { "fixed": "2.1.0" }
    ]);
    check(
        twice,
        &[("0.0.1", true), ("0.0.0-a", true), ("1.5.0", false), ("2.0.5", true), ("3.0.0", false)],
    );
    let unsorted = json!([{ "fixed": "1.3.1" }, { "introduced": "1.0.0" }]);
    check(unsorted, &[("0.9.9", false), ("1.3.0", true), ("1.3.1", false)]);
    let last = json!([{ "introduced": "1.0.0" }, { "last_affected": "1.3.0" }]);
    check(last, &[("1.3.0", true), ("1.3.1", false)]);
    let limit = json!([{ "introduced": "0" }, { "limit": "2.0.0" }]);
    check(limit, &[("1.9.9", true), ("2.0.0", false)]);
    check(json!([{ "introduced": "0" }, { "limit": "*" }]), &[("9.9.9", true)]);
    // What cannot be compared may be affected.
    check(json!([{ "introduced": "1.0.0" }, { "fixed": "1.3.1" }]), &[("latest", true)]);
    check(json!([{ "introduced": "first" }]), &[("1.0.0", true)]);
}

#[test]
fn osv_where_it_cannot_be_told_a_version_is_affected() {
    let package = json!({ "name": "requests", "ecosystem": "PyPI" });
    let of = |more: Value| {
        let mut affected = json!({ "package": package });
        affected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        advisory(affected)
    };
    let ecosystem =
        json!([{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "3" }] }]);
    assert!(concerns(&of(json!({ "ranges": ecosystem })), "pkg:pypi/requests@2"));
    assert!(!concerns(&of(json!({ "ranges": ecosystem })), "pkg:pypi/requests@3"));
    let listed = json!({ "ranges": ecosystem, "versions": ["1"] });
    assert!(concerns(&of(listed.clone()), "pkg:pypi/requests@1"));
    assert!(!concerns(&of(listed.clone()), "pkg:pypi/requests@2"));
    // No version may be any; a package that is listed without versions is denied whole.
    assert!(concerns(&of(listed), "pkg:pypi/requests"));
    assert!(concerns(&of(json!({})), "pkg:pypi/requests@2"));
    assert!(concerns(
        &of(json!({ "ranges": [{ "type": "NEW", "events": [] }] })),
        "pkg:pypi/requests@2"
    ));
    assert!(!concerns(
        &of(json!({ "ranges": [{ "type": "GIT", "events": [] }] })),
        "pkg:pypi/requests@2"
    ));
    assert!(!concerns(&of(json!({})), "pkg:conda/requests@2"));
}

#[test]
fn osv_packages_are_told_by_purl_or_by_the_name_of_their_ecosystem() {
    let of = |package: Value| advisory(json!({ "package": package }));
    let named = |ecosystem: &str, name: &str| of(json!({ "ecosystem": ecosystem, "name": name }));
    for (advisory, purl, expect) in [
        (named("PyPI", "Django_Allauth"), "pkg:pypi/django-allauth@1", true),
        (named("PyPI:x", "django"), "pkg:pypi/Django@1", true),
        (named("npm", "@acme/a"), "pkg:npm/%40acme/a@1", true),
        (named("npm", "a"), "pkg:npm/%40acme/a@1", false),
        (named("Maven", "org.acme:a"), "pkg:maven/org.acme/a@1", true),
        (named("Go", "acme.example/a"), "pkg:golang/acme.example/a@v1.0.0", true),
        (named("PyPI", "a"), "pkg:npm/a@1", false),
        (
            of(json!({ "ecosystem": "models", "name": "a", "purl": "pkg:huggingface/acme/a" })),
            "pkg:huggingface/acme/a@c0ffee",
            true,
        ),
    ] {
        assert_eq!(concerns(&advisory, purl), expect, "{advisory} {purl}");
    }
}

#[test]
fn osv_a_hash_denies_a_file_whatever_it_is_called() {
    let by_hash = advisory(json!({ "database_specific": { "sha256": ["DD".repeat(32)] } }));
    assert!(concerns(&by_hash, "pkg:generic/unknown@1"));
    let other = advisory(json!({ "database_specific": { "sha256": ["ab".repeat(32)] } }));
    assert!(!concerns(&other, "pkg:generic/unknown@1"));
}

#[test]
fn osv_a_withdrawn_advisory_concerns_nobody_from_then_on() {
    let withdrawn = with(&requests(), "/withdrawn", json!("2027-01-15T08:00:00Z"));
    assert!(!concerns(&withdrawn, "pkg:pypi/requests@2.30.0"));
    let later = with(&requests(), "/withdrawn", json!("2027-01-15T08:00:01Z"));
    assert!(concerns(&later, "pkg:pypi/requests@2.30.0"));
}

#[test]
fn osv_severity_is_that_of_the_package_where_it_has_one() {
    let severity = |all: Value, own: Value| {
        let advisory = with(&requests(), "/severity", all);
        let advisory = with(&advisory, "/affected/0/severity", own);
        let all = Advisories::parse(json!([advisory]).to_string().as_bytes()).unwrap();
        let bom = Bom::parse(agent().to_string().as_bytes()).unwrap();
        let lib = bom.components().iter().find(|one| one.name() == "requests").unwrap().clone();
        all.of(&lib, NOW).next().unwrap().severity_for(&lib).map(Score::tenths)
    };
    let v3 = |vector: &str| json!([{ "type": "CVSS_V3", "score": format!("CVSS:3.1/{vector}") }]);
    let high = v3("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H");
    let low = v3("AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N");
    assert_eq!(severity(high.clone(), json!([])), Some(98));
    assert_eq!(severity(high, low), Some(31));
    assert_eq!(severity(json!([]), json!([])), None);
    assert_eq!(severity(json!([{ "type": "CVSS_V4", "score": "CVSS:4.0/AV:N" }]), json!([])), None);
    assert_eq!(severity(v3("AV:N"), json!([])), Some(100));
}

#[test]
fn osv_lists_that_do_not_read() {
    let check = |value: Value, expect: &str| {
        let refused = Advisories::parse(value.to_string().as_bytes()).map(|_| ());
        let refused = refused.map_err(|error| error.to_string());
        assert!(refused.clone().is_err_and(|why| why.contains(expect)), "{refused:?}: {expect}");
    };
    check(json!({}), "not a list of advisories");
    check(json!([{ "id": "" }]), "an advisory without an id");
    check(json!([with(&requests(), "/id", Value::Null)]), "missing field `id`");
    check(json!([with(&requests(), "/withdrawn", json!("x"))]), "`x` is no instant");
    check(
        json!([with(&requests(), "/affected/0/package/purl", json!("x"))]),
        "a package url begins",
    );
    check(
        json!([with(&requests(), "/affected/0/versions", json!(vec!["1"; 4_097]))]),
        "4097 versions",
    );
    check(json!(vec![json!({ "id": "a" }); 4_097]), "4097 advisories");
    let all = Advisories::parse(b"[]").unwrap();
    assert!(all.is_empty());
}
