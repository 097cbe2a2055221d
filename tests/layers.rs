// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order of the layers, enforced: who may import whom, which crate may be named where, where `unsafe` and
//! `epoll_ctl` may stand, how long a file may be.
//!
//! Rust compiles cyclic `use` happily, so docs/ARCHITECTURE.md's import table needs a test. It reads the sources as
//! text, with comments and string literals blanked out, and follows every `crate::` and `super::` path wherever it
//! stands. Unit tests (`#[cfg(test)] mod …`) are exempt: a test may build whatever it needs. Not here: what
//! clippy.toml forbids.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources must fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Row of every module, most specific path first where a folder spans rows. A module imports from rows above its own
/// (smaller numbers) and freely inside its own folder, save where a folder spans rows.
const ROWS: &[(&str, u8)] = &[
    ("sys", 1),
    ("wire", 2),
    ("channel::fifo", 2),
    ("error", 3),
    ("stats", 3),
    ("live", 3),
    ("log", 3),
    ("event", 4),
    ("stream", 5),
    ("channel", 5),
    ("policy", 6),
    ("resolver", 7),
    ("connection::context", 7),
    ("connection::pair", 7),
    ("handshake", 8),
    ("connection::relay", 8),
    ("connection", 9),
    ("mode", 10),
    ("config", 11),
    ("daemon::queue", 12),
    ("daemon::listener", 12),
    ("daemon::worker", 12),
    ("daemon::inbox", 12),
    ("control", 12),
    ("checks", 12),
    ("daemon::tasks", 12),
    ("daemon", 13),
    ("explain", 14),
    ("args", 14),
    ("version", 14),
    ("main", 14),
    ("lib", 14),
    ("ctl", 15),
];

/// `src/ctl` is another program: all it may name of ours. It knows the daemon by what that answers.
const FOR_CTL: &[&str] = &[
    "args",
    "config",
    "connection::view",
    "control::model",
    "daemon::Options",
    "daemon::check",
    "explain",
    "log::Level",
    "sys::terminal",
    "sys::time",
    "version",
];

/// Imports the rows would allow and the table still forbids: (module, what it may not name).
const FORBIDDEN: &[(&str, &str)] = &[("event", "wire"), ("mode", "connection::connection")];

/// Crates of Cargo.toml and the places that may name them; a place that ends in `/` or `_` is a prefix.
const CRATES: &[(&str, &[&str])] = &[
    (
        "openssl",
        &["stream/tls.rs", "stream/tls/flaw.rs", "policy/tls_", "policy/certificate", "sys/openssl.rs"],
    ),
    ("openssl_sys", &["sys/openssl.rs"]),
    ("nix", &["sys/"]),
    ("libc", &["sys/"]),
    ("toml", &["config/"]),
    (
        "serde",
        &["config/", "connection/view.rs", "control/", "ctl/client.rs", "ctl/connections.rs", "explain.rs"],
    ),
    ("base64", &["wire/base64.rs"]),
    ("domain", &["wire/dns.rs"]),
    ("getopts", &["args.rs", "ctl/args.rs"]),
    ("syslog", &["log/"]),
    ("form_urlencoded", &["control/http/query.rs"]),
    ("subtle", &["control/http/gate.rs"]),
    ("foreign_types", &["sys/openssl.rs"]),
    ("httparse", &["wire/http_connect.rs", "wire/http_host.rs", "control/http/"]),
    ("idna", &["policy/hostname.rs"]),
    ("ipnet", &["config/", "policy/networks.rs", "policy/route_table/", "policy/track.rs"]),
    ("regex", &["policy/hostname.rs"]),
    ("serde_json", &["explain", "control/", "ctl/client.rs"]),
    (
        "crossbeam_queue",
        &[
            "daemon/inbox.rs",
            "daemon/keeper.rs",
            "daemon/queue.rs",
            "daemon/reload.rs",
            "daemon/tasks.rs",
            "connection/walk.rs",
            "policy/waiting.rs",
            "checks/thread.rs",
            "control/",
            "log/",
            "stats/failures.rs",
        ],
    ),
    ("intrusive_collections", &["event/list.rs"]),
    ("ratatui_core", &["ctl/top/"]),
    ("unicode_width", &["ctl/text.rs"]),
    ("maud", &["control/page/"]),
];

