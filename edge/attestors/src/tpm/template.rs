//! The templates of the keys that are made here. The same template and the same TPM give the same
//! primary key each time.

use tpm::{Attributes, Curve, Hash, Key, POLICY_A_SHA256, Public, Scheme, SchemeKind, Symmetric};

const AES_128: Symmetric = Symmetric { bits: 128 };

/// EK Credential Profile 2.5 §B.3.3: L-1, with a modulus of zeros.
pub(super) fn endorsement_rsa() -> Public {
    endorsement(Key::Rsa { bits: 2048, exponent: 0, modulus: vec![0; 256] })
}

/// EK Credential Profile 2.5 §B.3.4: L-2, with a point of zeros.
pub(super) fn endorsement_p256() -> Public {
    endorsement(Key::Ecc { curve: Curve::P256, x: vec![0; 32], y: vec![0; 32] })
}

fn endorsement(key: Key) -> Public {
    Public {
        name_alg: Hash::Sha256,
        attributes: Attributes::ENDORSEMENT,
        policy: POLICY_A_SHA256.to_vec(),
        symmetric: Some(AES_128),
        scheme: None,
        key,
    }
}

/// The storage key above a DevID key, of the same kind, as SPIRE's plugin makes it: the templates
/// H-1 and H-2, which have no unique part.
pub(super) fn storage(devid: &Public) -> Public {
    let key = match devid.key {
        Key::Rsa { .. } => Key::Rsa { bits: 2048, exponent: 0, modulus: Vec::new() },
        Key::Ecc { .. } => Key::Ecc { curve: Curve::P256, x: Vec::new(), y: Vec::new() },
    };
    Public {
        name_alg: Hash::Sha256,
        attributes: Attributes::STORAGE,
        policy: Vec::new(),
        symmetric: Some(AES_128),
        scheme: None,
        key,
    }
}

/// A restricted signing key on P-256: quicker to make than RSA by seconds.
pub(super) fn attestation() -> Public {
    Public {
        name_alg: Hash::Sha256,
        attributes: Attributes::ATTESTATION,
        policy: Vec::new(),
        symmetric: None,
        scheme: Some(Scheme { kind: SchemeKind::Ecdsa, hash: Hash::Sha256 }),
        key: Key::Ecc { curve: Curve::P256, x: Vec::new(), y: Vec::new() },
    }
}
