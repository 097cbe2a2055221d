// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a path to an answer: what there is to see, and what can be changed.
//!
//! Not here: the API's objects (`api.rs`), the page (`page/`), the metrics (`metrics/`).

use super::api;
use super::change::{self, Change};
use super::gate::Gate;
use super::parse::{Head, Method};
use super::query::{Fields, decode, only};
use super::response::{Manner, Response, TEXT, list};
use crate::connection::walk::Act;
use crate::control::answer::{Answer, List, Then, Visitor};
use crate::control::metrics::{self, Filter, metrics};
use crate::control::model::Process;
use crate::control::note::Note;
use crate::control::page::{Page, page};
use crate::control::running::Life;
use crate::control::state::State;
use crate::sys::time;

/// Where the API begins.
const API: &str = "/api/v1/";

/// What the paths of the page with connections on it are sent as.
const HTML: &str = "text/html; charset=utf-8";

/// The status of an answer to whom no token is known.
const UNKNOWN_TOKEN: u16 = 401;

/// Bytes from which on an answer is kept for others who ask the same: below, making it anew costs little.
const LARGE: usize = 256 << 10;

/// What there is to see.
#[derive(Debug)]
pub(super) enum Seen {
    Whole(Response),
    /// Connections, and the media type they are told in.
    List(Box<List>, &'static str),
}

impl Seen {
    pub(super) fn answer(self, manner: Manner) -> Answer {
        match self {
            Self::Whole(response) => response.answer(manner),
            Self::List(rows, media) => list(*rows, media, manner),
        }
    }
}

/// The answer to a whole request.
pub(super) fn answer(
    head: &Head,
    body: &[u8],
    gate: Gate<'_>,
    visitor: &Visitor,
    state: &mut State,
) -> Answer {
    // A daemon that drains waits for nobody who may ask again later.
    let keep = head.keep && state.running().life == Life::Serving;
    let manner = Manner { head_only: head.method == Method::Head, minor: head.minor, keep };
    let visitor = match gate.enter(head, visitor) {
        Ok(visitor) => visitor,
        Err(refused) => {
            if refused.status == UNKNOWN_TOKEN {
                let asked = format!("{} {}", head.method.name(), head.path);
                Note::new(&state.sources.log, visitor, &asked).deny("unknown token");
            }
            // Who is not let in need not stay.
            return refused.answer(Manner { keep: false, ..manner });
        }
    };
    let mut fields = decode(head.query.as_bytes());
    if let Some(change) = Change::at(&head.path) {
        if head.method != Method::Post {
            return not_allowed("POST", "this changes something: it takes POST only").answer(manner);
        }
        if head.form {
            fields.extend(decode(body));
        }
        let note = Note::new(&state.sources.log, &visitor, &change.told(&fields));
        return match gate.change(head, &visitor, change.needs()) {
            Ok(()) => change::answer(change, &fields, manner, note),
            Err(refused) => {
                note.deny("permission denied");
                refused.answer(manner)
            }
        };
    }
    match head.method {
        Method::Get | Method::Head => {
            let question = format!("{} {}?{}", visitor.level.name(), head.path, head.query);
            look(&head.path, &fields, question, &visitor, manner, state)
        }
        Method::Post | Method::Other => {
            not_allowed("GET, HEAD", "this can only be looked at: GET and HEAD").answer(manner)
        }
    }
}

fn not_allowed(allowed: &str, why: &str) -> Response {
    Response::line(405, why).with("Allow", allowed)
}

/// What can be seen at a path. `question`: all that the answer depends on, beside the snapshot.
fn look(
    path: &str,
    fields: &Fields,
    question: String,
    visitor: &Visitor,
    manner: Manner,
    state: &mut State,
) -> Answer {
    if let Some((media, body)) = state.kept(&question) {
        return Response::new(200, media, Vec::new()).share(body, manner);
    }
    let began = time::thread_cpu();
    match see(path, fields, visitor, state) {
        Seen::Whole(response) if response.status == 200 && response.body.len() >= LARGE => {
            let Response { media, body, .. } = response;
            let body = state.keep(question, media, body, time::thread_cpu().saturating_sub(began));
            Response::new(200, media, Vec::new()).share(body, manner)
        }
        seen => seen.answer(manner),
    }
}

/// What is at a path.
fn see(path: &str, fields: &Fields, visitor: &Visitor, state: &mut State) -> Seen {
    let not_found = || Seen::Whole(Response::line(404, "there is nothing here"));
    if let Some(name) = path.strip_prefix(API) {
        return api::get(name, fields, state).unwrap_or_else(not_found);
    }
    let whole = match path {
        "/healthz" => only(fields, &[]).map(|()| Response::line(200, "ok")),
        "/readyz" => only(fields, &[]).map(|()| readiness(&state.snapshot().process)),
        "/basic_status" => only(fields, &[]).map(|()| basic(&state.snapshot().process)),
        "/metrics" => Filter::new(fields).map_err(|why| Response::line(400, &why)).map(|filter| {
            Response::new(200, metrics::MEDIA, metrics(&state.snapshot(), &filter).into_bytes())
        }),
        _ => {
            return match page(path, fields, visitor, state) {
                None => not_found(),
                Some(Page::Whole { media, immutable, body }) => {
                    Seen::Whole(Response { immutable, ..Response::new(200, media, body) })
                }
                Some(Page::Connections { wanted, from, most, format }) => {
                    let (wanted, act, then) = (*wanted, Act::Look, Then::Keep);
                    let rows = List { wanted, from, most, act, format, then };
                    Seen::List(Box::new(rows), HTML)
                }
            };
        }
    };
    Seen::Whole(whole.unwrap_or_else(|refused| refused))
}

/// Whether new clients should be sent here, and why not.
fn readiness(process: &Process) -> Response {
    if process.ready {
        return Response::line(200, "ready");
    }
    let reasons =
        if process.not_ready.is_empty() { process.state.clone() } else { process.not_ready.join("\n") };
    Response::line(503, &reasons)
}

/// As the stub_status of nginx has it, so that what reads that reads this: connections are their own requests, those that
/// wait for a worker are being read, all others written.
fn basic(process: &Process) -> Response {
    let Process { traffic, queued, .. } = process;
    let total = traffic.total;
    let text = format!(
        "Active connections: {active} \nserver accepts handled requests\n {total} {total} {total} \n\
         Reading: {queued} Writing: {writing} Waiting: 0 \n",
        active = traffic.active + queued,
        writing = traffic.active,
    );
    Response::new(200, TEXT, text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::Traffic;

    #[test]
    fn readiness_tells_every_reason() {
        let ready = Process { ready: true, ..Process::default() };
        assert_eq!(readiness(&ready).status, 200);
        let reasons = vec!["draining".to_owned(), "[::]:443 is paused".to_owned()];
        let not = Process { not_ready: reasons, ..Process::default() };
        assert_eq!(
            (readiness(&not).status, readiness(&not).body),
            (503, b"draining\n[::]:443 is paused\n".to_vec())
        );
        let stopping = Process { state: "stopping".to_owned(), ..Process::default() };
        assert_eq!(readiness(&stopping).body, b"stopping\n");
    }

    #[test]
    fn the_small_text_has_the_form_that_readers_of_nginx_expect() {
        let traffic = Traffic { active: 2, total: 9, ..Traffic::default() };
        let process = Process { traffic, queued: 1, ..Process::default() };
        let text = String::from_utf8(basic(&process).body).unwrap();
        assert_eq!(
            text,
            "Active connections: 3 \nserver accepts handled requests\n 9 9 9 \nReading: 1 Writing: 2 Waiting: 0 \n"
        );
    }
}
