// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/api/v1/…`: the model as JSON, filtered by the query.
//!
//! Objects and fields are those of `control/model.rs` and `connection/view.rs`; here is only what is around them.

use super::query::{Fields, only, parsed, text};
use super::response::{JSON, Response};
use super::site::Seen;
use crate::connection::view::{ConnectionView, STATES, Wanted};
use crate::connection::walk::Act;
use crate::control::answer::{End, Format, List, Then};
use crate::control::listing::Cursor;
use crate::control::model::{Server, Service, Snapshot, Worker};
use crate::control::state::State;
use serde_json::json;

/// Connections of an answer, if the request does not say.
const LIMIT: usize = 100;

/// Connections of an answer at most.
const MAX_LIMIT: usize = 1000;

/// What there is to see, by its name in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Info,
    Services,
    Listeners,
    Connections,
    Servers,
    Workers,
    Certificates,
    Errors,
    Summary,
    Snapshot,
}

impl Thing {
    /// Every one with its name and the fields its query may have.
    pub(super) const ALL: [(&'static str, Self, &'static [&'static str]); 10] = [
        ("info", Self::Info, &[]),
        ("services", Self::Services, &["name", "mode", "state"]),
        ("listeners", Self::Listeners, &["service", "address", "state"]),
        (
            "connections",
            Self::Connections,
            &["limit", "after", "id", "service", "route", "client", "name", "server", "state"],
        ),
        ("servers", Self::Servers, &["service", "route", "name", "state", "admin"]),
        ("workers", Self::Workers, &["number", "state"]),
        ("certificates", Self::Certificates, &["kind", "file", "name"]),
        ("errors", Self::Errors, &["limit", "service", "route", "cause", "client", "name"]),
        ("summary", Self::Summary, &[]),
        ("snapshot", Self::Snapshot, &[]),
    ];
}

/// What is asked for by the last part of a path; nothing, if there is no such thing.
pub(super) fn get(name: &str, fields: &Fields, state: &mut State) -> Option<Seen> {
    let (_, thing, known) = *Thing::ALL.iter().find(|(known, ..)| *known == name)?;
    let answered = only(fields, known).and_then(|()| match thing {
        Thing::Connections => connections(fields),
        other => look(other, fields, state).map(Seen::Whole),
    });
    Some(answered.unwrap_or_else(Seen::Whole))
}

fn look(thing: Thing, fields: &Fields, state: &mut State) -> Result<Response, Response> {
    let body = match thing {
        Thing::Certificates => {
            let takes = |field: &str, value: &str| is(fields, field, value);
            let all = state.certificates().into_iter().filter(|certificate| {
                let name = text(fields, "name");
                takes("kind", &certificate.kind)
                    && takes("file", &certificate.file)
                    && (name.is_empty() || certificate.names.iter().any(|known| known == name))
            });
            wrapped("certificates", &all.collect::<Vec<_>>())
        }
        Thing::Errors => {
            let limit = parsed(fields, "limit")?.unwrap_or(usize::MAX);
            let all = state.failures().into_iter().filter(|failure| {
                is(fields, "service", &failure.service)
                    && is(fields, "route", &failure.route)
                    && is(fields, "cause", &failure.cause)
                    && failure.client.starts_with(text(fields, "client"))
                    && failure.name.contains(text(fields, "name"))
            });
            wrapped("errors", &all.take(limit).collect::<Vec<_>>())
        }
        other => of_snapshot(other, fields, &state.snapshot())?,
    };
    body.map(|body| Response::json(200, body))
        .map_err(|_| Response::line(503, "it cannot be written as JSON"))
}

type Written = serde_json::Result<Vec<u8>>;

/// What is told of a snapshot.
fn of_snapshot(thing: Thing, fields: &Fields, snapshot: &Snapshot) -> Result<Written, Response> {
    let takes = |field: &str, value: &str| is(fields, field, value);
    Ok(match thing {
        Thing::Info => serde_json::to_vec(&snapshot.process),
        Thing::Services => {
            let takes =
                |s: &&Service| takes("name", &s.name) && takes("mode", &s.mode) && takes("state", &s.state);
            wrapped("services", &snapshot.services.iter().filter(takes).collect::<Vec<_>>())
        }
        Thing::Listeners => {
            let all = snapshot.listeners.iter().filter(|l| {
                takes("service", &l.service) && takes("address", &l.address) && takes("state", &l.state)
            });
            wrapped("listeners", &all.collect::<Vec<_>>())
        }
        Thing::Servers => {
            let routes = snapshot.services.iter().flat_map(|service| &service.routes);
            let takes = |s: &&Server| {
                takes("service", &s.service)
                    && takes("route", &s.route)
                    && takes("name", &s.name)
                    && takes("state", &s.state)
                    && takes("admin", &s.admin)
            };
            let all = routes.flat_map(|route| &route.servers).filter(takes);
            wrapped("servers", &all.collect::<Vec<_>>())
        }
        Thing::Workers => {
            let number: Option<u64> = parsed(fields, "number")?;
            let takes =
                |w: &&Worker| number.is_none_or(|number| number == w.number) && takes("state", &w.state);
            wrapped("workers", &snapshot.workers.iter().filter(takes).collect::<Vec<_>>())
        }
        Thing::Summary => serde_json::to_vec(&summary(snapshot)),
        _ => serde_json::to_vec(snapshot),
    })
}

/// Whether `value` is what a field of the query wants, if it wants anything.
fn is(fields: &Fields, field: &str, value: &str) -> bool {
    let wanted = text(fields, field);
    wanted.is_empty() || wanted == value
}

/// A list as the only field of an object, to which others may come.
fn wrapped(name: &str, list: &[impl serde::Serialize]) -> Written {
    let mut body = format!("{{\"{name}\":").into_bytes();
    serde_json::to_writer(&mut body, list)?;
    body.push(b'}');
    Ok(body)
}

/// What a display shows that asks every second or two.
fn summary(snapshot: &Snapshot) -> serde_json::Value {
    let process = &snapshot.process;
    let failed = |service: &Service| service.failures.iter().map(|failures| failures.count).sum::<u64>();
    let services = snapshot.services.iter().map(|service| {
        json!({
            "name": service.name,
            "state": service.state,
            "traffic": service.traffic,
            "failures": failed(service),
            "handshake_p50": service.handshakes.p50,
            "handshake_p99": service.handshakes.p99,
        })
    });
    let workers = snapshot.workers.iter().map(|worker| {
        json!({
            "number": worker.number,
            "state": worker.state,
            "load": worker.load,
            "connections": worker.connections,
        })
    });
    json!({
        "at": snapshot.at,
        "state": process.state,
        "ready": process.ready,
        "not_ready": process.not_ready,
        "uptime": process.uptime,
        "queued": process.queued,
        "log_lost": process.log_lost,
        "traffic": process.traffic,
        "problems": process.problems,
        "services": services.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
    })
}

/// A page of connections.
fn connections(fields: &Fields) -> Result<Seen, Response> {
    let most = parsed(fields, "limit")?.unwrap_or(LIMIT);
    if !(1..=MAX_LIMIT).contains(&most) {
        return Err(Response::line(400, "`limit` is 1 to 1000"));
    }
    let from: Option<Cursor> = parsed(fields, "after")?;
    let state = text(fields, "state");
    if !state.is_empty() && !STATES.contains(&state) {
        return Err(Response::line(400, &format!("`state` is one of: {}", STATES.join(", "))));
    }
    let owned = |name| text(fields, name).to_owned();
    let wanted = Wanted {
        id: parsed(fields, "id")?,
        service: owned("service"),
        route: owned("route"),
        client: owned("client"),
        name: owned("name"),
        server: owned("server"),
        state: state.to_owned(),
        ..Wanted::default()
    };
    let format = Box::new(Rows::default());
    let rows = List { wanted, from, most, act: Act::Look, format, then: Then::Keep };
    Ok(Seen::List(Box::new(rows), JSON))
}

/// `{"connections":[…],"next":"CURSOR","silent":[]}`.
#[derive(Debug, Default)]
struct Rows {
    begun: bool,
}

impl Format for Rows {
    fn head(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"connections\":[");
    }

    fn row(&mut self, connection: &ConnectionView, out: &mut Vec<u8>) {
        let Ok(object) = serde_json::to_vec(connection) else { return };
        if std::mem::replace(&mut self.begun, true) {
            out.push(b',');
        }
        out.extend_from_slice(&object);
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        let next = end.next.map(|cursor| cursor.to_string());
        // The rest of an object that is begun: without its first brace.
        let rest = json!({ "next": next, "silent": end.silent }).to_string();
        out.extend_from_slice(b"],");
        out.extend_from_slice(rest.trim_start_matches('{').as_bytes());
    }
}

#[cfg(test)]
mod tests;
