//! idem: an idempotent consumer framework for Apache RocketMQ.
