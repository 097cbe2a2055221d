// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends that come together with data, with errors, or in the middle of a flood. Rows of the field's bug list (57, 64,
//! 76, 80); each once cost somebody data or a spinning process.

use crate::harness::{
    Duplex, End, Gate, Listening, Options, Pattern, Peer, Rig, Sides, digest_of_pattern, full,
};

/// Data and the end of the stream in one wake-up (row 57): the process is stopped while the client sends both.
#[test]
fn data_and_end_in_the_same_wake_up() {
    let step = full(997, 9_973);
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer: Peer| {
            peer.send(b".");
            let all = peer.receive_all();
            peer.half_close();
            all
        });
        for length in [0usize, 1, 2].into_iter().chain((100..65_536).step_by(step)) {
            let mut client = rig.client();
            client.receive(1);
            let bytes = Pattern::bytes(length as u64, length);
            rig.tunnel.frozen(|| {
                client.send(&bytes);
                client.half_close();
            });
            let (got, end) = rig.backend.next();
            assert_eq!((got == bytes, end), (true, End::Clean), "{sides:?}, {length} of {} bytes", got.len());
            assert_eq!(client.receive_all().1, End::Clean, "{sides:?}");
        }
    }
}

/// The same, with the client's whole life (handshake aside) in one wake-up.
#[test]
fn an_answer_and_its_end_in_the_same_wake_up() {
    for sides in Sides::ALL {
        let gate = Gate::new();
        let (stopped, sent) = (gate.clone(), Gate::new());
        let done = sent.clone();
        let rig = Rig::new(sides, "", move |mut peer: Peer| {
            peer.send(b".");
            stopped.wait();
            peer.send(&Pattern::bytes(1, 40_000));
            peer.half_close();
            sent.open();
            peer.receive_all().1
        });
        let mut client = rig.client();
        client.receive(1);
        rig.tunnel.frozen(|| {
            gate.open();
            done.wait();
        });
        let (bytes, end) = client.receive_all();
        assert_eq!((bytes == Pattern::bytes(1, 40_000), end), (true, End::Clean), "{sides:?}");
        client.half_close();
        assert_eq!(rig.backend.next(), End::Clean, "{sides:?}");
    }
}

/// A client that says its last word, ends properly and vanishes, all in the same wake-up (row 76): what it said is whole, so
/// the server may see a clean end, but then with every byte. One line, no spin, no dead process.
#[test]
fn an_end_and_an_error_in_the_same_wake_up() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer: Peer| {
            peer.send(b".");
            peer.receive_all()
        });
        let count = full(10_000, 25);
        for _ in 0..count {
            let mut client = rig.client();
            client.receive(1);
            rig.tunnel.frozen(|| {
                client.send(b"last words");
                client.half_close();
                client.reset();
            });
            let (bytes, end) = rig.backend.next();
            let whole = bytes == b"last words" && end == End::Clean;
            assert!(whole || end.is_broken(), "{sides:?}: the server saw {bytes:?}, {end:?}");
        }
        assert_eq!(rig.tunnel.wait_closed(count).len(), count, "{sides:?}");
    }
}

#[test]
fn an_end_here_and_an_error_there_in_the_same_wake_up() {
    for sides in Sides::ALL {
        for _ in 0..full(2_500, 8) {
            let gate = Gate::new();
            let stopped = gate.clone();
            let gone = Gate::new();
            let done = gone.clone();
            let rig = Rig::new(sides, "", move |mut peer: Peer| {
                peer.send(b".");
                stopped.wait();
                peer.reset();
                gone.open();
            });
            let mut client = rig.client();
            client.receive(1);
            rig.tunnel.frozen(|| {
                client.half_close();
                gate.open();
                done.wait();
            });
            let end = client.receive_all().1;
            assert!(end.is_broken(), "{sides:?}: the client saw {end:?}");
        }
    }
}

/// A slow reader and a server that closes at once (row 80): all of it arrives.
#[test]
fn a_slow_reader_gets_everything_the_server_left_behind() {
    const BYTES: u64 = 8_000_000;
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer: Peer| {
            peer.duplex(&Duplex { receive: Some(0), ..Duplex::whole(BYTES, 8) });
        });
        let mut client = rig.cramped_client();
        // It reads nothing until the tunnel cannot go on any further.
        rig.tunnel.assert_rest();
        let (bytes, end) = client.receive_all();
        assert_eq!((bytes.len() as u64, end), (BYTES, End::Clean), "{sides:?}");
        assert_eq!(openssl::sha::sha256(&bytes), digest_of_pattern(8, BYTES), "{sides:?}");
    }
}

#[test]
fn a_slow_server_gets_everything_the_client_left_behind() {
    const BYTES: usize = 2_000_000;
    for sides in Sides::ALL {
        let gate = Gate::new();
        let slow = gate.clone();
        let rig = Rig::with(
            sides,
            "",
            |listening| Listening { cramped: true, ..listening },
            Options::default(),
            move |mut peer: Peer| {
                slow.wait();
                peer.receive_all()
            },
        );
        let mut client = rig.client();
        let sender = std::thread::spawn(move || {
            client.send(&Pattern::bytes(9, BYTES));
            client.half_close();
            client.receive_all()
        });
        rig.tunnel.assert_rest();
        gate.open();
        let (bytes, end) = rig.backend.next();
        assert_eq!(
            (bytes == Pattern::bytes(9, BYTES), end),
            (true, End::Clean),
            "{sides:?}: {} bytes",
            bytes.len()
        );
        // A backend that drops its peer has closed it: a plain one cleanly, a TLS one without close_notify.
        let (answer, _) = sender.join().unwrap();
        assert_eq!(answer, b"", "{sides:?}");
    }
}

/// The server floods while the client leaves, in every way there is (row 64).
#[test]
fn a_flood_into_a_closing_client() {
    for sides in Sides::ALL {
        let rig =
            Rig::new(sides, "timeout = { half_close = \"200ms\", linger = \"200ms\" }", |mut peer: Peer| {
                let block = vec![7; 65_536];
                while peer.try_send(&block).is_ok() {}
            });
        let count = full(10_000, 200) / 4;
        for number in 0..count {
            let mut client = rig.client();
            client.receive(1 + number * 1_000);
            match number % 4 {
                0 => client.reset(),
                1 => drop(client),
                2 => client.half_close(),
                _ => client.fin(),
            }
            rig.backend.next();
        }
        assert_eq!(rig.tunnel.wait_closed(count).len(), count, "{sides:?}");
    }
}
