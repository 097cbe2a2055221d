// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every table of the configuration file with every key: what the readers, the manual and the sample are tested
//! against.
//!
//! Not here: what the keys mean, and what they may be.

/// A kind of table in the configuration file.
#[derive(Debug)]
pub struct Table {
    /// As messages and the manual's headings call it.
    pub title: &'static str,
    /// Every key it may have.
    pub keys: &'static [&'static str],
}

pub(super) const TOP: Table =
    Table { title: "top level", keys: &["include", "global", "control", "resolver", "service"] };
pub(super) const GLOBAL: Table =
    Table { title: "[global]", keys: &["workers", "max_connections", "log", "shutdown_timeout"] };
pub(super) const LOG: Table =
    Table { title: "[global] log", keys: &["target", "facility", "level", "socket"] };
pub(super) const CONTROL: Table = Table {
    title: "[control]",
    keys: &["socket", "mode", "group", "admin", "operate", "http", "hosts", "tokens", "certificates"],
};
pub(super) const CONTROL_TOKEN: Table = Table { title: "[control] tokens", keys: &["file", "level"] };
pub(super) const CONTROL_CERTIFICATE: Table =
    Table { title: "[control] certificates", keys: &["cn", "level"] };
pub(super) const RESOLVER: Table = Table {
    title: "[resolver]",
    keys: &["servers", "hosts", "min", "max", "negative", "stale", "timeout", "attempts"],
};
pub(super) const SERVICE: Table = Table {
    title: "[[service]]",
    keys: &[
        "name",
        "mode",
        "reply",
        "socks",
        "monitor",
        "peek",
        "accept",
        "connect",
        "check",
        "passive",
        "server",
        "balance",
        "queue",
        "retries",
        "timeout",
        "buffer",
        "truncation",
        "limit",
        "rule",
        "route",
    ],
};
pub(super) const TIMEOUT: Table = Table {
    title: "[[service]] timeout",
    keys: &["handshake", "connect", "idle", "half_close", "linger", "tarpit"],
};
pub(super) const SERVICE_LIMIT: Table = Table {
    title: "[[service]] limit",
    keys: &["max_connections", "rate", "bandwidth", "connection_bandwidth", "lifetime", "lifetime_jitter"],
};
pub(super) const BANDWIDTH: Table = Table { title: "[[service]] limit.bandwidth", keys: &["up", "down"] };
pub(super) const CONNECTION_BANDWIDTH: Table =
    Table { title: "[[service]] limit.connection_bandwidth", keys: BANDWIDTH.keys };
/// A route's servers have the keys of the service's and are described there.
pub(super) const SERVER: Table = Table {
    title: "[[service.server]]",
    keys: &["name", "address", "expand", "weight", "backup", "max_connections", "slow_start", "check"],
};
pub(super) const ROUTE_SERVER: Table = Table { title: "[[service.route.server]]", keys: SERVER.keys };
pub(super) const QUEUE: Table = Table { title: "[[service]] queue", keys: &["length", "timeout"] };
pub(super) const SOCKS: Table = Table { title: "[[service]] socks", keys: &["users"] };
pub(super) const MONITOR: Table = Table { title: "[[service]] monitor", keys: &["source", "reply"] };
pub(super) const ACCEPT: Table = Table {
    title: "[[service]] accept",
    keys: &["address", "owner", "group", "mode", "socket", "starttls", "tls", "proxy_protocol"],
};
pub(super) const ACCEPT_SOCKET: Table = Table {
    title: "[[service]] accept.socket",
    keys: &[
        "backlog",
        "v6only",
        "freebind",
        "reuse_port",
        "interface",
        "fast_open",
        "mptcp",
        "keepalive",
        "user_timeout",
        "congestion",
        "tos",
        "mark",
        "receive_buffer",
        "send_buffer",
    ],
};
pub(super) const KEEPALIVE: Table =
    Table { title: "[[service]] accept.socket.keepalive", keys: &["idle", "interval", "count"] };
pub(super) const CONNECT_SOCKET: Table = Table {
    title: "[[service]] connect.socket",
    keys: &[
        "interface",
        "fast_open",
        "mptcp",
        "keepalive",
        "user_timeout",
        "congestion",
        "tos",
        "mark",
        "receive_buffer",
        "send_buffer",
    ],
};

/// As that of `accept`, and described there.
pub(super) const CONNECT_KEEPALIVE: Table =
    Table { title: "[[service]] connect.socket.keepalive", keys: KEEPALIVE.keys };
