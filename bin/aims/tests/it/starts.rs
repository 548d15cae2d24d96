//! What it does not start on: it says which file, and what to do. Nothing is mended in silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::running::Site;
use crate::{Ended, aims};

/// An installation that ran, was used and stopped in good order.
fn used() -> Site {
    let site = Site::new();
    let running = site.up();
    for _ in 0..3 {
        assert_eq!(site.aims(&["join-token", "create"]).code, 0);
    }
    assert_eq!(running.stop(), 0);
    site
}

/// It does not start, and says this.
fn shown(site: &Site) -> String {
    let ended: Ended = site.refused();
    ended.shown(site.folder.path())
}

/// The one segment of a log, and its bytes without the zeros that stand ready for more.
fn segment(site: &Site, log: &str) -> (PathBuf, Vec<u8>) {
    let path = site.data.join("log").join(log).join("segments/00000000000000000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(used);
    (path, bytes)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// Without the numbers that differ from run to run, which have two digits or more.
fn without_numbers(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let bare = word.trim_end();
        let is_number = bare.len() > 1 && bare.bytes().all(|byte| byte.is_ascii_digit());
        let (known, rest) = if is_number { ("N", &word[bare.len()..]) } else { (word, "") };
        shown.push_str(known);
        shown.push_str(rest);
    }
    shown
}

/// req: OBS-06 (part)
#[test]
fn s11_a_log_that_was_cut_is_refused() {
    let site = used();
    let (path, bytes) = segment(&site, "server");
    fs::File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 600).unwrap();
    insta::assert_snapshot!(without_numbers(&shown(&site)), @"
    exit 3
    --- stdout
    --- stderr
    unavailable: the log in `FOLDER/data/log/server` is not opened: entry N in `FOLDER/data/log/server/segments/00000000000000000000.seg` is damaged
      hint: restore the segment from a backup; run `aims audit verify` for details
    ");
    // And again: it was not mended meanwhile.
    assert_eq!(site.refused().code, 3);
    let verified = site.aims(&["audit", "verify"]);
    assert_eq!(verified.code, 1, "{}", verified.out);
}

/// req: OBS-06 (part)
#[test]
fn s11_a_log_that_was_edited_is_refused() {
    let site = used();
    let (path, mut bytes) = segment(&site, "server");
    let needle = b"join_token_created";
    let at = bytes.windows(needle.len()).position(|found| found == needle).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    insta::assert_snapshot!(without_numbers(&shown(&site)), @"
    exit 3
    --- stdout
    --- stderr
    unavailable: the log in `FOLDER/data/log/server` is not opened: entry N in `FOLDER/data/log/server/segments/00000000000000000000.seg` is damaged
      hint: restore the segment from a backup; run `aims audit verify` for details
    ");
}

/// req: OBS-06 (part)
#[test]
fn s11_an_older_copy_of_the_log_is_refused_with_all_that_lies_beside_it() {
    let site = used();
    let (log, older) = (site.data.join("log/server"), site.folder.path().join("older"));
    copy(&log, &older);
    let running = site.up();
    assert_eq!(site.aims(&["join-token", "create"]).code, 0);
    assert_eq!(running.stop(), 0);
    let newer = site.folder.path().join("newer");
    fs::rename(&log, &newer).unwrap();
    fs::rename(&older, &log).unwrap();
    insta::assert_snapshot!(without_numbers(&shown(&site)), @"
    exit 3
    --- stdout
    --- stderr
    unavailable: the log in `FOLDER/data/log/server` is not opened: the log has N entries, but the state database knows of N
      hint: this is an older copy of the log: restore the newest one, never go on from here
    ");
    // Without any log it is not a new installation either.
    fs::remove_dir_all(&log).unwrap();
    insta::assert_snapshot!(without_numbers(&shown(&site)), @"
    exit 3
    --- stdout
    --- stderr
    unavailable: the log in `FOLDER/data/log/server` is not opened: the log has 0 entries, but the state database knows of N
      hint: this is an older copy of the log: restore the newest one, never go on from here
    ");
    // What the hint says helps.
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&newer, &log).unwrap();
    assert_eq!(site.up().stop(), 0);
}

#[test]
fn a_state_database_of_a_newer_version_is_refused() {
    let site = used();
    let database = rusqlite::Connection::open(site.data.join("state.db")).unwrap();
    database.execute("UPDATE meta SET value = 99 WHERE name = 'schema'", []).unwrap();
    drop(database);
    let before = fs::read(site.data.join("state.db")).unwrap();
    insta::assert_snapshot!(shown(&site), @"
    exit 3
    --- stdout
    --- stderr
    unavailable: `FOLDER/data/state.db` has schema 99, this version knows 1
      hint: run the version that wrote it, or a newer one
    ");
    assert!(fs::read(site.data.join("state.db")).unwrap() == before, "it was written to");
}

#[test]
fn a_state_database_that_is_none_is_refused() {
    let site = used();
    for left in ["state.db-wal", "state.db-shm"] {
        // They are there only if it did not stop in good order.
        let _ = fs::remove_file(site.data.join(left));
    }
    fs::write(site.data.join("state.db"), "something else").unwrap();
    insta::assert_snapshot!(shown(&site), @"
    exit 3
    --- stdout
    --- stderr
    unavailable: `FOLDER/data/state.db` is damaged: file is not a database
      hint: restore the database from a backup; the log is not affected
    ");
}

#[test]
fn s12_a_first_policy_with_faults_is_refused_and_the_mended_one_is_taken() {
    let site = Site::new();
    site.policy("access/main.cedar", "permit(principal, action resource);\n");
    site.policy("resources/tools.toml", "name = \"tools\"\nupstrem = \"http://127.0.0.1:1\"\n");
    insta::assert_snapshot!(shown(&site), @r#"
    exit 2
    --- stdout
    --- stderr
    misused: the policy in `FOLDER/data/policy` has faults
    access/main.cedar:1:26: unexpected token `resource`: expected `!=`, `)`, `,`, `:`, `<`, `<=`, `==`, `>`, `>=`, `in`, or `is`
      fix: write `@id("…") permit(principal, action, resource) when { … };`
    resources/tools.toml:2:1: unknown field `upstrem`, expected one of `name`, `title`, `audience`, `upstream`, `protocol`, `proof`, `token`, `subject`, `introspect`, `decide`, `attestation`, `status`, `profiles`, `authorization_details`, `scopes`, `action`
      hint: nothing was started; mend it, `aims policy check FOLDER/data/policy` looks again
    "#);
    assert!(!site.data.join("state.db").exists());
    let mut command = site.command();
    let ended = command.args(["--output", "json"]).stderr(Stdio::piped()).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&ended.stderr).unwrap();
    assert_eq!(told["faults"][0]["file"], "access/main.cedar");
    assert_eq!(told["outcome"], "misused");
    site.policy("access/main.cedar", "");
    fs::remove_file(site.data.join("policy/resources/tools.toml")).unwrap();
    assert_eq!(site.up().stop(), 0);
}

/// An operator who edits the folder does not stop the next start: what is in force stays.
#[test]
fn s12_a_later_start_goes_on_with_the_policy_in_force_and_says_so() {
    let site = used();
    site.policy("access/main.cedar", "permit(principal, action resource);\n");
    let running = site.up();
    let doctor = site.aims(&["doctor"]);
    assert!(doctor.out.contains("note   policy files"), "{}", doctor.out);
    assert_eq!(running.stop(), 0);
    assert!(site.said().contains("what is in force stays: `aims policy check "), "{}", site.said());
}

#[test]
fn settings_that_do_not_read_are_refused() {
    let site = used();
    let settings = site.data.join("aims.toml");
    fs::write(&settings, "trust_domain = \"running.example\"\nport_bas = 1\n").unwrap();
    insta::assert_snapshot!(shown(&site), @"
    exit 2
    --- stdout
    --- stderr
    misused: `FOLDER/data/aims.toml`: TOML parse error at line 2, column 1
      |
    2 | port_bas = 1
      | ^^^^^^^^
    unknown field `port_bas`, expected one of `trust_domain`, `scheme`, `port_base`, `host`, `listen`, `seal_credential`, `seal_passphrase`, `plain_upstreams`, `web_origins`, `federation_port`, `spire_port`, `broker`, `sockets`, `fetch_addresses`, `web_roots`, `cluster_tokens`, `server`, `name`, `bundle`, `attest`, `attest_token`, `attest_cluster`, `attest_domain`, `attest_host`, `attest_port`, `attest_metadata`, `attest_collateral`, `attest_tsm`, `join_token`, `join_certificates`, `join_key`, `join_by`, `join_tpm`, `workloads`, `keys`, `upstream_authority`
    ");
    let missing = ["server", "--config", "nowhere.toml"];
    let ended = aims(site.folder.path(), &missing);
    insta::assert_snapshot!(ended.shown(site.folder.path()), @"
    exit 2
    --- stdout
    --- stderr
    misused: `nowhere.toml` cannot be read: No such file or directory (os error 2)
      hint: `aims up` leaves one in its folder
    ");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let site = Site::new();
    let running = site.up();
    insta::assert_snapshot!(shown(&site), @"
    exit 3
    --- stdout
    --- stderr
    unavailable: `FOLDER/data` is in use: another process runs its server
      hint: nothing was changed; stop that process first, or give another folder
    ");
    // Not even by what it was asked to change.
    let settings = fs::read(site.data.join("aims.toml")).unwrap();
    let moved = site.aims(&["up", "--port-base", "40000"]);
    assert_eq!(moved.code, 3, "{}", moved.err);
    assert!(fs::read(site.data.join("aims.toml")).unwrap() == settings, "it was written to");
    assert_eq!(site.aims(&["join-token", "create"]).code, 0);
    assert_eq!(running.stop(), 0);
}
