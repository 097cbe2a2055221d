// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `-v` and `-V` print.

use crate::stats::MAX_WORKERS;
use crate::stream::SCRATCH;
use crate::sys::{openssl, process};
use std::thread;

/// The version; `verbose` adds commit, features, the TLS library compiled against and the one running, and limits.
pub fn text(verbose: bool) -> String {
    let version = concat!("tunnel ", env!("TUNNEL_VERSION"));
    if !verbose {
        return version.to_owned();
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{version}\n\
         commit: {}\n\
         features: {}\n\
         TLS library, compiled: {}\n\
         TLS library, running: {}\n\
         limits: workers {MAX_WORKERS} (this machine has {cores} cores), descriptors {}, \
         bytes moved per turn and direction {SCRATCH}",
        env!("TUNNEL_COMMIT"),
        env!("TUNNEL_FEATURES"),
        env!("TUNNEL_TLS_LIBRARY"),
        openssl::library_version(),
        process::descriptor_limit(),
    )
}
