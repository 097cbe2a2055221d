// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which servers are well: checks against real ones, which go up, fall, hang and come back, and against peers that answer
//! wrongly, slowly or without end; pauses of those that fail connections. Each change is one line, and told everywhere.
//!
//! Not here: which of the servers that are well gets a connection (`servers.rs`).

use crate::control_socket::ask;
use crate::harness::{
    Backend, BlackHole, Line, Listening, Options, Peer, Pki, Program, Tunnel, echo, free_address, refusing,
    wait_for,
};
use crate::starttls_programs::{
    POSTFIX, POSTFIX_SERVICES, Place, may_become_others, output, start_postfix, started, words,
};
use nix::sys::signal::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

/// Quick, so that tests are; patient enough for a machine that is busy.
const QUICK: &str = "interval = \"500ms\", rise = 2, fall = 2";

const CONTROL: &str = "[control]\nsocket = \"control\"\n";

/// A service that checks one server.
fn service(server: SocketAddr, check: &str, connect: &str) -> String {
    format!(
        "{CONTROL}[[service]]\nname = \"a\"\naccept = \"127.0.0.1:0\"\nconnect = {{ address = \"{server}\"{connect} }}\n\
         check = {{ {check}, {QUICK} }}\n"
    )
}

/// The lines of changes so far.
fn changes(tunnel: &Tunnel) -> Vec<Line> {
    tunnel.log_lines().into_iter().filter(|line| line.get("event").starts_with("server-")).collect()
}

/// Waits for the next change, which must be the one expected; its reason.
#[track_caller]
fn next(tunnel: &Tunnel, seen: &mut usize, expected: &str) -> String {
    wait_for(&format!("{expected}, after {seen} changes"), || changes(tunnel).len() > *seen);
    let line = changes(tunnel).remove(*seen);
    *seen += 1;
    assert_eq!(line.get("event"), expected, "{}", line.text);
    line.get("reason").to_owned()
}

/// A server that is not there, comes, hangs, goes on, and is killed: `start` starts it at that address. `hangs` is what is
/// said of it while it is stopped, if it can be told.
#[track_caller]
fn rises_and_falls(
    check: &str,
    connect: &str,
    address: SocketAddr,
    hangs: Option<&str>,
    start: impl FnOnce() -> Program,
) {
    let tunnel = Tunnel::start(&service(address, check, connect));
    let mut seen = 0;
    assert_eq!(next(&tunnel, &mut seen, "server-down"), "Connection refused");
    let server = start();
    next(&tunnel, &mut seen, "server-up");
    if let Some(words) = hangs {
        server.signal(Signal::SIGSTOP);
        let reason = next(&tunnel, &mut seen, "server-down");
        assert!(reason.contains(words), "{reason}");
        server.signal(Signal::SIGCONT);
        next(&tunnel, &mut seen, "server-up");
    }
    drop(server);
    next(&tunnel, &mut seen, "server-down");
    assert_eq!(changes(&tunnel).len(), seen, "each change is told once");
}

#[test]
fn redis_rises_and_falls() {
    let address = free_address();
    let dir = tempfile::tempdir().unwrap();
    let line = format!(
        "redis-server --bind 127.0.0.1 --port {} --appendonly no --dir {}",
        address.port(),
        dir.path().display()
    );
    rises_and_falls("kind = \"redis\"", "", address, Some("no answer in time"), || {
        started(&words(&line), &[address])
    });
}

#[test]
fn postgres_rises_and_falls() {
    let place = Place::new();
    let address = free_address();
    let found = fs::read_dir("/usr/lib/postgresql").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let bin = found.max().unwrap().join("bin");
    place.write("password", "secret\n");
    let mut become_it = place.give_to("postgres");
    let (bin, dir) = (bin.display(), place.path().display());
    let initdb = words(&format!("{bin}/initdb -N -A scram-sha-256 --pwfile={dir}/password -D {dir}/db"));
    let initdb = [become_it.clone(), initdb].concat();
    output(Command::new(&initdb[0]).args(&initdb[1..]).current_dir("/"));
    let port = address.port();
    become_it.extend(words(&format!(
        "{bin}/postgres -D {dir}/db -k {dir} -h 127.0.0.1 -p {port} -c fsync=off -c log_connections=off"
    )));
    rises_and_falls("kind = \"pgsql\"", "", address, Some("no answer in time"), || {
        started(&become_it, &[address])
    });
}

