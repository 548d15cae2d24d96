//! Who acts for the subject of a question (Access Request and Approval Profile, Delegation and
//! On-Behalf-Of).

use serde_json::Value;

use crate::ID_BYTES_MAX;
use crate::evaluation::{Malformed, Subject};

/// Actors of one chain that are read.
pub const ACTORS_MAX: usize = 8;
/// The member of a subject's properties that has them.
pub const ACT: &str = "act";

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub id: String,
    /// Whose identifier that is, where it is said.
    pub issuer: Option<String>,
}

impl Subject {
    /// The chain in `properties.act`, the immediate actor first; empty where there is none.
    pub fn actors(&self) -> Result<Vec<Actor>, Malformed> {
        // "required `sub` and `iss` members"; those of our own tokens name no `iss`.
        self.properties.get(ACT).map_or(Ok(Vec::new()), |act| nested(act, "subject.properties.act"))
    }
}

/// The chain that `client.actor` of a submission names.
pub(crate) fn of_client(actor: &Value) -> Result<Vec<Actor>, Malformed> {
    const MEMBER: &str = "client.actor";
    let object = actor.as_object().ok_or(Malformed::Kind { member: MEMBER })?;
    // "`id`: REQUIRED. String. Stable identifier for the actor."
    let id = text(object.get("id"), "client.actor.id")?.ok_or(missing("client.actor.id"))?;
    let issuer = text(object.get("issuer"), "client.actor.issuer")?;
    let mut chain = vec![Actor { id, issuer }];
    // "nesting represents the chain from the immediate actor outward toward the Subject."
    if let Some(act) = object.get(ACT) {
        chain.extend(nested(act, "client.actor.act")?);
    }
    if chain.len() > ACTORS_MAX {
        return Err(Malformed::Chain { max: ACTORS_MAX });
    }
    Ok(chain)
}

fn nested(act: &Value, member: &'static str) -> Result<Vec<Actor>, Malformed> {
    let (mut chain, mut next) = (Vec::new(), Some(act));
    while let Some(act) = next {
        if chain.len() >= ACTORS_MAX {
            return Err(Malformed::Chain { max: ACTORS_MAX });
        }
        let object = act.as_object().ok_or(Malformed::Kind { member })?;
        let id = text(object.get("sub"), member)?.ok_or(missing(member))?;
        chain.push(Actor { id, issuer: text(object.get("iss"), member)? });
        next = object.get(ACT);
    }
    Ok(chain)
}

fn missing(member: &'static str) -> Malformed {
    Malformed::Missing { member }
}

/// An optional string within its bound.
pub(crate) fn text(
    value: Option<&Value>,
    member: &'static str,
) -> Result<Option<String>, Malformed> {
    let Some(value) = value else { return Ok(None) };
    let text = value.as_str().ok_or(Malformed::Kind { member })?;
    if text.len() > ID_BYTES_MAX {
        return Err(Malformed::TooLong { member, bytes: text.len(), max: ID_BYTES_MAX });
    }
    Ok(Some(text.to_owned()))
}
