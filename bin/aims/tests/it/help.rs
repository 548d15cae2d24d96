//! Help, version and completions: the contract that scripts and people rely on.

use crate::aims;

/// Every command there is, by what follows `aims`.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["up"],
    &["server"],
    &["node"],
    &["node", "list"],
    &["node", "show"],
    &["node", "suspend"],
    &["node", "resume"],
    &["node", "revoke"],
    &["node", "forget"],
    &["gateway"],
    &["enrol"],
    &["run"],
    &["join-token"],
    &["join-token", "create"],
    &["agent"],
    &["agent", "register"],
    &["agent", "list"],
    &["agent", "show"],
    &["agent", "explain"],
    &["agent", "evidence"],
    &["agent", "evidence", "add"],
    &["agent", "evidence", "list"],
    &["agent", "evidence", "remove"],
    &["agent", "suspend"],
    &["agent", "resume"],
    &["agent", "revoke"],
    &["agent", "retire"],
    &["client"],
    &["client", "register"],
    &["client", "list"],
    &["client", "show"],
    &["client", "token"],
    &["client", "enable"],
    &["client", "disable"],
    &["approval"],
    &["approval", "list"],
    &["approval", "show"],
    &["approval", "approve"],
    &["approval", "deny"],
    &["user"],
    &["user", "add"],
    &["user", "list"],
    &["user", "show"],
    &["user", "change"],
    &["user", "disable"],
    &["user", "enable"],
    &["user", "remove"],
    &["user", "link"],
    &["user", "code"],
    &["user", "ask-code"],
    &["session"],
    &["session", "list"],
    &["session", "end"],
    &["authority"],
    &["authority", "list"],
    &["authority", "rotate"],
    &["authority", "taint"],
    &["authority", "revoke"],
    &["federation"],
    &["federation", "add"],
    &["federation", "list"],
    &["federation", "show"],
    &["federation", "refresh"],
    &["federation", "remove"],
    &["svid"],
    &["svid", "x509"],
    &["svid", "jwt"],
    &["svid", "wit"],
    &["svid", "bundle"],
    &["svid", "watch"],
    &["token"],
    &["token", "get"],
    &["token", "exchange"],
    &["token", "inspect"],
    &["policy"],
    &["policy", "check"],
    &["policy", "plan"],
    &["policy", "apply"],
    &["policy", "history"],
    &["policy", "init"],
    &["audit"],
    &["audit", "tail"],
    &["audit", "show"],
    &["audit", "trace"],
    &["audit", "prove"],
    &["audit", "verify"],
    &["audit", "export"],
    &["doctor"],
    &["trust"],
    &["completions"],
    &["version"],
];

#[test]
fn every_command_has_help() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let arguments = [command, &["--help"][..]].concat();
        let ended = aims(folder.path(), &arguments);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{command:?}");
        let name =
            format!("help{}", command.iter().map(|word| format!("-{word}")).collect::<String>());
        insta::assert_snapshot!(name, ended.out);
    }
}

/// A leaf without an example is one that nobody learns; groups name their leaves.
#[test]
fn every_leaf_has_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS.iter().filter(|command| **command != ["version"]) {
        let is_group =
            COMMANDS.iter().any(|other| other.len() > command.len() && other.starts_with(command));
        let help = aims(folder.path(), &[command, &["--help"][..]].concat()).out;
        assert!(is_group || help.contains("Example"), "{command:?}");
    }
}

/// What help lists is what is tested here: a command more is a snapshot more.
#[test]
fn no_command_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for group in COMMANDS {
        let help = aims(folder.path(), &[group, &["--help"][..]].concat()).out;
        let Some((_, rest)) = help.split_once("\nCommands:\n") else { continue };
        let listed = rest.lines().take_while(|line| !line.is_empty());
        for name in listed.filter_map(|line| line.split_whitespace().next()) {
            let command = [group, &[name][..]].concat();
            assert!(name == "help" || COMMANDS.contains(&command.as_slice()), "{command:?}");
        }
    }
}

#[test]
fn the_version_is_told_to_people_and_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(aims(folder.path(), &["version"]).out, format!("aims {version}\n"));
    assert_eq!(aims(folder.path(), &["--version"]).out, format!("aims {version}\n"));
    let told = aims(folder.path(), &["version", "--output", "json"]).out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, serde_json::json!({ "name": "aims", "version": version }));
}

#[test]
fn completions_know_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = aims(folder.path(), &["completions", shell]);
        assert_eq!(ended.code, 0, "{shell}");
        for word in ["join-token", "register", "trace", "inspect"] {
            assert!(ended.out.contains(word), "{shell}: {word}");
        }
    }
}
