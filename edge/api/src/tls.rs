//! TLS of the two origins: 1.3 alone, a certificate that can be replaced while connections stand;
//! at the second origin a client certificate that is demanded, but judged elsewhere.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme, WantsVerifier,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509::CHAIN_CERTIFICATES_MAX;

/// The name of HTTP/2 in TLS (RFC 9113 §3.2).
pub(crate) const HTTP2: &[u8] = b"h2";
/// The protocols that are spoken, best first.
const PROTOCOLS: &[&[u8]] = &[HTTP2, b"http/1.1"];

/// A certificate that is replaced in place: handshakes from then on use the new one, connections
/// that stand are left alone.
pub struct Certificates(RwLock<Arc<CertifiedKey>>);

impl Certificates {
    /// Begins with this certificate.
    pub fn new(certificate: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(certificate))))
    }

    /// Uses this one from now on.
    pub fn replace(&self, certificate: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates(..)")
    }
}

/// TLS of the issuer's origin: no client certificate is asked for.
pub fn public(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, TlsFault> {
    let (builder, _) = builder()?;
    Ok(finish(builder.with_no_client_auth().with_cert_resolver(certificates)))
}

/// TLS of the second origin: a client certificate is demanded.
pub fn mutual(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, TlsFault> {
    let (builder, algorithms) = builder()?;
    let clients = Arc::new(UnverifiedClientCertificates(algorithms));
    Ok(finish(builder.with_client_cert_verifier(clients).with_cert_resolver(certificates)))
}

/// The TLS library refuses its own defaults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tls cannot be set up: {why}")]
pub struct TlsFault {
    /// What it said.
    pub why: String,
}

type Builder = ConfigBuilder<ServerConfig, WantsVerifier>;

fn builder() -> Result<(Builder, WebPkiSupportedAlgorithms), TlsFault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsFault { why: error.to_string() })?;
    Ok((builder, algorithms))
}

/// A resumed session carries the certificates of its first handshake past every check that was
/// tightened since, so there are none (docs/past-defects.md 24).
fn finish(mut config: ServerConfig) -> Arc<ServerConfig> {
    // RFC 8446 §4.6.1: "it MAY send a NewSessionTicket message": it sends none.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Takes any chain that can be read, of anybody, valid or not: **what it lets through proves only
/// that the client has the key of the leaf**. Whoever uses the chain verifies it: the token flow,
/// against the bundle of the trust domain (draft-ietf-oauth-spiffe-client-auth §6), for which the
/// lists of the system say nothing.
#[derive(Debug)]
pub struct UnverifiedClientCertificates(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for UnverifiedClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= CHAIN_CERTIFICATES_MAX {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        for certificate in std::iter::once(end_entity).chain(intermediates) {
            x509::Certificate::parse(certificate)
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // RFC 8446 §4.4.3: "The receiver of a CertificateVerify message MUST verify the signature
        // field." This one check is not left to anybody else, for nobody else could make it.
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
