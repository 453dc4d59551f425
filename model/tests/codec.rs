//! Stored types: what is written is read again, and bytes that were cut, flipped or made up are an
//! error or another value, never a panic.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sim_model::application::{ApplicationError, ErrorKind};
use sim_model::codec::{decode, encode};
use sim_model::engine::InstanceState;
use sim_model::entity::{
    Caller, EntityRequest, LockRequest, Operation, RequestKind, SectionId, Stamp,
};
use sim_model::history::{Carried, EventKind, HistoryEvent, ParentInstance, RaisedEvent};
use sim_model::id::{EntityId, InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::{InstanceMessage, TaskMessage, TimerMessage};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

fn timestamps() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<u64>(), 0u64..1_000].prop_map(Timestamp::from_nanos)
}

fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter)
}

fn names() -> impl Strategy<Value = Arc<str>> {
    texts().prop_map(Arc::from)
}

fn payloads() -> impl Strategy<Value = Payload> {
    let value = (texts(), any::<i64>(), prop::collection::vec(any::<bool>(), 0..4));
    value.prop_map(|value| Payload::encode(&value).expect("the value has a JSON form"))
}

fn instances() -> impl Strategy<Value = InstanceId> {
    names().prop_map(InstanceId::new)
}

fn errors() -> impl Strategy<Value = ApplicationError> {
    let kinds = prop::sample::select(vec![
        ErrorKind::User,
        ErrorKind::Data,
        ErrorKind::UnknownFunction,
        ErrorKind::NonDeterminism,
        ErrorKind::Misuse,
    ]);
    (kinds, names()).prop_map(|(kind, message)| ApplicationError { kind, message })
}

fn entities() -> impl Strategy<Value = EntityId> {
    (names(), names()).prop_map(|(name, key)| EntityId::new(format!("E{}", name.len()), key))
}

fn sections() -> impl Strategy<Value = SectionId> {
    (instances(), any::<u32>()).prop_map(|(owner, event_id)| SectionId { owner, event_id })
}

fn operations() -> impl Strategy<Value = Operation> {
    let caller =
        (instances(), any::<u32>()).prop_map(|(instance, event_id)| Caller { instance, event_id });
    let caller = prop::option::of(caller);
    let options = (caller, prop::option::of(sections()), prop::option::of(timestamps()));
    (names(), payloads(), options).prop_map(|(name, input, (caller, section, scheduled))| {
        Operation { name, input, caller, section, scheduled }
    })
}

fn requests() -> impl Strategy<Value = EntityRequest> {
    let lock = (sections(), prop::collection::vec(entities(), 0..3), any::<u32>(), any::<bool>())
        .prop_map(|(section, entities, position, cancelled)| LockRequest {
            section,
            entities,
            position,
            cancelled,
        });
    let kind = prop_oneof![
        operations().prop_map(RequestKind::Operation),
        lock.prop_map(RequestKind::Lock),
        sections().prop_map(RequestKind::Release),
        Just(RequestKind::Continue),
    ];
    let stamp = (instances(), timestamps(), prop::option::of(timestamps()))
        .prop_map(|(sender, timestamp, predecessor)| Stamp { sender, timestamp, predecessor });
    (prop::option::of(stamp), kind).prop_map(|(stamp, kind)| EntityRequest { stamp, kind })
}

fn results() -> impl Strategy<Value = Result<Payload, ApplicationError>> {
    prop_oneof![payloads().prop_map(Ok), errors().prop_map(Err)]
}

fn raised() -> impl Strategy<Value = RaisedEvent> {
    prop_oneof![
        (names(), payloads()).prop_map(|(name, input)| RaisedEvent::External { name, input }),
        requests().prop_map(|request| RaisedEvent::Request(Box::new(request))),
        (any::<u32>(), results())
            .prop_map(|(event_id, result)| RaisedEvent::Answer { event_id, result }),
    ]
}

