//! Status lists as they were made a moment ago: one costs a look at each of its tokens, and anybody
//! may ask for it.

use std::collections::HashMap;

use env::{Clock, Unavailable, World};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use time::{Span, UnixTime};
use tokio::sync::Mutex;

use crate::answer::{self, Answer};

/// How long a list is given out again. It adds to its `ttl` of a second.
const AGAIN: Span = Span::from_millis(250);
/// Lists that are kept: those that are filled within four minutes.
const LISTS_MAX: usize = 64;
/// The media type of a list (draft-ietf-oauth-status-list-20 §8.1).
const MEDIA: HeaderValue = HeaderValue::from_static("application/statuslist+jwt");
/// As its `ttl`.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=1");

/// The lists of the last moment.
#[derive(Debug, Default)]
pub(crate) struct StatusLists(Mutex<HashMap<String, (UnixTime, String)>>);

impl StatusLists {
    /// The list of that name. Who asks while one is made waits for it: it is made once.
    pub(crate) async fn get<W: World>(
        &self,
        world: &W,
        name: &str,
    ) -> Result<Option<Answer>, Unavailable> {
        let mut kept = self.0.lock().await;
        let now = world.clock().now();
        // A clock that was set back makes nothing last longer.
        let is_new = |made: UnixTime| made <= now && now < made.plus(AGAIN);
        if let Some((_, token)) = kept.get(name).filter(|(made, _)| is_new(*made)) {
            return Ok(Some(answered(token)));
        }
        let Some(token) = flow::status::list(world, name).await? else { return Ok(None) };
        let answer = answered(&token);
        if kept.len() >= LISTS_MAX {
            kept.retain(|_, (made, _)| is_new(*made));
        }
        if kept.len() < LISTS_MAX {
            kept.insert(name.to_owned(), (now, token));
        }
        Ok(Some(answer))
    }
}

fn answered(token: &str) -> Answer {
    let mut answer = answer::bytes(StatusCode::OK, MEDIA, token.as_bytes().to_vec());
    answer.headers_mut().insert(CACHE_CONTROL, KEPT);
    answer
}
