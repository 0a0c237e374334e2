//! The `fmip-ctl` binary.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
