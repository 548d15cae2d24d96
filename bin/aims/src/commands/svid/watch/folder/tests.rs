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
