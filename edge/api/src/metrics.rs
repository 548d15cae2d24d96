//! Counters, and their text in the Prometheus exposition format 0.0.4, written by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use http::HeaderValue;

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
        text
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
        let text = metrics.text(&Gauges { connections: 2, durable_commits: 9, logs });
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
}
