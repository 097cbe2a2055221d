// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the configuration as a whole: what is refused, with which words, and that nothing makes it panic.

use super::raw::Document;
use super::settings::{Mode, Settings};
use super::*;
use crate::log::{Level, Target};
use crate::policy::service::{Timeouts, Truncation};
use crate::policy::tls_spec::{ClientVerify, TlsVersion};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Checks a text without loading anything it names; relative paths are below `/base`.
pub(super) fn checked(text: &str) -> (Settings, Report) {
    let mut report = Report::default();
    let file = report.add_source("t.conf".into(), Some(text.into()));
    let document = Document::parse(file, PathBuf::from("/base"), None, &mut report);
    let settings = check::check(&[document], 4, &mut report);
    (settings, report)
}

fn context() -> LoadContext {
    LoadContext { workers_available: 2, registry: Registry::default(), secret: ProcessSecret([7; 32]) }
}

/// Writes files into a new directory and loads `tunnel.conf` of it.
fn load_files(files: &[(&str, &[u8])]) -> (Result<Config, Report>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    (load(&directory.path().join("tunnel.conf"), &context()), directory)
}

/// The headlines of a report on files in `directory`, whose name is left out.
fn headlines(report: &Report, directory: &tempfile::TempDir) -> Vec<String> {
    let prefix = format!("{}/", directory.path().display());
    let is_headline =
        |line: &&str| [": error: ", ": note: ", ": warning: "].iter().any(|kind| line.contains(kind));
    report.to_string().lines().filter(is_headline).map(|line| line.replace(&prefix, "")).collect()
}

const GOOD: &str = "[[service]]\nname = \"a\"\naccept = \"127.0.0.1:1\"\nconnect = \"127.0.0.1:2\"\n";

/// What stands before the service (so the line is 2), and what is said about it.
const BAD_GLOBALS: &[(&str, &str)] = &[
    ("worker = 1", "1: error: unknown key \"worker\" in [global]"),
    ("idle = \"1s\"", "1: error: unknown key \"idle\" in [global]"),
    ("workers = 0", "11: error: `workers` must be between 1 and 1024"),
    ("workers = -1", "11: error: `workers` must be between 1 and 1024"),
    ("workers = 99999999999999999999", "11: error: `workers` must be between 1 and 1024"),
    ("workers = \"4\"", "11: error: `workers` must be \"auto\" or a number, not \"4\""),
    ("workers = 1.5", "11: error: `workers` must be a number, not a float"),
    ("max_connections = 0", "19: error: `max_connections` must be between 1 and 10000000"),
    ("max_connections = \"many\"", "19: error: `max_connections` must be a number, not a string"),
    ("shutdown_timeout = 30", "20: error: `shutdown_timeout` must be a duration with a unit, not an integer"),
    ("shutdown_timeout = \"30\"", "20: error: the duration \"30\" has no unit"),
    ("shutdown_timeout = \"2d\"", "20: error: `shutdown_timeout` must be between 0s and 1d"),
    ("shutdown_timeout = true", "20: error: `shutdown_timeout` must be a string, not a boolean"),
    ("log = \"syslog\"", "7: error: `log` must be a table, not a string"),
    ("log = { target = \"sysolg\" }", "18: error: unknown target \"sysolg\""),
    ("log = { target = \"file:\" }", "18: error: the target \"file:\" has no path"),
    ("log = { level = \"warn\" }", "17: error: unknown level \"warn\""),
    ("log = { facility = \"demon\" }", "20: error: unknown facility \"demon\""),
    ("log = { socket = \"\" }", "18: error: `socket` must not be empty"),
    ("log = { levle = \"info\" }", "9: error: unknown key \"levle\" in [global] log"),
    ("log = 1979-05-27", "7: error: `log` must be a table, not a date"),
];

