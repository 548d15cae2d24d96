//! What the gateway adds: the same listener, TLS, client and tool server, once with its checks and
//! once with a gate that forwards everything.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use flow::web;
use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use proxy::{
    Cut, Doors, Forward, Gate, Gateway, Incoming, Limits, Onward, Outgoing, Peer, Upstream,
};
use rustls::ClientConfig;
use tls::{Certificates, Clients, server_config};
use tokio::net::TcpListener;
use wiring::tls::certified;

use crate::https::{self, Connection};
use crate::installation::{Installation, now};
use crate::load::{Load, cores, deal, median};
use crate::paced::group_commit;
use crate::signatures::{self, Set};
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// Connections of the client.
const CONNECTIONS: usize = 32;
/// Requests a second where they are paced.
const PACE: u32 = 3_000;
/// How long they are paced.
const SECONDS: u32 = 2;
/// Requests of a round without a pace.
const REQUESTS: usize = 6_000;
/// Rounds: each is long.
const ROUNDS: usize = 3;
/// What a call cannot do without: the WPT verified, the transaction token made.
const SET: Set = Set { verified: 1, made: 1 };
/// The rights of the token.
const SCOPE: &str = "tools.read tools.write";

/// A gate without a check.
struct Everything {
    base: String,
}

impl Gate for Everything {
    type Live = ();

    async fn call(&self, request: Incoming, onward: Onward) -> Outgoing<()> {
        let forward = Forward {
            url: self.base.clone(),
            method: request.method,
            headers: gateway::forwardable(&request.headers),
            body: request.body,
        };
        match onward.send(forward).await {
            Ok(answer) => Outgoing::Relay(answer, ()),
            Err(fault) => fault.reply(),
        }
    }

    fn metadata(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    async fn cut(&self, (): &()) -> Cut {
        pending().await
    }
}

/// Makes the requests of a round, each with a proof of its own.
struct Caller<'a> {
    all: &'a Installation,
    port: u16,
    token: String,
    config: Arc<ClientConfig>,
}

/// What one way of calling gave.
struct Seen {
    p50: f64,
    p99: f64,
    rate: f64,
    cpu: f64,
    others: f64,
}

/// Measures a tool that only reads, and one that has effects.
pub(crate) async fn measure(all: &Installation) -> Measured {
    let config = https::trusting(&all.up.server.ca)?;
    let open = open_gateway(all).await?;
    let token = all.token(&all.clerk, &all.tools(), SCOPE).await?;
    let caller = |port| Caller { all, port, token: token.clone(), config: Arc::clone(&config) };
    let (open, gate) = (caller(open), caller(all.up.settings.port(3)));
    let mut found = Vec::new();
    for (tool, what) in [
        ("read", "gateway, a tool that policy marks read-only"),
        ("write", "gateway, a tool that may have effects"),
    ] {
        open.seen(tool, 1, REQUESTS / 4).await?;
        gate.seen(tool, 1, REQUESTS / 4).await?;
        let (mut without, mut with, mut commits) = (Vec::new(), Vec::new(), Vec::new());
        let mut sets = Vec::new();
        for _ in 0..ROUNDS {
            sets.push(signatures::cost(SET)?);
            without.push(open.seen(tool, SECONDS, REQUESTS).await?);
            commits.push(group_commit(&all.up.gateway.world, CONNECTIONS, PACE).await?);
            with.push(gate.seen(tool, SECONDS, REQUESTS).await?);
        }
        found.push(told(what, &without, &with, &commits, median(sets)));
    }
    Ok(found)
}

