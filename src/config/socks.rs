// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mode "socks": the users of `socks`, and what a `connect` to what the client names may say beside it.
//!
//! Not here: where clients may be taken (`policy/target.rs`).

use super::address::Target;
use super::include::read_text;
use super::names::check_patterns;
use super::raw::{At, Fields, Node};
use super::report::{Place, Report};
use super::service::Frame;
use super::settings::{ConnectSettings, Endpoint, PortList};
use super::tables;
use crate::policy::hostname::Pattern;
use crate::policy::socks::Users;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The mode's name.
pub(super) const MODE: &str = "socks";

/// Bytes of a file of users, at most.
const FILE_MOST: u64 = 1 << 20;

/// Bytes of a name or a password, at most (RFC 1929 section 2).
const WORD_MOST: usize = 255;

/// The right of everybody to read a file.
const READABLE: u32 = 0o004;

/// Reads `socks`: the file of its users, if it has one.
pub(super) fn check(fields: Fields<'_>, frame: Frame<'_>, report: &mut Report) -> Option<At<PathBuf>> {
    let node = fields.get("socks")?;
    if frame.mode.name != MODE {
        report.error(node.place, format!("`socks` goes with mode = \"{MODE}\" only"));
        return None;
    }
    let users = node.fields(&tables::SOCKS, report)?.get("users")?;
    Some(At { value: users.path(frame.directory, report)?, place: users.place })
}

/// Whether the way to the server fits the mode: in this one, and in no other, the client says the port as well.
pub(super) fn check_connect(connect: &ConnectSettings, frame: Frame<'_>, report: &mut Report) {
    let socks = frame.mode.name == MODE;
    let written = || {
        let servers = connect.servers.iter().map(|server| &server.endpoint);
        connect.addresses.iter().chain(servers)
    };
    for endpoint in written() {
        let any = matches!(endpoint.target, Target::Requested(None));
        if any && !socks {
            report
                .error(endpoint.text.place, "\"*:*\", but no client ever names a port")
                .help(format!("write mode = \"{MODE}\", or a port: \"*:443\""));
        } else if !any && socks {
            report
                .error(endpoint.text.place, format!("in mode \"{MODE}\" the client says where it goes"))
                .help("write connect = \"*:*\"");
        }
    }
    if !socks {
        return;
    }
    let tls = connect.tls.as_ref().map(|tls| tls.places.table);
    for (key, is_there) in [
        ("tls", tls.is_some()),
        ("send_proxy", connect.send_proxy.is_some()),
        ("proxy", connect.via.is_some()),
    ] {
        if let (true, Some(endpoint)) = (is_there, written().next()) {
            report
                .error(
                    tls.filter(|_| key == "tls").unwrap_or(endpoint.text.place),
                    format!(
                        "`{key}` in mode \"{MODE}\": what is spoken with the server is the client's matter"
                    ),
                )
                .help("leave it out");
        }
    }
}

/// Reads `names` and `ports` of a `connect`, which go with what the client asks for.
pub(super) fn check_listed(
    fields: Option<Fields<'_>>,
    requested: Option<&Endpoint>,
    report: &mut Report,
) -> (Vec<Pattern>, PortList) {
    let Some(fields) = fields else { return Default::default() };
    let any_port = requested.is_some_and(|endpoint| matches!(endpoint.target, Target::Requested(None)));
    for (key, fits, address) in [("names", requested.is_some(), "*:PORT"), ("ports", any_port, "*:*")] {
        if let (Some(node), false) = (fields.get(key), fits) {
            report.error(node.place, format!("`{key}` without an address {address:?}"));
        }
    }
    let names = check_patterns(fields, "names", report);
    let ports = fields.get("ports").map(|node| check_ports(node, report)).unwrap_or_default();
    (names, ports)
}

/// Reads `ports`: numbers, and texts as in "8000-8999".
fn check_ports(node: Node<'_>, report: &mut Report) -> PortList {
    let items = node.items().unwrap_or_else(|| vec![node]);
    if items.is_empty() {
        report.error(node.place, "`ports` must not be empty");
    }
    let mut ports = Vec::new();
    for item in items {
        if item.is_string() {
            let Some(text) = item.string(report) else { continue };
            let bounds = text.value.split_once('-').and_then(|(first, last)| {
                Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
            });
            match bounds {
                Some((first, last)) if 0 < first && first <= last => ports.push(first..=last),
                _ => {
                    report
                        .error(text.place, format!("{:?} is no range of ports", text.value))
                        .help("write a number, or \"8000-8999\"");
                }
            }
        } else if let Some(port) = item.integer(1..=65_535, report) {
            ports.extend(u16::try_from(port).ok().map(|port| port..=port));
        }
    }
    ports
}

/// A range of ports as it is written.
pub(super) fn format_ports(ports: &RangeInclusive<u16>) -> String {
    format!("{}-{}", ports.start(), ports.end())
}

/// The users in a file, one "name:password" per line, which must not be everybody's to read; blocks.
pub(super) fn load(path: &Path, place: Place, report: &mut Report) -> Option<Users> {
    let text = match read_text(path, FILE_MOST) {
        Ok(text) => text,
        Err(why) => {
            report.error(place, format!("{}: {why}", path.display()));
            return None;
        }
    };
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & READABLE != 0) {
        let finding = report.error(place, format!("{}: everybody may read these passwords", path.display()));
        finding.help(format!("take the right away: chmod o-r {}", path.display()));
        return None;
    }
    let mut users = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fits = |word: &str| (1..=WORD_MOST).contains(&word.len());
        match line.split_once(':').filter(|(user, password)| fits(user) && fits(password)) {
            Some((user, password)) => users.push((user.as_bytes().into(), password.as_bytes().into())),
            None => {
                report
                    .error(place, format!("{}:{number}: no user and password", path.display()))
                    .help(format!("write \"user:password\", each of 1 to {WORD_MOST} bytes"));
                return None;
            }
        }
    }
    if users.is_empty() {
        report.error(place, format!("{}: there is no user in it", path.display()));
        return None;
    }
    Some(Users::new(users))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users_of(text: &str, mode: u32) -> Result<Users, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut report = Report::default();
        let file = report.add_source("t.conf".into(), Some("x".into()));
        load(&path, Place { file, start: 0, end: 1 }, &mut report).ok_or_else(|| report.to_string())
    }

    #[test]
    fn users_stand_in_lines_that_others_cannot_read() {
        let users = users_of("# ours\n\nme:se:cret\nyou:x\n", 0o640).unwrap();
        assert!(users.knows(b"me", b"se:cret") && users.knows(b"you", b"x") && !users.knows(b"# ours", b""));
        for (text, mode, why) in [
            ("me:x\n", 0o644, "everybody may read these passwords"),
            ("me\n", 0o600, "users:1: no user and password"),
            ("a:b\n:x\n", 0o600, "users:2: no user and password"),
            ("a:\n", 0o600, "users:1: no user and password"),
            ("# nobody\n", 0o600, "there is no user in it"),
        ] {
            let told = users_of(text, mode).unwrap_err();
            assert!(told.contains(why), "{text:?}: {told}");
        }
    }
}
