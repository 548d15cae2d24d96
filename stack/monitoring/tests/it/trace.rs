//! Which record hangs where, and what a person sees of it.

use monitoring::trace::{AFTERMATH, Missing, Place, RECORDS_MAX, Style, Trace, render, subjects};
use monitoring::{Event, Outcome, Record};

use crate::story::{
    AGENT, BATCH, ROOT, TOOLS, applied, called, exchanged, finished, issued, moved, record,
    refused_call, story,
};

/// `depth action` of each node, with `*` for acts and `?` for gaps.
fn shape(records: &[Record]) -> Vec<String> {
    let trace = Trace::of(ROOT, records);
    let mark = |place| match place {
        Place::Lineage => "",
        Place::Meanwhile => "*",
        Place::Gap => "?",
    };
    let nodes = trace.nodes.iter();
    nodes.map(|one| format!("{}{} {}", one.depth, mark(one.place), one.record.action)).collect()
}

/// req: OBS-09 (part), OBS-01 (part)
#[test]
fn s11_a_task_is_one_tree_from_its_first_token_to_its_last_call() {
    insta::assert_snapshot!(render(&Trace::of(ROOT, &story()), Style::Short));
}

/// req: OBS-09 (part)
#[test]
fn s11_a_trace_in_whole() {
    insta::assert_snapshot!(render(&Trace::of(ROOT, &story()), Style::Whole));
}

#[test]
fn s11_a_trace_is_json_for_scripts() {
    let trace = Trace::of(ROOT, &[issued(0), moved(7, BATCH, "suspend", "")]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&trace).unwrap());
}

#[test]
fn s11_order_and_doubles_do_not_matter() {
    let mut records = story();
    let trace = Trace::of(ROOT, &records);
    records.reverse();
    records.extend(story());
    assert_eq!(Trace::of(ROOT, &records), trace);
}

/// req: OBS-09 (part)
#[test]
fn s11_what_operators_did_stands_where_it_happened() {
    let call = called(2, "read_invoice");
    let ended = finished(6, &call);
    let base = vec![issued(0), exchanged(1), call, ended];
    let check = |act: Record, expect: &[&str]| {
        let mut records = base.clone();
        records.push(act);
        assert_eq!(shape(&records), expect);
    };
    let within = |act: &'static str| {
        ["1 token.issue", "2 token.exchange", "3 tool.call", act, "4 tool.call"]
    };
    let after = |act: &'static str| {
        ["1 token.issue", "2 token.exchange", "3 tool.call", "4 tool.call", act]
    };
    check(moved(4, AGENT, "suspend", ""), &within("4* agent.suspend"));
    check(moved(4, BATCH, "revoke", ""), &within("4* agent.revoke"));
    check(applied(4), &within("4* policy_applied"));
    check(moved(9, AGENT, "resume", ""), &after("1* agent.resume"));
    // What does not belong: another agent, an act before it began, one long after, one refused.
    let alone = ["1 token.issue", "2 token.exchange", "3 tool.call", "4 tool.call"];
    check(moved(4, "spiffe://demo.example/agent/other", "suspend", ""), &alone);
    let mut early = moved(4, AGENT, "suspend", "");
    early.time = issued(0).time.minus(time::Span::from_millis(1));
    check(early, &alone);
    let mut late = moved(9, AGENT, "resume", "");
    late.time = finished(6, &called(2, "a")).time.plus(AFTERMATH);
    check(late.clone(), &after("1* agent.resume"));
    late.time = late.time.plus(time::Span::from_millis(1));
    check(late, &alone);
    let mut refused = moved(4, AGENT, "resume", "");
    refused.outcome = Outcome::Refused;
    check(refused, &alone);
    // A call of the same agent for another task.
    let mut other = called(4, "read_invoice");
    other.root = Some("root-2".to_owned());
    check(other, &alone);
}

/// req: OBS-09 (part)
#[test]
fn s11_a_refused_exchange_hangs_where_its_token_hangs() {
    let mut refused = exchanged(3);
    (refused.jti, refused.outcome) = (None, Outcome::Refused);
    let records = [issued(0), exchanged(1), refused, called(4, "a")];
    let expect = ["1 token.issue", "2 token.exchange", "3 tool.call", "2 token.exchange"];
    assert_eq!(shape(&records), expect);
}

/// req: OBS-09 (part)
#[test]
fn s11_what_is_done_with_a_transaction_token_hangs_on_its_call() {
    let call = called(2, "read_invoice");
    let mut inner = exchanged(3);
    inner.parent = Some("made-by-the-gateway".to_owned());
    inner.jti = Some("token-3".to_owned());
    inner.txn.clone_from(&call.txn);
    let records = [issued(0), exchanged(1), call, inner];
    let expect = ["1 token.issue", "2 token.exchange", "3 tool.call", "4 token.exchange"];
    assert_eq!(shape(&records), expect);
    assert_eq!(Trace::of(ROOT, &records).gaps, []);
}

