//! Consumers in processes of their own, which are killed, stopped and joined by others.

use super::Java;
use crate::crash::{self, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_repeats_only_what_it_had_in_flight() {
    let java = Java::plain("killed", 8).await;
    crash::a_worker_is_killed(Scene::at(java.bench, None, &java.topic, &java.group).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_shut_down_repeats_nothing() {
    let java = Java::levels("stopped", 8).await;
    crash::a_worker_is_shut_down(Scene::at(java.bench, None, &java.topic, &java.group).await).await;
}
