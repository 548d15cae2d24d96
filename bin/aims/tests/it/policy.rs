//! `aims policy check` and `init`, which need no server.

use std::fs;
use std::path::Path;

use crate::aims;

fn starter(folder: &Path) -> std::path::PathBuf {
    let ended = aims(folder, &["policy", "init", "set", "--trust-domain", "demo.example"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    folder.join("set")
}

/// req: POL-01 (part)
#[test]
fn s12_a_starter_set_is_sound_and_its_version_is_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let set = starter(folder.path());
    let version = |folder: &Path| {
        let ended = aims(folder, &["policy", "check", "set", "--output", "json"]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        let told: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(told["trust_domain"], "demo.example");
        told["version"].as_str().unwrap().to_owned()
    };
    let first = version(folder.path());
    assert!(first.starts_with("sha256:"), "{first}");
    assert_eq!(version(folder.path()), first);
    fs::write(set.join("access/notes.md"), "why").unwrap();
    assert_ne!(version(folder.path()), first);
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    starter(folder.path());
    let ended = aims(folder.path(), &["policy", "init", "set"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("is not empty"), "{}", ended.err);
}

/// req: POL-02 (part)
#[test]
fn s12_faults_are_shown_with_file_line_and_fix() {
    let folder = tempfile::tempdir().unwrap();
    let set = starter(folder.path());
    let cedar = "@id(\"a\")\npermit(principal, action, resource) when { context.colour == 1 };\n\
                 @id(\"b\")\npermit(principal action, resource);\n";
    fs::write(
        set.join("access/main.cedar"),
        "permit(principal, action == Aims::Action::\"fly\", resource);\n",
    )
    .unwrap();
    fs::write(set.join("access/more.cedar"), cedar).unwrap();
    fs::write(
        set.join("resources/files.toml"),
        "name = \"Files\"\nupstream = \"http://127.0.0.1:9000\"\nprotocol = \"mcp\"\nproof = \"none\"\n",
    )
    .unwrap();
    fs::write(set.join("resource.toml"), "").unwrap();
    fs::write(
        set.join("attestation.toml"),
        "[node.telepathy]\n[class.standard]\ndemands = []\nissues = [\"gold\"]\n",
    )
    .unwrap();
    let ended = aims(folder.path(), &["policy", "check", "set"]);
    insta::assert_snapshot!(ended.shown(folder.path()), @r#"
    exit 1
    --- stdout
    --- stderr
    refused: 6 faults in `set`
    access/main.cedar:1:1: rule has no `@id`
      fix: put `@id("a-short-name")` above the rule
    access/more.cedar:4:18: unexpected token `action`: expected `!=`, `)`, `,`, `:`, `<`, `<=`, `==`, `>`, `>=`, `in`, or `is`
      fix: write `@id("…") permit(principal, action, resource) when { … };`
    attestation.toml:1:1: no mechanism `telepathy`; known are join_token, x509pop, sshpop, k8s_psat, github_actions, gitlab_ci, gcp_iit, aws_iid, azure_imds, http_challenge, tpm_devid, idevid, ear, snp, tdx
    attestation.toml:4:1: no credential `gold`; known are x509, wit, jwt
    resource.toml: no part of the system reads this file
      fix: policy is domain.toml, attestation.toml, resources/*.toml, agents/*.toml, federation/*.toml and access/*.cedar; move or rename the file, or end its name in .md
    resources/files.toml:4:9: unknown variant `none`, expected one of `wit`, `mtls`, `dpop`, `bearer`
    "#);
}

#[test]
fn faults_are_json_where_a_script_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let set = starter(folder.path());
    fs::write(set.join("domain.toml"), "trust_domain = \"demo.example\"\n[lifetimes]\nwit = 0\n")
        .unwrap();
    let ended = aims(folder.path(), &["policy", "check", "set", "--output", "json"]);
    insta::assert_snapshot!(ended.shown(folder.path()), @r#"
    exit 1
    --- stdout
    --- stderr
    {
      "outcome": "refused",
      "error": "policy::Faults",
      "message": "1 fault in `set`",
      "faults": [
        {
          "file": "domain.toml",
          "line": 3,
          "column": 1,
          "message": "`wit` is 0 seconds; allowed are 1 to 86400"
        }
      ]
    }
    "#);
}
