//! Operators and the people of a running installation.

use crate::running::Site;

fn told(site: &Site, arguments: &[&str]) -> serde_json::Value {
    let ended = site.aims(&[arguments, &["--output", "json"]].concat());
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// req: AUTHN-11 (part)
#[test]
fn s9_an_operator_adds_people_lets_them_in_and_stops_them() {
    let site = Site::new();
    let running = site.up();
    let added = site.aims(&["user", "add", "ada", "--display-name", "Ada Lovelace"]);
    assert_eq!(added.code, 0, "{}", added.err);
    // The link alone on stdout, for a pipe; what it is for beside it.
    let link = format!("{}/sign-in/link?secret=aims_link_", site.url(0));
    assert!(added.out.starts_with(&link) && added.out.lines().count() == 1, "{}", added.out);
    assert!(added.err.contains("a link for `ada`, once, until"), "{}", added.err);
    told(&site, &["user", "add", "root", "--role", "operator"]);
    let again = site.aims(&["user", "add", "ada"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("a name stays with its user"), "{}", again.err);
    let code = told(&site, &["user", "code", "ada", "--uses", "3", "--expires", "1h"]);
    assert_eq!((code["uses"].as_u64(), code["text"].as_str().map(str::len)), (Some(3), Some(14)));
    let listed = site.aims(&["user", "list"]);
    assert!(
        listed.out.contains("Ada Lovelace") && listed.out.contains("operator"),
        "{}",
        listed.out
    );
    assert_eq!(site.aims(&["session", "list"]).out, "nobody is signed in\n");
    let disabled = site.aims(&["user", "disable", "ada", "--reason", "a test"]);
    assert!(disabled.out.starts_with("ada is disabled; 0 sessions"), "{}", disabled.out);
    let refused = site.aims(&["user", "code", "ada"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("aims user enable"), "{}", refused.err);
    assert_eq!(running.stop(), 0);

    // What was said stays said, and secrets are nowhere in the folder.
    let _running = site.up();
    let shown = told(&site, &["user", "show", "ada"]);
    assert_eq!((&shown["state"], &shown["reason"]), (&"disabled".into(), &"a test".into()));
    let secret = code["text"].as_str().unwrap();
    let log = site.aims(&["audit", "export"]);
    assert_eq!(log.code, 0, "{}", log.err);
    assert!(log.out.contains("user.disable") && !log.out.contains(secret));
    assert!(!log.out.contains("aims_link_"));
}
