//! Prints the public API of this crate, one item a line, from the JSON of rustdoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let json = std::env::args().nth(1).ok_or("usage: api JSON")?;
    // Blanket impls are the same for every type; tests check which types are `Send` and `Sync`.
    let api =
        public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).omit_auto_trait_impls(true).build()?;
    print!("{}", api.to_string().replace("tower_rampart::", ""));
    Ok(())
}
