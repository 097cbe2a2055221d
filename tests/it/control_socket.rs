// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket: its commands, who may say them, what they change, and what it does with those who stall or send
//! anything at all.
//!
//! Not here: HAProxy's own tools (`hatop.rs`).

use crate::harness::{Backend, Line, Listening, Options, Peer, Program, Tunnel, echo, wait_for};
use crate::program::{Strace, free_address, say};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

const CONTROL: &str = "[control]\nsocket = \"control\"\n";

/// A tunnel with a control socket and a service "web" whose server echoes.
pub(crate) struct Asked {
    // Dropped in this order: the tunnel makes its last checks while the server is still there.
    pub(crate) tunnel: Tunnel,
    pub(crate) backend: Backend<u64>,
}

impl Asked {
    pub(crate) fn new() -> Self {
        Self::with(CONTROL)
    }

    fn with(control: &str) -> Self {
        let backend = Backend::start(Listening::default(), echo);
        let tunnel = Tunnel::start_with(&Self::config(control, &backend), Options::default());
        Self { tunnel, backend }
    }

    fn config(control: &str, backend: &Backend<u64>) -> String {
        let server = backend.address();
        format!("{control}\n[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"{server}\"\n")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.tunnel.dir().join("control")
    }

    /// Every byte that `line` is answered with, to the end of the connection.
    #[track_caller]
    pub(crate) fn ask(&self, line: &str) -> String {
        ask(&self.path(), line)
    }