/// What stands after the good service (so the line is 5), and what is said about it.
const BAD_SERVICE_KEYS: &[(&str, &str)] = &[
    ("acept = \"*:1\"", "1: error: unknown key \"acept\" in [[service]]"),
    ("mode = \"dmeo\"", "8: error: unknown mode \"dmeo\""),
    ("mode = 1", "8: error: `mode` must be a string, not an integer"),
    ("buffer = 0", "10: error: `buffer` must be between 1B and 1GiB"),
    ("buffer = -1", "10: error: -1 is not a size"),
    ("buffer = \"2GiB\"", "10: error: `buffer` must be between 1B and 1GiB"),
    ("buffer = \"64KB\"", "10: error: the unit of \"64KB\" may mean 1000 or 1024"),
    ("buffer = \"big\"", "10: error: \"big\" is not a size"),
    ("buffer = []", "10: error: `buffer` must be a string, not an array"),
    ("truncation = \"rst\"", "14: error: unknown truncation \"rst\""),
    ("timeout = \"10s\"", "11: error: `timeout` must be a table, not a string"),
    ("timeout = { idle = \"0s\" }", "20: error: `idle` must be between 1ms and 365d"),
    ("timeout = { idle = \"366d\" }", "20: error: `idle` must be between 1ms and 365d"),
    ("timeout = { idle = \"5 minutes\" }", "20: error: \"5 minutes\" is not a duration"),
    ("timeout = { half-close = \"1m\" }", "13: error: unknown key \"half-close\" in [[service]] timeout"),
    ("name = \"b\"", "1: error: \"name\" is defined a second time"),
    (
        "[[service]]\nname = \"a\"\naccept = \"*:3\"\nconnect = \"h:1\"",
        "6:8: error: a second service with the name \"a\"",
    ),
    ("[global]\nworkers = 1\n[global]", "7:2: error: \"global\" is defined a second time"),
    ("x y = 1", "3: error: unexpected"),
    ("mode = relay", "8: error: string values must be quoted"),
    ("mode = \"relay", "8: error: invalid basic string"),
    ("mode = \"a\u{7}\"", "10: error: invalid basic string"),
    ("mode = \"a\\u0000\"", "8: error: `mode` must not have control characters"),
    ("timeout = {", "11: error: this `{` is never closed"),
];

/// `accept` of a service that is good otherwise (so the line is 3), and what is said about it.
const BAD_ACCEPTS: &[(&str, &str)] = &[
    ("1", "10: error: `accept` must be an address or a table, not an integer"),
    ("[\"*:1\"]", "10: error: `accept` must be an address or a table, not an array"),
    ("\"localhost\"", "10: error: the address \"localhost\" has no port"),
    ("\"::1:443\"", "10: error: the IPv6 address in \"::1:443\" needs brackets"),
    ("\":443\"", "10: error: the address \":443\" has no host before the colon"),
    ("\"h:99999\"", "10: error: the port 99999 is above 65535"),
    ("\"unix:\"", "10: error: the address \"unix:\" has no name after `unix:`"),
    ("{ }", "10: error: `accept` has no `address`"),
    ("{ address = [] }", "22: error: `address` must not be empty"),
    ("{ address = [1] }", "23: error: `address` must be a string, not an integer"),
    ("{ address = 1 }", "22: error: `address` must be a string or a list of strings, not an integer"),
    ("{ adress = \"*:1\" }", "12: error: unknown key \"adress\" in [[service]] accept"),
    ("{ address = \"*:1\", tls = true }", "35: error: `tls` must be a table on accept, not a boolean"),
    ("{ address = \"*:1\", tls = {} }", "35: error: `accept.tls` has no `certificate`"),
];

