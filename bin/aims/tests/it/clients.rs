//! Clients that are not agents, of a running installation: how they come, and what a person lets
//! one of them do.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use http::Method;
use serde_json::{Value, json};

use crate::browser::{Tab, location};
use crate::running::{DOMAIN, Site};

fn told(site: &Site, arguments: &[&str]) -> Value {
    let ended = site.aims(&[arguments, &["--output", "json"]].concat());
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// Registers a client of this metadata by an operator's hand: its id.
fn register(site: &Site, metadata: &Value) -> String {
    let file = site.data.join("client.json");
    std::fs::write(&file, metadata.to_string()).unwrap();
    let client = told(site, &["client", "register", file.to_str().unwrap()]);
    client["client_id"].as_str().unwrap().to_owned()
}

/// req: AUTHZ-22 (part)
#[tokio::test(flavor = "multi_thread")]
async fn rfc7591_3_and_7592_2_a_client_comes_by_an_operator_or_with_a_token_of_one() {
    let site = Site::new();
    let domain = format!("trust_domain = \"{DOMAIN}\"\n[registration]\ndynamic = \"token\"\n");
    site.policy("domain.toml", &domain);
    let _up = site.up();
    let app = json!({
        "client_name": "Books", "redirect_uris": ["https://books.example/back"],
        "token_endpoint_auth_method": "none",
    });
    let id = register(&site, &app);
    assert!(id.starts_with("client-"), "{id}");
    assert_eq!(told(&site, &["client", "show", &id])["client_name"], "Books");
    let https = site.https();
    let send = async |method: Method, url: &str, token: Option<&str>, body: &Value| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut fields = vec![("content-type", "application/json")];
        fields.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        https.send(method, url, &fields, &body).await.unwrap()
    };
    // By itself, as any HTTP client would: not without a token, and as often as it says.
    let url = format!("{}/register", site.url(0));
    assert_eq!(send(Method::POST, &url, None, &app).await.status, 401);
    let token = told(&site, &["client", "token", "--uses", "1"]);
    let token = token["token"].as_str().unwrap();
    let made = send(Method::POST, &url, Some(token), &app).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(send(Method::POST, &url, Some(token), &app).await.status, 401);
    let own = made["registration_client_uri"].as_str().unwrap();
    let key = made["registration_access_token"].as_str().unwrap();
    let its = made["client_id"].as_str().unwrap();
    assert_eq!(send(Method::GET, own, Some(key), &Value::Null).await.json()["client_id"], its);
    let mut other = app.clone();
    other["client_id"] = its.into();
    other["client_name"] = "Better Books".into();
    let replaced = send(Method::PUT, own, Some(key), &other).await;
    assert_eq!((replaced.status, &replaced.json()["client_name"]), (200, &json!("Better Books")));
    // docs/past-defects.md 8: what an operator disabled stays so.
    told(&site, &["client", "disable", its]);
    assert_ne!(send(Method::PUT, own, Some(key), &other).await.status, 200);
    assert_eq!(told(&site, &["client", "show", its])["state"], "disabled");
    told(&site, &["client", "enable", its]);
    assert_eq!(send(Method::DELETE, own, Some(key), &Value::Null).await.status, 204);
    assert_eq!(send(Method::GET, own, Some(key), &Value::Null).await.status, 401);
    let listed: Vec<_> = told(&site, &["client", "list"]).as_array().unwrap().clone();
    assert_eq!(
        listed.iter().map(|one| one["client_id"].as_str().unwrap()).collect::<Vec<_>>(),
        [id]
    );
}

const NOTES: &str = r#"
name = "notes"
upstream = "http://127.0.0.1:9"
protocol = "http"
proof = "bearer"
[scopes]
"notes.read" = "read notes"
[[action]]
method = "GET"
path = "/*"
scope = "notes.read"
read_only = true
"#;

/// A site with ada, who signs in by this code.
fn with_ada() -> (Site, crate::running::Running, String) {
    let site = Site::new();
    let permit =
        "@id(\"all\")\npermit(principal, action == Aims::Action::\"token.issue\", resource);";
    site.policy("access/main.cedar", permit);
    site.policy("resources/notes.toml", NOTES);
    let up = site.up();
    told(&site, &["user", "add", "ada"]);
    let code = told(&site, &["user", "code", "ada", "--uses", "3"]);
    let code = code["text"].as_str().unwrap().to_owned();
    (site, up, code)
}

