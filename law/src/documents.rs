//! What a comment or a page cites of the tree's own documents is there: the file, the section, the
//! numbered row.

use crate::Finding;
use crate::source::Source;

/// How the path of a document ends.
const ENDING: &str = ".md";
/// Where documents stand that are cited by section.
const FOLDER: &str = "docs/";
/// What ends the citation of one document on its line.
const ENDS: &[char] = &[':', ';', ')', '|', '"'];
/// Pages that name files of other people's repositories.
const OF_OTHERS: &[&str] = &["docs/style.md"];

/// The documents of the tree: path and text of each.
pub type Documents = [(String, String)];

/// Checks the comments of a Rust file.
pub fn check(source: &Source, documents: &Documents) -> Vec<Finding> {
    source.all().flat_map(|l| check_line(&source.path, l.number, l.comment, documents)).collect()
}

/// Checks a page or a script: its citations, and in a page the targets of its links.
pub fn check_text(path: &str, text: &str, documents: &Documents, files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at.saturating_add(1);
        if !OF_OTHERS.contains(&path) {
            findings.extend(check_line(path, number, line, documents));
        }
        if path.ends_with(ENDING) {
            findings.extend(links(line).filter_map(|to| check_link(path, number, to, files)));
        }
    }
    findings
}

/// Checks every word of `line` that is the path of a document, and what stands behind it.
fn check_line(path: &str, number: usize, line: &str, documents: &Documents) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (known, _) in documents {
        let name = known.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(ENDING));
        let shouted = name.unwrap_or_default().to_ascii_uppercase();
        if !shouted.is_empty() && crate::has_word(line, &shouted) && !line.contains(ENDING) {
            let what = format!("`{shouted}` is no path");
            findings.push(Finding::at(path, number, what, format!("write `{known}`")));
        }
    }
    let mut rest = line;
    while let Some((word, after)) = next_document(rest) {
        rest = after;
        match documents.iter().find(|(known, _)| known == word) {
            None => {
                let fix = "name a file of this tree, by its path, or a public text by its link";
                findings.push(Finding::at(path, number, format!("no document `{word}`"), fix));
            }
            Some((_, text)) => {
                let cited = after.split(ENDS).next().unwrap_or_default();
                let cited = cited.split(FOLDER).next().unwrap_or_default();
                findings.extend(missing(cited, text).map(|what| {
                    let what = format!("`{word}` has no {what}");
                    Finding::at(path, number, what, "cite what is there")
                }));
            }
        }
    }
    findings
}

/// The next path of a document in `text`, and what follows it; words of a URL are none, nor are
/// patterns.
fn next_document(text: &str) -> Option<(&str, &str)> {
    let is_path = |c: char| crate::is_word(c) || "./-:*…".contains(c);
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let end = from.saturating_add(rest.find(ENDING)?).saturating_add(ENDING.len());
        let (before, after) = text.split_at_checked(end)?;
        let word = before.rsplit(|c: char| !is_path(c)).next().unwrap_or_default();
        let whole = !after.starts_with(crate::is_word);
        if whole && word.len() > ENDING.len() && !word.contains([':', '*', '…']) && is_ours(word)
        {
            return Some((word, after));
        }
        from = end;
    }
}

/// Below a folder, or with a name in capitals (`ARCHITECTURE.md`): not `x.md` of an example.
fn is_ours(word: &str) -> bool {
    let name = word.strip_suffix(ENDING).unwrap_or(word);
    let shouts = name.chars().all(|c| c.is_ascii_uppercase() || "-_".contains(c));
    !word.contains("NNNN") && (shouts || word.contains('/')) && !word.starts_with(['.', '/'])
}

