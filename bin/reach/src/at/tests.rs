//! What is refused on the way, each check by a resource and a server that lack one thing.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::output::Format;

/// A machine that is resource and authorization server at once: it answers a `GET` of a path by the
/// document that stands there, and anything else by 404. Its origin.
async fn machine(documents: impl FnOnce(&str) -> Vec<(&'static str, Value)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let documents = documents(&origin);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4_096];
            let count = stream.read(&mut buffer).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default();
            let found = documents.iter().find(|(known, _)| *known == path);
            let (status, body) = match found {
                Some((_, Value::String(status))) => (status.as_str(), String::new()),
                Some((_, document)) => ("200 OK", document.to_string()),
                None => ("404 Not Found", String::new()),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    origin
}

const OF_RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const OF_SERVER: &str = "/.well-known/oauth-authorization-server";

/// The documents of a resource and a server that could do all, with this changed.
fn documents(origin: &str, resource: &Value, server: &Value) -> Vec<(&'static str, Value)> {
    let mut of_resource =
        json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin]});
    let mut of_server = json!({
        "issuer": origin, "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/token"), "code_challenge_methods_supported": ["S256"],
        "registration_endpoint": format!("{origin}/register"),
    });
    for (document, changes) in [(&mut of_resource, resource), (&mut of_server, server)] {
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
    }
    vec![(OF_RESOURCE, of_resource), (OF_SERVER, of_server)]
}

/// How it ends: exit code and error.
async fn ends(origin: &str, more: AtArguments, issuer: Option<&str>) -> (u8, String) {
    let https = Https::own_or_system("/nowhere".as_ref()).ok().unwrap();
    let at = AtArguments { at: Some(format!("{origin}/mcp")), ..more };
    let wish = Wish { at: &at, client_id: None, issuer, device: false, scopes: &[] };
    let failure = get(&https, Output::new(Format::Json), wish).await.unwrap_err();
    let problem = failure.problem();
    assert!(problem.hint.is_some() || problem.error != "misused", "{}", problem.message);
    (problem.outcome.exit_code(), problem.error.clone())
}

/// req: AUTHZ-26 (part)
#[tokio::test]
async fn each_check_on_the_way_refuses_by_its_name() {
    let none = json!({});
    let dpop = json!({"dpop_bound_access_tokens_required": true});
    let binds = json!({"dpop_signing_alg_values_supported": ["ES256"]});
    for (resource, server, error) in [
        (json!({"resource": "https://evil.example/mcp"}), none.clone(), "discovery::Resource"),
        (json!({"authorization_servers": []}), none.clone(), "discovery::Issuer"),
        (none.clone(), json!({"issuer": "https://honest.example"}), "oauth::Metadata"),
        (none.clone(), json!({"code_challenge_methods_supported": ["plain"]}), "discovery::Pkce"),
        (none.clone(), json!({"code_challenge_methods_supported": []}), "discovery::Pkce"),
        (none.clone(), json!({"registration_endpoint": null}), "discovery::Client"),
        (dpop.clone(), none.clone(), "discovery::Binding"),
        (dpop, binds, "discovery::Binding"),
        // It is all there: the first thing that fails is the registration, which answers 404.
        (none.clone(), none.clone(), "oauth::404 Not Found"),
    ] {
        let origin = machine(|origin| documents(origin, &resource, &server)).await;
        let ended = ends(&origin, AtArguments::default(), None).await;
        assert_eq!(ended, (1, error.to_owned()), "{resource} {server}");
    }
}

#[tokio::test]
async fn rfc9728_3_1_metadata_that_are_not_there_are_not_guessed() {
    let none = AtArguments::default;
    let empty = machine(|_| Vec::new()).await;
    assert_eq!(ends(&empty, none(), None).await, (1, "discovery::Metadata".to_owned()));
    // What is pinned is asked, and here there is no server either.
    assert_eq!(ends(&empty, none(), Some(&empty)).await.0, 3);
    let down = json!("503 Service Unavailable");
    let root = "/.well-known/oauth-protected-resource";
    let half = machine(|origin| vec![(OF_RESOURCE, down), (root, json!({"resource": origin}))]);
    assert_eq!(ends(&half.await, none(), None).await, (3, "unavailable".to_owned()));
    let gone = "http://127.0.0.1:1";
    assert_eq!(ends(gone, none(), None).await, (3, "unavailable".to_owned()));
}

#[tokio::test]
async fn rfc9728_5_1_a_challenge_is_taken_at_its_word() {
    let origin = machine(|origin| documents(origin, &json!({}), &json!({}))).await;
    let challenged =
        |value: String| AtArguments { challenge: Some(value), ..AtArguments::default() };
    for (value, error) in [
        ("Bearer scope=a, scope=b".to_owned(), "discovery::Challenge"),
        ("Bearer scope=\"a\\\\b\"".to_owned(), "discovery::Challenge"),
        ("Bearer resource_metadata=\"http://r.example/\"".to_owned(), "discovery::Challenge"),
        (format!("Bearer resource_metadata=\"{origin}/elsewhere\""), "unavailable"),
        (format!("Bearer resource_metadata=\"{origin}{OF_RESOURCE}\""), "oauth::404 Not Found"),
        ("Basic realm=\"a\"".to_owned(), "oauth::404 Not Found"),
    ] {
        assert_eq!(ends(&origin, challenged(value.clone()), None).await.1, error, "{value}");
    }
}
