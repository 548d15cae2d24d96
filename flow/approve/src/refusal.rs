//! Why nobody is asked, or an answer does not count: one variant a check.

use access::token::client::ClientRefusal;
use approval::Ask;
use approval::approval::NotAllowed;
use approval::call_detail::NotACall;
use approval::sought::TooMuch;
use authorization::profile::Unmet;
use oauth::authorization_request::RequestRefused;
use oauth::error::ErrorCode;
use oauth::parameter::Refused;
use oauth::token_request::GrantType;
use openid::ciba::{BackchannelRefused, SignedRefused};
use pdp::Denial;
use people::end::Check;
use people::sessions::NotSigned;
use people::throttle::TooMany;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client is not authenticated.
    #[error(transparent)]
    Client(#[from] ClientRefusal),
    /// What it proved itself with was used before.
    #[error("the client's proof was used before")]
    Replayed,
    /// The client gets nothing (docs/past-defects.md 8).
    #[error("the client gets nothing: {0}")]
    Unfit(String),
    /// It registered without this grant.
    #[error("the client did not register the grant `{0}`")]
    GrantNotAllowed(GrantType),
    /// A parameter.
    #[error("{why}")]
    Parameter {
        /// The code on the wire.
        error: ErrorCode,
        /// Which, and what is wrong.
        why: Refused,
    },
    /// What is asked for.
    #[error("{}", .0.why)]
    Asked(RequestRefused),
    /// The signed request.
    #[error("the signed request: {0}")]
    Signed(String),
    /// Policy.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// Nobody is hinted at who can be asked. What of it is so, the client is not told.
    #[error("nobody can be asked by that hint: {0}")]
    UnknownUser(String),
    /// The hint of somebody else is over.
    #[error("the `login_hint_token` has expired")]
    HintExpired,
    /// The user set a code, and the client does not say it.
    #[error("this user is asked only with their `user_code`")]
    NoUserCode,
    /// The client says another code.
    #[error("the `user_code` is not that of the user")]
    WrongUserCode,
    /// An authentication that nobody here can have.
    #[error("none of the `acr_values` `{0}` is known here")]
    NoSuchAcr(String),
    /// A profile of the client, or of a resource.
    #[error(transparent)]
    Profile(#[from] Unmet),
    /// Nothing is pushed to this client, or for this.
    #[error("tokens are not pushed: {0}")]
    Push(&'static str),
    /// So many questions wait already.
    #[error("{found} questions wait for `{who}` already")]
    TooManyWait {
        /// For whom.
        who: String,
        /// How many.
        found: usize,
    },
    /// So many devices ask, of this client and source or over all.
    #[error("too many devices ask; the next may in {wait} s")]
    TooManyAsk {
        /// After how many seconds the next may.
        wait: u64,
    },
    /// It could not be shown whole.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// The challenge of a resource.
    #[error("the challenge: {0}")]
    Challenge(String),
    /// What the challenge is about.
    #[error("the challenge: {0}")]
    Call(#[from] NotACall),
    /// The challenge was handed in before.
    #[error("the challenge was handed in before")]
    ChallengeUsed,
    /// Policy names nobody.
    #[error("policy names nobody who could be asked: {0}")]
    NobodyToAsk(String),
    /// Policy demands an approval, and not of the user who would be asked here.
    #[error("policy wants `{ask}` asked about `{name}`, and this way only the user is")]
    OtherIsAsked {
        /// Of the resource.
        name: String,
        /// Whom policy names.
        ask: Ask,
    },
    /// Policy demands an approval of just that.
    #[error("policy wants `{name}` approved by itself: ask for nothing beside it")]
    NotAlone {
        /// Of the resource.
        name: String,
    },
    /// Policy lets this user allow less than the device asks for.
    #[error("policy lets this user allow less of `{0}` than is asked for")]
    Less(String),
    /// Nobody is signed in.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// There is no such question for whoever answers.
    #[error("no approval `{0}`")]
    Unknown(String),
    /// The answer does not count.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// No device waits with that code.
    #[error("no device waits with this code")]
    NoSuchCode,
    /// Too many guesses.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

impl Refusal {
    /// The code on the wire, where a client is answered.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Client(_) | Self::Replayed => ErrorCode::InvalidClient,
            Self::Unfit(_) | Self::GrantNotAllowed(_) | Self::Push(_) => {
                ErrorCode::UnauthorizedClient
            }
            Self::Parameter { error, .. } => *error,
            Self::Asked(refused) => refused.error,
            Self::UnknownUser(_) => ErrorCode::UnknownUserId,
            Self::HintExpired => ErrorCode::ExpiredLoginHintToken,
            Self::NoUserCode => ErrorCode::MissingUserCode,
            Self::WrongUserCode => ErrorCode::InvalidUserCode,
            Self::NoSuchAcr(_) => ErrorCode::UnmetAuthenticationRequirements,
            Self::Signed(_)
            | Self::Profile(_)
            | Self::Challenge(_)
            | Self::Call(_)
            | Self::ChallengeUsed
            | Self::TooMuch(_) => ErrorCode::InvalidRequest,
            // CIBA Core 1.0 §13 has no other for what may be asked again later.
            Self::TooManyWait { .. } => ErrorCode::AccessDenied,
            Self::TooManyAsk { .. } => ErrorCode::TemporarilyUnavailable,
            Self::Denied(_)
            | Self::OtherIsAsked { .. }
            | Self::NotAlone { .. }
            | Self::Less(_)
            | Self::NobodyToAsk(_)
            | Self::NotSigned(_)
            | Self::Unknown(_)
            | Self::NotAllowed(_)
            | Self::NoSuchCode
            | Self::TooMany(_) => ErrorCode::AccessDenied,
        }
    }
}

impl Refusal {
    /// What records say of it, which may be more than the client is told.
    pub(crate) fn evidence(&self) -> String {
        match self {
            Self::Client(ClientRefusal::Published(unread)) => unread.evidence(),
            other => other.to_string(),
        }
    }
}

impl Check for Refusal {
    fn check(&self) -> &'static str {
        match self {
            Self::Client(refusal) => refusal.check(),
            Self::Replayed => "approve::Replayed",
            Self::Unfit(_) => "approve::Unfit",
            Self::GrantNotAllowed(_) => "approve::GrantNotAllowed",
            Self::Parameter { .. } => "approve::Parameter",
            Self::Asked(_) => "approve::Asked",
            Self::Signed(_) => "approve::Signed",
            Self::Denied(_) => "pdp::Denied",
            Self::UnknownUser(_) => "approve::UnknownUser",
            Self::HintExpired => "approve::HintExpired",
            Self::NoUserCode => "approve::NoUserCode",
            Self::WrongUserCode => "approve::WrongUserCode",
            Self::NoSuchAcr(_) => "approve::NoSuchAcr",
            Self::Profile(unmet) => unmet.check(),
            Self::Push(_) => "approve::Push",
            Self::TooManyWait { .. } => "approve::TooManyWait",
            Self::TooManyAsk { .. } => "approve::TooManyAsk",
            Self::TooMuch(_) => "approve::TooMuch",
            Self::Challenge(_) => "approve::Challenge",
            Self::Call(_) => "approve::Call",
            Self::ChallengeUsed => "approve::ChallengeUsed",
            Self::OtherIsAsked { .. } => "approve::OtherIsAsked",
            Self::NotAlone { .. } => "approve::NotAlone",
            Self::Less(_) => "approve::Less",
            Self::NobodyToAsk(_) => "approve::NobodyToAsk",
            Self::NotSigned(_) => "approve::NotSigned",
            Self::Unknown(_) => "approve::Unknown",
            Self::NotAllowed(NotAllowed::NotAsked { .. }) => "approval::NotAsked",
            Self::NotAllowed(NotAllowed::Barred { .. }) => "approval::Barred",
            Self::NotAllowed(NotAllowed::TooWeak { .. }) => "approval::TooWeak",
            Self::NotAllowed(NotAllowed::NotAsShown) => "approval::NotAsShown",
            Self::NotAllowed(NotAllowed::Unmoved(_)) => "approval::Unmoved",
            Self::NoSuchCode => "approve::NoSuchCode",
            Self::TooMany(_) => "approve::TooMany",
        }
    }
}

impl From<RequestRefused> for Refusal {
    fn from(refused: RequestRefused) -> Self {
        Self::Asked(refused)
    }
}

impl From<BackchannelRefused> for Refusal {
    fn from(refused: BackchannelRefused) -> Self {
        Self::Parameter { error: refused.error, why: refused.why }
    }
}

impl From<(ErrorCode, Refused)> for Refusal {
    fn from((error, why): (ErrorCode, Refused)) -> Self {
        Self::Parameter { error, why }
    }
}

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        Self::Parameter { error: ErrorCode::InvalidRequest, why }
    }
}

impl From<SignedRefused> for Refusal {
    fn from(why: SignedRefused) -> Self {
        Self::Signed(why.to_string())
    }
}
