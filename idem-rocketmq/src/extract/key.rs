use idem_core::IdempotencyKey;

use super::{Call, Extract, ExtractError};

impl Extract<'_> for IdempotencyKey {
    fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
        call.key().cloned().ok_or_else(|| ExtractError::new("the message has no idempotency key"))
    }
}

impl Extract<'_> for Option<IdempotencyKey> {
    fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
        Ok(call.key().cloned())
    }
}
