use time::UnixTime;
use x509::{
    CERTIFICATE_BYTES_MAX, Extension, KeyError, Kind, NAMES_MAX, Oid, Template, TemplateError,
    epoch_extension,
};

use crate::fixture::{DAY, Key, NOW, authority, leaf};

/// A leaf after `edit`, refused as `expect`.
fn refused(edit: impl FnOnce(&mut Template), expect: TemplateError) {
    let key = Key::p256();
    let mut template = leaf(&key);
    edit(&mut template);
    assert_eq!(template.to_be_signed(key.algorithm()), Err(expect));
}

#[test]
fn rfc5280_4_1_templates_that_cannot_be_written_are_refused() {
    let late = UnixTime::from_seconds(253_402_300_800); // year 10000
    let before = NOW.minus(DAY).minus(DAY);
    refused(
        |it| it.not_after = before,
        TemplateError::EndsBeforeItBegins { not_before: NOW.minus(DAY), not_after: before },
    );
    refused(|it| it.not_after = late, TemplateError::Date(late));
    refused(|it| it.spki_der = vec![0x30, 0], KeyError::Malformed.into());
    refused(|it| it.uri_names.clear(), TemplateError::Nameless);
    for name in ["", "a b", "a\0", "ä"] {
        refused(|it| it.uri_names.push(name.to_owned()), TemplateError::Name(name.to_owned()));
        refused(|it| it.dns_names.push(name.to_owned()), TemplateError::Name(name.to_owned()));
    }
    let names = vec!["urn:a".to_owned(); NAMES_MAX + 1];
    refused(|it| it.uri_names = names, TemplateError::TooManyNames);
    let host = vec!["example.org".to_owned()];
    refused(|it| it.permitted_dns_names = host, TemplateError::ConstraintsOnLeaf);
    refused(|it| it.extra.push(epoch_extension(6)), TemplateError::DuplicateExtension(x509::EPOCH));
    let many = (0..40).map(|index| Extension {
        oid: Oid::parse(&format!("1.2.3.{index}")).unwrap(),
        critical: false,
        der: vec![5, 0],
    });
    refused(|it| it.extra = many.collect(), TemplateError::TooManyExtensions);
}

#[test]
fn rfc5280_4_1_the_size_of_a_certificate_is_bounded() {
    let key = Key::p256();
    let mut template = leaf(&key);
    template.extra[0].der = vec![0; CERTIFICATE_BYTES_MAX];
    let refused = template.to_be_signed(key.algorithm());
    assert!(
        matches!(refused, Err(TemplateError::TooLong { bytes }) if bytes > CERTIFICATE_BYTES_MAX)
    );
}

#[test]
fn rfc5280_4_2_1_9_the_kind_is_written() {
    let key = Key::p256();
    let name = x509::Name::new(None, Some("root")).unwrap();
    for path_len in [None, Some(0), Some(3), Some(200)] {
        let mut template = authority(name.clone(), &key);
        template.kind = Kind::Authority { path_len };
        let certificate = crate::fixture::issue(&template, &key);
        assert!(certificate.is_ca() && certificate.is_critical(&Oid::BASIC_CONSTRAINTS));
        assert_eq!(certificate.path_len(), path_len);
    }
}
