// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs under measurement, as one table, and how each is found and started.
//!
//! Not here: their configuration files (`configs.rs`).

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::Fallible;
use super::configs::{self, Place, Role};
use super::process::{Process, pin};

/// The name of this project's own row; those of its variants begin with it.
pub(super) const TUNNEL: &str = "tunnel";

/// How long a peer may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two tries to reach it.
const LOOK: Duration = Duration::from_millis(20);
/// Where Debian keeps daemons; not in everyone's PATH.
const DAEMON_DIRS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A peer as a row of the report.
#[derive(Debug)]
pub(super) struct Peer {
    /// What the report calls it.
    pub(super) name: &'static str,
    program: Program,
    roles: &'static [Role],
    /// A variant that tunes how bytes are moved and is measured only where bytes are moved.
    bulk_only: bool,
}

#[derive(Debug, Clone, Copy)]
enum Program {
    Haproxy {
        splice: bool,
    },
    Nginx {
        buffer: &'static str,
    },
    Hitch,
    Stunnel,
    Sniproxy,
    /// `blind`: relays what the others look at.
    Tunnel {
        blind: bool,
    },
}

const ALL: &[Role] = &[Role::Terminate, Role::Plain, Role::Originate, Role::RouteByName, Role::Limit];
const NGINX: &[Role] = &[Role::Terminate, Role::Plain, Role::Originate, Role::RouteByName];
const TLS: &[Role] = &[Role::Terminate, Role::Originate];

/// Every peer there is, in the report's order.
pub(super) const PEERS: &[Peer] = &[
    Peer { name: TUNNEL, program: Program::Tunnel { blind: false }, roles: ALL, bulk_only: false },
    Peer {
        name: "tunnel-plain",
        program: Program::Tunnel { blind: true },
        roles: &[Role::RouteByName, Role::Limit],
        bulk_only: false,
    },
    Peer { name: "haproxy", program: Program::Haproxy { splice: false }, roles: ALL, bulk_only: false },
    Peer {
        name: "haproxy-splice",
        program: Program::Haproxy { splice: true },
        roles: &[Role::Plain, Role::RouteByName],
        bulk_only: true,
    },
    Peer { name: "nginx", program: Program::Nginx { buffer: "16k" }, roles: NGINX, bulk_only: false },
    Peer { name: "nginx-64k", program: Program::Nginx { buffer: "64k" }, roles: NGINX, bulk_only: true },
    Peer { name: "nginx-256k", program: Program::Nginx { buffer: "256k" }, roles: NGINX, bulk_only: true },
    Peer { name: "hitch", program: Program::Hitch, roles: &[Role::Terminate], bulk_only: false },
    Peer { name: "stunnel", program: Program::Stunnel, roles: TLS, bulk_only: false },
    Peer { name: "sniproxy", program: Program::Sniproxy, roles: &[Role::RouteByName], bulk_only: false },
];

impl Peer {
    /// Whether it has a row where it plays `role`, moving bytes (`bulk`) or not.
    pub(super) fn plays(&self, role: Role, bulk: bool) -> bool {
        self.roles.contains(&role) && (bulk || !self.bulk_only)
    }

    /// Whether it minds what its role says about names and addresses.
    pub(super) fn minds(&self) -> bool {
        !matches!(self.program, Program::Tunnel { blind: true })
    }

    /// Where its program lies; `None` if it is not installed.
    pub(super) fn find(&self) -> Option<PathBuf> {
        let name = match self.program {
            Program::Haproxy { .. } => "haproxy",
            Program::Nginx { .. } => "nginx",
            Program::Hitch => "hitch",
            Program::Stunnel => "stunnel4",
            Program::Sniproxy => "sniproxy",
            Program::Tunnel { .. } => return find_tunnel(),
        };
        find_program(name)
    }

