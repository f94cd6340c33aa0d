//! A root folder as an image and its volumes make it, and a process in it.

use super::{GROUP, USER};
use crate::support::until;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

const PROGRAM: &str = "usr/local/bin/bursar";

/// In namespaces of mounts of its own: the root bound to itself and made read-only, with `/proc` as runtimes give it and
/// the volume on top. Everything else is gone with `chroot`, and privileges with the change of the user.
const ENTER: &str = r#"
set -eu
root=$1 data=$2 volume=$3 user=$4 group=$5
mount --bind "$root" "$root"
mount --bind /proc "$root/proc"
mount --bind "$data" "$root/var/lib/bursar"
[ "$volume" = writable ] || mount -o remount,bind,ro "$root/var/lib/bursar"
mount -o remount,bind,ro "$root"
if [ "$6" = root ]; then
  exec setpriv --no-new-privs chroot --userspec="$user:$user" --groups="$group" "$root" \
    /usr/local/bin/bursar serve --config /etc/bursar/bursar.toml
fi
exec setpriv --no-new-privs unshare --user --map-user="$user" --map-group="$user" --root="$root" \
  /usr/local/bin/bursar serve --config /etc/bursar/bursar.toml
"#;

/// What of a volume the process may do.
#[derive(Clone, Copy)]
pub(super) enum Volume {
    Writable,
    ReadOnly,
}

pub(super) struct Root {
    folder: tempfile::TempDir,
}

pub(super) struct Running {
    child: Child,
    prints: tempfile::TempDir,
}

impl Root {
    /// With the program and what it is linked to, and nothing else.
    pub(super) fn new(program: &str) -> Self {
        let root = Self { folder: tempfile::tempdir().unwrap() };
        fs::set_permissions(root.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in
            ["image/proc", "image/etc/bursar", "image/var/lib/bursar", "image/usr/local/bin", "data"]
        {
            fs::create_dir_all(root.folder.path().join(folder)).unwrap();
        }
        if let Some(image) = std::env::var_os("BURSAR_IMAGE") {
            root.copy(&Path::new(&image).join("bursar"), PROGRAM);
        } else {
            root.copy(Path::new(program), PROGRAM);
            for library in libraries(program) {
                root.copy(&library, library.to_str().unwrap().trim_start_matches('/'));
            }
        }
        // Of the volume the kubelet makes the group the owner.
        let data = root.data();
        if we_are_root() {
            chown(&data, Some(0), Some(GROUP)).unwrap();
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(0o2770)).unwrap();
        root
    }

    fn copy(&self, from: &Path, to: &str) {
        let to = self.image().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &to).unwrap();
        fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// As Kubernetes mounts secrets with `defaultMode: 0440` and `fsGroup`; where files cannot be given away, for their
    /// owner, who is the process's user inside.
    pub(super) fn file(&self, path: &str, text: &str) {
        let path = self.image().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if we_are_root() {
            chown(&path, Some(0), Some(GROUP)).unwrap();
            0o440
        } else {
            0o400
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Files that the process made.
    pub(super) fn written(&self) -> Vec<String> {
        let (mut files, mut folders) = (Vec::new(), vec![self.data()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push(entry.path().display().to_string());
                }
            }
        }
        files
    }
}

impl Running {
    pub(super) fn start(root: &Root, volume: Volume) -> Self {
        let prints = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        let who = if we_are_root() {
            command.arg("--mount");
            "root"
        } else {
            // Root of nothing but these mounts, and then the other user.
            command.args(["--user", "--map-root-user", "--mount"]);
            "other"
        };
        let volume = match volume {
            Volume::Writable => "writable",
            Volume::ReadOnly => "read-only",
        };
        let numbers = [USER, GROUP].map(|id| id.to_string());
        command.args(["sh", "-c", ENTER, "enter"]).arg(root.image()).arg(root.data()).arg(volume);
        command.args(numbers).arg(who).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        let print = |name: &str| File::create(prints.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(print("out")).stderr(print("err"));
        Self { child: command.spawn().unwrap(), prints }
    }

    /// Where it listens.
    pub(super) async fn ready(&mut self) -> SocketAddr {
        let child = &mut self.child;
        let prints = self.prints.path();
        until("the broker is ready", || {
            let read = |name: &str| fs::read_to_string(prints.join(name)).unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("ended with {status} before it was ready:\n{}", read("err"));
            }
            std::future::ready(read("out").lines().any(|line| line == "ready").then_some(()))
        })
        .await;
        let logged = self.logged();
        let mut lines =
            logged.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let serving = lines.find(|line| line["message"] == "serving").unwrap();
        serving["address"].as_str().unwrap().parse().unwrap()
    }

    pub(super) fn logged(&self) -> String {
        fs::read_to_string(self.prints.path().join("err")).unwrap()
    }

    pub(super) fn terminate(&self) {
        let order = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &order]).status().unwrap().success());
    }

    pub(super) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the process ends", || std::future::ready(child.try_wait().unwrap())).await
    }

    /// `/proc/PID/status`, by field.
    pub(super) fn status(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    /// Its user (`uid`) or group (`gid`), as it sees that itself.
    pub(super) fn id(&self, kind: &str) -> u32 {
        if we_are_root() {
            let field = if kind == "uid" { "Uid" } else { "Gid" };
            let all: Vec<_> = self.status()[field].split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert!(all.iter().all(|id| *id == all[0]), "{all:?}");
            return all[0];
        }
        let map = fs::read_to_string(format!("/proc/{}/{kind}_map", self.child.id())).unwrap();
        map.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// What it sees of mounts below its root that are not read-only, but `/proc`.
    pub(super) fn writable_mounts(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.child.id())).unwrap();
        let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let writable = fields.filter(|fields| !fields[5].split(',').any(|option| option == "ro"));
        writable.map(|fields| fields[4].to_owned()).filter(|at| at != "/proc").collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn we_are_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// What the program is linked to, the loader among them.
fn libraries(program: &str) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}