/// `accept.tls` of a service that is good otherwise (so the line is 3), and what is said about it.
const BAD_ACCEPT_TLS: &[(&str, &str)] = &[
    ("certificate = \"\"", "52: error: `certificate` must not be empty"),
    ("certificate = 1", "52: error: `certificate` must be a string or a list of strings, not an integer"),
    ("certificate = [\"a\", \"b\"], key = \"k\"", "70: error: 1 of `key` for 2 of `certificate`"),
    ("key = \"k\"", "36: error: `accept.tls` has no `certificate`"),
    ("certificate = \"a\", min_version = \"1.1\"", "71: error: unknown min_version \"1.1\""),
    ("certificate = \"a\", min_version = 1.2", "71: error: `min_version` must be a string, not a float"),
    (
        "certificate = \"a\", min_version = \"1.3\", max_version = \"1.2\"",
        "71: error: `min_version` is above `max_version`",
    ),
    ("certificate = \"a\", ciphers = \"\"", "67: error: `ciphers` must not be empty"),
    ("certificate = \"a\", alpn = \"h2\"", "64: error: `alpn` must be a list of strings, not a string"),
    ("certificate = \"a\", alpn = [\"h2\", \"h2\"]", "71: error: \"h2\" stands in `alpn` twice"),
    (
        "certificate = \"a\", verify = \"required\"",
        "66: error: `verify` without a `client_ca` to verify against",
    ),
    ("certificate = \"a\", verify = true", "66: error: `verify` must be a string, not a boolean"),
    (
        "certificate = \"a\", client_ca = \"c\", verify = \"none\"",
        "86: error: `verify` is \"none\", yet there is a `client_ca`",
    ),
    (
        "certificate = \"a\", server_name = \"n\"",
        "57: error: unknown key \"server_name\" in [[service]] accept.tls",
    ),
];

/// `connect` of a service that is good otherwise (so the line is 4), and what is said about it.
const BAD_CONNECTS: &[(&str, &str)] = &[
    ("\"*:80\"", "11: error: cannot connect to the wildcard \"*:80\""),
    ("\"h:0\"", "11: error: cannot connect to port 0 in \"h:0\""),
    ("\"http://h:80\"", "11: error: \"http://h:80\" is a URL, not an address"),
    ("{ tls = true }", "11: error: `connect` has no `address`"),
    ("{ address = \"h:1\", tls = 1 }", "36: error: `tls` must be true, false or a table, not an integer"),
    (
        "{ address = \"h:1\", tls = { verify = \"none\" } }",
        "47: error: `verify` must be true or false, not a string",
    ),
    ("{ address = \"h:1\", tls = { server_name = \"a b\" } }", "52: error: \"a b\" is not a host name"),
    ("{ address = \"h:1\", tls = { key = \"k\" } }", "44: error: `key` without a `certificate`"),
    (
        "{ address = \"h:1\", tls = { certificate = [\"a\", \"b\"] } }",
        "52: error: `connect.tls` takes one `certificate` only",
    ),
    (
        "{ address = \"h:1\", tls = { client_ca = \"c\" } }",
        "38: error: unknown key \"client_ca\" in [[service]] connect.tls",
    ),
    ("{ address = \"unix:s\", tls = true }", "23: error: a unix socket has no name that TLS could verify"),
];

/// Whole files, and what is said about them.
const BAD_FILES: &[(&str, &str)] = &[
    ("", "1:1: error: no [[service]]: there is nothing to do"),
    ("# nothing\n", "1:1: error: no [[service]]: there is nothing to do"),
    ("service = []\n", "1:1: error: no [[service]]: there is nothing to do"),
    ("[service]\nname = \"a\"\n", "1:1: error: `service` must be a list of tables, not a table"),
    ("service = [1]\n", "1:12: error: `service` must be a table, not an integer"),
    ("include = 1\n", "1:11: error: `include` must be a string or a list of strings, not an integer"),
    ("[[service]]\naccept = \"*:1\"\nconnect = \"h:1\"\n", "1:1: error: a service without `name`"),
    ("[[service]]\nname = \"a\"\nconnect = \"h:1\"\n", "1:1: error: service \"a\" has no `accept`"),
    ("[[service]]\nname = \"a\"\naccept = \"*:1\"\n", "1:1: error: service \"a\" has no `connect`"),
    (
        "[[service]]\nname = \"a b\"\naccept = \"*:1\"\nconnect = \"h:1\"\n",
        "2:8: error: \"a b\" cannot be the name of a service",
    ),
    (
        "[[service]]\nname = \"a\"\nmode = \"demo\"\naccept = \"*:1\"\nconnect = \"h:1\"\n",
        "5:11: error: a service with mode \"demo\" answers by itself and has no `connect`",
    ),
    ("[globl]\n[[service]]\nname = \"é\"\n", "1:2: error: unknown key \"globl\" in top level"),
    ("services = []\n", "1:1: error: unknown key \"services\" in top level"),
];

