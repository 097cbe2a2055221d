// SPDX-License-Identifier: MIT OR Apache-2.0
//! Services whose server is the one that the client names (`connect = "*:PORT"`): where they go, and where they never do.

use crate::harness::{Backend, End, Listening, Options, Peer, Pki, TlsClient, Tunnel, free_address};
use std::net::SocketAddr;

/// A service that connects to the host of an HTTP request, at `port`.
fn by_host(listen: &str, port: u16, allow: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\npeek = \"http\"\naccept = \"{listen}\"\ntimeout = {{ connect = \"500ms\" }}\n\
         connect = {{ address = [\"*:{port}\"], allow = [{allow}] }}\n"
    )
}

fn ask(address: SocketAddr, host: &str) -> (Vec<u8>, End) {
    let mut client = Peer::plain(address);
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    // Who is refused at once may be gone by now.
    let _refused = client.socket().shutdown(std::net::Shutdown::Write);
    client.receive_all()
}

#[test]
fn the_server_is_the_one_the_client_names() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&by_host("127.0.0.1:0", backend.address().port(), "\"127.0.0.0/8\", \"::1\""));
    for host in ["localhost", "LocalHost.:80", "127.0.0.1", "127.0.0.1:9"] {
        let (answer, end) = ask(tunnel.address("web"), host);
        assert!(answer.starts_with(b"GET / HTTP/1.1\r\n"), "{host}: {answer:?}");
        assert_eq!(end, End::Clean, "{host}");
    }
    for line in tunnel.wait_closed(4) {
        assert_eq!(line.get("reason"), "done", "{}", line.text);
        assert_eq!(line.get("server"), backend.address().to_string(), "{}", line.text);
    }
}

/// Passed through: the name is in the hello, and TLS stays end to end.
#[test]
fn tls_goes_through_to_the_name_in_the_hello() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::tls(&pki.server));
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n[[service.route]]\nsni = [\"localhost\"]\n\
         connect = {{ address = [\"*:{}\"], allow = [\"127.0.0.0/8\", \"::1\"] }}\n",
        backend.address().port()
    ));
    let mut client = TlsClient::new(&pki).connect(tunnel.address("web")).unwrap();
    client.send(b"ping");
    assert_eq!(client.receive(4), b"ping");
    client.half_close();
    assert_eq!(client.receive_all().1, End::Clean);
    // TLS has ended between the two; the connections under it end now.
    drop(client);
    assert_eq!(tunnel.wait_closed(1)[0].get("sni"), "localhost");
}

/// A list of names holds however the client says its name, and before anybody is asked for it.
#[test]
fn only_listed_names_are_connected_to() {
    let backend = Backend::echo(Listening::default());
    let port = backend.address().port();
    let service = |name: &str, peek: &str, listed: &str| {
        format!(
            "[[service]]\nname = \"{name}\"\npeek = \"{peek}\"\naccept = \"127.0.0.1:0\"\n\
             connect = {{ address = \"*:{port}\", allow = [\"127.0.0.0/8\", \"::1\"], names = [\"{listed}\"] }}\n"
        )
    };
    let services =
        [("ours", "http", "localhost"), ("web", "http", "*.allowed.test"), ("tls", "tls", "*.allowed.test")];
    let tunnel = Tunnel::start(&services.map(|(name, peek, listed)| service(name, peek, listed)).concat());
    assert!(ask(tunnel.address("ours"), "LocalHost").0.starts_with(b"GET"));
    assert!(ask(tunnel.address("web"), "127.0.0.1").0.starts_with(b"GET"), "`allow` has that address");
    let (answer, end) = ask(tunnel.address("web"), "localhost");
    assert!(answer.is_empty() && end != End::Clean, "{answer:?} {end:?}");
    assert!(TlsClient::new(&Pki::new()).connect(tunnel.address("tls")).is_err());
    let lines = tunnel.wait_closed(4);
    let refused: Vec<_> = lines.iter().filter(|line| line.get("reason") == "forbidden-target").collect();
    assert_eq!(refused.iter().map(|line| line.get("service")).collect::<Vec<_>>(), ["web", "tls"]);
    assert_eq!(backend.accepted(), 2);
}

