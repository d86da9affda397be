//! What each rule offers to mend a mistake, and the notes and numbers that fixtures do not show.

use velo_lint::rules::{RULES, find};
use velo_lint::{Document, Finding, Language, NoFiles, Options, Severity, Target, fixed};
use velo_schema::value::Kind;

fn check(text: &str, language: Language, target: Option<Target>) -> Vec<Finding> {
    let options = Options { target, ..Options::default() };
    Document::read("", text, language, &NoFiles).check(&options)
}

/// The text with the one edit of each fix that a rule offers.
fn offered(rule: &str, text: &str, language: Language, target: Option<Target>) -> Vec<String> {
    let findings = check(text, language, target);
    let of_rule = findings.iter().filter(|finding| finding.rule == rule);
    let fixes = of_rule.flat_map(|finding| finding.fix.iter().chain(&finding.alternatives));
    let apply = |fix: &velo_lint::Fix| {
        let mut text = text.to_owned();
        for edit in fix.edits.iter().rev() {
            text.replace_range(edit.span.clone(), &edit.text);
        }
        text
    };
    fixes.map(apply).collect()
}

fn sql(rule: &str, text: &str) -> Vec<String> {
    offered(rule, text, Language::Sql, None)
}

fn targeted(rule: &str, text: &str, target: Target) -> Vec<String> {
    offered(rule, text, Language::Sql, Some(target))
}

#[test]
fn values_are_offered_where_a_reading_is_known() {
    let near = "WITH ('batch.strategy' = 'fixed_sise')";
    assert_eq!(sql("unknown-strategy", near), ["WITH ('batch.strategy' = 'fixed_size')"]);
    let memory =
        |value: &str| format!("WITH ('batch.strategy' = 'memory_based', 'batch.memory_size' = '{value}')");
    assert_eq!(sql("size-with-unit", &memory("10MB")), [memory("10000000"), memory("10485760")]);
    assert_eq!(sql("size-with-unit", &memory("512 B")), [memory("512")]);
    let timeout = |value: &str| format!("WITH ('batch.timeout' = '{value}')");
    assert_eq!(sql("duration-without-unit", &timeout("1500")), [timeout("1500ms"), timeout("1500s")]);
    assert_eq!(sql("duration-without-unit", &timeout("-5")), [""; 0]);
    // In seconds it would be above what a duration may be.
    assert_eq!(sql("duration-without-unit", &timeout("99999999")), [timeout("99999999ms")]);
    assert_eq!(targeted("duration-without-unit", &timeout("5"), Target::Guide), [timeout("5s")]);
    let backoff =
        |value: &str| format!("WITH ('failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '{value}')");
    assert_eq!(targeted("duration-without-unit", &backoff("2000"), Target::Guide), [backoff("2000ms")]);
}

#[test]
fn spelling_is_mended_with_its_quotes_and_in_yaml_without_any() {
    assert_eq!(sql("unquoted", "WITH ('batch.enable' = YES)"), ["WITH ('batch.enable' = 'true')"]);
    assert_eq!(sql("unquoted", "WITH (batch.size = '5')"), ["WITH ('batch.size' = '5')"]);
    assert_eq!(sql("unquoted", "WITH (batch.enable = 'YES')"), ["WITH ('batch.enable' = 'YES')"]);
    let yaml = "batch: {strategy: FixedSize}\n";
    let mended = offered("non-canonical-spelling", yaml, Language::Yaml, None);
    assert_eq!(mended, ["batch: {strategy: fixed_size}\n"]);
    let half_quoted = "WITH (batch.size = '5, 'batch.timeout' = '5s')";
    assert!(sql("unquoted", half_quoted).len() <= 1, "a lost quote is one mistake");
}

