//! Who must answer: a host by the Web PKI, or a SPIFFE ID by the bundle of its trust domain.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName};
use spiffe::{BundleSet, SpiffeId, SvidError, X509Svid};
use time::UnixTime;
use x509::{CHAIN_CERTIFICATES_MAX, Certificate, Malformed, Purpose};

use crate::roots::Roots;

/// HTTP/1.1 alone: one request a connection.
const PROTOCOL: &[u8] = b"http/1.1";

/// A client that believes the Web PKI (RFC 9525: the host of the URL, in a subject alternative
/// name).
pub(crate) fn of_web(roots: &Roots) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.0), Arc::clone(&provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(finished(builder.with_webpki_verifier(verifier).with_no_client_auth()))
}

/// A client that believes one SPIFFE ID.
pub(crate) fn of_spiffe(
    id: SpiffeId,
    trust: BundleSet,
    now: UnixTime,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let check = Arc::new(SvidCheck { id, trust, now, algorithms });
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(finished(builder.dangerous().with_custom_certificate_verifier(check).with_no_client_auth()))
}

/// SPIFFE Federation §5.2.1.3: "servers MUST NOT require client authentication": none is offered.
fn finished(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A resumed session would carry an old check past a new bundle (docs/past-defects.md 24).
    config.resumption = Resumption::disabled();
    config
}

/// Why the other end is not the one that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum PeerFault {
    #[error("a chain of {certificates} certificates; at most {CHAIN_CERTIFICATES_MAX} are read")]
    ChainTooLong { certificates: usize },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its certificate: {0}")]
    Svid(#[from] SvidError),
    #[error("it is `{found}`, expected `{expected}`")]
    Other { found: SpiffeId, expected: SpiffeId },
}

/// Why a handshake failed, in our own words where the reason is ours; `None` where the connection
/// broke and nothing was said.
pub(crate) fn explain(error: &std::io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(fault))) => {
            Some(fault.to_string())
        }
        other => Some(other.to_string()),
    }
}

#[derive(Debug)]
struct SvidCheck {
    id: SpiffeId,
    trust: BundleSet,
    now: UnixTime,
    algorithms: WebPkiSupportedAlgorithms,
}

impl SvidCheck {
    /// SPIFFE Federation §5.2.2.4: "it MUST be validated that the server certificate is a valid
    /// X509-SVID for the bundle endpoint SPIFFE ID that was provided".
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), PeerFault> {
        let certificates = others.len() + 1;
        if certificates > CHAIN_CERTIFICATES_MAX {
            return Err(PeerFault::ChainTooLong { certificates });
        }
        let chain = std::iter::once(leaf).chain(others).map(|der| Certificate::parse(der));
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let svid = X509Svid::verify(&chain, &self.trust, Purpose::Server, self.now)?;
        if *svid.spiffe_id() != self.id {
            let (found, expected) = (svid.spiffe_id().clone(), self.id.clone());
            return Err(PeerFault::Other { found, expected });
        }
        Ok(())
    }
}

impl ServerCertVerifier for SvidCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refuse = |fault| Error::from(CertificateError::Other(OtherError(Arc::new(fault))));
        self.check(end_entity, intermediates).map_err(|fault: PeerFault| refuse(fault))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
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
