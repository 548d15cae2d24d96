//! The trustworthiness vector (AR4SI §2.3): eight claims, each with one signed octet, and the tier
//! that each of them stands in.

use std::fmt;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// How far an attester may be trusted; a greater one is trusted less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Nothing is known.
    #[default]
    None,
    /// What was seen is as it should be.
    Affirming,
    /// Something needs attention.
    Warning,
    /// It must not be trusted.
    Contraindicated,
}

impl Tier {
    /// From the one trusted most to the one trusted least.
    pub const ALL: [Self; 4] = [Self::None, Self::Affirming, Self::Warning, Self::Contraindicated];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Affirming => "affirming",
            Self::Warning => "warning",
            Self::Contraindicated => "contraindicated",
        }
    }

    /// The number in CBOR.
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Affirming => 2,
            Self::Warning => 32,
            Self::Contraindicated => 96,
        }
    }

    /// The tier of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// The tier that a value stands in.
    pub const fn of(value: i8) -> Self {
        // AR4SI §2.3.2: "Values 2 to 31", "Values -2 to -32", and so on.
        match value {
            -1..=1 => Self::None,
            2..=31 | -32..=-2 => Self::Affirming,
            32..=95 | -96..=-33 => Self::Warning,
            96..=127 | -128..=-97 => Self::Contraindicated,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Tier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        read_tier(&value).map_err(D::Error::custom)
    }
}

