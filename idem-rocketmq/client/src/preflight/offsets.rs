//! Where an instance of a broadcast group is in its topics.
//!
//! Brokers keep no offsets for broadcasting: the client does, in a file in the user's home directory, but makes no
//! directory for it, so that nothing is stored. So the directory and the file are made here, where the group is new with an
//! offset for each queue (see [`begin`](super::begin)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use rocketmq_client_rust::ClientConfig;
use rocketmq_model::common::message::message_queue::MessageQueue;
use serde::{Deserialize, Serialize};

use crate::error::ClientError;
use crate::settings::ClientSettings;

/// In place of the machine's address, which may be another one after a restart.
pub(crate) const HOST: &str = "broadcast";

/// An instance's offsets, with the file that the client reads them from.
pub(super) struct Offsets {
    file: PathBuf,
    stored: OffsetFile,
}

/// The client's form of the file: the next offset of each queue, which is JSON in a text.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct OffsetFile {
    offset_table: BTreeMap<String, i64>,
}

impl Offsets {
    /// Reads the file; a missing one is empty.
    pub(super) fn read(settings: &ClientSettings, config: &ClientConfig) -> Result<Self, ClientError> {
        let file =
            directory().join(config.build_mq_client_id()).join(settings.full_group()).join("offsets.json");
        match read(&file) {
            Ok(stored) => Ok(Self { file, stored }),
            Err(cause) => Err(failed(settings, &file, cause)),
        }
    }

    /// Whether the instance has an offset of any queue of the topic.
    pub(super) fn know(&self, topic: &str) -> bool {
        let mut queues = self.stored.offset_table.keys();
        queues.any(|queue| {
            serde_json::from_str(queue).is_ok_and(|queue: MessageQueue| queue.topic_str() == topic)
        })
    }

    pub(super) fn begin(&mut self, topic: &str, broker: &str, queue: &str, offset: i64) {
        let queue = MessageQueue::from_parts(topic, broker, queue.parse().unwrap_or_default());
        self.stored.offset_table.insert(serde_json::to_string(&queue).unwrap_or_default(), offset);
    }

    /// Makes the file, or adds to it.
    pub(super) fn write(&self, settings: &ClientSettings) -> Result<(), ClientError> {
        write(&self.file, &self.stored).map_err(|cause| failed(settings, &self.file, cause))
    }
}

fn failed(settings: &ClientSettings, file: &Path, cause: io::Error) -> ClientError {
    ClientError::Offsets { group: settings.group.clone(), file: file.display().to_string(), cause }
}

/// As the client has it.
fn directory() -> PathBuf {
    let home = || match env::var_os("HOME") {
        Some(home) => Path::new(&home).join(".rocketmq_offsets"),
        None => PathBuf::from("/tmp/.rocketmq_offsets"),
    };
    env::var_os("rocketmq.client.localOffsetStoreDir").map_or_else(home, PathBuf::from)
}

/// The client moves the file to `.bak` before it writes another; it may have been killed between.
fn read(file: &Path) -> io::Result<OffsetFile> {
    for file in [file.to_owned(), file.with_extension("json.bak")] {
        match fs::read(&file) {
            Ok(text) if !text.is_empty() => return Ok(serde_json::from_slice(&text)?),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(OffsetFile::default())
}

fn write(file: &Path, offsets: &OffsetFile) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = file.with_extension("json.new");
    fs::write(&new, serde_json::to_vec(offsets)?)?;
    fs::rename(new, file)
}
