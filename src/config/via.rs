// SPDX-License-Identifier: MIT OR Apache-2.0
//! `connect.proxy`: the proxy through which servers are reached, and the password for it.
//!
//! Not here: what is spoken with it (`handshake/via_proxy.rs`).

use super::address::{Purpose, Target};
use super::include::read_text;
use super::raw::{At, Fields, Node};
use super::report::{Complaint, Place, Report};
use super::settings::{Endpoint, ServerSettings, ViaSettings};
use super::tables;
use crate::policy::via::{Kind, Login, Via};
use crate::sys::address::Address;
use crate::wire::destination::Destination;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What `kind` may say.
pub(super) const KINDS: [(&str, Kind); 2] = [("socks5", Kind::Socks5), ("http", Kind::Http)];

/// Bytes of a name or a password, at most (RFC 1929 section 2).
const WORD_MOST: usize = 255;

/// Bytes of a file with a password, at most.
const FILE_MOST: u64 = 4096;

/// The right of everybody to read a file.
const READABLE: u32 = 0o004;

/// Reads `connect.proxy` for the short list, with its `expand`, and for `servers`.
pub(super) fn check(
    node: Node<'_>,
    (addresses, expand): (&[Endpoint], Option<At<usize>>),
    servers: &[ServerSettings],
    directory: &Path,
    report: &mut Report,
) -> Option<ViaSettings> {
    let fields = node.fields(&tables::CONNECT_PROXY, report)?;
    let kind = fields.get("kind").and_then(|node| node.choice(&KINDS, report));
    if fields.lacks("kind") {
        let finding = report.missing(fields.place, "`proxy` does not say what it speaks");
        finding.help("write kind = \"socks5\" or kind = \"http\"");
    }
    let endpoint = check_address(fields, directory, report);
    let login = check_login(fields, kind, directory, report);
    for server in addresses.iter().chain(servers.iter().map(|server| &server.endpoint)) {
        if let Err(complaint) = destination(&server.target, &server.text.value) {
            report.complain(server.text.place, complaint).note(fields.place, "the proxy is set here");
        }
    }
    for expand in servers.iter().filter_map(|server| server.expand).chain(expand) {
        report
            .error(expand.place, "`expand` where `connect` goes through a `proxy`")
            .note(fields.place, "the proxy is set here")
            .help("leave it out: the proxy resolves the names");
    }
    Some(ViaSettings { kind: kind?, endpoint: endpoint?, login })
}

fn check_address(fields: Fields<'_>, directory: &Path, report: &mut Report) -> Option<Endpoint> {
    let Some(node) = fields.get("address") else {
        if fields.lacks("address") {
            let finding = report.missing(fields.place, "`proxy` has no `address`");
            finding.help("add, for example, address = \"127.0.0.1:1080\"");
        }
        return None;
    };
    let text = node.string(report)?;
    match Target::parse(text.value, Purpose::Connect, directory) {
        Ok(Target::Requested(_)) => {
            report.error(text.place, "the proxy must have an address of its own, not the one a client names");
            None
        }
        Ok(target) => {
            let text = At { value: text.value.to_owned(), place: text.place };
            Some(Endpoint { text, target })
        }
        Err(complaint) => {
            report.complain(text.place, complaint);
            None
        }
    }
}

/// Reads `user` and `password_file`, which go together.
fn check_login(
    fields: Fields<'_>,
    kind: Option<Kind>,
    directory: &Path,
    report: &mut Report,
) -> Option<(String, At<PathBuf>)> {
    let (user_node, file_node) = (fields.get("user"), fields.get("password_file"));
    match (user_node, file_node) {
        (Some(user), None) if fields.lacks("password_file") => {
            let finding = report.missing(user.place, "`user` without a `password_file`");
            finding.help("write the password into a file that only we can read, and name it");
        }
        (None, Some(file)) if fields.lacks("user") => {
            report.missing(file.place, "`password_file` without a `user`");
        }
        _ => {}
    }
    let user = user_node.and_then(|node| node.string(report));
    let file = file_node.and_then(|node| {
        let value = node.path(directory, report)?;
        Some(At { value, place: node.place })
    });
    let user = user?;
    if !(1..=WORD_MOST).contains(&user.value.len()) {
        report.error(user.place, format!("`user` must have 1 to {WORD_MOST} bytes"));
    } else if kind == Some(Kind::Http) && user.value.contains(':') {
        report.error(user.place, "`user` has a colon, which ends a name in HTTP (RFC 7617)");
    }
    Some((user.value.to_owned(), file?))
}

