//! The audit logs at the operators' socket.

use std::time::Duration;

use api::admin::messages::Line;
use api::client::Fault;
use env::{Change, Store as _, World as _};
use identifier::AgentName;
use monitoring::trace::Trace;
use monitoring::{Cut, Event, Record, RecordId};
use provisioning::Act;
use time::Span;

use crate::browser::soon;
use crate::handshakes::registration;
use crate::orders::Office;

/// The record of a line: its bytes are those of the entry.
fn record(line: &Line) -> Record {
    Record::decode(line.record.get().as_bytes()).unwrap()
}

fn parse(line: &str) -> Line {
    serde_json::from_str(line).unwrap()
}

/// req: OBS-01 (part)
#[tokio::test]
async fn s11_the_end_of_the_log_is_followed() {
    let office = Office::open().await;
    let size = office.world.records().len() as u64;
    let mut lines = office.client.tail(None, (Some(size - 1), None), true).await.unwrap();
    let first = parse(&soon(lines.next()).await.unwrap().unwrap());
    assert_eq!((first.log.as_str(), first.index), ("server", size - 1));
    let quiet = tokio::time::timeout(Duration::from_millis(50), lines.next()).await;
    assert!(quiet.is_err());
    office.client.register_agent(&registration("invoice")).await.unwrap();
    let next = parse(&soon(lines.next()).await.unwrap().unwrap());
    assert_eq!((next.index, record(&next).event), (size, Event::AgentRegistered));
    drop(lines);
    let mut last = office.client.tail(Some("server"), (None, Some(2)), false).await.unwrap();
    let mut found = Vec::new();
    while let Some(line) = soon(last.next()).await.unwrap() {
        found.push(parse(&line).index);
    }
    assert_eq!(found, [size - 1, size]);
    office.close().await;
}

