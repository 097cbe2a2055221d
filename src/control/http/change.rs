// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be changed by POST: a connection ended, the configuration loaded, the log's level set, the daemon drained.
//!
//! Not here: who may (`gate.rs`).

use super::query::{Fields, only, text};
use super::response::{Manner, Response};
use crate::connection::view::{ConnectionView, Wanted};
use crate::connection::walk::Act;
use crate::control::answer::{Answer, End, Format, List, Wording};
use crate::control::note::Note;
use crate::control::order::{Order, Outcome};
use crate::log;
use crate::policy::access::Level;
use serde_json::json;

/// The field of a form that names the page to show after it.
const AFTER: &str = "then";

/// Something that a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The connection of that number; none: the path's is no number, so no connection has it.
    Kill(Option<u64>),
    Reload,
    Drain,
    LogLevel,
}

impl Change {
    /// What `path` stands for, if it changes anything.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/api/v1/reload" => Some(Self::Reload),
            "/api/v1/drain" => Some(Self::Drain),
            "/api/v1/log-level" => Some(Self::LogLevel),
            _ => {
                let id = path.strip_prefix("/api/v1/connections/")?.strip_suffix("/kill")?;
                let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
                Some(Self::Kill(id.parse().ok().filter(|_| digits)))
            }
        }
    }

    /// For the log: the request, with the fields that matter.
    pub(super) fn told(self, fields: &Fields) -> String {
        match self {
            Self::Kill(Some(id)) => format!("POST /api/v1/connections/{id}/kill"),
            Self::Kill(None) => "POST /api/v1/connections/?/kill".to_owned(),
            Self::Reload => "POST /api/v1/reload".to_owned(),
            Self::Drain => "POST /api/v1/drain".to_owned(),
            Self::LogLevel => format!("POST /api/v1/log-level level={}", text(fields, "level")),
        }
    }

    /// The level it takes.
    pub(super) fn needs(self) -> Level {
        match self {
            Self::Kill(_) | Self::LogLevel => Level::Operate,
            Self::Reload | Self::Drain => Level::Admin,
        }
    }
}

/// Makes a change, for somebody who may. `note` tells what came of it; of a request that is not understood, nothing is told.
pub(super) fn answer(change: Change, fields: &Fields, manner: Manner, note: Note) -> Answer {
    let known: &[&str] = if change == Change::LogLevel { &["level", AFTER] } else { &[AFTER] };
    if let Err(refused) = only(fields, known) {
        return refused.answer(manner);
    }
    let after = path_after(fields);
    let order = match change {
        Change::Kill(Some(id)) => {
            let wanted = Wanted { id: Some(id), ..Wanted::default() };
            let format = Box::new(Killed { id, manner, after, note: Some(note) });
            return Answer::List(Box::new(List {
                wanted,
                from: None,
                most: 1,
                act: Act::Close,
                format,
                then: manner.then(),
            }));
        }
        Change::Kill(None) => return no_connection().answer(manner),
        Change::Reload => Order::Reload,
        Change::Drain => Order::Drain,
        Change::LogLevel => match log::Level::from_name(text(fields, "level")) {
            Some(level) => Order::LogLevel(level),
            None => {
                let names = log::Level::NAMES.join(", ");
                return Response::line(400, &format!("`level` is one of: {names}")).answer(manner);
            }
        },
    };
    let wording = move |outcome: Outcome| {
        note.send(outcome.as_ref().err().map_or("done", String::as_str));
        told(outcome, after).bytes(manner)
    };
    Answer::Order(order, Wording(Box::new(wording)), manner.then())
}

/// What came of an order.
fn told(outcome: Outcome, after: Option<String>) -> Response {
    match outcome {
        Ok(message) => done(&json!({ "ok": true, "message": message }), after),
        Err(message) => {
            Response::json(409, json!({ "ok": false, "message": message }).to_string().into_bytes())
        }
    }
}

/// It was done: said, or shown by the page that the form named.
fn done(said: &serde_json::Value, after: Option<String>) -> Response {
    let response = Response::json(200, said.to_string().into_bytes());
    match after {
        Some(path) => Response { status: 303, ..response }.with("Location", path),
        None => response,
    }
}

fn no_connection() -> Response {
    Response::line(404, "there is no connection of that number")
}

/// The page that a form wants to be shown after it; one of ours, whatever the field says.
fn path_after(fields: &Fields) -> Option<String> {
    let path = text(fields, AFTER);
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let ours = path.starts_with('/') && !path.starts_with("//");
    (plain && ours).then(|| path.to_owned())
}

