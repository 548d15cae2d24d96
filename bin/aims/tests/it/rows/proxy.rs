//! SEC: an agent behind the node's proxy has its identity and no secret; what it starts has neither.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::actor::{Upstream, lay_policy};
use crate::running::Site;

/// Set for what the agent starts.
const CHILD: &str = "AIMS_TEST_CHILD";

/// What the proxy answers a call of this process with; nothing if it closes the connection.
fn call(base: &str, path: &str) -> String {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    // A refused connection may end before all of the request is written.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// The agent of the test below, which runs this program again: it calls, and has a process of the
/// same program call. Without an address it is nobody.
#[test]
fn as_agent() {
    let told = |wanted: &str| std::env::vars().find(|(name, _)| name == wanted);
    let Some((_, base)) = told("AIMS_URL") else { return };
    let who = if told(CHILD).is_some() { "child" } else { "agent" };
    let called = call(&base, "/ledger/entries");
    let mut said = vec![format!("{who} {}", status(&called))];
    if who == "child" {
        said.push(format!("told {called}"));
    }
    if who == "agent" {
        said.push(format!("astray {}", call(&base, "/secret-admin/x")));
        let secrets = std::env::vars().filter(|(name, value)| {
            name.contains("TOKEN") || name.contains("KEY") || value.starts_with("ey")
        });
        said.push(format!("secrets {}", secrets.count()));
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "rows::proxy::as_agent", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        said.push(String::from_utf8(again.stdout).unwrap());
    }
    std::io::stdout().write_all(said.join("\n").as_bytes()).unwrap();
}

/// The language model's process, and code that it directs, reach neither keys nor tokens: the node
/// signs for the one process that was started, and not for a child of it, even of the same program.
///
/// req: SEC-01, SEC-04 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s4_what_an_agent_starts_is_not_the_agent() {
    let site = Site::new();
    let (upstream, port) = Upstream::start().await;
    lay_policy(&site, port, "");
    let _running = site.up();
    let exe = std::env::current_exe().unwrap().display().to_string();
    let (path, uid) = (format!("unix:path:{exe}"), format!("unix:uid:{}", nix::unistd::getuid()));
    let told = site.aims(&[
        "agent",
        "register",
        "--name",
        "model",
        "--kind",
        "agent",
        "--owner",
        "tests",
        "--class",
        "path",
        "--selector",
        &uid,
        "--selector",
        &path,
    ]);
    assert_eq!(told.code, 0, "{}", told.err);
    let run = Command::new(env!("CARGO_BIN_EXE_aims"))
        .args(["run", "--agent", "model", "--dir"])
        .arg(&site.data)
        .arg("--")
        .args([&exe, "--exact", "rows::proxy::as_agent", "--nocapture"])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(said.contains("agent 200"), "{said} {}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("secrets 0"), "{said}");
    // What it tried where nothing is it is told as the gateway would, and it is in the log.
    let astray = said.split("astray ").nth(1).unwrap();
    assert_eq!(status(astray), 404, "{astray}");
    assert!(astray.contains("no resource `secret-admin` here"), "{astray}");
    assert!(astray.contains("\"policy\":\"sha256:"), "{astray}");
    let id = astray.split("aims-audit-id: ").nth(1).unwrap().split_whitespace().next().unwrap();
    let shown = site.aims(&["audit", "show", id]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("[gateway::NoResource]"), "{}", shown.out);
    assert!(shown.out.contains("/agent/model"), "{}", shown.out);
    // Of no task, and the command says where to look.
    let traced = site.aims(&["audit", "trace", id]);
    assert_eq!(traced.code, 1, "{}", traced.out);
    assert!(traced.err.contains(&format!("aims audit show {id}")), "{}", traced.err);
    let child = said.split("child ").nth(1).unwrap().trim_start();
    let status: u16 =
        child.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    assert!(matches!(status, 0 | 403), "{said}");
    assert!(status == 0 || child.contains("let a script `exec` the program"), "{said}");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 1, "the child's call went nowhere");
    // It may not have the keys itself either.
    let address = format!("unix://{}", site.data.join("workload.sock").display());
    let address = spiffe::EndpointAddress::parse(&address).unwrap();
    let client = workload::client::Client::connect(&address).await.unwrap();
    let denied = client.jwt(&["https://partner.example"], None).await.unwrap_err();
    assert!(denied.to_string().contains("holds no keys"), "{denied}");
}
