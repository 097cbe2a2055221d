// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted is what happened: bytes and connections in the statistics equal what the clients and servers of the
//! test have counted themselves, to the byte, however the connections end.

use crate::harness::{
    Backend, End, Listening, Options, Pattern, Peer, Pki, Rig, Sides, TlsClient, Tunnel, full, refusing,
    wait_for,
};
use crate::program::{echo, plain, plain_at};
use crate::reload::reload_well;
use openssl::ssl::{SslContextBuilder, SslVersion};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use tempfile::TempDir;

/// A control socket to be asked at.
struct Control(TempDir);

impl Control {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("control")
    }

    /// Its lines of the configuration, and `services` behind them.
    fn beside(&self, services: &str) -> String {
        format!("[control]\nsocket = \"{}\"\n\n{services}", self.socket().display())
    }

    /// The JSON document that a command answers.
    #[track_caller]
    fn ask(&self, command: &str) -> Value {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        writeln!(stream, "{command}").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"))
    }

    /// What is told of a service.
    #[track_caller]
    fn service(&self, name: &str) -> Value {
        let services = self.ask("show services json");
        let found = services.as_array().unwrap().iter().find(|service| service["name"] == name);
        found.unwrap_or_else(|| panic!("no service {name}: {services}")).clone()
    }

    fn process(&self) -> Value {
        self.ask("show process json")
    }

    /// Waits until a service has so many connections.
    #[track_caller]
    fn wait_active(&self, service: &str, count: u64) {
        wait_for("the connections to be counted", || self.service(service)["traffic"]["active"] == count);
    }
}

/// A number at a path of keys ("traffic/total").
#[track_caller]
fn number(value: &Value, path: &str) -> u64 {
    let found = path.split('/').fold(value, |value, key| &value[key]);
    found.as_u64().unwrap_or_else(|| panic!("{path} is {found}"))
}

/// How often a cause is told.
fn count_of(value: &Value, cause: &str) -> u64 {
    let failures = value["failures"].as_array().unwrap();
    failures.iter().filter(|one| one["cause"] == cause).map(|one| number(one, "count")).sum()
}

/// What becomes of a connection. The first byte that a client sends says which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Fate {
    /// The client says all and ends, the server answers and ends.
    Clean,
    /// The same, with much to say both ways.
    Big,
    /// The server says all and ends before the client does.
    ServerFirst,
    /// The client resets once it has its answer.
    ClientResets,
    /// The server resets once the client has its answer.
    ServerResets,
    /// What should be TLS is HTTP.
    NotTls,
    /// No server is there.
    Refused,
}

const FATES: [Fate; 7] = [
    Fate::Clean,
    Fate::Big,
    Fate::ServerFirst,
    Fate::ClientResets,
    Fate::ServerResets,
    Fate::NotTls,
    Fate::Refused,
];

impl Fate {
    /// Bytes that the client says beside its first, and that the server answers.
    fn sizes(self, round: usize) -> (usize, usize) {
        match self {
            Self::Big => (200_000 + round * 17, 300_000 + round * 31),
            _ => (1 + round * 7 % 5_000, 1 + round * 13 % 9_000),
        }
    }
}

/// The message of a client: its fate, the number of bytes that follow and are to be answered, the bytes.
fn message(fate: Fate, round: usize) -> (Vec<u8>, usize) {
    let (says, answer) = fate.sizes(round);
    let mut bytes = vec![fate as u8];
    bytes.extend(u32::try_from(says).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(answer).unwrap().to_be_bytes());
    bytes.extend(Pattern::bytes(round as u64, says));
    (bytes, answer)
}

/// The server: how many bytes it was sent, and sent.
fn serve(mut peer: Peer) -> (u64, u64) {
    let head = peer.receive(9);
    let size = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap()) as usize;
    let (says, answer) = (size(1), size(5));
    let mut heard = 9;
    if head[0] == Fate::ServerFirst as u8 {
        peer.send(&vec![b'a'; answer]);
        peer.half_close();
    }
    heard += peer.receive(says).len();
    if head[0] != Fate::ServerFirst as u8 {
        peer.send(&vec![b'a'; answer]);
    }
    if head[0] == Fate::ServerResets as u8 {
        // The client confirms that it has everything: a reset must not eat any of it.
        heard += peer.receive(1).len();
        peer.reset();
    } else {
        heard += peer.receive_all().0.len();
    }
    (heard as u64, answer as u64)
}

