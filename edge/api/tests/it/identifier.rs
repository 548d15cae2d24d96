//! Which identifier to expect at a URL or host: told to who is somebody here, of what was
//! registered.

use flow::agents;
use http::{Request, StatusCode};
use identifier::AgentName;
use monitoring::{Event, Outcome};
use provisioning::Act;
use registry::Registration;
use x509::DnsName;

use crate::browser::{Reply, Served};
use crate::handshakes::{Agent, agent, registered, registration};
use crate::world::TestWorld;

const URL: &str = "https://invoices.example/mcp";
const HOST: &str = "invoices.example";

fn tool(name: &str, locator: &str, host: &str) -> Registration {
    let dns_names = [DnsName::parse(host).unwrap()].into_iter().collect();
    Registration { locator: Some(locator.to_owned()), dns_names, ..registration(name) }
}

fn question(handle: &str) -> Request<Vec<u8>> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("handle", handle);
    Request::get(format!("/identifier?{}", query.finish())).body(Vec::new()).unwrap()
}

async fn asked(served: &Served, by: &Agent, handle: &str) -> Reply {
    served.send_mutual(by.identity(), question(handle)).await
}

async fn suspend(world: &TestWorld, name: &str) {
    let (name, reason) = (AgentName::parse(name).unwrap(), "a story".to_owned());
    let moved = agents::act(world, &TestWorld::operator(), &name, Act::Suspend, reason).await;
    moved.unwrap().into_value().unwrap();
}

fn last(served: &Served) -> monitoring::Record {
    served.world.records().into_iter().next_back().unwrap()
}

/// req: ID-07
#[tokio::test]
async fn wimse_identifier_5_a_handle_leads_to_the_identifier_that_was_registered_with_it() {
    let served = Served::start().await;
    let caller = agent(&served.world, "caller").await;
    let callee = registered(&served.world, tool("invoice", URL, HOST)).await;
    for handle in [URL, HOST] {
        let reply = asked(&served, &caller, handle).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.shown());
        assert_eq!(reply.json()["identifier"], callee.id.as_str());
        let record = last(&served);
        assert_eq!(record.event, Event::IdentifierLookedUp);
        assert_eq!(record.agent.as_deref(), Some(caller.id.as_str()));
        assert_eq!(record.resource.as_deref(), Some(callee.id.as_str()));
        assert_eq!(record.facts["handle"], handle);
    }
    // Nothing is derived: no part of the URL, no other writing of it, no path of an identifier.
    for handle in [
        "https://invoices.example/",
        "https://invoices.example/mcp/",
        "https://INVOICES.example/mcp",
        "Invoices.example",
        "mcp.invoices.example",
        "invoice",
        callee.id.as_str(),
    ] {
        let reply = asked(&served, &caller, handle).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{handle}: {}", reply.shown());
        let record = last(&served);
        assert_eq!(record.outcome, Outcome::Refused);
        assert_eq!(record.why.unwrap().check, "lookup::Unknown");
    }
    let long = asked(&served, &caller, &"a".repeat(257)).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
}

/// req: ID-07 (part)
#[tokio::test]
async fn wimse_identifier_5_what_would_be_a_guess_is_not_told() {
    let served = Served::start().await;
    let caller = agent(&served.world, "caller").await;
    let first = registered(&served.world, tool("invoice", URL, HOST)).await;
    registered(&served.world, tool("other", "https://other.example/", HOST)).await;
    assert_eq!(asked(&served, &caller, HOST).await.status, StatusCode::CONFLICT);
    assert_eq!(last(&served).why.unwrap().check, "lookup::Ambiguous");
    assert_eq!(asked(&served, &caller, URL).await.json()["identifier"], first.id.as_str());
    // One that is not in force is not expected anywhere.
    suspend(&served.world, "other").await;
    let reply = asked(&served, &caller, HOST).await;
    assert_eq!(reply.json()["identifier"], first.id.as_str());
    let reply = asked(&served, &caller, "https://other.example/").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

/// req: ID-07 (part), AUTHN-01 (part)
#[tokio::test]
async fn wimse_identifier_5_only_who_is_in_force_here_is_told() {
    let served = Served::start().await;
    let caller = agent(&served.world, "caller").await;
    registered(&served.world, tool("invoice", URL, HOST)).await;
    let before = served.world.records().len();
    let reply = served.send(question(URL)).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{}", reply.shown());
    assert_eq!(served.refusals(), ["lookup::NoProof"]);
    assert_eq!(served.world.records().len(), before);
    suspend(&served.world, "caller").await;
    assert_eq!(asked(&served, &caller, URL).await.status, StatusCode::FORBIDDEN);
    assert_eq!(last(&served).why.unwrap().check, "lookup::NotInForce");
    for query in ["", "?handle=a&handle=b", "?name=a"] {
        let request = Request::get(format!("/identifier{query}")).body(Vec::new()).unwrap();
        let reply = served.send_mutual(caller.identity(), request).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