/// The only places where `unsafe` may be written.
const UNSAFE: &[&str] = &["sys/", "event/list.rs"];
/// The only places that may speak of `epoll_ctl`, whatever it is called there.
const EPOLL: &[&str] = &["event/event_loop.rs", "sys/epoll.rs"];
/// Lines of code a file may have, its unit tests not counted.
const LINES: usize = 500;

#[test]
fn the_sources_keep_the_order_of_the_layers() {
    let mut files = Vec::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut files);
    assert!(files.len() > 10, "the sources were not found");
    let faults = check(&files);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn an_import_from_a_lower_row_is_found_in_every_form() {
    for text in [
        "use crate::daemon::worker::Worker;",
        "pub use crate::{error::Error, daemon::worker};",
        "use crate::{\n    wire::Parsed,\n    daemon::{queue::Queue, worker::{self, Worker}},\n};",
        "fn f() { crate::daemon::worker::run() }",
        "use super::super::daemon::worker;",
        "use super::super::{error::Error, daemon::worker::Worker as W};",
        "#[cfg(test)]\nuse crate::daemon::worker::Worker;",
    ] {
        let faults = check(&[source("event/slots.rs", text)]);
        assert!(faults.iter().any(|fault| fault.contains("daemon::worker")), "{text}: {faults:?}");
        assert_eq!(check(&[source("daemon/daemon.rs", text)]), [""; 0], "{text}");
    }
}

#[test]
fn what_stands_above_in_the_own_folder_or_in_tests_is_allowed() {
    for (path, text) in [
        ("daemon/worker.rs", "use crate::config::Config; use super::queue::Queue;"),
        ("event/slots.rs", "use super::Token; use crate::log::Log;"),
        ("channel/mod.rs", "mod fifo; use self::fifo::Fifo; use crate::stream::Stream;"),
        ("event/slots.rs", "// crate::daemon::worker\nconst S: &str = \"crate::daemon::worker\";"),
        ("event/slots.rs", "#[cfg(test)]\nmod tests {\n    use crate::daemon::worker::Worker;\n}"),
        ("sys/openssl.rs", "use openssl::ssl::Ssl; pub fn f() { unsafe { g() } }"),
        ("connection/context.rs", "use crate::sys::openssl; fn f() { openssl::version() }"),
    ] {
        assert_eq!(check(&[source(path, text)]), [""; 0], "{path}: {text}");
    }
}

#[test]
fn rows_that_split_a_folder_and_special_cases_are_kept() {
    for (path, text) in [
        ("channel/fifo.rs", "use crate::stream::Stream;"),
        ("daemon/worker.rs", "use super::daemon::Daemon;"),
        ("connection/pair.rs", "use super::plan::Plan;"),
        ("handshake/connect.rs", "use crate::connection::plan::Plan;"),
        ("event/slots.rs", "use crate::wire::Parsed;"),
        ("mode/health.rs", "use crate::connection::connection::Connection;"),
    ] {
        assert_eq!(check(&[source(path, text)]).len(), 1, "{path}: {text}");
    }
    let both_ways = [
        source("channel/mod.rs", "use crate::stream::Stream;"),
        source("stream/mod.rs", "use crate::channel::Channel;"),
    ];
    assert_eq!(check(&both_ways[..1]), [""; 0], "one way inside a row is fine");
    assert_eq!(check(&both_ways).len(), 1, "a circle inside a row is not");
}

#[test]
fn the_other_program_names_nothing_of_the_daemon_but_what_it_answers() {
    for text in [
        "use tunnel::control::state::State;",
        "use tunnel::{args::Command, policy::access::Level};",
        "fn f() { tunnel::daemon::Tunnel::new() }",
    ] {
        assert_eq!(check(&[source("ctl/main.rs", text)]).len(), 1, "{text}");
    }
    let allowed =
        "use crate::policy::x; use super::keys::Key; use tunnel::control::model::{Server, Service};";
    assert_eq!(check(&[source("ctl/top/state.rs", allowed)]), [""; 0]);
    assert_eq!(check(&[source("daemon/daemon.rs", "use crate::ctl::text;")]).len(), 1);
}

