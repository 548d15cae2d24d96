//! How this host could join a server, and what the server's policy lacks for it.

use std::path::{Path, PathBuf};

use attestation::policy::Policy;
use wiring::layout::Settings;

use crate::commands::Context;
use crate::commands::doctor::Finding;

const CHECK: &str = "joining";
/// Where the firmware tells whose machine it is.
const FIRMWARE: &str = "sys/class/dmi/id";
/// What Azure's machines say there, and no others do.
const AZURE_ASSET: &str = "7783-7084-3265-9085-8269-3286-77";

/// A mechanism that this host has what it takes for.
#[derive(Debug, PartialEq, Eq)]
struct Available {
    mechanism: &'static str,
    by: String,
}

/// What is looked at: below a root, and by names of the environment.
struct Host<'a> {
    root: &'a Path,
    dir: &'a Path,
    settings: Option<Settings>,
    is_set: fn(&str) -> bool,
}

/// Looks at this host; `policy` is the server's, where it answers here.
pub(crate) fn look(context: &Context, policy: Option<&Policy>) -> Vec<Finding> {
    let dir = context.place.dir();
    let host = Host {
        root: Path::new("/"),
        dir,
        settings: Settings::read(&dir.join("aims.toml")).ok(),
        is_set: |name| std::env::var_os(name).is_some_and(|value| !value.is_empty()),
    };
    let available = host.available();
    let named = host.settings.as_ref().and_then(|settings| settings.attest.as_deref());
    let unmet = named.filter(|named| available.iter().all(|one| one.mechanism != *named));
    let mut findings: Vec<_> = available.iter().map(|one| finding(one, policy)).collect();
    findings.extend(unmet.map(|named| {
        let found =
            format!("aims.toml says `attest = \"{named}\"`, and this host has not what it takes");
        Finding::wrong(CHECK, found, "see which ways it has: `aims doctor --all`")
    }));
    findings
}

fn finding(available: &Available, policy: Option<&Policy>) -> Finding {
    let Available { mechanism, by } = available;
    let found = format!("this host can join by `{mechanism}`: {by}");
    match policy {
        Some(policy) if policy.node.contains_key(*mechanism) => {
            Finding::ok(CHECK, format!("{found}; policy allows it"))
        }
        Some(_) => {
            let todo = format!("to allow it, add `[node.{mechanism}]` to attestation.toml");
            Finding::note(CHECK, format!("{found}; policy does not allow it"), todo)
        }
        None => {
            let todo = format!("the server's attestation.toml must have `[node.{mechanism}]`");
            Finding::note(CHECK, format!("{found}; policy cannot be seen from here"), todo)
        }
    }
}

