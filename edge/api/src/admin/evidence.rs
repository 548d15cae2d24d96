//! Orders about documents of agents, and what was found out about them.

use std::sync::Arc;

use attestation::evidence as documents;
use axum::body::Body;
use axum::extract::{Extension, State};
use env::World;
use flow::evidence::{self, Order, Refusal};
use http::{Request, StatusCode};
use identifier::AgentName;

use crate::admin::Shared;
use crate::admin::messages::{DocumentOrder, DocumentShown, EvidenceShown, ResultShown};
use crate::admin::operator::Uid;
use crate::admin::problem::{Done, Undone, decided};
use crate::admin::query::{self, At};
use crate::admin::router::Ended;
use crate::answer;

/// The documents of an agent and its last results.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(text): At<String>,
) -> Ended {
    let name = name(&text)?;
    let unavailable = |why| Undone::from(&why);
    let found = evidence::of(&*shared.world, &name).await.map_err(unavailable)?;
    let kept = found.ok_or_else(|| Undone::from(&Refusal::Unknown { name: text }))?;
    let results = evidence::results(&*shared.world, &kept.agent).await.map_err(unavailable)?;
    let shown = EvidenceShown {
        documents: DocumentShown::all(&kept),
        results: results.iter().map(|row| ResultShown::of(row)).collect(),
        agent: kept.agent,
    };
    Ok(answer::json(StatusCode::OK, &shown))
}

/// Brings a document, or takes it away.
pub(crate) async fn change<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At((text, kind)): At<(String, String)>,
    request: Request<Body>,
) -> Ended {
    let name = name(&text)?;
    let DocumentOrder { document } = query::document(request).await?;
    let order = match document {
        None => Order::Remove { kind },
        Some(text) => {
            let misused = || Undone::misused("`document` is not base64url without padding");
            let document = documents::from_text(&text).ok_or_else(misused)?;
            Order::Add { kind, document }
        }
    };
    let done = evidence::change(&*shared.world, &uid.operator(), &name, order).await;
    ended(done)
}

fn name(text: &str) -> Result<AgentName, Undone> {
    AgentName::parse(text).map_err(Undone::misused)
}

fn ended(done: Done<env::rows::Documents, Refusal>) -> Ended {
    let (kept, id) = decided(done)?;
    Ok(answer::recorded(StatusCode::OK, &DocumentShown::all(&kept), id))
}