/// What a proxy is asked for to reach a server.
///
/// # Errors
/// It cannot be asked for that.
pub(super) fn destination(target: &Target, written: &str) -> Result<Destination, Complaint> {
    match target {
        Target::Ready(Address::Inet(address)) => {
            Destination::new(address.ip().to_string().as_bytes(), address.port()).map_err(Complaint::new)
        }
        Target::Named(host, port) => Destination::new(host.as_bytes(), *port)
            .map_err(|why| Complaint::new(format!("{written:?} cannot be asked of a proxy: {why}"))),
        Target::Service(_) => Err(Complaint::new(format!(
            "the service {written:?} cannot be reached through a proxy, which is asked for a host and a port"
        ))),
        Target::Ready(_) => Err(Complaint::new("a unix socket cannot be reached through a proxy")),
        Target::Requested(_) => Err(Complaint::new(
            "the server that a client names cannot be reached through a proxy: nobody would check where it is",
        )),
    }
}

/// With the password read; blocks.
pub(super) fn load(settings: &ViaSettings, report: &mut Report) -> Option<Via> {
    let login = match &settings.login {
        Some((user, file)) => {
            let password = password(&file.value, file.place, report)?;
            Some(Login { user: user.as_str().into(), password })
        }
        None => None,
    };
    Some(Via { name: settings.endpoint.text.value.as_str().into(), kind: settings.kind, login })
}

/// The password in a file, which must not be everybody's to read.
pub(super) fn password(path: &Path, place: Place, report: &mut Report) -> Option<Box<str>> {
    let refuse = |why: &str, report: &mut Report| {
        report.error(place, format!("{}: {why}", path.display()));
        None
    };
    let text = match read_text(path, FILE_MOST) {
        Ok(text) => text,
        Err(why) => return refuse(&why, report),
    };
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & READABLE != 0) {
        let finding = report.error(place, format!("{}: everybody may read this password", path.display()));
        finding.help(format!("take the right away: chmod o-r {}", path.display()));
        return None;
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains(char::is_control) {
        return refuse("a password must be one line without control characters", report);
    }
    if !(1..=WORD_MOST).contains(&line.len()) {
        return refuse("a password must have 1 to 255 bytes", report);
    }
    Some(line.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password_of(text: &str, mode: u32) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut report = Report::default();
        let file = report.add_source("t.conf".into(), Some("x".into()));
        let found = password(&path, Place { file, start: 0, end: 1 }, &mut report);
        found.map(Into::into).ok_or_else(|| {
            report.to_string().lines().next().unwrap_or_default().rsplit(": ").next().unwrap().into()
        })
    }

    #[test]
    fn a_password_is_the_one_line_of_a_file_that_others_cannot_read() {
        assert_eq!(password_of("se cret:\u{fc}\r\n", 0o640).as_deref(), Ok("se cret:\u{fc}"));
        assert_eq!(password_of("x", 0o600).as_deref(), Ok("x"));
        for (text, mode, why) in [
            ("x", 0o644, "everybody may read this password"),
            ("", 0o600, "a password must have 1 to 255 bytes"),
            ("\n", 0o600, "a password must have 1 to 255 bytes"),
            ("a\nb\n", 0o600, "a password must be one line without control characters"),
            (&"x".repeat(256), 0o600, "a password must have 1 to 255 bytes"),
            (&"x".repeat(5000), 0o600, "the file is longer than 4KiB"),
        ] {
            assert_eq!(password_of(text, mode), Err(why.to_owned()), "{:?}", text.get(..9));
        }
    }
}
