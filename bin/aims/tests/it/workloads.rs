//! What a process is known by, at the running program (docs/workloads.md).

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Ended;
use crate::running::{Site, ended};

const DOMAIN: &str = "workloads.example";

/// An installation with these settings besides the usual ones.
fn site(settings: &str) -> Site {
    let site = Site::of(DOMAIN);
    let text = format!("trust_domain = \"{DOMAIN}\"\nport_base = {}\n{settings}", site.port);
    site.policy("domain.toml", &format!("trust_domain = \"{DOMAIN}\"\n"));
    std::fs::write(site.data.join("aims.toml"), text).unwrap();
    site
}

fn tail(site: &Site) -> String {
    site.aims(&["audit", "tail", "--last", "100", "--output", "json"]).out
}

/// req: ATT-01 (part), ATT-02 (part), OBS-07 (part)
#[test]
fn s7_an_attestor_that_is_switched_on_and_away_refuses_with_its_reason() {
    let site = site("[workloads.systemd]\nbus = \"no-bus\"\n");
    let running = site.up();
    let program = env!("CARGO_BIN_EXE_aims");
    let own = ["agent", "register", "--name", "nightly", "--kind", "service", "--owner", "ops"];
    let registered = site.aims(&[&own[..], &["--exec", program]].concat());
    assert_eq!(registered.code, 0, "{}", registered.err);
    // Its user, path and hash are right, and it is not served by these alone.
    let refused = site.aims(&["svid", "x509"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("this process cannot be measured just now (audit "));
    assert!(!refused.err.contains("no-bus"), "what is wrong is the operator's to see");
    let log = tail(&site);
    let record = log.lines().find(|line| line.contains("measure::Systemd"));
    assert!(record.is_some_and(|line| line.contains("no-bus")), "{log}");
    let doctor = site.aims(&["doctor"]);
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(doctor.out.contains("systemd is switched on and does not answer"), "{}", doctor.out);
    running.stop();
}

/// Two agents of one user and one interpreter, told apart by what they say they run.
/// req: ATT-02 (part)
#[test]
fn s7_a_script_tells_apart_and_is_never_enough_alone() {
    let site = site("");
    let running = site.up();
    let folder = tempfile::tempdir().unwrap();
    // By a process of its own: no descriptor of ours is open for writing when it starts.
    let interpreter = folder.path().join("python3");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_aims")).arg(&interpreter).status();
    assert!(copied.unwrap().success());
    let script = folder.path().join("svid");
    std::fs::write(&script, "print()\n").unwrap();
    let script = script.canonicalize().unwrap();
    let selector = format!("unix:argv_script:path:{}", script.display());
    let own = ["agent", "register", "--name", "scripted", "--kind", "service", "--owner", "ops"];
    let alone = site.aims(&[&own[..], &["--selector", &selector, "--class", "path"]].concat());
    assert_ne!(alone.code, 0, "{}", alone.out);
    assert!(alone.err.contains("which a process chooses itself"), "{}", alone.err);
    let program = interpreter.display().to_string();
    let both = ["--exec", &program, "--selector", &selector];
    let registered = site.aims(&[&own[..], &both].concat());
    assert_eq!(registered.code, 0, "{}", registered.err);

    let asks = |at: &Path| -> Ended {
        let mut command = Command::new(&interpreter);
        command.args(["svid", "x509", "--dir"]).arg(&site.data).current_dir(at).env_clear();
        command.stdout(Stdio::piped());
        ended(command)
    };
    let served = asks(folder.path());
    assert_eq!(served.code, 0, "{}", served.err);
    let id = format!("spiffe://{DOMAIN}/service/scripted");
    assert!(served.out.contains(&id), "{}", served.out);
    // The same program without that file.
    assert_eq!(asks(&site.data).code, 1);
    let explained = site.aims(&["agent", "explain", "scripted", "--output", "json"]).out;
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    let evidence = &explained["credentials"][0]["evidence"];
    assert_eq!(evidence["argv_script"], script.display().to_string());
    assert_eq!(evidence["argv_script_sha256"].as_str().unwrap().len(), 64);
    running.stop();
}
