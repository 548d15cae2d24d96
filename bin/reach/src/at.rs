//! A token for a resource of which nothing is known but its URL, as clients of MCP get one: from
//! its challenge or its metadata to an authorization server (RFC 9728, RFC 8414), to a client of
//! that server (given, by its metadata document, or registered: RFC 7591), to the token.
//!
//! In scope: each choice on that way, and what is remembered of it between calls. Not here: the
//! grants themselves ([`crate::behalf`]) and what the documents look like (`oauth::discovery`).

mod candidate;
mod saved;
mod scope;
#[cfg(test)]
mod tests;
mod way;

use std::path::PathBuf;

use clap::Args;
use http::StatusCode;
use oauth::device::DeviceResponse;
use oauth::discovery::{FoundServer, WebUrl};
use oauth::token_response::{TokenResponse, TokenUse};
use oauth::{Resource, Scope, TokenText};

use crate::at::candidate::Known;
use crate::at::saved::{Grant, Saved, Secret};
use crate::at::scope::Wanted;
use crate::at::way::Way;
use crate::behalf::callback::{BACK, Callback, distinct};
use crate::behalf::client::Client;
use crate::behalf::key::Key;
use crate::behalf::{Asked, Server, error_of};
use crate::exit::Failure;
use crate::files;
use crate::http1::Answer;
use crate::https::Https;
use crate::issued::issued;
use crate::output::Output;

/// What to do about a client that its server has forgotten.
const AGAIN: &str = "the server no longer knows the client that was kept: run the command again to \
                     register another";

/// What is wanted at a resource.
#[derive(Debug, Default, Args)]
pub struct AtArguments {
    /// The resource that a token is wanted for: it says itself who gives one
    #[arg(long, value_name = "URL", conflicts_with = "resources")]
    pub at: Option<String>,
    /// What it answered to a call: the value of `WWW-Authenticate`; `-` is stdin
    #[arg(long, value_name = "VALUE", requires = "at")]
    challenge: Option<String>,
    /// On its own behalf, with no person: by its SVID, or as a client with a secret or a key
    #[arg(long, requires = "at", conflicts_with_all = ["user", "device"])]
    own: bool,
    /// By a JWT of somebody whom the server believes (RFC 7523); `-` is stdin
    #[arg(
        long,
        value_name = "FILE",
        requires_all = ["at", "issuer"],
        conflicts_with_all = ["user", "device", "own"]
    )]
    assertion: Option<PathBuf>,
    /// The client's metadata document, which names it where the server reads such
    #[arg(long, value_name = "URL", requires = "at")]
    client_metadata_url: Option<String>,
    /// The secret that a server gave the client; sent to the server of `--issuer` alone
    #[arg(
        long,
        value_name = "FILE",
        requires_all = ["at", "client_id", "issuer"],
        conflicts_with = "client_key"
    )]
    client_secret_file: Option<PathBuf>,
    /// The key that the client has registered: PKCS #8 in PEM, or a JWK
    #[arg(long, value_name = "FILE", requires = "at")]
    client_key: Option<PathBuf>,
    /// Where browsers come back to on this machine [default: `/callback` at any port]
    #[arg(long, value_name = "URL", requires = "at")]
    callback: Option<String>,
    /// A key to bind the token to, and none that is not bound; made where it is not there yet
    #[arg(long, value_name = "FILE", requires = "at", conflicts_with = "bearer")]
    dpop_key: Option<PathBuf>,
    /// Keeps registered clients and refresh tokens, by issuer, and uses them the next time
    #[arg(long, value_name = "FILE", requires = "at")]
    save: Option<PathBuf>,
}

/// The rest of what the caller says.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// How, and where.
    pub at: &'a AtArguments,
    /// A client that the server knows.
    pub client_id: Option<&'a str>,
    /// The one server that may be asked.
    pub issuer: Option<&'a str>,
    /// Another device instead of the browser.
    pub device: bool,
    /// Scopes, instead of those that the resource names.
    pub scopes: &'a [Scope],
}

