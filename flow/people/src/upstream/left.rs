//! A provider says that somebody left there.

use authentication::session::Session;
use env::rows::{account_handle, upstream_handle};
use env::{Change, Index, Stored, Unavailable, World};
use monitoring::Event;
use openid::logout::{self, Ends, LogoutToken};
use registry::UserRecord;
use time::UnixTime;

use super::provider::Provider;
use super::{Refusal, named};
use crate::end::{End, Once, commit_once};
use crate::ending::{Because, Count, every};
use crate::facts::basis;
use crate::issuing;
use crate::record::{begin, single_use};
use crate::sessions::with_grants;
use crate::turns::{TRIES_MAX, overtaken, pause};

/// Sessions that one logout ends.
const SESSIONS_MAX: usize = 64;

/// A provider says that somebody left there (Back-Channel Logout 1.0 §2.5, as its client): their
/// sessions here that came of it end.
pub async fn left<W: World>(
    world: &W,
    name: &str,
    logout_token: &str,
) -> Result<End<Count, Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let now = issuing::now(world, &facts)?;
    let policy = match named(&facts, name) {
        Ok(policy) => policy,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    let provider = match Provider::find(world, policy).await? {
        Ok(provider) => provider,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    let skew = facts.set().domain().bounds.clock_skew;
    let verified = provider.verify::<LogoutToken>(logout_token, now, skew).await?;
    let checked = verified.and_then(|token| {
        let ends = logout::check(&token, &policy.issuer, &provider.client_id)?;
        let claims = token.claims();
        // §2.6, 8: "Optionally verify that another Logout Token with the same "jti" value has not
        // been recently received."
        let space = format!("people/logout {}", policy.issuer.as_str());
        let used = single_use(&space, claims.jti.as_str(), claims.exp.time().plus(skew));
        Ok((ends, used))
    });
    let (ends, used) = match checked {
        Ok(both) => both,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    for turn in 0..TRIES_MAX {
        let sessions = concerned(world, policy.issuer.as_str(), &ends, now).await?;
        let why = "signed out at the identity provider";
        let by = policy.issuer.as_str();
        let because = Because { by, operator: None, why, now };
        let mut change = Change::default();
        let count = with_grants(world, &sessions, &because, &mut change).await?;
        let mut record = begin(world, Event::SessionEnded);
        record.action = "upstream.logout".to_owned();
        record.subject = sessions.first().map(|session| session.user.clone());
        record.policy = Some(facts.version());
        record.facts = serde_json::json!({ "issuer": by, "sessions": count.sessions });
        let single = Once { used: used.clone(), spent: Refusal::Used };
        if let Some(recorded) = commit_once(world, change, record, Ok(count), single).await? {
            return Ok(End::Decided(recorded));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn concerned<W: World>(
    world: &W,
    issuer: &str,
    ends: &Ends,
    now: UnixTime,
) -> Result<Vec<Stored<Session>>, Unavailable> {
    let is_of_it = |session: &Stored<Session>| {
        session.is_live(now).is_ok()
            && session.upstream.as_ref().is_some_and(|(from, _)| from == issuer)
    };
    let found = match ends {
        Ends::Session(sid) => {
            every::<W, Session>(world, Index::Handle, &upstream_handle(issuer, sid)).await?
        }
        Ends::User(subject) => {
            let handle = account_handle(issuer, subject.as_str());
            let users = every::<W, UserRecord>(world, Index::Handle, &handle).await?;
            let mut all = Vec::new();
            for user in users {
                all.extend(every::<W, Session>(world, Index::User, &user.id()).await?);
            }
            all
        }
    };
    Ok(found.into_iter().filter(is_of_it).take(SESSIONS_MAX).collect())
}
