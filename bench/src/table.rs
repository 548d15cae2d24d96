//! What was measured, beside what is wanted, for people or as JSON.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table.
    Text,
    /// One JSON document.
    Json,
}

/// One thing that was done many times, and what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    /// What was measured.
    pub(crate) what: String,
    /// What was done: how often, by how many tasks, of which size.
    pub(crate) how: String,
    /// The figures.
    pub(crate) rows: Vec<Row>,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Of what.
    pub(crate) of: String,
    /// The figure.
    pub(crate) measured: f64,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// What docs/design.md §9 wants.
    pub(crate) target: Option<Target>,
    /// Whether it is reached.
    pub(crate) met: Option<bool>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Target {
    fn is_met(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(least) => measured >= least,
            Self::AtMost(most) => measured <= most,
        }
    }
}

impl Row {
    /// A figure without a target.
    pub(crate) fn of(of: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Self { of: of.into(), measured, unit, target: None, met: None }
    }

    /// The figure against its target.
    pub(crate) fn against(mut self, target: Target) -> Self {
        self.met = Some(target.is_met(self.measured));
        self.target = Some(target);
        self
    }
}

/// The whole result.
pub(crate) fn render(found: &[Measurement], output: Output) -> String {
    match output {
        Output::Json => serde_json::to_string_pretty(found).unwrap_or_default(),
        Output::Text => table(found),
    }
}

fn table(found: &[Measurement]) -> String {
    let mut text = format!("{:<58}{:>14}  {:<8}{:>14}  met\n", "what", "measured", "", "target");
    for measurement in found {
        let _ = writeln!(text, "\n{}\n  ({})", measurement.what, measurement.how);
        for row in &measurement.rows {
            let target = match row.target {
                None => String::new(),
                Some(Target::AtLeast(least)) => format!(">= {}", figure(least)),
                Some(Target::AtMost(most)) => format!("<= {}", figure(most)),
            };
            let met = match row.met {
                None => "",
                Some(true) => "yes",
                Some(false) => "NO",
            };
            let line = format!(
                "  {:<56}{:>14}  {:<8}{target:>14}  {met}",
                row.of,
                figure(row.measured),
                row.unit
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// Three digits that count, thousands apart.
fn figure(value: f64) -> String {
    let size = value.abs();
    if size < 10.0 {
        return format!("{value:.2}");
    }
    if size < 1_000.0 {
        return format!("{value:.1}");
    }
    let whole = format!("{value:.0}");
    let mut apart = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len().saturating_sub(at);
        if at > 0 && left.is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_read_at_a_glance() {
        for (value, expect) in [
            (0.456, "0.46"),
            (12.34, "12.3"),
            (999.0, "999.0"),
            (1_000.0, "1,000"),
            (1e6, "1,000,000"),
        ] {
            assert_eq!(figure(value), expect);
        }
    }

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let met = |row: Row| row.met;
        assert_eq!(met(Row::of("a", 0.6, "").against(Target::AtLeast(0.6))), Some(true));
        assert_eq!(met(Row::of("a", 0.59, "").against(Target::AtLeast(0.6))), Some(false));
        assert_eq!(met(Row::of("a", 1.01, "s").against(Target::AtMost(1.0))), Some(false));
        assert_eq!(met(Row::of("a", 1.0, "s")), None);
        let rows = vec![Row::of("ratio", 0.5, "").against(Target::AtLeast(0.6))];
        let found = [Measurement { what: "a".to_owned(), how: "b".to_owned(), rows }];
        assert!(render(&found, Output::Text).lines().any(|line| line.ends_with("NO")));
        let json: serde_json::Value = serde_json::from_str(&render(&found, Output::Json)).unwrap();
        assert_eq!(json[0]["rows"][0]["target"]["at_least"], 0.6);
    }
}
