//! The rules as a page: what each finds, why it matters, an example and its mended form.

use crate::rule::Rule;

/// The page of `rules`, in Markdown.
#[must_use]
pub fn page(rules: &[&Rule]) -> String {
    let mut page = String::from(
        "# Rules of lint\n\n`velo rules [RULE]` prints the same. Severities can be changed in `velo.toml` and on the \
         command line.\n\n| rule | severity | finds |\n| --- | --- | --- |\n",
    );
    for rule in rules {
        page += &format!("| [{0}](#{0}) | {1} | {2} |\n", rule.id, rule.severity.word(), rule.summary);
    }
    for rule in rules {
        let is_yaml = !rule.example.contains("WITH");
        let language = if is_yaml { "yaml" } else { "sql" };
        let block = |text: &str| format!("```{language}\n{}\n```\n", text.trim_end());
        page +=
            &format!("\n## {}\n\n{} ({})\n\n{}\n\n", rule.id, rule.summary, rule.severity.word(), rule.why);
        page += &format!("Instead of\n\n{}\nwrite\n\n{}", block(rule.example), block(rule.better));
    }
    page
}