/// A client: how many bytes it sent and was sent.
fn come(mut peer: Peer, fate: Fate, round: usize) -> (u64, u64) {
    let (bytes, answer) = message(fate, round);
    peer.send(&bytes);
    let mut sent = bytes.len();
    let got = match fate {
        Fate::ClientResets => {
            let got = peer.receive(answer).len();
            peer.reset();
            got
        }
        Fate::ServerResets => {
            let got = peer.receive(answer).len();
            peer.send(b"k");
            sent += 1;
            assert_ne!(peer.receive_all().1, End::Clean);
            got
        }
        Fate::ServerFirst => {
            let (got, end) = peer.receive_all();
            assert_eq!(end, End::Clean);
            peer.half_close();
            got.len()
        }
        _ => {
            peer.half_close();
            let (got, end) = peer.receive_all();
            assert_eq!(end, End::Clean);
            got.len()
        }
    };
    (sent as u64, got as u64)
}

/// Where clients go.
struct Doors {
    plain: SocketAddr,
    tls: SocketAddr,
    nowhere: SocketAddr,
}

/// One connection of that fate, to the plain service or to that with TLS; what was sent and received.
fn one(doors: &Doors, client: &TlsClient, fate: Fate, round: usize) -> (u64, u64) {
    match fate {
        Fate::NotTls => {
            let mut peer = Peer::plain(doors.tls);
            peer.send(b"GET / HTTP/1.1\r\n\r\n");
            assert_ne!(peer.receive_all().1, End::Silence);
            (0, 0)
        }
        Fate::Refused => {
            assert_ne!(crate::program::knock(doors.nowhere), End::Silence);
            (0, 0)
        }
        _ if round % 2 == 0 => come(Peer::plain(doors.plain), fate, round),
        _ => come(client.connect(doors.tls).unwrap(), fate, round),
    }
}

/// Adds pairs up.
fn sum(pairs: impl IntoIterator<Item = (u64, u64)>) -> (u64, u64) {
    pairs.into_iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// The connections of the test: which round, and what was sent and received.
struct Seen(Vec<(usize, (u64, u64))>);

impl Seen {
    fn count(&self, wanted: impl Fn(usize) -> bool) -> u64 {
        self.0.iter().filter(|(round, _)| wanted(*round)).count() as u64
    }

    fn moved(&self, wanted: impl Fn(usize) -> bool) -> (u64, u64) {
        sum(self.0.iter().filter(|(round, _)| wanted(*round)).map(|(_, moved)| *moved))
    }
}

/// 7 fates and 2 services share no divisor, so every fate but the last two meets both.
fn fate(round: usize) -> Fate {
    FATES[round % FATES.len()]
}

fn ends_well(round: usize) -> bool {
    matches!(fate(round), Fate::Clean | Fate::Big | Fate::ServerFirst)
}

fn reaches_a_server(round: usize) -> bool {
    !matches!(fate(round), Fate::NotTls | Fate::Refused)
}

/// The service that a round goes to.
fn goes_to(round: usize) -> &'static str {
    match fate(round) {
        Fate::NotTls => "tls",
        Fate::Refused => "nowhere",
        _ if round % 2 == 0 => "plain",
        _ => "tls",
    }
}

/// Makes all connections, several at a time.
fn make_connections(doors: &Doors, pki: &Pki, rounds: usize) -> Seen {
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for first in 0..CLIENTS {
            let seen = &seen;
            scope.spawn(move || {
                let client = TlsClient::new(pki);
                for round in (first..rounds).step_by(CLIENTS) {
                    let moved = one(doors, &client, fate(round), round);
                    seen.lock().unwrap().push((round, moved));
                }
            });
        }
    });
    Seen(seen.into_inner().unwrap())
}

const SERVICES: [&str; 3] = ["plain", "tls", "nowhere"];

/// Clients at once.
const CLIENTS: usize = 6;

