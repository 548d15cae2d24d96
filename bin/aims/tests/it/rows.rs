//! Rows of the catalogue, each at the running program: what is promised, asked for over the
//! interfaces that everybody uses.

mod authorities;
mod codes;
mod credentials;
mod ends;
mod exchange;
mod forged;
mod identifiers;
mod people;
mod proxy;
mod records;
mod refusals;
mod tokens;

use serde_json::Value;

use crate::actor::{Actor, Upstream, lay_policy};
use crate::running::{Running, Site};

/// A running installation with this process in it.
struct Stage {
    site: Site,
    running: Option<Running>,
    actor: Actor,
    upstream: Upstream,
}

impl Stage {
    /// `domain`: what stands in `domain.toml` beside the trust domain.
    async fn open(domain: &str) -> Self {
        Self::laid(domain, |_| ()).await
    }

    /// The same with these access rules in place of those of `lay_policy`.
    async fn open_with(domain: &str, rules: &str) -> Self {
        Self::laid(domain, |site| site.policy("access/main.cedar", rules)).await
    }

    /// The same with more policy.
    async fn laid(domain: &str, more: impl FnOnce(&Site)) -> Self {
        let site = Site::new();
        let (upstream, port) = Upstream::start().await;
        lay_policy(&site, port, domain);
        more(&site);
        let running = Some(site.up());
        let actor = Actor::enrol(&site).await;
        Self { site, running, actor, upstream }
    }

    /// Stops it and starts it again.
    async fn restart(&mut self) {
        assert_eq!(self.running.take().unwrap().stop(), 0);
        self.running = Some(self.site.up());
        self.actor = Actor::of(&self.site).await;
    }

    /// A command of an operator that must be done.
    fn done(&self, arguments: &[&str]) -> Value {
        let told = self.site.aims(&[arguments, &["--output", "json"]].concat());
        assert_eq!(told.code, 0, "{arguments:?}: {}", told.err);
        serde_json::from_str(&told.out).unwrap_or_default()
    }

    /// Every record of every log, in the order of time.
    fn records(&self) -> Vec<Value> {
        let told = self.site.aims(&["audit", "tail", "--last", "10000", "--output", "json"]);
        assert_eq!(told.code, 0, "{}", told.err);
        let lines = told.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|mut line| line["record"].take()).collect()
    }

    /// The record of an answer.
    fn record(&self, id: &str) -> Value {
        self.done(&["audit", "show", id])["record"].take()
    }
}