/// The whole answer, once it is known whether there was such a connection.
#[derive(Debug)]
struct Killed {
    id: u64,
    manner: Manner,
    after: Option<String>,
    note: Option<Note>,
}

impl Format for Killed {
    fn head(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, _: &ConnectionView, _: &mut Vec<u8>) {}

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        if let Some(note) = self.note.take() {
            note.send(&format!("closed {}", end.told));
        }
        let response = if end.told > 0 {
            done(&json!({ "ok": true, "killed": self.id }), self.after.take())
        } else if end.silent.is_empty() {
            no_connection()
        } else {
            Response::line(503, "not every worker answered in time: try again")
        };
        out.extend_from_slice(&response.bytes(self.manner));
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::decode;
    use super::*;
    use crate::control::answer::{Visitor, Who};
    use crate::policy::access::ControlSettings;

    const MANNER: Manner = Manner { head_only: false, minor: 1, keep: true };

    #[test]
    fn paths_stand_for_changes() {
        for (path, change) in [
            ("/api/v1/reload", Some(Change::Reload)),
            ("/api/v1/connections/17/kill", Some(Change::Kill(Some(17)))),
            ("/api/v1/connections/x/kill", Some(Change::Kill(None))),
            ("/api/v1/connections/+1/kill", Some(Change::Kill(None))),
            ("/api/v1/connections//kill", Some(Change::Kill(None))),
            ("/api/v1/connections/99999999999999999999/kill", Some(Change::Kill(None))),
            ("/api/v1/connections/kill", None),
            ("/api/v1/connections", None),
            ("/api/v1/reload/", None),
            ("/", None),
        ] {
            assert_eq!(Change::at(path), change, "{path}");
        }
    }

    #[test]
    fn a_form_is_followed_by_a_page_of_ours_only() {
        for (form, path) in [
            ("then=%2Fconnections%3Fservice%3Dweb", Some("/connections?service=web")),
            ("then=//evil.example/", None),
            ("then=/%5Cevil.example/", None),
            ("then=http://evil.example/", None),
            ("then=/a%0d%0aSet-Cookie:x", None),
            ("then=/%C3%A4", None),
            ("then=", None),
            ("", None),
        ] {
            assert_eq!(path_after(&decode(form.as_bytes())).as_deref(), path, "{form}");
        }
    }

    fn kill(end: &End, after: Option<&str>) -> String {
        let mut out = Vec::new();
        let mut format = Killed { id: 7, manner: MANNER, after: after.map(str::to_owned), note: None };
        format.head(&mut out);
        format.tail(end, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_kill_tells_whether_there_was_such_a_connection() {
        let told = End { told: 1, ..End::default() };
        assert!(kill(&told, None).starts_with("HTTP/1.1 200 "));
        assert!(kill(&told, None).ends_with("{\"killed\":7,\"ok\":true}"));
        let shown = kill(&told, Some("/connections"));
        assert!(shown.starts_with("HTTP/1.1 303 ") && shown.contains("\r\nLocation: /connections\r\n"));
        assert!(kill(&End::default(), Some("/x")).starts_with("HTTP/1.1 404 "));
        assert!(kill(&End { silent: vec![0], ..End::default() }, None).starts_with("HTTP/1.1 503 "));
    }

    fn status(change: Change, form: &str) -> Option<String> {
        let (log, _) = log::Log::to_memory(log::Level::Info);
        let visitor = Visitor::new(Who::Anybody, "a test".to_owned(), &ControlSettings::default());
        let note = Note::new(&log, &visitor, "a change");
        match answer(change, &decode(form.as_bytes()), MANNER, note) {
            Answer::Whole(bytes, _) => Some(String::from_utf8(bytes).unwrap()[9..12].to_owned()),
            _ => None,
        }
    }

    #[test]
    fn orders_are_given_only_when_they_are_understood() {
        assert_eq!(status(Change::LogLevel, "level=debug"), None);
        assert_eq!(status(Change::Reload, "then=/"), None);
        assert_eq!(status(Change::LogLevel, "level=loud").as_deref(), Some("400"));
        assert_eq!(status(Change::LogLevel, "").as_deref(), Some("400"));
        assert_eq!(status(Change::Drain, "force=1").as_deref(), Some("400"));
        assert_eq!(status(Change::Kill(None), "").as_deref(), Some("404"));
        let refused = told(Err("no \"such\"\nfile".to_owned()), Some("/".to_owned()));
        assert_eq!(refused.status, 409);
        assert_eq!(refused.body, b"{\"message\":\"no \\\"such\\\"\\nfile\",\"ok\":false}");
    }
}
