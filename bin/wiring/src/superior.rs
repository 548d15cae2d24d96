//! The authority above ours, by the settings.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use env::Superior;
use keys::{Company, CompanyFiles, CompanyKey, Devices, Token};
use link::{Address, ShownAbove, Upstream};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use spiffe::{Bundle, BundleSet, EndpointAddress, SpiffeId};
use time::Span;
use tokio_stream::StreamExt as _;
use workload::client::Client;
use workload::pem;
use x509::Certificate;

use super::world::SystemClock;

/// What a bundle that is used once says of looking again.
const REFRESH_HINT: Span = Span::from_seconds(60);

/// `[upstream_authority]` in `aims.toml` of a server: who signs its X.509 authority. Without it, it
/// signs for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum UpstreamAuthority {
    /// A company's, with its key in a file.
    Disk {
        /// PEM: its certificate, then those above it.
        certificates: PathBuf,
        /// PEM: the roots, where `certificates` does not end in the one there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roots: Option<PathBuf>,
        /// Its private key: PKCS #8 in PEM, mode 0600, or a systemd credential.
        key: PathBuf,
    },
    /// A company's, with its key in a token.
    Pkcs11 {
        /// PEM: its certificate, then those above it.
        certificates: PathBuf,
        /// PEM: the roots, where `certificates` does not end in the one there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roots: Option<PathBuf>,
        /// The module: a shared library of the token's maker.
        module: PathBuf,
        /// The token's label.
        token: String,
        /// A file with its PIN: mode 0600, or a systemd credential.
        pin_file: PathBuf,
        /// The label of the private key.
        key_label: String,
    },
    /// Another server of this trust domain: AIMS or SPIRE.
    #[serde(alias = "aims")]
    Spire {
        /// Where it answers SPIRE's API, `host:port`: of an AIMS server its `spire_port`.
        server: String,
        /// The Workload API, a unix socket of its node or agent here, that knows this process.
        socket: PathBuf,
        /// Which SVID is shown, where there are several; without it the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        svid: Option<SpiffeId>,
    },
}

impl UpstreamAuthority {
    /// Opens it, for a server of this trust domain; paths start at `dir`.
    pub async fn open(
        &self,
        dir: &Path,
        domain: &str,
        devices: &Devices,
    ) -> Result<Arc<dyn Superior>, String> {
        let files = match self {
            Self::Spire { server, socket, svid } => {
                return Ok(Arc::new(above(server, dir.join(socket), svid.clone(), domain)?));
            }
            Self::Disk { certificates, roots, key } => {
                let key = CompanyKey::File(dir.join(key));
                files(dir, certificates, roots.as_ref(), key)
            }
            Self::Pkcs11 { certificates, roots, module, token, pin_file, key_label } => {
                let (module, pin_file) = (dir.join(module), dir.join(pin_file));
                let token = Token { module, label: token.clone(), pin_file };
                let key = CompanyKey::Token { token, label: key_label.clone() };
                files(dir, certificates, roots.as_ref(), key)
            }
        };
        let opened = Company::open(files, devices).await;
        let company = opened.map_err(|error| format!("{error}\n  hint: {}", error.hint()))?;
        Ok(Arc::new(company))
    }
}

fn files(
    dir: &Path,
    certificates: &Path,
    roots: Option<&PathBuf>,
    key: CompanyKey,
) -> CompanyFiles {
    let roots = roots.map(|roots| dir.join(roots));
    CompanyFiles { certificates: dir.join(certificates), roots, key }
}

/// The server above: which it must be is SPIRE's name for its server, at AIMS too.
fn above(
    server: &str,
    socket: PathBuf,
    svid: Option<SpiffeId>,
    domain: &str,
) -> Result<Upstream, String> {
    let hint = "`[upstream_authority]` of kind `spire` has `server` (host:port) and `socket`";
    let fault = |error: &dyn std::fmt::Display| format!("{error}\n  hint: {hint}");
    let address = Address::parse(server).map_err(|error| fault(&error))?;
    let id = format!("spiffe://{domain}/spire/server");
    let id = SpiffeId::parse(&id).map_err(|error| fault(&error))?;
    let path = socket.to_str().ok_or_else(|| fault(&"`socket` is not UTF-8"))?;
    let endpoint = EndpointAddress::parse(&format!("unix://{path}"));
    let endpoint = endpoint.map_err(|error| fault(&error))?;
    let source = move || {
        let (endpoint, svid) = (endpoint.clone(), svid.clone());
        Box::pin(async move { shown(&endpoint, svid.as_ref()).await }) as Pin<Box<_>>
    };
    Ok(Upstream::new(address, id, Box::new(source), SystemClock::read))
}

/// Our own SVID of now, as the Workload API gives it.
async fn shown(endpoint: &EndpointAddress, svid: Option<&SpiffeId>) -> Result<ShownAbove, String> {
    let fault = |error: &dyn std::fmt::Display| format!("our svid of `{endpoint}`: {error}");
    let client = Client::connect(endpoint).await.map_err(|error| fault(&error))?;
    let mut answers = client.x509().await.map_err(|error| fault(&error))?;
    let answer = answers.next().await.ok_or_else(|| fault(&"no answer"))?;
    let answer = answer.map_err(|error| fault(&error))?;
    let mut svids = answer.svids.into_iter();
    let found = svids.find(|one| svid.is_none_or(|wanted| one.spiffe_id == *wanted));
    let found = found.ok_or_else(|| fault(&"it has no such svid"))?;
    let split = |ders: &[u8]| -> Result<Vec<Vec<u8>>, String> {
        let ders = pem::split(ders).map_err(|error| fault(&error))?;
        Ok(ders.into_iter().map(<[u8]>::to_vec).collect())
    };
    let chain: Vec<_> = split(&found.chain)?.into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(found.key.expose());
    let key = any_supported_type(&key.into()).map_err(|error| fault(&error))?;
    let roots = split(&found.bundle)?;
    let roots: Result<Vec<_>, _> = roots.iter().map(|der| Certificate::parse(der)).collect();
    let roots = roots.map_err(|error| fault(&error))?;
    let bundle = Bundle::new(1, REFRESH_HINT, roots, Vec::new(), Vec::new());
    let mut trust = BundleSet::default();
    trust.insert(found.spiffe_id.trust_domain().clone(), bundle.map_err(|error| fault(&error))?);
    let own = Arc::new(CertifiedKey::new(chain, key));
    Ok(ShownAbove { own, id: found.spiffe_id, trust })
}
