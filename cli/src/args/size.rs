//! Parses sizes in bytes.

/// Parses `500`, `10KB` or `10KiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    velo_schema::parse_bytes(text)
        .ok_or_else(|| "expected a size in bytes, such as 500, 10KB or 10KiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn a_size_has_an_optional_unit() {
        assert_eq!((bytes("500"), bytes("10KB"), bytes("10KiB")), (Ok(500), Ok(10_000), Ok(10_240)));
        assert!(bytes("much").is_err_and(|error| error.starts_with("expected a size in bytes")));
    }
}
