// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the API tells of a made-up snapshot, what it refuses, and how a listing is put into chunks.

use super::super::query::decode;
use super::super::response::Manner;
use super::*;
use crate::control::answer::Answer;
use crate::control::model::{Process, Route};
use serde_json::Value;

const MANNER: Manner = Manner { head_only: false, minor: 1, keep: true };

fn snapshot() -> Snapshot {
    let server = |service: &str, name: &str| Server {
        service: service.to_owned(),
        route: "default".to_owned(),
        name: name.to_owned(),
        state: "up".to_owned(),
        ..Server::default()
    };
    let service = |name: &str| {
        let servers = vec![server(name, "a:1"), server(name, "b:2")];
        let routes = vec![Route { name: "default".to_owned(), servers, ..Route::default() }];
        Service { name: name.to_owned(), mode: "relay".to_owned(), routes, ..Service::default() }
    };
    Snapshot {
        at: 12.5,
        process: Process { name: "tunnel".to_owned(), ready: true, ..Process::default() },
        services: vec![service("web"), service("mail")],
        workers: vec![Worker { number: 0, ..Worker::default() }, Worker { number: 1, ..Worker::default() }],
        ..Snapshot::default()
    }
}

fn told(thing: Thing, query: &str) -> Value {
    let body = of_snapshot(thing, &decode(query.as_bytes()), &snapshot());
    serde_json::from_slice(&body.unwrap().unwrap()).unwrap()
}

#[test]
fn lists_are_filtered_by_the_query() {
    for (thing, query, list, count) in [
        (Thing::Services, "", "services", 2),
        (Thing::Services, "name=web", "services", 1),
        (Thing::Services, "name=web&mode=demo", "services", 0),
        (Thing::Listeners, "", "listeners", 0),
        (Thing::Servers, "", "servers", 4),
        (Thing::Servers, "service=mail&name=a:1", "servers", 1),
        (Thing::Servers, "state=down", "servers", 0),
        (Thing::Workers, "number=1", "workers", 1),
        (Thing::Workers, "number=", "workers", 2),
    ] {
        let value = told(thing, query);
        assert_eq!(value[list].as_array().map(Vec::len), Some(count), "{thing:?} {query}: {value}");
    }
    let bad = of_snapshot(Thing::Workers, &decode(b"number=x"), &snapshot());
    assert_eq!(bad.unwrap_err().status, 400);
}

#[test]
fn objects_are_those_of_the_model() {
    let whole: Snapshot = serde_json::from_value(told(Thing::Snapshot, "")).unwrap();
    assert_eq!(whole, snapshot());
    let process: Process = serde_json::from_value(told(Thing::Info, "")).unwrap();
    assert_eq!(process, snapshot().process);
    let summary = told(Thing::Summary, "");
    assert_eq!(summary["services"][1]["name"], "mail");
    assert_eq!(summary["ready"], true);
    assert!(summary.to_string().len() < 10_000);
}

fn answered(name: &str, query: &str) -> Answer {
    let mut state = crate::control::testing::state();
    get(name, &decode(query.as_bytes()), &mut state).unwrap().answer(MANNER)
}

fn status(answer: &Answer) -> &str {
    match answer {
        Answer::Whole(bytes, _) => std::str::from_utf8(&bytes[9..12]).unwrap(),
        _ => "list",
    }
}

#[test]
fn every_thing_answers_and_refuses_fields_it_does_not_know() {
    for (name, thing, known) in Thing::ALL {
        let expected = if thing == Thing::Connections { "list" } else { "200" };
        assert_eq!(status(&answered(name, "")), expected, "{name}");
        assert_eq!(status(&answered(name, "servce=web")), "400", "{name}");
        // An empty field wants nothing.
        let empty = known.iter().map(|field| format!("{field}=")).collect::<Vec<_>>().join("&");
        assert_eq!(status(&answered(name, &empty)), expected, "{name}?{empty}");
    }
    assert!(get("nothing", &Vec::new(), &mut crate::control::testing::state()).is_none());
}

