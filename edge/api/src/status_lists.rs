//! Status lists as they were made a moment ago: one costs a look at each of its tokens, and anybody
//! may ask for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use env::{Clock, Unavailable, World};
use http::StatusCode;
use http::header::HeaderValue;
use time::{Span, UnixTime};

use crate::answer::{self, Answer};

/// How long a list is given out again. It adds to its `ttl` of a second.
const AGAIN: Span = Span::from_millis(250);
/// Lists that are kept: those that are filled within four minutes.
const LISTS_MAX: usize = 64;
/// The media type of a list (draft-ietf-oauth-status-list-20 §8.1).
const MEDIA: HeaderValue = HeaderValue::from_static("application/statuslist+jwt");
/// As its `ttl`.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=1");

/// The lists of the last moment, each behind a lock of its own: who asks while one is made waits
/// for that one, and for no other.
#[derive(Debug, Default)]
pub(crate) struct StatusLists(Mutex<HashMap<String, Arc<Place>>>);

/// When a list was made, and what it is.
type Place = tokio::sync::Mutex<Option<(UnixTime, String)>>;

impl StatusLists {
    /// The list of that name. It is made once for all who ask meanwhile.
    pub(crate) async fn get<W: World>(
        &self,
        world: &W,
        name: &str,
    ) -> Result<Option<Answer>, Unavailable> {
        let place = self.place(name, world.clock().now());
        let mut kept = place.lock().await;
        let now = world.clock().now();
        if let Some((_, token)) = kept.as_ref().filter(|(made, _)| is_new(*made, now)) {
            return Ok(Some(answered(token)));
        }
        *kept = flow::status::list(world, name).await?.map(|token| (now, token));
        if kept.is_none() {
            // Names that strangers make up take no place.
            self.lock().remove(name);
        }
        Ok(kept.as_ref().map(|(_, token)| answered(token)))
    }

    /// Where it is kept. Where there are too many, those go that are old and made for nobody.
    fn place(&self, name: &str, now: UnixTime) -> Arc<Place> {
        let mut places = self.lock();
        if let Some(place) = places.get(name) {
            return Arc::clone(place);
        }
        if places.len() >= LISTS_MAX {
            let is_kept = |place: &Place| place.try_lock().ok()?.as_ref().map(|(made, _)| *made);
            places.retain(|_, place| {
                Arc::strong_count(place) > 1 || is_kept(place).is_some_and(|at| is_new(at, now))
            });
        }
        let place = Arc::default();
        if places.len() < LISTS_MAX {
            places.insert(name.to_owned(), Arc::clone(&place));
        }
        place
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set back makes nothing last longer.
fn is_new(made: UnixTime, now: UnixTime) -> bool {
    made <= now && now < made.plus(AGAIN)
}

fn answered(token: &str) -> Answer {
    answer::kept(answer::bytes(StatusCode::OK, MEDIA, token.as_bytes().to_vec()), KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While one list is made, others are looked at; and what is made up takes no place for good.
    #[test]
    fn status_13_a_list_that_is_made_holds_up_no_other() {
        let (lists, now) = (StatusLists::default(), UnixTime::from_seconds(100));
        let place = lists.place("a", now);
        let making = place.try_lock().unwrap();
        assert!(lists.place("a", now).try_lock().is_err(), "it is made once");
        for other in 0..2 * LISTS_MAX {
            assert!(lists.place(&other.to_string(), now).try_lock().is_ok());
        }
        assert!(lists.lock().len() <= LISTS_MAX);
        assert!(lists.place("a", now).try_lock().is_err(), "it keeps its place meanwhile");
        drop(making);
        assert!(lists.place("a", now).try_lock().is_ok());
    }
}
