//! Whom an agent acts for.

use attestation::mechanism::Step;
use jose::{Audience, NumericDate};
use oauth::agent_binding::{ActFor, AgentBindingClaims, AgentBindingRotationClaims, Role};
use oauth::confirmation::Confirmation;
use oauth::{ScopeSet, SubjectText};
use serde_json::{Value, json};
use testkit::documents::{self, Binding, Rotation, Signer};
use time::Span;

use super::{AGENT, Case, NOW, SKEW, faulty, signer, texts, values, with};

const IDP: &str = "https://idp.example";

struct Story {
    idp: Signer,
    agent: Signer,
    case: Case,
}

fn story() -> Story {
    let (idp, agent) = (signer(), signer());
    let rule = json!({ "issuers": [{
        "issuer": IDP, "keys": idp.keys(), "users": ["alice"], "roles": ["acme/buyer"],
        "scope": "calendar mail files",
    }] });
    let mut case = Case::new("binding", rule);
    case.key = Some(agent.public().thumbprint().to_base64url());
    // A binding is about the agent and its key: what was measured does not matter.
    case.measured = Vec::new();
    Story { idp, agent, case }
}

impl Story {
    fn claims(&self) -> AgentBindingClaims {
        documents::binding(IDP, AGENT, self.agent.public(), "alice", NOW).unwrap()
    }

    fn token(&self, edit: impl FnOnce(&mut AgentBindingClaims)) -> Vec<u8> {
        let mut claims = self.claims();
        edit(&mut claims);
        self.idp.token::<Binding>(&claims)
    }

    fn refuses(&self, edit: impl FnOnce(&mut AgentBindingClaims), step: Step, words: &str) {
        self.case.refuses(&self.token(edit), step, words);
    }
}

fn role(name: &str) -> ActFor {
    let text = |text: &str| SubjectText::parse(text).unwrap();
    ActFor::Role(Role { organization: text("acme"), name: text(name), granted_by: text("bob") })
}

/// req: ATT-11
#[test]
fn s3_1_an_agent_is_bound_to_a_user_or_a_role_with_a_scope() {
    let story = story();
    let finding = story.case.appraise(&story.token(|_| {})).unwrap();
    assert_eq!(
        texts(&finding),
        [
            "binding:issuer:https://idp.example",
            "binding:scope:calendar",
            "binding:scope:mail",
            "binding:user:alice",
        ]
    );
    assert_eq!(values(&finding), [("instance-identity", 2)]);
    let until = NOW.plus(Span::from_seconds(3_600));
    assert_eq!(finding.until, Some(until));
    let [used] = finding.uses.as_slice() else { panic!("{finding:?}") };
    assert_eq!(used.value, "https://idp.example\0binding-1");
    assert_eq!(used.until, until.plus(SKEW));
    let finding = story.case.appraise(&story.token(|it| it.act_for = role("buyer"))).unwrap();
    assert!(texts(&finding).contains(&"binding:role:acme/buyer"));
    assert_eq!(finding.claims["granted_by"], json!("bob"));
    let ours = "spiffe://demo.example/aims/server";
    story.case.appraise(&story.token(|it| it.aud = Some(Audience::one(ours)))).unwrap();
    story.case.appraise(&story.token(|it| it.scope = None)).unwrap();
    let all = story.case.under("/issuers/0/users", json!(["*"]));
    let carol = SubjectText::parse("carol").unwrap();
    all.appraise(&story.token(|it| it.act_for = ActFor::User(carol))).unwrap();
}

