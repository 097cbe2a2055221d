// SPDX-License-Identifier: MIT OR Apache-2.0
//! `limit` of a service or a route, as `-T` shows it.

use crate::config::values::{Counted, format_duration, format_rate};
use crate::policy::bucket::Rate;
use crate::policy::quota::{QuotaSpec, Ways};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Limit {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime_jitter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth: Option<Bandwidth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_bandwidth: Option<Bandwidth>,
}

#[derive(Serialize)]
struct Bandwidth {
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down: Option<String>,
}

impl Limit {
    pub(super) fn of(spec: &QuotaSpec) -> Self {
        Self {
            max_connections: spec.max_connections,
            rate: spec.rate.map(|rate| format_rate(rate, Counted::Events)),
            lifetime: spec.lifetime.map(format_duration),
            lifetime_jitter: spec.lifetime.map(|_| format_duration(spec.lifetime_jitter)),
            bandwidth: Bandwidth::of(spec.bandwidth),
            connection_bandwidth: Bandwidth::of(spec.connection_bandwidth),
        }
    }
}

impl Bandwidth {
    fn of(ways: Ways<Option<Rate>>) -> Option<Self> {
        let written = |rate: Option<Rate>| rate.map(|rate| format_rate(rate, Counted::Bytes));
        let (up, down) = (written(ways.up), written(ways.down));
        (up.is_some() || down.is_some()).then_some(Self { up, down })
    }
}
