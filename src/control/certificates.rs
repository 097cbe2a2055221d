// SPDX-License-Identifier: MIT OR Apache-2.0
//! The certificates and ticket keys in use, and whether their files have changed since.
//!
//! What is shown is gathered once per configuration, from what was kept when its files were loaded
//! (`policy/certificate_card.rs`): a look copies it. Routes that share their TLS are one user, and a certificate is listed
//! once, whoever loaded it again. Files are looked at a few at a time and not more often than every `PAUSE`, since the
//! file system may make us wait. Not here: revocation lists, which nothing reads yet.

use super::model::Certificate;
use super::running::Running;
use crate::connection::plan::Plan;
use crate::policy::certificate_card::{Card, CertificateFile, Role, Source};
use crate::policy::service::{Route, Service};
use crate::sys::time;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Weak};

/// Seconds between two looks at the disk.
const PAUSE: f64 = 2.0;

/// Files per look at the disk.
const FILES: usize = 32;

/// Certificates that are shown: those of a kind that expire first.
const SHOWN: usize = 1000;

/// Routes of one service that are told as users of a certificate; of more it is the service alone.
const ROUTES: usize = 16;

/// What is remembered between looks.
#[derive(Debug, Default)]
pub struct Certificates {
    /// The plans that `shown` was gathered from. They may end while nobody looks; the place of one that has ended is not
    /// given to another as long as it stands here, so that one number for two plans never happens.
    plans: Vec<Weak<Plan>>,
    shown: Vec<Certificate>,
    /// By place in `shown`, the files it depends on, by place in `files`.
    depends: Vec<Vec<usize>>,
    files: Vec<Watched>,
    total: usize,
    /// The file to look at next, and when the last look was, in seconds since 1970.
    next: usize,
    last: f64,
}

/// A file, and whether it had changed when it was looked at last.
#[derive(Debug)]
struct Watched {
    source: Source,
    changed: bool,
}

impl Certificates {
    /// What the running plans use, at most `SHOWN`: certificates first, then what goes with them, CAs, ticket keys; of
    /// each kind those that expire first.
    pub fn look(&mut self, running: &Running) -> Vec<Certificate> {
        self.look_at(running, time::unix())
    }

    /// How many there were at the last look.
    pub fn total(&self) -> u64 {
        self.total as u64
    }

    fn look_at(&mut self, running: &Running, now: f64) -> Vec<Certificate> {
        let known = self.plans.iter().map(Weak::as_ptr);
        if !known.eq(running.plans.iter().map(Arc::as_ptr)) {
            *self = gather(running);
        }
        // The clock may have been set back.
        if (now - self.last).abs() >= PAUSE {
            self.last = now;
            self.look_at_disk();
        }
        self.shown.clone()
    }

    /// Looks at the next few files.
    fn look_at_disk(&mut self) {
        for _ in 0..FILES.min(self.files.len()) {
            self.next = (self.next + 1) % self.files.len();
            let file = &mut self.files[self.next];
            file.changed = file.source.has_changed();
        }
        for (certificate, files) in self.shown.iter_mut().zip(&self.depends) {
            certificate.newer_on_disk = files.iter().any(|file| self.files[*file].changed);
        }
    }
}

/// One that is to be shown, and who uses it.
struct Found<'p> {
    file: &'p CertificateFile,
    /// None: the file as a whole.
    card: Option<&'p (Role, Card)>,
    users: Users,
}

/// By place of the service, the places of its routes that use something.
type Users = BTreeMap<usize, Vec<usize>>;

