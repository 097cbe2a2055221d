// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose fault a failure on the way to a server is: what is none of the server's pauses none.

use crate::harness::{Backend, Listening, Peer, Tunnel};

/// More failures than a server may have by default before it is paused.
const FAILURES: usize = 5;

/// Connects so often, from wherever `connect` does it; all of them are closed for `reason`, and no server was paused.
#[track_caller]
fn fails_without_a_pause(tunnel: &Tunnel, reason: &str, connect: impl Fn()) {
    (0..FAILURES).for_each(|_| connect());
    for line in tunnel.wait_closed(FAILURES) {
        assert_eq!(line.get("reason"), reason, "{}", line.text);
    }
    assert!(!tunnel.log_lines().iter().any(|line| line.is("server-paused")), "{}", tunnel.log_text());
}

/// An option that this machine does not take is no server's fault.
#[test]
fn a_source_that_is_not_ours_pauses_no_server() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n\
         connect = {{ address = \"{}\", source = \"192.0.2.1\" }}\n",
        backend.address()
    ));
    fails_without_a_pause(&tunnel, "connect-failed", || {
        // Who is let down may be so before we look.
        let _let_down = Peer::try_plain(tunnel.address("web")).map(|mut client| client.receive_all());
    });
    assert_eq!(backend.accepted(), 0);
}
