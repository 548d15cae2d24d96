//! Tokens in a person's name, for a program without a server: by their browser (RFC 6749 §4.1,
//! RFC 8252), or by another device of theirs (RFC 8628).
//!
//! In scope: discovery of any issuer, PKCE, pushed requests where the server takes them, the
//! redirect to a port of this machine, and a key of DPoP that lives as long as the command. Not
//! here: what the server shows, and what is done with the token.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use http::{HeaderValue, StatusCode};
use jose::{Algorithm, NumericDate, PrivateKey, TokenHash};
use oauth::authorization_response::{Received, ResponseRefused, receive};
use oauth::device::DeviceResponse;
use oauth::dpop::{DpopClaims, FIELD, NONCE_FIELD, ProofInput};
use oauth::form::Form;
use oauth::metadata::{Metadata, MetadataError, WELL_KNOWN, WELL_KNOWN_OPENID};
use oauth::pkce::CodeVerifier;
use oauth::pushed::PushedResponse;
use oauth::token_request::GrantType;
use oauth::{Issuer, Resource, TokenId};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wiring::world::SystemClock;

use crate::exit::Failure;
use crate::http1::Answer;
use crate::https::Https;

/// How long somebody may take in their browser.
const BROWSER_TIME_MAX: Duration = Duration::from_secs(600);
/// How long a browser may take to say what it wants.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of what a browser says.
const REQUEST_BYTES_MAX: usize = 16 * 1_024;
/// The path that browsers are sent back to.
const BACK: &str = "/callback";
/// RFC 8628 §3.2: "If no value is provided, clients MUST use 5 as the default."
const INTERVAL: Duration = Duration::from_secs(5);
/// RFC 8628 §3.5: "the interval MUST be increased by 5 seconds for this and all subsequent
/// requests."
const SLOWER: Duration = Duration::from_secs(5);
/// How long a device may be waited for, whatever the server says.
const DEVICE_SECONDS_MAX: u64 = 3_600;

/// What is asked for, by whom.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// A public client.
    pub client_id: &'a str,
    /// Whom the token is for.
    pub resources: &'a [Resource],
    /// `scope`, empty where none is named.
    pub scope: &'a str,
}

/// An authorization server that was found.
#[derive(Debug)]
pub struct Server {
    https: Https,
    issuer: Issuer,
    metadata: Metadata,
    key: Option<Key>,
}

impl Server {
    /// Finds the server of this issuer. `bearer`: no key, even where the server takes one.
    pub async fn find(https: Https, issuer: Issuer, bearer: bool) -> Result<Self, Failure> {
        let metadata = discover(&https, &issuer).await?;
        let algorithm = Algorithm::Es256.as_str();
        let takes = &metadata.dpop_signing_alg_values_supported;
        let binds = !bearer && takes.iter().any(|one| one == algorithm);
        let key = if binds { Some(Key::new()?) } else { None };
        Ok(Self { https, issuer, metadata, key })
    }

    /// Whether what it gives is bound to a key that ends with this command.
    pub const fn is_bound(&self) -> bool {
        self.key.is_some()
    }

