//! AuthZEN: questions and answers.

use authzen::access_request::{Cancellation, Submission, approval_id};
use authzen::{Evaluations, Request, Response};

/// A question, alone or with others; written again, it is the same question.
pub(crate) fn evaluations(data: &[u8]) {
    if let Ok(request) = Request::parse(data) {
        let written = serde_json::to_value(&request).unwrap_or_default();
        let again = Request::parse(written.to_string().as_bytes());
        assert!(again.is_ok_and(|again| again == request || crate::has_fraction(&written)));
    }
    match Evaluations::parse(data) {
        Ok(Evaluations::Many { requests, .. }) => {
            assert!((1..=authzen::EVALUATIONS_MAX).contains(&requests.len()));
        }
        Ok(Evaluations::Single(request)) => {
            let request: &Request = &request;
            assert_eq!(Request::parse(data).as_ref(), Ok(request));
        }
        Err(_) => {}
    }
}

/// An answer; written again, it is the same answer.
pub(crate) fn response(data: &[u8]) {
    if let Ok(response) = Response::parse(data) {
        let written = serde_json::to_value(&response).unwrap_or_default();
        let again = Response::parse(written.to_string().as_bytes());
        assert!(again.is_ok_and(|again| again == response || crate::has_fraction(&written)));
    }
}

/// A request for access that was denied, or that somebody takes back; its actor is in its subject.
pub(crate) fn access_request(data: &[u8]) {
    if let Ok(submission) = Submission::parse(data) {
        let actors = submission.request.subject.actors();
        assert!(actors.is_ok_and(|all| all.len() <= authzen::ACTORS_MAX));
        let _ = approval_id(&submission.request.context);
    }
    if let Ok(read) = Cancellation::parse(data) {
        let bound = authzen::access_request::COMMENT_BYTES_MAX;
        assert!([read.reason, read.comment].iter().flatten().all(|text| text.len() <= bound));
    }
}
