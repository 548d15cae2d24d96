//! Which selectors attestors of processes tell, and in which form: one that nobody ever tells would
//! stand in a rule that matches nothing, and say so to no one.
//!
//! In scope: the selectors of docs/workloads.md. Not here: those that hosts and documents prove,
//! whose kinds whoever asks brings along.

use crate::selector::Selector;

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Any text.
    Text,
    /// A number as the kernel tells it.
    Number,
    /// 64 hexadecimal digits.
    Sha256,
    /// The same with the algorithm before them.
    Digest,
    /// A path as the kernel tells it.
    Path,
    /// A name of Kubernetes (its "Object Names and IDs").
    Name,
    /// A key, a colon, and any text, which may be empty.
    Pair,
    /// The same with a text.
    FullPair,
    /// A unit's name with its type.
    Unit,
    /// `path:` or `sha256:` of a script.
    Script,
    /// The one word.
    Cred,
}

/// Types of units (systemd.unit(5)).
const UNITS: &[&str] = &[
    "service",
    "scope",
    "slice",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
];

/// Kind, name and form of each.
const TOLD: &[(&str, &str, Form)] = &[
    ("unix", "uid", Form::Number),
    ("unix", "gid", Form::Number),
    ("unix", "user", Form::Text),
    ("unix", "group", Form::Text),
    ("unix", "supplementary_gid", Form::Number),
    ("unix", "supplementary_group", Form::Text),
    ("unix", "path", Form::Path),
    ("unix", "sha256", Form::Sha256),
    ("unix", "argv_script", Form::Script),
    ("unix", "peer", Form::Cred),
    ("systemd", "id", Form::Unit),
    ("systemd", "fragment_path", Form::Path),
    ("docker", "label", Form::Pair),
    ("docker", "env", Form::Text),
    ("docker", "image_id", Form::Text),
    ("docker", "image_config_digest", Form::Digest),
    ("k8s", "ns", Form::Name),
    ("k8s", "sa", Form::Name),
    ("k8s", "node-name", Form::Name),
    ("k8s", "pod-name", Form::Name),
    ("k8s", "pod-uid", Form::Name),
    ("k8s", "pod-label", Form::Pair),
    ("k8s", "pod-owner", Form::FullPair),
    ("k8s", "pod-owner-uid", Form::FullPair),
    ("k8s", "pod-image", Form::Text),
    ("k8s", "pod-image-count", Form::Number),
    ("k8s", "pod-init-image", Form::Text),
    ("k8s", "pod-init-image-count", Form::Number),
    ("k8s", "container-name", Form::Name),
    ("k8s", "container-image", Form::Text),
];

/// Who tells something of a process.
pub const KINDS: [&str; 4] = ["unix", "systemd", "docker", "k8s"];

/// Why no attestor ever tells this selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeverTold {
    /// Nobody tells such facts.
    #[error("selector `{selector}`: nothing is told under `{kind}`; the kinds are {known}")]
    Kind {
        /// The selector.
        selector: Selector,
        /// Its kind.
        kind: String,
        /// Those there are.
        known: String,
    },
    /// Not of this kind.
    #[error("selector `{selector}`: `{kind}` has no `{name}`; it has {known}")]
    Name {
        /// The selector.
        selector: Selector,
        /// Its kind.
        kind: String,
        /// What follows.
        name: String,
        /// What may follow.
        known: String,
    },
    /// Its value is none.
    #[error("selector `{selector}`: `{name}` is {must}")]
    Value {
        /// The selector.
        selector: Selector,
        /// Its kind and name.
        name: String,
        /// What it must be.
        must: &'static str,
    },
}

impl Selector {
    /// Whether some attestor may tell this selector. `others`: kinds of what is not told of
    /// processes, which are not looked at here.
    pub fn may_be_told(&self, others: &[&str]) -> Result<(), NeverTold> {
        let (kind, selector) = (self.kind(), self.clone());
        if others.contains(&kind) {
            return Ok(());
        }
        if !KINDS.contains(&kind) {
            let known = listed(KINDS.iter().chain(others).copied());
            return Err(NeverTold::Kind { selector, kind: kind.to_owned(), known });
        }
        let rest = self.as_str().get(kind.len() + 1..).unwrap_or_default();
        let (name, value) = rest.split_once(':').unwrap_or((rest, ""));
        let mut of_kind = TOLD.iter().filter(|(of, ..)| *of == kind);
        let Some((.., form)) = of_kind.clone().find(|(_, known, _)| *known == name) else {
            let known = listed(of_kind.by_ref().map(|(_, known, _)| *known));
            let (kind, name) = (kind.to_owned(), name.to_owned());
            return Err(NeverTold::Name { selector, kind, name, known });
        };
        match form.must(value) {
            None => Ok(()),
            Some(must) => {
                let name = format!("{kind}:{name}");
                Err(NeverTold::Value { selector, name, must })
            }
        }
    }
}