/// What makes two of them one: the file, what it is for, and which certificate. What a file held at two times is two.
type Identity<'p> = (&'p Path, Option<(Role, &'p [u8; 32])>);

fn gather(running: &Running) -> Certificates {
    let services: Vec<&Service> = running.plans.iter().map(|plan| &plan.service).collect();
    let mut found: Vec<Found<'_>> = Vec::new();
    let mut places: HashMap<Identity<'_>, usize> = HashMap::new();
    let mut tickets: BTreeMap<u64, Users> = BTreeMap::new();
    for (number, service) in services.iter().enumerate() {
        for (tls, routes) in shared(service, |route| route.accept_tls.as_ref()) {
            tls.files().iter().for_each(|file| note(file, number, &routes, &mut found, &mut places));
            tickets.entry(tls.ticket_keys_since()).or_default().entry(number).or_default().extend(&routes);
        }
        for (tls, routes) in shared(service, |route| route.connect_tls.as_ref()) {
            tls.files().iter().for_each(|file| note(file, number, &routes, &mut found, &mut places));
        }
    }
    let total = found.len() + tickets.len();
    found.sort_by_key(|one| {
        one.card.map_or((Role::Authority, i64::MAX), |(role, card)| (*role, card.not_after))
    });
    found.truncate(SHOWN);
    let mut watched = Watching::default();
    let mut gathered = Certificates { total, ..Certificates::default() };
    for one in &found {
        gathered.depends.push(one.file.sources.iter().map(|source| watched.place(source)).collect());
        gathered.shown.push(show(one, &services));
    }
    let keys = tickets.iter().map(|(since, users)| ticket_key(*since, used_by(users, &services)));
    gathered.shown.extend(keys.take(SHOWN - found.len()));
    gathered.files = watched.files;
    gathered.plans = running.plans.iter().map(Arc::downgrade).collect();
    gathered
}

/// What routes of a service have of a kind of TLS, each once, with the places of those routes.
fn shared<'p, T>(
    service: &'p Service,
    tls: impl Fn(&'p Route) -> Option<&'p Arc<T>>,
) -> Vec<(&'p T, Vec<usize>)> {
    let mut places: HashMap<*const T, usize> = HashMap::new();
    let mut found: Vec<(&T, Vec<usize>)> = Vec::new();
    for (number, route) in service.routes.iter().enumerate() {
        let Some(tls) = tls(route) else { continue };
        let place = *places.entry(Arc::as_ptr(tls)).or_insert(found.len());
        if place == found.len() {
            found.push((tls, Vec::new()));
        }
        found[place].1.push(number);
    }
    found
}

/// Notes that `routes` of a service use all of a file.
fn note<'p>(
    file: &'p CertificateFile,
    service: usize,
    routes: &[usize],
    found: &mut Vec<Found<'p>>,
    places: &mut HashMap<Identity<'p>, usize>,
) {
    let path = &*file.sources[0].path;
    let cards = file.cards.iter().map(Some);
    let whole = file.cards.is_empty().then_some(None);
    for card in cards.chain(whole) {
        let identity = (path, card.map(|(role, card)| (*role, &card.fingerprint)));
        let place = *places.entry(identity).or_insert(found.len());
        if place == found.len() {
            found.push(Found { file, card, users: Users::new() });
        }
        found[place].users.entry(service).or_default().extend(routes);
    }
}

fn show(one: &Found<'_>, services: &[&Service]) -> Certificate {
    let file = Certificate {
        kind: "ca".to_owned(),
        file: one.file.sources[0].path.display().to_string(),
        used_by: used_by(&one.users, services),
        in_file: one.file.total as u64,
        ..Certificate::default()
    };
    let Some((role, card)) = one.card else { return file };
    let kind = match role {
        Role::Server => "certificate",
        Role::Client => "client-certificate",
        Role::Chain => "chain",
        Role::Authority => "ca",
    };
    Certificate {
        kind: kind.to_owned(),
        names: card.names.iter().map(ToString::to_string).collect(),
        key_type: card.key_type.to_string(),
        issuer: card.issuer.to_string(),
        serial: card.serial.to_string(),
        fingerprint: hexadecimal(&card.fingerprint),
        not_before: seconds(card.not_before),
        not_after: seconds(card.not_after),
        ..file
    }
}

/// Keys that derive from the secret of the process: as old as it is, and not replaced while it lives.
fn ticket_key(since: u64, used_by: Vec<String>) -> Certificate {
    Certificate {
        kind: "ticket-key".to_owned(),
        not_before: seconds(i64::try_from(since).unwrap_or(0)),
        used_by,
        ..Certificate::default()
    }
}

/// "web" where all routes of a service are users, or many; else "web/mail" for each.
fn used_by(users: &Users, services: &[&Service]) -> Vec<String> {
    let mut told = Vec::new();
    for (place, routes) in users {
        let Service { name, routes: all, .. } = services[*place];
        let mut routes = routes.clone();
        routes.sort_unstable();
        routes.dedup();
        if routes.len() == all.len() || routes.len() > ROUTES {
            told.push(name.to_string());
        } else {
            told.extend(routes.iter().map(|route| format!("{name}/{}", all[*route].name)));
        }
    }
    told
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _to_a_string = write!(text, "{byte:02X}");
        text
    })
}

/// As the model has times; a certificate's are whole seconds, far below 2^53.
fn seconds(unix: i64) -> f64 {
    unix as f64
}

