//! Answers on their way out: whole ones, and those that are passed on piece by piece for as long as
//! what allowed them holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};

use crate::drive::Serving;
use crate::gate::{Cut, Gate, Outgoing};
use crate::refused::Refused;
use crate::upstream::{Answer, AnswerBody, Content};

/// Resolves when a stream must end.
type Cutting = Pin<Box<dyn Future<Output = Cut> + Send>>;

/// The body of an answer.
pub(crate) struct Body {
    content: Option<Content>,
    cut: Option<Cutting>,
    /// The connection is not idle while this is being taken.
    _serving: Option<Serving>,
}

/// Why a body ends before its end. The connection (HTTP/1.1) or the stream (HTTP/2) ends with it,
/// so that nobody takes the part for the whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Cut(Cut),
    #[error("the upstream broke off: {0}")]
    Upstream(hyper::Error),
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::of(AnswerBody::whole(bytes), None)
    }

    fn of(body: AnswerBody, cut: Option<Cutting>) -> Self {
        Self { content: Some(body.0), cut, _serving: None }
    }

    /// Holds the connection busy until the body was taken.
    pub(crate) fn holding(self, serving: Serving) -> Self {
        Self { _serving: Some(serving), ..self }
    }
}

/// The answer to a HEAD. RFC 9110 §9.3.2: "the server MUST NOT send content in the response"; over
/// HTTP/2 the library leaves that to us.
pub(crate) fn head_alone(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.map(|_| Body::whole(Bytes::new()))
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Before each piece: none is released that the end of the permission has overtaken. While
        // there is no piece, its end wakes this task.
        if let Some(cut) = &mut self.cut
            && let Poll::Ready(why) = cut.as_mut().poll(cx)
        {
            self.content = None;
            self.cut = None;
            return Poll::Ready(Some(Err(Broken::Cut(why))));
        }
        match self.content.take() {
            None => Poll::Ready(None),
            Some(Content::Here(bytes)) if bytes.is_empty() => Poll::Ready(None),
            Some(Content::Here(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Content::Coming(mut body)) => {
                let frame = poll_data(&mut body, cx);
                if !matches!(frame, Poll::Ready(None | Some(Err(_)))) {
                    self.content = Some(Content::Coming(body));
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            None => true,
            Some(Content::Here(bytes)) => bytes.is_empty(),
            Some(Content::Coming(body)) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            None => SizeHint::with_exact(0),
            Some(Content::Here(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Content::Coming(body)) => body.size_hint(),
        }
    }
}

/// The answer of a gate.
pub(crate) fn outgoing<G: Gate>(gate: &Arc<G>, outgoing: Outgoing<G::Live>) -> Response<Body> {
    match outgoing {
        Outgoing::Reply { status, headers, body } => said(status, headers, body),
        Outgoing::Relay(answer, live) => {
            let gate = Arc::clone(gate);
            let cut: Cutting = Box::pin(async move { gate.cut(&live).await });
            response(answer.status, &answer.headers, Body::of(answer.body, Some(cut)))
        }
    }
}

/// An answer that nothing cuts but its own end.
pub(crate) fn passed_on(answer: Answer) -> Response<Body> {
    response(answer.status, &answer.headers, Body::of(answer.body, None))
}

/// An answer that was made here, in the gateway's words.
pub(crate) fn said(status: u16, headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> Response<Body> {
    let headers: Vec<_> = gateway::sendable(headers).collect();
    response(status, &headers, Body::whole(body))
}

/// The answer to a refused request. `version`: what the client speaks.
pub(crate) fn refusal(refused: Refused, version: Version) -> Response<Body> {
    let (status, error) = refused.on_the_wire();
    let mut response = error_response(status, error, &refused.to_string());
    // RFC 9112 §6.1: "Regardless, the server MUST close the connection after responding to such a
    // request".
    if status == StatusCode::BAD_REQUEST {
        close(&mut response, version);
    }
    response
}

/// Says that the connection ends with this answer. HTTP/2 has no such field.
pub(crate) fn close(response: &mut Response<Body>, version: Version) {
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// An error of our own, in the form of OAuth's (RFC 6749 §5.2).
pub(crate) fn error_response(status: StatusCode, error: &str, description: &str) -> Response<Body> {
    json(status, error_json(error, description))
}

/// Whole JSON.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of an error.
pub(crate) fn error_json(error: &str, description: &str) -> Vec<u8> {
    let body = serde_json::json!({ "error": error, "error_description": description });
    body.to_string().into_bytes()
}

/// Header fields as the gate reads them.
pub(crate) fn to_pairs(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// The next piece of data; trailers are not passed on: nobody judged them.
fn poll_data(
    body: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
    loop {
        match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(Broken::Upstream(error)))),
            Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
            Some(Ok(_)) => {}
        }
    }
}

fn response(status: u16, headers: &[(String, Vec<u8>)], body: Body) -> Response<Body> {
    let status = StatusCode::from_u16(status).ok().filter(|status| !status.is_informational());
    let Some(status) = status else {
        tracing::error!("an answer has no usable status");
        return error_response(StatusCode::BAD_GATEWAY, "upstream_unavailable", "no usable answer");
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // The gate may have replaced a body whose length the upstream had announced.
    let is_here = matches!(response.body().content, Some(Content::Here(_)));
    let headers = headers.iter().filter(|(name, _)| !(is_here && name == "content-length"));
    for (name, value) in headers {
        match (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().append(name, value);
            }
            _ => tracing::error!(name, "a header of an answer cannot be sent"),
        }
    }
    response
}
