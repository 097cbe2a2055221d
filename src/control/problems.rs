// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator should know, drawn from what there is to see.
//!
//! Each problem is one sentence that says what, where, and what to do about it; it goes by itself when its cause does. The
//! most urgent comes first: errors (clients are refused or wait now, or will within days) before warnings, and within
//! both in the order of the checks here. Not here: when and where they are shown.

use super::model::{
    Certificate, Failures, Listener, Problem, Process, Route, Server, Service, Snapshot, Worker,
};
use std::collections::BTreeSet;
use std::path::Path;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// Days before its end from which on a certificate is told of, and from which on it is an error.
const EXPIRES: f64 = 30.0;
const EXPIRES_SOON: f64 = 7.0;

/// Seconds of a turn from which on a worker is stuck, rather than busy.
const STUCK: f64 = 1.0;

/// Shares of what there is from which on it is nearly used up.
const BACKLOG_FULL: f64 = 0.8;
const PLACES_FULL: f64 = 0.9;

/// Shares of a service's new connections that fail, over [`SPAN`]: from which on it is told, and is an error. So few
/// failures are never told: one scan would show a quiet service as broken.
const FAILING: f64 = 0.2;
const FAILING_BADLY: f64 = 0.5;
const FEW_FAILURES: f64 = 20.0;

/// What counts as now for failures, in seconds.
const SPAN: f64 = 300.0;

/// CAs in one file beyond which it is a collection that others keep: who is in it is no matter of ours.
const COLLECTION: u64 = 50;

/// Problems that are told; of more, their number.
const MOST: usize = 100;

/// The problems of a snapshot, most urgent first, at most `MOST` and a line that tells how many more there are.
pub fn problems(snapshot: &Snapshot) -> Vec<Problem> {
    let Snapshot { at, process, services, listeners, workers, certificates, .. } = snapshot;
    let mut found: Vec<Problem> = Vec::new();
    found.extend(draining(process));
    found.extend(listeners.iter().filter_map(paused));
    found.extend(listeners.iter().filter_map(crowded));
    found.extend(full(process));
    found.extend(workers.iter().filter_map(stuck));
    found.extend(services.iter().flat_map(|service| &service.routes).flat_map(servers));
    found.extend(expiring(certificates, *at));
    found.extend(services.iter().filter_map(|service| failing(service, *at)));
    found.extend(refused(process));
    found.extend(newer(certificates));
    found.extend(few_places(process));
    found.extend(lost(process));
    // Stable: within errors and warnings the order above stays.
    found.sort_by_key(|problem| problem.severity != ERROR);
    if found.len() > MOST {
        let more = found.len() - MOST;
        found.truncate(MOST);
        found.push(warning("tunnel", format!("there are {more} more problems; solve those above first")));
    }
    found
}

const ERROR: &str = "error";
const WARNING: &str = "warning";

fn error(subject: impl Into<String>, text: String) -> Problem {
    Problem { severity: ERROR.to_owned(), subject: subject.into(), text }
}

fn warning(subject: impl Into<String>, text: String) -> Problem {
    Problem { severity: WARNING.to_owned(), subject: subject.into(), text }
}

fn draining(process: &Process) -> Option<Problem> {
    let ending = matches!(&*process.state, "draining" | "stopping");
    let active = counted(process.traffic.active, "connection");
    let text =
        || format!("{}: no new clients are taken, and {active} may still end by themselves", process.state);
    ending.then(|| warning("tunnel", text()))
}

fn paused(listener: &Listener) -> Option<Problem> {
    let Listener { address, service, state, reason, .. } = listener;
    (state == "paused").then(|| {
        let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        let help = "clients wait until it goes on; raise the limit that was met";
        error(address, format!("{service} takes no clients at {address}{reason}: {help}"))
    })
}

