// SPDX-License-Identifier: MIT OR Apache-2.0
//! `socket` of either side, `source` of `connect`, and who may connect to a unix socket.
//!
//! What the system may refuse is tried when the configuration is loaded ([`probe`]), so that it is told with its place. Not
//! here: telling it to sockets (`sys/options.rs`).

use super::control::{check_octal, group_number, user_number};
use super::raw::{At, Fields, Node};
use super::report::{Place, Report};
use super::settings::{Endpoint, OutgoingSettings, PermitSettings, SocketSettings};
use super::tables::{self, Table};
use crate::policy::outgoing::Source;
use crate::sys::address::Address;
use crate::sys::listening::{ListenOptions, Permit};
use crate::sys::options::{
    CONGESTION_MAX, INTERFACE_MAX, Keepalive, SocketOptions, Unset, same_family, serves_fast_open,
};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What `backlog` may be; the kernel lowers it to net.core.somaxconn.
const BACKLOGS: RangeInclusive<usize> = 1..=1 << 20;

/// What a buffer may have: the kernel itself allows no more than 1 GiB.
const BUFFERS: RangeInclusive<u64> = 1..=1 << 30;

/// What a time of `keepalive` may be: the kernel counts in seconds and takes no more (MAX_TCP_KEEPIDLE, net/tcp.h).
const KEEPALIVES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);

/// How often a silent peer may be asked (MAX_TCP_KEEPCNT).
const PROBES: RangeInclusive<usize> = 1..=127;

/// What `user_timeout` may be.
const USER_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// The word of `source` for the client's own address.
pub(super) const CLIENT: &str = "client";

/// The permissions of a unix socket of which only the owner or the group is said.
const MODE: u32 = 0o660;

/// Reads `accept.socket`, and what of `accept` is for unix sockets only.
pub(super) fn check_accept(
    fields: Option<Fields<'_>>,
    addresses: &[Endpoint],
    report: &mut Report,
) -> SocketSettings {
    let mut settings = SocketSettings::default();
    let Some(accept) = fields else { return settings };
    settings.permit = check_permit(accept, addresses, report);
    let Some(node) = accept.get("socket") else { return settings };
    settings.place = Some(node.place);
    let Some(fields) = node.fields(&tables::ACCEPT_SOCKET, report) else { return settings };
    let options = &mut settings.options;
    options.socket = check_common(fields, &tables::KEEPALIVE, report);
    options.backlog = fields
        .get("backlog")
        .and_then(|node| node.integer(BACKLOGS, report))
        .and_then(|n| u32::try_from(n).ok());
    options.v6only = fields.get("v6only").and_then(|node| node.boolean(report));
    let mut flag = |key| fields.get(key).and_then(|node| node.boolean(report)).unwrap_or_default();
    options.freebind = flag("freebind");
    options.reuse_port = flag("reuse_port");
    if let (Some(node), true) = (fields.get("fast_open"), options.socket.fast_open && !serves_fast_open()) {
        report
            .warning(node.place, "`fast_open` has no effect: the system takes part in it as a client only")
            .help("set net.ipv4.tcp_fastopen to 3");
    }
    warn_of_unix(fields, &options.socket, addresses, report);
    settings
}

/// Reads `connect.source` and `connect.socket`; nothing if there is neither.
pub(super) fn check_connect(
    fields: Option<Fields<'_>>,
    addresses: &[Endpoint],
    report: &mut Report,
) -> Option<OutgoingSettings> {
    let connect = fields?;
    let (source, socket) = (connect.get("source"), connect.get("socket"));
    let place = source.or(socket)?.place;
    let sources = source.map_or_else(Vec::new, |node| check_sources(node, report));
    let socket = socket.and_then(|node| node.fields(&tables::CONNECT_SOCKET, report)).map_or_else(
        SocketOptions::default,
        |fields| {
            let options = check_common(fields, &tables::CONNECT_KEEPALIVE, report);
            warn_of_unix(fields, &options, addresses, report);
            options
        },
    );
    Some(OutgoingSettings { sources, socket, place })
}

