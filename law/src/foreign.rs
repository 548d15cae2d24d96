//! Which foreign crate belongs to which layer. Few dependencies, each with an owner and a reason;
//! what is not in the table may not be used.

use crate::Finding;
use crate::manifest::{Dependency, Manifest, Workspace};

/// A foreign crate, who may use it, and why it is here.
#[derive(Debug, Clone, Copy)]
pub struct Foreign {
    /// Name in the registry.
    pub name: &'static str,
    /// Layers (`spec`) or crates (`edge/store`) that may ship it. Empty: tests alone.
    pub users: &'static [&'static str],
    /// Layers or crates whose tests may use it besides. `*`: all.
    pub tests: &'static [&'static str],
    /// Why it is here, and why there.
    pub why: &'static str,
}

const EVERY: &[&str] = &["*"];
const NONE: &[&str] = &[];
/// Layers that meet the world.
const OUTER: &[&str] = &["edge", "bin", "bench"];
/// What has a command line.
const PROGRAMS: &[&str] = &["bin", "bench"];
/// The listeners and connectors that terminate TLS.
const TLS: &[&str] = &[
    "edge/proxy",
    "edge/api",
    "edge/link",
    "edge/workload",
    "edge/fetch",
    "edge/tls",
    // A kubelet speaks it.
    "edge/attestors",
    "bin",
    "bench",
];
/// The two that speak gRPC.
const GRPC: &[&str] = &["edge/link", "edge/workload"];
/// Layers in which nothing touches the world.
const PURE: &[&str] = &["spec", "stack"];

/// The whole list, by name.
pub const ALLOWED: &[Foreign] = &[
    row(
        "arc-swap",
        OUTER,
        NONE,
        "snapshots without locks: a cell that changes is state, so outside",
    ),
    row("askama", &["edge/console"], NONE, "pages: checked when compiled, escaped by default"),
    row(
        "aws-lc-rs",
        &["spec", "stack", "edge", "bin", "testkit", "bench"],
        EVERY,
        "the one cryptographic library",
    ),
    row(
        "axum",
        &["edge/api", "edge/console", "edge/decisions"],
        NONE,
        "routes of the server's HTTPS origin: what programs call, and pages",
    ),
    row("base64", &["spec", "stack", "edge", "testkit"], EVERY, "strict base64url of tokens"),
    row("cedar-policy", &["stack/pdp"], NONE, "the policy engine: one crate decides"),
    row("clap", PROGRAMS, NONE, "the command line"),
    row("clap_complete", &["bin"], NONE, "shell completion"),
    row("crc32c", &["edge/log"], NONE, "torn writes of the write-ahead segment"),
    row("cryptoki", &["edge/keys"], NONE, "tokens by PKCS #11; its module is loaded at run time"),
    row(
        "der",
        &["spec/x509", "spec/tee"],
        NONE,
        "ASN.1: certificates, requests, and what makers of processors put into extensions",
    ),
    row(
        "form_urlencoded",
        &["spec/oauth", "edge/api", "edge/console", "edge/proxy"],
        NONE,
        "form bodies and queries",
    ),
    row(
        "http",
        &["stack/gateway", "flow", "edge", "bin", "bench"],
        EVERY,
        "method, header and status as types; no I/O",
    ),
    row("http-body", OUTER, NONE, "bodies of the HTTP servers and clients"),
    row("http-body-util", OUTER, NONE, "bodies of the HTTP servers and clients"),
    row("hyper", OUTER, NONE, "HTTP/1 and 2 on the wire"),
    row("hyper-util", OUTER, NONE, "HTTP/1 and 2 on the wire"),
    row("insta", NONE, EVERY, "snapshots of what leaves the process"),
    row("nix", OUTER, NONE, "peer credentials, signals, users"),
    row("proptest", NONE, EVERY, "properties of parsers"),
    row("prost", GRPC, NONE, "messages of gRPC"),
    row("prost-types", GRPC, NONE, "well-known types of gRPC"),
    row("protox", GRPC, NONE, "compiles .proto at build time without protoc"),
    row(
        "rusqlite",
        &["edge/store", "edge/log"],
        &["bin/aims"],
        "SQL: the state and the index of the log alone; a test of the program makes a newer file",
    ),
    row("rustix", OUTER, NONE, "files, processes and sockets of the kernel"),
    row("rustls", TLS, NONE, "TLS is terminated in named places"),
    row("rustls-pki-types", TLS_AND_X509, NONE, "certificates as TLS and webpki take them"),
    row("rustls-webpki", &["spec/x509"], NONE, "chain building; profile checks are ours"),
    row("serde", EVERY, EVERY, "claims and settings as types"),
    row("serde_json", EVERY, EVERY, "JSON"),
    row("signed_note", NONE, &["spec/tlog", "edge/log"], "an oracle for our own signed notes"),
    row("tempfile", PROGRAMS, EVERY, "folders of tests, of the demo and of measurements"),
    row("thiserror", EVERY, EVERY, "closed error enums"),
    row("tlog_tiles", NONE, &["spec/tlog", "edge/log"], "an oracle for our own tiles"),
    row(
        "tokio",
        &["edge", "bin", "testkit", "bench"],
        &["flow", "env"],
        "the runtime: `flow` is async and knows none",
    ),
    row("tokio-rustls", TLS, NONE, "TLS is terminated in named places"),
    row("tokio-stream", OUTER, NONE, "streams of gRPC and bodies"),
    row("toml", &["stack/policy", "bin", "law"], NONE, "policy and settings: one format"),
    row("tonic", GRPC, NONE, "gRPC"),
    row("tonic-prost", GRPC, NONE, "gRPC"),
    row("tonic-prost-build", GRPC, NONE, "gRPC, at build time"),
    row("tower", OUTER, NONE, "layers of the HTTP servers"),
    row("tracing", OUTER, NONE, "what operators read; never the audit record"),
    row("tracing-subscriber", PROGRAMS, NONE, "one place decides where that goes"),
    row("url", &["spec", "stack", "edge", "bin", "bench"], EVERY, "the one URL type"),
    row(
        "uuid",
        &["stack/monitoring", "env", "flow", "edge", "bin", "testkit"],
        EVERY,
        "ids of records",
    ),
    row("x509-cert", &["spec/x509"], NONE, "certificates and requests alone"),
    row(
        "zeroize",
        &["spec", "stack", "env", "flow", "edge", "bin"],
        EVERY,
        "secrets are wiped on drop",
    ),
];

