//! A journal on a disk: one file, written at its end and synced, and written anew when it has grown.
//!
//! Every file begins with all of the content; entries and fences follow. Nothing is acknowledged before the
//! sync that covers it has returned.
//!
//! **Recovery** takes the newest file whose beginning is sound, applies what follows up to the first frame that
//! is not, and writes the result into a new file before anything depends on it: what a process before had
//! written and not synced may be seen in the page cache, and gone after the next loss of power. The file
//! before is deleted only when the new one is synced. An operation of a dead process that takes effect late
//! lands in a file that nobody reads any more, or that is read before it counts. A journal of which there are files,
//! the first one no longer among them, and none is sound, is damaged: it must not be taken for an empty one, which would
//! have a say in a quorum (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).
//!
//! **Limits.** A frame in the middle of a file that has rotted looks like the torn end of the file: what is
//! behind it is lost. And the beginning of a journal's first file, if it has rotted, looks like a journal that was cut
//! off when it was made: it counts as empty. Nothing but replicas ([`super::quorum`]) helps against that.

use super::journal::{Content, Entry, Written, decode, encode};
use bytes::Bytes;
use sim_world::disk::{Disk, DiskError};
use std::cell::{Cell, Ref, RefCell};

/// A file is written anew when it is so many times larger than its content would be, and so large.
const SURPLUS: u64 = 4;
const ANEW_BYTES: u64 = 1 << 20;
/// The number of the first file of a journal.
const FIRST_FILE: u64 = 1;

/// Why a journal cannot be recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecoveryError {
    /// The disk failed.
    Disk(DiskError),
    /// The disk has lost or changed what was there.
    Damaged,
}

impl From<DiskError> for RecoveryError {
    fn from(error: DiskError) -> Self {
        RecoveryError::Disk(error)
    }
}

/// A journal on a disk.
pub(crate) struct JournalFile {
    disk: Disk,
    prefix: String,
    /// Whether what is written is synced.
    syncs: bool,
    number: Cell<u64>,
    size: Cell<u64>,
    content: RefCell<Content>,
    fence: Cell<u32>,
}

impl JournalFile {
    /// What is left of the journal `prefix` on the disk, made durable anew; an empty one if there is none.
    ///
    /// # Errors
    /// If the disk fails, or the journal is damaged.
    pub(crate) async fn recover(
        disk: &Disk,
        prefix: &str,
        syncs: bool,
    ) -> Result<JournalFile, RecoveryError> {
        let journal = JournalFile {
            disk: disk.clone(),
            prefix: prefix.to_owned(),
            syncs,
            number: Cell::new(0),
            size: Cell::new(0),
            content: RefCell::default(),
            fence: Cell::new(0),
        };
        let numbers = journal.numbers();
        journal.number.set(numbers.last().copied().unwrap_or(0));
        // The first file of all goes when another one is durable: while it is there, and cut off, nothing was
        // acknowledged yet.
        let mut is_sound = numbers.first().is_none_or(|number| *number == FIRST_FILE);
        for number in numbers.iter().rev() {
            let name = journal.name(*number);
            let text = disk.read_all(&name).await?.value;
            if journal.replay(decode(&text, &name)) {
                is_sound = true;
                break;
            }
        }
        if !is_sound {
            return Err(RecoveryError::Damaged);
        }
        journal.write_anew().await?;
        Ok(journal)
    }

    fn name(&self, number: u64) -> String {
        format!("{}/journal.{number}", self.prefix)
    }

    /// The files there are, oldest first.
    fn numbers(&self) -> Vec<u64> {
        let begin = format!("{}/journal.", self.prefix);
        let number = |name: &String| name.strip_prefix(&begin)?.parse().ok();
        let mut numbers: Vec<u64> = self.disk.list().iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Takes up what a file holds; false if its beginning is not sound.
    fn replay(&self, all: Vec<Written>) -> bool {
        let mut all = all.into_iter();
        let Some(Written::Whole(fence, whole)) = all.next() else { return false };
        self.content.replace(whole);
        self.fence.set(fence);
        for written in all {
            match written {
                Written::Entry(entry) => {
                    let follows = self.content.borrow_mut().take(&entry);
                    assert!(follows, "entries of {} follow each other", self.prefix);
                }
                Written::Fence(epoch) => self.fence.set(self.fence.get().max(epoch)),
                Written::Whole(..) => unreachable!("a file begins with its only whole content"),
            }
        }
        true
    }

    /// What it holds, all of it durable.
    pub(crate) fn content(&self) -> Ref<'_, Content> {
        self.content.borrow()
    }

    /// The lowest epoch that may still write.
    pub(crate) fn fence(&self) -> u32 {
        self.fence.get()
    }

