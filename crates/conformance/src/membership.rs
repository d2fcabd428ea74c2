//! The membership's cases. How long silence lasts is tested where the clock
//! can be moved.

pub mod beats;
