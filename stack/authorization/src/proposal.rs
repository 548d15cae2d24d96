//! What a grant would give. It is worth nothing without a permit.

use std::collections::BTreeMap;

use authentication::session::Authenticated;
use oauth::ScopeSet;
use oauth::act::Act;
use oauth::authorization_details::AuthorizationDetails;
use oauth::confirmation::Confirmation;
use time::UnixTime;

use crate::granted::GrantRecord;
use crate::policy::{Format, Proof};
use crate::presented::Presented;

/// What kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `at+jwt`.
    Access,
    /// `txntoken+jwt`.
    Transaction,
}

/// Where a token comes from (docs/design.md §2, idea 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// It begins a lineage.
    Root,
    /// It comes of what a user, or the client for itself, was granted: the grant is the root.
    Grant {
        /// The grant's id.
        root: String,
        /// The epoch that it was given under: no token of it is younger.
        epoch: u64,
    },
    /// It comes from another token.
    Child {
        /// The root's id.
        root: String,
        /// The token's id.
        parent: String,
        /// The tokens between both, the oldest first.
        above: Vec<String>,
        /// The transaction, where the parent belongs to one.
        txn: Option<String>,
        /// The lowest epoch under which anything above was issued: a child is never younger than
        /// what it came from, or an exchange would outlive a revocation.
        epoch: u64,
    },
}

impl Lineage {
    /// What comes of `subject`.
    pub fn below(subject: &Presented) -> Self {
        let mut above = subject.above();
        above.extend(subject.parent().map(str::to_owned));
        Self::Child {
            root: subject.root().to_owned(),
            parent: subject.jti().to_owned(),
            above,
            // It belongs to the same transaction, whichever service it is for.
            txn: subject.txn().map(str::to_owned),
            epoch: subject.epoch().0,
        }
    }

    /// What comes of `grant`.
    pub fn of_grant(grant: &GrantRecord) -> Self {
        Self::Grant { root: grant.id.clone(), epoch: grant.epoch.0 }
    }
}

/// The right that a grant proposes. Made by the grants of this crate alone.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub(crate) kind: TokenKind,
    pub(crate) action: &'static str,
    pub(crate) client_id: String,
    pub(crate) subject: String,
    pub(crate) act: Option<Act>,
    pub(crate) audience: String,
    pub(crate) audience_name: String,
    pub(crate) proof: Proof,
    pub(crate) format: Format,
    pub(crate) scope: ScopeSet,
    pub(crate) expires: UnixTime,
    pub(crate) lineage: Lineage,
    pub(crate) binding: Option<Confirmation>,
    pub(crate) authorization_details: Option<AuthorizationDetails>,
    pub(crate) authenticated: Option<Authenticated>,
    pub(crate) impersonation: Option<String>,
    pub(crate) details: BTreeMap<String, serde_json::Value>,
    pub(crate) context: BTreeMap<String, serde_json::Value>,
}

impl Proposal {
    /// What kind of token it would be.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The action that the PDP is asked about: `token.issue`, `token.exchange`.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// The client: for our agents their identifier.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// For whom.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The chain of actors, if it is delegated.
    pub fn act(&self) -> Option<&Act> {
        self.act.as_ref()
    }

    /// The one audience.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The audience's name.
    pub fn audience_name(&self) -> &str {
        &self.audience_name
    }

    /// What the token must come with.
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// The rights.
    pub fn scope(&self) -> &ScopeSet {
        &self.scope
    }

    /// When it would end.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Where it comes from.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// What the token looks like.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The key or certificate that it is bound to.
    pub fn binding(&self) -> Option<&Confirmation> {
        self.binding.as_ref()
    }

    /// RFC 9396: what exactly is permitted.
    pub fn authorization_details(&self) -> Option<&AuthorizationDetails> {
        self.authorization_details.as_ref()
    }

    /// How the user authenticated, where one stands behind it.
    pub fn authenticated(&self) -> Option<&Authenticated> {
        self.authenticated.as_ref()
    }

    /// The rule of policy by which the client appears as the subject itself, where it does.
    pub fn impersonation(&self) -> Option<&str> {
        self.impersonation.as_deref()
    }

    /// Every identifier whose suspension would end it: client, subject and actors.
    pub fn concerned(&self) -> impl Iterator<Item = &str> {
        let actors = self.act.iter().flat_map(Act::iter);
        [self.client_id.as_str(), self.subject.as_str()].into_iter().chain(actors)
    }
}

/// A proposal that a permit stands behind. `pdp` alone implements it (`law` checks that).
pub trait Sanctioned {
    /// What was permitted.
    fn proposal(&self) -> &Proposal;
}