fn crowded(listener: &Listener) -> Option<Problem> {
    let Listener { address, service, backlog, backlog_limit, .. } = listener;
    // Below 0: not known.
    let known = u64::try_from(*backlog).ok().zip(u64::try_from(*backlog_limit).ok());
    let nearly = known.is_some_and(|(waiting, most)| most > 0 && share(waiting, most) >= BACKLOG_FULL);
    nearly.then(|| {
        let help = "beyond that the kernel drops clients; see whether workers are overloaded";
        error(
            address,
            format!("{backlog} of {backlog_limit} connections wait for {service} at {address}: {help}"),
        )
    })
}

fn full(process: &Process) -> Option<Problem> {
    let (active, places) = (process.traffic.active, process.places);
    let nearly = places > 0 && share(active, places) >= PLACES_FULL;
    nearly.then(|| {
        let text = format!("{active} of at most {places} connections are in use: beyond that clients wait");
        let help = if places < process.max_connections {
            "raise the limit on open files"
        } else {
            "raise max_connections"
        };
        let text = format!("{text}; {help}");
        if active >= places { error("tunnel", text) } else { warning("tunnel", text) }
    })
}

fn stuck(worker: &Worker) -> Option<Problem> {
    (worker.busy_for > STUCK).then(|| {
        let doing = if worker.doing.is_empty() { String::new() } else { format!(" with {}", worker.doing) };
        let connections = counted(worker.connections, "connection");
        let what = format!(
            "worker {}, with {connections}, has been busy for {:.1} s",
            worker.number, worker.busy_for
        );
        let help = "if it goes on, see what it does (gdb, perf) and restart";
        error(format!("worker {}", worker.number), format!("{what}{doing}: {help}"))
    })
}

/// Of one route: that no server is left, or those that are down.
fn servers(route: &Route) -> Vec<Problem> {
    let is_out = |server: &&Server| {
        matches!(&*server.state, "down" | "unresolved")
            || matches!(&*server.admin, "maint" | "drain")
            || server.weight == 0
    };
    let unresolved = route.servers.iter().find(|server| server.state == "unresolved");
    let down: Vec<&Server> = route.servers.iter().filter(|server| server.state == "down").collect();
    let Some(first) = route.servers.first() else { return Vec::new() };
    let place = if route.name == "default" {
        first.service.clone()
    } else {
        format!("{}/{}", first.service, route.name)
    };
    if route.servers.iter().filter(is_out).count() == route.servers.len() {
        let text = match (down.first(), unresolved) {
            (None, Some(one)) => format!(
                "no server of {place} has an address: see whether {} is in DNS, and whether the name servers answer",
                one.name
            ),
            (None, None) if route.servers.iter().all(|server| server.weight == 0) => {
                format!("no server of {place} has a weight above 0: give one some")
            }
            (None, None) => format!("every server of {place} was taken out by hand: put one back in"),
            (Some(one), _) => {
                format!(
                    "no server of {place} is left{}: see whether {} runs and is reachable",
                    because(one),
                    one.name
                )
            }
        };
        return vec![error(place, text)];
    }
    let tell = |server: &&Server| {
        let text = format!(
            "server {} of {place} is down{}: the others take its clients",
            server.name,
            because(server)
        );
        warning(&server.name, text)
    };
    let mut told: Vec<Problem> = down.iter().map(tell).collect();
    told.extend(only_backups(route, &place, is_out));
    told.extend(only_paused(route, &place, is_out));
    told
}

/// Of a route whose servers that are not out have all been paused: connections there fail, and go on failing.
fn only_paused(route: &Route, place: &str, is_out: impl Fn(&&Server) -> bool) -> Option<Problem> {
    let mut left = route.servers.iter().filter(|server| !is_out(server)).peekable();
    let first = *left.peek()?;
    left.all(|server| server.state == "paused").then(|| {
        let help = format!("see what connections to {} fail for (tunnelctl errors)", first.name);
        error(place, format!("every server of {place} is paused{}: {help}", because(first)))
    })
}

