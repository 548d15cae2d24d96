//! Why a request of a client for a user is refused, and who is told.

use authentication::session::Acr;
use authorization::client::NoRedirect;
use authorization::interaction::PushedRefusal;
use authorization::profile::Unmet;
use jose::{Malformed, Refused as NotVerified};
use oauth::authorization_request::RequestRefused;
use oauth::error::ErrorCode;
use oauth::form::FormError;
use oauth::parameter::Refused;
use oauth::request_object::ObjectRefused;

use crate::client::Unfit;

/// What nobody but the user is told, on a page: it is not known that the client may be answered.
///
/// RFC 6749 §4.1.2.1: the server "MUST NOT automatically redirect the user-agent to the invalid
/// redirection URI."
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// The parameters do not read.
    #[error("{0} (RFC 6749 §3.1)")]
    Form(#[from] FormError),
    /// `client_id`, `request`, `request_uri` or `redirect_uri` does not read.
    #[error(transparent)]
    Parameter(#[from] Refused),
    /// The client.
    #[error(transparent)]
    Client(#[from] Unfit),
    /// The pushed request.
    #[error(transparent)]
    Pushed(#[from] PushedRefusal),
    /// The request object.
    #[error(transparent)]
    Object(#[from] ObjectFault),
    /// Where the answer would go.
    #[error("{0} (RFC 6749 §3.1.2.3)")]
    Redirect(#[from] NoRedirect),
    /// A client that nobody here let in, and nobody is signed in (RFC 9700 §4.11.2).
    #[error("{0}; the application registered itself, and is told nothing before you sign in")]
    Stranger(Box<Refusal>),
    /// More begins here than may: of this source or person, or over all.
    #[error("too many requests begin here; the next may in {wait} s")]
    TooMany {
        /// After how many seconds the next may.
        wait: u64,
    },
    /// The request is longer than is stored.
    #[error("the request has {length} bytes, more than {max}")]
    TooLong {
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
}

/// A request object that is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectFault {
    /// It does not read.
    #[error("`request`: {0} (RFC 9101 §6.1)")]
    Malformed(#[from] Malformed),
    /// The client has no key to sign one with.
    #[error("`request`: the client registered no keys (RFC 9101 §6.2)")]
    NoKeys,
    /// Its signature or its times.
    #[error("`request`: {0} (RFC 9101 §6.2)")]
    NotVerified(#[from] NotVerified),
    /// Its claims.
    #[error("`request`: {0}")]
    Claims(#[from] ObjectRefused),
}

impl PageFault {
    /// The code that a client is told who pushes such a request.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Client(_) => ErrorCode::InvalidClient,
            Self::Object(_) => ErrorCode::InvalidRequestObject,
            Self::Stranger(refusal) => refusal.code(),
            Self::Pushed(_) => ErrorCode::InvalidRequestUri,
            Self::TooMany { .. } => ErrorCode::TemporarilyUnavailable,
            Self::Form(_) | Self::Parameter(_) | Self::Redirect(_) | Self::TooLong { .. } => {
                ErrorCode::InvalidRequest
            }
        }
    }

    /// The variant's name: what records and counters call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Form(_) => "authorize::Form",
            Self::Parameter(_) => "authorize::Parameter",
            Self::Client(Unfit::Published(unread)) => unread.check(),
            Self::Client(_) => "authorize::Client",
            Self::Pushed(_) => "authorize::Pushed",
            Self::Object(_) => "authorize::Object",
            Self::Redirect(_) => "authorize::Redirect",
            Self::TooLong { .. } => "authorize::TooLong",
            Self::TooMany { .. } => "authorize::TooMany",
            Self::Stranger(_) => "authorize::Stranger",
        }
    }
}

/// What the client is told, at its redirect URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A parameter.
    #[error(transparent)]
    Request(#[from] RequestRefused),
    /// A profile of the client, or of a resource.
    #[error(transparent)]
    Profile(#[from] Unmet),
    /// It may not use this grant.
    #[error("the client did not register the grant `authorization_code` (RFC 6749 §4.1.2.1)")]
    NoCodeGrant,
    /// `prompt=none`, and nobody is signed in, or not as was asked.
    #[error(
        "somebody would have to sign in, and `prompt` is `none` (OpenID Connect Core 1.0 §3.1.2.1)"
    )]
    LoginRequired,
    /// `prompt=none`, and the user would have to be asked.
    #[error(
        "the user would have to be asked, and `prompt` is `none` (OpenID Connect Core 1.0 §3.1.2.1)"
    )]
    ConsentRequired,
    /// Whom the `id_token_hint` means cannot be told.
    #[error("`id_token_hint` names nobody: {0} (OpenID Connect Core 1.0 §3.1.2.1)")]
    Hint(String),
    /// Nobody can sign in so.
    #[error("nobody can authenticate by any of `{0}` here (RFC 9470 §5)")]
    NoSuchAcr(String),
    /// The user signed in, and not so.
    #[error("the user authenticated by `{found}`, which is less than `{wanted}` (RFC 9470 §5)")]
    TooWeak {
        /// How the user did.
        found: &'static str,
        /// The least that was asked for.
        wanted: &'static str,
    },
    /// The user said no.
    #[error("the user allowed nothing of it")]
    Denied,
    /// Policy says no to all of it.
    #[error("policy permits nothing of it to this client for this user")]
    Policy,
}

impl Refusal {
    /// The code on the wire.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Request(refused) => refused.error,
            Self::Profile(_) => ErrorCode::InvalidRequest,
            // RFC 6749 §4.1.2.1: "unauthorized_client: The client is not authorized to request an
            // authorization code using this method."
            Self::NoCodeGrant => ErrorCode::UnauthorizedClient,
            Self::LoginRequired | Self::Hint(_) => ErrorCode::LoginRequired,
            Self::ConsentRequired => ErrorCode::ConsentRequired,
            Self::NoSuchAcr(_) | Self::TooWeak { .. } => ErrorCode::UnmetAuthenticationRequirements,
            // RFC 6749 §4.1.2.1: "access_denied: The resource owner or authorization server denied
            // the request."
            Self::Denied | Self::Policy => ErrorCode::AccessDenied,
        }
    }

    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Request(_) => "authorize::Request",
            Self::Profile(unmet) => unmet.check(),
            Self::NoCodeGrant => "authorize::NoCodeGrant",
            Self::LoginRequired => "authorize::LoginRequired",
            Self::Hint(_) => "authorize::Hint",
            Self::ConsentRequired => "authorize::ConsentRequired",
            Self::NoSuchAcr(_) => "authorize::NoSuchAcr",
            Self::TooWeak { .. } => "authorize::TooWeak",
            Self::Denied => "consent::Denied",
            Self::Policy => "pdp::Denied",
        }
    }

    pub(crate) const fn too_weak(found: Acr, wanted: Acr) -> Self {
        Self::TooWeak { found: found.as_str(), wanted: wanted.as_str() }
    }
}
