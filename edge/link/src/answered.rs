//! Answers: what the server decided, to the wire and back. A client reads them as strictly as a
//! server its requests: a wrong answer is a fault of the server, and nothing is done with it.

use credential::TokenText;
use env::{AssignedCredential, Delegation, PeerFault, Recorded, Renewed, Seq, Table, Unavailable};
use flow::feed::{Message, Sent};
use jose::KeyId;
use spiffe::Bundle;
use time::UnixTime;
use wimse::WorkloadId;
use x509::{CERTIFICATE_BYTES_MAX, CHAIN_CERTIFICATES_MAX};

use crate::{PART_BYTES, wire};

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// The longest challenge, in bytes.
const CHALLENGE_BYTES_MAX: usize = 64 * 1024;

/// What a host that joined got.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its identifier.
    pub id: WorkloadId,
    /// Its certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The newest bundle of our trust domain.
    pub bundle: Bundle,
}

/// The refusal of a flow, as it is told to a component of ours.
pub(crate) fn refused<T, R: std::fmt::Display>(
    recorded: &Recorded<Result<T, R>>,
    refusal: &R,
    check: &str,
) -> wire::Refused {
    let audit = recorded.audit_id().map(|id| id.to_string()).unwrap_or_default();
    wire::Refused { check: check.to_owned(), message: refusal.to_string(), audit }
}

pub(crate) fn issued_to_wire(credential: &AssignedCredential) -> wire::issue_response::Outcome {
    use wire::issue_response::Outcome;
    match credential {
        AssignedCredential::X509 { chain } => {
            Outcome::X509(wire::Chain { certificates: chain.clone() })
        }
        AssignedCredential::Wit { token } => {
            Outcome::Wit(wire::SignedToken { token: token.expose().to_owned(), expires: 0 })
        }
        AssignedCredential::Jwt { token, expires } => Outcome::Jwt(wire::SignedToken {
            token: token.expose().to_owned(),
            expires: expires.millis(),
        }),
    }
}

pub(crate) fn issued(sent: wire::IssueResponse) -> Result<AssignedCredential, PeerFault> {
    use wire::issue_response::Outcome;
    match sent.outcome.ok_or_else(|| senseless("no outcome"))? {
        Outcome::X509(sent) => Ok(AssignedCredential::X509 { chain: chain(sent.certificates)? }),
        Outcome::Wit(sent) => Ok(AssignedCredential::Wit { token: token(sent)? }),
        Outcome::Jwt(sent) => {
            let expires = UnixTime::from_millis(sent.expires);
            Ok(AssignedCredential::Jwt { token: token(sent)?, expires })
        }
        Outcome::Refused(refused) => Err(refusal(refused)),
    }
}

pub(crate) fn renewed(sent: wire::RenewResponse) -> Result<Renewed, PeerFault> {
    use wire::renew_response::Outcome;
    match sent.outcome.ok_or_else(|| senseless("no outcome"))? {
        Outcome::Renewed(sent) => Ok(Renewed { chain: chain(sent.certificates)? }),
        Outcome::Refused(refused) => Err(refusal(refused)),
    }
}

pub(crate) fn delegated(sent: wire::DelegateResponse) -> Result<Delegation, PeerFault> {
    use wire::delegate_response::Outcome;
    match sent.outcome.ok_or_else(|| senseless("no outcome"))? {
        Outcome::Delegation(sent) => Ok(Delegation {
            kid: KeyId::parse(&sent.kid).map_err(senseless)?,
            until: UnixTime::from_millis(sent.until),
        }),
        Outcome::Refused(refused) => Err(refusal(refused)),
    }
}

pub(crate) fn token_answer(mut sent: wire::TokenResponse) -> Result<(u16, Vec<u8>), PeerFault> {
    let status = u16::try_from(sent.status).map_err(senseless)?;
    Ok((status, std::mem::take(&mut sent.body)))
}

pub(crate) fn challenge(sent: Vec<u8>) -> Result<Vec<u8>, PeerFault> {
    if sent.len() > CHALLENGE_BYTES_MAX {
        return Err(senseless(format!("a challenge of {} bytes", sent.len())));
    }
    Ok(sent)
}

pub(crate) fn joined(sent: wire::Joined) -> Result<Joined, PeerFault> {
    Ok(Joined {
        id: WorkloadId::parse(&sent.id).map_err(senseless)?,
        chain: chain(sent.chain)?,
        bundle: Bundle::parse(&sent.bundle).map_err(senseless)?,
    })
}

pub(crate) fn refusal(refused: wire::Refused) -> PeerFault {
    let wire::Refused { check, message, audit } = refused;
    tracing::info!(%check, %message, %audit, "node api: refused by the server");
    PeerFault::Refused { check, message }
}

