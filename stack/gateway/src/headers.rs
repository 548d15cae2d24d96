//! Which header fields cross, in either direction (RFC 9110 §7.6.1), at the gateway and at the
//! node's agent proxy. What proves or carries rights never does (AUTHZ-20): what speaks for the
//! caller to us does not speak for us to the upstream.

// RFC 9110 §7.6.1: "intermediaries SHOULD remove or replace fields that are known to require
// removal before forwarding, whether or not they appear as a connection-option".
/// Fields of one connection.
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

/// Fields of a request that are made anew for the one that is sent.
const MADE_ANEW: &[&str] = &["content-length", "expect", "host"];

// MCP 2026-07-28 authorization, Token Handling: "MCP servers MUST NOT accept or transit any other
// tokens."
/// Fields of a request that carry what the caller proved to us, or that claim who the caller is or
/// what it means: an upstream that believes them believes the caller.
const WITHHELD: &[&str] = &[
    "authorization",
    "client-cert",
    "client-cert-chain",
    "cookie",
    "dpop",
    "forwarded",
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

/// How the names of further such fields begin.
const WITHHELD_PREFIXES: &[&str] = &["oauth-", "proxy-", "workload-", "x-aims-", "x-forwarded-"];

/// Fields of an answer that are the upstream's business with us, or that would lead the caller
/// around us.
const KEPT_BACK: &[&str] = &["alt-svc", "server", "set-cookie", "www-authenticate", "x-powered-by"];
/// How the names of further such fields begin: RFC 9110 §11.7 has them for "the next inbound proxy"
/// and "the next outbound client" alone.
const KEPT_BACK_PREFIX: &str = "proxy-";

/// Of the fields of a request (names in lower case), those that an upstream may see.
pub fn forwardable(headers: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let named = named_in_connection(headers);
    let crosses = |name: &str| {
        // `X_Forwarded_For` and `X-Forwarded-For` are the same variable to many a server.
        let plain = name.replace('_', "-");
        let plain = plain.as_str();
        !is_hop_by_hop(name, &named)
            && !is_hop_by_hop(plain, &named)
            && !MADE_ANEW.contains(&plain)
            && !WITHHELD.contains(&plain)
            && !WITHHELD_PREFIXES.iter().any(|prefix| plain.starts_with(prefix))
    };
    headers.iter().filter(|(name, _)| crosses(name)).cloned().collect()
}

/// Of the fields of an answer (names in lower case), those that the caller may see.
pub fn answerable(headers: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let named = named_in_connection(headers);
    let crosses = |name: &str| {
        !is_hop_by_hop(name, &named)
            && !KEPT_BACK.contains(&name)
            && !name.starts_with(KEPT_BACK_PREFIX)
    };
    headers.iter().filter(|(name, _)| crosses(name)).cloned().collect()
}

/// Of the fields that a gate wants to send, those that are not the connection's.
pub fn sendable(headers: Vec<(String, Vec<u8>)>) -> impl Iterator<Item = (String, Vec<u8>)> {
    let named = named_in_connection(&headers);
    headers.into_iter().filter(move |(name, _)| {
        let name = name.as_str();
        !is_hop_by_hop(name, &named) && !MADE_ANEW.contains(&name)
    })
}

fn is_hop_by_hop(name: &str, named: &[String]) -> bool {
    HOP_BY_HOP.contains(&name) || named.iter().any(|other| other == name)
}

/// What `Connection` names, in lower case.
fn named_in_connection(headers: &[(String, Vec<u8>)]) -> Vec<String> {
    // RFC 9110 §7.6.1: "Intermediaries MUST parse a received Connection header field before a
    // message is forwarded and, for each connection-option in this field, remove any header or
    // trailer field(s) from the message with the same name as the connection-option".
    let values = headers.iter().filter(|(name, _)| name == "connection");
    values
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|option| String::from_utf8_lossy(option).trim().to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = (String, Vec<u8>);
    type Headers = Vec<Pair>;

    fn names(filter: fn(&[Pair]) -> Headers, headers: &[(&str, &str)]) -> Vec<String> {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec()));
        filter(&headers.collect::<Vec<_>>()).into_iter().map(|(name, _)| name).collect()
    }

    fn fields<'a>(names: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        names.iter().map(|name| (*name, "x")).collect()
    }

    /// req: AUTHZ-20 (part)
    #[test]
    fn inbound_bearer_forwarded_upstream_is_impossible() {
        for name in [
            "authorization",
            "proxy-authorization",
            "proxy-connection",
            "cookie",
            "workload-identity-token",
            "workload-proof-token",
            "txn-token",
            "dpop",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "x_forwarded_for",
            "oauth-client-attestation",
            "oauth-client-attestation-pop",
            "x-http-method-override",
            "signature-input",
            "client-cert",
            "origin",
            "x-api-key",
            "x-aims-agent",
        ] {
            assert_eq!(names(forwardable, &[(name, "x")]), [""; 0], "{name}");
        }
    }

    #[test]
    fn rfc9110_7_6_1_fields_of_the_connection_stay_on_it() {
        for filter in [forwardable, answerable] {
            for name in HOP_BY_HOP {
                assert_eq!(names(filter, &[(name, "x")]), [""; 0], "{name}");
            }
            for (option, hop) in [("X-Hop", "x-hop"), ("X_Hop", "x_hop")] {
                let connection = format!("close, {option}");
                let named = [("connection", connection.as_str()), (hop, "1"), ("accept", "*/*")];
                assert_eq!(names(filter, &named), ["accept"], "{option}");
            }
        }
        let sent = |headers: &[(String, Vec<u8>)]| sendable(headers.to_vec()).collect();
        let headers = [("te", "x"), ("host", "a"), ("authorization", "Bearer theirs")];
        assert_eq!(names(sent, &headers), ["authorization"]);
    }

    #[test]
    fn what_the_protocol_needs_crosses() {
        let request = [
            "accept",
            "accept-encoding",
            "content-type",
            "last-event-id",
            "mcp-method",
            "mcp-name",
            "mcp-param-region",
            "mcp-protocol-version",
            "mcp-session-id",
            "traceparent",
            "user-agent",
        ];
        assert_eq!(names(forwardable, &request.map(|name| (name, "x"))), request);
        let answer =
            ["cache-control", "content-length", "content-type", "mcp-session-id", "retry-after"];
        assert_eq!(names(answerable, &answer.map(|name| (name, "x"))), answer);
    }

    #[test]
    fn the_upstreams_own_business_stays_here() {
        let proxies = ["proxy-authenticate", "proxy-authentication-info"];
        for name in KEPT_BACK.iter().chain(&proxies) {
            assert_eq!(names(answerable, &[(name, "x")]), [""; 0], "{name}");
        }
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
        sent.push(("connection", "close, X-Hop"));
        assert_eq!(names(forwardable, &sent), ["accept", "mcp-session-id"]);
        let answer = fields(&["content-type", "set-cookie", "www-authenticate", "mcp-session-id"]);
        assert_eq!(names(answerable, &answer), ["content-type", "mcp-session-id"]);
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
            assert_eq!(names(forwardable, &[(name, "x")]), [""; 0], "{name}");
        }
    }
}
