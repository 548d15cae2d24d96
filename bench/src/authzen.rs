//! Decisions for others: AuthZEN over HTTPS, each recorded before it is given.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use rustls::ClientConfig;

use crate::https::{self, Connection};
use crate::installation::Installation;
use crate::load::{Load, ROUNDS, cores, deal, median};
use crate::paced::group_commit;
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// Connections of the enforcement point.
const CONNECTIONS: usize = 32;
/// Questions a second where they are paced.
const PACE: u32 = 1_000;
/// How long they are paced.
const SECONDS: u32 = 3;
/// Questions of a round without a pace.
const QUESTIONS: usize = 6_000;

/// One question after the other on each connection.
pub(crate) async fn measure(all: &Installation) -> Measured {
    let config = https::trusting(&all.up.server.ca)?;
    let asked_at = format!("{}/access/v1", all.issuer());
    let token = all.token(&all.clerk, &asked_at, "").await?;
    let period = Duration::from_secs(1) * u32::try_from(CONNECTIONS)? / PACE;
    let number = usize::try_from(PACE * SECONDS)?;
    let (mut paced, mut full, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    run(all, &config, &token, QUESTIONS / 4, None).await?;
    for _ in 0..ROUNDS {
        commits.push(group_commit(&all.up.server.world, CONNECTIONS, PACE).await?);
        paced.push(run(all, &config, &token, number, Some(period)).await?);
        full.push(run(all, &config, &token, QUESTIONS, None).await?);
    }
    let of = |loads: &[Load], one: fn(&Load) -> f64| median(loads.iter().map(one).collect());
    let p99 = of(&paced, |load| load.at(99)) / 1_000.0;
    let commit = of(&commits, |load| load.at(99)) / 1_000.0;
    let rows = vec![
        Row::of("answered, p50", of(&paced, |load| load.at(50)) / 1_000.0, "ms"),
        Row::of("answered, p99", p99, "ms").against(Target::AtMost(1.0)),
        Row::of("one group commit at that pace, p99", commit, "ms"),
        Row::of("answered at p99 beyond one group commit", p99 - commit, "ms"),
        Row::of("questions a second", of(&full, Load::rate), "/s"),
        Row::of("processor time of a question", of(&full, Load::cpu_each), "us"),
        Row::of("cores that others kept busy meanwhile", of(&full, Load::others), ""),
    ];
    let how = format!(
        "{CONNECTIONS} kept TLS connections, HTTP/1.1, a bearer token; {PACE}/s for {SECONDS} s, \
         then {QUESTIONS} as fast as they go; client and server share {} cores; median of \
         {ROUNDS} rounds",
        cores()
    );
    let what = "policy decision over AuthZEN, recorded".to_owned();
    Ok(vec![Measurement { what, how, rows }])
}

async fn run(
    all: &Installation,
    config: &Arc<ClientConfig>,
    token: &str,
    number: usize,
    period: Option<Duration>,
) -> Result<Load, Failure> {
    let port = all.up.settings.port(0);
    let made: Vec<_> = (0..number).map(|_| question(all, token)).collect::<Result<_, _>>()?;
    let connections = https::connect(CONNECTIONS, port, config).await?;
    https::drive(connections, deal(made, CONNECTIONS), period).await
}

/// Whether the other agent may use the tool.
fn question(all: &Installation, token: &str) -> Result<Request<Full<Bytes>>, Failure> {
    let body = serde_json::json!({
        "subject": { "type": "agent", "id": all.other.id },
        "action": { "name": "tool.call" },
        "resource": { "type": "tool", "id": format!("{}#read", all.tools()) },
        "context": { "granted": ["tools.read"], "arguments": { "query": "what it adds" } },
    });
    let request = Request::post("/access/v1/evaluation")
        .header("host", Connection::authority(all.up.settings.port(0)))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    Ok(request.body(Full::new(Bytes::from(body.to_string())))?)
}
