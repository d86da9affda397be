//! `velo run --check`: preflight checks that change nothing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use velo_engine::kafka::{
    Choice, ClientSettings, GroupOptions, GroupState, Inspector, May, OnDataLoss, Origin, PartitionState,
    Properties, Start, TopicReader, producer_properties, topic_settings,
};
use velo_engine::memory::MemoryBudget;

use super::targets::Targets;
use crate::render::plan::fitted;
use crate::render::style;

/// The topics, group and client settings of the job to check.
pub(crate) struct Checked<'a> {
    pub settings: &'a ClientSettings,
    pub reader: &'a TopicReader,
    pub options: GroupOptions,
    pub choice: Choice,
    pub sink: &'a str,
    pub dlq: Vec<&'a str>,
    pub linger: Duration,
    pub transactional_id: Option<String>,
    /// True if properties with the client's default are listed too.
    pub shows_defaults: bool,
}

/// The lines of output, and the verdict.
#[derive(Default)]
struct Findings {
    lines: Vec<String>,
    failed: bool,
}

impl Findings {
    fn heading(&mut self, text: &str) {
        self.lines.push(style::bold(text));
    }

    fn tell(&mut self, text: &str) {
        self.lines.push(format!("  ok    {text}"));
    }

    fn warn(&mut self, text: &str) {
        self.lines.push(format!("  note  {text}"));
    }

    fn fail(&mut self, text: &str) {
        self.failed = true;
        self.lines.push(format!("  {}  {text}", style::error("FAIL")));
    }

    fn properties(&mut self, heading: &str, properties: &Properties, shows_defaults: bool) {
        let mut table = fitted(Table::new());
        table.load_style(NOTHING);
        let is_listed = |origin: Origin| shows_defaults || origin != Origin::Default;
        let listed = properties.iter().filter(|(name, (value, _))| is_readable(name, value));
        let (listed, left_out): (Vec<_>, Vec<_>) = listed.partition(|(_, (_, origin))| is_listed(*origin));
        for (name, (value, origin)) in listed {
            table.add_row([format!("  {name}"), value.clone(), origin_text(*origin).to_owned()]);
        }
        self.heading(heading);
        self.lines.push(table.to_string());
        if !left_out.is_empty() {
            self.lines.push(format!("  {} more have the client's defaults: --check=all", left_out.len()));
        }
    }

    /// Adds the result of a permission check.
    fn may(&mut self, topic: &str, what: &str, may: May) {
        match may {
            Some(true) => self.tell(&format!("{topic} may be {what}")),
            Some(false) => self.fail(&format!("{topic} may not be {what}: grant the permission to the user")),
            None => self.warn(&format!("{topic}: the brokers do not report whether it may be {what}")),
        }
    }
}

