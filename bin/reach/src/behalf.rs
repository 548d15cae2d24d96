//! Tokens of any authorization server, for a program without a server: in a person's name, by their
//! browser (RFC 6749 §4.1, RFC 8252) or by another device of theirs (RFC 8628), again by a refresh
//! token (RFC 6749 §6); or the client's own, by its credentials or by an assertion (RFC 7523).
//!
//! In scope: discovery of any issuer, PKCE, pushed requests where the server takes them, the
//! redirect to a port of this machine, how clients authenticate, and keys of DPoP. Not here: which
//! server is asked as which client for which scope ([`crate::at`]), what the server shows, and what
//! is done with the token.

pub mod callback;
pub mod client;
pub mod key;

use std::time::{Duration, Instant};

use http::StatusCode;
use jose::{Algorithm, TokenHash};
use oauth::device::DeviceResponse;
use oauth::discovery::{DiscoveryError, FoundServer, WebUrl};
use oauth::pkce::CodeVerifier;
use oauth::pushed::PushedResponse;
use oauth::token_request::GrantType;
use oauth::{Issuer, Resource, TokenText};
use serde::Deserialize;

use crate::behalf::callback::Callback;
use crate::behalf::client::{Client, Shown};
use crate::behalf::key::Key;
use crate::exit::{Failure, said};
use crate::http1::Answer;
use crate::https::Https;
use crate::issued::bounded;

/// How long somebody may take in their browser.
const BROWSER_TIME_MAX: Duration = Duration::from_secs(600);
/// RFC 8628 §3.2: "If no value is provided, clients MUST use 5 as the default."
const INTERVAL: Duration = Duration::from_secs(5);
/// RFC 8628 §3.5: "the interval MUST be increased by 5 seconds for this and all subsequent
/// requests."
const SLOWER: Duration = Duration::from_secs(5);
/// The shortest time between two questions.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Bytes of what a person types.
const USER_CODE_BYTES_MAX: usize = 64;
/// Bytes of what stands for it at the server.
const DEVICE_CODE_BYTES_MAX: usize = jose::MAX_TOKEN_BYTES;
/// How long a device may be waited for, whatever the server says.
const DEVICE_SECONDS_MAX: u64 = 3_600;

/// The scope that asks for refresh tokens (OpenID Connect Core 1.0 §11).
pub const OFFLINE: &str = "offline_access";

/// What is asked for, by whom.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Whom the token is for.
    pub resources: &'a [Resource],
    /// `scope`, empty where none is named.
    pub scope: &'a str,
}

/// An authorization server that was found.
#[derive(Debug)]
pub struct Server {
    https: Https,
    document: FoundServer,
    key: Option<Key>,
}

impl Server {
    /// Finds the server of this issuer. `bearer`: no key, even where the server takes one.
    pub async fn find(https: Https, issuer: Issuer, bearer: bool) -> Result<Self, Failure> {
        let named = WebUrl::parse(issuer.as_str())
            .map_err(|error| Failure::misused(format!("`{}`: {error}", issuer.as_str())))?;
        let mut server = Self::at(https, &named).await?;
        if !bearer && server.binds() {
            server.key = Some(Key::new()?);
        }
        Ok(server)
    }

    /// Finds the server of this issuer, without a key.
    pub async fn at(https: Https, issuer: &WebUrl) -> Result<Self, Failure> {
        let document = discover(&https, issuer).await?;
        Ok(Self { https, document, key: None })
    }

    /// The same, with tokens bound to a key.
    #[must_use]
    pub fn with_key(self, key: Key) -> Self {
        Self { key: Some(key), ..self }
    }

    /// What it says of itself.
    pub const fn document(&self) -> &FoundServer {
        &self.document
    }

    /// Whether it binds tokens to keys such as ours.
    pub fn binds(&self) -> bool {
        let takes = &self.document.dpop_signing_alg_values_supported;
        takes.iter().any(|one| one == Algorithm::Es256.as_str())
    }

    /// Whether what it gives is bound to a key.
    pub const fn is_bound(&self) -> bool {
        self.key.is_some()
    }

