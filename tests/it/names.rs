// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers that are reached by name, and a name server that lies, hangs and changes its mind.

use crate::control_socket::ask;
use crate::harness::{
    A, Asked, Backend, BlackHole, End, Listening, NameServer, Options, OwnNetwork, Peer, Program, SRV,
    Tunnel, free_address, refusing, service, wait_for,
};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

/// Where resolv.conf(5) has a name server listen.
const DNS: &str = "127.0.0.1:53";

/// A backend on that address of this machine, at `port`, that says who it is and ends.
fn says(ip: &str, port: u16, what: &'static str) -> Backend<()> {
    let listener = TcpListener::bind((ip, port)).unwrap();
    Backend::serve_on(listener, Listening::default(), move |mut peer| peer.send(what.as_bytes()))
}

/// A free port, the same on several addresses of this machine.
fn free_port() -> u16 {
    free_address().port()
}

/// Who answers behind the service.
fn who(tunnel: &Tunnel) -> String {
    // Who is let down may be so before we look.
    let Ok(mut client) = Peer::try_plain(tunnel.address("web")) else { return String::new() };
    let (answer, _) = client.receive_all();
    String::from_utf8(answer).unwrap()
}

fn local(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

/// `[resolver]` that asks `servers`, with these further lines, and the service "web" with these.
fn config(servers: &[&NameServer], resolver: &str, service: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.address())).collect();
    format!(
        "[resolver]\nservers = [{}]\nmin = \"1s\"\ntimeout = \"300ms\"\n{resolver}\n\
         [[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n{service}\n",
        servers.join(", ")
    )
}

/// Row 101: a name is never used for ever.
#[test]
fn new_connections_follow_an_answer_that_changes() {
    let port = free_port();
    let (_old, _new) = (says("127.0.0.2", port, "old"), says("127.0.0.3", port, "new"));
    let names = NameServer::new(|asked| asked.addresses(1, &[local(2)]));
    let tunnel = Tunnel::start(&config(&[&names], "", &format!("connect = \"db.example:{port}\"")));
    assert_eq!(who(&tunnel), "old");
    // Asked for again before its end, although nobody comes.
    let first = names.count("db.example", A);
    wait_for("the next questions", || names.count("db.example", A) >= first + 2);
    names.change(|asked| asked.addresses(1, &[local(3)]));
    let changed = Instant::now();
    tunnel.wait_log("the change", |line| {
        line.is("name-changed") && line.get("addresses").contains("127.0.0.3")
    });
    assert!(changed.elapsed() < Duration::from_secs(10), "{:?}", changed.elapsed());
    assert_eq!(who(&tunnel), "new");
    let lines = tunnel.wait_closed(2);
    assert_eq!(lines[1].get("server"), format!("127.0.0.3:{port}"));
}

/// Rows 102 and 104: what was known is used on, the failure is told once, and it heals.
#[test]
fn the_last_answer_is_used_on_while_the_name_server_fails() {
    let port = free_port();
    let _server = says("127.0.0.2", port, "here");
    let names = NameServer::new(|asked| asked.addresses(1, &[local(2)]));
    let tunnel = Tunnel::start(&config(&[&names], "", &format!("connect = \"db.example:{port}\"")));
    assert_eq!(who(&tunnel), "here");
    for fail in [|asked: &Asked| asked.no_such_name(), |asked: &Asked| asked.reply(2, &[])] {
        let resolved =
            |tunnel: &Tunnel| tunnel.log_lines().iter().filter(|line| line.is("name-resolved")).count();
        let before = resolved(&tunnel);
        names.change(fail);
        let asked = names.asked().len();
        wait_for("questions in vain", || names.asked().len() >= asked + 6);
        assert_eq!(who(&tunnel), "here");
        names.change(|asked| asked.addresses(1, &[local(2)]));
        wait_for("that it is told", || resolved(&tunnel) > before);
    }
    let failures: Vec<_> = tunnel.log_lines().into_iter().filter(|line| line.is("name-failed")).collect();
    let errors: Vec<_> = failures.iter().map(|line| line.get("error")).collect();
    let says = format!("the name server {} says SERVFAIL", names.address());
    assert_eq!(errors, ["there is no such name", &says]);
    assert!(failures.iter().all(|line| line.get("state") == "resolved"), "{failures:?}");
}

