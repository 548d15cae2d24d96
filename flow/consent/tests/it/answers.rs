//! What users answer, and what comes of it.

use authentication::session::Session;
use authorization::granted::Way;
use authorization::interaction::Over;
use basis::ends::{self, Ending};
use consent::{Choice, Settled, Shown, scope_box};
use env::{Clock, World};
use monitoring::{Event, Outcome};
use oauth::Scope;
use people::standing::UserAct;
use registry::{UserName, UserRecord};
use testkit::boxed;
use testkit::fixture::{Domain, GATEWAY, files, files_but, story};
use time::Span;

use crate::house::{
    BACK, CHALLENGE, CLIENT, House, browser, invoices, location, part, query, told,
};

const MANY: usize = 100;

fn only(scope: &str) -> Choice {
    let taken = [scope_box(0, &Scope::parse(scope).unwrap())].into_iter().collect();
    Choice { taken, life: None }
}

/// req: AUTHZ-01 (part), AUTHZ-06 (part), AUTHZ-18 (part)
#[test]
fn rfc6749_4_1_a_user_allows_less_than_was_asked() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let here = browser("a", None);
        let name = house.begun(&here, &invoices("invoices.read+invoices.pay+openid")).await;
        let shown = house.show(&here, &name).await;
        assert!(matches!(shown, Shown::SignIn { why: None, .. }), "{shown:?}");
        let cookie = house.sign_in(&here, "ada").await;
        let here = browser("a", Some(&cookie));
        let asking = house.asking(&here, &name).await;
        assert_eq!(
            (asking.asker.name.as_str(), asking.back_to.as_str()),
            ("Books", "books.example")
        );
        let words: Vec<_> = asking.targets[0]
            .scopes
            .iter()
            .map(|one| (one.words.as_str(), one.actions.len()))
            .collect();
        assert_eq!(words, [("pay invoices", 2), ("read invoices", 1)]);
        let mut choice = only("invoices.read");
        choice.life = Some(Span::from_seconds(3_600));
        let settled = house.answer(&here, &name, Some(choice), asking.seen()).await;
        let location = location(settled);
        assert!(location.starts_with(&format!("{BACK}?code=aims_ac_")), "{location}");
        assert_eq!(part(&location, "state"), Some("s1"));

        let grants = house.grants();
        let [grant] = grants.as_slice() else { panic!("{grants:?}") };
        let audience = format!("{GATEWAY}/invoices");
        assert_eq!(grant.targets[&audience].scope.to_string(), "invoices.read");
        assert_eq!(grant.openid.to_string(), "openid");
        assert_eq!((grant.subject.as_str(), grant.client_id.as_str()), ("user:ada", CLIENT));
        assert_eq!((grant.way, grant.until.since(grant.created).seconds()), (Way::Code, 3_600));
        let codes = house.codes();
        let [code] = codes.as_slice() else { panic!("{codes:?}") };
        let text = part(&location, "code").unwrap();
        assert_eq!(Some(&code.hash), authorization::granted::code::hash_of(text).as_ref());
        assert_eq!(
            (code.challenge.as_str(), code.redirect_uri.as_deref()),
            (CHALLENGE, Some(BACK))
        );
        assert_eq!(code.until.since(house.domain.now()).seconds(), 60);
        // The client hears of the end of the session that it was given a user in.
        let sessions = house.world().store().every::<Session>();
        assert!(sessions[0].clients.contains(CLIENT));

        let records = house.domain.server.journal().of(Event::ConsentAnswered);
        let [record] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!(record.outcome, Outcome::Permitted);
        assert_eq!(record.root.as_deref(), Some(grant.id.as_str()));
        assert_eq!(record.rules, ["tokens"]);
        assert!(!serde_json::to_string(record).unwrap().contains(text), "a code in the log");
    });
}

#[test]
fn rfc6749_4_1_2_1_a_user_says_no_and_it_is_final() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let here = browser("a", None);
        let cookie = house.sign_in(&here, "ada").await;
        let here = browser("a", Some(&cookie));
        let name = house.begun(&here, &invoices("invoices.read")).await;
        let settled = house.answer(&here, &name, None, String::new()).await;
        assert_eq!(part(&location(settled), "error"), Some("access_denied"));
        assert!(house.grants().is_empty());
        let records = house.domain.server.journal().of(Event::ConsentAnswered);
        assert_eq!(records.first().unwrap().why.as_ref().unwrap().check, "consent::Denied");
        // The back button.
        let again = house.show(&here, &name).await;
        assert!(matches!(again, Shown::Over(Over::Answered { allowed: false, .. })), "{again:?}");
        let again = house.answer(&here, &name, Some(only("invoices.read")), String::new()).await;
        assert!(matches!(again, Settled::Over(Over::Answered { .. })), "{again:?}");
    });
}

