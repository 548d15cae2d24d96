//! Our own keys as TLS uses them: the private half stays behind the key store.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use env::{Handle, Keys};
use jose::Signature;
use keys::Disk;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// Signs without waiting: the keys of this store are in memory. TLS and checkpoints ask from where
/// nothing can be awaited.
pub fn signed_now(keys: &Disk, handle: &Handle, message: &[u8]) -> Result<Signature, String> {
    let mut signing = pin!(keys.sign(handle, message));
    match signing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(signed) => signed.map_err(|error| error.to_string()),
        Poll::Pending => Err("the key does not answer at once".to_owned()),
    }
}

/// A chain (DER, leaf first) with its key, as rustls wants them.
pub fn certified(chain: Vec<Vec<u8>>, keys: &Arc<Disk>, handle: &Handle) -> CertifiedKey {
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = DoorKey { keys: Arc::clone(keys), handle: handle.clone() };
    CertifiedKey::new(chain, Arc::new(key))
}

/// A P-256 key behind the key store.
#[derive(Clone)]
struct DoorKey {
    keys: Arc<Disk>,
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
        let signature =
            signed_now(&self.keys, &self.handle, message).map_err(rustls::Error::General)?;
        // RFC 8446 §4.2.3: ECDSA signatures are "a DER-encoded [X690] ECDSA-Sig-Value".
        x509::ecdsa_der_from_fixed(signature.as_bytes())
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}
