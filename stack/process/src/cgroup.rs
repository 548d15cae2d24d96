//! Where a process stands in the kernel's tree of cgroups, and which container that is (ATT-02;
//! `/proc/<pid>/cgroup` as cgroups(7) describes it, names as container runtimes make them).
//!
//! The kernel writes the lines, whoever may make a cgroup chooses its name. What lies below a
//! container, a service or a user's session can be named by those inside it: the first name from
//! the root that is a container's or a pod's counts, and none in a part of the tree that was given
//! away.

/// The longest file of cgroups that is read, in bytes.
pub const CGROUPS_BYTES_MAX: usize = 64 * 1024;
/// The most hierarchies of one process; version 1 has a dozen.
pub const HIERARCHIES_MAX: usize = 64;

/// The digits of a container's id.
const ID_DIGITS: usize = 64;
/// What is between the prefix and the id in the name of a pod's slice.
const POD: &str = "pod";
/// Where containerd is, and what it makes for a kubelet that does not tell it where.
const CONTAINERD: [&str; 2] = ["system.slice", "containerd.service"];

/// The cgroups of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups(Vec<Line>);

/// A process is in one cgroup of each hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Number and controllers: `0:` of version 2, `9:name=systemd` of version 1.
    hierarchy: String,
    /// From the root that we see; above it as `/..`.
    path: String,
}

/// Who runs a container, by the name of its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Docker, or what names its cgroups as Docker does.
    Docker,
    /// Podman.
    Podman,
    /// A runtime below a kubelet.
    Kubernetes,
}

/// The container that a process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id, 64 digits of lower case hex.
    pub id: String,
    /// Who runs it.
    pub runtime: Runtime,
    /// The UID of its pod, where the path tells it.
    pub pod: Option<String>,
}

impl Cgroups {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, CgroupError> {
        if text.len() > CGROUPS_BYTES_MAX {
            return Err(CgroupError::TooLong { bytes: text.len() });
        }
        let mut lines = Vec::new();
        for line in text.lines() {
            // cgroups(7), /proc/pid/cgroup: "hierarchy-ID:controller-list:cgroup-path". A name may
            // have colons, and no line end: the kernel refuses it.
            let mut parts = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                return Err(CgroupError::Malformed);
            };
            if id.parse::<u32>().is_err() || !path.starts_with('/') {
                return Err(CgroupError::Malformed);
            }
            if lines.len() >= HIERARCHIES_MAX {
                return Err(CgroupError::TooMany);
            }
            let hierarchy = format!("{id}:{controllers}");
            // A process is in one cgroup of a hierarchy.
            if lines.iter().any(|line: &Line| line.hierarchy == hierarchy) {
                return Err(CgroupError::Malformed);
            }
            lines.push(Line { hierarchy, path: path.to_owned() });
        }
        if lines.is_empty() { Err(CgroupError::Malformed) } else { Ok(Self(lines)) }
    }

    /// The container that the process is in; all hierarchies that name one name the same.
    pub fn container(&self) -> Result<Option<Container>, CgroupError> {
        let mut found: Option<Container> = None;
        for line in &self.0 {
            let Some(next) = container_in(&line.path)? else { continue };
            match &found {
                Some(first) if *first != next => {
                    return Err(CgroupError::Ambiguous { one: first.id.clone(), other: next.id });
                }
                _ => found = Some(next),
            }
        }
        Ok(found)
    }

    /// Whether a process with these cgroups is in the container whose first process has `first`:
    /// in each hierarchy where that one's path names the container, at the same place or below.
    pub fn within(&self, first: &Self, container: &str) -> bool {
        let mut named = first.0.iter().filter(|line| line.path.contains(container)).peekable();
        let is_below = |above: &Line| {
            let own = self.0.iter().find(|line| line.hierarchy == above.hierarchy);
            let rest = own.and_then(|own| own.path.strip_prefix(&above.path));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        named.peek().is_some() && named.all(is_below)
    }

    /// Whether one of the names on the way to the process is this unit's.
    pub fn names(&self, unit: &str) -> bool {
        // systemd's "cg_escape": a name that the kernel could take for a file of its own has a
        // `_` before it.
        let is = |name: &str| name == unit || name.strip_prefix('_') == Some(unit);
        self.0.iter().any(|line| line.path.split('/').any(is))
    }
}

