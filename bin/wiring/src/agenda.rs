//! Jobs that do what is due, for ever.

use std::future::Future;
use std::sync::Arc;

use basis::agenda::Agenda;
use env::{Clock, Store, Unavailable, World};
use time::Span;
use tokio::task::JoinSet;

/// The shortest pause between two looks at what is due, however often the state changes.
const LOOK_MIN: Span = Span::from_seconds(1);
/// The longest.
pub(crate) const LOOK_MAX: Span = Span::from_seconds(60);
/// What is done at once.
const AT_ONCE: usize = 16;

/// Does what is due. What stalls holds up no other for longer than its own bound.
pub(crate) async fn follow<W, D, L, A>(
    world: Arc<W>,
    job: &'static str,
    look: impl Fn(Arc<W>) -> L,
    act: impl Fn(Arc<W>, D) -> A,
) where
    W: World,
    L: Future<Output = Result<Agenda<D>, Unavailable>>,
    A: Future<Output = ()> + Send + 'static,
{
    loop {
        let Agenda { due, next, seq } = match look(Arc::clone(&world)).await {
            Ok(agenda) => agenda,
            Err(error) => {
                tracing::error!(job, %error, "what is due cannot be read");
                world.clock().sleep(LOOK_MAX).await;
                continue;
            }
        };
        if due.is_empty() {
            let now = world.clock().now();
            let pause = next.map_or(LOOK_MAX, |next| next.since(now).min(LOOK_MAX));
            // What begins meanwhile is done at once.
            tokio::select! {
                () = world.clock().sleep(pause.max(LOOK_MIN)) => {}
                _ = world.store().past(seq) => world.clock().sleep(LOOK_MIN).await,
            }
            continue;
        }
        let mut doing = JoinSet::new();
        for one in due {
            if doing.len() >= AT_ONCE {
                doing.join_next().await;
            }
            doing.spawn(act(Arc::clone(&world), one));
        }
        while doing.join_next().await.is_some() {}
    }
}
