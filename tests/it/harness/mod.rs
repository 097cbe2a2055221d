// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every integration test stands on.
//!
//! * [`Tunnel`]: the binary under test, its log, its signals, its figures from /proc; the checks at its end.
//! * [`Pki`]: a certificate authority for one test.
//! * [`Peer`]: one end of a connection, plain or TLS, client or server; how it ended ([`End`]).
//! * [`TlsClient`]: how a client shakes hands.
//! * [`Backend`]: a server made of one closure.
//! * [`hello`], [`refusing`], [`BlackHole`], [`Limited`]: peers that break off.
//! * [`Forger`]: a TLS client whose records are made by hand.
//! * [`NameServer`]: a name server made of one closure.
//! * [`Program`], [`Nginx`]: other people's programs.
//! * [`Rig`]: all of them joined in one of the four combinations of [`Sides`].
//!
//! Invariants: [`wait_for`] is the only place that lets time pass; whatever blocks has a deadline ([`PATIENCE`]), and a
//! test that runs into none of them is ended by its tunnel's time limit ([`Options::limit`]).
//! Not here: what is expected of the tunnel; that is in the tests.

mod backend;
mod client;
mod faults;
#[cfg(not(feature = "aws-lc"))]
mod forge;
#[allow(dead_code, reason = "the resolver's unit tests use all of it")]
mod name_server;
mod network;
mod peer;
mod pki;
mod program;
mod rig;
mod tunnel;

#[cfg(not(feature = "aws-lc"))]
pub(crate) use forge::{DATA, Forger, HANDSHAKE, KEY_UPDATE};
pub(crate) use {
    backend::{Backend, Listening, echo},
    client::{Failure, TlsClient, show},
    faults::{BlackHole, Limited, hello, refusing},
    name_server::{A, Asked, NameServer, SRV, service},
    network::OwnNetwork,
    peer::{Duplex, End, Pattern, Peer, Received, cramped, digest_of_pattern},
    pki::{Files, Pki},
    program::{Nginx, Program, free_address, openssl_server},
    rig::{Rig, Sides},
    tunnel::{Figures, Line, Options, Tunnel},
};

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long anything that should happen may take before the test fails. Long, because it is only ever reached on a
/// failure and the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds, looking at it again and again: the only place that lets time pass.
///
/// # Panics
/// When it does not hold within [`PATIENCE`]; `what` says what was awaited.
#[track_caller]
pub(crate) fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_up_to(PATIENCE, what, condition);
}

/// As [`wait_for`], with a limit of its own.
///
/// # Panics
/// When `condition` does not hold within `limit`.
#[track_caller]
pub(crate) fn wait_up_to(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        pause();
    }
}

/// Lets [`POLL`] pass, between two looks at a condition.
fn pause() {
    std::thread::sleep(POLL);
}

/// How often a test repeats its work: `soak` times under `make soak` (`TUNNEL_SOAK` is set), else `test` times.
pub(crate) fn full(soak: usize, test: usize) -> usize {
    if soaking() { soak } else { test }
}

/// Whether this is `make soak`.
pub(crate) fn soaking() -> bool {
    std::env::var_os("TUNNEL_SOAK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// A door that a test opens: what waits at it goes on, now or later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through from now on.
    pub(crate) fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.open.0.lock().unwrap()
    }

    /// Waits until the gate is open.
    ///
    /// # Panics
    /// When it stays shut for three times [`PATIENCE`], so that the test's own deadline speaks first.
    pub(crate) fn wait(&self) {
        let guard = self.open.0.lock().unwrap();
        let (_guard, timeout) = self.open.1.wait_timeout_while(guard, PATIENCE * 3, |open| !*open).unwrap();
        assert!(!timeout.timed_out(), "the gate was never opened");
    }
}