/// A message in parts of about [`PART_BYTES`], the last one with its position.
pub(crate) fn message_to_wire(message: Message) -> Vec<wire::FeedMessage> {
    let mut parts = Vec::new();
    let (mut rows, mut bytes) = (Vec::new(), 0_usize);
    for Sent { table, id, bytes: contents } in message.rows {
        let size = contents.as_ref().map_or(0, Vec::len);
        if !rows.is_empty() && bytes.saturating_add(size) > PART_BYTES {
            let rows = std::mem::take(&mut rows);
            parts.push(wire::FeedMessage { rows, partial: true, ..wire::FeedMessage::default() });
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        rows.push(wire::Row { table: table.name().to_owned(), id, contents });
    }
    let (seq, anew) = (message.seq.0, message.anew);
    parts.push(wire::FeedMessage { rows, seq, anew, partial: false });
    parts
}

/// The last part of a message, and the rows of those before.
pub(crate) fn message(rows: Vec<Sent>, last: &wire::FeedMessage) -> Message {
    Message { rows, seq: Seq(last.seq), anew: last.anew }
}

pub(crate) fn rows(sent: Vec<wire::Row>) -> Result<Vec<Sent>, PeerFault> {
    let row = |row: wire::Row| {
        let unknown = || senseless(format!("no table `{}`", row.table));
        let table = Table::parse(&row.table).ok_or_else(unknown)?;
        Ok(Sent { table, id: row.id, bytes: row.contents })
    };
    sent.into_iter().map(row).collect()
}

/// An answer that makes no sense.
pub(crate) fn senseless(why: impl std::fmt::Display) -> PeerFault {
    Unavailable::of("server", format!("the answer does not read: {why}")).into()
}

fn chain(sent: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, PeerFault> {
    let fits = |der: &Vec<u8>| !der.is_empty() && der.len() <= CERTIFICATE_BYTES_MAX;
    if sent.is_empty() || sent.len() > CHAIN_CERTIFICATES_MAX || !sent.iter().all(fits) {
        return Err(senseless(format!("a chain of {} certificates", sent.len())));
    }
    Ok(sent)
}

fn token(mut sent: wire::SignedToken) -> Result<TokenText, PeerFault> {
    let bytes = sent.token.len();
    if bytes == 0 || bytes > TOKEN_BYTES_MAX {
        return Err(senseless(format!("a token of {bytes} bytes")));
    }
    Ok(TokenText::new(std::mem::take(&mut sent.token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(fault: &PeerFault) -> String {
        match fault {
            PeerFault::Unavailable(fault) => fault.why.clone(),
            PeerFault::Refused { check, message } => format!("{check}: {message}"),
        }
    }

    #[test]
    fn a_credential_survives_the_wire() {
        let token = TokenText::new("a.b.c");
        let expires = UnixTime::from_millis(1_234);
        for credential in [
            AssignedCredential::X509 { chain: vec![vec![1], vec![2]] },
            AssignedCredential::Wit { token: token.clone() },
            AssignedCredential::Jwt { token: token.clone(), expires },
        ] {
            let outcome = Some(issued_to_wire(&credential));
            match (issued(wire::IssueResponse { outcome }).unwrap(), credential) {
                (AssignedCredential::X509 { chain: read }, AssignedCredential::X509 { chain }) => {
                    assert_eq!(read, chain)
                }
                (AssignedCredential::Wit { token: read }, AssignedCredential::Wit { .. }) => {
                    assert!(read == token);
                }
                (
                    AssignedCredential::Jwt { token: read, expires: ends },
                    AssignedCredential::Jwt { .. },
                ) => assert!(read == token && ends == expires),
                (read, _) => panic!("{read:?}"),
            }
        }
    }

    #[test]
    fn senseless_answers_are_faults_of_the_server() {
        use wire::issue_response::Outcome;
        let check = |outcome: Option<Outcome>, expect: &str| {
            let told = why(&issued(wire::IssueResponse { outcome }).unwrap_err());
            assert!(told.contains(expect), "{told}");
        };
        let chain = |certificates| Some(Outcome::X509(wire::Chain { certificates }));
        let token = |bytes| wire::SignedToken { token: "t".repeat(bytes), expires: 0 };
        check(None, "no outcome");
        check(chain(vec![]), "a chain of 0");
        check(chain(vec![vec![]]), "a chain of 1");
        check(chain(vec![vec![1]; CHAIN_CERTIFICATES_MAX + 1]), "a chain of 7");
        check(chain(vec![vec![1; CERTIFICATE_BYTES_MAX + 1]]), "a chain of 1");
        check(Some(Outcome::Wit(token(0))), "a token of 0");
        check(Some(Outcome::Jwt(token(TOKEN_BYTES_MAX + 1))), "a token of 65537");
        let refused = wire::Refused {
            check: "issue::Node".to_owned(),
            message: "no".to_owned(),
            audit: String::new(),
        };
        check(Some(Outcome::Refused(refused)), "issue::Node: no");
        assert!(why(&challenge(vec![0; CHALLENGE_BYTES_MAX + 1]).unwrap_err()).contains("65537"));
        let row = wire::Row { table: "nobody".to_owned(), ..wire::Row::default() };
        assert!(why(&rows(vec![row]).unwrap_err()).contains("no table `nobody`"));
    }

    #[test]
    fn a_large_message_goes_in_parts() {
        let sent = |count: usize, size: usize| Message {
            rows: (0..count)
                .map(|at| Sent {
                    table: Table::Agents,
                    id: at.to_string(),
                    bytes: (at > 0).then(|| vec![7; size]),
                })
                .collect(),
            seq: Seq(9),
            anew: true,
        };
        let check = |count, size, expect: &[usize]| {
            let parts = message_to_wire(sent(count, size));
            let found: Vec<_> = parts.iter().map(|part| part.rows.len()).collect();
            assert_eq!(found, expect, "{count} rows of {size}");
            let (last, before) = parts.split_last().unwrap();
            assert!(before.iter().all(|part| part.partial && part.seq == 0));
            let all = parts.iter().flat_map(|part| rows(part.rows.clone()).unwrap()).collect();
            let whole = message(all, last);
            assert_eq!((whole.rows.len(), whole.seq, whole.anew), (count, Seq(9), true));
            assert_eq!(whole.rows.first().and_then(|row| row.bytes.clone()), None);
        };
        check(3, 10, &[3]);
        check(5, PART_BYTES / 2, &[3, 2]);
        check(3, PART_BYTES * 2, &[1, 1, 1]);
        let empty = message_to_wire(sent(0, 0));
        assert_eq!((empty.len(), empty.first().map(|part| part.rows.len())), (1, Some(0)));
    }
}
