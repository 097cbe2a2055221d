// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control interface by HTTP: curl against every path, who may change what, names that were made to lead here,
//! readers that stall or lie, and services of mode "control" with TLS.

use crate::harness::{Backend, End, Files, Listening, Peer, Pki, Sides, TlsClient, Tunnel, wait_for};
use crate::program::{Place, echo, free_address};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

const TOKEN: &str = "0123456789abcdef-operate";
const ADMIN: &str = "0123456789abcdef-administer";

/// `[control]` with HTTP at `address` and a token for each level that changes something; files in `place`.
fn control(place: &Place, address: SocketAddr, more: &str) -> String {
    let (operate, admin) = (place.write("operate", TOKEN), place.write("admin", ADMIN));
    for file in [&operate, &admin] {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    format!(
        "[control]\nhttp = \"{address}\"\ntokens = [{{ file = \"{}\", level = \"operate\" }}, \
         {{ file = \"{}\", level = \"admin\" }}]\n{more}\n",
        operate.display(),
        admin.display()
    )
}

/// A service of mode "control" on a free port.
const STATUS: &str = "[[service]]\nname = \"status\"\nmode = \"control\"\naccept = \"127.0.0.1:0\"\n\n";

/// What curl prints with these arguments: the answer, a line end, then its status.
#[track_caller]
fn curl(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
        ])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}\n{text}");
    let (answer, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), answer.to_owned())
}

#[track_caller]
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    curl(&[&format!("http://{address}{path}")])
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Sends bytes and reads to the end: the statuses of the answers, in order, and all that came.
#[track_caller]
fn raw(address: SocketAddr, bytes: &[u8]) -> (Vec<u16>, String) {
    let mut peer = Peer::plain(address);
    peer.send(bytes);
    let (answer, end) = peer.receive_all();
    assert_eq!(end, End::Clean, "{}", String::from_utf8_lossy(&answer));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    (lines.map(|line| line[..3].parse().unwrap()).collect(), text)
}

#[test]
fn curl_finds_every_path() {
    let tunnel = Tunnel::start(STATUS);
    let address = tunnel.address("status");
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));
    wait_for("the daemon to be ready", || get(address, "/readyz").0 == 200);
    let basic = get(address, "/basic_status").1;
    assert!(basic.starts_with("Active connections: ") && basic.lines().count() == 4, "{basic}");
    for thing in [
        "info",
        "services",
        "listeners",
        "servers",
        "workers",
        "certificates",
        "errors",
        "summary",
        "snapshot",
        "connections",
    ] {
        let (status, text) = get(address, &format!("/api/v1/{thing}"));
        assert_eq!(status, 200, "{thing}: {text}");
        assert!(json(&text).is_object(), "{thing}: {text}");
    }
    assert_eq!(json(&get(address, "/api/v1/info").1)["pid"], tunnel.pid().as_raw());
    let (status, page) = get(address, "/");
    assert!(status == 200 && page.starts_with("<!DOCTYPE html>"), "{page}");
    let asset = page.split('"').find(|word| word.starts_with("/assets/")).unwrap().to_owned();
    let (_, head) = curl(&["--head", &format!("http://{address}{asset}")]);
    assert!(head.contains("Cache-Control: public, max-age=31536000, immutable"), "{head}");
    for (path, status) in [("/nothing", 404), ("/api/v1/nothing", 404), ("/api/v1/connections?limit=0", 400)]
    {
        assert_eq!(get(address, path).0, status, "{path}");
    }
}

