//! What clients ask users for, as stories over one world from one seed.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod house;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod pushes;
#[cfg(test)]
mod redeemed;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod strangers;