    /// By the browser of whoever sits here: `tell` is given the URL to open. The answer of the
    /// token endpoint.
    pub async fn by_browser(
        &self,
        asked: Asked<'_>,
        back: &Callback,
        tell: impl Fn(&str),
    ) -> Result<Answer, Failure> {
        let Some(endpoint) = &self.document.authorization_endpoint else {
            return Err(self.lacks("authorization_endpoint"));
        };
        let (state, verifier) = (random()?, random()?);
        let verifier = CodeVerifier::parse(&verifier)
            .map_err(|error| Failure::unavailable(format!("a verifier: {error}")))?;
        let query = self.request(asked, back.uri(), &state, &verifier).await?;
        let mark = if endpoint.as_str().contains('?') { '&' } else { '?' };
        tell(&format!("{}{mark}{query}", endpoint.as_str()));
        let promised = self.document.authorization_response_iss_parameter_supported;
        let waited = back.wait(&state, self.document.issuer.as_str(), promised);
        let code = tokio::time::timeout(BROWSER_TIME_MAX, waited).await.map_err(|_| {
            let minutes = BROWSER_TIME_MAX.as_secs() / 60;
            Failure::unavailable(format!("nobody answered in a browser within {minutes} minutes"))
        })??;
        let mut form = vec![
            ("grant_type", GrantType::AuthorizationCode.as_str()),
            ("code", code.as_str()),
            ("redirect_uri", back.uri()),
            ("code_verifier", verifier.expose()),
        ];
        form.extend(asked.resources.iter().map(|one| ("resource", one.as_str())));
        self.post(self.document.token_endpoint.as_str(), asked.client, &form).await
    }

    /// By another device: `tell` is given where to go and what to type there.
    pub async fn by_device(
        &self,
        asked: Asked<'_>,
        tell: impl Fn(&DeviceResponse),
    ) -> Result<Answer, Failure> {
        let Some(endpoint) = &self.document.device_authorization_endpoint else {
            return Err(self.lacks("device_authorization_endpoint"));
        };
        let answer = self.post(endpoint.as_str(), asked.client, &asked.of()).await?;
        if answer.status != StatusCode::OK {
            return Ok(answer);
        }
        let device: DeviceResponse = read(&answer)?;
        fits(&device)?;
        tell(&device);
        let seconds = device.expires_in.min(DEVICE_SECONDS_MAX);
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut interval = device
            .interval
            .map_or(INTERVAL, |seconds| Duration::from_secs(seconds).max(INTERVAL_MIN));
        let form = [
            ("grant_type", GrantType::DeviceCode.as_str()),
            ("device_code", device.device_code.as_str()),
        ];
        loop {
            // However long a server has its clients wait: the code ends in time, and so do they.
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::unavailable("nobody answered on another device in time"));
            }
            tokio::time::sleep(interval.min(left)).await;
            let endpoint = self.document.token_endpoint.as_str();
            let answer = self.post(endpoint, asked.client, &form).await?;
            match error_of(&answer).as_deref() {
                Some("authorization_pending") => {}
                Some("slow_down") => interval = interval.saturating_add(SLOWER),
                _ => return Ok(answer),
            }
        }
    }

    /// By a refresh token of this server.
    pub async fn by_refresh(
        &self,
        asked: Asked<'_>,
        refresh: &TokenText,
    ) -> Result<Answer, Failure> {
        let mut form = vec![
            ("grant_type", GrantType::RefreshToken.as_str()),
            ("refresh_token", refresh.as_str()),
        ];
        form.extend(asked.of());
        self.post(self.document.token_endpoint.as_str(), asked.client, &form).await
    }

    /// On the client's own behalf (RFC 6749 §4.4).
    pub async fn by_itself(&self, asked: Asked<'_>) -> Result<Answer, Failure> {
        let mut form = vec![("grant_type", GrantType::ClientCredentials.as_str())];
        form.extend(asked.of());
        self.post(self.document.token_endpoint.as_str(), asked.client, &form).await
    }

    /// By an assertion of somebody whom the server believes (RFC 7523 §2.1). `client`: nobody where
    /// its identifier is empty.
    pub async fn by_assertion(
        &self,
        asked: Asked<'_>,
        assertion: &TokenText,
    ) -> Result<Answer, Failure> {
        let mut form =
            vec![("grant_type", GrantType::JwtBearer.as_str()), ("assertion", assertion.as_str())];
        form.extend(asked.of());
        self.post(self.document.token_endpoint.as_str(), asked.client, &form).await
    }

    /// A registration (RFC 7591 §3.1), and what came back.
    pub(crate) async fn register(&self, url: &str, document: String) -> Result<Answer, Failure> {
        self.https.post_json(url, document).await
    }

    /// The query that the browser carries: all of it, or the reference of what was pushed.
    async fn request(
        &self,
        asked: Asked<'_>,
        back: &str,
        state: &str,
        verifier: &CodeVerifier,
    ) -> Result<String, Failure> {
        let bound = self.key.as_ref().map(Key::thumbprint);
        let (challenge, id) = (verifier.challenge().to_base64url(), asked.client.id.as_str());
        let mut all = vec![
            ("response_type", "code"),
            ("redirect_uri", back),
            ("state", state),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", oauth::pkce::METHOD),
        ];
        all.extend(asked.of());
        all.extend(bound.iter().map(|key| ("dpop_jkt", key.as_str())));
        // OpenID Connect Core 1.0 §11: "When offline access is requested, a prompt parameter value
        // of consent MUST be used unless other conditions" are in place.
        if asked.scope.split(' ').any(|scope| scope == OFFLINE) {
            all.push(("prompt", "consent"));
        }
        let Some(endpoint) = &self.document.pushed_authorization_request_endpoint else {
            all.push(("client_id", id));
            return Ok(encoded(&all));
        };
        // RFC 9126 §2.1: the client authenticates there as it does at the token endpoint, and
        // `client_id` is one of the pushed parameters.
        if asked.client.names_itself() {
            all.push(("client_id", id));
        }
        let answer = self.post(endpoint.as_str(), asked.client, &all).await?;
        if !answer.status.is_success() {
            let error = error_of(&answer).unwrap_or_else(|| answer.status.to_string());
            return Err(Failure::refused(&format!("oauth::{error}"), told(&answer, &error)));
        }
        let pushed: PushedResponse = read(&answer)?;
        Ok(encoded(&[("client_id", id), ("request_uri", pushed.request_uri.as_str())]))
    }

    /// Sends a form as `client`, with a proof of our key where there is one; again, where the
    /// server wants its nonce in it (RFC 9449 §8).
    async fn post(
        &self,
        url: &str,
        client: &Client,
        form: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let answer = self.post_once(url, client, form).await?;
        let again = self.key.is_some() && error_of(&answer).as_deref() == Some("use_dpop_nonce");
        if again { self.post_once(url, client, form).await } else { Ok(answer) }
    }

    async fn post_once(
        &self,
        url: &str,
        client: &Client,
        form: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let Shown { parameters, mut fields } = client.shown(self.document.issuer.as_str())?;
        let shown = parameters.iter().map(|(name, value)| (*name, value.as_str()));
        let form: Vec<_> = form.iter().copied().chain(shown).collect();
        if let Some(key) = &self.key {
            fields.push(key.proof(url)?);
        }
        let answer = self.https.post_form(url, &form, fields).await?;
        if let Some(key) = &self.key {
            key.hear(&answer);
        }
        Ok(answer)
    }

    fn lacks(&self, what: &str) -> Failure {
        let message = format!("`{}` has no `{what}`", self.document.issuer);
        Failure::refused("oauth::Metadata", message)
    }
}

