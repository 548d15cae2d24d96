//! What a machine leaves in files by accident: its own paths, and where a package came from.

use crate::Finding;

/// Folders of other people's files, kept byte for byte.
const FOREIGN: &[&str] = &["vectors/", "LICENSE"];

/// Paths of a machine; written in two halves so that this file does not hold them.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];
/// What a lock file of npm says when it was made without `omit-lockfile-registry-resolved`.
const RESOLVED: &str = concat!("\"resolved\"", ": \"http");

/// Checks the text of the file `path`.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    if FOREIGN.iter().any(|prefix| path.starts_with(prefix)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at.saturating_add(1);
        for form in MACHINE.iter().filter(|form| names_path(line, form)) {
            let what = format!("a path below `{form}`");
            findings.push(Finding::at(path, number, what, "write it relative to the checkout"));
        }
        if line.contains(RESOLVED) {
            let fix = "run `npm install --package-lock-only --omit-lockfile-registry-resolved`";
            findings.push(Finding::at(path, number, "an address in a lock file", fix));
        }
    }
    findings
}

/// Whether `line` holds a path that begins with `form`: after a name (`example.org`, `..`) it is
/// the middle of a URL or of a relative path.
fn names_path(line: &str, form: &str) -> bool {
    line.match_indices(form).any(|(at, _)| {
        let before = line.get(..at).and_then(|s| s.chars().next_back());
        !before.is_some_and(|c| crate::is_word(c) || ".-~}*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found() {
        for form in MACHINE {
            for text in [format!("cd {form}x"), format!("a = \"{form}x\""), format!("{form}x")] {
                assert_eq!(check("a.md", &text).len(), 1, "{text}");
                assert_eq!(check("vectors/a.json", &text), [], "{text}");
            }
            for text in [format!("https://example.org{form}x"), format!("..{form}x")] {
                assert_eq!(check("a.md", &text), [], "{text}");
            }
        }
    }

    #[test]
    fn addresses_in_lock_files_are_found() {
        let text = format!("{{\n  {RESOLVED}s://registry.example/a.tgz\"\n}}");
        assert_eq!(check("package-lock.json", &text)[0].line, 2);
        assert_eq!(check("package-lock.json", "{ \"integrity\": \"sha512-x\" }"), []);
    }
}
