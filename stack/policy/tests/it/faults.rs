//! Each kind of fault, as a person reads it: file, line, column, what, and what to do.

use policy::PolicySet;

use crate::{files, set};

fn faults(others: &[(&str, &str)]) -> String {
    match PolicySet::compile(files(others)) {
        Ok(_) => panic!("it compiled"),
        Err(faults) => {
            assert!(!faults.is_empty());
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
    }
}

/// A misspelt name would be a policy that is missing.
/// req: POL-01 (part)
#[test]
fn s12_a_file_that_nothing_reads_is_a_fault() {
    insta::assert_snapshot!(faults(&[
        ("acess/deny.cedar", "x"),
        ("access/deny.ceder", "x"),
        ("access/notes.toml", "x"),
        ("resources/ledger.yaml", "x"),
        ("Domain.toml", "x"),
        ("controls/a.toml", "x"),
    ]));
}

#[test]
fn s12_a_file_that_must_be_there() {
    insta::assert_snapshot!(faults(&[("domain.toml", ""), ("attestation.toml", "")]));
}

#[test]
fn s12_a_file_that_does_not_read_is_shown_at_its_place() {
    let unknown = "trust_domain = \"demo.example\"\n\n[lifetimes]\nx509_svid = 3600\nwits = 60\n";
    insta::assert_snapshot!(faults(&[
        ("domain.toml", unknown),
        ("attestation.toml", "[node.join_token]\n[class.standard]\ndemands = [\"unix:path\"]\n"),
        ("resources/ledger.toml", "name = \"ledger\"\nprotocol = \"smtp\"\n"),
        ("resources/text.toml", "name = \"text\n"),
        ("agents/invoice.toml", "name = \"Invoice\"\nkind = \"agent\"\nowner = \"a\"\n"),
    ]));
}

/// Each value that may not stand, at the line that sets it: not in a comment, not in another table.
#[test]
fn s12_a_value_that_may_not_stand_is_shown_at_its_line() {
    let domain = "# wit: nothing without a reason\ntrust_domain = \"demo.example\"\n\n[lifetimes]\n\
                  wit = 0\njwt_svid = 7200\ntxn_token = 61\n\n[revocation]\nfeed_lost_after = 301\n\n\
                  [delegation]\ndepth_max = 9\n\n[audit]\nkeep = 172799\n\n[bounds]\nclock_skew = 121\nproof_lifetime = 0\n";
    let attestation = "[node.join_token]\n[node.tpm]\n\n[class.standard]\ndemands = [\"unix:path\"]\n\
                       issues = [\"x509\"]\n\n[class.high]\ndemands = []\nissues = [\"pgp\"]\n";
    let resource = "name = \"Ledger\"\naudience = \"spiffe://demo.example/agent/a\"\n\
                    upstream = \"ftp://a\"\nprotocol = \"mcp\"\n\n[scopes]\nread = \"read\"\n\n\
                    [[action]]\ntool = \"a\"\nscope = \"write\"\n\n[[action]]\npath = \"/b\"\n";
    insta::assert_snapshot!(faults(&[
        ("domain.toml", domain),
        ("attestation.toml", attestation),
        ("resources/ledger.toml", resource),
    ]));
}

/// Profiles under which nobody could get a token for the resource.
#[test]
fn fapi2_5_3_2_1_a_profile_and_a_proof_that_do_not_go_together_are_a_fault() {
    let resource = |name: &str, more: &str| {
        format!("name = \"{name}\"\nupstream = \"https://a.example\"\nprotocol = \"http\"\n{more}")
    };
    let all = [
        ("resources/bearer.toml", resource("bearer", "proof = \"bearer\"\nprofiles = [\"fapi2\"]")),
        ("resources/wit.toml", resource("wit", "profiles = [\"mcp\", \"fapi-ciba\"]")),
        ("resources/odd.toml", resource("odd", "profiles = [\"fapi3\"]")),
        ("resources/dpop.toml", resource("dpop", "proof = \"dpop\"\nprofiles = [\"fapi2\"]")),
        ("resources/mcp.toml", resource("mcp", "proof = \"bearer\"\nprofiles = [\"mcp\"]")),
    ];
    let all: Vec<_> = all.iter().map(|(name, text)| (*name, text.as_str())).collect();
    insta::assert_snapshot!(faults(&all));
}

/// What registration would refuse, before it is applied.
#[test]
fn s12_an_agent_that_could_not_be_registered_is_a_fault() {
    let agent = |name: &str, rule: &str| {
        format!("name = \"{name}\"\nkind = \"agent\"\nowner = \"a\"\n\n[rule]\n{rule}\n")
    };
    let path = "selectors = [\"unix:path:/opt/a\"]";
    insta::assert_snapshot!(faults(&[
        ("agents/any.toml", &agent("any", "selectors = []")),
        ("agents/weak.toml", &agent("weak", "selectors = [\"unix:uid:0\"]")),
        ("agents/odd.toml", &agent("odd", &format!("{path}\nclass = \"none\""))),
        ("agents/good.toml", &agent("good", path)),
    ]));
}

/// Two files that say the same name: which of them holds would be chance. Two resources of one
/// identifier: a token for the one would be good for the other.
/// req: AUTHZ-08 (part)
#[test]
fn s12_what_is_named_twice_is_a_fault() {
    let resource = |name: &str, audience: &str| {
        format!("name = \"{name}\"\n{audience}upstream = \"http://a\"\nprotocol = \"mcp\"\n")
    };
    let shared = "audience = \"https://shared.example\"\n";
    let agent = "name = \"invoice\"\nkind = \"service\"\nowner = \"b\"\n\
                 [rule]\nselectors = [\"unix:path:/b\"]\n";
    insta::assert_snapshot!(faults(&[
        ("resources/ledger-2.toml", &resource("ledger", "")),
        ("resources/a.toml", &resource("a", shared)),
        ("resources/b.toml", &resource("b", shared)),
        ("agents/other.toml", agent),
    ]));
}

#[test]
fn s12_a_rule_that_does_not_compile_is_shown_with_its_fix() {
    insta::assert_snapshot!(faults(&[
        ("access/a-syntax.cedar", "@id(\"a\")\npermit(principal, action, resource)\n"),
        ("access/b-nameless.cedar", "permit(principal, action, resource);\n"),
        ("access/c-twice.cedar", "@id(\"tokens\")\npermit(principal, action, resource);\n"),
        (
            "access/d-unknown.cedar",
            "@id(\"d\")\npermit(principal, action == Aims::Action::\"token.exchang\", resource);\n",
        ),
        (
            "access/e-kind.cedar",
            "@id(\"e\")\npermit(principal, action == Aims::Action::\"tool.call\", resource)\n\
             when { context.depth == \"one\" };\n",
        ),
    ]));
}

/// Everything that is wrong is told at once, in the order of files and lines.
#[test]
fn s12_all_faults_are_told_at_once_in_order() {
    let told = faults(&[
        ("access/a.cedar", "permit(principal, action, resource);\n"),
        ("agents/x.toml", "name = 7\n"),
        ("attestation.toml", ""),
        ("domain.toml", "trust_domain = \"\"\n"),
        ("resources/z.toml", "\n\nname = 7\n"),
        ("zebra.toml", "x"),
    ]);
    let lines: Vec<_> = told.lines().filter(|line| !line.starts_with(' ')).collect();
    let files: Vec<_> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    let expect = [
        "access/a.cedar",
        "agents/x.toml",
        "attestation.toml",
        "domain.toml",
        "resources/z.toml",
        "zebra.toml",
    ];
    assert_eq!(files, expect, "{told}");
}

/// What is agreed on with another trust domain says all that its profile needs, and no more.
#[test]
fn s12_a_relation_that_makes_no_sense_is_a_fault() {
    let file = |domain: &str, rest: &str| {
        format!("trust_domain = \"{domain}\"\nurl = \"https://bundles.example/{domain}\"\n{rest}\n")
    };
    let spiffe = "profile = \"https_spiffe\"";
    let id = "endpoint_id = \"spiffe://c.example/bundle\"";
    insta::assert_snapshot!(faults(&[
        ("federation/a.toml", &file("demo.example", "profile = \"https_web\"")),
        ("federation/b.toml", &file("b.example", spiffe)),
        ("federation/c.toml", &file("c.example", &format!("{spiffe}\n{id}"))),
        ("federation/d.toml", &file("d.example", &format!("profile = \"https_web\"\n{id}"))),
        ("federation/e.toml", &file("e.example", "profile = \"http\"")),
        ("federation/f.toml", &file("f.example", "profile = \"https_web\"")),
        ("federation/g.toml", &file("f.example", "profile = \"https_web\"")),
        ("federation/h.toml", "trust_domain = \"h.example\"\nurl = \"http://h.example/\"\n"),
    ]));
}

/// One origin for all that is issued: a name that is none under the scheme is a fault at its line,
/// and without a word the scheme is SPIFFE's.
/// req: ID-02 (part)
#[test]
fn wimse_identifier_4_4_a_trust_domain_is_one_under_its_scheme() {
    let shown = |domain: &str| faults(&[("domain.toml", domain)]);
    let dotted = shown("trust_domain = \"demo.example.\"\nscheme = \"wimse\"\n");
    assert!(dotted.starts_with("domain.toml:1:"), "{dotted}");
    assert!(dotted.contains("dot"), "{dotted}");
    let unknown = shown("trust_domain = \"demo.example\"\nscheme = \"https\"\n");
    assert!(unknown.starts_with("domain.toml:2:"), "{unknown}");
    assert!(unknown.contains("`spiffe` or `wimse`"), "{unknown}");
    for (text, origin) in [
        ("trust_domain = \"demo.example\"\n", "spiffe://demo.example"),
        ("trust_domain = \"demo.example\"\nscheme = \"spiffe\"\n", "spiffe://demo.example"),
        ("trust_domain = \"demo.example\"\nscheme = \"wimse\"\n", "wimse://demo.example"),
        // SPIFFE lets a name end in a dot.
        ("trust_domain = \"demo.example.\"\n", "spiffe://demo.example."),
    ] {
        assert_eq!(set(&[("domain.toml", text)]).origin().as_str(), origin);
    }
}