fn starts() -> impl Strategy<Value = EventKind> {
    let parent = (instances(), any::<u32>(), ledgers()).prop_map(|(instance, event_id, ledger)| {
        Box::new(ParentInstance { instance, event_id, ledger })
    });
    let sent = prop::collection::vec((instances(), timestamps()), 0..3);
    let carried = (prop::option::of(payloads()), sent)
        .prop_map(|(custom_status, sent)| Box::new(Carried { custom_status, sent }));
    let options = (prop::option::of(parent), prop::option::of(carried));
    (names(), payloads(), any::<u32>(), options).prop_map(
        |(name, input, first_event_id, (parent, carried))| EventKind::ExecutionStarted {
            name,
            input,
            parent,
            first_event_id,
            carried,
        },
    )
}

/// Events that record what an orchestration decided.
fn decisions() -> impl Strategy<Value = EventKind> {
    let created = (any::<u32>(), instances(), names(), payloads(), any::<bool>()).prop_map(
        |(event_id, instance, name, input, fire_and_forget)| {
            EventKind::SubOrchestrationInstanceCreated {
                event_id,
                instance,
                name,
                input,
                fire_and_forget,
            }
        },
    );
    prop_oneof![
        (any::<u32>(), names(), payloads())
            .prop_map(|(event_id, name, input)| EventKind::TaskScheduled { event_id, name, input }),
        (any::<u32>(), timestamps())
            .prop_map(|(event_id, fire_at)| EventKind::TimerCreated { event_id, fire_at }),
        created,
        (any::<u32>(), instances(), raised())
            .prop_map(|(event_id, target, event)| EventKind::EventSent { event_id, target, event }),
    ]
}

/// Events that bring an answer, or news.
fn arrivals() -> impl Strategy<Value = EventKind> {
    let id = any::<u32>;
    prop_oneof![
        (id(), payloads()).prop_map(|(task_scheduled_id, result)| {
            EventKind::TaskCompleted { task_scheduled_id, result }
        }),
        (id(), errors()).prop_map(|(task_scheduled_id, error)| {
            EventKind::TaskFailed { task_scheduled_id, error }
        }),
        (id(), payloads()).prop_map(|(task_scheduled_id, result)| {
            EventKind::SubOrchestrationInstanceCompleted { task_scheduled_id, result }
        }),
        (id(), errors()).prop_map(|(task_scheduled_id, error)| {
            EventKind::SubOrchestrationInstanceFailed { task_scheduled_id, error }
        }),
        (id(), timestamps())
            .prop_map(|(timer_id, fire_at)| EventKind::TimerFired { timer_id, fire_at }),
        raised().prop_map(|event| EventKind::EventRaised { event }),
    ]
}

fn event_kinds() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        1 => any::<u32>().prop_map(|id| EventKind::OrchestratorStarted { work_item: WorkItemId(id) }),
        1 => Just(EventKind::OrchestratorCompleted),
        1 => payloads().prop_map(|result| EventKind::ExecutionCompleted { result }),
        1 => errors().prop_map(|error| EventKind::ExecutionFailed { error }),
        1 => names().prop_map(|reason| EventKind::ExecutionTerminated { reason }),
        1 => names().prop_map(|reason| EventKind::ExecutionSuspended { reason }),
        1 => names().prop_map(|reason| EventKind::ExecutionResumed { reason }),
        2 => starts(),
        4 => decisions(),
        6 => arrivals(),
    ]
}

fn events() -> impl Strategy<Value = HistoryEvent> {
    (timestamps(), event_kinds()).prop_map(|(timestamp, kind)| HistoryEvent { timestamp, kind })
}

fn message_ids() -> impl Strategy<Value = MessageId> {
    let producer = prop_oneof![
        any::<u32>().prop_map(|id| Producer::WorkItem(WorkItemId(id))),
        Just(Producer::Client)
    ];
    (producer, any::<u32>()).prop_map(|(producer, index)| MessageId { producer, index })
}

fn ledgers() -> impl Strategy<Value = Ledger> {
    let stages = prop::collection::vec((0..Category::COUNT, 0u64..1 << 40), 0..8);
    (0u64..1 << 60, stages).prop_map(|(origin, stages)| {
        let mut ledger = Ledger::new(Timestamp::from_nanos(origin));
        for (category, span) in stages {
            ledger.charge(Category::ALL[category], ledger.at() + Duration::from_nanos(span));
        }
        ledger
    })
}

