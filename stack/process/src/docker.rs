//! The Docker workload attestor's pure half: what the daemon says of a container becomes selectors
//! (ATT-02; names as SPIRE's `docker` attestor). Podman answers the same question alike.
//!
//! Trusting it means to trust the daemon, and whoever may tell it to start containers: they choose
//! labels, environment and image. A process in a container cannot change them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cgroup::is_id;
use crate::selector::{Selector, SelectorError, Selectors};

/// The longest answer about a container, in bytes.
pub const INSPECT_BYTES_MAX: usize = 1 << 20;

/// What the daemon says of a container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its id.
    pub id: String,
    /// Its first process, in the daemon's PID namespace.
    pub pid: i32,
    /// When it was started, as the daemon writes it: one that was started again has another.
    pub started: String,
    /// The name of its image, as whoever started it gave it.
    image: String,
    /// The digest of the image's configuration, where the daemon tells that one.
    config_digest: Option<String>,
    labels: BTreeMap<String, String>,
    environment: Vec<String>,
}

/// `GET /containers/{id}/json` of the Docker Engine API, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    id: String,
    /// The id of the image.
    #[serde(default)]
    image: String,
    state: State,
    config: Config,
    /// There where images are kept by containerd: then the id of an image is that of a manifest.
    image_manifest_descriptor: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: i32,
    started_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: String,
    env: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
}

impl Inspected {
    /// Reads the answer about the container `id`.
    pub fn parse(answer: &[u8], id: &str) -> Result<Self, InspectError> {
        if answer.len() > INSPECT_BYTES_MAX {
            return Err(InspectError::TooLong { bytes: answer.len() });
        }
        let answer: Answer = serde_json::from_slice(answer)
            .map_err(|error| InspectError::Malformed(error.to_string()))?;
        // A daemon takes the beginning of an id, and names, for it.
        if answer.id != id {
            return Err(InspectError::Another { id: answer.id });
        }
        if !answer.state.running || answer.state.pid <= 0 {
            return Err(InspectError::NotRunning);
        }
        let digest = answer.image.strip_prefix("sha256:").unwrap_or(&answer.image);
        let is_config = is_id(digest) && answer.image_manifest_descriptor.is_none();
        Ok(Self {
            id: answer.id,
            pid: answer.state.pid,
            started: answer.state.started_at,
            config_digest: is_config.then(|| format!("sha256:{digest}")),
            image: answer.config.image,
            labels: answer.config.labels.unwrap_or_default(),
            environment: answer.config.env.unwrap_or_default(),
        })
    }

    /// Whether a later answer tells of the same run of the container.
    pub fn is_same_run(&self, later: &Self) -> bool {
        (&self.id, self.pid, &self.started) == (&later.id, later.pid, &later.started)
    }

    /// The facts as selectors.
    pub fn selectors(&self) -> Result<Selectors, SelectorError> {
        let labels = self.labels.iter().map(|(key, value)| format!("docker:label:{key}:{value}"));
        let environment = self.environment.iter().map(|raw| format!("docker:env:{raw}"));
        let image = (!self.image.is_empty()).then(|| format!("docker:image_id:{}", self.image));
        let digest = self.config_digest.as_ref();
        let digest = digest.map(|digest| format!("docker:image_config_digest:{digest}"));
        Selector::those_that_read(labels.chain(environment).chain(image).chain(digest))
    }
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Over [`INSPECT_BYTES_MAX`].
    #[error("an answer of {bytes} bytes, at most {INSPECT_BYTES_MAX} are read")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Not what the API says.
    #[error("the answer does not read: {0}")]
    Malformed(String),
    /// It is about another container.
    #[error("the answer is about `{id}`")]
    Another {
        /// That one.
        id: String,
    },
    /// Nothing runs in it, so no process is in it.
    #[error("the container does not run")]
    NotRunning,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "13b33e239b7327e21cc358c1ef72290bb701e681ad21bca164504d1d4d00376d";
    const DIGEST: &str = "6904cbd8e2001d3f7ef1e352cdd397a9376539fc85dca0716be386c1c8da9097";

    /// Recorded from a daemon of version 20.10.
    const RECORDED: &str = include_str!("../vectors/docker/inspect-20.10.json");

    fn told(answer: &str) -> Vec<String> {
        let inspected = Inspected::parse(answer.as_bytes(), ID).unwrap();
        inspected.selectors().unwrap().iter().map(ToString::to_string).collect()
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_container_is_told_by_labels_environment_and_image() {
        let inspected = Inspected::parse(RECORDED.as_bytes(), ID).unwrap();
        assert_eq!(inspected.pid, 30_698);
        let digest = format!("docker:image_config_digest:sha256:{DIGEST}");
        let expect = [
            "docker:env:ENVIRONMENT=prod",
            &digest,
            "docker:image_id:tiny:1",
            "docker:label:com.example.name:foo",
            "docker:label:odd:a:b c",
        ];
        assert_eq!(told(RECORDED), expect);
    }

    #[test]
    fn s7_the_id_of_a_manifest_is_not_the_digest_of_a_configuration() {
        let with = RECORDED.replacen('{', r#"{"ImageManifestDescriptor":{"digest":"x"},"#, 1);
        assert!(!told(&with).iter().any(|one| one.contains("config_digest")));
        // Podman's has no prefix.
        let podman = RECORDED.replace(&format!("sha256:{DIGEST}"), DIGEST);
        assert_eq!(told(&podman), told(RECORDED));
        let tag = RECORDED.replace(&format!("sha256:{DIGEST}"), "tiny:1");
        assert!(!told(&tag).iter().any(|one| one.contains("config_digest")));
    }

    #[test]
    fn s7_an_answer_about_something_else_is_refused() {
        let check = |answer: &str, expect: InspectError| {
            assert_eq!(Inspected::parse(answer.as_bytes(), ID).err(), Some(expect));
        };
        let other = ID.replace('1', "2");
        check(&RECORDED.replace(ID, &other), InspectError::Another { id: other.clone() });
        check(
            &RECORDED.replace("\"Running\": true", "\"Running\": false"),
            InspectError::NotRunning,
        );
        check(&RECORDED.replace("\"Pid\": 30698", "\"Pid\": 0"), InspectError::NotRunning);
        let long = format!("{RECORDED}{}", " ".repeat(INSPECT_BYTES_MAX));
        check(&long, InspectError::TooLong { bytes: long.len() });
        for answer in ["", "{}", "[]", r#"{"message":"no"}"#] {
            let refused = Inspected::parse(answer.as_bytes(), ID);
            assert!(matches!(refused, Err(InspectError::Malformed(_))), "{answer}");
        }
    }

    #[test]
    fn s7_a_container_that_was_started_again_is_another_run() {
        let read = |answer: &str| Inspected::parse(answer.as_bytes(), ID).unwrap();
        let first = read(RECORDED);
        assert!(first.is_same_run(&read(RECORDED)));
        assert!(!first.is_same_run(&read(&RECORDED.replace("30698", "30699"))));
        assert!(!first.is_same_run(&read(&RECORDED.replace("06:49:27", "06:50:27"))));
    }

    #[test]
    fn s7_what_no_rule_can_name_is_no_selector() {
        let odd = RECORDED.replace("ENVIRONMENT=prod", "A=1\\nB=2");
        assert!(!told(&odd).iter().any(|one| one.starts_with("docker:env")));
    }
}
