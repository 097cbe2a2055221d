// SPDX-License-Identifier: MIT OR Apache-2.0
//! stub
use std::sync::Arc;

/// Counters of one service; lives in the [`Registry`], so it outlives every plan (docs/ARCHITECTURE.md).
#[derive(Debug, Default)]
pub struct ServiceStats {}

/// Everything that is counted, keyed by name, for the life of the process.
#[derive(Debug, Default, Clone)]
pub struct Registry {}

impl Registry {
    /// The counters of the service of that name, made when first asked for.
    pub fn service(&self, _name: &str) -> Arc<ServiceStats> {
        Arc::default()
    }
}
