// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[resolver]` as TOML.

use super::path;
use crate::config::values::format_duration;
use crate::resolver::Settings;
use serde::Serialize;
use std::net::SocketAddr;

#[derive(Serialize)]
pub(super) struct Resolver {
    /// Not where resolv.conf(5) says whom to ask.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<String>,
    hosts: String,
    min: String,
    max: String,
    negative: String,
    stale: String,
    /// Not where resolv.conf(5) may say otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<usize>,
}

impl Resolver {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            servers: settings.servers.iter().map(SocketAddr::to_string).collect(),
            hosts: path(&settings.hosts),
            min: format_duration(settings.min),
            max: format_duration(settings.max),
            negative: format_duration(settings.negative),
            stale: format_duration(settings.stale),
            timeout: settings.timeout.map(format_duration),
            attempts: settings.attempts,
        }
    }
}
