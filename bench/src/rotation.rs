//! Many workloads on one node: what they cost in memory, and how long it takes until all of them
//! have moved from an X.509 authority that an operator mistrusts to the next one.
//!
//! A workload here is what the node keeps of it (record, key, credential) without a process and its
//! stream; server and node are in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use credential::{KeyRing, Purpose};
use env::{Key, Store};
use flow::agents;
use flow::authorities::{self, Act};
use flow::workload::{self, Attested};
use jose::KeyId;
use time::Span;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use x509::Certificate;

use crate::installation::{Installation, now, operator};
use crate::load::count;
use crate::party::{process, registration};
use crate::start::resident;
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// Workloads of the node.
const WORKLOADS: usize = 10_000;
/// How many are under way at a time.
const AT_ONCE: usize = 64;
/// How long before the next key signs it is published.
const LEAD: Span = Span::from_seconds(2);
/// So long is waited at most.
const GIVE_UP: Duration = Duration::from_secs(300);

/// Registers, holds, rotates.
pub(crate) async fn measure(all: &Installation) -> Measured {
    let begun = Instant::now();
    let workloads = registered(all).await?;
    let registering = count(WORKLOADS) / begun.elapsed().as_secs_f64();
    let before = resident(std::process::id())?;
    let begun = Instant::now();
    let (first, refused) = held(all, &workloads).await?;
    let issuing = count(WORKLOADS) / begun.elapsed().as_secs_f64();
    let after = resident(std::process::id())?;
    let each = (after - before) * 1_000.0 / count(WORKLOADS);
    let rows = vec![
        Row::of("agents registered", registering, "/s"),
        Row::of("X.509-SVIDs over the node API, a key each", issuing, "/s"),
        Row::of("refused", count(refused), ""),
        Row::of("memory per 1,000 workloads of a node", each, "MB"),
    ];
    let how = format!("{WORKLOADS} workloads of one node, {AT_ONCE} at a time; server and node");
    let mut found = vec![Measurement { what: "workloads of a node".to_owned(), how, rows }];

    let old = signer(all).await?;
    let reason = || "measured".to_owned();
    let purpose = Purpose::X509Authority;
    let server = all.server();
    let lead = Some(LEAD);
    authorities::rotate(&*server, &operator(), purpose, lead, reason()).await?.into_value()?;
    tokio::time::sleep(Duration::from_millis(LEAD.millis() + 500)).await;
    let begun = Instant::now();
    let taint = Act::Taint { urgent: false };
    authorities::act(&*server, &operator(), &old, taint, reason()).await?.into_value()?;
    let (mut moved, mut refused) = (0, 0);
    // As the streams of the Workload API do: at the news, and again.
    while moved < WORKLOADS && begun.elapsed() < GIVE_UP {
        let (next, not) = held(all, &workloads).await?;
        refused += not;
        let pairs = first.iter().zip(&next);
        moved = pairs.filter(|(before, now)| now.is_some() && before != now).count();
    }
    let all_moved = begun.elapsed().as_secs_f64();
    authorities::act(&*server, &operator(), &old, Act::Revoke, reason()).await?.into_value()?;
    let (last, late) = held(all, &workloads).await?;
    refused += late;
    let lost = last.iter().filter(|signer| signer.is_none()).count();
    let rows = vec![
        Row::of("moved to the next authority", count(moved), "workloads"),
        Row::of("all of them have after the old one is tainted", all_moved, "s"),
        Row::of("refused meanwhile", count(refused), "").against(Target::AtMost(0.0)),
        Row::of("without a credential once the old one is revoked", count(lost), "")
            .against(Target::AtMost(0.0)),
    ];
    let how = format!("{WORKLOADS} workloads of one node, {AT_ONCE} at a time");
    found.push(Measurement { what: "rotation of the X.509 authority".to_owned(), how, rows });
    Ok(found)
}

/// The workloads, registered.
async fn registered(all: &Installation) -> Result<Vec<Attested>, Failure> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut registering = JoinSet::new();
    for number in 0..WORKLOADS {
        let (server, turns) = (all.server(), Arc::clone(&turns));
        registering.spawn(async move {
            let _turn = turns.acquire().await?;
            let name = format!("moves-{number}");
            let entry = registration(&name)?;
            let made = agents::register(&*server, &operator(), entry).await?.into_value()?;
            let agent = Arc::new(made);
            Ok::<_, Failure>(Attested { agent, process: process(&name) })
        });
    }
    let mut found = Vec::with_capacity(WORKLOADS);
    while let Some(one) = registering.join_next().await {
        found.push(one??);
    }
    Ok(found)
}

/// What each of them has now: the key that signed its certificate; and how many got none.
async fn held(
    all: &Installation,
    workloads: &[Attested],
) -> Result<(Vec<Option<Vec<u8>>>, usize), Failure> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for (number, attested) in workloads.iter().cloned().enumerate() {
        let (node, turns) = (Arc::clone(all.node()), Arc::clone(&turns));
        asking.spawn(async move {
            let _turn = turns.acquire().await?;
            let answer = workload::x509(&*node, &attested).await;
            let leaf = answer.ok().and_then(Result::ok).and_then(|answer| {
                answer.chain.first().and_then(|der| Certificate::parse(der).ok())
            });
            let signer = leaf.and_then(|leaf| leaf.authority_key_id().map(<[u8]>::to_vec));
            Ok::<_, Failure>((number, signer))
        });
    }
    let mut signers = vec![None; workloads.len()];
    while let Some(one) = asking.join_next().await {
        let (number, signer) = one??;
        if let Some(place) = signers.get_mut(number) {
            *place = signer;
        }
    }
    let refused = signers.iter().filter(|signer| signer.is_none()).count();
    Ok((signers, refused))
}

/// The key that signs certificates now.
async fn signer(all: &Installation) -> Result<KeyId, Failure> {
    let purpose = Purpose::X509Authority.name();
    let rows = all.server().store.snapshot(&[Key::of::<KeyRing>(purpose)]).await?;
    let ring = rows.get::<KeyRing>(purpose)?.ok_or("no authority")?;
    Ok(ring.signer(now()).ok_or("no key signs")?.kid.clone())
}
