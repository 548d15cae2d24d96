//! Which human is asked (AUTHZ-31): policy says, and only who is in force is.

use approval::{Ask, Whom};
use env::rows::{email_handle, role_handle};
use env::{Entity, Index, Key, Store, Unavailable, World};
use people::standing;
use registry::{UserName, UserRecord};

use crate::Refusal;

/// The person of that identifier, if they are in force.
pub(crate) async fn person<W: World>(
    world: &W,
    id: &str,
) -> Result<Result<UserRecord, Refusal>, Unavailable> {
    let found = world.store().snapshot(&[Key::of::<UserRecord>(id)]).await?;
    Ok(match found.get::<UserRecord>(id)? {
        None => Err(Refusal::UnknownUser("there is nobody".to_owned())),
        // docs/past-defects.md 9: who is disabled is not asked either.
        Some(user) => match standing::active(&user) {
            Ok(()) => Ok((*user.value).clone()),
            Err(why) => Err(Refusal::UnknownUser(why.to_string())),
        },
    })
}

/// The person whom a `login_hint` means: an identifier, a name, or an address that one person has.
pub(crate) async fn hinted<W: World>(
    world: &W,
    hint: &str,
) -> Result<Result<UserRecord, Refusal>, Unavailable> {
    let name = UserName::of_id(hint).or_else(|| UserName::parse(hint).ok());
    if let Some(name) = name {
        return person(world, &name.id()).await;
    }
    if !hint.contains('@') {
        return Ok(Err(Refusal::UnknownUser("it names nobody".to_owned())));
    }
    let (table, handle) = (UserRecord::TABLE, email_handle(hint));
    let found = world.store().scan(table, Index::Handle, &handle, None, 2).await?;
    match found.rows.as_slice() {
        [one] => person(world, &one.key.id).await,
        _ => Ok(Err(Refusal::UnknownUser("not one person has that address".to_owned()))),
    }
}

/// Who is asked about what is done in the name of `subject` by an agent of `owner`.
pub async fn of_policy<W: World>(
    world: &W,
    ask: &Ask,
    subject: &str,
    owner: &str,
) -> Result<Result<Whom, Refusal>, Unavailable> {
    let nobody = |what: &str| Err(Refusal::NobodyToAsk(what.to_owned()));
    match ask {
        Ask::Role(role) => Ok(Ok(Whom::Role(role.clone()))),
        Ask::Subject => match UserName::of_id(subject) {
            None => Ok(nobody("no person stands behind this")),
            Some(name) => Ok(person(world, &name.id()).await?.map(|user| Whom::User(user.id()))),
        },
        // An owner is a person by their identifier, or else a team: a role that people have.
        Ask::Owner => match UserName::of_id(owner) {
            Some(name) => Ok(person(world, &name.id()).await?.map(|user| Whom::User(user.id()))),
            None if owner.is_empty() => Ok(nobody("the agent has no owner")),
            None => Ok(Ok(Whom::Role(owner.to_owned()))),
        },
    }
}

/// Under what the questions of somebody are found.
pub(crate) fn handle(whom: &Whom) -> Option<String> {
    match whom {
        Whom::User(user) => Some(user.clone()),
        Whom::Role(role) => Some(role_handle(role)),
        Whom::Typed => None,
    }
}
