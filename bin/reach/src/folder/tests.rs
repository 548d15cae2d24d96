use std::collections::BTreeSet;

use super::*;

const NOW: UnixTime = UnixTime::from_millis(1_000);

fn entry<'a>(name: &str, contents: &'a str, mode: u32) -> Entry<'a> {
    Entry { name: name.to_owned(), contents: contents.as_bytes(), mode }
}

fn names(path: &Path) -> BTreeSet<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(path).unwrap().map(name).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// req: PROV-08 (part)
#[test]
fn all_files_change_at_once_and_keep_their_modes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/tls");
    let taken = Folder::take(&path).unwrap();
    taken.write(NOW, &[entry("svid.pem", "1", 0o644), entry("key.pem", "1", 0o640)]).unwrap();
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert_eq!((read("svid.pem"), read("key.pem")), ("1".to_owned(), "1".to_owned()));
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("svid.pem"), mode("key.pem")), (0o644, 0o640));
    // Whoever holds the version open reads that version on.
    let before = fs::canonicalize(path.join(DATA)).unwrap();
    taken.write(NOW, &[entry("svid.pem", "2", 0o644), entry("key.pem", "2", 0o600)]).unwrap();
    assert_eq!(
        (read("svid.pem"), read("key.pem"), mode("key.pem")),
        ("2".into(), "2".into(), 0o600)
    );
    assert_eq!(fs::read_to_string(before.join("key.pem")).unwrap(), "1");
    let federated = entry("federated/a.example.pem", "3", 0o644);
    taken.write(NOW, &[entry("identity.pem", "3", 0o600), federated]).unwrap();
    assert!(!before.exists());
    assert_eq!(read("federated/a.example.pem"), "3");
    let expect = set(["..data", "..1001", "..1002", "identity.pem", "federated"]);
    assert_eq!(names(&path), expect.into_iter().filter(|name| path.join(name).exists()).collect());
    assert!(!path.join("key.pem").is_symlink(), "what is no longer kept has no name");
}

#[test]
fn what_a_killed_process_left_goes_and_what_counts_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let taken = Folder::take(path).unwrap();
    taken.write(NOW, &[entry("svid.pem", "1", 0o644)]).unwrap();
    drop(taken);
    // Killed while it wrote, and while it linked; and what is not ours.
    fs::create_dir(path.join("..5000")).unwrap();
    fs::write(path.join("..5000/key.pem"), "half").unwrap();
    symlink("..5000", path.join(NEW)).unwrap();
    fs::create_dir(path.join("..mine")).unwrap();
    fs::write(path.join("note"), "").unwrap();
    let taken = Folder::take(path).unwrap();
    assert!(!path.join("..5000").exists());
    assert_eq!(fs::read_to_string(path.join("svid.pem")).unwrap(), "1");
    taken.write(NOW, &[entry("svid.pem", "2", 0o644)]).unwrap();
    assert_eq!(fs::read_to_string(path.join("svid.pem")).unwrap(), "2");
    assert!(path.join("..mine").exists() && path.join("note").exists());
}

#[test]
fn a_file_of_before_is_replaced_by_a_link() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("svid.pem"), "old").unwrap();
    let taken = Folder::take(folder.path()).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("svid.pem")).unwrap(), "old");
    taken.write(NOW, &[entry("svid.pem", "1", 0o644)]).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("svid.pem")).unwrap(), "1");
}

#[test]
fn what_cannot_be_written_leaves_what_counts() {
    let folder = tempfile::tempdir().unwrap();
    let taken = Folder::take(folder.path()).unwrap();
    taken.write(NOW, &[entry("svid.pem", "1", 0o644)]).unwrap();
    let before = names(folder.path());
    // The second file has the name of the first: it cannot be made.
    let twice = [entry("svid.pem", "2", 0o644), entry("svid.pem", "3", 0o644)];
    assert!(taken.write(NOW, &twice).is_err());
    assert_eq!(names(folder.path()), before);
    assert_eq!(fs::read_to_string(folder.path().join("svid.pem")).unwrap(), "1");
}

#[test]
fn a_folder_that_is_not_ours_alone_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls");
    let check = |code: u8, expect: &str| {
        let failure = Folder::take(&path).unwrap_err();
        assert_eq!(failure.problem().outcome.exit_code(), code);
        assert!(failure.to_string().contains(expect), "{failure}");
    };
    fs::write(&path, "").unwrap();
    check(2, "File exists");
    fs::remove_file(&path).unwrap();
    let taken = Folder::take(&path).unwrap();
    check(3, "kept by another process");
    drop(taken);
    fs::set_permissions(&path, Permissions::from_mode(0o775)).unwrap();
    check(2, "other users may write to it");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(path.join(DATA)).unwrap();
    check(2, "is not a link of ours");
    fs::remove_dir(path.join(DATA)).unwrap();
    Folder::take(&path).unwrap();
}

/// Where the child of the next test writes, without end.
const WRITE_INTO: &str = "WATCH_TEST_WRITE_INTO";
const KILLS: u64 = 40;
/// Long enough that half of it could be on disk.
const CONTENTS: usize = 20_000;

/// req: PROV-08 (part)
#[test]
fn killed_at_any_moment_what_counts_is_whole_and_of_one_version() {
    if let Some(path) = std::env::var_os(WRITE_INTO) {
        write_without_end(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls");
    let (mut versions, mut looks) = (BTreeSet::new(), 0);
    for kill in 0..KILLS {
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(std::thread::current().name().unwrap())
            .env(WRITE_INTO, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_millis(20 + kill * 3);
        while std::time::Instant::now() < end {
            looks += usize::from(look(&path).is_some());
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        versions.extend(look(&path));
        let taken = Folder::take(&path).unwrap();
        let left = names(&path)
            .into_iter()
            .filter(|name| name.trim_start_matches('.').parse::<u64>().is_ok());
        assert!(left.count() <= 1, "what was half written is gone");
        drop(taken);
    }
    assert!(versions.len() > 5 && looks > 100, "{} versions, {looks} looks", versions.len());
}

/// The version that a reader meets: of one folder, as the link says.
fn look(path: &Path) -> Option<String> {
    let version = path.join(fs::read_link(path.join(DATA)).ok()?);
    // A reader that was overtaken twice meets a folder that is gone, and looks again.
    let svid = fs::read_to_string(version.join("svid.pem")).ok()?;
    let key = fs::read_to_string(version.join("key.pem")).ok()?;
    assert_eq!(svid.len(), CONTENTS);
    assert_eq!(svid, key, "a certificate and a key of two versions");
    Some(svid)
}

fn write_without_end(path: &Path) -> ! {
    let taken = Folder::take(path).unwrap();
    let mut number = u64::from(std::process::id()) << 32;
    loop {
        number += 1;
        let text = format!("{number:0CONTENTS$}");
        let files = [entry("svid.pem", &text, 0o644), entry("key.pem", &text, 0o600)];
        taken.write(UnixTime::from_millis(number), &files).unwrap();
    }
}
