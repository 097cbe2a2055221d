// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tunnelctl` against the real daemon: what it shows is so, what it is told is done, and its exit status says which.
//!
//! The full screen runs in tmux, which is a real terminal to it; golden words are looked for there, not golden screens.

use crate::harness::{Backend, Listening, Peer, Tunnel, wait_for};
use crate::program::{Outcome, Place, echo, plain};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TUNNELCTL: &str = env!("CARGO_BIN_EXE_tunnelctl");

const CONTROL: &str = "[control]\nsocket = \"control.sock\"\n";

/// A tunnel with one service `web` and a control socket.
fn tunnel(backend: &Backend<u64>) -> Tunnel {
    Tunnel::start(&format!("{CONTROL}{}", plain("web", backend.address())))
}

/// Runs tunnelctl against that tunnel.
#[track_caller]
fn ctl(tunnel: &Tunnel, words: &[&str]) -> Outcome {
    let config = tunnel.config_file();
    let mut line = vec!["-c", config.to_str().unwrap()];
    line.extend(words);
    Place::new("").run_program(TUNNELCTL, &line)
}

/// As [`ctl`]: what it prints, which must go well.
#[track_caller]
fn said(tunnel: &Tunnel, words: &[&str]) -> String {
    ctl(tunnel, words).expect(0).out
}

/// The number of the only connection there is.
#[track_caller]
fn only_connection(tunnel: &Tunnel) -> String {
    let mut found = String::new();
    wait_for("one connection to be listed", || {
        let text = said(tunnel, &["connections", "--json"]);
        let ids: Vec<&str> =
            text.split("{\"id\":").skip(1).map(|rest| rest.split(',').next().unwrap()).collect();
        if let [id] = ids[..] {
            found = id.to_owned();
        }
        !found.is_empty()
    });
    found
}

#[test]
fn what_is_shown_is_what_is_there() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    let mut peer = Peer::plain(tunnel.address("web"));
    echo(&mut peer, b"hello");
    let status = said(&tunnel, &["status"]);
    assert!(status.starts_with("tunnel ") && status.contains(&format!("pid {}", tunnel.pid())), "{status}");
    assert!(status.contains("serving, ready"), "{status}");
    let services = said(&tunnel, &["services"]);
    assert!(services.contains("SERVICE") && services.contains("web"), "{services}");
    for (command, title) in [
        ("routes", "ROUTE"),
        ("listeners", "BACKLOG"),
        ("servers", "ADMIN"),
        ("workers", "TURNS"),
        ("certificates", "UNTIL"),
        ("errors", "CAUSE"),
    ] {
        let text = said(&tunnel, &[command]);
        assert!(text.contains(title), "{command}\n{text}");
        let json = said(&tunnel, &[command, "--json"]);
        assert!(json.starts_with('[') && json.ends_with("]\n"), "{command}\n{json}");
    }
    assert!(said(&tunnel, &["status", "--json"]).starts_with("{\"name\":"));
    let id = only_connection(&tunnel);
    let client = peer.socket().local_addr().unwrap().to_string();
    let text = said(&tunnel, &["connections", "--service", "web", "--client", &client]);
    let row = text.lines().nth(1).unwrap_or_default();
    assert!(row.contains(&id) && row.contains("connected") && row.contains(&client), "{text}");
    assert!(text.contains(&backend.address().to_string()), "{text}");
    assert_eq!(said(&tunnel, &["connections", "--service", "other"]).lines().count(), 1, "titles alone");
    drop(peer);
    tunnel.wait_closed(1);
}

#[test]
fn a_connection_is_ended_by_its_number_and_a_wrong_number_is_an_error() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    let mut peer = Peer::plain(tunnel.address("web"));
    echo(&mut peer, b"hello");
    let id = only_connection(&tunnel);
    assert_eq!(said(&tunnel, &["kill", &id]), format!("connection {id} is ended\n"));
    assert!(peer.receive_all().1.is_broken(), "the client was told that its connection had ended in order");
    tunnel.wait_closed(1);
    let wrong = ctl(&tunnel, &["kill", "999999"]).expect(1);
    assert_eq!(wrong.err, "tunnelctl: there is no connection 999999\n");
}

