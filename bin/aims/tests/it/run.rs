//! `aims run` against a node's socket that the test plays.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use crate::aims;

/// Answers one request, and returns it.
fn node(folder: &Path, status: &str, body: &str) -> JoinHandle<String> {
    let listener = UnixListener::bind(folder.join("run.sock")).unwrap();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut bytes) = (String::new(), [0; 4_096]);
        while !request.contains('}') {
            let read = stream.read(&mut bytes).unwrap();
            request.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        stream.write_all(answer.as_bytes()).unwrap();
        request
    })
}

const STARTED: &str =
    r#"{"base_url":"http://127.0.0.1:4711","agent":"spiffe://demo.example/agent/researcher"}"#;

/// req: SEC-01 (part)
#[test]
fn the_program_gets_a_url_and_no_secret_of_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let serving = node(folder.path(), "200 OK", STARTED);
    let output = Command::new(env!("CARGO_BIN_EXE_aims"))
        .args(["run", "--dir", ".", "--agent", "researcher", "--"])
        .args(["/bin/sh", "-c", "echo $$; /usr/bin/env | /usr/bin/sort"])
        .current_dir(folder.path())
        .env_clear()
        .env("AIMS_DIR", "elsewhere")
        .env("AIMS_ISSUER", "https://as.example")
        .env("KEPT", "yes")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = output.id();
    let output = output.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    // The program runs in place of `aims`: the id that the node knows stays its own.
    assert_eq!(first, pid.to_string());
    let ours: Vec<_> = rest
        .lines()
        .filter(|line| ["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().all(|own| !line.starts_with(own)))
        .collect();
    assert_eq!(
        ours,
        [
            "AIMS_AGENT=spiffe://demo.example/agent/researcher",
            "AIMS_URL=http://127.0.0.1:4711",
            "KEPT=yes"
        ]
    );
    let request = serving.join().unwrap();
    assert!(request.starts_with("POST /v1/run HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"agent":"researcher"}"#), "{request}");
}

#[test]
fn the_exit_code_of_the_program_is_that_of_aims_run() {
    let folder = tempfile::tempdir().unwrap();
    let serving = node(folder.path(), "200 OK", STARTED);
    let ended = aims(
        folder.path(),
        &["run", "--socket", "run.sock", "--agent", "a", "--", "/bin/sh", "-c", "exit 42"],
    );
    assert_eq!(ended.code, 42);
    serving.join().unwrap();
}

#[test]
fn what_the_node_refuses_is_told() {
    let refused = r#"{"error":"refused","message":"user 7 may not start `a`","hint":"look"}"#;
    let late = r#"{"error":"unavailable","message":"the store is closed","hint":""}"#;
    let malformed = r#"{"error":"malformed","message":"send a name"}"#;
    for (status, body, code, said) in [
        ("403 Forbidden", refused, 1, "refused: user 7 may not start `a`\n  hint: look\n"),
        ("403 Forbidden", late, 3, "unavailable: the store is closed\n"),
        ("400 Bad Request", malformed, 2, "misused: send a name\n"),
        (
            "500 Internal Server Error",
            "oops }",
            3,
            "unavailable: no node at `run.sock`: it answered 500",
        ),
        ("200 OK", "{}", 3, "unavailable: no node at `run.sock`: missing field `base_url`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let serving = node(folder.path(), status, body);
        let arguments = ["run", "--socket", "run.sock", "--agent", "a", "--", "/bin/true"];
        let ended = aims(folder.path(), &arguments);
        assert_eq!(ended.code, code, "{body}: {}", ended.err);
        assert!(ended.err.starts_with(said), "{body}: {}", ended.err);
        serving.join().unwrap();
    }
}

#[test]
fn a_program_that_is_not_there_is_misuse() {
    let folder = tempfile::tempdir().unwrap();
    let serving = node(folder.path(), "200 OK", STARTED);
    let arguments = ["run", "--socket", "run.sock", "--agent", "a", "--", "/missing/program"];
    let ended = aims(folder.path(), &arguments);
    assert_eq!(ended.code, 2);
    assert!(ended.err.starts_with("misused: `/missing/program` cannot be run"), "{}", ended.err);
    serving.join().unwrap();
}
