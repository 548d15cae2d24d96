//! Proof key for code exchange (RFC 7636): only `S256`.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jose::TokenHash;
use serde::{Deserialize, Serialize};

use crate::form::Form;
use crate::parameter::{Refused, required};

/// Characters of a verifier, at least.
const MIN_VERIFIER: usize = 43;
/// Characters of a verifier, at most.
const MAX_VERIFIER: usize = 128;
/// The value of `code_challenge_method`, and what metadata lists.
pub const METHOD: &str = "S256";

/// `code_challenge`: SHA-256 of a verifier that its client still keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeChallenge(TokenHash);

impl CodeChallenge {
    /// Reads `code_challenge` and its method. `None` where there is neither.
    pub fn of_request(form: &Form) -> Result<Option<Self>, Refused> {
        const RULE: &str = "RFC 7636 §4.3";
        if !form.has("code_challenge") && !form.has("code_challenge_method") {
            return Ok(None);
        }
        let challenge = required(form, "code_challenge", RULE)?;
        // RFC 7636 §4.3: "code_challenge_method OPTIONAL, defaults to "plain" if not present in
        // the request"; RFC 9700 §2.1.1: "clients SHOULD use PKCE code challenge methods that do
        // not expose the PKCE verifier in the authorization request." So it must be said.
        let method = required(form, "code_challenge_method", RULE)?;
        if method != METHOD {
            return Err(Refused::value("code_challenge_method", RULE, method));
        }
        Self::parse(challenge).map(Some)
    }

    /// Reads the text of an `S256` challenge.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        // RFC 7636 §4.2: "code_challenge = BASE64URL-ENCODE(SHA256(ASCII(code_verifier)))"
        let hash = TokenHash::parse(text);
        hash.map(Self).map_err(|why| Refused::form("code_challenge", "RFC 7636 §4.2", why))
    }

    /// The text.
    pub fn to_base64url(self) -> String {
        self.0.to_base64url()
    }
}

/// `code_verifier`: a secret of the client until it is redeemed.
#[derive(Clone)]
pub struct CodeVerifier(String);

impl CodeVerifier {
    /// 43 to 128 unreserved characters.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        const RULE: &str = "RFC 7636 §4.1";
        // RFC 7636 §4.1: "with a minimum length of 43 characters and a maximum length of 128
        // characters."
        if !(MIN_VERIFIER..=MAX_VERIFIER).contains(&text.len()) {
            let what = format!("{} bytes, not {MIN_VERIFIER} to {MAX_VERIFIER}", text.len());
            return Err(Refused::form("code_verifier", RULE, what));
        }
        // RFC 7636 §4.1: "unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~""
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            return Err(Refused::form("code_verifier", RULE, "a character that it must not have"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The challenge that it answers.
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(TokenHash::of(&self.0))
    }

    /// The text, for the request to another server.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for CodeVerifier {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for CodeVerifier {}

impl fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeVerifier(…)")
    }
}

/// Compares what the token request brings with what the authorization request left.
pub fn verify(
    challenge: Option<&CodeChallenge>,
    verifier: Option<&CodeVerifier>,
) -> Result<(), PkceRefused> {
    match (challenge, verifier) {
        (None, None) => Ok(()),
        // RFC 9700 §2.1.1: "If a client sends a valid PKCE code_challenge parameter in the
        // authorization request, the authorization server MUST enforce the correct usage of
        // code_verifier at the token endpoint."
        (Some(_), None) => Err(PkceRefused::VerifierAbsent),
        // RFC 9700 §2.1.1: "a token request containing a code_verifier parameter is accepted only
        // if a code_challenge parameter was present in the authorization request"
        (None, Some(_)) => Err(PkceRefused::NoChallenge),
        (Some(challenge), Some(verifier)) => {
            // RFC 7636 §4.6: "If the values are not equal, an error response indicating
            // "invalid_grant" as described in Section 5.2 of [RFC6749] MUST be returned."
            let (expected, found) = (challenge.0.as_bytes(), verifier.challenge().0);
            verify_slices_are_equal(expected, found.as_bytes()).map_err(|_| PkceRefused::Mismatch)
        }
    }
}

/// Why a code is not redeemed; each is `invalid_grant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PkceRefused {
    #[error("no `code_verifier` for the `code_challenge` of the request (RFC 9700 §2.1.1)")]
    VerifierAbsent,
    #[error("a `code_verifier` for a request without `code_challenge` (RFC 9700 §2.1.1)")]
    NoChallenge,
    #[error("`code_verifier` does not answer `code_challenge` (RFC 7636 §4.6)")]
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Fault;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn request(body: &str) -> Result<Option<CodeChallenge>, Refused> {
        CodeChallenge::of_request(&Form::parse(body.as_bytes()).unwrap())
    }

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc7636_b_the_example_verifies() {
        let challenge = CodeChallenge::parse(CHALLENGE).unwrap();
        let verifier = CodeVerifier::parse(VERIFIER).unwrap();
        assert_eq!(verifier.challenge().to_base64url(), CHALLENGE);
        assert_eq!(verify(Some(&challenge), Some(&verifier)), Ok(()));
        let other = CodeVerifier::parse(&VERIFIER.replace('d', "e")).unwrap();
        for (challenge, verifier, expect) in [
            (Some(&challenge), Some(&other), Err(PkceRefused::Mismatch)),
            (Some(&challenge), None, Err(PkceRefused::VerifierAbsent)),
            (None, Some(&verifier), Err(PkceRefused::NoChallenge)),
            (None, None, Ok(())),
        ] {
            assert_eq!(verify(challenge, verifier), expect);
        }
        assert_ne!(verifier, other);
        assert_eq!(format!("{verifier:?}"), "CodeVerifier(…)");
    }

    /// Defect: a downgrade to `plain`.
    #[test]
    fn rfc7636_4_3_only_s256() {
        let whole = format!("code_challenge={CHALLENGE}&code_challenge_method=S256");
        assert!(request(&whole).unwrap().is_some());
        assert_eq!(request("state=a"), Ok(None));
        let missing = |name| Refused::missing(name, "RFC 7636 §4.3");
        for (body, expect) in [
            (format!("code_challenge={CHALLENGE}"), missing("code_challenge_method")),
            ("code_challenge_method=S256".to_owned(), missing("code_challenge")),
            (
                whole.replace("S256", "plain"),
                Refused::value("code_challenge_method", "RFC 7636 §4.3", "plain"),
            ),
            (
                whole.replace("S256", "s256"),
                Refused::value("code_challenge_method", "RFC 7636 §4.3", "s256"),
            ),
        ] {
            assert_eq!(request(&body), Err(expect), "{body}");
        }
        for text in [VERIFIER.get(1..).unwrap(), &format!("{CHALLENGE}="), "", "E9+"] {
            assert!(CodeChallenge::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rfc7636_4_1_verifier_syntax() {
        assert!(CodeVerifier::parse(&"~".repeat(128)).is_ok());
        for text in [&"a".repeat(42), &"a".repeat(129), &VERIFIER.replace('-', "+"), ""] {
            let refused = CodeVerifier::parse(text).unwrap_err();
            assert_eq!((refused.name, refused.rule), ("code_verifier", "RFC 7636 §4.1"));
            assert!(matches!(refused.fault, Fault::Form(_)));
        }
    }
}
