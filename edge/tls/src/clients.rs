//! The certificates that clients show.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509::CHAIN_CERTIFICATES_MAX;

/// Takes any chain that can be read, of anybody, valid or not: **what it lets through proves only
/// that the client has the key of the leaf**. Whoever uses the chain verifies it: the token flow,
/// the node API and the gateway, at each request, against the bundle of the trust domain
/// (draft-ietf-oauth-spiffe-client-auth §6), for which the lists of the system say nothing, and
/// which may change while a connection lives (AUTHN-12).
#[derive(Debug)]
pub struct UnverifiedClientCertificates {
    algorithms: WebPkiSupportedAlgorithms,
    mandatory: bool,
}

impl UnverifiedClientCertificates {
    /// With the signature algorithms of `provider`; where it is not `mandatory`, a client that
    /// shows no certificate is let through as well.
    pub fn new(provider: &CryptoProvider, mandatory: bool) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, mandatory }
    }
}

impl ClientCertVerifier for UnverifiedClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // RFC 8446 §4.2.4: the extension "certificate_authorities" is optional; whom we trust is
        // told to nobody who did not prove who it is.
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
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