impl<'a> Asked<'a> {
    /// The parameters of what is asked for.
    fn of(&self) -> Vec<(&'static str, &'a str)> {
        let resources = self.resources.iter().map(|one| ("resource", one.as_str()));
        let scope = Some(("scope", self.scope)).filter(|(_, scope)| !scope.is_empty());
        resources.chain(scope).collect()
    }
}

/// RFC 8414 §3, and what OpenID Connect Discovery 1.0 §4 calls it: the first that is there.
async fn discover(https: &Https, issuer: &WebUrl) -> Result<FoundServer, Failure> {
    let mut last = None;
    for url in issuer.server_metadata_urls() {
        match https.get(&url).await {
            Ok(document) => {
                let text = String::from_utf8_lossy(&document);
                return FoundServer::parse(&text, issuer).map_err(|error| unfit(&url, &error));
            }
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::unavailable("no metadata")))
}

/// What a person is told to open and to type.
fn fits(device: &DeviceResponse) -> Result<(), Failure> {
    bounded("user_code", &device.user_code, USER_CODE_BYTES_MAX)?;
    bounded("device_code", &device.device_code, DEVICE_CODE_BYTES_MAX)?;
    // RFC 8628 §3.2: "The end-user verification URI on the authorization server." People sign in
    // there: by TLS, or on this very machine.
    WebUrl::parse(&device.verification_uri).map_err(|error| {
        let message = format!("`verification_uri` of `{}`: {error}", device.verification_uri);
        Failure::refused("oauth::Answer", message).of_others()
    })?;
    Ok(())
}

fn unfit(url: &str, error: &DiscoveryError) -> Failure {
    Failure::refused("oauth::Metadata", format!("`{url}`: {error}"))
        .of_others()
        .hint("an issuer is named exactly as its metadata has it: `--issuer URL`")
}

/// 32 random bytes, as text.
pub(crate) fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|error| Failure::unavailable(format!("no random bytes: {error}")))?;
    Ok(TokenHash::from_bytes(bytes).to_base64url())
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        Failure::unavailable(format!("the answer of the server: {error}")).of_others()
    })
}

/// The error answer of RFC 6749 §5.2.
#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// Its `error`, in a line, where it is such an answer.
pub(crate) fn error_of(answer: &Answer) -> Option<String> {
    if answer.status.is_success() {
        return None;
    }
    serde_json::from_slice::<Told>(&answer.body).ok().map(|told| said(&told.error))
}

/// What it says for people, in a line. RFC 6749 §5.2: "MUST NOT include characters outside the set
/// %x20-21 / %x23-5B / %x5D-7E": others say it in their own language.
pub(crate) fn told(answer: &Answer, error: &str) -> String {
    let told = serde_json::from_slice::<Told>(&answer.body).ok();
    match told.and_then(|told| told.error_description) {
        Some(description) => said(&format!("{error}: {description}")),
        None => error.to_owned(),
    }
}
