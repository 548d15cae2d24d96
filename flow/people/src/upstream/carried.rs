//! What a sign-in at a provider carries there and back, in its `state`.

use time::{Span, UnixTime};

use crate::browser::Place;
use crate::ceremony::{Ceremony, LIFE};
use crate::sessions::Signed;

/// The text: the session of who adds an account, how old a sign-in may be, where it goes on.
pub(super) fn carry(signed: Option<&Signed>, max_age: Option<Span>, to: &Place) -> String {
    let whose = signed.map(|signed| signed.session.id.as_str()).unwrap_or_default();
    let wanted = max_age.map(|most| most.seconds().to_string()).unwrap_or_default();
    format!("{whose}\n{wanted}\n{}", to.as_str())
}

/// The same as it came back.
pub(super) fn carried(begun: &Ceremony) -> (&str, &str, &str) {
    let mut parts = begun.carried().splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    (part(), part(), part())
}

/// When they must have proved who they are at the earliest, if that was asked.
pub(super) fn earliest(begun: &Ceremony) -> Option<UnixTime> {
    let most = carried(begun).1.parse().ok().map(Span::from_seconds)?;
    Some(begun.until().minus(LIFE).minus(most))
}
