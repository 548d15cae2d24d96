//! Why a provider lets nobody in: one reason a check.

use jose::{Malformed, Refused as TokenRefused};
use oauth::authorization_response::ResponseRefused;
use oauth::metadata::MetadataError;
use openid::id_token::IdTokenRefused;
use openid::logout::LogoutRefused;
use openid::userinfo::OtherUser;
use registry::user::ACCOUNTS_MAX;

use crate::ceremony::NotOurs;
use crate::end::Check;
use crate::passkeys::FRESH;
use crate::standing::NotAdmitted;
use crate::strength::TooWeak;
use crate::throttle::TooMany;

/// Why a provider lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy names none of that name.
    #[error("no identity provider `{0}`")]
    Unknown(String),
    /// Too much failed before.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// What came back was not begun here.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// It came back twice.
    #[error("this was used already")]
    Used,
    /// Its discovery document is not one.
    #[error("the identity provider's document: {0}")]
    Discovery(MetadataError),
    /// It says too little of itself.
    #[error("the identity provider has no `{0}`")]
    Lacks(&'static str),
    /// Its answer in the browser is not one.
    #[error(transparent)]
    Response(#[from] ResponseRefused),
    /// It says no.
    #[error("the identity provider says `{0}`")]
    Denied(String),
    /// Its answer to us is not one.
    #[error("the identity provider's answer does not read: {0}")]
    Answer(String),
    /// It gave no ID token.
    #[error("the identity provider gave no ID token")]
    NoIdToken,
    /// Its token does not read.
    #[error(transparent)]
    Malformed(Malformed),
    /// Its token does not hold: signature, key, lifetime.
    #[error(transparent)]
    Token(TokenRefused),
    /// Its ID token is not for us, or not of this request.
    #[error(transparent)]
    IdToken(#[from] IdTokenRefused),
    /// Its claims are about somebody else.
    #[error(transparent)]
    OtherUser(#[from] OtherUser),
    /// Its logout token is not for us.
    #[error(transparent)]
    Logout(#[from] LogoutRefused),
    /// Who they are there is known, and nobody here.
    #[error("nobody here has the account `{subject}` of `{issuer}`")]
    NoAccount {
        /// The issuer.
        issuer: String,
        /// `sub` there.
        subject: String,
    },
    /// The account is somebody else's.
    #[error("the account is another user's")]
    Taken,
    /// There are [`ACCOUNTS_MAX`].
    #[error("there are {ACCOUNTS_MAX} accounts already")]
    TooManyAccounts,
    /// Whoever sits at an open browser must not stay in for good.
    #[error("sign in again: this needs a sign-in of the last {} s", FRESH.seconds())]
    NotFresh,
    /// A way in that is weaker must not lead to one that is stronger.
    #[error(transparent)]
    TooWeak(#[from] TooWeak),
    /// Whoever began it is signed in no longer.
    #[error("nobody is signed in")]
    NotSigned,
    /// They get nothing.
    #[error(transparent)]
    Standing(#[from] NotAdmitted),
}

impl Check for Refusal {
    fn check(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "upstream::Unknown",
            Self::TooMany(_) => "upstream::TooMany",
            Self::NotOurs(_) => "upstream::NotOurs",
            Self::Used => "upstream::Used",
            Self::Discovery(_) => "upstream::Discovery",
            Self::Lacks(_) => "upstream::Lacks",
            Self::Response(_) => "upstream::Response",
            Self::Denied(_) => "upstream::Denied",
            Self::Answer(_) => "upstream::Answer",
            Self::NoIdToken => "upstream::NoIdToken",
            Self::Malformed(_) => "upstream::Malformed",
            Self::Token(_) => "upstream::Token",
            Self::IdToken(_) => "upstream::IdToken",
            Self::OtherUser(_) => "upstream::OtherUser",
            Self::Logout(_) => "upstream::Logout",
            Self::NoAccount { .. } => "upstream::NoAccount",
            Self::Taken => "upstream::Taken",
            Self::TooManyAccounts => "upstream::TooManyAccounts",
            Self::NotFresh => "upstream::NotFresh",
            Self::TooWeak(_) => "upstream::TooWeak",
            Self::NotSigned => "upstream::NotSigned",
            Self::Standing(_) => "upstream::Standing",
        }
    }
}