#[test]
fn a_crate_outside_its_files_is_found() {
    for (name, _) in CRATES {
        for text in [
            format!("use {name}::thing;"),
            format!("use {{{name}::thing, std::fmt}};"),
            format!("fn f() {{ ::{name}::thing() }}"),
            format!("#[derive({name}::Thing)] struct S;"),
        ] {
            let faults = check(&[source("handshake/connect.rs", &text)]);
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        }
    }
    assert_eq!(check(&[source("handshake/connect.rs", "use tomlish::x; use my_nix::y;")]), [""; 0]);
}

#[test]
fn unsafe_epoll_ctl_and_long_files_are_found() {
    for text in ["fn f() { unsafe { g() } }", "fn f() { epoll_ctl() }", "fn f(e: Epoll) { EpollCtlAdd }"] {
        assert_eq!(check(&[source("stream/raw.rs", text)]).len(), 1, "{text}");
    }
    assert_eq!(check(&[source("stream/raw.rs", "#![deny(unsafe_code)] // unsafe epoll_ctl")]), [""; 0]);
    let long = "\n".repeat(LINES + 1);
    assert_eq!(check(&[source("stream/raw.rs", &long)]).len(), 1);
    let mostly_tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}");
    assert_eq!(check(&[source("stream/raw.rs", &mostly_tests)]), [""; 0]);
}

#[test]
fn a_file_without_licence_or_role_is_found() {
    assert_eq!(check(&[File { path: "stream/raw.rs".into(), text: "fn f() {}\n".into() }]).len(), 2);
}

/// A source file: path below src/, text as written.
struct File {
    path: String,
    text: String,
}

/// A file of a test, with the header every file has.
fn source(path: &str, text: &str) -> File {
    File { path: path.into(), text: format!("{LICENCE}\n//! Role.\n{text}\n") }
}

const LICENCE: &str = "// SPDX-License-Identifier: MIT OR Apache-2.0";

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if path.ends_with(".rs") {
            files.push(File { text: fs::read_to_string(entry.path()).unwrap(), path });
        }
    }
}

/// Every fault of `files`, one line each.
fn check(files: &[File]) -> Vec<String> {
    let test_only: BTreeSet<String> = files.iter().flat_map(test_files).collect();
    let mut faults = Vec::new();
    let mut sideways = BTreeSet::new();
    for file in files {
        check_header(file, &mut faults);
        if test_only.contains(&file.path) {
            continue;
        }
        let code = without_tests(&blank(&file.text));
        let lines = code.lines().count();
        if lines > LINES {
            faults.push(format!("{}: {lines} lines of code, more than {LINES}", file.path));
        }
        let paths = paths(&file.path, &code);
        check_imports(file, &paths, &mut faults, &mut sideways);
        check_words(file, &code, &paths, &mut faults);
    }
    for (from, to) in &sideways {
        if from < to && sideways.contains(&(to.clone(), from.clone())) {
            faults.push(format!("{from} and {to} stand in one row and import each other"));
        }
    }
    faults
}

fn check_header(file: &File, faults: &mut Vec<String>) {
    let mut lines = file.text.lines();
    if lines.next() != Some(LICENCE) {
        faults.push(format!("{}: the first line is not the licence", file.path));
    }
    if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
        faults.push(format!("{}: the second line does not tell the file's role (//!)", file.path));
    }
}

