//! The Kubernetes workload attestor's pure half: the kubelet's list of pods, and the selectors of
//! the pod and container that a process is in (ATT-02; names as SPIRE's `k8s` attestor).
//!
//! Trusting it means to trust the kubelet and the API server behind it: whoever may create pods in
//! a namespace chooses their labels and images, and names their service account.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::cgroup::Container;
use crate::selector::{Selector, SelectorError, Selectors};

/// The longest list of pods, in bytes: a node has a hundred pods, of some ten thousand bytes each.
pub const PODS_BYTES_MAX: usize = 32 << 20;
/// The most pods of one node.
pub const PODS_MAX: usize = 4_096;

/// What the kubelet's `GET /pods` answers, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Pods {
    items: Option<Vec<Pod>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Owner {
    kind: String,
    name: String,
    uid: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    service_account_name: String,
    node_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Option<Vec<Running>>,
    init_container_statuses: Option<Vec<Running>>,
}

/// Of the last start of a container. The run before it is `lastState`, which is not read: no
/// process of it lives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
    /// `containerd://<id>`; none before it was started.
    #[serde(default, rename = "containerID")]
    container_id: String,
}

impl Pods {
    /// Reads the answer.
    pub fn parse(answer: &[u8]) -> Result<Self, PodsError> {
        if answer.len() > PODS_BYTES_MAX {
            return Err(PodsError::TooLong { bytes: answer.len() });
        }
        let pods: Self = serde_json::from_slice(answer)
            .map_err(|error| PodsError::Malformed(error.to_string()))?;
        match pods.items.as_ref().map_or(0, Vec::len) {
            count if count > PODS_MAX => Err(PodsError::TooMany { count }),
            _ => Ok(pods),
        }
    }

    /// The selectors of a container of these pods; none where it is not among them (yet).
    pub fn selectors(&self, container: &Container) -> Result<Option<Selectors>, PodsError> {
        let pods = self.items.iter().flatten();
        let mut found = pods.filter_map(|pod| Some((pod, pod.running(container)?)));
        let Some((pod, running)) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(PodsError::Twice { id: container.id.clone() });
        }
        let texts = pod.texts().into_iter().chain(running.texts());
        Ok(Some(Selector::those_that_read(texts)?))
    }
}

impl Pod {
    /// The container, if it is this pod's and the cgroup does not name another.
    fn running(&self, container: &Container) -> Option<&Running> {
        if container.pod.as_ref().is_some_and(|uid| *uid != self.metadata.uid) {
            return None;
        }
        let is = |running: &&Running| {
            running.container_id.split_once("://").is_some_and(|(_, id)| id == container.id)
        };
        self.status.containers().chain(self.status.init_containers()).find(is)
    }

    fn texts(&self) -> Vec<String> {
        let Self { metadata, spec, status } = self;
        let mut texts = vec![
            format!("k8s:ns:{}", metadata.namespace),
            format!("k8s:sa:{}", spec.service_account_name),
            format!("k8s:node-name:{}", spec.node_name),
            format!("k8s:pod-uid:{}", metadata.uid),
            format!("k8s:pod-name:{}", metadata.name),
            format!("k8s:pod-image-count:{}", status.containers().count()),
            format!("k8s:pod-init-image-count:{}", status.init_containers().count()),
        ];
        let named = |name: &str, image: &str| format!("k8s:{name}:{image}");
        let images = status.containers().flat_map(Running::images);
        texts.extend(images.map(|image| named("pod-image", image)));
        let images = status.init_containers().flat_map(Running::images);
        texts.extend(images.map(|image| named("pod-init-image", image)));
        let labels = metadata.labels.iter().flatten();
        texts.extend(labels.map(|(key, value)| format!("k8s:pod-label:{key}:{value}")));
        for Owner { kind, name, uid } in metadata.owner_references.iter().flatten() {
            texts.push(format!("k8s:pod-owner:{kind}:{name}"));
            texts.push(format!("k8s:pod-owner-uid:{kind}:{uid}"));
        }
        texts
    }
}

impl Status {
    fn containers(&self) -> impl Iterator<Item = &Running> {
        self.container_statuses.iter().flatten()
    }

    fn init_containers(&self) -> impl Iterator<Item = &Running> {
        self.init_container_statuses.iter().flatten()
    }
}

impl Running {
    /// By tag and by digest, as the runtime tells them.
    fn images(&self) -> BTreeSet<&str> {
        [self.image.as_str(), &self.image_id].into_iter().filter(|one| !one.is_empty()).collect()
    }

    fn texts(&self) -> Vec<String> {
        let images = self.images();
        let images = images.iter().map(|image| format!("k8s:container-image:{image}"));
        [format!("k8s:container-name:{}", self.name)].into_iter().chain(images).collect()
    }
}

