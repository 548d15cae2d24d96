//! One call as an object of `authorization_details` (RFC 9396 §2): what a resource challenges, what
//! a human is shown, and what the token that comes of it lets through, once.

use jose::TokenHash;
use serde_json::{Map, Value};

use crate::sought::Act;

/// `type` of the object.
pub const TYPE: &str = "urn:aims:call";

/// The SHA-256 of arguments, base64url, over their canonical form (RFC 8785): whoever writes the
/// same arguments otherwise asks for the same.
pub fn hash_of(arguments: &Value) -> Result<String, json::NotCanonical> {
    json::canonical(&arguments.to_string(), &[]).map(|text| TokenHash::of(&text).to_base64url())
}

/// The object: without the arguments themselves where the token alone is to carry it.
pub fn to_value(act: &Act, audience: &str, whole: bool) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), TYPE.into());
    object.insert("locations".to_owned(), vec![audience].into());
    object.insert("actions".to_owned(), vec![act.action.as_str()].into());
    object.insert("identifier".to_owned(), act.what.as_str().into());
    object.insert("arguments_sha256".to_owned(), act.arguments_hash.as_str().into());
    if whole {
        object.insert("arguments".to_owned(), act.arguments.clone());
    }
    Value::Object(object)
}

/// Reads an object of this type for `audience`, whole or without its arguments. What it says of its
/// arguments is looked at: the hash is theirs.
pub fn of_value(value: &Value, audience: &str) -> Result<Act, NotACall> {
    let text =
        |name: &'static str| value.get(name).and_then(Value::as_str).ok_or(NotACall::Member(name));
    let sole = |name: &'static str| {
        let values = value.get(name).and_then(Value::as_array).ok_or(NotACall::Member(name))?;
        match values.as_slice() {
            [one] => one.as_str().ok_or(NotACall::Member(name)),
            _ => Err(NotACall::Member(name)),
        }
    };
    if text("type")? != TYPE {
        return Err(NotACall::Member("type"));
    }
    if sole("locations")? != audience {
        return Err(NotACall::Member("locations"));
    }
    let arguments = value.get("arguments").cloned().unwrap_or(Value::Null);
    let arguments_hash = text("arguments_sha256")?.to_owned();
    if !arguments.is_null() && hash_of(&arguments).ok().as_ref() != Some(&arguments_hash) {
        return Err(NotACall::Hash);
    }
    let (action, what) = (sole("actions")?.to_owned(), text("identifier")?.to_owned());
    Ok(Act { action, what, arguments, arguments_hash })
}

/// Why an object is not one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACall {
    /// A member is missing, or not of its form.
    #[error("`{0}` is missing, or not what it must be")]
    Member(&'static str),
    /// The arguments are others than those that the hash is of.
    #[error("`arguments_sha256` is not the hash of `arguments`")]
    Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://bank.example";

    fn act() -> Act {
        let arguments = serde_json::json!({ "to": "Bob", "sum": 5 });
        let arguments_hash = hash_of(&arguments).unwrap();
        Act { action: "tool.call".to_owned(), what: "pay".to_owned(), arguments, arguments_hash }
    }

    /// req: AUTHZ-31 (part)
    #[test]
    fn rfc9396_2_one_call_reads_as_it_was_written() {
        let whole = to_value(&act(), HERE, true);
        assert_eq!(of_value(&whole, HERE), Ok(act()));
        let short = Act { arguments: Value::Null, ..act() };
        assert_eq!(of_value(&to_value(&act(), HERE, false), HERE), Ok(short));
        let order = serde_json::from_str(r#"{ "sum":5,   "to":"Bob" }"#).unwrap();
        assert_eq!(hash_of(&order), Ok(act().arguments_hash));
    }

    #[test]
    fn rfc9396_2_what_is_not_one_call_for_here_is_refused() {
        let check = |name: &'static str, value: Value, expect| {
            let mut changed = to_value(&act(), HERE, true);
            changed[name] = value;
            assert_eq!(of_value(&changed, HERE), Err(expect), "{name}");
        };
        check("type", "urn:other".into(), NotACall::Member("type"));
        check("locations", vec!["https://other.example"].into(), NotACall::Member("locations"));
        check("locations", vec![HERE, "x"].into(), NotACall::Member("locations"));
        check("actions", Value::Null, NotACall::Member("actions"));
        check("identifier", 5.into(), NotACall::Member("identifier"));
        check("arguments_sha256", Value::Null, NotACall::Member("arguments_sha256"));
        check("arguments", serde_json::json!({ "to": "Eve", "sum": 5 }), NotACall::Hash);
    }
}
