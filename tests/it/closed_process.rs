//! What others on the same machine get to see of a running broker: no core, no memory, nothing in swap. Asked of the
//! kernel about real processes, by an account without privileges wherever this test may change to one.

use crate::support::{
    process::PROGRAM,
    scene::{Place, Scene, Settings},
    until,
};
use std::{
    fs,
    os::unix::{
        fs::MetadataExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The account `nobody`.
const NOBODY: u32 = 65_534;
const ABORTED: i32 = 6;
/// CAP_IPC_LOCK, as a bit of `CapEff`.
const IPC_LOCK: u64 = 1 << 14;

/// A broker under limits of a shell's making.
struct Closed {
    child: Child,
    folder: PathBuf,
}

/// Who runs it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Account {
    Own,
    /// `nobody` if that can be had, else our own.
    Unprivileged,
}

impl Closed {
    /// `bursar serve` after the shell's `limits`, its prints in files of `folder`.
    fn start(scene: &Scene, account: Account, limits: &str, lock: &str) -> Self {
        let folder = scene.path(lock);
        fs::create_dir_all(&folder).unwrap();
        if scene.path("bursar").exists() {
            fs::remove_file(scene.path("bursar")).unwrap();
        }
        let config = scene.config("one", &Place::Embedded);
        let program = scene.path("bursar");
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limits}; exec \"$0\" serve --config \"$1\"")])
            .arg(&program)
            .arg(&config);
        command.env("BURSAR_PROCESS_MEMORY_LOCK", lock).current_dir(&folder).stdin(Stdio::null());
        command.stdout(fs::File::create(folder.join("out")).unwrap());
        command.stderr(fs::File::create(folder.join("err")).unwrap());
        if account == Account::Unprivileged && we_are_root() {
            let given = Command::new("chown")
                .args(["-R", &format!("{NOBODY}:{NOBODY}")])
                .arg(scene.path(""))
                .status();
            assert!(given.unwrap().success());
            command.uid(NOBODY).gid(NOBODY);
        }
        // Where `nobody` can reach it; linked only now, so that the program itself keeps its owner.
        if !program.exists() {
            fs::hard_link(PROGRAM, &program).or_else(|_| fs::copy(PROGRAM, &program).map(drop)).unwrap();
        }
        Self { child: command.spawn().unwrap(), folder }
    }

    async fn ready(&mut self) {
        until("the broker is ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{status}: {}", self.logged());
            }
            std::future::ready(self.print("out").contains("ready\n").then_some(()))
        })
        .await;
    }

    fn print(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap()
    }

    fn logged(&self) -> String {
        self.print("err")
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    /// A line of `/proc/PID/status`, in KiB.
    fn kibibytes(&self, field: &str) -> u64 {
        number(&fs::read_to_string(self.proc("status")).unwrap(), field)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn we_are_root() -> bool {
    fs::metadata("/proc/self/status").unwrap().uid() == 0
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stderr(Stdio::null());
    command
}

/// `None` where not even a shell leaves a core behind, and so nothing can be told apart.
fn a_shell_dumps_core(folder: &Path) -> Option<()> {
    let status = sh("ulimit -c unlimited; kill -ABRT $$").current_dir(folder).status().unwrap();
    for core in cores(folder) {
        fs::remove_file(core).unwrap();
    }
    status.core_dumped().then_some(())
}

fn cores(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("core")).collect()
}

#[tokio::test]
async fn nobody_looks_into_a_running_broker_and_its_crash_leaves_no_core() {
    let scene = Scene::new(Settings::default()).await;
    let mut broker = Closed::start(&scene, Account::Unprivileged, "ulimit -c unlimited 2>/dev/null", "try");
    let control = a_shell_dumps_core(&broker.folder);
    broker.ready().await;
    let limits = fs::read_to_string(broker.proc("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What is not dumpable belongs to root in /proc, whoever runs it: the same account may not attach to it.
    assert_eq!(fs::metadata(broker.proc("mem")).unwrap().uid(), 0);
    let runs_as = number(&fs::read_to_string(broker.proc("status")).unwrap(), "Uid");
    if runs_as == 0 {
        println!("run by root and unable to change the account: whose /proc/PID/mem is says nothing here");
    } else {
        let peek = |file: &str| {
            let mut look = sh("head -c 1 \"$0\" >/dev/null");
            look.arg(broker.proc(file));
            if we_are_root() {
                look.uid(NOBODY).gid(NOBODY);
            }
            look.status().unwrap().success()
        };
        assert!(peek("status"), "the control: what anybody may read");
        assert!(!peek("environ") && !peek("mem") && !peek("maps"), "its own account can read its memory");
    }
    assert!(sh(&format!("kill -ABRT {}", broker.child.id())).status().unwrap().success());
    let status = broker.child.wait().unwrap();
    assert_eq!(status.signal(), Some(ABORTED));
    assert!(!status.core_dumped(), "a core was dumped");
    assert_eq!(cores(&broker.folder), Vec::<PathBuf>::new());
    println!("a shell dumps core here: {control:?}");
}

#[tokio::test]
async fn memory_is_locked_where_that_is_allowed_and_still_serves() {
    let scene = Scene::new(Settings::default()).await;
    let effective = fs::read_to_string("/proc/self/status").unwrap();
    let effective = effective.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let capable = u64::from_str_radix(effective, 16).unwrap() & IPC_LOCK != 0;
    let unlimited = sh("ulimit -l unlimited").status().unwrap().success();
    let limits = if unlimited { "ulimit -l unlimited" } else { "ulimit -l 64" };
    let mut broker = Closed::start(&scene, Account::Own, limits, "required");
    if !capable && !unlimited {
        assert_eq!(broker.child.wait().unwrap().code(), Some(1), "it started without what it requires");
        return println!("memory may not be locked here: it was refused");
    }
    broker.ready().await;
    let (locked, size) = (broker.kibibytes("VmLck"), broker.kibibytes("VmSize"));
    assert!(locked * 2 > size, "{locked} of {size} KiB are locked");
    let limit = fs::read_to_string(broker.proc("limits")).unwrap();
    println!("{locked} of {size} KiB locked; {}", limit.lines().find(|l| l.contains("locked")).unwrap());
}

#[tokio::test]
async fn without_leave_to_lock_memory_it_warns_once_or_refuses_when_told_to() {
    let scene = Scene::new(Settings::default()).await;
    for lock in ["try", "off", "required"] {
        let mut broker = Closed::start(&scene, Account::Unprivileged, "ulimit -l 64", lock);
        let mend = "LimitMEMLOCK=infinity";
        if lock == "required" {
            assert_eq!(broker.child.wait().unwrap().code(), Some(1), "{}", broker.logged());
            assert!(broker.logged().contains("process.memory_lock"), "{}", broker.logged());
            assert!(broker.logged().contains(mend), "{}", broker.logged());
            continue;
        }
        broker.ready().await;
        assert_eq!(broker.kibibytes("VmLck"), 0);
        let warned = broker.logged().lines().filter(|line| line.contains("memory is not locked")).count();
        assert_eq!(warned, usize::from(lock == "try"), "{}", broker.logged());
        assert_eq!(broker.logged().contains(mend), lock == "try");
    }
}
