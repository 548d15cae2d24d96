//! What a key may do (Part 2 §8.3).

use std::fmt;

use crate::Malformed;

/// TPMA_OBJECT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attributes(u32);

impl Attributes {
    /// "SET (1): The hierarchy of the object, as indicated by its Qualified Name, may not change."
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// "SET (1): The parent of the object may not change."
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// The TPM made the private part itself.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// A password is enough to use it.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// Its policy is needed to administer it.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// Wrong passwords do not count.
    pub const NO_DA: Self = Self(1 << 10);
    /// "SET (1): Key usage is restricted to manipulate structures of known format": such a key
    /// signs no bytes from outside that look like an attestation.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// It decrypts.
    pub const DECRYPT: Self = Self(1 << 17);
    /// It signs.
    pub const SIGN: Self = Self(1 << 18);

    /// Bits that are 0 in every version: 0, 3, 8 and 9, 12 to 15, 20 to 31. (11 is
    /// `encryptedDuplication`, 2 `stClear`, 19 `x509sign`.)
    const RESERVED: u32 = 0xfff0_f309;

    /// An endorsement key by the default templates (EK Credential Profile 2.5 §B.3).
    pub const ENDORSEMENT: Self = Self(0x0003_00b2);
    /// An attestation key: it signs what this TPM says, and nothing else.
    pub const ATTESTATION: Self = Self(0x0005_0072);
    /// A storage root key as SPIRE and the Provisioning Guidance make it.
    pub const STORAGE: Self = Self(0x0003_0472);

    /// From its bits.
    pub const fn from_bits(bits: u32) -> Result<Self, Malformed> {
        // Part 2 §8.3.2: "Reserved bits shall be zero".
        if bits & Self::RESERVED == 0 { Ok(Self(bits)) } else { Err(Malformed::Reserved { bits }) }
    }

    /// All bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True when all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({:#010x})", self.0)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}
