//! `act`: who acts for the subject, and who did before (RFC 8693 §4.1).

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::identifier::SubjectText;
use crate::issuer::Issuer;

/// Actors of one chain.
pub const MAX_ACTORS: usize = 8;

/// A chain of actors, the current one first. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    current: Actor,
    /// From the most recent one back.
    prior: Vec<Actor>,
}

/// One actor: `iss` where `sub` alone does not say who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub sub: SubjectText,
    pub iss: Option<Issuer>,
}

impl Act {
    /// A chain of one, of our own domain.
    pub const fn new(sub: SubjectText) -> Self {
        Self { current: Actor { sub, iss: None }, prior: Vec::new() }
    }

    /// The chain after one more delegation: `sub` is the current actor, all others are history.
    pub fn wrap(self, sub: SubjectText) -> Result<Self, ChainTooLong> {
        // RFC 8693 §4.1: "The outermost "act" claim represents the current actor while nested
        // "act" claims represent prior actors."
        if self.depth() >= MAX_ACTORS {
            return Err(ChainTooLong { max: MAX_ACTORS });
        }
        let mut prior = self.prior;
        prior.insert(0, self.current);
        Ok(Self { current: Actor { sub, iss: None }, prior })
    }

    /// The only actor that a decision looks at: RFC 8693 §4.1: "Prior actors identified by any
    /// nested "act" claims are informational only and are not to be considered in access control
    /// decisions."
    pub const fn current(&self) -> &Actor {
        &self.current
    }

    /// How many actors the chain has.
    pub fn depth(&self) -> usize {
        self.prior.len() + 1
    }

    /// `sub` of each actor, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.actors().map(|actor| actor.sub.as_str())
    }

    /// Each actor, the current one first.
    pub fn actors(&self) -> impl Iterator<Item = &Actor> {
        std::iter::once(&self.current).chain(&self.prior)
    }
}

/// A chain that would have too many actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chain of more than {max} actors")]
pub struct ChainTooLong {
    pub max: usize,
}

impl Serialize for Act {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut nested: Option<Box<Nested>> = None;
        for actor in self.prior.iter().rev().chain([&self.current]) {
            let (sub, iss) = (actor.sub.clone(), actor.iss.clone());
            nested = Some(Box::new(Nested { sub, iss, act: nested }));
        }
        nested.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Act {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Nested { sub, iss, act: mut next } = Nested::deserialize(deserializer)?;
        let mut chain = Self { current: Actor { sub, iss }, prior: Vec::new() };
        while let Some(actor) = next {
            if chain.depth() >= MAX_ACTORS {
                return Err(de::Error::custom(ChainTooLong { max: MAX_ACTORS }));
            }
            let Nested { sub, iss, act } = *actor;
            chain.prior.push(Actor { sub, iss });
            next = act;
        }
        Ok(chain)
    }
}

/// As it is written. Recursion is bounded by the depth that JSON may have before it comes here.
/// Other members (RFC 8693 §4.1: "non-identity claims (e.g., "exp", "nbf", and "aud") are not
/// meaningful") are dropped.
#[derive(Serialize, Deserialize)]
struct Nested {
    sub: SubjectText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<Issuer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Box<Nested>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(text: &str) -> SubjectText {
        SubjectText::parse(text).unwrap()
    }

    /// req: AUTHZ-11 (part)
    #[test]
    fn rfc8693_4_1_outermost_is_the_current_actor() {
        let chain = Act::new(sub("https://service77.example.com"));
        let chain = chain.wrap(sub("https://service16.example.com")).unwrap();
        let figure_6 = r#"{"sub":"https://service16.example.com","act":{"sub":"https://service77.example.com"}}"#;
        assert_eq!(serde_json::to_string(&chain).unwrap(), figure_6);
        let read: Act = serde_json::from_str(figure_6).unwrap();
        assert_eq!(read, chain);
        assert_eq!(read.current().sub.as_str(), "https://service16.example.com");
        let all: Vec<&str> = read.iter().collect();
        assert_eq!(all, ["https://service16.example.com", "https://service77.example.com"]);
        assert_eq!(read.depth(), 2);
    }

    #[test]
    fn rfc8693_4_1_chain_is_bounded() {
        let mut chain = Act::new(sub("a0"));
        for index in 1..MAX_ACTORS {
            chain = chain.wrap(sub(&format!("a{index}"))).unwrap();
        }
        let text = serde_json::to_string(&chain).unwrap();
        assert_eq!(serde_json::from_str::<Act>(&text).unwrap(), chain);
        assert_eq!(chain.clone().wrap(sub("more")), Err(ChainTooLong { max: MAX_ACTORS }));
        let longer = format!(r#"{{"sub":"more","act":{text}}}"#);
        assert!(serde_json::from_str::<Act>(&longer).is_err());
    }

    #[test]
    fn rfc8693_4_1_actors_have_a_subject() {
        for text in [r#"{}"#, r#"{"sub":""}"#, r#"{"sub":1}"#, r#"{"sub":"a","act":{}}"#, "\"a\""] {
            assert!(serde_json::from_str::<Act>(text).is_err(), "{text}");
        }
        let with_issuer = r#"{"sub":"a","iss":"https://i.example","exp":1}"#;
        let read: Act = serde_json::from_str(with_issuer).unwrap();
        assert_eq!(read.current().iss.as_ref().map(Issuer::as_str), Some("https://i.example"));
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(written, r#"{"sub":"a","iss":"https://i.example"}"#);
    }
}