#[test]
fn every_bad_file_is_refused_with_its_own_words() {
    let mut tried = 0;
    let mut refused = |text: String, expected: String| {
        let (_, report) = checked(&text);
        let rendered = report.to_string();
        let first = rendered.lines().find(|line| line.contains(": error: ")).unwrap_or("nothing");
        // The parser's own words may go on after ours.
        let same = first == expected
            || (expected.len() > 20 && first.starts_with(&expected) && is_syntax(&expected));
        assert!(same, "\n{text}\nexpected {expected}\ngot\n{rendered}");
        tried += 1;
    };
    for (line, message) in BAD_GLOBALS {
        refused(format!("[global]\n{line}\n{GOOD}"), format!("t.conf:2:{message}"));
    }
    for (line, message) in BAD_SERVICE_KEYS {
        let place =
            if message.split(": ").next().is_some_and(|place| place.contains(':')) { "" } else { "5:" };
        refused(format!("{GOOD}{line}\n"), format!("t.conf:{place}{message}"));
    }
    for (value, message) in BAD_ACCEPTS {
        let text = GOOD.replace("\"127.0.0.1:1\"", value);
        refused(text, format!("t.conf:3:{message}"));
    }
    for (tls, message) in BAD_ACCEPT_TLS {
        let text = GOOD.replace("\"127.0.0.1:1\"", &format!("{{ address = \"*:1\", tls = {{ {tls} }} }}"));
        refused(text, format!("t.conf:3:{message}"));
    }
    for (value, message) in BAD_CONNECTS {
        let text = GOOD.replace("\"127.0.0.1:2\"", value);
        refused(text, format!("t.conf:4:{message}"));
    }
    for (text, message) in BAD_FILES {
        refused((*text).to_owned(), format!("t.conf:{message}"));
    }
    assert!(tried >= 60, "only {tried} files");
}

/// Whether a message begins with words of the TOML parser, of which only the beginning is compared.
fn is_syntax(message: &str) -> bool {
    ["unexpected", "string values must be quoted", "invalid basic string"]
        .iter()
        .any(|words| message.contains(&format!("error: {words}")))
}

#[test]
fn every_key_of_the_tables_is_read() {
    // A date is the wrong type for every key: whoever reads the key says so.
    let date = "1979-05-27";
    let service = "[[service]]\nname = \"a\"\n";
    for table in TABLES {
        for key in table.keys {
            let text = match table.title {
                "top level" => format!("{key} = {date}\n"),
                "[global]" | "[[service]]" => format!("{}\n{key} = {date}\n", table.title),
                "[global] log" => format!("[global.log]\n{key} = {date}\n"),
                title => format!("{service}[service.{}]\n{key} = {date}\n", &title["[[service]] ".len()..]),
            };
            let (_, report) = if *key == "include" {
                let (result, _directory) = load_files(&[("tunnel.conf", text.as_bytes())]);
                ((), result.unwrap_err())
            } else {
                ((), checked(&text).1)
            };
            let rendered = report.to_string();
            // `address` must be there before `tls` is looked at.
            let hidden = *key == "tls" || table.title.ends_with(".tls");
            let read = rendered.contains(&format!("`{key}` must be ")) && rendered.contains("not a date");
            assert!(read || hidden, "{key} of {} is not read:\n{text}\n{rendered}", table.title);
            assert!(!rendered.contains("unknown key"), "{key} of {} is unknown:\n{rendered}", table.title);
        }
    }
    for (title, keys) in [("accept", raw::ACCEPT_TLS.keys), ("connect", raw::CONNECT_TLS.keys)] {
        for key in keys {
            let (_, report) =
                checked(&format!("{service}[service.{title}]\naddress=\"h:1\"\ntls.{key} = {date}\n"));
            let rendered = report.to_string();
            assert!(
                rendered.contains(&format!("`{key}` must be ")),
                "{key} of {title}.tls is not read:\n{rendered}"
            );
        }
        let (_, report) = checked(&format!("{service}[service.{title}]\naddress=\"h:1\"\ntls = {date}\n"));
        assert!(report.to_string().contains("`tls` must be "), "{report}");
    }
}

