//! Beside another authorization server: the same client, key and requests against both, each on one
//! core, one after the other, over HTTPS. Theirs keeps its state in memory, ours durably.
//! `bench -- versus --peer bench/oidc-provider.sh`.
//!
//! A server is a process of its own: `bench --serve` is ours, `--peer` starts theirs. It reads the
//! client's public key, a JWK on one line, prints `ready {json}`, and runs until its standard input
//! ends. What it costs is what the kernel says that
//! it spent.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use jose::{Algorithm, Audience, KeyId, NumericDate, SigningInput, TokenHash};
use oauth::client_assertion::{AssertionType, ClientAssertion, ClientAssertionClaims};
use oauth::{ClientId, TokenId};
use serde::{Deserialize, Serialize};
use testkit::fixture::{Client, client_row};
use testkit::{Rng, Seed, SimEntropy};
use time::Span;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::https::{self, Connection};
use crate::installation::{Installation, now, operator};
use crate::load::{ROUNDS, count, deal, median};
use crate::policy_files::files_for;
use crate::signatures::{Set, cost};
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// The core that a server runs on.
const CORE: &str = "0";
/// How long a server may take to start.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Connections.
const CONNECTIONS: usize = 64;
/// Requests of one round.
const REQUESTS: usize = 5_120;
/// What is wanted, on tokens per CPU second.
const AHEAD: f64 = 1.5;

/// Where a server is, and how it names things.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    port: u16,
    /// Whom to trust, in PEM.
    ca: String,
    issuer: String,
    client_id: String,
    /// Paths.
    token: String,
    introspect: String,
    /// What identifiers of resources begin with.
    resources: String,
}

/// What was done, of one kind, to one server.
#[derive(Clone, Copy, Debug)]
struct Done {
    /// How many a second of processor time of the server.
    per_cpu: f64,
    /// How many a second.
    rate: f64,
    p99_millis: f64,
}

/// What was done to one server.
struct Seen {
    tokens: Done,
    /// Of an opaque token, and of a JWT where the server can say anything of one.
    opaque: Done,
    jwt: Option<Done>,
}

/// Ours, then theirs.
pub(crate) async fn measure(dir: &Path, peer: Option<&Path>) -> Measured {
    let peer = peer.ok_or("say `--peer COMMAND`, as `bench/oidc-provider.sh`")?;
    let entropy = SimEntropy::new(&Rng::new(Seed(now().millis())));
    let (client, _) = client_row(&[GRANT], false, &entropy, now());
    let mut ours = Command::new("taskset");
    let ours = ours.arg("-c").arg(CORE).arg(std::env::current_exe()?);
    let ours = seen(ours.arg("--serve").arg("--dir").arg(dir), &client, true).await?;
    let theirs = seen(&mut Command::new(peer), &client, false).await?;
    let signatures = 1e6 / cost(Set { verified: 1, made: 1 })?;
    let mut found = vec![side_by_side("client credentials", ours.tokens, theirs.tokens)];
    if let Some(tokens) = found.first_mut() {
        let what = "one signature verified and one made, alone, a CPU second";
        tokens.rows.push(Row::of(what, signatures, "/s"));
    }
    found.push(side_by_side("introspection of an opaque token", ours.opaque, theirs.opaque));
    if let Some(jwt) = ours.jwt {
        found.push(side_by_side(
            "introspection of a JWT, beside their opaque one",
            jwt,
            theirs.opaque,
        ));
    }
    Ok(found)
}

const GRANT: oauth::token_request::GrantType = oauth::token_request::GrantType::ClientCredentials;

fn side_by_side(what: &str, ours: Done, theirs: Done) -> Measurement {
    let rows = vec![
        Row::of("ours of theirs, a CPU second of the server", ours.per_cpu / theirs.per_cpu, "")
            .against(Target::AtLeast(AHEAD)),
        Row::of("ours, a CPU second of the server", ours.per_cpu, "/s"),
        Row::of("theirs, a CPU second of the server", theirs.per_cpu, "/s"),
        Row::of("ours, a second", ours.rate, "/s"),
        Row::of("theirs, a second", theirs.rate, "/s"),
        Row::of("ours, time each under that load, p99", ours.p99_millis, "ms"),
        Row::of("theirs, time each under that load, p99", theirs.p99_millis, "ms"),
    ];
    let how = format!(
        "{REQUESTS} requests over {CONNECTIONS} kept TLS connections, HTTP/1.1, a client assertion \
         (ES256) each; the server on one core; theirs in memory, ours durable; median of {ROUNDS} \
         rounds after one"
    );
    Measurement { what: format!("{what}, beside another server"), how, rows }
}

