//! A Rust file, read for what the rules need: its code without comments and literals, its comments
//! alone, and which lines are tests.

use std::collections::BTreeSet;

use crate::is_word;

/// A Rust file in three layers of the same shape: line `n` of each is line `n` of the file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path below the checkout.
    pub path: String,
    /// The lines as they are.
    pub lines: Vec<String>,
    /// The lines with comments and the insides of literals blanked.
    pub code: Vec<String>,
    /// The lines with everything but comments blanked.
    pub comments: Vec<String>,
    /// For each line: does it belong to a test?
    pub test: Vec<bool>,
    /// Names of modules declared `#[cfg(test)] mod NAME;`, whose files are tests too.
    pub test_modules: BTreeSet<String>,
}

/// One line outside tests.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// As it is.
    pub text: &'a str,
    /// Without comments and the insides of literals.
    pub code: &'a str,
    /// The comments alone.
    pub comment: &'a str,
}

impl Source {
    /// Reads the file `path` with this `text`.
    pub fn new(path: &str, text: &str) -> Self {
        let (code, comments) = mask(text);
        let mut source = Self {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            code: code.lines().map(str::to_owned).collect(),
            comments: comments.lines().map(str::to_owned).collect(),
            test: Vec::new(),
            test_modules: BTreeSet::new(),
        };
        let whole = is_test_path(path);
        source.test = vec![whole; source.lines.len()];
        for item in test_items(&source.code) {
            for test in source.test.iter_mut().take(item.last.saturating_add(1)).skip(item.first) {
                *test = true;
            }
            source.test_modules.extend(item.module);
        }
        source
    }

    /// The same file, all of it a test.
    pub fn into_test(mut self) -> Self {
        self.test.fill(true);
        self
    }

    /// Every line.
    pub fn all(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines.iter().zip(&self.code).zip(&self.comments).enumerate().map(
            |(at, ((text, code), comment))| Line {
                number: at.saturating_add(1),
                text,
                code,
                comment,
            },
        )
    }

    /// The lines that are not tests.
    pub fn product(&self) -> impl Iterator<Item = Line<'_>> {
        self.all().zip(&self.test).filter(|(_, test)| !**test).map(|(line, _)| line)
    }

    /// The functions outside tests.
    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for line in self.product() {
            let Some(name) = function_name(line.code) else { continue };
            let first = line.number.saturating_sub(1);
            let rest = self.code.iter().skip(first).map(String::as_str);
            // The item starts at its `fn`; what stands before it on the line closes nothing.
            let Some((last, true)) = item_end(rest, line.code.find("fn ").unwrap_or(0)) else {
                continue;
            };
            let last = first.saturating_add(last);
            let body = self.code.iter().take(last.saturating_add(1)).skip(first);
            let code_lines = body.filter(|line| !line.trim().is_empty()).count();
            found.push(Function {
                name,
                first: line.number,
                code_lines,
                last: last.saturating_add(1),
            });
        }
        found
    }
}

/// A function and how long it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, counted from 1.
    pub first: usize,
    /// The line of its closing brace.
    pub last: usize,
    /// Lines from first to last that are neither blank nor only a comment.
    pub code_lines: usize,
}

/// Files below a `tests` folder, and files called `tests.rs`, are tests from end to end.
fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// What a stretch of a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Code,
    Comment,
    Literal,
}

/// The text twice: code without comments and literals; comments alone. Lines stay where they are.
fn mask(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let (mut rest, mut before) = (text, ' ');
    while let Some(first) = rest.chars().next() {
        let (length, layer) = next_stretch(rest, first, before);
        let (stretch, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        before = stretch.chars().next_back().unwrap_or(first);
        match layer {
            Layer::Code => code.push_str(stretch),
            Layer::Literal => code.push_str(&blank_literal(stretch)),
            Layer::Comment => code.push_str(&blank(stretch)),
        }
        match layer {
            Layer::Comment => comments.push_str(stretch),
            Layer::Code | Layer::Literal => comments.push_str(&blank(stretch)),
        }
        rest = after;
    }
    (code, comments)
}

/// How many bytes of `rest` belong together, and what they are.
fn next_stretch(rest: &str, first: char, before: char) -> (usize, Layer) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Layer::Comment);
    }
    if rest.starts_with("/*") {
        return (block_length(rest), Layer::Comment);
    }
    let literal = match first {
        '"' => string_length(rest),
        '\'' => char_length(rest),
        'r' | 'b' | 'c' if !is_word(before) => raw_length(rest),
        _ => None,
    };
    literal.map_or((first.len_utf8(), Layer::Code), |length| (length, Layer::Literal))
}

