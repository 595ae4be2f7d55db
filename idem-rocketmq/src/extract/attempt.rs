use idem_core::Attempt;

use super::{Call, Extract, ExtractError};

impl Extract<'_> for Attempt {
    fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
        Ok(call.attempt())
    }
}
