//! How keys of ours look in a token.

use aws_lc_rs::digest;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass};
use env::Purpose;
use jose::{Algorithm, PublicKey};

/// DER of the object identifier of P-256 (RFC 5480 §2.1.1.1).
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// DER of the PrintableString `edwards25519`, as CKA_EC_PARAMS names that curve.
const EDWARDS: &[u8] = b"\x13\x0cedwards25519";
/// `SubjectPublicKeyInfo` of a point on P-256, up to the point (RFC 5480 §2).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 3, 0x42, 0,
];
/// The same of an Ed25519 key (RFC 8410 §4).
const ED25519_SPKI: &[u8] = &[0x30, 42, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 33, 0];
const P256_POINT_BYTES: usize = 65;
const ED25519_POINT_BYTES: usize = 32;
/// What a key is called until its public half was read.
pub(super) const UNFINISHED: &[u8] = b"unfinished";

/// The kinds of keys that are made in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    Ed25519,
}

impl Curve {
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Es256 => Some(Self::P256),
            Algorithm::EdDsa => Some(Self::Ed25519),
            _ => None,
        }
    }

    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::Ed25519 => Algorithm::EdDsa,
        }
    }

    /// What a token must be able to do for such keys.
    pub(super) const fn needs(self) -> [MechanismType; 2] {
        match self {
            Self::P256 => [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA],
            Self::Ed25519 => [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA],
        }
    }

    pub(super) const fn generation(self) -> Mechanism<'static> {
        match self {
            Self::P256 => Mechanism::EccKeyPairGen,
            Self::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        }
    }

    /// The mechanism that signs, and what it is given for a message.
    pub(super) fn signing(self, message: &[u8]) -> (Mechanism<'static>, Vec<u8>) {
        match self {
            // PKCS #11 calls CKM_ECDSA "ECDSA without hashing"; its signature is r and s, one after
            // the other.
            Self::P256 => {
                let digest = digest::digest(&digest::SHA256, message);
                (Mechanism::Ecdsa, digest.as_ref().to_vec())
            }
            Self::Ed25519 => {
                let params = EddsaParams::new(EddsaSignatureScheme::Ed25519);
                (Mechanism::Eddsa(params), message.to_vec())
            }
        }
    }

    const fn parameters(self) -> &'static [u8] {
        match self {
            Self::P256 => P256,
            Self::Ed25519 => EDWARDS,
        }
    }

    /// The key of CKA_EC_POINT: the point in a DER OCTET STRING, as the text wants it, or the point
    /// alone, as some tokens give it.
    pub(super) fn key(self, point: &[u8]) -> Option<PublicKey> {
        let (length, prefix) = match self {
            Self::P256 => (P256_POINT_BYTES, P256_SPKI),
            Self::Ed25519 => (ED25519_POINT_BYTES, ED25519_SPKI),
        };
        let wrapped = [4, u8::try_from(length).ok()?];
        let point = match point.strip_prefix(&wrapped) {
            Some(inner) if inner.len() == length => inner,
            _ if point.len() == length => point,
            _ => return None,
        };
        let key = PublicKey::from_spki_der(&[prefix, point].concat()).ok()?;
        key.for_algorithm(self.algorithm()).ok()
    }

    /// The templates of the public and the private half.
    pub(super) fn templates(self, label: &[u8]) -> (Vec<Attribute>, Vec<Attribute>) {
        let both = |private| {
            [
                Attribute::Token(true),
                Attribute::Private(private),
                Attribute::Label(label.to_vec()),
                Attribute::Id(UNFINISHED.to_vec()),
            ]
        };
        let mut public = both(false).to_vec();
        public.push(Attribute::Verify(true));
        public.push(Attribute::EcParams(self.parameters().to_vec()));
        let mut private = both(true).to_vec();
        private.push(Attribute::Sign(true));
        // PKCS #11 v3.0 §4.9: what is sensitive and not extractable is never shown in the clear,
        // and leaves the token in no form.
        private.push(Attribute::Sensitive(true));
        private.push(Attribute::Extractable(false));
        (public, private)
    }
}

/// What the keys of a purpose are called, so that several components can share a token.
pub(super) fn label(owner: &str, purpose: Purpose) -> Vec<u8> {
    format!("aims/{owner}/{}", purpose.name()).into_bytes()
}

/// Finds the halves of keys.
pub(super) fn search(class: ObjectClass, label: &[u8], id: Option<&[u8]>) -> Vec<Attribute> {
    let mut template =
        vec![Attribute::Class(class), Attribute::Token(true), Attribute::Label(label.to_vec())];
    template.extend(id.map(|id| Attribute::Id(id.to_vec())));
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_reads_with_and_without_its_wrapping() {
        let point = [
            &[4][..],
            // RFC 7515 §A.3.
            b"\x7f\xcd\xce\x27\x70\xf6\xc4\x5d\x41\x83\xcb\xee\x6f\xdb\x4b\x7b",
            b"\x58\x07\x33\x35\x7b\xe9\xef\x13\xba\xcf\x6e\x3c\x7b\xd1\x54\x45",
            b"\xc7\xf1\x44\xcd\x1b\xbd\x9b\x7e\x87\x2c\xdf\xed\xb9\xee\xb9\xf4",
            b"\xb3\x69\x5d\x6e\xa9\x0b\x24\xad\x8a\x46\x23\x28\x85\x88\xe5\xad",
        ]
        .concat();
        let wrapped = [&[4, 65][..], &point].concat();
        let key = Curve::P256.key(&wrapped).unwrap();
        assert_eq!(key.thumbprint(), Curve::P256.key(&point).unwrap().thumbprint());
        for bad in [&point[1..], &wrapped[..66], &[&wrapped[..], &[0]].concat(), &[]] {
            assert!(Curve::P256.key(bad).is_none(), "{bad:02x?}");
        }
        // Not on the curve.
        let mut off = point;
        off[64] ^= 1;
        assert!(Curve::P256.key(&off).is_none());
    }
}
