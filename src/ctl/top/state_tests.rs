// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys and what they make of the screen.

use super::*;
use crate::show::tests::sample;
use std::path::PathBuf;
use tunnel::connection::view::ConnectionView;

fn page(ids: &[u64]) -> Page {
    let view = |id: &u64| ConnectionView {
        id: *id,
        service: "web".into(),
        client: format!("192.0.2.{id}:1"),
        bytes_in: 100 - *id,
        ..ConnectionView::default()
    };
    Page { connections: ids.iter().map(view).collect(), ..Page::default() }
}

fn seeing(ids: &[u64]) -> State {
    let mut state = State::new(false);
    look(&mut state, ids);
    state
}

fn look(state: &mut State, ids: &[u64]) {
    state.looked(Ok(Box::new(Seen { snapshot: sample(), page: Some(page(ids)), errors: None })));
}

fn press(state: &mut State, keys: &str) -> Action {
    keys.chars().map(|c| state.press(Key::Char(c), 10)).last().unwrap_or(Action::None)
}

fn text(state: &mut State) -> String {
    let body = state.body(200, 10);
    body.head.iter().chain(&body.lines).map(|line| line.text() + "\n").collect()
}

fn chosen(state: &mut State) -> String {
    let body = state.body(200, 10);
    body.chosen.map_or_else(String::new, |at| body.lines[at].text().trim().to_owned())
}

#[test]
fn digits_choose_screens_and_only_what_is_shown_is_fetched() {
    let mut state = seeing(&[1]);
    for (key, words, wants) in [
        ("1", "error: server web/one is down", Wants::default()),
        ("2", "SERVICE", Wants::default()),
        ("3", "Failures by cause", Wants::default()),
        ("4", "web/one", Wants::default()),
        ("5", "192.0.2.1:1", Wants { connections: true, errors: false }),
        ("6", "300/512", Wants::default()),
        ("7", "WORKER", Wants::default()),
        ("8", "CAUSE", Wants { connections: false, errors: true }),
    ] {
        assert_eq!(press(&mut state, key), Action::Look);
        assert!(text(&mut state).contains(words), "{key}:\n{}", text(&mut state));
        assert_eq!(state.wants(), wants, "{key}");
    }
}

#[test]
fn a_chosen_connection_stays_chosen_while_others_come_and_go() {
    let mut state = seeing(&[1, 2, 3]);
    press(&mut state, "5jj");
    assert!(chosen(&mut state).starts_with("3 "), "{}", chosen(&mut state));
    look(&mut state, &[2, 3, 4, 5]);
    assert!(chosen(&mut state).starts_with("3 "));
    // It is gone: the choice stays on the row.
    look(&mut state, &[4]);
    assert!(chosen(&mut state).starts_with("4 "));
    look(&mut state, &[]);
    assert_eq!(chosen(&mut state), "");
}

#[test]
fn rows_are_sorted_by_the_column_the_arrows_choose() {
    let mut state = seeing(&[2, 1, 3]);
    press(&mut state, "5");
    let order = |state: &mut State| {
        let lines = state.body(200, 10).lines;
        lines.iter().map(|line| line.text().trim()[..1].to_owned()).collect::<String>()
    };
    assert_eq!(order(&mut state), "213");
    state.press(Key::Right, 10);
    assert_eq!(order(&mut state), "321");
    press(&mut state, "r");
    assert_eq!(order(&mut state), "123");
    state.press(Key::Left, 10);
    assert_eq!(order(&mut state), "213", "over the end there is no order");
}

#[test]
fn a_filter_is_typed_kept_and_given_up() {
    let mut state = seeing(&[1, 2, 13]);
    press(&mut state, "5/192.0.2.1");
    assert!(state.footer().text().starts_with("show rows with: 192.0.2.1"));
    assert_eq!(state.body(200, 10).lines.len(), 2);
    state.press(Key::Enter, 10);
    assert!(state.footer().text().contains("only rows with \"192.0.2.1\""));
    press(&mut state, "/x");
    state.press(Key::Escape, 10);
    assert_eq!(state.body(200, 10).lines.len(), 2, "what was there before");
    state.press(Key::Escape, 10);
    assert_eq!(state.body(200, 10).lines.len(), 3);
    // Letters of a filter are no commands.
    assert_eq!(press(&mut state, "/qK"), Action::None);
}

#[test]
fn a_connection_is_ended_only_after_a_yes() {
    let mut state = seeing(&[7]);
    press(&mut state, "K");
    assert!(state.footer().text().contains("key 5"), "{}", state.footer().text());
    press(&mut state, "5K");
    assert_eq!(state.footer().text(), "end connection 7 of web from 192.0.2.7:1? (y/n)");
    assert_eq!(press(&mut state, "n"), Action::None);
    assert_eq!(state.footer().text(), "nothing was ended");
    assert_eq!(press(&mut state, "Ky"), Action::Kill(7));
    state.killed(7, Ok(()));
    assert_eq!(state.footer().text(), "connection 7 is ended");
    state.killed(7, Err(Trouble::Refused("there is no connection 7".into())));
    assert_eq!(state.footer().text(), "there is no connection 7");
}

#[test]
fn who_only_reads_ends_nothing() {
    let mut state = State::new(true);
    look(&mut state, &[7]);
    assert_eq!(press(&mut state, "5Ky"), Action::None);
    assert!(!state.footer().text().contains("K end it"));
}

#[test]
fn a_lost_daemon_leaves_what_was_seen() {
    let mut state = seeing(&[7]);
    press(&mut state, "5");
    let lost = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    state.looked(Err(Trouble::Nobody(PathBuf::from("x"), lost)));
    assert!(state.trouble.is_some());
    assert!(text(&mut state).contains("192.0.2.7:1"));
    look(&mut state, &[8]);
    assert!(state.trouble.is_none());
}

#[test]
fn the_rows_that_fit_follow_the_choice() {
    let ids: Vec<u64> = (1..=100).collect();
    let mut state = seeing(&ids);
    press(&mut state, "5");
    state.press(Key::PageDown, 9);
    state.press(Key::PageDown, 9);
    let body = state.body(200, 10);
    assert_eq!((body.lines.len(), body.chosen), (9, Some(8)));
    state.press(Key::End, 9);
    assert!(chosen(&mut state).starts_with("100 "));
    state.press(Key::Home, 9);
    assert!(chosen(&mut state).starts_with("1 "));
    // A screen of almost nothing.
    assert_eq!(state.body(1, 0).lines.len(), 1);
}

#[test]
fn keys_of_the_terminal_work_everywhere_and_help_goes_with_any_key() {
    let mut state = State::new(false);
    press(&mut state, "/");
    assert_eq!(state.press(Key::Control('c'), 10), Action::Quit);
    assert_eq!(state.press(Key::Control('z'), 10), Action::Suspend);
    assert_eq!(state.press(Key::Control('l'), 10), Action::Redraw);
    state.press(Key::Enter, 10);
    press(&mut state, "?");
    assert!(text(&mut state).contains("the screens"));
    assert_eq!(press(&mut state, "q"), Action::None, "it was for the help");
    assert!(!text(&mut state).contains("the screens"));
    assert_eq!(press(&mut state, "q"), Action::Quit);
}
