// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what is counted to the shapes of the model that many things have: traffic, timings, shares, failures.

use super::View;
use super::failures::Failures as Noted;
use crate::control::model::{Bucket, Failures, Share, Timing, TlsShares, Traffic};
use crate::stats::causes::CAUSES;
use crate::stats::histogram::Distribution;
use crate::stats::tls::Sums;
use crate::stats::{Counter, Scope};
use std::cmp::Reverse;

/// What passed through a scope.
pub(super) fn traffic(view: &View<'_>, scope: &Scope) -> Traffic {
    let rates = view.collected().meters.rates(scope);
    Traffic {
        active: scope.active(),
        peak: scope.peak(),
        total: scope.sum(Counter::Accepted),
        failed: scope.sum(Counter::Failed),
        rate: rates.connections,
        peak_rate: rates.peak,
        bytes_in: scope.sum(Counter::BytesFromClients),
        bytes_out: scope.sum(Counter::BytesToClients),
        rate_in: rates.bytes_in,
        rate_out: rates.bytes_out,
        last: view.clock.unix(scope.last()),
    }
}

/// How long something took.
pub(super) fn timing(times: &Distribution) -> Timing {
    Timing {
        count: times.count(),
        sum: times.sum(),
        p50: times.quantile(0.5),
        p99: times.quantile(0.99),
        buckets: times.cumulative().map(|(le, count)| Bucket { le, count }).collect(),
    }
}

/// Failures by cause, the most frequent first, without those that never came; of one service, or of all.
pub(super) fn failures(counts: &[u64], noted: &Noted, service: Option<&str>) -> Vec<Failures> {
    let counted = CAUSES.iter().zip(counts).filter(|(_, count)| **count > 0);
    let mut all: Vec<_> = counted
        .map(|((cause, word, hint), count)| {
            let (last_client, last) = noted.last(*cause, service);
            Failures {
                cause: (*word).to_owned(),
                count: *count,
                hint: (*hint).to_owned(),
                last_client: last_client.to_owned(),
                last,
            }
        })
        .collect();
    all.sort_by_key(|failures| Reverse(failures.count));
    all
}

/// What was agreed on.
pub(super) fn shares(handshakes: u64, resumed: u64, sums: &Sums) -> TlsShares {
    let shares = |all: Vec<(&str, u64)>| {
        all.into_iter().map(|(name, count)| Share { name: name.to_owned(), count }).collect()
    };
    TlsShares {
        handshakes,
        resumed,
        versions: shares(sums.versions()),
        ciphers: shares(sums.ciphers()),
        groups: shares(sums.groups()),
    }
}
