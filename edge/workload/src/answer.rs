//! What is answered, on both sides of the socket.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use spiffe::{SpiffeId, TrustDomain};

use crate::secret::{SecretBytes, SecretText};

// Workload API §8: "SPIFFE Workload API implementations SHOULD NOT support values of more than 1024
// bytes in length."
/// The longest hint, in bytes.
pub const HINT_BYTES_MAX: usize = 1024;

/// X.509-SVIDs, the default identity first, and what belongs to them.
#[derive(Clone, Debug)]
pub struct X509Answer {
    /// At least one.
    pub svids: Vec<X509Svid>,
    /// Revocation lists, each in DER.
    pub crl: Vec<Vec<u8>>,
    /// The CA certificates of other trust domains, concatenated DER.
    pub federated: BTreeMap<TrustDomain, Vec<u8>>,
}

/// One X.509-SVID with its key.
#[derive(Clone, Debug)]
pub struct X509Svid {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The certificates, leaf first, concatenated DER.
    pub chain: Vec<u8>,
    /// The private key, PKCS #8 DER.
    pub key: SecretBytes,
    /// The CA certificates of its trust domain, concatenated DER.
    pub bundle: Vec<u8>,
    /// What the operator says it is for.
    pub hint: Option<String>,
}

/// CA certificates of every trust domain that the process should trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Bundles {
    /// Revocation lists, each in DER.
    pub crl: Vec<Vec<u8>>,
    /// Concatenated DER; at least one.
    pub bundles: BTreeMap<TrustDomain, Vec<u8>>,
}

/// One JWT-SVID.
#[derive(Clone, Debug)]
pub struct JwtAnswer {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The token, compact serialization.
    pub token: SecretText,
    /// What the operator says it is for.
    pub hint: Option<String>,
}

/// JWK Sets as JSON text; at least one.
pub type Bundles = BTreeMap<TrustDomain, String>;

/// A JWT-SVID that was found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// What it claims.
    pub claims: Map<String, Value>,
}

/// WIT-SVIDs, the default identity first.
#[derive(Clone, Debug)]
pub struct WitAnswer {
    /// At least one.
    pub svids: Vec<WitSvid>,
}

/// One WIT-SVID with its key.
#[derive(Clone, Debug)]
pub struct WitSvid {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The token, compact serialization.
    pub token: SecretText,
    /// The private key, a JWK as JSON text.
    pub key: SecretText,
    /// What the operator says it is for.
    pub hint: Option<String>,
}

/// An SVID that may have a hint.
pub(crate) trait Hinted {
    fn hint(&mut self) -> &mut Option<String>;
}

impl Hinted for X509Svid {
    fn hint(&mut self) -> &mut Option<String> {
        &mut self.hint
    }
}

impl Hinted for JwtAnswer {
    fn hint(&mut self) -> &mut Option<String> {
        &mut self.hint
    }
}

impl Hinted for WitSvid {
    fn hint(&mut self) -> &mut Option<String> {
        &mut self.hint
    }
}

/// Takes away hints that are too long and those that an earlier SVID has: the SVIDs stay.
// Workload API §5.2.1: "SPIFFE Workload API servers MUST ensure its value is unique amongst the set
// of returned SVIDs in any given `X509SVIDResponse` message."
pub(crate) fn make_hints_unique(svids: &mut [impl Hinted]) {
    let mut seen = BTreeSet::new();
    for svid in svids {
        let hint = svid.hint();
        let keep = hint.as_ref().is_some_and(|hint| {
            hint.len() <= HINT_BYTES_MAX && !hint.is_empty() && seen.insert(hint.clone())
        });
        if !keep {
            *hint = None;
        }
    }
}

/// Drops every SVID whose hint an earlier one has.
// Workload API §5.2.1: "In the event that a SPIFFE Workload API client encounters more than one
// `X509SVID` message with the same `hint` value set, then the first message in the list SHOULD be
// selected."
pub(crate) fn first_of_each_hint(svids: &mut Vec<impl Hinted>) {
    let mut seen = BTreeSet::new();
    svids.retain_mut(|svid| svid.hint().as_ref().is_none_or(|hint| seen.insert(hint.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svids(hints: &[&str]) -> Vec<JwtAnswer> {
        let svid = |hint: &&str| JwtAnswer {
            spiffe_id: SpiffeId::parse("spiffe://example.org/a").unwrap(),
            token: SecretText::new(String::new()),
            hint: Some((*hint).to_owned()).filter(|hint| hint != "none"),
        };
        hints.iter().map(svid).collect()
    }

    fn hints(svids: &[JwtAnswer]) -> Vec<&str> {
        svids.iter().map(|svid| svid.hint.as_deref().unwrap_or("none")).collect()
    }

    /// req: PROV-08 (part)
    #[test]
    fn workload_api_5_2_1_hints_are_unique() {
        let long = "x".repeat(HINT_BYTES_MAX + 1);
        let longest = "x".repeat(HINT_BYTES_MAX);
        let check = |given: &[&str], sent: &[&str]| {
            let mut found = svids(given);
            make_hints_unique(&mut found);
            assert_eq!(hints(&found), sent);
        };
        check(&["a", "b", "none", "none"], &["a", "b", "none", "none"]);
        check(&["a", "b", "a"], &["a", "b", "none"]);
        check(&[&long, &longest, ""], &["none", &longest, "none"]);
    }

    #[test]
    fn workload_api_5_2_1_the_first_of_the_same_hint_is_selected() {
        let check = |given: &[&str], kept: &[&str]| {
            let mut found = svids(given);
            first_of_each_hint(&mut found);
            assert_eq!(hints(&found), kept);
        };
        check(&["a", "b", "a", "none", "none"], &["a", "b", "none", "none"]);
    }
}