#[test]
fn totals_add_up_whatever_becomes_of_the_connections() {
    let (pki, control) = (Pki::new(), Control::new());
    let backend = Backend::start(Listening::default(), serve);
    let services = plain("plain", backend.address())
        + &Sides::Terminate.service("tls", &pki, backend.address(), "")
        + &plain("nowhere", refusing());
    let tunnel = Tunnel::start(&control.beside(&services));
    let [plain, tls, nowhere] = SERVICES.map(|name| tunnel.address(name));
    let rounds = full(1_000, 300);
    let seen = make_connections(&Doors { plain, tls, nowhere }, &pki, rounds);
    for service in SERVICES {
        control.wait_active(service, 0);
    }
    wait_for("all to be counted", || number(&control.process(), "traffic/active") == 0);
    let served = sum((0..seen.count(reaches_a_server)).map(|_| backend.next()));
    assert_eq!(served, seen.moved(|_| true), "the test itself does not agree");
    for name in SERVICES {
        the_service_agrees(&control, name, &seen);
    }
    causes_and_handshakes_agree(&control, &seen);
    the_process_agrees(&control, rounds as u64, served);
}

/// What is told of a service is what its clients saw.
fn the_service_agrees(control: &Control, name: &str, seen: &Seen) {
    let service = control.service(name);
    let moved = seen.moved(|round| goes_to(round) == name);
    let connected = seen.count(|round| goes_to(round) == name && reaches_a_server(round));
    let failed = seen.count(|round| goes_to(round) == name && !ends_well(round));
    assert_eq!(number(&service, "traffic/total"), seen.count(|round| goes_to(round) == name), "{name}");
    assert_eq!(number(&service, "traffic/failed"), failed, "{name}: {}", service["failures"]);
    let causes = service["failures"].as_array().unwrap();
    let by_cause: u64 = causes.iter().map(|cause| number(cause, "count")).sum();
    assert_eq!(by_cause, failed, "{name}: every failure has one cause");
    let peak = number(&service, "traffic/peak");
    // A client does not wait until its connection is counted as gone.
    assert!((1..=seen.0.len() as u64).contains(&peak), "{name}: {peak} at once");
    // What goes through a service goes through its one route, and to its one server.
    let route = &service["routes"][0];
    let server = &route["servers"][0];
    for scope in [&service, route, server] {
        let told = (number(scope, "traffic/bytes_in"), number(scope, "traffic/bytes_out"));
        assert_eq!(told, moved, "{name}: {scope}");
        assert_eq!(number(scope, "traffic/active"), 0, "{name}: {scope}");
    }
    assert_eq!(number(server, "traffic/total"), connected, "{name}");
    assert_eq!(number(server, "connects/count"), connected, "{name}");
    assert_eq!(number(&service, "connects/count"), connected, "{name}");
    assert_eq!(number(&service, "lifetimes/count"), number(&service, "traffic/total"), "{name}");
}

/// What must have one cause has it; what was agreed on was agreed on once per handshake.
fn causes_and_handshakes_agree(control: &Control, seen: &Seen) {
    let (tls, nowhere) = (control.service("tls"), control.service("nowhere"));
    let refused = seen.count(|round| fate(round) == Fate::Refused);
    assert_eq!(count_of(&nowhere, "connect-failed"), refused);
    let server = &nowhere["routes"][0]["servers"][0];
    assert_eq!(number(server, "connect_errors"), refused);
    assert!(server["last_error"].as_str().unwrap().contains("refused"), "{server}");
    assert!(server["last_error_at"].as_f64().unwrap() > 1e9, "{server}");
    assert_eq!(count_of(&tls, "plain-http"), seen.count(|round| fate(round) == Fate::NotTls));
    let shaken = seen.count(|round| goes_to(round) == "tls" && fate(round) != Fate::NotTls);
    assert_eq!((number(&tls, "tls/handshakes"), number(&tls, "handshakes/count")), (shaken, shaken));
    for share in ["versions", "ciphers", "groups"] {
        let all: u64 = tls["tls"][share].as_array().unwrap().iter().map(|one| number(one, "count")).sum();
        assert_eq!(all, shaken, "{share}");
    }
}

