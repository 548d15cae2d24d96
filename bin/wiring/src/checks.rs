//! Whether the values of `aims.toml` can be: each that cannot is told by its key and the reason,
//! before anything is made of it.

use std::net::IpAddr;

use fetch::Network;
use link::Address;
use url::{Origin, Url};
use wimse::Scheme;
use x509::DnsName;

use super::layout::Settings;

/// The highest first port: three follow it.
pub const PORT_BASE_MAX: u16 = u16::MAX - 3;
/// The longest name of a node or gateway.
const NAME_BYTES_MAX: usize = 128;

/// What is wrong in the settings, all of it; nothing where they can be.
pub fn faults(settings: &Settings) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = settings.origin() {
        faults.push(format!("`trust_domain`: {error}"));
    }
    ports(settings, &mut faults);
    if DnsName::parse(&settings.host).is_err() {
        faults.push(format!(
            "`host` is `{}`; it must be a DNS name in lower case, without scheme, port and path, \
             such as aims.example",
            settings.host
        ));
    }
    if settings.listen.parse::<IpAddr>().is_err() {
        faults.push(format!(
            "`listen` is `{}`; it must be an address such as 127.0.0.1",
            settings.listen
        ));
    }
    let fetched = settings.fetch_addresses.iter().filter_map(|text| Network::parse(text).err());
    faults.extend(fetched.map(|error| format!("`fetch_addresses`: {error}")));
    let odd = settings.web_origins.iter().filter(|text| !is_origin(text));
    faults.extend(odd.map(|text| {
        format!("`web_origins` has `{text}`; each must be an origin such as https://app.example")
    }));
    let odd = settings.plain_upstreams.iter().filter(|text| !is_host(text));
    faults.extend(odd.map(|text| {
        format!("`plain_upstreams` has `{text}`; each must be a host such as tools.internal")
    }));
    if let Some(Err(error)) = settings.server.as_deref().map(Address::parse) {
        faults.push(format!("`server`: {error}, such as aims.example:8445"));
    }
    if settings.name.as_deref().is_some_and(|name| !is_name(name)) {
        faults.push(format!(
            "`name` must have 1 to {NAME_BYTES_MAX} letters, digits or any of `-`, `.`, `_`"
        ));
    }
    of_spiffe(settings, &mut faults);
    faults
}

fn ports(settings: &Settings, faults: &mut Vec<String>) {
    let base = settings.port_base;
    if !(1..=PORT_BASE_MAX).contains(&base) {
        faults.push(format!(
            "`port_base` is {base}; allowed are 1 to {PORT_BASE_MAX}, and the three ports behind \
             it are used too"
        ));
    }
    let own = base..=base.saturating_add(3);
    let others =
        [("federation_port", settings.federation_port), ("spire_port", settings.spire_port)];
    for (name, port) in others {
        match port {
            Some(0) => faults.push(format!("`{name}` is 0; allowed are 1 to {}", u16::MAX)),
            Some(port) if own.contains(&port) => faults.push(format!(
                "`{name}` is {port}, which is one of the four ports from `port_base` on"
            )),
            _ => {}
        }
    }
    if settings.spire_port.is_some() && settings.spire_port == settings.federation_port {
        faults.push("`spire_port` and `federation_port` are the same".to_owned());
    }
    if settings.attest_port == Some(0) {
        faults.push(format!("`attest_port` is 0; allowed are 1 to {}", u16::MAX));
    }
}

/// Whether what is switched on goes together.
fn of_spiffe(settings: &Settings, faults: &mut Vec<String>) {
    if settings.scheme == Scheme::Spiffe {
        return;
    }
    let of_spiffe = [
        ("federation_port", settings.federation_port.is_some()),
        ("spire_port", settings.spire_port.is_some()),
        ("broker", settings.broker),
    ];
    for (name, _) in of_spiffe.into_iter().filter(|(_, is_on)| *is_on) {
        faults.push(format!(
            "`{name}` is for peers that know SPIFFE IDs alone, and the scheme is `{}`: remove it, \
             or use the scheme `spiffe`",
            settings.scheme
        ));
    }
}

