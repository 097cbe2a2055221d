// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the daemon is, on one screen: problems first. Pure.

use crate::line::{Line, Piece, Tone};
use crate::show::share_of;
use crate::units::{ago, byte_rate, bytes, count, float, rate, share, span, spark};
use tunnel::control::model::{Failures, Process, Reload, Share, Snapshot, Timing};

/// Columns of a line of history.
const HISTORY: usize = 60;

/// Columns of what stands before a line.
const LABEL: usize = 13;

/// Causes of failure that are listed.
const CAUSES: usize = 20;

/// What `status` prints.
pub(crate) fn lines(seen: &Snapshot) -> Vec<Line> {
    let process = &seen.process;
    let mut lines = vec![title(process), readiness(process)];
    lines.extend(problems(process));
    lines.push(Line::new());
    lines.extend(totals(seen));
    lines.push(Line::new());
    lines.extend(reload(&process.reload, seen.at, &process.config));
    lines
}

fn title(process: &Process) -> Line {
    let commit = if process.commit.is_empty() { String::new() } else { format!(" ({})", process.commit) };
    Line::of(format!("tunnel {}{commit}", process.version), Tone::Strong).and(format!(
        " on {}, pid {}, user {}, up {}",
        process.node,
        process.pid,
        process.user,
        span(process.uptime)
    ))
}

fn readiness(process: &Process) -> Line {
    let line = Line::new().then(&process.state, Tone::of_state(&process.state));
    if process.ready {
        line.and(", ").then("ready", Tone::Good).and(" for new clients")
    } else {
        let why = process.not_ready.join("; ");
        let line = line.and(", ").then("not ready", Tone::Bad).and(" for new clients");
        if why.is_empty() { line } else { line.and(": ").and(why) }
    }
}

/// What an operator should know; one line says that there is nothing.
pub(crate) fn problems(process: &Process) -> Vec<Line> {
    if process.problems.is_empty() {
        return vec![Line::of("no problems", Tone::Good)];
    }
    let shown = process.problems.iter().map(|problem| {
        Line::of(format!("{:>7}: ", problem.severity), Tone::of_state(&problem.severity)).and(&problem.text)
    });
    shown.collect()
}

fn labelled(label: &str) -> Line {
    Line::of(format!("{label:<LABEL$}"), Tone::Faint)
}

fn totals(seen: &Snapshot) -> Vec<Line> {
    let process = &seen.process;
    let traffic = &process.traffic;
    let of = |number: u64, limit: u64| format!("{} of {}", count(number), count(limit));
    let mut lines = vec![
        labelled("connections").and(format!(
            "{} now (most {}, room for {}), {} in all, {}/s",
            count(traffic.active),
            count(traffic.peak),
            count(process.places),
            count(traffic.total),
            rate(traffic.rate)
        )),
        labelled("failed").and(format!(
            "{} ({})",
            count(traffic.failed),
            share(float(traffic.failed), float(traffic.total))
        )),
        labelled("from clients").and(format!("{}, {}", bytes(traffic.bytes_in), byte_rate(traffic.rate_in))),
        labelled("to clients").and(format!("{}, {}", bytes(traffic.bytes_out), byte_rate(traffic.rate_out))),
        labelled("handshakes").and(timing(&process.handshakes)),
        labelled("connects").and(timing(&process.connects)),
    ];
    let history = &process.history;
    if history.connections.len() > 1 {
        let shown = history.connections.len().min(HISTORY);
        let covers = span(history.step * f64::from(u32::try_from(shown).unwrap_or(0)));
        lines.push(
            labelled("conn/s")
                .and(spark(&history.connections, HISTORY))
                .then(format!("  {covers}"), Tone::Faint),
        );
        let both: Vec<f64> = history.bytes_in.iter().zip(&history.bytes_out).map(|(a, b)| a + b).collect();
        lines.push(labelled("bytes/s").and(spark(&both, HISTORY)));
    }
    let up = |word: &str| seen.services.iter().filter(|service| service.state == word).count();
    lines.push(labelled("services").and(format!(
        "{}, {} up; {} listeners; {} workers, {} busiest",
        seen.services.len(),
        up("up"),
        seen.listeners.len(),
        seen.workers.len(),
        share(seen.workers.iter().map(|worker| worker.load).fold(0.0, f64::max), 1.0)
    )));
    if process.queued > 0 {
        lines.push(
            labelled("queued").then(format!("{} wait for a worker", count(process.queued)), Tone::Warn),
        );
    }
    let lost = Line::of(format!("level {}", process.log_level), Tone::Plain);
    let mut log = labelled("log");
    lost.pieces().iter().for_each(|piece| log.push(piece.clone()));
    if process.log_lost > 0 {
        log = log.and(", ").then(format!("{} lines lost", count(process.log_lost)), Tone::Warn);
    }
    lines.push(log);
    lines.push(labelled("limits").and(format!(
        "{} connections, {} descriptors; {}",
        of(traffic.active, process.max_connections),
        count(process.open_files),
        process.tls_library
    )));
    lines
}

fn timing(timing: &Timing) -> String {
    match timing.count {
        0 => "none measured".to_owned(),
        number => format!(
            "half within {}, 99% within {} (of {})",
            span(timing.p50),
            span(timing.p99),
            count(number)
        ),
    }
}