/// Bytes of the block comment that `rest` begins with; they nest.
fn block_length(rest: &str) -> usize {
    let (mut depth, mut skip) = (0_usize, false);
    for (at, c) in rest.char_indices() {
        let next = rest.get(at.saturating_add(c.len_utf8())..).and_then(|s| s.chars().next());
        match (c, next) {
            _ if skip => {
                skip = false;
                if depth == 0 {
                    return at.saturating_add(1);
                }
            }
            ('/', Some('*')) => (depth, skip) = (depth.saturating_add(1), true),
            ('*', Some('/')) => (depth, skip) = (depth.saturating_sub(1), true),
            _ => {}
        }
    }
    rest.len()
}

/// Bytes of the string literal that `rest` begins with.
fn string_length(rest: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at.saturating_add(1)),
            _ => {}
        }
    }
    Some(rest.len())
}

/// Bytes of the character literal that `rest` begins with; none where it is a lifetime.
fn char_length(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (_, _) = chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at.saturating_add(1));
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at.saturating_add(1))
}

/// Bytes of the raw, byte or C string that `rest` begins with, if it is one.
fn raw_length(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"]
        .into_iter()
        .find(|p| rest.strip_prefix(p).is_some_and(|s| s.starts_with('"') || s.starts_with('#')))?;
    let after = rest.strip_prefix(prefix)?;
    if !prefix.ends_with('r') {
        return string_length(after).map(|n| n.saturating_add(prefix.len()));
    }
    let hashes = after.chars().take_while(|c| *c == '#').count();
    let body = after.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at.saturating_add(end.len()));
    Some(prefix.len().saturating_add(hashes).saturating_add(1).saturating_add(length))
}

/// Spaces in place of everything but line ends.
fn blank(stretch: &str) -> String {
    stretch.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

/// A literal with its quotes and without its inside, so that `.expect("` can still be seen.
fn blank_literal(stretch: &str) -> String {
    let blanked = blank(stretch);
    if stretch.starts_with('\'') {
        return blanked;
    }
    let opening = stretch.chars().take_while(|c| *c != '"').count();
    let quoted = blanked.chars().enumerate().map(|(at, c)| if at == opening { '"' } else { c });
    quoted.collect()
}

/// A test item, in line numbers counted from 0, and the name where it is `mod name;`.
struct TestItem {
    first: usize,
    last: usize,
    module: Option<String>,
}

/// Items under `#[cfg(test)]`, `#[test]` and their kin.
fn test_items(code: &[String]) -> Vec<TestItem> {
    let mut items: Vec<TestItem> = Vec::new();
    for (first, line) in code.iter().enumerate() {
        let inside = items.iter().any(|item| item.first <= first && first <= item.last);
        if inside || !is_test_attribute(line) {
            continue;
        }
        let from = line.find("#[").unwrap_or(0);
        let rest = code.iter().skip(first).map(String::as_str);
        let Some((length, has_body)) = item_end(rest, from) else { continue };
        let last = first.saturating_add(length);
        let head = code.iter().take(last.saturating_add(1)).skip(first).map(String::as_str);
        let module =
            if has_body { None } else { declared_module(&head.collect::<Vec<_>>().join(" ")) };
        items.push(TestItem { first, last, module });
    }
    items
}

/// `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[test]`, `#[tokio::test]`.
fn is_test_attribute(line: &str) -> bool {
    ["#[cfg(test)", "#[cfg(all(test", "#[cfg(any(test", "#[test]", "::test]", "::test("]
        .iter()
        .any(|form| line.contains(form) && line.contains("#["))
}

/// `NAME` of `mod NAME;` at the end of `head`.
fn declared_module(head: &str) -> Option<String> {
    let name = head.rsplit_once("mod ")?.1.trim().strip_suffix(';')?.trim();
    Some(name.to_owned()).filter(|name| name.chars().all(is_word))
}

/// Where the item that starts at column `from` of the first line ends: lines after the first, and
/// whether it ended with a `}` (and not with a `;`).
fn item_end<'a>(lines: impl Iterator<Item = &'a str>, from: usize) -> Option<(usize, bool)> {
    // Parentheses and brackets hold `;` (array types) and `{` (const generics) that end nothing.
    let (mut round, mut curly) = (0_usize, 0_usize);
    for (at, line) in lines.enumerate() {
        let line = if at == 0 { line.get(from..).unwrap_or(line) } else { line };
        for c in line.chars() {
            match c {
                '(' | '[' if curly == 0 => round = round.saturating_add(1),
                ')' | ']' if curly == 0 => round = round.saturating_sub(1),
                ';' if round == 0 && curly == 0 => return Some((at, false)),
                '{' if round == 0 => curly = curly.saturating_add(1),
                '}' if round == 0 && curly == 1 => return Some((at, true)),
                '}' if round == 0 => curly = curly.saturating_sub(1),
                _ => {}
            }
        }
    }
    None
}