/// As browsers send it (RFC 6454 §6.2): scheme, host, and the port where it is not the usual one.
fn is_origin(text: &str) -> bool {
    let origin = Url::parse(text).map(|url| url.origin());
    origin.is_ok_and(|found| {
        matches!(found, Origin::Tuple(..)) && found.ascii_serialization() == text
    })
}

/// As it stands in a URL, without a port.
fn is_host(text: &str) -> bool {
    let url = Url::parse(&format!("http://{text}/"));
    let same =
        |url: Url| url.port().is_none() && url.host_str() == Some(&text.to_ascii_lowercase());
    url.is_ok_and(same)
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_told_by_key_and_reason() {
        let check = |text: &str, expect: &[&str]| {
            let found = Settings::parse(&format!("trust_domain = \"a.example\"\n{text}"));
            match (found, expect) {
                (Ok(_), []) => {}
                (Ok(_), _) => panic!("taken: {text}"),
                (Err(why), []) => panic!("{text}: {why}"),
                (Err(why), expect) => {
                    for one in expect {
                        assert!(why.contains(one), "{text}: {why}");
                    }
                }
            }
        };
        check("", &[]);
        check("port_base = 1", &[]);
        check("port_base = 65532", &[]);
        check("port_base = 0", &["`port_base` is 0; allowed are 1 to 65532"]);
        check("port_base = 65533", &["`port_base` is 65533; allowed are 1 to 65532"]);
        check("federation_port = 0", &["`federation_port` is 0"]);
        check("federation_port = 8446", &["`federation_port` is 8446, which is one of the four"]);
        check("spire_port = 8443", &["`spire_port` is 8443, which is one of the four"]);
        check("spire_port = 9\nfederation_port = 9", &["`spire_port` and `federation_port`"]);
        check("spire_port = 8447\nfederation_port = 8448", &[]);
        check("attest_port = 0", &["`attest_port` is 0"]);
        for good in ["localhost", "aims.example", "xn--bcher-kva.example"] {
            check(&format!("host = \"{good}\""), &[]);
        }
        for bad in [
            "",
            "https://a.b/c",
            "a.b:443",
            "a b",
            "A.example",
            "127.0.0.1",
            "[::1]",
            "a_b.example",
        ] {
            check(&format!("host = \"{bad}\""), &[&format!("`host` is `{bad}`")]);
        }
        for good in ["0.0.0.0", "::", "::1", "192.0.2.7"] {
            check(&format!("listen = \"{good}\""), &[]);
        }
        for bad in ["", "localhost", "127.0.0.1:8443", "*"] {
            check(&format!("listen = \"{bad}\""), &[&format!("`listen` is `{bad}`")]);
        }
        check("fetch_addresses = [\"10.0.0.0/8\", \"::1\"]", &[]);
        check("fetch_addresses = [\"10.0.0\"]", &["`fetch_addresses`: "]);
        check("web_origins = [\"https://app.example\", \"http://localhost:3000\"]", &[]);
        for bad in ["app.example", "https://app.example/", "https://app.example:443", "*"] {
            check(&format!("web_origins = [\"{bad}\"]"), &[&format!("`web_origins` has `{bad}`")]);
        }
        check("plain_upstreams = [\"tools.internal\", \"10.0.0.7\", \"[fd00::1]\"]", &[]);
        for bad in ["", "tools:80", "http://tools", "tools/x", "a b"] {
            let told = format!("`plain_upstreams` has `{bad}`");
            check(&format!("plain_upstreams = [\"{bad}\"]"), &[&told]);
        }
        check("server = \"aims.example:8445\"\nname = \"host-1.a_B\"", &[]);
        check("server = \"aims.example\"", &["`server`: `aims.example` is not a host and a port"]);
        for bad in ["", "a/b", "a b", "a+b"] {
            check(&format!("name = \"{bad}\""), &["`name` must have 1 to 128"]);
        }
        // All at once.
        check("port_base = 0\nhost = \"\"\nlisten = \"x\"", &["`port_base`", "`host`", "`listen`"]);
        let wimse = "scheme = \"wimse\"\nbroker = true\nspire_port = 7";
        check(wimse, &["`broker` is for peers", "`spire_port` is for peers"]);
        let bad = Settings::parse("trust_domain = \"Local_Example!\"").unwrap_err();
        assert!(bad.starts_with("`trust_domain`: "), "{bad}");
    }
}
