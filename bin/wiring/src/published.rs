//! What clients publish about themselves: the guarded client behind [`env::Published`].
//!
//! Trusting it means: strangers choose what is asked, so only what policy lets be reached is, no
//! redirect is followed, and who asks for the same document meanwhile waits for the same answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use basis::throttle::network;
use env::{NotRead, Published, PublishedPage, Reading, Wanted};
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
const UNDER_WAY_MAX: usize = 128;
/// Of these, to one host: one that stalls leaves the others their places.
const OF_HOST_MAX: usize = 8;
/// Of these, because of one source: a subscriber's network, as elsewhere where sources are counted.
const OF_SOURCE_MAX: usize = 16;

type Answer = Result<PublishedPage, NotRead>;
type Cell = OnceCell<Answer>;

/// A question under way, which is over when nobody waits for it.
struct Question {
    cell: Weak<Cell>,
    host: String,
    source: String,
}

/// The client.
pub struct Reader<N = SystemNames> {
    fetcher: Fetcher<N>,
    under_way: Mutex<BTreeMap<String, Question>>,
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
    fn cell(&self, wanted: &Wanted, host: &str) -> Result<Arc<Cell>, NotRead> {
        // Two policies may reach differently: they share nothing.
        let key = format!("{:?} {:?} {}", wanted.url, wanted.reach, wanted.bytes_max);
        let source = network(&wanted.source);
        let mut under_way = self.lock();
        if let Some(cell) = under_way.get(&key).and_then(|one| one.cell.upgrade()) {
            return Ok(cell);
        }
        under_way.retain(|_, one| one.cell.strong_count() > 0);
        let of_host = under_way.values().filter(|one| one.host == host).count();
        let of_source = under_way.values().filter(|one| one.source == source).count();
        for (found, max, check, of) in [
            (under_way.len(), UNDER_WAY_MAX, "published::UnderWay", String::new()),
            (of_host, OF_HOST_MAX, "published::OfHost", format!(" of `{host}`")),
            (of_source, OF_SOURCE_MAX, "published::OfSource", format!(" because of {source}")),
        ] {
            if found >= max {
                let why = format!("{max} documents{of} are being read already");
                return Err(NotRead { check, why });
            }
        }
        let cell = Arc::new(Cell::new());
        let host = host.to_owned();
        under_way.insert(key, Question { cell: Arc::downgrade(&cell), host, source });
        Ok(cell)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Question>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, wanted: &Wanted, url: &Url) -> Answer {
        let listed = wanted.reach.addresses.iter().map(|text| Network::parse(text));
        let listed = listed.collect::<Result<Vec<_>, _>>().map_err(|why| by_policy(&why))?;
        let mut fetcher = self.fetcher.clone().reaching(listed);
        if let Some(pem) = &wanted.reach.ca {
            fetcher = fetcher.believing(Roots::of_pem(pem).map_err(|why| by_policy(&why))?);
        }
        let page = fetcher.page(url, wanted.bytes_max).await;
        let page = page.map_err(|why| NotRead { check: why.check(), why: why.to_string() })?;
        let keep = page.keep.map(|keep| Span::from_seconds(keep.as_secs()));
        Ok(PublishedPage { text: page.text, keep })
    }
}

/// What policy lists does not read.
fn by_policy(why: &impl ToString) -> NotRead {
    NotRead { check: "published::Policy", why: why.to_string() }
}