#[test]
fn one_connection_serves_many_requests_and_a_head_has_no_body() {
    let tunnel = Tunnel::start(STATUS);
    let url = |path: &str| format!("http://{}{path}", tunnel.address("status"));
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--noproxy", "*", "--write-out", "%{num_connects}\n"])
        .args([
            "--output",
            "/dev/null",
            &url("/metrics"),
            "--output",
            "/dev/null",
            &url("/api/v1/connections"),
        ])
        .args(["--output", "/dev/null", &url("/healthz")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n0\n0\n");
    for path in ["/metrics", "/api/v1/connections", "/healthz"] {
        let (status, head) = curl(&["--head", &url(path)]);
        assert!(status == 200 && head.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }
    let (status, old) = curl(&["--http1.0", &url("/api/v1/connections")]);
    assert!(status == 200 && json(&old)["connections"].is_array(), "{old}");
    let (statuses, text) =
        raw(tunnel.address("status"), b"GET /healthz HTTP/1.0\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(statuses, [200], "HTTP/1.0 ends after one: {text}");
}

#[test]
fn a_name_that_was_made_to_lead_here_is_turned_away() {
    let place = Place::new("");
    let http = free_address();
    let tunnel = Tunnel::start(&format!("{}{STATUS}", control(&place, http, "hosts = [\"status.example\"]")));
    for address in [http, tunnel.address("status")] {
        let ask = |host: &str| {
            curl(&["--header", &format!("Host: {host}"), &format!("http://{address}/api/v1/info")])
        };
        for host in ["evil.example", "localhost.evil.example", "status.example.evil"] {
            let (status, text) = ask(host);
            assert_eq!((status, text.lines().count()), (421, 1), "{host}: {text}");
            assert!(!text.contains("pid"), "{text}");
        }
        for host in ["localhost", "status.example", "STATUS.example:80", "[::1]:9180", "192.0.2.1"] {
            assert_eq!(ask(host).0, 200, "{host}");
        }
    }
}

#[test]
fn changes_take_our_own_page_and_a_level_or_a_token() {
    let place = Place::new("");
    let http = free_address();
    let tunnel = Tunnel::start(&format!("{}{STATUS}", control(&place, http, "")));
    let url = format!("http://{http}/api/v1/log-level?level=debug");
    let origin = format!("Origin: http://{http}");
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let level = || json(&get(http, "/api/v1/info").1)["log_level"].as_str().unwrap().to_owned();
    let before = level();
    assert_ne!(before, "debug");
    for (header, status) in [
        ("X: y", 403),
        ("Origin: http://evil.example", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        (&*origin, 401),
        (&*bearer("wrong-wrong-wrong-wrong"), 401),
    ] {
        let (got, text) = curl(&["--request", "POST", "--header", header, &url]);
        assert_eq!((got, text.lines().count()), (status, 1), "{header}: {text}");
    }
    assert_eq!(get(http, "/api/v1/log-level?level=debug").0, 405);
    assert_eq!(level(), before);
    let (status, text) = curl(&["--request", "POST", "--header", &bearer(TOKEN), &url]);
    assert!(status == 200 && json(&text)["ok"] == true, "{text}");
    assert_eq!(level(), "debug");
    for change in ["reload", "drain"] {
        let url = format!("http://{http}/api/v1/{change}");
        assert_eq!(curl(&["--request", "POST", "--header", &bearer(TOKEN), &url]).0, 403, "{change}");
    }
    let url = format!("http://{http}/api/v1/reload");
    let (status, text) = curl(&["--request", "POST", "--header", &bearer(ADMIN), &url]);
    assert!(status == 200 && json(&text)["ok"] == true, "{text}");
    tunnel.rewrite("nonsense");
    let (status, text) = curl(&["--request", "POST", "--header", &bearer(ADMIN), &url]);
    assert!(status == 409 && json(&text)["ok"] == false, "{text}");
}

#[test]
fn a_connection_is_found_by_its_service_and_killed_by_its_number() {
    let place = Place::new("");
    let (http, backend) = (free_address(), Backend::echo(Listening::default()));
    let service = format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"{}\"\n",
        backend.address()
    );
    let tunnel = Tunnel::start(&format!("{}{service}", control(&place, http, "")));
    let mut peers: Vec<Peer> = (0..5).map(|_| Peer::plain(tunnel.address("web"))).collect();
    peers.iter_mut().for_each(|peer| echo(peer, b"there"));
    let mut ids = Vec::new();
    let mut path = "/api/v1/connections?service=web&limit=2".to_owned();
    loop {
        let page = json(&get(http, &path).1);
        assert!(page["silent"].as_array().unwrap().is_empty(), "{page}");
        ids.extend(page["connections"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/connections?service=web&limit=2&after={next}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "{ids:?}");
    let none = json(&get(http, "/api/v1/connections?service=other").1);
    assert!(none["connections"].as_array().unwrap().is_empty(), "{none}");
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let kill = |id: u64| {
        curl(&[
            "--request",
            "POST",
            "--header",
            &bearer,
            &format!("http://{http}/api/v1/connections/{id}/kill"),
        ])
    };
    let (status, text) = kill(ids[2]);
    assert!(status == 200 && json(&text)["killed"] == ids[2], "{text}");
    assert_eq!(kill(ids[2]).0, 404);
    let line = tunnel.wait_closed(1).remove(0);
    assert_eq!(line.number("id"), ids[2], "{}", line.text);
    let left = json(&get(http, "/api/v1/connections?service=web").1);
    assert_eq!(left["connections"].as_array().unwrap().len(), 4);
}

#[test]
fn over_tls_the_level_is_that_of_the_certificate() {
    let (place, pki) = (Place::new(""), Pki::new());
    let client = |name: &str| pki.issue_common_name(name, name, 30);
    let (ops, guest) = (client("ops"), client("guest"));
    let certificates = "certificates = [{ cn = \"ops\", level = \"operate\" }]";
    let tunnel = Tunnel::start(&format!(
        "{}[[service]]\nname = \"status\"\nmode = \"control\"\n\
         accept = {{ address = \"127.0.0.1:0\", tls = {{ {}, client_ca = \"{}\" }} }}\n",
        control(&place, free_address(), certificates),
        pki.server.toml(),
        pki.ca.display(),
    ));
    let port = tunnel.address("status").port();
    let base = format!("https://localhost:{port}");
    let ask = |files: &Files, more: &[&str]| {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let (certificate, key, ca) = (path(&files.certificate), path(&files.key), path(&pki.ca));
        let mut arguments = vec!["--cacert", &ca, "--cert", &certificate, "--key", &key];
        let resolve = format!("localhost:{port}:127.0.0.1");
        arguments.extend(["--resolve", &resolve]);
        arguments.extend(more);
        curl(&arguments)
    };
    let url = format!("{base}/api/v1/log-level?level=notice");
    let (read, origin) = (format!("{base}/api/v1/info"), format!("Origin: {base}"));
    for files in [&ops, &guest] {
        assert_eq!(ask(files, &[&read]).0, 200);
        // A browser adds the certificate wherever it was sent from.
        assert_eq!(ask(files, &["--request", "POST", &url]).0, 403);
        assert_eq!(ask(files, &["--request", "POST", "--header", "Origin: https://evil", &url]).0, 403);
    }
    assert_eq!(ask(&guest, &["--request", "POST", "--header", &origin, &url]).0, 401);
    assert_eq!(ask(&ops, &["--request", "POST", "--header", &origin, &url]).0, 200);
    let reload = format!("{base}/api/v1/reload");
    assert_eq!(ask(&ops, &["--request", "POST", "--header", &origin, &reload]).0, 401);
    assert_eq!(ask(&ops, &["--header", "Host: evil.example", &read]).0, 421);
}

#[test]
fn promtool_has_nothing_to_say_of_the_metrics() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let service = Sides::Terminate.service("web", &pki, backend.address(), "");
    let tunnel = Tunnel::start(&format!("{STATUS}{service}"));
    let mut peer = TlsClient::new(&pki).connect(tunnel.address("web")).unwrap();
    echo(&mut peer, b"counted");
    let (status, text) = get(tunnel.address("status"), "/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("tunnel_frontend_sessions_total{proxy=\"web\"} 1\n"), "{text}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    let some = get(tunnel.address("status"), "/metrics?scope=worker&metrics=-tunnel_worker_load_ratio").1;
    assert!(some.contains("tunnel_worker_turns_total{") && !some.contains("tunnel_process_"), "{some}");
    assert!(!some.contains("load_ratio"), "{some}");
}

#[test]
fn what_could_be_read_in_two_ways_is_answered_once_and_for_the_last_time() {
    let tunnel = Tunnel::start(STATUS);
    let address = tunnel.address("status");
    let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for lines in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 44\r\n",
        "Content-Length: +0\r\n",
        "X: y\nContent-Length: 44\r\n",
        "Host: other\r\n",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{hidden}");
        let (statuses, answer) = raw(address, text.as_bytes());
        assert_eq!(statuses, [400], "{lines:?}: {answer}");
    }
    let chunks = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n{hidden}"
    );
    assert_eq!(raw(address, chunks.as_bytes()).0, [400]);
}

#[test]
fn who_sends_too_much_is_told_so_and_not_cut_off() {
    let tunnel = Tunnel::start(STATUS);
    let address = tunnel.address("status");
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(64 << 10)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "y".repeat(64 << 10)), 414),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(100)), 431),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n{}",
                "y".repeat(99_999)
            ),
            413,
        ),
        ("\x16\x03\x01\x02".to_owned(), 400),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), 505),
        ("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 501),
    ] {
        let (statuses, answer) = raw(address, request.as_bytes());
        assert_eq!(statuses, [status], "{answer}");
    }
}