/// What `cited` (` §2, idea 6`) names and `text` has not.
fn missing(cited: &str, text: &str) -> impl Iterator<Item = String> {
    let sections = numbers(cited, "§").filter(|n| section(text, n).is_none()).map(|n| {
        let n = n.to_owned();
        format!("section {n}")
    });
    let within = numbers(cited, "§").find_map(|n| section(text, n)).unwrap_or(text);
    let rows = ["idea ", "family ", "rule "].into_iter().flat_map(|word| numbers(cited, word));
    let bare =
        cited.strip_prefix(' ').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let rows = rows.chain(bare.into_iter().flat_map(|rest| numbers(rest, "")));
    let rows = rows.filter(|n| !within.lines().any(|line| line.starts_with(&format!("{n}. "))));
    let rows = rows.map(|n| format!("row {n}"));
    sections.chain(rows).collect::<Vec<_>>().into_iter()
}

/// The numbers behind each `mark` in `text`; with no mark, the one that it begins with.
fn numbers<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let begins = mark.is_empty().then_some(text);
    let behind = (!mark.is_empty()).then(|| text.split(mark).skip(1)).into_iter().flatten();
    begins.into_iter().chain(behind).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest.get(..end).map(|n| n.trim_end_matches('.')).filter(|n| !n.is_empty())
    })
}

/// The text below the heading `## N. …`, up to the next of its kind.
fn section<'a>(text: &'a str, number: &str) -> Option<&'a str> {
    let below = text.split("\n## ").skip(1);
    below.into_iter().find(|part| part.starts_with(&format!("{number}. ")))
}

/// Targets of `[words](target)` in `line`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next())
}

/// Checks a link relative to the page that holds it.
fn check_link(path: &str, number: usize, to: &str, files: &[String]) -> Option<Finding> {
    if to.is_empty() || to.contains("://") {
        return None;
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in to.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let target = parts.join("/");
    let inside = format!("{target}/");
    let there = files.iter().any(|file| *file == target || file.starts_with(&inside));
    let what = format!("a link to `{to}`, which is not there");
    (!there).then(|| Finding::at(path, number, what, "link what is there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Vec<(String, String)> {
        let text = "# A\n\n## 1. One\n\n1. a\n\n## 2. Two\n\n1. **b**\n2. c\n";
        [("docs/a.md", text), ("READ.md", "x")].map(|(p, t)| (p.to_owned(), t.to_owned())).into()
    }

    fn found(comment: &str) -> Vec<String> {
        let source = Source::new("a.rs", &format!("fn a() {{}} // {comment}\n"));
        let findings = check(&source, &documents());
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_is_there_may_be_cited() {
        for text in [
            "docs/a.md",
            "(`docs/a.md`, see there)",
            "docs/a.md §2, idea 2: words",
            "docs/a.md §1 and §2",
            "docs/a.md 2.",
            "READ.md; S1 §9, docs/a.md §1; S1 §9",
            "https://example.org/specs/other.md §3",
            "every `.md`, any docs/*.md, docs/decisions/NNNN-title.md, notes.md",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (text, expect) in [
            ("docs/b.md", "no document `docs/b.md`"),
            ("A §1", "`A` is no path"),
            ("STYLE.md §1", "no document `STYLE.md`"),
            ("docs/a.md §3", "`docs/a.md` has no section 3"),
            ("docs/a.md §1 and §4, x", "`docs/a.md` has no section 4"),
            ("docs/a.md §1, idea 2", "`docs/a.md` has no row 2"),
            ("(docs/a.md 3)", "`docs/a.md` has no row 3"),
            ("docs/a.md, READ.md, docs/c.md", "no document `docs/c.md`"),
        ] {
            assert_eq!(found(text), [expect], "{text}");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        let files = ["docs/a.md", "fuzz/corpus/x", "b.md"].map(str::to_owned);
        let check = |text: &str| check_text("docs/p.md", text, &documents(), &files).len();
        assert_eq!(check("[a](a.md), [b](../b.md#c), [c](../fuzz/), [d](https://d.example)"), 0);
        assert_eq!(check("[a](b.md)"), 1);
        assert_eq!(check("[a](../a.md)"), 1);
    }
}
