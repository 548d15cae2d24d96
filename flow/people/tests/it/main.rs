//! People as stories, over one world from one seed.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod company;
#[cfg(test)]
mod house;
#[cfg(test)]
mod leave;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod passkeys;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sign_in;
#[cfg(test)]
mod upstream;
