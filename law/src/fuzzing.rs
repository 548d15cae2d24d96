//! Every parser has a fuzz target, and every target has a corpus that ordinary tests replay.

use crate::Finding;

/// Path of the list: one line a parser, `crate  target  function`, with spaces between.
pub const LIST: &str = "fuzz/parsers.txt";

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parser {
    /// Path of the crate it is in.
    pub crate_path: String,
    /// The target that feeds it.
    pub target: String,
    /// The function, as the target calls it: `Compact::parse`.
    pub function: String,
    /// Where the list says so.
    pub line: usize,
}

/// What `fuzz/` holds.
#[derive(Debug, Default)]
pub struct Targets {
    /// Names in the manifest (`[[bin]]`).
    pub declared: Vec<String>,
    /// Names of the folders of `fuzz/corpus` that are not empty.
    pub corpora: Vec<String>,
    /// Source of the targets: where the functions are called.
    pub source: String,
}

/// Reads the list.
pub fn parse(list: &str) -> Result<Vec<Parser>, Finding> {
    let mut parsers = Vec::new();
    for (at, text) in list.lines().enumerate() {
        let line = at.saturating_add(1);
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some(first), ..) if first.starts_with('#') => {}
            (Some(crate_path), Some(target), Some(function), None) => parsers.push(Parser {
                crate_path: crate_path.to_owned(),
                target: target.to_owned(),
                function: function.to_owned(),
                line,
            }),
            _ => {
                let fix = "write `crate  target  function`";
                return Err(Finding::at(LIST, line, "not three words", fix));
            }
        }
    }
    Ok(parsers)
}

/// Checks that each of `crates` has a parser in the list, and that each line of it is true.
pub fn check(crates: &[&str], parsers: &[Parser], targets: &Targets) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in crates {
        if !parsers.iter().any(|parser| parser.crate_path == *path) {
            let what = format!("no parser of `{path}` is fuzzed");
            let fix = "add a target (see `fuzz/README.md`) and a line here";
            findings.push(Finding::at(LIST, 0, what, fix));
        }
    }
    for parser in parsers {
        let target = &parser.target;
        let mut report = |what: String, fix: &str| {
            findings.push(Finding::at(LIST, parser.line, what, fix));
        };
        if !targets.declared.contains(target) {
            report(format!("`{target}` is no target"), "add its `[[bin]]` to `fuzz/Cargo.toml`");
        }
        if !targets.corpora.contains(target) {
            let what = format!("`fuzz/corpus/{target}` has no seed");
            report(what, "add a valid input and a few broken ones");
        }
        let calls = ["(", "::<"].map(|open| format!("{}{open}", parser.function));
        if !calls.iter().any(|call| targets.source.contains(call)) {
            report(
                format!("no target calls `{}`", parser.function),
                "call it, or name what is called",
            );
        }
    }
    for target in &targets.declared {
        if !parsers.iter().any(|parser| parser.target == *target) {
            let what = format!("the target `{target}` stands in no line");
            findings.push(Finding::at(LIST, 0, what, "say which parser it feeds"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# list\nspec/jose  jws  Compact::parse\n";

    fn targets(declared: &[&str], corpora: &[&str], source: &str) -> Targets {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Targets { declared: own(declared), corpora: own(corpora), source: source.to_owned() }
    }

    fn found(crates: &[&str], targets: &Targets) -> String {
        let findings = check(crates, &parse(TEXT).unwrap(), targets);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_list_that_is_true_passes() {
        let whole = targets(&["jws"], &["jws"], "let _ = jose::Compact::parse(data);");
        assert_eq!(found(&["spec/jose"], &whole), "");
    }

    #[test]
    fn each_lie_is_named() {
        let call = "Compact::parse(data)";
        for (crates, targets, expect) in [
            (vec!["spec/x509"], targets(&["jws"], &["jws"], call), "no parser of `spec/x509`"),
            (vec![], targets(&[], &["jws"], call), "fuzz/parsers.txt:2: `jws` is no target"),
            (vec![], targets(&["jws"], &[], call), "`fuzz/corpus/jws` has no seed"),
            (vec![], targets(&["jws"], &["jws"], ""), "no target calls `Compact::parse`"),
            (
                vec![],
                targets(&["jws", "der"], &["jws"], call),
                "the target `der` stands in no line",
            ),
        ] {
            let found = found(&crates, &targets);
            assert!(found.contains(expect), "{found}");
        }
        assert_eq!(parse("spec/jose jws\n").unwrap_err().line, 1);
    }
}
