// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon's values as tables, for the plain commands and for the full screen. Pure.

use crate::args::Subject;
use crate::line::{Piece, Tone};
use crate::table::{Cell, Column, Table, number, text};
use crate::units::{ago, byte_rate, bytes, count, day, float, moment, rate, share, span};
use tunnel::connection::view::{ConnectionView, TlsView};
use tunnel::control::model::{Failure, Listener, Server, Snapshot, Timing, Traffic};

/// Days before its end from which a certificate is told of.
const SOON: f64 = 30.0;

/// The table of `subject`.
pub(crate) fn table(subject: Subject, seen: &Snapshot) -> Table {
    match subject {
        Subject::Services => services(seen),
        Subject::Routes => routes(seen),
        Subject::Listeners => listeners(seen),
        Subject::Servers => servers(seen),
        Subject::Workers => workers(seen),
        Subject::Certificates => certificates(seen),
        // Those are not in the snapshot.
        Subject::Errors => Table::default(),
    }
}

/// What most tables say of traffic.
const TRAFFIC: [Column; 7] = [
    number("ACTIVE"),
    number("PEAK"),
    number("TOTAL"),
    number("FAILED"),
    number("CONN/S"),
    number("IN"),
    number("OUT"),
];

fn traffic(traffic: &Traffic) -> Vec<Cell> {
    let whole = |value: u64| Cell::number(float(value), count(value));
    let failed = whole(traffic.failed);
    vec![
        whole(traffic.active),
        whole(traffic.peak),
        whole(traffic.total),
        if traffic.failed > 0 { failed.toned(Tone::Warn) } else { failed },
        Cell::number(traffic.rate, rate(traffic.rate)),
        Cell::number(float(traffic.bytes_in), bytes(traffic.bytes_in)),
        Cell::number(float(traffic.bytes_out), bytes(traffic.bytes_out)),
    ]
}

/// A percentile of something that may not have been measured.
fn timing(timing: &Timing, value: f64) -> Cell {
    if timing.count == 0 { Cell::number(-1.0, "-") } else { Cell::number(value, span(value)) }
}

fn columns(own: &[Column], last: &[Column]) -> Vec<Column> {
    [own, &TRAFFIC, last].concat()
}

fn services(seen: &Snapshot) -> Table {
    let own = [text("SERVICE"), text("MODE"), text("STATE")];
    let last = [number("IN/S"), number("OUT/S"), number("HS P50"), number("HS P99"), text("LISTENS ON")];
    let mut table = Table::new(&columns(&own, &last));
    for service in &seen.services {
        let mut cells =
            vec![Cell::text(&service.name), Cell::text(&service.mode), Cell::state(&service.state)];
        cells.extend(traffic(&service.traffic));
        cells.extend([
            Cell::number(service.traffic.rate_in, byte_rate(service.traffic.rate_in)),
            Cell::number(service.traffic.rate_out, byte_rate(service.traffic.rate_out)),
            timing(&service.handshakes, service.handshakes.p50),
            timing(&service.handshakes, service.handshakes.p99),
            Cell::text(service.listens_on.join(" ")),
        ]);
        table.push(0, cells);
    }
    table
}

fn routes(seen: &Snapshot) -> Table {
    let own = [text("SERVICE"), text("ROUTE"), text("ACTION"), text("TLS")];
    let mut table = Table::new(&columns(&own, &[text("TAKES")]));
    for service in &seen.services {
        for route in &service.routes {
            let mut cells = vec![
                Cell::text(&service.name),
                Cell::text(&route.name),
                Cell::text(&route.action),
                Cell::text(&route.tls),
            ];
            cells.extend(traffic(&route.traffic));
            cells.push(Cell::text(route.takes.join(" ")));
            table.push(0, cells);
        }
    }
    table
}

fn listeners(seen: &Snapshot) -> Table {
    let own = [text("ADDRESS"), text("SERVICE"), text("STATE"), number("BACKLOG")];
    let mut table = Table::new(&columns(&own, &[text("REASON")]));
    for listener in &seen.listeners {
        let mut cells = vec![
            Cell::text(&listener.address),
            Cell::text(&listener.service),
            Cell::state(&listener.state),
            backlog(listener),
        ];
        cells.extend(traffic(&listener.traffic));
        cells.push(Cell::text(&listener.reason));
        table.push(0, cells);
    }
    table
}

/// "3/512", in a warning tone from half of it on.
fn backlog(listener: &Listener) -> Cell {
    let (waiting, limit) = (listener.backlog, listener.backlog_limit);
    let Ok(rank) = u64::try_from(waiting).map(float) else { return Cell::number(-1.0, "-") };
    let shown = if limit > 0 { format!("{waiting}/{limit}") } else { waiting.to_string() };
    let cell = Cell::number(rank, shown);
    if limit > 0 && waiting.saturating_mul(2) >= limit { cell.toned(Tone::Warn) } else { cell }
}

