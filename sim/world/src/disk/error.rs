//! What a disk can answer instead of a value.

use thiserror::Error;

/// An error of a disk or of its file system.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiskError {
    /// There is no such file.
    #[error("file {file:?} does not exist")]
    NotFound {
        /// The file.
        file: String,
    },
    /// The read begins or ends beyond the end of the file.
    #[error("file {file:?}: bytes {offset}..{end} were asked for, it has {size}")]
    BeyondEnd {
        /// The file.
        file: String,
        /// First byte asked for.
        offset: u64,
        /// The byte after the last one asked for.
        end: u64,
        /// Size of the file.
        size: u64,
    },
    /// The file system has no room for the write. Nothing of it was written.
    #[error("no space left on the disk: {wanted} bytes wanted, {free} free")]
    Full {
        /// Bytes of the pages that were wanted.
        wanted: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The device could not read.
    #[error("the device could not read file {file:?}")]
    ReadFailed {
        /// The file.
        file: String,
    },
    /// Bytes written since the last successful sync did not reach the medium. They were dropped
    /// from the list of what is to be written: a second sync succeeds without them.
    #[error("file {file:?}: writing back failed, bytes were lost")]
    SyncFailed {
        /// The file.
        file: String,
    },
    /// The device could not flush its cache: what it has acknowledged may not survive a power loss.
    #[error("file {file:?}: the device could not flush its cache")]
    FlushFailed {
        /// The file.
        file: String,
    },
    /// The power failed before the operation was done. It may or may not have taken effect.
    #[error("the power failed during the operation")]
    PowerLost,
}
