use velo_schema::json_schema::Draft;

use super::*;

fn settings(text: &str) -> Settings {
    Settings::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn problem(text: &str) -> String {
    Settings::parse(text).expect_err("an error").to_string()
}

#[test]
fn every_setting_is_read() {
    let text = "target = \"velostream-0.1\"\nrecord-size = '2KiB'\nfail-on = 'warning'\nbaseline = 'known.json'\n\
                required-version = '>=0.1'\n[rules]\nunquoted = 'allow'\nall = 'info'\n";
    let settings = settings(text);
    let FileSettings { options, fail_on } = &settings.common;
    assert_eq!(options.target, Some(Target::Velostream01));
    assert_eq!((options.record_bytes, *fail_on), (Some(2048), Some(Severity::Warning)));
    assert_eq!(options.levels.of("unquoted", Severity::Error), Level::Allow);
    assert_eq!(options.levels.of("inert-key", Severity::Error), Level::Report(Severity::Info));
    assert_eq!(settings.baseline.as_deref(), Some("known.json"));
}

#[test]
fn errors_have_a_place() {
    assert_eq!(problem("\n[rule]\n"), "2:2: unknown setting 'rule'; did you mean 'rules'?");
    assert!(problem("x = 1").contains("expected one of required-version, target"));
    assert_eq!(problem("fail-on = 'never'"), "1:11: expected one of info, warning, error");
    assert!(problem("record-size = 5").starts_with("1:15: expected a quoted size"));
    assert_eq!(
        problem("[rules]\ninert-keys = 'allow'"),
        "2:1: there is no rule 'inert-keys'; did you mean 'inert-key'?"
    );
    assert!(problem("target = ").starts_with("1:"));
    assert!(problem("[[overrides]]\ntarget = 'guide'").contains("expected 'paths'"));
    assert!(problem("[[overrides]]\npaths = ['a']\nexclude = []").contains("unknown setting 'exclude'"));
    assert!(problem("required-version = '>=99'").contains("the project requires velo >=99; this is"));
    assert!(problem("exclude = 'vendor'").contains("expected a list of patterns"));
    assert!(problem("exclude = ['[']").starts_with("1:12: "));
    assert!(problem("[endings]\nhql = 'text'").contains("expected one of sql, yaml, json, markdown"));
}

#[test]
fn patterns_are_those_of_ignore_files() {
    let settings = settings("exclude = ['vendor/', '*.gen.sql', '/top.sql', 'a/b']");
    for (path, is_excluded) in [
        ("vendor/x.sql", true),
        ("sub/vendor/y/x.sql", true),
        // A file with the name of a folder.
        ("vendor", false),
        ("sub/x.gen.sql", true),
        ("top.sql", true),
        ("sub/top.sql", false),
        ("a/b/c.sql", true),
        ("x/a/b/c.sql", false),
        ("x.sql", false),
    ] {
        assert_eq!(settings.excludes(path), is_excluded, "{path}");
    }
}

#[test]
fn later_overrides_win_and_add_to_what_holds_for_all() {
    let settings = settings(
        "record-size = '1KB'\n[rules]\nunquoted = 'error'\n\
         [[overrides]]\npaths = ['old/']\nrules = { all = 'info' }\n\
         [[overrides]]\npaths = ['old/new.sql']\nfail-on = 'info'\nrules = { unquoted = 'allow' }\n",
    );
    let level = |path: &str, rule: &str| settings.of(path).options.levels.of(rule, Severity::Warning);
    assert_eq!(level("a.sql", "unquoted"), Level::Report(Severity::Error));
    assert_eq!(level("old/a.sql", "unquoted"), Level::Report(Severity::Info));
    assert_eq!(level("old/new.sql", "unquoted"), Level::Allow);
    assert_eq!(level("old/new.sql", "inert-key"), Level::Report(Severity::Info));
    let of = settings.of("old/new.sql");
    assert_eq!((of.fail_on, of.options.record_bytes), (Some(Severity::Info), Some(1000)));
}

#[test]
fn endings_name_languages_and_the_longest_wins() {
    let settings = settings("[endings]\n'.tmpl' = 'yaml'\n'sql.tmpl' = 'sql'\n");
    assert_eq!(settings.language("a/b.SQL.tmpl"), Some(Language::Sql));
    assert_eq!(settings.language("b.tmpl"), Some(Language::Yaml));
    assert_eq!(settings.language("b.sql.j2"), Some(Language::Sql), "velo knows it");
    assert_eq!(settings.language("tmpl"), None);
}

#[test]
fn every_setting_of_the_table_is_read_and_in_the_schema() {
    let schema = json_schema(Draft::Draft2020_12).to_value();
    let names = |schema: &serde_json::Value| {
        schema["properties"].as_object().expect("properties").keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&schema), table::names(table::SETTINGS));
    let overrides = &schema["properties"]["overrides"]["items"];
    assert_eq!(names(overrides), table::names(&table::of_override()));
    for name in names(&schema) {
        assert!(!problem(&format!("{name} = 5")).contains("unknown setting"), "{name}");
    }
    for name in names(overrides) {
        assert!(!problem(&format!("[[overrides]]\n{name} = 5")).contains("unknown setting"), "{name}");
    }
}
