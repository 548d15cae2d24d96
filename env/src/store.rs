//! State: three verbs with written guarantees (docs/style.md, rule 23), and a wait.
//!
//! An attacker who can write to a store can make agents and policies up, but cannot sign anything
//! and cannot take a record out of the log unseen.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use monitoring::Record;
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::UnixTime;

use crate::{Receipt, Unavailable};

/// A kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Agent records, by identifier.
    Agents,
    /// The agent names that are taken for good, by name.
    Names,
    /// OAuth clients that are not agents, by client id.
    Clients,
    /// Hosts and gateways that joined, by identifier.
    Nodes,
    /// Join tokens, by the hash of the token.
    JoinTokens,
    /// Policy sets, by version.
    Policies,
    /// Public halves and windows of signing keys, by purpose.
    Authorities,
    /// Single rows: the active policy, the epoch, the bundle, the last checkpoint, the feed.
    Singles,
    /// On a node: the credentials it holds, by agent identifier.
    Holdings,
    /// Relations to other trust domains, by trust domain.
    Relations,
    /// Documents about agents, by agent identifier.
    Evidence,
    /// Attestation results, by agent and host.
    Results,
    /// That a node obtained credentials for an agent, by both.
    Hosted,
    /// Agents that enrolled from no host of ours, by the hash of their handle.
    Enrolments,
    /// People, by identifier.
    Users,
    /// Browsers in which somebody is signed in, by the hash of the cookie.
    Sessions,
    /// Codes and links that operators gave people, by the hash of the code.
    SignInCodes,
    /// What clients were granted, by id: the root of the lineage of its tokens.
    Grants,
    /// Authorization codes, by hash.
    Codes,
    /// Ids of grants and tokens that ended before their time.
    Ended,
    /// Pushed authorization requests, by the hash of their URI.
    Pushed,
    /// Authorization requests in somebody's browser, by hash.
    Interactions,
    /// What people were asked, and what they answered, by id.
    Approvals,
    /// What clients wait with for somebody's answer, by hash: device codes, `auth_req_id`s.
    Tickets,
    /// Opaque access tokens, by hash.
    Tokens,
    /// Metadata documents of clients, by URL.
    Documents,
    /// Clients that are to be told that a session ended, by session and client.
    Notices,
    /// What lets a client register itself, by the hash of the token.
    Invitations,
    /// Places of tokens in status lists, by list and place.
    Statuses,
    /// How often somebody was asked something, by who is asked.
    Queues,
}

impl Table {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 30] = [
        Self::Agents,
        Self::Names,
        Self::Clients,
        Self::Nodes,
        Self::JoinTokens,
        Self::Policies,
        Self::Authorities,
        Self::Singles,
        Self::Holdings,
        Self::Relations,
        Self::Evidence,
        Self::Results,
        Self::Hosted,
        Self::Enrolments,
        Self::Users,
        Self::Sessions,
        Self::SignInCodes,
        Self::Grants,
        Self::Codes,
        Self::Ended,
        Self::Pushed,
        Self::Interactions,
        Self::Approvals,
        Self::Tickets,
        Self::Tokens,
        Self::Documents,
        Self::Notices,
        Self::Invitations,
        Self::Statuses,
        Self::Queues,
    ];

    /// The name that a database file shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Names => "names",
            Self::Clients => "clients",
            Self::Nodes => "nodes",
            Self::JoinTokens => "join_tokens",
            Self::Policies => "policies",
            Self::Authorities => "authorities",
            Self::Singles => "singles",
            Self::Holdings => "holdings",
            Self::Relations => "relations",
            Self::Evidence => "evidence",
            Self::Results => "results",
            Self::Hosted => "hosted",
            Self::Enrolments => "enrolments",
            Self::Users => "users",
            Self::Sessions => "sessions",
            Self::SignInCodes => "sign_in_codes",
            Self::Grants => "grants",
            Self::Codes => "codes",
            Self::Ended => "ended",
            Self::Pushed => "pushed",
            Self::Interactions => "interactions",
            Self::Approvals => "approvals",
            Self::Tickets => "tickets",
            Self::Tokens => "tokens",
            Self::Documents => "documents",
            Self::Invitations => "invitations",
            Self::Statuses => "statuses",
            Self::Queues => "queues",
            Self::Notices => "notices",
        }
    }

    /// The table of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// Names one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its table.
    pub table: Table,
    /// Its id in that table.
    pub id: String,
}

impl Key {
    /// The row `id` of `table`.
    pub fn new(table: Table, id: impl Into<String>) -> Self {
        Self { table, id: id.into() }
    }

    /// The key of `E`'s row `id`.
    pub fn of<E: Entity>(id: impl Into<String>) -> Self {
        Self::new(E::TABLE, id)
    }
}

