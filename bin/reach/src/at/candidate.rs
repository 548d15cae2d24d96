//! Which client asks: one that is given, one that its metadata document names, one that was
//! registered before, or a new one (MCP, client registration: in this order).

use http::StatusCode;
use oauth::TokenText;
use oauth::discovery::FoundServer;
use oauth::metadata_document::ClientIdUrl;
use oauth::token_request::GrantType;
use serde::Deserialize;
use wiring::world::SystemClock;

use crate::at::Wish;
use crate::at::saved::{Saved, SavedClient, Secret};
use crate::behalf::client::{Client, Proof};
use crate::behalf::key::read_key;
use crate::behalf::{Server, error_of, read, told};
use crate::exit::Failure;
use crate::files;
use crate::issued::bounded;

/// What people see of a client that registers itself.
const CLIENT_NAME: &str = "aims command line";
const BASIC: &str = "client_secret_basic";
const POST: &str = "client_secret_post";
const KEY: &str = "private_key_jwt";
const NONE: &str = "none";
/// Bytes of `client_id`: those of a URL, which some are.
const CLIENT_ID_BYTES_MAX: usize = 2_048;
/// Bytes of `client_secret`.
const CLIENT_SECRET_BYTES_MAX: usize = 4_096;

/// A client that the server knows.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) client: Client,
    /// It registered just now.
    pub(crate) is_new: bool,
}

/// Whether the client is one that was not made for one server: its redirect is not ours to choose.
pub(crate) fn is_given(server: &Server, wish: Wish<'_>) -> bool {
    let reads = server.document().client_id_metadata_document_supported;
    wish.client_id.is_some() || (reads && wish.at.client_metadata_url.is_some())
}

/// The client of a request in a person's name, who comes back to `back`.
pub(crate) async fn known(
    server: &Server,
    wish: Wish<'_>,
    saved: &mut Saved,
    back: &str,
) -> Result<Known, Failure> {
    let document = server.document();
    if let Some(client) = named(document, wish)? {
        return Ok(Known { client, is_new: false });
    }
    let issuer = document.issuer.as_str();
    let comes_back = |client: &&SavedClient| is_alive(client) && client.is_back_at(back);
    if let Some(client) = saved.client(issuer).filter(comes_back) {
        return Ok(Known { client: of_saved(client, saved)?, is_new: false });
    }
    let client = registered(server, wish, back).await?;
    let known = of_saved(&client, saved)?;
    saved.set_client(issuer, client);
    Ok(Known { client: known, is_new: true })
}

/// The client that got a refresh token, if it is still one of ours.
pub(crate) fn of_grant(
    document: &FoundServer,
    wish: Wish<'_>,
    saved: &Saved,
    id: &str,
) -> Result<Option<Client>, Failure> {
    let client = match named(document, wish)? {
        Some(client) => Some(client),
        None => {
            let client = saved.client(document.issuer.as_str()).filter(|client| is_alive(client));
            client.map(|client| of_saved(client, saved)).transpose()?
        }
    };
    Ok(client.filter(|client| client.id == id))
}

/// A client on its own behalf: RFC 6749 §4.4: "The client credentials grant type MUST only be used
/// by confidential clients."
pub(crate) fn own(wish: Wish<'_>, document: &FoundServer) -> Result<Client, Failure> {
    let grant = GrantType::ClientCredentials.as_str();
    let has = |grants: &Vec<String>| grants.iter().any(|one| one == grant);
    if !document.grant_types_supported.as_ref().is_none_or(has) {
        let message = format!("`{}` has no grant `{grant}`", document.issuer);
        return Err(Failure::refused("discovery::Grant", message)
            .hint("without `--own` a person is asked to allow it"));
    }
    let client = named(document, wish)?.filter(|client| !matches!(client.proof, Proof::None));
    client.ok_or_else(|| {
        Failure::misused("a client asks on its own behalf with a secret or a key")
            .hint("`--client-id ID` and `--client-secret-file FILE`, or `--client-key FILE`")
    })
}

