//! Values that prove a check. Token kinds are defined in `spec` alone, and where a proof crosses a
//! crate its constructor is called `assertion`; every definition and use stands in a list.

use crate::Finding;
use crate::is_word;
use crate::source::Source;

/// Path of the list: one line a definition or use, `path: what`, sorted.
pub const LIST: &str = "law/assertions.txt";

/// Finds token kinds outside `spec`.
pub fn check_kinds(source: &Source) -> Vec<Finding> {
    let implements = |code: &str| {
        code.trim_start().starts_with("impl")
            && code.match_indices("Kind for ").any(|(at, _)| {
                !code.get(..at).and_then(|s| s.chars().next_back()).is_some_and(is_word)
            })
    };
    let kinds = source.product().filter(|line| implements(line.code));
    kinds
        .map(|line| {
            let fix = "define the kind, its `typ` and its claims in the crate of its specification";
            Finding::at(&source.path, line.number, "a token kind outside `spec`", fix)
        })
        .collect()
}

/// Definitions and uses of `assertion` constructors in a file, as the list writes them.
pub fn occurrences(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for line in source.product() {
        for (at, form) in line.code.match_indices("assertion(") {
            let before = line.code.get(..at).unwrap_or_default();
            let arguments = line.code.get(at.saturating_add(form.len())..).unwrap_or_default();
            let path = trailing_path(before);
            if before.ends_with("fn ") && !takes_self(arguments) {
                found.push((line.number, format!("{}: fn assertion", source.path)));
            } else if path.ends_with("::") {
                found.push((line.number, format!("{}: {path}assertion", source.path)));
            }
        }
    }
    found
}

/// Compares what was found with the list.
pub fn check_list(found: &[(String, usize, String)], list: &str) -> Vec<Finding> {
    let mut listed: Vec<&str> =
        list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut findings = Vec::new();
    for (file, line, entry) in found {
        if let Some(at) = listed.iter().position(|other| other == entry) {
            listed.remove(at);
        } else {
            let what = format!("`{entry}` is not in `{LIST}`");
            let fix = "add that line if what it asserts was truly checked right there; \
                       else pass the checked value on";
            findings.push(Finding::at(file, *line, what, fix));
        }
    }
    findings.extend(listed.into_iter().map(|entry| {
        let line =
            list.lines().position(|other| other == entry).map_or(0, |at| at.saturating_add(1));
        Finding::at(LIST, line, format!("`{entry}` no longer occurs"), "delete the line")
    }));
    findings
}

fn takes_self(arguments: &str) -> bool {
    let first = arguments.split([',', ')']).next().unwrap_or_default();
    first.split(|c| !is_word(c)).any(|word| word == "self")
}

/// The `a::B::` that `before` ends with.
fn trailing_path(before: &str) -> &str {
    let start = before.rfind(|c: char| !is_word(c) && c != ':' && c != '<' && c != '>');
    let path = before.get(start.map_or(0, |at| at.saturating_add(1))..).unwrap_or_default();
    path.trim_start_matches([':', '<', '>'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_outside_spec_is_found() {
        for text in
            ["impl Kind for Wit {", "impl jose::Kind for Wit {", "impl<T> token::Kind for A<T> {"]
        {
            assert_eq!(check_kinds(&Source::new("stack/a/src/b.rs", text)).len(), 1, "{text}");
        }
        for text in [
            "impl RecordKind for A {",
            "// impl Kind for A",
            "#[test]\nfn a() {\nimpl Kind for A {}\n}",
        ] {
            assert_eq!(check_kinds(&Source::new("stack/a/src/b.rs", text)), [], "{text}");
        }
    }

    #[test]
    fn definitions_and_uses_of_assertion_are_found() {
        let text = "pub const fn assertion(caller: Caller) -> Self {\n\
                    let a = Caller::assertion(x);\nlet b = f(stack::Permit::assertion(y));\n\
                    pub fn assertion(&self) -> &str {\nlet c = request.assertion();\n\
                    let d = client_assertion(1);\nlet e = \"A::assertion(\";\n";
        let found = occurrences(&Source::new("a.rs", text));
        let expect =
            ["a.rs: fn assertion", "a.rs: Caller::assertion", "a.rs: stack::Permit::assertion"];
        assert_eq!(found.iter().map(|(_, entry)| entry.as_str()).collect::<Vec<_>>(), expect);
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn the_list_is_exact() {
        let use_of = |line| ("a.rs".to_owned(), line, "a.rs: A::assertion".to_owned());
        assert_eq!(check_list(&[use_of(1)], "# why\na.rs: A::assertion\n"), []);
        assert_eq!(check_list(&[use_of(1), use_of(2)], "a.rs: A::assertion\n")[0].line, 2);
        let stale = check_list(&[], "# why\na.rs: A::assertion\n");
        assert_eq!((stale[0].file.as_str(), stale[0].line), (LIST, 2));
    }
}
