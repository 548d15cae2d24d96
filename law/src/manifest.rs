//! `Cargo.toml`: the members in their order, and what each depends on.

use toml::{Table, Value};

/// The root manifest.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Paths of the members, uppermost first.
    pub members: Vec<String>,
    /// Keys of `[workspace.dependencies]` that are members (have a `path`).
    pub own: Vec<String>,
    /// The other keys, with the line each stands on.
    pub foreign: Vec<Dependency>,
}

/// The manifest of a member.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Path of its folder.
    pub path: String,
    /// Name of the package.
    pub name: String,
    /// `[dependencies]`, of all targets.
    pub normal: Vec<Dependency>,
    /// `[build-dependencies]`.
    pub build: Vec<Dependency>,
    /// `[dev-dependencies]`.
    pub dev: Vec<Dependency>,
}

/// A line of a dependency table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its key.
    pub name: String,
    /// Where it stands, counted from 1.
    pub line: usize,
    /// Whether it says `workspace = true`.
    pub inherited: bool,
}

impl Workspace {
    /// Reads the root `Cargo.toml`.
    ///
    /// # Errors
    /// Where the text is not TOML, or not a workspace.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error| format!("Cargo.toml: {error}"))?;
        let workspace = table.get("workspace").and_then(Value::as_table);
        let workspace = workspace.ok_or("Cargo.toml: no `[workspace]`")?;
        let members = workspace.get("members").and_then(Value::as_array);
        let members = members.ok_or("Cargo.toml: no `members`")?.iter().filter_map(Value::as_str);
        let listed = workspace.get("dependencies").and_then(Value::as_table);
        let all = dependencies(text, listed, "[workspace.dependencies]");
        let is_own = |dependency: &Dependency| {
            listed.and_then(|t| t.get(&dependency.name)).is_some_and(|v| v.get("path").is_some())
        };
        let (own, foreign): (Vec<_>, Vec<_>) = all.into_iter().partition(is_own);
        Ok(Self {
            members: members.map(str::to_owned).collect(),
            own: own.into_iter().map(|dependency| dependency.name).collect(),
            foreign,
        })
    }
}

impl Manifest {
    /// Reads the `Cargo.toml` of the member at `path`.
    ///
    /// # Errors
    /// Where the text is not TOML, or has no package name.
    pub fn parse(path: &str, text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error| format!("{path}/Cargo.toml: {error}"))?;
        let name = table.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("{path}/Cargo.toml: no package name"))?.to_owned();
        let of = |kind: &str| {
            let own = table.get(kind).and_then(Value::as_table);
            let mut found = dependencies(text, own, &format!("[{kind}]"));
            for (target, tables) in
                table.get("target").and_then(Value::as_table).into_iter().flatten()
            {
                let listed = tables.get(kind).and_then(Value::as_table);
                found.extend(dependencies(text, listed, &format!("[target.'{target}'.{kind}]")));
            }
            found
        };
        let (normal, build, dev) =
            (of("dependencies"), of("build-dependencies"), of("dev-dependencies"));
        Ok(Self { path: path.to_owned(), name, normal, build, dev })
    }

    /// The first part of its path.
    pub fn layer(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// Path of the manifest.
    pub fn file(&self) -> String {
        format!("{}/Cargo.toml", self.path)
    }
}

fn dependencies(text: &str, table: Option<&Table>, header: &str) -> Vec<Dependency> {
    let entries = table.into_iter().flatten();
    entries
        .map(|(name, value)| Dependency {
            name: value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned(),
            line: line_of(text, header, name),
            inherited: value.get("workspace").and_then(Value::as_bool) == Some(true),
        })
        .collect()
}

/// The line on which the key `name` stands below `header`; 0 where it is written in another form.
fn line_of(text: &str, header: &str, name: &str) -> usize {
    let mut below = false;
    for (at, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            below = line.trim() == header;
        }
        let key = line.trim_start().strip_prefix(name);
        if below && key.is_some_and(|rest| rest.starts_with(['.', ' ', '='])) {
            return at.saturating_add(1);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_manifest_tells_members_from_foreign_crates() {
        let text = "[workspace]\nmembers = [\"edge/api\", \"spec/jose\"]\n\
                    [workspace.dependencies]\njose = { path = \"spec/jose\" }\nserde = \"1\"\n";
        let workspace = Workspace::parse(text).unwrap();
        assert_eq!(workspace.members, ["edge/api", "spec/jose"]);
        assert_eq!(workspace.own, ["jose"]);
        assert_eq!(workspace.foreign.len(), 1);
        assert_eq!((workspace.foreign[0].name.as_str(), workspace.foreign[0].line), ("serde", 5));
        assert!(Workspace::parse("[package]").is_err());
    }

    #[test]
    fn every_table_of_a_member_is_read() {
        let text = "[package]\nname = \"api\"\n[dependencies]\nserde.workspace = true\nurl = \"2\"\n\
                    [build-dependencies]\nprotox.workspace = true\n[dev-dependencies]\n\
                    insta = { workspace = true }\n[target.'cfg(unix)'.dependencies]\nnix.workspace = true\n";
        let manifest = Manifest::parse("edge/api", text).unwrap();
        let seen: Vec<_> =
            manifest.normal.iter().map(|d| (d.name.as_str(), d.line, d.inherited)).collect();
        assert_eq!(seen, [("serde", 4, true), ("url", 5, false), ("nix", 11, true)]);
        assert_eq!((manifest.build[0].name.as_str(), manifest.build[0].line), ("protox", 7));
        assert_eq!((manifest.dev[0].name.as_str(), manifest.layer()), ("insta", "edge"));
    }
}
