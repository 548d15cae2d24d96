//! Every file of every corpus, through its target; and the list of targets against the folders.

#![expect(clippy::unwrap_used, reason = "a corpus that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Names of what is in `folder`, without `ending`.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.into_string().unwrap());
    names.map(|name| name.strip_suffix(ending).unwrap_or(&name).to_owned()).collect()
}

#[test]
fn every_target_has_a_file_and_a_corpus_and_no_more_exist() {
    let listed: BTreeSet<String> =
        corpus::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), corpus::TARGETS.len(), "a target stands twice");
    assert_eq!(names(&fuzz().join("fuzz_targets"), ".rs"), listed);
    assert_eq!(names(&fuzz().join("corpus"), ""), listed);
}

#[test]
fn every_file_of_every_corpus_passes_its_target() {
    for (target, _) in corpus::TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let files = names(&folder, "");
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            let data = fs::read(folder.join(&file)).unwrap();
            // The harness shows output of a failing test alone: the last line names the file.
            println!("{target}/{file}");
            assert!(corpus::run(target, &data), "{target} is no target");
        }
    }
}

#[test]
fn an_unknown_target_is_told() {
    assert!(!corpus::run("no_such_target", b""));
}
