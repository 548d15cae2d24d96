//! One decision.
//!
//! In scope: turning facts into Cedar's entities, evaluating the slices, joining their answers.
//! Not here: which rules are in a slice (`crate::slices`).

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicyId, PolicySet, Request, RestrictedExpression,
};

use crate::access::Access;
use crate::decision::{Decision, Denial, Fault, Permit};
use crate::question::{Fact, Facts, Question, Resource};
use crate::rule::{Effect, PolicyVersion, Rule};

/// The decision point: rules and the version they are known by.
#[derive(Debug, Clone)]
pub struct Pdp {
    access: Access,
    version: PolicyVersion,
    authorizer: Authorizer,
}

impl Pdp {
    /// A decision point for the rules of one policy set.
    pub fn new(access: Access, version: PolicyVersion) -> Self {
        Self { access, version, authorizer: Authorizer::new() }
    }

    /// The policy set that decisions are made under.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// Its rules.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Decides. The same question gives the same answer.
    pub fn decide(&self, question: &Question) -> Decision {
        let denial = || Denial::new(question, &self.version);
        let found = match self.evaluate(question) {
            Ok(found) => found,
            Err(fault) => return Decision::Deny(denial().failed(vec![fault])),
        };
        // A rule that forbids overrides all that permit; a rule that fails might have forbidden.
        // AuthZEN 1.0 §7.2.1: "Decisions default to closed (i.e. false)"; §5.5: "false: The access
        // request is denied and MUST NOT be permitted to go forward."
        if !found.forbids.is_empty() || !found.errors.is_empty() {
            return Decision::Deny(denial().forbidden(&found.forbids).failed(found.errors));
        }
        if found.permits.is_empty() {
            let near = found.evaluated.iter().flat_map(|set| self.permits_of(set));
            return Decision::Deny(denial().needing(near));
        }
        Decision::Permit(Permit::new(question, &found.permits, &self.version))
    }

    /// Evaluates every rule that could apply.
    fn evaluate(&self, question: &Question) -> Result<Found<'_>, Fault> {
        question.check()?;
        let Some(action) = self.access.actions.get(&question.action) else {
            return Err(Fault::UnknownAction { action: question.action.clone() });
        };
        action.applies.check(question)?;
        self.access.shapes.check(question)?;
        let asked = Asked::new(&self.access, &action.uid, question)?;
        let mut found = Found::default();
        for set in action.slices.matching(&asked.principal, &asked.resource, &asked.parents) {
            let answer = self.authorizer.is_authorized(&asked.request, set, &asked.entities);
            let satisfied = answer.diagnostics().reason();
            found.errors.extend(answer.diagnostics().errors().map(fault_of));
            for rule in satisfied.filter_map(|id| self.rule(id)) {
                match rule.effect {
                    Effect::Permit => found.permits.push(rule),
                    Effect::Forbid => found.forbids.push(rule),
                }
            }
            found.evaluated.push(set);
        }
        Ok(found)
    }

    fn rule(&self, id: &PolicyId) -> Option<&Rule> {
        self.access.rules.get(id.as_ref() as &str)
    }

    fn permits_of<'s>(&'s self, set: &'s PolicySet) -> impl Iterator<Item = &'s Rule> {
        let rules = set.policies().filter_map(|policy| self.rule(policy.id()));
        rules.filter(|rule| rule.effect == Effect::Permit)
    }
}

/// What the rules said.
#[derive(Default)]
struct Found<'r> {
    permits: Vec<&'r Rule>,
    forbids: Vec<&'r Rule>,
    /// All rules whose scope matched. When none permitted, the permits among them came nearest.
    evaluated: Vec<&'r PolicySet>,
    errors: Vec<Fault>,
}

/// A question in Cedar's terms.
struct Asked {
    principal: EntityUid,
    resource: EntityUid,
    parents: Vec<EntityUid>,
    request: Request,
    entities: Entities,
}

