//! Where an instance of a broadcast group is in its topics.
//!
//! Brokers keep no offsets for broadcasting: the client does, in a file in the user's home directory, but makes no
//! directory for it, so that nothing is stored. And it stores an offset only for a queue of which something was consumed:
//! of a quiet one, what comes while the instance is down would be skipped. So the directory and the file are made here,
//! with an offset for each queue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{env, fs, io};

use rocketmq_client_rust::{ClientConfig, DefaultMQProducer};
use rocketmq_model::common::message::message_queue::MessageQueue;
use serde::{Deserialize, Serialize};

use super::{ClientError, ClientSettings, ConsumeFrom};

/// In place of the machine's address, which may be another one after a restart.
pub(super) const HOST: &str = "broadcast";

/// The client's form of the file: the next offset of each queue, which is JSON in a text.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Offsets {
    offset_table: BTreeMap<String, i64>,
}

/// Makes the file, or adds the queues that are not in it.
pub(super) async fn prepare(
    settings: &ClientSettings,
    config: &ClientConfig,
    asked: &mut DefaultMQProducer,
) -> Result<(), ClientError> {
    let file = directory().join(config.build_mq_client_id()).join(settings.full_group()).join("offsets.json");
    let failed = |cause: io::Error| ClientError::Offsets {
        group: settings.group.clone(),
        file: file.display().to_string(),
        cause,
    };
    let mut known = read(&file).map_err(failed)?;
    for (topic, _) in &settings.subscriptions {
        let topic = settings.in_namespace(topic);
        // None while the topic does not exist: its first message is still to come.
        for queue in asked.fetch_publish_message_queues(&topic).await.unwrap_or_default() {
            if !known.has(&queue)
                && let Some(offset) = begin(settings.consume_from, &queue, asked).await
            {
                known.offset_table.insert(serde_json::to_string(&queue).unwrap_or_default(), offset);
            }
        }
    }
    write(&file, &known).map_err(failed)
}

impl Offsets {
    fn has(&self, queue: &MessageQueue) -> bool {
        self.offset_table
            .keys()
            .any(|known| serde_json::from_str(known).is_ok_and(|known: MessageQueue| known == *queue))
    }
}

/// As the client has it.
fn directory() -> PathBuf {
    let home = || match env::var_os("HOME") {
        Some(home) => Path::new(&home).join(".rocketmq_offsets"),
        None => PathBuf::from("/tmp/.rocketmq_offsets"),
    };
    env::var_os("rocketmq.client.localOffsetStoreDir").map_or_else(home, PathBuf::from)
}

/// None for the first message, where the client begins without an offset.
async fn begin(from: ConsumeFrom, queue: &MessageQueue, asked: &mut DefaultMQProducer) -> Option<i64> {
    match from {
        ConsumeFrom::First => None,
        ConsumeFrom::Last => asked.max_offset(queue).await.ok(),
        ConsumeFrom::Timestamp(time) => {
            let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            asked.search_offset(queue, u64::try_from(millis).unwrap_or(u64::MAX)).await.ok()
        }
    }
}

/// The client moves the file to `.bak` before it writes another; it may have been killed between.
fn read(file: &Path) -> io::Result<Offsets> {
    for file in [file.to_owned(), file.with_extension("json.bak")] {
        match fs::read(&file) {
            Ok(text) if !text.is_empty() => return Ok(serde_json::from_slice(&text)?),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Offsets::default())
}

fn write(file: &Path, offsets: &Offsets) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = file.with_extension("json.new");
    fs::write(&new, serde_json::to_vec(offsets)?)?;
    fs::rename(new, file)
}
