//! What the operating system says of this process, by the names that Prometheus's own libraries use; and the lines
//! that the log held back. Read when somebody asks. Where there is no `/proc`, its figures are left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use time::OffsetDateTime;

use crate::logging;

/// The kernel counts time for programs in hundredths of a second, on every machine that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    began: f64,
}

impl Process {
    /// It began at this time.
    pub(super) fn began(at: OffsetDateTime) -> Self {
        Self { began: (at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let of = &mut encoder;
        gauge(of, "process_start_time_seconds", "When the process began, in seconds since 1970", self.began)?;
        if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat))
        {
            counter(of, "process_cpu_seconds", "Processor time, in seconds", seconds)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = kib(&status, "VmRSS:") {
            gauge(of, "process_resident_memory_bytes", "Memory in use, in bytes", bytes)?;
        }
        if let Some(bytes) = kib(&status, "VmSize:") {
            gauge(of, "process_virtual_memory_bytes", "Address space, in bytes", bytes)?;
        }
        if let Some(threads) = field(&status, "Threads:") {
            gauge(of, "process_threads", "Threads", threads)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // Less the one that the look itself needs.
            let open = open.count().saturating_sub(1) as u64;
            gauge(of, "process_open_fds", "Open file descriptors", open)?;
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(most) = field(&limits, "Max open files") {
            gauge(of, "process_max_fds", "Most open file descriptors", most)?;
        }
        Ok(())
    }
}

/// Lines that the log's bound held back.
#[derive(Debug)]
pub(super) struct HeldBack;

impl Collector for HeldBack {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Lines that the log held back, since too many came from one place";
        counter(&mut encoder, "log_lines_held_back", help, logging::held_back())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

fn counter(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: impl EncodeCounterValue,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value).encode(metric)
}

/// The number behind a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn kib(text: &str, name: &str) -> Option<u64> {
    Some(field(text, name)? * 1_024)
}

/// User and system time: the 14th and 15th field. The second is the program's name in brackets, with anything in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_with_brackets_and_spaces_moves_no_field() {
        let stat = "7 (a) R 1) (b) S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 99 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }

    #[test]
    fn figures_are_found_by_their_names() {
        assert_eq!(kib("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1_024));
        assert_eq!(
            field("Max processes 5 5\nMax open files            1024   4096   files\n", "Max open files"),
            Some(1_024)
        );
        assert_eq!(field("Max open files            unlimited   4096   files\n", "Max open files"), None);
    }
}
