//! JSON that can be read in one way only: an object, no member twice, bounded depth and breadth.
//!
//! serde takes whichever of two equal members its type makes it take, and other readers take the
//! other one; so a scan goes before it. The scan trusts serde for the grammar and serde trusts the
//! scan for names: [`parse`] is both.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

/// Objects and arrays inside each other, the outermost included.
pub const MAX_DEPTH: usize = 32;
/// Members of one object.
pub const MAX_MEMBERS: usize = 256;
/// Bytes of what serde said that an error keeps.
const MAX_REASON_BYTES: usize = 160;

/// Reads a JSON object that is strict in the sense of this module.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, NotStrict> {
    check(text)?;
    serde_json::from_str(text).map_err(|error| NotStrict::Syntax { reason: reason(&error) })
}

/// The same from bytes.
pub fn parse_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotStrict> {
    // draft-ietf-oauth-rfc8725bis §3.7: "specify that UTF-8 be used for encoding and decoding JSON
    // used in Header Parameters and JWT Claims Sets. [...] Implementations and applications MUST
    // do this"
    let text = std::str::from_utf8(bytes).map_err(|_| NotStrict::NotUtf8)?;
    parse(text)
}

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStrict {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("not a JSON object")]
    NotAnObject,
    #[error("member `{name}` stands twice")]
    DuplicateMember { name: String },
    #[error("nested deeper than {max}")]
    TooDeep { max: usize },
    #[error("more than {max} members in one object")]
    TooManyMembers { max: usize },
    #[error("{reason}")]
    Syntax { reason: String },
}

/// Checks names, depth and breadth; of the grammar only what it needs to find names.
fn check(text: &str) -> Result<(), NotStrict> {
    // RFC 7519 §7.2: "a completely valid JSON object conforming to RFC 7159"
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err(NotStrict::NotAnObject);
    }
    let bytes = text.as_bytes();
    let mut scan = Scan { names: Vec::with_capacity(16), open: Vec::with_capacity(4) };
    let mut name_next = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at).ok_or_else(unended)?;
                if name_next {
                    scan.name(text.get(at..end).ok_or_else(unended)?)?;
                    name_next = false;
                }
                at = end;
                continue;
            }
            b'{' | b'[' => {
                name_next = byte == b'{';
                scan.enter(name_next)?;
            }
            b'}' | b']' => scan.leave(),
            b',' => name_next = scan.in_object(),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Where the scan stands: the names of all open objects, innermost last, and for each open value
/// where its names begin (`None`: an array has none).
struct Scan<'a> {
    names: Vec<Cow<'a, str>>,
    open: Vec<Option<usize>>,
}

impl<'a> Scan<'a> {
    fn enter(&mut self, object: bool) -> Result<(), NotStrict> {
        if self.open.len() >= MAX_DEPTH {
            return Err(NotStrict::TooDeep { max: MAX_DEPTH });
        }
        self.open.push(object.then_some(self.names.len()));
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(Some(start)) = self.open.pop() {
            self.names.truncate(start);
        }
    }

    fn in_object(&self) -> bool {
        matches!(self.open.last(), Some(Some(_)))
    }

    /// `quoted` has its quotation marks.
    fn name(&mut self, quoted: &'a str) -> Result<(), NotStrict> {
        let Some(Some(start)) = self.open.last().copied() else { return Ok(()) };
        let name = unescape(quoted)?;
        let siblings = self.names.get(start..).unwrap_or_default();
        // RFC 7515 §4: "The Header Parameter names within the JOSE Header MUST be unique";
        // RFC 7519 §4: "The Claim Names within a JWT Claims Set MUST be unique"
        if siblings.contains(&name) {
            return Err(NotStrict::DuplicateMember { name: clean(&name) });
        }
        if siblings.len() >= MAX_MEMBERS {
            return Err(NotStrict::TooManyMembers { max: MAX_MEMBERS });
        }
        self.names.push(name);
        Ok(())
    }
}

