//! The metrics of the process, under the names that all Prometheus clients use: memory, descriptors, time.
//!
//! The figures come from `/proc`; on a system without `/proc` the series are absent. `tally` runs three
//! services in one process, and each of the three shows the figures of the whole process.
//!
//! **Invariant:** a scrape reads small files of the kernel only, and takes no lock.
//!
//! Read next: `service/telemetry.rs`, the other series of every service. Names:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::fs;

use super::metrics::{Metrics, UNKNOWN};

/// Clock ticks per second in `/proc`: Linux shows 100 on every processor (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;
const BYTES_PER_KIB: f64 = 1024.0;

/// Adds the figures of the process to `metrics`.
pub(super) fn show_process(metrics: &Metrics) {
    let gauge = |name, help, read: fn() -> Option<f64>| {
        metrics.computed_gauge(name, help, &[], move || read().unwrap_or(UNKNOWN));
    };
    gauge("process_resident_memory_bytes", "Resident memory of the process.", || memory("VmRSS:"));
    gauge("process_virtual_memory_bytes", "Virtual memory of the process.", || memory("VmSize:"));
    gauge("process_open_fds", "Open file descriptors of the process.", open_descriptors);
    gauge("process_max_fds", "Largest allowed number of open file descriptors.", max_descriptors);
    gauge("process_start_time_seconds", "Unix time of the start of the process.", start_time);
    let help = "Processor time that the process has used, in user and system mode.";
    metrics.computed_counter("process_cpu_seconds_total", help, &[], || cpu_seconds().unwrap_or(UNKNOWN));
}

/// Returns a line of `/proc/self/status`, such as `VmRSS:      3456 kB`, in bytes.
fn memory(label: &str) -> Option<f64> {
    Some(number_after(&fs::read_to_string("/proc/self/status").ok()?, label)? * BYTES_PER_KIB)
}

fn open_descriptors() -> Option<f64> {
    // One of the entries is the descriptor of the listing itself.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_descriptors() -> Option<f64> {
    // The soft limit stands before the hard limit; for "unlimited" the series is absent.
    number_after(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

fn start_time() -> Option<f64> {
    let boot = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    Some(boot + stat_field(22)? / TICKS_PER_SECOND)
}

fn cpu_seconds() -> Option<f64> {
    // Fields 14 and 15: ticks in user mode and in the kernel.
    Some((stat_field(14)? + stat_field(15)?) / TICKS_PER_SECOND)
}

/// Returns a field of `/proc/self/stat`, counted from 1 as in proc(5); a field from 3 on.
fn stat_field(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Field 2 is the name of the program in parentheses, which may have spaces and parentheses itself.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(number - 3)?.parse().ok()
}

/// Returns the first number behind `label` on the line that begins with `label`.
fn number_after(text: &str, label: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_this_process_are_plausible() {
        let (resident, size) = (memory("VmRSS:").unwrap(), memory("VmSize:").unwrap());
        assert!(resident > 100_000.0 && resident < size, "{resident} of {size}");
        let (open, most) = (open_descriptors().unwrap(), max_descriptors().unwrap());
        assert!(open >= 3.0 && open < most, "{open} of {most}");
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let started = start_time().unwrap();
        // A day: tests of a minute, on a machine whose clock was set meanwhile.
        assert!((now - started).abs() < 86_400.0, "{started} is not before {now}");
        assert!(cpu_seconds().unwrap() >= 0.0);
    }
}
