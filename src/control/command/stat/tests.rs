// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `show stat` says of sample values, and what it makes of its words.

use super::*;
use crate::control::model::{Check, Process, Route, Rule};

fn server(route: &str, name: &str, number: u32) -> Server {
    Server {
        service: "web".into(),
        route: route.into(),
        name: name.into(),
        address: name.into(),
        admin: "ready".into(),
        state: "up".into(),
        since: 90.0,
        weight: 1,
        number,
        traffic: Traffic { active: 2, total: 5, bytes_in: 10, ..Traffic::default() },
        connects: Timing { count: 4, sum: 0.1, ..Timing::default() },
        connect_errors: 3,
        checks: vec![Check {
            ok: true,
            status: "L4OK".into(),
            took: 0.0016,
            text: "a,\"b\"".into(),
            at: 1.0,
        }],
        check: "tcp".into(),
        watched: true,
        rise: 2,
        fall: 3,
        check_failures: 7,
        downs: 1,
        downtime: 2.5,
        ..Server::default()
    }
}

fn sample() -> Snapshot {
    let route = |name: &str, servers| Route { name: name.into(), servers, ..Route::default() };
    let mut second = server("www", "10.0.0.2:80", 2);
    second.admin = "maint".into();
    let web = Service {
        name: "web".into(),
        state: "up".into(),
        routes: vec![route("www", vec![server("www", "10.0.0.1:80", 1), second]), route("mail", vec![])],
        rules: vec![
            Rule { action: "drop".into(), matched: 4, ..Rule::default() },
            Rule { action: "accept".into(), matched: 100, ..Rule::default() },
        ],
        ..Service::default()
    };
    let health = Service { name: "a,b".into(), state: "removed".into(), ..Service::default() };
    Snapshot {
        at: 100.0,
        process: Process { max_connections: 1000, ..Process::default() },
        services: vec![web, health],
        ..Snapshot::default()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn shown(text: &str) -> String {
    show(&sample(), &Asked::read(&words(text)).unwrap())
}

/// The cells of a row (RFC 4180 section 2), quotes left on.
fn cells(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let apart = |character: char| {
        quoted ^= character == '"';
        character == ',' && !quoted
    };
    line.split(apart).collect()
}

/// The value under `column` in the row of `svname`.
fn value(csv: &str, svname: &str, column: &str) -> String {
    let row = csv.lines().find(|line| cells(line)[1] == svname).unwrap();
    let place = COLUMNS.iter().position(|(name, _)| *name == column).unwrap();
    cells(row)[place].to_owned()
}

#[test]
fn columns_have_haproxys_numbers_and_ours_come_after_the_mark() {
    for (name, number) in [
        ("pxname", 0),
        ("scur", 4),
        ("status", 17),
        ("type", 32),
        ("check_status", 36),
        ("lastsess", 55),
        ("ttime", 61),
        ("addr", 73),
        ("mode", 75),
        ("conn_tot", 79),
        ("uweight", 99),
        ("agg_check_status", 102),
        ("-", 103),
    ] {
        assert_eq!(COLUMNS.iter().position(|(known, _)| *known == name), Some(number), "{name}");
    }
    for (index, (name, tags)) in COLUMNS.iter().enumerate() {
        assert!(!COLUMNS[..index].iter().any(|(known, _)| known == name), "{name} twice");
        assert_eq!(tags.len(), 3, "{name}");
    }
}

#[test]
fn each_service_has_a_frontend_its_servers_and_a_backend() {
    let csv = shown("");
    assert!(csv.starts_with("# pxname,svname,qcur,"), "{csv}");
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| cells(line)[..2].to_vec()).collect();
    let expected =
        [["web", "FRONTEND"], ["web", "www/10.0.0.1:80"], ["web", "www/10.0.0.2:80"], ["web", "BACKEND"]];
    assert_eq!(rows[..4], expected);
    assert!(csv.contains("\n\"a,b\",FRONTEND,"), "a comma in a name stays in its cell");
    for line in csv.lines() {
        assert_eq!(cells(line).len(), COLUMNS.len() + 1, "{line}");
        assert!(line.ends_with(','));
    }
}

#[test]
fn values_stand_in_their_columns() {
    let csv = shown("web");
    for (svname, column, expected) in [
        ("FRONTEND", "status", "OPEN"),
        ("FRONTEND", "slim", "1000"),
        ("FRONTEND", "dreq", "4"),
        ("FRONTEND", "iid", "2"),
        ("FRONTEND", "type", "0"),
        ("FRONTEND", "-", "-"),
        ("FRONTEND", "addr", ""),
        ("www/10.0.0.1:80", "status", "UP"),
        ("www/10.0.0.1:80", "sid", "1"),
        ("www/10.0.0.1:80", "type", "2"),
        ("www/10.0.0.1:80", "scur", "2"),
        ("www/10.0.0.1:80", "ctime", "25"),
        ("www/10.0.0.1:80", "econ", "3"),
        ("www/10.0.0.1:80", "lastchg", "10"),
        ("www/10.0.0.1:80", "lastsess", "-1"),
        ("www/10.0.0.1:80", "check_status", "L4OK"),
        ("www/10.0.0.1:80", "check_duration", "2"),
        ("www/10.0.0.2:80", "status", "MAINT"),
        ("BACKEND", "status", "UP"),
        ("BACKEND", "act", "1"),
        ("BACKEND", "econ", "6"),
        ("BACKEND", "type", "1"),
    ] {
        assert_eq!(value(&csv, svname, column), expected, "{svname} {column}");
    }
    assert!(csv.contains(",\"a,\"\"b\"\"\","), "what a check said stays in its cell");
    assert!(show(&sample(), &Asked::read(&words("3")).unwrap()).contains(",STOP,"));
}

#[test]
fn rows_are_picked_by_service_kind_and_number() {
    let rows = |text: &str| shown(text).lines().count() - 1;
    for (text, expected) in [
        ("", 6),
        ("-1 -1 -1", 6),
        ("web", 4),
        ("2", 4),
        ("2 1 -1", 1),
        ("-1 4 -1", 2),
        ("2 4 2", 1),
        ("-1 6 -1", 4),
        ("no-maint", 5),
        ("web up", 3),
        ("nobody", 0),
    ] {
        assert_eq!(rows(text), expected, "{text:?}");
    }
    assert!(Asked::read(&words("2 x 1")).unwrap_err().starts_with("\"x\" is neither"));
    assert!(Asked::read(&words("2 4")).unwrap_err().starts_with("Give nothing"));
}

#[test]
fn typed_values_and_json_tell_the_same() {
    let typed = shown("typed web");
    assert!(
        typed.starts_with("F.2.0.0.pxname.1:KNS:str:web\nF.2.0.1.svname.1:KNS:str:FRONTEND\n"),
        "{typed}"
    );
    assert!(typed.contains("\nS.2.1.4.scur.1:MGP:u32:2\n"), "{typed}");
    let json: serde_json::Value = serde_json::from_str(&shown("json")).unwrap();
    let rows = json.as_array().unwrap();
    assert_eq!(rows.len(), 6);
    let first = &rows[1][0];
    assert_eq!(first["objType"], "Server");
    assert_eq!((&first["proxyId"], &first["id"]), (&2.into(), &1.into()));
    assert_eq!(first["field"]["name"], "pxname");
    assert_eq!(first["value"], serde_json::json!({ "type": "str", "value": "web" }));
}
