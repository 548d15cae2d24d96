//! The binding of an agent to whom it acts for: a JWT
//! ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) of our own kind, signed by the owner's
//! identity provider or by a key of the owner.

use jose::{Audience, Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};

use crate::confirmation::Confirmation;
use crate::identifier::{SubjectText, TokenId};
use crate::scope::ScopeSet;

/// The kind `agent-binding+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct AgentBinding;

/// What a binding says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentBindingClaims {
    /// Who says so: whom policy lets speak for users or roles.
    pub iss: String,
    /// The agent's identifier.
    pub sub: String,
    /// Whom the agent acts for.
    pub act_for: ActFor,
    /// In what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// The agent's key.
    pub cnf: Confirmation,
    pub exp: NumericDate,
    pub iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    /// Accepted once.
    pub jti: TokenId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
}

/// A user, or a role of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ActFor {
    User(SubjectText),
    Role(Role),
}

/// A role, and who gave it to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub organization: SubjectText,
    pub name: SubjectText,
    pub granted_by: SubjectText,
}

impl Kind for AgentBinding {
    // RFC 8725 §3.11: "Explicit typing is RECOMMENDED for new uses of JWTs."
    const TYPES: &'static [&'static str] = &["agent-binding+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = AgentBindingClaims;
    type Hint = String;

    fn hint(claims: &AgentBindingClaims) -> String {
        claims.iss.clone()
    }

    fn window(claims: &AgentBindingClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: Some(claims.iat) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_acts_for_one_user_or_one_role() {
        let read = |text: &str| serde_json::from_str::<ActFor>(text).is_ok();
        assert!(read(r#"{"user":"alice"}"#));
        assert!(read(r#"{"role":{"organization":"acme","name":"buyer","granted_by":"bob"}}"#));
        for text in [
            "{}",
            r#""alice""#,
            r#"{"user":""}"#,
            r#"{"user":"alice","role":{"organization":"a","name":"b","granted_by":"c"}}"#,
            r#"{"role":{"organization":"acme","name":"buyer"}}"#,
            r#"{"role":{"organization":"a","name":"b","granted_by":"c","more":"d"}}"#,
            r#"{"group":"acme"}"#,
        ] {
            assert!(!read(text), "{text}");
        }
    }
}
