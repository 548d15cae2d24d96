//! The metadata service of a cloud, which tells a machine about itself: plain HTTP at a link-local
//! address that no cloud routes (the pure halves are `attestation::{aws_iid, azure_imds}` and
//! `attestation::platform_token`).
//!
//! Trusting it means: whoever can open a connection on this machine can ask the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where clouds have it.
pub const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an answer may take, the connection included.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// A metadata service.
#[derive(Clone, Copy, Debug)]
pub struct Metadata(pub SocketAddr);

impl Metadata {
    /// Google's ID token of this instance for `audience`, with the instance in it.
    pub async fn google_token(&self, audience: &str) -> Result<Vec<u8>, MetadataError> {
        let audience = escaped(audience);
        let path = format!(
            "/computeMetadata/v1/instance/service-accounts/default/identity?audience={audience}\
             &format=full"
        );
        self.ask(Method::GET, &path, ("metadata-flavor", "Google")).await
    }

    /// Amazon's document about this instance, as the payload of `aws_iid` (IMDSv2).
    pub async fn amazon_document(&self) -> Result<Vec<u8>, MetadataError> {
        let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let session = self.text(Method::PUT, "/latest/api/token", lifetime).await?;
        let header = ("x-aws-ec2-metadata-token", session.as_str());
        let part = async |name: &str| {
            let path = format!("/latest/dynamic/instance-identity/{name}");
            self.text(Method::GET, &path, header).await
        };
        let evidence = attestation::aws_iid::Evidence {
            document: part("document").await?,
            signature: part("signature").await?,
            rsa2048: part("rsa2048").await?,
        };
        serde_json::to_vec(&evidence).map_err(|_| MetadataError::Senseless)
    }

    /// Azure's document about this machine with the server's nonce, as the response of
    /// `azure_imds`.
    pub async fn azure_document(
        &self,
        nonce: &[u8],
        domain: &str,
    ) -> Result<Vec<u8>, MetadataError> {
        let is_nonce = (1..=32).contains(&nonce.len()) && nonce.iter().all(u8::is_ascii_digit);
        let nonce = std::str::from_utf8(nonce).ok().filter(|_| is_nonce);
        let nonce = nonce.ok_or(MetadataError::Senseless)?;
        let path = format!("/metadata/attested/document?api-version=2021-02-01&nonce={nonce}");
        let answer = self.ask(Method::GET, &path, ("metadata", "true")).await?;
        let document = serde_json::from_slice(&answer).map_err(|_| MetadataError::Senseless)?;
        let metadata =
            attestation::azure_imds::Metadata { agent_domain: domain.to_owned(), vmss_name: None };
        let response = attestation::azure_imds::Response { document, metadata };
        serde_json::to_vec(&response).map_err(|_| MetadataError::Senseless)
    }

    async fn text(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
    ) -> Result<String, MetadataError> {
        let answer = self.ask(method, path, header).await?;
        String::from_utf8(answer).map_err(|_| MetadataError::Senseless)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
    ) -> Result<Vec<u8>, MetadataError> {
        let asked = timeout(ANSWER_TIME_MAX, self.ask_slowly(method, path, header)).await;
        asked.unwrap_or(Err(MetadataError::Late))
    }

    /// One connection a request. Redirects are not followed.
    async fn ask_slowly(
        &self,
        method: Method,
        path: &str,
        (name, value): (&str, &str),
    ) -> Result<Vec<u8>, MetadataError> {
        let unreachable = |error: &dyn std::fmt::Display| MetadataError::Unreachable {
            address: self.0,
            why: error.to_string(),
        };
        let stream = TcpStream::connect(self.0).await.map_err(|error| unreachable(&error))?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| unreachable(&error))?;
        let running = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.0.ip().to_string())
            .header(name, value)
            .body(Empty::<Bytes>::new())
            .map_err(|_| MetadataError::Senseless)?;
        let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(MetadataError::Refused { status: status.as_u16() });
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        running.abort();
        body.map(|body| body.to_bytes().to_vec()).map_err(|_| MetadataError::Senseless)
    }
}

/// RFC 3986 §2.1: everything but unreserved characters as `%XX`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Why the metadata service told nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Nobody is there.
    #[error("no metadata service at {address}: {why}")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// It took too long.
    #[error("the metadata service did not answer in time")]
    Late,
    /// It does not tell.
    #[error("the metadata service answered with status {status}")]
    Refused {
        /// The status.
        status: u16,
    },
    /// What it said, or what it was to be asked, makes no sense.
    #[error("the metadata service's answer makes no sense")]
    Senseless,
}
