//! How long a thing may be, tests not counted; and how long the tests of a file.

use crate::Finding;
use crate::source::Source;

/// Lines of a crate.
pub const CRATE_LINES_MAX: usize = 8_000;
/// Lines of a file; of its tests as many besides.
pub const FILE_LINES_MAX: usize = 600;
/// Lines of a function that hold code, its signature and closing brace included.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Columns of a line.
pub const LINE_COLUMNS_MAX: usize = 100;

/// Checks one file: its length, its functions, its lines. A line with a link may be as long as it.
pub fn check_file(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.product().count();
    if lines > FILE_LINES_MAX {
        let what = format!("{lines} lines without tests, more than {FILE_LINES_MAX}");
        findings.push(Finding::at(&source.path, 0, what, "split it by subject"));
    }
    let tests = source.test.iter().filter(|test| **test).count();
    if tests > FILE_LINES_MAX {
        let what = format!("{tests} lines of tests, more than {FILE_LINES_MAX}");
        findings.push(Finding::at(&source.path, 0, what, "split them along what they test"));
    }
    for line in source.product() {
        let columns = line.text.chars().count();
        if columns > LINE_COLUMNS_MAX && !line.text.contains("://") {
            let what = format!("{columns} columns, more than {LINE_COLUMNS_MAX}");
            findings.push(Finding::at(&source.path, line.number, what, "break the line"));
        }
    }
    for function in source.functions() {
        if function.code_lines > FUNCTION_LINES_MAX {
            let (name, lines) = (&function.name, function.code_lines);
            let what = format!("`{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}");
            let fix = "keep the control flow and move the work into leaves below it";
            findings.push(Finding::at(&source.path, function.first, what, fix));
        }
    }
    findings
}

/// Checks the length of a crate that consists of `sources`.
pub fn check_crate<'a>(path: &str, sources: impl Iterator<Item = &'a Source>) -> Vec<Finding> {
    let lines: usize = sources.map(|source| source.product().count()).sum();
    if lines <= CRATE_LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines without tests, more than {CRATE_LINES_MAX}");
    vec![Finding::at(path, 0, what, "split the crate by specification or by box")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<(usize, String)> {
        let findings = check_file(&Source::new("a/src/b.rs", text));
        findings.into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[test]
    fn a_file_has_600_lines_and_no_more() {
        assert_eq!(check(&"//\n".repeat(600)), []);
        assert_eq!(
            check(&"//\n".repeat(601)),
            [(0, "601 lines without tests, more than 600".into())]
        );
        let tested =
            format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(600), "//\n".repeat(99));
        assert_eq!(check(&tested), []);
        let tests =
            |lines: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(lines));
        assert_eq!(check(&tests(597)), []);
        assert_eq!(check(&tests(598)), [(0, "601 lines of tests, more than 600".into())]);
    }

    #[test]
    fn a_function_has_70_lines_of_code_and_no_more() {
        let function =
            |lines: usize| format!("\nfn long() {{\n{}}}\n", "    a();\n    // b\n".repeat(lines));
        assert_eq!(check(&function(68)), []);
        assert_eq!(check(&function(69)), [(2, "`long` has 71 lines, more than 70".into())]);
    }

    #[test]
    fn a_line_has_100_columns_unless_it_holds_a_link() {
        assert_eq!(check(&format!("//{}\n", "é".repeat(98))), []);
        assert_eq!(
            check(&format!("//{}\n", "é".repeat(99))),
            [(1, "101 columns, more than 100".into())]
        );
        assert_eq!(check(&format!("// https://{}\n", "a".repeat(99))), []);
    }

    #[test]
    fn a_crate_has_8000_lines_and_no_more() {
        let file = Source::new("a/src/b.rs", &"//\n".repeat(500));
        assert_eq!(check_crate("a", std::iter::repeat_n(&file, 16)), []);
        assert_eq!(check_crate("a", std::iter::repeat_n(&file, 17)).len(), 1);
    }
}
