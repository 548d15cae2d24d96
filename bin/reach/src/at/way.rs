//! From a URL to the authorization server that is asked (RFC 9728 §3, §5, §7.6).

use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{Method, StatusCode};
use hyper::body::Bytes;
use oauth::Resource;
use oauth::discovery::{FoundResource, WebUrl};
use oauth::received_challenge::ReceivedChallenge;

use crate::at::Wish;
use crate::at::saved::Saved;
use crate::exit::Failure;
use crate::files;
use crate::https::Https;

/// How long a resource may take to refuse a call without a token.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug)]
pub(crate) struct Way {
    /// Reaches what the resource named, and nothing that it should not have.
    pub(crate) https: Https,
    /// As the server knows it.
    pub(crate) resource: Resource,
    pub(crate) issuer: WebUrl,
    pub(crate) challenge: Option<ReceivedChallenge>,
    /// What the resource says that it knows of.
    pub(crate) scopes: Vec<String>,
    pub(crate) needs_dpop: bool,
}

/// Finds it.
pub(crate) async fn find(https: &Https, wish: Wish<'_>, saved: &Saved) -> Result<Way, Failure> {
    let text = wish.at.at.as_deref().unwrap_or_default();
    let called = called(text)?;
    // What a stranger on the Internet names is not looked for at home.
    let https = match https.is_public(called.as_str()).await? {
        true => https.to_public(),
        false => https.clone(),
    };
    let challenge = match wish.at.challenge.as_deref() {
        None => probed(&https, &called).await?,
        Some(files::STDIN) => read(&[files::read(files::STDIN.as_ref())?.trim().as_bytes()])?,
        Some(value) => read(&[value.as_bytes()])?,
    };
    let pinned = wish.issuer.map(|text| {
        let misused = |error| Failure::misused(format!("issuer `{text}`: {error}"));
        WebUrl::parse(text).map_err(misused)
    });
    let pinned = pinned.transpose()?;
    let found = metadata(&https, &called, challenge.as_ref()).await?;
    let Some(found) = found else {
        // MCP, authorization server discovery: "Abort or use pre-configured values".
        let Some(issuer) = pinned else { return Err(unfound(&called)) };
        let (scopes, needs_dpop) = (Vec::new(), false);
        let resource = resource(called.plain_text())?;
        return Ok(Way { https, resource, issuer, challenge, scopes, needs_dpop });
    };
    let issuer = chosen(&found, pinned.as_ref(), |issuer| saved.client(issuer.as_str()).is_some())?;
    let scopes = found.scopes_supported.iter().map(ToString::to_string).collect();
    let needs_dpop = found.dpop_bound_access_tokens_required;
    let resource = resource(found.resource.as_str())?;
    Ok(Way { https, resource, issuer, challenge, scopes, needs_dpop })
}

/// MCP, canonical server URI: "implementations SHOULD accept uppercase scheme and host components
/// for robustness and interoperability."
fn called(text: &str) -> Result<WebUrl, Failure> {
    let canonical = || url::Url::parse(text).ok().map(|url| WebUrl::parse(url.as_str()));
    let parsed = WebUrl::parse(text);
    let parsed = parsed.or_else(|error| canonical().unwrap_or(Err(error)));
    parsed.map_err(|error| Failure::misused(format!("`{text}`: {error}")))
}

fn resource(text: &str) -> Result<Resource, Failure> {
    Resource::parse(text).map_err(|error| Failure::misused(format!("`{text}`: {error}")))
}

/// What the resource answers to a call without a token. No call can harm: it is a `GET`; what it
/// comes to nothing with is looked for elsewhere.
async fn probed(https: &Https, called: &WebUrl) -> Result<Option<ReceivedChallenge>, Failure> {
    let call = https.send(Method::GET, called.as_str(), Vec::new(), Bytes::new());
    let Ok(Ok(answer)) = tokio::time::timeout(PROBE_TIME_MAX, call).await else { return Ok(None) };
    if !matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Ok(None);
    }
    let values = answer.headers.get_all(WWW_AUTHENTICATE);
    let values: Vec<_> = values.iter().map(http::HeaderValue::as_bytes).collect();
    read(&values)
}

fn read(values: &[&[u8]]) -> Result<Option<ReceivedChallenge>, Failure> {
    let challenges = ReceivedChallenge::read(values.iter().copied());
    let challenges = challenges.map_err(|error| Failure::refused("discovery::Challenge", error))?;
    Ok(ReceivedChallenge::of_access_tokens(&challenges).cloned())
}

