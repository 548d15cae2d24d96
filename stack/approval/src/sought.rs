//! Who asks, and exactly what for: what somebody is shown, line by line.

use std::collections::BTreeMap;

use authorization::granted::Granted;
use oauth::ScopeSet;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Characters of one value as it is shown.
pub const VALUE_CHARS_MAX: usize = 1_024;
/// Lines of one thing as it is shown.
pub const LINES_MAX: usize = 128;
/// How deep an object is looked into.
const DEPTH_MAX: usize = 8;

/// Who asks, and who is behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// The client that asks: for our agents their identifier.
    pub client_id: String,
    /// What it is called, by its record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its owner, by its record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// On whose behalf it acted when it asked; empty where that is yet to be known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Everybody who acts in the chain behind it, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
}

/// The one action that is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The action, as policy calls it: `tool.call`.
    pub action: String,
    /// What it is done to, below the audience: a tool's name, or method and path.
    pub what: String,
    /// The arguments, as they are shown.
    pub arguments: Value,
    /// SHA-256 of all of them, base64url: what the call that is let through has.
    pub arguments_hash: String,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// The rights, by audience.
    pub targets: BTreeMap<String, Granted>,
    /// Scopes of OpenID Connect.
    #[serde(default, skip_serializing_if = "ScopeSet::is_empty")]
    pub openid: ScopeSet,
    /// The one action, where it is asked for by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// The question of somebody else that it answers, as far as the rest does not say it (AuthZEN):
    /// objects by their names.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub question: Map<String, Value>,
    /// What whoever asks says about it (CIBA §7.1 `binding_message`, or the `reason` that a
    /// resource signed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The transaction that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<String>,
}

/// A line of what is shown: what it is, and its value.
pub type Line = (String, String);

impl Asks {
    /// As it is shown.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = vec![line("asked by", &self.client_id)];
        let named =
            [("named", &self.name), ("owned by", &self.owner), ("acting for", &self.subject)];
        lines.extend(named.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| line(n, v)));
        lines.extend(self.actors.iter().map(|actor| line("through", actor)));
        lines
    }
}

impl Sought {
    /// As it is shown. What does not fit is refused before ([`Sought::fits`]), never left out.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(act) = &self.act {
            lines.extend([line("action", &act.action), line("on", &act.what)]);
            members("with", &act.arguments, 0, &mut lines);
            lines.push(line("sha-256 of the arguments", &act.arguments_hash));
        }
        for (name, value) in &self.question {
            if value.as_object().is_none_or(|object| !object.is_empty()) {
                members(name, value, 0, &mut lines);
            }
        }
        for (audience, granted) in &self.targets {
            lines.push(line("at", audience));
            lines.extend(granted.scope.iter().map(|scope| line("scope", scope.as_str())));
            for detail in &granted.details {
                members("detail", detail, 0, &mut lines);
            }
        }
        lines.extend(self.openid.iter().map(|scope| line("sign-in", scope.as_str())));
        lines.extend(self.message.iter().map(|message| line("message", message)));
        lines.extend(self.txn.iter().map(|txn| line("transaction", txn)));
        lines
    }

    /// Refuses what could not be shown whole: nobody allows what they could not see.
    pub fn fits(&self) -> Result<(), TooMuch> {
        let lines = self.lines();
        if lines.len() > LINES_MAX {
            return Err(TooMuch::Lines { found: lines.len() });
        }
        let is_long = |text: &str| text.chars().count() > VALUE_CHARS_MAX;
        let long = lines.into_iter().find(|(name, value)| is_long(name) || is_long(value));
        long.map_or(Ok(()), |(name, _)| Err(TooMuch::Value { name }))
    }

    /// The first audience, for records.
    pub fn audience(&self) -> Option<&str> {
        self.targets.keys().next().map(String::as_str)
    }
}

/// What cannot be shown whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Too many lines.
    #[error("{found} lines to show, at most {LINES_MAX} are read by anybody")]
    Lines {
        /// How many.
        found: usize,
    },
    /// A value that is too long.
    #[error("`{name}` is longer than the {VALUE_CHARS_MAX} characters that are shown")]
    Value {
        /// Which.
        name: String,
    },
}