/// A reload changes nothing about it, neither when it asks others who know no more.
#[test]
fn the_last_answer_is_used_on_over_a_reload() {
    let port = free_port();
    let _server = says("127.0.0.2", port, "here");
    let names = NameServer::new(|asked| asked.addresses(1, &[local(2)]));
    let others = NameServer::new(Asked::no_such_name);
    let text = |names| config(&[names], "", &format!("connect = \"db.example:{port}\""));
    let tunnel = Tunnel::start(&text(&names));
    names.change(Asked::no_such_name);
    tunnel.wait_log("the failure", |line| line.is("name-failed"));
    for (reloads, asked) in [&names, &others].into_iter().enumerate() {
        tunnel.rewrite(&text(asked));
        tunnel.signal(Signal::SIGHUP);
        let done = || tunnel.log_lines().iter().filter(|line| line.is("reload-done")).count();
        wait_for("the reload", || done() > reloads);
        let before = asked.count("db.example", A);
        wait_for("questions in vain", || asked.count("db.example", A) >= before + 2);
        assert_eq!(who(&tunnel), "here");
    }
    let told = tunnel.log_lines().iter().filter(|line| line.is("name-failed")).count();
    assert_eq!(told, 1, "it is one failure");
}

/// And no longer than `stale` says.
#[test]
fn an_answer_that_is_too_old_is_given_up() {
    let port = free_port();
    let _server = says("127.0.0.2", port, "here");
    let names = NameServer::new(|asked| asked.addresses(1, &[local(2)]));
    let text = config(&[&names], "stale = \"1s\"", &format!("connect = \"db.example:{port}\""));
    let tunnel = Tunnel::start(&text);
    assert_eq!(who(&tunnel), "here");
    names.change(Asked::no_such_name);
    tunnel.wait_log("the end", |line| line.is("name-failed") && line.get("state") == "unresolved");
    assert_eq!(who(&tunnel), "");
    tunnel.wait_log("why", |line| {
        line.is("connect-failed") && line.get("error") == "no address is known of any server"
    });
}

/// Row 103: a start without DNS is a start, and heals by itself; nothing else is held up.
#[test]
fn a_start_without_dns_serves_what_it_can_and_heals() {
    let port = free_port();
    let _server = says("127.0.0.2", port, "here");
    let address = {
        let names = NameServer::silent();
        names.address()
    };
    let other = Backend::echo(Listening::default());
    let text = format!(
        "[resolver]\nservers = [\"{address}\"]\nmin = \"1s\"\ntimeout = \"300ms\"\n\
         [[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"db.example:{port}\"\n\
         [[service]]\nname = \"other\"\naccept = \"127.0.0.1:0\"\nconnect = \"{}\"\n",
        other.address()
    );
    let begin = Instant::now();
    let tunnel = Tunnel::start(&text);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let line = tunnel.wait_log("the warning", |line| line.is("config-warning"));
    assert!(line.get("warning").contains("cannot resolve \"db.example\": "), "{}", line.text);
    let mut client = Peer::plain(tunnel.address("other"));
    client.send(b"ping");
    assert_eq!(client.receive(4), b"ping");
    assert_eq!(who(&tunnel), "");
    let _names = NameServer::at(address, |asked| asked.addresses(60, &[local(2)]));
    tunnel.wait_log("the name", |line| line.is("name-resolved"));
    assert_eq!(who(&tunnel), "here");
    client.half_close();
    assert_eq!(client.receive_all().1, End::Clean);
}

