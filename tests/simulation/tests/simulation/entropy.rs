//! Random bytes of the operating system, for a run that must be the same each time.
//!
//! Hash maps, and the order in which `select!` polls, take their seed from the
//! operating system. This program answers for it: the first bytes that a thread
//! asks for follow from the seed of its run, so a run has a thread of its own.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Sets the seed of this thread. To be called before anything asks.
pub(crate) fn set(seed: u64) {
    STATE.set(seed);
}

/// The next eight bytes (`SplitMix64`).
fn next() -> [u8; 8] {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_le_bytes()
}

/// Takes the place of the function of the C library (getrandom(2)).
///
/// # Safety
/// `buffer` is valid for writes of `length` bytes.
#[expect(unsafe_code, reason = "the C library's function is replaced by name")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    let mut left = length;
    let mut at = buffer.cast::<u8>();
    while left > 0 {
        let bytes = next();
        let part = left.min(bytes.len());
        // SAFETY: `left` of `length` bytes are left behind `at`, by the contract of
        // getrandom(2), and `part` is no more than `left`.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, part);
            at = at.add(part);
        }
        left -= part;
    }
    isize::try_from(length).unwrap_or(-1)
}