#[test]
fn a_reload_says_what_came_of_it() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    ctl(&tunnel, &["reload"]).expect(0);
    tunnel.rewrite(&format!("{CONTROL}[[service]]\nname = \"web\"\nnonsense = 1\n"));
    let refused = ctl(&tunnel, &["reload"]).expect(1);
    assert!(refused.err.contains("nonsense") && refused.err.starts_with("tunnelctl: "), "{}", refused.err);
    let status = said(&tunnel, &["status"]);
    assert!(status.contains("refused (2 applied, 1 refused)"), "{status}");
    // All goes on as before.
    echo(&mut Peer::plain(tunnel.address("web")), b"hello");
    tunnel.rewrite(&format!("{CONTROL}{}", plain("web", backend.address())));
    ctl(&tunnel, &["reload"]).expect(0);
    tunnel.wait_closed(1);
}

#[test]
fn a_server_is_taken_out_and_in_and_a_wrong_one_is_refused() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    let server = format!("web/{}", backend.address());
    for (state, shown) in [("maint", "maint"), ("drain", "drain"), ("ready", "ready")] {
        let done = said(&tunnel, &["server", &server, state]);
        assert_eq!(done, format!("{server} is marked {state}\n"));
        let servers = said(&tunnel, &["servers"]);
        let row = servers.lines().find(|line| line.starts_with(&server)).unwrap_or_default();
        assert!(row.split_whitespace().any(|word| word == shown), "{servers}");
    }
    let wrong = ctl(&tunnel, &["server", "web/192.0.2.1:1", "drain"]).expect(1);
    assert!(wrong.err.starts_with("tunnelctl: "), "{}", wrong.err);
    echo(&mut Peer::plain(tunnel.address("web")), b"hello");
    tunnel.wait_closed(1);
}

#[test]
fn the_log_follows_the_level_and_a_wrong_one_is_refused_here() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    ctl(&tunnel, &["log-level", "debug"]).expect(0);
    assert!(said(&tunnel, &["status"]).contains("level debug"));
    ctl(&tunnel, &["log-level", "loud"]).expect(64);
}

#[test]
fn a_drained_tunnel_ends_with_its_last_connection() {
    let backend = Backend::echo(Listening::default());
    let mut tunnel = tunnel(&backend);
    let mut peer = Peer::plain(tunnel.address("web"));
    echo(&mut peer, b"hello");
    ctl(&tunnel, &["drain"]).expect(0);
    wait_for("the status to say so", || said(&tunnel, &["status"]).contains("draining, not ready"));
    echo(&mut peer, b"still there");
    drop(peer);
    assert!(tunnel.wait_exit().success());
    let gone = ctl(&tunnel, &["status"]).expect(69);
    assert!(gone.err.contains("is tunnel running"), "{}", gone.err);
}

#[test]
fn where_no_daemon_can_be_asked_the_error_says_why() {
    let place = Place::new("[global]\n");
    let nobody = place.run_program(TUNNELCTL, &["-s", "none.sock", "status"]).expect(69);
    assert!(nobody.err.starts_with("tunnelctl: nobody answers at none.sock: no such file"), "{}", nobody.err);
    let unset = place.run_program(TUNNELCTL, &["-c", "tunnel.conf", "status"]).expect(78);
    assert!(unset.err.contains("has no `socket` in [control]"), "{}", unset.err);
    let screen = place.run_program(TUNNELCTL, &["-s", "none.sock", "top"]).expect(64);
    assert!(screen.err.contains("needs a terminal"), "{}", screen.err);
    place.run_program(TUNNELCTL, &["staus"]).expect(64);
}

#[test]
fn who_may_not_connect_is_told_so() {
    if !Uid::effective().is_root() {
        return;
    }
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    // Everybody may come as far as the socket, and run the program.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(tunnel.dir(), open.clone()).unwrap();
    let program = tunnel.dir().join("tunnelctl");
    fs::copy(TUNNELCTL, &program).unwrap();
    fs::set_permissions(&program, open).unwrap();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let mut command = Command::new(program);
    command.arg("-s").arg(tunnel.dir().join("control.sock")).arg("status");
    let output = command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains("permission denied at ") && said.contains("tunnel.conf(5)"), "{said}");
}

