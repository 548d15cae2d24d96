//! One request to the token endpoint, and what came of it.

use http::StatusCode;
use oauth::device::DeviceResponse;
use oauth::metadata::{Metadata, WELL_KNOWN};
use oauth::token_request::GrantType;
use oauth::token_response::TokenResponse;
use oauth::{Issuer, TokenType};
use reach::behalf::{Asked, Server};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::commands::Context;
use crate::commands::token::authenticate::{Proof, proof};
use crate::commands::token::{ClientArguments, ExchangeArguments, GetArguments, Wanted};
use crate::exit::Failure;
use crate::files;
use crate::http1::Answer;
use crate::https::Https;
use crate::span;

/// `aims token get` (RFC 6749 §4.4).
pub(crate) async fn get(context: &Context, args: &GetArguments) -> Result<(), Failure> {
    let scope = scope(&args.wanted);
    if let Some(client_id) = args.client_id.as_deref().filter(|_| args.user || args.device) {
        let resources = &args.wanted.resources;
        return behalf(context, args, Asked { client_id, resources, scope: &scope }).await;
    }
    let mut form = vec![("grant_type", GrantType::ClientCredentials.as_str())];
    wanted(&mut form, &args.wanted, &scope);
    show(context, &ask(context, &args.client, form).await?)
}

/// In a person's name. What they must do is told beside the token, not on stdout.
async fn behalf(context: &Context, args: &GetArguments, asked: Asked<'_>) -> Result<(), Failure> {
    let arguments = &args.client.issuer;
    let issuer = context.place.issuer(arguments.issuer.as_deref())?;
    let server = Server::find(arguments.https(context)?, issuer, args.bearer).await?;
    let tell = |text: &str| context.output.ask(text);
    let answer = match args.user {
        true => server.by_browser(asked, |url| tell(&format!("open in a browser: {url}"))).await?,
        false => {
            let told = |device: &DeviceResponse| {
                let DeviceResponse { user_code, verification_uri, .. } = device;
                tell(&format!("go to {verification_uri} and type {user_code}"));
            };
            server.by_device(asked, told).await?
        }
    };
    show(context, &issued(&answer)?)?;
    if server.is_bound() {
        context
            .output
            .note("the token is bound to a key that ends now; `--bearer` asks for one without");
    }
    Ok(())
}

/// `aims token exchange` (RFC 8693 §2.1).
pub(crate) async fn exchange(context: &Context, args: &ExchangeArguments) -> Result<(), Failure> {
    let text = Zeroizing::new(files::read(&args.subject_token)?);
    let mut form = vec![
        ("grant_type", GrantType::TokenExchange.as_str()),
        ("subject_token", text.trim()),
        ("subject_token_type", TokenType::from(args.subject_token_type).as_str()),
    ];
    if let Some(requested) = args.requested_token_type {
        form.push(("requested_token_type", TokenType::from(requested).as_str()));
    }
    form.extend(args.audiences.iter().map(|audience| ("audience", audience.as_str())));
    let scope = scope(&args.wanted);
    wanted(&mut form, &args.wanted, &scope);
    show(context, &ask(context, &args.client, form).await?)
}

/// What the authorization server says of itself.
pub(crate) async fn metadata(https: &Https, issuer: &Issuer) -> Result<Metadata, Failure> {
    let url = issuer.well_known_url(WELL_KNOWN);
    let document = https.get(&url).await?;
    let text = String::from_utf8_lossy(&document);
    Metadata::parse(&text, issuer).map_err(|error| {
        Failure::unavailable(format!("`{url}`: {error}"))
            .hint("an issuer is named exactly as its metadata has it: `--issuer URL`")
    })
}

/// A token, and the record of its issue.
struct Issued {
    answer: TokenResponse,
    audit_id: Option<String>,
}

async fn ask(
    context: &Context,
    client: &ClientArguments,
    mut form: Vec<(&str, &str)>,
) -> Result<Issued, Failure> {
    let issuer = context.place.issuer(client.issuer.issuer.as_deref())?;
    let https = client.issuer.https(context)?;
    let metadata = metadata(&https, &issuer).await?;
    let identity = client.source.socket.connect(context).await?;
    let proof = proof(&identity, client.auth, client.source.id.as_ref(), &issuer).await?;
    let Proof { client_id, parameters, fields, certificate } = proof;
    form.push(("client_id", &client_id));
    form.extend(parameters.iter().map(|(name, value)| (*name, value.expose())));
    let (https, endpoint) = match certificate {
        None => (https, metadata.token_endpoint),
        // RFC 8705 §5: "mtls_endpoint_aliases" has the endpoints where a certificate is asked for.
        Some(identity) => {
            let aliases = metadata.mtls_endpoint_aliases.unwrap_or_default();
            let endpoint = aliases.token_endpoint.unwrap_or(metadata.token_endpoint);
            (https.with_identity(identity), endpoint)
        }
    };
    let answer = https.post_form(endpoint.as_str(), &form, fields).await?;
    issued(&answer)
}

