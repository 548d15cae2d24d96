//! Parameters of a request as `application/x-www-form-urlencoded` (RFC 6749 appendix B), read in
//! one way only: two readers of one body must not see two values.

use std::fmt;

/// Bytes of a body: two tokens of full size, encoded, and what goes with them.
const MAX_BODY_BYTES: usize = 64 * 1_024;
/// Parameters of one request.
const MAX_PARAMETERS: usize = 64;
/// Bytes of a name.
const MAX_NAME_BYTES: usize = 128;
/// Parameters that may stand more than once (RFC 8693 §2.1, RFC 8707 §2).
const REPEATABLE: &[&str] = &["resource", "audience"];

/// The parameters of a request. Values may be tokens: `Debug` shows the names.
#[derive(Clone, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(FormError::TooLong { length: body.len(), max: MAX_BODY_BYTES });
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if parameters.len() >= MAX_PARAMETERS {
                return Err(FormError::TooMany { max: MAX_PARAMETERS });
            }
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (pair.get(..at), pair.get(at + 1..)),
                None => (Some(pair), None),
            };
            let name = decode(name.unwrap_or_default())?;
            if name.len() > MAX_NAME_BYTES {
                return Err(FormError::NameTooLong { length: name.len(), max: MAX_NAME_BYTES });
            }
            // RFC 6749 §3.2: "Request and response parameters MUST NOT be included more than
            // once." Empty ones count as well, or else order would decide.
            let repeatable = REPEATABLE.contains(&name.as_str());
            if !repeatable && parameters.iter().any(|(other, _)| *other == name) {
                return Err(FormError::Repeated { name });
            }
            parameters.push((name, decode(value.unwrap_or_default())?));
        }
        Ok(Self(parameters))
    }

    /// Parameters that were read elsewhere: those of a request object, each name once but for
    /// those that may repeat.
    pub(crate) const fn of(parameters: Vec<(String, String)>) -> Self {
        Self(parameters)
    }

    /// The parameters as a body again, which reads as the same form.
    pub fn to_body(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// The same form less the parameters of these names.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let other = |(name, _): &&(String, String)| !names.contains(&name.as_str());
        Self(self.0.iter().filter(other).cloned().collect())
    }

    /// The same form with nothing but the parameters of these names.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        let known = |(name, _): &&(String, String)| names.contains(&name.as_str());
        Self(self.0.iter().filter(known).cloned().collect())
    }

    /// The same form with one value for a parameter, whatever it had before.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut form = self.without(&[name]);
        form.0.push((name.to_owned(), value.to_owned()));
        form
    }

    /// The value of a parameter that stands at most once; `None` if it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter, less the empty ones.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        // RFC 6749 §3.2: "Parameters sent without a value MUST be treated as if they were omitted
        // from the request."
        self.0
            .iter()
            .filter(move |(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Whether the parameter is there with a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("body of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("more than {max} parameters")]
    TooMany { max: usize },
    #[error("parameter name of {length} bytes, more than {max}")]
    NameTooLong { length: usize, max: usize },
    #[error("parameter `{name}` stands more than once")]
    Repeated { name: String },
    #[error("`%` that is not followed by two hexadecimal digits")]
    Encoding,
    #[error("a name or value is not UTF-8")]
    NotUtf8,
}

/// `+` is a space, `%XX` an octet, and the octets are UTF-8.
fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut octets = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        octets.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (hexadecimal(bytes.next())?, hexadecimal(bytes.next())?);
                high << 4 | low
            }
            _ => byte,
        });
    }
    // RFC 6749 appendix B: "names and values MUST be encoded using the UTF-8 character encoding
    // scheme [RFC3629] first"
    String::from_utf8(octets).map_err(|_| FormError::NotUtf8)
}

fn hexadecimal(digit: Option<u8>) -> Result<u8, FormError> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(FormError::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_b_form_is_decoded() {
        // The example of RFC 6749 appendix B.
        let form = Form::parse("n=+%25%26%2B%C2%A3%E2%82%AC".as_bytes()).unwrap();
        assert_eq!(form.get("n"), Some(" %&+£€"));
        let form = Form::parse(b"a=b=c&&d&e=&resource=x&resource=&resource=y").unwrap();
        assert_eq!(form.get("a"), Some("b=c"));
        assert_eq!((form.get("d"), form.get("e"), form.get("f")), (None, None, None));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["x", "y"]);
        assert!(form.has("a") && !form.has("e"));
        assert_eq!(Form::parse(b"").unwrap().get(""), None);
    }

    /// Defect: parameter pollution.
    #[test]
    fn rfc6749_3_2_each_refusal() {
        let repeated = |name: &str| FormError::Repeated { name: name.to_owned() };
        let many = (0..=MAX_PARAMETERS).map(|index| format!("p{index}=1"));
        let many = many.collect::<Vec<_>>().join("&");
        for (body, expect) in [
            ("scope=a&scope=b", repeated("scope")),
            ("scope=a&scope=a", repeated("scope")),
            ("scope=&scope=a", repeated("scope")),
            ("scope&scope", repeated("scope")),
            ("scope=a&%73cope=b", repeated("scope")),
            ("grant_type=a&x=1&grant_type=b", repeated("grant_type")),
            ("a=%", FormError::Encoding),
            ("a=%2", FormError::Encoding),
            ("a=%2g", FormError::Encoding),
            ("%+1=a", FormError::Encoding),
            ("a=%ff", FormError::NotUtf8),
            ("%c0%80=a", FormError::NotUtf8),
            (&many, FormError::TooMany { max: MAX_PARAMETERS }),
            (&"n".repeat(129), FormError::NameTooLong { length: 129, max: MAX_NAME_BYTES }),
            (&"a".repeat(65_537), FormError::TooLong { length: 65_537, max: MAX_BODY_BYTES }),
        ] {
            assert_eq!(Form::parse(body.as_bytes()), Err(expect), "{body:.40}");
        }
    }

    #[test]
    fn values_do_not_show_themselves() {
        let form = Form::parse(b"client_assertion=eyJhbGci&scope=a").unwrap();
        assert_eq!(format!("{form:?}"), r#"["client_assertion", "scope"]"#);
    }
}
