//! `--var`: values for the placeholders in a statement.

use clap::Args;

/// Variables for placeholders.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VarArgs {
    /// Set a placeholder variable such as ${NAME}; takes precedence over the environment
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable, help_heading = "Input")]
    pub vars: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }
}
