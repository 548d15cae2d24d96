//! A client of the issuer's HTTPS origins, which trusts the authority in `ca.pem` and no other; and
//! of what is developed on this very machine, in plain HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use oauth::discovery::WebUrl;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::exit::Failure;
use crate::http1::{Answer, exchange};

/// How long connecting and the TLS handshake may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The authority and, where one is to be shown, the identity.
#[derive(Clone, Debug)]
pub struct Https {
    roots: Arc<RootCertStore>,
    identity: Option<Arc<Identity>>,
    public_only: bool,
}

/// A chain (DER, leaf first) and its key (PKCS #8).
pub struct Identity {
    /// The certificates.
    pub chain: Vec<Vec<u8>>,
    /// The key.
    pub key: workload::SecretBytes,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}

impl Https {
    /// A client that trusts the certificates of a PEM file.
    pub fn trusting(ca: &Path) -> Result<Self, Failure> {
        let hint =
            "name the authority of the issuer: `--ca FILE`; `aims up` leaves it in DIR/ca.pem";
        let text =
            std::fs::read_to_string(ca).map_err(|error| Failure::file(ca, error).hint(hint))?;
        let certificates = x509::CertificateDer::from_pem_many(&text)
            .map_err(|error| Failure::file(ca, error).hint(hint))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let added = roots.add(CertificateDer::from(certificate.into_bytes()));
            added.map_err(|error| Failure::file(ca, error).hint(hint))?;
        }
        Ok(Self { roots: Arc::new(roots), identity: None, public_only: false })
    }

    /// A client that trusts the authority in `own`, where that is, and else those of the system:
    /// whom anybody's browser trusts.
    pub fn own_or_system(own: &Path) -> Result<Self, Failure> {
        if own.exists() {
            return Self::trusting(own);
        }
        let mut roots = RootCertStore::empty();
        let texts =
            fetch::SYSTEM_FILES.iter().filter_map(|path| std::fs::read_to_string(path).ok());
        for text in texts.take(1) {
            let read = x509::CertificateDer::from_pem_many(&text).unwrap_or_default();
            let certificates = read.into_iter().map(|one| CertificateDer::from(one.into_bytes()));
            roots.add_parsable_certificates(certificates);
        }
        Ok(Self { roots: Arc::new(roots), identity: None, public_only: false })
    }

    /// The same client, for URLs that somebody else chose who is on the public Internet: it talks
    /// to nobody who is not.
    #[must_use]
    pub fn to_public(&self) -> Self {
        Self { public_only: true, ..self.clone() }
    }

    /// Whether whoever answers this URL is on the public Internet.
    pub async fn is_public(&self, url: &str) -> Result<bool, Failure> {
        let target = Target::parse(url)?;
        let addresses = self.addresses(&target).await.map_err(|error| unreachable(url, &error))?;
        Ok(addresses.iter().all(|address| fetch::is_public(address.ip())))
    }

    /// The same client, showing an identity where the server asks for one.
    pub fn with_identity(&self, identity: Identity) -> Self {
        Self { identity: Some(Arc::new(identity)), ..self.clone() }
    }

    /// Reads a document. Anything but 200 is a failure.
    pub async fn get(&self, url: &str) -> Result<Bytes, Failure> {
        let answer = self.send(Method::GET, url, Vec::new(), Bytes::new()).await?;
        if answer.status != http::StatusCode::OK {
            let status = answer.status;
            return Err(Failure::unavailable(format!("`{url}` answered {status}"))
                .hint("is it the issuer of this installation? `--issuer URL` names another"));
        }
        Ok(answer.body)
    }

    /// Sends a form (RFC 6749 §4.4.2: "using the "application/x-www-form-urlencoded" format").
    pub async fn post_form(
        &self,
        url: &str,
        form: &[(&str, &str)],
        mut fields: Vec<(&'static str, HeaderValue)>,
    ) -> Result<Answer, Failure> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form.iter().copied())
            .finish();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        fields.push((CONTENT_TYPE.as_str(), form));
        self.send(Method::POST, url, fields, Bytes::from(body)).await
    }

    /// Sends a JSON document.
    pub async fn post_json(&self, url: &str, document: String) -> Result<Answer, Failure> {
        let fields = vec![(CONTENT_TYPE.as_str(), HeaderValue::from_static("application/json"))];
        self.send(Method::POST, url, fields, Bytes::from(document)).await
    }

    /// Sends any request.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        fields: Vec<(&'static str, HeaderValue)>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let target = Target::parse(url)?;
        let mut request = Request::builder()
            .method(method)
            .uri(&target.path)
            .header(HOST, &target.authority)
            .header(ACCEPT, "application/json");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(Failure::misused)?;
        let connected = tokio::time::timeout(CONNECT_TIME_MAX, self.connect(&target)).await;
        let stream = connected.map_err(|_| {
            let seconds = CONNECT_TIME_MAX.as_secs();
            unreachable(url, &format!("no connection within {seconds} seconds"))
        })?;
        let answer = match stream.map_err(|error| unreachable(url, &error))? {
            Stream::Tls(stream) => exchange(stream, request).await,
            Stream::Plain(stream) => exchange(stream, request).await,
        };
        answer.map_err(|error| unreachable(url, &error))
    }

    async fn connect(&self, target: &Target) -> std::io::Result<Stream> {
        let addresses = self.addresses(target).await?;
        if target.is_plain {
            return Ok(Stream::Plain(TcpStream::connect(&addresses[..]).await?));
        }
        let config = self.config().map_err(std::io::Error::other)?;
        let name = ServerName::try_from(target.host.clone()).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(&addresses[..]).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Where the host is, as far as it may be called: the addresses that were looked at are those
    /// that are connected to.
    async fn addresses(&self, target: &Target) -> std::io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await?;
        let found: Vec<_> = found.collect();
        let may = |address: &&SocketAddr| {
            (!target.is_plain || address.ip().is_loopback())
                && (!self.public_only || fetch::is_public(address.ip()))
        };
        let addresses: Vec<_> = found.iter().filter(may).copied().collect();
        if addresses.is_empty() {
            let found: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
            let why = format!("{} may not be called for this", found.join(", "));
            return Err(std::io::Error::other(why));
        }
        Ok(addresses)
    }

    fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots));
        let Some(identity) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(identity.key.expose().to_vec());
        builder.with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))
    }
}

