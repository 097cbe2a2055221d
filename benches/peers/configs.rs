// SPDX-License-Identifier: MIT OR Apache-2.0
//! The peers' configuration files.
//!
//! Each is what its manual shows for the task, with one worker, the common certificate, suite and group (`tls.rs`),
//! logging off and limits high enough not to matter. What a variant tunes is an argument here and a line in
//! docs/benchmarks.md.

use std::path::Path;

use super::tls::{SERVER_NAME, SUITE_12, SUITE_13};

/// What a peer is asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// TLS in, plain TCP out.
    Terminate,
    /// Plain TCP in and out.
    Plain,
    /// Plain TCP in, TLS out.
    Originate,
    /// TLS in and out, passed on undecrypted to the server for the name in the ClientHello.
    RouteByName,
    /// Plain TCP in and out, for clients that keep to a limit per address.
    Limit,
}

/// Where a peer listens, whom it connects to and which files it may use.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// Port to listen on, on 127.0.0.1.
    pub(super) listen: u16,
    /// Port to connect to, on 127.0.0.1.
    pub(super) backend: u16,
    /// Certificate and key in one file.
    pub(super) pem: &'a Path,
    /// A directory of its own.
    pub(super) dir: &'a Path,
    /// Whether the benchmark runs as root.
    pub(super) root: bool,
}

/// Connections a peer must be able to hold.
pub(super) const CONNECTIONS: usize = 4000;
/// Addresses a peer must be able to keep track of in `Role::Limit`; the load comes from all of them in turn.
pub(super) const SOURCES: u32 = 100_000;
/// What the limit allows an address at once and per day: more than the load does, and a day so that none is forgotten.
pub(super) const LIMIT: u32 = 1000;

/// haproxy. `splice`: splice always, through pipes of 1 MiB, instead of when haproxy thinks it pays.
pub(super) fn haproxy(role: Role, place: &Place<'_>, splice: bool) -> String {
    let Place { listen, backend, .. } = place;
    let pem = place.pem.display();
    let (pipe, options) = if splice {
        ("tune.pipesize 1048576", "option splice-request\n    option splice-response")
    } else {
        ("", "option splice-auto")
    };
    let (bind, server) = match role {
        Role::Terminate => (
            format!(
                "ssl crt {pem} ssl-min-ver TLSv1.2 curves X25519 ciphersuites {SUITE_13} ciphers {SUITE_12}"
            ),
            String::new(),
        ),
        Role::Plain | Role::RouteByName | Role::Limit => (String::new(), String::new()),
        Role::Originate => (
            String::new(),
            format!("ssl verify none sni str({SERVER_NAME}) ssl-min-ver TLSv1.3 ciphersuites {SUITE_13}"),
        ),
    };
    let choice = haproxy_choice(role);
    format!(
        "global
    nbthread 1
    maxconn {CONNECTIONS}
    maxpipes 1000
    {pipe}
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
    {options}
frontend front
    bind 127.0.0.1:{listen} backlog 4096 {bind}
    {choice}
backend back
    server only 127.0.0.1:{backend} {server}
"
    )
}

/// How haproxy comes to its backend.
fn haproxy_choice(role: Role) -> String {
    match role {
        Role::Terminate | Role::Plain | Role::Originate => "default_backend back".into(),
        Role::RouteByName => format!(
            "tcp-request inspect-delay 5s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend back if {{ req.ssl_sni -i {SERVER_NAME} }}"
        ),
        Role::Limit => format!(
            "stick-table type ip size {SOURCES} expire 1d store conn_cur,conn_rate(1d)
    tcp-request connection track-sc0 src
    tcp-request connection reject if {{ sc0_conn_cur gt {LIMIT} }} || {{ sc0_conn_rate gt {LIMIT} }}
    default_backend back"
        ),
    }
}

/// nginx with the stream module, loaded from `module` where it is apart. `buffer`: `proxy_buffer_size`.
pub(super) fn nginx(role: Role, place: &Place<'_>, module: Option<&Path>, buffer: &str) -> String {
    let Place { listen, backend, .. } = place;
    let (pem, dir) = (place.pem.display(), place.dir.display());
    let load = module.map(|module| format!("load_module {};", module.display())).unwrap_or_default();
    let user = if place.root { "user root;" } else { "" };
    let (ssl, tls) = match role {
        Role::Terminate => (
            "ssl",
            format!(
                "ssl_certificate {pem};
        ssl_certificate_key {pem};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers {SUITE_12};
        ssl_conf_command Ciphersuites {SUITE_13};
        ssl_ecdh_curve X25519;
        ssl_session_tickets on;
        ssl_session_cache none;"
            ),
        ),
        Role::Plain | Role::Limit => ("", String::new()),
        Role::RouteByName => ("", "ssl_preread on;".into()),
        Role::Originate => (
            "",
            format!(
                "proxy_ssl on;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_conf_command Ciphersuites {SUITE_13};
        proxy_ssl_server_name on;
        proxy_ssl_name {SERVER_NAME};
        proxy_ssl_session_reuse on;"
            ),
        ),
    };
    let by_name = format!("map $ssl_preread_server_name $name {{ {SERVER_NAME} back; }}");
    let (map, server) = if role == Role::RouteByName { (by_name.as_str(), "$name") } else { ("", "back") };
    // Each connection takes two of worker_connections.
    let slots = 2 * CONNECTIONS + 64;
    format!(
        "{load}
{user}
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log crit;
events {{ worker_connections {slots}; }}
stream {{
    access_log off;
    proxy_timeout 10m;
    proxy_buffer_size {buffer};
    {map}
    upstream back {{ server 127.0.0.1:{backend}; }}
    server {{
        listen 127.0.0.1:{listen} {ssl} backlog=4096;
        {tls}
        proxy_pass {server};
    }}
}}
"
    )
}

