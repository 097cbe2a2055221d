// SPDX-License-Identifier: MIT OR Apache-2.0
//! What leads where: addresses, services, routes and servers from left to right, as a picture and as a list.

use super::draw::Mood;
use super::parts::{nothing, standing};
use super::words::{plural, urlencoded};
use crate::control::model::{Route, Service, Snapshot};
use maud::{Markup, html};

/// Pictures on the page, routes in a picture, servers of a route, what a route takes: the rest is counted.
const SERVICES: usize = 24;
const ROUTES: usize = 12;
const SERVERS: usize = 6;
const TAKES: usize = 3;

/// Geometry, in pixels: a row, a box in it, the columns' left edges and the boxes' width.
const ROW: f64 = 38.0;
const BOX: f64 = 28.0;
const COLUMNS: [f64; 4] = [1.0, 261.0, 521.0, 781.0];
const WIDTH: f64 = 208.0;

/// Letters that fit into a box.
const LETTERS: usize = 25;

/// A box: where, what it says, in full, and its class.
struct Node {
    column: usize,
    /// Rows from the top to its middle.
    at: f64,
    text: String,
    full: String,
    class: &'static str,
}

impl Node {
    fn new(column: usize, at: f64, text: &str, class: &'static str) -> Self {
        Self { column, at, text: shorten(text), full: text.to_owned(), class }
    }

    fn y(&self) -> f64 {
        self.at * ROW
    }
}

/// A picture of one service.
#[derive(Default)]
struct Picture {
    nodes: Vec<Node>,
    /// From which node to which.
    wires: Vec<(usize, usize)>,
    rows: f64,
}

pub(super) fn draw(snapshot: &Snapshot) -> Markup {
    if snapshot.services.is_empty() {
        return nothing("There is no service.");
    }
    html! {
        @for service in snapshot.services.iter().take(SERVICES) {
            figure.wiring {
                div.scroll role="region" aria-label={ "Wiring of " (service.name) } tabindex="0" { (picture(service)) }
            }
        }
        @if snapshot.services.len() > SERVICES {
            p.muted { "and " (snapshot.services.len() - SERVICES) " more services: see the text below" }
        }
        details data-key="wiring-list" { summary { "As a list" } (list(snapshot)) }
    }
}

fn picture(service: &Service) -> Markup {
    let picture = layout(service);
    let height = picture.rows * ROW;
    let right = COLUMNS[3] + WIDTH + 1.0;
    let servers: usize = service.routes.iter().map(|route| route.servers.len()).sum();
    html! {
        svg.wires role="img" width=(right) height=(height) viewBox={ "0 0 " (right) " " (height) } {
            title { "Wiring of " (service.name) }
            desc {
                (plural(service.listens_on.len() as u64, "address leads", "addresses lead")) " to service " (service.name) ", "
                (plural(service.routes_total.max(service.routes.len() as u64), "route", "routes")) " to "
                (plural(servers as u64, "server", "servers"))
            }
            @for (from, to) in &picture.wires { (wire(&picture.nodes[*from], &picture.nodes[*to])) }
            @for node in &picture.nodes {
                g class={ "node " (node.class) } {
                    title { (node.full) }
                    rect x=(COLUMNS[node.column]) y=(node.y() - BOX / 2.0) width=(WIDTH) height=(BOX) rx="6" {}
                    text x=(COLUMNS[node.column] + 12.0) y=(node.y() + 4.5) { (node.text) }
                }
            }
        }
    }
}

