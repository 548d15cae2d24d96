//! What an edge knows of a browser.

/// The longest name that a browser gives itself, in bytes, as sessions keep it.
const AGENT_BYTES_MAX: usize = 120;
/// The longest place in this server, in bytes.
const PLACE_BYTES_MAX: usize = 512;

/// A browser that asks for something.
#[derive(Clone, Copy, Debug)]
pub struct Browser<'a> {
    /// What names it: a random value that it alone has (docs/decisions/0019). Ceremonies that one
    /// browser began, no other ends.
    pub name: &'a str,
    /// The cookie of its session, if it has one. Nothing of it is believed.
    pub session: Option<&'a str>,
    /// Where it calls from, for records and limits.
    pub source: &'a str,
    /// What it calls itself.
    pub agent: &'a str,
}

impl Browser<'_> {
    /// What it calls itself, cut short, as its owner tells one from another by.
    pub(crate) fn called(&self) -> String {
        let cut = self.agent.get(..self.agent.floor_char_boundary(AGENT_BYTES_MAX));
        cut.unwrap_or_default().chars().filter(|letter| !letter.is_control()).collect()
    }
}

/// A page of this server, where somebody goes on after signing in: a path, with a query if it has
/// one. It can name no other origin, so that no redirect leads away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, NotAPlace> {
        // `//host` and `/\host` are other origins to browsers; what is not visible ASCII may be
        // normalised by them (URL Standard, "Remove all ASCII tab or newline").
        let fits = text.starts_with('/')
            && !text.starts_with("//")
            && text.len() <= PLACE_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAPlace) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no page of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no path of this server")]
pub struct NotAPlace;

#[cfg(test)]
mod tests {
    use super::*;

    /// An open redirect cannot be written down.
    #[test]
    fn rfc9700_4_11_a_place_is_of_this_server() {
        for good in ["/", "/console", "/interaction/abc?x=1&y=%2F"] {
            assert_eq!(Place::parse(good).map(|place| place.0), Ok(good.to_owned()));
        }
        let long = format!("/{}", "a".repeat(PLACE_BYTES_MAX));
        for bad in [
            "",
            "console",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a b",
            "/a\tb",
            "\t//evil.example",
            "/a\r\nset-cookie:x",
            "/ä",
            "/a#b",
            &long,
        ] {
            assert_eq!(Place::parse(bad), Err(NotAPlace), "{bad:?}");
        }
    }
}