/// Of a route with backups: that nobody else serves.
fn only_backups(route: &Route, place: &str, is_out: impl Fn(&&Server) -> bool) -> Option<Problem> {
    let mut own = route.servers.iter().filter(|server| !server.backup).peekable();
    let lost = own.peek().is_some() && own.all(|server| is_out(&server));
    lost.then(|| warning(place, format!("only backups of {place} serve: bring one of its own servers back")))
}

/// What was last seen of a server, in brackets.
fn because(server: &Server) -> String {
    let check = server.checks.iter().find(|check| !check.ok);
    let check = check.map(|check| if check.text.is_empty() { &check.status } else { &check.text });
    let seen = check.unwrap_or(&server.last_error);
    if seen.is_empty() { String::new() } else { format!(" ({seen})") }
}

/// Certificates out of their time, or nearly, those that end first ahead. None where the time is not known.
fn expiring(certificates: &[Certificate], at: f64) -> Vec<Problem> {
    let is_own = |one: &Certificate| match &*one.kind {
        "certificate" | "client-certificate" | "chain" | "crl" => true,
        "ca" => one.in_file <= COLLECTION,
        _ => false,
    };
    let dated = |one: &&Certificate| at > 0.0 && one.not_after > 0.0 && is_own(one);
    let mut dated: Vec<&Certificate> = certificates.iter().filter(dated).collect();
    dated.sort_by(|one, other| one.not_after.total_cmp(&other.not_after));
    dated.iter().filter_map(|one| out_of_time(one, at)).collect()
}

fn out_of_time(one: &Certificate, at: f64) -> Option<Problem> {
    let what = called(one);
    // Of several CAs the others go on being trusted.
    let serious = if one.kind == "ca" && one.in_file > 1 { warning } else { error };
    if one.not_before > at {
        let help = "check the clock, or put the earlier one back and reload";
        return Some(serious(
            &one.file,
            format!("{what} is valid only in {}: {help}", days(one.not_before - at)),
        ));
    }
    let left = one.not_after - at;
    let help =
        if one.newer_on_disk { "its file was changed, reload to use it" } else { "renew it and reload" };
    if left <= 0.0 {
        return Some(serious(&one.file, format!("{what} expired {} ago: {help}", days(-left))));
    }
    let text = format!("{what} expires in {}: {help}", days(left));
    if left <= EXPIRES_SOON * DAY {
        Some(serious(&one.file, text))
    } else {
        (left <= EXPIRES * DAY).then(|| warning(&one.file, text))
    }
}

/// "certificate web.test (web.pem) of web, mail".
fn called(one: &Certificate) -> String {
    let kind = match &*one.kind {
        "chain" => "certificate",
        "client-certificate" => "client certificate",
        "ca" => "CA",
        "crl" => "revocation list",
        kind => kind,
    };
    let name = one.names.first().map_or("", |name| name);
    let file =
        Path::new(&one.file).file_name().map_or_else(|| (&*one.file).into(), |name| name.to_string_lossy());
    let users = match &*one.used_by {
        [] => String::new(),
        [one] => format!(" of {one}"),
        [one, more @ ..] => format!(" of {one} and {} more", more.len()),
    };
    format!("{kind} {name} ({file}){users}")
}

/// Files that wait for a reload, each once.
fn newer(certificates: &[Certificate]) -> Vec<Problem> {
    let newer = certificates.iter().filter(|one| one.newer_on_disk);
    let files: BTreeSet<&str> = newer.map(|one| &*one.file).collect();
    let tell = |file: &&str| {
        warning(*file, format!("{file} or its key was changed after it was loaded: reload to use it"))
    };
    files.iter().map(tell).collect()
}

