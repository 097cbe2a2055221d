// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as the login of a MySQL client: what goes on to the server is a packet that says how long it is, and in clear
//! no more than what the client is able to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::starttls::mysql::{Login, Ways, turn};

fuzz_target!(|bytes: &[u8]| {
    let _whose_turn = turn(bytes);
    for (is_served, asks) in [(false, true), (true, false), (true, true)] {
        let Some(login) = Login::of(bytes.to_vec(), Ways { is_served, asks }) else { continue };
        assert_eq!(login.wish.len(), 36);
        assert_eq!(login.packet[3], 1 + u8::from(asks));
        if is_served {
            let length = usize::from(login.packet[0]) | usize::from(login.packet[1]) << 8;
            assert_eq!(length | usize::from(login.packet[2]) << 16, login.packet.len() - 4);
            assert!(login.packet.len() <= bytes.len() + 32);
        }
    }
});