impl AtArguments {
    /// Whether the caller asks as what it is, with no client that was made for this.
    pub fn is_by_identity(&self, client_id: Option<&str>) -> bool {
        let given = client_id.is_some() || self.client_metadata_url.is_some();
        self.own && !given && self.client_key.is_none()
    }
}

/// Whom to ask for what, for a caller that has an identity of its own to show there.
#[derive(Debug)]
pub struct Found {
    /// Reaches what the resource named, and nothing that it should not have.
    pub https: Https,
    /// The authorization server.
    pub issuer: String,
    /// Whom the token is for.
    pub resource: Resource,
    /// `scope`; empty where none is named.
    pub scope: String,
}

/// Finds that.
pub async fn find(https: &Https, wish: Wish<'_>) -> Result<Found, Failure> {
    let found = async {
        let way = way::find(https, wish, &Saved::default()).await?;
        if way.needs_dpop || wish.at.dpop_key.is_some() {
            let why = "a token that is asked for by an SVID is bound to no key of DPoP";
            return Err(Failure::refused("discovery::Binding", why)
                .hint("`--client-id ID` and `--client-key FILE` ask as a client with a key"));
        }
        let scope = Wanted::of(&way, None, wish, None)?.text();
        let Way { https, resource, issuer, .. } = way;
        Ok(Found { https, issuer: issuer.as_str().to_owned(), resource, scope })
    };
    found.await.map_err(Failure::of_others)
}

/// What came of it.
#[derive(Debug)]
pub struct Got {
    /// What the token endpoint answered, good or bad.
    pub answer: Answer,
    /// The scope of the token, where the answer has none. RFC 6749 §5.1: `scope` is "OPTIONAL, if
    /// identical to the scope requested by the client".
    pub scope: String,
}

/// Gets it.
pub async fn get(https: &Https, output: Output, wish: Wish<'_>) -> Result<Got, Failure> {
    got(https, output, wish).await.map_err(Failure::of_others)
}

async fn got(https: &Https, output: Output, wish: Wish<'_>) -> Result<Got, Failure> {
    let mut saved = Saved::read(wish.at.save.as_deref()).await?;
    let way = way::find(https, wish, &saved).await?;
    let server = Server::at(way.https.clone(), &way.issuer).await?;
    let server = bound(server, &way, wish.at)?;
    let grant = saved.grant(way.resource.as_str(), way.issuer.as_str());
    let wanted = Wanted::of(&way, grant, wish, Some(server.document()))?;
    let answer = match (&wish.at.assertion, wish.at.own) {
        (Some(path), _) => by_assertion(&server, &way, wish, &wanted, path).await?,
        (None, true) => {
            let client = candidate::own(wish, server.document())?;
            server.by_itself(asked(&client, &way, &wanted.text())).await?
        }
        (None, false) => {
            output.note(&format!("`{}` gives tokens for `{}`", way.issuer, way.resource.as_str()));
            return by_person(&server, &way, wish, &wanted, &mut saved, output).await;
        }
    };
    believed(&answer, &way, wish.at)?;
    Ok(Got { answer, scope: wanted.text() })
}

/// Binds tokens to the caller's key, where there is one and the server does that.
fn bound(server: Server, way: &Way, at: &AtArguments) -> Result<Server, Failure> {
    let refused = |why: String| Failure::refused("discovery::Binding", why);
    let wanted = way.needs_dpop;
    match (&at.dpop_key, server.binds()) {
        (Some(path), true) => Ok(server.with_key(Key::kept(path)?)),
        // RFC 9728 §2: "the protected resource always requires the use of DPoP-bound access
        // tokens."
        (None, true) if wanted => Err(refused(format!(
            "`{}` takes tokens that are bound to a key alone",
            way.resource.as_str()
        ))
        .hint("`--dpop-key FILE` names the key, which the caller of the resource needs, too")),
        (_, false) if wanted => Err(refused(format!(
            "`{}` takes tokens that are bound to a key alone, and `{}` binds none by ES256",
            way.resource.as_str(),
            way.issuer
        ))),
        (Some(_), false) => {
            Err(refused(format!("`{}` binds no tokens to a key by ES256", way.issuer))
                .hint("without `--dpop-key` the token is one that whoever sees it can use"))
        }
        _ => Ok(server),
    }
}

