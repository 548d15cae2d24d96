//! What the HTTPS listeners show, renewed while they run, and `ca.pem`, by which they are believed.

use std::sync::Arc;

use env::Clock;
use flow::web::{self, Shown, Standing};
use time::Span;
use tls::Certificates;

use crate::layout::{Layout, Settings};
use crate::server::{ServerWorld, addresses, forget};
use crate::tls::certified;
use crate::world::SystemClock;

/// How often it is looked whether another certificate is due.
const LOOK_EVERY: Span = Span::from_seconds(60);

/// The certificate of one or more listeners, and what keeps it good.
pub(crate) struct Web {
    /// What they show.
    pub(crate) certificates: Arc<Certificates>,
    /// The authorities, PEM.
    pub(crate) ca: String,
    world: Arc<ServerWorld>,
    settings: Settings,
    shown: Shown,
}

impl Web {
    /// The first.
    pub(crate) async fn new(world: &Arc<ServerWorld>, settings: &Settings) -> Result<Self, String> {
        let world = Arc::clone(world);
        let shown = identity(&world, settings).await?;
        let certificates = Certificates::new(certificate(&world, &shown));
        let (ca, settings) = (pem(&shown.standing), settings.clone());
        Ok(Self { certificates, ca, world, settings, shown })
    }

    /// Renews it, for as long as this is polled, and writes `ca.pem` into `folder` whenever it
    /// changes.
    pub(crate) async fn follow(mut self, folder: Option<Layout>) {
        loop {
            self.world.clock.sleep(LOOK_EVERY).await;
            if let Err(error) = self.look(folder.as_ref()).await {
                tracing::error!(%error, "the certificate of the HTTPS listeners was not renewed");
            }
        }
    }

    async fn look(&mut self, folder: Option<&Layout>) -> Result<(), String> {
        let standing = web::standing(self.world.as_ref()).await.map_err(|why| why.to_string())?;
        let ca = pem(&standing);
        if let Some(layout) = folder.filter(|_| ca != self.ca) {
            layout.write("ca.pem", ca.as_bytes(), 0o644)?;
            tracing::info!("`ca.pem` changed: whoever believes the HTTPS listeners needs it");
        }
        self.ca = ca;
        if !self.shown.is_due(&standing, SystemClock::read()) {
            return Ok(());
        }
        let next = identity(&self.world, &self.settings).await?;
        self.certificates.replace(certificate(&self.world, &next));
        let old = std::mem::replace(&mut self.shown, next);
        forget(&self.world, &old.identity).await;
        Ok(())
    }
}

async fn identity(world: &ServerWorld, settings: &Settings) -> Result<Shown, String> {
    let (names, addresses) = ([settings.host.clone()], addresses(settings)?);
    web::identity(world, &names, &addresses).await.map_err(|why| why.to_string())
}

fn certificate(world: &ServerWorld, shown: &Shown) -> rustls::sign::CertifiedKey {
    let chain = shown.identity.chain.iter().map(|one| one.as_bytes().to_vec()).collect();
    certified(chain, &world.keys, &shown.identity.key)
}

fn pem(standing: &Standing) -> String {
    standing.authorities.iter().map(x509::CertificateDer::to_pem).collect()
}
