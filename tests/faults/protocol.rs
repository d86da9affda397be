//! The requests of a job in Kafka's protocol, and the errors that each can be answered with. Names and numbers are those
//! of the protocol.

/// A request of Kafka's protocol: its name, its API key, and the errors that it can be answered with.
pub(super) type Request = (&'static str, i16, &'static [(&'static str, i16)]);

const UNKNOWN_SERVER_ERROR: (&str, i16) = ("UNKNOWN_SERVER_ERROR", -1);
const OFFSET_OUT_OF_RANGE: (&str, i16) = ("OFFSET_OUT_OF_RANGE", 1);
const CORRUPT_MESSAGE: (&str, i16) = ("CORRUPT_MESSAGE", 2);
const UNKNOWN_TOPIC_OR_PARTITION: (&str, i16) = ("UNKNOWN_TOPIC_OR_PARTITION", 3);
const LEADER_NOT_AVAILABLE: (&str, i16) = ("LEADER_NOT_AVAILABLE", 5);
const NOT_LEADER_OR_FOLLOWER: (&str, i16) = ("NOT_LEADER_OR_FOLLOWER", 6);
const REQUEST_TIMED_OUT: (&str, i16) = ("REQUEST_TIMED_OUT", 7);
const REPLICA_NOT_AVAILABLE: (&str, i16) = ("REPLICA_NOT_AVAILABLE", 9);
const MESSAGE_TOO_LARGE: (&str, i16) = ("MESSAGE_TOO_LARGE", 10);
const OFFSET_METADATA_TOO_LARGE: (&str, i16) = ("OFFSET_METADATA_TOO_LARGE", 12);
const COORDINATOR_LOAD_IN_PROGRESS: (&str, i16) = ("COORDINATOR_LOAD_IN_PROGRESS", 14);
const COORDINATOR_NOT_AVAILABLE: (&str, i16) = ("COORDINATOR_NOT_AVAILABLE", 15);
const NOT_COORDINATOR: (&str, i16) = ("NOT_COORDINATOR", 16);
const INVALID_TOPIC_EXCEPTION: (&str, i16) = ("INVALID_TOPIC_EXCEPTION", 17);
const RECORD_LIST_TOO_LARGE: (&str, i16) = ("RECORD_LIST_TOO_LARGE", 18);
const NOT_ENOUGH_REPLICAS: (&str, i16) = ("NOT_ENOUGH_REPLICAS", 19);
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: (&str, i16) = ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", 20);
const INVALID_REQUIRED_ACKS: (&str, i16) = ("INVALID_REQUIRED_ACKS", 21);
const ILLEGAL_GENERATION: (&str, i16) = ("ILLEGAL_GENERATION", 22);
const INCONSISTENT_GROUP_PROTOCOL: (&str, i16) = ("INCONSISTENT_GROUP_PROTOCOL", 23);
const INVALID_GROUP_ID: (&str, i16) = ("INVALID_GROUP_ID", 24);
const UNKNOWN_MEMBER_ID: (&str, i16) = ("UNKNOWN_MEMBER_ID", 25);
const INVALID_SESSION_TIMEOUT: (&str, i16) = ("INVALID_SESSION_TIMEOUT", 26);
const REBALANCE_IN_PROGRESS: (&str, i16) = ("REBALANCE_IN_PROGRESS", 27);
const INVALID_COMMIT_OFFSET_SIZE: (&str, i16) = ("INVALID_COMMIT_OFFSET_SIZE", 28);
const TOPIC_AUTHORIZATION_FAILED: (&str, i16) = ("TOPIC_AUTHORIZATION_FAILED", 29);
const GROUP_AUTHORIZATION_FAILED: (&str, i16) = ("GROUP_AUTHORIZATION_FAILED", 30);
const CLUSTER_AUTHORIZATION_FAILED: (&str, i16) = ("CLUSTER_AUTHORIZATION_FAILED", 31);
const INVALID_TIMESTAMP: (&str, i16) = ("INVALID_TIMESTAMP", 32);
const UNSUPPORTED_VERSION: (&str, i16) = ("UNSUPPORTED_VERSION", 35);
const INVALID_REQUEST: (&str, i16) = ("INVALID_REQUEST", 42);
const UNSUPPORTED_FOR_MESSAGE_FORMAT: (&str, i16) = ("UNSUPPORTED_FOR_MESSAGE_FORMAT", 43);
const OUT_OF_ORDER_SEQUENCE_NUMBER: (&str, i16) = ("OUT_OF_ORDER_SEQUENCE_NUMBER", 45);
const INVALID_PRODUCER_EPOCH: (&str, i16) = ("INVALID_PRODUCER_EPOCH", 47);
const INVALID_TXN_STATE: (&str, i16) = ("INVALID_TXN_STATE", 48);
const INVALID_PRODUCER_ID_MAPPING: (&str, i16) = ("INVALID_PRODUCER_ID_MAPPING", 49);
const INVALID_TRANSACTION_TIMEOUT: (&str, i16) = ("INVALID_TRANSACTION_TIMEOUT", 50);
const CONCURRENT_TRANSACTIONS: (&str, i16) = ("CONCURRENT_TRANSACTIONS", 51);
const TRANSACTION_COORDINATOR_FENCED: (&str, i16) = ("TRANSACTION_COORDINATOR_FENCED", 52);
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (&str, i16) = ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", 53);
const OPERATION_NOT_ATTEMPTED: (&str, i16) = ("OPERATION_NOT_ATTEMPTED", 55);
const KAFKA_STORAGE_ERROR: (&str, i16) = ("KAFKA_STORAGE_ERROR", 56);
const UNKNOWN_PRODUCER_ID: (&str, i16) = ("UNKNOWN_PRODUCER_ID", 59);
const FETCH_SESSION_ID_NOT_FOUND: (&str, i16) = ("FETCH_SESSION_ID_NOT_FOUND", 70);
const INVALID_FETCH_SESSION_EPOCH: (&str, i16) = ("INVALID_FETCH_SESSION_EPOCH", 71);
const FENCED_LEADER_EPOCH: (&str, i16) = ("FENCED_LEADER_EPOCH", 74);
const UNKNOWN_LEADER_EPOCH: (&str, i16) = ("UNKNOWN_LEADER_EPOCH", 75);
const UNSUPPORTED_COMPRESSION_TYPE: (&str, i16) = ("UNSUPPORTED_COMPRESSION_TYPE", 76);
const OFFSET_NOT_AVAILABLE: (&str, i16) = ("OFFSET_NOT_AVAILABLE", 78);
const GROUP_MAX_SIZE_REACHED: (&str, i16) = ("GROUP_MAX_SIZE_REACHED", 81);
const FENCED_INSTANCE_ID: (&str, i16) = ("FENCED_INSTANCE_ID", 82);
const INVALID_RECORD: (&str, i16) = ("INVALID_RECORD", 87);
const UNSTABLE_OFFSET_COMMIT: (&str, i16) = ("UNSTABLE_OFFSET_COMMIT", 88);
const THROTTLING_QUOTA_EXCEEDED: (&str, i16) = ("THROTTLING_QUOTA_EXCEEDED", 89);
const PRODUCER_FENCED: (&str, i16) = ("PRODUCER_FENCED", 90);
const UNKNOWN_TOPIC_ID: (&str, i16) = ("UNKNOWN_TOPIC_ID", 100);

/// The requests of a job, with the errors that the descriptions of Kafka's requests list for each.
pub(super) const REQUESTS: [Request; 15] = [
    (
        "Produce",
        0,
        &[
            UNKNOWN_SERVER_ERROR,
            CORRUPT_MESSAGE,
            UNKNOWN_TOPIC_OR_PARTITION,
            NOT_LEADER_OR_FOLLOWER,
            REQUEST_TIMED_OUT,
            MESSAGE_TOO_LARGE,
            INVALID_TOPIC_EXCEPTION,
            RECORD_LIST_TOO_LARGE,
            NOT_ENOUGH_REPLICAS,
            NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            INVALID_REQUIRED_ACKS,
            TOPIC_AUTHORIZATION_FAILED,
            CLUSTER_AUTHORIZATION_FAILED,
            INVALID_TIMESTAMP,
            UNSUPPORTED_FOR_MESSAGE_FORMAT,
            OUT_OF_ORDER_SEQUENCE_NUMBER,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            KAFKA_STORAGE_ERROR,
            UNKNOWN_PRODUCER_ID,
            UNSUPPORTED_COMPRESSION_TYPE,
            INVALID_RECORD,
            THROTTLING_QUOTA_EXCEEDED,
        ],
    ),
    (
        "Fetch",
        1,
        &[
            UNKNOWN_SERVER_ERROR,
            OFFSET_OUT_OF_RANGE,
            CORRUPT_MESSAGE,
            UNKNOWN_TOPIC_OR_PARTITION,
            NOT_LEADER_OR_FOLLOWER,
            REPLICA_NOT_AVAILABLE,
            TOPIC_AUTHORIZATION_FAILED,
            UNSUPPORTED_VERSION,
            KAFKA_STORAGE_ERROR,
            FETCH_SESSION_ID_NOT_FOUND,
            INVALID_FETCH_SESSION_EPOCH,
            FENCED_LEADER_EPOCH,
            UNKNOWN_LEADER_EPOCH,
            UNSUPPORTED_COMPRESSION_TYPE,
            OFFSET_NOT_AVAILABLE,
            UNKNOWN_TOPIC_ID,
        ],
    ),
    (
        "ListOffsets",
        2,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            LEADER_NOT_AVAILABLE,
            NOT_LEADER_OR_FOLLOWER,
            REPLICA_NOT_AVAILABLE,
            TOPIC_AUTHORIZATION_FAILED,
            UNSUPPORTED_FOR_MESSAGE_FORMAT,
            KAFKA_STORAGE_ERROR,
            FENCED_LEADER_EPOCH,
            UNKNOWN_LEADER_EPOCH,
            OFFSET_NOT_AVAILABLE,
        ],
    ),
    (
        "OffsetCommit",
        8,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            REQUEST_TIMED_OUT,
            OFFSET_METADATA_TOO_LARGE,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            INVALID_GROUP_ID,
            UNKNOWN_MEMBER_ID,
            REBALANCE_IN_PROGRESS,
            INVALID_COMMIT_OFFSET_SIZE,
            TOPIC_AUTHORIZATION_FAILED,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "OffsetFetch",
        9,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            TOPIC_AUTHORIZATION_FAILED,
            GROUP_AUTHORIZATION_FAILED,
            UNSTABLE_OFFSET_COMMIT,
        ],
    ),
    (
        "FindCoordinator",
        10,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            INVALID_GROUP_ID,
            GROUP_AUTHORIZATION_FAILED,
            INVALID_REQUEST,
        ],
    ),
    (
        "JoinGroup",
        11,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            INCONSISTENT_GROUP_PROTOCOL,
            INVALID_GROUP_ID,
            UNKNOWN_MEMBER_ID,
            INVALID_SESSION_TIMEOUT,
            GROUP_AUTHORIZATION_FAILED,
            GROUP_MAX_SIZE_REACHED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "Heartbeat",
        12,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            UNKNOWN_MEMBER_ID,
            REBALANCE_IN_PROGRESS,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "LeaveGroup",
        13,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            UNKNOWN_MEMBER_ID,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "SyncGroup",
        14,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            INCONSISTENT_GROUP_PROTOCOL,
            UNKNOWN_MEMBER_ID,
            REBALANCE_IN_PROGRESS,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "InitProducerId",
        22,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            CLUSTER_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            INVALID_TRANSACTION_TIMEOUT,
            CONCURRENT_TRANSACTIONS,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "AddPartitionsToTxn",
        24,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            TOPIC_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            INVALID_PRODUCER_ID_MAPPING,
            CONCURRENT_TRANSACTIONS,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            OPERATION_NOT_ATTEMPTED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "AddOffsetsToTxn",
        25,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            GROUP_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            INVALID_PRODUCER_ID_MAPPING,
            CONCURRENT_TRANSACTIONS,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "EndTxn",
        26,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            INVALID_PRODUCER_ID_MAPPING,
            CONCURRENT_TRANSACTIONS,
            TRANSACTION_COORDINATOR_FENCED,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "TxnOffsetCommit",
        28,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            OFFSET_METADATA_TOO_LARGE,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            INVALID_GROUP_ID,
            UNKNOWN_MEMBER_ID,
            INVALID_COMMIT_OFFSET_SIZE,
            TOPIC_AUTHORIZATION_FAILED,
            GROUP_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
            PRODUCER_FENCED,
        ],
    ),
];

/// The first API key of requests that only transactions make.
pub(super) const FIRST_OF_TRANSACTIONS: i16 = 22;