/// A follower does not keep the server from stopping.
#[tokio::test]
async fn a_follower_is_cut_when_the_server_stops() {
    let office = Office::open().await;
    let mut lines = office.client.tail(None, (Some(u64::MAX - 1), None), true).await.unwrap();
    let waiting = tokio::spawn(async move { lines.next().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    office.close().await;
    assert!(!matches!(soon(waiting).await.unwrap(), Ok(Some(_))));
}

#[tokio::test]
async fn s11_a_log_is_exported_as_it_is_or_as_ocsf() {
    let office = Office::open().await;
    let records = office.world.records();
    let mut lines = office.client.export(None, (None, None), "aims").await.unwrap();
    let mut found = Vec::new();
    while let Some(line) = soon(lines.next()).await.unwrap() {
        found.push(record(&parse(&line)));
    }
    assert_eq!(found, records);
    let (from, to) = (records[1].time, records[3].time);
    let span = (Some(from.millis()), Some(to.millis()));
    let mut lines = office.client.export(None, span, "ocsf").await.unwrap();
    let mut times = Vec::new();
    while let Some(line) = soon(lines.next()).await.unwrap() {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["metadata"]["log_name"], "server");
        times.push(event["time"].as_u64().unwrap());
    }
    let expect: Vec<_> = records.iter().map(|record| record.time.millis()).collect();
    let expect: Vec<_> =
        expect.into_iter().filter(|time| (from.millis()..to.millis()).contains(time)).collect();
    assert!(!expect.is_empty());
    assert_eq!(times, expect);
    let fault = office.client.export(None, (None, None), "xml").await.unwrap_err();
    assert_eq!(fault.exit_code(), 2);
}

#[tokio::test]
async fn s11_records_are_found_by_id_and_term() {
    let office = Office::open().await;
    let told = office.client.register_agent(&registration("invoice")).await.unwrap();
    let id = told.audit_id.unwrap();
    let line = office.client.record(&id).await.unwrap();
    assert_eq!(record(&line).id.to_string(), id);
    let agent = told.value.id.to_string();
    let page = office.client.find(("agent", &agent), None, None, None).await.unwrap();
    assert_eq!(page.items.iter().map(|line| line.index).collect::<Vec<_>>(), [line.index]);
    let keys = office.client.find(("event", "key_rotated"), None, None, Some(2)).await.unwrap();
    assert_eq!(keys.items.len(), 2);
    let next = keys.next.clone();
    let more = office.client.find(("event", "key_rotated"), None, next.as_deref(), Some(2)).await;
    assert!(more.unwrap().items[0].index > keys.items[1].index);
    let proof = office.client.prove("server", line.index).await.unwrap();
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1"));
    let mut told = String::new();
    for fault in [
        office.client.record("no-id").await.unwrap_err(),
        office.client.record("0197a000-0000-7000-8000-000000000000").await.unwrap_err(),
        office.client.find(("colour", "red"), None, None, None).await.unwrap_err(),
        office.client.find(("agent", "a"), Some("other"), None, None).await.unwrap_err(),
        office.client.prove("server", 4_000).await.unwrap_err(),
        office.client.prove("other", 0).await.unwrap_err(),
        office.client.trace("nothing").await.unwrap_err(),
    ] {
        let Fault::Problem(problem) = &fault else { panic!("{fault}") };
        told.push_str(&format!("{} {}: {fault}\n", fault.exit_code(), problem.error));
    }
    insta::assert_snapshot!(told, @r#"
    2 misused: `no-id` is no audit id
    1 not_found: no record `0197a000-0000-7000-8000-000000000000` in these logs
    2 misused: no term `colour`; there are `event`, `outcome`, `agent`, `subject`, `resource`, `operator`, `root`, `txn`, `jti`, `trace`
    1 not_found: no log `other`; there are server
    1 not_found: entry 4000 is not in a log of 13 entries
    1 not_found: no log `other`; there are server
    1 not_found: nothing has the root, transaction or token `nothing`
    "#);
}

/// From the id of one token to the whole story: what was issued, and what operators did meanwhile.
/// req: OBS-09 (part)
#[tokio::test]
async fn s11_a_trace_tells_the_whole_story() {
    let office = Office::open().await;
    let world = &*office.world;
    let client = crate::endpoint::KeyClient::register(world).await;
    let token = crate::endpoint::issue(world, &client).await;
    office.client.register_agent(&registration("bystander")).await.unwrap();
    let bystander = AgentName::parse("bystander").unwrap();
    office.client.move_agent(&bystander, Act::Suspend, "not of this story").await.unwrap();
    office.client.disable_client(&client.id).await.unwrap();
    let record = world.records().into_iter().find(|one| one.event == Event::TokenIssued).unwrap();
    let (root, jti) = (record.root.unwrap(), record.jti.unwrap());
    assert!(!token.is_empty());
    let by_token = office.client.trace(&jti).await.unwrap();
    let by_root = office.client.trace(&root).await.unwrap();
    assert_eq!((&by_token.root, by_token.cut), (&root, false));
    let records: Vec<_> = by_token.records.iter().map(self::record).collect();
    assert_eq!(records, by_root.records.iter().map(self::record).collect::<Vec<_>>());
    let events: Vec<_> = records.iter().map(|one| one.action.as_str()).collect();
    assert_eq!(events, ["token.issue", "client.disable"]);
    assert_eq!(Trace::of(&root, &records).nodes.len(), 2);
}

/// What policy no longer keeps is told in words, however it is asked for.
///
/// req: OBS-06 (part)
#[tokio::test]
async fn s11_what_was_cut_is_told_and_not_an_error_of_ours() {
    let office = Office::open().await;
    let records = office.world.records();
    let (gone, last) = (&records[0], records[1].time);
    let minimum = 2;
    let cut = Cut {
        log: "demo.example/log/server".to_owned(),
        from: 0,
        minimum,
        root: "cm9vdA==".to_owned(),
        first: gone.time,
        last,
    };
    let id = RecordId::new(last.plus(Span::from_seconds(1)), [9; 10]);
    let server = office.world.component().clone();
    let record = cut.record(id, last, server, "sha256:77".to_owned());
    let change = Change { records: vec![record], ..Change::default() };
    office.world.store().commit(change).await.unwrap();
    let told = |fault: Fault| match fault {
        Fault::Problem(problem) => format!("{}: {}", problem.error, problem.message),
        other => panic!("{other:?}"),
    };
    let words = "the records of `demo.example/log/server` up to ";
    let shown = told(office.client.record(&gone.id.to_string()).await.unwrap_err());
    assert!(shown.starts_with("not_found: no record") && shown.contains(words), "{shown}");
    // What is younger than what was cut was never there.
    let never = RecordId::new(id.time().unwrap(), [8; 10]).to_string();
    let shown = told(office.client.record(&never).await.unwrap_err());
    assert!(!shown.contains("cut"), "{shown}");
    let traced = told(office.client.trace("root-of-long-ago").await.unwrap_err());
    assert!(traced.contains(words), "{traced}");
    let mut lines = office.client.tail(None, (Some(0), None), false).await.unwrap();
    let broken = told(soon(lines.next()).await.unwrap_err());
    assert_eq!(broken, "audit::Cut: entry 0 was cut off: the log begins with entry 2");
    for mut lines in [
        office.client.tail(None, (None, Some(99)), false).await.unwrap(),
        office.client.export(None, (None, None), "aims").await.unwrap(),
    ] {
        let first = parse(&soon(lines.next()).await.unwrap().unwrap());
        assert_eq!(first.index, minimum);
    }
    office.close().await;
}
