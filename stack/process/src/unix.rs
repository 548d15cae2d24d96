//! The unix workload attestor's pure half: what the kernel says of a process becomes selectors
//! (ATT-02; names as SPIRE's unix attestor).
//!
//! The reading itself, by a pidfd so that a reused process id cannot lie, is `edge/attestors`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::selector::{Selector, SelectorError, Selectors};

/// How the process at the other end of a socket was identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerProof {
    /// `SO_PEERPIDFD`: the process that connected, whatever its id is reused for.
    Pidfd,
    /// `SO_PEERCRED` and the start time of the process, on kernels before 6.5: a race remains, and
    /// the selector `unix:peer:cred` says so.
    Cred,
}

/// The file that an interpreter runs, by the word of the process ([`crate::script`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Where it is, if that path leads to the file that was hashed.
    pub path: Option<String>,
    /// SHA-256 of the file, lower case hex.
    pub sha256: String,
}

/// Who besides the kernel may say something of a process: the kinds of selectors from a platform.
pub const PLATFORMS: [&str; 3] = ["docker", "k8s", "systemd"];
/// Facts of a platform that tell which workload this is. They are recorded; labels and environments
/// only where a rule asks for them, for they may hold secrets (docs/past-defects.md 26).
const TOLD_ALWAYS: &[&str] = &[
    "docker:image_config_digest",
    "docker:image_id",
    "k8s:container-image",
    "k8s:container-name",
    "k8s:node-name",
    "k8s:ns",
    "k8s:pod-name",
    "k8s:pod-uid",
    "k8s:sa",
    "systemd:fragment_path",
    "systemd:id",
];

/// What was measured of a process. Everything was read while the process was known to live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id in our PID namespace.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// The user's name, where the host knows one.
    pub user: Option<String>,
    /// The group's name, where the host knows one.
    pub group: Option<String>,
    /// Its supplementary groups.
    pub supplementary: Vec<u32>,
    /// Their names, of those that the host knows one of.
    #[serde(default)]
    pub supplementary_names: Vec<String>,
    /// Where its executable was started from, if it is still that file there.
    pub path: Option<String>,
    /// SHA-256 of the executable that runs, lower case hex, read through `/proc/<pid>/exe`.
    pub sha256: Option<String>,
    /// The script of an interpreter: what the process says.
    #[serde(default)]
    pub script: Option<Script>,
    /// What its platform says: selectors of [`PLATFORMS`].
    #[serde(default)]
    pub platform: Selectors,
    /// How it was identified.
    pub peer: PeerProof,
}

