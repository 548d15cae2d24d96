//! Status lists.

use jose::NumericDate;
use openid::status_list::{
    Bits, StatusList, StatusListClaims, StatusListToken, StatusReference, StatusRefused, status_of,
};
use serde_json::json;

use crate::*;

/// draft-ietf-oauth-status-list-20, appendix C.
const VECTORS: &[&str] = &[
    include_str!("../../vectors/status-list/c_1-1-bit.json"),
    include_str!("../../vectors/status-list/c_2-2-bit.json"),
    include_str!("../../vectors/status-list/c_3-4-bit.json"),
    include_str!("../../vectors/status-list/c_4-8-bit.json"),
];

#[test]
fn c_published_lists_are_read_and_made() {
    for text in VECTORS {
        let vector: Value = serde_json::from_str(text).unwrap();
        let origin = vector["origin"].as_str().unwrap();
        let list: Result<StatusList, _> = serde_json::from_value(vector["list"].clone());
        let size = vector["size"].as_u64().unwrap();
        let bits = Bits::of(vector["list"]["bits"].as_u64().unwrap()).unwrap();
        let statuses: Vec<(u64, u8)> = serde_json::from_value(vector["statuses"].clone()).unwrap();
        let list = list.unwrap_or_else(|refused| panic!("{origin}: {refused}"));
        assert_eq!(list.len(), size, "{origin}");
        let mut made = StatusList::new(bits, usize::try_from(size).unwrap()).unwrap();
        for (index, status) in &statuses {
            assert_eq!(list.status(*index), Ok(*status), "{origin} {index}");
            made.set(*index, *status).unwrap();
        }
        assert_eq!(made, list, "{origin}");
        let again: StatusList =
            serde_json::from_value(serde_json::to_value(&made).unwrap()).unwrap();
        assert_eq!(again, list, "{origin}");
    }
}

/// §4.1, the two examples.
#[test]
fn s4_1_places_begin_with_the_least_bit() {
    let read = |bits: u64, lst: &str| {
        serde_json::from_value::<StatusList>(json!({"bits": bits, "lst": lst}))
    };
    let one = read(1, "eNrbuRgAAhcBXQ").unwrap();
    let statuses: Vec<u8> = (0..16).map(|at| one.status(at).unwrap()).collect();
    assert_eq!(statuses, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
    let two = read(2, "eNo76fITAAPfAgc").unwrap();
    let statuses: Vec<u8> = (0..12).map(|at| two.status(at).unwrap()).collect();
    assert_eq!(statuses, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]);
    for (bits, lst) in [
        (3, "eNrbuRgAAhcBXQ"),
        (0, "eNrbuRgAAhcBXQ"),
        (1, "eNrbuRgAAhcBXQ=="),
        (1, "eNrbuRgAAhcBXA"),
        (1, "bogus!"),
        (1, ""),
    ] {
        assert!(read(bits, lst).is_err(), "{bits} {lst}");
    }
    let mut list = StatusList::new(Bits::Two, 5).unwrap();
    assert_eq!((list.len(), list.is_empty()), (8, false));
    let no_place = StatusRefused::NoPlace { index: 8, places: 8 };
    assert_eq!(list.set(8, 1), Err(no_place.clone()));
    assert_eq!(list.status(8), Err(no_place));
    assert!(list.status(u64::MAX).is_err());
    assert_eq!(list.set(0, 4), Err(StatusRefused::NoSuchStatus { status: 4, max: 3 }));
    list.set(1, 3).unwrap();
    list.set(1, 1).unwrap();
    assert_eq!((list.status(0), list.status(1), list.status(2)), (Ok(0), Ok(1), Ok(0)));
    assert!(matches!(
        StatusList::new(Bits::Eight, (1 << 20) + 1),
        Err(StatusRefused::TooLong { .. })
    ));
}

#[test]
fn s8_3_a_list_is_the_one_that_the_token_names() {
    let mut list = StatusList::new(Bits::One, 16).unwrap();
    list.set(3, 1).unwrap();
    let uri = "https://example.com/statuslists/1".to_owned();
    let claims = StatusListClaims {
        sub: uri.clone(),
        iat: NumericDate::from_seconds(900),
        exp: Some(NumericDate::from_seconds(2_000)),
        ttl: Some(43_200),
        status_list: list,
    };
    assert_eq!(round_trip::<StatusListToken>(&claims), claims);
    let value = serde_json::to_value(&claims).unwrap();
    let token = proven::<StatusListToken>(&value);
    let at = |idx, uri: &str| status_of(&StatusReference { idx, uri: uri.to_owned() }, &token);
    assert_eq!((at(3, &uri), at(4, &uri)), (Ok(1), Ok(0)));
    assert_eq!(at(16, &uri), Err(StatusRefused::NoPlace { index: 16, places: 16 }));
    let other = "https://example.com/statuslists/2";
    let wrong = StatusRefused::WrongList { found: uri, expected: other.to_owned() };
    assert_eq!(at(3, other), Err(wrong));
    assert!(verify::<StatusListToken>(&forge(Some("JWT"), &value)).is_err());
    for changes in [json!({"sub": null}), json!({"status_list": null}), json!({"exp": 1000})] {
        let text = forge(Some("statuslist+jwt"), &changed(&value, &changes));
        assert!(verify::<StatusListToken>(&text).is_err(), "{changes}");
    }
}
