//! The closed sets of words that a value may take: strategies, failure strategies, what follows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A set of words with one canonical spelling each.
pub trait Words: Sized + Copy + 'static {
    /// Every member, in the order of the guide.
    const ALL: &'static [Self];
    /// The canonical spelling.
    fn word(self) -> &'static str;
    /// One line on what the word means.
    fn doc(self) -> &'static str;

    /// What others call it, and what people shorten it to: lower case, without `-`, `_` and spaces.
    fn hints(self) -> &'static [&'static str];

    /// The member that was most probably meant by another name of it.
    fn from_hint(text: &str) -> Option<Self> {
        let is_meant = |hint: &str| hint.chars().eq(fold(text));
        Self::ALL.iter().copied().find(|word| word.hints().iter().any(|hint| is_meant(hint)))
    }

    /// The member that `text` spells, whatever its case and its `-`, `_` or spaces.
    fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| fold(word.word()).eq(fold(text)))
    }
}

fn fold(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase)
}

/// Declares an enum of words: variant, canonical spelling, other names, meaning.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal, $hints:expr, $doc:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $(#[doc = $doc] #[serde(rename = $word)] $variant,)+
        }

        impl Words for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc),+ }
            }

            fn hints(self) -> &'static [&'static str] {
                match self { $(Self::$variant => $hints),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// How records are grouped into batches.
    StrategyKind {
        FixedSize = "fixed_size", &["fixed", "count", "fixedcount", "batchsize"], "A batch is full at a fixed number of records.";
        TimeWindow = "time_window", &["time", "window", "timed", "tumbling", "tumblingwindow", "timebased"], "A batch closes a fixed time after its first record.";
        MemoryBased = "memory_based", &["memory", "mem", "bytes", "memorysize", "bytebased"], "A batch is full when the next record would exceed a number of bytes.";
        AdaptiveSize = "adaptive_size", &["adaptive", "auto", "dynamic", "adaptivebatch"], "The batch size follows the measured processing time towards a target.";
        LowLatency = "low_latency", &["low", "latency", "realtime", "eager"], "Tiny batches, handed on as soon as nothing more is waiting.";
        MegaBatch = "mega_batch", &["mega", "bulk", "megabatchsize"], "Very large batches over reused buffers, processed in parallel.";
    }
}

words! {
    /// What happens to records that fail.
    FailureStrategy {
        LogAndContinue = "LogAndContinue", &["log", "skip", "ignore", "continue", "drop", "logandskip"], "Log the failed record's coordinates, count it, go on without it.";
        SendToDLQ = "SendToDLQ", &["dlq", "deadletter", "deadletterqueue", "deadletters", "sendtodeadletterqueue"], "Write the failed record, unchanged, to a dead letter queue and go on.";
        FailBatch = "FailBatch", &["fail", "stop", "abort", "failfast", "failjob"], "One failed record fails its batch, and with it the job.";
        RetryWithBackoff = "RetryWithBackoff", &["retry", "backoff", "exponentialbackoff", "retrybackoff"], "Process the batch again after a delay that doubles each time.";
    }
}

words! {
    /// What follows when the last retry has failed.
    OnExhausted {
        FailBatch = "FailBatch", &["fail", "stop", "abort", "failfast", "failjob"], "The batch fails, and with it the job.";
        SendToDLQ = "SendToDLQ", &["dlq", "deadletter", "deadletterqueue", "deadletters", "sendtodeadletterqueue"], "The failed records go to the dead letter queue.";
        LogAndContinue = "LogAndContinue", &["log", "skip", "ignore", "continue", "drop", "logandskip"], "The failed records are logged, counted and left out.";
    }
}
