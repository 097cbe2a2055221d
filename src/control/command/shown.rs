// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is shown as text, each thing in the shape that HAProxy gives it: servers, tables, certificates, failures.
//!
//! Not here: `show info` (`info.rs`), `show stat` (`stat.rs`), connections (`connections.rs`), JSON (`json.rs`).

use super::json::servers_of;
use super::stat::{check_health, status};
use super::text::{plain, word};
use super::{Call, Done};
use crate::control::model::{Certificate, Failure, Server, Service, Snapshot};
use crate::sys::time;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The months, as HAProxy and OpenSSL write them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a server is called among those of its service: by itself where there is one route, else with its route.
pub(super) fn server_name<'n>(routes: usize, route: &str, server: &'n str) -> Cow<'n, str> {
    if routes <= 1 { Cow::Borrowed(server) } else { Cow::Owned(format!("{route}/{server}")) }
}

pub(super) fn version(call: &mut Call<'_>) -> Done {
    Done::Text(format!("{}\n", call.state.snapshot().process.version))
}

/// The configuration with every default; secrets stand in files, of which it has the paths.
pub(super) fn effective(call: &mut Call<'_>) -> Done {
    // An empty line would be taken for the end of the answer.
    let text = call.state.effective();
    let lines = text.lines().filter(|line| !line.is_empty());
    Done::Text(lines.map(|line| plain_keeping_letters(line) + "\n").collect())
}

/// As [`plain`], but what was configured keeps its letters: only control characters are escaped.
fn plain_keeping_letters(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

pub(super) fn backends(call: &mut Call<'_>) -> Done {
    let mut text = "# name\n".to_owned();
    for service in &call.state.snapshot().services {
        _ = writeln!(text, "{}", word(&service.name));
    }
    Done::Text(text)
}

/// In the form of HAProxy's, as far as there is the same: here nobody counts by server.
pub(super) fn resolvers(call: &mut Call<'_>) -> Done {
    let resolver = call.state.sources.resolver.get();
    let names = call.state.snapshot().process.names.clone();
    let servers: Vec<String> = resolver.settings().servers.iter().map(ToString::to_string).collect();
    let servers = if servers.is_empty() { "of the system".to_owned() } else { servers.join(" ") };
    let mut text = format!("Resolvers section default\n nameserver {servers}:\n");
    for (name, value) in [
        ("sent", names.queries),
        ("failed", names.failed_tries),
        ("hits", names.hits),
        ("misses", names.misses),
        ("nx", names.no_names),
        ("unanswered", names.unanswered),
        ("kept", names.kept),
    ] {
        _ = writeln!(text, "  {:<12}{value}", format!("{name}:"));
    }
    Done::Text(text)
}

pub(super) fn activity(call: &mut Call<'_>) -> Done {
    let snapshot = call.state.snapshot();
    let workers = &snapshot.workers;
    let mut text = format!("thread_id: 1 (1..{})\ndate_now: {:.6}\n", workers.len(), snapshot.at);
    let mut line = |name: &str, values: Vec<u64>| {
        let each: Vec<String> = values.iter().map(u64::to_string).collect();
        _ = writeln!(text, "{name}: {} [ {} ]", values.iter().sum::<u64>(), each.join(" "));
    };
    line("loops", workers.iter().map(|worker| worker.turns).collect());
    line("connections", workers.iter().map(|worker| worker.connections).collect());
    line("accepted", workers.iter().map(|worker| worker.traffic.total).collect());
    line("inbox", workers.iter().map(|worker| worker.inbox).collect());
    line("bookmarks", workers.iter().map(|worker| worker.bookmarks).collect());
    line("panics", workers.iter().map(|worker| worker.panics).collect());
    Done::Text(text)
}

/// The services that were asked for, each with its number in `show stat`.
fn chosen<'s>(call: &Call<'_>, snapshot: &'s Snapshot) -> Result<Vec<(u64, &'s Service)>, String> {
    let wanted = call.words.first();
    let all = (2..).zip(&snapshot.services);
    let found: Vec<_> = all.filter(|(_, service)| wanted.is_none_or(|name| *name == service.name)).collect();
    if found.is_empty() && wanted.is_some() { Err("Can't find backend.".to_owned()) } else { Ok(found) }
}

/// Version 1 of HAProxy's format for states (management.txt, `show servers state`).
pub(super) fn servers_state(call: &mut Call<'_>) -> Done {
    let snapshot = call.state.snapshot();
    let services = match chosen(call, &snapshot) {
        Ok(services) => services,
        Err(why) => return Done::Refused(why),
    };
    let mut text = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
         srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
         srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port \
         srv_check_addr srv_agent_addr srv_agent_port\n"
        .to_owned();
    for (iid, service) in services {
        for server in servers_of(service) {
            state_line(iid, service, server, snapshot.at, &mut text);
        }
    }
    Done::Text(text)
}

