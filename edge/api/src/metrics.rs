//! Counters, and their text in the Prometheus exposition format 0.0.4, written by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use flow::watch::Seen;
use http::HeaderValue;
use provisioning::alarm::AlarmKind;
use time::UnixTime;

use crate::health::LogState;

/// The content type of the text.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// Counts since the process started. Labels are constants of the program, so their number is
/// bounded by it.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<(&'static str, u16), u64>,
    tokens: BTreeMap<(&'static str, &'static str), u64>,
    unread: BTreeMap<&'static str, u64>,
}

/// What is read off at the moment of asking.
pub(crate) struct Gauges {
    pub(crate) connections: usize,
    pub(crate) durable_commits: u64,
    pub(crate) logs: Vec<LogState>,
    pub(crate) seen: Option<Seen>,
    pub(crate) now: UnixTime,
}

impl Metrics {
    /// A request was answered.
    pub(crate) fn answered(&self, route: &'static str, status: u16) {
        self.count(|counts| counts.requests.entry((route, status)).or_default());
    }

    /// The token endpoint came to an end: `issued`, `refused` or `unavailable`, and with which
    /// error code.
    pub(crate) fn token(&self, outcome: &'static str, error: &'static str) {
        self.count(|counts| counts.tokens.entry((outcome, error)).or_default());
    }

    /// A request or connection was not read.
    pub(crate) fn unread(&self, check: &'static str) {
        self.count(|counts| counts.unread.entry(check).or_default());
    }

    fn count(&self, counter: impl FnOnce(&mut Counts) -> &mut u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counter(&mut counts);
        *counter = counter.saturating_add(1);
    }

    /// The text.
    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let name = "aims_http_requests_total";
        head(&mut text, name, "counter", "Requests answered, by route and status.");
        for ((route, status), count) in &counts.requests {
            line(&mut text, name, &[("route", route), ("status", &status.to_string())], *count);
        }
        let name = "aims_token_requests_total";
        head(&mut text, name, "counter", "Requests to the token endpoint, by outcome and error.");
        for ((outcome, error), count) in &counts.tokens {
            line(&mut text, name, &[("outcome", outcome), ("error", error)], *count);
        }
        let name = "aims_unread_total";
        head(&mut text, name, "counter", "Requests and connections that were not read, by check.");
        for (check, count) in &counts.unread {
            line(&mut text, name, &[("check", check)], *count);
        }
        drop(counts);
        let name = "aims_connections";
        head(&mut text, name, "gauge", "Open connections.");
        line(&mut text, name, &[], u64::try_from(gauges.connections).unwrap_or(u64::MAX));
        let name = "aims_durable_commits_total";
        head(&mut text, name, "counter", "Commits that were acknowledged.");
        line(&mut text, name, &[], gauges.durable_commits);
        let name = "aims_log_entries";
        head(&mut text, name, "gauge", "Durable entries of each audit log.");
        for log in &gauges.logs {
            line(&mut text, name, &[("log", &log.name)], log.entries);
        }
        if let Some(seen) = &gauges.seen {
            watched(&mut text, seen, gauges.now);
        }
        text
    }
}