#[test]
fn what_repeats_goes_with_its_comma_and_its_line() {
    let inline = "WITH ('batch.size' = '5', 'sink.batch.size' = '5', 'failure_strategy' = 'FailBatch')";
    assert_eq!(sql("redundant-key", inline), ["WITH ('batch.size' = '5', 'failure_strategy' = 'FailBatch')"]);
    let lines = "WITH (\n    'batch.size' = '5',\n    'sink.batch.size' = '5',\n    'failure_strategy' = 'FailBatch'\n)";
    assert_eq!(
        sql("redundant-key", lines),
        ["WITH (\n    'batch.size' = '5',\n    'failure_strategy' = 'FailBatch'\n)"]
    );
    let crlf = lines.replace('\n', "\r\n");
    assert_eq!(
        sql("redundant-key", &crlf),
        ["WITH (\r\n    'batch.size' = '5',\r\n    'failure_strategy' = 'FailBatch'\r\n)"]
    );
    let commented = "WITH (\n    'batch.size' = '5',\n    'sink.batch.size' = '5', -- why\n    'failure_strategy' = 'FailBatch'\n)";
    assert_eq!(
        sql("redundant-key", commented),
        ["WITH (\n    'batch.size' = '5',\n    -- why\n    'failure_strategy' = 'FailBatch'\n)"]
    );
    let last = "WITH ('batch.size' = '5',\n 'sink.batch.size' = '5')";
    assert_eq!(sql("redundant-key", last), ["WITH ('batch.size' = '5')"]);
    let behind_comment = "WITH ('batch.size' = '5' -- a, b,\n, 'sink.batch.size' = '5')";
    assert_eq!(sql("redundant-key", behind_comment), ["WITH ('batch.size' = '5' -- a, b,\n)"]);
    let in_comment = "WITH ('batch.size' = '5' /* x */, -- then,\n 'sink.batch.size' = '5')";
    assert_eq!(sql("redundant-key", in_comment), [""; 0]);
    let yaml = "batch: {strategy: fixed_size, size: 5}\nsink: {batch: {size: 5}}\n";
    assert_eq!(offered("redundant-key", yaml, Language::Yaml, None), [""; 0]);
}

#[test]
fn parallel_is_switched_off_where_it_stands_or_beside_what_forbids_it() {
    let text =
        |more: &str| format!("WITH ('batch.strategy' = 'mega_batch', 'transaction.batches' = '4'{more})");
    let off = ", 'batch.parallel' = 'false'";
    assert_eq!(sql("parallel-transaction", &text("")), [text(off)]);
    assert_eq!(sql("parallel-transaction", &text(", 'batch.parallel' = 'true'")), [text(off)]);
    let yaml = "batch: {strategy: mega_batch}\ntransaction: {batches: 4}\n";
    assert_eq!(offered("parallel-transaction", yaml, Language::Yaml, None), [""; 0]);
    assert!(check(yaml, Language::Yaml, None).iter().any(|finding| finding.rule == "parallel-transaction"));
}

#[test]
fn fixes_lead_to_the_target_and_back() {
    let to = |text| targeted("target-ignores", text, Target::Velostream01);
    assert_eq!(to("WITH ('batch.size' = '5')"), ["WITH ('sink.batch.size' = '5')"]);
    assert_eq!(to("WITH ('batch.size' = '5', 'sink.batch.size' = '6')"), [""; 0]);
    assert_eq!(
        to("WITH ('source.failure_strategy' = 'FailBatch')"),
        ["WITH ('failure_strategy' = 'FailBatch')"]
    );
    let yaml = "batch: {strategy: fixed_size}\n";
    assert_eq!(offered("target-ignores", yaml, Language::Yaml, Some(Target::Velostream01)), [""; 0]);
    let differs = |text| targeted("target-reads-differently", text, Target::Velostream01);
    assert_eq!(differs("WITH ('sink.batch.timeout' = '5')"), ["WITH ('sink.batch.timeout' = '5s')"]);
    assert_eq!(differs("WITH ('sink.batch.enable' = 'ON')"), ["WITH ('sink.batch.enable' = 'true')"]);
    assert_eq!(differs("WITH ('sink.batch.enable' = 'yes')"), [""; 0]);
    assert_eq!(differs("WITH ('failure_strategy' = 'FailBatch', 'sink.batch.timeout' = '5s')"), [""; 0]);
    assert_eq!(
        differs("WITH ('failure_strategy' = 'failbatch')"),
        ["WITH ('failure_strategy' = 'FailBatch')"]
    );
    assert_eq!(differs("WITH ('batch.timeout' = '5s')"), [""; 0]);
    assert_eq!(
        differs("WITH ('failure_strategy' = 'RetryWithBackoff', 'sink.retry_backoff' = '5s')"),
        [""; 0]
    );
    // Elsewhere it is not read at all, however it is spelled.
    assert_eq!(differs("WITH ('source.failure_strategy' = 'failbatch')"), [""; 0]);
    assert_eq!(
        differs("WITH ('failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '2s')"),
        ["WITH ('failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '2000')"]
    );
    // A bare number behind another scope is nobody's, and stays an error.
    let scoped = "WITH ('failure_strategy' = 'RetryWithBackoff', 'sink.retry_backoff' = '2000')";
    assert_eq!(targeted("duration-without-unit", scoped, Target::Velostream01).len(), 2);
    let back = |text| targeted("target-reads-differently", text, Target::Guide);
    assert_eq!(back("WITH ('sink.batch.size' = '5')"), ["WITH ('batch.size' = '5')"]);
    assert_eq!(back("WITH ('sink.batch.size' = '5', 'batch.timeout' = '5s')"), [""; 0]);
    let yaml = "sink: {batch: {strategy: fixed_size}}\n";
    assert_eq!(offered("target-reads-differently", yaml, Language::Yaml, Some(Target::Guide)), [""; 0]);
}