fn state_line(iid: u64, service: &Service, server: &Server, now: f64, text: &mut String) {
    let name = server_name(service.routes.len(), &server.route, &server.name);
    let (address, port) = address_and_port(&server.address);
    // 0 stopped, 2 running, 3 stopping; 0x01 forced into maintenance, 0x08 forced to drain.
    let (running, forced) = match status(server) {
        "DOWN" => (0, 0),
        "MAINT" => (0, 1),
        "DRAIN" => (2, 8),
        "NOLB" => (3, 0),
        _ => (2, 0),
    };
    let (status, result, health, state) = check_state(server);
    let since = super::field::whole((now - server.since).floor());
    let tls = u8::from(service.connects_tls);
    let (service, name) = (word(&service.name), word(&name));
    let (weight, initial) = (server.weight, server.initial_weight);
    _ = writeln!(
        text,
        "{iid} {service} {} {name} {} {running} {forced} {weight} {initial} {since} {status} {result} {health} {state} 0 0 0 - {port} - {tls} 0 - - 0",
        server.number,
        word(address),
    );
}

/// The last check as HAProxy numbers it: its status and its result, how well the server is, whether checks are configured (2)
/// and enabled (4). (Numbers of include/haproxy/check-t.h.)
fn check_state(server: &Server) -> (u8, u8, u64, u8) {
    if server.check.is_empty() {
        return (1, 0, 2, 0);
    }
    let state = if server.watched { 6 } else { 2 };
    let Some(check) = server.checks.first() else { return (1, 0, check_health(server), state) };
    let status = match &*check.status {
        "SOCKERR" => 5,
        "L4OK" => 6,
        "L4TOUT" => 7,
        "L4CON" => 8,
        "L6OK" => 9,
        "L6TOUT" => 10,
        "L6RSP" => 11,
        "L7TOUT" => 13,
        "L7RSP" => 14,
        "L7OK" => 15,
        "L7STS" => 17,
        _ => 0,
    };
    (status, if check.ok { 3 } else { 2 }, check_health(server), state)
}

pub(super) fn servers_conn(call: &mut Call<'_>) -> Done {
    let snapshot = call.state.snapshot();
    let services = match chosen(call, &snapshot) {
        Ok(services) => services,
        Err(why) => return Done::Refused(why),
    };
    let mut text =
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb \
         idle_lim idle_cur idle_per_thr[0]\n"
            .to_owned();
    for (iid, service) in services {
        for server in servers_of(service) {
            let name = server_name(service.routes.len(), &server.route, &server.name);
            let (address, port) = address_and_port(&server.address);
            let (service, name, number) = (word(&service.name), word(&name), server.number);
            let (active, peak) = (server.traffic.active, server.traffic.peak);
            let address = word(address);
            _ = writeln!(
                text,
                "{service}/{name} {iid}/{number} {address} {port} - 0 {active} {peak} 0 0 0 0 0"
            );
        }
    }
    Done::Text(text)
}

/// `127.0.0.1:80` apart; a unix socket has port 0.
fn address_and_port(address: &str) -> (&str, &str) {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
        }
        _ => (address, "0"),
    }
}

/// The tables of rules with limits. What is in them is known by its hash only, so the sources are not told.
pub(super) fn tables(call: &mut Call<'_>) -> Done {
    let snapshot = call.state.snapshot();
    let mut text = String::new();
    for service in &snapshot.services {
        for rule in service.rules.iter().filter(|rule| rule.capacity > 0) {
            let name = format!("{}/{}", service.name, rule.name);
            if call.words.first().is_none_or(|wanted| *wanted == name) {
                let (size, used) = (rule.capacity, rule.tracked);
                _ = writeln!(text, "# table: {}, type: ip, size:{size}, used:{used}", word(&name));
            }
        }
    }
    if text.is_empty() && !call.words.is_empty() {
        return Done::Refused("No such table.".to_owned());
    }
    Done::Text(text)
}

pub(super) fn errors(call: &mut Call<'_>) -> Done {
    Done::Text(failures(&call.state.failures(), time::unix()))
}

fn failures(failures: &[Failure], now: f64) -> String {
    let mut text = format!("Total events captured on [{}] : {}\n", clock(now), failures.len());
    for failure in failures {
        let Failure { id, worker, .. } = failure;
        let at = clock(failure.at);
        let fields = [
            ("frontend", &failure.service),
            ("route", &failure.route),
            ("src", &failure.client),
            ("name", &failure.name),
            ("server", &failure.server),
            ("cause", &failure.cause),
        ];
        let fields: String = fields.iter().map(|(key, value)| format!(" {key}={}", word(value))).collect();
        _ = writeln!(text, "[{at}] id={id} worker={worker}{fields}: {}", plain(&failure.text));
    }
    text
}

pub(super) fn certificates(call: &mut Call<'_>) -> Done {
    let all = call.state.certificates();
    files(&all, |kind| matches!(kind, "certificate" | "client-certificate"), call.words)
}

pub(super) fn crls(call: &mut Call<'_>) -> Done {
    let all = call.state.certificates();
    files(&all, |kind| kind == "crl", call.words)
}

