// SPDX-License-Identifier: MIT OR Apache-2.0
//! Live connections: a table, a page at a time, filtered by the fields of a form.
//!
//! The document is written when the last row is there: rows are few, and what stands above them tells how many.

use super::draw::{Mood, state};
use super::parts::{Column, cell, nothing, number, picture, table, text};
use super::words::{bits, bytes, count, plural, span, urlencoded};
use super::{Page, Sight, frame};
use crate::connection::view::{ConnectionView, STATES, TlsView, Wanted};
use crate::control::answer::{End, Format};
use crate::control::state::State;
use crate::policy::access::Level;
use maud::{Markup, html};

pub(super) const PATH: &str = "/connections";

/// Rows of a page: unless asked for otherwise, and at most.
const ROWS: usize = 50;
const MOST: usize = 200;

/// Services offered in the form.
const OFFERED: usize = 500;

/// The page with the connections that the query asks for. What it does not understand is as if it were not there.
pub(super) fn page(query: &[(String, String)], sight: Sight) -> Page {
    let field = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim());
    let wanted = Wanted {
        service: field("service").to_owned(),
        client: field("client").to_owned(),
        name: field("name").to_owned(),
        server: field("server").to_owned(),
        state: field("state").to_owned(),
        ..Wanted::default()
    };
    let most = field("limit").parse().unwrap_or(ROWS).clamp(1, MOST);
    let from = field("after").parse().ok();
    let format =
        Box::new(Listed { sight, wanted: wanted.clone(), most, later: from.is_some(), rows: Vec::new() });
    Page::Connections { wanted: Box::new(wanted), from, most, format }
}

/// Gathers the rows of a page.
#[derive(Debug)]
struct Listed {
    sight: Sight,
    wanted: Wanted,
    most: usize,
    /// Whether it goes on where another page ended.
    later: bool,
    rows: Vec<ConnectionView>,
}

impl Format for Listed {
    fn head(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, connection: &ConnectionView, _: &mut Vec<u8>) {
        self.rows.push(connection.clone());
    }

    fn look(&mut self, state: &mut State) {
        self.sight = Sight::now(state, self.sight.level);
    }

    fn held(&self) -> usize {
        self.rows.capacity() * size_of::<ConnectionView>()
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        out.extend(frame::document(&self.sight, PATH, "Connections", &self.draw(end)));
    }
}

impl Listed {
    fn draw(&self, end: &End) -> Markup {
        let active = self.sight.snapshot.process.traffic.active;
        html! {
            h1 { "Connections" }
            (self.form())
            p.muted {
                (plural(self.rows.len() as u64, "connection", "connections")) " here"
                @if self.later { ", after those of the pages before" }
                @if self.filtered() { " that match" }
                ", " (count(active)) " in all."
            }
            @if !end.silent.is_empty() {
                p { (state(Mood::Warn, "incomplete")) " "
                    (plural(end.silent.len() as u64, "worker has", "workers have")) " not answered in time." }
            }
            @if self.rows.is_empty() {
                (nothing(if self.filtered() { "No connection matches." } else { "There is no connection at the moment." }))
            } @else {
                (self.table())
            }
            nav.pages aria-label="Pages" {
                @if self.later { a href=(self.link(None)) { "First page" } }
                @if let Some(next) = &end.next { a rel="next" href=(self.link(Some(&next.to_string()))) { "Next page" } }
            }
        }
    }

    fn filtered(&self) -> bool {
        self.wanted != Wanted::default()
    }

    /// The same filter from another place on.
    fn link(&self, after: Option<&str>) -> String {
        let wanted = &self.wanted;
        let limit = if self.most == ROWS { String::new() } else { self.most.to_string() };
        let fields = [
            ("service", wanted.service.as_str()),
            ("client", &wanted.client),
            ("name", &wanted.name),
            ("server", &wanted.server),
            ("state", &wanted.state),
            ("limit", &limit),
            ("after", after.unwrap_or("")),
        ];
        let set = fields.iter().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<String> = set.map(|(name, value)| format!("{name}={}", urlencoded(value))).collect();
        if pairs.is_empty() { PATH.to_owned() } else { format!("{PATH}?{}", pairs.join("&")) }
    }

