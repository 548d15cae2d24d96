//! Access asked for that was denied (Access Request and Approval Profile).

use std::sync::Arc;

use approval::bound;
use authzen::access_request::{Answer as Told, Cancellation, Status, Submission};
use axum::body::Body;
use axum::extract::{Path, State};
use decide::request::{self, HandedIn};
use decide::{End, Shown, task};
use env::{Unavailable, World};
use http::header::{LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};

use crate::Shared;
use crate::answer::{self, Answer, Errors, POLL_SECONDS};
use crate::read::{self, Unread};

/// `POST /access/v1/requests`.
pub(crate) async fn submit<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = read::source(&parts);
    let handed = handed_in(&parts, body).await;
    let read = match shown(&shared, &parts) {
        Ok(shown) => handed.map(|handed| (shown, handed)),
        Err(unread) => Err(unread),
    };
    let (shown, handed) = match read {
        Ok(read) => read,
        Err(unread) => return Errors::Problem.unread(&shared, &source, &unread),
    };
    let end = request::submit(&*shared.world, &shown, &handed).await;
    told(&shared, &source, end, |answer| match answer.task.status {
        Status::Pending => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    })
    .await
}

/// `GET /access/v1/requests/{id}`.
pub(crate) async fn status<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let (parts, _) = request.into_parts();
    let source = read::source(&parts);
    let shown = match shown(&shared, &parts) {
        Ok(shown) => shown,
        Err(unread) => return Errors::Problem.unread(&shared, &source, &unread),
    };
    let end = task::status(&*shared.world, &shown, &id).await;
    told(&shared, &source, end, |_| StatusCode::OK).await
}

/// `POST` or `DELETE /access/v1/requests/{id}/cancel`.
pub(crate) async fn cancel<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = read::source(&parts);
    let body = read::json_or_none(&parts.headers, body).await;
    let read = match shown(&shared, &parts) {
        Ok(shown) => match body {
            Ok(bytes) => {
                Cancellation::parse(&bytes).map(|why| (shown, why)).map_err(Unread::Malformed)
            }
            Err(unread) => Err(unread),
        },
        Err(unread) => Err(unread),
    };
    let (shown, why) = match read {
        Ok(read) => read,
        Err(unread) => return Errors::Problem.unread(&shared, &source, &unread),
    };
    let end = task::cancel(&*shared.world, &shown, &id, &why).await;
    told(&shared, &source, end, |_| StatusCode::OK).await
}

fn shown<W: World>(shared: &Shared<W>, parts: &Parts) -> Result<Shown, Unread> {
    read::shown(parts, authzen::path_of(&shared.world.site().issuer))
}

async fn handed_in(parts: &Parts, body: Body) -> Result<HandedIn, Unread> {
    let key = read::idempotency_key(&parts.headers)?;
    let bytes = read::json(&parts.headers, body).await?;
    let submission = Submission::parse(&bytes).map_err(Unread::Malformed)?;
    // "identical under a deterministic comparison chosen by the Access Request Service".
    let text = std::str::from_utf8(&bytes).map_err(|_| Unread::Broken)?;
    let body = bound::hash_of_text(text).map_err(|_| Unread::Field("the body"))?;
    Ok(HandedIn { submission, key, body })
}

/// The answer about a task.
async fn told<W: World>(
    shared: &Shared<W>,
    source: &str,
    end: Result<End<Told>, Unavailable>,
    status: impl Fn(&Told) -> StatusCode,
) -> Answer {
    let (id, answer) = match end {
        Err(unavailable) => return Errors::Problem.down(&unavailable),
        Ok(End::Stranger(refusal)) => {
            (None, Errors::Problem.unread(shared, source, &Unread::Caller(refusal)))
        }
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let answer = match recorded.into_value() {
                Ok(told) => of_task(status(&told), &told),
                Err(refusal) => Errors::Problem.refusal(&refusal),
            };
            (id, answer)
        }
    };
    answer::recorded(shared, answer, id).await
}

fn of_task(status: StatusCode, told: &Told) -> Answer {
    let mut answer = answer::json(status, told);
    let headers = answer.headers_mut();
    if status != StatusCode::OK
        && let Ok(place) = HeaderValue::try_from(&told.task.status_endpoint)
    {
        headers.insert(LOCATION, place);
    }
    if told.task.status == Status::Pending {
        headers.insert(RETRY_AFTER, POLL_SECONDS);
    }
    answer
}
