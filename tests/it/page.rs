// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page of the control interface in Debian's Chromium, with real traffic behind it: clients that stay and talk, clients
//! that fail in many ways, names that try to be HTML. What is looked at stands in tests/page/check.mjs.

use crate::harness::{Backend, Listening, Options, PATIENCE, Peer, Pki, TlsClient, Tunnel, wait_for};
use openssl::ssl::{SslVerifyMode, SslVersion};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a client asks for whose name would run if it were not escaped. Names are folded to lower case.
const HOSTILE: &str = "\"><script>window.pwned=1</script>";

const TOKEN: &str = "operate-0123456789abcdef";

/// Between two rounds of the clients: traffic that can be seen, and leaves the machine to the browser.
const ROUND: Duration = Duration::from_millis(250);

/// How long the browser may take for everything.
const LIMIT: Duration = Duration::from_secs(420);

#[test]
fn a_browser_sees_every_view_as_it_should_be() {
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page");
    assert!(
        check.join("node_modules/playwright-core/package.json").exists(),
        "what drives the browser is missing: run `make test`, or `npm ci` in {}",
        check.display()
    );
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let token = pki.server.certificate.with_file_name("token");
    std::fs::write(&token, TOKEN).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let soon = pki.issue_common_name("soon", "soon.local", 6);
    let config = format!(
        "[control]\ntokens = [{{ file = \"{}\", level = \"operate\" }}]\n\n{}\n{}\n{}",
        token.display(),
        service("web", backend.address(), &pki.server.toml()),
        service("imaps", backend.address(), &soon.toml()),
        "[[service]]\nname = \"status\"\nmode = \"control\"\naccept = \"127.0.0.1:0\"\n"
    );
    let options = Options { limit: LIMIT + PATIENCE, ..Options::default() };
    let tunnel = Tunnel::start_with(&config, options);
    let traffic = Traffic::start(&pki, tunnel.address("web"), tunnel.address("imaps"));
    wait_for("traffic of every kind", || traffic.rounds.load(Ordering::SeqCst) >= 3);
    let output = output();
    let url = format!("http://{}/", tunnel.address("status"));
    let ran = Command::new("node")
        .arg("check.mjs")
        .args([&url, output.to_str().unwrap(), HOSTILE, TOKEN])
        .current_dir(&check)
        .stdin(Stdio::null())
        .output()
        .expect("node is needed: `make test` installs it");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{err}");
    drop(traffic);
}

/// A service that terminates TLS with the files of `tls`.
fn service(name: &str, server: SocketAddr, tls: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\naccept = {{ address = [\"127.0.0.1:0\"], tls = {{ {tls} }} }}\nconnect = \"{server}\"\n"
    )
}

/// Where the pictures go: beside what was built.
fn output() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_tunnel"));
    built.ancestors().nth(2).unwrap().join("page")
}

/// Clients that come and go until this is dropped.
struct Traffic {
    /// Dropped to end it.
    over: Option<Sender<()>>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    fn start(pki: &Pki, web: SocketAddr, imaps: SocketAddr) -> Self {
        let (over, ends) = channel();
        let rounds = Arc::new(AtomicUsize::new(0));
        let trusting =
            |name: &str| TlsClient::with(pki, |builder| builder.set_verify(SslVerifyMode::NONE)).named(name);
        let staying: Vec<Peer> = ["localhost", "shop.local", "www.local", "kill-me.local", HOSTILE]
            .iter()
            .flat_map(|name| (0..3).map(|_| trusting(name).connect(web).unwrap()).collect::<Vec<_>>())
            .chain((0..2).map(|_| trusting("soon.local").connect(imaps).unwrap()))
            .collect();
        let coming = [
            TlsClient::new(pki),
            TlsClient::version(pki, SslVersion::TLS1_2),
            // Does not trust what it is shown.
            TlsClient::with(pki, |_| ()).named("other.local"),
            TlsClient::with(pki, |builder| {
                builder.set_security_level(0);
                builder.set_min_proto_version(Some(SslVersion::TLS1_1)).unwrap();
                builder.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
            }),
            // Breaks its handshake off with that name on record.
            TlsClient::new(pki).named(HOSTILE),
        ];
        let thread = thread::spawn({
            let rounds = Arc::clone(&rounds);
            move || come_and_go(staying, &coming, web, &ends, &rounds)
        });
        Self { over: Some(over), rounds, thread: Some(thread) }
    }
}

/// One round after the other: who stays says something and hears it, who comes shakes hands, or fails to, and goes.
fn come_and_go(
    mut staying: Vec<Peer>,
    coming: &[TlsClient],
    web: SocketAddr,
    ends: &Receiver<()>,
    rounds: &AtomicUsize,
) {
    let mut size = 1;
    while ends.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
        size = size % 40_000 + 1_500;
        let message = vec![b'x'; size];
        // Those that the browser ended are gone.
        staying.retain_mut(|peer| {
            let mut heard = 0;
            let mut buffer = vec![0; size];
            let sent = peer.try_send(&message).is_ok();
            while sent && heard < size {
                match peer.read(&mut buffer) {
                    Ok(count) => heard += count,
                    Err(_) => return false,
                }
            }
            sent
        });
        for client in coming {
            if let Ok(mut peer) = client.connect(web) {
                let _ = peer.try_send(b"hello");
                let _ = peer.read(&mut [0; 5]);
                peer.half_close();
                peer.receive_all();
            }
        }
        if let Ok(mut peer) = Peer::try_plain(web) {
            let _ = peer.try_send(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n");
            let _ = peer.read(&mut [0; 64]);
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.over.take();
        if let Some(thread) = self.thread.take() {
            // Its panic would only hide what the test has to say.
            let _ = thread.join();
        }
    }
}
