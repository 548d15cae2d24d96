//! Identifiers: exactly one for an agent, stable, never given to another
//! (draft-klrc-aiagent-auth §5 "Agent Identifiers", held as S1 §5; requirements ID-01 to ID-04,
//! ID-06).
//!
//! In scope: names, how an identifier is made of one, and the rule that a name or identifier once
//! taken stays taken. Not here: the syntax of identifiers (`spiffe`, `wimse`), and the record that
//! hangs on one (`registry`).

mod assign;
mod name;

pub use assign::{AssignRefusal, Assignment, Kind, assign};
pub use name::{AgentName, NameError};
