//! Every crate says at its head what it is, what is in scope, and what is not and where that lives.

use crate::Finding;
use crate::source::Source;

/// Characters of the first paragraph.
const PARAGRAPH_MIN: usize = 80;

/// Checks the header of a crate's root file; `must_link`: a specification crate links its text.
pub fn check(root: &Source, must_link: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |what: &str, fix: &str| findings.push(Finding::at(&root.path, 1, what, fix));
    let lines = root.lines.iter().map(|line| line.trim());
    let header: Vec<&str> =
        lines.map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    if header.is_empty() {
        report("it does not begin with `//!`", "say what the crate is, before anything else");
        return findings;
    }
    let paragraph: Vec<&str> = header.iter().copied().take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    if paragraph.chars().count() < PARAGRAPH_MIN {
        report("its first paragraph has less than 80 characters", "say what the crate is and why");
    }
    if must_link && !paragraph.contains("](http") && !paragraph.contains("<http") {
        report("its first paragraph links no specification", "link the text that it follows");
    }
    let header = header.join(" ");
    for words in ["In scope", "Not here"] {
        if !header.contains(words) {
            let what = format!("its header does not say `{words}`");
            report(&what, "add `In scope: …` and `Not here: …` with where that lives");
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! Signatures over JSON, as [RFC 7515](https://www.rfc-editor.org/rfc/rfc7515)\n\
                        //! has them, and keys that are called by a name of their own.\n//!\n\
                        //! In scope: the form. Not here: keys at rest (`edge/keys`).\n\nmod a;\n";

    fn check_text(text: &str, must_link: bool) -> Vec<String> {
        let found = check(&Source::new("spec/a/src/lib.rs", text), must_link);
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_header_with_all_parts_passes() {
        assert_eq!(check_text(GOOD, true), [""; 0]);
    }

    #[test]
    fn each_missing_part_is_named() {
        let no_link = GOOD.replace("](https", "] (https");
        assert_eq!(check_text(&no_link, false), [""; 0]);
        for (text, expect) in [
            (format!("\n{GOOD}"), "it does not begin"),
            (no_link, "links no specification"),
            (GOOD.replace("In scope", "Here"), "does not say `In scope`"),
            (GOOD.replace("Not here", "Not"), "does not say `Not here`"),
            (
                GOOD.replacen("//! has", "//!\n//! has", 1)
                    .replace("Signatures over JSON, as ", ""),
                "less than 80",
            ),
        ] {
            let found = check_text(&text, true).join("\n");
            assert!(found.contains(expect), "{text}: {found}");
        }
    }
}
