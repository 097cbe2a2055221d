// SPDX-License-Identifier: MIT OR Apache-2.0
//! Proxies, rules and routes: what is understood, what is inherited, what is loaded.

use super::{checked, headlines, load_files};
use crate::config::Config;
use crate::policy::route_table::{Miss, Query};
use crate::policy::service::{Others, Peek, RouteAction, SendTlvs, Service};
use crate::policy::testpki::{Authority, Leaf};
use crate::policy::tls_spec::{ClientVerify, TlsVersion};
use crate::wire::proxy_header::Version;
use std::sync::Arc;
use std::time::Duration;

/// What `peek` becomes in a service that ends like this.
fn peek(rest: &str) -> Peek {
    let text = format!("[[service]]\nname = \"a\"\n{rest}\n");
    let (settings, report) = checked(&text);
    assert!(!report.has_errors(), "{text}\n{report}");
    settings.services[0].peek
}

#[test]
fn names_are_looked_for_where_rules_and_routes_need_them() {
    const PLAIN: &str = "accept = \"*:1\"\nconnect = \"h:1\"\n";
    const PROXY: &str =
        "accept = { address = \"*:1\", proxy_protocol = { from = [\"::/0\"] } }\nconnect = \"h:1\"\n";
    const TLS: &str = "accept = { address = \"*:1\", tls = { certificate = \"c\" } }\nconnect = \"h:1\"\n";
    for (base, more, expected) in [
        (PLAIN, "", Peek::None),
        (TLS, "", Peek::Tls),
        (TLS, "[[service.route]]\nsource = [\"10.0.0.0/8\"]", Peek::Tls),
        (PLAIN, "[[service.route]]\nsni = [\"a\"]", Peek::Tls),
        (PLAIN, "[[service.route]]\nsni_regex = [\"a\"]", Peek::Tls),
        (PLAIN, "[[service.route]]\nalpn = [\"h2\"]", Peek::Tls),
        (PLAIN, "[[service.route]]\nfallback = [\"no-name\"]\ntls = { certificate = \"c\" }", Peek::Tls),
        (PLAIN, "[[service.rule]]\nsni = [\"a\"]\naction = \"drop\"", Peek::Tls),
        (PLAIN, "[[service.rule]]\nsource = [\"10.0.0.0/8\"]\naction = \"drop\"", Peek::None),
        (PLAIN, "[[service.route]]\nhost = [\"a\"]", Peek::Http),
        (PLAIN, "[[service.route]]\nhost_regex = [\"a\"]", Peek::Http),
        (PLAIN, "peek = \"http\"", Peek::Http),
        (PROXY, "[[service.route]]\nsni = [\"a\"]", Peek::Tls),
        (PROXY, "peek = \"none\"\n[[service.route]]\nsni = [\"a\"]", Peek::None),
        (PROXY, "[[service.rule]]\nclient_certificate = { present = true }\naction = \"drop\"", Peek::None),
    ] {
        assert_eq!(peek(&format!("{base}{more}")), expected, "{base}{more}");
    }
    peek("peek = \"tls\"\naccept = \"*:1\"\nconnect = \"*:443\"");
    peek("accept = { address = \"*:1\", proxy_protocol = { from = [\"::/0\"] } }\nconnect = \"*:443\"");
}