impl Checked<'_> {
    /// Runs the checks and prints the results. The exit code is 1 if a check failed.
    pub(super) fn check(&self) -> Result<ExitCode> {
        let inspector = Inspector::connect(self.settings, &self.options)?;
        let mut findings = Findings::default();
        self.topics(&inspector, &mut findings);
        self.group(&inspector, &mut findings);
        fetcher(&self.choice, &mut findings);
        memory(&self.options.memory, &mut findings);
        let of_producer = producer_properties(
            self.settings,
            self.linger,
            self.options.memory.producer_bytes,
            &self.max_message_bytes(),
            self.transactional_id.as_deref(),
        )?;
        let of_consumer = inspector.properties(self.settings);
        findings.properties("the consumer's properties", &of_consumer, self.shows_defaults);
        findings.properties("the producer's properties", &of_producer, self.shows_defaults);
        anstream::println!("{}", findings.lines.join("\n"));
        Ok(if findings.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Returns the known record size limits of the topics that the job writes to.
    fn max_message_bytes(&self) -> Vec<u64> {
        let of = |topic| topic_settings(self.settings, self.reader, topic).max_message_bytes;
        std::iter::once(self.sink).chain(self.dlq.iter().copied()).filter_map(of).collect()
    }

    fn topics(&self, inspector: &Inspector, findings: &mut Findings) {
        let source = self.options.topic.as_str();
        let of_source = topic_settings(self.settings, self.reader, source);
        findings.heading("topics");
        findings.tell(&format!("{source} has {} partitions", self.options.partitions));
        match inspector.may_read_and_write(source) {
            Ok((may_read, _)) => findings.may(source, "read", may_read),
            Err(error) => findings.fail(&error.to_string()),
        }
        for target in std::iter::once(self.sink).chain(self.dlq.iter().copied()) {
            match self.reader.partition_count(target) {
                Ok(Some(count)) => {
                    findings.tell(&format!("{target} has {count} partitions"));
                    if count != self.options.partitions {
                        findings.warn(&format!(
                            "{target} and {source} differ in partitions: record keys select the partition"
                        ));
                    }
                    match inspector.may_read_and_write(target) {
                        Ok((_, may_write)) => findings.may(target, "written", may_write),
                        Err(error) => findings.fail(&error.to_string()),
                    }
                }
                Ok(None) => {
                    let is_sink = target == self.sink;
                    let with = if is_sink { of_source.for_sink() } else { of_source.for_dead_letters() };
                    let with: Vec<_> = with.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    let with =
                        if with.is_empty() { "the brokers' defaults".to_owned() } else { with.join(", ") };
                    findings.warn(&format!("{target} does not exist and will be created with {with}"));
                }
                Err(error) => findings.fail(&error.to_string()),
            }
        }
        let targets = Targets {
            settings: self.settings,
            reader: self.reader,
            options: &self.options,
            of_source: &of_source,
        };
        let warnings = targets.warnings(self.sink, &self.dlq);
        if warnings.is_empty() {
            findings.tell(&format!(
                "no known limit or retention of the written topics affects the records of {source}"
            ));
        }
        for warning in &warnings {
            findings.warn(warning);
        }
    }

    fn group(&self, inspector: &Inspector, findings: &mut Findings) {
        findings.heading(&format!("group {}", self.options.group_id));
        match inspector.group() {
            Ok(GroupState { state, members, may_read }) => {
                match state {
                    Some(state) => findings.tell(&format!("{state}, {} members", members.len())),
                    None => findings.tell("group does not exist yet: the first member creates it"),
                }
                for (client, host, instance) in members {
                    let instance = instance.map(|id| format!(", instance {id}")).unwrap_or_default();
                    findings.tell(&format!("member {client} at {host}{instance}"));
                }
                if may_read == Some(false) {
                    findings.fail("the group may not be joined: grant the user Read on it");
                }
            }
            Err(error) => findings.fail(&error.to_string()),
        }
        match inspector.partitions(self.options.partitions) {
            Ok(partitions) => lag(&partitions, &self.options, findings),
            Err(error) => findings.fail(&error.to_string()),
        }
    }
}

fn lag(partitions: &[PartitionState], options: &GroupOptions, findings: &mut Findings) {
    let mut sum = 0;
    for PartitionState { partition, low, high, committed } in partitions {
        let first = if options.start == Start::Latest { *high } else { *low };
        let from = committed.unwrap_or(first);
        sum += (high - from).max(0);
        if (*low..=*high).contains(&from) {
            continue;
        }
        let lost = format!(
            "partition {partition}: committed offset {from} is outside of its offsets, {low} to {high}"
        );
        match options.on_data_loss {
            OnDataLoss::Fail => findings.fail(&format!("{lost}: --on-data-loss fail ends the job")),
            OnDataLoss::Continue => findings.warn(&format!("{lost}: the job continues at {low}")),
        }
    }
    let open = partitions.iter().filter(|partition| partition.committed.is_none()).count();
    let of_a_time = if open > 0 && matches!(options.start, Start::Timestamp(_)) { " at most" } else { "" };
    findings.tell(&format!("{sum} records to read{of_a_time}; {open} partitions without a committed offset"));
    let from = match options.start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::Timestamp(ms) => ms.to_string(),
    };
    match partitions.len() - open {
        0 => findings.tell(&format!("reading starts at --from {from}")),
        _ if open == 0 => findings.tell("reading starts at the committed offsets; --from has no effect"),
        known => findings.tell(&format!(
            "reading starts at the committed offsets of {known} partitions, and at --from {from} in the others"
        )),
    }
}

fn fetcher(Choice { fetching, reason }: &Choice, findings: &mut Findings) {
    findings.heading("fetcher");
    match reason {
        Some(reason) => findings.warn(&format!("{fetching}, because native cannot be used: {reason}")),
        None => findings.tell(&fetching.to_string()),
    }
}

fn memory(budget: &MemoryBudget, findings: &mut Findings) {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    findings.heading("memory of a member");
    findings.tell(&format!(
        "prefetched {}, in flight {}, not yet acknowledged {}",
        mib(budget.prefetch_bytes),
        mib(budget.in_flight_bytes),
        mib(budget.producer_bytes)
    ));
    if let Some(answer) = budget.exec_answer_bytes {
        findings.tell(&format!(
            "answers and outputs of --exec {}, at most {} per answer",
            mib(budget.exec_bytes),
            mib(answer)
        ));
    }
}

/// True if a property is meaningful to a reader: callbacks and other pointers are left out.
fn is_readable(name: &str, value: &str) -> bool {
    let is_pointer = value.starts_with("0x") || name.ends_with("_cb") || name == "opaque";
    !is_pointer && name != "default_topic_conf" && name != "ssl_engine_callback_data"
}

fn origin_text(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::Derived => "derived from the plan",
        Origin::Engine => "the engine's own",
        Origin::Environment => "environment",
        Origin::File => "--properties",
        Origin::Argument => "-X",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_with_defaults_are_listed_on_request_only() {
        let entry = |name: &str, value: &str, origin| (name.to_owned(), (value.to_owned(), origin));
        let properties: Properties = [
            entry("group.id", "g", Origin::Engine),
            entry("socket.timeout.ms", "60000", Origin::Default),
            entry("rebalance_cb", "0x7f12", Origin::Default),
            entry("socket_cb", "", Origin::Engine),
        ]
        .into();
        let text = |shows_defaults| {
            let mut findings = Findings::default();
            findings.properties("heading", &properties, shows_defaults);
            findings.lines.join("\n")
        };
        let (short, all) = (text(false), text(true));
        assert!(short.contains("group.id") && short.contains("1 more have the client's defaults"), "{short}");
        assert!(!short.contains("socket.timeout.ms"), "{short}");
        assert!(all.contains("socket.timeout.ms") && !all.contains("more have"), "{all}");
        for text in [short, all] {
            assert!(!text.contains("0x") && !text.contains("_cb"), "{text}");
        }
    }
}