/// Row 103: a name server that hangs delays neither clients of other routes nor a reload.
#[test]
fn a_name_server_that_hangs_holds_nobody_up() {
    let port = free_port();
    let _server = says("127.0.0.2", port, "here");
    let names = NameServer::new(|asked| asked.addresses(1, &[local(2)]));
    let text = config(&[&names], "attempts = 10", &format!("connect = \"db.example:{port}\""));
    let tunnel = Tunnel::start(&text);
    names.hang();
    let asked = names.asked().len();
    wait_for("questions in vain", || names.asked().len() >= asked + 4);
    let begin = Instant::now();
    assert_eq!(who(&tunnel), "here");
    tunnel.signal(Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-done"));
    assert_eq!(who(&tunnel), "here", "what was known before the reload is known after it");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// `-t` says what could not be resolved, and that this stops nothing.
#[test]
fn a_check_warns_of_names_without_addresses() {
    let names = NameServer::new(Asked::no_such_name);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tunnel.conf");
    fs::write(&file, config(&[&names], "", "connect = \"gone.example:1\"")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tunnel")).arg("-t").arg("-c").arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("warning: cannot resolve \"gone.example\": there is no such name"), "{told}");
}

/// RFC 8305: an address that keeps silent costs a moment, not the time of a connect; one that refuses costs nothing.
#[test]
fn the_next_address_is_tried_while_the_first_keeps_silent() {
    let silent = BlackHole::new();
    let port = silent.address().port();
    let _server = says("127.0.0.3", port, "here");
    // Nobody listens at 127.0.0.2.
    let names = NameServer::new(|asked| asked.addresses(60, &[local(1), local(2), local(3)]));
    let more = format!("connect = \"db.example:{port}\"\ntimeout = {{ connect = \"20s\" }}");
    let tunnel = Tunnel::start(&config(&[&names], "", &more));
    for number in 1..=3 {
        let begin = Instant::now();
        assert_eq!(who(&tunnel), "here");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        let lines = tunnel.wait_closed(number);
        assert_eq!(lines[number - 1].get("server"), format!("127.0.0.3:{port}"));
        let took: f64 = lines[number - 1].get("t_connect").parse().unwrap();
        assert!(took >= 240.0, "{}", lines[number - 1].text);
    }
}

/// Two that keep silent, and a third: no more than two are tried at once, and the third is.
#[test]
fn every_address_gets_its_turn() {
    let port = free_port();
    let _server = says("127.0.0.9", port, "here");
    // 192.0.2.0/24 leads nowhere (RFC 5737): packets get lost, or there is no way at all.
    let names = NameServer::new(move |asked| {
        let nowhere = |last: u8| IpAddr::from([192, 0, 2, last]);
        asked.addresses(60, &[nowhere(1), nowhere(2), nowhere(3), local(9)])
    });
    let more = format!("connect = \"db.example:{port}\"\ntimeout = {{ connect = \"20s\" }}");
    let tunnel = Tunnel::start(&config(&[&names], "", &more));
    let begin = Instant::now();
    assert_eq!(who(&tunnel), "here");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// Where every address refuses, the end is as ever, and the last refusal is its reason.
#[test]
fn a_server_none_of_whose_addresses_answers_has_failed() {
    let port = refusing().port();
    let names = NameServer::new(|asked| asked.addresses(60, &[local(2), local(3)]));
    let tunnel = Tunnel::start(&config(&[&names], "", &format!("connect = \"db.example:{port}\"")));
    assert_eq!(who(&tunnel), "");
    tunnel.wait_log("the failure", |line| {
        line.is("connect-failed") && line.text.contains("Connection refused")
    });
    tunnel.wait_reason("connect-failed");
}

/// Whoever a name belongs to does not decide on how often and how long we try.
#[test]
fn of_a_name_that_a_client_asks_for_not_all_addresses_are_tried() {
    let port = free_port();
    let _server = says("127.0.0.99", port, "here");
    let names = NameServer::new(|asked| {
        let refusing = if asked.name.starts_with("eight") { 8 } else { 2 };
        let all: Vec<_> = (0..refusing).map(|number| local(2 + number)).chain([local(99)]).collect();
        asked.addresses(60, &all)
    });
    let connect =
        format!("peek = \"http\"\nconnect = {{ address = \"*:{port}\", allow = [\"127.0.0.0/8\"] }}");
    for (retries, host, is_reached) in
        [("", "two", true), ("", "eight", false), ("retries = 2", "two", true), ("retries = 1", "two", false)]
    {
        let tunnel = Tunnel::start(&config(&[&names], "", &format!("{connect}\n{retries}")));
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}.example\r\n\r\n").as_bytes());
        client.receive_all();
        let closed = tunnel.wait_closed(1);
        assert_eq!(closed[0].get("reason") != "connect-failed", is_reached, "{}", closed[0].text);
    }
}

#[test]
fn several_addresses_become_several_servers_where_that_is_asked_for() {
    let port = free_port();
    let _servers = [says("127.0.0.2", port, "two"), says("127.0.0.3", port, "three")];
    let names = NameServer::new(|asked| asked.addresses(1, &[local(2), local(3)]));
    let service =
        format!("connect = {{ address = \"db.example:{port}\", expand = 3 }}\nbalance = \"roundrobin\"");
    let tunnel = Tunnel::start(&config(&[&names], "", &service));
    let mut seen: Vec<String> = (0..4).map(|_| who(&tunnel)).collect();
    seen.sort();
    assert_eq!(seen, ["three", "three", "two", "two"], "the third place is empty and takes nobody");
    names.change(|asked| asked.addresses(1, &[local(3)]));
    tunnel.wait_log("the change", |line| line.is("name-changed"));
    assert_eq!([who(&tunnel), who(&tunnel)], ["three", "three"]);
}

/// What the operator says of a place is of the address there, and no answer in another order makes it another one's.
#[test]
fn a_reload_leaves_every_address_in_its_place() {
    let port = free_port();
    let _servers = [says("127.0.0.2", port, "two"), says("127.0.0.3", port, "three")];
    let names = NameServer::new(|asked| asked.addresses(1, &[local(2), local(3)]));
    let service = |expand| format!("connect = {{ address = \"db.example:{port}\", expand = {expand} }}");
    let text = |expand| format!("[control]\nsocket = \"c\"\n{}", config(&[&names], "", &service(expand)));
    let tunnel = Tunnel::start(&text(2));
    assert_eq!(who(&tunnel), "two");
    let answer = ask(&tunnel.dir().join("c"), &format!("disable server web/db.example:{port}#1"));
    assert_eq!(answer, "\n");
    names.change(|asked| asked.addresses(1, &[local(3), local(2)]));
    for (reloads, expand) in [2, 3].into_iter().enumerate() {
        tunnel.rewrite(&text(expand));
        tunnel.signal(Signal::SIGHUP);
        let done = || tunnel.log_lines().iter().filter(|line| line.is("reload-done")).count();
        wait_for("the reload", || done() > reloads);
        assert_eq!([who(&tunnel), who(&tunnel)], ["three", "three"]);
        let asked = names.count("db.example", A);
        wait_for("the next answers", || names.count("db.example", A) >= asked + 3);
        assert_eq!([who(&tunnel), who(&tunnel)], ["three", "three"]);
    }
}

/// RFC 2782: those of the lowest priority, and others only when these are gone.
#[test]
fn a_service_leads_to_its_targets_by_priority() {
    let port = free_port();
    let mut first = Some(says("127.0.0.2", port, "first"));
    let _spare = says("127.0.0.3", port, "spare");
    let names = NameServer::new(move |asked| match (asked.kind, &*asked.name) {
        (SRV, "_db._tcp.example.org") => asked.reply(
            0,
            &[
                service(&asked.name, 60, (20, 0, port), "spare.example"),
                service(&asked.name, 60, (10, 5, port), "first.example"),
            ],
        ),
        (_, "first.example") => asked.addresses(60, &[local(2)]),
        (_, "spare.example") => asked.addresses(60, &[local(3)]),
        _ => asked.no_such_name(),
    });
    let tunnel = Tunnel::start(&config(&[&names], "", "connect = \"_db._tcp.example.org\""));
    assert_eq!([who(&tunnel), who(&tunnel)], ["first", "first"]);
    drop(first.take());
    assert_eq!(who(&tunnel), "spare");
    let line = &tunnel.wait_closed(3)[2];
    assert_eq!(line.get("server"), format!("127.0.0.3:{port}"));
}

/// A second client who asks for the same name costs no question, and one who asks for a name that does not exist neither.
#[test]
fn what_clients_ask_for_is_kept() {
    let backend = Backend::echo(Listening::default());
    let names = NameServer::new(|asked| match &*asked.name {
        "a.example" => asked.addresses(300, &[local(1)]),
        _ => asked.no_such_name(),
    });
    let connect = format!(
        "peek = \"http\"\nconnect = {{ address = [\"*:{}\"], allow = [\"127.0.0.0/8\"] }}",
        backend.address().port()
    );
    let tunnel = Tunnel::start_with(&config(&[&names], "", &connect), Options::default());
    for host in ["a.example", "A.example", "a.example", "gone.example", "gone.example"] {
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let _gone_already = client.socket().shutdown(std::net::Shutdown::Write);
        assert_eq!(client.receive_all().1 == End::Clean, host.starts_with(['a', 'A']), "{host}");
    }
    assert_eq!((names.count("a.example", A), names.count("gone.example", A)), (1, 1));
}

/// A service whose clients say by HTTP where to, on this machine.
fn requested(port: u16) -> String {
    format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\npeek = \"http\"\n\
         connect = {{ address = [\"*:{port}\"], allow = [\"127.0.0.0/8\"] }}\n"
    )
}

