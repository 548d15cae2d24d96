//! The parts of AIMS put together into processes
//! (<https://datatracker.ietf.org/doc/draft-klrc-aiagent-auth/> is the system they make): what each
//! component is made of, in which order it starts and stops, and the doors of its world.
//!
//! In scope: opening stores, logs, keys and listeners, and handing them to each other. Not here:
//! any decision (`stack`), the order of a request (`flow`), the command line (`bin/aims`).

pub mod after;
mod agenda;
pub mod brokers;
pub mod checks;
pub mod devid;
pub mod evidence;
pub mod federation;
pub mod gate;
pub mod gateway;
pub mod journal;
pub mod key_place;
pub mod layout;
pub mod lock;
pub mod logs;
pub mod node;
pub mod outside;
pub mod platform_attestors;
pub mod platforms;
pub mod prepare;
pub mod published;
pub mod reassessment;
pub mod retention;
pub mod run_socket;
pub mod server;
#[cfg(test)]
mod settings_page;
pub mod starter;
pub mod stories;
pub mod superior;
pub mod tls;
pub mod up;
mod web;
pub mod workloads;
pub mod world;
