//! The plan that is shown before a set is applied.

use policy::difference;

use crate::set;

fn told(old: Option<&[(&str, &str)]>, new: &[(&str, &str)]) -> Vec<String> {
    let old = old.map(set);
    difference(old.as_ref(), &set(new)).iter().map(ToString::to_string).collect()
}

/// req: POL-01 (part)
#[test]
fn s12_a_plan_names_what_would_change() {
    let rules = "@id(\"tokens\")\npermit(principal, action == Aims::Action::\"token.exchange\", \
                 resource);\n@id(\"lists\")\npermit(principal, action == \
                 Aims::Action::\"tool.list\", resource);\n";
    let mail = "name = \"mail\"\nupstream = \"http://a\"\nprotocol = \"mcp\"\n";
    let domain = "trust_domain = \"demo.example\"\n[lifetimes]\nwit = 600\n";
    let agent = "name = \"invoice\"\nkind = \"agent\"\nowner = \"team-b\"\n\
                 [rule]\nselectors = [\"unix:path:/opt/invoice\"]\n";
    let found = told(
        Some(&[]),
        &[
            ("access/main.cedar", rules),
            ("resources/ledger.toml", ""),
            ("resources/mail.toml", mail),
            ("domain.toml", domain),
            ("agents/invoice.toml", agent),
        ],
    );
    let expect = [
        "- resource ledger",
        "- rule calls",
        "~ agent invoice",
        "~ domain",
        "+ resource mail",
        "+ rule lists",
        "~ rule tokens",
    ];
    assert_eq!(found, expect);
}

/// What a policy would cut is not hidden behind "the domain changes".
///
/// req: OBS-06 (part)
#[test]
fn s12_a_plan_says_how_long_records_are_kept() {
    let keep =
        |seconds: u64| format!("trust_domain = \"demo.example\"\n[audit]\nkeep = {seconds}\n");
    let (year, month) = (keep(31_536_000), keep(2_592_000));
    let (year, month) = (("domain.toml", year.as_str()), ("domain.toml", month.as_str()));
    let [a_year, a_month] =
        ["31536000", "2592000"].map(|keep| format!("records kept {keep} seconds, then cut"));
    assert_eq!(told(Some(&[]), &[year]), ["~ domain".to_owned(), format!("+ {a_year}")]);
    let changed = [format!("- {a_year}"), "~ domain".to_owned(), format!("+ {a_month}")];
    assert_eq!(told(Some(&[year]), &[month]), changed);
    assert_eq!(told(Some(&[year]), &[]), [format!("- {a_year}"), "~ domain".to_owned()]);
}

#[test]
fn s12_what_reads_the_same_does_not_change() {
    assert_eq!(told(Some(&[]), &[]), [""; 0]);
    let comment = ("domain.toml", "# for the demo\ntrust_domain = \"demo.example\"\n");
    assert_eq!(told(Some(&[]), &[comment, ("README.md", "Other words.")]), [""; 0]);
}

#[test]
fn s12_the_first_set_is_all_new() {
    let expect = [
        "+ agent invoice",
        "+ attestation",
        "+ domain",
        "+ resource ledger",
        "+ rule calls",
        "+ rule tokens",
    ];
    assert_eq!(told(None, &[]), expect);
}
