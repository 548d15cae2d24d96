//! `WWW-Authenticate` as a client reads it (RFC 9110 §11.6.1): the challenges of all its fields,
//! each with its parameters. What servers write is [`crate::challenge`].

/// Bytes of all fields together.
const MAX_BYTES: usize = 16 * 1_024;
/// Challenges of one answer.
const MAX_CHALLENGES: usize = 16;
/// Parameters of one challenge.
const MAX_PARAMETERS: usize = 32;
/// Schemes of access tokens: RFC 6750 §3, RFC 9449 §7.1.
const SCHEMES: &[&str] = &["bearer", "dpop"];

/// One challenge. Names are in lower case; values are as they stand, without their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedChallenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl ReceivedChallenge {
    /// Reads the values of the header field, in their order.
    pub fn read<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Self>, ChallengeError> {
        let (mut challenges, mut length) = (Vec::new(), 0_usize);
        for value in values {
            length = length.saturating_add(value.len());
            if length > MAX_BYTES {
                return Err(ChallengeError::TooLong { length, max: MAX_BYTES });
            }
            let mut reader = Reader { rest: value };
            while reader.next_element() {
                read_element(&mut reader, &mut challenges)?;
            }
        }
        Ok(challenges)
    }

    /// Those that ask for an access token: of them the one that says most about where to get one.
    pub fn of_access_tokens(challenges: &[Self]) -> Option<&Self> {
        let known = |one: &&Self| SCHEMES.contains(&one.scheme.as_str());
        let says = |one: &&Self| one.get("resource_metadata").is_some();
        let mut asked = challenges.iter().filter(known);
        asked.clone().find(says).or_else(|| asked.next())
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One element of the list: a challenge begins, or the one before goes on.
fn read_element(
    reader: &mut Reader<'_>,
    challenges: &mut Vec<ReceivedChallenge>,
) -> Result<(), ChallengeError> {
    if let (Some(last), Some((name, value))) = (challenges.last_mut(), reader.parameter()) {
        add(last, name, value)?;
        return reader.end_of_element();
    }
    // RFC 9110 §11.1: a scheme is "a case-insensitive token".
    let scheme = reader.token().ok_or(ChallengeError::Syntax)?.to_ascii_lowercase();
    if challenges.len() >= MAX_CHALLENGES {
        return Err(ChallengeError::TooMany { max: MAX_CHALLENGES });
    }
    let mut challenge = ReceivedChallenge { scheme, parameters: Vec::new() };
    if reader.spaces() > 0 {
        match reader.parameter() {
            Some((name, value)) => add(&mut challenge, name, value)?,
            // RFC 9110 §11.2: "token68", of schemes that are none of ours.
            None => reader.skip_token68(),
        }
    }
    challenges.push(challenge);
    reader.end_of_element()
}

/// RFC 9110 §11.2: "each parameter name MUST only occur once per challenge."
fn add(to: &mut ReceivedChallenge, name: String, value: String) -> Result<(), ChallengeError> {
    if to.get(&name).is_some() {
        return Err(ChallengeError::Repeated { name });
    }
    if to.parameters.len() >= MAX_PARAMETERS {
        return Err(ChallengeError::TooMany { max: MAX_PARAMETERS });
    }
    to.parameters.push((name, value));
    Ok(())
}

/// What of a field is still to be read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Goes to the next element; RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a
    /// reasonable number of empty list elements".
    fn next_element(&mut self) -> bool {
        let length = self.rest.iter().take_while(|byte| b" \t,".contains(byte)).count();
        self.skip(length);
        !self.rest.is_empty()
    }

    fn end_of_element(&mut self) -> Result<(), ChallengeError> {
        self.spaces();
        match self.rest.first() {
            None | Some(b',') => Ok(()),
            Some(_) => Err(ChallengeError::Syntax),
        }
    }

    fn spaces(&mut self) -> usize {
        let length = self.rest.iter().take_while(|byte| b" \t".contains(byte)).count();
        self.skip(length);
        length
    }

    /// RFC 9110 §5.6.2.
    fn token(&mut self) -> Option<String> {
        let is_token =
            |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let length = self.rest.iter().take_while(is_token).count();
        let token = self.rest.get(..length).filter(|token| !token.is_empty())?;
        let token = std::str::from_utf8(token).ok()?.to_owned();
        self.skip(length);
        Some(token)
    }

    /// RFC 9110 §11.2: `token BWS "=" BWS ( token / quoted-string )`; nothing is read where there
    /// is none.
    fn parameter(&mut self) -> Option<(String, String)> {
        let before = self.rest;
        let read = self.try_parameter();
        if read.is_none() {
            self.rest = before;
        }
        read
    }

    fn try_parameter(&mut self) -> Option<(String, String)> {
        let name = self.token()?.to_ascii_lowercase();
        self.spaces();
        self.rest = self.rest.strip_prefix(b"=")?;
        self.spaces();
        let value = match self.rest.first() {
            Some(b'"') => self.quoted()?,
            _ => self.token()?,
        };
        Some((name, value))
    }

    /// RFC 9110 §5.6.4, of which ASCII is taken.
    fn quoted(&mut self) -> Option<String> {
        self.skip(1);
        let mut value = String::new();
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let byte = match byte {
                b'"' => return Some(value),
                b'\\' => {
                    let (escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    escaped
                }
                other => other,
            };
            if !matches!(byte, b'\t' | b' '..=b'~') {
                return None;
            }
            value.push(char::from(*byte));
        }
    }

    fn skip_token68(&mut self) {
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        let length = self.rest.iter().take_while(is_part).count();
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }
}

