//! Orders about our signing keys: a new one, one that is mistrusted, one that goes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use credential::{KeyRing, Purpose};
use env::World;
use flow::authorities::{self, Act, Refusal};
use http::{Request, StatusCode};
use jose::KeyId;
use time::Span;

use crate::admin::Shared;
use crate::admin::messages::{KeyOrder, RingShown, RotateOrder};
use crate::admin::operator::Uid;
use crate::admin::problem::{Done, Undone, decided};
use crate::admin::query::{self, At};
use crate::admin::router::Ended;
use crate::answer;

/// Makes a key that will sign.
pub(crate) async fn rotate<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(name): At<String>,
    request: Request<Body>,
) -> Ended {
    let RotateOrder { lead_seconds, reason } = query::document(request).await?;
    let reason = query::reason(reason)?;
    let purpose = Purpose::ROTATED.into_iter().find(|purpose| purpose.name() == name);
    let purpose = purpose.ok_or_else(|| {
        let known = Purpose::ROTATED.map(Purpose::name).join("`, `");
        Undone::misused(format!("no purpose `{name}`; there are `{known}`"))
    })?;
    let lead = lead_seconds.map(Span::from_seconds);
    let operator = uid.operator();
    told(authorities::rotate(&*shared.world, &operator, purpose, lead, reason).await)
}

/// Taints or revokes a key.
pub(crate) async fn act<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At((kid, act)): At<(String, String)>,
    request: Request<Body>,
) -> Ended {
    let KeyOrder { urgent, reason } = query::document(request).await?;
    let reason = query::reason(reason)?;
    let act = match act.as_str() {
        "taint" => Act::Taint { urgent },
        "revoke" => Act::Revoke,
        other => {
            let why =
                format!("`{other}` is nothing that is done to a key; `taint` and `revoke` are");
            return Err(Undone::misused(why));
        }
    };
    let kid = KeyId::parse(&kid).map_err(|error| Undone::misused(error.to_string()))?;
    told(authorities::act(&*shared.world, &uid.operator(), &kid, act, reason).await)
}

fn told(done: Done<KeyRing, Refusal>) -> Ended {
    let (ring, id) = decided(done)?;
    let mut answer = answer::json(StatusCode::OK, &RingShown::from(&ring));
    answer::name_record(answer.headers_mut(), id);
    Ok(answer)
}