/// req: ATT-11
#[test]
fn s3_1_each_check_of_a_binding_refuses() {
    let story = story();
    let Story { case, .. } = &story;
    case.refuses(b"\xff", Step::Form, "no text");
    case.refuses(b"a.b.c", Step::Form, "does not read");
    let assertion = documents::word(IDP, AGENT, "00", NOW).unwrap();
    let other_kind = story.idp.token::<documents::Word>(&assertion);
    case.refuses(&other_kind, Step::Form, "operator-assertion+jwt");
    // Signature, by this issuer's key and no other's.
    let forged = story.agent.token::<Binding>(&story.claims());
    case.refuses(&forged, Step::Signature, "the signature does not verify");
    let unknown = |it: &mut AgentBindingClaims| it.iss = "https://other.example".to_owned();
    story.refuses(unknown, Step::Signature, "the issuer is not trusted");
    // Time.
    let late = case.at(NOW.plus(Span::from_seconds(3_600)).plus(SKEW));
    late.refuses(&story.token(|_| {}), Step::Content, "expired");
    let early = |it: &mut AgentBindingClaims| {
        it.nbf = Some(NumericDate::from_time(NOW.plus(Span::from_seconds(60))));
    };
    story.refuses(early, Step::Content, "not before");
    // Binding to the agent, its key, this server.
    let other = |it: &mut AgentBindingClaims| it.sub = format!("{AGENT}/2");
    story.refuses(other, Step::Binding, "about `spiffe://demo.example/agent/planner/2`");
    let stolen = signer().public().thumbprint();
    story.refuses(|it| it.cnf = Confirmation::Key(stolen), Step::Binding, "bound to the key");
    let jwk = Confirmation::Jwk(Box::new(story.agent.public().to_jwk()));
    story.refuses(|it| it.cnf = jwk, Step::Binding, "`cnf` has no `jkt`");
    let mut keyless = case.under("/none", Value::Null);
    keyless.key = None;
    keyless.refuses(&story.token(|_| {}), Step::Content, "the key of the agent is not known");
    let elsewhere = Audience::one("spiffe://other.example/aims/server");
    story.refuses(|it| it.aud = Some(elsewhere), Step::Binding, "another audience");
    // Policy: for whom, what, how long.
    let carol = ActFor::User(SubjectText::parse("carol").unwrap());
    story.refuses(|it| it.act_for = carol, Step::Policy, "may not speak for `user carol`");
    let admin = |it: &mut AgentBindingClaims| it.act_for = role("admin");
    story.refuses(admin, Step::Policy, "may not speak for `role acme/admin`");
    let wide = |it: &mut AgentBindingClaims| it.scope = ScopeSet::parse("calendar admin").ok();
    story.refuses(wide, Step::Policy, "wider than its issuer may give");
    let scopeless = case.under("/issuers/0/scope", Value::Null);
    scopeless.refuses(&story.token(|_| {}), Step::Policy, "wider than its issuer");
    let any = case.under("/issuers/0/scope", json!("*"));
    any.appraise(&story.token(wide)).unwrap();
    let short = case.under("/lifetime_max", json!(3_599));
    short.refuses(&story.token(|_| {}), Step::Policy, "holds for 3600 s, at most 3599 s");
    let month = NOW.plus(Span::from_seconds(30 * 86_400 + 1));
    let long = |it: &mut AgentBindingClaims| it.exp = NumericDate::from_time(month);
    story.refuses(long, Step::Policy, "at most 2592000 s");
}

/// What stands before, and behind it that `old` hands over to `next`.
fn handed_over(
    before: &[u8],
    old: &Signer,
    next: &Signer,
    edit: impl FnOnce(&mut AgentBindingRotationClaims),
) -> Vec<u8> {
    let before = String::from_utf8(before.to_vec()).unwrap();
    let mut claims = documents::rotation(&before, AGENT, old.public(), next.public(), NOW);
    edit(&mut claims);
    let rotation = String::from_utf8(old.token::<Rotation>(&claims)).unwrap();
    format!("{before}~{rotation}").into_bytes()
}