/// A client that the caller names, or whose document the server reads.
fn named(document: &FoundServer, wish: Wish<'_>) -> Result<Option<Client>, Failure> {
    if let Some(id) = wish.client_id {
        return Ok(Some(Client { id: id.to_owned(), proof: proof(document, wish)? }));
    }
    let Some(url) = &wish.at.client_metadata_url else { return Ok(None) };
    // MCP: "MCP clients SHOULD check for this capability and MAY fall back".
    if !document.client_id_metadata_document_supported {
        return Ok(None);
    }
    let url =
        ClientIdUrl::parse(url).map_err(|error| Failure::misused(format!("`{url}`: {error}")))?;
    Ok(Some(Client { id: url.as_str().to_owned(), proof: proof(document, wish)? }))
}

/// How a client that is given proves who it is: as the server takes it.
fn proof(document: &FoundServer, wish: Wish<'_>) -> Result<Proof, Failure> {
    let refused = |methods: &str| {
        let takes = document.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let takes = takes.join("`, `");
        let issuer = &document.issuer;
        let message = format!("`{issuer}` authenticates clients by `{takes}`, not by {methods}");
        Failure::refused("discovery::ClientAuthentication", message)
    };
    if let Some(path) = &wish.at.client_key {
        if !document.takes_method(KEY) {
            return Err(refused("`private_key_jwt`"));
        }
        let key = read_key(path)?;
        let takes = &document.token_endpoint_auth_signing_alg_values_supported;
        let fits = |one: jose::Algorithm| takes.iter().any(|known| known == one.as_str());
        if !takes.is_empty() && !key.public().algorithms().any(fits) {
            let message = format!(
                "`{}` takes assertions signed by `{}`",
                document.issuer,
                takes.join("`, `")
            );
            return Err(Failure::refused("discovery::ClientAuthentication", message)
                .hint("the key of `--client-key` is of another kind"));
        }
        return Ok(Proof::Key(Box::new(key)));
    }
    let Some(path) = &wish.at.client_secret_file else { return Ok(Proof::None) };
    let text = zeroize::Zeroizing::new(files::read(path)?);
    let secret = TokenText::parse(text.trim()).map_err(|error| Failure::file(path, error))?;
    // RFC 6749 §2.3.1: credentials in the body are "NOT RECOMMENDED".
    match (document.takes_method(BASIC), document.takes_method(POST)) {
        (true, _) => Ok(Proof::Basic(secret)),
        (false, true) => Ok(Proof::Post(secret)),
        (false, false) => Err(refused("a secret")),
    }
}

/// The answer of RFC 7591 §3.2.1, as far as a client acts by it.
#[derive(Deserialize)]
struct Registered {
    client_id: String,
    #[serde(default)]
    client_secret: Option<Secret>,
    #[serde(default)]
    client_secret_expires_at: Option<u64>,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
}

impl Registered {
    /// RFC 6749 Appendix A.1, A.2: "client-id = *VSCHAR", "client-secret = *VSCHAR".
    fn check(&self) -> Result<(), Failure> {
        bounded("client_id", &self.client_id, CLIENT_ID_BYTES_MAX)?;
        if let Some(secret) = &self.client_secret {
            bounded("client_secret", secret.expose(), CLIENT_SECRET_BYTES_MAX)?;
        }
        Ok(())
    }
}

/// Registers (RFC 7591 §3.1).
async fn registered(server: &Server, wish: Wish<'_>, back: &str) -> Result<SavedClient, Failure> {
    let document = server.document();
    let Some(endpoint) = &document.registration_endpoint else {
        let message = format!("`{}` registers no clients by itself", document.issuer);
        return Err(Failure::refused("discovery::Client", message).hint(
            "register one there, and name it: `--client-id ID`; or `--client-metadata-url URL` \
             where the server reads such documents",
        ));
    };
    let method = wished(document);
    let asked = registration(method, back, wish.device);
    let answer = server.register(endpoint.as_str(), asked.to_string()).await?;
    if !matches!(answer.status, StatusCode::CREATED | StatusCode::OK) {
        let error = error_of(&answer).unwrap_or_else(|| answer.status.to_string());
        // MCP: "clients SHOULD surface a meaningful error to the user or developer."
        return Err(Failure::refused(&format!("oauth::{error}"), told(&answer, &error)).hint(
            "the server refused to register `aims`: register a client there yourself, and name it: \
             `--client-id ID`",
        ));
    }
    let answer: Registered = read(&answer)?;
    answer.check()?;
    // RFC 7591 §3.2.1: the server "MAY reject or replace any of the client's requested metadata
    // values"; what it leaves out is as it was asked for.
    let method = answer.token_endpoint_auth_method.unwrap_or_else(|| method.to_owned());
    Ok(SavedClient {
        client_id: answer.client_id,
        client_secret: answer.client_secret.filter(|_| method != NONE),
        client_secret_expires_at: answer.client_secret_expires_at.filter(|time| *time > 0),
        token_endpoint_auth_method: method,
        redirect_uri: back.to_owned(),
    })
}

