// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may ask a service of mode "socks" for a way.
//!
//! Invariant: how long it takes to refuse a login tells neither a name nor a part of a password.

use crate::wire::socks5::Login;
use std::fmt;

/// `socks.users`: names and passwords, each of 1 to 255 bytes.
pub struct Users(Box<[Login]>);

impl Users {
    pub fn new(users: impl IntoIterator<Item = Login>) -> Self {
        Self(users.into_iter().collect())
    }

    /// Whether there is a user of that name with that password. All of them are compared, each to its end.
    pub fn knows(&self, user: &[u8], password: &[u8]) -> bool {
        self.0.iter().fold(false, |known, (name, secret)| known | (same(name, user) & same(secret, password)))
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len()) // passwords are secrets
    }
}

/// Whether the two are the same, in a time that depends on the length of `given` alone.
fn same(known: &[u8], given: &[u8]) -> bool {
    let padded = known.iter().copied().chain(std::iter::repeat(0));
    let differences = given.iter().zip(padded).fold(0, |seen, (one, other)| seen | (one ^ other));
    (std::hint::black_box(differences) == 0) & (known.len() == given.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_both() {
        let user = |name: &str, password: &str| (name.as_bytes().into(), password.as_bytes().into());
        let users = Users::new([user("a", "x"), user("b", "yy")]);
        for (name, password, known) in [
            ("a", "x", true),
            ("b", "yy", true),
            ("a", "yy", false),
            ("a", "", false),
            ("", "", false),
            ("a", "x\0", false),
            ("a", "xx", false),
            ("b", "y", false),
        ] {
            assert_eq!(users.knows(name.as_bytes(), password.as_bytes()), known, "{name} {password}");
        }
        assert_eq!(format!("{users:?}"), "Users(2)");
    }
}
