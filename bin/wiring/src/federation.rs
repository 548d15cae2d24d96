//! The job that asks the endpoints of relations, and how the client for it is set up.

use std::path::Path;
use std::sync::Arc;

use env::{Clock, Store, World};
use fetch::{Fetcher, Limits, Network, Peer, Roots};
use flow::federate::{self, Came, Due, NotFetched};
use time::Span;
use tokio::task::JoinSet;

use super::layout::Settings;

/// The shortest pause between two looks at what is due, however often the state changes.
const LOOK_MIN: Span = Span::from_seconds(1);
/// The longest.
const LOOK_MAX: Span = Span::from_seconds(60);

/// The client, as the settings say.
pub fn fetcher(settings: &Settings) -> Result<Fetcher, String> {
    let listed = settings.fetch_addresses.iter().map(|text| Network::parse(text));
    let listed = listed.collect::<Result<Vec<_>, _>>();
    let listed = listed.map_err(|error| format!("`fetch_addresses` of aims.toml: {error}"))?;
    Ok(Fetcher::new(listed, roots(settings)?, Limits::default()))
}

/// The roots of the Web PKI, as the settings say.
pub fn roots(settings: &Settings) -> Result<Roots, String> {
    match &settings.web_roots {
        Some(path) => Roots::read(Path::new(path))
            .map_err(|error| format!("`web_roots` of aims.toml: {error}")),
        None => Ok(Roots::of_system()),
    }
}

/// Asks whatever is due, for ever. An endpoint that stalls holds up no other.
pub async fn follow<W: World>(world: Arc<W>, fetcher: Fetcher) {
    loop {
        let agenda = match federate::agenda(world.as_ref()).await {
            Ok(agenda) => agenda,
            Err(error) => {
                tracing::error!(%error, "federation: what is due cannot be read");
                world.clock().sleep(LOOK_MAX).await;
                continue;
            }
        };
        if agenda.due.is_empty() {
            let now = world.clock().now();
            let pause = agenda.next.map_or(LOOK_MAX, |next| next.since(now).min(LOOK_MAX));
            // A relation that begins is asked at once.
            tokio::select! {
                () = world.clock().sleep(pause.max(LOOK_MIN)) => {}
                _ = world.store().past(agenda.seq) => world.clock().sleep(LOOK_MIN).await,
            }
            continue;
        }
        let mut asking = JoinSet::new();
        for due in agenda.due {
            let (world, fetcher) = (Arc::clone(&world), fetcher.clone());
            asking.spawn(async move { ask(world.as_ref(), &fetcher, due).await });
        }
        while asking.join_next().await.is_some() {}
    }
}

async fn ask<W: World>(world: &W, fetcher: &Fetcher, due: Due) {
    let (domain, url) = (due.trust_domain.to_string(), due.url.to_string());
    let peer = match &due.endpoint {
        Some((id, trust)) => {
            Peer::Spiffe { id: id.clone(), trust: trust.clone(), now: world.clock().now() }
        }
        None => Peer::Web,
    };
    let answer = fetcher.get(due.url.as_url(), &peer).await.map_err(|fault| NotFetched {
        check: fault.check().to_owned(),
        message: fault.to_string(),
    });
    // SPIFFE Federation §7.6: "SPIFFE bundle endpoint clients should be logging these HTTPS request
    // operations".
    match &answer {
        Ok(text) => tracing::info!(domain, url, bytes = text.len(), "federation: fetched"),
        Err(why) => tracing::warn!(domain, url, why = why.message, "federation: not fetched"),
    }
    match federate::took(world, &due, answer.as_deref()).await {
        Ok(Came::Failed) if answer.is_ok() => {
            tracing::warn!(domain, url, "federation: what was fetched is not used");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::error!(domain, %error, "federation: what was fetched was not kept");
            // Due it still is: not at once again.
            world.clock().sleep(LOOK_MAX).await;
        }
    }
}
