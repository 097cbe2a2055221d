// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show stat`: a row for each service as a frontend, for each of its servers, and for all of them as a backend.
//!
//! The columns and their order are HAProxy's (management.txt, section 9.1), up to the one called "-"; ours come after it.
//! Tools count on both: some by name, some by number. What we do not know stays empty. Not here: what the values are
//! (`control/model.rs`).

use super::columns::COLUMNS;
use super::field::{Field, Value, whole};
use super::json::servers_of;
use super::shown::server_name;
use super::text::cell;
use super::{Call, Done};
use crate::control::model::{Server, Service, Snapshot, Timing, Traffic};
use std::fmt::Write as _;

/// The number of the first service: 0 is nobody's in HAProxy, and 1 is its own.
const FIRST_IID: u64 = 2;

/// Every kind of row, in the filter.
const ALL: u64 = 7;

/// What a row is about: letter and word, number in the column `type`, bit in the filter (management.txt, `show stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Frontend,
    Backend,
    Server,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Frontend => 'F',
            Self::Backend => 'B',
            Self::Server => 'S',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Frontend => "Frontend",
            Self::Backend => "Backend",
            Self::Server => "Server",
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Frontend => 0,
            Self::Backend => 1,
            Self::Server => 2,
        }
    }
}

/// One row.
#[derive(Debug)]
struct Row {
    kind: Kind,
    iid: u64,
    sid: u64,
    /// By column.
    values: Vec<Option<Value>>,
}

impl Row {
    fn new(kind: Kind, iid: u64, sid: u64, (pxname, svname): (&str, &str)) -> Self {
        let mut row = Self { kind, iid, sid, values: vec![None; COLUMNS.len()] };
        row.text("pxname", pxname);
        row.text("svname", svname);
        row.u32("pid", 1);
        row.u32("iid", iid);
        row.u32("sid", sid);
        row.u32("type", kind.number());
        row.text("mode", "tcp");
        row
    }

    fn set(&mut self, name: &str, value: Value) {
        let column = COLUMNS.iter().position(|(known, _)| *known == name);
        debug_assert!(column.is_some(), "{name} is no column");
        if let Some(place) = column.and_then(|column| self.values.get_mut(column)) {
            *place = Some(value);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.set(name, Value::Text(text.to_owned()));
    }

    fn u32(&mut self, name: &str, number: u64) {
        self.set(name, Value::U32(number));
    }

    fn u64(&mut self, name: &str, number: u64) {
        self.set(name, Value::U64(number));
    }

    fn traffic(&mut self, traffic: &Traffic) {
        self.u32("scur", traffic.active);
        self.u32("smax", traffic.peak);
        self.u64("stot", traffic.total);
        self.u64("bin", traffic.bytes_in);
        self.u64("bout", traffic.bytes_out);
        self.u32("rate", whole(traffic.rate));
        self.u32("rate_max", whole(traffic.peak_rate));
    }

    /// What stands at every place behind which servers are.
    fn attempts(&mut self, connects: &Timing, failed: u64) {
        for name in ["qcur", "qmax", "qtime", "rtime"] {
            self.u32(name, 0);
        }
        for name in ["dresp", "eresp", "wretr", "wredis", "cli_abrt", "srv_abrt"] {
            self.u64(name, 0);
        }
        self.u64("econ", failed);
        self.u64("connect", connects.count + failed);
        self.u64("lbtot", connects.count);
        self.u32("ctime", milliseconds(mean(connects)));
        self.u64("connect_p50_ms", milliseconds(connects.p50));
        self.u64("connect_p99_ms", milliseconds(connects.p99));
    }

    fn last(&mut self, traffic: &Traffic, now: f64) {
        let ago = if traffic.last > 0.0 { seconds_since(traffic.last, now) } else { -1 };
        self.set("lastsess", Value::S32(ago));
    }

    /// `pxname,svname,…`: each cell behind the other, and a comma behind the last as HAProxy has it.
    fn csv(&self, out: &mut String) {
        for ((name, _), value) in COLUMNS.iter().zip(&self.values) {
            match value {
                Some(Value::Text(text)) => out.push_str(&cell(text)),
                // Writing to a string cannot fail.
                Some(number) => _ = write!(out, "{number}"),
                None if *name == "-" => out.push('-'),
                None => {}
            }
            out.push(',');
        }
        out.push('\n');
    }

    fn fields(&self) -> impl Iterator<Item = (Field, &Value)> {
        let columns = COLUMNS.iter().zip(&self.values).enumerate();
        columns.filter_map(|(pos, ((name, tags), value))| {
            value.as_ref().map(|value| (Field { pos, name, tags }, value))
        })
    }

    fn typed(&self, out: &mut String) {
        let Self { kind, iid, sid, .. } = self;
        for (field, value) in self.fields() {
            _ = writeln!(out, "{}.{iid}.{sid}.{}", kind.letter(), field.typed(value));
        }
        out.push('\n');
    }

    fn json(&self, out: &mut String) {
        let Self { kind, iid, sid, .. } = self;
        for (index, (field, value)) in self.fields().enumerate() {
            let separator = if index == 0 { '[' } else { ',' };
            let head = format!("\"objType\":\"{}\",\"proxyId\":{iid},\"id\":{sid}", kind.word());
            _ = write!(out, "{separator}{{{head},{}}}", field.json(value));
        }
        out.push(']');
    }
}

/// Which rows are shown and how.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// A number or a name; none: every service.
    service: Option<String>,
    /// Bits: 1 frontends, 2 backends, 4 servers.
    kinds: u64,
    sid: Option<u64>,
    form: Form,
    up: bool,
    no_maint: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Csv,
    Typed,
    Json,
}