#[test]
fn a_thousand_who_say_nothing_leave_room_for_who_asks() {
    let place = Place::new("");
    let http = free_address();
    let tunnel = Tunnel::start(&format!("{}{STATUS}", control(&place, http, "")));
    let url = format!("http://{http}/healthz");
    // Who comes while all others have come within a second is turned away: it asks again.
    let served = || {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "20", "--noproxy", "*", "--fail", &url])
            .output()
            .unwrap();
        output.status.success() && output.stdout == b"ok\n"
    };
    let mut idle = Vec::new();
    for number in 0..1000 {
        let mut peer = Peer::plain(http);
        if number % 2 == 0 {
            // Whoever it is that goes, it may be one of these.
            let _told = peer.try_send(b"GET /healthz HT");
        }
        idle.push(peer);
        if number % 100 == 0 {
            wait_for("room for one who asks", served);
        }
    }
    wait_for("room for one who asks", served);
    let figures = tunnel.figures();
    assert!(figures.fds < 700, "{figures:?}");
    drop(idle);
}

#[test]
fn who_takes_nothing_of_what_it_asked_for_stops_nobody() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&format!(
        "{STATUS}[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"{}\"\n",
        backend.address()
    ));
    let address = tunnel.address("status");
    let ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let mut stalled: Vec<Peer> = (0..20).map(|_| Peer::plain(address)).collect();
    for peer in &mut stalled {
        peer.send(&ask);
    }
    let mut peer = Peer::plain(tunnel.address("web"));
    for _ in 0..100 {
        echo(&mut peer, b"not held up");
    }
    assert_eq!(get(address, "/healthz").0, 200);
    drop(stalled);
}

#[test]
fn while_it_drains_it_says_so_until_the_last_connection_ends() {
    let place = Place::new("");
    let (http, backend) = (free_address(), Backend::echo(Listening::default()));
    let mut tunnel = Tunnel::start(&format!(
        "{}[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"{}\"\n",
        control(&place, http, ""),
        backend.address()
    ));
    let mut peer = Peer::plain(tunnel.address("web"));
    echo(&mut peer, b"before");
    wait_for("the daemon to be ready", || get(http, "/readyz").0 == 200);
    tunnel.signal(Signal::SIGTERM);
    wait_for("the daemon to say that it drains", || get(http, "/readyz").0 == 503);
    assert!(get(http, "/readyz").1.contains("draining"));
    assert_eq!(get(http, "/healthz").0, 200);
    let (_, head) = curl(&["--include", &format!("http://{http}/healthz")]);
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    echo(&mut peer, b"meanwhile");
    drop(peer);
    assert!(tunnel.wait_exit().success());
}
