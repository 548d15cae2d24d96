//! Names that say nothing of what is inside: homeless things gather there, and then everything
//! depends on them.

use crate::Finding;
use crate::source::Source;

/// Such names, whole or as the last word of a longer one.
const EMPTY: &[&str] = &[
    "common",
    "helper",
    "helpers",
    "misc",
    "prelude",
    "support",
    "util",
    "utils",
    "utility",
    "utilities",
];

const FIX: &str = "name it for what it holds, or move it below its one caller";

/// Checks the name of a crate, a file or a folder.
pub fn check_path(path: &str) -> Vec<Finding> {
    let parts = path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    let bad = parts.filter(|part| is_empty_name(part));
    bad.map(|name| Finding::at(path, 0, format!("`{name}` names nothing"), FIX)).collect()
}

/// Checks the modules that a file declares.
pub fn check_modules(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in source.all() {
        let declared = line.code.trim_start().split_once("mod ").filter(|(before, _)| {
            before.is_empty() || (before.starts_with("pub") && before.ends_with(' '))
        });
        let Some((_, rest)) = declared else { continue };
        let name: String = rest.chars().take_while(|c| crate::is_word(*c)).collect();
        if is_empty_name(&name) {
            let what = format!("the module `{name}` names nothing");
            findings.push(Finding::at(&source.path, line.number, what, FIX));
        }
    }
    findings
}

fn is_empty_name(name: &str) -> bool {
    let last = name.rsplit(['_', '-']).next().unwrap_or(name);
    EMPTY.contains(&name) || EMPTY.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_found_in_paths() {
        for path in
            ["spec/util", "flow/src/common.rs", "flow/tests/it/test_support.rs", "a/net-utils"]
        {
            assert_eq!(check_path(path).len(), 1, "{path}");
        }
        for path in ["spec/x509/src/common_name.rs", "edge/api/src/supported.rs", "stack/pdp"] {
            assert_eq!(check_path(path), [], "{path}");
        }
    }

    #[test]
    fn empty_names_are_found_in_declarations() {
        for text in ["mod util;", "pub mod helpers {", "pub(crate) mod misc;", "    mod prelude;"] {
            assert_eq!(check_modules(&Source::new("a.rs", text)).len(), 1, "{text}");
        }
        for text in ["// mod util;", "mod utilisation;", "let mod_ = common;"] {
            assert_eq!(check_modules(&Source::new("a.rs", text)), [], "{text}");
        }
    }
}