/// MCP WIF: what is refused is neither tried again nor asked for by another grant.
async fn by_assertion(
    server: &Server,
    way: &Way,
    wish: Wish<'_>,
    wanted: &Wanted,
    path: &std::path::Path,
) -> Result<Answer, Failure> {
    let text = zeroize::Zeroizing::new(files::read(path)?);
    let assertion = TokenText::parse(text.trim()).map_err(|error| Failure::file(path, error))?;
    let client = Client::public(wish.client_id.unwrap_or_default());
    server.by_assertion(asked(&client, way, &wanted.text()), &assertion).await
}

/// In a person's name: again by what they allowed before, or anew.
async fn by_person(
    server: &Server,
    way: &Way,
    wish: Wish<'_>,
    wanted: &Wanted,
    saved: &mut Saved,
    output: Output,
) -> Result<Got, Failure> {
    if let Some(got) = again(server, way, wish, wanted, saved).await? {
        return Ok(got);
    }
    if !wish.device {
        server.document().takes_pkce().map_err(|error| {
            let hint = "without PKCE whoever sees the code can use it: the server must name `S256`";
            Failure::refused("discovery::Pkce", error).hint(hint)
        })?;
        asks_itself(server.document())?;
    }
    let liked = saved.client(way.issuer.as_str()).and_then(|client| client.port());
    let back = wish.at.callback.as_deref().unwrap_or(BACK);
    let back = match candidate::is_given(server, wish) {
        true => Callback::bind(back, liked).await?,
        false => Callback::bind(&distinct(back, way.issuer.as_str()), liked).await?,
    };
    let Known { client, is_new } = candidate::known(server, wish, saved, back.uri()).await?;
    if is_new {
        // Kept at once: what comes now may fail, and the server remembers the client.
        saved.write()?;
        let kept = if wish.at.save.is_some() { "" } else { "; `--save FILE` keeps it" };
        output.note(&format!("registered as `{}`{kept}", client.id));
    }
    let text = wanted.text();
    let asked = asked(&client, way, &text);
    let answer = if wish.device {
        let told = |device: &DeviceResponse| {
            let DeviceResponse { user_code, verification_uri, .. } = device;
            output.ask(&format!("go to {verification_uri} and type {user_code}"));
        };
        server.by_device(asked, told).await?
    } else {
        let tell = |url: &str| output.ask(&format!("open in a browser: {url}"));
        server.by_browser(asked, &back, tell).await.or_else(|failure| {
            let unknown = !is_new && failure.problem().error == "oauth::invalid_client";
            if unknown {
                saved.forget_client(way.issuer.as_str());
                saved.write()?;
            }
            Err(if unknown { failure.hint(AGAIN) } else { failure })
        })?
    };
    if let Some(issued) = believed(&answer, way, wish.at)? {
        keep(saved, way, &client.id, wanted, &issued)?;
    }
    Ok(Got { answer, scope: text })
}

/// RFC 9700 §4.4.2: "An attacker might declare an uncompromised authorization server's
/// authorization endpoint URL as "their" authorization server URL, but declare a token endpoint
/// under their own control." A server that promises `iss` is found out by it; another must ask
/// people at its own origin.
fn asks_itself(document: &FoundServer) -> Result<(), Failure> {
    let Some(endpoint) = &document.authorization_endpoint else { return Ok(()) };
    let origin = |url: &WebUrl| url::Url::parse(url.as_str()).ok().map(|url| url.origin());
    let is_own = origin(endpoint).is_some() && origin(endpoint) == origin(&document.issuer);
    if is_own || document.authorization_response_iss_parameter_supported {
        return Ok(());
    }
    let issuer = &document.issuer;
    let message = format!("`{issuer}` asks people at `{endpoint}`, which may be another server's");
    Err(Failure::refused("discovery::MixUp", message).hint(
        "a server whose pages stand elsewhere says that it answers with `iss` (RFC 9207): \
         `authorization_response_iss_parameter_supported`",
    ))
}

