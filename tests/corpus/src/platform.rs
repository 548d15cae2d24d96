//! What a host's platforms say of a process, and what it says itself.

use attestation::cgroup::{Cgroups, Container, Runtime, is_id};
use attestation::docker::Inspected;
use attestation::kubernetes::Pods;
use attestation::script::{ARGUMENTS_MAX, INTERPRETERS, arguments};
use dbus::{HEAD_BYTES, Message};

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The file of a process's cgroups. A container that is found stands in it, and holds itself.
pub(crate) fn cgroups(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(cgroups) = Cgroups::parse(text) else { return };
    if let Ok(Some(container)) = cgroups.container() {
        assert!(is_id(&container.id) && text.contains(&container.id));
        assert!(cgroups.within(&cgroups, &container.id));
        assert!(container.pod.is_none() || container.runtime == Runtime::Kubernetes);
    }
}

/// A message from a bus. What tells its length agrees with what reads it.
pub(crate) fn dbus_message(data: &[u8]) {
    let Some(head) = data.first_chunk::<HEAD_BYTES>() else {
        assert!(Message::parse(data).is_err());
        return;
    };
    let length = dbus::length_of(head);
    if let Ok(message) = Message::parse(data) {
        assert_eq!(length, Ok(data.len()));
        assert_ne!(message.serial, 0);
        assert!(message.text().is_none() || message.number().is_none());
    }
}

/// What a daemon says of a container: labels and variables say nothing of another kind.
pub(crate) fn docker_answer(data: &[u8]) {
    let Ok(inspected) = Inspected::parse(data, ID) else { return };
    assert!(inspected.pid > 0 && inspected.is_same_run(&inspected));
    if let Ok(selectors) = inspected.selectors() {
        assert!(selectors.iter().all(|one| one.kind() == "docker"));
    }
}

/// A kubelet's pods.
pub(crate) fn pods(data: &[u8]) {
    let Ok(pods) = Pods::parse(data) else { return };
    let container = Container { id: ID.to_owned(), runtime: Runtime::Kubernetes, pod: None };
    if let Ok(Some(selectors)) = pods.selectors(&container) {
        assert!(selectors.iter().all(|one| one.kind() == "k8s"));
        assert!(selectors.iter().any(|one| one.name() == "k8s:pod-image-count"));
    }
}

/// The arguments of a process. What is named as a script is one of them.
pub(crate) fn script(data: &[u8]) {
    let all = arguments(data);
    assert!((1..=ARGUMENTS_MAX).contains(&all.len()));
    let texts: Vec<_> = all.into_iter().map_while(|one| str::from_utf8(one).ok()).collect();
    for interpreter in INTERPRETERS {
        if let Some(script) = interpreter.script(&texts) {
            assert!(texts.iter().skip(1).any(|one| *one == script));
            assert!(!script.is_empty() && !script.starts_with('-'));
        }
    }
}