    /// What is wrong with a JSON document is told with it.
    #[track_caller]
    fn json(&self, line: &str) -> Value {
        let text = self.ask(line);
        assert_eq!(text.matches('\n').count(), 2, "one line and an empty one: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The server as commands call it.
    pub(crate) fn server(&self) -> String {
        format!("web/{}", self.backend.address())
    }

    fn client(&self) -> Peer {
        Peer::plain(self.tunnel.address("web"))
    }

    /// A client whose connection to the server stands.
    #[track_caller]
    fn connected(&self) -> Peer {
        let mut client = self.client();
        client.send(b"hello");
        assert_eq!(client.receive(5), b"hello");
        client
    }
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
pub(crate) fn ask(path: &Path, line: &str) -> String {
    let mut stream = connect(path);
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Reads until what was read ends with `end`.
#[track_caller]
fn read_until(stream: &mut UnixStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(end) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended after: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

#[test]
fn a_line_is_answered_command_by_command_and_then_the_connection_ends() {
    let asked = Asked::new();
    let info = asked.ask("show info");
    assert!(info.starts_with("Name: tunnel\nVersion: "), "{info}");
    assert!(
        info.ends_with("\n\n") && !info.trim_end().contains("\n\n"),
        "one empty line, at the end: {info}"
    );
    assert!(info.contains(&format!("\nPid: {}\n", asked.tunnel.pid())), "{info}");
    let version = info.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap();
    assert_eq!(asked.ask("show version"), format!("{version}\n\n"));
    let two = asked.ask("show cli level; show version\r");
    assert_eq!(two, format!("admin\n\n{version}\n\n"));
    assert_eq!(asked.ask("user; show cli level; drain"), "\nuser\n\nPermission denied\n\n");
    assert!(asked.ask("show inof").starts_with("Unknown command, but maybe"));
    assert_eq!(asked.ask(""), "\n");
    assert!(asked.ask("help show").contains("show stat"));
}

#[test]
fn a_prompt_keeps_the_connection() {
    let asked = Asked::new();
    let mut stream = connect(&asked.path());
    stream.write_all(b"prompt\n").unwrap();
    assert_eq!(read_until(&mut stream, "> "), "\n> ");
    for _ in 0..3 {
        stream.write_all(b"show cli level\n").unwrap();
        assert_eq!(read_until(&mut stream, "> "), "admin\n\n> ");
    }
    stream.write_all(b"set timeout cli 1m; show connections json\n").unwrap();
    let text = read_until(&mut stream, "silent\":[]}\n\n> ");
    assert!(text.starts_with("\n> {\"connections\":["), "{text}");
    stream.write_all(b"quit\n").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn socat_asks_in_one_line_and_interactively() {
    let asked = Asked::new();
    let to = format!("UNIX-CONNECT:{}", asked.path().display());
    let mut once = Program::start(Command::new("socat").args(["-t", "10", "-", &to]));
    once.stdin.take().unwrap().write_all(b"show info; show stat\n").unwrap();
    once.wait_exit();
    let text = String::from_utf8(once.stdout()).unwrap();
    assert!(text.contains("\nCurrConns: 0\n") && text.contains("\nweb,FRONTEND,"), "{text}");
    let mut stays = Program::start(Command::new("socat").args(["-t", "10", "-", &to]));
    let mut stdin = stays.stdin.take().unwrap();
    stdin.write_all(b"prompt\n").unwrap();
    stays.wait_output("\n> ");
    stdin.write_all(b"show version\n").unwrap();
    stays.wait_output(&format!("{}\n\n> ", env!("CARGO_PKG_VERSION")));
    stdin.write_all(b"quit\n").unwrap();
    stays.wait_exit();
}

#[test]
fn a_live_connection_is_told_in_every_form_and_can_be_closed() {
    let asked = Asked::new();
    let client = asked.connected();
    let told = asked.json("show connections json service web state connected");
    let connections = told["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1, "{told}");
    let view = &connections[0];
    assert_eq!((&view["bytes_in"], &view["bytes_out"]), (&5.into(), &5.into()));
    assert_eq!(view["server"], asked.backend.address().to_string());
    assert_eq!(view["client"], client.socket().local_addr().unwrap().to_string());
    assert_eq!(asked.json("show connections json service other")["connections"], Value::Array(Vec::new()));
    let id = view["id"].as_u64().unwrap();
    let line = asked.ask("show sess");
    assert!(line.starts_with(&format!("{id:#x}: proto=tcpv4 src=127.0.0.1:")), "{line}");
    assert!(line.contains(" fe=web be=web ") && line.contains(" in=5 out=5 "), "{line}");
    assert_eq!(asked.ask(&format!("show sess {:#x}", id + 7)), "Session not found.\n\n");
    assert!(asked.ask("show connections client 127.0.0.1").lines().count() == 3);
    assert_eq!(asked.ask(&format!("kill {}", id + 7)), "No such session (use 'show sess').\n\n");
    assert_eq!(asked.ask(&format!("shutdown session {id:#x}")), "\n");
    client.wait_broken();
    let line = asked.tunnel.wait_log("the change", |line| {
        line.is("control-command") && line.get("command").starts_with("shutdown")
    });
    assert_eq!(line.get("outcome"), "closed 1");
    assert!(line.get("by").starts_with("uid "), "{}", line.text);
    let closed = asked.tunnel.wait_closed(1);
    assert_eq!(closed[0].get("reason"), "killed");
}

#[test]
fn pages_follow_each_other_by_their_cursor() {
    let asked = Asked::new();
    let clients: Vec<Peer> = (0..7).map(|_| asked.connected()).collect();
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = asked.json(&format!("show connections json limit 2{after}"));
        let ids = page["connections"].as_array().unwrap().iter().map(|view| view["id"].as_u64().unwrap());
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        after = format!(" after {next}");
        assert!(seen.len() <= clients.len());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), clients.len());
}

#[test]
fn a_server_that_is_taken_out_gets_no_new_connection_and_keeps_what_it_has() {
    let asked = Asked::new();
    let server = asked.server();
    let mut live = asked.connected();
    for (out, back) in [
        (format!("disable server {server}"), format!("enable server {server}")),
        (format!("set server {server} state drain"), format!("set server {server} state ready")),
    ] {
        assert_eq!(asked.ask(&out), "\n");
        assert!(asked.client().receive_all().0.is_empty());
        let refused = asked.tunnel.wait_log("a refusal", |line| line.is("connect-failed"));
        assert_eq!(refused.get("error"), "every server is taken out");
        live.send(b"still");
        assert_eq!(live.receive(5), b"still");
        assert!(asked.ask("reload").starts_with("kept 1 listeners"));
        assert!(asked.client().receive_all().0.is_empty(), "a reload takes nobody back");
        assert_eq!(asked.ask(&back), "\n");
        asked.connected();
    }
    assert_eq!(asked.ask(&format!("disable server {server}; set server {server} state maint")), "\n\n");
    let shown = asked.json("show servers json");
    assert_eq!((&shown[0]["admin"], &shown[0]["number"]), (&"maint".into(), &1.into()));
    let state = asked.ask("show servers state web");
    assert!(state.starts_with("1\n# be_id be_name srv_id"), "{state}");
    assert!(state.contains(&format!("\n2 web 1 {} 127.0.0.1 0 1 1 1 ", asked.backend.address())), "{state}");
    assert!(asked.ask("show stat -1 4 -1").contains(",MAINT,"));
    assert_eq!(asked.ask(&format!("shutdown sessions server {server}")), "\n");
    live.wait_broken();
}

#[test]
fn weights_are_kept_and_shown() {
    let asked = Asked::new();
    let server = asked.server();
    assert_eq!(asked.ask(&format!("get weight {server}")), "1 (initial 1)\n\n");
    assert_eq!(asked.ask(&format!("set weight {server} 7;set server {server} weight 9")), "\n\n");
    assert_eq!(asked.ask(&format!("get weight {server}")), "9 (initial 1)\n\n");
    let shown = asked.json("show servers json");
    assert_eq!((&shown[0]["weight"], &shown[0]["initial_weight"]), (&9.into(), &1.into()));
    let state = asked.ask("show servers state web");
    assert!(state.contains(" 127.0.0.1 2 0 9 1 "), "{state}");
    for (command, answer) in [
        (format!("set weight {server} 257"), "Absolute weight can only be between 0 and 256 inclusive.\n\n"),
        ("set weight web/other:1 1".to_owned(), "No such server.\n\n"),
        ("get weight other/other:1".to_owned(), "No such backend.\n\n"),
        ("disable server web".to_owned(), "Require 'backend/server'.\n\n"),
        (
            format!("set server {server} state up"),
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
        ),
        (
            format!("set server {server} addr 1.2.3.4"),
            "'set server <srv>' only supports 'state', 'health' and 'weight'.\n\n",
        ),
    ] {
        assert_eq!(asked.ask(&command), answer, "{command}");
    }
}

/// The route may be left out of a server's name where that says enough.
#[test]
fn a_server_is_found_in_whichever_route_has_it() {
    let backend = Backend::echo(Listening::default());
    let route = |name: &str, servers: &str| {
        format!(
            "[[service.route]]\nname = \"{name}\"\nsource = [\"127.0.0.1\"]\nsni = \"{name}.example\"\n{servers}\n"
        )
    };
    let server = |name: &str| {
        format!("[[service.route.server]]\nname = \"{name}\"\naddress = \"{}\"\n", backend.address())
    };
    let text = format!(
        "{CONTROL}[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n{}{}",
        route("a", &[server("one"), server("both")].concat()),
        route("b", &server("both"))
    );
    let tunnel = Tunnel::start(&text);
    let path = tunnel.dir().join("control");
    for (name, answer) in [
        ("web/a/one", "1 (initial 1)\n\n"),
        ("web/one", "1 (initial 1)\n\n"),
        ("web/b/both", "1 (initial 1)\n\n"),
        ("web/both", "Several routes have that server: say 'backend/route/server'.\n\n"),
        ("web/b/one", "No such server.\n\n"),
    ] {
        assert_eq!(ask(&path, &format!("get weight {name}")), answer, "{name}");
    }
}

#[test]
fn orders_to_main_are_answered_with_what_came_of_them() {
    let asked = Asked::new();
    assert!(asked.ask("log-level debug").starts_with("lines from level debug on are logged"));
    assert_eq!(asked.json("show process json")["log_level"], "debug");
    assert_eq!(asked.ask("log-level loud"), "Expects one of error, warning, notice, info, debug.\n\n");
    assert_eq!(asked.ask("reopen-logs"), "the log is opened anew\n\n");
    assert!(asked.ask("show effective").contains("\n[control]\nsocket = \"/"));
    asked
        .tunnel
        .rewrite(&Asked::config("[control]\nsocket = \"control\"\nmdoe = \"0660\"\n", &asked.backend));
    let refused = asked.ask("reload");
    assert!(
        refused.starts_with("error: ") && refused.contains("unknown key \"mdoe\" in [control]"),
        "{refused}"
    );
    let line = asked
        .tunnel
        .wait_log("the refusal", |line| line.is("control-command") && line.get("command") == "reload");
    assert!(line.get("outcome").contains("unknown key"), "{}", line.text);
    assert_eq!(asked.json("show process json")["reload"]["refused"], 1);
}

#[test]
fn drain_is_answered_and_the_socket_goes_with_the_daemon() {
    let mut asked = Asked::new();
    assert_eq!(asked.ask("drain"), "draining\n\n");
    assert!(asked.tunnel.wait_exit().success());
    assert!(!asked.path().exists());
}

#[test]
fn a_reload_moves_the_socket_changes_its_mode_and_takes_it_away() {
    let asked = Asked::new();
    let reload = |control: &str| {
        asked.tunnel.rewrite(&Asked::config(control, &asked.backend));
        let before = asked.tunnel.log_lines().iter().filter(|line| line.is("reload-done")).count();
        asked.tunnel.signal(Signal::SIGHUP);
        wait_for("a reload", || {
            asked.tunnel.log_lines().iter().filter(|line| line.is("reload-done")).count() > before
        });
    };
    let other = asked.tunnel.dir().join("other");
    assert_eq!(mode(&asked.path()), 0o600);
    let inode = fs::metadata(asked.path()).unwrap().ino();
    reload("[control]\nsocket = \"control\"\nmode = \"0640\"\n");
    assert_eq!(
        (mode(&asked.path()), fs::metadata(asked.path()).unwrap().ino()),
        (0o640, inode),
        "the same socket"
    );
    reload("[control]\nsocket = \"other\"\n");
    assert!(!asked.path().exists() && ask(&other, "show version").ends_with("\n\n"));
    reload("");
    assert!(!other.exists());
    reload(CONTROL);
    assert_eq!((mode(&asked.path()), asked.ask("show cli level").as_str()), (0o600, "admin\n\n"));
    fs::write(&other, "somebody's").unwrap();
    asked.tunnel.rewrite(&Asked::config("[control]\nsocket = \"other\"\n", &asked.backend));
    let refused = asked.ask("reload");
    assert!(refused.starts_with("error: cannot open the control interface: "), "{refused}");
    assert!(refused.contains("/other: Address already in use"), "{refused}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "somebody's");
}

#[test]
fn a_reload_that_is_refused_leaves_the_interface_as_it_was() {
    let (http, other, busy) = (free_address(), free_address(), TcpListener::bind("127.0.0.1:0").unwrap());
    let control = |address: SocketAddr, mode: &str| {
        format!("[control]\nsocket = \"control\"\nmode = \"{mode}\"\nhttp = \"{address}\"\n")
    };
    let asked = Asked::with(&control(http, "0600"));
    let refused = |why: &str| {
        let answer = asked.ask("reload");
        assert!(answer.starts_with("error: ") && answer.contains(why), "{answer}");
        assert_eq!(mode(&asked.path()), 0o600, "{why}");
        assert!(TcpStream::connect(http).is_ok() && TcpStream::connect(other).is_err(), "{why}");
    };
    asked.tunnel.rewrite(&Asked::config(&control(busy.local_addr().unwrap(), "0666"), &asked.backend));
    refused("Address already in use");
    // The interface could move, and then the log cannot be opened.
    asked.tunnel.rewrite(&Asked::config(&control(other, "0666"), &asked.backend));
    let text = fs::read_to_string(asked.tunnel.config_file()).unwrap();
    let target = format!("target = \"file:{}/none/log\"", asked.tunnel.dir().display());
    let text = text.replacen("target = \"stderr\"", &target, 1);
    fs::write(asked.tunnel.config_file(), text).unwrap();
    refused("cannot open the log");
}

#[test]
fn a_socket_whose_file_was_removed_comes_back_with_a_reload() {
    let asked = Asked::new();
    fs::remove_file(asked.path()).unwrap();
    let victim = asked.tunnel.dir().join("victim");
    fs::write(&victim, "somebody's").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    asked
        .tunnel
        .rewrite(&Asked::config("[control]\nsocket = \"control\"\nmode = \"0666\"\n", &asked.backend));
    asked.tunnel.signal(Signal::SIGHUP);
    asked.tunnel.wait_log("the reload", |line| line.is("reload-done"));
    assert_eq!((mode(&asked.path()), asked.ask("show cli level").as_str()), (0o666, "admin\n\n"));
    // Something else in its place is left alone, and the reload refused.
    fs::remove_file(asked.path()).unwrap();
    std::os::unix::fs::symlink(&victim, asked.path()).unwrap();
    asked.tunnel.signal(Signal::SIGHUP);
    asked.tunnel.wait_log("the refusal", |line| line.is("reload-failed"));
    assert_eq!(mode(&victim), 0o600);
}

#[test]
fn a_start_that_cannot_open_the_interface_has_served_nobody() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = Backend::start(Listening::default(), echo);
    let control = format!("[control]\nhttp = \"{}\"\n", busy.local_addr().unwrap());
    let mut tunnel = Tunnel::spawn(&Asked::config(&control, &backend), Options::default());
    assert_eq!(tunnel.wait_exit().code(), Some(69));
    let text = tunnel.log_text();
    assert!(text.contains("Address already in use") && !text.contains("event=listening"), "{text}");
}

#[test]
fn what_is_denied_a_thousand_times_is_told_a_few_times() {
    let asked = Asked::new();
    let mut stream = connect(&asked.path());
    stream.write_all(b"prompt; user\n").unwrap();
    for _ in 0..100 {
        stream
            .write_all("reload;reload;reload;reload;reload;reload;reload;reload;reload;reload\n".as_bytes())
            .unwrap();
    }
    stream.write_all(b"quit\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.matches("Permission denied").count(), 1000);
    let denied = |line: &Line| line.is("control-command") && line.get("outcome") == "permission denied";
    asked.tunnel.wait_log("the first refusal", denied);
    let told = asked.tunnel.log_lines().iter().filter(|line| denied(line)).count();
    assert!(told < 100, "{told}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// As after kill -9: the file is there, and nobody listens.
#[test]
fn a_socket_that_a_dead_process_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let asked = Asked::with(&format!("[control]\nsocket = \"{}\"\n", path.display()));
    assert_eq!(ask(&path, "show cli level"), "admin\n\n");
    drop(asked);
    assert!(!path.exists());
}

#[test]
fn the_socket_never_exists_with_wider_permissions_than_it_shall_have() {
    let backend = Backend::start(Listening::default(), echo);
    let tunnel = Tunnel::start(&Asked::config("", &backend));
    let calls = "trace=bind,listen,chmod,fchmod,fchmodat,fchmodat2,chown,fchown,fchownat,lchown,umask";
    let Some(strace) = Strace::attach(tunnel.pid(), true, &["-e", calls]) else { return };
    tunnel.rewrite(&Asked::config("[control]\nsocket = \"control\"\nmode = \"0660\"\n", &backend));
    tunnel.signal(Signal::SIGHUP);
    wait_for("the socket", || strace.calls().iter().any(|call| call.contains("listen(")));
    let calls = strace.calls();
    strace.detach();
    let place = |what: &str| {
        calls.iter().position(|call| call.contains(what)).unwrap_or_else(|| panic!("no {what} in {calls:#?}"))
    };
    let steps = [place("fchmod("), place("bind("), place("0660)"), place("listen(")];
    assert!(steps.is_sorted(), "{calls:#?}");
    assert!(calls[steps[0]].contains(", 000)"), "{calls:#?}");
    assert!(!calls.iter().any(|call| call.contains("umask(")), "it is every thread's");
}

/// Asks as the user and group `nobody`; nothing where we may not become that user.
fn ask_as_nobody(path: &Path, line: &str) -> Option<String> {
    if !Uid::effective().is_root() {
        say("skipped: only root can become somebody else");
        return None;
    }
    let to = format!("UNIX-CONNECT:{}", path.display());
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(nobody).args(["socat", "-t", "10", "-", &to]).current_dir("/").stderr(Stdio::inherit());
    let mut program = Program::start(&mut command);
    // It may have been refused already.
    let _ = program.stdin.take().unwrap().write_all(format!("{line}\n").as_bytes());
    program.wait_exit();
    Some(String::from_utf8(program.stdout()).unwrap() + &program.stderr())
}

#[test]
fn who_asks_decides_what_may_be_asked() {
    const LINE: &str = "show cli level; log-level info; drain";
    const DENIED: &str = "Permission denied";
    let open = |more: &str| {
        let asked = Asked::with(&format!("[control]\nsocket = \"control\"\nmode = \"0666\"\n{more}"));
        fs::set_permissions(asked.tunnel.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        asked
    };
    let asked = open("");
    let Some(answer) = ask_as_nobody(&asked.path(), LINE) else { return };
    assert_eq!(answer, format!("user\n\n{DENIED}\n\n{DENIED}\n\n"));
    let line = asked.tunnel.wait_log("the refusal", |line| line.get("command") == "drain");
    assert_eq!(line.get("outcome"), "permission denied");
    assert!(line.get("by").starts_with("uid 65534 "), "{}", line.text);
    drop(asked);
    for operate in ["\"nobody\"", "[\"@65534\"]", "\"65534\""] {
        let asked = open(&format!("operate = {operate}\n"));
        let answer = ask_as_nobody(&asked.path(), LINE).unwrap();
        assert!(answer.starts_with("operator\n\nlines from level info on"), "{operate}: {answer}");
        assert!(answer.ends_with(&format!("\n\n{DENIED}\n\n")), "{operate}: {answer}");
    }
    let mut asked = open("operate = \"@65534\"\nadmin = \"nobody\"\n");
    let answer = ask_as_nobody(&asked.path(), LINE).unwrap();
    assert!(answer.starts_with("admin\n\n") && answer.ends_with("\n\ndraining\n\n"), "{answer}");
    asked.tunnel.wait_exit();
}

#[test]
fn the_mode_keeps_others_out() {
    let asked = Asked::new();
    fs::set_permissions(asked.tunnel.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let Some(answer) = ask_as_nobody(&asked.path(), "show info") else { return };
    assert!(answer.contains("Permission denied") && !answer.contains("Name:"), "{answer}");
}

#[test]
fn whatever_is_sent_gets_one_clear_answer_and_harms_nobody() {
    let asked = Asked::new();
    for (bytes, answer) in [
        (b"show\0info\n".to_vec(), "The line has control characters.\n\n"),
        (b"\x1b[2J\n".to_vec(), "The line has control characters.\n\n"),
        (b"show \xff\n".to_vec(), "The line is not UTF-8.\n\n"),
        (b"x ".repeat(100), ""),
        ([&b"x ".repeat(100)[..], b"\n"].concat(), "A command has more than 64 words.\n\n"),
        (vec![b'x'; 1 << 20], "The line is longer than 16384 bytes.\n\n"),
    ] {
        let mut stream = connect(&asked.path());
        // It is closed while we write, once it is too long.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut told = Vec::new();
        // What we wrote and it never read makes the end a reset.
        let _ = stream.read_to_end(&mut told);
        assert_eq!(String::from_utf8(told).unwrap(), answer, "{:?} …", &bytes[..bytes.len().min(20)]);
    }
    let thousand = asked.ask(&"show cli level;".repeat(1000));
    assert_eq!(thousand, "admin\n\n".repeat(1000));
    assert_eq!(asked.ask("show cli level"), "admin\n\n");
}

#[test]
fn those_who_read_nothing_hold_nobody_up() {
    let asked = Asked::new();
    let stalled: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = connect(&asked.path());
            stream.write_all(("show snapshot json;".repeat(500) + "\n").as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        asked.connected();
        assert!(asked.ask("show info").starts_with("Name: "));
    }
    drop(stalled);
}

#[test]
fn every_document_is_json_and_every_table_is_csv() {
    let asked = Asked::new();
    let _client = asked.connected();
    for command in [
        "show snapshot json",
        "show info json",
        "show stat json",
        "show process json",
        "show services json",
        "show listeners json",
        "show workers json",
        "show certificates json",
        "show errors json",
        "show servers json",
        "show connections json",
    ] {
        let document = asked.json(command);
        assert!(document.is_array() || document.is_object(), "{command}");
    }
    let snapshot = asked.json("show snapshot json");
    assert_eq!(snapshot["services"][0]["name"], "web");
    let table = asked.tunnel.dir().join("stat.csv");
    fs::write(&table, asked.ask("show stat")).unwrap();
    let script = "import csv,sys\n\
        text = open(sys.argv[1]).read()\n\
        assert text.startswith('# ') and text.endswith('\\n\\n')\n\
        rows = list(csv.DictReader(text[2:].strip().split('\\n')))\n\
        print([(r['pxname'], r['svname'], r['status'], int(r['stot']), int(r['scur'])) for r in rows])\n";
    let output = Command::new("python3").args(["-c", script]).arg(&table).output().unwrap();
    let expected = format!(
        "[('web', 'FRONTEND', 'OPEN', 1, 1), ('web', '{}', 'no check', 1, 1), ('web', 'BACKEND', 'UP', 1, 1)]\n",
        asked.backend.address()
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
}
