//! A clock that shows less than the log does.

use std::sync::Arc;

use env::{Journal as _, Sealed};
use monitoring::{Component, Event, Record, RecordId};
use time::Span;
use wiring::world::SystemClock;

use crate::running::{DOMAIN, Site, ended};

/// Puts a record of the future into the server's log, as a server whose clock was ahead did.
async fn record_ahead(site: &Site, ahead: Span) {
    let keys = keys::Disk::open(&site.data.join("keys/server"), None).unwrap();
    let keys = Arc::new(keys::KeyStore::on_disk(keys));
    let origin = format!("{DOMAIN}/log/server");
    let folder = site.data.join("log/server");
    let journal = wiring::journal::open(&folder, origin, &keys, None).await.unwrap();
    let time = SystemClock::read().plus(ahead);
    let id = RecordId::new(time, [7; 10]);
    let record = Record::new(id, time, Component("server".to_owned()), Event::Started);
    journal.append(vec![Sealed::from(&record)]).await.unwrap();
    journal.log.clone().close().await;
}

/// docs/design.md §10: "A server clock that jumps back is refused for issuing; skew tolerance is one
/// setting."
#[tokio::test(flavor = "multi_thread")]
async fn s10_a_clock_behind_the_log_is_refused_until_an_operator_takes_it() {
    let site = Site::new();
    assert_eq!(site.up().stop(), 0);
    // As far as clocks may differ is no jump.
    record_ahead(&site, Span::from_seconds(3)).await;
    assert_eq!(site.up().stop(), 0);
    record_ahead(&site, Span::from_seconds(3_600)).await;
    for _ in 0..2 {
        let refused = site.refused();
        assert_eq!(refused.code, 3, "{}", refused.err);
        let said = "unavailable: issuing is unavailable: the clock jumped back by 35";
        let is_so = refused.err.starts_with(said) || refused.err.contains("by 3600 s");
        assert!(is_so, "{}", refused.err);
        assert!(refused.err.contains("\n  hint: set the clock right (NTP) "), "{}", refused.err);
    }
    let mut refused = site.command();
    refused.args(["--output", "json"]);
    let told: serde_json::Value = serde_json::from_str(&ended(refused).err).unwrap();
    assert!(told["hint"].as_str().unwrap().contains("`--clock-was-ahead`"), "{told}");

    let mut command = site.command();
    command.arg("--clock-was-ahead");
    let running = crate::running::Running::ready(command, &site.said_path());
    assert_eq!(site.aims(&["join-token", "create"]).code, 0);
    let doctor = site.aims(&["doctor"]);
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    let told = site.aims(&["audit", "tail", "--where", "event=started", "--output", "json"]);
    assert!(told.out.contains("\"action\":\"clock.taken\""), "{}", told.out);
    assert_eq!(running.stop(), 0);
    // Once is enough: the log remembers that, too.
    assert_eq!(site.up().stop(), 0);
}
