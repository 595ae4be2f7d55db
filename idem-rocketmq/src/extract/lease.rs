use idem_core::Lease;

use super::extracted::at_once;
use super::{Call, Extract};

impl Extract<'_> for Lease {
    at_once!(|call: &mut Call<'_>| Ok(call.lease().clone()));
}
