//! The authority above ours, where there is one: a company's, in files or a token, or another
//! server.

use std::future::Future;
use std::pin::Pin;

use credential::Purpose;
use time::UnixTime;
use wimse::Origin;

use crate::Unavailable;

/// A certificate that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperiorOrder {
    /// Our trust domain, under its scheme.
    pub origin: Origin,
    /// A PKCS#10 request in DER, which proves the key.
    pub request: Vec<u8>,
    /// Sixteen random bytes, for a serial number.
    pub random: [u8; 16],
    /// Now.
    pub now: UnixTime,
    /// Until when it is wanted; it may be given for less.
    pub until: UnixTime,
    /// How many levels of authorities are to stand below ours; it may be given for fewer.
    pub below: u8,
}

/// What an authority above answers. Nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperiorAnswer {
    /// Certificates in DER, ours first, each signed by the next.
    pub chain: Vec<Vec<u8>>,
    /// The roots, in DER.
    pub roots: Vec<Vec<u8>>,
}

/// What an authority above says is to be trusted. Nothing of it is believed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuperiorTrust {
    /// The roots, in DER.
    pub roots: Vec<Vec<u8>>,
    /// Those of them below which nothing is to stand any longer, in DER.
    pub tainted: Vec<Vec<u8>>,
    /// Keys of JWT-SVIDs and WITs of the whole trust domain, ours too once they are known there.
    pub keys: Vec<SuperiorKey>,
}

/// A key that tokens of the trust domain are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperiorKey {
    /// Of JWT-SVIDs or WITs.
    pub purpose: Purpose,
    /// Its id.
    pub kid: String,
    /// SubjectPublicKeyInfo in DER.
    pub spki_der: Vec<u8>,
    /// When it ends; `None` where that is not said.
    pub until: Option<UnixTime>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperiorFault {
    /// It said no, or cannot.
    #[error("{0}")]
    Refused(String),
    /// It did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// An answer under way.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, SuperiorFault>> + Send + 'a>>;

/// The authority above ours. Trusting it means: who can use it can be anybody of this trust domain.
pub trait Superior: Send + Sync + 'static {
    /// Which it is, in words for operators.
    fn name(&self) -> &str;

    /// Whether it is a server of this trust domain: it says what all of the domain trusts, so that
    /// what it drops is dropped, and publishes the keys that we announce.
    fn is_server(&self) -> bool {
        false
    }

    /// Asks for a certificate of an authority. Asked twice, it gives two.
    fn certify(&self, order: SuperiorOrder) -> Answering<'_, SuperiorAnswer>;

    /// What is to be trusted, as of now.
    fn trust(&self) -> Answering<'_, SuperiorTrust>;

    /// Has a key of ours published. Told twice, it is published once. Nothing to do for one that is
    /// no server.
    fn announce(&self, key: SuperiorKey) -> Answering<'_, ()> {
        drop(key);
        Box::pin(std::future::ready(Ok(())))
    }
}
