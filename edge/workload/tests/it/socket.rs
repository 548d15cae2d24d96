//! The file of the socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::pin::pin;

use workload::client::{CallError, Client};
use workload::listener::{BindError, Listener, PATH_BYTES_MAX};

use crate::world::{World, next, soon};

/// req: PROV-08 (part)
#[tokio::test]
async fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let live = UnixListener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&path).err(), Some(BindError::InUse { path: path.clone() }));
    assert!(live.accept().is_ok(), "it was asked, and is still there");
    drop(live);
    assert!(path.exists());
    let ours = Listener::bind(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o777, "every local process may ask");
    assert_eq!(Listener::bind(&path).err(), Some(BindError::InUse { path: path.clone() }));
    drop(ours);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "precious").unwrap();
    assert_eq!(Listener::bind(&path).err(), Some(BindError::NotASocket { path: path.clone() }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(Listener::bind(&link).err(), Some(BindError::NotASocket { path: link.clone() }));
    let nowhere = folder.path().join("missing/socket");
    let kind = std::io::ErrorKind::NotFound;
    let refused = BindError::System { path: nowhere.clone(), kind };
    assert_eq!(Listener::bind(&nowhere).err(), Some(refused));
}

#[tokio::test]
async fn a_path_is_as_long_as_a_socket_allows() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = folder.path().as_os_str().len() + 1;
    let path = |long: usize| folder.path().join("s".repeat(long - bytes));
    assert!(Listener::bind(&path(PATH_BYTES_MAX)).is_ok());
    let bytes = PATH_BYTES_MAX + 1;
    assert_eq!(Listener::bind(&path(bytes)).err(), Some(BindError::PathTooLong { bytes }));
}

#[tokio::test]
async fn two_servers_that_start_at_once_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    // One that has looked and not yet bound: there is nothing at the path.
    let lock = fs::File::create(folder.path().join("socket.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(Listener::bind(&path).err(), Some(BindError::InUse { path: path.clone() }));
    lock.unlock().unwrap();
    let ours = Listener::bind(&path).unwrap();
    let elsewhere = Listener::bind(&folder.path().join("other"));
    assert!(elsewhere.is_ok(), "another path of the same folder is free");
    fs::remove_file(&path).unwrap();
    assert_eq!(Listener::bind(&path).err(), Some(BindError::InUse { path }));
    drop(ours);
}

#[tokio::test]
async fn another_servers_file_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let ours = Listener::bind(&path).unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    drop(ours);
    assert!(path.exists());
}

#[tokio::test]
async fn a_server_that_stops_tells_its_clients_and_removes_its_file() {
    let world = World::new();
    let (socket, address) = (world.socket(), world.address());
    let mut answers = pin!(world.client().await.x509().await.unwrap());
    assert!(next(&mut answers).await.unwrap().is_ok());
    world.stop();
    let stopping = CallError::Unavailable { message: "stopping".to_owned() };
    assert_eq!(next(&mut answers).await.unwrap().err(), Some(stopping));
    assert_eq!(world.stopped().await, Ok(()));
    assert!(!socket.exists());
    let gone = soon(Client::connect(&address)).await.err();
    assert!(matches!(gone, Some(CallError::Unavailable { .. })));
}
