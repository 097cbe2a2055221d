// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last failures, taken from the workers' ring and kept: a thousand of them, and for each cause who met it last.

use crate::control::model::Failure;
use crate::stats::{Cause, Clock, Registry, failures};
use std::collections::{HashMap, VecDeque};

/// Failures that are kept, over all services.
const KEPT: usize = 1000;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The newest first.
    all: VecDeque<Failure>,
    /// By cause: the last client over all services, and when.
    last: HashMap<Cause, Last>,
    /// The same by service. Services and causes are few.
    by_service: HashMap<(Box<str>, Cause), Last>,
}

/// Client, and seconds since 1970.
type Last = (Box<str>, f64);

impl Failures {
    /// Takes what the workers have noted.
    pub(super) fn take(&mut self, registry: &Registry) {
        while let Some(failure) = registry.failures().take() {
            self.note(failure, registry.clock());
        }
    }

    fn note(&mut self, failure: failures::Failure, clock: Clock) {
        let at = clock.unix(failure.at);
        self.last.insert(failure.cause, (failure.client.clone(), at));
        self.by_service.insert((failure.service.clone(), failure.cause), (failure.client.clone(), at));
        self.all.push_front(shown(failure, at));
        self.all.truncate(KEPT);
    }

    /// The newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Failure> {
        self.all.iter()
    }

    /// Who met a cause last, and when, in a service or anywhere; empty and 0 where nobody is known.
    pub(super) fn last(&self, cause: Cause, service: Option<&str>) -> (&str, f64) {
        let last = match service {
            Some(service) => self.by_service.get(&(service.into(), cause)),
            None => self.last.get(&cause),
        };
        last.map_or(("", 0.0), |(client, at)| (client, *at))
    }
}

fn shown(failure: failures::Failure, at: f64) -> Failure {
    let failures::Failure { worker, id, service, route, client, name, server, cause, doing, text, .. } =
        failure;
    Failure {
        at,
        worker: worker as u64,
        id,
        service: service.into(),
        route: route.into(),
        client: client.into(),
        name: name.into(),
        server: server.into(),
        cause: cause.word().to_owned(),
        hint: cause.hint().to_owned(),
        doing: doing.to_owned(),
        text: text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(id: u64, service: &str, cause: Cause) -> failures::Failure {
        failures::Failure {
            at: 1 + id * 1000,
            worker: 1,
            id,
            service: service.into(),
            route: "default".into(),
            client: format!("192.0.2.1:{id}").into(),
            name: "a.example.org".into(),
            server: "".into(),
            cause,
            doing: "reading the ClientHello",
            text: "why".into(),
        }
    }

    #[test]
    fn the_newest_thousand_are_kept_and_the_last_of_every_cause() {
        let (registry, mut kept) = (Registry::default(), Failures::default());
        registry.failures().note(failure(1, "mail", Cause::NoRoute));
        kept.take(&registry);
        for id in 2..KEPT as u64 + 10 {
            registry.failures().note(failure(id, "web", Cause::NotTls));
        }
        kept.take(&registry);
        assert_eq!(kept.newest().count(), KEPT);
        assert_eq!(kept.newest().next().unwrap().id, KEPT as u64 + 9);
        let began = registry.clock().began();
        assert_eq!(kept.last(Cause::NoRoute, None), ("192.0.2.1:1", began + 1.0));
        assert_eq!(kept.last(Cause::NoRoute, Some("mail")).0, "192.0.2.1:1");
        assert_eq!(kept.last(Cause::NoRoute, Some("web")), ("", 0.0));
        assert_eq!(kept.last(Cause::NotTls, Some("web")).0, format!("192.0.2.1:{}", KEPT + 9));
    }
}
