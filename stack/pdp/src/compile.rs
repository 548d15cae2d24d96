//! From files of rules to [`Access`]: parse, check against the schema, index.
//!
//! In scope: every reason to refuse a rule, with its place and what to do. Not here: reading
//! files, and the hash of the set (`stack/policy`).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr as _;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Schema,
    ValidationMode, Validator,
};

use crate::access::{Access, Action, Names};
use crate::question::{PrincipalKind, ResourceKind};
use crate::rule::{Effect, Obligation, Rule};
use crate::shape::{Applies, Shapes};
use crate::slices::Slices;
use crate::{ANNOTATION_BYTES_MAX, FILE_BYTES_MAX, RULE_ID_BYTES_MAX, RULES_MAX, SCHEMA};

/// The annotations that mean something here.
const ANNOTATIONS: [&str; 4] = ["id", "needs", "reason", "obligations"];
/// What to do where Cedar has no advice of its own.
const SEE_GRAMMAR: &str = "write `@id(\"…\") permit(principal, action, resource) when { … };`";
const LIKELY_MISTAKE: &str = "remove the rule or make it possible; write plain characters";
const SEE_SCHEMA: &str = "compare the rule with the schema: names, attributes and their types";

/// A rule that was refused, where it stands and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyFault {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    pub message: String,
    pub fix: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for PolicyFault {}

/// See [`Access::compile`].
pub(crate) fn compile(files: &[(&str, &str)]) -> Result<Access, Vec<PolicyFault>> {
    let schema = own_schema().map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let mut found = Found::default();
    for (file, text) in files {
        found.read(&File { name: file, text }, &mut faults);
    }
    found.validate(files, &schema.schema, &mut faults);
    if !faults.is_empty() {
        faults.sort();
        // Cedar tells a fault once for each kind of principal and action.
        faults.dedup_by(|a, b| (&a.file, a.line, a.column) == (&b.file, b.line, b.column));
        return Err(faults);
    }
    found.index(schema).map_err(|fault| vec![fault])
}

/// One file of rules.
#[derive(Clone, Copy)]
struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    /// A fault at byte `offset`.
    fn fault(&self, offset: usize, message: impl Into<String>, fix: &str) -> PolicyFault {
        let (line, column) = self.place(offset);
        let (file, message) = (self.name.to_owned(), message.into());
        PolicyFault { file, line, column, message, fix: fix.to_owned() }
    }

    /// A fault that Cedar found.
    ///
    /// Without a place of its own it is at byte `start`; without advice of its own it gets `fix`.
    fn fault_of(&self, error: &DetailedError, start: usize, fix: &str) -> PolicyFault {
        let offset = error.source_locations.first().map_or(start, |label| label.loc.start);
        let label = error.source_locations.first().and_then(|label| label.label.as_deref());
        let message = match label {
            Some(label) => format!("{}: {label}", error.message),
            None => error.message.clone(),
        };
        self.fault(offset, message, error.help.as_deref().unwrap_or(fix))
    }

    /// Line and column of byte `offset`.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        (line, column)
    }
}

/// Rules found so far, by id, with the byte of their file at which they begin.
#[derive(Default)]
struct Found {
    rules: BTreeMap<String, (Rule, Policy, usize)>,
}