#[test]
fn many_errors_are_told_at_once_in_the_order_of_the_file() {
    let text = r#"
[global]
workrs = 1
max_connections = "x"
[[service]]
name = "a"
accept = { address = "nohost", tls = { certificate = "c", ciphrs = "x" } }
conect = "h:1"
[[service]]
name = "a"
accept = "*:1"
connect = { address = "h:1", tls = { verify = false } }
buffer = "1XB"
timeout = { idle = 5 }
"#;
    let (_, report) = checked(text);
    let rendered = report.to_string();
    let heads: Vec<&str> = rendered.lines().filter(|line| line.starts_with("t.conf:")).collect();
    let expected = [
        "t.conf:3:1: error: unknown key \"workrs\" in [global]",
        "t.conf:4:19: error: `max_connections` must be a number, not a string",
        "t.conf:5:1: error: service \"a\" has no `connect`",
        "t.conf:7:22: error: the address \"nohost\" has no port",
        "t.conf:7:59: error: unknown key \"ciphrs\" in [[service]] accept.tls",
        "t.conf:8:1: error: unknown key \"conect\" in [[service]]",
        "t.conf:10:8: error: a second service with the name \"a\"",
        "t.conf:6:8: note: the first is here",
        "t.conf:12:47: warning: a service does not verify its server: anybody in between can read and change everything",
        "t.conf:13:10: error: \"1XB\" is not a size",
        "t.conf:14:20: error: `idle` must be a duration with a unit, not an integer",
    ];
    assert_eq!(heads, expected);
    for help in
        ["help: did you mean `workers`?", "help: did you mean `connect`?", "help: did you mean \"5s\"?"]
    {
        assert!(rendered.contains(help), "{help}\n{rendered}");
    }
    assert!(rendered.ends_with("\n9 errors, 1 warning\n"), "{rendered}");
}

/// A file with every kind of syntax the configuration uses.
const RICH: &str = "include = [\"conf.d/*.conf\"]\n[global]\nworkers = \"auto\"\nmax_connections = 1_000\n\
    log = { target = \"stderr\", level = 'debug' }\n# ünïcode €\n[[service]]\nname = \"a\"\n\
    accept = { address = [\"*:1\", \"unix:@é\"], tls = { certificate = [\"a\", \"b\"] } }\n\
    connect = \"h:2\"\r\ntimeout.idle = \"5m\"\nbuffer = 0x10\n[[service]]\nname = \"\"\"b\"\"\"\n\
    [service.accept]\naddress = \"1.2.3.4:5\"\n";

#[test]
fn a_file_cut_anywhere_never_panics() {
    for end in 0..=RICH.len() {
        let cut = String::from_utf8_lossy(&RICH.as_bytes()[..end]);
        let (_, report) = checked(&cut);
        let _ = report.to_string();
    }
}