fn check_imports(
    file: &File,
    paths: &BTreeSet<Vec<String>>,
    faults: &mut Vec<String>,
    sideways: &mut BTreeSet<(String, String)>,
) {
    let module = module_of(&file.path).join("::");
    let Some((own, own_row)) = row(&module) else {
        faults.push(format!("{}: not in the table of rows", file.path));
        return;
    };
    for path in paths {
        let target = path.join("::");
        let Some((other, other_row)) = row(&target) else { continue };
        let one_folder = first(&module) == first(&target);
        let forbidden = FORBIDDEN.iter().any(|(who, what)| within(&module, who) && within(&target, what));
        // What a folder's mod.rs defines or re-exports belongs to all of the folder.
        let folder_itself = one_folder && path.len() <= 2 && !ROWS.iter().any(|(name, _)| *name == target);
        let foreign = own == "ctl" && !one_folder && !FOR_CTL.iter().any(|may| within(&target, may));
        let too_low = other_row > own_row && !folder_itself && !(own == first(&target) && one_folder);
        if forbidden || foreign || too_low {
            faults.push(format!("{}: row {own_row} imports {target} of row {other_row}", file.path));
        } else if other_row == own_row && !one_folder {
            sideways.insert((own.to_owned(), other.to_owned()));
        }
    }
}

fn check_words(file: &File, code: &str, paths: &BTreeSet<Vec<String>>, faults: &mut Vec<String>) {
    for (name, places) in CRATES {
        // A module of ours may bear a crate's name (`sys::openssl`); imported, it is meant, not the crate.
        let ours = paths.iter().any(|path| path.last().is_some_and(|last| last == name));
        if !ours && names_crate(code, name) && !allowed(&file.path, places) {
            faults.push(format!("{}: names the crate {name}", file.path));
        }
    }
    if words(code).any(|(_, word)| word == "unsafe") && !allowed(&file.path, UNSAFE) {
        faults.push(format!("{}: unsafe", file.path));
    }
    let epoll = words(code).any(|(_, word)| word == "epoll_ctl" || word.starts_with("EpollCtl"));
    if epoll && !allowed(&file.path, EPOLL) {
        faults.push(format!("{}: epoll_ctl outside the event loop", file.path));
    }
}

fn allowed(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| if place.ends_with(".rs") { path == *place } else { path.starts_with(place) })
}

/// The row of `path` by its longest prefix in the table.
fn row(path: &str) -> Option<(&'static str, u8)> {
    ROWS.iter().copied().filter(|(name, _)| within(path, name)).max_by_key(|(name, _)| name.len())
}

fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// "daemon/queue.rs" → daemon, queue; "daemon/mod.rs" → daemon.
fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    path.strip_suffix("/mod").unwrap_or(path).split('/').map(str::to_owned).collect()
}

