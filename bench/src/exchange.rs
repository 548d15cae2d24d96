//! Token exchange (RFC 8693): what an agent received becomes a token for what it needs.

use crate::Measured;
use crate::compare::{REQUESTS, Subject, compare};
use crate::installation::{Installation, now};
use crate::party::exchange;
use crate::signatures::Set;
use crate::token::asking;

/// What is asked for.
const SCOPE: &str = "tools.read";

/// By WIT and proof, with a subject token and an actor token.
pub(crate) async fn measure(all: &Installation) -> Measured {
    let subject = Subject {
        what: "token exchange with actor token, by WIT and proof",
        set: Set { verified: 4, made: 1 },
        least: Some(0.5),
        orientation: Some(2_500.0),
    };
    let (clerk, tools) = (&all.clerk, all.tools());
    let task = all.token(&all.other, &clerk.id, SCOPE).await?;
    let own = all.token(clerk, &tools, SCOPE).await?;
    let prepare = || {
        let ask = || clerk.by_wit(exchange(&task, &own, &tools, SCOPE)?, all.issuer(), now());
        (0..REQUESTS).map(|_| ask()).collect()
    };
    let server = all.server();
    Ok(vec![compare(&subject, prepare, asking(&server)).await?])
}