/// The files of some kind, or what stands in the one that was named.
fn files(all: &[Certificate], wanted: fn(&str) -> bool, words: &[String]) -> Done {
    let mut all = all.iter().filter(|certificate| wanted(&certificate.kind));
    let Some(file) = words.first() else {
        let mut text = "# filename\n".to_owned();
        all.for_each(|certificate| _ = writeln!(text, "{}", plain(&certificate.file)));
        return Done::Text(text);
    };
    all.find(|certificate| certificate.file == *file).map_or_else(
        || {
            Done::Refused(
                "Can't display the certificate: Not found or the certificate is a bundle!".to_owned(),
            )
        },
        |certificate| Done::Text(details(certificate)),
    )
}

fn details(certificate: &Certificate) -> String {
    let names: Vec<_> = certificate.names.iter().map(|name| plain(name)).collect();
    let mut text = format!("Filename: {}\nStatus: Used\n", plain(&certificate.file));
    let newer = if certificate.newer_on_disk { "yes" } else { "no" };
    for (name, value) in [
        ("Serial", plain(&certificate.serial)),
        ("notBefore", date(certificate.not_before).into()),
        ("notAfter", date(certificate.not_after).into()),
        ("Names", names.join(", ").into()),
        ("Algorithm", plain(&certificate.key_type)),
        ("SHA256 FingerPrint", plain(&certificate.fingerprint)),
        ("Issuer", plain(&certificate.issuer)),
        ("Used by", plain(&certificate.used_by.join(", ")).into_owned().into()),
        ("Newer on disk", newer.into()),
    ] {
        _ = writeln!(text, "{name}: {value}");
    }
    text
}

/// `21/Nov/2026:20:07:26`, local time.
fn clock(seconds: f64) -> String {
    let t = time::local(i64::try_from(super::field::whole(seconds.floor())).unwrap_or(0));
    let month = MONTHS.get(usize::from(t.month).wrapping_sub(1)).unwrap_or(&"???");
    format!("{:02}/{month}/{}:{:02}:{:02}:{:02}", t.day, t.year, t.hour, t.minute, t.second)
}

/// `Nov 21 20:07:26 2026 GMT`; nothing for 0.
fn date(seconds: f64) -> String {
    if seconds <= 0.0 {
        return String::new();
    }
    let seconds = super::field::whole(seconds.floor());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, in years that begin in March (Fliegel and Van Flandern).
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let name = usize::try_from(month).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"???");
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{name} {day:>2} {hour:02}:{minute:02}:{second:02} {year} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0.0, ""),
            (1.0, "Jan  1 00:00:01 1970 GMT"),
            (951_782_400.0, "Feb 29 00:00:00 2000 GMT"),
            (951_868_800.0, "Mar  1 00:00:00 2000 GMT"),
            (1_795_291_645.9, "Nov 21 20:07:25 2026 GMT"),
            (4_102_444_799.0, "Dec 31 23:59:59 2099 GMT"),
            (4_107_542_400.0, "Mar  1 00:00:00 2100 GMT"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn addresses_come_apart() {
        for (address, expected) in [
            ("127.0.0.1:80", ("127.0.0.1", "80")),
            ("[::1]:443", ("::1", "443")),
            ("unix:/run/a", ("unix:/run/a", "0")),
            ("", ("", "0")),
        ] {
            assert_eq!(address_and_port(address), expected);
        }
    }

    #[test]
    fn servers_are_called_by_their_route_where_there_is_more_than_one() {
        assert_eq!(server_name(1, "default", "a:1"), "a:1");
        assert_eq!(server_name(2, "www", "a:1"), "www/a:1");
    }

    #[test]
    fn a_failure_is_a_line_whatever_the_client_calls_itself() {
        let failure = Failure {
            at: 5.0,
            id: 7,
            name: "a\nb c".into(),
            cause: "no-route".into(),
            text: "x\r\ny".into(),
            ..Failure::default()
        };
        let text = failures(&[failure], 6.0);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains(" : 1\n"), "{text}");
        assert!(
            text.ends_with("frontend=- route=- src=- name=a\\nb\\x20c server=- cause=no-route: x\\r\\ny\n"),
            "{text}"
        );
    }

    #[test]
    fn a_certificate_is_shown_by_its_file() {
        let certificate = Certificate {
            kind: "certificate".into(),
            file: "/a.pem".into(),
            names: vec!["a.example".into(), "b\x1b".into()],
            not_after: 1.0,
            ..Certificate::default()
        };
        let all =
            [certificate, Certificate { kind: "crl".into(), file: "/crl".into(), ..Certificate::default() }];
        let told = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            match files(&all, |kind| kind == "certificate", &words) {
                Done::Text(text) | Done::Refused(text) => text,
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(told(&[]), "# filename\n/a.pem\n");
        assert!(told(&["/a.pem"]).contains("notAfter: Jan  1 00:00:01 1970 GMT\nNames: a.example, b\\x1b\n"));
        assert!(told(&["/crl"]).starts_with("Can't display"));
    }
}
