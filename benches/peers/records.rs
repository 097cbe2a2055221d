// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the payload of TLS 1.3 records without decrypting them.
//!
//! The load generator shares the machine with the program it loads, so it avoids all work the measurement does
//! not need: once a download runs it reads the socket itself and only follows the five-byte record headers (RFC
//! 8446 section 5.1). Content is compared in the check before the figures, not here.
//! Invariant: `counted` includes the whole payload of a record as soon as its header has been seen; a caller that
//! waits for the last byte also waits for `between_records`.

/// Bytes of a record header.
const HEADER: usize = 5;
/// What AES-GCM in TLS 1.3 adds to a record's payload: the inner content type and the tag.
const OVERHEAD: usize = 17;
/// The outer content type of everything encrypted.
const APPLICATION_DATA: u8 = 23;

/// Follows the records of one connection.
#[derive(Debug, Default)]
pub(super) struct RecordCounter {
    header: [u8; HEADER],
    /// Bytes of `header` seen so far.
    have: usize,
    /// Bytes of the current record's body still to come.
    body: usize,
    counted: u64,
}

impl RecordCounter {
    /// Takes the next bytes of the stream, cut anywhere.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skip = self.body.min(bytes.len());
            self.body -= skip;
            bytes = &bytes[skip..];
            let take = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == HEADER {
                self.begin_body();
            }
        }
    }

    /// Payload bytes of all records whose header has been seen.
    pub(super) fn counted(&self) -> u64 {
        self.counted
    }

    /// Whether the stream stands at a record's end.
    pub(super) fn between_records(&self) -> bool {
        self.body == 0 && self.have == 0
    }

    fn begin_body(&mut self) {
        self.have = 0;
        self.body = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        if self.header[0] == APPLICATION_DATA {
            self.counted += self.body.saturating_sub(OVERHEAD) as u64;
        }
    }
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    fn record(kind: u8, body: u16) -> Vec<u8> {
        let mut record = vec![kind, 3, 3];
        record.extend_from_slice(&body.to_be_bytes());
        record.resize(HEADER + usize::from(body), 0xaa);
        record
    }

    #[test]
    fn counts_the_same_however_the_stream_is_cut() {
        let mut stream = record(23, 16_384 + 17);
        stream.extend(record(20, 1));
        stream.extend(record(23, 0));
        stream.extend(record(23, 18));
        for cut in 1..=stream.len() {
            let mut counter = RecordCounter::default();
            stream.chunks(cut).for_each(|piece| counter.feed(piece));
            assert_eq!(counter.counted(), 16_385, "cut every {cut} bytes");
            assert!(counter.between_records());
        }
    }

    #[test]
    fn knows_when_a_record_is_incomplete() {
        let mut counter = RecordCounter::default();
        let stream = record(23, 20);
        counter.feed(&stream[..3]);
        assert!(!counter.between_records());
        counter.feed(&stream[3..24]);
        assert!(!counter.between_records());
        counter.feed(&stream[24..]);
        assert!(counter.between_records());
    }
}
