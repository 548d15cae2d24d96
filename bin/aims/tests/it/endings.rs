//! How commands end that cannot do what they are asked: 2 misused, 3 unavailable, each with a hint.

use crate::{aims, aims_fed};

#[test]
fn misuse_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["agent"],
        &["agent", "register"],
        &["agent", "register", "--name", "A b", "--kind", "agent", "--owner", "o"],
        &["agent", "register", "--name", "a", "--kind", "robot", "--owner", "o"],
        &["agent", "register", "--name", "a", "--kind", "agent", "--owner", "o"],
        &["agent", "register", "--name", "a", "--kind", "agent", "--owner", "o", "--selector", "x"],
        &["agent", "register", "--file", "missing.toml"],
        &["agent", "register", "--file", "a.toml", "--name", "a"],
        &["agent", "suspend", "a"],
        &["agent", "list", "--output", "xml"],
        &["join-token", "create", "--ttl", "10"],
        &["join-token", "create", "--role", "robot"],
        &["client", "register", "missing.json"],
        &["user", "add"],
        &["user", "code", "ada", "--uses", "x"],
        &["user", "code", "ada", "--expires", "10"],
        &["user", "disable", "ada"],
        &["session", "end", "--reason", "r"],
        &["session", "end", "a", "--user", "ada", "--reason", "r"],
        &["svid", "jwt"],
        &["svid", "x509", "--socket", "unix:relative"],
        &["token", "get", "--auth", "password"],
        &["token", "get", "--resource", "no url"],
        &["token", "get", "--issuer", "http://localhost:8443"],
        &["token", "get", "--ca", "missing.pem"],
        &["token", "exchange"],
        &["token", "inspect", "missing.jwt"],
        &["policy", "check", "missing"],
        &["policy", "apply", "missing"],
        &["audit", "show", "no-uuid"],
        &["audit", "tail", "--where", "agent"],
        &["audit", "tail", "--where", "colour=red"],
        &["audit", "verify"],
        &["audit", "verify", "--log", "missing"],
        &["run", "--agent", "a"],
        &["completions", "tcsh"],
    ] {
        let ended = aims(folder.path(), arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
        assert_ne!(ended.err, "", "{arguments:?}");
    }
}

#[test]
fn a_server_that_is_not_there_ends_with_three_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("client.json"), "{}").unwrap();
    let register = [
        "agent",
        "register",
        "--name",
        "a",
        "--kind",
        "agent",
        "--owner",
        "o",
        "--selector",
        "unix:uid:1",
    ];
    for arguments in [
        &["join-token", "create"][..],
        &register,
        &["agent", "list"],
        &["agent", "show", "a"],
        &["agent", "suspend", "a", "--reason", "r"],
        &["client", "register", "client.json"],
        &["client", "list"],
        &["client", "disable", "client-1"],
        &["svid", "x509"],
        &["svid", "bundle"],
        &["policy", "history"],
        &["audit", "tail"],
        &["audit", "trace", "x"],
        &["audit", "export"],
        &["run", "--agent", "a", "--", "true"],
    ] {
        let ended = aims(folder.path(), arguments);
        assert_eq!(ended.code, 3, "{arguments:?}: {}", ended.err);
        assert!(ended.err.starts_with("unavailable: "), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains("\n  hint: start it with `aims up`"), "{arguments:?}");
    }
}

#[test]
fn a_failure_is_json_where_a_script_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let ended = aims(folder.path(), &["agent", "list", "--output", "json"]);
    insta::assert_snapshot!(ended.shown(folder.path()), @r#"
    exit 3
    --- stdout
    --- stderr
    {
      "outcome": "unavailable",
      "error": "unavailable",
      "message": "no server at `./aims-data/admin.sock`: No such file or directory (os error 2)",
      "hint": "start it with `aims up`; if it runs: is this its directory (`--dir DIR`, or `AIMS_DIR` in the environment), and are you its user?"
    }
    "#);
}

#[test]
fn the_directory_comes_from_the_command_line_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let ended = aims(folder.path(), &["--dir", "elsewhere", "agent", "list"]);
    assert!(ended.err.contains("`elsewhere/admin.sock`"), "{}", ended.err);
    let ended = aims(folder.path(), &["agent", "list", "--dir", "elsewhere"]);
    assert!(ended.err.contains("`elsewhere/admin.sock`"), "{}", ended.err);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_aims"))
        .args(["agent", "list"])
        .env_clear()
        .env("AIMS_DIR", "from-environment")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("`from-environment/admin.sock`"));
}

#[test]
fn a_workload_is_not_registered_as_a_client() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = r#"{ "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://a/b" }"#;
    let ended = aims_fed(folder.path(), &["client", "register", "-"], metadata);
    insta::assert_snapshot!(ended.shown(folder.path()), @r#"
    exit 1
    --- stdout
    --- stderr
    refused: a client that authenticates by `spiffe_jwt` is a workload
      hint: register it with `aims agent register --kind service …`: its identifier is its client_id; clients are registered with `private_key_jwt`
    "#);
}

#[test]
fn the_doctor_says_what_it_found_before_it_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let ended = aims(folder.path(), &["doctor"]);
    insta::assert_snapshot!(ended.shown(folder.path()), @r#"
    exit 3
    --- stdout
    WRONG  directory: `./aims-data`: No such file or directory (os error 2)
           → name the installation: `--dir DIR`; `aims up` makes one
    looked at: 1, wrong: 1, notes: 0
    --- stderr
    unavailable: no server at `./aims-data/admin.sock`: No such file or directory (os error 2)
      hint: start it with `aims up`; if it runs: is this its directory (`--dir DIR`, or `AIMS_DIR` in the environment), and are you its user?
    "#);
}
