// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every option of tunnel(8), and the exit codes of sysexits(3) that scripts rely on.

use crate::harness::{Backend, Listening, Peer, Pki, Sides, wait_for};
use crate::program::{Place, plain, plain_at, say};
use std::fs;
use std::net::{SocketAddr, TcpListener};

const EX_USAGE: i32 = 64;
const EX_UNAVAILABLE: i32 = 69;
const EX_CANTCREAT: i32 = 73;
const EX_CONFIG: i32 = 78;

/// A server address nobody needs to listen on.
fn nobody() -> SocketAddr {
    "127.0.0.1:9".parse().unwrap()
}

#[test]
fn help_names_every_option() {
    let place = Place::new("");
    for option in ["-h", "--help"] {
        let help = place.run(&[option]).expect(0);
        for option in ["-c", "-t", "-T", "-D", "-p", "-v", "-V", "-q", "-h"] {
            assert!(help.out.contains(option), "{option} is missing:\n{}", help.out);
        }
        assert_eq!(help.err, "");
    }
}

#[test]
fn version_tells_the_build_and_the_limits() {
    let place = Place::new("");
    for option in ["-v", "--version"] {
        let first = place.run(&[option]).expect(0).out;
        let first = first.lines().next().unwrap();
        assert!(first.starts_with(concat!("tunnel ", env!("CARGO_PKG_VERSION"))), "{first}");
    }
    let long = place.run(&["-V"]).expect(0).out;
    assert!(long.starts_with(concat!("tunnel ", env!("CARGO_PKG_VERSION"))), "{long}");
    let library = if cfg!(feature = "aws-lc") { "AWS-LC" } else { "OpenSSL" };
    let named = long.matches(library).count();
    assert!(named >= 2, "the library compiled with and the one running, {named} of 2:\n{long}");
    for word in ["features", "limit"] {
        assert!(long.to_lowercase().contains(word), "{word} is missing:\n{long}");
    }
}

#[test]
fn wrong_usage_is_64_and_says_why() {
    let place = Place::new("");
    for (arguments, says) in [
        (&["-x"][..], "x"),
        (&["--certifcate"], "certifcate"),
        (&["-c"], "c"),
        (&["-c", "a", "-c", "b"], "c"),
        (&["operand"], "operand"),
    ] {
        let outcome = place.run(arguments).expect(EX_USAGE);
        assert_eq!(outcome.out, "", "{arguments:?}");
        assert!(outcome.err.contains(says), "{arguments:?}: {}", outcome.err);
    }
}

#[test]
fn a_check_loads_everything_and_serves_nothing() {
    let pki = Pki::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let services = Sides::Terminate.service("web", &pki, nobody(), "");
    // The port is in use, by the running instance most likely: no reason for a check to fail.
    let place = Place::new(&format!("{services}{}", plain_at("b", taken.local_addr().unwrap(), nobody())));
    place.run(&["-t", "-c", "tunnel.conf"]).expect(0);
    fs::remove_file(&pki.server.key).unwrap();
    let outcome = place.run(&["-t", "-c", "tunnel.conf"]).expect(EX_CONFIG);
    assert!(outcome.err.contains("server.key"), "{}", outcome.err);
}

#[test]
fn quiet_says_nothing_when_all_is_well_and_everything_when_not() {
    let place = Place::new(&plain("web", nobody()));
    let outcome = place.run(&["-q", "-t", "-c", "tunnel.conf"]).expect(0);
    assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("", ""));
    place.write("tunnel.conf", "nonsense = 1\n");
    let outcome = place.run(&["-q", "-t", "-c", "tunnel.conf"]).expect(EX_CONFIG);
    assert!(outcome.err.contains("nonsense"), "{}", outcome.err);
}

#[test]
fn a_missing_or_unreadable_file_is_named() {
    let place = Place::new("");
    let outcome = place.run(&["-t", "-c", "nowhere.conf"]).expect(EX_CONFIG);
    assert!(outcome.err.contains("nowhere.conf"), "{}", outcome.err);
    fs::create_dir(place.path("folder.conf")).unwrap();
    let outcome = place.run(&["-c", "folder.conf"]).expect(EX_CONFIG);
    assert!(outcome.err.contains("folder.conf"), "{}", outcome.err);
}

#[test]
fn the_default_file_is_the_documented_one() {
    if std::path::Path::new("/etc/tunnel/tunnel.conf").exists() {
        return say("skipped: this machine has a /etc/tunnel/tunnel.conf");
    }
    let outcome = Place::new("").run(&["-t"]).expect(EX_CONFIG);
    assert!(outcome.err.contains("/etc/tunnel/tunnel.conf"), "{}", outcome.err);
}

