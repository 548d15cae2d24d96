//! The story that the demo tells: twelve steps, each with the identifiers, decisions and audit ids
//! involved, and each checked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use api::admin::messages::NewJoinToken;
use api::client::Client;
use attestation::mechanism::Role;
use attestation::{Rule, Selector, Selectors};
use authorization::client::Facet;
use identifier::{AgentName, Kind};
use provisioning::{Act, KeyHolding};
use registry::Registration;
use serde_json::{Value, json};

use super::part::text;
use super::policy::{TRUST_DOMAIN, files};
use super::stage::{Part, Running, copy_of_self, free_ports};
use crate::commands::Context;
use crate::exit::Failure;
use crate::output::Output;
use wiring::up::write_policy;

/// The stage: the installation, and what the story needs of it.
struct Story {
    output: Output,
    dir: PathBuf,
    up: Running,
    desk: Client,
    issuer: String,
    mtls: String,
    gateway: String,
    port_base: u16,
    /// The root of the task's lineage.
    root: String,
}

/// Tells the story, in a folder that is gone afterwards, whatever the end.
pub(super) async fn tell(context: &Context, keep: bool) -> Result<(), Failure> {
    let folder = reach::stage::Folder::new(keep)?;
    let stopped = wiring::up::signal();
    let told = tokio::select! {
        // Ctrl-C stops the demo's processes, too: that is no failure of theirs.
        biased;
        () = stopped => Err(Failure::unavailable("stopped before its end")),
        told = play(context.output, folder.path()) => told,
    };
    if let Some(kept) = folder.end().await {
        context.output.note(&format!("its folder: {}", kept.display()));
    }
    told
}

async fn play(output: Output, folder: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    output.text("AIMS demo: an agent's task, from nothing to a verified log.\n")?;
    let mut story = Story::begin(output, folder).await?;
    story.join().await?;
    let mut cast = story.cast().await?;
    story.identities(&mut cast).await?;
    story.task(&mut cast).await?;
    story.refusals(&mut cast).await?;
    story.suspension(&mut cast).await?;
    story.audit().await?;
    cast.end().await;
    story.up.stop().await;
    let seconds = begun.elapsed().as_secs_f32();
    output.text(&format!("\nDone in {seconds:.1} s. Start your own with `aims up`.\n"))
}

/// The processes of the story.
struct Cast {
    agent: Part,
    other: Part,
    batch: Part,
    intruder: Part,
    tools: Part,
}

impl Cast {
    async fn end(self) {
        for part in [self.agent, self.other, self.batch, self.intruder, self.tools] {
            part.end().await;
        }
    }
}

const AGENT: &str = "spiffe://demo.example/agent/invoice-agent";

impl Story {
    /// 1. Server, node and gateway.
    async fn begin(output: Output, dir: &Path) -> Result<Self, Failure> {
        let port_base = free_ports()?;
        let data = dir.join("data");
        let gateway = format!("https://localhost:{}", port_base + 3);
        let tools = format!("http://127.0.0.1:{}/mcp", port_base + 8);
        write_policy(&data.join("policy"), &files(&gateway, &tools))
            .map_err(Failure::unavailable)?;
        let begun = Instant::now();
        let up = Running::start(&data, port_base, TRUST_DOMAIN).await?;
        let millis = begun.elapsed().as_millis();
        let story = Self {
            output,
            dir: dir.to_owned(),
            desk: Client::new(&data.join("admin.sock")),
            issuer: up.said("issuer"),
            mtls: format!("https://localhost:{}", port_base + 1),
            gateway,
            port_base,
            root: String::new(),
            up,
        };
        story.step("1", "`aims up`: server, node and gateway of the trust domain demo.example")?;
        story.say(&format!(
            "keys made, policy {} in force, ready in {millis} ms",
            story.up.said("policy")
        ))?;
        story.say(&format!("issuer {}   gateway {}", story.issuer, story.gateway))?;
        Ok(story)
    }

    fn step(&self, number: &str, title: &str) -> Result<(), Failure> {
        let title = self.output.bold(&format!("{number:>2}  {title}"));
        self.output.text(&format!("\n{title}\n"))
    }

