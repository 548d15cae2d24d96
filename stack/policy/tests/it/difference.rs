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
