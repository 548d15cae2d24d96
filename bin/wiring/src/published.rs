//! What clients publish about themselves: the guarded client behind [`env::Published`].
//!
//! Trusting it means: strangers choose what is asked, so only what policy lets be reached is, no
//! redirect is followed, and who asks for the same document meanwhile waits for the same answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use env::{Published, PublishedPage, Reading, Wanted};
use fetch::{Fetcher, Limits, Names, Network, Roots, SystemNames};
use time::Span;
use tokio::sync::OnceCell;
use url::Url;

use super::layout::Settings;

/// How far a question goes: a user waits for it.
const LIMITS: Limits = Limits {
    bytes_max: 64 * 1024,
    connect_max: Duration::from_secs(2),
    whole_max: Duration::from_secs(5),
};
/// Questions under way at once: one more is refused, not queued.
const UNDER_WAY_MAX: usize = 64;

type Answer = Result<PublishedPage, String>;
type Cell = OnceCell<Answer>;

/// The client.
pub struct Reader<N = SystemNames> {
    fetcher: Fetcher<N>,
    under_way: Mutex<BTreeMap<String, Weak<Cell>>>,
}

impl Reader {
    /// As the settings of the installation say.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let roots = super::federation::roots(settings)?;
        Ok(Self::with(Fetcher::new(Vec::new(), roots, LIMITS)))
    }
}

impl<N: Names + Clone> Reader<N> {
    /// With this client.
    pub fn with(fetcher: Fetcher<N>) -> Self {
        Self { fetcher, under_way: Mutex::default() }
    }

    /// The one question about this URL that is under way, or a new one.
    fn cell(&self, wanted: &Wanted) -> Result<Arc<Cell>, String> {
        // Two policies may reach differently: they share nothing.
        let key = format!("{:?} {:?} {}", wanted.url, wanted.reach, wanted.bytes_max);
        let mut under_way = self.lock();
        if let Some(cell) = under_way.get(&key).and_then(Weak::upgrade) {
            return Ok(cell);
        }
        under_way.retain(|_, cell| cell.strong_count() > 0);
        if under_way.len() >= UNDER_WAY_MAX {
            return Err(format!("{UNDER_WAY_MAX} documents are being read already"));
        }
        let cell = Arc::new(Cell::new());
        under_way.insert(key, Arc::downgrade(&cell));
        Ok(cell)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Cell>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, wanted: &Wanted) -> Answer {
        let url = Url::parse(&wanted.url).map_err(|error| error.to_string())?;
        let listed = wanted.reach.addresses.iter().map(|text| Network::parse(text));
        let listed = listed.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let mut fetcher = self.fetcher.clone().reaching(listed);
        if let Some(pem) = &wanted.reach.ca {
            fetcher = fetcher.believing(Roots::of_pem(pem).map_err(|error| error.to_string())?);
        }
        let page = fetcher.page(&url, wanted.bytes_max).await;
        let page = page.map_err(|fault| fault.to_string())?;
        let keep = page.keep.map(|keep| Span::from_seconds(keep.as_secs()));
        Ok(PublishedPage { text: page.text, keep })
    }
}

impl<N: Names + Clone> Published for Reader<N> {
    fn read<'a>(&'a self, wanted: &'a Wanted) -> Reading<'a> {
        Box::pin(async move {
            let cell = self.cell(wanted)?;
            cell.get_or_init(|| self.ask(wanted)).await.clone()
        })
    }
}