/// Servers have a row each, what leads to them lies in the middle of them.
fn layout(service: &Service) -> Picture {
    let mut picture = Picture::default();
    let mut row = 0.0;
    let mut routes = Vec::new();
    for route in service.routes.iter().take(ROUTES) {
        let first = row;
        let mut servers = Vec::new();
        for server in route.servers.iter().take(SERVERS) {
            let class = match standing(server).0 {
                Mood::Bad => "bad",
                Mood::Good => "good",
                Mood::Warn | Mood::Idle => "idle",
            };
            servers.push(picture.add(Node::new(3, row + 0.5, &server.name, class)));
            row += 1.0;
        }
        if route.servers.len() > SERVERS {
            let rest = format!("and {} more", route.servers.len() - SERVERS);
            servers.push(picture.add(Node::new(3, row + 0.5, &rest, "rest")));
            row += 1.0;
        }
        row = row.max(first + 1.0);
        let class = if route.action == "reject" { "bad" } else { "" };
        let at = f64::midpoint(first, row);
        let index = picture.add(Node { full: told(route), ..Node::new(2, at, &label(route), class) });
        picture.wires.extend(servers.into_iter().map(|server| (index, server)));
        routes.push(index);
    }
    let left = usize::try_from(service.routes_total).unwrap_or(usize::MAX).max(service.routes.len());
    if left > ROUTES {
        routes.push(picture.add(Node::new(
            2,
            row + 0.5,
            &format!("and {} more routes", left - ROUTES),
            "rest",
        )));
        row += 1.0;
    }
    let addresses = service.listens_on.iter().take(ROUTES);
    picture.rows = row.max(addresses.len() as f64).max(1.0);
    let middle = picture.rows / 2.0;
    let here = picture.add(Node::new(1, middle, &service.name, "service"));
    picture.wires.extend(routes.into_iter().map(|route| (here, route)));
    let first = middle - addresses.len() as f64 / 2.0;
    for (index, address) in addresses.enumerate() {
        let index = picture.add(Node::new(0, first + index as f64 + 0.5, address, ""));
        picture.wires.push((index, here));
    }
    picture
}

impl Picture {
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

fn wire(from: &Node, to: &Node) -> Markup {
    let (x1, x2) = (COLUMNS[from.column] + WIDTH, COLUMNS[to.column]);
    let middle = f64::midpoint(x1, x2);
    let path =
        format!("M{x1} {y1:.1}C{middle} {y1:.1} {middle} {y2:.1} {x2} {y2:.1}", y1 = from.y(), y2 = to.y());
    html! { path.wire class=(to.class) d=(path) {} }
}

/// What a route is called in its box: its name, and what it takes if that says more.
fn label(route: &Route) -> String {
    match route.takes.first() {
        Some(takes) if route.name != *takes && route.takes.len() == 1 => format!("{}: {takes}", route.name),
        Some(takes) if route.name != *takes => format!("{}: {takes} …", route.name),
        _ => route.name.clone(),
    }
}

fn told(route: &Route) -> String {
    format!("{} ({}, TLS {}): {}", route.name, route.action, route.tls, route.takes.join(", "))
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= LETTERS {
        return text.to_owned();
    }
    text.chars().take(LETTERS - 1).chain(['…']).collect()
}

fn list(snapshot: &Snapshot) -> Markup {
    html! {
        ul.tree {
            @for service in snapshot.services.iter().take(SERVICES) {
                li {
                    b { (service.name) } " on "
                    @for (index, address) in service.listens_on.iter().enumerate() {
                        @if index > 0 { ", " }
                        code { (address) }
                    }
                    ul {
                        @for route in service.routes.iter().take(ROUTES) {
                            li {
                                (route.name) " (" (route.action) ", TLS " (route.tls) ")"
                                @for takes in route.takes.iter().take(TAKES) { " " code { (takes) } }
                                @if route.takes.len() > TAKES { " and " (route.takes.len() - TAKES) " more" }
                                @if !route.servers.is_empty() {
                                    ul { @for server in route.servers.iter().take(SERVERS) {
                                        li {
                                            a href={ "/servers#server-" (urlencoded(&service.name)) "-" (server.number) } { (server.name) }
                                            " " (standing(server).1)
                                        }
                                    } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::Server;

    #[test]
    fn what_leads_somewhere_lies_in_the_middle_of_it() {
        let route = |name: &str, servers: usize| Route {
            name: name.to_owned(),
            servers: vec![Server::default(); servers],
            ..Route::default()
        };
        let service = Service {
            listens_on: vec!["*:443".to_owned()],
            routes: vec![route("a", 2), route("b", 0), route("c", SERVERS + 3)],
            ..Service::default()
        };
        let picture = layout(&service);
        let at = |text: &str| picture.nodes.iter().find(|node| node.text == text).unwrap().at;
        assert_eq!([at("a"), at("b")], [1.0, 2.5]);
        assert_eq!(at("and 3 more"), 9.5, "two rows, one row, six and the rest");
        assert_eq!([picture.rows, at("*:443")], [10.0, 5.0]);
        assert_eq!(picture.wires.len(), 2 + SERVERS + 1 + 3 + 1);
    }

    #[test]
    fn what_is_too_long_for_a_box_is_cut_by_letters() {
        assert_eq!(shorten(&"ü".repeat(40)).chars().count(), LETTERS);
    }
}
