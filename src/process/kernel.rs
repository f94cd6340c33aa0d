//! What the kernel is asked for. Says what it refused, and decides nothing.

use super::{NotClosed, NotLocked};
use rustix::process::{Resource, Rlimit, setrlimit};

pub(super) fn close() -> Result<(), NotClosed> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(std::io::Error::from)?;
    undumpable()
}

#[cfg(target_os = "linux")]
fn undumpable() -> Result<(), NotClosed> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(std::io::Error::from)?)
}

#[cfg(target_os = "linux")]
pub(super) fn lock_memory() -> Result<(), NotLocked> {
    use rustix::{
        mm::{MlockAllFlags, mlockall},
        process::getrlimit,
    };
    let Rlimit { current: before, maximum: most } = getrlimit(Resource::Memlock);
    // With a limit of zero the kernel locks for those only whom no limit binds: asking it is surer than reading
    // capabilities, which mean less inside a user namespace.
    let trial = if most.is_none() { None } else { Some(0) };
    let limit = |current| setrlimit(Resource::Memlock, Rlimit { current, maximum: most });
    limit(trial).map_err(|_| NotLocked::Limit)?;
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
    if most.is_some() {
        limit(before).map_err(|_| NotLocked::Limit)?;
    }
    locked.map_err(|_| NotLocked::Limit)
}

#[cfg(not(target_os = "linux"))]
fn undumpable() -> Result<(), NotClosed> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lock_memory() -> Result<(), NotLocked> {
    Err(NotLocked::System)
}
