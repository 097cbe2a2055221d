// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other people's programs: run to their end with a limit, or for as long as a test needs them.

use super::{Files, Pki, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A program that runs; killed when dropped. What it prints goes to files, so that it never waits for us.
pub(crate) struct Program {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    dir: TempDir,
}

impl Program {
    /// Starts `command` with an open standard input.
    ///
    /// # Panics
    /// When it is not installed: a test that skips what it should prove is none (`make test` installs them).
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = |name| fs::File::create(dir.path().join(name)).unwrap();
        command.stdin(Stdio::piped()).stdout(open("stdout")).stderr(open("stderr"));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        Self { child, stdin, dir }
    }

    /// What it has written to its standard output.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("stdout")).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("stderr")).unwrap()).into_owned()
    }

    /// Waits until its output contains `text`.
    #[track_caller]
    pub(crate) fn wait_output(&self, text: &str) {
        wait_for(text, || String::from_utf8_lossy(&self.stdout()).contains(text));
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("a program to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx with the files of a directory, plain or with TLS.
pub(crate) struct Nginx {
    program: Program,
    dir: TempDir,
    address: SocketAddr,
}

impl Nginx {
    #[track_caller]
    pub(crate) fn start(tls: Option<&Files>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        fs::create_dir(dir.path().join("files")).unwrap();
        fs::write(dir.path().join("nginx.conf"), configuration(dir.path(), address, tls)).unwrap();
        let mut program = Program::start(
            Command::new("nginx")
                .arg("-p")
                .arg(dir.path())
                .arg("-c")
                .arg(dir.path().join("nginx.conf"))
                .arg("-e")
                .arg(dir.path().join("error.log")),
        );
        wait_for("nginx to listen", || {
            assert!(program.is_running(), "nginx ended: {}", program.stderr());
            TcpStream::connect(address).is_ok()
        });
        Self { program, dir, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// To its only process.
    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Puts a file where clients can fetch it.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join("files").join(name), bytes).unwrap();
    }
}

fn configuration(dir: &Path, address: SocketAddr, tls: Option<&Files>) -> String {
    let dir = dir.display();
    let (ssl, certificate) = match tls {
        None => ("", String::new()),
        Some(Files { certificate, key }) => (
            " ssl",
            format!("ssl_certificate {}; ssl_certificate_key {};", certificate.display(), key.display()),
        ),
    };
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n\
         client_max_body_size 0;\n\
         server {{ listen {address}{ssl}; {certificate} root {dir}/files;\n\
         location /upload {{ return 204; }} }} }}\n"
    )
}

/// An address that is free now; for programs that cannot be told to choose one.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// `openssl s_server` that sends every line back reversed, and where it listens.
#[track_caller]
pub(crate) fn openssl_server(pki: &Pki, more: &[&str]) -> (Program, SocketAddr) {
    let address = free_address();
    let program = Program::start(
        Command::new("openssl")
            .args(["s_server", "-rev", "-accept", &address.to_string()])
            .arg("-cert")
            .arg(&pki.server.certificate)
            .arg("-key")
            .arg(&pki.server.key)
            .args(more),
    );
    program.wait_output("ACCEPT");
    (program, address)
}