fn container_in(path: &str) -> Result<Option<Container>, CgroupError> {
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
    for (at, name) in names.iter().enumerate() {
        let found = match (pod_of(name), container_of(name)) {
            _ if name.contains(':') => {
                let Some((pod, id)) = pod_and_container(name) else { continue };
                Container { id, runtime: Runtime::Kubernetes, pod: Some(pod) }
            }
            (Some(pod), _) => {
                let id = names.get(at.saturating_add(1)).and_then(|next| container_of(next));
                let (id, _) = id.ok_or_else(|| CgroupError::NoContainer { pod: pod.clone() })?;
                Container { id, runtime: Runtime::Kubernetes, pod: Some(pod) }
            }
            (None, Some((id, runtime))) => {
                let above = at.checked_sub(1).and_then(|above| names.get(above)).copied();
                // Above the root of our own cgroup namespace there are no names to tell by.
                let runtime = runtime.or_else(|| (above != Some("..")).then_some(Runtime::Docker));
                let runtime = runtime.ok_or(CgroupError::OutOfSight)?;
                Container { id, runtime, pod: None }
            }
            (None, None) => continue,
        };
        // containerd's own part of the tree is root's; the names in it are those that it makes.
        let is_containerds = name.contains(':') && names.get(..at) == Some(&CONTAINERD);
        let mut above = names.iter().take(if is_containerds { 0 } else { at });
        if let Some(owner) = above.find(|name| is_given_away(name, found.runtime)) {
            return Err(CgroupError::Delegated { owner: (*owner).to_owned() });
        }
        return Ok(Some(found));
    }
    Ok(None)
}

/// Parts of the tree that systemd gives to a user, a session or a service: whoever is in there may
/// make cgroups of any name. Of the two that a daemon can be asked about ([`Cgroups::within`]) a
/// service may hold containers: Podman's do.
fn is_given_away(name: &str, runtime: Runtime) -> bool {
    let is_users = name == "user.slice" || name.starts_with("user-") || name.starts_with("user@");
    // A whole system runs in a container of LXC, and its root names what it likes.
    let is_users = is_users || name == "lxc" || name.starts_with("lxc.");
    let is_units = [".service", ".scope"].iter().any(|end| name.strip_suffix(end).is_some());
    is_users || (is_units && runtime == Runtime::Kubernetes)
}

/// Pod and container in one name: what a kubelet that has systemd make cgroups asks of a runtime
/// that makes them itself, `kubepods-burstable-pod<uid>.slice:cri-containerd:<id>`.
fn pod_and_container(name: &str) -> Option<(String, String)> {
    let mut parts = name.split(':');
    let (slice, prefix, id) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && slice.strip_suffix(".slice").is_some();
    let is_known = is_whole && matches!(prefix, "cri-containerd" | "crio") && is_id(id);
    pod_of(slice).filter(|_| is_known).map(|pod| (pod, id.to_owned()))
}

/// The UID in a pod's cgroup: `pod<uid>`, or `kubepods-burstable-pod<uid>.slice` with `_` for `-`.
fn pod_of(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => {
            let (above, uid) = slice.rsplit_once("-pod")?;
            if !above.split('-').any(|word| word == "kubepods") {
                return None;
            }
            uid.replace('_', "-")
        }
        None => name.strip_prefix(POD)?.to_owned(),
    };
    is_uid(&uid).then_some(uid)
}

/// A UUID, or the 32 digits that a pod from a file has.
fn is_uid(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(is_lower_hex);
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    let shaped = matches!(*lengths, [8, 4, 4, 4, 12] | [32]);
    shaped && text.split('-').all(is_hex)
}

/// The id in a container's cgroup, and who runs it if the name tells.
fn container_of(name: &str) -> Option<(String, Option<Runtime>)> {
    const PREFIXES: &[(&str, Option<Runtime>)] = &[
        ("docker-", Some(Runtime::Docker)),
        ("libpod-payload-", Some(Runtime::Podman)),
        ("libpod-", Some(Runtime::Podman)),
        ("cri-containerd-", Some(Runtime::Kubernetes)),
        ("crio-", Some(Runtime::Kubernetes)),
        ("", None),
    ];
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    PREFIXES.iter().find_map(|(prefix, runtime)| {
        let id = bare.strip_prefix(prefix)?;
        is_id(id).then(|| (id.to_owned(), *runtime))
    })
}

