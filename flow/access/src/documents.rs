//! Clients that publish who they are: metadata documents
//! ([draft-ietf-oauth-client-id-metadata-document](https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/))
//! and key sets (`jwks_uri`, RFC 7591 §2). Both are read by the guarded client alone
//! (docs/past-defects.md 11), before the request that needs them is decided.
//!
//! A document becomes the record of its client: who is shown, disabled or ended then needs no
//! second way. Failures are never remembered; what was read is, for as long as its server says,
//! within bounds.

use std::collections::BTreeSet;

use authentication::session::hash_of;
use env::rows::{ClientDocument, ClientKeys};
use env::{
    CannotMake, Change, Clock, CommitFault, Expect, Key, PublishedPage, Reach, Snapshot, Store,
    Unavailable, Wanted, World, Write,
};
use jose::{KeyId, KeySet, json};
use monitoring::{Event, Record};
use oauth::client_metadata::ClientMetadataError;
use oauth::metadata_document::{ClientIdUrl, DocumentRefused, MAX_DOCUMENT_BYTES};
use oauth::registration::Registration;
use registry::admission::{OnChange, RegistrationPolicy, Unadmitted, admit};
use registry::client::Origin;
use registry::{ClientRecord, ClientState, Metadata, Signed};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::ends::{self, Ending};
use crate::facts::basis;
use crate::for_clients;
use crate::record::begin;
use crate::turns::{TRIES_MAX, overtaken, pause};

/// How long a document is kept that does not say; the least and the most that it may say.
const KEPT: Span = Span::from_seconds(300);
const KEPT_MIN: Span = Span::from_seconds(60);
const KEPT_MAX: Span = Span::from_seconds(86_400);
/// Bytes of a key set.
const KEY_SET_BYTES_MAX: usize = 64 * 1_024;
/// A key set is not read again for an unknown key within this time.
const COOLDOWN: Span = Span::from_seconds(60);

/// Why a client that publishes itself is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Policy reads no such document.
    #[error("policy reads no client metadata document of `{0}`")]
    Host(String),
    /// It was not to be had. Whoever named it is not told why: that would show them what we reach.
    #[error("`{url}` could not be read")]
    Fetch {
        /// Where.
        url: String,
        /// Which check.
        check: &'static str,
        /// In words.
        why: String,
    },
    /// It does not say what it must.
    #[error(transparent)]
    Document(#[from] DocumentRefused),
    /// Clients may not be so here.
    #[error(transparent)]
    Unadmitted(#[from] Unadmitted),
    /// The keys at `jwks_uri` do not read.
    #[error("the keys at `{url}`: {why}")]
    Keys {
        /// Where.
        url: String,
        /// In words.
        why: String,
    },
}

impl From<ClientMetadataError> for Unread {
    fn from(error: ClientMetadataError) -> Self {
        Self::Document(DocumentRefused::Metadata(error))
    }
}

impl Unread {
    /// The variant's name: what records and counters call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Host(_) => "document::Host",
            Self::Fetch { check, .. } => check,
            Self::Document(_) => "document::Document",
            Self::Unadmitted(refusal) => refusal.check(),
            Self::Keys { .. } => "document::Keys",
        }
    }

    /// All of it, for records.
    pub fn evidence(&self) -> String {
        match self {
            Self::Fetch { why, .. } => format!("{self}: {why}"),
            other => other.to_string(),
        }
    }
}

/// Makes sure that the client `id` is known as freshly as it must be. Does nothing for one that
/// publishes nothing. `source`: where the request comes from that makes us look.
pub async fn known<W: World>(
    world: &W,
    id: &str,
    source: &str,
) -> Result<Result<(), Unread>, Unavailable> {
    match ClientIdUrl::parse(id) {
        Ok(url) => document(world, &url, source).await,
        Err(_) => Ok(Ok(())),
    }
}

/// The same, and that its keys are, among them the one that a signature names by `kid`: the row
/// in which they then are.
pub async fn ready<W: World>(
    world: &W,
    id: &str,
    kid: Option<&KeyId>,
    source: &str,
) -> Result<Result<Option<Key>, Unread>, Unavailable> {
    if let Err(unread) = known(world, id, source).await? {
        return Ok(Err(unread));
    }
    let Some(client) = crate::facts::one::<W, ClientRecord>(world, id).await? else {
        return Ok(Ok(None));
    };
    let Some(url) = client.metadata.jwks_uri() else { return Ok(Ok(None)) };
    let read = keys(world, url, kid, source).await?;
    Ok(read.map(|()| Some(Key::of::<ClientKeys>(ClientKeys::row(url)))))
}

