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
use crate::control::page::{Page, page};
use crate::control::running::Life;
use crate::control::state::State;

/// Where the API begins.
const API: &str = "/api/v1/";

/// What the paths of the page with connections on it are sent as.
const HTML: &str = "text/html; charset=utf-8";

/// The answer to a whole request.
pub(super) fn answer(head: &Head, body: &[u8], gate: &Gate, visitor: &Visitor, state: &mut State) -> Answer {
    // A daemon that drains waits for nobody who may ask again later.
    let keep = head.keep && state.running().life == Life::Serving;
    let manner = Manner { head_only: head.method == Method::Head, minor: head.minor, keep };
    let visitor = match gate.enter(head, visitor) {
        Ok(visitor) => visitor,
        // Who is not let in need not stay.
        Err(refused) => return refused.answer(Manner { keep: false, ..manner }),
    };
    let mut fields = decode(head.query.as_bytes());
    if let Some(change) = Change::at(&head.path) {
        if head.method != Method::Post {
            return not_allowed("POST", "this changes something: it takes POST only").answer(manner);
        }
        if head.form {
            fields.extend(decode(body));
        }
        return match gate.change(head, &visitor, change.needs()) {
            Ok(()) => change::answer(change, &fields, manner),
            Err(refused) => refused.answer(manner),
        };
    }
    match head.method {
        Method::Get | Method::Head => look(&head.path, &fields, &visitor, manner, state),
        Method::Post | Method::Other => {
            not_allowed("GET, HEAD", "this can only be looked at: GET and HEAD").answer(manner)
        }
    }
}

fn not_allowed(allowed: &str, why: &str) -> Response {
    Response::line(405, why).with("Allow", allowed)
}

/// What can be seen at a path.
fn look(path: &str, fields: &Fields, visitor: &Visitor, manner: Manner, state: &mut State) -> Answer {
    let not_found = || Response::line(404, "there is nothing here").answer(manner);
    if let Some(name) = path.strip_prefix(API) {
        return api::get(name, fields, manner, state).unwrap_or_else(not_found);
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
                    Response { immutable, ..Response::new(200, media, body) }.answer(manner)
                }
                Some(Page::Connections { wanted, from, most, format }) => {
                    let (wanted, act, then) = (*wanted, Act::Look, Then::Keep);
                    let rows = List { wanted, from, most, act, format, then };
                    list(rows, HTML, manner)
                }
            };
        }
    };
    whole.unwrap_or_else(|refused| refused).answer(manner)
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