/// What both sides have.
fn check_common(fields: Fields<'_>, keepalive: &'static Table, report: &mut Report) -> SocketOptions {
    let buffer = |key, report: &mut Report| {
        let bytes = fields.get(key).and_then(|node| node.size(BUFFERS, report));
        bytes.and_then(|bytes| u32::try_from(bytes).ok())
    };
    let flag =
        |key, report: &mut Report| fields.get(key).and_then(|node| node.boolean(report)).unwrap_or_default();
    let number =
        |key, most, report: &mut Report| fields.get(key).and_then(|node| node.integer(0..=most, report));
    SocketOptions {
        keepalive: fields.get("keepalive").and_then(|node| check_keepalive(node, keepalive, report)),
        user_timeout: fields.get("user_timeout").and_then(|node| node.duration(USER_TIMEOUTS, report)),
        congestion: check_word(fields.get("congestion"), CONGESTION_MAX, report),
        tos: number("tos", 255, report).and_then(|tos| u8::try_from(tos).ok()),
        mark: number("mark", u32::MAX as usize, report).and_then(|mark| u32::try_from(mark).ok()),
        interface: check_word(fields.get("interface"), INTERFACE_MAX, report),
        receive_buffer: buffer("receive_buffer", report),
        send_buffer: buffer("send_buffer", report),
        mptcp: flag("mptcp", report),
        fast_open: flag("fast_open", report),
    }
}

/// `false`, or how a silent peer is asked.
fn check_keepalive(node: Node<'_>, table: &'static Table, report: &mut Report) -> Option<Keepalive> {
    match node.as_bool() {
        Some(false) => return Some(Keepalive::Off),
        Some(true) => return Some(Keepalive::On { idle: None, interval: None, count: None }),
        None if !node.is_table() => {
            let finding = node.mismatch("a table, true or false", report);
            finding.help("write, for example, keepalive = { idle = \"60s\", interval = \"10s\", count = 6 }");
            return None;
        }
        None => {}
    }
    let fields = node.fields(table, report)?;
    let seconds = |key, report: &mut Report| {
        let node = fields.get(key)?;
        let time = node.duration(KEEPALIVES, report)?;
        if time.subsec_millis() != 0 {
            report.error(node.place, format!("`{key}` must be whole seconds"));
        }
        u32::try_from(time.as_secs()).ok()
    };
    let (idle, interval) = (seconds("idle", report), seconds("interval", report));
    let count = fields.get("count").and_then(|node| node.integer(PROBES, report));
    Some(Keepalive::On { idle, interval, count: count.and_then(|count| u32::try_from(count).ok()) })
}

/// The name of something the kernel knows by a short name.
fn check_word(node: Option<Node<'_>>, most: usize, report: &mut Report) -> Option<Box<str>> {
    let text = node?.string(report)?;
    if (1..=most).contains(&text.value.len()) && !text.value.contains([' ', '/']) {
        return Some(text.value.into());
    }
    let key = node.map_or("", |node| node.key);
    report.error(
        text.place,
        format!("{:?} cannot be an `{key}`: a name has 1 to {most} characters", text.value),
    );
    None
}

fn check_sources(node: Node<'_>, report: &mut Report) -> Vec<At<Source>> {
    let mut sources: Vec<At<Source>> = Vec::new();
    for text in node.strings(report) {
        let Some(source) = parse_source(text.value) else {
            report.error(text.place, format!("{:?} is not a source", text.value)).help(
                "write an address (\"192.0.2.1\"), one with ports (\"192.0.2.1:20000-29999\"), or \"client\"",
            );
            continue;
        };
        let clash = sources.iter().find(|other| match (other.value, source) {
            (Source::Client, _) | (_, Source::Client) => true,
            (
                Source::Address(one) | Source::Ports(one, ..),
                Source::Address(other) | Source::Ports(other, ..),
            ) => same_family(one, other),
        });
        if let Some(other) = clash {
            report
                .error(text.place, format!("{:?} beside another source for the same servers", text.value))
                .note(other.place, "the other one is here")
                .help("there may be one for IPv4 and one for IPv6");
            continue;
        }
        sources.push(At { value: source, place: text.place });
    }
    sources
}