impl Found {
    /// Adds the rules of one file.
    fn read(&mut self, file: &File<'_>, faults: &mut Vec<PolicyFault>) {
        if file.text.len() > FILE_BYTES_MAX {
            let message = format!("file is longer than {FILE_BYTES_MAX} bytes");
            return faults.push(file.fault(0, message, "split the file"));
        }
        let parsed = match PolicySet::from_str(file.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                let errors = errors.iter().map(DetailedError::from);
                return faults.extend(errors.map(|error| file.fault_of(&error, 0, SEE_GRAMMAR)));
            }
        };
        for template in parsed.templates() {
            let message = format!("`{}` has slots: templates are not used here", template.id());
            faults.push(file.fault(0, message, "write the entity in the place of the slot"));
        }
        let mut policies: Vec<_> =
            parsed.policies().map(|policy| (start(policy), policy)).collect();
        policies.sort_by_key(|(start, _)| *start);
        for (start, policy) in policies {
            match self.rule(file, policy, start) {
                Ok((rule, policy)) => {
                    self.rules.insert(rule.id.clone(), (rule, policy, start));
                }
                Err(fault) => faults.push(fault),
            }
        }
    }

    /// What one policy says of itself.
    fn rule(
        &self,
        file: &File<'_>,
        policy: &Policy,
        start: usize,
    ) -> Result<(Rule, Policy), PolicyFault> {
        let fault = |message: String, fix: &str| Err(file.fault(start, message, fix));
        let effect = match policy.effect() {
            cedar_policy::Effect::Permit => Effect::Permit,
            cedar_policy::Effect::Forbid => Effect::Forbid,
        };
        let Some(id) = policy.annotation("id") else {
            return fault("rule has no `@id`".into(), "put `@id(\"a-short-name\")` above the rule");
        };
        if !is_id(id) {
            let fix = "use letters, digits, `.`, `_` and `-`, at most 128 of them";
            return fault(format!("`@id` `{}` is not allowed", shown(id)), fix);
        }
        if let Some((other, ..)) = self.rules.get(id) {
            let message = format!("`@id` `{id}` is taken by {}:{}", other.file, other.line);
            return fault(message, "give one of the two another `@id`");
        }
        if self.rules.len() >= RULES_MAX {
            return fault(format!("more than {RULES_MAX} rules"), "merge rules that differ little");
        }
        let obligations = annotations(policy, effect)
            .map_err(|(message, fix)| file.fault(start, message, fix))?;
        let text = |name: &str| policy.annotation(name).map(str::to_owned);
        let rule = Rule {
            id: id.to_owned(),
            effect,
            file: file.name.to_owned(),
            line: file.place(start).0,
            needs: text("needs"),
            reason: text("reason"),
            obligations,
        };
        Ok((rule, policy.new_id(PolicyId::new(id))))
    }

    /// All rules in one set, by their own ids.
    fn whole(&self) -> Result<PolicySet, PolicyFault> {
        PolicySet::from_policies(self.rules.values().map(|(_, policy, _)| policy.clone()))
            .map_err(|error| File { name: "", text: "" }.fault(0, error.to_string(), SEE_SCHEMA))
    }

    /// Checks the rules against the schema.
    fn validate(&self, files: &[(&str, &str)], schema: &Schema, faults: &mut Vec<PolicyFault>) {
        let whole = match self.whole() {
            Ok(whole) => whole,
            Err(fault) => return faults.push(fault),
        };
        let result = Validator::new(schema.clone()).validate(&whole, ValidationMode::Strict);
        let errors: Vec<_> = result
            .validation_errors()
            .map(|error| (error.policy_id(), DetailedError::from(error), SEE_SCHEMA))
            .collect();
        // A warning is a rule that can never apply, or text that looks like other text: a mistake,
        // and of a rule with an error mostly its consequence.
        let warnings: Vec<_> = result
            .validation_warnings()
            .filter(|warning| errors.iter().all(|(id, ..)| *id != warning.policy_id()))
            .map(|warning| (warning.policy_id(), DetailedError::from(warning), LIKELY_MISTAKE))
            .collect();
        for (id, error, fix) in errors.iter().chain(&warnings) {
            let Some((rule, _, start)) = self.rules.get(id.as_ref() as &str) else { continue };
            let text = files.iter().find(|(name, _)| *name == rule.file).map_or("", |(_, t)| t);
            faults.push(File { name: &rule.file, text }.fault_of(error, *start, fix));
        }
    }

    /// Cuts the rules into slices.
    fn index(self, own: OwnSchema) -> Result<Access, PolicyFault> {
        let whole = self.whole()?;
        let mut actions = HashMap::new();
        for action in own.schema.actions() {
            let mut slices = Slices::default();
            for (rule, policy, _) in self.rules.values() {
                if covers(&policy.action_constraint(), action) {
                    slices.add(policy).map_err(|error| {
                        let file = File { name: &rule.file, text: "" };
                        file.fault(0, error.to_string(), SEE_SCHEMA)
                    })?;
                }
            }
            let applies = Applies::read(&own.schema, action);
            let name = action.id().unescaped().to_owned();
            actions.insert(name, Action { uid: action.clone(), applies, slices });
        }
        let rules = self.rules.into_iter().map(|(id, (rule, ..))| (id, rule)).collect();
        Ok(Access { names: own.names, shapes: own.shapes, rules, actions, whole })
    }
}

/// Our own schema, with its names of our kinds.
struct OwnSchema {
    schema: Schema,
    names: Names,
    shapes: Shapes,
}