/// Starts a server, asks it, and stops it.
async fn seen(command: &mut Command, client: &Client, has_jwt: bool) -> Result<Seen, Failure> {
    let key = client.key().ok_or("a client without a key")?;
    let jwk = key.public().to_jwk().with_kid(KeyId::parse("k1")?).to_value();
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdin = child.stdin.as_mut().ok_or("no standard input")?;
    stdin.write_all(format!("{jwk}\n").as_bytes()).await?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(GIVE_UP, lines.next_line()).await??.unwrap_or_default();
    let ready = line.strip_prefix("ready ").ok_or("the server did not become ready")?;
    let server = Server { ready: serde_json::from_str(ready)?, client, child };
    let tokens = server.drive(|server| server.asking("notices")).await?;
    let introspected = async |resource: &str| -> Result<Done, Failure> {
        let token = server.token(resource).await?;
        server.drive(|server| server.introspecting(&token)).await
    };
    let opaque = introspected("vault").await?;
    let jwt = if has_jwt { Some(introspected("notices").await?) } else { None };
    server.stop().await?;
    Ok(Seen { tokens, opaque, jwt })
}

/// A server that runs.
struct Server<'a> {
    ready: Ready,
    client: &'a Client,
    child: Child,
}

impl Server<'_> {
    /// RFC 7523 §3: an assertion that no other request used.
    fn assertion(&self, at: usize) -> Result<String, Failure> {
        let id = ClientId::parse(&self.ready.client_id)?;
        let jti = TokenHash::of(&format!("{at} {:?}", std::time::Instant::now())).to_base64url();
        let claims = ClientAssertionClaims {
            iss: id.clone(),
            sub: id,
            aud: Audience::one(self.ready.issuer.as_str()),
            exp: NumericDate::from_time(now().plus(Span::from_seconds(60))),
            jti: TokenId::parse(&jti)?,
            iat: None,
            nbf: None,
        };
        let kid = KeyId::parse("k1")?;
        let input = SigningInput::<ClientAssertion>::new(Algorithm::Es256, Some(&kid), &claims)?;
        let signature = self.client.key().ok_or("a client without a key")?.sign(input.bytes());
        Ok(input.attach(signature).into_string())
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, Failure> {
        let assertion = self.assertion(fields.len())?;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .append_pair("client_id", &self.ready.client_id)
            .append_pair("client_assertion_type", AssertionType::Jwt.as_str())
            .append_pair("client_assertion", &assertion)
            .finish();
        let request = Request::post(path)
            .header("host", Connection::authority(self.ready.port))
            .header("content-type", "application/x-www-form-urlencoded");
        Ok(request.body(Full::new(Bytes::from(body)))?)
    }

    fn asking(&self, resource: &str) -> Result<Request<Full<Bytes>>, Failure> {
        let (scope, audience) =
            (format!("{resource}.read"), format!("{}/{resource}", self.ready.resources));
        let fields =
            [("grant_type", "client_credentials"), ("scope", &scope), ("resource", &audience)];
        self.post(&self.ready.token, &fields)
    }

    fn introspecting(&self, token: &str) -> Result<Request<Full<Bytes>>, Failure> {
        self.post(&self.ready.introspect, &[("token", token)])
    }

    /// A token that its introspection says is active.
    async fn token(&self, resource: &str) -> Result<String, Failure> {
        let config = https::trusting(&self.ready.ca)?;
        let mut connection = https::connect_one(self.ready.port, &config).await?;
        let (_, body) = connection.send(self.asking(resource)?).await?;
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        let token = answer.get("access_token").and_then(serde_json::Value::as_str);
        let token = token.ok_or_else(|| format!("no token: {answer}"))?.to_owned();
        let (_, body) = connection.send(self.introspecting(&token)?).await?;
        let told: serde_json::Value = serde_json::from_slice(&body)?;
        match told.get("active").and_then(serde_json::Value::as_bool) {
            Some(true) => Ok(token),
            _ => Err(format!("not active: {told}").into()),
        }
    }

    async fn drive<F>(&self, make: F) -> Result<Done, Failure>
    where
        F: Fn(&Self) -> Result<Request<Full<Bytes>>, Failure>,
    {
        let config = https::trusting(&self.ready.ca)?;
        let pid = self.child.id().ok_or("it has ended")?;
        let mut all = Vec::new();
        for round in 0..=ROUNDS {
            let requests = (0..REQUESTS).map(|_| make(self)).collect::<Result<Vec<_>, _>>()?;
            let connections = https::connect(CONNECTIONS, self.ready.port, &config).await?;
            let before = spent(pid)?;
            let load = https::drive(connections, deal(requests, CONNECTIONS), None).await?;
            let spent = spent(pid)?.saturating_sub(before).as_secs_f64();
            if round > 0 {
                all.push(Done {
                    per_cpu: count(REQUESTS) / spent,
                    rate: load.rate(),
                    p99_millis: load.at(99) / 1_000.0,
                });
            }
        }
        let of = |one: fn(&Done) -> f64| median(all.iter().map(one).collect());
        Ok(Done {
            per_cpu: of(|one| one.per_cpu),
            rate: of(|one| one.rate),
            p99_millis: of(|one| one.p99_millis),
        })
    }

    async fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        tokio::time::timeout(GIVE_UP, self.child.wait()).await??;
        Ok(())
    }
}

