//! Prints the part of docs/metrics.md that the code writes: `make docs` puts it
//! there.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    stdout().write_all(drumline_worker::metrics::part().as_bytes())
}
