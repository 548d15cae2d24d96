//! The audit logs as [tlog-tiles](https://c2sp.org/tlog-tiles) at the issuer's origin, so that
//! anybody's tools can verify them.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use crate::answer::{self, Answer};

/// Where the logs stand: `/log/<name>/checkpoint` and `/log/<name>/tile/…`.
pub(crate) const PREFIX: &str = "/log/";
/// The longest path below a log's prefix, in bytes; the longest tile path is shorter.
const PATH_BYTES_MAX: usize = 128;
/// What never changes may be kept.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What changes is asked for each time.
// tlog-tiles, Checkpoints: "This endpoint is mutable, so its headers SHOULD prevent caching beyond
// a few seconds."
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-cache");

/// The logs of this process, as files. Given by the wiring.
pub trait Tiles: Send + Sync + 'static {
    /// Bytes, content type, and whether they never change, of `path` below the prefix of `log`
    /// (`checkpoint`, `tile/…`); `None` where there is no such resource. May block on files.
    fn resource(&self, log: &str, path: &str) -> Option<(Vec<u8>, &'static str, bool)>;
}

/// The resource at `path` of the URL, which begins with [`PREFIX`].
pub(crate) async fn serve(tiles: Arc<dyn Tiles>, path: &str) -> Option<Answer> {
    let (log, below) = path.strip_prefix(PREFIX)?.split_once('/')?;
    if below.len() > PATH_BYTES_MAX {
        return None;
    }
    let (log, below) = (log.to_owned(), below.to_owned());
    let read = tokio::task::spawn_blocking(move || tiles.resource(&log, &below));
    let (bytes, content_type, immutable) = read.await.ok()??;
    let content_type = HeaderValue::from_static(content_type);
    let kept = if immutable { FOREVER } else { NOT_KEPT };
    Some(answer::kept(answer::bytes(StatusCode::OK, content_type, bytes), kept))
}
