// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[control]`: what is understood, what is warned of, what is found out when everything is loaded.

use super::{GOOD, checked, headlines, load_files};
use crate::policy::access::Level;
use std::path::Path;

#[test]
fn the_control_table_is_understood_and_warns_of_what_is_open_or_useless() {
    let (settings, report) = checked(&format!(
        "[control]\nsocket = \"run/c\"\nmode = \"660\"\ngroup = \"adm\"\nadmin = \"@adm\"\noperate = [\"a\", \"b\"]\n\
         http = \"[::1]:9180\"\nhosts = \"A.Example\"\ntokens = [{{ file = \"t\", level = \"operate\" }}]\n\
         certificates = [{{ cn = \"ops\", level = \"admin\" }}]\n{GOOD}"
    ));
    assert_eq!(report.to_string(), "");
    let control = settings.control;
    assert_eq!(control.socket.unwrap().value, Path::new("/base/run/c"));
    assert_eq!((control.mode, control.admin[0].value.as_str(), control.operate.len()), (0o660, "@adm", 2));
    assert_eq!((control.http.unwrap().port(), control.hosts[0].as_str()), (9180, "a.example"));
    assert_eq!(
        (control.tokens[0].0.value.as_path(), control.tokens[0].1),
        (Path::new("/base/t"), Level::Operate)
    );
    assert_eq!(control.certificates, [("ops".to_owned(), Level::Admin)]);
    for (line, warning) in [
        (
            "socket = \"c\"\nmode = \"0666\"",
            "mode \"0666\": every user of this machine may see every connection",
        ),
        ("mode = \"0600\"", "`mode` has no effect: there is no `socket`"),
        ("operate = \"a\"", "`operate` has no effect: there is no `socket`"),
        ("http = \"*:9180\"", "*:9180 lets other machines see every connection"),
        ("http = \"192.0.2.1:9180\"", "192.0.2.1:9180 lets other machines see every connection"),
    ] {
        let (_, report) = checked(&format!("[control]\n{line}\n{GOOD}"));
        assert!(!report.has_errors() && report.to_string().contains(warning), "{line}\n{report}");
    }
}

#[test]
fn users_groups_and_tokens_that_are_not_there_are_told_when_everything_is_loaded() {
    let text = "[control]\nsocket = \"c\"\ngroup = \"no-such-group\"\nadmin = [\"no-such-user\", \"root\", \"0\"]\n\
        operate = \"@no-such-group\"\ntokens = [{ file = \"token\", level = \"read\" }]\n";
    let (result, directory) = load_files(&[("tunnel.conf", format!("{text}{GOOD}").as_bytes())]);
    let heads = headlines(&result.unwrap_err(), &directory);
    let expected = [
        "tunnel.conf:3:9: error: there is no group \"no-such-group\"",
        "tunnel.conf:4:10: error: there is no user \"no-such-user\"",
        "tunnel.conf:5:11: error: there is no group \"no-such-group\"",
        "tunnel.conf:6:20: error: token: cannot read the file: No such file or directory",
    ];
    assert_eq!(heads, expected);
}

#[test]
fn control_stands_in_the_main_file_only() {
    let (result, directory) = load_files(&[
        ("tunnel.conf", format!("include = [\"more.conf\"]\n{GOOD}").as_bytes()),
        ("more.conf", b"[control]\nsocket = \"c\"\n"),
    ]);
    let heads = headlines(&result.unwrap_err(), &directory);
    assert_eq!(heads[0], "more.conf:1:1: error: `control` is allowed in the main file only");
}
