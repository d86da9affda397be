//! Places at which fault tests make a job die or misbehave: a place in, its effect out.
//!
//! Nothing of this is in a released program: without the feature `failpoints` every call is an empty function. With
//! the feature, the environment variable `FAILPOINTS` arms places by name, in the syntax of the crate `fail`:
//! `FAILPOINTS="record.sent=41*off->return"` kills the process when the 42nd record is handed to the client.

/// Defines an enum of places with a name each.
macro_rules! places {
    ($(#[$doc:meta])* $enum:ident { $($(#[$what:meta])* $place:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $enum { $($(#[$what])* $place,)+ }

        impl $enum {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$place),+];

            /// Returns the name, as `FAILPOINTS` has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$place => $name,)+ }
            }
        }
    };
}

places! {
    /// A place at which the process can be killed, as by `kill -9`.
    Edge {
        /// The client has been given its assignment.
        MemberAssigned = "member.assigned",
        /// The group has revoked partitions.
        MemberRevoked = "member.revoked",
        /// The revocation has been answered.
        MemberReleased = "member.released",
        /// An offset commit has been given to the client.
        CommitBegun = "commit.begun",
        /// The result of an offset commit is known.
        CommitEnded = "commit.ended",
        /// The member is about to leave its group.
        MemberLeaving = "member.leaving",
        /// The member has left its group.
        MemberLeft = "member.left",
        /// Records were taken from a partition.
        LaneFilled = "lane.filled",
        /// A batch is given to a processor.
        BatchSealed = "batch.sealed",
        /// A batch was processed, and nobody knows yet.
        BatchProcessed = "batch.processed",
        /// The outputs of a batch were given to the client.
        BatchWritten = "batch.written",
        /// Every row of a batch is settled.
        BatchSettled = "batch.settled",
        /// A record was given to the client.
        RecordSent = "record.sent",
        /// The brokers have acknowledged a record.
        RecordAcked = "record.acked",
        /// A dead letter is about to be written.
        DeadLetterDue = "dead_letter.due",
        /// A transaction was begun.
        TransactionBegun = "transaction.begun",
        /// The brokers have added the offsets to the transaction.
        TransactionOffsets = "transaction.offsets",
        /// The transaction was committed.
        TransactionCommitted = "transaction.committed",
        /// The transaction was aborted.
        TransactionAborted = "transaction.aborted",
        /// The replay has noted that it begins.
        ReplayBegun = "replay.begun",
        /// Dead letters were written to the target, and no receipt was.
        ReplayWritten = "replay.written",
        /// A receipt was written.
        ReplayNoted = "replay.noted",
        /// The replay has noted that it has ended.
        ReplayEnded = "replay.ended",
    }
}

places! {
    /// A fault to build into the job, which a fault test must find.
    Mutant {
        /// The offset of a record is committed before its dead letter is acknowledged.
        CommitBeforeDeadLetter = "mutant.commit_before_dead_letter",
        /// The committed offset passes records that are not settled.
        CommitPastGap = "mutant.commit_past_gap",
        /// The committed offset is one too high.
        WatermarkOffByOne = "mutant.watermark_off_by_one",
        /// A batch that nothing can process for a while is skipped.
        SkipOnOutage = "mutant.skip_on_outage",
        /// The memory of a batch is filled again before the batch is settled.
        BatchReused = "mutant.batch_reused",
        /// A member without partitions takes the input for read.
        DoneWithoutLanes = "mutant.done_without_lanes",
        /// A job does not hear that partitions are lost, and goes on to write their rows.
        WriteAfterLoss = "mutant.write_after_loss",
        /// What an aborted transaction has acknowledged counts in the next one.
        OlderTransactionCounts = "mutant.older_transaction_counts",
        /// Commits do not wait for earlier ones, and their results are matched in the order in which they were begun.
        CommitResultsSwapped = "mutant.commit_results_swapped",
        /// A producer is kept after a connection has broken or a transaction was aborted.
        ProducerKept = "mutant.producer_kept",
        /// Temporary errors are taken for permanent ones.
        PassingIsPermanent = "mutant.passing_is_permanent",
        /// Permanent errors are taken for temporary ones.
        PermanentIsPassing = "mutant.permanent_is_passing",
        /// A job that was stopped before the end of its input ends with 0.
        StoppedIsDone = "mutant.stopped_is_done",
        /// A replay notes dead letters as written before they are.
        ReceiptBeforeWrite = "mutant.receipt_before_write",
        /// A dead letter has another value than its record.
        DeadLetterChanged = "mutant.dead_letter_changed",
    }
}

/// Arms the places that the environment variable `FAILPOINTS` names. The result disarms them when it is dropped.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn arm() -> impl Drop {
    fail::FailScenario::setup()
}

/// Kills the process if this edge is armed.
#[cfg(feature = "failpoints")]
pub fn reach(edge: Edge) {
    fail::eval(edge.name(), |_| {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal may be delivered to another thread first.
        loop {
            std::thread::park();
        }
    });
}

/// Returns true if this mutant is armed.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn is_on(mutant: Mutant) -> bool {
    fail::eval(mutant.name(), |_| ()).is_some()
}

/// Does nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_: Edge) {}

/// Returns false: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub fn is_on(_: Mutant) -> bool {
    false
}
