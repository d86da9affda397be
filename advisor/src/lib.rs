//! placeholder
/// x
#[derive(schemars::JsonSchema)]
pub struct Advice {}