fn servers(seen: &Snapshot) -> Table {
    let own = [text("SERVER"), text("ROUTE"), text("ADDRESS"), text("ADMIN"), text("STATE"), number("SINCE")];
    let shares = [number("WEIGHT"), text("BACKUP"), number("MOST")];
    let own = [&own[..], &shares].concat();
    let last = [number("CT P50"), number("CT P99"), number("ERRORS"), text("CHECK"), text("LAST ERROR")];
    let mut table = Table::new(&columns(&own, &last));
    let all =
        seen.services.iter().flat_map(|service| service.routes.iter().map(move |route| (service, route)));
    for (service, route, server) in
        all.flat_map(|(service, route)| route.servers.iter().map(move |server| (service, route, server)))
    {
        let since = if server.since > 0.0 { seen.at - server.since } else { -1.0 };
        let mut cells = vec![
            Cell::text(format!("{}/{}", service.name, server.name)),
            Cell::text(&route.name),
            Cell::text(&server.address),
            Cell::state(&server.admin),
            Cell::state(&server.state),
            Cell::number(since, if since < 0.0 { "-".to_owned() } else { span(since) }),
            Cell::number(server.weight.into(), server.weight.to_string()),
            Cell::text(if server.backup { "yes" } else { "-" }),
            most(server.max_connections),
        ];
        cells.extend(traffic(&server.traffic));
        cells.extend([
            timing(&server.connects, server.connects.p50),
            timing(&server.connects, server.connects.p99),
            errors_of(server),
            check(server),
            Cell::text(if server.last_error_at > 0.0 {
                format!("{} ({})", server.last_error, ago(server.last_error_at, seen.at))
            } else {
                String::new()
            }),
        ]);
        table.push(0, cells);
    }
    table
}

/// The most connections at once; 0: as many as come.
fn most(connections: u64) -> Cell {
    if connections == 0 {
        Cell::number(f64::MAX, "-")
    } else {
        Cell::number(float(connections), count(connections))
    }
}

fn errors_of(server: &Server) -> Cell {
    let cell = Cell::number(float(server.connect_errors), count(server.connect_errors));
    if server.connect_errors > 0 { cell.toned(Tone::Warn) } else { cell }
}

/// The newest check, and a mark for each of those before it.
fn check(server: &Server) -> Cell {
    let Some(newest) = server.checks.first() else { return Cell::text("-").toned(Tone::Faint) };
    let marks: String = server.checks.iter().take(10).map(|check| if check.ok { '·' } else { 'x' }).collect();
    let cell = Cell::text(format!("{} {} {marks}", newest.status, span(newest.took)));
    cell.toned(if newest.ok { Tone::Good } else { Tone::Bad })
}

fn workers(seen: &Snapshot) -> Table {
    let mut table = Table::new(&[
        number("WORKER"),
        text("STATE"),
        number("LOAD"),
        number("ACTIVE"),
        number("TOTAL"),
        number("TURNS"),
        number("TURN P50"),
        number("TURN P99"),
        number("LONGEST"),
        number("INBOX"),
        number("PANICS"),
        text("DOING"),
    ]);
    for worker in &seen.workers {
        let whole = |value: u64| Cell::number(float(value), count(value));
        let doing = if worker.doing.is_empty() {
            String::new()
        } else {
            format!("{} for {}", worker.doing, span(worker.busy_for))
        };
        let panics = whole(worker.panics);
        table.push(
            worker.number,
            vec![
                // The first worker first.
                Cell::number(-float(worker.number), worker.number.to_string()),
                Cell::state(&worker.state),
                Cell::number(worker.load, share(worker.load, 1.0)),
                whole(worker.connections),
                whole(worker.traffic.total),
                whole(worker.turns),
                timing(&worker.turn, worker.turn.p50),
                timing(&worker.turn, worker.turn.p99),
                Cell::number(worker.longest, span(worker.longest)),
                whole(worker.inbox),
                if worker.panics > 0 { panics.toned(Tone::Bad) } else { panics },
                Cell::text(doing),
            ],
        );
    }
    table
}

