// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every view is well formed, escapes whatever it is given, and asks nobody else for anything.

use super::sample::{connections, hostile, hostile_connections, sight};
use super::{Page, Sight, VIEWS, render};
use crate::connection::view::ConnectionView;
use crate::control::answer::End;
use crate::control::listing::Cursor;
use crate::policy::access::Level;
use std::path::Path;

const NEXT: Cursor = Cursor { listing: 7, worker: 1, after: 91_000, below: 91_235 };

/// Every path there is, beside the assets.
fn paths() -> Vec<&'static str> {
    VIEWS.iter().map(|view| view.path).chain(["/connections", "/connections/91234"]).collect()
}

fn drawn(path: &str, query: &[(&str, &str)], sight: Sight, rows: &[ConnectionView]) -> String {
    let query: Vec<_> = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut body = Vec::new();
    match render(path, &query, sight).unwrap() {
        Page::Whole { body: whole, .. } => body = whole,
        Page::Connections { mut format, wanted, .. } => {
            let rows = rows.iter().filter(|row| wanted.takes(row));
            format.head(&mut body);
            rows.for_each(|row| format.row(row, &mut body));
            format.tail(&End { next: Some(NEXT), told: 0, silent: vec![2] }, &mut body);
        }
    }
    String::from_utf8(body).unwrap()
}

/// Elements that have no end tag (HTML, 13.1.2).
const VOID: [&str; 4] = ["meta", "link", "input", "br"];

/// Elements that may stand inside a paragraph or a heading.
const PHRASING: [&str; 24] = [
    "a", "abbr", "b", "button", "code", "i", "input", "label", "small", "span", "strong", "svg", "time",
    "title", "desc", "g", "path", "rect", "line", "text", "select", "option", "br", "em",
];

/// Every start tag has its end tag, in order, attributes are quoted, identifiers are there once.
fn check_nesting(page: &str, text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let mut rest = text.strip_prefix("<!DOCTYPE html>").unwrap_or_else(|| panic!("{page}: no doctype"));
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "{page}: a bare > in {:?}", &rest[..start]);
        let end = start + rest[start..].find('>').unwrap_or_else(|| panic!("{page}: a tag has no end"));
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{page}: before {:?}", &rest[..rest.len().min(60)]);
            continue;
        }
        let name = tag.split(' ').next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{page}: <{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "{page}: <{tag}>");
        if let Some(id) = tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            assert!(ids.insert(id), "{page}: id {id} twice");
        }
        if let Some(parent @ ("p" | "h1" | "h2" | "summary" | "caption" | "small" | "span")) =
            open.last().copied()
        {
            assert!(PHRASING.contains(&name), "{page}: <{name}> inside <{parent}>");
        }
        if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "{page}");
}

#[test]
fn every_view_is_well_formed() {
    for path in paths() {
        let text = drawn(path, &[], sight(), &connections());
        check_nesting(path, &text);
        assert!(text.contains(" aria-current=\"page\""), "{path}");
        assert_eq!(text.matches("<h1").count(), 1, "{path}");
        assert!(text.contains("<html lang=\"en\">"), "{path}");
    }
}

#[test]
fn a_daemon_that_has_just_started_has_every_view_too() {
    for path in paths() {
        let empty = Sight { level: Level::Read, ..Sight::default() };
        let text = drawn(path, &[], empty, &[]);
        check_nesting(path, &text);
        assert!(!text.contains("NaN") && !text.contains("inf%"), "{path}");
    }
}

#[test]
fn what_peers_say_is_text_everywhere() {
    const HOSTILE: &str = "\"><script>alert(1)</script>'&lt;";
    for path in paths() {
        let query = [("name", HOSTILE), ("service", HOSTILE), ("client", HOSTILE), ("state", HOSTILE)];
        let text = drawn(path, &query, hostile(HOSTILE), &hostile_connections(HOSTILE));
        // Numbers and keys stay, so what is checked is that the tags are ours alone.
        assert!(!text.contains("<script>") && !text.contains("alert(1)</script>"), "{path}");
        assert!(
            text.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
            "{path}: it is not shown at all"
        );
        assert!(text.contains("&amp;lt;"), "{path}: what looks escaped must be escaped once more");
        let mut once = text;
        // One name for everything makes identifiers meet.
        for id in ["server-", "service-", "servers-"] {
            once = once.replace(&format!(" id=\"{id}"), " data-id=\"");
        }
        check_nesting(path, &once);
    }
}