/// Who answers to that host.
fn who_is(tunnel: &Tunnel, host: &str) -> String {
    let mut client = Peer::plain(tunnel.address("web"));
    // Whoever is let down may be so before it has asked.
    let _asked = client.try_send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    String::from_utf8(client.receive_all().0).unwrap()
}

/// Neither by us nor by the system's resolver, which puts it to work where DNS says that there is no such name.
#[test]
fn the_search_list_is_not_for_what_clients_ask_for() {
    let Some(network) = OwnNetwork::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    fs::write(&file, "nameserver 127.0.0.1\nsearch corp.example\noptions ndots:5\n").unwrap();
    network.resolve_by(&file);
    let names = NameServer::at(DNS.parse().unwrap(), |asked| match asked.name.ends_with(".corp.example") {
        true => asked.addresses(300, &[local(2)]),
        false => asked.no_such_name(),
    });
    let port = free_port();
    let _server = says("127.0.0.2", port, "corp");
    let tunnel = Tunnel::start(&requested(port));
    for host in ["intranet", "nosuch.example.org", "dotted.example.org."] {
        assert_eq!(who_is(&tunnel, host), "");
        let host = host.trim_end_matches('.');
        assert!(names.count(host, A) >= 2, "the system's resolver was asked as well");
    }
    let searched: Vec<_> = names.asked().into_iter().filter(|it| it.name.contains("corp")).collect();
    assert_eq!(searched, []);
}

