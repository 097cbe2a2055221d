// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the operator is told of a broken configuration: everything at once, each with its place.

use crate::harness::Pki;
use crate::program::Place;

/// Every mistake is of another kind and stands on a line of its own. The column is where the fault begins: the key of
/// an unknown key, the value of a wrong value.
const BROKEN: &str = r#"[global]
workers = "many"
max_conections = 100
shutdown_timeout = "30 parsecs"

[[service]]
name = "web"
accept = { address = ["127.0.0.1"] }
connect = "127.0.0.1:8080"
buffer = "256KiBB"

[[service]]
name = "web"
accept = { address = "127.0.0.1:8443" }
connect = { address = "127.0.0.1:99999" }

[[service]]
name = "third"
accept = { address = "127.0.0.1:8443" }
connect = { address = "127.0.0.1:8081", tls = { min_version = "1.3", max_version = "1.2" } }

[[service]]
name = "fourth"
accept = { address = "127.0.0.1:8444", tls = { verify = "required" } }

[[service]]
name = "fifth"
accept = { address = "127.0.0.1:8445", tls = { certificate = "missing.pem", key = "missing.key" } }
connect = { address = "127.0.0.1:8081", tls = { ca = "missing-ca.pem" } }

[[service]]
name = "sixth"
accept = "127.0.0.1:8445"
connect = "127.0.0.1:8081"

[[service]]
name = "seventh"
accept = { address = "127.0.0.1:8446", proxy_protocol = { others = "direct" } }
connect = { address = "127.0.0.1:8081", send_proxy = { version = "v1", tlvs = ["alpn"] } }

[[service.rule]]
source = ["10.0.0.1/8"]
limit = { rate = "100/s" }
action = "drop"

[[service.route]]
sni_regex = ['(']

[[service.route]]
sni = ["a.example.org"]
fallback = ["all"]
"#;

#[test]
fn all_errors_come_in_one_run_each_with_its_place() {
    let place = Place::new(BROKEN);
    let outcome = place.run(&["-t", "-c", "tunnel.conf"]).expect(78);
    let text = &outcome.err;
    for (line, column, says) in [
        (2, Some(11), "many"),
        (3, Some(1), "max_connections"),
        (4, Some(20), "30 parsecs"),
        (8, None, "127.0.0.1"),
        (10, Some(10), "256KiBB"),
        (13, None, "web"),
        (15, None, "99999"),
        (20, None, "version"),
        (24, None, "verify"),
        (28, None, "missing.pem"),
        (28, None, "missing.key"),
        (29, None, "missing-ca.pem"),
        (33, Some(10), "8445"),
        (38, None, "from"),
        (39, Some(79), "tlvs"),
        (42, Some(11), "10.0.0.1/8"),
        (43, Some(18), "100/s"),
        (47, Some(14), "unclosed group"),
        (51, Some(13), "all"),
    ] {
        let start = format!("tunnel.conf:{line}:");
        let mut errors = text.split("error: ").zip(text.split("error: ").skip(1));
        let found = errors.any(|(before, message)| {
            let place = before.lines().last().unwrap_or_default();
            let column = column.is_none_or(|column| place.ends_with(&format!("{start}{column}: ")));
            place.contains(&start) && column && message.contains(says)
        });
        assert!(found, "no error at {start}{column:?} that says {says:?}:\n{text}");
    }
    assert!(
        text.lines().any(|line| line.trim_start_matches([' ', '|']).starts_with('^')),
        "no caret:\n{text}"
    );
    assert!(text.contains("max_conections = 100"), "the source line is not shown:\n{text}");
    // The service without a `connect` has no place but its table.
    assert!(text.contains("connect"), "the missing key is not named:\n{text}");
}

#[test]
fn a_conflict_names_both_places() {
    let service = |name: &str, port: u16| {
        format!("[[service]]\nname = \"{name}\"\naccept = \"127.0.0.1:{port}\"\nconnect = \"127.0.0.1:9\"\n")
    };
    for (config, lines, about) in [
        (service("a", 1024) + &service("a", 1025), [":2:", ":6:"], "one name twice"),
        (service("a", 1024) + &service("b", 1024), [":3:", ":7:"], "one address twice"),
        ("[global]\n\n[global]\n".to_owned(), ["conf:3:", "global"], "one table twice"),
    ] {
        let text = Place::new(&config).run(&["-t", "-c", "tunnel.conf"]).expect(78).err;
        assert!(
            lines.iter().all(|line| text.contains(line)),
            "{about}: {lines:?} are not both named:\n{text}"
        );
    }
}