    /// Starts it on `core` and waits until it accepts connections. The caller's thread is on `home` again then.
    pub(super) fn start(&self, role: Role, setting: &Setting<'_>) -> Fallible<Running> {
        let program = self.find().ok_or("not installed")?;
        let dir = setting.dir.join(format!("{}-{}", self.name, setting.backend));
        fs::create_dir_all(&dir)?;
        let place = Place {
            listen: free_port()?,
            backend: setting.backend,
            pem: setting.pem,
            dir: &dir,
            root: nix::unistd::geteuid().is_root(),
        };
        let config = dir.join("config");
        fs::write(&config, self.config(role, &place))?;
        let log = dir.join("log");
        pin(setting.core)?;
        let started = Process::start(&self.words(&program, &config, &dir), &dir, &log);
        pin(setting.home)?;
        let mut process = started?;
        if !reachable(&mut process, place.listen) {
            drop(process);
            let said = fs::read_to_string(&log).unwrap_or_default();
            let said = if said.trim().is_empty() { "no word why" } else { said.trim() };
            return Err(format!("does not start: {said}").into());
        }
        Ok(Running { port: place.listen, process })
    }

    fn config(&self, role: Role, place: &Place<'_>) -> String {
        match self.program {
            Program::Haproxy { splice } => configs::haproxy(role, place, splice),
            Program::Nginx { buffer } => configs::nginx(role, place, nginx_module().as_deref(), buffer),
            Program::Hitch => configs::hitch(place),
            Program::Stunnel => configs::stunnel(role, place),
            Program::Sniproxy => configs::sniproxy(place),
            Program::Tunnel { blind } => configs::tunnel(if blind { Role::Plain } else { role }, place),
        }
    }

    /// The command line; every one of them keeps the program in the foreground.
    fn words(&self, program: &Path, config: &Path, dir: &Path) -> Vec<String> {
        let (program, config, dir) = (text(program), text(config), text(dir));
        match self.program {
            Program::Haproxy { .. } => vec![program, "-db".into(), "-q".into(), "-f".into(), config],
            Program::Nginx { .. } => {
                vec![program, "-e".into(), "stderr".into(), "-p".into(), dir, "-c".into(), config]
            }
            Program::Hitch => vec![program, format!("--config={config}")],
            Program::Stunnel => vec![program, config],
            Program::Sniproxy => vec![program, "-f".into(), "-c".into(), config],
            Program::Tunnel { .. } => vec![program, "-c".into(), config],
        }
    }
}

/// Where peers run and what they share.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    /// The core of the peer alone.
    pub(super) core: usize,
    /// The core of everything else.
    pub(super) home: usize,
    /// Certificate and key.
    pub(super) pem: &'a Path,
    /// For configuration files and logs.
    pub(super) dir: &'a Path,
    /// The backend's port.
    pub(super) backend: u16,
}

/// A peer that accepts connections.
#[derive(Debug)]
pub(super) struct Running {
    /// Where, on 127.0.0.1.
    pub(super) port: u16,
    /// The process to measure.
    pub(super) process: Process,
}

/// An executable in PATH or where daemons are.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(DAEMON_DIRS.map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// `TUNNEL_BIN`, or what cargo has built for this run.
fn find_tunnel() -> Option<PathBuf> {
    let named = env::var_os("TUNNEL_BIN").map(PathBuf::from);
    let path = named.or_else(|| option_env!("CARGO_BIN_EXE_tunnel").map(PathBuf::from))?;
    // The peer starts in a directory of its own.
    fs::canonicalize(path).ok()
}

/// Debian keeps nginx's stream module in a file of its own; nginx says in which directory.
fn nginx_module() -> Option<PathBuf> {
    let said = Command::new(find_program("nginx")?).arg("-V").output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let dir = said.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="))?;
    Some(Path::new(dir).join("ngx_stream_module.so")).filter(|file| file.is_file())
}

/// A port nobody listens on just now, of the kernel's choice.
fn free_port() -> Fallible<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Waits until `port` accepts a connection; `false` if the process ends before or takes too long.
fn reachable(process: &mut Process, port: u16) -> bool {
    let start = Instant::now();
    while process.is_running() && start.elapsed() < START_LIMIT {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        thread::sleep(LOOK);
    }
    false
}

/// Paths here are made by this program or by the system; nothing is lost.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