impl Process {
    /// The facts as selectors. A path that cannot stand in a selector (control characters) is left
    /// out rather than changed: a rule that asks for a path then does not match.
    pub fn selectors(&self) -> Result<Selectors, SelectorError> {
        let mut all = vec![
            Selector::parse(&format!("unix:uid:{}", self.uid))?,
            Selector::parse(&format!("unix:gid:{}", self.gid))?,
        ];
        let named = [
            ("user", &self.user),
            ("group", &self.group),
            ("path", &self.path),
            ("sha256", &self.sha256),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                all.extend(Selector::parse(&format!("unix:{name}:{value}")).ok());
            }
        }
        for gid in &self.supplementary {
            all.push(Selector::parse(&format!("unix:supplementary_gid:{gid}"))?);
        }
        for name in &self.supplementary_names {
            all.extend(Selector::parse(&format!("unix:supplementary_group:{name}")).ok());
        }
        if let Some(Script { path, sha256 }) = &self.script {
            all.push(Selector::parse(&format!("unix:argv_script:sha256:{sha256}"))?);
            let path = path.as_ref().map(|path| format!("unix:argv_script:path:{path}"));
            all.extend(path.and_then(|path| Selector::parse(&path).ok()));
        }
        // INVARIANT: what a platform says is never taken for what the kernel says.
        let platform = self.platform.iter();
        all.extend(platform.filter(|one| PLATFORMS.contains(&one.kind())).cloned());
        if self.peer == PeerProof::Cred {
            all.push(Selector::parse("unix:peer:cred")?);
        }
        Selectors::new(all)
    }

    /// The process with what may leave the node: of its platform's facts those that this rule asks
    /// for, and those that tell which workload it is.
    #[must_use]
    pub fn told_for(mut self, rule: &Selectors) -> Self {
        let is_told = |one: &&Selector| rule.has(one) || TOLD_ALWAYS.contains(&one.name());
        let told = Selectors::new(self.platform.iter().filter(is_told).cloned());
        // A part of a set is no larger than the set.
        self.platform = told.unwrap_or_default();
        self
    }

    /// What stands in the record: names and values.
    pub fn evidence(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        all.insert("uid".to_owned(), self.uid.to_string());
        let script = self.script.as_ref();
        for (name, value) in [
            ("path", self.path.as_ref()),
            ("sha256", self.sha256.as_ref()),
            ("argv_script", script.and_then(|script| script.path.as_ref())),
            ("argv_script_sha256", script.map(|script| &script.sha256)),
        ] {
            all.extend(value.map(|value| (name.to_owned(), value.clone())));
        }
        for selector in self.platform.iter() {
            let name = selector.name();
            let value = selector.as_str().strip_prefix(name).and_then(|rest| rest.get(1..));
            let values: &mut String = all.entry(name.to_owned()).or_default();
            if !values.is_empty() {
                values.push_str(", ");
            }
            values.push_str(value.unwrap_or_default());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        Process {
            pid: 7,
            uid: 1000,
            gid: 100,
            user: Some("ada".to_owned()),
            group: None,
            supplementary: vec![4],
            supplementary_names: vec!["adm".to_owned()],
            path: Some("/opt/agent".to_owned()),
            sha256: Some("ab".repeat(32)),
            script: None,
            platform: Selectors::default(),
            peer: PeerProof::Cred,
        }
    }

    fn platform(all: &[&str]) -> Selectors {
        Selectors::new(all.iter().map(|text| Selector::parse(text).unwrap())).unwrap()
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_process_is_told_by_user_path_and_hash() {
        let process = process();
        let selectors = process.selectors().unwrap();
        let found: Vec<_> = selectors.iter().map(Selector::as_str).collect();
        let sha256 = format!("unix:sha256:{}", "ab".repeat(32));
        assert_eq!(
            found,
            [
                "unix:gid:100",
                "unix:path:/opt/agent",
                "unix:peer:cred",
                &sha256,
                "unix:supplementary_gid:4",
                "unix:supplementary_group:adm",
                "unix:uid:1000",
                "unix:user:ada",
            ]
        );
    }

    #[test]
    fn s7_a_path_with_a_newline_is_no_selector() {
        let path = Some("/opt/agent\nunix:uid:0".to_owned());
        let process = Process { path, ..process() };
        assert!(process.selectors().unwrap().iter().all(|found| found.name() != "unix:path"));
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_script_is_told_under_a_name_that_says_whose_word_it_is() {
        let sha256 = "cd".repeat(32);
        let script = Script { path: Some("/opt/a.py".to_owned()), sha256: sha256.clone() };
        let process = Process { script: Some(script), ..process() };
        let selectors = process.selectors().unwrap();
        let found: Vec<_> =
            selectors.iter().filter(|one| one.name() == "unix:argv_script").collect();
        let expect = ["path:/opt/a.py".to_owned(), format!("sha256:{sha256}")];
        let expect = expect.map(|rest| format!("unix:argv_script:{rest}"));
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn s7_a_platform_does_not_speak_for_the_kernel() {
        let platform = platform(&["systemd:id:a.service", "unix:uid:0", "x509pop:ca:1"]);
        let selectors = Process { platform, ..process() }.selectors().unwrap();
        assert!(selectors.has(&Selector::parse("systemd:id:a.service").unwrap()));
        assert!(!selectors.has(&Selector::parse("unix:uid:0").unwrap()));
        assert!(!selectors.has(&Selector::parse("x509pop:ca:1").unwrap()));
    }

    /// req: ATT-02 (part), OBS-07 (part)
    #[test]
    fn s7_labels_and_environments_leave_the_node_only_where_a_rule_asks_for_them() {
        let all = ["docker:env:KEY=secret", "docker:env:STAGE=prod", "docker:image_id:a:1"];
        let process = Process { platform: platform(&all), ..process() };
        let told = |rule: &[&str]| process.clone().told_for(&platform(rule)).platform;
        assert_eq!(told(&[]), platform(&all[2..]));
        assert_eq!(told(&[all[1], "docker:env:OTHER=1"]), platform(&all[1..]));
        let told = process.clone().told_for(&platform(&all[..2])).evidence();
        assert_eq!(told["docker:env"], "KEY=secret, STAGE=prod");
        assert_eq!(told["docker:image_id"], "a:1");
        assert_eq!((told["uid"].as_str(), told["path"].as_str()), ("1000", "/opt/agent"));
    }
}