const TLS_AND_X509: &[&str] = &[
    "spec/x509",
    "edge/proxy",
    "edge/api",
    "edge/link",
    "edge/workload",
    "edge/fetch",
    "edge/tls",
    "edge/attestors",
    "bin",
    "bench",
];

const fn row(
    name: &'static str,
    users: &'static [&'static str],
    tests: &'static [&'static str],
    why: &'static str,
) -> Foreign {
    Foreign { name, users, tests, why }
}

/// Checks every dependency of `member` that is not one of `own`.
pub fn check(member: &Manifest, own: &[String], allowed: &[Foreign]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shipped = member.normal.iter().chain(&member.build).map(|d| (d, false));
    for (dependency, is_test) in shipped.chain(member.dev.iter().map(|d| (d, true))) {
        if !dependency.inherited {
            let what = format!("`{}` states its own version", dependency.name);
            let fix = "name the version in the root manifest and write `x.workspace = true` here";
            findings.push(Finding::at(&member.file(), dependency.line, what, fix));
        }
        if !own.contains(&dependency.name) {
            findings.extend(check_one(member, dependency, is_test, allowed));
        }
    }
    findings
}

fn check_one(
    member: &Manifest,
    dependency: &Dependency,
    is_test: bool,
    allowed: &[Foreign],
) -> Option<Finding> {
    let name = &dependency.name;
    let Some(row) = allowed.iter().find(|row| row.name == name) else {
        let what = format!("the foreign crate `{name}` is not in the list");
        let fix = "do without it, or add a row with its layers and its reason to \
                   `law/src/foreign.rs` and a record to `docs/decisions/`";
        return Some(Finding::at(&member.file(), dependency.line, what, fix));
    };
    if covers(row.users, member) || (is_test && covers(row.tests, member)) {
        return None;
    }
    let kind = if is_test { "tests of " } else { "" };
    let what = format!("{kind}`{}` may not use `{name}` ({})", member.path, row.why);
    let places = if row.users.is_empty() { "tests".to_owned() } else { row.users.join(", ") };
    let fix = format!("keep it to {places}, or change its row in `law/src/foreign.rs` and say why");
    Some(Finding::at(&member.file(), dependency.line, what, fix))
}

fn covers(users: &[&str], member: &Manifest) -> bool {
    users.iter().any(|user| *user == "*" || *user == member.layer() || *user == member.path)
}

/// Rows for crates that the root manifest does not list, and names that stand twice: dead rows are
/// permissions nobody remembers.
pub fn check_rows(allowed: &[Foreign], workspace: &Workspace) -> Vec<Finding> {
    let file = "law/src/foreign.rs";
    let listed = |name: &str| workspace.foreign.iter().any(|foreign| foreign.name == name);
    let mut findings: Vec<Finding> = allowed
        .iter()
        .filter(|row| !listed(row.name))
        .map(|row| {
            let what = format!("`{}` is not in `[workspace.dependencies]`", row.name);
            Finding::at(file, 0, what, "delete the row")
        })
        .collect();
    for (row, next) in allowed.iter().zip(allowed.iter().skip(1)) {
        if row.name >= next.name {
            let what = format!("`{}` stands before `{}`", row.name, next.name);
            findings.push(Finding::at(file, 0, what, "keep the rows in order, one a crate"));
        }
    }
    let unknown =
        workspace.foreign.iter().filter(|f| !allowed.iter().any(|row| row.name == f.name));
    findings.extend(unknown.map(|foreign| {
        let what = format!("`{}` has no row in the list of foreign crates", foreign.name);
        let fix = "delete it, or add a row with its layers and its reason to `law/src/foreign.rs`";
        Finding::at("Cargo.toml", foreign.line, what, fix)
    }));
    findings
}

