use std::sync::Arc;

use super::{Call, Extract, ExtractError};
use crate::client::Delivery;

impl<'d> Extract<'d> for &'d Delivery {
    fn extract(call: &mut Call<'d>) -> Result<Self, ExtractError> {
        Ok(call.delivery())
    }
}

impl Extract<'_> for Arc<Delivery> {
    fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
        Ok(call.shared_delivery())
    }
}