fn certificates(seen: &Snapshot) -> Table {
    let mut table = Table::new(&[
        text("KIND"),
        text("NAMES"),
        text("KEY"),
        text("FROM"),
        text("UNTIL"),
        number("LEFT"),
        text("USED BY"),
        text("FILE"),
    ]);
    for certificate in &seen.certificates {
        let left = (certificate.not_after - seen.at) / 86_400.0;
        let tone = match left {
            _ if certificate.not_after <= 0.0 || certificate.kind == "ticket-key" => Tone::Plain,
            left if left < 0.0 => Tone::Bad,
            left if left < SOON && certificate.kind != "crl" => Tone::Warn,
            _ => Tone::Good,
        };
        let shown = match left {
            _ if certificate.not_after <= 0.0 => "-".to_owned(),
            left if left < 0.0 => "ended".to_owned(),
            left => span(left * 86_400.0),
        };
        let newer = if certificate.newer_on_disk { " (newer on disk: reload)" } else { "" };
        let file = Cell::text(format!("{}{newer}", certificate.file));
        table.push(
            0,
            vec![
                Cell::text(&certificate.kind),
                Cell::text(certificate.names.join(" ")),
                Cell::text(&certificate.key_type),
                Cell::text(day(certificate.not_before)),
                Cell::text(day(certificate.not_after)).toned(tone),
                // What ends first comes first.
                Cell::number(-left, shown).toned(tone),
                Cell::text(certificate.used_by.join(" ")),
                if certificate.newer_on_disk { file.toned(Tone::Warn) } else { file },
            ],
        );
    }
    table
}

/// Failures, as they come: the newest first.
pub(crate) fn errors(failures: &[Failure]) -> Table {
    let mut table = Table::new(&[
        text("TIME"),
        text("SERVICE"),
        text("CLIENT"),
        text("NAME"),
        text("SERVER"),
        text("CAUSE"),
        text("DOING"),
        text("TEXT"),
    ]);
    for failure in failures {
        let said = if failure.text.is_empty() { &failure.hint } else { &failure.text };
        table.push(
            failure.id,
            vec![
                Cell::text(moment(failure.at)),
                Cell::text(&failure.service),
                Cell::text(&failure.client),
                Cell::text(&failure.name),
                Cell::text(&failure.server),
                Cell::text(&failure.cause).toned(Tone::Warn),
                Cell::text(&failure.doing),
                Cell::text(said),
            ],
        );
    }
    table
}

/// Connections, in the order they come in.
pub(crate) fn connections<'c>(connections: impl IntoIterator<Item = &'c ConnectionView>) -> Table {
    let mut table = Table::new(&[
        number("ID"),
        text("STATE"),
        text("SERVICE"),
        text("CLIENT"),
        text("NAME"),
        text("SERVER"),
        number("AGE"),
        number("IDLE"),
        number("IN"),
        number("OUT"),
        number("IN/S"),
        number("OUT/S"),
        text("TLS"),
        text("WAITS FOR"),
    ]);
    for connection in connections {
        let size = |value: u64| Cell::number(float(value), bytes(value));
        table.push(
            connection.id,
            vec![
                Cell::number(float(connection.id), connection.id.to_string()),
                Cell::text(&connection.state),
                Cell::text(&connection.service),
                Cell::text(&connection.client),
                Cell::text(&connection.name),
                Cell::text(&connection.server),
                Cell::number(connection.age, span(connection.age)),
                Cell::number(connection.idle, span(connection.idle)),
                size(connection.bytes_in),
                size(connection.bytes_out),
                Cell::number(connection.rate_in, byte_rate(connection.rate_in)),
                Cell::number(connection.rate_out, byte_rate(connection.rate_out)),
                Cell::text(tls(connection)),
                Cell::text(&connection.waits_for),
            ],
        );
    }
    table
}

/// Both sides in few words: "1.3/-", "1.3r/1.2".
fn tls(connection: &ConnectionView) -> String {
    let side = |side: &Option<TlsView>| match side {
        None => "-".to_owned(),
        Some(tls) => {
            let version = tls.version.strip_prefix("TLSv").unwrap_or(&tls.version);
            format!("{version}{}", if tls.resumed { "r" } else { "" })
        }
    };
    match (&connection.client_tls, &connection.server_tls) {
        (None, None) => "-".to_owned(),
        (client, server) => format!("{}/{}", side(client), side(server)),
    }
}

