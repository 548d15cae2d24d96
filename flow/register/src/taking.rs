//! From the text of a registration to a client, and to what it is told.

use std::fmt;

use authentication::private_key_jwt::ALGORITHMS;
use authorization::profile::{self, demands};
use env::{Entropy, Unavailable, World};
use jose::Unverified;
use jose::json;
use oauth::ClientId;
use oauth::client_metadata::ClientMetadataError;
use oauth::registration::{Registered, Registration, SoftwareStatement, with_statement};
use oauth::token_request::GrantType;
use registry::admission::{Unadmitted, admit};
use registry::client::Origin;
use registry::{ClientRecord, Metadata, Signed};
use serde_json::{Map, Value};
use time::UnixTime;

use crate::facts::Basis;
use crate::refusal::Refusal;
use crate::secrets::{SECRET, Secret};

/// Where clients are registered, below the issuer.
pub(crate) const PATH: &str = "/register";

/// What a client is told (RFC 7591 §3.2.1, RFC 7592 §3).
#[derive(Clone)]
pub struct Answer {
    /// The members.
    pub registered: Registered,
    /// `client_secret`, shown once: where policy lets clients have one.
    pub secret: Option<Secret>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("registered", &self.registered).finish_non_exhaustive()
    }
}

/// Reads what a client says of itself, with what its software statement says of it.
pub(crate) fn read(
    facts: &Basis,
    members: Map<String, Value>,
    origin: Origin,
    now: UnixTime,
) -> Result<Metadata, Refusal> {
    let domain = facts.set().domain();
    let policy = &domain.registration;
    let statement = match members.get("software_statement") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(ClientMetadataError::Form { member: "software_statement" }.into()),
    };
    let members = match statement {
        None if policy.require_statement && origin != Origin::Operator => {
            return Err(Refusal::NoStatement);
        }
        None => members,
        Some(text) => {
            let token = Unverified::<SoftwareStatement>::parse(&text)?;
            let issuer = token.hint();
            let trusted = policy.statements.iter().find(|one| one.issuer == issuer);
            let Some(trusted) = trusted else {
                return Err(Refusal::StatementIssuer(oauth::parameter::evidence(&issuer)));
            };
            let skew = domain.bounds.clock_skew;
            let token = token.verify(&trusted.jwks, ALGORITHMS, now, skew)?;
            with_statement(members, token.claims())
        }
    };
    let metadata = Metadata::new(&members)?;
    admit(&metadata, origin, policy)?;
    Ok(metadata)
}

/// The members of a text, read strictly and within bounds.
pub(crate) fn members(text: &str) -> Result<Map<String, Value>, Refusal> {
    // Bounds and form of everything first: what follows may then take members for what they are.
    Registration::parse(text)?;
    let members: Map<String, Value> = json::parse(text).map_err(ClientMetadataError::Json)?;
    // Only this server makes secrets: whoever brings one thinks that it counts.
    if members.contains_key("client_secret") {
        return Err(ClientMetadataError::Secret { member: "client_secret" }.into());
    }
    Ok(members)
}

/// Refuses a client that its profiles do not allow.
pub(crate) fn under_its_profiles(client: &ClientRecord) -> Result<(), Refusal> {
    Ok(profile::of_registration(&demands(&client.profiles), &client.metadata)?)
}

/// What was made of a registration, if what it wants signed can be.
pub(crate) async fn signable<W: World>(
    world: &W,
    made: Result<(ClientRecord, Answer), Refusal>,
) -> Result<Result<(ClientRecord, Answer), Refusal>, Unavailable> {
    let (client, told) = match made {
        Ok(made) => made,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let can = access::documents::signable(world, &client.metadata).await?;
    Ok(can.map(|()| (client, told)).map_err(|cannot| Unadmitted::from(cannot).into()))
}

/// The client with a secret, if it is one that has one and has none yet.
pub(crate) fn with_secret<W: World>(
    world: &W,
    client: ClientRecord,
) -> (ClientRecord, Option<Secret>) {
    let wants = client.metadata.token_endpoint_auth_method.is_symmetric();
    if !wants || client.secret.is_some() {
        let secret = client.secret.clone().filter(|_| wants);
        return (ClientRecord { secret, ..client }, None);
    }
    let secret = Secret::made(SECRET, &world.entropy().secret());
    (ClientRecord { secret: Some(secret.hash()), ..client }, Some(secret))
}

/// What the client is told of itself.
pub(crate) fn answer<W: World>(
    world: &W,
    client: &ClientRecord,
    manager: Option<&Secret>,
    secret: Option<Secret>,
) -> Result<Answer, Refusal> {
    let unfit = |_| Refusal::Unknown(client.client_id.clone());
    let mut metadata = client.metadata.members().clone();
    // RFC 7591 §3.2.1: "REQUIRED if "client_secret" is issued. [...] or 0 if it will not expire."
    if secret.is_some() {
        metadata.insert("client_secret_expires_at".to_owned(), 0.into());
    }
    // The same section: "The authorization server MAY reject or replace any of the client's
    // requested metadata values", and returns what it put there. OpenID Connect Registration 1.0 §2
    // has another default: a client reads here what it will get.
    let signed = Signed::IdToken;
    if client.metadata.grant_types.iter().any(|grant| gives_id_tokens(*grant)) {
        let by = client.signed_by(signed).as_str();
        metadata.entry(signed.member()).or_insert_with(|| by.into());
    }
    // "Ed25519" (RFC 9864) is read and is written `EdDSA`: what is told is what stands in `alg`.
    for signed in Signed::ALL {
        if let Some(named) = metadata.get_mut(signed.member()) {
            *named = client.signed_by(signed).as_str().into();
        }
    }
    let uri = || format!("{}{PATH}/{}", world.site().issuer, client.client_id);
    let registered = Registered {
        client_id: ClientId::parse(&client.client_id).map_err(unfit)?,
        client_id_issued_at: Some(client.registered.seconds()),
        registration_access_token: manager.map(|token| token.expose().to_owned()),
        registration_client_uri: manager.map(|_| uri()),
        metadata,
    };
    Ok(Answer { registered, secret })
}

/// Whether somebody may have signed in where such a grant is used.
const fn gives_id_tokens(grant: GrantType) -> bool {
    matches!(grant, GrantType::AuthorizationCode | GrantType::DeviceCode | GrantType::Ciba)
}
