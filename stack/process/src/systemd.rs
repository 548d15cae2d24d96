//! The systemd workload attestor's pure half: the unit of a process becomes selectors (ATT-02;
//! names as SPIRE's `systemd` attestor).
//!
//! Trusting it means to trust the system's manager and whoever may write unit files.

use crate::selector::{Selector, SelectorError, Selectors};

/// The unit of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `Id`: its name, such as `nginx.service`.
    pub id: String,
    /// `FragmentPath`: the file that it was read from; empty for one without a file.
    pub fragment_path: String,
}

impl Unit {
    /// The facts as selectors.
    pub fn selectors(&self) -> Result<Selectors, SelectorError> {
        let id = format!("systemd:id:{}", self.id);
        let path = format!("systemd:fragment_path:{}", self.fragment_path);
        let path = (!self.fragment_path.is_empty()).then_some(path);
        Selector::those_that_read([id].into_iter().chain(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_unit_is_told_by_its_name_and_its_file() {
        let check = |id: &str, path: &str, expect: &[&str]| {
            let unit = Unit { id: id.to_owned(), fragment_path: path.to_owned() };
            let selectors = unit.selectors().unwrap();
            let found: Vec<_> = selectors.iter().map(Selector::as_str).collect();
            assert_eq!(found, expect);
        };
        let path = "/lib/systemd/system/nginx.service";
        let both = [&format!("systemd:fragment_path:{path}"), "systemd:id:nginx.service"];
        check("nginx.service", path, &both);
        check("session-1.scope", "", &["systemd:id:session-1.scope"]);
    }
}