/// A word and its share of a whole, for lists.
pub(crate) fn share_of(name: &str, part: u64, whole: u64) -> Piece {
    Piece::plain(format!("{name} {}", share(float(part), float(whole))))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tunnel::control::model::{Certificate, Check, Problem, Process, Route, Service, Worker};

    /// A daemon with one of everything, at the time 1000000.
    pub(crate) fn sample() -> Snapshot {
        let at = 1_000_000.0;
        let traffic = Traffic {
            active: 3,
            peak: 9,
            total: 12_345,
            failed: 2,
            rate: 1.5,
            bytes_in: 2048,
            ..Traffic::default()
        };
        let route = Route {
            name: "default".into(),
            servers: vec![server(at)],
            takes: vec!["*".into()],
            ..Route::default()
        };
        let service = Service {
            name: "web".into(),
            mode: "relay".into(),
            state: "up".into(),
            traffic: traffic.clone(),
            listens_on: vec!["127.0.0.1:443".into()],
            routes: vec![route],
            ..Service::default()
        };
        let listener = Listener {
            address: "127.0.0.1:443".into(),
            service: "web".into(),
            state: "accepting".into(),
            backlog: 300,
            backlog_limit: 512,
            ..Listener::default()
        };
        let unknown =
            Listener { address: "unix:/x".into(), backlog: -1, backlog_limit: -1, ..Listener::default() };
        let ends = |names: &str, days: f64| Certificate {
            kind: "certificate".into(),
            names: vec![names.into()],
            not_after: at + days * 86_400.0,
            ..Certificate::default()
        };
        let problem = Problem {
            severity: "error".into(),
            subject: "web/one".into(),
            text: "server web/one is down".into(),
        };
        let process = Process {
            version: "0.1.0".into(),
            state: "serving".into(),
            uptime: 3723.0,
            problems: vec![problem],
            traffic,
            ..Process::default()
        };
        Snapshot {
            at,
            process,
            services: vec![service],
            listeners: vec![listener, unknown],
            workers: vec![Worker { number: 1, state: "asleep".into(), ..Worker::default() }],
            certificates: vec![
                ends("later.example", 100.0),
                ends("soon.example", 6.0),
                ends("past.example", -1.0),
            ],
            ..Snapshot::default()
        }
    }

    fn server(at: f64) -> Server {
        let checks = vec![
            Check { ok: false, status: "L4CON".into(), took: 0.002, ..Check::default() },
            Check { ok: true, ..Check::default() },
        ];
        Server {
            name: "one".into(),
            address: "192.0.2.1:443".into(),
            admin: "ready".into(),
            state: "down".into(),
            since: at - 60.0,
            connect_errors: 4,
            last_error: "connection refused".into(),
            last_error_at: at - 5.0,
            checks,
            ..Server::default()
        }
    }

    fn shown(table: &Table) -> String {
        table.lines(None).iter().map(|line| line.text() + "\n").collect()
    }

    #[test]
    fn every_subject_has_a_table_that_names_what_it_shows() {
        let seen = sample();
        for (subject, words) in [
            (Subject::Services, ["web", "12.3k", "2.00K", "127.0.0.1:443"]),
            (Subject::Routes, ["web", "default", "ROUTE", "*"]),
            (Subject::Listeners, ["127.0.0.1:443", "300/512", "accepting", "unix:/x"]),
            (Subject::Servers, ["web/one", "down", "connection refused (5.0s ago)", "L4CON 2.0ms x·"]),
            (Subject::Workers, ["WORKER", "1", "asleep", "0%"]),
            (Subject::Certificates, ["soon.example", "6d00h", "ended", "100d"]),
        ] {
            let text = shown(&table(subject, &seen));
            assert!(words.iter().all(|word| text.contains(word)), "{subject:?}\n{text}");
        }
    }

    #[test]
    fn what_ends_soon_and_what_is_full_stands_out() {
        let tones = |subject, column: usize| {
            let table = table(subject, &sample());
            table.rows.iter().map(|row| row.cells[column].piece.tone()).collect::<Vec<_>>()
        };
        assert_eq!(tones(Subject::Certificates, 5), [Tone::Good, Tone::Warn, Tone::Bad]);
        assert_eq!(tones(Subject::Listeners, 3), [Tone::Warn, Tone::Plain]);
        let mut by_end = table(Subject::Certificates, &sample());
        by_end.sort(5, false);
        let order: Vec<_> = by_end.rows.iter().map(|row| row.cells[1].piece.text().to_owned()).collect();
        assert_eq!(order, ["past.example", "soon.example", "later.example"]);
    }

    #[test]
    fn a_connection_tells_both_sides_of_tls_and_nothing_commands_the_terminal() {
        let tls13 = TlsView { version: "TLSv1.3".into(), resumed: true, ..TlsView::default() };
        let view = ConnectionView {
            id: 42,
            name: "evil\u{1b}[2J.example".into(),
            client_tls: Some(tls13),
            bytes_in: 5 << 20,
            ..ConnectionView::default()
        };
        let text = shown(&connections([&view]));
        assert!(
            text.contains("1.3r/-") && text.contains("5.00M") && text.contains("evil�[2J.example"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn failures_show_their_hint_when_there_is_nothing_else_to_say() {
        let failure =
            Failure { cause: "no-name".into(), hint: "the client sent no name".into(), ..Failure::default() };
        assert!(shown(&errors(&[failure])).contains("the client sent no name"));
    }
}
