// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SysV init script, as `service tunnel …` runs it, with its paths moved into a temporary directory.

use crate::harness::{Backend, Listening, Peer};
use crate::program::{Outcome, Place, Stranger, TUNNEL, echo, free_address, plain_at, say};
use nix::sys::signal::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// The installed files below a directory of their own.
struct Installed {
    place: Place,
    address: SocketAddr,
    /// Held so that it outlives the daemon.
    _backend: Backend<u64>,
}

impl Installed {
    /// `None` where the script cannot run: no start-stop-daemon here.
    fn new() -> Option<Self> {
        if !["/sbin/start-stop-daemon", "/usr/sbin/start-stop-daemon"]
            .iter()
            .any(|path| Path::new(path).exists())
        {
            say("skipped: start-stop-daemon is not installed");
            return None;
        }
        let backend = Backend::echo(Listening::default());
        let address = free_address();
        let place = Place::new("");
        let installed = Self { place, address, _backend: backend };
        installed.configure(&plain_at("web", address, installed._backend.address()));
        std::os::unix::fs::symlink(TUNNEL, installed.place.path("tunnel")).unwrap();
        let script =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/tunnel.init")).unwrap();
        let folder = installed.place.dir().to_str().unwrap();
        let script = script
            .replace("/usr/sbin/tunnel", &format!("{folder}/tunnel"))
            .replace("/etc/tunnel/", &format!("{folder}/"))
            .replace("/etc/default/tunnel", &format!("{folder}/default"))
            .replace("/run/tunnel", &format!("{folder}/run"));
        assert!(!script.contains("=/run") && !script.contains("=/etc"), "a path was not moved");
        installed.place.write("init", script);
        Some(installed)
    }

    fn configure(&self, services: &str) {
        let log = "[global]\nlog = { target = \"file:log\" }\n\n";
        self.place.write("tunnel.conf", format!("{log}{services}"));
    }

    fn script(&self, action: &str) -> Outcome {
        self.place.run_program("sh", &["init", action])
    }

    /// The daemon that runs now; killed at the end whatever happens.
    fn daemon(&self) -> Stranger {
        Stranger::from_pid_file(&self.place.path("run.pid"))
    }
}

#[test]
fn it_starts_reports_reloads_restarts_and_stops() {
    let Some(installed) = Installed::new() else { return };
    installed.script("status").expect(3);
    installed.script("stop").expect(0);
    installed.script("start").expect(0);
    let first = installed.daemon();
    echo(&mut Peer::plain(installed.address), b"started");
    installed.script("start").expect(0);
    assert_eq!(
        fs::read_to_string(installed.place.path("run.pid")).unwrap().trim(),
        first.0.to_string(),
        "a second start started a second one"
    );
    installed.script("status").expect(0);
    installed.script("reload").expect(0);
    installed.place.log("log").wait_event("reload-done");
    echo(&mut Peer::plain(installed.address), b"reloaded");
    installed.script("restart").expect(0);
    let second = installed.daemon();
    assert!(!first.is_alive() && second.is_alive() && first.0 != second.0);
    echo(&mut Peer::plain(installed.address), b"restarted");
    installed.script("stop").expect(0);
    assert!(!second.is_alive());
    installed.script("status").expect(3);
    installed.script("stop").expect(0);
}

#[test]
fn a_broken_configuration_stops_nothing() {
    let Some(installed) = Installed::new() else { return };
    installed.script("start").expect(0);
    let daemon = installed.daemon();
    installed.configure("nonsense = 1\n");
    for action in ["reload", "restart"] {
        let outcome = installed.script(action);
        assert_ne!(outcome.code, Some(0), "{action}");
        assert!(format!("{}{}", outcome.out, outcome.err).contains("nonsense"), "{action}: {outcome:?}");
        assert!(daemon.is_alive(), "{action} with a broken configuration ended the process");
        echo(&mut Peer::plain(installed.address), b"served");
    }
    installed.script("stop").expect(0);
}

#[test]
fn a_start_that_fails_is_told() {
    let Some(installed) = Installed::new() else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    installed.configure(&plain_at("web", taken.local_addr().unwrap(), free_address()));
    assert_ne!(installed.script("start").code, Some(0));
    installed.script("status").expect(3);
}

#[test]
fn a_pid_file_left_by_a_crash_is_no_obstacle() {
    let Some(installed) = Installed::new() else { return };
    installed.script("start").expect(0);
    let first = installed.daemon();
    first.signal(Signal::SIGKILL);
    first.wait_gone();
    installed.script("status").expect(1);
    installed.script("start").expect(0);
    let second = installed.daemon();
    assert_ne!(first.0, second.0);
    installed.script("stop").expect(0);
}

#[test]
fn wrong_usage_is_told() {
    let Some(installed) = Installed::new() else { return };
    assert!(installed.script("dance").expect(2).err.contains("Usage"));
}
