//! Permissions on topics and groups, the members of a group, and the complete configuration of a client.
//!
//! rust-rdkafka does not wrap these calls. Guards destroy the handles that a call returns. The result of an event is
//! valid as long as the event.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use sys::rd_kafka_AclOperation_t as AclOperation;
use sys::rd_kafka_admin_op_t as AdminOp;

/// An operation that a user may perform on a topic or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka) enum Operation {
    Read,
    Write,
    Describe,
    DescribeConfigs,
    Other,
}

/// The description of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Described {
    pub state: String,
    /// The client id, host and instance id of each member.
    pub members: Vec<(String, String, Option<String>)>,
    pub operations: Vec<Operation>,
}

/// Calls a destructor at the end of a scope.
struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: the guard owns the handle, and the handle is destroyed only here.
        unsafe { (self.1)(self.0) };
    }
}

/// Sends an admin request and waits for its result.
fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    operation: AdminOp,
    timeout: Duration,
    ask: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Guard<sys::rd_kafka_event_t>, RDKafkaErrorCode> {
    let client = consumer.client().native_ptr();
    let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive; options and queue are owned here and outlive the call, which ends with its
    // event; a returned error is owned by the caller, and null if there is none.
    let event = unsafe {
        let options =
            Guard(sys::rd_kafka_AdminOptions_new(client, operation), sys::rd_kafka_AdminOptions_destroy);
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, ms, ptr::null_mut(), 0);
        let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        let queue = Guard(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy);
        ask(client, options.0, queue.0);
        sys::rd_kafka_queue_poll(queue.0, ms.saturating_add(1000))
    };
    if event.is_null() {
        return Err(RDKafkaErrorCode::OperationTimedOut);
    }
    let event = Guard(event, sys::rd_kafka_event_destroy);
    // SAFETY: the event is alive.
    match RDKafkaErrorCode::from(unsafe { sys::rd_kafka_event_error(event.0) }) {
        RDKafkaErrorCode::NoError => Ok(event),
        error => Err(error),
    }
}

/// Returns the operations that the client's user may perform on a topic.
pub(in crate::kafka) fn topic_operations<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Vec<Operation>, RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    let mut names = [name.as_ptr()];
    let event =
        ask(consumer, AdminOp::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout, |client, options, queue| {
            // SAFETY: all handles are alive, and the collection copies the names.
            unsafe {
                let topics = Guard(
                    sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
                    sys::rd_kafka_TopicCollection_destroy,
                );
                sys::rd_kafka_DescribeTopics(client, topics.0, options, queue);
            }
        })?;
    let mut count = 0;
    // SAFETY: the result belongs to the event, which lives until the end of this function; the array has
    // `count` descriptions.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let Some(topic) = array(topics.cast_const(), count).first() else { return Ok(Vec::new()) };
        check(sys::rd_kafka_TopicDescription_error(*topic))?;
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(*topic, &raw mut count);
        Ok(array(operations, count).iter().copied().map(Operation::of).collect())
    }
}

/// Returns the state and members of a group, and the operations that the client's user may perform on it.
pub(in crate::kafka) fn describe_group<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &str,
    timeout: Duration,
) -> Result<Described, RDKafkaErrorCode> {
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    let mut names = [name.as_ptr()];
    let operation = AdminOp::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let event = ask(consumer, operation, timeout, |client, options, queue| {
        // SAFETY: all handles are alive, and the call copies the names.
        unsafe {
            sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options, queue);
        }
    })?;
    let mut count = 0;
    // SAFETY: as above; the member count is that of the group, and strings are null or C strings.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.0);
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        let Some(group) = array(groups.cast_const(), count).first() else {
            return Err(RDKafkaErrorCode::GroupIdNotFound);
        };
        check(sys::rd_kafka_ConsumerGroupDescription_error(*group))?;
        let operations = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(*group, &raw mut count);
        let operations = array(operations, count).iter().copied().map(Operation::of).collect();
        let state = sys::rd_kafka_ConsumerGroupDescription_state(*group);
        let members = (0..sys::rd_kafka_ConsumerGroupDescription_member_count(*group)).map(|index| {
            let member = sys::rd_kafka_ConsumerGroupDescription_member(*group, index);
            (
                text(sys::rd_kafka_MemberDescription_client_id(member)).unwrap_or_default(),
                text(sys::rd_kafka_MemberDescription_host(member)).unwrap_or_default(),
                text(sys::rd_kafka_MemberDescription_group_instance_id(member)),
            )
        });
        Ok(Described {
            state: text(sys::rd_kafka_consumer_group_state_name(state)).unwrap_or_default(),
            members: members.collect(),
            operations,
        })
    }
}

/// Returns all properties of a client, including defaults. Secrets are not masked.
pub(in crate::kafka) fn configuration(client: *mut sys::rd_kafka_t) -> Vec<(String, String)> {
    let mut count = 0;
    // SAFETY: the caller's client is alive; the dump only reads its configuration. The returned array of `count`
    // C strings, alternately names and values, is owned by the caller.
    unsafe {
        let dump = sys::rd_kafka_conf_dump(sys::rd_kafka_conf(client).cast_mut(), &raw mut count);
        let words = array(dump.cast_const(), count).iter().map(|word| text(*word).unwrap_or_default());
        let words: Vec<_> = words.collect();
        sys::rd_kafka_conf_dump_free(dump, count);
        words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}

impl Operation {
    fn of(operation: AclOperation) -> Self {
        match operation {
            AclOperation::RD_KAFKA_ACL_OPERATION_READ => Self::Read,
            AclOperation::RD_KAFKA_ACL_OPERATION_WRITE => Self::Write,
            AclOperation::RD_KAFKA_ACL_OPERATION_DESCRIBE => Self::Describe,
            AclOperation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS => Self::DescribeConfigs,
            _ => Self::Other,
        }
    }
}

/// # Safety
/// `error` is null or alive.
unsafe fn check(error: *const sys::rd_kafka_error_t) -> Result<(), RDKafkaErrorCode> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is not null.
    match RDKafkaErrorCode::from(unsafe { sys::rd_kafka_error_code(error) }) {
        RDKafkaErrorCode::NoError => Ok(()),
        error => Err(error),
    }
}

/// # Safety
/// `start` is null, or points to `count` values that live for `'a`.
unsafe fn array<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: `start` is not null.
    unsafe { slice::from_raw_parts(start, count) }
}

/// # Safety
/// `start` is null or a C string.
unsafe fn text(start: *const c_char) -> Option<String> {
    if start.is_null() {
        return None;
    }
    // SAFETY: `start` is not null.
    Some(unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned())
}
