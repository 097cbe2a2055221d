// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[control]`: where the daemon may be asked, and who may do what there.
//!
//! Two stages, as everywhere: what is written is checked without touching the system; then names of users and groups are
//! looked up and files with secrets are read. A secret never stands in the configuration itself, so that showing it shows
//! paths. Not here: binding and answering (`control/`).

use super::address::{Purpose, Target, UNIX_NAME_MAX};
use super::include::read_text;
use super::raw::{At, Fields, Node};
use super::report::{Place, Report};
use super::settings::{CONTROL_MODE, Control};
use super::tables;
use crate::policy::access::{ControlSettings, ControlSocket, Level, Token};
use crate::sys::address::Address;
use crate::sys::identity;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything a `mode` may grant.
const MODE_MOST: u32 = 0o777;

/// That others may connect: connecting takes the right to write (unix(7)).
const OTHERS: u32 = 0o002;

/// That others may read a file.
const READABLE: u32 = 0o004;

/// Characters of a token, at least: what an attacker would have to guess.
const TOKEN_LEAST: usize = 16;

/// Bytes of a token's file, at most.
const TOKEN_MOST: u64 = 4096;

/// Keys that speak of the socket only.
const OF_THE_SOCKET: [&str; 4] = ["mode", "group", "admin", "operate"];

/// Reads `[control]`.
pub(super) fn check(node: Node<'_>, directory: &Path, report: &mut Report) -> Control {
    let mut control = Control::default();
    let Some(fields) = node.fields(&tables::CONTROL, report) else { return control };
    control.socket = fields.get("socket").and_then(|node| check_socket(node, directory, report));
    control.mode = fields.get("mode").and_then(|node| check_mode(node, report)).unwrap_or(CONTROL_MODE);
    control.group = fields.get("group").and_then(|node| who(node.string(report)?, report));
    for (key, list) in [("admin", &mut control.admin), ("operate", &mut control.operate)] {
        let names = fields.get(key).map(|node| node.strings(report)).unwrap_or_default();
        *list = names.into_iter().filter_map(|name| who(name, report)).collect();
    }
    control.http = fields.get("http").and_then(|node| check_http(node, report));
    let hosts = fields.get("hosts").map(|node| node.strings(report)).unwrap_or_default();
    control.hosts = hosts.into_iter().filter_map(|host| check_host(host, report)).collect();
    control.tokens = each(fields, "tokens", &tables::CONTROL_TOKEN, "file", report, |node, report| {
        Some(At { value: node.path(directory, report)?, place: node.place })
    });
    control.certificates =
        each(fields, "certificates", &tables::CONTROL_CERTIFICATE, "cn", report, |node, report| {
            let name = node.string(report)?;
            if name.value.is_empty() {
                report.error(name.place, "`cn` must not be empty");
                return None;
            }
            Some(name.value.to_owned())
        });
    if fields.lacks("socket") {
        for node in OF_THE_SOCKET.iter().filter_map(|key| fields.get(key)) {
            let message = format!("`{}` has no effect: there is no `socket`", node.key);
            report.warning(node.place, message);
        }
    }
    control
}

fn check_socket(node: Node<'_>, directory: &Path, report: &mut Report) -> Option<At<PathBuf>> {
    let path = node.path(directory, report)?;
    let written = node.as_str().unwrap_or_default();
    if let Some(rest) = written.strip_prefix("unix:") {
        let message = "`socket` is a path, without `unix:`";
        let finding = report.error(node.place, message);
        if !rest.starts_with('@') {
            finding.help(format!("write socket = {rest:?}"));
        } else {
            finding.help("an abstract name has no permissions: whoever is on this machine could connect");
        }
        return None;
    }
    let length = path.as_os_str().as_bytes().len();
    if length > UNIX_NAME_MAX {
        let message = format!("the path of the socket has {length} bytes, the system allows {UNIX_NAME_MAX}");
        report.error(node.place, message);
        return None;
    }
    Some(At { value: path, place: node.place })
}

