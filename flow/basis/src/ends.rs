//! What ends before its time (OBS-10; docs/design.md §2, ideas 5 and 6): a grant with all that came
//! of it, or all grants of a client.
//!
//! Every end is one row by the id that ended, in one commit with its record. Whoever is shown a
//! token looks up the ids that it came from: no list of issued tokens is needed for that, and an
//! end costs the same whether one token came of it or a thousand.

use authorization::granted::{End, Ended, GrantRecord, Way};
use credential::policy::ACCESS_TOKEN_SECONDS_MAX;
use env::{
    Change, Clock, CommitFault, Expect, Index, Key, Recorded, Snapshot, Store, Stored, Table,
    Unavailable, World, Write,
};
use monitoring::{Event, Record};
use time::{Span, UnixTime};

use crate::record::begin;
use crate::turns::{TRIES_MAX, overtaken, pause};

/// How long an end is remembered: nothing that came of it lives longer, at whatever clock.
pub const REMEMBERED: Span = Span::from_seconds(ACCESS_TOKEN_SECONDS_MAX + CLOCKS);
/// How far clocks may differ at the most.
const CLOCKS: u64 = 120;
/// Grants that end in one commit.
const BATCH: usize = 64;

/// Who ends something, and why.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// A user, an operator, a client, or a check by its name.
    pub by: &'a str,
    /// The operator, where it is one: nobody else is named as such in a record.
    pub operator: Option<&'a str>,
    /// In words.
    pub why: &'a str,
}

impl<'a> Ending<'a> {
    /// By an operator.
    pub const fn by_operator(operator: &'a str, why: &'a str) -> Self {
        Self { by: operator, operator: Some(operator), why }
    }

    /// By a user, a client, or a check.
    pub const fn by(by: &'a str, why: &'a str) -> Self {
        Self { by, operator: None, why }
    }

    fn at(&self, at: UnixTime) -> End {
        End { at, by: self.by.to_owned(), why: self.why.to_owned() }
    }
}

/// The writes that end a grant, to go with others into one commit.
pub fn of_grant(grant: &Stored<GrantRecord>, ending: Ending<'_>, now: UnixTime) -> [Write; 2] {
    let ended = grant.after_end(ending.at(now));
    [
        Write::put(&ended, Expect::Version(grant.version)),
        Write::put(&row(&grant.id, ending.why, now), Expect::Any),
    ]
}

/// Ends a grant and all that came of it; `None` where there is none of that id. One that ended
/// before stays ended for its first reason.
pub async fn end_grant<W: World>(
    world: &W,
    id: &str,
    ending: Ending<'_>,
) -> Result<Option<Recorded<GrantRecord>>, Unavailable> {
    for turn in 0..TRIES_MAX {
        let Some(grant) = crate::facts::one::<W, GrantRecord>(world, id).await? else {
            return Ok(None);
        };
        let now = world.clock().now();
        let records = vec![told(world, &grant, ending)];
        let writes = of_grant(&grant, ending, now).into();
        match world.store().commit(Change { writes, uses: Vec::new(), records }).await {
            Ok(receipt) => {
                let ended = grant.after_end(ending.at(now));
                return Ok(Some(Recorded::new(ended, &receipt)));
            }
            Err(CommitFault::Unavailable(why)) => return Err(why),
            Err(_) => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

/// Ends a grant that a user gave in a browser, and with it all that its client was given so by the
/// same user: none of them answers for the user without asking. How many.
pub async fn end_application<W: World>(
    world: &W,
    grant: &GrantRecord,
    ending: Ending<'_>,
) -> Result<usize, Unavailable> {
    if grant.way != Way::Code {
        return Ok(usize::from(end_grant(world, &grant.id, ending).await?.is_some()));
    }
    let of_it = |one: &GrantRecord| one.way == Way::Code && one.client_id == grant.client_id;
    end_grants(world, (Index::User, &grant.subject), of_it, ending).await
}

/// Ends all grants of a client. How many.
pub async fn end_client<W: World>(
    world: &W,
    client: &str,
    ending: Ending<'_>,
) -> Result<usize, Unavailable> {
    end_grants(world, (Index::Client, client), |_| true, ending).await
}

/// Ends the grants that a user gave: to one client, or all of them. How many.
pub async fn end_of_user<W: World>(
    world: &W,
    user: &str,
    client: Option<&str>,
    ending: Ending<'_>,
) -> Result<usize, Unavailable> {
    let wanted = |grant: &GrantRecord| client.is_none_or(|client| grant.client_id == client);
    end_grants(world, (Index::User, user), wanted, ending).await
}

/// The first of these ids that ended, as `rows` say, which were read for [`keys`].
pub fn first<'a>(
    rows: &Snapshot,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Ended>, Unavailable> {
    for id in ids {
        if let Some(ended) = rows.get::<Ended>(id)? {
            return Ok(Some((*ended.value).clone()));
        }
    }
    Ok(None)
}

/// The rows to read for [`first`].
pub fn keys<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<Key> {
    ids.into_iter().map(Key::of::<Ended>).collect()
}

/// Ends the grants found there, a batch a commit.
async fn end_grants<W: World>(
    world: &W,
    found_by: (Index, &str),
    wanted: impl Fn(&GrantRecord) -> bool,
    ending: Ending<'_>,
) -> Result<usize, Unavailable> {
    let (mut count, mut after) = (0, None::<String>);
    loop {
        let (index, value) = found_by;
        let page = world.store().scan(Table::Grants, index, value, after.as_deref(), BATCH).await?;
        let now = world.clock().now();
        let mut live = Vec::new();
        for row in &page.rows {
            let read =
                row.value::<GrantRecord>().map_err(|error| Unavailable::of("store", error))?;
            let grant = read.map(|value| Stored { value, version: row.version });
            live.extend(grant.filter(|grant| grant.is_live(now).is_ok() && wanted(grant)));
        }
        count += live.len();
        end_together(world, &live, ending, now).await?;
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

/// Ends these, in one commit if nobody else writes one of them meanwhile.
async fn end_together<W: World>(
    world: &W,
    live: &[Stored<GrantRecord>],
    ending: Ending<'_>,
    now: UnixTime,
) -> Result<(), Unavailable> {
    if live.is_empty() {
        return Ok(());
    }
    let writes = live.iter().flat_map(|grant| of_grant(grant, ending, now)).collect();
    let records = live.iter().map(|grant| told(world, grant, ending)).collect();
    match world.store().commit(Change { writes, uses: Vec::new(), records }).await {
        Ok(_) => Ok(()),
        Err(CommitFault::Unavailable(why)) => Err(why),
        Err(_) => {
            for grant in live {
                end_grant(world, &grant.id, ending).await?;
            }
            Ok(())
        }
    }
}

/// The row that says that something ended, by its id.
pub fn row(id: &str, why: &str, now: UnixTime) -> Ended {
    Ended { id: id.to_owned(), until: now.plus(REMEMBERED), why: why.to_owned() }
}

/// The record of a grant's end.
pub fn told<W: World>(world: &W, grant: &GrantRecord, ending: Ending<'_>) -> Record {
    let mut record = begin(world, Event::GrantEnded);
    record.action = "grant.end".to_owned();
    record.agent = Some(grant.client_id.clone());
    record.subject = Some(grant.subject.clone());
    record.root = Some(grant.id.clone());
    record.operator = ending.operator.map(str::to_owned);
    record.facts = serde_json::json!({
        "by": ending.by, "why": ending.why, "way": grant.way.name(),
    });
    record
}
