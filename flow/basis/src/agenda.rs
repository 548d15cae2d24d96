//! What a job has to do, and when it looks again.

use env::Seq;
use time::UnixTime;

/// What is due.
#[derive(Debug)]
pub struct Agenda<D> {
    /// Now.
    pub due: Vec<D>,
    /// When the next one is, if there is one.
    pub next: Option<UnixTime>,
    /// The store's position as of then, for a wait until it changes.
    pub seq: Seq,
}