#[test]
fn a_clause_is_closed_only_if_its_own_bracket_alone_is_missing() {
    let own = "WITH ('batch.size' = '500', 'x' = f(1, [2]);";
    assert_eq!(sql("unclosed-clause", own), ["WITH ('batch.size' = '500', 'x' = f(1, [2]));"]);
    for value in ["f((1)", "[[1]", "{", &"[".repeat(30)] {
        let text = format!("WITH ('batch.size' = '500', 'x' = {value};");
        assert_eq!(sql("unclosed-clause", &text), Vec::<String>::new());
        assert!(check(&text, Language::Sql, None).iter().any(|finding| finding.rule == "unclosed-clause"));
    }
}

#[test]
fn retries_that_do_not_poll_need_a_known_number_of_them() {
    let found = |text: &str| {
        let findings = check(text, Language::Sql, Some(Target::Velostream01));
        findings.iter().any(|finding| finding.rule == "target-poll-interval")
    };
    let text = |strategy: &str, backoff: &str| {
        format!("WITH ('failure_strategy' = '{strategy}', 'retry_backoff' = '{backoff}')")
    };
    assert!(found(&text("RetryWithBackoff", "60000")));
    assert!(!found(&text("FailBatch", "60000")));
    assert!(!found(&text("RetryWithBackoff", "60s")));
    assert!(
        check(&text("RetryWithBackoff", "60000"), Language::Sql, None)
            .iter()
            .all(|finding| finding.rule != "target-poll-interval")
    );
    let lost =
        "WITH ('failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '60000', 'config_file' = 'x.yaml')";
    assert!(!found(lost), "its retries may stand in the file");
}

#[test]
fn keys_of_the_default_strategy_alone_are_worth_a_note() {
    let note = |text: &str| {
        let findings = check(text, Language::Sql, None);
        let found = findings.iter().find(|finding| finding.rule == "required-key-missing").cloned();
        found.map(|finding| (finding.severity, text[finding.span].to_owned()))
    };
    assert_eq!(note("WITH ('batch.size' = '5')"), Some((Severity::Info, "batch.size".into())));
    assert_eq!(note("WITH ('batch.size' = '5', 'batch.strategy' = 'fixed_size')"), None);
    assert_eq!(note("WITH ('batch.size' = '5', 'batch.enable' = 'false')"), None);
    assert_eq!(note("WITH ('batch.timeout' = '5s')"), None);
    assert_eq!(note("WITH ('batch.window' = '5s')"), Some((Severity::Warning, "batch.window".into())));
}

#[test]
fn no_retries_hold_nothing() {
    let rules = |retries: &str| {
        let text = format!(
            "WITH ('batch.strategy' = 'low_latency', 'failure_strategy' = 'RetryWithBackoff', 'max_retries' = '{retries}', 'retry_backoff' = '5s')"
        );
        let findings = check(&text, Language::Sql, None);
        ["backoff-above-latency", "retry-hold-time"]
            .map(|rule| findings.iter().any(|finding| finding.rule == rule))
    };
    assert_eq!(rules("1"), [true, true]);
    assert_eq!(rules("0"), [false, false]);
}

