//! TLS of the gateway's listener: 1.3 alone, a certificate that can be replaced while connections
//! stand, certificates of clients collected but not judged, nothing resumed.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509::CHAIN_CERTIFICATES_MAX;

/// The protocols that are spoken, best first.
pub(crate) const PROTOCOLS: &[&[u8]] = &[HTTP2, b"http/1.1"];
/// The name of HTTP/2 in TLS (RFC 9113 §3.2).
pub(crate) const HTTP2: &[u8] = b"h2";

/// What the listener does in TLS. `certificate` is asked at each handshake.
pub fn server_config(
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, BadCertificate> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = UnverifiedClientCertificates::new(&provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| BadCertificate::Tls(why.to_string()))?
        .with_client_cert_verifier(Arc::new(clients))
        .with_cert_resolver(certificate);
    // A resumed session carries the certificates of its first handshake past every check that was
    // tightened since, so there are none.
    // RFC 8446 §4.6.1: the server "MAY send a NewSessionTicket message", or none.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A certificate that is replaced in place: handshakes from then on use the new one, connections
/// that stand are left alone.
pub struct Rotating(ArcSwap<CertifiedKey>);

impl Rotating {
    /// A chain (DER, leaf first) and its key (DER PKCS #8).
    pub fn new(chain: &[Vec<u8>], pkcs8: &[u8]) -> Result<Arc<Self>, BadCertificate> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified(chain, pkcs8)?))))
    }

    /// Uses another chain and key from now on; keeps the old ones if they cannot be used.
    pub fn replace(&self, chain: &[Vec<u8>], pkcs8: &[u8]) -> Result<(), BadCertificate> {
        self.0.store(Arc::new(certified(chain, pkcs8)?));
        Ok(())
    }
}

impl ResolvesServerCert for Rotating {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Rotating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rotating(..)")
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// The chain has no certificate.
    #[error("the chain is empty")]
    Empty,
    /// The key is no PKCS #8, of an unsupported kind, or another one than the certificate's.
    #[error("the key cannot be used with the certificate: {0}")]
    Key(String),
    /// The TLS library refuses its own defaults.
    #[error("tls cannot be set up: {0}")]
    Tls(String),
}

/// Takes any chain that can be read, of anybody, valid or not: **what it lets through proves only
/// that the client has the key of the leaf**. Whoever uses the certificates verifies them; they are
/// handed on with each request. A client that shows none is let through as well.
#[derive(Debug)]
pub struct UnverifiedClientCertificates(WebPkiSupportedAlgorithms);

impl UnverifiedClientCertificates {
    /// With the signature algorithms of `provider`.
    pub fn new(provider: &rustls::crypto::CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for UnverifiedClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        false
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
        // RFC 8446 §4.4.3: "Receiving endpoints MUST verify the signature" of CertificateVerify:
        // this one check is not left to anybody else, for nobody else could make it.
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn certified(chain: &[Vec<u8>], pkcs8: &[u8]) -> Result<CertifiedKey, BadCertificate> {
    if chain.is_empty() {
        return Err(BadCertificate::Empty);
    }
    let chain = chain.iter().map(|der| CertificateDer::from(der.as_slice()).into_owned());
    let key = PrivateKeyDer::Pkcs8(pkcs8.to_vec().into());
    CertifiedKey::from_der(chain.collect(), key, &aws_lc_rs::default_provider())
        .map_err(|why| BadCertificate::Key(why.to_string()))
}
