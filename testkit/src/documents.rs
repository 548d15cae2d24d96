//! Documents about an agent, as those make them who are somebody else: builders, providers, owners,
//! operators. Each is right; a test changes one thing.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use env::Unavailable;
use jose::{
    Algorithm, KeyId, KeySet, Kind, NumericDate, PrivateKey, PublicKey, SigningInput, TokenHash,
    jws,
};
use oauth::agent_binding::{
    ActFor, AgentBinding, AgentBindingClaims, AgentBindingRotation, AgentBindingRotationClaims,
};
use oauth::confirmation::Confirmation;
use oauth::operator_assertion::{OperatorAssertion, OperatorAssertionClaims};
use oauth::{NotAnIdentifier, ScopeSet, SubjectText, TokenId};
use provenance::{IN_TOTO, STATEMENT, pae};
use serde_json::{Value, json};
use time::{Span, UnixTime};

use crate::keys::generate;

/// What the key of a binding says that hands over, behind everything that stands before it.
pub fn rotation(
    before: &str,
    agent: &str,
    old: &PublicKey,
    next: &PublicKey,
    now: UnixTime,
) -> AgentBindingRotationClaims {
    AgentBindingRotationClaims {
        sub: agent.to_owned(),
        follows: TokenHash::of(before),
        jwk: old.to_jwk(),
        cnf: Confirmation::Key(next.thumbprint()),
        iat: NumericDate::from_time(now),
        exp: None,
    }
}

/// A key of somebody who signs documents.
pub struct Signer {
    key: PrivateKey,
    kid: KeyId,
}

impl Signer {
    /// A new P-256 key, under this id.
    pub fn new(kid: &str) -> Result<Self, Unavailable> {
        let unread = |error: &dyn std::fmt::Display| Unavailable::of("keys", error);
        let pkcs8 = generate(Algorithm::Es256)?;
        let key = PrivateKey::from_pkcs8(&pkcs8).map_err(|error| unread(&error))?;
        Ok(Self { key, kid: KeyId::parse(kid).map_err(|error| unread(&error))? })
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        self.key.public()
    }

    /// The JWK set that policy has.
    pub fn keys(&self) -> String {
        let jwk = self.key.public().to_jwk().with_kid(self.kid.clone());
        KeySet::new(vec![jwk]).map(|set| json!(set).to_string()).unwrap_or_default()
    }

    /// The same in PEM.
    pub fn pem(&self) -> String {
        let base64 = STANDARD.encode(self.key.public().spki_der());
        let (first, rest) = base64.split_at(64.min(base64.len()));
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}\n-----END PUBLIC KEY-----\n")
    }

    /// A DSSE envelope.
    pub fn envelope(&self, payload_type: &str, payload: &[u8]) -> Vec<u8> {
        let fixed = self.key.sign(&pae(payload_type, payload));
        let signature = x509::ecdsa_der_from_fixed(fixed.as_bytes()).unwrap_or_default();
        json!({
            "payloadType": payload_type,
            "payload": STANDARD.encode(payload),
            "signatures": [{ "keyid": self.kid.as_str(), "sig": STANDARD.encode(signature) }],
        })
        .to_string()
        .into_bytes()
    }

    /// A statement in an envelope.
    pub fn statement(&self, sha256: &str, predicate_type: &str, predicate: &Value) -> Vec<u8> {
        let statement = json!({
            "_type": STATEMENT,
            "subject": [{ "name": "agent", "digest": { "sha256": sha256 } }],
            "predicateType": predicate_type,
            "predicate": predicate,
        });
        self.envelope(IN_TOTO, statement.to_string().as_bytes())
    }

    /// A JWS over bytes: header, payload and signature.
    pub fn jws(&self, payload: &[u8]) -> [String; 3] {
        let (protected, input) =
            jws::signing_input(self.key.algorithm(), Some(&self.kid), Some("JOSE"), payload);
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(&input).as_bytes());
        [protected, URL_SAFE_NO_PAD.encode(payload), signature]
    }

    /// The same, as a compact text.
    pub fn attached(&self, payload: &[u8]) -> Vec<u8> {
        self.jws(payload).join(".").into_bytes()
    }

    /// A detached JWS with the payload behind it.
    pub fn detached(&self, payload: &[u8]) -> Vec<u8> {
        let [protected, _, signature] = self.jws(payload);
        [format!("{protected}..{signature}\n").as_bytes(), payload].concat()
    }

    /// An A2A agent card, signed.
    pub fn card(&self, card: &Value) -> Vec<u8> {
        let payload = json::canonical(&card.to_string(), &["signatures"]).unwrap_or_default();
        let [protected, _, signature] = self.jws(payload.as_bytes());
        let mut card = card.clone();
        if let Some(members) = card.as_object_mut() {
            let signature = json!({ "protected": protected, "signature": signature });
            members.insert("signatures".to_owned(), json!([signature]));
        }
        card.to_string().into_bytes()
    }

    /// A token of any kind.
    pub fn token<K: Kind>(&self, claims: &K::Claims) -> Vec<u8> {
        let input = SigningInput::<K>::new(self.key.algorithm(), Some(&self.kid), claims);
        let signed = input.map(|input| {
            let signature = self.key.sign(input.bytes());
            input.attach(signature).into_string()
        });
        signed.unwrap_or_default().into_bytes()
    }
}