/// The sums over services, over listeners and over workers are those of the process.
fn the_process_agrees(control: &Control, connections: u64, moved: (u64, u64)) {
    let process = control.process();
    assert_eq!(number(&process, "traffic/total"), connections);
    assert_eq!((number(&process, "traffic/bytes_in"), number(&process, "traffic/bytes_out")), moved);
    for command in ["show listeners json", "show workers json", "show services json"] {
        let all = control.ask(command);
        let parts = |path: &str| all.as_array().unwrap().iter().map(|one| number(one, path)).sum::<u64>();
        assert_eq!((parts("traffic/bytes_in"), parts("traffic/bytes_out")), moved, "{command}");
        assert_eq!(parts("traffic/total"), connections, "{command}");
        assert_eq!(parts("traffic/failed"), number(&process, "traffic/failed"), "{command}");
        assert_eq!(parts("traffic/active"), 0, "{command}");
    }
}

#[test]
fn live_connections_are_in_the_totals() {
    let (pki, control) = (Pki::new(), Control::new());
    for sides in [Sides::Plain, Sides::Reencrypt] {
        let backend = Backend::echo(Listening::tls_if(sides.server_tls(), &pki));
        let services = sides.service("web", &pki, backend.address(), "");
        let tunnel = Tunnel::start(&control.beside(&services));
        let rig = Rig { tunnel, backend, pki: Pki::new(), sides };
        let mut client = if sides.client_tls() {
            TlsClient::new(&pki).connect(rig.address()).unwrap()
        } else {
            Peer::plain(rig.address())
        };
        echo(&mut client, &[7; 1_000]);
        // Nothing has to happen on the connection for that.
        wait_for("the bytes to be counted", || number(&control.service("web"), "traffic/bytes_out") == 1_000);
        let traffic = control.service("web")["traffic"].clone();
        assert_eq!(
            (number(&traffic, "bytes_in"), number(&traffic, "bytes_out")),
            (1_000, 1_000),
            "{sides:?}"
        );
        assert_eq!((number(&traffic, "active"), number(&traffic, "total")), (1, 1));
        echo(&mut client, &[8; 500]);
        wait_for("the bytes to be counted", || number(&control.service("web"), "traffic/bytes_out") == 1_500);
        let seen = control.ask("show connections json");
        let one = &seen["connections"][0];
        assert_eq!((number(one, "bytes_in"), number(one, "bytes_out")), (1_500, 1_500));
        assert_eq!(
            (one["state"].as_str(), one["waits_for"].as_str()),
            (Some("connected"), Some("either side"))
        );
        assert!(one["idle"].as_f64().unwrap() <= one["age"].as_f64().unwrap());
        assert_eq!(one["client_tls"].is_null(), !sides.client_tls());
        if sides.client_tls() {
            assert!(!one["client_tls"]["group"].as_str().unwrap().is_empty(), "{one}");
            assert_eq!(one["client_tls"]["group"], control.service("web")["tls"]["groups"][0]["name"]);
        }
    }
}

#[test]
fn counters_survive_a_reload_and_the_peak_stays() {
    let control = Control::new();
    let backend = Backend::echo(Listening::default());
    let services = plain("web", backend.address());
    let tunnel = Tunnel::start(&control.beside(&services));
    let address = tunnel.address("web");
    let client = || {
        let mut client = Peer::plain(address);
        echo(&mut client, b"0123456789");
        client
    };
    let mut clients: Vec<_> = (0..5).map(|_| client()).collect();
    wait_for("all bytes to be counted", || number(&control.service("web"), "traffic/bytes_out") == 50);
    let web = control.service("web");
    assert_eq!((number(&web, "traffic/active"), number(&web, "traffic/peak")), (5, 5));
    clients.truncate(2);
    control.wait_active("web", 2);
    // The same service on the same address, with another setting.
    let changed = services.replace("name = \"web\"", "name = \"web\"\nbuffer = \"100KiB\"");
    tunnel.rewrite(&control.beside(&changed));
    reload_well(&tunnel);
    let web = control.service("web");
    assert_eq!((number(&web, "traffic/active"), number(&web, "traffic/peak")), (2, 5));
    assert_eq!((number(&web, "traffic/total"), number(&web, "traffic/bytes_in")), (5, 50));
    assert_eq!(number(&web["routes"][0], "traffic/total"), 5);
    assert_eq!(number(&web["routes"][0]["servers"][0], "traffic/bytes_out"), 50);
    // Of the old plan and of the new one: both count in one place.
    echo(&mut clients[0], b"more");
    clients.push(client());
    wait_for("both to be counted", || number(&control.service("web"), "traffic/bytes_out") == 64);
    assert_eq!(number(&control.service("web"), "traffic/active"), 3);
    clients.clear();
    control.wait_active("web", 0);
    assert_eq!(number(&control.service("web"), "traffic/peak"), 5);
    // A service that goes is told of while it has connections, and its totals stay with the process.
    let mut last = client();
    tunnel.rewrite(&control.beside(&plain("other", backend.address())));
    reload_well(&tunnel);
    assert_eq!(control.service("web")["state"], "removed");
    echo(&mut last, b"still counted");
    drop(last);
    wait_for("the service to go", || {
        let services = control.ask("show services json");
        services.as_array().unwrap().iter().all(|service| service["name"] != "web")
    });
    assert_eq!(number(&control.process(), "traffic/total"), 7);
    assert_eq!(number(&control.process(), "traffic/bytes_in"), 50 + 4 + 10 + 10 + 13);
}