#[test]
fn a_route_inherits_what_its_tls_does_not_say() {
    let (settings, report) = checked(
        r#"
[[service]]
name = "a"
connect = "h:1"
[service.accept]
address = "*:1"
tls = { certificate = "c", key = "k", client_ca = "ca", verify = "optional", min_version = "1.3", alpn = ["h2"] }
[[service.route]]
sni = ["nothing"]
tls = {}
[[service.route]]
sni = ["certificate"]
tls = { certificate = "own" }
[[service.route]]
sni = ["ca"]
tls = { client_ca = "own-ca" }
[[service.route]]
sni = ["verify"]
tls = { verify = "required" }
[[service.route]]
sni = ["trusting"]
tls = { verify = "none" }
[[service.route]]
sni = ["rest"]
tls = { min_version = "1.2", max_version = "1.2", alpn = ["http/1.1"], ciphers = "C" }
"#,
    );
    assert!(!report.has_errors(), "{report}");
    let base = &settings.services[0].accept_tls.as_ref().unwrap().spec;
    let specs: Vec<_> =
        settings.services[0].routes.iter().map(|route| &route.tls.as_ref().unwrap().spec).collect();
    assert_eq!(specs[0], base);
    let files = |index: usize| {
        let files = &specs[index].certificates[0];
        (files.certificate.to_str().unwrap(), files.key.to_str().unwrap())
    };
    assert_eq!(files(1), ("/base/own", "/base/own"), "the key goes with the certificate");
    assert_eq!(files(2), ("/base/c", "/base/k"));
    let clients = |index: usize| {
        (specs[index].client_ca.as_ref().map(|path| path.to_str().unwrap()), specs[index].verify)
    };
    assert_eq!(clients(1), (Some("/base/ca"), ClientVerify::Optional));
    assert_eq!(clients(2), (Some("/base/own-ca"), ClientVerify::Required), "a CA of its own is enforced");
    assert_eq!(clients(3), (Some("/base/ca"), ClientVerify::Required));
    assert_eq!(clients(4), (None, ClientVerify::None));
    let common = &specs[5].common;
    assert_eq!((common.min_version, common.max_version), (Some(TlsVersion::Tls12), Some(TlsVersion::Tls12)));
    assert_eq!(
        (common.alpn.as_slice(), common.ciphers.as_deref()),
        (&["http/1.1".to_owned()][..], Some("C"))
    );
    assert_eq!(specs[1].common, base.common);
}

#[test]
fn rules_and_routes_have_names_of_their_own() {
    let (settings, report) = checked(
        "[[service]]\nname = \"a\"\naccept = \"*:1\"\nconnect = \"h:1\"\n\
         [[service.rule]]\naction = \"drop\"\n[[service.rule]]\nname = \"rule-1\"\naction = \"drop\"\n\
         [[service.rule]]\naction = \"drop\"\n\
         [[service.route]]\nsni = [\"*.a.test\", \"b.test\"]\n[[service.route]]\nsni_regex = [\"x\"]\n\
         [[service.route]]\nsni = \"*.a.test\"\nalpn = [\"h2\"]\n[[service.route]]\nname = \"r\"\nsni = [\"r\"]\n\
         [[service.route]]\nsni = [\"bücher.test\"]\n",
    );
    assert!(!report.has_errors(), "{report}");
    let service = &settings.services[0];
    let rules: Vec<&str> = service.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(rules, ["rule-2", "rule-1", "rule-3"]);
    let routes: Vec<&str> = service.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(routes, ["*.a.test", "route-2", "route-3", "r", "route-5"]);
}

/// Loads a configuration with certificates and lists of networks beside it.
fn loaded(text: &str) -> (Result<Config, crate::config::Report>, tempfile::TempDir) {
    let authority = Authority::new("test CA");
    let pem = |name| {
        let issued = authority.issue(&Leaf::ec(&[name]));
        [issued.certificate_pem(), issued.key_pem()].concat()
    };
    load_files(&[
        ("tunnel.conf", text.as_bytes()),
        ("a.pem", &pem("a.test")),
        ("b.pem", &pem("b.test")),
        ("d/lbs.txt", b"# ours\n10.0.0.0/8\n\n 192.0.2.7 # the old one\r\n"),
        ("d/empty.txt", b""),
        ("d/bad.txt", b"10.0.0.0/8\n10.0.0.1/8\n  nonsense # x\n"),
    ])
}

/// The policy of the only service of a good configuration.
fn service_of(config: &Config) -> &Service {
    &config.listeners[0].plan.service
}