/// A program that everybody can read keeps no secret (RFC 8252 §8.5): a public client where the
/// server has such, and where it does not say what it has.
fn wished(document: &FoundServer) -> &'static str {
    let says = document.token_endpoint_auth_methods_supported.is_some();
    match [NONE, BASIC, POST].into_iter().find(|method| document.takes_method(method)) {
        Some(method) if says => method,
        _ => NONE,
    }
}

fn registration(method: &str, back: &str, device: bool) -> serde_json::Value {
    let first = if device { GrantType::DeviceCode } else { GrantType::AuthorizationCode };
    let mut asked = serde_json::json!({
        "client_name": CLIENT_NAME,
        // MCP: "MCP clients MUST specify an appropriate `application_type`"; "Native applications
        // [...], CLI tools [...] SHOULD use `application_type: "native"`".
        "application_type": "native",
        "token_endpoint_auth_method": method,
        // MCP: clients that desire refresh tokens "SHOULD include `refresh_token` in their
        // `grant_types` client metadata".
        "grant_types": [first.as_str(), GrantType::RefreshToken.as_str()],
    });
    if let Some(members) = asked.as_object_mut().filter(|_| !device) {
        members.insert("response_types".to_owned(), serde_json::json!(["code"]));
        members.insert("redirect_uris".to_owned(), serde_json::json!([back]));
    }
    asked
}

fn is_alive(client: &SavedClient) -> bool {
    let now = SystemClock::read().seconds();
    client.client_secret_expires_at.is_none_or(|end| end > now)
}

fn of_saved(client: &SavedClient, saved: &Saved) -> Result<Client, Failure> {
    let secret = client.client_secret.as_ref().map(|secret| TokenText::parse(secret.expose()));
    let secret = secret.transpose().map_err(|error| saved.broken(&error))?;
    let proof = match (client.token_endpoint_auth_method.as_str(), secret) {
        (NONE, _) => Proof::None,
        (BASIC, Some(secret)) => Proof::Basic(secret),
        (POST, Some(secret)) => Proof::Post(secret),
        (method, _) => {
            let message =
                format!("the client was registered for `{method}`, which is not done here");
            return Err(Failure::refused("discovery::ClientAuthentication", message));
        }
    };
    Ok(Client { id: client.client_id.clone(), proof })
}

#[cfg(test)]
mod tests {
    use oauth::discovery::WebUrl;

    use super::*;
    use crate::at::AtArguments;

    fn document(methods: Option<&[&str]>) -> FoundServer {
        let issuer = WebUrl::parse("https://i.example").ok().unwrap();
        let mut text =
            serde_json::json!({"issuer": issuer, "token_endpoint": "https://i.example/t"});
        if let Some(methods) = methods {
            text["token_endpoint_auth_methods_supported"] = serde_json::json!(methods);
        }
        FoundServer::parse(&text.to_string(), &issuer).ok().unwrap()
    }

    #[test]
    fn rfc8252_8_5_a_program_registers_as_public_where_it_can() {
        for (methods, expect) in [
            (None, NONE),
            (Some(&["client_secret_basic", "none"][..]), NONE),
            (Some(&["client_secret_post", "client_secret_basic"]), BASIC),
            (Some(&["client_secret_post"]), POST),
            (Some(&["private_key_jwt"]), NONE),
        ] {
            assert_eq!(wished(&document(methods)), expect, "{methods:?}");
        }
    }

