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

/// The same, where a server gives tokens to who waits at another device: it registers clients by
/// `registered` and answers with `token`. What is in the file afterwards, too.
async fn by_device(
    at: AtArguments,
    (server, registered, device, token): (Value, Value, Value, Value),
) -> (Result<Got, String>, Option<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved.json");
    let origin = machine(|origin| {
        let mut all = documents(origin, &json!({}), &server);
        all[1].1["device_authorization_endpoint"] = json!(format!("{origin}/device"));
        all.extend([("/register", registered), ("/device", device), ("/token", token)]);
        all
    });
    let at = AtArguments { at: Some(format!("{}/mcp", origin.await)), save: Some(file), ..at };
    let https = Https::own_or_system("/nowhere".as_ref()).ok().unwrap();
    let wish = Wish { at: &at, client_id: None, issuer: None, device: true, scopes: &[] };
    let got = get(&https, Output::new(Format::Json), wish).await;
    let kept = std::fs::read_to_string(folder.path().join("saved.json")).ok();
    let kept = kept.map(|text| serde_json::from_str(&text).unwrap());
    (got.map_err(|failure| failure.problem().error.clone()), kept)
}

/// Answers that go through.
fn good() -> (Value, Value, Value, Value) {
    let device = json!({"device_code": "d", "user_code": "BCDF", "interval": 1, "expires_in": 60,
        "verification_uri": "https://as.example/device"});
    let token = json!({"access_token": "a", "token_type": "Bearer", "refresh_token": "r"});
    (json!({}), json!({"client_id": "c"}), device, token)
}

/// Defects: a `client_id` of two million bytes was kept, and so were letters that steer terminals;
/// after it the file could not be read.
#[tokio::test]
async fn rfc6749_a_what_a_server_says_is_bounded_before_it_is_kept() {
    let (got, kept) = by_device(AtArguments::default(), good()).await;
    assert_eq!(got.unwrap().scope, "");
    let kept = kept.unwrap();
    assert_eq!(kept["clients"].as_object().unwrap().values().next().unwrap()["client_id"], "c");
    let basic = || json!({"token_endpoint_auth_methods_supported": ["client_secret_basic"]});
    for registered in [
        json!({"client_id": "c".repeat(2_000_000)}),
        json!({"client_id": "c\u{1b}[2J"}),
        json!({"client_id": ""}),
        json!({"client_id": "c", "client_secret": "s".repeat(10_000)}),
        json!({"client_id": "c", "client_secret": "s\n"}),
    ] {
        let answers = (basic(), registered, good().2, good().3);
        let (got, kept) = by_device(AtArguments::default(), answers).await;
        assert_eq!((got.unwrap_err().as_str(), kept), ("oauth::Answer", None));
    }
    for (name, value, error) in [
        ("access_token", json!("a\u{9b}2J"), "oauth::Answer"),
        ("access_token", json!("a".repeat(20_000)), "oauth::Answer"),
        ("refresh_token", json!("r".repeat(2_000_000)), "oauth::Answer"),
        ("refresh_token", json!("r\u{202e}"), "oauth::Answer"),
        ("scope", json!("s".repeat(2_000_000)), "unavailable"),
    ] {
        let mut token = good().3;
        token[name] = value;
        let answers = (json!({}), good().1, good().2, token);
        let (got, kept) = by_device(AtArguments::default(), answers).await;
        assert_eq!(got.unwrap_err(), error, "{name}");
        assert_eq!(kept.unwrap()["grants"], json!({}), "{name}");
    }
}

/// Defect: `verification_uri` of any scheme and `user_code` of any length were shown, and a server
/// that said so was waited for beyond the end of its code.
#[tokio::test]
async fn rfc8628_3_2_a_person_is_sent_to_pages_by_tls() {
    for (name, value, error) in [
        ("verification_uri", json!("http://as.example/device"), "oauth::Answer"),
        ("verification_uri", json!("file:///etc/passwd"), "oauth::Answer"),
        ("verification_uri", json!("https://as.example/\n  hint: b"), "oauth::Answer"),
        ("user_code", json!("B".repeat(65)), "oauth::Answer"),
        ("user_code", json!("B\u{1b}[2J"), "oauth::Answer"),
        ("device_code", json!(""), "oauth::Answer"),
        // As long as the code lives, and not as the server would have it.
        ("interval", json!(u64::MAX), ""),
        ("verification_uri", json!("http://127.0.0.1:1/device"), ""),
    ] {
        let mut device = good().2;
        device["expires_in"] = json!(2);
        device[name] = value;
        let answers = (json!({}), good().1, device, good().3);
        let ended = by_device(AtArguments::default(), answers);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), ended).await;
        let error_found = ended.unwrap().0.err().unwrap_or_default();
        assert_eq!(error_found, error, "{name}");
    }
}

/// Defect: `--dpop-key` said nothing where the token was bound to no key.
#[tokio::test]
async fn rfc9449_5_a_token_that_is_not_bound_is_refused_before_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let keyed =
        || AtArguments { dpop_key: Some(folder.path().join("key")), ..AtArguments::default() };
    let binds = json!({"dpop_signing_alg_values_supported": ["ES256"]});
    let dpop = json!({"access_token": "a", "token_type": "DPoP", "refresh_token": "r"});
    let (none, registered, device, bearer) = good();
    for (server, token, error, is_kept) in [
        (&none, &bearer, Some("discovery::Binding"), None),
        (&none, &dpop, Some("discovery::Binding"), None),
        (&binds, &bearer, Some("discovery::Binding"), Some(false)),
        (&binds, &dpop, None, Some(true)),
    ] {
        let answers = (server.clone(), registered.clone(), device.clone(), token.clone());
        let (got, kept) = by_device(keyed(), answers).await;
        assert_eq!(got.err().as_deref(), error, "{server} {token}");
        let kept = kept.map(|kept| !kept["grants"].as_object().unwrap().is_empty());
        assert_eq!(kept, is_kept, "{server} {token}");
    }
    // Nor is it silent where a caller asks by its SVID.
    let origin = machine(|origin| documents(origin, &json!({}), &json!({}))).await;
    let https = Https::own_or_system("/nowhere".as_ref()).ok().unwrap();
    for (at, is_found) in [(keyed(), false), (AtArguments::default(), true)] {
        let at = AtArguments { at: Some(format!("{origin}/mcp")), own: true, ..at };
        let wish = Wish { at: &at, client_id: None, issuer: None, device: false, scopes: &[] };
        assert_eq!(find(&https, wish).await.is_ok(), is_found);
    }
}

