//! An operator makes a join token: one host or gateway, once, in time.

use attestation::join_token::JoinToken;
use attestation::mechanism::Role;
use env::{Change, Entropy, Expect, Recorded, Store, Unavailable, World, Write};
use identifier::AgentName;
use jose::TokenHash;
use monitoring::Event;
use time::Span;

use crate::facts::basis;
use crate::issuing;
use crate::record::begin;
use crate::turns::{Operator, overtaken, settled};

/// The longest life of a join token, in seconds.
pub const LIFE_SECONDS_MAX: u64 = 86_400;

/// A join token as it is shown, once. Whoever has it can join as a host.
pub struct Shown {
    text: String,
    /// What the server keeps of it.
    pub kept: JoinToken,
}

impl Shown {
    /// The token, to be given to the host.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shown(join token for a {})", self.kept.role.name())
    }
}

/// Makes a token that lives `life`, at most a day.
pub async fn create<W: World>(
    world: &W,
    operator: &Operator,
    role: Role,
    name: Option<AgentName>,
    life: Span,
) -> Result<Recorded<Shown>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let now = issuing::now(world, &facts)?;
    let life = life.min(Span::from_seconds(LIFE_SECONDS_MAX));
    let text = TokenHash::from_bytes(world.entropy().secret()).to_base64url();
    let kept = JoinToken {
        hash: hash_of(&text),
        role,
        name: name.map(String::from),
        created: now,
        expires: now.plus(life),
        used: None,
    };
    let mut record = begin(world, Event::JoinTokenCreated);
    record.operator = Some(operator.0.clone());
    record.resource = kept.name.clone();
    record.facts = serde_json::json!({
        "role": role, "expires": kept.expires.to_string(), "token_sha256": kept.hash,
    });
    let writes = vec![Write::put(&kept, Expect::Absent)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    let receipt = settled(world.store().commit(change).await)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(Shown { text, kept }, &receipt))
}

/// What a token is stored and looked up by.
pub fn hash_of(token: &str) -> String {
    TokenHash::of(&format!("aims join token\0{token}")).to_base64url()
}
