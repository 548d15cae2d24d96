//! `docs/settings.md` has every key that `aims.toml` and `domain.toml` may have, none that they may
//! not, and the defaults that the code has.

use std::collections::{BTreeMap, BTreeSet};

use policy::Domain;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::layout::Settings;

const PAGE: &str = include_str!("../../../docs/settings.md");
/// A key that nothing has.
const ODD: &str = "no_such_key";

/// The tables of the page, by their headings: each key and the default beside it.
fn page() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut heading = String::new();
    for line in PAGE.lines() {
        if let Some(rest) = line.strip_prefix('#') {
            heading = rest.trim_matches(['#', ' ', '`']).to_owned();
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let (key, rest) = row.split_once("` | ").unwrap();
        let default = rest.split_once(" | ").unwrap().0.trim_matches('`').to_owned();
        let before = tables.entry(heading.clone()).or_default().insert(key.to_owned(), default);
        assert_eq!(before, None, "{heading}: `{key}` stands there twice");
    }
    tables
}

/// The keys that the reader of this table says it knows, where a line has one that it does not.
fn keys<T: DeserializeOwned>(before: &str) -> BTreeSet<String> {
    let text = format!("{before}\n{ODD} = 1\n");
    let why = toml::from_str::<T>(&text).err().map(|error| error.to_string()).unwrap_or_default();
    let list = why.split_once(&format!("unknown field `{ODD}`, expected "));
    let (_, list) = list.unwrap_or_else(|| panic!("{text}: {why}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let settings = |table: &str| keys::<Settings>(&format!("trust_domain = \"a\"\n{table}"));
    known.insert("aims.toml".to_owned(), keys::<Settings>(""));
    for table in ["join_tpm", "workloads.systemd", "workloads.docker", "workloads.podman"]
        .into_iter()
        .chain(["workloads.kubernetes"])
    {
        known.insert(format!("[{table}]"), settings(&format!("[{table}]")));
    }
    let services = settings("[workloads]");
    assert!(services.iter().all(|name| known.contains_key(&format!("[workloads.{name}]"))));
    for (table, tag, variants) in [
        ("keys", "store", ["disk", "pkcs11", "tpm"]),
        ("upstream_authority", "kind", ["disk", "pkcs11", "spire"]),
    ] {
        let of_all = known.entry(format!("[{table}]")).or_default();
        of_all.insert(tag.to_owned());
        // One without keys of its own has nothing to say of them.
        for variant in variants.into_iter().filter(|name| (table, *name) != ("keys", "disk")) {
            of_all.extend(settings(&format!("[{table}]\n{tag} = \"{variant}\"")));
        }
    }
    let domain = |table: &str| keys::<Domain>(&format!("trust_domain = \"a\"\n{table}"));
    let tables = keys::<Domain>("");
    for table in tables.iter().filter(|name| !["trust_domain", "scheme"].contains(&name.as_str())) {
        known.insert(format!("[{table}]"), domain(&format!("[{table}]")));
    }
    known.insert("domain.toml".to_owned(), tables);
    for list in [
        "delegation.impersonation",
        "delegation.issuer",
        "sign_in.upstream",
        "approvals.resource",
        "registration.statement",
    ] {
        known.insert(format!("[[{list}]]"), domain(&format!("[[{list}]]")));
    }
    let shown = page();
    let names: Vec<_> = known.keys().collect();
    assert_eq!(shown.keys().collect::<Vec<_>>(), names, "a table of its own for each");
    for (table, keys) in &known {
        let rows: BTreeSet<_> = shown[table].keys().cloned().collect();
        let missing: Vec<_> = keys.difference(&rows).collect();
        let odd: Vec<_> = rows.difference(keys).collect();
        assert!(missing.is_empty(), "docs/settings.md, {table}: write a line for {missing:?}");
        assert!(odd.is_empty(), "docs/settings.md, {table}: there is no {odd:?}");
    }
}

/// What the code writes where nothing was said; what it leaves out has no default.
fn defaults(value: &impl Serialize) -> Table {
    toml::from_str(&toml::to_string(value).unwrap()).unwrap()
}

fn agree(table: &str, found: &Table) {
    let shown = &page()[table];
    for (key, default) in shown {
        match found.get(key) {
            None | Some(Value::Table(_)) => {}
            Some(Value::String(text)) => assert_eq!(default, text, "{table}: {key}"),
            Some(other) => assert_eq!(*default, other.to_string(), "{table}: {key}"),
        }
    }
    for key in found.keys() {
        assert!(shown.contains_key(key), "{table}: {key}");
    }
}

#[test]
fn the_page_has_the_defaults_of_the_code() {
    let settings: Settings = toml::from_str("trust_domain = \"local.example\"").unwrap();
    assert_eq!(settings, Settings::new("local.example", crate::layout::PORT_BASE));
    agree("aims.toml", &defaults(&settings));
    let whole = "trust_domain = \"a\"\n[workloads.systemd]\n[workloads.docker]\n\
                 [workloads.podman]\n[workloads.kubernetes]\n";
    let settings: Settings = toml::from_str(whole).unwrap();
    for (name, table) in defaults(&settings.workloads) {
        agree(&format!("[workloads.{name}]"), table.as_table().unwrap());
    }
    let domain: Domain = toml::from_str("trust_domain = \"local.example\"").unwrap();
    let domain = defaults(&domain);
    let mut tables = 0;
    for (name, table) in domain.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
        agree(&format!("[{name}]"), table);
        tables += 1;
    }
    assert!(tables > 10, "{tables}");
}
