//! `may_act`: who may come to act for the subject (RFC 8693 §4.4).

use serde::{Deserialize, Serialize};

use crate::identifier::SubjectText;
use crate::issuer::Issuer;

/// The one party that may act. A claim that names it by other members than these is refused, so
/// that it is never passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    pub sub: SubjectText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<Issuer>,
}

impl MayAct {
    /// Whether the party `sub` of `iss` is the one named. Without an issuer in the claim the
    /// subject is one of `own`, the issuer of the token.
    pub fn permits(&self, sub: &SubjectText, iss: &Issuer, own: &Issuer) -> bool {
        // RFC 8693 §4.4: "the combination of the two claims "iss" and "sub" are sometimes
        // necessary to uniquely identify an authorized actor"
        self.sub == *sub && self.iss.as_ref().unwrap_or(own) == iss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Defect: `may_act` present but not enforced.
    /// req: AUTHZ-11 (part)
    #[test]
    fn rfc8693_4_4_names_one_party() {
        let own = Issuer::parse("https://own.example").unwrap();
        let other = Issuer::parse("https://other.example").unwrap();
        let sub = |text: &str| SubjectText::parse(text).unwrap();
        let here: MayAct = serde_json::from_str(r#"{"sub":"a"}"#).unwrap();
        let there: MayAct =
            serde_json::from_str(r#"{"sub":"a","iss":"https://other.example"}"#).unwrap();
        for (claim, name, issuer, expect) in [
            (&here, "a", &own, true),
            (&here, "b", &own, false),
            (&here, "A", &own, false),
            (&here, "a", &other, false),
            (&there, "a", &other, true),
            (&there, "a", &own, false),
            (&there, "b", &other, false),
        ] {
            assert_eq!(claim.permits(&sub(name), issuer, &own), expect, "{claim:?} {name}");
        }
        for text in
            ["{}", r#"{"client_id":"a"}"#, r#"{"sub":"a","email":"e"}"#, r#"{"sub":["a"]}"#, "true"]
        {
            assert!(serde_json::from_str::<MayAct>(text).is_err(), "{text}");
        }
    }
}
