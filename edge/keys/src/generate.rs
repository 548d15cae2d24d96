//! New keys.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    RsaKeyPair,
};
use jose::{Algorithm, KeyType};
use zeroize::Zeroizing;

/// How long new RSA keys are; RFC 7518 §3.3 and §3.5 ask for 2048 bits or more. With 3072 they are
/// no weaker than our others (docs/decisions/0021-one-ring-an-algorithm.md).
const RSA_SIZE: KeySize = KeySize::Rsa3072;

/// A new key for `algorithm`, in DER PKCS #8 (version 1, which everybody reads).
pub(crate) fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let random = SystemRandom::new();
    match algorithm.key_type() {
        KeyType::P256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyType::P384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyType::P521 => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING),
        KeyType::Ed25519 => Ed25519KeyPair::generate_pkcs8v1(&random).map(|der| copy(der.as_ref())),
        KeyType::Rsa => {
            let pair = RsaKeyPair::generate(RSA_SIZE)?;
            AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map(|der| copy(der.as_ref()))
        }
    }
}

/// Whether [`generate`], and signing, take so long that others should not wait for it.
pub(crate) fn is_slow(algorithm: Algorithm) -> bool {
    algorithm.key_type() == KeyType::Rsa
}

fn ecdsa(curve: &'static EcdsaSigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).map(|der| copy(der.as_ref()))
}

/// The library wipes its own document when it is dropped.
fn copy(der: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(der.to_vec())
}
