//! The `file-recycler` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    file_recycler::cli::main()
}