/// Two tabs are two questions; each is of the browser that began it.
#[test]
fn rfc6749_10_12_an_interaction_is_of_one_browser() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let one = house.begun(&here, &invoices("invoices.read")).await;
        let two = house.begun(&here, &invoices("invoices.pay")).await;
        let asking = house.asking(&here, &one).await;
        let other = browser("b", Some(&cookie));
        for name in [&one, &two] {
            let shown = house.show(&other, name).await;
            assert!(matches!(shown, Shown::Over(Over::OtherBrowser)), "{shown:?}");
            let settled = house.answer(&other, name, Some(asking.whole()), asking.seen()).await;
            assert!(matches!(settled, Settled::Over(Over::OtherBrowser)), "{settled:?}");
        }
        assert_eq!(house.asking(&here, &two).await.targets[0].scopes.len(), 1);
        location(house.answer(&here, &one, Some(asking.whole()), asking.seen()).await);
        assert!(matches!(house.show(&here, &two).await, Shown::Ask(..)));
        house.forth(1_801);
        let late = house.show(&here, &two).await;
        assert!(matches!(late, Shown::Over(Over::Expired { .. })), "{late:?}");
        let none = house.show(&here, "nothing").await;
        assert!(matches!(none, Shown::Over(Over::Unknown)), "{none:?}");
    });
}

/// A page that was left open counts for what it showed.
///
/// req: AUTHZ-18 (part)
#[test]
fn s10_6_what_changed_since_it_was_shown_is_shown_anew() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let name = house.begun(&here, &invoices("invoices.read+invoices.pay")).await;
        let asking = house.asking(&here, &name).await;
        let rules = files().get("access/main.cedar").unwrap().to_owned();
        let rules = format!(
            "{rules}\n@id(\"no-pay\") @reason(\"nobody pays in November\")\n\
             forbid(principal, action == Aims::Action::\"token.issue\", resource)\n\
             when {{ context.scope.contains(\"invoices.pay\") }};"
        );
        let changed = files_but(&[("access/main.cedar", &rules)]);
        apply(&house.domain, changed).await;
        let settled = house.answer(&here, &name, Some(asking.whole()), asking.seen()).await;
        assert!(matches!(settled, Settled::Changed), "{settled:?}");
        assert!(house.grants().is_empty());
        // Now without what policy takes away, and why.
        let asking = house.asking(&here, &name).await;
        assert_eq!(asking.targets[0].scope_set().to_string(), "invoices.read");
        assert_eq!(asking.withheld[0].scopes, ["pay invoices"]);
        assert_eq!(asking.withheld[0].why, ["nobody pays in November"]);
        // Whoever ticks what was not shown gets nothing of it.
        let mut whole = asking.whole();
        whole.taken.extend(only("invoices.pay").taken);
        location(house.answer(&here, &name, Some(whole), asking.seen()).await);
        let granted = house.grants()[0].targets[&format!("{GATEWAY}/invoices")].scope.to_string();
        assert_eq!(granted, "invoices.read");
        // All of it forbidden: nobody is asked.
        let (name, here) = (house.begun(&here, &invoices("invoices.pay")).await, here);
        match house.show(&here, &name).await {
            Shown::Reply(reply) => {
                assert_eq!(part(&crate::house::to(reply), "error"), Some("access_denied"));
            }
            other => panic!("{other:?}"),
        }
    });
}

/// Nothing is taken away without a reason: where no rule speaks of it, that is the reason, once.
///
/// req: AUTHZ-18 (part)
#[test]
fn s10_6_what_no_rule_allows_is_withheld_with_that_reason() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let rules = files().get("access/main.cedar").unwrap().to_owned();
        let all = "action in [Aims::Action::\"token.issue\", Aims::Action::\"token.exchange\"],\n    \
                   resource\n)";
        let (flat, all) = (lines_joined(&rules), lines_joined(all));
        assert!(flat.contains(&all), "{flat}");
        let rules = flat
            .replace(&all, &format!("{all} when {{ !context.scope.contains(\"invoices.pay\") }}"));
        apply(&house.domain, files_but(&[("access/main.cedar", &rules)])).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        for (asked, withheld) in
            [("invoices.read+invoices.pay", 1), ("invoices.pay+invoices.read", 1)]
        {
            let name = house.begun(&here, &invoices(asked)).await;
            let asking = house.asking(&here, &name).await;
            assert_eq!(asking.withheld.len(), withheld);
            assert_eq!(asking.withheld[0].scopes, ["pay invoices"]);
            assert_eq!(asking.withheld[0].why, ["no rule allows it"]);
        }
    });
}

