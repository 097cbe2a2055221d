// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks and pauses that are refused, each with what is said about it.

use super::{checked, load_files};

const SERVICE: &str = "[[service]]\nname = \"a\"\naccept = \"127.0.0.1:1\"\nconnect = \"127.0.0.1:2\"\n";

#[test]
fn checks_that_cannot_be() {
    for (text, expected) in [
        (
            "check = true",
            "5:9: error: `check` must be the kind of the check, a table or false, not a boolean",
        ),
        ("check = \"http\"", "5:9: error: unknown kind of check \"http\""),
        ("check = \"send\"", "5:9: error: a check of kind \"send\" needs `send` or `expect`"),
        ("check = {}", "5:9: error: `check` has no `kind`"),
        ("check = { kind = \"send\" }", "5:9: error: a check of kind \"send\" needs `send` or `expect`"),
        ("check = { kind = \"send\", send = \"\" }", "5:33: error: `send` must have 1 to 4096 bytes, not 0"),
        (
            "check = { kind = \"redis\", send = \"x\" }",
            "5:34: error: `send` with a check of kind \"redis\", which has none",
        ),
        ("check = { kind = \"smtp\", user = \"x\" }", "5:33: error: `user` with a check of kind \"smtp\""),
        ("check = { kind = \"tcp\", port = 0 }", "5:32: error: `port` must be between 1 and 65535"),
        ("check = { kind = \"tcp\", rise = 0 }", "5:32: error: `rise` must be between 1 and 100"),
        ("check = { kind = \"tcp\", fall = 101 }", "5:32: error: `fall` must be between 1 and 100"),
        (
            "check = { kind = \"tcp\", interval = \"1ms\" }",
            "5:36: error: `interval` must be between 100ms and 1d",
        ),
        (
            "check = { kind = \"tcp\", timeout = \"3s\" }",
            "5:35: error: `timeout` is longer than the `interval` of 2s",
        ),
        (
            "check = { kind = \"tls\", tls = false }",
            "5:31: error: `tls = false` with a check of kind \"tls\"",
        ),
        ("check = { kind = \"tcp\", fal = 1 }", "5:25: error: unknown key \"fal\" in [[service]] check"),
        ("passive = 3", "5:11: error: `passive` must be a table, true or false, not an integer"),
        ("passive = { fails = 0 }", "5:21: error: `fails` must be between 1 and 100"),
        ("passive = { window = \"0s\" }", "5:22: error: `window` must be between 1ms and 1d"),
        ("passive = { pause = \"2m\" }", "5:11: error: `pause` (2m) is longer than `max_pause` (1m)"),
        ("passive = { check = 1 }", "5:13: error: unknown key \"check\" in [[service]] passive"),
        ("mode = \"demo\"\ncheck = \"tcp\"", "6:9: error: a service with mode \"demo\" answers by itself"),
        (
            "[[service.route]]\nsni = [\"a\"]\naction = \"reject\"\ncheck = \"tcp\"",
            "8:9: error: `check` beside",
        ),
        (
            "[[service.route]]\nsni = [\"a\"]\n[[service.route.server]]\naddress = \"h:1\"\ncheck = 1",
            "9:9: error: `check` must be the kind",
        ),
    ] {
        let rendered = checked(&format!("{SERVICE}{text}\n")).1.to_string();
        assert!(
            rendered.contains(&format!("t.conf:{expected}")) || rendered.contains(expected),
            "{text}\n{rendered}"
        );
    }
}