fn tasks() -> impl Strategy<Value = TaskMessage> {
    (message_ids(), instances(), any::<u32>(), names(), payloads(), ledgers()).prop_map(
        |(id, caller, event_id, name, input, ledger)| TaskMessage {
            id,
            caller,
            event_id,
            name,
            input,
            ledger,
        },
    )
}

fn messages() -> impl Strategy<Value = InstanceMessage> {
    (message_ids(), instances(), events(), ledgers())
        .prop_map(|(id, target, event, ledger)| InstanceMessage { id, target, event, ledger })
}

fn statuses() -> impl Strategy<Value = RuntimeStatus> {
    prop_oneof![
        Just(RuntimeStatus::Running),
        payloads().prop_map(RuntimeStatus::Completed),
        errors().prop_map(RuntimeStatus::Failed),
        Just(RuntimeStatus::Suspended),
        names().prop_map(RuntimeStatus::Terminated),
    ]
}

fn states() -> impl Strategy<Value = InstanceState> {
    let values = (prop::option::of(payloads()), prop::option::of(payloads()));
    (names(), timestamps(), timestamps(), statuses(), values).prop_map(
        |(name, created, last_updated, status, (custom_status, entity_state))| InstanceState {
            name,
            created,
            last_updated,
            status,
            custom_status,
            entity_state,
        },
    )
}

fn timers() -> impl Strategy<Value = TimerMessage> {
    (timestamps(), messages()).prop_map(|(fire_at, message)| TimerMessage { fire_at, message })
}

/// Damage to stored bytes: bits to flip, counted round and round, and where to cut.
type Damage = (Vec<usize>, usize);

fn damages() -> impl Strategy<Value = Damage> {
    (prop::collection::vec(any::<usize>(), 1..6), any::<usize>())
}

/// Written and read again; cut anywhere; damaged.
fn check<T>(value: &T, (flips, cut): &Damage)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = encode(value);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value));
    assert_eq!(encode(value), bytes, "equal values have equal bytes");

    // The format has no padding: every byte is needed.
    for length in 0..bytes.len() {
        let cut = decode::<T>(&bytes[..length]);
        assert!(cut.is_err(), "{length} of {} bytes decode to {cut:?}", bytes.len());
    }

    let mut damaged = bytes.to_vec();
    for flip in flips {
        let bit = flip % (8 * damaged.len());
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    for damaged in [&damaged[..], &damaged[..cut % damaged.len()], &damaged[cut % damaged.len()..]]
    {
        if let Ok(other) = decode::<T>(damaged) {
            // Another value, and a whole one: it can be stored again.
            assert_eq!(decode::<T>(&encode(&other)), Ok(other));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn history_events(value in events(), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn histories(value in prop::collection::vec(events(), 0..6), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn task_messages(value in tasks(), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn instance_messages(value in messages(), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn timer_messages(value in timers(), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn instance_states(value in states(), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn runtime_statuses(value in statuses(), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn ledgers_of_messages(value in ledgers(), damage in damages()) {
        check(&value, &damage);
    }

    #[test]
    fn bytes_from_nowhere_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<HistoryEvent>(&bytes);
        let _ = decode::<Vec<HistoryEvent>>(&bytes);
        let _ = decode::<TaskMessage>(&bytes);
        let _ = decode::<InstanceMessage>(&bytes);
        let _ = decode::<TimerMessage>(&bytes);
        let _ = decode::<InstanceState>(&bytes);
        let _ = decode::<RuntimeStatus>(&bytes);
        let _ = decode::<Ledger>(&bytes);
    }
}

#[test]
fn an_absurd_length_is_an_error_not_an_allocation() {
    // A list that claims 2^63 events.
    let mut bytes = vec![0xff; 9];
    bytes.push(0x01);
    let error = decode::<Vec<HistoryEvent>>(&bytes).expect_err("the bytes end at once");
    assert!(error.to_string().starts_with("bytes do not decode: "), "{error}");
}