fn check_mode(node: Node<'_>, report: &mut Report) -> Option<u32> {
    let mode = check_octal(node, report);
    if let Some(mode) = mode.filter(|mode| mode & OTHERS != 0) {
        let message = format!("mode \"{mode:04o}\": every user of this machine may see every connection");
        report.warning(node.place, message);
    }
    mode
}

/// Permission bits, in octal digits.
pub(super) fn check_octal(node: Node<'_>, report: &mut Report) -> Option<u32> {
    if !node.is_string() {
        node.mismatch("a string", report).help("write the digits as a string: mode = \"0660\"");
        return None;
    }
    let text = node.string(report)?;
    let octal = !text.value.is_empty() && text.value.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text.value, 8).ok().filter(|mode| octal && *mode <= MODE_MOST);
    if mode.is_none() {
        let message = format!("{:?} is not a mode", text.value);
        report.error(text.place, message).help("write three octal digits, as in \"0660\"");
    }
    mode
}

/// The name of a user or group: something.
fn who(name: At<&str>, report: &mut Report) -> Option<At<String>> {
    if name.value.trim_start_matches('@').is_empty() {
        let finding = report.error(name.place, format!("{:?} is no name", name.value));
        finding.help("write the name of a user, or \"@\" and that of a group");
        return None;
    }
    Some(At { value: name.value.to_owned(), place: name.place })
}

fn check_http(node: Node<'_>, report: &mut Report) -> Option<SocketAddr> {
    let text = node.string(report)?;
    match Target::parse(text.value, Purpose::Accept, Path::new("/")) {
        Ok(Target::Ready(Address::Inet(address))) => {
            if !address.ip().is_loopback() {
                report
                    .warning(text.place, format!("{} lets other machines see every connection", text.value))
                    .help(
                        "listen on 127.0.0.1, or make a service of mode \"control\" with TLS and `client_ca`",
                    );
            }
            Some(address)
        }
        Ok(_) => {
            let message = format!("`http` must be an address in numbers, not {:?}", text.value);
            report.error(text.place, message).help("write, for example, http = \"127.0.0.1:9180\"");
            None
        }
        Err(complaint) => {
            report.complain(text.place, complaint);
            None
        }
    }
}

/// A name as in a Host header, without a port.
fn check_host(host: At<&str>, report: &mut Report) -> Option<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.value.is_empty() || !host.value.bytes().all(good) {
        let finding = report.error(host.place, format!("{:?} is not a host name", host.value));
        finding.help("write the name as browsers are given it, without a port");
        return None;
    }
    Some(host.value.to_ascii_lowercase())
}