/// A rule a line: what the fixture indents is found however it does.
fn lines_joined(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

async fn apply(domain: &Domain, files: policy::Files) {
    let (world, operator) = (domain.server.world(), domain.operator());
    let applied = flow::apply_policy::apply(&*world, &operator, files, "a story".to_owned(), None);
    let applied = applied.await.unwrap();
    assert!(applied.into_value().is_ok());
}

/// docs/past-defects.md 8: a user who was disabled meanwhile allows nothing.
#[test]
fn a_user_who_was_disabled_answers_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let name = house.begun(&here, &invoices("invoices.read")).await;
        let asking = house.asking(&here, &name).await;
        let (world, operator) = (house.world(), house.domain.operator());
        let ada = UserName::parse("ada").unwrap();
        let act = UserAct::Disable;
        people::orders::act(&*world, &operator, &ada, act, "gone").await.unwrap();
        let settled = house.answer(&here, &name, Some(asking.whole()), asking.seen()).await;
        assert!(matches!(settled, Settled::SignIn), "{settled:?}");
        assert!(house.grants().is_empty());
    });
}

/// Of many clicks, one counts (docs/past-defects.md, family 1).
#[test]
fn of_many_answers_at_once_one_is_served() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let name = house.begun(&here, &invoices("invoices.read")).await;
        let asking = house.asking(&here, &name).await;
        let answers = (0..MANY).map(|at| {
            let allow = (at % 4 != 3).then(|| asking.whole());
            boxed(house.answer(&here, &name, allow, asking.seen()))
        });
        let settled = sim.all(answers.collect()).await;
        let replies = settled.iter().filter(|one| matches!(one, Settled::Reply(_))).count();
        let over = settled.iter().filter(|one| matches!(one, Settled::Over(Over::Answered { .. })));
        assert_eq!((replies, over.count()), (1, MANY - 1));
        assert_eq!(house.grants().len(), house.codes().len());
        assert!(house.grants().len() <= 1);
        assert_eq!(house.domain.server.journal().of(Event::ConsentAnswered).len(), 1);
    });
}

/// OpenID Connect Core 1.0 §3.1.2.1; docs/past-defects.md 18: no consent by a parameter.
#[test]
fn oidc_3_1_2_1_what_was_allowed_before_is_not_asked_again_and_no_more() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let read = invoices("invoices.read");
        let none = format!("{read}&prompt=none");
        let (location, counted) = told(house.begin(&here, &none).await);
        assert_eq!((part(&location, "error"), counted), (Some("consent_required"), None));
        house.allow(&here, &read).await;
        let until = house.grants()[0].until;
        // The same again: answered at once, and no longer than before.
        house.forth(10);
        match house.begin(&here, &none).await {
            consent::Begun::Reply(reply) => {
                assert!(part(&crate::house::to(reply), "code").is_some());
            }
            other => panic!("{other:?}"),
        }
        let name = house.begun(&here, &read).await;
        assert!(matches!(house.show(&here, &name).await, Shown::Reply(_)));
        // By the grant that is there: to end it ends what it gave.
        assert_eq!((house.grants().len(), house.codes().len()), (1, 3));
        assert_eq!(house.grants()[0].until, until);
        assert!(house.codes().iter().all(|code| code.grant == house.grants()[0].id));
        // More, or with `prompt=consent`, or for always: asked.
        for more in [
            invoices("invoices.read+invoices.pay"),
            format!("{read}&prompt=consent"),
            invoices("invoices.read+offline_access"),
            query("&scope=notices.read"),
        ] {
            let name = house.begun(&here, &more).await;
            assert!(matches!(house.show(&here, &name).await, Shown::Ask(..)), "{more}");
        }
        // Another user of the same browser is asked, too.
        house.add("bob").await;
        let cookie = house.sign_in(&browser("b", None), "bob").await;
        let there = browser("b", Some(&cookie));
        let name = house.begun(&there, &read).await;
        assert!(matches!(house.show(&there, &name).await, Shown::Ask(..)));
    });
}

