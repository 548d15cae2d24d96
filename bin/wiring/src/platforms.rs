//! Asks for a verifier of evidence: the guarded client behind [`env::Platforms`].
//!
//! Trusting it means: whom it asks, where, and by which authorities it is known, policy says; what
//! a stranger says chooses at most among those. What comes back is as unproven as the network.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use attestation::issuer_keys::{self, Kept, KeySource, Look};
use attestation::mechanism::Question;
use env::{Asking, Entropy, Platforms, Unavailable};
use fetch::{Fetcher, Limits, Names, Network, Peer, Roots, SystemNames};
use url::Url;
use workload::SecretText;

use super::layout::Settings;
use super::world::{SystemClock, SystemEntropy};

/// How far a question goes: a host that joins waits for it.
const LIMITS: Limits = Limits {
    bytes_max: 256 * 1024,
    connect_max: Duration::from_secs(2),
    whole_max: Duration::from_secs(5),
};
/// The issuers whose keys are remembered: policy names them, and policies change.
const SOURCES_MAX: usize = 256;
/// The largest token to ask a cluster with, in bytes.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;
/// Where the tokens to ask clusters with are, unless the settings say otherwise.
const TOKENS_FOLDER: &str = "cluster-tokens";

/// The client of the server for what hosts show.
#[derive(Clone)]
pub struct Asker<N = SystemNames> {
    fetcher: Fetcher<N>,
    tokens: PathBuf,
    sources: Arc<Mutex<BTreeMap<KeySource, Arc<Source>>>>,
}

/// One issuer: what is known of its keys, and a place for the one look that is under way.
#[derive(Default)]
struct Source {
    kept: Mutex<Kept>,
    looking: tokio::sync::Mutex<()>,
}

impl Source {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asker {
    /// As the settings of the installation in `dir` say.
    pub fn new(settings: &Settings, dir: &Path) -> Result<Self, String> {
        let roots = super::federation::roots(settings)?;
        let tokens = settings.cluster_tokens.clone();
        let tokens = dir.join(tokens.unwrap_or_else(|| PathBuf::from(TOKENS_FOLDER)));
        Ok(Self::with(Fetcher::new(Vec::new(), roots, LIMITS), tokens))
    }
}

impl<N: Names + Clone> Asker<N> {
    /// With this client, and the tokens for clusters in this folder.
    pub fn with(fetcher: Fetcher<N>, tokens: PathBuf) -> Self {
        Self { fetcher, tokens, sources: Arc::default() }
    }

    /// The client that reaches these addresses besides the public ones.
    fn reaching(&self, addresses: &[String]) -> Result<Fetcher<N>, Unavailable> {
        let listed = addresses.iter().map(|text| Network::parse(text));
        let listed = listed.collect::<Result<Vec<_>, _>>().map_err(fault)?;
        Ok(self.fetcher.clone().reaching(listed))
    }

    fn known_by(fetcher: Fetcher<N>, ca: Option<&str>) -> Result<Fetcher<N>, Unavailable> {
        match ca {
            Some(pem) => Ok(fetcher.believing(Roots::of_pem(pem).map_err(fault)?)),
            None => Ok(fetcher),
        }
    }

    async fn answer(&self, question: &Question) -> Result<Vec<u8>, Unavailable> {
        match question {
            Question::Document { host, port, path, bytes_max, addresses } => {
                let fetcher = self.reaching(addresses)?;
                fetcher.plain(host, *port, path, *bytes_max).await.map_err(fault)
            }
            Question::Keys { source, kid } => {
                let known = self.source(source);
                self.keys(source, &known, kid.as_deref()).await.map(String::into_bytes)
            }
            Question::TokenReview { cluster, server, ca, addresses, review } => {
                let fetcher = Self::known_by(self.reaching(addresses)?, Some(ca))?;
                let url = format!("{}/{REVIEWS}", server.trim_end_matches('/'));
                let url = Url::parse(&url).map_err(fault)?;
                let token = bearer(&self.tokens.join(cluster))?;
                let told = fetcher.post(&url, token.expose(), review.clone()).await;
                told.map(String::into_bytes).map_err(fault)
            }
        }
    }

    fn source(&self, source: &KeySource) -> Arc<Source> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if !sources.contains_key(source) && sources.len() >= SOURCES_MAX {
            sources.clear();
        }
        Arc::clone(sources.entry(source.clone()).or_default())
    }

    async fn keys(
        &self,
        source: &KeySource,
        known: &Arc<Source>,
        kid: Option<&str>,
    ) -> Result<String, Unavailable> {
        let look = known.kept().look(kid, SystemClock::read());
        match look {
            Look::No => {}
            Look::Behind => {
                let (this, source, known) = (self.clone(), source.clone(), Arc::clone(known));
                tokio::spawn(async move {
                    // Somebody looks already: that is enough.
                    let Ok(_one) = known.looking.try_lock() else { return };
                    this.look(&source, &known).await;
                });
            }
            Look::First => {
                let _one = known.looking.lock().await;
                // Whoever waited finds what the one before brought.
                if known.kept().look(kid, SystemClock::read()) != Look::No {
                    self.look(source, known).await;
                }
            }
        }
        let text = known.kept().text(SystemClock::read()).map(str::to_owned);
        text.ok_or_else(|| fault("its keys were not to be had, and none are kept"))
    }