impl Host<'_> {
    fn available(&self) -> Vec<Available> {
        let mut all = Vec::new();
        let mut add = |mechanism, by: Option<String>| {
            all.extend(by.map(|by| Available { mechanism, by }));
        };
        let settings = self.settings.as_ref();
        add("join_token", self.named(settings.and_then(|all| all.join_token.as_ref())));
        let is_ssh = settings.is_some_and(|all| all.attest.as_deref() == Some("sshpop"));
        let certificates = settings.and_then(|all| all.join_certificates.as_ref());
        add("x509pop", self.named(certificates.filter(|_| !is_ssh)));
        let ssh = self.named(certificates.filter(|_| is_ssh));
        add("sshpop", ssh.or_else(|| self.usual_ssh()));
        let token = self.named(settings.and_then(|all| all.attest_token.as_ref()));
        let projected = attestors::token_file::USUAL.trim_start_matches('/');
        let projected = self.file(projected).filter(|_| token.is_none());
        let cluster = settings.is_some_and(|all| all.attest_cluster.is_some());
        add("k8s_psat", projected.or_else(|| token.filter(|_| cluster)));
        add("github_actions", self.variable("ACTIONS_ID_TOKEN_REQUEST_URL"));
        add("gitlab_ci", self.variable("GITLAB_CI"));
        let says = |name: &str, what: &str| {
            self.firmware(name)
                .filter(|found| found.contains(what))
                .map(|found| format!("the firmware says `{found}`"))
        };
        add("aws_iid", says("sys_vendor", "Amazon EC2"));
        add("gcp_iit", says("product_name", "Google Compute Engine"));
        add("azure_imds", says("chassis_asset_tag", AZURE_ASSET));
        let host = settings.and_then(|all| all.attest_host.as_ref());
        add("http_challenge", host.map(|host| format!("aims.toml names it `{host}`")));
        all
    }

    /// A file that the settings name, if it is there.
    fn named(&self, path: Option<&PathBuf>) -> Option<String> {
        let path = self.dir.join(path?);
        path.is_file().then(|| format!("`{}` is there", path.display()))
    }

    fn file(&self, path: &str) -> Option<String> {
        let path = self.root.join(path);
        path.is_file().then(|| format!("`{}` is there", path.display()))
    }

    fn usual_ssh(&self) -> Option<String> {
        let mut keys = attestors::sshpop::USUAL_KEYS.iter();
        keys.find_map(|key| self.file(&format!("{}-cert.pub", key.trim_start_matches('/'))))
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.is_set)(name).then(|| format!("`{name}` is set"))
    }

    fn firmware(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(FIRMWARE).join(name)).ok()?;
        let line: String = text.trim().chars().take(64).collect();
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::commands::doctor::State;

    /// What a host of these files offers, with these settings beside the usual ones.
    fn offers(
        files: &[(&str, &str)],
        settings: &str,
        is_set: fn(&str) -> bool,
    ) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let path = folder.path().join("aims.toml");
        fs::write(&path, format!("trust_domain = \"demo.example\"\n{settings}")).unwrap();
        let settings = Some(Settings::read(&path).unwrap());
        let host = Host { root: folder.path(), dir: folder.path(), settings, is_set };
        host.available().into_iter().map(|one| one.mechanism).collect()
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_host_knows_by_what_it_can_join() {
        let check = |files: &[(&str, &str)], settings: &str, expect: &[&str]| {
            assert_eq!(offers(files, settings, |_| false), expect);
        };
        check(&[], "", &[]);
        check(&[("token", "")], "join_token = \"token\"", &["join_token"]);
        check(&[], "join_token = \"token\"", &[]);
        check(&[("etc/ssh/ssh_host_ed25519_key-cert.pub", "")], "", &["sshpop"]);
        let named = "attest = \"sshpop\"\njoin_certificates = \"c\"";
        check(&[("c", "")], named, &["sshpop"]);
        check(&[("c", "")], "join_certificates = \"c\"", &["x509pop"]);
        check(&[("var/run/secrets/tokens/aims", "")], "", &["k8s_psat"]);
        let dmi = |name: &str| format!("{FIRMWARE}/{name}");
        check(&[(&dmi("sys_vendor"), "Amazon EC2\n")], "", &["aws_iid"]);
        check(&[(&dmi("sys_vendor"), "QEMU\n")], "", &[]);
        check(&[(&dmi("product_name"), "Google Compute Engine\n")], "", &["gcp_iit"]);
        check(&[(&dmi("chassis_asset_tag"), AZURE_ASSET)], "", &["azure_imds"]);
        check(&[], "attest_host = \"a.example\"", &["http_challenge"]);
        assert_eq!(offers(&[], "", |name| name == "GITLAB_CI"), ["gitlab_ci"]);
        let github = |name: &str| name == "ACTIONS_ID_TOKEN_REQUEST_URL";
        assert_eq!(offers(&[], "", github), ["github_actions"]);
    }

    #[test]
    fn what_policy_lacks_is_named() {
        let mut policy = Policy::default();
        let available = Available { mechanism: "sshpop", by: "why".to_owned() };
        let lacks = finding(&available, Some(&policy));
        assert_eq!(lacks.state, State::Note);
        assert!(lacks.todo.unwrap().contains("`[node.sshpop]`"));
        assert_eq!(finding(&available, None).state, State::Note);
        policy.node.insert("sshpop".to_owned(), attestation::policy::NodeRule::default());
        assert_eq!(finding(&available, Some(&policy)).state, State::Ok);
    }
}
