//! What the attestation of an agent came to, as claims of its access tokens (S4 §10.2; AUTHZ-05).

use std::collections::BTreeMap;

use authorization::Audience;
use env::rows::ResultRow;
use env::{Entity, Index, Store, Unavailable, World};
use serde_json::Value;
use time::UnixTime;

/// Results of one agent that are looked at: one a host.
const RESULTS_MAX: usize = 64;

/// The claims for a target whose policy asks for them: of the latest result that still counts.
pub(super) async fn of<W: World>(
    world: &W,
    target: Option<&Audience>,
    agent: &str,
    now: UnixTime,
) -> Result<BTreeMap<String, Value>, Unavailable> {
    if !target.is_some_and(|target| target.attestation) {
        return Ok(BTreeMap::new());
    }
    let (table, index) = (ResultRow::TABLE, Index::Agent);
    let page = world.store().scan(table, index, agent, None, RESULTS_MAX).await?;
    let mut latest: Option<std::sync::Arc<ResultRow>> = None;
    for row in &page.rows {
        let read = row.value::<ResultRow>().map_err(|error| Unavailable::of("store", error))?;
        let Some(result) = read.filter(|result| now < result.until) else { continue };
        if latest.as_ref().is_none_or(|other| other.asked < result.asked) {
            latest = Some(result);
        }
    }
    Ok(latest.map(|result| claims(&result)).unwrap_or_default())
}

/// What kinds of parts there were and what each came to; no measurement of any of them.
fn claims(result: &ResultRow) -> BTreeMap<String, Value> {
    let summary = serde_json::to_value(&result.summary.parts).unwrap_or_default();
    let mut claims = BTreeMap::from([
        ("parts".to_owned(), summary),
        ("until".to_owned(), Value::from(result.until.seconds())),
    ]);
    claims.extend(result.grade.map(|grade| ("grade".to_owned(), Value::from(grade.name()))));
    let method = result.summary.host.as_ref().or(result.summary.platform.as_ref());
    claims.extend(method.map(|method| ("method".to_owned(), Value::from(method.as_str()))));
    claims
}