/// req: OBS-09 (part)
#[test]
fn s11_what_is_missing_is_told() {
    let lone = called(2, "read_invoice");
    let end = finished(4, &called(3, "read_invoice"));
    let records = [issued(0), lone.clone(), end.clone()];
    let trace = Trace::of(ROOT, &records);
    assert_eq!(shape(&records), ["1 token.issue", "1? tool.call", "1? tool.call"]);
    let missing: Vec<_> = trace.gaps.iter().map(|gap| (gap.record, gap.missing.clone())).collect();
    let token = Missing::Token("token-2".to_owned());
    let call = Missing::Record(end.after.unwrap());
    assert_eq!(missing, [(lone.id, token), (end.id, call)]);
    insta::assert_snapshot!(render(&trace, Style::Short));
}

#[test]
fn s11_no_record_is_a_trace_too() {
    let trace = Trace::of("nothing", &story());
    assert_eq!(trace.nodes, []);
    insta::assert_snapshot!(render(&trace, Style::Short), @"trace nothing: no record");
}

/// A log that was tampered with does not hang the reader.
#[test]
fn s11_a_circle_of_tokens_is_cut() {
    let mut first = issued(0);
    first.parent = Some("token-2".to_owned());
    let mut own = exchanged(5);
    (own.jti, own.parent) = (Some("self".to_owned()), Some("self".to_owned()));
    let records = [first, exchanged(1), called(2, "a"), own];
    assert_eq!(Trace::of(ROOT, &records).nodes.len(), 4);
}

#[test]
fn s11_a_long_chain_is_drawn_and_a_longer_one_is_cut() {
    let chain = |length: usize| -> Vec<Record> {
        let link = |at: usize| {
            let mut link = exchanged(0);
            let now = link.time.plus(time::Span::from_millis(at as u64));
            let mut random = [0; 10];
            random[..8].copy_from_slice(&at.to_be_bytes());
            link.id = monitoring::RecordId::new(now, random);
            link.time = now;
            link.parent = at.checked_sub(1).map(|before| format!("t{before}"));
            link.jti = Some(format!("t{at}"));
            link
        };
        (0..length).map(link).collect()
    };
    let trace = Trace::of(ROOT, &chain(RECORDS_MAX + 7));
    assert_eq!((trace.nodes.len(), trace.omitted), (RECORDS_MAX, 7));
    assert_eq!(trace.nodes.last().map(|node| node.depth), Some(RECORDS_MAX));
    let text = render(&trace, Style::Short);
    assert!(text.ends_with("7 more records are not shown\n"));
    assert!(text.lines().all(|line| line.chars().count() < 400));
}

/// Names come from callers: they must not write to the operator's terminal.
#[test]
fn s11_a_record_cannot_steer_the_terminal() {
    let mut call = called(2, "x\u{1b}[2J\u{202e}\r\nforged line");
    call.action = "tool.call\n".to_owned();
    call.why = Some(monitoring::Why {
        check: "a\u{7}".to_owned(),
        message: "m\u{9b}31m".to_owned(),
        needs: Some("n\u{2066}".to_owned()),
    });
    call.rules = vec!["r\u{0}\u{2800}\u{e0041}".to_owned()];
    let records = [issued(0), exchanged(1), call];
    let text = render(&Trace::of(ROOT, &records), Style::Short);
    let bad = |letter: char| letter != '\n' && letters::steers(letter);
    assert!(!text.contains(bad), "{text:?}");
    assert_eq!(text.lines().count(), 4);
    assert!(text.contains(r"x\u{1b}[2J\u{202e}\u{d}\u{a}forged line"), "{text}");
}

/// Two domains: then short names could be taken for each other.
#[test]
fn s11_names_are_short_only_where_there_is_one_domain() {
    let mut foreign = exchanged(1);
    foreign.agent = Some("spiffe://other.example/agent/invoice".to_owned());
    let text = render(&Trace::of(ROOT, &[issued(0), foreign]), Style::Short);
    assert!(
        text.contains("spiffe://other.example/agent/invoice for spiffe://demo.example/service")
    );
}

/// req: OBS-09 (part)
#[test]
fn s11_the_subjects_of_a_task_are_all_whom_it_concerns() {
    let mut call = called(2, "a");
    call.actors = vec![AGENT.to_owned(), "spiffe://demo.example/agent/before".to_owned()];
    call.subject = Some("user:ada".to_owned());
    let mut to_agent = refused_call(3, "a", "gateway::NoToken", "");
    to_agent.resource = Some("spiffe://demo.example/agent/called".to_owned());
    let found = subjects(&[call, to_agent, record(4, Event::Started)]);
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    let expect = [
        "spiffe://demo.example/agent/before",
        "spiffe://demo.example/agent/called",
        AGENT,
        BATCH,
        "user:ada",
    ];
    assert_eq!(found, expect);
    assert!(!found.iter().any(|id| id.starts_with(TOOLS)), "a resource is no subject");
}
