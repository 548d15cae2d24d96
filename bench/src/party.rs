//! An agent that holds its credentials, and what it sends.

use std::sync::Arc;

use attestation::unix::{PeerProof, Process};
use attestation::{Rule, Selector, Selectors};
use authorization::client::Facet;
use credential::TokenText;
use flow::token::Call;
use flow::workload::{self, Attested};
use identifier::{AgentName, Kind};
use jose::{Algorithm, Audience, NumericDate, PrivateKey, SigningInput, TokenHash};
use oauth::client_assertion::{AssertionType, PresentedClient};
use oauth::client_attestation_pop::{ClientAttestationPop, ClientAttestationPopClaims};
use oauth::token_request::{ClientCredentials, TokenExchange, TokenRequest, TypedToken};
use oauth::{ClientId, Resource, ScopeSet, TokenId, TokenType};
use provisioning::KeyHolding;
use registry::Registration;
use time::{Span, UnixTime};
use wimse::Proof;
use wiring::node::ComponentWorld;

use crate::Failure;

/// How long its proofs live.
const PROOF_LIFE: Span = Span::from_seconds(60);

/// An agent with its WIT.
#[derive(Clone)]
pub(crate) struct Party {
    /// Its name.
    pub(crate) name: AgentName,
    /// Its identifier.
    pub(crate) id: String,
    /// Its WIT.
    pub(crate) wit: TokenText,
    key: Arc<PrivateKey>,
    node: Arc<ComponentWorld>,
}

/// An agent that runs `/opt/<name>` and may use the tools.
pub(crate) fn registration(name: &str) -> Result<Registration, Failure> {
    let selectors = Selectors::new([Selector::parse(&format!("unix:path:/opt/{name}"))?])?;
    Ok(Registration {
        name: AgentName::parse(name)?,
        kind: Kind::Agent,
        owner: "bench".to_owned(),
        capabilities: ["tools".to_owned()].into_iter().collect(),
        locator: None,
        rule: Rule { selectors, nodes: Vec::new(), class: "standard".to_owned() },
        dns_names: std::collections::BTreeSet::new(),
        keys: Some(KeyHolding::Handed),
        client: Facet { callable: true, ..Facet::default() },
        downstream: false,
    })
}

/// The process of that agent, as a node measures it.
pub(crate) fn process(name: &str) -> Process {
    Process {
        pid: 4_711,
        uid: 1_000,
        gid: 100,
        user: Some("ada".to_owned()),
        group: None,
        supplementary: Vec::new(),
        path: Some(format!("/opt/{name}")),
        sha256: Some("ab".repeat(32)),
        supplementary_names: Vec::new(),
        script: None,
        platform: attestation::Selectors::default(),
        peer: PeerProof::Pidfd,
    }
}

impl Party {
    /// Gets the credentials of an attested process.
    pub(crate) async fn of(
        node: &Arc<ComponentWorld>,
        attested: &Attested,
    ) -> Result<Self, Failure> {
        let wit = workload::wit(&**node, attested).await??;
        let (name, node) = (attested.agent.entry.name.clone(), Arc::clone(node));
        Ok(Self { name, id: wit.id.to_string(), wit: wit.token, key: Arc::new(wit.key), node })
    }

    fn jti(&self) -> String {
        flow::record::public_id(&*self.node)
    }

    fn sign<K: jose::Kind>(&self, input: SigningInput<K>) -> String {
        let signature = self.key.sign(input.bytes());
        input.attach(signature).into_string()
    }

    /// The proof that goes with a call to `target` with `token`.
    pub(crate) fn proof(
        &self,
        target: &str,
        token: &str,
        now: UnixTime,
    ) -> Result<String, Failure> {
        let proof = Proof {
            audience: target,
            expires: now.plus(PROOF_LIFE),
            jti: &self.jti(),
            wit: TokenHash::of(self.wit.expose()),
            access_token: Some(token),
            txn_token: None,
            other: &[],
        };
        Ok(self.sign(proof.signing_input(Algorithm::Es256)?))
    }

    /// The proof that authenticates it at the token endpoint.
    pub(crate) fn possession(&self, issuer: &str, now: UnixTime) -> Result<String, Failure> {
        let claims = ClientAttestationPopClaims {
            aud: Audience::one(issuer),
            jti: TokenId::parse(&self.jti())?,
            iat: NumericDate::from_time(now),
            challenge: None,
            exp: None,
            nbf: None,
        };
        let input = SigningInput::<ClientAttestationPop>::new(Algorithm::Es256, None, &claims)?;
        Ok(self.sign(input))
    }

    /// A request, authenticated by WIT and proof of possession.
    pub(crate) fn by_wit(
        &self,
        request: TokenRequest,
        issuer: &str,
        now: UnixTime,
    ) -> Result<Call, Failure> {
        let wit = oauth::TokenText::parse(self.wit.expose())?;
        let possession = oauth::TokenText::parse(&self.possession(issuer, now)?)?;
        Ok(Call { attestation: Some((wit, Some(possession))), ..self.plain(request)? })
    }

    /// A request, authenticated by a JWT-SVID.
    pub(crate) fn by_jwt_svid(&self, svid: &str, request: TokenRequest) -> Result<Call, Failure> {
        let mut call = self.plain(request)?;
        call.client.assertion = Some((AssertionType::SpiffeJwt, oauth::TokenText::parse(svid)?));
        Ok(call)
    }

    fn plain(&self, request: TokenRequest) -> Result<Call, Failure> {
        let client_id = Some(ClientId::parse(&self.id)?);
        Ok(Call {
            request,
            client: PresentedClient { client_id, assertion: None, secret: None },
            attestation: None,
            dpop: Vec::new(),
            certificates: Vec::new(),
            source: "127.0.0.1".to_owned(),
        })
    }
}

/// A request for a token on one's own behalf.
pub(crate) fn credentials(resource: &str, scope: &str) -> Result<TokenRequest, Failure> {
    let scope = if scope.is_empty() { None } else { Some(ScopeSet::parse(scope)?) };
    let resources = vec![Resource::parse(resource)?];
    Ok(TokenRequest::ClientCredentials(ClientCredentials { scope, resources }))
}

/// A request for the next token, for what was received, with the caller's own as the actor's.
pub(crate) fn exchange(
    subject: &str,
    actor: &str,
    resource: &str,
    scope: &str,
) -> Result<TokenRequest, Failure> {
    let typed = |token: &str| -> Result<TypedToken, Failure> {
        let token = oauth::TokenText::parse(token)?;
        Ok(TypedToken { token, token_type: TokenType::AccessToken })
    };
    Ok(TokenRequest::TokenExchange(Box::new(TokenExchange {
        resources: vec![Resource::parse(resource)?],
        audiences: Vec::new(),
        scope: Some(ScopeSet::parse(scope)?),
        requested_token_type: None,
        subject: typed(subject)?,
        actor: Some(typed(actor)?),
        requested_cnf: None,
        request_context: None,
        request_details: None,
    })))
}
