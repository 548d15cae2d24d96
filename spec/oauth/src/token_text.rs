//! A token that is still only text: it may be a bearer token, so it does not show itself.

use std::fmt;

use jose::TokenHash;

/// Bytes of a token in any format: what `jose` reads, too.
const MAX_TOKEN_BYTES: usize = jose::MAX_TOKEN_BYTES;

/// The text of a token as it was received.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    /// Any text of bounded length without control characters: formats differ.
    pub fn parse(text: &str) -> Result<Self, NotATokenText> {
        if text.is_empty() {
            return Err(NotATokenText::Empty);
        }
        if text.len() > MAX_TOKEN_BYTES {
            return Err(NotATokenText::TooLong { length: text.len(), max: MAX_TOKEN_BYTES });
        }
        if text.chars().any(char::is_control) {
            return Err(NotATokenText::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of a header field that must be there exactly once: `Txn-Token`,
    /// `OAuth-Client-Attestation-PoP`.
    pub fn of_field<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NotATokenText> {
        let mut values = values.into_iter();
        let value = values.next().ok_or(NotATokenText::Absent)?;
        // draft-ietf-oauth-attestation-based-client-auth §7.2: "There is precisely one [...] HTTP
        // request header field"
        if values.next().is_some() {
            return Err(NotATokenText::Repeated);
        }
        let text = std::str::from_utf8(value).map_err(|_| NotATokenText::Character)?;
        let parsed = Self::parse(text)?;
        if !is_token68(text) {
            return Err(NotATokenText::Character);
        }
        Ok(parsed)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text: how records name it.
    pub fn token_hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.token_hash().to_base64url();
        write!(f, "TokenText({}…)", hash.get(..8).unwrap_or_default())
    }
}

/// Why a text is not taken for a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATokenText {
    #[error("the header field is absent")]
    Absent,
    #[error("the header field stands there more than once")]
    Repeated,
    #[error("an empty token")]
    Empty,
    #[error("token of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("token with a character that it must not have")]
    Character,
}

/// RFC 9110 §11.2: "token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=""",
/// which RFC 6750 §2.1 calls `b64token`.
pub(crate) fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_11_2_field_stands_once() {
        let field = |values: &[&str]| {
            TokenText::of_field(values.iter().map(|value| value.as_bytes()))
                .map(|token| token.as_str().to_owned())
        };
        assert_eq!(field(&["eyJ.a-b_c~+/=="]), Ok("eyJ.a-b_c~+/==".to_owned()));
        for (values, expect) in [
            (&[][..], NotATokenText::Absent),
            (&["a", "a"], NotATokenText::Repeated),
            (&["a", ""], NotATokenText::Repeated),
            (&[""], NotATokenText::Empty),
            (&["="], NotATokenText::Character),
            (&["a=b"], NotATokenText::Character),
            (&["a b"], NotATokenText::Character),
            (&["a,b"], NotATokenText::Character),
            (&["a\n"], NotATokenText::Character),
            (&[" a"], NotATokenText::Character),
        ] {
            assert_eq!(field(values), Err(expect), "{values:?}");
        }
        let invalid: [&[u8]; 1] = [b"\xff"];
        assert_eq!(TokenText::of_field(invalid), Err(NotATokenText::Character));
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert!(matches!(TokenText::parse(&long), Err(NotATokenText::TooLong { .. })));
    }

    /// req: AUTHZ-21 (part)
    #[test]
    fn tokens_do_not_show_themselves() {
        let shown = format!("{:?}", TokenText::parse("16_mAd0GiwaZokU26_0902100").unwrap());
        assert_eq!(shown, "TokenText(CL4wjfpR…)");
    }
}
