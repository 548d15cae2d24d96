//! A secret that only the TPM with this endorsement key opens, and only if it has the key of that
//! name (Part 1 §24, TPM2_MakeCredential done in software).

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use crate::algorithm::{Curve, Hash};
use crate::public::{Key, Public, padded};
use crate::wire::Writer;

/// The policy of an endorsement key by the templates L-1 and L-2 (EK Credential Profile 2.5 §B.6.2,
/// PolicyA): whoever has the endorsement hierarchy's authorization.
pub const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// Part 1 §24.4: "the label "IDENTITY" is used", its terminating zero included.
const IDENTITY: &[u8] = b"IDENTITY\0";
/// The length of the symmetric key, in bits.
const SYMMETRIC_BITS: u16 = 128;

/// A wrapped secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The contents of TPM2B_ID_OBJECT.
    pub id_object: Vec<u8>,
    /// The contents of TPM2B_ENCRYPTED_SECRET.
    pub secret: Vec<u8>,
}

/// Why nothing can be wrapped for an endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Only SHA-256 with AES-128, RSA-2048 or P-256: the templates L-1 and L-2.
    #[error(
        "an endorsement key of a template other than rsa-2048 or p-256 with sha-256 and aes-128"
    )]
    Template,
    /// The library does not take the key: a point that is not on its curve.
    #[error("the endorsement key is not a key")]
    Key,
}

/// Wraps `secret` for the TPM of `endorsement` and its key called `name`. `seed` is random and
/// secret, another one each time. (The padding of RSA is random besides: the library's own.)
pub fn make_credential(
    endorsement: &Public,
    name: &[u8],
    secret: &[u8],
    seed: &[u8; 32],
) -> Result<Credential, CredentialError> {
    let aes_128 = endorsement.symmetric.is_some_and(|cipher| cipher.bits == SYMMETRIC_BITS);
    if !aes_128 || endorsement.name_alg != Hash::Sha256 {
        return Err(CredentialError::Template);
    }
    match &endorsement.key {
        Key::Rsa { bits: 2048, .. } => {
            let encrypted = rsa_oaep(endorsement, seed)?;
            Ok(Credential { id_object: id_object(seed, name, secret)?, secret: encrypted })
        }
        Key::Ecc { curve: Curve::P256, x, .. } => {
            let point = endorsement.key.point().ok_or(CredentialError::Key)?;
            let (seed, encrypted) = ecdh(&point, x, seed)?;
            Ok(Credential { id_object: id_object(&seed, name, secret)?, secret: encrypted })
        }
        _ => Err(CredentialError::Template),
    }
}

/// Part 1 §B.4: the seed is encrypted by RSAES_OAEP with the name algorithm of the key.
fn rsa_oaep(endorsement: &Public, seed: &[u8; 32]) -> Result<Vec<u8>, CredentialError> {
    let components = endorsement.key.rsa().ok_or(CredentialError::Key)?;
    let key: PublicEncryptingKey = components.try_into().map_err(|_| CredentialError::Key)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| CredentialError::Key)?;
    let mut out = vec![0; key.ciphertext_size()];
    let encrypted = key.encrypt(&OAEP_SHA256_MGF1SHA256, seed, &mut out, Some(IDENTITY));
    encrypted.map(|bytes| bytes.to_vec()).map_err(|_| CredentialError::Key)
}

/// Part 1 §C.6.4: the seed is derived from a point that both can compute.
fn ecdh(
    point: &[u8],
    x: &[u8],
    random: &[u8; 32],
) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), CredentialError> {
    let fault = |_| CredentialError::Key;
    let algorithm = &agreement::ECDH_P256;
    let ephemeral = ephemeral(random).ok_or(CredentialError::Key)?;
    let public = ephemeral.compute_public_key().map_err(fault)?;
    let own = public.as_ref();
    let (own_x, own_y) = (own.get(1..33).unwrap_or_default(), own.get(33..).unwrap_or_default());
    let theirs = UnparsedPublicKey::new(algorithm, point);
    let x = padded(x, Curve::P256.field_bytes()).ok_or(CredentialError::Key)?;
    let seed = agreement::agree(&ephemeral, theirs, CredentialError::Key, |z| {
        Ok(kdfe_sha256(z, IDENTITY, own_x, &x))
    })?;
    // TPMS_ECC_POINT.
    Ok((seed, Writer::default().sized(own_x).sized(own_y).into_bytes()))
}

