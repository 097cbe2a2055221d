// SPDX-License-Identifier: MIT OR Apache-2.0
//! `check` and `passive`, as `-T` shows them.

use crate::config::raw::At;
use crate::config::settings::CheckSettings;
use crate::config::values::format_duration;
use crate::policy::health::Passive;
use serde::Serialize;

/// A table, or `false`.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Switched<T> {
    Off(bool),
    On(Box<T>),
}

#[derive(Serialize)]
pub(super) struct Check {
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    send: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    expect: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// Not where it depends on the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<bool>,
    interval: String,
    timeout: String,
    rise: u8,
    fall: u8,
}

#[derive(Serialize)]
pub(super) struct PassiveTable {
    fails: u8,
    window: String,
    pause: String,
    max_pause: String,
}

pub(super) fn check(written: &At<Option<CheckSettings>>) -> Switched<Check> {
    let Some(CheckSettings { spec, tls }) = &written.value else { return Switched::Off(false) };
    Switched::On(Box::new(Check {
        kind: spec.protocol.name,
        send: spec.question.send.to_string(),
        expect: spec.question.expect.to_string(),
        user: spec.question.user.to_string(),
        port: spec.port,
        tls: *tls,
        interval: format_duration(spec.interval),
        timeout: format_duration(spec.timeout),
        rise: spec.limits.rise,
        fall: spec.limits.fall,
    }))
}

pub(super) fn passive(passive: &Passive) -> Switched<PassiveTable> {
    if passive.fails == 0 {
        return Switched::Off(false);
    }
    Switched::On(Box::new(PassiveTable {
        fails: passive.fails,
        window: format_duration(passive.window),
        pause: format_duration(passive.pause),
        max_pause: format_duration(passive.max_pause),
    }))
}