/// A service most of whose new connections fail.
fn failing(service: &Service, at: f64) -> Option<Problem> {
    let Service { name, history, failures, .. } = service;
    let samples = recent(history.step);
    let sum = |rates: &[f64]| rates.iter().rev().take(samples).sum::<f64>() * history.step;
    let (new, failed) = (sum(&history.connections), sum(&history.failures));
    // Those that fail now may have come before the time that is looked at.
    let share = failed / new.max(failed);
    if failed < FEW_FAILURES || share < FAILING {
        return None;
    }
    let recent = failures.iter().filter(|one| one.last >= at - SPAN);
    let cause = recent.max_by_key(|one| one.count).map_or_else(String::new, why);
    let text =
        format!("{:.0} % of the connections of {name} failed in the last five minutes{cause}", share * 100.0);
    Some(if share >= FAILING_BADLY { error(name, text) } else { warning(name, text) })
}

/// How many samples of a history, taken every `step` seconds, [`SPAN`] has.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 300")]
fn recent(step: f64) -> usize {
    (SPAN / step.max(1.0)).ceil().max(1.0) as usize
}

fn why(failures: &Failures) -> String {
    let hint = if failures.hint.is_empty() { String::new() } else { format!(": {}", failures.hint) };
    format!(", most often by {}{hint}", failures.cause)
}

fn refused(process: &Process) -> Option<Problem> {
    let reload = &process.reload;
    (!reload.ok && reload.refused > 0).then(|| {
        let why = reload
            .messages
            .first()
            .and_then(|message| message.lines().next())
            .unwrap_or("no reason was given");
        let text = format!("the last reload was refused, what was loaded before it is in effect: {why}");
        error(&process.config, text)
    })
}

fn few_places(process: &Process) -> Option<Problem> {
    let Process { places, max_connections, open_files, .. } = process;
    (*places > 0 && places < max_connections).then(|| {
        let text =
            format!("max_connections is {max_connections}, but {open_files} open files suffice for {places}");
        warning("tunnel", format!("{text}: raise that limit (LimitNOFILE=, ulimit -n) and restart"))
    })
}

fn lost(process: &Process) -> Option<Problem> {
    (process.log_lost > 0).then(|| {
        let lines = counted(process.log_lost, "line");
        let help = "what it is written to is full or too slow";
        warning("log", format!("{lines} of the log could not be written since the start: {help}"))
    })
}

/// "1 connection", "2 connections".
fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A span in the largest unit of which there are two, rounded down: whoever has to act may do so earlier.
fn days(seconds: f64) -> String {
    let units = [(DAY, "day"), (3600.0, "hour"), (60.0, "minute")];
    let fits = units.iter().find(|(unit, _)| seconds >= 2.0 * unit);
    let (unit, name) = fits.unwrap_or(&(60.0, "minute"));
    let number = (seconds / unit).floor();
    if number == 1.0 { format!("1 {name}") } else { format!("{number:.0} {name}s") }
}

