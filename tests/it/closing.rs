// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends that come together with data, with errors, or in the middle of a flood. Rows of the field's bug list (57, 64,
//! 76, 80); each once cost somebody data or a spinning process.

use crate::harness::{
    Duplex, End, Gate, Listening, Options, Pattern, Peer, Rig, Sides, TlsClient, digest_of_pattern, full,
    hello,
};
use openssl::ssl::SslVersion;
use std::time::{Duration, Instant};

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

/// A client whose hello is refused, and which goes on sending without a look at what comes (row 72): the alert is there
/// when it looks, and the end behind it. Neither its unread bytes nor an early close may make that a reset.
#[test]
fn an_alert_reaches_a_client_that_goes_on_sending() {
    let rig = Rig::echo(Sides::Terminate, "");
    let good = hello(&TlsClient::version(&rig.pki, SslVersion::TLS1_2));
    let more = vec![0x17; 1 << 20];
    // One that our reader refuses (a message longer than any hello), and one that the library does (no version in common).
    let (mut long, mut old) = (good.clone(), good);
    long[6] = 0xff;
    old[9..11].copy_from_slice(&[2, 0]);
    for number in 0..full(1_000, 200) {
        let bad = [&long, &old][number % 2];
        let mut client = Peer::plain(rig.address());
        client.send(bad);
        for piece in more.chunks(more.len() >> (number % 5)) {
            client.send(piece);
        }
        let (bytes, end) = client.receive_all();
        let alert = bytes.len() == 7 && bytes[0] == 21 && bytes[5] == 2;
        assert!(alert, "client {number} got {bytes:?}, {end:?}");
        assert_eq!(end, End::Clean, "client {number}");
    }
    assert_eq!(rig.backend.accepted(), 0);
}

/// Who was refused and says and does nothing more does not keep its place until the deadline.
#[test]
fn a_refused_client_that_stays_is_let_go_when_it_has_its_alert() {
    let rig = Rig::echo(Sides::Terminate, "timeout = { linger = \"10m\" }");
    let before = rig.tunnel.figures().fds;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Peer::plain(rig.address());
            client.send(b"GET / HTTP/1.1\r\n\r\n");
            client
        })
        .collect();
    assert_eq!(rig.tunnel.wait_closed(clients.len()).len(), clients.len());
    crate::harness::wait_for("the descriptors to be given back", || rig.tunnel.figures().fds <= before);
    for mut client in clients {
        assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
    }
}

/// Answers of many lengths, some of which fill the kernel's room for a client that has stopped reading to the brim: what
/// is left to be sent then is bytes and close_notify, only close_notify, or nothing. It reads on, and has it all.
#[test]
fn a_close_notify_that_is_held_up_comes_when_the_client_reads_on() {
    const COUNT: usize = 48;
    for sides in [Sides::Terminate, Sides::Reencrypt] {
        let rig = Rig::new(sides, "", |mut peer: Peer| {
            let length = u32::from_be_bytes(peer.receive(4).try_into().unwrap());
            peer.send(&Pattern::bytes(3, length as usize));
            peer.half_close();
            peer.receive_all().1
        });
        let clients: Vec<_> = (0..COUNT)
            .map(|number| {
                let length = u32::try_from(20_000 + number * 7_919).unwrap();
                let mut client = rig.cramped_client();
                client.send(&length.to_be_bytes());
                (length, client)
            })
            .collect();
        rig.tunnel.assert_rest();
        for (length, mut client) in clients {
            let (bytes, end) = client.receive_all();
            assert!(bytes == Pattern::bytes(3, length as usize), "{sides:?}: {} of {length}", bytes.len());
            assert_eq!(end, End::Clean, "{sides:?}, {length} bytes");
            client.half_close();
            assert_eq!(rig.backend.next(), End::Clean, "{sides:?}");
        }
    }
}

