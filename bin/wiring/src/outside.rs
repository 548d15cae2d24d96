//! Servers of somebody else: identity providers that people sign in by, clients that are told when
//! a session ended, or what somebody answered. The guarded client behind [`env::Outside`], and the
//! jobs that tell clients.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use approve::notify;
use authentication::policy::Proof;
use env::{Asks, Clock, Outbound, Outside, Replying, SharedSecret, Unavailable, World};
use fetch::{Basic, Fetcher, Limits, Names, Network, Peer, Roots, SystemNames};
use people::leave;
use time::{Span, UnixTime};
use url::Url;
use workload::SecretText;

use super::agenda::{self, LOOK_MAX};
use super::layout::Settings;
use super::world::SystemClock;

/// How far a question goes: somebody waits for it in a browser.
const LIMITS: Limits = Limits {
    bytes_max: 256 * 1024,
    connect_max: Duration::from_secs(2),
    whole_max: Duration::from_secs(5),
};
/// How long a document is remembered: a stranger who begins many sign-ins makes no more requests
/// than one in that time.
const REMEMBERED: Span = Span::from_seconds(60);
/// Documents that are remembered.
const DOCUMENTS_MAX: usize = 64;
/// How soon a document that must be fresh is read again: nobody makes us read it at their pace.
const FRESH_AGAIN: Span = Span::from_seconds(5);
/// The largest file of a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4 * 1024;
/// Where secrets for identity providers are.
const SECRETS_FOLDER: &str = "upstream-secrets";

/// The client of the server for what belongs to somebody else.
#[derive(Clone)]
pub struct Outsiders<N = SystemNames> {
    fetcher: Fetcher<N>,
    secrets: PathBuf,
    remembered: Arc<Mutex<BTreeMap<String, (UnixTime, String)>>>,
}

impl Outsiders {
    /// As the settings of the installation in `dir` say.
    pub fn new(settings: &Settings, dir: &Path) -> Result<Self, String> {
        let listed = settings.fetch_addresses.iter().map(|text| Network::parse(text));
        let listed = listed.collect::<Result<Vec<_>, _>>();
        let listed = listed.map_err(|error| format!("`fetch_addresses` of aims.toml: {error}"))?;
        let roots = super::federation::roots(settings)?;
        Ok(Self::with(Fetcher::new(listed, roots, LIMITS), dir.join(SECRETS_FOLDER)))
    }
}

impl<N: Names + Clone> Outsiders<N> {
    /// With this client, and our secrets in this folder.
    pub fn with(fetcher: Fetcher<N>, secrets: PathBuf) -> Self {
        Self { fetcher, secrets, remembered: Arc::default() }
    }

    async fn answer(&self, question: &Outbound) -> Result<String, Unavailable> {
        let url = Url::parse(&question.url).map_err(fault)?;
        let mut fetcher = self.fetcher.clone();
        if !question.reach.addresses.is_empty() {
            let listed = question.reach.addresses.iter().map(|text| Network::parse(text));
            let listed = listed.collect::<Result<Vec<_>, _>>().map_err(fault)?;
            fetcher = fetcher.reaching(listed);
        }
        if let Some(pem) = &question.reach.ca {
            fetcher = fetcher.believing(Roots::of_pem(pem).map_err(fault)?);
        }
        match &question.what {
            Asks::Document { fresh } => self.document(&fetcher, &url, *fresh).await,
            Asks::Bearer(token) => fetcher.get_as(&url, token).await.map_err(fault),
            Asks::Told { body, bearer } => {
                let told = fetcher.tell(&url, bearer, body.clone()).await;
                told.map(|()| String::new()).map_err(fault)
            }
            Asks::Form { body, secret } => {
                let (body, basic) = self.proven(body, secret.as_ref())?;
                fetcher.form(&url, basic.as_ref(), body).await.map_err(fault)
            }
            Asks::Redeem { body, secret } => {
                let (body, basic) = self.proven(body, secret.as_ref())?;
                fetcher.redeem(&url, basic.as_ref(), body).await.map_err(fault)
            }
        }
    }