#[test]
fn explain_answers_as_tunnel_explain_does() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    let config = tunnel.config_file();
    let words = ["explain", "-c", config.to_str().unwrap(), "-s", "web"];
    let theirs = Place::new("").run(&words).expect(0).out;
    assert_eq!(said(&tunnel, &["explain", "-s", "web"]), theirs);
}

/// A shell in a terminal.
struct Terminal {
    place: Place,
    socket: PathBuf,
}

impl Terminal {
    /// Runs `script` in a terminal of that size.
    fn start(script: &str, columns: u16, rows: u16) -> Self {
        let place = Place::new("");
        let terminal = Self { socket: place.path("tmux"), place };
        terminal.place.write("script", script);
        let (columns, rows) = (columns.to_string(), rows.to_string());
        terminal.tmux(&[
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "sh script",
        ]);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(words).current_dir(self.place.dir());
        command
            .env_remove("TMUX")
            .env_remove("NO_COLOR")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color");
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn press(&self, keys: &[&str]) {
        let mut words = vec!["send-keys"];
        words.extend(keys);
        self.tmux(&words);
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until all of `words` are on the screen.
    #[track_caller]
    fn wait(&self, words: &[&str]) {
        let mut text = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(&format!("{words:?} on the screen"), || {
                text = self.text();
                words.iter().all(|word| text.contains(word))
            });
        }));
        assert!(found.is_ok(), "{words:?} are not on the screen:\n{text}");
    }

    #[track_caller]
    fn wait_file(&self, name: &str) -> String {
        wait_for(name, || fs::read_to_string(self.place.path(name)).is_ok_and(|text| text.ends_with('\n')));
        fs::read_to_string(self.place.path(name)).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Runs top between two looks at the terminal's settings; its number is in the file "pid".
fn script(config: &Path, more: &str) -> String {
    format!(
        "stty -g >before\necho the shell was here\n\
         sh -c 'echo $$ >pid; exec {TUNNELCTL} -c {} top -i 0.1 {more}'\n\
         echo \"status $?\" >status\nstty -g >after\ncat\n",
        config.display()
    )
}

#[test]
fn the_full_screen_shows_what_happens_and_gives_the_terminal_back() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    let mut peer = Peer::plain(tunnel.address("web"));
    echo(&mut peer, b"hello");
    let id = only_connection(&tunnel);
    let terminal = Terminal::start(&script(&tunnel.config_file(), ""), 120, 30);
    terminal.wait(&["serving", "1 status", "connections", "q quit"]);
    assert!(!terminal.text().contains("the shell was here"), "it is not on a screen of its own");
    terminal.press(&["2"]);
    terminal.wait(&["SERVICE", "web", "LISTENS ON"]);
    terminal.press(&["5"]);
    terminal.wait(&["WAITS FOR", &peer.socket().local_addr().unwrap().to_string()]);
    // Smaller and larger: the last line stays the last.
    for (columns, rows) in [("60", "10"), ("140", "40")] {
        terminal.tmux(&["resize-window", "-x", columns, "-y", rows]);
        wait_for("the screen to fit", || {
            let text = terminal.text();
            let rows: usize = rows.parse().unwrap();
            text.lines().count() == rows && text.lines().last().is_some_and(|line| line.contains("q quit"))
        });
    }
    terminal.press(&["/", "no-such-client", "Enter"]);
    terminal.wait(&["only rows with"]);
    wait_for("the row to go", || !terminal.text().contains("connected"));
    terminal.press(&["Escape"]);
    terminal.wait(&["connected"]);
    terminal.press(&["K"]);
    terminal.wait(&[&format!("end connection {id} of web"), "(y/n)"]);
    terminal.press(&["y"]);
    assert!(peer.receive_all().1.is_broken());
    tunnel.wait_closed(1);
    terminal.wait(&[&format!("connection {id} is ended")]);
    terminal.press(&["q"]);
    assert_eq!(terminal.wait_file("status"), "status 0\n");
    assert_eq!(terminal.wait_file("before"), terminal.wait_file("after"), "the terminal's settings");
    terminal.wait(&["the shell was here"]);
}