    fn say(&self, line: &str) -> Result<(), Failure> {
        self.output.text(&format!("    {line}\n"))
    }

    /// A refusal that must be one: `value` says `status`, and its message has `part` in it.
    fn refused(&self, what: &str, value: &Value, status: u64, part: &str) -> Result<(), Failure> {
        let found = value.get("status").and_then(Value::as_u64).unwrap_or_default();
        let message = told(value);
        if found != status || !message.contains(part) {
            return Err(unexpected(what, value));
        }
        self.say(&format!("{what}: {found}, {message}"))?;
        self.say(&format!("  audit {}", audit(value)))
    }

    /// 2. A join token serves once.
    async fn join(&self) -> Result<(), Failure> {
        self.step("2", "a host joins by a join token that serves once")?;
        let name = AgentName::parse("demo-host").map_err(Failure::misused)?;
        let order = NewJoinToken { role: Role::Node, name: Some(name), life_seconds: Some(60) };
        let made = self.desk.create_join_token(&order).await?;
        let first = self.node(&made.value.token, "host-a").await?;
        if first.exit != 0 {
            return Err(Failure::unavailable(format!("the host did not join: {}", first.said)));
        }
        self.say(&format!("first use: joined as {}", first.said))?;
        let second = self.node(&made.value.token, "host-b").await?;
        if second.exit == 0 {
            return Err(Failure::refused("demo", "a join token served twice"));
        }
        let line = second.said.lines().next().unwrap_or_default().to_owned();
        self.say(&format!("second use: {line}"))?;
        let found = self.desk.find(("event", "node_attested"), Some("server"), None, None).await?;
        let refusal = found.items.iter().rev().find_map(|line| {
            let record: Value = serde_json::from_str(line.record.get()).ok()?;
            (text(&record, "outcome") == "refused").then(|| text(&record, "id").to_owned())
        });
        let id =
            refusal.ok_or_else(|| Failure::refused("demo", "the second use left no record"))?;
        self.say(&format!("  audit {id}"))
    }