fn reload(reload: &Reload, now: f64, config: &str) -> Vec<Line> {
    let since = format!("{config}, in effect for {}", span((now - reload.in_effect_since).max(0.0)));
    let mut lines = Vec::new();
    if reload.in_effect_since > 0.0 {
        lines.push(labelled("configured").and(since));
    }
    let line = labelled("last load").and(format!("{}: ", ago(reload.last, now)));
    let counts = format!(" ({} applied, {} refused)", reload.applied, reload.refused);
    lines.push(if reload.ok {
        line.then("applied", Tone::Good).and(counts)
    } else if reload.last > 0.0 {
        line.then("refused", Tone::Bad).and(counts)
    } else {
        line.and("none yet")
    });
    let texts = reload.messages.iter().flat_map(|message| message.lines());
    lines.extend(texts.map(|text| Line::of("  ", Tone::Plain).and(text)));
    lines
}

/// What was agreed on with clients, and why others failed: the TLS screen.
pub(crate) fn tls(seen: &Snapshot) -> Vec<Line> {
    let tls = &seen.process.tls;
    let resumed = share(float(tls.resumed), float(tls.handshakes));
    let mut lines = vec![
        Line::of("Handshakes with clients", Tone::Strong),
        labelled("completed").and(format!("{}, {resumed} resumed", count(tls.handshakes))),
        labelled("took").and(timing(&seen.process.handshakes)),
        shares("versions", &tls.versions, tls.handshakes),
        shares("ciphers", &tls.ciphers, tls.handshakes),
        shares("groups", &tls.groups, tls.handshakes),
        Line::new(),
        Line::of("Failures by cause", Tone::Strong),
    ];
    lines.extend(failures(&seen.process.failures, seen.at));
    lines
}

fn shares(label: &str, shares: &[Share], whole: u64) -> Line {
    let mut line = labelled(label);
    for (at, one) in shares.iter().enumerate() {
        if at > 0 {
            line.push(Piece::plain(", "));
        }
        line.push(share_of(&one.name, one.count, whole));
    }
    if shares.is_empty() { line.then("none", Tone::Faint) } else { line }
}

fn failures(failures: &[Failures], now: f64) -> Vec<Line> {
    let mut most: Vec<&Failures> = failures.iter().filter(|one| one.count > 0).collect();
    if most.is_empty() {
        return vec![Line::of("none", Tone::Good)];
    }
    most.sort_by_key(|one| std::cmp::Reverse(one.count));
    let mut lines = Vec::new();
    for one in most.iter().take(CAUSES) {
        let last = match (one.last > 0.0, one.last_client.is_empty()) {
            (false, _) => String::new(),
            (true, true) => format!(", last {}", ago(one.last, now)),
            (true, false) => format!(", last {} from {}", ago(one.last, now), one.last_client),
        };
        lines.push(
            Line::of(format!("{:>8}  ", count(one.count)), Tone::Plain)
                .then(&one.cause, Tone::Warn)
                .and(last),
        );
        if !one.hint.is_empty() {
            lines.push(Line::of(format!("{:10}{}", "", one.hint), Tone::Faint));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::sample;

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| line.text() + "\n").collect()
    }

    #[test]
    fn problems_come_before_numbers() {
        let status = text(&lines(&sample()));
        let places: Vec<_> =
            ["tunnel 0.1.0", "not ready", "error: server web/one is down", "12.3k in all", "last load"]
                .map(|word| status.find(word).unwrap_or_else(|| panic!("no {word:?} in\n{status}")))
                .into();
        assert!(places.is_sorted(), "{status}");
        assert!(status.lines().count() <= 24, "more than a screen:\n{status}");
    }

    #[test]
    fn a_healthy_daemon_says_so() {
        let mut seen = sample();
        seen.process.problems.clear();
        seen.process.ready = true;
        seen.process.reload = Reload { ok: true, applied: 2, last: seen.at - 7.0, ..Reload::default() };
        let status = text(&lines(&seen));
        assert!(status.contains("serving, ready for new clients\nno problems\n"), "{status}");
        assert!(status.contains("7.0s ago: applied (2 applied, 0 refused)"), "{status}");
    }

    #[test]
    fn a_refused_reload_tells_every_line_of_its_reasons() {
        let mut seen = sample();
        let messages = vec!["a.conf:1:1: error: x\n  |".into(), "second".into()];
        seen.process.reload = Reload { last: 5.0, refused: 1, messages, ..Reload::default() };
        let status = text(&lines(&seen));
        assert!(
            status.contains("refused") && status.contains("\n  a.conf:1:1: error: x\n    |\n  second\n"),
            "{status}"
        );
    }

    #[test]
    fn causes_come_with_their_hints_most_frequent_first() {
        let mut seen = sample();
        let failure = |cause: &str, count| Failures {
            cause: cause.into(),
            count,
            hint: format!("hint of {cause}"),
            last: seen.at - 1.0,
            last_client: "192.0.2.9:1".into(),
        };
        seen.process.failures = vec![failure("rare", 1), failure("never", 0), failure("often", 70_000)];
        seen.process.tls.handshakes = 4;
        seen.process.tls.versions = vec![Share { name: "TLSv1.3".into(), count: 3 }];
        let shown = text(&tls(&seen));
        assert!(shown.find("70.0k  often, last 1.0s ago from 192.0.2.9:1") < shown.find("rare"), "{shown}");
        assert!(shown.contains("hint of rare") && !shown.contains("never"), "{shown}");
        assert!(shown.contains("TLSv1.3 75%"), "{shown}");
    }
}
