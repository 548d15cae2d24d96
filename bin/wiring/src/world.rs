//! The world of a real component: its doors, opened.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use env::{
    Clock, Entropy, Newest, Outside, Peers, Platforms, Published, Site, Store, Superior, World,
};
use keys::KeyStore;
use monitoring::Component;
use time::{Span, UnixTime};

/// The doors of one component.
pub struct Wired<S, P> {
    /// State and record.
    pub store: S,
    /// Private keys.
    pub keys: Arc<KeyStore>,
    /// Our own other components.
    pub peers: P,
    /// The system's clock.
    pub clock: SystemClock,
    /// The system's randomness.
    pub entropy: SystemEntropy,
    /// Who writes the records.
    pub component: Component,
    /// Where the installation is reached.
    pub site: Site,
    /// Whom a verifier of evidence may ask.
    pub platforms: Option<Arc<dyn Platforms>>,
    /// On a server: what clients publish about themselves.
    pub published: Option<Arc<dyn Published>>,
    /// On a server: servers of somebody else.
    pub outside: Option<Arc<dyn Outside>>,
    /// On a server: the authority above its own.
    pub superior: Option<Arc<dyn Superior>>,
}

impl<S: Store, P: Peers> World for Wired<S, P> {
    type Store = S;
    type Keys = KeyStore;
    type Clock = SystemClock;
    type Entropy = SystemEntropy;
    type Peers = P;

    fn store(&self) -> &S {
        &self.store
    }

    fn keys(&self) -> &KeyStore {
        &self.keys
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn entropy(&self) -> &SystemEntropy {
        &self.entropy
    }

    fn peers(&self) -> &P {
        &self.peers
    }

    fn platforms(&self) -> Option<&dyn Platforms> {
        self.platforms.as_deref()
    }

    fn published(&self) -> Option<&dyn Published> {
        self.published.as_deref()
    }

    fn outside(&self) -> Option<&dyn Outside> {
        self.outside.as_deref()
    }

    fn superior(&self) -> Option<&dyn Superior> {
        self.superior.as_deref()
    }

    fn component(&self) -> &Component {
        &self.component
    }

    fn site(&self) -> &Site {
        &self.site
    }
}

/// The clock of this machine, beside the newest time of the component's log.
#[derive(Clone, Debug)]
pub struct SystemClock {
    /// Told by the log.
    pub newest: Arc<Newest>,
}

impl SystemClock {
    /// Milliseconds since the epoch; the epoch itself for a clock that stands before it.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn read() -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let millis = since.map(|since| since.as_millis()).unwrap_or_default();
        UnixTime::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        Self::read()
    }

    fn recorded(&self) -> UnixTime {
        self.newest.time()
    }

    async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.duration()).await;
    }
}

/// The randomness of this machine.
#[derive(Debug)]
pub struct SystemEntropy(SystemRandom);

impl Default for SystemEntropy {
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl SystemEntropy {
    fn fill<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        #[expect(clippy::expect_used, reason = "without randomness no key or id can be made")]
        self.0.fill(&mut bytes).expect("the system's random generator answers");
        bytes
    }
}

impl Entropy for SystemEntropy {
    fn public(&self) -> [u8; 16] {
        self.fill()
    }

    fn secret(&self) -> [u8; 32] {
        self.fill()
    }
}
