//! The messages as `build.rs` makes them from `proto/envoy`. Two of them hold a private key, alone
//! or encoded: they are wiped and never shown.

use std::fmt;

use zeroize::Zeroize as _;

#[allow(
    unreachable_pub,
    clippy::too_many_lines,
    clippy::large_futures,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    reason = "generated: the generator knows nothing of these rules"
)]
mod generated {
    ::tonic::include_proto!("envoy");
}

use generated::envoy;

#[cfg(test)]
pub(crate) use envoy::config::core::v3::BuildVersion;
pub(crate) use envoy::config::core::v3::{DataSource, Node, TypedExtensionConfig};
pub(crate) use envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
    spiffe_cert_validator_config::TrustDomain,
};
pub(crate) use envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
pub(crate) use envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};

#[cfg(test)]
pub(crate) use envoy::r#type::v3::SemanticVersion;
#[cfg(test)]
pub(crate) use generated::google::rpc::Status;

impl Drop for DataSource {
    fn drop(&mut self) {
        self.inline_bytes.zeroize();
    }
}

impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataSource(…)")
    }
}

impl Drop for DiscoveryResponse {
    fn drop(&mut self) {
        for resource in &mut self.resources {
            resource.value.zeroize();
        }
    }
}

impl fmt::Debug for DiscoveryResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DiscoveryResponse");
        shown.field("version_info", &self.version_info).field("nonce", &self.nonce);
        shown.field("resources", &self.resources.len()).finish_non_exhaustive()
    }
}