#[test]
fn a_dead_letter_queue_in_use_says_whether_it_is_read_or_written() {
    let is_source = |topic: &str| {
        let text = format!(
            "CREATE STREAM s AS SELECT * FROM t WITH ('failure_strategy' = 'SendToDLQ', 'dlq.topic' = '{topic}')"
        );
        check(&text, Language::Sql, None).into_iter().find_map(|finding| finding.data["is_source"].as_bool())
    };
    assert_eq!((is_source("t"), is_source("s"), is_source("u")), (Some(true), Some(false), None));
}

#[test]
fn a_key_is_inert_only_where_no_scope_uses_it() {
    let inert =
        |text: &str| check(text, Language::Sql, None).iter().any(|finding| finding.rule == "inert-key");
    assert!(inert("WITH ('batch.strategy' = 'fixed_size', 'batch.window' = '5s')"));
    assert!(!inert(
        "WITH ('batch.strategy' = 'fixed_size', 'batch.window' = '5s', 'sink.batch.strategy' = 'time_window')"
    ));
    assert!(!inert("WITH ('batch.strategy' = '${STRATEGY}', 'batch.window' = '5s')"));
    assert!(
        !inert("WITH ('batch.strategy' = 'fixed_size', 'batch.window' = '5s', 'batch.enable' = 'false')"),
        "told at the switch"
    );
}

#[test]
fn a_size_off_the_matrix_is_told_once() {
    let text = "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '200', 'source.batch.timeout' = '2s')";
    let findings = check(text, Language::Sql, None);
    assert_eq!(findings.iter().filter(|finding| finding.rule == "off-the-matrix").count(), 1);
    // Its default would be off the matrix; what it will be, nobody knows.
    let open = "WITH ('batch.strategy' = 'adaptive_size', 'batch.min_size' = '${SIZE}')";
    assert!(check(open, Language::Sql, None).iter().all(|finding| finding.rule != "off-the-matrix"));
}

#[test]
fn every_rule_is_found_by_its_name() {
    for rule in RULES {
        assert!(find(rule.id).is_some_and(|found| found.id == rule.id));
    }
    assert!(find("no-such-rule").is_none());
}

#[test]
fn a_fix_called_safe_is_safe_for_every_engine() {
    let safe = |text: &str, target| {
        let findings = check(text, Language::Sql, target);
        let found = findings.into_iter().find(|finding| finding.rule == "redundant-key");
        found.and_then(|finding| finding.fix).map(|fix| fix.safe)
    };
    let batch = "WITH ('batch.size' = '5', 'sink.batch.size' = '5', 'failure_strategy' = 'FailBatch')";
    assert_eq!(safe(batch, None), Some(false), "velostream 0.1 reads the second one alone");
    assert_eq!(safe(batch, Some(Target::Velostream01)), None);
    let source = "WITH ('batch.size' = '5', 'source.batch.size' = '5', 'failure_strategy' = 'FailBatch')";
    assert_eq!(safe(source, None), Some(true), "it reads neither");
    let failure = "WITH ('failure_strategy' = 'FailBatch', 'sink.failure_strategy' = 'FailBatch', 'a' = 'b')";
    assert_eq!(safe(failure, Some(Target::Velostream01)), Some(true), "it reads the first one alone");
}

#[test]
fn a_text_that_an_alias_shares_has_no_safe_fix() {
    let safe = |text: &str| {
        let findings = check(text, Language::Yaml, None);
        let found = findings.into_iter().find(|finding| finding.rule == "non-canonical-spelling");
        found.and_then(|finding| finding.fix).map(|fix| fix.safe)
    };
    assert_eq!(safe("batch: {strategy: FixedSize}\n"), Some(true));
    assert_eq!(safe("batch: {strategy: &s FixedSize}\n"), Some(true), "nobody refers to it");
    assert_eq!(safe("batch: {strategy: &s FixedSize}\nname: *s\n"), Some(false));
    assert_eq!(safe("x: &b {strategy: FixedSize}\nbatch: *b\n"), Some(false));
    assert_eq!(safe("x: &b {strategy: FixedSize}\nbatch: {<<: [*b], size: 5}\n"), Some(false));
}