/// What is wrong with a list of pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodsError {
    /// Over [`PODS_BYTES_MAX`].
    #[error("a list of {bytes} bytes, at most {PODS_BYTES_MAX} are read")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Over [`PODS_MAX`].
    #[error("{count} pods, at most {PODS_MAX} are read")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Not what the API says.
    #[error("the list of pods does not read: {0}")]
    Malformed(String),
    /// Two pods say that it is theirs.
    #[error("two pods have the container `{id}`")]
    Twice {
        /// Its id.
        id: String,
    },
    /// The pod has too many facts.
    #[error(transparent)]
    Selectors(#[from] SelectorError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Runtime;

    const PODS: &str = include_str!("../vectors/kubernetes/pods.json");
    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn container(digit: char, pod: Option<&str>) -> Container {
        let pod = pod.map(str::to_owned);
        Container { id: id(digit), runtime: Runtime::Kubernetes, pod }
    }

    fn told(pods: &str, container: &Container) -> Option<Vec<String>> {
        let found = Pods::parse(pods.as_bytes()).unwrap().selectors(container).unwrap();
        found.map(|found| found.iter().map(ToString::to_string).collect())
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_container_is_told_by_its_pod_and_by_itself() {
        let expect = [
            "k8s:container-image:registry.example/agent:1.4",
            "k8s:container-image:registry.example/agent@sha256:1111",
            "k8s:container-name:agent",
            "k8s:node-name:worker-1",
            "k8s:ns:research",
            "k8s:pod-image-count:2",
            "k8s:pod-image:registry.example/agent:1.4",
            "k8s:pod-image:registry.example/agent@sha256:1111",
            "k8s:pod-image:registry.example/sidecar:2",
            "k8s:pod-image:registry.example/sidecar@sha256:2222",
            "k8s:pod-init-image-count:1",
            "k8s:pod-init-image:registry.example/prepare:3",
            "k8s:pod-init-image:registry.example/prepare@sha256:3333",
            "k8s:pod-label:app.kubernetes.io/name:researcher",
            "k8s:pod-label:tier:",
            "k8s:pod-name:researcher-6d4cf56db6-x2x9z",
            "k8s:pod-owner-uid:ReplicaSet:7f8d9c00-b29f-11e7-9350-020968147796",
            "k8s:pod-owner:ReplicaSet:researcher-6d4cf56db6",
            &format!("k8s:pod-uid:{UID}"),
            "k8s:sa:researcher",
        ];
        assert_eq!(told(PODS, &container('a', Some(UID))).unwrap(), expect);
        assert_eq!(told(PODS, &container('a', None)).unwrap(), expect);
        let sidecar = told(PODS, &container('b', Some(UID))).unwrap();
        assert!(sidecar.contains(&"k8s:container-name:sidecar".to_owned()));
        assert!(!sidecar.contains(&expect[0].to_owned()));
        let prepare = told(PODS, &container('c', Some(UID))).unwrap();
        assert!(prepare.contains(&"k8s:container-name:prepare".to_owned()));
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_container_that_is_not_in_the_list_has_no_selectors() {
        let none = |container: &Container| assert_eq!(told(PODS, container), None);
        none(&container('e', Some(UID)));
        // The run before the last start of `agent`: the same pod, and no longer its container.
        none(&container('d', Some(UID)));
        // Another pod's container under this pod's UID, and the other way round.
        none(&container('f', Some(UID)));
        none(&container('a', Some("00000000-b29f-11e7-9350-020968147796")));
        assert!(told(PODS, &container('f', None)).is_some());
        assert_eq!(told(r#"{"items":null}"#, &container('a', None)), None);
    }

    #[test]
    fn s7_a_list_that_cannot_be_is_refused() {
        let pods = PODS.replace(&id('f'), &id('a'));
        let twice = Pods::parse(pods.as_bytes()).unwrap().selectors(&container('a', None));
        assert_eq!(twice, Err(PodsError::Twice { id: id('a') }));
        for answer in ["", "[]", r#"{"items":[{}]}"#, "Unauthorized"] {
            let refused = Pods::parse(answer.as_bytes());
            assert!(matches!(refused, Err(PodsError::Malformed(_))), "{answer}");
        }
        let many = r#"{"metadata":{"name":"a","namespace":"b","uid":"c"}},"#.repeat(PODS_MAX + 1);
        let many = format!(r#"{{"items":[{}]}}"#, many.trim_end_matches(','));
        let refused = Pods::parse(many.as_bytes()).err();
        assert_eq!(refused, Some(PodsError::TooMany { count: PODS_MAX + 1 }));
        let bytes = PODS_BYTES_MAX + 1;
        let refused = Pods::parse(&vec![b' '; bytes]).err();
        assert_eq!(refused, Some(PodsError::TooLong { bytes }));
    }
}
