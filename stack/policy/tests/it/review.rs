//! What reads and compiles, and yet does nothing: told before it comes into force.

use policy::{Reached, review};

use crate::set;

const AT: Reached<'_> =
    Reached { issuer: "https://localhost:8443", gateway: "https://localhost:8446" };
const FILES: &str = "name = \"files\"\nupstream = \"http://127.0.0.1:1\"\nprotocol = \"mcp\"\n\n\
                     [scopes]\n\"files:read\" = \"Read\"\n\n\
                     [[action]]\ntool = \"list\"\nscope = \"files:read\"\n";

/// What is found in these files beside a resource `files`: faults, then warnings.
fn told(at: Option<Reached<'_>>, files: &[(&str, &str)]) -> String {
    let all = [&[("resources/files.toml", FILES)][..], files].concat();
    let found = review(&set(&all), at);
    let lines = |word: &str, all: &[policy::Fault]| {
        all.iter().map(|one| format!("{word} {one}\n")).collect::<String>()
    };
    lines("fault", &found.faults) + &lines("warning", &found.warnings)
}

/// Rules, each with an `@id` of its own, on lines that follow each other.
fn rules(all: &[&str]) -> String {
    let rule = |(at, text): (usize, &&str)| format!("@id(\"r{at}\")\n{text};\n");
    all.iter().enumerate().map(rule).collect()
}

/// req: POL-01 (part)
#[test]
fn s12_a_rule_about_whom_nobody_can_be_is_told_and_a_ban_refused() {
    let text = rules(&[
        "permit(principal == Aims::Agent::\"spiffe://demo.example/service/web\", action, resource)",
        "forbid(principal == Aims::Agent::\"spiffe://demo.example/service/web\", action, resource)",
        "forbid(principal, action, resource)\n  when { principal == Aims::Agent::\"web\" }",
        "forbid(principal, action, resource)\n  \
         when { principal == Aims::User::\"ada\" || context.autonomous }",
        "permit(principal == Aims::Client::\"spiffe://demo.example/agent/a\", action, resource)",
        "forbid(principal == Aims::Agent::\"spiffe://demo.exampel/agent/a\", action, resource)",
    ]);
    insta::assert_snapshot!(told(None, &[("access/people.cedar", &text)]));
}

/// req: POL-01 (part)
#[test]
fn s12_a_rule_about_what_cannot_be_asked_for_is_told() {
    let text = rules(&[
        "permit(principal, action, resource in Aims::Audience::\"https://localhost:8447/files\")",
        "forbid(principal, action, resource in Aims::Audience::\"https://localhost:8446/file\")",
        "permit(principal, action, resource == Aims::Tool::\"https://localhost:8446/files\")",
        "permit(principal, action, resource == Aims::Tool::\"https://localhost:8446/files#lst\")",
        "forbid(principal, action, resource in Aims::Audience::\"https://elsewhere.example/x\")",
        "forbid(principal, action, resource in Aims::Audience::\"spiffe://demo.example/x\")",
    ]);
    insta::assert_snapshot!(told(Some(AT), &[("access/things.cedar", &text)]));
}

/// Whoever is not registered yet may be named, and so may all that a request can ask for.
#[test]
fn s12_what_can_be_is_not_told() {
    let text = rules(&[
        "permit(principal == Aims::Agent::\"spiffe://demo.example/agent/later\", action, resource)",
        "permit(principal == Aims::Service::\"spiffe://demo.example/service/s\", action, resource)",
        "permit(principal == Aims::User::\"user:ada\", action, resource)",
        "permit(principal == Aims::Client::\"https://app.example/client.json\", action, resource)",
        "permit(principal, action, resource in Aims::Audience::\"https://localhost:8446/files\")",
        "permit(principal, action, resource == Aims::Tool::\"https://localhost:8446/files#list\")",
        "permit(principal, action, resource == Aims::Path::\"https://localhost:8446/files#/a\")",
        "permit(principal, action, resource in Aims::Audience::\"https://localhost:8443/access/v1\")",
        "permit(principal, action, resource in Aims::Audience::\"spiffe://demo.example/agent/a\")",
    ]);
    assert_eq!(told(Some(AT), &[("access/a.cedar", &text)]), "");
    // Without an installation nobody knows where the gateway is.
    let other = rules(&[
        "forbid(principal, action, resource in Aims::Audience::\"https://other.example/files\")",
    ]);
    assert_eq!(told(None, &[("access/a.cedar", &other)]), "");
}

/// What registration would refuse, and what is likely a mistake.
/// req: ATT-01 (part), ATT-02 (part)
#[test]
fn s7_agents_that_no_process_can_be_are_refused_before_they_are_in_force() {
    let agent = |name: &str, selectors: &str, scope: &str| {
        format!(
            "name = \"{name}\"\nkind = \"agent\"\nowner = \"a\"\n[rule]\nselectors = [{selectors}]\n\
             [client]\nscope_max = \"{scope}\"\n"
        )
    };
    insta::assert_snapshot!(told(
        None,
        &[
            ("agents/a.toml", &agent("a", "\"unix:path:/opt/a\"", "openid files:read file:read")),
            ("agents/b.toml", &agent("b", "\"unix:path:/opt/a\", \"unix:uid:1\"", "files:read")),
            ("agents/c.toml", &agent("c", "\"unix:path:opt/c\"", "files:read")),
        ]
    ));
}
