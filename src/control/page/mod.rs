// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page: HTML made here, one stylesheet, one script, all in the binary.
//!
//! Every view is a pure function from a `Sight` to markup and works without the script, which only repeats the request
//! and puts in place what changed. `maud` escapes every text and attribute; what is not escaped would have to say
//! `PreEscaped`, and nothing here does but the doctype. Nothing is drawn by inline styles or scripts, and nothing is asked
//! of anybody else: the policy that HTTP sends along forbids both.
//!
//! Not here: HTTP itself, who may see what (`http/`).

mod assets;
mod certificates;
mod config;
mod connection;
mod connections;
mod draw;
mod failures;
mod frame;
mod latency;
mod overview;
mod parts;
#[cfg(test)]
mod sample;
mod servers;
#[cfg(test)]
mod tests;
mod tls;
mod wiring;
mod words;
mod workers;

use super::answer::{Format, Visitor};
use super::listing::Cursor;
use super::model::{Failure, Snapshot};
use super::state::State;
use crate::connection::view::Wanted;
use crate::policy::access::Level;
use maud::Markup;
use std::sync::Arc;

/// What a path leads to.
#[derive(Debug)]
pub enum Page {
    /// Media type, whether it may be kept for ever (its path has its hash), and the bytes.
    Whole { media: &'static str, immutable: bool, body: Vec<u8> },
    /// A page with connections on it: which, and what writes the whole document from them.
    Connections { wanted: Box<Wanted>, from: Option<Cursor>, most: usize, format: Box<dyn Format> },
}

/// What a page is drawn from.
#[derive(Debug, Default)]
struct Sight {
    snapshot: Arc<Snapshot>,
    /// The last ones, the newest first.
    failures: Vec<Failure>,
    /// The configuration as `tunnel -T` shows it.
    effective: Arc<str>,
    /// What the visitor may do.
    level: Level,
}

impl Sight {
    /// As it is now, for somebody who may do so much.
    fn now(state: &mut State, level: Level) -> Self {
        let (failures, effective) = (state.failures(), state.effective());
        Self { snapshot: state.snapshot(), failures, effective, level }
    }
}

/// A view without connections.
struct View {
    path: &'static str,
    title: &'static str,
    draw: fn(&Sight) -> Markup,
}

/// In the order of the navigation; the connections have their place after the first.
const VIEWS: &[View] = &[
    View { path: "/", title: "Overview", draw: overview::draw },
    View { path: "/failures", title: "Failures", draw: failures::draw },
    View { path: "/certificates", title: "Certificates", draw: certificates::draw },
    View { path: "/servers", title: "Servers", draw: servers::draw },
    View { path: "/latency", title: "Latency", draw: latency::draw },
    View { path: "/tls", title: "TLS", draw: tls::draw },
    View { path: "/workers", title: "Workers", draw: workers::draw },
    View { path: "/config", title: "Configuration", draw: config::draw },
];

/// The page at `path` ("/", "/connections", "/assets/…") with these fields of the query, decoded; nothing, if there is none.
pub fn page(path: &str, query: &[(String, String)], visitor: &Visitor, state: &mut State) -> Option<Page> {
    if let Some(asset) = assets::find(path) {
        return Some(asset);
    }
    let known = VIEWS.iter().any(|view| view.path == path);
    if !known && path != connections::PATH && connection::at(path).is_none() {
        return None;
    }
    let level = visitor.level;
    // A page with connections looks when those are there.
    let sight = if known { Sight::now(state, level) } else { Sight { level, ..Sight::default() } };
    render(path, query, sight)
}

/// The page at `path`, drawn from `sight`.
fn render(path: &str, query: &[(String, String)], sight: Sight) -> Option<Page> {
    if let Some(id) = connection::at(path) {
        return Some(connection::page(id, sight));
    }
    if path == connections::PATH {
        return Some(connections::page(query, sight));
    }
    let view = VIEWS.iter().find(|view| view.path == path)?;
    let body = frame::document(&sight, view.path, view.title, &(view.draw)(&sight));
    Some(Page::Whole { media: frame::MEDIA, immutable: false, body })
}