/// What a process has spent so far, user and system (proc(5), `/proc/PID/stat`), in ticks of a
/// hundredth of a second.
fn spent(pid: u32) -> Result<Duration, Failure> {
    const USER: usize = 11;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program stands in parentheses, and may have spaces.
    let (_, fields) = text.rsplit_once(") ").ok_or("no fields")?;
    let fields: Vec<_> = fields.split(' ').collect();
    let ticks = |at: usize| -> Result<u64, Failure> {
        Ok(fields.get(at).ok_or("too few fields")?.parse()?)
    };
    Ok(Duration::from_millis((ticks(USER)? + ticks(USER + 1)?) * 10))
}

/// Ours, with the client whose key standard input begins with, until that ends.
pub(crate) async fn serve(dir: &Path) -> Result<(), Failure> {
    let all = Installation::start(dir).await?;
    let mut stdin = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    stdin.read_line(&mut line).await?;
    let key: serde_json::Value = serde_json::from_str(&line)?;
    let metadata = serde_json::json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["client_credentials"],
        "jwks": { "keys": [key] },
    });
    let (server, terms) = (all.server(), flow::clients::Terms::default());
    let (operator, metadata) = (operator(), metadata.to_string());
    let made = flow::clients::register(&*server, &operator, &metadata, &terms).await?;
    let (client, _) = made.into_value()?;
    let set = files_for(all.upstream, &client.client_id)?;
    let why = "bench".to_owned();
    let applied = flow::apply_policy::apply(&*server, &operator, set, why, None).await?;
    applied.into_value().map_err(|refusal| format!("{refusal:?}"))?;
    let ready = Ready {
        port: all.up.settings.port(0),
        ca: all.up.server.ca.clone(),
        issuer: all.issuer().to_owned(),
        client_id: client.client_id,
        token: "/token".to_owned(),
        introspect: "/introspect".to_owned(),
        resources: server.site.gateway.clone(),
    };
    println!("ready {}", serde_json::to_string(&ready)?);
    stdin.read_to_end(&mut Vec::new()).await?;
    all.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_what_it_spent() {
        let begun = std::time::Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed() < Duration::from_millis(300) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        let spent = spent(std::process::id()).unwrap();
        assert!(spent > Duration::from_millis(20), "{spent:?} {sum}");
        assert!(spent < Duration::from_secs(600), "{spent:?}");
    }
}
