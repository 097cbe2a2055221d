// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show info`: the process in HAProxy's words (management.txt, section 9.3), so that what reads its answer reads ours.
//!
//! What we do not have is 0, as HAProxy says it of what is switched off; nothing is left out that a tool may look for. Not
//! here: what only we know of the process (`show process json`).

use super::field::{Field, Value, whole};
use super::{Call, Done};
use crate::control::model::{Snapshot, Traffic};
use std::fmt::Write as _;

/// A value with its place.
type Entry = (Field, Value);

pub(super) fn run(call: &mut Call<'_>) -> Done {
    let entries = entries(&call.state.snapshot());
    let form = call.words.iter().map(String::as_str).find(|word| *word != "float");
    let mut text = String::new();
    for (field, value) in &entries {
        // Writing to a string cannot fail.
        _ = match form {
            None => writeln!(text, "{}: {value}", field.name),
            Some("desc") => writeln!(text, "{}: {value}:\"\"", field.name),
            Some("typed") => writeln!(text, "{}", field.typed(value)),
            Some("json") => {
                let separator = if text.is_empty() { "[" } else { "," };
                write!(text, "{separator}{{{}}}", field.json(value))
            }
            Some(other) => {
                return Done::Refused(format!("Unknown form {:?}: write typed, json or desc.", other));
            }
        };
    }
    if form == Some("json") {
        text.push_str("]\n");
    }
    Done::Text(text)
}

/// The process under HAProxy's names, in their order and with their numbers.
fn entries(snapshot: &Snapshot) -> Vec<Entry> {
    let process = &snapshot.process;
    let traffic = &process.traffic;
    let mut list = List(Vec::new());
    list.product(&process.name, &process.version);
    list.u32("Nbthread", "CGS", snapshot.workers.len() as u64);
    list.u32("Nbproc", "CGS", 1);
    list.u32("Process_num", "KGP", 1);
    list.u32("Pid", "SGP", u64::from(process.pid));
    list.text("Uptime", "MDP", &uptime(whole(process.uptime.floor())));
    list.u32("Uptime_sec", "MDP", whole(process.uptime.floor()));
    list.none(&[
        ("Memmax_MB", "CLP"),
        ("PoolAlloc_MB", "MGP"),
        ("PoolUsed_MB", "MGP"),
        ("PoolFailed", "MCP"),
    ]);
    list.u32("Ulimit-n", "CLP", process.open_files);
    list.u32("Maxsock", "CLP", process.open_files);
    list.u32("Maxconn", "CLP", process.max_connections);
    list.u32("Hard_maxconn", "CLP", process.places);
    list.u32("CurrConns", "MGP", traffic.active);
    list.u32("CumConns", "MCP", traffic.total);
    list.u32("CumReq", "MCP", traffic.total);
    list.none(&[("MaxSslConns", "MMP"), ("CurrSslConns", "MGP")]);
    list.u32("CumSslConns", "MCP", process.tls.handshakes);
    list.none(&[("Maxpipes", "CLP"), ("PipesUsed", "MGP"), ("PipesFree", "MGP")]);
    list.rates(traffic);
    list.none(&[("SslRate", "MRP"), ("SslRateLimit", "CLP"), ("MaxSslRate", "MMP")]);
    list.none(&[("SslFrontendKeyRate", "MGP"), ("SslFrontendMaxKeyRate", "MMP")]);
    list.u32("SslFrontendSessionReuse_pct", "MGP", percent(process.tls.resumed, process.tls.handshakes));
    list.none(&[("SslBackendKeyRate", "MRP"), ("SslBackendMaxKeyRate", "MMP")]);
    list.none(&[("SslCacheLookups", "MCP"), ("SslCacheMisses", "MCP")]);
    list.none(&[("CompressBpsIn", "MRP"), ("CompressBpsOut", "MRP"), ("CompressBpsRateLim", "CLP")]);
    // 45 and 46 are of builds with zlib.
    list.skip(2);
    list.u32("Tasks", "MGP", snapshot.workers.iter().map(|worker| worker.connections).sum());
    list.u32("Run_queue", "MGP", process.queued);
    list.u32("Idle_pct", "MaP", idle(snapshot));
    list.text("node", "COS", &process.node);
    // 51 is a description, which nobody has given.
    list.skip(1);
    list.u32("Stopping", "MGP", u64::from(process.state != "serving"));
    let listeners = snapshot.listeners.len() as u64;
    list.u32("Jobs", "MGP", traffic.active + listeners);
    list.none(&[("Unstoppable Jobs", "MGP")]);
    list.u32("Listeners", "MGP", listeners);
    list.none(&[("ActivePeers", "MGP"), ("ConnectedPeers", "MGP")]);
    list.u32("DroppedLogs", "MGP", process.log_lost);
    list.none(&[("BusyPolling", "MGP"), ("FailedResolutions", "MGP")]);
    list.u64("TotalBytesOut", "MGP", traffic.bytes_in + traffic.bytes_out);
    list.u64("TotalSplicedBytesOut", "MGP", 0);
    list.u64("BytesOutRate", "MRP", whole(traffic.rate_in + traffic.rate_out));
    list.none(&[("DebugCommandsIssued", "MGP"), ("CumRecvLogs", "MCP")]);
    list.text("Build info", "POS", &process.version);
    list.none(&[("Memmax_bytes", "CLP")]);
    list.u64("PoolAlloc_bytes", "MGP", 0);
    list.u64("PoolUsed_bytes", "MGP", 0);
    list.u32("Start_time_sec", "MDP", whole(process.started.floor()));
    list.text("Tainted", "SGP", "0");
    list.0.into_iter().flatten().collect()
}

