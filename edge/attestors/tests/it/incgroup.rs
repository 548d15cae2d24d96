//! A process in a cgroup of a chosen name, where we may make one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A cgroup of version 2; it is removed when this is dropped and it is empty.
pub(crate) struct InCgroup {
    mount: PathBuf,
    name: String,
}

impl InCgroup {
    /// None where the hierarchy is not there or not ours to change.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let mount = PathBuf::from(mount.split(' ').nth(4)?);
        let made = Self { mount, name: name.to_owned() };
        fs::create_dir_all(made.path()).ok()?;
        // Whether a process can be put there is seen with one of our own.
        let mut waits = std::process::Command::new("sleep").arg("9").spawn().ok()?;
        let moved = fs::write(made.path().join("cgroup.procs"), waits.id().to_string());
        waits.kill().ok()?;
        waits.wait().ok()?;
        moved.ok().map(|()| made)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.mount.join(&self.name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.mount.clone()
    }

    pub(crate) fn take(&self, pid: i32) {
        fs::write(self.path().join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for InCgroup {
    fn drop(&mut self) {
        // The kernel lets go of the last process a moment after it was waited for.
        for _ in 0..100 {
            let mut path = PathBuf::from(&self.name);
            let mut gone = true;
            while !path.as_os_str().is_empty() {
                let removed = fs::remove_dir(self.mount.join(&path));
                gone &= removed.is_ok() || !self.mount.join(&path).exists();
                path.pop();
            }
            if gone {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
