//! Prints the parts of docs/states.md that the code writes: `make docs` puts
//! them there.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    let parts = drumline_protocol::page::states::parts().concat();
    stdout().write_all(parts.as_bytes())
}
