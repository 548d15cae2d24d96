//! Which values of which PCRs policy allows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::chain::hex;
use crate::policy::NodeRule;

/// The most values that one PCR may have.
pub(super) const VALUES_MAX: usize = 64;

/// PCRs of the SHA-256 bank, each with the values it may have: `pcrs = { 7 = ["…"] }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Vec<String>>", into = "BTreeMap<String, Vec<String>>")]
pub struct PcrValues(BTreeMap<u8, BTreeSet<[u8; 32]>>);

impl PcrValues {
    /// The PCRs, ascending.
    pub fn indices(&self) -> Vec<u8> {
        self.0.keys().copied().collect()
    }

    /// True when policy names none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the PCR may have this value.
    pub(super) fn allow(&self, index: u8, value: &[u8; 32]) -> bool {
        self.0.get(&index).is_some_and(|values| values.contains(value))
    }
}

/// Why it is no rule of PCRs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PcrError {
    /// No such PCR.
    #[error("no pcr `{0}`: there are 0 to 23")]
    Index(String),
    /// No such value.
    #[error("pcr {index}: `{value}` is no sha-256 value of 64 hexadecimal digits")]
    Value {
        /// Of which PCR.
        index: u8,
        /// What was given.
        value: String,
    },
    /// None, or more than are read.
    #[error("pcr {index} has {count} values; 1 to {VALUES_MAX} are read")]
    Count {
        /// Which PCR.
        index: u8,
        /// How many.
        count: usize,
    },
}

impl TryFrom<BTreeMap<String, Vec<String>>> for PcrValues {
    type Error = PcrError;

    fn try_from(all: BTreeMap<String, Vec<String>>) -> Result<Self, PcrError> {
        let read = |(index, values): (String, Vec<String>)| {
            let found = index.parse::<u8>().ok().filter(|it| *it < tpm::PCRS_MAX);
            let found = found.filter(|it| it.to_string() == index);
            let index = found.ok_or(PcrError::Index(index))?;
            if values.is_empty() || values.len() > VALUES_MAX {
                return Err(PcrError::Count { index, count: values.len() });
            }
            let value = |value: String| digest(&value).ok_or(PcrError::Value { index, value });
            Ok((index, values.into_iter().map(value).collect::<Result<_, _>>()?))
        };
        all.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl From<PcrValues> for BTreeMap<String, Vec<String>> {
    fn from(all: PcrValues) -> Self {
        let text = |values: BTreeSet<[u8; 32]>| values.iter().map(|value| hex(value)).collect();
        all.0.into_iter().map(|(index, values)| (index.to_string(), text(values))).collect()
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    let bytes = digits.chunks_exact(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

/// What is wrong in the settings of a mechanism, as far as this one's settings go.
pub fn fault(table: &str, name: &str, rule: &NodeRule) -> Option<(String, String)> {
    let key = |field: &str| format!("{table}.{name}.{field}");
    match name {
        "tpm_devid" if rule.endorsement_anchors.is_empty() => {
            let why = "who vouches for a tpm is not said: `endorsement_anchors` needs the pem \
                       certificates of the authorities of its manufacturer";
            Some((format!("{table}.{name}"), why.to_owned()))
        }
        "tpm_devid" => None,
        _ if !rule.endorsement_anchors.is_empty() => {
            Some((key("endorsement_anchors"), "only `tpm_devid` has it".to_owned()))
        }
        _ if !rule.pcrs.is_empty() => Some((key("pcrs"), "only `tpm_devid` has it".to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(index: &str, values: &[&str]) -> Result<PcrValues, PcrError> {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        PcrValues::try_from(BTreeMap::from([(index.to_owned(), values)]))
    }

    /// req: ATT-03 (part)
    #[test]
    fn s7_allowed_values_of_pcrs_are_read_strictly() {
        let value = "0a".repeat(32);
        let good = read("7", &[&value.to_uppercase(), &value]).unwrap();
        assert_eq!((good.indices(), good.allow(7, &[10; 32])), (vec![7], true));
        assert!(!good.allow(8, &[10; 32]) && !good.allow(7, &[11; 32]));
        let written = BTreeMap::from(good);
        assert_eq!(written, BTreeMap::from([("7".to_owned(), vec![value.clone()])]));
        for index in ["24", "-1", "07", "", "seven"] {
            assert_eq!(read(index, &[&value]), Err(PcrError::Index(index.to_owned())));
        }
        for wrong in ["", "0a", &value[..63], &format!("{}g", &value[..63])] {
            let expect = PcrError::Value { index: 7, value: wrong.to_owned() };
            assert_eq!(read("7", &[wrong]), Err(expect));
        }
        assert_eq!(read("7", &[]), Err(PcrError::Count { index: 7, count: 0 }));
        let many = vec![value.as_str(); VALUES_MAX + 1];
        assert_eq!(read("7", &many), Err(PcrError::Count { index: 7, count: 65 }));
    }

    #[test]
    fn s7_settings_of_a_tpm_stand_where_they_mean_something() {
        let check = |name: &str, endorsement: &str, pcrs: PcrValues, expect: Option<&str>| {
            let endorsement_anchors = endorsement.to_owned();
            let rule = NodeRule { endorsement_anchors, pcrs, ..NodeRule::default() };
            assert_eq!(fault("node", name, &rule).map(|(key, _)| key).as_deref(), expect);
        };
        let some = || read("7", &["00".repeat(32).as_str()]).unwrap();
        check("tpm_devid", "pem", some(), None);
        check("tpm_devid", "", some(), Some("node.tpm_devid"));
        check("x509pop", "", PcrValues::default(), None);
        check("x509pop", "pem", PcrValues::default(), Some("node.x509pop.endorsement_anchors"));
        check("x509pop", "", some(), Some("node.x509pop.pcrs"));
    }
}
