// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tunnel explain`: what it answers is what the running tunnel does.

use crate::harness::{Backend, Listening, Pki, TlsClient, Tunnel};
use std::path::Path;
use std::process::{Command, Output};

fn explain(config: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tunnel"))
        .arg("explain")
        .arg("-c")
        .arg(config)
        .args(words)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn services(pki: &Pki, backend: std::net::SocketAddr) -> String {
    let tls = pki.issue("example", &["*.example.org"]);
    format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n\
         [[service.rule]]\nname = \"strangers\"\nsource = [\"192.0.2.0/24\"]\naction = \"reject\"\n\
         [[service.rule]]\nname = \"secret\"\nsni = [\"secret.example.org\"]\naction = \"drop\"\n\
         [[service.rule]]\nname = \"flood\"\nlimit = {{ connections = 1000 }}\naction = \"tarpit\"\n\
         [[service.route]]\nname = \"www\"\nsni = [\"*.example.org\"]\ntls = {{ {} }}\nconnect = \"{backend}\"\n\
         [[service.route]]\nname = \"mail\"\nsni = [\"mail.example.org\"]\nalpn = [\"imap\"]\nconnect = \"{backend}\"\n",
        tls.toml()
    )
}

#[test]
fn rule_route_certificate_servers_and_timeouts_are_told() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tunnel = Tunnel::start(&services(&pki, backend.address()));
    let config = tunnel.config_file();
    let said =
        text(&explain(&config, &["-s", "web", "--sni", "WWW.Example.org.", "--source", "203.0.113.1"]));
    for part in
        ["asks for www.example.org", "www (connect), TLS terminated here", "example", "handshake 10s", "mail"]
    {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert!(said.contains(&format!("server      {}", backend.address())), "{said}");
    // And so it is.
    TlsClient::new(&pki).named("www.example.org").connect(tunnel.address("web")).unwrap().half_close();
    assert_eq!(tunnel.wait_closed(1)[0].get("route"), "www");
}

#[test]
fn the_rule_that_decides_is_named_and_the_others_say_why_not() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tunnel = Tunnel::start(&services(&pki, backend.address()));
    let config = tunnel.config_file();
    let said = text(&explain(&config, &["-s", "web", "--source", "192.0.2.7", "--sni", "www.example.org"]));
    assert!(said.contains("decided by  rule strangers"), "{said}");
    assert!(said.contains("ends there  rule strangers has the action reject"), "{said}");
    assert!(!said.contains("server      ") && !said.contains("connecting to the server"), "{said}");
    let said =
        text(&explain(&config, &["-s", "web", "--source", "203.0.113.1", "--sni", "secret.example.org"]));
    assert!(said.contains("decided by  rule secret"), "{said}");
    let said = text(&explain(&config, &["-s", "web", "--source", "203.0.113.1", "--sni", "www.example.org"]));
    assert!(!said.contains("decided by") && said.contains("flood (tarpit)"), "{said}");
}

#[test]
fn who_is_answered_or_not_looked_at_gets_no_route() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"alive\"\nmode = \"health\"\naccept = \"127.0.0.1:0\"\n\
         [[service]]\nname = \"plain\"\naccept = \"127.0.0.1:0\"\nconnect = \"{}\"\n\
         monitor = {{ source = [\"192.0.2.7\"] }}\n",
        backend.address()
    ));
    let config = tunnel.config_file();
    for words in [&["-s", "alive"][..], &["-s", "plain", "--source", "192.0.2.7"]] {
        let said = text(&explain(&config, words));
        assert!(said.contains("ends there  answered by the monitor's reply"), "{said}");
        assert!(!said.contains("route "), "{said}");
    }
    let said = text(&explain(&config, &["-s", "plain", "--source", "192.0.2.8"]));
    assert!(said.contains("route       default (connect)"), "{said}");
    let output = explain(&config, &["-s", "plain", "--sni", "a.example.org"]);
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_name_that_may_not_be_asked_for_is_told() {
    let tunnel = Tunnel::start(
        "[[service]]\nname = \"by-name\"\npeek = \"tls\"\naccept = \"127.0.0.1:0\"\n\
         connect = { address = \"*:443\", names = [\"*.allowed.test\"] }\n",
    );
    let said = text(&explain(&tunnel.config_file(), &["-s", "by-name", "--sni", "www.allowed.test"]));
    assert!(said.contains("www.allowed.test:443, resolved for each connection"), "{said}");
    let said = text(&explain(&tunnel.config_file(), &["-s", "by-name", "--sni", "www.other.test"]));
    let why = "ends there  route default: www.other.test:443: that name may not be connected to";
    assert!(said.contains(why) && !said.contains("resolved for each connection"), "{said}");
}

#[test]
fn a_program_can_read_it() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tunnel = Tunnel::start(&services(&pki, backend.address()));
    let words = ["--service", "web", "--sni", "mail.example.org", "--alpn", "h2", "--alpn", "imap", "--json"];
    let output = explain(&tunnel.config_file(), &words);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["service"], "web");
    assert_eq!(json["route"]["name"], "mail");
    assert_eq!(json["route"]["tls"], "not touched");
    assert_eq!(json["client"]["alpn"], serde_json::json!(["h2", "imap"]));
    assert_eq!(json["routes_not_taken"][0]["name"], "www");
    assert_eq!(json["route"]["servers"][0], backend.address().to_string());
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tunnel = Tunnel::start(&services(&pki, backend.address()));
    let config = tunnel.config_file();
    for (words, status, message) in [
        (&["-s", "wob"][..], 64, "no service is called \"wob\"; there are web"),
        (&[], 64, "explain needs --service"),
        (&["-s", "web", "--source", "x"], 64, "\"x\" after --source is not an IP address"),
        (&["-s", "web", "--sni", "a b"], 64, "a b"),
        (&["-s", "web", "--sni", "a", "--host", "b"], 64, "exclude each other"),
        (&["-s", "web", "--host", "b"], 64, "reads TLS hellos: use --sni"),
        (&["-s", "web", "stray"], 64, "unexpected argument \"stray\""),
        (&["-s", "web", "--serivce", "x"], 64, "did you mean --service?"),
    ] {
        let output = explain(&config, words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {told}");
        assert!(told.contains(message) && told.lines().count() == 1, "{words:?}: {told}");
        assert!(output.stdout.is_empty());
    }
    std::fs::write(tunnel.dir().join("bad.conf"), "x = 1\n").unwrap();
    assert_eq!(explain(&tunnel.dir().join("bad.conf"), &["-s", "web"]).status.code(), Some(78));
}
