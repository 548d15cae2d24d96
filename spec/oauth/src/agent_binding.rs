//! The binding of an agent to whom it acts for: a JWT
//! ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) of our own kind, signed by the owner's
//! identity provider or by a key of the owner.

use jose::{
    Algorithm, Audience, Jwk, Kind, Malformed, NumericDate, PublicKey, Refused, Thumbprint,
    TokenHash, Unverified, Window,
};
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::confirmation::Confirmation;
use crate::identifier::{SubjectText, TokenId};
use crate::scope::ScopeSet;

/// What stands between a binding and its rotations.
pub const BEHIND: char = '~';

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

/// The kind `agent-binding-rotation+jwt`: the key of a binding hands over to the next one.
#[derive(Clone, Copy, Debug)]
pub struct AgentBindingRotation;

/// What a rotation says. It holds as long as the binding does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentBindingRotationClaims {
    /// The agent's identifier.
    pub sub: String,
    /// SHA-256 of what it follows: the binding, with the rotations before this one.
    pub follows: TokenHash,
    /// The key that hands over, and signs this.
    pub jwk: Jwk,
    /// The agent's next key.
    pub cnf: Confirmation,
    pub iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
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

impl Kind for AgentBindingRotation {
    const TYPES: &'static [&'static str] = &["agent-binding-rotation+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = AgentBindingRotationClaims;
    type Hint = Jwk;

    fn hint(claims: &AgentBindingRotationClaims) -> Jwk {
        claims.jwk.clone()
    }

    fn window(claims: &AgentBindingRotationClaims) -> Window {
        Window { exp: claims.exp, nbf: None, iat: Some(claims.iat) }
    }
}

/// Under what the rotations behind a binding are read.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The agent's identifier.
    pub agent: &'a str,
    /// What keys may sign by.
    pub algorithms: &'a [Algorithm],
    pub now: UnixTime,
    pub skew: Span,
}

impl Chain<'_> {
    /// The key that `text`, a binding of the key `first` and its rotations, is of now, and how
    /// often it was handed over: each rotation is signed by the key before it, over everything that
    /// stands before it.
    pub fn bound(
        &self,
        text: &str,
        first: Thumbprint,
        max: usize,
    ) -> Result<(Thumbprint, usize), RotationRefused> {
        let (mut bound, mut rotations) = (first, 0);
        for (at, _) in text.match_indices(BEHIND) {
            rotations += 1;
            if rotations > max {
                return Err(RotationRefused::TooMany { max });
            }
            let (before, rest) = text.split_at(at);
            let rotation = rest.split(BEHIND).nth(1).unwrap_or_default();
            let token = Unverified::<AgentBindingRotation>::parse(rotation);
            let token = token.map_err(RotationRefused::Malformed)?;
            let key = PublicKey::from_jwk(&token.hint()).ok();
            let key = key.filter(|key| key.thumbprint() == bound);
            let key = key.ok_or(RotationRefused::OtherKey)?;
            let token = token.verify(&key, self.algorithms, self.now, self.skew);
            let token = token.map_err(RotationRefused::Token)?;
            let claims = token.claims();
            if claims.sub != self.agent {
                return Err(RotationRefused::Agent { found: claims.sub.clone() });
            }
            if claims.follows != TokenHash::of(before) {
                return Err(RotationRefused::Follows);
            }
            let Confirmation::Key(next) = &claims.cnf else {
                return Err(RotationRefused::NoThumbprint);
            };
            bound = *next;
        }
        Ok((bound, rotations))
    }
}

/// Why the key of a binding did not hand over: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationRefused {
    #[error("its key may hand over {max} times at the most")]
    TooMany { max: usize },
    #[error("the rotation does not read: {0}")]
    Malformed(Malformed),
    #[error("a rotation that is not by the key before it")]
    OtherKey,
    #[error("the rotation is refused: {0}")]
    Token(Refused),
    #[error("a rotation about `{found}`")]
    Agent { found: String },
    #[error("a rotation that does not follow what stands before it")]
    Follows,
    #[error("`cnf` of a rotation has no `jkt`")]
    NoThumbprint,
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
