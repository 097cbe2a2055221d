// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random bytes of the kernel, for what nobody outside may guess.

use std::io;

/// Random bytes (getrandom(2)).
///
/// # Errors
/// When the kernel has none, which no Linux since 3.17 says once it has started.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= 256, "up to 256 bytes come whole (getrandom(2))") };
    let mut bytes = [0; N];
    // SAFETY: pointer and length describe `bytes`, which the kernel writes.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    match usize::try_from(got) {
        Ok(got) if got == N => Ok(bytes),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_not_the_same_twice() {
        assert_ne!(bytes::<16>().unwrap(), bytes::<16>().unwrap());
    }
}