    /// By the browser of whoever sits here: `tell` is given the URL to open. The answer of the
    /// token endpoint.
    pub async fn by_browser(
        &self,
        asked: Asked<'_>,
        tell: impl Fn(&str),
    ) -> Result<Answer, Failure> {
        let Some(endpoint) = &self.metadata.authorization_endpoint else {
            return Err(self.lacks("authorization_endpoint"));
        };
        // RFC 8252 §7.3: "the loopback IP redirect URI"; "MUST allow any port".
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(|error| Failure::unavailable(&error))?;
        let port = listener.local_addr().map_err(|error| Failure::unavailable(&error))?.port();
        let back = format!("http://127.0.0.1:{port}{BACK}");
        let (state, verifier) = (random()?, random()?);
        let verifier = CodeVerifier::parse(&verifier)
            .map_err(|error| Failure::unavailable(format!("a verifier: {error}")))?;
        let query = self.request(asked, &back, &state, &verifier).await?;
        let mark = if endpoint.as_str().contains('?') { '&' } else { '?' };
        tell(&format!("{}{mark}{query}", endpoint.as_str()));
        let waited = tokio::time::timeout(BROWSER_TIME_MAX, self.wait(&listener, &state)).await;
        let code = waited.map_err(|_| {
            let minutes = BROWSER_TIME_MAX.as_secs() / 60;
            Failure::unavailable(format!("nobody answered in a browser within {minutes} minutes"))
        })??;
        let mut form = vec![
            ("grant_type", GrantType::AuthorizationCode.as_str()),
            ("code", code.as_str()),
            ("redirect_uri", &back),
            ("code_verifier", verifier.expose()),
            ("client_id", asked.client_id),
        ];
        form.extend(asked.resources.iter().map(|one| ("resource", one.as_str())));
        self.post(self.metadata.token_endpoint.as_str(), &form).await
    }

    /// By another device: `tell` is given where to go and what to type there.
    pub async fn by_device(
        &self,
        asked: Asked<'_>,
        tell: impl Fn(&DeviceResponse),
    ) -> Result<Answer, Failure> {
        let Some(endpoint) = &self.metadata.extensions.device_authorization_endpoint else {
            return Err(self.lacks("device_authorization_endpoint"));
        };
        let mut form = vec![("client_id", asked.client_id)];
        form.extend(asked.of());
        let answer = self.post(endpoint.as_str(), &form).await?;
        if answer.status != StatusCode::OK {
            return Ok(answer);
        }
        let device: DeviceResponse = read(&answer)?;
        tell(&device);
        let seconds = device.expires_in.min(DEVICE_SECONDS_MAX);
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut interval = device
            .interval
            .map_or(INTERVAL, |seconds| Duration::from_secs(seconds.clamp(1, DEVICE_SECONDS_MAX)));
        let form = [
            ("grant_type", GrantType::DeviceCode.as_str()),
            ("device_code", device.device_code.as_str()),
            ("client_id", asked.client_id),
        ];
        loop {
            tokio::time::sleep(interval).await;
            let answer = self.post(self.metadata.token_endpoint.as_str(), &form).await?;
            match error_of(&answer).as_deref() {
                Some("authorization_pending") => {}
                Some("slow_down") => interval += SLOWER,
                _ => return Ok(answer),
            }
            if Instant::now() >= until {
                return Err(Failure::unavailable("nobody answered on another device in time"));
            }
        }
    }

    /// The query that the browser carries: all of it, or the reference of what was pushed.
    async fn request(
        &self,
        asked: Asked<'_>,
        back: &str,
        state: &str,
        verifier: &CodeVerifier,
    ) -> Result<String, Failure> {
        let (challenge, bound) = (verifier.challenge().to_base64url(), self.thumbprint());
        let mut all = vec![
            ("response_type", "code"),
            ("client_id", asked.client_id),
            ("redirect_uri", back),
            ("state", state),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", oauth::pkce::METHOD),
        ];
        all.extend(asked.of());
        all.extend(bound.iter().map(|key| ("dpop_jkt", key.as_str())));
        let Some(endpoint) = &self.metadata.extensions.pushed_authorization_request_endpoint else {
            return Ok(encoded(&all));
        };
        let answer = self.post(endpoint.as_str(), &all).await?;
        if !answer.status.is_success() {
            let error = error_of(&answer).unwrap_or_else(|| answer.status.to_string());
            return Err(Failure::refused(&format!("oauth::{error}"), told(&answer, &error)));
        }
        let pushed: PushedResponse = read(&answer)?;
        let reference = pushed.request_uri.as_str();
        Ok(encoded(&[("client_id", asked.client_id), ("request_uri", reference)]))
    }

