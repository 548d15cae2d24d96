//! A policy directory: what it is compiled to, or all that is wrong with it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod difference;
mod faults;
mod files;
mod review;

use std::collections::BTreeMap;

use policy::{Files, PolicySet};

/// A set that compiles.
const SET: &[(&str, &str)] = &[
    ("README.md", "What is here, and who answers for it."),
    ("domain.toml", "trust_domain = \"demo.example\"\n"),
    (
        "attestation.toml",
        "[node.join_token]\n\n[class.standard]\ndemands = [\"unix:path\"]\nissues = [\"x509\", \"wit\"]\n",
    ),
    (
        "resources/ledger.toml",
        "name = \"ledger\"\nupstream = \"http://127.0.0.1:9000/mcp\"\nprotocol = \"mcp\"\n\n\
         [scopes]\nread = \"read invoices\"\n\n\
         [[action]]\ntool = \"read_invoice\"\nscope = \"read\"\nread_only = true\n",
    ),
    (
        "agents/invoice.toml",
        "name = \"invoice\"\nkind = \"agent\"\nowner = \"team-a\"\n\n\
         [rule]\nselectors = [\"unix:path:/opt/invoice\"]\n",
    ),
    (
        "access/main.cedar",
        "@id(\"tokens\")\npermit(principal, action == Aims::Action::\"token.issue\", resource);\n\n\
         @id(\"calls\")\npermit(principal, action == Aims::Action::\"tool.call\", resource);\n",
    ),
];

/// The files of the set, with these in place of those of their names, or beside them; an empty text
/// leaves a file out.
fn files(others: &[(&str, &str)]) -> Files {
    let all = SET.iter().chain(others);
    let mut all: BTreeMap<_, _> =
        all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    all.retain(|_, text| !text.is_empty());
    Files::new(all).unwrap()
}

fn set(others: &[(&str, &str)]) -> PolicySet {
    PolicySet::compile(files(others)).unwrap_or_else(|faults| {
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("{}", told.join("\n"))
    })
}
