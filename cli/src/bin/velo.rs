//! velo
fn main() {}
