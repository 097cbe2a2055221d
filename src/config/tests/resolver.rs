// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[resolver]`: what is understood, what is refused.

use super::{GOOD, checked};
use crate::resolver::Settings;
use std::time::Duration;

#[test]
fn the_resolver_table_is_understood() {
    let (settings, report) = checked(&format!(
        "[resolver]\nservers = [\"192.0.2.53\", \"2001:db8::53\", \"[2001:db8::54]:5353\"]\nhosts = \"h\"\n\
         min = \"1s\"\nmax = \"1s\"\nnegative = \"0s\"\nstale = \"0s\"\ntimeout = \"50ms\"\nattempts = 1\n{GOOD}"
    ));
    assert_eq!(report.to_string(), "");
    let second = Duration::from_secs(1);
    let expected = Settings {
        servers: ["192.0.2.53:53", "[2001:db8::53]:53", "[2001:db8::54]:5353"]
            .map(|it| it.parse().unwrap())
            .into(),
        hosts: "/base/h".into(),
        min: second,
        max: second,
        negative: Duration::ZERO,
        stale: Duration::ZERO,
        timeout: Some(Duration::from_millis(50)),
        attempts: Some(1),
        ..Settings::default()
    };
    assert_eq!(settings.resolver, expected);
    assert_eq!(checked(GOOD).0.resolver, Settings::default());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (line, message) in [
        ("servers = \"ns.example.org\"", "\"ns.example.org\" is not the address of a name server"),
        ("servers = \"0.0.0.0\"", "\"0.0.0.0\" is not the address of a name server"),
        ("servers = \"192.0.2.1:0\"", "\"192.0.2.1:0\" is not the address of a name server"),
        ("servers = []", "`servers` is empty"),
        ("servers = 53", "`servers` must be a string or a list of strings"),
        ("hosts = \"\"", "`hosts` must not be empty"),
        ("min = \"0s\"", "`min` must be between 1s and 7d"),
        ("min = \"2h\"", "`max` is less than `min`"),
        ("max = \"8d\"", "`max` must be between 1s and 7d"),
        ("negative = 5", "`negative` must be a duration with a unit"),
        ("stale = \"31d\"", "`stale` must be between 0s and 30d"),
        ("timeout = \"1ms\"", "`timeout` must be between 10ms and 30s"),
        ("attempts = 0", "`attempts` must be between 1 and 10"),
        ("search = \"example.org\"", "unknown key \"search\""),
    ] {
        let (_, report) = checked(&format!("[resolver]\n{line}\n{GOOD}"));
        assert!(report.to_string().contains(&format!("error: {message}")), "{line}\n{report}");
    }
    let many = format!("[resolver]\nservers = [{}]\n{GOOD}", "\"192.0.2.1\",".repeat(9));
    assert!(checked(&many).1.to_string().contains("more than 8 servers"));
}
