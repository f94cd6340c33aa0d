//! What the kernel knows of this process, under the names that every Prometheus client uses.

use std::fs;

/// The kernel's clock ticks a second, in which it counts time: 100 on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// As it is now. What cannot be read is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    /// Since 1970, in seconds.
    pub(super) started: f64,
    pub(super) processor_seconds: f64,
    pub(super) resident_bytes: u64,
}

impl Process {
    pub(super) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::parsed(&read("/proc/self/stat"), &read("/proc/self/status"), &read("/proc/stat"))
    }

    /// Of `proc_pid_stat(5)`, `proc_pid_status(5)` and `proc_stat(5)`.
    fn parsed(stat: &str, status: &str, machine: &str) -> Self {
        // The name, in parentheses, may hold spaces; the fields after it count from 3.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |number: usize| -> f64 {
            fields.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let booted = machine.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let resident = resident.and_then(|kibibytes| kibibytes.parse::<u64>().ok());
        Self {
            started: booted.map_or(0.0, |booted: f64| booted + ticks(22) / TICKS),
            processor_seconds: (ticks(14) + ticks(15)) / TICKS,
            resident_bytes: resident.unwrap_or_default() * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "4242 (a (strange) name) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 8 0 12345 999 888 0";
        let found = Process::parsed(stat, "Name: x\nVmRSS:\t    1284 kB\n", "cpu 1 2\nbtime 1700000000\n");
        let want = Process { started: 1_700_000_123.45, processor_seconds: 3.0, resident_bytes: 1284 * 1024 };
        assert_eq!(found, want);
        assert_eq!(Process::parsed("", "", ""), Process::default());
    }

    #[test]
    fn this_process_has_memory_and_was_started() {
        let now = Process::now();
        assert!(now.resident_bytes > 1_000_000 && now.started > 1_600_000_000.0, "{now:?}");
    }
}