/// Why a field is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    #[error("`WWW-Authenticate` of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("`WWW-Authenticate` with more than {max} challenges, or parameters of one")]
    TooMany { max: usize },
    #[error("`WWW-Authenticate` with `{name}` twice in one challenge (RFC 9110 §11.2)")]
    Repeated { name: String },
    #[error("`WWW-Authenticate` that does not follow its grammar (RFC 9110 §11.6.1)")]
    Syntax,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::Challenge;

    fn read(values: &[&str]) -> Result<Vec<ReceivedChallenge>, ChallengeError> {
        ReceivedChallenge::read(values.iter().map(|value| value.as_bytes()))
    }

    /// The example of RFC 9110 §11.6.1 and its neighbours.
    #[test]
    fn rfc9110_11_6_1_challenges_are_told_apart() {
        let one = |scheme: &str, parameters: &[(&str, &str)]| ReceivedChallenge {
            scheme: scheme.to_owned(),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let newauth =
            one("newauth", &[("realm", "apps"), ("type", "1"), ("title", r#"Login to "apps""#)]);
        let basic = one("basic", &[("realm", "simple")]);
        let text =
            r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#;
        assert_eq!(read(&[text]), Ok(vec![basic.clone(), newauth.clone()]));
        let fields = [
            r#"Basic realm="simple""#,
            r#"Newauth realm="apps",type = 1 ,, title="Login to \"apps\"""#,
        ];
        assert_eq!(read(&fields), Ok(vec![basic.clone(), newauth]));
        let bearer = one("bearer", &[]);
        assert_eq!(read(&["bEARER"]), Ok(vec![bearer.clone()]));
        assert_eq!(read(&[" , Bearer ,"]), Ok(vec![bearer]));
        let negotiate = one("negotiate", &[]);
        for text in ["Negotiate", "Negotiate a8742100==", "Negotiate abc=", "Negotiate a/b+c"] {
            assert_eq!(
                read(&[&format!("{text}, Basic realm=simple")]),
                Ok(vec![negotiate.clone(), basic.clone()]),
                "{text}"
            );
        }
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&[""]), Ok(vec![]));
    }

    #[test]
    fn rfc9110_11_6_1_what_is_no_challenge_is_refused() {
        let repeated = ChallengeError::Repeated { name: "scope".to_owned() };
        for (text, expect) in [
            (r#"Bearer scope="a", SCOPE="b""#, repeated),
            (r#"Bearer realm="a" scope="b""#, ChallengeError::Syntax),
            (r#"Bearer realm="a"#, ChallengeError::Syntax),
            ("Bearer realm=\"a\r\nb\"", ChallengeError::Syntax),
            ("Bearer realm=\"é\"", ChallengeError::Syntax),
            (r#"="a""#, ChallengeError::Syntax),
            (r#""Bearer""#, ChallengeError::Syntax),
            ("é", ChallengeError::Syntax),
        ] {
            assert_eq!(read(&[text]), Err(expect), "{text}");
        }
        let many = ["Bearer"; MAX_CHALLENGES + 1];
        assert_eq!(read(&many), Err(ChallengeError::TooMany { max: MAX_CHALLENGES }));
        let names = (0..=MAX_PARAMETERS).map(|at| format!("a{at}=b")).collect::<Vec<_>>();
        let text = format!("Bearer {}", names.join(", "));
        assert_eq!(read(&[&text]), Err(ChallengeError::TooMany { max: MAX_PARAMETERS }));
        let long = "a".repeat(MAX_BYTES + 1);
        assert!(matches!(read(&[&long]), Err(ChallengeError::TooLong { .. })));
    }

    /// req: AUTHZ-22 (part)
    #[test]
    fn rfc9728_5_1_the_challenge_that_leads_on_is_taken() {
        let metadata = "https://r.example/.well-known/oauth-protected-resource";
        let scope = crate::ScopeSet::parse("a b").ok().unwrap();
        let leads = Challenge::dpop().resource_metadata(metadata).scope(&scope).to_string();
        let bare = Challenge::bearer().realm("a \"b\" \\").to_string();
        for fields in [[&bare, &leads], [&leads, &bare]] {
            let read = read(&[fields[0], fields[1]]).unwrap();
            let taken = ReceivedChallenge::of_access_tokens(&read).unwrap();
            assert_eq!((taken.scheme(), taken.get("scope")), ("dpop", Some("a b")));
            assert_eq!(taken.get("resource_metadata"), Some(metadata));
        }
        let read = read(&["Basic realm=a", &bare]).unwrap();
        let taken = ReceivedChallenge::of_access_tokens(&read).unwrap();
        assert_eq!(taken.get("realm"), Some("a \"b\" \\"));
        assert_eq!(ReceivedChallenge::of_access_tokens(&read[..1]), None);
    }
}
