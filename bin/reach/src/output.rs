//! What a person or a script gets to see: text or JSON on stdout, failures on stderr.

use std::io::{IsTerminal as _, Write};

use api::admin::messages::Ending;
use letters::steers;
use serde::Serialize;
use time::UnixTime;

use crate::exit::{Failure, fault_text, word};

/// Between two columns of a table.
const GAP: &str = "  ";
/// The longest cell of a table, in characters; longer text is cut.
const CELL_CHARS_MAX: usize = 100;

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    Human,
    /// JSON for scripts.
    Json,
}

/// Where output goes, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    out_in_colour: bool,
    err_in_colour: bool,
}

impl Output {
    /// Colour only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
    pub fn new(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            format,
            out_in_colour: wanted && std::io::stdout().is_terminal(),
            err_in_colour: wanted && std::io::stderr().is_terminal(),
        }
    }

    /// Whether a script reads.
    pub const fn is_json(self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Shows a value: as JSON, or as the text that `human` makes of it.
    pub fn show<T: Serialize + ?Sized>(
        self,
        value: &T,
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Human => self.text(&human()),
            Format::Json => self.text(&format!("{}\n", json(value))),
        }
    }

    /// Writes text to stdout at once. A reader that went away ends the command in silence.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::unread(),
            _ => Failure::unavailable(format!("the output cannot be written: {error}")),
        })
    }

    /// Says something beside the result, to people only.
    pub fn note(self, text: &str) {
        if self.format == Format::Human {
            // There is nobody to tell when stderr is gone.
            let _ = writeln!(std::io::stderr(), "{}", plain(text));
        }
    }

    /// Says what somebody must do for the command to go on: in every format, beside the answer.
    pub fn ask(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}", plain(text));
    }

    /// Says why the command was not done.
    pub fn fail(self, failure: &Failure) {
        if failure.problem().message.is_empty() {
            return;
        }
        let text = match self.format {
            Format::Human => self.failure(failure),
            Format::Json => json(failure.problem()),
        };
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A heading, or what matters most in a line.
    pub fn bold(self, text: &str) -> String {
        if self.out_in_colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn failure(self, failure: &Failure) -> String {
        let problem = failure.problem();
        let word = word(problem.outcome);
        let colour = if problem.outcome == Ending::Refused { 31 } else { 33 };
        let word = match self.err_in_colour {
            true => format!("\x1b[{colour}m{word}\x1b[0m"),
            false => word.to_owned(),
        };
        let mut text = format!("{word}: {}", lines(&problem.message));
        for fault in &problem.faults {
            text.push_str(&format!("\n{}", lines(&fault_text(fault))));
        }
        if let Some(hint) = &problem.hint {
            text.push_str(&format!("\n  hint: {}", lines(hint)));
        }
        if let Some(id) = &problem.audit_id {
            text.push_str(&format!("\n  audit id: {0} (`aims audit show {0}`)", plain(id)));
        }
        text
    }
}

/// Rows under headings, in columns as wide as their widest cell.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|text| (*text).to_owned()).collect()] }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|text| cut(&plain(&text))).collect());
    }

    /// The text, with a final newline.
    pub fn render(&self, output: Output) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let line = cells.join(GAP);
            let line = line.trim_end();
            text.push_str(&if at == 0 { output.bold(line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }
}

/// Names and values below each other; values of several lines are indented.
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let indent = format!("\n{:width$}{GAP}", "");
        let value = lines(&value).replace('\n', &indent);
        text.push_str(format!("{name:<width$}{GAP}{value}").trim_end());
        text.push('\n');
    }
    text
}

/// RFC 3339 in UTC, to the second: `2026-11-21T00:13:33Z`.
pub fn when(time: UnixTime) -> String {
    let text = time.to_string();
    text.get(..19).map_or(text.clone(), |seconds| format!("{seconds}Z"))
}

/// Text that stays text: what could steer a terminal or turn the direction of reading is escaped.
pub fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, letter| {
        if steers(letter) {
            plain.extend(letter.escape_unicode());
        } else {
            plain.push(letter);
        }
        plain
    })
}

/// [`plain`], line by line.
pub fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// Indented JSON, which is the same value for a program and stays text on a terminal, too.
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| format!("{{\"error\": \"not writable as JSON: {error}\"}}"));
    // RFC 8259 §7: "Any character may be escaped"; line feeds stand between members alone.
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && steers(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                plain.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            plain.push(letter);
        }
    }
    plain
}

fn cut(cell: &str) -> String {
    if cell.chars().count() <= CELL_CHARS_MAX {
        return cell.to_owned();
    }
    cell.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output =
        Output { format: Format::Human, out_in_colour: false, err_in_colour: false };

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["über-agent".to_owned(), "active".to_owned()]);
        table.row(["a".to_owned(), String::new()]);
        assert_eq!(table.render(PLAIN), "NAME        STATE\nüber-agent  active\na\n");
        let long = "x".repeat(CELL_CHARS_MAX + 1);
        table.row([long]);
        assert!(table.render(PLAIN).ends_with("x…\n"));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        for (text, expect) in [
            ("plain ünïcode → ok", "plain ünïcode → ok"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\nb", "a\\u{a}b"),
        ] {
            assert_eq!(plain(text), expect);
        }
        assert_eq!(lines("a\nb\u{7}"), "a\nb\\u{7}");
        let mut table = Table::new(&["A"]);
        table.row(["\u{1b}c".to_owned()]);
        assert!(!table.render(PLAIN).contains('\u{1b}'));
    }

    /// Defect: U+009B and U+202E of a server stood raw in JSON.
    #[test]
    fn rfc8259_7_json_does_not_steer_the_terminal_and_is_the_same_value() {
        let said = "a\u{1b}[2J\u{7f}\u{9b}2J\u{202e}b\u{200b}\u{2028}ü→\n\"\\";
        let text = json(&serde_json::json!({ said: [said] }));
        assert!(text.chars().all(|letter| letter == '\n' || !steers(letter)), "{text}");
        assert!(text.contains("ü→") && text.contains("\\u009b2J\\u202eb"), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, serde_json::json!({ said: [said] }));
    }

    #[test]
    fn instants_are_written_to_the_second() {
        assert_eq!(when(UnixTime::from_millis(1_795_220_013_999)), "2026-11-21T00:13:33Z");
    }

    #[test]
    fn values_of_several_lines_are_indented() {
        let text = pairs([("name", "a".to_owned()), ("selectors", "b\nc".to_owned())]);
        assert_eq!(text, "name       a\nselectors  b\n           c\n");
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::refused("registry::Unknown", "no agent `x`").hint("look");
        let failure = failure.recorded(Some("0193".to_owned()));
        assert_eq!(
            PLAIN.failure(&failure),
            "refused: no agent `x`\n  hint: look\n  audit id: 0193 (`aims audit show 0193`)"
        );
        let written = serde_json::to_value(failure.problem()).unwrap();
        assert_eq!(
            written,
            serde_json::json!({ "outcome": "refused", "error": "registry::Unknown",
                "message": "no agent `x`", "hint": "look", "audit_id": "0193" })
        );
    }
}
