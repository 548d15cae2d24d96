//! What stands between a client's request for a user and the answer, as it is stored.

use authorization::interaction::{Interaction, KEPT, Pushed};

use crate::store::Table;

entity!(
    Pushed, Table::Pushed, one => one.hash.clone(),
    Vec::new(),
    Some(one.kept_until())
);

entity!(
    Interaction, Table::Interactions, one => one.hash.clone(),
    Vec::new(),
    Some(one.until.plus(KEPT))
);
