//! The two header fields (workload-creds §5.1.1, wpt §2): names, syntax, and that each is there
//! once. Bound to HTTP; gRPC carries them as metadata of the same names.

/// The field that carries the WIT, in lower case.
pub const WORKLOAD_IDENTITY_TOKEN: &str = "workload-identity-token";
/// The field that carries the WPT, in lower case.
pub const WORKLOAD_PROOF_TOKEN: &str = "workload-proof-token";

/// The value of a field of which a message has exactly one, and which is a token by its syntax.
/// `values` are the values of every line with that name.
pub fn exactly_one<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<&'a str, HeaderError> {
    let mut values = values.into_iter();
    let value = values.next().ok_or(HeaderError::Absent)?;
    // wpt §2: "There is exactly one `Workload-Proof-Token` header field in the request."
    if values.next().is_some() {
        return Err(HeaderError::Repeated);
    }
    check_token_syntax(value)?;
    Ok(value)
}

/// The ABNF of both fields.
///
/// workload-creds §5.1.1: `base64url = 1*(ALPHA / DIGIT / "-" / "_")`,
/// `JWT = base64url "." base64url "." base64url`.
pub fn check_token_syntax(value: &str) -> Result<(), HeaderError> {
    let base64url = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let mut parts = value.split('.');
    let three = parts.by_ref().take(3).filter(|part| base64url(part)).count() == 3;
    if three && parts.next().is_none() { Ok(()) } else { Err(HeaderError::Syntax) }
}

/// Why a message has no usable header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("no such header field")]
    Absent,
    #[error("the header field is there more than once")]
    Repeated,
    #[error("the header field is not one compact token")]
    Syntax,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wimse_wpt_2_exactly_one_field_of_one_token() {
        for (values, expect) in [
            (&["a.b.c"][..], Ok("a.b.c")),
            (&["aB9-_.b.c"], Ok("aB9-_.b.c")),
            (&[], Err(HeaderError::Absent)),
            (&["a.b.c", "a.b.c"], Err(HeaderError::Repeated)),
            (&["a.b.c", ""], Err(HeaderError::Repeated)),
            (&["a.b.c, a.b.c"], Err(HeaderError::Syntax)),
            (&["a.b.c,a.b.c"], Err(HeaderError::Syntax)),
            (&[""], Err(HeaderError::Syntax)),
            (&["a.b"], Err(HeaderError::Syntax)),
            (&["a.b."], Err(HeaderError::Syntax)),
            (&[".b.c"], Err(HeaderError::Syntax)),
            (&["a..c"], Err(HeaderError::Syntax)),
            (&["a.b.c.d"], Err(HeaderError::Syntax)),
            (&["a.b.c."], Err(HeaderError::Syntax)),
            (&[" a.b.c"], Err(HeaderError::Syntax)),
            (&["a.b.c="], Err(HeaderError::Syntax)),
            (&["a.b.c+/"], Err(HeaderError::Syntax)),
            (&["Bearer a.b.c"], Err(HeaderError::Syntax)),
            (&["a.b.ü"], Err(HeaderError::Syntax)),
        ] {
            assert_eq!(exactly_one(values.iter().copied()), expect, "{values:?}");
        }
    }
}