/// A private key out of random bytes; the few that are beyond the order of the curve are hashed on.
fn ephemeral(random: &[u8; 32]) -> Option<PrivateKey> {
    const TURNS_MAX: usize = 8;
    let mut scalar = Zeroizing::new(*random);
    for _ in 0..TURNS_MAX {
        if let Ok(key) = PrivateKey::from_private_key(&agreement::ECDH_P256, scalar.as_slice()) {
            return Some(key);
        }
        let next = digest::digest(&digest::SHA256, scalar.as_slice());
        scalar.copy_from_slice(next.as_ref());
    }
    None
}

/// Part 1 §24.4 and §24.5: TPMS_ID_OBJECT is the encrypted secret under an HMAC that also covers
/// the name.
fn id_object(seed: &[u8; 32], name: &[u8], secret: &[u8]) -> Result<Vec<u8>, CredentialError> {
    // "symKey ≔ KDFa (ekNameAlg, seed, "STORAGE", name, NULL, bits)"
    let key = kdfa_sha256(seed, "STORAGE", name, SYMMETRIC_BITS);
    let encrypted = aes_128_cfb(&key, Writer::default().sized(secret).into_bytes())?;
    // "HMACkey ≔ KDFa (ekNameAlg, seed, "INTEGRITY", NULL, NULL, bits)"
    let key = kdfa_sha256(seed, "INTEGRITY", &[], 256);
    // "outerHMAC ≔ HMAC(HMACkey, encIdentity || Name)"
    let mut mac = hmac::Context::with_key(&hmac::Key::new(Hash::Sha256.hmac(), &key));
    mac.update(&encrypted);
    mac.update(name);
    Ok(Writer::default().sized(mac.sign().as_ref()).bytes(&encrypted).into_bytes())
}

/// Part 1 §11.4.10.2, for at most one block: "K(i) ≔ HMAC(K, [i] || Label || 00 || ContextU ||
/// ContextV || [L])".
fn kdfa_sha256(key: &[u8], label: &str, context_u: &[u8], bits: u16) -> Zeroizing<Vec<u8>> {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(Hash::Sha256.hmac(), key));
    mac.update(&1_u32.to_be_bytes());
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(context_u);
    mac.update(&u32::from(bits).to_be_bytes());
    let block = mac.sign();
    let length = usize::from(bits / 8);
    Zeroizing::new(block.as_ref().get(..length).unwrap_or(block.as_ref()).to_vec())
}

/// Part 1 §11.4.10.3, for one block: "H(i, Z, Use, PartyUInfo, PartyVInfo)"; the label has its
/// zero.
fn kdfe_sha256(z: &[u8], label: &[u8], party_u: &[u8], party_v: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [&1_u32.to_be_bytes(), z, label, party_u, party_v] {
        context.update(part);
    }
    let mut out = Zeroizing::new([0; 32]);
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Part 1 §24.4: CFB with an initialization vector of zeros; each key is used once.
fn aes_128_cfb(key: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>, CredentialError> {
    let context = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    let key = UnboundCipherKey::new(&AES_128, key).and_then(EncryptingKey::cfb128);
    let sealed = key.and_then(|key| key.less_safe_encrypt(&mut bytes, context));
    sealed.map(|_| bytes).map_err(|_| CredentialError::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// req: ATT-03 (part)
    #[test]
    fn part_1_24_every_step_of_the_published_vector() {
        let text = include_str!("../../../vectors/tpm/make-credential.json");
        let vector: serde_json::Value = serde_json::from_str(text).unwrap();
        let of = |name: &str| bytes(vector[name].as_str().unwrap());
        let seed: [u8; 32] = of("seed").try_into().unwrap();
        let (name, secret) = (of("ak_name"), of("secret"));
        let key = kdfa_sha256(&seed, "STORAGE", &name, 128);
        assert_eq!(*key, of("sym_key"));
        let sized = Writer::default().sized(&secret).into_bytes();
        assert_eq!(aes_128_cfb(&key, sized), Ok(of("enc_identity")));
        assert_eq!(*kdfa_sha256(&seed, "INTEGRITY", &[], 256), of("hmac_key"));
        assert_eq!(id_object(&seed, &name, &secret), Ok(of("id_object")));
    }
}
