//! Orders about hosts and keys, and how the server is.

use std::sync::Arc;

use attestation::mechanism::Role;
use axum::body::Body;
use axum::extract::{Extension, State};
use credential::{KeyRing, Purpose};
use env::rows::{DomainEpoch, InForce, SuperiorRow};
use env::{Clock, Index, Key, Snapshot, Store, Table, Unavailable, World};
use flow::agents::PAGE_MAX;
use flow::issuing;
use flow::join_token::{self, LIFE_SECONDS_MAX};
use http::header::CACHE_CONTROL;
use http::{Request, StatusCode, Uri};
use registry::NodeRecord;
use time::Span;

use crate::admin::Shared;
use crate::admin::messages::{
    JOIN_TOKEN_SECONDS, JoinTokenShown, NewJoinToken, NodeShown, Page, RingShown, Status,
    SuperiorShown,
};
use crate::admin::operator::Uid;
use crate::admin::problem::Undone;
use crate::admin::query::{self, Query};
use crate::admin::router::Ended;
use crate::answer::{self, NO_STORE};

pub(crate) async fn create_join_token<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let NewJoinToken { role, name, life_seconds } = query::document(request).await?;
    let seconds = life_seconds.unwrap_or(JOIN_TOKEN_SECONDS);
    if !(1..=LIFE_SECONDS_MAX).contains(&seconds) {
        let why = format!("`life_seconds` is {seconds}; allowed are 1 to {LIFE_SECONDS_MAX}");
        return Err(Undone::misused(why));
    }
    let life = Span::from_seconds(seconds);
    let made = join_token::create(&*shared.world, &uid.operator(), role, name, life).await;
    let made = made.map_err(|why| Undone::from(&why))?;
    let id = made.audit_id();
    let shown = made.into_value();
    let (kept, token) = (&shown.kept, shown.expose().to_owned());
    let (role, name): (Role, _) = (kept.role, kept.name.clone());
    let shown = JoinTokenShown { token, role, name, expires: kept.expires };
    let mut answer = answer::json(StatusCode::CREATED, &shown);
    answer::name_record(answer.headers_mut(), id);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

pub(crate) async fn nodes<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["after", "limit"])?;
    let limit = query.limit(PAGE_MAX)?;
    let store = shared.world.store();
    let page = store.scan(Table::Nodes, Index::All, "", query.get("after"), limit).await;
    let page = page.map_err(|why| Undone::from(&why))?;
    let mut items = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let node = row.value::<NodeRecord>().map_err(|error| {
            let why = Unavailable::of("store", error);
            Undone::from(&why)
        })?;
        items.extend(
            node.map(|node| NodeShown::new(&node, shared.health.heard(&node.id.to_string()))),
        );
    }
    Ok(answer::json(StatusCode::OK, &Page { items, next: page.next }))
}

pub(crate) async fn keys<W: World>(State(shared): State<Arc<Shared<W>>>) -> Ended {
    let keys = Purpose::ROTATED.map(|purpose| Key::of::<KeyRing>(purpose.name()));
    let rows = shared.world.store().snapshot(&keys).await.map_err(|why| Undone::from(&why))?;
    let mut rings = Vec::new();
    for purpose in Purpose::ROTATED {
        let ring = rows.get::<KeyRing>(purpose.name()).map_err(|why| Undone::from(&why))?;
        let ring = ring.as_deref().filter(|ring| !ring.keys.is_empty());
        rings.extend(ring.map(RingShown::from));
    }
    Ok(answer::json(StatusCode::OK, &rings))
}

/// Answers also when the state cannot be read: that is what it is asked for.
pub(crate) async fn status<W: World>(State(shared): State<Arc<Shared<W>>>) -> Ended {
    let keys = [
        Key::of::<InForce>(InForce::ID),
        Key::of::<DomainEpoch>(DomainEpoch::ID),
        Key::of::<SuperiorRow>(SuperiorRow::ID),
        Key::of::<KeyRing>(Purpose::X509Authority.name()),
    ];
    let rows = shared.world.store().snapshot(&keys).await;
    let read = rows.and_then(|rows| {
        let policy = rows.get::<InForce>(InForce::ID)?;
        let superior = superior(shared.world.as_ref(), &rows)?;
        Ok((policy, rows.get::<DomainEpoch>(DomainEpoch::ID)?, superior))
    });
    let not_ready = shared.health.ready().err();
    let (policy, epoch, superior, not_ready) = match read {
        Ok((policy, epoch, superior)) => (policy, epoch, superior, not_ready),
        Err(why) => (None, None, None, Some(not_ready.unwrap_or_else(|| why.to_string()))),
    };
    let recorded = shared.world.clock().recorded();
    let now = shared.world.clock().now();
    let jumped = policy.as_ref().and_then(|row| {
        let skew = row.set.domain().bounds.clock_skew;
        issuing::jumped_back(now, recorded, skew).err()
    });
    let seen = shared.health.seen();
    let shown = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        issuer: shared.world.site().issuer.clone(),
        not_ready,
        origin: policy.as_ref().map(|row| row.set.origin().clone()),
        trust_domain: policy.as_ref().map(|row| row.set.domain().trust_domain.to_string()),
        policy: policy.as_ref().map(|row| row.set.version().as_str().to_owned()),
        epoch: epoch.map(|row| row.epoch.0),
        keys_sealed: shared.health.keys_sealed(),
        logs: shared.health.logs(),
        feeds: shared.health.feeds(),
        now,
        jumped_back_from: jumped.map(|jumped| jumped.recorded),
        outage: seen.as_ref().map(|seen| seen.outage),
        alarms: seen.map(|seen| seen.alarms).unwrap_or_default(),
        superior,
    };
    Ok(answer::json(StatusCode::OK, &shown))
}

/// How the authority above stands, where this server has one.
fn superior<W: World>(world: &W, rows: &Snapshot) -> Result<Option<SuperiorShown>, Unavailable> {
    let Some(superior) = world.superior() else { return Ok(None) };
    let row = rows.get::<SuperiorRow>(SuperiorRow::ID)?;
    let failing = row.and_then(|row| row.failing.clone());
    let ring = rows.get::<KeyRing>(Purpose::X509Authority.name())?;
    let below = ring.iter().flat_map(|ring| &ring.keys).filter(|key| key.above.is_some());
    Ok(Some(SuperiorShown {
        name: superior.name().to_owned(),
        signs_until: below.map(|key| key.signs_until).max(),
        failing_since: failing.as_ref().map(|failing| failing.since),
        why: failing.as_ref().map(|failing| failing.why.clone()),
        again: failing.map(|failing| failing.again),
    }))
}
