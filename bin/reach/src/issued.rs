//! What a token endpoint answered: a token and the record of its issue, or why there is none and
//! what to do about it.

use http::StatusCode;
use oauth::token_response::TokenResponse;
use serde::Deserialize;

use crate::exit::Failure;
use crate::http1::Answer;

/// A token, and the record of its issue.
#[derive(Debug)]
pub struct Issued {
    /// The answer of RFC 6749 §5.1.
    pub answer: TokenResponse,
    /// The record, where the server is one of ours.
    pub audit_id: Option<String>,
}

/// The error answer of RFC 6749 §5.2, as any server may write it.
#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// Reads it.
pub fn issued(answer: &Answer) -> Result<Issued, Failure> {
    let audit_id = answer.headers.get(api::AUDIT_ID).and_then(|id| id.to_str().ok());
    let audit_id = audit_id.map(str::to_owned);
    if answer.status == StatusCode::OK {
        let read = serde_json::from_slice(&answer.body);
        let answer = read.map_err(|error| {
            Failure::unavailable(format!("the answer of the token endpoint: {error}"))
        })?;
        return Ok(Issued { answer, audit_id });
    }
    let status = answer.status;
    let Ok(told) = serde_json::from_slice::<Told>(&answer.body) else {
        return Err(Failure::unavailable(format!("the token endpoint answered {status}")));
    };
    let message = match told.error_description {
        Some(description) => format!("{}: {description}", told.error),
        None => told.error.clone(),
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::unavailable(message).recorded(audit_id));
    }
    let failure = Failure::refused(&format!("oauth::{}", told.error), message).recorded(audit_id);
    Err(match hint(&told.error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// What to do about an error of the token endpoint.
fn hint(error: &str) -> Option<&'static str> {
    match error {
        "invalid_client" => {
            Some("is this program registered, and active? `aims agent list` tells an operator")
        }
        "access_denied" | "unauthorized_client" => {
            Some("no rule of the policy allows it: the record names the rules that came nearest")
        }
        "invalid_scope" => {
            Some("ask for less: `--scope`; the record of the agent and policy say what it may have")
        }
        "invalid_target" => {
            Some("name the resource as policy does; the server's metadata lists them")
        }
        "invalid_grant" => Some("`aims token inspect` shows what is wrong with the subject token"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn told(status: u16, body: &str) -> Result<Issued, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(api::AUDIT_ID, HeaderValue::from_static("0193"));
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.to_owned().into());
        issued(&Answer { status, headers, body })
    }

    #[test]
    fn errors_of_the_endpoint_end_with_their_code() {
        for (status, body, code, error) in [
            (
                400,
                r#"{"error":"invalid_scope","error_description":"too wide"}"#,
                1,
                "oauth::invalid_scope",
            ),
            (401, r#"{"error":"invalid_client"}"#, 1, "oauth::invalid_client"),
            (503, r#"{"error":"temporarily_unavailable"}"#, 3, "unavailable"),
            (429, r#"{"error":"temporarily_unavailable"}"#, 3, "unavailable"),
            (400, "<html>", 3, "unavailable"),
            (200, "{}", 3, "unavailable"),
        ] {
            let failure = told(status, body).err().unwrap();
            let problem = failure.problem();
            assert_eq!(
                (problem.outcome.exit_code(), problem.error.as_str()),
                (code, error),
                "{body}"
            );
        }
        let failure = told(400, r#"{"error":"access_denied"}"#).err().unwrap();
        assert_eq!(failure.problem().audit_id.as_deref(), Some("0193"));
        assert!(failure.problem().hint.is_some());
    }

    #[test]
    fn an_issued_token_comes_with_its_record() {
        let body = r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":300}"#;
        let issued = told(200, body).ok().unwrap();
        assert_eq!(issued.answer.access_token, "a.b.c");
        assert_eq!(issued.audit_id.as_deref(), Some("0193"));
    }
}