/// Pure layers may not hold what reads a clock, draws randomness, logs or does I/O, whatever the
/// rest of a row says.
pub fn check_purity(allowed: &[Foreign], worldly: &[&str]) -> Vec<Finding> {
    let pure =
        |row: &&Foreign| row.users.iter().any(|user| PURE.iter().any(|p| user.starts_with(p)));
    let rows = allowed.iter().filter(|row| worldly.contains(&row.name)).filter(pure);
    rows.map(|row| {
        let what = format!("the row of `{}` lets it into a pure layer", row.name);
        Finding::at("law/src/foreign.rs", 0, what, "keep it to `edge` and `bin`")
    })
    .collect()
}

/// Crates that do I/O, read a clock, spawn or log.
pub const WORLDLY: &[&str] = &[
    "axum",
    "hyper",
    "hyper-util",
    "nix",
    "rusqlite",
    "rustix",
    "rustls",
    "tokio",
    "tokio-rustls",
    "tokio-stream",
    "tonic",
    "tower",
    "tracing",
    "tracing-subscriber",
];

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Foreign] = &[
        row("rusqlite", &["edge/store"], NONE, "SQL"),
        row("serde", EVERY, EVERY, "types"),
        row("tempfile", NONE, EVERY, "tests"),
        row("tokio", &["edge"], &["flow"], "runtime"),
    ];

    fn found(path: &str, table: &str, dependency: &str) -> String {
        let text = format!("[package]\nname = \"x\"\n[{table}]\n{dependency}\n");
        let member = Manifest::parse(path, &text).unwrap();
        let findings = check(&member, &["jose".to_owned()], TABLE);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_listed_crate_stands_in_its_layer() {
        for (path, table, dependency) in [
            ("edge/store", "dependencies", "rusqlite.workspace = true"),
            ("spec/jose", "dependencies", "serde.workspace = true"),
            ("spec/jose", "dev-dependencies", "tempfile.workspace = true"),
            ("flow", "dev-dependencies", "tokio.workspace = true"),
            ("flow", "dependencies", "jose.workspace = true"),
        ] {
            assert_eq!(found(path, table, dependency), "", "{path} {dependency}");
        }
    }

    #[test]
    fn a_crate_out_of_its_layer_is_named_with_its_reason() {
        for (path, table, dependency, expect) in [
            (
                "edge/api",
                "dependencies",
                "rusqlite.workspace = true",
                "`edge/api` may not use `rusqlite` (SQL)",
            ),
            (
                "edge/api",
                "build-dependencies",
                "rusqlite.workspace = true",
                "keep it to edge/store",
            ),
            ("flow", "dependencies", "tokio.workspace = true", "`flow` may not use `tokio`"),
            (
                "spec/jose",
                "dev-dependencies",
                "tokio.workspace = true",
                "tests of `spec/jose` may not",
            ),
            ("spec/jose", "dependencies", "tempfile.workspace = true", "keep it to tests"),
            (
                "bin/aims",
                "dependencies",
                "reqwest.workspace = true",
                "`reqwest` is not in the list",
            ),
            (
                "spec/jose",
                "dependencies",
                "serde = \"1\"",
                "x/Cargo.toml:4: `serde` states its own version",
            ),
        ] {
            let found = found(path, table, dependency);
            let expect = expect.strip_prefix("x/").unwrap_or(expect);
            assert!(found.contains(expect), "{path} {dependency}: {found}");
        }
    }

    #[test]
    fn dead_and_missing_and_unsorted_rows_are_found() {
        let root = "[workspace]\nmembers = []\n[workspace.dependencies]\n";
        let listed = |names: &[&str]| {
            let lines: String = names.iter().map(|name| format!("{name} = \"1\"\n")).collect();
            check_rows(TABLE, &Workspace::parse(&format!("{root}{lines}")).unwrap()).len()
        };
        assert_eq!(listed(&["rusqlite", "serde", "tempfile", "tokio"]), 0);
        assert_eq!(listed(&["rusqlite", "serde", "tempfile"]), 1);
        assert_eq!(listed(&["rusqlite", "serde", "tempfile", "tokio", "sqlx"]), 1);
        let twice = [TABLE[0], TABLE[0]];
        let root = Workspace::parse(&format!("{root}rusqlite = \"1\"\n")).unwrap();
        assert_eq!(check_rows(&twice, &root).len(), 1);
    }

    #[test]
    fn no_row_opens_a_pure_layer_to_the_world() {
        assert_eq!(check_purity(TABLE, &["tokio", "rusqlite"]).len(), 0);
        let open = [row("tokio", &["stack/pdp"], NONE, "no")];
        assert_eq!(check_purity(&open, &["tokio"]).len(), 1);
    }
}
