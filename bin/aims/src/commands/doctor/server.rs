//! What the server says of itself, and what does not fit.

use std::time::Duration;

use api::admin::messages::{
    KeyShown, NodeShown, PolicyInForce, RelationShown, RingShown, Status, SuperiorShown,
};
use credential::Purpose;
use policy::PolicySet;
use provisioning::State as Life;
use provisioning::alarm::AlarmKind;
use spiffe::federation::poll_after;
use time::{Span, UnixTime};
use tokio::net::TcpStream;

use crate::commands::Context;
use crate::commands::doctor::{Finding, agents, clients};
use crate::exit::Failure;
use crate::output::when;
use crate::span;
use wiring::layout::{Settings, policy_files};
use wiring::server::CLOCK_HINT;
use wiring::world::SystemClock;

/// How far the server's clock may be from the one here: they are the same machine's.
const CLOCK_SPARE: Span = Span::from_seconds(2);
/// How long a listener may take to answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// How late the next fetch of a bundle may be.
const FEDERATION_SPARE: Span = Span::from_seconds(120);
/// Hosts of one page.
const PAGE: usize = 500;

/// Asks the server, for its policy too; `Err` when it does not answer.
pub(crate) async fn look(
    context: &Context,
    findings: &mut Vec<Finding>,
) -> Result<Option<PolicySet>, Failure> {
    if context.place.dir().is_dir() {
        ports(context, findings).await;
    }
    let server = context.server();
    let status = server.status().await?;
    findings.extend(of_status(&status, SystemClock::read()));
    findings.extend(of_alarms(&status));
    let now = status.now;
    findings.extend(server.keys().await?.iter().map(|ring| of_ring(ring, now)));
    findings.extend(server.relations().await?.iter().map(|relation| of_relation(relation, now)));
    let policy = match status.policy {
        Some(_) => Some(server.current_policy().await?),
        None => None,
    };
    let set = policy.as_ref().and_then(|row| PolicySet::compile(row.files.clone()).ok());
    if let Some(set) = &set {
        findings.extend(of_feeds(&status, set.domain().revocation.feed_lost_after));
        findings.extend(clients::of_policy(set.domain(), &status.issuer));
        findings.extend(agents::look(&server, set).await?);
        let life = set.domain().lifetimes.component;
        let mut after = None::<String>;
        loop {
            let page = server.nodes(after.as_deref(), Some(PAGE)).await?;
            findings.extend(page.items.iter().filter_map(|node| of_node(node, life, now)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    findings.extend(policy.and_then(|policy| of_folder(context, &policy)));
    Ok(set)
}

/// Whether somebody listens at the ports of the settings.
async fn ports(context: &Context, findings: &mut Vec<Finding>) {
    const CHECK: &str = "listeners";
    let path = context.place.dir().join("aims.toml");
    let settings = match Settings::read(&path) {
        Ok(settings) => settings,
        Err(error) => {
            let todo = "see what it should hold: `aims up --help`";
            return findings.push(Finding::wrong("settings", error, todo));
        }
    };
    let doors = ["issuer", "mutual TLS", "node API", "gateway"];
    let doors = doors.into_iter().zip((0..).map(|offset| settings.port(offset)));
    let federation = settings.federation_port.map(|port| ("bundle endpoint", port));
    let spire = settings.spire_port.map(|port| ("SPIRE API", port));
    for (door, port) in doors.chain(federation).chain(spire) {
        let address = (settings.listen.clone(), port);
        let tried =
            tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect(address.clone())).await;
        let why = match tried {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer".to_owned()),
        };
        let place = format!("{door} at {}:{}", address.0, address.1);
        findings.push(match why {
            None => Finding::ok(CHECK, format!("{place} answers")),
            Some(why) => {
                let todo = "start it with `aims up`; if the port is another program's, choose \
                            others: `aims up --port-base N`";
                Finding::wrong(CHECK, format!("{place}: {why}"), todo)
            }
        });
    }
}

fn of_status(status: &Status, now: UnixTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match &status.not_ready {
        None => Finding::ok("server", format!("{} serves as {}", status.version, status.issuer)),
        Some(why) => {
            let todo = "mend that and restart it; what it logs says more";
            Finding::wrong("server", format!("not ready: {why}"), todo)
        }
    });
    findings.push(if status.keys_sealed {
        Finding::ok("sealing", "private keys lie sealed")
    } else {
        let todo = "set `seal_credential` or `seal_passphrase` in aims.toml and restart";
        Finding::note("sealing", "private keys lie unsealed, in files of mode 0600", todo)
    });
    let apart = status.now.since(now).max(now.since(status.now));
    findings.push(if apart > CLOCK_SPARE {
        let found = format!("the server's clock is {} from the one here", span::show(apart));
        Finding::wrong(
            "clock",
            found,
            "let the machine keep its time (NTP), then restart the server",
        )
    } else {
        Finding::ok("clock", format!("{} there", when(status.now)))
    });
    findings.extend(status.jumped_back_from.map(|recorded| {
        let back = span::show(recorded.since(status.now));
        let found = format!("the server's clock jumped back by {back}: nothing is issued");
        Finding::wrong("clock", found, CLOCK_HINT)
    }));
    findings.push(match (&status.trust_domain, &status.policy) {
        (Some(domain), Some(version)) => Finding::ok("policy", format!("{domain}: {version}")),
        _ => Finding::wrong("policy", "no policy is in force", "aims policy apply DIR --reason …"),
    });
    findings.extend(status.superior.as_ref().map(|superior| of_superior(superior, now)));
    for log in &status.logs {
        let (name, entries, promised) = (&log.name, log.entries, log.promised);
        let found = format!("`{name}` has {entries} entries, {promised} under its checkpoint");
        findings.push(Finding::ok("log", found));
    }
    findings
}

/// What begins to go wrong, hours or minutes before something ends by it; and how long others go on
/// without this server. Relations have a finding of their own.
fn of_alarms(status: &Status) -> Vec<Finding> {
    const CHECK: &str = "renewals";
    let others = status.alarms.iter().filter(|alarm| alarm.kind != AlarmKind::BundleFailing);
    let mut findings: Vec<_> = others
        .map(|alarm| {
            let left = alarm.ends.map(|ends| span::show(ends.since(status.now)));
            let left = left.map_or_else(String::new, |left| format!("; {left} left"));
            let since = span::show(status.now.since(alarm.since));
            let found = format!("{}, for {since}: {}{left}", alarm.subject, alarm.why);
            Finding::wrong(CHECK, found, alarm.kind.todo())
        })
        .collect();
    findings.extend(status.outage.map(|outage| {
        let found = format!(
            "without this server, nodes and gateways decide for {}; agents go on with X.509-SVIDs \
             for {} and with WITs for {} at the least; nodes come back by themselves within {}",
            span::show(outage.decides),
            span::show(outage.x509_svid),
            span::show(outage.wit),
            span::show(outage.component)
        );
        Finding::ok("outage budget", found)
    }));
    findings
}

/// The authority above answers, or did not since some time, and what that means when.
fn of_superior(superior: &SuperiorShown, now: UnixTime) -> Finding {
    const CHECK: &str = "upstream authority";
    let name = &superior.name;
    let until =
        superior.signs_until.map_or("never".to_owned(), |until| format!("until {}", when(until)));
    let Some(since) = superior.failing_since else {
        return Finding::ok(CHECK, format!("{name}; its intermediate signs {until}"));
    };
    let why = superior.why.as_deref().unwrap_or("no answer");
    let again = superior.again.map_or(String::new(), |again| format!(", next {}", when(again)));
    let found = format!(
        "{name} gives no intermediate since {}: {why}; what there is signs {until}{again}",
        when(since)
    );
    let todo = "mend what `[upstream_authority]` in aims.toml names: it is asked again by itself; \
                until then what there is serves";
    // Half of the time that was left is over.
    let is_late = superior.signs_until.is_none_or(|until| until.since(now) < now.since(since));
    if is_late { Finding::wrong(CHECK, found, todo) } else { Finding::note(CHECK, found, todo) }
}

/// Some key signs now, and another will when it ends.
fn of_ring(ring: &RingShown, now: UnixTime) -> Finding {
    const CHECK: &str = "signing keys";
    let purpose = &ring.purpose;
    let signs = |key: &&KeyShown| key.signs_from <= now && now < key.signs_until;
    let todo = "see that the server runs and can write its keys: it rotates them by itself";
    let is_on_demand =
        Purpose::FOR_CLIENTS.into_iter().any(|one| one.is_on_demand() && one.name() == *purpose);
    if is_on_demand && ring.keys.iter().all(|key| now < key.signs_from) {
        let found = format!("`{purpose}` has not signed yet: a client that wants it gets a key");
        return Finding::ok(CHECK, found);
    }
    let Some(current) = ring.keys.iter().filter(signs).max_by_key(|key| key.signs_until) else {
        return Finding::wrong(CHECK, format!("no key of `{purpose}` signs now"), todo);
    };
    let until = current.signs_until;
    // Published before its first use: who has none when the announcement is due will have a gap.
    let ahead = current.signs_from.since(current.published);
    let has_next = ring.keys.iter().any(|key| key.signs_until > until);
    if !has_next && now.plus(ahead) > until.plus(CLOCK_SPARE) && ahead > Span::ZERO {
        let found = format!("the key of `{purpose}` ends at {}, and has no successor", when(until));
        return Finding::wrong(CHECK, found, todo);
    }
    Finding::ok(CHECK, format!("`{purpose}` signs with {} until {}", current.kid, when(until)))
}

/// Whether the bundle of another trust domain can be fetched, and how old the one is that is used.
fn of_relation(relation: &RelationShown, now: UnixTime) -> Finding {
    const CHECK: &str = "federation";
    let domain = &relation.trust_domain;
    let fetched = relation.fetched.as_ref();
    let age = fetched.map(|last| now.since(last.at));
    let used = match age {
        Some(age) => format!("the bundle that is used is {} old", span::show(age)),
        None => "nothing that it issued is believed".to_owned(),
    };
    let todo = format!(
        "see `aims federation show {domain}`; when it is mended: aims federation refresh {domain}"
    );
    if let Some(fault) = &relation.fault {
        let found = format!("the bundle of {domain} cannot be fetched: {}; {used}", fault.message);
        return Finding::wrong(CHECK, found, todo);
    }
    let Some((age, last)) = age.zip(fetched) else {
        return Finding::note(CHECK, format!("the bundle of {domain} was not fetched yet"), todo);
    };
    if minus(age, FEDERATION_SPARE) > poll_after(last.refresh_hint) {
        return Finding::wrong(CHECK, format!("{domain} is not asked any longer; {used}"), todo);
    }
    Finding::ok(CHECK, format!("the bundle of {domain} is {} old", span::show(age)))
}

fn of_feeds(status: &Status, lost_after: Span) -> Vec<Finding> {
    let of = |feed: &api::FeedState| {
        let (component, silent) = (&feed.component, status.now.since(feed.heard));
        if silent > lost_after {
            let found = format!("{component} has not heard the server for {}", span::show(silent));
            let todo = "it refuses until it does: see that it reaches the node API";
            return Finding::wrong("feed", found, todo);
        }
        Finding::ok("feed", format!("{component} heard the server {} ago", span::show(silent)))
    };
    status.feeds.iter().map(of).collect()
}

/// Hosts renew when half of the life of their credential is over.
fn of_node(node: &NodeShown, life: Span, now: UnixTime) -> Option<Finding> {
    const CHECK: &str = "nodes";
    if node.lifecycle.state != Life::Active {
        return None;
    }
    let (id, since) = (&node.id, now.since(node.renewed));
    let todo = "see that it runs and reaches the node API; if it is gone for good, let it be";
    if since >= life {
        let found = format!("the credential of {id} ended {} ago", span::show(minus(since, life)));
        return Some(Finding::note(CHECK, found, todo));
    }
    let late = Span::from_millis(life.millis() / 4 * 3);
    if since >= late {
        let found = format!("{id} is late: it renewed {} ago", span::show(since));
        return Some(Finding::wrong(CHECK, found, todo));
    }
    Some(Finding::ok(CHECK, format!("{id} renewed {} ago", span::show(since))))
}

/// What lies in the policy directory, compared with what is in force.
fn of_folder(context: &Context, policy: &PolicyInForce) -> Option<Finding> {
    const CHECK: &str = "policy files";
    let folder = context.place.dir().join("policy");
    let files = policy_files(&folder).ok()?;
    if files == policy.files {
        return Some(Finding::ok(CHECK, "the policy directory is what is in force"));
    }
    let todo = format!("see what would change: aims policy plan {}", folder.display());
    Some(Finding::note(CHECK, "the policy directory differs from what is in force", todo))
}

fn minus(span: Span, less: Span) -> Span {
    Span::from_millis(span.millis().saturating_sub(less.millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::State;

    const NOW: UnixTime = UnixTime::from_seconds(1_000_000);

    fn status() -> Status {
        Status {
            version: "0.1.0".to_owned(),
            issuer: "https://localhost:8443".to_owned(),
            not_ready: None,
            origin: wimse::Origin::parse("spiffe://demo.example").ok(),
            trust_domain: Some("demo.example".to_owned()),
            policy: Some("sha256:77".to_owned()),
            epoch: Some(0),
            keys_sealed: true,
            logs: Vec::new(),
            feeds: Vec::new(),
            now: NOW,
            jumped_back_from: None,
            alarms: Vec::new(),
            outage: None,
            superior: None,
        }
    }

    /// req: CRED-12 (part)
    #[test]
    fn s8_an_authority_above_that_is_away_is_told_with_what_is_left() {
        let hours = |count: u64| NOW.plus(Span::from_seconds(3_600 * count));
        let shown = SuperiorShown {
            name: "the key in `ca.key`".to_owned(),
            signs_until: Some(hours(10)),
            failing_since: None,
            why: None,
            again: None,
        };
        assert_eq!(of_superior(&shown, NOW).state, State::Ok);
        let failing = SuperiorShown {
            failing_since: Some(NOW),
            why: Some("`ca.key`: gone".to_owned()),
            again: Some(hours(2)),
            ..shown
        };
        let early = of_superior(&failing, hours(1));
        assert_eq!(early.state, State::Note);
        assert_eq!(
            early.found,
            "the key in `ca.key` gives no intermediate since 1970-01-12T13:46:40Z: `ca.key`: \
             gone; what there is signs until 1970-01-12T23:46:40Z, next 1970-01-12T15:46:40Z"
        );
        assert_eq!(of_superior(&failing, hours(6)).state, State::Wrong);
        let never = SuperiorShown { signs_until: None, ..failing };
        assert_eq!(of_superior(&never, hours(1)).state, State::Wrong);
    }

    #[test]
    fn each_thing_that_is_not_as_it_should_be_is_found() {
        let check = |status: Status, expect: [State; 4]| {
            let found = of_status(&status, NOW).into_iter().map(|finding| finding.state);
            assert_eq!(found.collect::<Vec<_>>(), expect, "{status:?}");
        };
        use State::{Note, Ok, Wrong};
        check(status(), [Ok, Ok, Ok, Ok]);
        let not_ready = Some("the log is closed".to_owned());
        check(Status { not_ready, ..status() }, [Wrong, Ok, Ok, Ok]);
        check(Status { keys_sealed: false, ..status() }, [Ok, Note, Ok, Ok]);
        let late = NOW.plus(Span::from_seconds(3));
        check(Status { now: late, ..status() }, [Ok, Ok, Wrong, Ok]);
        check(Status { now: NOW.minus(Span::from_seconds(3)), ..status() }, [Ok, Ok, Wrong, Ok]);
        check(Status { policy: None, ..status() }, [Ok, Ok, Ok, Wrong]);
        let jumped_back_from = Some(NOW.plus(Span::from_seconds(60)));
        let found = of_status(&Status { jumped_back_from, ..status() }, NOW);
        let told = found.iter().find(|finding| finding.state == Wrong).unwrap();
        assert_eq!(told.found, "the server's clock jumped back by 1m: nothing is issued");
    }

    #[test]
    fn a_bundle_that_cannot_be_fetched_is_found() {
        use credential::federation::{Keeper, Relation, Terms};
        let terms = Terms {
            trust_domain: spiffe::TrustDomain::parse("other.example").unwrap(),
            profile: spiffe::federation::Profile::HttpsWeb,
            url: spiffe::federation::EndpointUrl::parse("https://other.example/b").unwrap(),
            endpoint_id: None,
            bundle: None,
            wit: true,
        };
        let begun = Relation::begin(terms, Keeper::Operator, NOW);
        let (good, _) = begun.take("{\"keys\":[]}", [0; 16], NOW).unwrap();
        let failing = good.failed("fetch::Status", "it answers with status 500", [0; 16], NOW);
        let at = |relation: &Relation, seconds: u64| {
            let shown = flow::federate::Shown { relation: relation.clone(), keys: None };
            of_relation(&RelationShown::from(shown), NOW.plus(Span::from_seconds(seconds)))
        };
        assert_eq!(at(&begun, 0).state, State::Note);
        assert_eq!(at(&good, 300).state, State::Ok);
        assert_eq!(at(&good, 421).state, State::Wrong);
        assert_eq!(at(&failing, 60).state, State::Wrong);
        let told = at(&failing, 60).found;
        let expect = "the bundle of other.example cannot be fetched: it answers with status 500; \
                      the bundle that is used is 1m old";
        assert_eq!(told, expect);
    }

    /// req: PROV-09 (part)
    #[test]
    fn s8_what_begins_to_go_wrong_is_told_with_what_to_do() {
        use provisioning::alarm::{Alarm, Outage};
        let alarm = |kind, ends| Alarm {
            kind,
            subject: "spiffe://a/n".to_owned(),
            since: NOW.minus(Span::from_seconds(60)),
            ends,
            why: "it is so".to_owned(),
        };
        let ends = Some(NOW.plus(Span::from_seconds(1_200)));
        let outage =
            Some(Outage::of(&credential::policy::Lifetimes::default(), Span::from_seconds(10)));
        let alarms = vec![alarm(AlarmKind::NodeLate, ends), alarm(AlarmKind::BundleFailing, None)];
        let found = of_alarms(&Status { alarms, outage, ..status() });
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].found, "spiffe://a/n, for 1m: it is so; 20m left");
        assert_eq!((found[0].state, found[1].state), (State::Wrong, State::Ok));
        assert!(found[0].todo.as_deref().unwrap().contains("node API"));
        assert!(found[1].found.contains("X.509-SVIDs for 30m"), "{}", found[1].found);
    }

    #[test]
    fn a_component_that_hears_nothing_is_found() {
        let bound = Span::from_seconds(10);
        let feed = |seconds| {
            let heard = NOW.minus(Span::from_seconds(seconds));
            let feeds = vec![api::FeedState { component: "node:a".to_owned(), heard, seq: 1 }];
            of_feeds(&Status { feeds, ..status() }, bound).remove(0).state
        };
        assert_eq!(feed(10), State::Ok);
        assert_eq!(feed(11), State::Wrong);
    }

    #[test]
    fn a_node_that_does_not_renew_is_found() {
        let life = Span::from_seconds(3_600);
        let node = |seconds: u64| {
            let renewed = NOW.minus(Span::from_seconds(seconds));
            let lifecycle = provisioning::Lifecycle::begin(provisioning::Epoch(0), renewed);
            NodeShown {
                id: "spiffe://demo.example/aims/node/join_token/a".to_owned(),
                role: attestation::mechanism::Role::Node,
                mechanism: "join_token".to_owned(),
                joined: renewed,
                renewed,
                lifecycle,
                selectors: Vec::new(),
                ends: None,
                forgotten: false,
                heard: None,
                troubles: Vec::new(),
                agents: None,
                ended: Vec::new(),
            }
        };
        for (seconds, state) in [
            (1_800, State::Ok),
            (2_699, State::Ok),
            (2_700, State::Wrong),
            (3_599, State::Wrong),
            (3_600, State::Note),
        ] {
            assert_eq!(of_node(&node(seconds), life, NOW).unwrap().state, state, "{seconds}");
        }
        let mut gone = node(9_000);
        gone.lifecycle.state = Life::Revoked;
        assert_eq!(of_node(&gone, life, NOW), None);
    }

    #[test]
    fn a_ring_without_a_key_for_now_or_for_later_is_found() {
        let jwk: jose::Jwk = serde_json::from_value(serde_json::json!({
            "kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }))
        .unwrap();
        let at =
            |seconds: i64| UnixTime::from_seconds(1_000_000_u64.saturating_add_signed(seconds));
        let key = |published, from, until| KeyShown {
            kid: "k".to_owned(),
            public: jwk.clone(),
            published: at(published),
            signs_from: at(from),
            signs_until: at(until),
            kept_until: at(until + 300),
            holder: None,
            tainted: None,
        };
        let state_of = |purpose: &str, keys: &[(i64, i64, i64)]| {
            let keys = keys.iter().map(|(p, f, u)| key(*p, *f, *u)).collect();
            of_ring(&RingShown { purpose: purpose.to_owned(), keys }, NOW).state
        };
        let state = |keys: &[(i64, i64, i64)]| state_of("wit", keys);
        assert_eq!(state(&[]), State::Wrong);
        assert_eq!(state(&[(-9_000, -9_000, -1)]), State::Wrong);
        assert_eq!(state(&[(10, 20, 900)]), State::Wrong);
        assert_eq!(state(&[(-100, -100, 50_000)]), State::Ok);
        assert_eq!(state(&[(-8_000, -4_400, 10_000)]), State::Ok);
        assert_eq!(state(&[(-8_000, -4_400, 600)]), State::Wrong);
        assert_eq!(state(&[(-8_000, -4_400, 600), (-3_000, 600, 90_000)]), State::Ok);
        // Made ahead of the first client that wants it; one that signed is like any other.
        for on_demand in ["id-token-rs256", "id-token-ps256", "id-token-eddsa"] {
            assert_eq!(state_of(on_demand, &[(0, 600, 90_000)]), State::Ok);
            assert_eq!(state_of(on_demand, &[(-9_000, -9_000, -1)]), State::Wrong);
        }
    }
}
