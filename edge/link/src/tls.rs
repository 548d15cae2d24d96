//! TLS 1.3 between components, both sides with X.509-SVIDs: what each shows, and what each asks of
//! the other (AUTHN-01).

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, ServerConfig,
    SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName};
use time::UnixTime;
use tls::{Clients, HTTP2, TlsFault};
use tokio::sync::watch;
use wimse::{Bundles, VerifiedWic, Wic, WicError, WorkloadId};
use x509::{CHAIN_CERTIFICATES_MAX, Certificate, Malformed, Purpose};

/// gRPC is HTTP/2.
const PROTOCOLS: &[&[u8]] = &[HTTP2];

/// The certificate that a component shows now, and its key. Clones are handles to the same cell:
/// what is replaced in one is shown by all, from the next handshake on.
#[derive(Clone)]
pub struct Presented(Arc<watch::Sender<Arc<CertifiedKey>>>);

impl Presented {
    /// Shows `first`: certificates in DER, leaf first, and the key of the leaf.
    pub fn new(first: CertifiedKey) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(first))))
    }

    /// Shows `next` from now on. Connections that are open keep what they were made with until
    /// their next request.
    pub fn replace(&self, next: CertifiedKey) {
        self.0.send_replace(Arc::new(next));
    }

    pub(crate) fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.borrow())
    }

    /// Tells when it is replaced.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<CertifiedKey>> {
        self.0.subscribe()
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// The server's side: shows what is presented, asks for a certificate, takes none for an answer.
pub(crate) fn server_config(presented: &Presented) -> Result<Arc<ServerConfig>, TlsFault> {
    tls::server_config(Arc::new(presented.clone()), Clients::Asked, PROTOCOLS)
}

/// The client's side of one connection: shows `own`, if it has one, and asks for the server that
/// `peer` describes.
pub(crate) fn client_config(
    own: Option<Arc<CertifiedKey>>,
    peer: ExpectedServer,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerCheck::of(peer, &provider)));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(Shown(own))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    // The name of the server is in its certificate and not in its address.
    config.enable_sni = false;
    Ok(config)
}

/// Reads the certificates of a handshake, leaf first.
pub(crate) fn read_chain(chain: &[CertificateDer<'_>]) -> Result<Vec<Certificate>, ChainFault> {
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return Err(ChainFault::TooLong { certificates: chain.len() });
    }
    chain.iter().map(|der| Ok(Certificate::parse(der)?)).collect()
}

/// Why the certificates of a handshake do not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Over the bound.
    #[error("a chain of {certificates} certificates; at most {CHAIN_CERTIFICATES_MAX} are read")]
    TooLong {
        /// How many.
        certificates: usize,
    },
    /// One of them is no certificate.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Which server a connection must lead to.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedServer {
    /// Exactly this one.
    pub(crate) id: WorkloadId,
    /// The newest bundles.
    pub(crate) trust: Arc<Bundles>,
    /// The time of the check.
    pub(crate) now: UnixTime,
}

impl ExpectedServer {
    /// Whether `chain` is the server's.
    pub(crate) fn check(&self, chain: &[Certificate]) -> Result<VerifiedWic, ServerFault> {
        let wic = Wic::verify(chain, &self.trust, Purpose::Server, self.now)?;
        // wimse-mutual-tls §3.2.1: without DNS names "the client MUST be configured with sufficient
        // information to determine the expected workload identity of the server and MUST validate
        // that identity before accepting the connection": the identifier, whole.
        if wic.workload_id() != &self.id {
            let (found, expected) = (wic.workload_id().clone(), self.id.clone());
            return Err(ServerFault::Other { found, expected });
        }
        Ok(wic)
    }
}

/// Why the other end is not our server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// Its certificates do not read.
    #[error(transparent)]
    Chain(#[from] ChainFault),
    /// Its certificate is not valid under the newest bundle.
    #[error("the server's certificate: {0}")]
    Svid(#[from] WicError),
    /// It is somebody else.
    #[error("the server is `{found}`, expected `{expected}`")]
    Other {
        /// Who it is.
        found: WorkloadId,
        /// Who it should be.
        expected: WorkloadId,
    },
}

/// Why a handshake failed, in our own words where the reason is ours.
pub(crate) fn explain(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(fault)))) => {
            fault.to_string()
        }
        _ => error.to_string(),
    }
}

/// The certificate of one client connection.
struct Shown(Arc<CertifiedKey>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct ServerCheck {
    peer: ExpectedServer,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCheck {
    fn of(peer: ExpectedServer, provider: &CryptoProvider) -> Self {
        Self { peer, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = read_chain(&whole(end_entity, intermediates));
        let chain = chain.map_err(|fault| refuse(fault.into()))?;
        self.peer.check(&chain).map_err(refuse)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("tls 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn whole<'a>(
    end_entity: &CertificateDer<'a>,
    intermediates: &[CertificateDer<'a>],
) -> Vec<CertificateDer<'a>> {
    let mut chain = vec![end_entity.clone()];
    chain.extend_from_slice(intermediates);
    chain
}

fn refuse(fault: ServerFault) -> Error {
    CertificateError::Other(OtherError(Arc::new(fault))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_bounded_and_read() {
        let garbage = |count| vec![CertificateDer::from(vec![0x30, 0x00]); count];
        let too_long = ChainFault::TooLong { certificates: CHAIN_CERTIFICATES_MAX + 1 };
        assert_eq!(read_chain(&garbage(CHAIN_CERTIFICATES_MAX + 1)), Err(too_long));
        assert!(matches!(read_chain(&garbage(1)), Err(ChainFault::Malformed(_))));
        assert_eq!(read_chain(&[]), Ok(Vec::new()));
    }
}
