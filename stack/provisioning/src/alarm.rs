//! What will end unless somebody mends what keeps it from being renewed, and how long those who
//! depend on the server go on without it (S1 §8; PROV-09).

use credential::policy::Lifetimes;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::renewal::Trouble;

/// How long a node may say nothing before somebody is told: longer than a restart takes.
pub const SILENT_AFTER: Span = Span::from_seconds(60);
/// How long a renewal may fail before somebody is told: a server that starts again mends it.
pub const FAILING_AFTER: Span = Span::from_seconds(30);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// A node did not renew its credential when it was due.
    NodeLate,
    /// A node that was heard is not heard any longer.
    NodeSilent,
    /// A node tells that a renewal fails there.
    RenewalFailing,
    /// A signing key has no successor when there should be one.
    KeyOverdue,
    /// The bundle of another trust domain cannot be fetched.
    BundleFailing,
}

impl AlarmKind {
    /// All of them, for tables.
    pub const ALL: [Self; 5] = [
        Self::NodeLate,
        Self::NodeSilent,
        Self::RenewalFailing,
        Self::KeyOverdue,
        Self::BundleFailing,
    ];

    /// The name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeLate => "node_late",
            Self::NodeSilent => "node_silent",
            Self::RenewalFailing => "renewal_failing",
            Self::KeyOverdue => "key_overdue",
            Self::BundleFailing => "bundle_failing",
        }
    }

    /// What an operator does about it.
    pub const fn todo(self) -> &'static str {
        match self {
            Self::NodeLate | Self::NodeSilent => {
                "see that it runs and reaches the node API; if it is gone for good, revoke it"
            }
            Self::RenewalFailing => "see why there, before what is held ends: aims node show",
            Self::KeyOverdue => "see that the server runs and can write its keys",
            Self::BundleFailing => {
                "see `aims federation show`; when it is mended: aims federation refresh"
            }
        }
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What.
    pub kind: AlarmKind,
    /// Whose: an identifier, the purpose of a key, a trust domain.
    pub subject: String,
    /// Since when.
    pub since: UnixTime,
    /// When something ends by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<UnixTime>,
    /// In words.
    pub why: String,
}

/// A node as its renewals are judged.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its identifier.
    pub id: &'a str,
    /// When it renewed last.
    pub renewed: UnixTime,
    /// When its credential ends.
    pub ends: UnixTime,
    /// When it was heard last, as far as is known.
    pub heard: Option<UnixTime>,
    /// What it tells.
    pub troubles: &'a [Trouble],
    /// Hosts of one job go without a word.
    pub is_brief: bool,
}

impl Standing<'_> {
    /// What is wrong with it. A credential that ended is no alarm any longer: nothing is to be
    /// saved.
    pub fn alarms(&self, now: UnixTime) -> Vec<Alarm> {
        let mut found = Vec::new();
        if now >= self.ends {
            return found;
        }
        let mut report = |kind, subject: &str, since, ends, why: String| {
            found.push(Alarm { kind, subject: subject.to_owned(), since, ends: Some(ends), why });
        };
        // It renews when half of the life is over; an eighth more is for tries that failed.
        let life = self.ends.since(self.renewed).millis();
        let due = self.renewed.plus(Span::from_millis(life / 2));
        if !self.is_brief && now >= due.plus(Span::from_millis(life / 8)) {
            let why = format!("it should have renewed at {due}");
            report(AlarmKind::NodeLate, self.id, due, self.ends, why);
        }
        if let Some(heard) = self.heard.filter(|heard| now >= heard.plus(SILENT_AFTER))
            && !self.is_brief
        {
            let why = format!("it was last heard at {heard}");
            report(AlarmKind::NodeSilent, self.id, heard, self.ends, why);
        }
        for trouble in self.troubles.iter().filter(|trouble| now < trouble.until) {
            if now >= trouble.since.plus(FAILING_AFTER) {
                let why = format!("at {}: {}", self.id, trouble.why);
                let (since, ends) = (trouble.since, trouble.until);
                report(AlarmKind::RenewalFailing, &trouble.subject, since, ends, why);
            }
        }
        found
    }
}

/// How long those who depend on the server go on without it, whenever it goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Nodes and gateways hand out, sign and decide: revocations could have been missed afterwards.
    pub decides: Span,
    /// Workloads go on with the X.509-SVIDs that they hold.
    pub x509_svid: Span,
    /// And with the WITs.
    pub wit: Span,
    /// Nodes and gateways come back by themselves; afterwards they must join anew.
    pub component: Span,
}

impl Outage {
    /// What policy makes of it: who renews when half of a life is over has the other half left.
    pub fn of(lifetimes: &Lifetimes, feed_lost_after: Span) -> Self {
        let left = |life: Span| Span::from_millis(life.millis() - life.millis() / 2);
        Self {
            decides: feed_lost_after,
            x509_svid: left(lifetimes.x509_svid),
            wit: left(lifetimes.wit),
            component: left(lifetimes.component),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_000_000 + seconds)
    }

    fn kinds(standing: Standing<'_>, now: u64) -> Vec<AlarmKind> {
        standing.alarms(at(now)).into_iter().map(|alarm| alarm.kind).collect()
    }

    /// req: PROV-09 (part)
    #[test]
    fn s8_a_renewal_that_fails_is_seen_long_before_anything_ends() {
        use AlarmKind::{NodeLate, NodeSilent, RenewalFailing};
        let well = Standing {
            id: "n",
            renewed: at(0),
            ends: at(3_600),
            heard: None,
            troubles: &[],
            is_brief: false,
        };
        assert_eq!(kinds(well, 2_249), []);
        // More than a third of the life is left.
        assert_eq!(kinds(well, 2_250), [NodeLate]);
        assert_eq!(kinds(well, 3_599), [NodeLate]);
        assert_eq!(kinds(well, 3_600), []);
        assert_eq!(kinds(Standing { is_brief: true, ..well }, 3_000), []);
        let heard = Standing { heard: Some(at(100)), ..well };
        assert_eq!(kinds(heard, 159), []);
        assert_eq!(kinds(heard, 160), [NodeSilent]);
        let trouble = |subject: &str, since, until| Trouble {
            subject: subject.to_owned(),
            since: at(since),
            until: at(until),
            why: "no route".to_owned(),
        };
        let troubles = [trouble("a", 100, 1_000), trouble("b", 120, 1_000)];
        let told = Standing { troubles: &troubles, ..well };
        assert_eq!(kinds(told, 129), []);
        assert_eq!(kinds(told, 130), [RenewalFailing]);
        let alarms = told.alarms(at(150));
        assert_eq!(alarms.len(), 2);
        assert_eq!((alarms[0].subject.as_str(), alarms[0].ends), ("a", Some(at(1_000))));
        assert_eq!(alarms[0].why, "at n: no route");
        assert_eq!(kinds(told, 1_000), []);
    }

    /// req: PROV-09 (part)
    #[test]
    fn s8_the_outage_budget_is_half_of_each_life() {
        let budget = Outage::of(&Lifetimes::default(), Span::from_seconds(10));
        let seconds = [budget.decides, budget.x509_svid, budget.wit, budget.component];
        assert_eq!(seconds.map(Span::seconds), [10, 1_800, 1_800, 1_800]);
    }
}
