// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ways to servers that are refused: proxies, chains, mode "socks", and what TLS takes from clients. Each mistake is told
//! once, at its place.

use super::checked;

/// What is wrong, and "line:column: error: message".
type Bad = (&'static str, &'static str);

/// The `proxy` of a `connect` to "h:1".
const PROXIES: &[Bad] = &[
    ("true", "4:38: error: `proxy` must be a table, not a boolean"),
    ("{ address = \"p:1\" }", "4:38: error: `proxy` does not say what it speaks"),
    ("{ kind = \"socks4\", address = \"p:1\" }", "4:47: error: unknown kind \"socks4\""),
    ("{ kind = \"http\" }", "4:38: error: `proxy` has no `address`"),
    ("{ kind = \"http\", address = \"p\" }", "4:65: error: the address \"p\" has no port"),
    (
        "{ kind = \"http\", address = \"*:1\" }",
        "4:65: error: the proxy must have an address of its own, not the one a client names",
    ),
    ("{ kind = \"http\", address = \"p:1\", user = \"u\" }", "4:79: error: `user` without a `password_file`"),
    (
        "{ kind = \"http\", address = \"p:1\", password_file = \"f\" }",
        "4:88: error: `password_file` without a `user`",
    ),
    (
        "{ kind = \"http\", address = \"p:1\", user = \"a:b\", password_file = \"f\" }",
        "4:79: error: `user` has a colon, which ends a name in HTTP (RFC 7617)",
    ),
    (
        "{ kind = \"socks5\", address = \"p:1\", user = \"\", password_file = \"f\" }",
        "4:81: error: `user` must have 1 to 255 bytes",
    ),
    (
        "{ kind = \"http\", address = \"p:1\", port = 2 }",
        "4:72: error: unknown key \"port\" in [[service]] connect.proxy",
    ),
];

