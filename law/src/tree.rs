//! The checkout: its files, and its crates with their sources.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::{Manifest, Workspace};
use crate::source::Source;

/// Files larger than this are data, not text that somebody wrote.
const TEXT_BYTES_MAX: u64 = 2_000_000;

/// A checkout of the project.
#[derive(Debug)]
pub struct Tree {
    /// Where it is.
    pub root: PathBuf,
    /// The root manifest.
    pub workspace: Workspace,
    /// The members, in the order of the root manifest.
    pub crates: Vec<Crate>,
}

/// A member of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// Its manifest.
    pub manifest: Manifest,
    /// The text of its `src/lib.rs`, or `src/main.rs` where there is none.
    pub root: Source,
    /// Its Rust files, tests too.
    pub sources: Vec<Source>,
}

impl Crate {
    /// `spec`, `stack`, `flow`, `env`, `edge`, `bin`, `testkit`, `law`: the first part of its path.
    pub fn layer(&self) -> &str {
        self.manifest.layer()
    }

    /// The files of `src/`.
    pub fn product_files(&self) -> impl Iterator<Item = &Source> {
        let prefix = format!("{}/src/", self.manifest.path);
        self.sources.iter().filter(move |source| source.path.starts_with(&prefix))
    }
}

impl Tree {
    /// Reads the checkout that this crate stands in.
    ///
    /// # Errors
    /// Where a manifest or a file cannot be read, with its path.
    pub fn read() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let workspace = Workspace::parse(&text(&root, "Cargo.toml")?).map_err(io::Error::other)?;
        let mut crates = Vec::new();
        for path in &workspace.members {
            let manifest_text = text(&root, &format!("{path}/Cargo.toml"))?;
            let manifest = Manifest::parse(path, &manifest_text).map_err(io::Error::other)?;
            crates.push(read_crate(&root, manifest)?);
        }
        Ok(Self { root, workspace, crates })
    }

    /// The crate that is called `name`.
    pub fn named(&self, name: &str) -> Option<&Crate> {
        self.crates.iter().find(|member| member.manifest.name == name)
    }

    /// The text of the file `path`.
    ///
    /// # Errors
    /// Where it cannot be read, with its path.
    pub fn text(&self, path: &str) -> io::Result<String> {
        text(&self.root, path)
    }

    /// Paths of all files that are not ignored, below the checkout, sorted.
    ///
    /// # Errors
    /// Where a folder cannot be read.
    pub fn files(&self) -> io::Result<Vec<String>> {
        let ignored = Ignored::parse(&text(&self.root, ".gitignore")?);
        let mut files = Vec::new();
        walk(&self.root, "", &ignored, &mut files)?;
        files.sort();
        Ok(files)
    }

    /// The text of `path`, unless it is large or not UTF-8.
    pub fn readable(&self, path: &str) -> Option<String> {
        let full = self.root.join(path);
        let small = fs::metadata(&full).is_ok_and(|meta| meta.len() <= TEXT_BYTES_MAX);
        small.then(|| fs::read_to_string(full).ok()).flatten()
    }
}

fn read_crate(root: &Path, manifest: Manifest) -> io::Result<Crate> {
    let mut paths = Vec::new();
    walk(root, &manifest.path, &Ignored::parse("target\n"), &mut paths)?;
    paths.retain(|path| path.ends_with(".rs"));
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        sources.push(Source::new(&path, &text(root, &path)?));
    }
    let tests: Vec<String> = sources
        .iter()
        .flat_map(|source| source.test_modules.iter().map(|name| below(&source.path, name)))
        .collect();
    let sources: Vec<Source> = sources
        .into_iter()
        .map(|source| if is_module(&source.path, &tests) { source.into_test() } else { source })
        .collect();
    let at = ["lib.rs", "main.rs"].map(|name| format!("{}/src/{name}", manifest.path));
    let missing = || io::Error::other(format!("{}: no src/lib.rs or src/main.rs", manifest.path));
    let root = at.iter().find_map(|path| sources.iter().find(|source| source.path == *path));
    let root = root.cloned().ok_or_else(missing)?;
    Ok(Crate { manifest, root, sources })
}

/// Where the module `name` lies that the file `path` declares, without the ending.
fn below(path: &str, name: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file.strip_suffix(".rs").unwrap_or(file) {
        "lib" | "main" | "mod" => format!("{folder}/{name}"),
        own => format!("{folder}/{own}/{name}"),
    }
}

/// Whether `path` is the file, or lies in the folder, of one of `modules`.
fn is_module(path: &str, modules: &[String]) -> bool {
    modules.iter().any(|module| {
        let rest = path.strip_prefix(module.as_str());
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

fn text(root: &Path, path: &str) -> io::Result<String> {
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
    fs::read_to_string(root.join(path)).map_err(explain)
}

fn walk(root: &Path, folder: &str, ignored: &Ignored, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if name == ".git" || ignored.has(&path, &name) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &path, ignored, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// The lines of `.gitignore`: `/path`, `name` or `*.ending`.
struct Ignored(Vec<String>);

impl Ignored {
    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self(lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
    }

    fn has(&self, path: &str, name: &str) -> bool {
        self.0.iter().any(|line| {
            let line = line.trim_end_matches('/');
            match (line.strip_prefix('/'), line.strip_prefix('*')) {
                (Some(whole), _) => path == whole,
                (None, Some(ending)) => name.ends_with(ending),
                (None, None) => name == line,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_file_is_known_by_path_name_or_ending() {
        let ignored = Ignored::parse("/target\n# no\nnode_modules/\n*.snap.new\n");
        assert!(ignored.has("target", "target"));
        assert!(!ignored.has("a/target", "target"));
        assert!(ignored.has("a/node_modules", "node_modules"));
        assert!(ignored.has("a/b.snap.new", "b.snap.new"));
        assert!(!ignored.has("# no", "# no"));
    }

    #[test]
    fn a_module_is_a_file_or_a_folder() {
        let modules = [below("a/src/lib.rs", "matrix")];
        assert!(is_module("a/src/matrix.rs", &modules));
        assert!(is_module("a/src/matrix/rows.rs", &modules));
        assert!(!is_module("a/src/matrixes.rs", &modules));
    }

    /// A module of tests excused every file of its crate that had the same name.
    #[test]
    fn a_module_of_tests_excuses_no_other_file_of_its_name() {
        for (declared_in, is, is_not) in [
            ("a/tests/it/main.rs", "a/tests/it/call.rs", "a/src/call.rs"),
            ("a/src/lib.rs", "a/src/call/rows.rs", "a/src/b/call.rs"),
            ("a/src/b.rs", "a/src/b/call.rs", "a/src/call.rs"),
            ("a/src/b/mod.rs", "a/src/b/call.rs", "a/src/b/mod/call.rs"),
        ] {
            let modules = [below(declared_in, "call")];
            assert!(is_module(is, &modules), "{declared_in}: {is}");
            assert!(!is_module(is_not, &modules), "{declared_in}: {is_not}");
        }
    }
}