#[test]
fn failures_say_who_met_them_and_what_to_do() {
    let (pki, control) = (Pki::new(), Control::new());
    let backend = Backend::echo(Listening::default());
    let services = Sides::Terminate.service("web", &pki, backend.address(), "");
    let tunnel = Tunnel::start(&control.beside(&services));
    let stranger = TlsClient::new(&Pki::named("Another Authority"));
    assert!(stranger.connect(tunnel.address("web")).is_err(), "it does not know the CA");
    wait_for("the first failure", || {
        count_of(&control.service("web"), "client-rejects-our-certificate") == 1
    });
    let mut peer = Peer::plain(tunnel.address("web"));
    let address = peer.socket().local_addr().unwrap().to_string();
    peer.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_ne!(peer.receive_all().1, End::Silence);
    drop(peer);
    control.wait_active("web", 0);
    let web = control.service("web");
    let failures = web["failures"].as_array().unwrap();
    let http = failures.iter().find(|one| one["cause"] == "plain-http").unwrap();
    assert_eq!(http["last_client"], *address);
    assert!(http["hint"].as_str().unwrap().contains("https") && http["last"].as_f64().unwrap() > 1e9);
    let errors = control.ask("show errors json");
    let newest = &errors[0];
    assert_eq!((newest["cause"].as_str(), newest["client"].as_str()), (Some("plain-http"), Some(&*address)));
    assert_eq!(
        (newest["service"].as_str(), newest["doing"].as_str()),
        (Some("web"), Some("reading the ClientHello"))
    );
    assert_eq!(errors[1]["cause"], "client-rejects-our-certificate");
}

