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

    /// The member that `text` spells, whatever its case and its `-`, `_` or spaces.
    fn from_text(text: &str) -> Option<Self> {
        let folded = fold(text);
        Self::ALL.iter().copied().find(|word| fold(word.word()) == folded)
    }
}

fn fold(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Declares an enum of words: variant, canonical spelling, meaning.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal, $doc:literal;)+ }) => {
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
        FixedSize = "fixed_size", "A batch is full at a fixed number of records.";
        TimeWindow = "time_window", "A batch closes a fixed time after its first record.";
        MemoryBased = "memory_based", "A batch is full when the next record would exceed a number of bytes.";
        AdaptiveSize = "adaptive_size", "The batch size follows the measured processing time towards a target.";
        LowLatency = "low_latency", "Tiny batches, handed on as soon as nothing more is waiting.";
        MegaBatch = "mega_batch", "Very large batches over reused buffers, processed in parallel.";
    }
}

words! {
    /// What happens to records that fail.
    FailureStrategy {
        LogAndContinue = "LogAndContinue", "Log the failed record's coordinates, count it, go on without it.";
        SendToDLQ = "SendToDLQ", "Write the failed record, unchanged, to a dead letter queue and go on.";
        FailBatch = "FailBatch", "One failed record fails its batch, and with it the job.";
        RetryWithBackoff = "RetryWithBackoff", "Process the batch again after a delay that doubles each time.";
    }
}

words! {
    /// What follows when the last retry has failed.
    OnExhausted {
        FailBatch = "FailBatch", "The batch fails, and with it the job.";
        SendToDLQ = "SendToDLQ", "The failed records go to the dead letter queue.";
        LogAndContinue = "LogAndContinue", "The failed records are logged, counted and left out.";
    }
}
