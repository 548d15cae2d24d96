//! Enrolment as stories, over one world from one seed.

#[cfg(test)]
mod again;
#[cfg(test)]
mod bound;
#[cfg(test)]
mod enrol;
#[cfg(test)]
mod maker;