/// Nobody reaches our own network through us, in whatever way the address is written.
#[test]
fn only_public_addresses_are_connected_to_unless_allowed() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&by_host("127.0.0.1:0", backend.address().port(), "\"198.51.100.0/24\""));
    let hosts = [
        "localhost",
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "255.255.255.255",
    ];
    for host in hosts {
        let (answer, end) = ask(tunnel.address("web"), host);
        assert!(answer.is_empty() && end != End::Clean, "{host}: {answer:?} {end:?}");
    }
    for line in tunnel.wait_closed(hosts.len()) {
        assert_eq!(line.get("reason"), "forbidden-target", "{}", line.text);
    }
    assert_eq!(backend.accepted(), 0);
}

/// Who asks for the tunnel itself would go round in circles.
#[test]
fn a_service_never_connects_to_itself() {
    for listen in [free_address().to_string(), format!("*:{}", free_address().port())] {
        let port = listen.rsplit(':').next().unwrap().parse().unwrap();
        let tunnel = Tunnel::start(&by_host(&listen, port, "\"127.0.0.0/8\", \"::1\""));
        let (answer, end) = ask(SocketAddr::from(([127, 0, 0, 1], port)), "127.0.0.1");
        assert!(answer.is_empty() && end != End::Clean, "{listen}: {answer:?} {end:?}");
        assert_eq!(tunnel.wait_closed(1)[0].get("reason"), "forbidden-target");
    }
}

/// The address that the kernel takes for this machine is no way around that, whatever is allowed.
#[test]
fn the_unspecified_address_leads_nowhere() {
    let port = free_address().port();
    let tunnel = Tunnel::start(&by_host(&format!("*:{port}"), port, "\"0.0.0.0/0\", \"::/0\""));
    let hosts = ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"];
    for host in hosts {
        let (answer, end) = ask(SocketAddr::from(([127, 0, 0, 1], port)), host);
        assert!(answer.is_empty() && end != End::Clean, "{host}: {answer:?} {end:?}");
    }
    for line in tunnel.wait_closed(hosts.len()) {
        assert_eq!(line.get("reason"), "forbidden-target", "{}", line.text);
    }
}

/// A listener that a reload brought is known too.
#[test]
fn what_a_reload_listens_on_is_ours_as_well() {
    let (first, second) = (free_address(), free_address());
    let service = by_host(&first.to_string(), second.port(), "\"198.51.100.0/24\"");
    let tunnel = Tunnel::start(&service);
    tunnel.rewrite(&format!(
        "{service}[[service]]\nname = \"other\"\nmode = \"demo\"\naccept = \"{second}\"\n"
    ));
    tunnel.signal(nix::sys::signal::Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-done"));
    let (answer, _) = ask(first, "127.0.0.1");
    assert!(answer.is_empty(), "{answer:?}");
    assert_eq!(tunnel.wait_closed(1)[0].get("reason"), "forbidden-target");
}

/// A name that cannot be resolved, or not in time, costs its own connection and no other.
#[test]
fn a_name_that_is_not_found_ends_in_time() {
    let backend = Backend::echo(Listening::default());
    let options = Options { level: "info", ..Options::default() };
    let text = by_host("127.0.0.1:0", backend.address().port(), "\"127.0.0.0/8\", \"::1\"");
    let tunnel = Tunnel::start_with(&text, options);
    let lost: Vec<Peer> = (0..3)
        .map(|_| {
            let mut client = Peer::plain(tunnel.address("web"));
            client.send(b"GET / HTTP/1.1\r\nHost: nobody.invalid\r\n\r\n");
            client
        })
        .collect();
    let (answer, _) = ask(tunnel.address("web"), "127.0.0.1");
    assert!(!answer.is_empty());
    for mut client in lost {
        assert_ne!(client.receive_all().1, End::Clean);
    }
    let reasons: Vec<_> = tunnel.wait_closed(4).iter().map(|line| line.get("reason").to_owned()).collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "resolve-failed").count(), 3, "{reasons:?}");
}