#[test]
fn a_file_with_any_byte_replaced_never_panics() {
    for at in 0..RICH.len() {
        for byte in *b"\0\n\r\"'[]{}=,.#\\x\xff" {
            let mut bytes = RICH.as_bytes().to_vec();
            bytes[at] = byte;
            let (_, report) = checked(&String::from_utf8_lossy(&bytes));
            let _ = report.to_string();
        }
    }
}

#[test]
fn a_full_service_is_understood() {
    let (settings, report) = checked(
        r#"
global = { workers = 3, shutdown_timeout = "0s", log = { target = "file:log/t.log", level = "error" } }
[[service]]
name = "web"
accept = { address = "*:443", tls = { certificate = ["r.pem", "/e.pem"], client_ca = "ca.pem", min_version = "1.3" } }
connect = { address = ["10.0.0.1:1", "db.example:2"], tls = { ca = "s.pem", server_name = "db" } }
timeout = { handshake = "1s", idle = "1h" }
buffer = 1
truncation = "close"
"#,
    );
    assert!(!report.has_errors(), "{report}");
    assert_eq!(settings.global.workers, 3);
    assert_eq!(settings.global.shutdown_timeout, Duration::ZERO);
    assert_eq!(settings.global.log.target, Target::File("/base/log/t.log".into()));
    assert_eq!(settings.global.log.level, Level::Error);
    let service = &settings.services[0];
    assert_eq!((service.mode, service.buffer, service.truncation), (Mode::Relay, 1, Truncation::Close));
    let hour = Duration::from_secs(3600);
    let second = Duration::from_secs(1);
    assert_eq!(service.timeouts, Timeouts { handshake: second, idle: hour, ..Timeouts::default() });
    let accept = &service.accept_tls.as_ref().unwrap().spec;
    assert_eq!(accept.verify, ClientVerify::Required, "client_ca implies it");
    assert_eq!(accept.client_ca.as_deref(), Some(Path::new("/base/ca.pem")));
    assert_eq!(accept.common.min_version, Some(TlsVersion::Tls13));
    let files: Vec<_> = accept.certificates.iter().map(|files| (&files.certificate, &files.key)).collect();
    assert_eq!(
        files[0],
        (&PathBuf::from("/base/r.pem"), &PathBuf::from("/base/r.pem")),
        "the key is in the same file"
    );
    assert_eq!(files[1].0, Path::new("/e.pem"));
    let connect = &service.connect_tls.as_ref().unwrap().spec;
    assert!(connect.verify, "verification is on by default");
    assert_eq!(connect.server_name.as_deref(), Some("db"));
}

