//! Converts a sealed batch to an Arrow record batch without copying keys or values.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryViewArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;

use super::Batch;
use super::columns::{NO_TIMESTAMP, Validity};

/// Memory of a batch that Arrow arrays refer to. The batch lives until the last of these arrays is dropped.
struct Part {
    batch: Arc<Batch>,
    of: fn(&Batch, usize) -> &[u8],
    index: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        (self.of)(&self.batch, self.index)
    }
}

impl Batch {
    /// Returns the schema of [`to_record_batch`](Self::to_record_batch): `topic`, `partition`, `offset`, `timestamp`
    /// (milliseconds, UTC), `key` and `value`.
    #[must_use]
    pub fn arrow_schema() -> SchemaRef {
        let topic = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("topic", topic, true),
            Field::new("partition", DataType::Int32, true),
            Field::new("offset", DataType::Int64, false),
            Field::new("timestamp", timestamp, true),
            Field::new("key", DataType::BinaryView, true),
            Field::new("value", DataType::BinaryView, true),
        ]))
    }

    /// Returns the rows as an Arrow record batch.
    ///
    /// Keys and values stay in the memory of this batch, which lives until the last array is dropped. Topics,
    /// partitions, offsets, timestamps and null bits are copied. Headers are left out.
    ///
    /// # Errors
    /// If Arrow rejects the columns, which would be a bug in this crate.
    pub fn to_record_batch(self: &Arc<Self>) -> Result<RecordBatch, ArrowError> {
        let rows = self.columns.keys.len();
        let payload = (0..self.payload().len()).map(|index| {
            self.part(
                |batch, index| batch.payload().get(index).map_or(&[], |buffer| buffer.as_slice()),
                index,
            )
        });
        let payload: Vec<Buffer> = payload.collect();
        let keys = self.part(|batch, _| bytemuck::cast_slice(&batch.columns.keys), 0);
        let values = self.part(|batch, _| bytemuck::cast_slice(&batch.columns.values), 0);
        let views = |views: Buffer| ScalarBuffer::<u128>::new(views, 0, rows);
        let nulls = |validity: &Validity| {
            let bits = validity.bits()?;
            Some(NullBuffer::new(BooleanBuffer::new(Buffer::from(bits), 0, rows)))
        };
        let key = BinaryViewArray::try_new(views(keys), payload.clone(), nulls(&self.columns.key_validity))?;
        let value = BinaryViewArray::try_new(views(values), payload, nulls(&self.columns.value_validity))?;
        let timestamps = self.columns.timestamps_ms.iter();
        let timestamps = timestamps.map(|at| Some(*at).filter(|at| *at != NO_TIMESTAMP));
        let origin = |row: u32| self.origin(row);
        let topics: DictionaryArray<Int32Type> =
            (0..self.len()).map(|row| origin(row).map(|name| &*name.topic)).collect();
        debug_assert!(topics.values().as_any().is::<StringArray>());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(topics),
            Arc::new(
                (0..self.len()).map(|row| origin(row).map(|name| name.partition)).collect::<Int32Array>(),
            ),
            Arc::new(Int64Array::from_iter_values((0..self.len()).map(|row| self.offset(row)))),
            Arc::new(timestamps.collect::<TimestampMillisecondArray>().with_timezone("UTC")),
            Arc::new(key),
            Arc::new(value),
        ];
        RecordBatch::try_new(Self::arrow_schema(), columns)
    }

    fn part(self: &Arc<Self>, of: fn(&Self, usize) -> &[u8], index: usize) -> Buffer {
        Buffer::from(Bytes::from_owner(Part { batch: Arc::clone(self), of, index }))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;

    use super::*;
    use crate::batch::{BatchBuilder, Record, SharedRecord};
    use crate::ids::{LaneId, LaneName, Names};

    fn names() -> Names {
        let mut names = Names::default();
        names.insert(LaneId(0), LaneName { topic: "orders".into(), partition: 3 });
        names
    }

    #[test]
    fn arrow_reads_the_batch_where_it_is() {
        let long = [b'x'; 100];
        let shared = Bytes::from(vec![b'y'; 1000]);
        let mut builder = BatchBuilder::default();
        for (offset, value) in [(5, Some(&long[..])), (6, None), (7, Some(b"short".as_slice()))] {
            let record =
                Record { offset, key: Some(b"k"), value, timestamp_ms: Some(9), ..Record::default() };
            builder.push(LaneId(0), record);
        }
        let buffer = builder.share(shared.clone());
        let record = SharedRecord { offset: 9, value: Some(10..110), ..SharedRecord::default() };
        builder.push_shared(LaneId(0), buffer, record);
        let batch = builder.seal(names());
        let arrow = batch.to_record_batch().unwrap();
        assert_eq!(arrow.schema(), Batch::arrow_schema());
        let value = arrow.column_by_name("value").unwrap().as_binary_view();
        let key = arrow.column_by_name("key").unwrap().as_binary_view();
        for row in 0..batch.len() {
            let at = row as usize;
            assert_eq!(value.is_valid(at).then(|| value.value(at)), batch.value(row));
            assert_eq!(key.is_valid(at).then(|| key.value(at)), batch.key(row));
        }
        // The addresses are the same: in the batch's own buffer, in the views and in the shared buffer.
        assert_eq!(value.value(0).as_ptr(), batch.value(0).unwrap().as_ptr());
        assert_eq!(value.value(2).as_ptr(), batch.value(2).unwrap().as_ptr());
        assert_eq!(value.value(3).as_ptr(), shared[10..].as_ptr());
        let offsets = arrow.column_by_name("offset").unwrap();
        assert_eq!(offsets.as_primitive::<arrow_array::types::Int64Type>().values(), &[5, 6, 7, 9]);
        assert!(arrow.column_by_name("timestamp").unwrap().is_null(3));
    }

    #[test]
    fn the_memory_of_a_batch_lives_as_long_as_its_arrays() {
        let mut builder = BatchBuilder::with_ring(1);
        builder.push(LaneId(0), Record { value: Some(&[b'x'; 100]), ..Record::default() });
        let batch = builder.seal(names());
        let value = Arc::clone(batch.to_record_batch().unwrap().column(5));
        drop(batch);
        assert!(!builder.is_ready(), "an array refers to the only batch");
        assert_eq!(value.as_binary_view().value(0), [b'x'; 100]);
        drop(value);
        assert!(builder.is_ready());
    }
}
