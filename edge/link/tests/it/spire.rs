//! SPIRE's server API as an agent of SPIRE 1.15 speaks it, by bytes.

mod agent;
mod entries;
mod frames;
mod joining;
mod nested;
mod refusals;
