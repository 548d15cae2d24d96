//! The certificates of the HTTPS listeners, and the authority that they are believed by: it is not
//! that of workloads, and lives for years, as people put it into their browsers.

use std::net::IpAddr;

use credential::{KeyRing, Purpose, x509_authority};
use env::{Clock, Entropy, Key, Keys, Store, Unavailable, World};
use jose::KeyId;
use time::{Span, UnixTime};
use x509::CertificateDer;

use crate::boot::Identity;
use crate::sign::{self, ALGORITHM, CERTIFICATE_ALGORITHM};

/// By what the listeners are believed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// All that `ca.pem` holds: the one that signs, the one before while something of it lives, and
    /// the next.
    pub authorities: Vec<CertificateDer>,
    /// The one that signs.
    pub signer: KeyId,
}

/// What a listener shows.
#[derive(Debug)]
pub struct Shown {
    /// Its certificate.
    pub identity: Identity,
    /// By what it is believed.
    pub standing: Standing,
}

impl Shown {
    /// Whether another certificate has to be made, where this is how things stand.
    pub fn is_due(&self, standing: &Standing, now: UnixTime) -> bool {
        self.standing.signer != standing.signer || self.identity.renew <= now
    }
}

/// How the authority of the listeners stands.
pub async fn standing<W: World>(world: &W) -> Result<Standing, Unavailable> {
    let now = world.clock().now();
    of(&*ring(world).await?, now)
}

fn of(ring: &KeyRing, now: UnixTime) -> Result<Standing, Unavailable> {
    let signer = sign::signer(ring, now)?.kid.clone();
    let certificate = |key| {
        let der = CertificateDer::from_der(sign::authority(key)?.der().to_vec());
        der.map_err(|error| Unavailable::of("keys", error))
    };
    let authorities = ring.published(now).map(certificate).collect::<Result<_, _>>()?;
    Ok(Standing { authorities, signer })
}

async fn ring<W: World>(world: &W) -> Result<std::sync::Arc<KeyRing>, Unavailable> {
    let purpose = Purpose::WebAuthority;
    let rows = world.store().snapshot(&[Key::of::<KeyRing>(purpose.name())]).await?;
    let ring = rows.get::<KeyRing>(purpose.name())?;
    ring.map(|row| row.value).ok_or_else(|| Unavailable::of("store", "no web authority yet"))
}

/// A certificate for the HTTPS listeners, of the authority that `ca.pem` holds.
pub async fn identity<W: World>(
    world: &W,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<Shown, Unavailable> {
    let (ring, now) = (ring(world).await?, world.clock().now());
    let signer = sign::signer(&ring, now)?;
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("keys", error);
    let authority = sign::authority(signer)?;
    let authority =
        CertificateDer::from_der(authority.der().to_vec()).map_err(|error| fault(&error))?;
    let (key, public) = world.keys().generate(Purpose::WebServer, ALGORITHM).await?;
    let random = world.entropy().public();
    let checked = x509_authority::listener(
        &authority,
        names,
        addresses,
        public.spki_der(),
        random,
        now,
        CERTIFICATE_ALGORITHM,
    )
    .map_err(|error| fault(&error))?;
    let leaf =
        sign::certificate(world, &sign::handle(Purpose::WebAuthority, signer), checked).await?;
    let ends = leaf.parse().map_err(|error| fault(&error))?.not_after();
    let renew = now.plus(Span::from_millis(ends.since(now).millis() / 2));
    let identity = Identity { chain: vec![leaf], key, renew };
    Ok(Shown { identity, standing: of(&ring, now)? })
}
