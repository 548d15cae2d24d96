//! What a token endpoint answered: a token and the record of its issue, or why there is none and
//! what to do about it.

use http::StatusCode;
use oauth::token_response::TokenResponse;

use crate::behalf::{error_of, told};
use crate::exit::Failure;
use crate::http1::Answer;

/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = jose::MAX_TOKEN_BYTES;

/// A token, and the record of its issue.
#[derive(Debug)]
pub struct Issued {
    /// The answer of RFC 6749 §5.1.
    pub answer: TokenResponse,
    /// The record, where the server is one of ours.
    pub audit_id: Option<String>,
}

/// Reads it.
pub fn issued(answer: &Answer) -> Result<Issued, Failure> {
    let audit_id = answer.headers.get(api::AUDIT_ID).and_then(|id| id.to_str().ok());
    let audit_id = audit_id.map(str::to_owned);
    if answer.status == StatusCode::OK {
        let read = serde_json::from_slice(&answer.body);
        let answer: TokenResponse = read.map_err(|error| {
            Failure::unavailable(format!("the answer of the token endpoint: {error}")).of_others()
        })?;
        // RFC 6749 Appendix A.12, A.17: "access-token = 1*VSCHAR", "refresh-token = 1*VSCHAR"; an
        // ID token is a JWT.
        let tokens = [
            ("access_token", Some(&answer.access_token)),
            ("refresh_token", answer.refresh_token.as_ref()),
            ("id_token", answer.id_token.as_ref()),
        ];
        for (name, token) in tokens {
            if let Some(token) = token {
                bounded(name, token, TOKEN_BYTES_MAX)?;
            }
        }
        return Ok(Issued { answer, audit_id });
    }
    let status = answer.status;
    let Some(error) = error_of(answer) else {
        return Err(Failure::unavailable(format!("the token endpoint answered {status}")));
    };
    let message = told(answer, &error);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::unavailable(message).recorded(audit_id));
    }
    let failure = Failure::refused(&format!("oauth::{error}"), message).recorded(audit_id);
    Err(match hint(&error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// A value that a server chose, as it is kept and written out: of the letters that RFC 6749
/// Appendix A has for it, and of bounded length.
pub(crate) fn bounded(name: &str, text: &str, max: usize) -> Result<(), Failure> {
    let refused = |why: String| {
        let hint = "the server is not used: what it answers cannot be kept or shown as it is";
        Err(Failure::refused("oauth::Answer", format!("`{name}` of the server: {why}")).hint(hint))
    };
    match text.len() {
        0 => return refused("empty".to_owned()),
        length if length > max => return refused(format!("{length} bytes, more than {max}")),
        _ => {}
    }
    // RFC 6749 Appendix A: "VSCHAR = %x20-7E"
    match text.bytes().position(|byte| !matches!(byte, 0x20..=0x7e)) {
        Some(at) => {
            refused(format!("a letter at byte {at} that RFC 6749 Appendix A does not have"))
        }
        None => Ok(()),
    }
}

/// What to do about an error of the token endpoint.
fn hint(error: &str) -> Option<&'static str> {
    match error {
        "invalid_client" => Some(
            "is this program or client registered, and active? `aims agent list` and `aims client \
             list` tell an operator",
        ),
        "access_denied" => {
            Some("no rule of the policy allows it: the record names the rules that came nearest")
        }
        // RFC 6749 §5.2: "The authenticated client is not authorized to use this authorization
        // grant type."
        "unauthorized_client" => Some(
            "the client may not ask in this way: `aims client show` and `aims agent show` tell an \
             operator which `grant_types` it registered, and whether it is in force",
        ),
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

    /// Defect: a client that had not registered a grant was told to look into policy.
    #[test]
    fn rfc6749_5_2_a_hint_is_about_the_error_that_came() {
        for (error, about, not) in [
            ("unauthorized_client", "grant_types", "policy"),
            ("access_denied", "policy", "grant_types"),
            ("invalid_client", "`aims client list`", "policy"),
        ] {
            let failure = told(400, &format!(r#"{{"error":"{error}"}}"#)).err().unwrap();
            let hint = failure.problem().hint.clone().unwrap();
            assert!(hint.contains(about) && !hint.contains(not), "{error}: {hint}");
        }
    }

    /// Defect: tokens went raw to the terminal, and of any length into the file of `--save`.
    #[test]
    fn rfc6749_a_12_tokens_are_of_their_letters_and_bounded() {
        let long = "a".repeat(TOKEN_BYTES_MAX);
        let longer = format!("{long}a");
        for name in ["access_token", "refresh_token", "id_token"] {
            for (token, is_taken) in [
                ("a b~!", true),
                (long.as_str(), true),
                (&longer, false),
                ("", false),
                ("a\u{1b}[2J", false),
                ("a\nb", false),
                ("a\u{9b}", false),
                ("a\u{202e}", false),
            ] {
                let mut body = serde_json::json!({"access_token": "a", "token_type": "Bearer"});
                body[name] = token.into();
                let error = told(200, &body.to_string()).err().map(|one| one.problem().clone());
                assert_eq!(error.is_none(), is_taken, "{name} {token:.9}");
                if let Some(problem) = error {
                    assert_eq!(
                        (problem.outcome.exit_code(), &*problem.error),
                        (1, "oauth::Answer")
                    );
                    assert!(problem.message.contains(name), "{}", problem.message);
                    assert!(problem.message.len() < 200, "{}", problem.message);
                }
            }
        }
    }

    /// Defect: a description with newlines forged hints of ours.
    #[test]
    fn rfc6749_5_2_an_error_is_told_in_one_line() {
        let body = r#"{"error":"invalid_scope","error_description":"no\n  hint: \u001b[2Jsudo"}"#;
        for status in [400, 503] {
            let failure = told(status, body).err().unwrap();
            let message = &failure.problem().message;
            assert_eq!(message, "invalid_scope: no\\u{a}  hint: \\u{1b}[2Jsudo");
        }
        let failure = told(400, r#"{"error":"a\n\u001b"}"#).err().unwrap();
        assert_eq!(failure.problem().error, "oauth::a\\u{a}\\u{1b}");
        let failure = told(200, r#"{"access_token":"a","token_type":"\n\u001b"}"#).err().unwrap();
        assert!(!failure.problem().message.contains(['\n', '\u{1b}']));
    }

    #[test]
    fn an_issued_token_comes_with_its_record() {
        let body = r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":300}"#;
        let issued = told(200, body).ok().unwrap();
        assert_eq!(issued.answer.access_token, "a.b.c");
        assert_eq!(issued.audit_id.as_deref(), Some("0193"));
    }
}
