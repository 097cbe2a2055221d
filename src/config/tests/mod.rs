// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the configuration as a whole: what is refused, with which words, and that nothing makes it panic.

mod control;
mod layers;
mod refused;
mod refused_health;
mod refused_layers;
mod refused_ways;
mod resolver;

use super::raw::Document;
use super::settings::Settings;
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
    LoadContext {
        workers_available: 2,
        registry: Registry::default(),
        marks: MarkBook::default(),
        tables: Tables::default(),
        quotas: QuotaBook::default(),
        resolver: Current::default(),
        watches: Watches::default(),
        secret: ProcessSecret::of(7),
    }
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

/// A file in which `key` of the table called `title` is the date `value`, and enough around it to be read.
fn with_key(title: &str, key: &str, value: &str) -> String {
    const SERVICE: &str = "[[service]]\nname = \"a\"\n";
    match title {
        "top level" => format!("{key} = {value}\n"),
        "[[service]]" if key == "socks" => format!("{title}\nmode = \"socks\"\n{key} = {value}\n"),
        "[[service]] socks" => format!("{SERVICE}mode = \"socks\"\nsocks = {{ {key} = {value} }}\n"),
        "[[service]]" if key == "reply" => format!("{title}\nmode = \"health\"\n{key} = {value}\n"),
        "[global]" | "[[service]]" => format!("{title}\n{key} = {value}\n"),
        "[control]" | "[resolver]" => format!("{title}\n{key} = {value}\n"),
        "[control] tokens" | "[control] certificates" => {
            let list = title.rsplit(' ').next().unwrap();
            format!("[control]\n{list} = [{{ {key} = {value} }}]\n")
        }
        "[global] log" => format!("[global.log]\n{key} = {value}\n"),
        "[[service.rule]]" | "[[service.route]]" => {
            let action = if key == "reply" { "action = \"reject\"\n" } else { "" };
            format!("{SERVICE}{title}\n{action}{key} = {value}\n")
        }
        "[[service]] limit.bandwidth" | "[[service]] limit.connection_bandwidth" => {
            format!("{SERVICE}[service.{}]\n{key} = {value}\n", title.rsplit(' ').next().unwrap())
        }
        "[[service.server]]" => {
            let address = if key == "address" { "" } else { "address = \"h:1\"\n" };
            format!("{SERVICE}{title}\n{address}{key} = {value}\n")
        }
        "[[service.rule]] client_certificate" | "[[service.rule]] limit" => {
            let table = title.rsplit(' ').next().unwrap();
            // A limit that is read at all has one.
            let one = if table == "limit" && key != "connections" { "connections = 1\n" } else { "" };
            let rule = format!("{SERVICE}[[service.rule]]\naction = \"drop\"\n[service.rule.{table}]\n");
            format!("{rule}{one}{key} = {value}\n")
        }
        _ => {
            let path = title.strip_prefix("[[service]] ").unwrap();
            let side = path.split('.').next().unwrap();
            // The address must be there before anything else of a side is looked at.
            let address = if matches!(side, "accept" | "connect") && (path != side || key != "address") {
                format!("[service.{side}]\naddress = \"h:1\"\n")
            } else {
                String::new()
            };
            let header = if path == side && !address.is_empty() {
                String::new()
            } else {
                format!("[service.{path}]\n")
            };
            format!("{SERVICE}{address}{header}{key} = {value}\n")
        }
    }
}

