//! Calls at the gateway: as they should be, elsewhere, again, and by the agent proxy.

use flow::call::End;
use flow::proxy::Outbound;
use gateway::Target;
use testkit::fixture::{GATEWAY, http_call, process, tool_call};

use super::{NOTICES, REPORTS, TOOLS};
use crate::model::{Held, Token, Used, keep};
use crate::town::{AGENTS, Town, Which};

impl Town {
    pub(super) async fn call_tool(&self, held: Held, token: Token) -> String {
        let tool = *self.sim.rng().pick(&["list_invoices", "pay_invoice"]).unwrap();
        let call = tool_call(&held.party, &token.text, "invoices", tool, self.node_time());
        self.send(Used { call, token, held }).await
    }

    pub(super) async fn some_call(&self) -> String {
        let Some(token) = self.some_token(|claims| claims.aud.starts_with(GATEWAY)) else {
            return "nothing".to_owned();
        };
        let fits = |held: &Held| held.party.id == token.claims.client_id;
        let Some(held) = self.held_that(fits) else { return "nobody".to_owned() };
        let call = if token.claims.aud == REPORTS {
            let mut call = http_call("GET", "/reports/1", &token.text);
            call.certificates.clone_from(&held.party.chain);
            call
        } else if token.claims.aud == NOTICES {
            http_call("GET", "/notices/1", &token.text)
        } else {
            let tools = ["list_invoices", "pay_invoice", "pay_invoice", "delete_invoice"];
            let tool = *self.sim.rng().pick(&tools).unwrap();
            tool_call(&held.party, &token.text, "invoices", tool, self.node_time())
        };
        self.send(Used { call, token, held }).await
    }

    /// A token that is for something else.
    pub(super) async fn call_elsewhere(&self) -> String {
        let Some(token) = self.some_token(|claims| claims.aud != TOOLS) else {
            return "nothing".to_owned();
        };
        let Some(held) = self.some_held() else { return "nobody".to_owned() };
        let text = &token.text;
        let call = tool_call(&held.party, text, "invoices", "list_invoices", self.node_time());
        let told = self.send(Used { call, token, held }).await;
        assert_ne!(told, "forwarded", "a token for another audience");
        told
    }

    /// A call that was let through before, byte for byte.
    pub(super) async fn call_replayed(&self) -> String {
        let used = {
            let model = self.model();
            self.sim.rng().pick(&model.used).cloned()
        };
        match used {
            Some(used) => self.send(used).await,
            None => "nothing".to_owned(),
        }
    }

    pub(super) async fn call_by_proxy(&self) -> String {
        let name = self.sim.rng().pick(&AGENTS).unwrap().0;
        let asked = self.now();
        let attested = match self.domain.attest(process(&format!("/opt/{name}")), false).await {
            Err(_) => return format!("{name}: unavailable"),
            Ok(recorded) => match recorded.into_value() {
                Err(refusal) => return format!("{name}: {}", refusal.check()),
                Ok(attested) => attested,
            },
        };
        self.check_in_force_at(Which::Node, attested.agent.id.as_str(), asked);
        let target = Target::parse("/invoices", None).unwrap();
        let params = serde_json::json!({ "name": "list_invoices", "arguments": {} });
        let body = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params,
        });
        let body = body.to_string().into_bytes();
        let out = Outbound { method: "POST", target: &target, body: &body };
        let signed = match self.domain.sign(&attested, out).await {
            Err(why) => return format!("{name}: unavailable: {}", why.part),
            Ok(Err(refused)) => return format!("{name}: {}", refused.refusal),
            Ok(Ok(signed)) => signed,
        };
        let mut call = http_call("POST", "/invoices", "");
        (call.headers, call.body) = (Vec::new(), body);
        for (name, value) in signed.headers {
            call.headers.push((name.to_owned(), value.expose().as_bytes().to_vec()));
        }
        let told = match self.domain.call(call).await {
            Err(why) => format!("unavailable: {}", why.part),
            Ok(End::Refused(recorded)) => recorded.value().refusal.check().to_owned(),
            Ok(End::Stranger(refused)) => refused.refusal.check().to_owned(),
            Ok(End::Forwarded(recorded, _)) => {
                self.check_recorded(&self.domain.gateway, recorded.audit_id());
                self.check_in_force_at(Which::Gateway, attested.agent.id.as_str(), self.now());
                "forwarded".to_owned()
            }
        };
        format!("{name}: {told}")
    }

    pub(super) async fn send(&self, used: Used) -> String {
        let began = self.now();
        match self.domain.call(used.call.clone()).await {
            Err(why) => format!("unavailable: {}", why.part),
            Ok(End::Refused(recorded)) => {
                self.check_recorded(&self.domain.gateway, recorded.audit_id());
                recorded.value().refusal.check().to_owned()
            }
            Ok(End::Stranger(refused)) => refused.refusal.check().to_owned(),
            Ok(End::Forwarded(recorded, live)) => {
                self.check_recorded(&self.domain.gateway, recorded.audit_id());
                assert_eq!(live.epoch.0, used.token.claims.aims_epoch);
                self.check_let_through(&used, began);
                let at = self.sim.rng().index(1_000);
                keep(&mut self.model().used, used, at);
                "forwarded".to_owned()
            }
        }
    }
}
