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

/// The set, with the tool server at `upstream`.
pub(crate) fn files(upstream: SocketAddr) -> Result<Files, Failure> {
    files_with(upstream, "")
}

/// The same, with more tables in `attestation.toml`.
pub(crate) fn files_with(upstream: SocketAddr, tables: &str) -> Result<Files, Failure> {
    let tools = format!(
        r#"
        name = "tools"
        upstream = "http://{upstream}/mcp"
        protocol = "mcp"
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
        ("domain.toml".to_owned(), format!("trust_domain = \"{DOMAIN}\"\n")),
        ("attestation.toml".to_owned(), format!("{ATTESTATION}{tables}")),
        ("access/main.cedar".to_owned(), ACCESS.to_owned()),
        ("resources/tools.toml".to_owned(), tools),
    ]);
    Files::new(files).map_err(|error| error.to_string().into())
}
