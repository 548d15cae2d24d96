//! What our credentials say about a workload beside who it is: the same object in each kind, as a
//! claim of tokens and in an extension of certificates.
//!
//! WIT-SVID §3 and JWT-SVID §3 let issuers add claims; workload-creds §4 forbids a second
//! identifier, and nothing here is one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Name of the claim.
pub const ATTRIBUTES_CLAIM: &str = "aims_attributes";

/// The attributes (S1 §6 "Agent Credential"; CRED-07). What policy leaves out is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members")]
pub struct Attributes {
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// base64url(SHA-256) of its capabilities as registered: a JSON array of strings in the order
    /// of their octets, as RFC 8785 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
    /// Where it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locator: Option<String>,
    /// base64url(SHA-256) of the attestation result that it was issued on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// How whoever shows the credential may prove that it is its own: `mtls`, `wpt`, `bearer`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

/// An object as it stands: an array is none, though it might be read as one.
#[derive(Deserialize)]
#[serde(transparent)]
struct Members(Map<String, Value>);

impl TryFrom<Members> for Attributes {
    type Error = &'static str;

    fn try_from(Members(mut members): Members) -> Result<Self, &'static str> {
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err("an attribute is not a string"),
        };
        let (owner, capabilities) = (text("owner")?, text("capabilities")?);
        let (locator, result) = (text("locator")?, text("result")?);
        let methods = match members.remove("methods") {
            None => Vec::new(),
            Some(all) => Vec::deserialize(all).map_err(|_| "`methods` is not a list of strings")?,
        };
        Ok(Self { owner, capabilities, locator, result, methods })
    }
}

impl Attributes {
    /// True when there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As they stand in a certificate: the JSON text of the claim.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Those that a certificate says; `None` where the text is no such object.
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: CRED-07 (part)
    #[test]
    fn s6_attributes_are_one_object_in_every_kind() {
        let all = Attributes {
            owner: Some("team-a".into()),
            capabilities: Some("h".into()),
            locator: Some("https://a.example".into()),
            result: Some("d".into()),
            methods: vec!["mtls".into()],
        };
        assert_eq!(Attributes::from_text(&all.to_text()), Some(all.clone()));
        assert!(!all.is_empty() && Attributes::default().is_empty());
        assert_eq!(Attributes::default().to_text(), "{}");
        // Those of later versions are ignored; what is no such object is nothing.
        assert_eq!(Attributes::from_text(r#"{"colour":1}"#), Some(Attributes::default()));
        for bad in ["", "[]", r#"{"owner":1}"#, r#"{"methods":"mtls"}"#] {
            assert_eq!(Attributes::from_text(bad), None, "{bad}");
        }
    }
}
