// SPDX-License-Identifier: MIT OR Apache-2.0
//! stub
use super::tls_spec::{ClientTlsSpec, Problem};

/// TLS towards servers, loaded: one context per worker.
#[derive(Debug)]
pub struct ClientTls {}

impl ClientTls {
    /// Loads everything `spec` names.
    pub fn load(_spec: &ClientTlsSpec, _workers: usize) -> Result<Self, Vec<Problem>> {
        Ok(Self {})
    }
}