/// req: ATT-11
#[test]
fn s3_1_a_bound_key_hands_over_to_the_next_as_often_as_policy_says() {
    let story = story();
    let (second, third) = (signer(), signer());
    let held_by = |holder: &Signer, max: u64| {
        let mut case = story.case.under("/rotations_max", json!(max));
        case.key = Some(holder.public().thumbprint().to_base64url());
        case
    };
    let binding = story.token(|_| {});
    let once = handed_over(&binding, &story.agent, &second, |_| {});
    let twice = handed_over(&once, &second, &third, |_| {});
    for (holder, document, number) in [(&second, &once, 1), (&third, &twice, 2)] {
        let finding = held_by(holder, 2).appraise(document).unwrap();
        assert!(texts(&finding).contains(&"binding:user:alice"));
        // Each serves once, and ends with the binding.
        let [used] = finding.uses.as_slice() else { panic!("{finding:?}") };
        assert_eq!(used.value, format!("https://idp.example\0binding-1\0{number}"));
        assert_eq!(finding.until, Some(NOW.plus(Span::from_seconds(3_600))));
    }
    // The key before, and a key that it was not handed to.
    held_by(&story.agent, 2).refuses(&once, Step::Binding, "bound to the key");
    held_by(&third, 2).refuses(&once, Step::Binding, "bound to the key");
    held_by(&third, 1).refuses(&twice, Step::Policy, "1 times at the most");
    held_by(&second, 0).refuses(&once, Step::Policy, "0 times at the most");
    let case = held_by(&second, 2);
    // By another key, under its own name and under that of the one before.
    let thief = handed_over(&binding, &third, &second, |_| {});
    case.refuses(&thief, Step::Binding, "not by the key before it");
    let jwk = story.agent.public().to_jwk();
    let forged = handed_over(&binding, &third, &second, |it| it.jwk = jwk);
    case.refuses(&forged, Step::Signature, "the signature does not verify");
    // Of another binding, of another agent, from the future, over; and no token at all.
    let other = story.token(|it| it.scope = None);
    let moved = handed_over(&other, &story.agent, &second, |_| {});
    let moved = [&binding[..], &moved[other.len()..]].concat();
    case.refuses(&moved, Step::Binding, "does not follow");
    let agent = |it: &mut AgentBindingRotationClaims| it.sub = format!("{AGENT}/2");
    let agent = handed_over(&binding, &story.agent, &second, agent);
    case.refuses(&agent, Step::Binding, "about `spiffe://demo.example/agent/planner/2`");
    let over = NumericDate::from_time(NOW.minus(Span::from_seconds(120)));
    let over = handed_over(&binding, &story.agent, &second, |it| it.exp = Some(over));
    case.refuses(&over, Step::Content, "expired");
    case.refuses(&[&binding[..], b"~"].concat(), Step::Form, "does not read");
    // The second of two alone.
    let (first, last) = (binding.len(), once.len());
    let skipped = [&binding[..], &twice[last..]].concat();
    held_by(&third, 2).refuses(&skipped, Step::Binding, "not by the key before it");
    assert!(first < last);
}

#[test]
fn s3_1_policy_of_bindings_is_read_whole() {
    let rule = story().case.rule;
    let check = |pointer: &str, new: Value, key: &str, words: &str| {
        faulty("binding", &rule, pointer, new, key, words);
    };
    check("/more", json!(1), "", "unknown field `more`");
    check("/issuers/0/more", json!(1), "", "unknown field `more`");
    check("/issuers", json!([]), "issuers", "0 entries");
    check("/issuers/0/issuer", json!(""), "issuers", "is empty or stands twice");
    check("/issuers/0/keys", json!("x"), "issuers", "neither a JWK set nor PEM");
    check("/issuers/0/scope", json!("a  \"b"), "issuers", "");
    check("/lifetime_max", json!(90 * 86_400 + 1), "lifetime_max", "90 days");
    check("/rotations_max", json!(17), "rotations_max", "16 at the most");
    check("/lifetime_max", json!(0), "lifetime_max", "90 days");
    let nobody = with(&rule, "/issuers/0/users", json!([]));
    faulty("binding", &nobody, "/issuers/0/roles", json!([]), "issuers", "speaks for nobody");
}
