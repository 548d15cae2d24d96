//! Bearer tokens in requests (RFC 6750 §2): the `Authorization` header field and no other way.

use crate::form::Form;
use crate::token_text::{NotATokenText, TokenText, is_token68};

/// Bytes of another scheme that an error repeats.
const MAX_EVIDENCE_BYTES: usize = 16;

/// The token of a request, from all values of its `Authorization` fields.
pub fn from_authorization<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<TokenText, BearerError> {
    from_scheme("Bearer", values)
}

/// The same for the scheme of RFC 9449 §7.1, which a bound token comes with.
pub fn from_dpop_authorization<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<TokenText, BearerError> {
    from_scheme("DPoP", values)
}

/// Refuses a token in the query of the URL.
pub fn refuse_in_query(query: &str) -> Result<(), BearerError> {
    // RFC 9700 §4.3.2: "Clients MUST NOT pass access tokens in a URI query parameter"
    let mut names = form_urlencoded::parse(query.as_bytes());
    if names.any(|(name, _)| name == "access_token") {
        return Err(BearerError::InQuery);
    }
    Ok(())
}

/// Refuses a token in the body.
pub fn refuse_in_form(form: &Form) -> Result<(), BearerError> {
    // RFC 6750 §2: "Clients MUST NOT use more than one method to transmit the token in each
    // request."
    if form.has("access_token") { Err(BearerError::InForm) } else { Ok(()) }
}

/// Why there is no token. [`BearerError::Absent`] and [`BearerError::OtherScheme`] are for a
/// challenge without an error code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    #[error("no `authorization` field")]
    Absent,
    #[error("more than one `authorization` field")]
    Repeated,
    #[error("`authorization` with the scheme `{scheme}`")]
    OtherScheme { scheme: String },
    #[error("`authorization` that does not follow its grammar")]
    Syntax,
    #[error(transparent)]
    Token(#[from] NotATokenText),
    #[error("an access token in the query")]
    InQuery,
    #[error("an access token in the body")]
    InForm,
}

fn from_scheme<'a>(
    expected: &str,
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<TokenText, BearerError> {
    let mut values = values.into_iter();
    let value = values.next().ok_or(BearerError::Absent)?;
    if values.next().is_some() {
        return Err(BearerError::Repeated);
    }
    let text = std::str::from_utf8(value).map_err(|_| BearerError::Syntax)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    // RFC 9110 §11.1: a scheme is "a case-insensitive token".
    if !scheme.eq_ignore_ascii_case(expected) {
        let known = scheme.chars().filter(char::is_ascii_graphic).take(MAX_EVIDENCE_BYTES);
        return Err(BearerError::OtherScheme { scheme: known.collect() });
    }
    // RFC 6750 §2.1: "credentials = "Bearer" 1*SP b64token"
    let token = rest.trim_start_matches(' ');
    if !is_token68(token) {
        return Err(BearerError::Syntax);
    }
    Ok(TokenText::parse(token)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<String, BearerError> {
        let bytes = values.iter().map(|value| value.as_bytes());
        from_authorization(bytes).map(|token| token.as_str().to_owned())
    }

    /// Defect: a header that is read in more than one way.
    /// req: AUTHZ-25 (part)
    #[test]
    fn rfc6750_2_1_one_field_of_one_form() {
        assert_eq!(read(&["Bearer mF_9.B5f-4.1JqM"]), Ok("mF_9.B5f-4.1JqM".to_owned()));
        assert_eq!(read(&["bEARER   a+/~=="]), Ok("a+/~==".to_owned()));
        let other = |scheme: &str| BearerError::OtherScheme { scheme: scheme.to_owned() };
        for (values, expect) in [
            (&[][..], BearerError::Absent),
            (&["Bearer a", "Bearer a"], BearerError::Repeated),
            (&["Basic eDp5", "Bearer a"], BearerError::Repeated),
            (&["Basic eDp5"], other("Basic")),
            (&["DPoP a"], other("DPoP")),
            (&["Bearer\ta"], other("Bearera")),
            (&[" Bearer a"], other("")),
            (&["Bearera"], other("Bearera")),
            (&[""], other("")),
            (&["Bearer"], BearerError::Syntax),
            (&["Bearer "], BearerError::Syntax),
            (&["Bearer a b"], BearerError::Syntax),
            (&["Bearer a,b"], BearerError::Syntax),
            (&["Bearer a, Bearer b"], BearerError::Syntax),
            (&["Bearer \"a\""], BearerError::Syntax),
            (&["Bearer a\r\nX: y"], BearerError::Syntax),
            (&["Bearer a=b"], BearerError::Syntax),
            (&["Bearer \ta"], BearerError::Syntax),
            (&["Bearer é"], BearerError::Syntax),
        ] {
            assert_eq!(read(values), Err(expect), "{values:?}");
        }
        let invalid: [&[u8]; 1] = [b"Bearer \xff"];
        assert_eq!(from_authorization(invalid), Err(BearerError::Syntax));
        let long = format!("Bearer {}", "a".repeat(20_000));
        assert!(matches!(read(&[&long]), Err(BearerError::Token(NotATokenText::TooLong { .. }))));
    }

    #[test]
    fn rfc9449_7_1_bound_token_has_its_own_scheme() {
        let dpop: [&[u8]; 1] = [b"DPoP a"];
        assert_eq!(from_dpop_authorization(dpop).unwrap().as_str(), "a");
        let bearer: [&[u8]; 1] = [b"Bearer a"];
        let other = BearerError::OtherScheme { scheme: "Bearer".to_owned() };
        assert_eq!(from_dpop_authorization(bearer), Err(other));
    }

    /// req: AUTHZ-25 (part)
    #[test]
    fn rfc6750_2_3_no_other_way() {
        for query in ["access_token=a", "x=1&access%5Ftoken=a", "access_token", "&access_token="] {
            assert_eq!(refuse_in_query(query), Err(BearerError::InQuery), "{query}");
        }
        for query in ["", "x=access_token", "access_tokens=a", "%zz&%ff"] {
            assert_eq!(refuse_in_query(query), Ok(()), "{query}");
        }
        let form = Form::parse(b"access_token=a").unwrap();
        assert_eq!(refuse_in_form(&form), Err(BearerError::InForm));
        assert_eq!(refuse_in_form(&Form::parse(b"x=1").unwrap()), Ok(()));
    }
}