/// RFC 9470 §4, §5.
///
/// req: AUTHZ-18 (part)
#[test]
fn rfc9470_4_a_client_may_ask_for_a_stronger_or_a_newer_sign_in() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        house.forth(100);
        let here = browser("a", Some(&cookie));
        let read = invoices("invoices.read");
        for more in
            ["prompt=login", "prompt=select_account", "max_age=99", "max_age=0", "acr_values=phr"]
        {
            let name = house.begun(&here, &format!("{read}&{more}")).await;
            let shown = house.show(&here, &name).await;
            assert!(matches!(shown, Shown::SignIn { why: Some(_), .. }), "{more}: {shown:?}");
            let (location, _) = told(
                house
                    .begin(
                        &here,
                        &format!("{read}&{more}&prompt=none")
                            .replace("&prompt=login", "")
                            .replace("&prompt=select_account", ""),
                    )
                    .await,
            );
            assert!(part(&location, "error").is_some());
        }
        for more in ["max_age=100", "acr_values=gold+urn:aims:acr:code"] {
            let name = house.begun(&here, &format!("{read}&{more}")).await;
            assert!(matches!(house.show(&here, &name).await, Shown::Ask(..)), "{more}");
        }
        // Signed in anew: asked; and still too weak: the client is told.
        let name = house.begun(&here, &format!("{read}&prompt=login")).await;
        let weak = house.begun(&here, &format!("{read}&acr_values=phr")).await;
        let cookie = house.sign_in(&here, "ada").await;
        let here = browser("a", Some(&cookie));
        assert!(matches!(house.show(&here, &name).await, Shown::Ask(..)));
        match house.show(&here, &weak).await {
            Shown::Reply(reply) => {
                let error = crate::house::to(reply);
                assert_eq!(part(&error, "error"), Some("unmet_authentication_requirements"));
            }
            other => panic!("{other:?}"),
        }
    });
}

/// A provider's old session is no sign-in of now, and what it did not say is not known; the provider
/// is asked for what the client asks.
///
/// req: AUTHZ-18 (part)
#[test]
fn openid_3_1_2_1_who_came_by_an_old_session_elsewhere_signs_in_again() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let (anybody, read) = (browser("a", None), invoices("invoices.read"));
        let mut begun = Vec::new();
        for (more, age) in [
            ("&prompt=login", Some(0)),
            ("&prompt=select_account&max_age=60", Some(0)),
            ("&max_age=60", Some(60)),
            ("", None),
            ("&acr_values=phr", None),
        ] {
            let name = house.begun(&anybody, &format!("{read}{more}")).await;
            let asked = consent::age_asked(&*house.world(), &anybody, &name).await.unwrap();
            assert_eq!(asked, age.map(Span::from_seconds), "{more}");
            begun.push(name);
        }
        let elsewhere = consent::age_asked(&*house.world(), &browser("b", None), &begun[0]).await;
        assert_eq!(elsewhere.unwrap(), None);
        let cookie = house.sign_in(&anybody, "ada").await;
        let (here, world) = (browser("a", Some(&cookie)), house.world());
        let now = world.clock().now();
        let mut session = (*world.store().every::<Session>().pop().unwrap()).clone();
        session.entered = Some(now);
        for (since, undated) in [(Span::from_seconds(30 * 86_400), false), (Span::ZERO, true)] {
            session.authenticated.at = now.minus(since);
            session.undated = undated;
            world.store().put(&session);
            for name in &begun[..3] {
                let shown = house.show(&here, name).await;
                assert!(matches!(shown, Shown::SignIn { why: Some(_), .. }), "{shown:?}");
            }
            assert!(matches!(house.show(&here, &begun[3]).await, Shown::Ask(..)));
        }
        // They came by what is too weak, just now: the client is told.
        let Shown::Reply(reply) = house.show(&here, &begun[4]).await else { panic!("no reply") };
        let error = crate::house::to(reply);
        assert_eq!(part(&error, "error"), Some("unmet_authentication_requirements"));
    });
}

/// Allowed with nothing ticked is no answer.
#[test]
fn nothing_ticked_is_nothing_answered() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let name = house.begun(&here, &invoices("invoices.read")).await;
        let asking = house.asking(&here, &name).await;
        let none = Some(Choice::default());
        let settled = house.answer(&here, &name, none, asking.seen()).await;
        assert!(matches!(settled, Settled::Nothing), "{settled:?}");
        location(house.answer(&here, &name, Some(asking.whole()), asking.seen()).await);
    });
}

