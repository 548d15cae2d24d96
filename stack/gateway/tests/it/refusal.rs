//! The one table from refusals to the wire.

use std::collections::BTreeSet;

use agentic::{Id, Message};
use authentication::ProofRefusal;
use gateway::{MapRefusal, PathError, Refusal, Target};
use provisioning::{Epoch, NotInForce, State};
use time::{Span, UnixTime};
use wimse::HeaderError;

use crate::scope;

const SINCE: UnixTime = UnixTime::from_seconds(9);

/// One of each, and of those inside.
fn all() -> Vec<Refusal> {
    let text = str::to_owned;
    let who = || text("spiffe://demo.example/agent/a");
    let state = NotInForce::State { state: State::Suspended, since: SINCE };
    let epoch = NotInForce::Epoch { issued: Epoch(4), dead_before: Epoch(5) };
    let path = |path: &str| Target::parse(path, None).unwrap_err();
    let rpc = Some(Id::Integer(7));
    vec![
        Refusal::Path(path("tools")),
        Refusal::Path(path("/a/../b")),
        Refusal::Path(path("/a b")),
        Refusal::Path(PathError::TooLong { bytes: 5_000 }),
        Refusal::NoResource { name: text("nothing") },
        Refusal::NoToken,
        Refusal::BadRequest { why: text("two tokens") },
        Refusal::Token { why: text("expired") },
        Refusal::Proof(ProofRefusal::WptHeader(HeaderError::Absent)),
        Refusal::Proof(ProofRefusal::NoCertificate),
        Refusal::Replayed,
        Refusal::DpopReplayed,
        Refusal::Spent,
        Refusal::NotInForce { who: who(), why: state },
        Refusal::NotInForce { who: who(), why: epoch },
        Refusal::NotRegistered { who: who() },
        Refusal::Scope { scope: scope("write").unwrap() },
        Refusal::Map(MapRefusal::NoAction { what: text("the tool `a`"), resource: text("ledger") }),
        Refusal::Map(MapRefusal::HttpMethod { method: text("PUT") }),
        Refusal::Map(MapRefusal::UnreadBody { method: text("GET") }),
        Refusal::Map(MapRefusal::RpcMethod { method: text("prompts/get"), rpc }),
        Refusal::Map(Message::parse(b"").unwrap_err().into()),
        Refusal::Map(agentic::Misread::Tools.into()),
        Refusal::Map(agentic::Mismatch::NoVersionInBody.into()),
        Refusal::Denied {
            message: text("`tool.call` on `ledger#pay` is forbidden by `no-pay`"),
            rules: vec![text("no-pay")],
            needs: None,
            policy: text("sha256:00"),
        },
        Refusal::FeedLost { heard: SINCE, bound: Span::from_seconds(10) },
    ]
}

/// req: GW-01 (part), AUTHZ-09 (part)
#[test]
fn s5_1_what_each_refusal_is_on_the_wire() {
    let rows = all().into_iter().map(|refusal| {
        let counted = if refusal.is_strangers() { "counted" } else { "recorded" };
        format!("{} | {:?} | {counted} | {refusal}", refusal.check(), refusal.status())
    });
    insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"));
}

/// Each check has a name of its own in the log, and the table above has a row of each.
#[test]
fn s11_every_refusal_has_its_own_name() {
    let names: BTreeSet<_> = all().iter().map(Refusal::check).collect();
    let kinds: BTreeSet<_> =
        all().iter().map(|one| format!("{:?}", std::mem::discriminant(one))).collect();
    assert_eq!(names.len(), kinds.len());
    assert_eq!(names.len(), 15, "a new refusal needs a row in the table");
}

/// A caller that proved who it is is in the log by name; one that proved nothing is counted.
/// req: OBS-05 (part)
#[test]
fn s11_only_strangers_are_counted() {
    for refusal in all() {
        let before_any_proof = matches!(
            refusal,
            Refusal::Path(_)
                | Refusal::NoResource { .. }
                | Refusal::NoToken
                | Refusal::BadRequest { .. }
                | Refusal::FeedLost { .. }
        );
        assert_eq!(refusal.is_strangers(), before_any_proof, "{refusal}");
    }
}
