// SPDX-License-Identifier: MIT OR Apache-2.0
//! Conversations with one reader: order, limits, patience, levels, and bytes that nobody would send on purpose.

use super::*;
use crate::connection::view::ConnectionView;
use crate::control::answer::{End, Then, Who};
use crate::control::testing;
use crate::policy::access::{ControlSettings, Level, Token};

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn talk() -> Http {
    Http::new(Hosts::Configured, false)
}

/// A daemon of one token.
fn state() -> State {
    let token = Token { name: "ops".into(), secret: "secret".into(), level: Level::Admin };
    let settings = ControlSettings { tokens: vec![token], ..ControlSettings::default() };
    let mut state = testing::state();
    state.settings = Arc::new(settings);
    state
}

fn visitor() -> Visitor {
    Visitor { who: Who::Anybody, level: Level::Read, name: "127.0.0.1:1".to_owned() }
}

/// What a whole input is answered: the status of each answer, "list" or "order"; "more" where it waits, "end" where it ends.
fn conversation(talk: &mut Http, state: &mut State, input: &mut Vec<u8>) -> Vec<String> {
    let mut answers = Vec::new();
    loop {
        let (word, then) = match talk.request(input, &visitor(), state) {
            Request::More => ("more".to_owned(), Then::Close),
            Request::End => ("end".to_owned(), Then::Close),
            Request::Answer(Answer::Whole(bytes, then) | Answer::Shared(bytes, _, then)) => {
                (String::from_utf8_lossy(bytes.get(9..12).unwrap_or_default()).into_owned(), then)
            }
            Request::Answer(Answer::List(list)) => ("list".to_owned(), list.then),
            Request::Answer(Answer::Order(_, _, then)) => ("order".to_owned(), then),
        };
        answers.push(word);
        if then == Then::Close {
            return answers;
        }
    }
}

fn answers(text: &str) -> Vec<String> {
    conversation(&mut talk(), &mut state(), &mut text.as_bytes().to_vec())
}

#[test]
fn requests_that_follow_each_other_are_answered_in_order() {
    let post = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nGET ";
    let chunked =
        "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let list = "GET /api/v1/connections HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let text = [GET, post, chunked, list, GET, last, GET].concat();
    assert_eq!(answers(&text), ["200", "405", "405", "list", "200", "404"]);
    for step in [1, 3, 100] {
        let (mut talk, mut state) = (talk(), state());
        let (mut input, mut heard) = (Vec::new(), Vec::new());
        for piece in [GET, post, chunked, list, GET].concat().as_bytes().chunks(step) {
            input.extend_from_slice(piece);
            heard.extend(conversation(&mut talk, &mut state, &mut input));
        }
        heard.retain(|word| word != "more");
        assert_eq!(heard, ["200", "405", "405", "list", "200"], "in steps of {step}");
    }
}

#[test]
fn after_what_was_not_understood_nothing_is_answered() {
    let (mut talk, mut state) = (talk(), state());
    let smuggled = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n{GET}"
    );
    let mut input = smuggled.into_bytes();
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["400"]);
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["end"]);
    input.extend_from_slice(GET.as_bytes());
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["end"]);
}

#[test]
fn who_waits_to_go_on_is_told_to_once() {
    let (mut talk, mut state) = (talk(), state());
    let head = "POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\
                Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut input = head.as_bytes().to_vec();
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["100", "more"]);
    input.extend_from_slice(b"ab");
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["order", "more"]);
    // What is too large is not asked for.
    let large = head.replace("Content-Length: 2", "Content-Length: 65537");
    assert_eq!(answers(&large), ["413"]);
    assert_eq!(answers(&format!("{head}ab")), ["order", "more"]);
}

#[test]
fn a_request_that_dribbles_is_refused_in_the_end() {
    let (mut talk, mut state) = (talk(), state());
    assert_eq!(talk.patience(), IDLE);
    assert!(talk.late().is_empty(), "between requests nobody is late");
    let mut input = Vec::new();
    let mut last = Vec::new();
    for byte in GET.bytes().take(GET.len() - 1) {
        input.push(byte);
        last = conversation(&mut talk, &mut state, &mut input);
        if last != ["more"] {
            break;
        }
        assert_eq!(talk.patience(), SILENCE);
        state.now += Duration::from_secs(1);
    }
    assert_eq!(last, ["408"]);
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["end"]);
}