#[test]
fn loading_resolves_names_and_binds_every_address() {
    let text = "[[service]]\nname = \"a\"\naccept = { address = [\"127.0.0.1:0\", \"unix:s\"] }\n\
        connect = { address = [\"localhost:7\", \"127.0.0.1:8\", \"unix:@x\"], tls = { verify = false } }\n\
        [[service]]\nname = \"b\"\nmode = \"demo\"\naccept = \"127.0.0.1:0\"\n";
    let (result, directory) = load_files(&[("tunnel.conf", text.as_bytes())]);
    let config = result.unwrap();
    let addresses: Vec<String> = config.listeners.iter().map(|bind| bind.address.to_string()).collect();
    let socket = format!("unix:{}", directory.path().join("s").display());
    assert_eq!(addresses, ["127.0.0.1:0", &socket, "127.0.0.1:0"]);
    assert!(Arc::ptr_eq(&config.listeners[0].plan, &config.listeners[1].plan), "one plan per service");
    assert_eq!(config.global.workers, 2);
    let service = &config.listeners[0].plan.service;
    let servers = &service.routes[0].upstream.servers;
    assert_eq!(&*servers[0].name, "localhost:7");
    assert_eq!(servers[0].tls_name.as_deref(), Some("localhost"));
    let last: Vec<_> = servers.iter().rev().take(2).map(|server| server.tls_name.as_deref()).collect();
    assert_eq!(last, [None, Some("127.0.0.1")]);
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains(":4:106: warning: service \"a\" does not verify"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn addresses_that_cannot_both_be_bound_name_both_places() {
    for (first, second, message) in [
        ("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1 is listened on twice"),
        ("*:443", "0.0.0.0:443", "0.0.0.0:443 cannot be listened on beside [::]:443"),
        ("10.0.0.1:9", "*:9", "[::]:9 cannot be listened on beside 10.0.0.1:9"),
        ("unix:@a", "unix:@a", "unix:@a is listened on twice"),
    ] {
        let text = format!(
            "[[service]]\nname = \"a\"\nmode = \"demo\"\naccept = \"{first}\"\n\
             [[service]]\nname = \"b\"\nmode = \"demo\"\naccept = \"{second}\"\n"
        );
        let (result, directory) = load_files(&[("tunnel.conf", text.as_bytes())]);
        let heads = headlines(&result.unwrap_err(), &directory);
        assert_eq!(heads[0], format!("tunnel.conf:8:10: error: {message}"));
        assert!(heads[1].starts_with("tunnel.conf:4:10: note: "), "{heads:?}");
    }
}

#[test]
fn included_files_add_services_in_sorted_order() {
    let demo = |name: &str, port: u16| {
        format!(
            "[[service]]\nname = \"{name}\"\nmode = \"demo\"\naccept = {{ address = \"127.0.0.1:{port}\" }}\n"
        )
    };
    let (result, _directory) = load_files(&[
        (
            "tunnel.conf",
            b"include = [\"d/*.conf\", \"d/b.conf\", \"tunnel.conf\", \"none/../d/?x.conf\"]\n" as &[u8],
        ),
        ("d/b.conf", demo("b", 2).as_bytes()),
        ("d/a.conf", demo("a", 1).as_bytes()),
        ("d/a.conf.old", b"nonsense"),
        ("none/x", b""),
    ]);
    let config = result.unwrap_or_else(|report| panic!("{report}"));
    let names: Vec<&str> = config.listeners.iter().map(|bind| &*bind.plan.service.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn errors_of_included_files_are_told_with_those_of_the_main_one() {
    let (result, directory) = load_files(&[
        (
            "tunnel.conf",
            b"include = [\"d/*.conf\", \"gone.conf\", \"*/x.conf\", \"e/*\", \"d/\"]\n[global]\nx = 1\n",
        ),
        ("d/1.conf", b"[global]\nworkers = 1\n"),
        ("d/2.conf", b"include = [\"*.conf\"]\n[[service]]\nnam = \"a\"\n"),
        ("d/3.conf", b"[[service]\n"),
    ]);
    let heads = headlines(&result.unwrap_err(), &directory);
    let expected = [
        "tunnel.conf:1:37: error: wildcards are allowed in the last part of the path only",
        "tunnel.conf:1:49: error: cannot list e: No such file or directory",
        "tunnel.conf:1:56: error: the pattern \"d/\" names a directory",
        "tunnel.conf:3:1: error: unknown key \"x\" in [global]",
        "d/1.conf:1:1: error: `global` is allowed in the main file only",
        "tunnel.conf:1:12: note: this file is included here",
        "d/2.conf:1:11: error: `include` is allowed in the main file only",
        "tunnel.conf:1:12: note: this file is included here",
        "d/2.conf:2:1: error: a service without `name`",
        "d/2.conf:2:1: error: a service has no `accept`",
        "d/2.conf:2:1: error: a service has no `connect`",
        "d/2.conf:3:1: error: unknown key \"nam\" in [[service]]",
    ];
    assert_eq!(heads[..expected.len()], expected, "{heads:#?}");
    assert!(heads[expected.len()].starts_with("d/3.conf:1:"), "{heads:#?}");
    assert_eq!(
        heads[heads.len() - 2..],
        [
            "gone.conf: error: cannot read the file: No such file or directory",
            "tunnel.conf:1:24: note: it is included here"
        ]
    );
}

#[test]
fn files_that_are_no_text_get_one_clear_error() {
    let big = vec![b'#'; 10 << 20];
    for (content, message) in [
        (b"a = \"\0\"\n" as &[u8], "tunnel.conf:1:6: error: a NUL byte: this is not a text file"),
        (b"# ok\na = \"\xff\"\n", "tunnel.conf:2:6: error: the file is not UTF-8"),
        (b"\xff\xfe[\0", "tunnel.conf: error: the file is not UTF-8 but UTF-16"),
        (b"", "tunnel.conf:1:1: error: no [[service]]: there is nothing to do"),
        (&big, "tunnel.conf: error: the file is longer than 4MiB"),
    ] {
        let (result, directory) = load_files(&[("tunnel.conf", content)]);
        assert_eq!(headlines(&result.unwrap_err(), &directory), [message]);
    }
}

#[test]
fn a_byte_order_mark_and_crlf_do_no_harm() {
    let text = format!("\u{feff}{}workers = 1\n", GOOD).replace('\n', "\r\n");
    let (result, directory) = load_files(&[("tunnel.conf", text.as_bytes())]);
    let report = result.unwrap_err();
    assert_eq!(
        headlines(&report, &directory),
        ["tunnel.conf:5:1: error: unknown key \"workers\" in [[service]]"]
    );
    assert!(!report.to_string().contains('\r'));
    let (result, _directory) = load_files(&[("tunnel.conf", text.replace("workers = 1", "").as_bytes())]);
    assert!(result.is_ok());
}

#[test]
fn a_missing_file_and_a_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tunnel.conf");
    let first = |path: &Path| load(path, &context()).unwrap_err().to_string();
    let expected =
        format!("{}: error: cannot read the file: No such file or directory\n1 error\n", path.display());
    assert_eq!(first(&path), expected);
    fs::create_dir(&path).unwrap();
    assert_eq!(
        first(&path),
        format!("{}: error: cannot read the file: it is a directory\n1 error\n", path.display())
    );
    assert!(first(Path::new("/")).contains("it is a directory"));
    assert!(first(Path::new("")).contains("No such file"));
}

#[test]
fn names_are_spelt_as_they_should_be() {
    for (wrong, right) in [
        ("[globl]\n", "help: did you mean `global`?"),
        ("[global]\nmax_conections = 1\n", "help: did you mean `max_connections`?"),
        ("[global]\nidle = \"1s\"\n", "help: `idle` belongs into [[service]] timeout"),
        (
            "[global]\nzebra = 1\n",
            "help: the keys here are `workers`, `max_connections`, `log`, `shutdown_timeout`",
        ),
        ("[global]\nworkers = \"3\"\n", "help: write the number without quotes: workers = 3"),
        ("[global]\nlog.level = \"wraning\"\n", "help: did you mean \"warning\"?"),
        ("[global]\nshutdown_timeout = 30\n", "help: did you mean \"30s\"?"),
    ] {
        let rendered = checked(&format!("{wrong}{GOOD}")).1.to_string();
        assert!(rendered.lines().any(|line| line == right), "{right}\n{rendered}");
    }
}

#[test]
fn what_has_no_effect_is_warned_about() {
    let text = format!(
        "[global]\nlog = {{ target = \"stderr\", socket = \"/x\" }}\n{}",
        GOOD.replace(
            "\"127.0.0.1:1\"",
            "{ address = \"*:1\", tls = { certificate = \"c\", min_version = \"1.3\", ciphers = \"x\" } }"
        )
    );
    let (_, report) = checked(&text);
    assert!(!report.has_errors(), "{report}");
    assert_eq!(
        report.warnings(),
        [
            "t.conf:2:38: warning: `socket` has no effect: the target is not \"syslog\"",
            "t.conf:5:88: warning: `ciphers` are for TLS 1.2, which is switched off"
        ]
    );
}
