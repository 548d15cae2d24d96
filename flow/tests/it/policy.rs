//! Policy: planned, checked whole, in force for everyone or not at all.

use env::World;
use env::rows::InForce;
use flow::apply_policy::{Plan, Refusal, apply, history, plan};
use monitoring::{Event, Outcome};
use policy::{Difference, Files};
use testkit::fixture::{Domain, files, files_but, story};

const CLOSED: &str = r#"@id("closed") forbid(principal, action, resource);"#;

async fn applied(domain: &Domain, files: Files, expected: Option<String>) -> Result<Plan, Refusal> {
    let (server, operator) = (domain.server.world(), domain.operator());
    let end = apply(&*server, &operator, files, "a story".to_owned(), expected).await.unwrap();
    let record = domain.server.journal().find(end.audit_id().unwrap()).unwrap();
    assert_eq!(
        (record.event, record.operator.as_deref()),
        (Event::PolicyApplied, Some("uid:1000"))
    );
    let refused = end.value().is_err();
    assert_eq!(record.outcome == Outcome::Refused, refused);
    end.into_value()
}

fn in_force(domain: &Domain) -> String {
    let row = domain.server.world().store().single::<InForce>(InForce::ID).unwrap();
    row.set.version().as_str().to_owned()
}

/// req: POL-01 (part), POL-02 (part)
#[test]
fn s12_a_set_is_planned_and_applied_by_version() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let first = in_force(&domain);
        let closed = files_but(&[("access/main.cedar", CLOSED)]);
        let told = plan(&*domain.server.world(), closed.clone()).await.unwrap().unwrap();
        assert_eq!(told.from.as_ref(), Some(&first));
        let added = Difference::Added { what: "rule closed".to_owned() };
        let removed = Difference::Removed { what: "rule tokens".to_owned() };
        assert!(told.changes.contains(&added) && told.changes.contains(&removed));
        assert_eq!(in_force(&domain), first, "a plan changes nothing");
        let done = applied(&domain, closed, told.from).await.unwrap();
        assert_eq!((in_force(&domain), &done.changes), (told.to.clone(), &told.changes));
        applied(&domain, files(), Some(told.to.clone())).await.unwrap();
        let listed = history(&*domain.server.world()).await.unwrap();
        let listed: Vec<_> =
            listed.iter().map(|one| (one.version.as_str(), one.in_force)).collect();
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert!(listed.contains(&(first.as_str(), true)) && listed.contains(&(&told.to, false)));
    });
}

/// req: POL-01 (part)
#[test]
fn s12_a_set_that_cannot_stand_changes_nothing() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let first = in_force(&domain);
        let faulty = files_but(&[("domain.toml", "trust_domain = \"demo.example\"\nodd = 1")]);
        let Err(Refusal::Faults(faults)) = applied(&domain, faulty.clone(), None).await else {
            panic!("applied")
        };
        assert_eq!((faults[0].file.as_str(), faults[0].line), ("domain.toml", 2));
        assert_eq!(
            plan(&*domain.server.world(), faulty).await.unwrap().unwrap_err(),
            Refusal::Faults(faults)
        );
        // Another name, and the same name under another scheme.
        for (text, to) in [
            ("trust_domain = \"other.example\"", "spiffe://other.example"),
            ("trust_domain = \"demo.example\"\nscheme = \"wimse\"", "wimse://demo.example"),
        ] {
            let foreign = files_but(&[("domain.toml", text)]);
            let (from, to) = ("spiffe://demo.example".to_owned(), to.to_owned());
            let other = applied(&domain, foreign, None).await.unwrap_err();
            assert_eq!(other, Refusal::OtherDomain { from, to });
        }
        let (expected, found) = ("sha256:0".to_owned(), first.clone());
        let moved = applied(&domain, files(), Some(expected.clone())).await.unwrap_err();
        assert_eq!(moved, Refusal::Moved { expected, found });
        assert_eq!(in_force(&domain), first);
    });
}

/// A ban that can never match protects nothing; whoever only may have been meant is told. The
/// server knows where its own gateway is.
///
/// req: POL-01 (part)
#[test]
fn s12_a_ban_that_can_never_match_is_refused_and_what_is_likely_a_mistake_told() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let first = in_force(&domain);
        let rule = |effect: &str, audience: &str| {
            let rule = format!(
                "@id(\"odd\") {effect}(principal, action, resource in Aims::Audience::\"{audience}\");"
            );
            files_but(&[("access/odd.cedar", &rule)])
        };
        let odd = format!("{}/odd", domain.server.world().site().gateway);
        for files in [rule("forbid", &odd), rule("forbid", "a#b")] {
            let planned = plan(&*domain.server.world(), files.clone()).await.unwrap();
            assert!(matches!(planned, Err(Refusal::Faults(_))));
            let Err(Refusal::Faults(faults)) = applied(&domain, files, None).await else {
                panic!("applied")
            };
            assert_eq!((faults.len(), faults[0].file.as_str()), (1, "access/odd.cedar"));
            assert_eq!(in_force(&domain), first);
        }
        let done = applied(&domain, rule("permit", &odd), None).await.unwrap();
        assert_eq!((done.warnings.len(), done.warnings[0].line), (1, 1));
        let done = applied(&domain, files(), None).await.unwrap();
        assert_eq!(done.warnings, []);
    });
}