/// A whole `connect`.
const CONNECTS: &[Bad] = &[
    (
        r#"{ address = "unix:x", proxy = { kind = "http", address = "p:1" } }"#,
        "4:23: error: a unix socket cannot be reached through a proxy",
    ),
    (
        r#"{ address = "h:1", expand = 2, proxy = { kind = "http", address = "p:1" } }"#,
        "4:39: error: `expand` where `connect` goes through a `proxy`",
    ),
    (
        r#"{ proxy = { kind = "http", address = "p:1" } }
[[service.server]]
address = "h:1"
expand = 2"#,
        "7:10: error: `expand` where `connect` goes through a `proxy`",
    ),
    (
        r#"{ address = "h:1", send_proxy = { version = "v1", confirm = true } }"#,
        "4:71: error: `confirm` with version 1, in which nothing can be asked for",
    ),
    (
        r#"{ address = "h:1", send_proxy = { version = "v2", confirm = true }, tls = true }"#,
        "4:43: error: `confirm` beside `tls`: what is confirmed comes ahead of TLS, and bare",
    ),
    (r#"{ address = "*:*" }"#, r#"4:23: error: "*:*", but no client ever names a port"#),
    (r#"{ address = "h:1", names = ["a"] }"#, r#"4:38: error: `names` without an address "*:PORT""#),
    (r#"{ address = "h:1", ports = [1] }"#, r#"4:38: error: `ports` without an address "*:*""#),
    (r#"{ address = "h:1", tls = { sni = "mine" } }"#, r#"4:44: error: unknown sni "mine""#),
    (
        r#"{ address = "h:1", tls = { sni = "client" } }"#,
        "4:44: error: the name of the client is to be asked for, but no name is ever known",
    ),
    (
        r#"{ address = "h:1", tls = { alpn = "client" } }"#,
        "4:45: error: the protocol of the client is to be asked for, but none is ever agreed on with clients",
    ),
    (
        r#"{ address = "h:1", tls = { alpn = "h2" } }"#,
        "4:45: error: `alpn` must be a list of strings, not a string",
    ),
    (
        r#"{ address = "h:1", tls = { pin = "sha1//xyz" } }"#,
        r#"4:44: error: "sha1//xyz" is not the SHA-256 of a key"#,
    ),
    (
        r#"{ address = "h:1", tls = { pin = ["sha256//AAAA"] } }"#,
        r#"4:45: error: "sha256//AAAA" is not the SHA-256 of a key"#,
    ),
    (r#"{ address = "h:1", tls = { pin = [] } }"#, "4:44: error: `pin` must not be empty"),
    (r#"{ address = "h:1", tls = { key_log = "" } }"#, "4:48: error: `key_log` must not be empty"),
];

/// A service in mode "socks", behind its name.
const SOCKS: &[Bad] = &[
    ("connect = \"h:1\"", "5:11: error: in mode \"socks\" the client says where it goes"),
    ("connect = \"*:443\"\npeek = \"http\"", "5:11: error: in mode \"socks\" the client says where it goes"),
    (
        "connect = { address = \"*:*\", tls = true }",
        "5:36: error: `tls` in mode \"socks\": what is spoken with the server is the client's matter",
    ),
    (
        "connect = { address = \"*:*\", send_proxy = \"v1\" }",
        "5:23: error: `send_proxy` in mode \"socks\": what is spoken with the server is the client's matter",
    ),
    ("connect = { address = \"*:*\", ports = [0] }", "5:39: error: `ports` must be between 1 and 65535"),
    ("connect = { address = \"*:*\", ports = [\"9-8\"] }", "5:39: error: \"9-8\" is no range of ports"),
    ("connect = { address = \"*:*\", ports = [] }", "5:38: error: `ports` must not be empty"),
    (
        "connect = { address = \"*:*\", names = [\"a b\"] }",
        "5:39: error: \"a b\" is not a host name: it has a ' '",
    ),
    ("connect = \"*:*\"\nsocks = { user = \"x\" }", "6:11: error: unknown key \"user\" in [[service]] socks"),
    ("connect = \"*:*\"\nsocks = \"users\"", "6:9: error: `socks` must be a table, not a string"),
];

/// A service that is asked to confirm, behind its name.
const CONFIRMS: &[Bad] = &[
    (
        "accept = { address = \"unix:a\", proxy_protocol = { confirm = true }, tls = { certificate = \"c\" } }\n\
         connect = \"h:1\"",
        "3:49: error: `confirm`, but TLS is terminated here: service \"a\" must reach its server before it reads",
    ),
    (
        "accept = { address = \"unix:a\", proxy_protocol = { confirm = true } }\npeek = \"http\"\n\
         connect = \"h:1\"",
        "3:49: error: `confirm`, but the name that routes is what the client says first: service \"a\" must reach its \
         server before it reads",
    ),
    (
        "accept = { address = \"unix:a\", proxy_protocol = { confirm = true } }\nmode = \"socks\"\nconnect = \"*:*\"",
        "3:49: error: `confirm`, but in this mode the client says first where it goes: service \"a\" must reach its \
         server before it reads",
    ),
    (
        "accept = { address = \"unix:a\", proxy_protocol = { confirm = 1 } }\nconnect = \"h:1\"",
        "3:61: error: `confirm` must be true or false, not an integer",
    ),
];

#[test]
fn each_mistake_is_told_once_at_its_place() {
    let service = |text: &str| format!("[[service]]\nname = \"a\"\n{text}\n");
    let relay = |connect: &str| service(&format!("accept = \"127.0.0.1:1\"\nconnect = {connect}"));
    let all = [
        (
            PROXIES,
            &(|text: &str| relay(&format!("{{ address = \"h:1\", proxy = {text} }}")))
                as &dyn Fn(&str) -> String,
        ),
        (CONNECTS, &|text| relay(text)),
        (SOCKS, &|text| service(&format!("accept = \"127.0.0.1:1\"\nmode = \"socks\"\n{text}"))),
        (CONFIRMS, &|text| service(text)),
    ];
    let mut wrong = Vec::new();
    for (list, whole) in all {
        for (text, expected) in list {
            let text = whole(text);
            let (_, report) = checked(&text);
            if report.errors() != [format!("t.conf:{expected}")] {
                wrong.push(format!("{text}\nexpected {expected}\ngot\n{report}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

#[test]
fn what_is_known_of_clients_may_be_asked_of_servers() {
    for text in [
        "accept = { address = \"*:1\", tls = { certificate = \"c\", alpn = [\"h2\"] } }\n\
         connect = { address = \"h:1\", tls = { sni = \"client\", alpn = \"client\" } }",
        "accept = { address = \"unix:a\", proxy_protocol = {} }\n\
         connect = { address = \"h:1\", tls = { sni = \"client\", alpn = \"client\" } }",
        "accept = \"*:1\"\npeek = \"http\"\nconnect = { address = \"h:1\", tls = { sni = \"client\" } }",
        "accept = { address = \"unix:a\", proxy_protocol = { confirm = true } }\npeek = \"none\"\n\
         [[service.route]]\nsni = [\"a.test\"]\nconnect = \"h:1\"",
    ] {
        let (_, report) = checked(&format!("[[service]]\nname = \"a\"\n{text}\n"));
        assert!(!report.has_errors(), "{text}\n{report}");
    }
}