fn line(name: &str, value: &str) -> Line {
    (name.to_owned(), value.to_owned())
}

/// One step of a path. A name that could look like a path, or like words of ours, is quoted.
fn step(name: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "_-$@".contains(letter);
    match !name.is_empty() && name.chars().all(plain) {
        true => format!(".{name}"),
        false => format!("[{}]", Value::String(name.to_owned())),
    }
}

/// Whether a string looks like another value, or like nothing: it is shown in quotes.
fn reads_otherwise(text: &str) -> bool {
    text.trim() != text
        || text.is_empty()
        || text.starts_with(['"', '{', '['])
        || serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// An object line by line, each by its path.
fn members(path: &str, value: &Value, depth: usize, lines: &mut Vec<Line>) {
    // One line more than may be shown is enough to know that it does not fit.
    if lines.len() > LINES_MAX {
        return;
    }
    let deeper = depth < DEPTH_MAX;
    match value {
        Value::Object(object) if deeper && !object.is_empty() => {
            // In one order, whatever order they came in.
            let sorted: BTreeMap<_, _> = object.iter().collect();
            for (name, value) in sorted {
                members(&format!("{path}{}", step(name)), value, depth + 1, lines);
            }
        }
        Value::Array(values) if deeper && !values.is_empty() => {
            for (at, value) in values.iter().enumerate() {
                members(&format!("{path}[{at}]"), value, depth + 1, lines);
            }
        }
        Value::String(text) if reads_otherwise(text) => {
            lines.push(line(path, &value.to_string()));
        }
        Value::String(text) => lines.push(line(path, text)),
        Value::Null if depth == 0 => {}
        other => lines.push(line(path, &other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// No two values have one line.
    /// req: AUTHZ-31 (part)
    #[test]
    fn s10_6_values_of_two_types_do_not_look_alike() {
        let shown = |value: &Value| {
            let mut lines = Vec::new();
            members("with", &json!({ "a": value }), 0, &mut lines);
            lines
        };
        let mut seen = BTreeMap::new();
        for value in [
            json!(5),
            json!("5"),
            json!("\"5\""),
            json!(5.5),
            json!("5.5"),
            json!("1e2"),
            json!(true),
            json!("true"),
            json!(null),
            json!("null"),
            json!(false),
            json!("false"),
            json!({}),
            json!("{}"),
            json!([]),
            json!("[]"),
            json!(""),
            json!("\"\""),
            json!(" "),
            json!(" 5"),
            json!("Bob"),
            json!("\"Bob\""),
            json!("[x"),
            json!("-1"),
            json!(-1),
        ] {
            let lines = shown(&value);
            let [(name, text)] = lines.as_slice() else { panic!("{lines:?}") };
            assert_eq!(name, "with.a");
            let before = seen.insert(text.clone(), value.clone());
            assert_eq!(before, None, "{text}: {value}");
        }
        assert_eq!(shown(&json!("Bob")), [line("with.a", "Bob")]);
        assert_eq!(shown(&json!("5")), [line("with.a", "\"5\"")]);
        assert_eq!(shown(&json!("5 EUR")), [line("with.a", "5 EUR")]);
        // Nor does what is too deep to be looked into.
        let deep = |value: Value| (0..DEPTH_MAX).fold(value, |value, _| json!([value]));
        assert_ne!(shown(&deep(json!({"b": 1}))), shown(&deep(json!("{\"b\":1}"))));
    }

    /// req: AUTHZ-31 (part)
    #[test]
    fn arap_a_question_is_shown_member_by_member() {
        let question = json!({
            "action": {"name": "pay", "properties": {"amount": "1000000 EUR"}}, "context": {},
        });
        let Value::Object(question) = question else { panic!("no object") };
        let sought = Sought { question, ..Sought::default() };
        let expect = [line("action.name", "pay"), line("action.properties.amount", "1000000 EUR")];
        assert_eq!(sought.lines(), expect);
        let long = Value::String("x".repeat(VALUE_CHARS_MAX + 1));
        let question = Map::from_iter([("action".to_owned(), json!({ "properties": long }))]);
        let sought = Sought { question, ..Sought::default() };
        let name = "action.properties".to_owned();
        assert_eq!(sought.fits(), Err(TooMuch::Value { name }));
    }
}