/// hitch; it only terminates TLS.
pub(super) fn hitch(place: &Place<'_>) -> String {
    let Place { listen, backend, .. } = place;
    let pem = place.pem.display();
    let user = if place.root { "user = \"root\"" } else { "" };
    format!(
        "frontend = {{ host = \"127.0.0.1\" port = \"{listen}\" }}
backend = \"[127.0.0.1]:{backend}\"
pem-file = \"{pem}\"
workers = 1
backlog = 4096
daemon = off
quiet = on
{user}
ocsp-dir = \"\"
tls-protos = TLSv1.2 TLSv1.3
ciphers = \"{SUITE_12}\"
ciphersuites = \"{SUITE_13}\"
ecdh-curve = \"X25519\"
"
    )
}

/// stunnel; it always has TLS on one side.
pub(super) fn stunnel(role: Role, place: &Place<'_>) -> String {
    let Place { listen, backend, .. } = place;
    let side = match role {
        Role::Originate => format!("client = yes\nsni = {SERVER_NAME}"),
        _ => format!("cert = {}\ncurves = X25519", place.pem.display()),
    };
    format!(
        "foreground = quiet
pid =
debug = emerg
syslog = no
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[bench]
accept = 127.0.0.1:{listen}
connect = 127.0.0.1:{backend}
ciphersuites = {SUITE_13}
ciphers = {SUITE_12}
TIMEOUTclose = 0
{side}
"
    )
}

/// sniproxy; it only routes by name.
pub(super) fn sniproxy(place: &Place<'_>) -> String {
    let Place { listen, backend, .. } = place;
    let dir = place.dir.display();
    let user = if place.root { "user root" } else { "" };
    format!(
        "{user}
pidfile {dir}/sniproxy.pid
error_log {{
    filename {dir}/error.log
    priority alert
}}
listener 127.0.0.1:{listen} {{
    protocol tls
    table names
}}
table names {{
    {SERVER_NAME} 127.0.0.1:{backend}
}}
"
    )
}

/// tunnel itself.
pub(super) fn tunnel(role: Role, place: &Place<'_>) -> String {
    let Place { listen, backend, .. } = place;
    let pem = place.pem.display();
    let accept = match role {
        Role::Terminate => format!(
            "{{ address = [\"127.0.0.1:{listen}\"], tls = {{ certificate = \"{pem}\", key = \"{pem}\", \
             min_version = \"1.2\", groups = \"X25519\", ciphersuites = \"{SUITE_13}\", ciphers = \"{SUITE_12}\" }} }}"
        ),
        _ => format!("\"127.0.0.1:{listen}\""),
    };
    let connect = match role {
        Role::Originate => format!(
            "{{ address = [\"127.0.0.1:{backend}\"], tls = {{ verify = false, server_name = \"{SERVER_NAME}\", \
             min_version = \"1.3\", ciphersuites = \"{SUITE_13}\" }} }}"
        ),
        _ => format!("\"127.0.0.1:{backend}\""),
    };
    let policy = match role {
        Role::Terminate | Role::Plain | Role::Originate => format!("connect = {connect}"),
        Role::RouteByName => format!("[[service.route]]\nsni = [\"{SERVER_NAME}\"]\nconnect = {connect}"),
        Role::Limit => format!(
            "connect = {connect}

[[service.rule]]
limit = {{ connections = {LIMIT}, rate = \"{LIMIT}/1d\", sources = {SOURCES} }}
action = \"reject\""
        ),
    };
    format!(
        "[global]
workers = 1
max_connections = {CONNECTIONS}
log = {{ target = \"stderr\", level = \"error\" }}

[[service]]
name = \"bench\"
accept = {accept}
{policy}
"
    )
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    fn place() -> Place<'static> {
        Place { listen: 1111, backend: 2222, pem: Path::new("/d/p.pem"), dir: Path::new("/d"), root: true }
    }

    #[test]
    fn every_peer_listens_and_connects_where_it_is_told() {
        let place = place();
        let texts = [
            haproxy(Role::Plain, &place, true),
            nginx(Role::Terminate, &place, None, "16k"),
            hitch(&place),
            stunnel(Role::Originate, &place),
            sniproxy(&place),
            tunnel(Role::Terminate, &place),
        ];
        for text in texts {
            assert!(text.contains("1111") && text.contains("2222"), "{text}");
        }
    }

    #[test]
    fn our_own_files_are_toml() {
        for role in [Role::Terminate, Role::Plain, Role::Originate, Role::RouteByName, Role::Limit] {
            let text = tunnel(role, &place());
            assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn who_routes_by_name_takes_no_other_way() {
        let (role, place) = (Role::RouteByName, place());
        for text in [
            haproxy(role, &place, false),
            nginx(role, &place, None, "16k"),
            sniproxy(&place),
            tunnel(role, &place),
        ] {
            assert!(text.contains(SERVER_NAME), "{text}");
            assert!(!text.contains("default_backend") && !text.contains("proxy_pass back"), "{text}");
        }
    }
}