fn told(what: &str, without: &[Seen], with: &[Seen], commits: &[Load], set: f64) -> Measurement {
    let of = |seen: &[Seen], one: fn(&Seen) -> f64| median(seen.iter().map(one).collect());
    let commit = |percent| median(commits.iter().map(|load| load.at(percent)).collect()) / 1_000.0;
    let added = |one: fn(&Seen) -> f64| (of(with, one) - of(without, one)) / 1_000.0;
    let (p50, p99) = (added(|seen| seen.p50), added(|seen| seen.p99));
    let part = median(with.iter().zip(without).map(|(a, b)| a.rate / b.rate).collect());
    let (on, off) = (of(with, |seen| seen.cpu), of(without, |seen| seen.cpu));
    let rows = vec![
        Row::of("added at p50", p50, "ms"),
        Row::of("added at p99", p99, "ms"),
        Row::of("one group commit at that pace, p50", commit(50), "ms"),
        Row::of("one group commit at that pace, p99", commit(99), "ms"),
        Row::of("added at p50 beyond one group commit", p50 - commit(50), "ms"),
        Row::of("added at p99 beyond one group commit", p99 - commit(99), "ms")
            .against(Target::AtMost(0.5)),
        Row::of("throughput, of the same proxy with checks off", part, "")
            .against(Target::AtLeast(0.5)),
        Row::of("calls a second, checks on", of(with, |seen| seen.rate), "/s"),
        Row::of("calls a second, checks off", of(without, |seen| seen.rate), "/s"),
        Row::of("processor time of a call, checks on", on, "us"),
        Row::of("processor time of a call, checks off", off, "us"),
        Row::of(format!("processor time of its signatures ({SET})"), set, "us"),
        Row::of("throughput if checks cost their signatures alone", off / (off + set), ""),
        Row::of("cores that others kept busy meanwhile", of(with, |seen| seen.others), ""),
    ];
    let how = format!(
        "{CONNECTIONS} kept TLS connections, WIT and a fresh WPT a call; {PACE}/s for {SECONDS} s, \
         then {REQUESTS} as fast as they go; client, gateway and tool server share {} cores; \
         median of {ROUNDS} rounds",
        cores()
    );
    Measurement { what: what.to_owned(), how, rows }
}

impl Caller<'_> {
    async fn seen(&self, tool: &str, seconds: u32, requests: usize) -> Result<Seen, Failure> {
        let period = Duration::from_secs(1) * u32::try_from(CONNECTIONS)? / PACE;
        let number = usize::try_from(PACE * seconds)?;
        let paced = self.run(tool, number, Some(period)).await?;
        let full = self.run(tool, requests, None).await?;
        let (p50, p99) = (paced.at(50), paced.at(99));
        let (rate, cpu, others) = (full.rate(), full.cpu_each(), full.others());
        Ok(Seen { p50, p99, rate, cpu, others })
    }

    async fn run(
        &self,
        tool: &str,
        number: usize,
        period: Option<Duration>,
    ) -> Result<Load, Failure> {
        let requests: Vec<_> = (0..number).map(|_| self.request(tool)).collect::<Result<_, _>>()?;
        let connections = https::connect(CONNECTIONS, self.port, &self.config).await?;
        https::drive(connections, deal(requests, CONNECTIONS), period).await
    }

    fn request(&self, tool: &str) -> Result<Request<Full<Bytes>>, Failure> {
        let body = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": tool, "arguments": { "query": "what it adds", "limit": 10 } },
        });
        let party = &self.all.clerk;
        let proof = party.proof(&self.all.tools(), &self.token, now())?;
        let request = Request::post("/tools")
            .header("host", Connection::authority(self.port))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .header("authorization", format!("Bearer {}", self.token))
            .header(wimse::WORKLOAD_IDENTITY_TOKEN, party.wit.expose())
            .header(wimse::WORKLOAD_PROOF_TOKEN, proof);
        Ok(request.body(Full::new(Bytes::from(body.to_string())))?)
    }
}

/// A gateway that forwards everything, with a certificate of the same authority; its port.
async fn open_gateway(all: &Installation) -> Result<u16, Failure> {
    let server = all.server();
    let (names, loopback) = (["localhost".to_owned()], [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let web = web::identity(&*server, &names, &loopback).await?.identity;
    let chain = web.chain.iter().map(|one| one.as_bytes().to_vec()).collect();
    let certificates = Certificates::new(certified(chain, &server.keys, &web.key));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let gateway = Gateway {
        gate: Arc::new(Everything { base: format!("http://{}/mcp", all.upstream) }),
        upstream: Upstream::new(&Peer::default())?,
        tls: server_config(certificates, Clients::Asked, tls::HTTP)?,
        doors: Doors { authorities: vec![Connection::authority(port)], origins: Vec::new() },
        limits: Limits::default(),
        on_refused: Arc::new(|_, _| {}),
    };
    tokio::spawn(gateway.serve(listener, pending()));
    Ok(port)
}
