// SPDX-License-Identifier: MIT OR Apache-2.0
//! `socket` of either side, as `-T` shows it. What is not said is the system's, so it is not shown.

use crate::config::values::{format_duration, format_size};
use crate::sys::listening::ListenOptions;
use crate::sys::options::{Keepalive, SocketOptions};
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
pub(super) struct AcceptSocket {
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v6only: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    freebind: bool,
    #[serde(skip_serializing_if = "is_false")]
    reuse_port: bool,
    #[serde(flatten)]
    common: Socket,
}

#[derive(Serialize)]
pub(super) struct Socket {
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    fast_open: bool,
    #[serde(skip_serializing_if = "is_false")]
    mptcp: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    congestion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_buffer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_buffer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keepalive: Option<Probes>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Probes {
    Switch(bool),
    Times {
        #[serde(skip_serializing_if = "Option::is_none")]
        idle: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        interval: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

impl AcceptSocket {
    /// Nothing where nothing is said.
    pub(super) fn of(options: &ListenOptions) -> Option<Self> {
        let said = ListenOptions { permit: None, ..options.clone() } != ListenOptions::default();
        said.then(|| Self {
            backlog: options.backlog,
            v6only: options.v6only,
            freebind: options.freebind,
            reuse_port: options.reuse_port,
            common: Socket::shown(&options.socket),
        })
    }
}

impl Socket {
    /// Nothing where nothing is said.
    pub(super) fn of(options: &SocketOptions) -> Option<Self> {
        (*options != SocketOptions::default()).then(|| Self::shown(options))
    }

    fn shown(options: &SocketOptions) -> Self {
        let name = |name: &Option<Box<str>>| name.as_deref().map(str::to_owned);
        let size = |bytes: Option<u32>| bytes.map(|bytes| format_size(bytes.into()));
        Self {
            interface: name(&options.interface),
            fast_open: options.fast_open,
            mptcp: options.mptcp,
            user_timeout: options.user_timeout.map(format_duration),
            congestion: name(&options.congestion),
            tos: options.tos,
            mark: options.mark,
            receive_buffer: size(options.receive_buffer),
            send_buffer: size(options.send_buffer),
            keepalive: options.keepalive.map(Probes::of),
        }
    }
}

impl Probes {
    fn of(keepalive: Keepalive) -> Self {
        let time = |seconds: Option<u32>| Some(format_duration(Duration::from_secs(seconds?.into())));
        match keepalive {
            Keepalive::Off => Self::Switch(false),
            Keepalive::On { idle: None, interval: None, count: None } => Self::Switch(true),
            Keepalive::On { idle, interval, count } => {
                Self::Times { idle: time(idle), interval: time(interval), count }
            }
        }
    }
}
