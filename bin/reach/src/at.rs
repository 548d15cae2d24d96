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
use oauth::{Resource, Scope, TokenText};
use serde::Deserialize;

use crate::at::candidate::Known;
use crate::at::saved::{Grant, Saved, Secret};
use crate::at::scope::Wanted;
use crate::at::way::Way;
use crate::behalf::callback::{BACK, Callback};
use crate::behalf::client::Client;
use crate::behalf::key::Key;
use crate::behalf::{Asked, Server, error_of, read};
use crate::exit::Failure;
use crate::files;
use crate::http1::Answer;
use crate::https::Https;
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
    /// A key to bind the token to, where the server does that; made where it is not there yet
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
    /// The authorization server.
    pub issuer: String,
    /// Whom the token is for.
    pub resource: Resource,
    /// `scope`; empty where none is named.
    pub scope: String,
}

/// Finds that.
pub async fn find(https: &Https, wish: Wish<'_>) -> Result<Found, Failure> {
    let way = way::find(https, wish, &Saved::default()).await?;
    let scope = Wanted::of(&way, None, wish, None)?.text();
    Ok(Found { issuer: way.issuer.as_str().to_owned(), resource: way.resource, scope })
}

/// What counts of an answer of the token endpoint.
#[derive(Deserialize)]
struct Issued {
    token_type: String,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// Gets it: what the token endpoint answered, good or bad.
pub async fn get(https: &Https, output: Output, wish: Wish<'_>) -> Result<Answer, Failure> {
    let mut saved = Saved::read(wish.at.save.as_deref()).await?;
    let way = way::find(https, wish, &saved).await?;
    let server = Server::at(way.https.clone(), &way.issuer).await?;
    let server = bound(server, &way, wish.at)?;
    let grant = saved.grant(way.resource.as_str(), way.issuer.as_str());
    let wanted = Wanted::of(&way, grant, wish, Some(server.document()))?;
    let got = match (&wish.at.assertion, wish.at.own) {
        (Some(path), _) => by_assertion(&server, &way, wish, &wanted, path).await?,
        (None, true) => {
            let client = candidate::own(wish, server.document())?;
            server.by_itself(asked(&client, &way, &wanted.text())).await?
        }
        (None, false) => {
            output.note(&format!("`{}` gives tokens for `{}`", way.issuer, way.resource.as_str()));
            by_person(&server, &way, wish, &wanted, &mut saved, output).await?
        }
    };
    believed(&got, &way)?;
    Ok(got)
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
) -> Result<Answer, Failure> {
    if let Some(answer) = again(server, way, wish, wanted, saved).await? {
        return Ok(answer);
    }
    if !wish.device {
        server.document().takes_pkce().map_err(|error| {
            let hint = "without PKCE whoever sees the code can use it: the server must name `S256`";
            Failure::refused("discovery::Pkce", error).hint(hint)
        })?;
    }
    let liked = saved.client(way.issuer.as_str()).and_then(|client| client.port());
    let back = Callback::bind(wish.at.callback.as_deref().unwrap_or(BACK), liked).await?;
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
    if answer.status == StatusCode::OK {
        keep(saved, way, &client.id, wanted, &read::<Issued>(&answer)?)?;
    }
    Ok(answer)
}

/// By a refresh token that this server gave for this resource, where it is enough.
async fn again(
    server: &Server,
    way: &Way,
    wish: Wish<'_>,
    wanted: &Wanted,
    saved: &mut Saved,
) -> Result<Option<Answer>, Failure> {
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
    let answer = server.by_refresh(asked(&client, way, &text), &refresh).await?;
    if answer.status == StatusCode::OK {
        let Issued { scope, refresh_token, .. } = read(&answer)?;
        let scope = scope.filter(|_| text.is_empty());
        saved.renew(way.resource.as_str(), refresh_token.as_deref().map(Secret::of), scope);
        saved.write()?;
        return Ok(Some(answer));
    }
    match error_of(&answer).as_deref() {
        // RFC 6749 §5.2: a refresh token that is "invalid, expired, revoked".
        Some("invalid_grant") => saved.forget(way.resource.as_str()),
        Some("invalid_client") => saved.forget_client(issuer),
        _ => return Ok(Some(answer)),
    }
    saved.write()?;
    Ok(None)
}

fn keep(
    saved: &mut Saved,
    way: &Way,
    client_id: &str,
    wanted: &Wanted,
    issued: &Issued,
) -> Result<(), Failure> {
    let refresh_token = issued.refresh_token.as_deref().map(Secret::of);
    let asked = wanted.text();
    let grant = Grant {
        issuer: way.issuer.as_str().to_owned(),
        client_id: client_id.to_owned(),
        // RFC 6749 §5.1: `scope` is "OPTIONAL, if identical to the scope requested by the client".
        granted: issued.scope.clone().unwrap_or_else(|| asked.clone()),
        asked,
        step_ups: wanted.step_ups,
        refresh_token,
    };
    saved.set_grant(way.resource.as_str(), grant);
    saved.write()
}

/// RFC 9449 §5: "the client MUST discard the response" where it needs a bound token and has none.
fn believed(answer: &Answer, way: &Way) -> Result<(), Failure> {
    if answer.status != StatusCode::OK || !way.needs_dpop {
        return Ok(());
    }
    let issued: Issued = read(answer)?;
    if issued.token_type.eq_ignore_ascii_case("DPoP") {
        return Ok(());
    }
    let found = issued.token_type;
    Err(Failure::refused(
        "discovery::Binding",
        format!("a token of type `{found}`, where `{}` takes `DPoP`", way.resource.as_str()),
    ))
}

fn asked<'a>(client: &'a Client, way: &'a Way, scope: &'a str) -> Asked<'a> {
    let resources: &[Resource] = std::slice::from_ref(&way.resource);
    Asked { client, resources, scope }
}
