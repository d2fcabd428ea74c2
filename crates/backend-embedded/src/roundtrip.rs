//! Every value that enters the embedded backend goes through the wire formats
//! once, so that a value that could not be stored or sent elsewhere fails here
//! too.

use drumline_protocol::codec::{self, Format};

/// The value as it would come back from a server.
pub(crate) fn through_codec<T: Format>(value: &T) -> Result<T, codec::Error> {
    codec::decode(&codec::encode(value)?)
}
