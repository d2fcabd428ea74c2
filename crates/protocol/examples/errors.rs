//! Prints the part of docs/errors/README.md that the code writes: `make docs`
//! puts it there.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    stdout().write_all(drumline_protocol::page::errors::part().as_bytes())
}