#[test]
fn the_effective_config_is_a_config_and_a_fixed_point() {
    let pki = Pki::new();
    let mut services = plain("plain", nobody());
    for sides in Sides::ALL {
        services += &sides.service(&format!("{sides:?}"), &pki, nobody(), "timeout = { idle = \"90s\" }");
    }
    let place = Place::new(&format!("[global]\nworkers = 3\n\n{services}"));
    let first = place.run(&["-T", "-c", "tunnel.conf"]).expect(0).out;
    place.write("effective.conf", &first);
    place.run(&["-t", "-c", "effective.conf"]).expect(0);
    let second = place.run(&["-T", "-c", "effective.conf"]).expect(0).out;
    assert_eq!(first, second);
    for word in ["workers = 3", "Reencrypt", "max_connections", "shutdown_timeout", "half_close"] {
        assert!(first.contains(word), "{word} is missing in:\n{first}");
    }
    assert!(!first.contains("PRIVATE KEY"));
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let pki = Pki::new();
    let place = Place::new("");
    fs::create_dir_all(place.path("etc/conf.d")).unwrap();
    fs::copy(&pki.server.certificate, place.path("etc/web.pem")).unwrap();
    fs::copy(&pki.server.key, place.path("etc/web.key")).unwrap();
    let tls = "tls = { certificate = \"web.pem\", key = \"web.key\" }";
    let service = format!("accept = {{ address = \"127.0.0.1:0\", {tls} }}\nconnect = \"127.0.0.1:9\"\n");
    place.write("etc/tunnel.conf", format!("[[service]]\nname = \"web\"\n{service}"));
    place.run(&["-t", "-c", "etc/tunnel.conf"]).expect(0);
    place.write("etc/tunnel.conf", "include = [\"conf.d/*.conf\"]\n");
    place.write("etc/conf.d/a.conf", plain("a", nobody()));
    let effective = place.run(&["-T", "-c", "etc/tunnel.conf"]).expect(0).out;
    assert!(effective.contains("\"a\""), "the included service is missing:\n{effective}");
}

#[test]
fn a_pid_file_is_written_when_ready_and_removed_at_the_end() {
    let server = Backend::echo(Listening::default());
    let place = Place::new(&with_stderr(&plain("web", server.address())));
    let mut process = place.start(&["-p", "tunnel.pid"]);
    process.wait_started();
    wait_for("the pid file", || {
        fs::read_to_string(place.path("tunnel.pid")).is_ok_and(|text| !text.is_empty())
    });
    let text = fs::read_to_string(place.path("tunnel.pid")).unwrap();
    assert_eq!(text, format!("{}\n", process.pid()));
    let mut client = Peer::plain(process.log.address("web"));
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");
    drop(client);
    process.stop();
    assert!(!place.path("tunnel.pid").exists(), "the pid file was left behind");
}

#[test]
fn a_second_instance_fails_and_harms_nothing() {
    // Row 91: in sniproxy a second instance deleted the first one's pid file.
    let server = Backend::echo(Listening::default());
    let address = crate::program::free_address();
    let place = Place::new(&with_stderr(&plain_at("web", address, server.address())));
    let mut first = place.start(&["-p", "tunnel.pid"]);
    first.wait_started();
    let second = place.run(&["-c", "tunnel.conf", "-p", "tunnel.pid"]).expect(EX_UNAVAILABLE);
    assert!(second.err.contains(&address.to_string()), "the address is not named: {}", second.err);
    let text = fs::read_to_string(place.path("tunnel.pid")).expect("the first one's pid file is gone");
    assert_eq!(text.trim(), first.pid().to_string());
    let mut client = Peer::plain(address);
    client.send(b"still here");
    assert_eq!(client.receive(10), b"still here");
    drop(client);
    first.stop();
}

#[test]
fn a_pid_file_that_cannot_be_written_ends_the_start() {
    let place = Place::new(&with_stderr(&plain("web", nobody())));
    let outcome = place.run(&["-c", "tunnel.conf", "-p", "no/such/folder/tunnel.pid"]).expect(EX_CANTCREAT);
    assert!(outcome.err.contains("tunnel.pid"), "{}", outcome.err);
}

#[test]
fn after_a_crash_the_next_start_works() {
    let server = Backend::echo(Listening::default());
    let place = Place::new("");
    let address = crate::program::free_address();
    let socket = format!("unix:{}", place.path("socket").display());
    let services = plain_at("tcp", address, server.address()) + &plain_at("unix", &socket, server.address());
    place.write("tunnel.conf", with_stderr(&services));
    let mut first = place.start(&["-p", "tunnel.pid"]);
    first.wait_started();
    // A connection that is open at the crash leaves the port in TIME_WAIT or worse.
    let mut client = Peer::plain(address);
    client.send(b"x");
    assert_eq!(client.receive(1), b"x");
    first.kill();
    assert!(place.path("socket").exists() && place.path("tunnel.pid").exists(), "no traces to stumble over");
    fs::remove_file(place.path("stderr")).unwrap();
    let mut second = place.start(&["-p", "tunnel.pid"]);
    second.wait_started();
    let mut client = std::os::unix::net::UnixStream::connect(place.path("socket")).unwrap();
    std::io::Write::write_all(&mut client, b"y").unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(&mut client, &mut byte).unwrap();
    assert_eq!(&byte, b"y");
    drop(client);
    second.stop();
    assert!(!place.path("socket").exists(), "the unix socket was left behind");
}

#[test]
fn a_unix_socket_that_is_served_or_no_socket_is_left_alone() {
    let place = Place::new("");
    let address = format!("unix:{}", place.path("socket").display());
    place.write("tunnel.conf", with_stderr(&plain_at("unix", address, nobody())));
    let listener = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    place.run(&["-c", "tunnel.conf"]).expect(EX_UNAVAILABLE);
    std::os::unix::net::UnixStream::connect(place.path("socket"))
        .expect("the socket of another was taken away");
    drop(listener);
    fs::remove_file(place.path("socket")).unwrap();
    place.write("socket", "precious");
    place.run(&["-c", "tunnel.conf"]).expect(EX_UNAVAILABLE);
    assert_eq!(fs::read_to_string(place.path("socket")).unwrap(), "precious");
}

/// A configuration whose log goes to stderr.
fn with_stderr(services: &str) -> String {
    format!("[global]\nlog = {{ target = \"stderr\" }}\nworkers = 2\n\n{services}")
}
