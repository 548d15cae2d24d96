//! Who is calling, by which proof, on which channel: the value that every decision begins with.

use std::fmt;

use jose::Thumbprint;
use provisioning::Epoch;
use serde::{Deserialize, Serialize};
use time::UnixTime;
use wimse::WorkloadId;

/// How a caller proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A JWT-SVID as client assertion: bearer (oauth-spiffe-client-auth §3.1).
    SpiffeJwt,
    /// An X.509-SVID in mutual TLS.
    SpiffeX509,
    /// A WIT and a signature of its key over a fresh statement.
    SpiffeWit,
    /// A client assertion signed by a registered key (RFC 7523).
    PrivateKeyJwt,
    /// A certificate of a registered name (RFC 8705 §2.1).
    TlsClientAuth,
    /// A registered certificate (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
    /// An attestation of an instance's key, and a signature of it.
    Attestation,
    /// The same, where the signature is that of a DPoP proof.
    AttestationDpop,
    /// A shared secret in HTTP Basic authentication: bearer.
    SecretBasic,
    /// A shared secret in the form: bearer.
    SecretPost,
    /// A WIT and a workload proof token on the request itself.
    WitWpt,
    /// Nothing: a public client (RFC 6749 §2.1) says its name. What it gets is bound to what else
    /// it holds.
    None,
}

impl Method {
    /// The methods of the token endpoint.
    pub const TOKEN_ENDPOINT: [Self; 7] = [
        Self::SpiffeJwt,
        Self::SpiffeX509,
        Self::SpiffeWit,
        Self::PrivateKeyJwt,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
        Self::None,
    ];

    /// Whether the caller proved a key: not only its name, and not a secret that it shares.
    pub const fn proves_a_key(self) -> bool {
        !matches!(self, Self::None | Self::SecretBasic | Self::SecretPost)
    }

    /// The name in metadata and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpiffeJwt => "spiffe_jwt",
            Self::SpiffeX509 => "spiffe_x509",
            Self::SpiffeWit => "spiffe_wit",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::Attestation => "attest_jwt_client_auth",
            Self::AttestationDpop => "attest_jwt_client_auth_dpop",
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
            Self::WitWpt => "wit+wpt",
            Self::None => "none",
        }
    }
}

/// What the caller is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A workload of a trust domain we know: an agent or a service.
    Workload(WorkloadId),
    /// A client registered with a key.
    Client(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(id) => fmt::Display::fmt(id, f),
            Self::Client(id) => f.write_str(id),
        }
    }
}

/// An authenticated caller. Made only in this crate, each field verified by the method named.
#[derive(Clone, Debug)]
pub struct Caller {
    who: Who,
    client_id: String,
    method: Method,
    key: Option<Thumbprint>,
    transport: Option<WorkloadId>,
    issued: Option<Epoch>,
    expires: UnixTime,
}

impl Caller {
    pub(crate) fn new(who: Who, method: Method, expires: UnixTime) -> Self {
        let client_id = who.to_string();
        Self { who, client_id, method, key: None, transport: None, issued: None, expires }
    }

    /// A client that is told what came of what it asked. It authenticated by `method` when it
    /// asked: what it waits with says so, and what is made goes only where it registered (`law`
    /// lists the uses).
    pub fn assertion(client_id: String, method: Method, now: UnixTime) -> Self {
        Self::new(Who::Client(client_id), method, now)
    }

    pub(crate) fn with_key(mut self, key: Thumbprint) -> Self {
        self.key = Some(key);
        self
    }

    pub(crate) fn with_epoch(mut self, issued: Option<u64>) -> Self {
        self.issued = issued.map(Epoch);
        self
    }

    /// The identity of the channel, which need not be that of the caller (AUTHN-13).
    #[must_use]
    pub fn on_channel_of(mut self, transport: Option<WorkloadId>) -> Self {
        self.transport = transport;
        self
    }

    /// Who it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The OAuth client id: for our workloads their identifier (AUTHZ-02, AUTHZ-23).
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// By which proof.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The key that it proved to have; `None` for a bearer credential.
    pub fn key(&self) -> Option<&Thumbprint> {
        self.key.as_ref()
    }

    /// The authenticated identity of the channel.
    pub fn transport(&self) -> Option<&WorkloadId> {
        self.transport.as_ref()
    }

    /// The epoch under which its credential was issued.
    pub fn issued(&self) -> Option<Epoch> {
        self.issued
    }

    /// When its credential ends.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }
}
