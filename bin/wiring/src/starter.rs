//! The policy set that a new installation begins with: it lets nothing happen until an operator
//! says so, and shows where to say it.

use std::collections::BTreeMap;

use wimse::Scheme;

/// The files of the starter set, for a trust domain of SPIFFE by its name, or for an origin.
pub fn files(trust_domain: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("domain.toml".to_owned(), domain(trust_domain)),
        ("attestation.toml".to_owned(), ATTESTATION.to_owned()),
        ("access/main.cedar".to_owned(), ACCESS.to_owned()),
        ("resources/README.md".to_owned(), RESOURCES.to_owned()),
        ("agents/README.md".to_owned(), AGENTS.to_owned()),
        ("federation/README.md".to_owned(), FEDERATION.to_owned()),
    ])
}

fn domain(asked: &str) -> String {
    let (scheme, trust_domain) = crate::up::named(asked);
    // What holds without a word is not written.
    let scheme = match scheme {
        Scheme::Spiffe => "",
        Scheme::Wimse => "scheme = \"wimse\"\n",
    };
    format!(
        r#"# What holds for the whole trust domain. Lifetimes are in seconds.
trust_domain = "{trust_domain}"
{scheme}
[lifetimes]
x509_svid = 3600
wit = 3600
jwt_svid = 300
access_token = 300
txn_token = 60

[revocation]
# A gateway or node that has not heard the server for longer refuses.
feed_lost_after = 10

[delegation]
depth_max = 4

[audit]
# How long a record is kept at the least, in seconds: 172800 (two days) or more. Then it goes with
# the part of the log that it is in, and a record of the cut stays. Without `keep`: for ever.
# keep = 31536000
"#
    )
}

const ATTESTATION: &str = r#"# How hosts and gateways join.
[node.join_token]

# Agents by risk class: what a record's rule must name, and which credentials it gets.
[class.standard]
demands = ["unix:uid", "unix:path", "unix:sha256"]
issues = ["x509", "wit", "jwt"]

# For programs that are updated often: the path is enough, so whoever can replace the file is it.
[class.path]
demands = ["unix:uid", "unix:path"]
issues = ["x509", "wit", "jwt"]
"#;

const ACCESS: &str = r#"// Who may do what. Nothing is permitted that no rule here permits.
// Names are in full: Aims::Agent::"spiffe://…", Aims::Action::"tool.call", Aims::Audience::"https://…".
//
// @id("agents-may-read")
// @needs("the capability `read`")
// permit(
//   principal is Aims::Agent,
//   action == Aims::Action::"tool.call",
//   resource in Aims::Audience::"https://localhost:8446/files"
// ) when { resource.read_only && principal.capabilities.contains("read") };
"#;

const RESOURCES: &str = "One file a protected resource, ending in .toml. For an MCP server:

    name = \"files\"
    upstream = \"http://127.0.0.1:9000/mcp\"
    protocol = \"mcp\"

    [scopes]
    \"files:read\" = \"Read files\"

    [[action]]
    tool = \"read_file\"
    scope = \"files:read\"
    read_only = true

Clients reach it at the gateway under /files.
";

const AGENTS: &str = "Agent records kept as code, one file each, ending in .toml:

    name = \"researcher\"
    kind = \"agent\"
    owner = \"team-research\"
    capabilities = [\"read\"]

    [rule]
    class = \"standard\"
    selectors = [\"unix:uid:1000\", \"unix:path:/opt/researcher\", \"unix:sha256:…\"]

`aims policy apply` registers what is new here, changes what reads otherwise, and suspends what is
gone from here; a file that comes back resumes it. To end an agent for good: `aims agent retire`.
";

const FEDERATION: &str =
    "Other trust domains whose bundles are believed, one file each, ending in .toml:

    trust_domain = \"other.example\"
    profile = \"https_spiffe\"
    url = \"https://aims.other.example:8447/bundle\"
    endpoint_id = \"spiffe://other.example/aims/server\"
    bundle = '''{ \"keys\": [ … the first bundle, as they gave it … ] }'''

With `profile = \"https_web\"` neither `endpoint_id` nor `bundle`. `wit = false`: its WITs are not
believed. `aims policy apply` begins what is new here, begins anew what reads otherwise, and ends
what is gone from here; `aims federation list` shows how they stand.
";