#[test]
fn connections_are_asked_for_with_sense() {
    for (query, expected) in [
        ("limit=1", "list"),
        ("limit=1000", "list"),
        ("limit=0", "400"),
        ("limit=1001", "400"),
        ("limit=-1", "400"),
        ("limit=1e3", "400"),
        ("limit=99999999999999999999999", "400"),
        ("after=1-0-17-20", "list"),
        ("after=1-0-17", "400"),
        ("after=1-0-17-20-3", "400"),
        ("after=x", "400"),
        ("after=%00", "400"),
        ("id=7&service=web", "list"),
        ("id=x", "400"),
        ("state=connected", "list"),
        ("state=conected", "400"),
    ] {
        assert_eq!(status(&answered("connections", query)), expected, "{query}");
    }
    let Answer::List(list) =
        answered("connections", "limit=7&service=web&client=192.&name=a%20b&after=3-1-4-9")
    else {
        panic!("no list");
    };
    assert_eq!((list.most, list.act, list.then), (7, Act::Look, Then::Keep));
    assert_eq!(list.from.unwrap().to_string(), "3-1-4-9");
    let wanted = Wanted {
        service: "web".to_owned(),
        client: "192.".to_owned(),
        name: "a b".to_owned(),
        ..Wanted::default()
    };
    assert_eq!(list.wanted, wanted);
}

/// What a client gets of a listing of `count` connections: head and body.
fn listed(manner: Manner, count: u64, end: &End) -> (String, String) {
    let mut state = crate::control::testing::state();
    let Answer::List(mut list) = get("connections", &Vec::new(), &mut state).unwrap().answer(manner) else {
        panic!("no list");
    };
    let mut out = Vec::new();
    list.format.head(&mut out);
    for id in 0..count {
        let name = "\"><script>\u{1}".to_owned();
        list.format.row(&ConnectionView { id, name, ..ConnectionView::default() }, &mut out);
    }
    list.format.tail(end, &mut out);
    let text = String::from_utf8(out).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// A chunked body joined.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        assert_eq!(&rest[size..size + 2], "\r\n");
        body = &rest[size + 2..];
        if size == 0 {
            assert!(body.is_empty());
            return whole;
        }
    }
}

#[test]
fn a_listing_is_one_json_object_in_chunks() {
    let end = End { next: Some("1-2-3-4".parse().unwrap()), told: 3, silent: vec![1] };
    let (head, body) = listed(MANNER, 3, &end);
    assert!(
        head.contains("\r\nTransfer-Encoding: chunked\r\n") && !head.contains("Content-Length"),
        "{head}"
    );
    let value: Value = serde_json::from_str(&joined(&body)).unwrap();
    assert_eq!(value["connections"].as_array().unwrap().len(), 3);
    assert_eq!(value["connections"][2]["id"], 2);
    assert_eq!(value["connections"][0]["name"], "\"><script>\u{1}");
    assert_eq!((&value["next"], &value["silent"]), (&json!("1-2-3-4"), &json!([1])));
    let (_, body) = listed(MANNER, 0, &End::default());
    assert_eq!(joined(&body), "{\"connections\":[],\"next\":null,\"silent\":[]}");
}

#[test]
fn who_knows_no_chunks_gets_it_until_the_end() {
    let (head, body) = listed(Manner { minor: 0, ..MANNER }, 1, &End::default());
    assert!(!head.contains("Transfer-Encoding") && head.contains("\r\nConnection: close\r\n"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["connections"][0]["id"], 0);
    let mut state = crate::control::testing::state();
    let head_only = Manner { head_only: true, ..MANNER };
    let answer = get("connections", &Vec::new(), &mut state).unwrap().answer(head_only);
    assert!(matches!(answer, Answer::Whole(bytes, Then::Keep) if bytes.ends_with(b"\r\n\r\n")));
}
