//! What must not stand in the source: tests that do not run, work that is not done, warnings that
//! are switched off, panics on what comes from outside.

use crate::source::{Line, Source};
use crate::{Finding, has_word};

/// Code that is nowhere allowed, tests included.
const NEVER: &[(&str, &str)] = &[
    ("#[ignore", "make the test run, or delete it and say why in `docs/divergences.md`"),
    ("todo!", "write it, or do not merge yet"),
    ("unimplemented!", "write it, or refuse with a variant of the error"),
    ("allow(dead_code", "delete what nobody calls"),
];

/// Words that no comment may hold.
const UNDONE: &[&str] = &["FIXME", "XXX"];

/// Calls that end the process on bad input, and the lint that a reason must name.
const PANICS: &[(&str, &str)] = &[(".unwrap()", "unwrap_used"), (".expect(\"", "expect_used")];

/// How far above a line an `#[expect(…)]` with its reason may begin.
const REACH: usize = 8;

/// Checks a file.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in source.all() {
        for (form, fix) in NEVER.iter().filter(|(form, _)| has_word(line.code, form)) {
            findings.push(Finding::at(&source.path, line.number, format!("`{form}`"), *fix));
        }
        for word in UNDONE.iter().filter(|word| has_word(line.comment, word)) {
            let fix = "do it, or write it into `docs/divergences.md`";
            findings.push(Finding::at(&source.path, line.number, format!("`{word}`"), fix));
        }
    }
    for line in source.product().filter(|line| line.text.contains(":?}")) {
        // An attribute may be broken into lines: the one above tells, too.
        let above = source.all().take_while(|other| other.number < line.number).last();
        let opens = |text: &str| text.contains("#[error(");
        let begins = |text: &str| opens(text) && text.trim_end().ends_with('(');
        if opens(line.text) || above.is_some_and(|above| begins(above.text)) {
            let fix = "write it for people: a `Display`, a name, `jose::named`";
            let what = "a debug form in an error".to_owned();
            findings.push(Finding::at(&source.path, line.number, what, fix));
        }
    }
    let functions = source.functions();
    for line in source.product() {
        for (form, lint) in PANICS.iter().filter(|(form, _)| line.code.contains(form)) {
            let holder =
                functions.iter().filter(|f| f.first <= line.number && line.number <= f.last);
            let from = holder.map(|f| f.first).max().unwrap_or(line.number);
            if !is_explained(source, from, line, lint) {
                let what = format!("`{form}…` outside a test");
                let fix = format!(
                    "return a refusal; where an invariant makes it safe, write \
                     `#[expect(clippy::{lint}, reason = \"…\")]` above"
                );
                findings.push(Finding::at(&source.path, line.number, what, fix));
            }
        }
    }
    findings
}

/// Whether an `expect` attribute for `lint`, with a reason, stands between the head of the function
/// that begins at line `from` and `line`, or holds for the whole file.
fn is_explained(source: &Source, from: usize, line: Line<'_>, lint: &str) -> bool {
    let mut before = source.all().take_while(|other| other.number <= line.number);
    let names = |text: &str| text.contains("expect(") && text.contains(lint);
    before.any(|other| {
        let near = other.number.saturating_add(REACH) >= from || other.code.contains("#![");
        let attribute = source.code.iter().skip(other.number.saturating_sub(1)).take(REACH);
        let text: String = attribute.map(|code| code.trim()).collect();
        let end = text.find(")]").unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        let opens = other.code.contains("#[expect(") || other.code.contains("#![expect(");
        near && opens && names(text) && text.contains("reason")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&Source::new("a/src/b.rs", text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn what_is_never_allowed_is_found_in_tests_too() {
        for text in [
            "\n#[ignore]\nfn a() {}",
            "\n#[ignore = \"slow\"]\nfn a() {}",
            "\nfn a() { todo!() }",
            "\nunimplemented!(\"x\")",
            "\n#[allow(dead_code)]",
            "\n// FIXME: later",
            "\n/* XXX */",
            "#[cfg(test)]\nmod tests { fn a() { todo!() } }",
        ] {
            assert_eq!(lines(text), [2], "{text}");
        }
        assert_eq!(lines("let a = \"todo! XXX #[ignore]\"; // XXXL\n"), [0; 0]);
    }

    #[test]
    fn an_error_is_written_for_people() {
        assert_eq!(lines("#[error(\"for {found:?}\")]\n"), [1]);
        assert_eq!(lines("#[error(\n    \"for {0:?}\",\n)]\n"), [2]);
        assert_eq!(lines("#[error(\"for {found}\")]\nwrite!(f, \"{a:?}\");\n"), [0; 0]);
        assert_eq!(lines("#[cfg(test)]\nmod tests {\n#[error(\"{a:?}\")]\n}"), [0; 0]);
    }

    #[test]
    fn a_panic_outside_tests_needs_a_reason() {
        assert_eq!(lines("fn a() {\n    x.unwrap();\n}"), [2]);
        assert_eq!(lines("fn a() {\n    x.expect(\"y\");\n}"), [2]);
        assert_eq!(lines("fn a() { parser.expect(b'x')?; x.unwrap_or(1); }"), [0; 0]);
        assert_eq!(lines("#[test]\nfn a() {\n    x.unwrap();\n}"), [0; 0]);
        assert_eq!(lines("// x.unwrap()\n"), [0; 0]);
    }

    #[test]
    fn a_reason_stands_at_the_function_the_statement_or_the_file() {
        let reason = "expect(clippy::unwrap_used, reason = \"len checked\")]";
        assert_eq!(lines(&format!("#[{reason}\nfn a() {{\n\n    x.unwrap();\n}}")), [0; 0]);
        assert_eq!(lines(&format!("fn a() {{\n#[{reason}\nlet a = x.unwrap();\n}}")), [0; 0]);
        assert_eq!(lines(&format!("#![{reason}\n{}x.unwrap();", "\n".repeat(50))), [0; 0]);
        let split = "#[expect(\n    clippy::unwrap_used,\n    reason = \"len checked\"\n)]\n";
        assert_eq!(lines(&format!("{split}fn a() {{ x.unwrap(); }}")), [0; 0]);
        assert_eq!(lines("#[expect(clippy::unwrap_used)]\nfn a() { x.unwrap(); }"), [2]);
        let far = format!("#[{reason}\nfn a() {{\n    x.unwrap();\n}}\n{}", "\n".repeat(20));
        assert_eq!(lines(&format!("{far}fn b() {{ y.unwrap(); }}")), [25]);
    }
}
