// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[control]` as TOML. Tokens are shown by the paths of their files.

use super::{path, settings};
use crate::config::raw::At;
use crate::policy::access::Level;
use serde::Serialize;
use std::path::PathBuf;

/// `[control]`; nothing where the daemon is asked nowhere.
#[derive(Serialize)]
pub(super) struct Control {
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<String>,
    /// Not without a socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    admin: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operate: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<Token>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<Certificate>,
}

#[derive(Serialize)]
struct Token {
    file: String,
    level: &'static str,
}

#[derive(Serialize)]
struct Certificate {
    cn: String,
    level: &'static str,
}

impl Control {
    pub(super) fn of(control: &settings::Control) -> Option<Self> {
        let names = |list: &[At<String>]| list.iter().map(|at| at.value.clone()).collect();
        let token = |file: &PathBuf, level: Level| Token { file: path(file), level: level.name() };
        let shown = Self {
            socket: control.socket.as_ref().map(|socket| path(&socket.value)),
            mode: control.socket.as_ref().map(|_| format!("{:04o}", control.mode)),
            group: control.group.as_ref().map(|group| group.value.clone()),
            admin: names(&control.admin),
            operate: names(&control.operate),
            http: control.http.map(|address| address.to_string()),
            hosts: control.hosts.clone(),
            tokens: control.tokens.iter().map(|(file, level)| token(&file.value, *level)).collect(),
            certificates: control
                .certificates
                .iter()
                .map(|(cn, level)| Certificate { cn: cn.clone(), level: level.name() })
                .collect(),
        };
        let says_something = shown.socket.is_some()
            || shown.http.is_some()
            || !(shown.tokens.is_empty() && shown.certificates.is_empty() && shown.hosts.is_empty());
        says_something.then_some(shown)
    }
}