impl Asked {
    fn new(access: &Access, action: &EntityUid, question: &Question) -> Result<Self, Fault> {
        let kind = access.names.principals.get(&question.principal.kind);
        let principal = uid(kind, &question.principal.id)?;
        let mut entities =
            vec![entity(principal.clone(), &question.principal.attributes, HashSet::new())?];
        let resource = resource_uid(access, &question.resource)?;
        let mut parents = Vec::new();
        let mut next = Some((&question.resource, resource.clone()));
        while let Some((described, uid)) = next {
            next = match described.parent.as_deref() {
                Some(parent) => Some((parent, resource_uid(access, parent)?)),
                None => None,
            };
            let above = next.iter().map(|(_, uid)| uid.clone());
            parents.extend(above.clone());
            entities.push(entity(uid, &described.attributes, above.collect())?);
        }
        let context = Context::from_pairs(expressions(&question.context)?).map_err(misfit)?;
        // Without a schema: `Applies` and `Shapes` were asked before.
        let request =
            Request::new(principal.clone(), action.clone(), resource.clone(), context, None)
                .map_err(misfit)?;
        let entities = Entities::from_entities(entities, None).map_err(misfit)?;
        Ok(Self { principal, resource, parents, request, entities })
    }
}

fn resource_uid(access: &Access, resource: &Resource) -> Result<EntityUid, Fault> {
    uid(access.names.resources.get(&resource.kind), &resource.id)
}

fn uid(kind: Option<&EntityTypeName>, id: &str) -> Result<EntityUid, Fault> {
    let kind = kind.ok_or_else(|| misfit("no such kind of entity"))?;
    Ok(EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id)))
}

fn entity(
    uid: EntityUid,
    attributes: &Facts,
    parents: HashSet<EntityUid>,
) -> Result<Entity, Fault> {
    let attributes: HashMap<_, _> = expressions(attributes)?.into_iter().collect();
    Entity::new(uid, attributes, parents).map_err(misfit)
}

fn expressions(facts: &Facts) -> Result<Vec<(String, RestrictedExpression)>, Fault> {
    facts.iter().map(|(name, fact)| Ok((name.clone(), expression(fact)?))).collect()
}

fn expression(fact: &Fact) -> Result<RestrictedExpression, Fault> {
    Ok(match fact {
        Fact::Bool(value) => RestrictedExpression::new_bool(*value),
        Fact::Long(value) => RestrictedExpression::new_long(*value),
        Fact::Text(value) => RestrictedExpression::new_string(value.clone()),
        Fact::Set(values) => RestrictedExpression::new_set(
            values.iter().map(|value| RestrictedExpression::new_string(value.clone())),
        ),
        Fact::Record(facts) => {
            RestrictedExpression::new_record(expressions(facts)?).map_err(misfit)?
        }
    })
}

fn misfit(reason: impl ToString) -> Fault {
    Fault::Facts { reason: reason.to_string() }
}