/// RFC 9396 §7, and AUTHZ-18: exactly what was shown is what is granted.
///
/// req: AUTHZ-10 (part)
#[test]
fn rfc9396_7_details_are_granted_as_they_were_shown() {
    story(|sim| async move {
        let ledger = files().get("resources/invoices.toml").unwrap().to_owned();
        let ledger = format!(
            "{ledger}\n[[authorization_details]]\ntype = \"payment\"\n\
             [[authorization_details.member]]\nname = \"amount\"\nshape = \"number\"\n\
             required = true\n[[authorization_details.member]]\nname = \"to\"\nshape = \"text\""
        );
        let house = House::with(&sim, files_but(&[("resources/invoices.toml", &ledger)])).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let two = "%5B%7B%22type%22:%22payment%22,%22amount%22:45,%22to%22:%22ACME%22%7D,\
                   %7B%22type%22:%22payment%22,%22amount%22:9%7D%5D";
        let query = format!("{}&authorization_details={two}", invoices("invoices.read"));
        let name = house.begun(&here, &query).await;
        let asking = house.asking(&here, &name).await;
        let lines: Vec<_> = asking.targets[0].details[0].lines.clone();
        let wanted = [("amount", "45"), ("to", "ACME")];
        assert_eq!(lines, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let taken = [consent::detail_box(0, 0)].into_iter().collect();
        let choice = Some(Choice { taken, life: None });
        location(house.answer(&here, &name, choice, asking.seen()).await);
        let grants = house.grants();
        let granted = &grants[0].targets[&format!("{GATEWAY}/invoices")];
        assert!(granted.scope.is_empty());
        let exactly = serde_json::json!({ "type": "payment", "amount": 45, "to": "ACME" });
        assert_eq!(granted.details, [exactly]);
        // The same again is not asked; the other one is.
        let both = house.begun(&here, &query).await;
        assert!(matches!(house.show(&here, &both).await, Shown::Ask(..)));
        let unknown = query.replace("%22payment%22", "%22other%22");
        let (location, _) = told(house.begin(&here, &unknown).await);
        assert_eq!(part(&location, "error"), Some("invalid_authorization_details"));
    });
}

/// Defect: each silent answer was one more grant, and to end one ended nothing.
///
/// req: AUTHZ-06 (part)
#[test]
fn s10_6_to_end_an_application_ends_it() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let both = invoices("invoices.read+invoices.pay");
        house.allow(&here, &both).await;
        let none = |scope: &str| format!("{}&prompt=none", invoices(scope));
        let silent = async |query: &str, here: &people::browser::Browser<'_>| {
            matches!(house.begin(here, query).await, consent::Begun::Reply(_))
        };
        // Less than was allowed is a grant of its own, and one however often it is asked for.
        for _ in 0..20 {
            assert!(silent(&none("invoices.read"), &here).await);
            assert!(silent(&none("invoices.read+invoices.pay"), &here).await);
        }
        assert_eq!(house.grants().len(), 2);
        // In another browser it is of that session.
        let other = house.sign_in(&browser("b", None), "ada").await;
        let there = browser("b", Some(&other));
        for _ in 0..5 {
            assert!(silent(&none("invoices.read"), &there).await);
        }
        assert_eq!(house.grants().len(), 3);
        let sessions = house.world().store().every::<Session>();
        assert!(
            house
                .grants()
                .iter()
                .all(|grant| sessions.iter().any(|one| grant.session.as_ref() == Some(&one.id)))
        );
        let ending = Ending::by("user:ada", "enough");
        let (world, grants) = (house.world(), house.grants());
        let count = ends::end_application(&*world, &grants[0], ending).await.unwrap();
        assert_eq!(count, 3);
        for here in [here, there] {
            let (location, _) = told(house.begin(&here, &none("invoices.read")).await);
            assert_eq!(part(&location, "error"), Some("consent_required"));
        }
    });
}

/// Two people may be called the same.
#[test]
fn s10_6_what_one_saw_is_not_answered_by_another_of_the_same_name() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let world = house.world();
        for (name, id) in [("ada", "user:ada"), ("ada2", "user:ada2")] {
            if name != "ada" {
                house.add(name).await;
            }
            let user = world.store().single::<UserRecord>(id).unwrap();
            world.store().put(&UserRecord { display_name: "Ada".to_owned(), ..(*user).clone() });
        }
        let first = house.sign_in(&browser("a", None), "ada").await;
        let name = house.begun(&browser("a", Some(&first)), &invoices("invoices.read")).await;
        let asking = house.asking(&browser("a", Some(&first)), &name).await;
        let second = house.sign_in(&browser("a", None), "ada2").await;
        let here = browser("a", Some(&second));
        let settled = house.answer(&here, &name, Some(asking.whole()), asking.seen()).await;
        assert!(matches!(settled, Settled::Changed), "{settled:?}");
    });
}