#[test]
fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
    for path in paths() {
        let text = drawn(path, &[], sight(), &connections());
        for word in [" style=", "<style", " on", "javascript:", "src=\"//", "url("] {
            let hits = text.match_indices(word).filter(|(at, _)| {
                // Prose may say "on"; an attribute of that name would have a value.
                word != " on"
                    || text[at + 3..]
                        .find(['=', ' ', '<'])
                        .is_some_and(|end| text[at + 3 + end..].starts_with("=\""))
            });
            assert_eq!(hits.count(), 0, "{path}: {word}");
        }
        let tags: String = text.split('<').filter_map(|part| part.split('>').next()).collect();
        assert!(!tags.contains("http:") && !tags.contains("https:"), "{path}");
        assert_eq!(text.matches("<script").count(), 1, "{path}");
    }
}

#[test]
fn only_operators_are_offered_to_end_connections() {
    for path in ["/connections", "/connections/91234"] {
        let kill = "<form method=\"post\" action=\"/api/v1/connections/91234/kill\">";
        assert!(drawn(path, &[], sight(), &connections()).contains(kill), "{path}");
        let reader = Sight { level: Level::Read, ..sight() };
        let text = drawn(path, &[], reader, &connections());
        assert!(!text.contains("/kill") && !text.contains("method=\"post\""), "{path}");
    }
}

#[test]
fn the_filter_is_kept_in_the_form_and_in_the_link_to_the_next_page() {
    let text = drawn("/connections", &[("name", "a b&c"), ("limit", "7")], sight(), &connections());
    assert!(text.contains("name=\"name\" value=\"a b&amp;c\""), "{text}");
    assert!(
        text.contains("href=\"/connections?name=a%20b%26c&amp;limit=7&amp;after=7-1-91000-91235\""),
        "{text}"
    );
    assert!(text.contains("1 worker has not answered in time"), "{text}");
}

#[test]
fn the_query_says_which_connections() {
    let page = |query: &[(&str, &str)]| {
        let query: Vec<_> =
            query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        match render("/connections", &query, sight()) {
            Some(Page::Connections { wanted, from, most, .. }) => (wanted, from, most),
            _ => panic!("no listing"),
        }
    };
    let (wanted, from, most) =
        page(&[("service", "web"), ("state", "connected"), ("after", "7-1-91000-91235")]);
    assert_eq!(
        (wanted.service.as_str(), wanted.state.as_str(), from, most),
        ("web", "connected", Some(NEXT), 50)
    );
    assert_eq!(page(&[("limit", "1000000"), ("after", "x")]).1, None);
    assert_eq!(page(&[("limit", "1000000")]).2, 200);
    assert_eq!(page(&[("limit", "0")]).2, 1);
}

#[test]
fn a_connection_that_is_gone_has_a_page_that_says_so() {
    let text = drawn("/connections/5", &[], sight(), &[]);
    assert!(text.contains("not any more"), "{text}");
}

#[test]
fn other_paths_lead_nowhere() {
    for path in ["", "/x", "/connections/x", "/config/", "/assets/x"] {
        assert!(render(path, &[], sight()).is_none(), "{path}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = drawn("/config", &[], sight(), &[]);
    assert!(text.contains("max_connections") && !text.contains("swordfish"));
}

/// `cargo test --lib page::tests::written -- --ignored`: the pages with sample values, as files to be looked at.
#[test]
#[ignore = "for looking at the pages without a daemon"]
fn written_to_files() {
    let folder = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let folder = Path::new(&folder).join("page/sample");
    std::fs::create_dir_all(&folder).unwrap();
    for path in paths() {
        let name = path.trim_start_matches('/').replace('/', "-");
        let name = if name.is_empty() { "index".to_owned() } else { name };
        let text = drawn(path, &[], sight(), &connections());
        let text = text.replace("\"/assets/page-", "\"page-").replace("\"/assets/icon-", "\"icon-");
        std::fs::write(folder.join(format!("{name}.html")), text).unwrap();
    }
    for (asset, body) in [
        (&super::assets::STYLE, &include_bytes!("page.css")[..]),
        (&super::assets::SCRIPT, &include_bytes!("page.js")[..]),
        (&super::assets::ICON, &include_bytes!("icon.svg")[..]),
    ] {
        std::fs::write(folder.join(asset.path.rsplit('/').next().unwrap()), body).unwrap();
    }
}