#[test]
fn mariadb_rises_and_falls_and_does_not_shut_us_out() {
    let place = Place::new();
    let address = free_address();
    let user = if nix::unistd::Uid::effective().is_root() { "--user=mysql" } else { "" };
    place.give_to("mysql");
    let dir = place.path().display().to_string();
    let install = format!(
        "mariadb-install-db --no-defaults --auth-root-authentication-method=normal --datadir={dir}/db {user}"
    );
    output(Command::new("sh").args(["-c", &install]));
    let line = format!(
        "mariadbd --no-defaults --datadir={dir}/db --socket={dir}/s --pid-file={dir}/pid --bind-address=127.0.0.1 --port={} \
         --max-connect-errors=3 {user}",
        address.port()
    );
    let line: Vec<String> = words(&line).into_iter().filter(|word| !word.is_empty()).collect();
    rises_and_falls("kind = \"mysql\"", "", address, Some("no answer in time"), || {
        let server = started(&line, &[address]);
        // Twice as many checks as it would take to be shut out.
        let tunnel = Tunnel::start(&service(address, "kind = \"mysql\"", ""));
        wait_for("eight checks", || checked(&tunnel) >= 8);
        assert_eq!(changes(&tunnel).len(), 0, "{}", tunnel.log_text());
        server
    });
}

#[test]
fn slapd_rises_and_falls() {
    let place = Place::new();
    let address = free_address();
    let file = place.write("slapd.conf", "pidfile DIR/pid\ndatabase config\n");
    let line = format!("slapd -f {} -h ldap://{address} -d 0", file.display());
    rises_and_falls("kind = \"ldap\"", "", address, Some("no answer in time"), || {
        started(&words(&line), &[address])
    });
}

/// Its processes listen by themselves, so one that is stopped does not stop the others.
#[test]
fn postfix_rises_and_falls() {
    if !may_become_others("postfix") {
        return;
    }
    let place = Place::new();
    let address = free_address();
    place.mkdir("queue");
    output(Command::new("chown").arg("postfix").arg(place.mkdir("data")));
    place.write("main.cf", POSTFIX.replace("smtpd_upstream_proxy_protocol = haproxy\n", "").as_str());
    place.write("master.cf", &format!("{address} inet n - n - - smtpd\n{POSTFIX_SERVICES}"));
    rises_and_falls("kind = \"smtp\"", "", address, None, || start_postfix(place.path(), &[address]));
}

