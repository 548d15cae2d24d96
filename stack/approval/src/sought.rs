//! Who asks, and exactly what for: what somebody is shown, line by line.

use std::collections::BTreeMap;

use authorization::granted::Granted;
use oauth::ScopeSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
        Value::String(text) => lines.push(line(path, text)),
        Value::Null if depth == 0 => {}
        other => lines.push(line(path, &other.to_string())),
    }
}