/// A connection.
enum Stream {
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// Where a URL leads.
struct Target {
    is_plain: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Target {
    fn parse(text: &str) -> Result<Self, Failure> {
        let misused = |why: &str| Failure::misused(format!("`{text}`: {why}"));
        let url = Url::parse(text).map_err(|error| misused(&error.to_string()))?;
        let is_plain = url.scheme() == "http" && WebUrl::parse(text).is_ok();
        if url.scheme() != "https" && !is_plain {
            return Err(misused("only https is spoken, and http with this machine"));
        }
        let host = url.host_str().ok_or_else(|| misused("no host"))?;
        let port = url.port_or_known_default().unwrap_or(443);
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { is_plain, host, port, authority, path })
    }
}

fn unreachable(url: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::unavailable(format!("`{url}`: {why}")).hint(
        "is the server running? `aims doctor` tells; `--issuer URL` and `--ca FILE` name another",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_it_stands() {
        let check = |url: &str, expect: (&str, u16, &str, &str)| {
            let Target { host, port, authority, path, .. } = Target::parse(url).ok().unwrap();
            assert_eq!((host.as_str(), port, authority.as_str(), path.as_str()), expect, "{url}");
        };
        check("https://localhost:8443/token", ("localhost", 8443, "localhost:8443", "/token"));
        check("https://as.example", ("as.example", 443, "as.example", "/"));
        check("https://[::1]:1/a?b=c", ("::1", 1, "[::1]:1", "/a?b=c"));
        check("http://localhost:3000/mcp", ("localhost", 3_000, "localhost:3000", "/mcp"));
        assert!(Target::parse("http://as.example/").is_err());
        assert!(Target::parse("ftp://localhost/").is_err());
        assert!(Target::parse("localhost").is_err());
    }

    #[tokio::test]
    async fn who_is_on_the_internet_does_not_lead_home() {
        let https =
            Https { roots: Arc::new(RootCertStore::empty()), identity: None, public_only: false };
        let refused = |failure: Failure| failure.problem().message.contains("may not be called");
        for url in ["https://127.0.0.1:1/", "https://10.0.0.1:1/", "https://[::1]:1/"] {
            assert_eq!(https.is_public(url).await.ok(), Some(false), "{url}");
            assert!(refused(https.to_public().get(url).await.unwrap_err()), "{url}");
        }
        assert_eq!(https.is_public("https://9.9.9.9/").await.ok(), Some(true));
        assert!(!refused(https.get("http://127.0.0.1:1/").await.unwrap_err()));
    }

    #[test]
    fn an_authority_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert_eq!(Https::trusting(&file).unwrap_err().problem().outcome.exit_code(), 2);
        std::fs::write(&file, "no certificate").unwrap();
        assert!(
            Https::trusting(&file).unwrap_err().problem().hint.clone().unwrap().contains("--ca")
        );
    }
}