impl<N: Names + Clone> Published for Reader<N> {
    fn read<'a>(&'a self, wanted: &'a Wanted) -> Reading<'a> {
        Box::pin(async move {
            let done = async {
                let url = Url::parse(&wanted.url);
                let url =
                    url.map_err(|why| NotRead { check: "published::Url", why: why.to_string() })?;
                let cell = self.cell(wanted, url.host_str().unwrap_or_default())?;
                cell.get_or_init(|| self.ask(wanted, &url)).await.clone()
            };
            // Whoever named the URL is not told why: what we reach is nobody's to map.
            done.await.inspect_err(|not| {
                let (url, source) = (&wanted.url, &wanted.source);
                tracing::info!(%url, %source, check = not.check, why = %not.why, "not read");
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use env::Reach;
    use tokio::net::TcpListener;

    use super::*;

    /// Every name leads to loopback.
    #[derive(Clone)]
    struct Loopback;

    impl Names for Loopback {
        async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }
    }

    /// A reader, the port of a server that takes connections and says nothing, and that server.
    async fn stalling() -> (Arc<Reader<Loopback>>, u16, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(stream);
            }
        });
        let fetcher = Fetcher::new(Vec::new(), Roots::of_system(), LIMITS).with_names(Loopback);
        (Arc::new(Reader::with(fetcher)), port, server)
    }

    fn wanted(url: String, source: &str) -> Wanted {
        let reach = Reach { ca: None, addresses: vec!["127.0.0.0/8".to_owned()] };
        Wanted { url, reach, bytes_max: 1_024, source: source.to_owned() }
    }

    /// Starts that many questions that nobody answers, and waits until they are under way.
    async fn stall(reader: &Arc<Reader<Loopback>>, urls: Vec<(String, String)>) {
        let before = reader.lock().len();
        let count = urls.len();
        for (url, source) in urls {
            let reader = Arc::clone(reader);
            tokio::spawn(async move { reader.read(&wanted(url, &source)).await });
        }
        let begun = Instant::now();
        while reader.lock().len() < before + count {
            assert!(begun.elapsed() < Duration::from_secs(2), "{}", reader.lock().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Why that is not read at once.
    async fn check(reader: &Reader<Loopback>, url: &str, source: &str) -> &'static str {
        reader.read(&wanted(url.to_owned(), source)).await.unwrap_err().check
    }

    fn url(host: &str, port: u16, at: usize) -> String {
        format!("https://{host}:{port}/{at}")
    }

    #[tokio::test]
    async fn cimd_6_a_host_that_stalls_leaves_others_their_places() {
        let (reader, port, _server) = stalling().await;
        let of = |host: &str, at| (url(host, port, at), format!("192.0.2.{at}"));
        stall(&reader, (0..OF_HOST_MAX).map(|at| of("slow.example", at)).collect()).await;
        let more = url("slow.example", port, 99);
        assert_eq!(check(&reader, &more, "192.0.2.99").await, "published::OfHost");
        stall(&reader, vec![of("other.example", 0)]).await;
    }

    #[tokio::test]
    async fn cimd_6_a_source_that_names_stalling_hosts_leaves_others_their_places() {
        let (reader, port, _server) = stalling().await;
        let of = |at: usize| url(&format!("h{at}.example"), port, 0);
        // All of one subscriber.
        let source = |at: usize| format!("2001:db8::{at:x}");
        stall(&reader, (0..OF_SOURCE_MAX).map(|at| (of(at), source(at))).collect()).await;
        assert_eq!(check(&reader, &of(99), &source(99)).await, "published::OfSource");
        // What is under way already, it may wait for as everybody.
        let same = tokio::time::timeout(Duration::from_millis(50), async {
            check(&reader, &of(0), &source(99)).await
        });
        assert!(same.await.is_err());
        stall(&reader, vec![(of(99), "2001:db8:0:1::1".to_owned())]).await;
    }

    #[tokio::test]
    async fn cimd_6_the_places_are_bounded_and_free_again() {
        let (reader, port, _server) = stalling().await;
        let of = |at: usize| {
            (url(&format!("h{}.example", at / 4), port, at), format!("192.0.2.{}", at / 8))
        };
        stall(&reader, (0..UNDER_WAY_MAX).map(of).collect()).await;
        let more = url("new.example", port, 0);
        assert_eq!(check(&reader, &more, "198.51.100.1").await, "published::UnderWay");
        // Nobody waits for ever: all of them end by themselves, and leave their places.
        let begun = Instant::now();
        while check(&reader, &more, "198.51.100.1").await == "published::UnderWay" {
            assert!(begun.elapsed() < LIMITS.whole_max * 2);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