    /// `aims node` with a join token, until it is ready or refused.
    async fn node(&self, token: &str, name: &str) -> Result<NodeEnd, Failure> {
        use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).map_err(|error| Failure::file(&dir, error))?;
        let bundle = self.dir.join("data").join("bundle.json");
        let https = crate::https::Https::trusting(&self.dir.join("data/ca.pem"))?;
        let fetched = https.get(&format!("{}/bundle", self.issuer)).await?;
        std::fs::write(&bundle, &fetched).map_err(|error| Failure::file(&bundle, error))?;
        let secret = dir.join("join-token");
        write_secret(&secret, token)?;
        let ca = std::fs::read(self.dir.join("data/ca.pem")).map_err(Failure::unavailable)?;
        std::fs::write(dir.join("ca.pem"), ca).map_err(Failure::unavailable)?;
        let settings = format!(
            "trust_domain = \"{TRUST_DOMAIN}\"\nport_base = {}\nserver = \"127.0.0.1:{}\"\n\
             name = \"{name}\"\nbundle = \"{}\"\njoin_token = \"join-token\"\n",
            self.port_base,
            self.port_base + 2,
            bundle.display(),
        );
        let config = dir.join("aims.toml");
        std::fs::write(&config, settings).map_err(|error| Failure::file(&config, error))?;
        let own = std::env::current_exe().map_err(Failure::unavailable)?;
        let mut child = tokio::process::Command::new(own)
            .arg("node")
            .arg("--config")
            .arg(&config)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Failure::unavailable)?;
        let missing = || Failure::unavailable("no output");
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        let mut errors = child.stderr.take().ok_or_else(missing)?;
        if let Some(line) = lines.next_line().await.map_err(Failure::unavailable)? {
            let json = line.strip_prefix("ready ").unwrap_or(&line);
            let ready: Value = serde_json::from_str(json).map_err(Failure::unavailable)?;
            child.kill().await.map_err(Failure::unavailable)?;
            return Ok(NodeEnd { exit: 0, said: text(&ready, "id").to_owned() });
        }
        let mut said = String::new();
        errors.read_to_string(&mut said).await.map_err(Failure::unavailable)?;
        let status = child.wait().await.map_err(Failure::unavailable)?;
        Ok(NodeEnd { exit: status.code().unwrap_or(1), said })
    }

    /// 3. Records, each claimed by evidence alone.
    async fn cast(&self) -> Result<Cast, Failure> {
        self.step(
            "3",
            "agents are registered: who answers for them, and what a process must be to be one",
        )?;
        let program = |name: &str| copy_of_self(&self.dir, name);
        let (agent, other) = (program("invoice-agent")?, program("other-agent")?);
        let (batch, intruder) = (program("batch-job")?, program("intruder")?);
        let tools = program("invoice-tools")?;
        for (name, kind, path, capabilities) in [
            ("invoice-agent", Kind::Agent, &agent, vec!["invoices.read"]),
            ("other-agent", Kind::Agent, &other, vec!["invoices.read"]),
            ("batch-job", Kind::Service, &batch, vec![]),
        ] {
            let entry = entry(name, kind, path, &capabilities)?;
            let told = self.desk.register_agent(&entry).await?;
            let selectors: Vec<_> = entry.rule.selectors.iter().map(short).collect();
            self.say(&format!("{}  [{}]", told.value.id, selectors.join(" ")))?;
            self.say(&format!("  audit {}", told.audit_id.unwrap_or_default()))?;
        }
        let socket = self.up.said("workload_api");
        let ca = self.up.said("ca");
        let actor =
            [socket, self.issuer.clone(), self.mtls.clone(), self.gateway.clone(), ca.clone()];
        let port = (self.port_base + 8).to_string();
        let server = [port, self.issuer.clone(), ca, TRUST_DOMAIN.to_owned()];
        Ok(Cast {
            agent: Part::start(&agent, "invoice-agent", "actor", &actor)?,
            other: Part::start(&other, "other-agent", "actor", &actor)?,
            batch: Part::start(&batch, "batch-job", "actor", &actor)?,
            intruder: Part::start(&intruder, "intruder", "actor", &actor)?,
            tools: Part::start(&tools, "invoice-tools", "tools", &server)?,
        })
    }

    /// 4. The Workload API tells processes apart.
    async fn identities(&self, cast: &mut Cast) -> Result<(), Failure> {
        self.step("4", "each process asks the Workload API who it is")?;
        // The node hears of a new registration through the feed: under a second.
        for part in [&mut cast.agent, &mut cast.other, &mut cast.batch] {
            let told = identify(part).await?;
            let (id, until) = (text(&told, "id"), text(&told, "x509_until"));
            self.say(&format!("process {}: {id}, X.509-SVID and WIT until {until}", part.pid()))?;
        }
        let refused = cast.intruder.tell(json!({ "do": "identify" })).await?;
        let why = text(&refused, "failed");
        if !why.contains("denied") {
            return Err(unexpected("an unknown process", &refused));
        }
        self.say(&format!(
            "process {}, another program of the same user: {why}",
            cast.intruder.pid()
        ))
    }

    /// 5 to 7. The task.
    async fn task(&mut self, cast: &mut Cast) -> Result<(), Failure> {
        self.step("5", "the batch job gets a token for the agent, and calls it over mutual TLS")?;
        let order = json!({ "do": "token", "resource": AGENT, "scope": "invoices:read" });
        let token = cast.batch.tell(order).await?;
        let claims = claims(&token, "the batch job's token")?;
        self.root = text(claims, "aims_root").to_owned();
        self.say(&format!("sub {}  aud {}", text(claims, "sub"), text(claims, "aud")))?;
        self.say(&format!("correlation id {}  audit {}", self.root, audit(&token)))?;
        let listening = cast.agent.tell(json!({ "do": "listen" })).await?;
        let order = json!({ "do": "ask", "agent": AGENT, "port": listening.get("port") });
        let asked = cast.batch.tell(order).await?;
        if asked.get("accepted").and_then(Value::as_bool) != Some(true) {
            return Err(unexpected("the agent", &asked));
        }
        self.say(&format!(
            "the agent checked that `aud` is itself; the caller is {}",
            text(&asked, "caller")
        ))?;

        self.step(
            "6",
            "the agent exchanges that token for one of its own, for the tool (RFC 8693)",
        )?;
        let resource = format!("{}/invoices", self.gateway);
        let order = json!({ "do": "exchange", "resource": resource, "scope": "invoices:read" });
        let exchanged = cast.agent.tell(order).await?;
        let claims = self::claims(&exchanged, "the exchange")?;
        let act = claims.pointer("/act/sub").and_then(Value::as_str).unwrap_or_default();
        self.say(&format!("sub {}", text(claims, "sub")))?;
        self.say(&format!("client_id {}  act {act}", text(claims, "client_id")))?;
        self.say(&format!(
            "aud {}  usable only with the agent's WIT and proof",
            text(claims, "aud")
        ))?;
        self.say(&format!("  audit {}", audit(&exchanged)))?;

        self.step("7", "the agent calls the tool through the gateway with WIT, proof and token")?;
        let called = cast.agent.tell(json!({ "do": "call", "tool": "read_invoice" })).await?;
        let answer = called.pointer("/body/result/content/0/text").and_then(Value::as_str);
        let Some(answer) = answer else { return Err(unexpected("the tool call", &called)) };
        self.say(&format!("answer: {answer}"))?;
        self.say(&format!(
            "  audit {}  in {} ms",
            audit(&called),
            called.get("millis").unwrap_or(&Value::Null)
        ))?;
        let seen = cast.tools.tell(json!({ "do": "seen" })).await?;
        let clean = seen.get("authorization").and_then(Value::as_bool) == Some(false)
            && seen.get("proofs_of_the_caller").is_some_and(|rights| rights == &json!([]));
        if !clean {
            return Err(unexpected("the tool server", &seen));
        }
        let txn = seen.pointer("/txn_token/txn").and_then(Value::as_str).unwrap_or_default();
        self.say(&format!(
            "the tool server never saw the access token; it saw transaction token {txn}"
        ))
    }

    /// 8 and 9. What is refused.
    async fn refusals(&self, cast: &mut Cast) -> Result<(), Failure> {
        self.step("8", "a call outside the agent's rights is refused, with what would be needed")?;
        let paid = cast.agent.tell(json!({ "do": "call", "tool": "pay_invoice" })).await?;
        self.refused("pay_invoice", &paid, 403, "capability `invoices.pay`")?;
        let policy = paid.pointer("/body/error/data/policy").and_then(Value::as_str);
        self.say(&format!("  policy {}", policy.unwrap_or_default()))?;

        self.step("9", "stolen and repeated things are worth nothing")?;
        cast.agent.tell(json!({ "do": "call", "tool": "read_invoice" })).await?;
        let again = cast.agent.tell(json!({ "do": "again" })).await?;
        self.refused("the same proof again", &again, 400, "used before")?;
        let held = cast.agent.tell(json!({ "do": "hold" })).await?;
        let stolen = text(&held, "token").to_owned();
        cast.other.tell(json!({ "do": "take", "token": stolen })).await?;
        let used = cast.other.tell(json!({ "do": "call", "tool": "read_invoice" })).await?;
        self.refused("the agent's token, presented by another agent", &used, 400, "presents it")?;
        let batch = cast.batch.tell(json!({ "do": "hold" })).await?;
        let for_agent = text(&batch, "token").to_owned();
        let taken = cast.other.tell(json!({ "do": "take", "token": for_agent })).await?;
        drop(taken);
        let wrong = cast.other.tell(json!({ "do": "call", "tool": "read_invoice" })).await?;
        self.refused("a token for another audience", &wrong, 401, "not for")
    }

    /// 10. Suspension bites everywhere at once.
    async fn suspension(&self, cast: &mut Cast) -> Result<(), Failure> {
        self.step("10", "the operator suspends the agent")?;
        let name = AgentName::parse("invoice-agent").map_err(Failure::misused)?;
        let begun = Instant::now();
        let reason = "the demo wants to see it stop";
        let told = self.desk.move_agent(&name, Act::Suspend, reason).await?;
        let refused = loop {
            let called = cast.agent.tell(json!({ "do": "call", "tool": "read_invoice" })).await?;
            let status = called.get("status").and_then(Value::as_u64).unwrap_or_default();
            if status != 200 {
                break called;
            }
            if begun.elapsed().as_secs() >= 1 {
                return Err(unexpected("a suspended agent", &called));
            }
        };
        let millis = begun.elapsed().as_millis();
        self.say(&format!("suspended; audit {}", told.audit_id.unwrap_or_default()))?;
        self.refused(&format!("its call, {millis} ms later"), &refused, 401, "suspended")?;
        let stream = cast.agent.tell(json!({ "do": "withdrawn" })).await?;
        let message = text(&stream, "message");
        if message.is_empty() {
            return Err(unexpected("the Workload API stream", &stream));
        }
        self.say(&format!("its Workload API stream was told: {message}"))?;
        let told = self.desk.move_agent(&name, Act::Resume, "the demo goes on").await?;
        self.say(&format!("resumed; audit {}", told.audit_id.unwrap_or_default()))?;
        let old = loop {
            let old = cast.agent.tell(json!({ "do": "call", "tool": "read_invoice" })).await?;
            if !self::told(&old).contains("suspended since") || begun.elapsed().as_secs() > 5 {
                break old;
            }
        };
        self.refused("the token from before", &old, 401, "revoked")?;
        identify(&mut cast.agent).await?;
        let order = json!({ "do": "token", "resource": AGENT, "scope": "invoices:read" });
        cast.batch.tell(order).await?;
        let listening = cast.agent.tell(json!({ "do": "listen" })).await?;
        let order = json!({ "do": "ask", "agent": AGENT, "port": listening.get("port") });
        cast.batch.tell(order).await?;
        let resource = format!("{}/invoices", self.gateway);
        let order = json!({ "do": "exchange", "resource": resource, "scope": "invoices:read" });
        claims(&cast.agent.tell(order).await?, "the exchange after the resumption")?;
        let called = cast.agent.tell(json!({ "do": "call", "tool": "read_invoice" })).await?;
        if called.get("status").and_then(Value::as_u64) != Some(200) {
            return Err(unexpected("the call after the resumption", &called));
        }
        self.say(&format!("new credentials and a new token work again; audit {}", audit(&called)))
    }

    /// 11 and 12. The log tells the whole story, and proves itself.
    async fn audit(&self) -> Result<(), Failure> {
        self.step("11", &format!("`aims audit trace {}`", self.root))?;
        let trace = self.aims(&["audit", "trace", &self.root]).await?;
        if trace.exit != 0 {
            return Err(Failure::unavailable(trace.said));
        }
        for line in trace.said.lines() {
            self.say(line)?;
        }
        self.step("12", "`aims audit verify`")?;
        let whole = self.aims(&["audit", "verify"]).await?;
        if whole.exit != 0 {
            return Err(Failure::unavailable(whole.said));
        }
        for line in whole.said.lines() {
            self.say(line)?;
        }
        let log = self.dir.join("data/log/server");
        let copy = self.dir.join("copy");
        copy_folder(&log, &copy)?;
        let at = change_one_byte(&copy)?;
        let path = copy.display().to_string();
        let broken = self.aims(&["audit", "verify", "--log", &path]).await?;
        if broken.exit != 1 {
            return Err(Failure::refused("demo", "a changed byte was not found"));
        }
        self.say(&format!("a copy with one byte changed ({at}):"))?;
        for line in broken.said.lines() {
            self.say(line)?;
        }
        Ok(())
    }

    /// This program, as an operator runs it.
    async fn aims(&self, arguments: &[&str]) -> Result<NodeEnd, Failure> {
        let own = std::env::current_exe().map_err(Failure::unavailable)?;
        let done = tokio::process::Command::new(own)
            .args(arguments)
            .arg("--dir")
            .arg(self.dir.join("data"))
            .output()
            .await
            .map_err(Failure::unavailable)?;
        let mut said = String::from_utf8_lossy(&done.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&done.stderr));
        Ok(NodeEnd { exit: done.status.code().unwrap_or(1), said })
    }
}