/// Of the system's resolver, whom nobody else is asked before here: that it cannot say is not that there is no such name.
#[test]
fn the_last_answer_is_used_on_while_the_system_cannot_say() {
    let Some(network) = OwnNetwork::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    fs::write(&file, "# No name server: the one on this machine.\n").unwrap();
    network.resolve_by(&file);
    let names = NameServer::at(DNS.parse().unwrap(), |asked| asked.addresses(300, &[local(2)]));
    let port = free_port();
    let _server = says("127.0.0.2", port, "here");
    let tunnel = Tunnel::start(&format!("[resolver]\nmin = \"1s\"\nmax = \"1s\"\n{}", requested(port)));
    assert_eq!(who_is(&tunnel, "a.example"), "here");
    names.change(|asked| asked.reply(2, &[]));
    let asked = names.count("a.example", A);
    wait_for("the end of what was kept", || {
        assert_eq!(who_is(&tunnel, "a.example"), "here");
        names.count("a.example", A) > asked
    });
    assert_eq!(who_is(&tunnel, "a.example"), "here");
    names.change(Asked::no_such_name);
    wait_for("that there is no such name", || who_is(&tunnel, "a.example").is_empty());
}

/// What is not resolved is shown as such, and what resolving has cost.
#[test]
fn names_are_shown() {
    let names = NameServer::new(Asked::no_such_name);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control");
    let control = format!("[control]\nsocket = \"{}\"\n", socket.display());
    let _tunnel =
        Tunnel::start(&format!("{control}{}", config(&[&names], "", "connect = \"gone.example:1\"")));
    let ask = |command: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let servers = ask("show servers json");
    assert!(
        servers.contains("\"state\":\"unresolved\"") && servers.contains("\"address\":\"\""),
        "{servers}"
    );
    let stat = ask("show stat");
    assert!(stat.contains("MAINT (resolution)"), "{stat}");
    let resolvers = ask("show resolvers");
    let expected = format!("Resolvers section default\n nameserver {}:\n  sent:       ", names.address());
    assert!(resolvers.starts_with(&expected), "{resolvers}");
    assert!(!resolvers.contains("nx:         0"), "{resolvers}");
}

/// A name server of Debian's: what we say is DNS.
#[test]
fn dnsmasq_understands_us() {
    let port = free_port();
    let _servers = [says("127.0.0.2", port, "two"), says("127.0.0.3", port, "srv")];
    let dns = free_address();
    let _dnsmasq = Program::start(Command::new("dnsmasq").args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--listen-address=127.0.0.1",
        "--pid-file=",
        &format!("--port={}", dns.port()),
        "--local=/test/",
        "--address=/db.test/127.0.0.2",
        "--cname=alias.test,target.test",
        "--host-record=target.test,127.0.0.3",
        &format!("--srv-host=_db._tcp.test,alias.test,{port},1,5"),
    ]));
    wait_for("dnsmasq", || std::net::TcpStream::connect(dns).is_ok());
    let service = |name: &str, connect: &str| {
        format!("[[service]]\nname = \"{name}\"\naccept = \"127.0.0.1:0\"\nconnect = \"{connect}\"\n")
    };
    let text = format!(
        "[resolver]\nservers = [\"{dns}\"]\n{}{}{}",
        service("web", &format!("db.test:{port}")),
        service("alias", &format!("alias.test:{port}")),
        service("srv", "_db._tcp.test")
    );
    let tunnel = Tunnel::start(&text);
    let answer = |service: &str| -> String {
        let address: SocketAddr = tunnel.address(service);
        String::from_utf8(Peer::plain(address).receive_all().0).unwrap()
    };
    assert_eq!([answer("web"), answer("alias"), answer("srv")], ["two", "srv", "srv"]);
    assert!(!tunnel.log_text().contains("cannot resolve"), "{}", tunnel.log_text());
}
