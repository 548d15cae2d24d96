//! What clients ask for that a human answers: `POST /device_authorization` (RFC 8628 §3.1), `POST
//! /bc-authorize` (CIBA Core 1.0 §7), `POST /transaction-authorization`
//! (draft-rosomakho-oauth-txn-challenge §5).

use std::sync::Arc;

use approve::caller::Call;
use approve::{Refusal, challenge, ciba, device};
use axum::body::Body;
use axum::extract::State;
use env::{Unavailable, World};
use flow::token::{self as tokens, Endpoint};
use http::{Request, StatusCode};
use oauth::TokenText;
use oauth::error::ErrorCode;
use oauth::token_request::{Deferred, TokenRequest, TokenRequestError};
use people::end::{Check, End};
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::token;
use crate::wire::{self, Wire};

/// `POST /device_authorization`.
pub(crate) async fn device<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    match read(&shared, request).await {
        Ok((source, call)) => {
            let end = device::authorize(&*shared.world, &shared.shares, &call).await;
            ended(&shared, &source, end).await
        }
        Err(answer) => *answer,
    }
}

/// `POST /bc-authorize`.
pub(crate) async fn backchannel<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let mut answer = match read(&shared, request).await {
        Ok((source, call)) => {
            let end = ciba::authorize(&*shared.world, &shared.guesses, &call).await;
            ended(&shared, &source, end).await
        }
        Err(answer) => *answer,
    };
    // CIBA Core 1.0 §13: "HTTP 401 Unauthorized", where it is `invalid_client`.
    if answer.extensions().get() == Some(&ErrorCode::InvalidClient) {
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
    }
    answer
}

/// `POST /transaction-authorization`: a challenge that is handed in, or the wait for its answer.
pub(crate) async fn transaction<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    const ID: &str = "transaction_authorization_id";
    let (source, call) = match read(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return *answer,
    };
    // §5.3: "The client polls the transaction authorization endpoint by sending a POST request"
    // with the identifier.
    let Some(id) = call.form.get(ID) else {
        return ended(&shared, &source, challenge::authorize(&*shared.world, &call).await).await;
    };
    let Ok(deferral_code) = TokenText::parse(id) else {
        let unread = Unread::from(TokenRequestError::Missing { name: ID });
        return token::refused(&shared, &source, &unread);
    };
    let call = tokens::Call {
        request: TokenRequest::Deferred(Deferred { deferral_code }),
        client: call.client,
        attestation: call.attestation,
        dpop: call.dpop,
        certificates: call.certificates,
        source: call.source,
    };
    token::given(&shared, &source, (Endpoint::Transaction, token::Waits(false)), call).await
}

/// The form, and what the request shows of its client.
async fn read<W: World>(
    shared: &Shared<W>,
    request: Request<Body>,
) -> Result<(Source, Call), Box<Answer>> {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts);
    let read = token::asker(shared, &parts, body).await;
    let (asker, form) = read.map_err(|why| Box::new(token::refused(shared, &source, &why)))?;
    let call = Call {
        form,
        client: asker.client,
        attestation: asker.attestation,
        dpop: asker.dpop,
        path: asker.path,
        certificates: asker.certificates,
        source: asker.source,
    };
    Ok((source, call))
}

async fn ended<W: World, T: Serialize>(
    shared: &Shared<W>,
    source: &Source,
    end: Result<End<T, Refusal>, Unavailable>,
) -> Answer {
    match end {
        Ok(End::Stranger(Refusal::Client(why))) => token::stranger(shared, source, why).await,
        Ok(End::Stranger(refusal)) => {
            shared.refuse(source, &Unread::Unproved { check: refusal.check() });
            of_refusal(&refusal).into_answer()
        }
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let mut answer = match recorded.into_value() {
                Ok(told) => answer::json(StatusCode::OK, &told),
                Err(refusal) => of_refusal(&refusal).into_answer(),
            };
            wire::not_kept(answer.headers_mut());
            answer::name_record(answer.headers_mut(), id);
            answer
        }
        Err(unavailable) => token::down(shared, &unavailable),
    }
}

/// The one table from refusals to the wire. CIBA Core 1.0 §13: 400, but for `invalid_client`, 401,
/// and `access_denied`, 403.
pub(crate) fn of_refusal(refusal: &Refusal) -> Wire {
    let code = refusal.code();
    let status = match code {
        ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
        ErrorCode::AccessDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    match refusal {
        Refusal::TooManyAsk { wait } => Wire::later(*wait, refusal),
        // What of a hint is wrong would tell a client who is there.
        Refusal::UnknownUser(_) => Wire::new(status, code, "nobody can be asked by that hint"),
        Refusal::Denied(denial) if !denial.errors.is_empty() && denial.rules.is_empty() => {
            Wire::new(status, code, "policy could not be decided")
        }
        _ => Wire::new(status, code, refusal),
    }
}
