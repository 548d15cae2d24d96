//! Finding rows by what they show: a name, an identifier, or a part of either.
//!
//! The whole identifier of a row finds it at once, and so does that of a user or client what is
//! theirs: there is an index for it. All else is looked for row by row, so many a page.

use basis::facts::one;
use env::{Index, Unavailable, World};
use registry::{AgentRecord, ClientRecord, UserRecord};

use super::ROWS_MAX;
use super::rows::{self, Rows, Within};
use crate::Shared;
use crate::visit::Visit;

/// Rows that are read at once.
const BATCH: usize = 128;
/// Rows that are looked at for one page.
pub(super) const LOOKED_AT_MAX: usize = 4_096;
const ALL: Within<'_> = (Index::All, "");

/// The rows of a list that show `wanted`, from after `after`, about a page of them; all rows where
/// nothing is wanted.
pub(super) async fn find<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    here: &str,
    wanted: &str,
    after: Option<&str>,
) -> Result<Rows, Unavailable> {
    if wanted.is_empty() {
        return rows::page(shared, visit, here, ALL, after, ROWS_MAX).await;
    }
    if let Some(index) = index(shared.world.as_ref(), here, wanted).await? {
        return rows::page(shared, visit, here, (index, wanted), after, ROWS_MAX).await;
    }
    let whole = match after {
        None => rows::of_id(shared, visit, here, wanted).await?,
        Some(_) => None,
    };
    let mut found: Vec<_> = whole.into_iter().collect();
    let first = found.first().map(|row| row.id.clone());
    let small = wanted.to_lowercase();
    let (mut next, mut looked_at) = (after.map(str::to_owned), 0);
    loop {
        let (batch, more) = rows::page(shared, visit, here, ALL, next.as_deref(), BATCH).await?;
        let others = batch.into_iter().filter(|row| Some(&row.id) != first.as_ref());
        found.extend(others.filter(|row| row.shows(&small)));
        (next, looked_at) = (more, looked_at + BATCH);
        if next.is_none() || found.len() >= ROWS_MAX || looked_at >= LOOKED_AT_MAX {
            return Ok((found, next));
        }
    }
}

/// The index that has all rows of whoever is wanted, where that is a whole identifier of one.
async fn index<W: World>(
    world: &W,
    here: &str,
    wanted: &str,
) -> Result<Option<Index>, Unavailable> {
    let (of_users, of_clients) = match here {
        "grants" | "approvals" => (true, true),
        "sessions" => (true, false),
        _ => (false, false),
    };
    if of_users && one::<W, UserRecord>(world, wanted).await?.is_some() {
        return Ok(Some(Index::User));
    }
    let is_client = of_clients
        && (one::<W, AgentRecord>(world, wanted).await?.is_some()
            || one::<W, ClientRecord>(world, wanted).await?.is_some());
    Ok(is_client.then_some(Index::Client))
}
