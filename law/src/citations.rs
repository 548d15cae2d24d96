//! In a specification crate the sentence of the specification stands at the line that obeys it.

use crate::Finding;
use crate::source::Source;

/// Citations in a thousand lines.
pub const PER_THOUSAND_MIN: usize = 8;
/// Shorter crates are not measured.
pub const LINES_MIN: usize = 300;

/// Checks a crate that consists of `sources`, tests not counted.
pub fn check<'a>(path: &str, sources: impl Iterator<Item = &'a Source>) -> Vec<Finding> {
    let (mut lines, mut citations) = (0_usize, 0_usize);
    for line in sources.flat_map(Source::product) {
        lines = lines.saturating_add(1);
        citations = citations.saturating_add(usize::from(is_citation(line.comment)));
    }
    let enough = citations.saturating_mul(1_000) >= lines.saturating_mul(PER_THOUSAND_MIN);
    if lines <= LINES_MIN || enough {
        return Vec::new();
    }
    let what = format!("{citations} citations in {lines} lines, less than 8 in 1,000");
    let fix = "quote the sentence, with `RFC nnnn §n.n`, at the line that obeys it";
    vec![Finding::at(path, 0, what, fix)]
}

/// A section by its sign, or a quoted sentence behind the name of its text (`tlog-tiles, Merkle
/// Tree: "…"`): some texts do not number their sections.
fn is_citation(comment: &str) -> bool {
    comment.contains('§') || comment.contains(": \"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_in_a_thousand_lines_is_the_least() {
        let crate_of = |cited: usize, lines: usize| {
            let text = "// RFC 7515 §4.1\n".repeat(cited) + &"a();\n".repeat(lines - cited);
            check("spec/a", [&Source::new("spec/a/src/lib.rs", &text)].into_iter()).len()
        };
        assert_eq!(crate_of(8, 1_000), 0);
        assert_eq!(crate_of(7, 1_000), 1);
        assert!(is_citation("// tlog-tiles, Merkle Tree: \"Full tiles MUST be\""));
        assert_eq!(crate_of(0, 300), 0);
        assert_eq!(crate_of(2, 301), 1);
    }

    #[test]
    fn a_sign_in_code_or_in_a_test_is_no_citation() {
        let text = "let a = \"§\";\n".repeat(400)
            + "#[cfg(test)]\nmod tests {\n// §\n// §\n// §\n// §\n}\n";
        let source = Source::new("spec/a/src/lib.rs", &text);
        assert_eq!(check("spec/a", [&source].into_iter()).len(), 1);
    }
}
