//! Prints the API's description: `make openapi` writes it to docs/openapi.json.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    stdout().write_all(drumline_queue_manager::ingress::http::openapi_json().as_bytes())
}