#[test]
fn of_two_entries_the_last_one_is_in_force_as_in_the_library() {
    let text = "WITH ('batch.size' = '5', 'batch.size' = '7', 'failure_strategy' = 'FailBatch')";
    let document = Document::read("", text, Language::Sql, &NoFiles);
    let options = Options::default();
    let unit = document.units(&options).next().expect("a statement");
    let all: Vec<_> = unit.items.iter().filter_map(velo_lint::unit::Item::entry).collect();
    let of = |entries: &[velo_schema::Entry]| {
        velo_schema::Settings::resolve(entries, velo_schema::Side::Job, None).config()
    };
    assert_eq!(unit.config(&velo_schema::Scope::Job), of(&all));
    assert_eq!(unit.entries().len(), 2);
    assert_eq!(of(&unit.entries()), of(&all));
}

/// What velostream 0.1 reads of a text: batch settings of the sink, failure settings of the job.
fn read_by_velostream(text: &str, language: Language) -> Vec<String> {
    let document = Document::read("", text, language, &NoFiles);
    let options = Options::default();
    let mut read = Vec::new();
    for unit in document.units(&options) {
        for item in unit.effective_items() {
            let of_batches = item.key.name().starts_with("batch.");
            let scope = if of_batches { velo_schema::Scope::Sink } else { velo_schema::Scope::Job };
            if item.scope == scope {
                let value =
                    item.entry().map_or_else(|| item.value.to_owned(), |entry| entry.value.to_string());
                // It reads a bare number of a batch setting as seconds.
                let is_duration = matches!(item.key.def().kind, Kind::Duration { .. });
                let seconds = format!("{value}s");
                let bare = item.key.def().parse(&seconds).ok().filter(|_| of_batches && is_duration);
                let value = bare.map_or(value, |parsed| parsed.value.to_string());
                read.push(format!("{}={value}", item.qualified()));
            }
        }
    }
    read
}

/// What is in force in each scope of each statement.
fn in_force(text: &str, language: Language) -> Vec<Vec<velo_schema::Config>> {
    let document = Document::read("", text, language, &NoFiles);
    let options = Options::default();
    let of = |unit: velo_lint::Unit<'_>| unit.scopes().iter().map(|scope| unit.config(scope)).collect();
    let is_ours = |unit: &velo_lint::Unit<'_>| !unit.items.is_empty();
    document.units(&options).filter(is_ours).map(of).collect()
}

#[test]
fn safe_fixes_keep_the_meaning_of_every_fixture_for_every_engine() {
    for fixture in super::fixtures::all() {
        let (text, language) = (&fixture.text, fixture.language);
        for target in [None, Some(Target::Guide), Some(Target::Velostream01)] {
            let fixed = fixed(text, language, &Options { target, ..Options::default() }, false);
            if target == Some(Target::Velostream01) {
                let (before, after) =
                    (read_by_velostream(text, language), read_by_velostream(&fixed, language));
                assert_eq!(before, after, "{}", fixture.name);
            } else {
                // A scope without entries of its own may go with its last entry.
                let (before, after) = (in_force(text, language), in_force(&fixed, language));
                let job = |of: &[Vec<velo_schema::Config>]| -> Vec<_> {
                    of.iter().map(|of| of[0..3].to_vec()).collect()
                };
                assert_eq!(job(&before), job(&after), "{} for {target:?}", fixture.name);
                assert_eq!(
                    read_by_velostream(text, language),
                    read_by_velostream(&fixed, language),
                    "{}",
                    fixture.name
                );
            }
        }
    }
}

#[test]
fn what_a_fix_uncovers_is_fixed_too() {
    let text = "WITH (batch.size = '5', 'failure_stratgy' = 'failbatch',)";
    let fixed = fixed(text, Language::Sql, &Options::default(), true);
    assert_eq!(fixed, "WITH ('batch.size' = '5', 'failure_strategy' = 'FailBatch')");
}
