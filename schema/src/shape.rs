//! The notations of settings.

/// How settings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Dotted keys in one flat object.
    With,
    /// Nested mappings.
    Yaml,
}