#[test]
fn errors_of_included_files_name_the_included_file() {
    let place = Place::new("include = [\"conf.d/*.conf\"]\n");
    std::fs::create_dir(place.path("conf.d")).unwrap();
    place.write(
        "conf.d/a.conf",
        "[[service]]\nname = \"a\"\nacept = \"127.0.0.1:0\"\nconnect = \"127.0.0.1:9\"\n",
    );
    place.write("conf.d/b.conf", "[[service]]\nname = \"b\"\naccept = 7\nconnect = \"127.0.0.1:9\"\n");
    let text = place.run(&["-t", "-c", "tunnel.conf"]).expect(78).err;
    assert!(text.contains("conf.d/a.conf:3:1: error: "), "{text}");
    assert!(text.contains("conf.d/b.conf:3:10: error: "), "{text}");
}

#[test]
fn a_syntax_error_has_its_place_whatever_the_bytes() {
    for (config, start) in [
        ("[global\n".as_bytes(), "tunnel.conf:1:"),
        (b"[global]\nworkers = \n", "tunnel.conf:2:"),
        (b"[global]\nworkers = 1\nworkers = 2\n", "tunnel.conf:3:"),
        (b"[global]\nlog = { target = \"stderr\0\" }\n", "tunnel.conf:2:"),
        (b"[global]\n# \xff\xfe\n", "tunnel.conf:2:"),
        (b"x = [[[[[[[[[[[[[[[[[[[[[[[[", "tunnel.conf:1:"),
    ] {
        let place = Place::new("");
        place.write("tunnel.conf", config);
        let text = place.run(&["-t", "-c", "tunnel.conf"]).expect(78).err;
        assert!(
            text.contains(start) && text.contains("error: "),
            "{:?}: {text}",
            String::from_utf8_lossy(config)
        );
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn an_absurdly_deep_or_long_file_is_refused_not_crashed_on() {
    for config in ["x = ".to_owned() + &"[".repeat(200_000), format!("x = \"{}\"", "a".repeat(10_000_000))] {
        let place = Place::new(&config);
        let outcome = place.run(&["-t", "-c", "tunnel.conf"]).expect(78);
        assert!(outcome.err.len() < 100_000, "an error message of {} bytes", outcome.err.len());
    }
}

#[test]
fn turning_verification_off_is_warned_about() {
    let connect = "connect = { address = \"127.0.0.1:9\", tls = { verify = false } }";
    let place = Place::new(&format!("[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n{connect}\n"));
    let outcome = place.run(&["-t", "-c", "tunnel.conf"]).expect(0);
    let said = outcome.out + &outcome.err;
    assert!(said.contains("tunnel.conf:4:") && said.contains("warning: "), "{said}");
}

#[test]
fn what_a_private_key_contains_is_never_quoted() {
    let pki = Pki::new();
    let key = std::fs::read_to_string(&pki.server.key).unwrap();
    let tls =
        format!("tls = {{ certificate = \"{}\", key = \"bad.key\" }}", pki.server.certificate.display());
    let accept = format!("accept = {{ address = \"127.0.0.1:0\", {tls} }}");
    let place = Place::new(&format!("[[service]]\nname = \"web\"\n{accept}\nconnect = \"127.0.0.1:9\"\n"));
    place.write("bad.key", key.replace("-----END", "----END"));
    let text = place.run(&["-t", "-c", "tunnel.conf"]).expect(78).err;
    assert!(text.contains("tunnel.conf:3:") && text.contains("bad.key"), "{text}");
    let secret = key.lines().nth(1).unwrap();
    assert!(!text.contains(secret), "the key is in the message:\n{text}");
    // The key file named as the configuration: its lines must not be shown as source lines either.
    let text = place.run(&["-t", "-c", pki.server.key.to_str().unwrap()]).expect(78).err;
    assert!(!text.contains(&secret[..20]), "the key is in the message:\n{text}");
}
