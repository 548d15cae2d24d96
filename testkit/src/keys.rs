//! Real keys behind handles that come in order. Signing by ES256 draws randomness inside the
//! library, so signatures differ from run to run; nothing that is decided depends on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use env::{CannotMake, Handle, KeyFault, Keys, Purpose, Unavailable};
use jose::{Algorithm, PrivateKey, PublicKey, Signature};

use crate::rng::Rng;
use crate::sim::Sim;

/// The keys of one component. A clone is the same.
#[derive(Clone)]
pub struct SimKeys {
    sim: Sim,
    rng: Rng,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    made: u64,
    keys: BTreeMap<Handle, Kept>,
    unavailable_per_mille: u64,
    is_stuck: bool,
    unmakeable: Vec<Algorithm>,
}

#[derive(Clone)]
struct Kept {
    pkcs8: Arc<Vec<u8>>,
    key: Arc<PrivateKey>,
}

impl SimKeys {
    /// No keys yet.
    pub fn new(sim: &Sim) -> Self {
        Self { sim: sim.clone(), rng: sim.rng().fork(), inner: Arc::default() }
    }

    /// From now on so many of a thousand signatures are not made.
    pub fn set_unavailable(&self, per_mille: u64) {
        self.lock().unavailable_per_mille = per_mille;
    }

    /// From now on no key can be destroyed, or again.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.lock().is_stuck = is_stuck;
    }

    /// From now on no key of these is made for who could do without, as by a device that cannot.
    pub fn set_unmakeable(&self, algorithms: &[Algorithm]) {
        self.lock().unmakeable = algorithms.to_vec();
    }

    /// The host starts again: keys of workloads live in memory only.
    pub fn restart(&self) {
        let ends = [Purpose::Workload, Purpose::Agent];
        self.lock().keys.retain(|handle, _| !ends.contains(&handle.purpose));
    }

    /// The handles there are.
    pub fn handles(&self) -> Vec<Handle> {
        self.lock().keys.keys().cloned().collect()
    }

    /// A public key of `keys` that may verify what they signed.
    fn kept(&self, handle: &Handle) -> Result<Kept, KeyFault> {
        let found = self.lock().keys.get(handle).cloned();
        found.ok_or_else(|| KeyFault::Unknown(handle.clone()))
    }

    fn is_down(&self) -> bool {
        let rate = self.lock().unavailable_per_mille;
        rate > 0 && self.rng.chance(rate)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new private key, PKCS#8: ES256, Ed25519, or RSA of 2048 bits, which are made sooner.
pub(crate) fn generate(algorithm: Algorithm) -> Result<Vec<u8>, Unavailable> {
    let failed = |_| Unavailable::of("keys", "the library made no key");
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map(|der| der.as_ref().to_vec())
            .map_err(failed),
        Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random)
            .map(|der| der.as_ref().to_vec())
            .map_err(failed),
        Algorithm::Rs256 | Algorithm::Ps256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair))
            .map(|der| der.as_ref().to_vec())
            .map_err(failed),
        other => Err(Unavailable::of("keys", format!("no simulated keys for {other}"))),
    }
}

impl Keys for SimKeys {
    async fn generate(
        &self,
        purpose: Purpose,
        algorithm: Algorithm,
    ) -> Result<(Handle, PublicKey), KeyFault> {
        self.sim.pause().await;
        self.makes(purpose, algorithm).map_err(|why| Unavailable::of("keys", why))?;
        let pkcs8 = generate(algorithm)?;
        let read = |_| Unavailable::of("keys", "a new key does not read");
        let key = PrivateKey::from_pkcs8(&pkcs8).map_err(read)?;
        let key = key.for_algorithm(algorithm).map_err(|error| Unavailable::of("keys", error))?;
        let public = PublicKey::from_spki_der(key.public().spki_der())
            .and_then(|public| public.for_algorithm(algorithm))
            .map_err(|error| Unavailable::of("keys", error))?;
        let mut inner = self.lock();
        inner.made += 1;
        let handle = Handle { purpose, id: format!("{}-{}", purpose.name(), inner.made) };
        let kept = Kept { pkcs8: Arc::new(pkcs8), key: Arc::new(key) };
        inner.keys.insert(handle.clone(), kept);
        Ok((handle, public))
    }

    fn makes(&self, purpose: Purpose, algorithm: Algorithm) -> Result<(), CannotMake> {
        let cannot = purpose.is_on_demand() && self.lock().unmakeable.contains(&algorithm);
        if cannot { Err(CannotMake { store: "simulated", algorithm }) } else { Ok(()) }
    }

    fn public(&self, handle: &Handle) -> Result<PublicKey, KeyFault> {
        let kept = self.kept(handle)?;
        let unread = |error| KeyFault::Unavailable(Unavailable::of("keys", error));
        PublicKey::from_spki_der(kept.key.public().spki_der())
            .and_then(|public| public.for_algorithm(kept.key.algorithm()))
            .map_err(unread)
    }

    async fn sign(&self, handle: &Handle, message: &[u8]) -> Result<Signature, KeyFault> {
        self.sim.pause().await;
        if self.is_down() {
            return Err(Unavailable::of("keys", "a simulated fault").into());
        }
        Ok(self.kept(handle)?.key.sign(message))
    }

    fn export(&self, handle: &Handle) -> Result<PrivateKey, KeyFault> {
        if handle.purpose != Purpose::Workload {
            return Err(KeyFault::NotExportable(handle.clone()));
        }
        let kept = self.kept(handle)?;
        let unread = |_| KeyFault::Unavailable(Unavailable::of("keys", "a key does not read"));
        PrivateKey::from_pkcs8(&kept.pkcs8).map_err(unread)
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), KeyFault> {
        self.sim.pause().await;
        if self.lock().is_stuck {
            return Err(Unavailable::of("keys", "a simulated fault").into());
        }
        self.lock().keys.remove(handle);
        Ok(())
    }
}
