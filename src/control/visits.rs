// SPDX-License-Identifier: MIT OR Apache-2.0
//! Readers on their way from the workers, who took them in through services of mode "control", to the control thread.

use super::answer::{Visitor, Who};
use super::http::Hosts;
use crate::connection::context::{Receive, Visit};
use crate::policy::access::ControlSettings;
use crate::sys::eventfd::EventFd;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// Visits that may wait. The control thread takes them all at its next turn.
const CAPACITY: usize = 256;

/// Visits on their way, and the bell of the control thread.
#[derive(Debug)]
pub struct Visits {
    queue: ArrayQueue<Visit>,
    bell: Arc<EventFd>,
}

impl Visits {
    pub fn new(bell: Arc<EventFd>) -> Self {
        Self { queue: ArrayQueue::new(CAPACITY), bell }
    }

    /// The oldest; the control thread's.
    pub fn pop(&self) -> Option<Visit> {
        self.queue.pop()
    }
}

impl Receive for Visits {
    fn receive(&self, visit: Visit) -> bool {
        let taken = self.queue.push(visit).is_ok();
        self.bell.signal();
        taken
    }
}

/// Who comes by a visit, and by which names it may call us.
pub(super) fn visitor(settings: &ControlSettings, visit: &Visit) -> (Visitor, Hosts) {
    let (who, name) = match &visit.common_name {
        Some(name) => (Who::Certificate(name.clone()), format!("CN {name} at {}", visit.client)),
        None => (Who::Anybody, visit.client.clone()),
    };
    let hosts = match &visit.asked_for {
        _ if visit.local => Hosts::Every,
        Some(name) => Hosts::Also(name.clone()),
        None => Hosts::Configured,
    };
    (Visitor::new(who, name, settings), hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::access::Level;
    use crate::sys::socket::Socket;

    fn visit(common_name: Option<&str>, asked_for: Option<&str>, local: bool) -> Visit {
        Visit {
            socket: Socket::pair().unwrap().0,
            client: "192.0.2.1:4711".to_owned(),
            common_name: common_name.map(Into::into),
            asked_for: asked_for.map(Into::into),
            tls: asked_for.is_some(),
            local,
        }
    }

    #[test]
    fn the_level_is_that_of_the_certificate() {
        let settings = ControlSettings {
            certificates: vec![("ops".into(), Level::Operate), ("root".into(), Level::Admin)],
            ..ControlSettings::default()
        };
        for (name, level) in [
            (None, Level::Read),
            (Some("ops"), Level::Operate),
            (Some("root"), Level::Admin),
            (Some("Root"), Level::Read),
            (Some(""), Level::Read),
        ] {
            assert_eq!(visitor(&settings, &visit(name, None, false)).0.level, level, "{name:?}");
        }
        let (who, hosts) = visitor(&settings, &visit(Some("ops"), Some("a.example"), false));
        assert_eq!(who.name, "CN ops at 192.0.2.1:4711");
        assert_eq!(hosts, Hosts::Also("a.example".into()));
        assert_eq!(visitor(&settings, &visit(None, None, false)).1, Hosts::Configured);
        assert_eq!(visitor(&settings, &visit(None, None, true)).1, Hosts::Every);
    }

    #[test]
    fn beyond_its_capacity_it_refuses() {
        let visits = Visits::new(Arc::new(EventFd::new().unwrap()));
        assert!((0..CAPACITY).all(|_| visits.receive(visit(None, None, false))));
        assert!(!visits.receive(visit(None, None, false)));
        assert!(visits.pop().is_some());
        assert!(visits.receive(visit(None, None, false)));
    }
}