/// An index that rows declare themselves under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Index {
    /// Every row of a table, by id.
    All,
    /// Rows by the node that they are about.
    Node,
    /// Agents by owner.
    Owner,
    /// Rows by state name.
    State,
    /// Rows about an agent, by its identifier.
    Agent,
    /// Rows about a person, by their identifier.
    User,
    /// Rows about a client, by its id.
    Client,
    /// Rows by what a person types or follows to them; agents by what those who call know of them.
    Handle,
}

impl Index {
    /// All of them.
    pub const EVERY: [Self; 8] = [
        Self::All,
        Self::Node,
        Self::Owner,
        Self::State,
        Self::Agent,
        Self::User,
        Self::Client,
        Self::Handle,
    ];

    /// The index of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|index| index.name() == name)
    }

    /// The name that a database file shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Node => "node",
            Self::Owner => "owner",
            Self::State => "state",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Client => "client",
            Self::Handle => "handle",
        }
    }
}

/// A position in the store's history: it grows with each commit that writes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// A typed row: what is stored in a table, how it reads, and where it is found.
pub trait Entity: Send + Sync + Sized + 'static {
    /// Its table.
    const TABLE: Table;

    /// Its id in the table.
    fn id(&self) -> String;

    /// The bytes that are stored.
    fn encode(&self) -> Vec<u8>;

    /// Reads what `encode` wrote, in this version or the one before.
    fn decode(bytes: &[u8]) -> Result<Self, Unreadable>;

    /// The indexes that it stands under, beside [`Index::All`].
    fn terms(&self) -> Vec<(Index, String)> {
        Vec::new()
    }

    /// When it may be swept.
    fn expires(&self) -> Option<UnixTime> {
        None
    }
}

/// A stored row that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored row does not read: {0}")]
pub struct Unreadable(pub String);

/// JSON is how most entities are stored.
impl Unreadable {
    /// `encode` of an entity that is plain JSON.
    pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
        serde_json::to_vec(value).unwrap_or_default()
    }

    /// `decode` of an entity that is plain JSON.
    pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Self> {
        serde_json::from_slice(bytes).map_err(|error| Self(error.to_string()))
    }
}

/// A row as a store holds it. It is read into its type once, whoever asks first, and shared.
pub struct Row {
    /// Its name.
    pub key: Key,
    /// Grows by one with each write of this row; starts at 1.
    pub version: u64,
    /// The store's position at its last write.
    pub seq: Seq,
    /// The stored bytes; `None` after a deletion (it stays as long as feeds may need it).
    pub bytes: Option<Vec<u8>>,
    /// The indexes it stands under.
    pub terms: Vec<(Index, String)>,
    /// When it may be swept.
    pub expires: Option<UnixTime>,
    read: OnceLock<Result<Arc<dyn Any + Send + Sync>, Unreadable>>,
}

impl Row {
    /// A row of these contents.
    pub fn new(key: Key, version: u64, seq: Seq, bytes: Option<Vec<u8>>) -> Self {
        Self { key, version, seq, bytes, terms: Vec::new(), expires: None, read: OnceLock::new() }
    }

    /// The row with what it is found by and when it ends.
    #[must_use]
    pub fn with(mut self, terms: Vec<(Index, String)>, expires: Option<UnixTime>) -> Self {
        self.terms = terms;
        self.expires = expires;
        self
    }

    /// Its value; `None` if it was deleted.
    pub fn value<E: Entity>(&self) -> Result<Option<Arc<E>>, Unreadable> {
        let Some(bytes) = &self.bytes else { return Ok(None) };
        let read = self.read.get_or_init(|| {
            E::decode(bytes).map(|value| Arc::new(value) as Arc<dyn Any + Send + Sync>)
        });
        match read {
            Ok(value) => Arc::clone(value)
                .downcast::<E>()
                .map(Some)
                .map_err(|_| Unreadable("the row was read as another type before".to_owned())),
            Err(unreadable) => Err(unreadable.clone()),
        }
    }
}

/// A value and the version it was read at, for compare and swap.
#[derive(Debug)]
pub struct Stored<E> {
    /// The value.
    pub value: Arc<E>,
    /// The version of its row.
    pub version: u64,
}

impl<E> Clone for Stored<E> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), version: self.version }
    }
}

impl<E> std::ops::Deref for Stored<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.value
    }
}

/// Some rows, all as of one instant.
#[derive(Default)]
pub struct Snapshot {
    /// The store's position at that instant.
    pub seq: Seq,
    rows: BTreeMap<Key, Arc<Row>>,
}

impl Snapshot {
    /// Made by a store: the rows that exist among those asked for.
    pub fn new(seq: Seq, rows: impl IntoIterator<Item = Arc<Row>>) -> Self {
        Self { seq, rows: rows.into_iter().map(|row| (row.key.clone(), row)).collect() }
    }

