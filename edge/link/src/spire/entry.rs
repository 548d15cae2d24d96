//! The entries of an agent, all at once or by what changed.

use env::World;
use flow::spire::Entry as Found;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::wire::entry::entry_server::Entry;
use super::wire::entry::{
    EntryRevision, GetAuthorizedEntriesRequest, GetAuthorizedEntriesResponse,
    SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse,
};
use super::wire::types;
use super::{Spire, convert};
use crate::caller::Caller;
use crate::service::{JOIN_WAIT_MAX, unavailable};

/// The most entries or revisions of one message, as SPIRE's server has it: an agent asks for as
/// many as the first message had.
const PAGE_MAX: usize = 500;
/// About how large a message may become, in bytes: a client of gRPC reads 4 MiB unless told
/// otherwise.
const PAGE_BYTES: usize = 1024 * 1024;

type Pages = ReceiverStream<Result<SyncAuthorizedEntriesResponse, Status>>;

#[tonic::async_trait]
impl<W: World> Entry for Spire<W> {
    type SyncAuthorizedEntriesStream = Pages;

    async fn get_authorized_entries(
        &self,
        _: Request<GetAuthorizedEntriesRequest>,
    ) -> Result<Response<GetAuthorizedEntriesResponse>, Status> {
        let (caller, found) = self.entries().await?;
        let entries = found.iter().map(|entry| convert::entry(entry, &caller.id)).collect();
        Ok(Response::new(GetAuthorizedEntriesResponse { entries }))
    }

    async fn sync_authorized_entries(
        &self,
        request: Request<Streaming<SyncAuthorizedEntriesRequest>>,
    ) -> Result<Response<Pages>, Status> {
        let (caller, found) = self.entries().await?;
        let mut said = request.into_inner();
        let (pages, sent) = mpsc::channel(1);
        tokio::spawn(async move {
            if let Err(status) = sync(&mut said, &caller, &found, &pages).await {
                let _ = pages.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(sent)))
    }
}

impl<W: World> Spire<W> {
    async fn entries(&self) -> Result<(Caller, Vec<Found>), Status> {
        let caller = self.caller().await?;
        let found = flow::spire::entries(&*self.shared.world, &caller.id, caller.epoch).await;
        let found = found.map_err(unavailable)?.map_err(|why| self.not_admitted(&why))?;
        Ok((caller, found))
    }
}

type Sender = mpsc::Sender<Result<SyncAuthorizedEntriesResponse, Status>>;

/// All entries if they fit in one message; else their revisions, and then those that the agent asks
/// for.
async fn sync(
    said: &mut Streaming<SyncAuthorizedEntriesRequest>,
    caller: &Caller,
    found: &[Found],
    pages: &Sender,
) -> Result<(), Status> {
    let Some(_) = next(said).await? else { return Ok(()) };
    let all = paged(found.iter().map(|entry| convert::entry(entry, &caller.id)));
    if let [] | [_] = all.as_slice() {
        let entries = all.into_iter().next().unwrap_or_default();
        return send(pages, SyncAuthorizedEntriesResponse { entries, ..empty() }).await;
    }
    let mut rest = found.chunks(PAGE_MAX).peekable();
    while let Some(page) = rest.next() {
        let entry_revisions = page.iter().map(revision).collect();
        let more = rest.peek().is_some();
        let page = SyncAuthorizedEntriesResponse { entry_revisions, more, ..empty() };
        send(pages, page).await?;
    }
    while let Some(asked) = next(said).await? {
        if asked.ids.len() > PAGE_MAX {
            let many = format!("{} `ids`, at most {PAGE_MAX} are read", asked.ids.len());
            return Err(Status::invalid_argument(many));
        }
        let of = |id: &String| {
            // Sorted by their ids.
            let at = found.binary_search_by(|entry| entry.id.as_str().cmp(id)).ok()?;
            found.get(at).map(|entry| convert::entry(entry, &caller.id))
        };
        let mut rest = paged(asked.ids.iter().filter_map(of)).into_iter().peekable();
        loop {
            let entries = rest.next().unwrap_or_default();
            let more = rest.peek().is_some();
            send(pages, SyncAuthorizedEntriesResponse { entries, more, ..empty() }).await?;
            if !more {
                break;
            }
        }
    }
    Ok(())
}

fn revision(entry: &Found) -> EntryRevision {
    EntryRevision {
        id: entry.id.clone(),
        revision_number: convert::revision(entry),
        created_at: convert::seconds(entry.created),
    }
}

fn empty() -> SyncAuthorizedEntriesResponse {
    SyncAuthorizedEntriesResponse::default()
}

/// Cut where a page has enough.
fn paged(entries: impl Iterator<Item = types::Entry>) -> Vec<Vec<types::Entry>> {
    let mut pages: Vec<Vec<types::Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry.encoded_len();
        match pages.last_mut() {
            Some(page) if page.len() < PAGE_MAX && bytes + size <= PAGE_BYTES => {
                bytes += size;
                page.push(entry);
            }
            _ => {
                bytes = size;
                pages.push(vec![entry]);
            }
        }
    }
    pages
}

async fn send(pages: &Sender, page: SyncAuthorizedEntriesResponse) -> Result<(), Status> {
    pages.send(Ok(page)).await.map_err(|_| Status::cancelled("the other end went"))
}

async fn next(
    said: &mut Streaming<SyncAuthorizedEntriesRequest>,
) -> Result<Option<SyncAuthorizedEntriesRequest>, Status> {
    let message = timeout(JOIN_WAIT_MAX, said.message()).await;
    message.map_err(|_| Status::deadline_exceeded("nothing was said"))?
}