/// The index after the closing quotation mark of the string that opens at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Two spellings of one name are one name: `"\u0061lg"` is `"alg"`.
fn unescape(quoted: &str) -> Result<Cow<'_, str>, NotStrict> {
    if !quoted.contains('\\') {
        return Ok(Cow::Borrowed(quoted.trim_matches('"')));
    }
    serde_json::from_str(quoted)
        .map(Cow::Owned)
        .map_err(|error| NotStrict::Syntax { reason: reason(&error) })
}

fn unended() -> NotStrict {
    NotStrict::Syntax { reason: "a string does not end".to_owned() }
}

pub(crate) fn reason(error: &serde_json::Error) -> String {
    clean(&error.to_string())
}

/// What strangers wrote, short and on one line.
fn clean(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if out.len() + character.len_utf8() > MAX_REASON_BYTES {
            break;
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn check_all(cases: &[(&str, &str)]) {
        for (text, expect) in cases {
            let got = match parse::<Value>(text) {
                Ok(_) => "ok".to_owned(),
                Err(NotStrict::Syntax { .. }) => "syntax".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, *expect, "{text}");
        }
    }

    #[test]
    fn rfc7519_4_names_are_unique_at_any_depth() {
        check_all(&[
            (r#"{}"#, "ok"),
            (r#" {"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]} "#, "ok"),
            (r#"{"a":"a","b":"a\"","c":["a","a"]}"#, "ok"),
            (r#"{"a":{},"b":[{"x":[]}],"c":{"a":0}}"#, "ok"),
            (r#"{"a":1,"a":1}"#, "member `a` stands twice"),
            (r#"{"a":1,"b":{},"a":1}"#, "member `a` stands twice"),
            (r#"{"a":[1,{"b":1,"c":[{}],"b":2}]}"#, "member `b` stands twice"),
            (r#"{"alg":1,"\u0061lg":2}"#, "member `alg` stands twice"),
            (r#"{"\"":1,"\u0022":2}"#, "member `\"` stands twice"),
            (r#"{"é":1,"\u00e9":2}"#, "member `é` stands twice"),
            (r#"{"a" : 1 , "a" : 2}"#, "member `a` stands twice"),
            ("[]", "not a JSON object"),
            ("", "not a JSON object"),
            ("\u{feff}{}", "not a JSON object"),
            ("null", "not a JSON object"),
            (r#"{"a":1"#, "syntax"),
            (r#"{"a"#, "syntax"),
            (r#"{"a\"#, "syntax"),
            (r#"{"a":1}}"#, "syntax"),
            (r#"{"a":1} {"a":1}"#, "syntax"),
            (r#"{"\ud800":1}"#, "syntax"),
            (r#"{'a':1}"#, "syntax"),
            (r#"{"a":1,}"#, "syntax"),
            ("{\"a\":\"\n\"}", "syntax"),
        ]);
        assert_eq!(parse_bytes::<Value>(b"{\"a\":\"\xff\"}"), Err(NotStrict::NotUtf8));
    }

    #[test]
    fn depth_and_breadth_are_bounded() {
        let nested =
            |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(parse::<Value>(&nested(MAX_DEPTH)).is_ok());
        let too_deep = Err(NotStrict::TooDeep { max: MAX_DEPTH });
        assert_eq!(parse::<Value>(&nested(MAX_DEPTH + 1)), too_deep);
        assert_eq!(parse::<Value>(&nested(100_000)), too_deep);

        let broad = |members: usize| {
            let members: Vec<_> = (0..members).map(|index| format!("\"m{index}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse::<Value>(&broad(MAX_MEMBERS)).is_ok());
        let too_many = Err(NotStrict::TooManyMembers { max: MAX_MEMBERS });
        assert_eq!(parse::<Value>(&broad(MAX_MEMBERS + 1)), too_many);
    }

    #[test]
    fn reasons_are_short_and_on_one_line() {
        let long = format!("{{\"{0}\":1,\"{0}\":1}}", "x".repeat(5_000));
        let Err(NotStrict::DuplicateMember { name }) = parse::<Value>(&long) else { panic!() };
        assert_eq!(name.len(), MAX_REASON_BYTES);
        let Err(NotStrict::DuplicateMember { name }) = parse::<Value>(r#"{"\n":1,"\n":1}"#) else {
            panic!()
        };
        assert_eq!(name, "");
    }
}
