//! The membership's cases. The length of silence is tested where the clock can
//! be moved.

pub mod beats;
