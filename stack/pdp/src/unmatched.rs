//! Rules that can never match, because whom or what they name cannot be.
//!
//! In scope: what a rule says of entities, in its scope and in its conditions, given who cannot be.
//! Not here: who that is (`policy`), and what Cedar's validator finds, which is a fault already.

use cedar_policy::{Policy, PolicyId};
use serde_json::Value;

use crate::access::{Access, RuleInfo};

/// How deep a condition is looked into: what is deeper is taken for possible.
const DEPTH_MAX: usize = 64;

/// An entity that a rule names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Its kind without the namespace: `Agent`.
    pub kind: String,
    pub id: String,
}

/// A rule that names entities which cannot be.
#[derive(Debug, Clone)]
pub struct Unmatched<'a> {
    pub rule: RuleInfo<'a>,
    /// Those.
    pub named: Vec<Named>,
    /// Whether the rule can never match for that.
    pub is_dead: bool,
}

impl Access {
    /// The rules that name entities of which `cannot_be` holds, sorted by id.
    pub fn unmatched(&self, cannot_be: impl Fn(&Named) -> bool) -> Vec<Unmatched<'_>> {
        let mut found = Vec::new();
        for rule in self.rules() {
            let Some(policy) = self.whole.policy(&PolicyId::new(rule.id)) else { continue };
            let named = named(policy).into_iter().filter(&cannot_be).collect::<Vec<_>>();
            if !named.is_empty() {
                let is_dead = is_dead(policy, &named);
                found.push(Unmatched { rule, named, is_dead });
            }
        }
        found
    }
}

/// The entities that a rule names, save actions, whose names Cedar's validator knows.
fn named(policy: &Policy) -> Vec<Named> {
    let literals = policy.entity_literals().into_iter();
    let literals = literals.filter(|one| one.type_name().basename() != "Action");
    let mut all: Vec<_> = literals
        .map(|one| Named {
            kind: one.type_name().basename().to_owned(),
            id: one.id().unescaped().to_owned(),
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Whether the scope or a condition is false, whatever is asked.
fn is_dead(policy: &Policy, named: &[Named]) -> bool {
    let Ok(written) = policy.to_json() else { return false };
    let scope = ["principal", "resource"].into_iter().filter_map(|name| written.get(name));
    let conditions = written.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let is_false = |condition: &Value| {
        let holds = condition.get("body").and_then(|body| holds(body, named, DEPTH_MAX));
        match condition.get("kind").and_then(Value::as_str) {
            Some("unless") => holds == Some(true),
            _ => holds == Some(false),
        }
    };
    scope.into_iter().any(|one| of_scope(one, named)) || conditions.into_iter().any(is_false)
}

/// Whether `== X`, `in X` or `is T in X` names one of them.
fn of_scope(scope: &Value, named: &[Named]) -> bool {
    let inner = scope.get("in").and_then(|inner| inner.get("entity"));
    scope.get("entity").or(inner).is_some_and(|entity| is_of(entity, named))
}

/// What an expression comes to whatever is asked; `None` where that depends.
fn holds(expression: &Value, named: &[Named], depth: usize) -> Option<bool> {
    let depth = depth.checked_sub(1)?;
    let (operator, inner) = expression.as_object()?.iter().next()?;
    let side = |name: &str| inner.get(name).and_then(|one| holds(one, named, depth));
    let other = |one: &str, other: &str| {
        let is_asked_of = inner.get(one).is_some_and(|one| one.get("Var").is_some());
        is_asked_of && inner.get(other).is_some_and(|other| are_all_of(other, named))
    };
    match operator.as_str() {
        "Value" => inner.as_bool(),
        "!" => side("arg").map(|holds| !holds),
        "&&" => match (side("left"), side("right")) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        "||" => match (side("left"), side("right")) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        "==" => (other("left", "right") || other("right", "left")).then_some(false),
        "!=" => (other("left", "right") || other("right", "left")).then_some(true),
        "in" => other("left", "right").then_some(false),
        "contains" => other("right", "left").then_some(false),
        _ => None,
    }
}

/// Whether an expression is one of them, or a set of them alone.
fn are_all_of(expression: &Value, named: &[Named]) -> bool {
    if let Some(all) = expression.get("Set").and_then(Value::as_array) {
        return !all.is_empty() && all.iter().all(|one| are_all_of(one, named));
    }
    let entity = expression.get("Value").and_then(|value| value.get("__entity"));
    entity.is_some_and(|entity| is_of(entity, named))
}

fn is_of(entity: &Value, named: &[Named]) -> bool {
    let text = |name: &str| entity.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type").rsplit("::").next().unwrap_or_default();
    named.iter().any(|one| one.kind == kind && one.id == text("id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a rule with this scope and condition: whether it is dead; `None` if it names nobody of
    /// those who cannot be.
    fn dead(rule: &str) -> Option<bool> {
        let text = format!("@id(\"a\") {rule};");
        let access = Access::compile(&[("a.cedar", &text)]).unwrap();
        let found = access.unmatched(|one| one.id.ends_with("nobody"));
        found.first().map(|one| one.is_dead)
    }

    /// req: POL-01 (part)
    #[test]
    fn s12_a_rule_that_names_nobody_is_dead_where_it_cannot_hold_otherwise() {
        let agent = "Aims::Agent::\"nobody\"";
        let other = "Aims::Agent::\"a\"";
        let when = |text: &str| format!("forbid(principal, action, resource) when {{ {text} }}");
        let unless =
            |text: &str| format!("forbid(principal, action, resource) unless {{ {text} }}");
        let is = |rule: &str, expect: Option<bool>| assert_eq!(dead(rule), expect, "{rule}");
        is("permit(principal, action, resource)", None);
        is(&format!("permit(principal == {other}, action, resource)"), None);
        is(&format!("permit(principal == {agent}, action, resource)"), Some(true));
        is(&format!("permit(principal in {agent}, action, resource)"), Some(true));
        is(&format!("permit(principal is Aims::Agent in {agent}, action, resource)"), Some(true));
        let audience = "Aims::Audience::\"nobody\"";
        is(&format!("forbid(principal, action, resource in {audience})"), Some(true));
        for (condition, expect) in [
            (format!("principal == {agent}"), true),
            (format!("{agent} == principal"), true),
            (format!("principal in [{agent}]"), true),
            (format!("principal is Aims::Agent && [{agent}].contains(principal)"), true),
            (format!("principal in [{agent}, {other}]"), false),
            (format!("principal == {agent} && context.autonomous"), true),
            (format!("principal == {agent} || context.autonomous"), false),
            (format!("principal != {agent}"), false),
            (format!("!(principal != {agent})"), true),
            (format!("if context.autonomous then principal == {agent} else true"), false),
        ] {
            is(&when(&condition), Some(expect));
        }
        // `unless` of what never holds is no condition at all.
        is(&unless(&format!("principal == {agent}")), Some(false));
        is(&unless(&format!("principal != {agent}")), Some(true));
    }
}
