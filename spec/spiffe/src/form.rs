//! What stands behind the scheme of an identifier, as far as SPIFFE-ID §2 and wimse-identifier §4.4
//! ask for the same: an authority and a path, both canonical. `spec/wimse` uses it too, and adds
//! what its scheme is stricter about.

// SPIFFE-ID §2.3: "a maximum length of a trust domain name is 255 bytes." wimse-identifier has no
// bound; a name of RFC 3986 §3.2.2 that DNS could hold is no longer.
/// Longest name of a trust domain, in bytes.
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Splits what stands behind `scheme://` into its authority and its path; the path is empty, or
/// begins with a slash. Neither is checked for more than what it must not have.
pub fn split(rest: &str) -> Result<(&str, &str), FormError> {
    // SPIFFE-ID §2: "MUST NOT include a query or fragment component." wimse-identifier §7.1: "the
    // absence of query, fragment, user information, and port components."
    if rest.contains('?') {
        return Err(FormError::Query);
    }
    if rest.contains('#') {
        return Err(FormError::Fragment);
    }
    // SPIFFE-ID §2.1, §2.2 and wimse-identifier §4.4: neither host nor path may have
    // percent-encoded characters.
    if rest.contains('%') {
        return Err(FormError::PercentEncoding);
    }
    let authority = rest.split('/').next().unwrap_or_default();
    Ok((authority, rest.get(authority.len()..).unwrap_or_default()))
}

// SPIFFE-ID §2.1: "The `host` part of the authority MUST contain only letters, numbers, dots,
// dashes, and underscores ([a-z0-9.-_])." wimse-identifier §4.4: "The trust domain MUST contain
// only lowercase ASCII letters, digits, dots, hyphens, and underscores."
/// Checks the name of a trust domain.
pub fn check_trust_domain(name: &str) -> Result<(), FormError> {
    // SPIFFE-ID §2.1: "The `host` part of the authority MUST NOT be empty."
    if name.is_empty() {
        return Err(FormError::TrustDomainEmpty);
    }
    if name.len() > TRUST_DOMAIN_BYTES_MAX {
        return Err(FormError::TrustDomainTooLong { bytes: name.len() });
    }
    let foreign = |character: &char| !matches!(character, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    // SPIFFE-ID §2.1: "The `userinfo` and `port` parts of the authority component MUST be empty."
    match name.chars().find(foreign) {
        None => Ok(()),
        Some('@') => Err(FormError::Userinfo),
        Some(':') if name.contains('@') => Err(FormError::Userinfo),
        Some(':') => Err(FormError::Port),
        // SPIFFE-ID §2.1: "The `host` part of the authority MUST be lowercase."
        Some(upper @ 'A'..='Z') => Err(FormError::UpperCase(upper)),
        Some('%') => Err(FormError::PercentEncoding),
        Some(other) => Err(FormError::TrustDomainCharacter(other)),
    }
}

/// Checks a path that is empty or begins with a slash. Its segments hold letters, digits and the
/// characters of `others`.
pub fn check_path(path: &str, others: &[char]) -> Result<(), FormError> {
    // SPIFFE-ID §2.2: "The path component MUST NOT include a trailing `/`." wimse-identifier §4.4:
    // "The path MUST NOT contain an empty segment, a `.` or `..` segment, percent-encoding,
    // repeated slashes, or a trailing slash."
    if path.ends_with('/') && !path.ends_with("//") {
        return Err(FormError::TrailingSlash);
    }
    for segment in path.split('/').skip(1) {
        // SPIFFE-ID §2.2: "The path component MUST NOT include segments that are empty or are
        // relative path modifiers (i.e. `.`, `..`)"
        match segment {
            "" => return Err(FormError::EmptySegment),
            "." => return Err(FormError::DotSegment(".")),
            ".." => return Err(FormError::DotSegment("..")),
            _ => {}
        }
        let foreign =
            |character: &char| !(character.is_ascii_alphanumeric() || others.contains(character));
        if let Some(character) = segment.chars().find(foreign) {
            return Err(FormError::PathCharacter(character));
        }
    }
    Ok(())
}

/// What is wrong with the authority or the path of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("a query")]
    Query,
    #[error("a fragment")]
    Fragment,
    #[error("a percent-encoded character")]
    PercentEncoding,
    #[error("an empty trust domain")]
    TrustDomainEmpty,
    #[error("a trust domain of {bytes} bytes; at most {TRUST_DOMAIN_BYTES_MAX} are allowed")]
    TrustDomainTooLong { bytes: usize },
    #[error("user information before the trust domain")]
    Userinfo,
    #[error("a port after the trust domain")]
    Port,
    #[error("upper case in the trust domain: `{0}`")]
    UpperCase(char),
    #[error("the character `{}` in the trust domain", .0.escape_debug())]
    TrustDomainCharacter(char),
    #[error("a trailing slash")]
    TrailingSlash,
    #[error("an empty path segment")]
    EmptySegment,
    #[error("the relative path segment `{0}`")]
    DotSegment(&'static str),
    #[error("the character `{}` in the path", .0.escape_debug())]
    PathCharacter(char),
}