#[test]
fn silence_in_the_middle_of_a_request_is_told() {
    let (mut talk, mut state) = (talk(), state());
    let mut input = GET.as_bytes()[..10].to_vec();
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["more"]);
    assert!(talk.late().starts_with(b"HTTP/1.1 408 "));
    assert_eq!(conversation(&mut talk, &mut state, &mut input), ["end"]);
    // The time of the next one begins anew.
    let mut talk = self::talk();
    assert_eq!(conversation(&mut talk, &mut state, &mut GET.as_bytes().to_vec()), ["200", "more"]);
    state.now += REQUEST * 2;
    assert_eq!(conversation(&mut talk, &mut state, &mut GET.as_bytes().to_vec()), ["200", "more"]);
}

#[test]
fn every_path_knows_its_methods() {
    let request = |method: &str, path: &str, lines: &str| {
        answers(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"))[0].clone()
    };
    for path in ["/healthz", "/metrics", "/basic_status", "/api/v1/info", "/api/v1/errors"] {
        assert_eq!(request("GET", path, ""), "200", "{path}");
        assert_eq!(request("HEAD", path, ""), "200", "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            assert_eq!(request(method, path, ""), "405", "{method} {path}");
        }
    }
    for path in ["/api/v1/reload", "/api/v1/drain", "/api/v1/log-level?level=info"] {
        assert_eq!(request("GET", path, ""), "405", "{path}");
        assert_eq!(request("POST", path, ""), "403", "{path}");
        assert_eq!(request("POST", path, "Origin: http://localhost\r\n"), "401", "{path}");
        assert_eq!(request("POST", path, "Authorization: Bearer wrong\r\n"), "401", "{path}");
        assert_eq!(request("POST", path, "Authorization: Bearer secret\r\n"), "order", "{path}");
    }
    assert_eq!(request("POST", "/api/v1/connections/7/kill", "Authorization: Bearer secret\r\n"), "list");
    assert_eq!(request("GET", "/api/v1/", ""), "404");
    assert_eq!(request("GET", "/api/v2/info", ""), "404");
    assert_eq!(request("GET", "/metrics?scope=nothing", ""), "400");
    assert_eq!(request("GET", "/healthz?x", ""), "400");
}

#[test]
fn what_lists_connections_for_a_change_says_only_that_one() {
    let text =
        "POST /api/v1/connections/7/kill HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n";
    let request = talk().request(&mut text.as_bytes().to_vec(), &visitor(), &mut state());
    let Request::Answer(Answer::List(list)) = request else { panic!("{request:?}") };
    assert_eq!((list.wanted.id, list.most), (Some(7), 1));
    assert_eq!(list.act, crate::connection::walk::Act::Close);
}

/// A generator that needs no crate (Marsaglia's xorshift64): the same bytes each time.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below
    }
}

/// Requests, one after the other, with some of their bytes changed.
fn changed(random: &mut Bytes) -> Vec<u8> {
    let good: [&[u8]; 6] = [
        GET.as_bytes(),
        b"HEAD /metrics?scope=worker HTTP/1.1\r\nHost: [::1]:80\r\nAccept: */*\r\n\r\n",
        b"GET /api/v1/connections?limit=5&name=%ff HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"POST /api/v1/connections/1/kill HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\
          Content-Length: 6\r\n\r\nthen=/",
        b"POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
          3\r\nabc\r\n0\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    ];
    let odd: [&[u8]; 12] = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\xff",
        b"\0",
        b"%",
        b"Host: y\r\n",
        b"Content-Length: 70000\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Connection: close\r\n",
    ];
    let mut text = Vec::new();
    for _ in 0..=random.next(3) {
        text.extend_from_slice(good[random.next(good.len())]);
    }
    for _ in 0..random.next(4) {
        let at = random.next(text.len());
        match random.next(4) {
            0 => drop(text.remove(at)),
            1 => text[at] = u8::try_from(random.next(256)).unwrap(),
            2 => text.truncate(at.max(1)),
            // Most often where a line begins.
            _ => {
                let line = text[at..].iter().position(|byte| *byte == b'\n').map_or(at, |end| at + end + 1);
                text.splice(line..line, odd[random.next(odd.len())].iter().copied());
            }
        }
    }
    text
}

