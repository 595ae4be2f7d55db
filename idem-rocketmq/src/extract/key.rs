use idem_core::IdempotencyKey;

use super::extracted::at_once;
use super::{Call, Extract, ExtractError};

impl Extract<'_> for IdempotencyKey {
    at_once!(|call: &mut Call<'_>| call
        .key()
        .cloned()
        .ok_or_else(|| ExtractError::new("the message has no idempotency key")));
}

impl Extract<'_> for Option<IdempotencyKey> {
    at_once!(|call: &mut Call<'_>| Ok(call.key().cloned()));
}
