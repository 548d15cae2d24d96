//! Which scope is asked for (MCP, scope selection strategy and step-up authorization flow).

use std::collections::BTreeSet;

use oauth::discovery::FoundServer;
use oauth::{Scope, ScopeSet};

use crate::at::Wish;
use crate::at::saved::Grant;
use crate::at::way::Way;
use crate::behalf::OFFLINE;
use crate::exit::Failure;

/// How often in a row the same is asked for that was not granted. MCP: "Retry the original request
/// with the new authorization no more than a few times".
const STEP_UPS_MAX: u8 = 2;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    scopes: BTreeSet<String>,
    /// How often in a row it was asked for in vain.
    pub(crate) step_ups: u8,
    /// The resource refused the last token, which had too little, or was none.
    is_anew: bool,
}

impl Wanted {
    /// Chooses it.
    pub(crate) fn of(
        way: &Way,
        before: Option<&Grant>,
        wish: Wish<'_>,
        server: Option<&FoundServer>,
    ) -> Result<Self, Failure> {
        let challenge = way.challenge.as_ref();
        let text = challenge.and_then(|one| one.get("scope")).unwrap_or_default();
        let challenged = split(text).map_err(|why| {
            let message = format!("`scope` of `{text}`: {why}");
            Failure::refused("discovery::Challenge", message)
        })?;
        let is_step_up = challenge.and_then(|one| one.get("error")) == Some("insufficient_scope");
        let refresh = wish.at.save.is_some() && !wish.at.own && wish.at.assertion.is_none();
        let offers =
            |server: &FoundServer| server.scopes_supported.iter().any(|one| one == OFFLINE);
        choose(&Facts {
            challenged,
            is_step_up,
            supported: way.scopes.iter().cloned().collect(),
            given: wish.scopes.iter().map(Scope::to_string).collect(),
            before,
            offline: refresh && server.is_some_and(offers),
        })
    }

    /// The parameter; empty where there is none.
    pub(crate) fn text(&self) -> String {
        self.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Whether what was granted before is enough.
    pub(crate) fn within(&self, grant: &Grant) -> bool {
        let granted: BTreeSet<_> = grant.granted.split(' ').collect();
        let offline = |scope: &&String| scope.as_str() != OFFLINE;
        !self.is_anew
            && self.scopes.iter().filter(offline).all(|scope| granted.contains(scope.as_str()))
    }
}

/// What the choice depends on.
struct Facts<'a> {
    challenged: BTreeSet<String>,
    is_step_up: bool,
    supported: BTreeSet<String>,
    given: BTreeSet<String>,
    before: Option<&'a Grant>,
    offline: bool,
}

fn choose(facts: &Facts<'_>) -> Result<Wanted, Failure> {
    // MCP: "Use `scope` parameter from the initial `WWW-Authenticate` header in the 401 response,
    // if provided"; else "use all scopes defined in `scopes_supported`".
    let mut scopes: BTreeSet<String> = match (facts.given.is_empty(), facts.challenged.is_empty()) {
        (false, _) => facts.given.union(&facts.challenged).cloned().collect(),
        (true, false) => facts.challenged.clone(),
        (true, true) => facts.supported.clone(),
    };
    let step_ups = match facts.before.filter(|_| facts.is_step_up) {
        Some(before) => step_up(&facts.challenged, before)?,
        None => 0,
    };
    // MCP: "computing the union of the client's previously requested scope set and the scopes from
    // the current challenge."
    if let Some(before) = facts.before.filter(|_| !facts.challenged.is_empty()) {
        scopes.extend(before.asked.split(' ').filter(|one| !one.is_empty()).map(str::to_owned));
    }
    // MCP: clients "MAY add `offline_access` to the `scope` parameter [...] when the
    // Authorization Server metadata contains it in `scopes_supported`". OpenID Connect Core 1.0
    // §11 has it beside other scopes alone.
    if facts.offline && !scopes.is_empty() {
        scopes.insert(OFFLINE.to_owned());
    }
    Ok(Wanted { scopes, step_ups, is_anew: facts.is_step_up })
}

