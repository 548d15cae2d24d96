//! Which header fields travel on. What proves or carries rights never does (AUTHZ-20).

/// Fields of a request that end here: those made anew for the request that is sent, proofs and
/// rights of the caller, which are for us alone, and claims about who the caller is or what it
/// means, which an upstream would believe of us.
const STOP_REQUEST: &[&str] = &[
    "authorization",
    "client-cert",
    "client-cert-chain",
    "content-length",
    "cookie",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "origin",
    "signature",
    "signature-input",
    "true-client-ip",
    "txn-token",
    "x-api-key",
    "x-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Fields of an answer that end here.
const STOP_ANSWER: &[&str] =
    &["set-cookie", "www-authenticate", "server", "x-powered-by", "alt-svc", "content-length"];

/// RFC 9110 §7.6.1: fields that "MUST be removed" by an intermediary before it forwards.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Beginnings of names that end here in requests.
const STOP_BEGINNINGS: &[&str] = &["proxy-", "x-forwarded-", "oauth-", "workload-", "x-aims-"];

/// The fields of a request that are forwarded.
pub fn forwardable(headers: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let named = connection_names(headers);
    let stops = |name: &str| {
        // `X_Forwarded_For` and `X-Forwarded-For` are the same variable to many a server.
        let plain = name.replace('_', "-");
        let plain = plain.as_str();
        STOP_REQUEST.contains(&plain)
            || STOP_BEGINNINGS.iter().any(|beginning| plain.starts_with(beginning))
            || HOP_BY_HOP.contains(&plain)
            || named.iter().any(|one| one == name)
    };
    headers.iter().filter(|(name, _)| !stops(name)).cloned().collect()
}

/// The fields of an answer that are released.
pub fn released(headers: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let named = connection_names(headers);
    let stops = |name: &str| {
        STOP_ANSWER.contains(&name)
            || HOP_BY_HOP.contains(&name)
            || name.starts_with("proxy-")
            || named.iter().any(|one| one == name)
    };
    headers.iter().filter(|(name, _)| !stops(name)).cloned().collect()
}

/// RFC 9110 §7.6.1: "Intermediaries MUST parse a received Connection header field before a message
/// is forwarded and, for each connection-option in this field, remove any header … fields".
fn connection_names(headers: &[(String, Vec<u8>)]) -> Vec<String> {
    headers
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| {
            String::from_utf8_lossy(value)
                .split(',')
                .map(|one| one.trim().to_ascii_lowercase())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(names: &[&str]) -> Vec<(String, Vec<u8>)> {
        names.iter().map(|name| ((*name).to_owned(), b"x".to_vec())).collect()
    }

    fn names(headers: Vec<(String, Vec<u8>)>) -> Vec<String> {
        headers.into_iter().map(|(name, _)| name).collect()
    }

    /// req: AUTHZ-20 (part)
    #[test]
    fn s10_7_no_right_of_the_caller_travels_on() {
        let mut sent = fields(&[
            "accept",
            "authorization",
            "cookie",
            "workload-identity-token",
            "workload-proof-token",
            "txn-token",
            "oauth-client-attestation",
            "proxy-authorization",
            "x-forwarded-for",
            "mcp-session-id",
            "x-hop",
            "te",
        ]);
        sent.push(("connection".to_owned(), b"close, X-Hop".to_vec()));
        assert_eq!(names(forwardable(&sent)), ["accept", "mcp-session-id"]);
        let answer = fields(&["content-type", "set-cookie", "www-authenticate", "mcp-session-id"]);
        assert_eq!(names(released(&answer)), ["content-type", "mcp-session-id"]);
    }

    /// req: AUTHZ-20 (part)
    #[test]
    fn s10_7_no_claim_about_the_caller_travels_on() {
        for name in [
            "client-cert",
            "expect",
            "http2-settings",
            "true-client-ip",
            "workload_proof_token",
            "x-api-key",
            "x-http-method-override",
            "x-original-url",
            "x-rewrite-url",
            "x_forwarded_for",
        ] {
            assert_eq!(names(forwardable(&fields(&[name]))), [""; 0], "{name}");
        }
    }
}
