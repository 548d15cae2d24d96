//! The unix workload attestor's pure half: what the kernel says of a process becomes selectors
//! (ATT-02; names as SPIRE's unix attestor).
//!
//! The reading itself, by a pidfd so that a reused process id cannot lie, is `edge/attestors`.

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
    /// Where its executable was started from, if it is still that file there.
    pub path: Option<String>,
    /// SHA-256 of the executable that runs, lower case hex, read through `/proc/<pid>/exe`.
    pub sha256: Option<String>,
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
        if self.peer == PeerProof::Cred {
            all.push(Selector::parse("unix:peer:cred")?);
        }
        Selectors::new(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_process_is_told_by_user_path_and_hash() {
        let process = Process {
            pid: 7,
            uid: 1000,
            gid: 100,
            user: Some("ada".to_owned()),
            group: None,
            supplementary: vec![4],
            path: Some("/opt/agent".to_owned()),
            sha256: Some("ab".repeat(32)),
            peer: PeerProof::Cred,
        };
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
                "unix:uid:1000",
                "unix:user:ada",
            ]
        );
    }

    #[test]
    fn s7_a_path_with_a_newline_is_no_selector() {
        let process = Process {
            pid: 7,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            supplementary: Vec::new(),
            path: Some("/opt/agent\nunix:uid:0".to_owned()),
            sha256: None,
            peer: PeerProof::Pidfd,
        };
        assert!(process.selectors().unwrap().iter().all(|found| found.name() != "unix:path"));
    }
}
