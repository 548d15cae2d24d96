//! Operators and OAuth clients that are not agents: what they order, and what is there.

use env::{Unavailable, World};
use registry::ClientRecord;

use crate::agents::page;

pub use register::orders::{
    Done, INVITATION_LIFE, Terms, invite, register, set_state, set_state_for,
};
pub use register::{Answer, End, Refusal, endpoint, manage};

/// One client.
pub async fn show<W: World>(
    world: &W,
    client_id: &str,
) -> Result<Option<ClientRecord>, Unavailable> {
    let found = crate::facts::one::<W, ClientRecord>(world, client_id).await?;
    Ok(found.map(|client| (*client.value).clone()))
}

/// A page of clients, by id, and where the next begins.
pub async fn list<W: World>(
    world: &W,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<ClientRecord>, Option<String>), Unavailable> {
    page::<W, ClientRecord>(world, after, limit).await
}
