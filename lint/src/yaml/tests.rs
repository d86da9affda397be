//! What is read of YAML and JSON, and whose it is.

use super::*;
use crate::scan::{RawEntry, RawValue};

fn read(text: &str) -> Vec<(String, String)> {
    let shown = |entry: &RawEntry| match &entry.value {
        RawValue::Text(value) => text[value.span.clone()].to_owned(),
        other => format!("{other:?}"),
    };
    let entries = |statement: Statement| statement.clauses.into_iter().flat_map(|clause| clause.entries);
    let found = documents(text, 0..text.len()).into_iter().flat_map(entries);
    found.map(|entry| (entry.name(text).to_owned(), shown(&entry))).collect()
}

fn pairs(of: &[(String, String)]) -> Vec<(&str, &str)> {
    of.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

#[test]
fn nested_dotted_quoted_and_flow_are_the_same_keys() {
    let text = "# c\nbatch:\n  strategy: 'fixed_size'\n  size: 500\nbatch.timeout: \"1s\"\nsource: {batch: {size: 5}}\n";
    assert_eq!(
        pairs(&read(text)),
        [
            ("batch.strategy", "fixed_size"),
            ("batch.size", "500"),
            ("batch.timeout", "1s"),
            ("source.batch.size", "5")
        ]
    );
}

#[test]
fn json_is_read_as_it_stands() {
    let text = "{\"batch\": {\"strategy\": \"mega_batch\", \"parallel\": true}}";
    assert_eq!(pairs(&read(text)), [("batch.strategy", "mega_batch"), ("batch.parallel", "true")]);
}

#[test]
fn aliases_and_merge_keys_stand_for_what_they_name() {
    let text = "base: &b {strategy: fixed_size, size: &n 5}\nbatch:\n  <<: *b\n  size: 7\nsink: {batch: *b, max_retries: *n}\n";
    let found = read(text);
    let of =
        |key: &str| found.iter().filter(|(name, _)| name == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(of("batch.strategy"), ["fixed_size"]);
    assert_eq!(of("batch.size"), ["7"]);
    assert_eq!(of("sink.batch.size"), ["5"]);
    assert_eq!(of("sink.max_retries"), ["5"]);
}

#[test]
fn a_plain_scalar_is_what_the_core_schema_says() {
    for (plain, read) in [
        ("500", "500"),
        ("+500", "500"),
        ("-500", "-500"),
        ("-0", "0"),
        ("0x10", "16"),
        ("0o17", "15"),
        ("1e3", "1000"),
        ("5.0", "5"),
        ("5.5", "5.5"),
        ("True", "true"),
        ("yes", "yes"),
        ("10ms", "10ms"),
        ("1.2.3", "1.2.3"),
        ("0xes", "0xes"),
    ] {
        assert_eq!(resolved(plain), read);
    }
}

#[test]
fn a_mapping_where_a_value_should_be_is_read_as_one() {
    let text = "failure_strategy: FailBatch\nmax_retries: {a: 1}\nbatch: {size: {}, sise: {}}\nsource: {batch: {}}\n";
    let found = read(text);
    for (key, value) in [("max_retries", "{a: 1}"), ("batch.size", "Missing"), ("batch.sise", "Missing")] {
        assert!(pairs(&found).contains(&(key, value)), "{found:?}");
    }
}

#[test]
fn a_document_that_names_our_schema_is_ours() {
    let wrong = |schema: &str| format!("$schema: {schema}\nname: a\nbatch: {{size: ten}}\n");
    assert_eq!(read(&wrong("https://example.org/velo/yaml.draft-7.json")).len(), 3);
    assert!(read(&wrong("http://json-schema.org/draft-07/schema#")).is_empty());
}

#[test]
fn merges_are_what_yaml_says() {
    let text = "\
a: &a {strategy: fixed_size, size: 5}
b: &b {size: 6, timeout: 1s}
c: &c {<<: [*b, *a], parallel: true}
d: &d {batch: {enable: true, size: 9}, failure_strategy: FailBatch}
batch:
  size: 7
  <<: [*c, {window: 2s, timeout: 3s}]
source:
  <<: *d
  batch: {<<: {max_size: 8}}
sink:
  batch: {'<<': {size: 3}, <<: *a}
";
    let found = read(text);
    let of = |scope: &str| {
        let ours = found.iter().filter_map(|(key, value)| Some((key.strip_prefix(scope)?, value.as_str())));
        ours.filter(|(key, _)| !key.contains("batch.batch")).collect::<Vec<_>>()
    };
    assert_eq!(
        of("batch."),
        [
            ("size", "7"),
            ("parallel", "true"),
            ("timeout", "1s"),
            ("strategy", "fixed_size"),
            ("window", "2s")
        ]
    );
    // A mapping that is written out replaces the merged one as a whole.
    assert_eq!(of("source.batch."), [("max_size", "8")]);
    assert_eq!(of("source.failure"), [("_strategy", "FailBatch")]);
    assert_eq!(of("sink.batch.<<"), [(".size", "3")], "a quoted key merges nothing");
    assert_eq!(of("sink.batch.s"), [("trategy", "fixed_size"), ("ize", "5")]);
}

#[test]
fn aliases_of_aliases_have_an_end() {
    let mut text = "failure_strategy: FailBatch\nbatch: {strategy: fixed_size}\na0: &a0 {}\n".to_owned();
    for n in 1..40 {
        let of = |what: &str| vec![format!("{what}*a{}", n - 1); 10].join(", ");
        let keyed = (0..10).map(|k| format!("k{k}: *a{}", n - 1)).collect::<Vec<_>>().join(", ");
        text += &format!("a{n}: &a{n} {{<<: [{}], {keyed}}}\n", of(""));
    }
    let found = documents(&text, 0..text.len());
    assert!(found[0].clauses[0].is_open, "not all of it was read");
    let deep = format!("failure_strategy: FailBatch\nx: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert_eq!(documents(&deep, 0..deep.len()).len(), 1);
}

#[test]
fn every_document_counts_for_itself() {
    let text = "a: 1\n---\nbatch: {strategy: fixed_size}\n---\nfailure_strategy: FailBatch\n";
    assert_eq!(documents(text, 0..text.len()).len(), 2);
}

#[test]
fn what_belongs_to_others_is_left_alone() {
    for text in [
        "processors:\n  batch:\n    strategy: fixed_size\n",
        "batch: 16\nepochs: 300\n",
        "batch: {timeout: 200ms, send_batch_size: 8192}\n",
        "type: kafka\nbatch: {size: 10MB}\n",
        "sink: {type: jdbc, batch: {size: 10MB}}\n",
        "source: kafka\nbatch: {size: 10MB}\n",
        "batch: {strategy: round_robin, size: 10MB, colour: red}\n",
        "model: bert\nbatch: {size: auto, parallel: 4}\n",
        "kind: Pipeline\nbatch: {timeout: 5}\n",
        "batch: {size: 64, timeout: 30}\nserver: {port: 80}\n",
        "model: x\nbatch: {size: 32, strategy: random}\n",
        "name: deploy\nfailure_strategy: rollback\nsteps: []\n",
        "max_retries: often\nretry_backoff: slowly\n# batch\n",
    ] {
        assert!(documents(text, 0..text.len()).is_empty(), "{text}");
    }
}

#[test]
fn a_broken_file_of_ours_says_where_and_a_template_says_nothing() {
    let text = "batch:\n  strategy: fixed_size\n size: [\n";
    let found = documents(text, 0..text.len());
    assert_eq!(found[0].clauses[0].faults.len(), 1);
    let template = "batch:\n  strategy: fixed_size\n{{ if .x }}\n size: [\n";
    assert!(documents(template, 0..template.len()).is_empty());
}

#[test]
fn a_file_that_is_broken_before_its_settings_is_no_less_ours() {
    for text in [
        "batch:\n\tstrategy: fixed_size\n  sise: 5\nfailure_strategy: SendToDLQ\n",
        "x: [\nbatch:\n  strategy: fixed_size\nfailure_strategy: SendToDLQ\n",
        "{ \"batch\": {\"strategy\": \"fixed_size\",, \"failure_strategy\":\"SendToDLQ\"}",
    ] {
        let found = documents(text, 0..text.len());
        let faults: usize = found.iter().flat_map(|s| &s.clauses).map(|clause| clause.faults.len()).sum();
        assert_eq!(faults, 1, "{text}");
    }
    for others in
        ["x: [\nbatch: {size: 5}\n", "x: [\nbatch:\n  strategy: random\n# failure_strategy: FailBatch\n"]
    {
        assert!(documents(others, 0..others.len()).is_empty(), "{others}");
    }
}

#[test]
fn json_with_comments_is_read() {
    let text = "{ // why\n \"failure_strategy\": \"SendToDLQ\", // c\n \"batch\": {\"size\": 5}}";
    assert_eq!(pairs(&read(text)), [("failure_strategy", "SendToDLQ"), ("batch.size", "5")]);
}

#[test]
fn what_is_between_the_tags_of_a_template_is_read() {
    let text = "batch:\n  strategy: fixed_size\n  {{- if .live }}\n  sise: {{ .n }}0\n  {{- else }}\n  size: 5\n  {{- end }}\n  {{ more }}\n";
    let found = documents(text, 0..text.len());
    assert!(found[0].clauses[0].is_open);
    assert_eq!(
        pairs(&read(text)),
        [("batch.strategy", "fixed_size"), ("batch.sise", "Unknown"), ("batch.size", "5")]
    );
}