/// The tables of the list `list`, each with its `key` and a level.
fn each<T>(
    fields: Fields<'_>,
    list: &'static str,
    spec: &'static tables::Table,
    key: &'static str,
    report: &mut Report,
    read: impl Fn(Node<'_>, &mut Report) -> Option<T>,
) -> Vec<(T, Level)> {
    let Some(node) = fields.get(list) else { return Vec::new() };
    let header = format!("{list} = [{{ {key} = \"…\", level = \"read\" }}]");
    let mut found = Vec::new();
    for fields in node.tables(&header, spec, report).unwrap_or_default() {
        for missing in [key, "level"] {
            if fields.lacks(missing) {
                let message = format!("an entry of `{list}` without `{missing}`");
                report.missing(fields.place, message).help(format!("write {header}"));
            }
        }
        let value = fields.get(key).and_then(|node| read(node, report));
        let level = fields.get("level").and_then(|node| node.choice(&Level::WORDS, report));
        found.extend(value.zip(level));
    }
    found
}

/// Looks up users and groups and reads secrets; problems are reported. Touches the system.
pub(super) fn load(control: &Control, report: &mut Report) -> ControlSettings {
    let mut users = Vec::new();
    let mut groups = Vec::new();
    for (names, level) in [(&control.operate, Level::Operate), (&control.admin, Level::Admin)] {
        for name in names {
            match name.value.strip_prefix('@') {
                Some(group) => groups.extend(group_number(group, name.place, report).zip(Some(level))),
                None => users.extend(user_number(name, report).zip(Some(level))),
            }
        }
    }
    let group = control.group.as_ref().and_then(|name| {
        let group = name.value.strip_prefix('@').unwrap_or(&name.value);
        group_number(group, name.place, report)
    });
    let socket = control.socket.as_ref().map(|path| ControlSocket {
        path: path.value.clone(),
        mode: control.mode,
        group,
        users,
        groups,
    });
    let tokens = control.tokens.iter();
    let tokens = tokens.filter_map(|(path, level)| {
        let secret = token(&path.value, path.place, report)?;
        let name = path.value.file_name().unwrap_or_default().to_string_lossy().into();
        Some(Token { name, secret, level: *level })
    });
    ControlSettings {
        socket,
        http: control.http,
        tokens: tokens.collect(),
        certificates: control
            .certificates
            .iter()
            .map(|(name, level)| (name.as_str().into(), *level))
            .collect(),
        hosts: control.hosts.iter().map(|host| host.as_str().into()).collect(),
    }
}

pub(super) fn user_number(name: &At<String>, report: &mut Report) -> Option<u32> {
    let number = name.value.parse().ok().or_else(|| identity::user_number(&name.value));
    if number.is_none() {
        report.error(name.place, format!("there is no user {:?}", name.value));
    }
    number
}

pub(super) fn group_number(name: &str, place: Place, report: &mut Report) -> Option<u32> {
    let number = name.parse().ok().or_else(|| identity::group_number(name));
    if number.is_none() {
        report.error(place, format!("there is no group {name:?}"));
    }
    number
}

/// The secret in a file, which must be nobody else's to read.
fn token(path: &Path, place: Place, report: &mut Report) -> Option<Box<str>> {
    let mut refuse = |message: String, help: &str| {
        let finding = report.error(place, format!("{}: {message}", path.display()));
        if !help.is_empty() {
            finding.help(help.to_owned());
        }
        None
    };
    let text = match read_text(path, TOKEN_MOST) {
        Ok(text) => text,
        Err(reason) => return refuse(reason, ""),
    };
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & READABLE != 0) {
        let help = format!("take the right away: chmod o-r {}", path.display());
        return refuse("everybody may read this token".to_owned(), &help);
    }
    let token = text.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("a token must be one word of visible ASCII characters".to_owned(), "");
    }
    if token.len() < TOKEN_LEAST {
        let message = format!("a token must have at least {TOKEN_LEAST} characters");
        return refuse(message, "make one: openssl rand -hex 32");
    }
    Some(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret in a file of that text and mode, or the first line of what is said about it.
    fn token_of(text: &str, mode: u32) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut report = Report::default();
        let file = report.add_source("t.conf".into(), Some("x".into()));
        let place = Place { file, start: 0, end: 1 };
        match token(&path, place, &mut report) {
            Some(token) => Ok(token.into()),
            None => {
                Err(report.to_string().lines().next().unwrap_or_default().rsplit(": ").next().unwrap().into())
            }
        }
    }

    #[test]
    fn a_token_is_the_one_word_of_a_file_that_others_cannot_read() {
        assert_eq!(token_of("0123456789abcdef\n", 0o640).as_deref(), Ok("0123456789abcdef"));
        for (text, mode, expected) in [
            ("0123456789abcdef", 0o644, "everybody may read this token"),
            ("0123456789abcde", 0o600, "a token must have at least 16 characters"),
            ("", 0o600, "a token must have at least 16 characters"),
            ("0123456789 abcdef", 0o600, "a token must be one word of visible ASCII characters"),
            ("0123456789abcdeé", 0o600, "a token must be one word of visible ASCII characters"),
        ] {
            assert_eq!(token_of(text, mode), Err(expected.to_owned()), "{text:?} {mode:o}");
        }
    }
}
