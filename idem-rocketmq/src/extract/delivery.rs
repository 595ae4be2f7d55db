use std::sync::Arc;

use super::extracted::at_once;
use super::{Call, Extract};
use crate::client::Delivery;

impl<'d> Extract<'d> for &'d Delivery {
    at_once!(|call: &mut Call<'d>| Ok(call.delivery()));
}

impl Extract<'_> for Arc<Delivery> {
    at_once!(|call: &mut Call<'_>| Ok(call.shared_delivery()));
}
