//! From the answer to an operator's suspension to the first refusal at the gateway, which hears of
//! it by its feed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flow::agents;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use provisioning::Act;
use rustls::ClientConfig;

use crate::https::{self, Connection};
use crate::installation::{Installation, now, operator};
use crate::load::percentile;
use crate::party::Party;
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// Agents that are suspended, one after the other.
const AGENTS: usize = 30;
/// So long is waited at most.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Suspends agents that are calling.
pub(crate) async fn measure(all: &Installation) -> Measured {
    let config = https::trusting(&all.up.server.ca)?;
    let mut times = Vec::with_capacity(AGENTS);
    for number in 0..AGENTS {
        let party = all.join(&format!("suspended-{number}")).await?;
        let token = all.token(&party, &all.tools(), "tools.read").await?;
        until(&config, all, &party, &token, StatusCode::OK).await?;
        let server = all.server();
        let reason = "measured".to_owned();
        let moved = agents::act(&*server, &operator(), &party.name, Act::Suspend, reason).await?;
        let begun = Instant::now();
        moved.into_value()?;
        until(&config, all, &party, &token, StatusCode::UNAUTHORIZED).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |percent| percentile(&times, percent).as_secs_f64() * 1_000.0;
    let how = format!(
        "{AGENTS} agents, each suspended while it calls again and again; server, node API and \
         gateway on one machine"
    );
    let rows = vec![
        Row::of("suspension to refusal at the gateway, p50", at(50), "ms"),
        Row::of("suspension to refusal at the gateway, p99", at(99), "ms")
            .against(Target::AtMost(1_000.0)),
    ];
    Ok(vec![Measurement { what: "revocation".to_owned(), how, rows }])
}

/// Calls until the gateway answers so.
async fn until(
    config: &Arc<ClientConfig>,
    all: &Installation,
    party: &Party,
    token: &str,
    wanted: StatusCode,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut told = String::new();
    let mut open = None;
    while begun.elapsed() < GIVE_UP {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}"#;
        let request = Request::post("/tools")
            .header("host", Connection::authority(all.up.settings.port(3)))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .header("authorization", format!("Bearer {token}"))
            .header(wimse::WORKLOAD_IDENTITY_TOKEN, party.wit.expose())
            .header(wimse::WORKLOAD_PROOF_TOKEN, party.proof(&all.tools(), token, now())?);
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes())))?;
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => https::connect_one(all.up.settings.port(3), config).await?,
        };
        // An answer that is under way when its agent is suspended is cut, and its connection too.
        let Ok((status, body)) = connection.send(request).await else { continue };
        if status == wanted {
            return Ok(());
        }
        told = format!("{status}: {}", String::from_utf8_lossy(&body));
        open = Some(connection);
    }
    Err(format!("not {wanted} within {GIVE_UP:?}, but {told}").into())
}
