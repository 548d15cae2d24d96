//! People, their sessions, and what they granted, as they are stored.

use authentication::notice::Notice;
use authentication::session::{Session, SignInCode};
use authorization::granted::{Code, Ended, GrantRecord, code};
use registry::UserRecord;
use time::{Span, UnixTime};

use crate::store::{Entity, Index, Table, Unreadable};

/// How long the row of an ended session stays, for its owner to see.
const SESSION_KEPT: Span = Span::from_seconds(86_400);
/// How long a code's row outlives it, so that a late second use is told for what it is.
const CODE_KEPT: Span = Span::from_seconds(86_400);

macro_rules! entity {
    ($type:ty, $table:expr, $self:ident => $id:expr, $terms:expr, $expires:expr) => {
        impl Entity for $type {
            const TABLE: Table = $table;

            fn id(&self) -> String {
                let $self = self;
                $id
            }

            fn encode(&self) -> Vec<u8> {
                Unreadable::to_json(self)
            }

            fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
                Unreadable::from_json(bytes)
            }

            fn terms(&self) -> Vec<(Index, String)> {
                let $self = self;
                let _ = $self;
                $terms
            }

            fn expires(&self) -> Option<UnixTime> {
                let $self = self;
                let _ = $self;
                $expires
            }
        }
    };
}

entity!(UserRecord, Table::Users, one => one.id(), account_terms(one), None);
entity!(
    Session, Table::Sessions, one => one.hash.clone(),
    vec![(Index::User, one.user.clone()), (Index::Handle, one.id.clone())],
    Some(one.ends().plus(SESSION_KEPT))
);
entity!(
    SignInCode, Table::SignInCodes, one => one.hash.clone(),
    vec![(Index::User, one.user.clone())],
    Some(one.until.plus(CODE_KEPT))
);
entity!(
    GrantRecord, Table::Grants, one => one.id.clone(),
    vec![(Index::User, one.subject.clone()), (Index::Client, one.client_id.clone())],
    Some(one.kept_until())
);
entity!(
    Code, Table::Codes, one => one.hash.clone(),
    Vec::new(),
    Some(one.until.plus(code::KEPT))
);
entity!(
    Notice, Table::Notices, one => one.row(),
    vec![(Index::User, one.user.clone())],
    Some(one.until)
);
entity!(Ended, Table::Ended, one => one.id.clone(), Vec::new(), Some(one.until));

/// A person is found by their account at another provider, too.
fn account_terms(user: &UserRecord) -> Vec<(Index, String)> {
    let account = |issuer: &str, subject: &str| (Index::Handle, account_handle(issuer, subject));
    user.accounts.iter().map(|one| account(&one.issuer, &one.subject)).collect()
}

/// What [`Index::Handle`] finds a person by: issuer and `sub`, which have no line break.
pub fn account_handle(issuer: &str, subject: &str) -> String {
    format!("{issuer}\n{subject}")
}
