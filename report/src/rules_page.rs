//! The rules as a page of documentation: rules in, Markdown out.

use velo_lint::example;
use velo_lint::rule::Rule;

use crate::format::Output;
use crate::text;

/// Returns the page of these rules: what each finds, why it matters, an example, what lint says about it, and the
/// example without the mistake.
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
        page += &section(rule);
    }
    page
}

fn section(rule: &Rule) -> String {
    let language = if example::language(rule) == velo_lint::Language::Yaml { "yaml" } else { "sql" };
    let block = |language: &str, text: &str| format!("```{language}\n{}\n```\n", text.trim_end());
    let mut said = Vec::new();
    let output = Output { has_colors: false, folder: "".into() };
    // Writing to memory does not fail.
    let _ = (text::FORMAT.print)(&mut said, &[example::report(rule, rule.example)], &output);
    format!(
        "\n## {}\n\n{} ({})\n\n{}\n\nInstead of\n\n{}\nof which velo lint says\n\n{}\nwrite\n\n{}",
        rule.id,
        rule.summary,
        rule.severity.word(),
        rule.why,
        block(language, rule.example),
        block("text", &String::from_utf8_lossy(&said)),
        block(language, rule.better)
    )
}

#[cfg(test)]
mod tests {
    use velo_lint::rules::RULES;

    use super::*;

    /// What a heading is called in a link, as GitHub and others have it.
    fn anchor(heading: &str) -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    }

    #[test]
    fn every_rule_has_a_section_on_the_page_and_every_link_leads_to_one() {
        let page = page(RULES);
        let anchors: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let links: Vec<_> =
            page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect();
        let rules: Vec<_> = RULES.iter().map(|rule| rule.id.to_owned()).collect();
        assert_eq!((&anchors, &links), (&rules, &rules));
        assert!(!page.contains("://"), "a link leads away from the page");
        for rule in RULES {
            assert!(
                section(rule).contains(&format!("[{}]", rule.id)),
                "what lint says about it: {}",
                section(rule)
            );
        }
    }
}