/// Reads [`SCHEMA`]. It is part of the program, and a test reads it.
fn own_schema() -> Result<OwnSchema, PolicyFault> {
    let file = File { name: "aims.cedarschema", text: SCHEMA };
    let fault = |message: String| file.fault(0, message, "this is a defect of the program");
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|error| fault(error.to_string()))?;
    let name = |name: &str| {
        EntityTypeName::from_str(&format!("Aims::{name}")).map_err(|error| fault(error.to_string()))
    };
    let principals = PrincipalKind::ALL.into_iter().map(|kind| Ok((kind, name(kind.name())?)));
    let resources = ResourceKind::ALL.into_iter().map(|kind| Ok((kind, name(kind.name())?)));
    let names = Names {
        principals: principals.collect::<Result<_, _>>()?,
        resources: resources.collect::<Result<_, _>>()?,
    };
    let shapes = Shapes::read(SCHEMA).map_err(fault)?;
    Ok(OwnSchema { schema, names, shapes })
}

/// Checks the annotations of a rule; what its `@obligations` are, or what is wrong and what to do.
fn annotations(policy: &Policy, effect: Effect) -> Result<Vec<Obligation>, (String, &'static str)> {
    for (name, value) in policy.annotations() {
        // A name that is misspelt would be passed over in silence.
        if !ANNOTATIONS.contains(&name) {
            let fix = "use `@id`, `@needs`, `@reason` or `@obligations`";
            return Err((format!("unknown annotation `@{}`", shown(name)), fix));
        }
        if value.is_empty() || value.len() > ANNOTATION_BYTES_MAX {
            let fix = "write between 1 and 512 bytes";
            return Err((format!("`@{name}` is empty or too long"), fix));
        }
        if effect == Effect::Forbid && (name == "needs" || name == "obligations") {
            let message = format!("`@{name}` has no meaning on `forbid`");
            return Err((message, "say why with `@reason`"));
        }
    }
    let fix = "use `approval`, `record-fully`, `step-up=ACR`, `narrow-scope=SCOPE` or \
               `redact=MEMBER`, separated by commas";
    match policy.annotation("obligations") {
        None => Ok(Vec::new()),
        Some(text) => Obligation::parse_all(text).map_err(|message| (message, fix)),
    }
}

/// Whether a scope's action constraint matches `action`. The schema has no groups of actions.
fn covers(constraint: &ActionConstraint, action: &EntityUid) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::In(actions) => actions.contains(action),
        ActionConstraint::Eq(other) => other == action,
    }
}

/// The byte of its file at which a policy begins.
fn start(policy: &Policy) -> usize {
    policy.as_ref().loc().map_or(0, |loc| loc.span.offset())
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !id.is_empty() && id.len() <= RULE_ID_BYTES_MAX && id.bytes().all(allowed)
}