#[test]
fn whatever_comes_nothing_panics_and_pieces_make_no_difference() {
    let mut random = Bytes(0x9E37_79B9_7F4A_7C15);
    let mut seen = std::collections::BTreeSet::new();
    let mut state = state();
    for _ in 0..2000 {
        let text = changed(&mut random);
        let whole = conversation(&mut talk(), &mut state, &mut text.clone());
        let (mut other, mut input, mut pieces) = (talk(), Vec::new(), Vec::new());
        for byte in &text {
            input.push(*byte);
            pieces.extend(conversation(&mut other, &mut state, &mut input));
            if !matches!(pieces.last().map(String::as_str), Some("more")) {
                break;
            }
        }
        // In pieces, a body is never there when its head is.
        let decided = |words: Vec<String>| {
            words.into_iter().filter(|word| word != "more" && word != "100").collect::<Vec<_>>()
        };
        let whole = decided(whole);
        seen.extend(whole.iter().cloned());
        assert_eq!(whole, decided(pieces), "{:?}", String::from_utf8_lossy(&text));
    }
    for status in ["200", "400", "403", "404", "413", "421", "501", "505", "list"] {
        assert!(seen.contains(status), "nothing came to {status}: {seen:?}");
    }
}

const ORDER: &str = "POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n";

#[test]
fn a_token_that_was_taken_back_is_refused_on_a_connection_that_knew_it() {
    let (mut talk, mut state) = (talk(), state());
    assert_eq!(conversation(&mut talk, &mut state, &mut ORDER.as_bytes().to_vec()), ["order", "more"]);
    state.settings = Arc::default();
    assert_eq!(conversation(&mut talk, &mut state, &mut ORDER.as_bytes().to_vec()), ["401"]);
}

#[test]
fn changes_are_logged_with_who_made_them_and_so_is_what_was_refused() {
    let (mut talk, mut state) = (talk(), state());
    let (log, memory) = crate::log::Log::to_memory(crate::log::Level::Info);
    state.sources.log = log;
    let Request::Answer(Answer::Order(_, wording, _)) =
        talk.request(&mut ORDER.as_bytes().to_vec(), &visitor(), &mut state)
    else {
        panic!("no order");
    };
    (wording.0)(Ok("kept 1".to_owned()));
    for (head, status) in [("Origin: http://localhost", "401"), ("Authorization: Bearer guess", "401")] {
        let text = format!("POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
        assert_eq!(conversation(&mut talk, &mut state, &mut text.into_bytes())[0], status);
    }
    let told = |by, command, outcome| {
        format!("event=control-command by={by} command=\"POST /api/v1/{command}\" outcome={outcome}")
    };
    assert_eq!(
        memory.take(),
        [
            told("\"token ops at 127.0.0.1:1\"", "reload", "done"),
            told("127.0.0.1:1", "drain", "\"permission denied\""),
            told("127.0.0.1:1", "drain", "\"unknown token\""),
        ]
    );
}

#[test]
fn a_page_that_lists_connections_holds_nothing_until_they_are_there() {
    let mut state = state();
    let request = b"GET /connections?name=zz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let Request::Answer(Answer::List(mut list)) =
        talk().request(&mut request.to_vec(), &visitor(), &mut state)
    else {
        panic!("no list");
    };
    let snapshot = state.snapshot();
    let others = Arc::strong_count(&snapshot);
    let mut out = Vec::new();
    list.format.head(&mut out);
    list.format.row(&ConnectionView::default(), &mut out);
    assert_eq!(Arc::strong_count(&snapshot), others);
    assert!(list.format.held() >= size_of::<ConnectionView>(), "its rows count");
    list.format.look(&mut state);
    list.format.tail(&End::default(), &mut out);
    assert!(String::from_utf8(out).unwrap().contains(" 0 in all."));
}

#[test]
fn a_large_answer_is_shared_while_its_snapshot_is_shown() {
    let mut state = state();
    state.snapshot();
    let body = state.keep("/metrics".to_owned(), "text", vec![0; 1000], Duration::from_secs(60));
    assert!(state.kept("/metrics").is_some_and(|(_, kept)| Arc::ptr_eq(&kept, &body)));
    assert!(state.kept("/metrics?scope=worker").is_none());
    state.changed();
    assert!(state.kept("/metrics").is_none());
}
