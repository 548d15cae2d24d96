//! Tokens are asked for: with each proof, for a task, and out of each other.

use credential::TokenText;
use env::Clock;
use flow::{token, workload};
use testkit::fixture::{
    DOMAIN, ISSUER, by_certificate, by_jwt_svid, by_wit, credentials, exchange, process,
    transaction,
};

use super::{NOTICES, REPORTS, TOOLS};
use crate::checks::check_time;
use crate::model::{Claims, Held, Token, keep};
use crate::town::{AGENTS, BATCH, Town, Which};

impl Town {
    pub(super) async fn token_by_wit(&self) -> String {
        let Some(held) = self.some_held() else { return "nobody".to_owned() };
        let target = *self.sim.rng().pick(&[TOOLS, TOOLS, NOTICES]).unwrap();
        let scope = if target == TOOLS { self.some_scope() } else { "notices.read" };
        let call = by_wit(&held.party, credentials(target, scope), self.node_time());
        self.ask(call, Some(&held), None).await
    }

    pub(super) async fn token_by_certificate(&self) -> String {
        let Some(held) = self.some_held() else { return "nobody".to_owned() };
        let call = by_certificate(&held.party, credentials(REPORTS, "reports.read"));
        self.ask(call, Some(&held), None).await
    }

    pub(super) async fn token_by_jwt_svid(&self) -> String {
        let (name, asked) = (self.name(), self.now());
        let Some((id, svid)) = self.jwt_svid(&name).await else { return format!("{name}: none") };
        self.check_in_force_at(Which::Node, &id, asked);
        let call = by_jwt_svid(&id, &svid, credentials(TOOLS, self.some_scope()));
        format!("{name}: {}", self.ask(call, None, None).await)
    }

    /// The batch job gets a token for an agent.
    pub(super) async fn task(&self) -> String {
        let Some((id, svid)) = self.jwt_svid(BATCH).await else { return "none".to_owned() };
        let agent = format!("spiffe://{DOMAIN}/agent/{}", self.sim.rng().pick(&AGENTS).unwrap().0);
        let call = by_jwt_svid(&id, &svid, credentials(&agent, self.some_scope()));
        self.ask(call, None, None).await
    }

    pub(super) async fn jwt_svid(&self, name: &str) -> Option<(String, TokenText)> {
        let attested = self.domain.attest(process(&format!("/opt/{name}")), false).await.ok()?;
        self.check_recorded(&self.domain.node, attested.audit_id());
        let attested = attested.into_value().ok()?;
        let audiences = vec![ISSUER.to_owned()];
        let made = workload::jwt(&*self.domain.node.world(), &attested, audiences).await;
        made.ok()?.ok().map(|(id, svid)| (id.to_string(), svid))
    }

    pub(super) async fn exchange(&self) -> String {
        let Some(token) = self.some_token(|claims| claims.aud.starts_with("spiffe://")) else {
            return "nothing".to_owned();
        };
        let fits = |held: &Held| held.party.id == token.claims.aud;
        let Some(held) = self.held_that(fits) else { return "nobody".to_owned() };
        let next = exchange(&token.text, TOOLS, self.some_scope());
        let call = by_wit(&held.party, next, self.node_time());
        self.ask(call, Some(&held), Some(&token)).await
    }

    pub(super) async fn transaction(&self) -> String {
        let Some(token) = self.some_token(|_| true) else { return "nothing".to_owned() };
        let Some(held) = self.some_held() else { return "nobody".to_owned() };
        let kind = if token.claims.aud == DOMAIN {
            oauth::TokenType::TxnToken
        } else {
            oauth::TokenType::AccessToken
        };
        let next = transaction(&token.text, kind, DOMAIN, "invoices.read");
        let call = by_wit(&held.party, next, self.node_time());
        self.ask(call, Some(&held), Some(&token)).await
    }

    /// Asks the token endpoint.
    pub(super) async fn ask(
        &self,
        call: token::Call,
        held: Option<&Held>,
        subject: Option<&Token>,
    ) -> String {
        match self.obtain(call, held, subject).await {
            Ok(_) => "issued".to_owned(),
            Err(told) => told,
        }
    }

    /// The same: the token, or why there is none.
    pub(super) async fn obtain(
        &self,
        call: token::Call,
        held: Option<&Held>,
        subject: Option<&Token>,
    ) -> Result<Token, String> {
        let (asked, newest) = (self.now(), self.domain.server.clock().recorded());
        let proof = call
            .attestation
            .as_ref()
            .and_then(|(_, pop)| pop.as_ref())
            .map(|pop| pop.as_str().to_owned());
        match token::answer(&*self.domain.server.world(), call).await {
            Err(why) => Err(format!("unavailable: {}", why.part)),
            Ok(token::End::Stranger(refusal)) => Err(refusal.check().to_owned()),
            Ok(token::End::Unproved(refusal)) => Err(refusal.check().to_owned()),
            Ok(token::End::Decided(recorded)) => {
                self.check_recorded(&self.domain.server, recorded.audit_id());
                match recorded.into_value() {
                    Err(refusal) => Err(refusal.check().to_owned()),
                    Ok(response) => {
                        let claims = Claims::parse_insecure(&response.access_token);
                        check_time(&claims, newest);
                        let token = Token { text: response.access_token, claims, asked };
                        self.check_issued(&token, held, subject, proof.as_deref());
                        let at = self.sim.rng().index(1_000);
                        keep(&mut self.model().tokens, token.clone(), at);
                        Ok(token)
                    }
                }
            }
        }
    }
}
