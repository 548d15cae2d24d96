//! The token endpoint: client credentials by WIT and by JWT-SVID in process, and by WIT over HTTPS.

use std::sync::Arc;

use flow::token::Call;
use flow::workload;
use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;

use crate::compare::{REQUESTS, Subject, compare};
use crate::https::{self, Connection};
use crate::installation::{Installation, ask, now};
use crate::load::{ROUNDS, cores, count, deal, median};
use crate::party::{credentials, process};
use crate::signatures::Set;
use crate::table::{Measurement, Row};
use crate::{Failure, Measured};

/// Connections of the measurement over HTTPS.
const CONNECTIONS: usize = 64;
/// What is asked for.
const SCOPE: &str = "tools.read";

/// Measures all three.
pub(crate) async fn measure(all: &Installation) -> Measured {
    Ok(vec![by_wit(all).await?, by_jwt_svid(all).await?, over_https(all).await?])
}

async fn by_wit(all: &Installation) -> Result<Measurement, Failure> {
    let subject = Subject {
        what: "token endpoint, client credentials by WIT and proof",
        set: Set { verified: 2, made: 1 },
        least: Some(0.6),
        orientation: Some(6_000.0),
    };
    let tools = all.tools();
    let prepare = || {
        let ask = || all.clerk.by_wit(credentials(&tools, SCOPE)?, all.issuer(), now());
        (0..REQUESTS).map(|_| ask()).collect()
    };
    let server = all.server();
    compare(&subject, prepare, asking(&server)).await
}

async fn by_jwt_svid(all: &Installation) -> Result<Measurement, Failure> {
    let subject = Subject {
        what: "token endpoint, client credentials by JWT-SVID",
        set: Set { verified: 1, made: 1 },
        least: Some(0.6),
        orientation: Some(6_000.0),
    };
    let node = all.node();
    let attested = workload::attest(&**node, process("clerk"), true).await?.into_value()?;
    let audiences = vec![all.issuer().to_owned()];
    let (_, svid) = workload::jwt(&**node, &attested, audiences).await??;
    let tools = all.tools();
    let prepare = || {
        let ask = || all.clerk.by_jwt_svid(svid.expose(), credentials(&tools, SCOPE)?);
        (0..REQUESTS).map(|_| ask()).collect()
    };
    let server = all.server();
    compare(&subject, prepare, asking(&server)).await
}

type Asked = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One request of the token endpoint in process.
pub(crate) fn asking<W: env::World>(
    world: &Arc<W>,
) -> impl Fn(Call) -> Asked + Clone + Send + 'static + use<W> {
    let world = Arc::clone(world);
    move |call| {
        let world = Arc::clone(&world);
        Box::pin(async move { ask(&world, call).await.map(drop) })
    }
}

async fn over_https(all: &Installation) -> Result<Measurement, Failure> {
    let config = https::trusting(&all.up.server.ca)?;
    let port = all.up.settings.port(0);
    let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let made: Vec<_> = (0..REQUESTS).map(|_| request(all)).collect::<Result<_, _>>()?;
        let connections = https::connect(CONNECTIONS, port, &config).await?;
        let load = https::drive(connections, deal(made, CONNECTIONS), None).await?;
        rates.push(load.rate());
        p50.push(load.at(50));
        p99.push(load.at(99));
    }
    let how = format!(
        "{REQUESTS} requests over {CONNECTIONS} kept TLS connections on loopback, HTTP/1.1; client \
         and server share {} cores; median of {ROUNDS} rounds",
        cores()
    );
    let rows = vec![
        Row::of(
            "a second and core, the client's work included",
            median(rates) / count(cores()),
            "/s",
        ),
        Row::of("time each under that load, p50", median(p50) / 1_000.0, "ms"),
        Row::of("time each under that load, p99", median(p99) / 1_000.0, "ms"),
    ];
    Ok(Measurement { what: "the same by WIT over HTTPS".to_owned(), how, rows })
}

/// RFC 6749 §4.4.2, with the two fields that authenticate the client.
fn request(all: &Installation) -> Result<Request<Full<Bytes>>, Failure> {
    let tools = all.tools();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &all.clerk.id)
        .append_pair("resource", &tools)
        .append_pair("scope", SCOPE)
        .finish();
    let request = Request::post("/token")
        .header("host", Connection::authority(all.up.settings.port(0)))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("oauth-client-attestation", all.clerk.wit.expose())
        .header("oauth-client-attestation-pop", all.clerk.possession(all.issuer(), now())?);
    Ok(request.body(Full::new(Bytes::from(body)))?)
}