/// "192.0.2.1", "192.0.2.1:1000-1999", "2001:db8::1", "[2001:db8::1]:1000-1999" or "client".
fn parse_source(text: &str) -> Option<Source> {
    if text == CLIENT {
        return Some(Source::Client);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return (!ip.is_unspecified() && !ip.is_multicast()).then_some(Source::Address(ip));
    }
    let (host, ports) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => IpAddr::V6(inner.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
    let (first, last) = (port(first)?, port(last)?);
    (first > 0 && first <= last && !host.is_multicast()).then_some(Source::Ports(host, first, last))
}

/// As it is written.
pub(super) fn format_source(source: Source) -> String {
    match source {
        Source::Client => CLIENT.to_owned(),
        Source::Address(ip) => ip.to_string(),
        Source::Ports(IpAddr::V4(ip), first, last) => format!("{ip}:{first}-{last}"),
        Source::Ports(IpAddr::V6(ip), first, last) => format!("[{ip}]:{first}-{last}"),
    }
}

/// Reads `owner`, `group` and `mode`.
fn check_permit(accept: Fields<'_>, addresses: &[Endpoint], report: &mut Report) -> Option<PermitSettings> {
    let first = ["owner", "group", "mode"].into_iter().find_map(|key| accept.get(key))?;
    let name = |key, report: &mut Report| {
        let text = accept.get(key)?.string(report)?;
        Some(At { value: text.value.to_owned(), place: text.place })
    };
    let settings = PermitSettings {
        owner: name("owner", report),
        group: name("group", report),
        mode: accept.get("mode").and_then(|node| check_octal(node, report)).unwrap_or(MODE),
    };
    let is_path =
        |endpoint: &Endpoint| matches!(&endpoint.target, super::address::Target::Ready(Address::Unix(_)));
    if !addresses.is_empty() && !addresses.iter().any(is_path) {
        let message = format!("`{}` without a unix socket that has a path", first.key);
        report.error(first.place, message).help("it is for addresses as `unix:/run/web.sock`: leave it out");
        return None;
    }
    Some(settings)
}

/// Warns of options that none of the addresses has.
fn warn_of_unix(fields: Fields<'_>, options: &SocketOptions, addresses: &[Endpoint], report: &mut Report) {
    let is_unix = |endpoint: &Endpoint| {
        matches!(&endpoint.target, super::address::Target::Ready(Address::Unix(_) | Address::Abstract(_)))
    };
    if let (Some(key), true) = (options.inet_only(), !addresses.is_empty() && addresses.iter().all(is_unix)) {
        let place = fields.get(key).map_or(fields.place, |node| node.place);
        report.warning(place, format!("`{key}` has no effect on unix sockets"));
    }
}

/// Tries what the system may refuse, and tells what it does: at `place`, but for what may come later.
pub(super) fn probe(options: &SocketOptions, transparent: bool, place: Place, report: &mut Report) {
    for unset in options.probe(transparent) {
        let Unset { option, error } = &unset;
        if *option == "mptcp" {
            report
                .warning(place, format!("`mptcp` has no effect: {error}; TCP is spoken instead"))
                .help("see net.mptcp.enabled");
            continue;
        }
        let finding = report.error(place, format!("the system refuses the option `{option}`: {error}"));
        if let Some(help) = unset.help() {
            finding.help(help);
        }
    }
}

/// What a listening socket is told; names of owner and group are looked up, which may ask a server on the network.
pub(super) fn load_listen(settings: &SocketSettings, report: &mut Report) -> ListenOptions {
    let mut options = settings.options.clone();
    if let Some(place) = settings.place {
        probe(&options.socket, false, place, report);
    }
    options.permit = settings.permit.as_ref().map(|permit| Permit {
        mode: permit.mode,
        owner: permit.owner.as_ref().and_then(|name| user_number(name, report)),
        group: permit.group.as_ref().and_then(|name| group_number(&name.value, name.place, report)),
    });
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_written() {
        for text in [
            "client",
            "192.0.2.1",
            "2001:db8::1",
            "192.0.2.1:1000-1999",
            "[2001:db8::1]:20000-65535",
            "127.0.0.1:5-5",
        ] {
            assert_eq!(parse_source(text).map(format_source).as_deref(), Some(text));
        }
        assert_eq!(parse_source("127.0.0.1:5"), parse_source("127.0.0.1:5-5"));
        for text in [
            "",
            "x",
            "localhost",
            "192.0.2.1:",
            "192.0.2.1:0-9",
            "192.0.2.1:9-8",
            "192.0.2.1:1-70000",
            "0.0.0.0",
            "224.0.0.1",
            "2001:db8::1:1-2:3",
            "[192.0.2.1]:1-2",
            "192.0.2.1:+1-2",
            "Client",
        ] {
            assert_eq!(parse_source(text), None, "{text}");
        }
    }
}