/// MCP: "Clients SHOULD implement retry limits and SHOULD track scope upgrade attempts".
fn step_up(challenged: &BTreeSet<String>, before: &Grant) -> Result<u8, Failure> {
    let has = |text: &str| {
        let all: BTreeSet<_> = text.split(' ').collect();
        challenged.iter().all(|scope| all.contains(scope.as_str()))
    };
    let text = challenged.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let refused = |why: String| {
        Failure::refused("discovery::StepUp", why).hint(
            "ask who runs the resource: more of the same will not help; `--scope` asks for another",
        )
    };
    if has(&before.granted) {
        let why = format!("the resource asks for `{text}`, which the last token had");
        return Err(refused(why));
    }
    if !has(&before.asked) {
        return Ok(0);
    }
    if before.step_ups >= STEP_UPS_MAX {
        let times = before.step_ups.saturating_add(1);
        let why = format!("`{text}` was asked for {times} times in a row, and not granted");
        return Err(refused(why));
    }
    Ok(before.step_ups.saturating_add(1))
}

fn split(text: &str) -> Result<BTreeSet<String>, oauth::NotAScope> {
    if text.is_empty() {
        return Ok(BTreeSet::new());
    }
    Ok(ScopeSet::parse(text)?.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn grant(asked: &str, granted: &str, step_ups: u8) -> Grant {
        Grant {
            issuer: "https://i.example".to_owned(),
            client_id: "c".to_owned(),
            asked: asked.to_owned(),
            granted: granted.to_owned(),
            step_ups,
            refresh_token: None,
        }
    }

    struct Case<'a> {
        challenged: &'a str,
        supported: &'a str,
        given: &'a str,
        offline: bool,
        expect: &'a str,
    }

    /// req: AUTHZ-26 (part)
    #[test]
    fn mcp_scope_selection_strategy() {
        let plain = Case { challenged: "", supported: "", given: "", offline: false, expect: "" };
        for case in [
            Case { challenged: "a b", supported: "c", expect: "a b", ..plain },
            Case { supported: "d c", expect: "c d", ..plain },
            Case { offline: true, ..plain },
            Case { supported: "c", given: "x", expect: "x", ..plain },
            Case { challenged: "a", supported: "c", given: "x", expect: "a x", ..plain },
            Case { supported: "c", offline: true, expect: "c offline_access", ..plain },
        ] {
            let wanted = choose(&Facts {
                challenged: set(case.challenged),
                is_step_up: false,
                supported: set(case.supported),
                given: set(case.given),
                before: None,
                offline: case.offline,
            });
            assert_eq!(wanted.ok().unwrap().text(), case.expect);
        }
    }

    /// req: AUTHZ-26 (part)
    #[test]
    fn mcp_step_up_is_a_union_and_ends() {
        let step = |challenged: &str, before: &Grant| {
            let wanted = choose(&Facts {
                challenged: set(challenged),
                is_step_up: true,
                supported: set("z"),
                given: set(""),
                before: Some(before),
                offline: false,
            });
            wanted.map(|one| (one.text(), one.step_ups)).map_err(|one| one.problem().error.clone())
        };
        let refused = Err("discovery::StepUp".to_owned());
        assert_eq!(step("b", &grant("a", "a", 0)), Ok(("a b".to_owned(), 0)));
        assert_eq!(step("b", &grant("a b", "a", 0)), Ok(("a b".to_owned(), 1)));
        assert_eq!(step("b", &grant("a b", "a", 1)), Ok(("a b".to_owned(), 2)));
        assert_eq!(step("b", &grant("a b", "a", 2)), refused);
        assert_eq!(step("b", &grant("a b", "a b", 0)), refused);
    }

    #[test]
    fn a_refresh_token_serves_what_was_granted() {
        let wanted = |scopes: &str, is_anew| Wanted { scopes: set(scopes), step_ups: 0, is_anew };
        let before = grant("a b", "a b", 0);
        assert!(wanted("a", false).within(&before));
        assert!(wanted("a b offline_access", false).within(&before));
        assert!(wanted("", false).within(&before));
        assert!(!wanted("a c", false).within(&before));
        assert!(!wanted("a", true).within(&before));
    }
}
