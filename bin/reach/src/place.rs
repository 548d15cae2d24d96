//! The directory of an installation, as a command finds its sockets and files in it.

use std::path::{Path, PathBuf};

use oauth::Issuer;
use spiffe::EndpointAddress;

use crate::exit::Failure;
use wiring::layout::{Layout, PORT_BASE, Settings};

/// `--dir`, which need not exist until something in it is used.
#[derive(Clone, Debug)]
pub struct Place {
    layout: Layout,
}

impl Place {
    /// The environment variable that names it.
    pub const VARIABLE: &str = "AIMS_DIR";
    /// Where it is unless told otherwise.
    pub const DEFAULT: &str = "./aims-data";

    /// The place at `dir`.
    pub fn new(dir: &Path) -> Self {
        let layout = Layout { dir: dir.to_owned(), sockets: None };
        // Whoever may not read the settings names the socket.
        let layout = match Settings::read(&layout.settings()) {
            Ok(settings) => layout.with(&settings),
            Err(_) => layout,
        };
        Self { layout }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.layout.dir
    }

    /// Operators' orders.
    pub fn admin_socket(&self) -> PathBuf {
        self.layout.admin_socket()
    }

    /// Where `aims run` asks for a base URL.
    pub fn run_socket(&self) -> PathBuf {
        self.layout.run_socket()
    }

    /// What the HTTPS listeners are trusted by.
    pub fn ca(&self) -> PathBuf {
        self.layout.ca()
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.layout.at("log")
    }

    /// The Workload API: `asked` (an address or a path), or the socket that is here.
    // Workload Endpoint §4: "SPIFFE_ENDPOINT_SOCKET" names it for clients; `--socket` reads it.
    pub fn workload_api(&self, asked: Option<&str>) -> Result<EndpointAddress, Failure> {
        let path = match asked {
            Some(text) if text.starts_with("unix:") || text.starts_with("tcp:") => {
                let misused = |error| Failure::misused(format!("`{text}`: {error}"));
                return EndpointAddress::parse(text).map_err(misused);
            }
            Some(path) => PathBuf::from(path),
            None => self.layout.workload_socket(),
        };
        let absolute = std::path::absolute(&path).map_err(|error| Failure::file(&path, error))?;
        let text = absolute.to_str().map(str::to_owned);
        text.map(EndpointAddress::Unix).ok_or_else(|| Failure::file(&path, "not UTF-8"))
    }

    /// Where the installation that is here is reached, if one is.
    pub fn site(&self) -> Option<env::Site> {
        Settings::read(&self.layout.settings()).ok().map(|settings| settings.site())
    }

    /// The issuer: `asked`, or that of the settings here, or the one of a new installation.
    pub fn issuer(&self, asked: Option<&str>) -> Result<Issuer, Failure> {
        let settings = self.layout.settings();
        let text = match asked {
            Some(text) => text.to_owned(),
            None if settings.exists() => {
                Settings::read(&settings).map_err(Failure::misused)?.site().issuer
            }
            None => format!("https://localhost:{PORT_BASE}"),
        };
        Issuer::parse(&text).map_err(|error| {
            Failure::misused(format!("issuer `{text}`: {error}"))
                .hint("an issuer is an https URL, as the server's metadata has it")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_api_is_an_address_or_a_path() {
        let place = Place::new(Path::new("/data"));
        for (asked, expect) in [
            (None, "unix:///data/workload.sock"),
            (Some("/run/spire/agent.sock"), "unix:///run/spire/agent.sock"),
            (Some("unix:///run/agent.sock"), "unix:///run/agent.sock"),
            (Some("tcp://127.0.0.1:8000"), "tcp://127.0.0.1:8000"),
        ] {
            let found = place.workload_api(asked).unwrap();
            assert_eq!(found.to_string(), expect, "{asked:?}");
        }
        let refused = place.workload_api(Some("unix:relative")).unwrap_err();
        assert_eq!(refused.problem().outcome.exit_code(), 2);
    }

    #[test]
    fn the_sockets_of_a_node_are_where_its_settings_say() {
        let folder = tempfile::tempdir().unwrap();
        let settings = "trust_domain = \"a.example\"\nsockets = \"/run/aims\"\n";
        std::fs::write(folder.path().join("aims.toml"), settings).unwrap();
        let place = Place::new(folder.path());
        assert_eq!(place.run_socket(), Path::new("/run/aims/run.sock"));
        let found = place.workload_api(None).unwrap();
        assert_eq!(found.to_string(), "unix:///run/aims/workload.sock");
        assert_eq!(place.admin_socket(), folder.path().join("admin.sock"), "operators' stays");
    }

    #[test]
    fn the_issuer_is_asked_for_or_read_from_the_settings() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path());
        let issuer = |asked| place.issuer(asked).map(|issuer| issuer.as_str().to_owned());
        assert_eq!(issuer(None).unwrap(), "https://localhost:8443");
        let settings = "trust_domain = \"demo.example\"\nport_base = 9443\n";
        std::fs::write(folder.path().join("aims.toml"), settings).unwrap();
        assert_eq!(issuer(None).unwrap(), "https://localhost:9443");
        assert_eq!(issuer(Some("https://as.example/a")).unwrap(), "https://as.example/a");
        assert_eq!(issuer(Some("http://as.example")).unwrap_err().problem().outcome.exit_code(), 2);
    }
}
