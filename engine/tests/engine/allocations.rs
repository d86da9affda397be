//! What is allocated for each batch, counted on the thread that works: nothing where buffers are used
//! again, and memory for every batch where they are not.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use velo_engine::JobConfig;
use velo_engine::batch::{Batch, BatchBuilder, Record};
use velo_engine::core::{Action, Core, Event, Fate, Verdict};
use velo_engine::ids::Tick;
use velo_engine::ids::{BatchId, LaneId, LaneName, Names};
use velo_engine::process::{Attempt, Forward, Output, Processor};
use velo_schema::keys::Key;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts by thread.
struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract;
// counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RECORDS: u32 = 10_000;

/// One thread that does what the engine's threads do: fills and seals batches, processes them,
/// settles them; a few are in flight at a time.
struct Loop {
    core: Core,
    builder: BatchBuilder,
    names: Names,
    in_flight: Vec<(BatchId, Arc<Batch>)>,
    actions: Vec<Action>,
    queue: VecDeque<Action>,
    now: Tick,
    offset: i64,
    offsets: Vec<std::ops::Range<i64>>,
}

impl Loop {
    fn new(config: &JobConfig, builder: BatchBuilder) -> Self {
        let mut names = Names::default();
        let mut core = Core::new(config.core(1, 0));
        let mut actions = Vec::new();
        for lane in 0..2_u32 {
            names.insert(LaneId(lane), LaneName { topic: "t".into(), partition: 0 });
            core.step(Tick::default(), Event::Assigned(LaneId(lane), 0), &mut actions);
        }
        let (in_flight, queue) = (Vec::new(), VecDeque::new());
        Self {
            core,
            builder,
            names,
            in_flight,
            actions,
            queue,
            now: Tick::default(),
            offset: 0,
            offsets: Vec::new(),
        }
    }

    /// Fills a batch from two lanes and settles the oldest one in flight.
    fn batch(&mut self) {
        for lane in 0..2 {
            let (first, bytes) = (self.builder.len(), self.builder.bytes());
            assert!(self.builder.is_ready());
            for n in 0..i64::from(RECORDS / 2) {
                let value = [b'x'; 100];
                let record = Record { offset: self.offset + n, value: Some(&value), ..Record::default() };
                self.builder.push(LaneId(lane), record);
            }
            self.offsets.clear();
            self.builder.offsets_from(first, &mut self.offsets);
            let event = Event::Rows(LaneId(lane), &self.offsets, self.builder.bytes() - bytes);
            self.core.step(self.now, event, &mut self.actions);
        }
        self.offset += i64::from(RECORDS / 2);
        // The ticks stand still: what is done once a second is not done for each batch.
        self.perform();
        if self.in_flight.len() > 2 {
            let (id, batch) = self.in_flight.remove(0);
            self.core.step(self.now, Event::Acked(id, 0..batch.len(), Fate::Ok), &mut self.actions);
            self.perform();
        }
    }

    fn perform(&mut self) {
        self.queue.extend(self.actions.drain(..));
        while let Some(action) = self.queue.pop_front() {
            match action {
                Action::Seal(id, _) => {
                    let batch = self.builder.seal(self.names.clone());
                    let (mut output, attempt) = (Output::default(), Attempt { number: 0 });
                    Forward.process(&batch, &mut output, attempt).expect("it forwards");
                    self.in_flight.push((id, batch));
                }
                Action::Run(id, _) => {
                    self.core.step(self.now, Event::Finished(id, &Verdict::default()), &mut self.actions);
                }
                _ => {}
            }
            self.queue.extend(self.actions.drain(..));
        }
    }
}

/// Allocations for `batches` batches, after as many to warm up as it takes.
fn allocations(reuse: &str, batches: u32) -> u64 {
    let config = super::config(&[
        (Key::BatchStrategy, "mega_batch"),
        (Key::BatchMegaBatchSize, &RECORDS.to_string()),
        (Key::BatchReuseBuffer, reuse),
    ]);
    let config = JobConfig { drain_timeout: Duration::from_secs(1), ..JobConfig::uniform(config) };
    let builder = config.builder();
    let mut work = Loop::new(&config, builder);
    for _ in 0..50 {
        work.batch();
    }
    let before = ALLOCATIONS.get();
    for _ in 0..batches {
        work.batch();
    }
    let counted = ALLOCATIONS.get() - before;
    let settled = work.core.ledger().ok;
    assert_eq!(settled, u64::from(RECORDS) * (u64::from(batches) + 50 - 2));
    counted
}

#[test]
fn nothing_is_allocated_for_a_batch_whose_buffers_are_used_again() {
    assert_eq!(allocations("true", 1000), 0);
}

#[test]
fn without_that_every_batch_is() {
    let counted = allocations("false", 100);
    assert!(counted >= 100, "{counted}");
}