pub(super) const PROXY_PROTOCOL: Table =
    Table { title: "[[service]] accept.proxy_protocol", keys: &["from", "others", "confirm"] };
pub(super) const CONNECT: Table = Table {
    title: "[[service]] connect",
    keys: &[
        "address",
        "expand",
        "allow",
        "names",
        "ports",
        "source",
        "socket",
        "proxy",
        "starttls",
        "opportunistic",
        "tls",
        "send_proxy",
    ],
};
pub(super) const CONNECT_PROXY: Table =
    Table { title: "[[service]] connect.proxy", keys: &["kind", "address", "user", "password_file"] };
pub(super) const SEND_PROXY: Table =
    Table { title: "[[service]] connect.send_proxy", keys: &["version", "tlvs", "confirm"] };
pub(super) const ACCEPT_TLS: Table = Table {
    title: "[[service]] accept.tls",
    keys: &[
        "certificate",
        "key",
        "min_version",
        "max_version",
        "ciphers",
        "ciphersuites",
        "groups",
        "alpn",
        "key_log",
        "client_ca",
        "verify",
    ],
};
pub(super) const CONNECT_TLS: Table = Table {
    title: "[[service]] connect.tls",
    keys: &[
        "ca",
        "server_name",
        "verify",
        "certificate",
        "key",
        "min_version",
        "max_version",
        "ciphers",
        "ciphersuites",
        "groups",
        "sni",
        "alpn",
        "pin",
        "key_log",
    ],
};

pub(super) const CHECK: Table = Table {
    title: "[[service]] check",
    keys: &["kind", "send", "expect", "user", "port", "tls", "interval", "timeout", "rise", "fall"],
};
pub(super) const PASSIVE: Table =
    Table { title: "[[service]] passive", keys: &["fails", "window", "pause", "max_pause"] };
pub(super) const RULE: Table = Table {
    title: "[[service.rule]]",
    keys: &["name", "source", "sni", "sni_regex", "alpn", "client_certificate", "limit", "action", "reply"],
};
pub(super) const CLIENT_CERTIFICATE: Table = Table {
    title: "[[service.rule]] client_certificate",
    keys: &["present", "cn", "subject", "issuer", "san", "fingerprint"],
};
pub(super) const LIMIT: Table = Table {
    title: "[[service.rule]] limit",
    keys: &["connections", "rate", "handshake_failures", "bytes", "prefix_v4", "prefix_v6", "sources"],
};
pub(super) const ROUTE: Table = Table {
    title: "[[service.route]]",
    keys: &[
        "name",
        "sni",
        "sni_regex",
        "host",
        "host_regex",
        "alpn",
        "source",
        "fallback",
        "action",
        "reply",
        "limit",
        "tls",
        "connect",
        "check",
        "passive",
        "server",
        "balance",
        "queue",
        "retries",
    ],
};

/// A route's `tls`, `connect`, `limit`, `check` and `passive` have the keys of the service's and are described there.
pub(super) const ROUTE_TLS: Table = Table { title: "[[service.route]] tls", keys: ACCEPT_TLS.keys };
pub(super) const ROUTE_CONNECT: Table = Table { title: "[[service.route]] connect", keys: CONNECT.keys };

/// Every table that is described by itself.
pub const TABLES: [&Table; 32] = [
    &TOP,
    &GLOBAL,
    &LOG,
    &CONTROL,
    &CONTROL_TOKEN,
    &CONTROL_CERTIFICATE,
    &RESOLVER,
    &SERVICE,
    &SERVER,
    &QUEUE,
    &TIMEOUT,
    &SERVICE_LIMIT,
    &BANDWIDTH,
    &CONNECTION_BANDWIDTH,
    &SOCKS,
    &MONITOR,
    &ACCEPT,
    &ACCEPT_SOCKET,
    &KEEPALIVE,
    &CONNECT_SOCKET,
    &PROXY_PROTOCOL,
    &ACCEPT_TLS,
    &CONNECT,
    &CONNECT_PROXY,
    &SEND_PROXY,
    &CONNECT_TLS,
    &CHECK,
    &PASSIVE,
    &RULE,
    &CLIENT_CERTIFICATE,
    &LIMIT,
    &ROUTE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_names_a_key_twice() {
        for table in TABLES {
            for (index, key) in table.keys.iter().enumerate() {
                assert!(!table.keys[..index].contains(key), "{key} in {}", table.title);
            }
        }
    }
}
