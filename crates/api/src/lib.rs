//! What everything that speaks of operations shares: HTTP, AMQP, the client and
//! the command line.
//!
//! Everything here is a plain function of its arguments, as in the core below:
//! nothing awaits, nothing reads a clock, nothing makes an id.
//!
//! | | |
//! |---|---|
//! | [`view`] | the operation as it is shown |
//! | [`wire`] | requests as bincode, for producers over AMQP |

pub mod view;
pub mod wire;