#[test]
fn failed_handshakes_are_told_apart() {
    let (pki, other, control) = (Pki::new(), Pki::named("Another Authority"), Control::new());
    let backend = Backend::echo(Listening::default());
    let services = format!(
        "[[service]]\nname = \"web\"\nconnect = \"{}\"\n\
         accept = {{ address = \"127.0.0.1:0\", tls = {{ {}, client_ca = \"{}\" }} }}\n",
        backend.address(),
        pki.server.toml(),
        pki.ca.display()
    );
    let tunnel = Tunnel::start(&control.beside(&services));
    let at_tls12 = |builder: &mut SslContextBuilder| {
        builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    };
    let good = pki.issue_common_name("good", "good", 10);
    let clients = [
        ("no-certificate", TlsClient::with(&pki, at_tls12)),
        ("unknown-ca", TlsClient::certified(&pki, &other.issue_common_name("other", "other", 10))),
        ("certificate-expired", TlsClient::certified(&pki, &pki.issue_common_name("old", "old", -5))),
        ("client-rejects-our-certificate", TlsClient::certified(&other, &good)),
        (
            "unsupported-protocol",
            TlsClient::with(&pki, |builder| {
                builder.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
                builder.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
                builder.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
            }),
        ),
        (
            "no-shared-cipher",
            TlsClient::with(&pki, |builder| {
                at_tls12(builder);
                builder.set_cipher_list("AES128-SHA").unwrap();
            }),
        ),
    ];
    for (cause, client) in clients {
        // With TLS 1.3 a client's handshake is complete before the server has judged its certificate.
        if let Ok(mut peer) = client.connect(tunnel.address("web")) {
            assert_ne!(peer.receive_all().1, End::Clean, "{cause}");
        }
        let mut told = Value::Null;
        wait_for(cause, || {
            told = control.service("web");
            count_of(&told, cause) == 1
        });
        let hint =
            told["failures"].as_array().unwrap().iter().find(|one| one["cause"] == cause).unwrap()["hint"]
                .clone();
        assert!(!hint.as_str().unwrap().is_empty(), "{cause}");
    }
    let early = TcpStream::connect(tunnel.address("web")).unwrap();
    drop(early);
    wait_for("the last one", || count_of(&control.service("web"), "client-closed-early") == 1);
    assert_eq!(number(&control.service("web"), "tls/handshakes"), 0);
    let mut peer = TlsClient::certified(&pki, &good).connect(tunnel.address("web")).unwrap();
    echo(&mut peer, b"in order");
    let connections = control.ask("show connections json");
    assert_eq!(connections["connections"][0]["client_cn"], "good", "{connections}");
}

#[test]
fn a_listener_that_is_paused_says_so_and_why() {
    let control = Control::new();
    let backend = Backend::echo(Listening::default());
    let services = control.beside(&plain_at("web", "127.0.0.1:0", backend.address()));
    let options = Options::global("workers = 1\nmax_connections = 1");
    let tunnel = Tunnel::start_with(&services, options);
    assert_eq!(control.process()["ready"], true);
    let mut first = Peer::plain(tunnel.address("web"));
    echo(&mut first, b"first");
    // Each of these keeps the listener looking until there is no room; more than one place is taken by nobody.
    let mut second = Peer::plain(tunnel.address("web"));
    wait_for("the listener to be paused", || control.ask("show listeners json")[0]["state"] == "paused");
    let listener = control.ask("show listeners json")[0].clone();
    assert_eq!(listener["reason"], "max_connections");
    assert_eq!((control.service("web")["state"].as_str(), number(&listener, "backlog")), (Some("paused"), 1));
    let process = control.process();
    assert_eq!((process["ready"].as_bool(), process["state"].as_str()), (Some(false), Some("serving")));
    assert!(process["not_ready"][0].as_str().unwrap().ends_with("is paused: max_connections"));
    first.half_close();
    assert_eq!(first.receive_all().1, End::Clean);
    echo(&mut second, b"second");
    second.half_close();
    assert_eq!(second.receive_all().1, End::Clean);
    wait_for("the listener to go on", || control.process()["ready"] == true);
}

#[test]
fn workers_show_their_turns() {
    let control = Control::new();
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&control.beside(&plain("web", backend.address())));
    let mut clients: Vec<_> = (0..8).map(|_| Peer::plain(tunnel.address("web"))).collect();
    for client in &mut clients {
        echo(client, b"hello");
    }
    let sum = |path: &str| {
        let workers = control.ask("show workers json");
        workers.as_array().unwrap().iter().map(|worker| number(worker, path)).sum::<u64>()
    };
    wait_for("the workers to sleep", || sum("connections") == 8);
    assert_eq!((sum("traffic/total"), sum("traffic/bytes_in"), sum("panics")), (8, 40, 0));
    let workers = control.ask("show workers json");
    for worker in workers.as_array().unwrap() {
        assert_ne!(worker["state"], "gone");
        let (turns, timed) = (number(worker, "turns"), number(worker, "turn/count"));
        assert!(turns > 0 && turns.abs_diff(timed) <= 1, "{worker}");
        let (longest, p50) = (worker["longest"].as_f64().unwrap(), worker["turn"]["p50"].as_f64().unwrap());
        assert!(
            longest > 0.0 && p50 > 0.0 && (0.0..=1.0).contains(&worker["load"].as_f64().unwrap()),
            "{worker}"
        );
    }
    drop(clients);
    wait_for("the connections to go", || sum("connections") == 0);
}