/// How a command ended.
struct NodeEnd {
    exit: i32,
    said: String,
}

/// Asks until the node knows the record: a registration takes up to a second to reach it.
async fn identify(part: &mut Part) -> Result<Value, Failure> {
    let begun = Instant::now();
    loop {
        let told = part.tell(json!({ "do": "identify" })).await?;
        if told.get("id").is_some() {
            return Ok(told);
        }
        if begun.elapsed().as_secs() >= 3 {
            return Err(unexpected("a registered process", &told));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn entry(
    name: &str,
    kind: Kind,
    path: &Path,
    capabilities: &[&str],
) -> Result<Registration, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file(path, error))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let sha256: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let path = path.canonicalize().map_err(|error| Failure::file(path, error))?;
    let selectors = [
        format!("unix:uid:{}", nix::unistd::geteuid()),
        format!("unix:path:{}", path.display()),
        format!("unix:sha256:{sha256}"),
    ];
    let selectors = selectors.iter().map(|text| Selector::parse(text));
    let selectors = selectors.collect::<Result<Vec<_>, _>>().map_err(Failure::misused)?;
    let selectors = Selectors::new(selectors).map_err(Failure::misused)?;
    let class = attestation::rule::CLASS_DEFAULT.to_owned();
    Ok(Registration {
        name: AgentName::parse(name).map_err(Failure::misused)?,
        kind,
        owner: "finance team".to_owned(),
        capabilities: capabilities.iter().map(|one| (*one).to_owned()).collect(),
        locator: None,
        rule: Rule { selectors, nodes: Vec::new(), class },
        dns_names: std::collections::BTreeSet::new(),
        keys: Some(KeyHolding::Handed),
        client: Facet { callable: name == "invoice-agent", ..Facet::default() },
        downstream: false,
    })
}

/// A selector short enough for a line.
fn short(selector: &Selector) -> String {
    let text = selector.as_str();
    match text.strip_prefix("unix:sha256:") {
        Some(hash) => format!("unix:sha256:{}…", hash.get(..12).unwrap_or(hash)),
        None => match text.strip_prefix("unix:path:") {
            Some(path) => format!("unix:path:…/{}", path.rsplit('/').next().unwrap_or(path)),
            None => text.to_owned(),
        },
    }
}

fn claims<'a>(value: &'a Value, what: &str) -> Result<&'a Value, Failure> {
    match value.get("claims") {
        Some(claims) => Ok(claims),
        None => Err(unexpected(what, value)),
    }
}

