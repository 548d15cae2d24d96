//! Orders about OAuth clients that are not agents: RFC 7591 metadata in, RFC 7591 answers out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use env::World;
use flow::agents::PAGE_MAX;
use flow::clients::{self, INVITATION_LIFE, Terms};
use http::header::CACHE_CONTROL;
use http::{Request, StatusCode, Uri};
use monitoring::RecordId;
use registry::ClientState;
use serde::Serialize;
use serde_json::{Map, Value};
use time::Span;

use crate::admin::Shared;
use crate::admin::messages::{ClientInformation, ClientTokenShown, NewClientToken, Page};
use crate::admin::operator::Uid;
use crate::admin::problem::{Undone, decided};
use crate::admin::query::{self, At, Query};
use crate::admin::router::Ended;
use crate::answer::{self, Answer, NO_STORE};

/// Members of an order that are none of a client: what the operator says of it.
const PROFILES: &str = "aims_profiles";
const AUDIENCE: &str = "aims_assertion_audience";

/// RFC 7591 §3.2: "The server responds with an HTTP 201 Created status code and a body of type
/// "application/json" with content as described in Section 3.2.1."
pub(crate) async fn register<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let text = query::text(request).await?;
    let (terms, text) = terms(&text)?;
    let done = clients::register(&*shared.world, &uid.operator(), &text, &terms).await;
    let ((client, told), id) = decided(done)?;
    let mut information = ClientInformation::from(client);
    information.client_secret = told.secret.map(|secret| secret.expose().to_owned());
    information.client_secret_expires_at = information.client_secret.as_ref().map(|_| 0);
    Ok(answered(StatusCode::CREATED, &information, id))
}

/// What the operator says of the client, and what the client says of itself.
fn terms(text: &str) -> Result<(Terms, String), Undone> {
    let bad = |why: &dyn std::fmt::Display| Undone::misused(why.to_string());
    // Whatever else is wrong with the text, the flow says.
    let Ok(mut members) = serde_json::from_str::<Map<String, Value>>(text) else {
        return Ok((Terms::default(), text.to_owned()));
    };
    if !members.contains_key(PROFILES) && !members.contains_key(AUDIENCE) {
        return Ok((Terms::default(), text.to_owned()));
    }
    let profiles = members.remove(PROFILES).unwrap_or_else(|| Value::Array(Vec::new()));
    let profiles = serde_json::from_value(profiles);
    let profiles = profiles.map_err(|error| bad(&format!("`{PROFILES}`: {error}")))?;
    let audience = members.remove(AUDIENCE).unwrap_or_else(|| Value::from("issuer"));
    let audience = serde_json::from_value(audience);
    let audience = audience.map_err(|error| bad(&format!("`{AUDIENCE}`: {error}")))?;
    Ok((Terms { profiles, audience }, Value::Object(members).to_string()))
}

pub(crate) async fn list<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["after", "limit"])?;
    let limit = query.limit(PAGE_MAX)?;
    let page = clients::list(&*shared.world, query.get("after"), limit).await;
    let (items, next) = page.map_err(|why| Undone::from(&why))?;
    let items: Vec<_> = items.into_iter().map(ClientInformation::from).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(id): At<String>,
) -> Ended {
    let found = clients::show(&*shared.world, &id).await.map_err(|why| Undone::from(&why))?;
    let shown = |client| answer::json(StatusCode::OK, &ClientInformation::from(client));
    found.map(shown).ok_or_else(|| unknown(&id))
}

pub(crate) async fn disable<W: World>(
    state: State<Arc<Shared<W>>>,
    uid: Extension<Uid>,
    id: At<String>,
) -> Ended {
    set(state, uid, id, ClientState::Disabled).await
}

pub(crate) async fn enable<W: World>(
    state: State<Arc<Shared<W>>>,
    uid: Extension<Uid>,
    id: At<String>,
) -> Ended {
    set(state, uid, id, ClientState::Enabled).await
}

async fn set<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(id): At<String>,
    to: ClientState,
) -> Ended {
    let done = clients::set_state(&*shared.world, &uid.operator(), &id, to).await;
    let done = done.map_err(|why| Undone::from(&why))?;
    let record = done.audit_id();
    let client = done.into_value().map_err(|refusal| Undone::from(&refusal).recorded(record))?;
    Ok(answered(StatusCode::OK, &ClientInformation::from(client), record))
}

/// Makes an initial access token.
pub(crate) async fn invite<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let order: NewClientToken = query::document(request).await?;
    let life = order.life_seconds.map_or(INVITATION_LIFE, Span::from_seconds);
    let uses = order.uses.unwrap_or(1);
    let done = clients::invite(&*shared.world, &uid.operator(), uses, life).await;
    let ((made, token), id) = decided(done)?;
    let token = token.expose().to_owned();
    let shown = ClientTokenShown { token, uses: made.uses, expires: made.until };
    Ok(answered(StatusCode::CREATED, &shown, id))
}

fn unknown(id: &str) -> Undone {
    Undone::not_found(format!("no client `{id}`"))
}

fn answered(status: StatusCode, body: &impl Serialize, id: Option<RecordId>) -> Answer {
    let mut answer = answer::json(status, body);
    answer::name_record(answer.headers_mut(), id);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}
