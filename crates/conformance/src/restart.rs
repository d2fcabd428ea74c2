//! Cases of stores that survive the end of their process: order, fences, and all that
//! was answered go on in the next one.

pub mod survival;