    /// Appends entries, each of which follows the one before, and makes them durable.
    pub(crate) async fn append(&self, entries: &[Entry]) -> Result<(), DiskError> {
        let mut version = self.content.borrow().version;
        for entry in entries {
            assert_eq!(entry.after, version, "entries of {} follow each other", self.prefix);
            version = entry.version;
        }
        let written: Vec<Written> = entries.iter().cloned().map(Written::Entry).collect();
        self.write(&written).await?;
        for entry in entries {
            self.content.borrow_mut().take(entry);
        }
        let least = (self.content.borrow().len() * SURPLUS).max(ANEW_BYTES);
        match self.size.get() > least {
            true => self.write_anew().await,
            false => Ok(()),
        }
    }

    /// Lets no incarnation before `epoch` write any more, durably.
    pub(crate) async fn fence_off(&self, epoch: u32) -> Result<(), DiskError> {
        self.write(&[Written::Fence(epoch)]).await?;
        self.fence.set(self.fence.get().max(epoch));
        Ok(())
    }

    /// Puts other content in the place of all there is, durably.
    pub(crate) async fn replace(&self, content: Content) -> Result<(), DiskError> {
        self.content.replace(content);
        self.write_anew().await
    }

    async fn write(&self, written: &[Written]) -> Result<(), DiskError> {
        let (file, at) = (self.name(self.number.get()), self.size.get());
        let mut frames = Vec::new();
        written.iter().for_each(|one| encode(one, (&file, at), &mut frames));
        let length = frames.len() as u64;
        self.disk.write(&file, at, Bytes::from(frames)).await?;
        if self.syncs {
            self.disk.sync(&file).await?;
        }
        self.size.set(at + length);
        Ok(())
    }

    async fn write_anew(&self) -> Result<(), DiskError> {
        let before = self.numbers();
        self.number.set(self.number.get() + 1);
        self.size.set(0);
        let whole = Written::Whole(self.fence.get(), self.content.borrow().clone());
        self.write(&[whole]).await?;
        before.into_iter().try_for_each(|number| self.disk.delete(&self.name(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::CheckpointRef;
    use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
    use sim_world::meter::Meter;
    use sim_world::profile::Profile;
    use sim_world::seed::SeedTree;

    /// Plays a scene with the disk of a host.
    fn on_a_disk(scene: impl AsyncFnOnce(Disk) + Send + 'static) {
        let main = |kernel: Kernel| async move {
            let profile = Profile::named("azure-2021-10").expect("embedded");
            let class = profile.host.disk.as_ref().expect("hosts have disks");
            scene(Disk::new(&kernel, &SeedTree::new(1), &Meter::new(), "host", class)).await;
        };
        on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main)).expect("it ends");
    }

    /// A damaged journal is not an empty one.
    #[test]
    fn a_journal_without_a_sound_file_is_damaged() {
        on_a_disk(async |disk| {
            let recovered = async || JournalFile::recover(&disk, "p00", true).await.map(|_| ());
            let overwrite = async |file: &str| {
                disk.write(file, 0, Bytes::from_static(b"something else")).await.expect("room");
            };
            overwrite("p00/journal.1").await;
            overwrite("p00/journal.2").await;
            assert_eq!(recovered().await, Ok(()), "the first file was cut off, and the next one");
            overwrite("p00/journal.3").await;
            assert_eq!(recovered().await, Err(RecoveryError::Damaged));
            assert_eq!(JournalFile::recover(&disk, "p01", true).await.map(|_| ()), Ok(()));
        });
    }

    /// A file that has grown is written anew, and a loss of power leaves what was acknowledged.
    #[test]
    fn a_journal_stays_small_and_survives_a_loss_of_power() {
        on_a_disk(async |disk| {
            let journal = JournalFile::recover(&disk, "p00", true).await.expect("an empty disk");
            journal.fence_off(7).await.expect("synced");
            for number in 0..200 {
                let mut record = journal.content().record.clone();
                let position = record.end;
                record.end += 20_000;
                if number % 20 == 0 {
                    record.checkpoint = Some(CheckpointRef { epoch: 1, number, position });
                }
                let bytes = Bytes::from(vec![number as u8; 20_000]);
                let commit = (record, position);
                let entry = Entry::next(&journal.content(), 1, commit, bytes);
                journal.append(&[entry]).await.expect("synced");
            }
            let files = disk.list();
            assert_eq!(files.len(), 1, "{files:?}");
            let size = disk.size(&files[0]).expect("it is there");
            assert!(size < 3 << 20, "4 MB were written, of which 400 kB count: {size}");
            disk.lose_power();
            let recovered = JournalFile::recover(&disk, "p00", true).await.expect("readable");
            assert_eq!(*recovered.content(), *journal.content());
            assert_eq!(recovered.fence(), 7);
        });
    }
}
