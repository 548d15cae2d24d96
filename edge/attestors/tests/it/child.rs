//! Starting the other process (`examples/child.rs`), and meeting it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// Nobody.
pub(crate) const NOBODY: u32 = 65_534;

/// A folder that every user can read and write, with a listening socket in it.
pub(crate) struct Meeting {
    folder: TempDir,
    listener: UnixListener,
}

impl Meeting {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let met = Self { folder, listener };
        fs::set_permissions(met.socket(), fs::Permissions::from_mode(0o777)).unwrap();
        met
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> String {
        self.path("socket").to_str().unwrap().to_owned()
    }

    pub(crate) fn accept(&self) -> UnixStream {
        self.listener.accept().unwrap().0
    }

    /// The child's program under a name of its own.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.copy(&program(), name)
    }

    /// A copy of another program.
    pub(crate) fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        // Copied by a process of its own: a descriptor open for writing that another test's child
        // inherits between `fork` and `exec` would make the copy busy.
        let done = Command::new("cp").arg(from).arg(&path).status().unwrap();
        assert!(done.success());
        path
    }
}

/// A started child.
pub(crate) struct Started {
    pub(crate) process: Child,
    said: BufReader<ChildStdout>,
}

impl Started {
    pub(crate) fn new(program: &Path, arguments: &[&str]) -> Self {
        Self::by(Command::new(program).args(arguments))
    }

    /// The same as another user, where we may choose; as ourselves where not.
    pub(crate) fn as_nobody(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Self::by(&mut command)
    }

    pub(crate) fn by(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn ready(mut self) -> Self {
        assert_eq!(self.hear(), "ready");
        self
    }

    /// Lets it end and waits for it.
    pub(crate) fn end(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The child as it was built.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().unwrap().parent().unwrap().join("examples/child");
    assert!(built.exists(), "`{}`: run the tests with the examples", built.display());
    built
}
