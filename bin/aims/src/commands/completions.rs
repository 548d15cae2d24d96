//! `aims completions SHELL`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::commands::Context;
use crate::exit::Failure;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aims completions bash > ~/.bash_completion.d/aims")]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions.
pub(crate) fn run(context: &Context, args: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "aims", &mut script);
    context.output.text(&String::from_utf8_lossy(&script))
}
