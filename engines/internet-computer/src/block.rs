//! Blocks, and the names of everything they mention.
//!
//! **What it models.** A block extends a chain: it names its parent by hash, says who made it at which
//! rank, and carries the inputs whose order is agreed: ingress messages of clients, slices of the
//! certified streams of other subnets, and outcalls that enough replicas have carried out. Its time is
//! later than its parent's, and is the present for everything that is executed because of it.
//!
//! Blocks are bytes on a replica's disk and on the wire. Their size on the wire counts for each ingress
//! message what signature, public key and sender add to the content (`INGRESS_ENVELOPE`).
//! Source: dfinity/developer-docs, concepts/protocol/consensus; dfinity/ic rs/limits/src/lib.rs@051bb67c.

use crate::canister::Reply;
use crate::stream::Slice;
use serde::{Deserialize, Serialize};
use sim_model::id::InstanceId;
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use std::fmt;
use std::rc::Rc;
use xxhash_rust::xxh3::xxh3_64;

/// The place of a block in its chain; the genesis is at 0.
pub(crate) type Height = u64;

/// Bytes that a request of a client has besides its content: signature, public key with delegation,
/// sender, nonce, expiry. [assumption]
pub(crate) const INGRESS_ENVELOPE: u64 = 300;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub(crate) struct $name(pub(crate) $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {:x}", stringify!($name), self.0)
            }
        }
    };
}

identifier!(
    /// The hash of a block's bytes.
    BlockHash(u64)
);
identifier!(
    /// A replica among those of its subnet.
    ReplicaId(u16)
);
identifier!(
    /// A subnet.
    SubnetId(u16)
);
identifier!(
    /// A canister, unique over all subnets.
    CanisterId(u32)
);
identifier!(
    /// A call of a client. The same for every time it is sent.
    IngressId(u64)
);
identifier!(
    /// An outcall, unique in its subnet.
    OutcallId(u64)
);

/// The block before the first.
pub(crate) const GENESIS: BlockHash = BlockHash(0);

/// What a client asks of a canister.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Method {
    /// Start an orchestration.
    Start(InstanceMessage),
    /// Deliver a message to an instance.
    Send(InstanceMessage),
    /// Answer when the instance has ended.
    Wait(InstanceId),
    /// Remove an instance.
    Purge(InstanceId),
}

/// An update call of a client: an ingress message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ingress {
    pub(crate) id: IngressId,
    pub(crate) canister: CanisterId,
    /// From then on it may not enter a block.
    pub(crate) expiry: Timestamp,
    pub(crate) method: Method,
    /// Bytes on the wire.
    pub(crate) bytes: u64,
}

impl Ingress {
    /// A call that is signed and ready to be sent.
    pub(crate) fn new(
        id: IngressId,
        canister: CanisterId,
        expiry: Timestamp,
        method: Method,
    ) -> Rc<Ingress> {
        let bytes = INGRESS_ENVELOPE + encode(&method).len() as u64;
        Rc::new(Ingress { id, canister, expiry, method, bytes })
    }
}

/// The answer to an update call.
pub(crate) type IngressReply = (IngressId, Reply);

/// What a block carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) ingress: Vec<Rc<Ingress>>,
    pub(crate) slices: Vec<Slice>,
    /// Outcalls that enough replicas say they have carried out, with the same outcome.
    pub(crate) outcalls: Vec<OutcallId>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) height: Height,
    pub(crate) parent: BlockHash,
    pub(crate) maker: ReplicaId,
    pub(crate) rank: u16,
    pub(crate) time: Timestamp,
    pub(crate) payload: Payload,
}

/// A block with its bytes.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) block: Block,
    pub(crate) hash: BlockHash,
    pub(crate) bytes: Rc<[u8]>,
}

impl Sealed {
    /// The block as it goes over the wire.
    pub(crate) fn of(block: Block) -> Rc<Sealed> {
        let bytes: Rc<[u8]> = encode(&block).into();
        Rc::new(Sealed { hash: BlockHash(xxh3_64(&bytes)), block, bytes })
    }

    /// The block that was stored as these bytes.
    pub(crate) fn read(bytes: &Rc<[u8]>) -> Rc<Sealed> {
        let block = decode(bytes);
        Rc::new(Sealed { hash: BlockHash(xxh3_64(bytes)), block, bytes: bytes.clone() })
    }

    /// Bytes on the wire.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.bytes.len() as u64 + INGRESS_ENVELOPE * self.block.payload.ingress.len() as u64
    }
}

/// The bytes of a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("invariant: what the engine stores has a binary form")
}

/// The value of bytes that the engine has written.
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> T {
    postcard::from_bytes(bytes).expect("invariant: the engine reads what it has written")
}