#[test]
fn the_full_screen_outlives_the_daemon_and_ends_well_by_a_signal() {
    let backend = Backend::echo(Listening::default());
    let mut tunnel = tunnel(&backend);
    let terminal = Terminal::start(&script(&tunnel.config_file(), "-n"), 100, 24);
    terminal.wait(&["serving, ready"]);
    tunnel.signal(Signal::SIGTERM);
    tunnel.wait_exit();
    terminal.wait(&["reconnecting: nobody answers"]);
    let pid = terminal.wait_file("pid").trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert_eq!(terminal.wait_file("status"), "status 0\n");
    assert_eq!(terminal.wait_file("before"), terminal.wait_file("after"), "the terminal's settings");
    terminal.wait(&["the shell was here"]);
}

#[test]
fn what_is_followed_is_told_as_it_happens() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    let place = Place::new("");
    let config = tunnel.config_file();
    let line = [TUNNELCTL, "-c", config.to_str().unwrap(), "connections", "--follow", "-i", "0.1"];
    let mut follower = place.spawn("told", &line);
    let mut peer = Peer::plain(tunnel.address("web"));
    echo(&mut peer, b"hello");
    let client = peer.socket().local_addr().unwrap().to_string();
    let told = |mark: &str| {
        let text = place.log("told").text();
        text.lines().any(|line| line.starts_with(mark) && line.contains(&client))
    };
    wait_for("the connection to be told of", || told("+ "));
    drop(peer);
    wait_for("its end to be told of", || told("- "));
    follower.kill();
    tunnel.wait_closed(1);
}

/// What bash would offer for the line, one word each.
#[track_caller]
fn offered(line: &str) -> Vec<String> {
    let directory = env!("CARGO_MANIFEST_DIR");
    let script = format!(
        "source {directory}/packaging/tunnelctl.bash-completion && complete -p tunnelctl >&2 || exit 1\n\
         COMP_LINE=$1 COMP_POINT=${{#1}} COMP_WORDBREAKS=$' \\t\\n:='\n\
         parted=${{1//:/ : }}; read -r -a COMP_WORDS <<<\"$parted\"\n\
         [[ $1 != *' ' ]] || COMP_WORDS+=('')\n\
         COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_tunnelctl\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let outcome = Place::new("").run_program("bash", &["-c", &script, "bash", line]).expect(0);
    assert_eq!(outcome.err, "complete -F _tunnelctl tunnelctl\n");
    outcome.out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_options_and_the_names_there_are() {
    let backend = Backend::echo(Listening::default());
    let tunnel = tunnel(&backend);
    let start = format!("{TUNNELCTL} -c {}", tunnel.config_file().display());
    assert_eq!(offered("tunnelctl conn"), ["connections"]);
    assert_eq!(offered("tunnelctl ser"), ["services", "servers", "server"]);
    assert_eq!(offered("tunnelctl connections --st"), ["--state"]);
    assert_eq!(offered("tunnelctl connections --state client"), ["client-closed"]);
    assert_eq!(offered("tunnelctl log-level d"), ["debug"]);
    assert_eq!(offered("tunnelctl help to"), ["top"]);
    assert_eq!(offered(&format!("{start} connections --service ")), ["web"]);
    let address = backend.address();
    assert_eq!(offered(&format!("{start} server w")), [format!("web/{address}")]);
    assert_eq!(offered(&format!("{start} server web/{}:", address.ip())), [address.port().to_string()]);
    assert_eq!(offered(&format!("{start} server web/{address} d")), ["drain"]);
    let mut peer = Peer::plain(tunnel.address("web"));
    echo(&mut peer, b"hello");
    let id = only_connection(&tunnel);
    assert_eq!(offered(&format!("{start} kill ")), [id]);
    drop(peer);
    tunnel.wait_closed(1);
}

#[test]
fn every_command_is_offered_and_described() {
    let text = Place::new("").run_program(TUNNELCTL, &["-h"]).expect(0).out;
    let (_, commands) = text.split_once("\nCommands:\n").unwrap();
    let names: Vec<&str> = commands
        .lines()
        .take_while(|line| line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 10, "{text}");
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let manual = read("man/tunnelctl.1");
    let described: Vec<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix(".It Cm "))
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(sorted(owned(&described)), sorted(owned(&names)), "man/tunnelctl.1");
    let without_options = offered("tunnelctl ").into_iter().filter(|word| !word.starts_with('-')).collect();
    assert_eq!(sorted(without_options), sorted(owned(&names)), "the completion");
}
