// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands about connections: listing them in four forms, and closing them.
//!
//! A listing is streamed: what is here writes one row after the other and never knows how many there are. Not here: which
//! worker is asked when (`control/listing.rs`).

use super::changes::find_server;
use super::text::{plain, to_ascii, word};
use super::{Call, Done, Note, Told};
use crate::connection::view::{ConnectionView, STATES, Wanted};
use crate::connection::walk::Act;
use crate::control::answer::{End, Format};
use crate::control::listing::Cursor;
use crate::control::state::State;

/// What HAProxy says where there is no such connection: to close, to show.
const NONE_TO_CLOSE: &str = "No such session (use 'show sess').";
const NONE_TO_SHOW: &str = "Session not found.";

/// `show connections`: a table for people.
pub(super) fn table(call: &mut Call<'_>) -> Done {
    listed(call, Box::new(Table))
}

/// `show connections json`: a document on one line.
pub(super) fn json(call: &mut Call<'_>) -> Done {
    listed(call, Box::new(Json { first: true }))
}

fn listed(call: &Call<'_>, format: Box<dyn Format>) -> Done {
    match filters(call.words) {
        Ok((wanted, most, from)) => Done::List(Box::new(Told { wanted, from, most, act: Act::Look, format })),
        Err(why) => Done::Refused(why),
    }
}

/// `show sess`: a line for each, as HAProxy's.
pub(super) fn sess(call: &mut Call<'_>) -> Done {
    let (id, format) = match call.words.first().map(String::as_str) {
        None | Some("all") => (None, Sess { one: false }),
        Some(text) => match number(text) {
            Some(id) => (Some(id), Sess { one: true }),
            None => return Done::Refused(NONE_TO_SHOW.to_owned()),
        },
    };
    let wanted = Wanted { id, ..Wanted::default() };
    let format = Box::new(format);
    Done::List(Box::new(Told { wanted, from: None, most: usize::MAX, act: Act::Look, format }))
}

/// `kill ID` and `shutdown session ID`.
pub(super) fn kill(call: &mut Call<'_>) -> Done {
    let Some(id) = call.words.first().and_then(|text| number(text)) else {
        return Done::Refused(NONE_TO_CLOSE.to_owned());
    };
    let wanted = Wanted { id: Some(id), ..Wanted::default() };
    let format = Box::new(Closed { expected: true });
    Done::List(Box::new(Told { wanted, from: None, most: 1, act: Act::Close, format }))
}

/// `shutdown sessions server S/N`.
pub(super) fn kill_server(call: &mut Call<'_>) -> Done {
    let server = match find_server(call) {
        Ok(server) => server,
        Err(why) => return Done::Refused(why),
    };
    let wanted =
        Wanted { service: server.service, route: server.route, at: server.addresses, ..Wanted::default() };
    let format = Box::new(Closed { expected: false });
    Done::List(Box::new(Told { wanted, from: None, most: usize::MAX, act: Act::Close, format }))
}

/// A connection's number: plain, or as `show sess` tells it.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    }
}

/// What `words` pick: pairs of a key and a value.
fn filters(words: &[String]) -> Result<(Wanted, usize, Option<Cursor>), String> {
    let mut wanted = Wanted::default();
    let mut most = usize::MAX;
    let mut from = None;
    for pair in words.chunks(2) {
        let [key, value] = pair else {
            return Err(format!("{:?} has no value.", pair.first().map_or("", String::as_str)));
        };
        let bad = || format!("{value:?} is no {key}.");
        match key.as_str() {
            "service" => wanted.service.clone_from(value),
            "route" => wanted.route.clone_from(value),
            "client" => wanted.client.clone_from(value),
            "name" => wanted.name.clone_from(value),
            "server" => wanted.server.clone_from(value),
            "state" if STATES.contains(&value.as_str()) => wanted.state.clone_from(value),
            "state" => return Err(format!("{value:?} is no state: there are {}.", STATES.join(", "))),
            "id" => wanted.id = Some(number(value).ok_or_else(bad)?),
            "limit" => most = value.parse().map_err(|_| bad())?,
            "after" => from = Some(value.parse().map_err(|()| bad())?),
            _ => {
                let keys = "service, route, client, name, server, state, id, limit, after";
                return Err(format!("Unknown filter {key:?}: there are {keys}."));
            }
        }
    }
    Ok((wanted, most, from))
}

/// A format with what stands behind every answer; tells the log what came of a change.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) format: Box<dyn Format>,
    pub(super) ending: &'static str,
    pub(super) note: Option<Note>,
}

impl Format for Framed {
    fn head(&mut self, out: &mut Vec<u8>) {
        self.format.head(out);
    }

    fn row(&mut self, connection: &ConnectionView, out: &mut Vec<u8>) {
        self.format.row(connection, out);
    }

