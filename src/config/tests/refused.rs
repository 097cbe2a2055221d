// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that are refused, each with the first line of what is said about it.

use super::{GOOD, checked};

/// What stands before the service (so the line is 2), and what is said about it.
const BAD_GLOBALS: &[(&str, &str)] = &[
    ("worker = 1", "1: error: unknown key \"worker\" in [global]"),
    ("idle = \"1s\"", "1: error: unknown key \"idle\" in [global]"),
    ("workers = 0", "11: error: `workers` must be between 1 and 128"),
    ("workers = -1", "11: error: `workers` must be between 1 and 128"),
    ("workers = 99999999999999999999", "11: error: `workers` must be between 1 and 128"),
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

/// What `[control]` says (so the line is 2), and what is said about it.
const BAD_CONTROLS: &[(&str, &str)] = &[
    ("sokcet = \"/run/t\"", "1: error: unknown key \"sokcet\" in [control]"),
    ("level = \"info\"", "1: error: unknown key \"level\" in [control]"),
    ("socket = 1", "10: error: `socket` must be a string, not an integer"),
    ("socket = \"\"", "10: error: `socket` must not be empty"),
    ("socket = \"unix:/run/t\"", "10: error: `socket` is a path, without `unix:`"),
    ("socket = \"unix:@t\"", "10: error: `socket` is a path, without `unix:`"),
    ("mode = 0o600", "8: error: `mode` must be a string, not an integer"),
    ("mode = \"\"", "8: error: \"\" is not a mode"),
    ("mode = \"rw\"", "8: error: \"rw\" is not a mode"),
    ("mode = \"0680\"", "8: error: \"0680\" is not a mode"),
    ("mode = \"+600\"", "8: error: \"+600\" is not a mode"),
    ("mode = \"1777\"", "8: error: \"1777\" is not a mode"),
    ("mode = \"77777777777777\"", "8: error: \"77777777777777\" is not a mode"),
    ("group = 4", "9: error: `group` must be a string, not an integer"),
    ("group = \"\"", "9: error: \"\" is no name"),
    ("admin = []", "9: error: `admin` must not be empty"),
    ("admin = [1000]", "10: error: `admin` must be a string, not an integer"),
    ("operate = [\"a\", \"@\"]", "17: error: \"@\" is no name"),
    ("http = 9180", "8: error: `http` must be a string, not an integer"),
    ("http = \"127.0.0.1\"", "8: error: the address \"127.0.0.1\" has no port"),
    ("http = \"localhost:80\"", "8: error: `http` must be an address in numbers, not \"localhost:80\""),
    ("http = \"unix:/run/t\"", "8: error: `http` must be an address in numbers, not \"unix:/run/t\""),
    ("hosts = \"a.example:80\"", "9: error: \"a.example:80\" is not a host name"),
    ("hosts = [\"a b\"]", "10: error: \"a b\" is not a host name"),
    ("tokens = \"secret\"", "10: error: `tokens` must be a list of tables, not a string"),
    ("tokens = [\"secret\"]", "11: error: `tokens` must be a table, not a string"),
    ("tokens = [{}]", "11: error: an entry of `tokens` without `file`"),
    ("tokens = [{ file = \"t\" }]", "11: error: an entry of `tokens` without `level`"),
    ("tokens = [{ level = \"read\" }]", "11: error: an entry of `tokens` without `file`"),
    ("tokens = [{ file = \"t\", level = \"root\" }]", "33: error: unknown level \"root\""),
    ("tokens = [{ fiel = \"t\", level = \"read\" }]", "13: error: unknown key \"fiel\" in [control] tokens"),
    ("certificates = [{ cn = \"\", level = \"read\" }]", "24: error: `cn` must not be empty"),
    ("certificates = [{ cn = \"a\", level = 1 }]", "37: error: `level` must be a string, not an integer"),
    (
        "certificates = [{ cm = \"a\", level = \"read\" }]",
        "19: error: unknown key \"cm\" in [control] certificates",
    ),
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
    ("x y = 1", "3: error: key with no value, expected `=`"),
    ("mode = relay", "8: error: string values must be quoted"),
    ("mode = \"relay", "14: error: the string has no closing quote"),
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
    ("{ address = \"*:1\", starttls = \"impa\" }", "40: error: unknown starttls \"impa\""),
    ("{ address = \"*:1\", starttls = true }", "40: error: `starttls` must be a string, not a boolean"),
    (
        "{ address = \"*:1\", starttls = \"imap\" }",
        "40: error: `starttls` without `tls`: there is nothing to go on to",
    ),
    ("{ address = \"*:1\", tls = {} }", "35: error: `accept.tls` has no `certificate`"),
];

/// `accept.tls` of a service that is good otherwise (so the line is 3), and what is said about it.
const BAD_ACCEPT_TLS: &[(&str, &str)] = &[
    ("certificate = \"\"", "51: error: `certificate` must not be empty"),
    ("certificate = 1", "51: error: `certificate` must be a string or a list of strings, not an integer"),
    ("certificate = [\"a\", \"b\"], key = \"k\"", "69: error: 1 of `key` for 2 of `certificate`"),
    ("key = \"k\"", "35: error: `accept.tls` has no `certificate`"),
    ("certificate = \"a\", min_version = \"1.1\"", "70: error: unknown min_version \"1.1\""),
    ("certificate = \"a\", min_version = 1.2", "70: error: `min_version` must be a string, not a float"),
    (
        "certificate = \"a\", min_version = \"1.3\", max_version = \"1.2\"",
        "70: error: `min_version` is above `max_version`",
    ),
    ("certificate = \"a\", ciphers = \"\"", "66: error: `ciphers` must not be empty"),
    ("certificate = \"a\", alpn = \"h2\"", "63: error: `alpn` must be a list of strings, not a string"),
    ("certificate = \"a\", alpn = [\"h2\", \"h2\"]", "70: error: \"h2\" stands in `alpn` twice"),
    (
        "certificate = \"a\", verify = \"required\"",
        "65: error: `verify` without a `client_ca` to verify against",
    ),
    ("certificate = \"a\", verify = true", "65: error: `verify` must be a string, not a boolean"),
    (
        "certificate = \"a\", client_ca = \"c\", verify = \"none\"",
        "82: error: `verify` is \"none\", yet there is a `client_ca`",
    ),
    (
        "certificate = \"a\", server_name = \"n\"",
        "56: error: unknown key \"server_name\" in [[service]] accept.tls",
    ),
];

/// `connect` of a service that is good otherwise (so the line is 4), and what is said about it.
const BAD_CONNECTS: &[(&str, &str)] = &[
    ("\"*:80\"", "11: error: this connects to the name a client asks for, but no name is ever known"),
    ("\"0.0.0.0:80\"", "11: error: cannot connect to the wildcard \"0.0.0.0:80\""),
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
    (
        "{ address = \"h:1\", starttls = \"imap\" }",
        "41: error: `starttls` without `tls`: there is nothing to go on to",
    ),
    (
        "{ address = \"h:1\", opportunistic = true, tls = true }",
        "46: error: `opportunistic` without `starttls`",
    ),
    (
        "{ address = \"h:1\", starttls = \"xmpp\", opportunistic = true, tls = true }",
        "65: error: \"xmpp\" has no way to go on in clear once TLS was declined",
    ),
    ("{ address = \"unix:s\", tls = true }", "23: error: a unix socket has no name that TLS could verify"),
];

/// Whole files, and what is said about them.
const BAD_FILES: &[(&str, &str)] = &[
    (
        "[[service]]\nname = \"a\"\naccept = { address = \"*:1\", starttls = \"imap\", tls = { certificate = \"c\" } }\n\
         connect = { address = \"h:1\", starttls = \"smtp\", tls = true }",
        "4:41: error: the server speaks \"smtp\", its clients \"imap\"",
    ),
    ("", "1:1: error: no [[service]]: there is nothing to do"),
    ("# nothing\n", "1:1: error: no [[service]]: there is nothing to do"),
    ("service = []\n", "1:1: error: no [[service]]: there is nothing to do"),
    ("[service]\nname = \"a\"\n", "1:1: error: `service` must be a list of tables, not a table"),
    ("service = [1]\n", "1:12: error: `service` must be a table, not an integer"),
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
    let mut wrong = Vec::new();
    let mut refused = |text: String, expected: String| {
        let (_, report) = checked(&text);
        let rendered = report.to_string();
        let first = rendered.lines().find(|line| line.contains(": error: ")).unwrap_or("nothing");
        // The parser's own words may go on after ours.
        let same = first == expected
            || (expected.len() > 20 && first.starts_with(&expected) && is_syntax(&expected));
        tried += 1;
        if !same {
            wrong.push(format!("{text}\nexpected {expected}\ngot\n{rendered}"));
        }
    };
    for (line, message) in BAD_GLOBALS {
        refused(format!("[global]\n{line}\n{GOOD}"), format!("t.conf:2:{message}"));
    }
    for (line, message) in BAD_CONTROLS {
        refused(format!("[control]\n{line}\n{GOOD}"), format!("t.conf:2:{message}"));
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
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
    assert!(tried >= 60, "only {tried} files");
}

/// What newcomers write, and what they are told to write instead.
#[test]
fn a_newcomer_is_told_what_to_write() {
    for (text, help) in [
        (
            "[web]\naccept = \"*:1\"\n".to_owned(),
            "a service is written [[service]], with name = \"web\" in it",
        ),
        (GOOD.replace("127.0.0.1:1\"", "993\""), "for that port on every address of this host write `*:993`"),
        (GOOD.replace("127.0.0.1:2\"", "993\""), "for that port on this host write `127.0.0.1:993`"),
        (format!("[global]\nlog = {{ target = \"/var/t\" }}\n{GOOD}"), "for a file write \"file:/var/t\""),
        (
            GOOD.replace("\"127.0.0.1:1\"", "{ address = \"*:1\", proxy_protocol = true }"),
            "as in { from = [\"10.0.0.0/8\"] }",
        ),
    ] {
        let told = checked(&text).1.to_string();
        assert!(told.lines().any(|line| line.starts_with("help: ") && line.contains(help)), "{text}\n{told}");
    }
}

/// Whether a message begins with words of the TOML parser, of which only the beginning is compared.
fn is_syntax(message: &str) -> bool {
    ["string values must be quoted", "invalid basic string"]
        .iter()
        .any(|words| message.contains(&format!("error: {words}")))
}

#[test]
fn servers_that_cannot_be() {
    let service = "[[service]]\nname = \"a\"\naccept = \"127.0.0.1:1\"\n";
    let cases = [
        ("server = [{ weight = 1 }]", "a server without `address`"),
        ("server = [{ address = \"10.0.0.1\" }]", "the address \"10.0.0.1\" has no port"),
        ("server = [{ address = \"*:443\" }]", "\"*:443\" is no server"),
        ("server = [{ address = \"h:1\" }, { address = \"h:1\" }]", "a second server with the name \"h:1\""),
        ("server = [{ address = \"h:1\", name = \"a b\" }]", "\"a b\" cannot be the name of a server"),
        ("server = [{ address = \"h:1\", weight = 257 }]", "`weight` must be"),
        ("server = [{ address = \"h:1\", max_connections = 0 }]", "`max_connections` must be"),
        ("server = [{ address = \"h:1\", slow_start = \"0s\" }]", "`slow_start` must be"),
        ("server = [{ address = \"h:1\" }]\nconnect = \"h:2\"", "addresses in `connect` beside"),
        (
            "server = [{ address = \"unix:s\" }]\nconnect = { tls = true }",
            "has no name that TLS could verify",
        ),
        ("connect = \"h:1\"\nbalance = \"fastest\"", "unknown balance \"fastest\""),
        ("connect = \"h:1\"\nretries = -1", "`retries` must be"),
        ("connect = \"h:1\"\nqueue = {}", "`queue` says nothing"),
        ("connect = \"h:1\"\nqueue = { timeout = 5 }", "`timeout` must be"),
        ("connect = { tls = true }", "`connect` has no `address`"),
        ("mode = \"demo\"\nserver = [{ address = \"h:1\" }]", "answers by itself and has no `server`"),
    ];
    for (text, expected) in cases {
        let rendered = checked(&format!("{service}{text}\n")).1.to_string();
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(!rendered.contains("panicked"), "{rendered}");
    }
}