/// The error answer of RFC 6749 §5.2, as any server may write it.
#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

fn issued(answer: &Answer) -> Result<Issued, Failure> {
    let audit_id = answer.headers.get(api::AUDIT_ID).and_then(|id| id.to_str().ok());
    let audit_id = audit_id.map(str::to_owned);
    if answer.status == StatusCode::OK {
        let read = serde_json::from_slice(&answer.body);
        let answer = read.map_err(|error| {
            Failure::unavailable(format!("the answer of the token endpoint: {error}"))
        })?;
        return Ok(Issued { answer, audit_id });
    }
    let status = answer.status;
    let Ok(told) = serde_json::from_slice::<Told>(&answer.body) else {
        return Err(Failure::unavailable(format!("the token endpoint answered {status}")));
    };
    let message = match told.error_description {
        Some(description) => format!("{}: {description}", told.error),
        None => told.error.clone(),
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::unavailable(message).recorded(audit_id));
    }
    let failure = Failure::refused(&format!("oauth::{}", told.error), message).recorded(audit_id);
    Err(match hint(&told.error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// What to do about an error of the token endpoint.
fn hint(error: &str) -> Option<&'static str> {
    match error {
        "invalid_client" => {
            Some("is this program registered, and active? `aims agent list` tells an operator")
        }
        "access_denied" | "unauthorized_client" => {
            Some("no rule of the policy allows it: the record names the rules that came nearest")
        }
        "invalid_scope" => {
            Some("ask for less: `--scope`; the record of the agent and policy say what it may have")
        }
        "invalid_target" => {
            Some("name the resource as policy does; the server's metadata lists them")
        }
        "invalid_grant" => Some("`aims token inspect` shows what is wrong with the subject token"),
        _ => None,
    }
}

fn show(context: &Context, issued: &Issued) -> Result<(), Failure> {
    let answer = &issued.answer;
    context.output.show(answer, || format!("{}\n", answer.access_token))?;
    let scopes = answer.scope.iter().flat_map(|all| all.iter().map(ToString::to_string));
    let scopes: Vec<_> = scopes.collect();
    let scopes = if scopes.is_empty() { "no scope".to_owned() } else { scopes.join(" ") };
    let life = answer.expires_in.map(time::Span::from_seconds);
    let life = life.map_or_else(|| "an unknown time".to_owned(), span::show);
    context.output.note(&format!("{scopes}; ends in {life}"));
    context.recorded(issued.audit_id.as_deref());
    Ok(())
}

/// The one value of `scope` (RFC 6749 §3.3), empty where nothing was named.
fn scope(wanted: &Wanted) -> String {
    wanted.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn wanted<'a>(form: &mut Vec<(&'a str, &'a str)>, wanted: &'a Wanted, scope: &'a str) {
    form.extend(wanted.resources.iter().map(|resource| ("resource", resource.as_str())));
    if !scope.is_empty() {
        form.push(("scope", scope));
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn told(status: u16, body: &str) -> Result<Issued, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(api::AUDIT_ID, HeaderValue::from_static("0193"));
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.to_owned().into());
        issued(&Answer { status, headers, body })
    }

    #[test]
    fn errors_of_the_endpoint_end_with_their_code() {
        for (status, body, code, error) in [
            (
                400,
                r#"{"error":"invalid_scope","error_description":"too wide"}"#,
                1,
                "oauth::invalid_scope",
            ),
            (401, r#"{"error":"invalid_client"}"#, 1, "oauth::invalid_client"),
            (503, r#"{"error":"temporarily_unavailable"}"#, 3, "unavailable"),
            (429, r#"{"error":"temporarily_unavailable"}"#, 3, "unavailable"),
            (400, "<html>", 3, "unavailable"),
            (200, "{}", 3, "unavailable"),
        ] {
            let failure = told(status, body).err().unwrap();
            let problem = failure.problem();
            assert_eq!(
                (problem.outcome.exit_code(), problem.error.as_str()),
                (code, error),
                "{body}"
            );
        }
        let failure = told(400, r#"{"error":"access_denied"}"#).err().unwrap();
        assert_eq!(failure.problem().audit_id.as_deref(), Some("0193"));
        assert!(failure.problem().hint.is_some());
    }

    #[test]
    fn an_issued_token_comes_with_its_record() {
        let body = r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":300}"#;
        let issued = told(200, body).ok().unwrap();
        assert_eq!(issued.answer.access_token, "a.b.c");
        assert_eq!(issued.audit_id.as_deref(), Some("0193"));
    }
}
