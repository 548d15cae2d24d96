//! The policy of the installation that is measured: one tool server, agents that may use it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use policy::Files;

use crate::Failure;

/// Its trust domain.
pub(crate) const DOMAIN: &str = "bench.example";

const ATTESTATION: &str = r#"
[node.join_token]
[class.standard]
demands = ["unix:path"]
issues = ["x509", "wit", "jwt"]
"#;

const ACCESS: &str = r#"
@id("tokens")
permit(
    principal,
    action in [Aims::Action::"token.issue", Aims::Action::"token.exchange"],
    resource
);
@id("sessions")
permit(principal, action == Aims::Action::"tool.list", resource);
@id("tools")
@needs("the capability `tools`")
permit(principal, action == Aims::Action::"tool.call", resource)
when { principal.capabilities.contains("tools") };
@id("never")
forbid(principal, action == Aims::Action::"tool.call", resource)
when { resource.name == "delete" };
"#;

/// An issuer whose assertions are taken. Its key is published: RFC 7515 appendix A.3.
const PARTNER: &str = r#"
[decisions]
proof = "bearer"
[[delegation.issuer]]
name = "partner"
issuer = "https://partner.example"
scope = "notices.read"
subjects = { "*" = "partner:{sub}" }
[[delegation.issuer.jwks.keys]]
kty = "EC"
crv = "P-256"
kid = "key-1"
x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
"#;
/// Who may ask what tokens for the plain resources mean, unless told.
const ASKER: &str = "spiffe://bench.example/agent/clerk";

/// The set, with the tool server at `upstream`.
pub(crate) fn files(upstream: SocketAddr) -> Result<Files, Failure> {
    all(upstream, "", ASKER)
}

/// The same, with more tables in `attestation.toml`.
pub(crate) fn files_with(upstream: SocketAddr, tables: &str) -> Result<Files, Failure> {
    all(upstream, tables, ASKER)
}

/// The same, where this client may ask what tokens for the plain resources mean.
pub(crate) fn files_for(upstream: SocketAddr, asker: &str) -> Result<Files, Failure> {
    all(upstream, "", asker)
}

/// A resource for clients that are no agents, with tokens of this form.
fn plain(upstream: SocketAddr, name: &str, form: &str, asker: &str) -> String {
    format!(
        r#"
        name = "{name}"
        upstream = "http://{upstream}/{name}"
        protocol = "http"
        proof = "bearer"
        token = "{form}"
        introspect = ["{asker}"]
        [scopes]
        "{name}.read" = "read"
        [[action]]
        method = "GET"
        path = "/*"
        scope = "{name}.read"
        read_only = true
        "#
    )
}

fn all(upstream: SocketAddr, tables: &str, asker: &str) -> Result<Files, Failure> {
    let tools = format!(
        r#"
        name = "tools"
        upstream = "http://{upstream}/mcp"
        protocol = "mcp"
        decide = ["{ASKER}"]
        [scopes]
        "tools.read" = "read"
        "tools.write" = "write"
        [[action]]
        tool = "read"
        scope = "tools.read"
        read_only = true
        [[action]]
        tool = "write"
        scope = "tools.write"
        "#
    );
    let files = BTreeMap::from([
        ("domain.toml".to_owned(), format!("trust_domain = \"{DOMAIN}\"\n{PARTNER}")),
        ("attestation.toml".to_owned(), format!("{ATTESTATION}{tables}")),
        ("access/main.cedar".to_owned(), ACCESS.to_owned()),
        ("resources/tools.toml".to_owned(), tools),
        ("resources/notices.toml".to_owned(), plain(upstream, "notices", "jwt", asker)),
        ("resources/vault.toml".to_owned(), plain(upstream, "vault", "opaque", asker)),
    ]);
    Files::new(files).map_err(|error| error.to_string().into())
}
