//! What the process keeps from others on its machine: no core dumps, no look into its memory, no secrets in swap, no
//! secrets in what a panic says. Never decides whether to start: it says what could not be had.

mod kernel;

use std::{any::Any, backtrace::Backtrace, io::Write as _, panic::PanicHookInfo};

/// Why memory is not locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLocked {
    /// The process may not lock all that it will ever map: RLIMIT_MEMLOCK is finite and CAP_IPC_LOCK is missing.
    #[error("the limit of locked memory (RLIMIT_MEMLOCK) is finite, and CAP_IPC_LOCK is missing")]
    Limit,
    /// Not Linux.
    #[error("memory is locked on Linux only")]
    System,
}

/// The process could not be closed to others.
#[derive(Debug, thiserror::Error)]
#[error("core dumps could not be turned off")]
pub struct NotClosed(#[from] std::io::Error);

/// First thing in every command: each of them may come to hold secrets.
///
/// No core is written, neither as a file (RLIMIT_CORE) nor to a program that collects them, which heeds no limit
/// (`/proc/sys/kernel/core_pattern`; that is what PR_SET_DUMPABLE is for). Not dumpable also means that processes of
/// the same user cannot attach or read `/proc/PID/mem`, `environ` and `fd`. From here on a panic says where it
/// happened, and of its message only what stands in the source.
pub fn close() -> Result<(), NotClosed> {
    std::panic::set_hook(Box::new(told));
    kernel::close()?;
    Ok(())
}

/// Keeps all memory out of swap, what is mapped later too. Locks pages when they are first used, so that unused parts
/// of stacks cost nothing.
///
/// Only if no later allocation can fail for it: a limit that is reached while serving would end the process.
pub fn lock_memory() -> Result<(), NotLocked> {
    kernel::lock_memory()
}

/// One line about a panic, and its backtrace if RUST_BACKTRACE asks for one: names of functions and no values.
fn told(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let message = message(panic.payload());
    let backtrace = Backtrace::capture();
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, reason = message, "a thread panicked");
    } else {
        let _ = writeln!(std::io::stderr(), "a thread panicked at {place}: {message}");
    }
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        let _ = writeln!(std::io::stderr(), "{backtrace}");
    }
}

/// A message that was put together holds values: of an `expect`, what was unexpected; of a slice, the text it was cut from.
fn message(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("not shown, as it may hold what it is about")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    fn refused(text: &str) -> Result<(), String> {
        if text.is_empty() { Ok(()) } else { Err(text.to_owned()) }
    }

    #[test]
    fn of_a_panics_message_only_what_stands_in_the_source_is_told() {
        let secret = std::hint::black_box("canary-ü".to_owned());
        let told = |panics: &dyn Fn()| {
            let caught = catch_unwind(std::panic::AssertUnwindSafe(panics)).unwrap_err();
            message(&*caught)
        };
        assert_eq!(told(&|| panic!("a constant")), "a constant");
        let telling: [&dyn Fn(); 4] = [
            &|| panic!("refused: {secret}"),
            &|| drop(secret[..8].to_owned()),
            &|| assert_eq!(secret, "other"),
            &|| refused(&secret).expect("it is taken"),
        ];
        for panics in telling {
            assert!(!told(panics).contains("canary"));
        }
        // Something else altogether, such as what `resume_unwind` carries on.
        assert!(told(&|| std::panic::panic_any(secret.clone())).starts_with("not shown"));
    }
}