#[test]
fn nginx_rises_and_falls() {
    let dir = tempfile::tempdir().unwrap();
    let (path, address) = (dir.path().display(), free_address());
    let text = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\nevents {{ }}\n\
         http {{ access_log off; client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path {path}/c;\n\
         uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;\n\
         server {{ listen {address} proxy_protocol; location /health {{ return 200 \"well\"; }} }} }}\n"
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let line = format!("nginx -p {path} -c {} -e {path}/error.log", file.display());
    let check = "kind = \"send\", send = \"GET /health HTTP/1.0\\r\\n\\r\\n\", expect = \"200 OK\"";
    for version in ["v1", "v2"] {
        let connect = format!(", send_proxy = \"{version}\"");
        rises_and_falls(check, &connect, address, Some("no answer in time"), || {
            started(&words(&line), &[address])
        });
    }
}

#[test]
fn a_tls_server_rises_and_falls() {
    let pki = Pki::new();
    let address = free_address();
    let start = || {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-accept", &address.to_string(), "-cert"]);
        let program = Program::start(command.arg(&pki.server.certificate).arg("-key").arg(&pki.server.key));
        wait_for("s_server", || TcpListener::bind(address).is_err());
        program
    };
    let connect = format!(", tls = {{ ca = {:?}, server_name = \"localhost\" }}", pki.ca);
    rises_and_falls("kind = \"tls\"", &connect, address, Some("no TLS handshake in time"), start);
}

#[test]
fn a_certificate_that_connections_would_refuse_fails_the_check() {
    let pki = Pki::new();
    let server = Backend::start(Listening::tls(&pki.server), echo);
    let connect = format!(", tls = {{ ca = {:?}, server_name = \"other.example\" }}", pki.ca);
    let tunnel = Tunnel::start(&service(server.address(), "kind = \"tls\"", &connect));
    let reason = next(&tunnel, &mut 0, "server-down");
    assert!(reason.contains("certificate verify failed"), "{reason}");
}

/// What a peer says to whoever comes, and the reason with which it is found down.
#[test]
fn wrong_answers_are_told_and_whatever_comes_has_an_end() {
    let flood = [b'x'; 1 << 20];
    let cases: [(&str, &[u8], bool, &str); 7] = [
        ("kind = \"smtp\"", b"421 4.3.2 too busy\r\n", true, "421 4.3.2 too busy"),
        ("kind = \"redis\"", b"-LOADING dataset\r\n", true, "LOADING dataset"),
        (
            "kind = \"mysql\"",
            b"\x17\0\0\0\xff\x10\x04Too many connections",
            true,
            "1040 Too many connections",
        ),
        (
            "kind = \"ldap\"",
            b"HTTP/1.0 400 Bad Request\r\n",
            true,
            "unexpected answer: HTTP/1.0 400 Bad Request",
        ),
        (
            "kind = \"send\", expect = \"200 OK\"",
            b"HTTP/1.0 503 no\r\n",
            false,
            "it hung up after: HTTP/1.0 503 no",
        ),
        ("kind = \"send\", expect = \"200 OK\"", &flood, true, "no expected answer in 16 KiB after: xxx"),
        ("kind = \"pgsql\"", b"", true, "no answer in time without a word"),
    ];
    for (check, answer, stays, expected) in cases {
        let answer = answer.to_vec();
        let server = Backend::start(Listening::default(), move |mut peer: Peer| {
            let _it_may_have_gone = peer.try_send(&answer);
            if stays {
                let _all = peer.receive_all();
            }
        });
        let tunnel = Tunnel::start(&service(server.address(), check, ""));
        let reason = next(&tunnel, &mut 0, "server-down");
        assert!(reason.starts_with(expected), "{check}: {reason}");
    }
    let hole = BlackHole::new();
    let tunnel = Tunnel::start(&service(hole.address(), "kind = \"tcp\"", ""));
    assert_eq!(next(&tunnel, &mut 0, "server-down"), "no connection in time");
}

/// What `show servers json` says of the only server of service "a".
fn shown(tunnel: &Tunnel) -> serde_json::Value {
    let text = ask(&tunnel.dir().join("control"), "show servers json");
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    all[0].clone()
}

fn checked(tunnel: &Tunnel) -> u64 {
    shown(tunnel)["checked"].as_u64().unwrap()
}

/// Waits for three more checks.
fn wait_checks(tunnel: &Tunnel) {
    let before = checked(tunnel);
    wait_for("three more checks", || checked(tunnel) >= before + 3);
}

/// Row 15: a session of a check is never resumed by a connection, nor the other way round.
#[test]
fn a_checks_tls_session_goes_with_it() {
    let pki = Pki::new();
    let server = Backend::start(Listening::default(), echo);
    let behind = Tunnel::start_with(
        &format!(
            "[[service]]\nname = \"b\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ {} }} }}\nconnect = \"{}\"\n",
            pki.server.toml(),
            server.address()
        ),
        Options::global("workers = 1"),
    );
    let connect = format!(", tls = {{ ca = {:?}, server_name = \"localhost\" }}", pki.ca);
    let text = service(behind.address("b"), "kind = \"tls\"", &connect);
    let tunnel = Tunnel::start_with(&text, Options::global("workers = 1"));
    for _ in 0..2 {
        wait_checks(&tunnel);
        let mut client = Peer::plain(tunnel.address("a"));
        client.send(b"x");
        client.half_close();
        assert_eq!(client.receive_all().0, b"x");
    }
    wait_checks(&tunnel);
    let resumed = |payload: bool| -> Vec<String> {
        let lines = behind.log_lines();
        let closed =
            lines.iter().filter(|line| line.is("connection-closed") && (line.number("in") > 0) == payload);
        closed.map(|line| line.get("resumed").to_owned()).collect()
    };
    wait_for("both connections to end", || resumed(true).len() == 2);
    assert_eq!(resumed(true), ["no", "yes"], "connections resume what connections have agreed on");
    assert!(resumed(false).len() >= 6 && resumed(false).iter().all(|word| word == "no"));
}

#[test]
fn what_was_seen_is_shown_everywhere_and_the_operator_has_the_last_word() {
    let server = Backend::start(Listening::default(), echo);
    let tunnel = Tunnel::start(&service(server.address(), "kind = \"send\", send = \"hello\"", ""));
    let other = Tunnel::start(&service(server.address(), "kind = \"tcp\"", ""));
    let control = tunnel.dir().join("control");
    let say = |line: &str| ask(&control, line);
    let name = format!("a/{}", server.address());
    wait_checks(&tunnel);
    let seen = shown(&tunnel);
    assert_eq!((&seen["state"], &seen["check"]), (&"up".into(), &"send".into()), "{seen}");
    let newest = &seen["checks"][0];
    assert_eq!(
        (&newest["ok"], &newest["status"], &newest["text"]),
        (&true.into(), &"L7OK".into(), &"hello".into())
    );
    let row = |wanted: &str| {
        let csv = say("show stat");
        let names: Vec<&str> = csv.lines().next().unwrap().trim_start_matches("# ").split(',').collect();
        let own = csv.lines().find(|line| line.starts_with(&name.replace('/', ","))).unwrap().split(',');
        own.zip(names).find(|(_, name)| *name == wanted).unwrap().0.to_owned()
    };
    assert_eq!(
        (row("status"), row("check_status"), row("check_health")),
        ("UP".into(), "L7OK".into(), "3".into())
    );
    let state = || {
        say("show servers state").lines().nth(2).unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(state()[10..14], ["15", "3", "3", "6"]);
    // Checks go on while it drains, and rest in maintenance and where they are disabled.
    say(&format!("set server {name} state drain"));
    assert_eq!(row("status"), "DRAIN");
    wait_checks(&tunnel);
    for (off, on) in [("disable server", "enable server"), ("disable health", "enable health")] {
        assert_eq!(say(&format!("{off} {name}")).trim(), "");
        let before = server.accepted();
        // One may be on its way; beyond that there is none while another server is checked three times.
        wait_checks(&other);
        assert!(server.accepted() <= before + 1, "{off}");
        say(&format!("{on} {name}"));
        wait_checks(&tunnel);
    }
    assert!(say(&format!("set server {name} health fine")).contains("expects 'up', 'stopping', or 'down'"));
    say(&format!("disable health {name}"));
    say(&format!("set server {name} health stopping"));
    assert_eq!(row("status"), "NOLB");
    let mut client = Peer::plain(tunnel.address("a"));
    client.wait_broken();
    say(&format!("set server {name} health down"));
    assert_eq!(row("status"), "DOWN");
    say(&format!("enable health {name}"));
    next(&tunnel, &mut 0, "server-up");
    client = Peer::plain(tunnel.address("a"));
    client.send(b"x");
    assert_eq!(client.receive(1), b"x");
}

#[test]
fn a_reload_keeps_what_was_seen_and_only_what_is_configured_is_checked() {
    let (kept, gone) = (refusing(), Backend::start(Listening::default(), echo));
    let text = |gone: &str, check: &str| {
        format!(
            "{CONTROL}[[service]]\nname = \"a\"\naccept = \"127.0.0.1:0\"\ncheck = {{ {check}, {QUICK} }}\n\
             [[service.server]]\naddress = \"{kept}\"\n{gone}"
        )
    };
    let both = format!(
        "[[service.server]]\naddress = \"{}\"\ncheck = {{ kind = \"send\", send = \"x\", interval = \"200ms\" }}\n",
        gone.address()
    );
    let tunnel = Tunnel::start(&text(&both, "kind = \"tcp\""));
    assert_eq!(next(&tunnel, &mut 0, "server-down"), "Connection refused");
    wait_for("checks of the other one", || gone.accepted() > 0);
    tunnel.rewrite(&text("", "kind = \"tcp\", timeout = \"300ms\""));
    tunnel.signal(Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-done"));
    let (before, downs) = (gone.accepted(), shown(&tunnel)["downs"].clone());
    wait_checks(&tunnel);
    assert_eq!((&shown(&tunnel)["state"], &shown(&tunnel)["downs"]), (&"down".into(), &downs));
    assert_eq!(changes(&tunnel).len(), 1, "a state that stays is not told again");
    assert!(gone.accepted() <= before + 1, "what is not there any more is not checked");
    // Without a check, what checks have found counts no more.
    tunnel.rewrite(&text("", "kind = \"tcp\"").replace("check =", "# check ="));
    tunnel.signal(Signal::SIGHUP);
    wait_for("its state to be forgotten", || shown(&tunnel)["state"] == "unchecked");
}

#[test]
fn servers_that_ask_the_same_share_the_answer() {
    let server = Backend::start(Listening::default(), echo);
    let one = service(server.address(), "kind = \"send\", send = \"x\"", "");
    let other = one.replace(CONTROL, "").replace("\"a\"", "\"b\"").replace("rise = 2", "rise = 3");
    let tunnel = Tunnel::start(&(one + &other));
    wait_checks(&tunnel);
    let text = ask(&tunnel.dir().join("control"), "show servers json");
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all[0]["checks"][1], all[1]["checks"][1]);
    assert_ne!(all[0]["rise"], all[1]["rise"]);
}

/// Connections alone find out that a server fails; nobody is let down for that while another serves.
#[test]
fn a_server_that_fails_connections_is_paused_and_heals() {
    let (bad, good) = (free_address(), Backend::start(Listening::default(), echo));
    let tunnel = Tunnel::start(&format!(
        "{CONTROL}[[service]]\nname = \"a\"\naccept = \"127.0.0.1:0\"\nconnect = {{ address = [\"{bad}\", \"{}\"] }}\n\
         passive = {{ fails = 3, pause = \"500ms\" }}\n",
        good.address()
    ));
    let serve = || {
        let mut client = Peer::plain(tunnel.address("a"));
        client.send(b"x");
        assert_eq!(client.receive(1), b"x");
    };
    (0..10).for_each(|_| serve());
    let mut seen = 0;
    assert!(next(&tunnel, &mut seen, "server-paused").contains("Connection refused"));
    assert_eq!(shown(&tunnel)["state"], "paused");
    let failed = shown(&tunnel)["connect_errors"].as_u64().unwrap();
    assert!((3..=5).contains(&failed), "ten clients, and {failed} tried it");
    let _back = Backend::serve_on(TcpListener::bind(bad).unwrap(), Listening::default(), echo);
    wait_for("a trial to heal it", || {
        serve();
        changes(&tunnel).len() > seen
    });
    next(&tunnel, &mut seen, "server-resumed");
    assert_eq!(changes(&tunnel).len(), seen);
}

#[test]
fn where_all_are_paused_they_are_tried_all_the_same() {
    let bad = free_address();
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"a\"\naccept = \"127.0.0.1:0\"\nconnect = \"{bad}\"\n\
         passive = {{ fails = 1, pause = \"1h\", max_pause = \"1h\" }}\n"
    ));
    for _ in 0..3 {
        Peer::plain(tunnel.address("a")).wait_broken();
    }
    for line in tunnel.wait_closed(3) {
        assert_eq!(line.get("reason"), "connect-failed", "{}", line.text);
    }
    let told = tunnel.log_lines();
    let errors: Vec<&str> =
        told.iter().filter(|line| line.is("connect-failed")).map(|line| line.get("error")).collect();
    assert!(errors.len() == 3 && errors.iter().all(|error| error.contains("refused")), "{errors:?}");
    let _back = Backend::serve_on(TcpListener::bind(bad).unwrap(), Listening::default(), echo);
    let mut client = Peer::plain(tunnel.address("a"));
    client.send(b"x");
    assert_eq!(client.receive(1), b"x", "a single server is never out for a pause");
    let mut seen = 0;
    next(&tunnel, &mut seen, "server-paused");
    next(&tunnel, &mut seen, "server-resumed");
}

/// A TLS handshake that fails is a failure of the server as much as a connection that is refused.
#[test]
fn a_server_whose_tls_fails_is_paused_too() {
    let (pki, other) = (Pki::new(), Pki::new());
    let bad = Backend::start(Listening::tls(&other.server), echo);
    let good = Backend::start(Listening::tls(&pki.server), echo);
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"a\"\naccept = \"127.0.0.1:0\"\nconnect = {{ address = [\"{}\", \"{}\"], \
         tls = {{ ca = {:?}, server_name = \"localhost\" }} }}\n",
        bad.address(),
        good.address(),
        pki.ca
    ));
    for _ in 0..6 {
        let mut client = Peer::plain(tunnel.address("a"));
        client.send(b"x");
        assert_eq!(client.receive(1), b"x");
    }
    assert!(next(&tunnel, &mut 0, "server-paused").contains("certificate"));
}