/// Defect: a server that names the authorization endpoint of another one got its codes.
#[tokio::test]
async fn rfc9700_4_4_2_codes_of_another_server_are_not_brought_to_this_one() {
    let elsewhere = "https://honest.example/authorize";
    let promised = json!({"authorization_endpoint": elsewhere,
        "authorization_response_iss_parameter_supported": true});
    for (server, error) in [
        (json!({"authorization_endpoint": elsewhere}), "discovery::MixUp"),
        (json!({"authorization_endpoint": "http://127.0.0.1:1/authorize"}), "discovery::MixUp"),
        // The next thing that fails is the registration.
        (promised, "oauth::404 Not Found"),
    ] {
        let origin = machine(|origin| documents(origin, &json!({}), &server)).await;
        let ended = ends(&origin, AtArguments::default(), None).await;
        assert_eq!(ended, (1, error.to_owned()), "{server}");
    }
    // Each server has its own redirect, and one that was registered for another place is not used.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved.json");
    let origin = machine(|origin| {
        let mut all = documents(origin, &json!({}), &json!({}));
        all.push(("/register", json!({"client_id": "new"})));
        all
    });
    let origin = origin.await;
    let mut saved = Saved::read(Some(&file)).await.ok().unwrap();
    let old = json!({"client_id": "old", "token_endpoint_auth_method": "none",
        "redirect_uri": "http://127.0.0.1:4711/callback"});
    saved.set_client(&origin, serde_json::from_value(old).unwrap());
    saved.write().ok().unwrap();
    drop(saved);
    let at = AtArguments {
        at: Some(format!("{origin}/mcp")),
        save: Some(file.clone()),
        ..AtArguments::default()
    };
    let https = Https::own_or_system("/nowhere".as_ref()).ok().unwrap();
    let wish = Wish { at: &at, client_id: None, issuer: None, device: false, scopes: &[] };
    let got = get(&https, Output::new(Format::Json), wish);
    // It waits for a browser.
    assert!(tokio::time::timeout(std::time::Duration::from_secs(2), got).await.is_err());
    let saved = Saved::read(Some(&file)).await.ok().unwrap();
    let client = saved.client(&origin).unwrap();
    assert_eq!(client.client_id, "new");
    assert!(client.is_back_at(&distinct(BACK, &origin)), "{}", client.redirect_uri);
    assert!(!client.is_back_at(&distinct(BACK, "https://b.example")) && !client.is_back_at(BACK));
}

/// By a refresh token: an answer without `scope` has the one of before, and one without a key is
/// not kept.
#[tokio::test]
async fn rfc6749_5_1_a_scope_that_is_not_said_is_the_one_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let binds = json!({"dpop_signing_alg_values_supported": ["ES256"]});
    let dpop_key = || Some(folder.path().join("key"));
    for (key, more, ended, refresh) in [
        (None, json!({}), Ok("a b"), "new"),
        (None, json!({"scope": "a"}), Ok("a b"), "new"),
        (dpop_key(), json!({}), Err("discovery::Binding"), "old"),
        (dpop_key(), json!({"token_type": "DPoP"}), Ok("a b"), "new"),
        (None, json!({"refresh_token": "n\u{1b}"}), Err("oauth::Answer"), "old"),
    ] {
        let mut token =
            json!({"access_token": "a", "token_type": "Bearer", "refresh_token": "new"});
        token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let origin = machine(|origin| {
            let mut all = documents(origin, &json!({}), &binds);
            all.push(("/token", token.clone()));
            all
        });
        let origin = origin.await;
        let (resource, file) = (format!("{origin}/mcp"), folder.path().join("saved.json"));
        let mut saved = Saved::read(Some(&file)).await.ok().unwrap();
        let grant = json!({"issuer": origin, "client_id": "c", "asked": "a b", "granted": "a b",
            "refresh_token": "old"});
        saved.set_grant(&resource, serde_json::from_value(grant).unwrap());
        saved.write().ok().unwrap();
        drop(saved);
        let at = AtArguments {
            at: Some(resource.clone()),
            save: Some(file.clone()),
            dpop_key: key,
            ..AtArguments::default()
        };
        let https = Https::own_or_system("/nowhere".as_ref()).ok().unwrap();
        let wish = Wish { at: &at, client_id: Some("c"), issuer: None, device: false, scopes: &[] };
        let got = get(&https, Output::new(Format::Json), wish).await;
        let got = got.map(|got| got.scope).map_err(|failure| failure.problem().error.clone());
        assert_eq!(got.as_deref().map_err(String::as_str), ended, "{token}");
        let saved = Saved::read(Some(&file)).await.ok().unwrap();
        let kept = saved.grant(&resource, &origin).and_then(|one| one.refresh_token.clone());
        assert_eq!(kept.unwrap().expose(), refresh, "{token}");
    }
}