    /// The value under `id`, or `None` where there is none.
    pub fn get<E: Entity>(&self, id: &str) -> Result<Option<Stored<E>>, Unavailable> {
        let Some(row) = self.rows.get(&Key::of::<E>(id)) else { return Ok(None) };
        let value = row.value::<E>().map_err(|error| Unavailable::of("store", error))?;
        Ok(value.map(|value| Stored { value, version: row.version }))
    }
}

/// What a write expects to find: compare and swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No row, or a deleted one.
    Absent,
    /// The row at exactly this version.
    Version(u64),
    /// Whatever is there.
    Any,
}

/// One row of a commit.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which row.
    pub key: Key,
    /// What must be there before.
    pub expect: Expect,
    /// The new contents; `None` deletes.
    pub bytes: Option<Vec<u8>>,
    /// The indexes it will stand under.
    pub terms: Vec<(Index, String)>,
    /// When it may be swept.
    pub expires: Option<UnixTime>,
}

impl Write {
    /// Stores `entity` if the row is as expected.
    pub fn put<E: Entity>(entity: &E, expect: Expect) -> Self {
        Self {
            key: Key::of::<E>(entity.id()),
            expect,
            bytes: Some(entity.encode()),
            terms: entity.terms(),
            expires: entity.expires(),
        }
    }

    /// Deletes `E`'s row `id` if it is as expected.
    pub fn delete<E: Entity>(id: impl Into<String>, expect: Expect) -> Self {
        Self { key: Key::of::<E>(id), expect, bytes: None, terms: Vec::new(), expires: None }
    }
}

/// A value that may be accepted once: a `jti`, a nonce, a proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SingleUse {
    /// SHA-256 over the space (verifying audience and kind), a zero byte, and the value.
    pub hash: [u8; 32],
    /// Until when it must be remembered; later the value is refused for its age.
    pub until: UnixTime,
}

/// All or nothing: rows, single-use values and records.
#[derive(Debug, Default)]
pub struct Change {
    /// Rows to write.
    pub writes: Vec<Write>,
    /// Values to use up.
    pub uses: Vec<SingleUse>,
    /// What happened. A change that writes rows without a record is for replicas, and for a request
    /// in a stranger's browser, which decides nothing.
    pub records: Vec<Record>,
}

impl Change {
    /// A change that only records.
    pub fn record(record: Record) -> Self {
        Self { records: vec![record], ..Self::default() }
    }
}

/// Why nothing of a change was done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// A row was not as expected: read again and decide again.
    #[error("`{}` in `{}` was written by another meanwhile", .0.id, .0.table.name())]
    Conflict(Key),
    /// A single-use value was used before.
    #[error("a single-use value was used before")]
    Used(SingleUse),
    /// The store or the log did not answer. The change may have been made all the same: nobody
    /// was told of it, and asking again shows which it was.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A page of a scan.
#[derive(Default)]
pub struct Page {
    /// The rows, in order.
    pub rows: Vec<Arc<Row>>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<String>,
    /// The store's position as of this page.
    pub seq: Seq,
}

/// The state of one component.
pub trait Store: Send + Sync + 'static {
    /// Reads the rows that exist among `keys`, all as of one instant that is not before any
    /// commit that was acknowledged, here or to anyone who told us of it, when the call began.
    fn snapshot(&self, keys: &[Key]) -> impl Future<Output = Result<Snapshot, Unavailable>> + Send;

    /// Makes the change, whole or not at all: every `expect` held, every single-use value was new,
    /// and rows, uses and records are durable when it answers. A change without writes goes
    /// straight to the log. Two commits that use the same value or expect the same version never
    /// both succeed, on whatever servers they run, before or after a restart.
    fn commit(&self, change: Change) -> impl Future<Output = Result<Receipt, CommitFault>> + Send;

    /// The live rows of `table` under `index` = `value`, by id, from after `after`, at most
    /// `limit`. May miss or repeat rows that are written meanwhile; never shows half a commit's
    /// row.
    fn scan(
        &self,
        table: Table,
        index: Index,
        value: &str,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, Unavailable>> + Send;

    /// The rows, deleted ones too, written after `seq` in `tables`, by position, at most about
    /// `limit` (a commit is never torn). For feeds: applying them in order gives the same state.
    fn changes(
        &self,
        tables: &[Table],
        seq: Seq,
        limit: usize,
    ) -> impl Future<Output = Result<Page, Unavailable>> + Send;

    /// Ends as soon as the store's position is after `seq`; at once if it is already.
    fn past(&self, seq: Seq) -> impl Future<Output = Seq> + Send;
}
