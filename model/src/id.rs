//! Names of instances, work items and messages.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The key of an instance (an orchestration or an entity), unique in its task hub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// An instance named `name`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        InstanceId(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the key of an entity.
    pub fn is_entity(&self) -> bool {
        self.entity_parts().is_some()
    }

    /// The name and key of the entity that this is the key of.
    fn entity_parts(&self) -> Option<(&str, &str)> {
        let (name, key) = self.0.strip_prefix('@')?.split_once('@')?;
        (!name.is_empty()).then_some((name, key))
    }

    /// The 32-bit FNV-1a hash of the name, by which the published engines place instances on
    /// partitions (Azure/durabletask, `Fnv1aHashHelper`; microsoft/durabletask-netherite).
    pub fn fnv1a(&self) -> u32 {
        self.0
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of an entity: the registered name of its code, and a key.
///
/// The order of identities (by name, then key) is the order in which critical sections lock them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityId {
    name: Arc<str>,
    key: Arc<str>,
}

impl EntityId {
    /// The entity `key` of the code registered as `name`.
    ///
    /// # Panics
    /// If the name is empty or contains `@`, which separates it from the key.
    pub fn new(name: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        let name: Arc<str> = name.into();
        assert!(!name.is_empty() && !name.contains('@'), "an entity cannot be named {name:?}");
        EntityId { name, key: key.into() }
    }

    /// The registered name of its code.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its key among the entities of that name.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The key of the instance: `@name@key`, as Durable Functions writes it.
    pub fn instance_id(&self) -> InstanceId {
        InstanceId::new(format!("@{}@{}", self.name, self.key))
    }

    /// The entity that `instance` is; `None` if it is an orchestration.
    pub fn of(instance: &InstanceId) -> Option<EntityId> {
        let (name, key) = instance.entity_parts()?;
        Some(EntityId { name: name.into(), key: key.into() })
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}@{}", self.name, self.key)
    }
}

/// One attempt to execute a work item. An item that is fetched twice has two of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkItemId(pub u32);

impl fmt::Display for WorkItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "work item {}", self.0)
    }
}

/// Who produced a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Producer {
    /// A work item of the application.
    WorkItem(WorkItemId),
    /// A client outside the application.
    Client,
}

/// The identity of a message: its producer and its number among the producer's messages.
///
/// A copy made by a transport that delivers twice keeps the identity; a message produced again by
/// a second attempt at the same work item has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Who produced it.
    pub producer: Producer,
    /// Its number among the messages of that producer.
    pub index: u32,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.producer {
            Producer::WorkItem(item) => write!(f, "message {} of {item}", self.index),
            Producer::Client => write!(f, "client message {}", self.index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_and_their_instances_name_each_other() {
        let entity = EntityId::new("Account", "src1-!3");
        assert_eq!(entity.instance_id().as_str(), "@Account@src1-!3");
        assert_eq!(EntityId::of(&entity.instance_id()), Some(entity));
        let odd = EntityId::new("Account", "a@b");
        assert_eq!(EntityId::of(&odd.instance_id()), Some(odd), "a key may hold anything");
        for orchestration in ["", "@", "@@x", "@Account", "000001-12345678"] {
            assert!(!InstanceId::new(orchestration).is_entity(), "{orchestration:?}");
        }
    }

    #[test]
    fn fnv1a_agrees_with_the_published_test_vectors() {
        // Fowler, Noll and Vo's own vectors for the 32-bit variant 1a.
        assert_eq!(InstanceId::new("").fnv1a(), 0x811c_9dc5);
        assert_eq!(InstanceId::new("a").fnv1a(), 0xe40c_292c);
        assert_eq!(InstanceId::new("foobar").fnv1a(), 0xbf9c_f968);
    }
}
