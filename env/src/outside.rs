//! Servers that belong to somebody else: identity providers that people sign in by, and clients
//! that are told when a session ended, or what somebody answered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use authentication::policy::Proof;

use crate::Unavailable;

/// A question to a server of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Where: an https URL.
    pub url: String,
    /// How it is reached.
    pub reach: Reach,
    /// What is asked.
    pub what: Asks,
}

/// By which authorities a server is known, and where it may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// PEM; those of the Web PKI where there is none.
    pub ca: Option<String>,
    /// Private addresses that policy lists; beside these only public ones.
    pub addresses: Vec<String>,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq)]
pub enum Asks {
    /// A document that anyone may read; it may be one of a moment ago, unless it must be `fresh`.
    Document {
        /// Whether what is remembered does not count.
        fresh: bool,
    },
    /// A document, with an access token.
    Bearer(String),
    /// A form is sent, with a secret of ours where that is how we prove who we are.
    Form {
        /// `application/x-www-form-urlencoded`.
        body: String,
        /// Our secret at this provider.
        secret: Option<SharedSecret>,
    },
    /// The same at a token endpoint, where a refusal of what is redeemed is an answer too.
    Redeem {
        /// `application/x-www-form-urlencoded`.
        body: String,
        /// Our secret at this provider.
        secret: Option<SharedSecret>,
    },
    /// Something is told, with a token that the one who is told knows us by. What the answer says
    /// is not read.
    Told {
        /// `application/json`.
        body: String,
        /// The bearer token.
        bearer: String,
    },
}

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Document { .. } => "Document",
            Self::Bearer(_) => "Bearer(…)",
            Self::Form { .. } => "Form(…)",
            Self::Redeem { .. } => "Redeem(…)",
            Self::Told { .. } => "Told(…)",
        })
    }
}

/// Names a secret that lies in a file of the server. It does not cross this door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSecret {
    /// The name of the provider, which is that of the file.
    pub provider: String,
    /// Who we are there.
    pub client_id: String,
    /// How it is sent: never [`Proof::PrivateKeyJwt`].
    pub how: Proof,
}

/// An answer on its way.
pub type Replying<'a> = Pin<Box<dyn Future<Output = Result<String, Unavailable>> + Send + 'a>>;

/// Asks, within seconds: the address that a name resolves to is judged before it is connected to,
/// other origins are not followed, no more is read than is bounded. What comes back is as unproven
/// as the network.
pub trait Outside: Send + Sync {
    /// The text of the answer.
    fn ask<'a>(&'a self, question: &'a Outbound) -> Replying<'a>;
}
