// SPDX-License-Identifier: MIT OR Apache-2.0
//! Proxies, rules and routes that are refused: each mistake is told once, at its place.

use super::{GOOD, checked};

/// What is wrong, and "line:column: error: message".
type Bad = (&'static str, &'static str);

/// What stands behind a good service.
const SERVICE_KEYS: &[Bad] = &[
    (r#"peek = "sni""#, r#"5:8: error: unknown peek "sni""#),
    ("peek = true", "5:8: error: `peek` must be a string, not a boolean"),
    (r#"reply = "ok""#, r#"5:9: error: `reply` goes with mode = "health" only"#),
    ("monitor = true", "5:11: error: `monitor` must be a table, not a boolean"),
    ("monitor = {}", "5:11: error: `monitor` has no `source`"),
    (r#"monitor = { reply = "ok" }"#, "5:11: error: `monitor` has no `source`"),
    ("monitor = { source = [] }", "5:22: error: `source` must not be empty"),
    (
        r#"monitor = { source = ["10.0.0.0/8"], reply = "" }"#,
        "5:46: error: `reply` must have 1 to 4096 bytes, not 0",
    ),
    (
        r#"monitor = { source = ["10.0.0.0/8"], reply = "http-500" }"#,
        r#"5:46: error: unknown reply "http-500""#,
    ),
    (
        r#"monitor = { source = ["10.0.0.0/8"], reply = "a\u0007" }"#,
        r#"5:46: error: `reply` must not have control characters but \r, \n and \t"#,
    ),
    (
        r#"monitor = { sources = ["10.0.0.0/8"] }"#,
        r#"5:13: error: unknown key "sources" in [[service]] monitor"#,
    ),
    (r#"timeout = { tarpit = "0s" }"#, "5:22: error: `tarpit` must be between 1ms and 365d"),
    ("limit = 7", "5:9: error: `limit` must be a table, not an integer"),
    ("limit = {}", "5:9: error: `limit` without a limit"),
    (
        r#"limit = { max_conections = 7 }"#,
        r#"5:11: error: unknown key "max_conections" in [[service]] limit"#,
    ),
    ("limit = { max_connections = 0 }", "5:29: error: `max_connections` must be between 1 and 10000000"),
    ("limit = { rate = 100 }", "5:18: error: `rate` must be a string, not an integer"),
    (r#"limit = { rate = "100/s" }"#, r#"5:18: error: "100/s" does not say how many "s""#),
    (r#"limit = { rate = "0/1s" }"#, "5:18: error: the number of `rate` must be between 1 and 1000000000"),
    ("limit = { bandwidth = 7 }", "5:23: error: `bandwidth` must be a table, not an integer"),
    ("limit = { bandwidth = {} }", "5:23: error: `bandwidth` without a direction"),
    (
        r#"limit = { connection_bandwidth = { in = "1MiB/1s" } }"#,
        r#"5:36: error: unknown key "in" in [[service]] limit.connection_bandwidth"#,
    ),
    (r#"limit = { bandwidth = { up = "1MiB/1ns" } }"#, r#"5:30: error: "1ns" is not a duration"#),
    (r#"limit = { lifetime = "1ms" }"#, "5:22: error: `lifetime` must be between 100ms and 365d"),
    (r#"limit = { lifetime_jitter = "1s" }"#, "5:29: error: `lifetime_jitter` without `lifetime`"),
    (
        r#"limit = { lifetime = "1s", lifetime_jitter = "1s" }"#,
        "5:46: error: `lifetime_jitter` must be shorter than `lifetime`",
    ),
    ("rule = {}", "5:8: error: `rule` must be a list of tables, not a table"),
    ("route = []", "5:9: error: `route` must not be empty"),
    ("[service.route]\nsni = [\"a\"]", "5:1: error: `route` must be a list of tables, not a table"),
    ("route = [1]", "5:10: error: `route` must be a table, not an integer"),
];

/// A rule of a good service.
const RULES: &[Bad] = &[
    ("", "5:1: error: a rule without `action`"),
    (r#"acton = "drop""#, r#"6:1: error: unknown key "acton" in [[service.rule]]"#),
    (r#"action = "deny""#, r#"6:10: error: unknown action "deny""#),
    (
        "action = \"accept\"\nsources = [\"10.0.0.0/8\"]",
        r#"7:1: error: unknown key "sources" in [[service.rule]]"#,
    ),
    ("action = \"drop\"\nhost = [\"a\"]", r#"7:1: error: unknown key "host" in [[service.rule]]"#),
    ("action = \"drop\"\nsource = []", "7:10: error: `source` must not be empty"),
    ("action = \"drop\"\nsource = \"everybody\"", r#"7:10: error: "everybody" is not a network"#),
    (
        "action = \"drop\"\nsource = [\"10.0.0.1/8\"]",
        r#"7:11: error: "10.0.0.1/8" has bits beyond its prefix of 8"#,
    ),
    ("action = \"drop\"\nsource = [\"10.0.0.0/33\"]", r#"7:11: error: "10.0.0.0/33" is not a network"#),
    ("action = \"drop\"\nsource = [\"2001:db8::/129\"]", r#"7:11: error: "2001:db8::/129" is not a network"#),
    ("action = \"drop\"\nsource = [10]", "7:11: error: `source` must be a string, not an integer"),
    ("action = \"drop\"\nsource = [\"file:\"]", r#"7:11: error: "file:" has no path"#),
    ("action = \"drop\"\nsni = []", "7:7: error: `sni` must not be empty"),
    ("action = \"drop\"\nsni = [\"a b\"]", r#"7:8: error: "a b" is not a host name: it has a ' '"#),
    (
        "action = \"drop\"\nsni = [\"a.*.example\"]",
        r#"7:8: error: "a.*.example": a "*" stands only in front of a whole name, as in "*.example.org""#,
    ),
    (
        "action = \"drop\"\nsni = [\"a.example\", \"A.example.\"]",
        r#"7:21: error: "A.example." stands in `sni` twice"#,
    ),
    ("action = \"drop\"\nsni_regex = [\"(\"]", "7:14: error: not a regular expression: unclosed group"),
    ("action = \"drop\"\nalpn = \"h2\"", "7:8: error: `alpn` must be a list of strings, not a string"),
    ("action = \"drop\"\nalpn = []", "7:8: error: `alpn` must not be empty"),
    (
        "action = \"drop\"\nclient_certificate = { present = true }",
        "7:22: error: `client_certificate`, but no client is ever asked for one",
    ),
    ("action = \"drop\"\nlimit = 20", "7:9: error: `limit` must be a table, not an integer"),
    ("action = \"drop\"\nlimit = {}", "7:9: error: `limit` without a limit"),
    ("action = \"drop\"\nlimit = { prefix_v4 = 24 }", "7:9: error: `limit` without a limit"),
    (
        "action = \"drop\"\nlimit = { connections = 0 }",
        "7:25: error: `connections` must be between 1 and 10000000",
    ),
    (
        "action = \"drop\"\nlimit = { connections = \"20\" }",
        "7:25: error: `connections` must be a number, not a string",
    ),
    ("action = \"drop\"\nlimit = { rate = 100 }", "7:18: error: `rate` must be a string, not an integer"),
    ("action = \"drop\"\nlimit = { rate = \"100\" }", r#"7:18: error: "100" is not a rate"#),
    ("action = \"drop\"\nlimit = { rate = \"100/s\" }", r#"7:18: error: "100/s" does not say how many "s""#),
    (
        "action = \"drop\"\nlimit = { rate = \"0/1s\" }",
        "7:18: error: the number of `rate` must be between 1 and 1000000000",
    ),
    (
        "action = \"drop\"\nlimit = { rate = \"1/2d\" }",
        "7:18: error: the time of `rate` must be between 1ms and 1d",
    ),
    ("action = \"drop\"\nlimit = { rate = \"10/10\" }", r#"7:18: error: the duration "10" has no unit"#),
    (
        "action = \"drop\"\nlimit = { bytes = \"10MB/1s\" }",
        r#"7:19: error: the unit of "10MB" may mean 1000 or 1024"#,
    ),
    (
        "action = \"drop\"\nlimit = { bytes = \"0B/1s\" }",
        "7:19: error: the size of `bytes` must be between 1B and 1048576GiB",
    ),
    (
        "action = \"drop\"\nlimit = { rate = \"1/1s\", prefix_v4 = 33 }",
        "7:38: error: `prefix_v4` must be between 0 and 32",
    ),
    (
        "action = \"drop\"\nlimit = { rate = \"1/1s\", prefix_v6 = 129 }",
        "7:38: error: `prefix_v6` must be between 0 and 128",
    ),
    (
        "action = \"drop\"\nlimit = { rate = \"1/1s\", sources = 0 }",
        "7:36: error: `sources` must be between 1 and 16000000",
    ),
    (
        "action = \"accept\"\nlimit = { rate = \"1/1s\" }",
        r#"7:9: error: `limit` beside action = "accept": a limit only refuses"#,
    ),
    ("action = \"accept\"\nreply = \"ok\"", r#"7:9: error: `reply` goes with action = "reject" only"#),
    ("action = \"drop\"\nreply = \"http-403\"", r#"7:9: error: `reply` goes with action = "reject" only"#),
    ("action = \"tarpit\"\nreply = \"http-403\"", r#"7:9: error: `reply` goes with action = "reject" only"#),
    (
        "action = \"reject\"\nreply = \"http-403\"\nsni = [\"a\"]",
        "7:9: error: `reply` on a service for TLS: its clients would not understand it",
    ),
    ("action = \"drop\"\ntarpit = \"1m\"", r#"7:1: error: unknown key "tarpit" in [[service.rule]]"#),
    ("name = \"a b\"\naction = \"drop\"", r#"6:8: error: "a b" cannot be the name of a rule"#),
    (
        "name = \"a\"\naction = \"drop\"\n[[service.rule]]\nname = \"a\"\naction = \"drop\"",
        r#"9:8: error: a second rule with the name "a" in this service"#,
    ),
];

/// A rule of a service whose clients may have a certificate.
const CERTIFICATE_RULES: &[Bad] = &[
    (
        "action = \"drop\"\nclient_certificate = true",
        "7:22: error: `client_certificate` must be a table, not a boolean",
    ),
    ("action = \"drop\"\nclient_certificate = {}", "7:22: error: `client_certificate` without any condition"),
    (
        "action = \"drop\"\nclient_certificate = { cn = \"a*b\" }",
        r#"7:29: error: "a*b" may have one `*` only, at its beginning or at its end"#,
    ),
    (
        "action = \"drop\"\nclient_certificate = { present = false, cn = [\"a\"] }",
        "7:46: error: `cn` of a certificate that must not be there",
    ),
    (
        "action = \"drop\"\nclient_certificate = { fingerprint = [\"00:11\"] }",
        r#"7:39: error: "00:11" is not the SHA-256 hash of a certificate in hex, 64 digits"#,
    ),
    (
        "action = \"drop\"\nclient_certificate = { email = [\"a\"] }",
        r#"7:24: error: unknown key "email" in [[service.rule]] client_certificate"#,
    ),
];

/// A route of a good service, and more.
const ROUTES: &[Bad] = &[
    ("", r#"5:1: error: route "route-1" does not say whom it takes"#),
    (r#"name = "x""#, r#"5:1: error: route "x" does not say whom it takes"#),
    ("sni = []", "6:7: error: `sni` must not be empty"),
    ("sni = [\"a\"]\nsnis = [\"b\"]", r#"7:1: error: unknown key "snis" in [[service.route]]"#),
    (r#"sni = ["a..b"]"#, r#"6:8: error: "a..b" is not a host name: a label is empty"#),
    (
        r#"sni = ["*"]"#,
        r#"6:8: error: "*" is no name: for every name that no route takes write fallback = ["no-name", "unknown-name"]"#,
    ),
    (r#"sni = ["a\u0000b"]"#, "6:8: error: `sni` must not have control characters"),
    (r#"sni_regex = ["[a-"]"#, "6:14: error: not a regular expression: unclosed character class"),
    (r#"sni_regex = ["a)|(b"]"#, "6:14: error: not a regular expression: unopened group"),
    ("sni = [\"a\"]\nhost = [\"b\"]", "7:8: error: `host` beside `sni`: no client has both"),
    (
        "host = [\"a\"]\n[[service.route]]\nsni = [\"a\"]",
        "6:8: error: `host` is told by an HTTP request, which is not looked at",
    ),
    (
        "host = [\"a\"]\nalpn = [\"h2\"]",
        "6:8: error: `host` is told by an HTTP request, which is not looked at",
    ),
    (
        "host = [\"a\"]\ntls = { certificate = \"c\" }",
        "6:8: error: `host` is told by an HTTP request, which is not looked at",
    ),
    (r#"source = ["10.1.0.0/8"]"#, r#"6:11: error: "10.1.0.0/8" has bits beyond its prefix of 8"#),
    (r#"fallback = ["all"]"#, r#"6:13: error: unknown fallback "all""#),
    (r#"fallback = "unknown_name""#, r#"6:12: error: unknown fallback "unknown_name""#),
    (r#"fallback = ["no-name", "no-name"]"#, r#"6:24: error: "no-name" stands in `fallback` twice"#),
    ("fallback = []", "6:12: error: `fallback` must not be empty"),
    (
        r#"fallback = ["no-name", "unknown-name"]"#,
        r#"6:24: error: "unknown-name", but no name is ever looked for"#,
    ),
    ("sni = [\"a\"]\naction = \"drop\"", r#"7:10: error: unknown action "drop""#),
    (
        "sni = [\"a\"]\naction = \"reject\"\nconnect = \"h:1\"",
        r#"8:11: error: `connect` beside action = "reject""#,
    ),
    (
        "sni = [\"a\"]\naction = \"reject\"\ntls = { certificate = \"c\" }",
        r#"8:7: error: `tls` beside action = "reject""#,
    ),
    ("sni = [\"a\"]\nreply = \"ok\"", r#"7:9: error: `reply` goes with action = "reject" only"#),
    (
        "sni = [\"a\"]\naction = \"reject\"\nreply = \"http-404\"",
        "8:9: error: `reply` on a service for TLS: its clients would not understand it",
    ),
    ("sni = [\"a\"]\ntls = true", "7:7: error: `tls` must be a table on accept, not a boolean"),
    ("sni = [\"a\"]\ntls = {}", "7:7: error: `tls` has no `certificate`, nor does it inherit one"),
    ("sni = [\"a\"]\ntls = { key = \"k\" }", "7:15: error: `key` without a `certificate`"),
    (
        "sni = [\"a\"]\ntls = { certificate = \"c\", verify = \"required\" }",
        "7:37: error: `verify` without a `client_ca` to verify against",
    ),
    (
        "sni = [\"a\"]\ntls = { certificate = \"c\", server_name = \"n\" }",
        r#"7:28: error: unknown key "server_name" in [[service.route]] tls"#,
    ),
    (
        "sni = [\"a\"]\ntls = { certificate = \"c\", min_version = \"1.3\", max_version = \"1.2\" }",
        "7:42: error: `min_version` is above `max_version`",
    ),
    (
        "sni = [\"a\"]\nconnect = { adress = \"h:1\" }",
        r#"7:13: error: unknown key "adress" in [[service.route]] connect"#,
    ),
    (
        "sni = [\"a\"]\nconnect = { address = \"h:1\", prxoy = \"v2\" }",
        r#"7:30: error: unknown key "prxoy" in [[service.route]] connect"#,
    ),
    (
        "fallback = [\"no-name\"]\nsni = [\"a\"]\nconnect = \"*:443\"",
        r#"6:12: error: "no-name" on a route to the server that the client names"#,
    ),
    (
        "name = \"x\"\nsni = [\"a\"]\n[[service.route]]\nname = \"x\"\nsni = [\"b\"]",
        r#"9:8: error: a second route with the name "x" in this service"#,
    ),
    ("name = \"\"\nsni = [\"a\"]", r#"6:8: error: "" cannot be the name of a route"#),
];

/// `accept` of a service that is good otherwise.
const ACCEPTS: &[Bad] = &[
    (
        r#"{ address = "*:1", proxy_protocol = true }"#,
        "3:46: error: `proxy_protocol` must be a table, not a boolean",
    ),
    (r#"{ address = "*:1", proxy_protocol = {} }"#, "3:46: error: `proxy_protocol` has no `from`"),
    (
        r#"{ address = ["*:1", "unix:s"], proxy_protocol = { others = "direct" } }"#,
        "3:58: error: `proxy_protocol` has no `from`",
    ),
    (r#"{ address = "*:1", proxy_protocol = { from = [] } }"#, "3:55: error: `from` must not be empty"),
    (
        r#"{ address = "*:1", proxy_protocol = { from = ["lb.example.org"] } }"#,
        r#"3:56: error: "lb.example.org" is not a network"#,
    ),
    (
        r#"{ address = "*:1", proxy_protocol = { from = ["10.0.0.0/8"], others = "accept" } }"#,
        r#"3:80: error: unknown others "accept""#,
    ),
];

/// `connect` of a service that is good otherwise.
const CONNECTS: &[Bad] = &[
    (r#"{ address = ["*:443", "h:1"] }"#, r#"4:24: error: "*:443" must be the only address"#),
    (r#"{ address = "h:1", allow = ["10.0.0.0/8"] }"#, r#"4:38: error: `allow` without an address "*:PORT""#),
    (
        r#"{ address = "*:443" }"#,
        "4:23: error: this connects to the name a client asks for, but no name is ever known",
    ),
    (r#"{ address = "h:1", send_proxy = "v3" }"#, r#"4:43: error: unknown send_proxy "v3""#),
    (
        r#"{ address = "h:1", send_proxy = true }"#,
        r#"4:43: error: `send_proxy` must be "v1", "v2" or a table, not a boolean"#,
    ),
    (r#"{ address = "h:1", send_proxy = {} }"#, "4:43: error: `send_proxy` has no `version`"),
    (
        r#"{ address = "h:1", send_proxy = { version = "v1", tlvs = ["alpn"] } }"#,
        "4:68: error: `tlvs` with version 1, which has none",
    ),
    (
        r#"{ address = "h:1", send_proxy = { version = "v2", tlvs = "alpn" } }"#,
        "4:68: error: `tlvs` must be a list of strings, not a string",
    ),
    (
        r#"{ address = "h:1", send_proxy = { version = "v2", tlvs = ["sni"] } }"#,
        r#"4:69: error: unknown TLV "sni""#,
    ),
    (
        r#"{ address = "h:1", send_proxy = { version = "v2", tlvs = ["alpn", "alpn"] } }"#,
        r#"4:77: error: "alpn" stands in `tlvs` twice"#,
    ),
    (
        r#"{ address = "h:1", send_proxy = { version = "v2", tlvs = ["certificate"] } }"#,
        r#"4:69: error: the TLV "certificate" is a part of "ssl", which is not listed"#,
    ),
];

/// Whole services: what does not go together.
const SERVICES: &[Bad] = &[
    (
        "accept = { address = \"*:1\", tls = { certificate = \"c\" } }\nconnect = \"h:2\"\npeek = \"none\"\n",
        r#"5:8: error: TLS is terminated here, so `peek` must be "tls""#,
    ),
    (
        "accept = { address = \"*:1\", tls = { certificate = \"c\" } }\nconnect = \"h:2\"\npeek = \"http\"\n",
        r#"5:8: error: TLS is terminated here, so `peek` must be "tls""#,
    ),
    (
        "accept = \"*:1\"\nconnect = \"h:2\"\npeek = \"none\"\n[[service.route]]\nsni = [\"a\"]\n",
        "7:7: error: `sni` is told by a TLS ClientHello, which is not looked at",
    ),
    (
        "accept = \"*:1\"\nconnect = \"h:2\"\npeek = \"http\"\n[[service.route]]\nsni = [\"a\"]\n",
        "7:7: error: `sni` is told by a TLS ClientHello, which is not looked at",
    ),
    (
        "accept = \"*:1\"\nconnect = \"h:2\"\npeek = \"none\"\n[[service.rule]]\nalpn = [\"h2\"]\naction = \"drop\"\n",
        "7:8: error: `alpn` is told by a TLS ClientHello, which is not looked at",
    ),
    (
        "accept = \"*:1\"\nconnect = \"h:2\"\npeek = \"tls\"\n[[service.route]]\nhost = [\"a\"]\n",
        "7:8: error: `host` is told by an HTTP request, which is not looked at",
    ),
    (
        "accept = \"*:1\"\nconnect = \"h:2\"\npeek = \"none\"\n[[service.route]]\nhost = [\"a\"]\n",
        "7:8: error: `host` is told by an HTTP request, which is not looked at",
    ),
    (
        "accept = { address = \"*:1\", tls = { certificate = \"c\" } }\nconnect = \"h:2\"\n[[service.route]]\nhost = [\"a\"]\n",
        "6:8: error: `host` is told by an HTTP request, which is not looked at",
    ),
    (
        "accept = { address = \"*:1\", tls = { certificate = \"c\" } }\nconnect = \"h:2\"\n[[service.rule]]\naction = \"reject\"\nreply = \"http-403\"\n",
        "7:9: error: `reply` on a service for TLS: its clients would not understand it",
    ),
    (
        "accept = \"*:1\"\n[[service.route]]\nsni = [\"a\"]\n",
        r#"4:1: error: route "a" has no `connect`, nor has service "a""#,
    ),
    (
        "accept = { address = \"*:1\", tls = { alpn = [\"h2\"] } }\nconnect = \"h:1\"\n[[service.route]]\nsni = [\"a\"]\n",
        "3:35: error: `accept.tls` has no `certificate`, and no route has a `tls` with one",
    ),
    (
        "accept = { address = \"*:1\", tls = { alpn = [\"h2\"] } }\nconnect = \"h:1\"\n[[service.route]]\nsni = [\"a\"]\ntls = {}\n",
        "7:7: error: `tls` has no `certificate`, nor does it inherit one",
    ),
    (
        "accept = { address = \"*:1\", tls = { certificate = \"c\", min_version = \"1.3\" } }\nconnect = \"h:1\"\n[[service.route]]\nsni = [\"a\"]\ntls = { max_version = \"1.2\" }\n",
        "7:7: error: `min_version` is above `max_version`, of which one is inherited",
    ),
    (
        "accept = { address = \"*:1\", tls = { certificate = \"c\" } }\nconnect = \"h:1\"\n[[service.route]]\nsni = [\"a\"]\ntls = { verify = \"optional\" }\n",
        "7:18: error: `verify` without a `client_ca` to verify against",
    ),
    (
        "mode = \"health\"\naccept = \"*:1\"\nconnect = \"h:1\"\n",
        r#"5:11: error: a service with mode "health" answers by itself and has no `connect`"#,
    ),
    (
        "mode = \"health\"\naccept = { address = \"*:1\", tls = { certificate = \"c\" } }\n",
        r#"4:35: error: a service with mode "health" answers by itself and has no `tls`"#,
    ),
    (
        "mode = \"health\"\naccept = { address = \"*:1\", proxy_protocol = { from = [\"::/0\"] } }\n",
        r#"4:46: error: a service with mode "health" answers by itself and has no `proxy_protocol`"#,
    ),
    (
        "mode = \"health\"\naccept = \"*:1\"\nmonitor = { source = [\"::/0\"] }\n",
        r#"5:11: error: a service with mode "health" answers by itself and has no `monitor`"#,
    ),
    (
        "mode = \"health\"\naccept = \"*:1\"\npeek = \"none\"\n",
        r#"5:8: error: a service with mode "health" answers by itself and has no `peek`"#,
    ),
    (
        "mode = \"health\"\naccept = \"*:1\"\n[[service.route]]\nsource = [\"::/0\"]\n",
        r#"5:1: error: a service with mode "health" answers by itself and has no `route`"#,
    ),
    (
        "mode = \"health\"\naccept = \"*:1\"\n[[service.rule]]\naction = \"drop\"\n",
        r#"5:1: error: a service with mode "health" answers by itself and has no `rule`"#,
    ),
    (
        "mode = \"demo\"\naccept = \"*:1\"\nreply = \"ok\"\n",
        r#"5:9: error: `reply` goes with mode = "health" only"#,
    ),
    (
        "mode = \"demo\"\naccept = \"*:1\"\n[[service.route]]\nsni = [\"a\"]\nconnect = \"h:1\"\n",
        r#"7:11: error: a service with mode "demo" answers by itself and has no `connect`"#,
    ),
];

#[test]
fn each_mistake_is_told_once_at_its_place() {
    let behind = |table: &str, text: &str| format!("{GOOD}{table}{text}\n");
    let accept = |value: &str| GOOD.replace("\"127.0.0.1:1\"", value);
    let certificates = accept("{ address = \"*:1\", proxy_protocol = { from = [\"::/0\"] } }");
    let all = [
        (SERVICE_KEYS, &(|text: &str| behind("", text)) as &dyn Fn(&str) -> String),
        (RULES, &|text| behind("[[service.rule]]\n", text)),
        (CERTIFICATE_RULES, &|text| format!("{certificates}[[service.rule]]\n{text}\n")),
        (ROUTES, &|text| behind("[[service.route]]\n", text)),
        (ACCEPTS, &accept),
        (CONNECTS, &|text| GOOD.replace("\"127.0.0.1:2\"", text)),
        (SERVICES, &|text| format!("[[service]]\nname = \"a\"\n{text}")),
    ];
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (list, whole) in all {
        for (text, expected) in list {
            let text = whole(text);
            let (_, report) = checked(&text);
            tried += 1;
            if report.errors() != [format!("t.conf:{expected}")] {
                wrong.push(format!("{text}\nexpected {expected}\ngot\n{report}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
    assert!(tried >= 120, "only {tried} files");
}