    /// Waits for the browser that comes back with our `state`. Other programs may knock at the
    /// port, too: they are turned away.
    async fn wait(&self, listener: &TcpListener, state: &str) -> Result<oauth::TokenText, Failure> {
        loop {
            let accepted = listener.accept().await;
            let (mut stream, _) = accepted.map_err(|error| Failure::unavailable(&error))?;
            let asked = tokio::time::timeout(REQUEST_TIME_MAX, asked_for(&mut stream)).await;
            let Ok(Some(query)) = asked else {
                answer(&mut stream, "404 Not Found", "nothing is here\n").await;
                continue;
            };
            let promised = self.metadata.authorization_response_iss_parameter_supported;
            let received = Form::parse(query.as_bytes())
                .map_err(|_| ResponseRefused::NotOne)
                .and_then(|form| receive(&form, state, &self.issuer, promised));
            match received {
                Ok(Received::Code(code)) => {
                    answer(&mut stream, "200 OK", "done: this page can be closed\n").await;
                    return Ok(code);
                }
                Ok(Received::Error(error)) => {
                    answer(&mut stream, "200 OK", "refused: the terminal says why\n").await;
                    return Err(Failure::refused(&format!("oauth::{error}"), &error));
                }
                Err(ResponseRefused::WrongState) => {
                    answer(&mut stream, "400 Bad Request", "not what was asked for here\n").await;
                }
                Err(refused) => {
                    answer(&mut stream, "400 Bad Request", "the answer is not believed\n").await;
                    return Err(Failure::refused("oauth::Response", &refused));
                }
            }
        }
    }

    /// Sends a form, with a proof of our key where there is one; again, where the server wants its
    /// nonce in it (RFC 9449 §8).
    async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        let Some(key) = &self.key else { return self.https.post_form(url, form, Vec::new()).await };
        let answer = self.https.post_form(url, form, vec![key.proof(url)?]).await?;
        key.hear(&answer);
        if error_of(&answer).as_deref() != Some("use_dpop_nonce") {
            return Ok(answer);
        }
        let answer = self.https.post_form(url, form, vec![key.proof(url)?]).await?;
        key.hear(&answer);
        Ok(answer)
    }

    fn thumbprint(&self) -> Option<String> {
        self.key.as_ref().map(|key| key.key.public().thumbprint().to_base64url())
    }

    fn lacks(&self, what: &str) -> Failure {
        let message = format!("`{}` has no `{what}`", self.issuer.as_str());
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

/// A key that ends with the command, and the nonce that the server gave last.
#[derive(Debug)]
struct Key {
    key: PrivateKey,
    nonce: Mutex<Option<String>>,
}

impl Key {
    fn new() -> Result<Self, Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::unavailable(format!("a key: {why}"));
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let made = made.map_err(|error| failed(&error))?;
        let key = PrivateKey::from_pkcs8(made.as_ref()).map_err(|error| failed(&error))?;
        Ok(Self { key, nonce: Mutex::new(None) })
    }

    /// The field that proves the key for one `POST`.
    fn proof(&self, url: &str) -> Result<(&'static str, HeaderValue), Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::unavailable(format!("a proof: {why}"));
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let claims = DpopClaims {
            jti: TokenId::parse(&random()?).map_err(|error| failed(&error))?,
            htm: "POST".to_owned(),
            htu: url.to_owned(),
            iat: NumericDate::from_time(SystemClock::read()),
            ath: None,
            nonce,
            exp: None,
            nbf: None,
        };
        let input = ProofInput::new(self.key.public(), Algorithm::Es256, &claims);
        let input = input.map_err(|error| failed(&error))?;
        let signature = self.key.sign(input.bytes());
        let value = HeaderValue::try_from(input.attach(&signature));
        Ok((FIELD, value.map_err(|error| failed(&error))?))
    }

    /// RFC 9449 §8.2: "the client [...] MUST use the new nonce value supplied for the next DPoP
    /// proof".
    fn hear(&self, answer: &Answer) {
        let given = answer.headers.get(NONCE_FIELD).and_then(|value| value.to_str().ok());
        if let Some(given) = given {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(given.to_owned());
        }
    }
}