/// A tier as text, or as the number that the same tier has in CBOR: verifiers write either.
pub(crate) fn read_tier(value: &Value) -> Result<Tier, VectorError> {
    let unknown = || VectorError::Tier { found: shown(value) };
    match value {
        Value::String(name) => Tier::parse(name).ok_or_else(unknown),
        Value::Number(number) => {
            let found =
                Tier::ALL.into_iter().find(|tier| number.as_u64() == Some(tier.number().into()));
            found.ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}

/// What a value of the vector is about (AR4SI §2.3.4), in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// Who the attester is.
    InstanceIdentity,
    /// How it is configured.
    Configuration,
    /// What it runs.
    Executables,
    /// What files it has.
    FileSystem,
    /// The hardware it runs on.
    Hardware,
    /// Whether what it computes is seen from outside.
    RuntimeOpaque,
    /// Whether what it stores is seen from outside.
    StorageOpaque,
    /// Where its data come from.
    SourcedData,
}

impl Claim {
    /// Every claim; the place is the number in CBOR.
    pub const ALL: [Self; 8] = [
        Self::InstanceIdentity,
        Self::Configuration,
        Self::Executables,
        Self::FileSystem,
        Self::Hardware,
        Self::RuntimeOpaque,
        Self::StorageOpaque,
        Self::SourcedData,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InstanceIdentity => "instance-identity",
            Self::Configuration => "configuration",
            Self::Executables => "executables",
            Self::FileSystem => "file-system",
            Self::Hardware => "hardware",
            Self::RuntimeOpaque => "runtime-opaque",
            Self::StorageOpaque => "storage-opaque",
            Self::SourcedData => "sourced-data",
        }
    }

    /// The claim of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|claim| claim.name() == name)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The vector. A claim that is not made has the value 0.
///
/// AR4SI §2.3.2: "the RP's Appraisal Policy for Attestation Results SHOULD NOT make any distinction
/// between a Trustworthiness Claim with enumeration '0', and no Trustworthiness Claim being
/// provided."
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vector([i8; Claim::ALL.len()]);

impl Vector {
    /// A vector that claims nothing.
    pub const NONE: Self = Self([0; Claim::ALL.len()]);
    /// The value of every claim where a signature did not verify.
    pub const CRYPTOGRAPHIC_FAILURE: i8 = 99;

    /// This vector with one more claim.
    #[must_use]
    pub fn with(mut self, claim: Claim, value: i8) -> Self {
        if let Some(place) = self.0.get_mut(claim as usize) {
            *place = value;
        }
        self
    }

    /// The value of a claim.
    pub fn value(&self, claim: Claim) -> i8 {
        self.0.get(claim as usize).copied().unwrap_or_default()
    }

    /// The claims that are made.
    pub fn claims(&self) -> impl Iterator<Item = (Claim, i8)> {
        let all = Claim::ALL.into_iter().map(|claim| (claim, self.value(claim)));
        all.filter(|(_, value)| *value != 0)
    }

    /// The tier of the claim trusted least.
    pub fn tier(&self) -> Tier {
        self.0.iter().map(|value| Tier::of(*value)).max().unwrap_or_default()
    }

    /// The vector that a JSON object is.
    pub fn read(members: &Map<String, Value>) -> Result<Self, VectorError> {
        let mut vector = Self::NONE;
        for (name, value) in members {
            let claim = Claim::parse(name)
                .ok_or_else(|| VectorError::Claim { name: shown(&Value::from(name.as_str())) })?;
            let number = value.as_i64().and_then(|number| i8::try_from(number).ok());
            let number = number.ok_or_else(|| VectorError::Value { claim, found: shown(value) })?;
            vector = vector.with(claim, number);
        }
        Ok(vector)
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (claim, value)) in self.claims().enumerate() {
            let gap = if place == 0 { "" } else { ", " };
            write!(f, "{gap}{claim} {value}")?;
        }
        Ok(())
    }
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (claim, value) in self.claims() {
            map.serialize_entry(claim.name(), &value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Why a vector or a tier does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// Not one of the eight.
    #[error("no trustworthiness claim `{name}`")]
    Claim {
        /// What stood there.
        name: String,
    },
    /// Not a whole number from -128 to 127.
    #[error("trustworthiness claim `{claim}` is `{found}`, not a number from -128 to 127")]
    Value {
        /// Which.
        claim: Claim,
        /// What stood there.
        found: String,
    },
    /// Not one of the four.
    #[error("no trustworthiness tier `{found}`")]
    Tier {
        /// What stood there.
        found: String,
    },
}

/// Longest value that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: ATT-04 (part)
    #[test]
    fn ar4si_2_3_2_a_value_stands_in_its_tier() {
        let check = |values: &[i8], tier| {
            values.iter().for_each(|value| assert_eq!(Tier::of(*value), tier, "{value}"));
        };
        check(&[-1, 0, 1], Tier::None);
        check(&[2, 31, -2, -32], Tier::Affirming);
        check(&[32, 95, -33, -96], Tier::Warning);
        check(&[96, 99, 127, -97, -128], Tier::Contraindicated);
    }

    /// req: ATT-04 (part)
    #[test]
    fn ar4si_2_3_a_vector_is_trusted_as_its_worst_claim() {
        let vector = Vector::NONE.with(Claim::Hardware, 2);
        assert_eq!(vector.tier(), Tier::Affirming);
        assert_eq!(vector.with(Claim::Configuration, 33).tier(), Tier::Warning);
        let worst = vector.with(Claim::Configuration, 33).with(Claim::SourcedData, -100);
        assert_eq!(worst.tier(), Tier::Contraindicated);
        assert_eq!(worst.to_string(), "configuration 33, hardware 2, sourced-data -100");
        assert_eq!(Vector::NONE.tier(), Tier::None);
        assert_eq!(Vector::NONE.with(Claim::Hardware, -1).tier(), Tier::None);
    }

    #[test]
    fn ar4si_2_3_4_what_is_no_vector_is_refused() {
        let read =
            |text: &str| serde_json::from_str::<Vector>(text).map_err(|error| error.to_string());
        let vector = Vector::NONE.with(Claim::Executables, 96).with(Claim::InstanceIdentity, 2);
        assert_eq!(read(r#"{"executables":96,"instance-identity":2,"hardware":0}"#), Ok(vector));
        assert_eq!(
            serde_json::to_string(&vector).unwrap(),
            r#"{"instance-identity":2,"executables":96}"#
        );
        let refused = |text: &str, why: &str| {
            assert!(read(text).unwrap_err().starts_with(why), "{text}");
        };
        refused(r#"{"firmware":2}"#, "no trustworthiness claim `firmware`");
        let not = "is `{}`, not a number from -128 to 127";
        for (value, said) in [("128", "128"), ("-129", "-129"), ("2.5", "2.5"), ("\"2\"", "2")] {
            let said = format!("trustworthiness claim `hardware` {}", not.replace("{}", said));
            refused(&format!(r#"{{"hardware":{value}}}"#), &said);
        }
        let tier =
            |text: &str| serde_json::from_str::<Tier>(text).map_err(|error| error.to_string());
        for one in Tier::ALL {
            assert_eq!(tier(&format!("\"{one}\"")).unwrap(), one);
            assert_eq!(tier(&one.number().to_string()).unwrap(), one);
        }
        for bad in ["1", "\"Affirming\"", "2.0", "null", "-2"] {
            assert!(tier(bad).unwrap_err().starts_with("no trustworthiness tier"), "{bad}");
        }
    }
}