/// MCP, discovery requirements: clients "use the resource metadata URL from the parsed
/// `WWW-Authenticate` headers when present; otherwise, they MUST fall back to constructing and
/// requesting the well-known URIs".
async fn metadata(
    https: &Https,
    called: &WebUrl,
    challenge: Option<&ReceivedChallenge>,
) -> Result<Option<FoundResource>, Failure> {
    if let Some(named) = challenge.and_then(|one| one.get("resource_metadata")) {
        let url = WebUrl::parse(named).map_err(|error| {
            let message = format!("`resource_metadata` of `{named}`: {error}");
            Failure::refused("discovery::Challenge", message)
        })?;
        stays(called, &url)?;
        let document = https.get(url.as_str()).await?;
        return of_resource(&document, called, url.as_str()).map(Some);
    }
    for url in called.resource_metadata_urls() {
        let answer = https.send(Method::GET, &url, Vec::new(), Bytes::new()).await?;
        match answer.status {
            StatusCode::OK => return of_resource(&answer.body, called, &url).map(Some),
            // Whether it is there is not known, and the next one may be another's.
            status if status.is_server_error() => {
                return Err(Failure::unavailable(format!("`{url}` answered {status}")));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn of_resource(document: &[u8], called: &WebUrl, from: &str) -> Result<FoundResource, Failure> {
    let text = String::from_utf8_lossy(document);
    FoundResource::parse(&text, called, from).map_err(|error| {
        Failure::refused("discovery::Resource", format!("`{from}`: {error}"))
            .hint("call the resource by the URL that its metadata have, if you trust that one")
    })
}

/// Which of the servers is asked: the one that is pinned; else the first that knows a client of
/// ours; else the first. If it fails no other is asked in its place.
///
/// RFC 9728 §7.6: "an attacker may try to get the client to use an authorization server that it
/// controls": so a pinned one must be among them, and credentials are kept by issuer.
fn chosen(
    found: &FoundResource,
    pinned: Option<&WebUrl>,
    is_known: impl Fn(&WebUrl) -> bool,
) -> Result<WebUrl, Failure> {
    let all = &found.authorization_servers;
    let names = || all.iter().map(WebUrl::as_str).collect::<Vec<_>>().join("`, `");
    if let Some(pinned) = pinned {
        if all.contains(pinned) {
            return Ok(pinned.clone());
        }
        let of = found.resource.as_str();
        let message = format!("`{pinned}` is none of the servers of `{of}`: `{}`", names());
        return Err(Failure::refused("discovery::Issuer", message).hint(
            "it may have moved: what was registered at one server is not sent to another; name the \
             new one with `--issuer URL` once a client is registered there",
        ));
    }
    let first = all.iter().find(|issuer| is_known(issuer)).or_else(|| all.first());
    let Some(issuer) = first else {
        let message = format!("`{}` names no authorization server", found.resource);
        return Err(Failure::refused("discovery::Issuer", message)
            .hint("`--issuer URL` names one, where the resource has no metadata at all"));
    };
    stays(&found.resource, issuer)?;
    Ok(issuer.clone())
}

/// What was called by TLS does not lead to what is not.
fn stays(from: &WebUrl, to: &WebUrl) -> Result<(), Failure> {
    if from.is_plain() || !to.is_plain() {
        return Ok(());
    }
    let message = format!("`{from}` leads to `{to}`, which is not https");
    Err(Failure::refused("discovery::Plain", message))
}

fn unfound(called: &WebUrl) -> Failure {
    let urls = called.resource_metadata_urls().join("`, `");
    let message = format!("`{called}` names no metadata, and has none at `{urls}`");
    Failure::refused("discovery::Metadata", message).hint(
        "is it protected by OAuth? `--challenge` takes its `WWW-Authenticate`, `--issuer URL` \
         names its authorization server",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(servers: &[&str]) -> FoundResource {
        let resource = "https://r.example";
        let document = serde_json::json!({"resource": resource, "authorization_servers": servers});
        let from = format!("{resource}/.well-known/oauth-protected-resource");
        let called = WebUrl::parse(resource).ok().unwrap();
        FoundResource::parse(&document.to_string(), &called, &from).ok().unwrap()
    }

    #[test]
    fn rfc9728_7_6_the_server_is_chosen_by_a_rule() {
        let url = |text: &str| WebUrl::parse(text).ok().unwrap();
        let (a, b, c) = ("https://a.example", "https://b.example", "https://c.example");
        let pick = |servers: &[&str], pinned: Option<&str>, known: &[&str]| {
            let pinned = pinned.map(url);
            let is_known = |issuer: &WebUrl| known.contains(&issuer.as_str());
            let picked = chosen(&found(servers), pinned.as_ref(), is_known);
            picked
                .map(|issuer| issuer.as_str().to_owned())
                .map_err(|one| one.problem().error.clone())
        };
        for (servers, pinned, known, expect) in [
            (&[a, b][..], None, &[][..], Ok(a)),
            (&[a, b], None, &[b, c], Ok(b)),
            (&[a, b], Some(b), &[a], Ok(b)),
            (&[a, b], Some(c), &[c], Err("discovery::Issuer")),
            (&[a], Some("https://a.example/"), &[], Err("discovery::Issuer")),
            (&[], None, &[], Err("discovery::Issuer")),
            (&["http://localhost:1"], None, &[], Err("discovery::Plain")),
        ] {
            let expect = expect.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(pick(servers, pinned, known), expect, "{servers:?} {pinned:?}");
        }
    }

    #[test]
    fn what_is_called_may_be_written_in_capitals() {
        assert_eq!(called("HTTPS://R.example/Mcp").ok().unwrap().as_str(), "https://r.example/Mcp");
        for text in ["r.example", "http://r.example", "https://r.example/#a", "https://a@r.example"]
        {
            assert_eq!(called(text).unwrap_err().problem().outcome.exit_code(), 2, "{text}");
        }
    }
}
