//! The lengths that the Dynamics service allows, in characters, and the sizes
//! that keep one operation from hurting the others, in bytes.

/// `name`.
pub const NAME_CHARS: usize = 256;
/// `messageName`.
pub const MESSAGE_NAME_CHARS: usize = 160;
/// `dependencyToken`.
pub const TOKEN_CHARS: usize = 256;
/// `recurrencePattern`.
pub const RECURRENCE_CHARS: usize = 256;
/// `recurrenceTimeZone`.
pub const TIME_ZONE_CHARS: usize = 64;
/// `primaryEntityType`.
pub const ENTITY_TYPE_CHARS: usize = 256;
/// `hostId`.
pub const HOST_ID_CHARS: usize = 256;
/// `message` and `friendlyMessage`: longer texts are cut.
pub const MESSAGE_CHARS: usize = 100_000;
/// `reason` of a pause.
pub const PAUSE_REASON_CHARS: usize = 1_000;
/// The pauses that a store keeps at the same time. Each partition has a copy of
/// all of them, and one script replaces a copy.
pub const PAUSES: usize = 1_000;
/// `reason` of an action on many.
pub const ACTION_REASON_CHARS: usize = 1_000;
/// The bytes of all conditions of an action on many: names and values.
pub const ACTION_CONDITIONS_BYTES: usize = 4_096;
/// The actions on many that a store keeps. The oldest that has ended makes room for a
/// new one.
pub const ACTIONS: usize = 1_000;
/// Refusals that are kept with an action on many: enough to see a pattern.
pub const BULK_REFUSALS: usize = 20;
/// The reason of such a refusal: longer ones are cut.
pub const BULK_REFUSAL_CHARS: usize = 300;
/// The reason in an entry of the history: the whole message stands in the fault.
pub const REASON_CHARS: usize = 120;
/// The largest stored record or message that is decoded. Larger bytes were not
/// written by us. 64 MiB, far over the largest body that is accepted.
pub const DECODE_BYTES: usize = 64 << 20;
/// The depth at which operations that create operations are taken for an
/// infinite loop.
pub const DEPTH: u32 = 8;

/// The first `limit` characters.
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    text.char_indices()
        .nth(limit)
        .map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}
