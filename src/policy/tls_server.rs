// SPDX-License-Identifier: MIT OR Apache-2.0
//! stub
use super::tls_spec::{Problem, ServerTlsSpec};

/// Secret of this process (32 random bytes) from which session ticket keys derive; the same in all workers.
#[derive(Clone)]
pub struct ProcessSecret(pub [u8; 32]);

impl std::fmt::Debug for ProcessSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessSecret(…)")
    }
}

/// TLS towards clients, loaded: one context per worker and certificate name set.
#[derive(Debug)]
pub struct ServerTls {}

impl ServerTls {
    /// Loads everything `spec` names. `identity` is "service/route": sessions never cross it (architecture G5).
    pub fn load(
        _spec: &ServerTlsSpec,
        _identity: &str,
        _secret: &ProcessSecret,
        _workers: usize,
    ) -> Result<Self, Vec<Problem>> {
        Ok(Self {})
    }
}