#[test]
fn routes_that_inherit_everything_share_what_is_loaded() {
    let (config, _directory) = loaded(
        r#"
[[service]]
name = "s"
accept = { address = "127.0.0.1:0", tls = { certificate = "a.pem", alpn = ["h2"] } }
connect = { address = "127.0.0.1:1", tls = { verify = false }, send_proxy = "v2" }
[[service.route]]
sni = ["one.test"]
[[service.route]]
sni = ["two.test"]
tls = {}
connect = { address = "127.0.0.1:2", tls = { verify = false } }
[[service.route]]
sni = ["three.test"]
tls = { certificate = "b.pem" }
connect = { address = "127.0.0.1:2", tls = { verify = false, alpn = ["h2"] }, send_proxy = "v1" }
[[service.route]]
sni = ["four.test"]
action = "reject"
"#,
    );
    let config = config.unwrap_or_else(|report| panic!("{report}"));
    let routes = &service_of(&config).routes;
    let accept = |index: usize| routes[index].accept_tls.as_ref().unwrap();
    let connect = |index: usize| routes[index].connect_tls.as_ref().unwrap();
    assert!(Arc::ptr_eq(accept(0), accept(1)) && !Arc::ptr_eq(accept(0), accept(2)));
    assert!(Arc::ptr_eq(connect(0), connect(1)) && !Arc::ptr_eq(connect(0), connect(2)));
    assert_eq!(&*accept(2).certificates()[0].names, ["b.test".into()]);
    let addresses: Vec<String> = routes
        .iter()
        .flat_map(|route| &route.upstream.servers)
        .map(|server| server.place.to_string())
        .collect();
    assert_eq!(addresses, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2"]);
    assert_eq!(routes[0].send_proxy.unwrap().tlvs, SendTlvs::default());
    assert!(routes[1].send_proxy.is_none(), "it goes with the address");
    assert_eq!(routes[2].send_proxy.unwrap().version, Version::V1);
    assert_eq!(routes[3].action, RouteAction::Reject(None));
    assert!(routes[3].accept_tls.is_none() && routes[3].upstream.servers.is_empty());
}

#[test]
fn a_route_without_tls_passes_through_where_there_is_none_to_inherit() {
    let (config, _directory) = loaded(
        "[[service]]\nname = \"s\"\naccept = { address = \"127.0.0.1:0\", tls = { alpn = [\"h2\"] } }\n\
         connect = \"127.0.0.1:1\"\n[[service.route]]\nsni = [\"a.test\"]\ntls = { certificate = \"a.pem\" }\n\
         [[service.route]]\nsni = [\"b.test\"]\n",
    );
    let config = config.unwrap_or_else(|report| panic!("{report}"));
    let terminates: Vec<bool> =
        service_of(&config).routes.iter().map(|route| route.accept_tls.is_some()).collect();
    assert_eq!(terminates, [true, false]);
}

#[test]
fn everything_arrives_in_the_service() {
    let (config, _directory) = loaded(
        r#"
[[service]]
name = "s"
monitor = { source = ["10.1.0.0/24"], reply = "ok" }
peek = "none"
timeout = { tarpit = "7s" }
accept = { address = "127.0.0.1:0", proxy_protocol = { from = ["file:d/lbs.txt", "file:d/empty.txt"], others = "direct" } }
connect = { address = "*:443", allow = ["127.0.0.0/8"] }
[[service.rule]]
source = ["192.0.2.0/24"]
sni = ["*.bad.test"]
limit = { rate = "100/10s", prefix_v4 = 24 }
action = "tarpit"
[[service.route]]
sni = ["*.Test"]
[[service.route]]
fallback = ["no-name"]
action = "reject"
reply = "go away\r\n"
"#,
    );
    let config = config.unwrap_or_else(|report| panic!("{report}"));
    let service = service_of(&config);
    let monitor = service.monitor.as_ref().unwrap();
    assert_eq!(&*monitor.reply.bytes, b"OK\r\n");
    let monitors = monitor.source.as_ref().unwrap();
    assert!(monitors.contains([10, 1, 0, 9].into()) && !monitors.contains([10, 2, 0, 9].into()));
    let proxy = service.proxy_protocol.as_ref().unwrap();
    assert!(proxy.from.contains([192, 0, 2, 7].into()) && !proxy.from.contains([192, 0, 2, 8].into()));
    assert_eq!((proxy.others, service.peek), (Others::Direct, Peek::None));
    assert_eq!(service.timeouts.tarpit, Duration::from_secs(7));
    let requested = service.routes[0].upstream.requested.as_ref().unwrap();
    assert_eq!(requested.port, Some(443));
    assert!(requested.allow.contains([127, 0, 0, 1].into()) && service.routes[0].upstream.servers.is_empty());
    let find = |name| service.table.find(&Query { name, alpn: &[], source: None });
    assert_eq!(find(Some("a.test")), Ok(0));
    assert_eq!(find(Some("test")), Err(Miss::UnknownName));
    assert_eq!(find(None), Ok(1));
    let RouteAction::Reject(Some(reply)) = &service.routes[1].action else { panic!("no reply") };
    assert_eq!(&*reply.bytes, b"go away\r\n");
}

#[test]
fn a_service_for_monitors_answers_everybody() {
    for (reply, sent) in [("", "HTTP/1.0 200 OK"), ("reply = \"all well\"\n", "all well")] {
        let text = format!("[[service]]\nname = \"h\"\nmode = \"health\"\n{reply}accept = \"127.0.0.1:0\"\n");
        let (config, _directory) = loaded(&text);
        let config = config.unwrap_or_else(|report| panic!("{report}"));
        let monitor = service_of(&config).monitor.as_ref().unwrap();
        assert!(monitor.source.is_none() && monitor.reply.bytes.starts_with(sent.as_bytes()));
    }
}

#[test]
fn routes_that_would_take_the_same_client_name_both_places() {
    let service = "[[service]]\nname = \"s\"\naccept = \"127.0.0.1:0\"\nconnect = \"127.0.0.1:1\"\n";
    for (first, second, error, note) in [
        (
            "sni = [\"x\", \"a.test\"]",
            "sni = [\"b\", \"A.test.\"]",
            "8:13: error: routes \"x\" and \"b\"",
            "6:13",
        ),
        ("sni = [\"*.t\"]", "name = \"n\"\nsni = [\"*.t\"]", "9:8: error: routes \"*.t\" and \"n\"", "6:8"),
        (
            "host_regex = [\"a+\"]",
            "host_regex = [\"a+\"]",
            "8:15: error: routes \"route-1\" and \"route-2\"",
            "6:15",
        ),
        (
            "fallback = [\"no-name\"]",
            "sni = [\"a\"]\nfallback = [\"no-name\"]",
            "9:12: error: routes",
            "6:12",
        ),
        ("source = [\"10.0.0.0/8\"]", "source = [\"10.0.0.0/8\"]", "7:1: error: routes", "5:1"),
    ] {
        let text = format!("{service}[[service.route]]\n{first}\n[[service.route]]\n{second}\n");
        let (result, directory) = loaded(&text);
        let heads = headlines(&result.unwrap_err(), &directory);
        assert_eq!(heads.len(), 2, "{heads:#?}");
        assert!(heads[0].starts_with(&format!("tunnel.conf:{error}")), "{error}: {heads:#?}");
        assert!(heads[1].starts_with(&format!("tunnel.conf:{note}: note: ")), "{note}: {heads:#?}");
    }
}

#[test]
fn mistakes_in_files_of_networks_are_told_where_they_are() {
    let (result, directory) = loaded(
        "[[service]]\nname = \"s\"\naccept = \"127.0.0.1:0\"\nconnect = \"127.0.0.1:1\"\n\
         [[service.rule]]\nsource = [\"file:d/bad.txt\", \"file:d/gone.txt\", \"file:d\"]\naction = \"drop\"\n\
         [[service.rule]]\nsource = [\"file:d/bad.txt\"]\naction = \"drop\"\n",
    );
    let heads = headlines(&result.unwrap_err(), &directory);
    assert_eq!(
        heads,
        [
            "tunnel.conf:6:29: error: d/gone.txt: cannot read the file: No such file or directory",
            "tunnel.conf:6:48: error: d: cannot read the file: it is a directory",
            "d/bad.txt:2:1: error: \"10.0.0.1/8\" has bits beyond its prefix of 8",
            "tunnel.conf:6:11: note: the file is named here",
            "d/bad.txt:3:3: error: \"nonsense\" is not a network",
            "tunnel.conf:6:11: note: the file is named here",
        ]
    );
}

#[test]
fn a_service_with_many_routes_is_read_in_no_time() {
    // Each is looked up by a hash: were it a list, this would take minutes.
    let mut text =
        String::from("[[service]]\nname = \"s\"\naccept = \"127.0.0.1:0\"\nconnect = \"127.0.0.1:1\"\n");
    for number in 0..5_000 {
        text += &format!("[[service.route]]\nsni = [\"h{number}.test\"]\n");
    }
    let (config, _directory) = loaded(&text);
    let config = config.unwrap_or_else(|report| panic!("{report}"));
    let query = Query { name: Some("h4999.test"), alpn: &[], source: None };
    assert_eq!(service_of(&config).table.find(&query), Ok(4_999));
}