/// SLSA provenance of a build of a repository.
pub fn provenance(builder: &str, repository: &str, finished: UnixTime) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://ci.example/type/v1",
            "externalParameters": { "workflow": { "repository": repository } },
            "resolvedDependencies": [{ "uri": format!("git+{repository}@refs/heads/main") }],
        },
        "runDetails": {
            "builder": { "id": builder },
            "metadata": { "finishedOn": finished.to_string() },
        },
    })
}

/// A verifier's summary at a level.
pub fn summary(verifier: &str, level: u8, at: UnixTime) -> Value {
    json!({
        "verifier": { "id": verifier }, "timeVerified": at.to_string(),
        "resourceUri": "pkg:oci/agent", "policy": { "uri": "https://verifier.example/policy" },
        "verificationResult": "PASSED", "verifiedLevels": [format!("SLSA_BUILD_LEVEL_{level}")],
    })
}

/// A bill of materials: the agent, a model with its data set, and a library.
pub fn bom(sha256: &str) -> Value {
    let hashes = |hex: &str| json!([{ "alg": "SHA-256", "content": hex }]);
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": { "component": {
            "bom-ref": "agent", "type": "application", "name": "planner", "version": "1.0.0",
            "hashes": hashes(sha256), "supplier": { "name": "Acme" }
        } },
        "components": [
            {
                "bom-ref": "model", "type": "machine-learning-model", "name": "llm",
                "version": "7", "publisher": "Model Works", "hashes": hashes(&"b1".repeat(32)),
                "modelCard": {
                    "modelParameters": { "task": "chat", "datasets": [{ "ref": "set" }] }
                }
            },
            {
                "bom-ref": "set", "type": "data", "name": "corpus",
                "hashes": hashes(&"c1".repeat(32))
            },
            {
                "bom-ref": "lib", "type": "library", "name": "requests", "version": "2.30.0",
                "purl": "pkg:pypi/requests@2.30.0", "hashes": hashes(&"d1".repeat(32))
            }
        ],
        "dependencies": [
            { "ref": "agent", "dependsOn": ["model", "lib"] },
            { "ref": "model", "dependsOn": ["set"] }, { "ref": "set" }, { "ref": "lib" }
        ]
    })
}

/// An advisory against the library of [`bom`], with a score of 6.1.
pub fn advisory() -> Value {
    json!({
        "id": "GHSA-j8r2-6x86-q33q", "modified": "2024-11-18T16:26:24Z",
        "aliases": ["CVE-2023-32681"],
        "severity": [
            { "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:C/C:H/I:N/A:N" }
        ],
        "affected": [{
            "package": { "name": "requests", "ecosystem": "PyPI" },
            "ranges": [{
                "type": "ECOSYSTEM", "events": [{ "introduced": "2.3.0" }, { "fixed": "2.31.0" }]
            }],
            "versions": ["2.30.0"]
        }]
    })
}

/// What a provider says of an agent.
pub fn endorsement(provider: &str, from: UnixTime, until: UnixTime) -> Value {
    json!({
        "provider": provider, "agentType": "planner", "version": "1.0.0",
        "capabilities": ["plan", "search"],
        "validity": { "notBefore": from.to_string(), "notAfter": until.to_string() },
    })
}

/// An A2A agent card that names the package.
pub fn agent_card(sha256: &str) -> Value {
    json!({
        "name": "Planner", "description": "Plans", "version": "1.0.0",
        "supportedInterfaces": [{ "url": "https://planner.example/a2a", "protocolBinding": "JSONRPC" }],
        "provider": { "organization": "Acme", "url": "https://acme.example" },
        "capabilities": { "streaming": true, "extensions": [
            { "uri": "urn:aims:package:v1", "params": { "sha256": sha256 } }
        ] },
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "plan", "name": "Plan", "description": "Plans", "tags": [] }],
    })
}

/// A binding of an agent and its key to a user, for an hour.
pub fn binding(
    issuer: &str,
    agent: &str,
    key: &PublicKey,
    user: &str,
    now: UnixTime,
) -> Result<AgentBindingClaims, NotAnIdentifier> {
    Ok(AgentBindingClaims {
        iss: issuer.to_owned(),
        sub: agent.to_owned(),
        act_for: ActFor::User(SubjectText::parse(user)?),
        scope: ScopeSet::parse("calendar mail").ok(),
        cnf: Confirmation::Key(key.thumbprint()),
        exp: NumericDate::from_time(now.plus(Span::from_seconds(3_600))),
        iat: NumericDate::from_time(now),
        nbf: None,
        jti: TokenId::parse("binding-1")?,
        aud: None,
    })
}

/// The word of an operator, for five minutes.
pub fn word(
    operator: &str,
    agent: &str,
    sha256: &str,
    now: UnixTime,
) -> Result<OperatorAssertionClaims, NotAnIdentifier> {
    Ok(OperatorAssertionClaims {
        iss: operator.to_owned(),
        sub: agent.to_owned(),
        sha256: sha256.to_owned(),
        exp: NumericDate::from_time(now.plus(Span::from_seconds(300))),
        iat: NumericDate::from_time(now),
        jti: TokenId::parse("assertion-1")?,
        aud: None,
    })
}

/// The kind of [`binding`].
pub type Binding = AgentBinding;
/// The kind of rotations.
pub type Rotation = AgentBindingRotation;
/// The kind of [`word`].
pub type Word = OperatorAssertion;
