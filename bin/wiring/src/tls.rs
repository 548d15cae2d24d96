//! Our own keys as TLS uses them: the private half stays behind the key store.

use std::sync::Arc;

use env::Handle;
use keys::KeyStore;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// A chain (DER, leaf first) with its key, as rustls wants them.
pub fn certified(chain: Vec<Vec<u8>>, keys: &Arc<KeyStore>, handle: &Handle) -> CertifiedKey {
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = DoorKey { keys: Arc::clone(keys), handle: handle.clone() };
    CertifiedKey::new(chain, Arc::new(key))
}

/// A P-256 key behind the key store.
#[derive(Clone)]
struct DoorKey {
    keys: Arc<KeyStore>,
    handle: Handle,
}

impl std::fmt::Debug for DoorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DoorKey({})", self.handle)
    }
}

impl SigningKey for DoorKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let offers = offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        offers.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for DoorKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = self.keys.sign_now(&self.handle, message);
        let signature = signature.map_err(|error| rustls::Error::General(error.to_string()))?;
        // RFC 8446 §4.2.3: ECDSA signatures are "a DER-encoded [X690] ECDSA-Sig-Value".
        x509::ecdsa_der_from_fixed(signature.as_bytes())
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}