/// Files that exist for tests only: `#[cfg(test)] mod name;` beside or below `file`.
fn test_files(file: &File) -> Vec<String> {
    let folder = match file.path.rsplit_once('/') {
        Some((folder, "mod.rs")) => format!("{folder}/"),
        _ if matches!(file.path.as_str(), "lib.rs" | "main.rs") => String::new(),
        _ => format!("{}/", file.path.strip_suffix(".rs").unwrap_or(&file.path)),
    };
    let code = blank(&file.text);
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let name = after_mod(rest)?;
        name.split_once(';').map(|(name, _)| name.trim()).filter(|name| is_name(name))
    });
    declared.flat_map(|name| [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")]).collect()
}

/// What follows the `mod` that stands at the start of `rest`, visibility aside.
fn after_mod(rest: &str) -> Option<&str> {
    let rest = rest.trim_start();
    ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
        .iter()
        .find_map(|start| rest.strip_prefix(start))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// `code` up to its unit tests, which stand last in a file.
fn without_tests(code: &str) -> String {
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|at| from + at) {
        let rest = &code[at + "#[cfg(test)]".len()..];
        // Other attributes may stand between.
        let rest = rest.trim_start_matches(|c: char| c != 'm' && c != 'p' && c != 'u' && c != 'f');
        if after_mod(rest).is_some_and(|rest| rest.find('{') < rest.find(';').or(Some(usize::MAX))) {
            return code[..at].to_owned();
        }
        from = at + 1;
    }
    code.to_owned()
}

/// Every path of `code` that begins with `crate`, `super` or `self`, from the crate's root, groups unfolded. The programs
/// call the library by its name; the one below `ctl/` is a crate of its own, whose root that folder is.
fn paths(file: &str, code: &str) -> BTreeSet<Vec<String>> {
    let module = module_of(file);
    let ctl = module.first().is_some_and(|folder| folder == "ctl");
    let program = ctl || file == "main.rs";
    let mut found = BTreeSet::new();
    for (at, word) in words(code) {
        let begins = matches!(word, "crate" | "super" | "self") || (program && word == "tunnel");
        if !begins || code[..at].ends_with("::") {
            continue;
        }
        let mut base = match word {
            "crate" if ctl => vec!["ctl".to_owned()],
            "crate" | "tunnel" => Vec::new(),
            _ => module.clone(),
        };
        let mut rest = &code[at + word.len()..];
        if word == "super" {
            base.pop();
        }
        while let Some(more) = rest.strip_prefix("::super") {
            base.pop();
            rest = more;
        }
        if let Some(more) = rest.strip_prefix("::") {
            unfold(&base, &mut more.chars().peekable(), &mut found);
        }
    }
    found
}

/// Reads one path or `{group}` and adds what it names below `base`.
fn unfold(
    base: &[String],
    text: &mut std::iter::Peekable<std::str::Chars<'_>>,
    found: &mut BTreeSet<Vec<String>>,
) {
    let mut path = base.to_vec();
    loop {
        while text.next_if(|c| c.is_whitespace()).is_some() {}
        if text.next_if_eq(&'{').is_some() {
            // A group ends at its brace; a text that ends before it ends every group.
            while text.peek().is_some() && text.next_if_eq(&'}').is_none() {
                unfold(&path, text, found);
                // What follows a name ("as X", blanks) is of no interest.
                while text.next_if(|c| *c != ',' && *c != '}').is_some() {}
                text.next_if_eq(&',');
                while text.next_if(|c| c.is_whitespace()).is_some() {}
            }
            return;
        }
        let mut name = String::new();
        while let Some(c) = text.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
        }
        if name.is_empty() || name == "self" {
            break;
        }
        path.push(name);
        if text.next_if_eq(&':').is_none() || text.next_if_eq(&':').is_none() {
            break;
        }
    }
    found.insert(path);
}

/// Whether `code` names the crate `name`: at the start of a path, not as the end of another path.
fn names_crate(code: &str, name: &str) -> bool {
    words(code).any(|(at, word)| {
        let before = &code[..at];
        let starts = match before.strip_suffix("::") {
            None => true,
            Some(before) => !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>'),
        };
        let used = before.trim_end().ends_with("use") || before.trim_end().ends_with("crate ");
        word == name && starts && (code[at + word.len()..].starts_with("::") || used)
    })
}

/// The words (names and keywords) of `code` with their places.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + code[from..].find(inside)?;
        let end = code[start..].find(|c| !inside(c)).map_or(code.len(), |length| start + length);
        from = end;
        Some((start, &code[start..end]))
    })
}

/// `text` with comments and the insides of literals replaced by blanks, lines kept.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = literal(rest, out.chars().last()).unwrap_or(0);
        if length == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// The length of the comment or literal `text` begins with, if it does; `before` is the character before it.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    let end =
        |mark: &str, from: usize| text[from..].find(mark).map_or(text.len(), |at| from + at + mark.len());
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(end("*/", 2));
    }
    if text.starts_with('r') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        let marks = text[1..].find(|c| c != '#').unwrap_or(0);
        if text[1 + marks..].starts_with('"') {
            return Some(end(&format!("\"{}", "#".repeat(marks)), marks + 2));
        }
    }
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    // A character, not a lifetime: closed after one character or an escape.
    let mut chars = text.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) => Some(quoted(text, '\'')),
        (Some('\''), Some(c), Some('\'')) => Some(2 + c.len_utf8()),
        _ => None,
    }
}

/// The length of a literal between two `mark`s, escapes skipped.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == mark {
            return at + c.len_utf8();
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}
