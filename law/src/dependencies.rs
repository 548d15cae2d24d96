//! Position is law: a crate uses only crates that stand below it in the root manifest.

use crate::Finding;
use crate::manifest::{Dependency, Manifest};

/// Crates that stand outside the order: tests use them, and what measures (`bench` is no part of
/// the product either, and measures what hosts of the test kit show); the product does not.
const BESIDE: &[&str] = &["testkit", "law", "corpus"];

/// Edge crates that are no door: what several doors are made of. Doors may use them; they use no
/// other crate of the layer.
const FITTINGS: &[&str] = &["edge/socket", "edge/body", "edge/grpc", "edge/tls", "edge/chip"];

/// Checks `members`, given in the order of the root manifest.
pub fn check(members: &[&Manifest]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, member) in members.iter().enumerate() {
        check_name(member, &mut findings);
        for dependency in member.normal.iter().chain(&member.build) {
            let Some(below) = position(members, &dependency.name) else { continue };
            check_normal(members, at, below, dependency, &mut findings);
        }
        for dependency in &member.dev {
            let Some(below) = position(members, &dependency.name) else { continue };
            check_dev(members, at, below, dependency, &mut findings);
        }
    }
    findings
}

fn position(members: &[&Manifest], name: &str) -> Option<usize> {
    members.iter().position(|member| member.name == name)
}

/// One name for the folder, the package and the place in the figure.
fn check_name(member: &Manifest, findings: &mut Vec<Finding>) {
    if member.path.rsplit('/').next() != Some(&member.name) {
        let what = format!("the package `{}` lies in the folder `{}`", member.name, member.path);
        findings.push(Finding::at(&member.file(), 0, what, "give both the same name"));
    }
}

fn check_normal(
    members: &[&Manifest],
    at: usize,
    below: usize,
    dependency: &Dependency,
    findings: &mut Vec<Finding>,
) {
    let (Some(user), Some(used)) = (members.get(at), members.get(below)) else { return };
    let mut report = |what: String, fix: &str| {
        findings.push(Finding::at(&user.file(), dependency.line, what, fix));
    };
    let (from, to) = (&user.name, &used.name);
    if BESIDE.contains(&used.layer()) || BESIDE.contains(&to.as_str()) {
        let measures = user.layer() == "bench" && to == "testkit";
        if !BESIDE.contains(&from.as_str()) && !measures {
            report(
                format!("`{from}` depends on `{to}`, which is for tests"),
                "move it to `[dev-dependencies]`",
            );
        }
        return;
    }
    if used.layer() == "bin" && !["bin", "bench"].contains(&user.layer()) {
        report(
            format!("`{from}` depends on the binary `{to}`"),
            "move what it needs to a layer below",
        );
    } else if user.layer() == "edge" && used.layer() == "edge" && !is_fitted(user, used) {
        report(
            format!("the edge crate `{from}` depends on the edge crate `{to}`"),
            "put a door into `env` and let `bin` join the two",
        );
    } else if below <= at && !BESIDE.contains(&from.as_str()) {
        report(
            format!("`{from}` depends on `{to}`, which stands above it"),
            "move the shared type down, or the caller up; do not reorder the members for it",
        );
    }
}

/// Whether `user` is a door and `used` a part of doors.
fn is_fitted(user: &Manifest, used: &Manifest) -> bool {
    FITTINGS.contains(&used.path.as_str()) && !FITTINGS.contains(&user.path.as_str())
}

/// A test may use the test kit; else it sees what its crate may see.
fn check_dev(
    members: &[&Manifest],
    at: usize,
    below: usize,
    dependency: &Dependency,
    findings: &mut Vec<Finding>,
) {
    let (Some(user), Some(used)) = (members.get(at), members.get(below)) else { return };
    if BESIDE.contains(&used.name.as_str()) || BESIDE.contains(&user.name.as_str()) {
        return;
    }
    if below <= at || used.layer() == "bin" {
        let what = format!("tests of `{}` use `{}`, which stands above", user.name, used.name);
        let fix = "write the test where both can be seen: in the upper crate, or over `testkit`";
        findings.push(Finding::at(&user.file(), dependency.line, what, fix));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(path: &str, text: &str) -> Manifest {
        let name = path.rsplit('/').next().unwrap();
        Manifest::parse(path, &format!("[package]\nname = \"{name}\"\n{text}")).unwrap()
    }

    fn check_one(user: &str, table: &str, used: &str) -> Vec<String> {
        let order = [
            "bench",
            "bin/wiring",
            "edge/api",
            "edge/log",
            "edge/tls",
            "flow",
            "stack/pdp",
            "spec/oauth",
            "spec/jose",
            "testkit",
            "law",
        ];
        let members: Vec<Manifest> = order
            .iter()
            .map(|path| {
                let text = format!("[{table}]\n{used}.workspace = true\n");
                manifest(path, if path.ends_with(user) { &text } else { "" })
            })
            .collect();
        let found = check(&members.iter().collect::<Vec<_>>());
        found.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn what_stands_below_may_be_used() {
        for (user, table, used) in [
            ("wiring", "dependencies", "api"),
            ("api", "dependencies", "flow"),
            ("api", "dependencies", "tls"),
            ("oauth", "build-dependencies", "jose"),
            ("flow", "dev-dependencies", "testkit"),
            ("testkit", "dependencies", "flow"),
            ("jose", "dependencies", "serde"),
            ("bench", "dependencies", "wiring"),
            ("bench", "dependencies", "log"),
            ("bench", "dependencies", "testkit"),
        ] {
            assert_eq!(check_one(user, table, used), [""; 0], "{user} {used}");
        }
    }

    #[test]
    fn what_stands_above_or_beside_may_not() {
        for (user, table, used, expect) in [
            (
                "jose",
                "dependencies",
                "oauth",
                "spec/jose/Cargo.toml:4: `jose` depends on `oauth`, which stands above",
            ),
            ("pdp", "build-dependencies", "flow", "`pdp` depends on `flow`, which stands above"),
            ("jose", "dev-dependencies", "oauth", "tests of `jose` use `oauth`"),
            ("flow", "dependencies", "testkit", "move it to `[dev-dependencies]`"),
            ("wiring", "dependencies", "bench", "`wiring` depends on `bench`, which stands above"),
            ("api", "dependencies", "log", "the edge crate `api` depends on the edge crate `log`"),
            ("tls", "dependencies", "log", "the edge crate `tls` depends on the edge crate `log`"),
            ("testkit", "dependencies", "wiring", "depends on the binary `wiring`"),
            ("api", "dependencies", "wiring", "depends on the binary `wiring`"),
        ] {
            let found = check_one(user, table, used).join("\n");
            assert!(found.contains(expect), "{user} {used}: {found}");
        }
    }

    #[test]
    fn a_folder_is_called_like_its_package() {
        let odd = Manifest::parse("spec/jws", "[package]\nname = \"jose\"\n").unwrap();
        assert_eq!(check(&[&odd]).len(), 1);
    }
}