/// The files that are looked at on disk, each once.
#[derive(Default)]
struct Watching<'p> {
    places: HashMap<&'p Source, usize>,
    files: Vec<Watched>,
}

impl<'p> Watching<'p> {
    fn place(&mut self, source: &'p Source) -> usize {
        let place = *self.places.entry(source).or_insert(self.files.len());
        if place == self.files.len() {
            self.files.push(Watched { source: source.clone(), changed: false });
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testpki::{Authority, Files, Leaf};
    use crate::policy::tls_client::ClientTls;
    use crate::policy::tls_server::{ProcessSecret, ServerTls};
    use crate::policy::tls_spec::{CertificateFiles, ClientTlsSpec, ClientVerify, ServerTlsSpec};
    use std::path::PathBuf;

    fn server_tls(certificates: &[&CertificateFiles], client_ca: Option<&PathBuf>) -> Arc<ServerTls> {
        let spec = ServerTlsSpec {
            certificates: certificates.iter().map(|files| (*files).clone()).collect(),
            client_ca: client_ca.cloned(),
            verify: if client_ca.is_some() { ClientVerify::Required } else { ClientVerify::None },
            ..ServerTlsSpec::default()
        };
        Arc::new(ServerTls::load(&spec, "test", &ProcessSecret::of(7), 1).unwrap())
    }

    fn client_tls(certificate: &CertificateFiles, ca: &Path) -> Arc<ClientTls> {
        let (certificate, ca) = (Some(certificate.clone()), Some(ca.to_path_buf()));
        let spec = ClientTlsSpec { certificate, ca, verify: true, ..ClientTlsSpec::default() };
        Arc::new(ClientTls::load(&spec, 1).unwrap())
    }

    fn plan(name: &str, routes: Vec<Route>) -> Arc<Plan> {
        let service = Service { name: name.into(), routes: routes.into(), ..Service::plain() };
        Arc::new(Plan::relay(service))
    }

    fn accepts(name: &str, tls: &Arc<ServerTls>) -> Route {
        Route { accept_tls: Some(Arc::clone(tls)), ..Route::plain(name) }
    }

    fn running(plans: Vec<Arc<Plan>>) -> Running {
        Running { plans: plans.into(), ..Running::default() }
    }

    /// Kind, file and users of each, without the directory.
    fn told(found: &[Certificate], files: &Files) -> Vec<String> {
        let directory = format!("{}/", files.path().display());
        let one = |one: &Certificate| {
            let file = one.file.strip_prefix(&directory).unwrap_or(&one.file).to_owned();
            format!("{} {file} {}", one.kind, one.used_by.join(","))
        };
        found.iter().map(one).collect()
    }

    #[test]
    fn everything_in_use_is_listed_once_with_its_users() {
        let (files, ca) = (Files::new(), Authority::new("Root"));
        let web = files.identity("web", &ca.issue(&Leaf::ec(&["web.test"])));
        let mail = files.identity("mail", &ca.issue(&Leaf::ec(&["mail.test"])));
        let root = files.write("root.pem", &ca.certificate_pem());
        let common = server_tls(&[&web], None);
        // Loaded a second time, as a route of its own settings does.
        let own = server_tls(&[&mail, &web], Some(&root));
        let to_server = Route { connect_tls: Some(client_tls(&mail, &root)), ..accepts("c", &own) };
        let plans = vec![
            plan("one", vec![accepts("a", &common), accepts("b", &common)]),
            plan("two", vec![accepts("a", &common), Route::plain("b"), to_server]),
            plan("bare", vec![Route::plain("default")]),
        ];
        let mut certificates = Certificates::default();
        let found = certificates.look_at(&running(plans), 0.0);
        let told = told(&found, &files);
        assert_eq!(
            told,
            [
                "certificate web.pem one,two/a,two/c",
                "certificate mail.pem two/c",
                "client-certificate mail.pem two/c",
                "ca root.pem two/c",
                "ticket-key  one,two/a,two/c",
            ]
        );
        assert_eq!(certificates.total(), 5);
        assert_eq!(found[0].names, ["leaf", "web.test"]);
        assert_eq!(
            (&*found[0].key_type, &*found[0].issuer, found[0].in_file),
            ("EC prime256v1", "CN=Root", 1)
        );
        assert_eq!(found[0].fingerprint.len(), 64);
        assert!(found[0].not_after > found[0].not_before && found[0].not_before > 1e9);
        assert_eq!(found[3].names, ["CN=Root"]);
    }

    #[test]
    fn a_chain_is_listed_behind_what_it_belongs_to() {
        let (files, ca) = (Files::new(), Authority::new("Root"));
        let leaf = ca.issue(&Leaf::ec(&["web.test"]));
        let mut web = files.identity("web", &leaf);
        let both = [leaf.certificate_pem(), ca.certificate_pem()].concat();
        web.certificate = files.write("chain.pem", &both);
        let plans = vec![plan("one", vec![accepts("a", &server_tls(&[&web], None))])];
        let found = Certificates::default().look_at(&running(plans), 0.0);
        assert_eq!(
            told(&found, &files),
            ["certificate chain.pem one", "chain chain.pem one", "ticket-key  one"]
        );
        assert_eq!((&*found[1].names, found[1].in_file), (&["CN=Root".to_owned()][..], 2));
    }

    #[test]
    fn of_many_routes_the_service_is_told() {
        let (files, ca) = (Files::new(), Authority::new("Root"));
        let web = files.identity("web", &ca.issue(&Leaf::ec(&["web.test"])));
        let tls = server_tls(&[&web], None);
        let mut routes: Vec<Route> = (0..=ROUTES).map(|number| accepts(&number.to_string(), &tls)).collect();
        routes.push(Route::plain("bare"));
        let found = Certificates::default().look_at(&running(vec![plan("many", routes)]), 0.0);
        assert_eq!(found[0].used_by, ["many"]);
    }

    #[test]
    fn of_a_long_list_of_cas_the_first_are_shown() {
        let files = Files::new();
        let many: Vec<u8> =
            (0..60).flat_map(|number| Authority::new(&format!("Root {number}")).certificate_pem()).collect();
        let root = files.write("roots.pem", &many);
        let web = files.identity("web", &Authority::new("Root").issue(&Leaf::ec(&["web.test"])));
        let plans = vec![plan("one", vec![accepts("a", &server_tls(&[&web], Some(&root)))])];
        let found = Certificates::default().look_at(&running(plans), 0.0);
        let authorities: Vec<&Certificate> = found.iter().filter(|one| one.kind == "ca").collect();
        assert_eq!((authorities.len(), authorities[0].in_file), (50, 60));
    }

    #[test]
    fn a_file_that_changed_is_told_until_it_was_loaded_again() {
        let (files, ca) = (Files::new(), Authority::new("Root"));
        let web = files.identity("web", &ca.issue(&Leaf::ec(&["web.test"])));
        let before = running(vec![plan("one", vec![accepts("a", &server_tls(&[&web], None))])]);
        let mut certificates = Certificates::default();
        let newer = |found: &[Certificate]| found[0].newer_on_disk;
        assert!(!newer(&certificates.look_at(&before, 100.0)));
        files.identity("web", &ca.issue(&Leaf::rsa(&["web.test"])));
        assert!(
            !newer(&certificates.look_at(&before, 100.0 + PAUSE / 2.0)),
            "it looks at the disk too often"
        );
        let found = certificates.look_at(&before, 100.0 + PAUSE);
        assert!(newer(&found) && found[0].key_type == "EC prime256v1");
        let after = running(vec![plan("one", vec![accepts("a", &server_tls(&[&web], None))])]);
        let found = certificates.look_at(&after, 100.0 + PAUSE);
        assert!(!newer(&found) && found[0].key_type == "RSA 2048");
        // The key alone, and a clock that was set back.
        std::fs::write(&web.key, "no key").unwrap();
        assert!(newer(&certificates.look_at(&after, 50.0)));
    }

    #[test]
    fn files_are_looked_at_a_few_at_a_time_and_all_in_turn() {
        let (files, ca) = (Files::new(), Authority::new("Root"));
        let issued = ca.issue(&Leaf::ec(&["web.test"]));
        let all: Vec<CertificateFiles> =
            (0..FILES).map(|number| files.identity(&number.to_string(), &issued)).collect();
        let routes = all.iter().map(|one| accepts("a", &server_tls(&[one], None))).collect();
        let running = running(vec![plan("one", routes)]);
        let mut certificates = Certificates::default();
        certificates.look_at(&running, 0.0);
        for one in &all {
            std::fs::write(&one.certificate, "newer").unwrap();
        }
        let mut newer =
            |now: f64| certificates.look_at(&running, now).iter().filter(|one| one.newer_on_disk).count();
        // Two files each: what one look takes is half of them.
        assert_eq!((newer(10.0), newer(20.0)), (FILES / 2, FILES));
    }
}
