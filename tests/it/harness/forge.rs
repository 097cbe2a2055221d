// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS clients that send what no library would: half a handshake message, floods of key updates, torn records.
//!
//! The library shakes hands and reads; what is written is sealed here, under the client's keys, which the library tells
//! by its key log. AES-128-GCM with SHA-256 only, in TLS 1.3 (RFC 8446 sections 5.2 and 7) and TLS 1.2 (RFC 5288
//! section 3, RFC 5246 sections 5 and 6.3). Invariant: the library itself never writes after the handshake, so the
//! sequence numbers are counted here alone.

use super::peer::Peer;
use super::{Pki, TlsClient};
use openssl::sha::sha256;
use openssl::ssl::SslVersion;
use openssl::symm::{Cipher, encrypt_aead};
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// Content types of records (RFC 8446 section 5.1).
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

/// The header of a KeyUpdate, whose body is one byte (RFC 8446 section 4.6.3).
pub(crate) const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// A client whose records are made by hand.
#[derive(Debug)]
pub(crate) struct Forger {
    /// For reading, and for the ways to end.
    pub(crate) peer: Peer,
    keys: Keys,
    /// Of the next record.
    sequence: u64,
}

#[derive(Debug)]
enum Keys {
    Tls13 { secret: [u8; 32], key: Vec<u8>, iv: Vec<u8> },
    Tls12 { key: Vec<u8>, salt: Vec<u8> },
}

impl Forger {
    /// Shakes hands in exactly `version`, 1.2 or 1.3.
    #[track_caller]
    pub(crate) fn connect(pki: &Pki, socket: TcpStream, version: SslVersion) -> Self {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = Arc::clone(&told);
        let client = TlsClient::with(pki, |builder| {
            builder.set_min_proto_version(Some(version)).unwrap();
            builder.set_max_proto_version(Some(version)).unwrap();
            builder.set_ciphersuites("TLS_AES_128_GCM_SHA256").unwrap();
            builder.set_cipher_list("ECDHE-ECDSA-AES128-GCM-SHA256").unwrap();
            builder.set_keylog_callback(move |_, line| keep.lock().unwrap().push(line.to_owned()));
        });
        let mut peer = client.connect_over(socket).unwrap();
        let lines = told.lock().unwrap();
        // A label, the client's random, a secret (draft-ietf-tls-keylogfile).
        let logged = |label: &str| {
            let fields = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
            let mine = fields.into_iter().find(|fields| fields[0] == label).unwrap();
            (bytes_of(mine[1]), bytes_of(mine[2]))
        };
        if version == SslVersion::TLS1_3 {
            let secret = logged("CLIENT_TRAFFIC_SECRET_0").1.try_into().unwrap();
            return Self { peer, keys: Keys::tls13(secret), sequence: 0 };
        }
        let (random, master) = logged("CLIENT_RANDOM");
        let mut seed = vec![0; 32];
        assert_eq!(peer.tls().ssl().server_random(&mut seed), 32);
        seed.extend(random);
        // The number 0 was the client's Finished.
        Self { peer, keys: Keys::tls12(&master, &seed), sequence: 1 }
    }

    /// A record of `content`.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        match &self.keys {
            Keys::Tls13 { key, iv, .. } => {
                let inner = [content, &[kind]].concat();
                let header = header(DATA, inner.len() + TAG);
                let mut nonce = iv.clone();
                nonce[4..].iter_mut().zip(sequence).for_each(|(byte, number)| *byte ^= number);
                [header.as_slice(), &encrypt(key, &nonce, &header, &inner)].concat()
            }
            Keys::Tls12 { key, salt } => {
                let plain = [sequence.as_slice(), &header(kind, content.len())].concat();
                let nonce = [salt.as_slice(), &sequence].concat();
                let header = header(kind, sequence.len() + content.len() + TAG);
                [&header, sequence.as_slice(), &encrypt(key, &nonce, &plain, content)].concat()
            }
        }
    }

    /// A whole KeyUpdate, after which the next keys are used. `request`: the other side shall renew its own too.
    pub(crate) fn seal_key_update(&mut self, request: bool) -> Vec<u8> {
        let [a, b, c, d] = KEY_UPDATE;
        let record = self.seal(HANDSHAKE, &[a, b, c, d, u8::from(request)]);
        self.renew();
        record
    }

    /// Uses the next keys from now on.
    pub(crate) fn renew(&mut self) {
        let Keys::Tls13 { secret, .. } = &self.keys else { panic!("there are no key updates in TLS 1.2") };
        let next = expand_label(secret, "traffic upd", 32).try_into().unwrap();
        self.keys = Keys::tls13(next);
        self.sequence = 0;
    }

    /// Seals and sends.
    #[track_caller]
    pub(crate) fn send(&mut self, kind: u8, content: &[u8]) {
        let record = self.seal(kind, content);
        self.send_raw(&record).unwrap();
    }

    /// Sends bytes that were sealed before.
    pub(crate) fn send_raw(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.peer.socket().write_all(bytes)
    }
}

impl Keys {
    fn tls13(secret: [u8; 32]) -> Self {
        let (key, iv) = (expand_label(&secret, "key", 16), expand_label(&secret, "iv", 12));
        Self::Tls13 { secret, key, iv }
    }

    fn tls12(master: &[u8], randoms: &[u8]) -> Self {
        // Two keys, two salts (a cipher with authentication has no MAC keys): 40 bytes, so two blocks of 32.
        let seed = [b"key expansion", randoms].concat();
        let first = hmac(master, &seed);
        let second = hmac(master, &first);
        let block = [first, second].map(|a| hmac(master, &[a.as_slice(), &seed].concat())).concat();
        Self::Tls12 { key: block[..16].to_vec(), salt: block[32..36].to_vec() }
    }
}

/// Bytes of authentication behind every record.
const TAG: usize = 16;

fn header(kind: u8, length: usize) -> [u8; 5] {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    [kind, 3, 3, high, low]
}

fn encrypt(key: &[u8], nonce: &[u8], associated: &[u8], content: &[u8]) -> Vec<u8> {
    let mut tag = [0; TAG];
    let cipher = Cipher::aes_128_gcm();
    let mut sealed = encrypt_aead(cipher, key, Some(nonce), associated, content, &mut tag).unwrap();
    sealed.extend(tag);
    sealed
}

/// HKDF-Expand-Label (RFC 8446 section 7.1) with an empty context, for up to 32 bytes.
fn expand_label(secret: &[u8], label: &str, length: u8) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let size = u8::try_from(label.len()).unwrap();
    let info = [&[0, length, size], label.as_bytes(), &[0, 1]].concat();
    hmac(secret, &info)[..usize::from(length)].to_vec()
}

/// HMAC-SHA-256 (RFC 2104) with a key of up to 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = sha256(&[padded(0x36).as_slice(), text].concat());
    sha256(&[padded(0x5c).as_slice(), &inner].concat())
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}
