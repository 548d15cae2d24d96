//! How severe a vulnerability is: the base score of CVSS 3.0 and 3.1.

use std::fmt;

/// Longest vector that is read, in bytes.
const VECTOR_BYTES_MAX: usize = 256;

/// A score from 0.0 to 10.0, in tenths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u8);

impl Score {
    /// The highest there is.
    pub const MAX: Self = Self(100);

    /// Of so many tenths, 0 to 100.
    pub const fn from_tenths(tenths: u8) -> Option<Self> {
        if tenths <= 100 { Some(Self(tenths)) } else { None }
    }

    /// Tenths.
    pub const fn tenths(self) -> u8 {
        self.0
    }

    /// The base score of a vector: `CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H`. Temporal and
    /// environmental metrics do not change it.
    pub fn of_vector(vector: &str) -> Result<Self, CvssError> {
        if vector.len() > VECTOR_BYTES_MAX {
            return Err(CvssError::TooLong { bytes: vector.len() });
        }
        let metrics = vector
            .strip_prefix("CVSS:3.1/")
            .or_else(|| vector.strip_prefix("CVSS:3.0/"))
            .ok_or(CvssError::Version)?;
        Metrics::read(metrics)?.base()
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// Names and values, each name once.
struct Metrics<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Metrics<'a> {
    fn read(text: &'a str) -> Result<Self, CvssError> {
        let mut all: Vec<(&str, &str)> = Vec::new();
        for part in text.split('/') {
            let (name, value) = part.split_once(':').ok_or(CvssError::Metric)?;
            // CVSS 3.1 §6: "A vector string must not include the same metric more than once."
            if all.iter().any(|(known, _)| *known == name) {
                return Err(CvssError::Metric);
            }
            all.push((name, value));
        }
        Ok(Self(all))
    }

    /// The number that CVSS 3.1 §7.4 gives for the value of a metric.
    fn number(&self, name: &str, table: &[(&str, f64)]) -> Result<f64, CvssError> {
        // CVSS 3.1 §6: "All base metrics must be included in a vector string."
        let (_, value) =
            self.0.iter().find(|(known, _)| *known == name).ok_or(CvssError::Metric)?;
        let row = table.iter().find(|(known, _)| known == value);
        row.map(|(_, number)| *number).ok_or(CvssError::Metric)
    }

    /// CVSS 3.1 §7.1, Base Metrics Equations.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a score is 0 to 100 tenths"
    )]
    fn base(&self) -> Result<Score, CvssError> {
        let is_changed = self.number("S", &[("U", 0.0), ("C", 1.0)])? > 0.5;
        let low = if is_changed { 0.68 } else { 0.62 };
        let high = if is_changed { 0.5 } else { 0.27 };
        let vector = self.number("AV", &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?;
        let complexity = self.number("AC", &[("L", 0.77), ("H", 0.44)])?;
        let privileges = self.number("PR", &[("N", 0.85), ("L", low), ("H", high)])?;
        let interaction = self.number("UI", &[("N", 0.85), ("R", 0.62)])?;
        let impact = &[("H", 0.56), ("L", 0.22), ("N", 0.0)];
        let kept = ["C", "I", "A"]
            .iter()
            .map(|name| self.number(name, impact).map(|impact| 1.0 - impact))
            .product::<Result<f64, _>>()?;
        let sub_score = 1.0 - kept;
        let impact = if is_changed {
            7.52 * (sub_score - 0.029) - 3.25 * (sub_score - 0.02).powi(15)
        } else {
            6.42 * sub_score
        };
        if impact <= 0.0 {
            return Ok(Score(0));
        }
        let exploitability = 8.22 * vector * complexity * privileges * interaction;
        let factor = if is_changed { 1.08 } else { 1.0 };
        let exact = (factor * (impact + exploitability)).min(10.0);
        // CVSS 3.1 Appendix A: "int_input = round_to_nearest_integer (input * 100,000); if
        // (int_input % 10,000) == 0: return int_input / 100,000.0; else: return
        // (floor(int_input / 10,000) + 1) / 10.0".
        let whole = (exact * 100_000.0).round() as u32;
        Ok(Score(whole.div_ceil(10_000) as u8))
    }
}

/// Why a vector gives no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CvssError {
    #[error("a vector of {bytes} bytes, at most {VECTOR_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("not a vector of CVSS 3.0 or 3.1")]
    Version,
    #[error("a metric that is missing, unknown or there twice")]
    Metric,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVSS 3.1 Examples, first.org: one a line, with the vulnerability that it is of.
    #[test]
    fn cvss_3_1_published_examples() {
        for (vector, tenths) in [
            ("AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 61), // CVE-2013-1937
            ("AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 64), // CVE-2013-0375
            ("AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 31), // CVE-2014-3566
            ("AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 99), // CVE-2012-1516
            ("AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", 42), // CVE-2009-0783
            ("AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 88), // CVE-2012-0384
            ("AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", 78), // CVE-2015-1098
            ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 75), // CVE-2014-0160
            ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 98), // CVE-2014-6271
            ("AV:N/AC:H/PR:N/UI:N/S:C/C:N/I:H/A:N", 68), // CVE-2008-1447
            ("AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 68), // CVE-2014-2005
            ("AV:N/AC:L/PR:N/UI:N/S:C/C:N/I:L/A:N", 58), // CVE-2012-1342
            ("AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N", 54), // CVE-2014-9253
            ("AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 100),
            ("AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0),
        ] {
            for version in ["3.0", "3.1"] {
                let score = Score::of_vector(&format!("CVSS:{version}/{vector}"));
                assert_eq!(score.map(Score::tenths), Ok(tenths), "{vector}");
            }
            let more = format!("CVSS:3.1/{vector}/E:U/RL:O/RC:U/CR:L/MAV:P");
            assert_eq!(Score::of_vector(&more).map(Score::tenths), Ok(tenths), "{vector}");
        }
        assert_eq!(Score(61).to_string(), "6.1");
        assert_eq!((Score::from_tenths(100), Score::from_tenths(101)), (Some(Score::MAX), None));
    }

    #[test]
    fn cvss_3_1_6_other_texts_have_no_score() {
        let good = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
        for (text, expect) in [
            (good.replace("CVSS:3.1/", ""), CvssError::Version),
            (good.replace("3.1", "4.0"), CvssError::Version),
            (good.replace("/A:H", ""), CvssError::Metric),
            (good.replace("/A:H", "/A:X"), CvssError::Metric),
            (format!("{good}/AV:P"), CvssError::Metric),
            (format!("{good}/"), CvssError::Metric),
            (format!("{good}/{}", "a".repeat(256)), CvssError::TooLong { bytes: 301 }),
        ] {
            assert_eq!(Score::of_vector(&text), Err(expect), "{text}");
        }
    }
}