    async fn look(&self, source: &KeySource, known: &Source) {
        let fetched = self.fetch(source).await;
        let (now, random) = (SystemClock::read(), SystemEntropy::default().public());
        let random = random.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let mut kept = known.kept();
        let was_well = kept.failures() == 0;
        let ended = match fetched {
            Ok(text) => kept.answered(text, random, now).map_err(fault),
            Err(why) => {
                kept.failed(random, now);
                Err(why)
            }
        };
        let (issuer, url) = (&source.issuer, &source.url);
        match ended {
            Err(why) if was_well => tracing::warn!(issuer, url, why = why.why, "keys of an issuer"),
            Ok(()) if !was_well => tracing::info!(issuer, url, "keys of an issuer: they are back"),
            _ => {}
        }
    }

    async fn fetch(&self, source: &KeySource) -> Result<String, Unavailable> {
        let fetcher = self.reaching(&source.addresses)?;
        let fetcher = Self::known_by(fetcher, source.ca.as_deref())?;
        let mut url = Url::parse(&source.url).map_err(fault)?;
        if source.discovery {
            let document = fetcher.get(&url, &Peer::Web).await.map_err(fault)?;
            let found = issuer_keys::discovered(source, &document).map_err(fault)?;
            url = Url::parse(&found).map_err(fault)?;
        }
        fetcher.get(&url, &Peer::Web).await.map_err(fault)
    }
}

/// Kubernetes API: `POST /apis/authentication.k8s.io/v1/tokenreviews`.
const REVIEWS: &str = "apis/authentication.k8s.io/v1/tokenreviews";

impl<N: Names + Clone> Platforms for Asker<N> {
    fn ask<'a>(&'a self, question: &'a Question) -> Asking<'a> {
        Box::pin(async move {
            let answer = self.answer(question).await;
            if let Err(error) = &answer {
                let whom = question.whom();
                tracing::info!(whom, why = error.why, "a verifier's question was not answered");
            }
            answer
        })
    }
}

/// The token to ask a cluster with: read each time, since it is replaced as it ends.
fn bearer(path: &Path) -> Result<SecretText, Unavailable> {
    let unread = |why: &dyn std::fmt::Display| fault(format!("`{}`: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| unread(&error))?;
    let mut text = String::new();
    let read = file.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text);
    let token = SecretText::new(text);
    let length = read.map_err(|error| unread(&error))?;
    if length as u64 > TOKEN_BYTES_MAX || token.expose().trim().is_empty() {
        return Err(unread(&"it has no token"));
    }
    Ok(SecretText::new(token.expose().trim().to_owned()))
}

fn fault(why: impl std::fmt::Display) -> Unavailable {
    Unavailable::of("platform", why)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Clone)]
    struct Loopback;

    impl Names for Loopback {
        async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        }
    }

    /// A host's page is read where the mechanism's table says that its name may lead, and nowhere
    /// else: what the settings list for bundles does not count.
    /// req: ATT-02 (part), AUTHN-12 (part)
    #[tokio::test]
    async fn s7_a_host_is_asked_at_the_addresses_that_its_table_lists() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1_024];
            let length = stream.read(&mut head).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nnonce";
            stream.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let roots = Roots::of_system();
        let listed = vec![Network::parse("127.0.0.0/8").unwrap()];
        let fetcher = Fetcher::new(listed, roots, LIMITS).with_names(Loopback);
        let asker = Asker::with(fetcher, PathBuf::from("none"));
        let question = |addresses: &[&str]| Question::Document {
            host: "a.hosts.example".to_owned(),
            port,
            path: attestation::http_challenge::path("default"),
            bytes_max: 64,
            addresses: addresses.iter().map(|one| (*one).to_owned()).collect(),
        };
        for elsewhere in [&[][..], &["10.0.0.0/8"]] {
            let refused = asker.ask(&question(elsewhere)).await.unwrap_err();
            assert!(refused.why.contains("neither public nor listed"), "{refused}");
        }
        assert_eq!(asker.ask(&question(&["127.0.0.1"])).await.unwrap(), b"nonce");
        let path = "/.well-known/spiffe/nodeattestor/http_challenge/default/challenge";
        let head = serving.await.unwrap();
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
    }

    #[test]
    fn a_file_without_a_token_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prod");
        assert!(bearer(&path).is_err());
        for (text, expect) in [("", None), (" \n", None), ("token\n", Some("token"))] {
            std::fs::write(&path, text).unwrap();
            let found = bearer(&path).ok();
            assert_eq!(found.as_ref().map(SecretText::expose), expect, "{text:?}");
        }
        std::fs::write(&path, "x".repeat(17 * 1024)).unwrap();
        assert!(bearer(&path).is_err());
    }
}
