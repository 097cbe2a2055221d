// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every exchange ahead of TLS, whatever the other side says: it ends or waits, says little, and pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::starttls::{Exchange, Names, Outcome, PROTOCOLS, UNIT};

/// All that is said, how much was heard, how it stands.
fn run(mut exchange: Exchange, pieces: &[&[u8]]) -> (Vec<u8>, usize, Outcome) {
    let (mut said, mut heard, mut input) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        let (taken, outcome) = exchange.hear(&input);
        assert!(taken <= input.len());
        input.drain(..taken);
        heard += taken;
        said.append(exchange.say());
        if outcome != Outcome::More {
            return (said, heard, outcome);
        }
    }
    (said, heard, Outcome::More)
}

fuzz_target!(|input: &[u8]| {
    let [which, at, said @ ..] = input else { return };
    let protocol = PROTOCOLS[usize::from(which / 4) % PROTOCOLS.len()];
    let names = Names::default;
    let exchange = || match which % 4 {
        0 => Some(Exchange::serve(protocol, names())),
        1 => Some(Exchange::ask(protocol, names())),
        2 => Exchange::greeting(protocol),
        _ => Exchange::plain(protocol),
    };
    let (Some(one), Some(other)) = (exchange(), exchange()) else { return };
    let whole = run(one, &[said]);
    assert!(whole.0.len() <= 64 * UNIT);
    let (first, second) = said.split_at(usize::from(*at).min(said.len()));
    let pieces = run(other, &[first, second]);
    // Whether more follows the last word can only be told where both are there.
    if !matches!(whole.2, Outcome::Failed(_)) {
        assert_eq!(whole, pieces);
    }
});
