// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log through a real syslog daemon, rsyslogd, on a socket of its own: what it receives, what happens when it is
//! restarted, when it comes late, and when it stops reading.

use crate::harness::{Backend, Line, Listening, full, wait_for};
use crate::program::{Place, Process, echo, plain_at, say};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A service whose log goes to the socket `dev-log` beside the configuration.
struct Arrangement {
    place: Place,
    backend: Backend<u64>,
    address: SocketAddr,
}

impl Arrangement {
    fn new() -> Self {
        let backend = Backend::echo(Listening::default());
        let address = crate::program::free_address();
        let log = "log = { target = \"syslog\", facility = \"local3\", socket = \"dev-log\" }";
        let service = plain_at("web", address, backend.address());
        let place = Place::new(&format!("[global]\nworkers = 2\n{log}\n\n{service}"));
        Self { place, backend, address }
    }

    fn start(&self) -> Process {
        let process = self.place.start(&[]);
        wait_for("it to listen", || std::net::TcpStream::connect(self.address).is_ok());
        process
    }

    /// A connection that leaves a line.
    fn visit(&self) {
        let mut client = crate::harness::Peer::plain(self.address);
        echo(&mut client, b"x");
        client.half_close();
        client.receive_all();
    }

    /// rsyslogd on the socket, writing what it gets to the file `received`; `None` where it is not installed.
    fn rsyslogd(&self) -> Option<Process> {
        let program =
            ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else {
            say("skipped: rsyslogd is not installed");
            return None;
        };
        let folder = self.place.dir().display();
        let config = self.place.write(
            "rsyslog.conf",
            format!(
                "global(workDirectory=\"{folder}\")\n\
                 module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
                 input(type=\"imuxsock\" Socket=\"{folder}/dev-log\" RateLimit.Interval=\"0\" UsePIDFromSystem=\"off\")\n\
                 template(name=\"plain\" type=\"string\" string=\"facility=%syslogfacility-text% \
                 severity=%syslogseverity-text% tag=%syslogtag% %msg%\\n\")\n\
                 action(type=\"omfile\" file=\"{folder}/received\" template=\"plain\")\n"
            ),
        );
        let pid = self.place.path("rsyslog.pid");
        let line = [program, "-n", "-f", config.to_str().unwrap(), "-i", pid.to_str().unwrap()];
        let mut process = self.place.spawn("rsyslogd.out", &line);
        wait_for("rsyslogd to listen", || {
            assert!(process.is_alive(), "rsyslogd ended: {}", process.log.text());
            self.socket_is_served()
        });
        Some(process)
    }

    fn socket_is_served(&self) -> bool {
        UnixDatagram::unbound().unwrap().connect(self.place.path("dev-log")).is_ok()
    }

    fn received(&self) -> Vec<Line> {
        self.place.log("received").lines()
    }

    fn closed(&self) -> usize {
        self.received().iter().filter(|line| line.is("connection-closed")).count()
    }
}

#[test]
fn lines_arrive_with_facility_severity_tag_and_pid() {
    let arrangement = Arrangement::new();
    let Some(mut rsyslogd) = arrangement.rsyslogd() else { return };
    let mut process = arrangement.start();
    arrangement.visit();
    let received = arrangement.place.log("received");
    for (event, severity) in [("started", "notice"), ("connection-closed", "info")] {
        let line = received.wait_event(event);
        let tag = format!("tunnel[{}]:", process.pid());
        assert_eq!(
            (line.get("facility"), line.get("severity"), line.get("tag")),
            ("local3", severity, tag.as_str())
        );
    }
    process.stop();
    received.wait_event("stopped");
    assert_eq!(process.log.text(), "", "syslog is there, and stderr got lines");
    rsyslogd.kill();
}

#[test]
fn nothing_is_lost_when_syslogd_is_restarted_in_the_middle() {
    let arrangement = Arrangement::new();
    let Some(mut rsyslogd) = arrangement.rsyslogd() else { return };
    let mut process = arrangement.start();
    let mut sent = 1; // The connection that found out whether it listens.
    for _ in 0..full(20, 3) {
        for _ in 0..20 {
            arrangement.visit();
            sent += 1;
        }
        // Only what rsyslogd itself had received and not yet written could be lost: nothing then.
        wait_for("the lines before the restart", || arrangement.closed() == sent);
        rsyslogd.signal(Signal::SIGTERM);
        rsyslogd.wait_exit();
        for _ in 0..20 {
            arrangement.visit();
            sent += 1;
        }
        rsyslogd = arrangement.rsyslogd().unwrap();
        arrangement.visit();
        sent += 1;
        wait_for("the lines of the time without syslogd", || arrangement.closed() == sent);
    }
    assert!(!arrangement.received().iter().any(|line| line.is("lines-lost")));
    process.stop();
    drop(rsyslogd);
    drop(arrangement.backend);
}

#[test]
fn without_syslogd_at_start_it_says_so_and_keeps_trying() {
    let arrangement = Arrangement::new();
    let mut process = arrangement.start();
    wait_for("stderr to be told", || process.log.text().contains("dev-log"));
    for _ in 0..20 {
        arrangement.visit();
    }
    assert_eq!(process.log.text().lines().count(), 1, "told more than once:\n{}", process.log.text());
    let Some(_rsyslogd) = arrangement.rsyslogd() else { return };
    let received = arrangement.place.log("received");
    received.wait_event("started");
    wait_for("every line", || arrangement.closed() == 21);
    process.stop();
    received.wait_event("stopped");
}

#[test]
fn without_syslogd_it_comes_to_rest_and_ends() {
    let arrangement = Arrangement::new();
    let mut process = arrangement.start();
    arrangement.visit();
    // It may look for the socket now and then, but that costs next to nothing.
    let cpu = || -> u64 { crate::program::threads(process.pid(), "").iter().map(|thread| thread.1).sum() };
    let before = cpu();
    crate::program::observe_for(std::time::Duration::from_secs(2));
    let used = cpu() - before;
    assert!(used < 20_000_000, "{used} ns of CPU in two seconds of waiting for syslog");
    process.stop();
}

#[test]
fn a_syslogd_that_does_not_read_costs_lines_and_nothing_else() {
    // Row 99: a datagram socket is full after some ten messages.
    let arrangement = Arrangement::new();
    let socket = UnixDatagram::bind(arrangement.place.path("dev-log")).unwrap();
    let mut process = arrangement.start();
    crate::logging::many(arrangement.address);
    socket.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
    let reader = {
        let lines = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let line = Line::parse(std::str::from_utf8(&buffer[..length]).unwrap());
                let last = line.is("stopped");
                lines.lock().unwrap().push(line);
                if last {
                    break;
                }
            }
        })
    };
    arrangement.visit();
    // At its end it waits for a slow syslogd for two seconds only, so the queue is to be read first.
    wait_for("the loss to be told", || lines.lock().unwrap().iter().any(|line| line.is("lines-lost")));
    process.stop();
    reader.join().unwrap();
    let lines = lines.lock().unwrap();
    assert!(lines.last().is_some_and(|line| line.is("stopped")), "the end was not told");
    let lost: u64 = lines.iter().filter(|line| line.is("lines-lost")).map(|line| line.number("lines")).sum();
    let written = lines.iter().filter(|line| line.is("connection-closed")).count();
    assert!(lost > 0 && written > 0, "{written} lines, {lost} lost");
    assert!(
        lines.iter().filter(|line| line.is("lines-lost")).count() < 20,
        "the loss was told again and again"
    );
    let started = &lines.iter().find(|line| line.is("started")).unwrap().text;
    assert!(started.starts_with("<157>"), "local3.notice is 19 * 8 + 5: {started}");
}

#[test]
fn every_facility_of_the_manual_is_taken_and_others_are_not() {
    let place = Place::new("");
    let check = |facility: &str| {
        let log = format!("log = {{ target = \"syslog\", facility = \"{facility}\" }}");
        let service = plain_at("web", "127.0.0.1:0", "127.0.0.1:9".parse().unwrap());
        place.write("tunnel.conf", format!("[global]\n{log}\n{service}"));
        place.run(&["-t", "-c", "tunnel.conf"])
    };
    for number in 0..8 {
        check(&format!("local{number}")).expect(0);
    }
    for name in ["daemon", "user", "auth", "authpriv", "mail"] {
        check(name).expect(0);
    }
    for name in ["local8", "kern", "Daemon", ""] {
        let error = check(name).expect(78).err;
        assert!(error.contains("tunnel.conf:2:"), "{error}");
    }
}