/// RFC 8414 §3, and what OpenID Connect Discovery 1.0 §4 calls it: the first that is there.
async fn discover(https: &Https, issuer: &Issuer) -> Result<Metadata, Failure> {
    let appended =
        format!("{}/.well-known/{WELL_KNOWN_OPENID}", issuer.as_str().trim_end_matches('/'));
    let urls =
        [issuer.well_known_url(WELL_KNOWN), issuer.well_known_url(WELL_KNOWN_OPENID), appended];
    let mut last = None;
    for url in urls {
        match https.get(&url).await {
            Ok(document) => {
                let text = String::from_utf8_lossy(&document);
                return Metadata::parse(&text, issuer).map_err(|error| unfit(&url, &error));
            }
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::unavailable("no metadata")))
}

fn unfit(url: &str, error: &MetadataError) -> Failure {
    Failure::unavailable(format!("`{url}`: {error}"))
        .hint("an issuer is named exactly as its metadata has it: `--issuer URL`")
}

/// 32 random bytes, as text.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|error| Failure::unavailable(format!("no random bytes: {error}")))?;
    Ok(TokenHash::from_bytes(bytes).to_base64url())
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::unavailable(format!("the answer of the server: {error}")))
}

/// The error answer of RFC 6749 §5.2.
#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

fn error_of(answer: &Answer) -> Option<String> {
    if answer.status.is_success() {
        return None;
    }
    serde_json::from_slice::<Told>(&answer.body).ok().map(|told| told.error)
}

fn told(answer: &Answer, error: &str) -> String {
    let told = serde_json::from_slice::<Told>(&answer.body).ok();
    match told.and_then(|told| told.error_description) {
        Some(description) => format!("{error}: {description}"),
        None => error.to_owned(),
    }
}

/// The query that a browser comes back with; `None` for any other request.
async fn asked_for(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut buffer = [0; 1_024];
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        read.extend_from_slice(buffer.get(..count)?);
        if read.len() > REQUEST_BYTES_MAX {
            return None;
        }
    }
    of_request(std::str::from_utf8(&read).ok()?)
}

fn of_request(text: &str) -> Option<String> {
    let line = text.split("\r\n").next()?;
    let target = line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    target.strip_prefix(BACK)?.strip_prefix('?').map(str::to_owned)
}

/// Whether the browser hears it changes nothing.
async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let length = text.len();
    let page = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n\
         cache-control: no-store\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    );
    drop(stream.write_all(page.as_bytes()).await);
    drop(stream.shutdown().await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8252_7_3_only_the_browser_that_comes_back_is_heard() {
        for (text, expect) in [
            ("GET /callback?code=a&state=b HTTP/1.1\r\nhost: x\r\n\r\n", Some("code=a&state=b")),
            ("GET /callback HTTP/1.1\r\n\r\n", None),
            ("GET /favicon.ico HTTP/1.1\r\n\r\n", None),
            ("GET /callbacks?code=a HTTP/1.1\r\n\r\n", None),
            ("POST /callback?code=a HTTP/1.1\r\n\r\n", None),
            ("GET /callback?code=a HTTP/2\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(of_request(text).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn rfc9449_4_2_a_proof_is_one_that_servers_take() {
        let key = Key::new().ok().unwrap();
        *key.nonce.lock().unwrap() = Some("given".to_owned());
        let url = "https://as.example/token";
        let (name, value) = key.proof(url).ok().unwrap();
        assert_eq!(name, "dpop");
        let proof = oauth::dpop::Proof::of_field([value.as_bytes()], &[Algorithm::Es256]).unwrap();
        assert_eq!(proof.thumbprint(), key.key.public().thumbprint());
        let expected = oauth::dpop::Expected {
            method: "POST",
            uri: &oauth::dpop::target(url).unwrap(),
            freshness: oauth::dpop::Freshness::Clock {
                max_age: time::Span::from_seconds(60),
                skew: time::Span::from_seconds(60),
            },
            access_token: None,
        };
        proof.verify(&expected, SystemClock::read()).unwrap();
    }
}