/// `part` of `whole`, which is above 0; both are far below 2^53.
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::{Check, History, Reload, Traffic};

    const NOW: f64 = 2e9;

    /// Severity and text of each.
    fn told(snapshot: &Snapshot) -> Vec<String> {
        problems(snapshot).into_iter().map(|one| format!("{}: {}", one.severity, one.text)).collect()
    }

    fn of_process(process: Process) -> Vec<String> {
        told(&Snapshot { at: NOW, process, ..Snapshot::default() })
    }

    fn of_certificates(certificates: Vec<Certificate>) -> Vec<String> {
        told(&Snapshot { at: NOW, certificates, ..Snapshot::default() })
    }

    fn of_routes(routes: Vec<Route>) -> Vec<String> {
        let service = Service { name: "web".to_owned(), routes, ..Service::default() };
        told(&Snapshot { at: NOW, services: vec![service], ..Snapshot::default() })
    }

    fn of_listener(listener: Listener) -> Vec<String> {
        let (address, service) = ("192.0.2.1:443".to_owned(), "web".to_owned());
        let listeners = vec![Listener { address, service, ..listener }];
        told(&Snapshot { at: NOW, listeners, ..Snapshot::default() })
    }

    fn certificate(days: f64) -> Certificate {
        Certificate {
            kind: "certificate".to_owned(),
            file: "/etc/tunnel/web.pem".to_owned(),
            names: vec!["web.test".to_owned()],
            used_by: vec!["web".to_owned()],
            not_before: NOW - 90.0 * DAY,
            not_after: NOW + days * DAY,
            in_file: 1,
            ..Certificate::default()
        }
    }

    fn server(name: &str, state: &str, admin: &str) -> Server {
        Server {
            service: "web".to_owned(),
            name: name.to_owned(),
            state: state.to_owned(),
            admin: admin.to_owned(),
            weight: 1,
            ..Server::default()
        }
    }

    fn route(servers: Vec<Server>) -> Route {
        Route { name: "api".to_owned(), servers, ..Route::default() }
    }

    #[test]
    fn of_nothing_nothing_is_told() {
        assert_eq!(told(&Snapshot::default()), [""; 0]);
        assert_eq!(of_certificates(vec![certificate(30.1)]), [""; 0]);
        // Before anybody has looked at the clock.
        let certificates = vec![certificate(30.1)];
        assert_eq!(told(&Snapshot { certificates, ..Snapshot::default() }), [""; 0]);
    }

    #[test]
    fn certificates_are_told_ahead_of_their_end() {
        let found =
            of_certificates(vec![certificate(20.5), certificate(-3.0), certificate(6.5), certificate(1.5)]);
        assert_eq!(
            found,
            [
                "error: certificate web.test (web.pem) of web expired 3 days ago: renew it and reload",
                "error: certificate web.test (web.pem) of web expires in 36 hours: renew it and reload",
                "error: certificate web.test (web.pem) of web expires in 6 days: renew it and reload",
                "warning: certificate web.test (web.pem) of web expires in 20 days: renew it and reload",
            ]
        );
    }

    #[test]
    fn a_certificate_from_the_future_is_told() {
        let used_by = ["a", "b", "c"].map(str::to_owned).to_vec();
        let early = Certificate { not_before: NOW + 3.0 * 3600.0, used_by, ..certificate(90.0) };
        let found = of_certificates(vec![early]);
        let text = "error: certificate web.test (web.pem) of a and 2 more is valid only in 3 hours";
        assert!(found[0].starts_with(text), "{found:?}");
    }

    #[test]
    fn one_ca_of_several_is_a_warning_and_collections_are_left_alone() {
        let ca = |in_file| Certificate { kind: "ca".to_owned(), in_file, ..certificate(-1.0) };
        assert!(of_certificates(vec![ca(1)])[0].starts_with("error: CA web.test"));
        assert!(of_certificates(vec![ca(2)])[0].starts_with("warning: CA web.test"));
        assert_eq!(of_certificates(vec![ca(140)]), [""; 0]);
        let key = Certificate { kind: "ticket-key".to_owned(), ..certificate(-1.0) };
        assert_eq!(of_certificates(vec![key]), [""; 0]);
    }

    #[test]
    fn a_newer_file_is_told_once() {
        let newer = Certificate { newer_on_disk: true, ..certificate(80.0) };
        let found = of_certificates(vec![newer.clone(), newer.clone()]);
        let text =
            "warning: /etc/tunnel/web.pem or its key was changed after it was loaded: reload to use it";
        assert_eq!(found, [text]);
        let expired = Certificate { not_after: NOW - DAY * 3.0, ..newer };
        assert!(of_certificates(vec![expired])[0].ends_with("ago: its file was changed, reload to use it"));
    }

    #[test]
    fn a_refused_reload_is_told_with_the_first_line_of_its_first_message() {
        let messages = vec!["t.conf:3: error: no such key\n  | help".to_owned(), "more".to_owned()];
        let reload = Reload { applied: 1, refused: 1, messages, ..Reload::default() };
        let found = of_process(Process { reload: reload.clone(), ..Process::default() });
        assert!(
            found[0].starts_with("error: ") && found[0].ends_with(": t.conf:3: error: no such key"),
            "{found:?}"
        );
        let reload = Reload { ok: true, ..reload };
        assert_eq!(of_process(Process { reload, ..Process::default() }), [""; 0]);
    }

    #[test]
    fn a_paused_listener_is_told_with_its_reason() {
        let paused = Listener {
            state: "paused".to_owned(),
            reason: "max_connections".to_owned(),
            ..Listener::default()
        };
        let found = of_listener(paused);
        assert!(
            found[0].starts_with("error: web takes no clients at 192.0.2.1:443 (max_connections): "),
            "{found:?}"
        );
        let accepting = Listener { state: "accepting".to_owned(), ..Listener::default() };
        assert_eq!(of_listener(accepting), [""; 0]);
    }

    #[test]
    fn a_queue_that_is_nearly_full_is_told() {
        let listener = |backlog, backlog_limit| Listener { backlog, backlog_limit, ..Listener::default() };
        assert!(
            of_listener(listener(80, 100))[0]
                .starts_with("error: 80 of 100 connections wait for web at 192.0.2.1:443")
        );
        for (backlog, limit) in [(79, 100), (-1, -1), (0, 0), (5, -1)] {
            assert_eq!(of_listener(listener(backlog, limit)), [""; 0], "{backlog} of {limit}");
        }
    }

    #[test]
    fn a_route_without_servers_is_an_error_and_a_server_that_is_down_a_warning() {
        let seen = Check { ok: false, text: "refused".to_owned(), ..Check::default() };
        let down = Server { checks: vec![seen], ..server("one:80", "down", "ready") };
        let found = of_routes(vec![route(vec![down.clone(), server("two:80", "up", "ready")])]);
        assert_eq!(
            found,
            ["warning: server one:80 of web/api is down (refused): the others take its clients"]
        );
        let found = of_routes(vec![route(vec![down, server("two:80", "up", "maint")])]);
        let text = "error: no server of web/api is left (refused): see whether one:80 runs and is reachable";
        assert_eq!(found, [text]);
        let found = of_routes(vec![route(vec![server("two:80", "up", "drain")])]);
        assert_eq!(found, ["error: every server of web/api was taken out by hand: put one back in"]);
        let taken_out = vec![server("one:80", "up", "maint"), server("two:80", "unchecked", "ready")];
        assert_eq!(of_routes(vec![route(taken_out), route(Vec::new())]), [""; 0]);
        let weightless = Server { weight: 0, ..server("one:80", "up", "ready") };
        let found = of_routes(vec![route(vec![weightless])]);
        assert_eq!(found, ["error: no server of web/api has a weight above 0: give one some"]);
        let found =
            of_routes(vec![route(vec![server("one:80", "paused", "ready"), server("x", "up", "maint")])]);
        let text = "error: every server of web/api is paused: see what connections to one:80 fail for (tunnelctl errors)";
        assert_eq!(found, [text]);
        let backup = Server { backup: true, ..server("two:80", "up", "ready") };
        let found = of_routes(vec![route(vec![server("one:80", "up", "maint"), backup.clone()])]);
        assert_eq!(found, ["warning: only backups of web/api serve: bring one of its own servers back"]);
        assert_eq!(of_routes(vec![route(vec![server("one:80", "up", "ready"), backup])]), [""; 0]);
    }

    #[test]
    fn a_worker_that_is_stuck_is_told() {
        let worker = |busy_for| Worker {
            number: 3,
            busy_for,
            connections: 1,
            doing: "resolving".to_owned(),
            ..Worker::default()
        };
        let of = |worker| told(&Snapshot { at: NOW, workers: vec![worker], ..Snapshot::default() });
        let text =
            "error: worker 3, with 1 connection, has been busy for 4.2 s with resolving: if it goes on";
        assert!(of(worker(4.24))[0].starts_with(text), "{:?}", of(worker(4.24)));
        assert_eq!(of(worker(0.9)), [""; 0]);
    }

    #[test]
    fn what_the_process_runs_out_of_is_told() {
        let with = |active, places| Process {
            places,
            max_connections: 1000,
            open_files: 1024,
            traffic: Traffic { active, ..Traffic::default() },
            ..Process::default()
        };
        assert_eq!(of_process(with(899, 1000)), [""; 0]);
        assert!(
            of_process(with(900, 1000))[0].starts_with("warning: 900 of at most 1000 connections are in use")
        );
        assert!(of_process(with(1000, 1000))[0].starts_with("error: "));
        let found = of_process(with(0, 500));
        assert!(
            found[0].starts_with("warning: max_connections is 1000, but 1024 open files suffice for 500")
        );
        let found = of_process(Process { log_lost: 2, ..Process::default() });
        assert!(found[0].starts_with("warning: 2 lines of the log"), "{found:?}");
    }

    #[test]
    fn a_drain_is_told() {
        let traffic = Traffic { active: 7, ..Traffic::default() };
        let found = of_process(Process { state: "draining".to_owned(), traffic, ..Process::default() });
        assert_eq!(
            found,
            ["warning: draining: no new clients are taken, and 7 connections may still end by themselves"]
        );
        assert_eq!(of_process(Process { state: "serving".to_owned(), ..Process::default() }), [""; 0]);
    }

    #[test]
    fn a_service_whose_connections_fail_is_told_with_the_cause_of_now() {
        let cause = |cause: &str, count, last| Failures {
            cause: cause.to_owned(),
            count,
            last,
            hint: "why".to_owned(),
            ..Failures::default()
        };
        let failing = |share: f64| {
            let history = History {
                step: 5.0,
                connections: vec![10.0; 60],
                failures: vec![10.0 * share; 60],
                ..History::default()
            };
            let failures = vec![cause("old", 9000, NOW - 900.0), cause("new", 5, NOW), cause("rare", 1, NOW)];
            let services = vec![Service { name: "web".to_owned(), history, failures, ..Service::default() }];
            told(&Snapshot { at: NOW, services, ..Snapshot::default() })
        };
        assert_eq!(failing(0.1), [""; 0]);
        let text =
            "warning: 30 % of the connections of web failed in the last five minutes, most often by new: why";
        assert_eq!(failing(0.3), [text]);
        assert!(failing(1.0)[0].starts_with("error: 100 % of"));
        // Few: two in five minutes.
        let history = History {
            step: 1.0,
            connections: vec![0.007; 300],
            failures: vec![0.007; 300],
            ..History::default()
        };
        let services = vec![Service { history, ..Service::default() }];
        assert_eq!(told(&Snapshot { at: NOW, services, ..Snapshot::default() }), [""; 0]);
    }

    #[test]
    fn failures_before_the_span_are_forgotten() {
        let failures = [vec![10.0; 300], vec![0.0; 300]].concat();
        let history = History { step: 1.0, connections: vec![10.0; 600], failures, ..History::default() };
        let services = vec![Service { history, ..Service::default() }];
        assert_eq!(told(&Snapshot { at: NOW, services, ..Snapshot::default() }), [""; 0]);
    }

    #[test]
    fn errors_come_first_and_there_is_an_end() {
        let mut certificates: Vec<Certificate> = (0..150).map(|_| certificate(20.0)).collect();
        certificates.push(certificate(2.0));
        let process = Process { state: "draining".to_owned(), ..Process::default() };
        let found = told(&Snapshot { at: NOW, process, certificates, ..Snapshot::default() });
        assert_eq!(found.len(), MOST + 1);
        assert!(
            found[0].starts_with("error: certificate") && found[1].starts_with("warning: draining"),
            "{found:?}"
        );
        assert_eq!(found[MOST], "warning: there are 52 more problems; solve those above first");
    }
}
