//! The rules, over the tree. Each test prints every place that breaks its rule and what to do.

#![expect(clippy::unwrap_used, reason = "a checkout that cannot be read fails the test")]

use std::collections::BTreeSet;

use law::source::Source;
use law::tree::{Crate, Tree};
use law::{
    Finding, assertions, ceilings, citations, dependencies, documents, foreign, fuzzing, headers,
    leaks, names, purity, requirements, wording,
};

/// Fails with one line a finding.
fn obey(rule: &str, findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<String> = findings.into_iter().map(|finding| format!("  {finding}\n")).collect();
    assert!(lines.is_empty(), "{rule}: {} places\n{}", lines.len(), lines.concat());
}

fn tree() -> Tree {
    Tree::read().unwrap()
}

fn in_layers<'a>(tree: &'a Tree, layers: &'a [&str]) -> impl Iterator<Item = &'a Crate> {
    tree.crates.iter().filter(|member| layers.contains(&member.layer()))
}

fn sources(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.crates.iter().flat_map(|member| &member.sources)
}

#[test]
fn a_crate_uses_only_what_stands_below_it() {
    let tree = tree();
    let members: Vec<_> = tree.crates.iter().map(|member| &member.manifest).collect();
    obey("position is law", dependencies::check(&members));
}

#[test]
fn a_foreign_crate_stays_in_its_layer() {
    let tree = tree();
    let own: Vec<String> = tree.crates.iter().map(|member| member.manifest.name.clone()).collect();
    let members = tree.crates.iter();
    let used = members.flat_map(|m| foreign::check(&m.manifest, &own, foreign::ALLOWED));
    let rows = foreign::check_rows(foreign::ALLOWED, &tree.workspace);
    let pure = foreign::check_purity(foreign::ALLOWED, foreign::WORLDLY);
    obey("every dependency has an owner", used.chain(rows).chain(pure));
}

#[test]
fn nothing_is_longer_than_its_ceiling() {
    let tree = tree();
    let crates = tree
        .crates
        .iter()
        .flat_map(|member| ceilings::check_crate(&member.manifest.path, member.product_files()));
    obey("ceilings", sources(&tree).flat_map(ceilings::check_file).chain(crates));
}

#[test]
fn nothing_is_called_util() {
    let tree = tree();
    let paths = sources(&tree).flat_map(|source| names::check_path(&source.path));
    obey("names", paths.chain(sources(&tree).flat_map(names::check_modules)));
}

#[test]
fn every_requirement_that_a_test_names_exists() {
    let tree = tree();
    let ids = requirements::ids(&tree.text(requirements::CATALOGUE).unwrap());
    assert!(ids.len() > 100, "the catalogue has {} rows", ids.len());
    let scripts: Vec<String> = tree.files().unwrap();
    let scripts = scripts.iter().filter(|path| {
        path.starts_with("tests/")
            && [".sh", ".py", ".mjs", ".js"].iter().any(|e| path.ends_with(e))
    });
    let in_scripts = scripts
        .filter_map(|path| Some(requirements::check_script(path, &tree.readable(path)?, &ids)));
    let in_rust = sources(&tree).flat_map(|source| requirements::check(source, &ids));
    obey("requirements", in_rust.chain(in_scripts.flatten()));
}

#[test]
fn pure_code_does_not_mention_the_world() {
    let tree = tree();
    let pure = || in_layers(&tree, &["spec", "stack"]).flat_map(Crate::product_files);
    obey("purity", pure().flat_map(purity::check).chain(purity::check_exceptions(pure())));
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    obey("wording", sources(&tree()).flat_map(wording::check));
}

#[test]
fn every_crate_says_what_it_is() {
    let tree = tree();
    let headers = tree.crates.iter().map(|m| headers::check(&m.root, m.layer() == "spec"));
    obey("headers", headers.flatten());
}

#[test]
fn token_kinds_live_in_spec() {
    let tree = tree();
    let above = tree.crates.iter().filter(|member| member.layer() != "spec");
    let files = above.flat_map(Crate::product_files);
    obey("kinds", files.flat_map(assertions::check_kinds));
}

#[test]
fn every_assertion_stands_in_the_list() {
    let tree = tree();
    let files = tree.crates.iter().flat_map(Crate::product_files);
    let found: Vec<_> = files
        .flat_map(|source| {
            let found = assertions::occurrences(source).into_iter();
            found.map(|(line, entry)| (source.path.clone(), line, entry))
        })
        .collect();
    obey("assertions", assertions::check_list(&found, &tree.text(assertions::LIST).unwrap()));
}

#[test]
fn a_specification_crate_cites_its_specification() {
    let tree = tree();
    let crates = in_layers(&tree, &["spec"])
        .flat_map(|member| citations::check(&member.manifest.path, member.product_files()));
    obey("citations", crates);
}

#[test]
fn what_is_cited_of_our_own_documents_is_there() {
    let tree = tree();
    let files = tree.files().unwrap();
    let ends = |path: &str, endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
    let pages = files.iter().filter(|path| ends(path, &[".md"]));
    let documents: Vec<(String, String)> =
        pages.filter_map(|path| Some((path.clone(), tree.readable(path)?))).collect();
    let texts = files.iter().filter(|path| {
        ends(path, &[".md", ".sh", ".bash", ".py", ".mjs", ".js", ".proto", ".toml"])
    });
    let in_texts = texts.filter_map(|path| Some((path, tree.readable(path)?)));
    let in_texts =
        in_texts.flat_map(|(path, text)| documents::check_text(path, &text, &documents, &files));
    let in_rust = sources(&tree).flat_map(|source| documents::check(source, &documents));
    obey("documents", in_texts.chain(in_rust));
}

#[test]
fn no_file_names_this_machine() {
    let tree = tree();
    let files = tree.files().unwrap();
    let texts = files.iter().filter_map(|path| Some((path, tree.readable(path)?)));
    obey("leaks", texts.flat_map(|(path, text)| leaks::check(path, &text)));
}

#[test]
fn every_parser_is_fuzzed() {
    let tree = tree();
    let crates: Vec<&str> =
        in_layers(&tree, &["spec"]).map(|member| member.manifest.path.as_str()).collect();
    let parsers = fuzzing::parse(&tree.text(fuzzing::LIST).unwrap()).unwrap();
    obey("fuzzing", fuzzing::check(&crates, &parsers, &fuzz_targets(&tree)));
}

/// What `fuzz/` holds: `name = "…"` lines below `[[bin]]`, corpora with a file, sources.
fn fuzz_targets(tree: &Tree) -> fuzzing::Targets {
    let manifest = tree.text("fuzz/Cargo.toml").unwrap();
    let bins = manifest.split("[[bin]]").skip(1);
    let names = bins.filter_map(|bin| bin.split("name = \"").nth(1)?.split('"').next());
    let files = tree.files().unwrap();
    let corpora: BTreeSet<String> = files
        .iter()
        .filter_map(|path| path.strip_prefix("fuzz/corpus/")?.split_once('/'))
        .map(|(target, _)| target.to_owned())
        .collect();
    let sources = files.iter().filter(|path| {
        path.ends_with(".rs") && (path.starts_with("fuzz/") || path.starts_with("tests/corpus/"))
    });
    fuzzing::Targets {
        declared: names.map(str::to_owned).collect(),
        corpora: corpora.into_iter().collect(),
        source: sources.filter_map(|path| tree.readable(path)).collect(),
    }
}
