// SPDX-License-Identifier: MIT OR Apache-2.0
//! HAProxy's own tools on our control socket, as Debian has them: hatop(1) in a terminal, and the exporter for Prometheus.

use crate::control_socket::Asked;
use crate::harness::{Program, free_address, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long hatop may take for a key.
const KEY: Duration = Duration::from_secs(1);

/// A terminal of 200 by 50 characters, in which a program runs.
struct Terminal {
    _server: Program,
    socket: PathBuf,
}

impl Terminal {
    fn start(directory: &Path, command: &str) -> Self {
        let socket = directory.join("tmux");
        let mut tmux = Command::new("tmux");
        // In the foreground (-D) tmux is our child, and goes when this value does.
        tmux.arg("-S").arg(&socket).args(["-f", "/dev/null", "-D"]).env("TERM", "xterm");
        let server = Program::start(&mut tmux);
        let terminal = Self { _server: server, socket };
        wait_for("tmux", || {
            let new = ["new-session", "-d", "-x", "200", "-y", "50", command];
            terminal.tmux(&new).is_some()
        });
        terminal
    }

    /// What a command of tmux prints, if it succeeds.
    fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("tmux");
        let output =
            command.arg("-S").arg(&self.socket).args(arguments).env("TERM", "xterm").output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).unwrap_or_default()
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]).unwrap();
    }

    /// The row of hatop's list that is shown in reverse (SGR 7, ECMA-48 section 8.3.117), as are the headings above it and
    /// the bar below.
    fn selected(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p", "-e"]).unwrap_or_default();
        let list = screen.lines().skip_while(|line| !line.contains("NAME ")).skip(1);
        let mut list = list.take_while(|line| !line.contains("1-STATUS"));
        list.find(|line| line.contains("[7m")).unwrap_or_default().to_owned()
    }

    /// Goes to the row that contains `text`, a key at a time; it counts only when no key can be under way any more.
    #[track_caller]
    fn select(&self, text: &str) {
        let row = |of: &str| self.screen().lines().position(|line| line.starts_with(of));
        let mut pressed: Option<Instant> = None;
        wait_for("the row to be selected", || {
            if pressed.is_some_and(|pressed| pressed.elapsed() < KEY) {
                return false;
            }
            let selected = self.selected();
            if selected.contains(text) {
                return true;
            }
            // The sequence that begins the row ends with an "m".
            let name = selected.split('m').nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            let is_below = !name.is_empty() && row(name) > row(text);
            self.press(if is_below { "Up" } else { "Down" });
            pressed = Some(Instant::now());
            false
        });
    }

    /// Waits until the screen shows what is wanted.
    #[track_caller]
    fn wait_screen(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        wait_for(what, || {
            screen = self.screen();
            wanted(&screen)
        });
        screen
    }
}

#[test]
fn hatop_shows_services_moves_and_takes_a_server_out() {
    let asked = Asked::new();
    let server = asked.backend.address().to_string();
    let hatop = format!("hatop -i 1 -s {}", asked.path().display());
    let terminal = Terminal::start(asked.tunnel.dir(), &hatop);
    let screen = terminal.wait_screen("the services", |screen| {
        screen.contains("FRONTEND") && screen.contains(&server) && screen.contains("BACKEND")
    });
    assert!(screen.contains("tunnel") && screen.contains("web"), "{screen}");
    let line =
        |screen: &str| screen.lines().find(|line| line.contains(&server)).unwrap_or_default().to_owned();
    assert!(!line(&screen).contains("MAINT"), "{screen}");
    // The second view is of traffic; the first one comes back.
    terminal.press("2");
    terminal.wait_screen("the traffic view", |screen| {
        screen.contains("BOUT") || screen.contains("LBIN") || screen.contains("BIN")
    });
    terminal.press("1");
    terminal.wait_screen("the status view", |screen| screen.contains("STATUS"));
    terminal.select(&server);
    // F10 disables a server of one backend, F9 enables it.
    terminal.press("F10");
    terminal.wait_screen("the server to be out", |screen| line(screen).contains("MAINT"));
    assert!(asked.ask("show servers json").contains("\"admin\":\"maint\""));
    terminal.press("F9");
    terminal.wait_screen("the server to be in again", |screen| {
        !line(screen).is_empty() && !line(screen).contains("MAINT")
    });
    assert!(asked.ask("show servers json").contains("\"admin\":\"ready\""));
    terminal.press("q");
}

#[test]
fn the_exporter_for_prometheus_finds_everything_it_wants() {
    let asked = Asked::new();
    let address = free_address();
    let mut exporter = Command::new("prometheus-haproxy-exporter");
    exporter.arg(format!("--haproxy.scrape-uri=unix:{}", asked.path().display()));
    exporter.arg(format!("--web.listen-address={address}"));
    let _exporter = Program::start(&mut exporter);
    let mut metrics = String::new();
    wait_for("the exporter", || {
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        metrics.clear();
        stream.read_to_string(&mut metrics).is_ok() && metrics.contains("\nhaproxy_up 1\n")
    });
    let server = asked.backend.address();
    for line in [
        "haproxy_frontend_current_sessions{frontend=\"web\"} 0".to_owned(),
        "haproxy_backend_up{backend=\"web\"} 1".to_owned(),
        format!("haproxy_server_weight{{backend=\"web\",server=\"{server}\"}} 1"),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("haproxy_exporter_csv_parse_failures_total 0"), "{metrics}");
}
