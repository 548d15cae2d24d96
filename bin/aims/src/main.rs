//! AIMS, the Agent Identity Management System: one binary that reads the command line, runs what it
//! asks for and says how it ended.
//!
//! In scope: the command line, and the wiring of crates into processes. Not here: what is allowed
//! (`stack`), what happens in which order (`flow`), the protocols (`edge`, `spec`).

mod cli;
mod commands;
mod demo;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;
use reach::{asked, base64, exit, files, http1, https, identity, output, place, span};

use crate::cli::Cli;
use crate::commands::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Place;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(asked::arguments(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: they go to stdout, with exit code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let output = Output::new(cli.common.output);
    let context = Context { place: Place::new(&cli.common.dir), output };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli.command, &context)),
        Err(error) => Err(Failure::unavailable(format!("no runtime: {error}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.fail(&failure);
            failure.code()
        }
    }
}