impl Asked {
    /// Understands what stands after `show stat`.
    fn read(words: &[String]) -> Result<Self, String> {
        let mut asked =
            Self { service: None, kinds: ALL, sid: None, form: Form::Csv, up: false, no_maint: false };
        let mut places = Vec::new();
        for word in words {
            match word.as_str() {
                "typed" => asked.form = Form::Typed,
                "json" => asked.form = Form::Json,
                "up" => asked.up = true,
                "no-maint" => asked.no_maint = true,
                "desc" => {}
                _ => places.push(word.as_str()),
            }
        }
        let number = |text: &str| {
            text.parse::<i64>()
                .map_err(|_| format!("{text:?} is neither a number nor typed, json, up or no-maint."))
        };
        match places[..] {
            [] => {}
            [service] => asked.service = Some(service.to_owned()).filter(|service| service != "-1"),
            [service, kinds, sid] => {
                asked.service = Some(service.to_owned()).filter(|service| service != "-1");
                asked.kinds = u64::try_from(number(kinds)?).unwrap_or(ALL);
                asked.sid = u64::try_from(number(sid)?).ok();
            }
            _ => {
                return Err(
                    "Give nothing, a service, or a service, a type and a server, each -1 for all.".to_owned()
                );
            }
        }
        Ok(asked)
    }

    fn takes(&self, iid: u64, name: &str) -> bool {
        self.service.as_ref().is_none_or(|service| service == name || *service == iid.to_string())
    }

    fn takes_row(&self, row: &Row, admin: &str, state: &str) -> bool {
        let bit = match row.kind {
            Kind::Frontend => 1,
            Kind::Backend => 2,
            Kind::Server => 4,
        };
        let is_server = row.kind == Kind::Server;
        self.kinds & bit != 0
            && self.sid.is_none_or(|sid| sid == row.sid)
            && !(is_server && self.no_maint && admin == "maint")
            && !(is_server && self.up && (admin == "maint" || state == "down"))
    }
}

pub(super) fn run(call: &mut Call<'_>) -> Done {
    match Asked::read(call.words) {
        Ok(asked) => Done::Text(show(&call.state.snapshot(), &asked)),
        Err(why) => Done::Refused(why),
    }
}

