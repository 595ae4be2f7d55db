use idem_core::Lease;

use super::{Call, Extract, ExtractError};

impl Extract<'_> for Lease {
    fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
        Ok(call.lease().clone())
    }
}