/// By a refresh token that this server gave for this resource, where it is enough.
async fn again(
    server: &Server,
    way: &Way,
    wish: Wish<'_>,
    wanted: &Wanted,
    saved: &mut Saved,
) -> Result<Option<Got>, Failure> {
    let issuer = way.issuer.as_str();
    let Some(grant) = saved.grant(way.resource.as_str(), issuer).filter(|one| wanted.within(one))
    else {
        return Ok(None);
    };
    let Some(refresh) = grant.refresh_token.clone() else { return Ok(None) };
    let Some(client) = candidate::of_grant(server.document(), wish, saved, &grant.client_id)?
    else {
        return Ok(None);
    };
    let refresh = TokenText::parse(refresh.expose()).map_err(|error| saved.broken(&error))?;
    // RFC 6749 §6: without `scope` it is "treated as equal to the scope originally granted".
    let text = if wish.scopes.is_empty() { String::new() } else { wanted.text() };
    let scope = if text.is_empty() { grant.granted.clone() } else { text.clone() };
    let answer = server.by_refresh(asked(&client, way, &text), &refresh).await?;
    if let Some(TokenResponse { scope: granted, refresh_token, .. }) =
        believed(&answer, way, wish.at)?
    {
        let granted = granted.filter(|_| text.is_empty()).map(|granted| granted.to_string());
        saved.renew(way.resource.as_str(), refresh_token.as_deref().map(Secret::of), granted);
        saved.write()?;
        return Ok(Some(Got { answer, scope }));
    }
    match error_of(&answer).as_deref() {
        // RFC 6749 §5.2: a refresh token that is "invalid, expired, revoked".
        Some("invalid_grant") => saved.forget(way.resource.as_str()),
        Some("invalid_client") => saved.forget_client(issuer),
        _ => return Ok(Some(Got { answer, scope })),
    }
    saved.write()?;
    Ok(None)
}

fn keep(
    saved: &mut Saved,
    way: &Way,
    client_id: &str,
    wanted: &Wanted,
    issued: &TokenResponse,
) -> Result<(), Failure> {
    let refresh_token = issued.refresh_token.as_deref().map(Secret::of);
    let asked = wanted.text();
    let grant = Grant {
        issuer: way.issuer.as_str().to_owned(),
        client_id: client_id.to_owned(),
        // RFC 6749 §5.1: `scope` is "OPTIONAL, if identical to the scope requested by the client".
        granted: issued.scope.as_ref().map_or_else(|| asked.clone(), ToString::to_string),
        asked,
        step_ups: wanted.step_ups,
        refresh_token,
    };
    saved.set_grant(way.resource.as_str(), grant);
    saved.write()
}

/// The token, where there is one and it is one that was asked for: what is kept comes after.
///
/// RFC 9449 §5: "the client MUST discard the response" where it needs a bound token and has none.
fn believed(
    answer: &Answer,
    way: &Way,
    at: &AtArguments,
) -> Result<Option<TokenResponse>, Failure> {
    if answer.status != StatusCode::OK {
        return Ok(None);
    }
    let issued = issued(answer)?.answer;
    if issued.token_type == TokenUse::Dpop || !(way.needs_dpop || at.dpop_key.is_some()) {
        return Ok(Some(issued));
    }
    let (found, issuer) = (issued.token_type.as_str(), &way.issuer);
    let message = format!("a token of type `{found}` of `{issuer}`, where `DPoP` is wanted");
    Err(Failure::refused("discovery::Binding", message)
        .hint("it is bound to no key: it was neither shown nor kept"))
}

fn asked<'a>(client: &'a Client, way: &'a Way, scope: &'a str) -> Asked<'a> {
    let resources: &[Resource] = std::slice::from_ref(&way.resource);
    Asked { client, resources, scope }
}
