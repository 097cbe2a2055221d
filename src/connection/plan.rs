// SPDX-License-Identifier: MIT OR Apache-2.0
//! stub
use crate::policy::service::Service;

/// What a listener's connections do: a service and the steps composed from it.
#[derive(Debug)]
pub struct Plan {
    pub service: Service,
}

impl Plan {
    /// Composes the steps from what the service's sides have configured.
    pub fn relay(service: Service) -> Self {
        Self { service }
    }

    /// The built-in demo backend (`mode = "demo"`): answers by itself, connects nowhere.
    pub fn demo(service: Service) -> Self {
        Self { service }
    }
}