impl Form {
    /// What `value` must be and is not.
    fn must(self, value: &str) -> Option<&'static str> {
        let (fits, must) = match self {
            Self::Text => (!value.is_empty(), "followed by a value"),
            Self::Number => (
                value.parse::<u32>().is_ok_and(|number| number.to_string() == value),
                "a number, such as 1000; names of users and groups are `unix:user`, `unix:group`",
            ),
            Self::Sha256 => (is_sha256(value), "64 hexadecimal digits in lower case"),
            Self::Digest => (
                value.strip_prefix("sha256:").is_some_and(is_sha256),
                "`sha256:` and 64 hexadecimal digits in lower case",
            ),
            Self::Path => (is_path(value), "an absolute path without `.`, `..` and doubled `/`"),
            Self::Name => {
                let fit = |byte: u8| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
                };
                let fits = !value.is_empty() && value.bytes().all(fit);
                (fits, "lower case letters, digits, `-` and `.`")
            }
            Self::Pair => (pair(value).is_some(), "a key and a value, with `:` between them"),
            Self::FullPair => (
                pair(value).is_some_and(|(_, value)| !value.is_empty()),
                "a kind and a name, with `:` between them",
            ),
            Self::Unit => (
                value
                    .rsplit_once('.')
                    .is_some_and(|(name, kind)| !name.is_empty() && UNITS.contains(&kind)),
                "the name of a unit with its type, such as `nginx.service`",
            ),
            Self::Script => {
                let fits = match pair(value) {
                    Some(("path", path)) => is_path(path),
                    Some(("sha256", digits)) => is_sha256(digits),
                    _ => false,
                };
                (fits, "`path:` and an absolute path, or `sha256:` and 64 hexadecimal digits")
            }
            Self::Cred => (value == "cred", "`cred`"),
        };
        (!fits).then_some(must)
    }
}

fn pair(value: &str) -> Option<(&str, &str)> {
    value.split_once(':').filter(|(key, _)| !key.is_empty())
}

fn is_sha256(value: &str) -> bool {
    value.len() == 64 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// As the kernel writes the path of a file.
fn is_path(value: &str) -> bool {
    let mut segments = value.split('/');
    segments.next() == Some("") && segments.all(|one| !matches!(one, "" | "." | ".."))
}

fn listed<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<(), NeverTold> {
        Selector::parse(text).unwrap().may_be_told(&["x509pop"])
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_what_attestors_tell_may_stand_in_a_rule() {
        let hex = "0a".repeat(32);
        let digests = [
            format!("unix:sha256:{hex}"),
            format!("unix:argv_script:sha256:{hex}"),
            format!("docker:image_config_digest:sha256:{hex}"),
        ];
        let all = [
            "unix:uid:0",
            "unix:gid:100",
            "unix:user:ada",
            "unix:supplementary_gid:4294967295",
            "unix:supplementary_group:adm",
            "unix:path:/opt/a:b",
            "unix:path:/opt/... x",
            "unix:argv_script:path:/opt/a.py",
            "unix:peer:cred",
            "systemd:id:user@1000.service",
            "systemd:fragment_path:/lib/systemd/system/a.service",
            "docker:label:com.example:x:y",
            "docker:label:flag:",
            "docker:env:A=1",
            "docker:image_id:registry.example:5000/a:1",
            "k8s:ns:research",
            "k8s:node-name:worker-1.example",
            "k8s:pod-uid:2c48913c-b29f-11e7-9350-020968147796",
            "k8s:pod-label:tier:",
            "k8s:pod-owner:ReplicaSet:researcher-6d4cf56db6",
            "k8s:pod-image-count:2",
            "k8s:container-image:registry.example/agent@sha256:1111",
            "x509pop:anything",
        ];
        for text in all.into_iter().chain(digests.iter().map(String::as_str)) {
            assert_eq!(told(text), Ok(()), "{text}");
        }
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_what_nobody_tells_may_not() {
        let upper = format!("unix:sha256:{}", "0A".repeat(32));
        let values = [
            "unix:uid:root",
            "unix:uid:01",
            "unix:uid:-1",
            "unix:uid:+1",
            "unix:gid:4294967296",
            "unix:uid",
            "unix:user:",
            "unix:sha256:aa",
            &upper,
            "unix:path:bin/x",
            "unix:path:/opt/../x",
            "unix:path:/opt//x",
            "unix:path:/opt/",
            "unix:path:/",
            "unix:argv_script:/opt/a.py",
            "unix:argv_script:path:a.py",
            "unix:argv_script:sha256:aa",
            "unix:peer:pidfd",
            "systemd:id:nginx",
            "systemd:id:nginx.conf",
            "systemd:fragment_path:nginx.service",
            "docker:label:key",
            "docker:label::value",
            "docker:image_config_digest:aa",
            "k8s:ns:Research",
            "k8s:ns:",
            "k8s:pod-label:tier",
            "k8s:pod-owner:ReplicaSet:",
            "k8s:pod-image-count:two",
        ];
        for text in values {
            assert!(matches!(told(text), Err(NeverTold::Value { .. })), "{text}: {:?}", told(text));
        }
        for text in ["unix:uuid:0", "k8s:namespace:a", "systemd:unit:a.service", "docker:name:a"] {
            assert!(matches!(told(text), Err(NeverTold::Name { .. })), "{text}");
        }
        assert_eq!(
            told("unx:uid:0").unwrap_err().to_string(),
            "selector `unx:uid:0`: nothing is told under `unx`; the kinds are `unix`, `systemd`, \
             `docker`, `k8s`, `x509pop`"
        );
        assert_eq!(
            told("systemd:unit:a.service").unwrap_err().to_string(),
            "selector `systemd:unit:a.service`: `systemd` has no `unit`; it has `id`, \
             `fragment_path`"
        );
        assert_eq!(
            told("unix:sha256:aa").unwrap_err().to_string(),
            "selector `unix:sha256:aa`: `unix:sha256` is 64 hexadecimal digits in lower case"
        );
    }
}
