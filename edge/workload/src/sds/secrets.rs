//! Which secrets a name stands for, as SPIRE's agent names them, and each as Envoy takes it.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::Any;
use prost_types::value::Kind;
use spiffe::TrustDomain;

use super::wire;
use crate::answer::{X509Answer, X509Svid};
use crate::pem::{self, NotCertificates};

/// The default identity of the process.
const OWN: &str = "default";
/// The CA certificates of its trust domain.
const ROOTS: &str = "ROOTCA";
/// Those of every trust domain, each to be used for its own members.
const ALL: &str = "ALL";
/// The extension of Envoy that knows trust domains.
const VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
/// Metadata of an Envoy that is to get plain CA certificates.
const PLAIN: &str = "disable_spiffe_cert_validation";
/// The type of its configuration.
const VALIDATOR_TYPE_URL: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
/// The first Envoy that is given the validator's configuration.
const VALIDATOR_SINCE: (u32, u32) = (1, 18);

/// The type of everything that is served here.
pub(crate) const TYPE_URL: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// How a client validates its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Validation {
    /// By the SPIFFE validator: a CA certificate counts for its own trust domain alone.
    #[default]
    Spiffe,
    /// By CA certificates, whatever the name.
    Plain,
}

impl Validation {
    /// What this client can do and wants.
    pub(crate) fn of(node: &wire::Node) -> Self {
        let metadata = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(PLAIN));
        let plain = metadata.and_then(|value| match &value.kind {
            Some(Kind::BoolValue(plain)) => Some(*plain),
            Some(Kind::StringValue(text)) => Some(text.eq_ignore_ascii_case("true") || text == "1"),
            _ => None,
        });
        let version = node.user_agent_build_version.as_ref();
        let version = version.and_then(|build| build.version.as_ref());
        let is_old =
            version.is_some_and(|found| (found.major_number, found.minor_number) < VALIDATOR_SINCE);
        if plain.unwrap_or(false) || is_old { Self::Plain } else { Self::Spiffe }
    }
}

/// A secret that was asked for.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) name: String,
    what: What<'a>,
}

#[derive(Debug)]
enum What<'a> {
    Certificate(&'a X509Svid),
    Trust(Vec<(&'a TrustDomain, &'a [u8])>),
    /// Every trust domain, which plain CA certificates cannot tell apart.
    TrustOfAll(Vec<(&'a TrustDomain, &'a [u8])>),
}

/// The secrets of these names; of no name, all there are.
pub(crate) fn choose<'a>(
    answer: &'a X509Answer,
    names: &BTreeSet<String>,
) -> Result<Vec<Chosen<'a>>, Refused> {
    let known = Known::of(answer);
    if names.is_empty() {
        return Ok(known.all());
    }
    let (mut chosen, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        match known.find(name) {
            Some(what) => chosen.push(Chosen { name: name.clone(), what }),
            None => unknown.push(name.clone()),
        }
    }
    if unknown.is_empty() { Ok(chosen) } else { Err(Refused::NotItsOwn(unknown)) }
}

/// What a process may ask for.
struct Known<'a> {
    svids: &'a [X509Svid],
    own: Option<&'a TrustDomain>,
    /// By SPIFFE ID of the trust domain.
    domains: BTreeMap<String, (&'a TrustDomain, &'a [u8])>,
}

impl<'a> Known<'a> {
    fn of(answer: &'a X509Answer) -> Self {
        let federated = answer.federated.iter().map(|(domain, bundle)| (domain, bundle.as_slice()));
        let own = answer.svids.first();
        let own = own.map(|svid| (svid.spiffe_id.trust_domain(), svid.bundle.as_slice()));
        // One without X.509 authorities: an Envoy would reject it, and all the others with it.
        let all = federated.chain(own).filter(|(_, bundle)| !bundle.is_empty());
        Self {
            svids: &answer.svids,
            own: own.map(|(domain, _)| domain),
            domains: all.map(|pair| (pair.0.id().to_string(), pair)).collect(),
        }
    }

