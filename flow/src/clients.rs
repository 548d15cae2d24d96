//! Operators and OAuth clients that are not agents.

use env::{Change, Clock, Expect, Recorded, Store, Unavailable, World, Write};
use monitoring::Event;
use oauth::client_metadata::ClientMetadata;
use registry::{ClientLogout, ClientRecord, ClientState};

use crate::agents::page;
use crate::record::{begin, public_id};
use crate::turns::{Operator, overtaken, settled};

/// Registers a client with its public keys. Metadata with a secret in it does not even read.
pub async fn register<W: World>(
    world: &W,
    operator: &Operator,
    metadata: ClientMetadata,
) -> Result<Recorded<ClientRecord>, Unavailable> {
    let now = world.clock().now();
    let client = ClientRecord {
        client_id: format!("client-{}", public_id(world)),
        metadata,
        public: false,
        redirects: None,
        logout: ClientLogout::default(),
        registered: now,
        state: ClientState::Enabled,
        since: now,
    };
    let mut record = begin(world, Event::ClientRegistered);
    record.operator = Some(operator.0.clone());
    record.subject = Some(client.client_id.clone());
    let writes = vec![Write::put(&client, Expect::Absent)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    let receipt = settled(world.store().commit(change).await)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(client, &receipt))
}

/// Disables a client; `None` when there is no such client.
pub async fn disable<W: World>(
    world: &W,
    operator: &Operator,
    client_id: &str,
) -> Result<Option<Recorded<ClientRecord>>, Unavailable> {
    let Some(found) = crate::facts::one::<W, ClientRecord>(world, client_id).await? else {
        return Ok(None);
    };
    let since = world.clock().now();
    let disabled = ClientRecord { state: ClientState::Disabled, since, ..(*found.value).clone() };
    let mut record = begin(world, Event::ClientRegistered);
    record.action = "client.disable".to_owned();
    record.operator = Some(operator.0.clone());
    record.subject = Some(client_id.to_owned());
    let writes = vec![Write::put(&disabled, Expect::Version(found.version))];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    let receipt = settled(world.store().commit(change).await)?.ok_or_else(overtaken)?;
    Ok(Some(Recorded::new(disabled, &receipt)))
}

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
