//! The flows as stories, over one world from one seed.

#[cfg(test)]
mod about;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod algorithms;
#[cfg(test)]
mod attest;
#[cfg(test)]
mod authorities;
#[cfg(test)]
mod call;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod components;
#[cfg(test)]
mod confidential;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod delegates;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod ended;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod federate;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod issue;
#[cfg(test)]
mod join;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod published;
#[cfg(test)]
mod races;
#[cfg(test)]
mod reassess;
#[cfg(test)]
mod status;
#[cfg(test)]
mod superior;
#[cfg(test)]
mod token;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod workload;