/// As much of a name as a fault repeats.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Rules that were not checked against the schema: for tests of what such rules do.
#[cfg(test)]
pub(crate) fn unchecked(text: &str) -> Access {
    let mut found = Found::default();
    let mut faults = Vec::new();
    found.read(&File { name: "t.cedar", text }, &mut faults);
    assert_eq!(faults, []);
    found.index(own_schema().unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(files: &[(&str, &str)]) -> Vec<PolicyFault> {
        Access::compile(files).expect_err("compiled")
    }

    /// `text` has one fault, at this place, of this message and with this advice.
    fn check(text: &str, place: (usize, usize), message: &str, fix: &str) {
        let faults = faults(&[("a.cedar", text)]);
        let [fault] = faults.as_slice() else { panic!("{faults:#?}") };
        assert_eq!((fault.line, fault.column), place, "{fault} ({})", fault.fix);
        assert!(fault.message.contains(message), "{fault}");
        assert!(fault.fix.contains(fix), "{fault}: {}", fault.fix);
        assert!(!fault.fix.is_empty());
    }

    #[test]
    fn s12_each_fault_says_where_it_is_and_what_to_do() {
        check("\npermit(principal, action, resource);", (2, 1), "no `@id`", "put `@id(");
        check(
            "// é\n  @id(\"a b\") permit(principal, action, resource);",
            (2, 3),
            "`@id` `a b` is not allowed",
            "use letters",
        );
        check(
            "@id(\"\") permit(principal, action, resource);",
            (1, 1),
            "is not allowed",
            "letters",
        );
        check(
            "@id(\"a\") @need(\"x\") permit(principal, action, resource);",
            (1, 1),
            "unknown annotation `@need`",
            "`@needs`",
        );
        check(
            "@id(\"a\") @reason permit(principal, action, resource);",
            (1, 1),
            "`@reason` is empty or too long",
            "between 1 and 512",
        );
        check(
            "@id(\"a\") @needs(\"x\") forbid(principal, action, resource);",
            (1, 1),
            "`@needs` has no meaning on `forbid`",
            "`@reason`",
        );
        check(
            "@id(\"a\") @obligations(\"approval,aproval\") permit(principal, action, resource);",
            (1, 1),
            "unknown obligation `aproval`",
            "use `approval`",
        );
        check(
            "@id(\"a\") permit(principal == ?principal, action, resource);",
            (1, 1),
            "has slots",
            "write the entity",
        );
    }

    #[test]
    fn s12_rules_are_checked_against_the_schema() {
        let when = |condition: &str| {
            format!("@id(\"a\")\npermit(principal, action, resource)\nwhen {{ {condition} }};")
        };
        check(&when("principal.ownr == \"x\""), (3, 8), "`ownr`", "owner");
        check(&when("context.depth == \"x\""), (3, 8), "types Long and String", "");
        check(&when("context.method == \"GET\""), (3, 8), "optional attribute", "has");
        check(&when("context.scope.contains(1)"), (3, 8), "", "");
        let scope = |scope: &str| format!("@id(\"a\") permit({scope});");
        check(&scope("principal is Aims::Robot, action, resource"), (1, 30), "Aims::Robot", "");
        check(
            &scope("principal, action == Aims::Action::\"tool.cal\", resource"),
            (1, 38),
            "tool.cal",
            "tool.call",
        );
        // Never true: tokens are not issued for a tool.
        let never = "principal, action == Aims::Action::\"token.issue\", resource is Aims::Tool";
        check(&scope(never), (1, 1), "policy is impossible", "remove the rule");
        // Looks like the name of another.
        check(&when("principal.owner == \"te\u{202e}am\""), (3, 27), "BIDI", "plain characters");
    }

    #[test]
    fn s12_text_that_is_not_cedar_is_refused_at_its_place() {
        check("@id(\"a\")\npermit(principal, action resource);", (2, 26), "resource", "");
        check("@id(\"a\") permit(principal, action, resource)", (1, 45), "end of input", "");
    }

    #[test]
    fn s12_an_id_is_taken_once_in_all_files() {
        let rule = "@id(\"a\") permit(principal, action, resource);";
        let found = faults(&[("a.cedar", rule), ("b.cedar", &format!("\n{rule}"))]);
        let [fault] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(fault.to_string(), "b.cedar:2:1: `@id` `a` is taken by a.cedar:1");
        assert!(fault.fix.contains("another `@id`"));
        check(&format!("{rule}\n{rule}"), (2, 1), "taken by a.cedar:1", "another");
    }

    #[test]
    fn s12_faults_of_all_files_are_found_at_once() {
        let found = faults(&[
            ("b.cedar", "permit(principal, action, resource);"),
            ("c.cedar", "nonsense"),
            ("a.cedar", "@id(\"x\") permit(principal, action, resource) when { context.x };"),
        ]);
        let files: Vec<_> = found.iter().map(|fault| fault.file.as_str()).collect();
        assert_eq!(files, ["a.cedar", "b.cedar", "c.cedar"]);
    }

    #[test]
    fn files_are_bounded() {
        let text = " ".repeat(FILE_BYTES_MAX + 1);
        check(&text, (1, 1), "file is longer than", "split the file");
    }

    #[test]
    fn rules_are_listed_with_their_place() {
        let text = "@id(\"b\") permit(principal, action, resource);\n\n\
                    @id(\"a\") @reason(\"r\") forbid(principal, action, resource);";
        let access = Access::compile(&[("x.cedar", text)]).unwrap();
        let rules: Vec<_> =
            access.rules().iter().map(|rule| (rule.id, rule.effect, rule.line)).collect();
        assert_eq!(rules, [("a", Effect::Forbid, 3), ("b", Effect::Permit, 1)]);
        assert!(access.text().contains("forbid"));
        assert_eq!(Access::compile(&[]).unwrap().rules(), []);
    }
}
