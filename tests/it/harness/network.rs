// SPDX-License-Identifier: MIT OR Apache-2.0
//! A network of a test's own: what is lost in it is lost to nobody else, and what it says of name servers is for nobody else.

use nix::sched::{CloneFlags, unshare};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The network that this thread, the threads and the programs it starts from now on have to themselves: a loopback interface
/// and no other. It ends with the last of them.
pub(crate) struct OwnNetwork(());

impl OwnNetwork {
    /// Nothing where we have no right to one; that is said.
    pub(crate) fn new() -> Option<Self> {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            let mut stderr = std::io::stderr();
            writeln!(stderr, "skipped: no network of our own: {error}").unwrap();
            return None;
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success(), "{up}");
        Some(Self(()))
    }

    /// Has `file` read where resolv.conf(5) is looked for.
    pub(crate) fn resolve_by(&self, file: &Path) {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let file = file.to_str().unwrap();
        for args in [&["--make-rprivate", "/"][..], &["--bind", file, "/etc/resolv.conf"]] {
            let status = Command::new("mount").args(args).status().unwrap();
            assert!(status.success(), "{args:?}: {status}");
        }
    }

    /// Loses every packet to `address` from now on, over TCP and UDP.
    pub(crate) fn lose(&self, address: SocketAddr) {
        let (ip, port) = (address.ip(), address.port());
        self.nft(&format!(
            "add table inet test\nadd chain inet test in {{ type filter hook input priority 0; }}\n\
             add rule inet test in ip daddr {ip} meta l4proto {{ tcp, udp }} th dport {port} drop\n"
        ));
    }

    /// Loses nothing any more.
    pub(crate) fn heal(&self) {
        self.nft("flush ruleset\n");
    }

    fn nft(&self, rules: &str) {
        // Root's, and not in everybody's path.
        let mut nft = Command::new("/usr/sbin/nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        let status = nft.wait().unwrap();
        assert!(status.success(), "{rules}: {status}");
    }
}
