// SPDX-License-Identifier: MIT OR Apache-2.0
//! A name server made of one closure, which may lie, hang and change its mind; UDP and TCP on one port of this machine.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

/// A question as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As text, without the dot at its end.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) tcp: bool,
    pub(crate) bytes: Vec<u8>,
    /// Where the question ends in `bytes`.
    end: usize,
}

impl Asked {
    fn read(bytes: &[u8], tcp: bool) -> Option<Self> {
        let (mut at, mut labels) = (12, Vec::new());
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(bytes.get(at..at + length)?).into_owned());
            at += length;
        }
        let kind = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
        Some(Self { name: labels.join("."), kind, tcp, bytes: bytes.to_vec(), end: at + 4 })
    }

    /// An answer with this code (RFC 1035 section 4.1.1), further flags among it, and these records.
    pub(crate) fn reply(&self, code: u16, records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.bytes[..self.end].to_vec();
        bytes[2..4].copy_from_slice(&(0x8180 | code).to_be_bytes());
        bytes[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        bytes[8..12].fill(0);
        bytes.extend(records.concat());
        bytes
    }

    /// An answer with those of these addresses that are of the kind asked for.
    pub(crate) fn addresses(&self, ttl: u32, addresses: &[IpAddr]) -> Vec<u8> {
        let records: Vec<_> = addresses
            .iter()
            .filter_map(|address| match (address, self.kind) {
                (IpAddr::V4(v4), A) => Some(record(&self.name, A, ttl, &v4.octets())),
                (IpAddr::V6(v6), AAAA) => Some(record(&self.name, AAAA, ttl, &v6.octets())),
                _ => None,
            })
            .collect();
        self.reply(0, &records)
    }

    pub(crate) fn no_such_name(&self) -> Vec<u8> {
        self.reply(3, &[])
    }
}

/// A name as DNS writes it.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

pub(crate) fn record(owner: &str, kind: u16, ttl: u32, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let mut bytes = wire(owner);
    bytes.extend([kind.to_be_bytes(), [0, 1]].concat());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes
}

/// A target of a service, with the name asked for as its owner.
pub(crate) fn service(
    owner: &str,
    ttl: u32,
    (priority, weight, port): (u16, u16, u16),
    target: &str,
) -> Vec<u8> {
    let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
    record(owner, SRV, ttl, &[numbers, wire(target)].concat())
}

/// What it answers: messages, one after the other; none is silence.
type Answers = Box<dyn Fn(&Asked) -> Vec<Vec<u8>> + Send>;

#[derive(Default)]
struct State {
    answers: Option<Answers>,
    asked: Vec<Asked>,
}

/// The server; it ends when it is dropped.
pub(crate) struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    /// A server that answers one message to each question.
    pub(crate) fn new(answer: impl Fn(&Asked) -> Vec<u8> + Send + 'static) -> Self {
        Self::saying(move |asked| vec![answer(asked)])
    }

    /// A server that never answers.
    pub(crate) fn silent() -> Self {
        Self::saying(|_| Vec::new())
    }

    /// A server that answers any number of messages to each question.
    pub(crate) fn saying(answers: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        // Both ports are to be the same: somebody else may have the other one.
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .unwrap();
        Self::serve(udp, tcp, Box::new(answers))
    }

    /// As [`Self::new`], where a server was before.
    pub(crate) fn at(address: SocketAddr, answer: impl Fn(&Asked) -> Vec<u8> + Send + 'static) -> Self {
        let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
        Self::serve(udp, tcp, Box::new(move |asked| vec![answer(asked)]))
    }

    fn serve(udp: UdpSocket, tcp: TcpListener, answers: Answers) -> Self {
        let address = udp.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { answers: Some(answers), asked: Vec::new() }));
        let ends = Arc::new(AtomicBool::new(false));
        let over_udp = {
            let (state, ends) = (Arc::clone(&state), Arc::clone(&ends));
            thread::spawn(move || serve_udp(&udp, &state, &ends))
        };
        let over_tcp = {
            let (state, ends) = (Arc::clone(&state), Arc::clone(&ends));
            thread::spawn(move || serve_tcp(&tcp, &state, &ends))
        };
        Self { address, state, ends, threads: vec![over_udp, over_tcp] }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers otherwise from now on.
    pub(crate) fn change(&self, answer: impl Fn(&Asked) -> Vec<u8> + Send + 'static) {
        self.state.lock().unwrap().answers = Some(Box::new(move |asked| vec![answer(asked)]));
    }

    /// Answers nothing from now on.
    pub(crate) fn hang(&self) {
        self.state.lock().unwrap().answers = Some(Box::new(|_| Vec::new()));
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How often that was asked.
    pub(crate) fn count(&self, name: &str, kind: u16) -> usize {
        self.asked().iter().filter(|asked| asked.name == name && asked.kind == kind).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Each wakes up to see that it is over.
        drop(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.address)));
        drop(std::net::TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn answers(state: &Mutex<State>, bytes: &[u8], tcp: bool) -> Vec<Vec<u8>> {
    let Some(asked) = Asked::read(bytes, tcp) else { return Vec::new() };
    let mut state = state.lock().unwrap();
    let answers = state.answers.as_ref().map_or_else(Vec::new, |answers| answers(&asked));
    state.asked.push(asked);
    answers
}

fn serve_udp(socket: &UdpSocket, state: &Mutex<State>, ends: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !ends.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        for answer in answers(state, &buffer[..length], false) {
            // Who asked may be gone.
            let _sent = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, state: &Mutex<State>, ends: &AtomicBool) {
    while !ends.load(Ordering::SeqCst) {
        let Ok((mut stream, _)) = listener.accept() else { continue };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut bytes).is_err() {
            continue;
        }
        for answer in answers(state, &bytes, true) {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            let _sent = stream.write_all(&[&length[..], &answer].concat());
        }
    }
}
