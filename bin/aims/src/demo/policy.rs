//! The policy set of the demo: small enough to be read in the README.

use std::collections::BTreeMap;

/// The trust domain of the demo.
pub(super) const TRUST_DOMAIN: &str = "demo.example";

/// The files. `gateway` is the gateway's base URL, `tools` the tool server's own.
pub(super) fn files(gateway: &str, tools: &str) -> BTreeMap<String, String> {
    let mut files = wiring::starter::files(TRUST_DOMAIN);
    files.insert("resources/invoices.toml".to_owned(), resource(tools));
    files.insert("access/main.cedar".to_owned(), access(gateway));
    files
}

fn resource(tools: &str) -> String {
    format!(
        r#"name = "invoices"
title = "Invoice tools"
upstream = "{tools}"
protocol = "mcp"
proof = "wit"

[scopes]
"invoices:read" = "Read invoices"
"invoices:pay" = "Pay invoices"

[[action]]
tool = "read_invoice"
scope = "invoices:read"
read_only = true

[[action]]
tool = "pay_invoice"
scope = "invoices:read"
"#
    )
}

fn access(gateway: &str) -> String {
    format!(
        r#"// The batch job may hand reading invoices to the agent.
@id("batch-may-ask-the-agent")
permit(
  principal == Aims::Service::"spiffe://demo.example/service/batch-job",
  action == Aims::Action::"token.issue",
  resource == Aims::Audience::"spiffe://demo.example/agent/invoice-agent"
) when {{ context.scope.contains("invoices:read") }};

// An agent that reads invoices may exchange what it was handed for a token of the tools.
@id("readers-may-reach-the-tools")
permit(
  principal is Aims::Agent,
  action == Aims::Action::"token.exchange",
  resource == Aims::Audience::"{gateway}/invoices"
) when {{ principal.capabilities.contains("invoices.read") }};

@id("readers-may-read")
permit(
  principal is Aims::Agent,
  action in [Aims::Action::"tool.list"],
  resource == Aims::Audience::"{gateway}/invoices"
) when {{ principal.capabilities.contains("invoices.read") }};

@id("reading-invoices")
permit(
  principal is Aims::Agent,
  action == Aims::Action::"tool.call",
  resource in Aims::Audience::"{gateway}/invoices"
) when {{ resource.read_only && principal.capabilities.contains("invoices.read") }};

@id("paying-needs-a-payer")
@needs("the capability `invoices.pay`, which an operator gives to an agent's record")
permit(
  principal is Aims::Agent,
  action == Aims::Action::"tool.call",
  resource == Aims::Tool::"{gateway}/invoices#pay_invoice"
) when {{ principal.capabilities.contains("invoices.pay") }};
"#
    )
}
