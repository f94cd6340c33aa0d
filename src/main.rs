//! The program: sets up the process, hands the arguments to the command line, ends with its exit code.

use bursar::{
    cli::{self, Console},
    clock::{Clock, SystemClock},
    process,
};
use std::process::ExitCode;

fn main() -> ExitCode {
    // An error here only says that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut console = Console::of_process(now);
    if let Err(error) = process::close() {
        return cli::fail(&mut console, error.into()).into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(&mut console, error.into()).into(),
    };
    let exit = runtime.block_on(cli::run(std::env::args_os(), &mut console));
    // What may end late, such as a read of standard input, does not hold the process.
    runtime.shutdown_background();
    exit.into()
}

fn now() -> prost_types::Timestamp {
    let now = SystemClock.now();
    prost_types::Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(now.0 % 1000).unwrap_or(0) * 1_000_000,
    }
}