fn audit(value: &Value) -> String {
    text(value, "audit").to_owned()
}

/// What a refusal says: an OAuth error, a JSON-RPC error, or the gateway's own form.
fn told(value: &Value) -> String {
    let places = ["/body/error/message", "/body/message", "/body/error_description", "/body/error"];
    let found = places.iter().find_map(|place| value.pointer(place).and_then(Value::as_str));
    found.unwrap_or_default().to_owned()
}

fn unexpected(what: &str, value: &Value) -> Failure {
    Failure::refused("demo", format!("{what} ended unexpectedly: {value}"))
}

fn write_secret(path: &Path, secret: &str) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(secret.as_bytes()));
    written.map_err(|error| Failure::file(path, error))
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to).map_err(|error| Failure::file(to, error))?;
    for entry in std::fs::read_dir(from).map_err(|error| Failure::file(from, error))? {
        let entry = entry.map_err(|error| Failure::file(from, error))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(|error| Failure::file(&path, error))?;
        }
    }
    Ok(())
}

/// Changes a byte of a record in the middle of the first segment; says where.
fn change_one_byte(log: &Path) -> Result<String, Failure> {
    let folder = log.join("segments");
    let first = std::fs::read_dir(&folder)
        .map_err(|error| Failure::file(&folder, error))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .min()
        .ok_or_else(|| Failure::unavailable("the log has no segment"))?;
    let mut bytes = std::fs::read(&first).map_err(|error| Failure::file(&first, error))?;
    let needle = b"\"agent_registered\"";
    let at = bytes.windows(needle.len()).position(|window| window == needle);
    let at = at.ok_or_else(|| Failure::unavailable("no registration in the log"))? + 1;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    std::fs::write(&first, &bytes).map_err(|error| Failure::file(&first, error))?;
    Ok(format!("byte {at} of the first segment"))
}