    async fn document(
        &self,
        fetcher: &Fetcher<N>,
        url: &Url,
        fresh: bool,
    ) -> Result<String, Unavailable> {
        let age_max = if fresh { FRESH_AGAIN } else { REMEMBERED };
        let now = SystemClock::read();
        if let Some((at, text)) = self.lock().get(url.as_str())
            && now < at.plus(age_max)
        {
            return Ok(text.clone());
        }
        let text = fetcher.get(url, &Peer::Web).await.map_err(fault)?;
        let mut remembered = self.lock();
        if remembered.len() >= DOCUMENTS_MAX {
            remembered.retain(|_, (at, _)| now < at.plus(REMEMBERED));
            if remembered.len() >= DOCUMENTS_MAX {
                remembered.clear();
            }
        }
        remembered.insert(url.to_string(), (now, text.clone()));
        Ok(text)
    }

    /// The form, and what goes into the header, with our secret where there is one.
    fn proven(
        &self,
        body: &str,
        secret: Option<&SharedSecret>,
    ) -> Result<(String, Option<Basic>), Unavailable> {
        let mut body = body.to_owned();
        let Some(secret) = secret else { return Ok((body, None)) };
        let basic = proven(secret, &self.secret(&secret.provider)?, &mut body);
        Ok((body, basic))
    }

    fn secret(&self, provider: &str) -> Result<SecretText, Unavailable> {
        let path = self.secrets.join(provider);
        let unread =
            |error: &dyn std::fmt::Display| fault(format!("`{}`: {error}", path.display()));
        let file = std::fs::File::open(&path).map_err(|error| unread(&error))?;
        let mut text = String::new();
        let read = file.take(SECRET_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| unread(&error))?;
        Ok(SecretText::new(text.trim().to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (UnixTime, String)>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 6749 §2.3.1: in the header, or in the body for providers that know no better.
fn proven(secret: &SharedSecret, text: &SecretText, body: &mut String) -> Option<Basic> {
    if secret.how == Proof::ClientSecretBasic {
        return Some(Basic::new(&secret.client_id, text.expose()));
    }
    for (name, value) in
        [("client_id", secret.client_id.as_str()), ("client_secret", text.expose())]
    {
        body.push('&');
        body.push_str(name);
        body.push('=');
        body.push_str(&fetch::encoded(value));
    }
    None
}

fn fault(why: impl std::fmt::Display) -> Unavailable {
    Unavailable::of("provider", why)
}

impl<N: Names + Clone> Outside for Outsiders<N> {
    fn ask<'a>(&'a self, question: &'a Outbound) -> Replying<'a> {
        Box::pin(async move {
            let answer = self.answer(question).await;
            if let Err(error) = &answer {
                // Whoever waits for it is told no more than that it is not there just now.
                tracing::warn!(url = question.url, why = error.why, "outside: no answer");
            }
            answer
        })
    }
}

/// Tells clients that sessions ended, for ever.
pub async fn follow<W: World>(world: Arc<W>) {
    let look = async |world: Arc<W>| leave::agenda(world.as_ref()).await;
    agenda::follow(world, "logout", look, |world, notice| async move {
        let told = leave::tell(world.as_ref(), &notice).await;
        report(world.as_ref(), "logout", &notice.client_id, told).await;
    })
    .await;
}

/// Tells clients that somebody answered, or what, for ever.
pub async fn follow_answers<W: World>(world: Arc<W>) {
    let look = async |world: Arc<W>| notify::agenda(world.as_ref()).await;
    agenda::follow(world, "ciba", look, |world, ticket| async move {
        let told = notify::tell(world.as_ref(), &ticket).await;
        report(world.as_ref(), "ciba", &ticket.client_id, told).await;
    })
    .await;
}

/// Says what came of telling a client.
async fn report<W: World, T: Debug>(
    world: &W,
    of: &str,
    client: &str,
    told: Result<T, Unavailable>,
) {
    match told {
        Ok(told) => tracing::info!(of, client, ?told, "a client was told"),
        Err(error) => {
            tracing::error!(of, client, %error, "a client was not told");
            // Due it still is: not at once again.
            world.clock().sleep(LOOK_MAX).await;
        }
    }
}