    fn look(&mut self, state: &mut State) {
        self.format.look(state);
    }

    fn held(&self) -> usize {
        self.format.held()
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        self.format.tail(end, out);
        out.extend_from_slice(self.ending.as_bytes());
        if let Some(note) = self.note.take() {
            note.send(&format!("closed {}", end.told));
        }
    }
}

/// Columns of the table: heading and width; the last has none.
const COLUMNS: [(&str, usize); 10] = [
    ("ID", 8),
    ("AGE", 7),
    ("STATE", 13),
    ("SERVICE", 12),
    ("ROUTE", 12),
    ("CLIENT", 21),
    ("SERVER", 21),
    ("IN", 10),
    ("OUT", 10),
    ("NAME", 0),
];

#[derive(Debug)]
struct Table;

impl Table {
    fn line(cells: [&str; COLUMNS.len()], out: &mut Vec<u8>) {
        let cells = cells.iter().zip(COLUMNS).map(|(cell, (_, width))| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join(" ");
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

impl Format for Table {
    fn head(&mut self, out: &mut Vec<u8>) {
        Self::line(COLUMNS.map(|(heading, _)| heading), out);
    }

    fn row(&mut self, view: &ConnectionView, out: &mut Vec<u8>) {
        let cells = [
            &view.id.to_string(),
            &age(view.age),
            &*word(&view.state),
            &word(&view.service),
            &word(&view.route),
            &word(&view.client),
            &word(&view.server),
            &view.bytes_in.to_string(),
            &view.bytes_out.to_string(),
            &word(&view.name),
        ];
        Self::line(cells, out);
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        let mut more = String::new();
        if let Some(cursor) = end.next {
            more = format!("# more: after {cursor}\n");
        }
        out.extend_from_slice(more.as_bytes());
        tell_silent(end, out);
    }
}

/// Workers whose connections are missing.
fn tell_silent(end: &End, out: &mut Vec<u8>) {
    if !end.silent.is_empty() {
        let workers: Vec<String> = end.silent.iter().map(usize::to_string).collect();
        out.extend_from_slice(format!("# no answer from worker {}\n", workers.join(", ")).as_bytes());
    }
}

#[derive(Debug)]
struct Json {
    first: bool,
}

impl Format for Json {
    fn head(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"connections\":[");
    }

    fn row(&mut self, connection: &ConnectionView, out: &mut Vec<u8>) {
        // A view has nothing that cannot be JSON.
        let Ok(text) = to_ascii(connection) else { return };
        if !std::mem::replace(&mut self.first, false) {
            out.push(b',');
        }
        out.extend_from_slice(text.as_bytes());
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        let next = end.next.map_or_else(|| "null".to_owned(), |cursor| format!("\"{cursor}\""));
        let silent: Vec<String> = end.silent.iter().map(usize::to_string).collect();
        let tail = format!("],\"next\":{next},\"silent\":[{}]}}\n", silent.join(","));
        out.extend_from_slice(tail.as_bytes());
    }
}

/// HAProxy's line of a session (stream.c, stats_dump_full_strm_to_buffer() and its short form); what we do not have is as
/// there where there is none.
#[derive(Debug)]
struct Sess {
    /// One was asked for: that it is not there is worth a word.
    one: bool,
}

impl Format for Sess {
    fn head(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, view: &ConnectionView, out: &mut Vec<u8>) {
        let proto = match view.client.as_bytes().first() {
            Some(b'[') => "tcpv6",
            Some(b'0'..=b'9') => "tcpv4",
            _ => "unix_stream",
        };
        let server = if view.server.is_empty() { "<none>".into() } else { word(&view.server) };
        let line = format!(
            "{:#x}: proto={proto} src={} fe={} be={} srv={server} ts=00 epoch=0 age={} calls=0 rate=0 cpu=0 lat=0 \
             rq[f=0h,i={},an=00h,rx=,wx=,ax=] rp[f=0h,i={},an=00h,rx=,wx=,ax=] scf=[0,0h,fd=-1] scb=[0,0h,fd=-1] \
             exp= rc=0 c_exp= id={} worker={} state={} route={} in={} out={} name={}\n",
            view.id,
            word(&view.client),
            word(&view.service),
            word(&view.service),
            age(view.age),
            view.buffered_in,
            view.buffered_out,
            view.id,
            view.worker,
            word(&view.state),
            word(&view.route),
            view.bytes_in,
            view.bytes_out,
            word(&view.name),
        );
        out.extend_from_slice(line.as_bytes());
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        if self.one && end.told == 0 {
            out.extend_from_slice(format!("{NONE_TO_SHOW}\n").as_bytes());
        }
        tell_silent(end, out);
    }
}

/// What closing leaves to say: nothing, if all went well.
#[derive(Debug)]
struct Closed {
    /// One was named, which must be there.
    expected: bool,
}

impl Format for Closed {
    fn head(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, _: &ConnectionView, _: &mut Vec<u8>) {}

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        if self.expected && end.told == 0 && end.silent.is_empty() {
            out.extend_from_slice(format!("{}\n", plain(NONE_TO_CLOSE)).as_bytes());
        }
        tell_silent(end, out);
    }
}

/// `3d4h`, `2m5s`, `7s`: the two greatest units, as HAProxy tells ages.
fn age(seconds: f64) -> String {
    let seconds = super::field::whole(seconds.floor());
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{}s", seconds % 60),
        3600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> ConnectionView {
        ConnectionView {
            id: 0x1f,
            worker: 1,
            state: "connected".into(),
            service: "web".into(),
            route: "default".into(),
            client: "192.0.2.7:4711".into(),
            name: "evil\x1b[2J,\nname".into(),
            age: 125.9,
            bytes_in: 7,
            ..ConnectionView::default()
        }
    }

    fn told(format: &mut dyn Format, views: &[ConnectionView], end: &End) -> String {
        let mut out = Vec::new();
        format.head(&mut out);
        views.iter().for_each(|view| format.row(view, &mut out));
        format.tail(end, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn some(told: usize) -> End {
        End { told, ..End::default() }
    }

    #[test]
    fn json_is_one_line_that_reads_back() {
        let views = [view(), ConnectionView::default()];
        let next = Cursor { listing: 1, worker: 2, after: 3, below: 4 };
        let end = End { next: Some(next), told: 2, silent: vec![0, 3] };
        let text = told(&mut Json { first: true }, &views, &end);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.is_ascii() && !text.contains('\x1b'));
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let back: Vec<ConnectionView> = serde_json::from_value(document["connections"].clone()).unwrap();
        assert_eq!(back, views);
        assert_eq!((&document["next"], &document["silent"]), (&"1-2-3-4".into(), &vec![0, 3].into()));
        let nothing = told(&mut Json { first: true }, &[], &some(0));
        assert_eq!(nothing, "{\"connections\":[],\"next\":null,\"silent\":[]}\n");
    }

    #[test]
    fn a_session_is_a_line_as_haproxys() {
        let text = told(&mut Sess { one: true }, &[view()], &some(1));
        assert!(text.starts_with(
            "0x1f: proto=tcpv4 src=192.0.2.7:4711 fe=web be=web srv=<none> ts=00 epoch=0 age=2m5s "
        ));
        assert!(text.ends_with(" name=evil\\x1b[2J,\\nname\n"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(told(&mut Sess { one: true }, &[], &some(0)), "Session not found.\n");
        assert_eq!(told(&mut Sess { one: false }, &[], &some(0)), "");
    }

    #[test]
    fn a_table_has_its_headings_and_says_what_is_missing() {
        let end = End { silent: vec![1], ..some(1) };
        let text = told(&mut Table, &[view()], &end);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("ID       AGE     STATE         SERVICE"), "{text}");
        assert!(
            lines[1].starts_with("31       2m5s    connected     web          default      192.0.2.7:4711")
        );
        assert_eq!(lines[2..], ["# no answer from worker 1"]);
    }

    #[test]
    fn closing_is_silent_but_where_there_was_nothing() {
        assert_eq!(told(&mut Closed { expected: true }, &[], &some(1)), "");
        assert_eq!(told(&mut Closed { expected: false }, &[], &some(0)), "");
        assert_eq!(
            told(&mut Closed { expected: true }, &[], &some(0)),
            "No such session (use 'show sess').\n"
        );
    }

    #[test]
    fn filters_are_pairs() {
        let filters = |text: &str| filters(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let (wanted, most, from) =
            filters("service web state connected limit 3 after 1-2-3-4 id 0x10").unwrap();
        assert_eq!(
            (wanted.service.as_str(), wanted.state.as_str(), wanted.id, most),
            ("web", "connected", Some(16), 3)
        );
        assert_eq!(from, Some(Cursor { listing: 1, worker: 2, after: 3, below: 4 }));
        for (text, why) in [
            ("service", "\"service\" has no value."),
            ("limit x", "\"x\" is no limit."),
            ("after 1-2", "\"1-2\" is no after."),
            ("id +1", "\"+1\" is no id."),
            ("id 0x+1", "\"0x+1\" is no id."),
            ("sort age", "Unknown filter \"sort\""),
            ("state up", "\"up\" is no state: there are new, accepted"),
        ] {
            assert!(filters(text).unwrap_err().starts_with(why), "{text}");
        }
    }

    #[test]
    fn ages_have_two_units() {
        for (seconds, expected) in
            [(0.9, "0s"), (59.0, "59s"), (61.0, "1m1s"), (3_700.0, "1h1m"), (90_000.0, "1d1h"), (-1.0, "0s")]
        {
            assert_eq!(age(seconds), expected);
        }
    }
}