    fn find(&self, name: &str) -> Option<What<'a>> {
        match name {
            OWN => self.svids.first().map(What::Certificate),
            ROOTS => {
                let own = self.domains.values().find(|(domain, _)| Some(*domain) == self.own);
                own.map(|pair| What::Trust(vec![*pair]))
            }
            ALL => Some(What::TrustOfAll(self.domains.values().copied().collect())),
            id => match self.domains.get(id) {
                Some(pair) => Some(What::Trust(vec![*pair])),
                None => self
                    .svids
                    .iter()
                    .find(|svid| svid.spiffe_id.as_str() == id)
                    .map(What::Certificate),
            },
        }
    }

    fn all(&self) -> Vec<Chosen<'a>> {
        let domains = self.domains.iter();
        let trust = domains.map(|(id, pair)| (id.clone(), What::Trust(vec![*pair])));
        let own = |svid: &'a X509Svid| (svid.spiffe_id.to_string(), What::Certificate(svid));
        let all = trust.chain(self.svids.iter().map(own));
        all.map(|(name, what)| Chosen { name, what }).collect()
    }
}

impl Chosen<'_> {
    /// What tells it from another of its name. A certificate stands for its key.
    pub(crate) fn mark(&self) -> Vec<u8> {
        match &self.what {
            What::Certificate(svid) => svid.chain.clone(),
            What::Trust(domains) | What::TrustOfAll(domains) => {
                let parts = domains.iter().map(|(name, der)| [name.as_str().as_bytes(), der]);
                parts.flatten().flat_map(|part| part.iter().copied()).collect()
            }
        }
    }

    /// The secret for a client that validates in this way.
    pub(crate) fn secret(&self, validation: Validation) -> Result<Any, Refused> {
        let mut secret = wire::Secret { name: self.name.clone(), ..wire::Secret::default() };
        match &self.what {
            What::Certificate(svid) => {
                let key = pem::private_key(&svid.key).expose().as_bytes().to_vec();
                secret.tls_certificate = Some(wire::TlsCertificate {
                    certificate_chain: Some(certificates(&svid.chain)?),
                    private_key: Some(wire::DataSource { inline_bytes: key }),
                });
            }
            What::TrustOfAll(_) if validation == Validation::Plain => {
                return Err(Refused::NeedsValidator);
            }
            What::Trust(domains) | What::TrustOfAll(domains) => {
                secret.validation_context = Some(trust(domains, validation)?);
            }
        }
        Ok(any(TYPE_URL, &secret))
    }
}

/// Why there is no secret for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the workload is not authorized for the requested `{}`", .0.join("`, `"))]
    NotItsOwn(Vec<String>),
    #[error("`{ALL}` needs Envoy's SPIFFE validator: version 1.18, and `{PLAIN}` not set")]
    NeedsValidator,
    #[error("{0}")]
    Malformed(#[from] NotCertificates),
}

fn trust(
    domains: &[(&TrustDomain, &[u8])],
    validation: Validation,
) -> Result<wire::CertificateValidationContext, Refused> {
    if validation == Validation::Plain {
        let der: Vec<u8> = domains.iter().flat_map(|(_, der)| der.iter().copied()).collect();
        let trusted_ca = Some(certificates(&der)?);
        return Ok(wire::CertificateValidationContext {
            trusted_ca,
            custom_validator_config: None,
        });
    }
    let mut trust_domains = Vec::new();
    for (domain, der) in domains {
        let (name, trust_bundle) = (domain.as_str().to_owned(), Some(certificates(der)?));
        trust_domains.push(wire::TrustDomain { name, trust_bundle });
    }
    let config = wire::SpiffeCertValidatorConfig { trust_domains };
    let typed_config = Some(any(VALIDATOR_TYPE_URL, &config));
    let config = wire::TypedExtensionConfig { name: VALIDATOR.to_owned(), typed_config };
    Ok(wire::CertificateValidationContext {
        trusted_ca: None,
        custom_validator_config: Some(config),
    })
}

fn certificates(der: &[u8]) -> Result<wire::DataSource, Refused> {
    Ok(wire::DataSource { inline_bytes: pem::certificates(der)?.into_bytes() })
}

fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}
