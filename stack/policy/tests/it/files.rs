//! The files: bounded, named, hashed; and what a set is made of.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Files, FilesError, PolicySet};

use crate::{SET, files, set};

fn one(name: &str, text: &str) -> Result<Files, FilesError> {
    Files::new(BTreeMap::from([(name.to_owned(), text.to_owned())]))
}

/// req: POL-01 (part)
#[test]
fn s12_a_set_is_the_sum_of_its_files() {
    let set = set(&[]);
    assert_eq!(set.domain().trust_domain.as_str(), "demo.example");
    assert_eq!(set.attestation().class.keys().collect::<Vec<_>>(), ["standard"]);
    assert_eq!(set.agents().len(), 1);
    let rules: Vec<_> = set.pdp().access().rules().iter().map(|rule| rule.id.to_owned()).collect();
    assert_eq!(
        rules.into_iter().collect::<BTreeSet<_>>(),
        ["calls".into(), "tokens".into()].into()
    );
    let gateway = "https://gateway.example";
    let ledger = set.resource_named("ledger").unwrap();
    assert_eq!(set.resource("https://gateway.example/ledger", gateway), Some(ledger));
    assert_eq!(set.audience("https://gateway.example/ledger", gateway).unwrap().name, "ledger");
    for other in ["https://gateway.example/ledger/", "ledger", "https://other.example/ledger", ""] {
        assert_eq!(set.audience(other, gateway), None, "{other}");
    }
    assert!(set.resource_named("Ledger").is_none());
    assert_eq!(set.scopes().to_string(), "read");
    assert_eq!(set.version(), set.pdp().version(), "decisions name the version of the whole set");
}

/// req: POL-01 (part), POL-02 (part)
#[test]
fn s12_the_version_changes_with_any_byte_and_with_nothing_else() {
    let version = |files: Files| files.version().as_str().to_owned();
    let first = version(files(&[]));
    assert_eq!(first, version(files(&[])), "the same files, the same version");
    assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
    let mut seen = BTreeSet::from([first]);
    let mut fresh = |files: Files, what: &str| assert!(seen.insert(version(files)), "{what}");
    for (name, text) in SET {
        let more = format!("{text} ");
        fresh(files(&[(name, &more)]), name);
        let less = text.get(..text.len() - 1).unwrap();
        fresh(files(&[(name, less)]), name);
        fresh(files(&[(name, ""), (&format!("x{name}"), text)]), name);
        fresh(files(&[(name, "")]), name);
    }
    // What ends one part begins no other.
    fresh(one("a", "bc").unwrap(), "a bc");
    fresh(one("ab", "c").unwrap(), "ab c");
    fresh(one("abc", "").unwrap(), "abc");
    let two = |b: &str, d: &str| {
        let all = [("a", b), ("c", d)].map(|(name, text)| (name.to_owned(), text.to_owned()));
        Files::new(all.into()).unwrap()
    };
    fresh(two("b", "d"), "b d");
    fresh(two("", "bd"), "bd");
    fresh(two("bd", ""), "bd");
}

#[test]
fn s12_a_directory_is_bounded() {
    let many = |count: usize| {
        Files::new((0..count).map(|n| (format!("f{n}.md"), String::new())).collect()).map(|_| ())
    };
    assert_eq!(many(1_024), Ok(()));
    assert_eq!(many(1_025), Err(FilesError::TooMany { count: 1_025 }));
    let large = |bytes: usize| one("a.md", &"x".repeat(bytes)).map(|_| ());
    assert_eq!(large(8 * 1024 * 1024), Ok(()));
    let bytes = 8 * 1024 * 1024 + 1;
    assert_eq!(large(bytes), Err(FilesError::TooLarge { bytes }));
}

/// A name means the same on every machine, and leads nowhere else.
#[test]
fn s12_a_file_has_a_plain_name() {
    for good in ["domain.toml", "resources/a-b_c.1.toml", "access/deep/er.cedar"] {
        assert!(one(good, "").is_ok(), "{good}");
    }
    let long = format!("{}.toml", "a".repeat(196));
    for bad in [
        "",
        "/domain.toml",
        "../domain.toml",
        "a/../b.toml",
        "./a.toml",
        "a//b.toml",
        "a/",
        ".git/config",
        "access/.main.cedar.swp",
        "a b.toml",
        "a\\b.toml",
        "ä.toml",
        "a\0.toml",
        &long,
    ] {
        let name = bad.to_owned();
        assert_eq!(one(bad, "").map(|_| ()), Err(FilesError::Name { name }), "{bad}");
    }
}

/// Files that come from a store or a peer are held to the same bounds.
#[test]
fn s12_files_read_back_as_they_were_written_and_no_others() {
    let text = serde_json::to_string(&files(&[])).unwrap();
    assert_eq!(serde_json::from_str::<Files>(&text).unwrap(), files(&[]));
    assert!(serde_json::from_str::<Files>(r#"{"../a":""}"#).is_err());
}

#[test]
fn s12_a_set_keeps_the_files_it_was_made_of() {
    let made = set(&[]);
    assert_eq!(made.files(), &files(&[]));
    let again = PolicySet::compile(made.files().clone()).unwrap();
    assert_eq!(again.version(), made.version());
}
