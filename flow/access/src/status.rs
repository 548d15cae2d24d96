//! Status lists (draft-ietf-oauth-status-list-20): resource servers that can do no better than read
//! signed tokens by themselves see within a second which of them ended.
//!
//! A place is a row, committed with the record of its token; what the list says of it is looked up
//! when the list is read, by the same check as every other endpoint makes of a token, so that there
//! is no end that the list could miss.

use authorization::presented::Presented;
use authorization::status::{self, Place};
use credential::{KeyRing, Purpose};
use env::rows::StatusEntry;
use env::{Entity, Entropy, Index, Key, Store, Unavailable, World};
use oauth::Issuer;
use time::UnixTime;

use crate::facts::basis;
use crate::sign::{self, ALGORITHM};
use crate::token::ring;
use crate::{issuing, shown};

/// Rows of a page.
const PAGE: usize = 512;
/// Bytes of the name of a list.
const NAME_BYTES_MAX: usize = 32;

/// A place for a new token.
pub(crate) fn place<W: World>(world: &W, now: UnixTime) -> Place {
    Place::drawn(&world.entropy().public(), now)
}

/// The list of that name, signed; `None` where there is none, or none any more.
pub async fn list<W: World>(world: &W, name: &str) -> Result<Option<String>, Unavailable> {
    if name.len() > NAME_BYTES_MAX {
        return Ok(None);
    }
    let facts = basis(world, vec![Key::of::<KeyRing>(Purpose::AccessToken.name())]).await?;
    let now = issuing::now(world, &facts)?;
    let issuer =
        Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))?;
    let (mut invalid, mut after, mut found) = (Vec::new(), None::<String>, 0);
    loop {
        let (table, index) = (StatusEntry::TABLE, Index::Handle);
        let page = world.store().scan(table, index, name, after.as_deref(), PAGE).await?;
        found += page.rows.len();
        for row in &page.rows {
            let read = row.value::<StatusEntry>();
            let read = read.map_err(|error| Unavailable::of("store", error))?;
            let Some(entry) = read else { continue };
            // What expired needs no word, and one that does not read counts for nothing.
            let counts = match Presented::of_opaque(entry.claims.clone(), &issuer, now) {
                Ok(token) => shown::still_counts(world, &token).await?.is_ok(),
                Err(_) => false,
            };
            invalid.extend((!counts).then_some(entry.index));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if found == 0 {
        return Ok(None);
    }
    let ring = ring(&facts, Purpose::AccessToken)?;
    let key = sign::signer(&ring, now)?;
    let uri = Place::uri(name, issuer.as_str());
    let checked = status::build(&uri, &invalid, ALGORITHM, &key.kid, now);
    let checked = checked.map_err(|fault| Unavailable::of("keys", fault))?;
    let token = sign::token(world, &sign::handle(Purpose::AccessToken, key), checked).await?;
    Ok(Some(token.expose().to_owned()))
}