/// What has to be renewed in time. Whoever reads this reads no names: neither nodes nor peers.
fn watched(text: &mut String, seen: &Seen, now: UnixTime) {
    let name = "aims_alarms";
    head(text, name, "gauge", "What is not renewed in time, by kind: `aims doctor` names it.");
    for kind in AlarmKind::ALL {
        let count = seen.alarms.iter().filter(|alarm| alarm.kind == kind).count();
        line(text, name, &[("kind", kind.name())], u64::try_from(count).unwrap_or(u64::MAX));
    }
    let name = "aims_nodes";
    head(text, name, "gauge", "Nodes and gateways in force whose credential lives.");
    line(text, name, &[], u64::try_from(seen.nodes).unwrap_or(u64::MAX));
    if let Some(first) = seen.first_end {
        let name = "aims_first_node_credential_ends_seconds";
        head(text, name, "gauge", "Seconds until the first of their credentials ends.");
        line(text, name, &[], first.since(now).seconds());
    }
    if let Some(first) = seen.alarms.iter().filter_map(|alarm| alarm.ends).min() {
        let name = "aims_first_alarm_ends_seconds";
        head(text, name, "gauge", "Seconds until something ends by an alarm.");
        line(text, name, &[], first.since(now).seconds());
    }
    if let Some(oldest) = seen.oldest_bundle {
        let name = "aims_federation_bundle_age_seconds";
        head(text, name, "gauge", "Age of the oldest bundle of another trust domain.");
        line(text, name, &[], now.since(oldest).seconds());
    }
    let name = "aims_signing_key_ends_seconds";
    head(text, name, "gauge", "Seconds until the key that signs now ends, by purpose.");
    for (purpose, until) in &seen.keys {
        line(text, name, &[("purpose", purpose.name())], until.since(now).seconds());
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
    let labels = labels.collect::<Vec<_>>().join(",");
    let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
    let _ = writeln!(text, "{name}{labels} {value}");
}

/// Exposition format: "label_value can be any sequence of UTF-8 characters, but the backslash (\),
/// double-quote ("), and line feed (\n) characters have to be escaped".
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_exposition_format() {
        let metrics = Metrics::default();
        metrics.answered("/token", 200);
        metrics.answered("/token", 200);
        metrics.answered("other", 404);
        metrics.token("issued", "");
        metrics.token("refused", "invalid_scope");
        metrics.unread("form");
        let logs = vec![LogState {
            name: "gateway:\"a\"\\\n".to_owned(),
            first: 0,
            entries: 7,
            promised: 6,
        }];
        let (seen, now) = (None, UnixTime::EPOCH);
        let text = metrics.text(&Gauges { connections: 2, durable_commits: 9, logs, seen, now });
        insta::assert_snapshot!(text, @r#"
        # HELP aims_http_requests_total Requests answered, by route and status.
        # TYPE aims_http_requests_total counter
        aims_http_requests_total{route="/token",status="200"} 2
        aims_http_requests_total{route="other",status="404"} 1
        # HELP aims_token_requests_total Requests to the token endpoint, by outcome and error.
        # TYPE aims_token_requests_total counter
        aims_token_requests_total{outcome="issued",error=""} 1
        aims_token_requests_total{outcome="refused",error="invalid_scope"} 1
        # HELP aims_unread_total Requests and connections that were not read, by check.
        # TYPE aims_unread_total counter
        aims_unread_total{check="form"} 1
        # HELP aims_connections Open connections.
        # TYPE aims_connections gauge
        aims_connections 2
        # HELP aims_durable_commits_total Commits that were acknowledged.
        # TYPE aims_durable_commits_total counter
        aims_durable_commits_total 9
        # HELP aims_log_entries Durable entries of each audit log.
        # TYPE aims_log_entries gauge
        aims_log_entries{log="gateway:\"a\"\\\n"} 7
        "#);
    }

    /// req: PROV-09 (part)
    #[test]
    fn s8_what_must_be_renewed_stands_in_the_metrics_without_names() {
        let now = UnixTime::from_seconds(1_000);
        let alarm = |kind, subject: &str| provisioning::alarm::Alarm {
            kind,
            subject: subject.to_owned(),
            since: now,
            ends: Some(UnixTime::from_seconds(1_600)),
            why: "secret".to_owned(),
        };
        let lifetimes = credential::policy::Lifetimes::default();
        let seen = Seen {
            alarms: vec![
                alarm(AlarmKind::NodeLate, "spiffe://a/n"),
                alarm(AlarmKind::RenewalFailing, "spiffe://a/b"),
                alarm(AlarmKind::RenewalFailing, "spiffe://a/c"),
            ],
            outage: provisioning::alarm::Outage::of(&lifetimes, time::Span::from_seconds(10)),
            nodes: 3,
            first_end: Some(UnixTime::from_seconds(1_600)),
            oldest_bundle: Some(UnixTime::from_seconds(700)),
            keys: vec![(credential::Purpose::Wit, UnixTime::from_seconds(5_000))],
            gone: Vec::new(),
        };
        let mut text = String::new();
        watched(&mut text, &seen, now);
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expect = [
            "aims_alarms{kind=\"node_late\"} 1",
            "aims_alarms{kind=\"node_silent\"} 0",
            "aims_alarms{kind=\"renewal_failing\"} 2",
            "aims_alarms{kind=\"key_overdue\"} 0",
            "aims_alarms{kind=\"bundle_failing\"} 0",
            "aims_nodes 3",
            "aims_first_node_credential_ends_seconds 600",
            "aims_first_alarm_ends_seconds 600",
            "aims_federation_bundle_age_seconds 300",
            "aims_signing_key_ends_seconds{purpose=\"wit\"} 4000",
        ];
        assert_eq!(values, expect);
        assert!(!text.contains("spiffe://") && !text.contains("secret"));
    }
}
