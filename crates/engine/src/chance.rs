//! Randomness from the operating system.

/// So many random bytes.
///
/// # Panics
/// If the operating system has none to give, in which case nothing this process makes could be trusted.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The eight bytes of a new id.
pub fn random_id() -> [u8; 8] {
    random_bytes()
}

/// Uniform in 0 to 1.
pub(crate) fn random_unit() -> f64 {
    f64::from(u32::from_be_bytes(random_bytes())) / f64::from(u32::MAX)
}