fn show(snapshot: &Snapshot, asked: &Asked) -> String {
    let rows = rows(snapshot, asked);
    let mut out = String::new();
    match asked.form {
        Form::Csv => {
            let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
            _ = writeln!(out, "# {},", names.join(","));
            rows.iter().for_each(|row| row.csv(&mut out));
        }
        Form::Typed => rows.iter().for_each(|row| row.typed(&mut out)),
        Form::Json => {
            out.push('[');
            for (index, row) in rows.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                row.json(&mut out);
            }
            out.push_str("]\n");
        }
    }
    out
}

fn rows(snapshot: &Snapshot, asked: &Asked) -> Vec<Row> {
    let mut rows = Vec::new();
    for (service, iid) in snapshot.services.iter().zip(FIRST_IID..) {
        if !asked.takes(iid, &service.name) {
            continue;
        }
        let mut add = |row: Row, admin: &str, state: &str| {
            if asked.takes_row(&row, admin, state) {
                rows.push(row);
            }
        };
        add(frontend(service, iid, snapshot), "", "");
        for server in servers_of(service) {
            add(one_server(service, server, iid, snapshot.at), &server.admin, &server.state);
        }
        add(backend(service, iid, snapshot.at), "", "");
    }
    rows
}

fn frontend(service: &Service, iid: u64, snapshot: &Snapshot) -> Row {
    let mut row = Row::new(Kind::Frontend, iid, 0, (&service.name, "FRONTEND"));
    let traffic = &service.traffic;
    row.traffic(traffic);
    row.u32("slim", snapshot.process.max_connections);
    row.u32("rate_lim", 0);
    let denied = service.rules.iter().filter(|rule| rule.action != "accept").map(|rule| rule.matched).sum();
    row.u64("dreq", denied);
    row.u64("dresp", 0);
    row.u64("ereq", traffic.failed);
    row.text("status", if service.state == "up" { "OPEN" } else { "STOP" });
    row.u32("conn_rate", whole(traffic.rate));
    row.u32("conn_rate_max", whole(traffic.peak_rate));
    row.u64("conn_tot", traffic.total);
    row.u64("dcon", 0);
    row.u64("dses", 0);
    row.u64("ssl_sess", service.tls.handshakes.saturating_sub(service.tls.resumed));
    row.u64("ssl_reused_sess", service.tls.resumed);
    row.u64("handshake_p50_ms", milliseconds(service.handshakes.p50));
    row.u64("handshake_p99_ms", milliseconds(service.handshakes.p99));
    row
}

fn backend(service: &Service, iid: u64, now: f64) -> Row {
    let mut row = Row::new(Kind::Backend, iid, 0, (&service.name, "BACKEND"));
    row.traffic(&service.traffic);
    row.attempts(&service.connects, servers_of(service).map(|server| server.connect_errors).sum());
    row.last(&service.traffic, now);
    let usable = servers_of(service).filter(|server| server.admin != "drain" && server.admin != "maint");
    let usable = usable.filter(|server| !matches!(&*server.state, "down" | "stopping" | "unresolved"));
    let (backups, others): (Vec<_>, Vec<_>) = usable.partition(|server| server.backup);
    let weight: u64 = backups.iter().chain(&others).map(|server| u64::from(server.weight)).sum();
    let count = backups.len() + others.len();
    let none = servers_of(service).next().is_none();
    row.text("status", if count > 0 || none { "UP" } else { "DOWN" });
    row.u32("weight", weight);
    row.u32("act", others.len() as u64);
    row.u32("bck", backups.len() as u64);
    row.u32("qcur", service.routes.iter().map(|route| route.waiting).sum());
    row.u64("chkdown", servers_of(service).map(|server| server.downs).sum());
    row.u32("lastchg", whole(service.uptime));
    row.u32("downtime", 0);
    row.u32("ttime", milliseconds(mean(&service.lifetimes)));
    // HAProxy knows one algorithm for each backend: where routes differ, that of the first.
    let algo = service.routes.iter().map(|route| &*route.balance).find(|word| !word.is_empty());
    row.text("algo", algo.unwrap_or_default());
    row.u32("uweight", weight);
    row
}