/// The name after the `fn` that a line declares.
fn function_name(line: &str) -> Option<String> {
    let at = line
        .find("fn ")
        .filter(|at| !line.get(..*at).and_then(|s| s.chars().next_back()).is_some_and(is_word))?;
    let name: String = line
        .get(at.saturating_add(3)..)?
        .trim_start()
        .chars()
        .take_while(|c| is_word(*c))
        .collect();
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_told_from_code() {
        let text = "let a = \"tokio // \\\" x\"; // rand\nlet b = 'x'; /* fs /* y */ z */ let c: &'a u8;\n\
                    let d = r#\"a \" b\"#; let e = b\"q\"; let f = '\\''; g('{');\n";
        let source = Source::new("a.rs", text);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&source.code[0]), "let a = \" ;");
        assert_eq!(source.comments[0].trim(), "// rand");
        assert_eq!(words(&source.code[1]), "let b = ; let c: &'a u8;");
        assert_eq!(source.comments[1].trim(), "/* fs /* y */ z */");
        assert!(!source.code[2].contains('{') && !source.code[2].contains(" b\""));
        assert!(source.code[2].ends_with("g(   );"));
        assert_eq!(source.lines.len(), source.code.len());
    }

    #[test]
    fn an_unclosed_literal_swallows_the_rest_and_nothing_breaks() {
        for text in ["\"abc", "r#\"abc\"", "/* abc /* */", "'", "b\"", "'\\", "é\"é", "b'\"' x"] {
            let source = Source::new("a.rs", text);
            assert_eq!(source.code.len(), source.lines.len(), "{text}");
        }
    }

    #[test]
    fn product_code_ends_where_a_test_item_starts_and_goes_on_behind_it() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x {} }\n}\nfn c() {}\n\
                    #[cfg(test)]\nuse x::{y};\n#[test]\nfn d() {\n}\nfn e() {}\n";
        let source = Source::new("a.rs", text);
        let left: Vec<usize> = source.product().map(|line| line.number).collect();
        assert_eq!(left, [1, 6, 12]);
    }

    #[test]
    fn a_test_module_in_its_own_file_is_named() {
        let source = Source::new("a.rs", "#[cfg(test)]\nmod matrix;\nfn a() {}\n");
        assert_eq!(source.test_modules.into_iter().collect::<Vec<_>>(), ["matrix"]);
        assert_eq!(Source::new("a/tests/it/main.rs", "fn a() {}\n").product().count(), 0);
    }

    #[test]
    fn a_function_is_as_long_as_its_code() {
        let text = "pub fn a(x: [u8; 2]) -> u8 {\n    // why\n\n    1\n}\nfn b();\nlet fn_ = 1;\n\
                    impl X { fn c() {} }\n";
        let found = Source::new("a.rs", text).functions();
        let seen: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.code_lines, f.last)).collect();
        assert_eq!(seen, [("a", 3, 5), ("c", 1, 8)]);
    }
}