#[test]
fn every_key_of_the_tables_is_read() {
    for table in TABLES {
        for key in table.keys {
            // A date is the wrong type for every key: whoever reads the key says so.
            let text = with_key(table.title, key, "1979-05-27");
            let report = if *key == "include" {
                load_files(&[("tunnel.conf", text.as_bytes())]).0.unwrap_err()
            } else {
                checked(&text).1
            };
            let rendered = report.to_string();
            let read = rendered.contains(&format!("`{key}` must be ")) && rendered.contains("not a date");
            assert!(read, "{key} of {} is not read:\n{text}\n{rendered}", table.title);
            assert!(!rendered.contains("unknown key"), "{key} of {} is unknown:\n{rendered}", table.title);
        }
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
    assert!(rendered.ends_with("\n8 errors, 1 warning\n"), "{rendered}");
}

/// A file with every kind of syntax the configuration uses.
const RICH: &str = "include = [\"conf.d/*.conf\"]\n[global]\nworkers = \"auto\"\nmax_connections = 1_000\n\
    log = { target = \"stderr\", level = 'debug' }\n# ünïcode €\n[[service]]\nname = \"a\"\n\
    accept = { address = [\"*:1\", \"unix:@é\"], tls = { certificate = [\"a\", \"b\"] } }\n\
    connect = \"h:2\"\r\ntimeout.idle = \"5m\"\nbuffer = 0x10\n[[service]]\nname = \"\"\"b\"\"\"\n\
    [service.accept]\naddress = \"1.2.3.4:5\"\n";

/// The same of proxies, rules and routes.
const LAYERED: &str = "[[service]]\naccept = { address = \"*:1\", proxy_protocol.from = \"::/0\" }\n\
    [[service.rule]]\n\
    limit.rate = \"1/1s\"\nsource = [\"::1\", \"file:x\"]\nsni_regex = '^a\\.b$'\naction = \"reject\"\n\
    [[service.route]]\nsni = \"*.é.test\"\nfallback = \"no-name\"\n\
    connect = { address = \"*:1\", send_proxy = { version = \"v2\", tlvs = [] } }\n";

#[test]
fn a_file_cut_anywhere_never_panics() {
    for text in [RICH, LAYERED] {
        for end in 0..=text.len() {
            let cut = String::from_utf8_lossy(&text.as_bytes()[..end]);
            let (_, report) = checked(&cut);
            let _ = report.to_string();
        }
    }
}

#[test]
fn a_file_with_any_byte_replaced_never_panics() {
    for text in [RICH, LAYERED] {
        for at in 0..text.len() {
            for byte in *b"\0\n\r\"'[]{}=,.#\\x\xff" {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = byte;
                let (_, report) = checked(&String::from_utf8_lossy(&bytes));
                let _ = report.to_string();
            }
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
    assert_eq!((service.mode.name, service.buffer, service.truncation), ("relay", 1, Truncation::Close));
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
    let connect = &service.connect.as_ref().unwrap().tls.as_ref().unwrap().spec;
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
        config.warnings[0].contains(":4:83: warning: service \"a\" does not verify"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_name_that_does_not_resolve_is_told_where_it_stands() {
    // A zone that does not exist fails without asking anybody.
    let text = GOOD.replace("127.0.0.1:2", "[fe80::1%nosuch0]:2");
    let (result, directory) = load_files(&[("tunnel.conf", text.as_bytes())]);
    let heads = headlines(&result.unwrap_err(), &directory);
    assert_eq!(heads.len(), 1);
    assert!(
        heads[0].starts_with("tunnel.conf:4:11: error: cannot resolve \"fe80::1%nosuch0\": "),
        "{heads:?}"
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
    let big = vec![b'#'; (64 << 20) + 1];
    for (content, message) in [
        (b"a = \"\0\"\n" as &[u8], "tunnel.conf:1:6: error: a NUL byte: this is not a text file"),
        (b"# ok\na = \"\xff\"\n", "tunnel.conf:2:6: error: the file is not UTF-8"),
        (b"\xff\xfe[\0", "tunnel.conf: error: the file is not UTF-8 but UTF-16"),
        (b"", "tunnel.conf:1:1: error: no [[service]]: there is nothing to do"),
        (&big, "tunnel.conf: error: the file is longer than 64MiB"),
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
            "t.conf:2:37: warning: `socket` has no effect: the target is not \"syslog\"",
            "t.conf:5:87: warning: `ciphers` are for TLS 1.2, which is switched off"
        ]
    );
    let route = "[[service.route]]\nsni = [\"a\"]\n";
    let (_, report) = checked(&format!("{GOOD}{route}connect = \"h:1\"\n{route}action = \"reject\"\n"));
    assert_eq!(report.warnings(), ["t.conf:4:11: warning: `connect` has no effect: no route goes there"]);
    assert!(checked(&format!("{GOOD}{route}")).1.warnings().is_empty());
}

/// A file of the project.
fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_sample_switched_on_is_good() {
    let switched_on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned() + "\n",
        _ => "\n".to_owned(),
    };
    let text: String = document("tunnel.conf").lines().map(switched_on).collect();
    let (settings, report) = checked(&text);
    assert!(!report.has_errors(), "{report}");
    assert!(settings.services.len() > 5);
}

#[test]
fn the_examples_of_the_manual_are_good() {
    let manual = document("man/tunnel.conf.5");
    let (_, examples) = manual.split_once(".Sh EXAMPLES").unwrap();
    let blocks = examples.split(".Bd -literal -offset indent\n").skip(1);
    let mut seen = 0;
    for block in blocks.filter_map(|block| block.split(".Ed").next()) {
        let (_, report) = checked(&block.replace("\\e", "\\"));
        assert!(!report.has_errors(), "{block}\n{report}");
        seen += 1;
    }
    assert!(seen > 5, "{seen} examples");
}