/// The entries so far; none for a number that is not used.
struct List(Vec<Option<Entry>>);

impl List {
    fn push(&mut self, name: &'static str, tags: &'static str, value: Value) {
        self.0.push(Some((Field { pos: self.0.len(), name, tags }, value)));
    }

    fn skip(&mut self, numbers: usize) {
        self.0.extend((0..numbers).map(|_| None));
    }

    fn product(&mut self, name: &str, version: &str) {
        self.text("Name", "POS", name);
        self.text("Version", "POS", version);
        // A release has a version, and the build bears no date: the same sources make the same program.
        self.text("Release_date", "POS", "-");
    }

    fn rates(&mut self, traffic: &Traffic) {
        for (rate, limit, most) in
            [("ConnRate", "ConnRateLimit", "MaxConnRate"), ("SessRate", "SessRateLimit", "MaxSessRate")]
        {
            self.u32(rate, "MRP", whole(traffic.rate));
            self.u32(limit, "CLP", 0);
            self.u32(most, "MMP", whole(traffic.peak_rate));
        }
    }

    fn text(&mut self, name: &'static str, tags: &'static str, text: &str) {
        self.push(name, tags, Value::Text(text.to_owned()));
    }

    fn u32(&mut self, name: &'static str, tags: &'static str, number: u64) {
        self.push(name, tags, Value::U32(number));
    }

    fn u64(&mut self, name: &'static str, tags: &'static str, number: u64) {
        self.push(name, tags, Value::U64(number));
    }

    fn none(&mut self, names: &[(&'static str, &'static str)]) {
        for (name, tags) in names {
            self.u32(name, tags, 0);
        }
    }
}

/// `1d 2h03m04s`.
fn uptime(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    format!("{days}d {}h{:02}m{:02}s", hours % 24, minutes % 60, seconds % 60)
}

fn percent(part: u64, of: u64) -> u64 {
    part.saturating_mul(100).checked_div(of).unwrap_or(0)
}

/// How much of their time the workers sleep.
fn idle(snapshot: &Snapshot) -> u64 {
    let workers = &snapshot.workers;
    if workers.is_empty() {
        return 100;
    }
    #[expect(clippy::cast_precision_loss, reason = "there are at most 128 workers")]
    let load = workers.iter().map(|worker| worker.load.clamp(0.0, 1.0)).sum::<f64>() / workers.len() as f64;
    whole((1.0 - load) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::{Process, Worker};

    fn sample() -> Snapshot {
        let worker = |load| Worker { load, connections: 3, ..Worker::default() };
        Snapshot {
            process: Process {
                name: "tunnel".into(),
                version: "0.1.0".into(),
                node: "host\n".into(),
                pid: 7,
                uptime: 93_784.9,
                max_connections: 100,
                traffic: Traffic { active: 6, total: 10, rate: 2.6, bytes_in: 1 << 40, ..Traffic::default() },
                ..Process::default()
            },
            workers: vec![worker(0.5), worker(0.0)],
            ..Snapshot::default()
        }
    }

    fn value(name: &str) -> String {
        let entries = entries(&sample());
        entries.iter().find(|(field, _)| field.name == name).unwrap().1.to_string()
    }

    #[test]
    fn values_stand_under_haproxys_names() {
        for (name, expected) in [
            ("Name", "tunnel"),
            ("Uptime", "1d 2h03m04s"),
            ("Uptime_sec", "93784"),
            ("CurrConns", "6"),
            ("ConnRate", "3"),
            ("Tasks", "6"),
            ("Idle_pct", "75"),
            ("node", "host\\n"),
            ("TotalBytesOut", "1099511627776"),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
    }

    /// Numbers of HAProxy 2.6, as its `show info typed` tells them.
    #[test]
    fn fields_have_haproxys_numbers() {
        let entries = entries(&sample());
        for (name, number) in
            [("Name", 0), ("Maxconn", 15), ("Tasks", 47), ("node", 50), ("Stopping", 52), ("Tainted", 71)]
        {
            let (field, _) = entries.iter().find(|(field, _)| field.name == name).unwrap();
            assert_eq!(field.pos, number, "{name}");
            assert_eq!(field.tags.len(), 3);
        }
    }
}