/// Reads the document where it is not known, or no longer counts.
async fn document<W: World>(
    world: &W,
    url: &ClientIdUrl,
    source: &str,
) -> Result<Result<(), Unread>, Unavailable> {
    for turn in 0..TRIES_MAX {
        let rows = vec![
            Key::of::<ClientDocument>(ClientDocument::row(url.as_str())),
            Key::of::<ClientRecord>(url.as_str()),
        ];
        let facts = basis(world, rows).await?;
        let policy = &facts.set().domain().registration;
        // Policy of now: what it no longer reads, it no longer knows.
        if !policy.reads(url.host()) {
            return Ok(Err(Unread::Host(url.host().to_owned())));
        }
        let now = world.clock().now();
        let known = facts.rows.get::<ClientDocument>(&ClientDocument::row(url.as_str()))?;
        let client = facts.rows.get::<ClientRecord>(url.as_str())?;
        if known.is_some_and(|known| now < known.fresh_until) && client.is_some() {
            return Ok(Ok(()));
        }
        let page = match fetch(world, policy, (url.as_str(), source), MAX_DOCUMENT_BYTES).await {
            Ok(page) => page,
            Err(unread) => return Ok(Err(unread)),
        };
        let metadata = match read(url, &page.text, policy) {
            Ok(metadata) => metadata,
            Err(unread) => return Ok(Err(unread)),
        };
        if let Err(cannot) = signable(world, &metadata).await? {
            return Ok(Err(Unadmitted::from(cannot).into()));
        }
        let changed = client
            .as_ref()
            .map(|client| client.metadata.changed_identity(&metadata))
            .unwrap_or_default();
        // Before the new record stands: a stop in between leaves fewer rights, not more.
        if !changed.is_empty() && policy.on_change == OnChange::EndGrants {
            let why = format!("its document changed: {}", changed.join(", "));
            let ending = Ending::by("document::Changed", &why);
            ends::end_client(world, url.as_str(), ending).await?;
        }
        let fresh_until = now.plus(bounded(page.keep));
        let strange_until = fresh_until.plus(policy.stranger_life);
        let expect = client.as_ref().map_or(Expect::Absent, |one| Expect::Version(one.version));
        let new = match &client {
            Some(client) => client.with_metadata(metadata),
            None => ClientRecord {
                origin: Origin::Document,
                ..ClientRecord::new(url.as_str().to_owned(), metadata, now)
            },
        };
        // That an operator disabled it is never forgotten.
        let until = (new.state == ClientState::Enabled).then_some(strange_until);
        let new = ClientRecord { until, ..new };
        let digest = hash_of(&page.text);
        let kept = ClientDocument { url: url.as_str().to_owned(), read: now, fresh_until, digest };
        let writes = vec![Write::put(&new, expect), Write::put(&kept, Expect::Any)];
        let records = vec![told(world, &kept, &changed, facts.version())];
        match world.store().commit(Change { writes, uses: Vec::new(), records }).await {
            Ok(_) => return Ok(Ok(())),
            Err(CommitFault::Unavailable(why)) => return Err(why),
            Err(_) => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

fn read(url: &ClientIdUrl, text: &str, policy: &RegistrationPolicy) -> Result<Metadata, Unread> {
    let registration = url.document(text)?;
    admit(&registration, Origin::Document, policy)?;
    let mut members: Map<String, Value> = json::parse(text).map_err(ClientMetadataError::Json)?;
    members
        .entry("token_endpoint_auth_method")
        .or_insert_with(|| registration.token_endpoint_auth_method.as_str().into());
    Ok(Metadata::new(&members)?)
}

/// Makes sure that what a client registered to be signed can be: keys that it names first are made
/// and published before it is taken.
pub async fn signable<W: World>(
    world: &W,
    registered: &Registration,
) -> Result<Result<(), CannotMake>, Unavailable> {
    let named: BTreeSet<_> =
        Signed::ALL.iter().filter_map(|one| one.registered(registered)).collect();
    for algorithm in named {
        if let Err(cannot) = Box::pin(for_clients::ready(world, algorithm)).await? {
            return Ok(Err(cannot));
        }
    }
    Ok(Ok(()))
}

fn told<W: World>(
    world: &W,
    document: &ClientDocument,
    changed: &[&str],
    policy: String,
) -> Record {
    let mut record = begin(world, Event::ClientRegistered);
    record.action = "client.document".to_owned();
    record.subject = Some(document.url.clone());
    record.policy = Some(policy);
    record.facts = serde_json::json!({
        "digest": document.digest,
        "fresh_until": document.fresh_until,
        "changed": changed,
    });
    record
}

/// Reads the keys of a client where they are not known, no longer count, or lack `kid`.
async fn keys<W: World>(
    world: &W,
    url: &str,
    kid: Option<&KeyId>,
    source: &str,
) -> Result<Result<(), Unread>, Unavailable> {
    let facts = basis(world, vec![Key::of::<ClientKeys>(ClientKeys::row(url))]).await?;
    let policy = &facts.set().domain().registration;
    let now = world.clock().now();
    if let Some(known) = facts.rows.get::<ClientKeys>(&ClientKeys::row(url))? {
        let has = kid.is_none_or(|kid| known.keys.by_kid(kid).is_some());
        // A stranger who makes up keys makes no traffic of it.
        let cooling = now < known.read.plus(COOLDOWN);
        if now < known.fresh_until && (has || cooling) {
            return Ok(Ok(()));
        }
    }
    let page = match fetch(world, policy, (url, source), KEY_SET_BYTES_MAX).await {
        Ok(page) => page,
        Err(unread) => return Ok(Err(unread)),
    };
    let keys = match KeySet::parse(&page.text) {
        Ok(keys) => keys,
        Err(why) => {
            let (url, why) = (url.to_owned(), why.to_string());
            return Ok(Err(Unread::Keys { url, why }));
        }
    };
    let fresh_until = now.plus(bounded(page.keep));
    let row = ClientKeys { url: url.to_owned(), keys, read: now, fresh_until };
    let mut record = begin(world, Event::ClientRegistered);
    record.action = "client.keys".to_owned();
    record.subject = Some(url.to_owned());
    record.policy = Some(facts.version());
    record.facts = serde_json::json!({ "digest": hash_of(&page.text), "until": fresh_until });
    let writes = vec![Write::put(&row, Expect::Any)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    crate::turns::settled(world.store().commit(change).await)?.ok_or_else(overtaken)?;
    Ok(Ok(()))
}

async fn fetch<W: World>(
    world: &W,
    policy: &RegistrationPolicy,
    (url, source): (&str, &str),
    bytes_max: usize,
) -> Result<PublishedPage, Unread> {
    let fault = |check, why| Unread::Fetch { url: url.to_owned(), check, why };
    let Some(published) = world.published() else {
        let why = "there is no client for the outside here".to_owned();
        return Err(fault("document::Outside", why));
    };
    let reach = Reach { ca: policy.ca.clone(), addresses: policy.addresses.clone() };
    let (url_, source) = (url.to_owned(), source.to_owned());
    let page = published.read(&Wanted { url: url_, reach, bytes_max, source }).await;
    let page = page.map_err(|not| fault(not.check, not.why))?;
    if page.text.len() > bytes_max {
        return Err(fault("document::TooLarge", format!("more than {bytes_max} bytes")));
    }
    Ok(page)
}

/// RFC 9111 §4.2, within our bounds: a server that says "never" is asked each minute, one that says
/// "for ever" each day.
fn bounded(keep: Option<Span>) -> Span {
    keep.map_or(KEPT, |keep| keep.clamp(KEPT_MIN, KEPT_MAX))
}

/// The keys of a client: those that it registered, or those that it publishes, where [`ready`] read
/// them and they still count.
pub fn keys_of(
    client: &ClientRecord,
    rows: &Snapshot,
    now: UnixTime,
) -> Result<Option<KeySet>, Unavailable> {
    if let Some(keys) = client.metadata.jwks() {
        return Ok(Some(keys.clone()));
    }
    let Some(url) = client.metadata.jwks_uri() else { return Ok(None) };
    let published = rows.get::<ClientKeys>(&ClientKeys::row(url))?;
    let fresh = published.filter(|published| now < published.fresh_until);
    Ok(fresh.map(|published| published.keys.clone()))
}