fn fault_of(error: &AuthorizationError) -> Fault {
    match error {
        AuthorizationError::PolicyEvaluationError(error) => {
            Fault::Rule { rule: error.policy_id().to_string(), reason: error.inner().to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use time::UnixTime;

    use super::*;
    use crate::compile;
    use crate::question::{Circumstances, Principal, PrincipalKind, ResourceKind};
    use crate::rule::Obligation;
    use crate::shape::FactKind;

    const AUDIENCE: &str = "https://crm.example/mcp";

    fn version() -> PolicyVersion {
        PolicyVersion::of_digest(&[0xab; 32])
    }

    fn pdp(text: &str) -> Pdp {
        Pdp::new(Access::compile(&[("t.cedar", text)]).unwrap(), version())
    }

    fn agent(id: &str) -> Principal {
        Principal::new(PrincipalKind::Agent, id, "a", "team", ["crm".to_owned()])
    }

    /// Agent `a` calls `read` of the audience, with depth 1, for alice.
    fn question() -> Question {
        let circumstances = Circumstances {
            subject: "alice".into(),
            actors: vec!["a".into()],
            scope: BTreeSet::from(["crm:read".into()]),
            autonomous: false,
            ..Circumstances::at(UnixTime::from_seconds(1_000))
        };
        Question {
            principal: agent("a"),
            action: "tool.call".into(),
            resource: Resource::tool(AUDIENCE, "read", true),
            context: circumstances.into(),
        }
    }

    fn permit(text: &str, question: &Question) -> Permit {
        match pdp(text).decide(question) {
            Decision::Permit(permit) => permit,
            Decision::Deny(denial) => panic!("{denial}"),
        }
    }

    fn denial(text: &str, question: &Question) -> Denial {
        match pdp(text).decide(question) {
            Decision::Deny(denial) => denial,
            Decision::Permit(permit) => panic!("{permit:?}"),
        }
    }

    const ALL: &str = r#"@id("all") permit(principal, action, resource);"#;
    const NO_READ: &str = r#"@id("no-read") @reason("reading is closed for the audit")
        forbid(principal, action, resource is Aims::Tool) when { resource.name == "read" };"#;
    /// Fails whenever anyone stands in the chain of delegation.
    const OVERFLOW: &str = r#"@id("overflow") permit(principal, action, resource)
        when { context.depth + 9223372036854775807 < 0 };"#;

    #[test]
    fn s10_nothing_is_permitted_without_a_rule() {
        let denied = denial("", &question());
        assert_eq!(
            denied.to_string(),
            "no rule of policy sha256:abababababab permits `tool.call` on \
             `https://crm.example/mcp#read`"
        );
        assert_eq!((denied.rules.len(), denied.needs.len(), denied.errors.len()), (0, 0, 0));
        denial(
            r#"@id("other") permit(principal == Aims::Agent::"b", action, resource);"#,
            &question(),
        );
    }

    /// req: POL-02 (part)
    #[test]
    fn s12_a_permit_names_rules_and_policy_version() {
        let permit = permit(
            &format!("{ALL} @id(\"also\") permit(principal is Aims::Agent, action, resource);"),
            &question(),
        );
        assert_eq!(permit.rules(), ["all", "also"]);
        assert_eq!(permit.version(), &version());
        assert_eq!(
            (permit.principal(), permit.action(), permit.resource()),
            ("a", "tool.call", "https://crm.example/mcp#read")
        );
        assert_eq!(denial("", &question()).version, version());
    }

    #[test]
    fn s10_forbid_overrides_every_permit() {
        let denied = denial(&format!("{ALL} {NO_READ}"), &question());
        assert_eq!(denied.rules, ["no-read"]);
        assert_eq!(
            denied.to_string(),
            "`tool.call` on `https://crm.example/mcp#read` is forbidden by `no-read`: \
             reading is closed for the audit (policy sha256:abababababab)"
        );
        let mut other = question();
        other.resource = Resource::tool(AUDIENCE, "write", false);
        permit(&format!("{ALL} {NO_READ}"), &other);
    }

    #[test]
    fn s10_a_rule_that_fails_denies_and_is_named() {
        let denied = denial(&format!("{ALL} {OVERFLOW}"), &question());
        let [Fault::Rule { rule, reason }] = denied.errors.as_slice() else { panic!("{denied:?}") };
        assert_eq!(rule, "overflow");
        assert!(reason.contains("overflow"), "{reason}");
        assert!(denied.to_string().contains("could not be decided: rule `overflow` failed: "));
        let mut alone = question();
        alone.context.insert("depth".into(), Fact::Long(0));
        assert_eq!(permit(&format!("{ALL} {OVERFLOW}"), &alone).rules(), ["all"]);
    }

    #[test]
    fn s10_what_would_be_needed_is_told_by_the_nearest_rules() {
        let rules = r#"
            @id("scope") @needs("the scope `crm:write`")
            permit(principal, action == Aims::Action::"tool.call", resource)
            when { context.scope.contains("crm:write") };
            @id("role") @needs("an owner in `ops`")
            permit(principal is Aims::Agent, action,
                resource in Aims::Audience::"https://crm.example/mcp")
            when { principal.owner == "ops" };
            @id("elsewhere") @needs("never told")
            permit(principal, action, resource in Aims::Audience::"https://other.example")
            when { context.autonomous };
            @id("of-others") @needs("never told")
            permit(principal == Aims::Agent::"b", action, resource) when { context.autonomous };
        "#;
        let denied = denial(rules, &question());
        assert_eq!(denied.needs, ["an owner in `ops`", "the scope `crm:write`"]);
        assert_eq!(
            denied.to_string(),
            "`tool.call` on `https://crm.example/mcp#read` needs an owner in `ops`; or the scope \
             `crm:write` (policy sha256:abababababab)"
        );
        assert_eq!(denial(&format!("{rules} {NO_READ}"), &question()).needs, [""; 0]);
    }

    #[test]
    fn s10_an_unknown_action_is_denied_even_where_all_is_permitted() {
        for action in ["tool.delete", "Tool.call", "Aims::Action::\"tool.call\"", ""] {
            let mut question = question();
            question.action = action.into();
            let expect = Fault::UnknownAction { action: action.into() };
            assert_eq!(denial(ALL, &question).errors, [expect]);
        }
    }

    #[test]
    fn s10_facts_that_do_not_fit_the_schema_are_denied() {
        let check = |change: &dyn Fn(&mut Question), expect: Fault| {
            let mut question = question();
            change(&mut question);
            assert_eq!(denial(ALL, &question).errors, [expect]);
            assert!(!fits_by_cedar(&question), "{question:?}");
        };
        let missing = |of, name: &str| Fault::MissingFact { of, name: name.into() };
        let unknown = |of, name: &str| Fault::UnknownFact { of, name: name.into() };
        let kind = |of, name: &str, expected| Fault::FactKind { of, name: name.into(), expected };
        check(&|q| drop(q.context.remove("now")), missing("context", "now"));
        check(
            &|q| drop(q.context.insert("depth".into(), Fact::Text("1".into()))),
            kind("context", "depth", FactKind::Long),
        );
        check(
            &|q| drop(q.context.insert("path".into(), Fact::Set(BTreeSet::new()))),
            kind("context", "path", FactKind::Text),
        );
        check(
            &|q| drop(q.context.insert("scope".into(), Fact::Text("a".into()))),
            kind("context", "scope", FactKind::Set),
        );
        check(
            &|q| drop(q.context.insert("proof".into(), Fact::Record(Facts::new()))),
            kind("context", "proof", FactKind::Text),
        );
        check(
            &|q| drop(q.context.insert("more".into(), Fact::Bool(true))),
            unknown("context", "more"),
        );
        check(&|q| drop(q.principal.attributes.remove("owner")), missing("Agent", "owner"));
        check(
            &|q| drop(q.principal.attributes.insert("admin".into(), Fact::Bool(true))),
            unknown("Agent", "admin"),
        );
        check(&|q| drop(q.resource.attributes.remove("read_only")), missing("Tool", "read_only"));
        check(
            &|q| drop(q.resource.attributes.insert("read_only".into(), Fact::Long(1))),
            kind("Tool", "read_only", FactKind::Bool),
        );
        check(
            &|q| q.resource = Resource::audience(AUDIENCE),
            Fault::NotApplicable {
                action: "tool.call".into(),
                principal: PrincipalKind::Agent,
                resource: ResourceKind::Audience,
            },
        );
        assert!(fits_by_cedar(&question()));
    }

    /// What Cedar itself says of a question under the schema.
    fn fits_by_cedar(question: &Question) -> bool {
        let access = Access::compile(&[]).unwrap();
        let schema = cedar_policy::Schema::from_cedarschema_str(crate::SCHEMA).unwrap().0;
        let asked = Asked::new(&access, &access.actions[&question.action].uid, question).unwrap();
        let context = Context::from_pairs(expressions(&question.context).unwrap()).unwrap();
        let [principal, action, resource] =
            [asked.request.principal(), asked.request.action(), asked.request.resource()]
                .map(|uid| uid.unwrap().clone());
        Request::new(principal, action, resource, context, Some(&schema)).is_ok()
            && Entities::from_entities(asked.entities.iter().cloned(), Some(&schema)).is_ok()
    }

    /// A tool that is said to be in another audience than its id says would slip past the rules
    /// of its own.
    #[test]
    fn s10_a_resource_is_where_its_id_says() {
        let tool = || Resource::tool(AUDIENCE, "read", true);
        let audience = |id: &str| Some(Box::new(Resource::audience(id)));
        let name = |name: &str| {
            Facts::from([
                ("name".to_owned(), Fact::Text(name.into())),
                ("read_only".to_owned(), Fact::Bool(true)),
            ])
        };
        for resource in [
            Resource { parent: None, ..tool() },
            Resource { parent: audience("https://other.example"), ..tool() },
            Resource { parent: audience("https://crm.example"), ..tool() },
            Resource { parent: Some(Box::new(tool())), ..tool() },
            Resource { attributes: name("write"), ..tool() },
            Resource { attributes: Facts::new(), ..tool() },
            Resource::audience("https://crm.example#x"),
            Resource { parent: audience("b"), ..Resource::audience(AUDIENCE) },
        ] {
            let expect = Fault::Misplaced { resource: resource.id.clone() };
            let denied = denial(ALL, &Question { resource, ..question() });
            assert_eq!(denied.errors, [expect]);
        }
        let resource = Resource::tool("https://crm.example#x", "read", true);
        let expect = Fault::Misplaced { resource: "https://crm.example#x".into() };
        assert_eq!(denial(ALL, &Question { resource, ..question() }).errors, [expect]);
    }

    #[test]
    fn s10_obligations_of_all_permitting_rules_hold() {
        let rules = format!(
            r#"{ALL} @id("a") @obligations("approval, step-up=urn:loa:2")
            permit(principal, action == Aims::Action::"tool.call", resource);
            @id("b") @obligations("record-fully,approval")
            permit(principal is Aims::Agent, action, resource);
            @id("c") @obligations("redact=ssn") permit(principal is Aims::User, action, resource);"#
        );
        assert_eq!(
            permit(&rules, &question()).obligations(),
            [Obligation::Approval, Obligation::StepUp("urn:loa:2".into()), Obligation::RecordFully]
        );
    }

    #[test]
    fn s10_a_permit_with_obligations_is_a_denial_to_who_can_meet_none() {
        let bound = r#"@id("a") @obligations("approval") permit(principal, action, resource);"#;
        let decided = pdp(bound).decide(&question()).without_obligations();
        let Decision::Deny(denied) = decided else { panic!("permitted") };
        assert_eq!((denied.needs, denied.rules), (vec!["`approval`".to_owned()], Vec::new()));
        let free = pdp(ALL).decide(&question());
        assert_eq!(free.clone().without_obligations(), free);
    }

    /// req: AUTHZ-27 (part)
    #[test]
    fn s5_2_roles_attributes_and_relations_decide() {
        let check = |condition: &str, permitted: bool| {
            let rule = format!(
                "@id(\"r\") permit(principal, action == Aims::Action::\"tool.call\", resource)
                when {{ {condition} }};"
            );
            let decision = pdp(&rule).decide(&question());
            assert_eq!(matches!(decision, Decision::Permit(_)), permitted, "{condition}");
        };
        check(r#"principal.capabilities.contains("crm")"#, true);
        check(r#"principal.capabilities.contains("mail")"#, false);
        check(r#"principal.owner == "team" && resource.read_only"#, true);
        check(r#"resource in Aims::Audience::"https://crm.example/mcp""#, true);
        check(r#"resource in Aims::Audience::"https://other.example""#, false);
        check(r#"context.actors.contains("a") && context.depth <= 1"#, true);
        check("context.now >= 1000 && context.now < 2000", true);
        check("context.now >= 2000", false);
        check(r#"context has method && context.method == "GET""#, false);
    }

    /// req: AUTHZ-30 (part)
    #[test]
    fn x_an_autonomous_action_is_told_apart_from_a_delegated_one() {
        let rules = r#"@id("delegated") permit(principal, action, resource)
            unless { context.autonomous };"#;
        permit(rules, &question());
        let mut autonomous = question();
        autonomous.context.insert("autonomous".into(), Fact::Bool(true));
        denial(rules, &autonomous);
    }

    #[test]
    fn facts_are_bounded() {
        let long = "x".repeat(crate::TEXT_BYTES_MAX + 1);
        let too_long = |name: &str| Fault::TooLong {
            name: name.into(),
            bytes: crate::TEXT_BYTES_MAX + 1,
            max: crate::TEXT_BYTES_MAX,
        };
        let check = |change: &dyn Fn(&mut Question), expect: Fault| {
            let mut question = question();
            change(&mut question);
            assert_eq!(denial(ALL, &question).errors, [expect]);
        };
        check(&|q| q.action.clone_from(&long), too_long("action"));
        check(&|q| q.principal.id.clone_from(&long), too_long("principal"));
        check(&|q| q.resource = Resource::audience(long.clone()), too_long("resource"));
        let set = |text: &str| Fact::Set(BTreeSet::from([text.to_owned()]));
        check(&|q| drop(q.context.insert("scope".into(), set(&long))), too_long("scope"));
        let text = || Fact::Text(long.clone());
        check(&|q| drop(q.principal.attributes.insert("name".into(), text())), too_long("name"));
        let many = (0..=crate::FACTS_MAX).map(|n| n.to_string()).collect::<BTreeSet<_>>();
        let too_many = Fault::TooManyFacts { max: crate::FACTS_MAX };
        check(&|q| drop(q.context.insert("scope".into(), Fact::Set(many.clone()))), too_many);
    }

    #[test]
    fn a_question_is_recorded_and_read_again() {
        let mut question = question();
        question
            .context
            .insert("r".into(), Fact::Record(Facts::from([("n".into(), Fact::Long(-1))])));
        let written = serde_json::to_string(&question).unwrap();
        assert_eq!(serde_json::from_str::<Question>(&written).unwrap(), question);
    }

    /// A rule: effect, scope and condition.
    fn rule() -> impl Strategy<Value = (bool, String, String)> {
        let pick = |from: &'static [&'static str]| prop::sample::select(from);
        let principal = pick(&[
            "principal",
            r#"principal == Aims::Agent::"a""#,
            r#"principal == Aims::User::"a""#,
            r#"principal in Aims::Agent::"a""#,
            "principal is Aims::Agent",
            "principal is Aims::Service",
            r#"principal is Aims::Agent in Aims::Agent::"b""#,
            r#"principal is Aims::User in Aims::Agent::"a""#,
        ]);
        let action = pick(&[
            "action",
            r#"action == Aims::Action::"tool.call""#,
            r#"action in Aims::Action::"tool.call""#,
            r#"action in [Aims::Action::"tool.call", Aims::Action::"tool.list"]"#,
            r#"action == Aims::Action::"tool.list""#,
        ]);
        let resource = pick(&[
            "resource",
            r#"resource == Aims::Tool::"x#read""#,
            r#"resource == Aims::Audience::"x""#,
            r#"resource in Aims::Audience::"x""#,
            r#"resource in Aims::Tool::"x#read""#,
            "resource is Aims::Tool",
            r#"resource is Aims::Tool in Aims::Audience::"x""#,
            r#"resource is Aims::Audience in Aims::Audience::"x""#,
            r#"resource is Aims::Path in Aims::Audience::"x""#,
        ]);
        let condition = pick(&[
            "",
            "",
            "when { context.autonomous }",
            "unless { context.autonomous }",
            r#"when { principal.capabilities.contains("crm") }"#,
            r#"when { principal.capabilities.contains("mail") }"#,
            r#"unless { resource in Aims::Audience::"x" }"#,
            "when { context.depth + 9223372036854775807 > 0 }",
            "when { resource.read_only }", // fails where there is no such attribute
        ]);
        (prop::bool::weighted(0.8), principal, action, resource, condition).prop_map(
            |(permits, principal, action, resource, condition)| {
                (permits, format!("{principal}, {action}, {resource}"), condition.to_owned())
            },
        )
    }

    fn any_question() -> impl Strategy<Value = Question> {
        let kind = prop::sample::select(PrincipalKind::ALL.as_slice());
        let id = prop::sample::select(["a", "b"].as_slice());
        let audience = prop::sample::select(["x", "y"].as_slice());
        let tool = prop::option::of(prop::sample::select(["read", "write"].as_slice()));
        (kind, id, audience, tool, any::<bool>(), 0i64..2).prop_map(
            |(kind, id, audience, tool, autonomous, depth)| {
                let mut question = question();
                question.principal = Principal { kind, ..agent(id) };
                (question.action, question.resource) = match tool {
                    Some(tool) => ("tool.call".into(), Resource::tool(audience, tool, true)),
                    None => ("tool.list".into(), Resource::audience(audience)),
                };
                question.context.insert("autonomous".into(), Fact::Bool(autonomous));
                question.context.insert("depth".into(), Fact::Long(depth));
                question
            },
        )
    }

    /// Ids of the rules that plain Cedar, over the whole set, finds satisfied and failed.
    fn plain(access: &Access, question: &Question) -> (bool, BTreeSet<String>, BTreeSet<String>) {
        let action = &access.actions[&question.action].uid;
        let asked = Asked::new(access, action, question).unwrap();
        let answer =
            Authorizer::new().is_authorized(&asked.request, &access.whole, &asked.entities);
        let failed = answer.diagnostics().errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
        });
        (
            answer.decision() == cedar_policy::Decision::Allow,
            answer.diagnostics().reason().map(ToString::to_string).collect(),
            failed.collect(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn slices_decide_as_plain_cedar_does_over_the_whole_set(
            rules in prop::collection::vec(rule(), 0..24),
            questions in prop::collection::vec(any_question(), 8),
        ) {
            let (mut text, mut scopes) = (String::new(), String::new());
            for (n, (permits, scope, condition)) in rules.iter().enumerate() {
                let effect = if *permits { "permit" } else { "forbid" };
                text += &if *permits { format!("@needs(\"{n}\")") } else { String::new() };
                text += &format!("@id(\"{n}\") {effect}({scope}) {condition};");
                if *permits {
                    scopes += &format!("@id(\"{n}\") permit({scope});");
                }
            }
            let access = compile::unchecked(&text);
            let scopes = compile::unchecked(&scopes);
            let pdp = Pdp::new(access.clone(), version());
            for question in &questions {
                let (allowed, satisfied, failed) = plain(&access, question);
                let ids = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
                match pdp.decide(question) {
                    Decision::Permit(permit) => {
                        prop_assert!(allowed && failed.is_empty());
                        prop_assert_eq!(ids(permit.rules()), satisfied);
                    }
                    Decision::Deny(denial) => {
                        prop_assert!(!allowed || !failed.is_empty());
                        let forbidding = if allowed { BTreeSet::new() } else { satisfied };
                        let nothing = forbidding.is_empty() && failed.is_empty();
                        prop_assert_eq!(ids(&denial.rules), forbidding);
                        let errors = denial.errors.into_iter().map(|error| match error {
                            Fault::Rule { rule, .. } => rule,
                            other => other.to_string(),
                        });
                        prop_assert_eq!(errors.collect::<BTreeSet<_>>(), failed);
                        let near = if nothing { plain(&scopes, question).1 } else { ids(&[]) };
                        prop_assert_eq!(ids(&denial.needs), near);
                    }
                }
            }
        }
    }

    #[test]
    fn every_action_of_the_schema_takes_the_resources_it_should() {
        let path = Resource::path(AUDIENCE, "/v1/x");
        let all = [Resource::audience(AUDIENCE), Resource::tool(AUDIENCE, "t", false), path];
        for (action, kind) in [
            ("token.issue", ResourceKind::Audience),
            ("token.exchange", ResourceKind::Audience),
            ("tool.list", ResourceKind::Audience),
            ("agent.call", ResourceKind::Audience),
            ("tool.call", ResourceKind::Tool),
            ("http.request", ResourceKind::Path),
        ] {
            for resource in all.clone() {
                let expect = resource.kind == kind;
                let asked = Question { action: action.into(), resource, ..question() };
                let decision = pdp(ALL).decide(&asked);
                assert_eq!(matches!(decision, Decision::Permit(_)), expect, "{asked:?}");
                assert_eq!(fits_by_cedar(&asked), expect, "{asked:?}");
            }
        }
    }
}
