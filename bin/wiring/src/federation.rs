//! The job that asks the endpoints of relations, and how the client for it is set up.

use std::path::Path;
use std::sync::Arc;

use env::{Clock, World};
use fetch::{Fetcher, Limits, Network, Peer, Roots};
use flow::federate::{self, Came, Due, NotFetched};

use super::agenda::{self, LOOK_MAX};
use super::layout::Settings;

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

/// Asks whatever is due, for ever.
pub async fn follow<W: World>(world: Arc<W>, fetcher: Fetcher) {
    let look = async |world: Arc<W>| federate::agenda(world.as_ref()).await;
    agenda::follow(world, "federation", look, |world, due| {
        let fetcher = fetcher.clone();
        async move { ask(world.as_ref(), &fetcher, due).await }
    })
    .await;
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