/// The server is reset while the client has not read yet: it gets every byte, and then a reset.
#[test]
fn a_reset_of_the_server_comes_behind_its_bytes() {
    const BYTES: usize = 100_000;
    for sides in Sides::ALL {
        let gate = Gate::new();
        let arrived = gate.clone();
        let rig = Rig::new(sides, "", move |mut peer: Peer| {
            peer.send(&Pattern::bytes(4, BYTES));
            arrived.wait();
            peer.reset();
        });
        let mut client = rig.cramped_client();
        client.send(b"?");
        rig.tunnel.assert_rest();
        gate.open();
        rig.backend.next();
        // It has even more to say before it listens.
        client.send(&[7; 50_000]);
        let (bytes, end) = client.receive_all();
        assert!(bytes == Pattern::bytes(4, BYTES), "{sides:?}: {} bytes, {end:?}", bytes.len());
        assert!(end.is_broken(), "{sides:?}: the client saw {end:?}");
        assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "server-reset", "{sides:?}");
    }
}

#[test]
fn a_reset_of_the_client_comes_behind_its_bytes() {
    const BYTES: usize = 100_000;
    for sides in Sides::ALL {
        let gate = Gate::new();
        let slow = gate.clone();
        let cramped = |listening| Listening { cramped: true, ..listening };
        let rig = Rig::with(sides, "", cramped, Options::default(), move |mut peer: Peer| {
            peer.send(b"!");
            slow.wait();
            peer.receive_all()
        });
        let mut client = rig.client();
        client.receive(1);
        client.send(&Pattern::bytes(5, BYTES));
        rig.tunnel.assert_rest();
        client.reset();
        gate.open();
        let (bytes, end) = rig.backend.next();
        assert!(bytes == Pattern::bytes(5, BYTES), "{sides:?}: {} bytes, {end:?}", bytes.len());
        assert!(end.is_broken(), "{sides:?}: the server saw {end:?}");
        assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "client-reset", "{sides:?}");
    }
}

/// A server that answers, ends and closes although the upload is not over: the client, which reads nothing before it has
/// written everything, can write everything, and then reads the whole answer and its end.
#[test]
fn an_early_answer_reaches_a_client_that_writes_first() {
    const ANSWER: usize = 300_000;
    for sides in Sides::ALL {
        let gate = Gate::new();
        let arrived = gate.clone();
        let rig = Rig::new(sides, "", move |mut peer: Peer| {
            peer.receive(1);
            peer.send(&Pattern::bytes(6, ANSWER));
            peer.half_close();
            arrived.wait();
        });
        let mut client = rig.cramped_client();
        let client = std::thread::spawn(move || {
            client.send(&vec![7; 16 << 20]);
            client.receive_all()
        });
        rig.tunnel.assert_rest();
        gate.open();
        let (bytes, end) = client.join().unwrap();
        assert!(bytes == Pattern::bytes(6, ANSWER), "{sides:?}: {} bytes, {end:?}", bytes.len());
        assert_eq!(end, End::Clean, "{sides:?}");
        let reason = rig.tunnel.wait_closed(1)[0].get("reason").to_owned();
        assert!(["server-gone", "server-reset"].contains(&&*reason), "{sides:?}: {reason}");
    }
}

/// Silence is over in the end, but not what was accepted before: a reader that has paused too long still gets it, then the
/// reset.
#[test]
fn an_idle_timeout_comes_behind_the_bytes_that_were_accepted() {
    const BYTES: usize = 200_000;
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "timeout = { idle = \"400ms\", linger = \"15s\" }", |mut peer: Peer| {
            peer.send(&Pattern::bytes(7, BYTES));
            peer.receive_all().1
        });
        let mut client = rig.cramped_client();
        let begin = Instant::now();
        crate::harness::wait_for("twice the time", || begin.elapsed() > Duration::from_millis(800));
        let (bytes, end) = client.receive_all();
        assert!(bytes == Pattern::bytes(7, BYTES), "{sides:?}: {} bytes, {end:?}", bytes.len());
        assert!(end.is_broken(), "{sides:?}: the client saw {end:?}");
        assert!(rig.backend.next().is_broken(), "{sides:?}");
        assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "idle", "{sides:?}");
    }
}
