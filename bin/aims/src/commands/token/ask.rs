//! One request to the token endpoint, and what came of it.

use oauth::device::DeviceResponse;
use oauth::metadata::{Metadata, WELL_KNOWN};
use oauth::token_request::GrantType;
use oauth::{Issuer, TokenType};
use reach::at::{Found, Got, Wish};
use reach::behalf::callback::{BACK, Callback};
use reach::behalf::client::Client;
use reach::behalf::{Asked, Server};
use reach::issued::{Issued, issued};
use zeroize::Zeroizing;

use crate::commands::Context;
use crate::commands::token::authenticate::{Proof, proof};
use crate::commands::token::{
    ClientArguments, ExchangeArguments, GetArguments, IssuerArguments, Wanted,
};
use crate::exit::Failure;
use crate::files;
use crate::https::Https;
use crate::span;

/// `aims token get` (RFC 6749 §4.4).
pub(crate) async fn get(context: &Context, args: &GetArguments) -> Result<(), Failure> {
    if args.at.at.is_some() {
        return at(context, args).await;
    }
    let scope = scope(&args.wanted);
    if let Some(client_id) = args.client_id.as_deref().filter(|_| args.user || args.device) {
        let (client, resources) = (&Client::public(client_id), &*args.wanted.resources);
        return behalf(context, args, Asked { client, resources, scope: &scope }).await;
    }
    let mut form = vec![("grant_type", GrantType::ClientCredentials.as_str())];
    wanted(&mut form, &args.wanted, &scope);
    show(context, &ask(context, &args.client, None, form).await?, &scope)
}

/// For a resource that says itself who gives tokens (RFC 9728).
async fn at(context: &Context, args: &GetArguments) -> Result<(), Failure> {
    let IssuerArguments { issuer, ca } = &args.client.issuer;
    let https = match ca {
        Some(ca) => Https::trusting(ca)?,
        None => Https::own_or_system(&context.place.ca())?,
    };
    let (client_id, issuer) = (args.client_id.as_deref(), issuer.as_deref());
    let (device, scopes) = (args.device, &*args.wanted.scopes);
    let wish = Wish { at: &args.at, client_id, issuer, device, scopes };
    if args.at.is_by_identity(client_id) {
        let Found { https, issuer, resource, scope } = reach::at::find(&https, wish).await?;
        let mut form = vec![("grant_type", GrantType::ClientCredentials.as_str())];
        form.push(("resource", resource.as_str()));
        form.extend(Some(("scope", scope.as_str())).filter(|(_, scope)| !scope.is_empty()));
        let found = Some((https, issuer.as_str()));
        return show(context, &ask(context, &args.client, found, form).await?, &scope);
    }
    let Got { answer, scope } = reach::at::get(&https, context.output, wish).await?;
    show(context, &issued(&answer)?, &scope)
}

/// In a person's name. What they must do is told beside the token, not on stdout.
async fn behalf(context: &Context, args: &GetArguments, asked: Asked<'_>) -> Result<(), Failure> {
    let arguments = &args.client.issuer;
    let issuer = context.place.issuer(arguments.issuer.as_deref())?;
    let server = Server::find(arguments.https(context)?, issuer, args.bearer).await?;
    let tell = |text: &str| context.output.ask(text);
    let answer = match args.user {
        true => {
            let back = Callback::bind(BACK, None).await?;
            let told = |url: &str| tell(&format!("open in a browser: {url}"));
            server.by_browser(asked, &back, told).await?
        }
        false => {
            let told = |device: &DeviceResponse| {
                let DeviceResponse { user_code, verification_uri, .. } = device;
                tell(&format!("go to {verification_uri} and type {user_code}"));
            };
            server.by_device(asked, told).await?
        }
    };
    show(context, &issued(&answer)?, asked.scope)?;
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
    show(context, &ask(context, &args.client, None, form).await?, &scope)
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

/// `found`: the server that a resource named, and what it is reached by.
async fn ask(
    context: &Context,
    client: &ClientArguments,
    found: Option<(Https, &str)>,
    mut form: Vec<(&str, &str)>,
) -> Result<Issued, Failure> {
    let (https, issuer) = match found {
        Some((https, issuer)) => (https, Some(issuer)),
        None => (client.issuer.https(context)?, client.issuer.issuer.as_deref()),
    };
    let issuer = context.place.issuer(issuer)?;
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

/// `asked`: the scope that a token has whose answer says none.
fn show(context: &Context, issued: &Issued, asked: &str) -> Result<(), Failure> {
    let answer = &issued.answer;
    context.output.show(answer, || format!("{}\n", answer.access_token))?;
    // RFC 6749 §5.1: `scope` is "OPTIONAL, if identical to the scope requested by the client".
    let scopes = answer.scope.as_ref().map_or_else(|| asked.to_owned(), ToString::to_string);
    let scopes = if scopes.is_empty() { "no scope".to_owned() } else { scopes };
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