/// Whether this is the id of a container.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(is_lower_hex)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Why it cannot be told which container a process is in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CgroupError {
    /// Over [`CGROUPS_BYTES_MAX`].
    #[error("cgroups of {bytes} bytes, at most {CGROUPS_BYTES_MAX} are read")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Over [`HIERARCHIES_MAX`].
    #[error("more than {HIERARCHIES_MAX} cgroup hierarchies")]
    TooMany,
    /// Not what the kernel writes.
    #[error("the list of cgroups does not read")]
    Malformed,
    /// Its hierarchies name several.
    #[error("the process is in two containers: `{one}` and `{other}`")]
    Ambiguous {
        /// One.
        one: String,
        /// Another.
        other: String,
    },
    /// It is in a pod's cgroup, and in none of its containers.
    #[error("the process is in pod `{pod}` and in none of its containers")]
    NoContainer {
        /// The pod.
        pod: String,
    },
    /// The name is one that its own user could have given.
    #[error("the process's container lies below `{owner}`, where anyone inside names cgroups")]
    Delegated {
        /// Who was given that part of the tree.
        owner: String,
    },
    /// It is beside our own cgroup namespace.
    #[error("the container is outside the node's cgroup namespace; run the node in the host's")]
    OutOfSight,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "13b33e239b7327e21cc358c1ef72290bb701e681ad21bca164504d1d4d00376d";
    const OTHER: &str = "00b33e239b7327e21cc358c1ef72290bb701e681ad21bca164504d1d4d00376d";
    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

    fn read(text: &str) -> Result<Option<Container>, CgroupError> {
        Cgroups::parse(&text.replace("UID", UID).replace("ID", ID)).unwrap().container()
    }

    fn of(runtime: Runtime, pod: Option<&str>) -> Result<Option<Container>, CgroupError> {
        Ok(Some(Container { id: ID.to_owned(), runtime, pod: pod.map(str::to_owned) }))
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_container_is_told_by_the_cgroups_of_every_driver() {
        let check = |path: &str, runtime: Runtime, pod: Option<&str>| {
            let path = path.replace("UID", UID).replace("UND", &UID.replace('-', "_"));
            assert_eq!(read(&format!("0::{path}\n")), of(runtime, pod), "{path}");
        };
        let docker = ["/docker/ID", "/system.slice/docker-ID.scope", "/docker/ID/inner/OTHER"];
        for path in docker.into_iter().chain(["/jobs/ID", "/../system.slice/docker-ID.scope"]) {
            check(path, Runtime::Docker, None);
        }
        let split = "/system.slice/own.service/libpod-payload-ID";
        let podman =
            ["/machine.slice/libpod-ID.scope/container", "/libpod_parent/libpod-ID", split];
        for path in podman {
            check(path, Runtime::Podman, None);
        }
        for path in [
            "/kubepods/burstable/podUID/ID",
            "/kubepods/podUID/ID/own",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUND.slice/\
             cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-podUND.slice/crio-ID.scope",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUND.slice/\
             docker-ID.scope",
            "/../../kubepods-besteffort-podUND.slice/cri-containerd-ID.scope",
        ] {
            check(path, Runtime::Kubernetes, Some(UID));
        }
        check("/../cri-containerd-ID.scope", Runtime::Kubernetes, None);
        // Kubelet and containerd that do not agree who makes cgroups.
        for path in [
            "/kubepods-besteffort-podUND.slice:cri-containerd:ID",
            "/system.slice/containerd.service/kubepods-podUND.slice:cri-containerd:ID",
            "/kubepods-burstable-podUND.slice:crio:ID/own",
        ] {
            check(path, Runtime::Kubernetes, Some(UID));
        }
        let of_file = "0123456789abcdef0123456789abcdef";
        check(&format!("/kubepods/pod{of_file}/ID"), Runtime::Kubernetes, Some(of_file));
        for path in ["/", "/system.slice/ssh.service", "/user.slice/user-0.slice/session-1.scope"] {
            assert_eq!(read(&format!("0::{path}\n")), Ok(None), "{path}");
        }
        let v1 = "3:cpu:/docker/ID\n2:name=systemd:/docker/ID\n1:misc:/\n0::/docker/ID\n";
        assert_eq!(read(v1), of(Runtime::Docker, None));
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_name_that_a_process_could_have_chosen_is_refused() {
        let delegated = |owner: &str| Err(CgroupError::Delegated { owner: owner.to_owned() });
        let check = |text: &str, expect: Result<Option<Container>, CgroupError>| {
            assert_eq!(read(text), expect, "{text}");
        };
        check("0::/user.slice/user@7.service/docker-ID.scope", delegated("user.slice"));
        check("0::/user-7.slice/libpod-ID.scope", delegated("user-7.slice"));
        check("0::/system.slice/own.service/kubepods/podUID/ID", delegated("own.service"));
        check("0::/a.scope/cri-containerd-ID.scope", delegated("a.scope"));
        let joined = format!("kubepods-pod{}.slice:cri-containerd:ID", UID.replace('-', "_"));
        check(&format!("0::/system.slice/own.service/{joined}"), delegated("own.service"));
        let own = format!("0::/a.slice/containerd.service/{joined}");
        check(&own, delegated("containerd.service"));
        // The root of a container of LXC names what it likes.
        for owner in ["lxc", "lxc.payload.web"] {
            check(&format!("0::/{owner}/web/kubepods/podUID/ID"), delegated(owner));
            check(&format!("0::/{owner}/docker/ID"), delegated(owner));
            check(&format!("0::/{owner}/{joined}"), delegated(owner));
        }
        // Inside a container one may name what one likes: the container counts.
        let inner = format!("0::/docker/ID/kubepods/pod{UID}/{OTHER}");
        check(&inner, of(Runtime::Docker, None));
        let inner = format!("0::/kubepods/podUID/ID/docker-{OTHER}.scope");
        check(&inner, of(Runtime::Kubernetes, Some(UID)));
        let (one, other) = (ID.to_owned(), OTHER.to_owned());
        check(
            &format!("1:cpu:/docker/ID\n0::/docker/{OTHER}\n"),
            Err(CgroupError::Ambiguous { one, other }),
        );
        check("0::/kubepods/podUID", Err(CgroupError::NoContainer { pod: UID.to_owned() }));
        check("0::/../ID", Err(CgroupError::OutOfSight));
    }

    #[test]
    fn s7_what_is_nearly_a_name_is_none() {
        let short = &ID[1..];
        let upper = ID.to_uppercase();
        for path in [
            format!("/docker/{short}"),
            format!("/docker/{upper}"),
            format!("/docker/{ID}0"),
            format!("/docker/x{ID}"),
            format!("/kubepods/pod{}", &UID[1..]),
            format!("/kubepods/pod{UID} (deleted)"),
            format!("/a-pod{}.slice", UID.replace('-', "_")),
            format!("/kubepods-pod{}.slice:other:{ID}", UID.replace('-', "_")),
            format!("/kubepods-pod{}.slice:cri-containerd:{ID}:x", UID.replace('-', "_")),
            format!("/kubepods-pod{}.slice:cri-containerd:{short}", UID.replace('-', "_")),
            format!("/pod{UID}:cri-containerd:{ID}"),
        ] {
            assert_eq!(read(&format!("0::{path}\n")), Ok(None), "{path}");
        }
    }

    #[test]
    fn s7_the_file_is_read_strictly_and_bounded() {
        let check = |text: &str, expect: CgroupError| {
            assert_eq!(Cgroups::parse(text).err(), Some(expect), "{text:.40}");
        };
        for text in ["", "0::\n", "0:/a\n", "x::/a\n", "0::/a\n\n", "0::a\n", "0::/\n0::/a\n"] {
            check(text, CgroupError::Malformed);
        }
        let many: String = (0..=HIERARCHIES_MAX).map(|n| format!("{n}:a:/\n")).collect();
        check(&many, CgroupError::TooMany);
        let long = format!("0::/{}", "a".repeat(CGROUPS_BYTES_MAX));
        check(&long, CgroupError::TooLong { bytes: long.len() });
        let colons = Cgroups::parse("0::/a:b/c\n").unwrap();
        assert!(colons.names("a:b") && colons.names("c") && !colons.names("b"));
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_process_is_within_a_container_where_its_first_process_is() {
        let cgroups = |text: &str| Cgroups::parse(&text.replace("ID", ID)).unwrap();
        let first = cgroups("2:cpu:/docker/ID\n1:misc:/\n0::/docker/ID\n");
        let check = |own: &str, expect: bool| {
            assert_eq!(cgroups(own).within(&first, ID), expect, "{own}");
        };
        check("2:cpu:/docker/ID\n1:misc:/\n0::/docker/ID\n", true);
        check("2:cpu:/docker/ID/a\n1:misc:/b\n0::/docker/ID\n", true);
        check("2:cpu:/docker/ID\n1:misc:/\n0::/user.slice/docker/ID\n", false);
        check("2:cpu:/docker/ID\n1:misc:/\n0::/docker/IDa\n", false);
        check("1:misc:/\n0::/docker/ID\n", false);
        // A first process that is in no such cgroup is not that container's.
        assert!(!first.within(&cgroups("0::/\n"), ID));
    }

    #[test]
    fn s7_a_unit_is_on_the_way_to_its_processes() {
        let cgroups = Cgroups::parse("0::/system.slice/_cpu.service/a.b\n").unwrap();
        assert!(cgroups.names("cpu.service") && cgroups.names("system.slice"));
        assert!(!cgroups.names("cpu") && !cgroups.names("system"));
    }
}