fn one_server(service: &Service, server: &Server, iid: u64, now: f64) -> Row {
    let name = server_name(service.routes.len(), &server.route, &server.name);
    let mut row = Row::new(Kind::Server, iid, u64::from(server.number), (&service.name, &name));
    row.traffic(&server.traffic);
    row.attempts(&server.connects, server.connect_errors);
    row.last(&server.traffic, now);
    row.text("status", &shown_status(server));
    row.u32("weight", u64::from(server.weight));
    row.u32("uweight", u64::from(server.weight));
    row.u32("act", u64::from(!server.backup));
    row.u32("bck", server.backup.into());
    if server.max_connections > 0 {
        row.u32("slim", server.max_connections);
    }
    row.u32("lastchg", u64::try_from(seconds_since(server.since, now)).unwrap_or(0));
    row.u32("downtime", whole(server.downtime.floor()));
    row.u32("ttime", 0);
    row.text("addr", &server.address);
    row.text("route", &server.route);
    checks(server, &mut row);
    row
}

/// What HAProxy tells of servers that it checks, and of no others.
fn checks(server: &Server, row: &mut Row) {
    let counts = !server.check.is_empty() || server.downs > 0 || server.pauses > 0;
    if counts {
        row.u64("chkfail", server.check_failures);
        row.u64("chkdown", server.downs);
        // Failures that connections have met (`observe layer4`).
        row.u64("hanafail", server.connect_errors);
    }
    if server.check.is_empty() || !server.watched {
        return;
    }
    row.u32("check_rise", server.rise.into());
    row.u32("check_fall", server.fall.into());
    row.u32("check_health", check_health(server));
    if let Some(check) = server.checks.first() {
        row.text("check_status", &check.status);
        row.u64("check_duration", milliseconds(check.took));
        row.text("last_chk", &check.text);
        row.text("check_desc", description(&check.status));
    }
}

/// HAProxy counts from 0, down, to rise + fall - 1, well: from rise on it is up.
pub(super) fn check_health(server: &Server) -> u64 {
    let (rise, fall, streak) = (server.rise.into(), server.fall.into(), u64::from(server.streak));
    match server.state.as_str() {
        "down" => streak.min(rise),
        _ => (rise + u64::saturating_sub(fall, 1)).saturating_sub(streak),
    }
}

/// What a word of `check_status` means, as HAProxy puts it.
fn description(status: &str) -> &'static str {
    match status {
        "SOCKERR" => "Socket error",
        "L4OK" => "Layer4 check passed",
        "L4TOUT" => "Layer4 timeout",
        "L4CON" => "Layer4 connection problem",
        "L6OK" => "Layer6 check passed",
        "L6TOUT" => "Layer6 timeout",
        "L6RSP" => "Layer6 invalid response",
        "L7OK" => "Layer7 check passed",
        "L7TOUT" => "Layer7 timeout",
        "L7RSP" => "Layer7 invalid response",
        "L7STS" => "Layer7 wrong status",
        _ => "",
    }
}

/// As [`status`], and how far it is from the next one, where checks say otherwise already.
fn shown_status(server: &Server) -> String {
    let (word, health, rise) = (status(server), check_health(server), u64::from(server.rise));
    match word {
        "UP" if server.streak > 0 => format!("UP {}/{}", (health + 1).saturating_sub(rise), server.fall),
        "DOWN" if server.streak > 0 => format!("DOWN {health}/{rise}"),
        word => word.to_owned(),
    }
}

/// The state in HAProxy's word.
pub(super) fn status(server: &Server) -> &'static str {
    match (server.admin.as_str(), server.state.as_str()) {
        ("maint", _) => "MAINT",
        ("drain", _) => "DRAIN",
        (_, "up") => "UP",
        (_, "down") => "DOWN",
        (_, "unresolved") => "MAINT (resolution)",
        (_, "paused" | "stopping") => "NOLB",
        _ => "no check",
    }
}

fn mean(timing: &Timing) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more digits than a float has")]
    let count = timing.count.max(1) as f64;
    timing.sum / count
}

fn milliseconds(seconds: f64) -> u64 {
    whole(seconds * 1000.0)
}

/// Whole seconds from `then` to `now`, 0 if `then` is to come.
fn seconds_since(then: f64, now: f64) -> i64 {
    i64::try_from(whole((now - then).floor())).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