    #[test]
    fn rfc6749_2_3_a_given_client_proves_itself_as_the_server_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| Some(folder.path().join(name));
        std::fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
        crate::behalf::key::Key::kept(&folder.path().join("key")).ok().unwrap();
        let by_secret = AtArguments { client_secret_file: file("secret"), ..Default::default() };
        let by_key = AtArguments { client_key: file("key"), ..Default::default() };
        let plain = AtArguments::default();
        for (at, methods, expect) in [
            (&by_secret, None, Ok(BASIC)),
            (&by_secret, Some(&["client_secret_post", "client_secret_basic"][..]), Ok(BASIC)),
            (&by_secret, Some(&["client_secret_post"]), Ok(POST)),
            (&by_secret, Some(&["none", "private_key_jwt"]), Err(())),
            (&by_key, Some(&["private_key_jwt"]), Ok(KEY)),
            (&by_key, Some(&["client_secret_basic"]), Err(())),
            (&by_key, None, Err(())),
            (&plain, Some(&["none"]), Ok(NONE)),
        ] {
            let wish = Wish { at, client_id: Some("c"), issuer: None, device: false, scopes: &[] };
            let known = named(&document(methods), wish).map(|client| client.unwrap().proof);
            let method = known.map(|proof| match proof {
                Proof::None => NONE,
                Proof::Basic(_) => BASIC,
                Proof::Post(_) => POST,
                Proof::Key(_) => KEY,
            });
            let method = method.map_err(|failure| {
                assert_eq!(failure.problem().error, "discovery::ClientAuthentication");
            });
            assert_eq!(method, expect, "{methods:?}");
        }
        let mut other = document(Some(&["private_key_jwt"]));
        other.token_endpoint_auth_signing_alg_values_supported = vec!["RS256".to_owned()];
        let wish =
            Wish { at: &by_key, client_id: Some("c"), issuer: None, device: false, scopes: &[] };
        assert!(named(&other, wish).unwrap_err().problem().message.contains("`RS256`"));
    }

    /// MCP: a document names the client where the server reads such, and nowhere else.
    #[test]
    fn cimd_5_a_document_names_a_client_where_it_is_read() {
        let url = "https://c.example/client.json".to_owned();
        let at = AtArguments { client_metadata_url: Some(url.clone()), ..Default::default() };
        let wish = Wish { at: &at, client_id: None, issuer: None, device: false, scopes: &[] };
        let mut document = document(None);
        assert!(named(&document, wish).ok().unwrap().is_none());
        document.client_id_metadata_document_supported = true;
        assert_eq!(named(&document, wish).ok().unwrap().unwrap().id, url);
    }

    /// RFC 7591 §3.2.1: a secret may end.
    #[test]
    fn rfc7591_3_2_1_a_client_whose_secret_ended_is_none() {
        let client = |end| SavedClient {
            client_id: "c".to_owned(),
            client_secret: Some(Secret::of("s")),
            client_secret_expires_at: end,
            token_endpoint_auth_method: BASIC.to_owned(),
            redirect_uri: "http://127.0.0.1:1/callback".to_owned(),
        };
        let now = SystemClock::read().seconds();
        assert!(is_alive(&client(None)) && is_alive(&client(Some(now + 60))));
        assert!(!is_alive(&client(Some(now - 60))));
    }

    /// req: AUTHZ-26 (part)
    #[test]
    fn mcp_application_type_and_redirects() {
        let back = "http://127.0.0.1:4711/callback";
        insta::assert_snapshot!(registration(NONE, back, false), @r#"{"client_name":"aims command line","application_type":"native","token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"redirect_uris":["http://127.0.0.1:4711/callback"]}"#);
        insta::assert_snapshot!(registration(POST, back, true), @r#"{"client_name":"aims command line","application_type":"native","token_endpoint_auth_method":"client_secret_post","grant_types":["urn:ietf:params:oauth:grant-type:device_code","refresh_token"]}"#);
    }
}