/// `aims token get` in a person's name, and the line that says what they must do.
fn begun(site: &Site, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStderr>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aims"));
    command.args(["token", "get"]).args(arguments).arg("--dir").arg(&site.data).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    (child, said, line)
}

/// What it printed, and how it ended.
fn ended(
    mut child: Child,
    mut said: BufReader<std::process::ChildStderr>,
) -> (i32, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    said.read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code().unwrap(), out, err)
}

/// What a token says.
fn claims(token: &str) -> Value {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let middle = token.trim().split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap()
}

/// RFC 8252: a program of this machine, its user's browser, and a port of the loopback.
///
/// req: AUTHZ-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn rfc8252_7_3_a_person_lets_a_program_of_this_machine_act() {
    let (site, _up, code) = with_ada();
    let client = register(
        &site,
        &json!({
            "client_name": "Tool", "application_type": "native",
            "token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/callback"],
        }),
    );
    let arguments = ["--user", "--client-id", &client, "--scope", "openid"];
    let (child, said, line) = begun(&site, &arguments);
    let url = line.trim().strip_prefix("open in a browser: ").unwrap().to_owned();
    // Pushed: the browser carries no more than a reference.
    assert!(url.contains("request_uri=") && !url.contains("code_challenge"), "{url}");
    let mut tab = Tab::new(&site);
    let page = tab.signed_in(&url, "ada", &code).await;
    let allowed = tab.submit(&page, "consent", &[("answer", "allow")]).await;
    let back = location(&allowed).unwrap_or_else(|| {
        panic!("{}: {}", allowed.status, String::from_utf8_lossy(&allowed.body))
    });
    assert!(back.starts_with("http://127.0.0.1:") && back.contains("code="), "{back}");
    // Another program of the machine knocks first, and is turned away.
    assert!(knock(&back.replace("state=", "state=x")).starts_with("HTTP/1.1 400"));
    assert!(knock(&back).starts_with("HTTP/1.1 200"));
    let (code, out, err) = ended(child, said);
    assert_eq!(code, 0, "{err}");
    let claims = claims(&out);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("user:ada"), &json!(client)));
    assert!(claims["cnf"]["jkt"].is_string(), "{claims}");
    assert!(err.contains("bound to a key that ends now"), "{err}");
}

/// One request of a browser that follows a redirect, and the status of its answer.
fn knock(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
    let target = &url[url::Position::BeforePath..];
    write!(stream, "GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// RFC 8628, with a person at another device.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_3_a_person_lets_a_device_act() {
    let (site, _up, code) = with_ada();
    let client = register(
        &site,
        &json!({
            "client_name": "Lamp", "token_endpoint_auth_method": "none",
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"],
        }),
    );
    let notes = format!("{}/notes", site.url(3));
    let arguments = [
        "--device",
        "--client-id",
        &client,
        "--resource",
        &notes,
        "--scope",
        "notes.read",
        "--bearer",
    ];
    let (child, said, line) = begun(&site, &arguments);
    let typed = line.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(line.starts_with(&format!("go to {}/device and type ", site.url(0))), "{line}");
    let mut tab = Tab::new(&site);
    let page = tab.signed_in("/device", "ada", &code).await;
    let found = tab.submit(&page, "device", &[("user_code", &typed)]).await;
    let page = match location(&found) {
        Some(to) => tab.open(&to).await.0,
        None => found,
    };
    let text = String::from_utf8(page.body.clone()).unwrap();
    let form = text.split("<form ").skip(1).find(|form| form.contains("value=\"allow\"")).unwrap();
    let id = form.split(" id=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let allowed = tab.submit(&page, &id, &[("answer", "allow")]).await;
    assert!(allowed.status < 400, "{}", String::from_utf8_lossy(&allowed.body));
    let (code, out, err) = ended(child, said);
    assert_eq!(code, 0, "{err}");
    let claims = claims(&out);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("user:ada"), &json!(client)));
    assert!(claims["cnf"].is_null(), "{claims}");
}