    fn form(&self) -> Markup {
        let wanted = &self.wanted;
        let services = &self.sight.snapshot.services;
        html! {
            form #filter .filter method="get" action=(PATH) role="search" aria-label="Filter connections" {
                label { "Service"
                    select name="service" {
                        option value="" { "all" }
                        @for service in services.iter().take(OFFERED) {
                            option value=(service.name) selected[service.name == wanted.service] { (service.name) }
                        }
                        @if !wanted.service.is_empty() && !services.iter().any(|service| service.name == wanted.service) {
                            option value=(wanted.service) selected { (wanted.service) }
                        }
                    }
                }
                label { "State"
                    select name="state" {
                        option value="" { "all" }
                        @for state in STATES { option value=(state) selected[state == wanted.state] { (state) } }
                    }
                }
                (field("Client starts with", "client", &wanted.client, "192.0.2."))
                (field("Name contains", "name", &wanted.name, "example.org"))
                (field("Server starts with", "server", &wanted.server, "10.0.0.5:"))
                div.buttons {
                    button type="submit" { "Filter" }
                    @if self.filtered() { a href=(PATH) { "Clear" } }
                }
            }
        }
    }

    fn table(&self) -> Markup {
        const COLUMNS: &[Column] = &[
            number("ID"),
            text("State"),
            number("Age"),
            text("Client"),
            text("Name"),
            text("Service"),
            text("Server"),
            number("In"),
            number("Out"),
            number("Rate"),
            text("TLS with client"),
        ];
        const ENDING: Column = picture("End it");
        let kills = self.sight.level >= Level::Operate;
        let columns: Vec<Column> = COLUMNS.iter().copied().chain(kills.then_some(ENDING)).collect();
        let then = self.link(None);
        let rows = html! { @for connection in &self.rows { (row(connection, kills.then_some(&then))) } };
        table("live", "Live connections, worker by worker, the oldest first on each", &columns, &rows)
    }
}

fn field(label: &str, name: &str, value: &str, example: &str) -> Markup {
    html! {
        label { (label)
            input type="text" name=(name) value=(value) placeholder=(example) autocomplete="off" spellcheck="false";
        }
    }
}

/// `then`: where somebody who may end connections is led after that.
fn row(connection: &ConnectionView, then: Option<&String>) -> Markup {
    let rate = connection.rate_in + connection.rate_out;
    html! {
        tr data-key=(connection.id) {
            th.number scope="row" data-value=(connection.id) {
                a href={ (PATH) "/" (connection.id) } { (connection.id) }
            }
            td { (condition(connection)) @if !connection.doing.is_empty() { small { (connection.doing) } } }
            (cell(connection.age, &span(connection.age)))
            td { code { (connection.client) } @if !connection.via.is_empty() { small { "via " (connection.via) } } }
            td {
                code.peer { (connection.name) }
                @if !connection.client_cn.is_empty() { small.peer { "certificate " (connection.client_cn) } }
            }
            td { (connection.service) @if !connection.route.is_empty() { small { (connection.route) } } }
            td { code { (connection.server) } @if connection.server_tls.is_some() { (tls(connection.server_tls.as_ref())) } }
            (cell(connection.bytes_in, &bytes(connection.bytes_in)))
            (cell(connection.bytes_out, &bytes(connection.bytes_out)))
            (cell(rate, &bits(rate)))
            td { (tls(connection.client_tls.as_ref())) }
            @if let Some(then) = then { td { (kill(connection.id, then)) } }
        }
    }
}

/// Its state in a word.
pub(super) fn condition(connection: &ConnectionView) -> Markup {
    let mood = match connection.state.as_str() {
        "connected" => Mood::Good,
        "client-closed" | "server-closed" | "closed" => Mood::Idle,
        _ => Mood::Warn,
    };
    state(mood, &connection.state)
}

/// Version, cipher, group and whether it was resumed.
pub(super) fn tls(tls: Option<&TlsView>) -> Markup {
    html! {
        @match tls {
            None => span.muted { "none" },
            Some(tls) => {
                (tls.version) @if tls.resumed { " " span.tag { "resumed" } }
                small { (tls.cipher) @if !tls.group.is_empty() { " " (tls.group) } }
            }
        }
    }
}

/// Ends a connection, and shows the page `then` after it: works without the script, and by POST alone.
pub(super) fn kill(id: u64, then: &str) -> Markup {
    html! {
        form method="post" action={ "/api/v1/connections/" (id) "/kill" } {
            input type="hidden" name="then" value=(then);
            button.danger type="submit" { "End" span.aside { " connection " (id) } }
        }
    }
}
