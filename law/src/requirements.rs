//! `req:` comments: which row of `docs/requirements.md` a test proves.

use std::collections::BTreeSet;

use crate::Finding;
use crate::source::Source;

/// Path of the catalogue.
pub const CATALOGUE: &str = "docs/requirements.md";

/// What stands before the ids.
const MARK: &str = "req:";
/// Attributes, further comments and `proptest!` lines between the comment and its `#[test]`.
const DISTANCE_MAX: usize = 6;

/// The ids of the catalogue: first cells of its rows.
pub fn ids(catalogue: &str) -> BTreeSet<String> {
    let cells = catalogue.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.filter(|cell| is_id(cell)).map(str::to_owned).collect()
}

/// Checks that each `req:` of a Rust file names rows that exist, and stands above a test.
pub fn check(source: &Source, ids: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in source.all() {
        let comment = line.comment.trim().trim_start_matches(['/', '!', '*']).trim();
        let Some(named) = comment.strip_prefix(MARK) else { continue };
        findings.extend(check_names(&source.path, line.number, named, ids));
        let mut below = source.code.iter().skip(line.number).take(DISTANCE_MAX);
        if !below.any(|code| code.contains("test]") || code.contains("test(")) {
            let what = "a `req:` that stands above no test";
            let fix = "put it directly above the `#[test]` that proves it";
            findings.push(Finding::at(&source.path, line.number, what, fix));
        }
    }
    findings
}

/// Checks that each `req:` in the comments of a script (`# req: …`, `// req: …`) exists.
pub fn check_script(path: &str, text: &str, ids: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let comment = line.trim().trim_start_matches(['#', '/', '*']);
        if let Some(named) = comment.trim().strip_prefix(MARK).filter(|_| comment != line.trim()) {
            findings.extend(check_names(path, at.saturating_add(1), named, ids));
        }
    }
    findings
}

fn check_names(path: &str, line: usize, named: &str, ids: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for id in named.split(',') {
        let id = id.trim();
        let id = id.strip_suffix("(part)").unwrap_or(id).trim();
        if !ids.contains(id) {
            let what = format!("`{id}` is no row of `{CATALOGUE}`");
            let fix = "write `req: ID` or `req: ID (part)`, several with commas, and nothing else";
            findings.push(Finding::at(path, line, what, fix));
        }
    }
    findings
}

/// `CRED-05`: capitals, a hyphen, digits.
fn is_id(cell: &str) -> bool {
    let Some((area, number)) = cell.split_once('-') else { return false };
    let filled = !area.is_empty() && !number.is_empty();
    filled
        && area.chars().all(|c| c.is_ascii_uppercase())
        && number.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOGUE_TEXT: &str =
        "# Rows\n| ID | L | Requirement |\n|---|---|---|\n| ID-01 | M | x |\n| CRED-05 | M | y |\n";

    fn check_text(text: &str) -> Vec<String> {
        let findings = check(&Source::new("a.rs", text), &ids(CATALOGUE_TEXT));
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn the_catalogue_is_its_rows() {
        assert_eq!(ids(CATALOGUE_TEXT).into_iter().collect::<Vec<_>>(), ["CRED-05", "ID-01"]);
    }

    #[test]
    fn ids_that_exist_pass_above_a_test() {
        for text in [
            "/// req: ID-01\n#[test]\nfn a() {}\n",
            "/// req: ID-01, CRED-05 (part)\n/// Why.\n#[tokio::test]\nasync fn a() {}\n",
            "// a request: ID-99\nfn a() {}\n",
            "let a = \"// req: ID-99\";\n",
        ] {
            assert_eq!(check_text(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn ids_that_do_not_exist_fail_with_their_line() {
        for (text, expect) in [
            ("\n/// req: ID-99\n#[test]\nfn a() {}\n", "a.rs:2: `ID-99` is no row"),
            ("/// req: ID-01 CRED-05\n#[test]\n", "`ID-01 CRED-05` is no row"),
            ("/// req: ID-01 and more\n#[test]\n", "`ID-01 and more` is no row"),
            ("/// req:\n#[test]\n", "`` is no row"),
            ("/// req: ID-01\nfn product() {}\n", "stands above no test"),
        ] {
            assert!(check_text(text).join("\n").contains(expect), "{text}: {:?}", check_text(text));
        }
    }

    #[test]
    fn scripts_are_held_to_it_too() {
        let ids = ids(CATALOGUE_TEXT);
        assert_eq!(check_script("t.sh", "# req: ID-01\necho req: ID-99\n", &ids), []);
        assert_eq!(check_script("t.sh", "true\n# req: ID-99\n", &ids)[0].line, 2);
        assert_eq!(check_script("t.mjs", "// req: ID-98\n", &ids).len(), 1);
    }
}
